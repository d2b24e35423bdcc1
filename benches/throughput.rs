//! Throughput of frames: with one thread, with two threads that share a pool, and with frames that
//! one thread passes to another.
//!
//! The peers have frames of the same size: a bounded lock-free queue of boxes, a stack of boxes in
//! a mutex, and the heap. `lower_bound` is two uncontended read-modify-writes on one word, the
//! least work of a pool without thread caches.
//!
//! `cargo bench --bench throughput`

#![expect(missing_docs, reason = "criterion's macros define public functions")]
#![expect(
    clippy::disallowed_types,
    reason = "the peers use the types of std and parking_lot directly"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use ks_allocator::{Frame, FramePool};
use parking_lot::Mutex;

const FRAMES: usize = 64;
const FRAME_SIZE: usize = 4096;
/// Capacity of the queue between the two threads of `transfer`, in frames.
const QUEUE_CAPACITY: usize = 32;
/// Number of frames per burst.
const BURST: usize = 32;

/// Source of frames.
trait Supply: Sync {
    type Item: Send;
    /// Acquires a frame. Returns `None` if none is free.
    fn get(&self) -> Option<Self::Item>;
    /// Releases a frame.
    fn put(&self, item: Self::Item);
    /// Writes the first 8 bytes of a frame.
    fn touch(item: &mut Self::Item);
}

impl Supply for FramePool {
    type Item = Frame;

    fn get(&self) -> Option<Frame> {
        self.try_acquire().ok()
    }

    fn put(&self, frame: Frame) {
        drop(frame);
    }

    fn touch(frame: &mut Frame) {
        touch(frame);
    }
}

type Boxed = Box<[u8]>;

fn boxed() -> Boxed {
    vec![0; FRAME_SIZE].into()
}

impl Supply for ArrayQueue<Boxed> {
    type Item = Boxed;

    fn get(&self) -> Option<Boxed> {
        self.pop()
    }

    fn put(&self, item: Boxed) {
        assert!(
            self.push(item).is_ok(),
            "the queue has room for every frame that was out"
        );
    }

    fn touch(item: &mut Boxed) {
        touch(item);
    }
}

impl Supply for Mutex<Vec<Boxed>> {
    type Item = Boxed;

    fn get(&self) -> Option<Boxed> {
        self.lock().pop()
    }

    fn put(&self, item: Boxed) {
        self.lock().push(item);
    }

    fn touch(item: &mut Boxed) {
        touch(item);
    }
}

/// The heap, with a new, uninitialized allocation per frame.
struct Heap;

impl Supply for Heap {
    type Item = Vec<u8>;

    fn get(&self) -> Option<Vec<u8>> {
        Some(Vec::with_capacity(FRAME_SIZE))
    }

    fn put(&self, item: Vec<u8>) {
        drop(item);
    }

    fn touch(item: &mut Vec<u8>) {
        item.extend_from_slice(&black_box(7_u64).to_ne_bytes());
        black_box(item);
    }
}

/// Writes the first 8 bytes of a frame.
fn touch(bytes: &mut [u8]) {
    if let Some(start) = bytes.first_chunk_mut() {
        *start = black_box(7_u64).to_ne_bytes();
    }
    black_box(bytes);
}

fn pool() -> FramePool {
    build(true)
}

fn pool_without_caches() -> FramePool {
    build(false)
}

fn build(caches: bool) -> FramePool {
    FramePool::builder()
        .frames(FRAMES)
        .frame_size(FRAME_SIZE)
        .caches(caches)
        .build()
        .expect("256 KiB of memory are free")
}

fn queue() -> ArrayQueue<Boxed> {
    let queue = ArrayQueue::new(FRAMES);
    while queue.push(boxed()).is_ok() {}
    queue
}

fn stack() -> Mutex<Vec<Boxed>> {
    Mutex::new((0..FRAMES).map(|_| boxed()).collect())
}

/// Acquires a frame, writes to it, and releases it.
fn round_trip<S: Supply>(supply: &S) {
    if let Some(mut item) = supply.get() {
        S::touch(&mut item);
        supply.put(item);
    }
}

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one_thread");
    group.throughput(Throughput::Elements(1));
    let word = AtomicU64::new(0);
    group.bench_function("lower_bound", |bencher| {
        bencher.iter(|| {
            word.fetch_or(1, Ordering::AcqRel);
            word.fetch_and(!1, Ordering::AcqRel);
        });
    });
    let (pool, queue, stack) = (pool(), queue(), stack());
    let without_caches = pool_without_caches();
    group.bench_function("pool", |bencher| bencher.iter(|| round_trip(&pool)));
    group.bench_function("without_caches", |bencher| {
        bencher.iter(|| round_trip(&without_caches));
    });
    group.bench_function("array_queue", |bencher| bencher.iter(|| round_trip(&queue)));
    group.bench_function("mutex_vec", |bencher| bencher.iter(|| round_trip(&stack)));
    group.bench_function("heap", |bencher| bencher.iter(|| round_trip(&Heap)));
    group.finish();
}

fn burst(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("burst_of_32");
    group.throughput(Throughput::Elements(BURST as u64));
    let pool = pool();
    group.bench_function("acquire_many", |bencher| {
        bencher.iter(|| black_box(pool.try_acquire_many(BURST)).map(|batch| batch.len()));
    });
    let mut held = Vec::with_capacity(BURST);
    group.bench_function("one_by_one", |bencher| {
        bencher.iter(|| {
            held.extend((0..BURST).map_while(|_| pool.try_acquire().ok()));
            black_box(&held);
            held.clear();
        });
    });
    group.finish();
}

/// Returns the time that two threads take for `rounds` round trips each.
fn contend<S: Supply>(supply: &S, rounds: u64) -> Duration {
    let start = Barrier::new(3);
    let began = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..rounds {
                    round_trip(supply);
                }
            });
        }
        start.wait();
        Instant::now()
    });
    began.elapsed()
}

fn two_threads(criterion: &mut Criterion) {
    fn run<S: Supply>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, supply: &S) {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| contend(supply, rounds));
        });
    }
    let mut group = criterion.benchmark_group("two_threads");
    group.throughput(Throughput::Elements(2));
    run(&mut group, "pool", &pool());
    run(&mut group, "without_caches", &pool_without_caches());
    run(&mut group, "array_queue", &queue());
    run(&mut group, "mutex_vec", &stack());
    run(&mut group, "heap", &Heap);
    group.finish();
}

/// Returns the time in which one thread acquires `count` frames and sends them to another thread,
/// which releases them.
fn send_and_receive<S: Supply>(supply: &S, count: u64) -> Duration {
    let queue = ArrayQueue::new(QUEUE_CAPACITY);
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                let mut item = spin_for(|| supply.get());
                S::touch(&mut item);
                let mut item = Some(item);
                spin_for(|| {
                    queue
                        .push(item.take()?)
                        .map_err(|back| item = Some(back))
                        .ok()
                });
            }
        });
        for _ in 0..count {
            supply.put(spin_for(|| queue.pop()));
        }
    });
    began.elapsed()
}

/// Calls `poll` until it returns a value. Between calls it spins, or yields to other threads.
fn spin_for<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let backoff = crossbeam_utils::Backoff::new();
    loop {
        match poll() {
            Some(value) => return value,
            None => backoff.snooze(),
        }
    }
}

fn transfer(criterion: &mut Criterion) {
    fn run<S: Supply>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, supply: &S) {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| send_and_receive(supply, count));
        });
    }
    let mut group = criterion.benchmark_group("transfer");
    group.throughput(Throughput::Elements(1));
    run(&mut group, "pool", &pool());
    run(&mut group, "without_caches", &pool_without_caches());
    run(&mut group, "array_queue", &queue());
    run(&mut group, "mutex_vec", &stack());
    run(&mut group, "heap", &Heap);
    group.finish();
}

/// Configures many short samples, because other load on the machine disturbs long ones.
fn short_samples() -> Criterion {
    Criterion::default()
        .sample_size(60)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = throughput;
    config = short_samples();
    targets = one_thread, burst, two_threads, transfer
}
criterion_main!(throughput);
