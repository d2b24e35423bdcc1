//! Control plane: framing, mode, commit, decommit, flush and status.
//!
//! # States
//!
//! ```text
//!                  commit                                decommit, frames out
//! Uncommitted ───────────────▶ Committed ◀──────────┐ ┌─────────────────────────▶ Decommitting
//!      ▲                           │                └─┼── commit ─────────────────────┤
//!      │   decommit, none out      │                                                  │
//!      └───────────────────────────┴────────────────────── the last frame comes back ─┘
//! ```
//!
//! `Decommitting` is not stored: it means *not committed, and frames are out*. No frame can be
//! acquired from a closed pool, so the number of frames out only falls, and the release of the last
//! one is the transition.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::diagnostics::call_site::CallSite;
use crate::error::{AcquireError, CommitError, FramingError, ModeError};
use crate::frame::Frame;
use crate::frame_pool::{FramePool, FramePoolBuilder};
use crate::framing::Framing;
#[cfg(feature = "windows")]
use crate::memory;
use crate::memory::BorrowedKernelObject;
use crate::memory_options::CommitReport;
use crate::mode::AllocatorMode;
use crate::pool::config::PoolConfig;
use crate::pool::wait_queue::{PoolState, RejectedWaiters};
use crate::sync::Mutex;
use crate::tracing_events;

/// Kernel object that an allocator's frames live in, returned by [`KsAllocator::allocator_handle`].
///
/// The object stays open as long as this value lives, also after the allocator has moved on to
/// another object in a later commit by any thread.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use std::os::fd::AsFd;
///
/// use ks_allocator::{AllocatorMode, Framing, KsAllocator, PoolAllocator};
///
/// let allocator = PoolAllocator::with_framing(Framing::new(4, 1024))?;
/// allocator.set_allocator_mode(AllocatorMode::Kernel)?;
/// allocator.commit()?;
/// let handle = allocator.allocator_handle().expect("committed in Kernel mode");
/// let for_a_peer = handle.as_fd().try_clone_to_owned()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct KernelHandle {
    /// A pool in Kernel mode. It keeps the object open.
    pool: FramePool,
}

impl KernelHandle {
    fn of(pool: &FramePool) -> Option<Self> {
        pool.handle()?;
        Some(Self { pool: pool.clone() })
    }

    fn object(&self) -> BorrowedKernelObject<'_> {
        self.pool.handle().expect("`of` checked that there is one")
    }

    /// Returns the handle as COM passes it: a word of pointer size.
    #[cfg(feature = "windows")]
    pub(crate) fn as_word(&self) -> *mut std::ffi::c_void {
        memory::as_word(self.object())
    }
}

#[cfg(unix)]
mod as_handle {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use super::KernelHandle;

    impl AsFd for KernelHandle {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.object()
        }
    }

    impl AsRawFd for KernelHandle {
        fn as_raw_fd(&self) -> RawFd {
            self.object().as_raw_fd()
        }
    }
}

#[cfg(windows)]
mod as_handle {
    use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};

    use super::KernelHandle;

    impl AsHandle for KernelHandle {
        fn as_handle(&self) -> BorrowedHandle<'_> {
            self.object()
        }
    }

    impl AsRawHandle for KernelHandle {
        fn as_raw_handle(&self) -> RawHandle {
            self.object().as_raw_handle()
        }
    }
}

/// State of an allocator.
///
/// ```
/// use ks_allocator::{AllocatorState, Framing, KsAllocator, PoolAllocator};
///
/// let allocator = PoolAllocator::with_framing(Framing::new(2, 64))?;
/// assert_eq!(allocator.allocator_status().state, AllocatorState::Uncommitted);
/// allocator.commit()?;
/// assert_eq!(allocator.allocator_status().state, AllocatorState::Committed);
/// let frame = allocator.acquire()?;
/// allocator.decommit();
/// assert_eq!(allocator.allocator_status().state, AllocatorState::Decommitting);
/// drop(frame);
/// assert_eq!(allocator.allocator_status().state, AllocatorState::Uncommitted);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllocatorState {
    /// No frame can be acquired, and none is out. Framing and mode can be set.
    Uncommitted,
    /// Frames can be acquired.
    Committed,
    /// No frame can be acquired, and frames of the last commit are still out.
    Decommitting,
}

/// Status of an allocator at one moment.
///
/// Source: `KSSTREAMALLOCATOR_STATUS`, `IKsAllocator::KsGetAllocatorStatus`.
///
/// ```
/// use ks_allocator::{Framing, KsAllocator, PoolAllocator};
///
/// let allocator = PoolAllocator::with_framing(Framing::new(3, 64))?;
/// allocator.commit()?;
/// let frame = allocator.acquire()?;
/// let status = allocator.allocator_status();
/// assert_eq!((status.framing.frames, status.allocated_frames), (3, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "KSSTREAMALLOCATOR_STATUS")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllocatorStatus {
    /// The framing, as [`KsAllocator::framing`] returns it.
    pub framing: Framing,
    /// Number of frames that are out. Never more than the framing has.
    #[doc(alias = "AllocatedFrames")]
    pub allocated_frames: usize,
    /// The state.
    pub state: AllocatorState,
}

/// Control plane of an allocator of media frames, in the vocabulary of kernel streaming.
///
/// All methods take `&self` and may be called from any thread at any time. The trait is
/// object-safe. A call that fails changes nothing, with the exception that [`commit`](Self::commit)
/// documents.
///
/// | call | Uncommitted | Committed | Decommitting |
/// |---|---|---|---|
/// | `set_framing`, alignment out of range | `Alignment` | `Alignment` | `Alignment` |
/// | `set_framing` | done | `AlreadyCommitted` | `FramesOutstanding` |
/// | `set_allocator_mode`, same mode | done | done | done |
/// | `set_allocator_mode`, other mode | done | `AlreadyCommitted` | `AlreadyCommitted` |
/// | `commit` | Committed, or a [`CommitError`] | done | Committed, nothing allocated |
/// | `decommit` | done | Uncommitted or Decommitting; pending acquires fail | done |
/// | the three forms of `acquire` | `NotCommitted` | a frame or an error | `NotCommitted` |
///
/// ```
/// use std::sync::Arc;
///
/// use ks_allocator::{Framing, KsAllocator, PoolAllocator};
///
/// let allocator: Arc<dyn KsAllocator> = Arc::new(PoolAllocator::new());
/// let actual = allocator.set_framing(&Framing::new(4, 1000).alignment(64))?;
/// assert_eq!(actual.frame_size, 1024);
/// allocator.commit()?;
/// let frame = allocator.acquire()?;
/// allocator.decommit();
/// assert_eq!(frame.len(), 1024); // still valid
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("IKsAllocator", "IKsAllocatorEx", "IMemAllocator"))]
pub trait KsAllocator: Send + Sync {
    /// Returns the kernel object that the frames live in. `None` in User mode, and in Kernel mode
    /// before the first commit.
    ///
    /// ```
    /// # use ks_allocator::{KsAllocator, PoolAllocator};
    /// assert!(PoolAllocator::new().allocator_handle().is_none());
    /// ```
    #[doc(alias = "KsGetAllocatorHandle")]
    fn allocator_handle(&self) -> Option<KernelHandle>;

    /// Returns the mode in which the allocator allocates memory.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, KsAllocator, PoolAllocator};
    /// assert_eq!(PoolAllocator::new().allocator_mode(), AllocatorMode::User);
    /// ```
    #[doc(alias = "KsGetAllocatorMode")]
    fn allocator_mode(&self) -> AllocatorMode;

    /// Returns framing, number of frames out, and state, of one moment.
    ///
    /// ```
    /// # use ks_allocator::{KsAllocator, PoolAllocator};
    /// assert_eq!(PoolAllocator::new().allocator_status().allocated_frames, 0);
    /// ```
    #[doc(alias = "KsGetAllocatorStatus")]
    fn allocator_status(&self) -> AllocatorStatus;

    /// Sets the mode in which the allocator allocates memory, from the next commit on.
    ///
    /// # Errors
    ///
    /// [`ModeError::AlreadyCommitted`], if the mode is another one and the state is not
    /// Uncommitted.
    ///
    /// Source: `IKsAllocator::KsSetAllocatorMode`, documented as returning `S_OK` or an error.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::new();
    /// allocator.set_allocator_mode(AllocatorMode::Kernel)?;
    /// assert_eq!(allocator.allocator_mode(), AllocatorMode::Kernel);
    /// # Ok::<(), ks_allocator::ModeError>(())
    /// ```
    #[doc(alias = "KsSetAllocatorMode")]
    fn set_allocator_mode(&self, mode: AllocatorMode) -> Result<(), ModeError>;

    /// Returns the framing, with the frame size rounded up. All zeroes if it was never set.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// assert_eq!(PoolAllocator::new().framing(), Framing::default());
    /// ```
    #[doc(alias = "GetProperties")]
    fn framing(&self) -> Framing;

    /// Sets the framing for the next commit. Returns it as it was rounded: see [`Framing::actual`].
    ///
    /// # Errors
    ///
    /// In this order: [`FramingError::Alignment`], [`FramingError::AlreadyCommitted`],
    /// [`FramingError::FramesOutstanding`]. Counts and sizes are checked by
    /// [`commit`](Self::commit).
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::new();
    /// let actual = allocator.set_framing(&Framing::new(2, 100).alignment(16).prefix(3))?;
    /// assert_eq!(actual.frame_size, 109);
    /// assert_eq!(allocator.framing(), actual);
    /// # Ok::<(), ks_allocator::FramingError>(())
    /// ```
    #[doc(alias = "SetProperties")]
    fn set_framing(&self, request: &Framing) -> Result<Framing, FramingError>;

    /// Commits: allocates the memory if needed, and lets frames be acquired.
    ///
    /// A commit in the state Committed has no effect. A commit after a decommit keeps the memory
    /// with its contents; frames that are still out count as before. If framing or mode were set in
    /// between, even to the same values, the old memory is freed and zeroed memory is allocated.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]. After an error nothing is committed. The memory of the last commit, if
    /// it could not be reused, is freed before new memory is allocated, so after an error it is
    /// gone.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 4))?;
    /// allocator.commit()?;
    /// allocator.acquire()?.copy_from_slice(b"same");
    /// allocator.decommit();
    /// allocator.commit()?;
    /// assert_eq!(&*allocator.acquire()?, b"same");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "Commit")]
    fn commit(&self) -> Result<(), CommitError>;

    /// Decommits: every pending acquire fails with [`NotCommitted`](AcquireError::NotCommitted),
    /// even if a commit follows at once, and so does every later one until the next commit.
    ///
    /// Returns at once and never fails. Frames that are out stay valid until they are dropped.
    ///
    /// ```
    /// # use ks_allocator::{AcquireError, Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 4))?;
    /// allocator.commit()?;
    /// allocator.decommit();
    /// assert_eq!(allocator.acquire().unwrap_err(), AcquireError::NotCommitted);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "Decommit")]
    fn decommit(&self);

    /// Begins a flush: every pending acquire, and every later one until
    /// [`end_flush`](Self::end_flush), fails with [`Flushing`](AcquireError::Flushing).
    ///
    /// The flush lasts across commits and decommits. Memory and frames that are out stay as they
    /// are.
    ///
    /// ```
    /// # use ks_allocator::{AcquireError, Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 4))?;
    /// allocator.commit()?;
    /// allocator.begin_flush();
    /// assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "BeginFlush")]
    fn begin_flush(&self);

    /// Ends the flush that [`begin_flush`](Self::begin_flush) began.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 4))?;
    /// allocator.commit()?;
    /// allocator.begin_flush();
    /// allocator.end_flush();
    /// assert!(allocator.acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "EndFlush")]
    fn end_flush(&self);

    /// Returns the number of frames of the framing that are not out.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(3, 4))?;
    /// assert_eq!(allocator.free_frames(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "GetFreeCount")]
    fn free_frames(&self) -> usize;

    /// Acquires a frame. Blocks until one is free: see [`FramePool::acquire`].
    ///
    /// # Errors
    ///
    /// [`Flushing`](AcquireError::Flushing) or [`NotCommitted`](AcquireError::NotCommitted), also
    /// if a flush or a decommit begins during the wait.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 4))?;
    /// allocator.commit()?;
    /// assert_eq!(allocator.acquire()?.len(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "GetBuffer")]
    #[track_caller]
    fn acquire(&self) -> Result<Frame, AcquireError>;

    /// Acquires a free frame, or fails at once: see [`FramePool::try_acquire`].
    ///
    /// # Errors
    ///
    /// [`Exhausted`](AcquireError::Exhausted), and the errors of [`acquire`](Self::acquire).
    ///
    /// ```
    /// # use ks_allocator::{AcquireError, Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 4))?;
    /// allocator.commit()?;
    /// let frame = allocator.try_acquire()?;
    /// assert!(matches!(allocator.try_acquire(), Err(AcquireError::Exhausted(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "AM_GBF_NOWAIT")]
    #[track_caller]
    fn try_acquire(&self) -> Result<Frame, AcquireError>;

    /// Acquires a frame. Blocks for at most `timeout` until one is free: see
    /// [`FramePool::acquire_timeout`].
    ///
    /// # Errors
    ///
    /// [`TimedOut`](AcquireError::TimedOut), and the errors of [`acquire`](Self::acquire).
    ///
    /// ```
    /// # use ks_allocator::{AcquireError, Framing, KsAllocator, PoolAllocator};
    /// # use std::time::Duration;
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 4))?;
    /// allocator.commit()?;
    /// let frame = allocator.acquire()?;
    /// let error = allocator.acquire_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(matches!(error, AcquireError::TimedOut(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    fn acquire_timeout(&self, timeout: Duration) -> Result<Frame, AcquireError>;
}

/// [`KsAllocator`] whose frames come from a [`FramePool`].
///
/// Dropping it decommits. Frames that are out stay valid, and the memory is freed with the last of
/// them.
///
/// ```
/// use ks_allocator::{Framing, KsAllocator, PoolAllocator};
///
/// let allocator = PoolAllocator::with_framing(Framing::new(4, 1920 * 1080 * 3 / 2))?;
/// allocator.commit()?;
/// let pool = allocator.pool().expect("committed"); // for the hot loop
/// let frame = pool.acquire()?;
/// assert_eq!(allocator.allocator_status().allocated_frames, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PoolAllocator {
    /// No code of the user's runs while this is locked: no waker, hook or subscriber, no memory of
    /// the user's is allocated or freed, and no pool is dropped.
    control: Mutex<Control>,
    /// Locked while a pool is built, before `control`, so that two commits do not allocate at the
    /// same time. Only `commit` locks it.
    building: Mutex<()>,
    /// The pool of the last commit. Written under `control`; read by `acquire` without a lock.
    pool: ArcSwapOption<FramePool>,
    /// The configuration of its pools, except framing and mode, which are in `control`.
    config: PoolConfig,
}

/// Result of a commit.
enum Committed {
    /// The allocator was committed already.
    Before,
    /// The pool of the last commit is open again.
    Again,
    /// A new pool was built.
    Anew(FramePool),
}

#[derive(Debug)]
struct Control {
    framing: Framing,
    mode: AllocatorMode,
    /// Framing or mode were set since the last commit, so the next one cannot reuse its pool.
    changed: bool,
    committed: bool,
    /// The flush state for the first pool. A later pool takes over the state of the one before.
    flushing: bool,
}

impl PoolAllocator {
    /// Returns an uncommitted allocator in User mode, whose framing is yet to be set.
    ///
    /// ```
    /// # use ks_allocator::{KsAllocator, PoolAllocator};
    /// assert!(PoolAllocator::new().commit().is_err());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        let control = Control {
            framing: Framing::default(),
            mode: AllocatorMode::default(),
            changed: true,
            committed: false,
            flushing: false,
        };
        Self {
            control: Mutex::new(control),
            building: Mutex::new(()),
            pool: ArcSwapOption::empty(),
            config: PoolConfig::new(Framing::new(0, 0), AllocatorMode::User),
        }
    }

    /// Returns an uncommitted allocator whose pools have the options of `builder`.
    ///
    /// Mode and framing of the builder apply until others are set. Its other options apply to all
    /// commits.
    ///
    /// # Errors
    ///
    /// [`FramingError::Alignment`], unless the alignment is in 1..=65536.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, KsAllocator, PoolAllocator};
    /// let large = FramePool::builder().frames(100).frame_size(1 << 20).prefault(false);
    /// let allocator = PoolAllocator::from_builder(&large)?;
    /// allocator.commit()?; // fast, because no page is touched
    /// assert_eq!(allocator.framing().frames, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_builder(builder: &FramePoolBuilder) -> Result<Self, FramingError> {
        let mut allocator = Self::new();
        allocator.config = builder.config.clone();
        allocator.control.lock().mode = builder.config.memory.mode;
        if builder.config.framing != Framing::new(0, 0) {
            allocator.set_framing(&builder.config.framing)?;
        }
        Ok(allocator)
    }

    /// Returns an uncommitted allocator in User mode with this framing, rounded.
    ///
    /// # Errors
    ///
    /// [`FramingError::Alignment`], unless the alignment is in 1..=65536.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// assert!(PoolAllocator::with_framing(Framing::new(4, 4096))?.commit().is_ok());
    /// # Ok::<(), ks_allocator::FramingError>(())
    /// ```
    pub fn with_framing(framing: Framing) -> Result<Self, FramingError> {
        let allocator = Self::new();
        allocator.set_framing(&framing)?;
        Ok(allocator)
    }

    /// Returns a handle of the pool of the last commit, for use in hot loops. `None` before the
    /// first commit, and after one that failed.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(4, 4096))?;
    /// assert!(allocator.pool().is_none());
    /// allocator.commit()?;
    /// assert_eq!(allocator.pool().map(|pool| pool.frames()), Some(4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pool(&self) -> Option<FramePool> {
        self.pool.load().as_deref().cloned()
    }

    /// Returns the report on the memory of the last commit: see [`FramePool::commit_report`].
    /// `None` before the first commit, and after one that failed.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(4, 4096))?;
    /// assert!(allocator.commit_report().is_none());
    /// allocator.commit()?;
    /// assert!(allocator.commit_report().is_some_and(|report| report.requested.prefault));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn commit_report(&self) -> Option<CommitReport> {
        self.pool().map(|pool| pool.commit_report())
    }

    /// Calls `acquire` with the current pool, without taking a lock.
    #[inline]
    pub(crate) fn with_pool<T, E: From<AcquireError>>(
        &self,
        acquire: impl FnOnce(&FramePool) -> Result<T, E>,
    ) -> Result<T, E> {
        match &*self.pool.load() {
            Some(pool) => acquire(pool),
            None => Err(AcquireError::NotCommitted.into()),
        }
    }

    /// Returns the number of frames out. To be called under the lock of `control`, so that the pool
    /// is not exchanged meanwhile.
    fn frames_out(&self) -> usize {
        self.pool
            .load()
            .as_ref()
            .map_or(0, |pool| pool.frames_out())
    }

    fn status(&self, control: &Control) -> AllocatorStatus {
        let allocated_frames = self.frames_out();
        let state = match (control.committed, allocated_frames) {
            (true, _) => AllocatorState::Committed,
            (false, 0) => AllocatorState::Uncommitted,
            (false, _) => AllocatorState::Decommitting,
        };
        AllocatorStatus {
            framing: control.framing,
            allocated_frames,
            state,
        }
    }

    /// Changes the control state, and the state of the pool if there is one.
    ///
    /// Rejected waiters are woken after the lock is released, because a waker may call the
    /// allocator.
    fn change_state(
        &self,
        change: impl FnOnce(&mut Control),
        apply: impl FnOnce(&FramePool) -> Option<RejectedWaiters>,
    ) {
        let mut control = self.control.lock();
        change(&mut control);
        let rejected = self.pool.load().as_deref().and_then(apply);
        drop(control);
        drop(rejected);
    }

    /// Retires the current pool, of which no frame is out, if the next commit cannot reuse it. Its
    /// memory is freed now, before the next pool allocates; in Kernel mode only if no other handle
    /// of the pool is left.
    fn retire_changed_pool(&self) {
        let mut control = self.control.lock();
        if control.committed || !control.changed {
            return;
        }
        let old = self.pool.swap(None);
        if let Some(old) = &old {
            control.flushing = old.is_flushing();
        }
        drop(control);
        if let Some(old) = old {
            old.retire();
        }
    }

    /// Builds a pool with the framing and mode that were set. `control` is not locked.
    fn next_pool(
        &self,
        framing: Framing,
        mode: AllocatorMode,
        flushing: bool,
    ) -> Result<FramePool, CommitError> {
        let mut config = self.config.clone();
        config.framing = framing;
        config.memory.mode = mode;
        let state = PoolState {
            flushing,
            ..PoolState::OPEN
        };
        FramePool::new(&config, state)
    }

    /// Commits once. Returns `None` if the control state changed meanwhile, so that the call has to
    /// be repeated.
    fn try_commit(&self) -> Result<Option<Committed>, CommitError> {
        self.retire_changed_pool();
        let building = self.building.lock();
        let mut control = self.control.lock();
        if control.committed {
            return Ok(Some(Committed::Before));
        }
        if !control.changed {
            control.committed = true;
            // Opening a pool rejects no waiter.
            let rejected = self
                .pool
                .load()
                .as_deref()
                .and_then(|pool| pool.commit(true));
            drop((control, rejected));
            return Ok(Some(Committed::Again));
        }
        if self.pool.load().is_some() {
            return Ok(None);
        }
        let Control {
            framing,
            mode,
            flushing,
            ..
        } = *control;
        drop(control);
        let next = self.next_pool(framing, mode, flushing)?;

        let mut control = self.control.lock();
        let is_current = (control.framing, control.mode) == (framing, mode);
        if is_current {
            if control.flushing != flushing {
                // No caller has waited for a frame of the new pool yet.
                drop(next.flush(control.flushing));
            }
            self.pool.store(Some(next.clone().into()));
            control.changed = false;
            control.committed = true;
        }
        // The locks first: a pool that is outdated already is dropped after them.
        drop((control, building));
        Ok(is_current.then_some(Committed::Anew(next)))
    }
}

impl KsAllocator for PoolAllocator {
    fn allocator_handle(&self) -> Option<KernelHandle> {
        let control = self.control.lock();
        match control.mode {
            AllocatorMode::User => None,
            AllocatorMode::Kernel => KernelHandle::of(self.pool.load().as_deref()?),
        }
    }

    fn allocator_mode(&self) -> AllocatorMode {
        self.control.lock().mode
    }

    fn allocator_status(&self) -> AllocatorStatus {
        self.status(&self.control.lock())
    }

    fn set_allocator_mode(&self, mode: AllocatorMode) -> Result<(), ModeError> {
        let mut control = self.control.lock();
        if mode == control.mode {
            return Ok(());
        }
        if self.status(&control).state != AllocatorState::Uncommitted {
            return Err(ModeError::AlreadyCommitted {
                current: control.mode,
                requested: mode,
            });
        }
        control.mode = mode;
        control.changed = true;
        Ok(())
    }

    fn framing(&self) -> Framing {
        self.control.lock().framing
    }

    fn set_framing(&self, request: &Framing) -> Result<Framing, FramingError> {
        let actual = request.actual()?;
        let mut control = self.control.lock();
        let status = self.status(&control);
        match status.state {
            AllocatorState::Uncommitted => {}
            AllocatorState::Committed => return Err(FramingError::AlreadyCommitted),
            AllocatorState::Decommitting => {
                return Err(FramingError::FramesOutstanding {
                    outstanding: status.allocated_frames,
                    frames: status.framing.frames,
                });
            }
        }
        control.framing = actual;
        control.changed = true;
        Ok(actual)
    }

    fn commit(&self) -> Result<(), CommitError> {
        let committed = loop {
            if let Some(committed) = self.try_commit()? {
                break committed;
            }
        };
        match committed {
            Committed::Before => {}
            Committed::Again => tracing_events::committed_again(self.frames_out()),
            Committed::Anew(pool) => pool.trace_commit(),
        }
        Ok(())
    }

    fn decommit(&self) {
        self.change_state(
            |control| control.committed = false,
            |pool| pool.commit(false),
        );
        tracing_events::decommitted(self.frames_out());
    }

    fn begin_flush(&self) {
        self.change_state(|control| control.flushing = true, |pool| pool.flush(true));
        tracing_events::flush(true);
    }

    fn end_flush(&self) {
        self.change_state(|control| control.flushing = false, |pool| pool.flush(false));
        tracing_events::flush(false);
    }

    fn free_frames(&self) -> usize {
        let status = self.allocator_status();
        status.framing.frames - status.allocated_frames
    }

    #[inline]
    #[track_caller]
    fn acquire(&self) -> Result<Frame, AcquireError> {
        let site = CallSite::caller(None);
        self.with_pool(|pool| pool.acquire_at(site))
    }

    #[inline]
    #[track_caller]
    fn try_acquire(&self) -> Result<Frame, AcquireError> {
        let site = CallSite::caller(None);
        self.with_pool(|pool| pool.try_acquire_at(site))
    }

    #[track_caller]
    fn acquire_timeout(&self, timeout: Duration) -> Result<Frame, AcquireError> {
        let site = CallSite::caller(None);
        self.with_pool(|pool| pool.acquire_timeout_at(site, timeout))
    }
}

impl Default for PoolAllocator {
    fn default() -> Self {
        Self::new()
    }
}

// As for `FramePool`.
impl UnwindSafe for PoolAllocator {}
impl RefUnwindSafe for PoolAllocator {}

impl Drop for PoolAllocator {
    fn drop(&mut self) {
        self.decommit();
    }
}

impl fmt::Debug for PoolAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolAllocator")
            .field("mode", &self.allocator_mode())
            .field("status", &self.allocator_status())
            .finish_non_exhaustive()
    }
}
