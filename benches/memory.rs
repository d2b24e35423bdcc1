//! Builds and runs the benchmark `memory`: the costs of the first and of every later use of a
//! frame's memory. The benchmark itself is `ratios/benches/memory.rs`, beside the peers.
//!
//! `cargo bench --bench memory`, on Linux

#![expect(clippy::print_stderr, reason = "a program that reports its errors")]

#[path = "ratios/launch.rs"]
mod launch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (arguments, is_benchmark) = launch::arguments();
    let command: &[&str] = if is_benchmark {
        &["bench", "--bench", "memory"]
    } else {
        &["test", "--release", "--bench", "memory"]
    };
    launch::cargo(command, &arguments)
}
