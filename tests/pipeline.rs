//! The example `pipeline`, run as its users run it.
#![cfg(not(any(loom, miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::env::{self, consts::EXE_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const CLIP: &[u8] = include_bytes!("data/big-buck-bunny.y4m");
const CLIP_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/big-buck-bunny.y4m");
const CLIP_LUMA: usize = 128 * 72;
const CLIP_FRAME: usize = CLIP_LUMA * 3 / 2;

const FRAME_LINE: &[u8] = b"FRAME\n";

/// Modes of this system.
const MODES: &[&str] = if cfg!(any(target_os = "linux", target_os = "android", windows)) {
    &["user", "kernel"]
} else {
    &["user"]
};

/// Exit code and output of a run.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    /// Returns the `name=value` pairs of the last line.
    fn pairs(&self) -> HashMap<&str, &str> {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{self:?}");
        let last = self.stdout.lines().last().unwrap();
        let pairs = last.strip_prefix("pipeline: ").unwrap().split(' ');
        pairs.map(|pair| pair.split_once('=').unwrap()).collect()
    }
}

/// Runs one program at a time. Windows and Wine sometimes refuse to start a program while another
/// one starts, so the start is retried there.
#[expect(clippy::disallowed_types, reason = "loom does not run these tests")]
fn pipeline(args: &[&str]) -> Run {
    static ONE_AT_A_TIME: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let test = env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let program = target.join(format!("examples/pipeline{EXE_SUFFIX}"));
    assert!(
        program.exists(),
        "{} is missing: `cargo test` builds it, or `cargo build --example pipeline`",
        program.display()
    );
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    let mut tries = if cfg!(windows) { 10 } else { 1 };
    let output = loop {
        tries -= 1;
        match command.output() {
            Ok(output) => break output,
            Err(error) if tries == 0 => panic!("{command:?}: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    };
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Writes a file for one test.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Returns the frames of the clip, found by their offsets alone.
fn clip_frames() -> Vec<Vec<u8>> {
    let header = CLIP.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let frames = CLIP[header..].chunks(FRAME_LINE.len() + CLIP_FRAME);
    frames
        .map(|frame| frame.strip_prefix(FRAME_LINE).unwrap().to_vec())
        .collect()
}

/// Returns the checksum that the program should print for frames with `luma` bytes of luma each.
fn expected_checksum(luma: usize, frames: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut step = |word: u64| {
        state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 32;
    };
    for mut frame in frames {
        for pixel in &mut frame[..luma] {
            if (16..=235).contains(pixel) {
                let t = f64::from(*pixel - 16) / 219.0;
                let steep = 16.0 + 219.0 * t * t * (3.0 - 2.0 * t);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "rounded, and from 16 to 235"
                )]
                let rounded = steep.round() as u8;
                *pixel = rounded;
            }
        }
        step(frame.len() as u64);
        frame.resize(frame.len().next_multiple_of(8), 0);
        for word in frame.chunks(8) {
            step(u64::from_le_bytes(word.try_into().unwrap()));
        }
    }
    format!("{state:016x}")
}

/// Runs with pools of several sizes in every mode and without a pool. Compares the last lines.
fn check_every_memory(args: &[&str], frames: &str, checksum: &str) {
    let check = |memory: &[&str], mode: &str| {
        let run = pipeline(&[args, memory].concat());
        let pairs = run.pairs();
        assert_eq!(pairs["mode"], mode, "{memory:?}");
        assert_eq!(pairs["frames"], frames, "{memory:?}");
        assert_eq!(pairs["lost"], "0", "{memory:?}");
        assert_eq!(pairs["checksum"], checksum, "{memory:?}");
        assert_eq!(
            pairs["heap_allocations"] == "0",
            mode != "heap",
            "{memory:?}"
        );
    };
    for mode in MODES {
        for pool in ["1", "2", "3", "8"] {
            check(&["--pool", pool, "--mode", mode], mode);
        }
    }
    check(&["--heap"], "heap");
}

#[test]
fn the_clip_has_one_checksum_whatever_the_memory() {
    let checksum = expected_checksum(CLIP_LUMA, clip_frames());
    check_every_memory(&["--input", CLIP_PATH], "24", &checksum);
}

#[test]
fn the_pattern_has_one_checksum_whatever_the_memory() {
    let args = ["--size", "66x37", "--frames", "100"];
    let run = pipeline(&args);
    check_every_memory(&args, "100", run.pairs()["checksum"]);
}

#[test]
fn a_file_of_odd_size_has_one_checksum_whatever_the_memory() {
    // In the second half, frame lines have a parameter.
    let mut bytes = b"YUV4MPEG2 W5 H3 F30000:1001 C420jpeg XCOMMENT\n".to_vec();
    let frames: Vec<Vec<u8>> = (0..40).map(|n| (n..n + 27).collect()).collect();
    for (number, frame) in frames.iter().enumerate() {
        bytes.extend(if number < 20 {
            FRAME_LINE
        } else {
            b"FRAME Ip\n"
        });
        bytes.extend(frame);
    }
    let path = file("odd.y4m", &bytes);
    let checksum = expected_checksum(15, frames);
    check_every_memory(&["--input", path.to_str().unwrap()], "40", &checksum);
}

#[test]
fn the_number_of_frames_limits_a_file_and_does_not_prolong_it() {
    let checksum = expected_checksum(CLIP_LUMA, clip_frames().into_iter().take(5));
    let run = pipeline(&["--input", CLIP_PATH, "--frames", "5"]);
    assert_eq!(run.pairs()["frames"], "5");
    assert_eq!(run.pairs()["checksum"], checksum);

    let run = pipeline(&["--input", CLIP_PATH, "--frames=1000"]);
    assert_eq!(run.pairs()["frames"], "24");
}

#[test]
fn very_short_runs_work() {
    for frames in ["1", "2", "3"] {
        let run = pipeline(&["--size", "1x1", "--frames", frames]);
        assert_eq!(run.pairs()["frames"], frames);
        assert_eq!(run.pairs()["lost"], "0");
    }
    let empty = file("empty.y4m", b"YUV4MPEG2 W128 H72\n");
    let run = pipeline(&["--input", empty.to_str().unwrap()]);
    assert_eq!(run.pairs()["frames"], "0");
}

#[test]
fn the_last_line_has_its_keys_in_order() {
    let run = pipeline(&["--size", "16x16", "--frames", "20"]);
    let last = run.stdout.lines().last().unwrap();
    let keys = last.split(' ').map(|word| word.split('=').next().unwrap());
    let expected = "pipeline: mode frames fps heap_allocations page_faults lost worst_acquire_ns \
                    checksum";
    assert_eq!(keys.collect::<Vec<_>>().join(" "), expected);

    let pairs = run.pairs();
    assert_eq!(pairs["mode"], "user");
    assert!(pairs["fps"].parse::<f64>().unwrap() > 0.0);
    assert!(pairs["worst_acquire_ns"].parse::<u64>().unwrap() > 0);
    let has_page_faults = pairs["page_faults"] != "unknown";
    assert_eq!(has_page_faults, cfg!(target_os = "linux"));
    assert_eq!(pairs["checksum"].len(), 16);
}

#[test]
#[cfg(target_os = "linux")]
fn a_prefaulted_pool_has_no_page_faults_in_either_mode() {
    // The warm-up touches some frames of so large a pool. Memory checkers may fault on pages of
    // their own.
    let pages = 640 * 360 * 3 / 2 / 4096;
    for mode in MODES {
        let args = ["--size", "640x360", "--frames", "60", "--pool", "64"];
        let run = pipeline(&[&args[..], &["--mode", mode]].concat());
        let faults: usize = run.pairs()["page_faults"].parse().unwrap();
        assert!(faults < pages, "{faults} faults in {mode} mode");
    }
}

#[test]
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
fn kernel_mode_fails_where_it_is_unsupported() {
    let run = pipeline(&["--size", "16x16", "--mode", "kernel"]);
    assert_eq!((run.code, &*run.stdout), (Some(1), ""));
    assert!(run.stderr.starts_with("pipeline: "), "{run:?}");
}

#[test]
fn a_bad_file_ends_every_stage_and_is_reported() {
    let header = CLIP.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let tenth = header + 10 * (FRAME_LINE.len() + CLIP_FRAME);
    let mut no_frame = CLIP.to_vec();
    no_frame[tenth] = b'G';
    let cases: [(&[u8], &str); 9] = [
        (&CLIP[..tenth + 1000], "the file ends within frame 10"),
        (
            &CLIP[..tenth + 3],
            "frame 10 does not begin with a FRAME line",
        ),
        (&no_frame, "frame 10 does not begin with a FRAME line"),
        (&CLIP[..20], "this is not a YUV4MPEG2 file"),
        (b"RIFF\0\0\0\0AVI ", "this is not a YUV4MPEG2 file"),
        (b"YUV4MPEG2 W16\n", "width and height"),
        (b"YUV4MPEG2 W16 H16385\n", "width and height"),
        (
            b"YUV4MPEG2 W16 H16 F25:0\n",
            "the frame rate `25:0` is not a fraction",
        ),
        (
            b"YUV4MPEG2 W16 H16 C444\n",
            "the chroma format `444` is not 4:2:0",
        ),
    ];
    for (number, (bytes, message)) in cases.into_iter().enumerate() {
        let path = file(&format!("bad-{number}.y4m"), bytes);
        for memory in [&["--pool", "1"][..], &["--pool", "8"], &["--heap"]] {
            let run = pipeline(&[&["--input", path.to_str().unwrap()], memory].concat());
            assert_eq!(run.code, Some(1), "{run:?}");
            let begin = format!("pipeline: {}: ", path.display());
            assert!(run.stderr.starts_with(&begin), "{run:?}");
            assert!(run.stderr.contains(message), "{run:?}");
            assert!(!run.stdout.contains("pipeline: "), "{run:?}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let run = pipeline(&["--input", "no/such/file.y4m"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with("pipeline: no/such/file.y4m: "),
        "{run:?}"
    );
}

#[test]
fn bad_arguments_are_explained() {
    let cases: &[(&[&str], &str)] = &[
        (&["--what"], "there is no option `--what`"),
        (&["clip.y4m"], "there is no option `clip.y4m`"),
        (&["--frames"], "--frames needs a value"),
        (
            &["--frames=0"],
            "--frames: `0` is not a number of 1 or more",
        ),
        (
            &["--pool", "65536"],
            "--pool: `65536` is not a number in 1..=65535",
        ),
        (
            &["--size", "1x20000"],
            "--size: `1x20000` is not a size such as 1920x1080, of at most 16384x16384",
        ),
        (&["--mode", "fast"], "--mode: `fast` is not user or kernel"),
        (
            &["--heap", "--mode", "user"],
            "--heap and --mode exclude each other",
        ),
        (
            &["--input", "x", "--size", "2x2"],
            "--input and --size exclude each other",
        ),
    ];
    for (args, message) in cases {
        let run = pipeline(args);
        assert_eq!((run.code, &*run.stdout), (Some(2), ""), "{run:?}");
        let expected = format!("pipeline: {message}; --help lists the options\n");
        assert_eq!(run.stderr, expected);
    }
}

#[test]
fn help_lists_every_option() {
    let run = pipeline(&["--help"]);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    for option in [
        "--input", "--frames", "--size", "--pool", "--mode", "--heap",
    ] {
        assert!(run.stdout.contains(option), "{option}");
    }
}
