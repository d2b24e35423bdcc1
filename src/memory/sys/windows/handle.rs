//! Handles of kernel objects.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::DuplicateHandle;
use windows_sys::Win32::System::Memory::{FILE_MAP_READ, FILE_MAP_WRITE};

use super::calls::current_process;

pub(crate) type OwnedObject = OwnedHandle;
pub(crate) type BorrowedObject<'a> = BorrowedHandle<'a>;

pub(crate) fn borrow(object: &OwnedObject) -> BorrowedObject<'_> {
    object.as_handle()
}

#[cfg(feature = "windows")]
pub(crate) fn as_word(object: BorrowedObject<'_>) -> *mut std::ffi::c_void {
    object.as_raw_handle()
}

/// Duplicates a handle for another process, with the right to map the section for reading and, if
/// `may_write`, for writing.
pub(crate) fn clone_for_peer(object: &OwnedObject, may_write: bool) -> io::Result<OwnedObject> {
    let access = if may_write {
        FILE_MAP_READ | FILE_MAP_WRITE
    } else {
        FILE_MAP_READ
    };
    let process = current_process();
    let mut clone = ptr::null_mut();
    // SAFETY: the handle is open, both processes are this one, and `clone` has room for a handle.
    let succeeded = unsafe {
        DuplicateHandle(
            process,
            object.as_raw_handle(),
            process,
            &raw mut clone,
            access,
            0,
            0,
        )
    };
    if succeeded == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has created this handle, and only this function knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(clone) })
}
