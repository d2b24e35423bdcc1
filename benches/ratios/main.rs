//! Builds and runs the benchmark `ratios`, the package in this folder.
//!
//! `cargo bench --bench ratios`, or `-- --help`

#![expect(clippy::print_stderr, reason = "a program that reports its errors")]

mod launch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut arguments, is_benchmark) = launch::arguments();
    if !is_benchmark {
        arguments.push("--quick".into());
    }
    launch::cargo(&["run", "--release"], &arguments)
}
