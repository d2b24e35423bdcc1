//! Frames that threads keep for themselves: nobody else is to notice.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::cell::RefCell;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use ks_allocator::{AcquireError, Frame, FramePool, Framing, KsAllocator, PoolAllocator};

use random::Random;

mod random;

const FRAMES: usize = 64;
const FRAME_SIZE: usize = 64;
/// More than a thread keeps, and than it leaves for others.
const HANDFUL: usize = 30;

fn pool() -> FramePool {
    let builder = FramePool::builder().frames(FRAMES).frame_size(FRAME_SIZE);
    builder.build().unwrap()
}

fn allocator() -> PoolAllocator {
    let builder = FramePool::builder().frames(FRAMES).frame_size(FRAME_SIZE);
    PoolAllocator::from_builder(&builder).unwrap()
}

fn take(pool: &FramePool, count: usize) -> Vec<Frame> {
    (0..count).map(|_| pool.try_acquire().unwrap()).collect()
}

/// That each frame can be had, once.
fn assert_all_there(pool: &FramePool) {
    assert_eq!(pool.free_frames(), FRAMES);
    let all = take(pool, FRAMES);
    let slots: HashSet<_> = all.iter().map(Frame::slot).collect();
    assert_eq!(slots.len(), FRAMES);
    assert_eq!(pool.free_frames(), 0);
    assert!(matches!(
        pool.try_acquire(),
        Err(AcquireError::Exhausted(_))
    ));
    drop(all);
    assert_eq!(pool.free_frames(), FRAMES);
}

/// Runs `test` while two other threads are parked that have released a handful of frames each.
fn beside_parked_threads(pool: &FramePool, test: impl FnOnce()) {
    let (kept, end) = (Barrier::new(3), Barrier::new(3));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let handful = take(pool, HANDFUL);
                drop(handful);
                kept.wait();
                end.wait();
            });
        }
        kept.wait();
        test();
        end.wait();
    });
}

/// Whether this thread keeps anything: otherwise the lower slot comes first.
fn keeps(caches: bool) -> bool {
    let builder = FramePool::builder().frames(FRAMES).frame_size(FRAME_SIZE);
    let pool = builder.caches(caches).build().unwrap();
    let [one, two] = [0, 1].map(|_| pool.try_acquire().unwrap());
    let second = two.slot();
    drop(two);
    drop(one);
    pool.try_acquire().unwrap().slot() == second
}

#[test]
#[cfg(target_os = "linux")]
fn threads_keep_frames_however_many_there_were_before_them() {
    for _ in 0..200 {
        assert!(thread::spawn(|| keeps(true)).join().unwrap());
    }
    assert!(!keeps(false));
}

#[test]
fn what_parked_threads_keep_is_had_by_others() {
    let pool = pool();
    beside_parked_threads(&pool, || {
        assert_all_there(&pool);
        assert_all_there(&pool);
    });
    assert_all_there(&pool);
}

#[test]
fn what_ended_threads_kept_is_had_by_others() {
    let pool = pool();
    for _ in 0..3 {
        let pool = pool.clone();
        thread::spawn(move || drop(take(&pool, HANDFUL)))
            .join()
            .unwrap();
    }
    assert_all_there(&pool);
}

#[test]
fn nobody_waits_for_what_a_parked_thread_keeps() {
    let pool = pool();
    beside_parked_threads(&pool, || {
        let mut held = Vec::new();
        while held.len() < FRAMES {
            held.push(match held.len() % 3 {
                0 => pool.acquire().unwrap(),
                1 => pool.acquire_timeout(Duration::ZERO).unwrap(),
                _ => {
                    let mut future = pin!(pool.acquire_async());
                    match future
                        .as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()))
                    {
                        Poll::Ready(frame) => frame.unwrap(),
                        Poll::Pending => panic!("{} of {FRAMES} are out", held.len()),
                    }
                }
            });
        }
        let waited = pool.acquire_timeout(Duration::from_millis(1));
        assert!(matches!(waited, Err(AcquireError::TimedOut(_))));
    });
}

#[test]
fn a_batch_finds_what_others_keep() {
    let pool = pool();
    beside_parked_threads(&pool, || {
        let mut frames = Vec::new();
        while let Ok(batch) = pool.try_acquire_many(32) {
            frames.extend(batch);
        }
        assert_eq!(frames.len(), FRAMES);
    });
}

#[test]
fn a_closed_pool_hands_out_nothing_that_is_kept() {
    let pool = pool();
    drop(take(&pool, HANDFUL));
    beside_parked_threads(&pool, || {
        pool.begin_flush();
        assert_eq!(pool.try_acquire().unwrap_err(), AcquireError::Flushing);
        assert_eq!(pool.free_frames(), FRAMES);
        pool.end_flush();
        assert_all_there(&pool);
    });
}

#[test]
fn the_allocator_knows_that_kept_frames_are_back() {
    let allocator = allocator();
    for frames in [FRAMES, FRAMES + 1] {
        allocator.commit().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let handful: Vec<_> = (0..HANDFUL).map(|_| allocator.acquire().unwrap()).collect();
                assert_eq!(allocator.allocator_status().allocated_frames, HANDFUL);
                drop(handful);
            });
        });
        assert_eq!(allocator.allocator_status().allocated_frames, 0);
        allocator.decommit();
        assert_eq!(allocator.allocator_status().allocated_frames, 0);
        // RejectedWaiters if a frame were out.
        allocator
            .set_framing(&Framing::new(frames, FRAME_SIZE))
            .unwrap();
    }
}

#[test]
fn frames_in_thread_locals_come_back_when_their_thread_ends() {
    thread_local!(static HELD: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) });
    let pool = pool();
    for _ in 0..3 {
        let pool = pool.clone();
        thread::spawn(move || HELD.with_borrow_mut(|held| held.extend(take(&pool, HANDFUL))))
            .join()
            .unwrap();
    }
    assert_all_there(&pool);
}

#[test]
fn a_pool_ends_with_full_caches_of_threads_that_go_on() {
    // Each pool gets the caches of one before it, and must not get its frames.
    let (pools, done) = (Arc::new(Barrier::new(3)), Arc::new(AtomicBool::new(false)));
    let current = Arc::new(parking_lot::Mutex::new(None::<FramePool>));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (pools, done, current) = (pools.clone(), done.clone(), current.clone());
            thread::spawn(move || {
                loop {
                    pools.wait();
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let pool = current.lock().clone().unwrap();
                    let mut handful = take(&pool, HANDFUL);
                    // The last of the handful comes back when the pool may be gone.
                    let last = handful.pop();
                    drop(handful);
                    pools.wait();
                    drop(pool);
                    drop(last);
                }
            })
        })
        .collect();
    for _ in 0..200 {
        *current.lock() = Some(pool());
        pools.wait();
        pools.wait();
        drop(current.lock().take());
    }
    done.store(true, Ordering::Relaxed);
    pools.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_all_there(&pool());
}

static NEXT_OWNER: AtomicU64 = AtomicU64::new(1);

/// A frame with the mark of its owner all over it.
struct Marked(Frame, u64);

impl Marked {
    fn new(mut frame: Frame) -> Self {
        let mark = NEXT_OWNER.fetch_add(1, Ordering::Relaxed);
        for word in frame.chunks_exact_mut(8) {
            word.copy_from_slice(&mark.to_ne_bytes());
        }
        Self(frame, mark)
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        for word in self.0.chunks_exact(8) {
            assert_eq!(word, self.1.to_ne_bytes(), "the bytes have another owner");
        }
    }
}

const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(debug_assertions) {
    20_000
} else {
    1_000_000
};

/// Takes and drops frames at random, never more than `most` at once. `acquire` may fail by `None`.
fn shuffle(seed: u64, most: usize, mut acquire: impl FnMut() -> Option<Frame>) {
    let mut random = Random(0x9E37_79B9 * seed);
    let mut held = Vec::new();
    // How many this thread wants changes from time to time, so that frames become scarce and plenty.
    let mut wanted = most;
    for round in 0..ROUNDS {
        if round % 5000 == 0 {
            wanted = 1 + random.below(most);
        }
        if held.len() >= wanted || (random.below(3) == 0 && !held.is_empty()) {
            let index = random.below(held.len());
            drop(held.swap_remove(index));
        } else if let Some(frame) = acquire() {
            held.push(Marked::new(frame));
        }
    }
}

fn seeds() -> std::ops::RangeInclusive<u64> {
    1..=THREADS as u64
}

#[test]
fn nobody_is_refused_while_a_frame_is_free() {
    let pool = pool();
    // Together they never want all.
    let most = (FRAMES - 1) / THREADS;
    thread::scope(|scope| {
        for seed in seeds() {
            let pool = &pool;
            scope.spawn(move || shuffle(seed, most, || Some(pool.try_acquire().unwrap())));
        }
    });
    assert_all_there(&pool);
}

#[test]
fn frames_go_from_threads_that_acquire_to_threads_that_release() {
    const BETWEEN: usize = 20;
    const PAIRS: usize = 2;
    // Besides what is between, each thread has one in its hands.
    const { assert!(PAIRS * (BETWEEN + 2) < FRAMES) };
    let pool = pool();
    thread::scope(|scope| {
        for _ in 0..PAIRS {
            let (to_other, from_other) = mpsc::sync_channel(BETWEEN);
            let pool = &pool;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let frame = pool.try_acquire().unwrap();
                    to_other.send(Marked::new(frame)).unwrap();
                }
            });
            scope.spawn(move || from_other.into_iter().for_each(drop));
        }
    });
    assert_all_there(&pool);
}

#[test]
fn scarce_frames_have_one_owner_at_a_time() {
    let pool = pool();
    thread::scope(|scope| {
        for seed in seeds() {
            let pool = &pool;
            scope.spawn(move || {
                shuffle(seed, 40, || match pool.try_acquire() {
                    Ok(frame) => Some(frame),
                    Err(AcquireError::Exhausted(_)) => None,
                    Err(error) => panic!("{error}"),
                });
            });
        }
    });
    assert_all_there(&pool);
}

#[test]
fn nobody_waits_for_ever_while_frames_are_kept() {
    let pool = pool();
    thread::scope(|scope| {
        for seed in seeds() {
            let pool = &pool;
            // One less than would let all of them wait for each other.
            let most = FRAMES / THREADS;
            scope.spawn(move || shuffle(seed, most, || Some(pool.acquire().unwrap())));
        }
        // And one who takes what there is, again and again.
        scope.spawn(|| {
            for _ in 0..ROUNDS / 500 {
                let mut held = Vec::new();
                while let Ok(frame) = pool.acquire_timeout(Duration::from_micros(20)) {
                    held.push(Marked::new(frame));
                }
            }
        });
    });
    assert_all_there(&pool);
}

#[test]
fn decommit_commit_and_flush_lose_no_frame_that_is_kept() {
    let allocator = allocator();
    allocator.commit().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in seeds().take(2) {
            let (allocator, done) = (&allocator, &done);
            scope.spawn(move || {
                shuffle(seed, 10, || match allocator.acquire() {
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
    let all: Vec<_> = (0..FRAMES)
        .map(|_| allocator.try_acquire().unwrap())
        .collect();
    assert!(matches!(
        allocator.try_acquire(),
        Err(AcquireError::Exhausted(_))
    ));
    drop(all);
}

/// What a thread keeps is free, and so nobody's in a report.
#[test]
fn what_a_thread_keeps_has_no_holder() {
    let builder = FramePool::builder().frames(FRAMES).frame_size(FRAME_SIZE);
    let pool = builder.caches(true).build().unwrap();
    let held = pool.try_acquire().unwrap();
    drop([(); 5].map(|()| pool.try_acquire().unwrap()));
    let report = pool.holders();
    assert_eq!((report.free, report.entries.len()), (FRAMES - 1, 1));
    assert_eq!(report.entries[0].slot, held.slot());
    assert_eq!(pool.stats().free, FRAMES - 1);
}
