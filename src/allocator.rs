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
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::error::{AcquireError, CommitError, FramingError, ModeError};
use crate::frame::Frame;
use crate::frame_pool::{FramePool, FramePoolBuilder};
use crate::framing::Framing;
use crate::label::Label;
#[cfg(feature = "windows")]
use crate::memory;
use crate::memory::BorrowedKernelObject;
use crate::memory_options::CommitReport;
use crate::mode::AllocatorMode;
use crate::pool::config::PoolConfig;
use crate::pool::wait_queue::{PoolState, RejectedWaiters};
use crate::sync::{Mutex, unmodeled};
use crate::tracing_events;
use crate::video::VideoLayout;

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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
/// The trait is not sealed: a program may have allocators of its own, for example for tests. A
/// reference, a `Box` and an `Arc` of an allocator are allocators, too.
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
/// assert_eq!((frame.len(), frame.capacity()), (1000, 1024)); // still valid
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
    /// An acquired [`Frame`] has the length that was asked for here, and the rounded capacity. To
    /// ask again with the framing that was returned asks for frames of the rounded size.
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
    /// between, even to the same values, the old memory is freed and zeroed memory is allocated. So
    /// it is if the pool was [closed](FramePool::close). Frames of a closed pool that are still out
    /// then keep its memory, and are no longer counted here.
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
    /// if a flush or a decommit begins during the wait. [`Closed`](AcquireError::Closed), if the
    /// pool was [closed](FramePool::close), until the next commit.
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

    /// Returns a handle of the pool of the last commit, for hot loops and for acquires that the
    /// trait does not have: several frames, and by tasks. `None` before the first commit, and for
    /// allocators without a pool.
    ///
    /// ```
    /// use ks_allocator::{AcquireError, AcquireFuture, KsAllocator};
    ///
    /// fn next_frame(allocator: &dyn KsAllocator) -> Result<AcquireFuture<'static>, AcquireError> {
    ///     let pool = allocator.frame_pool().ok_or(AcquireError::NotCommitted)?;
    ///     Ok(pool.acquire_owned())
    /// }
    ///
    /// # use ks_allocator::{Framing, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 64))?;
    /// assert!(next_frame(&allocator).is_err());
    /// allocator.commit()?;
    /// assert!(next_frame(&allocator).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn frame_pool(&self) -> Option<FramePool> {
        None
    }
}

/// Implements the trait for a type that dereferences to an allocator.
macro_rules! forward_to_allocator {
    ($($pointer:ty),*) => {$(
        impl<A: KsAllocator + ?Sized> KsAllocator for $pointer {
            fn allocator_handle(&self) -> Option<KernelHandle> {
                (**self).allocator_handle()
            }

            fn allocator_mode(&self) -> AllocatorMode {
                (**self).allocator_mode()
            }

            fn allocator_status(&self) -> AllocatorStatus {
                (**self).allocator_status()
            }

            fn set_allocator_mode(&self, mode: AllocatorMode) -> Result<(), ModeError> {
                (**self).set_allocator_mode(mode)
            }

            fn framing(&self) -> Framing {
                (**self).framing()
            }

            fn set_framing(&self, request: &Framing) -> Result<Framing, FramingError> {
                (**self).set_framing(request)
            }

            fn commit(&self) -> Result<(), CommitError> {
                (**self).commit()
            }

            fn decommit(&self) {
                (**self).decommit();
            }

            fn begin_flush(&self) {
                (**self).begin_flush();
            }

            fn end_flush(&self) {
                (**self).end_flush();
            }

            fn free_frames(&self) -> usize {
                (**self).free_frames()
            }

            #[track_caller]
            fn acquire(&self) -> Result<Frame, AcquireError> {
                (**self).acquire()
            }

            #[track_caller]
            fn try_acquire(&self) -> Result<Frame, AcquireError> {
                (**self).try_acquire()
            }

            #[track_caller]
            fn acquire_timeout(&self, timeout: Duration) -> Result<Frame, AcquireError> {
                (**self).acquire_timeout(timeout)
            }

            fn frame_pool(&self) -> Option<FramePool> {
                (**self).frame_pool()
            }
        }
    )*};
}

forward_to_allocator!(&A, Box<A>, unmodeled::Arc<A>);

/// [`KsAllocator`] whose frames come from a [`FramePool`].
///
/// Dropping it decommits. Frames that are out stay valid, and the memory is freed with the last of
/// them.
///
/// A library that is loaded at run time and has a copy of this crate of its own must not use a
/// `PoolAllocator` of another copy directly. It can use the allocator as `dyn KsAllocator`, whose
/// methods run in the copy that made it, and the allocator's [pool](FramePool).
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

#[derive(Debug)]
struct Control {
    /// Rounded.
    framing: Framing,
    /// The frame size that was asked for.
    frame_len: usize,
    video: Option<VideoLayout>,
    mode: AllocatorMode,
    /// Framing or mode were set since the last commit, so the next one cannot reuse its pool.
    changed: bool,
    /// True from a commit to the next decommit. If the pool was closed meanwhile, the allocator is
    /// not committed all the same.
    committed: bool,
    /// The flush state for the first pool. A later pool takes over the state of the one before.
    flushing: bool,
}

/// The values that the next pool is built from.
#[derive(Clone, Copy, Debug)]
struct Plan {
    framing: Framing,
    frame_len: usize,
    video: Option<VideoLayout>,
    mode: AllocatorMode,
    flushing: bool,
}

impl Plan {
    /// Returns whether a pool of the other plan has other frames.
    fn describes_other_frames(&self, other: &Self) -> bool {
        let frames = |plan: &Self| (plan.framing, plan.frame_len, plan.video, plan.mode);
        frames(self) != frames(other)
    }
}

impl Control {
    fn plan(&self) -> Plan {
        Plan {
            framing: self.framing,
            frame_len: self.frame_len,
            video: self.video,
            mode: self.mode,
            flushing: self.flushing,
        }
    }
}

/// Effect of a commit, for [`PoolAllocator::trace_commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the event of a commit is emitted after the lock is released"]
pub(crate) enum CommitEffect {
    None,
    NewMemory,
    SameMemory,
}

/// The control state of an allocator while its lock is held.
///
/// Framing, mode and state do not change while this value exists, but for one transition: the
/// release of the last frame turns `Decommitting` into `Uncommitted`.
pub(crate) struct LockedControl<'a> {
    allocator: &'a PoolAllocator,
    control: &'a mut Control,
}

impl LockedControl<'_> {
    #[cfg(feature = "windows")]
    pub(crate) fn mode(&self) -> AllocatorMode {
        self.control.mode
    }

    fn is_committed(&self) -> bool {
        self.control.committed && !self.allocator.pool_is_closed()
    }

    pub(crate) fn status(&self) -> AllocatorStatus {
        let allocated_frames = self.allocator.frames_out();
        let state = match (self.is_committed(), allocated_frames) {
            (true, _) => AllocatorState::Committed,
            (false, 0) => AllocatorState::Uncommitted,
            (false, _) => AllocatorState::Decommitting,
        };
        AllocatorStatus {
            framing: self.control.framing,
            allocated_frames,
            state,
        }
    }

    pub(crate) fn handle(&self) -> Option<KernelHandle> {
        match self.control.mode {
            AllocatorMode::User => None,
            AllocatorMode::Kernel => KernelHandle::of(self.allocator.pool.load().as_deref()?),
        }
    }

    pub(crate) fn set_framing(&mut self, request: &Framing) -> Result<Framing, FramingError> {
        self.set_frames(request, None)
    }

    /// Sets the framing and what the frames contain.
    fn set_frames(
        &mut self,
        request: &Framing,
        video: Option<VideoLayout>,
    ) -> Result<Framing, FramingError> {
        let actual = self.allocator.config.actual(request)?;
        let status = self.status();
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
        self.control.framing = actual;
        self.control.frame_len = request.frame_size;
        self.control.video = video;
        self.control.changed = true;
        Ok(actual)
    }
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
            frame_len: 0,
            video: None,
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
            let (framing, video) = (&builder.config.framing, builder.config.video);
            allocator.with_control(|control| control.set_frames(framing, video))?;
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

    /// Sets the number of frames and the layout of the picture in each, instead of a framing.
    ///
    /// The prefix of the present framing stays, and its alignment is raised to a multiple of the
    /// layout's. To begin anew, [set a framing](KsAllocator::set_framing) first.
    /// [`set_framing`](KsAllocator::set_framing) takes the layout back.
    ///
    /// # Errors
    ///
    /// The errors of [`set_framing`](KsAllocator::set_framing).
    ///
    /// ```
    /// use ks_allocator::{KsAllocator, PoolAllocator, VideoFormat, VideoLayout};
    ///
    /// let allocator = PoolAllocator::new();
    /// allocator.set_video(8, &VideoLayout::new(VideoFormat::Nv12, 1920, 1080)?)?;
    /// allocator.commit()?;
    /// assert_eq!(allocator.framing().frame_size, 3_110_400);
    /// assert_eq!(allocator.acquire()?.planes()?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_video(&self, frames: usize, layout: &VideoLayout) -> Result<Framing, FramingError> {
        self.with_control(|control| {
            let mut framing = control.control.framing;
            framing.alignment = framing.alignment.max(1);
            let mut request = framing.for_video(layout.size(), layout.alignment());
            request.frames = frames;
            control.set_frames(&request, Some(*layout))
        })
    }

    /// Returns the layout of the picture in each frame, or `None` if none was set.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, KsAllocator, PoolAllocator, VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 640, 480)?;
    /// let builder = FramePool::builder().frames(8).video(&layout);
    /// let allocator = PoolAllocator::from_builder(&builder)?;
    /// assert_eq!(allocator.video_layout(), Some(layout));
    /// allocator.set_framing(&layout.framing(4))?;
    /// assert_eq!(allocator.video_layout(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn video_layout(&self) -> Option<VideoLayout> {
        self.with_control(|control| control.control.video)
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

    /// Returns the name of its pools.
    fn name(&self) -> Option<Label> {
        self.config.diagnostics.name
    }

    /// Returns whether the pool was closed, so that the next commit cannot reuse it.
    fn pool_is_closed(&self) -> bool {
        self.pool
            .load()
            .as_ref()
            .is_some_and(|pool| pool.is_closed())
    }

    /// Calls `access` with the control state locked. `access` runs no code of the user's, such as
    /// subscribers and wakers, because that may call the allocator.
    pub(crate) fn with_control<R>(&self, access: impl FnOnce(&mut LockedControl<'_>) -> R) -> R {
        access(&mut LockedControl {
            allocator: self,
            control: &mut self.control.lock(),
        })
    }

    /// Emits the event of a commit. To be called without a lock.
    pub(crate) fn trace_commit(&self, effect: CommitEffect) {
        match (effect, &*self.pool.load()) {
            (CommitEffect::None, _) => {}
            (CommitEffect::NewMemory, Some(pool)) => pool.trace_commit(),
            (CommitEffect::NewMemory | CommitEffect::SameMemory, _) => {
                tracing_events::committed_again(self.name(), self.frames_out());
            }
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

    /// Commits, and emits no event.
    ///
    /// `check` decides under the lock whether the commit goes on. `prepare` gets the pool under the
    /// lock, before any frame of this commit can be acquired. If either fails, nothing is committed
    /// by this call. Neither runs code of the user's.
    pub(crate) fn commit_with<E: From<CommitError>>(
        &self,
        mut check: impl FnMut(&LockedControl<'_>) -> Result<bool, E>,
        mut prepare: impl FnMut(&FramePool) -> Result<(), E>,
    ) -> Result<CommitEffect, E> {
        loop {
            if let Some(effect) = self.commit_reusing(&mut check, &mut prepare)? {
                return Ok(effect);
            }
            if let Some(effect) = self.commit_anew(&mut check, &mut prepare)? {
                return Ok(effect);
            }
        }
    }

    /// Commits the current pool, if it can be reused. Otherwise retires it, and returns `None`.
    ///
    /// The old pool is retired after the lock is released: its end may run hooks, subscribers and
    /// a [`FrameMemory`](crate::FrameMemory). Its memory is freed before this commit allocates,
    /// unless the pool was closed with frames out; in Kernel mode only if no other handle is left.
    fn commit_reusing<E>(
        &self,
        check: &mut impl FnMut(&LockedControl<'_>) -> Result<bool, E>,
        prepare: &mut impl FnMut(&FramePool) -> Result<(), E>,
    ) -> Result<Option<CommitEffect>, E> {
        let mut old = None;
        let effect = self.with_control(|access| {
            if !check(access)? {
                return Ok(Some(CommitEffect::None));
            }
            let pool = self.pool.load();
            if access.is_committed() {
                pool.as_deref().map_or(Ok(()), &mut *prepare)?;
                return Ok(Some(CommitEffect::None));
            }
            if !access.control.changed && !self.pool_is_closed() {
                if let Some(pool) = &*pool {
                    prepare(pool)?;
                    // Opening a pool rejects no waiter.
                    drop(pool.commit(true));
                }
                access.control.committed = true;
                return Ok(Some(CommitEffect::SameMemory));
            }
            // Until the new pool is there, in case it fails.
            (access.control.committed, access.control.changed) = (false, true);
            old = self.pool.swap(None);
            if let Some(old) = &old {
                access.control.flushing = old.is_flushing();
            }
            Ok(None)
        });
        if let Some(old) = old {
            old.retire();
        }
        effect
    }

    /// Builds a new pool and commits it. Returns `None` if the control state changed meanwhile.
    ///
    /// The pool is built while the control state is not locked, because the memory may be the
    /// user's.
    fn commit_anew<E: From<CommitError>>(
        &self,
        check: &mut impl FnMut(&LockedControl<'_>) -> Result<bool, E>,
        prepare: &mut impl FnMut(&FramePool) -> Result<(), E>,
    ) -> Result<Option<CommitEffect>, E> {
        let building = self.building.lock();
        let planned = self.with_control(|access| {
            let is_needed = !access.is_committed() && access.control.changed;
            (is_needed && self.pool.load().is_none()).then(|| access.control.plan())
        });
        let Some(planned) = planned else {
            return Ok(None);
        };
        let next = self.next_pool(planned)?;
        let effect = self.with_control(|access| {
            if !check(access)? {
                return Ok(Some(CommitEffect::None));
            }
            let current = access.control.plan();
            if current.describes_other_frames(&planned) {
                return Ok(None);
            }
            prepare(&next)?;
            if current.flushing != planned.flushing {
                // No caller has waited for a frame of the new pool yet.
                drop(next.flush(current.flushing));
            }
            self.pool.store(Some(next.clone().into()));
            (access.control.committed, access.control.changed) = (true, false);
            Ok(Some(CommitEffect::NewMemory))
        });
        // The lock first: a pool that is outdated already is dropped after it.
        drop(building);
        drop(next);
        effect
    }

    /// Builds a pool as planned.
    fn next_pool(&self, plan: Plan) -> Result<FramePool, CommitError> {
        let mut config = self.config.clone();
        config.framing = plan.framing;
        config.frame_len = plan.frame_len;
        config.video = plan.video;
        config.memory.mode = plan.mode;
        let state = PoolState {
            flushing: plan.flushing,
            ..PoolState::OPEN
        };
        FramePool::new(&config, state)
    }
}

impl KsAllocator for PoolAllocator {
    fn allocator_handle(&self) -> Option<KernelHandle> {
        self.with_control(|control| control.handle())
    }

    fn allocator_mode(&self) -> AllocatorMode {
        self.control.lock().mode
    }

    fn allocator_status(&self) -> AllocatorStatus {
        self.with_control(|control| control.status())
    }

    fn set_allocator_mode(&self, mode: AllocatorMode) -> Result<(), ModeError> {
        self.with_control(|access| {
            let state = access.status().state;
            let control = &mut *access.control;
            if mode == control.mode {
                return Ok(());
            }
            if state != AllocatorState::Uncommitted {
                return Err(ModeError::AlreadyCommitted {
                    current: control.mode,
                    requested: mode,
                });
            }
            control.mode = mode;
            control.changed = true;
            Ok(())
        })
    }

    fn framing(&self) -> Framing {
        self.control.lock().framing
    }

    fn set_framing(&self, request: &Framing) -> Result<Framing, FramingError> {
        self.with_control(|control| control.set_framing(request))
    }

    fn commit(&self) -> Result<(), CommitError> {
        let effect = self.commit_with(|_| Ok::<_, CommitError>(true), |_| Ok(()))?;
        self.trace_commit(effect);
        Ok(())
    }

    fn decommit(&self) {
        self.change_state(
            |control| control.committed = false,
            |pool| pool.commit(false),
        );
        tracing_events::decommitted(self.name(), self.frames_out());
    }

    fn begin_flush(&self) {
        self.change_state(|control| control.flushing = true, |pool| pool.flush(true));
        tracing_events::flush(self.name(), true);
    }

    fn end_flush(&self) {
        self.change_state(|control| control.flushing = false, |pool| pool.flush(false));
        tracing_events::flush(self.name(), false);
    }

    fn free_frames(&self) -> usize {
        let status = self.allocator_status();
        status.framing.frames - status.allocated_frames
    }

    #[inline]
    #[track_caller]
    fn acquire(&self) -> Result<Frame, AcquireError> {
        let location = Location::caller();
        self.with_pool(|pool| pool.acquire_at(pool.site_at(location)))
    }

    #[inline]
    #[track_caller]
    fn try_acquire(&self) -> Result<Frame, AcquireError> {
        let location = Location::caller();
        self.with_pool(|pool| pool.try_acquire_at(pool.site_at(location)))
    }

    #[track_caller]
    fn acquire_timeout(&self, timeout: Duration) -> Result<Frame, AcquireError> {
        let location = Location::caller();
        self.with_pool(|pool| pool.acquire_timeout_at(pool.site_at(location), timeout))
    }

    fn frame_pool(&self) -> Option<FramePool> {
        self.pool()
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
