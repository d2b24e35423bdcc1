//! Frames that outlive what they came from, and holders that end badly.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use ks_allocator::{
    AcquireError, Frame, FramePool, Framing, KsAllocator, PoolAllocator, Starvation,
};

fn pool(frames: usize) -> FramePool {
    FramePool::builder()
        .frames(frames)
        .frame_size(4096)
        .build()
        .unwrap()
}

/// Memory that this process really occupies, in bytes; 0 where the system does not tell.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    pages.map_or(0, |pages| pages.parse::<usize>().unwrap() * 4096)
}

const MIB: usize = 1 << 20;

/// Repeats `round` often, or a few times under a slow checker, and sees to it that no memory is left
/// behind. If all of it were, that would be some hundred MiB.
fn leaks_no_memory(often: usize, mut round: impl FnMut(usize)) {
    let times = if cfg!(miri) { 10 } else { often };
    (0..times / 10).for_each(&mut round);
    let before = resident();
    (0..times).for_each(&mut round);
    let after = resident();
    assert!(
        after <= before + 100 * MIB,
        "{before} bytes grew to {after}"
    );
}

#[test]
fn frames_outlive_their_pool() {
    let pool = pool(3);
    let mut frames: Vec<_> = (0..3).map(|_| pool.acquire().unwrap()).collect();
    drop(pool);
    for frame in &mut frames {
        frame.fill(0xA5);
    }
    for frame in frames {
        assert!(frame.iter().all(|&byte| byte == 0xA5));
    }
}

#[test]
fn frames_outlive_their_allocator_and_shared_ones_too() {
    let allocator = PoolAllocator::with_framing(Framing::new(2, 64)).unwrap();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    let mut shared = allocator.acquire().unwrap().share();
    let other = shared.clone();
    drop(allocator);
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::NotCommitted);
    drop(pool);
    // A copy would need a frame of a pool that is gone.
    assert_eq!(shared.make_mut().unwrap_err(), AcquireError::NotCommitted);
    drop(other);
    shared.make_mut().unwrap().fill(1);
    assert_eq!(shared[63], 1);
}

#[test]
fn a_batch_outlives_its_pool() {
    let pool = pool(4);
    let mut batch = pool.acquire_many(4).unwrap();
    drop(pool);
    let frame = batch.next().unwrap();
    drop(batch);
    assert_eq!(frame.len(), 4096);
}

#[test]
fn dropping_the_allocator_refuses_those_who_wait_on_its_pool() {
    let allocator = PoolAllocator::with_framing(Framing::new(1, 64)).unwrap();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        while pool.waiting() == 0 {
            thread::yield_now();
        }
        drop(allocator);
        assert_eq!(waiter.join().unwrap(), Err(AcquireError::NotCommitted));
    });
    drop(frame);
}

thread_local! {
    static KEPT: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn frames_come_back_from_thread_local_destructors() {
    let pool = pool(8);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                KEPT.with(|kept| kept.borrow_mut().extend(pool.acquire_many(2).unwrap()));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(pool.free_frames(), 8);
}

#[test]
fn a_frame_may_be_acquired_in_a_thread_local_destructor() {
    struct Late(FramePool);
    impl Drop for Late {
        fn drop(&mut self) {
            drop(self.0.acquire().unwrap());
        }
    }
    thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
    let pool = pool(2);
    let late = Late(pool.clone());
    thread::spawn(move || LATE.with(|slot| *slot.borrow_mut() = Some(late)))
        .join()
        .unwrap();
    assert_eq!(pool.free_frames(), 2);
}

#[test]
fn a_holder_that_panics_gives_its_frames_back() {
    let pool = pool(4);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _one = pool.acquire().unwrap();
        let _two = pool.acquire().unwrap().share();
        let _rest = pool.acquire_many(2).unwrap();
        panic!("on purpose");
    }));
    assert!(result.is_err());
    assert_eq!(pool.free_frames(), 4);
}

#[test]
fn a_reader_that_panics_does_no_harm() {
    struct Panics;
    #[expect(clippy::panic_in_result_fn, reason = "what is tested")]
    impl std::io::Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("on purpose");
        }
    }
    let pool = pool(1);
    let mut frame = pool.acquire().unwrap();
    let read = catch_unwind(AssertUnwindSafe(|| frame.read_from(&mut Panics)));
    assert!(read.is_err());
    assert_eq!(frame.len(), 4096);
}

#[test]
#[expect(clippy::mem_forget, reason = "what is tested")]
fn a_forgotten_frame_is_missing_and_nothing_else() {
    let pool = pool(3);
    std::mem::forget(pool.acquire().unwrap());
    let rest = pool.acquire_many(3).unwrap();
    assert_eq!((rest.len(), pool.free_frames()), (2, 0));
    assert_eq!(
        pool.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    drop(rest);
    assert_eq!(pool.free_frames(), 2);
    pool.begin_flush();
    drop(pool);
}

#[test]
fn frames_cross_threads_and_come_home() {
    let pool = pool(16);
    let (sender, receiver) = std::sync::mpsc::channel::<Frame>();
    let sink = thread::spawn(move || {
        receiver
            .iter()
            .map(|frame| u64::from(frame[0]))
            .sum::<u64>()
    });
    for number in 0..1000_u16 {
        let mut frame = pool.acquire().unwrap();
        frame[0] = number.to_le_bytes()[0];
        sender.send(frame).unwrap();
    }
    drop(sender);
    assert_eq!(
        sink.join().unwrap(),
        (0..1000_u64).map(|number| number % 256).sum()
    );
    assert_eq!(pool.free_frames(), 16);
}

#[test]
fn ten_thousand_commits_and_decommits_leak_nothing() {
    let allocator = PoolAllocator::with_framing(Framing::new(4, 64 * 1024)).unwrap();
    let round = |number: usize| {
        allocator.commit().unwrap();
        let frame = allocator.acquire().unwrap();
        allocator.decommit();
        if number % 2 == 0 {
            allocator.commit().unwrap();
            allocator.decommit();
        }
        drop(frame);
        // Every third round has new memory.
        if number % 3 == 0 {
            allocator
                .set_framing(&Framing::new(1 + number % 7, 64 * 1024))
                .unwrap();
        }
    };
    leaks_no_memory(10_000, round);
}

#[test]
fn pools_that_come_and_go_with_frames_out_leak_nothing() {
    let round = |_| {
        let pool = FramePool::builder()
            .frames(4)
            .frame_size(64 * 1024)
            .build()
            .unwrap();
        let held: Vec<_> = pool.acquire_many(3).unwrap().collect();
        drop(pool);
        drop(held);
    };
    leaks_no_memory(1000, round);
}

#[test]
fn a_stale_handle_does_not_hold_the_memory_of_its_generation() {
    let allocator = PoolAllocator::with_framing(Framing::new(1, 1 << 20)).unwrap();
    allocator.commit().unwrap();
    let stale: Vec<_> = (0..64)
        .map(|_| {
            let pool = allocator.pool().unwrap();
            allocator.decommit();
            allocator.set_framing(&Framing::new(1, 1 << 20)).unwrap();
            allocator.commit().unwrap();
            pool
        })
        .collect();
    let with_handles = resident();
    drop(stale);
    let without = resident();
    // They would hold 64 MiB.
    assert!(
        with_handles <= without + 32 * MIB,
        "{with_handles} bytes fell to {without}"
    );
}
