//! What a pool says of itself: who has its frames, and what it has been through.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::error::AcquireError;
use crate::holders::{Holder, HolderState, Holders};
use crate::os_thread;
use crate::recording::Recording;

use super::core::Core;
use super::holder_table::{HolderRecord, Snapshot};
use super::stats::Stats;

impl Core {
    /// Acquirer has the frames and who waits, as far as can be seen without stopping anybody.
    pub(crate) fn holders(&self) -> Holders {
        let mut entries = self
            .holder_table
            .look(self.out(), |slot, snapshot, held, exact| {
                self.holder(slot, snapshot, held, exact)
            });
        // What a thread keeps for itself is in no word, and free all the same.
        let is_kept = |slot| self.free.is_cached(slot);
        entries.retain(|holder| holder.state != HolderState::Unclaimed || !is_kept(holder.slot));
        entries.sort_by_key(|holder| Reverse(holder.held));
        let mut names = HashMap::new();
        for holder in entries
            .iter_mut()
            .filter(|holder| holder.location.is_some())
        {
            let name = names.entry(holder.thread);
            let name = name.or_insert_with(|| os_thread::name(holder.thread));
            holder.thread_name.clone_from(name);
        }
        let (waiting, first_since) = self.wait_queue.waiting();
        let frames = self.free.frames();
        Holders {
            frames,
            free: frames - entries.len(),
            entries,
            waiting,
            longest_waiting: first_since.map(|since| since.elapsed()),
        }
    }

    fn holder(&self, slot: usize, snapshot: Snapshot, held: Duration, exact: bool) -> Holder {
        let state = self.state(slot, &snapshot);
        let Snapshot {
            location,
            label,
            thread,
            held: held_by_somebody,
            ..
        } = snapshot;
        Holder {
            slot,
            state,
            label: label.filter(|_| held_by_somebody),
            location: location.filter(|_| held_by_somebody).map(Into::into),
            thread,
            thread_name: None,
            held,
            exact,
        }
    }

    fn state(&self, slot: usize, snapshot: &Snapshot) -> HolderState {
        if !snapshot.held {
            return HolderState::Unclaimed;
        }
        if self.loans.is_lent(slot) {
            return HolderState::Lent;
        }
        match self.slots()[slot].handles.count() {
            0 | 1 => HolderState::Unique,
            handles => HolderState::Shared { handles },
        }
    }

    /// The frames that are out, and what is noted of them.
    pub(super) fn out(&self) -> impl Iterator<Item = (usize, &HolderRecord)> {
        let slots = self.slots();
        self.free.out().map(|slot| (slot, &slots[slot].holder))
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
        Some(recorder.read(self.free.frames(), || self.holder_table.now()))
    }

    /// The error of a caller who did not want to wait, which is counted.
    #[cold]
    pub(crate) fn fail(&self, error: AcquireError) -> AcquireError {
        if matches!(error, AcquireError::Exhausted(_)) {
            self.holder_table.counts.fail();
        }
        error
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.holder_table.counts.read();
        stats.frames = self.free.frames();
        stats.free = self.free.free_frames();
        stats.waiting = self.wait_queue.waiting().0;
        for record in self.slots().iter().map(|slot| &slot.holder) {
            let acquires = record.acquires();
            stats.acquires += acquires;
            stats.high_water += usize::from(acquires > 0);
            stats.shared += record.shares();
        }
        stats
    }
}
