//! The place of a frame in the pool: what is known of it beside its bytes.
//!
//! A slot has cache lines of its own, away from the payload. What it holds falls into four parts:
//!
//! - set once, when the pool is made, and only read since: whose slot, where its bit, where its
//!   bytes;
//! - [`State`], which belongs to the one handle of a frame that is out and unique, and may be read
//!   by all handles of one that is shared;
//! - the number of handles;
//! - who has the frame: see [`holder_table`](super::holder_table).
//!
//! # Invariants
//!
//! - **S1** `handles` is 1 while the frame is free or unique, and the number of handles while it is
//!   shared. So a unique frame and a shared one with a single handle are the same thing.
//! - **S2** Bytes and [`State`] are written only by a handle that is the only one: it is unique, or
//!   it has read 1 from `handles` with *Acquire*, which pairs with the *Release* with which every
//!   other handle left.

use std::ptr::NonNull;

use crate::metadata::Metadata;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, UnsafeCell, fence};

use super::core::Core;
use super::free_list::{Bits, FreeList};
use super::holder_table::HolderRecord;

/// More handles than can exist without leaking memory on purpose.
const MAX_HANDLES: usize = usize::MAX / 2;

/// One slot of a pool. The first cache line is what every acquire and release looks at; the second holds
/// the metadata; the third is what they write down.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) core: NonNull<Core>,
    /// Where the frame's bit is, and what to add there: the way back without a detour over the core.
    pub(crate) word: NonNull<AtomicU64>,
    pub(crate) addend: u64,
    /// The first byte after the prefix.
    pub(crate) payload: NonNull<u8>,
    pub(crate) capacity: usize,
    pub(crate) handles: Handles,
    pub(crate) state: UnsafeCell<State>,
    pub(crate) number: usize,
    pub(crate) holder: HolderRecord,
}

/// What changes from owner to owner.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct State {
    /// Bytes in use, from the start. Survives the release, as `lActual` does; whoever acquires the
    /// frame through Rust starts at the capacity.
    pub(crate) length: usize,
    /// Whether there is something to be tidied when the frame comes or goes: metadata that may be other
    /// than the default or, by the pool's policy, the bytes.
    pub(crate) needs_reset: bool,
    pub(crate) metadata: Metadata,
}

#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(size_of::<Slot>() == 192, "three cache lines");

// SAFETY: `core`, `word` and `payload` are followed only while the frame is out, which keeps all three
// alive. The rest is plain data; `state` is written by one thread at a time and read by none then, by
// S2 and by the free list's F1 and F2, and `State` itself may be sent and shared (checked below).
unsafe impl Send for Slot {}
// SAFETY: as above; through `&Slot` only `handles` and `holder`, which are atomic, change without a handle's
// leave.
unsafe impl Sync for Slot {}

const _: () = {
    const fn may_be_sent_and_shared<T: Send + Sync>() {}
    may_be_sent_and_shared::<State>();
};

impl Slot {
    /// A slot whose frame is free and was never used. Its core is at `core`, or will be, with `free`
    /// in it.
    pub(crate) fn new(
        core: NonNull<Core>,
        free: &FreeList,
        (number, place): (usize, Bits),
        payload: NonNull<u8>,
        capacity: usize,
        needs_reset: bool,
    ) -> Self {
        let state = State {
            length: capacity,
            needs_reset,
            metadata: Metadata::default(),
        };
        Self {
            core,
            word: NonNull::from(free.word(place.word)),
            addend: free.addend(place.bits),
            payload,
            capacity,
            number,
            handles: Handles(AtomicUsize::new(1)),
            state: UnsafeCell::new(state),
            holder: HolderRecord::new(),
        }
    }
}

/// The number of handles of a frame.
///
/// A type of its own, and nothing but an atomic, because [`remove`](Self::remove) runs on after the
/// frame may be somebody else's and the pool gone: nothing else of the slot may be borrowed then.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Handles(AtomicUsize);

impl Handles {
    /// Counts one more handle of a shared frame.
    ///
    /// Aborts the process rather than let the count wrap, as `Arc` does.
    #[inline]
    pub(crate) fn add(&self) {
        // Relaxed: the new handle comes from one that keeps the frame out.
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        if before > MAX_HANDLES {
            std::process::abort();
        }
    }

    /// How many there are; for whoever wants to know and has none.
    pub(crate) fn count(&self) -> usize {
        // Relaxed: a number to be shown.
        self.0.load(Ordering::Relaxed)
    }

    /// Whether the caller's handle is the only one (S2).
    #[inline]
    pub(crate) fn is_one(&self) -> bool {
        // Acquire: pairs with the Release in `remove`; what the other handles read was read before
        // we write.
        // mutant: is-only-handle
        self.0.load(Ordering::Acquire) == 1
    }

    /// Counts one handle less. Returns whether it was the last: then the frame is the caller's to
    /// release, and S1 holds again.
    #[inline]
    pub(crate) fn remove(&self) -> bool {
        if self.is_one() {
            return true;
        }
        // Release: pairs with the Acquire here and in `is_one`.
        // mutant: handle-is-dropped
        if self.0.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // mutant: last-handle-acquires
        fence(Ordering::Acquire);
        // Relaxed: the release of the frame hands this on with everything else.
        // mutant: last-handle-is-counted-again
        self.0.store(1, Ordering::Relaxed);
        true
    }
}
