//! The example `pipeline`, part by part and as a whole.
//!
//! Its modules are compiled into this test, and the program itself is run, which `cargo test` has
//! built beside it.
#![cfg(not(loom))]
#![expect(
    clippy::unwrap_used,
    reason = "in the helpers of the tests it says as much as in the tests"
)]

#[path = "../examples/pipeline/checksum.rs"]
mod checksum;
#[path = "../examples/pipeline/contrast.rs"]
mod contrast;
#[path = "../examples/pipeline/counting.rs"]
#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
mod counting;
#[path = "../examples/pipeline/handoff.rs"]
mod handoff;
#[path = "../examples/pipeline/histogram.rs"]
mod histogram;
#[path = "../examples/pipeline/pattern.rs"]
mod pattern;
#[path = "../examples/pipeline/picture.rs"]
mod picture;
#[path = "../examples/pipeline/stages.rs"]
mod stages;
#[path = "../examples/pipeline/supply.rs"]
mod supply;
#[path = "../examples/pipeline/y4m.rs"]
mod y4m;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const CLIP: &[u8] = include_bytes!("data/big-buck-bunny.y4m");
const CLIP_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/big-buck-bunny.y4m");
const CLIP_FRAMES: usize = 24;

/// Long enough for the slowest machine: it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `test` on a thread of its own and fails if it hangs.
fn in_time<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    let thread = thread::spawn(move || {
        // Nobody listens any more if it took too long.
        drop(send.send(test()));
    });
    match receive.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it sent nothing"))
        }
    }
}

/// What the program should make of the frames: each as it comes from the source.
fn expected_checksum(luma: usize, frames: impl IntoIterator<Item = Vec<u8>>) -> u64 {
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
        while frame.len() % 8 != 0 {
            frame.push(0);
        }
        for word in frame.chunks(8) {
            step(
                word.iter()
                    .rev()
                    .fold(0, |word, byte| word << 8 | u64::from(*byte)),
            );
        }
    }
    state
}

/// The frames of the clip, taken out of the file by their places alone.
fn clip_frames() -> Vec<Vec<u8>> {
    let header = CLIP.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let frames = CLIP[header..].chunks(b"FRAME\n".len() + CLIP_FRAME);
    frames
        .map(|frame| frame.strip_prefix(b"FRAME\n").unwrap().to_vec())
        .collect()
}

const CLIP_LUMA: usize = 128 * 72;
const CLIP_FRAME: usize = CLIP_LUMA * 3 / 2;

mod pictures {
    use super::picture::{MAX_SIDE, Rate, Size};

    #[test]
    fn chroma_rounds_up() {
        let bytes = |width, height| Size::new(width, height).unwrap().frame();
        assert_eq!(bytes(4, 2), 8 + 2 + 2);
        assert_eq!(bytes(5, 3), 15 + 6 + 6);
        assert_eq!(bytes(1, 1), 1 + 1 + 1);
        assert_eq!(Size::FULL_HD.frame(), 3_110_400);
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(Size::new(0, 1), None);
        assert_eq!(Size::new(1, 0), None);
        assert_eq!(Size::new(MAX_SIDE + 1, 1), None);
        assert_eq!(Size::new(1, MAX_SIDE + 1), None);
        let largest = Size::new(MAX_SIDE, MAX_SIDE).unwrap();
        assert!(u32::try_from(largest.frame()).is_ok());
    }

    #[test]
    fn frames_follow_each_other_without_drift() {
        let ntsc = Rate::new(30_000, 1001).unwrap();
        assert_eq!(ntsc.time_of(0), 0);
        assert_eq!(ntsc.time_of(1), 333_666);
        assert_eq!(ntsc.time_of(30_000), 1001 * 10_000_000);
        assert_eq!(Rate::HZ_25.time_of(25), 10_000_000);
        assert_eq!(Rate::HZ_60.time_of(u64::MAX), i64::MAX);
    }
}

mod y4m_files {
    use std::io::{self, BufRead, BufReader, Read};

    use super::picture::{Rate, Size};
    use super::y4m::{Error, LINE_MAX, Problem, Reader};
    use super::{CLIP, CLIP_FRAMES, clip_frames};

    fn header(text: &[u8]) -> Result<(Size, Rate), Error> {
        Reader::new(text).map(|reader| (reader.size(), reader.rate()))
    }

    /// All frames of a file, or the error that ends it.
    fn frames(input: impl BufRead) -> Result<Vec<Vec<u8>>, Error> {
        let mut reader = Reader::new(input)?;
        let mut frames = Vec::new();
        loop {
            let mut frame = vec![0; reader.size().frame()];
            if !reader.read_frame(&mut frame)? {
                return Ok(frames);
            }
            frames.push(frame);
        }
    }

    /// Two frames of 5x3, each 27 bytes; the second has a parameter.
    fn small_file() -> Vec<u8> {
        let mut file = b"YUV4MPEG2 W5 H3 F30:1\nFRAME\n".to_vec();
        file.extend(0..27);
        file.extend(b"FRAME Ip\n");
        file.extend(100..127);
        file
    }

    #[test]
    fn the_clip_is_what_its_bytes_say() {
        let reader = Reader::new(CLIP).unwrap();
        assert_eq!(reader.size(), Size::new(128, 72).unwrap());
        assert_eq!(reader.rate(), Rate::HZ_25);
        assert_eq!(reader.frames_left(CLIP.len() as u64), CLIP_FRAMES as u64);

        let frames = frames(CLIP).unwrap();
        assert_eq!(frames.len(), CLIP_FRAMES);
        assert!(frames == clip_frames());
        assert!(frames[0] != frames[CLIP_FRAMES - 1], "nothing moves");
    }

    #[test]
    fn headers_in_their_variants() {
        let size = Size::new(128, 72).unwrap();
        for chroma in ["", " C420", " C420jpeg", " C420paldv", " C420mpeg2"] {
            for interlacing in ["", " Ip", " It", " Ib", " Im", " I?"] {
                let text =
                    format!("YUV4MPEG2 W128 H72 F25:1{interlacing}{chroma} A1:1 XWHAT=EVER\n");
                assert_eq!(
                    header(text.as_bytes()).unwrap(),
                    (size, Rate::HZ_25),
                    "{text}"
                );
            }
        }
        // In any order, with more than one space, and with tags that nobody knows yet.
        let text = b"YUV4MPEG2  C420 Q7 F30000:1001 H72   W128 \n";
        assert_eq!(
            header(text).unwrap(),
            (size, Rate::new(30_000, 1001).unwrap())
        );
        // The rate may be missing, or unknown.
        assert_eq!(
            header(b"YUV4MPEG2 W128 H72\n").unwrap(),
            (size, Rate::HZ_25)
        );
        assert_eq!(
            header(b"YUV4MPEG2 W128 H72 F0:0\n").unwrap(),
            (size, Rate::HZ_25)
        );
        let largest = Size::new(16_384, 16_384).unwrap();
        assert_eq!(header(b"YUV4MPEG2 W16384 H16384\n").unwrap().0, largest);
    }

    #[test]
    fn bad_headers_name_the_byte() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "byte 0: the file ends within its header"),
            (b"YUV4", "byte 4: the file ends within its header"),
            (
                b"YUV4MPEG2 W128 H72",
                "byte 18: the file ends within its header",
            ),
            (b"\n", "byte 0: this is not a YUV4MPEG2 file"),
            (b"YUV4\n", "byte 0: this is not a YUV4MPEG2 file"),
            (
                b"YUV4MPEG W128 H72\n",
                "byte 0: this is not a YUV4MPEG2 file",
            ),
            (
                b"YUV4MPEG2W128 H72\n",
                "byte 0: this is not a YUV4MPEG2 file",
            ),
            (b"RIFF\0\0\0\0AVI ", "byte 0: this is not a YUV4MPEG2 file"),
            (b"YUV4MPEG2\n", "byte 9: the header ends without a width"),
            (
                b"YUV4MPEG2 H72\n",
                "byte 13: the header ends without a width",
            ),
            (
                b"YUV4MPEG2 W128\n",
                "byte 14: the header ends without a height",
            ),
            (
                b"YUV4MPEG2 W H72\n",
                "byte 10: the width `` is not a whole number in 1..=16384",
            ),
            (
                b"YUV4MPEG2 W0 H72\n",
                "byte 10: the width `0` is not a whole number in 1..=16384",
            ),
            (
                b"YUV4MPEG2 W128 H16385\n",
                "byte 15: the height `16385` is not a whole number in 1..=16384",
            ),
            (
                b"YUV4MPEG2 W99999999999 H99999999999\n",
                "byte 10: the width `99999999999` is not a whole number in 1..=16384",
            ),
            (
                b"YUV4MPEG2 W128 H-72\n",
                "byte 15: the height `-72` is not a whole number in 1..=16384",
            ),
            (
                b"YUV4MPEG2 W+128 H72\n",
                "byte 10: the width `+128` is not a whole number in 1..=16384",
            ),
            (
                b"YUV4MPEG2 W12\xff H72\n",
                "byte 10: the width `12\\xff` is not a whole number in 1..=16384",
            ),
            (
                b"YUV4MPEG2 W128 H72\r\n",
                "byte 15: the height `72\\r` is not a whole number in 1..=16384",
            ),
            (
                b"YUV4MPEG2 W128 H72 F25\n",
                "byte 19: the frame rate `25` is not a fraction such as 30000:1001",
            ),
            (
                b"YUV4MPEG2 W128 H72 F25:0\n",
                "byte 19: the frame rate `25:0` is not a fraction such as 30000:1001",
            ),
            (
                b"YUV4MPEG2 W128 H72 F0:1\n",
                "byte 19: the frame rate `0:1` is not a fraction such as 30000:1001",
            ),
            (
                b"YUV4MPEG2 W128 H72 F25:1:1\n",
                "byte 19: the frame rate `25:1:1` is not a fraction such as 30000:1001",
            ),
            (
                b"YUV4MPEG2 W128 H72 F4294967296:1\n",
                "byte 19: the frame rate `4294967296:1` is not a fraction such as 30000:1001",
            ),
            (
                b"YUV4MPEG2 W128 H72 Ix\n",
                "byte 19: the interlacing `x` is not one of p, t, b, m and ?",
            ),
            (
                b"YUV4MPEG2 W128 H72 C422\n",
                "byte 19: the chroma format `422` is not 4:2:0 with 8 bits",
            ),
            (
                b"YUV4MPEG2 W128 H72  C420p10\n",
                "byte 20: the chroma format `420p10` is not 4:2:0 with 8 bits",
            ),
            (
                b"YUV4MPEG2 C0123456789012345678901234567890123456789 W1\n",
                "byte 10: the chroma format `01234567890123456789012345678901…` is not 4:2:0 with 8 bits",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(
                header(text).unwrap_err().to_string(),
                *message,
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn lines_are_bounded() {
        let longest = |begin: &str| format!("{begin:x<LINE_MAX$}\n").into_bytes();
        let mut file = longest("YUV4MPEG2 W1 H1 X");
        file.extend(longest("FRAME X"));
        file.extend([1, 2, 3]);
        assert_eq!(frames(&*file).unwrap(), [[1, 2, 3]]);

        let mut too_long = file.clone();
        too_long.insert(LINE_MAX, b'x');
        let error = frames(&*too_long).unwrap_err();
        assert_eq!(error.offset, LINE_MAX as u64);
        assert!(matches!(error.problem, Problem::HeaderTooLong), "{error}");

        let mut too_long = file.clone();
        too_long.insert(2 * LINE_MAX, b'x');
        let error = frames(&*too_long).unwrap_err();
        assert_eq!(error.offset, 2 * LINE_MAX as u64 + 1);
        assert!(
            matches!(error.problem, Problem::FrameLineTooLong(0)),
            "{error}"
        );
    }

    #[test]
    fn frames_of_odd_sizes_and_in_small_pieces() {
        let file = small_file();
        let expected: [Vec<u8>; 2] = [(0..27).collect(), (100..127).collect()];
        assert_eq!(frames(&*file).unwrap(), expected);
        for capacity in 1..40 {
            let pieces = BufReader::with_capacity(capacity, &*file);
            assert_eq!(frames(pieces).unwrap(), expected, "{capacity}");
        }
    }

    #[test]
    fn a_frame_may_be_longer_than_the_picture() {
        let file = small_file();
        let mut frame = [0xaa; 30];
        assert!(Reader::new(&*file).unwrap().read_frame(&mut frame).unwrap());
        assert_eq!(frame[26..], [26, 0xaa, 0xaa, 0xaa]);
    }

    #[test]
    fn wherever_the_file_is_cut_that_byte_is_named() {
        let file = small_file();
        let (header, first) = (22, 22 + 6 + 27);
        for cut in 0..=file.len() {
            let result = frames(&file[..cut]);
            if [header, first, file.len()].contains(&cut) {
                assert!(result.is_ok(), "cut at {cut}: {result:?}");
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.offset, cut as u64, "{error}");
            match error.problem {
                Problem::HeaderTruncated => assert!(cut < header),
                Problem::FrameLineTruncated(0) => assert!((header..header + 6).contains(&cut)),
                Problem::FrameTruncated { frame: 0, missing } => assert_eq!(missing, first - cut),
                Problem::FrameLineTruncated(1) => assert!((first..first + 9).contains(&cut)),
                Problem::FrameTruncated { frame: 1, missing } => {
                    assert_eq!(missing, file.len() - cut);
                }
                problem => panic!("cut at {cut}: {problem}"),
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_named_at_its_first_byte() {
        let second = 22 + 6 + 27;
        for bad in ["frame\n", "FRAM\n\n", "FRAMES", "\nFRAME", "FRAMx"] {
            let mut file = small_file();
            file[second..second + bad.len()].copy_from_slice(bad.as_bytes());
            let error = frames(&*file).unwrap_err();
            assert_eq!(error.offset, second as u64, "{bad:?}");
            assert!(
                matches!(error.problem, Problem::NotAFrame(1)),
                "{bad:?}: {error}"
            );
        }
    }

    /// Reads one byte at a time, is interrupted before each, and fails at the end.
    struct Failing<'a> {
        bytes: &'a [u8],
        interrupted: bool,
    }

    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if self.bytes.is_empty() {
                return Err(io::Error::other("the disk fell out"));
            }
            self.bytes.read(&mut buffer[..1])
        }
    }

    #[test]
    fn errors_of_the_input_name_the_byte_too() {
        let file = small_file();
        for end in 0..=file.len() {
            let input = Failing {
                bytes: &file[..end],
                interrupted: false,
            };
            let error = frames(BufReader::with_capacity(7, input)).unwrap_err();
            assert_eq!(error.to_string(), format!("byte {end}: the disk fell out"));
        }
    }
}

mod patterns {
    use super::pattern::Pattern;
    use super::picture::Size;

    const SIZES: [(u32, u32); 9] = [
        (1, 1),
        (1, 7),
        (7, 1),
        (2, 2),
        (5, 3),
        (6, 6),
        (64, 36),
        (127, 71),
        (1920, 1080),
    ];

    fn pattern(width: u32, height: u32) -> Pattern {
        Pattern::new(Size::new(width, height).unwrap())
    }

    fn drawn(pattern: &Pattern, number: u64) -> Vec<u8> {
        let mut frame = vec![0; pattern.size().frame()];
        pattern.draw(number, &mut frame);
        frame
    }

    #[test]
    fn every_byte_is_written_and_none_after() {
        for (width, height) in SIZES {
            let pattern = pattern(width, height);
            let len = pattern.size().frame();
            for number in [0, 1, 2, 99, 12_345, u64::MAX] {
                let mut over_zeroes = vec![0x00; len + 9];
                let mut over_ones = vec![0xff; len + 9];
                pattern.draw(number, &mut over_zeroes);
                pattern.draw(number, &mut over_ones);
                assert!(
                    over_zeroes[..len] == over_ones[..len],
                    "{width}x{height}, {number}"
                );
                assert_eq!(over_zeroes[len..], [0x00; 9]);
                assert_eq!(over_ones[len..], [0xff; 9]);
            }
        }
    }

    #[test]
    fn a_number_always_gives_the_same_frame() {
        let number = 321;
        let once = drawn(&pattern(127, 71), number);
        let again = pattern(127, 71);
        drawn(&again, 7);
        assert!(drawn(&again, number) == once);
    }

    #[test]
    fn it_moves_in_luma_and_chroma() {
        for (width, height) in [(64, 36), (127, 71), (320, 240)] {
            let pattern = pattern(width, height);
            let luma = pattern.size().luma();
            for number in 0..100 {
                let (one, next) = (drawn(&pattern, number), drawn(&pattern, number + 1));
                assert!(one[..luma] != next[..luma], "{width}x{height}, {number}");
                assert!(one[luma..] != next[luma..], "{width}x{height}, {number}");
            }
        }
    }

    #[test]
    fn the_bar_code_is_the_number() {
        let pattern = pattern(1920, 1080);
        for number in [0, 1, 0x1234_5678, 0xffff_ffff] {
            let frame = drawn(&pattern, number);
            let side = 1080 / 45;
            let cells = frame.chunks(side).take(32);
            let read = cells.fold(0, |code, cell| code << 1 | u64::from(cell[0] > 128));
            assert_eq!(read, number);
        }
    }

    #[test]
    fn luma_and_chroma_keep_within_the_range_of_video() {
        let pattern = pattern(127, 71);
        let luma = pattern.size().luma();
        for number in 0..20 {
            let frame = drawn(&pattern, number);
            assert!(frame[..luma].iter().all(|y| (16..=235).contains(y)));
            assert!(frame[luma..].iter().all(|c| (16..=240).contains(c)));
        }
    }
}

mod contrasts {
    use super::contrast;

    #[test]
    fn the_curve_is_an_s() {
        let curve = contrast::curve();
        assert_eq!((curve[0], curve[15], curve[16]), (0, 15, 16));
        assert_eq!((curve[235], curve[236], curve[255]), (235, 236, 255));
        assert!(curve.is_sorted());
        assert!(curve[60] < 60, "dark gets darker");
        assert!(curve[190] > 190, "bright gets brighter");
        assert!(curve[125] <= 125 && curve[126] >= 126, "the middle stays");
    }

    #[test]
    fn it_is_applied_to_each_pixel() {
        let curve = contrast::curve();
        let mut luma = [0, 60, 190, 60];
        contrast::apply(&curve, &mut luma);
        assert_eq!(luma, [0, curve[60], curve[190], curve[60]]);
    }
}

mod checksums {
    use super::checksum::Checksum;
    use super::expected_checksum;

    fn checksum(frames: &[&[u8]]) -> u64 {
        let mut checksum = Checksum::new();
        for frame in frames {
            checksum.frame(frame);
        }
        checksum.value()
    }

    #[test]
    fn it_is_what_it_says() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 0..bytes.len() {
            let frames = [&bytes[..len], &bytes[len..]];
            let expected = expected_checksum(0, frames.map(<[u8]>::to_vec));
            assert_eq!(checksum(&frames), expected, "{len}");
        }
    }

    #[test]
    fn every_bit_and_its_place_count() {
        let zeroes = [0; 21];
        let mut seen = vec![checksum(&[&zeroes])];
        for byte in 0..zeroes.len() {
            for bit in 0..8 {
                let mut bytes = zeroes;
                bytes[byte] ^= 1 << bit;
                seen.push(checksum(&[&bytes]));
            }
        }
        // Lengths, and where one frame ends and the next begins, count too.
        seen.push(checksum(&[&zeroes[..20]]));
        seen.push(checksum(&[&zeroes[..16], &zeroes[..5]]));
        seen.push(checksum(&[&zeroes[..5], &zeroes[..16]]));
        seen.push(checksum(&[&zeroes, &[]]));
        seen.push(checksum(&[]));
        seen.push(checksum(&[&[]]));
        seen.push(checksum(&[&[], &[]]));

        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}

mod histograms {
    use std::time::Duration;

    use super::histogram::Histogram;

    fn nanoseconds(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::new();
        for value in values {
            histogram.record(Duration::from_nanos(value));
        }
        histogram
    }

    #[test]
    fn quantiles_of_small_values_are_exact() {
        let histogram = nanoseconds(1..=100);
        assert_eq!(histogram.quantile(500), Duration::from_nanos(50));
        assert_eq!(histogram.quantile(999), Duration::from_nanos(100));
        assert_eq!(histogram.worst(), Duration::from_nanos(100));
    }

    #[test]
    fn one_outlier_in_a_thousand_is_beyond_the_quantile() {
        let usual = std::iter::repeat_n(40, 999);
        let histogram = nanoseconds(usual.chain([1_000_000]));
        assert_eq!(histogram.quantile(999), Duration::from_nanos(40));
        assert_eq!(histogram.worst(), Duration::from_nanos(1_000_000));
    }

    #[test]
    fn large_values_are_right_to_within_one_percent() {
        let mut value: u64 = 1;
        while let Some(next) = value.checked_mul(17) {
            value = next / 13 + 1;
            // A larger one beside it, lest the worst value help out.
            let shown = nanoseconds([value, u64::MAX]).quantile(500);
            let error = shown.abs_diff(Duration::from_nanos(value));
            assert!(
                error.as_nanos() * 100 <= u128::from(value),
                "{value}: {shown:?}"
            );
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(Histogram::new().quantile(500), Duration::ZERO);
        assert_eq!(nanoseconds([0]).quantile(999), Duration::ZERO);
        let mut histogram = nanoseconds([u64::MAX]);
        assert!(histogram.quantile(500).as_nanos() * 100 >= u128::from(u64::MAX) * 99);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.worst(), Duration::from_nanos(u64::MAX));
    }
}

mod handoffs {
    use std::sync::Arc;
    use std::thread;

    use super::handoff::{Receiver, handoff};
    use super::in_time;

    const ITEMS: u64 = if cfg!(miri) { 100 } else { 50_000 };

    #[test]
    fn items_arrive_once_and_in_order() {
        for capacity in [1, 2, 7] {
            let received = in_time(move || {
                let (mut sender, mut receiver) = handoff(capacity);
                thread::spawn(move || (0..ITEMS).try_for_each(|item| sender.send(item)));
                std::iter::from_fn(move || receiver.receive()).collect::<Vec<_>>()
            });
            assert!(received.into_iter().eq(0..ITEMS), "capacity {capacity}");
        }
    }

    /// One item at a time goes round, so that on every hand-off somebody sleeps, or is just about
    /// to.
    #[test]
    fn a_ping_comes_back_as_a_pong() {
        in_time(|| {
            let (mut ping, mut ping_end) = handoff(1);
            let (mut pong, mut pong_end) = handoff(1);
            thread::spawn(move || {
                while let Some(item) = ping_end.receive() {
                    pong.send(item).unwrap();
                }
            });
            for item in 0..ITEMS / 5 {
                ping.send(item).unwrap();
                assert_eq!(pong_end.receive(), Some(item));
            }
        });
    }

    #[test]
    fn a_receiver_that_goes_frees_the_sender() {
        in_time(|| {
            for yields in 0..100 {
                let (mut sender, receiver) = handoff(1);
                sender.send(1).unwrap();
                let blocked = thread::spawn(move || sender.send(2));
                (0..yields).for_each(|_| thread::yield_now());
                drop(receiver);
                assert_eq!(blocked.join().unwrap(), Err(2));
            }
        });
    }

    #[test]
    fn a_sender_that_goes_lets_the_receiver_finish() {
        in_time(|| {
            for yields in 0..100 {
                let (mut sender, mut receiver) = handoff(3);
                sender.send(1).unwrap();
                sender.send(2).unwrap();
                let waiting = thread::spawn(move || [(); 4].map(|()| receiver.receive()));
                (0..yields).for_each(|_| thread::yield_now());
                drop(sender);
                assert_eq!(waiting.join().unwrap(), [Some(1), Some(2), None, None]);
            }
        });
    }

    #[test]
    fn the_last_item_is_not_lost() {
        let rounds = ITEMS / 50;
        in_time(move || {
            let (mut ends, mut taken) = handoff::<Receiver<u64>>(1);
            let receiving = thread::spawn(move || {
                let mut items: u64 = 0;
                while let Some(mut receiver) = taken.receive() {
                    while receiver.receive().is_some() {
                        items += 1;
                    }
                }
                items
            });
            for _ in 0..rounds {
                let (mut sender, receiver) = handoff(1);
                ends.send(receiver).unwrap();
                sender.send(7).unwrap();
            }
            drop(ends);
            assert_eq!(receiving.join().unwrap(), rounds);
        });
    }

    #[test]
    fn what_nobody_received_is_dropped() {
        let item = Arc::new(());
        let (mut sender, receiver) = handoff(2);
        sender.send(Arc::clone(&item)).unwrap();
        sender.send(Arc::clone(&item)).unwrap();
        drop(receiver);
        assert!(sender.send(Arc::clone(&item)).is_err());
        drop(sender);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}

mod costs {
    use std::hint::black_box;
    use std::thread;

    use super::counting::{Cost, Meter};

    #[test]
    fn a_thread_pays_for_itself_after_the_warm_up() {
        let mut meter = Meter::after(2);
        black_box(vec![1; 100]);
        meter.frames_done(1);
        assert_eq!(meter.cost(), None, "the warm-up is not over");

        black_box(vec![1; 100]);
        meter.frames_done(2);
        assert_eq!(meter.cost().unwrap().heap_allocations, 0);

        let mut vec = black_box(Vec::with_capacity(1));
        vec.extend([1, 2, 3]);
        black_box(vec);
        black_box(vec![0; 100]);
        assert_eq!(
            meter.cost().unwrap().heap_allocations,
            3,
            "new, grown, zeroed"
        );

        let before = meter.cost().unwrap().heap_allocations;
        let thread = thread::spawn(|| (0..1000).for_each(|_| drop(black_box(vec![1; 100]))));
        let spawned = meter.cost().unwrap().heap_allocations;
        thread.join().unwrap();
        assert_eq!(meter.cost().unwrap().heap_allocations, spawned);
        assert!(
            spawned - before < 1000,
            "another thread's allocations are its own"
        );
    }

    #[test]
    fn no_warm_up_starts_at_once() {
        assert!(Meter::after(0).cost().is_some());
        assert!(Meter::after(1).cost().is_none());
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn page_faults_show_on_fresh_memory() {
        let meter = Meter::after(0);
        black_box(vec![1; 32 << 20]);
        let faults = meter.cost().unwrap().page_faults.unwrap();
        assert!(faults >= 8, "32 MiB in {faults} faults");
    }

    #[test]
    fn costs_add_up() {
        let cost = |heap_allocations, page_faults| Cost {
            heap_allocations,
            page_faults,
        };
        assert_eq!(Cost::ZERO.plus(cost(1, Some(2))), cost(1, Some(2)));
        assert_eq!(cost(1, Some(2)).plus(cost(3, Some(4))), cost(4, Some(6)));
        assert_eq!(cost(1, Some(2)).plus(cost(3, None)), cost(4, None));
    }
}

mod stage_threads {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use ks_allocator::FramePool;

    use super::in_time;
    use super::picture::Rate;
    use super::stages::{self, BoxError, Failure, Outcome, Plan, Work};
    use super::supply::Supply;

    const FRAME: usize = 64;

    fn pool(frames: usize) -> Supply {
        let builder = FramePool::builder().frames(frames).frame_size(FRAME);
        Supply::Pool(builder.build().unwrap())
    }

    /// Something that a stage does when it has done so many frames well.
    #[derive(Clone, Copy, Debug)]
    enum Accident {
        None,
        SourceFails,
        SourcePanics,
        FilterPanics,
        SinkPanics,
    }

    /// Runs 1000 frames with an accident at the tenth, and checks that all frames come back.
    #[expect(
        clippy::panic_in_result_fn,
        reason = "a failed test is no failure of the pipeline"
    )]
    fn run(supply: Supply, frames: usize, accident: Accident) -> Result<Outcome, Failure> {
        in_time(move || {
            let (mut altered, mut absorbed) = (0, 0);
            let plan = Plan {
                supply: &supply,
                room: frames,
                frames: Some(1000),
                rate: Rate::HZ_25,
                warm_up: 16,
            };
            let work = Work {
                fill: |number, frame: &mut [u8]| {
                    assert_eq!(frame.len(), FRAME);
                    frame.fill(u8::try_from(number % 256).unwrap());
                    match accident {
                        Accident::SourceFails if number == 10 => Err(BoxError::from("no more")),
                        Accident::SourcePanics if number == 10 => panic!("as the test wants"),
                        _ => Ok(Some(FRAME - 1)),
                    }
                },
                alter: |frame: &mut [u8]| {
                    frame[0] ^= 0xff;
                    altered += 1;
                    if altered == 10 && matches!(accident, Accident::FilterPanics) {
                        panic!("as the test wants");
                    }
                },
                absorb: |frame: &[u8]| {
                    assert_eq!(frame.len(), FRAME - 1);
                    assert_eq!(frame[0], !frame[1]);
                    absorbed += 1;
                    if absorbed == 10 && matches!(accident, Accident::SinkPanics) {
                        panic!("as the test wants");
                    }
                },
            };
            let result = stages::run(&plan, work, None::<fn(u64)>);
            assert_eq!(supply.missing_frames(), 0, "after {result:?}");
            result
        })
    }

    #[test]
    fn all_goes_well() {
        for frames in [1, 2, 3, 8] {
            let outcome = run(pool(frames), frames, Accident::None).unwrap();
            assert_eq!(outcome.frames, 1000);
            assert_eq!(outcome.bytes, 1000 * (FRAME as u64 - 1));
            assert_eq!(outcome.cost.unwrap().heap_allocations, 0);
            assert_eq!(outcome.acquire.total() + outcome.waits.total(), 1000);
            assert!(outcome.acquire.worst() <= outcome.took);
        }
    }

    #[test]
    fn fresh_memory_costs_two_allocations_a_frame() {
        let supply = Supply::Heap { frame_size: FRAME };
        let outcome = run(supply, 4, Accident::None).unwrap();
        assert_eq!(outcome.frames, 1000);
        assert_eq!(outcome.waits.total(), 0);
        assert_eq!(outcome.cost.unwrap().heap_allocations, 2 * (1000 - 16));
    }

    #[test]
    fn an_accident_in_any_stage_ends_them_all() {
        let accidents = [
            (Accident::SourceFails, "source: no more"),
            (Accident::SourcePanics, "source: the thread panicked"),
            (Accident::FilterPanics, "filter: the thread panicked"),
            (Accident::SinkPanics, "sink: the thread panicked"),
        ];
        for (accident, message) in accidents {
            for frames in [1, 2, 3, 8] {
                let failure = run(pool(frames), frames, accident).unwrap_err();
                assert_eq!(failure.to_string(), message);
            }
            let failure = run(Supply::Heap { frame_size: FRAME }, 2, accident).unwrap_err();
            assert_eq!(failure.to_string(), message);
        }
    }

    #[test]
    fn too_few_frames_to_warm_up_have_no_cost() {
        let supply = pool(2);
        let plan = Plan {
            supply: &supply,
            room: 2,
            frames: None,
            rate: Rate::HZ_25,
            warm_up: 16,
        };
        let work = Work {
            fill: |number, _: &mut [u8]| Ok((number < 5).then_some(FRAME)),
            alter: |_: &mut [u8]| {},
            absorb: |_: &[u8]| {},
        };
        let outcome = stages::run(&plan, work, None::<fn(u64)>).unwrap();
        assert_eq!(outcome.frames, 5);
        assert_eq!(outcome.cost, None);
    }

    #[test]
    fn the_watcher_is_shown_how_far_it_is() {
        let supply = pool(2);
        let plan = Plan {
            supply: &supply,
            room: 2,
            frames: Some(100),
            rate: Rate::HZ_25,
            warm_up: 16,
        };
        // The last frame waits until the watcher has been called.
        let watched = Arc::new(AtomicU8::new(0));
        let seen = Arc::clone(&watched);
        let work = Work {
            fill: |_, _: &mut [u8]| Ok(Some(FRAME)),
            alter: |_: &mut [u8]| {},
            absorb: move |_: &[u8]| {
                while seen.load(Ordering::Acquire) == 0 {
                    std::thread::yield_now();
                }
            },
        };
        let watch = |frames| {
            assert!(frames <= 100);
            watched.store(1, Ordering::Release);
        };
        let outcome = stages::run(&plan, work, Some(watch)).unwrap();
        assert_eq!(outcome.frames, 100);
    }
}

/// The program as its users run it.
#[cfg(not(miri))]
mod program {
    use std::collections::HashMap;
    use std::env::{self, consts::EXE_SUFFIX};
    use std::fs;
    use std::io::Read;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::pattern::Pattern;
    use super::picture::Size;
    use super::{
        CLIP, CLIP_FRAME, CLIP_FRAMES, CLIP_LUMA, CLIP_PATH, PATIENCE, clip_frames,
        expected_checksum,
    };

    /// What this system has.
    const MODES: &[&str] = if cfg!(any(target_os = "linux", target_os = "android", windows)) {
        &["user", "kernel"]
    } else {
        &["user"]
    };

    /// How a run ended, and what it said.
    #[derive(Debug)]
    struct Run {
        code: Option<i32>,
        stdout: String,
        stderr: String,
    }

    impl Run {
        /// The last line's `name=value` pairs.
        fn numbers(&self) -> HashMap<&str, &str> {
            assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{self:?}");
            let last = self.stdout.lines().last().expect("a last line");
            let pairs = last
                .strip_prefix("pipeline: ")
                .expect("its beginning")
                .split(' ');
            pairs
                .map(|pair| pair.split_once('=').expect("name=value"))
                .collect()
        }
    }

    /// Starts one program after the other. Windows, or what stands in for it, now and then refuses to
    /// start one while others start; then it is asked again.
    #[expect(clippy::disallowed_types, reason = "no model runs these tests")]
    fn start(command: &mut Command) -> Child {
        static ONE_AT_A_TIME: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock();
        let mut tries = if cfg!(windows) { 10 } else { 1 };
        loop {
            tries -= 1;
            match command.spawn() {
                Ok(child) => return child,
                Err(error) if tries == 0 => panic!("{command:?}: {error}"),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn pipeline(args: &[&str]) -> Run {
        let test = env::current_exe().unwrap();
        let beside = test.parent().and_then(Path::parent).unwrap();
        let program = beside.join(format!("examples/pipeline{EXE_SUFFIX}"));
        assert!(
            program.exists(),
            "{} is missing: `cargo test` builds it, or `cargo build --example pipeline`",
            program.display()
        );

        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = start(&mut command);
        let started = Instant::now();
        // It says less than what fits into a pipe, so nobody need read meanwhile.
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("pipeline {args:?} hangs");
            }
            thread::sleep(Duration::from_millis(2));
        };
        let mut run = Run {
            code: status.code(),
            stdout: String::new(),
            stderr: String::new(),
        };
        child
            .stdout
            .unwrap()
            .read_to_string(&mut run.stdout)
            .unwrap();
        child
            .stderr
            .unwrap()
            .read_to_string(&mut run.stderr)
            .unwrap();
        run
    }

    fn file(name: &str, bytes: &[u8]) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs with pools of several sizes in every mode, and with none, and compares the last lines.
    fn check_with_every_memory(args: &[&str], frames: u64, checksum: u64) {
        let (frames, checksum) = (frames.to_string(), format!("{checksum:016x}"));
        let pools = ["1", "2", "3", "8"];
        for (mode, pool) in MODES.iter().flat_map(|mode| pools.map(|pool| (mode, pool))) {
            let memory = ["--pool", pool, "--mode", mode];
            let run = pipeline(&[args, &memory].concat());
            let numbers = run.numbers();
            assert_eq!(numbers["mode"], *mode, "{memory:?}");
            assert_eq!(numbers["frames"], frames, "{memory:?}");
            assert_eq!(numbers["heap_allocations"], "0", "{memory:?}");
            assert_eq!(numbers["lost"], "0", "{memory:?}");
            assert_eq!(numbers["checksum"], checksum, "{memory:?}");
        }
        let run = pipeline(&[args, &["--heap"]].concat());
        let numbers = run.numbers();
        assert_eq!(numbers["mode"], "heap");
        assert_eq!(numbers["frames"], frames);
        assert_ne!(numbers["heap_allocations"], "0");
        assert_eq!(numbers["lost"], "0");
        assert_eq!(numbers["checksum"], checksum);
    }

    #[test]
    fn the_clip() {
        let checksum = expected_checksum(CLIP_LUMA, clip_frames());
        check_with_every_memory(&["--input", CLIP_PATH], CLIP_FRAMES as u64, checksum);
    }

    #[test]
    fn the_pattern() {
        let size = Size::new(66, 37).unwrap();
        let pattern = Pattern::new(size);
        let frames = (0..100).map(|number| {
            let mut frame = vec![0; size.frame()];
            pattern.draw(number, &mut frame);
            frame
        });
        let checksum = expected_checksum(size.luma(), frames);
        check_with_every_memory(&["--size", "66x37", "--frames", "100"], 100, checksum);
    }

    #[test]
    fn a_file_of_odd_size() {
        let mut bytes = b"YUV4MPEG2 W5 H3 F30000:1001 C420jpeg\n".to_vec();
        let frames: Vec<Vec<u8>> = (0..40).map(|n| (n..n + 27).collect()).collect();
        for frame in &frames {
            bytes.extend(b"FRAME\n");
            bytes.extend(frame);
        }
        let path = file("odd.y4m", &bytes);
        let checksum = expected_checksum(15, frames);
        check_with_every_memory(&["--input", path.to_str().unwrap()], 40, checksum);
    }

    #[test]
    fn frames_limit_the_clip_but_do_not_prolong_it() {
        let first_five = clip_frames().into_iter().take(5);
        let checksum = format!("{:016x}", expected_checksum(CLIP_LUMA, first_five));
        let run = pipeline(&["--input", CLIP_PATH, "--frames", "5"]);
        assert_eq!(run.numbers()["frames"], "5");
        assert_eq!(run.numbers()["checksum"], checksum);

        let run = pipeline(&["--input", CLIP_PATH, "--frames=1000"]);
        assert_eq!(run.numbers()["frames"], CLIP_FRAMES.to_string());
    }

    #[test]
    fn as_few_frames_as_can_be() {
        for frames in ["1", "2", "3"] {
            let run = pipeline(&["--size", "1x1", "--frames", frames]);
            assert_eq!(run.numbers()["frames"], frames);
            assert_ne!(run.numbers()["heap_allocations"], "unknown");
        }
        let empty = file("empty.y4m", b"YUV4MPEG2 W128 H72\n");
        let run = pipeline(&["--input", empty.to_str().unwrap()]);
        assert_eq!(run.numbers()["frames"], "0");
    }

    #[test]
    fn the_last_line_has_its_form() {
        let run = pipeline(&["--size", "16x16", "--frames", "20"]);
        let last = run.stdout.lines().last().unwrap();
        let names: Vec<_> = last
            .split(' ')
            .map(|word| word.split('=').next().unwrap())
            .collect();
        let expected = [
            "pipeline:",
            "mode",
            "frames",
            "fps",
            "heap_allocations",
            "page_faults",
            "lost",
            "worst_acquire_ns",
            "checksum",
        ];
        assert_eq!(names, expected);
        let numbers = run.numbers();
        assert!(numbers["fps"].parse::<f64>().unwrap() > 0.0);
        assert_eq!(
            numbers["page_faults"] == "unknown",
            !cfg!(target_os = "linux")
        );
        assert_eq!(numbers["checksum"].len(), 16);
    }

    #[test]
    fn the_mode_is_user_unless_another_is_asked_for() {
        let run = pipeline(&["--size", "16x16", "--frames", "20"]);
        assert_eq!(run.numbers()["mode"], "user");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_prefaulted_pool_has_no_page_faults_in_either_mode() {
        // Of a pool this large, only some frames are touched in the warm-up. Checkers of memory may
        // fault on a page of their own.
        let pages = Size::new(640, 360).unwrap().frame() / 4096;
        for mode in MODES {
            let args = ["--size", "640x360", "--frames", "60", "--pool", "64"];
            let run = pipeline(&[&args[..], &["--mode", mode]].concat());
            let faults: usize = run.numbers()["page_faults"].parse().unwrap();
            assert!(faults < pages, "{faults} faults in {mode} mode");
        }
    }

    #[test]
    #[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
    fn kernel_mode_is_explained_where_there_is_none() {
        let run = pipeline(&["--size", "16x16", "--mode", "kernel"]);
        assert_eq!((run.code, &*run.stdout), (Some(1), ""));
        let begin = "pipeline: kernel mode is not supported here";
        assert!(run.stderr.starts_with(begin), "{run:?}");
    }

    fn check_failure(path: &Path, message: &str) {
        for memory in [&["--pool", "2"][..], &["--pool", "8"], &["--heap"]] {
            let run = pipeline(&[&["--input", path.to_str().unwrap()], memory].concat());
            assert_eq!(run.code, Some(1), "{run:?}");
            assert_eq!(run.stdout, "");
            let begin = format!("pipeline: {}", path.display());
            let stderr = run.stderr.replace("pipeline: source: ", "pipeline: ");
            let end = stderr
                .strip_prefix(&begin)
                .expect("begins with the file's name");
            assert_eq!(end.trim_end(), message);
        }
    }

    #[test]
    fn bad_files_name_the_byte() {
        let header = CLIP.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let tenth = header + 10 * (b"FRAME\n".len() + CLIP_FRAME);

        let path = file("in-mid-frame.y4m", &CLIP[..tenth + 6 + 1000]);
        let missing = CLIP_FRAME - 1000;
        let message = format!(
            ": byte {}: the file ends within frame 10, {missing} bytes too early",
            tenth + 6 + 1000
        );
        check_failure(&path, &message);

        let path = file("in-frame-line.y4m", &CLIP[..tenth + 3]);
        let message = format!(
            ": byte {}: the file ends within the line of frame 10",
            tenth + 3
        );
        check_failure(&path, &message);

        let path = file("no-frame.y4m", &{
            let mut bytes = CLIP.to_vec();
            bytes[tenth] = b'G';
            bytes
        });
        let message = format!(": byte {tenth}: frame 10 does not begin with the word FRAME");
        check_failure(&path, &message);

        let path = file("in-header.y4m", &CLIP[..20]);
        check_failure(&path, ": byte 20: the file ends within its header");

        let path = file("not-4-2-0.y4m", b"YUV4MPEG2 W16 H16 C444\n");
        check_failure(
            &path,
            ": byte 18: the chroma format `444` is not 4:2:0 with 8 bits",
        );
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
            (&["--what=7"], "there is no option `--what`"),
            (&["clip.y4m"], "there is no option `clip.y4m`"),
            (&["--frames"], "--frames needs a value after it"),
            (
                &["--frames", "0"],
                "--frames: `0` is not a whole number of 1 or more",
            ),
            (
                &["--frames", "-1"],
                "--frames: `-1` is not a whole number of 1 or more",
            ),
            (
                &["--frames", "many"],
                "--frames: `many` is not a whole number of 1 or more",
            ),
            (
                &["--frames="],
                "--frames: `` is not a whole number of 1 or more",
            ),
            (
                &["--pool", "0"],
                "--pool: `0` is not a whole number in 1..=65536",
            ),
            (
                &["--pool", "65537"],
                "--pool: `65537` is not a whole number in 1..=65536",
            ),
            (
                &["--pool", "99999999999999999999"],
                "--pool: `99999999999999999999` is not a whole number in 1..=65536",
            ),
            (
                &["--size", "1920"],
                "--size: `1920` is not a size such as 1920x1080, of at most 16384x16384",
            ),
            (
                &["--size", "0x9"],
                "--size: `0x9` is not a size such as 1920x1080, of at most 16384x16384",
            ),
            (
                &["--size=20000x9"],
                "--size: `20000x9` is not a size such as 1920x1080, of at most 16384x16384",
            ),
            (&["--mode", "fast"], "--mode: `fast` is not user or kernel"),
            (&["--mode"], "--mode needs a value after it"),
            (&["--heap=yes"], "--heap takes no value"),
            (
                &["--heap", "--mode", "user"],
                "--heap and --mode do not go together",
            ),
            (
                &["--input", "x", "--size", "2x2"],
                "--input and --size do not go together",
            ),
        ];
        for (args, message) in cases {
            let run = pipeline(args);
            assert_eq!(run.code, Some(2), "{run:?}");
            assert_eq!(run.stdout, "");
            assert_eq!(
                run.stderr,
                format!("pipeline: {message}; --help lists the options\n")
            );
        }
    }

    #[test]
    fn help_lists_every_option() {
        let run = pipeline(&["--help"]);
        assert_eq!((run.code, &*run.stderr), (Some(0), ""));
        for option in [
            "--input", "--frames", "--size", "--pool", "--mode", "--heap", "--help",
        ] {
            assert!(run.stdout.contains(option), "{option}");
        }
    }
}
