//! Forecasts compared with a pipeline whose times are computed exactly, by recurrences that share
//! no code with the replay.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

use crate::label::Label;
use crate::recording::{Event, EventKind, Recording};

/// Pipeline of a source, a serial encoder and a preview, each with a thread of its own. Times are
/// in microseconds.
#[derive(Clone, Debug)]
struct Pipeline {
    /// Time between two ticks of the source, or `None` if it is paced by its work.
    period: Option<u64>,
    /// Per frame: the time to fill it, and to encode it.
    frames: Vec<(u64, u64)>,
    /// Time that the preview takes to show a frame.
    show: u64,
    /// Number of frames that the preview keeps.
    keeps: usize,
    /// Labels of the stages, or none.
    labels: Option<[&'static str; 3]>,
}

/// Times of one frame.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    requested: u64,
    acquired: u64,
    filled: u64,
    encoded: u64,
    /// Time at which the preview has shown the frame.
    shown: u64,
}

const LABELS: Option<[&str; 3]> = Some(["source", "encoder", "preview"]);

impl Pipeline {
    /// Returns the times of all frames in a pool of `depth` frames. Panics if the pipeline stalls.
    fn run(&self, depth: usize) -> Vec<Times> {
        let mut all: Vec<Times> = Vec::new();
        for (number, &(fill, encode)) in self.frames.iter().enumerate() {
            let last = all.last().copied().unwrap_or_default();
            let due = self.period.map_or(0, |period| number as u64 * period);
            let requested = last.filled.max(due);
            // Frames are released in order, each when the preview has shown a later one.
            let released = (number + self.keeps)
                .checked_sub(depth)
                .filter(|_| number >= depth)
                .map_or(0, |shown| all[shown].shown);
            let acquired = requested.max(released);
            let filled = acquired + fill;
            let encoded = filled.max(last.encoded) + encode;
            let shown = encoded.max(last.shown) + self.show;
            all.push(Times {
                requested,
                acquired,
                filled,
                encoded,
                shown,
            });
        }
        all
    }

    fn waits(&self, depth: usize) -> WaitTotals {
        let times = self.run(depth);
        let waits = times.iter().map(|of| of.acquired - of.requested);
        let waits = waits.filter(|&wait| wait > 0);
        WaitTotals {
            count: waits.clone().count() as u64,
            longest: micros(waits.clone().max().unwrap_or(0)),
            total: micros(waits.sum()),
        }
    }

    fn record(&self, depth: usize) -> Recording {
        let times = self.run(depth);
        let [source, encoder, preview] = match self.labels {
            Some(labels) => labels.map(|label| Some(Label::new(label))),
            None => [None; 3],
        };
        // The third value orders events of the same time.
        let mut events = Vec::new();
        for (number, of) in times.iter().enumerate() {
            let slot = number % depth;
            let mut push = |at, rank, kind: EventKind, thread, label| {
                let event = Event {
                    at: micros(at),
                    kind,
                    slot: Some(slot).filter(|_| kind.is_of_frame()),
                    wait: Some(number as u64).filter(|_| kind.is_of_wait()),
                    thread,
                    label,
                };
                events.push((at, rank, event));
            };
            if of.acquired > of.requested {
                push(of.requested, 5, EventKind::WaitBegan, 1, source);
                push(of.acquired, 3, EventKind::WaitServed, 1, source);
            }
            push(of.acquired, 4, EventKind::Acquired, 1, source);
            if self.labels.is_some() {
                push(of.filled, 0, EventKind::Transferred, 1, encoder);
                push(of.encoded, 1, EventKind::Transferred, 2, preview);
            }
            if let Some(later) = times.get(number + self.keeps) {
                push(later.shown, 2, EventKind::Released, 3, preview);
            }
        }
        events.sort_by_key(|&(at, rank, _)| (at, rank));
        let end = times.last().map_or(0, |of| of.acquired.max(of.shown));
        recording_of(depth, events.into_iter().map(|(.., event)| event), end)
    }
}

fn recording_of(frames: usize, events: impl IntoIterator<Item = Event>, read_at: u64) -> Recording {
    Recording {
        pool: None,
        frames,
        events: events.into_iter().collect(),
        lost: 0,
        read_at: micros(read_at),
    }
}

fn micros(time: u64) -> Duration {
    Duration::from_micros(time)
}

fn event(at: u64, kind: EventKind, subject: u64, thread: u32, label: &str) -> Event {
    Event {
        at: micros(at),
        kind,
        slot: usize::try_from(subject).ok().filter(|_| kind.is_of_frame()),
        wait: Some(subject).filter(|_| kind.is_of_wait()),
        thread,
        label: (!label.is_empty()).then(|| Label::new(label)),
    }
}

fn options(pipeline: &Pipeline) -> SizingOptions {
    let pacing = match pipeline.period {
        Some(_) => Pacing::Clock,
        None => Pacing::Work,
    };
    SizingOptions::new().pacing("source", pacing)
}

/// Returns a pipeline whose encoder is slow on each 12th frame.
fn with_slow_frames(period: Option<u64>) -> Pipeline {
    let encode = |number| if number % 12 == 7 { 38_000 } else { 6_000 };
    let fill = |number: u64| 2_000 + number * 7_919 % 1_000 * u64::from(period.is_none()) * 7;
    Pipeline {
        period,
        frames: (0..120)
            .map(|number| (fill(number), encode(number)))
            .collect(),
        show: 500,
        keeps: 2,
        labels: LABELS,
    }
}

#[test]
fn forecasts_of_a_clock_are_exact_whatever_was_recorded() {
    let pipeline = with_slow_frames(Some(10_000));
    for recorded in [4, 6, 10] {
        let sizing = pipeline.record(recorded).sizing();
        assert_eq!(sizing.sources[0].pacing, Pacing::Clock, "{recorded}");
        for depth in pipeline.keeps + 1..=2 * recorded {
            let forecast = sizing.at(depth).unwrap();
            assert_eq!(forecast.waits, pipeline.waits(depth), "{recorded}: {depth}");
            assert!(!forecast.stalls);
        }
        for depth in 1..=pipeline.keeps {
            assert!(sizing.at(depth).unwrap().stalls);
        }
    }
}

#[test]
fn forecasts_of_a_source_paced_by_its_work_are_exact_whatever_was_recorded() {
    let pipeline = with_slow_frames(None);
    for recorded in [4, 6, 12] {
        let sizing = pipeline.record(recorded).sizing();
        assert_eq!(sizing.sources[0].pacing, Pacing::Work, "{recorded}");
        for depth in pipeline.keeps + 1..=2 * recorded {
            let forecast = sizing.at(depth).unwrap();
            assert_eq!(forecast.waits, pipeline.waits(depth), "{recorded}: {depth}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn forecasts_equal_the_run(
        period in prop::option::of(1_000_u64..20_000),
        frames in prop::collection::vec((1_u64..10_000, 0_u64..20_000), 1..60),
        show in 0_u64..200,
        recorded in 1_usize..9,
    ) {
        let pipeline = Pipeline { period, frames, show, keeps: 0, labels: LABELS };
        let sizing = pipeline.record(recorded).sizing_with(&options(&pipeline));
        prop_assert_eq!(sizing.recorded, pipeline.waits(recorded));
        prop_assert_eq!(sizing.at(recorded).unwrap().waits, sizing.recorded);
        for depth in 1..=2 * recorded {
            let forecast = sizing.at(depth).unwrap().waits;
            if period.is_none() {
                prop_assert_eq!(forecast, pipeline.waits(depth), "{}", depth);
            }
        }
    }

    #[test]
    fn more_frames_never_mean_more_wait(
        period in prop::option::of(1_000_u64..20_000),
        frames in prop::collection::vec((1_u64..10_000, 0_u64..20_000), 1..60),
        recorded in 1_usize..9,
    ) {
        let pipeline = Pipeline { period, frames, show: 100, keeps: 0, labels: LABELS };
        let sizing = pipeline.record(recorded).sizing_with(&options(&pipeline));
        for pair in sizing.depths.windows(2) {
            prop_assert!(pair[0].waits.total >= pair[1].waits.total, "{}", sizing);
        }
    }
}
