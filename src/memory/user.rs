//! Private pages of this process: what [`AllocatorMode::User`](crate::AllocatorMode) means.

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::memory_options::MemoryRequest;

use super::residency::{MemoryRequests, map_huge, populate};
use super::touch;

/// A mapping of private, zeroed, readable and writable pages; unmapped on drop.
#[derive(Debug)]
pub(super) struct UserPages {
    /// Where it begins for its users: at the start of the mapping, or not far behind.
    base: NonNull<u8>,
    start: NonNull<u8>,
    mapped: usize,
}

// SAFETY: the pages belong to this value alone and to no thread; whichever thread drops it may
// unmap them.
unsafe impl Send for UserPages {}
// SAFETY: a shared `UserPages` only tells its address.
unsafe impl Sync for UserPages {}

impl UserPages {
    /// Maps at least `bytes` bytes, which is not 0, as wished for.
    pub(super) fn map(bytes: usize, requests: &mut MemoryRequests) -> Result<Self, CommitError> {
        if requests.explicit_huge_pages() {
            if let Some(pages) = Self::of_huge_pages(bytes, requests)? {
                requests.after_touch(pages.base, bytes, pages.mapped)?;
                return Ok(pages);
            }
        }
        let (room, alignment) = requests.room(bytes);
        let pages = Self::reserve(room, alignment, requests.node_to_map_on()?)?;
        requests.before_touch(pages.base, room)?;
        if requests.prefault() {
            // SAFETY: mapped writable, and nobody else knows of it yet.
            unsafe { touch(pages.base, bytes) };
        }
        requests.after_touch(pages.base, bytes, room)?;
        Ok(pages)
    }

    /// Maps `bytes` bytes that start at a multiple of `alignment`, a power of two, and are not touched
    /// yet.
    pub(super) fn reserve(
        bytes: usize,
        alignment: Option<usize>,
        node: Option<u32>,
    ) -> Result<Self, CommitError> {
        // Hardly more than `isize::MAX`, so there is no overflow.
        let mapped = bytes + alignment.unwrap_or(0);
        let start = system::map(mapped, node).map_err(|source| match source.kind() {
            io::ErrorKind::OutOfMemory => CommitError::OutOfMemory { bytes },
            _ => CommitError::Os {
                call: system::MAP,
                source,
            },
        })?;
        let start = start.cast();
        let (address, alignment) = (start.addr().get(), alignment.unwrap_or(1));
        let offset = address.next_multiple_of(alignment) - address;
        Ok(Self {
            // SAFETY: the offset is less than the alignment, by which there is more than `bytes`.
            base: unsafe { start.add(offset) },
            start,
            mapped,
        })
    }

    /// As `map`, of explicit huge pages, with memory behind them. `None` if there are none, which is then
    /// noted.
    fn of_huge_pages(
        bytes: usize,
        requests: &mut MemoryRequests,
    ) -> Result<Option<Self>, CommitError> {
        let failed = match map_huge(bytes, requests.node_to_map_on()?) {
            Ok((base, mapped)) => {
                let base = base.cast();
                let pages = Self {
                    base,
                    start: base,
                    mapped,
                };
                requests.before_touch(base, mapped)?;
                match populate(base, mapped) {
                    Ok(()) => return Ok(Some(pages)),
                    Err(failed) => failed,
                }
            }
            Err(failed) => failed,
        };
        requests.miss(MemoryRequest::ExplicitHugePages, failed)?;
        Ok(None)
    }

    /// Where the pages begin, a multiple of the page size.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for UserPages {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped. Frames are what follows pointers into it, and those
        // whose memory is dropped are all back for good (C1, C5 of the pool's core).
        let unmapped = unsafe { system::unmap(self.start.cast(), self.mapped) };
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

    pub(super) fn map(bytes: usize, _node: Option<u32>) -> io::Result<NonNull<c_void>> {
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
        MEM_COMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAllocExNuma, VirtualFree,
    };
    use windows_sys::Win32::System::Threading::GetCurrentProcess;

    use super::super::NO_NODE;
    use super::{NonNull, c_void, io};

    pub(super) const MAP: &str = "VirtualAllocExNuma";

    pub(super) fn map(bytes: usize, node: Option<u32>) -> io::Result<NonNull<c_void>> {
        let kind = MEM_RESERVE | MEM_COMMIT;
        // SAFETY: takes no arguments; the pseudo handle need not be closed.
        let process = unsafe { GetCurrentProcess() };
        let (null, node) = (ptr::null(), node.unwrap_or(NO_NODE));
        // SAFETY: a new mapping at an address of the system's choice replaces none that exists.
        let base = unsafe { VirtualAllocExNuma(process, null, bytes, kind, PAGE_READWRITE, node) };
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
