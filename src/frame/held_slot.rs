//! Access to the slot of a frame that is held.

use std::fmt;
use std::ptr::NonNull;
use std::slice;

use crate::diagnostics::call_site::CallSite;
use crate::metadata::Metadata;
use crate::pool::core::{Core, Slot};
use crate::recording::EventKind;

/// Pointer to the slot of a frame that is out, in the possession of a handle.
///
/// All accessors only read. By S2 no thread writes the frame meanwhile: a unique handle is
/// borrowed, and a shared frame is not written.
#[repr(transparent)]
pub(super) struct HeldSlot(NonNull<Slot>);

// SAFETY: the slot and the core are `Sync`. Bytes and state are written through the only handle of
// the frame (H1, S2), which moves to the other thread as a whole; until then they are only read,
// and by S2 the reads through other handles happen before the first write. A release from any
// thread is what the free list is for.
unsafe impl Send for HeldSlot {}
// SAFETY: through `&HeldSlot` bytes and state are only read, and by S2 not written meanwhile. The
// rest of the slot that it reaches is atomic or never changes.
unsafe impl Sync for HeldSlot {}

impl HeldSlot {
    /// # Safety
    ///
    /// The frame is out, and the result becomes part of a handle of it.
    #[inline]
    pub(super) unsafe fn new(slot: NonNull<Slot>) -> Self {
        Self(slot)
    }

    #[inline]
    pub(super) fn pointer(&self) -> NonNull<Slot> {
        self.0
    }

    #[inline]
    pub(super) fn slot(&self) -> &Slot {
        // SAFETY: by H2 the frame keeps its slot alive.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(super) fn core(&self) -> &Core {
        // SAFETY: by H2 the frame keeps the core alive.
        unsafe { self.slot().core.as_ref() }
    }

    /// Returns the number of bytes in use.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slot().state.with(|state| {
            // SAFETY: by S2 no thread writes the state meanwhile.
            unsafe { (*state).length }
        })
    }

    /// Returns whether a release has work beyond the holder record.
    #[inline]
    pub(super) fn needs_reset(&self) -> bool {
        self.slot().state.with(|state| {
            // SAFETY: by S2 no thread writes the state meanwhile.
            unsafe { (*state).needs_reset }
        })
    }

    /// Returns the bytes in use.
    #[inline]
    pub(super) fn payload(&self) -> &[u8] {
        let start = self.slot().payload.as_ptr();
        // SAFETY: the frame's bytes are mapped and initialized as long as the handle is borrowed
        // (H2, H3, H4), the length is at most the capacity, and by S2 no thread writes them
        // meanwhile.
        unsafe { slice::from_raw_parts(start, self.len()) }
    }

    pub(super) fn prefix(&self) -> &[u8] {
        let (start, length) = self.prefix_range();
        // SAFETY: as for `payload`: mapped and initialized (H2, H3, H4), and not written (S2).
        unsafe { slice::from_raw_parts(start.as_ptr(), length) }
    }

    /// Returns the first byte of the prefix, and its length.
    pub(super) fn prefix_range(&self) -> (NonNull<u8>, usize) {
        let length = self.core().layout.framing.prefix;
        // SAFETY: the prefix lies directly before the payload in one mapping (M3).
        (unsafe { self.slot().payload.sub(length) }, length)
    }

    /// Returns the bytes from the start of the segment to the payload.
    pub(super) fn offset(&self) -> usize {
        self.slot().payload.addr().get() - self.core().address
    }

    pub(super) fn metadata(&self) -> &Metadata {
        self.slot().state.with(|state| {
            // SAFETY: by S2 no thread writes the state as long as the handle is borrowed.
            unsafe { &(*state).metadata }
        })
    }

    /// Records an event of the frame.
    pub(super) fn record(&self, kind: EventKind) {
        let slot = self.slot();
        self.core()
            .diagnostics
            .frame_event(kind, &slot.holder, slot.number);
    }

    /// Records that the frame has the holder at `site` from now on.
    pub(super) fn record_transfer(&self, kind: EventKind, site: CallSite) {
        let slot = self.slot();
        self.core()
            .diagnostics
            .on_transfer(kind, &slot.holder, slot.number, site);
    }

    /// Writes the fields that `Debug` shows.
    pub(super) fn describe(&self, out: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        out.field("slot", &self.slot().number)
            .field("len", &self.len())
            .field("capacity", &self.slot().capacity)
            .field("metadata", self.metadata())
            .finish()
    }
}
