//! Private pages, and protection of pages.

use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::param;

use super::super::call_error::CallError;
use super::limits::mmap_error;

pub(crate) fn page_size() -> usize {
    param::page_size()
}

/// Maps `bytes` bytes of private, zeroed, readable and writable pages.
///
/// The NUMA node is not used here: mapped memory is bound to it by `options::bind_to_node`.
pub(crate) fn map(bytes: usize, _node: Option<u32>) -> Result<NonNull<u8>, CallError> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the address is NULL, so the system chooses a range in which nothing is mapped.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) };
    let base = base.map_err(|error| mmap_error("mmap", bytes, error.into()))?;
    NonNull::new(base.cast()).ok_or_else(|| CallError::new("mmap", io::ErrorKind::OutOfMemory))
}

/// Unmaps pages, private or of a kernel object.
///
/// # Safety
///
/// `base` and `bytes` are those of a whole mapping, and the memory is not used any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: the caller passes the page-aligned start and the size of a mapping, and no reference
    // to it is left.
    unsafe { munmap(base.as_ptr().cast(), bytes) }.map_err(CallError::of("munmap"))
}

/// Makes pages inaccessible.
///
/// # Safety
///
/// The `bytes` bytes from `start` on are whole pages inside one mapping of this crate. They are not
/// used until `unprotect` is called for them.
pub(crate) unsafe fn protect(start: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: the caller passes whole pages of a mapping. No reference into them is used while they
    // are inaccessible.
    unsafe { mprotect(start.as_ptr().cast(), bytes, MprotectFlags::empty()) }
        .map_err(CallError::of("mprotect"))
}

/// Makes pages readable and writable.
///
/// # Safety
///
/// The `bytes` bytes from `start` on are whole pages inside one mapping of this crate.
pub(crate) unsafe fn unprotect(start: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    let flags = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: the caller passes whole pages of a mapping, all of which were mapped readable and
    // writable. References into them stay valid.
    unsafe { mprotect(start.as_ptr().cast(), bytes, flags) }.map_err(CallError::of("mprotect"))
}
