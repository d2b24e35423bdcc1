//! Cost of the optional records about holders: an acquire and a release without options, with the
//! time of each acquire recorded, and with the flight recorder. The holder records themselves are
//! always on.
//!
//! `cargo bench --bench holders`
//!
//! The three pools are measured alternately, in many short samples, so that a disturbance of the
//! machine affects all of them alike.

#![expect(clippy::print_stdout, reason = "prints its result")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use ks_allocator::{FramePool, FramePoolBuilder};

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
    // `cargo bench` passes `--bench`. Without it this is a test, which runs everything once.
    if std::env::args().any(|argument| argument == "--bench") {
        compare(&pools)
    } else {
        for (_, builder) in &pools {
            acquire_and_release(&builder.build()?);
        }
        Ok(())
    }
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
    let mut rows = Vec::new();
    for (name, builder) in pools {
        rows.push((name, builder.build()?, Vec::with_capacity(SAMPLES)));
    }
    for _ in 0..SAMPLES {
        for (_, pool, samples) in &mut rows {
            samples.push(sample(pool));
        }
    }
    println!(
        "{:40} {:>6} {:>6}",
        "ns per acquire and release, one thread", "median", "min"
    );
    let mut baseline = None;
    for (name, _, samples) in &mut rows {
        samples.sort_by(f64::total_cmp);
        let (median, min) = (samples[SAMPLES / 2], samples[0]);
        let baseline = *baseline.get_or_insert(median);
        let (more, times) = (median - baseline, median / baseline);
        println!("{name:40} {median:6.2} {min:6.2}   {more:+6.2} ns, {times:.2}x");
    }
    Ok(())
}
