//! How a caller waits for a frame: in the [line](super::waiters), with an eye on the clock and on who has the frames.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::AcquireError;
use crate::events;
use crate::recording::EventKind;

use super::core::Core;
use super::ledger::By;
use super::recorder::Subject;
use super::waiters::{Began, Outcome, Patience, Refusal, TaskStay};

/// A wait that `tracing` hears of, unless the user has a time of their own for that.
const SLOW: Duration = Duration::from_secs(1);

impl Core {
    /// Waits for a frame until `deadline`, or for ever; returns its number, which is the caller's then.
    pub(crate) fn wait(&self, by: By, deadline: Option<Instant>) -> Result<usize, AcquireError> {
        let began = self.begin_wait(by);
        let call_for_help: &dyn Fn() = &|| self.call_for_help(began);
        let alarm = self
            .alarm_after()
            .and_then(|after| began.at.checked_add(after));
        let patience = Patience {
            began,
            deadline,
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
        let began = stay.began().unwrap_or_else(|| self.begin_wait(by));
        match stay.poll(&self.waiters, &self.free, context, began) {
            Poll::Pending => {
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
        self.end_wait(began, by, None);
        called
    }

    /// A caller found no frame free. Now and then, one of these looks who has them all.
    fn begin_wait(&self, by: By) -> Began {
        let number = self.ledger.counts.begin_wait();
        let now = self.ledger.now();
        if self.ledger.look_again(now) {
            self.ledger.glance(now, self.out());
            if events::starvation_is_heard() && self.ledger.tell_again(now) {
                events::starved(&self.holders());
            }
        }
        self.record(EventKind::WaitBegan, Subject::Wait(number), by.who());
        let at = Instant::now();
        Began { at, number }
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
            None => events::trouble_is_heard().then_some(SLOW),
        }
    }

    fn call_for_help(&self, began: Began) {
        let holders = self.holders();
        events::slow_wait(began.at.elapsed(), &holders);
        if let Some((_, hook)) = &self.watch.starved {
            hook.call(&holders);
        }
    }
}
