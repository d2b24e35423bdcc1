//! Items that several files of this folder use.

use std::ffi::c_void;
use std::io;

use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::super::call_error::CallError;

/// Stands for any NUMA node: `NUMA_NO_PREFERRED_NODE`.
pub(super) const ANY_NODE: u32 = u32::MAX;

/// Returns the error of a call that has just failed.
pub(super) fn last_error(call: &'static str) -> CallError {
    CallError::new(call, io::Error::last_os_error())
}

/// Returns the code of a system error.
pub(super) fn error_code(error: &io::Error) -> Option<u32> {
    error
        .raw_os_error()
        .and_then(|code| u32::try_from(code).ok())
}

/// Returns the pseudo handle of this process, which is never closed.
pub(super) fn current_process() -> *mut c_void {
    // SAFETY: the function has no parameters and cannot fail.
    unsafe { GetCurrentProcess() }
}
