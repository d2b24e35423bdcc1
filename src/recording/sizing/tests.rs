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
            noticeable: waits.clone().filter(|&wait| wait > 100).count() as u64,
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
        shares: Vec::new(),
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

#[test]
fn a_clock_that_has_caught_up_asks_no_earlier_than_recorded() {
    // Each frame takes 19 microseconds less than a period, so that the source catches up with its
    // clock while it still waits for each frame.
    let mut frames = vec![(1, 9_880); 20];
    frames[0].1 = 20_100;
    let pipeline = Pipeline {
        period: Some(10_000),
        frames,
        show: 100,
        keeps: 0,
        labels: LABELS,
    };
    let sizing = pipeline.record(1).sizing_with(&options(&pipeline));
    assert_eq!(sizing.recorded, pipeline.waits(1));
    assert_eq!(sizing.at(1).unwrap().waits, sizing.recorded);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn forecasts_equal_the_run(
        period in prop::option::of(1_000_u64..20_000),
        // A stage that passes on two frames at one moment counts as one that needs both.
        frames in prop::collection::vec((1_u64..10_000, 1_u64..20_000), 1..60),
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

/// Returns the number of frames without waits in the run.
fn frames_without_waits(pipeline: &Pipeline) -> usize {
    frames_for(pipeline, Duration::ZERO)
}

/// Returns the number of frames without waits longer than `bound` in the run.
fn frames_for(pipeline: &Pipeline, bound: Duration) -> usize {
    let mut depths = pipeline.keeps + 1..;
    depths
        .find(|&depth| pipeline.waits(depth).longest <= bound)
        .unwrap()
}

#[test]
fn the_least_numbers_of_frames_are_those_of_the_run() {
    let pipeline = with_slow_frames(Some(10_000));
    let sizing = pipeline.record(8).sizing();
    let least = frames_without_waits(&pipeline);
    assert_eq!(sizing.frames_without_waits(), Some(least));
    assert!((5..=8).contains(&least), "{least}");
    for bound in [micros(0), micros(2_000), micros(30_000)] {
        assert_eq!(sizing.frames_for(bound), Some(frames_for(&pipeline, bound)));
    }
}

#[test]
fn a_saving_is_the_least_that_suffices_in_the_run() {
    let pipeline = with_slow_frames(Some(10_000));
    let least = frames_for(&pipeline, micros(100));
    let sizing = pipeline.record(8).sizing();
    let encoder = Label::new("encoder");
    let of_encoder = sizing.savings.iter().find(|saving| {
        saving.label == Some(encoder) && matches!(saving.means, SavingMeans::LessTime(_))
    });
    let SavingMeans::LessTime(time) = of_encoder.unwrap().means else {
        unreachable!()
    };
    let with_shorter = |shorter: u64| {
        let mut pipeline = pipeline.clone();
        for (_, encode) in &mut pipeline.frames {
            *encode = encode.saturating_sub(shorter);
        }
        frames_for(&pipeline, micros(100))
    };
    let time = u64::try_from(time.as_micros()).unwrap();
    assert!(with_shorter(time + 1) < least);
    assert_eq!(with_shorter(time * 98 / 100), least);

    let preview = Some(Label::new("preview"));
    assert!(
        sizing.savings.iter().any(|saving| {
            saving.label == preview && saving.means == SavingMeans::OneFrameFewer
        })
    );
    let mut fewer = pipeline.clone();
    fewer.keeps = 1;
    assert_eq!(frames_for(&fewer, micros(100)), least - 1);
}

#[test]
fn stages_without_labels_are_told_apart_by_their_threads() {
    let labeled = Pipeline {
        keeps: 0,
        show: 0,
        ..with_slow_frames(Some(10_000))
    };
    let pipeline = Pipeline {
        labels: None,
        ..labeled
    };
    let sizing = pipeline.record(8).sizing();
    assert_eq!(
        sizing.frames_without_waits(),
        Some(frames_without_waits(&pipeline))
    );
    // The time in the queue of the encoder is not told from the time to fill a frame.
    for depth in 2..=16 {
        let forecast = sizing.at(depth).unwrap().waits.total.as_secs_f64();
        let in_run = pipeline.waits(depth).total.as_secs_f64();
        assert!((forecast - in_run).abs() <= 0.2 * in_run, "{sizing}");
    }
    assert!(sizing.to_string().contains("(no label) waits"));
}

#[test]
fn a_recording_that_starts_in_mid_stream_gives_nearly_the_same_forecast() {
    let pipeline = with_slow_frames(Some(10_000));
    let mut recording = pipeline.record(6);
    let begin = recording.events.len() / 2 + 1;
    recording.events.drain(..begin);
    recording.lost = begin as u64;
    let sizing = recording.sizing();
    assert_eq!(sizing.recorded, sizing.at(6).unwrap().waits);
    assert_eq!(
        sizing.frames_without_waits(),
        Some(frames_without_waits(&pipeline))
    );
    for depth in 3..=12 {
        // The waits of the second half.
        let times = pipeline.run(depth);
        let waits = times[60..].iter().map(|of| of.acquired - of.requested);
        let in_run = micros(waits.sum()).as_secs_f64();
        let forecast = sizing.at(depth).unwrap().waits.total.as_secs_f64();
        assert!((forecast - in_run).abs() <= 0.1 * in_run + 0.02, "{sizing}");
    }
    // The preview is still known to keep 2 frames.
    assert!(sizing.at(2).unwrap().stalls && !sizing.at(3).unwrap().stalls);
}

#[test]
fn frames_that_are_out_at_the_end_come_back() {
    let pipeline = with_slow_frames(Some(10_000));
    for cut in 1..60 {
        let mut recording = pipeline.record(6);
        recording.events.truncate(recording.events.len() - cut);
        recording.read_at = recording.events.last().unwrap().at;
        let sizing = recording.sizing();
        let forecast = sizing.at(6).unwrap();
        assert_eq!(forecast.waits, sizing.recorded, "{cut}");
        assert!(!sizing.at(3).unwrap().stalls, "{cut}");
    }
}

#[test]
fn a_frame_that_is_never_released_is_missing_in_all_forecasts() {
    let mut events = vec![event(0, EventKind::Acquired, 9, 1, "screen")];
    let holds = (0..50).flat_map(|number| {
        let at = 10 + number * 100;
        [
            event(at, EventKind::Acquired, 0, 2, "camera"),
            event(at + 50, EventKind::Released, 0, 2, "camera"),
        ]
    });
    events.extend(holds);
    let sizing = recording_of(3, events, 9_000).sizing();
    assert_eq!(sizing.frames_without_waits(), Some(2));
    assert!(sizing.at(1).unwrap().stalls);
    assert!(format!("{sizing:#}").contains("with 1, the pipeline stalls"));
}

#[test]
fn waits_that_end_without_a_frame_last_as_long_as_recorded() {
    use EventKind::{
        Acquired, FlushBegan, FlushEnded, Released, WaitBegan, WaitFailed, WaitGivenUp,
    };
    let mut flush = event(700, FlushBegan, 0, 9, "");
    flush.slot = None;
    let events = [
        event(0, Acquired, 0, 1, "screen"),
        event(100, WaitBegan, 0, 2, "camera"),
        event(400, WaitGivenUp, 0, 2, "camera"),
        event(500, WaitBegan, 1, 2, "camera"),
        flush,
        event(700, WaitFailed, 1, 2, "camera"),
        Event {
            kind: FlushEnded,
            ..flush
        },
        event(900, Released, 0, 1, "screen"),
        event(950, Acquired, 0, 1, "screen"),
        event(960, WaitBegan, 2, 2, "camera"),
    ];
    let sizing = recording_of(1, events, 1_000).sizing();
    let expected = WaitTotals {
        count: 3,
        noticeable: 2,
        longest: micros(300),
        total: micros(300 + 200 + 40),
    };
    assert_eq!(sizing.recorded, expected);
    assert_eq!(sizing.at(1).unwrap().waits, expected);
    assert_eq!(sizing.at(2).unwrap().waits.count, 0);
    let of_camera = &sizing.at(1).unwrap().labels[0];
    assert_eq!(of_camera.label, Some(Label::new("camera")));
    assert_eq!(of_camera.holders[0].label, Some(Label::new("screen")));
    assert!((of_camera.holders[0].share - 1.0).abs() < 1e-9);
}

#[test]
fn requests_of_a_thread_that_runs_several_tasks_come_at_their_recorded_times() {
    use EventKind::{Acquired, Released, WaitBegan, WaitServed};
    let events = [
        event(0, Acquired, 0, 1, "one"),
        // While the second task waits, the thread goes on with the first.
        event(100, WaitBegan, 0, 1, "two"),
        event(400, Released, 0, 1, "one"),
        event(400, WaitServed, 0, 1, "two"),
        event(400, Acquired, 0, 1, "two"),
        event(500, WaitBegan, 1, 1, "three"),
        event(600, Released, 0, 1, "two"),
        event(600, WaitServed, 1, 1, "three"),
        event(600, Acquired, 0, 1, "three"),
        event(700, Released, 0, 1, "three"),
    ];
    let sizing = recording_of(1, events, 800).sizing();
    let recorded = sizing.at(1).unwrap();
    assert!(!recorded.stalls);
    assert_eq!(recorded.waits, sizing.recorded);
    assert_eq!(sizing.frames_without_waits(), Some(2));
}

#[test]
fn a_recording_without_acquires_says_so() {
    let empty = recording_of(4, [], 500).sizing();
    let pool = |at, kind| Event {
        slot: None,
        ..event(at, kind, 0, 1, "")
    };
    let committed = [
        pool(0, EventKind::Committed),
        pool(5, EventKind::Decommitted),
        pool(9, EventKind::Committed),
    ];
    for sizing in [empty, recording_of(4, committed, 500).sizing()] {
        let text = "nothing is known about the number of frames: none was acquired";
        assert_eq!(sizing.to_string(), text);
        assert_eq!(sizing.depths.len(), 8);
        assert!(sizing.savings.is_empty() && sizing.sources.is_empty());
    }
}

#[test]
fn contradictory_events_cause_no_panic() {
    let sane = with_slow_frames(Some(10_000)).record(4);
    let mut reversed = sane.clone();
    reversed.events.reverse();
    let mut extreme = reversed.clone();
    for event in &mut extreme.events {
        event.slot = event.slot.map(|slot| usize::MAX - slot);
        event.wait = event.wait.map(|_| u64::MAX);
        event.at = Duration::MAX - event.at;
    }
    let mut wide = sane.clone();
    wide.events[0].at = Duration::MAX;
    let mut one_slot = sane.clone();
    for event in &mut one_slot.events {
        event.slot = event.slot.map(|_| 0);
        event.thread %= 2;
    }
    for mut recording in [sane, reversed, extreme, wide, one_slot] {
        for frames in [0, 1, 2, 513] {
            recording.frames = frames;
            let sizing = recording.sizing();
            assert_eq!(sizing.depths.len(), frames.min(512) * 2);
            assert!(!sizing.to_string().is_empty());
        }
    }
}

#[test]
fn a_large_pool_has_forecasts_for_evenly_spread_numbers_of_frames() {
    let mut recording = with_slow_frames(Some(10_000)).record(8);
    for frames in [600, 10_001, usize::MAX] {
        recording.frames = frames;
        let sizing = recording.sizing();
        assert_eq!(sizing.depths.len(), 1024);
        assert_eq!(sizing.depths[1023].frames, frames.saturating_mul(2));
        if frames < usize::MAX {
            assert!(sizing.at(frames).is_some());
        }
    }
}

proptest! {
    #[test]
    fn events_in_any_order_cause_no_panic(
        events in prop::collection::vec((0_u64..100, 0_usize..15, 0_u64..4, 0_u32..4), 0..80),
        frames in 0_usize..6,
        lost in 0_u64..2,
    ) {
        let labels = ["", "a", "b"];
        let events = events.into_iter().map(|(at, kind, subject, thread)| {
            let label = labels[usize::try_from(at).unwrap() % 3];
            event(at, EventKind::ALL[kind], subject, thread, label)
        });
        let recording = Recording { lost, ..recording_of(frames, events, 50) };
        let text = recording.sizing().to_string();
        prop_assert!(!text.is_empty());
    }
}

#[test]
fn the_text_has_the_answer_the_savings_and_a_table() {
    let sizing = with_slow_frames(Some(10_000)).record(8).sizing();
    let text = sizing.to_string();
    let expected = "\
7 of 8 frames would have sufficed for 1.3 s; with 6, `source` waits 10 times, 500 µs at most
6 frames suffice if `encoder` holds each frame for 402 µs less, or if `source` holds each frame \
for 403 µs less, or if `preview` holds each frame for 403 µs less

     frames  waits  longest   total  waiting callers, and the holders of the frames
          1      -        -       -  the pipeline stalls
          2      -        -       -  the pipeline stalls
          3    112    39 ms   1.1 s  `source` 112 times (`preview` 68 %, `encoder` 32 %)
          4     57    21 ms  362 ms  `source` 57 times (`preview` 52 %, `encoder` 48 %)
          5     29    11 ms  168 ms  `source` 29 times (`encoder` 58 %, `preview` 42 %)
          6     10   500 µs  5.0 ms  `source` 10 times (`encoder` 50 %, `preview` 50 %)
          7      0     0 ms    0 ms
recorded: 8      0     0 ms    0 ms

`source` (thread 1) asked for a frame 120 times, by a clock
recorded: 0 waits, 0 ms at most, 0 ms in all
The forecast supposes that stages work on each frame as long as recorded. \
Waits of up to 0.1 ms are not counted.";
    assert_eq!(text, expected);
}

#[test]
fn the_text_of_a_pool_that_is_too_small_says_how_many_frames_suffice() {
    let sizing = with_slow_frames(Some(10_000)).record(4).sizing();
    let text = format!("{sizing:#}");
    let begin =
        "7 frames would have sufficed for 1.3 s; the pool had 4; with 6, `source` waits 10 times";
    assert!(text.starts_with(begin), "{text}");
    let saturated = Pipeline {
        period: None,
        frames: vec![(1_000, 5_000); 50],
        show: 100,
        keeps: 0,
        labels: LABELS,
    };
    let text = format!("{:#}", saturated.record(4).sizing());
    let begin = "8 frames do not suffice; with 8, `source` waits ";
    assert!(text.starts_with(begin), "{text}");
}

#[test]
fn a_stage_that_is_slower_than_its_source_falls_behind() {
    let pipeline = |encode| Pipeline {
        period: Some(10_000),
        frames: vec![(1_000, encode); 60],
        show: 100,
        keeps: 0,
        labels: LABELS,
    };
    let sizing = pipeline(14_000).record(30).sizing();
    let falls_behind = sizing.falls_behind.unwrap();
    assert_eq!(falls_behind.label, Some(Label::new("encoder")));
    assert!(falls_behind.share > 0.8);
    assert!(sizing.to_string().contains("`encoder` falls behind"));
    assert!(pipeline(9_000).record(30).sizing().falls_behind.is_none());
    // All frames of the largest pool are soon in its queue.
    let sizing = pipeline(14_000).record(3).sizing();
    assert_eq!(sizing.falls_behind.unwrap().label, falls_behind.label);
}

#[test]
fn a_queue_that_is_never_empty_is_not_taken_for_frames_that_are_kept() {
    for (fill, encode) in [(500, 4_000), (2_000, 4_000), (3_500, 4_000), (3_950, 4_000)] {
        for recorded in 2..7 {
            let pipeline = Pipeline {
                period: None,
                frames: vec![(fill, encode); 80],
                show: 10,
                keeps: 0,
                labels: LABELS,
            };
            let sizing = pipeline.record(recorded).sizing();
            for depth in 1..=2 * recorded {
                let forecast = sizing.at(depth).unwrap();
                let in_run = pipeline.waits(depth);
                assert_eq!(forecast.waits, in_run, "{fill} {recorded}: {sizing}");
            }
        }
    }
}
