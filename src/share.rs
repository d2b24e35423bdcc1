//! Shares of a pool: how many frames each of its users can count on, and how many it can have.

use std::fmt;
use std::time::Duration;

use crate::label::Label;

/// The share of the callers with a label in the frames of a pool.
///
/// A share always gets the frames of its *reserve*, and never more than its *limit*. All frames
/// that are not reserved are common: each share takes from them what it has beyond its reserve, and
/// so do the callers without a share.
///
/// Shares are declared when the pool is built. Frames that are acquired through a handle
/// [with that label](crate::FramePool::with_label) then count for the share, from the acquire until
/// the frame is free again, through all its holders: [relabeling](crate::Frame::set_label) a
/// frame, sharing it and lending it to another process change nothing. So a peer that hangs holds
/// at most the limit. (A copy that [`make_mut`](crate::SharedFrame::make_mut) makes is a frame that
/// the label of the shared frame acquires.)
///
/// - An acquire that does not wait fails only if its share has its limit, if all frames that the
///   share may have are out, or if a caller of the same share waits for several frames. A frame
///   that another call is just acquiring or releasing counts as out.
/// - Callers that wait are served in the order in which they came, as far as their shares allow.
///   Those of one share never pass each other. One whose share has its limit is passed over by
///   other shares, and so is one that wants common frames while none are free, by those below
///   their reserves. A caller that waits for several frames gets all at once; until then the
///   common frames that become free are kept for it, if it is the first that wants some.
/// - A share whose limit is lowered keeps the frames that it has. A caller that waits for more
///   frames at once than the limit then allows waits until it is raised.
/// - Each generation of a [re-framed](crate::PoolAllocator::reframe) pool counts for itself.
///
/// A pool without shares pays nothing for them. In a pool with shares, every acquire and release
/// counts on a cache line of the share, and an acquire beyond the reserve on one that all shares
/// have in common. Such a pool has at most [`MAX_FRAMES`](Self::MAX_FRAMES) frames, and callers
/// [do not spin](crate::FramePoolBuilder::spin_before_wait) before they wait.
///
/// ```
/// use ks_allocator::{AcquireError, FramePool, Share};
///
/// let pool = FramePool::builder()
///     .frames(4)
///     .frame_size(64)
///     .share(Share::new("preview").reserve(1))
///     .share(Share::new("network").limit(2))
///     .build()?;
/// let network = pool.with_label("network");
/// let sent = [network.try_acquire()?, network.try_acquire()?];
/// let error = network.try_acquire().unwrap_err();
/// assert_eq!(error.to_string(), "no frame is free: `network` has 2 of at most 2");
///
/// let other = pool.try_acquire()?; // the last common frame
/// let error = pool.try_acquire().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "no frame is free: callers without a share have 1, and the rest is reserved"
/// );
/// assert!(pool.with_label("preview").try_acquire().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a share does nothing before it is part of a pool"]
pub struct Share {
    pub(crate) label: Label,
    pub(crate) reserve: usize,
    pub(crate) limit: Option<usize>,
}

impl Share {
    /// Maximum number of frames of a pool with shares.
    pub const MAX_FRAMES: usize = u16::MAX as usize;

    /// Maximum number of shares of a pool.
    pub const MAX_SHARES: usize = 31;

    /// Makes a share for the callers with this label, without a reserve and without a limit.
    ///
    /// The COM face acquires with the label `"GetBuffer"`.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, Share};
    /// let pool = FramePool::builder().frames(2).frame_size(64).share(Share::new("grabber"));
    /// let usage = pool.build()?.shares()[0];
    /// assert_eq!((usage.reserve, usage.limit), (0, 2));
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn new(label: impl Into<Label>) -> Self {
        Self {
            label: label.into(),
            reserve: 0,
            limit: None,
        }
    }

    /// Sets the number of frames that the share always gets.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, Share};
    /// let share = Share::new("preview").reserve(3);
    /// let error = FramePool::builder().frames(2).frame_size(64).share(share).build().unwrap_err();
    /// assert_eq!(error.to_string(), "the shares reserve 3 frames, of a pool of 2");
    /// ```
    pub fn reserve(mut self, frames: usize) -> Self {
        self.reserve = frames;
        self
    }

    /// Sets the number of frames that the share can have at one time. It is at least the reserve.
    /// With a limit of 0, the share gets no frame until the limit [changes].
    ///
    /// ```
    /// # use ks_allocator::{FramePool, Share};
    /// let share = Share::new("preview").reserve(3).limit(1);
    /// let error = FramePool::builder().frames(4).frame_size(64).share(share).build().unwrap_err();
    /// assert_eq!(error.to_string(), "`preview` reserves 3 frames, but its limit is 1");
    /// ```
    ///
    /// [changes]: crate::FramePool::set_share
    pub fn limit(mut self, frames: usize) -> Self {
        self.limit = Some(frames);
        self
    }
}

/// Reason why a caller gets no frame although some may be free: its share.
///
/// ```
/// use ks_allocator::{AcquireError, FramePool, Share, ShareShortage};
///
/// let share = Share::new("network").limit(1);
/// let pool = FramePool::builder().frames(4).frame_size(64).share(share).build()?;
/// let network = pool.with_label("network");
/// let frame = network.try_acquire()?;
/// let Err(AcquireError::Exhausted(starvation)) = network.try_acquire() else { unreachable!() };
/// let expected = ShareShortage::Limit { share: Some("network".into()), held: 1, limit: 1 };
/// assert_eq!(starvation.shortage(), Some(expected));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShareShortage {
    /// The share has as many frames as its limit allows, or would have more than that.
    Limit {
        /// Label of the share, or `None` for the callers without one.
        share: Option<Label>,
        /// Number of frames that the share has.
        held: u16,
        /// Limit of the share, in frames.
        limit: u16,
    },
    /// The share has at least its reserve, and no common frame is free for it.
    Common {
        /// Label of the share, or `None` for the callers without one.
        share: Option<Label>,
        /// Number of frames that the share has.
        held: u16,
    },
}

impl ShareShortage {
    /// Replaces the label.
    pub(crate) fn with_label(mut self, change: impl FnOnce(Label) -> Label) -> Self {
        let (Self::Limit { share, .. } | Self::Common { share, .. }) = &mut self;
        *share = share.map(change);
        self
    }
}

impl fmt::Display for ShareShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (&Self::Limit { share, .. } | &Self::Common { share, .. }) = self;
        match share {
            Some(label) => write!(f, "`{label}` has ")?,
            None => f.write_str("callers without a share have ")?,
        }
        match self {
            Self::Limit { held, limit, .. } => write!(f, "{held} of at most {limit}"),
            Self::Common { held, .. } => write!(f, "{held}, and the rest is reserved"),
        }
    }
}

/// Use of a share of a pool, returned by [`FramePool::shares`](crate::FramePool::shares).
///
/// While the pool is in use, each number is right for some moment of the call. How long the share
/// held its frames is in a [`Recording`](crate::Recording): see `Recording::usage`, by label.
///
/// ```
/// use std::time::Duration;
///
/// use ks_allocator::{FramePool, Share};
///
/// let share = Share::new("network").limit(1);
/// let pool = FramePool::builder().frames(4).frame_size(64).share(share).build()?;
/// let network = pool.with_label("network");
/// let frame = network.acquire()?;
/// assert!(network.acquire_timeout(Duration::from_millis(1)).is_err());
/// let [usage, others] = pool.shares()[..] else { unreachable!() };
/// assert_eq!((usage.held, usage.most_held, usage.acquires), (1, 1, 1));
/// assert_eq!(usage.waits, 1);
/// assert!(usage.longest_wait >= Duration::from_millis(1));
/// assert_eq!((others.share, others.acquires), (None, 0));
/// let text = usage.to_string();
/// assert!(text.starts_with("`network` has 1 frame, reserve 0, limit 1, waited once, "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ShareUsage {
    /// Label of the share, or `None` for the callers without one.
    pub share: Option<Label>,
    /// Number of frames that the share always gets.
    pub reserve: usize,
    /// Number of those that are kept for the share, or that it has. It is less than `reserve` while
    /// frames that others took before the reserve was raised are still out.
    pub reserved: usize,
    /// Number of frames that the share can have at one time.
    pub limit: usize,
    /// Number of frames that the share has now.
    pub held: usize,
    /// Largest number of frames that the share had at one time.
    pub most_held: usize,
    /// Number of frames that the share has acquired.
    pub acquires: u64,
    /// Number of its calls and futures that waited, and whose wait has ended. It ended in this
    /// generation of the pool, or began in it.
    pub waits: u64,
    /// Sum of the durations of those waits.
    pub total_wait: Duration,
    /// Duration of the longest of those waits.
    pub longest_wait: Duration,
}

impl fmt::Display for ShareUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.share {
            Some(label) => write!(f, "`{label}` has ")?,
            None => f.write_str("callers without a share have ")?,
        }
        let frames = if self.held == 1 { "frame" } else { "frames" };
        let Self {
            held,
            reserve,
            limit,
            ..
        } = self;
        write!(f, "{held} {frames}, reserve {reserve}, limit {limit}")?;
        match (self.waits, self.longest_wait) {
            (0, _) => Ok(()),
            (1, wait) => write!(f, ", waited once, {wait:.1?}"),
            (waits, longest) => write!(f, ", waited {waits} times, {longest:.1?} at most"),
        }
    }
}
