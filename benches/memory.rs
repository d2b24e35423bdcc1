//! Builds and runs the benchmark `memory`, what the first use of a frame's memory costs and every later one: with the
//! peers, in `ratios/benches/memory.rs`.
//!
//! `cargo bench --bench memory`, on Linux

#![expect(clippy::print_stderr, reason = "a program that says what went wrong")]

#[path = "ratios/launch.rs"]
mod launch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (arguments, to_measure) = launch::arguments();
    let command: &[&str] = match to_measure {
        true => &["bench", "--bench", "memory"],
        false => &["test", "--release", "--bench", "memory"],
    };
    launch::cargo(command, &arguments)
}
