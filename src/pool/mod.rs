//! The data plane: a committed pool, and how to get frames from it.
//!
//! Read the floors from below: [`free_list`], [`thread_cache`] and [`wait_queue`] move numbers, [`slot`] says what
//! belongs to a number, [`core`] joins them and knows when to go, and this file is what users hold.
//!
//! Beside that way of a frame, others only write down what happens: [`holder_table`] who has each frame, [`stats`] how
//! often, [`recorder`] when. [`wait`] is how a core has a caller wait, [`watch`] what it does for each frame if it is
//! asked to, [`report`] what it says.

mod acquire_future;
#[expect(unsafe_code, reason = "one option is a promise of the user's")]
mod builder;
#[expect(
    unsafe_code,
    reason = "owns the memory of a pool and decides when it goes"
)]
pub(crate) mod core;
pub(crate) mod free_list;
mod hints;
#[expect(unsafe_code, reason = "keeps lines of the program as bare pointers")]
pub(crate) mod holder_table;
mod hooks;
pub(crate) mod loans;
pub(crate) mod recorder;
mod report;
#[expect(unsafe_code, reason = "says which threads may touch a slot")]
pub(crate) mod slot;
mod stats;
pub(crate) mod thread_cache;
mod wait;
pub(crate) mod wait_queue;

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use crate::error::{AcquireError, CommitError, NotResident, TokenError};
use crate::frame::{Frame, FrameBatch};
use crate::framing::Framing;
use crate::holders::Holders;
use crate::label::Label;
use crate::memory::{self, BorrowedKernelObject, OwnedKernelObject, SegmentInfo};
use crate::memory_options::CommitReport;
use crate::mode::AllocatorMode;
use crate::recording::{EventKind, Recording};
use crate::token::FrameToken;
use crate::tracing_events;

use self::core::{Core, Handle};
use self::holder_table::CallSite;
use self::wait_queue::{PoolState, RejectedWaiters};

pub use self::acquire_future::AcquireFuture;
pub use self::builder::FramePoolBuilder;
pub use self::stats::Stats;

/// A committed pool of frames of one size: the handle that a hot loop keeps.
///
/// Cloning gives another handle of the same pool. The pool closes when the last handle is dropped;
/// its memory goes when the last frame is back as well.
///
/// A pool comes from [`builder`](Self::builder), or from a
/// [`PoolAllocator`](crate::PoolAllocator) that has been committed. The latter's handles are refused with
/// [`NotCommitted`](AcquireError::NotCommitted) while the allocator is decommitted, and work again
/// after a commit that reuses the memory; after a commit with another framing or mode, the allocator
/// has a new pool.
///
/// While frames are free, neither acquiring nor releasing takes a lock, allocates, or makes a system
/// call (but to [trap stray pointers](FramePoolBuilder::guard_pages), for a thread that uses a
/// pool for the first time, and where the only frames that are free are such as other threads
/// [keep](FramePoolBuilder::caches)). Callers that have to wait are served first come, first served.
///
/// ```
/// use ks_allocator::{AcquireError, FramePool};
///
/// // Committed at once: memory for 4 frames of 1080p NV12.
/// let pool = FramePool::builder().frames(4).frame_size(1920 * 1080 * 3 / 2).alignment(64).build()?;
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
    /// On the frames that this handle gets.
    label: Option<Label>,
}

impl FramePool {
    /// Starts to describe a pool that needs no [`PoolAllocator`](crate::PoolAllocator).
    ///
    /// ```
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(3).frame_size(4096).build()?;
    /// assert_eq!(pool.framing().frames, 3);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn builder() -> FramePoolBuilder {
        FramePoolBuilder::new(Framing::new(0, 0), AllocatorMode::User)
    }

    /// A pool as `plan` says, whose framing is rounded already.
    pub(crate) fn new(plan: &FramePoolBuilder, gate: PoolState) -> Result<Self, CommitError> {
        let core = Handle::new(plan, gate)?;
        core.record_of_pool(EventKind::Committed);
        Ok(Self { core, label: None })
    }

    /// Takes a free frame, or fails at once.
    ///
    /// # Errors
    ///
    /// [`Exhausted`](AcquireError::Exhausted) only if all frames were out at one moment of the call;
    /// [`Flushing`](AcquireError::Flushing) or [`NotCommitted`](AcquireError::NotCommitted) if the
    /// pool hands nothing out now.
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

    /// Takes a free frame, or waits for one for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`Flushing`](AcquireError::Flushing) or [`NotCommitted`](AcquireError::NotCommitted), also if
    /// the pool closes during the wait.
    ///
    /// ```
    /// use ks_allocator::{AcquireError, FramePool};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?; // at once
    ///
    /// std::thread::scope(|scope| {
    ///     let waits = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
    ///     drop(frame); // ends the wait
    ///     assert_eq!(waits.join().unwrap(), Ok(0));
    ///
    ///     let frame = pool.acquire();
    ///     let waits = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
    ///     pool.begin_flush(); // ends it as well
    ///     assert_eq!(waits.join().unwrap(), Err(AcquireError::Flushing));
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
        match Frame::try_acquire(&self.core, site) {
            Err(AcquireError::Exhausted(_)) => Frame::wait(&self.core, site, None),
            other => other,
        }
    }

    #[inline(always)]
    pub(crate) fn try_acquire_at(&self, site: CallSite) -> Result<Frame, AcquireError> {
        Frame::try_acquire(&self.core, site).map_err(|error| self.core.fail(error))
    }

    /// The caller of the caller, under this handle's label.
    #[inline(always)]
    #[track_caller]
    fn call_site(&self) -> CallSite {
        CallSite::caller(self.label)
    }

    /// Takes a free frame, or waits for one for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](AcquireError::TimedOut), and those of [`acquire`](Self::acquire).
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
        match Frame::try_acquire(&self.core, site) {
            // A deadline past the end of time is none.
            Err(AcquireError::Exhausted(_)) => {
                Frame::wait(&self.core, site, Instant::now().checked_add(timeout))
            }
            other => other,
        }
    }

    /// Takes a free frame, or waits for one without blocking the thread. Works with any executor.
    ///
    /// The future stands in the same line as blocked threads, from its first poll on. It can be
    /// dropped at any time: no frame and no wake-up is lost with it.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
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

    /// Takes up to `most` free frames with one read-modify-write, or waits until one is free.
    ///
    /// The batch holds at least one frame, unless `most` is 0, and at most [`FrameBatch::MAX`]. All
    /// of them come from one word of the free list, so a pool with several words may give fewer than
    /// are free: ask again for the rest, or build it with a single
    /// [shard](FramePoolBuilder::shards).
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire).
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
    pub fn acquire_many(&self, most: usize) -> Result<FrameBatch, AcquireError> {
        match FrameBatch::try_acquire(&self.core, self.call_site(), most) {
            Err(AcquireError::Exhausted(_)) => FrameBatch::wait(&self.core, self.call_site()),
            other => other,
        }
    }

    /// As [`acquire_many`](Self::acquire_many), but fails at once if no frame is free.
    ///
    /// # Errors
    ///
    /// Those of [`try_acquire`](Self::try_acquire).
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
    pub fn try_acquire_many(&self, most: usize) -> Result<FrameBatch, AcquireError> {
        FrameBatch::try_acquire(&self.core, self.call_site(), most)
            .map_err(|error| self.core.fail(error))
    }

    /// Another handle of the same pool, whose frames carry this label in reports: one for each stage of a
    /// pipeline that acquires frames.
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
            label: Some(label.into()),
        }
    }

    /// Acquirer has the frames that are out: from which line, by which thread, under what label, and for how long;
    /// and how many callers wait.
    ///
    /// Nobody is held up by it. So while frames come and go, the report shows each frame as it was at some
    /// moment of the call. It allocates.
    ///
    /// Frames that are acquired through `dyn KsAllocator` all come from one line in this crate, for a virtual
    /// call does not say where it is made.
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
    /// assert_eq!(holder.place.map(|place| place.file), Some(file!()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn holders(&self) -> Holders {
        self.core.holders()
    }

    /// Adds to an error who has the frames now, if it is about that.
    ///
    /// [`try_acquire`](Self::try_acquire) does not look by itself, for it is to fail fast.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let held = pool.with_label("screen").acquire()?;
    /// let error = pool.try_acquire().map_err(|error| pool.explain(error)).unwrap_err();
    /// assert!(error.to_string().starts_with("no frame is free: 1 of 1 frames out: 1 held by `screen` ("));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn explain(&self, error: AcquireError) -> AcquireError {
        self.core.explain(error)
    }

    /// What the pool's flight recorder has kept; `None` if it has [none](FramePoolBuilder::record). Nobody is held
    /// up by it. It allocates.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).record(100).build()?;
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
        self.core.recording()
    }

    /// What the pool has been through since it was made, in numbers.
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
        self.core.stats()
    }

    /// Frames that are free now. Exact while nobody acquires or releases.
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

    /// Frames in all, free or out.
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

    /// Callers that wait for a frame now: blocked threads, and futures that were polled. Looks at the
    /// line under its lock, as those who wait do.
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
        self.core.wait_queue.waiting().0
    }

    /// The pool's framing, as it was rounded. It never changes.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(100).alignment(64).build()?;
    /// assert_eq!(pool.framing().frame_size, 128);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.core.layout.framing
    }

    /// What kind of memory the frames live in.
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

    /// What was asked of the memory, what was not got, and what the memory is, measured now. This takes
    /// a while: the system is asked about every page.
    ///
    /// Of a pool whose memory is gone, nothing is resident: see [`segment`](Self::segment).
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(1 << 20).build()?;
    /// let report = pool.commit_report();
    /// assert!(report.requested.prefault);
    /// println!("{report}"); // asked for: prefaulted ...
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[doc(alias("mincore", "smaps", "QueryWorkingSetEx"))]
    #[must_use]
    pub fn commit_report(&self) -> CommitReport {
        self.core.commit_report()
    }

    /// Whether all of the segment is in memory now; to be asserted in tests. It stays so for certain only
    /// if it is [locked](FramePoolBuilder::lock_in_memory).
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

    /// Where in memory all frames of the pool lie: to be registered once with a device, a driver or the
    /// kernel.
    ///
    /// A frame starts, after its prefix, [`first`](SegmentInfo::first) plus its
    /// [slot](Frame::slot) times [`stride`](SegmentInfo::stride) bytes into it, which is its
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

    /// The kernel object that the frames live in, in Kernel mode; `None` in User mode.
    ///
    /// It is a memfd or a section of the whole segment. It stays open for as long as the pool has handles
    /// or frames that are out, and the memory stays for as long as it is open anywhere. On Windows this
    /// handle may write; to give another process one that may not, there is
    /// [`try_clone_handle`](Self::try_clone_handle).
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

    /// Takes back a frame that was [lent](Frame::lend), when its token comes back. The length is what
    /// it was, for that in the token is for the borrower alone; the bytes are what the borrower left there,
    /// if it might write.
    ///
    /// # Errors
    ///
    /// [`TokenError::NotLent`] for a token that is stale, comes a second time, or was never issued;
    /// [`TokenError::Outside`] for one of another pool's geometry. Nothing changes then.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool, TokenError};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let pool = FramePool::builder().frames(4).frame_size(64).mode(AllocatorMode::Kernel).build()?;
    /// let token = pool.acquire()?.lend().expect("in Kernel mode");
    /// assert_eq!(pool.free_frames(), 3);
    /// let frame = pool.redeem(token)?;
    /// assert!(matches!(pool.redeem(token), Err(TokenError::NotLent { .. })));
    /// # drop(frame);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn redeem(&self, token: FrameToken) -> Result<Frame, TokenError> {
        Frame::redeem(&self.core, self.call_site(), token)
    }

    /// Takes a frame back from a borrower that will not give it back, for it died or is not waited for
    /// any longer. If the token comes back after all, [`redeem`](Self::redeem) refuses it.
    ///
    /// A borrower that is alive still sees the frame, and what is done with it from here on: what it was
    /// promised when it [opened](crate::RemoteFrames::open) the memory no longer holds for that frame. If
    /// it might write, it still can.
    ///
    /// # Errors
    ///
    /// As [`redeem`](Self::redeem): also if the token came back in the meantime.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let pool = FramePool::builder().frames(4).frame_size(64).mode(AllocatorMode::Kernel).build()?;
    /// let token = pool.acquire()?.lend().expect("in Kernel mode");
    /// drop(pool.revoke(token)?);
    /// assert_eq!(pool.free_frames(), 4);
    /// assert!(pool.redeem(token).is_err());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn revoke(&self, token: FrameToken) -> Result<Frame, TokenError> {
        Frame::redeem(&self.core, self.call_site(), token)
    }

    /// A handle of its own on the kernel object that the frames live in, to be given to another
    /// process or a driver.
    ///
    /// Unless the pool was built with [`peers_may_write`](FramePoolBuilder::peers_may_write), the
    /// memory can be mapped through it to be read, and not to be written.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) in User mode; what the system says when it has no
    /// handles left.
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

    /// Refuses everybody who waits now or asks later with [`Flushing`](AcquireError::Flushing),
    /// until [`end_flush`](Self::end_flush). Frames that are out stay valid and come back as always;
    /// the memory stays. Calling it twice is calling it once.
    ///
    /// This is also how to stop the threads of a pipeline that may be blocked in
    /// [`acquire`](Self::acquire).
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
        tracing_events::flush(true);
    }

    /// Ends what [`begin_flush`](Self::begin_flush) began.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(8).frame_size(64).build()?;
    /// pool.end_flush(); // nothing to end
    /// assert!(pool.try_acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "EndFlush")]
    pub fn end_flush(&self) {
        drop(self.flush(false));
        tracing_events::flush(false);
    }

    /// Begins or ends a flush. Whoever is refused is told when the result is dropped.
    pub(crate) fn flush(&self, flushing: bool) -> Option<RejectedWaiters> {
        let refused = self.core.change_state(|gate| gate.flushing = flushing);
        self.core.record_of_pool(match flushing {
            true => EventKind::FlushBegan,
            false => EventKind::FlushEnded,
        });
        refused
    }

    /// Hands frames out again, with their contents as they are, or stops. Whoever is refused is told
    /// when the result is dropped.
    pub(crate) fn commit(&self, committed: bool) -> Option<RejectedWaiters> {
        let refused = self.core.change_state(|gate| gate.committed = committed);
        self.core.record_of_pool(match committed {
            true => EventKind::Committed,
            false => EventKind::Decommitted,
        });
        refused
    }

    /// Tells `tracing` of the commit that made the pool. To be called with no lock held, for who listens may ask
    /// anything.
    pub(crate) fn tell_of_commit(&self) {
        tracing_events::committed(&self.framing(), self.mode(), self.core.layout.total);
    }

    #[cfg(feature = "windows")]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.core.wait_queue.state().flushing
    }

    /// Frames that are out now.
    pub(crate) fn frames_out(&self) -> usize {
        self.core.frames_out()
    }

    /// Closes the pool for good, and frees its memory if all frames are back, whoever still has a
    /// handle.
    pub(crate) fn retire(&self) {
        self.core.retire();
    }
}

// What a panic of a user can interrupt is the user's code: the pool runs none with its state half
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
