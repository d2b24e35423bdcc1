//! The final end of a pool: `close`, and the wait until all frames are back.

use std::io;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{
    AcquireError, AllocatorState, EventKind, FramePool, Framing, KsAllocator, PoolAllocator,
};

use support::committed_allocator::committed_allocator;
use support::poll_once::poll_once;
use support::pool::pool;
use support::wait_until::wait_until;

mod support {
    pub(crate) mod committed_allocator;
    pub(crate) mod poll_once;
    pub(crate) mod pool;
    pub(crate) mod wait_until;
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_close_ends_every_wait_through_every_handle() {
    let pool = pool(1, 64);
    let held = pool.acquire().unwrap();
    let other = pool.with_label("other");
    let mut future = pin!(other.acquire_async());
    assert!(poll_once(future.as_mut(), Waker::noop()).is_pending());
    thread::scope(|scope| {
        let waiters = [
            scope.spawn(|| pool.acquire().map(drop)),
            scope.spawn(|| other.acquire().map(drop)),
            scope.spawn(|| other.acquire_timeout(LONG).map(drop)),
            scope.spawn(|| pool.acquire_many(1).map(drop)),
        ];
        wait_until(|| pool.waiting() == 5);
        other.close();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(AcquireError::Closed));
        }
    });
    let polled = poll_once(future.as_mut(), Waker::noop()).map_ok(drop);
    assert_eq!(polled, Poll::Ready(Err(AcquireError::Closed)));
    assert_eq!(held.len(), 64);
}

#[test]
fn no_other_call_opens_a_closed_pool_or_changes_its_error() {
    let allocator = committed_allocator(2, 64);
    let pool = allocator.pool().unwrap();
    let copy = pool.acquire().unwrap().share();
    let mut copy_of_copy = copy.clone();
    pool.close();
    let calls: [(&str, &dyn Fn()); 7] = [
        ("nothing", &|| ()),
        ("begin_flush", &|| pool.begin_flush()),
        ("end_flush", &|| pool.end_flush()),
        ("close", &|| pool.close()),
        ("allocator.begin_flush", &|| allocator.begin_flush()),
        ("allocator.end_flush", &|| allocator.end_flush()),
        ("decommit", &|| allocator.decommit()),
    ];
    for (name, call) in calls {
        call();
        assert_eq!(
            pool.try_acquire().unwrap_err(),
            AcquireError::Closed,
            "{name}"
        );
        assert_eq!(pool.acquire().unwrap_err(), AcquireError::Closed, "{name}");
        assert_eq!(
            allocator.acquire().unwrap_err(),
            AcquireError::Closed,
            "{name}"
        );
    }
    assert_eq!(pool.try_acquire_many(2).unwrap_err(), AcquireError::Closed);
    assert_eq!(copy_of_copy.make_mut().unwrap_err(), AcquireError::Closed);
    let error = io::Error::from(AcquireError::Closed);
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_commit_after_a_close_makes_a_new_pool() {
    let allocator = committed_allocator(2, 64);
    let (closed, mut frame) = (allocator.pool().unwrap(), allocator.acquire().unwrap());
    closed.close();
    assert_eq!(
        allocator.allocator_status().state,
        AllocatorState::Decommitting
    );
    assert!(allocator.set_framing(&Framing::new(1, 1)).is_err());

    allocator.commit().unwrap();
    let status = allocator.allocator_status();
    assert_eq!(
        (status.state, status.allocated_frames),
        (AllocatorState::Committed, 0)
    );
    let all = [
        allocator.try_acquire().unwrap(),
        allocator.try_acquire().unwrap(),
    ];
    assert!(all.iter().all(|new| new.as_ptr() != frame.as_ptr()));
    frame.fill(7);
    assert!(closed.wait_idle(Duration::ZERO).is_err());
    drop(frame);
    closed.wait_idle(LONG).unwrap();
    assert_eq!(closed.try_acquire().unwrap_err(), AcquireError::Closed);
    assert_eq!(allocator.allocator_status().allocated_frames, 2);

    drop(all);
    allocator.pool().unwrap().close();
    assert_eq!(
        allocator.allocator_status().state,
        AllocatorState::Uncommitted
    );
    allocator.set_framing(&Framing::new(1, 1)).unwrap();
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap().len(), 1);
}

#[test]
fn a_flush_lasts_until_its_end_in_the_pool_after_a_closed_one() {
    let allocator = committed_allocator(1, 64);
    allocator.begin_flush();
    allocator.pool().unwrap().close();
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    allocator.end_flush();
    assert!(allocator.acquire().is_ok());
}

#[test]
fn a_wait_until_idle_ends_with_the_release_of_the_last_frame() {
    // With and without thread caches.
    for frames in [3, 64] {
        let pool = pool(frames, 64);
        let held = pool.acquire_many(2).unwrap().collect::<Vec<_>>();
        drop(pool.acquire().unwrap());
        pool.close();
        thread::scope(|scope| {
            let waiters = [(); 2].map(|()| scope.spawn(|| pool.wait_idle(LONG)));
            let mut held = held.into_iter();
            drop(held.next());
            assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
            drop(held.next());
            for waiter in waiters {
                waiter.join().unwrap().unwrap();
            }
        });
        assert_eq!(pool.free_frames(), frames);
        pool.wait_idle(Duration::ZERO).unwrap();
    }
}

#[test]
fn a_wait_until_idle_names_the_holders_when_the_time_is_up() {
    let pool = pool(2, 64);
    let held = pool.with_label("encoder").acquire().unwrap();
    for stop in [
        FramePool::begin_flush,
        FramePool::end_flush,
        FramePool::close,
    ] {
        stop(&pool);
        let began = Instant::now();
        let error = pool.wait_idle(Duration::from_millis(5)).unwrap_err();
        assert!(began.elapsed() >= Duration::from_millis(5));
        let [holder] = &error.holders().entries[..] else {
            panic!("one frame is out: {error}");
        };
        assert_eq!(holder.label.map(|label| label.name()), Some("encoder"));
        assert!(error.to_string().contains("1 held by `encoder`"), "{error}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    }
    drop(held);
}

#[test]
fn a_wait_until_idle_works_in_every_state_and_while_it_changes() {
    let pool = pool(1, 64);
    pool.wait_idle(Duration::ZERO).unwrap();
    for change in [
        FramePool::begin_flush,
        FramePool::end_flush,
        FramePool::close,
    ] {
        let Ok(held) = pool.acquire() else {
            // The flush of the last round.
            change(&pool);
            continue;
        };
        thread::scope(|scope| {
            let waiter = scope.spawn(|| pool.wait_idle(LONG));
            change(&pool);
            assert!(!waiter.is_finished());
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::Closed);
}

#[test]
fn close_and_wait_under_load_leave_no_frame_out() {
    for round in 0..60 {
        let pool = pool(if round % 2 == 0 { 4 } else { 64 }, 64);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Ok(frame) = pool.acquire() {
                        drop(frame.share().clone());
                    }
                });
            }
            thread::yield_now();
            pool.close();
            pool.wait_idle(LONG).unwrap();
            assert_eq!(pool.free_frames(), pool.frames());
        });
    }
}

#[test]
fn a_recording_shows_the_close() {
    let builder = FramePool::builder().frames(1).frame_size(64).record(100);
    let pool = builder.build().unwrap();
    pool.close();
    let kinds = pool.recording().unwrap().events.into_iter();
    let kinds: Vec<_> = kinds.map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Committed, EventKind::Closed]);
}

#[test]
fn an_allocator_that_is_dropped_leaves_a_closed_pool_closed() {
    let allocator = PoolAllocator::with_framing(Framing::new(1, 64)).unwrap();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    pool.close();
    drop(allocator);
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::Closed);
}
