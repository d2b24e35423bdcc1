//! Acquirer has each frame, and what the pool has been through: notes that nothing depends on.
//!
//! Each slot has an [`HolderRecord`], which whoever has the frame writes by plain stores as the frame comes and goes.
//! Whoever wants to know reads it at any time and keeps nobody waiting.
//!
//! | `held` | the frame is | the rest of the record says |
//! |---|---|---|
//! | 0 | free, or out and not picked up yet | who had it last |
//! | 1 | in the hands of a holder | who has it |
//!
//! # Invariants
//!
//! - **E1** Each word of an record is valid by itself, whenever it is read: a location is that of some
//!   acquire in the program, a label one that was made.
//! - **E2** `generation` grows by one each time the frame is picked up, before anything else is written. Only the one who
//!   has the frame for themselves changes it, so that a load and a store are enough. (That the next owner sees
//!   the generation of the last is the free list's F2.)
//! - **E3** A [`Snapshot`] is of one generation: whoever reads an record reads `generation` first and once more at the end, and reads
//!   again if it has changed. So a frame that is seen twice in somebody's hands, in the same generation, has been
//!   there all the time between: that is how a [`FirstSeen`] grows old. (A frame that is given another label at that
//!   very moment may be seen with the line of the one and the label of the other.)
//!
//! The orderings are those of a sequence lock with one writer, who never waits: see [`HolderRecord::record_acquire`] and
//! [`HolderRecord::snapshot`]. On x86-64 they cost nothing.
//!
//! # How old
//!
//! To read the clock costs more than to acquire a frame, so the fast path does not. Whoever looks, be it for a
//! report or because they begin to wait, first_seen the frames that are out with the time, unless they bear a
//! stamp of that generation already. So the age that a report gives is a lower bound, and for a frame that holds
//! somebody up it is good: it was out when they began to wait. (Callers who wait again and again do not look
//! each time: see [`HolderTable::scan_is_due`]. What was acquired since the last look may be told of without an age.)

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::error::CommitError;
use crate::label::Label;
use crate::memory::try_with_capacity;
use crate::sync::{
    PlainAtomicPtr, PlainAtomicU64, PlainMutex, PlainOrdering, plain_fence, thread_id,
};

use super::stats::Counts;

/// Acquirer asks for a frame: from which line, in which thread, and under what label. It is worked out before a frame
/// is taken, because after that a processor has to begin its loads afresh.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite {
    location: &'static Location<'static>,
    acquirer: Acquirer,
}

/// A thread's number, and above it a label's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acquirer(u64);

impl Acquirer {
    const LABEL_SHIFT: u32 = 32;

    #[inline(always)]
    fn this_thread(label: Option<Label>) -> Self {
        let label = u64::from(Label::to_number(label));
        Self(u64::from(thread_id()) | label << Self::LABEL_SHIFT)
    }

    /// The same label, in this thread.
    pub(crate) fn in_this_thread(self) -> Self {
        Self::this_thread(self.label())
    }

    fn label(self) -> Option<Label> {
        Self::label_of_number(self.label_number())
    }

    pub(crate) fn label_number(self) -> u64 {
        self.0 >> Self::LABEL_SHIFT
    }

    pub(crate) fn label_of_number(number: u64) -> Option<Label> {
        u16::try_from(number).ok().and_then(Label::from_number)
    }

    pub(crate) fn thread(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// For a model.
    #[cfg(all(test, loom))]
    pub(crate) fn of(thread: u32, label: u16) -> Self {
        Self(u64::from(thread) | u64::from(label) << Self::LABEL_SHIFT)
    }
}

impl CallSite {
    /// The caller of the caller, in this thread.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn caller(label: Option<Label>) -> Self {
        Self::at(Location::caller(), label)
    }

    /// This line, in this thread.
    #[inline(always)]
    pub(crate) fn at(location: &'static Location<'static>, label: Option<Label>) -> Self {
        Self {
            location,
            acquirer: Acquirer::this_thread(label),
        }
    }

    pub(crate) fn acquirer(self) -> Acquirer {
        self.acquirer
    }

    /// The same line and label, in this thread.
    pub(crate) fn in_this_thread(self) -> Self {
        Self::at(self.location, self.acquirer.label())
    }
}

/// What a slot knows of its holders. In a cache line that an acquire writes to and nobody has to read.
#[derive(Debug)]
pub(crate) struct HolderRecord {
    /// How often the frame was picked up.
    generation: PlainAtomicU64,
    held: PlainAtomicU64,
    location: PlainAtomicPtr<Location<'static>>,
    /// A [`Acquirer`].
    acquirer: PlainAtomicU64,
    /// How often the frame was shared.
    shares: PlainAtomicU64,
    /// When it was acquired, in nanoseconds of the ledger's, if the pool takes the time.
    since: PlainAtomicU64,
}

/// How often an record is read again that changes meanwhile.
const READINGS: usize = 3;

/// What an record said at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    generation: u64,
    /// Whether somebody has the frame in their hands, if it is out.
    pub(crate) held: bool,
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) label: Option<Label>,
    pub(crate) thread: u32,
    /// In nanoseconds of the ledger's; 0 if the pool does not take the time.
    pub(crate) since: u64,
}

impl HolderRecord {
    pub(crate) const fn new() -> Self {
        Self {
            generation: PlainAtomicU64::new(0),
            held: PlainAtomicU64::new(0),
            location: PlainAtomicPtr::new(std::ptr::null_mut()),
            acquirer: PlainAtomicU64::new(0),
            shares: PlainAtomicU64::new(0),
            since: PlainAtomicU64::new(0),
        }
    }

    /// The frame was picked up. For its only holder.
    #[inline(always)]
    pub(crate) fn record_acquire(&self, site: CallSite) {
        let generation = self.generation.load(PlainOrdering::Relaxed);
        self.generation
            .store(generation.wrapping_add(1), PlainOrdering::Relaxed);
        // Release: pairs with the fence in `snapshot`; who sees what follows sees the new generation then.
        plain_fence(PlainOrdering::Release);
        self.record_transfer(site);
        // Release: pairs with the Acquire in `snapshot`; who sees this generation's holder sees who that is.
        self.held.store(1, PlainOrdering::Release);
    }

    /// The frame is about to go back. For its only holder.
    #[inline(always)]
    pub(crate) fn record_release(&self) {
        self.held.store(0, PlainOrdering::Relaxed);
    }

    /// Somebody else has the frame now. For any of its holders.
    #[inline(always)]
    pub(crate) fn record_transfer(&self, CallSite { location, acquirer }: CallSite) {
        let location: *const Location<'static> = location;
        self.location
            .store(location.cast_mut(), PlainOrdering::Relaxed);
        self.acquirer.store(acquirer.0, PlainOrdering::Relaxed);
    }

    /// The frame is shared. For its only holder.
    #[inline(always)]
    pub(crate) fn record_share(&self) {
        let shares = self.shares.load(PlainOrdering::Relaxed);
        self.shares
            .store(shares.wrapping_add(1), PlainOrdering::Relaxed);
    }

    /// The frame was acquired at this time, or at none that is known yet, 0. For its only holder.
    pub(crate) fn set_acquired_at(&self, now: u64) {
        self.since.store(now, PlainOrdering::Relaxed);
    }

    /// Acquirer has the frame, for its holder.
    pub(crate) fn acquirer(&self) -> Acquirer {
        Acquirer(self.acquirer.load(PlainOrdering::Relaxed))
    }

    /// What is noted, for anybody.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.read_once();
        for _ in 0..READINGS {
            // Acquire: pairs with the Release in `record_acquire`; if anything was of a later generation, this is, too.
            plain_fence(PlainOrdering::Acquire);
            if self.generation.load(PlainOrdering::Relaxed) == snapshot.generation {
                return snapshot;
            }
            snapshot = self.read_once();
        }
        // It changes hands faster than it can be read. So nobody has had it for long.
        Snapshot {
            held: false,
            ..snapshot
        }
    }

    /// What is noted, of one generation or of several.
    fn read_once(&self) -> Snapshot {
        let generation = self.generation.load(PlainOrdering::Relaxed);
        // Acquire: pairs with the Release in `record_acquire`.
        let held = self.held.load(PlainOrdering::Acquire) != 0;
        let location = self.location.load(PlainOrdering::Relaxed);
        let acquirer = self.acquirer();
        Snapshot {
            generation,
            held,
            // SAFETY: NULL, or stored by `record_transfer`, where it was a reference for ever (E1).
            location: unsafe { location.as_ref() },
            label: acquirer.label(),
            thread: acquirer.thread(),
            since: self.since.load(PlainOrdering::Relaxed),
        }
    }

    /// How often the frame was picked up.
    pub(crate) fn acquires(&self) -> u64 {
        self.generation.load(PlainOrdering::Relaxed)
    }

    /// How often it was shared.
    pub(crate) fn shares(&self) -> u64 {
        self.shares.load(PlainOrdering::Relaxed)
    }
}

/// When a frame was first seen to be out.
#[derive(Clone, Copy, Debug, Default)]
struct FirstSeen {
    generation: u64,
    /// In nanoseconds of the ledger's; 0 for never.
    at: u64,
}

/// What is noted of a pool as a whole.
#[derive(Debug)]
pub(crate) struct HolderTable {
    began: Instant,
    /// Of each slot. Acquirer has the lock is looking.
    first_seen: PlainMutex<Vec<FirstSeen>>,
    /// When somebody who begins to wait is to look again.
    look_again_at: PlainAtomicU64,
    look_again_after: u64,
    /// When `tracing` is to hear of a starvation again.
    tell_again_at: PlainAtomicU64,
    pub(crate) counts: Counts,
}

/// How long after a look nobody who begins to wait looks again, at the least and a frame: so that looking takes
/// but a small part of the time, however large the pool is.
const LOOKS_APART: Duration = Duration::from_millis(1);
const LOOKS_APART_A_FRAME: Duration = Duration::from_micros(1);

/// How long `tracing` hears of no starvation after it has heard of one.
const TOLD_APART: Duration = Duration::from_secs(1);

impl HolderTable {
    pub(crate) fn new(frames: usize) -> Result<Self, CommitError> {
        let mut first_seen = try_with_capacity(frames)?;
        first_seen.resize(frames, FirstSeen::default());
        let apart = u32::try_from(frames)
            .ok()
            .and_then(|frames| LOOKS_APART_A_FRAME.checked_mul(frames))
            .map_or(LOOKS_APART, |all| all.max(LOOKS_APART));
        Ok(Self {
            began: Instant::now(),
            first_seen: PlainMutex::new(first_seen),
            look_again_at: PlainAtomicU64::new(0),
            look_again_after: nanoseconds(apart),
            tell_again_at: PlainAtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    /// The time as the ledger takes it, in nanoseconds since it was begun, and never 0.
    pub(crate) fn now(&self) -> u64 {
        nanoseconds(self.began.elapsed()).max(1)
    }

    /// Whether somebody who begins to wait at this time is to look who has the frames. If so, they do it for
    /// all who begin to wait soon after.
    pub(crate) fn scan_is_due(&self, now: u64) -> bool {
        is_due(&self.look_again_at, now, self.look_again_after)
    }

    /// Whether `tracing` is to hear at this time that the pool has run dry.
    pub(crate) fn report_is_due(&self, now: u64) -> bool {
        is_due(&self.tell_again_at, now, nanoseconds(TOLD_APART))
    }

    /// Stamps the frames that are out now, unless somebody else is looking already.
    #[expect(single_use_lifetimes, reason = "an `impl Trait` cannot leave it out")]
    pub(crate) fn observe<'a>(&self, out: impl Iterator<Item = (usize, &'a HolderRecord)>) {
        if let Some(mut first_seen) = self.first_seen.try_lock() {
            for (slot, record) in out {
                first_seen[slot].record(&record.snapshot(), || self.now());
            }
        }
    }

    /// Stamps the frames that are out, and says for each how long it has been so and whether that is the whole
    /// time.
    #[expect(single_use_lifetimes, reason = "an `impl Trait` cannot leave it out")]
    pub(crate) fn look<'a, T>(
        &self,
        out: impl Iterator<Item = (usize, &'a HolderRecord)>,
        mut tell: impl FnMut(usize, Snapshot, Duration, bool) -> T,
    ) -> Vec<T> {
        let mut first_seen = self.first_seen.lock();
        // Before any frame is looked at: what was seen then has been out until now at the least.
        let now = self.now();
        out.map(|(slot, record)| {
            let snapshot = record.snapshot();
            let exact = snapshot.held && snapshot.since != 0;
            let since = match exact {
                true => snapshot.since,
                false => first_seen[slot].record(&snapshot, || self.now()),
            };
            let held = Duration::from_nanos(now.saturating_sub(since));
            tell(slot, snapshot, held, exact)
        })
        .collect()
    }
}

/// Whether the time has come, and if so the next is set. If two ask at once, both may be told so.
fn is_due(next: &PlainAtomicU64, now: u64, apart: u64) -> bool {
    let due = now >= next.load(PlainOrdering::Relaxed);
    if due {
        next.store(now.saturating_add(apart), PlainOrdering::Relaxed);
    }
    due
}

impl FirstSeen {
    /// Begins a new stamp, unless there is one of this generation (E3). Returns since when. The clock is read after the
    /// snapshot was taken. A frame that nobody has in their hands has no generation.
    fn record(&mut self, snapshot: &Snapshot, clock: impl Fn() -> u64) -> u64 {
        let known = snapshot.held && self.generation == snapshot.generation && self.at != 0;
        if known {
            return self.at;
        }
        let now = clock();
        *self = Self {
            generation: snapshot.generation,
            at: if snapshot.held { now } else { 0 },
        };
        now
    }
}

/// A time in nanoseconds: 584 years of them at the most.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[track_caller]
    fn by(label: Option<&str>) -> CallSite {
        CallSite::caller(label.map(Label::new))
    }

    #[test]
    fn an_entry_says_who_has_the_frame_and_then_who_had_it() {
        let record = HolderRecord::new();
        assert!(!record.snapshot().held);
        assert_eq!(record.snapshot().location, None);

        let holder = by(Some("ledger"));
        record.record_acquire(holder);
        let snapshot = record.snapshot();
        assert!(snapshot.held);
        assert_eq!(snapshot.location, Some(holder.location));
        assert_eq!(snapshot.label, Some(Label::new("ledger")));
        assert_eq!(snapshot.thread, thread_id());

        record.record_release();
        assert!(!record.snapshot().held);
        assert_eq!(record.snapshot().location, Some(holder.location));
        assert_eq!(record.acquires(), 1);
    }

    #[test]
    fn each_holder_has_a_turn() {
        let record = HolderRecord::new();
        for generation in 0..3 {
            assert_eq!(record.acquires(), generation);
            record.record_acquire(by(None));
            record.record_release();
        }
    }

    #[test]
    fn a_stamp_grows_old_only_while_the_turn_stays() {
        let holder_table = HolderTable::new(1).unwrap();
        let record = HolderRecord::new();
        record.record_acquire(by(None));
        let held = || {
            let all = holder_table.look([(0, &record)].into_iter(), |_, _, held, exact| {
                (held, exact)
            });
            all[0]
        };
        let pause = || std::thread::sleep(Duration::from_millis(2));
        assert_eq!(held(), (Duration::ZERO, false));
        holder_table.observe([(0, &record)].into_iter());
        pause();
        let (old, _) = held();
        assert!(old >= Duration::from_millis(2));
        record.record_release();
        record.record_acquire(by(None));
        assert_eq!(held(), (Duration::ZERO, false));

        record.set_acquired_at(holder_table.now());
        pause();
        let (exactly, exact) = held();
        assert!(exact && exactly >= Duration::from_millis(2));
        record.set_acquired_at(0);
        record.record_release();
        record.record_acquire(by(None));
        assert_eq!(held(), (Duration::ZERO, false));
    }

    #[test]
    fn those_who_begin_to_wait_look_now_and_then() {
        let holder_table = HolderTable::new(5000).unwrap();
        assert!(holder_table.scan_is_due(1));
        assert!(!holder_table.scan_is_due(2));
        assert!(!holder_table.scan_is_due(5_000_000));
        assert!(holder_table.scan_is_due(5_000_001));
    }
}
