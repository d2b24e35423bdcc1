//! Comparison with a search of all values, and simulations of pipelines.

use std::cell::Cell;
use std::collections::HashSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::framing::Framing;
use crate::mode::AllocatorMode;
use crate::video::{VideoFormat, VideoLayout};

use super::conflict::Conflict;
use super::need::{Need, PartyNeed, StrideNeed};
use super::requirements::Requirements;
use super::settlement::{self, Reasons, settle};
use super::sizes::Sizes;
use super::solver::solve;
use super::stage::Stage;
use super::{AgreedValue, Agreement, negotiate};

const FORMATS: [VideoFormat; 5] = [
    VideoFormat::Gray8,
    VideoFormat::Nv12,
    VideoFormat::I420,
    VideoFormat::Yuy2,
    VideoFormat::H264,
];
const MODES: [AllocatorMode; 2] = [AllocatorMode::User, AllocatorMode::Kernel];
/// More than the best values that the needs below can have.
const MAX_STRIDE: usize = 100;
const MAX_SIZE: usize = 600;
const MAX_ALIGNMENT: usize = 2_520;
const MAX_DEPTH: usize = 64;
const NAMES: [&str; 3] = ["a", "b", "c"];

fn stride_need() -> impl Strategy<Value = Need> {
    let plane = prop_oneof![Just(None), (0..3_usize).prop_map(Some)];
    let multiple = prop::sample::select(vec![1_usize, 2, 3, 4, 6, 8]);
    let max = prop_oneof![2 => Just(usize::MAX), 1 => 4..16_usize, 1 => 16..60_usize];
    (plane, multiple, 0..20_usize, max).prop_map(|(plane, multiple, min, max)| {
        Need::Stride(StrideNeed {
            plane,
            multiple,
            min,
            max,
        })
    })
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let min = prop_oneof![1 => Just(0), 3 => 0..200_usize];
    let max = prop_oneof![3 => Just(usize::MAX), 1 => 1..500_usize];
    let step = prop::sample::select(vec![1_usize, 2, 3, 4, 6, 8, 12, 24]);
    let preferred = prop_oneof![Just(None), (1..500_usize).prop_map(Some)];
    (min, max, step, preferred).prop_map(|(min, max, step, preferred)| Sizes {
        min,
        max,
        step,
        preferred,
    })
}

fn need() -> impl Strategy<Value = Need> {
    let formats = prop::sample::subsequence(&FORMATS[..], 1..5).prop_shuffle();
    let modes = prop::sample::subsequence(&MODES[..], 1..3).prop_shuffle();
    prop_oneof![
        2 => (1..3_u32, 1..3_u32).prop_map(|(width, height)| Need::Picture {
            width: 7 * width,
            height: 3 * height,
        }),
        4 => formats.prop_map(Need::Formats),
        3 => Just(Need::DerivedStrides),
        5 => stride_need(),
        4 => sizes().prop_map(Need::Sizes),
        1 => (1..9_usize).prop_map(Need::Alignment),
        1 => (0..9_usize).prop_map(Need::Prefix),
        2 => modes.prop_map(Need::Modes),
        3 => (0..4_usize, 0..6_usize).prop_map(|(min, more)| Need::Holds {
            min,
            max: (min + more).saturating_sub(1),
        }),
        1 => (1..8_usize).prop_map(Need::MinFrames),
        2 => (1..12_usize).prop_map(Need::MaxFrames),
        1 => (1..9_usize).prop_map(Need::WholePages),
        1 => Just(Need::Allocates),
        1 => Just(Need::Modifies),
        1 => Just(Need::Unmodified { except: Vec::new() }),
    ]
}

fn needs() -> impl Strategy<Value = Vec<(usize, Need)>> {
    let picture = Need::Picture {
        width: 7,
        height: 3,
    };
    let some = prop::collection::vec((0..3_usize, need()), 0..7);
    let depth = prop::option::weighted(0.3, (0..3_usize, 1..5_usize, 1..8_usize));
    let formats = prop::option::of(Just(FORMATS.to_vec()).prop_shuffle());
    (some, formats, depth).prop_map(move |(mut needs, formats, depth)| {
        if let Some(formats) = formats {
            needs.push((0, picture.clone()));
            needs.push((0, Need::Formats(formats)));
        }
        if let Some((min, more, limit)) = depth {
            let max = min + more;
            needs.push((1, Need::Holds { min, max }));
            needs.push((2, Need::MaxFrames(limit)));
        }
        needs
    })
}

fn borrowed(needs: &[(usize, Need)]) -> Vec<PartyNeed<'_>> {
    let needs = needs.iter().map(|(party, need)| PartyNeed {
        party: *party,
        need,
        is_wish: false,
    });
    needs.collect()
}

/// Returns party number 0, 1 or 2, with those of the needs and wishes that are its own.
fn party(number: usize, needs: &[(usize, Need)], wishes: &[(usize, Need)]) -> Requirements {
    let mut party = Requirements::new(NAMES[number]);
    let own = needs.iter().filter(|(own, _)| *own == number);
    party.needs = own.map(|(_, need)| need.clone()).collect();
    for (_, need) in wishes.iter().filter(|(own, _)| *own == number) {
        party.wishes.push((1, vec![need.clone()]));
    }
    party
}

/// Values of an agreement, found by trying one after the other.
#[derive(Debug, PartialEq)]
struct Best {
    format: Option<VideoFormat>,
    strides: Vec<usize>,
    /// 0 if no need says how large a frame is.
    size: usize,
    mode: AllocatorMode,
    frames: usize,
    alignment: usize,
    prefix: usize,
    unmet: usize,
}

impl Best {
    fn of(agreement: &Agreement) -> Self {
        let framing = agreement.framing();
        let planes = agreement
            .video_layout()
            .map_or(&[][..], VideoLayout::planes);
        Self {
            format: agreement.format(),
            strides: planes.iter().map(|plane| plane.stride).collect(),
            size: framing.frame_size,
            mode: agreement.mode(),
            frames: framing.frames,
            alignment: framing.alignment,
            prefix: framing.prefix,
            unmet: agreement.unmet_wishes().len(),
        }
    }
}

/// Returns the values in one order of preference: the smallest sum of positions in all lists, and
/// of these the first by name. Returns `None` if there is no list.
fn in_order<T: Copy + PartialEq + ToString>(all: &[T], lists: &[&Vec<T>]) -> Option<Vec<T>> {
    let mut ranked: Vec<_> = all
        .iter()
        .filter(|value| lists.iter().all(|list| list.contains(value)))
        .map(|value| {
            let positions = lists
                .iter()
                .map(|list| list.iter().position(|other| other == value).unwrap());
            (positions.sum::<usize>(), value.to_string(), *value)
        })
        .collect();
    ranked.sort_by_key(|(rank, name, _)| (*rank, name.clone()));
    let values = ranked.into_iter().map(|(_, _, value)| value).collect();
    (!lists.is_empty()).then_some(values)
}

fn suits(needs: &[(usize, Need)], plane: usize, stride: usize) -> bool {
    needs.iter().all(|(_, need)| match need {
        Need::Stride(limits) => {
            limits.plane.is_some_and(|own| own != plane)
                || (stride % limits.multiple == 0 && stride >= limits.min && stride <= limits.max)
        }
        _ => true,
    })
}

/// Returns the smallest strides that are large enough for the rows.
fn smallest_strides(
    needs: &[(usize, Need)],
    format: VideoFormat,
    rows: &[usize],
) -> Option<Vec<usize>> {
    let fits = |plane: usize, stride: usize| stride >= rows[plane] && suits(needs, plane, stride);
    if needs.iter().any(|(_, need)| *need == Need::DerivedStrides) {
        let all = (1..MAX_STRIDE).filter(|luma| format != VideoFormat::I420 || luma % 2 == 0);
        let mut all = all.map(|luma| match format {
            VideoFormat::Nv12 => vec![luma; 2],
            VideoFormat::I420 => vec![luma, luma / 2, luma / 2],
            _ => vec![luma],
        });
        all.find(|strides| (0..rows.len()).all(|plane| fits(plane, strides[plane])))
    } else {
        let planes = 0..rows.len();
        planes
            .map(|plane| (1..MAX_STRIDE).find(|&stride| fits(plane, stride)))
            .collect()
    }
}

/// Returns the best number of frames: the smallest of those that are enough for all that the
/// parties like to keep, or else the largest.
fn best_depth(needs: &[(usize, Need)]) -> Option<usize> {
    let held = |most: bool| {
        let held = needs.iter().map(|(_, need)| match need {
            Need::Holds { min, max } => [*min, *max][usize::from(most)],
            _ => 0,
        });
        held.sum::<usize>()
    };
    let is_possible = |frames: usize| {
        frames > held(false)
            && needs.iter().all(|(_, need)| match need {
                Need::Holds { min, max } => min <= max,
                Need::MinFrames(min) => frames >= *min,
                Need::MaxFrames(max) => frames <= *max,
                _ => true,
            })
    };
    let mut possible = (1..MAX_DEPTH).filter(|&frames| is_possible(frames));
    let enough = possible.clone().find(|&frames| frames > held(true));
    enough.or_else(|| possible.next_back())
}

/// Searches all values. Returns `None` if the needs do not go together.
fn best(needs: &[(usize, Need)]) -> Option<Best> {
    let pictures: HashSet<_> = needs
        .iter()
        .filter_map(|(_, need)| match *need {
            Need::Picture { width, height } => Some((width, height)),
            _ => None,
        })
        .collect();
    let allocators: HashSet<_> = needs
        .iter()
        .filter(|(_, need)| *need == Need::Allocates)
        .map(|(party, _)| party)
        .collect();
    let is_modified = needs.iter().any(|(reader, need)| {
        matches!(need, Need::Unmodified { .. })
            && needs
                .iter()
                .any(|(writer, need)| *need == Need::Modifies && writer != reader)
    });
    if pictures.len() > 1 || allocators.len() > 1 || is_modified {
        return None;
    }
    let lists = needs.iter().filter_map(|(_, need)| match need {
        Need::Modes(modes) => Some(modes),
        _ => None,
    });
    let mode = match in_order(&MODES, &lists.collect::<Vec<_>>()) {
        None => AllocatorMode::User,
        Some(modes) => *modes.first()?,
    };
    let lists = needs.iter().filter_map(|(_, need)| match need {
        Need::Formats(formats) => Some(formats),
        _ => None,
    });
    let frames = best_depth(needs)?;
    let values = |format| best_of_format(needs, format, pictures.iter().next().copied());
    let found: Vec<_> = match in_order(&FORMATS, &lists.collect::<Vec<_>>()) {
        None => values(None).into_iter().collect(),
        Some(formats) => formats
            .into_iter()
            .filter_map(|format| values(Some(format)))
            .collect(),
    };
    // A format that leaves the size open is the last.
    let closed = found.iter().position(|values| values.size > 0);
    let found = found.into_iter().nth(closed.unwrap_or(0))?;
    let is_reduced = needs
        .iter()
        .any(|(_, need)| matches!(need, Need::Holds { .. }))
        && frames <= most_held(needs);
    let unmet = found.unmet
        + if is_reduced {
            missing(needs, frames)
        } else {
            0
        };
    Some(Best {
        mode,
        frames,
        unmet,
        ..found
    })
}

fn most_held(needs: &[(usize, Need)]) -> usize {
    let held = needs.iter().map(|(_, need)| match need {
        Need::Holds { max, .. } => *max,
        _ => 0,
    });
    held.sum()
}

/// Gives the parties one frame after the other, in their order. Returns how many parties do not get
/// their maximum.
fn missing(needs: &[(usize, Need)], frames: usize) -> usize {
    let mut parties = [(0, 0); 3];
    for (party, need) in needs {
        if let Need::Holds { min, max } = need {
            parties[*party].0 += min;
            parties[*party].1 += max;
        }
    }
    let mut left = frames - 1 - parties.iter().map(|(has, _)| has).sum::<usize>();
    while left > 0 {
        // The order of names is not that of the minimums, so this is a round of all parties.
        for (has, max) in &mut parties {
            if left > 0 && has < max {
                *has += 1;
                left -= 1;
            }
        }
    }
    parties.iter().filter(|(has, max)| has < max).count()
}

/// Returns the best values with one format. The mode and the frames are to be set.
fn best_of_format(
    needs: &[(usize, Need)],
    format: Option<VideoFormat>,
    picture: Option<(u32, u32)>,
) -> Option<Best> {
    let raw = format
        .zip(picture)
        .filter(|(format, _)| !format.is_compressed());
    let layout = raw.map(|(format, (width, height))| {
        let layout = VideoLayout::builder(format, width, height).whole_blocks(true);
        layout.build().unwrap()
    });
    let planes = layout.as_ref().map_or(&[][..], VideoLayout::planes);
    let rows: Vec<_> = planes.iter().map(|plane| plane.row_bytes).collect();
    let strides = match raw {
        None => Vec::new(),
        Some((format, _)) => smallest_strides(needs, format, &rows)?,
    };
    let heights = planes.iter().enumerate().map(|(number, plane)| {
        let next = planes.get(number + 1);
        let end = next.map_or(layout.as_ref().unwrap().size(), |next| next.offset);
        (end - plane.offset) / plane.stride
    });
    let end: usize = strides
        .iter()
        .zip(heights)
        .map(|(stride, rows)| stride * rows)
        .sum();

    let sizes = || {
        needs.iter().filter_map(|(_, need)| match need {
            Need::Sizes(sizes) => Some(sizes),
            _ => None,
        })
    };
    let fits = |size: usize| {
        size >= end.max(1)
            && sizes().all(|sizes| {
                size >= sizes.min && size <= sizes.max && (size - sizes.min) % sizes.step == 0
            })
    };
    let says_size = |sizes: &Sizes| sizes.min > 0 || sizes.preferred.is_some();
    let preferred: Vec<_> = sizes().filter_map(|sizes| sizes.preferred).collect();
    let size = if end > 0 || sizes().any(says_size) {
        let possible: Vec<_> = (1..MAX_SIZE).filter(|&size| fits(size)).collect();
        let largest = preferred.iter().copied().filter(|&size| fits(size)).max();
        let wanted = largest.or(preferred.iter().copied().max()).unwrap_or(0);
        let nearest = possible
            .into_iter()
            .min_by_key(|size| size.abs_diff(wanted));
        nearest?
    } else {
        0
    };

    let alignment = (1..=MAX_ALIGNMENT).find(|alignment| {
        needs.iter().all(|(_, need)| match need {
            Need::Alignment(bytes) | Need::WholePages(bytes) => alignment % bytes == 0,
            Need::Stride(stride) => {
                alignment % stride.multiple == 0
                    || !(0..planes.len()).any(|plane| stride.is_about(plane))
            }
            _ => true,
        })
    })?;
    let needed = needs.iter().map(|(_, need)| match need {
        Need::Prefix(bytes) => *bytes,
        _ => 0,
    });
    let needed = needed.max().unwrap_or(0);
    Some(Best {
        format,
        strides,
        size,
        mode: AllocatorMode::User,
        frames: 0,
        alignment,
        prefix: (needed..).find(|prefix| prefix % alignment == 0)?,
        unmet: preferred.iter().filter(|&&other| other != size).count(),
    })
}

/// Checks what [`negotiate`] finds for one set of needs. Returns whether it is an agreement, and
/// whether that has fewer frames than the parties like.
fn check_against_search(needs: &[(usize, Need)]) -> Result<(bool, bool), TestCaseError> {
    let parties = [0, 1, 2].map(|number| party(number, needs, &[]));
    let best = best(needs);
    match negotiate(&parties) {
        Ok(agreement) => {
            prop_assert_eq!(Some(Best::of(&agreement)), best);
            let frames = agreement.framing().frames;
            let held: usize = agreement.held_by().map(|(_, frames)| frames).sum();
            prop_assert!(held < frames);
            let is_reduced = held < most_held(needs);
            prop_assert!(!is_reduced || held + 1 == frames);
            Ok((true, is_reduced))
        }
        Err(conflict) if conflict.requirements() == 0 => {
            prop_assert_eq!(best.map(|best| best.size), Some(0));
            Ok((false, false))
        }
        Err(_) => {
            prop_assert_eq!(best, None);
            Ok((false, false))
        }
    }
}

#[test]
fn the_values_are_the_best_and_conflicts_are_conflicts() {
    const CASES: u32 = 4_000;
    let [agreed, reduced] = [Cell::new(0), Cell::new(0)];
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&needs(), |needs| {
        let (is_agreed, is_reduced) = check_against_search(&needs)?;
        agreed.set(agreed.get() + u32::from(is_agreed));
        reduced.set(reduced.get() + u32::from(is_reduced));
        Ok(())
    });
    result.unwrap();
    // The generator makes enough of each.
    let [agreed, reduced] = [agreed.get(), reduced.get()];
    assert!(
        (CASES / 4..CASES * 3 / 4).contains(&agreed),
        "{agreed} agreed"
    );
    assert!(reduced > CASES / 100, "{reduced} reduced");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_conflict_is_minimal(needs in needs()) {
        let all = borrowed(&needs);
        if solve(&all).is_err() {
            let conflict = Conflict::in_needs(&NAMES, &all);
            let texts: Vec<_> = conflict.requirements_of_parties().collect();
            // Requirements with the same text are the same.
            let named = |need: &PartyNeed<'_>| {
                let name = NAMES[need.party];
                texts.contains(&(name, need.need.to_string().as_str()))
            };
            let mut part: Vec<PartyNeed<'_>> = Vec::new();
            for need in all.into_iter().filter(named) {
                let text = need.need.to_string();
                let name = NAMES[need.party];
                let wanted = texts.iter().filter(|other| **other == (name, text.as_str()));
                let is_same = |other: &&PartyNeed<'_>| {
                    other.party == need.party && other.need == need.need
                };
                if part.iter().filter(is_same).count() < wanted.count() {
                    part.push(need);
                }
            }
            prop_assert_eq!(part.len(), texts.len());
            prop_assert!(solve(&part).is_err());
            for left_out in 0..part.len() {
                let mut rest = part.clone();
                rest.remove(left_out);
                prop_assert!(solve(&rest).is_ok());
            }
        }
    }

    #[test]
    fn values_do_not_depend_on_whether_the_reasons_are_found(needs in needs(), wishes in needs()) {
        // All parties have all wishes.
        let parties = [0, 1, 2].map(|number| {
            let mut party = party(number, &needs, &[]);
            party.wishes = wishes.iter().map(|(_, need)| (1, vec![need.clone()])).collect();
            party
        });
        let [found, left_out] = [Reasons::Found, Reasons::LeftOut].map(|reasons| {
            let settled = settle(&parties, &settlement::wishes(&parties), &[true; 3], reasons);
            settled.map(|settled| format!("{:?} {:?}", settled.solution, settled.held))
        });
        prop_assert_eq!(found, left_out);
    }

    #[test]
    fn the_order_of_the_parties_does_not_matter(needs in needs(), wishes in needs()) {
        let results = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]].map(|order| {
            match negotiate(&order.map(|number| party(number, &needs, &wishes))) {
                Ok(agreement) => {
                    let held: Vec<_> = agreement.held_by().collect();
                    let layout = agreement.video_layout().copied();
                    let values = (agreement.framing(), layout, agreement.mode(), held);
                    let allocator = agreement.allocator();
                    let (decisions, unmet) = (agreement.decisions(), agreement.unmet_wishes());
                    format!("{values:?} {allocator:?} {decisions:?} {unmet:?}")
                }
                Err(conflict) => conflict.to_string(),
            }
        });
        prop_assert!(results.iter().all(|result| *result == results[0]), "{results:#?}");
    }
}

/// Party of a simulated pipeline. It keeps frames, and passes one on when it gets another.
struct Party {
    pipe: usize,
    keeps: usize,
    next: Vec<usize>,
    /// Number of the party that writes the frames that this one copies to.
    copies_to: Option<usize>,
}

/// The places of a frame that is out: number of a party, and whether the frame is in its queue.
/// Several branches share a frame.
type Places = Vec<(usize, bool)>;

/// Simulation of a pipeline in which each party passes on any of the frames that it has.
struct Simulation {
    /// Number 0 is the source.
    parties: Vec<Party>,
    /// Number of frames of each pipe.
    frames: Vec<usize>,
    /// All pipes have one pool, of the sum of their frames.
    has_one_pool: bool,
}

impl Simulation {
    /// In each pipe, at most one stage copies.
    fn new(source: &Stage, frames: Vec<usize>) -> Self {
        let mut this = Self {
            parties: Vec::new(),
            frames,
            has_one_pool: false,
        };
        let source = this.add(source.output.as_ref().unwrap_or(&source.input), source, 0);
        assert_eq!(source, 0);
        this
    }

    /// Adds a party and those behind it, and returns its number.
    fn add(&mut self, requirements: &Requirements, stage: &Stage, pipe: usize) -> usize {
        let number = self.parties.len();
        let keeps = requirements.needs.iter().map(|need| match need {
            Need::Holds { max, .. } => *max,
            _ => 0,
        });
        self.parties.push(Party {
            pipe,
            keeps: keeps.sum(),
            next: Vec::new(),
            copies_to: None,
        });
        for next in &stage.next {
            let input = Stage {
                next: Vec::new(),
                ..next.clone()
            };
            let has_copy = next.output.as_ref();
            let added = self.add(
                &next.input,
                if has_copy.is_some() { &input } else { next },
                pipe,
            );
            self.parties[number].next.push(added);
            if let Some(output) = has_copy {
                let pipe = 1 + self.parties.iter().map(|party| party.pipe).max().unwrap();
                self.parties[added].copies_to = Some(self.add(output, next, pipe));
            }
        }
        number
    }

    fn has_free_frame(&self, state: &[Vec<Places>], pipe: usize) -> bool {
        if self.has_one_pool {
            state.iter().map(Vec::len).sum::<usize>() < self.frames.iter().sum()
        } else {
            state[pipe].len() < self.frames[pipe]
        }
    }

    /// Returns the states after one step of a party that has a frame in its queue.
    fn steps_of(&self, state: &[Vec<Places>], number: usize) -> Vec<Vec<Vec<Places>>> {
        let Party {
            pipe,
            keeps,
            next,
            copies_to,
        } = &self.parties[number];
        let with = |place: (usize, bool)| {
            let frames = state[*pipe].iter().enumerate();
            let frames = frames.filter(move |(_, places)| places.contains(&place));
            frames.map(|(position, _)| position).collect::<Vec<_>>()
        };
        let kept = with((number, false));
        let mut states = Vec::new();
        for got in with((number, true)) {
            let mut moved = state.to_vec();
            if let Some(writer) = *copies_to {
                let pipe = self.parties[writer].pipe;
                if !self.has_free_frame(state, pipe) {
                    continue;
                }
                moved[pipe].push(vec![(writer, true)]);
            }
            let places = &mut moved[*pipe][got];
            places.retain(|place| *place != (number, true));
            places.push((number, false));
            if kept.len() < *keeps {
                states.push(moved);
                continue;
            }
            for &given in kept.iter().chain([&got]) {
                let mut passed = moved.clone();
                let places = &mut passed[*pipe][given];
                places.retain(|place| *place != (number, false));
                places.extend(next.iter().map(|&next| (next, true)));
                passed[*pipe].retain(|places| !places.is_empty());
                states.push(passed);
            }
        }
        states
    }

    /// Returns whether the source can go on for ever, whatever the order in which the parties run.
    fn goes_on(&self) -> bool {
        let start: Vec<Vec<Places>> = vec![Vec::new(); self.frames.len()];
        let (mut seen, mut open) = (HashSet::from([start.clone()]), vec![start]);
        while let Some(state) = open.pop() {
            let mut next = Vec::new();
            if self.has_free_frame(&state, 0) {
                let mut filled = state.clone();
                filled[0].push(vec![(0, true)]);
                next.push(filled);
            }
            next.extend((0..self.parties.len()).flat_map(|party| self.steps_of(&state, party)));
            if next.is_empty() {
                return false;
            }
            for mut state in next {
                // Frames with the same places are the same.
                for frames in &mut state {
                    frames.iter_mut().for_each(|places| places.sort_unstable());
                    frames.sort_unstable();
                }
                if seen.insert(state.clone()) {
                    open.push(state);
                }
            }
        }
        true
    }
}

fn keeping(frames: usize) -> Requirements {
    Requirements::new("party")
        .sizes(Sizes::exactly(64))
        .holds(frames)
}

/// Checks that the agreed numbers of frames do not deadlock, and that one fewer in any pipe
/// does.
fn check_depth(source: &Stage) {
    let pipes = source.negotiate().unwrap();
    let frames = pipes.iter().map(|pipe| pipe.agreement().framing().frames);
    let frames: Vec<_> = frames.collect();
    let goes_on = |frames: Vec<usize>| Simulation::new(source, frames).goes_on();
    assert!(goes_on(frames.clone()), "{source:?} with {frames:?}");
    for pipe in 0..frames.len() {
        let mut fewer = frames.clone();
        fewer[pipe] -= 1;
        assert!(!goes_on(fewer), "{source:?}, one fewer in {pipe}");
    }
}

/// Returns all vectors of this length with numbers below `end`.
fn numbers(length: u32, end: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..end.pow(length)).map(move |number| {
        let digits = (0..length).map(|digit| number / end.pow(digit) % end);
        digits.collect()
    })
}

#[test]
fn chains_do_not_deadlock_and_with_one_frame_fewer_they_do() {
    let short = (1..=3).flat_map(|length| numbers(length, 4));
    for keeps in short.chain(numbers(4, 3)) {
        let mut stages = keeps
            .iter()
            .rev()
            .map(|&frames| Stage::new(keeping(frames)));
        let last = stages.next().unwrap();
        check_depth(&stages.fold(last, |next, stage| stage.to(next)));
    }
}

#[test]
fn branches_do_not_deadlock_and_with_one_frame_fewer_they_do() {
    let stage = |frames| Stage::new(keeping(frames));
    for keeps in numbers(3, 3) {
        let filter = stage(keeps[0]).to(stage(keeps[1])).to(stage(keeps[2]));
        check_depth(&stage(0).to(filter));
    }
    for keeps in numbers(3, 2) {
        let [one, two, three] = [keeps[0], keeps[1], keeps[2]].map(stage);
        check_depth(&stage(0).to(one.clone()).to(two.clone()).to(three.clone()));
        check_depth(&stage(0).to(one.to(two)).to(three));
    }
}

#[test]
fn pipes_do_not_deadlock_and_with_one_frame_fewer_they_do() {
    let stage = |frames| Stage::new(keeping(frames));
    for keeps in numbers(4, 3) {
        let scaler = Stage::copying(keeping(keeps[1]), keeping(keeps[2]));
        check_depth(&stage(0).to(stage(keeps[0]).to(scaler.to(stage(keeps[3])))));
    }
    for keeps in numbers(4, 2) {
        let scaler = Stage::copying(keeping(keeps[0]), keeping(keeps[1]));
        let scaler = scaler.to(stage(keeps[2])).to(stage(0));
        check_depth(&stage(0).to(scaler).to(stage(keeps[3])));
        let twice = Stage::copying(keeping(keeps[2]), keeping(keeps[3])).to(stage(0));
        let once = Stage::copying(keeping(keeps[0]), keeping(keeps[1])).to(twice);
        check_depth(&stage(0).to(once));
    }
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Chain,
    Branches,
    /// The second party copies to the third.
    Copying,
}

/// Makes a pipeline of three parties, each of which keeps some frames at least and at most. Its
/// pools can have at most `limit` frames.
fn pipeline(shape: Shape, keeps: [(usize, usize); 3], limit: usize) -> Stage {
    let party = |number: usize| {
        let (min, max) = keeps[number];
        let party = Requirements::new(NAMES[number]).sizes(Sizes::exactly(64));
        party.max_frames(limit).holds_between(min, max)
    };
    let [one, two, three] = [0, 1, 2].map(|number| Stage::new(party(number)));
    match shape {
        Shape::Chain => one.to(two.to(three)),
        Shape::Branches => one.to(two).to(three),
        Shape::Copying => one.to(Stage::copying(party(1), party(2))),
    }
}

/// Result of [`check_shared_out`].
#[derive(PartialEq)]
enum Depth {
    AllThatIsLiked,
    Fewer,
    Conflict,
}

/// Checks that the frames of an agreement do not deadlock if each party keeps what it gets. With
/// one frame fewer they do. They do, too, if there are fewer than the parties like, and these keep
/// what they like. Without an agreement, the parties would deadlock with what they need at least.
fn check_shared_out(shape: Shape, ranges: [(usize, usize); 3], limit: usize) -> Depth {
    let source = pipeline(shape, ranges, limit);
    let goes_on = |source: &Stage, frames: &[usize]| {
        let goes_on = Simulation::new(source, frames.to_vec()).goes_on();
        (goes_on, format!("{source:?} with {frames:?}"))
    };
    let Ok(pipes) = source.negotiate() else {
        let least = pipeline(shape, ranges.map(|(min, _)| (min, min)), limit);
        let pipes = if matches!(shape, Shape::Copying) {
            2
        } else {
            1
        };
        let (goes_on, text) = goes_on(&least, &vec![limit; pipes]);
        assert!(!goes_on, "{text}");
        return Depth::Conflict;
    };
    let agreements = pipes.iter().map(|pipe| pipe.agreement());
    let frames = agreements
        .clone()
        .map(|agreement| agreement.framing().frames);
    let frames: Vec<usize> = frames.collect();
    let mut held = [0; 3];
    for (name, frames) in agreements.flat_map(Agreement::held_by) {
        held[NAMES.iter().position(|known| *known == name).unwrap()] = frames;
    }
    let of_range = ranges.iter().zip(held);
    assert!(
        of_range
            .into_iter()
            .all(|((min, max), held)| (*min..=*max).contains(&held))
    );

    let told = pipeline(shape, held.map(|frames| (frames, frames)), limit);
    let (is_enough, text) = goes_on(&told, &frames);
    assert!(is_enough, "{text}");
    for pipe in 0..frames.len() {
        let mut fewer = frames.clone();
        fewer[pipe] -= 1;
        let (goes_on, text) = goes_on(&told, &fewer);
        assert!(!goes_on, "{text}");
    }
    if held == ranges.map(|(_, max)| max) {
        return Depth::AllThatIsLiked;
    }
    let (goes_on, text) = goes_on(&source, &frames);
    assert!(!goes_on, "{text}");
    Depth::Fewer
}

#[test]
fn fewer_frames_than_parties_like_do_not_deadlock_if_they_keep_what_they_get() {
    let ranges: Vec<_> = (0..3)
        .flat_map(|min| (min..3).map(move |max| (min, max)))
        .collect();
    let mut depths = Vec::new();
    for numbers in numbers(3, ranges.len()) {
        let ranges = [0, 1, 2].map(|party| ranges[numbers[party]]);
        let most: usize = ranges.iter().map(|(_, max)| max).sum();
        for shape in [Shape::Chain, Shape::Branches, Shape::Copying] {
            depths.extend((1..=most + 1).map(|limit| check_shared_out(shape, ranges, limit)));
        }
    }
    for depth in [Depth::AllThatIsLiked, Depth::Fewer, Depth::Conflict] {
        let count = depths.iter().filter(|other| **other == depth).count();
        assert!(count > 500, "{count}");
    }
}

#[test]
fn one_pool_for_two_pipes_deadlocks_whatever_its_size() {
    for frames in 1..8 {
        let scaler = Stage::copying(keeping(0), keeping(0)).to(Stage::new(keeping(0)));
        let source = Stage::new(keeping(0)).to(scaler);
        let mut simulation = Simulation::new(&source, vec![frames, 0]);
        simulation.has_one_pool = true;
        assert!(!simulation.goes_on(), "{frames}");
    }
}

#[test]
fn more_frames_than_needed_do_not_deadlock() {
    let branches = Stage::new(keeping(0))
        .to(Stage::new(keeping(1)))
        .to(Stage::new(keeping(2)));
    for frames in 4..7 {
        assert!(
            Simulation::new(&branches, vec![frames]).goes_on(),
            "{frames}"
        );
    }
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
    // Without the camera there are no strides. Without the screen or the twin, the other one has
    // the same requirement.
    for value in [
        AgreedValue::Strides,
        AgreedValue::FrameSize,
        AgreedValue::Alignment,
    ] {
        assert_eq!(agreement.decided_by(value), ["camera", "screen", "twin"]);
    }
    assert_eq!(agreement.decided_by(AgreedValue::Picture), ["camera"]);
    assert_eq!(agreement.decided_by(AgreedValue::Frames), ["screen"]);
    assert!(agreement.decided_by(AgreedValue::Mode).is_empty());
    let layout = agreement.video_layout().unwrap();
    assert_eq!((layout.planes()[1].stride, layout.alignment()), (256, 256));
}

#[test]
fn values_that_follow_from_others_have_deciders_too() {
    let camera = Requirements::new("camera")
        .picture(1920, 1080)
        .formats([VideoFormat::Nv12])
        .modes([AllocatorMode::User]);
    let screen = Requirements::new("screen").stride_alignment(256);
    let encoder = Requirements::new("encoder")
        .formats([VideoFormat::Nv12])
        .holds(2);
    let alone = negotiate(std::slice::from_ref(&camera)).unwrap();
    assert_eq!(alone.decided_by(AgreedValue::FrameSize), ["camera"]);
    assert_eq!(alone.decided_by(AgreedValue::Strides), ["camera"]);
    let all = negotiate(&[encoder, screen, camera]).unwrap();
    let deciders = AgreedValue::ALL.map(|value| all.decided_by(value).join(" "));
    assert_eq!(
        deciders,
        [
            "camera",
            "camera encoder",
            "camera screen",
            "camera screen",
            "camera screen",
            "",
            "camera",
            "encoder",
            ""
        ]
    );
    // Any two of the three are enough.
    let parts = [("a", 6), ("b", 10), ("c", 15)].map(|(name, alignment)| {
        Requirements::new(name)
            .alignment(alignment)
            .sizes(Sizes::at_least(8))
    });
    let agreement = negotiate(&parts).unwrap();
    assert_eq!(
        agreement.decided_by(AgreedValue::Alignment),
        ["a", "b", "c"]
    );
    // Without the disk, the preferred size would be chosen; without the encoder, the smallest.
    let disk = Requirements::new("disk").sizes(Sizes::between(50, 100));
    let encoder = Requirements::new("encoder").sizes(Sizes::between(50, 1_000).preferably(400));
    let agreement = negotiate(&[disk, encoder]).unwrap();
    assert_eq!(agreement.framing().frame_size, 100);
    assert_eq!(
        agreement.decided_by(AgreedValue::FrameSize),
        ["disk", "encoder"]
    );
}

#[test]
fn pools_that_cannot_be_are_conflicts() {
    let text = |parties: &[Requirements]| negotiate(parties).unwrap_err().to_string();
    let size = |bytes| Requirements::new("camera").sizes(Sizes::exactly(bytes));
    let most = Framing::MAX_FRAMES;
    let encoder = |frames| Requirements::new("encoder").holds(frames);
    assert!(negotiate(&[size(1), encoder(most - 1)]).is_ok());
    assert_eq!(
        text(&[size(1), encoder(most)]),
        "`encoder` needs 16,777,216 frames for itself: a pool would have 16,777,217 frames, and \
         the maximum is 16,777,216"
    );
    assert_eq!(
        text(&[size(1).min_frames(most + 1)]),
        "`camera` needs at least 16,777,217 frames: a pool would have 16,777,217 frames, and the \
         maximum is 16,777,216"
    );
    let half = usize::MAX >> 2;
    assert!(negotiate(&[size(half)]).is_ok());
    let conflict = negotiate(&[size(half).alignment(4), encoder(1).prefix(12)]).unwrap_err();
    let parties: Vec<_> = conflict.parties().collect();
    assert_eq!(
        (parties, conflict.requirements()),
        (vec!["camera", "encoder"], 2)
    );
    #[cfg(target_pointer_width = "64")]
    assert_eq!(
        conflict.to_string(),
        "`camera` needs a frame size of 4,611,686,018,427,387,903 bytes, `encoder` needs 1 frame \
         for itself: 2 frames of 4,611,686,018,427,387,903 bytes at multiples of 1 with a prefix \
         of 0 do not fit into the address space"
    );
    assert!(text(&[size(64).prefix(usize::MAX).alignment(2)]).contains("with a prefix of"));
    // A preferred size that is too large is a wish that is not met.
    let sizes = Sizes::at_least(100).preferably(usize::MAX);
    let agreement = negotiate(&[Requirements::new("camera").sizes(sizes)]).unwrap();
    assert_eq!(agreement.framing().frame_size, 100);
    assert_eq!(agreement.unmet_wishes().len(), 1);
}

#[test]
fn what_the_pool_has_too_few_frames_for_is_shared_out() {
    let camera = |max| {
        Requirements::new("camera")
            .sizes(Sizes::exactly(64))
            .max_frames(max)
    };
    let agreed = |max| {
        let agreement = negotiate(&[
            Requirements::new("c").holds_between(2, 3),
            Requirements::new("a").holds_between(0, 9),
            Requirements::new("b").holds_between(1, 5),
            camera(max),
        ]);
        agreement.map(|agreement| {
            let held: Vec<_> = agreement.held_by().map(|(_, frames)| frames).collect();
            let unmet = agreement.unmet_wishes().iter();
            let unmet: Vec<_> = unmet.map(|wish| wish.party.clone()).collect();
            (agreement.framing().frames, held, unmet.join(" "))
        })
    };
    let table = [
        (30, 18, [9, 5, 3], ""),
        (18, 18, [9, 5, 3], ""),
        (17, 17, [8, 5, 3], "a"),
        (13, 13, [4, 5, 3], "a"),
        (12, 12, [4, 4, 3], "a b"),
        (6, 6, [1, 2, 2], "a b c"),
        (5, 5, [1, 1, 2], "a b c"),
        (4, 4, [0, 1, 2], "a b c"),
    ];
    for (max, frames, held, unmet) in table {
        let expected = (frames, held.to_vec(), unmet.to_owned());
        assert_eq!(agreed(max).unwrap(), expected, "at most {max}");
    }
    assert_eq!(
        agreed(3).unwrap_err().to_string(),
        "`b` needs from 1 to 5 frames for itself, `c` needs from 2 to 3 frames for itself, \
         `camera` needs at most 3 frames: that is 4 frames with the one that the source fills"
    );
    let wrong = Requirements::new("wrong").holds_between(4, 2);
    assert_eq!(
        negotiate(&[camera(9), wrong]).unwrap_err().to_string(),
        "`wrong` needs from 4 to 2 frames for itself: a party would keep at least 4 and at most 2 \
         frames"
    );
    // Others keep what they have got: a need, or a wish if it is more than they need.
    let conflict = |others: [Requirements; 2]| {
        let [one, two] = others;
        let agreement = negotiate(&[camera(6), one, two]).unwrap();
        agreement.unmet_wishes()[0].conflict.to_string()
    };
    let named = |name: &str, min, max| Requirements::new(name).holds_between(min, max);
    assert_eq!(
        conflict([named("a", 1, 4), named("b", 1, 2)]),
        "`a` wants 4 frames for itself, `b` wants 2 frames for itself, `camera` needs at most 6 \
         frames: that is 7 frames with the one that the source fills"
    );
    assert_eq!(
        conflict([named("a", 1, 4), named("b", 2, 2)]),
        "`a` wants 4 frames for itself, `b` needs 2 frames for itself, `camera` needs at most 6 \
         frames: that is 7 frames with the one that the source fills"
    );
    // A wish is one, too.
    let wish = Requirements::new("b").wish(1, Requirements::new("").holds(2));
    assert_eq!(
        conflict([named("a", 1, 4), wish]),
        "`a` wants 4 frames for itself, `b` wants 2 frames for itself, `camera` needs at most 6 \
         frames: that is 7 frames with the one that the source fills"
    );
    let large = Requirements::new("large").holds_between(1, usize::MAX);
    let agreement = negotiate(&[large, camera(usize::MAX)]).unwrap();
    assert_eq!(agreement.framing().frames, Framing::MAX_FRAMES);
    assert_eq!(
        agreement.held_by().next(),
        Some(("large", Framing::MAX_FRAMES - 1))
    );
}

#[test]
fn the_reason_of_an_unmet_wish_is_a_requirement_if_there_is_one() {
    let size = |size| Requirements::new("").sizes(Sizes::exactly(size));
    let disk = Requirements::new("disk").sizes(Sizes::between(100, 200));
    let network = Requirements::new("network").wish(1, size(300));
    let screen = Requirements::new("a screen").wish(2, size(150));
    let agreement = negotiate(&[disk.clone(), network.clone(), screen.clone()]).unwrap();
    assert_eq!(
        agreement.unmet_wishes()[0].conflict.to_string(),
        "`disk` needs a frame size from 100 to 200 bytes, `network` wants a frame size of 300 \
         bytes: a frame would have at least 300 and at most 200 bytes"
    );
    let screen = Requirements::new("the screen").wish(2, size(150));
    let other = negotiate(&[disk, network, screen]).unwrap();
    assert_eq!(other.unmet_wishes(), agreement.unmet_wishes());
}

#[test]
fn a_preferred_size_that_is_not_chosen_is_listed_with_the_reason() {
    let steps = Sizes::between(1_920, 96_000)
        .in_steps_of(1_920)
        .preferably(3_840);
    let device =
        Requirements::new("device").sizes(Sizes::between(2_048, 65_536).in_steps_of(2_048));
    let filter = Requirements::new("filter").sizes(steps);
    let agreement = negotiate(&[device, filter]).unwrap();
    assert_eq!(agreement.framing().frame_size, 30_720);
    let [unmet] = agreement.unmet_wishes() else {
        panic!("{:?}", agreement.unmet_wishes());
    };
    assert_eq!((unmet.party.as_str(), unmet.weight), ("filter", 0));
    assert_eq!(
        unmet.conflict.to_string(),
        "`device` needs a frame size from 2,048 to 65,536 bytes in steps of 2,048, `filter` wants \
         a frame size of 3,840 bytes: no size in steps of 2,048 lies between 3,840 and 3,840, and \
         the next is 4,096"
    );
    // Of several sizes, the largest is the first. Of equal ones, the first by name is listed first.
    let prefers = |name: &str, size| {
        Requirements::new(name).sizes(Sizes::between(100, 1_000).preferably(size))
    };
    let agreement = negotiate(&[prefers("c", 400), prefers("b", 600), prefers("a", 400)]).unwrap();
    assert_eq!(agreement.framing().frame_size, 600);
    let unmet = agreement.unmet_wishes().iter();
    let unmet: Vec<_> = unmet.map(|wish| wish.conflict.to_string()).collect();
    let text = |name: &str| {
        format!(
            "`{name}` wants a frame size of 400 bytes, `b` wants a frame size of 600 bytes: a \
             frame would have at least 600 and at most 400 bytes"
        )
    };
    assert_eq!(unmet[0], text("a"));
    assert_eq!(unmet.len(), 2);
    assert!(unmet[1].contains("`c` wants a frame size of 400 bytes"));
    // A list of formats is more important.
    let camera = Requirements::new("camera")
        .picture(100, 10)
        .formats([VideoFormat::P010, VideoFormat::Nv12]);
    let disk = Requirements::new("disk").sizes(Sizes::at_least(0).preferably(1_500));
    let agreement = negotiate(&[camera, disk]).unwrap();
    assert_eq!(agreement.format(), Some(VideoFormat::P010));
    assert_eq!(
        agreement.unmet_wishes()[0].conflict.to_string(),
        "`camera` needs a picture of 100 x 10 pixels and wants the format P010, `disk` wants a \
         frame size of 1,500 bytes: a frame would have at least 3,000 and at most 1,500 bytes"
    );
}

#[test]
fn the_nearest_size_is_chosen_if_no_preferred_one_is_possible() {
    let size = |all: &[Sizes]| {
        let parties = all.iter().zip(NAMES);
        let parties = parties.map(|(sizes, name)| Requirements::new(name).sizes(*sizes));
        let agreement = negotiate(&parties.collect::<Vec<_>>()).unwrap();
        let unmet = agreement.unmet_wishes().iter();
        let unmet: Vec<_> = unmet.map(|wish| wish.conflict.to_string()).collect();
        (agreement.framing().frame_size, unmet.join("; "))
    };
    assert_eq!(
        size(&[Sizes::between(0, 300).preferably(400)]),
        (
            300,
            "`a` needs a frame size from 0 to 300 bytes (preferably 400) and wants a frame size \
             of 400 bytes: a frame would have at least 400 and at most 300 bytes"
                .to_owned()
        )
    );
    let nearest = |all: &[Sizes]| size(all).0;
    assert_eq!(nearest(&[Sizes::between(100, 300).preferably(400)]), 300);
    assert_eq!(nearest(&[Sizes::between(100, 300).preferably(40)]), 100);
    let any = Sizes::at_least(0);
    let others = Sizes::between(0, 1_000).in_steps_of(64);
    for (preferred, expected) in [(90, 64), (96, 64), (97, 128), (5_000, 960)] {
        assert_eq!(nearest(&[any.preferably(preferred), others]), expected);
    }
    // Another preferred size that is possible is better, and so is any size that a pool can have.
    let [one, two] = [300, 400].map(|size| Sizes::between(0, 350).preferably(size));
    assert_eq!(nearest(&[one, two]), 300);
    let huge = Sizes::between(100, usize::MAX).preferably(usize::MAX);
    assert_eq!(nearest(&[huge]), 100);
}

#[test]
fn rows_that_cannot_begin_at_the_multiples_of_their_strides_are_a_conflict() {
    let camera = Requirements::new("camera")
        .picture(1920, 1080)
        .formats([VideoFormat::Nv12]);
    let camera = camera.stride_alignment(48).whole_pages(65_536);
    let reason = ": the least common multiple is 196,608, and the maximum is 65,536";
    let conflict = negotiate(std::slice::from_ref(&camera)).unwrap_err();
    assert!(conflict.to_string().ends_with(reason), "{conflict}");
    let wish = Requirements::new("gpu").wish(1, Requirements::new("").stride_alignment(131_072));
    let camera = Requirements::new("camera")
        .picture(1920, 1080)
        .formats([VideoFormat::Nv12]);
    let agreement = negotiate(&[camera, wish]).unwrap();
    let text = agreement.unmet_wishes()[0].conflict.to_string();
    assert_eq!(
        text,
        "`camera` needs a picture of 1,920 x 1,080 pixels and the format NV12, `gpu` wants a \
         stride that is a multiple of 131,072: the least common multiple is 131,072, and the \
         maximum is 65,536"
    );
}

#[test]
fn one_frame_is_one_frame() {
    let text = |requirements: Requirements| negotiate(&[requirements]).unwrap_err().to_string();
    let size = |bytes| Requirements::new("camera").sizes(Sizes::exactly(bytes));
    assert_eq!(
        text(size(1).max_frames(0)),
        "`camera` needs at most 0 frames: that is 1 frame with the one that the source fills"
    );
    assert_eq!(
        text(size(1).max_frames(1).min_frames(2)),
        "`camera` needs at least 2 frames and at most 1 frame: a pool would have at least 2 and \
         at most 1 frames"
    );
    let text = text(size(usize::MAX));
    assert!(text.contains(": 1 frame of "), "{text}");
    assert!(
        text.ends_with(" does not fit into the address space"),
        "{text}"
    );
}

#[test]
fn the_reasons_of_conflicts_have_their_numbers() {
    let text = |parties: &[Requirements]| negotiate(parties).unwrap_err().to_string();
    let reason = |parties: &[Requirements]| {
        let text = text(parties);
        text.rsplit_once("`")
            .and_then(|(_, last)| last.split_once(": "))
            .map(|(_, reason)| reason.to_owned())
            .unwrap()
    };
    let camera = || {
        Requirements::new("camera")
            .picture(1920, 1080)
            .formats([VideoFormat::Nv12])
    };
    let other = || Requirements::new("other");
    let table = [
        (
            vec![camera().stride_alignment(256), other().max_stride(1_984)],
            "no multiple of 256 lies between 1,920 and 1,984",
        ),
        (
            vec![camera(), other().max_stride(1_900)],
            "a stride would have at least 1,920 and at most 1,900 bytes",
        ),
        (
            vec![camera(), other().picture(1, 1)],
            "their pictures differ",
        ),
        (vec![other().picture(0, 1)], "such a picture has no pixels"),
        (
            vec![
                camera().alignment(48),
                other().alignment(4_096).whole_pages(65_536),
            ],
            "the least common multiple is 196,608, and the maximum is 65,536",
        ),
        (vec![other().alignment(0)], "only 0 is a multiple of 0"),
        (
            vec![camera().stride_alignment(0)],
            "only 0 is a multiple of 0",
        ),
        (
            vec![
                other().sizes(Sizes::at_least(1_000).in_steps_of(960)),
                Requirements::new("device").sizes(Sizes::between(1_100, 1_900)),
            ],
            "no size in steps of 960 lies between 1,100 and 1,900, and the next is 1,960",
        ),
        (
            vec![
                camera().formats([VideoFormat::Nv12]),
                other().sizes(Sizes::between(1, 3_110_399)),
            ],
            "a frame would have at least 3,110,400 and at most 3,110,399 bytes",
        ),
    ];
    for (parties, expected) in table {
        assert_eq!(reason(&parties), expected);
    }
    // Each of several formats has its reason.
    let formats = [VideoFormat::Nv12, VideoFormat::Gray8, VideoFormat::Yuy2];
    let camera = Requirements::new("camera")
        .picture(1920, 1080)
        .formats(formats);
    assert_eq!(
        text(&[camera.stride_alignment(256), other().max_stride(1_984)]),
        "`camera` needs a picture of 1,920 x 1,080 pixels, the format NV12, GRAY8 or YUY2 and a \
         stride that is a multiple of 256, `other` needs a stride that is at most 1,984 bytes: \
         with NV12 or GRAY8, no multiple of 256 lies between 1,920 and 1,984; with YUY2, a stride \
         would have at least 3,840 and at most 1,984 bytes"
    );
    #[cfg(target_pointer_width = "64")]
    assert_eq!(
        text(&[other()
            .picture(u32::MAX, u32::MAX)
            .formats([VideoFormat::Nv12])]),
        "`other` needs a picture of 4,294,967,295 x 4,294,967,295 pixels and the format NV12: a \
         NV12 picture of 4,294,967,295 x 4,294,967,295 pixels does not fit into the address space"
    );
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
    let [gray, nv12, i420, yuy2, _] = FORMATS;
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

#[test]
fn a_stage_may_modify_frames_before_another_needs_them_unmodified() {
    let stage = |requirements: Requirements| Stage::new(requirements);
    let source = || stage(keeping(0));
    let filter = || stage(Requirements::new("filter").modifies());
    let reader = || stage(Requirements::new("reader").unmodified());
    let agrees = |source: Stage| source.negotiate().is_ok();
    assert!(agrees(source().to(filter().to(reader()))));
    assert!(!agrees(source().to(reader().to(filter()))));
    // The filter changes the frames of another pool.
    let copying = Stage::copying(Requirements::new("copy"), keeping(0));
    assert!(agrees(source().to(reader().to(copying.to(filter())))));
    // A source that fills frames does not modify those of others.
    assert!(agrees(
        stage(keeping(0).modifies()).to(reader()).to(reader())
    ));
    assert!(!agrees(source().to(filter()).to(source())));
    assert!(agrees(source().to(filter().to(reader()).to(reader()))));
}

#[test]
fn a_wish_to_modify_frames_is_not_met_if_a_branch_has_them() {
    let wish = Requirements::new("filter").wish(1, Requirements::new("filter").modifies());
    let source = Stage::new(keeping(0)).to(Stage::new(wish));
    let unmet = |source: &Stage| {
        source.negotiate().unwrap()[0]
            .agreement()
            .unmet_wishes()
            .len()
    };
    assert_eq!(unmet(&source), 0);
    assert_eq!(unmet(&source.to(Stage::new(keeping(0)))), 1);
}

#[test]
fn pipes_come_after_the_ones_that_their_sources_read_from() {
    let named = |name: &str| Requirements::new(name).sizes(Sizes::exactly(64));
    let copy = |name: &str| Stage::copying(Requirements::new(name), named(name));
    let source = copy("a")
        .to(copy("b").to(copy("d")))
        .to(copy("c").to(Stage::new(named("e"))));
    let pipes = source.negotiate().unwrap();
    let names = pipes
        .iter()
        .map(|pipe| pipe.parties().collect::<Vec<_>>().join(" "));
    assert_eq!(names.collect::<Vec<_>>(), ["a b c", "b d", "c e", "d"]);
}

#[test]
fn a_party_that_likes_all_frames_gets_as_many_as_the_address_space_has() {
    let size = usize::MAX / 8 / 4_096 * 4_096;
    let source = Requirements::new("source").sizes(Sizes::exactly(size));
    let greedy = Requirements::new("greedy").holds_between(1, usize::MAX);
    let agreement = negotiate(&[source, greedy.clone()]).unwrap();
    assert_eq!(agreement.framing().frames, 4);
    assert_eq!(agreement.held_by().collect::<Vec<_>>(), [("greedy", 3)]);
    assert_eq!(agreement.unmet_wishes().len(), 1);

    let source = Requirements::new("source").sizes(Sizes::exactly(usize::MAX / 8 * 3));
    let conflict = negotiate(&[source, greedy]).unwrap_err().to_string();
    assert!(conflict.contains(": 2 frames of"), "{conflict}");
}
