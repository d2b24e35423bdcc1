//! `ks-allocator` itself.

use ks_allocator::{Frame, FrameBatch, FramePool};

use crate::pool::Pool;

/// A pool of ours, by `try_acquire`.
pub struct Ours(pub FramePool);

impl Ours {
    /// `frames` of `size` bytes.
    pub fn new(frames: usize, size: usize) -> Self {
        let pool = FramePool::builder().frames(frames).frame_size(size).build();
        Self(pool.expect("the memory is there"))
    }

    /// As [`new`](Self::new), but no thread keeps any of the frames that it releases.
    pub fn without_caches(frames: usize, size: usize) -> Self {
        let builder = FramePool::builder().frames(frames).frame_size(size);
        Self(builder.caches(false).build().expect("the memory is there"))
    }

    /// As [`new`](Self::new), but with memory that is not touched yet.
    pub fn untouched(frames: usize, size: usize) -> Self {
        let builder = FramePool::builder().frames(frames).frame_size(size);
        Self(
            builder
                .prefault(false)
                .build()
                .expect("the memory is there"),
        )
    }

    /// All frames out but every hundredth, which leaves the free ones far apart.
    pub fn nearly_empty(frames: usize, size: usize) -> Self {
        let this = Self::untouched(frames, size);
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

// SAFETY: a `Frame` is unique and derefs to its bytes; the framing's alignment is checked when it runs.
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

/// A pool of ours whose bursts are acquired by `try_acquire_many`, and given back in batches.
pub struct OursMany(pub Ours);

// SAFETY: as for `Ours`.
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
        let mut batch: Option<FrameBatch> = None;
        for frame in held.drain(..) {
            let rest = match &mut batch {
                Some(batch) => batch.push(frame),
                None => Err(frame),
            };
            if let Err(frame) = rest {
                batch = Some(frame.into());
            }
        }
    }
}

/// A batch that is acquired and dropped whole, untouched.
pub struct OursUntouched {
    pool: FramePool,
    burst: usize,
    /// What is stamped in place of the frames, which are not looked at.
    decoy: crate::memory::Memory,
}

impl OursUntouched {
    /// `frames` of `size` bytes, which go out `burst` at a time.
    pub fn new(frames: usize, size: usize, burst: usize) -> Self {
        Self {
            pool: Ours::new(frames, size).0,
            burst,
            decoy: crate::memory::Memory::new(1, size),
        }
    }
}

// SAFETY: only one batch at a time is out, on one thread, and the decoy is of the frames' size.
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
