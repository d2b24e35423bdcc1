//! What a pool says of itself: who has its frames, and what it has been through.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::error::AcquireError;
use crate::holders::{Holder, HolderState, Holders};
use crate::recording::Recording;
use crate::thread;

use super::core::Core;
use super::ledger::{Entry, Note};
use super::stats::Stats;

impl Core {
    /// Who has the frames and who waits, as far as can be seen without stopping anybody.
    pub(crate) fn holders(&self) -> Holders {
        let mut holders = self.ledger.look(self.out(), |slot, note, held, exact| {
            self.holder(slot, note, held, exact)
        });
        // What a thread keeps for itself is in no word, and free all the same.
        let is_kept = |slot| self.free.is_kept(slot);
        holders.retain(|holder| holder.state != HolderState::Queued || !is_kept(holder.slot));
        holders.sort_by_key(|holder| Reverse(holder.held));
        let mut names = HashMap::new();
        for holder in holders.iter_mut().filter(|holder| holder.place.is_some()) {
            let name = names.entry(holder.thread);
            let name = name.or_insert_with(|| thread::name(holder.thread));
            holder.thread_name.clone_from(name);
        }
        let (waiting, first_since) = self.waiters.in_line();
        let frames = self.free.frames();
        Holders {
            frames,
            free: frames - holders.len(),
            holders,
            waiting,
            longest_waiting: first_since.map(|since| since.elapsed()),
        }
    }

    fn holder(&self, slot: usize, note: Note, held: Duration, exact: bool) -> Holder {
        let state = self.state(slot, &note);
        let Note {
            place,
            label,
            thread,
            held: held_by_somebody,
            ..
        } = note;
        Holder {
            slot,
            state,
            label: label.filter(|_| held_by_somebody),
            place: place.filter(|_| held_by_somebody).map(Into::into),
            thread,
            thread_name: None,
            held,
            exact,
        }
    }

    fn state(&self, slot: usize, note: &Note) -> HolderState {
        if !note.held {
            return HolderState::Queued;
        }
        if self.lent.is_lent(slot) {
            return HolderState::Lent;
        }
        match self.slots()[slot].handles.count() {
            0 | 1 => HolderState::Unique,
            handles => HolderState::Shared { handles },
        }
    }

    /// The frames that are out, and what is noted of them.
    pub(super) fn out(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let slots = self.slots();
        self.free.out().map(|slot| (slot, &slots[slot].entry))
    }

    /// The error with the holders in it, where it is about them.
    pub(crate) fn explain(&self, error: AcquireError) -> AcquireError {
        match error {
            AcquireError::Exhausted(_) => AcquireError::Exhausted(self.holders().into()),
            AcquireError::TimedOut(_) => AcquireError::TimedOut(self.holders().into()),
            AcquireError::Flushing | AcquireError::NotCommitted => error,
        }
    }

    /// What the recorder has kept, if there is one.
    pub(crate) fn recording(&self) -> Option<Recording> {
        let recorder = self.recorder.as_ref()?;
        Some(recorder.read(self.free.frames(), || self.ledger.now()))
    }

    /// The error of a caller who did not want to wait, which is counted.
    #[cold]
    pub(crate) fn fail(&self, error: AcquireError) -> AcquireError {
        if matches!(error, AcquireError::Exhausted(_)) {
            self.ledger.counts.fail();
        }
        error
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.ledger.counts.read();
        stats.frames = self.free.frames();
        stats.free = self.free.free_frames();
        stats.waiting = self.waiters.in_line().0;
        for entry in self.slots().iter().map(|slot| &slot.entry) {
            let acquires = entry.acquires();
            stats.acquires += acquires;
            stats.high_water += usize::from(acquires > 0);
            stats.shared += entry.shares();
        }
        stats
    }
}
