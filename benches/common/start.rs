//! Ways in which cargo starts a benchmark.

use std::env;

/// Work that a benchmark is started for.
pub(crate) enum Start {
    /// Run everything once, as a check: `cargo test --bench NAME`.
    Check,
    /// Measure: `cargo bench --bench NAME -- --all`.
    Measure,
    /// Say how to measure: `cargo bench`, which starts all benchmarks.
    Hint,
}

impl Start {
    /// Returns what the arguments of this program ask for. Cargo adds `--bench` to them if it runs
    /// benchmarks, and nothing if it runs tests.
    pub(crate) fn of_this_program() -> Self {
        let has = |wanted: &str| env::args_os().skip(1).any(|argument| argument == wanted);
        if has("--all") {
            Self::Measure
        } else if has("--bench") {
            Self::Hint
        } else {
            Self::Check
        }
    }
}
