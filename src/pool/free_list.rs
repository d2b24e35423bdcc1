//! Bitmap free list: one atomic word per shard, with one bit per frame and the state of the pool.
//!
//! The module handles frame numbers only, never memory, and is safe code.
//!
//! # The word
//!
//! Each shard is one `AtomicU64` on its own cache line:
//!
//! ```text
//!   63       62        61 ............ 32   31 ............. 0
//!  CLOSED  WAITERS     version              one bit per frame, set = free     (several words)
//!  CLOSED  WAITERS     one bit per frame, set = free                          (a single word)
//! ```
//!
//! | CLOSED | WAITERS | free bits | state of the pool | acquire | release |
//! |---|---|---|---|---|---|
//! | 0 | 0 | some | frames are free | clears the lowest bit | sets its bit |
//! | 0 | 0 | none | no frame is free in this word | searches the other words | sets its bit |
//! | 0 | 1 | none | callers wait | enters the wait queue | assigns its frame to a waiter |
//! | 0 | 1 | some | a wait starts | clears the lowest bit | assigns its frame to a waiter |
//! | 1 | any | any | closed | fails | sets its bit, then gives up its part of the pool's `refs` |
//!
//! # Invariants
//!
//! - **F1** A frame is in exactly one place: its bit is set, or it has one holder. Only the holder
//!   sets the bit, and only the thread that clears the bit becomes the holder.
//! - **F2** Every access of a holder to a frame happens before every access of the next holder.
//!   (*Release* in [`put_back`], *Acquire* in [`FreeList::take`]. In between the word changes only
//!   by read-modify-writes, which continue the release sequence.)
//! - **F3** While `WAITERS` is set and `CLOSED` is not, no bit becomes set. So a waiter that has
//!   set `WAITERS` in a word and saw no free bit there has not missed a frame, and will not miss
//!   one: `put_back` and `set_waiters` change the same word, and the later of the two sees the
//!   earlier. No fence is needed, because both sides look at the same word.
//! - **F4** While `CLOSED` is set, no bit becomes clear: frames come back, none goes out.
//! - **F5** After a `put_back` that found neither flag the caller must not touch the pool: the
//!   frame that kept the pool alive is gone.
//! - **F6** [`FreeList::take`] reports that all frames are out only if they were at one moment of
//!   the call. A single word proves this by itself. Several words cannot be read at once, so each
//!   has a version that every release increments. Two successive scans that find no free bit and
//!   the same versions prove that all words were empty between the two. (The proof is wrong only
//!   if a multiple of 2^30 releases falls between the scans.)
//!
//! In a pool with [thread caches](super::thread_cache) a free frame is in a word or in a cache.
//! Then these invariants also rest on those of the caches: F1 and F2 on T1 and T6, F3 and F6 on
//! T4, F4 on T2 and T4, F5 on T5.

use crossbeam_utils::CachePadded;

use crate::crate_copy::{CrateCopy, this_copy};
use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{AtomicU64, Ordering};

use super::hints::Hints;
use super::thread_cache::{self, Caches, FrameId, Lease};

const CLOSED: u64 = 1 << 63;
const WAITERS: u64 = 1 << 62;
const FLAGS: u64 = CLOSED | WAITERS;

/// Maximum number of frames that one read-modify-write moves: those of a single word.
pub(crate) const MAX_BATCH: usize = 62;

/// Frames per word if there are several words: the version takes the rest.
const FRAMES_BESIDE_VERSION: usize = 32;
const VERSION_SHIFT: u32 = 32;
const VERSION_STEP: u64 = 1 << VERSION_SHIFT;

/// Minimum number of frames per shard. A smaller one would be empty too often, and its threads
/// would search the other shards.
const MIN_FRAMES_PER_SHARD: usize = if cfg!(all(test, loom)) { 1 } else { 8 };

/// Maximum number of words that a search scans without hints.
const MAX_WORDS_WITHOUT_HINTS: usize = 16;

/// The free list of a pool.
#[derive(Debug)]
pub(crate) struct FreeList {
    /// A `Vec`, not a `Box`: slots point into it, and moving a `Box` asserts unique access.
    shards: Vec<CachePadded<Shard>>,
    frames: usize,
    /// Masks a thread index to the index of its home word.
    home_mask: usize,
    /// The bits of a word that stand for frames.
    frame_bits: u64,
    /// The version increment that a release adds to a word beside its bits.
    version_step: u64,
    hints: Option<Hints>,
    owned: Owned,
    ids: FrameIds,
}

/// The part of a free list that depends on the copy of the crate. In one cache line, because each
/// acquire and release reads both fields.
#[derive(Debug)]
#[repr(align(16))]
struct Owned {
    caches: Option<Lease>,
    made_by: &'static CrateCopy,
}

/// Ids of the frames in the caches: `first` for frame 0, and `step` more for each further frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameIds {
    pub(crate) first: FrameId,
    pub(crate) step: usize,
}

impl FrameIds {
    /// Ids that are the frame numbers plus 1.
    pub(crate) const ONE_BASED: Self = Self {
        first: FrameId::MIN,
        step: 1,
    };

    /// Returns the id of the frame with this number.
    pub(crate) fn of(self, frame: usize) -> Option<FrameId> {
        self.first.checked_add(frame * self.step)
    }

    /// Returns the number of the frame with this id.
    pub(crate) fn frame(self, id: FrameId) -> usize {
        (id.get() - self.first.get()) / self.step
    }
}

/// A word and, in the same cache line, what a thread that has just changed the word needs.
#[derive(Debug)]
struct Shard {
    word: AtomicU64,
    /// The frame of the lowest bit.
    first: usize,
    /// Number of bits that stand for frames.
    count: u32,
}

/// Frames, as bits of one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    pub(crate) word: usize,
    pub(crate) bits: u64,
}

/// The reason why no frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeError {
    AllOut,
    Closed,
}

/// Outcome of [`put_back`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutBack {
    /// The frames are free. By F5 the pool may be gone.
    Done,
    /// The frames are free in a closed pool, whose `refs` counts them as out until the caller
    /// gives up their parts.
    DoneClosed,
    /// The frames still belong to the caller, because waiters want them.
    Wanted,
}

impl FreeList {
    /// Creates a list of `frames` free frames, open or closed. They are spread over `shards`
    /// words, or over more where more are needed to hold them.
    pub(crate) fn new(frames: usize, shards: usize, open: bool) -> Result<Self, CommitError> {
        let count = word_count(frames, shards);
        let (frame_bits, version_step) = match count {
            1 => (ones(MAX_BATCH), 0),
            // mutant: version-step
            _ => (ones(FRAMES_BESIDE_VERSION), VERSION_STEP),
        };
        let flags = if open { 0 } else { CLOSED };
        let mut shards = try_with_capacity(count)?;
        shards.extend((0..count).map(|word| {
            // An even split. If there is a remainder, the first words have one frame more.
            let first = word * (frames / count) + word.min(frames % count);
            let bits = ones(frames / count + usize::from(word < frames % count));
            CachePadded::new(Shard {
                word: AtomicU64::new(bits | flags),
                first,
                count: bits.count_ones(),
            })
        }));
        let hints = if count > MAX_WORDS_WITHOUT_HINTS {
            Some(Hints::new(count)?)
        } else {
            None
        };
        // One less than the largest power of two that is not above `count`.
        let home_mask = (1 << count.ilog2()) - 1;
        Ok(Self {
            shards,
            frames,
            home_mask,
            frame_bits,
            version_step,
            hints,
            owned: Owned {
                caches: None,
                made_by: this_copy(),
            },
            ids: FrameIds::ONE_BASED,
        })
    }

    /// Adds thread caches, if the pool is large enough for them and the system supports them.
    pub(crate) fn with_caches(mut self, ids: FrameIds) -> Result<Self, CommitError> {
        if self.frames >= thread_cache::MIN_FRAMES {
            self.owned.caches = Lease::new(self.frames)?;
            self.ids = ids;
        }
        Ok(self)
    }

    /// Returns the thread caches. Unlike everything else here, they may be used after F5.
    #[inline(always)]
    pub(crate) fn caches(&self) -> Option<&'static Caches> {
        self.owned.caches.as_ref().map(Lease::caches)
    }

    /// Returns the thread caches if the calling thread may own one of them. It may not if it runs
    /// code of another copy of the crate than the one that made the pool (O4): that copy numbers
    /// threads by itself.
    #[inline(always)]
    pub(crate) fn own_caches(&self) -> Option<&'static Caches> {
        if self.owned.made_by.is_this() {
            self.caches()
        } else {
            None
        }
    }

    /// Returns the copy of the crate that made the list.
    #[inline(always)]
    pub(crate) fn made_by(&self) -> &'static CrateCopy {
        self.owned.made_by
    }

    /// Returns the number of frames, free or not.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// Returns the number of the frame at the lowest of the bits.
    #[inline(always)]
    pub(crate) fn frame_at(&self, Bits { word, bits }: Bits) -> usize {
        let frame = self.shards[word].first + bits.trailing_zeros() as usize;
        debug_assert!(frame < self.frames(), "bits {bits:#x} of word {word}");
        frame
    }

    /// Returns the bit of each frame, in the order of the frame numbers.
    pub(crate) fn places(&self) -> impl Iterator<Item = Bits> {
        self.shards.iter().enumerate().flat_map(|(word, shard)| {
            (0..shard.count).map(move |index| Bits {
                word,
                bits: 1 << index,
            })
        })
    }

    /// Returns the bit of the frame with this id.
    fn place(&self, id: FrameId) -> Bits {
        let frame = self.ids.frame(id);
        // The first `extra` words have `each + 1` frames, the others `each`.
        let each = self.frames / self.shards.len();
        let extra = self.frames % self.shards.len();
        let word = if frame < extra * (each + 1) {
            frame / (each + 1)
        } else {
            (frame - extra) / each
        };
        Bits {
            word,
            bits: 1 << (frame - self.shards[word].first),
        }
    }

    /// Takes up to `max` of the lowest free bits of the calling thread's home word. Threads with
    /// different indices have different home words, as far as there are enough words.
    ///
    /// `prepare` computes from the bits what the caller needs. It runs before the exchange that
    /// takes the frames, because loads after the exchange cannot start until it is done.
    #[inline(always)]
    pub(crate) fn take_local<T>(
        &self,
        thread: usize,
        max: usize,
        prepare: impl Fn(Bits) -> T,
    ) -> Option<T> {
        self.take_from(self.home(thread), max, prepare).ok()
    }

    /// Takes up to `max` free bits of one word. Searches the home word first, then the other
    /// words, then the caches.
    pub(crate) fn take(&self, thread: usize, max: usize) -> Result<Bits, TakeError> {
        match (self.take_from_words(thread, max), self.caches()) {
            (Err(TakeError::AllOut), Some(caches)) => self.take_from_caches(caches, thread, max),
            (taken, _) => taken,
        }
    }

    /// The rest of `take` in a pool with caches. If the caches are empty, they stay empty until
    /// the search ends (T4), so any frame that is free then is in a word.
    fn take_from_caches(
        &self,
        caches: &Caches,
        thread: usize,
        max: usize,
    ) -> Result<Bits, TakeError> {
        let search = caches.search();
        match search.take() {
            Some(id) => Ok(self.place(id)),
            // mutant: search-words-again
            None => self.take_from_words(thread, max),
        }
    }

    fn take_from_words(&self, thread: usize, max: usize) -> Result<Bits, TakeError> {
        let home = self.home(thread);
        match self.take_from(home, max, |taken| taken) {
            Ok(taken) => return Ok(taken),
            Err(seen) if seen & CLOSED != 0 => return Err(TakeError::Closed),
            Err(_) => {}
        }
        let taken = self.take_elsewhere(home, max)?;
        if let Some(hints) = &self.hints {
            hints.set_home(thread, taken.word);
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

    /// Takes up to `max` free bits of one word. Otherwise returns the value of the word.
    #[inline(always)]
    fn take_from<T>(&self, word: usize, max: usize, prepare: impl Fn(Bits) -> T) -> Result<T, u64> {
        let shard = &self.shards[word].word;
        // Acquire: pairs with the Release half of the exchange below in the thread that emptied
        // this word. The second scan of `take_elsewhere` then sees what that thread had put back
        // into other words before (F6).
        let mut seen = shard.load(Ordering::Acquire);
        loop {
            let free = seen & self.frame_bits;
            // mutant: take-checks-closed
            if free == 0 || seen & CLOSED != 0 {
                return Err(seen);
            }
            let bits = lowest(free, max);
            let prepared = prepare(Bits { word, bits });
            // Acquire: pairs with the Release in `put_back`, takes over the frame's bytes (F2).
            // Release: pairs with the Acquire load above.
            // mutant: take-exchange
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

    /// The rest of `take` if the home word has no free bit: scans all words until it finds a frame
    /// or has proof that none is free. It scans again only if a frame was released during the last
    /// scan, so some thread always makes progress.
    fn take_elsewhere(&self, home: usize, max: usize) -> Result<Bits, TakeError> {
        if let Some(taken) = self.take_by_hints(home, max) {
            return Ok(taken);
        }
        let mut before = None;
        loop {
            match self.scan(home, max)? {
                Scan::Taken(taken) => return Ok(taken),
                // mutant: second-scan
                Scan::Empty { versions } if before == Some(versions) || self.shards.len() == 1 => {
                    return Err(TakeError::AllOut);
                }
                Scan::Empty { versions } => before = Some(versions),
            }
        }
    }

    /// Scans all words once, from `home` on. Versions only grow, so their sum is the same in two
    /// scans only if every version is (F6).
    fn scan(&self, home: usize, max: usize) -> Result<Scan, TakeError> {
        let mut versions = 0;
        for word in (home..self.shards.len()).chain(0..home) {
            match self.take_from(word, max, |taken| taken) {
                Ok(taken) => {
                    self.set_hint(self.word(word));
                    return Ok(Scan::Taken(taken));
                }
                Err(seen) if seen & CLOSED != 0 => return Err(TakeError::Closed),
                Err(seen) => versions += (seen & !FLAGS) >> VERSION_SHIFT,
            }
        }
        Ok(Scan::Empty { versions })
    }

    fn take_by_hints(&self, home: usize, max: usize) -> Option<Bits> {
        let hints = self.hints.as_ref()?;
        hints.find(home, |word| self.take_from(word, max, |taken| taken).ok())
    }

    /// Sets the hint that frames may be free in `word`. Must be called before `put_back`, while
    /// the frames still keep the pool alive.
    #[inline(always)]
    pub(crate) fn set_hint(&self, word: &AtomicU64) {
        if let Some(hints) = &self.hints {
            hints.set(self.index_of(word));
        }
    }

    /// Returns the word with this index, for [`put_back`].
    #[inline]
    pub(crate) fn word(&self, word: usize) -> &AtomicU64 {
        &self.shards[word].word
    }

    /// Returns what [`put_back`] adds to a word for the frames at `bits`.
    #[inline]
    pub(crate) fn addend(&self, bits: u64) -> u64 {
        bits + self.version_step
    }

    /// Returns the frames for which [`addend`](Self::addend) made this addend. `word` is a word of
    /// this list.
    pub(crate) fn bits_of(&self, word: &AtomicU64, addend: u64) -> Bits {
        Bits {
            word: self.index_of(word),
            bits: addend & self.frame_bits,
        }
    }

    /// Returns whether the frame with this word and addend is free in its word. The answer may be
    /// outdated by the time the caller has it.
    pub(crate) fn is_free(&self, word: &AtomicU64, addend: u64) -> bool {
        // Relaxed: the answer is only displayed.
        word.load(Ordering::Relaxed) & addend & self.frame_bits != 0
    }

    /// Returns the index of a word of this list.
    #[inline]
    fn index_of(&self, word: &AtomicU64) -> usize {
        let distance = std::ptr::from_ref(word).addr() - std::ptr::from_ref(self.word(0)).addr();
        distance / size_of::<CachePadded<Shard>>()
    }

    /// Sets `WAITERS` in every word. Returns whether a frame may be free in a word or in a cache.
    /// No thread puts a frame into a cache from then on. The caller holds the lock of the wait
    /// queue.
    pub(crate) fn set_waiters(&self) -> bool {
        if let Some(caches) = self.caches() {
            // mutant: waiters-revoke-caches
            caches.revoke(thread_cache::WAITERS);
        }
        // AcqRel, here and in the other slow calls, is more than F3 needs: F3 follows from the
        // order of changes to one word. A waiter does not notice the cost.
        let free = self.count_free(|word| word.fetch_or(WAITERS, Ordering::AcqRel));
        // mutant: waiters-look-at-caches
        free != 0 || self.caches().is_some_and(Caches::may_have_frames)
    }

    /// Clears `WAITERS` in every word. The caller holds the lock of the wait queue, which is
    /// empty.
    pub(crate) fn clear_waiters(&self) {
        for word in self.words() {
            word.fetch_and(!WAITERS, Ordering::AcqRel);
        }
        if let Some(caches) = self.caches() {
            caches.end_revocation(thread_cache::WAITERS);
        }
    }

    /// Sets `CLOSED` in every word and moves the frames of the caches into the words. Returns the
    /// number of frames that were out, counted word by word as the flags were set. A frame that is
    /// on its way into a cache or out of it counts as out.
    pub(crate) fn close(&self) -> usize {
        // Release: pairs with the Acquire load in `take_from`. A caller that sees `CLOSED` finds
        // the reason for it.
        // mutant: close-words
        let free = self.count_free(|word| word.fetch_or(CLOSED, Ordering::AcqRel));
        // mutant: close-counts-cached
        self.frames() - free - self.close_caches()
    }

    /// Puts the frames of the caches into the words, which are closed. Returns their number.
    fn close_caches(&self) -> usize {
        let Some(caches) = self.caches() else {
            return 0;
        };
        let mut moved = 0;
        // mutant: close-revokes-caches
        caches.revoke(thread_cache::CLOSED);
        caches.drain(|id| {
            let Bits { word, bits } = self.place(id);
            self.set_hint(self.word(word));
            // The frame was not counted as out, so no part of `refs` is given up for it (C2).
            let done = put_back(self.word(word), self.addend(bits));
            debug_assert_eq!(done, PutBack::DoneClosed);
            // mutant: close-counts-moved
            moved += 1;
            false
        });
        moved
    }

    /// Clears `CLOSED` in every word. Returns the number of frames that were out, counted word by
    /// word as the flags were cleared.
    pub(crate) fn open(&self) -> usize {
        let free = self.count_free(|word| word.fetch_and(!CLOSED, Ordering::AcqRel));
        if let Some(caches) = self.caches() {
            caches.end_revocation(thread_cache::CLOSED);
        }
        self.frames() - free
    }

    /// Returns the number of free frames. It is exact while no thread acquires or releases. If a
    /// closed pool reports that all frames are free, they stay free until it opens (F4).
    pub(crate) fn free_frames(&self) -> usize {
        // Acquire: pairs with the Release in `put_back`. A caller that sees all frames back may
        // free their memory.
        let free = self.count_free(|word| word.load(Ordering::Acquire));
        match self.caches() {
            // A frame that moves from a word to a cache meanwhile may be counted twice.
            // mutant: free-frames-if-open
            Some(caches) if !self.is_closed() => (free + caches.frames()).min(self.frames),
            // In a closed pool a frame that is still in a cache belongs to the thread that is
            // taking it out.
            _ => free,
        }
    }

    fn is_closed(&self) -> bool {
        self.word(0).load(Ordering::Acquire) & CLOSED != 0
    }

    /// Returns whether a quarter of the frames is free, which is enough for threads to cache some.
    pub(crate) fn has_many_free(&self) -> bool {
        self.free_frames() >= self.frames / 4
    }

    /// Returns the frames that are not free in the words, those in caches included. Each word is
    /// read once, when the iterator reaches it.
    pub(crate) fn out(&self) -> impl Iterator<Item = usize> {
        self.shards.iter().flat_map(|shard| {
            // Acquire: pairs with the Release in `put_back`. It is more than a report needs.
            let free = shard.word.load(Ordering::Acquire);
            let is_out = move |bit: &u32| free & (1 << bit) == 0;
            let bits = (0..shard.count).filter(is_out);
            bits.map(|bit| shard.first + bit as usize)
        })
    }

    /// Returns whether this frame is in a thread cache. The answer is for reports and may be
    /// outdated.
    pub(crate) fn is_cached(&self, frame: usize) -> bool {
        let id = self.ids.of(frame);
        id.is_some_and(|id| self.caches().is_some_and(|caches| caches.contains(id)))
    }

    fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.shards.iter().map(|shard| &shard.word)
    }

    /// Counts the free bits in the values that `read` returns for the words.
    fn count_free(&self, read: impl Fn(&AtomicU64) -> u64) -> usize {
        self.words()
            .map(|word| (read(word) & self.frame_bits).count_ones() as usize)
            .sum()
    }
}

/// Result of one scan of all words.
enum Scan {
    Taken(Bits),
    Empty { versions: u64 },
}

/// Puts back the frames whose bits, and version step, are in `addend`, unless callers wait for a
/// frame.
///
/// This is a free function over the word alone. Once the exchange has succeeded, another thread
/// may free the pool (F5), so nothing else of the pool may be borrowed at that moment.
#[inline(always)]
pub(crate) fn put_back(word: &AtomicU64, addend: u64) -> PutBack {
    let mut seen = word.load(Ordering::Relaxed);
    loop {
        // mutant: put-back-checks-waiters
        if seen & FLAGS == WAITERS {
            return PutBack::Wanted;
        }
        // By F1 the bits are clear in `seen`, so the addition sets them. The carry out of the
        // version is masked off.
        let after = ((seen & !FLAGS).wrapping_add(addend) & !FLAGS) | (seen & FLAGS);
        // Release: pairs with the Acquire in `take_from`, hands over the frame's bytes (F2).
        // mutant: put-back-exchange
        match word.compare_exchange_weak(seen, after, Ordering::Release, Ordering::Relaxed) {
            // mutant: put-back-saw-closed
            Ok(_) if seen & CLOSED == 0 => return PutBack::Done,
            Ok(_) => return PutBack::DoneClosed,
            Err(now) => seen = now,
        }
    }
}

/// Returns the number of words for `frames` frames if the caller asks for `shards`.
fn word_count(frames: usize, shards: usize) -> usize {
    let useful = shards.min(frames / MIN_FRAMES_PER_SHARD).max(1);
    if useful == 1 && frames <= MAX_BATCH {
        return 1;
    }
    useful.max(frames.div_ceil(FRAMES_BESIDE_VERSION))
}

/// Returns the lowest `count` bits.
const fn ones(count: usize) -> u64 {
    (1 << count) - 1
}

/// Returns the lowest set bits of `bits`, at most `max` of them.
#[inline]
fn lowest(bits: u64, max: usize) -> u64 {
    match max {
        1 => bits & bits.wrapping_neg(),
        _ if bits.count_ones() as usize <= max => bits,
        _ => bits & ((1 << position_of(bits, max)) - 1),
    }
}

/// Returns the position of the set bit of `bits` that has `below` set bits below it.
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

    fn release(list: &FreeList, taken: Bits) -> PutBack {
        put_back(list.word(taken.word), list.addend(taken.bits))
    }

    #[test]
    fn every_frame_is_taken_exactly_once_for_any_number_of_frames() {
        for frames in (1..200).chain([992, 1024, 4096, 65_536]) {
            for shards in [1, 2, 3, 16] {
                let list = list(frames, shards);
                let mut seen = vec![false; frames];
                while let Ok(taken) = list.take(shards, 1) {
                    let frame = list.frame_at(taken);
                    assert!(
                        !std::mem::replace(&mut seen[frame], true),
                        "frame {frame} of {frames} was taken twice"
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
    fn places_and_frame_numbers_agree() {
        for frames in [1, 61, 62, 63, 100, 65, 500] {
            let list = list(frames, 4);
            let numbers: Vec<_> = list.places().map(|place| list.frame_at(place)).collect();
            assert_eq!(numbers, (0..frames).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_lowest_free_bit_is_taken_first() {
        let list = list(62, 1);
        let first = list.take(0, 1).unwrap();
        let second = list.take(0, 1).unwrap();
        assert_eq!((first.bits, second.bits), (1, 2));
        assert_eq!(release(&list, first), PutBack::Done);
        assert_eq!(list.take(0, 1).unwrap(), first);
    }

    #[test]
    fn several_frames_are_taken_and_put_back_at_once() {
        for (frames, max) in [(62, 62), (62, 1), (62, 31), (20, 7), (64, 32)] {
            let list = list(frames, 2);
            let taken = list.take(0, max).unwrap();
            assert!(taken.bits.count_ones() as usize <= max);
            let words = list.shards.len();
            assert_eq!(taken.bits.count_ones() as usize, max.min(frames / words));
            assert_eq!(release(&list, taken), PutBack::Done);
            assert_eq!(list.free_frames(), frames);
        }
    }

    #[test]
    fn lowest_returns_the_lowest_set_bits() {
        let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..1000 {
            bits = bits.rotate_left(7).wrapping_mul(0xD134_2543_DE82_EF95) & !FLAGS;
            for max in 1..=62 {
                let mut expected = 0;
                for bit in (0..64)
                    .map(|index| 1 << index)
                    .filter(|bit| bits & bit != 0)
                    .take(max)
                {
                    expected |= bit;
                }
                assert_eq!(lowest(bits, max), expected, "{max} of {bits:#x}");
            }
        }
    }

    #[test]
    fn a_version_overflow_leaves_the_flags_unchanged() {
        let list = list(16, 2);
        let taken = list.take(0, 1).unwrap();
        let version = !FLAGS & !ones(32);
        list.word(taken.word).fetch_or(version, Ordering::Relaxed);
        assert_eq!(release(&list, taken), PutBack::Done);
        assert_eq!(list.word(taken.word).load(Ordering::Relaxed), ones(8));
    }

    #[test]
    fn a_closed_list_takes_frames_back_and_hands_none_out() {
        let list = list(8, 1);
        let taken = list.take(0, 3).unwrap();
        assert_eq!(list.close(), 3);
        assert_eq!(list.take(0, 1), Err(TakeError::Closed));
        assert_eq!(release(&list, taken), PutBack::DoneClosed);
        assert_eq!(list.open(), 0);
        assert_eq!(list.take(0, 62).unwrap().bits, ones(8));
    }

    #[test]
    fn no_frame_is_put_back_while_waiters_is_set() {
        let list = list(8, 1);
        let all = list.take(0, 62).unwrap();
        assert!(!list.set_waiters());
        assert_eq!(release(&list, all), PutBack::Wanted);
        list.clear_waiters();
        assert_eq!(release(&list, all), PutBack::Done);
    }

    #[test]
    fn a_frame_in_a_word_without_a_hint_is_found() {
        let list = list(65_536, 2);
        while list.take(0, 62).is_ok() {}
        // Put back without `set_hint`.
        let place = list.places().nth(40_000).unwrap();
        assert_eq!(release(&list, place), PutBack::Done);
        let taken = list.take(0, 1).unwrap();
        assert_eq!(list.frame_at(taken), 40_000);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    #![expect(
        unsafe_code,
        reason = "a cell that loom checks stands for the bytes of a frame"
    )]

    use loom::thread;

    use crate::sync::{Arc, UnsafeCell};

    use super::*;

    fn list(frames: usize, shards: usize) -> Arc<FreeList> {
        Arc::new(FreeList::new(frames, shards, true).unwrap())
    }

    fn release(list: &FreeList, taken: Bits) -> PutBack {
        put_back(list.word(taken.word), list.addend(taken.bits))
    }

    /// F1, F2: a frame has one owner at a time, which sees all accesses of the last one.
    ///
    /// Kills: `Release` to `Relaxed` in `put_back`; `AcqRel` to `Release`, and `seen & !bits` to
    /// `seen`, in `take_from`.
    #[test]
    fn a_frame_has_one_owner_at_a_time() {
        loom::model(|| {
            let list = list(1, 1);
            let bytes = Arc::new(UnsafeCell::new(0));
            let use_once = |list: Arc<FreeList>, bytes: Arc<UnsafeCell<i32>>| {
                if let Ok(taken) = list.take(0, 1) {
                    bytes.with_mut(|bytes| {
                        // SAFETY: this thread has the frame, so by F1 no other thread accesses the
                        // bytes. loom checks that.
                        unsafe { *bytes += 1 }
                    });
                    assert_eq!(release(&list, taken), PutBack::Done);
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

    /// F6: with two frames in two words and two threads that hold one frame at a time, no search
    /// reports that all frames are out, even if frames move during the search.
    ///
    /// Kills: no second scan in `take_elsewhere`; `AcqRel` to `Acquire` in `take_from`.
    #[test]
    fn a_search_fails_only_if_all_frames_were_out_at_once() {
        loom::model(|| {
            let list = list(2, 2);
            let held = list.take(0, 1).unwrap();
            let mover = {
                let list = list.clone();
                thread::spawn(move || {
                    assert_eq!(release(&list, held), PutBack::Done);
                    list.take(1, 1)
                        .expect("the other thread holds at most one of the two frames")
                })
            };
            list.take(0, 1)
                .expect("the other thread holds at most one of the two frames");
            mover.join().unwrap();
        });
    }

    /// F6: the same if the frame that moved moves back between the two scans.
    ///
    /// Kills: `version_step` 0.
    #[test]
    fn a_search_notices_frames_that_move_back() {
        let mut model = loom::model::Builder::new();
        // The search has to be interrupted within both scans and between them.
        model.preemption_bound = Some(6);
        model.check(|| {
            let list = list(2, 2);
            let mut held = list.take(0, 1).unwrap();
            let mover = {
                let list = list.clone();
                thread::spawn(move || {
                    for other in [1, 0, 1] {
                        assert_eq!(release(&list, held), PutBack::Done);
                        held = list
                            .take(other, 1)
                            .expect("the other thread holds at most one of the two frames");
                    }
                })
            };
            list.take(0, 1)
                .expect("the other thread holds at most one of the two frames");
            mover.join().unwrap();
        });
    }

    /// F4, and the part of C2 that this module carries: `close` counts a frame as out if and only
    /// if its release learns that the list is closed. The same holds for `open`.
    ///
    /// Kills: another load after the exchange of `put_back` that decides between `Done` and
    /// `DoneClosed`; `close` counting before it sets `CLOSED`.
    #[test]
    fn close_and_release_agree_on_which_of_them_counts_the_frame() {
        loom::model(|| {
            let list = list(1, 1);
            let held = list.take(0, 1).unwrap();
            let releaser = {
                let list = list.clone();
                thread::spawn(move || release(&list, held))
            };
            let counted = list.close() - list.open();
            let learned = releaser.join().unwrap() == PutBack::DoneClosed;
            assert_eq!(counted, usize::from(learned));
        });
    }
}
