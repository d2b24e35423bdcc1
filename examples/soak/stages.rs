//! Stages of the pipeline: threads that acquire frames, fill, share and keep them for a while.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use ks_allocator::{AcquireError, Frame, FramePool, PoolAllocator, SharedFrame};

use crate::random::Random;
use crate::{COUNTS, Counts, LABELS};

const TIMEOUT: Duration = Duration::from_millis(2);

/// A stage, as it was drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    label: &'static str,
    /// Number of frames that the stage keeps.
    kept: usize,
    /// Microseconds between two acquires.
    pause: u64,
    seed: u64,
}

/// A frame that a stage keeps, with the byte that it is filled with.
enum Kept {
    Unique(Frame, u8),
    Shared(Vec<SharedFrame>, u8),
}

impl Kept {
    /// Counts the frame as wrong if another holder has written to it.
    fn check(&self) {
        let (bytes, fill) = match self {
            Self::Unique(frame, fill) => (&**frame, *fill),
            Self::Shared(frames, fill) => (&*frames[0], *fill),
        };
        if bytes.iter().any(|&byte| byte != fill) {
            Counts::add(&COUNTS.wrong, 1);
        }
    }
}

impl Stage {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            label: LABELS[random.below(LABELS.len())],
            kept: random.below(4),
            pause: random.below(300) as u64,
            seed: random.next_seed(),
        }
    }

    /// Acquires and releases frames until `stop` is set.
    pub(crate) fn run(self, allocator: &PoolAllocator, stop: &AtomicBool) {
        let mut random = Random::new(self.seed);
        let mut kept: VecDeque<Kept> = VecDeque::new();
        let mut pool = None;
        while !stop.load(Ordering::Relaxed) {
            // Sometimes through a handle of an older generation.
            if pool.is_none() || random.one_in(20) {
                let present = allocator.pool();
                pool = present.map(|pool| pool.with_label(self.label));
            }
            let Some(present) = &pool else {
                thread::sleep(TIMEOUT);
                continue;
            };
            match acquire(present, &mut random) {
                Ok(frames) => {
                    Counts::add(&COUNTS.acquired, frames.len());
                    for frame in frames {
                        kept.push_back(fill(frame, &mut random));
                    }
                }
                Err(AcquireError::TimedOut(_) | AcquireError::Exhausted(_)) => {
                    Counts::add(&COUNTS.timeouts, 1);
                }
                Err(_) => {
                    Counts::add(&COUNTS.refused, 1);
                    pool = None;
                }
            }
            while kept.len() > self.kept {
                if let Some(frame) = kept.pop_front() {
                    frame.check();
                    drop(frame);
                    Counts::add(&COUNTS.released, 1);
                }
            }
            if self.pause > 0 {
                thread::sleep(Duration::from_micros(self.pause));
            }
        }
        for frame in &kept {
            frame.check();
        }
        Counts::add(&COUNTS.released, kept.len());
    }
}

fn acquire(pool: &FramePool, random: &mut Random) -> Result<Vec<Frame>, AcquireError> {
    match random.below(7) {
        0 | 1 => pool.try_acquire().map(|frame| vec![frame]),
        2 => pool.acquire_timeout(TIMEOUT).map(|frame| vec![frame]),
        3 => pool
            .try_acquire_many(1 + random.below(3))
            .map(Vec::from_iter),
        4 => pool.acquire_exact_timeout(2, TIMEOUT).map(Vec::from_iter),
        5 => {
            // A future that is dropped after a few polls.
            let mut future = pin!(pool.acquire_async());
            for _ in 0..random.below(4) {
                match future
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                {
                    Poll::Ready(frame) => return frame.map(|frame| vec![frame]),
                    Poll::Pending => thread::yield_now(),
                }
            }
            Ok(Vec::new())
        }
        _ => pool.acquire_timeout(TIMEOUT * 10).map(|frame| vec![frame]),
    }
}

fn fill(mut frame: Frame, random: &mut Random) -> Kept {
    let byte = random.below(256).to_le_bytes()[0];
    frame.fill(byte);
    if random.one_in(2) {
        return Kept::Unique(frame, byte);
    }
    let shared = frame.share();
    if random.one_in(4) {
        shared.set_label("encoder");
    }
    Kept::Shared(vec![shared.clone(), shared], byte)
}
