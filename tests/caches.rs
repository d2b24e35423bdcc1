//! Thread caches. No caller can tell whether a free frame lies in a thread's cache or in the free
//! list.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::cell::RefCell;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ks_allocator::{AcquireError, Frame, FramePool, Framing, KsAllocator};

use support::assert_all_free::assert_all_free;
use support::committed_allocator::committed_allocator;
use support::marked_frame::MarkedFrame;
use support::poll_once::poll_once;
use support::pool::pool;
use support::random::Random;

mod support {
    pub(crate) mod assert_all_free;
    pub(crate) mod committed_allocator;
    pub(crate) mod marked_frame;
    pub(crate) mod poll_once;
    pub(crate) mod pool;
    pub(crate) mod random;
}

const FRAMES: usize = 64;
const FRAME_SIZE: usize = 64;
/// More frames than a thread's cells and magazine hold (8), and more than the depot of this pool
/// holds (28). A thread that releases so many fills both.
const MANY: usize = 30;

fn acquire_all(pool: &FramePool, count: usize) -> Vec<Frame> {
    (0..count).map(|_| pool.try_acquire().unwrap()).collect()
}

/// Runs `test` while two other threads are parked that have released `MANY` frames each.
fn beside_parked_threads(pool: &FramePool, test: impl FnOnce()) {
    let (released, end) = (Barrier::new(3), Barrier::new(3));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                drop(acquire_all(pool, MANY));
                released.wait();
                end.wait();
            });
        }
        released.wait();
        test();
        end.wait();
    });
}

/// Returns whether this thread's releases go to a cache. Without one, the lower slot is next.
#[cfg(target_os = "linux")]
fn has_cache(caches: bool) -> bool {
    let builder = FramePool::builder().frames(FRAMES).frame_size(FRAME_SIZE);
    let pool = builder.caches(caches).build().unwrap();
    let [lower, upper] = [0, 1].map(|_| pool.try_acquire().unwrap());
    assert!(lower.slot() < upper.slot());
    let upper_slot = upper.slot();
    drop(upper);
    drop(lower);
    pool.try_acquire().unwrap().slot() == upper_slot
}

#[test]
#[cfg(target_os = "linux")]
fn a_thread_has_a_cache_however_many_threads_ended_before_it() {
    for _ in 0..200 {
        assert!(thread::spawn(|| has_cache(true)).join().unwrap());
    }
    assert!(!has_cache(false));
}

/// In 100 threads the first use of a pool is in the destructor of a pthread key, when all
/// thread-locals are destroyed already.
#[test]
#[cfg(target_os = "linux")]
fn a_thread_has_a_cache_after_others_first_used_a_pool_when_they_ended() {
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
    assert!(thread::spawn(|| has_cache(true)).join().unwrap());
}

/// The caches take 15 KiB, which a build without optimization would copy on the stack several
/// times.
#[test]
fn a_pool_with_caches_is_built_on_a_stack_of_48_kib() {
    let small = thread::Builder::new().stack_size(48 << 10);
    // While other pools exist, so that the new one cannot reuse the caches of an earlier pool.
    let others: Vec<_> = (0..20).map(|_| pool(FRAMES, FRAME_SIZE)).collect();
    let built = small.spawn(|| {
        let pools: Vec<_> = (0..20).map(|_| pool(FRAMES, FRAME_SIZE)).collect();
        pools.iter().map(FramePool::free_frames).sum::<usize>()
    });
    assert_eq!(built.unwrap().join().unwrap(), 20 * FRAMES);
    drop(others);
}

#[test]
fn try_acquire_finds_frames_in_the_caches_of_parked_threads() {
    let pool = pool(FRAMES, FRAME_SIZE);
    beside_parked_threads(&pool, || {
        assert_all_free(&pool);
        assert_all_free(&pool);
    });
    assert_all_free(&pool);
}

#[test]
fn try_acquire_finds_frames_in_the_caches_of_ended_threads() {
    let pool = pool(FRAMES, FRAME_SIZE);
    for _ in 0..3 {
        let pool = pool.clone();
        thread::spawn(move || drop(acquire_all(&pool, MANY)))
            .join()
            .unwrap();
    }
    assert_all_free(&pool);
}

#[test]
fn no_acquire_waits_while_the_cache_of_a_parked_thread_has_a_frame() {
    let pool = pool(FRAMES, FRAME_SIZE);
    beside_parked_threads(&pool, || {
        let mut held = Vec::new();
        while held.len() < FRAMES {
            held.push(match held.len() % 3 {
                0 => pool.acquire().unwrap(),
                1 => pool.acquire_timeout(Duration::ZERO).unwrap(),
                _ => match poll_once(pin!(pool.acquire_async()), Waker::noop()) {
                    Poll::Ready(frame) => frame.unwrap(),
                    Poll::Pending => panic!("{} of {FRAMES} frames are out", held.len()),
                },
            });
        }
        let waited = pool.acquire_timeout(Duration::from_millis(1));
        assert!(matches!(waited, Err(AcquireError::TimedOut(_))));
    });
}

#[test]
fn batches_take_frames_from_the_caches_of_other_threads() {
    let pool = pool(FRAMES, FRAME_SIZE);
    beside_parked_threads(&pool, || {
        let mut frames = Vec::new();
        while let Ok(batch) = pool.try_acquire_many(32) {
            frames.extend(batch);
        }
        assert_eq!(frames.len(), FRAMES);
    });
}

#[test]
fn a_flushing_pool_hands_out_no_cached_frame() {
    let pool = pool(FRAMES, FRAME_SIZE);
    drop(acquire_all(&pool, MANY));
    beside_parked_threads(&pool, || {
        pool.begin_flush();
        assert_eq!(pool.try_acquire().unwrap_err(), AcquireError::Flushing);
        assert_eq!(pool.free_frames(), FRAMES);
        pool.end_flush();
        assert_all_free(&pool);
    });
}

#[test]
fn the_status_of_an_allocator_counts_cached_frames_as_free() {
    let allocator = committed_allocator(FRAMES, FRAME_SIZE);
    for frames in [FRAMES, FRAMES + 1] {
        allocator.commit().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let held: Vec<_> = (0..MANY).map(|_| allocator.acquire().unwrap()).collect();
                assert_eq!(allocator.allocator_status().allocated_frames, MANY);
                drop(held);
            });
        });
        assert_eq!(allocator.allocator_status().allocated_frames, 0);
        allocator.decommit();
        assert_eq!(allocator.allocator_status().allocated_frames, 0);
        // Fails while a frame is out.
        allocator
            .set_framing(&Framing::new(frames, FRAME_SIZE))
            .unwrap();
    }
}

#[test]
fn frames_in_thread_locals_are_released_when_their_thread_ends() {
    thread_local!(static HELD: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) });
    let pool = pool(FRAMES, FRAME_SIZE);
    for _ in 0..3 {
        let pool = pool.clone();
        // Not a scoped thread: the end of a scope does not wait for the destructors.
        thread::spawn(move || HELD.with_borrow_mut(|held| held.extend(acquire_all(&pool, MANY))))
            .join()
            .unwrap();
    }
    assert_all_free(&pool);
}

/// Each pool reuses the caches of a pool before it, and must not get the frames of that pool.
#[test]
fn a_pool_ends_while_the_caches_of_live_threads_are_full() {
    let step = Arc::new(Barrier::new(3));
    let done = Arc::new(AtomicBool::new(false));
    let current = Arc::new(parking_lot::Mutex::new(None::<FramePool>));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (step, done, current) = (step.clone(), done.clone(), current.clone());
            thread::spawn(move || {
                loop {
                    step.wait();
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let pool = current.lock().clone().unwrap();
                    let mut held = acquire_all(&pool, MANY);
                    // The last frame is released when the pool may be gone.
                    let last = held.pop();
                    drop(held);
                    step.wait();
                    drop(pool);
                    drop(last);
                }
            })
        })
        .collect();
    for _ in 0..200 {
        *current.lock() = Some(pool(FRAMES, FRAME_SIZE));
        step.wait();
        step.wait();
        drop(current.lock().take());
    }
    done.store(true, Ordering::Relaxed);
    step.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_all_free(&pool(FRAMES, FRAME_SIZE));
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

/// A waiter that misses a cached frame would block for ever.
#[test]
fn a_waiter_gets_a_frame_although_releases_go_to_caches() {
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
fn decommit_commit_and_flush_lose_no_cached_frame() {
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

#[test]
fn a_cached_frame_has_no_holder_in_reports() {
    let builder = FramePool::builder().frames(FRAMES).frame_size(FRAME_SIZE);
    let pool = builder.caches(true).build().unwrap();
    let held = pool.try_acquire().unwrap();
    drop([(); 5].map(|()| pool.try_acquire().unwrap()));
    let report = pool.holders();
    assert_eq!((report.free, report.entries.len()), (FRAMES - 1, 1));
    assert_eq!(report.entries[0].slot, held.slot());
    assert_eq!(pool.stats().free, FRAMES - 1);
}
