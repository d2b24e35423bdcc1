//! Where to look first in a free list of many words.
//!
//! One bit a word of the list: set means that frames may be free there. Hints may lie in both
//! directions. A bit that is set for nothing costs one look; a bit that is missing is made good by
//! the pass over all words without which [`FreeList::take`](super::free_list::FreeList::take) never
//! says that all frames are out. So no frame is stranded by them, and no ordering matters.

use crossbeam_utils::CachePadded;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// Threads that have a home of their own; more of them share.
const HOMES: usize = 16;

#[derive(Debug)]
pub(crate) struct Hints {
    groups: Vec<AtomicU64>,
    /// Where each thread found something last.
    homes: Vec<CachePadded<AtomicUsize>>,
}

impl Hints {
    /// Hints for `words` words, all of which may have free frames.
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

    /// The word in which this thread is to look first.
    #[inline]
    pub(crate) fn home(&self, thread: usize) -> usize {
        self.homes[thread % HOMES].load(Ordering::Relaxed)
    }

    /// Says that this thread has found something in `word`.
    pub(crate) fn assign(&self, thread: usize, word: usize) {
        self.homes[thread % HOMES].store(word, Ordering::Relaxed);
    }

    /// Says that frames may be free in `word`.
    #[inline]
    pub(crate) fn set(&self, word: usize) {
        let (group, bit) = (&self.groups[word / 64], 1 << (word % 64));
        // Almost always set already: a plain load spares the others the line.
        if group.load(Ordering::Relaxed) & bit == 0 {
            group.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Tries the hinted words one by one, from the group of `home` on, until `take` takes
    /// something. Words in which it finds nothing lose their bit.
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
