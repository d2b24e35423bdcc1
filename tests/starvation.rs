//! Pools starved in known ways: errors and reports contain the right line, label and number.
#![cfg(not(any(loom, miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{AcquireError, Frame, FramePool, HolderState, Holders, Label};

use support::poll_once::poll_once;
use support::pool::pool;

mod support {
    pub(crate) mod poll_once;
    pub(crate) mod pool;
}

const TIMEOUT: Duration = Duration::from_millis(30);

/// Acquires from an exhausted pool until it times out. Returns the error's text and report.
fn starve(pool: &FramePool) -> (String, Holders) {
    starve_for(pool, TIMEOUT)
}

fn starve_for(pool: &FramePool, timeout: Duration) -> (String, Holders) {
    let error = pool.acquire_timeout(timeout).unwrap_err();
    let text = error.to_string();
    let AcquireError::TimedOut(starvation) = error else {
        panic!("{text}");
    };
    let holders = starvation.holders().unwrap().clone();
    assert_eq!((holders.free, holders.entries.len()), (0, pool.frames()));
    (text, holders)
}

/// Asserts that `text` is a time-out error with this summary.
#[track_caller]
fn assert_timed_out(text: &str, summary: &str) {
    let begin = format!("timed out while waiting for a frame: {summary}");
    assert!(
        text.starts_with(&begin),
        "{text}\nshould begin with {begin}"
    );
}

/// Returns label, line and state of each holder, by slot.
fn by_slot(holders: &Holders) -> Vec<(Option<&'static str>, Option<u32>, HolderState)> {
    let mut sorted = holders.entries.clone();
    sorted.sort_by_key(|holder| holder.slot);
    let summary = |holder: &ks_allocator::Holder| {
        let location = holder.location;
        assert!(location.is_none_or(|location| location.file == file!()));
        let label = holder.label.map(Label::name);
        (label, location.map(|location| location.line), holder.state)
    };
    sorted.iter().map(summary).collect()
}

#[test]
fn frames_queued_at_a_slow_sink_are_held_by_the_sink() {
    let pool = pool(4, 64);
    let (to_sink, queue): (Sender<Frame>, Receiver<Frame>) = channel();
    let (resume, paused) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for frame in queue {
                let _disconnected = paused.recv();
                drop(frame);
            }
        });
        let source = pool.with_label("source");
        let mut line = 0;
        for number in 0..4 {
            let frame = source.acquire().unwrap();
            if number < 3 {
                line = line!() + 1;
                frame.set_label("sink");
                to_sink.send(frame).unwrap();
            } else {
                let (text, holders) = starve(&pool);
                let file = file!();
                let summary = format!(
                    "4 of 4 frames are out: 3 held by `sink` ({file}:{line}) for at least "
                );
                assert_timed_out(&text, &summary);
                assert!(text.contains(", 1 held by `source` ("), "{text}");
                assert_eq!(holders.older_than(TIMEOUT).count(), 4);
                assert_eq!(holders.older_than(TIMEOUT * 1000).count(), 0);
            }
        }
        drop((to_sink, resume));
    });
    assert_eq!(pool.free_frames(), 4);
}

#[test]
#[expect(clippy::mem_forget, reason = "the test is about a forgotten frame")]
fn a_forgotten_frame_is_reported_with_the_line_of_its_acquire() {
    let pool = pool(2, 64);
    let line = line!() + 1;
    std::mem::forget(pool.with_label("leaky").acquire().unwrap());
    thread::sleep(Duration::from_millis(1));
    let _other = pool.acquire().unwrap();
    let (text, holders) = starve(&pool);
    assert_eq!(
        by_slot(&holders),
        [
            (Some("leaky"), Some(line), HolderState::Unique),
            (None, Some(line + 2), HolderState::Unique)
        ]
    );
    assert!(
        text.contains(&format!(
            "1 held by `leaky` ({}:{line}) for at least",
            file!()
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!("1 held by {}:{} for at least", file!(), line + 2)),
        "{text}"
    );
}

#[test]
fn the_holder_of_a_frame_that_was_assigned_to_a_future_is_the_future() {
    let pool = pool(1, 64);
    let first = pool.with_label("first").acquire().unwrap();
    let waiting = pool.with_label("waiting");
    let line = line!() + 1;
    let mut future = pin!(waiting.acquire_async());
    assert!(poll_once(future.as_mut(), Waker::noop()).is_pending());
    drop(first);
    // The future is not polled.
    let (text, holders) = starve(&pool);
    assert_timed_out(&text, "1 of 1 frame is out: 1 held by `waiting` (");
    let expected = [(Some("waiting"), Some(line), HolderState::Unique)];
    assert_eq!(by_slot(&holders), expected);
    let Poll::Ready(Ok(frame)) = poll_once(future, Waker::noop()) else {
        panic!("the frame was assigned to the future");
    };
    assert_eq!(by_slot(&pool.holders()), expected);
    assert_eq!(pool.stats().acquires, 2);
    drop(frame);
    assert_eq!(pool.holders().entries.len(), 0);
}

#[test]
fn the_holder_of_a_frame_that_was_assigned_to_a_dropped_future_is_the_next_holder() {
    let pool = pool(1, 64);
    let first = pool.acquire().unwrap();
    let mut dropped = Box::pin(pool.acquire_async());
    assert!(poll_once(dropped.as_mut(), Waker::noop()).is_pending());
    let next = pool.with_label("next");
    let mut next = pin!(next.acquire_async());
    assert!(poll_once(next.as_mut(), Waker::noop()).is_pending());
    drop(first);
    drop(dropped);
    assert_eq!(by_slot(&pool.holders())[0].0, Some("next"));
    assert!(poll_once(next, Waker::noop()).is_ready());
    assert_eq!((pool.free_frames(), pool.holders().entries.len()), (1, 0));
}

#[test]
fn the_holder_of_frames_in_a_batch_is_the_batch() {
    let pool = pool(5, 64);
    let line = line!() + 1;
    let mut batch = pool.with_label("packets").acquire_many(5).unwrap();
    let taken = [batch.next().unwrap(), batch.next().unwrap()];
    let (text, holders) = starve(&pool);
    assert_timed_out(&text, "5 of 5 frames are out: 5 held by `packets` (");
    let expected = (Some("packets"), Some(line), HolderState::Unique);
    assert_eq!(by_slot(&holders), [expected; 5]);
    assert_eq!(pool.stats().acquires, 5);
    drop((taken, batch));
    assert_eq!(pool.free_frames(), 5);
}

#[test]
fn a_waiting_thread_reports_a_deadlock_of_stages_through_the_hook() {
    let (report, reports) = channel();
    let pool = FramePool::builder()
        .frames(3)
        .frame_size(64)
        .on_starved(TIMEOUT / 2, move |holders| {
            report.send(holders.clone()).unwrap()
        })
        .build()
        .unwrap();
    // Each stage keeps its frame until it has the next one, with one frame too few for all.
    let stages = ["one", "two", "three"];
    let line = line!() + 1;
    let kept = stages.map(|stage| pool.with_label(stage).acquire().unwrap());
    let (text, holders) = starve_for(&pool.with_label("four"), TIMEOUT * 20);
    let expected = stages.map(|stage| (Some(stage), Some(line), HolderState::Unique));
    assert_eq!(by_slot(&holders), expected);
    for stage in stages {
        let part = format!("1 held by `{stage}` ({}:{line})", file!());
        assert!(text.contains(&part), "{text}");
    }

    let during = reports.try_recv().unwrap();
    assert_eq!((during.waiting, during.free), (1, 0));
    assert!(during.longest_waiting.unwrap() >= TIMEOUT / 2);
    assert!(format!("{during:#}").contains("; 1 caller has been waiting for "));
    assert!(reports.try_recv().is_err(), "one report per wait");
    let stats = pool.stats();
    assert_eq!((stats.waits, stats.timeouts, stats.high_water), (1, 1, 3));
    assert!(stats.longest_wait >= TIMEOUT);
    drop(kept);
}

/// The report of a caller with a deadline: no more than 256 slots, and no file access for names.
#[test]
fn the_error_of_a_large_pool_is_about_a_sample_of_its_frames() {
    const FRAMES: usize = 5000;
    let pool = pool(FRAMES, 64);
    let encoder = pool.with_label("encoder");
    let mut held: Vec<_> = (0..FRAMES).map(|_| encoder.acquire().unwrap()).collect();
    let error = pool.acquire_timeout(TIMEOUT).unwrap_err();
    let text = error.to_string();
    assert_timed_out(
        &text,
        "5000 of 5000 frames are out; of 256 of these: 256 held by `encoder` (",
    );
    assert!(text.contains("for at least"), "{text}");
    let AcquireError::TimedOut(starvation) = error else {
        panic!("{text}");
    };
    let report = starvation.holders().unwrap();
    assert_eq!((report.free, report.entries.len()), (0, 256));
    assert_eq!(report.omitted, FRAMES - 256);
    // An age counts from the visit at the start of the wait, which reaches some frames late.
    assert_eq!(report.older_than(TIMEOUT / 2).count(), 256);
    assert!(
        report
            .entries
            .iter()
            .all(|entry| entry.thread_name.is_none())
    );
    let mut slots: Vec<_> = report.entries.iter().map(|entry| entry.slot).collect();
    slots.sort_unstable();
    let gap = slots.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gap.clone().min() >= Some(19) && gap.max() <= Some(20));

    held.truncate(FRAMES / 2);
    let sample = pool.explain(AcquireError::TimedOut(starvation.clone()));
    let AcquireError::TimedOut(sample) = sample else {
        panic!("{sample}");
    };
    let sample = sample.holders().unwrap();
    assert!(sample.entries.len() < 256);
    let all = pool.holders();
    for report in [sample, &all] {
        let out = report.entries.len() + report.omitted;
        assert_eq!((report.free, out), (FRAMES / 2, FRAMES / 2));
    }
    assert_eq!(all.omitted, 0);
    let has_names = cfg!(target_os = "linux");
    assert_eq!(all.entries[0].thread_name.is_some(), has_names);
}

#[test]
fn shared_frames_are_reported_with_their_handles() {
    let pool = pool(1, 64);
    let shared = pool.with_label("preview").acquire().unwrap().share();
    let _handles = [shared.clone(), shared.clone()];
    let line = line!() + 1;
    shared.set_label("network");
    let (text, holders) = starve(&pool);
    let state = HolderState::Shared { handles: 3 };
    assert_eq!(by_slot(&holders), [(Some("network"), Some(line), state)]);
    assert!(text.contains("1 held by `network`"), "{text}");
    assert!(holders.to_string().contains("shared by 3 handles"));
}

#[cfg(any(target_os = "linux", windows))]
#[test]
fn lent_frames_are_reported_as_lent() {
    let builder = FramePool::builder().frames(3).frame_size(64);
    let builder = builder.mode(ks_allocator::AllocatorMode::Kernel);
    let pool = builder.build().unwrap();
    let line = line!() + 1;
    let [one, two] = [(); 2].map(|()| pool.with_label("player").acquire().unwrap().lend().unwrap());
    let _here = pool.with_label("here").acquire().unwrap();
    let (text, holders) = starve(&pool);
    let lent = (Some("player"), Some(line), HolderState::Lent);
    assert_eq!(by_slot(&holders)[..2], [lent, lent]);
    let file = file!();
    let summary =
        format!("3 of 3 frames are out: 2 lent to another process by `player` ({file}:{line})");
    assert_timed_out(&text, &summary);
    let back = line!() + 1;
    let redeemed = pool.redeem(one).unwrap();
    assert_eq!(by_slot(&pool.holders())[redeemed.slot()].1, Some(back));
    drop((redeemed, pool.revoke(two).unwrap()));
}

/// While 4 threads use the pool, every report shows only locations and labels that exist, and never
/// more frames than the pool has.
#[test]
fn reports_under_load_contain_only_true_values() {
    const FRAMES: usize = 6;
    let builder = FramePool::builder().frames(FRAMES).frame_size(64);
    let pool = builder.record(500).build().unwrap();
    let labels = ["load a", "load b", "load c", "load d"];
    let until = Instant::now() + Duration::from_millis(400);
    let first_line = line!();
    let hammer = |number: usize| {
        let labels = [labels[number], labels[(number + 1) % 4]].map(Label::new);
        let mine = pool.with_label(labels[0]);
        let mut rounds: u64 = 0;
        while Instant::now() < until {
            let Ok(frame) = mine.try_acquire() else {
                continue;
            };
            let other = mine.acquire_timeout(Duration::from_micros(50));
            frame.set_label(labels[1]);
            let shared = frame.share();
            let again = shared.clone();
            again.set_label(labels[0]);
            drop((shared, other, again));
            rounds += 1;
        }
        rounds
    };
    let last_line = line!();
    let is_known = |label: Option<Label>| label.is_none_or(|label| labels.contains(&label.name()));
    let look = || {
        let report = pool.holders();
        assert!(report.entries.len() <= FRAMES && report.waiting <= 4);
        assert_eq!(report.free + report.entries.len(), FRAMES);
        let mut slots: Vec<_> = report.entries.iter().map(|holder| holder.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), report.entries.len(), "each frame once");
        for holder in &report.entries {
            assert!(holder.slot < FRAMES && is_known(holder.label), "{holder:?}");
            if let Some(location) = holder.location {
                assert_eq!(location.file, file!());
                let lines = first_line..last_line;
                assert!(lines.contains(&location.line), "{location}");
            }
            if let HolderState::Shared { handles } = holder.state {
                assert!(handles <= 2, "{holder:?}");
            }
        }
        assert!(report.to_string().lines().count() <= 2 + FRAMES);

        let stats = pool.stats();
        assert!(stats.free <= FRAMES && stats.high_water <= FRAMES);
        assert!(stats.shared <= stats.acquires && stats.timeouts <= stats.waits);

        let recording = pool.recording().unwrap();
        assert!(recording.events.len() <= 500);
        for event in &recording.events {
            assert!(is_known(event.label), "{event:?}");
            assert!(event.slot.is_none_or(|slot| slot < FRAMES), "{event:?}");
            assert!(event.at <= recording.read_at + Duration::from_secs(60));
        }
        recording
    };
    thread::scope(|scope| {
        let threads = [0, 1, 2, 3].map(|number| scope.spawn(move || hammer(number)));
        let mut looks: u64 = 0;
        while Instant::now() < until {
            let recording = look();
            #[cfg(feature = "recording-export")]
            if looks % 32 == 0 {
                recording.write_trace(std::io::sink()).unwrap();
                recording.write_svg(std::io::sink()).unwrap();
            }
            drop(recording);
            looks += 1;
        }
        let rounds = threads.map(|thread| thread.join().unwrap());
        assert!(
            looks > 0 && rounds.iter().all(|&rounds| rounds > 0),
            "{looks} {rounds:?}"
        );
    });
    look();
    let stats = pool.stats();
    assert_eq!((stats.free, stats.waiting), (FRAMES, 0));
}
