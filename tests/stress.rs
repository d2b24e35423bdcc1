//! Random operations of many threads, with an ownership canary in every frame.
//!
//! Round counts and seeds are fixed, so that a run takes a bounded time and each thread draws the
//! same numbers in every run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ks_allocator::{
    AcquireError, AllocatorState, Frame, FramePool, Framing, FramingError, KsAllocator,
    SharedFrame, Starvation,
};

use support::assert_all_free::assert_all_free;
use support::committed_allocator::committed_allocator;
use support::marked_frame::{MarkedFrame, assert_marked};
use support::pool::pool;
use support::random::Random;

mod support {
    pub(crate) mod assert_all_free;
    pub(crate) mod committed_allocator;
    pub(crate) mod marked_frame;
    pub(crate) mod pool;
    pub(crate) mod random;
}

const THREADS: u64 = 4;
const ROUNDS: u64 = if cfg!(debug_assertions) {
    4_000
} else {
    40_000
};
const FRAME_SIZE: usize = 64;

/// Returns the mark that the owner of a frame wrote into its first word.
fn mark_of(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes[..8].try_into().unwrap())
}

/// Asserts that bytes and metadata are those of a single owner.
fn assert_consistent(shared: &SharedFrame) {
    assert_marked(shared, shared.metadata(), mark_of(shared));
}

/// A thread that works with a pool and with shared frames that other workers send it.
struct Worker {
    pool: FramePool,
    random: Random,
    to_others: Vec<SyncSender<SharedFrame>>,
    from_others: Receiver<SharedFrame>,
    held: Vec<MarkedFrame>,
}

impl Worker {
    fn run(mut self) {
        for _ in 0..ROUNDS {
            match self.random.below(10) {
                0..=3 => self.acquire(),
                4..=5 => self.release(),
                6 => self.share(),
                7 => self.receive(),
                8 => self.batch(),
                _ => self.copy_on_write(),
            }
        }
    }

    fn acquire(&mut self) {
        // A bound on the held frames, so that other workers find frames in the scarce pool.
        if self.held.len() >= 2 {
            return self.release();
        }
        let timeout = Duration::from_micros(self.random.below(50) as u64);
        match self.pool.acquire_timeout(timeout) {
            Ok(frame) => self.held.push(MarkedFrame::new(frame)),
            Err(error) => assert_eq!(error, AcquireError::TimedOut(Starvation::default())),
        }
    }

    fn release(&mut self) {
        if !self.held.is_empty() {
            let index = self.random.below(self.held.len());
            drop(self.held.swap_remove(index));
        }
    }

    fn share(&mut self) {
        if let Some(marked) = self.held.pop() {
            let shared = Frame::from(marked).share();
            for other in &self.to_others {
                // A full queue returns the handle, which is dropped.
                drop(other.try_send(shared.clone()));
            }
            assert_consistent(&shared);
        }
    }

    fn receive(&mut self) {
        while let Ok(shared) = self.from_others.try_recv() {
            assert_consistent(&shared);
            if let Ok(frame) = shared.try_into_unique() {
                assert_marked(&frame, frame.metadata(), mark_of(&frame));
            }
        }
    }

    fn batch(&mut self) {
        if let Ok(mut batch) = self.pool.try_acquire_many(3) {
            if let Some(frame) = batch.next() {
                let frame = Frame::from(MarkedFrame::new(frame));
                // If the batch is empty now, it takes a frame of any word.
                batch.push(frame).unwrap();
            }
            if let Some(marked) = self.held.pop() {
                drop(batch.push(marked.into()));
            }
        }
    }

    fn copy_on_write(&mut self) {
        if let Some(marked) = self.held.pop() {
            let frame = Frame::from(marked);
            let mark = mark_of(&frame);
            let mut shared = frame.share();
            let other = shared.clone();
            if let Ok(copy) = shared.make_mut() {
                assert_marked(copy, copy.metadata(), mark);
                copy.fill(0);
            }
            assert_marked(&other, other.metadata(), mark);
        }
    }
}

fn stress(frames: usize, shards: usize) {
    let pool = FramePool::builder()
        .frames(frames)
        .frame_size(FRAME_SIZE)
        .shards(shards)
        .build()
        .unwrap();
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| sync_channel::<SharedFrame>(4)).unzip();
    thread::scope(|scope| {
        for (number, from_others) in (1..).zip(receivers) {
            let worker = Worker {
                pool: pool.clone(),
                random: Random(0x9E37_79B9 * number),
                to_others: senders.clone(),
                from_others,
                held: Vec::new(),
            };
            scope.spawn(|| worker.run());
        }
        drop(senders);
    });
    assert_all_free(&pool);
}

#[test]
fn random_operations_on_a_scarce_pool_of_one_word() {
    stress(3, 1);
}

#[test]
fn random_operations_on_a_pool_of_two_words() {
    stress(16, 2);
}

#[test]
fn random_operations_on_a_pool_of_many_words_with_hints() {
    stress(1000, 2);
}

/// A lost wake-up would block a thread for ever.
#[test]
fn every_blocked_thread_is_woken_when_threads_outnumber_frames() {
    let pool = pool(2, FRAME_SIZE);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..ROUNDS / 4 {
                    drop(MarkedFrame::new(pool.acquire().unwrap()));
                }
            });
        }
    });
    assert_all_free(&pool);
}

#[test]
fn decommit_commit_flush_and_set_framing_under_load() {
    let allocator = committed_allocator(4, FRAME_SIZE);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..3 {
            let (allocator, done) = (&allocator, &done);
            scope.spawn(move || {
                let mut random = Random(number + 77);
                while !done.load(Ordering::Acquire) {
                    match allocator.acquire() {
                        Ok(frame) => {
                            let _held = MarkedFrame::new(frame);
                            // Some frames come back after the next decommit, or after a commit.
                            (0..random.below(4)).for_each(|_| thread::yield_now());
                        }
                        Err(AcquireError::NotCommitted | AcquireError::Flushing) => {
                            thread::yield_now();
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                // The allocator is left committed, so an acquire succeeds again.
                drop(MarkedFrame::new(allocator.acquire().unwrap()));
            });
        }

        let mut random = Random(1);
        for round in 0..ROUNDS / 8 {
            match random.below(4) {
                0 => {
                    allocator.begin_flush();
                    allocator.end_flush();
                }
                1 => {
                    allocator.decommit();
                    assert!(allocator.try_acquire().is_err());
                    allocator.commit().unwrap();
                }
                2 => {
                    allocator.decommit();
                    let frames = 2 + random.below(4);
                    match allocator.set_framing(&Framing::new(frames, FRAME_SIZE)) {
                        Ok(actual) => assert_eq!(actual.frames, frames),
                        Err(error) => {
                            assert!(matches!(error, FramingError::FramesOutstanding { .. }));
                        }
                    }
                    allocator.commit().unwrap();
                }
                _ => thread::yield_now(),
            }
            let status = allocator.allocator_status();
            assert!(
                status.allocated_frames <= status.framing.frames,
                "round {round}: {status:?}"
            );
        }
        done.store(true, Ordering::Release);
    });
    let status = allocator.allocator_status();
    assert_eq!(
        (status.allocated_frames, status.state),
        (0, AllocatorState::Committed)
    );
    assert_eq!(allocator.free_frames(), allocator.framing().frames);
    assert_all_free(&allocator.pool().unwrap());
}

#[test]
fn the_last_frames_of_a_pool_may_be_released_by_several_threads_at_once() {
    for round in 0..ROUNDS / 20 {
        let pool = pool(4, FRAME_SIZE);
        let frames: Vec<_> = (0..3)
            .map(|_| MarkedFrame::new(pool.acquire().unwrap()))
            .collect();
        let threads: Vec<_> = frames
            .into_iter()
            .map(|marked| {
                // In every other round a handle goes last.
                let handle = (round % 2 == 0).then(|| pool.clone());
                thread::spawn(move || {
                    drop(marked);
                    drop(handle);
                })
            })
            .collect();
        drop(pool);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn many_threads_acquire_and_release() {
    const FRAMES: usize = 1000;
    const MANY: usize = 80;
    let pool = FramePool::builder()
        .frames(FRAMES)
        .frame_size(FRAME_SIZE)
        .build()
        .unwrap();
    let all_live = Barrier::new(MANY);
    thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| {
                all_live.wait();
                for _ in 0..20 {
                    let held: Vec<_> = (0..10)
                        .map(|_| MarkedFrame::new(pool.try_acquire().unwrap()))
                        .collect();
                    drop(held);
                }
                all_live.wait();
            });
        }
    });
    assert_all_free(&pool);
}
