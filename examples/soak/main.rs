//! Soak test: a pipeline with random stages over one allocator, whose control thread flushes it,
//! changes its framing, mode and shares, decommits it, and kills processes that borrow frames. At
//! the end every frame, descriptor and thread is accounted for.
//!
//! ```text
//! cargo run --release --example soak -- --seconds 3600
//! ```
//!
//! The run is a sequence of epochs of about a second. Each has an allocator and threads of its own,
//! and draws its stages, modes and numbers of frames by chance, from a seed that is printed.
//! `stages.rs` has the threads, `peer.rs` the other process.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]
#![expect(clippy::disallowed_types, reason = "no model runs this program")]

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{
    AllocatorMode, FramePool, FramePoolBuilder, Framing, KsAllocator, PoolAllocator, Reframing,
    Share,
};

use random::Random;
use stages::Stage;

mod peer;
mod random;
mod stages;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

const HELP: &str = "\
Runs a pipeline with random stages and random changes, and accounts for all frames at the end.

Usage: cargo run --release --example soak -- [OPTIONS]

  --seconds N   time to run (default: 5)
  --seed N      begin of the sequence of random numbers (default: from the clock)
  --help        print this help
";

/// Labels of the stages. The first two have shares.
const LABELS: [&str; 4] = ["preview", "network", "encoder", "GetBuffer"];

/// Bytes that the frames of an epoch may take.
const MAX_BYTES: usize = 64 << 20;

const EPOCH: Duration = Duration::from_millis(900);

/// Bound for what must come to an end by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts of all threads.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) acquired: AtomicU64,
    pub(crate) released: AtomicU64,
    /// Frames whose bytes were not those of their holder.
    pub(crate) wrong: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    /// Calls that failed because of a flush or a decommit.
    pub(crate) refused: AtomicU64,
    pub(crate) levels: AtomicU64,
    reframings: AtomicU64,
    flushes: AtomicU64,
    commits: AtomicU64,
    kills: AtomicU64,
}

pub(crate) static COUNTS: Counts = Counts {
    acquired: AtomicU64::new(0),
    released: AtomicU64::new(0),
    wrong: AtomicU64::new(0),
    timeouts: AtomicU64::new(0),
    refused: AtomicU64::new(0),
    levels: AtomicU64::new(0),
    reframings: AtomicU64::new(0),
    flushes: AtomicU64::new(0),
    commits: AtomicU64::new(0),
    kills: AtomicU64::new(0),
};

impl Counts {
    pub(crate) fn add(counter: &AtomicU64, number: usize) {
        counter.fetch_add(number as u64, Ordering::Relaxed);
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [command, memory] = &arguments[..] {
        if command == peer::ARGUMENT {
            return peer::run(memory);
        }
    }
    match parse(&arguments) {
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some((seconds, seed))) => match run(Duration::from_secs(seconds), seed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("soak: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("soak: {error}; --help lists the options");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<Option<(u64, u64)>, BoxError> {
    let clock = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(1, |now| now.subsec_nanos());
    let (mut seconds, mut seed) = (5, u64::from(clock));
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64, BoxError> {
            let value = arguments.next().ok_or("an option lacks its number")?;
            Ok(value.parse()?)
        };
        match argument.as_str() {
            "--seconds" => seconds = number()?,
            "--seed" => seed = number()?,
            "--help" => return Ok(None),
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    Ok(Some((seconds, seed)))
}

fn run(duration: Duration, seed: u64) -> Result<(), BoxError> {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let end = Instant::now() + duration;
    // The first epoch makes what the process keeps: labels, thread-locals, arenas of the heap.
    let mut epochs = 0_u64;
    epoch(&mut random)?;
    let before = Resources::once_threads_are(1);
    let mut after = before;
    while epochs == 0 || Instant::now() < end {
        epoch(&mut random)?;
        epochs += 1;
        after = Resources::once_threads_are(before.threads);
        if epochs % 60 == 0 {
            println!("{epochs} epochs: {after:?}");
        }
    }
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{epochs} epochs, {} frames, {} time-outs, {} calls refused, {} commits, {} levels told",
        of(&COUNTS.acquired),
        of(&COUNTS.timeouts),
        of(&COUNTS.refused),
        of(&COUNTS.commits),
        of(&COUNTS.levels)
    );
    println!(
        "resident KiB: {} and then {}",
        before.resident_kib, after.resident_kib
    );
    println!(
        "soak: reframings={} flushes={} kills={} lost={} wrong={} descriptors={} threads={}",
        of(&COUNTS.reframings),
        of(&COUNTS.flushes),
        of(&COUNTS.kills),
        of(&COUNTS.acquired) - of(&COUNTS.released),
        of(&COUNTS.wrong),
        after.descriptors.abs_diff(before.descriptors),
        after.threads.abs_diff(before.threads)
    );
    Ok(())
}

/// Memory, descriptors and threads of the process; zeroes where they cannot be read.
#[derive(Clone, Copy, Debug)]
struct Resources {
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Resources {
    /// Waits a moment for the number of threads: one that was joined may still be ending.
    fn once_threads_are(threads: usize) -> Self {
        let start = Instant::now();
        loop {
            let now = Self::now();
            if now.threads == threads || start.elapsed() > Duration::from_secs(1) {
                return now;
            }
            thread::yield_now();
        }
    }

    fn now() -> Self {
        let entries = |path| fs::read_dir(path).map_or(0, Iterator::count);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Self {
            resident_kib: kib.unwrap_or(0),
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
        }
    }
}

fn builder(random: &mut Random) -> FramePoolBuilder {
    let frames = 4 + random.below(28);
    let mut builder = FramePool::builder()
        .frames(frames)
        .frame_size(1 + random.below(100_000))
        .prefix(random.below(64))
        .alignment(1 << random.below(8))
        .max_bytes(MAX_BYTES)
        .name("soak");
    if random.one_in(2) {
        builder = builder.mode(AllocatorMode::Kernel);
    }
    if random.one_in(2) {
        let (preview, network) = (Share::new(LABELS[0]), Share::new(LABELS[1]));
        builder = builder.share(preview.reserve(1)).share(network.limit(3));
    }
    if random.one_in(3) {
        builder = builder.record(1000);
    }
    if random.one_in(3) {
        let low = random.below(2);
        builder = builder.on_low(low, low + 2, |_| Counts::add(&COUNTS.levels, 1));
    }
    builder
}

/// Runs an allocator from its first commit to the end of its memory.
fn epoch(random: &mut Random) -> Result<(), BoxError> {
    let builder = builder(random);
    let allocator = PoolAllocator::from_builder(&builder)?;
    allocator.commit()?;
    let stop = AtomicBool::new(false);
    let stages: Vec<Stage> = (0..2 + random.below(5))
        .map(|_| Stage::draw(random))
        .collect();
    let controlled = thread::scope(|scope| {
        for stage in stages {
            let (allocator, stop) = (&allocator, &stop);
            scope.spawn(move || stage.run(allocator, stop));
        }
        let controlled = control(&allocator, random);
        stop.store(true, Ordering::Relaxed);
        // Ends the waits of stages.
        allocator.decommit();
        allocator.end_flush();
        controlled
    });
    controlled?;
    if let Some(pool) = allocator.pool() {
        pool.wait_idle(PATIENCE)?;
        if let Some(share) = pool.shares().iter().find(|share| share.held > 0) {
            return Err(format!("a share still has frames: {share}").into());
        }
    }
    drop(allocator);
    let in_use = PoolAllocator::from_builder(&builder)?.bytes_in_use();
    if in_use != Some(0) {
        return Err(format!("{in_use:?} bytes are still in use").into());
    }
    Ok(())
}

/// Changes the allocator at random.
fn control(allocator: &PoolAllocator, random: &mut Random) -> Result<(), BoxError> {
    let end = Instant::now() + EPOCH;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(random.below(8) as u64));
        let Some(pool) = allocator.pool() else {
            // It fails while frames of an earlier generation take too much memory.
            drop(allocator.commit());
            continue;
        };
        match random.below(12) {
            0 => {
                allocator.begin_flush();
                thread::sleep(Duration::from_millis(1));
                allocator.end_flush();
                Counts::add(&COUNTS.flushes, 1);
            }
            1 => {
                allocator.decommit();
                thread::sleep(Duration::from_millis(1));
                drop(allocator.commit());
                Counts::add(&COUNTS.commits, 1);
            }
            2..=4 => {
                let framing = Framing {
                    frames: 4 + random.below(28),
                    frame_size: 1 + random.below(100_000),
                    ..allocator.framing()
                };
                let mut reframing = Reframing::new(framing);
                if random.one_in(3) {
                    reframing = reframing.drain(Duration::from_millis(3));
                }
                // It fails if frames are kept, the memory is too much, or reserves do not fit.
                if allocator.reframe(reframing).is_ok() {
                    Counts::add(&COUNTS.reframings, 1);
                }
            }
            5 => drop(pool.holders().to_string()),
            6 => drop(pool.stats().to_string()),
            7 => drop(pool.recording()),
            8 => {
                let network = Share::new(LABELS[1]).limit(1 + random.below(5));
                let preview = Share::new(LABELS[0]).reserve(random.below(3));
                for share in [network, preview] {
                    let _refused_without_shares = pool.set_share(share);
                }
            }
            9 if random.one_in(4) => {
                let borrowed = peer::lend_and_kill(&pool, random)?;
                Counts::add(&COUNTS.kills, usize::from(borrowed));
            }
            _ => drop(pool.shares()),
        }
    }
    Ok(())
}
