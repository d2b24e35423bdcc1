//! The agreement, and how it came about.

use crate::framing::Framing;
use crate::mode::AllocatorMode;
use crate::video::{VideoFormat, VideoLayout};

use super::conflict::Conflict;
use super::decisions::{AgreedValue, Decision, decisions};
use super::requirements::Requirements;
use super::settlement::{Reasons, Settled, UnmetWish, settle, wishes};
use super::solver::Solution;

/// Finds a framing, a video layout and a mode that meet the requirements of all parties, and as
/// many wishes as possible: those of larger weight first.
///
/// # Errors
///
/// Returns a [`Conflict`] that names a minimal set of requirements that do not go together, or that
/// no party says how large a frame is.
///
/// ```
/// use ks_allocator::{FramePool, Requirements, VideoFormat, negotiate};
///
/// let camera = Requirements::new("camera").picture(1280, 720).formats([VideoFormat::Nv12]);
/// let encoder = Requirements::new("encoder").stride_alignment(64).holds(3);
/// let agreement = negotiate(&[camera, encoder])?;
///
/// let pool = FramePool::builder().agreement(&agreement).build()?;
/// assert_eq!(pool.frames(), 4);
/// assert_eq!(pool.acquire()?.planes()?[0].stride(), 1280);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn negotiate(parties: &[Requirements]) -> Result<Agreement, Conflict> {
    let wishes = wishes(parties);
    let all = vec![true; parties.len()];
    let Settled {
        solution,
        held,
        unmet_wishes,
    } = settle(parties, &wishes, &all, Reasons::Found)?;
    if !solution.has_size() {
        return Err(Conflict::no_size());
    }
    let name = |party: usize| parties[party].name.clone();
    let held = held.into_iter();
    Ok(Agreement {
        decisions: decisions(parties, &wishes, &solution),
        held: held.map(|held| (name(held.party), held.frames)).collect(),
        allocator: solution.allocator.map(name),
        solution,
        unmet_wishes,
    })
}

/// Values that all parties accept, made by [`negotiate`].
///
/// ```
/// use ks_allocator::{AgreedValue, Requirements, Sizes, negotiate};
///
/// let camera = Requirements::new("camera").sizes(Sizes::exactly(4096)).alignment(64);
/// let disk = Requirements::new("disk").alignment(512);
/// let agreement = negotiate(&[camera, disk])?;
/// assert_eq!(agreement.decided_by(AgreedValue::Alignment), ["disk"]);
/// assert_eq!(agreement.decided_by(AgreedValue::FrameSize), ["camera"]);
/// # Ok::<(), ks_allocator::Conflict>(())
/// ```
#[derive(Clone, Debug)]
pub struct Agreement {
    solution: Solution,
    decisions: Vec<Decision>,
    held: Vec<(String, usize)>,
    allocator: Option<String>,
    unmet_wishes: Vec<UnmetWish>,
}

impl Agreement {
    /// Returns the framing.
    ///
    /// ```
    /// # use ks_allocator::{Framing, Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::exactly(100)).holds(2);
    /// assert_eq!(negotiate(&[one])?.framing(), Framing::new(3, 100));
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.solution.framing
    }

    /// Returns the layout of the picture, or `None` if no picture or no format was required.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::exactly(100));
    /// assert!(negotiate(&[one])?.video_layout().is_none());
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn video_layout(&self) -> Option<&VideoLayout> {
        self.solution.layout.as_ref()
    }

    /// Returns the format, or `None` if none was required.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, VideoFormat, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::exactly(100)).formats([VideoFormat::H264]);
    /// assert_eq!(negotiate(&[one])?.format(), Some(VideoFormat::H264));
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn format(&self) -> Option<VideoFormat> {
        self.solution.format
    }

    /// Returns the mode: [`User`](AllocatorMode::User) if none was required.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::exactly(100));
    /// assert_eq!(negotiate(&[one])?.mode(), AllocatorMode::User);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn mode(&self) -> AllocatorMode {
        self.solution.mode.unwrap_or_default()
    }

    /// Returns who has decided each value. Values that would be the same without any requirements
    /// are missing.
    ///
    /// ```
    /// # use ks_allocator::{AgreedValue, Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::exactly(100));
    /// let agreement = negotiate(&[one])?;
    /// assert_eq!(agreement.decisions()[0].value, AgreedValue::FrameSize);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Returns the names of the parties that have decided a value.
    ///
    /// ```
    /// # use ks_allocator::{AgreedValue, Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::exactly(100));
    /// assert!(negotiate(&[one])?.decided_by(AgreedValue::Mode).is_empty());
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn decided_by(&self, value: AgreedValue) -> &[String] {
        let mut decisions = self.decisions.iter();
        let decision = decisions.find(|decision| decision.value == value);
        decision.map_or(&[], |decision| &decision.parties)
    }

    /// Returns the parties that keep frames, and how many each may keep, in the order of the names.
    /// The number of frames is their sum and 1, or more if a party requires it.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let encoder = Requirements::new("encoder").sizes(Sizes::exactly(100)).holds(4);
    /// let agreement = negotiate(&[encoder, Requirements::new("screen").holds(1)])?;
    /// assert_eq!(agreement.held_by().collect::<Vec<_>>(), [("encoder", 4), ("screen", 1)]);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn held_by(&self) -> impl Iterator<Item = (&str, usize)> {
        self.held
            .iter()
            .map(|(name, frames)| (name.as_str(), *frames))
    }

    /// Returns the name of the party that has to make the pool, or `None` if any may. If that is a
    /// device or a library with an allocator of its own, build no pool of the agreement, and set up
    /// that allocator with its values.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let device = Requirements::new("device").sizes(Sizes::exactly(100)).allocates();
    /// assert_eq!(negotiate(&[device, Requirements::new("app")])?.allocator(), Some("device"));
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn allocator(&self) -> Option<&str> {
        self.allocator.as_deref()
    }

    /// Returns the wishes that are not met, each with the reason: those of
    /// [`wish`](Requirements::wish), preferred sizes, and numbers of frames that a party likes to
    /// keep.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let disk = Requirements::new("disk").sizes(Sizes::exactly(100));
    /// let wish = Requirements::new("network").sizes(Sizes::between(1, 99));
    /// let network = Requirements::new("network").wish(1, wish);
    /// let agreement = negotiate(&[disk, network])?;
    /// assert_eq!(
    ///     agreement.unmet_wishes()[0].conflict.to_string(),
    ///     "`disk` needs a frame size of 100 bytes, `network` wants a frame size from 1 to 99 \
    ///      bytes: a frame would have at least 100 and at most 99 bytes"
    /// );
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn unmet_wishes(&self) -> &[UnmetWish] {
        &self.unmet_wishes
    }
}
