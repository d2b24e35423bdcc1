//! Acquires by tasks: owned futures, several frames, streams, and executors.
#![cfg(not(any(loom, miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use ks_allocator::{
    AcquireError, AcquireExactFuture, AcquireFuture, AcquireManyFuture, Frame, FrameBatch,
    FramePool,
};
use support::poll_once::poll_once;

mod support {
    pub(crate) mod poll_once;
}

fn pool(frames: usize) -> FramePool {
    let builder = FramePool::builder().frames(frames).frame_size(64);
    builder.build().unwrap()
}

/// A runtime whose tasks run on the calling thread.
fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_once(Pin::new(future), Waker::noop())
}

#[test]
fn an_owned_future_keeps_its_place_and_its_pool() {
    let pool = pool(1);
    let held = pool.acquire().unwrap();
    let mut first = pool.acquire_async();
    assert!(poll(&mut first).is_pending());
    let mut second = pool.acquire_async();
    assert!(poll(&mut second).is_pending());
    let mut first: AcquireFuture<'static> = first.into_owned();
    let mut second = second.into_owned();
    drop(pool);
    assert!(poll(&mut second).is_pending());
    drop(held);
    assert!(
        poll(&mut second).is_pending(),
        "the first one is served first"
    );
    let Poll::Ready(Ok(frame)) = poll(&mut first) else {
        panic!("{first:?}")
    };
    drop((first, frame));
    assert!(
        matches!(poll(&mut second), Poll::Ready(Ok(_))),
        "the future keeps the pool"
    );
}

#[test]
fn a_dropped_owned_future_passes_its_frame_on() {
    let pool = pool(1);
    let held = pool.acquire().unwrap();
    let mut first = pool.clone().acquire_owned();
    let mut second = pool.clone().acquire_owned();
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    drop(held);
    drop(first);
    assert!(matches!(poll(&mut second), Poll::Ready(Ok(_))));
    drop(second);
    assert_eq!((pool.free_frames(), pool.waiting()), (1, 0));
}

#[test]
fn a_future_of_many_frames_takes_what_is_free_and_waits_for_one() {
    let pool = pool(4);
    let mut future = pool.acquire_many_async(3);
    let Poll::Ready(Ok(batch)) = poll(&mut future) else {
        panic!("{future:?}")
    };
    assert_eq!(batch.len(), 3);
    assert!(
        matches!(poll(&mut pool.acquire_many_async(9)), Poll::Ready(Ok(batch)) if batch.len() == 1)
    );
    assert!(
        matches!(poll(&mut pool.acquire_many_async(0)), Poll::Ready(Ok(batch)) if batch.is_empty())
    );
    let last = pool.acquire().unwrap();
    let mut waiting: AcquireManyFuture<'static> = pool.acquire_many_async(9).into_owned();
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(pool.waiting(), 1);
    drop(last);
    let Poll::Ready(Ok(frame)) = poll(&mut waiting) else {
        panic!("{waiting:?}")
    };
    assert_eq!(frame.len(), 1);
    drop((batch, frame, waiting));
    assert_eq!(pool.free_frames(), 4);
    pool.begin_flush();
    let flushed =
        poll(&mut pool.acquire_many_async(2)).map_err(|error| error == AcquireError::Flushing);
    assert!(matches!(flushed, Poll::Ready(Err(true))));
}

#[test]
fn an_owned_future_of_exactly_two_frames_collects_them() {
    let pool = pool(2);
    let held = [0; 2].map(|_| pool.acquire().unwrap());
    let mut pair: AcquireExactFuture<'static> = pool.acquire_exact_async(2).into_owned();
    assert!(poll(&mut pair).is_pending());
    let [one, two] = held;
    drop(one);
    let mut pair = pair.into_owned();
    assert!(poll(&mut pair).is_pending());
    drop(two);
    assert!(matches!(poll(&mut pair), Poll::Ready(Ok(batch)) if batch.len() == 2));
}

#[test]
fn tasks_of_an_executor_share_a_pool_and_time_limits_lose_nothing() {
    let pool = pool(2);
    runtime().block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..50_u8 {
            let pool = pool.clone();
            tasks.spawn(async move {
                for round in 0..20 {
                    let limit = Duration::from_micros(u64::from(task) * 10 + round);
                    let acquire = pool.clone().acquire_owned();
                    if let Ok(frame) = tokio::time::timeout(limit, acquire).await {
                        let mut frame: Frame = frame.unwrap();
                        frame.fill(task);
                        tokio::task::yield_now().await;
                        assert!(frame.iter().all(|&byte| byte == task), "two holders");
                    }
                    let pair: FrameBatch = pool.acquire_exact_async(2).await.unwrap();
                    drop(pair);
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
    });
    assert_eq!((pool.free_frames(), pool.waiting()), (2, 0));
}

#[test]
fn a_wait_that_was_given_up_is_explained() {
    let pool = pool(1);
    let held = pool.with_label("screen").acquire().unwrap();
    let limit = Duration::from_millis(1);
    let waited = runtime()
        .block_on(async { tokio::time::timeout(limit, pool.clone().acquire_owned()).await });
    waited.unwrap_err();
    let error = pool.explain_wait();
    assert!(matches!(error, AcquireError::TimedOut(_)));
    assert!(
        error.to_string().contains("1 held by `screen` ("),
        "{error}"
    );
    drop(held);
}

#[cfg(feature = "stream")]
#[test]
fn a_stream_yields_frames_errors_and_ends_with_the_close() {
    use futures_core::Stream;

    let pool = pool(2);
    let mut stream = Box::pin(pool.clone().frame_stream());
    let mut next = || {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        stream.as_mut().poll_next(&mut context)
    };
    let (Poll::Ready(Some(Ok(one))), Poll::Ready(Some(Ok(two)))) = (next(), next()) else {
        panic!("two frames are free")
    };
    assert!(next().is_pending());
    drop(one);
    assert!(matches!(next(), Poll::Ready(Some(Ok(_)))));
    pool.begin_flush();
    assert!(matches!(
        next(),
        Poll::Ready(Some(Err(AcquireError::Flushing)))
    ));
    pool.end_flush();
    assert!(matches!(next(), Poll::Ready(Some(Ok(_)))));
    pool.close();
    assert!(matches!(next(), Poll::Ready(None)));
    drop(two);
}
