//! A test that runs in a process of its own.

use super::rerun::{rerun, role};

/// Runs a test again in a process of its own, because it and other tests of its program would
/// disturb each other. Returns true in that process. `test` is the test's path.
pub(crate) fn runs_alone(test: &str) -> bool {
    if role().is_some() {
        return true;
    }
    let output = rerun(test, "alone")
        .output()
        .expect("this program can be started");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains(" 1 passed;") && output.status.success(),
        "{output:?}"
    );
    false
}
