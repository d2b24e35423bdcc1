//! Example programs of this package.

use std::env::{self, consts::EXE_SUFFIX};
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns a command that runs an example program without input.
#[track_caller]
pub(crate) fn example(name: &str) -> Command {
    let test = env::current_exe().expect("a process knows its program");
    let target = test.parent().and_then(Path::parent);
    let target = target.expect("the test program is in the folder `deps` of the target folder");
    let program = target.join(format!("examples/{name}{EXE_SUFFIX}"));
    assert!(
        program.exists(),
        "{} is missing: `cargo test` builds it, or `cargo build --example {name}`",
        program.display()
    );
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}
