//! Options of a pool that change what its calls do: a name, and no waiting. And what stands for an
//! allocator.
#![cfg(not(any(loom, miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use ks_allocator::{
    AcquireError, AllocatorMode, FramePool, FramePoolBuilder, Framing, KsAllocator, Label,
    PoolAllocator, Starvation,
};
use support::poll_once::poll_once;

mod support {
    pub(crate) mod poll_once;
}

fn builder() -> FramePoolBuilder {
    FramePool::builder().frames(2).frame_size(64)
}

#[test]
fn a_pool_without_waiting_fails_in_every_form_of_an_acquire() {
    let pool = builder().waiting(false).build().unwrap();
    let held = pool.acquire_exact(2).unwrap();
    let exhausted = || AcquireError::Exhausted(Starvation::default());
    let long = Duration::from_secs(60);
    let began = Instant::now();
    assert_eq!(pool.acquire().unwrap_err(), exhausted());
    assert_eq!(pool.try_acquire().unwrap_err(), exhausted());
    let error = pool.acquire_timeout(long).unwrap_err();
    assert_eq!(error, exhausted());
    assert!(
        error.to_string().contains("2 of 2 frames are out"),
        "{error}"
    );
    let at_once = pool.acquire_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(at_once, exhausted());
    assert_eq!(pool.acquire_many(1).unwrap_err(), exhausted());
    assert_eq!(pool.acquire_exact(1).unwrap_err(), exhausted());
    assert_eq!(
        pool.acquire_exact_timeout(2, long).unwrap_err(),
        exhausted()
    );
    let polled = poll_once(Pin::new(&mut pool.acquire_async()), Waker::noop());
    assert!(matches!(polled, Poll::Ready(Err(error)) if error == exhausted()));
    let polled = poll_once(Pin::new(&mut pool.acquire_exact_async(1)), Waker::noop());
    assert!(matches!(polled, Poll::Ready(Err(error)) if error == exhausted()));
    assert!(began.elapsed() < long / 2);
    let stats = pool.stats();
    assert_eq!((stats.waits, stats.failed_acquires), (0, 9));
    drop(held);
    assert!(pool.acquire().is_ok());
}

#[test]
fn a_name_stands_in_reports_errors_and_of_each_commit() {
    let builder = builder().name("capture");
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    for frames in 1..3 {
        allocator.set_framing(&Framing::new(frames, 64)).unwrap();
        allocator.commit().unwrap();
        let pool = allocator.pool().unwrap();
        assert_eq!(pool.name(), Some(Label::new("capture")));
        let held = pool.acquire_exact(frames).unwrap();
        let holders = pool.holders();
        assert_eq!(holders.pool, Some(Label::new("capture")));
        let error = pool
            .acquire_timeout(Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert!(error.contains(" of `capture` "), "{error}");
        drop(held);
        allocator.decommit();
    }
}

/// Uses an allocator that is known by the trait only.
fn use_allocator(allocator: impl KsAllocator) {
    allocator.set_framing(&Framing::new(2, 64)).unwrap();
    allocator.set_allocator_mode(AllocatorMode::User).unwrap();
    allocator.commit().unwrap();
    assert_eq!(allocator.framing(), Framing::new(2, 64));
    let frame = allocator.acquire().unwrap();
    let pool = allocator.frame_pool().unwrap();
    let location = pool.holders().entries[0].location.unwrap();
    assert_eq!(
        location.file,
        file!(),
        "the caller's, and not the pointer's"
    );
    assert_eq!(allocator.free_frames(), 1);
    drop((
        frame,
        allocator.try_acquire(),
        allocator.acquire_timeout(Duration::ZERO),
    ));
    allocator.begin_flush();
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    allocator.end_flush();
    assert!(allocator.allocator_handle().is_none());
    assert_eq!(allocator.allocator_mode(), AllocatorMode::User);
    allocator.decommit();
    assert_eq!(allocator.allocator_status().allocated_frames, 0);
}

#[test]
fn references_boxes_and_arcs_of_allocators_are_allocators() {
    let allocator = PoolAllocator::new();
    use_allocator(&allocator);
    let reference: &dyn KsAllocator = &allocator;
    use_allocator(reference);
    use_allocator(Box::new(PoolAllocator::new()));
    use_allocator(Arc::new(PoolAllocator::new()));
    let dynamic: Arc<dyn KsAllocator> = Arc::new(allocator);
    use_allocator(dynamic.clone());
    use_allocator(&*dynamic);
    let boxed: Box<dyn KsAllocator> = Box::new(dynamic);
    use_allocator(boxed);
}

/// Value that counts the values that live.
struct Counted(Arc<AtomicUsize>, usize);

impl Counted {
    fn new(live: &Arc<AtomicUsize>, slot: usize) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self(live.clone(), slot)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn each_slot_has_a_value_that_lives_as_long_as_the_pool() {
    let live = Arc::default();
    let of_builder = Arc::clone(&live);
    let builder = builder().attachment(move |slot| Counted::new(&of_builder, slot));
    let pools = [builder.build().unwrap(), builder.build().unwrap()];
    assert_eq!(live.load(Ordering::Relaxed), 4);
    for pool in &pools {
        for mut frame in pool.acquire_exact(2).unwrap() {
            let value: &mut Counted = frame.attachment_mut().unwrap();
            value.1 += 10;
            assert_eq!(frame.attachment::<Counted>().unwrap().1, frame.slot() + 10);
            assert!(frame.attachment_mut::<u8>().is_none());
        }
        let frame = pool.acquire().unwrap().share();
        assert_eq!(
            frame.attachment::<Counted>().unwrap().1,
            frame.slot() + 10,
            "it is kept"
        );
    }
    let [one, two] = pools;
    let last = two.acquire().unwrap();
    drop((one, two));
    assert_eq!(live.load(Ordering::Relaxed), 2);
    drop((last, builder));
    assert_eq!(live.load(Ordering::Relaxed), 0);
    assert!(
        self::builder()
            .build()
            .unwrap()
            .acquire()
            .unwrap()
            .attachment::<Counted>()
            .is_none()
    );
}

#[test]
fn a_value_is_reset_only_if_it_may_have_changed_and_a_panic_in_that_loses_nothing() {
    let builder = builder().frames(1).attachment(|_| 0_u32);
    let pool = builder.reset_attachment(|value: &mut u32| {
        *value += 100;
        assert!(*value < 200, "from the second reset on");
    });
    let pool = pool.build().unwrap();
    let value = || *pool.acquire().unwrap().attachment::<u32>().unwrap();
    let change = || *pool.acquire().unwrap().attachment_mut::<u32>().unwrap() += 1;
    assert_eq!([value(), value()], [0, 0]);
    change();
    assert_eq!([value(), value()], [101, 101]);
    change();
    assert_eq!([value(), value()], [202, 202]);
    drop(pool.acquire_many(1).unwrap());
    assert_eq!((value(), pool.free_frames()), (202, 1));
}
