//! Requests for properties of a segment's memory: applied to new pages, and recorded if unmet.
//!
//! | | Linux | Windows | other Unix |
//! |---|---|---|---|
//! | transparent huge pages | alignment, `madvise` | none | none |
//! | explicit huge pages | `mmap`, `memfd_create` | `VirtualAllocExNuma`, in User mode | none |
//! | NUMA node | `mbind`, after mapping | when memory is mapped | none |
//! | locking | `mlock` | `VirtualLock` | `mlock` |
//! | not in core dumps | `madvise` | none | none |
//! | not in forked children | `madvise` | always met: there is no fork | none |
//! | measurement | `mincore`, `smaps`, `move_pages` | `QueryWorkingSetEx` | none |

use std::io;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::framing::MIN_PAGE_SIZE;
use crate::memory_options::{HugePages, MemoryOptions, MemoryRequest, UnmetRequest};
use crate::mode::AllocatorMode;

use super::sys::{CallError, measure, options};

/// The requests for one segment's memory, and those that were not met so far.
///
/// A new mapping goes through `apply_before_prefault`, is prefaulted if `prefault` says so, and
/// goes through `apply_after_prefault`.
#[derive(Debug)]
pub(super) struct MemoryRequests {
    requested: MemoryOptions,
    mode: AllocatorMode,
    unmet: Vec<UnmetRequest>,
}

impl MemoryRequests {
    pub(super) fn new(requested: MemoryOptions, mode: AllocatorMode) -> Self {
        Self {
            requested,
            mode,
            unmet: Vec::new(),
        }
    }

    pub(super) fn into_unmet(self) -> Vec<UnmetRequest> {
        self.unmet
    }

    /// Returns whether to write to all pages before use.
    ///
    /// That includes memory to be locked. The system would prefault it too, but could not report
    /// that there is too little memory.
    pub(super) fn prefault(&self) -> bool {
        self.requested.prefault || self.requested.locked
    }

    pub(super) fn explicit_huge_pages(&self) -> bool {
        self.requested.huge_pages == HugePages::Explicit
    }

    fn transparent_huge_pages(&self) -> bool {
        self.requested.huge_pages == HugePages::Transparent
    }

    /// Records a request as unmet, or fails if requests are required. A request is recorded once;
    /// a later error replaces an earlier one.
    pub(super) fn record_unmet(
        &mut self,
        request: MemoryRequest,
        CallError { call, source }: CallError,
    ) -> Result<(), CommitError> {
        if self.requested.required {
            return Err(CommitError::UnmetRequest {
                request,
                call,
                source,
            });
        }
        self.unmet.retain(|known| known.request != request);
        self.unmet.push(UnmetRequest::new(request, call, source));
        Ok(())
    }

    /// Records every request as unmet. For custom memory, whose properties the crate does not
    /// change.
    pub(super) fn record_all_unmet(&mut self) -> Result<(), CommitError> {
        for request in self.requested.requests() {
            let reason = "the pool does not change properties of custom memory";
            let error = CallError::unsupported("FrameMemory::allocate", reason);
            self.record_unmet(request, error)?;
        }
        Ok(())
    }

    /// Returns the number of bytes to map for a segment of `bytes` bytes, and the alignment of
    /// their start if it is larger than a page. For transparent huge pages, both are whole huge
    /// pages.
    pub(super) fn mapping_size(&self, bytes: usize) -> (usize, Option<usize>) {
        match options::transparent_page_size() {
            // A segment has at most `isize::MAX` bytes, so rounding does not overflow.
            Some(page) if self.transparent_huge_pages() => {
                (bytes.next_multiple_of(page), Some(page))
            }
            _ => (bytes, None),
        }
    }

    /// Returns the NUMA node to pass when memory is mapped. `None` if there is no request, or if
    /// the system binds memory to a node later.
    pub(super) fn mapping_node(&mut self) -> Result<Option<u32>, CommitError> {
        let Some(node) = self.requested.numa_node else {
            return Ok(None);
        };
        match options::mapping_node(node) {
            Ok(node) => Ok(node),
            Err(error) => self
                .record_unmet(MemoryRequest::NumaNode(node), error)
                .map(|()| None),
        }
    }

    /// Applies the requests that concern pages without memory yet: transparent huge pages and the
    /// NUMA node; and those that keep pages out of core dumps and forked children. The range is a
    /// new mapping.
    pub(super) fn apply_before_prefault(
        &mut self,
        base: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), CommitError> {
        if self.transparent_huge_pages() {
            if let Err(error) = options::advise_huge_pages(base, bytes) {
                self.record_unmet(MemoryRequest::TransparentHugePages, error)?;
            }
        }
        if let Some(node) = self.requested.numa_node {
            if let Err(error) = options::bind_to_node(base, bytes, node) {
                self.record_unmet(MemoryRequest::NumaNode(node), error)?;
            }
        }
        if self.requested.not_dumped {
            if let Err(error) = options::exclude_from_core_dumps(base, bytes) {
                self.record_unmet(MemoryRequest::NotDumped, error)?;
            }
        }
        if self.requested.not_inherited {
            if let Err(error) = options::exclude_from_forks(base, bytes) {
                self.record_unmet(MemoryRequest::NotInherited, error)?;
            }
        }
        Ok(())
    }

    /// Backs a mapping with transparent huge pages as far as the system has any, if they are
    /// requested. The other pages stay without memory.
    pub(super) fn populate_transparent(&self, base: NonNull<u8>, bytes: usize) {
        if self.transparent_huge_pages() {
            // Linux before 5.14 does not know this advice. The object then gets ordinary pages.
            drop(options::populate(base, bytes));
        }
    }

    /// Applies locking, and checks whether the advice to use transparent huge pages was followed.
    /// The segment has `bytes` bytes, its mapping `mapped` bytes.
    pub(super) fn apply_after_prefault(
        &mut self,
        base: NonNull<u8>,
        bytes: usize,
        mapped: usize,
    ) -> Result<(), CommitError> {
        if self.requested.locked {
            // The whole mapping: to lock a part would split it, and with it the huge page at the
            // border.
            if let Err(error) = options::lock(base, mapped) {
                self.record_unmet(MemoryRequest::Locked, error)?;
            }
        }
        let transparent = MemoryRequest::TransparentHugePages;
        let already_unmet = self.unmet.iter().any(|unmet| unmet.request == transparent);
        if self.transparent_huge_pages() && self.prefault() && !already_unmet {
            self.check_huge_pages(base, bytes)?;
        }
        Ok(())
    }

    /// Measures how much of the segment is in huge pages. The call that advises them does not
    /// report whether the system followed the advice.
    fn check_huge_pages(&mut self, base: NonNull<u8>, bytes: usize) -> Result<(), CommitError> {
        let reason = match measure::measure(base, bytes).huge {
            Some(huge) if huge >= bytes => return Ok(()),
            Some(huge) => {
                let setting = options::transparent_setting(self.mode);
                format!(
                    "{huge} of {bytes} bytes are in huge pages; the system setting is {setting}"
                )
            }
            None => "the number of huge pages cannot be measured".to_owned(),
        };
        let error = CallError::new(options::ADVISE_HUGE, io::Error::other(reason));
        self.record_unmet(MemoryRequest::TransparentHugePages, error)
    }
}

/// Writes to every page of a new mapping, so that the system backs it with memory.
///
/// # Safety
///
/// The `bytes` bytes from `base` on are mapped, writable and zeroed, and only the caller knows
/// them.
pub(super) unsafe fn prefault(base: NonNull<u8>, bytes: usize) {
    for offset in (0..bytes).step_by(MIN_PAGE_SIZE) {
        // SAFETY: `offset` is below `bytes`, so the result points into the mapping.
        let page = unsafe { base.add(offset) };
        // SAFETY: the byte is mapped and writable, and no other thread accesses it. A `u8` has no
        // alignment to meet.
        unsafe { page.write_volatile(0) };
    }
}
