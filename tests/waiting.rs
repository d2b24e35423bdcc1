//! Callers that wait: blocked, timed and asynchronous, in one line.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ks_allocator::{
    AcquireError, Frame, FramePool, Framing, KsAllocator, PoolAllocator, Starvation,
};

fn pool(frames: usize) -> FramePool {
    FramePool::builder()
        .frames(frames)
        .frame_size(64)
        .build()
        .unwrap()
}

/// Waits until so many callers stand in the line.
fn until_waiting(pool: &FramePool, callers: usize) {
    while pool.waiting() < callers {
        thread::yield_now();
    }
}

/// A task that remembers how often it was woken.
#[derive(Default)]
struct Counter(AtomicU16);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn count(&self) -> u16 {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll<F: Future>(future: Pin<&mut F>, task: &Arc<Counter>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(task.clone())))
}

/// The smallest executor.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn a_release_ends_a_wait() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
        until_waiting(&pool, 1);
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn a_stray_unpark_does_not_end_a_wait() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
        for _ in 0..10 {
            until_waiting(&pool, 1);
            waiter.thread().unpark();
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!waiter.is_finished());
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn a_time_out_is_not_early_and_leaves_no_trace() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    let patience = Duration::from_millis(30);
    let began = Instant::now();
    assert_eq!(
        pool.acquire_timeout(patience).unwrap_err(),
        AcquireError::TimedOut(Starvation::default())
    );
    assert!(began.elapsed() >= patience);
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
    assert!(pool.try_acquire().is_ok());
}

#[test]
fn a_time_out_past_the_end_of_time_is_none() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            pool.acquire_timeout(Duration::MAX)
                .map(|frame| frame.slot())
        });
        until_waiting(&pool, 1);
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn whoever_comes_first_is_served_first_whatever_their_kind() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    let (served, order) = mpsc::channel();
    let tasks = [(); 3].map(|()| Arc::new(Counter::default()));
    let mut futures = [(); 3].map(|()| Box::pin(pool.acquire_async()));

    thread::scope(|scope| {
        // Futures and threads in turn: 0, 1, 2, ...
        for (turn, (future, task)) in futures.iter_mut().zip(&tasks).enumerate() {
            assert!(poll(future.as_mut(), task).is_pending());
            let (handle, served) = (pool.clone(), served.clone());
            scope.spawn(move || {
                let frame = match turn {
                    0 => handle.acquire(),
                    _ => handle.acquire_timeout(Duration::from_secs(600)),
                };
                served.send(2 * turn + 1).unwrap();
                drop(frame.unwrap());
            });
            until_waiting(&pool, 2 * turn + 2);
        }
        drop(frame);
        for (turn, (future, task)) in futures.iter_mut().zip(&tasks).enumerate() {
            // The frame has come to this future, and nobody behind it has got it before.
            while task.count() == 0 {
                thread::yield_now();
            }
            served.send(2 * turn).unwrap();
            assert!(poll(future.as_mut(), task).is_ready());
        }
    });
    drop(served);
    assert_eq!(order.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    drop(futures);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn nobody_overtakes_the_line() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    let task = Arc::new(Counter::default());
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
fn decommit_refuses_every_waiter_even_if_a_commit_follows_at_once() {
    for waiters in [1, 2, 5, 16] {
        let allocator = PoolAllocator::with_framing(Framing::new(2, 64)).unwrap();
        allocator.commit().unwrap();
        let pool = allocator.pool().unwrap();
        let held = [pool.acquire().unwrap(), pool.acquire().unwrap()];
        thread::scope(|scope| {
            let threads: Vec<_> = (0..waiters)
                .map(|_| scope.spawn(|| allocator.acquire().map(drop)))
                .collect();
            let task = Arc::new(Counter::default());
            let mut future = pin!(pool.acquire_async());
            assert!(poll(future.as_mut(), &task).is_pending());
            until_waiting(&pool, waiters + 1);

            allocator.decommit();
            allocator.commit().unwrap();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), Err(AcquireError::NotCommitted));
            }
            assert_eq!(task.count(), 1);
            let refused = Poll::Ready(Err(AcquireError::NotCommitted));
            assert_eq!(poll(future, &task).map_ok(drop), refused);
        });
        drop(held);
        assert_eq!(pool.free_frames(), 2);
    }
}

#[test]
fn flush_refuses_every_waiter_and_end_flush_resumes() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiters = [(); 3].map(|()| scope.spawn(|| pool.acquire().map(drop)));
        until_waiting(&pool, 3);
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
fn a_frame_that_comes_back_during_a_flush_is_there_afterwards() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    pool.begin_flush();
    drop(frame);
    pool.end_flush();
    assert_eq!(pool.free_frames(), 1);
    assert!(pool.try_acquire().is_ok());
}

#[test]
fn a_future_is_ready_at_once_while_frames_are_free() {
    let pool = pool(2);
    let frame = block_on(pool.acquire_async()).unwrap();
    assert_eq!(pool.free_frames(), 1);
    drop(frame);
}

#[test]
fn a_future_waits_on_another_thread() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| block_on(pool.acquire_async()).map(|frame| frame.slot()));
        until_waiting(&pool, 1);
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn only_the_last_waker_is_woken() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    let (old, new) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let mut future = pin!(pool.acquire_async());
    assert!(poll(future.as_mut(), &old).is_pending());
    assert!(poll(future.as_mut(), &new).is_pending());
    drop(frame);
    assert_eq!((old.count(), new.count()), (0, 1));
    assert!(poll(future, &new).is_ready());
}

#[test]
fn a_future_dropped_in_the_line_leaves_it() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    let (first, second) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let mut gone = Box::pin(pool.acquire_async());
    let mut stays = pin!(pool.acquire_async());
    assert!(poll(gone.as_mut(), &first).is_pending());
    assert!(poll(stays.as_mut(), &second).is_pending());
    drop(gone);
    drop(frame);
    assert_eq!((first.count(), second.count()), (0, 1));
    assert!(matches!(poll(stays, &second), Poll::Ready(Ok(_))));
}

#[test]
fn a_future_dropped_with_its_frame_passes_it_on() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    let (first, second) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let mut gone = Box::pin(pool.acquire_async());
    let mut next = pin!(pool.acquire_async());
    assert!(poll(gone.as_mut(), &first).is_pending());
    assert!(poll(next.as_mut(), &second).is_pending());
    drop(frame);
    assert_eq!((first.count(), second.count()), (1, 0));
    drop(gone);
    assert_eq!(second.count(), 1);
    let frame: Frame = match poll(next, &second) {
        Poll::Ready(Ok(frame)) => frame,
        other => panic!("{other:?}"),
    };
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn a_future_that_was_never_polled_stands_in_no_line() {
    let pool = pool(1);
    let frame = pool.acquire().unwrap();
    let future = pool.acquire_async();
    drop(frame);
    assert!(pool.try_acquire().is_ok());
    drop(future);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn a_batch_that_comes_back_serves_several_waiters() {
    let pool = FramePool::builder()
        .frames(8)
        .frame_size(64)
        .shards(1)
        .build()
        .unwrap();
    let batch = pool.acquire_many(8).unwrap();
    let task = Arc::new(Counter::default());
    let mut futures: Vec<_> = (0..5).map(|_| Box::pin(pool.acquire_async())).collect();
    for future in &mut futures {
        assert!(poll(future.as_mut(), &task).is_pending());
    }
    drop(batch);
    assert_eq!((task.count(), pool.free_frames()), (5, 3));
    drop(futures);
    assert_eq!(pool.free_frames(), 8);
}

/// A task whose waker does something inconvenient.
struct Inconvenient<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Inconvenient<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn a_waker_may_call_the_allocator_that_wakes_it() {
    let allocator = Arc::new(PoolAllocator::with_framing(Framing::new(1, 64)).unwrap());
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    let frame = pool.acquire().unwrap();
    let waker = {
        let allocator = allocator.clone();
        Waker::from(Arc::new(Inconvenient(move || {
            allocator.allocator_status();
            allocator.decommit();
            allocator.commit().unwrap();
            allocator.begin_flush();
            allocator.end_flush();
        })))
    };
    let shuts: [fn(&PoolAllocator); 2] = [KsAllocator::decommit, KsAllocator::begin_flush];
    for shut in shuts {
        let mut future = pin!(pool.acquire_async());
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        shut(&allocator);
        assert!(
            future
                .poll(&mut Context::from_waker(&waker))
                .map(|acquired| acquired.is_err())
                .is_ready()
        );
    }
    drop(frame);
    assert!(pool.acquire().is_ok());
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("once more, on purpose");
        }
    }
    let bad = Waker::from(Arc::new(Inconvenient(|| std::panic::panic_any(Bomb))));
    let good = Arc::new(Counter::default());
    let pool = FramePool::builder()
        .frames(4)
        .frame_size(64)
        .shards(1)
        .build()
        .unwrap();
    let batch = pool.acquire_many(4).unwrap();

    let mut first = Box::pin(pool.acquire_async());
    let mut second = Box::pin(pool.acquire_async());
    assert!(
        first
            .as_mut()
            .poll(&mut Context::from_waker(&bad))
            .is_pending()
    );
    assert!(poll(second.as_mut(), &good).is_pending());
    drop(batch);
    assert_eq!((good.count(), pool.free_frames()), (1, 2));
    drop((first, second));
    assert_eq!(pool.free_frames(), 4);

    let batch = pool.acquire_many(4).unwrap();
    let mut first = Box::pin(pool.acquire_async());
    assert!(
        first
            .as_mut()
            .poll(&mut Context::from_waker(&bad))
            .is_pending()
    );
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        until_waiting(&pool, 2);
        pool.begin_flush();
        assert_eq!(waiter.join().unwrap(), Err(AcquireError::Flushing));
    });
    drop((first, batch));
    pool.end_flush();
    assert_eq!(pool.free_frames(), 4);
}

#[test]
fn a_pool_that_is_only_flushed_is_never_not_committed() {
    let pool = pool(1);
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
