//! State of a pool, and what it means for callers that want a frame.
//!
//! The module has plain values. The [wait queue](super::wait_queue) keeps the state of a pool under
//! its lock, and its changes open and close the free list.

use crate::error::{AcquireError, Starvation};

/// The reason why a wait ends without a frame, or does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    TimedOut,
    Flushing,
    NotCommitted,
    Closed,
    /// The pool has a newer generation, which the caller turns to.
    Superseded,
}

impl From<Refusal> for AcquireError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TimedOut => Self::TimedOut(Starvation::default()),
            Refusal::Flushing => Self::Flushing,
            Refusal::NotCommitted | Refusal::Superseded => Self::NotCommitted,
            Refusal::Closed => Self::Closed,
        }
    }
}

/// State of a pool. It hands out frames if it is committed, and not flushing, retired, closed or
/// paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolState {
    pub(crate) committed: bool,
    pub(crate) flushing: bool,
    /// The allocator has moved on to another pool. Never opens again.
    pub(crate) retired: bool,
    /// Closed for good by its user. Never opens again.
    pub(crate) closed: bool,
    /// Hands out no frame for a while. Callers wait.
    pub(crate) paused: bool,
}

impl PoolState {
    pub(crate) const OPEN: Self = Self {
        committed: true,
        flushing: false,
        retired: false,
        closed: false,
        paused: false,
    };

    /// Returns why waits fail in this state, or `None` if they do not.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            // mutant: closed-is-final
            Self { closed: true, .. } => Some(Refusal::Closed),
            Self {
                committed: false, ..
            }
            | Self { retired: true, .. } => Some(Refusal::NotCommitted),
            Self { flushing: true, .. } => Some(Refusal::Flushing),
            Self {
                flushing: false, ..
            } => None,
        }
    }

    /// Returns whether the pool hands out frames.
    pub(super) fn is_open(self) -> bool {
        self == Self::OPEN
    }
}

/// Reason why the words of a generation are closed, or `Open` if they are not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    Open,
    /// No frame goes out for a while.
    Paused,
    Refused(Refusal),
}

impl From<PoolState> for Availability {
    fn from(state: PoolState) -> Self {
        match state.refusal() {
            Some(refusal) => Self::Refused(refusal),
            None if state.paused => Self::Paused,
            None => Self::Open,
        }
    }
}

/// Effect of a change of state on the free list, with the number of frames that were out at that
/// moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateChange {
    None,
    Closed { out: usize },
    Opened { out: usize },
}
