//! Lower bounds: the harness without a pool, and with the least work that a shared pool has to do.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use crate::memory::Memory;
use crate::pool::Pool;
use crate::workers::{self, MAX_WORKERS};

/// No pool: each thread cycles through frames of its own, or reuses a single one.
pub struct NoPool {
    memory: Memory,
    frames_per_thread: usize,
}

impl NoPool {
    /// Makes `frames_per_thread` frames of `size` bytes for each thread. Their number must be a
    /// power of two. If the frames of one thread take more than 1 MiB, they are made for one
    /// thread only.
    pub fn new(frames_per_thread: usize, size: usize) -> Self {
        assert!(frames_per_thread.is_power_of_two());
        let threads = if frames_per_thread * size > 1 << 20 {
            1
        } else {
            MAX_WORKERS
        };
        Self {
            memory: Memory::new(threads * frames_per_thread, size),
            frames_per_thread,
        }
    }
}

// SAFETY: `start` returns the address of a frame of `memory`, which is leaked: it is a multiple of
// 8, and valid for as many bytes as a frame has. The number is below the number of frames: where
// frames were made for one thread only, the workload (W5) has one thread, with index 0.
unsafe impl Pool for NoPool {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        let own = self.frames_per_thread;
        if own == 1 {
            return Some(workers::index());
        }
        Some(workers::index() * own + (workers::next_sequence() & (own - 1)))
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.memory.start(*number)
    }
}

/// No pool, but two read-modify-writes per frame on an atomic word that no other thread touches.
pub struct TwoReadModifyWrites {
    frames: NoPool,
    words: [CachePadded<AtomicU64>; MAX_WORKERS],
}

impl TwoReadModifyWrites {
    /// Makes `frames_per_thread` frames of `size` bytes for each thread.
    pub fn new(frames_per_thread: usize, size: usize) -> Self {
        Self {
            frames: NoPool::new(frames_per_thread, size),
            words: Default::default(),
        }
    }
}

// SAFETY: numbers and addresses are those of `NoPool`, which keeps the contract.
unsafe impl Pool for TwoReadModifyWrites {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        self.words[workers::index()].fetch_and(!1, Ordering::Acquire);
        self.frames.get()
    }

    #[inline(always)]
    fn put(&'static self, _: usize) {
        self.words[workers::index()].fetch_or(1, Ordering::Release);
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.frames.start(number)
    }
}

/// Stack of frame numbers, for workloads with one thread.
pub struct PlainVec {
    free: UnsafeCell<Vec<usize>>,
    memory: Memory,
}

// SAFETY: only workloads with one thread (W1, W4) use it, so no two threads access it at the same
// time.
unsafe impl Sync for PlainVec {}

impl PlainVec {
    /// Makes `frames` frames of `size` bytes.
    pub fn new(frames: usize, size: usize) -> Self {
        Self {
            free: UnsafeCell::new((0..frames).collect()),
            memory: Memory::new(frames, size),
        }
    }
}

// SAFETY: `start` returns the address of a frame of `memory`, which is leaked: it is a multiple of
// 8, and valid for as many bytes as a frame has. Each number is below the number of frames.
unsafe impl Pool for PlainVec {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        // SAFETY: only one thread uses the stack, and the reference ends with this function.
        let free = unsafe { &mut *self.free.get() };
        free.pop()
    }

    #[inline(always)]
    fn put(&'static self, number: usize) {
        // SAFETY: only one thread uses the stack, and the reference ends with this function.
        let free = unsafe { &mut *self.free.get() };
        free.push(number);
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.memory.start(*number)
    }
}

/// Counter of free frames, of which there are none. It is read before each acquire, which fails.
#[derive(Default)]
pub struct EmptyCounter(AtomicUsize);

// SAFETY: it hands out no frame.
unsafe impl Pool for EmptyCounter {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        self.0.load(Ordering::Acquire).checked_sub(1)
    }

    fn start(&'static self, _: &mut usize) -> *mut u8 {
        std::ptr::null_mut()
    }
}
