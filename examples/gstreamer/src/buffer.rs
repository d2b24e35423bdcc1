//! Conversions between frames and buffers, and between video layouts and `GstVideoInfo`.

use gst::glib::BoolError;
use gst::{ClockTime, MemoryIntoInnerError};
use gst_video::{VideoFrameFlags, VideoInfo, VideoMeta};
use ks_allocator::{Frame, LayoutError, VideoFormat, VideoLayout};

/// Nanoseconds per tick of [`ks_allocator::Metadata`].
const TICK: u64 = 100;

/// Returns the offsets and strides of the planes, as GStreamer takes them. Returns `None` if it
/// cannot take them.
pub(crate) fn planes(layout: &VideoLayout) -> Option<([usize; 4], [i32; 4])> {
    let (mut offsets, mut strides) = ([0; 4], [0; 4]);
    for (number, plane) in layout.planes().iter().enumerate() {
        offsets[number] = plane.offset;
        strides[number] = plane.stride.try_into().ok()?;
    }
    (!layout.is_bottom_up()).then_some((offsets, strides))
}

/// Returns the layout that `info` describes, or `None` if this crate does not have the format.
///
/// # Errors
///
/// The errors of [`VideoLayout::from_planes`].
pub fn layout_of(info: &VideoInfo) -> Option<Result<VideoLayout, LayoutError>> {
    let format: VideoFormat = info.name().parse().ok()?;
    let strides = info.stride().iter().map(|&stride| isize::try_from(stride));
    let strides = strides.collect::<Result<Vec<_>, _>>().ok()?;
    let planes: Vec<_> = info.offset().iter().copied().zip(strides).collect();
    let (width, height) = (info.width(), info.height());
    Some(VideoLayout::from_planes(
        format,
        width,
        height,
        &planes,
        info.size(),
    ))
}

/// Turns a frame into a buffer without a copy. The frame is released when GStreamer frees the
/// memory of the buffer.
///
/// The buffer has the presentation time of the frame, unless that is negative. It has a
/// `GstVideoMeta` if `layout`, the layout of the frame's pool, has planes.
///
/// # Errors
///
/// Returns an error, and releases the frame, if GStreamer does not accept the layout.
pub fn to_buffer(frame: Frame, layout: Option<&VideoLayout>) -> Result<gst::Buffer, BoolError> {
    let time = frame.metadata().presentation_time;
    let nanoseconds = time.and_then(|ticks| u64::try_from(ticks).ok()?.checked_mul(TICK));
    let mut buffer = gst::Buffer::from_mut_slice(frame);
    let writable = buffer.make_mut();
    writable.set_pts(nanoseconds.map(ClockTime::from_nseconds));
    if let Some(layout) = layout.filter(|layout| !layout.planes().is_empty()) {
        add_meta(writable, layout)?;
    }
    Ok(buffer)
}

fn add_meta(buffer: &mut gst::BufferRef, layout: &VideoLayout) -> Result<(), BoolError> {
    let (offsets, strides) = planes(layout)
        .ok_or_else(|| gst::glib::bool_error!("GStreamer does not have such a layout"))?;
    let count = layout.planes().len();
    VideoMeta::add_full(
        buffer,
        VideoFrameFlags::empty(),
        gst_video::VideoFormat::from_string(layout.format().gstreamer_name()),
        layout.width(),
        layout.height(),
        &offsets[..count],
        &strides[..count],
    )?;
    Ok(())
}

/// Turns a buffer back into its frame, with the presentation time of the buffer.
///
/// # Errors
///
/// Returns the buffer itself if its memory is not a frame, or if something else refers to the
/// buffer or to its memory.
pub fn to_frame(buffer: gst::Buffer) -> Result<Frame, (gst::Buffer, MemoryIntoInnerError)> {
    let time = buffer.pts().map(ClockTime::nseconds);
    let mut frame: Frame = buffer.try_into_inner()?;
    frame.metadata_mut().presentation_time =
        time.and_then(|nanoseconds| i64::try_from(nanoseconds / TICK).ok());
    Ok(frame)
}
