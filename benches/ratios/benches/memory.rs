//! What the first use of a frame's memory costs, and every later one, when all of its bytes are written;
//! and what the commit costs that this is saved by.
//!
//! The pool in both modes, prefaulted or not, and with transparent huge pages where the system gives
//! any, beside what people use instead: a fresh `Vec`, a mapping for each frame, and boxes of two other
//! allocators. `fill` is writing alone, to memory that was used just now: nothing can do with less.
//!
//! `cargo bench --bench memory`, on Linux

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "uses allocators and the system directly")
)]

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::hint::black_box;
    use std::ptr::{self, NonNull};
    use std::slice;
    use std::time::{Duration, Instant};

    use criterion::measurement::WallTime;
    use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group};
    use ks_allocator::{AllocatorMode, FramePool, FramePoolBuilder, HugePages};
    use mimalloc::MiMalloc;
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    use rustix::param::page_size;
    use tikv_jemallocator::Jemalloc;

    const SIZES: [(&str, usize); 2] = [
        ("1080p NV12", 1920 * 1080 * 3 / 2),
        ("2160p P010", 3840 * 2160 * 3),
    ];

    /// What a user does with a frame.
    fn write(frame: &mut [u8]) {
        frame.fill(black_box(7));
        black_box(frame);
    }

    /// The pools, as they are named in the results.
    fn pools(bytes: usize) -> Vec<(&'static str, FramePoolBuilder)> {
        let pool = |mode: AllocatorMode, huge_pages: HugePages, prefault: bool| {
            let builder = FramePool::builder().frames(4).frame_size(bytes).mode(mode);
            builder.huge_pages(huge_pages).prefault(prefault)
        };
        use AllocatorMode::{Kernel, User};
        use HugePages::{No, Transparent};
        let all = [
            ("user", pool(User, No, false)),
            ("user, prefaulted", pool(User, No, true)),
            ("user, huge", pool(User, Transparent, false)),
            ("user, huge, prefaulted", pool(User, Transparent, true)),
            ("kernel", pool(Kernel, No, false)),
            ("kernel, prefaulted", pool(Kernel, No, true)),
            ("kernel, huge", pool(Kernel, Transparent, false)),
            ("kernel, huge, prefaulted", pool(Kernel, Transparent, true)),
        ];
        // What the system does not have at all would be measured under a wrong name.
        let is_had = |builder: &FramePoolBuilder| {
            let built = builder.clone().prefault(true).build();
            built.is_ok_and(|pool| {
                let report = pool.commit_report();
                report.requested.huge_pages == No || report.huge > Some(0)
            })
        };
        all.into_iter()
            .filter(|(_, builder)| is_had(builder))
            .collect()
    }

    /// A block of an allocator's, given back on drop.
    struct Block<'a, A: GlobalAlloc> {
        allocator: &'a A,
        start: NonNull<u8>,
        layout: Layout,
    }

    impl<'a, A: GlobalAlloc> Block<'a, A> {
        fn new(allocator: &'a A, bytes: usize) -> Self {
            let layout =
                Layout::array::<u8>(bytes).expect("a frame is smaller than an address space");
            // SAFETY: the size is not 0.
            let start = unsafe { allocator.alloc(layout) };
            let start = NonNull::new(start).expect("there is memory");
            Self {
                allocator,
                start,
                layout,
            }
        }

        fn write(&mut self) {
            // SAFETY: so many bytes were allocated, and are this block's.
            unsafe { self.start.write_bytes(black_box(7), self.layout.size()) };
            black_box(self.start);
        }

        /// Has the system take back all pages that are wholly the block's, as if it had never been used.
        fn forget(&self) {
            let page = page_size();
            let skipped = self.start.addr().get().next_multiple_of(page) - self.start.addr().get();
            let whole = (self.layout.size() - skipped) / page * page;
            // SAFETY: inside of the block.
            let start = unsafe { self.start.add(skipped) };
            // SAFETY: these bytes are the block's, and nobody reads them any more.
            let done = unsafe { madvise(start.as_ptr().cast(), whole, Advice::LinuxDontNeed) };
            done.expect("memory can be given back");
        }
    }

    impl<A: GlobalAlloc> Drop for Block<'_, A> {
        fn drop(&mut self) {
            // SAFETY: as it was allocated.
            unsafe { self.allocator.dealloc(self.start.as_ptr(), self.layout) };
        }
    }

    /// Maps memory for one frame, writes to it, and unmaps it.
    fn map_and_write(bytes: usize) {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the system's choice replaces none that exists.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) };
        let start = start.expect("there is memory");
        // SAFETY: so many bytes were mapped, zeroed, and nobody else knows of them.
        write(unsafe { slice::from_raw_parts_mut(start.cast(), bytes) });
        // SAFETY: exactly what was mapped, which nobody uses any more.
        unsafe { munmap(start, bytes) }.expect("what was mapped can be unmapped");
    }

    fn group<'a>(
        criterion: &'a mut Criterion,
        what: &str,
        (name, bytes): (&str, usize),
    ) -> BenchmarkGroup<'a, WallTime> {
        let mut group = criterion.benchmark_group(format!("{what}, {name}"));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.sample_size(20);
        group.warm_up_time(Duration::from_millis(300));
        group.measurement_time(Duration::from_secs(1));
        group
    }

    /// A whole pool of four frames, made and dropped.
    fn commit(criterion: &mut Criterion) {
        for size in SIZES {
            let mut group = group(criterion, "commit of 4 frames", size);
            for (name, builder) in pools(size.1) {
                group.bench_function(name, |bencher| bencher.iter(|| builder.build()));
            }
        }
    }

    /// From asking for a frame until all its bytes are written, where nobody has used its memory yet.
    fn first_touch(criterion: &mut Criterion) {
        for size in SIZES {
            let (_, bytes) = size;
            let mut group = group(criterion, "first touch", size);
            for (name, builder) in pools(bytes) {
                group.bench_function(name, |bencher| {
                    bencher.iter_custom(|rounds| {
                        let first_touch = |_| {
                            let pool = builder.build().expect("as before");
                            let start = Instant::now();
                            write(&mut pool.try_acquire().expect("all are free"));
                            start.elapsed()
                        };
                        (0..rounds).map(first_touch).sum()
                    });
                });
            }
            group.bench_function("mmap", |bencher| bencher.iter(|| map_and_write(bytes)));
            first_touch_of_block(&mut group, "Vec", &System, bytes);
            first_touch_of_block(&mut group, "mimalloc", &MiMalloc, bytes);
            first_touch_of_block(&mut group, "jemalloc", &Jemalloc, bytes);
        }
    }

    fn first_touch_of_block(
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        allocator: &impl GlobalAlloc,
        bytes: usize,
    ) {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                // What the first is given was used before.
                Block::new(allocator, bytes).forget();
                let first_touch = |_| {
                    let start = Instant::now();
                    let mut block = Block::new(allocator, bytes);
                    block.write();
                    let elapsed = start.elapsed();
                    block.forget();
                    elapsed
                };
                (0..rounds).map(first_touch).sum()
            });
        });
    }

    /// From asking for a frame until it is given back, all its bytes written, again and again.
    fn steady_state(criterion: &mut Criterion) {
        for size in SIZES {
            let (_, bytes) = size;
            let mut group = group(criterion, "steady state", size);
            let mut memory = vec![0; bytes];
            group.bench_function("fill", |bencher| bencher.iter(|| write(&mut memory)));
            for (name, builder) in pools(bytes) {
                let pool = builder.build().expect("as before");
                group.bench_function(name, |bencher| {
                    bencher.iter(|| write(&mut pool.try_acquire().expect("all are free")));
                });
            }
            group.bench_function("mmap", |bencher| bencher.iter(|| map_and_write(bytes)));
            group.bench_function("Vec", |bencher| {
                bencher.iter(|| black_box(vec![black_box(7_u8); bytes]));
            });
            steady_state_of_block(&mut group, "mimalloc", &MiMalloc, bytes);
            steady_state_of_block(&mut group, "jemalloc", &Jemalloc, bytes);
        }
    }

    fn steady_state_of_block(
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        allocator: &impl GlobalAlloc,
        bytes: usize,
    ) {
        group.bench_function(name, |bencher| {
            bencher.iter(|| Block::new(allocator, bytes).write());
        });
    }

    criterion_group!(memory, commit, first_touch, steady_state);
}

#[cfg(target_os = "linux")]
criterion::criterion_main!(linux::memory);
