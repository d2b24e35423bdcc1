//! Pipelines as they are found in practice, written down as requirements, and a generator of
//! framings for the reader of kernel streaming structures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ks_allocator::kernel_streaming::{
    AllocatorFraming, AllocatorFramingEx, FramingItem, MemoryType, RequirementFlags, SizeRange,
    WeightedRange,
};
use ks_allocator::{
    Agreement, AllocatorMode, Frame, FramePool, Requirements, Sizes, Stage, VideoFormat, negotiate,
    negotiate_alternatives,
};

#[path = "support/random.rs"]
mod random;

use random::Random;

const PAGE: usize = 4096;

/// A pipeline, and the text of its agreement or conflict.
struct Case {
    title: &'static str,
    parties: Vec<Requirements>,
    expected: &'static str,
    result: String,
}

impl Case {
    fn new(title: &'static str, parties: Vec<Requirements>, expected: &'static str) -> Self {
        let result = match negotiate(&parties) {
            Ok(agreement) => describe(&agreement),
            Err(conflict) => conflict.to_string(),
        };
        Self {
            title,
            parties,
            expected,
            result,
        }
    }
}

/// Returns a number with a comma before every three digits.
fn grouped(number: usize) -> String {
    match number / 1_000 {
        0 => number.to_string(),
        thousands => format!("{},{:03}", grouped(thousands), number % 1_000),
    }
}

/// Describes an agreement, and checks that a pool can be built of it.
fn describe(agreement: &Agreement) -> String {
    let framing = agreement.framing();
    let mut text = String::new();
    if let Some(layout) = agreement.video_layout() {
        let strides: Vec<_> = layout
            .planes()
            .iter()
            .map(|plane| grouped(plane.stride))
            .collect();
        let strides = match &strides[..] {
            [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
            _ => strides.join(", "),
        };
        write!(text, "{} with strides of {strides}, ", layout.format()).unwrap();
    }
    write!(
        text,
        "{} frames of {} bytes at multiples of {}",
        framing.frames,
        grouped(framing.frame_size),
        grouped(framing.alignment)
    )
    .unwrap();
    if framing.prefix > 0 {
        write!(text, ", prefix {}", framing.prefix).unwrap();
    }
    write!(text, ", mode {}", agreement.mode()).unwrap();
    if let Some(allocator) = agreement.allocator() {
        write!(text, ", from `{allocator}`").unwrap();
    }
    for wish in agreement.unmet_wishes() {
        write!(text, "; unmet: {}", wish.conflict).unwrap();
    }
    if cfg!(target_os = "linux") || agreement.mode() == AllocatorMode::User {
        let pool = FramePool::builder().agreement(agreement).build().unwrap();
        assert_eq!(pool.frames(), framing.frames);
        let frame = pool.acquire().unwrap();
        let start = frame.as_ptr().addr();
        assert_eq!(start % framing.alignment, 0);
        assert_eq!((start - framing.prefix) % framing.alignment, 0);
        assert_eq!(frame.len(), framing.frame_size);
    }
    text
}

fn camera(name: &str, format: VideoFormat, width: u32, height: u32) -> Requirements {
    Requirements::new(name)
        .picture(width, height)
        .formats([format])
}

/// The item of a capture pin: frames of 1280 x 720 YUY2.
fn capture_item(memory_type: MemoryType, weight: u32) -> FramingItem {
    FramingItem {
        memory_type,
        weight,
        flags: RequirementFlags::SYSTEM_MEMORY.bits(),
        frames: 8,
        alignment_or_pitch: 63,
        physical_range: SizeRange {
            min: 1_843_200,
            max: u32::MAX,
            step: 1,
        },
        framing_range: WeightedRange {
            range: SizeRange {
                min: 1_843_200,
                max: 1_843_200,
                step: 1,
            },
            ..WeightedRange::default()
        },
        ..FramingItem::default()
    }
}

fn kernel_streaming() -> Case {
    let items = [
        capture_item(MemoryType::KERNEL_NONPAGED, 2),
        capture_item(MemoryType::USER, 1),
    ];
    let bytes = AllocatorFramingEx::new(items).to_bytes();
    let pin = AllocatorFramingEx::from_bytes(&bytes).unwrap();
    let pin = pin.alternatives("capture pin").unwrap();
    let grabber = Requirements::new("grabber").modes([AllocatorMode::User]);
    let grabber = vec![grabber.holds(2).alignment(16)];
    let choice = negotiate_alternatives(&[&pin, &grabber]).unwrap();
    assert_eq!(choice.positions, [1, 0]);
    Case {
        title: "Kernel streaming: a capture pin with items for kernel and user memory, the second \
                is chosen",
        parties: vec![pin[1].clone(), grabber[0].clone()],
        expected: "8 frames of 1,843,200 bytes at multiples of 64, mode user",
        result: describe(&choice.agreement),
    }
}

/// A camera with two branches, one of which copies.
fn two_pipes() -> Case {
    let parties = vec![
        camera("camera", VideoFormat::Nv12, 1920, 1080)
            .stride_alignment(64)
            .unmodified(),
        Requirements::new("scaler").holds(1),
        camera("scaled", VideoFormat::I420, 640, 360),
        Requirements::new("encoder")
            .stride_alignment(32)
            .derived_strides()
            .holds(3),
        Requirements::new("screen").stride_alignment(256).holds(2),
    ];
    let [camera, scaler, scaled, encoder, screen] = &parties[..] else {
        unreachable!("there are five parties");
    };
    let copy = Stage::copying(scaler.clone(), scaled.clone());
    let copy = copy.to(Stage::new(encoder.clone()));
    let camera = Stage::new(camera.clone())
        .to(copy)
        .to(Stage::new(screen.clone()));
    let pipes = camera.negotiate().unwrap();
    let results: Vec<_> = pipes
        .iter()
        .map(|pipe| describe(pipe.agreement()))
        .collect();
    Case {
        title: "A scaler that copies between camera and encoder, and a screen beside it: two pools",
        parties,
        expected: "NV12 with strides of 2,048 and 2,048, 4 frames of 3,317,760 bytes at multiples \
                   of 256, mode user; I420 with strides of 640, 320 and 320, 4 frames of 345,600 \
                   bytes at multiples of 32, mode user",
        result: results.join("; "),
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "V4L2 camera by dma-buf to a VA-API encoder with 4 reference pictures",
            vec![
                camera("camera", VideoFormat::Nv12, 1920, 1080)
                    .stride(Some(0), 1, 1920, 1920)
                    .derived_strides()
                    .sizes(Sizes::at_least(3_110_400))
                    .holds(2),
                // It codes 1088 rows.
                Requirements::new("encoder")
                    .formats([VideoFormat::Nv12, VideoFormat::P010])
                    .stride_alignment(64)
                    .sizes(Sizes::at_least(1920 * 1088 * 3 / 2))
                    .whole_pages(PAGE)
                    .holds(4),
            ],
            "NV12 with strides of 1,920 and 1,920, 7 frames of 3,133,440 bytes at multiples of \
             4,096, mode user",
        ),
        Case::new(
            "Laptop camera of 1366 columns without padding to NVENC with a pitch of 4",
            vec![
                camera("camera", VideoFormat::Nv12, 1366, 768)
                    .stride(Some(0), 1, 1366, 1366)
                    .derived_strides(),
                Requirements::new("nvenc")
                    .formats([VideoFormat::Nv12])
                    .stride_alignment(4)
                    .holds(5),
            ],
            "`camera` needs a picture of 1,366 x 768 pixels and a stride of plane 0 that is 1,366 \
             bytes, `nvenc` needs the format NV12 and a stride that is a multiple of 4: no \
             multiple of 4 lies between 1,366 and 1,366",
        ),
        Case::new(
            "libcamera with 4 queued requests to a preview: chroma strides follow from luma",
            vec![
                camera("libcamera", VideoFormat::I420, 1296, 972)
                    .stride(Some(0), 64, 1296, 4096)
                    .derived_strides()
                    .whole_pages(PAGE)
                    .holds(3),
                Requirements::new("preview").holds(2),
            ],
            "I420 with strides of 1,344, 672 and 672, 6 frames of 1,959,552 bytes at multiples of \
             4,096, mode user",
        ),
        Case::new(
            "Player to a DRM plane: 64 bytes are asked for, 256 wished for",
            vec![
                camera("decoder", VideoFormat::Bgra, 1366, 768)
                    .unmodified()
                    .holds(1),
                Requirements::new("plane")
                    .stride_alignment(64)
                    .wish(1, Requirements::new("plane").stride_alignment(256))
                    .whole_pages(PAGE)
                    .holds(2),
            ],
            "BGRA with strides of 5,632, 4 frames of 4,325,376 bytes at multiples of 4,096, mode \
             user",
        ),
        kernel_streaming(),
        Case::new(
            "FFmpeg: a decoder that keeps reference pictures, and an overlay that works in place",
            vec![
                camera("decoder", VideoFormat::I420, 1920, 1088)
                    .stride_alignment(32)
                    .unmodified()
                    .holds(16),
                Requirements::new("overlay").modifies(),
            ],
            "`decoder` needs frames that no later party modifies, `overlay` needs to modify frames \
             in place: they have the same frames",
        ),
        Case::new(
            "Media Foundation transform of P010 with strides of 16 and at most 10 samples",
            vec![
                camera("decoder", VideoFormat::P010, 1000, 562)
                    .stride_alignment(16)
                    .derived_strides()
                    .max_frames(10),
                Requirements::new("renderer")
                    .formats([VideoFormat::Nv12, VideoFormat::P010])
                    .stride_alignment(4)
                    .holds(3),
            ],
            "P010 with strides of 2,000 and 2,000, 4 frames of 1,686,000 bytes at multiples of 16, \
             mode user",
        ),
        Case::new(
            "Sound: periods of 512 samples, pieces of 10 ms, 4 bytes per sample at 48 kHz",
            vec![
                Requirements::new("device")
                    .sizes(Sizes::between(2_048, 65_536).in_steps_of(2_048))
                    .holds(1),
                Requirements::new("echo canceller").sizes(
                    Sizes::between(1_920, 96_000)
                        .in_steps_of(1_920)
                        .preferably(3_840),
                ),
                Requirements::new("network").prefix(12).holds(1),
            ],
            "3 frames of 30,720 bytes at multiples of 1, prefix 12, mode user; unmet: `device` \
             needs a frame size from 2,048 to 65,536 bytes in steps of 2,048, `echo canceller` \
             wants a frame size of 3,840 bytes: no size in steps of 2,048 lies between 3,840 and \
             3,840, and the next is 4,096",
        ),
        Case::new(
            "Camera by RTP without a copy: the header lies before rows at multiples of 64",
            vec![
                camera("camera", VideoFormat::Uyvy, 1280, 720)
                    .stride_alignment(64)
                    .alignment(64),
                Requirements::new("sender").prefix(12).holds(3),
            ],
            "UYVY with strides of 2,560, 4 frames of 1,843,200 bytes at multiples of 64, prefix \
             64, mode user",
        ),
        Case::new(
            "Capture card with 6 buffers to an encoder that looks 2 to 8 frames ahead",
            vec![
                camera("capture", VideoFormat::Nv12, 1920, 1080).max_frames(6),
                Requirements::new("encoder")
                    .stride_alignment(64)
                    .holds_between(2, 8),
                Requirements::new("preview").holds(1),
            ],
            "NV12 with strides of 1,920 and 1,920, 6 frames of 3,110,400 bytes at multiples of 64, \
             mode user; unmet: `capture` needs at most 6 frames, `encoder` wants 8 frames for \
             itself: that is 9 frames with the one that the source fills",
        ),
        Case::new(
            "PipeWire screen cast: shared memory from the compositor, 2 to 16 buffers",
            vec![
                camera("compositor", VideoFormat::Bgra, 2560, 1440)
                    .modes([AllocatorMode::Kernel])
                    .stride_alignment(4)
                    .alignment(16)
                    .min_frames(2)
                    .max_frames(16)
                    .wish(1, Requirements::new("compositor").min_frames(16)),
                Requirements::new("browser")
                    .modes([AllocatorMode::User, AllocatorMode::Kernel])
                    .formats([VideoFormat::Rgba, VideoFormat::Bgra])
                    .holds(2),
            ],
            "BGRA with strides of 10,240, 16 frames of 14,745,600 bytes at multiples of 16, mode \
             kernel",
        ),
        Case::new(
            "GStreamer tee: 5 frames, for the larger of the branches, would run dry",
            vec![
                camera("v4l2src", VideoFormat::Yuy2, 1280, 720).max_frames(6),
                Requirements::new("encoder").stride_alignment(32).holds(4),
                Requirements::new("sink").holds(2),
            ],
            "`encoder` needs 4 frames for itself, `sink` needs 2 frames for itself, `v4l2src` \
             needs at most 6 frames: that is 7 frames with the one that the source fills",
        ),
        two_pipes(),
    ]
}

/// Returns a Markdown table of all pipelines.
fn table(cases: &[Case]) -> String {
    let mut table = "| pipeline | requirements | result |\n|---|---|---|\n".to_owned();
    for case in cases {
        let parties: Vec<_> = case.parties.iter().map(Requirements::to_string).collect();
        let (title, parties, result) = (case.title, parties.join(";<br>"), &case.result);
        writeln!(table, "| {title} | {parties} | {result} |").unwrap();
    }
    table
}

#[test]
fn pipelines_have_the_agreement_or_the_conflict_that_is_expected() {
    let cases = cases();
    for case in &cases {
        assert_eq!(case.result, case.expected, "{}", case.title);
    }
    // The page can be updated with what this prints.
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pipelines.md");
    let table = table(&cases);
    let is_current = fs::read_to_string(page).unwrap().contains(&table);
    assert!(
        is_current,
        "the table of docs/pipelines.md should be:\n\n{table}"
    );
}

/// Passes frames through stages that keep some, each in a queue, until the pool runs dry. Returns
/// how many frames have passed, at most 100.
fn frames_passed(pool: &FramePool, keeps: &[usize]) -> usize {
    let mut queues: Vec<VecDeque<Frame>> = keeps.iter().map(|_| VecDeque::new()).collect();
    for passed in 0..100 {
        let Ok(frame) = pool.try_acquire() else {
            return passed;
        };
        let mut given = Some(frame);
        for (queue, &keeps) in queues.iter_mut().zip(keeps) {
            queue.extend(given.take());
            if queue.len() > keeps {
                given = queue.pop_front();
            }
        }
    }
    100
}

#[test]
fn a_pool_of_an_agreement_does_not_run_dry_and_with_one_frame_fewer_it_does() {
    let keeps = [0, 3, 1, 2];
    let names = ["filter", "encoder", "queue", "screen"];
    let parties = names.iter().zip(keeps);
    let mut parties: Vec<_> = parties
        .map(|(&name, keeps)| Requirements::new(name).holds(keeps))
        .collect();
    parties.push(Requirements::new("camera").sizes(Sizes::exactly(64)));
    let agreement = negotiate(&parties).unwrap();
    let pool = FramePool::builder().agreement(&agreement).build().unwrap();
    assert_eq!(frames_passed(&pool, &keeps), 100);
    let fewer = FramePool::builder()
        .agreement(&agreement)
        .frames(pool.frames() - 1);
    assert_eq!(frames_passed(&fewer.build().unwrap(), &keeps), 6);
}

#[test]
fn a_prefix_of_one_party_does_not_shift_the_frames_of_another() {
    let network = || Requirements::new("network").prefix(12).holds(1);
    let camera = || {
        Requirements::new("camera")
            .picture(100, 10)
            .formats([VideoFormat::I420])
    };
    // The alignments of frames and of rows.
    for (camera, frames, rows) in [
        (camera().alignment(64), 64, 1),
        (camera().stride_alignment(64), 64, 64),
        (camera().stride_alignment(24).alignment(16), 48, 24),
        (camera().whole_pages(4_096), 4_096, 1),
        (camera(), 1, 1),
    ] {
        let agreement = negotiate(&[camera, network()]).unwrap();
        let prefix = agreement.framing().prefix;
        assert_eq!(prefix, 12_usize.next_multiple_of(frames));
        let pool = FramePool::builder().agreement(&agreement).build().unwrap();
        assert_eq!(pool.framing().prefix, prefix);
        let all: Vec<_> = (0..pool.frames())
            .map(|_| pool.acquire().unwrap())
            .collect();
        assert_eq!(all.len(), 2);
        for frame in &all {
            assert_eq!(frame.as_ptr().addr() % frames, 0);
            assert_eq!(frame.prefix().len(), prefix);
            for plane in frame.planes().unwrap() {
                let mut addresses = plane.rows().map(|row| row.as_ptr().addr());
                assert!(addresses.all(|address| address % rows == 0));
            }
        }
    }
}

/// Returns a number that is often one with a meaning.
fn number(random: &mut Random) -> u32 {
    let [high, low] = [(); 2].map(|()| u32::try_from(random.below(1 << 16)).unwrap());
    let any = high << 16 | low;
    match random.below(8) {
        0..3 => 0,
        3 => any % 20,
        4 => (1 << (any % 32)) - 1,
        5 => 1 << (any % 32),
        6 => u32::MAX,
        _ => any,
    }
}

fn range(random: &mut Random) -> SizeRange {
    let [min, max, step] = [(); 3].map(|()| number(random));
    // Half of the ranges are in order.
    if random.below(2) == 0 && min > max {
        return SizeRange {
            min: max,
            max: min,
            step: step % (min - max),
        };
    }
    SizeRange { min, max, step }
}

fn item(random: &mut Random) -> FramingItem {
    let types = [
        MemoryType::ANY,
        MemoryType::SYSTEM,
        MemoryType::USER,
        MemoryType::KERNEL_PAGED,
        MemoryType::KERNEL_NONPAGED,
        MemoryType::DEVICE_UNKNOWN,
        MemoryType(number(random).into()),
    ];
    FramingItem {
        memory_type: types[random.below(types.len())],
        bus_type: number(random).into(),
        memory_flags: number(random),
        bus_flags: number(random),
        flags: number(random),
        frames: number(random),
        alignment_or_pitch: number(random),
        weight: number(random),
        physical_range: range(random),
        framing_range: WeightedRange {
            range: range(random),
            in_place_weight: number(random),
            not_in_place_weight: number(random),
        },
    }
}

/// Returns the bytes of a framing, of which some are changed and some may be missing.
fn framing_bytes(random: &mut Random) -> Vec<u8> {
    let items: Vec<_> = (0..random.below(4)).map(|_| item(random)).collect();
    let mut framing = AllocatorFramingEx::new(items);
    if random.below(4) == 0 {
        framing.output_compression.numerator = number(random);
        framing.output_compression.denominator = number(random);
        framing.output_compression.margin = number(random);
    }
    let mut bytes = framing.to_bytes();
    if random.below(2) == 0 {
        for _ in 0..random.below(5) {
            let position = random.below(bytes.len());
            bytes[position] ^= 1 << random.below(8);
        }
    }
    if random.below(8) == 0 {
        bytes.truncate(random.below(bytes.len() + 1));
    }
    bytes
}

/// Reads framings of a generator. The variable `FRAMINGS` sets their number, 30,000 by default.
#[test]
fn every_framing_is_read_and_negotiated_or_rejected() {
    let count = env::var("FRAMINGS").map_or(30_000, |count| count.parse().unwrap());
    let mut random = Random(0x5EED_F4A3);
    let (mut read, mut agreed) = (0, 0);
    for number in 0..count {
        let bytes = framing_bytes(&mut random);
        if let Some(Ok(framing)) = bytes.get(..24).map(AllocatorFraming::from_bytes) {
            assert_eq!(framing.to_bytes(), bytes[..24], "input {number}");
            drop(
                framing
                    .requirements("pin")
                    .map_err(|error| error.to_string()),
            );
        }
        let framing = match AllocatorFramingEx::from_bytes(&bytes) {
            Ok(framing) => framing,
            Err(error) => {
                assert!(!error.to_string().is_empty(), "input {number}");
                continue;
            }
        };
        read += 1;
        assert_eq!(framing.to_bytes(), bytes, "input {number}");
        let size = framing.output_compression.output_size(1_000);
        assert!(
            size.is_none_or(|size| size as u64 >> 45 == 0),
            "input {number}"
        );
        let Ok(pin) = framing.alternatives("pin") else {
            continue;
        };
        let source = vec![camera("source", VideoFormat::I420, 100, 50)];
        match negotiate_alternatives(&[pin, source]) {
            Ok(choice) => {
                let framing = choice.agreement.framing();
                assert!(
                    framing.frames > 0 && framing.frame_size > 0,
                    "input {number}"
                );
                agreed += 1;
            }
            Err(conflict) => assert!(!conflict.to_string().is_empty(), "input {number}"),
        }
    }
    // The generator reaches what is behind the reader.
    assert!(
        read > count / 20 && agreed > count / 100,
        "{read} read, {agreed} agreed"
    );
}
