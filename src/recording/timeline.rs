//! Timeline of a recording: its events turned into spans of time, per frame and per waiting caller.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::label::Label;

use super::event::{Event, EventKind, Recording};

impl Recording {
    /// Returns the events of the pool itself: not those of a frame or a wait.
    pub(super) fn events_of_pool(&self) -> impl Iterator<Item = &Event> {
        self.events
            .iter()
            .filter(|event| !event.kind.is_of_frame() && !event.kind.is_of_wait())
    }

    /// Returns the slots that have events.
    pub(super) fn slots(&self) -> BTreeSet<usize> {
        self.events.iter().filter_map(|event| event.slot).collect()
    }
}

/// Spans of a recording. All of them are inside `whole`.
#[derive(Debug)]
pub(super) struct Timeline {
    /// From the first event to the time at which the recording was read.
    pub(super) whole: Span,
    /// Ordered by their ends.
    pub(super) holds: Vec<HoldSpan>,
    /// Ordered by their starts.
    pub(super) waits: Vec<Wait>,
    /// Spans in which the pool was dry: at least one waiter had no frame assigned. A pool lets no
    /// caller wait while a frame is free, so no frame was free in these spans.
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

/// Upper limit of the times, later than any time that the recorder can store. The fields of a
/// recording are public; with this limit sums of times cannot overflow, whatever they contain.
const MAX_TIME: Duration = Duration::from_secs(1 << 32);

/// Span in which one owner held the frame of a slot.
#[derive(Debug)]
pub(super) struct HoldSpan {
    pub(super) slot: usize,
    pub(super) span: Span,
    pub(super) owner: Owner,
}

/// Owner of a frame, as far as the recording tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Label(Label),
    /// Thread of a holder without a label.
    Thread(u32),
    /// None yet: the frame is assigned to a waiter that has not picked it up.
    Unclaimed,
    /// Became the owner before the recording starts.
    Unknown,
}

impl Owner {
    /// Returns the label of the event or, if it has none, the thread.
    fn of(event: &Event) -> Self {
        event.label.map_or(Self::Thread(event.thread), Self::Label)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => label.fmt(f),
            Self::Thread(thread) => write!(f, "thread {thread}"),
            Self::Unclaimed => f.write_str("(unclaimed)"),
            Self::Unknown => f.write_str("(unknown)"),
        }
    }
}

/// Span in which one caller waited for a frame.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) number: u64,
    pub(super) span: Span,
    pub(super) caller: Owner,
    /// Event that ended the wait, if it has ended.
    pub(super) end: Option<EventKind>,
    /// Track to draw the wait on, from 0. Waits on the same track do not overlap.
    pub(super) track: usize,
}

impl Wait {
    pub(super) fn outcome(&self) -> &'static str {
        match self.end {
            Some(EventKind::WaitServed) => "served",
            Some(EventKind::WaitFailed) => "failed",
            Some(_) => "given up",
            None => "still waiting",
        }
    }
}

impl Timeline {
    pub(super) fn new(recording: &Recording) -> Self {
        let mut builder = TimelineBuilder::new(recording);
        for event in &recording.events {
            builder.apply(event);
        }
        builder.finish()
    }

    /// Returns the number of free frames over time, of `frames` in all: one entry per change.
    /// Frames that are assigned to a waiter are not free.
    pub(super) fn free_frames(&self, frames: usize) -> Vec<(Duration, usize)> {
        // Per time: the number of holds that begin, and the number that end.
        let mut changes = BTreeMap::from([(self.whole.from, (0, 0))]);
        for HoldSpan { span, .. } in &self.holds {
            changes.entry(span.from).or_insert((0, 0)).0 += 1;
            // A hold that reaches the end of the recording is still open there.
            if span.to < self.whole.to {
                changes.entry(span.to).or_insert((0, 0)).1 += 1;
            }
        }
        let mut out: usize = 0;
        let mut counts = Vec::new();
        for (at, (begun, ended)) in changes {
            // Add first: a hold of length 0 begins and ends at the same time.
            out = (out + begun).saturating_sub(ended);
            let free = frames.saturating_sub(out);
            if counts.last().is_none_or(|&(_, last)| last != free) {
                counts.push((at, free));
            }
        }
        counts
    }
}

/// Timeline under construction: replays the events of a recording in order.
struct TimelineBuilder {
    timeline: Timeline,
    /// `true` if events before the first one are missing from the recording.
    starts_in_the_middle: bool,
    /// Time of the latest event so far. It never goes back, although threads may write their events
    /// slightly out of order.
    now: Duration,
    /// Slots that had an event, with the start and the owner of the current hold, if any.
    slots: HashMap<usize, Option<(Duration, Owner)>>,
    /// Number of slots with a hold.
    out: usize,
    /// Number of frames, in a pool with shares. There a caller may wait while frames are free, and
    /// a frame that is released may not be for the first waiter.
    frames_with_shares: Option<usize>,
    /// Waits that have not ended.
    waits: BTreeMap<u64, OpenWait>,
    /// Numbers of the open waits that have no frame assigned. The lowest is served first.
    queue: BTreeSet<u64>,
    dry_since: Option<Duration>,
}

struct OpenWait {
    from: Duration,
    caller: Owner,
    /// Slot of the frame that is assigned to the waiter.
    assigned: Option<usize>,
}

impl TimelineBuilder {
    fn new(recording: &Recording) -> Self {
        let times = || recording.events.iter().map(|event| event.at.min(MAX_TIME));
        let read_at = recording.read_at.min(MAX_TIME);
        let from = times().min().unwrap_or(read_at);
        let to = times().fold(read_at, Duration::max);
        let mut builder = Self {
            timeline: Timeline {
                whole: Span { from, to },
                holds: Vec::new(),
                waits: Vec::new(),
                dry: Vec::new(),
            },
            starts_in_the_middle: recording.lost > 0,
            now: from,
            slots: HashMap::new(),
            out: 0,
            frames_with_shares: (!recording.shares.is_empty()).then_some(recording.frames),
            waits: BTreeMap::new(),
            queue: BTreeSet::new(),
            dry_since: None,
        };
        builder.begin_earlier_waits(recording);
        builder
    }

    /// Begins the waits whose begin is missing from the recording: they began before its start.
    fn begin_earlier_waits(&mut self, recording: &Recording) {
        let mut seen = HashSet::new();
        let of_waits = recording
            .events
            .iter()
            .filter(|event| event.kind.is_of_wait());
        for event in of_waits {
            let Some(number) = event.wait else { continue };
            let is_first = seen.insert(number);
            if is_first && event.kind != EventKind::WaitBegan {
                self.begin_wait(number, Owner::of(event));
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        self.now = self.now.max(event.at.min(MAX_TIME));
        if let Some(slot) = event.slot {
            self.apply_to_frame(slot, event);
            self.update_dry();
        }
        if let Some(number) = event.wait {
            match event.kind {
                EventKind::WaitBegan => self.begin_wait(number, Owner::of(event)),
                end => self.end_wait(number, end),
            }
        }
    }

    fn apply_to_frame(&mut self, slot: usize, event: &Event) {
        let owner = Owner::of(event);
        match event.kind {
            EventKind::Acquired => {
                self.end_hold(slot);
                self.begin_hold(slot, owner);
            }
            EventKind::Transferred => {
                self.begin_earlier_hold(slot, Owner::Unknown);
                self.end_hold(slot);
                self.begin_hold(slot, owner);
            }
            EventKind::Redeemed => {
                self.begin_earlier_hold(slot, Owner::Unknown);
                let current = self.slots.get(&slot).copied().flatten();
                if current.is_none_or(|(_, current)| current != owner) {
                    self.end_hold(slot);
                    self.begin_hold(slot, owner);
                }
            }
            EventKind::Released => {
                self.begin_earlier_hold(slot, owner);
                self.end_hold(slot);
                self.assign_to_first_waiter(slot);
            }
            _ => self.begin_earlier_hold(slot, owner),
        }
    }

    /// Handles a frame that is out: if this is the first event of its slot, and earlier events are
    /// missing, `owner` has held it since the start of the recording.
    fn begin_earlier_hold(&mut self, slot: usize, owner: Owner) {
        let from = self.timeline.whole.from;
        let hold = self.starts_in_the_middle.then_some((from, owner));
        if let Entry::Vacant(entry) = self.slots.entry(slot) {
            entry.insert(hold);
            self.out += usize::from(hold.is_some());
        }
    }

    /// Begins a hold of a slot that has none.
    fn begin_hold(&mut self, slot: usize, owner: Owner) {
        self.slots.insert(slot, Some((self.now, owner)));
        self.out += 1;
    }

    fn end_hold(&mut self, slot: usize) {
        if let Some((from, owner)) = self.slots.insert(slot, None).flatten() {
            let span = Span { from, to: self.now };
            self.timeline.holds.push(HoldSpan { slot, span, owner });
            self.out -= 1;
        }
    }

    fn assign_to_first_waiter(&mut self, slot: usize) {
        if self.frames_with_shares.is_some() {
            return;
        }
        if let Some(first) = self.queue.pop_first() {
            if let Some(wait) = self.waits.get_mut(&first) {
                wait.assigned = Some(slot);
            }
            self.begin_hold(slot, Owner::Unclaimed);
            self.update_dry();
        }
    }

    fn begin_wait(&mut self, number: u64, caller: Owner) {
        let wait = OpenWait {
            from: self.now,
            caller,
            assigned: None,
        };
        self.waits.insert(number, wait);
        self.queue.insert(number);
        self.update_dry();
    }

    fn end_wait(&mut self, number: u64, end: EventKind) {
        let Some(wait) = self.waits.remove(&number) else {
            return;
        };
        self.queue.remove(&number);
        self.update_dry();
        if end != EventKind::WaitServed {
            let unclaimed = wait.assigned.filter(|slot| {
                let hold = self.slots.get(slot).copied().flatten();
                hold.is_some_and(|(_, owner)| owner == Owner::Unclaimed)
            });
            if let Some(slot) = unclaimed {
                self.end_hold(slot);
            }
        }
        self.push_wait(number, &wait, Some(end));
    }

    fn push_wait(&mut self, number: u64, wait: &OpenWait, end: Option<EventKind>) {
        self.timeline.waits.push(Wait {
            number,
            span: Span {
                from: wait.from,
                to: self.now,
            },
            caller: wait.caller,
            end,
            track: 0,
        });
    }

    /// Returns whether a caller waits and no frame is free.
    fn is_dry(&self) -> bool {
        let none_is_free = |frames| self.out >= frames;
        !self.queue.is_empty() && self.frames_with_shares.is_none_or(none_is_free)
    }

    /// Begins or ends a dry span after a change of the queue or of a frame.
    fn update_dry(&mut self) {
        match (self.dry_since, self.is_dry()) {
            (None, true) => self.dry_since = Some(self.now),
            (Some(from), false) => {
                self.dry_since = None;
                let span = Span { from, to: self.now };
                if !span.length().is_zero() {
                    self.timeline.dry.push(span);
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Timeline {
        self.now = self.timeline.whole.to;
        let mut slots: Vec<_> = self.slots.keys().copied().collect();
        slots.sort_unstable();
        for slot in slots {
            self.end_hold(slot);
        }
        for (number, wait) in std::mem::take(&mut self.waits) {
            self.push_wait(number, &wait, None);
        }
        self.queue.clear();
        self.update_dry();
        self.timeline
            .waits
            .sort_by_key(|wait| (wait.span.from, wait.number));
        assign_tracks(&mut self.timeline.waits);
        self.timeline
    }
}

/// Assigns to each wait the lowest track that is free when the wait begins.
fn assign_tracks(waits: &mut [Wait]) {
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
mod tests {
    use super::super::event::tests::{event, recording};
    use super::*;

    use EventKind::{
        Acquired, Redeemed, Released, Shared, Transferred, WaitBegan, WaitGivenUp, WaitServed,
    };

    fn milliseconds(span: Span) -> (u128, u128) {
        (span.from.as_millis(), span.to.as_millis())
    }

    fn holds(timeline: &Timeline) -> Vec<(usize, String, (u128, u128))> {
        let holds = timeline.holds.iter();
        holds
            .map(|hold| (hold.slot, hold.owner.to_string(), milliseconds(hold.span)))
            .collect()
    }

    fn dry(timeline: &Timeline) -> Vec<(u128, u128)> {
        timeline.dry.iter().copied().map(milliseconds).collect()
    }

    #[test]
    fn a_hold_ends_when_the_next_holder_takes_over() {
        let events = [
            event(1, Acquired, 0, "capture"),
            event(3, Transferred, 0, "encoder"),
            event(4, Shared, 0, "encoder"),
            event(6, Released, 0, "encoder"),
            event(8, Acquired, 0, ""),
        ];
        let timeline = Timeline::new(&recording(&events, 0, 10));
        let expected = [
            (0, "capture".to_owned(), (1, 3)),
            (0, "encoder".to_owned(), (3, 6)),
            (0, "thread 7".to_owned(), (8, 10)),
        ];
        assert_eq!(holds(&timeline), expected);
        let free: Vec<_> = timeline
            .free_frames(2)
            .into_iter()
            .map(|(at, free)| (at.as_millis(), free))
            .collect();
        assert_eq!(free, [(1, 1), (6, 2), (8, 1)]);
        assert!(timeline.dry.is_empty() && timeline.waits.is_empty());
    }

    #[test]
    fn holds_and_waits_without_a_begin_start_with_the_recording() {
        let events = [
            event(5, Acquired, 3, "new"),
            event(6, Released, 0, "known"),
            event(7, Transferred, 1, "next"),
            event(8, WaitServed, 9, "late"),
            event(8, Redeemed, 2, "back"),
        ];
        let timeline = Timeline::new(&recording(&events, 4, 9));
        let expected = [
            (0, "known".to_owned(), (5, 6)),
            (1, "(unknown)".to_owned(), (5, 7)),
            (2, "(unknown)".to_owned(), (5, 8)),
            // The wait lasts since the start, so the released frame was assigned to it.
            (0, "(unclaimed)".to_owned(), (6, 9)),
            (1, "next".to_owned(), (7, 9)),
            (2, "back".to_owned(), (8, 9)),
            (3, "new".to_owned(), (5, 9)),
        ];
        assert_eq!(holds(&timeline), expected);
        assert_eq!(timeline.waits.len(), 1);
        assert_eq!(dry(&timeline), [(5, 6)]);
    }

    #[test]
    fn a_pool_with_shares_is_dry_while_a_caller_waits_and_no_frame_is_free() {
        let events = [
            event(0, Acquired, 0, "network"),
            event(10, WaitBegan, 0, "network"),
            event(20, Acquired, 1, "encoder"),
            event(30, Released, 1, "encoder"),
            event(40, Released, 0, "network"),
            event(50, Acquired, 0, "network"),
            event(50, WaitServed, 0, "network"),
        ];
        let share = crate::frame_pool::FramePool::builder()
            .frames(2)
            .frame_size(64)
            .share(crate::share::Share::new("network").limit(1));
        let with_shares = Recording {
            shares: share.build().unwrap().shares(),
            ..recording(&events, 0, 60)
        };
        let timeline = Timeline::new(&with_shares);
        assert_eq!(dry(&timeline), [(20, 30)]);
        assert!(
            timeline
                .holds
                .iter()
                .all(|hold| hold.owner != Owner::Unclaimed)
        );
        // Without shares the wait ends once the frame is released.
        assert_eq!(dry(&Timeline::new(&recording(&events, 0, 60))), [(10, 30)]);
    }

    #[test]
    fn the_pool_is_dry_while_a_waiter_has_no_frame_assigned() {
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
        let timeline = Timeline::new(&recording(&events, 0, 10));
        assert_eq!(dry(&timeline), [(1, 5)]);
        let waits: Vec<_> = timeline
            .waits
            .iter()
            .map(|wait| (wait.track, wait.outcome(), milliseconds(wait.span)))
            .collect();
        assert_eq!(waits, [(0, "served", (1, 7)), (1, "given up", (2, 5))]);
        assert!(holds(&timeline).contains(&(0, "(unclaimed)".to_owned(), (4, 8))));
    }

    #[test]
    fn a_frame_assigned_to_a_waiter_that_gives_up_is_free_again() {
        let events = [
            event(0, Acquired, 0, "a"),
            event(1, WaitBegan, 0, "b"),
            event(2, Released, 0, "a"),
            event(3, WaitGivenUp, 0, "b"),
        ];
        let timeline = Timeline::new(&recording(&events, 0, 9));
        assert!(holds(&timeline).contains(&(0, "(unclaimed)".to_owned(), (2, 3))));
        assert_eq!(timeline.free_frames(1).last().unwrap().1, 1);
    }

    #[test]
    fn waits_share_a_track_if_they_do_not_overlap() {
        let mut events: Vec<_> = [(0, 5), (1, 3), (3, 9), (4, 6), (6, 7)]
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
        events.sort_by_key(|event| event.at);
        let timeline = Timeline::new(&recording(&events, 0, 9));
        let tracks: Vec<_> = timeline.waits.iter().map(|wait| wait.track).collect();
        assert_eq!(tracks, [0, 1, 1, 2, 0]);
    }

    #[test]
    fn a_recording_without_events_has_an_empty_timeline() {
        let timeline = Timeline::new(&recording(&[], 0, 9));
        assert!(timeline.holds.is_empty() && timeline.dry.is_empty());
        assert_eq!(timeline.whole.length(), Duration::ZERO);
    }
}
