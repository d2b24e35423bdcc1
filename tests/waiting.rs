//! Waits for a frame: blocked threads, timed acquires and futures share one FIFO queue.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{AcquireError, Frame, FramePool, KsAllocator, PoolAllocator, Starvation};

use support::block_on::block_on;
use support::committed_allocator::committed_allocator;
use support::poll_once::poll_once;
use support::pool::pool;
use support::wait_until::wait_until;

mod support {
    pub(crate) mod block_on;
    pub(crate) mod committed_allocator;
    pub(crate) mod poll_once;
    pub(crate) mod pool;
    pub(crate) mod wait_until;
}

const FRAME_SIZE: usize = 64;

/// A pool of one shard, so that a batch can take all of its frames.
fn pool_of_one_shard(frames: usize) -> FramePool {
    let builder = FramePool::builder().frames(frames).frame_size(FRAME_SIZE);
    builder.shards(1).build().unwrap()
}

/// A task that counts its wake-ups.
#[derive(Default)]
struct Task(AtomicU16);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn wakeups(&self) -> u16 {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll<F: Future>(future: Pin<&mut F>, task: &Arc<Task>) -> Poll<F::Output> {
    poll_once(future, &Waker::from(task.clone()))
}

#[test]
fn a_release_ends_a_wait() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
        wait_until(|| pool.waiting() == 1);
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn a_spurious_unpark_does_not_end_a_wait() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
        for _ in 0..10 {
            wait_until(|| pool.waiting() == 1);
            waiter.thread().unpark();
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!waiter.is_finished());
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn a_timeout_is_not_early_and_the_waiter_leaves_the_queue() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let timeout = Duration::from_millis(30);
    let began = Instant::now();
    assert_eq!(
        pool.acquire_timeout(timeout).unwrap_err(),
        AcquireError::TimedOut(Starvation::default())
    );
    assert!(began.elapsed() >= timeout);
    assert_eq!(pool.waiting(), 0);
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
    assert!(pool.try_acquire().is_ok());
}

#[test]
fn a_timeout_of_zero_does_not_enter_the_queue() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let error = pool.acquire_timeout(Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("1 of 1 frame is out: 1 held by"));
    assert_eq!(error, AcquireError::TimedOut(Starvation::default()));
    let stats = pool.stats();
    assert_eq!(
        (stats.waits, stats.timeouts, stats.failed_acquires),
        (0, 0, 1)
    );
    pool.begin_flush();
    let error = pool.acquire_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(error, AcquireError::Flushing);
    pool.end_flush();
    drop(frame);
    drop(pool.acquire_timeout(Duration::ZERO).unwrap());
}

#[test]
fn a_timeout_beyond_the_range_of_the_clock_is_no_limit() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            pool.acquire_timeout(Duration::MAX)
                .map(|frame| frame.slot())
        });
        wait_until(|| pool.waiting() == 1);
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn threads_and_futures_are_served_in_the_order_of_their_arrival() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let (served, order) = mpsc::channel();
    let tasks = [(); 3].map(|()| Task::new());
    let mut futures = [(); 3].map(|()| Box::pin(pool.acquire_async()));

    thread::scope(|scope| {
        // Waiters 0, 2 and 4 are futures; 1, 3 and 5 are threads.
        for (pair, (future, task)) in futures.iter_mut().zip(&tasks).enumerate() {
            assert!(poll(future.as_mut(), task).is_pending());
            let (handle, served) = (pool.clone(), served.clone());
            scope.spawn(move || {
                let frame = match pair {
                    0 => handle.acquire(),
                    _ => handle.acquire_timeout(Duration::from_secs(600)),
                };
                served.send(2 * pair + 1).unwrap();
                drop(frame.unwrap());
            });
            wait_until(|| pool.waiting() == 2 * pair + 2);
        }
        drop(frame);
        for (pair, (future, task)) in futures.iter_mut().zip(&tasks).enumerate() {
            // The frame is assigned to this future. No later waiter has sent its number yet.
            wait_until(|| task.wakeups() > 0);
            served.send(2 * pair).unwrap();
            assert!(poll(future.as_mut(), task).is_ready());
        }
    });
    drop(served);
    assert_eq!(order.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    drop(futures);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn try_acquire_does_not_overtake_the_queue() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let task = Task::new();
    let mut future = pin!(pool.acquire_async());
    assert!(poll(future.as_mut(), &task).is_pending());
    drop(frame);
    assert_eq!(
        pool.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    assert!(matches!(poll(future, &task), Poll::Ready(Ok(_))));
    assert!(pool.try_acquire().is_ok());
}

#[test]
fn decommit_fails_every_pending_acquire_even_if_a_commit_follows_at_once() {
    for waiters in [1, 2, 5, 16] {
        let allocator = committed_allocator(2, FRAME_SIZE);
        let pool = allocator.pool().unwrap();
        let held = [pool.acquire().unwrap(), pool.acquire().unwrap()];
        thread::scope(|scope| {
            let threads: Vec<_> = (0..waiters)
                .map(|_| scope.spawn(|| allocator.acquire().map(drop)))
                .collect();
            let task = Task::new();
            let mut future = pin!(pool.acquire_async());
            assert!(poll(future.as_mut(), &task).is_pending());
            wait_until(|| pool.waiting() == waiters + 1);

            allocator.decommit();
            allocator.commit().unwrap();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), Err(AcquireError::NotCommitted));
            }
            assert_eq!(task.wakeups(), 1);
            let failed = Poll::Ready(Err(AcquireError::NotCommitted));
            assert_eq!(poll(future, &task).map_ok(drop), failed);
        });
        drop(held);
        assert_eq!(pool.free_frames(), 2);
    }
}

#[test]
fn a_flush_fails_every_pending_acquire_and_end_flush_ends_it() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiters = [(); 3].map(|()| scope.spawn(|| pool.acquire().map(drop)));
        wait_until(|| pool.waiting() == 3);
        pool.begin_flush();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(AcquireError::Flushing));
        }
    });
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::Flushing);
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
    pool.end_flush();
    assert!(pool.acquire().is_ok());
}

#[test]
fn a_frame_that_is_released_during_a_flush_is_free_afterwards() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    pool.begin_flush();
    drop(frame);
    pool.end_flush();
    assert_eq!(pool.free_frames(), 1);
    assert!(pool.try_acquire().is_ok());
}

#[test]
fn a_future_is_ready_at_its_first_poll_while_a_frame_is_free() {
    let pool = pool(2, FRAME_SIZE);
    let task = Task::new();
    let frame = poll(pin!(pool.acquire_async()), &task);
    assert!(matches!(frame, Poll::Ready(Ok(_))));
    assert_eq!((task.wakeups(), pool.free_frames()), (0, 1));
}

#[test]
fn a_release_on_another_thread_wakes_a_future() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| block_on(pool.acquire_async()).map(|frame| frame.slot()));
        wait_until(|| pool.waiting() == 1);
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn only_the_waker_of_the_last_poll_is_woken() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let (old, new) = (Task::new(), Task::new());
    let mut future = pin!(pool.acquire_async());
    assert!(poll(future.as_mut(), &old).is_pending());
    assert!(poll(future.as_mut(), &new).is_pending());
    drop(frame);
    assert_eq!((old.wakeups(), new.wakeups()), (0, 1));
    assert!(poll(future, &new).is_ready());
}

#[test]
fn a_dropped_future_leaves_the_queue() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let (first, second) = (Task::new(), Task::new());
    let mut dropped = Box::pin(pool.acquire_async());
    let mut next = pin!(pool.acquire_async());
    assert!(poll(dropped.as_mut(), &first).is_pending());
    assert!(poll(next.as_mut(), &second).is_pending());
    drop(dropped);
    assert_eq!(pool.waiting(), 1);
    drop(frame);
    assert_eq!((first.wakeups(), second.wakeups()), (0, 1));
    assert!(matches!(poll(next, &second), Poll::Ready(Ok(_))));
}

#[test]
fn a_dropped_future_passes_its_assigned_frame_to_the_next_waiter() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let (first, second) = (Task::new(), Task::new());
    let mut dropped = Box::pin(pool.acquire_async());
    let mut next = pin!(pool.acquire_async());
    assert!(poll(dropped.as_mut(), &first).is_pending());
    assert!(poll(next.as_mut(), &second).is_pending());
    drop(frame);
    assert_eq!((first.wakeups(), second.wakeups()), (1, 0));
    drop(dropped);
    assert_eq!(second.wakeups(), 1);
    match poll(next, &second) {
        Poll::Ready(Ok(frame)) => drop(frame),
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn a_future_that_was_never_polled_is_not_in_the_queue() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let future = pool.acquire_async();
    drop(frame);
    assert!(pool.try_acquire().is_ok());
    drop(future);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn the_release_of_a_batch_serves_several_waiters() {
    let pool = pool_of_one_shard(8);
    let batch = pool.acquire_many(8).unwrap();
    let task = Task::new();
    let mut futures: Vec<_> = (0..5).map(|_| Box::pin(pool.acquire_async())).collect();
    for future in &mut futures {
        assert!(poll(future.as_mut(), &task).is_pending());
    }
    drop(batch);
    assert_eq!((task.wakeups(), pool.free_frames()), (5, 3));
    drop(futures);
    assert_eq!(pool.free_frames(), 8);
}

/// A task whose waker runs a closure.
struct OnWake<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn a_waker_may_call_the_allocator_that_wakes_it() {
    let allocator = Arc::new(committed_allocator(1, FRAME_SIZE));
    let pool = allocator.pool().unwrap();
    let frame = pool.acquire().unwrap();
    let calls = Arc::new(AtomicU16::new(0));
    let waker = {
        let (allocator, calls) = (allocator.clone(), calls.clone());
        Waker::from(Arc::new(OnWake(move || {
            allocator.allocator_status();
            allocator.decommit();
            allocator.commit().unwrap();
            allocator.begin_flush();
            allocator.end_flush();
            calls.fetch_add(1, Ordering::Relaxed);
        })))
    };
    let fail_waiters: [fn(&PoolAllocator); 2] = [KsAllocator::decommit, KsAllocator::begin_flush];
    for fail_waiters in fail_waiters {
        let mut future = pin!(pool.acquire_async());
        assert!(poll_once(future.as_mut(), &waker).is_pending());
        fail_waiters(&allocator);
        assert!(matches!(poll_once(future, &waker), Poll::Ready(Err(_))));
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    drop(frame);
    assert!(pool.acquire().is_ok());
}

/// Returns a waker that panics. The drop of the payload panics as well.
fn panicking_waker() -> Waker {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("the drop of a panic payload");
        }
    }
    Waker::from(Arc::new(OnWake(|| std::panic::panic_any(PanicOnDrop))))
}

#[test]
fn a_release_survives_a_panicking_waker_and_serves_the_next_waiter() {
    let task = Task::new();
    let pool = pool_of_one_shard(4);
    let batch = pool.acquire_many(4).unwrap();
    let mut first = Box::pin(pool.acquire_async());
    let mut second = Box::pin(pool.acquire_async());
    assert!(poll_once(first.as_mut(), &panicking_waker()).is_pending());
    assert!(poll(second.as_mut(), &task).is_pending());
    drop(batch);
    assert_eq!((task.wakeups(), pool.free_frames()), (1, 2));
    drop((first, second));
    assert_eq!(pool.free_frames(), 4);
}

#[test]
fn a_flush_survives_a_panicking_waker_and_fails_the_next_waiter() {
    let pool = pool_of_one_shard(4);
    let batch = pool.acquire_many(4).unwrap();
    let mut first = Box::pin(pool.acquire_async());
    assert!(poll_once(first.as_mut(), &panicking_waker()).is_pending());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        wait_until(|| pool.waiting() == 2);
        pool.begin_flush();
        assert_eq!(waiter.join().unwrap(), Err(AcquireError::Flushing));
    });
    drop((first, batch));
    pool.end_flush();
    assert_eq!(pool.free_frames(), 4);
}

/// A task whose waker polls it at once, and passes its frame to `then`.
struct PollAtOnce {
    pool: FramePool,
    future: Mutex<Option<Pin<Box<dyn Future<Output = Frame> + Send>>>>,
    then: fn(&FramePool, Frame),
}

impl Wake for PollAtOnce {
    fn wake(self: Arc<Self>) {
        let Some(mut future) = self.future.lock().unwrap().take() else {
            return; // woken once more, although its future is done
        };
        let waker = Waker::from(self.clone());
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(frame) => (self.then)(&self.pool, frame),
            Poll::Pending => *self.future.lock().unwrap() = Some(future),
        }
    }
}

impl PollAtOnce {
    /// Enters the queue of `pool`.
    fn start(pool: &FramePool, then: fn(&FramePool, Frame)) -> Arc<Self> {
        let acquire = {
            let pool = pool.clone();
            async move { pool.acquire_async().await.unwrap() }
        };
        let task = Arc::new(Self {
            pool: pool.clone(),
            future: Mutex::new(Some(Box::pin(acquire))),
            then,
        });
        task.clone().wake();
        assert!(!task.is_done());
        task
    }

    fn is_done(&self) -> bool {
        self.future.lock().unwrap().is_none()
    }
}

#[test]
fn wakers_that_poll_at_once_do_not_overflow_the_stack() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let tasks: Vec<_> = (0..20_000)
        .map(|_| PollAtOnce::start(&pool, |_, frame| drop(frame)))
        .collect();
    drop(frame);
    assert!(tasks.iter().all(|task| task.is_done()));
    assert_eq!((pool.free_frames(), pool.waiting()), (1, 0));
}

/// The same for a flush, whose rejected tasks call the pool again.
#[test]
fn a_flush_in_a_waker_wakes_the_other_tasks() {
    let pool = pool(2, FRAME_SIZE);
    let held = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    let first = PollAtOnce::start(&pool, |pool, _frame| {
        pool.begin_flush();
        pool.end_flush();
    });
    let second = Task::new();
    let mut future = pin!(pool.acquire_async());
    assert!(poll(future.as_mut(), &second).is_pending());
    let [one, _two] = held;
    drop(one);
    assert!(first.is_done());
    assert_eq!(second.wakeups(), 1);
    let polled = poll(future, &second);
    assert!(matches!(polled, Poll::Ready(Err(AcquireError::Flushing))));
}

#[test]
fn a_wake_that_was_deferred_by_a_panicking_waker_is_not_lost() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let first = PollAtOnce::start(&pool, |_, frame| {
        drop(frame);
        panic!("a task panics after its release");
    });
    let second = PollAtOnce::start(&pool, |_, frame| drop(frame));
    drop(frame);
    assert!(first.is_done() && second.is_done());
    assert_eq!((pool.free_frames(), pool.waiting()), (1, 0));
    // A later wake is not deferred.
    let frame = pool.acquire().unwrap();
    let third = PollAtOnce::start(&pool, |_, frame| drop(frame));
    drop(frame);
    assert!(third.is_done());
}

#[test]
fn a_waker_that_blocks_for_a_frame_first_runs_the_wakes_that_it_deferred() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let first = PollAtOnce::start(&pool, |pool, frame| {
        drop(frame); // assigned to the second task
        pool.acquire_timeout(Duration::from_secs(20)).unwrap();
    });
    let second = PollAtOnce::start(&pool, |_, frame| drop(frame));
    drop(frame);
    assert!(first.is_done() && second.is_done());
    assert_eq!(pool.stats().timeouts, 0);
}

#[test]
fn a_deferred_wake_does_not_keep_the_frame_from_a_task_that_is_dropped() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    let first = PollAtOnce::start(&pool, |_, frame| drop(frame));
    let mut dropped = Box::pin(pool.acquire_async());
    assert!(poll(dropped.as_mut(), &Task::new()).is_pending());
    drop(frame);
    assert!(first.is_done());
    assert_eq!(pool.free_frames(), 0);
    drop(dropped);
    assert_eq!((pool.free_frames(), pool.waiting()), (1, 0));
}

/// A waker whose drop panics.
fn waker_that_panics_when_it_is_dropped() -> Waker {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Panics {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("the drop of a waker panics");
            }
        }
    }
    Waker::from(Arc::new(Panics))
}

#[test]
fn a_waker_whose_drop_panics_leaves_no_entry_in_the_queue() {
    let pool = pool(1, FRAME_SIZE);
    let frame = pool.acquire().unwrap();
    for polls in 1..=2 {
        let mut future = Box::pin(pool.acquire_async());
        for _ in 0..polls {
            let waker = waker_that_panics_when_it_is_dropped();
            assert!(poll_once(future.as_mut(), &waker).is_pending());
            drop(waker); // the clone in the queue is the last one
        }
        drop(future);
        assert_eq!(pool.waiting(), 0);
    }
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
    drop(pool.acquire().unwrap());
}

#[test]
fn an_acquire_during_flushes_never_fails_with_not_committed() {
    let pool = pool(1, FRAME_SIZE);
    thread::scope(|scope| {
        let flusher = scope.spawn(|| {
            for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
                pool.begin_flush();
                pool.end_flush();
            }
        });
        while !flusher.is_finished() {
            match pool.acquire() {
                Ok(_) | Err(AcquireError::Flushing) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}
