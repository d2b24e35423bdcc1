//! Waits of threads, which block until they have their frames, or give up at a deadline.

use std::mem;
use std::time::Instant;

use crate::diagnostics::WaitStart;
use crate::sync::{current_thread, park_until};

use super::deferred_wakes;
use super::free_list::FreeList;
use super::pool_state::Refusal;
use super::slot::FrameId;
use super::wait_queue::{Enqueued, WaitQueue};
use super::waiter::{Outcome, Ticket, Waiter, Wake};

/// Parameters of a blocking wait.
pub(crate) struct WaitParams<'a> {
    pub(crate) start: WaitStart,
    /// Number of frames that the caller waits for, at least 1.
    pub(crate) wanted: usize,
    /// Time at which the wait times out.
    pub(crate) deadline: Option<Instant>,
    /// Called with the number of each frame that the caller takes itself, with the lock of the
    /// queue held. Returns the frame.
    pub(crate) on_taken: &'a dyn Fn(usize) -> FrameId,
    /// Called once the caller is in the queue. Neither this function nor the alarm may panic,
    /// because the queue entry would be left behind.
    pub(crate) on_enqueued: &'a dyn Fn(),
    /// Time from which on the wait counts as starved, and the function that is called once then.
    pub(crate) alarm: Option<(Instant, &'a dyn Fn())>,
}

impl WaitParams<'_> {
    /// Returns when the thread next wakes up by itself, if ever.
    fn next_wake_up(&self) -> Option<Instant> {
        match (self.deadline, &self.alarm) {
            (Some(deadline), &Some((alarm, _))) => Some(deadline.min(alarm)),
            (deadline, alarm) => deadline.or(alarm.as_ref().map(|&(at, _)| at)),
        }
    }

    /// Runs the alarm, whose time has come unless the deadline has passed. Returns false if the
    /// deadline has passed, which the caller must look at again after each alarm.
    fn run_alarm(&mut self) -> bool {
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            return false;
        }
        if let Some((_, run)) = self.alarm.take() {
            run();
        }
        true
    }
}

impl WaitQueue {
    /// Blocks until as many frames as it wants are assigned to the caller, the pool closes or the
    /// deadline has passed. Appends all frames but that of the outcome to `others`; if there is no
    /// outcome, they are the caller's all the same.
    pub(crate) fn wait(
        &self,
        free: &FreeList,
        params: WaitParams<'_>,
        others: &mut Vec<FrameId>,
    ) -> Outcome {
        let waiter = self.pop_spare();
        waiter.make_room(params.wanted);
        let wake = Wake::Thread(current_thread());
        let wait = (params.start, params.wanted);
        let outcome = match self.enqueue(free, &waiter, wake, wait, params.on_taken) {
            Enqueued::Done(outcome) => outcome,
            Enqueued::Waiting(ticket) => {
                (params.on_enqueued)();
                self.wait_for_outcome(&waiter, ticket, params)
            }
        };
        let mut collected = mem::take(&mut *waiter.collected.lock());
        others.append(&mut collected);
        self.push_spare(waiter);
        outcome
    }

    pub(super) fn wait_for_outcome(
        &self,
        waiter: &Waiter,
        ticket: Ticket,
        mut params: WaitParams<'_>,
    ) -> Outcome {
        loop {
            // The waiter's own outcome may depend on them (D2).
            deferred_wakes::run();
            if let Some(outcome) = waiter.outcome() {
                return outcome;
            }
            if !park_until(params.next_wake_up()) && !params.run_alarm() {
                return self
                    .cancel_wait(waiter, ticket)
                    .unwrap_or(Err(Refusal::TimedOut));
            }
        }
    }
}
