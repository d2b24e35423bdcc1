//! Callers that wait for permits, in a pool with shares, and the order in which they get them.
//!
//! The module is safe code. All calls hold the lock of the wait queue, which owns the value. The
//! invariants are those of [`shares`](super::shares), Q3 to Q6.

use std::collections::VecDeque;

use crate::share::Share;
use crate::sync::Arc;

use super::shares::{Denied, ShareIndex, ShareSet, Shares, Wanted};

/// A caller that waits for permits.
pub(super) trait Caller {
    fn share(&self) -> ShareIndex;

    /// Returns the number of permits that the caller wants, all at once.
    fn wanted(&self) -> usize;

    /// Returns a number that is larger than that of each caller before.
    fn ticket(&self) -> u64;
}

/// The callers that wait for permits.
#[derive(Debug)]
pub(super) struct PermitQueue<C> {
    shares: Arc<Shares>,
    /// In the order of their tickets.
    callers: VecDeque<C>,
    /// Number of callers per share.
    counts: [usize; Share::MAX_SHARES + 1],
    /// True if a caller, or a reserve that is not complete, may want common units.
    wants_common: bool,
}

impl<C: Caller> PermitQueue<C> {
    /// Creates an empty queue with room for as many callers.
    pub(super) fn new(shares: Arc<Shares>, room: usize) -> Self {
        Self {
            shares,
            callers: VecDeque::with_capacity(room),
            counts: [0; Share::MAX_SHARES + 1],
            wants_common: false,
        }
    }

    pub(super) fn shares(&self) -> &Shares {
        &self.shares
    }

    pub(super) fn len(&self) -> usize {
        self.callers.len()
    }

    pub(super) fn front(&self) -> Option<&C> {
        self.callers.front()
    }

    /// Adds a caller at the end. The caller [admits](Self::admit) callers afterwards.
    pub(super) fn push_back(&mut self, caller: C) {
        self.counts[caller.share()] += 1;
        self.shares.set_queued(caller.share());
        self.callers.push_back(caller);
        self.want_common();
    }

    pub(super) fn pop_front(&mut self) -> Option<C> {
        self.take(0)
    }

    fn take(&mut self, index: usize) -> Option<C> {
        let caller = self.callers.remove(index)?;
        self.counts[caller.share()] -= 1;
        Some(caller)
    }

    /// Removes the caller with this ticket, if there is one.
    pub(super) fn remove(&mut self, ticket: u64) {
        if let Ok(index) = self.callers.binary_search_by_key(&ticket, Caller::ticket) {
            drop(self.take(index));
        }
    }

    /// Restores the order of the callers, after some were added that came before others.
    pub(super) fn sort(&mut self) {
        let callers = self.callers.make_contiguous();
        callers.sort_by_key(Caller::ticket);
    }

    /// Turns to the permits of another generation.
    pub(super) fn switch(&mut self, next: &Arc<Shares>) {
        // Frames of the old one that are still out need not look for callers.
        self.shares.mark_queued(ShareSet::default(), false);
        self.shares = Arc::clone(next);
        for caller in &self.callers {
            self.shares.set_queued(caller.share());
        }
        self.want_common();
    }

    /// Notes that a caller or a reserve may want common units, until a call of
    /// [`admit`](Self::admit) finds none.
    fn want_common(&mut self) {
        self.shares.set_common_wanted();
        self.wants_common = true;
    }

    /// Draws all permits that the first caller wants which can have them (Q5). Returns `None` if
    /// there is no such caller.
    pub(super) fn admit(&mut self) -> Option<C> {
        // First, so that a unit that becomes common from now on is drawn, or its giver looks for
        // callers (Q3).
        self.want_common();
        let mut may_use_common = self.shares.complete_reserves();
        let shares = self.counts.iter().filter(|&&count| count > 0).count();
        let mut passed_over = ShareSet::default();
        for index in 0..self.callers.len() {
            let (share, wanted) = (self.callers[index].share(), self.callers[index].wanted());
            if !passed_over.insert(share) {
                continue;
            }
            let wanted = Wanted::exactly(wanted);
            match self.shares.draw_in_turn(share, wanted, may_use_common) {
                Ok(_) => return self.take(index),
                Err(Denied::Common) => may_use_common = false,
                Err(Denied::Limit | Denied::Queued) => {}
            }
            if passed_over.len() == shares {
                break;
            }
        }
        self.wants_common = !may_use_common;
        None
    }

    /// Completes the reserves as far as possible, while no caller may get a frame (Q6).
    pub(super) fn complete_reserves(&mut self) {
        self.wants_common |= !self.shares.complete_reserves();
        self.mark();
    }

    /// Sets the flags by which calls find the callers, and clears those that are not needed any
    /// more (Q3). To be called once [`admit`](Self::admit) finds no caller.
    pub(super) fn mark(&self) {
        let mut queued = ShareSet::default();
        for (share, &count) in self.counts.iter().enumerate() {
            if count > 0 {
                queued.insert(share);
            }
        }
        self.shares.mark_queued(queued, self.wants_common);
    }

    /// Draws permits behind the callers (Q4).
    pub(super) fn draw(&self, share: ShareIndex, wanted: Wanted) -> Result<usize, Denied> {
        if self.counts[share] > 0 {
            return Err(Denied::Queued);
        }
        self.shares.draw_in_turn(share, wanted, !self.wants_common)
    }
}
