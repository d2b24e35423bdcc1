//! Private pages, and protection of pages.

use std::io;
use std::ptr::{self, NonNull};

use windows_sys::Win32::Foundation::{ERROR_COMMITMENT_LIMIT, ERROR_INVALID_PARAMETER};
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_NOACCESS, PAGE_PROTECTION_FLAGS, PAGE_READWRITE,
    VirtualAllocExNuma, VirtualFree, VirtualProtect,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

use crate::framing::MIN_PAGE_SIZE;

use super::super::call_error::CallError;
use super::calls::{ANY_NODE, current_process, error_code, last_error};

pub(crate) fn page_size() -> usize {
    let mut info = SYSTEM_INFO::default();
    // SAFETY: `info` has room for the result, and the call cannot fail.
    unsafe { GetSystemInfo(&raw mut info) };
    usize::try_from(info.dwPageSize).unwrap_or(MIN_PAGE_SIZE)
}

/// Maps `bytes` bytes of private, zeroed, readable and writable pages, preferably of a NUMA node.
pub(crate) fn map(bytes: usize, node: Option<u32>) -> Result<NonNull<u8>, CallError> {
    const CALL: &str = "VirtualAllocExNuma";
    let kind = MEM_RESERVE | MEM_COMMIT;
    let (process, node) = (current_process(), node.unwrap_or(ANY_NODE));
    // SAFETY: the address is NULL, so the system chooses a range in which nothing is mapped.
    let base =
        unsafe { VirtualAllocExNuma(process, ptr::null(), bytes, kind, PAGE_READWRITE, node) };
    NonNull::new(base.cast()).ok_or_else(|| {
        let error = io::Error::last_os_error();
        match error_code(&error) {
            // Of the parameters, only the size can be invalid: no process could have so much.
            Some(ERROR_COMMITMENT_LIMIT | ERROR_INVALID_PARAMETER) => {
                CallError::new(CALL, io::ErrorKind::OutOfMemory)
            }
            _ => CallError::new(CALL, error),
        }
    })
}

/// Unmaps private pages.
///
/// # Safety
///
/// `base` is the start of a mapping of private pages, and the memory is not used any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    // SAFETY: the caller passes the start of a mapping that is not used any more. With
    // `MEM_RELEASE` the size must be 0.
    match unsafe { VirtualFree(base.as_ptr().cast(), 0, MEM_RELEASE) } {
        0 => Err(last_error("VirtualFree")),
        _ => Ok(()),
    }
}

/// Makes pages inaccessible.
///
/// # Safety
///
/// The `bytes` bytes from `start` on are whole pages inside one mapping of this crate. They are not
/// used until `unprotect` is called for them.
pub(crate) unsafe fn protect(start: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: the caller passes whole pages of a mapping, which are not used while they are
    // inaccessible.
    unsafe { set_protection(start, bytes, PAGE_NOACCESS) }
}

/// Makes pages readable and writable.
///
/// # Safety
///
/// The `bytes` bytes from `start` on are whole pages inside one mapping of this crate.
pub(crate) unsafe fn unprotect(start: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: the caller passes whole pages of a mapping. Access is granted, not removed.
    unsafe { set_protection(start, bytes, PAGE_READWRITE) }
}

/// # Safety
///
/// The `bytes` bytes from `start` on are whole pages inside one mapping of this crate. If the flags
/// remove access, the pages are not used until it is granted again.
unsafe fn set_protection(
    start: NonNull<u8>,
    bytes: usize,
    flags: PAGE_PROTECTION_FLAGS,
) -> Result<(), CallError> {
    let mut old = 0;
    // SAFETY: the caller passes whole pages of a mapping, and does not use pages without access.
    // `old` has room for the old flags, which the system always writes.
    match unsafe { VirtualProtect(start.as_ptr().cast(), bytes, flags, &raw mut old) } {
        0 => Err(last_error("VirtualProtect")),
        _ => Ok(()),
    }
}
