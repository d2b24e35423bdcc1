//! After a commit, frames move without a single heap allocation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "a global allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ks_allocator::{AcquireError, FramePool, Framing, KsAllocator, PoolAllocator};

struct Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: everything is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread during `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn pool(frames: usize) -> FramePool {
    FramePool::builder()
        .frames(frames)
        .frame_size(256)
        .prefix(8)
        .build()
        .unwrap()
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
}

#[test]
fn acquire_fill_share_and_release_allocate_nothing() {
    for frames in [1, 62, 64, 4096] {
        let pool = pool(frames);
        let count = allocations(|| {
            for number in 0..1000 {
                let mut frame = pool.try_acquire().unwrap();
                frame.clear();
                write!(frame, "frame {number}").unwrap();
                frame.metadata_mut().sequence = number;
                let mut shared = frame.share();
                drop(shared.clone());
                shared.make_mut().unwrap().prefix_mut().fill(1);
                drop(shared.try_into_unique());
                drop(pool.acquire().unwrap());
                drop(pool.acquire_timeout(Duration::from_secs(1)).unwrap());
                pool.acquire_many(32).unwrap().for_each(drop);
                drop(pool.acquire_many(32));
            }
        });
        assert_eq!(count, 0, "{frames} frames");
    }
}

#[test]
fn frames_through_the_trait_allocate_nothing() {
    let allocator = PoolAllocator::with_framing(Framing::new(8, 256)).unwrap();
    allocator.commit().unwrap();
    let allocator: &dyn KsAllocator = &allocator;
    // The first look at the current pool gives the thread its place in a table of readers.
    drop(allocator.acquire().unwrap());
    let count = allocations(|| {
        for _ in 0..1000 {
            drop(allocator.acquire().unwrap());
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn failing_and_timing_out_allocate_nothing() {
    let pool = pool(100);
    let held: Vec<_> = (0..100).map(|_| pool.try_acquire().unwrap()).collect();
    let count = allocations(|| {
        for _ in 0..100 {
            assert_eq!(pool.try_acquire().unwrap_err(), AcquireError::Exhausted);
            let patience = Duration::from_micros(10);
            assert_eq!(
                pool.acquire_timeout(patience).unwrap_err(),
                AcquireError::TimedOut
            );
        }
    });
    assert_eq!(count, 0);
    drop(held);
}

#[test]
fn copying_on_write_allocates_nothing() {
    let pool = pool(2);
    let count = allocations(|| {
        for _ in 0..100 {
            let one = pool.acquire().unwrap().share();
            let mut two = one.clone();
            two.make_mut().unwrap()[0] = 1;
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn waiting_and_being_woken_allocates_nothing() {
    let pool = pool(1);
    let (to_holder, ask) = mpsc::sync_channel(1);
    let (to_waiter, held) = mpsc::sync_channel(1);
    let waiter = {
        let pool = pool.clone();
        thread::spawn(move || {
            let mut count = 0;
            for _ in 0..200 {
                to_holder.send(()).unwrap();
                held.recv().unwrap();
                count += allocations(|| drop(pool.acquire().unwrap()));
            }
            count
        })
    };
    let mut releases = 0;
    for () in ask {
        let frame = pool.acquire().unwrap();
        to_waiter.send(()).unwrap();
        thread::yield_now();
        releases += allocations(|| drop(frame));
    }
    assert_eq!((waiter.join().unwrap(), releases), (0, 0));
}
