//! Events for the `tracing` crate: rare events of a pool, never one per frame.
//!
//! Without the feature `tracing` every function here does nothing.

#![cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "without `tracing` no event is emitted")
)]

use std::time::Duration;

use crate::framing::Framing;
use crate::holders::Holders;
use crate::label::Label;
use crate::mode::AllocatorMode;

/// Emits an event with the target `ks_allocator`.
macro_rules! emit {
    ($level:ident, $($fields:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::event!(target: "ks_allocator", tracing::Level::$level, $($fields)+);
    };
}

/// Emits an event with the fields of a report: name of the pool, number of frames, free frames and
/// waiting callers.
macro_rules! emit_about {
    ($level:ident, $holders:ident, $($fields:tt)+) => {
        emit!(
            $level,
            pool = $holders.pool.map(Label::name),
            frames = $holders.frames,
            free = $holders.free,
            waiting = $holders.waiting,
            $($fields)+
        );
    };
}

/// Reports that a pool was committed with a new segment of `bytes` bytes.
pub(crate) fn committed(pool: Option<Label>, framing: &Framing, mode: AllocatorMode, bytes: usize) {
    emit!(
        DEBUG,
        pool = pool.map(Label::name),
        frames = framing.frames,
        frame_size = framing.frame_size,
        %mode,
        bytes,
        "pool committed"
    );
}

/// Reports that a decommitted pool was committed again before its memory was freed.
pub(crate) fn committed_again(pool: Option<Label>, frames_out: usize) {
    emit!(
        DEBUG,
        pool = pool.map(Label::name),
        frames_out,
        "pool committed again with the same memory"
    );
}

/// Reports that a pool was decommitted while `frames_out` frames were out.
pub(crate) fn decommitted(pool: Option<Label>, frames_out: usize) {
    emit!(
        DEBUG,
        pool = pool.map(Label::name),
        frames_out,
        "pool decommitted"
    );
}

/// Reports that a pool was closed for good while `frames_out` frames were out.
pub(crate) fn closed(pool: Option<Label>, frames_out: usize) {
    emit!(
        DEBUG,
        pool = pool.map(Label::name),
        frames_out,
        "pool closed"
    );
}

/// Reports the begin or the end of a flush.
pub(crate) fn flush(pool: Option<Label>, begins: bool) {
    emit!(
        DEBUG,
        pool = pool.map(Label::name),
        "{}",
        if begins { "flush began" } else { "flush ended" }
    );
}

/// Returns `true` if a subscriber listens to [`starved`]. If not, the caller can skip the report.
pub(crate) fn starvation_enabled() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "ks_allocator", tracing::Level::DEBUG);
    #[cfg(not(feature = "tracing"))]
    false
}

/// Returns `true` if a subscriber listens to [`slow_wait`] and [`leaked`].
pub(crate) fn warnings_enabled() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "ks_allocator", tracing::Level::WARN);
    #[cfg(not(feature = "tracing"))]
    false
}

/// Reports that a caller waits because no frame is free. The pool limits the rate of this event.
pub(crate) fn starved(holders: &Holders) {
    emit_about!(DEBUG, holders, "no frame is free: {holders:#}");
}

/// Reports that a caller has waited for longer than the pool's threshold.
pub(crate) fn slow_wait(waited: Duration, holders: &Holders) {
    emit_about!(WARN, holders, ?waited, "slow wait for a frame: {holders:#}");
}

/// Reports that the last handle of a pool was dropped while frames were out.
pub(crate) fn leaked(holders: &Holders) {
    emit_about!(
        WARN,
        holders,
        "pool dropped while frames are out: {holders:#}"
    );
}
