//! Holder record of a slot: who acquired the frame, from which source line.
//!
//! The pool never reads a record. The holder writes it with plain stores when the frame is acquired
//! and released; reports read it at any time and delay no thread.
//!
//! | `state`: generation | held | the frame is | the other words describe |
//! |---|---|---|---|
//! | g | 0 | free, or out and not yet picked up by its acquirer | holder number g, the last one |
//! | g | 1 | held | holder number g |
//!
//! # Invariants
//!
//! - **E1** Each word of a record is valid by itself, whenever it is read: `location` is the source
//!   line of some acquire in the copy of the crate that made the pool, or null; the label in
//!   `acquirer` is one that this copy made (O2, O3).
//! - **E2** The generation grows by one each time the frame is acquired. Only the unique holder
//!   writes `state`, so a load and a store are enough. (The next holder sees the last one's
//!   generation by the free list's F2.)
//! - **E3** A [`Snapshot`] is of one generation: a reader loads `state` first and once more at the
//!   end, and starts again if it has changed. So a frame that two snapshots show held in the same
//!   generation was held all the time between them. (A frame that is given another label between
//!   the two loads may be seen with the location of one call and the label of another.)
//!
//! # Orderings
//!
//! This is a sequence lock with one writer, who never waits.
//!
//! - The store of `state` in [`record_acquire`](HolderRecord::record_acquire) is *Release* and the
//!   first load in [`snapshot`](HolderRecord::snapshot) is *Acquire*: a reader that sees generation
//!   g sees at least the words of g.
//! - The *Release* fence before the words in `record_acquire` pairs with the *Acquire* fence after
//!   them in `snapshot`: a reader that sees a word of g + 1 sees at its second load of `state` that
//!   generation g is no longer held, because the release of g happened before the acquire of g + 1.
//!
//! On x86-64 both cost nothing.

use std::panic::Location;
use std::ptr;

use crate::label::Label;
use crate::sync::{Ordering, unmodeled};

use super::call_site::{Acquirer, CallSite};

/// Bit 0 of `state`. The generation is in the bits above.
const HELD: u64 = 1;
const GENERATION: u64 = 2;

/// Reads of a record that changes in the meantime, before the reader gives up.
const MAX_READS: usize = 3;

/// The record of one slot. It lies in a cache line that an acquire writes and never has to read.
#[derive(Debug)]
pub(crate) struct HolderRecord {
    state: unmodeled::AtomicU64,
    location: unmodeled::AtomicPtr<Location<'static>>,
    /// An [`Acquirer`].
    acquirer: unmodeled::AtomicU64,
    /// Number of times that the frame was shared.
    shares: unmodeled::AtomicU64,
    /// Time of the acquire in nanoseconds of the pool's clock; 0 if the pool does not record it.
    acquired_at: unmodeled::AtomicU64,
}

/// The content of a record at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    state: u64,
    /// `None` if the frame was never acquired, or last in another copy of the crate.
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) acquirer: Acquirer,
    /// In nanoseconds of the pool's clock; 0 if it is not recorded.
    pub(crate) acquired_at: u64,
}

impl Snapshot {
    /// Returns whether a holder has picked the frame up and not released it.
    pub(crate) fn is_held(&self) -> bool {
        self.state & HELD != 0
    }

    /// Returns the number of times that the frame was acquired up to this snapshot.
    pub(crate) fn generation(&self) -> u64 {
        self.state / GENERATION
    }

    pub(crate) fn label(&self) -> Option<Label> {
        self.acquirer.label()
    }
}

impl HolderRecord {
    pub(crate) const fn new() -> Self {
        Self {
            state: unmodeled::AtomicU64::new(0),
            location: unmodeled::AtomicPtr::new(ptr::null_mut()),
            acquirer: unmodeled::AtomicU64::new(0),
            shares: unmodeled::AtomicU64::new(0),
            acquired_at: unmodeled::AtomicU64::new(0),
        }
    }

    /// Records that the frame was acquired. Only its unique holder may call this.
    #[inline(always)]
    pub(crate) fn record_acquire(&self, site: CallSite) {
        let state = self.state.load(Ordering::Relaxed);
        // Release: pairs with the Acquire fence in `snapshot` (E3).
        unmodeled::fence(Ordering::Release);
        self.record_transfer(site);
        // Release: pairs with the first load in `snapshot` (E3).
        self.state.store(
            (state & !HELD).wrapping_add(GENERATION) | HELD,
            Ordering::Release,
        );
    }

    /// Records that the frame is about to be released. Only its unique holder may call this.
    #[inline(always)]
    pub(crate) fn record_release(&self) {
        let state = self.state.load(Ordering::Relaxed);
        // Release: pairs with the first load in `snapshot`; who held the frame last can be read.
        self.state.store(state & !HELD, Ordering::Release);
    }

    /// Records another holder of the same frame. Any of its holders may call this.
    #[inline(always)]
    pub(crate) fn record_transfer(&self, site: CallSite) {
        let location = site.location().map_or(ptr::null(), ptr::from_ref);
        self.location.store(location.cast_mut(), Ordering::Relaxed);
        self.acquirer
            .store(site.acquirer().to_bits(), Ordering::Relaxed);
    }

    /// Counts one more time that the frame was shared. Only its unique holder may call this.
    #[inline(always)]
    pub(crate) fn record_share(&self) {
        let shares = self.shares.load(Ordering::Relaxed);
        self.shares.store(shares.wrapping_add(1), Ordering::Relaxed);
    }

    /// Sets the time of the acquire; 0 for unknown. Only the frame's unique holder may call this.
    pub(crate) fn set_acquired_at(&self, nanoseconds: u64) {
        self.acquired_at.store(nanoseconds, Ordering::Relaxed);
    }

    /// Returns the recorded acquirer, for a holder of the frame.
    pub(crate) fn acquirer(&self) -> Acquirer {
        Acquirer::from_bits(self.acquirer.load(Ordering::Relaxed))
    }

    /// Reads the record from any thread.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.read_once();
        for _ in 0..MAX_READS {
            // Acquire: pairs with the Release fence in `record_acquire` (E3).
            unmodeled::fence(Ordering::Acquire);
            if self.state.load(Ordering::Relaxed) == snapshot.state {
                return snapshot;
            }
            snapshot = self.read_once();
        }
        // The frame is acquired and released faster than it can be read, so it is not held for
        // long.
        Snapshot {
            state: snapshot.state & !HELD,
            ..snapshot
        }
    }

    /// Reads the words, which may be of several generations.
    fn read_once(&self) -> Snapshot {
        // Acquire: pairs with the Release stores of `state` (E3).
        let state = self.state.load(Ordering::Acquire);
        let location = self.location.load(Ordering::Relaxed);
        Snapshot {
            state,
            // SAFETY: by E1 the pointer is null, or was made in `record_transfer` of a `&'static`
            // of the copy that made the pool. By O1 that copy is still loaded.
            location: unsafe { location.as_ref() },
            acquirer: self.acquirer(),
            acquired_at: self.acquired_at.load(Ordering::Relaxed),
        }
    }

    /// Returns the number of times that the frame was acquired.
    pub(crate) fn acquires(&self) -> u64 {
        self.state.load(Ordering::Relaxed) / GENERATION
    }

    /// Returns the number of times that the frame was shared.
    pub(crate) fn shares(&self) -> u64 {
        self.shares.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[track_caller]
    fn site(label: Option<&str>) -> CallSite {
        CallSite::caller(label.map(Label::new))
    }

    #[test]
    fn a_record_names_the_holder_and_after_the_release_the_last_holder() {
        let record = HolderRecord::new();
        assert_eq!(record.snapshot().location, None);
        let holder = site(Some("capture"));
        record.record_acquire(holder);
        let snapshot = record.snapshot();
        assert!(snapshot.is_held());
        assert_eq!(snapshot.label(), Some(Label::new("capture")));
        assert_eq!(snapshot.location, holder.location());
        assert_eq!(snapshot.acquirer.thread(), crate::sync::thread_id());

        record.record_release();
        let snapshot = record.snapshot();
        assert!(!snapshot.is_held());
        assert_eq!(snapshot.location, holder.location());
        assert_eq!(record.acquires(), 1);
    }

    #[test]
    fn each_acquire_begins_a_new_generation() {
        let record = HolderRecord::new();
        let generations: Vec<_> = (0..3)
            .map(|_| {
                record.record_acquire(site(None));
                let generation = record.snapshot().generation();
                record.record_release();
                generation
            })
            .collect();
        assert_eq!(generations, [1, 2, 3]);
        assert_eq!(record.acquires(), 3);
    }
}
