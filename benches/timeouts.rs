//! Lateness of acquires that time out: the time from the deadline to the return of the call, in
//! exhausted pools of 64 to 1,048,576 frames, and beside it the time of a full report on the
//! holders.
//!
//! `cargo bench --bench timeouts`

#![expect(clippy::print_stdout, reason = "prints its result")]

#[path = "common/start.rs"]
mod start;

use std::error::Error;
use std::time::{Duration, Instant};

use ks_allocator::FramePool;

use start::is_check;

const FRAMES: [usize; 4] = [64, 4096, 65_536, 1 << 20];
const TIMEOUT: Duration = Duration::from_millis(5);

fn main() -> Result<(), Box<dyn Error>> {
    let (sizes, samples) = if is_check() {
        (&FRAMES[..2], 1)
    } else {
        (&FRAMES[..], 201)
    };
    println!(
        "{:>9} {:>22} {:>22} {:>22}",
        "frames", "late: median, max (µs)", "explain: median (µs)", "all holders (µs)"
    );
    for &frames in sizes {
        measure(frames, samples)?;
    }
    Ok(())
}

fn measure(frames: usize, samples: usize) -> Result<(), Box<dyn Error>> {
    let builder = FramePool::builder().frames(frames).frame_size(64);
    let pool = builder.prefault(false).build()?;
    let mut held = Vec::new();
    while let Ok(frame) = pool.try_acquire() {
        held.push(frame);
    }
    let mut late = Vec::new();
    let mut explain = Vec::new();
    for _ in 0..samples {
        let deadline = Instant::now() + TIMEOUT;
        let error = pool
            .acquire_timeout(TIMEOUT)
            .err()
            .ok_or("a frame is free")?;
        late.push(deadline.elapsed().as_secs_f64() * 1e6);
        let began = Instant::now();
        drop(pool.explain(error));
        explain.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let began = Instant::now();
    drop(pool.holders());
    let all = began.elapsed().as_secs_f64() * 1e6;
    late.sort_by(f64::total_cmp);
    explain.sort_by(f64::total_cmp);
    let (median, max) = (late[samples / 2], late[samples - 1]);
    println!(
        "{frames:>9} {:>22} {:>22.0} {all:>22.0}",
        format!("{median:.0}, {max:.0}"),
        explain[samples / 2]
    );
    Ok(())
}
