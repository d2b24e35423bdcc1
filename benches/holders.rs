//! Cost of the optional records about holders: an acquire and a release without options, with the
//! time of each acquire recorded, and with the flight recorder. The holder records themselves are
//! always on.
//!
//! `cargo bench --bench holders`
//!
//! The three pools are measured alternately, in many short samples, so that a disturbance of the
//! machine affects all of them alike.

#![expect(clippy::print_stdout, reason = "prints its result")]

#[path = "common/samples.rs"]
mod samples;
#[path = "common/start.rs"]
mod start;

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use ks_allocator::{FramePool, FramePoolBuilder};

use start::is_check;

/// Number of samples of each pool.
const SAMPLES: usize = 8000;
/// Number of pairs of an acquire and a release per sample.
const PAIRS: u32 = 2000;
/// Number of events that the flight recorder keeps.
const EVENTS: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let builder = FramePool::builder().frames(64).frame_size(4096);
    let pools = [
        ("without options", builder.clone()),
        (
            "record_acquire_times(true)",
            builder.clone().record_acquire_times(true),
        ),
        ("record(100000)", builder.record(EVENTS)),
    ];
    if !is_check() {
        return compare(&pools);
    }
    for (_, builder) in &pools {
        acquire_and_release(&builder.build()?);
    }
    Ok(())
}

#[inline(never)]
fn acquire_and_release(pool: &FramePool) {
    if let Ok(mut frame) = pool.try_acquire() {
        frame[0] = black_box(1);
        black_box(&mut frame);
    }
}

/// Returns the nanoseconds per pair of one sample.
fn sample(pool: &FramePool) -> f64 {
    let began = Instant::now();
    for _ in 0..PAIRS {
        acquire_and_release(pool);
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(PAIRS)
}

fn compare(pools: &[(&str, FramePoolBuilder)]) -> Result<(), Box<dyn Error>> {
    let mut contenders: Vec<Box<dyn Fn() -> f64>> = Vec::new();
    for (_, builder) in pools {
        let pool = builder.build()?;
        contenders.push(Box::new(move || sample(&pool)));
    }
    let summaries = samples::take_in_turn(SAMPLES, &contenders);
    println!(
        "{:40} {:>6} {:>6}",
        "ns per acquire and release, one thread", "median", "min"
    );
    for ((name, _), summary) in pools.iter().zip(&summaries) {
        let (median, min, baseline) = (summary.median, summary.minimum, summaries[0].median);
        let (more, times) = (median - baseline, median / baseline);
        println!("{name:40} {median:6.2} {min:6.2}   {more:+6.2} ns, {times:.2}x");
    }
    Ok(())
}
