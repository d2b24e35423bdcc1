//! Failed acquires under contention: each had a moment at which all frames were out.
//!
//! Threads acquire and release frames, and take two time stamps per call: before and after. From
//! the stamps follows when each frame was certainly free: from the end of a release to the start of
//! the next acquire of the same frame. An acquire that fails because no frame is free must have a
//! moment, within its call, at which no frame was certainly free. And two calls cannot have had the
//! same frame at one time.
//!
//! The stamps are numbers of one counter. If a call ends with a smaller number than another begins
//! with, then it happens before the other, on every processor.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ks_allocator::{AcquireError, Frame, FramePool, FramePoolBuilder};

use support::random::Random;

mod support {
    pub(crate) mod random;
}

const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(any(debug_assertions, ks_allocator_preempt)) {
    20_000
} else {
    300_000
};

/// Time stamps before and after a call. There is a moment after each stamp, with its number, so
/// these are also the moments of the call.
type Call = Range<u64>;

/// One use of a frame.
#[derive(Debug)]
struct Hold {
    slot: usize,
    acquire: Call,
    release: Call,
}

/// The calls of the threads.
#[derive(Debug, Default)]
struct History {
    holds: Vec<Hold>,
    failures: Vec<Call>,
}

/// Calls `call` between two time stamps.
fn timed<T>(clock: &AtomicU64, call: impl FnOnce() -> T) -> (T, Call) {
    let start = clock.fetch_add(1, Ordering::SeqCst);
    let result = call();
    (result, start..clock.fetch_add(1, Ordering::SeqCst))
}

/// A thread that acquires until it has as many frames as it may, or until no frame is free. Then it
/// releases some, and begins again.
fn work(pool: &FramePool, clock: &AtomicU64, seed: u64, max_held: usize) -> History {
    let mut random = Random(seed);
    let mut history = History::default();
    let mut held: Vec<(Frame, Call)> = Vec::new();
    let release = |history: &mut History, (frame, acquire): (Frame, Call)| {
        let slot = frame.slot();
        let ((), release) = timed(clock, || drop(frame));
        history.holds.push(Hold {
            slot,
            acquire,
            release,
        });
    };
    for _ in 0..ROUNDS {
        if held.len() == max_held {
            let any = random.below(held.len());
            release(&mut history, held.swap_remove(any));
        }
        let max = (1 + random.below(3)).min(max_held - held.len());
        // Single frames and batches have ways of their own through the free list.
        let (result, call) = if max == 1 {
            let (result, call) = timed(clock, || pool.try_acquire());
            (result.map(|frame| vec![frame]), call)
        } else {
            let (result, call) = timed(clock, || pool.try_acquire_many(max));
            (result.map(Vec::from_iter), call)
        };
        match result {
            Ok(frames) => held.extend(frames.into_iter().map(|frame| (frame, call.clone()))),
            Err(AcquireError::Exhausted(_)) => {
                history.failures.push(call);
                for _ in 0..=random.below(3).min(held.len()) {
                    if !held.is_empty() {
                        let any = random.below(held.len());
                        release(&mut history, held.swap_remove(any));
                    }
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    for frame in held {
        release(&mut history, frame);
    }
    history
}

/// Returns the moments at which some frame was certainly free, as ranges in order that do not
/// touch.
fn certainly_not_exhausted(holds: &mut [Hold], frames: usize) -> Vec<Range<u64>> {
    holds.sort_unstable_by_key(|hold| (hold.slot, hold.acquire.end));
    let mut free = Vec::new();
    for slot in 0..frames {
        let mut since = 0;
        for hold in holds.iter().filter(|hold| hold.slot == slot) {
            if since < hold.acquire.start {
                free.push(since..hold.acquire.start);
            }
            since = hold.release.end;
        }
        free.push(since..u64::MAX);
    }
    free.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in free {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Returns a failure at whose every moment some frame was certainly free.
fn wrong_failure(history: &mut History, frames: usize) -> Option<Call> {
    let free = certainly_not_exhausted(&mut history.holds, frames);
    let is_wrong = |failure: &&Call| {
        let after = free.partition_point(|range| range.start <= failure.start);
        let before = after.checked_sub(1).map(|number| &free[number]);
        before.is_some_and(|range| failure.end <= range.end)
    };
    history.failures.iter().find(is_wrong).cloned()
}

/// Returns two holds of one frame that were certainly at one time. The holds are in order.
fn double_hold(holds: &[Hold]) -> Option<&[Hold]> {
    holds
        .windows(2)
        .find(|pair| pair[0].slot == pair[1].slot && pair[1].acquire.end < pair[0].release.start)
}

#[track_caller]
fn assert_linearizable(
    frames: usize,
    max_held: usize,
    set: impl Fn(FramePoolBuilder) -> FramePoolBuilder,
) {
    let builder = FramePool::builder().frames(frames).frame_size(64);
    let pool = set(builder).build().unwrap();
    let clock = AtomicU64::new(0);
    let barrier = Barrier::new(THREADS);
    let mut history = History::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS as u64)
            .map(|seed| {
                let (pool, clock, barrier) = (&pool, &clock, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    work(pool, clock, seed, max_held)
                })
            })
            .collect();
        for thread in threads {
            let of_thread = thread.join().unwrap();
            history.holds.extend(of_thread.holds);
            history.failures.extend(of_thread.failures);
        }
    });
    assert_eq!(pool.free_frames(), frames);
    let is_ever_empty = max_held == usize::MAX;
    assert!(
        !is_ever_empty || !history.failures.is_empty(),
        "the pool was never empty"
    );
    if let Some(failure) = wrong_failure(&mut history, frames) {
        panic!("an acquire failed at {failure:?} while a frame was free at each moment");
    }
    if let Some(pair) = double_hold(&history.holds) {
        panic!("a frame was held twice: {pair:?}");
    }
}

#[test]
fn a_pool_of_one_word() {
    assert_linearizable(3, usize::MAX, |builder| builder.shards(1));
    assert_linearizable(64, usize::MAX, |builder| builder.shards(1));
}

#[test]
fn a_pool_of_several_words() {
    assert_linearizable(3, usize::MAX, |builder| builder.shards(3));
    assert_linearizable(8, usize::MAX, |builder| builder.shards(8));
    assert_linearizable(130, usize::MAX, |builder| builder);
}

/// The threads hold at most as many frames as the pool has, or one less. Then an acquire may hardly
/// ever fail, or never.
#[test]
fn a_pool_that_is_almost_empty() {
    for caches in [true, false] {
        assert_linearizable(THREADS, 1, |builder| builder.shards(THREADS).caches(caches));
        assert_linearizable(THREADS + 1, 1, |builder| {
            builder.shards(THREADS + 1).caches(caches)
        });
        assert_linearizable(8 * THREADS + 1, 8, |builder| {
            builder.shards(64).caches(caches)
        });
    }
}

#[test]
fn a_pool_without_caches() {
    assert_linearizable(5, usize::MAX, |builder| builder.shards(5).caches(false));
}

#[test]
fn a_pool_of_many_words_with_hints() {
    assert_linearizable(4_000, usize::MAX, |builder| builder);
}

#[test]
fn a_failure_while_a_frame_is_free_at_each_moment_is_found() {
    let hold = |slot, acquire, release| Hold {
        slot,
        acquire,
        release,
    };
    let check = |failure: Call| {
        let holds = vec![
            hold(0, 0..1, 10..11),
            hold(1, 2..3, 20..21),
            hold(0, 14..15, 30..31),
        ];
        let failures = vec![failure];
        wrong_failure(&mut History { holds, failures }, 2)
    };
    // Frame 0 is certainly free from 11 to 14, and frame 1 before 2 and after 21.
    assert_eq!(check(5..6), None);
    assert_eq!(check(12..13), Some(12..13));
    assert_eq!(
        check(11..15),
        None,
        "frame 0 may have been acquired at the last moment"
    );
    assert_eq!(check(10..14), None, "frame 0 may have been released late");
    assert_eq!(check(0..1), Some(0..1));
    assert_eq!(check(22..29), Some(22..29));

    let twice = [hold(0, 0..1, 10..11), hold(0, 4..5, 20..21)];
    assert!(double_hold(&twice).is_some());
    let in_turn = [hold(0, 0..1, 10..13), hold(0, 11..12, 20..21)];
    assert!(double_hold(&in_turn).is_none());
}
