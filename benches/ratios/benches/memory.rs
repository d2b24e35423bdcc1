//! Costs of memory: of a commit, and of the first and every later use of a frame whose bytes are
//! all written.
//!
//! The pool is measured in both modes, prefaulted and not, and with transparent huge pages if the
//! system grants any. The peers are a new `Vec` per frame, a new mapping per frame, and blocks of
//! two other allocators. The lower bound is `fill`: it writes to memory that was just used.
//!
//! `cargo bench --bench memory`, on Linux

#![cfg_attr(
    target_os = "linux",
    expect(unsafe_code, reason = "calls allocators and the system directly")
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

    /// Writes all bytes of a frame.
    fn write(frame: &mut [u8]) {
        frame.fill(black_box(7));
        black_box(frame);
    }

    /// Returns the builders of the pools, with their names in the results.
    fn pools(bytes: usize) -> Vec<(&'static str, FramePoolBuilder)> {
        let pool = |mode: AllocatorMode, huge_pages: HugePages, prefault: bool| {
            let builder = FramePool::builder().frames(4).frame_size(bytes).mode(mode);
            builder.huge_pages(huge_pages).prefault(prefault)
        };
        use AllocatorMode::{Kernel, User};
        use HugePages::{Off, Transparent};
        let all = [
            ("user", pool(User, Off, false)),
            ("user, prefaulted", pool(User, Off, true)),
            ("user, huge", pool(User, Transparent, false)),
            ("user, huge, prefaulted", pool(User, Transparent, true)),
            ("kernel", pool(Kernel, Off, false)),
            ("kernel, prefaulted", pool(Kernel, Off, true)),
            ("kernel, huge", pool(Kernel, Transparent, false)),
            ("kernel, huge, prefaulted", pool(Kernel, Transparent, true)),
        ];
        // Without huge pages, a pool that requests them would be measured under the wrong name.
        let is_available = |builder: &FramePoolBuilder| {
            let built = builder.clone().prefault(true).build();
            built.is_ok_and(|pool| {
                let report = pool.commit_report();
                report.requested.huge_pages == Off || report.huge > Some(0)
            })
        };
        all.into_iter()
            .filter(|(_, builder)| is_available(builder))
            .collect()
    }

    /// A block of an allocator, freed on drop.
    struct Block<'a, A: GlobalAlloc> {
        allocator: &'a A,
        start: NonNull<u8>,
        layout: Layout,
    }

    impl<'a, A: GlobalAlloc> Block<'a, A> {
        fn new(allocator: &'a A, bytes: usize) -> Self {
            let layout =
                Layout::array::<u8>(bytes).expect("a frame is smaller than the address space");
            // SAFETY: the size is not 0.
            let start = unsafe { allocator.alloc(layout) };
            let start = NonNull::new(start).expect("enough memory");
            Self {
                allocator,
                start,
                layout,
            }
        }

        fn write(&mut self) {
            // SAFETY: the block has as many bytes as its layout says, and `self` is its only owner.
            unsafe { self.start.write_bytes(black_box(7), self.layout.size()) };
            black_box(self.start);
        }

        /// Returns all whole pages of the block to the system, as if they had never been used.
        fn discard_pages(&self) {
            let page = page_size();
            let skipped = self.start.addr().get().next_multiple_of(page) - self.start.addr().get();
            let whole = (self.layout.size() - skipped) / page * page;
            // SAFETY: a block is much larger than a page, so `skipped` bytes are inside it.
            let start = unsafe { self.start.add(skipped) };
            // SAFETY: the pages are inside the block, whose bytes are not read again before they
            // are written.
            let done = unsafe { madvise(start.as_ptr().cast(), whole, Advice::LinuxDontNeed) };
            done.expect("private pages can be discarded");
        }
    }

    impl<A: GlobalAlloc> Drop for Block<'_, A> {
        fn drop(&mut self) {
            // SAFETY: `new` allocated the block from this allocator with this layout.
            unsafe { self.allocator.dealloc(self.start.as_ptr(), self.layout) };
        }
    }

    /// Maps memory for one frame, writes all its bytes, and unmaps it.
    fn map_and_write(bytes: usize) {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the address is null, so that the new mapping replaces none.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) };
        let start = start.expect("enough memory");
        // SAFETY: `bytes` zeroed bytes were mapped there, and there is no other reference to them.
        write(unsafe { slice::from_raw_parts_mut(start.cast(), bytes) });
        // SAFETY: this is exactly the range that was mapped, and the reference to it has ended.
        unsafe { munmap(start, bytes) }.expect("a mapping can be unmapped");
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

    /// Measures the commit of a pool of four frames, and its end.
    fn commit(criterion: &mut Criterion) {
        for size in SIZES {
            let mut group = group(criterion, "commit of 4 frames", size);
            for (name, builder) in pools(size.1) {
                group.bench_function(name, |bencher| bencher.iter(|| builder.build()));
            }
        }
    }

    /// Measures an acquire and the writing of all bytes of memory that has not been used before.
    fn first_touch(criterion: &mut Criterion) {
        for size in SIZES {
            let (_, bytes) = size;
            let mut group = group(criterion, "first touch", size);
            for (name, builder) in pools(bytes) {
                group.bench_function(name, |bencher| {
                    bencher.iter_custom(|rounds| {
                        let first_touch = |_| {
                            let pool = builder.build().expect("it was built before");
                            let start = Instant::now();
                            write(&mut pool.try_acquire().expect("all frames are free"));
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
                // The allocator may return memory that was used before.
                Block::new(allocator, bytes).discard_pages();
                let first_touch = |_| {
                    let start = Instant::now();
                    let mut block = Block::new(allocator, bytes);
                    block.write();
                    let elapsed = start.elapsed();
                    block.discard_pages();
                    elapsed
                };
                (0..rounds).map(first_touch).sum()
            });
        });
    }

    /// Measures an acquire, the writing of all bytes, and the release, of memory that is used
    /// repeatedly.
    fn steady_state(criterion: &mut Criterion) {
        for size in SIZES {
            let (_, bytes) = size;
            let mut group = group(criterion, "steady state", size);
            let mut memory = vec![0; bytes];
            group.bench_function("fill", |bencher| bencher.iter(|| write(&mut memory)));
            for (name, builder) in pools(bytes) {
                let pool = builder.build().expect("it was built before");
                group.bench_function(name, |bencher| {
                    bencher.iter(|| write(&mut pool.try_acquire().expect("all frames are free")));
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
