//! Values that meet a set of requirements.

use std::ops::RangeInclusive;
use std::{fmt, iter};

use crate::framing::{Framing, greatest_common_divisor};
use crate::mode::AllocatorMode;
use crate::video::{LayoutError, VideoFormat, VideoLayout};

use super::grouped::{self, grouped};
use super::need::{Need, OneOf, PartyNeed, StrideNeed};
use super::sizes::Sizes;

/// Maximum number of formats whose reasons a conflict contains.
const MAX_REASONS: usize = 3;

/// Values that meet all requirements.
#[derive(Clone, Debug)]
pub(super) struct Solution {
    pub(super) picture: Option<(u32, u32)>,
    pub(super) format: Option<VideoFormat>,
    pub(super) layout: Option<VideoLayout>,
    /// `None` if no mode is required.
    pub(super) mode: Option<AllocatorMode>,
    /// The frame size is 0 if no party says how large a frame is.
    pub(super) framing: Framing,
    /// Number of frames that is enough for what the parties keep at least.
    pub(super) min_frames: usize,
    /// Number of the party that makes the pool, if one has to.
    pub(super) allocator: Option<usize>,
}

/// Reason why requirements cannot be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Pictures,
    NoPixels,
    PictureTooLarge {
        format: VideoFormat,
        width: u32,
        height: u32,
    },
    Layout(LayoutError),
    NoFormat,
    NoMode,
    /// Only 0 is a multiple of 0.
    MultipleOfZero,
    /// The least common multiple of alignments or strides is too large.
    CommonMultiple {
        common: u128,
        max: usize,
    },
    /// No multiple lies between the minimum and the maximum, or the minimum is above the maximum.
    Stride {
        multiple: usize,
        min: usize,
        max: usize,
    },
    SizeRange {
        min: usize,
        max: usize,
    },
    SizeSteps,
    /// All sizes on the steps are outside of the range.
    SizeOnSteps {
        step: u128,
        min: usize,
        max: usize,
        /// The smallest size on the steps that is not below the minimum.
        next: u128,
    },
    Frames {
        needed: usize,
    },
    FrameRange {
        min: usize,
        max: usize,
    },
    /// A party would keep at least more frames than at most.
    HeldRange {
        min: usize,
        max: usize,
    },
    /// A pool cannot have this number of frames.
    TooManyFrames {
        frames: usize,
    },
    /// The frames do not fit into the address space.
    PoolTooLarge {
        framing: Framing,
    },
    Allocators,
    Modified,
    /// No pool has this.
    Unavailable,
    /// The reasons of several formats, that of the best format first.
    Formats(Vec<(VideoFormat, Failure)>),
    /// No party says how large a frame is. [`solve`] does not return it.
    NoSize,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pictures => f.write_str("their pictures differ"),
            Self::NoPixels => f.write_str("such a picture has no pixels"),
            Self::PictureTooLarge {
                format,
                width,
                height,
            } => write!(
                f,
                "a {format} picture of {} x {} pixels does not fit into the address space",
                grouped(*width),
                grouped(*height)
            ),
            Self::Layout(error) => error.fmt(f),
            Self::NoFormat => f.write_str("they have no format in common"),
            Self::NoMode => f.write_str("they have no mode in common"),
            Self::MultipleOfZero => f.write_str("only 0 is a multiple of 0"),
            Self::CommonMultiple { common, max } => write!(
                f,
                "the least common multiple is {}, and the maximum is {}",
                grouped(*common),
                grouped(*max)
            ),
            Self::Stride { multiple, min, max } => {
                let (min_text, max_text) = (grouped(*min), grouped(*max));
                if min > max {
                    write!(
                        f,
                        "a stride would have at least {min_text} and at most {max_text} bytes"
                    )
                } else {
                    let multiple = grouped(*multiple);
                    write!(
                        f,
                        "no multiple of {multiple} lies between {min_text} and {max_text}"
                    )
                }
            }
            Self::SizeRange { min, max } => write!(
                f,
                "a frame would have at least {} and at most {} bytes",
                grouped(*min),
                grouped(*max)
            ),
            Self::SizeSteps => f.write_str("no size is on the steps of both"),
            Self::SizeOnSteps {
                step,
                min,
                max,
                next,
            } => write!(
                f,
                "no size in steps of {} lies between {} and {}, and the next is {}",
                grouped(*step),
                grouped(*min),
                grouped(*max),
                grouped(*next)
            ),
            Self::Frames { needed } => write!(
                f,
                "that is {} with the one that the source fills",
                grouped::frames(*needed)
            ),
            Self::FrameRange { min, max } => write!(
                f,
                "a pool would have at least {} and at most {} frames",
                grouped(*min),
                grouped(*max)
            ),
            Self::HeldRange { min, max } => write!(
                f,
                "a party would keep at least {} and at most {} frames",
                grouped(*min),
                grouped(*max)
            ),
            Self::TooManyFrames { frames } => write!(
                f,
                "a pool would have {} frames, and the maximum is {}",
                grouped(*frames),
                grouped(Framing::MAX_FRAMES)
            ),
            Self::PoolTooLarge { framing } => write!(
                f,
                "{} of {} bytes at multiples of {} with a prefix of {} {} not fit into the address \
                 space",
                grouped::frames(framing.frames),
                grouped(framing.frame_size),
                grouped(framing.alignment),
                grouped(framing.prefix),
                if framing.frames == 1 { "does" } else { "do" }
            ),
            Self::Allocators => f.write_str("a pool has one allocator"),
            Self::Modified => f.write_str("they have the same frames"),
            Self::Unavailable => f.write_str("no pool has this"),
            Self::Formats(failures) => display_by_format(failures, f),
            Self::NoSize => f.write_str("no party says how large a frame is"),
        }
    }
}

/// Displays the reasons of the formats that have the same one together.
fn display_by_format(
    failures: &[(VideoFormat, Failure)],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut groups: Vec<(Vec<VideoFormat>, &Failure)> = Vec::new();
    for (format, failure) in failures {
        match groups.iter_mut().find(|(_, known)| *known == failure) {
            Some((formats, _)) => formats.push(*format),
            None => groups.push((vec![*format], failure)),
        }
    }
    let shown = groups.len().min(MAX_REASONS);
    for (number, (formats, failure)) in groups[..shown].iter().enumerate() {
        let semicolon = if number == 0 { "" } else { "; " };
        write!(f, "{semicolon}with {}, {failure}", OneOf(formats))?;
    }
    let others: Vec<_> = groups[shown..]
        .iter()
        .flat_map(|(formats, _)| formats.iter().copied())
        .collect();
    if !others.is_empty() {
        write!(f, "; nor can it be {}", OneOf(&others))?;
    }
    Ok(())
}

/// Finds the values that meet all requirements and are the best among those.
pub(super) fn solve(needs: &[PartyNeed<'_>]) -> Result<Solution, Failure> {
    let picture = picture(needs)?;
    let formats = best_first(needs, |need| match need {
        Need::Formats(formats) => Some(formats),
        _ => None,
    });
    let modes = best_first(needs, |need| match need {
        Need::Modes(modes) => Some(modes),
        _ => None,
    });
    let mode = match modes {
        None => None,
        Some(modes) => Some(modes.first().copied().ok_or(Failure::NoMode)?),
    };
    let frames = frames(needs)?;
    let (min_frames, frames) = (*frames.start(), *frames.end());
    let allocator = allocator(needs)?;
    if is_modified(needs) {
        return Err(Failure::Modified);
    }
    if needs
        .iter()
        .any(|party| matches!(party.need, Need::Unavailable(_)))
    {
        return Err(Failure::Unavailable);
    }
    let framing = Framing {
        frames,
        frame_size: 0,
        alignment: alignment(needs)?,
        prefix: prefix(needs),
    };
    let base = Solution {
        picture,
        format: None,
        layout: None,
        mode,
        framing,
        min_frames,
        allocator,
    };
    match formats {
        None => base.with_size(needs, None),
        Some(formats) => base.with_best_format(needs, &formats),
    }
}

impl Solution {
    /// Chooses the first format that is possible, but one that leaves the frame size open only if
    /// there is no other.
    fn with_best_format(
        self,
        needs: &[PartyNeed<'_>],
        formats: &[VideoFormat],
    ) -> Result<Self, Failure> {
        let mut open = None;
        let mut failures = Vec::new();
        for &format in formats {
            match self.clone().with_format(needs, format) {
                Ok(solution) if solution.has_size() => return Ok(solution),
                Ok(solution) => open = open.or(Some(solution)),
                Err(failure) => failures.push((format, failure)),
            }
        }
        if let Some(open) = open {
            return Ok(open);
        }
        let Some((_, first)) = failures.first() else {
            return Err(Failure::NoFormat);
        };
        if failures.iter().all(|(_, failure)| failure == first) {
            return Err(first.clone());
        }
        Err(Failure::Formats(failures))
    }

    /// Returns whether a party says how large a frame is.
    pub(super) fn has_size(&self) -> bool {
        self.framing.frame_size > 0
    }

    fn with_format(
        mut self,
        needs: &[PartyNeed<'_>],
        format: VideoFormat,
    ) -> Result<Self, Failure> {
        self.format = Some(format);
        match self.picture.filter(|_| !format.is_compressed()) {
            None => self.with_size(needs, None),
            Some((width, height)) => {
                let planes = planes(needs, format, width, height)?;
                self.align_strides(needs, &planes)?;
                self.with_size(needs, Some(planes))
            }
        }
    }

    /// Raises the alignment so that rows have that of their strides.
    fn align_strides(&mut self, needs: &[PartyNeed<'_>], planes: &Planes) -> Result<(), Failure> {
        let mut multiples = strides(needs)
            .filter(|need| (0..planes.positions.len()).any(|plane| need.is_about(plane)))
            .map(|need| need.multiple);
        self.framing.alignment = multiples.try_fold(self.framing.alignment, |one, two| {
            common_multiple(one, two, Framing::MAX_ALIGNMENT)
        })?;
        Ok(())
    }

    /// Chooses the frame size, and makes the layout if there is one.
    fn with_size(
        mut self,
        needs: &[PartyNeed<'_>],
        planes: Option<Planes>,
    ) -> Result<Self, Failure> {
        let min = planes.as_ref().map_or(0, |planes| planes.end);
        let Framing {
            alignment, prefix, ..
        } = self.framing;
        if let Some(size) = size(needs, min)? {
            self.framing.frame_size = size;
        }
        // The pool aligns the start of the prefix. The frame behind it has the alignment, too.
        let rounded = prefix.checked_next_multiple_of(alignment);
        let too_large = Failure::PoolTooLarge {
            framing: Framing {
                frames: self.min_frames,
                ..self.framing
            },
        };
        self.framing.prefix = rounded.ok_or_else(|| too_large.clone())?;
        if !self.has_size() {
            return Ok(self);
        }
        let frames = self.min_frames..=self.framing.frames;
        self.framing = self
            .framing
            .frames_in(usize::MAX, frames)
            .ok_or(too_large)?;
        let Some((format, (width, height))) = self.format.zip(self.picture) else {
            return Ok(self);
        };
        let size = self.framing.frame_size;
        let layout = match planes {
            Some(planes) => {
                VideoLayout::from_planes(format, width, height, &planes.positions, size)
            }
            None => VideoLayout::builder(format, width, height)
                .min_size(size)
                .build(),
        };
        let layout = layout.map_err(Failure::Layout)?;
        self.layout = Some(layout.aligned_to(alignment));
        Ok(self)
    }
}

fn picture(needs: &[PartyNeed<'_>]) -> Result<Option<(u32, u32)>, Failure> {
    let mut pictures = needs.iter().filter_map(|party| match *party.need {
        Need::Picture { width, height } => Some((width, height)),
        _ => None,
    });
    let first = pictures.next();
    if first.is_some_and(|(width, height)| width == 0 || height == 0) {
        return Err(Failure::NoPixels);
    }
    if pictures.any(|other| Some(other) != first) {
        return Err(Failure::Pictures);
    }
    Ok(first)
}

/// Returns the values that all lists have, those with the smallest sum of positions first, and of
/// these the first by name. Returns `None` if there is no list.
fn best_first<'a, T: Copy + PartialEq + fmt::Display + 'a>(
    needs: &[PartyNeed<'a>],
    list: impl Fn(&'a Need) -> Option<&'a Vec<T>>,
) -> Option<Vec<T>> {
    let lists: Vec<_> = needs.iter().filter_map(|party| list(party.need)).collect();
    let rank = |value: &T| {
        let ranks = lists
            .iter()
            .map(|list| list.iter().position(|other| other == value));
        ranks.sum::<Option<usize>>()
    };
    let first = lists.first()?;
    let mut common: Vec<(usize, String, T)> = Vec::new();
    for &value in *first {
        let is_new = common.iter().all(|(_, _, known)| *known != value);
        if let Some(rank) = rank(&value).filter(|_| is_new) {
            common.push((rank, value.to_string(), value));
        }
    }
    common.sort_by(|one, two| (one.0, &one.1).cmp(&(two.0, &two.1)));
    Some(common.into_iter().map(|(_, _, value)| value).collect())
}

fn alignment(needs: &[PartyNeed<'_>]) -> Result<usize, Failure> {
    let mut alignments = needs.iter().filter_map(|party| match *party.need {
        Need::Alignment(bytes) | Need::WholePages(bytes) => Some(bytes),
        _ => None,
    });
    alignments.try_fold(1, |one, two| {
        common_multiple(one, two, Framing::MAX_ALIGNMENT)
    })
}

/// Returns the least common multiple of two numbers if it is at most `max`. The first is not 0.
fn common_multiple(one: usize, two: usize, max: usize) -> Result<usize, Failure> {
    if two == 0 {
        return Err(Failure::MultipleOfZero);
    }
    let common = (one / greatest_common_divisor(one, two)) as u128 * two as u128;
    let fitting = usize::try_from(common).ok().filter(|&common| common <= max);
    fitting.ok_or(Failure::CommonMultiple { common, max })
}

fn prefix(needs: &[PartyNeed<'_>]) -> usize {
    let prefixes = needs.iter().filter_map(|party| match *party.need {
        Need::Prefix(prefix) => Some(prefix),
        _ => None,
    });
    prefixes.max().unwrap_or(0)
}

/// Returns the number of frames that cannot deadlock: those that all parties keep, and one. Returns
/// more if a party requires more, and fewer if the pool can have fewer, but enough for what the
/// parties keep at least. The range begins with what is enough for that.
fn frames(needs: &[PartyNeed<'_>]) -> Result<RangeInclusive<usize>, Failure> {
    let held = || {
        needs.iter().filter_map(|party| match *party.need {
            Need::Holds { min, max } => Some((min, max)),
            _ => None,
        })
    };
    if let Some((min, max)) = held().find(|(min, max)| min > max) {
        return Err(Failure::HeldRange { min, max });
    }
    let needed = held().fold(1, |sum: usize, (min, _)| sum.saturating_add(min));
    let wanted = held().fold(1, |sum: usize, (_, max)| sum.saturating_add(max));
    let max = needs.iter().filter_map(|party| match *party.need {
        Need::MaxFrames(frames) => Some(frames),
        _ => None,
    });
    let min = needs.iter().filter_map(|party| match *party.need {
        Need::MinFrames(frames) => Some(frames),
        _ => None,
    });
    let (min, max) = (min.max().unwrap_or(0), max.min().unwrap_or(usize::MAX));
    if needed > max {
        return Err(Failure::Frames { needed });
    }
    if min > max {
        return Err(Failure::FrameRange { min, max });
    }
    let frames = needed.max(min);
    if frames > Framing::MAX_FRAMES {
        return Err(Failure::TooManyFrames { frames });
    }
    Ok(frames..=frames.max(wanted.min(max).min(Framing::MAX_FRAMES)))
}

/// Returns the party that makes the pool, or `None` if any may.
fn allocator(needs: &[PartyNeed<'_>]) -> Result<Option<usize>, Failure> {
    let allocates = |party: &&PartyNeed<'_>| *party.need == Need::Allocates;
    let mut parties = needs.iter().filter(allocates).map(|party| party.party);
    let first = parties.next();
    if parties.any(|other| Some(other) != first) {
        return Err(Failure::Allocators);
    }
    Ok(first)
}

/// Returns whether a party modifies frames that another one needs as they are.
fn is_modified(needs: &[PartyNeed<'_>]) -> bool {
    needs.iter().any(|reader| match reader.need {
        Need::Unmodified { except } | Need::BranchUnmodified { except } => {
            needs.iter().any(|writer| {
                *writer.need == Need::Modifies
                    && writer.party != reader.party
                    && !except.contains(&writer.party)
            })
        }
        _ => false,
    })
}

fn strides<'a>(needs: &[PartyNeed<'a>]) -> impl Iterator<Item = &'a StrideNeed> {
    needs.iter().filter_map(|party| match party.need {
        Need::Stride(stride) => Some(stride),
        _ => None,
    })
}

/// Offsets and strides of the planes, and the first byte behind them.
#[derive(Clone, Debug)]
struct Planes {
    positions: Vec<(usize, isize)>,
    end: usize,
}

/// Limits of the stride of one plane.
#[derive(Clone, Copy, Debug)]
struct StrideRange {
    multiple: usize,
    min: usize,
    max: usize,
}

/// Maximum stride in bytes.
const MAX_STRIDE: usize = usize::MAX >> 1;

impl StrideRange {
    fn of(needs: &[PartyNeed<'_>], plane: usize, row_bytes: usize) -> Result<Self, Failure> {
        let every = Self {
            multiple: 1,
            min: row_bytes,
            max: usize::MAX,
        };
        let mut ranges = strides(needs)
            .filter(|need| need.is_about(plane))
            .map(|need| Self {
                multiple: need.multiple,
                min: need.min,
                max: need.max,
            });
        ranges.try_fold(every, Self::and)
    }

    /// Returns the range of a stride that is `factor` times as large.
    fn times(self, factor: usize) -> Result<Self, Failure> {
        let Self { multiple, min, max } = self;
        let common = multiple as u128 * factor as u128;
        let fitting = usize::try_from(common).ok();
        Ok(Self {
            multiple: fitting.ok_or(Failure::CommonMultiple {
                common,
                max: MAX_STRIDE,
            })?,
            // More than the maximum if it overflows.
            min: min.saturating_mul(factor),
            max: max.saturating_mul(factor).min(MAX_STRIDE),
        })
    }

    fn and(self, other: Self) -> Result<Self, Failure> {
        Ok(Self {
            multiple: common_multiple(self.multiple, other.multiple, MAX_STRIDE)?,
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        })
    }

    /// Returns the smallest stride.
    fn smallest(self) -> Result<usize, Failure> {
        let Self { multiple, min, max } = self;
        let max = max.min(MAX_STRIDE);
        let smallest = min.checked_next_multiple_of(multiple);
        smallest
            .filter(|&stride| stride <= max)
            .ok_or(Failure::Stride { multiple, min, max })
    }
}

/// Computes the smallest planes that meet all requirements.
fn planes(
    needs: &[PartyNeed<'_>],
    format: VideoFormat,
    width: u32,
    height: u32,
) -> Result<Planes, Failure> {
    let too_large = || Failure::PictureTooLarge {
        format,
        width,
        height,
    };
    let ranges = format.planes().iter().enumerate().map(|(number, plane)| {
        let row_bytes = plane.row_bytes(width).ok_or_else(too_large)?;
        StrideRange::of(needs, number, row_bytes)
    });
    let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
    let derives = needs
        .iter()
        .any(|party| *party.need == Need::DerivedStrides);
    let strides: Vec<usize> = if derives {
        derived_strides(format, &ranges)?
    } else {
        let strides = ranges.into_iter().map(StrideRange::smallest);
        strides.collect::<Result<_, _>>()?
    };
    let (_, block_height) = format.chroma_subsampling();
    let padded = height.checked_next_multiple_of(block_height);
    let padded = padded.ok_or_else(too_large)?;
    let mut planes = Planes {
        positions: Vec::new(),
        end: 0,
    };
    for (plane, stride) in format.planes().iter().zip(strides) {
        let signed = isize::try_from(stride).map_err(|_| too_large())?;
        planes.positions.push((planes.end, signed));
        let bytes = plane.rows(padded).and_then(|rows| rows.checked_mul(stride));
        let end = bytes.and_then(|bytes| planes.end.checked_add(bytes));
        planes.end = end.ok_or_else(too_large)?;
    }
    Ok(planes)
}

/// Returns strides of which those of chroma are that of luma, divided as the width is.
fn derived_strides(format: VideoFormat, ranges: &[StrideRange]) -> Result<Vec<usize>, Failure> {
    let mut luma = ranges[0];
    for (plane, range) in ranges.iter().enumerate().skip(1) {
        luma = luma.and(range.times(format.stride_divisor(plane))?)?;
    }
    let luma = luma.smallest()?;
    let chroma = (1..ranges.len()).map(|plane| luma / format.stride_divisor(plane));
    Ok(iter::once(luma).chain(chroma).collect())
}

/// Chooses the smallest frame size of at least `min` bytes. Returns `None` if no party says how
/// large a frame is. Preferred sizes are wishes of their own, but they count as a word on the size.
fn size(needs: &[PartyNeed<'_>], min: usize) -> Result<Option<usize>, Failure> {
    let min = all_sizes(needs)
        .map(|sizes| sizes.min)
        .fold(min, usize::max);
    // A maximum alone does not say how large a frame is.
    if min == 0 && all_sizes(needs).all(|sizes| sizes.preferred.is_none()) {
        return Ok(None);
    }
    let min = min.max(1);
    let max = max_size(needs);
    if min > max {
        return Err(Failure::SizeRange { min, max });
    }
    let steps = Steps::of_all(needs).ok_or(Failure::SizeSteps)?;
    let next = steps.smallest_from(min);
    let size = usize::try_from(next).ok().filter(|&size| size <= max);
    let failure = Failure::SizeOnSteps {
        step: steps.step,
        min,
        max,
        next,
    };
    size.map(Some).ok_or(failure)
}

fn all_sizes<'a>(needs: &[PartyNeed<'a>]) -> impl Iterator<Item = &'a Sizes> {
    needs.iter().filter_map(|party| match party.need {
        Need::Sizes(sizes) => Some(sizes),
        _ => None,
    })
}

fn max_size(needs: &[PartyNeed<'_>]) -> usize {
    let max = all_sizes(needs).map(|sizes| sizes.max).min();
    max.unwrap_or(usize::MAX)
}

/// Returns the possible frame size that is nearest to `wanted`, the smaller one of two. `smallest`
/// is the one that [`solve`] chooses.
pub(super) fn nearest_size(needs: &[PartyNeed<'_>], smallest: usize, wanted: usize) -> usize {
    let max = max_size(needs);
    let steps = Steps::of_all(needs).and_then(|steps| usize::try_from(steps.step).ok());
    let (Some(step), Some(above)) = (steps, wanted.min(max).checked_sub(smallest)) else {
        return smallest;
    };
    let below = smallest + above / step * step;
    let next = below.checked_add(step).filter(|&next| next <= max);
    let is_nearer = |next: &usize| next.abs_diff(wanted) < wanted - below;
    next.filter(is_nearer).unwrap_or(below)
}

/// Numbers that have the remainder `rest` when divided by `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Steps {
    rest: u128,
    /// Not 0. If it is 2^64 or more, at most one size has the remainder, which is `rest` itself.
    step: u128,
}

impl Steps {
    const EVERY: Self = Self { rest: 0, step: 1 };

    fn of(sizes: &Sizes) -> Self {
        let (min, step) = (sizes.min as u128, sizes.step.max(1) as u128);
        Self {
            rest: min % step,
            step,
        }
    }

    /// Returns the steps that all have, or `None` if there are none.
    fn of_all(needs: &[PartyNeed<'_>]) -> Option<Self> {
        all_sizes(needs).try_fold(Self::EVERY, |steps, sizes| steps.and(Self::of(sizes)))
    }

    fn smallest_from(self, min: usize) -> u128 {
        let min = min as u128;
        let past = min % self.step;
        let missing = if past <= self.rest {
            self.rest - past
        } else {
            self.step - past + self.rest
        };
        min.saturating_add(missing)
    }

    /// Returns the numbers that both have, or `None` if there are none (the Chinese remainder
    /// theorem).
    fn and(self, other: Self) -> Option<Self> {
        const HUGE: u128 = usize::MAX as u128 + 1;
        if self.step >= HUGE {
            return (self.rest % other.step == other.rest).then_some(self);
        }
        if other.step >= HUGE {
            return other.and(self);
        }
        let narrow = |number: u128| usize::try_from(number).ok();
        let common = greatest_common_divisor(narrow(self.step)?, narrow(other.step)?) as u128;
        let difference = (other.rest + other.step - self.rest % other.step) % other.step;
        if difference % common != 0 {
            return None;
        }
        // The number of own steps that leads to the other's remainder.
        let modulus = other.step / common;
        let inverse = inverse(self.step / common % modulus, modulus);
        let steps = difference / common % modulus * inverse % modulus;
        let step = self.step * modulus;
        Some(Self {
            rest: (self.rest + self.step * steps) % step,
            step,
        })
    }
}

/// Returns the number whose product with `number` is 1 modulo `modulus`. The two have no common
/// divisor, and are less than 2^64. Modulo 1 it is 0.
fn inverse(number: u128, modulus: u128) -> u128 {
    // The extended Euclidean algorithm, with all coefficients taken modulo `modulus`.
    let (mut old, mut new) = ((number, 1 % modulus), (modulus, 0));
    while new.0 != 0 {
        let quotient = old.0 / new.0;
        let product = quotient % modulus * new.1 % modulus;
        let coefficient = (old.1 + modulus - product) % modulus;
        (old, new) = (new, (old.0 - quotient * new.0, coefficient));
    }
    old.1
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn steps_have_the_numbers_that_both_have() {
        for (one, two) in (1..13).flat_map(|one| (1..13).map(move |two| (one, two))) {
            for (rest_one, rest_two) in (0..one).flat_map(|a| (0..two).map(move |b| (a, b))) {
                let steps = |rest, step| Steps { rest, step };
                let both = steps(rest_one, one).and(steps(rest_two, two));
                let is_in_both =
                    |number: &u128| number % one == rest_one && number % two == rest_two;
                let first = (0..one * two).find(is_in_both);
                assert_eq!(
                    both.map(|both| both.rest),
                    first,
                    "{one} {two} {rest_one} {rest_two}"
                );
                if let Some(both) = both {
                    assert_eq!(
                        both.step,
                        one * two / greatest_common_divisor(one as usize, two as usize) as u128
                    );
                }
            }
        }
    }

    #[test]
    fn steps_of_large_numbers_do_not_overflow() {
        let steps = |rest: u64, step: u64| Steps {
            rest: rest.into(),
            step: step.into(),
        };
        let (one, two) = (steps(5, u64::MAX), steps(7, u64::MAX - 1));
        let both = one.and(two).unwrap();
        assert_eq!((both.rest % one.step, both.rest % two.step), (5, 7));
        assert_eq!(both.and(steps(0, 3)), (both.rest % 3 == 0).then_some(both));
        assert_eq!(both.smallest_from(1), both.rest);
    }
}
