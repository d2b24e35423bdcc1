//! Single requirements.

use std::fmt;

use crate::mode::AllocatorMode;
use crate::video::VideoFormat;

use super::grouped::{self, grouped};
use super::sizes::Sizes;

/// One requirement of a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Picture {
        width: u32,
        height: u32,
    },
    Formats(Vec<VideoFormat>),
    DerivedStrides,
    Stride(StrideNeed),
    Sizes(Sizes),
    Alignment(usize),
    Prefix(usize),
    Modes(Vec<AllocatorMode>),
    /// Frames that the party keeps at least and at most.
    Holds {
        min: usize,
        max: usize,
    },
    MinFrames(usize),
    MaxFrames(usize),
    /// Each frame lies in pages of this size that it shares with no other.
    WholePages(usize),
    /// The party itself makes the pool.
    Allocates,
    /// The party changes frames in place.
    Modifies,
    /// No other party changes frames, except those with these numbers, which come before it.
    Unmodified {
        except: Vec<usize>,
    },
    /// No party of another branch changes frames, which are all but those with these numbers.
    BranchUnmodified {
        except: Vec<usize>,
    },
    /// Something that no pool has, in words. It is a wish, because it makes a requirement fail.
    Unavailable(String),
}

/// Limits of strides in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StrideNeed {
    /// `None` for all planes.
    pub(super) plane: Option<usize>,
    pub(super) multiple: usize,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl Need {
    /// Returns whether it is the same requirement if several parties have it.
    pub(super) fn is_idempotent(&self) -> bool {
        match self {
            Self::Picture { .. }
            | Self::DerivedStrides
            | Self::Stride(_)
            | Self::Sizes(_)
            | Self::Alignment(_)
            | Self::Prefix(_)
            | Self::MinFrames(_)
            | Self::MaxFrames(_)
            | Self::WholePages(_)
            | Self::Unavailable(_) => true,
            // The positions in lists add, and so do the frames. The others are about one party.
            Self::Formats(_)
            | Self::Modes(_)
            | Self::Holds { .. }
            | Self::Allocates
            | Self::Modifies
            | Self::Unmodified { .. }
            | Self::BranchUnmodified { .. } => false,
        }
    }
}

impl StrideNeed {
    pub(super) fn is_about(&self, plane: usize) -> bool {
        self.plane.is_none_or(|own| own == plane)
    }
}

/// A requirement or a wish, and the number of its party.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartyNeed<'a> {
    pub(super) party: usize,
    pub(super) need: &'a Need,
    pub(super) is_wish: bool,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Picture { width, height } => {
                let (width, height) = (grouped(*width), grouped(*height));
                write!(f, "a picture of {width} x {height} pixels")
            }
            Self::Formats(formats) => write!(f, "the format {}", OneOf(formats)),
            Self::DerivedStrides => f.write_str("chroma strides that follow from that of luma"),
            Self::Stride(stride) => stride.fmt(f),
            Self::Sizes(sizes) => sizes.fmt(f),
            Self::Alignment(alignment) => {
                write!(f, "an alignment of {} bytes", grouped(*alignment))
            }
            Self::Prefix(prefix) => write!(f, "a prefix of {} bytes", grouped(*prefix)),
            Self::Modes(modes) => write!(f, "the mode {}", OneOf(modes)),
            Self::Holds { min, max } if min == max => {
                write!(f, "{} for itself", grouped::frames(*min))
            }
            Self::Holds { min, max } => {
                let (min, max) = (grouped(*min), grouped(*max));
                write!(f, "from {min} to {max} frames for itself")
            }
            Self::MinFrames(frames) => write!(f, "at least {}", grouped::frames(*frames)),
            Self::MaxFrames(frames) => write!(f, "at most {}", grouped::frames(*frames)),
            Self::WholePages(bytes) => {
                let bytes = grouped(*bytes);
                write!(f, "whole pages of {bytes} bytes for each frame")
            }
            Self::Allocates => f.write_str("to allocate the frames itself"),
            Self::Modifies => f.write_str("to modify frames in place"),
            Self::Unmodified { .. } => f.write_str("frames that no later party modifies"),
            Self::BranchUnmodified { .. } => f.write_str("frames that no other branch modifies"),
            Self::Unavailable(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for StrideNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.plane {
            Some(plane) => write!(f, "a stride of plane {plane} that is ")?,
            None => f.write_str("a stride that is ")?,
        }
        let mut parts = Vec::new();
        if self.multiple != 1 {
            parts.push(format!("a multiple of {}", grouped(self.multiple)));
        }
        if self.min == self.max {
            parts.push(format!("{} bytes", grouped(self.min)));
        } else {
            if self.min != 0 {
                parts.push(format!("at least {} bytes", grouped(self.min)));
            }
            if self.max != usize::MAX {
                parts.push(format!("at most {} bytes", grouped(self.max)));
            }
        }
        if parts.is_empty() {
            parts.push("any".to_owned());
        }
        f.write_str(&parts.join(" and "))
    }
}

/// Displays texts as "a, b and c".
pub(super) struct Listed<'a>(pub(super) &'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [only] => f.write_str(only),
            [first @ .., last] => write!(f, "{} and {last}", first.join(", ")),
        }
    }
}

/// Displays values as "A, B or C".
pub(super) struct OneOf<'a, T>(pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for OneOf<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, value) in self.0.iter().enumerate() {
            match position {
                0 => {}
                _ if position + 1 == self.0.len() => f.write_str(" or ")?,
                _ => f.write_str(", ")?,
            }
            value.fmt(f)?;
        }
        if self.0.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}
