//! The parties that have decided the values of an agreement.

use std::collections::HashMap;

use crate::video::VideoLayout;

use super::requirements::Requirements;
use super::settlement::{Reasons, Wish, settle};
use super::solver::Solution;

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
    /// Names of the parties without whom it would differ. If several parties require the same, each
    /// of them. A value can follow from requirements of others: a frame size from a format, or an
    /// alignment from that of strides.
    pub parties: Vec<String>,
}

impl AgreedValue {
    pub(super) const ALL: [Self; 9] = [
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

    /// Returns a text that differs if the value does.
    fn text(self, solution: &Solution) -> String {
        let framing = &solution.framing;
        match self {
            Self::Picture => format!("{:?}", solution.picture),
            Self::Format => format!("{:?}", solution.format),
            Self::Strides => {
                let planes = solution.layout.iter().flat_map(VideoLayout::planes);
                let strides: Vec<_> = planes.map(|plane| plane.stride).collect();
                format!("{strides:?}")
            }
            Self::FrameSize => framing.frame_size.to_string(),
            Self::Alignment => framing.alignment.to_string(),
            Self::Prefix => framing.prefix.to_string(),
            Self::Mode => format!("{:?}", solution.mode),
            Self::Frames => framing.frames.to_string(),
            Self::Allocator => format!("{:?}", solution.allocator),
        }
    }
}

/// Returns the parties that have decided each value.
///
/// A party decides a value if the value differs without the party. If several parties require the
/// same, it differs only without all of them. So a party decides a value, too, if there are others
/// without whom the value is the same, and without whom and the party it differs.
pub(super) fn decisions(
    parties: &[Requirements],
    wishes: &[Wish<'_>],
    solution: &Solution,
) -> Vec<Decision> {
    let mut order: Vec<usize> = (0..parties.len()).collect();
    // An order of their own, so that the result does not depend on that of the parties.
    order.sort_by_cached_key(|&party| (&parties[party].name, parties[party].to_string()));
    let mut others = Others {
        parties,
        wishes,
        actual: values(solution),
        known: HashMap::new(),
    };
    let mut decisions = Vec::new();
    for (number, value) in AgreedValue::ALL.into_iter().enumerate() {
        let mut deciding: Vec<_> = others
            .deciding(number, &order)
            .into_iter()
            .map(|party| parties[party].name.clone())
            .collect();
        deciding.dedup();
        if !deciding.is_empty() {
            decisions.push(Decision {
                value,
                parties: deciding,
            });
        }
    }
    decisions
}

/// Texts of all values.
type Values = [String; AgreedValue::ALL.len()];

fn values(solution: &Solution) -> Values {
    AgreedValue::ALL.map(|value| value.text(solution))
}

/// The values that some of the parties would agree on.
struct Others<'a> {
    parties: &'a [Requirements],
    wishes: &'a [Wish<'a>],
    /// Values of all parties.
    actual: Values,
    /// Values by parties that are included. `None` if they do not agree.
    known: HashMap<Vec<bool>, Option<Values>>,
}

impl Others<'_> {
    /// Returns whether a value stays the same with the included parties alone.
    fn is_same(&mut self, value: usize, included: &[bool]) -> bool {
        if !self.known.contains_key(included) {
            let settled = settle(self.parties, self.wishes, included, Reasons::LeftOut);
            let settled = settled.ok().map(|settled| values(&settled.solution));
            self.known.insert(included.to_vec(), settled);
        }
        let known = self.known.get(included).and_then(Option::as_ref);
        known.is_some_and(|values| values[value] == self.actual[value])
    }

    /// Returns the parties that decide a value, in this order.
    fn deciding(&mut self, value: usize, order: &[usize]) -> Vec<usize> {
        let all = vec![true; order.len()];
        let mut needed = vec![false; order.len()];
        for &party in order {
            needed[party] = !self.is_same(value, &without(&all, party));
        }
        // Several parties require the same.
        if !self.is_same(value, &needed) {
            for &party in order {
                needed[party] = needed[party] || self.is_needed_by_few(value, order, party);
            }
        }
        order
            .iter()
            .copied()
            .filter(|&party| needed[party])
            .collect()
    }

    /// Leaves out other parties as long as the value stays the same. Returns whether it then
    /// differs without the party.
    fn is_needed_by_few(&mut self, value: usize, order: &[usize], party: usize) -> bool {
        let mut few = vec![true; order.len()];
        for &other in order.iter().filter(|&&other| other != party) {
            let fewer = without(&few, other);
            if self.is_same(value, &fewer) {
                few = fewer;
            }
        }
        !self.is_same(value, &without(&few, party))
    }
}

fn without(included: &[bool], party: usize) -> Vec<bool> {
    let mut fewer = included.to_vec();
    fewer[party] = false;
    fewer
}
