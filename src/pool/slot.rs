//! Slot of a frame: all that the pool knows of the frame beside its bytes.
//!
//! A slot has cache lines of its own, away from the payload. It holds
//!
//! - fields that are set when the pool is built and only read afterwards;
//! - the number of handles;
//! - [`State`], which belongs to the unique holder of the frame, and may be read by all holders of
//!   a shared frame;
//! - the [holder record](crate::diagnostics::holder_record).
//!
//! # Invariants
//!
//! - **S1** `handles` is 1 while the frame is free or unique, and the number of handles while it is
//!   shared. So a unique frame and a shared frame with a single handle are the same thing.
//! - **S2** Bytes and [`State`] are written only through the only handle: the frame is unique, or
//!   its holder has read 1 from `handles` with *Acquire*, which pairs with the *Release* by which
//!   every other handle was removed.

use std::ptr::NonNull;

use crate::diagnostics::holder_record::HolderRecord;
use crate::metadata::Metadata;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, UnsafeCell, fence};

use super::attachment::Attachment;
use super::free_list::{Bits, FreeList};
use super::starts::Start;

/// More handles than can exist unless handles are leaked on purpose.
const MAX_HANDLES: usize = usize::MAX / 2;

/// One slot of a pool whose shared part is a `C`.
///
/// The first cache line is read by every acquire and release. The metadata follows. The fourth,
/// with the holder record, is written by acquires.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot<C> {
    pub(crate) core: NonNull<C>,
    /// The word of the free list with the frame's bit, the bits that a release inverts, and where a
    /// thread starts after it.
    pub(crate) word: NonNull<AtomicU64>,
    pub(crate) flips: u32,
    pub(crate) start: Start,
    /// The first byte after the prefix.
    pub(crate) payload: NonNull<u8>,
    /// Bytes in use of an acquired frame: the frame size that was asked for.
    pub(crate) frame_len: usize,
    pub(crate) handles: Handles,
    pub(crate) state: UnsafeCell<State>,
    pub(crate) number: usize,
    /// In bytes: the frame size as it was rounded, so at least `frame_len`. Acquire and release do
    /// not read it.
    pub(crate) capacity: usize,
    pub(crate) holder: HolderRecord,
}

/// The part of a slot that changes from holder to holder.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct State {
    /// Bytes in use, from the start of the payload. It survives the release, because a COM sample
    /// keeps its data length (`IMediaSample::GetActualDataLength`) until a client sets it. An
    /// acquire through Rust sets it to the slot's `frame_len`.
    pub(crate) length: usize,
    /// True if a release of the frame has work beyond the holder record: the metadata
    /// may differ from the default, or the pool works per frame.
    pub(crate) needs_reset: bool,
    /// True if every acquire in this pool has work beyond the holder record. It never changes; it
    /// is here because an acquire has this cache line at hand.
    pub(crate) needs_begin: bool,
    /// The share that has the frame, in a pool with shares.
    pub(crate) share: u8,
    pub(crate) metadata: Metadata,
    /// A value of the user's, which survives the release.
    pub(crate) attachment: Option<Attachment>,
}

#[cfg(all(not(all(test, loom)), target_pointer_width = "64"))]
const _: () = assert!(size_of::<Slot<()>>() == 256, "four cache lines");

// SAFETY: `core`, `word` and `payload` are followed only while the frame is out, which keeps all
// three alive, or through a borrowed core, which owns the word. `state` is written by one thread at
// a time while no other thread reads it, by S2 and by the free list's F1 and F2; `State` itself is
// `Send` and `Sync` (checked below). The other fields are plain data or atomics.
unsafe impl<C: Send + Sync> Send for Slot<C> {}
// SAFETY: `&Slot` gives access to `handles` and `holder`, which are atomics, and to fields that
// never change. `state` is reached through an `UnsafeCell`, whose users answer for S2. The pointers
// are followed under the condition above.
unsafe impl<C: Send + Sync> Sync for Slot<C> {}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<State>();
};

/// Identity of a frame: the address of its slot. It can be kept anywhere; only the holder of the
/// frame follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameId(NonNull<()>);

// SAFETY: an address, which this type does not follow.
unsafe impl Send for FrameId {}
// SAFETY: an address, which this type does not follow.
unsafe impl Sync for FrameId {}

impl FrameId {
    pub(crate) fn of<C>(slot: NonNull<Slot<C>>) -> Self {
        Self(slot.cast())
    }

    /// Returns the slot. Its core is a `C`, as it was given to [`of`](Self::of).
    pub(crate) fn slot<C>(self) -> NonNull<Slot<C>> {
        self.0.cast()
    }
}

/// Frames of tests, which have no slots.
#[cfg(test)]
impl FrameId {
    pub(crate) fn numbered(number: usize) -> Self {
        let address = std::ptr::without_provenance_mut(number + 1);
        Self(NonNull::new(address).unwrap())
    }

    #[cfg(loom)]
    pub(crate) fn number(self) -> usize {
        self.0.addr().get() - 1
    }
}

/// Lengths of the frames of a pool, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) frame_len: usize,
    pub(crate) capacity: usize,
}

impl<C> Slot<C> {
    /// Makes the slot of a frame that is free and was never used.
    ///
    /// `core` is the address at which the pool's core, with `free` in it, is or will be.
    pub(crate) fn new(
        core: NonNull<C>,
        free: &FreeList,
        (number, position): (usize, Bits),
        payload: NonNull<u8>,
        Lengths {
            frame_len,
            capacity,
        }: Lengths,
        (needs_begin, needs_reset): (bool, bool),
        attachment: Option<Attachment>,
    ) -> Self {
        let state = State {
            length: frame_len,
            needs_reset,
            needs_begin,
            share: 0,
            metadata: Metadata::default(),
            attachment,
        };
        Self {
            core,
            word: NonNull::from(free.word(position.word)),
            flips: position.flips(),
            start: free.start_at(position.word),
            payload,
            frame_len,
            number,
            handles: Handles(AtomicUsize::new(1)),
            state: UnsafeCell::new(state),
            capacity,
            holder: HolderRecord::new(),
        }
    }
}

/// The number of handles of a frame.
///
/// It is a type of its own, and nothing but an atomic, because [`remove`](Self::remove) is still
/// running when another thread may already release the frame and free the pool: no other part of
/// the slot may be borrowed then.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Handles(AtomicUsize);

impl Handles {
    /// Counts one more handle of a shared frame.
    ///
    /// Aborts the process before the count can wrap, as `Arc` does.
    #[inline]
    pub(crate) fn add(&self) {
        // Relaxed: the new handle is made from one that keeps the frame out.
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        if before > MAX_HANDLES {
            std::process::abort();
        }
    }

    /// Returns the number of handles, for a report.
    pub(crate) fn count(&self) -> usize {
        // Relaxed: a number to show.
        self.0.load(Ordering::Relaxed)
    }

    /// Returns whether the caller's handle is the only one (S2).
    #[inline]
    pub(crate) fn is_one(&self) -> bool {
        // Acquire: pairs with the Release in `remove`. The reads through the other handles happened
        // before the writes that follow here.
        // mutant: is-only-handle
        self.0.load(Ordering::Acquire) == 1
    }

    /// Counts one handle less. Returns whether it was the last.
    ///
    /// In that case the caller is the frame's unique holder and releases it; S1 holds again.
    #[inline]
    pub(crate) fn remove(&self) -> bool {
        if self.is_one() {
            return true;
        }
        // Release: pairs with the fence here and the Acquire in `is_one`.
        // mutant: handle-is-dropped
        if self.0.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // Acquire: pairs with the Release of the handles that were removed before.
        // mutant: last-handle-acquires
        fence(Ordering::Acquire);
        // Relaxed: the release of the frame publishes this with everything else.
        // mutant: last-handle-is-counted-again
        self.0.store(1, Ordering::Relaxed);
        true
    }
}
