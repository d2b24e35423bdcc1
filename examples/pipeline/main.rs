//! A media pipeline over one pool of frames: a source, a filter and a sink, one thread each.
//!
//! ```text
//! cargo run --release --example pipeline
//! cargo run --release --example pipeline -- --input tests/data/big-buck-bunny.y4m
//! cargo run --release --example pipeline -- --mode kernel
//! cargo run --release --example pipeline -- --heap
//! ```
//!
//! Begin with `stages.rs`: frames are acquired, filled, passed on, shared and dropped there. The
//! other files provide pictures (`footage.rs`, `y4m.rs`), process them (`picture.rs`), connect the
//! stages (`queue.rs`), measure them (`measure.rs`), and do the same job without a pool
//! (`heap.rs`).
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

use std::env;
use std::error::Error;
use std::process::ExitCode;

use ks_allocator::FramePool;

use footage::Footage;
use options::{HELP, Memory, Options};

mod footage;
mod heap;
#[expect(unsafe_code, reason = "implements a global allocator")]
mod measure;
mod options;
mod picture;
mod queue;
mod stages;
mod y4m;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let args = env::args_os().skip(1);
    let args = args.map(|arg| arg.to_string_lossy().into_owned());
    let options = match Options::parse(args) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("pipeline: {error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), BoxError> {
    let footage = match &options.input {
        Some(path) => Footage::open(path)?,
        None => Footage::pattern(options.size),
    };
    let frames = options.frames.unwrap_or(u64::MAX).min(footage.frames());

    let (outcome, lost) = match options.memory {
        Memory::Heap => (heap::run(footage, frames, options.pool)?, 0),
        Memory::Pool(mode) => {
            let pool = FramePool::builder()
                .frames(options.pool)
                .frame_size(footage.size().frame())
                .alignment(64)
                .mode(mode)
                .build()?;
            println!("{}\n", pool.commit_report());
            let outcome = stages::run(&pool, footage, frames)?;
            println!("{}\n{}\n", pool.stats(), pool.holders());
            (outcome, pool.frames() - pool.free_frames())
        }
    };

    println!("{outcome}");
    println!(
        "pipeline: mode={} frames={} fps={:.1} heap_allocations={} page_faults={} lost={lost} \
         worst_acquire_ns={} checksum={:016x}",
        options.memory,
        outcome.tally.frames,
        outcome.frames_per_second(),
        outcome.cost.heap_allocations,
        outcome.cost.page_faults(),
        outcome.longest_acquire.as_nanos(),
        outcome.tally.checksum.value(),
    );
    Ok(())
}
