//! Acquires of several frames: as many as are free, or an exact number.

use std::task::{Context, Poll};
use std::time::Instant;

use crate::diagnostics::call_site::CallSite;
use crate::error::AcquireError;
use crate::frame::FrameBatch;
use crate::pool::checkout::Unavailable;
use crate::pool::core::Core;
use crate::pool::pending_wait::PendingWait;

/// Number of frames of an acquire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Several {
    /// As many as are free, at most this number. Waits for one.
    UpTo(usize),
    Exactly(usize),
}

impl Several {
    fn check(self, core: &Core, site: CallSite) -> Result<(), AcquireError> {
        let max = core.free.most_at_once(site.label()).min(FrameBatch::MAX);
        match self {
            Self::Exactly(requested) if requested > max => {
                Err(AcquireError::TooMany { requested, max })
            }
            Self::UpTo(_) | Self::Exactly(_) => Ok(()),
        }
    }

    /// Takes free frames. If there are too few, those that it has taken are free again when it
    /// returns.
    fn take(self, core: &Core, site: CallSite) -> Result<FrameBatch, Unavailable> {
        let mut batch = FrameBatch::default();
        let add = |acquired| batch.add(acquired);
        match self {
            Self::UpTo(max) => core.try_acquire_many(site, max.min(FrameBatch::MAX), add),
            Self::Exactly(count) => core.try_acquire_exact(site, count, add),
        }?;
        Ok(batch)
    }

    /// Returns the number of frames that a caller waits for.
    fn awaited(self) -> usize {
        match self {
            Self::UpTo(_) => 1,
            Self::Exactly(count) => count,
        }
    }
}

/// Acquires `count` frames, or fails at once.
pub(super) fn try_acquire_exact(
    core: &Core,
    site: CallSite,
    count: usize,
) -> Result<FrameBatch, AcquireError> {
    let frames = Several::Exactly(count);
    if let Err(error) = frames.check(core, site) {
        let newest = core.successor().ok_or(error)?;
        return try_acquire_exact(&newest, site, count);
    }
    frames.take(core, site).or_else(|unavailable| {
        if unavailable == Unavailable::SUPERSEDED {
            return try_acquire_exact(&*core.newest_or_refusal()?, site, count);
        }
        let free = core.free.free_frames();
        Err(match core.failed_for(unavailable, site.label(), count) {
            // In a pool that is paused there may be enough.
            AcquireError::Exhausted(_) if free < count => AcquireError::TooFew {
                requested: count,
                free,
            },
            error => error,
        })
    })
}

/// Acquires `count` frames, or waits for them until `deadline`, or without limit.
pub(super) fn acquire_exact(
    core: &Core,
    site: CallSite,
    count: usize,
    deadline: &dyn Fn() -> Option<Instant>,
) -> Result<FrameBatch, AcquireError> {
    let frames = Several::Exactly(count);
    if let Err(error) = frames.check(core, site) {
        let newest = core.successor().ok_or(error)?;
        return acquire_exact(&newest, site, count, deadline);
    }
    match frames.take(core, site) {
        Err(Unavailable::Exhausted) => {}
        Err(Unavailable::SUPERSEDED) => {
            return acquire_exact(&*core.newest_or_refusal()?, site, count, deadline);
        }
        other => return other.map_err(AcquireError::from),
    }
    let mut batch = FrameBatch::default();
    let deadline = deadline();
    match core.wait_exact(site, count, deadline, |acquired| batch.add(acquired)) {
        Ok(()) => Ok(batch),
        Err(Unavailable::SUPERSEDED) => {
            acquire_exact(&*core.newest_or_refusal()?, site, count, &|| deadline)
        }
        Err(unavailable) => Err(unavailable.into()),
    }
}

/// Polls the acquire of a task: takes free frames at the first poll, and later polls its place in
/// the queue.
pub(super) fn poll(
    core: &Core,
    site: CallSite,
    frames: Several,
    pending: &mut PendingWait,
    context: &Context<'_>,
) -> Poll<Result<FrameBatch, AcquireError>> {
    let mut polled = Poll::Pending;
    if pending.start().is_none() {
        if let Err(error) = frames.check(core, site) {
            let newest = core.successor().ok_or(error)?;
            return poll(&newest, site, frames, pending, context);
        }
        polled = match frames.take(core, site.in_this_thread()) {
            Err(Unavailable::Exhausted) => Poll::Pending,
            other => Poll::Ready(other),
        };
    }
    if polled.is_pending() {
        let mut batch = FrameBatch::default();
        let add = |acquired| batch.add(acquired);
        polled = core
            .poll_exact(site, frames.awaited(), pending, context, add)
            .map_ok(|()| batch);
    }
    if let Poll::Ready(Err(Unavailable::SUPERSEDED)) = polled {
        let newest = core.newest_or_refusal()?;
        return poll(&newest, site, frames, pending, context);
    }
    polled.map_err(AcquireError::from)
}
