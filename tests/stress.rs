//! Many threads, at random, with an ownership canary in every frame.
//!
//! A canary is written when a frame is acquired and must still be there when it is released. Two
//! owners of one frame, or a frame released before its owner was done with it, kill it. Counts and
//! seeds are fixed, so that a run takes no longer than it must and a failure can be had again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ks_allocator::{
    AcquireError, AllocatorState, Frame, FramePool, Framing, FramingError, KsAllocator,
    PoolAllocator, SharedFrame, Starvation,
};

use random::Random;

mod random;

static NEXT_OWNER: AtomicU64 = AtomicU64::new(1);

/// A frame with the mark of its owner all over it.
struct Marked {
    frame: Frame,
    mark: u64,
}

impl Marked {
    fn new(mut frame: Frame) -> Self {
        assert_eq!(frame.len(), frame.capacity());
        assert_eq!(frame.metadata().sequence, 0, "metadata of the last owner");
        let mark = NEXT_OWNER.fetch_add(1, Ordering::Relaxed);
        for word in frame.chunks_exact_mut(8) {
            word.copy_from_slice(&mark.to_ne_bytes());
        }
        frame.metadata_mut().sequence = mark;
        Self { frame, mark }
    }

    fn check(&self) {
        check(&self.frame, self.frame.metadata().sequence, self.mark);
    }

    fn into_frame(self) -> Frame {
        self.check();
        self.frame
    }
}

fn check(bytes: &[u8], sequence: u64, mark: u64) {
    assert_eq!(sequence, mark, "the metadata has another owner");
    for word in bytes.chunks_exact(8) {
        assert_eq!(word, mark.to_ne_bytes(), "the bytes have another owner");
    }
}

fn check_shared(shared: &SharedFrame) {
    check(
        shared,
        shared.metadata().sequence,
        shared.metadata().sequence,
    );
}

const THREADS: u64 = 4;
const ROUNDS: u64 = if cfg!(debug_assertions) {
    4_000
} else {
    40_000
};
const FRAME_SIZE: usize = 64;

/// What one thread does with a pool and with what the others send it.
struct Worker {
    pool: FramePool,
    random: Random,
    to_others: Vec<SyncSender<SharedFrame>>,
    from_others: Receiver<SharedFrame>,
    held: Vec<Marked>,
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
        // Never hold so many that all threads together could wait for each other.
        if self.held.len() >= 2 {
            return self.release();
        }
        let patience = Duration::from_micros(self.random.below(50) as u64);
        match self.pool.acquire_timeout(patience) {
            Ok(frame) => self.held.push(Marked::new(frame)),
            Err(error) => assert_eq!(error, AcquireError::TimedOut(Starvation::default())),
        }
    }

    fn release(&mut self) {
        if !self.held.is_empty() {
            let index = self.random.below(self.held.len());
            drop(self.held.swap_remove(index).into_frame());
        }
    }

    fn share(&mut self) {
        if let Some(marked) = self.held.pop() {
            let shared = marked.into_frame().share();
            for other in &self.to_others {
                // A full queue gives the handle back, which is dropped.
                drop(other.try_send(shared.clone()));
            }
            check_shared(&shared);
        }
    }

    fn receive(&mut self) {
        while let Ok(shared) = self.from_others.try_recv() {
            check_shared(&shared);
            if let Ok(frame) = shared.try_into_unique() {
                let mark = frame.metadata().sequence;
                Marked { frame, mark }.check();
            }
        }
    }

    fn batch(&mut self) {
        if let Ok(mut batch) = self.pool.try_acquire_many(3) {
            if let Some(frame) = batch.next() {
                let frame = Marked::new(frame).into_frame();
                // If it was the only one, the batch begins anew with it.
                batch.push(frame).unwrap();
            }
            if let Some(marked) = self.held.pop() {
                drop(batch.push(marked.into_frame()));
            }
        }
    }

    fn copy_on_write(&mut self) {
        if let Some(marked) = self.held.pop() {
            let mark = marked.mark;
            let mut shared = marked.into_frame().share();
            let other = shared.clone();
            if let Ok(copy) = shared.make_mut() {
                check(copy, copy.metadata().sequence, mark);
                copy.fill(0);
            }
            check(&other, other.metadata().sequence, mark);
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
    assert_eq!(pool.free_frames(), frames);
    let all: Vec<_> = (0..frames).map(|_| pool.try_acquire().unwrap()).collect();
    assert_eq!(
        pool.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    drop(all);
}

#[test]
fn a_scarce_pool_of_one_word() {
    stress(3, 1);
}

#[test]
fn a_pool_of_two_words() {
    stress(16, 2);
}

#[test]
fn a_pool_of_many_words_with_hints() {
    stress(1000, 2);
}

#[test]
fn blocked_threads_outnumber_frames_and_none_is_forgotten() {
    let pool = FramePool::builder()
        .frames(2)
        .frame_size(FRAME_SIZE)
        .build()
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..ROUNDS / 4 {
                    drop(Marked::new(pool.acquire().unwrap()).into_frame());
                }
            });
        }
    });
    assert_eq!(pool.free_frames(), 2);
}

#[test]
fn decommit_commit_flush_and_reframing_under_load() {
    let allocator = PoolAllocator::with_framing(Framing::new(4, FRAME_SIZE)).unwrap();
    allocator.commit().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..3_u64)
            .map(|number| {
                let (allocator, done) = (&allocator, &done);
                scope.spawn(move || {
                    let mut random = Random(number + 77);
                    let mut served = 0_u64;
                    let mut late = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        match allocator.acquire() {
                            Ok(frame) => {
                                served += 1;
                                late.push(Marked::new(frame));
                            }
                            Err(AcquireError::NotCommitted | AcquireError::Flushing) => {
                                thread::yield_now();
                            }
                            Err(error) => panic!("{error}"),
                        }
                        if random.below(4) == 0 || !late.is_empty() {
                            late.drain(..).for_each(|marked| drop(marked.into_frame()));
                        }
                    }
                    served
                })
            })
            .collect();

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
        // Whatever happened last, everybody gets a frame again.
        done.store(true, Ordering::Relaxed);
        allocator.end_flush();
        allocator.commit().unwrap();
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let status = allocator.allocator_status();
    assert_eq!(
        (status.allocated_frames, status.state),
        (0, AllocatorState::Committed)
    );
    assert_eq!(allocator.free_frames(), allocator.framing().frames);
}

#[test]
fn pools_end_while_their_last_frames_come_back() {
    for round in 0..ROUNDS / 20 {
        let pool = FramePool::builder()
            .frames(4)
            .frame_size(FRAME_SIZE)
            .build()
            .unwrap();
        let frames: Vec<_> = (0..3)
            .map(|_| Marked::new(pool.acquire().unwrap()))
            .collect();
        let threads: Vec<_> = frames
            .into_iter()
            .map(|marked| {
                let handle = (round % 2 == 0).then(|| pool.clone());
                thread::spawn(move || {
                    drop(marked.into_frame());
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

/// Threads keep frames for themselves, but only so many threads at a time do.
#[test]
fn more_threads_than_can_keep_frames() {
    const FRAMES: usize = 1000;
    const MANY: usize = 80;
    let pool = FramePool::builder()
        .frames(FRAMES)
        .frame_size(FRAME_SIZE)
        .caches(true)
        .build()
        .unwrap();
    let together = Barrier::new(MANY);
    thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| {
                together.wait();
                for _ in 0..20 {
                    let few: Vec<_> = (0..10)
                        .map(|_| Marked::new(pool.try_acquire().unwrap()))
                        .collect();
                    few.into_iter().for_each(|marked| drop(marked.into_frame()));
                }
                together.wait();
            });
        }
    });
    assert_eq!(pool.free_frames(), FRAMES);
    let all: Vec<_> = (0..FRAMES).map(|_| pool.try_acquire().unwrap()).collect();
    assert!(matches!(
        pool.try_acquire(),
        Err(AcquireError::Exhausted(_))
    ));
    drop(all);
}
