//! Containment of panics in code of the user's: wakers, hooks, `tracing` subscribers and drivers of
//! COM clients.

#[cfg(not(all(test, loom)))]
use std::mem;
#[cfg(not(all(test, loom)))]
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Attempts to drop a panic's payload, whose drop may panic again.
#[cfg(not(all(test, loom)))]
const MAX_DROPS: usize = 3;

/// Runs code of a model, whose panics are failures of the model.
#[cfg(all(test, loom))]
pub(crate) fn catch_panics(foreign: impl FnOnce()) {
    foreign();
}

/// Runs code of the user's. A panic in it goes no further than the panic hook.
#[cfg(not(all(test, loom)))]
pub(crate) fn catch_panics(foreign: impl FnOnce()) {
    let mut outcome = catch_unwind(AssertUnwindSafe(foreign));
    for _ in 0..MAX_DROPS {
        match outcome {
            Ok(()) => return,
            Err(panic) => outcome = catch_unwind(AssertUnwindSafe(|| drop(panic))),
        }
    }
    #[expect(
        clippy::mem_forget,
        reason = "a payload whose drop keeps panicking is leaked"
    )]
    mem::forget(outcome);
}
