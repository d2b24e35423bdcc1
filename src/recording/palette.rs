//! Which colour stands for whom in a picture.

use std::collections::HashMap;
use std::time::Duration;

use super::timeline::{Hands, Stay};

/// Colours that can be told apart by everybody, after Okabe and Ito; without their reds, which are kept for a pool
/// that is dry.
const COLOURS: [&str; 8] = [
    "#8c6d31", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#5d3a9b", "#0072b2",
];

/// What a bar is painted with: the place in [`Palette::FILLS`] of how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Paint(pub(super) usize);

impl Paint {
    pub(super) const OTHERS: Self = Self(8);
    pub(super) const WAITER: Self = Self(9);
    pub(super) const UNKNOWN: Self = Self(10);
    pub(super) const WAIT: Self = Self(11);
    pub(super) const DRY: Self = Self(12);
}

/// The colours of those who had frames.
#[derive(Debug)]
pub(super) struct Palette {
    paints: HashMap<Hands, Paint>,
    /// Acquirer is to be explained, those who had most first.
    pub(super) legend: Vec<(Paint, String)>,
}

impl Palette {
    pub(super) const FILLS: [&'static str; 13] = [
        COLOURS[0],
        COLOURS[1],
        COLOURS[2],
        COLOURS[3],
        COLOURS[4],
        COLOURS[5],
        COLOURS[6],
        COLOURS[7],
        "#8a8a8a",
        "url(#queued)",
        "#d5d5d5",
        "url(#wait)",
        "#d7191c",
    ];

    /// Those who had frames for longest have colours of their own; the others share one.
    pub(super) fn of(stays: &[Stay]) -> Self {
        let mut times: HashMap<Hands, Duration> = HashMap::new();
        for stay in stays {
            *times.entry(stay.hands).or_default() += stay.span.length();
        }
        let mut by_time: Vec<_> = times
            .into_iter()
            .map(|(hands, time)| (time, hands, hands.to_string()))
            .collect();
        by_time.sort_by(|one, other| (other.0, &one.2).cmp(&(one.0, &other.2)));
        let is_holder = |hands| !matches!(hands, Hands::Waiter | Hands::Unknown);
        let mut holders: Vec<_> = by_time
            .iter()
            .filter(|(_, hands, _)| is_holder(*hands))
            .take(COLOURS.len())
            .map(|(_, hands, name)| (name, *hands))
            .collect();
        // In this order, a picture's colours do not depend on who was how quick.
        holders.sort_by(|one, other| one.0.cmp(other.0));
        let mut paints = HashMap::new();
        let mut free = [true; COLOURS.len()];
        for (name, hands) in holders {
            let wanted = hash(name);
            let colour = (0..COLOURS.len())
                .map(|step| (wanted + step) % COLOURS.len())
                .find(|&colour| std::mem::take(&mut free[colour]));
            paints.insert(hands, colour.map_or(Paint::OTHERS, Paint));
        }
        let mut palette = Self {
            paints,
            legend: Vec::new(),
        };
        let mut others: usize = 0;
        for (_, hands, name) in by_time {
            match palette.paint(hands) {
                Paint::OTHERS => others += 1,
                paint => palette.legend.push((paint, name)),
            }
        }
        if others > 0 {
            palette
                .legend
                .push((Paint::OTHERS, format!("{others} others")));
        }
        palette
    }

    pub(super) fn paint(&self, hands: Hands) -> Paint {
        match hands {
            Hands::Waiter => Paint::WAITER,
            Hands::Unknown => Paint::UNKNOWN,
            _ => self.paints.get(&hands).copied().unwrap_or(Paint::OTHERS),
        }
    }
}

/// A number for a name, always the same: FNV-1a.
fn hash(name: &str) -> usize {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    usize::try_from(hash % 8).unwrap_or(0)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use crate::label::Label;
    use crate::recording::timeline::Span;

    use super::*;

    fn stay(name: &str, milliseconds: u64) -> Stay {
        Stay {
            slot: 0,
            span: Span {
                from: Duration::ZERO,
                to: Duration::from_millis(milliseconds),
            },
            hands: Hands::Labelled(Label::new(name)),
        }
    }

    #[test]
    fn each_has_a_colour_that_does_not_depend_on_times() {
        let names = ["capture", "encoder", "writer", "preview", "network"];
        let paints = |times: [u64; 5]| {
            let stays: Vec<_> = names
                .iter()
                .zip(times)
                .map(|(name, time)| stay(name, time))
                .collect();
            let palette = Palette::of(&stays);
            stays
                .iter()
                .map(|stay| palette.paint(stay.hands))
                .collect::<Vec<_>>()
        };
        let one = paints([1, 2, 3, 4, 5]);
        assert_eq!(one, paints([5, 1, 4, 2, 3]));
        let mut different = one;
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), names.len());
    }

    #[test]
    fn the_least_of_many_share_one() {
        let names: Vec<_> = (0..20).map(|number| format!("stage {number}")).collect();
        let stays: Vec<_> = (0_u64..)
            .zip(&names)
            .map(|(time, name)| stay(name, 100 + time))
            .collect();
        let palette = Palette::of(&stays);
        assert_eq!(palette.legend.len(), 9);
        assert_eq!(palette.legend[0].1, "stage 19");
        assert_eq!(palette.legend[8], (Paint::OTHERS, "12 others".to_owned()));
        assert_eq!(palette.paint(stays[0].hands), Paint::OTHERS);
    }
}
