//! Pipeline that runs out of frames, and the pool's diagnosis.
//!
//! ```text
//! cargo run --release --example why_dry
//! ```
//!
//! Three stages share 8 frames: capture, encoder and writer. After 100 frames the encoder becomes
//! slower and slower, until an acquire of the capture stage times out. The error names the stage
//! that holds the frames. A trace and a picture show how the pool ran dry, and a forecast says
//! whether more frames would have helped.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, sleep};
use std::time::Duration;

use ks_allocator::{AcquireError, Frame, FramePool, Holders, Label};

/// Maximum time that the capture stage waits for a frame.
const TIMEOUT: Duration = Duration::from_millis(250);

fn main() -> Result<(), Box<dyn Error>> {
    let pool = FramePool::builder()
        .frames(8)
        .frame_size(1920 * 1080 * 3 / 2)
        .record(10_000) // keep the last 10,000 events, for the trace and the picture
        .build()?;
    let (to_encoder, from_capture) = channel();
    let (to_writer, from_encoder) = channel();
    // The program does not join these threads; they end with it.
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
    let holders = starvation
        .holders()
        .ok_or("a timed-out acquire has a report")?;
    println!("{holders}\n\n{}\n", pool.stats());

    let (trace, picture) = ("target/why_dry.json", "target/why_dry.svg");
    fs::create_dir_all(Path::new("target"))?;
    let recording = pool.recording().ok_or("`record` turns the recorder on")?;
    recording.write_trace(File::create(trace)?)?;
    recording.write_svg(File::create(picture)?)?;
    for usage in recording.usage() {
        println!("{usage}");
    }
    println!("{:#}\n", recording.sizing());
    println!("Open {trace} in https://ui.perfetto.dev and {picture} in a browser.");

    let (culprit, held) = largest_holder(holders).ok_or("every frame has a label")?;
    let frames = holders.frames;
    println!("why_dry: culprit={culprit} held={held} of {frames} trace={trace} picture={picture}");
    Ok(())
}

/// Fills a frame every 5 ms and passes it to the encoder, until an acquire fails.
fn capture(pool: &FramePool, to_encoder: &Sender<Frame>) -> AcquireError {
    // Reports show frames acquired through this handle under the label "capture".
    let pool = pool.with_label("capture");
    let encoder = Label::new("encoder");
    loop {
        let mut frame = match pool.acquire_timeout(TIMEOUT) {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        frame[..64].fill(128);
        sleep(Duration::from_millis(5));
        // The encoder is the holder from here on, even while the frame is in its queue.
        frame.set_label(encoder);
        if to_encoder.send(frame).is_err() {
            return AcquireError::NotCommitted;
        }
    }
}

/// Encodes the first 100 frames in 4 ms each, and every later frame 40 ms slower than the last.
fn encode(from_capture: Receiver<Frame>, to_writer: Sender<Frame>) {
    let writer = Label::new("writer");
    for (number, frame) in (0..).zip(from_capture) {
        let delay = Duration::from_millis(40) * u32::saturating_sub(number, 100);
        sleep(Duration::from_millis(4) + delay);
        frame.set_label(writer);
        if to_writer.send(frame).is_err() {
            return;
        }
    }
}

/// Writes each frame, and holds the last one until the next arrives.
fn write(from_encoder: Receiver<Frame>) {
    let mut last = None;
    for frame in from_encoder {
        sleep(Duration::from_millis(2));
        last.replace(frame);
    }
}

/// Returns the label that holds the most frames, and their number.
fn largest_holder(holders: &Holders) -> Option<(Label, usize)> {
    let mut counts = HashMap::new();
    for label in holders.entries.iter().filter_map(|holder| holder.label) {
        *counts.entry(label).or_insert(0) += 1;
    }
    counts.into_iter().max_by_key(|&(_, count)| count)
}
