//! Words of the free list where the searches of threads start.
//!
//! A thread that has released a frame starts in the word of that frame: it gets the same frame
//! back, whose bytes are in its cache. (If it has released a batch, it starts in the word of the
//! first frame, and its starts in the pools of other frames stay as they are.) A thread that has
//! acquired a frame starts
//!
//! - in the next word, in a pool of small frames. So a thread that only acquires goes round a group
//!   of words, and a thread that releases these frames follows it. If both used one word, its cache
//!   line would go back and forth between them. The thread prefetches the word after the next.
//! - in the same word, in a pool of large frames. A frame that was released last is still in a
//!   cache, which saves more than a word that no other thread uses.
//!
//! If threads are not to remember where they start, all of them start in word 0.
//!
//! In a pool with [shares](super::shares) all starts are *out of reach*: they are larger than any
//! index of a word, so that the fast acquire, which draws no permit, finds no word. The slow one
//! takes the mark off.
//!
//! Apart from that, a start is a hint. It may be any number: a search looks at all words before it
//! fails, and the free list checks that there is such a word. So the memory ordering of starts does
//! not matter, and models do not see them.

use std::cell::Cell;

use crate::sync::{Ordering, const_thread_local, unmodeled};

/// Mark of a start that is out of reach. No entry of a thread has it.
const OUT_OF_REACH: u32 = 1 << 31;

/// Number of pools whose starts a thread remembers.
const POOLS: usize = 4;

// The upper half of an entry is the serial number of a pool, the lower half a start.
const_thread_local!(static STARTS: [Cell<u64>; POOLS] = [const { Cell::new(0) }; POOLS]);

static NEXT_SERIAL: unmodeled::AtomicU32 = unmodeled::AtomicU32::new(1);

/// The starts of all threads in one pool.
#[derive(Debug)]
pub(super) struct Starts {
    /// The serial number of the pool, in the upper half.
    serial: u64,
    /// The serial number, with `OUT_OF_REACH` if starts are.
    key: u64,
    /// Index of the pool's entry in `STARTS`. Pools that are made one after the other have
    /// different ones.
    index: usize,
    /// Threads start in one of the first `words` words.
    words: usize,
    /// The word where the next thread starts for the first time.
    next_first: unmodeled::AtomicUsize,
}

/// A start to set: a word, and whether the thread is moving. It is if its last acquire moved the
/// start to the next word, and it has released no frame since. It does not have `OUT_OF_REACH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start(u32);

/// The start of a thread in a pool: what was set, with `OUT_OF_REACH` in a pool with shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct CurrentStart(u32);

impl Start {
    /// Returns a start in `word`, or in another word if the number is too large for a start.
    pub(super) fn at(word: usize) -> Self {
        Self(u32::try_from(word * 2).unwrap_or(0) & !OUT_OF_REACH)
    }

    /// Returns the start of a thread that has just taken a frame out of `word`, of `words` words,
    /// and goes round `round` words.
    fn after(word: usize, words: usize, round: usize) -> Self {
        let next = word + 1;
        let next = if next % round == 0 || next >= words {
            word / round * round
        } else {
            next
        };
        Self(Self::at(next).0 + u32::from(next != word))
    }

    #[inline(always)]
    pub(super) fn word(self) -> usize {
        self.0 as usize / 2
    }
}

impl CurrentStart {
    /// Returns the word, or a larger number than that of any word if the start is out of reach.
    #[inline(always)]
    pub(super) fn word(self) -> usize {
        self.0 as usize / 2
    }

    /// Returns the word, also if the start is out of reach.
    pub(super) fn word_in_reach(self) -> usize {
        (self.0 & !OUT_OF_REACH) as usize / 2
    }

    #[inline(always)]
    pub(super) fn is_moving(self) -> bool {
        self.0 % 2 == 1
    }
}

/// The next start of a thread in one pool, which may be gone when the start is set.
#[derive(Debug)]
#[must_use = "the thread starts there only if it is set"]
pub(crate) struct NextStart {
    index: usize,
    entry: u64,
}

impl NextStart {
    /// Makes the calling thread start there next.
    #[inline(always)]
    pub(crate) fn set(self) {
        STARTS.with(|starts| starts[self.index % POOLS].set(self.entry));
    }
}

impl Starts {
    /// Creates the starts of threads that start in one of the first `words` words.
    pub(super) fn new(words: usize) -> Self {
        // Relaxed: a number that differs. It repeats after 4 billion pools, and may be that of a
        // pool which another copy of the crate made. Then a start is one in that pool. All pools
        // whose threads start in word 0 have the number 0, and no others.
        let number = match words {
            1 => 0,
            _ => NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
        };
        let serial = u64::from(number) << 32;
        Self {
            serial,
            key: serial,
            index: number as usize % POOLS,
            words,
            next_first: unmodeled::AtomicUsize::new(0),
        }
    }

    /// Puts all starts out of reach. No thread has asked for one yet.
    pub(super) fn put_out_of_reach(&mut self) {
        // An entry never has the mark, because a `Start` has not, so it differs from the key by it.
        self.key |= u64::from(OUT_OF_REACH);
    }

    /// Returns a start in `word`, or in another word if threads do not start there.
    pub(super) fn at(&self, word: usize) -> Start {
        Start::at(word % self.words)
    }

    /// Returns the start of a thread that has just taken a frame out of `word`, and goes round
    /// `round` words.
    pub(super) fn after(&self, word: usize, round: usize) -> Start {
        Start::after(word % self.words, self.words, round)
    }

    /// Returns where the calling thread starts.
    #[inline(always)]
    pub(super) fn get(&self) -> CurrentStart {
        let entry = STARTS.with(|starts| starts[self.index % POOLS].get());
        let differs = entry ^ self.key;
        if differs >> 32 == 0 {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the upper half is equal, so this is the lower half"
            )]
            CurrentStart(differs as u32)
        } else {
            self.first()
        }
    }

    /// Returns where the calling thread starts for the first time: each in another word.
    #[cold]
    fn first(&self) -> CurrentStart {
        // Relaxed: the words only have to differ.
        let first = self.next_first.fetch_add(1, Ordering::Relaxed);
        self.set(self.at(first));
        self.get()
    }

    /// Sets where the calling thread starts next.
    #[inline(always)]
    pub(super) fn set(&self, start: Start) {
        self.next(start).set();
    }

    /// Returns a start of this pool for the calling thread, to be set later.
    #[inline(always)]
    pub(super) fn next(&self, Start(start): Start) -> NextStart {
        NextStart {
            index: self.index,
            entry: self.serial | u64::from(start),
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_only_acquires_goes_round_a_group_of_words() {
        let walk = |from, words, round| {
            let next = |start: &Start| Some(Start::after(start.word(), words, round));
            let starts = std::iter::successors(Some(Start::at(from)), next);
            starts.take(10).map(Start::word).collect::<Vec<_>>()
        };
        assert_eq!(walk(0, 20, 8), [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]);
        assert_eq!(walk(18, 20, 8), [18, 19, 16, 17, 18, 19, 16, 17, 18, 19]);
        assert_eq!(walk(0, 1, 8), [0; 10]);
        assert_eq!(walk(5, 20, 1), [5; 10]);
    }

    #[test]
    fn a_thread_moves_until_it_releases_a_frame() {
        let starts = Starts::new(20);
        assert!(!starts.get().is_moving());
        starts.set(Start::after(2, 20, 8));
        assert_eq!((starts.get().word(), starts.get().is_moving()), (3, true));
        starts.set(Start::at(11));
        assert_eq!((starts.get().word(), starts.get().is_moving()), (11, false));
        starts.set(Start::after(2, 20, 1));
        assert!(!starts.get().is_moving());
    }

    #[test]
    fn a_thread_remembers_its_starts_in_several_pools() {
        let pools: Vec<_> = (0..POOLS).map(|_| Starts::new(20)).collect();
        for (word, starts) in pools.iter().enumerate() {
            starts.set(Start::at(word + 5));
        }
        let words: Vec<_> = pools.iter().map(|starts| starts.get().word()).collect();
        assert_eq!(words, [5, 6, 7, 8]);
        let elsewhere = std::thread::scope(|scope| {
            let first = || pools[0].get().word();
            scope.spawn(first).join().unwrap()
        });
        assert_eq!(elsewhere, 0, "the first thread that asked");
    }

    #[test]
    fn starts_out_of_reach_are_remembered_and_never_in_reach() {
        for words in [20, 1] {
            let mut starts = Starts::new(words);
            starts.put_out_of_reach();
            let mut expected = starts.get().word_in_reach();
            for start in [starts.after(2, 8), starts.at(11), Start::at(usize::MAX / 2)] {
                assert!(starts.get().word() > 1 << 24, "more than any pool has");
                assert_eq!(starts.get().word_in_reach(), expected);
                starts.set(start);
                expected = start.word();
            }
            // A pool in reach with the same entry of the thread.
            let mut others = (0..).map(|_| Starts::new(20));
            let other = others.find(|other| other.index == starts.index).unwrap();
            other.set(Start::at(7));
            assert!(starts.get().word() > 1 << 24, "more than any pool has");
        }
    }

    #[test]
    fn all_threads_start_in_the_only_word_where_threads_start() {
        let starts = Starts::new(1);
        assert_eq!(starts.get().word(), 0);
        // So the starts of other pools, also of those that another copy of the crate made, are
        // none in this one.
        assert_eq!(starts.serial, 0);
        assert_ne!(Starts::new(20).serial, 0);
        for word in 0..20 {
            assert_eq!([starts.at(word), starts.after(word, 8)], [Start::at(0); 2]);
        }
    }
}
