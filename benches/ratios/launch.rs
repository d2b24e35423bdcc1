//! Has cargo do something with the package of the peers, which is not part of the crate's own build: they are many,
//! one of them takes over a minute, and some want a C compiler.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What this program was called with, and whether it is to measure: cargo says so, or else this is a test.
pub(crate) fn arguments() -> (Vec<OsString>, bool) {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    let to_measure = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| argument != "--bench");
    (arguments, to_measure)
}

/// Runs `cargo COMMAND --release ... -- ARGUMENTS` for the package.
pub(crate) fn cargo(command: &[&str], arguments: &[OsString]) -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(command)
        .args(["--locked", "--manifest-path"])
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
