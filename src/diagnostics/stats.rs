//! Statistics of a pool.

use std::fmt;
use std::time::Duration;

use crate::holders::Rounded;
use crate::sync::{Ordering, unmodeled};

use super::clock::nanoseconds;

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// The waiter has a frame.
    Served,
    TimedOut,
    /// The waiting future was dropped.
    Cancelled,
    /// The pool was flushed or decommitted.
    Refused,
}

/// Counts of what happened since a pool was made, returned by
/// [`FramePool::stats`](crate::FramePool::stats).
///
/// They are always counted, and threads share no counter while frames are free: acquires are
/// counted in the slots, waits by the waiters. While the pool is in use, each number is right for
/// some moment of the call.
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
    /// Number of frames of the pool.
    pub frames: usize,
    /// Number of frames that are free now.
    pub free: usize,
    /// Number of waiters now.
    pub waiting: usize,
    /// Number of frames acquired.
    pub acquires: u64,
    /// Number of calls that found no frame free and did not wait.
    pub failed_acquires: u64,
    /// Number of calls and futures that found no frame free and waited.
    pub waits: u64,
    /// Sum of the durations of all waits.
    pub total_wait: Duration,
    /// Duration of the longest wait.
    pub longest_wait: Duration,
    /// Number of waits that timed out.
    pub timeouts: u64,
    /// Number of waits that ended because their future was dropped. A wait in a future that an
    /// executor drops at a time limit counts here, not in `timeouts`.
    pub waits_cancelled: u64,
    /// Number of slots that were ever acquired: an upper bound for the frames in use at one moment.
    ///
    /// A pool takes the lowest free slot of a word first, so a slot that was never used was never
    /// needed. The bound is up to 7 slots too high with the default number of
    /// [shards](crate::FramePoolBuilder::shards), and higher if threads look in different words
    /// first, as they do unless [caches](crate::FramePoolBuilder::caches) are off.
    pub high_water: usize,
    /// Number of times that a frame was [shared](crate::Frame::share).
    pub shared: u64,
    /// Number of copies that [`make_mut`](crate::SharedFrame::make_mut) made.
    pub copies: u64,
}

impl Stats {
    /// Returns whether no frame is free and a caller waits for one.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// assert!(!pool.stats().starved()); // no caller waits
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn starved(&self) -> bool {
        self.free == 0 && self.waiting > 0
    }
}

impl Stats {
    /// Returns a number of frames that would have sufficed so far: the
    /// [high-water mark](Self::high_water), which can be too high. Returns `None` if a caller found
    /// no frame free. Then these counts do not tell how many frames would have sufficed;
    /// [`Recording::sizing`](crate::Recording::sizing) does.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(3).frame_size(64).build()?;
    /// let (one, two) = (pool.acquire()?, pool.acquire()?);
    /// assert_eq!(pool.stats().frames_sufficed(), Some(2));
    /// let three = pool.acquire()?;
    /// assert!(pool.try_acquire().is_err());
    /// assert_eq!(pool.stats().frames_sufficed(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frames_sufficed(&self) -> Option<usize> {
        let found_none = self.waits > 0 || self.failed_acquires > 0;
        (!found_none).then_some(self.high_water)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, free, .. } = self;
        writeln!(
            f,
            "{free} of {frames} frames free, at most {} in use at once, {} callers waiting{}",
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
            "{} waits, {} in total, {} at most, {} timed out, {} cancelled",
            self.waits,
            Rounded(self.total_wait),
            Rounded(self.longest_wait),
            self.timeouts,
            self.waits_cancelled,
        )
    }
}

/// Counters off the fast path, which callers that found no frame free increment.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    failed_acquires: unmodeled::AtomicU64,
    waits: unmodeled::AtomicU64,
    /// In nanoseconds.
    total_wait: unmodeled::AtomicU64,
    longest_wait: unmodeled::AtomicU64,
    timeouts: unmodeled::AtomicU64,
    cancelled: unmodeled::AtomicU64,
    copies: unmodeled::AtomicU64,
}

// All accesses are Relaxed: the numbers are shown, and publish nothing.
impl Counts {
    /// Counts a call that found no frame free and did not wait.
    pub(crate) fn count_failed_acquire(&self) {
        self.failed_acquires.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a wait. Returns the number of waits before it.
    pub(crate) fn begin_wait(&self) -> u64 {
        self.waits.fetch_add(1, Ordering::Relaxed)
    }

    /// Records the end of a wait.
    pub(crate) fn end_wait(&self, took: Duration, end: WaitEnd) {
        let took = nanoseconds(took);
        self.total_wait.fetch_add(took, Ordering::Relaxed);
        self.longest_wait.fetch_max(took, Ordering::Relaxed);
        let count = match end {
            WaitEnd::TimedOut => &self.timeouts,
            WaitEnd::Cancelled => &self.cancelled,
            WaitEnd::Served | WaitEnd::Refused => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_copy(&self) {
        self.copies.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the statistics, with 0 for those that are not counted here.
    pub(crate) fn read(&self) -> Stats {
        let read = |count: &unmodeled::AtomicU64| count.load(Ordering::Relaxed);
        // First: there are no more of these than waits.
        let (timeouts, waits_cancelled) = (read(&self.timeouts), read(&self.cancelled));
        Stats {
            frames: 0,
            free: 0,
            waiting: 0,
            acquires: 0,
            failed_acquires: read(&self.failed_acquires),
            waits: read(&self.waits),
            total_wait: Duration::from_nanos(read(&self.total_wait)),
            longest_wait: Duration::from_nanos(read(&self.longest_wait)),
            timeouts,
            waits_cancelled,
            high_water: 0,
            shared: 0,
            copies: read(&self.copies),
        }
    }
}
