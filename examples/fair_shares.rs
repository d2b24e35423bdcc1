//! One pool for a preview, an encoder and a slow network sink, with and without shares.
//!
//! ```text
//! cargo run --release --example fair_shares
//! ```
//!
//! Each of the three gets its own copy of every picture of a camera, in a frame that it acquires
//! under its label. If it gets none before the next picture is due, it misses the picture.
//!
//! - The preview keeps the picture that it shows until the next one is there.
//! - The encoder keeps the last two pictures, for reference.
//! - The network sends one picture at a time, more slowly than they come, and queues the others.
//!
//! Without shares the queue of the network fills with all frames that there are, and all three miss
//! pictures. With a limit for the network and a reserve for the others, only the network does.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::collections::VecDeque;
use std::error::Error;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{Frame, FramePool, FramePoolBuilder, Level, Share};

const FRAMES: usize = 12;
const PICTURES: u32 = 150;
/// Time from one picture to the next.
const PERIOD: Duration = Duration::from_millis(4);
/// Time in which the network sends a picture.
const SENDING: Duration = Duration::from_millis(24);

/// Pictures that a branch of the pipeline missed, and its waits.
#[derive(Clone, Copy, Debug, Default)]
struct Branch {
    missed: u32,
    waited: Duration,
    longest_wait: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let builder = FramePool::builder().frames(FRAMES).frame_size(320 * 240);
    println!("{PICTURES} pictures for each branch, {FRAMES} frames, no shares:");
    let without = run(&builder.clone().build()?)?;

    let pool = with_shares(builder).build()?;
    println!("\nthe same with shares:");
    let with = run(&pool)?;
    for usage in pool.shares() {
        println!("  {usage}; at most {} at a time", usage.most_held);
    }
    let missed = |branches: [Branch; 3]| branches.map(|branch| branch.missed);
    let ([preview, encoder, _], [fair_preview, fair_encoder, _]) = (missed(without), missed(with));
    println!(
        "fair_shares: without preview={preview} encoder={encoder} \
         with preview={fair_preview} encoder={fair_encoder}"
    );
    Ok(())
}

/// Gives the preview and the encoder what they hold, and leaves half of the frames for the network.
/// One frame remains for callers without a label.
fn with_shares(builder: FramePoolBuilder) -> FramePoolBuilder {
    builder
        .share(Share::new("preview").reserve(2))
        .share(Share::new("encoder").reserve(3))
        .share(Share::new("network").limit(6))
        .on_low(1, 4, |level| match level {
            Level::Low { free } => println!("  low: {free} frames are free"),
            Level::Recovered { free } => println!("  {free} frames are free again"),
            _ => {}
        })
}

/// Runs all branches to their end, and prints what they have seen.
fn run(pool: &FramePool) -> Result<[Branch; 3], Box<dyn Error>> {
    let branches = thread::scope(|scope| {
        let preview = scope.spawn(|| keep_last(&pool.with_label("preview"), 1));
        let encoder = scope.spawn(|| keep_last(&pool.with_label("encoder"), 2));
        let network = scope.spawn(|| send(&pool.with_label("network")));
        [preview, encoder, network].map(|branch| branch.join())
    });
    let [preview, encoder, network] = branches;
    let panicked = |_| "a branch panicked";
    let branches = [
        preview.map_err(panicked)?,
        encoder.map_err(panicked)?,
        network.map_err(panicked)?,
    ];
    for (name, branch) in ["preview", "encoder", "network"].into_iter().zip(branches) {
        println!(
            "  {name}: missed {}, waited {:.1?}, at most {:.1?} for a picture",
            branch.missed, branch.waited, branch.longest_wait
        );
    }
    Ok(branches)
}

/// Copies each picture into a frame, and passes it to `use_frame`.
fn take_pictures(pool: &FramePool, mut use_frame: impl FnMut(Frame)) -> Branch {
    let mut branch = Branch::default();
    let mut due = Instant::now();
    for picture in 0..PICTURES {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A thread that was late does not make up for it.
        due = Instant::now() + PERIOD;
        let start = Instant::now();
        let acquired = pool.acquire_timeout(PERIOD);
        let waited = start.elapsed();
        branch.waited += waited;
        branch.longest_wait = branch.longest_wait.max(waited);
        match acquired {
            Ok(mut frame) => {
                frame.fill(picture.to_le_bytes()[0]);
                use_frame(frame);
            }
            Err(_) => branch.missed += 1,
        }
    }
    branch
}

/// Keeps the last `count` pictures until the next one is there.
fn keep_last(pool: &FramePool, count: usize) -> Branch {
    let mut kept = VecDeque::new();
    take_pictures(pool, |frame| {
        kept.push_back(frame);
        if kept.len() > count {
            kept.pop_front();
        }
    })
}

/// Queues the pictures for a thread that sends one after the other.
fn send(pool: &FramePool) -> Branch {
    thread::scope(|scope| {
        let (sender, receiver) = channel::<Frame>();
        scope.spawn(move || {
            for frame in receiver {
                thread::sleep(SENDING);
                drop(frame);
            }
        });
        take_pictures(pool, |frame| {
            // The other end lives as long as this one.
            drop(sender.send(frame));
        })
        // The sender ends with the closure, and with it the thread.
    })
}
