//! What a pool's flight recorder has kept: events, to be looked at by programs and people.

mod palette;
mod picture;
mod timeline;
mod trace;

use std::fmt;
use std::time::Duration;

use crate::label::Label;

/// The last events of a pool, oldest first: see [`FramePool::recording`](crate::FramePool::recording).
///
/// ```
/// use ks_allocator::{EventKind, FramePool};
///
/// let pool = FramePool::builder().frames(2).frame_size(64).record(1000).build()?;
/// drop(pool.with_label("encoder").acquire()?);
/// let recording = pool.recording().expect("it is on");
/// let kinds: Vec<_> = recording.events.iter().map(|event| event.kind).collect();
/// assert_eq!(kinds, [EventKind::Committed, EventKind::Acquired, EventKind::Released]);
/// assert_eq!(recording.events[1].slot, Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Recording {
    /// Frames of the pool.
    pub frames: usize,
    /// What happened, in the order in which it was written down.
    pub events: Vec<Event>,
    /// Events that are not among them: they were overwritten by later ones, or were being written when
    /// the recording was read.
    pub lost: u64,
    /// When it was read, counted as the times of the events are.
    pub read_at: Duration,
}

/// Something that happened to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Event {
    /// When, since the pool was made. Good to 64 ns.
    pub at: Duration,
    /// What.
    pub kind: EventKind,
    /// To the frame in this slot.
    pub slot: Option<usize>,
    /// In this wait: the first caller of the pool that waited is 0, the second 1, and so on.
    pub wait: Option<u64>,
    /// By this thread, as in [`Holder::thread`](crate::Holder::thread), of whose number the lowest 24 bits are
    /// kept.
    pub thread: u32,
    /// Under this label: of the handle that asked for a frame, or of the frame.
    pub label: Option<Label>,
}

/// What can happen to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum EventKind {
    /// A frame was picked up by whoever acquired it.
    Acquired,
    /// A frame went back to the pool, or to the first who waited.
    Released,
    /// A frame was turned into a shared one.
    Shared,
    /// A frame was lent to another process.
    Lent,
    /// A frame that was lent came back.
    Redeemed,
    /// A frame was given another label.
    HandedOn,
    /// A caller found no frame free and began to wait.
    WaitBegan,
    /// A caller who waited got a frame.
    WaitServed,
    /// A caller waited in vain until its time was up, or was dropped while it waited.
    WaitGivenUp,
    /// A caller who waited was refused: the pool was flushed or decommitted.
    WaitRefused,
    /// The pool began to hand out frames.
    Committed,
    /// The pool stopped to hand out frames.
    Decommitted,
    /// The pool began to refuse callers, for a flush.
    FlushBegan,
    /// The flush was over.
    FlushEnded,
}

impl EventKind {
    /// All of them. The place in here is the number by which the recorder keeps one.
    pub(crate) const ALL: [Self; 14] = [
        Self::Acquired,
        Self::Released,
        Self::Shared,
        Self::Lent,
        Self::Redeemed,
        Self::HandedOn,
        Self::WaitBegan,
        Self::WaitServed,
        Self::WaitGivenUp,
        Self::WaitRefused,
        Self::Committed,
        Self::Decommitted,
        Self::FlushBegan,
        Self::FlushEnded,
    ];

    /// Whether it is about a wait, and not about a frame or the pool.
    pub(crate) fn is_of_wait(self) -> bool {
        matches!(
            self,
            Self::WaitBegan | Self::WaitServed | Self::WaitGivenUp | Self::WaitRefused
        )
    }

    /// Whether it is about a frame.
    pub(crate) fn is_of_frame(self) -> bool {
        matches!(
            self,
            Self::Acquired
                | Self::Released
                | Self::Shared
                | Self::Lent
                | Self::Redeemed
                | Self::HandedOn
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
            Self::HandedOn => "handed on",
            Self::WaitBegan => "wait began",
            Self::WaitServed => "wait served",
            Self::WaitGivenUp => "wait given up",
            Self::WaitRefused => "wait refused",
            Self::Committed => "committed",
            Self::Decommitted => "decommitted",
            Self::FlushBegan => "flush began",
            Self::FlushEnded => "flush ended",
        })
    }
}
