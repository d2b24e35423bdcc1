//! Acquires of several frames at once: all or none, in the order of the wait queue.

#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ks_allocator::{AcquireError, FrameBatch};

use support::assert_all_free::assert_all_free;
use support::marked_frame::MarkedFrame;
use support::poll_once::poll_once;
use support::pool::pool;
use support::wait_until::wait_until;

mod support {
    pub(crate) mod assert_all_free;
    pub(crate) mod marked_frame;
    pub(crate) mod poll_once;
    pub(crate) mod pool;
    pub(crate) mod wait_until;
}

/// Two stages that each need two frames, of three in all, deadlock if they acquire one after the
/// other.
#[test]
fn stages_that_need_several_frames_do_not_deadlock() {
    const ROUNDS: usize = 2_000;
    let pool = pool(3, 64);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let batch = pool.acquire_exact(2).unwrap();
                    let marked: Vec<_> = batch.map(MarkedFrame::new).collect();
                    assert_eq!(marked.len(), 2);
                }
            });
        }
    });
    assert_all_free(&pool);
}

#[test]
fn a_call_takes_all_or_none() {
    let pool = pool(4, 64);
    let one = pool.acquire().unwrap();
    let too_few = AcquireError::TooFew {
        requested: 4,
        free: 3,
    };
    assert_eq!(
        too_few.to_string(),
        "the call asks for 4 frames at once, of which 3 are free"
    );
    assert_eq!(pool.try_acquire_exact(4).unwrap_err(), too_few);
    let timed_out = pool.acquire_exact_timeout(4, Duration::from_millis(2));
    assert!(matches!(timed_out, Err(AcquireError::TimedOut(_))));
    assert_eq!(pool.free_frames(), 3);
    let three = pool.try_acquire_exact(3).unwrap();
    assert_eq!((three.len(), pool.free_frames()), (3, 0));
    drop((one, three));
    assert_eq!(pool.acquire_exact(4).unwrap().len(), 4);
    assert!(pool.acquire_exact(0).unwrap().is_empty());
    assert_all_free(&pool);
}

#[test]
fn more_frames_than_the_pool_has_are_an_error() {
    let too_many = |requested, max| AcquireError::TooMany { requested, max };
    let small = pool(4, 64);
    assert_eq!(small.try_acquire_exact(5).unwrap_err(), too_many(5, 4));
    assert_eq!(small.acquire_exact(5).unwrap_err(), too_many(5, 4));
    let timed = small.acquire_exact_timeout(5, Duration::from_secs(60));
    assert_eq!(timed.unwrap_err(), too_many(5, 4));
    let polled = poll_once(pin!(small.acquire_exact_async(5)), Waker::noop());
    assert!(matches!(polled, Poll::Ready(Err(error)) if error == too_many(5, 4)));
    let large = pool(100, 64);
    let max = FrameBatch::MAX;
    assert_eq!(large.acquire_exact(65).unwrap_err(), too_many(65, max));
    assert_eq!(large.acquire_exact(64).unwrap().len(), 64);
}

/// A caller that wants many frames is not overtaken by later callers that want one each.
#[test]
fn the_order_of_the_queue_holds_for_any_number_of_frames() {
    let pool = pool(3, 64);
    let mut held: Vec<_> = pool.acquire_exact(3).unwrap().collect();
    let mut first = pin!(pool.acquire_exact_async(2));
    let mut second = pin!(pool.acquire_async());
    assert!(poll_once(first.as_mut(), Waker::noop()).is_pending());
    assert!(poll_once(second.as_mut(), Waker::noop()).is_pending());
    drop(held.pop());
    assert!(poll_once(first.as_mut(), Waker::noop()).is_pending());
    assert!(poll_once(second.as_mut(), Waker::noop()).is_pending());
    drop(held.pop());
    let Poll::Ready(Ok(pair)) = poll_once(first, Waker::noop()) else {
        panic!("two frames were released");
    };
    assert!(poll_once(second.as_mut(), Waker::noop()).is_pending());
    drop(held.pop());
    assert!(poll_once(second, Waker::noop()).is_ready());
    drop(pair);
    assert_all_free(&pool);
}

#[test]
fn frames_that_were_collected_go_to_the_next_waiter_if_the_wait_is_dropped() {
    let pool = pool(2, 64);
    let mut held: Vec<_> = pool.acquire_exact(2).unwrap().collect();
    let mut pair = Box::pin(pool.acquire_exact_async(2));
    let mut single = pin!(pool.acquire_async());
    assert!(poll_once(pair.as_mut(), Waker::noop()).is_pending());
    assert!(poll_once(single.as_mut(), Waker::noop()).is_pending());
    drop(held.pop());
    drop(pair);
    assert!(poll_once(single, Waker::noop()).is_ready());
    drop(held);
    assert_all_free(&pool);
}

#[test]
fn collected_frames_are_held_by_the_waiter_in_reports() {
    let pool = pool(2, 64);
    let mut held: Vec<_> = pool.acquire_exact(2).unwrap().collect();
    let stage = pool.with_label("stitch");
    let mut pair = Box::pin(stage.acquire_exact_async(2));
    assert!(poll_once(pair.as_mut(), Waker::noop()).is_pending());
    drop(held.pop());
    let report = pool.holders().to_string();
    assert!(report.contains("1 held by `stitch` ("), "{report}");
    drop(pair);
    drop(held);
    assert_all_free(&pool);
}

#[test]
fn a_flush_fails_the_wait_and_loses_no_frame() {
    let pool = pool(3, 64);
    let mut held: Vec<_> = pool.acquire_exact(3).unwrap().collect();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire_exact(3).map(drop));
        wait_until(|| pool.waiting() == 1);
        drop(held.pop());
        drop(held.pop());
        pool.begin_flush();
        assert_eq!(waiter.join().unwrap(), Err(AcquireError::Flushing));
    });
    assert_eq!(
        pool.try_acquire_exact(1).unwrap_err(),
        AcquireError::Flushing
    );
    pool.end_flush();
    drop(held);
    assert_all_free(&pool);
}

#[test]
fn callers_of_all_kinds_share_a_pool() {
    const ROUNDS: usize = 3_000;
    let pool = pool(6, 64);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for wanted in [1, 2, 5, 6] {
            let (pool, served) = (&pool, &served);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let acquired = match round % 3 {
                        0 => pool.acquire_exact_timeout(wanted, Duration::from_micros(50)),
                        1 => pool.try_acquire_exact(wanted),
                        _ => pool.acquire_exact(wanted),
                    };
                    if let Ok(batch) = acquired {
                        assert_eq!(batch.len(), wanted);
                        let marked: Vec<_> = batch.map(MarkedFrame::new).collect();
                        drop(marked);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(served.into_inner() >= 4 * ROUNDS / 3);
    assert_all_free(&pool);
}
