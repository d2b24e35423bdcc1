//! Runs the example, and checks its last line.

use std::process::Command;

#[test]
fn the_last_line_says_that_nothing_was_copied_and_all_frames_are_free() {
    let output = Command::new(env!("CARGO_BIN_EXE_ks-allocator-gstreamer"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let expected = "gstreamer: frames=120 copied=0 free=8 of 8";
    assert_eq!(lines.lines().last(), Some(expected), "{errors}");
}
