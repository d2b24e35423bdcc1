//! The example programs, each run as a user would run it.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Stdio};

/// Runs a program, which must succeed, and returns the last line that it prints.
fn last_line(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout.lines().last().unwrap().to_owned()
}

#[test]
fn packets_from_tcp_are_parts_of_frames() {
    let line = last_line(env!("CARGO_BIN_EXE_network"), &[]);
    assert_eq!(line, "network: packets=2000 bytes=1405400 free=4 of 4");
}

#[test]
fn a_file_is_read_into_registered_frames_unless_the_system_refuses() {
    let line = last_line(env!("CARGO_BIN_EXE_uring"), &[]);
    println!("{line}");
    let direct = line.strip_prefix("uring: reads=76 bytes=4851664 direct=");
    assert!(
        matches!(direct, Some("true" | "false")) || line.starts_with("uring: unsupported ("),
        "{line}"
    );
}

#[test]
fn planes_are_images_and_arrays() {
    let line = last_line(env!("CARGO_BIN_EXE_picture"), &[]);
    let size = line.strip_prefix("picture: png_bytes=").unwrap();
    let size = size.strip_suffix(" colors=6").unwrap();
    assert!(size.parse::<usize>().unwrap() > 1000, "{line}");
}

#[test]
fn layouts_and_descriptions_of_v4l2_are_converted_without_a_device() {
    let line = last_line(env!("CARGO_BIN_EXE_capture"), &["no-such-device"]);
    assert!(line.starts_with("capture: no device"), "{line}");
}

#[test]
fn statistics_are_exported() {
    let line = last_line(env!("CARGO_BIN_EXE_counters"), &[]);
    assert_eq!(line, "counters: metrics=13 acquires=5 timeouts=1");
}
