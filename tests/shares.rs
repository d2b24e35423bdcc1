//! Shares of a pool: reserves, limits and the order of waiting callers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{
    AcquireError, BuildError, CommitError, Frame, FrameBatch, FramePool, FramePoolBuilder, Framing,
    KsAllocator, PoolAllocator, Share, ShareError, ShareShortage, ShareUsage,
};

use support::poll_once::poll_once;
use support::random::Random;
use support::share_model;
use support::wait_until::wait_until;

mod support {
    pub(crate) mod poll_once;
    pub(crate) mod random;
    pub(crate) mod share_model;
    pub(crate) mod wait_until;
}

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

fn builder(frames: usize, shares: &[Share]) -> FramePoolBuilder {
    let builder = FramePool::builder().frames(frames).frame_size(64);
    shares
        .iter()
        .fold(builder, |builder, &share| builder.share(share))
}

fn pool(frames: usize, shares: &[Share]) -> FramePool {
    builder(frames, shares).build().unwrap()
}

/// Acquires frames until it fails.
fn take_all(pool: &FramePool) -> Vec<Frame> {
    std::iter::from_fn(|| pool.try_acquire().ok()).collect()
}

fn usage(pool: &FramePool, label: Option<&str>) -> ShareUsage {
    let shares = pool.shares();
    let found = shares
        .iter()
        .find(|usage| usage.share == label.map(Into::into));
    *found.unwrap()
}

fn shortage(error: &AcquireError) -> Option<ShareShortage> {
    match error {
        AcquireError::Exhausted(starvation) | AcquireError::TimedOut(starvation) => {
            starvation.shortage()
        }
        _ => None,
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_once(Pin::new(future), Waker::noop())
}

#[test]
fn each_share_gets_its_reserve_whatever_the_others_do() {
    let pool = pool(
        8,
        &[
            Share::new("one").reserve(2),
            Share::new("two").reserve(1).limit(3),
        ],
    );
    let (one, two) = (pool.with_label("one"), pool.with_label("two"));
    // 5 common frames.
    let others = take_all(&pool);
    assert_eq!(others.len(), 5);
    let (ones, twos) = (take_all(&one), take_all(&two));
    assert_eq!((ones.len(), twos.len()), (2, 1));
    assert_eq!(pool.free_frames(), 0);
    drop(others);
    assert_eq!(take_all(&two).len(), 2); // at its limit, and dropped
    assert_eq!(take_all(&one).len(), 5);
}

#[test]
fn a_frame_counts_for_the_share_that_acquired_it() {
    let pool = pool(
        4,
        &[Share::new("source").limit(1), Share::new("sink").limit(1)],
    );
    let source = pool.with_label("source");
    let frame = source.try_acquire().unwrap();
    frame.set_label("sink");
    let shared = frame.share();
    let copy = shared.clone();
    assert_eq!(usage(&pool, Some("source")).held, 1);
    assert_eq!(usage(&pool, Some("sink")).held, 0);
    drop(shared);
    assert!(source.try_acquire().is_err());
    drop(copy);
    assert!(source.try_acquire().is_ok());
    let usage = usage(&pool, Some("source"));
    assert_eq!((usage.held, usage.most_held, usage.acquires), (0, 1, 2));
}

#[test]
fn an_error_says_what_the_share_lacks() {
    let pool = pool(
        3,
        &[
            Share::new("limited").limit(1),
            Share::new("reserved").reserve(1),
        ],
    );
    let limited = pool.with_label("limited");
    let one = limited.try_acquire().unwrap();
    let expected = ShareShortage::Limit {
        share: Some("limited".into()),
        held: 1,
        limit: 1,
    };
    let error = limited.try_acquire().unwrap_err();
    assert_eq!(shortage(&error), Some(expected));
    let error = limited.acquire_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(shortage(&error), Some(expected));
    let error = limited.acquire_timeout(SOON).unwrap_err();
    assert_eq!(shortage(&error), Some(expected));
    let text = error.to_string();
    assert!(
        text.contains("`limited` has 1 of at most 1; 1 of 3 frames"),
        "{text}"
    );

    let two = pool.try_acquire().unwrap();
    let error = pool.try_acquire().unwrap_err();
    assert_eq!(
        shortage(&error),
        Some(ShareShortage::Common {
            share: None,
            held: 1
        })
    );
    // Once all frames are out, that is the reason.
    let reserved = pool.with_label("reserved");
    let three = reserved.try_acquire().unwrap();
    let error = reserved.try_acquire().unwrap_err();
    assert_eq!(error.to_string(), "no frame is free");
    drop((one, two, three));
    assert!(pool.shares().iter().all(|usage| usage.held == 0));
}

#[test]
fn a_report_on_holders_says_what_the_shares_have() {
    let pool = pool(4, &[Share::new("network").limit(1)]);
    let network = pool.with_label("network");
    let _held = network.try_acquire().unwrap();
    let holders = pool.holders();
    assert_eq!(holders.shares, pool.shares());
    let text = format!("{holders:#}");
    assert!(
        text.contains("; `network` has 1 frame, reserve 0, limit 1; "),
        "{text}"
    );
    network.acquire_timeout(SOON).unwrap_err();
    let text = pool.holders().to_string();
    assert!(text.contains(" limit 1, waited once, "), "{text}");
}

#[test]
fn a_pool_without_shares_has_none() {
    let pool = pool(1, &[]);
    assert_eq!(pool.shares(), []);
    let error = pool.set_share(Share::new("any")).unwrap_err();
    assert_eq!(
        error,
        ShareError::Unknown {
            label: "any".into()
        }
    );
}

#[test]
fn shares_that_do_not_fit_are_refused() {
    let build = |frames, shares: &[Share]| match builder(frames, shares).build().unwrap_err() {
        BuildError::Commit(CommitError::Shares(error)) => error,
        error => panic!("{error}"),
    };
    let (two, three) = (Share::new("two").reserve(2), Share::new("three").reserve(3));
    assert_eq!(
        build(4, &[two, three]),
        ShareError::Reserves {
            reserved: 5,
            frames: 4
        }
    );
    assert_eq!(
        build(4, &[two.limit(1)]),
        ShareError::Limit {
            label: "two".into(),
            reserve: 2,
            limit: 1
        }
    );
    assert_eq!(
        build(65_536, &[two]),
        ShareError::TooMany {
            shares: 1,
            frames: 65_536
        }
    );
    let many: Vec<_> = (0..32)
        .map(|n| Share::new(format!("share {n}").as_str()))
        .collect();
    assert_eq!(
        build(4, &many),
        ShareError::TooMany {
            shares: 32,
            frames: 4
        }
    );
    let pool = pool(4, &[two]);
    for wrong in [two.reserve(5), two.limit(1)] {
        pool.set_share(wrong).unwrap_err();
        assert_eq!(usage(&pool, Some("two")).reserve, 2);
    }
}

#[test]
fn a_waiter_is_passed_over_while_its_share_has_its_limit() {
    let pool = pool(2, &[Share::new("slow").limit(1)]);
    let slow = pool.with_label("slow");
    let sent = slow.try_acquire().unwrap();
    let other = pool.try_acquire().unwrap();
    let mut first = pin!(slow.acquire_async());
    let mut second = pin!(pool.acquire_async());
    assert!(poll(&mut first).is_pending());
    assert!(poll(&mut second).is_pending());
    drop(other);
    assert!(poll(&mut first).is_pending());
    let Poll::Ready(Ok(other)) = poll(&mut second) else {
        panic!("the second can have the frame");
    };
    drop(sent);
    let Poll::Ready(Ok(sent)) = poll(&mut first) else {
        panic!("the first is below its limit");
    };
    drop((other, sent));
}

#[test]
fn no_caller_overtakes_a_waiter_that_may_have_the_frame() {
    let pool = pool(2, &[Share::new("other").limit(1)]);
    let all = take_all(&pool);
    let mut waiting = pin!(pool.acquire_async());
    assert!(poll(&mut waiting).is_pending());
    // A release passes the frame on at once.
    drop(all);
    let Poll::Ready(Ok(frame)) = poll(&mut waiting) else {
        panic!("two frames were released");
    };
    assert!(pool.try_acquire().is_ok());
    drop(frame);
}

#[test]
fn waiters_for_several_frames_get_all_at_once() {
    let pool = pool(
        4,
        &[Share::new("one").limit(3), Share::new("two").reserve(1)],
    );
    let (one, two) = (pool.with_label("one"), pool.with_label("two"));
    let mut others = take_all(&pool);
    assert_eq!(others.len(), 3);
    let mut several = pin!(one.acquire_exact_async(3));
    assert!(poll(&mut several).is_pending());
    let mut behind = pin!(pool.acquire_async());
    assert!(poll(&mut behind).is_pending());
    // What the first wants is kept for it, and a reserve goes past both.
    others.truncate(1);
    assert!(poll(&mut several).is_pending());
    assert!(poll(&mut behind).is_pending());
    assert!(pool.try_acquire().is_err());
    let reserved = two.try_acquire().unwrap();
    drop(others);
    let Poll::Ready(Ok(batch)) = poll(&mut several) else {
        panic!("three frames are free");
    };
    assert_eq!(FrameBatch::len(&batch), 3);
    assert!(poll(&mut behind).is_pending());
    drop((batch, reserved));
    assert!(poll(&mut behind).is_ready());
}

#[test]
fn a_canceled_wait_lets_those_behind_it_go_on() {
    let pool = pool(4, &[Share::new("two").reserve(1)]);
    let mut others = take_all(&pool);
    {
        let mut several = pin!(pool.acquire_exact_async(3));
        assert!(poll(&mut several).is_pending());
        others.truncate(2);
        let two = pool.with_label("two");
        let reserved = two.try_acquire().unwrap();
        let mut behind = pin!(two.acquire_async());
        assert!(poll(&mut behind).is_pending());
        assert_eq!(pool.free_frames(), 1);
        drop(reserved);
        // The reserve of the share.
        assert!(poll(&mut behind).is_ready());
    }
    // The one behind gets the common frame when the first gives up.
    let two = pool.with_label("two");
    let _reserved = two.try_acquire().unwrap();
    let mut behind = pin!(two.acquire_async());
    {
        let mut several = Box::pin(pool.acquire_exact_async(3));
        assert!(poll(&mut several).is_pending());
        assert!(poll(&mut behind).is_pending());
    }
    assert!(poll(&mut behind).is_ready());
    drop(others);
}

#[test]
fn more_frames_than_a_share_can_have_are_refused() {
    let pool = pool(
        6,
        &[Share::new("one").limit(2), Share::new("two").reserve(3)],
    );
    let one = pool.with_label("one");
    let error = one.acquire_exact(3).unwrap_err();
    assert_eq!(
        error,
        AcquireError::TooMany {
            requested: 3,
            max: 2
        }
    );
    let error = pool.try_acquire_exact(4).unwrap_err();
    assert_eq!(
        error,
        AcquireError::TooMany {
            requested: 4,
            max: 3
        }
    );
    assert_eq!(one.acquire_exact(2).unwrap().len(), 2);
    assert_eq!(pool.acquire_many(6).unwrap().len(), 3);
    assert_eq!(pool.with_label("two").acquire_exact(6).unwrap().len(), 6);
    assert!(pool.shares().iter().all(|usage| usage.held == 0));
}

#[test]
fn a_raised_reserve_takes_the_frames_that_come_back() {
    let pool = pool(4, &[Share::new("late")]);
    let late = pool.with_label("late");
    let mut others = take_all(&pool);
    let mut waiting = pin!(pool.acquire_async());
    assert!(poll(&mut waiting).is_pending());
    pool.set_share(Share::new("late").reserve(2)).unwrap();
    assert!(late.try_acquire().is_err());
    others.pop();
    others.pop();
    // Both go to the reserve, before the waiter.
    assert_eq!(usage(&pool, Some("late")).reserved, 2);
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(take_all(&late).len(), 2);
    pool.set_share(Share::new("late").reserve(1)).unwrap();
    assert!(poll(&mut waiting).is_ready());
    assert_eq!(usage(&pool, Some("late")).reserved, 1);
}

#[test]
fn a_reserve_that_is_raised_during_a_flush_is_kept_afterwards() {
    let pool = pool(4, &[Share::new("late")]);
    pool.begin_flush();
    pool.set_share(Share::new("late").reserve(2)).unwrap();
    pool.end_flush();
    let others = take_all(&pool);
    let late = take_all(&pool.with_label("late"));
    assert_eq!((others.len(), late.len()), (2, 2));
}

#[test]
fn a_raised_limit_serves_those_that_wait_for_it() {
    let pool = pool(4, &[Share::new("network").limit(0)]);
    let network = pool.with_label("network");
    assert!(network.try_acquire().is_err());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| network.acquire_timeout(LONG).map(drop));
        wait_until(|| pool.waiting() > 0);
        pool.set_share(Share::new("network")).unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(take_all(&network).len(), 4);
}

#[test]
fn more_than_the_count_in_the_word_is_counted() {
    let pool = pool(4, &[Share::new("busy").reserve(1)]);
    let busy = pool.with_label("busy");
    for _ in 0..100_000 {
        drop(busy.try_acquire().unwrap());
    }
    assert_eq!(usage(&pool, Some("busy")).acquires, 100_000);
}

#[test]
fn a_flush_ends_the_waits_and_loses_no_permit() {
    let pool = pool(3, &[Share::new("one").reserve(1).limit(2)]);
    let one = pool.with_label("one");
    for _ in 0..3 {
        let frames = (take_all(&one), take_all(&pool));
        assert_eq!((frames.0.len(), frames.1.len()), (2, 1));
        let mut waits = [
            Box::pin(one.acquire_async()),
            Box::pin(pool.acquire_async()),
        ];
        for wait in &mut waits {
            assert!(poll(wait).is_pending());
        }
        pool.begin_flush();
        for wait in &mut waits {
            assert!(matches!(
                poll(wait),
                Poll::Ready(Err(AcquireError::Flushing))
            ));
        }
        assert_eq!(one.try_acquire().unwrap_err(), AcquireError::Flushing);
        drop(frames);
        pool.end_flush();
        assert!(pool.shares().iter().all(|usage| usage.held == 0));
    }
}

#[test]
fn shares_go_on_in_the_generations_that_follow() {
    let builder = builder(
        4,
        &[Share::new("one").reserve(1), Share::new("two").limit(1)],
    );
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    pool.set_share(Share::new("two").limit(2)).unwrap();
    let two = pool.with_label("two");
    let old = take_all(&two);
    assert_eq!(old.len(), 2);
    let mut waiting = pin!(two.acquire_async());
    assert!(poll(&mut waiting).is_pending());
    let mut several = pin!(pool.acquire_exact_async(3));
    assert!(poll(&mut several).is_pending());

    // The new generation counts anew, and serves the callers that wait.
    allocator.reframe(Framing::new(6, 128)).unwrap();
    let Poll::Ready(Ok(frame)) = poll(&mut waiting) else {
        panic!("the share has no frame of the new generation");
    };
    assert_eq!((frame.generation(), frame.len()), (1, 128));
    assert!(matches!(poll(&mut several), Poll::Ready(Ok(_))));
    drop(old);
    let new = allocator.pool().unwrap();
    assert_eq!(usage(&new, Some("two")).held, 1);
    assert_eq!(usage(&new, Some("two")).limit, 2);
    assert_eq!(usage(&pool, Some("two")).held, 0);

    // Through the old handle, too.
    pool.set_share(Share::new("one").reserve(4)).unwrap();
    let error = allocator.reframe(Framing::new(3, 64)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the shares reserve 4 frames, of a pool of 3"
    );
    drop(frame);
    allocator.reframe(Framing::new(5, 64)).unwrap();
    let newest = allocator.pool().unwrap();
    assert_eq!(take_all(&newest).len(), 1);
    assert_eq!(take_all(&newest.with_label("one")).len(), 5);
}

#[test]
fn a_drain_keeps_those_that_wait_in_their_places() {
    let builder = builder(2, &[Share::new("one").limit(1)]);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    let one = pool.with_label("one");
    let frame = one.try_acquire().unwrap();
    let mut waiting = pin!(one.acquire_async());
    assert!(poll(&mut waiting).is_pending());
    let reframing = ks_allocator::Reframing::new(Framing::new(2, 64)).drain(SOON);
    allocator.reframe(reframing).unwrap_err();
    assert!(poll(&mut waiting).is_pending());
    drop(frame);
    assert!(poll(&mut waiting).is_ready());
    assert!(pool.shares().iter().all(|usage| usage.held == 0));
}

/// Each share has a thread that acquires in every way, and none ever has more than its limit, nor
/// less than its reserve when it asks for it. Every frame has a canary of its owner.
#[test]
fn stress_shares_keep_their_bounds() {
    let shares = [
        Share::new("reserved").reserve(2).limit(3),
        Share::new("limited").limit(2),
        Share::new("mixed").reserve(1),
    ];
    let pool = pool(6, &shares);
    let limits = [3, 2, 6, 6];
    let held: [AtomicUsize; 4] = Default::default();
    let stop = AtomicBool::new(false);
    let start = Barrier::new(9);
    let waits = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..8_u8 {
            let share = usize::from(worker % 4);
            let handle = match share {
                0 => pool.with_label("reserved"),
                1 => pool.with_label("limited"),
                2 => pool.with_label("mixed"),
                _ => pool.clone(),
            };
            let (held, stop, start, waits) = (&held, &stop, &start, &waits);
            scope.spawn(move || {
                start.wait();
                let mut round = usize::from(worker);
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let wanted = 1 + round % 2;
                    let batch: Vec<Frame> = match round % 5 {
                        0 => handle.try_acquire().into_iter().collect(),
                        1 => handle.acquire_timeout(SOON).into_iter().collect(),
                        2 => handle
                            .try_acquire_many(wanted)
                            .into_iter()
                            .flatten()
                            .collect(),
                        3 => {
                            waits.fetch_add(1, Ordering::Relaxed);
                            let wait = handle.acquire_exact_timeout(wanted, LONG);
                            wait.unwrap().collect()
                        }
                        _ => {
                            let mut future = pin!(handle.acquire_async());
                            let polled = (0..3).map(|_| poll(&mut future));
                            let ready = polled.into_iter().find(Poll::is_ready);
                            match ready {
                                Some(Poll::Ready(frame)) => vec![frame.unwrap()],
                                _ => Vec::new(),
                            }
                        }
                    };
                    let count = batch.len();
                    let now = held[share].fetch_add(count, Ordering::SeqCst) + count;
                    assert!(now <= limits[share], "share {share} has {now}");
                    for mut frame in batch {
                        frame.fill(worker);
                        thread::yield_now();
                        assert!(frame.iter().all(|&byte| byte == worker));
                        // Before the release, which makes room for the next.
                        held[share].fetch_sub(1, Ordering::SeqCst);
                        drop(frame);
                    }
                }
            });
        }
        start.wait();
        let end = Instant::now() + Duration::from_millis(1500);
        let mut reserve = 0;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
            reserve = (reserve + 1) % 3;
            pool.set_share(Share::new("mixed").reserve(reserve))
                .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(waits.load(Ordering::Relaxed) > 0);
    assert_eq!(pool.free_frames(), 6);
    for usage in pool.shares() {
        assert_eq!(usage.held, 0, "{usage}");
        assert!(usage.acquires > 0, "{usage}");
        assert!(usage.most_held <= usage.limit, "{usage}");
    }
    pool.set_share(Share::new("mixed").reserve(1)).unwrap();
    assert_eq!(take_all(&pool).len(), 3);
}

#[test]
fn a_full_count_does_not_keep_a_permit_from_a_waiter() {
    let pool = pool(2, &[Share::new("full").limit(1)]);
    let full = pool.with_label("full");
    for _ in 0..32_766 {
        drop(full.try_acquire().unwrap());
    }
    let held = full.try_acquire().unwrap();
    let mut waiting = pin!(full.acquire_async());
    assert!(poll(&mut waiting).is_pending());
    drop(held);
    assert!(poll(&mut waiting).is_ready());
    assert_eq!(usage(&pool, Some("full")).acquires, 32_768);
}

#[test]
fn frames_that_were_not_got_are_not_counted() {
    let pool = pool(40, &[Share::new("one").reserve(1)]);
    let rest = pool.acquire_exact(23).unwrap();
    assert_eq!(pool.try_acquire_many(32).unwrap().len(), 16);
    pool.begin_flush();
    for _ in 0..5 {
        assert!(pool.with_label("one").try_acquire().is_err());
    }
    let others = usage(&pool, None);
    assert_eq!((others.acquires, others.most_held), (39, 39));
    let one = usage(&pool, Some("one"));
    assert_eq!((one.acquires, one.most_held), (0, 0));
    drop(rest);
}

#[test]
fn waits_are_counted_however_they_end() {
    let pool = pool(1, &[Share::new("none").limit(0)]);
    let none = pool.with_label("none");
    assert!(none.acquire_timeout(Duration::from_millis(1)).is_err());
    {
        let mut waiting = pin!(none.acquire_async());
        assert!(poll(&mut waiting).is_pending());
    }
    assert_eq!(usage(&pool, Some("none")).waits, 2);
}

#[test]
fn an_error_about_several_frames_says_what_the_share_lacks() {
    let pool = pool(6, &[Share::new("two").limit(2)]);
    let two = pool.with_label("two");
    let _held = two.try_acquire().unwrap();
    let error = two.try_acquire_exact(2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no frame is free: `two` has 1 of at most 2"
    );
}

#[test]
fn huge_numbers_are_refused() {
    let huge = Share::new("huge").reserve(usize::MAX);
    let error = builder(4, &[huge, Share::new("one").reserve(1)]).build();
    let expected = "the shares reserve 18446744073709551615 frames, of a pool of 4";
    if cfg!(target_pointer_width = "64") {
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
    let pool = pool(4, &[Share::new("huge"), Share::new("one").reserve(1)]);
    assert!(pool.set_share(huge).is_err());
    pool.set_share(Share::new("huge").limit(usize::MAX))
        .unwrap();
    assert_eq!(take_all(&pool.with_label("huge")).len(), 3);
}

#[test]
fn only_the_first_waiter_of_a_share_keeps_common_frames_from_others() {
    let pool = pool(6, &[Share::new("net").limit(2)]);
    let net = pool.with_label("net");
    let _held = net.try_acquire().unwrap();
    let mut two = pin!(net.acquire_exact_async(2));
    assert!(poll(&mut two).is_pending());
    // It could have a frame, but comes after one that has to wait for its limit.
    let mut one = pin!(net.acquire_async());
    assert!(poll(&mut one).is_pending());
    assert_eq!(take_all(&pool).len(), 5);
}

#[test]
fn a_reserve_that_the_share_has_already_is_complete_at_once() {
    let pool = pool(4, &[Share::new("late"), Share::new("has")]);
    let _held = pool.with_label("has").acquire_exact(2).unwrap();
    let _others = take_all(&pool);
    pool.set_share(Share::new("late").reserve(1)).unwrap();
    pool.set_share(Share::new("has").reserve(2)).unwrap();
    assert_eq!(usage(&pool, Some("late")).reserved, 0);
    assert_eq!(usage(&pool, Some("has")).reserved, 2);
}

/// Returns a committed allocator with a share of the label "net".
fn allocator(frames: usize, net: Share) -> PoolAllocator {
    let allocator = PoolAllocator::from_builder(&builder(frames, &[net])).unwrap();
    allocator.commit().unwrap();
    allocator
}

#[test]
fn a_limit_above_the_number_of_frames_counts_once_there_are_more() {
    let allocator = allocator(4, Share::new("net").limit(6));
    for frames in [16, 5, 16] {
        allocator.reframe(Framing::new(frames, 64)).unwrap();
        let net = allocator.pool().unwrap().with_label("net");
        assert_eq!(take_all(&net).len(), frames.min(6));
    }
}

#[test]
fn a_changed_share_outlives_the_pool() {
    let allocator = allocator(4, Share::new("net").limit(3));
    let pool = allocator.pool().unwrap();
    pool.set_share(Share::new("net").limit(1)).unwrap();
    for frames in [5, 6] {
        allocator.decommit();
        allocator.set_framing(&Framing::new(frames, 64)).unwrap();
        allocator.commit().unwrap();
        let pool = allocator.pool().unwrap();
        assert_eq!(usage(&pool, Some("net")).limit, 1);
    }
    // Also after a commit that failed.
    allocator.decommit();
    allocator.set_framing(&Framing::new(70_000, 64)).unwrap();
    allocator.commit().unwrap_err();
    allocator.set_framing(&Framing::new(4, 64)).unwrap();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    assert_eq!(usage(&pool, Some("net")).limit, 1);
}

#[test]
fn waits_that_a_share_does_not_allow_now_go_on_through_changes_of_framing() {
    let allocator = allocator(3, Share::new("net").limit(2));
    let pool = allocator.pool().unwrap();
    let net = pool.with_label("net");
    let held = net.try_acquire().unwrap();
    let mut two = pin!(net.acquire_exact_async(2));
    let mut one = pin!(net.acquire_async());
    assert!(poll(&mut two).is_pending());
    assert!(poll(&mut one).is_pending());
    pool.set_share(Share::new("net").limit(0)).unwrap();

    let reframing = ks_allocator::Reframing::new(Framing::new(3, 64)).drain(SOON);
    allocator.reframe(reframing).unwrap_err();
    allocator.reframe(Framing::new(3, 64)).unwrap();
    assert!(poll(&mut one).is_pending());
    assert!(poll(&mut two).is_pending());
    // In the order in which they came.
    pool.set_share(Share::new("net").limit(1)).unwrap();
    assert!(poll(&mut one).is_pending());
    pool.set_share(Share::new("net").limit(2)).unwrap();
    let Poll::Ready(Ok(batch)) = poll(&mut two) else {
        panic!("the share may have two frames");
    };
    assert!(poll(&mut one).is_pending());
    drop(batch);
    assert!(poll(&mut one).is_ready());
    drop(held);
}

#[test]
fn an_allocator_does_what_the_model_says() {
    for seed in 1..=100 {
        let mut random = Random(seed);
        share_model::run(&mut |limit| Some(random.below(limit)));
    }
}
