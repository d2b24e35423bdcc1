//! How a caller waits for a frame: in the [line](super::waiters), with an eye on the clock and on who has the frames.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::AcquireError;
use crate::events;
use crate::recording::EventKind;

use super::core::Core;
use super::ledger::By;
use super::recorder::Subject;
use super::waiters::{Began, Outcome, Patience, Refusal, TaskStay, contain};

/// A wait that `tracing` hears of, unless the user has a time of their own for that.
const SLOW: Duration = Duration::from_secs(1);

impl Core {
    /// Waits for a frame until `deadline`, or for ever; returns its number, which is the caller's then.
    pub(crate) fn wait(&self, by: By, deadline: Option<Instant>) -> Result<usize, AcquireError> {
        let began = self.begin_wait(by);
        let call_for_help: &dyn Fn() = &|| self.call_for_help(began);
        let enlisted: &dyn Fn() = &|| self.look_who_has_them_all();
        let alarm = self
            .alarm_after()
            .and_then(|after| began.at.checked_add(after));
        let patience = Patience {
            began,
            deadline,
            enlisted,
            alarm: alarm.map(|at| (at, call_for_help)),
        };
        let outcome = self.waiters.wait(&self.free, patience);
        self.end_wait(began, by, Some(outcome));
        outcome.map_err(|refusal| self.explain(refusal.into()))
    }

    /// As `wait`, for a task that keeps `stay`.
    pub(crate) fn poll_wait(
        &self,
        by: By,
        stay: &mut TaskStay,
        context: &Context<'_>,
    ) -> Poll<Result<usize, AcquireError>> {
        let by = by.in_this_thread();
        let enlisted = stay.began();
        let began = enlisted.unwrap_or_else(|| self.begin_wait(by));
        match stay.poll(&self.waiters, &self.free, context, began) {
            Poll::Pending => {
                if enlisted.is_none() {
                    self.look_who_has_them_all();
                }
                let late = self
                    .alarm_after()
                    .is_some_and(|after| began.at.elapsed() >= after);
                if late && stay.is_first_alarm() {
                    self.call_for_help(began);
                }
                Poll::Pending
            }
            Poll::Ready(outcome) => {
                self.end_wait(began, by, Some(outcome));
                Poll::Ready(outcome.map_err(Into::into))
            }
        }
    }

    /// Ends the stay of a task that does not want to wait any more. A frame that it was called for at the same
    /// moment is the caller's then.
    pub(crate) fn abandon_wait(&self, by: By, stay: &mut TaskStay) -> Option<usize> {
        let began = stay.began()?;
        let called = stay.leave(&self.waiters, &self.free);
        self.end_wait(began, by.in_this_thread(), None);
        called
    }

    /// A caller found no frame free.
    fn begin_wait(&self, by: By) -> Began {
        let at = Instant::now();
        let number = self.ledger.counts.begin_wait();
        self.record(EventKind::WaitBegan, Subject::Wait(number), by.who());
        Began { at, number }
    }

    /// What one of those who wait does now and then, once it has its place in the line.
    fn look_who_has_them_all(&self) {
        let now = self.ledger.now();
        if self.ledger.look_again(now) {
            self.ledger.glance(self.out());
            contain(|| {
                if events::starvation_is_heard() && self.ledger.tell_again(now) {
                    events::starved(&self.holders());
                }
            });
        }
    }

    fn end_wait(&self, Began { at, number }: Began, by: By, outcome: Option<Outcome>) {
        let timed_out = outcome == Some(Err(Refusal::TimedOut));
        self.ledger.counts.end_wait(at.elapsed(), timed_out);
        let kind = match outcome {
            Some(Ok(_)) => EventKind::WaitServed,
            Some(Err(Refusal::TimedOut)) | None => EventKind::WaitGivenUp,
            Some(Err(Refusal::Flushing | Refusal::NotCommitted)) => EventKind::WaitRefused,
        };
        self.record(kind, Subject::Wait(number), by.who());
    }

    /// After how long a wait is to be told of, if at all.
    fn alarm_after(&self) -> Option<Duration> {
        match &self.watch.starved {
            Some((after, _)) => Some(*after),
            None => cfg!(feature = "tracing").then_some(SLOW),
        }
    }

    fn call_for_help(&self, began: Began) {
        contain(|| {
            let hook = self.watch.starved.as_ref().map(|(_, hook)| hook);
            if hook.is_none() && !events::trouble_is_heard() {
                return;
            }
            let holders = self.holders();
            if let Some(hook) = hook {
                hook.call(&holders);
            }
            events::slow_wait(began.at.elapsed(), &holders);
        });
    }
}
