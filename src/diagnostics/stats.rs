//! What a pool has been through, in numbers.

use std::fmt;
use std::time::Duration;

use crate::holders::Rounded;
use crate::sync::{Ordering, unmodeled};

use super::holder_table::nanoseconds;

/// Counts of what a pool has been through since it was made: see
/// [`FramePool::stats`](crate::FramePool::stats).
///
/// They are always counted, where nobody shares a counter while frames are free: in the slots, and
/// by those who have to wait anyway. Numbers that are read while the pool is in use are each right
/// for some moment of the call.
///
/// ```
/// use std::time::Duration;
///
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(2).frame_size(64).build()?;
/// let (one, two) = (pool.acquire()?, pool.acquire()?);
/// assert!(pool.acquire_timeout(Duration::from_millis(1)).is_err());
/// drop((one.share(), two));
/// let stats = pool.stats();
/// assert_eq!((stats.acquires, stats.high_water, stats.shared), (2, 2, 1));
/// assert_eq!((stats.waits, stats.timeouts), (1, 1));
/// assert!(stats.longest_wait >= Duration::from_millis(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Frames of the pool.
    pub frames: usize,
    /// Those of them that are free now.
    pub free: usize,
    /// Callers that wait now.
    pub waiting: usize,
    /// Frames that were picked up. (Those of a batch count when they are taken out of it.)
    pub acquires: u64,
    /// Calls that found no frame free, and did not want to wait.
    pub failed_acquires: u64,
    /// Calls and futures that found no frame free, and waited.
    pub waits: u64,
    /// How long they waited, all together.
    pub total_wait: Duration,
    /// How long the longest of them waited.
    pub longest_wait: Duration,
    /// Those of them that waited in vain, until their time was up.
    pub timeouts: u64,
    /// Slots that were ever picked up: no more frames than that were ever in use at once. A pool
    /// takes the lowest slot that is free, so one that was never used was never needed. (Where
    /// there are several [shards](crate::FramePoolBuilder::shards), each counts for itself, and a
    /// frame that a thread [keeps](crate::FramePoolBuilder::caches) is passed over while there are
    /// others. So the sum may be more than were ever out at one moment. Frames of a batch that were
    /// never taken out of it were not in use.)
    pub high_water: usize,
    /// Frames that were [shared](crate::Frame::share).
    pub shared: u64,
    /// Copies that [`make_mut`](crate::SharedFrame::make_mut) had to make.
    pub copies: u64,
}

impl Stats {
    /// Whether the pool has run dry: no frame is free, and somebody waits for one.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// assert!(!pool.stats().starved()); // nobody waits
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn starved(&self) -> bool {
        self.free == 0 && self.waiting > 0
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, free, .. } = self;
        writeln!(
            f,
            "{free} of {frames} frames free, {} ever in use, {} callers waiting{}",
            self.high_water,
            self.waiting,
            if self.starved() { " (starved)" } else { "" },
        )?;
        writeln!(
            f,
            "{} acquires, {} failed, {} shared, {} copied",
            self.acquires, self.failed_acquires, self.shared, self.copies,
        )?;
        write!(
            f,
            "{} waits, {} in all, {} the longest, {} timed out",
            self.waits,
            Rounded(self.total_wait),
            Rounded(self.longest_wait),
            self.timeouts,
        )
    }
}

/// What is counted off the fast path, by callers that found no frame free.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    failed_acquires: unmodeled::AtomicU64,
    waits: unmodeled::AtomicU64,
    /// In nanoseconds.
    total_wait: unmodeled::AtomicU64,
    longest_wait: unmodeled::AtomicU64,
    timeouts: unmodeled::AtomicU64,
    copies: unmodeled::AtomicU64,
}

// All are *Relaxed*: numbers to be shown, which hand nothing over.
impl Counts {
    /// A call found no frame free, and that was all.
    pub(crate) fn count_failed_acquire(&self) {
        self.failed_acquires.fetch_add(1, Ordering::Relaxed);
    }

    /// A caller who found none begins to wait. Returns how many did so before.
    pub(crate) fn begin_wait(&self) -> u64 {
        self.waits.fetch_add(1, Ordering::Relaxed)
    }

    /// A wait is over.
    pub(crate) fn end_wait(&self, took: Duration, timed_out: bool) {
        let took = nanoseconds(took);
        self.total_wait.fetch_add(took, Ordering::Relaxed);
        self.longest_wait.fetch_max(took, Ordering::Relaxed);
        if timed_out {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_copy(&self) {
        self.copies.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers, and 0 for those that are not counted here.
    pub(crate) fn read(&self) -> Stats {
        let read = |count: &unmodeled::AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            frames: 0,
            free: 0,
            waiting: 0,
            acquires: 0,
            failed_acquires: read(&self.failed_acquires),
            waits: read(&self.waits),
            total_wait: Duration::from_nanos(read(&self.total_wait)),
            longest_wait: Duration::from_nanos(read(&self.longest_wait)),
            timeouts: read(&self.timeouts),
            high_water: 0,
            shared: 0,
            copies: read(&self.copies),
        }
    }
}
