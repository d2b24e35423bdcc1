//! Tests of the buffer pool without a pipeline.

use std::thread;
use std::time::Duration;

use gst::prelude::*;
use gst::{BufferPoolAcquireFlags, BufferPoolAcquireParams, ClockTime, FlowError};
use gst_video::{BUFFER_POOL_OPTION_VIDEO_META, VideoFrame, VideoInfo, VideoMeta};
use ks_allocator::{FramePool, VideoFormat, VideoLayout, VideoLayoutBuilder};
use ks_allocator_gstreamer::{FrameBufferPool, layout_of, to_buffer, to_frame};

const SIZE: (u32, u32) = (67, 35);

fn builder() -> VideoLayoutBuilder {
    VideoLayout::builder(VideoFormat::I420, SIZE.0, SIZE.1).for_gstreamer()
}

fn info() -> VideoInfo {
    gst::init().unwrap();
    VideoInfo::builder(gst_video::VideoFormat::I420, SIZE.0, SIZE.1)
        .build()
        .unwrap()
}

/// Returns a pool of two frames whose strides are not those of GStreamer.
fn frame_pool() -> FramePool {
    gst::init().unwrap();
    let layout = builder()
        .stride_alignment(64)
        .plane_alignment(4096)
        .build()
        .unwrap();
    FramePool::builder()
        .frames(2)
        .video(&layout)
        .build()
        .unwrap()
}

/// Sets a configuration with the option for video meta. If the pool changes it, sets the changed
/// one.
fn configure(pool: &FrameBufferPool, size: u32, min: u32, max: u32) -> bool {
    let caps = info().to_caps().unwrap();
    let mut config = pool.config();
    config.set_params(Some(&caps), size, min, max);
    config.add_option(BUFFER_POOL_OPTION_VIDEO_META);
    pool.set_config(config).is_ok() || {
        let config = pool.config();
        config.validate_params(Some(&caps), size, min, max).is_ok()
            && pool.set_config(config).is_ok()
    }
}

fn active(frames: &FramePool) -> FrameBufferPool {
    let pool = FrameBufferPool::new(frames);
    assert!(configure(&pool, 0, 0, 0));
    pool.set_active(true).unwrap();
    pool
}

fn try_acquire(pool: &FrameBufferPool) -> Result<gst::Buffer, FlowError> {
    let params = BufferPoolAcquireParams::with_flags(BufferPoolAcquireFlags::DONTWAIT);
    pool.acquire_buffer(Some(&params))
}

fn wait_for_waiter(frames: &FramePool) {
    while frames.waiting() == 0 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn each_buffer_is_a_frame_with_its_planes() {
    let frames = frame_pool();
    let pool = active(&frames);
    let buffer = pool.acquire_buffer(None).unwrap();
    assert_eq!(frames.free_frames(), 1);
    let meta = buffer.meta::<VideoMeta>().unwrap();
    let layout = frames.video_layout().unwrap();
    assert!(
        layout
            .planes()
            .iter()
            .map(|plane| plane.offset)
            .eq(meta.offset().iter().copied())
    );
    assert_eq!(meta.stride(), [128, 64, 64]);

    let mut picture = VideoFrame::from_buffer_writable(buffer, &info()).unwrap();
    for plane in 0..3_u8 {
        picture
            .plane_data_mut(u32::from(plane))
            .unwrap()
            .fill(plane + 1);
    }
    let frame = to_frame(picture.into_buffer()).unwrap();
    let segment = frames.segment();
    assert_eq!(
        frame.as_ptr().addr(),
        segment.base.addr().get() + frame.offset()
    );
    for (plane, value) in frame.planes().unwrap().iter().zip(1..) {
        assert!(plane.rows().flatten().all(|&byte| byte == value));
    }
    drop(frame);
    assert_eq!(frames.free_frames(), 2);
}

#[test]
fn an_empty_pool_makes_the_caller_wait_or_fails() {
    let frames = frame_pool();
    let pool = active(&frames);
    let buffers = [try_acquire(&pool).unwrap(), try_acquire(&pool).unwrap()];
    assert_eq!(try_acquire(&pool).unwrap_err(), FlowError::Eos);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire_buffer(None).map(drop));
        wait_for_waiter(&frames);
        drop(buffers);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    assert_eq!(frames.free_frames(), 2);
}

#[test]
fn a_flush_ends_the_wait() {
    let frames = frame_pool();
    let pool = active(&frames);
    let buffers = [try_acquire(&pool).unwrap(), try_acquire(&pool).unwrap()];
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire_buffer(None).map(drop));
        wait_for_waiter(&frames);
        pool.set_flushing(true);
        assert_eq!(waiter.join().unwrap(), Err(FlowError::Flushing));
    });
    drop(buffers);
    assert_eq!(pool.acquire_buffer(None).unwrap_err(), FlowError::Flushing);
    pool.set_flushing(false);
    assert!(pool.acquire_buffer(None).is_ok());
}

#[test]
fn the_frame_pool_is_open_again_when_the_last_buffer_of_an_inactive_pool_is_back() {
    let frames = frame_pool();
    let pool = active(&frames);
    let buffer = pool.acquire_buffer(None).unwrap();
    thread::scope(|scope| {
        let other = pool.acquire_buffer(None).unwrap();
        let waiter = scope.spawn(|| pool.acquire_buffer(None).map(drop));
        wait_for_waiter(&frames);
        pool.set_active(false).unwrap();
        assert_eq!(waiter.join().unwrap(), Err(FlowError::Flushing));
        drop(other);
    });
    assert!(frames.try_acquire().is_err());
    drop(pool);
    drop(buffer);
    assert_eq!(frames.free_frames(), 2);
    assert!(frames.try_acquire().is_ok());
}

#[test]
fn an_inactive_pool_is_flushing_and_can_be_activated_again() {
    let frames = frame_pool();
    let pool = active(&frames);
    pool.set_active(false).unwrap();
    assert_eq!(pool.acquire_buffer(None).unwrap_err(), FlowError::Flushing);
    pool.set_active(true).unwrap();
    assert!(pool.acquire_buffer(None).is_ok());
}

#[test]
fn the_frame_pool_is_open_again_when_a_flushing_pool_is_freed() {
    let frames = frame_pool();
    let pool = active(&frames);
    pool.set_flushing(true);
    assert!(frames.try_acquire().is_err());
    drop(pool);
    assert!(frames.try_acquire().is_ok());
}

#[test]
fn a_frame_stays_out_as_long_as_its_memory_is_used() {
    let frames = frame_pool();
    let pool = active(&frames);
    let buffer = pool.acquire_buffer(None).unwrap();
    let part = buffer
        .copy_region(gst::BufferCopyFlags::MEMORY, ..100)
        .unwrap();
    drop(buffer);
    assert_eq!(frames.free_frames(), 1);
    drop(part);
    assert_eq!(frames.free_frames(), 2);
}

#[test]
fn a_configuration_is_corrected_to_what_the_frame_pool_has() {
    let frames = frame_pool();
    let size = u32::try_from(frames.frame_len()).unwrap();
    let pool = FrameBufferPool::new(&frames);
    assert!(pool.has_option(BUFFER_POOL_OPTION_VIDEO_META));
    for (wanted_size, min, max) in [(size, 0, 2), (100, 1, 0), (size, 1, 1), (size, 2, 3)] {
        assert!(configure(&pool, wanted_size, min, max));
        let (_, actual_size, actual_min, actual_max) = pool.config().params().unwrap();
        assert_eq!((actual_size, actual_min, actual_max), (size, min, 2));
    }
    assert!(
        !configure(&pool, size + 1, 0, 0),
        "the frames are too small"
    );
    assert!(!configure(&pool, size, 3, 0), "there are too few frames");
}

/// Returns whether a pool of frames with this layout accepts a configuration.
fn accepts(layout: &VideoLayout, caps: &str, options: &[&str]) -> bool {
    gst::init().unwrap();
    let frames = FramePool::builder()
        .frames(2)
        .video(layout)
        .build()
        .unwrap();
    let pool = FrameBufferPool::new(&frames);
    let mut config = pool.config();
    let size = u32::try_from(layout.size()).unwrap();
    config.set_params(Some(&caps.parse().unwrap()), size, 0, 2);
    options.iter().for_each(|option| config.add_option(option));
    pool.set_config(config).is_ok()
}

#[test]
fn caps_must_be_those_of_the_layout() {
    let meta = [BUFFER_POOL_OPTION_VIDEO_META.as_str()];
    let caps = info().to_caps().unwrap().to_string();
    let layout = layout_of(&info()).unwrap().unwrap();
    assert!(accepts(&layout, &caps, &meta) && accepts(&layout, &caps, &[]));
    for (from, to) in [
        ("I420", "YV12"),
        ("width=(int)67", "width=(int)66"),
        ("35", "36"),
        ("video/x-raw", "video/x-raw(memory:DMABuf)"),
    ] {
        let other = caps.replacen(from, to, 1);
        assert!(other != caps && !accepts(&layout, &other, &meta), "{other}");
    }
    assert!(!accepts(&layout.bottom_up(), &caps, &meta));
}

#[test]
fn strides_of_its_own_need_the_video_meta() {
    let meta = [BUFFER_POOL_OPTION_VIDEO_META.as_str()];
    let caps = info().to_caps().unwrap().to_string();
    let layout = builder().stride_alignment(64).build().unwrap();
    assert!(accepts(&layout, &caps, &meta) && !accepts(&layout, &caps, &[]));
}

#[test]
fn compressed_frames_have_no_video_meta() {
    let jpeg = VideoLayout::builder(VideoFormat::Mjpeg, 64, 48)
        .min_size(9000)
        .build()
        .unwrap();
    assert!(accepts(&jpeg, "image/jpeg", &[]) && !accepts(&jpeg, "video/x-h264", &[]));
    let frames = FramePool::builder().frames(1).video(&jpeg).build().unwrap();
    let buffer = to_buffer(frames.acquire().unwrap()).unwrap();
    assert!(buffer.meta::<VideoMeta>().is_none());
}

#[test]
fn times_are_kept_to_the_nanosecond() {
    let frames = frame_pool();
    for nanoseconds in [0, 1, 33_333_333, u64::try_from(i64::MAX).unwrap()] {
        let mut buffer = to_buffer(frames.acquire().unwrap()).unwrap();
        let time = Some(ClockTime::from_nseconds(nanoseconds));
        let writable = buffer.make_mut();
        writable.set_pts(time);
        writable.set_dts(time);
        writable.set_duration(time);
        let buffer = to_buffer(to_frame(buffer).unwrap()).unwrap();
        assert_eq!([buffer.pts(), buffer.dts(), buffer.duration()], [time; 3]);
    }
    let frame = to_frame(to_buffer(frames.acquire().unwrap()).unwrap()).unwrap();
    assert_eq!(frame.metadata().presentation_time, None);
}

#[test]
fn ticks_become_nanoseconds() {
    let frames = frame_pool();
    for ticks in [Some(0), Some(1), Some(333_333), Some(i64::MAX / 200), None] {
        let mut frame = frames.acquire().unwrap();
        frame.metadata_mut().presentation_time = ticks;
        let buffer = to_buffer(frame).unwrap();
        let nanoseconds = ticks.map(|ticks| u64::try_from(ticks).unwrap() * 100);
        assert_eq!(buffer.pts(), nanoseconds.map(ClockTime::from_nseconds));
    }
}

#[test]
fn only_the_only_reference_becomes_a_frame() {
    let frames = frame_pool();
    let buffer = to_buffer(frames.acquire().unwrap()).unwrap();
    let other = buffer.clone();
    let (buffer, _) = to_frame(buffer).unwrap_err();
    drop(other);
    assert!(to_frame(buffer).is_ok());
    assert!(to_frame(gst::Buffer::from_mut_slice([0; 8])).is_err());
    assert_eq!(frames.free_frames(), 2);
}
