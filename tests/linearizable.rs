//! Histories of acquires and releases: each failed acquire needs a moment at which all frames could
//! be out.
//!
//! Every call takes a number from one counter before it begins, and one after it has ended. A frame
//! is *possibly out* from the begin of the call that acquired it to the end of the call that
//! released it. A `try_acquire` that fails between two numbers claims that all frames were out at a
//! moment in between. If there is none at which all of them were possibly out, the claim is false.
//!
//! The histories are short, so that the threads of many of them begin at about the same time. The
//! number of histories is bounded; `HISTORIES` sets another one, for a longer search by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::env;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ks_allocator::{AcquireError, Frame, FramePool, FramePoolBuilder};

use support::random::Random;

mod support {
    pub(crate) mod random;
}

const THREADS: usize = 3;
const CALLS: usize = 200;

/// From the number before a call to that after it, or after a later one.
#[derive(Clone, Copy, Debug)]
struct Interval {
    from: u64,
    to: u64,
}

/// The calls of one thread.
#[derive(Debug, Default)]
struct History {
    /// Failed acquires.
    failures: Vec<Interval>,
    /// Times for which frames were possibly out, by slot.
    out: Vec<(usize, Interval)>,
}

/// Counter of all threads, from which calls take numbers.
struct Clock(AtomicU64);

impl Clock {
    fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Acquires and releases frames at random.
fn run(pool: &FramePool, clock: &Clock, random: &mut Random, most: usize) -> History {
    let mut history = History::default();
    let mut held: Vec<(u64, Frame)> = Vec::new();
    let release = |history: &mut History, (from, frame): (u64, Frame)| {
        let slot = frame.slot();
        drop(frame);
        let to = clock.now();
        history.out.push((slot, Interval { from, to }));
    };
    for _ in 0..CALLS {
        if held.len() < most && random.below(3) > 0 {
            let from = clock.now();
            match pool.try_acquire() {
                Ok(frame) => held.push((from, frame)),
                Err(AcquireError::Exhausted(_)) => {
                    let to = clock.now();
                    history.failures.push(Interval { from, to });
                }
                Err(error) => panic!("{error}"),
            }
        } else if !held.is_empty() {
            let first = held.swap_remove(random.below(held.len()));
            release(&mut history, first);
        }
    }
    for frame in held {
        release(&mut history, frame);
    }
    history
}

/// Returns the failures for which there is no moment at which all frames were possibly out.
fn false_failures(frames: usize, histories: &[History]) -> Vec<Interval> {
    let mut out = vec![Vec::new(); frames];
    for &(slot, interval) in histories.iter().flat_map(|history| &history.out) {
        out[slot].push(interval);
    }
    let failures = histories.iter().flat_map(|history| &history.failures);
    let is_false = |failure: &&Interval| {
        // If there is such a moment, there is one at the begin of the failure or of a hold.
        let begins = out.iter().flatten().map(|hold| hold.from);
        let within = |moment: &u64| (failure.from..=failure.to).contains(moment);
        let mut moments = begins.chain([failure.from]).filter(within);
        let is_out = |holds: &Vec<Interval>, moment| {
            let mut holds = holds.iter();
            holds.any(|hold| (hold.from..=hold.to).contains(&moment))
        };
        !moments.any(|moment| out.iter().all(|holds| is_out(holds, moment)))
    };
    failures.filter(is_false).copied().collect()
}

/// Runs histories on a pool, and returns the number of failures that were checked.
fn check(builder: &FramePoolBuilder, frames: usize, seed: u64) -> usize {
    let pool = builder.build().unwrap();
    let histories = env::var("HISTORIES").map_or(150, |number| number.parse().unwrap());
    let mut checked = 0;
    for history in 0..histories {
        let clock = Clock(AtomicU64::new(0));
        let barrier = Barrier::new(THREADS);
        let results: Vec<History> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (pool, clock, barrier) = (&pool, &clock, &barrier);
                    let seed = 1 + seed + history * THREADS as u64 + thread as u64;
                    scope.spawn(move || {
                        let mut random = Random(seed);
                        barrier.wait();
                        run(pool, clock, &mut random, frames.div_ceil(2) + 1)
                    })
                })
                .collect();
            let histories = threads.into_iter().map(|thread| thread.join().unwrap());
            histories.collect()
        });
        let wrong = false_failures(frames, &results);
        assert!(
            wrong.is_empty(),
            "seed {seed}, {history}: {wrong:?} in {results:?}"
        );
        checked += results
            .iter()
            .map(|result| result.failures.len())
            .sum::<usize>();
    }
    checked
}

#[test]
fn a_failed_acquire_had_a_moment_at_which_all_frames_were_out() {
    let mut checked = 0;
    for (seed, frames) in [1, 2, 3, 5, 8].into_iter().enumerate() {
        let builder = FramePool::builder().frames(frames).frame_size(8);
        for (number, builder) in [
            builder.clone(),
            builder.clone().shards(1),
            builder.caches(false),
        ]
        .iter()
        .enumerate()
        {
            checked += check(builder, frames, (seed * 3 + number) as u64 * 1_000_000);
        }
    }
    assert!(checked > 1_000, "{checked} failures");
}

#[test]
fn a_false_failure_is_found() {
    let history = |failures: &[(u64, u64)], out: &[(usize, u64, u64)]| History {
        failures: failures
            .iter()
            .map(|&(from, to)| Interval { from, to })
            .collect(),
        out: (out.iter())
            .map(|&(slot, from, to)| (slot, Interval { from, to }))
            .collect(),
    };
    // Both frames are possibly out from 4 to 5.
    let holds = history(&[], &[(0, 1, 5), (1, 4, 9)]);
    let failures = history(&[(2, 3), (3, 4), (5, 6), (6, 8)], &[]);
    let wrong = false_failures(2, &[holds, failures]);
    let wrong: Vec<_> = wrong.iter().map(|wrong| (wrong.from, wrong.to)).collect();
    assert_eq!(wrong, [(2, 3), (6, 8)]);
}
