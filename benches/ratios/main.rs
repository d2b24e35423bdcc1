//! Builds and runs the benchmark `ratios`, the package in this folder.
//!
//! `cargo bench --bench ratios -- --all`, or `-- --help`

#![expect(clippy::print_stderr, reason = "a program that reports its errors")]
#![expect(clippy::print_stdout, reason = "says how it is used")]

mod launch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut arguments, is_benchmark) = launch::arguments();
    if is_benchmark && arguments.is_empty() {
        println!("comparison with other pools: cargo bench --bench ratios -- --all, or -- W1 W3");
        return ExitCode::SUCCESS;
    }
    if !is_benchmark {
        arguments.push("--quick".into());
    }
    launch::cargo(&["run", "--release"], &arguments)
}
