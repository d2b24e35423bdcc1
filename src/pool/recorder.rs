//! The flight recorder: the last events of a pool, in a ring that is written without a lock or an allocation and
//! can be read at any time.
//!
//! Each event has a number, which one `fetch_add` gives out, from 1 on, and a place in the ring by it. It is
//! written as three words, each of which bears the lower bits of the number, and nothing else marks it as
//! written:
//!
//! ```text
//!         63 ........ 40   39 ................. 0
//!  what      number         kind (8), slot or wait (32)
//!  who       number         label (16), thread (24)
//!  when      number         time, in 64 ns
//! ```
//!
//! | the three numbers | the place holds |
//! |---|---|
//! | all are 0 | nothing yet |
//! | all are the one that is looked for | that event |
//! | all are another | an older event, or a younger one |
//! | they differ | an event that is being written |
//!
//! # Invariant
//!
//! - **R1** What is read as one event was written as one event. A word that another event wrote there bears that
//!   one's number, which differs in its lower 24 bits. (Wrong only if a thread is held up between two
//!   of its stores for a multiple of 2^24 events of the pool.)
//!
//! So no order between the stores matters, and all of them are *Relaxed*: a writer never waits, not even for
//! one that was held up in the same place a round before.

use std::time::Duration;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::recording::{Event, EventKind, Recording};
use crate::sync::{AtomicU64, Ordering};

use super::holder_table::Acquirer;

/// The most events that are kept, so that a number's lower bits tell at least 16 rounds apart.
const MOST_EVENTS: usize = 1 << 20;

const NUMBER_SHIFT: u32 = 40;
const NUMBER_MASK: u64 = (1 << 24) - 1;
const KIND_SHIFT: u32 = 32;
const THREAD_BITS: u32 = 24;
/// Times are in units of 64 ns. They wrap after 19 hours, and are told from each other by their order and by
/// when the recording is read.
const TIME_SHIFT: u32 = 6;
const TIME_MASK: u64 = (1 << NUMBER_SHIFT) - 1;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Pool,
    Slot(usize),
    Wait(u64),
}

#[derive(Debug)]
pub(crate) struct Recorder {
    ring: Vec<Record>,
    /// The number of the next event.
    next: AtomicU64,
}

/// A place in the ring.
#[derive(Debug)]
struct Record {
    what: AtomicU64,
    who: AtomicU64,
    when: AtomicU64,
}

impl Recorder {
    /// A recorder of so many events; none at all if that is 0.
    pub(crate) fn new(events: usize) -> Result<Option<Self>, CommitError> {
        if events == 0 {
            return Ok(None);
        }
        let events = events.min(MOST_EVENTS);
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

    /// Writes down an event, at a time in nanoseconds.
    pub(crate) fn write(&self, kind: EventKind, subject: Subject, by: Acquirer, now: u64) {
        // Relaxed, as all that follow: see R1.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let record = self.place(number);
        let number = (number & NUMBER_MASK) << NUMBER_SHIFT;
        let subject = match subject {
            Subject::Pool => 0,
            Subject::Slot(slot) => slot as u64,
            Subject::Wait(wait) => wait,
        };
        let subject = subject & u64::from(u32::MAX);
        let what = number | kind_number(kind) << KIND_SHIFT | subject;
        let thread = u64::from(by.thread()) & ((1 << THREAD_BITS) - 1);
        let label = by.label_number();
        let when = now >> TIME_SHIFT & TIME_MASK;
        record.what.store(what, Ordering::Relaxed);
        record
            .who
            .store(number | label << THREAD_BITS | thread, Ordering::Relaxed);
        record.when.store(number | when, Ordering::Relaxed);
    }

    /// All events that are in the ring, whole ones only.
    pub(crate) fn read(&self, frames: usize, clock: impl FnOnce() -> u64) -> Recording {
        let next = self.next.load(Ordering::Relaxed);
        let first = next.saturating_sub(self.ring.len() as u64).max(1);
        let mut events: Vec<_> = (first..next)
            .filter_map(|number| self.event(number))
            .collect();
        // After all of them, so that none is of a later time.
        let now = clock();
        let mut later = now >> TIME_SHIFT;
        for event in events.iter_mut().rev() {
            later = unwrapped(event.at, later);
            event.at = Duration::from_nanos(later << TIME_SHIFT);
        }
        Recording {
            frames,
            lost: next - 1 - events.len() as u64,
            events,
            read_at: Duration::from_nanos(now),
        }
    }

    fn place(&self, number: u64) -> &Record {
        let length = self.ring.len() as u64;
        // Less than the length, which is a `usize`.
        let index = usize::try_from(number % length).unwrap_or(0);
        &self.ring[index]
    }

    fn event(&self, number: u64) -> Option<Event> {
        let record = self.place(number);
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
        Some(Event {
            at: Duration::from_nanos(when << TIME_SHIFT),
            kind,
            slot: usize::try_from(subject).ok().filter(|_| kind.is_of_frame()),
            wait: Some(subject).filter(|_| kind.is_of_wait()),
            thread,
            label: Acquirer::label_of_number(who >> THREAD_BITS),
        })
    }
}

/// The time, in units of 64 ns, of which an event has the lower bits, and which is at most 19 hours before `later`.
/// (Events that are written down at once may be so in another order than they took the time in: then it is after it,
/// by less than a second.)
fn unwrapped(lower: Duration, later: u64) -> u64 {
    let lower = u64::try_from(lower.as_nanos()).unwrap_or(0) >> TIME_SHIFT;
    let second = 1_000_000_000 >> TIME_SHIFT;
    let before = (later + second).wrapping_sub(lower) & TIME_MASK;
    (later + second).saturating_sub(before)
}

/// The number of a kind, from 1 on: a place that was never written holds 0.
fn kind_number(kind: EventKind) -> u64 {
    let place = EventKind::ALL.iter().position(|&known| known == kind);
    place.map_or(0, |place| place as u64 + 1)
}

fn kind_of(number: u64) -> Option<EventKind> {
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    EventKind::ALL.get(place).copied()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use crate::pool::holder_table::CallSite;

    use super::*;

    fn who() -> Acquirer {
        CallSite::caller(None).acquirer()
    }

    #[test]
    fn every_kind_has_a_number_of_its_own() {
        for kind in EventKind::ALL {
            assert_eq!(kind_of(kind_number(kind)), Some(kind));
        }
        assert_eq!(kind_of(0), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let recorder = Recorder::new(3).unwrap().unwrap();
        assert!(recorder.read(1, || 1 << 40).events.is_empty());
        recorder.write(EventKind::Acquired, Subject::Slot(77), who(), 6400);
        recorder.write(EventKind::WaitBegan, Subject::Wait(5), who(), 6464);
        let recording = recorder.read(1, || 7000);
        assert_eq!(recording.lost, 0);
        let [acquired, waits] = recording.events[..] else {
            panic!("{recording:?}");
        };
        assert_eq!((acquired.slot, acquired.wait), (Some(77), None));
        assert_eq!(acquired.at, Duration::from_nanos(6400));
        assert_eq!((waits.slot, waits.wait), (None, Some(5)));
    }

    #[test]
    fn times_go_on_after_they_have_wrapped() {
        let recorder = Recorder::new(10).unwrap().unwrap();
        let hours = [1, 10, 19, 25, 40, 41].map(|hours| Duration::from_secs(hours * 3600));
        for at in hours {
            let now = u64::try_from(at.as_nanos()).unwrap();
            recorder.write(EventKind::Shared, Subject::Slot(0), who(), now);
        }
        // Two that took the time in the other order.
        let late = 41 * 3_600_000_000_000 - 6400;
        recorder.write(EventKind::Shared, Subject::Slot(0), who(), late);
        let recording = recorder.read(1, || 42 * 3_600_000_000_000);
        let read: Vec<_> = recording.events.iter().map(|event| event.at).collect();
        assert_eq!(read[..6], hours);
        assert_eq!(read[6], Duration::from_nanos(late));
    }

    #[test]
    fn the_last_events_are_kept_and_the_others_counted() {
        let recorder = Recorder::new(3).unwrap().unwrap();
        for slot in 0..10 {
            recorder.write(EventKind::Released, Subject::Slot(slot), who(), 0);
        }
        let recording = recorder.read(1, || 1 << 40);
        let slots: Vec<_> = recording
            .events
            .iter()
            .filter_map(|event| event.slot)
            .collect();
        assert_eq!(slots, [7, 8, 9]);
        assert_eq!(recording.lost, 7);
    }

    #[test]
    fn no_event_is_read_that_was_not_written_while_all_write() {
        let recorder = Recorder::new(70).unwrap().unwrap();
        let look = || {
            let events = recorder.read(1, || 1 << 40).events;
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
                // Slot and time say the same, and the label goes with the slot.
                let labels = [None, Some(crate::label::Label::new("odd"))];
                for value in (0..20_000).map(|step| step * 3 + thread) {
                    let by = CallSite::caller(labels[value % 2]).acquirer();
                    let now = (value as u64) << TIME_SHIFT;
                    recorder.write(EventKind::Acquired, Subject::Slot(value), by, now);
                }
            };
            let writers = [0, 1, 2].map(|thread| scope.spawn(move || write(thread)));
            while !writers.iter().all(|writer| writer.is_finished()) {
                look();
            }
        });
        // Now that nobody writes, all that fit are there, but for those whose place an older one took last.
        assert!(look() > 0);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use loom::thread;

    use crate::sync::Arc;

    use super::*;

    /// R1: two writers in the same place, a round apart, and a reader.
    ///
    /// Kills: a word without its event's number; `event` not looking at the number of one of the words; numbers
    /// from 0 on, which a place that was never written seems to hold.
    #[test]
    fn an_event_is_read_as_it_was_written_or_not_at_all() {
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
                    for event in recorder.read(1, || 1 << 40).events {
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
