//! Cost of the COM interfaces: acquire and release of a frame through the vtables, compared with
//! the same in Rust.
//!
//! `cargo bench --bench com --features windows`

#![expect(unsafe_code, reason = "calls interfaces as a client does")]
#![expect(clippy::print_stdout, reason = "prints its result")]

#[path = "common/samples.rs"]
mod samples;
#[path = "common/start.rs"]
mod start;

use std::error::Error;
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::time::Instant;

use ks_allocator::com::{ComAllocator, GetBufferFlags, IMediaSample2, IMemAllocator, S_OK};
use ks_allocator::{Framing, KsAllocator, PoolAllocator};
use windows_core::Interface;

use start::is_check;

const FRAMES: usize = 64;
const FRAME_SIZE: usize = 4096;
/// Number of samples of each way to acquire.
const SAMPLES: usize = 4000;
/// Number of pairs of an acquire and a release per sample.
const PAIRS: u32 = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    if is_check() {
        compare(1, 1)
    } else {
        compare(SAMPLES, PAIRS)
    }
}

/// Calls `GetBuffer` without waiting.
fn get_buffer(client: &IMemAllocator) -> IMediaSample2 {
    let flags = GetBufferFlags::NOWAIT.bits();
    let mut sample: *mut c_void = ptr::null_mut();
    // SAFETY: `sample` can be written, and the optional pointers are NULL.
    let result = unsafe { client.GetBuffer(&raw mut sample, ptr::null(), ptr::null(), flags) };
    assert_eq!(result, S_OK);
    // SAFETY: it is a sample with one reference, which belongs to the result.
    unsafe { IMediaSample2::from_raw(sample) }
}

/// Makes a function that calls `pair` several times, and returns the nanoseconds per call.
fn sample<'a>(pairs: u32, pair: impl Fn() + 'a) -> Box<dyn Fn() -> f64 + 'a> {
    Box::new(move || {
        let began = Instant::now();
        for _ in 0..pairs {
            pair();
        }
        began.elapsed().as_secs_f64() * 1e9 / f64::from(pairs)
    })
}

fn compare(samples: usize, pairs: u32) -> Result<(), Box<dyn Error>> {
    let allocator = PoolAllocator::with_framing(Framing::new(FRAMES, FRAME_SIZE))?;
    allocator.commit()?;
    let pool = allocator.pool().ok_or("the allocator is committed")?;
    let allocator = ComAllocator::new(allocator);
    let client: IMemAllocator = allocator.cast()?;
    let object: &dyn KsAllocator = &*allocator;

    let names = ["pool", "trait", "COM interface"];
    let contenders = [
        sample(pairs, || drop(black_box(black_box(&pool).try_acquire()))),
        sample(pairs, || drop(black_box(black_box(object).try_acquire()))),
        // Dropping the sample is its final `Release`.
        sample(pairs, || drop(black_box(get_buffer(black_box(&client))))),
    ];
    let summaries = samples::take_in_turn(samples, &contenders);
    println!(
        "{:40} {:>6} {:>6}",
        "ns per acquire and release, one thread", "median", "min"
    );
    for (name, summary) in names.iter().zip(&summaries) {
        println!("{name:40} {:6.2} {:6.2}", summary.median, summary.minimum);
    }
    Ok(())
}
