//! Comparison with a search of all values, and simulations of pipelines.

use std::collections::HashSet;

use proptest::prelude::*;

use crate::mode::AllocatorMode;
use crate::video::{VideoFormat, VideoLayout};

use super::conflict::Conflict;
use super::need::{Need, PartyNeed, StrideNeed};
use super::requirements::Requirements;
use super::sizes::Sizes;
use super::solver::{Failure, Solution, solve};
use super::{AgreedValue, negotiate};

const FORMATS: [VideoFormat; 4] = [
    VideoFormat::Gray8,
    VideoFormat::Nv12,
    VideoFormat::I420,
    VideoFormat::Yuy2,
];
const MODES: [AllocatorMode; 2] = [AllocatorMode::User, AllocatorMode::Kernel];
const MAX_STRIDE: usize = 40;
const MAX_SIZE: usize = 800;

fn stride_need() -> impl Strategy<Value = Need> {
    let plane = prop_oneof![3 => Just(None), 1 => (0..3_usize).prop_map(Some)];
    let max = prop_oneof![Just(usize::MAX), 1..40_usize];
    (plane, 1..9_usize, 0..20_usize, max).prop_map(|(plane, multiple, min, max)| {
        Need::Stride(StrideNeed {
            plane,
            multiple,
            min,
            max,
        })
    })
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let max = prop_oneof![Just(usize::MAX), 1..500_usize];
    let preferred = prop_oneof![Just(None), (1..500_usize).prop_map(Some)];
    (0..200_usize, max, 1..30_usize, preferred).prop_map(|(min, max, step, preferred)| Sizes {
        min,
        max,
        step,
        preferred,
    })
}

fn need() -> impl Strategy<Value = Need> {
    let formats = prop::sample::subsequence(&FORMATS[..], 1..4).prop_shuffle();
    let modes = prop::sample::subsequence(&MODES[..], 1..3).prop_shuffle();
    prop_oneof![
        2 => (1..3_u32, 1..3_u32).prop_map(|(width, height)| Need::Picture {
            width: 7 * width,
            height: 3 * height,
        }),
        4 => formats.prop_map(Need::Formats),
        1 => Just(Need::DerivedStrides),
        5 => stride_need(),
        4 => sizes().prop_map(Need::Sizes),
        1 => (1..9_usize).prop_map(Need::Alignment),
        1 => (0..9_usize).prop_map(Need::Prefix),
        2 => modes.prop_map(Need::Modes),
        1 => (0..4_usize).prop_map(Need::Holds),
        1 => (1..8_usize).prop_map(Need::MaxFrames),
    ]
}

fn needs() -> impl Strategy<Value = Vec<(usize, Need)>> {
    let picture = Need::Picture {
        width: 7,
        height: 3,
    };
    let some = prop::collection::vec((0..3_usize, need()), 0..7);
    (some, any::<bool>()).prop_map(move |(mut needs, has_picture)| {
        if has_picture {
            needs.push((0, picture.clone()));
            needs.push((0, Need::Formats(FORMATS.to_vec())));
        }
        needs
    })
}

fn borrowed(needs: &[(usize, Need)]) -> Vec<PartyNeed<'_>> {
    needs
        .iter()
        .map(|(party, need)| PartyNeed {
            party: *party,
            need,
        })
        .collect()
}

/// Returns whether all requirements hold for the strides of one format and one size.
fn holds(
    needs: &[(usize, Need)],
    format: Option<VideoFormat>,
    strides: &[usize],
    size: usize,
) -> bool {
    needs.iter().all(|(_, need)| match need {
        Need::Formats(formats) => format.is_some_and(|format| formats.contains(&format)),
        Need::Stride(stride) => strides.iter().enumerate().all(|(plane, &bytes)| {
            stride.plane.is_some_and(|own| own != plane)
                || (bytes % stride.multiple == 0 && bytes >= stride.min && bytes <= stride.max)
        }),
        Need::Sizes(sizes) => {
            size >= sizes.min && size <= sizes.max && (size - sizes.min) % sizes.step == 0
        }
        Need::DerivedStrides => match (format, strides) {
            (Some(VideoFormat::Nv12), [luma, chroma]) => luma == chroma,
            (Some(VideoFormat::I420), [luma, u, v]) => luma % 2 == 0 && luma / 2 == *u && u == v,
            _ => true,
        },
        _ => true,
    })
}

/// Returns all vectors of strides that are large enough for the rows and within their limits.
fn all_strides(needs: &[(usize, Need)], rows: &[usize]) -> Vec<Vec<usize>> {
    let meets_limits = |plane: usize, stride: usize| {
        needs.iter().all(|(_, need)| match need {
            Need::Stride(limits) => {
                limits.plane.is_some_and(|own| own != plane)
                    || (stride % limits.multiple == 0
                        && stride >= limits.min
                        && stride <= limits.max)
            }
            _ => true,
        })
    };
    let mut all = vec![Vec::new()];
    for (plane, &row_bytes) in rows.iter().enumerate() {
        let strides: Vec<_> = (row_bytes..MAX_STRIDE)
            .filter(|&stride| meets_limits(plane, stride))
            .collect();
        let extend = |start: Vec<usize>| {
            let longer = strides.iter().map(move |&stride| {
                let mut longer = start.clone();
                longer.push(stride);
                longer
            });
            longer.collect::<Vec<_>>()
        };
        all = all.into_iter().flat_map(extend).collect();
    }
    all
}

/// Searches all values. Returns the smallest size, or `None` if there is no solution.
fn search(needs: &[(usize, Need)]) -> Option<usize> {
    let pictures: HashSet<_> = needs
        .iter()
        .filter_map(|(_, need)| match *need {
            Need::Picture { width, height } => Some((width, height)),
            _ => None,
        })
        .collect();
    let held: usize = needs
        .iter()
        .map(|(_, need)| {
            if let Need::Holds(frames) = need {
                *frames
            } else {
                0
            }
        })
        .sum();
    let modes = MODES.iter().filter(|mode| {
        needs
            .iter()
            .all(|(_, need)| !matches!(need, Need::Modes(modes) if !modes.contains(mode)))
    });
    let is_too_deep = needs
        .iter()
        .any(|(_, need)| matches!(need, Need::MaxFrames(max) if held + 1 > *max));
    if pictures.len() > 1 || modes.count() == 0 || is_too_deep {
        return None;
    }
    let has_sizes = needs.iter().any(|(_, need)| matches!(need, Need::Sizes(_)));
    let names_formats = needs
        .iter()
        .any(|(_, need)| matches!(need, Need::Formats(_)));
    let formats: Vec<_> = if names_formats {
        FORMATS.map(Some).to_vec()
    } else {
        vec![None]
    };
    let candidates = formats.into_iter().flat_map(|format| {
        let picture = pictures.iter().next().copied();
        let layout = format.zip(picture).map(|(format, (width, height))| {
            let layout = VideoLayout::builder(format, width, height).whole_blocks(true);
            layout.build().unwrap()
        });
        let planes = layout.as_ref().map_or(&[][..], VideoLayout::planes);
        let rows: Vec<_> = planes.iter().map(|plane| plane.row_bytes).collect();
        let heights = planes.iter().enumerate().map(|(number, plane)| {
            let next = planes
                .get(number + 1)
                .map_or(layout.as_ref().unwrap().size(), |next| next.offset);
            (next - plane.offset) / plane.stride
        });
        let heights: Vec<_> = heights.collect();
        all_strides(needs, &rows)
            .into_iter()
            .filter_map(move |strides| {
                let end: usize = strides
                    .iter()
                    .zip(&heights)
                    .map(|(stride, rows)| stride * rows)
                    .sum();
                (end.max(1)..MAX_SIZE)
                    .take(if has_sizes { MAX_SIZE } else { 1 })
                    .find(|&size| holds(needs, format, &strides, size))
            })
    });
    candidates.min()
}

fn meets(solution: &Solution, needs: &[(usize, Need)]) -> bool {
    let planes = solution
        .layout
        .as_ref()
        .map_or(&[][..], VideoLayout::planes);
    let strides: Vec<_> = planes.iter().map(|plane| plane.stride).collect();
    let framing = solution.framing;
    holds(needs, solution.format, &strides, framing.frame_size)
        && needs.iter().all(|(_, need)| match need {
            Need::Picture { width, height } => solution.picture == Some((*width, *height)),
            Need::Alignment(alignment) => framing.alignment % alignment == 0,
            Need::Prefix(prefix) => framing.prefix >= *prefix,
            Need::Modes(modes) => modes.contains(&solution.mode),
            Need::MaxFrames(max) => framing.frames <= *max,
            _ => true,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn a_solution_is_found_if_and_only_if_there_is_one(needs in needs()) {
        let found = solve(&borrowed(&needs));
        match found {
            Ok(solution) => {
                prop_assert!(meets(&solution, &needs), "{solution:?}");
                let smallest = search(&needs);
                let strides = solution.layout.iter().flat_map(VideoLayout::planes);
                let mut strides = strides.map(|plane| plane.stride);
                let is_searched = strides.all(|stride| stride < MAX_STRIDE)
                    && solution.framing.frame_size < MAX_SIZE;
                prop_assert!(smallest.is_some() || !is_searched);
            }
            Err(Failure::NoSize) => {}
            Err(failure) => prop_assert_eq!(search(&needs), None, "{:?}", failure),
        }
    }

    #[test]
    fn a_conflict_is_minimal(needs in needs()) {
        let all = borrowed(&needs);
        if solve(&all).is_err_and(|failure| failure != Failure::NoSize) {
            let conflict = Conflict::in_needs(&["a", "b", "c"], &all);
            let texts: Vec<_> = conflict.requirements_of_parties().collect();
            // Requirements with the same text are the same.
            let named = |need: &PartyNeed<'_>| {
                let name = ["a", "b", "c"][need.party];
                texts.contains(&(name, need.need.to_string()))
            };
            let mut part: Vec<PartyNeed<'_>> = Vec::new();
            for need in all.into_iter().filter(named) {
                if !part.iter().any(|known| known.party == need.party && known.need == need.need) {
                    part.push(need);
                }
            }
            prop_assert_eq!(part.len(), texts.len());
            prop_assert!(solve(&part).is_err_and(|failure| failure != Failure::NoSize));
            for left_out in 0..part.len() {
                let mut rest = part.clone();
                rest.remove(left_out);
                let rest = solve(&rest);
                prop_assert!(rest.map_or_else(|failure| failure == Failure::NoSize, |_| true));
            }
        }
    }

    #[test]
    fn the_order_of_the_parties_does_not_matter(needs in needs(), wishes in needs()) {
        let party = |number: usize| {
            let mut party = Requirements::new(["a", "b", "c"][number]);
            let own = needs.iter().filter(|(own, _)| *own == number);
            party.needs = own.map(|(_, need)| need.clone()).collect();
            for (_, need) in wishes.iter().filter(|(own, _)| *own == number) {
                party.wishes.push((1, vec![need.clone()]));
            }
            party
        };
        let results = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]].map(|order| {
            match negotiate(&order.map(party)) {
                Ok(agreement) => {
                    let layout = agreement.video_layout().copied();
                    let values = (agreement.framing(), layout, agreement.mode());
                    format!("{values:?} {:?} {:?}", agreement.decisions(), agreement.unmet_wishes())
                }
                Err(conflict) => conflict.to_string(),
            }
        });
        prop_assert!(results.iter().all(|result| *result == results[0]), "{results:#?}");
    }
}

/// A chain of parties behind a source: each keeps frames and passes one on when it gets another.
/// Returns whether the source can go on for ever with this number of frames, whatever the order in
/// which the parties run.
fn goes_on(keeps: &[usize], frames: usize) -> bool {
    // The state is the number of frames in front of each party, and in it.
    let start = vec![(0_usize, 0_usize); keeps.len()];
    let (mut seen, mut open) = (HashSet::from([start.clone()]), vec![start]);
    while let Some(state) = open.pop() {
        let used: usize = state.iter().map(|(queued, kept)| queued + kept).sum();
        let mut next = Vec::new();
        if used < frames {
            // The source acquires a frame, fills it and passes it on.
            let mut filled = state.clone();
            filled[0].0 += 1;
            next.push(filled);
        }
        for party in 0..keeps.len() {
            let mut moved = state.clone();
            if moved[party].0 == 0 {
                continue;
            }
            moved[party].0 -= 1;
            if moved[party].1 < keeps[party] {
                moved[party].1 += 1;
            } else if party + 1 < keeps.len() {
                // It keeps the new frame and passes the oldest on.
                moved[party + 1].0 += 1;
            }
            next.push(moved);
        }
        if next.is_empty() {
            return false;
        }
        for state in next {
            if seen.insert(state.clone()) {
                open.push(state);
            }
        }
    }
    true
}

#[test]
fn the_number_of_frames_does_not_deadlock_and_one_fewer_does() {
    let mut pipelines = 0;
    for length in 1..=3_u32 {
        for number in 0..4_usize.pow(length) {
            let keeps: Vec<_> = (0..length)
                .map(|party| number / 4_usize.pow(party) % 4)
                .collect();
            let mut parties: Vec<_> = keeps
                .iter()
                .map(|&frames| Requirements::new("party").holds(frames))
                .collect();
            parties.push(Requirements::new("source").sizes(Sizes::exactly(64)));
            let frames = negotiate(&parties).unwrap().framing().frames;
            assert!(goes_on(&keeps, frames), "{keeps:?} with {frames}");
            assert!(frames == 1 || !goes_on(&keeps, frames - 1), "{keeps:?}");
            pipelines += 1;
        }
    }
    assert_eq!(pipelines, 4 + 16 + 64);
}

#[test]
fn values_are_decided_by_those_who_require_them() {
    let camera = Requirements::new("camera")
        .picture(100, 50)
        .formats([VideoFormat::Nv12]);
    let camera = camera.stride_alignment(64).alignment(64);
    let screen = Requirements::new("screen").stride_alignment(256).holds(2);
    let twin = Requirements::new("twin")
        .stride_alignment(256)
        .alignment(64);
    let agreement = negotiate(&[camera, screen, twin]).unwrap();
    assert_eq!(
        agreement.decided_by(AgreedValue::Strides),
        ["screen", "twin"]
    );
    assert_eq!(agreement.decided_by(AgreedValue::Picture), ["camera"]);
    assert_eq!(agreement.decided_by(AgreedValue::Frames), ["screen"]);
    assert!(agreement.decided_by(AgreedValue::Mode).is_empty());
    let layout = agreement.video_layout().unwrap();
    assert_eq!((layout.planes()[1].stride, layout.alignment()), (256, 256));
}

#[test]
fn requirements_without_a_size_are_an_error() {
    let error = negotiate(&[Requirements::new("one").alignment(4)]).unwrap_err();
    assert_eq!(error.to_string(), "no party says how large a frame is");
    assert_eq!(error.requirements(), 0);
    assert!(negotiate(&[]).is_err());
}

#[test]
fn the_best_format_is_that_with_the_best_sum_of_positions() {
    let [gray, nv12, i420, yuy2] = FORMATS;
    let one = Requirements::new("one")
        .formats([gray, nv12, i420])
        .picture(4, 4);
    let two = Requirements::new("two").formats([yuy2, i420, nv12, gray]);
    let agreement = negotiate(&[one.clone(), two]).unwrap();
    // Positions 0 + 3, 1 + 2 and 2 + 1: the same, so the first by name.
    assert_eq!(agreement.format(), Some(gray));
    let two = Requirements::new("two").formats([nv12, gray]).max_stride(3);
    let two = two.wish(1, Requirements::new("two").formats([i420]));
    assert!(negotiate(&[one.clone(), two]).is_err());
    let two = Requirements::new("two").wish(5, Requirements::new("two").formats([i420]));
    assert_eq!(negotiate(&[one, two]).unwrap().format(), Some(i420));
}
