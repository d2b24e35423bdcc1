//! Events of a pool, and the recording that contains them.

use std::fmt;
use std::time::Duration;

use crate::label::Label;
use crate::share::ShareUsage;

/// Last events of a pool, oldest first: see [`FramePool::recording`](crate::FramePool::recording).
///
/// ```
/// use ks_allocator::{EventKind, FramePool};
///
/// let pool = FramePool::builder().frames(2).frame_size(64).record(1000).build()?;
/// drop(pool.with_label("encoder").acquire()?);
/// let recording = pool.recording().expect("`record` turns the recorder on");
/// let kinds: Vec<_> = recording.events.iter().map(|event| event.kind).collect();
/// assert_eq!(kinds, [EventKind::Committed, EventKind::Acquired, EventKind::Released]);
/// assert_eq!(recording.events[1].slot, Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Recording {
    /// Name of the pool, if it has one.
    pub pool: Option<Label>,
    /// Number of frames in the pool.
    pub frames: usize,
    /// The [shares](crate::Share) of the pool, as they were when the recording was read.
    #[cfg_attr(feature = "serde", serde(default))]
    pub shares: Vec<ShareUsage>,
    /// Recorded events, in the order in which they were written.
    pub events: Vec<Event>,
    /// Number of events that are missing: later events overwrote them, or they were being written
    /// when the recording was read.
    pub lost: u64,
    /// Time since the pool was built at which the recording was read.
    pub read_at: Duration,
}

/// One event of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Event {
    /// Time since the pool was built, in steps of 128 ns or less.
    pub at: Duration,
    /// Kind of the event.
    pub kind: EventKind,
    /// Slot of the frame, if the event is about a frame.
    pub slot: Option<usize>,
    /// Number of the wait, if the event is about a wait. The waits of a pool are numbered from 0,
    /// modulo 2^32.
    pub wait: Option<u64>,
    /// Thread that caused the event: the lowest 24 bits of a thread identifier as in
    /// [`Holder::thread`](crate::Holder::thread).
    pub thread: u32,
    /// Label of the frame or, for a wait, of the pool handle that the caller used.
    pub label: Option<Label>,
}

/// Kind of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum EventKind {
    /// A frame was picked up by its acquirer.
    Acquired,
    /// A frame was released: to the free list, or to the first waiter.
    Released,
    /// A frame became a [`SharedFrame`](crate::SharedFrame).
    Shared,
    /// A frame was lent to another process.
    Lent,
    /// A lent frame came back.
    Redeemed,
    /// A frame got a new label: it passed from one holder to another.
    Transferred,
    /// A caller found no free frame and began to wait.
    WaitBegan,
    /// A waiter received a frame.
    WaitServed,
    /// A waiter timed out, or its future was dropped.
    WaitGivenUp,
    /// A waiter received an error, because the pool was flushed, decommitted or closed.
    WaitFailed,
    /// The pool was committed.
    Committed,
    /// The pool was decommitted.
    Decommitted,
    /// A flush began.
    FlushBegan,
    /// The flush ended.
    FlushEnded,
    /// The pool was closed for good.
    Closed,
    /// The next generation of the pool took over, by
    /// [`PoolAllocator::reframe`](crate::PoolAllocator::reframe).
    Reframed,
    /// Few frames were free: [`Level::Low`](crate::Level::Low).
    RanLow,
    /// Enough frames were free again: [`Level::Recovered`](crate::Level::Recovered).
    Recovered,
}

impl EventKind {
    /// All kinds. The recorder stores a kind as its index in this array.
    pub(crate) const ALL: [Self; 18] = [
        Self::Acquired,
        Self::Released,
        Self::Shared,
        Self::Lent,
        Self::Redeemed,
        Self::Transferred,
        Self::WaitBegan,
        Self::WaitServed,
        Self::WaitGivenUp,
        Self::WaitFailed,
        Self::Committed,
        Self::Decommitted,
        Self::FlushBegan,
        Self::FlushEnded,
        Self::Closed,
        Self::Reframed,
        Self::RanLow,
        Self::Recovered,
    ];

    /// Returns `true` for the events of a wait.
    pub(crate) fn is_of_wait(self) -> bool {
        matches!(
            self,
            Self::WaitBegan | Self::WaitServed | Self::WaitGivenUp | Self::WaitFailed
        )
    }

    /// Returns `true` for the events of a frame.
    pub(crate) fn is_of_frame(self) -> bool {
        matches!(
            self,
            Self::Acquired
                | Self::Released
                | Self::Shared
                | Self::Lent
                | Self::Redeemed
                | Self::Transferred
        )
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acquired => "acquired",
            Self::Released => "released",
            Self::Shared => "shared",
            Self::Lent => "lent",
            Self::Redeemed => "redeemed",
            Self::Transferred => "transferred",
            Self::WaitBegan => "wait began",
            Self::WaitServed => "wait served",
            Self::WaitGivenUp => "wait given up",
            Self::WaitFailed => "wait failed",
            Self::Committed => "committed",
            Self::Decommitted => "decommitted",
            Self::FlushBegan => "flush began",
            Self::FlushEnded => "flush ended",
            Self::Closed => "closed",
            Self::Reframed => "reframed",
            Self::RanLow => "ran low",
            Self::Recovered => "recovered",
        })
    }
}

/// Events and recordings for the tests of the writers.
#[cfg(test)]
#[cfg(all(feature = "recording-export", not(loom)))]
pub(super) mod tests {
    use super::*;

    /// Returns an event `milliseconds` after the pool was built, about slot or wait `subject`.
    pub(in super::super) fn event(
        milliseconds: u64,
        kind: EventKind,
        subject: u64,
        label: &str,
    ) -> Event {
        Event {
            at: Duration::from_millis(milliseconds),
            kind,
            slot: usize::try_from(subject).ok().filter(|_| kind.is_of_frame()),
            wait: Some(subject).filter(|_| kind.is_of_wait()),
            thread: 7,
            label: (!label.is_empty()).then(|| Label::new(label)),
        }
    }

    /// Returns a recording of a pool of 2 frames, read after `read_at` milliseconds.
    pub(in super::super) fn recording(events: &[Event], lost: u64, read_at: u64) -> Recording {
        Recording {
            pool: None,
            frames: 2,
            shares: Vec::new(),
            events: events.to_vec(),
            lost,
            read_at: Duration::from_millis(read_at),
        }
    }
}
