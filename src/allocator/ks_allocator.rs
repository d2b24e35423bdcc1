//! The trait [`KsAllocator`], and what its methods return.

use std::time::Duration;

use crate::error::{AcquireError, CommitError, FramingError, ModeError};
use crate::frame::Frame;
use crate::frame_pool::FramePool;
use crate::framing::Framing;
#[cfg(feature = "windows")]
use crate::memory;
use crate::memory::BorrowedKernelObject;
use crate::mode::AllocatorMode;
use crate::sync::unmodeled;

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
    pub(super) fn of(pool: &FramePool) -> Option<Self> {
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
