//! What cannot be undercut: the harness without any pool, and what a pool cannot do without.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::crew::{self, MOST_WORKERS};
use crate::memory::Memory;
use crate::pool::Pool;

/// No pool: every thread goes through frames of its own, or keeps a single one.
pub struct NoPool {
    memory: Memory,
    each: usize,
}

impl NoPool {
    /// Each thread has `each` frames of `size` bytes; a power of two.
    pub fn new(each: usize, size: usize) -> Self {
        assert!(each.is_power_of_two());
        let threads = if each * size > 1 << 20 {
            1
        } else {
            MOST_WORKERS
        };
        Self {
            memory: Memory::new(threads * each, size),
            each,
        }
    }
}

// SAFETY: threads have different frames, and one that is out is not handed out again before `each` more
// are; the workloads hold fewer. Where only one thread's are made, only one thread runs.
unsafe impl Pool for NoPool {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        if self.each == 1 {
            return Some(crew::worker());
        }
        Some(crew::worker() * self.each + (crew::next_turn() & (self.each - 1)))
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.memory.start(*number)
    }
}

/// Two read-modify-writes on a word that no other thread touches, and else no pool.
pub struct TwoReadModifyWrites {
    frames: NoPool,
    words: [CachePadded<AtomicU64>; MOST_WORKERS],
}

impl TwoReadModifyWrites {
    /// Each thread has `each` frames of `size` bytes.
    pub fn new(each: usize, size: usize) -> Self {
        Self {
            frames: NoPool::new(each, size),
            words: Default::default(),
        }
    }
}

// SAFETY: as for `NoPool`.
unsafe impl Pool for TwoReadModifyWrites {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        self.words[crew::worker()].fetch_and(!1, Ordering::Acquire);
        self.frames.get()
    }

    #[inline(always)]
    fn put(&'static self, _: usize) {
        self.words[crew::worker()].fetch_or(1, Ordering::Release);
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.frames.start(number)
    }
}

/// A stack of numbers, for one thread only.
pub struct PlainVec {
    free: UnsafeCell<Vec<usize>>,
    memory: Memory,
}

// SAFETY: it takes part only in workloads of a single thread.
unsafe impl Sync for PlainVec {}

impl PlainVec {
    /// `frames` of `size` bytes.
    pub fn new(frames: usize, size: usize) -> Self {
        Self {
            free: UnsafeCell::new((0..frames).collect()),
            memory: Memory::new(frames, size),
        }
    }
}

// SAFETY: a number is in the stack once, or out.
unsafe impl Pool for PlainVec {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        // SAFETY: there is one thread, and no other reference lives.
        let free = unsafe { &mut *self.free.get() };
        free.pop()
    }

    #[inline(always)]
    fn put(&'static self, number: usize) {
        // SAFETY: likewise.
        let free = unsafe { &mut *self.free.get() };
        free.push(number);
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.memory.start(*number)
    }
}
