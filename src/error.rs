//! One small error per operation, with only what that operation can return.
//!
//! A failed call has changed nothing. Each error converts into [`std::io::Error`] with a fitting
//! kind, so that the crate can be used under `io::Result` without ceremony.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::holders::Holders;
use crate::memory_options::MemoryRequest;
use crate::mode::AllocatorMode;

/// Why no frame was handed out.
///
/// Two errors are equal if they say that the same happened, whatever reports come with them.
///
/// ```
/// use std::time::Duration;
///
/// use ks_allocator::{AcquireError, FramePool};
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// let held = pool.with_label("preview").try_acquire()?;
/// let error = pool.acquire_timeout(Duration::from_millis(1)).unwrap_err();
/// assert!(matches!(error, AcquireError::TimedOut(_)));
/// // "no frame came back in time: 1 of 1 frames out: 1 held by `preview` (src/main.rs:6) for at ..."
/// assert!(error.to_string().contains("1 held by `preview`"));
///
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Every frame is out, and the caller did not want to wait. (`VFW_E_TIMEOUT` under
    /// `AM_GBF_NOWAIT`.)
    #[error("no frame is free{0}")]
    Exhausted(Starvation),
    /// Every frame stayed out for as long as the caller wanted to wait.
    #[error("no frame came back in time{0}")]
    TimedOut(Starvation),
    /// The pool is being flushed: see [`begin_flush`](crate::KsAllocator::begin_flush).
    #[error("the pool is being flushed")]
    Flushing,
    /// The pool is not committed, or was decommitted while the caller waited.
    /// (`VFW_E_NOT_COMMITTED`.)
    #[error("the pool is not committed")]
    NotCommitted,
}

impl From<AcquireError> for io::Error {
    fn from(error: AcquireError) -> Self {
        let kind = match error {
            AcquireError::Exhausted(_) => io::ErrorKind::WouldBlock,
            AcquireError::TimedOut(_) => io::ErrorKind::TimedOut,
            AcquireError::Flushing => io::ErrorKind::ResourceBusy,
            AcquireError::NotCommitted => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

/// Acquirer had the frames when a caller got none, if somebody looked.
///
/// To look takes longer than to fail. So a bare [`try_acquire`](crate::FramePool::try_acquire) does not, and
/// [`FramePool::explain`](crate::FramePool::explain) makes up for it where that is wanted; who has waited in
/// vain is told in any case. All starvations are equal.
///
/// ```
/// use ks_allocator::{AcquireError, FramePool};
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// let held = pool.try_acquire()?;
/// let error = pool.try_acquire().unwrap_err();
/// assert_eq!(error.to_string(), "no frame is free");
/// let AcquireError::Exhausted(starvation) = pool.explain(error) else { unreachable!() };
/// assert_eq!(starvation.holders().expect("somebody looked").holders[0].slot, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Starvation(Option<Box<Holders>>);

impl Starvation {
    /// Acquirer had the frames; `None` if nobody looked.
    ///
    /// ```
    /// # use ks_allocator::Starvation;
    /// assert!(Starvation::default().holders().is_none());
    /// ```
    #[must_use]
    pub fn holders(&self) -> Option<&Holders> {
        self.0.as_deref()
    }
}

impl From<Holders> for Starvation {
    fn from(holders: Holders) -> Self {
        Self(Some(Box::new(holders)))
    }
}

impl PartialEq for Starvation {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Starvation {}

/// What follows the error's own words.
impl fmt::Display for Starvation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holders() {
            Some(holders) => write!(f, ": {holders:#}"),
            None => Ok(()),
        }
    }
}

/// Why a framing was refused.
///
/// ```
/// use ks_allocator::{Framing, PoolAllocator};
///
/// let request = Framing::new(4, 1920).alignment(65_537);
/// let error = PoolAllocator::with_framing(request).unwrap_err();
/// assert_eq!(error.to_string(), "alignment 65537 is not in 1..=65536");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The alignment is 0 or too large. (`VFW_E_BADALIGN`.)
    #[error("alignment {alignment} is not in 1..=65536")]
    Alignment {
        /// What was asked for, in bytes.
        alignment: usize,
    },
    /// The allocator is committed. (`VFW_E_ALREADY_COMMITTED`.)
    #[error("the framing cannot change while the allocator is committed")]
    AlreadyCommitted,
    /// The allocator is decommitted, but frames are still out. (`VFW_E_BUFFERS_OUTSTANDING`.)
    #[error("the framing cannot change while {outstanding} of {frames} frames are out")]
    FramesOutstanding {
        /// Frames that are out.
        outstanding: usize,
        /// Frames that exist.
        frames: usize,
    },
}

impl From<FramingError> for io::Error {
    fn from(error: FramingError) -> Self {
        let kind = match error {
            FramingError::Alignment { .. } => io::ErrorKind::InvalidInput,
            FramingError::AlreadyCommitted | FramingError::FramesOutstanding { .. } => {
                io::ErrorKind::ResourceBusy
            }
        };
        Self::new(kind, error)
    }
}

/// Why a mode was refused.
///
/// ```
/// use ks_allocator::{AllocatorMode, Framing, KsAllocator, PoolAllocator};
///
/// let allocator = PoolAllocator::with_framing(Framing::new(4, 1920))?;
/// allocator.commit()?;
/// let error = allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the mode cannot change from user to kernel while the allocator is committed"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ModeError {
    /// The allocator is committed, or frames of its last commit are still out.
    /// (`VFW_E_ALREADY_COMMITTED`.)
    #[error(
        "the mode cannot change from {current} to {requested} while the allocator is committed"
    )]
    AlreadyCommitted {
        /// The mode that stays.
        current: AllocatorMode,
        /// The mode that was asked for.
        requested: AllocatorMode,
    },
}

impl From<ModeError> for io::Error {
    fn from(error: ModeError) -> Self {
        match error {
            ModeError::AlreadyCommitted { .. } => Self::new(io::ErrorKind::ResourceBusy, error),
        }
    }
}

/// Why the memory for the frames could not be had.
///
/// ```
/// use ks_allocator::{CommitError, KsAllocator, PoolAllocator};
///
/// let error = PoolAllocator::new().commit().unwrap_err();
/// assert!(matches!(error, CommitError::FramingNotSet { frames: 0, frame_size: 0 }));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// There is nothing to allocate. (`VFW_E_SIZENOTSET`.)
    #[error("the framing asks for {frames} frames of {frame_size} bytes; neither may be 0")]
    FramingNotSet {
        /// Frames asked for.
        frames: usize,
        /// Bytes a frame, after rounding.
        frame_size: usize,
    },
    /// The sizes multiply to more than an address space, or there are more frames than
    /// [`Framing::MAX_FRAMES`](crate::Framing::MAX_FRAMES). (`E_OUTOFMEMORY`.)
    #[error(
        "{frames} frames of {frame_size} bytes, with {prefix} bytes before each and \
         aligned to {alignment}, are more than a pool can hold"
    )]
    TooLarge {
        /// Frames asked for.
        frames: usize,
        /// Bytes a frame.
        frame_size: usize,
        /// Alignment in bytes.
        alignment: usize,
        /// Prefix bytes a frame.
        prefix: usize,
    },
    /// This system has no such memory.
    #[error("{mode} mode is not supported here: {reason}")]
    ModeUnsupported {
        /// The mode that was asked for.
        mode: AllocatorMode,
        /// Why not.
        reason: &'static str,
    },
    /// Pointers into such memory cannot be trapped. (`E_NOTIMPL`.)
    #[error("stray pointers cannot be trapped here: {reason}")]
    TrapUnsupported {
        /// Why not.
        reason: &'static str,
    },
    /// The system has no memory left. (`E_OUTOFMEMORY`.)
    #[error("out of memory for {bytes} bytes")]
    OutOfMemory {
        /// Bytes asked for in one piece.
        bytes: usize,
    },
    /// Something that was asked of the memory, and
    /// [required](crate::FramePoolBuilder::require_memory_options), could not be had. (`E_OUTOFMEMORY`.)
    #[error("required of the memory: {request}; but {call} failed")]
    UnmetRequest {
        /// What was asked for.
        request: MemoryRequest,
        /// The system call that failed, or did not do it.
        call: &'static str,
        /// What the system said, or what there is to say of it.
        source: io::Error,
    },
    /// The system refused for another reason.
    #[error("{call} failed")]
    Os {
        /// The system call that failed.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl From<CommitError> for io::Error {
    fn from(error: CommitError) -> Self {
        let kind = match &error {
            CommitError::FramingNotSet { .. } => io::ErrorKind::InvalidInput,
            CommitError::TooLarge { .. } | CommitError::OutOfMemory { .. } => {
                io::ErrorKind::OutOfMemory
            }
            CommitError::ModeUnsupported { .. } | CommitError::TrapUnsupported { .. } => {
                io::ErrorKind::Unsupported
            }
            CommitError::UnmetRequest { source, .. } | CommitError::Os { source, .. } => {
                source.kind()
            }
        };
        Self::new(kind, error)
    }
}

/// Why a [`FrameToken`](crate::FrameToken) was refused.
///
/// ```
/// use ks_allocator::{FramePool, FrameToken, TokenError};
///
/// let pool = FramePool::builder().frames(4).frame_size(64).build()?;
/// let error = pool.redeem(FrameToken::from_bytes([9; 32])).unwrap_err();
/// assert!(matches!(error, TokenError::Outside { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The frame in this slot is not lent by this token: it came back before, or the token is forged.
    #[error("slot {slot} is not lent by this token, or no longer")]
    NotLent {
        /// The slot that the token names.
        slot: u64,
    },
    /// There is no such frame in the segment.
    #[error("no frame in slot {slot} lies at offset {offset} of this segment")]
    Outside {
        /// The slot that the token names.
        slot: u64,
        /// The offset that the token names, in bytes.
        offset: u64,
    },
}

impl From<TokenError> for io::Error {
    fn from(error: TokenError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Why a [`FramePoolBuilder`](crate::FramePoolBuilder) made no pool.
///
/// ```
/// use ks_allocator::{BuildError, FramePool};
///
/// let error = FramePool::builder().frames(4).build().unwrap_err();
/// assert!(matches!(error, BuildError::Commit(_)));
/// assert_eq!(error.to_string(), "the framing asks for 4 frames of 0 bytes; neither may be 0");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The framing was refused.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The memory could not be had.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<BuildError> for io::Error {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Framing(error) => error.into(),
            BuildError::Commit(error) => error.into(),
        }
    }
}

/// A length that the frame has no room for. (`VFW_E_BUFFER_OVERFLOW`.)
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(1).frame_size(100).build()?;
/// let mut frame = pool.try_acquire()?;
/// let error = frame.set_len(101).unwrap_err();
/// assert_eq!(error.to_string(), "length 101 exceeds the frame's capacity of 100 bytes");
/// assert_eq!(frame.len(), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("length {requested} exceeds the frame's capacity of {capacity} bytes")]
#[non_exhaustive]
pub struct LengthError {
    /// What was asked for, in bytes.
    pub requested: usize,
    /// What there is room for, in bytes.
    pub capacity: usize,
}

impl From<LengthError> for io::Error {
    fn from(error: LengthError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// A pool's memory is not all resident, or nobody can tell.
///
/// ```
/// use ks_allocator::{FramePool, NotResident};
///
/// let pool = FramePool::builder().frames(4).frame_size(1 << 20).prefault(false).build()?;
/// match pool.verify_resident().unwrap_err() {
///     NotResident::Partly { resident, bytes } => assert!(resident < bytes),
///     _ => assert!(!cfg!(target_os = "linux")),
/// }
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum NotResident {
    /// Part of it would have to be fetched first, or all of it.
    #[error("{resident} of {bytes} bytes are resident")]
    Partly {
        /// Bytes that are resident.
        resident: usize,
        /// Bytes of the segment.
        bytes: usize,
    },
    /// This system does not say, or not to this process.
    #[error("how many of {bytes} bytes are resident cannot be measured here")]
    Unknown {
        /// Bytes of the segment.
        bytes: usize,
    },
}

impl From<NotResident> for io::Error {
    fn from(error: NotResident) -> Self {
        let kind = match error {
            NotResident::Partly { .. } => io::ErrorKind::Other,
            NotResident::Unknown { .. } => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}
