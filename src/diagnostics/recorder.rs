//! Flight recorder: the last events of a pool, in a ring buffer.
//!
//! Writing takes no lock and allocates nothing. The ring can be read at any time.
//!
//! Each event has a number, counted from 1 by one `fetch_add`, which also determines its entry in
//! the ring. The event is written as three words. Each word carries the lower bits of the number,
//! and nothing else marks it as written:
//!
//! ```text
//!         63 ........ 40   39 ................. 0
//!  what      number         kind (8), slot or wait (32)
//!  who       number         label (16), thread (24)
//!  when      number         time, in 128 ticks
//! ```
//!
//! | numbers in the three words | content of the entry |
//! |---|---|
//! | all 0 | nothing yet |
//! | all equal to the expected number | the expected event |
//! | all equal to another number | an older or a newer event |
//! | different | an event that is being written |
//!
//! # Invariant
//!
//! - **R1** Three words that are read as one event were written as one event. A word of another
//!   event carries another number, which differs in its lower 24 bits. (This fails only if a thread
//!   is preempted between two of its stores for a multiple of 2^24 events of the pool.)
//!
//! So the order of the stores does not matter, and all of them are *Relaxed*. A writer never waits,
//! not even for a writer that was preempted in the same entry one round before.

use std::time::Duration;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::recording::{Event, EventKind, Recording};
use crate::sync::{AtomicU64, Ordering};

use super::call_site::Acquirer;
use super::clock::Moment;

/// Maximum number of events kept, so that the lower bits of a number distinguish at least 16
/// rounds.
const MAX_EVENTS: usize = 1 << 20;

const NUMBER_SHIFT: u32 = 40;
const NUMBER_MASK: u64 = (1 << 24) - 1;
const KIND_SHIFT: u32 = 32;
const THREAD_BITS: u32 = 24;
/// Times are in units of 128 ticks. They wrap after 9 hours at 4 ticks per nanosecond. The reader
/// extends them by their order and by the time of the read.
const TIME_SHIFT: u32 = 7;
const TIME_MASK: u64 = (1 << NUMBER_SHIFT) - 1;

/// Subject of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Pool,
    Slot(usize),
    Wait(u64),
}

/// The flight recorder of one pool.
#[derive(Debug)]
pub(crate) struct Recorder {
    ring: Vec<Record>,
    /// The number of the next event.
    next: AtomicU64,
}

/// One entry of the ring.
#[derive(Debug)]
struct Record {
    what: AtomicU64,
    who: AtomicU64,
    when: AtomicU64,
}

// `FramePoolBuilder::record` says that an event takes 24 bytes.
#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<Record>() == 24);

impl Recorder {
    /// Makes a recorder of the last `events` events, or none if that is 0.
    pub(crate) fn new(events: usize) -> Result<Option<Self>, CommitError> {
        if events == 0 {
            return Ok(None);
        }
        let events = events.min(MAX_EVENTS);
        let mut ring = try_with_capacity(events)?;
        ring.extend((0..events).map(|_| Record {
            what: AtomicU64::new(0),
            who: AtomicU64::new(0),
            when: AtomicU64::new(0),
        }));
        // mutant: event-numbers-start-at-1
        let next = AtomicU64::new(1);
        Ok(Some(Self { ring, next }))
    }

    /// Records an event at the time `ticks` of the pool's clock.
    pub(crate) fn write(&self, kind: EventKind, subject: Subject, acquirer: Acquirer, ticks: u64) {
        // Relaxed, as are the stores below: see R1.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let record = self.entry(number);
        let number = (number & NUMBER_MASK) << NUMBER_SHIFT;
        let subject = match subject {
            Subject::Pool => 0,
            Subject::Slot(slot) => slot as u64,
            Subject::Wait(wait) => wait,
        };
        let subject = subject & u64::from(u32::MAX);
        let what = number | kind_number(kind) << KIND_SHIFT | subject;
        let thread = u64::from(acquirer.thread()) & ((1 << THREAD_BITS) - 1);
        let label = acquirer.label_number();
        let when = ticks >> TIME_SHIFT & TIME_MASK;
        record.what.store(what, Ordering::Relaxed);
        record
            .who
            .store(number | label << THREAD_BITS | thread, Ordering::Relaxed);
        record.when.store(number | when, Ordering::Relaxed);
    }

    /// Returns the events in the ring that are complete. `now` is the pool's clock, and
    /// `nanoseconds` converts its ticks.
    pub(super) fn read(
        &self,
        frames: usize,
        now: impl FnOnce() -> Moment,
        nanoseconds: impl Fn(u64, Moment) -> u64,
    ) -> Recording {
        let next = self.next.load(Ordering::Relaxed);
        let first = next.saturating_sub(self.ring.len() as u64).max(1);
        let mut read: Vec<_> = (first..next)
            .filter_map(|number| self.event(number))
            .collect();
        // Read after all events, so that none of them is later.
        let now = now();
        let mut later = now.ticks >> TIME_SHIFT;
        for (when, event) in read.iter_mut().rev() {
            later = unwrapped(*when, later);
            event.at = Duration::from_nanos(nanoseconds(later << TIME_SHIFT, now));
        }
        let events: Vec<_> = read.into_iter().map(|(_, event)| event).collect();
        Recording {
            pool: None,
            frames,
            shares: Vec::new(),
            lost: next - 1 - events.len() as u64,
            events,
            read_at: Duration::from_nanos(now.nanoseconds),
        }
    }

    fn entry(&self, number: u64) -> &Record {
        let length = self.ring.len() as u64;
        // The remainder is less than the length, which is a `usize`.
        let index = usize::try_from(number % length).unwrap_or(0);
        &self.ring[index]
    }

    /// Returns the lower bits of an event's time, and the event without its time.
    fn event(&self, number: u64) -> Option<(u64, Event)> {
        let record = self.entry(number);
        let number = number & NUMBER_MASK;
        let of_number = |word: &AtomicU64| {
            let word = word.load(Ordering::Relaxed);
            let rest = word & ((1 << NUMBER_SHIFT) - 1);
            (word >> NUMBER_SHIFT == number).then_some(rest)
        };
        let what = of_number(&record.what)?;
        // mutant: event-word-2-is-checked
        let who = of_number(&record.who)?;
        // mutant: event-word-3-is-checked
        let when = of_number(&record.when)?;
        let kind = kind_of(what >> KIND_SHIFT)?;
        let subject = what & u64::from(u32::MAX);
        let thread = u32::try_from(who & ((1 << THREAD_BITS) - 1)).unwrap_or(0);
        let event = Event {
            at: Duration::ZERO,
            kind,
            slot: usize::try_from(subject).ok().filter(|_| kind.is_of_frame()),
            wait: Some(subject).filter(|_| kind.is_of_wait()),
            thread,
            label: Acquirer::label_of_number(who >> THREAD_BITS),
        };
        Some((when, event))
    }
}

/// Returns the time, in units of 128 ticks, that has the lower bits `lower` and is less than a wrap
/// before `later`.
///
/// Threads may read the clock in one order and take event numbers in the other. So the time may
/// also be some seconds after `later`.
fn unwrapped(lower: u64, later: u64) -> u64 {
    const SECONDS: u64 = (1 << 34) >> TIME_SHIFT;
    let before = (later + SECONDS).wrapping_sub(lower) & TIME_MASK;
    (later + SECONDS).saturating_sub(before)
}

/// Returns the number of a kind, from 1: an entry that was never written holds 0.
fn kind_number(kind: EventKind) -> u64 {
    let index = EventKind::ALL.iter().position(|&known| known == kind);
    index.map_or(0, |index| index as u64 + 1)
}

fn kind_of(number: u64) -> Option<EventKind> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    EventKind::ALL.get(index).copied()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::call_site::CallSite;

    use super::*;

    /// Reads a recorder whose clock has a tick per nanosecond.
    fn read(recorder: &Recorder, now: u64) -> Recording {
        let now = Moment {
            ticks: now,
            nanoseconds: now,
        };
        recorder.read(1, || now, |ticks, _| ticks)
    }

    fn acquirer() -> Acquirer {
        CallSite::caller(None).acquirer()
    }

    #[test]
    fn each_kind_has_its_own_number() {
        for kind in EventKind::ALL {
            assert_eq!(kind_of(kind_number(kind)), Some(kind));
        }
        assert_eq!(kind_of(0), None);
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let recorder = Recorder::new(3).unwrap().unwrap();
        assert!(read(&recorder, 1 << 40).events.is_empty());
        recorder.write(EventKind::Acquired, Subject::Slot(77), acquirer(), 6400);
        recorder.write(EventKind::WaitBegan, Subject::Wait(5), acquirer(), 6464);
        let recording = read(&recorder, 7000);
        assert_eq!(recording.lost, 0);
        let [acquired, waits] = recording.events[..] else {
            panic!("{recording:?}");
        };
        assert_eq!((acquired.slot, acquired.wait), (Some(77), None));
        assert_eq!(acquired.at, Duration::from_nanos(6400));
        assert_eq!((waits.slot, waits.wait), (None, Some(5)));
    }

    #[test]
    fn times_continue_after_they_wrap() {
        let recorder = Recorder::new(10).unwrap().unwrap();
        let hours = [1, 10, 19, 25, 40, 41].map(|hours| Duration::from_secs(hours * 3600));
        for at in hours {
            let now = u64::try_from(at.as_nanos()).unwrap();
            recorder.write(EventKind::Shared, Subject::Slot(0), acquirer(), now);
        }
        // A thread that read the clock earlier and took its event number later.
        let late = 41 * 3_600_000_000_000 - 6400;
        recorder.write(EventKind::Shared, Subject::Slot(0), acquirer(), late);
        let recording = read(&recorder, 42 * 3_600_000_000_000);
        let read: Vec<_> = recording.events.iter().map(|event| event.at).collect();
        assert_eq!(read[..6], hours);
        assert_eq!(read[6], Duration::from_nanos(late));
    }

    #[test]
    fn the_last_events_are_kept_and_the_lost_ones_counted() {
        let recorder = Recorder::new(3).unwrap().unwrap();
        for slot in 0..10 {
            recorder.write(EventKind::Released, Subject::Slot(slot), acquirer(), 0);
        }
        let recording = read(&recorder, 1 << 40);
        let slots: Vec<_> = recording
            .events
            .iter()
            .filter_map(|event| event.slot)
            .collect();
        assert_eq!(slots, [7, 8, 9]);
        assert_eq!(recording.lost, 7);
    }

    #[test]
    fn concurrent_writers_never_produce_a_mixed_event() {
        let recorder = Recorder::new(70).unwrap().unwrap();
        let read_all = || {
            let events = read(&recorder, 1 << 40).events;
            for event in &events {
                let value = event.slot.unwrap();
                assert_eq!(event.at, Duration::from_nanos((value as u64) << TIME_SHIFT));
                assert_eq!(event.label.is_some(), value % 2 == 1);
            }
            events.len()
        };
        std::thread::scope(|scope| {
            let recorder = &recorder;
            let write = |thread: usize| {
                // Slot, time and label are functions of one value.
                let labels = [None, Some(crate::label::Label::new("odd"))];
                for value in (0..20_000).map(|step| step * 3 + thread) {
                    let by = CallSite::caller(labels[value % 2]).acquirer();
                    let now = (value as u64) << TIME_SHIFT;
                    recorder.write(EventKind::Acquired, Subject::Slot(value), by, now);
                }
            };
            let writers = [0, 1, 2].map(|thread| scope.spawn(move || write(thread)));
            while !writers.iter().all(|writer| writer.is_finished()) {
                read_all();
            }
        });
        // No thread writes now. An entry is missing only if an older event was written to it last.
        assert!(read_all() > 0);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use loom::thread;

    use crate::sync::Arc;

    use super::*;

    /// Reads a recorder whose clock has a tick per nanosecond.
    fn read(recorder: &Recorder, now: u64) -> Recording {
        let now = Moment {
            ticks: now,
            nanoseconds: now,
        };
        recorder.read(1, || now, |ticks, _| ticks)
    }

    /// R1: two writers of the same entry, one round apart, and a reader.
    ///
    /// Kills: a word without its event's number; `event` ignoring the number of one of the words;
    /// numbers from 0, which an entry that was never written seems to hold.
    #[test]
    fn an_event_is_read_whole_or_not_at_all() {
        loom::model(|| {
            let recorder = Arc::new(Recorder::new(1).unwrap().unwrap());
            let write = |recorder: &Recorder, value: u32| {
                let by = Acquirer::of(value, 0);
                let now = u64::from(value) << TIME_SHIFT;
                recorder.write(EventKind::Acquired, Subject::Slot(value as usize), by, now);
            };
            let other = {
                let recorder = recorder.clone();
                thread::spawn(move || write(&recorder, 1))
            };
            let reader = {
                let recorder = recorder.clone();
                thread::spawn(move || {
                    for event in read(&recorder, 1 << 40).events {
                        let value = event.slot.unwrap();
                        assert_eq!(event.thread as usize, value);
                        assert_eq!(event.at, Duration::from_nanos((value as u64) << TIME_SHIFT));
                    }
                })
            };
            write(&recorder, 2);
            other.join().unwrap();
            reader.join().unwrap();
        });
    }
}
