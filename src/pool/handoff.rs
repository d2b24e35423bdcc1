//! Entries of the wait queue, and the waiters that its operations return, to be told of outcomes.
//!
//! # Invariants
//!
//! - **W4** A frame is assigned while no lock of the pool is held, and the assigning thread
//!   touches nothing of the pool afterwards: the waiter may run at once, drop the frame and, with
//!   it, the pool.

use std::collections::VecDeque;

use crate::diagnostics::WaitStart;
use crate::diagnostics::call_site::CallSite;
use crate::sync::Arc;

use super::deferred_wakes;
use super::permit_queue::Caller;
use super::pool_state::Refusal;
use super::shares::ShareIndex;
use super::slot::FrameId;
use super::waiter::{Outcome, Ticket, Waiter};

/// An entry of the queue.
#[derive(Debug)]
pub(super) struct QueueEntry {
    pub(super) ticket: Ticket,
    /// The round of the wait. What an earlier round assigns arrives in vain (W8).
    pub(super) round: u64,
    pub(super) start: WaitStart,
    pub(super) waiter: Arc<Waiter>,
    /// The caller's share, in a pool with shares.
    pub(super) share: ShareIndex,
    /// Number of frames that the waiter waits for.
    pub(super) wanted: usize,
    /// Number of those that were not handed out to the waiter yet.
    pub(super) missing: usize,
}

impl Caller for QueueEntry {
    fn share(&self) -> ShareIndex {
        self.share
    }

    fn wanted(&self) -> usize {
        self.wanted
    }

    fn ticket(&self) -> Ticket {
        self.ticket
    }
}

/// A waiter that was popped from the queue and is to be assigned a frame.
#[derive(Debug)]
pub(crate) struct Handoff {
    ticket: Ticket,
    round: u64,
    site: CallSite,
    waiter: Arc<Waiter>,
}

impl Handoff {
    pub(super) fn of(entry: &QueueEntry) -> Self {
        Self {
            ticket: entry.ticket,
            round: entry.round,
            site: entry.start.site,
            waiter: Arc::clone(&entry.waiter),
        }
    }

    /// Returns the call site of the waiter.
    pub(crate) fn site(&self) -> CallSite {
        self.site
    }

    /// Assigns `frame` to the waiter. Returns false if the waiter has canceled, or waits in another
    /// round (W8); the frame then still belongs to the caller. Touches nothing of the pool (W4),
    /// except that it calls `record` first if it assigns the frame, with the waiter locked.
    pub(crate) fn assign(self, frame: FrameId, record: impl FnOnce()) -> bool {
        self.end(Ok(frame), record)
    }

    fn end(self, outcome: Outcome, record: impl FnOnce()) -> bool {
        let wait = (self.ticket, self.round);
        self.waiter.assign(wait, outcome, record, |wake, locked| {
            deferred_wakes::wake(&self.waiter, wake, locked);
        })
    }
}

/// A waiter and a frame that was taken for it, which is not assigned yet.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) handoff: Handoff,
    pub(crate) frame: FrameId,
}

/// The callers that waited when the pool closed. Dropping this fails their waits, which may run
/// wakers, so no lock may be held then.
#[derive(Debug)]
#[must_use = "fails the waits when it is dropped, which must happen after all locks are released"]
pub(crate) struct RejectedWaiters {
    pub(super) entries: VecDeque<QueueEntry>,
    pub(super) refusal: Refusal,
}

impl Drop for RejectedWaiters {
    fn drop(&mut self) {
        for entry in self.entries.drain(..) {
            Handoff::of(&entry).end(Err(self.refusal), || ());
        }
    }
}

/// Waits that have ended. The waiters are to be told after all locks are released.
#[derive(Debug, Default)]
pub(crate) struct EndedWaits {
    /// Waiters with frames of the new generation.
    pub(crate) served: Vec<Served>,
    /// Waiters that want more frames than the new generation has.
    pub(crate) rejected: Option<RejectedWaiters>,
    /// Frames of the old generation, which belong to the caller.
    pub(crate) given_back: Vec<FrameId>,
}
