//! Hints for a free list of many words: the words to look at first.
//!
//! Each word of the list has one bit; a set bit means that frames may be free in that word. Hints
//! may be wrong in both directions. A set bit without a free frame costs one look. A missing bit
//! is made up for by the scan over all words, which
//! [`FreeList::take`](super::free_list::FreeList::take) completes before it reports that all
//! frames are out. So a wrong hint strands no frame, and the memory ordering of hints does not
//! matter.

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{AtomicU64, Ordering};

/// Maximum number of words for which there are no hints: a search scans them as fast.
pub(super) const MAX_WORDS_WITHOUT_HINTS: usize = 16;

/// One bit per word, in groups of 64. There are no groups if the list has few words.
#[derive(Debug)]
pub(super) struct Hints(Vec<AtomicU64>);

impl Hints {
    /// Creates hints for `words` words, all of which may have free frames.
    pub(super) fn new(words: usize) -> Result<Self, CommitError> {
        let count = match words {
            ..=MAX_WORDS_WITHOUT_HINTS => 0,
            _ => words.div_ceil(64),
        };
        let mut groups = try_with_capacity(count)?;
        groups.extend((0..count).map(|group| {
            let covered = (words - group * 64).min(64);
            AtomicU64::new(u64::MAX >> (64 - covered))
        }));
        Ok(Self(groups))
    }

    /// Returns whether there are hints.
    #[inline(always)]
    pub(super) fn exist(&self) -> bool {
        !self.0.is_empty()
    }

    /// Sets the hint that frames may be free in `word`.
    #[inline(always)]
    pub(super) fn set(&self, word: usize) {
        if let Some(group) = self.0.get(word / 64) {
            let bit = 1 << (word % 64);
            // The bit is almost always set already. A plain load leaves the cache line shared.
            if group.load(Ordering::Relaxed) & bit == 0 {
                group.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// Calls `take` with one hinted word after the other, from the group of `start` on, until it
    /// takes something. Clears the hints of the words in which it finds nothing.
    pub(super) fn find<T>(
        &self,
        start: usize,
        mut take: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        let start = (start / 64).min(self.0.len());
        (start..self.0.len()).chain(0..start).find_map(|group| {
            let mut left = self.0[group].load(Ordering::Relaxed);
            while left != 0 {
                let word = group * 64 + left.trailing_zeros() as usize;
                if let Some(taken) = take(word) {
                    return Some(taken);
                }
                self.0[group].fetch_and(!(left & left.wrapping_neg()), Ordering::Relaxed);
                left &= left - 1;
            }
            None
        })
    }
}
