//! The example `sizing`, run as a program: forecasts compared with runs, and saved recordings.
#![cfg(not(any(loom, miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use ks_allocator::Recording;

use support::example::example;

mod support {
    pub(crate) mod example;
}

/// Runs the example in a folder for this test program.
fn run(arguments: &[&str]) -> Output {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sizing");
    fs::create_dir_all(&folder).unwrap();
    let mut example = example("sizing");
    example.args(arguments).current_dir(folder);
    example.output().unwrap()
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Returns the number after `key` in the last line of the output.
fn number(output: &Output, key: &str) -> usize {
    let stdout = text(output);
    let last = stdout.lines().last().unwrap();
    let mut words = last.split(' ');
    let number = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    number.unwrap_or_else(|| panic!("{last}")).parse().unwrap()
}

#[test]
fn forecasts_agree_with_runs_and_a_saved_recording_gives_the_same_forecast() {
    if cfg!(windows) {
        // Sleeps are too coarse there.
        return;
    }
    let compare = || {
        let output = run(&["--save", "recording.json"]);
        assert!(output.status.success(), "{output:?}");
        output
    };
    let is_good = |output: &Output| number(output, "good") >= 9;
    // A machine that is busy during a run changes the times of the stages.
    let mut output = compare();
    for _ in 0..2 {
        if !is_good(&output) {
            output = compare();
        }
    }
    let stdout = text(&output);
    assert!(is_good(&output), "{stdout}");
    let least = number(&output, "least");
    assert!((6..=8).contains(&least), "{stdout}");
    assert!(number(&output, "measured").abs_diff(least) <= 1, "{stdout}");

    let from_file = run(&["recording.json"]);
    assert!(from_file.status.success(), "{from_file:?}");
    assert_eq!(number(&from_file, "frames"), 8);
    let first = stdout.lines().next();
    assert_eq!(text(&from_file).lines().next(), first);
}

#[test]
fn a_recording_with_a_kind_of_event_that_is_not_known_is_an_error() {
    let text = r#"{"pool":"camera","frames":2,"events":[{"at":{"secs":0,"nanos":128},
        "kind":"KIND","slot":0,"wait":null,"thread":1,"label":"encoder"}],"lost":0,
        "read_at":{"secs":1,"nanos":0}}"#;
    let read = |kind| serde_json::from_str::<Recording>(&text.replace("KIND", kind));
    let recording = read("Acquired").unwrap();
    assert_eq!(recording.events[0].label.unwrap().name(), "encoder");
    assert_eq!(recording.sizing().depths.len(), 4);
    read("Vanished").unwrap_err();
}

#[test]
fn wrong_arguments_are_reported() {
    for arguments in [&["--what"][..], &["a", "b"], &["missing.json"]] {
        let output = run(arguments);
        assert!(!output.status.success());
        assert!(!output.stderr.is_empty());
    }
}
