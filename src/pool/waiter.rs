//! One caller that waits for a frame.
//!
//! A waiter is shared by the caller that waits and the [wait queue](super::wait_queue). It is
//! reused by one wait after the other, each of which has a ticket of its own.
//!
//! # States
//!
//! ```text
//!           enqueue            assign(ticket, outcome)
//!   Idle ---------------> Waiting -----------------------> Assigned
//!    ^                       | cancel                         | outcome, cancel
//!    +-----------------------+--------------------------------+
//! ```
//!
//! A waiter for several frames stays `Waiting` while it collects all but the last.
//!
//! # Invariants
//!
//! - **W6** Wakers are foreign code, and so are their clones and drops. They run while no lock is
//!   held, and a waiter that ends its wait has left the queue before. Panics of wakers and of their
//!   drops are caught.

use std::mem;
use std::task::{Context, Poll, Waker};

use crate::panics::catch_panics;
use crate::sync::{Arc, NoAllocMutex, NoAllocMutexGuard, Thread};

use super::pool_state::Refusal;
use super::slot::FrameId;

/// The number of one wait.
pub(super) type Ticket = u64;

/// Result of a wait: a frame, which then belongs to the caller, or the reason for the failure.
pub(crate) type Outcome = Result<FrameId, Refusal>;

/// One waiting caller.
#[derive(Debug)]
pub(super) struct Waiter {
    state: NoAllocMutex<State>,
    /// The frames of a wait for several, without the last, which is in the outcome. Locked after
    /// `state`. There is room for all before the wait begins.
    pub(super) collected: NoAllocMutex<Vec<FrameId>>,
    /// Locked after `state`.
    pub(super) deferred: NoAllocMutex<Deferred>,
}

#[derive(Debug)]
pub(super) enum State {
    Idle,
    Waiting {
        ticket: Ticket,
        /// That of the queue's entry.
        round: u64,
        wake: Wake,
        /// Number of frames that were not assigned yet.
        missing: usize,
    },
    Assigned(Outcome),
}

#[derive(Debug)]
pub(super) enum Wake {
    Thread(Thread),
    Task(TaskWaker),
}

/// The waker of a task. A panic in it or in its drop must not end the release that wakes the task,
/// nor leave the next waiter waiting (W6).
#[derive(Debug)]
pub(super) struct TaskWaker(Option<Waker>);

impl TaskWaker {
    /// Clones the waker of `context`, which is foreign code and can panic.
    pub(super) fn of(context: &Context<'_>) -> Self {
        Self(Some(context.waker().clone()))
    }

    pub(super) fn wake(mut self) {
        if let Some(waker) = self.0.take() {
            catch_panics(|| waker.wake());
        }
    }
}

impl Drop for TaskWaker {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            catch_panics(|| drop(waker));
        }
    }
}

/// Part of a waiter that belongs to a list of deferred wakes.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// `Some` while the waiter is in a list.
    pub(super) waker: Option<TaskWaker>,
    pub(super) next: Option<Arc<Waiter>>,
}

impl Waiter {
    pub(super) fn new() -> Self {
        Self {
            state: NoAllocMutex::new(State::Idle),
            collected: NoAllocMutex::new(Vec::new()),
            deferred: NoAllocMutex::new(Deferred::default()),
        }
    }

    /// Makes room for the frames of a wait, because nothing is allocated while a lock is held.
    pub(super) fn make_room(&self, wanted: usize) {
        if wanted > 1 {
            let room = Vec::with_capacity(wanted - 1);
            *self.collected.lock() = room;
        }
    }

    pub(super) fn start(&self, ticket: Ticket, round: u64, wake: Wake, missing: usize) {
        *self.state.lock() = State::Waiting {
            ticket,
            round,
            wake,
            missing,
        };
    }

    /// Lets the wait of `ticket` begin anew, in the next round. Adds the frames that it has
    /// collected to `given_back`. Does nothing if the wait has ended already.
    pub(super) fn restart(
        &self,
        ticket: Ticket,
        next_round: u64,
        wanted: usize,
        given_back: &mut Vec<FrameId>,
    ) {
        if let State::Waiting {
            ticket: current,
            round,
            missing,
            ..
        } = &mut *self.state.lock()
        {
            if *current == ticket {
                (*round, *missing) = (next_round, wanted);
                given_back.append(&mut self.collected.lock());
            }
        }
    }

    /// Ends the wait of this ticket and round with `outcome`, and lets `wake_caller` wake the
    /// caller, which also releases the lock of the state. Does nothing and returns false if that
    /// wait has ended already, or goes on in another round. Calls `record` before.
    pub(super) fn assign(
        &self,
        wait: (Ticket, u64),
        outcome: Outcome,
        record: impl FnOnce(),
        wake_caller: impl FnOnce(Wake, NoAllocMutexGuard<'_, State>),
    ) -> bool {
        let mut state = self.state.lock();
        // mutant: assign-checks-ticket
        let is_wait = |ticket, round| (ticket, round) == wait;
        if !matches!(*state, State::Waiting { ticket, round, .. } if is_wait(ticket, round)) {
            // mutant: assign-reports-canceled
            return false;
        }
        // The caller keeps the frame, and with it the pool, until the outcome can be read.
        record();
        if let (State::Waiting { missing, .. }, Ok(frame)) = (&mut *state, outcome) {
            *missing -= 1;
            // mutant: assign-collects
            if *missing > 0 {
                self.collected.lock().push(frame);
                return true;
            }
        }
        let State::Waiting { wake, .. } = mem::replace(&mut *state, State::Assigned(outcome))
        else {
            return true;
        };
        wake_caller(wake, state);
        true
    }

    /// Returns the outcome if one has been assigned; the waiter is idle then.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let mut state = self.state.lock();
        match *state {
            State::Assigned(outcome) => {
                *state = State::Idle;
                Some(outcome)
            }
            State::Idle | State::Waiting { .. } => None,
        }
    }

    /// Ends the wait in any state. Returns the outcome if one has been assigned before, or else how
    /// the waiter would have been woken.
    pub(super) fn cancel(&self) -> (Option<Outcome>, Option<Wake>) {
        let before = mem::replace(&mut *self.state.lock(), State::Idle);
        match before {
            State::Assigned(outcome) => (Some(outcome), None),
            State::Waiting { wake, .. } => (None, Some(wake)),
            State::Idle => (None, None),
        }
    }

    /// Returns the outcome if one has been assigned. Otherwise the assignment will wake the task
    /// of `context`.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        // Wakers are foreign code, so they are cloned before the lock is taken and dropped after
        // it is free.
        let mut wake_next = Wake::Task(TaskWaker::of(context));
        let mut state = self.state.lock();
        if let State::Waiting { wake, .. } = &mut *state {
            // mutant: poll-replaces-waker
            mem::swap(wake, &mut wake_next);
            return Poll::Pending;
        }
        drop(state);
        drop(wake_next);
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}
