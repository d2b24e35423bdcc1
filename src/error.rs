//! Error types, one per operation, each with only the variants that its operation can return.
//!
//! A failed call changes nothing. Each error converts into a [`std::io::Error`] of the matching
//! kind, so that `?` works in functions that return `io::Result`.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::holders::Holders;
use crate::label::Label;
use crate::memory_options::MemoryRequest;
use crate::mode::AllocatorMode;
use crate::share::{Share, ShareShortage};

/// Error of an acquire.
///
/// Two errors are equal if their variants are equal; the reports inside are not compared.
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
/// // "timed out while waiting for a frame: 1 of 1 frame is out: 1 held by `preview`
/// // (src/main.rs:6) for at least 1 ms"
/// assert!(error.to_string().contains("1 held by `preview`"));
///
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// All frames are out, a re-framing [drains](crate::Reframing::drain) the pool, or the caller's
    /// [share](crate::Share) allows no more, and the caller asked not to wait. (`VFW_E_TIMEOUT`
    /// under `AM_GBF_NOWAIT`.)
    #[error("no frame is free{0}")]
    Exhausted(Starvation),
    /// No frame became available to the caller before its timeout expired.
    #[error("timed out while waiting for a frame{0}")]
    TimedOut(Starvation),
    /// Fewer frames are free than the caller asked for, and it asked not to wait.
    #[error("the call asks for {requested} frames at once, of which {free} are free")]
    TooFew {
        /// Number of frames that the caller asked for.
        requested: usize,
        /// Number of frames that were free after the call had failed.
        free: usize,
    },
    /// The caller asked for more frames at once than the pool can ever give.
    #[error("the call asks for {requested} frames at once; this pool gives at most {max}")]
    TooMany {
        /// Number of frames that the caller asked for.
        requested: usize,
        /// Number of frames of the pool, or [`FrameBatch::MAX`](crate::FrameBatch::MAX) if that is
        /// less.
        max: usize,
    },
    /// The pool is being flushed: see [`begin_flush`](crate::KsAllocator::begin_flush).
    #[error("the pool is being flushed")]
    Flushing,
    /// The pool is not committed, or it was decommitted while the caller waited.
    /// (`VFW_E_NOT_COMMITTED`.)
    #[error("the pool is not committed")]
    NotCommitted,
    /// The pool was [closed](crate::FramePool::close) for good. (`VFW_E_NOT_COMMITTED`.)
    #[error("the pool is closed")]
    Closed,
    /// The caller runs in a child process that was forked after the pool was made.
    /// [`AllocatorMode`](AllocatorMode#forked-processes) says what a child can do.
    #[error("the pool belongs to the process that this process was forked from")]
    OtherProcess,
}

impl AcquireError {
    /// Replaces the report of an error that has one.
    pub(crate) fn map_starvation(self, change: impl FnOnce(Starvation) -> Starvation) -> Self {
        match self {
            Self::Exhausted(starvation) => Self::Exhausted(change(starvation)),
            Self::TimedOut(starvation) => Self::TimedOut(change(starvation)),
            Self::TooFew { .. }
            | Self::TooMany { .. }
            | Self::Flushing
            | Self::NotCommitted
            | Self::Closed
            | Self::OtherProcess => self,
        }
    }
}

impl From<AcquireError> for io::Error {
    fn from(error: AcquireError) -> Self {
        let kind = match error {
            AcquireError::Exhausted(_) | AcquireError::TooFew { .. } => io::ErrorKind::WouldBlock,
            AcquireError::TooMany { .. } => io::ErrorKind::InvalidInput,
            AcquireError::TimedOut(_) => io::ErrorKind::TimedOut,
            AcquireError::Flushing => io::ErrorKind::ResourceBusy,
            AcquireError::NotCommitted => io::ErrorKind::NotConnected,
            AcquireError::Closed => io::ErrorKind::BrokenPipe,
            AcquireError::OtherProcess => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}

/// Optional report on the holders of the frames, carried by an [`AcquireError`].
///
/// A timed-out acquire carries the report, unless memory has run out. A failed
/// [`try_acquire`](crate::FramePool::try_acquire) does not, because making the report takes longer
/// than failing; [`FramePool::explain`](crate::FramePool::explain) adds it afterwards.
///
/// The report looks at no more than 256 slots, so its cost is bounded: see
/// [`Holders`](Holders#reports-of-waiting-callers). For all frames and for the names of the threads
/// call [`FramePool::holders`](crate::FramePool::holders).
///
/// Two values are always equal, so that errors compare by their variant alone.
///
/// ```
/// use ks_allocator::{AcquireError, FramePool};
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// let held = pool.try_acquire()?;
/// let error = pool.try_acquire().unwrap_err();
/// assert_eq!(error.to_string(), "no frame is free");
/// let AcquireError::Exhausted(starvation) = pool.explain(error) else { unreachable!() };
/// assert_eq!(starvation.holders().expect("`explain` adds the report").entries[0].slot, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Starvation {
    holders: Option<Box<[Holders; 1]>>,
    shortage: Option<ShareShortage>,
}

impl Starvation {
    /// Returns the report on the holders of the frames, or `None` if none was made.
    ///
    /// ```
    /// # use ks_allocator::Starvation;
    /// assert!(Starvation::default().holders().is_none());
    /// ```
    #[must_use]
    pub fn holders(&self) -> Option<&Holders> {
        self.holders.as_deref().map(|[holders]| holders)
    }

    /// Returns how the caller's share kept it from a frame, if it did: see
    /// [`Share`](crate::Share).
    ///
    /// ```
    /// # use ks_allocator::Starvation;
    /// assert!(Starvation::default().shortage().is_none());
    /// ```
    #[must_use]
    pub fn shortage(&self) -> Option<ShareShortage> {
        self.shortage
    }

    /// Adds the share's part in the error, unless there is one already.
    pub(crate) fn or_shortage(mut self, shortage: Option<ShareShortage>) -> Self {
        self.shortage = self.shortage.or(shortage);
        self
    }

    /// Adds a report on the holders of the frames, if it can be allocated.
    pub(crate) fn with_holders(mut self, holders: Holders) -> Self {
        // A `Vec`, because a `Box` aborts the process if there is no memory.
        let mut boxed = Vec::new();
        if boxed.try_reserve_exact(1).is_ok() {
            boxed.push(holders);
            self.holders = boxed.into_boxed_slice().try_into().ok();
        }
        self
    }
}

impl PartialEq for Starvation {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Starvation {}

/// Text to append to the error's own: a colon, and what is known of the share and the holders.
impl fmt::Display for Starvation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.shortage, self.holders()) {
            (Some(shortage), Some(holders)) => write!(f, ": {shortage}; {holders:#}"),
            (Some(shortage), None) => write!(f, ": {shortage}"),
            (None, Some(holders)) => write!(f, ": {holders:#}"),
            (None, None) => Ok(()),
        }
    }
}

/// Error of [waiting](crate::FramePool::wait_idle) until all frames are back: some were still out
/// when the time was up.
///
/// ```
/// use std::time::Duration;
///
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(4).frame_size(64).build()?;
/// let held = pool.with_label("encoder").acquire()?;
/// pool.close();
/// let error = pool.wait_idle(Duration::from_millis(1)).unwrap_err();
/// assert_eq!(error.holders().entries.len(), 1);
/// assert!(error.to_string().contains("1 of 4 frames is out: 1 held by `encoder`"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Error)]
#[error("timed out while waiting for all frames to come back: {holders:#}")]
pub struct NotIdle {
    holders: Box<Holders>,
}

impl NotIdle {
    /// Returns the report on the holders of the frames.
    #[must_use]
    pub fn holders(&self) -> &Holders {
        &self.holders
    }
}

impl From<Holders> for NotIdle {
    fn from(holders: Holders) -> Self {
        Self {
            holders: Box::new(holders),
        }
    }
}

impl From<NotIdle> for io::Error {
    fn from(error: NotIdle) -> Self {
        Self::new(io::ErrorKind::TimedOut, error)
    }
}

/// Error of setting a framing.
///
/// ```
/// use ks_allocator::{Framing, PoolAllocator};
///
/// let request = Framing::new(4, 1920).alignment(65_537);
/// let error = PoolAllocator::with_framing(request).unwrap_err();
/// assert_eq!(error.to_string(), "the alignment is 65537 bytes; it must be between 1 and 65536");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FramingError {
    /// The alignment is not in 1..=65536 bytes. (`VFW_E_BADALIGN`.)
    #[error("the alignment is {alignment} bytes; it must be between 1 and 65536")]
    Alignment {
        /// Requested alignment, in bytes.
        alignment: usize,
    },
    /// The allocator is committed. (`VFW_E_ALREADY_COMMITTED`.)
    #[error("the framing cannot change while the allocator is committed")]
    AlreadyCommitted,
    /// The allocator is decommitted, but frames are still out. (`VFW_E_BUFFERS_OUTSTANDING`.)
    ///
    /// The pool of the last commit names their holders:
    ///
    /// ```
    /// use ks_allocator::{Framing, FramingError, KsAllocator, PoolAllocator};
    ///
    /// let allocator = PoolAllocator::with_framing(Framing::new(4, 1920))?;
    /// allocator.commit()?;
    /// let pool = allocator.pool().expect("it was committed");
    /// let last_picture = pool.with_label("display").acquire()?;
    /// allocator.decommit();
    /// let error = allocator.set_framing(&Framing::new(4, 3840)).unwrap_err();
    /// assert_eq!(error, FramingError::FramesOutstanding { outstanding: 1, frames: 4 });
    /// assert!(pool.holders().to_string().contains("1 held by `display` ("));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[error("the framing cannot change while {outstanding} of {frames} frames are out")]
    FramesOutstanding {
        /// Number of frames that are out.
        outstanding: usize,
        /// Number of frames in the pool.
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

/// Error of setting an allocator's mode.
///
/// ```
/// use ks_allocator::{AllocatorMode, Framing, KsAllocator, PoolAllocator};
///
/// let allocator = PoolAllocator::with_framing(Framing::new(4, 1920))?;
/// allocator.commit()?;
/// let error = allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the mode cannot change from user to kernel \
///      while the allocator is committed or its frames are out"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ModeError {
    /// The allocator is committed, or frames of its last commit are still out.
    /// (`VFW_E_ALREADY_COMMITTED`.)
    #[error(
        "the mode cannot change from {current} to {requested} \
         while the allocator is committed or its frames are out"
    )]
    AlreadyCommitted {
        /// Mode of the allocator, which is unchanged.
        current: AllocatorMode,
        /// Requested mode.
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

/// Error of a change of framing while frames are out.
///
/// ```
/// use ks_allocator::{Framing, PoolAllocator, ReframeError};
///
/// let allocator = PoolAllocator::with_framing(Framing::new(4, 1920))?;
/// let error = allocator.reframe(Framing::new(4, 3840)).unwrap_err();
/// assert!(matches!(error, ReframeError::NotCommitted));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReframeError {
    /// The new framing is not valid.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The allocator is not committed, or its pool was closed; before the call or during it.
    #[error("the allocator is not committed, so there are no frames to replace")]
    NotCommitted,
    /// The allocator was made by the process that this one was forked from.
    #[error("the allocator was made by the process that this process was forked from")]
    OtherProcess,
    /// Present frames were not back in time, so their memory cannot be freed first.
    #[error(transparent)]
    NotIdle(#[from] NotIdle),
    /// The new memory cannot be allocated.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<ReframeError> for io::Error {
    fn from(error: ReframeError) -> Self {
        match error {
            ReframeError::Framing(error) => error.into(),
            ReframeError::NotCommitted => Self::new(io::ErrorKind::NotConnected, error),
            ReframeError::OtherProcess => Self::new(io::ErrorKind::Unsupported, error),
            ReframeError::NotIdle(error) => error.into(),
            ReframeError::Commit(error) => error.into(),
        }
    }
}

/// Error of a commit: the memory for the frames could not be allocated as requested.
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
    /// The number of frames or their size is 0. (`VFW_E_SIZENOTSET`.)
    #[error("the framing has {frames} frames of {frame_size} bytes; neither number may be 0")]
    FramingNotSet {
        /// Requested number of frames.
        frames: usize,
        /// Size of each frame in bytes, after rounding.
        frame_size: usize,
    },
    /// The total size overflows the address space, or there are more frames than
    /// [`Framing::MAX_FRAMES`](crate::Framing::MAX_FRAMES). (`E_OUTOFMEMORY`.)
    #[error(
        "{frames} frames of {frame_size} bytes (prefix {prefix} bytes, alignment {alignment} \
         bytes) are more than a pool can hold"
    )]
    TooLarge {
        /// Requested number of frames.
        frames: usize,
        /// Size of each frame, in bytes.
        frame_size: usize,
        /// Alignment, in bytes.
        alignment: usize,
        /// Size of the prefix before each frame, in bytes.
        prefix: usize,
    },
    /// The mode is not available on this system, or not with this memory.
    #[error("{mode} mode is not supported here: {reason}")]
    ModeUnsupported {
        /// Requested mode.
        mode: AllocatorMode,
        /// Reason why it is not available.
        reason: &'static str,
    },
    /// [Guard pages](crate::FramePoolBuilder::guard_pages) are not available for this memory.
    /// (`E_NOTIMPL`.)
    #[error("guard pages are not supported here: {reason}")]
    GuardPagesUnsupported {
        /// Reason why they are not available.
        reason: &'static str,
    },
    /// The [shares](crate::FramePoolBuilder::share) do not fit the number of frames.
    /// (`E_INVALIDARG`.)
    #[error(transparent)]
    Shares(#[from] ShareError),
    /// The marks of [`on_low`](crate::FramePoolBuilder::on_low) do not fit each other, or the
    /// number of frames. (`E_INVALIDARG`.)
    #[error(
        "of {frames} frames, {low} free ones are low, and {recovered} are enough again; the second \
         number must be larger than the first, and at most the number of frames"
    )]
    Levels {
        /// Number of free frames that is low.
        low: usize,
        /// Number of free frames that is enough again.
        recovered: usize,
        /// Number of frames of the pool.
        frames: usize,
    },
    /// The system is out of memory. (`E_OUTOFMEMORY`.)
    #[error("out of memory: an allocation of {bytes} bytes failed")]
    OutOfMemory {
        /// Size of the failed allocation, in bytes.
        bytes: usize,
    },
    /// The memory exceeds the [limit](crate::FramePoolBuilder::max_bytes) that the user has set.
    /// (`E_OUTOFMEMORY`.)
    #[error("{needed} bytes are needed, and {in_use} of at most {max} bytes are in use")]
    OverBudget {
        /// Bytes that the frames need.
        needed: usize,
        /// Bytes of all frames under the limit.
        in_use: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The memory exceeds a limit of the process: `RLIMIT_FSIZE` in Kernel mode, or
    /// `RLIMIT_MEMLOCK` if the process has locked its future memory (`mlockall`).
    /// (`E_OUTOFMEMORY`.)
    #[error("the memory of {bytes} bytes exceeds a limit of the process: {limit} is {value} bytes")]
    LimitExceeded {
        /// Name of the limit, as in `getrlimit`.
        limit: &'static str,
        /// Value of the limit, in bytes. Other memory may count towards the same limit.
        value: u64,
        /// Size of the memory that was requested, in bytes.
        bytes: usize,
    },
    /// A memory request could not be met, and
    /// [`require_memory_options`](crate::FramePoolBuilder::require_memory_options) is set.
    /// (`E_OUTOFMEMORY`.)
    #[error("the required memory option \"{request}\" could not be met: {call} failed")]
    UnmetRequest {
        /// Request that was not met.
        request: MemoryRequest,
        /// System call that failed, or that returned without meeting the request.
        call: &'static str,
        /// Error from the system, or a description of the problem.
        source: io::Error,
    },
    /// A system call failed for another reason.
    #[error("{call} failed")]
    Os {
        /// System call that failed.
        call: &'static str,
        /// Error from the system.
        source: io::Error,
    },
}

impl From<CommitError> for io::Error {
    fn from(error: CommitError) -> Self {
        let kind = match &error {
            CommitError::FramingNotSet { .. }
            | CommitError::Shares(_)
            | CommitError::Levels { .. } => io::ErrorKind::InvalidInput,
            CommitError::TooLarge { .. } | CommitError::OutOfMemory { .. } => {
                io::ErrorKind::OutOfMemory
            }
            CommitError::OverBudget { .. } | CommitError::LimitExceeded { .. } => {
                io::ErrorKind::QuotaExceeded
            }
            CommitError::ModeUnsupported { .. } | CommitError::GuardPagesUnsupported { .. } => {
                io::ErrorKind::Unsupported
            }
            CommitError::UnmetRequest { source, .. } | CommitError::Os { source, .. } => {
                source.kind()
            }
        };
        Self::new(kind, error)
    }
}

/// Error of the [shares](crate::Share) of a pool: they contradict each other or the pool.
///
/// ```
/// use ks_allocator::{FramePool, Share, ShareError};
///
/// let builder = FramePool::builder().frames(4).frame_size(64);
/// let pool = builder.share(Share::new("preview").reserve(2)).build()?;
/// let error = pool.set_share(Share::new("preview").reserve(5)).unwrap_err();
/// assert_eq!(error, ShareError::Reserves { reserved: 5, frames: 4 });
/// assert_eq!(pool.shares()[0].reserve, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The reserves of all shares together are more than the pool has frames.
    #[error("the shares reserve {reserved} frames, of a pool of {frames}")]
    Reserves {
        /// Sum of the reserves, in frames.
        reserved: usize,
        /// Number of frames of the pool.
        frames: usize,
    },
    /// The limit of a share is less than its reserve.
    #[error("`{label}` reserves {reserve} frames, but its limit is {limit}")]
    Limit {
        /// Label of the share.
        label: Label,
        /// Its reserve, in frames.
        reserve: usize,
        /// Its limit, in frames.
        limit: usize,
    },
    /// There are more shares than [`Share::MAX_SHARES`], or more frames than
    /// [`Share::MAX_FRAMES`].
    #[error(
        "{shares} shares of {frames} frames are too many; a pool can have {max_shares} shares of \
         {max_frames} frames",
        max_shares = Share::MAX_SHARES,
        max_frames = Share::MAX_FRAMES
    )]
    TooMany {
        /// Number of shares.
        shares: usize,
        /// Number of frames of the pool.
        frames: usize,
    },
    /// The pool was not built with a share of this label.
    #[error("the pool was not built with a share for `{label}`")]
    Unknown {
        /// The label.
        label: Label,
    },
    /// The caller runs in a child process that was forked after the pool was made.
    #[error("the pool belongs to the process that this process was forked from")]
    OtherProcess,
}

impl ShareError {
    /// Replaces the label of the share.
    pub(crate) fn with_label(mut self, own: Label) -> Self {
        if let Self::Limit { label, .. } | Self::Unknown { label } = &mut self {
            *label = own;
        }
        self
    }
}

impl From<ShareError> for io::Error {
    fn from(error: ShareError) -> Self {
        let kind = match error {
            ShareError::OtherProcess => io::ErrorKind::Unsupported,
            ShareError::Reserves { .. }
            | ShareError::Limit { .. }
            | ShareError::TooMany { .. }
            | ShareError::Unknown { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// Error of using a [`FrameToken`](crate::FrameToken).
///
/// ```
/// use ks_allocator::{FramePool, FrameToken, TokenError};
///
/// let pool = FramePool::builder().frames(4).frame_size(64).build()?;
/// let error = pool.redeem(FrameToken::from_bytes([9; 32])).unwrap_err();
/// assert_eq!(error, TokenError::OtherSegment);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The caller runs in a child process that was forked after the pool was made.
    #[error("the pool belongs to the process that this process was forked from")]
    OtherProcess,
    /// The token names a frame of another segment: one of another pool, or of an earlier or later
    /// commit.
    #[error("the token names a frame of other memory: of another pool, or of another commit")]
    OtherSegment,
    /// The frame in this slot is not lent with this token: the token was already redeemed or
    /// revoked, or it is forged.
    #[error("the frame in slot {slot} is not lent with this token, or no longer")]
    NotLent {
        /// Slot of the frame that the token names.
        slot: usize,
    },
    /// The segment has no frame at the position that the token names.
    #[error("this segment has no frame of {length} bytes at offset {offset}")]
    Outside {
        /// Offset that the token names, in bytes from the start of the segment.
        offset: u64,
        /// Length that the token names, in bytes.
        length: u64,
    },
}

impl From<TokenError> for io::Error {
    fn from(error: TokenError) -> Self {
        let kind = match error {
            TokenError::OtherProcess => io::ErrorKind::Unsupported,
            TokenError::OtherSegment | TokenError::NotLent { .. } | TokenError::Outside { .. } => {
                io::ErrorKind::InvalidInput
            }
        };
        Self::new(kind, error)
    }
}

/// Error of building a pool with a [`FramePoolBuilder`](crate::FramePoolBuilder).
///
/// ```
/// use ks_allocator::{BuildError, FramePool};
///
/// let error = FramePool::builder().frames(4).build().unwrap_err();
/// assert!(matches!(error, BuildError::Commit(_)));
/// assert_eq!(
///     error.to_string(),
///     "the framing has 4 frames of 0 bytes; neither number may be 0"
/// );
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The framing is invalid.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The memory could not be allocated as requested.
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

/// Error of setting a frame's length: it exceeds the frame's capacity.
/// (`VFW_E_BUFFER_OVERFLOW`.)
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
    /// Requested length, in bytes.
    pub requested: usize,
    /// Capacity of the frame, in bytes.
    pub capacity: usize,
}

impl From<LengthError> for io::Error {
    fn from(error: LengthError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Error of verifying that a pool's memory is resident.
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
    /// Part or all of the memory is not resident: an access to it would fault.
    #[error("only {resident} of {bytes} bytes are resident")]
    Partly {
        /// Number of bytes that are resident.
        resident: usize,
        /// Size of the segment, in bytes.
        bytes: usize,
    },
    /// The system does not report residency, or does not report it to this process.
    #[error("cannot measure how many of {bytes} bytes are resident")]
    Unknown {
        /// Size of the segment, in bytes.
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
