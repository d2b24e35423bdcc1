//! Who has each frame, and what the pool has been through: notes that nothing depends on.
//!
//! Each slot has an [`Entry`], which whoever has the frame writes by plain stores as the frame comes and goes.
//! Whoever wants to know reads it at any time and keeps nobody waiting.
//!
//! | `held` | the frame is | the rest of the entry says |
//! |---|---|---|
//! | 0 | free, or out and not picked up yet | who had it last |
//! | 1 | in the hands of a holder | who has it |
//!
//! # Invariants
//!
//! - **E1** Each word of an entry is valid by itself, whenever it is read: a place is that of some
//!   acquire in the program, a label one that was made.
//! - **E2** `turn` grows by one each time the frame is picked up, before anything else is written. Only the one who
//!   has the frame for themselves changes it, so that a load and a store are enough. (That the next owner sees
//!   the turn of the last is the free list's F2.)
//! - **E3** A [`Note`] is of one turn: whoever reads an entry reads `turn` first and once more at the end, and reads
//!   again if it has changed. So a frame that is seen twice in somebody's hands, in the same turn, has been
//!   there all the time between: that is how a [`Stamp`] grows old. (A frame that is given another label at that
//!   very moment may be seen with the line of the one and the label of the other.)
//!
//! The orderings are those of a sequence lock with one writer, who never waits: see [`Entry::pick_up`] and
//! [`Entry::note`]. On x86-64 they cost nothing.
//!
//! # How old
//!
//! To read the clock costs more than to acquire a frame, so the fast path does not. Whoever looks, be it for a
//! report or because they begin to wait, stamps the frames that are out with the time, unless they bear a
//! stamp of that turn already. So the age that a report gives is a lower bound, and for a frame that holds
//! somebody up it is good: it was out when they began to wait. (Callers who wait again and again do not look
//! each time: see [`Ledger::look_again`]. What was acquired since the last look may be told of without an age.)

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::error::CommitError;
use crate::label::Label;
use crate::memory::room_for;
use crate::sync::{
    PlainAtomicPtr, PlainAtomicU64, PlainMutex, PlainOrdering, plain_fence, thread_id,
};

use super::stats::Counts;

/// Who asks for a frame: from which line, in which thread, and under what label. It is worked out before a frame
/// is taken, because after that a processor has to begin its loads afresh.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    place: &'static Location<'static>,
    who: Who,
}

/// A thread's number, and above it a label's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who(u64);

impl Who {
    const LABEL_SHIFT: u32 = 32;

    #[inline(always)]
    fn this_thread(label: Option<Label>) -> Self {
        let label = u64::from(Label::to_number(label));
        Self(u64::from(thread_id()) | label << Self::LABEL_SHIFT)
    }

    /// The same label, in this thread.
    pub(crate) fn in_this_thread(self) -> Self {
        Self::this_thread(self.label())
    }

    fn label(self) -> Option<Label> {
        Self::label_of_number(self.label_number())
    }

    pub(crate) fn label_number(self) -> u64 {
        self.0 >> Self::LABEL_SHIFT
    }

    pub(crate) fn label_of_number(number: u64) -> Option<Label> {
        u16::try_from(number).ok().and_then(Label::from_number)
    }

    pub(crate) fn thread(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// For a model.
    #[cfg(all(test, loom))]
    pub(crate) fn of(thread: u32, label: u16) -> Self {
        Self(u64::from(thread) | u64::from(label) << Self::LABEL_SHIFT)
    }
}

impl By {
    /// The caller of the caller, in this thread.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn caller(label: Option<Label>) -> Self {
        Self::from(Location::caller(), label)
    }

    /// This line, in this thread.
    #[inline(always)]
    pub(crate) fn from(place: &'static Location<'static>, label: Option<Label>) -> Self {
        Self {
            place,
            who: Who::this_thread(label),
        }
    }

    pub(crate) fn who(self) -> Who {
        self.who
    }

    /// The same line and label, in this thread.
    pub(crate) fn in_this_thread(self) -> Self {
        Self::from(self.place, self.who.label())
    }
}

/// What a slot knows of its holders. In a cache line that an acquire writes to and nobody has to read.
#[derive(Debug)]
pub(crate) struct Entry {
    /// How often the frame was picked up.
    turn: PlainAtomicU64,
    held: PlainAtomicU64,
    place: PlainAtomicPtr<Location<'static>>,
    /// A [`Who`].
    who: PlainAtomicU64,
    /// How often the frame was shared.
    shares: PlainAtomicU64,
    /// When it was acquired, in nanoseconds of the ledger's, if the pool takes the time.
    since: PlainAtomicU64,
}

/// How often an entry is read again that changes meanwhile.
const READINGS: usize = 3;

/// What an entry said at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    turn: u64,
    /// Whether somebody has the frame in their hands, if it is out.
    pub(crate) held: bool,
    pub(crate) place: Option<&'static Location<'static>>,
    pub(crate) label: Option<Label>,
    pub(crate) thread: u32,
    /// In nanoseconds of the ledger's; 0 if the pool does not take the time.
    pub(crate) since: u64,
}

impl Entry {
    pub(crate) const fn new() -> Self {
        Self {
            turn: PlainAtomicU64::new(0),
            held: PlainAtomicU64::new(0),
            place: PlainAtomicPtr::new(std::ptr::null_mut()),
            who: PlainAtomicU64::new(0),
            shares: PlainAtomicU64::new(0),
            since: PlainAtomicU64::new(0),
        }
    }

    /// The frame was picked up. For its only holder.
    #[inline(always)]
    pub(crate) fn pick_up(&self, by: By) {
        if cfg!(ks_allocator_no_holders) {
            return;
        }
        let turn = self.turn.load(PlainOrdering::Relaxed);
        self.turn
            .store(turn.wrapping_add(1), PlainOrdering::Relaxed);
        // Release: pairs with the fence in `note`; who sees what follows sees the new turn then.
        plain_fence(PlainOrdering::Release);
        self.hand_on(by);
        // Release: pairs with the Acquire in `note`; who sees this turn's holder sees who that is.
        self.held.store(1, PlainOrdering::Release);
    }

    /// The frame is about to go back. For its only holder.
    #[inline(always)]
    pub(crate) fn give_back(&self) {
        if cfg!(ks_allocator_no_holders) {
            return;
        }
        self.held.store(0, PlainOrdering::Relaxed);
    }

    /// Somebody else has the frame now. For any of its holders.
    #[inline(always)]
    pub(crate) fn hand_on(&self, By { place, who }: By) {
        let place: *const Location<'static> = place;
        self.place.store(place.cast_mut(), PlainOrdering::Relaxed);
        self.who.store(who.0, PlainOrdering::Relaxed);
    }

    /// The frame is shared. For its only holder.
    #[inline(always)]
    pub(crate) fn share(&self) {
        let shares = self.shares.load(PlainOrdering::Relaxed);
        self.shares
            .store(shares.wrapping_add(1), PlainOrdering::Relaxed);
    }

    /// The frame was acquired at this time, or at none that is known yet, 0. For its only holder.
    pub(crate) fn stamp(&self, now: u64) {
        self.since.store(now, PlainOrdering::Relaxed);
    }

    /// Who has the frame, for its holder.
    pub(crate) fn who(&self) -> Who {
        Who(self.who.load(PlainOrdering::Relaxed))
    }

    /// What is noted, for anybody.
    pub(crate) fn note(&self) -> Note {
        let mut note = self.glance();
        for _ in 0..READINGS {
            // Acquire: pairs with the Release in `pick_up`; if anything was of a later turn, this is, too.
            plain_fence(PlainOrdering::Acquire);
            if self.turn.load(PlainOrdering::Relaxed) == note.turn {
                return note;
            }
            note = self.glance();
        }
        // It changes hands faster than it can be read. So nobody has had it for long.
        Note {
            held: false,
            ..note
        }
    }

    /// What is noted, of one turn or of several.
    fn glance(&self) -> Note {
        let turn = self.turn.load(PlainOrdering::Relaxed);
        // Acquire: pairs with the Release in `pick_up`.
        let held = self.held.load(PlainOrdering::Acquire) != 0;
        let place = self.place.load(PlainOrdering::Relaxed);
        let who = self.who();
        Note {
            turn,
            held,
            // SAFETY: NULL, or stored by `hand_on`, where it was a reference for ever (E1).
            place: unsafe { place.as_ref() },
            label: who.label(),
            thread: who.thread(),
            since: self.since.load(PlainOrdering::Relaxed),
        }
    }

    /// How often the frame was picked up.
    pub(crate) fn acquires(&self) -> u64 {
        self.turn.load(PlainOrdering::Relaxed)
    }

    /// How often it was shared.
    pub(crate) fn shares(&self) -> u64 {
        self.shares.load(PlainOrdering::Relaxed)
    }
}

/// When a frame was first seen to be out.
#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    turn: u64,
    /// In nanoseconds of the ledger's; 0 for never.
    at: u64,
}

/// What is noted of a pool as a whole.
#[derive(Debug)]
pub(crate) struct Ledger {
    began: Instant,
    /// Of each slot. Who has the lock is looking.
    stamps: PlainMutex<Vec<Stamp>>,
    /// When somebody who begins to wait is to look again.
    look_again_at: PlainAtomicU64,
    look_again_after: u64,
    /// When `tracing` is to hear of a starvation again.
    tell_again_at: PlainAtomicU64,
    pub(crate) counts: Counts,
}

/// How long after a look nobody who begins to wait looks again, at the least and a frame: so that looking takes
/// but a small part of the time, however large the pool is.
const LOOKS_APART: Duration = Duration::from_millis(1);
const LOOKS_APART_A_FRAME: Duration = Duration::from_micros(1);

/// How long `tracing` hears of no starvation after it has heard of one.
const TOLD_APART: Duration = Duration::from_secs(1);

impl Ledger {
    pub(crate) fn new(frames: usize) -> Result<Self, CommitError> {
        let mut stamps = room_for(frames)?;
        stamps.resize(frames, Stamp::default());
        let apart = u32::try_from(frames)
            .ok()
            .and_then(|frames| LOOKS_APART_A_FRAME.checked_mul(frames))
            .map_or(LOOKS_APART, |all| all.max(LOOKS_APART));
        Ok(Self {
            began: Instant::now(),
            stamps: PlainMutex::new(stamps),
            look_again_at: PlainAtomicU64::new(0),
            look_again_after: nanoseconds(apart),
            tell_again_at: PlainAtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    /// The time as the ledger takes it, in nanoseconds since it was begun, and never 0.
    pub(crate) fn now(&self) -> u64 {
        nanoseconds(self.began.elapsed()).max(1)
    }

    /// Whether somebody who begins to wait at this time is to look who has the frames. If so, they do it for
    /// all who begin to wait soon after.
    pub(crate) fn look_again(&self, now: u64) -> bool {
        is_due(&self.look_again_at, now, self.look_again_after)
    }

    /// Whether `tracing` is to hear at this time that the pool has run dry.
    pub(crate) fn tell_again(&self, now: u64) -> bool {
        is_due(&self.tell_again_at, now, nanoseconds(TOLD_APART))
    }

    /// Stamps the frames that are out now, unless somebody else is looking already.
    #[expect(single_use_lifetimes, reason = "an `impl Trait` cannot leave it out")]
    pub(crate) fn glance<'a>(&self, out: impl Iterator<Item = (usize, &'a Entry)>) {
        if let Some(mut stamps) = self.stamps.try_lock() {
            for (slot, entry) in out {
                stamps[slot].keep(&entry.note(), || self.now());
            }
        }
    }

    /// Stamps the frames that are out, and says for each how long it has been so and whether that is the whole
    /// time.
    #[expect(single_use_lifetimes, reason = "an `impl Trait` cannot leave it out")]
    pub(crate) fn look<'a, T>(
        &self,
        out: impl Iterator<Item = (usize, &'a Entry)>,
        mut tell: impl FnMut(usize, Note, Duration, bool) -> T,
    ) -> Vec<T> {
        let mut stamps = self.stamps.lock();
        // Before any frame is looked at: what was seen then has been out until now at the least.
        let now = self.now();
        out.map(|(slot, entry)| {
            let note = entry.note();
            let exact = note.held && note.since != 0;
            let since = match exact {
                true => note.since,
                false => stamps[slot].keep(&note, || self.now()),
            };
            let held = Duration::from_nanos(now.saturating_sub(since));
            tell(slot, note, held, exact)
        })
        .collect()
    }
}

/// Whether the time has come, and if so the next is set. If two ask at once, both may be told so.
fn is_due(next: &PlainAtomicU64, now: u64, apart: u64) -> bool {
    let due = now >= next.load(PlainOrdering::Relaxed);
    if due {
        next.store(now.saturating_add(apart), PlainOrdering::Relaxed);
    }
    due
}

impl Stamp {
    /// Begins a new stamp, unless there is one of this turn (E3). Returns since when. The clock is read after the
    /// note was taken. A frame that nobody has in their hands has no turn.
    fn keep(&mut self, note: &Note, clock: impl Fn() -> u64) -> u64 {
        let known = note.held && self.turn == note.turn && self.at != 0;
        if known {
            return self.at;
        }
        let now = clock();
        *self = Self {
            turn: note.turn,
            at: if note.held { now } else { 0 },
        };
        now
    }
}

/// A time in nanoseconds: 584 years of them at the most.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[track_caller]
    fn by(label: Option<&str>) -> By {
        By::caller(label.map(Label::new))
    }

    #[test]
    fn an_entry_says_who_has_the_frame_and_then_who_had_it() {
        let entry = Entry::new();
        assert!(!entry.note().held);
        assert_eq!(entry.note().place, None);

        let holder = by(Some("ledger"));
        entry.pick_up(holder);
        let note = entry.note();
        assert!(note.held);
        assert_eq!(note.place, Some(holder.place));
        assert_eq!(note.label, Some(Label::new("ledger")));
        assert_eq!(note.thread, thread_id());

        entry.give_back();
        assert!(!entry.note().held);
        assert_eq!(entry.note().place, Some(holder.place));
        assert_eq!(entry.acquires(), 1);
    }

    #[test]
    fn each_holder_has_a_turn() {
        let entry = Entry::new();
        for turn in 0..3 {
            assert_eq!(entry.acquires(), turn);
            entry.pick_up(by(None));
            entry.give_back();
        }
    }

    #[test]
    fn a_stamp_grows_old_only_while_the_turn_stays() {
        let ledger = Ledger::new(1).unwrap();
        let entry = Entry::new();
        entry.pick_up(by(None));
        let held = || {
            let all = ledger.look([(0, &entry)].into_iter(), |_, _, held, exact| (held, exact));
            all[0]
        };
        let pause = || std::thread::sleep(Duration::from_millis(2));
        assert_eq!(held(), (Duration::ZERO, false));
        ledger.glance([(0, &entry)].into_iter());
        pause();
        let (old, _) = held();
        assert!(old >= Duration::from_millis(2));
        entry.give_back();
        entry.pick_up(by(None));
        assert_eq!(held(), (Duration::ZERO, false));

        entry.stamp(ledger.now());
        pause();
        let (exactly, exact) = held();
        assert!(exact && exactly >= Duration::from_millis(2));
        entry.stamp(0);
        entry.give_back();
        entry.pick_up(by(None));
        assert_eq!(held(), (Duration::ZERO, false));
    }

    #[test]
    fn those_who_begin_to_wait_look_now_and_then() {
        let ledger = Ledger::new(5000).unwrap();
        assert!(ledger.look_again(1));
        assert!(!ledger.look_again(2));
        assert!(!ledger.look_again(5_000_000));
        assert!(ledger.look_again(5_000_001));
    }
}
