//! Writing to the standard error stream from an exception handler.

use std::ptr;

use windows_sys::Win32::Storage::FileSystem::WriteFile;
use windows_sys::Win32::System::Console::{GetStdHandle, STD_ERROR_HANDLE};

/// Writes a message to the standard error stream. A failure is ignored.
///
/// The function takes no lock of this process and allocates no memory.
pub(crate) fn write(message: &[u8]) {
    // SAFETY: the identifier of a standard device is passed. The result may be no valid handle.
    let standard_error = unsafe { GetStdHandle(STD_ERROR_HANDLE) };
    let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut written = 0;
    // SAFETY: the message has at least `bytes` bytes, `written` has room for the result, and the
    // call fails for a handle that is not valid.
    let _ignored = unsafe {
        WriteFile(
            standard_error,
            message.as_ptr(),
            bytes,
            &raw mut written,
            ptr::null_mut(),
        )
    };
}
