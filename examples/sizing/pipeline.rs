//! Pipeline of two sources and two sinks that share a pool. Its stages sleep for known times.
//!
//! ```text
//! camera (every 10 ms, fills in 2 ms) -> encoder (one frame at a time, 6 ms; each 12th: 32 ms)
//! reader (5 to 11 ms per frame)       -> preview (keeps the last 2 frames)
//! ```

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use ks_allocator::{AcquireError, BuildError, Frame, FramePool, Label};

/// Number of frames that the camera makes. The reader makes as many.
const FRAMES: u32 = 120;

/// Number of frames that the preview keeps.
const KEEPS: usize = 2;

const PERIOD: Duration = Duration::from_millis(10);

/// Runs the pipeline with a pool of `frames` frames, and returns the pool.
pub(crate) fn run(frames: usize) -> Result<FramePool, BuildError> {
    let pool = FramePool::builder()
        .frames(frames)
        .frame_size(64 * 1024)
        .record(10_000)
        .build()?;
    let (to_encoder, from_camera) = channel();
    let (to_preview, from_reader) = channel();
    scope(|scope| {
        scope.spawn(|| encode(from_camera));
        scope.spawn(|| show(from_reader));
        scope.spawn(|| capture(&pool.with_label("camera"), to_encoder));
        scope.spawn(|| read(&pool.with_label("reader"), to_preview));
    });
    Ok(pool)
}

/// Fills a frame at each tick of a clock. After a wait it catches up.
fn capture(pool: &FramePool, to_encoder: Sender<Frame>) -> Result<(), AcquireError> {
    let encoder = Label::new("encoder");
    let start = Instant::now();
    for tick in 0..FRAMES {
        let due = start + tick * PERIOD;
        sleep(due.saturating_duration_since(Instant::now()));
        let frame = pool.acquire()?;
        sleep(Duration::from_millis(2));
        pass_on(frame, encoder, &to_encoder);
    }
    Ok(())
}

/// Reads one frame after the other, as fast as it can.
fn read(pool: &FramePool, to_preview: Sender<Frame>) -> Result<(), AcquireError> {
    let preview = Label::new("preview");
    for number in 0..FRAMES {
        let frame = pool.acquire()?;
        sleep(Duration::from_micros(
            5_000 + u64::from(number * 7_919 % 6_000),
        ));
        pass_on(frame, preview, &to_preview);
    }
    Ok(())
}

fn pass_on(frame: Frame, label: Label, to: &Sender<Frame>) {
    frame.set_label(label);
    // The receiver ends only after the sender.
    let _sent = to.send(frame);
}

/// Encodes one frame after the other.
fn encode(from_camera: Receiver<Frame>) {
    for (number, frame) in (0..).zip(from_camera) {
        let is_slow = number % 12 == 7;
        sleep(Duration::from_millis(if is_slow { 32 } else { 6 }));
        drop(frame);
    }
}

/// Keeps the last frames.
fn show(from_reader: Receiver<Frame>) {
    let mut kept = VecDeque::new();
    for frame in from_reader {
        kept.push_back(frame);
        if kept.len() > KEEPS {
            kept.pop_front();
        }
    }
}
