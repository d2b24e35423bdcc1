//! Holder table: the age of the frames that are out, as far as it was observed.
//!
//! Reading the clock costs about as much as acquiring a frame, so an acquire reads it only if the
//! user asks for that. Otherwise the table records when each frame was first seen out. A report,
//! and now and then a caller that begins to wait, visits all frames that are out and records the
//! time for those that it sees for the first time in their present generation. So the age in a
//! report is a lower bound. It is a good one for a frame that makes a caller wait: the frame was
//! out when the wait began.
//!
//! A caller that waits has a deadline, so it visits at most [`MAX_SAMPLE`] slots, in a pool of any
//! size, and not for each wait: see [`HolderTable::scan_is_due`]. A frame that was acquired since
//! the last visit may be reported with an age of 0.
//!
//! A thread holds the lock of the table for at most [`MAX_SAMPLE`] frames at a time, and allocates
//! nothing meanwhile. So a report on all frames does not delay a caller that has a deadline.

use std::time::Duration;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{Ordering, unmodeled};

use super::clock::{PoolClock, nanoseconds};
use super::holder_record::Snapshot;

/// Maximum number of slots that a caller with a deadline visits. [`Holders`] documents it.
///
/// [`Holders`]: crate::holders::Holders
pub(crate) const MAX_SAMPLE: usize = 256;

/// Shortest time between two visits by callers that begin to wait, so that visits take a small part
/// of the time.
const MIN_SCAN_INTERVAL: Duration = if cfg!(all(test, loom)) {
    // What a model does must not depend on the time.
    Duration::from_secs(1 << 30)
} else {
    Duration::from_millis(1)
};

/// Shortest time between two `tracing` events about starvation.
const MIN_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// The table of one pool, and its clock.
#[derive(Debug)]
pub(crate) struct HolderTable {
    pub(super) clock: PoolClock,
    /// One entry per slot. The thread that holds the lock is visiting the frames.
    first_seen: unmodeled::Mutex<Vec<FirstSeen>>,
    /// Number of frames that are visited with the lock held.
    chunk: usize,
    next_scan: unmodeled::AtomicU64,
    next_event: unmodeled::AtomicU64,
}

/// The time at which a frame was first seen out in one generation.
#[derive(Clone, Copy, Debug, Default)]
struct FirstSeen {
    generation: u64,
    /// In nanoseconds of the pool's clock; 0 for never.
    at: u64,
}

/// Time for which a frame has been held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) held_for: Duration,
    /// True for the whole time since the acquire, false for a lower bound.
    pub(crate) exact: bool,
}

impl HolderTable {
    pub(super) fn new(frames: usize, clock: PoolClock) -> Result<Self, CommitError> {
        let mut first_seen = try_with_capacity(frames)?;
        first_seen.resize(frames, FirstSeen::default());
        Ok(Self {
            clock,
            first_seen: unmodeled::Mutex::new(first_seen),
            chunk: frames.min(MAX_SAMPLE),
            next_scan: unmodeled::AtomicU64::new(0),
            next_event: unmodeled::AtomicU64::new(0),
        })
    }

    /// Returns the nanoseconds since the pool was made, and never 0.
    pub(crate) fn now(&self) -> u64 {
        self.clock.nanoseconds()
    }

    /// Returns whether a caller that begins to wait now is to visit the frames that are out.
    ///
    /// It then does so on behalf of all callers that begin to wait within the scan interval.
    pub(crate) fn scan_is_due(&self, now: u64) -> bool {
        is_due(&self.next_scan, now, nanoseconds(MIN_SCAN_INTERVAL))
    }

    /// Returns whether a `tracing` event about starvation is due.
    pub(crate) fn event_is_due(&self, now: u64) -> bool {
        is_due(&self.next_event, now, nanoseconds(MIN_EVENT_INTERVAL))
    }

    /// Records the time for the frames of the slots in `out`, unless another thread is doing so.
    pub(crate) fn observe(
        &self,
        out: impl Iterator<Item = usize>,
        snapshot: impl Fn(usize) -> Snapshot,
    ) {
        if let Some(mut first_seen) = self.first_seen.try_lock() {
            for slot in out {
                first_seen[slot].update(&snapshot(slot), || self.now());
            }
        }
    }

    /// Records the time for the frames of the slots in `out`, and adds what `report` makes of each
    /// frame's snapshot and age to `reports`.
    ///
    /// Returns false if memory for the reports ran out. Some frames are missing then.
    pub(crate) fn ages<T>(
        &self,
        reports: &mut Vec<T>,
        out: impl Iterator<Item = usize>,
        snapshot: impl Fn(usize) -> Snapshot,
        mut report: impl FnMut(usize, Snapshot, Age) -> T,
    ) -> bool {
        // Read before any record: a frame that is seen held now was held at this time at least.
        let now = self.clock.moment();
        let mut out = out.peekable();
        while out.peek().is_some() {
            // Allocated before the lock is taken, because an allocator is foreign code.
            if reports.try_reserve(self.chunk).is_err() {
                return false;
            }
            let mut first_seen = self.first_seen.lock();
            for slot in out.by_ref().take(self.chunk) {
                let snapshot = snapshot(slot);
                let exact = snapshot.is_held() && snapshot.acquired_at != 0;
                let since = if exact {
                    self.clock.nanoseconds_at(snapshot.acquired_at, now)
                } else {
                    first_seen[slot].update(&snapshot, || self.now())
                };
                let held_for = Duration::from_nanos(now.nanoseconds.saturating_sub(since));
                reports.push(report(slot, snapshot, Age { held_for, exact }));
            }
        }
        true
    }
}

/// Returns whether `next` has passed, and if so moves it to `interval` after `now`.
///
/// Two threads that ask at the same moment may both be told that it has.
fn is_due(next: &unmodeled::AtomicU64, now: u64, interval: u64) -> bool {
    let due = now >= next.load(Ordering::Relaxed);
    if due {
        next.store(now.saturating_add(interval), Ordering::Relaxed);
    }
    due
}

impl FirstSeen {
    /// Starts a new entry, unless there is one of the snapshot's generation. Returns its time.
    ///
    /// The clock is read after the snapshot was taken. A frame that is not held has no generation.
    fn update(&mut self, snapshot: &Snapshot, clock: impl Fn() -> u64) -> u64 {
        let generation = snapshot.generation();
        if snapshot.is_held() && self.generation == generation && self.at != 0 {
            return self.at;
        }
        let now = clock();
        *self = Self {
            generation,
            at: if snapshot.is_held() { now } else { 0 },
        };
        now
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::thread;

    use crate::sync::TickClock;

    use super::super::call_site::CallSite;
    use super::super::holder_record::HolderRecord;
    use super::*;

    const EPOCH: bool = false;

    fn table(frames: usize) -> HolderTable {
        HolderTable::new(frames, PoolClock::new(TickClock::fastest())).unwrap()
    }

    fn acquire(record: &HolderRecord) {
        record.record_acquire(CallSite::caller(None), EPOCH);
    }

    fn snapshot(record: &HolderRecord) -> Snapshot {
        record.snapshot(|| Some(EPOCH))
    }

    fn age_of(table: &HolderTable, record: &HolderRecord) -> Age {
        let mut ages = Vec::new();
        let snapshot = |_| snapshot(record);
        assert!(table.ages(&mut ages, [0].into_iter(), snapshot, |_, _, age| age));
        ages[0]
    }

    #[test]
    fn an_age_grows_while_the_generation_stays_the_same() {
        let table = table(1);
        let record = HolderRecord::new();
        acquire(&record);
        let age = || age_of(&table, &record);
        let just_seen = Age {
            held_for: Duration::ZERO,
            exact: false,
        };
        let pause = || thread::sleep(Duration::from_millis(2));
        assert_eq!(age(), just_seen);
        table.observe([0].into_iter(), |_| snapshot(&record));
        pause();
        assert!(age().held_for >= Duration::from_millis(2));
        acquire(&record);
        assert_eq!(age(), just_seen);
    }

    #[test]
    fn a_recorded_acquire_time_makes_the_age_exact() {
        let table = table(1);
        let record = HolderRecord::new();
        acquire(&record);
        record.set_acquired_at(table.clock.ticks());
        thread::sleep(Duration::from_millis(2));
        let age = || age_of(&table, &record);
        assert!(age().exact && age().held_for >= Duration::from_millis(2));
        record.set_acquired_at(0);
        acquire(&record);
        assert!(!age().exact);
    }

    #[test]
    fn scans_by_waiters_are_a_millisecond_apart() {
        let table = table(5000);
        assert!(table.scan_is_due(1));
        assert!(!table.scan_is_due(2));
        assert!(!table.scan_is_due(1_000_000));
        assert!(table.scan_is_due(1_000_001));
        assert!(!table.scan_is_due(1_000_002));
    }

    #[test]
    fn the_table_is_unlocked_between_the_chunks_of_a_report() {
        let frames = 3 * MAX_SAMPLE + 1;
        let table = table(frames);
        let records: Vec<_> = (0..frames).map(|_| HolderRecord::new()).collect();
        let mut unlocked = 0;
        let out = (0..frames).inspect(|slot| {
            unlocked +=
                usize::from(slot % MAX_SAMPLE == 0 && table.first_seen.try_lock().is_some());
        });
        let mut slots = Vec::new();
        let snapshot = |slot: usize| snapshot(&records[slot]);
        assert!(table.ages(&mut slots, out, snapshot, |slot, _, _| slot));
        assert_eq!(slots, (0..frames).collect::<Vec<_>>());
        assert_eq!(unlocked, 4);
    }
}
