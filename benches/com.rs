//! Cost of the COM interfaces: acquire and release of a frame through the vtables, compared with
//! the same in Rust.
//!
//! `cargo bench --bench com --features windows`

#![expect(missing_docs, reason = "criterion's macros generate public functions")]
#![expect(unsafe_code, reason = "calls interfaces as a client does")]

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ks_allocator::com::{ComAllocator, GetBufferFlags, IMediaSample2, IMemAllocator, S_OK};
use ks_allocator::{Framing, KsAllocator, PoolAllocator};
use windows_core::Interface;

const FRAMES: usize = 64;
const FRAME_SIZE: usize = 4096;

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

fn acquire_and_release(criterion: &mut Criterion) {
    let framing = Framing::new(FRAMES, FRAME_SIZE);
    let allocator = PoolAllocator::with_framing(framing).expect("an alignment of 1 is valid");
    allocator.commit().expect("256 KiB of memory");
    let pool = allocator.pool().expect("the allocator is committed");
    let allocator = ComAllocator::new(allocator);
    let client: IMemAllocator = allocator.cast().expect("the allocator implements it");

    let mut group = criterion.benchmark_group("acquire_and_release");
    group.throughput(Throughput::Elements(1));
    group.bench_function("pool", |bencher| {
        bencher.iter(|| drop(black_box(black_box(&pool).try_acquire())));
    });
    group.bench_function("trait", |bencher| {
        let allocator: &dyn KsAllocator = &*allocator;
        bencher.iter(|| drop(black_box(black_box(allocator).try_acquire())));
    });
    // Dropping the sample is its final `Release`.
    group.bench_function("com", |bencher| {
        bencher.iter(|| drop(black_box(get_buffer(black_box(&client)))));
    });
    group.finish();
}

criterion_group!(com, acquire_and_release);
criterion_main!(com);
