//! A media pipeline of three threads over one pool of frames, and what it costs.
//!
//! ```text
//! cargo run --release --example pipeline
//! cargo run --release --example pipeline -- --input tests/data/big-buck-bunny.y4m
//! cargo run --release --example pipeline -- --mode kernel
//! cargo run --release --example pipeline -- --heap
//! ```
//!
//! The source draws a test pattern, or reads a file, into frames of the pool; the filter raises
//! their contrast in place; the sink takes a checksum and drops them. Begin with `stages.rs`: this
//! is where frames are acquired, handed on, shared and dropped. The rest is there to feed it and to
//! measure it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to its user"
)]

use std::env;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use ks_allocator::{BuildError, FramePool};

use args::{Command, Input, Memory, Options};
use checksum::Checksum;
use footage::Footage;
use report::Report;
use stages::{BoxError, Plan, Work};
use supply::Supply;

mod args;
mod checksum;
mod contrast;
#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
mod counting;
mod footage;
mod handoff;
mod histogram;
mod pattern;
mod picture;
mod report;
mod stages;
mod supply;
mod y4m;

/// How many frames a stage may take to have touched all that it will touch.
const WARM_UP: u64 = 16;

fn main() -> ExitCode {
    let options = match args::parse(env::args_os().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("pipeline: {error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Report, BoxError> {
    let mut footage = match &options.input {
        Input::Pattern(size) => Footage::pattern(*size),
        Input::File(path) => Footage::open(path)?,
    };
    let size = footage.size();
    let supply = supply(options, size.frame())?;

    let limit = options.frames.map(u64::from);
    let expected = match (limit, footage.frames()) {
        (Some(limit), Some(frames)) => Some(limit.min(frames)),
        (limit, frames) => limit.or(frames),
    };
    let warm_up = expected.map_or(WARM_UP, |frames| WARM_UP.min(frames / 2));
    let plan = Plan {
        supply: &supply,
        room: options.pool.get(),
        frames: limit,
        rate: footage.rate(),
        warm_up,
    };

    let curve = contrast::curve();
    let mut checksum = Checksum::new();
    let work = Work {
        fill: |number, frame: &mut [u8]| footage.fill(number, frame),
        alter: |frame: &mut [u8]| contrast::apply(&curve, &mut frame[..size.luma()]),
        absorb: |frame: &[u8]| checksum.frame(frame),
    };
    let bar = io::stderr().is_terminal().then(|| progress_bar(expected));
    let draw = bar.as_ref().map(|bar| |frames| bar.set_position(frames));
    let outcome = stages::run(&plan, work, draw);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }

    Ok(Report {
        memory: options.memory,
        outcome: outcome?,
        warm_up,
        lost: supply.missing_frames(),
        checksum: checksum.value(),
    })
}

fn supply(options: &Options, frame_size: usize) -> Result<Supply, BuildError> {
    let Memory::Pool(mode) = options.memory else {
        return Ok(Supply::Heap { frame_size });
    };
    let pool = FramePool::builder()
        .frames(options.pool.get())
        .frame_size(frame_size)
        .alignment(64)
        .mode(mode)
        .build()?;
    Ok(Supply::Pool(pool))
}

/// Drawn by the main thread alone: the threads of the pipeline only count.
fn progress_bar(frames: Option<u64>) -> ProgressBar {
    let (bar, template) = match frames {
        Some(frames) => (
            ProgressBar::new(frames),
            "{wide_bar} {pos}/{len} frames, {per_sec}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {pos} frames, {per_sec}",
        ),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("both templates are valid"))
}
