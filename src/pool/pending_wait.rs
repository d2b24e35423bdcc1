//! Waits of tasks, which are polled until they have their frames, or canceled.

use std::mem;
use std::task::{Context, Poll};

use crate::diagnostics::WaitStart;
use crate::sync::Arc;

use super::free_list::FreeList;
use super::slot::FrameId;
use super::wait_queue::{Enqueued, WaitQueue};
use super::waiter::{Outcome, TaskWaker, Ticket, Waiter, Wake};

/// Place of a task in the queue.
#[derive(Debug)]
struct Place {
    ticket: Ticket,
    start: WaitStart,
    waiter: Arc<Waiter>,
}

/// Wait of an asynchronous caller, kept from poll to poll. The caller must
/// [`cancel`](Self::cancel) it before it drops it.
#[derive(Debug, Default)]
pub(crate) struct PendingWait {
    place: Option<Place>,
    alarm_ran: bool,
    /// All frames but that of the outcome.
    others: Vec<FrameId>,
}

impl PendingWait {
    /// Returns the start of the wait if the caller is in the queue.
    pub(crate) fn start(&self) -> Option<WaitStart> {
        self.place.as_ref().map(|place| place.start)
    }

    /// Returns true for the first call only.
    pub(crate) fn is_first_alarm(&mut self) -> bool {
        !mem::replace(&mut self.alarm_ran, true)
    }

    /// Takes the frames that the caller has beside that of the outcome.
    pub(crate) fn take_others(&mut self) -> Vec<FrameId> {
        mem::take(&mut self.others)
    }

    /// Enters the queue if the caller is not in it yet. Returns the outcome if there is one.
    pub(crate) fn poll(
        &mut self,
        queue: &WaitQueue,
        free: &FreeList,
        context: &Context<'_>,
        wait: (WaitStart, usize),
        on_taken: &dyn Fn(usize) -> FrameId,
    ) -> Poll<Outcome> {
        let Some(place) = &self.place else {
            return self.enqueue(queue, free, context, wait, on_taken);
        };
        let polled = place.waiter.poll(context);
        if polled.is_ready() {
            if let Some(place) = self.place.take() {
                self.end(queue, place.waiter);
            }
        }
        polled
    }

    fn end(&mut self, queue: &WaitQueue, waiter: Arc<Waiter>) {
        let mut collected = mem::take(&mut *waiter.collected.lock());
        self.others.append(&mut collected);
        queue.push_spare(waiter);
    }

    /// The first poll.
    fn enqueue(
        &mut self,
        queue: &WaitQueue,
        free: &FreeList,
        context: &Context<'_>,
        (start, wanted): (WaitStart, usize),
        on_taken: &dyn Fn(usize) -> FrameId,
    ) -> Poll<Outcome> {
        let wake = Wake::Task(TaskWaker::of(context));
        let waiter = queue.pop_spare();
        waiter.make_room(wanted);
        match queue.enqueue(free, &waiter, wake, (start, wanted), on_taken) {
            Enqueued::Done(outcome) => {
                self.end(queue, waiter);
                Poll::Ready(outcome)
            }
            Enqueued::Waiting(ticket) => {
                self.alarm_ran = false;
                self.place = Some(Place {
                    ticket,
                    start,
                    waiter,
                });
                Poll::Pending
            }
        }
    }

    /// Cancels the wait if the caller is in the queue. Returns the frames that were assigned to the
    /// caller before or at the same moment, which then belong to the caller.
    #[must_use]
    pub(crate) fn cancel(&mut self, queue: &WaitQueue) -> Vec<FrameId> {
        let Some(Place { ticket, waiter, .. }) = self.place.take() else {
            return Vec::new();
        };
        let outcome = queue.cancel_wait(&waiter, ticket);
        self.end(queue, waiter);
        // mutant: cancel-returns-collected
        let mut frames = self.take_others();
        frames.extend(outcome.and_then(Result::ok));
        frames
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use std::task::Waker;

    use loom::thread;

    use crate::pool::wait_queue::testing::{TestPool, spawn_release};
    use crate::sync::{Thread, current_thread};

    use super::*;

    /// W3: a wait for two frames that is canceled returns the frame that it has collected.
    ///
    /// Kills: `cancel` dropping the collected frames.
    #[test]
    fn a_canceled_wait_for_two_frames_loses_none() {
        loom::model(|| {
            let pool = TestPool::exhausted(2);
            let mut wait = PendingWait::default();
            assert!(pool.poll(&mut wait, Waker::noop(), 2).is_pending());
            let releaser = spawn_release(&pool);
            for frame in wait.cancel(&pool.wait_queue) {
                pool.release(frame.number());
            }
            releaser.join().unwrap();
            pool.release(1);
            pool.assert_at_rest();
        });
    }

    /// A task that is polled again is woken by the waker of its last poll.
    ///
    /// Kills: `poll` keeping the first waker.
    #[test]
    fn the_waker_of_the_last_poll_is_woken() {
        struct Unpark(Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let releaser = spawn_release(&pool);
            let mut wait = PendingWait::default();
            let mut poll = |waker: &Waker| pool.poll(&mut wait, waker, 1);
            let mut polled = poll(Waker::noop());
            let waker = Waker::from(std::sync::Arc::new(Unpark(current_thread())));
            let outcome = loop {
                if let Poll::Ready(outcome) = polled {
                    break outcome;
                }
                polled = poll(&waker);
                if polled.is_pending() {
                    thread::park();
                }
            };
            assert_eq!(outcome, Ok(FrameId::numbered(0)));
            releaser.join().unwrap();
            pool.release_outcome(outcome);
            pool.assert_at_rest();
        });
    }
}
