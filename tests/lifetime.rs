//! Frames that outlive their pool, allocator or thread, and holders that panic or leak.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use ks_allocator::{AcquireError, Frame, FramePool, Framing, KsAllocator, Starvation};

use support::committed_allocator::committed_allocator;
use support::pool::pool;
use support::wait_until::wait_until;

mod support {
    pub(crate) mod committed_allocator;
    pub(crate) mod pool;
    pub(crate) mod wait_until;
}

const FRAME_SIZE: usize = 4096;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Returns the resident memory of this process in bytes, or 0 if the system does not report it.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    pages.map_or(0, |pages| pages.parse::<usize>().unwrap() * 4096)
}

/// Calls `round` `times` times and asserts that resident memory grows by at most 100 MiB, which
/// leaves room for the other tests of this process.
///
/// If every round leaked, the growth would be several hundred MiB. Under Miri, which is slow, 10
/// rounds check all but the memory.
fn assert_no_leak(times: usize, mut round: impl FnMut(usize)) {
    let times = if cfg!(miri) { 10 } else { times };
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
    let pool = pool(3, FRAME_SIZE);
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
fn unique_and_shared_frames_outlive_their_allocator() {
    let allocator = committed_allocator(2, 64);
    let pool = allocator.pool().unwrap();
    let mut shared = allocator.acquire().unwrap().share();
    let other = shared.clone();
    drop(allocator);
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::NotCommitted);
    drop(pool);
    // A copy would need another frame.
    assert_eq!(shared.make_mut().unwrap_err(), AcquireError::NotCommitted);
    drop(other);
    shared.make_mut().unwrap().fill(1);
    assert_eq!(shared[63], 1);
    let mut unique = shared.try_into_unique().unwrap();
    unique.fill(2);
    assert_eq!(unique[63], 2);
}

#[test]
fn a_batch_outlives_its_pool() {
    let pool = pool(4, FRAME_SIZE);
    let mut batch = pool.acquire_many(4).unwrap();
    drop(pool);
    let mut frame = batch.next().unwrap();
    drop(batch);
    frame.fill(0xA5);
    assert_eq!(*frame, [0xA5; FRAME_SIZE]);
}

#[test]
fn dropping_an_allocator_fails_the_pending_acquires_of_its_pool() {
    let allocator = committed_allocator(1, 64);
    let pool = allocator.pool().unwrap();
    let frame = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        wait_until(|| pool.waiting() == 1);
        drop(allocator);
        assert_eq!(waiter.join().unwrap(), Err(AcquireError::NotCommitted));
    });
    drop(frame);
}

#[test]
fn frames_in_thread_locals_are_released_when_their_thread_ends() {
    thread_local!(static HELD: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) });
    let pool = pool(8, FRAME_SIZE);
    // Not scoped threads: the end of a scope does not wait for the destructors.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                HELD.with_borrow_mut(|held| held.extend(pool.acquire_many(2).unwrap()));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(pool.free_frames(), 8);
}

#[test]
fn a_thread_local_destructor_may_acquire_and_release_a_frame() {
    struct AcquireOnDrop(FramePool, Sender<usize>);
    impl Drop for AcquireOnDrop {
        fn drop(&mut self) {
            let frame = self.0.acquire().unwrap();
            self.1.send(frame.slot()).unwrap();
        }
    }
    thread_local!(static LAST: RefCell<Option<AcquireOnDrop>> = const { RefCell::new(None) });
    let pool = pool(2, FRAME_SIZE);
    let (sender, slots) = channel();
    let last = AcquireOnDrop(pool.clone(), sender);
    thread::spawn(move || LAST.set(Some(last))).join().unwrap();
    assert_eq!(slots.iter().count(), 1);
    assert_eq!(pool.free_frames(), 2);
}

#[test]
fn a_panicking_holder_releases_its_frames() {
    let pool = pool(4, FRAME_SIZE);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _one = pool.acquire().unwrap();
        let _two = pool.acquire().unwrap().share();
        let _rest = pool.acquire_many(2).unwrap();
        panic!("a holder");
    }));
    assert!(result.is_err());
    assert_eq!(pool.free_frames(), 4);
}

#[test]
fn a_panicking_reader_leaves_the_frame_valid() {
    struct PanickingReader;
    #[expect(clippy::panic_in_result_fn, reason = "the subject of the test")]
    impl std::io::Read for PanickingReader {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("a reader");
        }
    }
    let pool = pool(1, FRAME_SIZE);
    let mut frame = pool.acquire().unwrap();
    let read = catch_unwind(AssertUnwindSafe(|| frame.read_from(&mut PanickingReader)));
    assert!(read.is_err());
    assert_eq!(frame.len(), FRAME_SIZE);
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
#[expect(clippy::mem_forget, reason = "the subject of the test")]
fn a_forgotten_frame_is_lost_and_the_others_still_circulate() {
    let pool = pool(3, FRAME_SIZE);
    std::mem::forget(pool.acquire().unwrap());
    let rest = pool.acquire_many(3).unwrap();
    assert_eq!((rest.len(), pool.free_frames()), (2, 0));
    assert_eq!(
        pool.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    drop(rest);
    assert_eq!(pool.free_frames(), 2);
    // Neither call waits for the forgotten frame.
    pool.begin_flush();
    drop(pool);
}

#[test]
fn frames_are_released_on_another_thread() {
    let pool = pool(16, FRAME_SIZE);
    let (sender, receiver) = channel::<Frame>();
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
fn ten_thousand_commits_and_decommits_leak_no_memory() {
    let allocator = committed_allocator(4, 64 * KIB);
    assert_no_leak(10_000, |number| {
        allocator.commit().unwrap();
        let frame = allocator.acquire().unwrap();
        allocator.decommit();
        if number % 2 == 0 {
            allocator.commit().unwrap();
            allocator.decommit();
        }
        drop(frame);
        // Another framing, so that the next commit allocates memory.
        if number % 3 == 0 {
            allocator
                .set_framing(&Framing::new(1 + number % 7, 64 * KIB))
                .unwrap();
        }
    });
}

#[test]
fn a_thousand_pools_that_end_before_their_frames_leak_no_memory() {
    assert_no_leak(1000, |_| {
        let pool = pool(4, 64 * KIB);
        let held: Vec<_> = pool.acquire_many(3).unwrap().collect();
        drop(pool);
        drop(held);
    });
}

#[test]
fn a_handle_of_an_old_generation_does_not_keep_its_memory() {
    let framing = Framing::new(1, MIB);
    let allocator = committed_allocator(framing.frames, framing.frame_size);
    let handles: Vec<_> = (0..64)
        .map(|_| {
            let pool = allocator.pool().unwrap();
            allocator.decommit();
            allocator.set_framing(&framing).unwrap();
            allocator.commit().unwrap();
            pool
        })
        .collect();
    let with_handles = resident();
    drop(handles);
    let without_handles = resident();
    // The memory of the 64 generations would be 64 MiB.
    assert!(
        with_handles <= without_handles + 32 * MIB,
        "{with_handles} bytes fell to {without_handles}"
    );
}
