//! What the COM face costs: a frame out and back through the vtable, beside the same in Rust.
//!
//! `cargo bench --bench com --features windows`

#![expect(missing_docs, reason = "criterion's macros make public functions")]
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

/// `GetBuffer`, which does not wait.
fn get_buffer(client: &IMemAllocator) -> IMediaSample2 {
    let flags = GetBufferFlags::NOWAIT.bits();
    let mut sample: *mut c_void = ptr::null_mut();
    // SAFETY: the pointers are NULL, or to be written through.
    let result = unsafe { client.GetBuffer(&raw mut sample, ptr::null(), ptr::null(), flags) };
    assert_eq!(result, S_OK);
    // SAFETY: a sample with one reference, which we take.
    unsafe { IMediaSample2::from_raw(sample) }
}

fn out_and_back(criterion: &mut Criterion) {
    let framing = Framing::new(FRAMES, FRAME_SIZE);
    let allocator = PoolAllocator::with_framing(framing).expect("an alignment of 1 is one");
    allocator
        .commit()
        .expect("a quarter of a megabyte is there");
    let pool = allocator.pool().expect("it is committed");
    let allocator = ComAllocator::new(allocator);
    let client: IMemAllocator = allocator.cast().expect("an allocator is one");

    let mut group = criterion.benchmark_group("out_and_back");
    group.throughput(Throughput::Elements(1));
    group.bench_function("pool", |bencher| {
        bencher.iter(|| drop(black_box(black_box(&pool).try_acquire())));
    });
    group.bench_function("trait", |bencher| {
        let allocator: &dyn KsAllocator = &*allocator;
        bencher.iter(|| drop(black_box(black_box(allocator).try_acquire())));
    });
    // Dropping the sample is its last `Release`.
    group.bench_function("com", |bencher| {
        bencher.iter(|| drop(black_box(get_buffer(black_box(&client)))));
    });
    group.finish();
}

criterion_group!(com, out_and_back);
criterion_main!(com);
