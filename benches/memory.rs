//! Builds and runs the benchmark `memory`: the costs of the first and of every later use of a
//! frame's memory. The benchmark itself is `ratios/benches/memory.rs`, beside the peers.
//!
//! `cargo bench --bench memory -- --all`, on Linux

#![expect(clippy::print_stderr, reason = "a program that reports its errors")]
#![expect(clippy::print_stdout, reason = "says how it is used")]

#[path = "ratios/launch.rs"]
mod launch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut arguments, is_benchmark) = launch::arguments();
    if is_benchmark && arguments.is_empty() {
        println!("costs of memory, with other allocators: cargo bench --bench memory -- --all");
        return ExitCode::SUCCESS;
    }
    // Without the name of a measurement, criterion does all.
    arguments.retain(|argument| argument != "--all");
    let command: &[&str] = if is_benchmark {
        &["bench", "--bench", "memory"]
    } else {
        &["test", "--release", "--bench", "memory"]
    };
    launch::cargo(command, &arguments)
}
