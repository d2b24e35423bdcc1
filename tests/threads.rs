//! Threads that share a pool: each finds every free frame, wherever it was released, and no frame
//! has two owners.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ks_allocator::{AcquireError, Frame, FramePool, KsAllocator};

use support::assert_all_free::assert_all_free;
use support::committed_allocator::committed_allocator;
use support::marked_frame::MarkedFrame;
use support::pool::pool;
use support::random::Random;

mod support {
    pub(crate) mod assert_all_free;
    pub(crate) mod committed_allocator;
    pub(crate) mod marked_frame;
    pub(crate) mod pool;
    pub(crate) mod random;
}

const FRAMES: usize = 64;
const FRAME_SIZE: usize = 64;

fn acquire_all(pool: &FramePool, count: usize) -> Vec<Frame> {
    (0..count).map(|_| pool.try_acquire().unwrap()).collect()
}

/// Returns the slots of the next `count` frames that the calling thread acquires.
fn next_slots(pool: &FramePool, count: usize) -> Vec<usize> {
    let frames = acquire_all(pool, count);
    frames.iter().map(Frame::slot).collect()
}

#[test]
fn a_thread_gets_back_the_frame_that_it_released_last() {
    let pool = pool(FRAMES, FRAME_SIZE);
    let mut held = acquire_all(&pool, 20);
    for index in [3, 17, 8, 11] {
        let slot = held[index].slot();
        drop(held.swap_remove(index));
        held.push(pool.try_acquire().unwrap());
        assert_eq!(held[held.len() - 1].slot(), slot);
    }
}

#[test]
fn without_caches_all_threads_take_the_lowest_frame_first() {
    let builder = FramePool::builder().frames(FRAMES).frame_size(FRAME_SIZE);
    let pool = builder.caches(false).shards(1).build().unwrap();
    let mut held = acquire_all(&pool, 20);
    drop(held.remove(3));
    drop(held.remove(8));
    assert_eq!(next_slots(&pool, 3), [3, 9, 20]);
    let elsewhere = thread::scope(|scope| scope.spawn(|| next_slots(&pool, 1)).join());
    assert_eq!(elsewhere.unwrap(), [3]);
}

#[test]
fn a_thread_that_only_acquires_leaves_small_frames_alone_that_another_just_released() {
    let pool = pool(FRAMES, FRAME_SIZE);
    let release_elsewhere = |frame: Frame| {
        thread::scope(|scope| scope.spawn(|| drop(frame)).join()).unwrap();
    };
    let mut last = usize::MAX;
    for _ in 0..100 {
        let frame = pool.try_acquire().unwrap();
        assert_ne!(frame.slot(), last);
        last = frame.slot();
        release_elsewhere(frame);
    }
    assert!(pool.stats().high_water <= 8, "{}", pool.stats().high_water);
}

#[test]
fn a_thread_that_only_acquires_gets_the_large_frame_that_another_just_released() {
    let builder = FramePool::builder().frames(16).frame_size(1 << 20);
    let pool = builder.prefault(false).build().unwrap();
    for _ in 0..100 {
        let frame = pool.try_acquire().unwrap();
        thread::scope(|scope| scope.spawn(|| drop(frame)).join()).unwrap();
    }
    assert_eq!(pool.stats().high_water, 1);
}

#[test]
fn frames_in_thread_locals_are_released_when_their_thread_ends() {
    thread_local!(static HELD: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) });
    let pool = pool(FRAMES, FRAME_SIZE);
    for _ in 0..3 {
        let pool = pool.clone();
        // Not a scoped thread: the end of a scope does not wait for the destructors.
        thread::spawn(move || HELD.with_borrow_mut(|held| held.extend(acquire_all(&pool, 30))))
            .join()
            .unwrap();
    }
    assert_all_free(&pool);
}

/// In 100 threads the first use of a pool is in the destructor of a pthread key, when all
/// thread-locals are destroyed already.
#[test]
#[cfg(target_os = "linux")]
fn a_thread_may_first_use_a_pool_when_its_thread_locals_are_destroyed() {
    use std::ffi::c_void;
    use std::sync::LazyLock;
    use std::sync::atomic::AtomicUsize;

    static POOL: LazyLock<FramePool> = LazyLock::new(|| pool(FRAMES, FRAME_SIZE));
    static USES: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn use_pool(_value: *mut c_void) {
        drop(POOL.try_acquire().unwrap());
        USES.fetch_add(1, Ordering::Relaxed);
    }

    let mut key = 0;
    #[expect(
        unsafe_code,
        reason = "Rust runs no code at this point of a thread's end"
    )]
    // SAFETY: `key` is valid for a write, and the destructor uses nothing of its thread.
    let created = unsafe { libc::pthread_key_create(&raw mut key, Some(use_pool)) };
    assert_eq!(created, 0);
    for _ in 0..100 {
        let ended = thread::spawn(move || {
            // SAFETY: the key was created above, and the destructor does not use the value.
            #[expect(unsafe_code, reason = "Rust has no pthread keys")]
            unsafe {
                libc::pthread_setspecific(key, std::ptr::dangling());
            }
        });
        ended.join().unwrap();
    }
    assert_eq!(USES.load(Ordering::Relaxed), 100);
    assert_all_free(&POOL);
}

#[test]
fn a_pool_is_built_on_a_stack_of_48_kib() {
    let small = thread::Builder::new().stack_size(48 << 10);
    let built = small.spawn(|| {
        let pools: Vec<_> = (0..20).map(|_| pool(FRAMES, FRAME_SIZE)).collect();
        pools.iter().map(FramePool::free_frames).sum::<usize>()
    });
    assert_eq!(built.unwrap().join().unwrap(), 20 * FRAMES);
}

const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(debug_assertions) {
    20_000
} else {
    1_000_000
};

/// Acquires and releases frames at random and holds at most `max` at a time. `acquire` returns
/// `None` if it found no frame.
fn acquire_and_release(seed: usize, max: usize, mut acquire: impl FnMut() -> Option<Frame>) {
    let mut random = Random(0x9E37_79B9 * seed as u64);
    let mut held = Vec::new();
    // The target changes from time to time, so that frames are scarce at times and plentiful at
    // others.
    let mut target = max;
    for round in 0..ROUNDS {
        if round % 5000 == 0 {
            target = 1 + random.below(max);
        }
        if held.len() >= target || (random.below(3) == 0 && !held.is_empty()) {
            let index = random.below(held.len());
            drop(held.swap_remove(index));
        } else if let Some(frame) = acquire() {
            held.push(MarkedFrame::new(frame));
        }
    }
}

#[test]
fn try_acquire_never_fails_while_a_frame_is_free() {
    let pool = pool(FRAMES, FRAME_SIZE);
    // All threads together never hold all frames.
    let max = (FRAMES - 1) / THREADS;
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let pool = &pool;
            scope.spawn(move || {
                acquire_and_release(seed, max, || Some(pool.try_acquire().unwrap()))
            });
        }
    });
    assert_all_free(&pool);
}

#[test]
fn frames_return_from_threads_that_only_release_to_threads_that_only_acquire() {
    const QUEUE: usize = 20;
    const PAIRS: usize = 2;
    // Each thread holds one frame beside those in its queue.
    const { assert!(PAIRS * (QUEUE + 2) < FRAMES) };
    let pool = pool(FRAMES, FRAME_SIZE);
    thread::scope(|scope| {
        for _ in 0..PAIRS {
            let (to_releaser, from_acquirer) = mpsc::sync_channel(QUEUE);
            let pool = &pool;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let frame = pool.try_acquire().unwrap();
                    to_releaser.send(MarkedFrame::new(frame)).unwrap();
                }
            });
            scope.spawn(move || from_acquirer.into_iter().for_each(drop));
        }
    });
    assert_all_free(&pool);
}

#[test]
fn scarce_frames_have_one_owner_at_a_time() {
    let pool = pool(FRAMES, FRAME_SIZE);
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let pool = &pool;
            scope.spawn(move || {
                acquire_and_release(seed, 40, || match pool.try_acquire() {
                    Ok(frame) => Some(frame),
                    Err(AcquireError::Exhausted(_)) => None,
                    Err(error) => panic!("{error}"),
                });
            });
        }
    });
    assert_all_free(&pool);
}

/// A waiter that misses a frame would block for ever.
#[test]
fn a_waiter_misses_no_frame() {
    let pool = pool(FRAMES, FRAME_SIZE);
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let pool = &pool;
            // A thread that waits holds fewer than `max` frames, so not all threads wait at once.
            let max = FRAMES / THREADS;
            scope.spawn(move || acquire_and_release(seed, max, || Some(pool.acquire().unwrap())));
        }
        // Empties the pool again and again, so that the other threads do wait.
        scope.spawn(|| {
            for _ in 0..ROUNDS / 500 {
                let mut held = Vec::new();
                while let Ok(frame) = pool.acquire_timeout(Duration::from_micros(20)) {
                    held.push(MarkedFrame::new(frame));
                }
            }
        });
    });
    assert_all_free(&pool);
}

#[test]
fn decommit_commit_and_flush_lose_no_frame() {
    let allocator = committed_allocator(FRAMES, FRAME_SIZE);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 1..=2 {
            let (allocator, done) = (&allocator, &done);
            scope.spawn(move || {
                acquire_and_release(seed, 10, || match allocator.acquire() {
                    Ok(frame) => Some(frame),
                    Err(AcquireError::NotCommitted | AcquireError::Flushing) => None,
                    Err(error) => panic!("{error}"),
                });
                done.store(true, Ordering::Relaxed);
            });
        }
        let mut random = Random(1);
        while !done.load(Ordering::Relaxed) {
            match random.below(3) {
                0 => {
                    allocator.begin_flush();
                    allocator.end_flush();
                }
                1 => {
                    allocator.decommit();
                    assert!(allocator.try_acquire().is_err());
                    allocator.commit().unwrap();
                }
                _ => thread::sleep(Duration::from_micros(200)),
            }
        }
    });
    assert_eq!(allocator.free_frames(), FRAMES);
    assert_all_free(&allocator.pool().unwrap());
}
