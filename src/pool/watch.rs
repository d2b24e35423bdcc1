//! What a user wants to know of a pool beyond what it tells anyway: as it happens, and of each frame.

use std::fmt;
use std::time::Duration;

use crate::events;
use crate::holders::Holders;
use crate::recording::EventKind;
use crate::sync::PlainArc;

use super::core::Core;
use super::ledger::{By, Who};
use super::recorder::Subject;
use super::slot::Slot;
use super::waiters::contain;

/// What is to be watched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// Whether the time of each acquire is taken.
    pub(crate) stamps: bool,
    /// How many events the recorder keeps; 0 for no recorder.
    pub(crate) events: usize,
    /// Who is to be told of a wait that lasts for so long.
    pub(crate) starved: Option<(Duration, Hook)>,
    /// Who is to be told that the pool is gone, and its frames are not.
    pub(crate) leaked: Option<Hook>,
}

impl Watch {
    /// Whether there is something to do for each frame.
    pub(crate) fn is_of_each_frame(&self) -> bool {
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
    pub(crate) fn attend_pick_up(&self, slot: &Slot, by: By) {
        if self.watch.stamps {
            slot.entry.stamp(self.ledger.now());
        }
        self.record(EventKind::Acquired, Subject::Slot(slot.number), by.who());
    }

    /// Notes that a frame is about to go back, for a pool that attends.
    pub(crate) fn attend_give_back(&self, slot: &Slot) {
        slot.entry.stamp(0);
        self.record_of(EventKind::Released, slot);
    }

    /// Notes that the calling thread did something with a frame, which it has.
    pub(crate) fn record_of(&self, kind: EventKind, slot: &Slot) {
        let who = slot.entry.who().in_this_thread();
        self.record(kind, Subject::Slot(slot.number), who);
    }

    /// Notes that something happened to the pool.
    pub(crate) fn record_of_pool(&self, kind: EventKind) {
        self.record(kind, Subject::Pool, By::caller(None).who());
    }

    /// Tells of the frames that are out, as the last handle goes. Whatever others do then, the pool comes to its end.
    pub(crate) fn tell_of_leak(&self) {
        contain(|| {
            if self.watch.leaked.is_none() && !events::trouble_is_heard() {
                return;
            }
            let holders = self.holders();
            if holders.holders.is_empty() {
                return;
            }
            if let Some(hook) = &self.watch.leaked {
                hook.call(&holders);
            }
            events::leaked(&holders);
        });
    }

    /// Writes down an event, if there is a recorder.
    pub(crate) fn record(&self, kind: EventKind, subject: Subject, who: Who) {
        if let Some(recorder) = &self.recorder {
            recorder.write(kind, subject, who, self.ledger.now());
        }
    }
}
