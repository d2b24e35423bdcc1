//! Builds and runs the benchmark `ratios`, which is a package of its own in this folder.
//!
//! `cargo bench --bench ratios -- --help`

#![expect(clippy::print_stderr, reason = "a program that says what went wrong")]

mod launch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut arguments, to_measure) = launch::arguments();
    if !to_measure {
        arguments.push("--quick".into());
    }
    launch::cargo(&["run", "--release"], &arguments)
}
