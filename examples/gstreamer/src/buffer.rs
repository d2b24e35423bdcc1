//! Conversions between frames and buffers, and between video layouts and `GstVideoInfo`.

use gst::glib::BoolError;
use gst::{ClockTime, MemoryIntoInnerError};
use gst_video::{VideoFrameFlags, VideoInfo, VideoMeta};
use ks_allocator::{Frame, LayoutError, TimeBase, VideoFormat, VideoLayout};

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
/// The buffer has the times of the frame, unless they are negative. It has a `GstVideoMeta` if the
/// frame's pool has a video layout with planes. Its memory begins after the prefix of the frame.
///
/// # Errors
///
/// Returns an error, and releases the frame, if GStreamer does not accept the layout.
pub fn to_buffer(frame: Frame) -> Result<gst::Buffer, BoolError> {
    let (layout, metadata) = (frame.video_layout().copied(), *frame.metadata());
    let mut buffer = gst::Buffer::from_mut_slice(frame);
    let writable = buffer.make_mut();
    writable.set_pts(clock_time(
        metadata.presentation_time_in(TimeBase::NANOSECONDS),
    ));
    writable.set_dts(clock_time(metadata.decode_time_in(TimeBase::NANOSECONDS)));
    writable.set_duration(clock_time(metadata.duration_in(TimeBase::NANOSECONDS)));
    if let Some(layout) = layout.filter(|layout| !layout.planes().is_empty()) {
        add_meta(writable, &layout)?;
    }
    Ok(buffer)
}

fn clock_time(nanoseconds: Option<i64>) -> Option<ClockTime> {
    let nanoseconds = u64::try_from(nanoseconds?).ok()?;
    Some(ClockTime::from_nseconds(nanoseconds))
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

/// Turns a buffer back into its frame, with the times of the buffer, in nanoseconds.
///
/// # Errors
///
/// Returns the buffer itself if its memory is not a frame, or if something else refers to the
/// buffer or to its memory.
pub fn to_frame(buffer: gst::Buffer) -> Result<Frame, (gst::Buffer, MemoryIntoInnerError)> {
    let times = [buffer.pts(), buffer.dts(), buffer.duration()];
    let [pts, dts, duration] = times.map(|time| i64::try_from(time?.nseconds()).ok());
    let mut frame: Frame = buffer.try_into_inner()?;
    let metadata = frame.metadata_mut();
    metadata.time_base = TimeBase::NANOSECONDS;
    metadata.presentation_time = pts;
    metadata.decode_time = dts;
    metadata.duration = duration;
    Ok(frame)
}
