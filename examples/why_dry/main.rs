//! A pipeline runs out of frames, and the pool says why.
//!
//! ```text
//! cargo run --release --example why_dry
//! ```
//!
//! Three stages share eight frames: capture, encoder and writer. After a while the encoder gets slower and
//! slower, until the capture finds no frame in time. The error names the stage that has them all; a trace and a
//! picture show how it came to that.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, sleep};
use std::time::Duration;

use ks_allocator::{AcquireError, Frame, FramePool, Holders, Label};

/// A camera does not wait for longer.
const DEADLINE: Duration = Duration::from_millis(250);

fn main() -> Result<(), Box<dyn Error>> {
    let pool = FramePool::builder()
        .frames(8)
        .frame_size(1920 * 1080 * 3 / 2)
        .record(10_000) // the last 10,000 events are kept, for the trace and the picture
        .build()?;
    let (to_encoder, from_capture) = channel();
    let (to_writer, from_encoder) = channel();
    // The two end with the program: they are not waited for.
    thread::Builder::new()
        .name("encoder".to_owned())
        .spawn(|| encode(from_capture, to_writer))?;
    thread::Builder::new()
        .name("writer".to_owned())
        .spawn(|| write(from_encoder))?;

    let error = capture(&pool, &to_encoder);
    println!("{error}\n");
    let AcquireError::TimedOut(starvation) = &error else {
        return Err(error.into());
    };
    let holders = starvation.holders().ok_or("a time-out has a report")?;
    println!("{holders}\n\n{}\n", pool.stats());

    let (trace, picture) = ("target/why_dry.json", "target/why_dry.svg");
    fs::create_dir_all(Path::new("target"))?;
    let recording = pool.recording().ok_or("the recorder is on")?;
    recording.write_trace(File::create(trace)?)?;
    recording.write_svg(File::create(picture)?)?;
    println!("{trace} opens in https://ui.perfetto.dev, {picture} in a browser.");

    let (culprit, held) = who_has_most(holders).ok_or("somebody has a frame")?;
    let frames = holders.frames;
    println!("why_dry: culprit={culprit} held={held} of {frames} trace={trace} picture={picture}");
    Ok(())
}

/// Fills a frame every 5 ms, and hands it on, until there is none in time.
fn capture(pool: &FramePool, to_encoder: &Sender<Frame>) -> AcquireError {
    // Reports call those who ask through this handle "capture".
    let pool = pool.with_label("capture");
    let encoder = Label::new("encoder");
    loop {
        let mut frame = match pool.acquire_timeout(DEADLINE) {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        frame[..64].fill(128);
        sleep(Duration::from_millis(5));
        // From here on it is the encoder's, also while it lies in the encoder's queue.
        frame.set_label(encoder);
        if to_encoder.send(frame).is_err() {
            return AcquireError::NotCommitted;
        }
    }
}

/// Is quick for the first hundred frames. Each of the others takes it 40 ms longer than the one before.
fn encode(from_capture: Receiver<Frame>, to_writer: Sender<Frame>) {
    let writer = Label::new("writer");
    for (number, frame) in (0..).zip(from_capture) {
        let late = Duration::from_millis(40) * u32::saturating_sub(number, 100);
        sleep(Duration::from_millis(4) + late);
        frame.set_label(writer);
        if to_writer.send(frame).is_err() {
            return;
        }
    }
}

/// Keeps the last frame, to write it again if no other comes.
fn write(from_encoder: Receiver<Frame>) {
    let mut last = None;
    for frame in from_encoder {
        sleep(Duration::from_millis(2));
        last.replace(frame);
    }
}

/// The label under which most frames are out, and how many.
fn who_has_most(holders: &Holders) -> Option<(Label, usize)> {
    let mut counts = HashMap::new();
    for label in holders.entries.iter().filter_map(|holder| holder.label) {
        *counts.entry(label).or_insert(0) += 1;
    }
    counts.into_iter().max_by_key(|&(_, count)| count)
}
