//! Change of framing while the allocator is committed, frames are out and callers wait.

#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::collections::HashSet;
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use ks_allocator::{
    AcquireError, Agreement, AllocatorMode, AllocatorState, CommitError, EventKind, Frame,
    FramePool, Framing, KsAllocator, PoolAllocator, ReframeError, Reframing, Requirements, Share,
    Sizes, VideoFormat, VideoLayout, negotiate,
};

use support::block_on::block_on;
use support::committed_allocator::committed_allocator as committed;
use support::marked_frame::MarkedFrame;
use support::wait_until::wait_until;

mod support {
    pub(crate) mod block_on;
    pub(crate) mod committed_allocator;
    pub(crate) mod marked_frame;
    pub(crate) mod wait_until;
}

const KERNEL: AllocatorMode = AllocatorMode::Kernel;
const A_MINUTE: Duration = Duration::from_secs(60);

/// Waits until `count` callers wait for a frame of the pool.
fn wait_for_waiters(pool: &FramePool, count: usize) {
    wait_until(|| pool.waiting() >= count);
}

#[test]
fn old_frames_stay_valid_and_new_ones_have_the_new_framing() {
    let allocator = committed(2, 64);
    let mut old = allocator.acquire().unwrap();
    old.fill(7);
    allocator.reframe(Framing::new(3, 256)).unwrap();
    let new: Vec<_> = (0..3).map(|_| allocator.try_acquire().unwrap()).collect();
    assert!(matches!(
        allocator.try_acquire(),
        Err(AcquireError::Exhausted(_))
    ));
    assert!(
        new.iter()
            .all(|frame| frame.len() == 256 && frame.generation() == 1)
    );
    assert_eq!((&old[..], old.generation()), (&[7; 64][..], 0));
    drop(old);
    assert!(
        allocator.try_acquire().is_err(),
        "an old frame is not a new one"
    );
    drop(new);
    let status = allocator.allocator_status();
    assert_eq!((status.allocated_frames, status.framing.frames), (0, 3));
    assert_eq!(status.state, AllocatorState::Committed);
}

#[test]
fn waiters_get_new_frames_in_their_order() {
    let allocator = committed(1, 64);
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        for number in 0..4 {
            let (sender, pool) = (sender.clone(), &pool);
            scope.spawn(move || {
                let timeout = A_MINUTE;
                let frame = if number % 2 == 0 {
                    pool.acquire().unwrap()
                } else {
                    pool.acquire_timeout(timeout).unwrap()
                };
                assert_eq!((frame.len(), frame.generation()), (128, 1));
                sender.send(number).unwrap();
            });
            wait_for_waiters(pool, number + 1);
        }
        allocator.reframe(Framing::new(1, 128)).unwrap();
        let served: Vec<_> = receiver.iter().take(4).collect();
        assert_eq!(served, [0, 1, 2, 3]);
    });
    drop(held);
    assert_eq!(allocator.free_frames(), 1);
}

#[test]
fn a_waiting_task_gets_a_new_frame() {
    let allocator = committed(1, 64);
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = pin!(pool.acquire_async());
    let mut canceled = Box::pin(pool.acquire_async());
    let mut last = pin!(pool.acquire_async());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(canceled.as_mut().poll(&mut context).is_pending());
    assert!(last.as_mut().poll(&mut context).is_pending());
    allocator.reframe(Framing::new(1, 128)).unwrap();
    let Poll::Ready(Ok(frame)) = first.as_mut().poll(&mut context) else {
        panic!("it was the first");
    };
    assert_eq!(frame.len(), 128);
    drop(canceled);
    assert!(last.as_mut().poll(&mut context).is_pending());
    drop(frame);
    let Poll::Ready(Ok(frame)) = last.as_mut().poll(&mut context) else {
        panic!("it was the next");
    };
    // A future of the old handle that begins now.
    let mut later = pin!(pool.acquire_async());
    assert!(later.as_mut().poll(&mut context).is_pending());
    drop(frame);
    assert!(later.as_mut().poll(&mut context).is_ready());
    drop(held);
}

#[test]
fn a_task_that_was_given_its_frame_before_the_change_has_an_old_one() {
    let allocator = committed(1, 64);
    let pool = allocator.pool().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let held = pool.acquire().unwrap();
    let mut waiting = pin!(pool.acquire_async());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(held); // the task has the frame
    allocator.reframe(Framing::new(1, 128)).unwrap();
    assert_eq!(pool.acquire().unwrap().generation(), 1);
    let Poll::Ready(Ok(frame)) = waiting.as_mut().poll(&mut context) else {
        panic!("it was given the frame before the change");
    };
    assert_eq!((frame.len(), frame.generation()), (64, 0));
}

#[test]
fn a_waiter_of_an_older_generation_that_leaves_an_empty_queue_does_not_stop_the_pool() {
    let allocator = committed(1, 64);
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut futures = [(); 2].map(|()| Box::pin(pool.acquire_async()));
    for future in &mut futures {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    allocator.reframe(Framing::new(1, 128)).unwrap();
    // The first has the frame. The second waits, by a handle of the old generation.
    let [mut first, second] = futures;
    let Poll::Ready(Ok(frame)) = first.as_mut().poll(&mut context) else {
        panic!("it was the first");
    };
    drop(second);
    drop(frame);
    let again = allocator.try_acquire().unwrap();
    drop(again);
    drop(held);
    assert_eq!(allocator.free_frames(), 1);
}

#[test]
fn handles_of_earlier_generations_follow() {
    let allocator = committed(2, 64);
    let pool = allocator.pool().unwrap().with_label("encoder");
    for generation in 1..4_u64 {
        let size = 64 << generation;
        allocator.reframe(Framing::new(2, size)).unwrap();
        let frame = pool.try_acquire().unwrap();
        assert_eq!((frame.generation(), frame.len()), (generation, size));
        let report = pool.newest().holders().to_string();
        assert!(report.contains("1 held by `encoder`"), "{report}");
        let batch = pool.acquire_many(8).unwrap();
        assert_eq!(batch.len(), 1);
        drop((frame, batch));
        assert_eq!(pool.acquire_exact(2).unwrap().len(), 2);
        assert_eq!(pool.try_acquire_exact(2).unwrap().len(), 2);
    }
    assert_eq!((pool.generation(), pool.newest().generation()), (0, 3));
    assert_eq!(pool.frame_len(), 64);
    let held = pool.acquire_exact(2).unwrap();
    let error = pool.explain(pool.try_acquire().unwrap_err()).to_string();
    assert!(error.contains("2 held by `encoder`"), "{error}");
    drop(held);
    // State changes through an old handle are those of the pool.
    pool.begin_flush();
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    pool.end_flush();
    pool.close();
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Closed);
    assert!(matches!(
        allocator.reframe(Framing::new(2, 64)),
        Err(ReframeError::NotCommitted)
    ));
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap().len(), 512);
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::Closed);
}

#[test]
fn an_old_handle_fails_once_the_allocator_is_gone() {
    let allocator = committed(1, 64);
    let pool = allocator.pool().unwrap();
    allocator.reframe(Framing::new(1, 128)).unwrap();
    let frame = pool.acquire().unwrap();
    drop(allocator);
    assert_eq!(pool.try_acquire().unwrap_err(), AcquireError::NotCommitted);
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::NotCommitted);
    assert_eq!(frame.len(), 128);
}

#[test]
fn an_exact_wait_gives_collected_frames_back_and_collects_new_ones() {
    let allocator = committed(3, 64);
    let pool = allocator.pool().unwrap();
    let (one, two) = (pool.acquire().unwrap(), pool.acquire().unwrap());
    thread::scope(|scope| {
        // It collects the third frame.
        let exact = scope.spawn(|| pool.acquire_exact(3).unwrap());
        wait_for_waiters(&pool, 1);
        let single = scope.spawn(|| pool.acquire().unwrap());
        wait_for_waiters(&pool, 2);
        allocator.reframe(Framing::new(4, 128)).unwrap();
        let batch = exact.join().unwrap();
        assert!(batch.iter().all(|frame| frame.generation() == 1));
        assert_eq!(single.join().unwrap().generation(), 1);
    });
    drop((one, two));
    assert_eq!(pool.free_frames(), 3, "no old frame was lost");
    assert_eq!(allocator.free_frames(), 4);
}

#[test]
fn an_exact_wait_for_more_frames_than_there_are_now_fails_with_the_numbers() {
    let allocator = committed(4, 64);
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    thread::scope(|scope| {
        let exact = scope.spawn(|| pool.acquire_exact(4).map(|batch| batch.len()));
        wait_for_waiters(&pool, 1);
        allocator.reframe(Framing::new(2, 64)).unwrap();
        let expected = AcquireError::TooMany {
            requested: 4,
            max: 2,
        };
        assert_eq!(exact.join().unwrap(), Err(expected));
    });
    drop(held);
    assert_eq!((pool.free_frames(), allocator.free_frames()), (4, 2));
}

#[test]
fn a_failed_change_changes_nothing() {
    let builder = FramePool::builder()
        .frames(2)
        .frame_size(3072)
        .max_bytes(12288);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    assert!(matches!(
        allocator.reframe(Framing::new(2, 64)),
        Err(ReframeError::NotCommitted)
    ));
    allocator.commit().unwrap();
    let held = allocator.acquire().unwrap();
    let errors = [
        Framing::new(2, 64).alignment(0),
        Framing::new(0, 64),
        Framing::new(2, usize::MAX / 2),
        Framing::new(3, 3072),
    ]
    .map(|framing| allocator.reframe(framing).unwrap_err());
    assert!(matches!(errors[0], ReframeError::Framing(_)));
    assert!(matches!(
        errors[1],
        ReframeError::Commit(CommitError::FramingNotSet { .. })
    ));
    assert!(matches!(
        errors[2],
        ReframeError::Commit(CommitError::TooLarge { .. })
    ));
    assert!(matches!(
        errors[3],
        ReframeError::Commit(CommitError::OverBudget {
            needed: 9216,
            in_use: 6144,
            max: 12288
        })
    ));
    assert_eq!(allocator.framing(), Framing::new(2, 3072));
    assert_eq!(allocator.acquire().unwrap().generation(), 0);
    drop(held);
    allocator.reframe(Framing::new(1, 3072)).unwrap();
    allocator.decommit();
    assert!(matches!(
        allocator.reframe(Framing::new(2, 64)),
        Err(ReframeError::NotCommitted)
    ));
}

#[test]
fn the_memory_of_an_old_generation_goes_with_its_last_frame() {
    let builder = FramePool::builder()
        .frames(2)
        .frame_size(3072)
        .max_bytes(12288);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let old_handle = allocator.pool().unwrap();
    let frames = [allocator.acquire().unwrap(), allocator.acquire().unwrap()];
    allocator.reframe(Framing::new(2, 3072)).unwrap();
    let [first, second] = frames;
    drop(first);
    allocator.reframe(Framing::new(1, 3072)).unwrap_err();
    drop(second);
    // The memory of the first generation is free, although there is a handle of it. That of the
    // second, of which no frame was out, goes at once.
    allocator.reframe(Framing::new(2, 3072)).unwrap();
    allocator.reframe(Framing::new(2, 3072)).unwrap();
    let newest = allocator.pool().unwrap().generation();
    assert_eq!(old_handle.acquire().unwrap().generation(), newest);
    // Memory of a commit counts as well.
    allocator.decommit();
    allocator.set_framing(&Framing::new(5, 3072)).unwrap();
    let error = allocator.commit().unwrap_err();
    let expected = "15360 bytes are needed, and 0 of at most 12288 bytes are in use";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_drain_names_who_holds_it_up_and_leaves_all_as_it_was() {
    let allocator = committed(2, 64);
    let pool = allocator.pool().unwrap();
    let mut picture = pool.with_label("display").acquire().unwrap();
    picture.fill(1);
    let reframing = Reframing::new(Framing::new(2, 128)).drain(Duration::from_millis(50));
    thread::scope(|scope| {
        let other = pool.acquire().unwrap();
        let waiter = scope.spawn(|| pool.acquire().unwrap().generation());
        wait_for_waiters(&pool, 1);
        // While it waits, no frame goes out: the waiter gets this one only afterwards.
        scope.spawn(move || drop(other));
        let Err(ReframeError::NotIdle(error)) = allocator.reframe(reframing.clone()) else {
            panic!("a frame is out");
        };
        let error = error.to_string();
        assert!(error.contains("1 held by `display`"), "{error}");
        assert_eq!(waiter.join().unwrap(), 0);
    });
    assert_eq!(picture[0], 1);
    assert_eq!(allocator.try_acquire().unwrap().len(), 64);
    drop(picture);
    allocator.reframe(reframing).unwrap();
    assert_eq!(allocator.try_acquire().unwrap().len(), 128);
}

#[test]
fn callers_wait_while_a_drain_waits_and_get_new_frames() {
    let allocator = committed(2, 64);
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    thread::scope(|scope| {
        let drain = Reframing::new(Framing::new(2, 128)).drain(A_MINUTE);
        let change = scope.spawn(|| allocator.reframe(drain));
        // From now on there is a free frame, but none goes out.
        wait_until(|| pool.try_acquire().is_err());
        let error = pool.try_acquire().unwrap_err();
        assert!(matches!(error, AcquireError::Exhausted(_)), "{error}");
        let exact = scope.spawn(|| pool.acquire_exact(2).unwrap());
        wait_for_waiters(&pool, 1);
        let single = scope.spawn(|| pool.acquire().unwrap());
        wait_for_waiters(&pool, 2);
        drop(held);
        change.join().unwrap().unwrap();
        let batch = exact.join().unwrap();
        assert!(batch.iter().all(|frame| frame.len() == 128));
        drop(batch);
        assert_eq!(single.join().unwrap().len(), 128);
    });
}

#[test]
fn a_drain_is_not_held_up_by_frames_that_a_waiter_has_collected() {
    let allocator = committed(2, 64);
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    thread::scope(|scope| {
        let exact = scope.spawn(|| pool.acquire_exact(2).unwrap().len());
        wait_for_waiters(&pool, 1);
        let drain = Reframing::new(Framing::new(2, 128)).drain(A_MINUTE);
        let change = scope.spawn(|| allocator.reframe(drain));
        wait_until(|| pool.free_frames() > 0);
        drop(held);
        change.join().unwrap().unwrap();
        assert_eq!(exact.join().unwrap(), 2);
    });
}

#[test]
fn a_drained_change_without_new_memory_decommits() {
    let builder = FramePool::builder()
        .frames(2)
        .frame_size(1024)
        .max_bytes(8192);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    // The memory of an earlier generation leaves too little.
    let _earlier = allocator.acquire().unwrap();
    allocator.reframe(Framing::new(2, 1024)).unwrap();
    let pool = allocator.pool().unwrap();
    let held = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        wait_for_waiters(&pool, 1);
        let change = scope.spawn(|| {
            let drain = Reframing::new(Framing::new(3, 2560)).drain(A_MINUTE);
            allocator.reframe(drain).unwrap_err()
        });
        // The frames come back to a pool that hands out none.
        thread::sleep(Duration::from_millis(20));
        drop(held);
        let error = change.join().unwrap();
        assert!(
            matches!(error, ReframeError::Commit(CommitError::OverBudget { .. })),
            "{error}"
        );
        // It may have got a frame that came back before the change began.
        assert!(matches!(
            waiter.join().unwrap(),
            Ok(()) | Err(AcquireError::NotCommitted)
        ));
    });
    let status = allocator.allocator_status();
    assert_eq!(status.state, AllocatorState::Uncommitted);
    assert_eq!(
        pool.try_acquire().map(drop),
        Err(AcquireError::NotCommitted)
    );
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap().len(), 1024);
}

#[test]
fn a_change_that_cannot_be_is_refused_before_the_drain() {
    let builder = FramePool::builder()
        .frames(2)
        .frame_size(1024)
        .share(Share::new("preview").reserve(2))
        .max_bytes(8192);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    let preview = pool.with_label("preview");
    let refused = |framing| {
        let drain = Reframing::new(framing).drain(A_MINUTE);
        let ReframeError::Commit(error) = allocator.reframe(drain).unwrap_err() else {
            panic!("the memory cannot be as wanted");
        };
        error.to_string()
    };
    for held in [preview.try_acquire().ok(), None] {
        assert_eq!(
            refused(Framing::new(3, 3072)),
            "9216 bytes are needed, and 2048 of at most 8192 bytes are in use"
        );
        assert_eq!(
            refused(Framing::new(1, 64)),
            "the shares reserve 2 frames, of a pool of 1"
        );
        drop(held);
    }
    assert_eq!(
        preview.try_acquire().unwrap().generation(),
        pool.generation()
    );
}

#[test]
fn a_decommit_during_a_drain_ends_the_waits() {
    let allocator = committed(1, 64);
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    thread::scope(|scope| {
        let drain = Reframing::new(Framing::new(1, 128)).drain(A_MINUTE);
        let change = scope.spawn(|| allocator.reframe(drain).map(|_| ()));
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        wait_for_waiters(&pool, 1);
        allocator.decommit();
        assert_eq!(waiter.join().unwrap(), Err(AcquireError::NotCommitted));
        drop(held);
        let result = change.join().unwrap();
        assert!(
            matches!(result, Err(ReframeError::NotCommitted)),
            "{result:?}"
        );
    });
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap().len(), 64);
}

#[test]
fn a_change_during_a_flush_takes_effect_at_its_end() {
    let allocator = committed(1, 64);
    let pool = allocator.pool().unwrap();
    allocator.begin_flush();
    allocator.reframe(Framing::new(2, 128)).unwrap();
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::Flushing);
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    allocator.end_flush();
    assert_eq!(pool.acquire().unwrap().len(), 128);
    assert_eq!(allocator.free_frames(), 2);
}

#[test]
fn a_layout_travels_with_the_frames_of_its_generation() {
    let layouts = [(1280, 720), (1920, 1080), (720, 1280)]
        .map(|(width, height)| VideoLayout::new(VideoFormat::Nv12, width, height).unwrap());
    let allocator = PoolAllocator::new();
    allocator.set_video(2, &layouts[0]).unwrap();
    allocator.commit().unwrap();
    let mut frames = vec![allocator.acquire().unwrap()];
    for layout in &layouts[1..] {
        allocator.reframe(Reframing::video(2, layout)).unwrap();
        frames.push(allocator.acquire().unwrap());
        assert_eq!(allocator.video_layout(), Some(*layout));
    }
    for (frame, layout) in frames.iter().zip(&layouts) {
        assert_eq!(frame.video_layout(), Some(layout));
        let planes = frame.planes().unwrap();
        assert_eq!(planes[0].rows().count(), layout.height() as usize);
    }
}

#[test]
fn a_shared_frame_of_an_old_generation_is_written_in_place_and_not_copied() {
    let allocator = committed(2, 296);
    let mut one = allocator.acquire().unwrap().share();
    let two = one.clone();
    allocator.reframe(Framing::new(2, 240)).unwrap();
    assert_eq!(one.make_mut().map(|_| ()), Err(AcquireError::NotCommitted));
    assert_eq!(allocator.free_frames(), 2);
    drop(two);
    one.make_mut().unwrap().fill(1);
    assert_eq!(*one, [1; 296]);
}

#[test]
fn a_recording_ends_with_the_change_and_the_next_begins_with_a_commit() {
    let builder = FramePool::builder().frames(1).frame_size(64).record(100);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let old = allocator.pool().unwrap();
    let frame = old.acquire().unwrap();
    allocator.reframe(Framing::new(2, 64)).unwrap();
    drop(frame);
    drop(old.acquire().unwrap());
    let kinds = |pool: &FramePool| {
        let events = pool.recording().unwrap().events;
        events.iter().map(|event| event.kind).collect::<Vec<_>>()
    };
    use EventKind::{Acquired, Committed, Reframed, Released};
    assert_eq!(kinds(&old), [Committed, Acquired, Reframed, Released]);
    assert_eq!(kinds(&old.newest()), [Committed, Acquired, Released]);
    assert_eq!(
        (old.stats().acquires, old.newest().stats().acquires),
        (1, 1)
    );
}

#[test]
fn a_kernel_mode_pool_changes_and_its_loans_stay() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let allocator = PoolAllocator::with_framing(Framing::new(2, 3072)).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    allocator.commit().unwrap();
    let old = allocator.pool().unwrap();
    let token = allocator.acquire().unwrap().lend().unwrap();
    allocator.reframe(Framing::new(2, 6144)).unwrap();
    assert!(allocator.pool().unwrap().redeem(token).is_err());
    let frame = old.redeem(token).unwrap();
    assert_eq!((frame.len(), frame.generation()), (3072, 0));
    assert!(allocator.allocator_handle().is_some());
}

#[test]
fn an_old_handle_acquires_as_many_frames_as_the_newest_generation_has() {
    let allocator = committed(2, 64);
    let old = allocator.pool().unwrap();
    allocator.reframe(Framing::new(8, 64)).unwrap();
    assert_eq!(old.try_acquire_exact(4).unwrap().len(), 4);
    assert_eq!(old.acquire_exact(4).unwrap().len(), 4);
    let mut future = pin!(old.acquire_exact_async(4));
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(batch)) if batch.len() == 4));
    let error = old.acquire_exact(9).unwrap_err();
    let expected = AcquireError::TooMany {
        requested: 9,
        max: 8,
    };
    assert_eq!(error, expected);
}

#[test]
fn waits_through_an_old_handle_are_counted_in_the_newest_generation() {
    let allocator = committed(1, 64);
    let old = allocator.pool().unwrap();
    allocator.reframe(Framing::new(1, 128)).unwrap();
    let held = old.acquire().unwrap();
    old.acquire_timeout(Duration::from_millis(1)).unwrap_err();
    old.acquire_timeout(Duration::ZERO).unwrap_err();
    old.try_acquire().unwrap_err();
    {
        let mut future = pin!(old.acquire_async());
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    let (of_old, of_new) = (old.stats(), old.newest().stats());
    assert_eq!((of_old.waits, of_old.failed_acquires), (0, 0));
    assert_eq!((of_new.waits, of_new.failed_acquires), (2, 2));
    assert_eq!((of_new.timeouts, of_new.waits_cancelled), (1, 1));
    drop(held);
}

#[test]
fn a_frame_that_is_out_at_a_change_is_not_reported_as_leaked() {
    let leaks = Arc::new(AtomicU64::new(0));
    let of_hook = Arc::clone(&leaks);
    let builder = FramePool::builder().frames(2).frame_size(64);
    let builder = builder.on_leak(move |_| {
        of_hook.fetch_add(1, Ordering::Relaxed);
    });
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let last_picture = allocator.acquire().unwrap();
    allocator.reframe(Framing::new(2, 128)).unwrap();
    drop(last_picture);
    let held = allocator.acquire().unwrap();
    assert_eq!(leaks.load(Ordering::Relaxed), 0);
    drop(allocator);
    assert_eq!(leaks.load(Ordering::Relaxed), 1);
    drop(held);
}

/// Calls a function when the memory that it is registered for is freed.
struct OnFree<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnFree<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn code_that_runs_when_old_memory_is_freed_may_use_the_allocator_and_may_panic() {
    let cell = Arc::new(OnceLock::<PoolAllocator>::new());
    let of_builder = Arc::downgrade(&cell);
    let builder = FramePool::builder().frames(2).frame_size(64);
    let builder = builder.register_segment(move |_| {
        let cell = Weak::clone(&of_builder);
        Ok(OnFree(move || {
            if let Some(allocator) = cell.upgrade().as_ref().and_then(|cell| cell.get()) {
                assert!(allocator.framing().frames > 2, "of the user's");
            }
        }))
    });
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let allocator = cell.get_or_init(|| allocator);
    allocator.reframe(Framing::new(3, 64)).unwrap();
    let drain = Reframing::new(Framing::new(2, 128)).drain(A_MINUTE);
    allocator.reframe(drain).unwrap();
    allocator.reframe(Framing::new(2, 64)).unwrap();
    assert_eq!(allocator.acquire().unwrap().len(), 64);
    allocator.decommit();
}

#[test]
fn a_panic_while_new_memory_is_made_ends_a_drain() {
    let builder = FramePool::builder().frames(2).frame_size(64);
    let builder = builder.register_segment(|segment| {
        assert!(segment.stride < 128, "of the user's");
        Ok(())
    });
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let drain = Reframing::new(Framing::new(2, 128)).drain(A_MINUTE);
    assert!(catch_unwind(|| allocator.reframe(drain).map(drop)).is_err());
    let state = allocator.allocator_status().state;
    assert_eq!(state, AllocatorState::Uncommitted);
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire_timeout(A_MINUTE).unwrap().len(), 64);
}

#[test]
fn a_close_ends_a_drain() {
    let allocator = committed(2, 64);
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    thread::scope(|scope| {
        let drain = Reframing::new(Framing::new(2, 128)).drain(Duration::from_secs(3600));
        let change = scope.spawn(|| allocator.reframe(drain).map(drop));
        wait_until(|| pool.try_acquire().is_err());
        pool.close();
        let result = change.join().unwrap();
        assert!(matches!(result, Err(ReframeError::NotCommitted)));
    });
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap().len(), 64);
    drop(held);
}

#[test]
fn a_drain_within_the_limit_succeeds_while_the_state_changes() {
    let builder = FramePool::builder()
        .frames(2)
        .frame_size(1024)
        .max_bytes(2048);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                allocator.end_flush();
            }
        });
        for _ in 0..2_000 {
            let drain = Reframing::new(Framing::new(2, 1024)).drain(A_MINUTE);
            allocator.reframe(drain).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn changes_that_race_with_each_other_and_with_commits_do_no_harm() {
    let allocator = committed(1, 64);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let changed = allocator.reframe(Framing::new(1, 64));
                    assert!(matches!(changed, Ok(_) | Err(ReframeError::NotCommitted)));
                }
            });
        }
        for _ in 0..1_000 {
            allocator.decommit();
            allocator.commit().unwrap();
            let held = allocator.try_acquire();
            let waited = allocator.acquire_timeout(Duration::from_micros(30));
            assert_ne!(waited.map(drop), Err(AcquireError::NotCommitted));
            drop(held);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Several threads drain with short time limits, so that drains end in all ways, while others use
/// frames. No frame is in memory that was freed.
#[test]
fn drains_that_race_free_no_memory_in_use() {
    let live = Arc::new(Mutex::new(HashSet::new()));
    let of_builder = Arc::clone(&live);
    let builder = FramePool::builder().frames(2).frame_size(64);
    let builder = builder.prefault(false).register_segment(move |segment| {
        let (base, live) = (segment.base.addr().get(), Arc::clone(&of_builder));
        live.lock().unwrap().insert(base);
        Ok(OnFree(move || assert!(live.lock().unwrap().remove(&base))))
    });
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let acquired = match allocator.acquire_timeout(A_MINUTE) {
                        Err(AcquireError::NotCommitted) => continue,
                        acquired => acquired.unwrap(),
                    };
                    let frame = MarkedFrame::new(acquired);
                    thread::sleep(Duration::from_micros(100));
                    let frame = Frame::from(frame);
                    let base = frame.pool().unwrap().segment().base.addr().get();
                    assert!(live.lock().unwrap().contains(&base));
                }
            });
        }
        let drains = [(); 3].map(|()| {
            scope.spawn(|| {
                for _ in 0..1_500 {
                    let limit = Duration::from_micros(100);
                    let drain = Reframing::new(Framing::new(2, 64)).drain(limit);
                    let changed = allocator.reframe(drain);
                    let failed = changed.err();
                    assert!(matches!(
                        failed,
                        None | Some(ReframeError::NotIdle(_) | ReframeError::NotCommitted)
                    ));
                }
            })
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                allocator.decommit();
                allocator.commit().unwrap();
                thread::sleep(Duration::from_micros(150));
            }
        });
        for drain in drains {
            drain.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Agreement of two parties on frames of this size, in this mode.
fn agreement(size: usize, mode: AllocatorMode) -> Agreement {
    let source = Requirements::new("source")
        .sizes(Sizes::exactly(size))
        .modes([mode]);
    let sink = Requirements::new("sink").alignment(64).holds(2);
    negotiate(&[source, sink]).expect("they go together")
}

#[test]
fn an_agreement_is_committed_with_its_mode_and_layout() {
    let allocator = PoolAllocator::new();
    let actual = allocator
        .commit_agreement(&agreement(4096, KERNEL))
        .unwrap();
    assert_eq!((actual.frames, actual.frame_size), (3, 4096));
    assert_eq!(allocator.allocator_mode(), KERNEL);
    let held = allocator.acquire().unwrap();
    assert_eq!(held.as_ptr().addr() % 64, 0);

    // Committed, with a frame out: the next generation, in the other mode and with pictures.
    let camera = Requirements::new("camera")
        .formats([VideoFormat::Nv12])
        .picture(640, 480)
        .modes([AllocatorMode::User]);
    let pictures = negotiate(&[camera]).unwrap();
    allocator.commit_agreement(&pictures).unwrap();
    assert_eq!(allocator.allocator_mode(), AllocatorMode::User);
    let frame = allocator.acquire().unwrap();
    assert_eq!(frame.video_layout(), pictures.video_layout());
    assert_eq!((held.generation(), frame.generation()), (0, 1));
}

#[test]
fn an_agreement_is_refused_while_frames_of_a_decommitted_allocator_are_out() {
    let allocator = committed(2, 64);
    let held = allocator.acquire().unwrap();
    allocator.decommit();
    let agreed = agreement(4096, AllocatorMode::User);
    let error = allocator.commit_agreement(&agreed).unwrap_err();
    assert!(error.to_string().contains("1 of 2 frames"), "{error}");
    assert_eq!(allocator.framing(), Framing::new(2, 64));
    drop(held);
    allocator.commit_agreement(&agreed).unwrap();
    assert_eq!(allocator.acquire().unwrap().len(), 4096);
}

#[test]
fn an_agreement_over_the_limit_is_refused() {
    let builder = FramePool::builder()
        .frames(2)
        .frame_size(64)
        .max_bytes(8192);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let agreed = agreement(4096, AllocatorMode::User);
    let error = allocator.commit_agreement(&agreed).unwrap_err();
    assert!(error.to_string().contains("8192"), "{error}");
    assert_eq!(allocator.acquire().unwrap().len(), 64);
    allocator.decommit();
    assert!(allocator.commit_agreement(&agreed).is_err());
    let status = allocator.allocator_status();
    assert_eq!(status.state, AllocatorState::Uncommitted);
}

#[test]
fn an_agreement_is_what_is_committed_also_if_another_thread_sets_a_framing() {
    let allocator = PoolAllocator::new();
    let agreed = agreement(4096, AllocatorMode::User);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if allocator.set_framing(&Framing::new(1, 64)).is_err() {
                    thread::yield_now(); // committed
                }
            }
        });
        for _ in 0..200 {
            allocator.commit_agreement(&agreed).unwrap();
            assert_eq!(allocator.acquire().unwrap().len(), 4096);
            allocator.decommit();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn of_two_agreements_at_the_same_time_one_is_the_last() {
    for _ in 0..200 {
        let allocator = PoolAllocator::new();
        let [small, large] = [4096, 8192].map(|size| agreement(size, AllocatorMode::User));
        let commit = |agreed| allocator.commit_agreement(agreed).unwrap().frame_size;
        let sizes = thread::scope(|scope| {
            let other = scope.spawn(|| commit(&large));
            [commit(&small), other.join().unwrap()]
        });
        assert_eq!(sizes, [4096, 8192]);
        let last = allocator.acquire().unwrap().len();
        assert_eq!(last, allocator.framing().frame_size);
        assert!(sizes.contains(&last));
    }
}

struct CountsDrop(Arc<AtomicU64>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Threads acquire, mark and check frames through old and new handles while the framing changes
/// 10,000 times. Each frame has one holder, no acquire fails, all frames of every generation come
/// back, and their memory is freed.
#[test]
fn no_frame_is_lost_or_shared_while_the_framing_changes_ten_thousand_times() {
    const CHANGES: u64 = 10_000;
    let number = |of: u64, modulus: u64| usize::try_from(of % modulus).unwrap();
    let framing =
        |generation| Framing::new(3 + number(generation, 3), 64 * (1 + number(generation, 7)));
    let freed = Arc::new(AtomicU64::new(0));
    let of_builder = Arc::clone(&freed);
    let builder = FramePool::builder()
        .frames(framing(0).frames)
        .frame_size(framing(0).frame_size)
        .register_segment(move |_| Ok(CountsDrop(Arc::clone(&of_builder))));
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let mut pools = vec![allocator.pool().unwrap()];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut pool = allocator.pool().unwrap();
                let mut newest_seen = 0;
                let mut kept = None;
                for turn in 0_u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let frames: Vec<Frame> = match turn % 5 {
                        0 => vec![allocator.acquire().unwrap()],
                        1 => vec![pool.acquire_timeout(A_MINUTE).unwrap()],
                        2 => pool.acquire_many(2).unwrap().collect(),
                        3 => vec![block_on(pool.acquire_async()).unwrap()],
                        _ => pool.acquire_exact(2).unwrap().collect(),
                    };
                    let generation = frames[0].generation();
                    assert!(generation >= newest_seen, "{generation} {newest_seen}");
                    newest_seen = generation;
                    for frame in &frames {
                        let size = framing(generation).frame_size;
                        assert_eq!((frame.generation(), frame.len()), (generation, size));
                    }
                    let marked: Vec<_> = frames.into_iter().map(MarkedFrame::new).collect();
                    if turn % 16 == 1 && generation % 8 == 0 {
                        // It stays for some generations, as the last picture of a sink.
                        kept = marked.into_iter().next();
                    } else if turn % 64 == 2 {
                        kept = None;
                        pool = pool.newest();
                    }
                }
                drop(kept);
            });
        }
        for generation in 1..=CHANGES {
            let reframing = Reframing::new(framing(generation));
            allocator.reframe(reframing).unwrap();
            pools.push(allocator.pool().unwrap());
            if generation % 64 == 0 {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    for (generation, pool) in (0..).zip(&pools) {
        assert_eq!(pool.generation(), generation);
        let all = framing(generation).frames;
        assert_eq!(pool.free_frames(), all, "frames of {generation}");
    }
    assert_eq!(pools.len(), number(CHANGES + 1, u64::MAX));
    assert_eq!(freed.load(Ordering::Relaxed), CHANGES);
}

/// The same with drained changes, in which no frame of an older generation is out.
#[test]
fn no_frame_is_lost_while_drained_changes_alternate_with_others() {
    let allocator = committed(3, 64);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..3 {
            let (allocator, stop) = (&allocator, &stop);
            scope.spawn(move || {
                let pool = allocator.pool().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let count = 1 + thread % 2;
                    let frames = pool.acquire_exact(count).unwrap();
                    drop(frames.map(MarkedFrame::new).collect::<Vec<_>>());
                }
            });
        }
        for change in 1..=1_000_usize {
            let framing = Framing::new(2 + change % 3, 64 * (1 + change % 5));
            let reframing = match change % 3 {
                0 => Reframing::new(framing),
                _ => Reframing::new(framing).drain(A_MINUTE),
            };
            allocator.reframe(reframing).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(allocator.free_frames(), allocator.framing().frames);
}
