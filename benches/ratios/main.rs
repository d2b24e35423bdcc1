//! Builds and runs the benchmark `ratios`, which is a package of its own in this folder: its peers are
//! many, and one of them takes over a minute to build, which nobody should wait for who only wants to
//! run the tests.
//!
//! `cargo bench --bench ratios -- --help`

#![expect(clippy::print_stderr, reason = "a program that says what went wrong")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    // Cargo says so when it is to be measured; otherwise this is a test.
    let to_measure = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| argument != "--bench");
    if !to_measure {
        arguments.push("--quick".into());
    }
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--locked", "--manifest-path"])
        .arg(root.join("benches/ratios/Cargo.toml"))
        .arg("--target-dir")
        .arg(target.join("ratios"))
        .arg("--")
        .args(arguments)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be run: {error}");
            ExitCode::FAILURE
        }
    }
}
