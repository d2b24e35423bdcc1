//! Events for `tracing`, of what happens to a pool now and then; nothing for each frame. Without the feature there
//! are none.

#![cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "what is told is told to nobody")
)]

use std::time::Duration;

use crate::framing::Framing;
use crate::holders::Holders;
use crate::mode::AllocatorMode;

/// Tells the event, if anybody is to hear of it.
macro_rules! tell {
    ($level:ident, $($what:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::event!(target: "ks_allocator", tracing::Level::$level, $($what)+);
    };
}

/// A pool has its memory and begins to hand out frames.
pub(crate) fn committed(framing: &Framing, mode: AllocatorMode, bytes: usize) {
    tell!(DEBUG, frames = framing.frames, frame_size = framing.frame_size, %mode, bytes, "commit");
}

/// A pool that was decommitted hands out frames again.
pub(crate) fn committed_again(frames_out: usize) {
    tell!(DEBUG, frames_out, "commit, with the memory as it is");
}

pub(crate) fn decommitted(frames_out: usize) {
    tell!(DEBUG, frames_out, "decommit");
}

pub(crate) fn flush(begins: bool) {
    tell!(
        DEBUG,
        "{}",
        if begins { "flush begins" } else { "flush ends" }
    );
}

/// Whether anybody is to hear of a starvation. If not, nobody need look who has the frames.
pub(crate) fn starvation_is_heard() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "ks_allocator", tracing::Level::DEBUG);
    #[cfg(not(feature = "tracing"))]
    false
}

/// Whether anybody is to hear of a slow wait or a leak.
pub(crate) fn trouble_is_heard() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "ks_allocator", tracing::Level::WARN);
    #[cfg(not(feature = "tracing"))]
    false
}

/// Somebody waits; told now and then.
pub(crate) fn starved(holders: &Holders) {
    tell!(DEBUG, "starvation: {holders:#}");
}

/// Somebody has waited for long.
pub(crate) fn slow_wait(waited: Duration, holders: &Holders) {
    tell!(WARN, ?waited, "slow wait: {holders:#}");
}

/// The last handle of a pool is gone, and frames are out.
pub(crate) fn leaked(holders: &Holders) {
    tell!(WARN, "the pool is gone, its frames are not: {holders:#}");
}
