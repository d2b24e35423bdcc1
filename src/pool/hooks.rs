//! What a user wants to know of a pool beyond what it tells anyway: as it happens, and of each frame.

use std::fmt;
use std::time::Duration;

use crate::holders::Holders;
use crate::recording::EventKind;
use crate::sync::PlainArc;
use crate::tracing_events;

use super::core::Core;
use super::holder_table::{Acquirer, CallSite};
use super::recorder::Subject;
use super::slot::Slot;
use super::wait_queue::catch_panics;

/// What is to be watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    /// Whether the time of each acquire is taken.
    pub(crate) stamps: bool,
    /// How many events the recorder keeps; 0 for no recorder.
    pub(crate) events: usize,
    /// Acquirer is to be told of a wait that lasts for so long.
    pub(crate) starved: Option<(Duration, Hook)>,
    /// Acquirer is to be told that the pool is gone, and its frames are not.
    pub(crate) leaked: Option<Hook>,
}

impl Hooks {
    /// Whether there is something to do for each frame.
    pub(crate) fn per_frame(&self) -> bool {
        self.stamps || self.events > 0
    }
}

/// What a user wants to be done.
#[derive(Clone)]
pub(crate) struct Hook(PlainArc<dyn Fn(&Holders) + Send + Sync>);

impl Hook {
    pub(crate) fn new(hook: impl Fn(&Holders) + Send + Sync + 'static) -> Self {
        Self(PlainArc::new(hook))
    }

    pub(crate) fn call(&self, holders: &Holders) {
        (self.0)(holders);
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}

impl Core {
    /// Notes that a frame was picked up, for a pool that attends.
    pub(crate) fn on_acquire(&self, slot: &Slot, site: CallSite) {
        if self.hooks.stamps {
            slot.holder.set_acquired_at(self.holder_table.now());
        }
        self.record(
            EventKind::Acquired,
            Subject::Slot(slot.number),
            site.acquirer(),
        );
    }

    /// Notes that a frame is about to go back, for a pool that attends.
    pub(crate) fn on_release(&self, slot: &Slot) {
        slot.holder.set_acquired_at(0);
        self.record_of(EventKind::Released, slot);
    }

    /// Notes that the calling thread did something with a frame, which it has.
    pub(crate) fn record_of(&self, kind: EventKind, slot: &Slot) {
        let who = slot.holder.acquirer().in_this_thread();
        self.record(kind, Subject::Slot(slot.number), who);
    }

    /// Notes that something happened to the pool.
    pub(crate) fn record_of_pool(&self, kind: EventKind) {
        self.record(kind, Subject::Pool, CallSite::caller(None).acquirer());
    }

    /// Tells of the frames that are out, as the last handle goes. Whatever others do then, the pool comes to its end.
    pub(crate) fn tell_of_leak(&self) {
        catch_panics(|| {
            if self.hooks.leaked.is_none() && !tracing_events::warnings_enabled() {
                return;
            }
            let holders = self.holders();
            if holders.entries.is_empty() {
                return;
            }
            if let Some(hook) = &self.hooks.leaked {
                hook.call(&holders);
            }
            tracing_events::leaked(&holders);
        });
    }

    /// Writes down an event, if there is a recorder.
    pub(crate) fn record(&self, kind: EventKind, subject: Subject, who: Acquirer) {
        if let Some(recorder) = &self.recorder {
            recorder.write(kind, subject, who, self.holder_table.now());
        }
    }
}
