//! Observation of a pool: holder records, statistics, the flight recorder and the user's hooks.
//!
//! The pool owns one [`Diagnostics`] and calls it where something happens. Nothing in here decides
//! what the pool does, and nothing refers back to the pool: a report reads it through [`Observed`].
//!
//! Modules, bottom-up: [`call_site`], [`clock`], [`holder_record`], [`holder_table`], [`stats`],
//! [`recorder`], [`config`].

pub(crate) mod call_site;
mod clock;
pub(crate) mod config;
#[expect(unsafe_code, reason = "keeps source locations as bare pointers")]
pub(crate) mod holder_record;
mod holder_table;
mod recorder;
pub(crate) mod stats;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::crate_copy::CrateCopy;
use crate::error::CommitError;
use crate::holders::{Holder, HolderState, Holders};
use crate::label::Label;
use crate::panics::catch_panics;
use crate::recording::{EventKind, Recording};
use crate::sync::{TickClock, thread_name};
use crate::tracing_events;

use self::call_site::{Acquirer, CallSite};
use self::clock::PoolClock;
pub(crate) use self::clock::nanoseconds;
use self::config::DiagnosticsConfig;
use self::holder_record::{HolderRecord, Snapshot};
use self::holder_table::{Age, HolderTable, MAX_SAMPLE};
use self::recorder::{Recorder, Subject};
use self::stats::{Counts, Stats, WaitEnd};

/// Duration of a wait that `tracing` is told about, if the user has set none.
const SLOW_WAIT: Duration = Duration::from_secs(1);

/// A pool as reports see it.
pub(crate) trait Observed {
    /// Returns the number of frames of the pool.
    fn frames(&self) -> usize;

    /// Returns the number of frames that are free.
    fn free_frames(&self) -> usize;

    /// Returns the holder record of a slot, for what it counts.
    fn record(&self, slot: usize) -> &HolderRecord;

    /// Reads the holder record of a slot.
    fn snapshot(&self, slot: usize) -> Snapshot;

    /// Returns the slots whose frames are out.
    fn slots_out(&self) -> impl Iterator<Item = usize>;

    /// Returns whether the frame of the slot is out.
    fn is_out(&self, slot: usize) -> bool;

    /// Returns the state and the number of loans of a frame that is held.
    fn held_state(&self, slot: usize) -> (HolderState, usize);

    /// Returns the copy of the crate that made the pool.
    fn made_by(&self) -> &'static CrateCopy;

    /// Returns the number of waiters, and since when the first of them waits.
    fn waiting(&self) -> (usize, Option<Instant>);
}

/// The start of a wait, and its number among all waits of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitStart {
    pub(crate) at: Instant,
    pub(crate) number: u64,
    /// The call that waits.
    pub(crate) site: CallSite,
}

/// All that is recorded about one pool.
#[derive(Debug)]
pub(crate) struct Diagnostics {
    config: DiagnosticsConfig,
    holders: HolderTable,
    counts: Counts,
    recorder: Option<Recorder>,
}

/// The calls that the pool makes.
impl Diagnostics {
    pub(crate) fn new(config: &DiagnosticsConfig, frames: usize) -> Result<Self, CommitError> {
        // Finding the fastest clock reads a file, which a pool without such times has no use for.
        let clock = if config.per_frame() {
            TickClock::fastest()
        } else {
            TickClock::Nanoseconds
        };
        Ok(Self {
            config: config.clone(),
            holders: HolderTable::new(frames, PoolClock::new(clock))?,
            counts: Counts::default(),
            recorder: Recorder::new(config.recorded_events)?,
        })
    }

    /// Observes an acquire, in a pool that observes [each frame](DiagnosticsConfig::per_frame).
    pub(crate) fn on_acquire(&self, record: &HolderRecord, slot: usize, site: CallSite) {
        if self.config.record_acquire_times {
            record.set_acquired_at(self.holders.clock.ticks());
        }
        self.write(EventKind::Acquired, Subject::Slot(slot), site.acquirer());
    }

    /// Observes a release, in a pool that observes each frame.
    pub(crate) fn on_release(&self, record: &HolderRecord, slot: usize) {
        record.set_acquired_at(0);
        self.frame_event(EventKind::Released, record, slot);
    }

    /// Observes that a frame has the holder at `site` from now on.
    pub(crate) fn on_transfer(
        &self,
        kind: EventKind,
        record: &HolderRecord,
        slot: usize,
        site: CallSite,
    ) {
        record.record_transfer(site);
        self.write(kind, Subject::Slot(slot), site.acquirer());
    }

    /// Records an event of a frame that the calling thread holds.
    pub(crate) fn frame_event(&self, kind: EventKind, record: &HolderRecord, slot: usize) {
        let holder = record.acquirer().in_this_thread();
        self.write(kind, Subject::Slot(slot), holder);
    }

    /// Records an event of the pool.
    pub(crate) fn pool_event(&self, kind: EventKind) {
        self.write(kind, Subject::Pool, CallSite::caller(None).acquirer());
    }

    /// Counts an acquire that found no frame free and did not wait.
    pub(crate) fn count_failed_acquire(&self) {
        self.counts.count_failed_acquire();
    }

    /// Counts a copy of a shared frame.
    pub(crate) fn count_copy(&self) {
        self.counts.count_copy();
    }

    /// Observes that a caller found no frame free and begins to wait. Now and then, it visits the
    /// frames of the sample that are out.
    pub(crate) fn begin_wait(&self, site: CallSite, pool: &impl Observed) -> WaitStart {
        let at = Instant::now();
        let number = self.counts.begin_wait();
        self.write(EventKind::WaitBegan, Subject::Wait(number), site.acquirer());
        if self.holders.scan_is_due(self.holders.now()) {
            self.holders
                .observe(sampled_slots_out(pool), |slot| pool.snapshot(slot));
        }
        WaitStart { at, number, site }
    }

    /// Observes the end of a wait. A long wait that was not `reported` is reported now: a future is
    /// not polled while it waits, and a thread may run again only when it has a frame.
    ///
    /// To be called when the wait has left the queue, because a hook may run.
    pub(crate) fn end_wait(
        &self,
        start: WaitStart,
        site: CallSite,
        end: WaitEnd,
        reported: bool,
        pool: &impl Observed,
    ) {
        self.counts.end_wait(start.at.elapsed(), end);
        let kind = match end {
            WaitEnd::Served => EventKind::WaitServed,
            WaitEnd::TimedOut | WaitEnd::Cancelled => EventKind::WaitGivenUp,
            WaitEnd::Refused => EventKind::WaitFailed,
        };
        self.write(kind, Subject::Wait(start.number), site.acquirer());
        // The error of a timed-out wait has the report.
        if !reported && end != WaitEnd::TimedOut && self.is_starved(start) {
            self.on_starved(start, None, pool);
        }
    }

    /// Observes that a waiter has entered the queue. Now and then, it emits an event.
    ///
    /// Does not panic.
    pub(crate) fn on_enqueued(&self, pool: &impl Observed) {
        catch_panics(|| {
            if tracing_events::starvation_enabled() && self.holders.event_is_due(self.holders.now())
            {
                tracing_events::starved(&self.sampled_holders(pool));
            }
        });
    }

    /// Returns when a wait that began at `start` is to be reported, if ever.
    pub(crate) fn starved_at(&self, start: WaitStart) -> Option<Instant> {
        let after = match &self.config.on_starved {
            Some((after, _)) => Some(*after),
            None => cfg!(feature = "tracing").then_some(SLOW_WAIT),
        };
        after.and_then(|after| start.at.checked_add(after))
    }

    /// Returns whether a wait that began at `start` is to be reported now.
    pub(crate) fn is_starved(&self, start: WaitStart) -> bool {
        self.starved_at(start)
            .is_some_and(|at| Instant::now() >= at)
    }

    /// Reports a wait that lasts for long. Does not panic.
    ///
    /// The hook and the `tracing` event are foreign code that takes any time, so neither begins
    /// after `deadline`. The error of the caller has the same report.
    pub(crate) fn on_starved(
        &self,
        start: WaitStart,
        deadline: Option<Instant>,
        pool: &impl Observed,
    ) {
        let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let hook = self.config.on_starved.as_ref().map(|(_, hook)| hook);
        if hook.is_none() && !tracing_events::warnings_enabled() {
            return;
        }
        catch_panics(|| {
            let holders = self.sample_as_made(pool);
            if let Some(hook) = hook.filter(|_| !is_over()) {
                hook.call(&holders);
            }
            if !is_over() {
                tracing_events::slow_wait(start.at.elapsed(), &with_own_labels(pool, holders));
            }
        });
    }

    /// Reports the frames that are out when the last handle of the pool is dropped. Does not panic.
    pub(crate) fn on_last_handle_dropped(&self, pool: &impl Observed) {
        // Before a hook or a subscriber is asked: usually there is nothing to report.
        if pool.free_frames() == pool.frames() {
            return;
        }
        let hook = self.config.on_leak.as_ref();
        catch_panics(|| {
            if hook.is_none() && !tracing_events::warnings_enabled() {
                return;
            }
            let holders = self.holders_as_made(pool);
            if holders.entries.is_empty() {
                return;
            }
            if let Some(hook) = hook {
                hook.call(&holders);
            }
            tracing_events::leaked(&with_own_labels(pool, holders));
        });
    }

    fn write(&self, kind: EventKind, subject: Subject, acquirer: Acquirer) {
        if let Some(recorder) = &self.recorder {
            recorder.write(kind, subject, acquirer, self.holders.clock.ticks());
        }
    }
}

/// The reports.
impl Diagnostics {
    /// Returns the holders of the frames that are out, as far as can be seen without stopping them.
    pub(crate) fn holders(&self, pool: &impl Observed) -> Holders {
        with_own_labels(pool, self.holders_as_made(pool))
    }

    /// Returns the holders with labels of the copy of the crate that made the pool: hooks are code
    /// of that copy.
    fn holders_as_made(&self, pool: &impl Observed) -> Holders {
        let mut holders = self.report(pool, pool.slots_out(), true);
        name_threads(&mut holders.entries);
        holders
    }

    /// Returns the holders of the frames that are out, in a pool of more than [`MAX_SAMPLE`] frames
    /// only those of that many slots.
    ///
    /// For a caller with a deadline: apart from the count of the free frames, which reads one word
    /// per 14 frames or fewer, the time and the memory that it takes do not depend on the number of
    /// frames. It makes no system call but those of the memory allocator and the locks.
    pub(crate) fn sampled_holders(&self, pool: &impl Observed) -> Holders {
        with_own_labels(pool, self.sample_as_made(pool))
    }

    fn sample_as_made(&self, pool: &impl Observed) -> Holders {
        let is_complete = pool.frames() <= MAX_SAMPLE;
        self.report(pool, sampled_slots_out(pool), is_complete)
    }

    /// Makes the report on the frames of the slots in `out`. `is_complete` is true if these are all
    /// frames that are out.
    fn report(
        &self,
        pool: &impl Observed,
        out: impl Iterator<Item = usize>,
        is_complete: bool,
    ) -> Holders {
        let mut entries = Vec::new();
        let entry = |slot, snapshot: Snapshot, age| entry(pool, slot, &snapshot, age);
        let snapshot = |slot| pool.snapshot(slot);
        let has_memory = self.holders.ages(&mut entries, out, snapshot, entry);
        entries.sort_unstable_by_key(|entry| (Reverse(entry.held_for), entry.slot));
        let (waiting, first_since) = pool.waiting();
        let frames = pool.frames();
        let out = if is_complete && has_memory {
            entries.len()
        } else {
            (frames - pool.free_frames()).max(entries.len())
        };
        Holders {
            pool: self.config.name,
            frames,
            free: frames - out,
            omitted: out - entries.len(),
            entries,
            waiting,
            longest_waiting: first_since.map(|since| since.elapsed()),
            shares: Vec::new(),
        }
    }

    /// Returns the name of the pool, as a label of the calling code.
    pub(crate) fn name(&self, pool: &impl Observed) -> Option<Label> {
        self.config.name.map(|name| pool.made_by().own_label(name))
    }

    /// Returns what the recorder has kept, if there is one.
    pub(crate) fn recording(&self, pool: &impl Observed) -> Option<Recording> {
        let recorder = self.recorder.as_ref()?;
        let clock = &self.holders.clock;
        let nanoseconds = |ticks, now| clock.nanoseconds_at(ticks, now);
        let mut recording = recorder.read(pool.frames(), || clock.moment(), nanoseconds);
        recording.pool = self.config.name;
        let events = recording.events.iter_mut();
        let labels = events.filter_map(|event| event.label.as_mut());
        for label in labels.chain(recording.pool.as_mut()) {
            *label = pool.made_by().own_label(*label);
        }
        Some(recording)
    }

    pub(crate) fn stats(&self, pool: &impl Observed) -> Stats {
        let mut stats = self.counts.read();
        stats.frames = pool.frames();
        stats.free = pool.free_frames();
        stats.waiting = pool.waiting().0;
        for record in (0..stats.frames).map(|slot| pool.record(slot)) {
            // The shares first: there are no more of them than acquires.
            stats.shared += record.shares();
            let acquires = record.acquires();
            stats.acquires += acquires;
            stats.high_water += usize::from(acquires > 0);
        }
        stats
    }
}

/// Translates the labels of the copy of the crate that made the pool into those of the calling
/// code.
fn with_own_labels(pool: &impl Observed, mut holders: Holders) -> Holders {
    let entries = holders.entries.iter_mut();
    let labels = entries.filter_map(|entry| entry.label.as_mut());
    for label in labels.chain(holders.pool.as_mut()) {
        *label = pool.made_by().own_label(*label);
    }
    holders
}

/// Returns at most [`MAX_SAMPLE`] of the frames that are out: those whose slots are in the sample,
/// which is evenly spread over all slots.
///
/// It is always the same sample, so that its frames are seen again and their ages grow.
fn sampled_slots_out(pool: &impl Observed) -> impl Iterator<Item = usize> {
    let frames = pool.frames();
    let size = frames.min(MAX_SAMPLE);
    (0..size)
        .map(move |number| number * frames / size)
        .filter(|&slot| pool.is_out(slot))
}

/// Makes the entry of one frame. Of a frame that is not held the record names the last holder, who
/// has nothing to do with it any more.
fn entry(pool: &impl Observed, slot: usize, snapshot: &Snapshot, age: Age) -> Holder {
    let held = snapshot.is_held();
    let (state, loans) = if held {
        pool.held_state(slot)
    } else {
        (HolderState::Unclaimed, 0)
    };
    Holder {
        slot,
        state,
        loans,
        label: snapshot.label().filter(|_| held),
        location: snapshot.location.filter(|_| held).map(Into::into),
        thread: snapshot.acquirer.thread(),
        thread_name: None,
        held_for: age.held_for,
        exact: age.exact,
    }
}

/// Looks up the name of each thread once.
fn name_threads(entries: &mut [Holder]) {
    let mut names = HashMap::new();
    let is_held = |entry: &&mut Holder| entry.state != HolderState::Unclaimed;
    for entry in entries.iter_mut().filter(is_held) {
        let name = names
            .entry(entry.thread)
            .or_insert_with(|| thread_name(entry.thread));
        entry.thread_name.clone_from(name);
    }
}
