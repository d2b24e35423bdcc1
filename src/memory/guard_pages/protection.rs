//! Access rights of the pages of a guarded segment.

use std::fmt::Write as _;
use std::ops::Range;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::framing::{FrameLayout, Framing};

use super::super::sys::{CallError, pages, standard_error};
use super::line::Line;

/// The pages of a guarded segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardPages {
    pub(super) layout: FrameLayout,
    /// Start of the segment, at the start of a page.
    base: NonNull<u8>,
    /// Bytes from `base` to the first prefix.
    pub(super) first: usize,
}

// SAFETY: the fields are a layout, an address and an offset. Methods that change access rights are
// unsafe; their callers own the frames concerned.
unsafe impl Send for GuardPages {}
// SAFETY: the fields never change, and methods that change access rights are unsafe.
unsafe impl Sync for GuardPages {}

impl GuardPages {
    /// Computes the guarded layout of a framing for the pages of this system.
    pub(crate) fn layout(framing: &Framing) -> Result<FrameLayout, CommitError> {
        FrameLayout::guarded(framing, pages::page_size())
    }

    /// Makes a whole segment inaccessible.
    ///
    /// Before that, it checks that all frames can be accessible at once: the number of mappings of
    /// a process is limited, and each accessible frame takes two more. During the check these
    /// mappings are not available to the rest of the process.
    ///
    /// # Safety
    ///
    /// The `layout.total` bytes from `base` on are whole pages inside one mapping of this crate.
    /// They are not in use, and their access rights were not changed since they were mapped. The
    /// first prefix is `first` bytes after `base`.
    pub(crate) unsafe fn new(
        layout: &FrameLayout,
        base: NonNull<u8>,
        first: usize,
    ) -> Result<Self, CommitError> {
        let guard_pages = Self {
            layout: *layout,
            base,
            first,
        };
        let mut guard_start = 0;
        for slot in 0..layout.framing.frames {
            let frame = guard_pages.pages(slot);
            // SAFETY: these are whole pages of the segment, between two frames or before the first.
            // The segment is not in use.
            unsafe { guard_pages.protect_pages(guard_start..frame.start) }?;
            guard_start = frame.end;
        }
        // SAFETY: the layout has a guard page after the last frame. The segment is not in use.
        unsafe { guard_pages.protect_pages(guard_start..layout.total) }?;
        // SAFETY: these are all pages of the segment, which is not in use.
        unsafe { guard_pages.protect_pages(0..layout.total) }?;
        Ok(guard_pages)
    }

    /// Makes a frame accessible.
    ///
    /// If the system refuses, the process is aborted with a message. That happens only if other
    /// code has used up the mappings that the commit found available. The frame cannot be used
    /// then, and no error of an acquire would tell the reason.
    ///
    /// # Safety
    ///
    /// The caller owns the frame in `slot`, which keeps the segment mapped.
    pub(crate) unsafe fn unprotect(&self, slot: usize) {
        let range = self.pages(slot);
        // SAFETY: the pages of a frame lie inside the segment.
        let start = unsafe { self.base.add(range.start) };
        // SAFETY: these are whole pages of the segment, which is mapped because the caller owns the
        // frame.
        if let Err(error) = unsafe { pages::unprotect(start, range.len()) } {
            abort(slot, &error);
        }
    }

    /// Makes a frame inaccessible. If the system refuses, the frame stays accessible.
    ///
    /// # Safety
    ///
    /// The caller owns the frame in `slot`, which keeps the segment mapped. Its bytes are not used
    /// until [`unprotect`](Self::unprotect) is called for it.
    pub(crate) unsafe fn protect(&self, slot: usize) {
        // SAFETY: these are whole pages of the segment, which is mapped because the caller owns the
        // frame. The caller does not use them until they are accessible again.
        drop(unsafe { self.protect_pages(self.pages(slot)) });
    }

    /// Returns the pages of a frame as a range of byte offsets in the segment.
    fn pages(&self, slot: usize) -> Range<usize> {
        self.layout.pages(self.first, slot)
    }

    /// # Safety
    ///
    /// The range consists of whole pages of the segment, which is mapped. They are not used until
    /// they are accessible again.
    unsafe fn protect_pages(&self, range: Range<usize>) -> Result<(), CallError> {
        // SAFETY: the range lies inside the segment.
        let start = unsafe { self.base.add(range.start) };
        // SAFETY: the caller passes whole pages of the segment, and does not use them.
        unsafe { pages::protect(start, range.len()) }
    }

    /// Returns the offset of an address in the segment, or `None` if it lies outside.
    pub(super) fn offset_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.base.addr().get())?;
        (offset < self.layout.total).then_some(offset)
    }

    #[cfg(test)]
    #[cfg(not(all(test, loom)))]
    pub(super) fn without_memory(framing: Framing, page: usize) -> Self {
        let layout = FrameLayout::guarded(&framing.actual().unwrap(), page).unwrap();
        Self {
            layout,
            base: NonNull::dangling(),
            first: layout.first_prefix(0),
        }
    }
}

/// Aborts the process with a message: the frame in `slot` cannot be made accessible.
fn abort(slot: usize, error: &CallError) -> ! {
    let mut line = Line::new();
    let (call, code) = (error.call, error.source.raw_os_error().unwrap_or(0));
    // An error means that the line is full. What it contains is written.
    let _full = write!(
        line,
        "cannot make slot {slot} of a pool accessible: {call} failed (os error {code}), probably \
         because the process has too many memory mappings; aborting"
    );
    standard_error::write(line.finish());
    std::process::abort();
}
