//! Holder record of a slot: who acquired the frame, from which source line.
//!
//! The pool never reads a record. The acquiring thread writes it with plain stores; reports read it
//! at any time and delay no thread. A release into a word does not write it (unless acquire times
//! are recorded), so that the record's cache line
//! stays where frames are acquired. The word of the [free list](crate::pool::free_list) tells
//! whether the frame was released since: each release inverts the frame's epoch in the word, and
//! the record has the epoch of its acquire.
//!
//! | generation | `CHANGING` | epochs | the frame is | the other words describe |
//! |---|---|---|---|---|
//! | g | 0 | differ | free, or out and not yet recorded | holder number g, the last one |
//! | g | 1 | any | being recorded for holder number g + 1 | holder number g, g + 1 or both |
//! | g | 0 | are equal | held | holder number g |
//!
//! The epochs are that of the record, the bit `EPOCH` of its `state`, and that of the word. A frame
//! that a releasing thread assigns to a waiter does not pass through its word. The releasing thread
//! records the waiter, in the same epoch.
//!
//! # Invariants
//!
//! - **E1** Each word of a record is valid by itself, whenever it is read: `location` is the source
//!   line of some acquire in the copy of the crate that made the pool, or null; the label in
//!   `acquirer` is one that this copy made (O2, O3).
//! - **E2** The generation grows by one each time the frame is acquired. Only the unique holder
//!   writes `state`, so a load and a store are enough. (The next holder sees the last one's
//!   generation by the free list's F2.)
//! - **E3** A [`Snapshot`] is of one generation, whether the frame is held or not: a reader loads
//!   `state` first and once more at the end, and starts again if it has changed or is `CHANGING`.
//!   If it shows generation g held, the frame was held by g at a moment of the call: the reader has
//!   loaded the word's epoch before `state`, and it was that of g. By F7 each release changes the
//!   epoch. So either g held the frame then, or g acquired it between the two loads. (If g passes
//!   the frame to a waiter in the same epoch, the waiter is recorded before either can know of it.)
//!   A frame that two snapshots show held in the same generation was held all the time between
//!   them. (A frame that is given another label between the two loads of `state` may be seen with
//!   the location of one call and the label of another.)
//! - **E4** A reader that finds no such moment in a few reads names no holder: its snapshot
//!   [is changing](Snapshot::is_changing).
//!
//! # Orderings
//!
//! This is a sequence lock with one writer, who never waits.
//!
//! - The store of `state` at the end of [`record_acquire`](HolderRecord::record_acquire) is
//!   *Release*, and the first load in [`snapshot`](HolderRecord::snapshot) is *Acquire*: a reader
//!   that sees generation g sees at least the words of g.
//! - The release into the word is *Release*, and a reader loads the word's epoch with *Acquire*: a
//!   reader that sees the epoch after the release of g sees at least the words of g.
//! - [`record_transfer`](HolderRecord::record_transfer) and
//!   [`set_acquired_at`](HolderRecord::set_acquired_at) have a *Release* fence before the words. It
//!   comes after the stores of `state` by which this generation began, in this thread or in one
//!   that has passed the frame to it, and pairs with the *Acquire* fence after the words in
//!   `snapshot`: a reader that sees a word of g + 1 sees at its second load of `state` that the
//!   record of g is changing or has changed.
//!
//! On x86-64 they cost nothing but the store of `CHANGING`, in a cache line that is written anyway.

use std::panic::Location;
use std::ptr;

use crate::label::Label;
use crate::sync::{Ordering, unmodeled};

use super::call_site::{Acquirer, CallSite};

/// Bits 0 and 1 of `state`. The generation is in the bits above.
const EPOCH: u64 = 1;
const CHANGING: u64 = 2;
const GENERATION: u64 = 4;

/// Reads of a record that changes in the meantime, before the reader gives up.
const MAX_READS: usize = if cfg!(all(test, loom)) { 1 } else { 4 };

/// The atomic types of a record.
///
/// The pool uses [`Unmodeled`] ones: loom would explore the accesses to the record of every slot in
/// each model of the pool. The models of the record itself run the same code with loom's types.
pub(crate) trait Atomics {
    type Word: Atomic<u64>;
    type Pointer: Atomic<*mut Location<'static>>;

    fn fence(order: Ordering);
}

/// The operations on an atomic that a record uses.
pub(crate) trait Atomic<T> {
    fn new(value: T) -> Self;
    fn load(&self, order: Ordering) -> T;
    fn store(&self, value: T, order: Ordering);
}

/// The atomic types of std.
#[derive(Debug)]
pub(crate) struct Unmodeled;

impl Atomics for Unmodeled {
    type Word = unmodeled::AtomicU64;
    type Pointer = unmodeled::AtomicPtr<Location<'static>>;

    #[inline(always)]
    fn fence(order: Ordering) {
        unmodeled::fence(order);
    }
}

impl Atomic<u64> for unmodeled::AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }
}

impl<T> Atomic<*mut T> for unmodeled::AtomicPtr<T> {
    fn new(value: *mut T) -> Self {
        Self::new(value)
    }

    #[inline(always)]
    fn load(&self, order: Ordering) -> *mut T {
        self.load(order)
    }

    #[inline(always)]
    fn store(&self, value: *mut T, order: Ordering) {
        self.store(value, order);
    }
}

/// The record of one slot, in a cache line of its own, which acquires write.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct HolderRecord<A: Atomics = Unmodeled> {
    state: A::Word,
    location: A::Pointer,
    /// An [`Acquirer`].
    acquirer: A::Word,
    /// Number of times that the frame was shared.
    shares: A::Word,
    /// Time of the acquire in ticks of the pool's clock; 0 if the pool does not record it.
    acquired_at: A::Word,
}

/// The content of a record at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    state: u64,
    is_held: bool,
    /// `None` if the frame was never acquired, or last in another copy of the crate.
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) acquirer: Acquirer,
    /// In nanoseconds of the pool's clock; 0 if it is not recorded.
    pub(crate) acquired_at: u64,
}

impl Snapshot {
    /// Returns whether a holder has recorded itself and not released the frame.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Returns whether the frame was acquired while the record was read, so that the snapshot names
    /// no holder (E4).
    pub(crate) fn is_changing(&self) -> bool {
        self.state & CHANGING != 0
    }

    /// Returns the number of times that the frame was acquired up to this snapshot.
    pub(crate) fn generation(&self) -> u64 {
        self.state / GENERATION
    }

    pub(crate) fn label(&self) -> Option<Label> {
        self.acquirer.label()
    }
}

impl<A: Atomics> HolderRecord<A> {
    pub(crate) fn new() -> Self {
        Self {
            state: A::Word::new(0),
            location: A::Pointer::new(ptr::null_mut()),
            acquirer: A::Word::new(0),
            shares: A::Word::new(0),
            acquired_at: A::Word::new(0),
        }
    }

    /// Records that the frame was acquired, in this epoch of its word. Only its unique holder may
    /// call this.
    #[inline(always)]
    pub(crate) fn record_acquire(&self, site: CallSite, epoch: bool) {
        let state = self.state.load(Ordering::Relaxed) & !(GENERATION - 1);
        // Relaxed: the fence in `record_transfer` orders this store before the words.
        // mutant: holder-is-changing
        self.state.store(state | CHANGING, Ordering::Relaxed);
        self.record_transfer(site);
        let held = state.wrapping_add(GENERATION) | u64::from(epoch);
        // Release: pairs with the first load in `snapshot` (E3).
        // mutant: holder-acquired
        self.state.store(held, Ordering::Release);
    }

    /// Records another holder of the same frame. Any of its holders may call this.
    #[inline(always)]
    pub(crate) fn record_transfer(&self, site: CallSite) {
        // Release: pairs with the Acquire fence in `snapshot` (E3). The state was stored by
        // `record_acquire`, in this thread or in one from which this thread has the frame.
        // mutant: holder-fence-before-words
        A::fence(Ordering::Release);
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
    pub(crate) fn set_acquired_at(&self, ticks: u64) {
        // Release: as in `record_transfer`.
        // mutant: holder-time-fence
        A::fence(Ordering::Release);
        self.acquired_at.store(ticks, Ordering::Relaxed);
    }

    /// Returns the recorded acquirer, for a holder of the frame.
    pub(crate) fn acquirer(&self) -> Acquirer {
        Acquirer::from_bits(self.acquirer.load(Ordering::Relaxed))
    }

    /// Reads the record from any thread. `epoch` returns the present epoch of the frame in its
    /// word, or `None` if the frame is free there.
    pub(crate) fn snapshot(&self, epoch: impl Fn() -> Option<bool>) -> Snapshot {
        for _ in 0..MAX_READS {
            let epoch = epoch();
            let mut snapshot = self.read_once();
            // Acquire: pairs with the Release fence in `record_acquire` (E3).
            // mutant: holder-fence-after-words
            A::fence(Ordering::Acquire);
            // mutant: holder-second-load
            let unchanged = self.state.load(Ordering::Relaxed) == snapshot.state;
            // mutant: holder-checks-changing
            if unchanged && !snapshot.is_changing() {
                // A frame of generation 0 was never acquired.
                // mutant: holder-compares-epochs
                snapshot.is_held =
                    snapshot.generation() > 0 && epoch == Some(snapshot.state & EPOCH != 0);
                return snapshot;
            }
        }
        // The frame is acquired and released faster than it can be read, so it is not held for
        // long; or its acquirer was preempted.
        Snapshot {
            state: self.state.load(Ordering::Relaxed) | CHANGING,
            is_held: false,
            location: None,
            acquirer: Acquirer::from_bits(0),
            acquired_at: 0,
        }
    }

    /// Reads the words, which may be of several generations.
    fn read_once(&self) -> Snapshot {
        // Acquire: pairs with the Release stores of `state` (E3).
        // mutant: holder-first-load
        let state = self.state.load(Ordering::Acquire);
        let location = self.location.load(Ordering::Relaxed);
        Snapshot {
            state,
            is_held: false,
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
        let record: HolderRecord = HolderRecord::new();
        assert_eq!(record.snapshot(|| None).location, None);
        let holder = site(Some("capture"));
        record.record_acquire(holder, true);
        let snapshot = record.snapshot(|| Some(true));
        assert!(snapshot.is_held());
        assert_eq!(snapshot.label(), Some(Label::new("capture")));
        assert_eq!(snapshot.location, holder.location());
        assert_eq!(snapshot.acquirer.thread(), crate::sync::thread_id());

        // Free in the word; taken out of the word by the next holder.
        for epoch in [None, Some(false)] {
            let snapshot = record.snapshot(|| epoch);
            assert!(!snapshot.is_held());
            assert_eq!(snapshot.location, holder.location());
        }
        assert_eq!(record.acquires(), 1);
    }

    #[test]
    fn each_acquire_begins_a_new_generation() {
        let record: HolderRecord = HolderRecord::new();
        let generations: Vec<_> = [true, false, false]
            .into_iter()
            .map(|epoch| {
                record.record_acquire(site(None), epoch);
                let snapshot = record.snapshot(|| Some(epoch));
                assert!(snapshot.is_held());
                snapshot.generation()
            })
            .collect();
        assert_eq!(generations, [1, 2, 3]);
        assert_eq!(record.acquires(), 3);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use std::ptr;

    use loom::thread;

    use crate::sync::{Arc, AtomicU64, AtomicUsize, fence};

    use super::*;

    /// The atomic types that loom sees.
    struct Modeled;

    impl Atomics for Modeled {
        type Word = AtomicU64;
        type Pointer = ModeledPointer;

        fn fence(order: Ordering) {
            fence(order);
        }
    }

    /// A pointer as its address, for which there is an atomic of loom's.
    struct ModeledPointer(AtomicUsize);

    impl Atomic<u64> for AtomicU64 {
        fn new(value: u64) -> Self {
            Self::new(value)
        }

        fn load(&self, order: Ordering) -> u64 {
            self.load(order)
        }

        fn store(&self, value: u64, order: Ordering) {
            self.store(value, order);
        }
    }

    impl<T> Atomic<*mut T> for ModeledPointer {
        fn new(value: *mut T) -> Self {
            Self(AtomicUsize::new(value.expose_provenance()))
        }

        fn load(&self, order: Ordering) -> *mut T {
            ptr::with_exposed_provenance_mut(self.0.load(order))
        }

        fn store(&self, value: *mut T, order: Ordering) {
            self.0.store(value.expose_provenance(), order);
        }
    }

    /// A record, and the epoch in the word of its frame.
    struct Slot {
        record: HolderRecord<Modeled>,
        epoch: AtomicUsize,
    }

    impl Slot {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                record: HolderRecord::new(),
                epoch: AtomicUsize::new(0),
            })
        }

        /// Acquires the frame, whose epoch the holder knows.
        fn acquire(&self, site: CallSite) {
            let epoch = self.epoch.load(Ordering::Acquire) == 1;
            self.record.record_acquire(site, epoch);
        }

        /// Releases the frame into its word.
        fn release(&self) {
            let epoch = self.epoch.load(Ordering::Relaxed);
            self.epoch.store(1 - epoch, Ordering::Release);
        }

        fn snapshot(&self) -> Snapshot {
            self.record
                .snapshot(|| Some(self.epoch.load(Ordering::Acquire) == 1))
        }
    }

    /// Returns the call sites of holders 1 and 2, which differ in source line and label.
    fn sites() -> [CallSite; 2] {
        [
            CallSite::caller(Some(Label::new("1"))),
            CallSite::caller(Some(Label::new("2"))),
        ]
    }

    /// Runs `before` and then `meanwhile` in one thread, with the call sites of the holders. Passes
    /// a snapshot that another thread takes meanwhile to `check`, with the location and the label
    /// that belong to its generation.
    fn model(
        before: fn(&Slot, [CallSite; 2]),
        meanwhile: fn(&Slot, [CallSite; 2]),
        check: fn(&Snapshot, Option<&'static Location<'static>>, Option<Label>),
    ) {
        loom::model(move || {
            let sites = sites();
            let slot = Slot::new();
            before(&slot, sites);
            let reader = {
                let slot = slot.clone();
                thread::spawn(move || slot.snapshot())
            };
            meanwhile(&slot, sites);
            let snapshot = reader.join().unwrap();
            if snapshot.is_changing() {
                // E4
                assert_eq!((snapshot.location, snapshot.label()), (None, None));
            } else {
                let holder = usize::try_from(snapshot.generation())
                    .unwrap()
                    .checked_sub(1);
                let site = holder.map(|holder| sites[holder]);
                let label = site.and_then(|site| site.acquirer().label());
                check(&snapshot, site.and_then(CallSite::location), label);
            }
        });
    }

    /// E3: a snapshot that shows generation g held has the words of g.
    ///
    /// Kills: `Release` to `Relaxed` in the last store of `record_acquire`; `Acquire` to `Relaxed`
    /// in the first load; no second load.
    #[test]
    fn a_snapshot_of_a_held_frame_names_the_holder_of_its_generation() {
        model(
            |slot, [first, _]| {
                slot.acquire(first);
                slot.record.set_acquired_at(1);
            },
            |slot, [_, second]| {
                slot.record.set_acquired_at(0);
                slot.release();
                slot.acquire(second);
                slot.record.set_acquired_at(2);
            },
            |snapshot, location, label| {
                if snapshot.is_held() {
                    assert_eq!((snapshot.location, snapshot.label()), (location, label));
                    let at = snapshot.acquired_at;
                    assert!(at == 0 || at == snapshot.generation(), "acquired at {at}");
                }
            },
        );
    }

    /// E3: a snapshot that shows a frame free after generation g has the words of g, even if the
    /// next holder is writing its own.
    ///
    /// Kills: no store of `CHANGING`; a reader that ignores it; either fence missing; no
    /// second load.
    #[test]
    fn a_snapshot_of_a_free_frame_names_its_last_holder() {
        model(
            |_, _| {},
            |slot, [first, second]| {
                slot.acquire(first);
                slot.release();
                slot.acquire(second);
            },
            |snapshot, location, label| {
                if !snapshot.is_held() {
                    assert_eq!((snapshot.location, snapshot.label()), (location, label));
                }
            },
        );
    }

    /// Runs a model of a frame that holder 1 has released before a snapshot, and that holder 2
    /// acquires and uses by `then` meanwhile. The snapshot must not show holder 1.
    fn snapshot_after_a_release(then: fn(&Slot)) {
        loom::model(move || {
            let [first, second] = sites();
            let slot = Slot::new();
            slot.acquire(first);
            slot.release();
            let reader = {
                let slot = slot.clone();
                thread::spawn(move || slot.snapshot())
            };
            slot.acquire(second);
            then(&slot);
            let snapshot = reader.join().unwrap();
            assert!(!snapshot.is_held() || snapshot.generation() == 2);
        });
    }

    /// E3: a snapshot does not show a holder that has released the frame before.
    ///
    /// Kills: no look at the epoch.
    #[test]
    fn a_snapshot_after_a_release_shows_no_holder() {
        snapshot_after_a_release(|_| ());
    }

    /// E3: the same for a frame that was released again, so that its epoch is that of its first
    /// holder.
    ///
    /// Kills: no look at the epoch.
    #[test]
    fn a_snapshot_shows_no_holder_of_an_earlier_epoch() {
        snapshot_after_a_release(Slot::release);
    }

    /// Runs a model of a frame that one thread acquires and passes to another, which changes its
    /// record by `change`. A snapshot of holder 1, who had the frame before, must pass `check`.
    fn change_by_another_thread(
        change: fn(&HolderRecord<Modeled>, CallSite),
        check: fn(&Snapshot, [CallSite; 2]),
    ) {
        loom::model(move || {
            let [first, second] = sites();
            let slot = Slot::new();
            slot.acquire(first);
            let passed = Arc::new(AtomicUsize::new(0));
            let other = {
                let (slot, passed) = (slot.clone(), passed.clone());
                thread::spawn(move || {
                    // Acquire: pairs with the Release by which the frame is passed.
                    if passed.load(Ordering::Acquire) == 1 {
                        change(&slot.record, second);
                    }
                })
            };
            let reader = {
                let slot = slot.clone();
                thread::spawn(move || slot.snapshot())
            };
            slot.release();
            slot.acquire(first);
            passed.store(1, Ordering::Release);
            other.join().unwrap();
            let snapshot = reader.join().unwrap();
            if !snapshot.is_changing() && snapshot.generation() == 1 {
                check(&snapshot, [first, second]);
            }
        });
    }

    /// E3: a label that another thread gives to a frame is not shown for an earlier holder.
    ///
    /// Kills: no fence in `record_transfer`.
    #[test]
    fn a_snapshot_has_no_label_that_a_later_holder_was_given() {
        change_by_another_thread(HolderRecord::record_transfer, |snapshot, [first, _]| {
            assert_eq!(snapshot.label(), first.acquirer().label());
        });
    }

    /// E3: the same for the time of the acquire.
    ///
    /// Kills: no fence in `set_acquired_at`.
    #[test]
    fn a_snapshot_has_no_time_of_a_later_holder() {
        change_by_another_thread(
            |record, _| record.set_acquired_at(2),
            |snapshot, _| assert_eq!(snapshot.acquired_at, 0),
        );
    }

    /// E2, E3: frames that two snapshots show held in the same generation have the same holder.
    ///
    /// Kills: an acquire that does not begin a generation.
    #[test]
    fn two_snapshots_of_one_generation_name_one_holder() {
        loom::model(|| {
            let [first, second] = sites();
            let slot = Slot::new();
            slot.acquire(first);
            let reader = {
                let slot = slot.clone();
                thread::spawn(move || [slot.snapshot(), slot.snapshot()])
            };
            slot.release();
            slot.acquire(second);
            let [before, after] = reader.join().unwrap();
            let both_held = before.is_held() && after.is_held();
            if both_held && before.generation() == after.generation() {
                assert_eq!(before.location, after.location);
            }
        });
    }
}
