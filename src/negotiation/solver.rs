//! Values that meet a set of requirements.

use std::{fmt, iter};

use crate::framing::{Framing, common_alignment, greatest_common_divisor, least_common_multiple};
use crate::mode::AllocatorMode;
use crate::video::{VideoFormat, VideoLayout};

use super::need::{Need, PartyNeed, StrideNeed};
use super::sizes::Sizes;

/// Values that meet all requirements.
#[derive(Clone, Debug)]
pub(super) struct Solution {
    pub(super) picture: Option<(u32, u32)>,
    pub(super) format: Option<VideoFormat>,
    pub(super) layout: Option<VideoLayout>,
    pub(super) mode: AllocatorMode,
    pub(super) framing: Framing,
    /// Number of the party that makes the pool, if one has to.
    pub(super) allocator: Option<usize>,
}

/// Reason why requirements cannot be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There are several pictures, or one that cannot be.
    Picture,
    NoFormat,
    NoMode,
    Alignment,
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
        min: usize,
        max: usize,
    },
    Frames {
        needed: usize,
    },
    FrameRange {
        min: usize,
        max: usize,
    },
    Allocators,
    Modified,
    /// No party says how large a frame is. Unlike the others, it ends if requirements are added.
    NoSize,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Picture => f.write_str("there is no such picture"),
            Self::NoFormat => f.write_str("they have no format in common"),
            Self::NoMode => f.write_str("they have no mode in common"),
            Self::Alignment => f.write_str("the least common multiple is not from 1 to 65536"),
            Self::Stride { multiple, min, max } => {
                write!(f, "no multiple of {multiple} lies between {min} and {max}")
            }
            Self::SizeRange { min, max } => {
                write!(
                    f,
                    "a frame would have at least {min} and at most {max} bytes"
                )
            }
            Self::SizeSteps => f.write_str("no size is on the steps of both"),
            Self::SizeOnSteps { min, max } => {
                write!(f, "no size on the steps lies between {min} and {max}")
            }
            Self::Frames { needed } => write!(
                f,
                "that is {needed} frames with the one that the source fills"
            ),
            Self::FrameRange { min, max } => write!(
                f,
                "a pool would have at least {min} and at most {max} frames"
            ),
            Self::Allocators => f.write_str("a pool has one allocator"),
            Self::Modified => f.write_str("they have the same frames"),
            Self::NoSize => f.write_str("no party says how large a frame is"),
        }
    }
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
    let mode = modes.map_or(Ok(AllocatorMode::User), |modes| {
        modes.first().copied().ok_or(Failure::NoMode)
    })?;
    let frames = frames(needs)?;
    let allocator = allocator(needs)?;
    if is_modified(needs) {
        return Err(Failure::Modified);
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
        allocator,
    };
    let Some(formats) = formats else {
        return base.with_size(needs, None);
    };
    let mut failure = Failure::NoFormat;
    for (rank, &format) in formats.iter().enumerate() {
        match base.clone().with_format(needs, format) {
            Ok(solution) => return Ok(solution),
            // The reason is about the format that would be the best.
            Err(of_format) if rank == 0 => failure = of_format,
            Err(_) => {}
        }
    }
    Err(failure)
}

impl Solution {
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
                self.align_strides(needs, &planes);
                self.with_size(needs, Some(planes))
            }
        }
    }

    /// Raises the alignment so that rows have that of their strides, if it is not too large.
    fn align_strides(&mut self, needs: &[PartyNeed<'_>], planes: &Planes) {
        let mut multiples = strides(needs)
            .filter(|need| (0..planes.positions.len()).any(|plane| need.is_about(plane)))
            .map(|need| need.multiple);
        if let Some(common) = multiples.try_fold(self.framing.alignment, common_alignment) {
            self.framing.alignment = common;
        }
    }

    /// Chooses the frame size and makes the layout.
    fn with_size(
        mut self,
        needs: &[PartyNeed<'_>],
        planes: Option<Planes>,
    ) -> Result<Self, Failure> {
        let min = planes.as_ref().map_or(0, |planes| planes.end);
        let size = size(needs, min)?;
        self.framing.frame_size = size;
        let Some((format, (width, height))) = self.format.zip(self.picture) else {
            return Ok(self);
        };
        let layout = match planes {
            Some(planes) => {
                VideoLayout::from_planes(format, width, height, &planes.positions, size)
            }
            None => VideoLayout::builder(format, width, height)
                .min_size(size)
                .build(),
        };
        let layout = layout.map_err(|_| Failure::Picture)?;
        self.layout = Some(layout.aligned_to(self.framing.alignment));
        Ok(self)
    }
}

fn picture(needs: &[PartyNeed<'_>]) -> Result<Option<(u32, u32)>, Failure> {
    let mut pictures = needs.iter().filter_map(|party| match *party.need {
        Need::Picture { width, height } => Some((width, height)),
        _ => None,
    });
    let first = pictures.next();
    if first.is_some_and(|(width, height)| width == 0 || height == 0)
        || pictures.any(|other| Some(other) != first)
    {
        return Err(Failure::Picture);
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
    alignments
        .try_fold(1, common_alignment)
        .ok_or(Failure::Alignment)
}

fn prefix(needs: &[PartyNeed<'_>]) -> usize {
    let prefixes = needs.iter().filter_map(|party| match *party.need {
        Need::Prefix(prefix) => Some(prefix),
        _ => None,
    });
    prefixes.max().unwrap_or(0)
}

/// Returns the number of frames that cannot deadlock: those that all parties keep, and one. Returns
/// more if a party requires more.
fn frames(needs: &[PartyNeed<'_>]) -> Result<usize, Failure> {
    let held = needs.iter().map(|party| match *party.need {
        Need::Holds(frames) => frames,
        _ => 0,
    });
    let needed = held.fold(1, usize::saturating_add);
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
    Ok(needed.max(min))
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
        Ok(Self {
            multiple: self
                .multiple
                .checked_mul(factor)
                .ok_or(Failure::Alignment)?,
            min: self.min.checked_mul(factor).ok_or(Failure::Picture)?,
            max: self.max.saturating_mul(factor),
        })
    }

    fn and(self, other: Self) -> Result<Self, Failure> {
        let multiple = least_common_multiple(self.multiple, other.multiple);
        Ok(Self {
            multiple: multiple.ok_or(Failure::Alignment)?,
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        })
    }

    /// Returns the smallest stride.
    fn smallest(self) -> Result<usize, Failure> {
        let Self { multiple, min, max } = self;
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
    let ranges = format.planes().iter().enumerate().map(|(number, plane)| {
        let row_bytes = plane.row_bytes(width).ok_or(Failure::Picture)?;
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
    let padded = padded.ok_or(Failure::Picture)?;
    let mut planes = Planes {
        positions: Vec::new(),
        end: 0,
    };
    for (plane, stride) in format.planes().iter().zip(strides) {
        let signed = isize::try_from(stride).map_err(|_| Failure::Picture)?;
        planes.positions.push((planes.end, signed));
        let bytes = plane.rows(padded).and_then(|rows| rows.checked_mul(stride));
        let end = bytes.and_then(|bytes| planes.end.checked_add(bytes));
        planes.end = end.ok_or(Failure::Picture)?;
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

/// Chooses a frame size of at least `min` bytes.
fn size(needs: &[PartyNeed<'_>], min: usize) -> Result<usize, Failure> {
    let all = || {
        needs.iter().filter_map(|party| match party.need {
            Need::Sizes(sizes) => Some(sizes),
            _ => None,
        })
    };
    let min = all().map(|sizes| sizes.min).fold(min, usize::max);
    // A maximum alone does not say how large a frame is.
    if min == 0 && all().all(|sizes| sizes.preferred.is_none()) {
        return Err(Failure::NoSize);
    }
    let min = min.max(1);
    let max = all().map(|sizes| sizes.max).min().unwrap_or(usize::MAX);
    if min > max {
        return Err(Failure::SizeRange { min, max });
    }
    let mut steps = Steps::EVERY;
    for sizes in all() {
        steps = steps.and(Steps::of(sizes)).ok_or(Failure::SizeSteps)?;
    }
    let mut preferred: Vec<_> = all().filter_map(|sizes| sizes.preferred).collect();
    preferred.sort_unstable();
    let fits = |&size: &usize| (min..=max).contains(&size) && steps.contains(size);
    let preferred = preferred.into_iter().rev().find(fits);
    let smallest = || steps.smallest_from(min).filter(|&size| size <= max);
    preferred
        .or_else(smallest)
        .ok_or(Failure::SizeOnSteps { min, max })
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

    fn contains(self, size: usize) -> bool {
        size as u128 % self.step == self.rest
    }

    fn smallest_from(self, min: usize) -> Option<usize> {
        let min = min as u128;
        let past = min % self.step;
        let missing = if past <= self.rest {
            self.rest - past
        } else {
            self.step - past + self.rest
        };
        usize::try_from(min.checked_add(missing)?).ok()
    }

    /// Returns the numbers that both have, or `None` if there are none (the Chinese remainder
    /// theorem).
    fn and(self, other: Self) -> Option<Self> {
        const HUGE: u128 = 1 << 64;
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
        assert_eq!(both.smallest_from(1), usize::try_from(both.rest).ok());
    }
}
