//! The system calls: how large a page is, who may access it, and a line on the standard error.

use std::io;
use std::ptr::NonNull;

pub(super) use self::imp::{PROTECT, page_size, protect, say};

/// What may be done with pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    None,
    ReadWrite,
}

#[cfg(unix)]
mod imp {
    use std::os::fd::BorrowedFd;

    use rustix::mm::{MprotectFlags, mprotect};

    use super::{Access, NonNull, io};

    pub(crate) const PROTECT: &str = "mprotect";

    pub(crate) fn page_size() -> usize {
        rustix::param::page_size()
    }

    /// # Safety
    ///
    /// So many bytes from `start` on are whole pages of one mapping of this crate's; if they become
    /// inaccessible, nobody uses them.
    pub(crate) unsafe fn protect(
        start: NonNull<u8>,
        bytes: usize,
        access: Access,
    ) -> io::Result<()> {
        let flags = match access {
            Access::None => MprotectFlags::empty(),
            Access::ReadWrite => MprotectFlags::READ | MprotectFlags::WRITE,
        };
        // SAFETY: the caller's promise; no reference that is used leads to pages that change.
        unsafe { mprotect(start.as_ptr().cast(), bytes, flags) }.map_err(Into::into)
    }

    /// Writes to the standard error, if anybody has it. May be called in a signal handler.
    pub(crate) fn say(line: &[u8]) {
        // SAFETY: by custom 2 is the standard error for as long as a process lives. If it is closed, the
        // call fails; if it was opened as something else, so would `eprintln!` write there.
        let standard_error = unsafe { BorrowedFd::borrow_raw(2) };
        let mut rest = line;
        // There is nobody to be told that it cannot be written.
        while let Ok(written @ 1..) = rustix::io::write(standard_error, rest) {
            rest = rest.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
        }
    }
}

#[cfg(windows)]
mod imp {
    use std::ptr;

    use windows_sys::Win32::Storage::FileSystem::WriteFile;
    use windows_sys::Win32::System::Console::{GetStdHandle, STD_ERROR_HANDLE};
    use windows_sys::Win32::System::Memory::{PAGE_NOACCESS, PAGE_READWRITE, VirtualProtect};
    use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

    use super::{Access, NonNull, io};

    pub(crate) const PROTECT: &str = "VirtualProtect";

    pub(crate) fn page_size() -> usize {
        let mut info = SYSTEM_INFO::default();
        // SAFETY: there is room for the answer, and the call cannot fail.
        unsafe { GetSystemInfo(&raw mut info) };
        usize::try_from(info.dwPageSize).unwrap_or(crate::framing::SMALLEST_PAGE)
    }

    /// # Safety
    ///
    /// So many bytes from `start` on are whole pages of one mapping of this crate's; if they become
    /// inaccessible, nobody uses them.
    pub(crate) unsafe fn protect(
        start: NonNull<u8>,
        bytes: usize,
        access: Access,
    ) -> io::Result<()> {
        let flags = match access {
            Access::None => PAGE_NOACCESS,
            Access::ReadWrite => PAGE_READWRITE,
        };
        let mut before = 0;
        // SAFETY: the caller's promise; no reference that is used leads to pages that change. There is
        // room for what they were before, which the system insists on.
        match unsafe { VirtualProtect(start.as_ptr().cast(), bytes, flags, &raw mut before) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Writes to the standard error, if anybody has it. May be called in an exception handler.
    pub(crate) fn say(line: &[u8]) {
        // SAFETY: asks for what may be no handle.
        let standard_error = unsafe { GetStdHandle(STD_ERROR_HANDLE) };
        let bytes = u32::try_from(line.len()).unwrap_or(u32::MAX);
        let mut written = 0;
        // SAFETY: the line has so many bytes, there is room for the answer, and for what is no handle the
        // call fails: there is nobody to be told.
        let _unheard = unsafe {
            WriteFile(
                standard_error,
                line.as_ptr(),
                bytes,
                &raw mut written,
                ptr::null_mut(),
            )
        };
    }
}
