//! What it costs to know who holds the frames: acquire and drop, with the notes of holders left out, with them, and
//! with the flight recorder on.
//!
//! `cargo bench --bench holders`
//!
//! The crate without the notes is a build of its own (`--cfg ks_allocator_no_holders`, for this alone), which is made
//! first. Then the two programs take turns, many short samples each, so that whatever else the machine does
//! happens to both.

#![expect(clippy::print_stdout, reason = "prints its result")]

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use ks_allocator::FramePool;

const SAMPLES: usize = 200;
const PAIRS: u32 = 2000;
const ROUNDS: usize = 40;
const WITHOUT: &str = "--cfg ks_allocator_no_holders";

fn main() -> Result<(), Box<dyn Error>> {
    let given = |wanted: &str| env::args().any(|argument| argument == wanted);
    if given("--samples") {
        print_samples()
    } else if given("--bench") {
        compare()
    } else {
        // As a test: once.
        pair(&pool(0)?);
        pair(&pool(100)?);
        Ok(())
    }
}

fn pool(events: usize) -> Result<FramePool, ks_allocator::BuildError> {
    let builder = FramePool::builder().frames(64).frame_size(4096);
    builder.record(events).build()
}

#[inline(never)]
fn pair(pool: &FramePool) {
    if let Ok(mut frame) = pool.try_acquire() {
        frame[0] = black_box(1);
        black_box(&mut frame);
    }
}

/// Nanoseconds a pair, of one sample.
fn sample(pool: &FramePool) -> f64 {
    let began = Instant::now();
    for _ in 0..PAIRS {
        pair(pool);
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(PAIRS)
}

/// A line a sample: without the recorder, and with it.
fn print_samples() -> Result<(), Box<dyn Error>> {
    let (off, on) = (pool(0)?, pool(100_000)?);
    for _ in 0..SAMPLES {
        println!("{} {}", sample(&off), sample(&on));
    }
    Ok(())
}

fn compare() -> Result<(), Box<dyn Error>> {
    let with = env::current_exe()?.display().to_string();
    let without = build_without()?;
    let [mut off, mut on, mut recorded] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        off.extend(samples_of(&without)?.into_iter().map(|(plain, _)| plain));
        for (plain, recording) in samples_of(&with)? {
            on.push(plain);
            recorded.push(recording);
        }
    }
    let floor = Summary::of(off);
    println!("ns for acquire and drop, one thread      median   min");
    for (name, summary) in [
        ("holders left out", floor),
        ("holders noted (what everybody has)", Summary::of(on)),
        ("and the recorder on", Summary::of(recorded)),
    ] {
        let Summary { median, min } = summary;
        let (more, times) = (median - floor.median, median / floor.median);
        println!("{name:40} {median:6.2} {min:6.2}   {more:+6.2} ns, {times:.2}x");
    }
    Ok(())
}

/// Builds this very program without the notes, and says where it is.
fn build_without() -> Result<String, Box<dyn Error>> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let built = Command::new(cargo)
        .args(["bench", "--bench", "holders", "--no-run"])
        .args(["--target-dir", "target/no-holders"])
        .args(["--message-format", "json"])
        .env("RUSTFLAGS", WITHOUT)
        .output()?;
    let messages = String::from_utf8(built.stdout)?;
    let path = messages
        .lines()
        .filter(|line| line.contains(r#""name":"holders""#));
    let mut path =
        path.filter_map(|line| line.split_once(r#""executable":""#)?.1.split('"').next());
    let path = path.next_back().ok_or("the build without holders failed")?;
    Ok(path.to_owned())
}

fn samples_of(program: &str) -> Result<Vec<(f64, f64)>, Box<dyn Error>> {
    let run = Command::new(program).arg("--samples").output()?;
    let text = String::from_utf8(run.stdout)?;
    text.lines()
        .map(|line| {
            let (one, other) = line.split_once(' ').ok_or("two numbers a line")?;
            Ok((one.parse()?, other.parse()?))
        })
        .collect()
}

#[derive(Clone, Copy)]
struct Summary {
    median: f64,
    min: f64,
}

impl Summary {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self {
            median: samples[samples.len() / 2],
            min: samples[0],
        }
    }
}
