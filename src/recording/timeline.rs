//! What a recording tells of each frame and of each caller who waited: from events to spans of time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::label::Label;

use super::{Event, EventKind, Recording};

/// The lives of a pool's frames, with all spans between the first event and the last.
#[derive(Debug)]
pub(super) struct Lives {
    pub(super) whole: Span,
    /// In the order of their ends.
    pub(super) stays: Vec<Stay>,
    /// In the order of their beginnings.
    pub(super) waits: Vec<Wait>,
    /// When somebody waited whom no frame was on its way to. A pool lets nobody wait while a frame is free, so
    /// none was.
    pub(super) dry: Vec<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Span {
    pub(super) fn length(self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

/// Later than any recorder counts: so that sums of times have room, whatever somebody writes into a recording.
const LATEST: Duration = Duration::from_secs(1 << 32);

/// A frame's stay in the same hands.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) slot: usize,
    pub(super) span: Span,
    pub(super) hands: Hands,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hands {
    Labelled(Label),
    /// Of a holder without a label.
    Thread(u32),
    /// Nobody's yet: given to a caller who waited and has not picked it up.
    Waiter,
    /// Whose, was told before the recording begins.
    Unknown,
}

impl Hands {
    fn of(event: &Event) -> Self {
        event
            .label
            .map_or(Self::Thread(event.thread), Self::Labelled)
    }
}

impl fmt::Display for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Labelled(label) => label.fmt(f),
            Self::Thread(thread) => write!(f, "thread {thread}"),
            Self::Waiter => f.write_str("(not picked up)"),
            Self::Unknown => f.write_str("(unknown)"),
        }
    }
}

/// A caller's wait.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) number: u64,
    pub(super) span: Span,
    pub(super) who: Hands,
    /// How it ended, if it did.
    pub(super) end: Option<EventKind>,
    /// From 0 on. Waits on the same track do not overlap.
    pub(super) track: usize,
}

impl Wait {
    pub(super) fn outcome(&self) -> &'static str {
        match self.end {
            Some(EventKind::WaitServed) => "served",
            Some(EventKind::WaitRefused) => "refused",
            Some(_) => "given up",
            None => "still waiting",
        }
    }
}

impl Lives {
    pub(super) fn of(recording: &Recording) -> Self {
        let mut tale = Tale::begin(recording);
        for event in &recording.events {
            tale.tell(event);
        }
        tale.end()
    }

    /// How many of so many frames were in nobody's hands, and not on their way to somebody, from when on.
    pub(super) fn free(&self, frames: usize) -> Vec<(Duration, usize)> {
        let mut changes = BTreeMap::from([(self.whole.from, (0, 0))]);
        for Stay { span, .. } in &self.stays {
            changes.entry(span.from).or_insert((0, 0)).0 += 1;
            // What is still out in the end does not come back there.
            if span.to < self.whole.to {
                changes.entry(span.to).or_insert((0, 0)).1 += 1;
            }
        }
        let mut out: usize = 0;
        let mut free = Vec::new();
        for (at, (taken, given)) in changes {
            // In this order: a stay of no length comes and goes at the same moment.
            out = (out + taken).saturating_sub(given);
            let now = frames.saturating_sub(out);
            if free.last().is_none_or(|&(_, last)| last != now) {
                free.push((at, now));
            }
        }
        free
    }
}

/// The lives, while they are being told.
struct Tale {
    lives: Lives,
    /// Whether there was something before the first event.
    begins_in_the_middle: bool,
    /// Time never goes back, though threads may write down their events a little late.
    now: Duration,
    /// Slots that have been heard of, and who has their frames now.
    slots: HashMap<usize, Option<(Duration, Hands)>>,
    waits: BTreeMap<u64, OpenWait>,
    /// Those of them whom no frame is on its way to. The first who came is served first.
    line: BTreeSet<u64>,
    dry_since: Option<Duration>,
}

struct OpenWait {
    from: Duration,
    who: Hands,
    /// Where the frame is that was given to the caller.
    given: Option<usize>,
}

impl Tale {
    fn begin(recording: &Recording) -> Self {
        let times = || recording.events.iter().map(|event| event.at.min(LATEST));
        let read_at = recording.read_at.min(LATEST);
        let from = times().min().unwrap_or(read_at);
        let to = times().fold(read_at, Duration::max);
        let mut tale = Self {
            lives: Lives {
                whole: Span { from, to },
                stays: Vec::new(),
                waits: Vec::new(),
                dry: Vec::new(),
            },
            begins_in_the_middle: recording.lost > 0,
            now: from,
            slots: HashMap::new(),
            waits: BTreeMap::new(),
            line: BTreeSet::new(),
            dry_since: None,
        };
        let mut began = HashSet::new();
        for event in recording
            .events
            .iter()
            .filter(|event| event.kind.is_of_wait())
        {
            let Some(number) = event.wait else { continue };
            let is_first = began.insert(number);
            if is_first && event.kind != EventKind::WaitBegan {
                tale.begin_wait(number, Hands::of(event));
            }
        }
        tale
    }

    fn tell(&mut self, event: &Event) {
        self.now = self.now.max(event.at.min(LATEST));
        if let Some(slot) = event.slot {
            self.tell_of_frame(slot, event);
        }
        if let Some(number) = event.wait {
            match event.kind {
                EventKind::WaitBegan => self.begin_wait(number, Hands::of(event)),
                end => self.end_wait(number, end),
            }
        }
    }

    fn tell_of_frame(&mut self, slot: usize, event: &Event) {
        let hands = Hands::of(event);
        match event.kind {
            EventKind::Acquired => {
                self.put(slot);
                self.take(slot, hands);
            }
            EventKind::HandedOn => {
                self.hear_of(slot, Hands::Unknown);
                self.put(slot);
                self.take(slot, hands);
            }
            EventKind::Redeemed => {
                self.hear_of(slot, Hands::Unknown);
                let known = self.slots.get(&slot).copied().flatten();
                if known.is_none_or(|(_, had_it)| had_it != hands) {
                    self.put(slot);
                    self.take(slot, hands);
                }
            }
            EventKind::Released => {
                self.hear_of(slot, hands);
                self.put(slot);
                self.give_to_first(slot);
            }
            _ => self.hear_of(slot, hands),
        }
    }

    /// Of a frame that is out. If this is the first that is heard of it, it has been since the beginning.
    fn hear_of(&mut self, slot: usize, hands: Hands) {
        let from = self.lives.whole.from;
        let out = self.begins_in_the_middle.then_some((from, hands));
        self.slots.entry(slot).or_insert(out);
    }

    fn take(&mut self, slot: usize, hands: Hands) {
        self.slots.insert(slot, Some((self.now, hands)));
    }

    fn put(&mut self, slot: usize) {
        if let Some((from, hands)) = self.slots.insert(slot, None).flatten() {
            let span = Span { from, to: self.now };
            self.lives.stays.push(Stay { slot, span, hands });
        }
    }

    fn give_to_first(&mut self, slot: usize) {
        if let Some(first) = self.line.pop_first() {
            if let Some(wait) = self.waits.get_mut(&first) {
                wait.given = Some(slot);
            }
            self.take(slot, Hands::Waiter);
            self.look_whether_dry();
        }
    }

    fn begin_wait(&mut self, number: u64, who: Hands) {
        let from = self.now;
        let wait = OpenWait {
            from,
            who,
            given: None,
        };
        self.waits.insert(number, wait);
        self.line.insert(number);
        self.look_whether_dry();
    }

    fn end_wait(&mut self, number: u64, end: EventKind) {
        let Some(wait) = self.waits.remove(&number) else {
            return;
        };
        self.line.remove(&number);
        self.look_whether_dry();
        let given = wait.given.filter(|slot| {
            let out = self.slots.get(slot).copied().flatten();
            out.is_some_and(|(_, hands)| hands == Hands::Waiter)
        });
        if let (Some(slot), true) = (given, end != EventKind::WaitServed) {
            self.put(slot);
        }
        self.keep_wait(number, &wait, Some(end));
    }

    fn keep_wait(&mut self, number: u64, wait: &OpenWait, end: Option<EventKind>) {
        self.lives.waits.push(Wait {
            number,
            span: Span {
                from: wait.from,
                to: self.now,
            },
            who: wait.who,
            end,
            track: 0,
        });
    }

    fn look_whether_dry(&mut self) {
        match (self.dry_since, self.line.is_empty()) {
            (None, false) => self.dry_since = Some(self.now),
            (Some(from), true) => {
                self.dry_since = None;
                let span = Span { from, to: self.now };
                if !span.length().is_zero() {
                    self.lives.dry.push(span);
                }
            }
            _ => {}
        }
    }

    fn end(mut self) -> Lives {
        self.now = self.lives.whole.to;
        let mut out: Vec<_> = self.slots.keys().copied().collect();
        out.sort_unstable();
        for slot in out {
            self.put(slot);
        }
        for (number, wait) in std::mem::take(&mut self.waits) {
            self.keep_wait(number, &wait, None);
        }
        self.line.clear();
        self.look_whether_dry();
        self.lives
            .waits
            .sort_by_key(|wait| (wait.span.from, wait.number));
        lay_out(&mut self.lives.waits);
        self.lives
    }
}

/// Gives each wait the first track that is free then.
fn lay_out(waits: &mut [Wait]) {
    let mut tracks = 0;
    let mut free = BinaryHeap::new();
    let mut busy: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    for wait in waits {
        while let Some(&Reverse((until, track))) = busy.peek() {
            if until > wait.span.from {
                break;
            }
            busy.pop();
            free.push(Reverse(track));
        }
        wait.track = free.pop().map_or(tracks, |Reverse(track)| track);
        tracks = tracks.max(wait.track + 1);
        busy.push(Reverse((wait.span.to, wait.track)));
    }
}

#[cfg(test)]
#[cfg(not(loom))]
pub(super) mod tests {
    use super::*;

    /// An event after so many milliseconds.
    pub(in super::super) fn event(at: u64, kind: EventKind, subject: u64, label: &str) -> Event {
        Event {
            at: Duration::from_millis(at),
            kind,
            slot: usize::try_from(subject).ok().filter(|_| kind.is_of_frame()),
            wait: Some(subject).filter(|_| kind.is_of_wait()),
            thread: 7,
            label: (!label.is_empty()).then(|| Label::new(label)),
        }
    }

    pub(in super::super) fn recording(events: &[Event], lost: u64, read_at: u64) -> Recording {
        Recording {
            frames: 2,
            events: events.to_vec(),
            lost,
            read_at: Duration::from_millis(read_at),
        }
    }

    fn milliseconds(span: Span) -> (u128, u128) {
        (span.from.as_millis(), span.to.as_millis())
    }

    fn stays(lives: &Lives) -> Vec<(usize, String, (u128, u128))> {
        let stays = lives.stays.iter();
        stays
            .map(|stay| (stay.slot, stay.hands.to_string(), milliseconds(stay.span)))
            .collect()
    }

    use EventKind::{
        Acquired, HandedOn, Redeemed, Released, Shared, WaitBegan, WaitGivenUp, WaitServed,
    };

    #[test]
    fn a_stay_ends_where_the_next_begins() {
        let events = [
            event(1, Acquired, 0, "capture"),
            event(3, HandedOn, 0, "encoder"),
            event(4, Shared, 0, "encoder"),
            event(6, Released, 0, "encoder"),
            event(8, Acquired, 0, ""),
        ];
        let lives = Lives::of(&recording(&events, 0, 10));
        let wanted = [
            (0, "capture".to_owned(), (1, 3)),
            (0, "encoder".to_owned(), (3, 6)),
            (0, "thread 7".to_owned(), (8, 10)),
        ];
        assert_eq!(stays(&lives), wanted);
        let free: Vec<_> = lives
            .free(2)
            .into_iter()
            .map(|(at, free)| (at.as_millis(), free))
            .collect();
        assert_eq!(free, [(1, 1), (6, 2), (8, 1)]);
        assert!(lives.dry.is_empty() && lives.waits.is_empty());
    }

    #[test]
    fn what_is_first_heard_of_in_the_middle_was_so_from_the_beginning() {
        let events = [
            event(5, Acquired, 3, "new"),
            event(6, Released, 0, "known"),
            event(7, HandedOn, 1, "next"),
            event(8, WaitServed, 9, "late"),
            event(8, Redeemed, 2, "back"),
        ];
        let lives = Lives::of(&recording(&events, 4, 9));
        let wanted = [
            (0, "known".to_owned(), (5, 6)),
            (1, "(unknown)".to_owned(), (5, 7)),
            (2, "(unknown)".to_owned(), (5, 8)),
            // The wait was one from the beginning on, so the frame that came back was for it.
            (0, "(not picked up)".to_owned(), (6, 9)),
            (1, "next".to_owned(), (7, 9)),
            (2, "back".to_owned(), (8, 9)),
            (3, "new".to_owned(), (5, 9)),
        ];
        assert_eq!(stays(&lives), wanted);
        assert_eq!(lives.waits.len(), 1);
        assert_eq!(
            lives
                .dry
                .iter()
                .copied()
                .map(milliseconds)
                .collect::<Vec<_>>(),
            [(5, 6)]
        );
    }

    #[test]
    fn it_is_dry_while_somebody_waits_and_no_frame_is_on_its_way() {
        let events = [
            event(0, Acquired, 0, "a"),
            event(1, WaitBegan, 0, "b"),
            event(2, WaitBegan, 1, "c"),
            event(4, Released, 0, "a"),
            event(5, WaitGivenUp, 1, "c"),
            event(7, WaitServed, 0, "b"),
            event(8, Acquired, 0, "b"),
            event(9, Released, 0, "b"),
        ];
        let lives = Lives::of(&recording(&events, 0, 10));
        assert_eq!(
            lives
                .dry
                .iter()
                .copied()
                .map(milliseconds)
                .collect::<Vec<_>>(),
            [(1, 5)]
        );
        let waits: Vec<_> = lives
            .waits
            .iter()
            .map(|wait| (wait.track, wait.outcome(), milliseconds(wait.span)))
            .collect();
        assert_eq!(waits, [(0, "served", (1, 7)), (1, "given up", (2, 5))]);
        assert!(stays(&lives).contains(&(0, "(not picked up)".to_owned(), (4, 8))));
    }

    #[test]
    fn a_frame_for_one_who_gives_up_is_free_again() {
        let events = [
            event(0, Acquired, 0, "a"),
            event(1, WaitBegan, 0, "b"),
            event(2, Released, 0, "a"),
            event(3, WaitGivenUp, 0, "b"),
        ];
        let lives = Lives::of(&recording(&events, 0, 9));
        assert!(stays(&lives).contains(&(0, "(not picked up)".to_owned(), (2, 3))));
        assert_eq!(lives.free(1).last().unwrap().1, 1);
    }

    #[test]
    fn waits_share_a_track_if_they_do_not_overlap() {
        let events: Vec<_> = [(0, 5), (1, 3), (3, 9), (4, 6), (6, 7)]
            .into_iter()
            .enumerate()
            .flat_map(|(number, (from, to))| {
                let number = number as u64;
                [
                    event(from, WaitBegan, number, ""),
                    event(to, WaitServed, number, ""),
                ]
            })
            .collect();
        let mut sorted = events;
        sorted.sort_by_key(|event| event.at);
        let lives = Lives::of(&recording(&sorted, 0, 9));
        let tracks: Vec<_> = lives.waits.iter().map(|wait| wait.track).collect();
        assert_eq!(tracks, [0, 1, 1, 2, 0]);
    }

    #[test]
    fn no_events_are_no_lives() {
        let lives = Lives::of(&recording(&[], 0, 9));
        assert!(lives.stays.is_empty() && lives.dry.is_empty());
        assert_eq!(lives.whole.length(), Duration::ZERO);
    }
}
