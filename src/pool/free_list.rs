//! Which frames are free: one bit a frame, and the state of the pool beside them in the same word.
//!
//! This file knows indices only, no memory, and is safe code.
//!
//! # The word
//!
//! A shard of the list is one `AtomicU64` on its own cache line:
//!
//! ```text
//!   63       62        61 ............ 32   31 ............. 0
//!  CLOSED  WAITERS     version              one bit a frame: set = free      several words
//!  CLOSED  WAITERS     one bit a frame: set = free                           a single word
//! ```
//!
//! | CLOSED | WAITERS | free bits | the pool | acquire | release |
//! |---|---|---|---|---|---|
//! | 0 | 0 | some | has frames | takes the lowest bit | sets its bit |
//! | 0 | 0 | none | is empty here | looks in other words | sets its bit |
//! | 0 | 1 | none | is empty, someone waits | waits behind them | hands its frame to the first of them |
//! | 0 | 1 | some | is about to have a waiter | takes the lowest bit | as above |
//! | 1 | any | any | hands nothing out | is refused | sets its bit, then lets go of the pool |
//!
//! # Invariants
//!
//! - **F1** A frame is in exactly one place: its bit is set, or somebody holds it. Only the holder
//!   sets the bit, and only whoever clears the bit becomes the holder.
//! - **F2** Everything that a holder did with a frame happens before everything that the next holder
//!   does with it. (*Release* in [`put_back`], *Acquire* in [`FreeList::take`]; the words between
//!   are changed by read-modify-writes only, which carry the release on.)
//! - **F3** While `WAITERS` is set and `CLOSED` is not, no bit becomes set. So a waiter that has set
//!   `WAITERS` in a word and saw no free bit there has not missed a frame, and will not: `put_back`
//!   and `set_waiters` change the same word, one of them comes first, and the second sees the first.
//!   No fence is needed, because there is only one place to look at.
//! - **F4** While `CLOSED` is set, no bit becomes clear: frames come back, none goes out.
//! - **F5** After a `put_back` that found neither flag, the caller may not touch the pool again:
//!   the frame that kept it alive is gone.
//! - **F6** [`FreeList::take`] says that all frames are out only if there was a moment in the call at
//!   which they were. A single word shows this by itself. Several cannot be read at once, so each
//!   carries a version that every release steps, and two passes that find nothing and the same
//!   versions prove that between them all words were empty. (Wrong only if a multiple of 2^30
//!   releases falls between the two passes.)
//!
//! Where threads keep frames in [caches](super::thread_cache), a frame that is free lies in a word or in a
//! cache, and what is said here of all frames is kept by what is said there: F1 and F2 by T1 and T6, F3
//! and F6 by T4, F4 by T2 and T4, F5 by T5.

use crossbeam_utils::CachePadded;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{AtomicU64, Ordering};

use super::hints::Hints;
use super::thread_cache::{self, Caches, FrameId, Lease};

const CLOSED: u64 = 1 << 63;
const WAITERS: u64 = 1 << 62;
const FLAGS: u64 = CLOSED | WAITERS;

/// Frames that one read-modify-write can move: those of a single word.
pub(crate) const MAX_BATCH: usize = 62;

/// Frames a word, where there are several: the rest of the word is the version.
const FRAMES_BESIDE_VERSION: usize = 32;
const VERSION_SHIFT: u32 = 32;
const VERSION_STEP: u64 = 1 << VERSION_SHIFT;

/// A shard of fewer frames would send its threads to the other shards too often.
const MIN_FRAMES_PER_SHARD: usize = if cfg!(loom) { 1 } else { 8 };

/// Beyond so many words, looking through all of them for a free bit takes too long.
const MAX_WORDS_WITHOUT_HINTS: usize = 16;

/// The free list of a pool.
#[derive(Debug)]
pub(crate) struct FreeList {
    /// A `Vec` and not a `Box`: slots point to the words, and to move a `Box` is to claim that nobody
    /// does.
    shards: Vec<CachePadded<Shard>>,
    frames: usize,
    /// Keeps of a thread's number what is a word's number.
    home_mask: usize,
    /// The bits that stand for frames, in any word.
    frame_bits: u64,
    /// What a release adds to a word beside its bits.
    version_step: u64,
    hints: Option<Hints>,
    caches: Option<Lease>,
    names: FrameIds,
}

/// What frames go by in the caches: the first by this name, and each by so much more than the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameIds {
    pub(crate) first: FrameId,
    pub(crate) step: usize,
}

impl FrameIds {
    /// By their numbers, plus 1.
    pub(crate) const COUNTED: Self = Self {
        first: FrameId::MIN,
        step: 1,
    };

    /// What the frame of this number goes by.
    pub(crate) fn of(self, frame: usize) -> Option<FrameId> {
        self.first.checked_add(frame * self.step)
    }

    /// The number of the frame that goes by this.
    pub(crate) fn frame(self, name: FrameId) -> usize {
        (name.get() - self.first.get()) / self.step
    }
}

/// A word, and beside it in the same cache line what a thread that has just changed it needs.
#[derive(Debug)]
struct Shard {
    word: AtomicU64,
    /// The frame that the lowest bit stands for.
    first: usize,
    /// How many bits stand for frames.
    count: u32,
}

/// Frames, as bits of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    pub(crate) word: usize,
    pub(crate) bits: u64,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeError {
    AllOut,
    Closed,
}

/// What became of frames on their way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutBack {
    /// They are free. By F5 the pool may be gone.
    Done,
    /// They are free in a closed pool, which counts on hearing of it.
    DoneClosed,
    /// They are still the caller's: someone waits for them.
    Wanted,
}

impl FreeList {
    /// A list of `frames` free frames, open or closed, spread over `shards` words, or as many more
    /// as are needed to hold them.
    pub(crate) fn new(frames: usize, shards: usize, open: bool) -> Result<Self, CommitError> {
        let count = word_count(frames, shards);
        let (frame_bits, version_step) = match count {
            1 => (ones(MAX_BATCH), 0),
            _ => (ones(FRAMES_BESIDE_VERSION), VERSION_STEP),
        };
        let flags = if open { 0 } else { CLOSED };
        let mut shards = try_with_capacity(count)?;
        shards.extend((0..count).map(|word| {
            // An even split: where the division has a rest, the first words have one more.
            let first = word * (frames / count) + word.min(frames % count);
            let bits = ones(frames / count + usize::from(word < frames % count));
            let word = AtomicU64::new(bits | flags);
            CachePadded::new(Shard {
                word,
                first,
                count: bits.count_ones(),
            })
        }));
        let hints = match count > MAX_WORDS_WITHOUT_HINTS {
            true => Some(Hints::new(count)?),
            false => None,
        };
        // The largest power of two that is not above `count`, less one.
        let home_mask = (1 << count.ilog2()) - 1;
        Ok(Self {
            shards,
            frames,
            home_mask,
            frame_bits,
            version_step,
            hints,
            caches: None,
            names: FrameIds::COUNTED,
        })
    }

    /// The same list with caches for its threads, if they are of use there.
    pub(crate) fn with_caches(mut self, names: FrameIds) -> Result<Self, CommitError> {
        if self.frames >= thread_cache::MIN_FRAMES {
            self.caches = Lease::new(self.frames)?;
            self.names = names;
        }
        Ok(self)
    }

    /// What threads keep for themselves. Unlike all else here, it may be used after F5.
    #[inline(always)]
    pub(crate) fn caches(&self) -> Option<&'static Caches> {
        self.caches.as_ref().map(Lease::caches)
    }

    /// Frames in all.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// The number of the frame at the lowest of the bits.
    #[inline(always)]
    pub(crate) fn frame_at(&self, Bits { word, bits }: Bits) -> usize {
        let frame = self.shards[word].first + bits.trailing_zeros() as usize;
        debug_assert!(frame < self.frames(), "bits {bits:#x} of word {word}");
        frame
    }

    /// The bit of each frame, frame by frame.
    pub(crate) fn places(&self) -> impl Iterator<Item = Bits> {
        self.shards.iter().enumerate().flat_map(|(word, shard)| {
            (0..shard.count).map(move |index| Bits {
                word,
                bits: 1 << index,
            })
        })
    }

    /// The bit of one frame.
    fn place(&self, name: FrameId) -> Bits {
        let frame = self.names.frame(name);
        let (each, longer) = (
            self.frames / self.shards.len(),
            self.frames % self.shards.len(),
        );
        // The first `longer` words have one more frame than the others.
        let word = match frame < longer * (each + 1) {
            true => frame / (each + 1),
            false => (frame - longer) / each,
        };
        Bits {
            word,
            bits: 1 << (frame - self.shards[word].first),
        }
    }

    /// Takes the lowest free bits, at most `most` of them, of the word in which this thread looks
    /// first. Threads with different numbers look in different words.
    ///
    /// `prepare` works out from the bits what the caller is after. It is called before they are the
    /// caller's, because after the exchange a processor has to begin its loads afresh.
    #[inline(always)]
    pub(crate) fn take_at_home<T>(
        &self,
        thread: usize,
        most: usize,
        prepare: impl Fn(Bits) -> T,
    ) -> Option<T> {
        self.take_from(self.home(thread), most, prepare).ok()
    }

    /// As `take_at_home`, but goes on to the other words and, if nothing is in any, to the caches.
    pub(crate) fn take(&self, thread: usize, most: usize) -> Result<Bits, TakeError> {
        match (self.take_from_words(thread, most), self.caches()) {
            (Err(TakeError::AllOut), Some(caches)) => self.take_from_caches(caches, thread, most),
            (taken, _) => taken,
        }
    }

    /// The rest of `take` where there are caches. If they are empty, they stay so until the search ends
    /// (T4), so what the words say then is all there is to say.
    fn take_from_caches(
        &self,
        caches: &Caches,
        thread: usize,
        most: usize,
    ) -> Result<Bits, TakeError> {
        let search = caches.search();
        match search.take() {
            Some(name) => Ok(self.place(name)),
            None => self.take_from_words(thread, most),
        }
    }

    fn take_from_words(&self, thread: usize, most: usize) -> Result<Bits, TakeError> {
        let home = self.home(thread);
        match self.take_from(home, most, |taken| taken) {
            Ok(taken) => return Ok(taken),
            Err(seen) if seen & CLOSED != 0 => return Err(TakeError::Closed),
            Err(_) => {}
        }
        let taken = self.take_elsewhere(home, most)?;
        if let Some(hints) = &self.hints {
            hints.assign(thread, taken.word);
        }
        Ok(taken)
    }

    #[inline(always)]
    fn home(&self, thread: usize) -> usize {
        match &self.hints {
            None => thread & self.home_mask,
            Some(hints) => hints.home(thread),
        }
    }

    /// Takes from one word, or says what was in it.
    #[inline(always)]
    fn take_from<T>(
        &self,
        word: usize,
        most: usize,
        prepare: impl Fn(Bits) -> T,
    ) -> Result<T, u64> {
        let shard = &self.shards[word].word;
        // Acquire: pairs with the Release half of the exchange below in the thread that emptied
        // this word, so that what that thread had put back into other words before is seen there
        // by the second pass of `take_elsewhere` (F6).
        let mut seen = shard.load(Ordering::Acquire);
        loop {
            let free = seen & self.frame_bits;
            if free == 0 || seen & CLOSED != 0 {
                return Err(seen);
            }
            let bits = lowest(free, most);
            let prepared = prepare(Bits { word, bits });
            // Acquire: pairs with the Release in `put_back`, takes over the frame's bytes (F2).
            // Release: pairs with the Acquire load above, see there.
            match shard.compare_exchange_weak(
                seen,
                seen & !bits,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(prepared),
                Err(now) => seen = now,
            }
        }
    }

    /// The rest of `take`: every word, after `home`, until there is a frame or proof that there is
    /// none. Another round is needed only if somebody released a frame during the last, so the
    /// pool as a whole moves on.
    fn take_elsewhere(&self, home: usize, most: usize) -> Result<Bits, TakeError> {
        if let Some(taken) = self.take_by_hints(home, most) {
            return Ok(taken);
        }
        let mut before = None;
        loop {
            match self.pass_over_all(home, most)? {
                Pass::Took(taken) => return Ok(taken),
                Pass::Empty { versions } if before == Some(versions) || self.shards.len() == 1 => {
                    return Err(TakeError::AllOut);
                }
                Pass::Empty { versions } => before = Some(versions),
            }
        }
    }

    /// One pass over all words. Versions only grow, so their sum is the same in two passes only if
    /// every one of them is (F6).
    fn pass_over_all(&self, home: usize, most: usize) -> Result<Pass, TakeError> {
        let mut versions = 0;
        for word in (home..self.shards.len()).chain(0..home) {
            match self.take_from(word, most, |taken| taken) {
                Ok(taken) => {
                    self.announce(self.word(word));
                    return Ok(Pass::Took(taken));
                }
                Err(seen) if seen & CLOSED != 0 => return Err(TakeError::Closed),
                Err(seen) => versions += (seen & !FLAGS) >> VERSION_SHIFT,
            }
        }
        Ok(Pass::Empty { versions })
    }

    fn take_by_hints(&self, home: usize, most: usize) -> Option<Bits> {
        let hints = self.hints.as_ref()?;
        hints.find(home, |word| self.take_from(word, most, |taken| taken).ok())
    }

    /// Says that frames are about to come back to `word`. To be called before `put_back`, while
    /// the frames still keep the pool alive.
    #[inline(always)]
    pub(crate) fn announce(&self, word: &AtomicU64) {
        if let Some(hints) = &self.hints {
            hints.set(self.index_of(word));
        }
    }

    /// The word to hand to [`put_back`].
    #[inline]
    pub(crate) fn word(&self, word: usize) -> &AtomicU64 {
        &self.shards[word].word
    }

    /// What [`put_back`] is to add to a word for the frames at `bits`.
    #[inline]
    pub(crate) fn addend(&self, bits: u64) -> u64 {
        bits + self.version_step
    }

    /// The frames that [`addend`](Self::addend) made an addend of, in one of this list's words.
    pub(crate) fn bits_of(&self, word: &AtomicU64, addend: u64) -> Bits {
        Bits {
            word: self.index_of(word),
            bits: addend & self.frame_bits,
        }
    }

    /// Whether the frame with this word and addend is free. By the time that the caller knows, it need not
    /// be true any more.
    pub(crate) fn is_free(&self, word: &AtomicU64, addend: u64) -> bool {
        // Relaxed: for a message, and nothing follows from it.
        word.load(Ordering::Relaxed) & addend & self.frame_bits != 0
    }

    /// The number of a word that is one of this list's.
    #[inline]
    fn index_of(&self, word: &AtomicU64) -> usize {
        let distance = std::ptr::from_ref(word).addr() - std::ptr::from_ref(self.word(0)).addr();
        distance / size_of::<CachePadded<Shard>>()
    }

    /// Sets `WAITERS` in every word, and says whether a frame may be free in any, or in the caches,
    /// which nobody fills from then on. To be called by whoever holds the line of waiters.
    pub(crate) fn set_waiters(&self) -> bool {
        if let Some(caches) = self.caches() {
            caches.revoke(thread_cache::WAITERS);
        }
        // AcqRel, here and in the other slow calls: more than F3 needs, which follows from the order
        // of changes to one word, but nothing that a waiter would notice.
        let free = self.sum(|word| word.fetch_or(WAITERS, Ordering::AcqRel));
        free != 0 || self.caches().is_some_and(Caches::may_have_frames)
    }

    /// Clears `WAITERS` in every word. To be called by whoever holds the line of waiters, which is
    /// empty.
    pub(crate) fn clear_waiters(&self) {
        for word in self.words() {
            word.fetch_and(!WAITERS, Ordering::AcqRel);
        }
        if let Some(caches) = self.caches() {
            caches.end_revocation(thread_cache::WAITERS);
        }
    }

    /// Sets `CLOSED` in every word and counts the frames that were out at that moment, word by word.
    /// What is in the caches comes into the words; a frame that is on its way in or out is out.
    pub(crate) fn close(&self) -> usize {
        // Release: pairs with the Acquire load in `take_from`; whoever is refused finds the reason.
        let free = self.sum(|word| word.fetch_or(CLOSED, Ordering::AcqRel));
        self.frames() - free - self.shut_caches()
    }

    /// Puts the frames of the caches into the words, which are closed, and counts them.
    fn shut_caches(&self) -> usize {
        let Some(caches) = self.caches() else {
            return 0;
        };
        let mut moved = 0;
        caches.revoke(thread_cache::CLOSED);
        caches.drain(|name| {
            let Bits { word, bits } = self.place(name);
            self.announce(self.word(word));
            // No part of `refs` is given up for it (C2): it was not counted as out.
            let done = put_back(self.word(word), self.addend(bits));
            debug_assert_eq!(done, PutBack::DoneClosed);
            moved += 1;
            false
        });
        moved
    }

    /// Clears `CLOSED` in every word and counts the frames that were out at that moment.
    pub(crate) fn open(&self) -> usize {
        let free = self.sum(|word| word.fetch_and(!CLOSED, Ordering::AcqRel));
        if let Some(caches) = self.caches() {
            caches.end_revocation(thread_cache::CLOSED);
        }
        self.frames() - free
    }

    /// Frames that are free now. Exact while nobody acquires or releases; in a closed pool all
    /// frames are back if it says so (F4).
    pub(crate) fn free_frames(&self) -> usize {
        // Acquire: pairs with the Release in `put_back`; who sees that all frames are back may do
        // with the memory as they like.
        let free = self.sum(|word| word.load(Ordering::Acquire));
        match self.caches() {
            // A frame that goes from a word to a cache meanwhile may be counted twice.
            Some(caches) if !self.is_closed() => (free + caches.frames()).min(self.frames),
            // What is in the caches of a closed pool is somebody's who has it in hand.
            _ => free,
        }
    }

    fn is_closed(&self) -> bool {
        self.word(0).load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether so many frames are free that threads may keep some.
    pub(crate) fn has_plenty(&self) -> bool {
        self.free_frames() >= self.frames / 4
    }

    /// The frames that are out, as each word has it when its turn comes.
    pub(crate) fn out(&self) -> impl Iterator<Item = usize> {
        self.shards.iter().flat_map(|shard| {
            // Acquire: pairs with the Release in `put_back`; more than a report needs.
            let free = shard.word.load(Ordering::Acquire);
            let taken = move |bit: &u32| free & (1 << bit) == 0;
            let bits = (0..shard.count).filter(taken);
            bits.map(|bit| shard.first + bit as usize)
        })
    }

    /// Whether a thread keeps this frame for itself; for whoever wants to know.
    pub(crate) fn is_kept(&self, frame: usize) -> bool {
        let name = self.names.of(frame);
        name.is_some_and(|name| self.caches().is_some_and(|caches| caches.contains(name)))
    }

    fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.shards.iter().map(|shard| &shard.word)
    }

    fn sum(&self, look: impl Fn(&AtomicU64) -> u64) -> usize {
        self.words()
            .map(|word| (look(word) & self.frame_bits).count_ones() as usize)
            .sum()
    }
}

/// What one pass over all words came to.
enum Pass {
    Took(Bits),
    Empty { versions: u64 },
}

/// Puts frames back whose bits and version step `addend` holds, unless somebody waits for them.
///
/// A free function over the word alone: once the exchange has succeeded another thread may free the
/// pool (F5), so nothing else of the pool may be borrowed at that moment.
#[inline(always)]
pub(crate) fn put_back(word: &AtomicU64, addend: u64) -> PutBack {
    let mut seen = word.load(Ordering::Relaxed);
    loop {
        if seen & FLAGS == WAITERS {
            return PutBack::Wanted;
        }
        // By F1 our bits are clear in `seen`, so adding sets them; what the version carries over
        // falls off.
        let after = ((seen & !FLAGS).wrapping_add(addend) & !FLAGS) | (seen & FLAGS);
        // Release: pairs with the Acquire in `take_from`, hands over the frame's bytes (F2).
        match word.compare_exchange_weak(seen, after, Ordering::Release, Ordering::Relaxed) {
            Ok(_) if seen & CLOSED == 0 => return PutBack::Done,
            Ok(_) => return PutBack::DoneClosed,
            Err(now) => seen = now,
        }
    }
}

/// How many words hold `frames` frames, if `shards` are wanted.
fn word_count(frames: usize, shards: usize) -> usize {
    let useful = shards.min(frames / MIN_FRAMES_PER_SHARD).max(1);
    if useful == 1 && frames <= MAX_BATCH {
        return 1;
    }
    useful.max(frames.div_ceil(FRAMES_BESIDE_VERSION))
}

/// The lowest `count` bits.
const fn ones(count: usize) -> u64 {
    (1 << count) - 1
}

/// The lowest set bits of `bits`, at most `most` of them.
#[inline]
fn lowest(bits: u64, most: usize) -> u64 {
    match most {
        1 => bits & bits.wrapping_neg(),
        _ if bits.count_ones() as usize <= most => bits,
        _ => bits & ((1 << position_of(bits, most)) - 1),
    }
}

/// The position of the set bit of `bits` that has `below` set bits below it.
fn position_of(bits: u64, mut below: usize) -> u32 {
    let mut position = 0;
    for width in [32, 16, 8, 4, 2, 1] {
        let here = ((bits >> position) & ((1 << width) - 1)).count_ones() as usize;
        if here <= below {
            below -= here;
            position += width;
        }
    }
    position
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn list(frames: usize, shards: usize) -> FreeList {
        FreeList::new(frames, shards, true).unwrap()
    }

    fn give_back(list: &FreeList, taken: Bits) -> PutBack {
        put_back(list.word(taken.word), list.addend(taken.bits))
    }

    #[test]
    fn every_frame_comes_out_once_whatever_the_count() {
        for frames in (1..200).chain([992, 1024, 4096, 65_536]) {
            for shards in [1, 2, 3, 16] {
                let list = list(frames, shards);
                let mut seen = vec![false; frames];
                while let Ok(taken) = list.take(shards, 1) {
                    let frame = list.frame_at(taken);
                    assert!(
                        !std::mem::replace(&mut seen[frame], true),
                        "{frame} of {frames} twice"
                    );
                }
                assert!(
                    seen.iter().all(|&seen| seen),
                    "{frames} frames in {shards} shards"
                );
                assert_eq!(list.free_frames(), 0);
            }
        }
    }

    #[test]
    fn places_and_frames_agree() {
        for frames in [1, 61, 62, 63, 100, 65, 500] {
            let list = list(frames, 4);
            let numbers: Vec<_> = list.places().map(|place| list.frame_at(place)).collect();
            assert_eq!(numbers, (0..frames).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_last_frame_back_is_the_next_out_and_lower_bits_come_first() {
        let list = list(62, 1);
        let first = list.take(0, 1).unwrap();
        let second = list.take(0, 1).unwrap();
        assert_eq!((first.bits, second.bits), (1, 2));
        assert_eq!(give_back(&list, first), PutBack::Done);
        assert_eq!(list.take(0, 1).unwrap(), first);
    }

    #[test]
    fn many_are_taken_and_put_back_in_one_go() {
        for (frames, most) in [(62, 62), (62, 1), (62, 31), (20, 7), (64, 32)] {
            let list = list(frames, 2);
            let taken = list.take(0, most).unwrap();
            assert!(taken.bits.count_ones() as usize <= most);
            let words = list.shards.len();
            assert_eq!(taken.bits.count_ones() as usize, most.min(frames / words));
            assert_eq!(give_back(&list, taken), PutBack::Done);
            assert_eq!(list.free_frames(), frames);
        }
    }

    #[test]
    fn lowest_takes_the_lowest() {
        let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..1000 {
            bits = bits.rotate_left(7).wrapping_mul(0xD134_2543_DE82_EF95) & !FLAGS;
            for most in 1..=62 {
                let mut expected = 0;
                for bit in (0..64)
                    .map(|index| 1 << index)
                    .filter(|bit| bits & bit != 0)
                    .take(most)
                {
                    expected |= bit;
                }
                assert_eq!(lowest(bits, most), expected, "{most} of {bits:#x}");
            }
        }
    }

    #[test]
    fn a_version_that_overflows_leaves_the_flags_alone() {
        let list = list(16, 2);
        let taken = list.take(0, 1).unwrap();
        let version = !FLAGS & !ones(32);
        list.word(taken.word).fetch_or(version, Ordering::Relaxed);
        assert_eq!(give_back(&list, taken), PutBack::Done);
        assert_eq!(list.word(taken.word).load(Ordering::Relaxed), ones(8));
    }

    #[test]
    fn a_closed_list_takes_back_and_gives_nothing() {
        let list = list(8, 1);
        let taken = list.take(0, 3).unwrap();
        assert_eq!(list.close(), 3);
        assert_eq!(list.take(0, 1), Err(TakeError::Closed));
        assert_eq!(give_back(&list, taken), PutBack::DoneClosed);
        assert_eq!(list.open(), 0);
        assert_eq!(list.take(0, 62).unwrap().bits, ones(8));
    }

    #[test]
    fn waiters_bar_the_way_back() {
        let list = list(8, 1);
        let all = list.take(0, 62).unwrap();
        assert!(!list.set_waiters());
        assert_eq!(give_back(&list, all), PutBack::Wanted);
        list.clear_waiters();
        assert_eq!(give_back(&list, all), PutBack::Done);
    }

    #[test]
    fn a_frame_in_a_word_without_a_hint_is_found() {
        let list = list(65_536, 2);
        while list.take(0, 62).is_ok() {}
        // Released without being announced: no hint is set.
        let place = list.places().nth(40_000).unwrap();
        assert_eq!(
            put_back(list.word(place.word), list.addend(place.bits)),
            PutBack::Done
        );
        let taken = list.take(0, 1).unwrap();
        assert_eq!(list.frame_at(taken), 40_000);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    #![expect(
        unsafe_code,
        reason = "the frame's bytes are stood for by a checked cell"
    )]

    use loom::thread;

    use crate::sync::{Arc, UnsafeCell};

    use super::*;

    fn list(frames: usize, shards: usize) -> Arc<FreeList> {
        Arc::new(FreeList::new(frames, shards, true).unwrap())
    }

    fn give_back(list: &FreeList, taken: Bits) -> PutBack {
        put_back(list.word(taken.word), list.addend(taken.bits))
    }

    /// F1, F2: a frame has one owner at a time, who sees what the last one did.
    ///
    /// Kills: `Release` to `Relaxed` in `put_back`; `AcqRel` to `Release` in `take_from`;
    /// `seen & !bits` to `seen` there.
    #[test]
    fn a_frame_has_one_owner_at_a_time() {
        loom::model(|| {
            let list = list(1, 1);
            let bytes = Arc::new(UnsafeCell::new(0));
            let use_once = |list: Arc<FreeList>, bytes: Arc<UnsafeCell<i32>>| {
                if let Ok(taken) = list.take(0, 1) {
                    bytes.with_mut(|bytes| {
                        // SAFETY: the frame is ours; loom checks that.
                        unsafe { *bytes += 1 }
                    });
                    assert_eq!(give_back(&list, taken), PutBack::Done);
                }
            };
            let other = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || use_once(list, bytes))
            };
            use_once(list.clone(), bytes);
            other.join().unwrap();
            assert_eq!(list.free_frames(), 1);
        });
    }

    /// F6: with two frames in two words and two threads that hold one frame at a time, nobody is
    /// ever told that all are out, though the frames may move from under the search.
    ///
    /// Kills: no second pass in `take_elsewhere`; `AcqRel` to `Acquire` in `take_from`.
    #[test]
    fn a_search_fails_only_if_all_frames_were_out_at_once() {
        loom::model(|| {
            let list = list(2, 2);
            let held = list.take(0, 1).unwrap();
            let mover = {
                let list = list.clone();
                thread::spawn(move || {
                    assert_eq!(give_back(&list, held), PutBack::Done);
                    list.take(1, 1)
                        .expect("the other thread has at most one of the two")
                })
            };
            list.take(0, 1)
                .expect("the other thread has at most one of the two");
            mover.join().unwrap();
        });
    }

    /// F6: the same, if what moved moves back between the two passes.
    ///
    /// Kills: `version_step` 0.
    #[test]
    fn a_search_is_not_fooled_by_frames_that_move_back() {
        let mut model = loom::model::Builder::new();
        // The search has to be interrupted within both passes and between them.
        model.preemption_bound = Some(6);
        model.check(|| {
            let list = list(2, 2);
            let mut held = list.take(0, 1).unwrap();
            let mover = {
                let list = list.clone();
                thread::spawn(move || {
                    for other in [1, 0, 1] {
                        assert_eq!(give_back(&list, held), PutBack::Done);
                        held = list
                            .take(other, 1)
                            .expect("the other thread has at most one");
                    }
                })
            };
            list.take(0, 1)
                .expect("the other thread has at most one of the two");
            mover.join().unwrap();
        });
    }

    /// F4 and what C2 needs: a closing list counts a frame as out exactly if its release learns that
    /// the list is closed, and an opening list likewise.
    ///
    /// Kills: deciding between `Done` and `DoneClosed` by another load after the exchange in
    /// `put_back`; `close` counting before it sets `CLOSED`.
    #[test]
    fn closing_and_releasing_agree_on_who_counts_the_frame() {
        loom::model(|| {
            let list = list(1, 1);
            let held = list.take(0, 1).unwrap();
            let releaser = {
                let list = list.clone();
                thread::spawn(move || give_back(&list, held))
            };
            let counted = list.close() - list.open();
            let heard = releaser.join().unwrap() == PutBack::DoneClosed;
            assert_eq!(counted, usize::from(heard));
        });
    }
}
