//! Permits of the shares of a pool: who may take a frame at all.
//!
//! The module handles numbers only, knows no frame, and is safe code. A pool with shares has one
//! permit per frame. A caller draws a permit before it takes a frame, and gives it back before the
//! frame goes back. The free list and the wait queue see only callers with permits, and work as in
//! a pool without shares.
//!
//! # Units
//!
//! Each share has a word of its own: the frames that it has (*held*), its reserve and its limit. A
//! share uses max(held, reserve) *units*; all other units are *common*, in a word that all shares
//! have in common.
//!
//! | change | units of the share | common units |
//! |---|---|---|
//! | draw, held below the reserve | as before | as before |
//! | draw, held at the reserve or above | 1 more | 1 less, which is taken first |
//! | give, held above the reserve | 1 less | 1 more, added afterwards |
//! | give, held at the reserve or below | as before | as before |
//! | raise of the reserve, held above it | as before | as before |
//! | raise of the reserve, held at it or below | 1 more | 1 less, which is taken first |
//! | cut of the reserve | fewer | more, added afterwards |
//!
//! # Invariants
//!
//! - **Q1** The units of all shares and the common units are together at most the frames of the
//!   pool: a unit is taken out of one word before it is added to another. So there are never more
//!   permits than frames, and a draw below the reserve needs nothing but the share's own word.
//! - **Q2** A permit is drawn before a frame is taken, and given back before the frame is put back.
//!   So at any moment as many frames as there are callers with a permit and without a frame are
//!   free, or held by callers without a permit, which are about to put them back. Such a caller
//!   waits for a frame like a caller of a pool without shares.
//! - **Q3** `QUEUED` is set in the word of each share with a queued caller whenever the lock of the
//!   wait queue is free; and in the common word whenever a queued caller has failed for want of
//!   common units, or a reserve is not complete. It is set before a queued caller draws, and both
//!   change the same words as a give. So a give that makes units free for a queued caller finds the
//!   flag, or the caller's draw finds the units. A flag may be set longer than that.
//! - **Q4** A call that finds `QUEUED` in a word from which it wants units draws under the lock,
//!   behind the queued callers. So no caller overtakes them.
//! - **Q5** Under the lock, permits go to reserves that are not complete, and then to queued
//!   callers in their order. A caller is passed over if another of its share is queued before it,
//!   if its share has the limit, or if it wants common units, and a reserve or a caller before it
//!   wants some too. A caller that wants several permits gets all at once, so no two keep permits
//!   from each other.
//! - **Q6** A raised reserve is complete only as far as units were free for it. What is missing is
//!   taken from the units that become common next.
//!
//! All accesses are *Relaxed*: the words protect numbers only, each change is one read-modify-write
//! of one word, and Q3 follows from the order of changes to one word. What the holders of a frame
//! do with it is ordered by the free list (F2) and the wait queue.

use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::diagnostics::nanoseconds;
use crate::error::{CommitError, ShareError};
use crate::label::Label;
use crate::memory::try_with_capacity;
use crate::share::{Share, ShareShortage, ShareUsage};
use crate::sync::{AtomicU64, Ordering, unmodeled};

/// Index of a share in its pool. 0 stands for all callers without one.
pub(crate) type ShareIndex = usize;

/// Flag of a share's word, and of the common word: see Q3.
const QUEUED: u64 = 1 << 63;

/// Part of the common word that is the number of common units.
const COMMON: u64 = !QUEUED;

/// The word of a share:
///
/// ```text
///    63     62 ............ 48    47 ... 32    31 ... 16    15 ... 0
///  QUEUED   permits drawn since   limit        reserve      held
///           the last look
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

impl Word {
    const FIELD: u64 = u16::MAX as u64;
    const RESERVE_SHIFT: u32 = 16;
    const LIMIT_SHIFT: u32 = 32;
    const DRAWN_SHIFT: u32 = 48;
    const MAX_DRAWN: u64 = (1 << 15) - 1;

    fn new(reserve: u64, limit: u64) -> Self {
        Self(reserve << Self::RESERVE_SHIFT | limit << Self::LIMIT_SHIFT)
    }

    fn held(self) -> u64 {
        self.0 & Self::FIELD
    }

    fn reserve(self) -> u64 {
        self.0 >> Self::RESERVE_SHIFT & Self::FIELD
    }

    fn limit(self) -> u64 {
        self.0 >> Self::LIMIT_SHIFT & Self::FIELD
    }

    fn drawn(self) -> u64 {
        self.0 >> Self::DRAWN_SHIFT & Self::MAX_DRAWN
    }

    fn is_queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    fn units(self) -> u64 {
        self.held().max(self.reserve())
    }

    /// Returns the word after a draw, or `None` if the number of permits drawn overflows.
    fn after_draw(self, permits: u64) -> Option<Self> {
        let fits = self.drawn() + permits <= Self::MAX_DRAWN;
        fits.then(|| Self(self.0 + permits + (permits << Self::DRAWN_SHIFT)))
    }

    fn after_give(self, permits: u64) -> Self {
        Self(self.0 - permits)
    }

    fn with_reserve(self, reserve: u64) -> Self {
        Self(self.0 & !(Self::FIELD << Self::RESERVE_SHIFT) | reserve << Self::RESERVE_SHIFT)
    }

    fn with_limit(self, limit: u64) -> Self {
        Self(self.0 & !(Self::FIELD << Self::LIMIT_SHIFT) | limit << Self::LIMIT_SHIFT)
    }

    fn with_drawn(self, drawn: u64) -> Self {
        Self(self.0 & !(Self::MAX_DRAWN << Self::DRAWN_SHIFT) | drawn << Self::DRAWN_SHIFT)
    }
}

/// The permits of a pool.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Numbers of the labels, 0 for the callers without a share. Each acquire reads some, so they
    /// are away from the cells, whose cache lines change.
    labels: Vec<u16>,
    cells: Vec<CachePadded<Cell>>,
    /// Number of common units, and `QUEUED`.
    common: CachePadded<AtomicU64>,
    frames: u64,
}

/// One share.
#[derive(Debug)]
struct Cell {
    word: AtomicU64,
    /// Reserve that was asked for (Q6). Written with the lock of the queue held.
    wanted_reserve: unmodeled::AtomicU64,
    /// Limit that was asked for, or `NO_LIMIT`. It may be more than the pool has frames, which is
    /// the limit in the word then. Written with the lock of the queue held.
    wanted_limit: unmodeled::AtomicU64,
    most_held: unmodeled::AtomicU64,
    /// Permits drawn before those in the word.
    drawn_before: unmodeled::AtomicU64,
    waits: unmodeled::AtomicU64,
    /// In nanoseconds.
    total_wait: unmodeled::AtomicU64,
    /// In nanoseconds.
    longest_wait: unmodeled::AtomicU64,
}

/// Stands for no limit.
const NO_LIMIT: u64 = u64::MAX;

/// The reason why a draw failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The share would have more than its limit.
    Limit,
    /// There are too few common units.
    Common,
    /// The call has to draw under the lock: callers are queued, or the count of permits is full.
    Queued,
}

/// Some of the shares of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShareSet(u32);

// The callers without a share are one more.
const _: () = assert!(Share::MAX_SHARES < u32::BITS as usize);

impl ShareSet {
    pub(crate) fn contains(self, share: ShareIndex) -> bool {
        self.0 & 1 << share != 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Adds a share. Returns false if it was in the set before.
    pub(crate) fn insert(&mut self, share: ShareIndex) -> bool {
        let is_new = !self.contains(share);
        self.0 |= 1 << share;
        is_new
    }
}

/// Number of permits that a caller wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// At least 1.
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl Wanted {
    pub(crate) fn exactly(permits: usize) -> Self {
        Self {
            min: permits,
            max: permits,
        }
    }

    pub(crate) fn up_to(max: usize) -> Self {
        Self { min: 1, max }
    }
}

/// Units that a caller may draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The caller does not hold the lock of the queue.
    Unqueued,
    /// The caller holds the lock, and it is its turn.
    Any,
    /// The caller holds the lock, and others that want common units come first.
    Reserve,
}

impl Shares {
    /// Makes the permits of a pool of `frames` frames.
    pub(crate) fn new(shares: &[Share], frames: usize) -> Result<Self, CommitError> {
        if frames > Share::MAX_FRAMES || shares.len() > Share::MAX_SHARES {
            return Err(CommitError::Shares(ShareError::TooMany {
                shares: shares.len(),
                frames,
            }));
        }
        let mut common = frames;
        let mut labels = try_with_capacity(shares.len() + 1)?;
        labels.push(Label::to_number(None));
        let mut cells = try_with_capacity(shares.len() + 1)?;
        cells.push(CachePadded::new(Cell::new(0, None, frames)));
        for share in shares {
            check(share)?;
            common = common
                .checked_sub(share.reserve)
                .ok_or_else(|| ShareError::Reserves {
                    reserved: sum(shares.iter().map(|share| share.reserve)),
                    frames,
                })?;
            labels.push(Label::to_number(Some(share.label)));
            let cell = Cell::new(share.reserve, share.limit, frames);
            cells.push(CachePadded::new(cell));
        }
        Ok(Self {
            labels,
            cells,
            common: CachePadded::new(AtomicU64::new(common as u64)),
            frames: frames as u64,
        })
    }

    /// Returns the shares as they are now, for a pool that follows.
    pub(crate) fn declared(&self) -> Vec<Share> {
        let shares = self.cells.iter().enumerate().filter_map(|(index, cell)| {
            let limit = cell.wanted_limit.load(Ordering::Relaxed);
            Some(Share {
                label: self.label(index)?,
                reserve: cell.wanted_reserve(),
                limit: (limit != NO_LIMIT).then_some(to_usize(limit)),
            })
        });
        shares.collect()
    }

    fn label(&self, share: ShareIndex) -> Option<Label> {
        Label::from_number(self.labels[share])
    }

    fn find(&self, label: Option<Label>) -> Option<ShareIndex> {
        let number = Label::to_number(label);
        self.labels.iter().position(|&label| label == number)
    }

    /// Returns the share of the callers with this label.
    pub(crate) fn index_of(&self, label: Option<Label>) -> ShareIndex {
        self.find(label).unwrap_or(0)
    }

    /// Returns the number of frames that are to be reserved for other shares.
    fn reserved_by_others(&self, share: ShareIndex) -> usize {
        let others = self.cells.iter().enumerate().filter(|&(at, _)| at != share);
        sum(others.map(|(_, cell)| cell.wanted_reserve()))
    }

    /// Returns the largest number of frames that the share can ever have at one time, as the shares
    /// are now.
    pub(crate) fn most(&self, share: ShareIndex) -> usize {
        let unreserved = to_usize(self.frames).saturating_sub(self.reserved_by_others(share));
        to_usize(self.cells[share].load().limit()).min(unreserved)
    }

    fn is_limited(&self, word: Word) -> bool {
        word.limit() < self.frames
    }

    /// Returns how the share of the callers with this label keeps them from `wanted` more frames at
    /// this moment, if it does.
    pub(crate) fn shortage_of(&self, label: Option<Label>, wanted: usize) -> Option<ShareShortage> {
        let share = self.index_of(label);
        let word = self.cells[share].load();
        let (held, label) = (to_u16(word.held()), self.label(share));
        let after = word.held().saturating_add(wanted as u64);
        if after > word.limit() {
            // Without a limit, all frames are out, which is not for the share to say.
            return self.is_limited(word).then_some(ShareShortage::Limit {
                share: label,
                held,
                limit: to_u16(word.limit()),
            });
        }
        let missing = after.saturating_sub(word.units());
        let is_short = missing > self.common.load(Ordering::Relaxed) & COMMON;
        // Without reserves, too, all frames are out.
        let is_reserved = to_usize(self.frames) > self.most(share);
        (is_short && is_reserved).then_some(ShareShortage::Common { share: label, held })
    }

    /// Draws permits without the lock of the queue.
    ///
    /// The second result is true if the caller has to [serve the queue]: the call took a common
    /// unit in vain, and a queued caller may be able to use it.
    ///
    /// [serve the queue]: super::wait_queue::WaitQueue::serve
    pub(crate) fn draw(&self, share: ShareIndex, wanted: Wanted) -> (Result<usize, Denied>, bool) {
        self.draw_from(share, wanted, Source::Unqueued)
    }

    /// Draws permits with the lock of the queue held. Without `may_use_common` the permits are
    /// those of the reserve only.
    pub(crate) fn draw_in_turn(
        &self,
        share: ShareIndex,
        wanted: Wanted,
        may_use_common: bool,
    ) -> Result<usize, Denied> {
        let source = match may_use_common {
            true => Source::Any,
            false => Source::Reserve,
        };
        loop {
            let (drawn, _) = self.draw_from(share, wanted, source);
            if drawn != Err(Denied::Queued) {
                return drawn;
            }
            // With the lock held only a full count is left as the reason.
            self.cells[share].fold_drawn();
        }
    }

    fn draw_from(
        &self,
        share: ShareIndex,
        Wanted { min, max }: Wanted,
        source: Source,
    ) -> (Result<usize, Denied>, bool) {
        let cell = &self.cells[share];
        let (min, max) = (min as u64, (max as u64).min(Word::MAX_DRAWN));
        let mut seen = cell.load();
        // Common units that were taken out of their word (Q1).
        let mut in_hand = 0;
        let result = loop {
            if source == Source::Unqueued && seen.is_queued() {
                break Err(Denied::Queued);
            }
            // mutant: draw-within-the-limit
            let room = seen.limit().saturating_sub(seen.held());
            if room < min {
                break Err(match self.is_limited(seen) {
                    true => Denied::Limit,
                    false => Denied::Common,
                });
            }
            let wanted = max.min(room);
            let own = seen.units() - seen.held();
            let missing = wanted.saturating_sub(own).saturating_sub(in_hand);
            if missing > 0 {
                match self.take_common(missing, source) {
                    Ok(units) => in_hand += units,
                    Err(denied) => break Err(denied),
                }
            }
            let permits = wanted.min(own + in_hand);
            if permits < min {
                break Err(Denied::Common);
            }
            let Some(after) = seen.after_draw(permits) else {
                break Err(Denied::Queued);
            };
            match cell.exchange(seen, after) {
                Ok(()) => {
                    in_hand -= after.units() - seen.units();
                    break Ok(to_usize(permits));
                }
                Err(now) => seen = now,
            }
        };
        // mutant: draw-returns-common-units
        (result, self.add_common(in_hand))
    }

    /// Takes up to `units` common units, maybe none.
    fn take_common(&self, units: u64, source: Source) -> Result<u64, Denied> {
        if source == Source::Reserve {
            return Ok(0);
        }
        let mut seen = self.common.load(Ordering::Relaxed);
        loop {
            if source == Source::Unqueued && seen & QUEUED != 0 {
                return Err(Denied::Queued);
            }
            let taken = units.min(seen & COMMON);
            let exchange = self.common.compare_exchange_weak(
                seen,
                seen - taken,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match exchange {
                Ok(_) => return Ok(taken),
                Err(now) => seen = now,
            }
        }
    }

    /// Adds units to the common ones. Returns whether a queued caller may be able to use them.
    #[must_use = "the caller has to serve the queue if this is true"]
    fn add_common(&self, units: u64) -> bool {
        // mutant: common-finds-the-queue
        units > 0 && self.common.fetch_add(units, Ordering::Relaxed) & QUEUED != 0
    }

    /// Notes that the share has frames for all permits that it drew.
    pub(crate) fn note_held(&self, share: ShareIndex) {
        let cell = &self.cells[share];
        let held = cell.load().held();
        // Mostly no new maximum, and then nothing is written.
        if held > cell.most_held.load(Ordering::Relaxed) {
            cell.most_held.fetch_max(held, Ordering::Relaxed);
        }
    }

    /// Takes permits off the count of those drawn, which are about to be given back unused.
    pub(crate) fn uncount(&self, share: ShareIndex, permits: usize) {
        let (cell, permits) = (&self.cells[share], permits as u64);
        let (before, _) = cell.update(|word| match word.drawn().checked_sub(permits) {
            Some(drawn) => word.with_drawn(drawn),
            None => word,
        });
        if before.drawn() < permits {
            cell.drawn_before.fetch_sub(permits, Ordering::Relaxed);
        }
    }

    /// Gives permits back. Returns whether the caller has to [serve the queue].
    ///
    /// [serve the queue]: super::wait_queue::WaitQueue::serve
    #[must_use = "the caller has to serve the queue if this is true"]
    pub(crate) fn give(&self, share: ShareIndex, permits: usize) -> bool {
        if permits == 0 {
            return false;
        }
        let permits = permits as u64;
        let cell = &self.cells[share];
        let before = Word(cell.word.fetch_sub(permits, Ordering::Relaxed));
        debug_assert!(before.held() >= permits, "{permits} of {before:?}");
        // mutant: give-frees-common-units
        let serves_others = self.add_common(before.units() - before.after_give(permits).units());
        // mutant: give-finds-the-queue
        before.is_queued() || serves_others
    }

    /// Notes that a caller of the share is queued (Q3). The lock of the queue is held, and the
    /// queue is served afterwards.
    pub(crate) fn set_queued(&self, share: ShareIndex) {
        // mutant: queue-marks-the-share
        self.cells[share].word.fetch_or(QUEUED, Ordering::Relaxed);
    }

    /// Notes that a caller or a reserve may want common units (Q3). The lock of the queue is held.
    pub(crate) fn set_common_wanted(&self) {
        // mutant: queue-marks-the-common-word
        self.common.fetch_or(QUEUED, Ordering::Relaxed);
    }

    /// Notes which shares have queued callers, and whether one of these wants common units. The
    /// lock of the queue is held.
    pub(crate) fn mark_queued(&self, queued: ShareSet, wants_common: bool) {
        for (share, cell) in self.cells.iter().enumerate() {
            match (queued.contains(share), cell.load().is_queued()) {
                (true, false) => drop(cell.word.fetch_or(QUEUED, Ordering::Relaxed)),
                (false, true) => drop(cell.word.fetch_and(!QUEUED, Ordering::Relaxed)),
                (true, true) | (false, false) => {}
            }
        }
        if !wants_common && !self.lacks_reserve() {
            self.common.fetch_and(COMMON, Ordering::Relaxed);
        }
    }

    /// Changes the reserve and the limit of a share. The lock of the queue is held, and the caller
    /// serves the queue afterwards.
    pub(crate) fn change(&self, changed: &Share) -> Result<(), ShareError> {
        check(changed)?;
        let label = changed.label;
        let unknown = ShareError::Unknown { label };
        let share = self.find(Some(label)).ok_or(unknown)?;
        let frames = to_usize(self.frames);
        let others = self.reserved_by_others(share);
        let reserved = others.saturating_add(changed.reserve);
        if reserved > frames {
            return Err(ShareError::Reserves { reserved, frames });
        }
        let cell = &self.cells[share];
        let limit = changed.limit.unwrap_or(frames).min(frames) as u64;
        let reserve = changed.reserve as u64;
        cell.wanted_reserve.store(reserve, Ordering::Relaxed);
        cell.wanted_limit
            .store(wanted_limit(changed.limit), Ordering::Relaxed);
        let (before, after) = cell.update(|word| {
            let reserve = word.reserve().min(reserve);
            word.with_limit(limit).with_reserve(reserve)
        });
        // The caller serves the queue anyway.
        let _served_by_the_caller = self.add_common(before.units() - after.units());
        // A give from now on finds a reserve that is not complete (Q3).
        self.set_common_wanted();
        Ok(())
    }

    /// Takes over the reserves and limits of another generation. A reserve that does not fit stays
    /// as it is, and so does a limit that is less.
    pub(crate) fn adopt(&self, other: &Self) {
        // Twice, because a reserve may only fit once another is cut.
        for _ in 0..2 {
            for (share, own) in other.declared().iter().zip(self.declared()) {
                let reserve = own.reserve;
                if self.change(share).is_err() {
                    let _kept = self.change(&Share { reserve, ..*share });
                }
            }
        }
    }

    /// Completes the reserves as far as there are common units (Q6). Returns whether all are
    /// complete. The lock of the queue is held.
    pub(crate) fn complete_reserves(&self) -> bool {
        let mut are_complete = true;
        for cell in &self.cells {
            while cell.lacks_reserve() {
                if !self.raise_reserve(cell) {
                    are_complete = false;
                    break;
                }
            }
        }
        are_complete
    }

    fn lacks_reserve(&self) -> bool {
        self.cells.iter().any(|cell| cell.lacks_reserve())
    }

    /// Raises the reserve of a share by 1, if there is a unit for it.
    fn raise_reserve(&self, cell: &Cell) -> bool {
        let mut in_hand = 0;
        let mut seen = cell.load();
        loop {
            let after = seen.with_reserve(seen.reserve() + 1);
            let missing = after.units() - seen.units();
            // mutant: raise-takes-a-unit
            if missing > in_hand {
                in_hand += self.take_common(1, Source::Any).unwrap_or(0);
                if in_hand < missing {
                    return false;
                }
            }
            match cell.exchange(seen, after) {
                Ok(()) => {
                    // The lock is held, so the caller serves the queue afterwards.
                    let _served_by_the_caller = self.add_common(in_hand - missing);
                    return true;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Counts a wait of the share that has ended.
    pub(crate) fn count_wait(&self, share: ShareIndex, duration: Duration) {
        let cell = &self.cells[share];
        let took = nanoseconds(duration);
        cell.waits.fetch_add(1, Ordering::Relaxed);
        cell.total_wait.fetch_add(took, Ordering::Relaxed);
        cell.longest_wait.fetch_max(took, Ordering::Relaxed);
    }

    /// Returns the use of all shares, that of the callers without a share last. The lock of the
    /// queue is held.
    pub(crate) fn usage(&self) -> Vec<ShareUsage> {
        let others_last = (1..self.cells.len()).chain([0]);
        let usage = others_last.map(|share| self.cells[share].usage(self.label(share)));
        usage.collect()
    }
}

impl Cell {
    fn new(reserve: usize, limit: Option<usize>, frames: usize) -> Self {
        let reserve = reserve as u64;
        let zero = || unmodeled::AtomicU64::new(0);
        let in_word = limit.unwrap_or(frames).min(frames) as u64;
        Self {
            word: AtomicU64::new(Word::new(reserve, in_word).0),
            wanted_reserve: unmodeled::AtomicU64::new(reserve),
            wanted_limit: unmodeled::AtomicU64::new(wanted_limit(limit)),
            most_held: zero(),
            drawn_before: zero(),
            waits: zero(),
            total_wait: zero(),
            longest_wait: zero(),
        }
    }

    fn wanted_reserve(&self) -> usize {
        to_usize(self.wanted_reserve.load(Ordering::Relaxed))
    }

    fn load(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    fn exchange(&self, seen: Word, after: Word) -> Result<(), Word> {
        let (relaxed, Word(seen), Word(after)) = (Ordering::Relaxed, seen, after);
        let exchange = self
            .word
            .compare_exchange_weak(seen, after, relaxed, relaxed);
        exchange.map(|_| ()).map_err(Word)
    }

    /// Replaces the word by what `change` returns for it. Returns it as it was before and after.
    fn update(&self, change: impl Fn(Word) -> Word) -> (Word, Word) {
        let mut seen = self.load();
        loop {
            let after = change(seen);
            match self.exchange(seen, after) {
                Ok(()) => return (seen, after),
                Err(now) => seen = now,
            }
        }
    }

    fn lacks_reserve(&self) -> bool {
        self.load().reserve() < self.wanted_reserve.load(Ordering::Relaxed)
    }

    /// Moves the count of permits out of the word. The lock of the queue is held.
    fn fold_drawn(&self) {
        let (before, _) = self.update(|word| word.with_drawn(0));
        self.drawn_before
            .fetch_add(before.drawn(), Ordering::Relaxed);
    }

    fn usage(&self, share: Option<Label>) -> ShareUsage {
        let word = self.load();
        let duration =
            |counter: &unmodeled::AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed));
        ShareUsage {
            share,
            reserve: self.wanted_reserve(),
            reserved: to_usize(word.reserve()),
            limit: to_usize(word.limit()),
            held: to_usize(word.held()),
            most_held: to_usize(self.most_held.load(Ordering::Relaxed)),
            acquires: self.drawn_before.load(Ordering::Relaxed) + word.drawn(),
            waits: self.waits.load(Ordering::Relaxed),
            total_wait: duration(&self.total_wait),
            longest_wait: duration(&self.longest_wait),
        }
    }
}

fn wanted_limit(limit: Option<usize>) -> u64 {
    limit.map_or(NO_LIMIT, |limit| limit as u64)
}

/// Checks what can be wrong with a share by itself.
fn check(share: &Share) -> Result<(), ShareError> {
    match share.limit {
        Some(limit) if limit < share.reserve => Err(ShareError::Limit {
            label: share.label,
            reserve: share.reserve,
            limit,
        }),
        _ => Ok(()),
    }
}

fn sum(numbers: impl Iterator<Item = usize>) -> usize {
    numbers.fold(0, usize::saturating_add)
}

/// All numbers of this module were a `usize` before.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn to_u16(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn reserves_that_moved_from_one_share_to_another_are_adopted() {
        let share = |name, reserve| Share::new(name).reserve(reserve).limit(4);
        let make = |one, two| Shares::new(&[share("one", one), share("two", two)], 4).unwrap();
        let old = make(3, 0);
        for next in [make(0, 3), make(0, 0), make(1, 1), make(3, 0)] {
            next.adopt(&old);
            assert_eq!(next.declared(), old.declared());
        }
        // As far as they fit: the limits are taken over in any case.
        let small = Shares::new(&[share("one", 0), share("two", 0).limit(1)], 2).unwrap();
        small.adopt(&old);
        assert_eq!(small.declared(), [share("one", 0), share("two", 0)]);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use loom::thread;

    use super::*;
    use crate::frame_pool::FramePool;
    use crate::framing::Framing;
    use crate::mode::AllocatorMode;
    use crate::pool::config::PoolConfig;
    use crate::pool::pool_state::PoolState;

    fn config(frames: usize, shares: &[Share]) -> PoolConfig {
        PoolConfig {
            shares: shares.to_vec(),
            shards: Some(1),
            ..PoolConfig::new(
                Framing::new(frames, 1).actual().unwrap(),
                AllocatorMode::User,
            )
        }
    }

    fn pool(frames: usize, shares: &[Share]) -> FramePool {
        FramePool::new(&config(frames, shares), PoolState::OPEN).unwrap()
    }

    fn share() -> Share {
        Share::new("share")
    }

    /// Checks that all frames, permits and units are back.
    fn check_all_back(pool: &FramePool) {
        let shares = pool.core().free.shares().unwrap();
        assert_eq!(pool.free_frames(), pool.frames());
        let units: u64 = shares.cells.iter().map(|cell| cell.load().units()).sum();
        assert!(shares.cells.iter().all(|cell| cell.load().held() == 0));
        let common = shares.common.load(Ordering::Relaxed) & COMMON;
        assert_eq!(units + common, shares.frames);
    }

    /// Draws and counts the permits that are out, which are never more than the frames.
    fn draw_counted(shares: &Shares, share: ShareIndex, out: &AtomicU64) -> bool {
        let (drawn, _) = shares.draw(share, Wanted::up_to(1));
        if drawn.is_ok() {
            let before = out.fetch_add(1, Ordering::Relaxed);
            assert!(before < shares.frames, "more permits than frames");
        }
        drawn.is_ok()
    }

    fn give_counted(shares: &Shares, share: ShareIndex, out: &AtomicU64) {
        out.fetch_sub(1, Ordering::Relaxed);
        let _no_caller_is_queued = shares.give(share, 1);
    }

    /// Q1: there are never more permits than frames, and a share that has less than its reserve
    /// gets a permit, whatever other callers draw and give.
    ///
    /// Kills: common units given twice, or not at all.
    #[test]
    fn permits_never_exceed_the_frames() {
        loom::model(|| {
            let shares = Arc::new(Shares::new(&[share().reserve(1)], 2).unwrap());
            let out = Arc::new(AtomicU64::new(0));
            let others = {
                let (shares, out) = (Arc::clone(&shares), Arc::clone(&out));
                thread::spawn(move || {
                    if draw_counted(&shares, 0, &out) {
                        give_counted(&shares, 0, &out);
                    }
                })
            };
            assert!(draw_counted(&shares, 1, &out), "the reserve is there");
            let second = draw_counted(&shares, 1, &out);
            give_counted(&shares, 1, &out);
            if second {
                give_counted(&shares, 1, &out);
            }
            others.join().unwrap();
            assert_eq!(shares.cells[1].load().held(), 0);
            assert_eq!(shares.common.load(Ordering::Relaxed), 1);
        });
    }

    /// Q1: callers of one share that draw and give at the same time stay within its limit, and
    /// return what they took in vain.
    ///
    /// Kills: the limit looked at only once; common units kept after a draw in vain.
    #[test]
    fn callers_of_one_share_stay_within_its_limit() {
        loom::model(|| {
            let shares = Arc::new(Shares::new(&[share().limit(1)], 2).unwrap());
            let out = Arc::new(AtomicU64::new(0));
            let drawer = {
                let (shares, out) = (Arc::clone(&shares), Arc::clone(&out));
                thread::spawn(move || {
                    if draw_counted(&shares, 1, &out) {
                        assert!(shares.cells[1].load().held() <= 1);
                        give_counted(&shares, 1, &out);
                    }
                })
            };
            if draw_counted(&shares, 1, &out) {
                assert!(shares.cells[1].load().held() <= 1);
                give_counted(&shares, 1, &out);
            }
            drawer.join().unwrap();
            assert_eq!(shares.common.load(Ordering::Relaxed), 2);
        });
    }

    /// Q3: a caller that is queued while another of its share gives its permit back, gets it.
    ///
    /// Kills: `give` not finding the flag; the flag not set; the queued caller not looking again.
    #[test]
    fn a_caller_at_its_limit_gets_the_permit_that_comes_back() {
        loom::model(|| {
            let pool = pool(2, &[share().limit(1)]);
            let limited = pool.with_label("share");
            let frame = limited.try_acquire().unwrap();
            let releaser = thread::spawn(move || drop(frame));
            drop(limited.acquire().unwrap());
            releaser.join().unwrap();
            check_all_back(&pool);
        });
    }

    /// Q3: a caller that is queued while another share gives a common unit back, gets it.
    ///
    /// Kills: common units not given back; the flag of the common word not found, or not set; no
    /// `WAITERS` for a caller that has a permit.
    #[test]
    fn a_caller_gets_the_common_unit_of_another_share() {
        loom::model(|| {
            let pool = pool(1, &[share()]);
            let frame = pool.with_label("share").try_acquire().unwrap();
            let releaser = thread::spawn(move || drop(frame));
            drop(pool.acquire().unwrap());
            releaser.join().unwrap();
            check_all_back(&pool);
        });
    }

    /// Q2: a call that drew a permit and finds no frame, because the frame is just being released,
    /// gives the permit back.
    ///
    /// Kills: a permit that is not used kept.
    #[test]
    fn a_permit_drawn_in_vain_is_given_back() {
        loom::model(|| {
            let pool = pool(1, &[share()]);
            let frame = pool.try_acquire().unwrap();
            let releaser = thread::spawn(move || drop(frame));
            drop(pool.try_acquire());
            drop(pool.acquire().unwrap());
            releaser.join().unwrap();
            check_all_back(&pool);
        });
    }

    /// W10: no permit is lost if a wait is canceled while a frame is on its way.
    ///
    /// Kills: the permit of a canceled entry, of a frame that arrives in vain, or of one that is
    /// not used, not given back.
    #[test]
    fn a_canceled_wait_loses_no_permit() {
        loom::model(|| {
            let pool = pool(1, &[share()]);
            let limited = pool.with_label("share");
            let frame = limited.try_acquire().unwrap();
            let releaser = thread::spawn(move || drop(frame));
            {
                let mut waiting = pin!(limited.acquire_async());
                let mut context = Context::from_waker(Waker::noop());
                drop(waiting.as_mut().poll(&mut context));
            }
            releaser.join().unwrap();
            check_all_back(&pool);
        });
    }

    /// W11: a wait that ends lets the one behind it go on.
    ///
    /// Kills: `serve` not called when a wait has ended; a caller that enters the queue behind it
    /// not looking.
    #[test]
    fn a_caller_behind_one_that_gives_up_goes_on() {
        loom::model(|| {
            let pool = pool(3, &[share().reserve(1)]);
            let frame = pool.try_acquire().unwrap();
            {
                let mut two = pin!(pool.acquire_exact_async(2));
                let mut context = Context::from_waker(Waker::noop());
                assert!(two.as_mut().poll(&mut context).is_pending());
                let behind = pool.clone();
                let behind = thread::spawn(move || drop(behind.acquire().unwrap()));
                two.set(pool.acquire_exact_async(2));
                behind.join().unwrap();
            }
            drop(frame);
            check_all_back(&pool);
        });
    }

    /// Q6: a reserve that is raised while a common unit comes back, gets it.
    ///
    /// Kills: the raised reserve taking no unit.
    #[test]
    fn a_raised_reserve_gets_the_unit_that_comes_back() {
        loom::model(|| {
            let pool = pool(1, &[share()]);
            let frame = pool.try_acquire().unwrap();
            let releaser = thread::spawn(move || drop(frame));
            pool.set_share(share().reserve(1)).unwrap();
            releaser.join().unwrap();
            let shares = pool.core().free.shares().unwrap();
            assert_eq!(shares.cells[1].load().reserve(), 1);
            check_all_back(&pool);
            assert!(pool.try_acquire().is_err());
            drop(pool.with_label("share").try_acquire().unwrap());
        });
    }

    /// W10: a caller that waits, with or without a permit, gets a frame around a hand-over, and
    /// both generations have all permits back.
    ///
    /// Kills: the permits of entries kept when they are queued again.
    #[test]
    fn a_waiter_keeps_no_permit_of_an_old_generation() {
        loom::model(|| {
            let old = pool(1, &[share()]);
            let frame = old.try_acquire().unwrap();
            let waiter = {
                let old = old.clone();
                thread::spawn(move || drop(old.acquire().unwrap()))
            };
            // Given here and put back later, so that a caller can have a permit and no frame.
            let shares = old.core().free.shares().unwrap();
            if shares.give(0, 1) {
                old.core().serve();
            }
            let next_config = PoolConfig {
                generation: 1,
                ..config(1, &[share()])
            };
            let new = FramePool::next_generation(&next_config, old.core()).unwrap();
            drop(old.core().hand_over(new.core_handle()).unwrap());
            old.core().free_memory_once_idle();
            waiter.join().unwrap();
            let drawn = shares.draw_in_turn(0, Wanted::up_to(1), true);
            assert_eq!(drawn, Ok(1));
            drop(frame);
            check_all_back(&old);
            check_all_back(&new);
        });
    }
}
