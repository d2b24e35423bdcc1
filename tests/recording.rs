//! Traces and pictures of recordings, parsed by independent JSON and XML parsers.
#![cfg(not(any(loom, miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::pin;
use std::task::Waker;
use std::thread::sleep;
use std::time::Duration;

use ks_allocator::{FramePool, Label, Recording};
use serde_json::Value;

use support::poll_once::poll_once;

mod support {
    pub(crate) mod poll_once;
}

const SHORT: Duration = Duration::from_millis(20);

fn pool(frames: usize, events: usize) -> FramePool {
    let builder = FramePool::builder().frames(frames).frame_size(64);
    builder.record(events).build().unwrap()
}

/// Returns a recording in which one frame passes from "capture" to "encoder", another is held all
/// the time, and the caller "late" waits for a third until it times out.
fn scene() -> Recording {
    let pool = pool(2, 1000);
    let kept = pool.acquire().unwrap();
    let frame = pool.with_label("capture").acquire().unwrap();
    sleep(SHORT);
    frame.set_label("encoder");
    let shared = frame.share();
    pool.with_label("late")
        .acquire_timeout(2 * SHORT)
        .unwrap_err();
    drop(shared);
    sleep(SHORT);
    pool.begin_flush();
    pool.end_flush();
    let recording = pool.recording().unwrap();
    drop(kept);
    recording
}

struct Trace(Vec<Value>);

impl Trace {
    fn of(recording: &Recording) -> Self {
        let mut json = Vec::new();
        recording.write_trace(&mut json).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["otherData"]["lost"], recording.lost);
        Self(json["traceEvents"].as_array().unwrap().clone())
    }

    fn of_phase(&self, phase: &'static str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |event| event["ph"] == phase)
    }

    /// Returns the name of an event's track.
    fn track(&self, event: &Value) -> &str {
        let mut names = self
            .of_phase("M")
            .filter(|name| name["name"] == "thread_name");
        let name = names.find(|name| name["tid"] == event["tid"]).unwrap();
        name["args"]["name"].as_str().unwrap()
    }

    /// Returns track and name of all events of a phase, sorted.
    fn all(&self, phase: &'static str) -> Vec<(&str, &str)> {
        let mut all: Vec<_> = self
            .of_phase(phase)
            .map(|event| (self.track(event), event["name"].as_str().unwrap()))
            .collect();
        all.sort_unstable();
        all
    }

    fn milliseconds(&self, name: &str) -> f64 {
        let bar = self.of_phase("X").find(|bar| bar["name"] == name).unwrap();
        bar["dur"].as_f64().unwrap() / 1000.0
    }
}

fn svg(recording: &Recording) -> String {
    let mut svg = Vec::new();
    recording.write_svg(&mut svg).unwrap();
    String::from_utf8(svg).unwrap()
}

/// Returns the number of elements of a class, such as "bar", "dry", "band" and "wait".
fn count(svg: &str, class: &str) -> usize {
    let document = roxmltree::Document::parse(svg).unwrap();
    let nodes = document.descendants();
    nodes
        .filter(|node| node.attribute("class") == Some(class))
        .count()
}

fn titles(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let titles = document
        .descendants()
        .filter(|node| node.has_tag_name("title"));
    titles
        .filter_map(|title| title.text())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_trace_has_one_bar_per_hold_and_per_wait() {
    let recording = scene();
    let trace = Trace::of(&recording);
    let thread = format!("thread {}", recording.events[1].thread);
    let mut expected = [
        ("slot 0", thread.as_str()),
        ("slot 1", "capture"),
        ("slot 1", "encoder"),
        ("waiter 1", "late waits"),
        ("pool", "dry"),
    ];
    expected.sort_unstable();
    assert_eq!(trace.all("X"), expected);
    let instants = [
        ("pool", "committed"),
        ("pool", "flush began"),
        ("pool", "flush ended"),
        ("slot 1", "shared"),
    ];
    assert_eq!(trace.all("i"), instants);
    for (name, min) in [
        ("capture", 20.0),
        ("encoder", 40.0),
        ("late waits", 10.0), // it may begin late
        (&thread, 80.0),
    ] {
        let took = trace.milliseconds(name);
        assert!(min <= took && took < min + 10_000.0, "{name}: {took} ms");
    }
    assert!(trace.milliseconds("dry") <= trace.milliseconds("encoder"));
    let free: Vec<_> = trace
        .of_phase("C")
        .map(|c| c["args"]["free"].as_u64().unwrap())
        .collect();
    assert_eq!(free, [2, 1, 0, 1]);
}

#[test]
fn the_metadata_of_a_trace_say_how_many_frames_were_needed() {
    let metadata = |recording: &Recording| {
        let mut json = Vec::new();
        recording.write_trace(&mut json).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        json["otherData"].clone()
    };
    let mut recording = scene();
    let of_scene = metadata(&recording);
    // Two frames are held, and a caller waits for a third.
    assert_eq!(of_scene["frames needed"], 3);
    let text = of_scene["sizing"].as_str().unwrap();
    assert!(
        text.starts_with("3 frames would have sufficed for "),
        "{text}"
    );
    recording.frames = usize::MAX;
    assert!(metadata(&recording).get("sizing").is_none());
}

#[test]
fn a_bar_ends_where_the_next_bar_of_its_slot_begins() {
    let trace = Trace::of(&scene());
    let time = |name: &str, key: &str| {
        let bar = trace.of_phase("X").find(|bar| bar["name"] == name).unwrap();
        bar[key].as_f64().unwrap()
    };
    let end = time("capture", "ts") + time("capture", "dur");
    assert!((end - time("encoder", "ts")).abs() < 0.002);
}

#[test]
fn the_picture_has_one_bar_per_hold_and_is_red_where_the_pool_was_dry() {
    let svg = svg(&scene());
    assert_eq!(count(&svg, "bar"), 3);
    assert_eq!(count(&svg, "wait"), 1);
    assert_eq!((count(&svg, "dry"), count(&svg, "band")), (1, 1));
    assert!(count(&svg, "mark") >= 1);
    let titles = titles(&svg);
    for name in ["capture, ", "encoder, ", "late waits: given up, ", "dry, "] {
        assert!(
            titles.iter().any(|title| title.starts_with(name)),
            "{titles:?}"
        );
    }
    assert!(svg.contains("2 frames over ") && svg.contains("dry once, for "));
}

#[test]
fn nothing_is_red_if_no_caller_had_to_wait() {
    let pool = pool(2, 1000);
    for _ in 0..5 {
        // All frames are out, but no caller waits for one.
        let _both = [pool.acquire().unwrap(), pool.acquire().unwrap()];
        sleep(SHORT / 5);
    }
    let svg = svg(&pool.recording().unwrap());
    assert_eq!(count(&svg, "bar"), 10);
    assert_eq!(
        (count(&svg, "dry"), count(&svg, "band"), count(&svg, "wait")),
        (0, 0, 0)
    );
    assert!(svg.contains("no caller had to wait"));
}

#[test]
fn a_frame_assigned_to_a_future_is_shown_as_unclaimed() {
    let pool = pool(1, 1000);
    let frame = pool.with_label("before").acquire().unwrap();
    let mut future = pin!(pool.acquire_async());
    assert!(poll_once(future.as_mut(), Waker::noop()).is_pending());
    sleep(SHORT);
    drop(frame);
    sleep(SHORT);
    let recording = pool.recording().unwrap();
    let trace = Trace::of(&recording);
    assert!(trace.all("X").contains(&("slot 0", "(unclaimed)")));
    // The pool is not dry while the frame is assigned and unclaimed.
    assert!(trace.milliseconds("(unclaimed)") >= 20.0);
    assert!(trace.milliseconds("dry") < trace.milliseconds("before") + 0.1);
    assert!(
        titles(&svg(&recording))
            .iter()
            .any(|title| title.starts_with("(unclaimed)"))
    );
}

#[test]
fn labels_may_contain_any_characters() {
    let names = [
        "<& \"'>",
        "a\u{0}b\u{1b}[31m\u{7f}\u{ffff}\n",
        "Kodierer ä 日本 🎬",
        "]]>",
        Label::new(&"x".repeat(500)).name(),
    ];
    let pool = pool(8, 1000);
    let frames = names.map(|name| pool.with_label(name).acquire().unwrap());
    sleep(SHORT);
    pool.with_label(names[1]).acquire_timeout(SHORT).unwrap();
    drop(frames);
    let recording = pool.recording().unwrap();
    let trace = Trace::of(&recording);
    for (slot, name) in names.iter().enumerate() {
        assert!(
            trace.all("X").contains(&(&format!("slot {slot}"), name)),
            "{name:?}"
        );
    }
    let titles = titles(&svg(&recording));
    let has = |start: &str| titles.iter().any(|title| title.starts_with(start));
    assert!(has("<& \"'>, ") && has("Kodierer ä 日本 🎬, ") && has("]]>, "));
    assert!(
        has("a\u{fffd}b\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}, "),
        "{titles:?}"
    );
}

#[test]
fn a_hold_from_before_the_recording_begins_with_it() {
    let pool = pool(4, 16);
    let held = pool.with_label("long ago").acquire().unwrap();
    for _ in 0..20 {
        drop(pool.with_label("since").acquire().unwrap());
    }
    drop(held);
    sleep(SHORT);
    let recording = pool.recording().unwrap();
    assert!(recording.lost > 0 && recording.events.len() == 16);
    let trace = Trace::of(&recording);
    let bar = trace
        .of_phase("X")
        .find(|bar| bar["name"] == "long ago")
        .unwrap();
    let first = recording.events[0].at.as_secs_f64() * 1e6;
    assert!((bar["ts"].as_f64().unwrap() - first).abs() < 0.01);
    let lost = format!("{} events lost", recording.lost);
    assert!(trace.all("i").contains(&("pool", lost.as_str())));
    assert!(svg(&recording).contains(&format!("16 events, {} lost", recording.lost)));
}

#[test]
fn an_empty_recording_gives_an_empty_picture_and_trace() {
    let mut recording = pool(4, 16).recording().unwrap();
    recording.events.clear();
    assert!(Trace::of(&recording).all("X").is_empty());
    assert_eq!(count(&svg(&recording), "bar"), 0);
}

#[test]
fn contradictory_events_cause_no_panic() {
    let mut recording = scene();
    recording.events.reverse();
    for event in &mut recording.events {
        event.slot = event.slot.map(|slot| usize::MAX - slot);
        event.wait = event.wait.map(|_| u64::MAX);
        event.at = Duration::MAX - event.at;
    }
    let mut endless = scene();
    endless.read_at = Duration::MAX;
    endless.events[0].at = Duration::ZERO;
    for (mut recording, lost) in [(recording.clone(), 0), (recording, u64::MAX), (endless, 7)] {
        (recording.lost, recording.frames) = (lost, 0);
        assert!(Trace::of(&recording).all("X").len() >= 2);
        assert!(count(&svg(&recording), "bar") <= recording.events.len());
    }
}

#[test]
fn errors_of_the_output_are_returned() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let recording = scene();
    let errors = [recording.write_svg(Full), recording.write_trace(Full)];
    for error in errors {
        assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }
}
