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
use super::stage::Stage;
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
        1 => (1..8_usize).prop_map(Need::MinFrames),
        1 => (1..8_usize).prop_map(Need::MaxFrames),
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
    let min = needs.iter().filter_map(|(_, need)| match need {
        Need::MinFrames(frames) => Some(*frames - 1),
        _ => None,
    });
    let min = min.max().unwrap_or(0);
    let modes = MODES.iter().filter(|mode| {
        needs
            .iter()
            .all(|(_, need)| !matches!(need, Need::Modes(modes) if !modes.contains(mode)))
    });
    let is_too_deep = needs
        .iter()
        .any(|(_, need)| matches!(need, Need::MaxFrames(max) if held.max(min) + 1 > *max));
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
    if pictures.len() > 1
        || modes.count() == 0
        || is_too_deep
        || allocators.len() > 1
        || is_modified
    {
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
            Need::Alignment(bytes) | Need::WholePages(bytes) => framing.alignment % bytes == 0,
            Need::MinFrames(min) => framing.frames >= *min,
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
            Need::Holds(frames) => *frames,
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
