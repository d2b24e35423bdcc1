//! `ks-allocator`, in the configurations that are measured.

use ks_allocator::{Frame, FrameBatch, FramePool};

use crate::pool::Pool;

/// This pool, through `try_acquire`.
pub struct Ours(pub FramePool);

impl Ours {
    /// Makes a pool of `frames` frames of `size` bytes.
    pub fn new(frames: usize, size: usize) -> Self {
        let pool = FramePool::builder().frames(frames).frame_size(size).build();
        Self(pool.expect("enough memory"))
    }

    /// Makes a pool whose threads do not prefer the frames that they used last.
    pub fn without_caches(frames: usize, size: usize) -> Self {
        let builder = FramePool::builder().frames(frames).frame_size(size);
        Self(builder.caches(false).build().expect("enough memory"))
    }

    /// Makes a pool whose memory is not prefaulted.
    pub fn not_prefaulted(frames: usize, size: usize) -> Self {
        let builder = FramePool::builder().frames(frames).frame_size(size);
        Self(builder.prefault(false).build().expect("enough memory"))
    }

    /// Makes a pool of which only every hundredth frame is free, so that free frames are far apart.
    pub fn nearly_empty(frames: usize, size: usize) -> Self {
        let this = Self::not_prefaulted(frames, size);
        let all: Vec<Frame> = std::iter::from_fn(|| this.0.try_acquire().ok()).collect();
        for (number, frame) in all.into_iter().enumerate() {
            if number % 100 == 0 {
                drop(frame);
            } else {
                std::mem::forget(frame);
            }
        }
        this
    }
}

// SAFETY: the address is that of the frame's bytes, of which a pool of `ks-allocator` has as many
// as it was built with. `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Ours {
    type Frame = Frame;

    #[inline(always)]
    fn get(&'static self) -> Option<Frame> {
        self.0.try_acquire().ok()
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Frame) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

/// This pool, with bursts that are acquired by `try_acquire_many` and released in batches.
pub struct OursMany(pub Ours);

// SAFETY: frames and addresses are those of `Ours`, which keeps the contract.
unsafe impl Pool for OursMany {
    type Frame = Frame;

    #[inline(always)]
    fn get(&'static self) -> Option<Frame> {
        self.0.get()
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Frame) -> *mut u8 {
        self.0.start(frame)
    }

    #[inline(always)]
    fn get_burst(&'static self, held: &mut Vec<Frame>, count: usize) {
        while held.len() < count {
            match self.0.0.try_acquire_many(count - held.len()) {
                Ok(batch) => held.extend(batch),
                Err(_) => break,
            }
        }
    }

    #[inline(always)]
    fn put_burst(&'static self, held: &mut Vec<Frame>) {
        let mut batch = FrameBatch::default();
        for frame in held.drain(..) {
            if let Err(frame) = batch.push(frame) {
                batch = frame.into();
            }
        }
    }
}

/// This pool, with batches that are acquired and dropped without a look at their frames.
pub struct OursUntouched {
    pool: FramePool,
    burst: usize,
    /// Memory that the harness writes to instead of the frames.
    decoy: crate::memory::Memory,
}

impl OursUntouched {
    /// Makes a pool of `frames` frames of `size` bytes, which are acquired `burst` at a time.
    pub fn new(frames: usize, size: usize, burst: usize) -> Self {
        Self {
            pool: Ours::new(frames, size).0,
            burst,
            decoy: crate::memory::Memory::new(1, size),
        }
    }
}

// SAFETY: `start` returns the address of the decoy, which is leaked: it is a multiple of 8, and
// valid for as many bytes as a frame has.
unsafe impl Pool for OursUntouched {
    type Frame = FrameBatch;

    #[inline(always)]
    fn get(&'static self) -> Option<FrameBatch> {
        let batch = self.pool.try_acquire_many(self.burst).ok()?;
        (batch.len() == self.burst).then_some(batch)
    }

    #[inline(always)]
    fn start(&'static self, _: &mut FrameBatch) -> *mut u8 {
        self.decoy.start(0)
    }

    #[inline(always)]
    fn get_burst(&'static self, held: &mut Vec<FrameBatch>, count: usize) {
        held.extend((0..count / self.burst).map_while(|_| self.get()));
    }
}
