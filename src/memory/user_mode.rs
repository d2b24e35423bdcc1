//! Pages of [`AllocatorMode::User`](crate::AllocatorMode): private memory of this process.

use std::io;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::memory_options::MemoryRequest;

use super::requests::{MemoryRequests, prefault};
use super::sys::{CallError, options, pages};

/// A mapping of private, zeroed, readable and writable pages, unmapped on drop.
#[derive(Debug)]
pub(super) struct UserPages {
    /// First usable byte: the start of the mapping, rounded up to the requested alignment.
    base: NonNull<u8>,
    start: NonNull<u8>,
    mapped: usize,
}

// SAFETY: only this value owns the mapping, and the mapping is not tied to a thread: any thread may
// unmap it.
unsafe impl Send for UserPages {}
// SAFETY: `&UserPages` gives access to the address only, which never changes.
unsafe impl Sync for UserPages {}

impl UserPages {
    /// Maps at least `bytes` bytes, which is not 0, and applies the requests.
    pub(super) fn map(bytes: usize, requests: &mut MemoryRequests) -> Result<Self, CommitError> {
        if requests.explicit_huge_pages() {
            if let Some(pages) = Self::map_explicit_huge(bytes, requests)? {
                requests.apply_after_prefault(pages.base, bytes, pages.mapped)?;
                return Ok(pages);
            }
        }
        let (size, alignment) = requests.mapping_size(bytes);
        let pages = Self::reserve(size, alignment, requests.mapping_node()?)?;
        requests.apply_before_prefault(pages.base, size)?;
        if requests.prefault() {
            // SAFETY: the mapping is new, has at least `bytes` bytes from `base` on, and only this
            // function knows it.
            unsafe { prefault(pages.base, bytes) };
        }
        requests.apply_after_prefault(pages.base, bytes, size)?;
        Ok(pages)
    }

    /// Maps `bytes` bytes from a multiple of `alignment` on, a power of two. They are not
    /// prefaulted.
    pub(super) fn reserve(
        bytes: usize,
        alignment: Option<usize>,
        node: Option<u32>,
    ) -> Result<Self, CommitError> {
        // `bytes` hardly exceeds `isize::MAX`, so the sum does not overflow.
        let mapped = bytes + alignment.unwrap_or(0);
        let start = pages::map(mapped, node).map_err(|error| match error.source.kind() {
            io::ErrorKind::OutOfMemory => CommitError::OutOfMemory { bytes },
            _ => error.into(),
        })?;
        let (address, alignment) = (start.addr().get(), alignment.unwrap_or(1));
        let offset = address.next_multiple_of(alignment) - address;
        Ok(Self {
            // SAFETY: the offset is less than the alignment, which was added to the size of the
            // mapping.
            base: unsafe { start.add(offset) },
            start,
            mapped,
        })
    }

    /// Maps explicit huge pages that are backed by memory. If there are none, records the request
    /// as unmet and returns `None`.
    fn map_explicit_huge(
        bytes: usize,
        requests: &mut MemoryRequests,
    ) -> Result<Option<Self>, CommitError> {
        let error = match options::map_explicit(bytes, requests.mapping_node()?) {
            Ok((base, mapped)) => {
                let pages = Self {
                    base,
                    start: base,
                    mapped,
                };
                requests.apply_before_prefault(base, mapped)?;
                match options::populate(base, mapped) {
                    Ok(()) => return Ok(Some(pages)),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        requests.record_unmet(MemoryRequest::ExplicitHugePages, error)?;
        Ok(None)
    }

    /// Returns the first usable byte. Its address is a multiple of the page size.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for UserPages {
    fn drop(&mut self) {
        // SAFETY: `start` and `mapped` are those of the mapping, which only this value owns. Frames
        // are the only users of its bytes, and a segment is dropped after the last frame was
        // released for good (C1 and C5 of the pool's core).
        let unmapped: Result<(), CallError> = unsafe { pages::unmap(self.start, self.mapped) };
        // `munmap` can fail, for example at the limit of mappings. The pages then leak.
        drop(unmapped);
    }
}
