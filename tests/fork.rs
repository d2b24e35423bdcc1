//! Pools in a child process that was forked after they were made.
#![cfg(all(target_os = "linux", not(any(loom, miri))))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{
    AcquireError, AllocatorMode, Contents, Frame, FramePool, FramePoolBuilder, Framing,
    KsAllocator, PoolAllocator, ReframeError, Share, ShareError, TokenError,
};

use support::in_child::in_child;

mod support {
    pub(crate) mod in_child;
}

const FRAMES: usize = 4;
const SIZE: usize = 5000;

/// Bound of waits that end earlier unless the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn builder(mode: AllocatorMode) -> FramePoolBuilder {
    let builder = FramePool::builder().frames(FRAMES).frame_size(SIZE);
    builder.mode(mode).contents(Contents::ZeroOnRelease)
}

fn pool(mode: AllocatorMode) -> FramePool {
    builder(mode).build().unwrap()
}

/// Acquires a frame and fills it with 7.
fn filled(pool: &FramePool) -> Frame {
    let mut frame = pool.acquire().unwrap();
    frame.fill(7);
    frame
}

fn assert_other_process<T>(result: Result<T, AcquireError>) {
    assert_eq!(result.err(), Some(AcquireError::OtherProcess));
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Acquires in every way that returns at once, or that would wait if a frame were not free.
fn assert_acquires_fail(pool: &FramePool) {
    assert_other_process(pool.try_acquire());
    assert_other_process(pool.acquire());
    assert_other_process(pool.acquire_timeout(Duration::from_secs(60)));
    assert_other_process(pool.try_acquire_many(2));
    assert_other_process(pool.acquire_many(2));
    match poll_once(pool.acquire_async()) {
        Poll::Ready(result) => assert_other_process(result),
        Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn a_child_that_drops_its_copies_does_not_change_the_frames_of_its_parent() {
    let pool = pool(AllocatorMode::Kernel);
    let mut frames = [(); 3].map(|()| Some(filled(&pool)));
    let mut shared = frames[2].take().map(Frame::share);
    in_child(|| {
        let frame = frames[0].take().unwrap();
        assert_eq!(*frame, [7; SIZE]);
        drop(frame);
        frames = [const { None }; 3];
        shared = None;
    });
    for frame in frames.iter().flatten() {
        assert_eq!(**frame, [7; SIZE]);
    }
    assert_eq!(**shared.as_ref().unwrap(), [7; SIZE]);
    assert_eq!(pool.free_frames(), FRAMES - 3);
    drop((frames, shared));
    assert_eq!(pool.free_frames(), FRAMES);
    assert!(pool.acquire().unwrap().iter().all(|&byte| byte == 0));
}

#[test]
fn a_child_acquires_no_frame_of_shared_memory() {
    let pool = pool(AllocatorMode::Kernel);
    let mut held = Some(filled(&pool));
    let mut batch = Some(pool.acquire_many(2).unwrap());
    in_child(|| {
        assert_acquires_fail(&pool);
        let error = pool.try_acquire().unwrap_err().to_string();
        assert!(error.contains("forked from"), "{error}");
        let mut shared = held.take().unwrap().share();
        let other = shared.clone();
        assert_other_process(shared.make_mut().map(drop));
        drop((shared, other));
        // Frames that were out at the fork stay usable.
        drop(batch.as_mut().unwrap().next().unwrap());
        drop(batch.take());
        assert_acquires_fail(&pool);
        assert_acquires_fail(&pool);
    });
    assert_eq!(pool.free_frames(), FRAMES - 3);
    assert_eq!(*held.unwrap(), [7; SIZE]);
    drop(batch);
    assert!(pool.acquire().is_ok());
}

#[test]
fn a_child_uses_free_frames_of_private_memory_and_does_not_wait_for_others() {
    let pool = pool(AllocatorMode::User);
    let held = filled(&pool);
    in_child(|| {
        let frames: Vec<_> = (1..FRAMES).map(|_| filled(&pool)).collect();
        let exhausted = pool.try_acquire().unwrap_err();
        assert!(matches!(exhausted, AcquireError::Exhausted(_)));
        assert_other_process(pool.acquire());
        assert_other_process(pool.acquire_timeout(Duration::from_secs(60)));
        assert!(matches!(
            poll_once(pool.acquire_async()),
            Poll::Ready(Err(AcquireError::OtherProcess))
        ));
        drop(frames);
        drop(pool.acquire().unwrap());
    });
    assert_eq!(pool.free_frames(), FRAMES - 1);
    assert_eq!(*held, [7; SIZE]);
}

struct Report(Sender<()>);

impl Wake for Report {
    fn wake(self: Arc<Self>) {
        self.0.send(()).unwrap();
    }
}

#[test]
fn a_child_draws_on_the_shares_of_its_copy() {
    let builder = FramePool::builder().frames(4).frame_size(64);
    let pool = builder.share(Share::new("one").limit(1)).build().unwrap();
    let one = pool.with_label("one");
    let held = one.try_acquire().unwrap();
    let mut waiting = pin!(one.acquire_async());
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    in_child(|| {
        // More than the count of a share holds before a lock is needed to empty it.
        for _ in 0..40_000 {
            drop(pool.try_acquire().unwrap());
        }
        assert!(one.try_acquire().is_err());
        drop(held);
        drop(one.try_acquire().unwrap());
        let error = pool.set_share(Share::new("one")).unwrap_err();
        assert_eq!(error, ShareError::OtherProcess);
    });
}

#[test]
fn a_release_in_a_child_wakes_no_waiter() {
    for mode in [AllocatorMode::User, AllocatorMode::Kernel] {
        let pool = pool(mode);
        let mut frames: Vec<_> = (0..FRAMES).map(|_| filled(&pool)).collect();
        let (sender, wakes) = mpsc::channel();
        let waker = Waker::from(Arc::new(Report(sender)));
        let mut future = pin!(pool.acquire_async());
        let mut context = Context::from_waker(&waker);
        assert!(future.as_mut().poll(&mut context).is_pending());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| pool.acquire_timeout(PATIENCE).is_ok());
            while pool.waiting() < 2 {
                thread::yield_now();
            }
            in_child(|| {
                frames.clear();
                assert!(
                    wakes.try_recv().is_err(),
                    "the child woke a task of its parent"
                );
                let polled = future.as_mut().poll(&mut context);
                assert!(matches!(
                    polled,
                    Poll::Ready(Err(AcquireError::OtherProcess))
                ));
            });
            assert_eq!(pool.waiting(), 2);
            assert!(frames.iter().all(|frame| **frame == [7; SIZE]));
            frames.truncate(FRAMES - 2);
            assert!(waiter.join().unwrap());
        });
        wakes.recv().unwrap();
        assert!(future.as_mut().poll(&mut context).is_ready());
    }
}

#[test]
fn a_child_ends_no_pool_of_its_parent_and_calls_no_hook() {
    for mode in [AllocatorMode::User, AllocatorMode::Kernel] {
        let (sender, leaks) = mpsc::channel();
        let leaky = builder(mode).on_leak(move |_| sender.send(()).unwrap());
        let mut pool = Some(leaky.build().unwrap());
        let mut frame = pool.as_ref().map(filled);
        in_child(|| {
            let handle = pool.take().unwrap();
            handle.begin_flush();
            drop(handle);
            assert!(leaks.try_recv().is_err());
            assert_eq!(**frame.as_ref().unwrap(), [7; SIZE]);
            drop(frame.take());
        });
        assert_eq!(*frame.unwrap(), [7; SIZE]);
        assert_eq!(pool.unwrap().free_frames(), FRAMES);
    }
}

#[test]
fn an_allocator_in_a_child_fails_acquires_and_does_not_affect_its_parent() {
    let allocator = PoolAllocator::with_framing(Framing::new(FRAMES, SIZE)).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    allocator.commit().unwrap();
    in_child(|| {
        assert_other_process(allocator.try_acquire());
        allocator.decommit();
        assert_other_process(allocator.acquire());
    });
    let held = allocator.acquire().unwrap();
    allocator.decommit();
    in_child(|| assert_other_process(allocator.acquire()));
    drop(held);
    allocator.set_framing(&Framing::new(1, SIZE)).unwrap();
    allocator.commit().unwrap();
}

#[test]
fn a_child_does_not_lend_redeem_or_revoke() {
    let pool = pool(AllocatorMode::Kernel);
    let token = filled(&pool).lend().unwrap();
    let mut held = Some(filled(&pool));
    in_child(|| {
        assert_eq!(pool.redeem(token).unwrap_err(), TokenError::OtherProcess);
        assert_eq!(pool.revoke(token).unwrap_err(), TokenError::OtherProcess);
        assert!(pool.revoke_slot(0).is_none() && pool.revoke_all().is_empty());
        let frame = held.take().unwrap().lend().unwrap_err();
        drop(frame);
    });
    assert_eq!(*pool.redeem(token).unwrap(), [7; SIZE]);
    assert_eq!(*held.unwrap(), [7; SIZE]);
}

#[test]
fn a_pool_that_a_child_makes_is_its_own() {
    let _older = pool(AllocatorMode::Kernel);
    in_child(|| {
        let pool = pool(AllocatorMode::Kernel);
        let frame = filled(&pool);
        in_child(|| assert_acquires_fail(&pool));
        drop(frame);
        assert_eq!(pool.free_frames(), FRAMES);
        assert!(pool.acquire().unwrap().iter().all(|&byte| byte == 0));
        assert!(pool.acquire().unwrap().lend().is_ok());
    });
}

/// At many of these forks, a thread of the parent is inside the pool and holds one of its locks.
#[test]
fn a_child_never_hangs_on_a_lock_of_its_parent() {
    for mode in [AllocatorMode::User, AllocatorMode::Kernel] {
        let pool = builder(mode).frames(2).build().unwrap();
        let mut held = Some(filled(&pool));
        let (stop, stopped) = mpsc::channel::<()>();
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while start.elapsed() < PATIENCE
                        && pool.acquire_timeout(Duration::from_micros(50)).err()
                            != Some(AcquireError::Flushing)
                    {}
                });
            }
            let timed = &pool;
            scope.spawn(move || {
                while start.elapsed() < PATIENCE
                    && stopped.try_recv() == Err(mpsc::TryRecvError::Empty)
                {
                    drop(timed.acquire_timeout(Duration::from_micros(50)));
                    drop(timed.commit_report());
                }
            });
            for _ in 0..150 {
                in_child(|| {
                    drop(held.take());
                    for _ in 0..3 {
                        drop(pool.acquire_timeout(Duration::from_micros(1)));
                    }
                });
            }
            drop(stop);
            pool.begin_flush();
        });
        assert_eq!(*held.unwrap(), [7; SIZE]);
    }
}

#[test]
fn a_child_does_not_re_frame() {
    let allocator = PoolAllocator::with_framing(Framing::new(1, SIZE)).unwrap();
    allocator.commit().unwrap();
    let held = allocator.acquire().unwrap();
    let pool = allocator.pool().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.acquire().map(drop));
        while pool.waiting() == 0 {
            thread::yield_now();
        }
        in_child(|| {
            let error = allocator.reframe(Framing::new(1, 64)).unwrap_err();
            assert!(matches!(error, ReframeError::OtherProcess), "{error}");
        });
        drop(held);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

#[test]
fn frames_that_a_child_releases_are_free_in_its_copy_after_waits_in_its_parent() {
    let pool = pool(AllocatorMode::User);
    let mut held: Vec<_> = (0..FRAMES).map(|_| pool.acquire().unwrap()).collect();
    assert!(pool.acquire_timeout(Duration::from_millis(1)).is_err());
    in_child(|| {
        held.clear();
        assert_eq!(pool.free_frames(), FRAMES);
        drop(pool.try_acquire().unwrap());
    });
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        while pool.waiting() == 0 {
            thread::yield_now();
        }
        in_child(|| {
            held.clear();
            assert_eq!(pool.free_frames(), FRAMES);
        });
        held.clear();
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}
