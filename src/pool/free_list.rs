//! Bitmap free list: atomic words with a few frames each, and the state of the pool in all of them.
//!
//! The module handles frame numbers only, never memory, and is safe code.
//!
//! # The word
//!
//! Each word is one `AtomicU64` on its own cache line:
//!
//! ```text
//!  63 ....... 30   29 ................. 16     15       14     13 ...................... 0
//!  version         one epoch bit per frame   CLOSED  WAITERS   one bit per frame, set = free
//! ```
//!
//! A release adds 1 to the version, sets the bit of the frame and inverts its epoch bit. (The
//! epoch tells [reports](crate::diagnostics::holder_record) whether a frame was released since its
//! holder recorded itself.)
//!
//! | CLOSED | WAITERS | free bits | state of the pool | acquire | release |
//! |---|---|---|---|---|---|
//! | 0 | 0 | some | frames are free | clears the lowest bit | sets its bit |
//! | 0 | 0 | none | no frame is free in this word | searches the other words | sets its bit |
//! | 0 | 1 | none | callers wait, or have waited | enters the wait queue | asks the wait queue |
//! | 0 | 1 | some | a wait starts, or has ended | clears the lowest bit | asks the wait queue |
//! | 1 | any | any | closed | fails | sets its bit, then gives up its part of the pool's `refs` |
//!
//! # Frames and words
//!
//! Frames are dealt to words in turn, like cards: frame *n* is in word *n* mod *lanes*, up to 14
//! frames per word, and then the next *lanes* words are filled. Two threads rarely meet in a word
//! with few frames. Where a search [starts](super::starts) follows what the thread does.
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
//!   if a multiple of 2^34 releases falls between the scans.)
//! - **F7** The epoch bit of a frame is inverted by each release into its word, in the exchange
//!   that frees the frame, and by nothing else.

use std::iter;

use crossbeam_utils::CachePadded;

use crate::crate_copy::{CrateCopy, this_copy};
use crate::error::CommitError;
use crate::label::Label;
use crate::memory::try_with_capacity;
use crate::sync::{Arc, AtomicU64, Ordering, prefetch};

use super::hints::{Hints, MAX_WORDS_WITHOUT_HINTS};
use super::shares::{ShareIndex, Shares};
use super::starts::{NextStart, Start, Starts};

const CLOSED: u64 = 1 << 15;
const WAITERS: u64 = 1 << 14;

/// Maximum number of frames per word.
const FRAMES_PER_WORD: usize = 14;
const FREE: u64 = ones(FRAMES_PER_WORD);
const EPOCH_SHIFT: u32 = 16;
const VERSION_SHIFT: u32 = 30;
const VERSION_STEP: u64 = 1 << VERSION_SHIFT;

/// Maximum number of words that frames are dealt to in turn.
const MAX_LANES: usize = 16;

/// The free list of a pool.
#[derive(Debug)]
pub(crate) struct FreeList {
    /// A `Vec`, not a `Box`: slots point into it, and moving a `Box` asserts unique access.
    shards: Vec<CachePadded<Shard>>,
    frames: usize,
    /// Binary logarithm of the number of lanes.
    lane_shift: u32,
    /// The distance of the offsets of two neighboring bits of a word.
    step: usize,
    starts: Starts,
    hints: Hints,
    made_by: &'static CrateCopy,
    /// The permits that callers need, if the pool has shares.
    shares: Option<Arc<Shares>>,
    /// Generation of the pool, which its wait queue compares.
    pub(crate) generation: u64,
}

/// A word and, in the same cache line, what a thread that has just changed the word needs.
#[derive(Debug)]
#[repr(C)]
struct Shard {
    word: AtomicU64,
    /// The offset of the frame of the lowest bit.
    first_offset: usize,
    /// Next start of a thread that takes a frame out of this word.
    next_start: Start,
    /// The frame of the lowest bit. The others follow at the distance of the number of lanes.
    first: usize,
    /// Number of bits that stand for frames.
    count: u32,
}

impl Shard {
    /// Takes the lowest free bit, unless another thread changes the word in the meantime: then the
    /// caller does better to go to another word. Returns the position of the bit with the value of
    /// the word before; otherwise returns the value of the word.
    #[inline(always)]
    fn take_first(&self) -> Result<(usize, u64), u64> {
        // Acquire: as in `take`.
        // mutant: take-first-load
        let seen = self.word.load(Ordering::Acquire);
        let free = seen & (CLOSED | FREE);
        // At least one frame is free, and `CLOSED` is not set.
        // mutant: take-first-checks-closed
        if !(1..=FREE).contains(&free) {
            return Err(seen);
        }
        // The lowest free bit is the lowest set bit of the word. Release: as in `take`.
        // mutant: take-first-exchange
        self.word
            .compare_exchange_weak(
                seen,
                seen & (seen - 1),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .map(|_| (seen.trailing_zeros() as usize, seen))
    }

    /// Takes up to `max` of the lowest free bits. Returns them with the value of the word before;
    /// otherwise returns the value of the word.
    #[inline(always)]
    fn take(&self, max: usize) -> Result<(u64, u64), u64> {
        // Acquire: pairs with the Release in `put_back`, takes over the frame's bytes (F2). Each
        // release changes the version, so between this load and an exchange of the same value only
        // flags have changed, and the exchange need not acquire once more. Also pairs with the
        // Release of the exchange in the thread that emptied this word. The second scan of
        // `take_elsewhere` then sees what that thread had put back into other words before (F6).
        // mutant: take-load
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let free = seen & FREE;
            // mutant: take-checks-closed
            if free == 0 || seen & CLOSED != 0 {
                return Err(seen);
            }
            let bits = lowest(free, max);
            // Release: pairs with the Acquire load above. Acquire, if it fails: as that load.
            // mutant: take-exchange
            match self.word.compare_exchange_weak(
                seen,
                seen & !bits,
                Ordering::Release,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok((bits, seen)),
                Err(now) => seen = now,
            }
        }
    }
}

/// The way in which frames are dealt to words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    /// Number of words that frames are dealt to in turn. It is rounded up to a power of two, at
    /// most 16.
    pub(crate) count: usize,
    /// True if a thread that only acquires goes from word to word.
    pub(crate) rotates: bool,
    /// True if threads remember where they last found or released a frame.
    pub(crate) remembers_starts: bool,
}

/// Frames, as bits of one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits {
    pub(crate) word: usize,
    pub(crate) bits: u64,
}

impl Bits {
    /// Returns the bits that [`put_back`] inverts for these frames: they become free, and their
    /// next epoch begins.
    #[inline(always)]
    pub(crate) fn flips(self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "free bits and epoch bits are in the lower half of a word"
        )]
        let flips = (self.bits | self.bits << EPOCH_SHIFT) as u32;
        flips
    }

    /// Returns the number of frames.
    #[inline(always)]
    pub(crate) fn count(self) -> usize {
        self.bits.count_ones() as usize
    }
}

/// Frames that were taken out of one word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) frames: Bits,
    /// The epoch of each frame, at the place of its bit. The bits of other frames have no meaning.
    epochs: u64,
}

impl Taken {
    /// Returns the number of frames.
    #[inline(always)]
    pub(crate) fn count(self) -> usize {
        self.frames.count()
    }
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
    /// Creates a list of `frames` free frames, open or closed.
    ///
    /// The list knows each frame by its offset as well: its number times `stride`.
    pub(crate) fn new(
        frames: usize,
        lanes: Lanes,
        stride: usize,
        open: bool,
    ) -> Result<Self, CommitError> {
        let Lanes {
            count,
            rotates,
            remembers_starts,
        } = lanes;
        let lanes = count.clamp(1, MAX_LANES).next_power_of_two();
        let per_group = lanes * FRAMES_PER_WORD;
        let words = frames / per_group * lanes + (frames % per_group).min(lanes);
        let flags = if open { 0 } else { CLOSED };
        let starts = Starts::new(if remembers_starts { words } else { 1 });
        let mut shards = try_with_capacity(words)?;
        for word in 0..words {
            let first = word / lanes * per_group + word % lanes;
            let in_word = (frames - first).div_ceil(lanes).min(FRAMES_PER_WORD);
            shards.push(CachePadded::new(Shard {
                word: AtomicU64::new(ones(in_word) | flags),
                first_offset: first * stride,
                next_start: starts.after(word, if rotates { lanes } else { 1 }),
                first,
                count: ones(in_word).count_ones(),
            }));
        }
        Ok(Self {
            shards,
            frames,
            lane_shift: lanes.ilog2(),
            step: stride * lanes,
            starts,
            hints: Hints::new(words)?,
            made_by: this_copy(),
            shares: None,
            generation: 0,
        })
    }

    /// Returns the list as one whose frames are taken with permits only, never by
    /// [`take_local`](Self::take_local).
    pub(crate) fn with_shares(mut self, shares: Option<Arc<Shares>>) -> Self {
        if shares.is_some() {
            // mutant: no-frame-without-a-permit
            self.starts.put_out_of_reach();
        }
        self.shares = shares;
        self
    }

    /// Returns the permits that a caller needs before it takes a frame, if it needs one.
    pub(crate) fn shares(&self) -> Option<&Arc<Shares>> {
        self.shares.as_ref()
    }

    /// Returns the list as that of another generation.
    pub(crate) fn of_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Returns the copy of the crate that made the list.
    #[inline(always)]
    pub(crate) fn made_by(&self) -> &'static CrateCopy {
        self.made_by
    }

    /// Makes the start of the calling thread.
    pub(crate) fn prepare_thread(&self) {
        self.starts.get();
    }

    /// Returns the share of the callers with this label.
    pub(crate) fn share_of(&self, label: Option<Label>) -> ShareIndex {
        let shares = self.shares.as_ref();
        shares.map_or(0, |shares| shares.index_of(label))
    }

    /// Returns the largest number of frames that callers with this label can ever have at one time.
    pub(crate) fn most_at_once(&self, label: Option<Label>) -> usize {
        match &self.shares {
            Some(shares) => shares.most(shares.index_of(label)),
            None => self.frames,
        }
    }

    /// Returns the number of frames, free or not.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// Returns the number of the frame at the lowest of the bits.
    #[inline(always)]
    pub(crate) fn frame_at(&self, Bits { word, bits }: Bits) -> usize {
        let frame = self.shards[word].first + ((bits.trailing_zeros() as usize) << self.lane_shift);
        debug_assert!(frame < self.frames(), "bits {bits:#x} of word {word}");
        frame
    }

    /// Returns the bit of a frame.
    pub(crate) fn place(&self, frame: usize) -> Bits {
        let lane_mask = (1 << self.lane_shift) - 1;
        // The frame's number among the frames of its lane.
        let turn = frame >> self.lane_shift;
        Bits {
            word: (turn / FRAMES_PER_WORD) << self.lane_shift | frame & lane_mask,
            bits: 1 << (turn % FRAMES_PER_WORD),
        }
    }

    /// Takes the lowest free bit of the word where the calling thread starts. Returns the offset of
    /// the frame, and its epoch. Finds none in a pool with shares.
    #[inline(always)]
    pub(crate) fn take_local(&self) -> Option<(usize, bool)> {
        let start = self.starts.get();
        let shard = self.shards.get(start.word())?;
        // Before the exchange, because loads after it cannot start until it is done.
        let (first, next, step) = (shard.first_offset, shard.next_start, self.step);
        let next_start = self.starts.next(next);
        let (index, seen) = match shard.take_first() {
            Ok(taken) => taken,
            Err(seen) => {
                self.leave_contended(start.word(), seen);
                return None;
            }
        };
        next_start.set();
        if start.is_moving() {
            prefetch(self.word(next.word()));
        }
        let epoch = seen >> EPOCH_SHIFT >> index & 1 != 0;
        Some((first + index * step, epoch))
    }

    /// Returns the word where the calling thread starts.
    fn start(&self) -> usize {
        let start = self.starts.get().word_in_reach();
        // A start is a hint, and may be one of a larger pool.
        if start < self.shards.len() { start } else { 0 }
    }

    /// Makes the calling thread start in the next word, if its acquire failed because another
    /// thread changed the word meanwhile. So two threads that meet in a word part.
    #[cold]
    fn leave_contended(&self, word: usize, seen: u64) {
        if seen & FREE != 0 && seen & CLOSED == 0 {
            self.starts.set(self.starts.at(word + 1));
        }
    }

    /// Takes 1 to `max` free frames out of several words, and passes those of each word to `each`
    /// before it goes to the next. Searches as [`take`](Self::take) does for a single frame, or if
    /// it finds none in the next words, and fails as it does.
    #[inline]
    pub(crate) fn take_many(
        &self,
        max: usize,
        mut each: impl FnMut(Taken),
    ) -> Result<(), TakeError> {
        // For a single frame, `search` looks at all words anyway.
        if max > 1 && self.take_near(max, &mut each) > 0 {
            return Ok(());
        }
        self.search(max).map(each)
    }

    /// Takes up to `max` free frames out of the next words, as far as they have any, and passes
    /// those of each word to `each`. Returns their number.
    #[inline]
    pub(crate) fn take_near(&self, max: usize, mut each: impl FnMut(Taken)) -> usize {
        let start = self.start();
        let words = (start..self.shards.len()).chain(0..start);
        let (mut left, mut last) = (max, start);
        for word in words.take(MAX_WORDS_WITHOUT_HINTS) {
            if let Ok(taken) = self.take_from(word, left) {
                left -= taken.count();
                last = word;
                each(taken);
                if left == 0 {
                    break;
                }
            }
        }
        if left < max {
            self.starts.set(self.shards[last].next_start);
        }
        max - left
    }

    /// Takes up to `max` free bits of one word. Searches the word where the thread starts, and then
    /// the other words.
    pub(crate) fn take(&self, max: usize) -> Result<Bits, TakeError> {
        self.search(max).map(|taken| taken.frames)
    }

    #[inline(always)]
    fn search(&self, max: usize) -> Result<Taken, TakeError> {
        let start = self.start();
        let taken = match self.take_from(start, max) {
            Ok(taken) => taken,
            Err(seen) if seen & CLOSED != 0 => return Err(TakeError::Closed),
            Err(_) => self.take_elsewhere(start, max)?,
        };
        self.starts.set(self.shards[taken.frames.word].next_start);
        Ok(taken)
    }

    /// Returns the offset of each of the frames, and its epoch.
    #[inline(always)]
    pub(crate) fn offsets_of(&self, taken: Taken) -> impl Iterator<Item = (usize, bool)> {
        let first = self.shards[taken.frames.word].first_offset;
        let mut left = taken.frames.bits;
        iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            Some((first + index * self.step, taken.epochs >> index & 1 != 0))
        })
    }

    /// Leaves a hint that a frame may be free in `word`. Must be called before `put_back`, while
    /// the frames still keep the pool alive.
    #[inline(always)]
    pub(crate) fn about_to_put_back(&self, word: &AtomicU64) {
        if self.hints.exist() {
            self.hints.set(self.index_of(word));
        }
    }

    /// Returns where a thread starts after it has released a frame of `word`.
    pub(crate) fn start_at(&self, word: usize) -> Start {
        self.starts.at(word)
    }

    /// Returns a start of this list for the calling thread, to be set later.
    #[inline(always)]
    pub(crate) fn next_start(&self, start: Start) -> NextStart {
        self.starts.next(start)
    }

    /// Takes up to `max` free bits of one word. Otherwise returns the value of the word.
    #[inline(always)]
    fn take_from(&self, word: usize, max: usize) -> Result<Taken, u64> {
        let (bits, seen) = self.shards[word].take(max)?;
        Ok(Taken {
            frames: Bits { word, bits },
            epochs: seen >> EPOCH_SHIFT,
        })
    }

    /// The rest of `search` if the first word has no free bit: scans all words until it finds a
    /// frame or has proof that none is free. It scans again only if a frame was released during the
    /// last scan, so some thread always makes progress.
    fn take_elsewhere(&self, start: usize, max: usize) -> Result<Taken, TakeError> {
        if let Some(taken) = self.take_by_hints(start, max) {
            return Ok(taken);
        }
        let mut before = None;
        loop {
            match self.scan(start, max)? {
                Scan::Taken(taken) => return Ok(taken),
                // mutant: second-scan
                Scan::Empty { versions } if before == Some(versions) || self.shards.len() == 1 => {
                    return Err(TakeError::AllOut);
                }
                Scan::Empty { versions } => before = Some(versions),
            }
        }
    }

    /// Scans all words once, from `start` on. Versions only grow, so their sum is the same in two
    /// scans only if every version is (F6).
    fn scan(&self, start: usize, max: usize) -> Result<Scan, TakeError> {
        let mut versions = 0;
        for word in (start..self.shards.len()).chain(0..start) {
            match self.take_from(word, max) {
                Ok(taken) => {
                    self.hints.set(word);
                    return Ok(Scan::Taken(taken));
                }
                Err(seen) if seen & CLOSED != 0 => return Err(TakeError::Closed),
                Err(seen) => versions += seen >> VERSION_SHIFT,
            }
        }
        Ok(Scan::Empty { versions })
    }

    fn take_by_hints(&self, start: usize, max: usize) -> Option<Taken> {
        self.hints
            .find(start, |word| self.take_from(word, max).ok())
    }

    /// Returns the word with this index, for [`put_back`].
    #[inline]
    pub(crate) fn word(&self, word: usize) -> &AtomicU64 {
        &self.shards[word].word
    }

    /// Returns the frames for which [`Bits::flips`] returned `flips`. `word` is a word of this
    /// list.
    pub(crate) fn bits_of(&self, word: &AtomicU64, flips: u32) -> Bits {
        Bits {
            word: self.index_of(word),
            bits: u64::from(flips) & FREE,
        }
    }

    /// Returns the index of a word of this list.
    #[inline(always)]
    fn index_of(&self, word: &AtomicU64) -> usize {
        // A shard begins with its word.
        let distance = std::ptr::from_ref(word).addr() - self.shards.as_ptr().addr();
        distance / size_of::<CachePadded<Shard>>()
    }

    /// Sets `WAITERS` in every word. Returns whether a frame may be free. The caller holds the lock
    /// of the wait queue. The words may be closed.
    pub(crate) fn set_waiters(&self) -> bool {
        // AcqRel, here and in the other slow calls, is more than F3 needs: F3 follows from the
        // order of changes to one word. A waiter does not notice the cost.
        self.count_free(|word| word.fetch_or(WAITERS, Ordering::AcqRel)) != 0
    }

    /// Clears `WAITERS` in every word. The caller holds the lock of the wait queue, which is
    /// empty.
    pub(crate) fn clear_waiters(&self) {
        for word in self.words() {
            word.fetch_and(!WAITERS, Ordering::AcqRel);
        }
    }

    /// Sets `CLOSED` in every word. Returns the number of frames that were out, counted word by
    /// word as the flags were set.
    pub(crate) fn close(&self) -> usize {
        // Release: pairs with the Acquire load in `Shard::take`. A caller that sees `CLOSED` finds
        // the reason for it.
        // mutant: close-words
        let free = self.count_free(|word| word.fetch_or(CLOSED, Ordering::AcqRel));
        self.frames() - free
    }

    /// Clears `CLOSED` in every word. Returns the number of frames that were out, counted word by
    /// word as the flags were cleared.
    pub(crate) fn open(&self) -> usize {
        let free = self.count_free(|word| word.fetch_and(!CLOSED, Ordering::AcqRel));
        self.frames() - free
    }

    /// Returns the number of free frames. It is exact while no thread acquires or releases. If a
    /// closed pool reports that all frames are free, they stay free until it opens (F4).
    pub(crate) fn free_frames(&self) -> usize {
        // Acquire: pairs with the Release in `put_back`. A caller that sees all frames back may
        // free their memory.
        self.count_free(|word| word.load(Ordering::Acquire))
    }

    /// Returns the frames that are out. Each word is read once, when the iterator reaches it.
    pub(crate) fn out(&self) -> impl Iterator<Item = usize> {
        self.shards.iter().flat_map(|shard| {
            // Acquire: pairs with the Release in `put_back`. It is more than a report needs.
            let free = shard.word.load(Ordering::Acquire);
            let is_out = move |bit: &u32| free & (1 << bit) == 0;
            let bits = (0..shard.count).filter(is_out);
            bits.map(|bit| shard.first + ((bit as usize) << self.lane_shift))
        })
    }

    fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.shards.iter().map(|shard| &shard.word)
    }

    /// Counts the free bits in the values that `read` returns for the words.
    fn count_free(&self, read: impl Fn(&AtomicU64) -> u64) -> usize {
        self.words()
            .map(|word| (read(word) & FREE).count_ones() as usize)
            .sum()
    }
}

/// Result of one scan of all words.
enum Scan {
    Taken(Taken),
    Empty { versions: u64 },
}

/// Puts back the frames for which [`Bits::flips`] returned `flips`, unless callers wait for a
/// frame.
///
/// This is a free function over the word alone. Once the exchange has succeeded, another thread
/// may free the pool (F5), so nothing else of the pool may be borrowed at that moment.
#[inline(always)]
pub(crate) fn put_back(word: &AtomicU64, flips: u32) -> PutBack {
    let mut seen = word.load(Ordering::Relaxed);
    loop {
        // mutant: put-back-checks-waiters
        if seen & WAITERS != 0 && seen & CLOSED == 0 {
            return PutBack::Wanted;
        }
        // By F1 the bits are clear, so flipping sets them.
        // mutant: version-step
        let after = seen.wrapping_add(VERSION_STEP) ^ u64::from(flips);
        // Release: pairs with the Acquire in `Shard::take`, hands over the frame's bytes (F2).
        // mutant: put-back-exchange
        match word.compare_exchange_weak(seen, after, Ordering::Release, Ordering::Relaxed) {
            // mutant: put-back-saw-closed
            Ok(_) if seen & CLOSED == 0 => return PutBack::Done,
            Ok(_) => return PutBack::DoneClosed,
            Err(now) => seen = now,
        }
    }
}

/// Returns the epoch of the frame of `flips`, or `None` if it is free in its word (F7).
pub(crate) fn epoch_if_out(word: &AtomicU64, flips: u32) -> Option<bool> {
    let flips = u64::from(flips);
    // Acquire: pairs with the Release in `put_back`, for reports.
    let seen = word.load(Ordering::Acquire);
    (seen & flips & FREE == 0).then_some(seen & flips & !FREE != 0)
}

/// Returns the lowest `count` bits.
const fn ones(count: usize) -> u64 {
    (1 << count) - 1
}

/// Returns the lowest of the free `bits` of a word, at most `max` of them.
#[inline]
fn lowest(bits: u64, max: usize) -> u64 {
    match max {
        1 => bits & bits.wrapping_neg(),
        FRAMES_PER_WORD.. => bits,
        _ if bits.count_ones() as usize <= max => bits,
        _ => bits & ((1 << position_of(bits, max)) - 1),
    }
}

/// Returns the position of the set bit of `bits` that has `below` set bits below it.
fn position_of(bits: u64, mut below: usize) -> u32 {
    let mut position = 0;
    for width in [8, 4, 2, 1] {
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

    fn list(frames: usize, lanes: usize) -> FreeList {
        let lanes = Lanes {
            count: lanes,
            rotates: true,
            remembers_starts: true,
        };
        FreeList::new(frames, lanes, 1, true).unwrap()
    }

    fn release(list: &FreeList, taken: Bits) -> PutBack {
        put_back(list.word(taken.word), taken.flips())
    }

    #[test]
    fn every_frame_is_taken_exactly_once_for_any_number_of_frames() {
        for frames in (1..300).chain([992, 1024, 4096, 65_536]) {
            for lanes in [1, 2, 3, 8, 16, 100] {
                let list = list(frames, lanes);
                let mut seen = vec![false; frames];
                while let Ok(taken) = list.take(1) {
                    let frame = list.frame_at(taken);
                    assert!(
                        !std::mem::replace(&mut seen[frame], true),
                        "frame {frame} of {frames} was taken twice"
                    );
                }
                assert!(
                    seen.iter().all(|&seen| seen),
                    "{frames} frames in {lanes} lanes"
                );
                assert_eq!(list.free_frames(), 0);
            }
        }
    }

    #[test]
    fn places_and_frame_numbers_agree() {
        for frames in [1, 7, 8, 9, 61, 112, 113, 119, 120, 500] {
            for lanes in [1, 4, 8] {
                let list = list(frames, lanes);
                let mut numbers: Vec<_> = list.out().collect();
                assert!(numbers.is_empty());
                for frame in 0..frames {
                    let place = list.place(frame);
                    assert_eq!(list.frame_at(place), frame);
                    list.word(place.word)
                        .fetch_and(!place.bits, Ordering::Relaxed);
                }
                numbers.extend(list.out());
                numbers.sort_unstable();
                assert_eq!(numbers, (0..frames).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn frames_are_dealt_to_words_in_turn() {
        let list = list(20, 8);
        let words: Vec<_> = (0..20).map(|frame| list.place(frame).word).collect();
        assert_eq!(words[..10], [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]);
        assert_eq!(list.shards.iter().map(|shard| shard.count).max(), Some(3));
        let frames: Vec<_> = (0..10).map(|_| list.take_local().unwrap().0).collect();
        assert_eq!(frames, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_lowest_free_bit_is_taken_first() {
        let list = list(14, 1);
        let first = list.take(1).unwrap();
        let second = list.take(1).unwrap();
        assert_eq!((first.bits, second.bits), (1, 2));
        assert_eq!(release(&list, first), PutBack::Done);
        assert_eq!(list.take(1).unwrap(), first);
    }

    #[test]
    fn several_frames_are_taken_and_put_back_at_once() {
        for (frames, max) in [(14, 14), (14, 1), (62, 31), (20, 7), (64, 32), (64, 64)] {
            let list = list(frames, 2);
            let mut taken = Vec::new();
            list.take_many(max, |word| taken.push(word)).unwrap();
            let count: usize = taken.iter().map(|taken| taken.count()).sum();
            assert_eq!((count, list.free_frames()), (max, frames - max));
            for taken in taken {
                assert_eq!(release(&list, taken.frames), PutBack::Done);
            }
            assert_eq!(list.free_frames(), frames);
        }
    }

    #[test]
    fn a_start_beyond_the_last_word_does_no_harm() {
        let list = list(20, 4);
        list.starts.set(Start::at(1000));
        assert_eq!(list.take_local(), None);
        assert_eq!(list.take(1).map(|taken| taken.word), Ok(0));
        list.starts.set(Start::at(usize::MAX / 4));
        let mut taken = 0;
        list.take_many(20, |word| taken += word.count()).unwrap();
        assert_eq!(taken, 19);
        list.starts.set(Start::at(1000));
        assert_eq!(list.take(1), Err(TakeError::AllOut));
    }

    /// F7.
    #[test]
    fn each_release_begins_an_epoch_of_its_frames_alone() {
        let list = list(3, 1);
        let epochs =
            || [0, 1, 2].map(|frame| epoch_if_out(list.word(0), list.place(frame).flips()));
        assert_eq!(epochs(), [None; 3]);
        let taken = list.take(2).unwrap();
        assert_eq!(epochs(), [Some(false), Some(false), None]);
        for expected in [true, false, true] {
            release(&list, Bits { bits: 1, ..taken });
            assert_eq!(epochs()[..2], [None, Some(false)]);
            let (_, epoch) = list.take_local().unwrap();
            assert_eq!(epoch, expected);
            assert_eq!(epochs()[..2], [Some(expected), Some(false)]);
        }
    }

    #[test]
    fn lowest_returns_the_lowest_set_bits() {
        let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..1000 {
            bits = bits.rotate_left(7).wrapping_mul(0xD134_2543_DE82_EF95);
            let bits = bits & FREE;
            for max in 1..=FRAMES_PER_WORD + 1 {
                let mut expected = 0;
                for bit in (0..FRAMES_PER_WORD)
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
    fn a_version_overflow_leaves_the_rest_of_the_word_unchanged() {
        let list = list(16, 2);
        let taken = list.take(1).unwrap();
        let version = u64::MAX << VERSION_SHIFT;
        list.word(taken.word).fetch_or(version, Ordering::Relaxed);
        assert_eq!(release(&list, taken), PutBack::Done);
        let epoch = taken.bits << EPOCH_SHIFT;
        assert_eq!(
            list.word(taken.word).load(Ordering::Relaxed),
            ones(8) | epoch
        );
    }

    #[test]
    fn a_closed_list_takes_frames_back_and_hands_none_out() {
        let list = list(8, 1);
        let taken = list.take(3).unwrap();
        assert_eq!(list.close(), 3);
        assert_eq!(list.take(1), Err(TakeError::Closed));
        assert_eq!(release(&list, taken), PutBack::DoneClosed);
        assert_eq!(list.open(), 0);
        assert_eq!(list.take(14).unwrap().bits, ones(8));
    }

    #[test]
    fn no_frame_is_put_back_while_waiters_is_set() {
        let list = list(8, 1);
        let all = list.take(14).unwrap();
        assert!(!list.set_waiters());
        assert_eq!(release(&list, all), PutBack::Wanted);
        list.clear_waiters();
        assert_eq!(release(&list, all), PutBack::Done);
    }

    #[test]
    fn a_frame_in_a_word_without_a_hint_is_found() {
        let list = list(65_536, 2);
        while list.take(14).is_ok() {}
        // Put back without a hint.
        let place = list.place(40_000);
        assert_eq!(release(&list, place), PutBack::Done);
        let taken = list.take(1).unwrap();
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

    fn list(frames: usize, lanes: usize) -> Arc<FreeList> {
        let lanes = Lanes {
            count: lanes,
            rotates: true,
            remembers_starts: true,
        };
        Arc::new(FreeList::new(frames, lanes, 1, true).unwrap())
    }

    fn release(list: &FreeList, taken: Bits) -> PutBack {
        put_back(list.word(taken.word), taken.flips())
    }

    /// F1, F2: a frame has one owner at a time, which sees all accesses of the last one.
    ///
    /// Kills: `Release` to `Relaxed` in `put_back`; `Acquire` to `Relaxed`, and `seen & !bits` to
    /// `seen`, in `take`.
    #[test]
    fn a_frame_has_one_owner_at_a_time() {
        loom::model(|| {
            let list = list(1, 1);
            let bytes = Arc::new(UnsafeCell::new(0));
            let use_once = |list: Arc<FreeList>, bytes: Arc<UnsafeCell<i32>>| {
                if let Ok(taken) = list.take(1) {
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

    /// F1, F2: the same for frames that are taken out of the word where a thread starts.
    ///
    /// Kills: `Acquire` to `Relaxed`, and `seen & (seen - 1)` to `seen`, in `take_first`.
    #[test]
    fn the_first_frame_of_a_word_has_one_owner_at_a_time() {
        loom::model(|| {
            let list = list(1, 1);
            let bytes = Arc::new(UnsafeCell::new(0));
            let use_once = |list: Arc<FreeList>, bytes: Arc<UnsafeCell<i32>>| {
                if let Some((frame, _)) = list.take_local() {
                    bytes.with_mut(|bytes| {
                        // SAFETY: as in the model above.
                        unsafe { *bytes += 1 }
                    });
                    assert_eq!(release(&list, list.place(frame)), PutBack::Done);
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

    /// Runs a model of two frames in two words, and of two threads that hold one frame at a time.
    /// One of them releases its frame and then acquires by `acquire`, which begins in the other
    /// word. The search of the other thread must find a frame.
    fn search_while_a_frame_moves(acquire: fn(&FreeList)) {
        loom::model(move || {
            let list = list(2, 2);
            let held = list.take(1).unwrap();
            let mover = {
                let list = list.clone();
                thread::spawn(move || {
                    assert_eq!(release(&list, held), PutBack::Done);
                    list.starts.set(Start::at(1));
                    acquire(&list);
                })
            };
            list.starts.set(Start::at(0));
            search(&list);
            mover.join().unwrap();
        });
    }

    /// Takes a frame, of which the other thread leaves one.
    fn search(list: &FreeList) {
        list.take(1)
            .expect("the other thread holds at most one of the two frames");
    }

    /// F6: no search reports that all frames are out, even if frames move during the search.
    ///
    /// Kills: no second scan in `take_elsewhere`; `Release` to `Relaxed` in `take`.
    #[test]
    fn a_search_fails_only_if_all_frames_were_out_at_once() {
        search_while_a_frame_moves(search);
    }

    /// F6: the same if the frame is taken out of the word where the thread starts.
    ///
    /// Kills: `Release` to `Relaxed` in `take_first`.
    #[test]
    fn fast_acquires_do_not_make_a_search_fail() {
        search_while_a_frame_moves(|list| {
            if list.take_local().is_none() {
                search(list);
            }
        });
    }

    /// F6: the same if the frame that moved moves back between the two scans.
    ///
    /// Kills: a version that does not change.
    #[test]
    fn a_search_notices_frames_that_move_back() {
        let mut model = loom::model::Builder::new();
        // The search has to be interrupted within both scans and between them.
        model.preemption_bound = Some(6);
        model.check(|| {
            let list = list(2, 2);
            let mut held = list.take(1).unwrap();
            let mover = {
                let list = list.clone();
                thread::spawn(move || {
                    for other in [1, 0, 1] {
                        assert_eq!(release(&list, held), PutBack::Done);
                        list.starts.set(Start::at(other));
                        held = list
                            .take(1)
                            .expect("the other thread holds at most one of the two frames");
                    }
                })
            };
            list.starts.set(Start::at(0));
            search(&list);
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
            let held = list.take(1).unwrap();
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
