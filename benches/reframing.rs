//! Changes of the framing of a committed allocator, while another thread acquires frames and keeps
//! the last one: how long a change takes, and how long the other thread gets no frame meanwhile.
//!
//! `cargo bench --bench reframing`

#![expect(clippy::print_stdout, reason = "prints its result")]

#[path = "common/start.rs"]
mod start;

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{
    AcquireError, FramePool, KsAllocator, PoolAllocator, ReframeError, Reframing, VideoFormat,
    VideoLayout,
};

use start::is_check;

const FRAMES: usize = 4;
const SIZES: [(u32, u32); 4] = [(16, 16), (1280, 720), (1920, 1080), (3840, 2160)];

fn main() -> Result<(), Box<dyn Error>> {
    let (sizes, changes) = if is_check() {
        (&SIZES[..1], 3)
    } else {
        (&SIZES[..], 301)
    };
    println!(
        "{:>11} {:>28} {:>10} {:>40} {:>16}",
        "NV12",
        "change: median, minimum (µs)",
        "per second",
        "longest gap: median, max (without) (µs)",
        "at most (MiB)"
    );
    for &(width, height) in sizes {
        measure(width, height, changes)?;
    }
    Ok(())
}

fn measure(width: u32, height: u32, changes: usize) -> Result<(), Box<dyn Error>> {
    let layout = VideoLayout::new(VideoFormat::Nv12, width, height)?;
    let builder = FramePool::builder().frames(FRAMES).video(&layout);
    let allocator = PoolAllocator::from_builder(&builder.max_bytes(usize::MAX))?;
    allocator.commit()?;
    let longest_gap = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let mut samples = Samples::default();
    thread::scope(|scope| {
        let consumer = scope.spawn(|| acquire_until(&stop, &allocator, &longest_gap));
        let result = (0..changes).try_for_each(|_| {
            // As long without a change as the last one took.
            let pause = samples.changes.last().copied().unwrap_or_default();
            longest_gap.store(0, Ordering::Relaxed);
            thread::sleep(Duration::from_secs_f64(pause / 1e6));
            samples.gaps_without.push(microseconds(&longest_gap));

            let began = Instant::now();
            allocator.reframe(Reframing::video(FRAMES, &layout))?;
            samples.changes.push(began.elapsed().as_secs_f64() * 1e6);
            samples.gaps.push(microseconds(&longest_gap));
            samples.max_bytes = samples.max_bytes.max(allocator.bytes_in_use().unwrap_or(0));
            Ok::<_, ReframeError>(())
        });
        stop.store(true, Ordering::Relaxed);
        let consumer = consumer.join().map_err(|_| "the consumer panicked")?;
        consumer?;
        result?;
        Ok::<_, Box<dyn Error>>(())
    })?;
    samples.print(width, height);
    Ok(())
}

/// Acquires frames, each before it releases the last, and notes the longest time between two.
fn acquire_until(
    stop: &AtomicBool,
    allocator: &PoolAllocator,
    longest_gap: &AtomicU64,
) -> Result<(), AcquireError> {
    let mut kept = allocator.acquire()?;
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        kept = allocator.acquire()?;
        let now = Instant::now();
        let gap = u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX);
        longest_gap.fetch_max(gap, Ordering::Relaxed);
        last = now;
    }
    drop(kept);
    Ok(())
}

/// Takes the longest gap since the last call.
fn microseconds(longest_gap: &AtomicU64) -> f64 {
    longest_gap.swap(0, Ordering::Relaxed) as f64 / 1e3
}

/// In microseconds, but for the bytes.
#[derive(Default)]
struct Samples {
    changes: Vec<f64>,
    gaps: Vec<f64>,
    gaps_without: Vec<f64>,
    max_bytes: usize,
}

impl Samples {
    fn print(mut self, width: u32, height: u32) {
        for samples in [&mut self.changes, &mut self.gaps, &mut self.gaps_without] {
            samples.sort_by(f64::total_cmp);
        }
        let median = |samples: &[f64]| samples[samples.len() / 2];
        let max = |samples: &[f64]| samples[samples.len() - 1];
        println!(
            "{:>11} {:>28} {:>10.0} {:>40} {:>16.1}",
            format!("{width}x{height}"),
            format!("{:.0}, {:.0}", median(&self.changes), self.changes[0]),
            1e6 / median(&self.changes),
            format!(
                "{:.1}, {:.0} ({:.1}, {:.0})",
                median(&self.gaps),
                max(&self.gaps),
                median(&self.gaps_without),
                max(&self.gaps_without)
            ),
            self.max_bytes as f64 / f64::from(1 << 20)
        );
    }
}
