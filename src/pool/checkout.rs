//! Acquire and release, whole: the fast paths first, their slow twins after.
//!
//! | | fast | slow |
//! |---|---|---|
//! | acquire | [`Core::try_acquire`] | [`Core::take_anywhere`], [`Core::wait`] |
//! | release | [`Core::release`], [`Core::return_frame`] | [`Core::return_slow`] |
//! | in between | [`Core::begin_use`], [`Core::end_use`] | their twins, for work per frame |
//!
//! The fast acquire takes a frame out of the word where the thread starts, by one compare-exchange.
//! The slow one searches all words, and then waits in the queue. The fast release puts the frame
//! into its word by one compare-exchange. The slow one passes the frame to a waiter, or counts it
//! off a closed pool.
//!
//! All of it deals in slots. [`crate::frame`] makes a handle of what was [`Acquired`], and gives
//! the slot to [`release`](Core::release) when the handle is dropped.
//!
//! A slot that is acquired is the caller's alone: it comes out of the free list (F1) or from the
//! wait queue (W3).

use std::cell::Cell;
use std::hint;
use std::mem;
use std::ptr::NonNull;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use crate::contents::Contents;
use crate::diagnostics::WaitStart;
use crate::diagnostics::call_site::CallSite;
use crate::diagnostics::stats::WaitEnd;
use crate::error::{AcquireError, ShareError, Starvation};
use crate::label::Label;
use crate::level::Level;
use crate::metadata::Metadata;
use crate::recording::EventKind;
use crate::share::Share;
use crate::sync::{Arc, AtomicU64, Ordering, fence, thread_id};

use super::blocking_wait::WaitParams;
use super::core::{Core, Slot};
use super::deferred_wakes::{self, DeferredUntilDrop};
use super::free_list::{self, PutBack, TakeError, put_back};
use super::handoff::Served;
use super::pending_wait::PendingWait;
use super::pool_state::{Availability, Refusal};
use super::shares::{Denied, ShareIndex, Shares, Wanted};
use super::slot::FrameId;
use super::starts::NextStart;
use super::waiter::Outcome;

/// Number of times that a caller looks for a frame before it enters the wait queue: first in
/// successive turns of a loop, then with other threads running in between.
const SPINS: usize = 32;
const YIELDS: usize = 32;

/// Time after which a caller stops looking. On a busy machine one yield can take several
/// milliseconds.
const MAX_SPIN: Duration = Duration::from_micros(50);

/// A frame that the caller is the unique holder of, and whose use has begun.
///
/// Only this file makes one, so that a handle can be made from it without an argument.
#[derive(Debug)]
#[must_use = "a frame that is not made a handle stays out"]
pub(crate) struct Acquired(NonNull<Slot>);

impl Acquired {
    #[inline(always)]
    pub(crate) fn into_slot(self) -> NonNull<Slot> {
        self.0
    }
}

/// A frame that the caller has taken and not recorded yet.
struct Taken {
    slot: NonNull<Slot>,
    /// The frame's epoch in its word.
    epoch: bool,
}

/// The reason why an acquire has no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// All frames were out at one moment of the call, or the pool is paused.
    Exhausted,
    Refused(Refusal),
    /// The pool was made by the process that this one was forked from (P1, P2).
    OtherProcess,
}

impl Unavailable {
    /// The pool has a newer generation.
    pub(crate) const SUPERSEDED: Self = Self::Refused(Refusal::Superseded);
}

impl From<Refusal> for Unavailable {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Unavailable> for AcquireError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Exhausted => Self::Exhausted(Starvation::default()),
            Unavailable::Refused(refusal) => refusal.into(),
            Unavailable::OtherProcess => Self::OtherProcess,
        }
    }
}

/// Acquire.
impl Core {
    /// Does what the calling thread would do at its first acquire, wait and release.
    pub(crate) fn prepare_thread(&self) {
        thread_id();
        self.free.prepare_thread();
        deferred_wakes::prepare_thread();
    }

    /// Takes a free frame.
    #[inline(always)]
    pub(crate) fn try_acquire(&self, site: CallSite) -> Result<Acquired, Unavailable> {
        let taken = match self.take_local() {
            Some(taken) => taken,
            None => self.take_anywhere(site.label())?,
        };
        // SAFETY: taking the frame made the caller its unique holder.
        unsafe { Self::record_and_begin(taken, site) }
    }

    /// Takes a free frame, or waits for one until `deadline`, or without limit.
    #[inline]
    pub(crate) fn acquire(
        &self,
        site: CallSite,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Result<Acquired, Unavailable> {
        match self.try_acquire(site) {
            Err(Unavailable::Exhausted) => {
                let slot = self.wait(site, deadline())?;
                // SAFETY: the wait made the caller the frame's unique holder.
                unsafe { Self::begin_use(slot, site) }
            }
            other => other,
        }
    }

    /// Takes a free frame, or times out at once, without a place in the queue.
    #[cold]
    pub(crate) fn acquire_now(&self, site: CallSite) -> Result<Acquired, Unavailable> {
        self.try_acquire(site).map_err(|unavailable| {
            if unavailable == Unavailable::Exhausted {
                self.count_failed_acquire();
                if self.waits {
                    return Unavailable::Refused(Refusal::TimedOut);
                }
            }
            unavailable
        })
    }

    /// Takes a free frame out of the word where the thread starts.
    #[inline(always)]
    fn take_local(&self) -> Option<Taken> {
        let (offset, epoch) = self.free.take_local()?;
        // SAFETY: the free list has the offsets of this pool's slots.
        let slot = unsafe { self.slot_at_offset(offset) };
        Some(Taken { slot, epoch })
    }

    /// Returns the frames that were taken out of one word of this pool.
    #[inline(always)]
    fn taken(&self, taken: free_list::Taken) -> impl Iterator<Item = Taken> {
        self.free.offsets_of(taken).map(|(offset, epoch)| {
            // SAFETY: the free list has the offsets of this pool's slots. `taken` is of that list:
            // callers pass on what it has just given them.
            let slot = unsafe { self.slot_at_offset(offset) };
            Taken { slot, epoch }
        })
    }

    /// Records the holder of a frame and begins its use.
    ///
    /// # Safety
    ///
    /// As for [`begin_use`](Self::begin_use), but the holder is not recorded.
    #[inline(always)]
    unsafe fn record_and_begin(taken: Taken, site: CallSite) -> Result<Acquired, Unavailable> {
        // SAFETY: the frame is out and keeps the slot alive.
        let slot = unsafe { taken.slot.as_ref() };
        slot.holder.record_acquire(site, taken.epoch);
        // SAFETY: the caller is the frame's unique holder, and passes its hold on.
        unsafe { Self::begin_use(taken.slot, site) }
    }

    /// Records the holder of a frame that the caller has taken, for the holder. Returns the frame.
    pub(super) fn record(&self, number: usize, site: CallSite) -> FrameId {
        let pointer = self.slot(number);
        // SAFETY: the caller has the frame, which keeps the slot alive.
        let slot = unsafe { pointer.as_ref() };
        // It is out.
        let epoch = self.epoch_if_out(slot) == Some(true);
        slot.holder.record_acquire(site, epoch);
        FrameId::of(pointer)
    }

    /// Starts the use of a frame whose holder is recorded: sets the length to the frame size that
    /// was asked for.
    ///
    /// Fails only by P1. The frame is then given back.
    ///
    /// # Safety
    ///
    /// The caller is the frame's unique holder, its use has not begun, and the caller passes its
    /// hold on to the result.
    #[inline(always)]
    pub(crate) unsafe fn begin_use(
        pointer: NonNull<Slot>,
        site: CallSite,
    ) -> Result<Acquired, Unavailable> {
        // SAFETY: the frame is out and keeps the slot alive.
        let slot = unsafe { pointer.as_ref() };
        let needs_begin = slot.state.with_mut(|state| {
            // SAFETY: by S2 the unique holder has the state to itself.
            let state = unsafe { &mut *state };
            // Mostly equal. Then the cache line stays clean, and need not travel back and forth
            // between a thread that acquires and another that releases.
            if state.length != slot.frame_len {
                state.length = slot.frame_len;
            }
            state.needs_begin
        });
        if needs_begin {
            // SAFETY: the caller is the frame's unique holder.
            unsafe { Self::begin_use_slow(pointer, site) }?;
        }
        Ok(Acquired(pointer))
    }

    /// Takes a free frame from any word.
    #[cold]
    fn take_anywhere(&self, label: Option<Label>) -> Result<Taken, Unavailable> {
        let mut frame = None;
        match self.take_own(label, 1, |word| frame = self.taken(word).next()) {
            Err(Unavailable::SUPERSEDED) => self.newest_or_refusal()?.take_anywhere(label),
            other => other.and_then(|()| frame.ok_or(Unavailable::Exhausted)),
        }
    }

    /// Takes up to `max` free frames and passes each to `each`.
    #[inline]
    pub(crate) fn try_acquire_many(
        &self,
        site: CallSite,
        max: usize,
        mut each: impl FnMut(Acquired),
    ) -> Result<(), Unavailable> {
        if max == 0 {
            return Ok(());
        }
        match self.try_acquire_own(site, max, &mut each) {
            Err(Unavailable::SUPERSEDED) => {
                self.newest_or_refusal()?.try_acquire_many(site, max, each)
            }
            other => other,
        }
    }

    /// Takes up to `max` free frames of this generation, at least 1, and passes each to `each`.
    #[inline]
    fn try_acquire_own(
        &self,
        site: CallSite,
        max: usize,
        mut each: impl FnMut(Acquired),
    ) -> Result<(), Unavailable> {
        if self.is_memory_of_other_process() {
            return Err(Unavailable::OtherProcess);
        }
        self.take_own(site.label(), max, |word| {
            for taken in self.taken(word) {
                // SAFETY: taking the frame made the caller its unique holder.
                if let Ok(acquired) = unsafe { Self::record_and_begin(taken, site) } {
                    each(acquired);
                }
            }
        })
    }

    /// Takes up to `max` free frames, or waits for one frame, and passes each to `each`.
    #[inline]
    pub(crate) fn acquire_many(
        &self,
        site: CallSite,
        max: usize,
        mut each: impl FnMut(Acquired),
    ) -> Result<(), Unavailable> {
        match self.try_acquire_many(site, max, &mut each) {
            Err(Unavailable::Exhausted) => {
                let slot = self.wait(site, None)?;
                // SAFETY: the wait made the caller the frame's unique holder.
                each(unsafe { Self::begin_use(slot, site) }?);
                Ok(())
            }
            other => other,
        }
    }

    /// Takes exactly `count` free frames, at least 1, and passes each to `each`. If fewer are free,
    /// fails; the caller gives up those that were passed to `each`.
    pub(crate) fn try_acquire_exact(
        &self,
        site: CallSite,
        count: usize,
        mut each: impl FnMut(Acquired),
    ) -> Result<(), Unavailable> {
        let is_open = || self.wait_queue().availability(&self.free) == Availability::Open;
        if count > 1 && self.free.free_frames() < count && is_open() {
            return Err(Unavailable::Exhausted);
        }
        let mut missing = count;
        while missing > 0 {
            self.try_acquire_own(site, missing, |acquired| {
                missing -= 1;
                each(acquired);
            })?;
        }
        Ok(())
    }

    /// Waits in the queue for exactly `count` frames, at least 1, and passes each to `each`.
    #[cold]
    pub(crate) fn wait_exact(
        &self,
        site: CallSite,
        count: usize,
        deadline: Option<Instant>,
        each: impl FnMut(Acquired),
    ) -> Result<(), Unavailable> {
        let mut others = Vec::new();
        let slot = self.wait_for(site, deadline, count, &mut others)?;
        Self::begin_all(slot, others, site, each);
        Ok(())
    }

    /// Polls the acquire of a task that wants `count` frames, at least 1. Passes each to `each`.
    pub(crate) fn poll_exact(
        &self,
        site: CallSite,
        count: usize,
        pending: &mut PendingWait,
        context: &Context<'_>,
        each: impl FnMut(Acquired),
    ) -> Poll<Result<(), Unavailable>> {
        let site = site.in_this_thread();
        self.poll_wait(site, pending, context, count)
            .map_ok(|slot| Self::begin_all(slot, pending.take_others(), site, each))
    }

    /// Records the thread of a holder that was recorded while it waited: a task may have been
    /// polled by another thread then.
    fn take_over(slot: NonNull<Slot>, site: CallSite) {
        // SAFETY: the frame was assigned to the caller and keeps the slot alive.
        unsafe { slot.as_ref() }.holder.record_transfer(site);
    }

    /// Begins the use of frames that were assigned to the caller.
    fn begin_all(
        slot: NonNull<Slot>,
        others: Vec<FrameId>,
        site: CallSite,
        mut each: impl FnMut(Acquired),
    ) {
        let others = others.into_iter().map(FrameId::slot);
        for slot in others.chain([slot]) {
            Self::take_over(slot, site);
            // SAFETY: the frame was assigned to the caller, which made it its unique holder.
            if let Ok(acquired) = unsafe { Self::begin_use(slot, site) } {
                each(acquired);
            }
        }
    }

    /// Takes 1 to `max` free frames of this generation, and passes those of each word to `each`.
    #[inline]
    fn take_own(
        &self,
        label: Option<Label>,
        max: usize,
        each: impl FnMut(free_list::Taken),
    ) -> Result<(), Unavailable> {
        match self.free.shares() {
            None => self.take_frames(max, each),
            Some(shares) => self.take_with_permits(shares, label, max, each),
        }
    }

    /// Draws permits, and takes a frame with each.
    #[cold]
    fn take_with_permits(
        &self,
        shares: &Shares,
        label: Option<Label>,
        max: usize,
        mut each: impl FnMut(free_list::Taken),
    ) -> Result<(), Unavailable> {
        let share = shares.index_of(label);
        let permits = self.draw(shares, share, max)?;
        let mut taken = 0;
        // By Q2 frames can be missing for a moment.
        let result = self.take_frames(permits, |word| {
            taken += word.count();
            each(word);
        });
        // mutant: unused-permits-are-given-back
        self.give_unused(share, permits - taken);
        if taken > 0 {
            shares.note_held(share);
        }
        result
    }

    /// Draws 1 to `max` permits.
    fn draw(&self, shares: &Shares, share: ShareIndex, max: usize) -> Result<usize, Unavailable> {
        let wanted = Wanted::up_to(max);
        let (mut drawn, must_serve) = shares.draw(share, wanted);
        if must_serve || drawn == Err(Denied::Queued) {
            self.serve();
        }
        if drawn == Err(Denied::Queued) {
            drawn = if self.is_in_other_process() {
                // By P2. The queued callers are threads of the other process.
                shares.draw_in_turn(share, wanted, true)
            } else {
                self.wait_queue().draw(&self.free, share, wanted)
            };
        }
        drawn.map_err(|_| self.why_closed().unwrap_or(Unavailable::Exhausted))
    }

    /// Returns why a caller gets no frame whatever is free, or `None` if the pool is open.
    fn why_closed(&self) -> Option<Unavailable> {
        match self.wait_queue().availability(&self.free) {
            Availability::Open => None,
            // The parent may open its pool, or may have a newer one.
            _ if self.is_in_other_process() => Some(Unavailable::OtherProcess),
            Availability::Paused => Some(Unavailable::Exhausted),
            Availability::Refused(refusal) => Some(Unavailable::Refused(refusal)),
        }
    }

    /// Gives permits back for which the caller has used no frame.
    fn give_unused(&self, share: ShareIndex, permits: usize) {
        if let Some(shares) = self.free.shares().filter(|_| permits > 0) {
            shares.uncount(share, permits);
            self.give(share, permits);
        }
    }

    /// Gives permits of this pool back.
    fn give(&self, share: ShareIndex, permits: usize) {
        if let Some(shares) = self.free.shares() {
            if shares.give(share, permits) {
                self.serve();
            }
        }
    }

    /// Passes permits and free frames to queued callers, in a pool with shares (W11).
    #[cold]
    pub(super) fn serve(&self) {
        // By P2 not in another process.
        if self.free.shares().is_none() || self.is_in_other_process() {
            return;
        }
        let record = |number, site| self.record(number, site);
        while let Some(served) = self.wait_queue().serve(&self.free, &record) {
            Self::deliver(served);
        }
    }

    /// Assigns a frame to the waiter that it was taken for, or returns it if that has canceled.
    pub(super) fn deliver(Served { handoff, frame }: Served) {
        if !handoff.assign(frame, || ()) {
            // SAFETY: the waiter has canceled, so the frame is this thread's, which has not begun
            // to use it and gives it up.
            unsafe { Self::return_unused(frame) };
        }
    }

    /// Changes a share of the newest generation.
    pub(crate) fn change_share(&self, share: &Share) -> Result<(), ShareError> {
        self.wait_queue().change_share(share)?;
        self.serve_newest();
        Ok(())
    }

    /// As [`serve`](Self::serve), in the newest generation.
    fn serve_newest(&self) {
        if self.free.shares().is_some() {
            self.in_newest(Self::serve);
        }
    }

    /// Takes 1 to `max` free frames, and passes those of each word to `each`. The caller has
    /// permits, if it needs some.
    #[inline]
    fn take_frames(
        &self,
        max: usize,
        mut each: impl FnMut(free_list::Taken),
    ) -> Result<(), Unavailable> {
        loop {
            match self.free.take_many(max, &mut each) {
                Ok(()) => return Ok(()),
                Err(TakeError::AllOut) => return Err(Unavailable::Exhausted),
                // The parent's words may be open by now, but those of the copy stay closed.
                Err(TakeError::Closed) if self.is_in_other_process() => {
                    return Err(Unavailable::OtherProcess);
                }
                Err(TakeError::Closed) => match self.why_closed() {
                    Some(unavailable) => return Err(unavailable),
                    // The pool was opened in the meantime.
                    // mutant: take-after-reopening
                    None => continue,
                },
            }
        }
    }

    /// The work of [`begin_use`](Self::begin_use) that most pools do not ask for.
    ///
    /// # Safety
    ///
    /// The caller is the frame's unique holder.
    #[cold]
    unsafe fn begin_use_slow(pointer: NonNull<Slot>, site: CallSite) -> Result<(), Unavailable> {
        // SAFETY: the frame is out and keeps the slot alive.
        let slot = unsafe { pointer.as_ref() };
        // SAFETY: the frame is out and keeps the core alive.
        let core = unsafe { slot.core.as_ref() };
        if core.is_memory_of_other_process() {
            // SAFETY: the caller is the frame's unique holder, its use has not begun, and the
            // caller gives it up.
            unsafe { Self::return_unused(FrameId::of(pointer)) };
            return Err(Unavailable::OtherProcess);
        }
        if let Some(shares) = core.free.shares() {
            let share = shares.index_of(site.label());
            slot.state.with_mut(|state| {
                // SAFETY: by S2 the unique holder has the state to itself.
                let state = unsafe { &mut *state };
                // By `Share::MAX_SHARES`.
                state.share = u8::try_from(share).unwrap_or(0);
            });
        }
        if let Some(guard_pages) = &core.guard_pages {
            // SAFETY: the caller owns the frame, which is out and keeps the segment alive (C5).
            unsafe { guard_pages.unprotect(slot.number) };
        }
        if core.contents == Contents::ZeroOnAcquire {
            // SAFETY: the caller is the frame's unique holder, and its pages were made accessible.
            unsafe { core.zero(slot) };
        }
        core.diagnostics.on_acquire(&slot.holder, slot.number, site);
        if let Some(levels) = &core.lineage.levels {
            levels.acquired(core.free.generation, |level| core.note_level(level));
        }
        Ok(())
    }

    /// Tries again for a short time before the caller enters the queue, because falling asleep and
    /// being woken takes longer than most frames are held. Gives up as soon as another caller is in
    /// the queue, which goes first.
    fn spin(
        &self,
        site: CallSite,
        start: Instant,
        deadline: Option<Instant>,
    ) -> Option<NonNull<Slot>> {
        let end = start + MAX_SPIN;
        let end = deadline.map_or(end, |deadline| deadline.min(end));
        let attempts = if self.spins { SPINS + YIELDS } else { 0 };
        for attempt in 0..attempts {
            if self.wait_queue().waiting().0 > 0 || Instant::now() >= end {
                return None;
            }
            let mut taken = None;
            self.free
                .take_near(1, |word| taken = Some(self.free.frame_at(word.frames)));
            if let Some(number) = taken {
                return Some(self.record(number, site).slot());
            }
            if attempt < SPINS {
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        None
    }

    /// Waits in the queue until a frame is assigned to the caller, `deadline` passes, or the pool
    /// closes. The caller [begins its use](Self::begin_use) of the frame.
    #[cold]
    pub(crate) fn wait(
        &self,
        site: CallSite,
        deadline: Option<Instant>,
    ) -> Result<NonNull<Slot>, Unavailable> {
        if let Some(newest) = self.successor() {
            return newest.wait(site, deadline);
        }
        match self.wait_for(site, deadline, 1, &mut Vec::new()) {
            Err(Unavailable::SUPERSEDED) => self.newest_or_refusal()?.wait(site, deadline),
            other => other,
        }
    }

    /// Waits in the queue until `wanted` frames are assigned to the caller, at least 1. Returns one
    /// of them, and adds the numbers of the others to `others`.
    fn wait_for(
        &self,
        site: CallSite,
        deadline: Option<Instant>,
        wanted: usize,
        others: &mut Vec<FrameId>,
    ) -> Result<NonNull<Slot>, Unavailable> {
        if self.is_in_other_process() {
            return Err(Unavailable::OtherProcess);
        }
        if !self.waits {
            self.diagnostics.count_failed_acquire();
            return Err(Unavailable::Exhausted);
        }
        let start = self.diagnostics.begin_wait(site, self);
        // No hook begins after the deadline.
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if wanted == 1 {
            if let Some(slot) = self.spin(site, start.at, deadline) {
                self.diagnostics
                    .end_wait(start, site, WaitEnd::Served, is_late(), self);
                return Ok(slot);
            }
        }
        let reported = Cell::new(false);
        let on_starved: &dyn Fn() = &|| {
            reported.set(true);
            self.diagnostics.on_starved(start, deadline, self);
        };
        let params = WaitParams {
            start,
            wanted,
            deadline,
            on_taken: &|number| self.record(number, site),
            on_enqueued: &|| {
                // mutant: queued-caller-serves
                self.serve();
                self.diagnostics.on_enqueued(self);
            },
            alarm: self
                .diagnostics
                .starved_at(start)
                .map(|at| (at, on_starved)),
        };
        let outcome = self.wait_queue().wait(&self.free, params, others);
        if outcome.is_err() {
            self.return_all_unused(mem::take(others));
        }
        self.end_wait(start, site, outcome, reported.get() || is_late())
    }

    /// Returns frames that were assigned to a caller whose wait has ended without an outcome, and
    /// which did not begin to use them.
    fn return_all_unused(&self, frames: Vec<FrameId>) {
        for frame in frames {
            // SAFETY: the frame was assigned to the caller, which did not begin to use it and gives
            // it up. It is of a core.
            unsafe { Self::return_unused(frame) };
        }
        // The place in the line is free, too.
        // mutant: ended-wait-serves
        self.serve_newest();
    }

    /// Returns a frame whose holder is recorded, and whose use has not begun.
    ///
    /// # Safety
    ///
    /// As for [`return_frame`](Self::return_frame). The frame is that of a core.
    pub(super) unsafe fn return_unused(frame: FrameId) {
        let pointer = frame.slot::<Self>();
        // SAFETY: the frame is out and keeps the slot alive.
        let slot = unsafe { pointer.as_ref() };
        // SAFETY: the frame is out and keeps the core alive.
        let core = unsafe { slot.core.as_ref() };
        let wakes = DeferredUntilDrop::begin();
        if core.free.shares().is_some() {
            let label = slot.holder.acquirer().label();
            // mutant: unused-frame-gives-its-permit
            core.give_unused(core.free.share_of(label), 1);
        }
        // SAFETY: the caller is the frame's unique holder, and gives it up.
        unsafe { Self::return_frame(pointer) };
        drop(wakes);
    }

    /// Polls the acquire of a task, whose place in the queue is `pending`.
    pub(crate) fn poll_acquire(
        &self,
        site: CallSite,
        pending: &mut PendingWait,
        context: &Context<'_>,
    ) -> Poll<Result<Acquired, Unavailable>> {
        let site = site.in_this_thread();
        if pending.start().is_none() {
            match self.try_acquire(site) {
                Err(Unavailable::Exhausted) => {}
                other => return Poll::Ready(other),
            }
        }
        let polled = self.poll_wait(site, pending, context, 1);
        if polled == Poll::Ready(Err(Unavailable::SUPERSEDED)) {
            let newest = self.newest_or_refusal().map_err(Unavailable::Refused)?;
            return newest.poll_acquire(site, pending, context);
        }
        polled
            .map_ok(|slot| {
                Self::take_over(slot, site);
                slot
            })
            // SAFETY: the wait made the caller the frame's unique holder.
            .map(|waited| waited.and_then(|slot| unsafe { Self::begin_use(slot, site) }))
    }

    fn poll_wait(
        &self,
        site: CallSite,
        pending: &mut PendingWait,
        context: &Context<'_>,
        wanted: usize,
    ) -> Poll<Result<NonNull<Slot>, Unavailable>> {
        if self.is_in_other_process() {
            return Poll::Ready(Err(Unavailable::OtherProcess));
        }
        if !self.waits {
            self.diagnostics.count_failed_acquire();
            return Poll::Ready(Err(Unavailable::Exhausted));
        }
        let enqueued = pending.start();
        let start = enqueued.unwrap_or_else(|| self.diagnostics.begin_wait(site, self));
        let on_taken = |number| self.record(number, site);
        let wait = (start, wanted);
        let mut poll = || pending.poll(self.wait_queue(), &self.free, context, wait, &on_taken);
        let mut polled = poll();
        if polled.is_pending() && enqueued.is_none() && self.free.shares().is_some() {
            self.serve();
            polled = poll();
        }
        match polled {
            Poll::Pending => {
                if enqueued.is_none() {
                    self.diagnostics.on_enqueued(self);
                }
                if self.diagnostics.is_starved(start) && pending.is_first_alarm() {
                    self.diagnostics.on_starved(start, None, self);
                }
                Poll::Pending
            }
            Poll::Ready(outcome) => {
                if outcome.is_err() {
                    self.return_all_unused(pending.take_others());
                }
                let reported = !pending.is_first_alarm();
                Poll::Ready(self.end_wait(start, site, outcome, reported))
            }
        }
    }

    /// Takes a task out of the queue. A frame that was assigned to it at the same moment goes to
    /// the next waiter, or back to the free list.
    pub(crate) fn cancel_acquire(&self, site: CallSite, pending: &mut PendingWait) {
        let Some(start) = pending.start().filter(|_| !self.is_in_other_process()) else {
            return;
        };
        self.return_all_unused(pending.cancel(self.wait_queue()));
        self.count_wait(start);
        // Last, because a hook may run, which must not delay the frame. The future keeps the core
        // alive.
        let reported = !pending.is_first_alarm();
        let site = site.in_this_thread();
        self.diagnostics
            .end_wait(start, site, WaitEnd::Cancelled, reported, self);
    }

    /// Counts a wait that has ended, for the share of its caller.
    fn count_wait(&self, start: WaitStart) {
        if let Some(shares) = self.free.shares() {
            let share = shares.index_of(start.site.label());
            shares.count_wait(share, start.at.elapsed());
        }
    }

    fn end_wait(
        &self,
        start: WaitStart,
        site: CallSite,
        outcome: Outcome,
        reported: bool,
    ) -> Result<NonNull<Slot>, Unavailable> {
        let end = match outcome {
            Ok(_) => WaitEnd::Served,
            Err(Refusal::TimedOut) => WaitEnd::TimedOut,
            Err(
                Refusal::Flushing | Refusal::NotCommitted | Refusal::Closed | Refusal::Superseded,
            ) => WaitEnd::Refused,
        };
        self.count_wait(start);
        self.diagnostics.end_wait(start, site, end, reported, self);
        outcome.map(FrameId::slot).map_err(Unavailable::Refused)
    }
}

/// Errors.
impl Core {
    /// Returns the error of a caller that did not wait, and counts it.
    #[cold]
    pub(crate) fn failed(&self, unavailable: Unavailable, label: Option<Label>) -> AcquireError {
        self.failed_for(unavailable, label, 1)
    }

    /// Returns the error of a caller that wanted several frames and did not wait, and counts it.
    #[cold]
    pub(crate) fn failed_for(
        &self,
        unavailable: Unavailable,
        label: Option<Label>,
        wanted: usize,
    ) -> AcquireError {
        if unavailable == Unavailable::Exhausted {
            self.count_failed_acquire();
        }
        self.with_shortage(unavailable.into(), label, wanted)
    }

    /// Adds the part that the share of the callers with this label has in an error.
    fn with_shortage(
        &self,
        error: AcquireError,
        label: Option<Label>,
        wanted: usize,
    ) -> AcquireError {
        if self.free.shares().is_none() {
            return error;
        }
        let shortage_in = |core: &Self| {
            let shortage = core.free.shares()?.shortage_of(label, wanted)?;
            Some(shortage.with_label(|label| core.made_by().own_label(label)))
        };
        let shortage = self.in_newest(shortage_in);
        error.map_starvation(|starvation| starvation.or_shortage(shortage))
    }

    /// Counts an acquire that found no frame free and did not wait, in the newest generation.
    fn count_failed_acquire(&self) {
        self.in_newest(|newest| newest.diagnostics.count_failed_acquire());
    }

    /// Adds the holders of the frames, and the share of the caller, to an error that is about them.
    #[cold]
    pub(crate) fn explained(&self, error: AcquireError, label: Option<Label>) -> AcquireError {
        let error = self.with_shortage(error, label, 1);
        if self.is_in_other_process() {
            // By P2: a report takes locks.
            return error;
        }
        let holders = || self.in_newest(|newest| newest.diagnostics.sampled_holders(newest));
        error.map_starvation(|starvation| starvation.with_holders(holders()))
    }
}

/// Release.
impl Core {
    /// Gives the frame of `slot` back to the pool.
    ///
    /// # Safety
    ///
    /// The caller is the frame's unique holder, and gives it up with this call.
    #[inline(always)]
    pub(crate) unsafe fn release(slot: NonNull<Slot>) {
        // SAFETY: the caller is the frame's unique holder.
        if unsafe { Self::needs_reset(slot) } {
            // SAFETY: the caller is the frame's unique holder, and gives it up.
            unsafe { Self::release_slow(slot) };
        } else {
            // SAFETY: the caller is the frame's unique holder, and gives it up.
            unsafe { Self::return_frame(slot) };
        }
    }

    /// The rest of [`release`](Self::release), if the end of the frame's use is work.
    ///
    /// # Safety
    ///
    /// As for [`release`](Self::release).
    #[cold]
    unsafe fn release_slow(slot: NonNull<Slot>) {
        // SAFETY: the caller is the frame's unique holder.
        let wakes = unsafe { Self::end_use(slot) };
        // SAFETY: the caller is the frame's unique holder, and gives it up.
        unsafe { Self::return_frame(slot) };
        drop(wakes);
    }

    /// Returns whether the end of a frame's use is work.
    ///
    /// # Safety
    ///
    /// The caller is the frame's unique holder.
    #[inline(always)]
    unsafe fn needs_reset(slot: NonNull<Slot>) -> bool {
        // SAFETY: the frame is out and keeps the slot alive.
        let slot = unsafe { slot.as_ref() };
        slot.state.with(|state| {
            // SAFETY: by S2 the unique holder has the state to itself.
            unsafe { (*state).needs_reset }
        })
    }

    /// Ends the use of a frame: clears the metadata. Wakes are deferred until the result is
    /// dropped, which the caller does when the frame is back (D2).
    ///
    /// # Safety
    ///
    /// The caller is the frame's unique holder, and does not use its bytes before the next
    /// [`begin_use`](Self::begin_use).
    #[inline(always)]
    unsafe fn end_use(slot: NonNull<Slot>) -> Option<DeferredUntilDrop> {
        // SAFETY: the caller is the frame's unique holder.
        if !unsafe { Self::needs_reset(slot) } {
            return None;
        }
        // SAFETY: the caller is the frame's unique holder, which keeps the slot alive.
        let slot = unsafe { slot.as_ref() };
        // SAFETY: the caller is the frame's unique holder.
        unsafe { Self::end_use_slow(slot) }
    }

    /// Puts a frame back into its word, or passes it to the first waiter.
    ///
    /// # Safety
    ///
    /// The caller is the frame's unique holder, its use has [ended](Self::end_use) or never began,
    /// and the caller gives it up with this call.
    #[inline(always)]
    pub(crate) unsafe fn return_frame(pointer: NonNull<Slot>) {
        // SAFETY: the caller is the frame's unique holder.
        let next_start = unsafe { Self::next_start(pointer) };
        // SAFETY: the frame is out and keeps the slot alive.
        let slot = unsafe { pointer.as_ref() };
        // SAFETY: the caller is the frame's unique holder, and gives it up. It is the frame's word.
        unsafe { Self::return_to_word(slot.core, slot.word, slot.flips) };
        next_start.set();
    }

    /// Returns the start of the calling thread after it has released a frame. It is set after the
    /// exchange, which would have to wait for the store.
    ///
    /// # Safety
    ///
    /// The caller is the frame's unique holder.
    #[inline(always)]
    unsafe fn next_start(slot: NonNull<Slot>) -> NextStart {
        // SAFETY: the frame is out and keeps the slot alive.
        let slot = unsafe { slot.as_ref() };
        // SAFETY: the frame is out and keeps the core alive.
        let core = unsafe { slot.core.as_ref() };
        core.free.next_start(slot.start)
    }

    /// Releases frames, which may be of several pools. Puts back neighbors of one word together.
    ///
    /// # Safety
    ///
    /// As for [`release`](Self::release), for each of the frames.
    #[inline]
    pub(crate) unsafe fn release_many(slots: impl IntoIterator<Item = NonNull<Slot>>) {
        // A caller that is woken may want the frames that are not back yet.
        let wakes = DeferredUntilDrop::begin();
        let mut slots = slots.into_iter().inspect(|&slot| {
            // SAFETY: the caller is the frame's unique holder.
            drop(unsafe { Self::end_use(slot) });
        });
        let mut first = slots.next();
        let next_start = first.map(|slot| {
            // SAFETY: the caller is the frame's unique holder.
            unsafe { Self::next_start(slot) }
        });
        while let Some(pointer) = first {
            // SAFETY: the frame is out and keeps the slot alive.
            let slot = unsafe { pointer.as_ref() };
            let (core, word, mut flips) = (slot.core, slot.word, slot.flips);
            first = slots.find(|pointer| {
                // SAFETY: the frame is out and keeps the slot alive.
                let slot = unsafe { pointer.as_ref() };
                if slot.word == word {
                    flips |= slot.flips;
                }
                slot.word != word
            });
            // SAFETY: the caller is the frames' unique holder, and gives them up.
            unsafe { Self::return_to_word(core, word, flips) };
        }
        if let Some(next_start) = next_start {
            next_start.set();
        }
        drop(wakes);
    }

    /// Puts back the frames of `flips` into their word, or passes them to waiters.
    ///
    /// # Safety
    ///
    /// As for [`return_frame`](Self::return_frame), for each of the frames. `word` is the word of
    /// all of them, and `core` is their core.
    #[inline(always)]
    unsafe fn return_to_word(core: NonNull<Self>, word: NonNull<AtomicU64>, flips: u32) {
        // SAFETY: the word is one of the core's, which the frames keep alive. No reference claims
        // it exclusively (see `FreeList::shards`).
        let word = unsafe { word.as_ref() };
        // SAFETY: the frames are out and keep the core alive.
        let free = &unsafe { core.as_ref() }.free;
        free.about_to_put_back(word);
        // After the exchange core and word may no longer exist (F5), so the references to them are
        // used for nothing else.
        match put_back(word, flips) {
            PutBack::Done => {}
            // SAFETY: frames that waiters want are still the caller's and keep the core alive. For
            // frames that came back to a closed pool their parts of `refs` do (C1).
            how => unsafe { Self::return_slow(core, word, flips, how) },
        }
    }

    /// The rest of `return_to_word`: passes frames to waiters one by one, and puts back the frames
    /// that are left when the queue is empty.
    ///
    /// # Safety
    ///
    /// As for [`return_frame`](Self::return_frame), except that `how` is the result of putting the
    /// frames back: with `DoneClosed` the pool has them, and their parts of `refs` are the
    /// caller's.
    #[cold]
    unsafe fn return_slow(core: NonNull<Self>, word: &AtomicU64, flips: u32, mut how: PutBack) {
        // SAFETY: the frames, or their parts of `refs`, keep the core alive. The reference is not
        // used after the last of them is given away.
        let this = unsafe { core.as_ref() };
        if this.is_in_other_process() {
            // By P2. The waiters are threads of the other process.
            while how == PutBack::Wanted {
                this.free.clear_waiters();
                how = put_back(word, flips);
            }
            return;
        }
        let mut frames = this.free.bits_of(word, flips);
        while how == PutBack::Wanted {
            while let Some(handoff) = this.wait_queue().pop_first(&this.free) {
                let number = this.free.frame_at(frames);
                let site = handoff.site();
                // The waiter is the holder from now on, also while it does not run. The closure
                // borrows the core only while it runs, because the core may be gone when `assign`
                // returns (W4).
                let record = move || {
                    // SAFETY: the frame is not assigned yet and keeps the core alive.
                    unsafe { core.as_ref() }.record(number, site);
                };
                if handoff.assign(FrameId::of(this.slot(number)), record) {
                    frames.bits &= frames.bits - 1;
                    if frames.bits == 0 {
                        return;
                    }
                } else {
                    // mutant: vain-frame-gives-its-permit
                    this.give_unused(this.free.share_of(site.label()), 1);
                }
            }
            how = put_back(word, frames.flips());
        }
        // mutant: late-frame-gives-up-its-part
        if how == PutBack::DoneClosed {
            // Acquire: pairs with the Release of `FreeList::close`, which the exchange saw. The
            // parts of `refs` that are given up here were added before it (C3).
            fence(Ordering::Acquire);
            let idle_waiters = Arc::clone(&this.idle_waiters);
            // SAFETY: these parts of `refs` are the frames' (C1, C2).
            unsafe { Self::release_refs(core, frames.count()) };
            // The core may be gone. By I2 the waiters have to see that the parts are given up.
            // mutant: late-frame-notifies
            idle_waiters.notify();
        }
    }

    /// The work of [`end_use`](Self::end_use) that most frames do not need.
    ///
    /// # Safety
    ///
    /// As for [`end_use`](Self::end_use).
    #[cold]
    unsafe fn end_use_slow(slot: &Slot) -> Option<DeferredUntilDrop> {
        // SAFETY: the frame is out and keeps the core alive.
        let core = unsafe { slot.core.as_ref() };
        slot.state.with_mut(|state| {
            // SAFETY: by S2 the unique holder has the state to itself.
            let state = unsafe { &mut *state };
            state.metadata = Metadata::default();
            state.needs_reset = core.works_per_frame;
            if let Some(attachment) = &mut state.attachment {
                core.attachments.reset(attachment);
            }
        });
        if core.contents == Contents::ZeroOnRelease && !core.is_memory_of_other_process() {
            // SAFETY: the caller is the frame's unique holder.
            unsafe { core.zero(slot) };
        }
        if let Some(guard_pages) = &core.guard_pages {
            // SAFETY: the frame is out and keeps the segment alive (C5), and its bytes are not used
            // before the next `begin_use`.
            unsafe { guard_pages.protect(slot.number) };
        }
        core.diagnostics.on_release(&slot.holder, slot.number);
        if let Some(levels) = &core.lineage.levels {
            levels.released(core.free.generation, |level| core.note_level(level));
        }
        core.free.shares()?;
        let share = slot.state.with(|state| {
            // SAFETY: by S2 the unique holder has the state to itself.
            unsafe { (*state).share }
        });
        let wakes = DeferredUntilDrop::begin();
        // mutant: release-gives-its-permit
        core.give(share.into(), 1);
        Some(wakes)
    }

    /// Records that the hook is told of a level.
    fn note_level(&self, level: Level) {
        self.diagnostics.pool_event(match level {
            Level::Low { .. } => EventKind::RanLow,
            Level::Recovered { .. } => EventKind::Recovered,
        });
    }

    /// Writes zeroes over prefix and payload.
    ///
    /// # Safety
    ///
    /// The slot is this core's, the caller is the frame's unique holder, and with guard pages the
    /// frame is accessible (M4).
    unsafe fn zero(&self, slot: &Slot) {
        let prefix = self.layout.framing.prefix;
        // SAFETY: the prefix lies directly before the payload in one mapping (M3).
        let start = unsafe { slot.payload.sub(prefix) };
        // SAFETY: prefix and payload are the frame's own bytes (M3), which the caller alone may
        // use.
        unsafe { start.write_bytes(0, prefix + slot.capacity) };
    }
}
