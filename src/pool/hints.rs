//! Hints for a free list of many words: the words to look at first.
//!
//! Each word of the list has one bit; a set bit means that frames may be free in that word. Hints
//! may be wrong in both directions. A set bit without a free frame costs one look. A missing bit
//! is made up for by the scan over all words, which
//! [`FreeList::take`](super::free_list::FreeList::take) completes before it reports that all
//! frames are out. So a wrong hint strands no frame, and the memory ordering of hints does not
//! matter.

use crossbeam_utils::CachePadded;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// Number of home words that are remembered. Threads share one if their indices are equal modulo
/// this number.
const HOMES: usize = 16;

/// Hint bits, and the home word of each thread.
#[derive(Debug)]
pub(crate) struct Hints {
    groups: Vec<AtomicU64>,
    /// The words in which the threads last found a frame.
    homes: Vec<CachePadded<AtomicUsize>>,
}

impl Hints {
    /// Creates hints for `words` words, all of which may have free frames.
    pub(crate) fn new(words: usize) -> Result<Self, CommitError> {
        let count = words.div_ceil(64);
        let mut groups = try_with_capacity(count)?;
        groups.extend((0..count).map(|group| {
            let covered = (words - group * 64).min(64);
            AtomicU64::new(u64::MAX >> (64 - covered))
        }));
        let mut homes = try_with_capacity(HOMES)?;
        homes.extend((0..HOMES).map(|thread| CachePadded::new(AtomicUsize::new(thread % words))));
        Ok(Self { groups, homes })
    }

    /// Returns the word at which this thread looks first.
    #[inline]
    pub(crate) fn home(&self, thread: usize) -> usize {
        self.homes[thread % HOMES].load(Ordering::Relaxed)
    }

    /// Makes `word` the home word of this thread, which has found a frame there.
    pub(crate) fn set_home(&self, thread: usize, word: usize) {
        self.homes[thread % HOMES].store(word, Ordering::Relaxed);
    }

    /// Sets the hint that frames may be free in `word`.
    #[inline]
    pub(crate) fn set(&self, word: usize) {
        let (group, bit) = (&self.groups[word / 64], 1 << (word % 64));
        // The bit is almost always set already. A plain load leaves the cache line shared.
        if group.load(Ordering::Relaxed) & bit == 0 {
            group.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Calls `take` with one hinted word after the other, from the group of `home` on, until it
    /// takes something. Clears the hints of the words in which it finds nothing.
    pub(crate) fn find<T>(
        &self,
        home: usize,
        mut take: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        let home = home / 64;
        (home..self.groups.len()).chain(0..home).find_map(|group| {
            let mut left = self.groups[group].load(Ordering::Relaxed);
            while left != 0 {
                let word = group * 64 + left.trailing_zeros() as usize;
                if let Some(taken) = take(word) {
                    return Some(taken);
                }
                self.groups[group].fetch_and(!(left & left.wrapping_neg()), Ordering::Relaxed);
                left &= left - 1;
            }
            None
        })
    }
}
