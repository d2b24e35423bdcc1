//! Levels: the hook that is told when few frames are free.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use ks_allocator::{
    BuildError, CommitError, EventKind, FramePool, FramePoolBuilder, Framing, HolderState,
    KsAllocator, Level, PoolAllocator, Share,
};

type Told = Arc<Mutex<Vec<Level>>>;

fn builder(frames: usize, low: usize, recovered: usize) -> (FramePoolBuilder, Told) {
    let told = Told::default();
    let hook = Arc::clone(&told);
    let builder = FramePool::builder().frames(frames).frame_size(64);
    let builder = builder.on_low(low, recovered, move |level| {
        hook.lock().unwrap().push(level)
    });
    (builder, told)
}

fn take(told: &Told) -> Vec<Level> {
    std::mem::take(&mut told.lock().unwrap())
}

#[test]
fn each_crossing_is_told_once() {
    let (builder, told) = builder(4, 1, 3);
    let pool = builder.build().unwrap();
    let mut frames = vec![pool.acquire().unwrap(), pool.acquire().unwrap()];
    assert_eq!(take(&told), []);
    for _ in 0..3 {
        frames.push(pool.acquire().unwrap());
        assert_eq!(take(&told), [Level::Low { free: 1 }]);
        // Up to 2 and down to 0: not enough, and still low.
        frames.pop();
        frames.extend([pool.acquire().unwrap(), pool.acquire().unwrap()]);
        assert_eq!(take(&told), []);
        frames.truncate(1);
        assert_eq!(take(&told), [Level::Recovered { free: 3 }]);
        frames.push(pool.acquire().unwrap());
    }
    frames.clear();
    assert_eq!(take(&told), []);
}

#[test]
fn batches_and_shared_frames_count() {
    let (builder, told) = builder(8, 0, 8);
    let pool = builder.build().unwrap();
    let batch = pool.acquire_exact(7).unwrap();
    let last = pool.acquire().unwrap().share();
    assert_eq!(take(&told), [Level::Low { free: 0 }]);
    let copy = last.clone();
    drop((batch, last));
    assert_eq!(take(&told), []);
    drop(copy);
    assert_eq!(take(&told), [Level::Recovered { free: 8 }]);
}

#[test]
fn a_hook_in_the_middle_of_a_batch_finds_the_other_frames_free() {
    let pool = Arc::new(OnceLock::<FramePool>::new());
    let found = Arc::new(Mutex::new(None));
    let builder = FramePool::builder().frames(8).frame_size(64).shards(8);
    // Weak, because the pool owns the hook.
    let (of_hook, result) = (Arc::downgrade(&pool), Arc::clone(&found));
    let builder = builder.on_low(4, 6, move |level| {
        let pool = of_hook.upgrade().unwrap();
        let pool = pool.get().unwrap();
        let holders = pool.holders().entries;
        let has_unclaimed = holders
            .iter()
            .any(|holder| holder.state == HolderState::Unclaimed);
        *result.lock().unwrap() = Some((level, pool.free_frames(), has_unclaimed));
    });
    let pool = pool.get_or_init(|| builder.build().unwrap());
    let batch = pool.try_acquire_many(8).unwrap();
    assert_eq!(batch.len(), 8);
    assert_eq!(
        *found.lock().unwrap(),
        Some((Level::Low { free: 4 }, 4, false))
    );
}

#[test]
fn marks_that_do_not_fit_are_refused() {
    for (low, recovered) in [(2, 2), (3, 2), (0, 0), (1, 5), (usize::MAX, usize::MAX)] {
        let error = builder(4, low, recovered).0.build().unwrap_err();
        assert!(
            matches!(
                error,
                BuildError::Commit(CommitError::Levels { low: l, recovered: r, frames: 4 })
                    if (l, r) == (low, recovered)
            ),
            "{error}"
        );
    }
}

#[test]
fn a_panic_of_the_hook_loses_no_frame_and_no_level() {
    let told = Told::default();
    let hook = Arc::clone(&told);
    let pool = FramePool::builder()
        .frames(1)
        .frame_size(64)
        .on_low(0, 1, move |level| {
            hook.lock().unwrap().push(level);
            std::panic::resume_unwind(Box::new("of the hook"));
        })
        .build()
        .unwrap();
    for _ in 0..3 {
        drop(pool.acquire().unwrap());
        let expected = [Level::Low { free: 0 }, Level::Recovered { free: 1 }];
        assert_eq!(take(&told), expected);
    }
}

#[test]
fn a_hook_may_use_the_pool() {
    let pool: Arc<Mutex<Option<FramePool>>> = Arc::default();
    let (in_hook, told) = (Arc::clone(&pool), Told::default());
    let hook = Arc::clone(&told);
    let built = FramePool::builder()
        .frames(3)
        .frame_size(64)
        .on_low(1, 3, move |level| {
            hook.lock().unwrap().push(level);
            let pool = in_hook.lock().unwrap().clone();
            drop(pool.unwrap().try_acquire());
        })
        .build()
        .unwrap();
    *pool.lock().unwrap() = Some(built.clone());
    let frames = built.acquire_exact(2).unwrap();
    assert_eq!(take(&told), [Level::Low { free: 1 }]);
    drop(frames);
    assert_eq!(take(&told), [Level::Recovered { free: 3 }]);
    *pool.lock().unwrap() = None;
}

#[test]
fn a_new_generation_begins_with_all_frames() {
    let (builder, told) = builder(2, 0, 2);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    allocator.commit().unwrap();
    let old = (allocator.acquire().unwrap(), allocator.acquire().unwrap());
    assert_eq!(take(&told), [Level::Low { free: 0 }]);
    allocator.reframe(Framing::new(3, 64)).unwrap();
    assert_eq!(take(&told), [Level::Recovered { free: 3 }]);
    let new: Vec<_> = (0..3).map(|_| allocator.acquire().unwrap()).collect();
    assert_eq!(take(&told), [Level::Low { free: 0 }]);
    drop(old);
    assert_eq!(take(&told), []);
    drop(new);
    assert_eq!(take(&told), [Level::Recovered { free: 2 }]);
    // The marks have to fit.
    allocator.reframe(Framing::new(1, 64)).unwrap_err();
    assert_eq!(allocator.framing().frames, 3);
}

#[test]
fn levels_are_recorded() {
    let (builder, _) = builder(1, 0, 1);
    let pool = builder.record(100).build().unwrap();
    drop(pool.acquire().unwrap());
    let recording = pool.recording().unwrap();
    let kinds: Vec<_> = recording.events.iter().map(|event| event.kind).collect();
    use EventKind::{Acquired, Committed, RanLow, Recovered, Released};
    assert_eq!(kinds, [Committed, Acquired, RanLow, Released, Recovered]);
}

/// Calls of the hook never meet, alternate, and the last one is right.
#[test]
fn stress_the_last_call_is_right() {
    let state = Arc::new((AtomicBool::new(false), Mutex::new((false, 0_u64))));
    let in_hook = Arc::clone(&state);
    let pool = FramePool::builder()
        .frames(6)
        .frame_size(64)
        .share(Share::new("one").reserve(1).limit(3))
        .on_low(1, 3, move |level| {
            let (is_running, told) = &*in_hook;
            assert!(
                !is_running.swap(true, Ordering::SeqCst),
                "two calls at once"
            );
            let is_low = matches!(level, Level::Low { .. });
            let (was_low, calls) = &mut *told.lock().unwrap();
            assert_ne!(*was_low, is_low, "calls do not alternate");
            (*was_low, *calls) = (is_low, *calls + 1);
            is_running.store(false, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let stop = AtomicBool::new(false);
    let kept = thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker: usize| {
                let pool = if worker % 2 == 0 {
                    pool.with_label("one")
                } else {
                    pool.clone()
                };
                let stop = &stop;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    let mut round = worker;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        match round % 3 {
                            0 => held.clear(),
                            _ => held.extend(pool.try_acquire()),
                        }
                    }
                    held
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        let held = workers.into_iter().map(|worker| worker.join().unwrap());
        held.flatten().collect::<Vec<_>>()
    });
    let told = |state: &(AtomicBool, Mutex<(bool, u64)>)| *state.1.lock().unwrap();
    let (is_low, calls) = told(&state);
    match pool.free_frames() {
        0 | 1 => assert!(is_low),
        2 => {}
        _ => assert!(!is_low),
    }
    assert!(calls > 0);
    drop(kept);
    assert!(!told(&state).0);
}
