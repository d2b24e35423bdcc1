//! Colors of a picture, and its legend.

use std::collections::HashMap;
use std::time::Duration;

use super::timeline::{HoldSpan, Owner};

/// Colors of the owners, distinguishable with color-vision deficiency: mostly the palette of Okabe
/// and Ito, without its reds, which mark a dry pool.
const COLORS: [&str; 8] = [
    "#8c6d31", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#5d3a9b", "#0072b2",
];

/// Fill of a bar: an index into [`Palette::FILLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Paint(pub(super) usize);

impl Paint {
    /// Owners without a color of their own.
    pub(super) const OTHERS: Self = Self(8);
    pub(super) const UNCLAIMED: Self = Self(9);
    pub(super) const UNKNOWN: Self = Self(10);
    pub(super) const WAIT: Self = Self(11);
    pub(super) const DRY: Self = Self(12);
}

/// Colors assigned to the owners of frames.
#[derive(Debug)]
pub(super) struct Palette {
    paints: HashMap<Owner, Paint>,
    /// Entries of the legend, ordered by total hold time, longest first.
    pub(super) legend: Vec<(Paint, String)>,
}

impl Palette {
    /// SVG fill of each [`Paint`]. The patterns are defined in the head of the picture.
    pub(super) const FILLS: [&'static str; 13] = [
        COLORS[0],
        COLORS[1],
        COLORS[2],
        COLORS[3],
        COLORS[4],
        COLORS[5],
        COLORS[6],
        COLORS[7],
        "#8a8a8a",
        "url(#unclaimed)",
        "#d5d5d5",
        "url(#wait)",
        "#d7191c",
    ];

    /// Assigns colors of their own to the 8 owners with the longest hold times. The remaining
    /// owners share one.
    pub(super) fn new(holds: &[HoldSpan]) -> Self {
        let by_time = owners_by_time(holds);
        let mut palette = Self {
            paints: assign_colors(&by_time),
            legend: Vec::new(),
        };
        let mut others: usize = 0;
        for (owner, name) in by_time {
            match palette.paint(owner) {
                Paint::OTHERS => others += 1,
                paint => palette.legend.push((paint, name)),
            }
        }
        if others > 0 {
            let noun = if others == 1 { "holder" } else { "holders" };
            let name = format!("{others} other {noun}");
            palette.legend.push((Paint::OTHERS, name));
        }
        palette
    }

    pub(super) fn paint(&self, owner: Owner) -> Paint {
        match owner {
            Owner::Unclaimed => Paint::UNCLAIMED,
            Owner::Unknown => Paint::UNKNOWN,
            _ => self.paints.get(&owner).copied().unwrap_or(Paint::OTHERS),
        }
    }
}

/// Returns the owners and their names, ordered by total hold time, longest first.
fn owners_by_time(holds: &[HoldSpan]) -> Vec<(Owner, String)> {
    let mut times: HashMap<Owner, Duration> = HashMap::new();
    for hold in holds {
        *times.entry(hold.owner).or_default() += hold.span.length();
    }
    let mut by_time: Vec<_> = times
        .into_iter()
        .map(|(owner, time)| (time, owner, owner.to_string()))
        .collect();
    by_time.sort_by(|one, other| (other.0, &one.2).cmp(&(one.0, &other.2)));
    by_time
        .into_iter()
        .map(|(_, owner, name)| (owner, name))
        .collect()
}

/// Assigns each color to at most one of the first owners of `by_time`.
fn assign_colors(by_time: &[(Owner, String)]) -> HashMap<Owner, Paint> {
    let mut owners: Vec<_> = by_time
        .iter()
        .filter(|(owner, _)| !matches!(owner, Owner::Unclaimed | Owner::Unknown))
        .take(COLORS.len())
        .collect();
    // Assigned in the order of names, the colors do not depend on the hold times.
    owners.sort_by(|one, other| one.1.cmp(&other.1));
    let mut free = [true; COLORS.len()];
    let mut paints = HashMap::new();
    for (owner, name) in owners {
        let first = hash(name);
        let color = (0..COLORS.len())
            .map(|step| (first + step) % COLORS.len())
            .find(|&color| std::mem::take(&mut free[color]));
        paints.insert(*owner, color.map_or(Paint::OTHERS, Paint));
    }
    paints
}

/// Returns a color index for a name, the same in every run (FNV-1a).
fn hash(name: &str) -> usize {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    usize::try_from(hash % 8).unwrap_or(0)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::timeline::Span;
    use super::*;

    use crate::label::Label;

    fn hold(name: &str, milliseconds: u64) -> HoldSpan {
        HoldSpan {
            slot: 0,
            span: Span {
                from: Duration::ZERO,
                to: Duration::from_millis(milliseconds),
            },
            owner: Owner::Label(Label::new(name)),
        }
    }

    #[test]
    fn each_owner_has_its_own_color_whatever_the_hold_times() {
        let names = ["capture", "encoder", "writer", "preview", "network"];
        let paints = |times: [u64; 5]| {
            let holds: Vec<_> = names
                .iter()
                .zip(times)
                .map(|(name, time)| hold(name, time))
                .collect();
            let palette = Palette::new(&holds);
            holds
                .iter()
                .map(|hold| palette.paint(hold.owner))
                .collect::<Vec<_>>()
        };
        let one = paints([1, 2, 3, 4, 5]);
        assert_eq!(one, paints([5, 1, 4, 2, 3]));
        let mut distinct = one;
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn owners_beyond_the_eighth_share_one_color() {
        let names: Vec<_> = (0..20).map(|number| format!("stage {number}")).collect();
        let holds: Vec<_> = (0_u64..)
            .zip(&names)
            .map(|(time, name)| hold(name, 100 + time))
            .collect();
        let palette = Palette::new(&holds);
        assert_eq!(palette.legend.len(), 9);
        assert_eq!(palette.legend[0].1, "stage 19");
        assert_eq!(
            palette.legend[8],
            (Paint::OTHERS, "12 other holders".to_owned())
        );
        assert_eq!(palette.paint(holds[0].owner), Paint::OTHERS);
    }
}
