//! Handles of kernel objects: file descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(crate) type OwnedObject = OwnedFd;
pub(crate) type BorrowedObject<'a> = BorrowedFd<'a>;

pub(crate) fn borrow(object: &OwnedObject) -> BorrowedObject<'_> {
    object.as_fd()
}

#[cfg(feature = "windows")]
pub(crate) fn as_word(object: BorrowedObject<'_>) -> *mut std::ffi::c_void {
    let number = std::os::fd::AsRawFd::as_raw_fd(&object);
    std::ptr::without_provenance_mut(usize::try_from(number).unwrap_or(0))
}

/// Duplicates a descriptor for another process. Seals decide whether that process may write.
pub(crate) fn clone_for_peer(object: &OwnedObject, _may_write: bool) -> io::Result<OwnedObject> {
    object.try_clone()
}
