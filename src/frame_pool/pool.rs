//! Handle of a committed pool.

use std::fmt;
use std::io;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use crate::diagnostics::call_site::CallSite;
use crate::diagnostics::stats::Stats;
use crate::error::{
    AcquireError, CommitError, NotIdle, NotResident, ShareError, Starvation, TokenError,
};
use crate::frame::{Frame, FrameBatch, SharedFrame};
use crate::framing::{Framing, greatest_common_divisor};
use crate::holders::Holders;
use crate::label::Label;
use crate::memory::{self, BorrowedKernelObject, OwnedKernelObject, SegmentInfo};
use crate::memory_options::CommitReport;
use crate::mode::AllocatorMode;
use crate::pool::config::PoolConfig;
use crate::pool::construction;
use crate::pool::core::{Core, Handle};
use crate::pool::handoff::RejectedWaiters;
use crate::pool::pool_state::PoolState;
use crate::recording::{EventKind, Recording};
use crate::share::{Share, ShareUsage};
use crate::token::FrameToken;
use crate::tracing_events;
use crate::video::VideoLayout;

#[cfg(feature = "stream")]
use super::acquire_future::FrameStream;
use super::acquire_future::{AcquireExactFuture, AcquireFuture, AcquireManyFuture};
use super::several;

/// Handle of a committed pool of frames of one size.
///
/// Cloning makes another handle of the same pool. Dropping the last handle closes the pool. Its
/// memory is freed when the last frame has come back as well. To end the use of a pool whatever
/// handles remain, [`close`](Self::close) it.
///
/// A pool is made by [`builder`](Self::builder), or by the commit of a
/// [`PoolAllocator`](crate::PoolAllocator). While that allocator is decommitted, acquires from its
/// pool fail with [`NotCommitted`](AcquireError::NotCommitted). They succeed again after a commit
/// that reuses the memory. A commit with another framing or mode makes a new pool.
///
/// While frames are free, acquire and release take no lock, allocate nothing and make no system
/// call, with two exceptions: pools with [guard pages](crate::FramePoolBuilder::guard_pages), and a
/// thread's first use of any pool.
///
/// Callers that wait are served in FIFO order, as far as [shares](Share) allow: a frame that is
/// released goes to the first caller in the wait queue. Two threads that release a frame each at
/// the same time may wake the second caller before the first, which already has its frame assigned
/// or is about to. A call that blocks [first tries
/// again](crate::FramePoolBuilder::spin_before_wait) while the queue is empty.
///
/// # Cost by number of frames
///
/// The free list has one word, in a cache line of its own, per 14 frames or fewer.
///
/// | operation | looks at |
/// |---|---|
/// | acquire, while frames are free | 1 word, or few; in pools of more than 224 frames, at hints |
/// | release | 1 word |
/// | acquire that fails, or begins to wait | each word, up to 3 times |
/// | first release after the last waiter has left; commit, decommit, flush | each word once |
/// | `free_frames` | each word once |
///
/// So a failing acquire costs microseconds in a pool of 4,096 frames, and tens of microseconds in
/// one of 65,536. The benchmark `ratios` measures it (workload W10).
///
/// # Libraries with a copy of the crate of their own
///
/// A library that is loaded at run time may be linked with its own copy of this crate. A pool and
/// its frames can be passed to it if both copies were built by the same compiler, from the same
/// sources, with the same features and the same global allocator.
///
/// - The pool and all of its frames must be dropped before the library whose copy made the pool is
///   unloaded. Reports about the pool must not be used after that.
/// - A library whose copy was passed the pool may be unloaded while the pool is in use, and while
///   frames that it acquired are out. Calls of that library must have ended, and its futures must
///   have been dropped.
/// - Reports show the label and the thread of a call in another copy than the one that made the
///   pool, and no source line.
///
/// ```
/// use ks_allocator::{AcquireError, FramePool};
///
/// // Committed at once: memory for 4 frames of 1080p NV12.
/// let builder = FramePool::builder().frames(4).frame_size(1920 * 1080 * 3 / 2);
/// let pool = builder.alignment(64).build()?;
///
/// let frame = pool.try_acquire()?;
/// assert_eq!(pool.free_frames(), 3);
/// std::thread::spawn(move || drop(frame)).join().unwrap();
/// assert_eq!(pool.free_frames(), 4);
///
/// let all: Vec<_> = (0..4).map(|_| pool.try_acquire()).collect::<Result<_, _>>()?;
/// assert!(matches!(pool.try_acquire(), Err(AcquireError::Exhausted(_))));
/// # drop(all);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FramePool {
    core: Handle,
    /// Recorded with the frames that are acquired through this handle. A label of the copy of the
    /// crate that made the pool (O2).
    label: Option<Label>,
}

impl FramePool {
    /// Allocates a pool. The framing in `config` is rounded already.
    pub(crate) fn new(config: &PoolConfig, state: PoolState) -> Result<Self, CommitError> {
        let core = construction::build(config, state)?;
        core.diagnostics.pool_event(EventKind::Committed);
        Ok(Self { core, label: None })
    }

    /// Allocates the next generation of a pool. It is closed until it takes over.
    pub(crate) fn next_generation(config: &PoolConfig, pool: &Core) -> Result<Self, CommitError> {
        let core = construction::build_next(config, pool)?;
        core.diagnostics.pool_event(EventKind::Committed);
        Ok(Self { core, label: None })
    }

    /// Returns a handle of the newest generation: the pool that acquires through this handle use.
    /// It has the label of this handle.
    ///
    /// [`PoolAllocator::reframe`](crate::PoolAllocator::reframe) makes generations. An acquire
    /// through a handle of an earlier one looks up the newest, which takes about 30 ns longer. All
    /// that a handle reports, such as [`framing`](Self::framing), [`holders`](Self::holders) and
    /// [`stats`](Self::stats), is about its own generation.
    ///
    /// Returns a clone of this handle if it is of the newest generation, and if all handles of the
    /// newest one were dropped. Acquires then fail with
    /// [`NotCommitted`](AcquireError::NotCommitted).
    ///
    /// ```
    /// use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    ///
    /// let allocator = PoolAllocator::with_framing(Framing::new(2, 1024))?;
    /// allocator.commit()?;
    /// let mut pool = allocator.pool().expect("it was committed");
    /// allocator.reframe(Framing::new(2, 4096))?;
    /// assert_eq!((pool.generation(), pool.frame_len()), (0, 1024));
    ///
    /// pool = pool.newest();
    /// assert_eq!((pool.generation(), pool.frame_len()), (1, 4096));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn newest(&self) -> Self {
        Self {
            core: self.core.successor().unwrap_or_else(|| self.core.clone()),
            label: self.label,
        }
    }

    /// Returns the generation of the pool: 0 for the first pool of an allocator and for a pool
    /// without one, and a larger number for each pool that follows. A change that failed can leave
    /// a number out.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.generation(), 0);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.core.free.generation
    }

    /// Makes a handle without a label.
    pub(super) fn of_core(core: Handle) -> Self {
        Self { core, label: None }
    }

    /// Acquires a free frame, or fails at once.
    ///
    /// # Errors
    ///
    /// - [`Exhausted`](AcquireError::Exhausted), only if all frames were out at one moment of the
    ///   call, a re-framing [drains](crate::Reframing::drain) the pool, or the caller's [`Share`]
    ///   allows no more.
    /// - [`Flushing`](AcquireError::Flushing), [`NotCommitted`](AcquireError::NotCommitted) or
    ///   [`Closed`](AcquireError::Closed), if the pool is being flushed, is decommitted or was
    ///   closed.
    ///
    /// ```
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.try_acquire()?;
    /// assert!(matches!(pool.try_acquire(), Err(AcquireError::Exhausted(_))));
    /// drop(frame);
    /// assert!(pool.try_acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "AM_GBF_NOWAIT")]
    #[inline(always)]
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Frame, AcquireError> {
        self.try_acquire_at(self.call_site())
    }

    /// Acquires a frame. Blocks until one is free.
    ///
    /// # Errors
    ///
    /// [`Flushing`](AcquireError::Flushing), [`NotCommitted`](AcquireError::NotCommitted) or
    /// [`Closed`](AcquireError::Closed), also if a flush, a decommit or the close happens during
    /// the wait.
    ///
    /// ```
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?; // returns at once
    ///
    /// std::thread::scope(|scope| {
    ///     let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
    ///     drop(frame); // ends the wait
    ///     assert_eq!(waiter.join().unwrap(), Ok(0));
    ///
    ///     let frame = pool.acquire();
    ///     let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
    ///     pool.begin_flush(); // ends the wait as well
    ///     assert_eq!(waiter.join().unwrap(), Err(AcquireError::Flushing));
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "GetBuffer")]
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Result<Frame, AcquireError> {
        self.acquire_at(self.call_site())
    }

    #[inline]
    pub(crate) fn acquire_at(&self, site: CallSite) -> Result<Frame, AcquireError> {
        match self.core.acquire(site, || None) {
            Ok(acquired) => Ok(acquired.into()),
            Err(unavailable) => Err(unavailable.into()),
        }
    }

    #[inline(always)]
    pub(crate) fn try_acquire_at(&self, site: CallSite) -> Result<Frame, AcquireError> {
        match self.core.try_acquire(site) {
            Ok(acquired) => Ok(acquired.into()),
            Err(unavailable) => Err(self.core.failed(unavailable, self.label)),
        }
    }

    /// Returns the call site of the public method that calls this, with this handle's label.
    #[inline(always)]
    #[track_caller]
    fn call_site(&self) -> CallSite {
        CallSite::caller_for(self.core.made_by(), self.label)
    }

    /// Returns the call site at `location`, without a label.
    #[inline]
    pub(crate) fn site_at(&self, location: &'static Location<'static>) -> CallSite {
        CallSite::at(self.core.made_by(), location, None)
    }

    /// Acquires a frame. Blocks for at most `timeout` until one is free.
    ///
    /// With a timeout of 0 the call neither enters the queue nor takes its lock. It then counts as
    /// a [failed acquire](crate::Stats::failed_acquires), not as a wait.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](AcquireError::TimedOut) with a report on the holders of the frames, and the
    /// errors of [`acquire`](Self::acquire).
    ///
    /// The report [looks at no more than 256 slots](Holders#reports-of-waiting-callers). Beside
    /// it, a call that has to wait reads each word of the free list a few times, one word per 14
    /// frames or fewer. `cargo bench --bench timeouts` measures both. On a machine with
    /// two cores, the call returned 0.1 to 0.2 ms after its deadline in pools of 64 to 65,536
    /// frames (medians of 201 calls), and 1.3 ms after it in a pool of 1,048,576 frames. The report
    /// took 0.3 ms of that, or less.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire_timeout(Duration::from_secs(1))?;
    /// let error = pool.acquire_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(matches!(error, AcquireError::TimedOut(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Frame, AcquireError> {
        self.acquire_timeout_at(self.call_site(), timeout)
    }

    #[inline]
    pub(crate) fn acquire_timeout_at(
        &self,
        site: CallSite,
        timeout: Duration,
    ) -> Result<Frame, AcquireError> {
        // A deadline beyond the range of `Instant` is none.
        let deadline = || Instant::now().checked_add(timeout);
        let acquired = if timeout.is_zero() {
            self.core.acquire_now(site)
        } else {
            self.core.acquire(site, deadline)
        };
        match acquired {
            Ok(acquired) => Ok(acquired.into()),
            Err(unavailable) => Err(self.core.explained(unavailable.into(), self.label)),
        }
    }

    /// Returns a future that acquires a frame without blocking the thread. Works with any executor.
    ///
    /// From its first poll on, the future waits in the same queue as blocked threads. It can be
    /// dropped at any time: no frame and no wake-up is lost.
    ///
    /// # Errors
    ///
    /// The errors of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.try_acquire()?;
    ///
    /// let mut future = pin!(pool.acquire_async());
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(future.as_mut().poll(&mut context).is_pending());
    /// drop(frame);
    /// assert!(matches!(future.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn acquire_async(&self) -> AcquireFuture<'_> {
        AcquireFuture::new(&self.core, self.call_site())
    }

    /// Returns a future that acquires a frame, as [`acquire_async`](Self::acquire_async) does, and
    /// keeps this handle. So it can be stored, and tasks can be spawned with it.
    ///
    /// # Errors
    ///
    /// The errors of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use ks_allocator::{AcquireFuture, FramePool};
    ///
    /// struct Source {
    ///     next_frame: AcquireFuture<'static>,
    /// }
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let source = Source { next_frame: pool.clone().acquire_owned() };
    /// # drop(source);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[track_caller]
    pub fn acquire_owned(self) -> AcquireFuture<'static> {
        let site = self.call_site();
        AcquireFuture::owned(self.core, site)
    }

    /// Returns an endless stream of frames, which keeps this handle.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::pin::pin;
    ///
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(4).frame_size(64).build()?;
    /// let stream = pin!(pool.frame_stream()); // for `StreamExt` of a library
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "stream")]
    #[track_caller]
    pub fn frame_stream(self) -> FrameStream {
        FrameStream(self.acquire_owned())
    }

    /// Acquires up to `max` frames with few read-modify-writes. Blocks until at least one is free.
    ///
    /// The batch holds at least one frame, unless `max` is 0, and at most [`FrameBatch::MAX`]. A
    /// call looks at 16 words of the free list, of up to 14 frames each. So in a pool of more than
    /// 224 frames it may return fewer frames than are free: call again for the rest.
    ///
    /// # Errors
    ///
    /// The errors of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(8).frame_size(64).build()?;
    /// let frames: Vec<_> = pool.acquire_many(3)?.collect();
    /// assert_eq!(frames.len(), 3);
    /// assert_eq!(pool.acquire_many(100)?.len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, max: usize) -> Result<FrameBatch, AcquireError> {
        let mut batch = FrameBatch::default();
        let max = max.min(FrameBatch::MAX);
        self.core
            .acquire_many(self.call_site(), max, |acquired| batch.add(acquired))?;
        Ok(batch)
    }

    /// Acquires up to `max` frames as [`acquire_many`](Self::acquire_many) does, or fails at once.
    ///
    /// # Errors
    ///
    /// The errors of [`try_acquire`](Self::try_acquire).
    ///
    /// ```
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(8).frame_size(64).build()?;
    /// let batch = pool.try_acquire_many(8)?;
    /// assert_eq!(batch.len(), 8);
    /// assert!(matches!(pool.try_acquire_many(1), Err(AcquireError::Exhausted(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    #[track_caller]
    pub fn try_acquire_many(&self, max: usize) -> Result<FrameBatch, AcquireError> {
        let mut batch = FrameBatch::default();
        let max = max.min(FrameBatch::MAX);
        self.core
            .try_acquire_many(self.call_site(), max, |acquired| batch.add(acquired))
            .map_err(|unavailable| self.core.failed(unavailable, self.label))?;
        Ok(batch)
    }

    /// Acquires exactly `count` frames. Blocks until the caller can have all of them.
    ///
    /// The caller gets all frames or none. It has one place in the wait queue. When it is the
    /// first, the frames that are released are collected for it, and callers behind it wait. So
    /// stages that acquire all that they need by one call do not deadlock, as they do if each
    /// acquires one frame and waits for the next. A stage that holds a frame while it waits for
    /// another can still block the others. Reports show collected frames as held by the caller.
    ///
    /// A wait for more than one frame allocates memory for their numbers.
    ///
    /// # Errors
    ///
    /// [`TooMany`](AcquireError::TooMany), if `count` is more than the pool has or more than
    /// [`FrameBatch::MAX`], and the errors of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(3).frame_size(64).build()?;
    /// let pair = pool.acquire_exact(2)?;
    /// std::thread::scope(|scope| {
    ///     let other = scope.spawn(|| pool.acquire_exact(2).map(|pair| pair.len()));
    ///     drop(pair);
    ///     assert_eq!(other.join().unwrap(), Ok(2));
    /// });
    /// let too_many = AcquireError::TooMany { requested: 4, max: 3 };
    /// assert_eq!(pool.acquire_exact(4).unwrap_err(), too_many);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn acquire_exact(&self, count: usize) -> Result<FrameBatch, AcquireError> {
        several::acquire_exact(&self.core, self.call_site(), count, &|| None)
    }

    /// Acquires exactly `count` frames, as [`acquire_exact`](Self::acquire_exact) does. Blocks for
    /// at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](AcquireError::TimedOut) with a report on the holders of the frames, and the
    /// errors of [`acquire_exact`](Self::acquire_exact).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let pool = ks_allocator::FramePool::builder().frames(2).frame_size(64).build()?;
    /// let held = pool.acquire()?;
    /// assert!(pool.acquire_exact_timeout(2, Duration::from_millis(1)).is_err());
    /// assert_eq!(pool.free_frames(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn acquire_exact_timeout(
        &self,
        count: usize,
        timeout: Duration,
    ) -> Result<FrameBatch, AcquireError> {
        // A deadline beyond the range of `Instant` is none.
        let deadline = || Instant::now().checked_add(timeout);
        several::acquire_exact(&self.core, self.call_site(), count, &deadline)
            .map_err(|error| self.core.explained(error, self.label))
    }

    /// Acquires exactly `count` frames, or fails at once.
    ///
    /// Unlike [`try_acquire`](Self::try_acquire), the call may fail although there are enough
    /// frames at each moment: it counts the free frames of one word after the other, and then takes
    /// them one after the other and gives them back if there are too few. So it can miss frames
    /// that are acquired and released meanwhile, also by another such call.
    ///
    /// # Errors
    ///
    /// [`TooFew`](AcquireError::TooFew), if fewer frames are free, and the errors of
    /// [`acquire_exact`](Self::acquire_exact) and [`try_acquire`](Self::try_acquire).
    ///
    /// ```
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(3).frame_size(64).build()?;
    /// let pair = pool.try_acquire_exact(2)?;
    /// let too_few = AcquireError::TooFew { requested: 2, free: 1 };
    /// assert_eq!(pool.try_acquire_exact(2).unwrap_err(), too_few);
    /// assert_eq!(pool.free_frames(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_acquire_exact(&self, count: usize) -> Result<FrameBatch, AcquireError> {
        several::try_acquire_exact(&self.core, self.call_site(), count)
    }

    /// Returns a future that acquires exactly `count` frames, as
    /// [`acquire_exact`](Self::acquire_exact) does, without blocking the thread.
    ///
    /// # Errors
    ///
    /// The errors of [`acquire_exact`](Self::acquire_exact).
    ///
    /// ```
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// # let pool = ks_allocator::FramePool::builder().frames(2).frame_size(64).build()?;
    /// let mut future = pin!(pool.acquire_exact_async(2));
    /// let mut context = Context::from_waker(Waker::noop());
    /// let ready = future.as_mut().poll(&mut context);
    /// assert!(matches!(ready, Poll::Ready(Ok(batch)) if batch.len() == 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn acquire_exact_async(&self, count: usize) -> AcquireExactFuture<'_> {
        AcquireExactFuture::new(&self.core, self.call_site(), count)
    }

    /// Returns a future that acquires up to `max` frames, as [`acquire_many`](Self::acquire_many)
    /// does, without blocking the thread.
    ///
    /// # Errors
    ///
    /// The errors of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use std::pin::pin;
    /// use std::task::{Context, Poll, Waker};
    ///
    /// # let pool = ks_allocator::FramePool::builder().frames(2).frame_size(64).build()?;
    /// let mut future = pin!(pool.acquire_many_async(8));
    /// let ready = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    /// assert!(matches!(ready, Poll::Ready(Ok(batch)) if batch.len() == 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn acquire_many_async(&self, max: usize) -> AcquireManyFuture<'_> {
        AcquireManyFuture::new(&self.core, self.call_site(), max)
    }

    /// Does for the calling thread what its first use of a pool would do: it asks the system for
    /// the thread's id, and makes the thread's own variables. So the first acquire or release of a
    /// real-time thread takes no longer than later ones.
    ///
    /// A release by a thread that has done so allocates nothing. While a caller waits, it also
    ///
    /// - takes the lock of the wait queue, which callers hold while they enter or leave it;
    /// - wakes the waiter: a system call for a thread, or the waker of a task.
    ///
    /// A pool without [waiting](super::FramePoolBuilder::waiting) callers does none of these.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         pool.prepare_thread();
    ///         // From here on, the thread is one of the real-time class.
    ///         drop(pool.try_acquire());
    ///     });
    /// });
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn prepare_thread(&self) {
        self.core.prepare_thread();
    }

    /// Returns another handle of the same pool. Reports show `label` for frames acquired through
    /// it.
    ///
    /// Make one for each stage of a pipeline that acquires frames.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(2).frame_size(64).build()?;
    /// let for_capture = pool.with_label("capture");
    /// let frame = for_capture.acquire()?;
    /// assert!(pool.holders().to_string().contains("1 held by `capture`"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_label(&self, label: impl Into<Label>) -> Self {
        Self {
            core: self.core.clone(),
            label: Some(self.core.made_by().label_of(label.into())),
        }
    }

    /// Returns what each [share](Share) of the pool has used, in the order in which the shares were
    /// declared; that of all callers without one is the last. Empty for a pool without shares.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, Share};
    /// let share = Share::new("preview").reserve(1);
    /// let pool = FramePool::builder().frames(4).frame_size(64).share(share).build()?;
    /// let frames = (pool.acquire()?, pool.with_label("preview").acquire()?);
    /// let held: Vec<_> = pool.shares().iter().map(|usage| usage.held).collect();
    /// assert_eq!(held, [1, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn shares(&self) -> Vec<ShareUsage> {
        let Some(shares) = self.core.free.shares() else {
            return Vec::new();
        };
        let mut usage = self.core.wait_queue().usage(shares);
        for ShareUsage { share, .. } in &mut usage {
            *share = share.map(|label| self.core.made_by().own_label(label));
        }
        usage
    }

    /// Returns the shares as they are now, for a pool that follows.
    pub(crate) fn declared_shares(&self) -> Option<Vec<Share>> {
        let newest = self.newest();
        newest.core.free.shares().map(|shares| shares.declared())
    }

    /// Changes the reserve and the limit of a [share](Share) that the pool was built with, in the
    /// newest generation and in those that follow.
    ///
    /// A reserve that is raised takes the frames that become free next, before any caller. A share
    /// that has more frames than a lowered limit keeps them, and gets none until it has fewer.
    ///
    /// # Errors
    ///
    /// A [`ShareError`] with the numbers. Nothing is changed then.
    ///
    /// ```
    /// use ks_allocator::{FramePool, Share};
    ///
    /// let builder = FramePool::builder().frames(4).frame_size(64);
    /// let pool = builder.share(Share::new("preview")).build()?;
    /// let taken: Vec<_> = (0..3).map(|_| pool.acquire()).collect::<Result<_, _>>()?;
    ///
    /// pool.set_share(Share::new("preview").reserve(2).limit(2))?;
    /// let preview = pool.shares()[0];
    /// assert_eq!((preview.reserve, preview.reserved), (2, 1));
    /// drop(taken);
    /// assert_eq!(pool.shares()[0].reserved, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_share(&self, share: Share) -> Result<(), ShareError> {
        if self.core.is_in_other_process() {
            return Err(ShareError::OtherProcess);
        }
        let label = self.core.made_by().label_of(share.label);
        let changed = self.core.change_share(&Share { label, ..share });
        changed.map_err(|error| error.with_label(share.label))
    }

    /// Returns the holders of the frames that are out, and the number of waiters.
    ///
    /// Each entry has the source line and the thread of the acquire, the label, and how long the
    /// frame has been held. It does not stop other threads: while they acquire and release, each
    /// entry shows its frame at some moment of the call.
    ///
    /// The call visits and lists every frame that is out. It allocates, and on Linux it reads a
    /// file in `/proc` for each thread that holds a frame. Errors and hooks have a [shorter
    /// report](Holders#reports-of-waiting-callers).
    ///
    /// A virtual call does not pass on its source line. Frames that are acquired through
    /// `dyn KsAllocator` are all attributed to one line in this crate.
    ///
    /// ```
    /// use ks_allocator::{FramePool, HolderState};
    ///
    /// let pool = FramePool::builder().frames(4).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.set_label("encoder");
    /// let shared = frame.share();
    /// let twice = shared.clone();
    ///
    /// let report = pool.holders();
    /// let holder = &report.entries[0];
    /// assert_eq!(holder.state, HolderState::Shared { handles: 2 });
    /// assert_eq!(holder.label.map(|label| label.name()), Some("encoder"));
    /// assert_eq!(holder.location.map(|location| location.file), Some(file!()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn holders(&self) -> Holders {
        let mut holders = self.core.diagnostics.holders(&*self.core);
        holders.shares = self.shares();
        holders
    }

    /// Adds a report on the present holders to an [`Exhausted`](AcquireError::Exhausted) or
    /// [`TimedOut`](AcquireError::TimedOut) error. As in all errors, it
    /// [looks at no more than 256 slots](Holders#reports-of-waiting-callers).
    ///
    /// [`try_acquire`](Self::try_acquire) does not make the report itself, so that it fails fast.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let held = pool.with_label("screen").acquire()?;
    /// let error = pool.try_acquire().map_err(|error| pool.explain(error)).unwrap_err();
    /// assert!(error.to_string().contains("1 held by `screen` ("));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn explain(&self, error: AcquireError) -> AcquireError {
        self.core.explained(error, self.label)
    }

    /// Returns the error of a wait that the caller has given up: [`TimedOut`] with a report on the
    /// present holders.
    ///
    /// It is for futures under a time limit of the executor, which drops them without an error.
    ///
    /// [`TimedOut`]: AcquireError::TimedOut
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ks_allocator::{AcquireError, Frame, FramePool};
    ///
    /// async fn next_frame(pool: &FramePool) -> Result<Frame, AcquireError> {
    ///     let limit = Duration::from_millis(1);
    ///     match tokio::time::timeout(limit, pool.acquire_async()).await {
    ///         Ok(acquired) => acquired,
    ///         Err(_) => Err(pool.explain_wait()),
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let held = pool.with_label("screen").acquire()?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # let block_on = |future| runtime.block_on(future);
    /// let error = block_on(next_frame(&pool)).unwrap_err();
    /// assert!(error.to_string().contains("1 held by `screen` ("));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn explain_wait(&self) -> AcquireError {
        self.explain(AcquireError::TimedOut(Starvation::default()))
    }

    /// Returns the last events of the pool, or `None` if it has no
    /// [flight recorder](crate::FramePoolBuilder::record).
    ///
    /// The call allocates, and does not stop other threads.
    ///
    /// ```
    /// # let builder = ks_allocator::FramePool::builder().frames(1).frame_size(64);
    /// let pool = builder.record(100).build()?;
    /// let frame = pool.acquire()?;
    /// pool.acquire_timeout(std::time::Duration::from_millis(1)).unwrap_err();
    /// let recording = pool.recording().expect("it is on");
    /// let last = recording.events.last().expect("there are some");
    /// assert_eq!(last.kind, ks_allocator::EventKind::WaitGivenUp);
    /// assert_eq!(last.wait, Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recording(&self) -> Option<Recording> {
        let mut recording = self.core.diagnostics.recording(&*self.core)?;
        recording.shares = self.shares();
        Some(recording)
    }

    /// Returns counts of what happened since the pool was made.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(4).frame_size(64).build()?;
    /// drop((pool.acquire()?, pool.acquire()?));
    /// drop(pool.acquire()?);
    /// let stats = pool.stats();
    /// assert_eq!((stats.acquires, stats.high_water, stats.waits), (3, 2, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.diagnostics.stats(&*self.core)
    }

    /// Returns the number of free frames. It is exact while no thread acquires or releases.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(8).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// assert_eq!(pool.free_frames(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "GetFreeCount")]
    #[must_use]
    pub fn free_frames(&self) -> usize {
        self.core.free.free_frames()
    }

    /// Returns the number of frames of the pool, free or out.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(8).frame_size(64).build()?;
    /// assert_eq!(pool.frames(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "cBuffers")]
    #[must_use]
    pub fn frames(&self) -> usize {
        self.core.free.frames()
    }

    /// Returns the number of waiters: blocked threads, and pending futures that were polled.
    /// All generations of a pool have one queue.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// std::thread::scope(|scope| {
    ///     let waiter = scope.spawn(|| pool.acquire().is_ok());
    ///     while pool.waiting() == 0 {
    ///         std::thread::yield_now();
    ///     }
    ///     drop(frame);
    ///     assert!(waiter.join().unwrap());
    /// });
    /// assert_eq!(pool.waiting(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.core.wait_queue().waiting().0
    }

    /// Returns the pool's framing, with the frame size rounded up to the alignment. It never
    /// changes.
    ///
    /// Its frame size is the capacity of each frame. An acquired frame has the length that
    /// [`frame_len`](Self::frame_len) returns.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(100).alignment(64).build()?;
    /// assert_eq!(pool.framing().frame_size, 128);
    /// assert_eq!(pool.acquire()?.len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.core.layout.framing
    }

    /// Returns the [name](super::FramePoolBuilder::name) of the pool, or `None` if it has none.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let builder = FramePool::builder().frames(1).frame_size(64);
    /// assert_eq!(builder.build()?.name(), None);
    /// assert_eq!(builder.name("capture").build()?.name(), Some("capture".into()));
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<Label> {
        self.core.diagnostics.name(&*self.core)
    }

    /// Returns the layout of the picture in each frame, or `None` if none was set.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 640, 480)?;
    /// let pool = FramePool::builder().frames(8).video(&layout).build()?;
    /// assert_eq!(pool.video_layout().map(VideoLayout::width), Some(640));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn video_layout(&self) -> Option<&VideoLayout> {
        self.core.video.as_ref()
    }

    /// Returns the alignment of every payload in bytes: the address of a frame's first byte is a
    /// multiple of it.
    ///
    /// It is the alignment of the framing if there is no prefix, or if the prefix is a multiple of
    /// the alignment: see [`align_payload`](super::FramePoolBuilder::align_payload). Otherwise it
    /// is their greatest common divisor.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(100).alignment(64).build()?;
    /// assert_eq!(pool.payload_alignment(), 64);
    /// assert_eq!(pool.acquire()?.as_ptr().addr() % 64, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn payload_alignment(&self) -> usize {
        let Framing {
            alignment, prefix, ..
        } = self.framing();
        greatest_common_divisor(alignment, prefix)
    }

    /// Returns the length of an acquired frame in bytes: the frame size that was asked for, before
    /// it was rounded up. It never changes.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(100).alignment(64).build()?;
    /// assert_eq!(pool.frame_len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.core.frame_len()
    }

    /// Returns the mode, which says what memory the frames live in.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// let pool = FramePool::builder().frames(8).frame_size(100).build()?;
    /// assert_eq!(pool.mode(), AllocatorMode::User);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn mode(&self) -> AllocatorMode {
        self.core.memory.mode
    }

    /// Returns a report on the memory: the requests, the unmet ones, and the present state.
    ///
    /// The state is measured in the call, which asks the system about every page and may take
    /// milliseconds. Of a pool whose memory was freed, nothing is resident: see
    /// [`segment`](Self::segment).
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(1 << 20).build()?;
    /// let report = pool.commit_report();
    /// assert!(report.requested.prefault);
    /// println!("{report}"); // requested: prefaulted ...
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[doc(alias("mincore", "smaps", "QueryWorkingSetEx"))]
    #[must_use]
    pub fn commit_report(&self) -> CommitReport {
        self.core.commit_report()
    }

    /// Checks that the whole segment is resident in memory now.
    ///
    /// Meant to be asserted in tests. Only memory that is
    /// [locked](crate::FramePoolBuilder::lock_in_memory) is certain to stay resident.
    ///
    /// # Errors
    ///
    /// [`NotResident::Partly`] with the numbers, and [`NotResident::Unknown`] where this cannot be
    /// measured.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(1 << 20).build()?;
    /// # if cfg!(target_os = "linux") {
    /// pool.verify_resident()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify_resident(&self) -> Result<(), NotResident> {
        let CommitReport {
            resident, bytes, ..
        } = self.commit_report();
        match resident {
            Some(resident) if resident >= bytes => Ok(()),
            Some(resident) => Err(NotResident::Partly { resident, bytes }),
            None => Err(NotResident::Unknown { bytes }),
        }
    }

    /// Returns the memory range that holds all frames, for example to register it with a device.
    ///
    /// The payload of slot *n* starts at byte [`first`](SegmentInfo::first) + *n* ×
    /// [`stride`](SegmentInfo::stride) of the segment. This is the frame's
    /// [`offset`](Frame::offset).
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(100).alignment(64).prefix(28).build()?;
    /// let segment = pool.segment();
    /// for frame in [pool.acquire()?, pool.acquire()?] {
    ///     assert_eq!(frame.offset(), segment.first + frame.slot() * segment.stride);
    ///     assert_eq!(frame.as_ptr().addr(), segment.base.addr().get() + frame.offset());
    ///     assert!(frame.offset() + frame.capacity() <= segment.bytes);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn segment(&self) -> SegmentInfo {
        self.core.segment_info()
    }

    /// Returns the kernel object that the frames live in, or `None` in User mode.
    ///
    /// It is a memfd (Linux) or a section (Windows) of the whole segment. It stays open as long as
    /// the pool has handles or frames that are out. The memory stays as long as the object is open
    /// in any process. On Windows this handle allows writing; use
    /// [`try_clone_handle`](Self::try_clone_handle) for a read-only one.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// let user = FramePool::builder().frames(8).frame_size(64);
    /// assert!(user.build()?.handle().is_none());
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// assert!(user.mode(AllocatorMode::Kernel).build()?.handle().is_some());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "KsGetAllocatorHandle")]
    #[must_use]
    pub fn handle(&self) -> Option<BorrowedKernelObject<'_>> {
        self.core.object.as_ref().map(memory::borrow)
    }

    /// Takes back a [lent](Frame::lend) frame by the token that the borrower returned.
    ///
    /// The result is the handle that was lent. If the frame was unique,
    /// [`try_into_unique`](SharedFrame::try_into_unique) makes it writable again.
    ///
    /// The length is the one that the frame was lent with; the length in the token is for the
    /// borrower alone. The bytes are what the borrower left there, if it could write.
    ///
    /// # Errors
    ///
    /// Nothing changes on an error.
    ///
    /// - [`TokenError::NotLent`], if the token is stale, was redeemed before, or was never issued.
    /// - [`TokenError::OtherSegment`], if the token is that of another pool or of another commit,
    ///   or if the pool is in User mode.
    /// - [`TokenError::Outside`], if this pool has no frame at the offset in the token.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool, TokenError};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let builder = FramePool::builder().frames(4).frame_size(64);
    /// let pool = builder.mode(AllocatorMode::Kernel).build()?;
    /// let token = pool.acquire()?.lend().expect("in Kernel mode");
    /// assert_eq!(pool.free_frames(), 3);
    /// let frame = pool.redeem(token)?;
    /// assert!(matches!(pool.redeem(token), Err(TokenError::NotLent { .. })));
    /// # drop(frame);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn redeem(&self, token: FrameToken) -> Result<SharedFrame, TokenError> {
        SharedFrame::redeem(&self.core, self.call_site(), token)
    }

    /// Takes back a lent frame from a borrower that died or is no longer waited for.
    ///
    /// If the token comes back later, [`redeem`](Self::redeem) refuses it.
    ///
    /// A borrower that is still alive keeps its mapping: it sees what is written to the frame from
    /// now on, and can write to it if it could before. So the promise that the borrower was given
    /// when it [opened](crate::RemoteFrames::open) the memory no longer holds for this frame.
    ///
    /// # Errors
    ///
    /// The errors of [`redeem`](Self::redeem), also if the token was redeemed in the meantime.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let builder = FramePool::builder().frames(4).frame_size(64);
    /// let pool = builder.mode(AllocatorMode::Kernel).build()?;
    /// let token = pool.acquire()?.lend().expect("in Kernel mode");
    /// drop(pool.revoke(token)?);
    /// assert_eq!(pool.free_frames(), 4);
    /// assert!(pool.redeem(token).is_err());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn revoke(&self, token: FrameToken) -> Result<SharedFrame, TokenError> {
        SharedFrame::redeem(&self.core, self.call_site(), token)
    }

    /// Takes back the lent frame in `slot`, without its token. Returns `None` if it is not lent.
    ///
    /// All loans of the frame end. This is for a token that was lost. [`holders`](Self::holders)
    /// lists the slots that are lent, with the source line and the age of the loan's holder.
    /// Otherwise like [`revoke`](Self::revoke).
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool, HolderState};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let builder = FramePool::builder().frames(4).frame_size(64);
    /// let pool = builder.mode(AllocatorMode::Kernel).build()?;
    /// pool.acquire()?.lend().expect("in Kernel mode"); // the token is lost
    ///
    /// let holders = pool.holders();
    /// assert_eq!(holders.entries[0].state, HolderState::Lent);
    /// let frame = pool.revoke_slot(holders.entries[0].slot).expect("it is lent");
    /// drop(frame);
    /// assert_eq!(pool.free_frames(), 4);
    /// assert!(pool.revoke_slot(0).is_none());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[must_use = "the frame is released when it is dropped"]
    pub fn revoke_slot(&self, slot: usize) -> Option<SharedFrame> {
        SharedFrame::revoke(&self.core, self.call_site(), slot)
    }

    /// Takes back all lent frames, without their tokens: the borrower died, or tokens were lost.
    ///
    /// The result has one handle per loan, and is empty if no frame is lent. Otherwise like
    /// [`revoke`](Self::revoke).
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let builder = FramePool::builder().frames(4).frame_size(64);
    /// let pool = builder.mode(AllocatorMode::Kernel).build()?;
    /// for _ in 0..3 {
    ///     pool.acquire()?.lend().expect("in Kernel mode");
    /// }
    /// assert_eq!(pool.revoke_all().len(), 3);
    /// assert_eq!(pool.free_frames(), 4);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    #[must_use = "the frames are released when they are dropped"]
    pub fn revoke_all(&self) -> Vec<SharedFrame> {
        SharedFrame::revoke_all(&self.core, self.call_site())
    }

    /// Returns a new handle of the kernel object that the frames live in, for another process or a
    /// driver.
    ///
    /// Unless the pool was built with
    /// [`peers_may_write`](crate::FramePoolBuilder::peers_may_write), memory that is mapped through
    /// it is read-only.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) in User mode, or the system's error, for example
    /// at the limit of open handles.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let user = FramePool::builder().frames(8).frame_size(64).build()?;
    /// let error = user.try_clone_handle().unwrap_err();
    /// assert_eq!(error.to_string(), "frames in user mode have no handle");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_clone_handle(&self) -> io::Result<OwnedKernelObject> {
        let Core { object, memory, .. } = &*self.core;
        match object {
            Some(object) => memory::clone_for_peer(object, memory.peers_may_write),
            None => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("frames in {} mode have no handle", memory.mode),
            )),
        }
    }

    /// Begins a flush: every pending acquire, and every later one until
    /// [`end_flush`](Self::end_flush), fails with [`Flushing`](AcquireError::Flushing).
    ///
    /// Frames that are out stay valid and are released as usual. The memory stays. A second call
    /// has no effect.
    ///
    /// Use it to stop pipeline threads for a while that may be blocked in
    /// [`acquire`](Self::acquire), for a seek for example. Any handle can end the flush. To stop
    /// them for good, [`close`](Self::close) the pool.
    ///
    /// ```
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(8).frame_size(64).build()?;
    /// pool.begin_flush();
    /// assert_eq!(pool.acquire().unwrap_err(), AcquireError::Flushing);
    /// pool.end_flush();
    /// assert!(pool.acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "BeginFlush")]
    pub fn begin_flush(&self) {
        drop(self.flush(true));
        tracing_events::flush(self.name(), true);
    }

    /// Ends the flush that [`begin_flush`](Self::begin_flush) began.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(8).frame_size(64).build()?;
    /// pool.end_flush(); // no effect without a flush
    /// assert!(pool.try_acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "EndFlush")]
    pub fn end_flush(&self) {
        drop(self.flush(false));
        tracing_events::flush(self.name(), false);
    }

    /// Closes the pool for good: every pending acquire and every later one, through any handle,
    /// fails with [`Closed`](AcquireError::Closed).
    ///
    /// Neither the end of a flush nor a commit opens the pool again. A
    /// [`PoolAllocator`](crate::PoolAllocator) whose pool was closed is no longer committed, and
    /// its next commit makes a new pool. Frames that are out stay valid and are released as usual;
    /// [`wait_idle`](Self::wait_idle) waits for them. The memory is freed with the last handle and
    /// the last frame. A second call has no effect.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// std::thread::scope(|scope| {
    ///     let waiter = scope.spawn(|| pool.acquire().map(drop));
    ///     pool.close(); // ends the wait
    ///     assert_eq!(waiter.join().unwrap(), Err(AcquireError::Closed));
    /// });
    /// pool.end_flush();
    /// assert_eq!(pool.acquire().unwrap_err(), AcquireError::Closed);
    /// drop(frame);
    /// pool.wait_idle(Duration::from_secs(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("shutdown", "stop"))]
    pub fn close(&self) {
        drop(self.core.change_state(&|state| state.closed = true));
        self.core.diagnostics.pool_event(EventKind::Closed);
        tracing_events::closed(self.name(), self.frames_out());
    }

    /// Blocks until all frames are back, for at most `timeout`.
    ///
    /// To be called once no more frames are to go out: after [`close`](Self::close),
    /// [`begin_flush`](Self::begin_flush) or a decommit. The thread that releases the last frame
    /// then ends the wait, and the handles alone use the pool when this returns: dropping the last
    /// one frees the memory before it returns. While the pool is open, a release announces nothing.
    /// The call then looks every millisecond, and frames may go out again when it returns.
    ///
    /// # Errors
    ///
    /// [`NotIdle`] with a report on the holders of the frames, if frames are out when the time is
    /// up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(4).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// pool.close();
    /// assert!(pool.wait_idle(Duration::ZERO).is_err());
    /// std::thread::spawn(move || drop(frame));
    /// pool.wait_idle(Duration::from_secs(10))?;
    /// assert_eq!(pool.free_frames(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("drain", "join"))]
    pub fn wait_idle(&self, timeout: Duration) -> Result<(), NotIdle> {
        // A deadline beyond the range of `Instant` is none.
        if self.core.wait_idle(Instant::now().checked_add(timeout)) {
            Ok(())
        } else {
            Err(self.holders().into())
        }
    }

    /// Begins or ends a flush. The rejected waiters are woken when the result is dropped.
    pub(crate) fn flush(&self, flushing: bool) -> Option<RejectedWaiters> {
        let rejected = self.core.change_state(&|state| state.flushing = flushing);
        self.core.diagnostics.pool_event(if flushing {
            EventKind::FlushBegan
        } else {
            EventKind::FlushEnded
        });
        rejected
    }

    /// Commits a decommitted pool again, with its memory as it is, or decommits it. The rejected
    /// waiters are woken when the result is dropped.
    pub(crate) fn commit(&self, committed: bool) -> Option<RejectedWaiters> {
        let rejected = self.core.change_state(&|state| state.committed = committed);
        self.core.diagnostics.pool_event(if committed {
            EventKind::Committed
        } else {
            EventKind::Decommitted
        });
        rejected
    }

    /// Emits the `tracing` event of the commit that made the pool.
    ///
    /// To be called with no lock held, because a subscriber may call the pool.
    pub(crate) fn trace_commit(&self) {
        let bytes = self.core.layout.total;
        tracing_events::committed(self.name(), &self.framing(), self.mode(), bytes);
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn core_handle(&self) -> &Handle {
        &self.core
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.core.wait_queue().state().closed
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.core.wait_queue().state().flushing
    }

    /// Returns the number of frames that are out.
    pub(crate) fn frames_out(&self) -> usize {
        self.core.frames_out()
    }
}

// A panic can interrupt only code of the user's, and the pool runs none while its state is half
// changed.
impl UnwindSafe for FramePool {}
impl RefUnwindSafe for FramePool {}

impl fmt::Debug for FramePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramePool")
            .field("framing", &self.framing())
            .field("mode", &self.mode())
            .field("free_frames", &self.free_frames())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
