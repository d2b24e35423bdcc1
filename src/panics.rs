//! Containment of panics in code of the user's: wakers, hooks, `tracing` subscribers and drivers of
//! COM clients.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Attempts to drop a panic's payload, whose drop may panic again.
const MAX_DROPS: usize = 3;

/// Runs code of the user's. A panic in it goes no further than the panic hook.
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
