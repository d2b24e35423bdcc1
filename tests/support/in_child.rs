//! Children that are forked from a test.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seconds after which a child is killed.
const TIMEOUT: u32 = 20;

/// Runs `child` in a forked process, and asserts that it ends without a panic and in time.
#[expect(unsafe_code, reason = "forks")]
#[track_caller]
pub(crate) fn in_child(child: impl FnOnce()) {
    // SAFETY: the child runs `child` and ends. It uses the heap, whose locks the C library keeps
    // consistent across a fork, and the crate, which promises to work there.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "fork failed");
    if id == 0 {
        // SAFETY: without a handler, the signal kills this process.
        unsafe { libc::alarm(TIMEOUT) };
        let done = catch_unwind(AssertUnwindSafe(child));
        // SAFETY: ends the process without handlers of the parent.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made.
    let waited = unsafe { libc::waitpid(id, &raw mut status, 0) };
    assert_eq!((waited, status), (id, 0), "the child failed");
}
