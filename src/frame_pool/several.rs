//! Acquires of several frames: as many as are free, or an exact number.

use std::task::{Context, Poll};
use std::time::Instant;

use crate::diagnostics::call_site::CallSite;
use crate::error::AcquireError;
use crate::frame::FrameBatch;
use crate::pool::checkout::Unavailable;
use crate::pool::core::Core;
use crate::pool::wait_queue::PendingWait;

/// Polls the acquire of a task that takes up to `max` free frames, or waits for one.
pub(super) fn poll_many(
    core: &Core,
    site: CallSite,
    max: usize,
    pending: &mut PendingWait,
    context: &Context<'_>,
) -> Poll<Result<FrameBatch, AcquireError>> {
    poll(core, site, 1, pending, context, |site| {
        let mut batch = FrameBatch::default();
        core.try_acquire_many(site, max.min(FrameBatch::MAX), |acquired| {
            batch.add(acquired)
        })?;
        Ok(batch.reversed())
    })
}

/// Acquires `count` frames, or fails at once.
pub(super) fn try_acquire_exact(
    core: &Core,
    site: CallSite,
    count: usize,
) -> Result<FrameBatch, AcquireError> {
    check(core, count)?;
    take(core, site, count).map_err(|unavailable| match core.failed(unavailable) {
        AcquireError::Exhausted(_) => AcquireError::TooFew {
            requested: count,
            free: core.free.free_frames(),
        },
        error => error,
    })
}

/// Acquires `count` frames, or waits for them until `deadline`, or without limit.
pub(super) fn acquire_exact(
    core: &Core,
    site: CallSite,
    count: usize,
    deadline: impl FnOnce() -> Option<Instant>,
) -> Result<FrameBatch, AcquireError> {
    check(core, count)?;
    match take(core, site, count) {
        Err(Unavailable::Exhausted) => {}
        other => return other.map_err(AcquireError::from),
    }
    let mut batch = FrameBatch::default();
    core.wait_exact(site, count, deadline(), |acquired| batch.add(acquired))?;
    Ok(batch)
}

/// Polls the acquire of a task that takes `count` frames.
pub(super) fn poll_exact(
    core: &Core,
    site: CallSite,
    count: usize,
    pending: &mut PendingWait,
    context: &Context<'_>,
) -> Poll<Result<FrameBatch, AcquireError>> {
    check(core, count)?;
    poll(core, site, count, pending, context, |site| {
        take(core, site, count)
    })
}

/// Polls the acquire of a task: calls `try_now` at the first poll, and later polls its place in the
/// queue, where it waits for `count` frames.
fn poll(
    core: &Core,
    site: CallSite,
    count: usize,
    pending: &mut PendingWait,
    context: &Context<'_>,
    try_now: impl FnOnce(CallSite) -> Result<FrameBatch, Unavailable>,
) -> Poll<Result<FrameBatch, AcquireError>> {
    if pending.start().is_none() {
        match try_now(site.in_this_thread()) {
            Err(Unavailable::Exhausted) => {}
            other => return Poll::Ready(other.map_err(AcquireError::from)),
        }
    }
    let mut batch = FrameBatch::default();
    core.poll_exact(site, count, pending, context, |acquired| {
        batch.add(acquired);
    })
    .map_err(AcquireError::from)
    .map_ok(|()| batch)
}

fn check(core: &Core, count: usize) -> Result<(), AcquireError> {
    let max = core.free.frames().min(FrameBatch::MAX);
    if count > max {
        return Err(AcquireError::TooMany {
            requested: count,
            max,
        });
    }
    Ok(())
}

/// Takes `count` free frames. If there are fewer, those that it has taken are free again when it
/// returns.
fn take(core: &Core, site: CallSite, count: usize) -> Result<FrameBatch, Unavailable> {
    let mut batch = FrameBatch::default();
    core.try_acquire_exact(site, count, |acquired| batch.add(acquired))?;
    Ok(batch.reversed())
}
