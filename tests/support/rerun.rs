//! This test program, started again to run one of its tests in a process of its own.

use std::env;
use std::process::Command;

/// Environment variable of a process that `rerun` starts.
const ROLE: &str = "KS_ALLOCATOR_TEST_ROLE";

/// Returns a command that runs only the test `test` of this program. [`role`] returns `role` there.
pub(crate) fn rerun(test: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a process knows its program"));
    command
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role);
    command
}

/// Returns the role of this process, or `None` if [`rerun`] did not start it.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}
