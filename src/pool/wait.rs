//! How a caller waits for a frame: in the [line](super::wait_queue), with an eye on the clock and on who has the frames.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::AcquireError;
use crate::recording::EventKind;
use crate::tracing_events;

use super::core::Core;
use super::holder_table::CallSite;
use super::recorder::Subject;
use super::wait_queue::{Outcome, PendingWait, Refusal, WaitParams, WaitStart, catch_panics};

/// A wait that `tracing` hears of, unless the user has a time of their own for that.
const SLOW: Duration = Duration::from_secs(1);

impl Core {
    /// Waits for a frame until `deadline`, or for ever; returns its number, which is the caller's then.
    pub(crate) fn wait(
        &self,
        site: CallSite,
        deadline: Option<Instant>,
    ) -> Result<usize, AcquireError> {
        let began = self.begin_wait(site);
        let call_for_help: &dyn Fn() = &|| self.call_for_help(began);
        let enlisted: &dyn Fn() = &|| self.look_who_has_them_all();
        let alarm = self
            .alarm_after()
            .and_then(|after| began.at.checked_add(after));
        let patience = WaitParams {
            start: began,
            deadline,
            on_enqueued: enlisted,
            alarm: alarm.map(|at| (at, call_for_help)),
        };
        let outcome = self.wait_queue.wait(&self.free, patience);
        self.end_wait(began, site, Some(outcome));
        outcome.map_err(|refusal| self.explain(refusal.into()))
    }

    /// As `wait`, for a task that keeps `stay`.
    pub(crate) fn poll_wait(
        &self,
        site: CallSite,
        stay: &mut PendingWait,
        context: &Context<'_>,
    ) -> Poll<Result<usize, AcquireError>> {
        let site = site.in_this_thread();
        let enlisted = stay.start();
        let began = enlisted.unwrap_or_else(|| self.begin_wait(site));
        match stay.poll(&self.wait_queue, &self.free, context, began) {
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
                self.end_wait(began, site, Some(outcome));
                Poll::Ready(outcome.map_err(Into::into))
            }
        }
    }

    /// Ends the stay of a task that does not want to wait any more. A frame that it was called for at the same
    /// moment is the caller's then.
    pub(crate) fn abandon_wait(&self, site: CallSite, stay: &mut PendingWait) -> Option<usize> {
        let began = stay.start()?;
        let called = stay.cancel(&self.wait_queue, &self.free);
        self.end_wait(began, site.in_this_thread(), None);
        called
    }

    /// A caller found no frame free.
    fn begin_wait(&self, site: CallSite) -> WaitStart {
        let at = Instant::now();
        let number = self.holder_table.counts.begin_wait();
        self.record(EventKind::WaitBegan, Subject::Wait(number), site.acquirer());
        WaitStart { at, number }
    }

    /// What one of those who wait does now and then, once it has its place in the line.
    fn look_who_has_them_all(&self) {
        let now = self.holder_table.now();
        if self.holder_table.scan_is_due(now) {
            self.holder_table.observe(self.out());
            catch_panics(|| {
                if tracing_events::starvation_is_heard() && self.holder_table.report_is_due(now) {
                    tracing_events::starved(&self.holders());
                }
            });
        }
    }

    fn end_wait(
        &self,
        WaitStart { at, number }: WaitStart,
        site: CallSite,
        outcome: Option<Outcome>,
    ) {
        let timed_out = outcome == Some(Err(Refusal::TimedOut));
        self.holder_table.counts.end_wait(at.elapsed(), timed_out);
        let kind = match outcome {
            Some(Ok(_)) => EventKind::WaitServed,
            Some(Err(Refusal::TimedOut)) | None => EventKind::WaitGivenUp,
            Some(Err(Refusal::Flushing | Refusal::NotCommitted)) => EventKind::WaitRefused,
        };
        self.record(kind, Subject::Wait(number), site.acquirer());
    }

    /// After how long a wait is to be told of, if at all.
    fn alarm_after(&self) -> Option<Duration> {
        match &self.hooks.starved {
            Some((after, _)) => Some(*after),
            None => cfg!(feature = "tracing").then_some(SLOW),
        }
    }

    fn call_for_help(&self, began: WaitStart) {
        catch_panics(|| {
            let hook = self.hooks.starved.as_ref().map(|(_, hook)| hook);
            if hook.is_none() && !tracing_events::trouble_is_heard() {
                return;
            }
            let holders = self.holders();
            if let Some(hook) = hook {
                hook.call(&holders);
            }
            tracing_events::slow_wait(began.at.elapsed(), &holders);
        });
    }
}
