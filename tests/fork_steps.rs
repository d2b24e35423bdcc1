//! Forks at every step of a call that another thread is making: before each access of an atomic or
//! a lock of the crate. The child must not hang on a lock that it has a copy of, and the parent
//! must not notice anything.
#![cfg(all(target_os = "linux", ks_allocator_preempt, not(any(loom, miri))))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ks_allocator::{
    AllocatorMode, AllocatorState, Contents, Frame, FramePool, Framing, KsAllocator, PoolAllocator,
    ReframeError, Reframing, Share, SharedFrame, stop_before_access,
};

use support::in_child::in_child;
use support::poll_once::poll_once;

mod support {
    pub(crate) mod in_child;
    pub(crate) mod poll_once;
}

const FRAMES: usize = 6;
const SIZE: usize = 256;
const A_MOMENT: Duration = Duration::from_micros(100);

/// A frame and a shared frame, full of 7.
struct Frames {
    frame: Frame,
    shared: SharedFrame,
}

impl Frames {
    fn new(pool: &FramePool) -> Self {
        let filled = || {
            let mut frame = pool.try_acquire().unwrap();
            frame.fill(7);
            frame
        };
        let (frame, shared) = (filled(), filled().share());
        Self { frame, shared }
    }

    fn check(&self) {
        let mut bytes = self.frame.iter().chain(&self.shared[..]);
        assert!(bytes.all(|&byte| byte == 7));
    }
}

fn allocator(mode: AllocatorMode, has_share: bool) -> PoolAllocator {
    let mut builder = FramePool::builder().frames(FRAMES).frame_size(SIZE);
    if has_share {
        builder = builder.share(Share::new("limited").reserve(1).limit(1));
    }
    let builder = builder.mode(mode).contents(Contents::ZeroOnRelease);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    allocator
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    poll_once(future, Waker::noop())
}

/// Does all that a child may do with what it has copies of.
fn use_copies(allocator: &PoolAllocator, pool: &FramePool, frames: Frames) {
    frames.check();
    let limited = pool.with_label("limited");
    let mut held = Vec::new();
    for pool in [pool, &limited] {
        held.extend(allocator.try_acquire());
        held.extend(pool.try_acquire());
        held.extend(pool.acquire_timeout(A_MOMENT));
        held.extend(pool.acquire_many(2).into_iter().flatten());
        held.extend(pool.try_acquire_exact(2).into_iter().flatten());
        if let Poll::Ready(result) = poll(pin!(pool.acquire_async())) {
            held.extend(result);
        }
        held.extend(pool.acquire());
    }
    assert!(held.is_empty() || pool.mode() == AllocatorMode::User);
    let Frames { frame, mut shared } = frames;
    let other = shared.clone();
    drop(shared.make_mut().map(drop));
    drop((frame, shared, other));
    drop(held.pop().map(Frame::share));
    drop(held);
    assert!(pool.set_share(Share::new("limited")).is_err());
    let reframed = allocator.reframe(Framing::new(1, SIZE));
    assert!(matches!(
        reframed,
        Err(ReframeError::OtherProcess | ReframeError::NotCommitted)
    ));
    pool.close();
    allocator.begin_flush();
    allocator.end_flush();
    allocator.decommit();
    drop(allocator.commit());
    drop(allocator.acquire());
}

/// Makes the call in a thread, again and again, and forks before each of its accesses. The call
/// gets frames of its own.
fn fork_at_each_step(
    mode: AllocatorMode,
    has_share: bool,
    call: fn(&PoolAllocator, &FramePool, Frames),
) {
    for number in 0.. {
        let allocator = &allocator(mode, has_share);
        let pool = &allocator.pool().unwrap();
        let mut kept = Some(Frames::new(pool));
        let passed = Frames::new(pool);
        let (reach, reached) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let was_reached = thread::scope(|scope| {
            scope.spawn(move || {
                stop_before_access(number, move || {
                    reach.send(()).unwrap();
                    // Fails if the child has failed.
                    let _went_on = may_go_on.recv();
                });
                call(allocator, pool, passed);
            });
            // Dropped with this scope, so that the thread ends if the child fails.
            let go_on = go_on;
            let was_reached = reached.recv().is_ok();
            if was_reached {
                in_child(|| use_copies(allocator, pool, kept.take().unwrap()));
                go_on.send(()).unwrap();
            }
            was_reached
        });
        kept.unwrap().check();
        if allocator.allocator_status().state == AllocatorState::Committed {
            assert_eq!(pool.newest().free_frames(), FRAMES);
            let waiting = pool.with_label("limited").acquire();
            let others: Vec<_> = pool.acquire_many(FRAMES).unwrap().collect();
            assert_eq!((waiting.is_ok(), others.len()), (true, FRAMES - 1));
        }
        if !was_reached {
            assert!(number > 0, "the call has no step");
            return;
        }
    }
}

#[track_caller]
fn fork_at_each_step_of_all(call: fn(&PoolAllocator, &FramePool, Frames)) {
    for mode in [AllocatorMode::User, AllocatorMode::Kernel] {
        for has_share in [false, true] {
            fork_at_each_step(mode, has_share, call);
        }
    }
}

#[test]
fn forks_during_an_acquire_and_a_release() {
    fork_at_each_step_of_all(|_, pool, frames| {
        drop(frames);
        drop(pool.try_acquire().unwrap());
        drop(pool.acquire_many(2).unwrap());
        drop(pool.try_acquire_exact(2).unwrap());
    });
}

#[test]
fn forks_during_a_wait() {
    fork_at_each_step_of_all(|_, pool, _frames| {
        let _all: Vec<_> = pool.acquire_many(FRAMES).unwrap().collect();
        pool.acquire_timeout(A_MOMENT).unwrap_err();
    });
}

#[test]
fn forks_during_a_release_that_ends_a_wait() {
    fork_at_each_step_of_all(|_, pool, frames| {
        let all: Vec<_> = pool.acquire_many(FRAMES).unwrap().collect();
        let mut one = pin!(pool.acquire_async());
        let mut two = pin!(pool.acquire_exact_async(2));
        let mut canceled = Box::pin(pool.acquire_async());
        assert!(poll(one.as_mut()).is_pending());
        assert!(poll(canceled.as_mut()).is_pending());
        assert!(poll(two.as_mut()).is_pending());
        drop(canceled);
        drop((frames, all));
        assert!(poll(one).is_ready() && poll(two).is_ready());
    });
}

#[test]
fn forks_during_a_wait_for_a_share() {
    fork_at_each_step(AllocatorMode::User, true, |_, pool, _frames| {
        let limited = pool.with_label("limited");
        let held = limited.try_acquire().unwrap();
        limited.try_acquire().unwrap_err();
        let mut waiting = pin!(limited.acquire_async());
        assert!(poll(waiting.as_mut()).is_pending());
        drop(held);
        assert!(poll(waiting).is_ready());
        pool.set_share(Share::new("limited").limit(0)).unwrap();
        pool.set_share(Share::new("limited").limit(1).reserve(1))
            .unwrap();
    });
}

#[test]
fn forks_during_the_use_of_a_shared_frame() {
    fork_at_each_step_of_all(|_, _, Frames { frame, mut shared }| {
        let (other, slice) = (shared.clone(), shared.slice(..10).unwrap());
        shared.make_mut().unwrap().fill(8);
        assert_eq!(other[..10], slice[..]);
        drop((slice, frame.share()));
        drop(other.try_into_unique().unwrap());
    });
}

#[test]
fn forks_during_changes_of_state() {
    fork_at_each_step_of_all(|allocator, pool, frames| {
        let _all: Vec<_> = pool.acquire_many(FRAMES).unwrap().collect();
        let mut waiting = pin!(pool.acquire_async());
        assert!(poll(waiting.as_mut()).is_pending());
        allocator.begin_flush();
        assert!(poll(waiting).is_ready());
        allocator.end_flush();
        allocator.decommit();
        drop(frames);
        allocator.commit().unwrap();
    });
}

#[test]
fn forks_during_changes_of_framing() {
    fork_at_each_step_of_all(|allocator, pool, frames| {
        let _all: Vec<_> = pool.acquire_many(FRAMES).unwrap().collect();
        let mut waiting = pin!(pool.acquire_async());
        assert!(poll(waiting.as_mut()).is_pending());
        let framing = Framing::new(FRAMES, 2 * SIZE);
        let drain = Reframing::new(framing).drain(Duration::ZERO);
        allocator.reframe(drain).unwrap_err();
        allocator.reframe(framing).unwrap();
        assert!(poll(waiting).is_ready());
        drop(frames);
    });
}

#[test]
fn forks_during_the_end_of_a_pool() {
    fork_at_each_step_of_all(|_, pool, frames| {
        pool.close();
        drop(frames);
        pool.wait_idle(Duration::ZERO).unwrap_err();
    });
}

#[test]
fn forks_during_loans() {
    fork_at_each_step(
        AllocatorMode::Kernel,
        false,
        |_, pool, Frames { frame, shared }| {
            let token = frame.lend().unwrap();
            let again = pool.redeem(token).unwrap();
            let _again = again.lend().unwrap();
            assert!(pool.redeem(token).is_err());
            let _shared = shared.lend().unwrap();
            assert_eq!(pool.revoke_all().len(), 2);
        },
    );
}
