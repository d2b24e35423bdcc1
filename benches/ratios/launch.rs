//! Runs cargo on the package `benches/ratios`, which contains the peers. As dev-dependencies of
//! this crate, every `cargo test` would build them; jemalloc alone takes over a minute and needs a
//! C compiler.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Returns this program's arguments, and whether it runs as a benchmark: `cargo bench` passes
/// `--bench`, `cargo test` does not.
pub(crate) fn arguments() -> (Vec<OsString>, bool) {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    let is_benchmark = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| argument != "--bench");
    (arguments, is_benchmark)
}

/// Runs `cargo COMMAND ... -- ARGUMENTS` for the package.
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
            eprintln!("cargo cannot be run: {error}");
            ExitCode::FAILURE
        }
    }
}
