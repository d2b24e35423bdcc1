//! The example `share`, run as its users run it.
#![cfg(all(
    any(target_os = "linux", target_os = "android", windows),
    not(any(loom, miri))
))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use support::example::example;
use support::start_process::start_process;

mod support {
    pub(crate) mod example;
    pub(crate) mod start_process;
}

/// Exit code and output of a run.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn share(args: &[&str]) -> Run {
    let mut command = example("share");
    command.args(args);
    let output = start_process(|| command.output());
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn all_frames_come_back_and_those_of_a_killed_process_are_revoked() {
    for frames in ["1", "30"] {
        let run = share(&["--frames", frames]);
        assert_eq!((run.code, &*run.stderr), (Some(0), ""), "{run:?}");
        let last = run.stdout.lines().last().unwrap();
        let begin = format!("share: frames={frames} copied_bytes=0 lost=0 recovered_after_kill=");
        let recovered = last.strip_prefix(&begin).unwrap();
        // The borrower keeps 4 frames, and the pool has 8.
        assert!(matches!(recovered, "4" | "5" | "6" | "7" | "8"), "{run:?}");
        assert!(run.stdout.lines().count() > 2);
    }
}

#[test]
fn bad_arguments_are_explained() {
    let cases: &[(&[&str], &str)] = &[
        (&["--what"], "there is no option `--what`"),
        (&["7"], "there is no option `7`"),
        (&["--help=7"], "there is no option `--help=7`"),
        (&["--frames"], "--frames needs a value"),
        (
            &["--frames", "0"],
            "--frames: `0` is not a number of 1 or more",
        ),
        (
            &["--frames=many"],
            "--frames: `many` is not a number of 1 or more",
        ),
    ];
    for (args, message) in cases {
        let run = share(args);
        assert_eq!((run.code, &*run.stdout), (Some(2), ""), "{run:?}");
        let expected = format!("share: {message}; --help lists the options\n");
        assert_eq!(run.stderr, expected);
    }
}

#[test]
fn help_lists_every_option() {
    let run = share(&["--help"]);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    assert!(run.stdout.contains("--frames") && run.stdout.contains("--help"));
}

#[test]
fn a_borrower_without_an_owner_reports_an_error() {
    let run = share(&["--borrow"]);
    assert_eq!((run.code, &*run.stdout), (Some(1), ""), "{run:?}");
    assert!(run.stderr.starts_with("share: "), "{run:?}");
}
