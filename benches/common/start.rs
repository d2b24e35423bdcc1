//! Ways in which cargo starts a benchmark.

use std::env;

/// Returns whether the benchmark is to run everything once, as a check, and not to measure: cargo
/// passes `--bench` if it runs benchmarks, and nothing if it runs tests.
pub(crate) fn is_check() -> bool {
    env::args_os().skip(1).all(|argument| argument != "--bench")
}
