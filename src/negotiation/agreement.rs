//! The agreement, and how it came about.

use crate::framing::Framing;
use crate::mode::AllocatorMode;
use crate::video::{VideoFormat, VideoLayout};

use super::conflict::Conflict;
use super::need::{Need, PartyNeed};
use super::requirements::Requirements;
use super::solver::{Failure, Solution, solve};

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
    let names: Vec<&str> = parties.iter().map(|party| party.name.as_str()).collect();
    let mut needs: Vec<PartyNeed<'_>> = Vec::new();
    for (party, requirements) in parties.iter().enumerate() {
        needs.extend(
            requirements
                .needs
                .iter()
                .map(|need| PartyNeed { party, need }),
        );
    }
    // A wish may be what says how large a frame is.
    if solve(&needs).is_err_and(|failure| failure != Failure::NoSize) {
        return Err(Conflict::in_needs(&names, &needs));
    }
    let mut unmet_wishes = Vec::new();
    for wish in wishes(parties) {
        let with_wish = [needs.as_slice(), wish.needs.as_slice()].concat();
        match solve(&with_wish) {
            Ok(_) | Err(Failure::NoSize) => needs = with_wish,
            Err(_) => unmet_wishes.push(UnmetWish {
                party: names[wish.party].to_owned(),
                weight: wish.weight,
                conflict: Conflict::in_needs(&names, &with_wish),
            }),
        }
    }
    let solution = solve(&needs).map_err(|_| Conflict::in_needs(&names, &[]))?;
    let decisions = AgreedValue::ALL.iter().filter_map(|&value| {
        let parties = deciding(value, &needs, &solution);
        let mut parties: Vec<_> = parties.map(|party| names[party].to_owned()).collect();
        parties.sort_unstable();
        parties.dedup();
        (!parties.is_empty()).then_some(Decision { value, parties })
    });
    Ok(Agreement {
        decisions: decisions.collect(),
        held: held(&names, &needs),
        allocator: solution.allocator.map(|party| names[party].to_owned()),
        solution,
        unmet_wishes,
    })
}

/// One wish of one party.
struct Wish<'a> {
    party: usize,
    weight: u32,
    needs: Vec<PartyNeed<'a>>,
}

/// Returns all wishes, those of larger weight first, in an order that does not depend on that of
/// the parties.
fn wishes(parties: &[Requirements]) -> Vec<Wish<'_>> {
    let mut wishes: Vec<_> = parties
        .iter()
        .enumerate()
        .flat_map(|(party, requirements)| {
            requirements.wishes.iter().map(move |(weight, needs)| Wish {
                party,
                weight: *weight,
                needs: needs.iter().map(|need| PartyNeed { party, need }).collect(),
            })
        })
        .collect();
    wishes.sort_by_cached_key(|wish| {
        let texts: Vec<_> = wish
            .needs
            .iter()
            .map(|need| need.need.to_string())
            .collect();
        (u32::MAX - wish.weight, &parties[wish.party].name, texts)
    });
    wishes
}

/// Returns the parties without whose requirements a value would differ. If several parties require
/// the same, returns each of those.
fn deciding<'a>(
    value: AgreedValue,
    needs: &'a [PartyNeed<'a>],
    solution: &Solution,
) -> impl Iterator<Item = usize> + use<'a> {
    let differs = |kept: &dyn Fn(&PartyNeed<'_>) -> bool| {
        let kept: Vec<_> = needs
            .iter()
            .filter(|need| Some(value) != AgreedValue::of(need.need) || kept(need))
            .copied()
            .collect();
        solve(&kept).map_or(true, |other| value.text(&other) != value.text(solution))
    };
    let mut about: Vec<usize> = needs
        .iter()
        .filter(|need| AgreedValue::of(need.need) == Some(value))
        .map(|need| need.party)
        .collect();
    about.dedup();
    let alone: Vec<_> = about
        .iter()
        .copied()
        .filter(|&party| differs(&|need| need.party != party))
        .collect();
    if !alone.is_empty() {
        return alone.into_iter();
    }
    about.retain(|&party| !differs(&|need| need.party == party));
    about.into_iter()
}

fn held(names: &[&str], needs: &[PartyNeed<'_>]) -> Vec<(String, usize)> {
    let held = needs.iter().filter_map(|party| match *party.need {
        Need::Holds(frames) if frames > 0 => Some((names[party.party].to_owned(), frames)),
        _ => None,
    });
    held.collect()
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

/// Value of an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AgreedValue {
    /// Width and height.
    Picture,
    /// Pixel format.
    Format,
    /// Strides of the planes.
    Strides,
    /// Frame size.
    FrameSize,
    /// Alignment of the frames.
    Alignment,
    /// Bytes before each frame.
    Prefix,
    /// Mode of the memory.
    Mode,
    /// Number of frames.
    Frames,
    /// Party that makes the pool.
    Allocator,
}

/// Parties that have decided a value of an agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// The value.
    pub value: AgreedValue,
    /// Names of the parties without whose requirements it would differ. If several parties require
    /// the same, each of them.
    pub parties: Vec<String>,
}

/// Wish that an agreement does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnmetWish {
    /// Name of the party.
    pub party: String,
    /// Weight of the wish.
    pub weight: u32,
    /// Requirements, and wishes that were met before, that it does not go together with.
    pub conflict: Conflict,
}

impl AgreedValue {
    const ALL: [Self; 9] = [
        Self::Picture,
        Self::Format,
        Self::Strides,
        Self::FrameSize,
        Self::Alignment,
        Self::Prefix,
        Self::Mode,
        Self::Frames,
        Self::Allocator,
    ];

    /// Returns the value that a requirement is about. Those about changes in place are about none.
    fn of(need: &Need) -> Option<Self> {
        Some(match need {
            Need::Picture { .. } => Self::Picture,
            Need::Formats(_) => Self::Format,
            Need::DerivedStrides | Need::Stride(_) => Self::Strides,
            Need::Sizes(_) => Self::FrameSize,
            Need::Alignment(_) | Need::WholePages(_) => Self::Alignment,
            Need::Prefix(_) => Self::Prefix,
            Need::Modes(_) => Self::Mode,
            Need::Holds(_) | Need::MinFrames(_) | Need::MaxFrames(_) => Self::Frames,
            Need::Allocates => Self::Allocator,
            Need::Modifies | Need::Unmodified { .. } | Need::BranchUnmodified { .. } => {
                return None;
            }
        })
    }

    /// Returns a text that differs if the value does.
    fn text(self, solution: &Solution) -> String {
        let planes = solution.layout.as_ref().map(VideoLayout::planes);
        match self {
            Self::Picture => format!("{:?}", solution.picture),
            Self::Format => format!("{:?}", solution.format),
            Self::Strides => format!("{planes:?}"),
            Self::FrameSize => solution.framing.frame_size.to_string(),
            Self::Alignment => solution.framing.alignment.to_string(),
            Self::Prefix => solution.framing.prefix.to_string(),
            Self::Mode => solution.mode.to_string(),
            Self::Frames => solution.framing.frames.to_string(),
            Self::Allocator => format!("{:?}", solution.allocator),
        }
    }
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
        self.solution.mode
    }

    /// Returns who has decided each value. Values that no party requires are missing.
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

    /// Returns the parties that keep frames, and how many. The number of frames is their sum and 1,
    /// or more if a party requires it.
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

    /// Returns the wishes that are not met, each with the reason.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let disk = Requirements::new("disk").sizes(Sizes::exactly(100));
    /// let wish = Requirements::new("network").sizes(Sizes::between(1, 99));
    /// let network = Requirements::new("network").wish(1, wish);
    /// let agreement = negotiate(&[disk, network])?;
    /// assert_eq!(
    ///     agreement.unmet_wishes()[0].conflict.to_string(),
    ///     "`disk` needs a frame size of 100 bytes, `network` needs a frame size from 1 to 99 \
    ///      bytes: a frame would have at least 100 and at most 99 bytes"
    /// );
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub fn unmet_wishes(&self) -> &[UnmetWish] {
        &self.unmet_wishes
    }
}
