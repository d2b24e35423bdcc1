//! Captures pictures in each format that the device and the crate have in common.

use std::env;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ks_allocator::{FramePool, SharedFrame, VideoFormat, VideoLayout};
use ks_allocator_integrations::{Result, check};

use crate::picture::{layout_of, pix_format_of};
use crate::queue::Queue;
use crate::v4l2::{self, Capability, Format, FormatDescription, PixFormat};

const FRAMES: usize = 3;
/// More than there are frames, so that each is used several times.
const PICTURES: usize = 8;
/// Value that the bytes of a frame have before the driver gets it.
const UNWRITTEN: u8 = 0xA5;

pub(crate) fn run() -> Result {
    let conversions = check_conversions()?;
    let path = env::args_os()
        .nth(1)
        .map_or_else(|| "/dev/video0".into(), PathBuf::from);
    if !path.exists() {
        println!("{conversions} conversions between layouts and v4l2_pix_format are right");
        println!("capture: no device");
        return Ok(());
    }
    let device = OpenOptions::new().read(true).write(true).open(&path)?;
    check_capabilities(&device)?;
    let formats = formats_of(&device)?;
    check(!formats.is_empty(), "a format in common")?;
    let mut pictures = 0;
    for &format in &formats {
        pictures += capture(&device, format)?;
    }
    println!(
        "capture: formats={} pictures={pictures} lost=0",
        formats.len()
    );
    Ok(())
}

/// Checks that descriptions of drivers become layouts, and these the same descriptions. Returns
/// their number.
fn check_conversions() -> Result<usize> {
    let described = [
        // Format, width, height, bytesperline, sizeimage; then the offset of the last plane.
        (VideoFormat::Nv12, 1920, 1080, 1920, 3_110_400, 2_073_600),
        (
            VideoFormat::I420,
            1366,
            768,
            1408,
            1_700_000,
            1408 * 768 + 704 * 384,
        ),
        (VideoFormat::Yuy2, 640, 480, 1280, 614_400, 0),
        (VideoFormat::Mjpeg, 1920, 1080, 0, 4_147_200, 0),
    ];
    for (format, width, height, bytesperline, sizeimage, last) in described {
        let code = format.v4l2_fourcc().ok_or("the format has a code")?;
        let pix = PixFormat::new(width, height, code, bytesperline, sizeimage);
        let layout = layout_of(&pix)?;
        check(
            layout.size() == usize::try_from(sizeimage)?,
            "the size of the driver",
        )?;
        let offset = layout.planes().last().map_or(0, |plane| plane.offset);
        check(
            offset == last,
            format!("the last plane of {format} at {last}"),
        )?;
        check(
            pix_format_of(&layout)? == pix,
            format!("the description of {format}"),
        )?;
    }
    let elsewhere = VideoLayout::builder(VideoFormat::I420, 10, 4)
        .for_gstreamer()
        .build()?;
    check(
        pix_format_of(&elsewhere).is_err(),
        "V4L2 divides the stride",
    )?;
    Ok(described.len())
}

fn check_capabilities(device: &File) -> Result {
    let mut capability = Capability::default();
    v4l2::call(device, &v4l2::QUERYCAP, &mut capability)?;
    let needed = v4l2::CAP_VIDEO_CAPTURE | v4l2::CAP_STREAMING;
    check(
        capability.device_caps & needed == needed,
        "a device that captures by streaming",
    )
}

/// Returns the formats that both the device and the crate have, in the order of the device.
fn formats_of(device: &File) -> Result<Vec<VideoFormat>> {
    let mut formats = Vec::new();
    for index in 0.. {
        let mut description = FormatDescription::new(index);
        match v4l2::call(device, &v4l2::ENUM_FMT, &mut description) {
            Ok(()) => formats.extend(VideoFormat::from_v4l2_fourcc(description.pixelformat)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(formats)
}

/// Sets the format of the device, and returns the layout that the driver chose.
fn set_format(device: &File, format: VideoFormat) -> Result<VideoLayout> {
    let wanted = VideoLayout::builder(format, 640, 360)
        .for_v4l2()
        .min_size(1);
    let mut chosen = Format::new(pix_format_of(&wanted.build()?)?);
    v4l2::call(device, &v4l2::S_FMT, &mut chosen)?;
    let layout = layout_of(&chosen.pix)?;
    check(
        layout.format() == format,
        format!("the driver takes {format}"),
    )?;
    Ok(layout)
}

/// Captures pictures of one format. Returns their number.
fn capture(device: &File, format: VideoFormat) -> Result<usize> {
    let layout = set_format(device, format)?;
    let pool = FramePool::builder()
        .frames(FRAMES)
        .video(&layout)
        .alignment(4096)
        .build()?;
    for mut frame in pool.acquire_exact(FRAMES)? {
        frame.fill(UNWRITTEN);
    }
    let (to_consumer, pictures) = mpsc::sync_channel(1);
    let consumer = thread::spawn(|| consume(pictures));
    let mut queue = Queue::start(device, &pool)?;
    for _ in 0..PICTURES {
        let frame = queue.dequeue(Duration::from_secs(5))?;
        if to_consumer.send(frame.share()).is_err() {
            break; // the consumer's error is returned below
        }
        queue.refill(&pool)?;
    }
    drop((queue, to_consumer));
    let consumed = consumer.join().map_err(|_| "the consumer panicked")??;
    check(
        consumed == PICTURES,
        format!("{PICTURES} pictures, not {consumed}"),
    )?;
    check(pool.free_frames() == FRAMES, "all frames are free")?;
    println!(
        "{format}: {} x {}, {} bytes",
        layout.width(),
        layout.height(),
        layout.size()
    );
    Ok(consumed)
}

/// Checks pictures, and returns their number.
fn consume(pictures: mpsc::Receiver<SharedFrame>) -> Result<usize> {
    let (mut count, mut next) = (0, 0);
    for picture in pictures {
        let sequence = picture.metadata().sequence;
        check(sequence >= next, "pictures in their order")?;
        check(
            picture.metadata().presentation_time.is_some(),
            "a time stamp",
        )?;
        for row in picture.planes()?.into_iter().flat_map(|plane| plane.rows()) {
            check(
                row.iter().any(|&byte| byte != UNWRITTEN),
                "the driver wrote each row",
            )?;
        }
        (count, next) = (count + 1, sequence + 1);
    }
    Ok(count)
}
