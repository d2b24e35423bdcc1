//! Private pages of this process: what [`AllocatorMode::User`](crate::AllocatorMode) means.

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use crate::error::CommitError;

use super::touch;

/// A mapping of private, zeroed, readable and writable pages; unmapped on drop.
#[derive(Debug)]
pub(super) struct UserPages {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the pages belong to this value alone and to no thread; whichever thread drops it may
// unmap them.
unsafe impl Send for UserPages {}
// SAFETY: a shared `UserPages` only tells its address.
unsafe impl Sync for UserPages {}

impl UserPages {
    /// Maps at least `bytes` bytes, which is not 0, and touches them if they are to be prefaulted.
    pub(super) fn map(bytes: usize, prefault: bool) -> Result<Self, CommitError> {
        let base = system::map(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::OutOfMemory => CommitError::OutOfMemory { bytes },
            _ => CommitError::Os {
                call: system::MAP,
                source,
            },
        })?;
        let pages = Self {
            base: base.cast(),
            bytes,
        };
        if prefault {
            // SAFETY: mapped writable, and nobody else knows of it yet.
            unsafe { touch(pages.base, bytes) };
        }
        Ok(pages)
    }

    /// Where the pages begin, a multiple of the page size.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for UserPages {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped. Frames are what follows pointers into it, and those
        // whose memory is dropped are all back for good (C1, C5 of the pool's core).
        let unmapped = unsafe { system::unmap(self.base.cast(), self.bytes) };
        // A system that is out of its own books can refuse. Then the pages stay, and nobody minds.
        drop(unmapped);
    }
}

#[cfg(unix)]
mod system {
    use std::ptr;

    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    use super::{NonNull, c_void, io};

    pub(super) const MAP: &str = "mmap";

    pub(super) fn map(bytes: usize) -> io::Result<NonNull<c_void>> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the system's choice replaces none that exists.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) }?;
        NonNull::new(base).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// # Safety
    ///
    /// `base` and `bytes` are of a `map`, and nobody uses the memory from here on.
    pub(super) unsafe fn unmap(base: NonNull<c_void>, bytes: usize) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { munmap(base.as_ptr(), bytes) }.map_err(Into::into)
    }
}

#[cfg(windows)]
mod system {
    use std::ptr;

    use windows_sys::Win32::Foundation::{ERROR_COMMITMENT_LIMIT, ERROR_INVALID_PARAMETER};
    use windows_sys::Win32::System::Memory::{
        MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
    };

    use super::{NonNull, c_void, io};

    pub(super) const MAP: &str = "VirtualAlloc";

    pub(super) fn map(bytes: usize) -> io::Result<NonNull<c_void>> {
        let kind = MEM_RESERVE | MEM_COMMIT;
        // SAFETY: a new mapping at an address of the system's choice replaces none that exists.
        let base = unsafe { VirtualAlloc(ptr::null(), bytes, kind, PAGE_READWRITE) };
        NonNull::new(base).ok_or_else(|| {
            let error = io::Error::last_os_error();
            match error
                .raw_os_error()
                .and_then(|code| u32::try_from(code).ok())
            {
                // The only parameter that can be invalid is the size, if no process could have it.
                Some(ERROR_COMMITMENT_LIMIT | ERROR_INVALID_PARAMETER) => {
                    io::ErrorKind::OutOfMemory.into()
                }
                _ => error,
            }
        })
    }

    /// # Safety
    ///
    /// `base` is of a `map`, and nobody uses the memory from here on.
    pub(super) unsafe fn unmap(base: NonNull<c_void>, _bytes: usize) -> io::Result<()> {
        // SAFETY: the caller's promise; the system knows the size, and wants to be told 0.
        match unsafe { VirtualFree(base.as_ptr(), 0, MEM_RELEASE) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}
