//! Frames of a pool in GStreamer pipelines: received, sent, flushed and stopped, never copied.
//!
//! The last line says how many frames passed, how many of them were not memory of the pool, and
//! how many frames are free at the end.

use std::error::Error;
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::{ClockTime, PadProbeReturn, PadProbeType, SeekFlags, State};
use gst_app::{AppSink, AppSrc};
use ks_allocator::{Frame, FramePool, Requirements, TimeBase, VideoFormat, negotiate};
use ks_allocator_gstreamer::{FrameBufferPool, offer, to_buffer, to_frame};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const FRAMES: usize = 8;
const PICTURES: u32 = 60;
/// Maximum time of a wait. A pipeline that takes longer hangs.
const MAX_WAIT: ClockTime = ClockTime::from_seconds(10);
/// Duration of a picture, in the ticks of the pool and as a time of GStreamer.
const PICTURE_TICKS: i64 = 400_000;
const PICTURE_TIME: ClockTime = ClockTime::from_mseconds(40);
/// Y, U and V of the seven bars in the upper part of the SMPTE pattern, from the left.
const BARS: [[u8; 3]; 7] = [
    [235, 128, 128],
    [210, 16, 146],
    [170, 166, 16],
    [145, 54, 34],
    [106, 202, 222],
    [81, 90, 240],
    [41, 240, 110],
];

fn main() -> ExitCode {
    thread::spawn(|| {
        thread::sleep(Duration::from_secs(120));
        eprintln!("the example did not end within 120 s");
        process::exit(2);
    });
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<String> {
    gst::init()?;
    // Not the default layout of GStreamer, so that a wrong stride shows.
    let source = Requirements::new("source").picture(638, 360);
    let source = source.formats([VideoFormat::Nv12]);
    let application = Requirements::new("application").stride_alignment(256);
    let agreement = negotiate(&[source, application.holds(FRAMES - 1)])?;
    let pool = FramePool::builder().agreement(&agreement).build()?;
    let mut counts = Counts::default();
    receive(&pool, &mut counts)?;
    send(&pool, &mut counts)?;
    flush_and_stop(&pool)?;

    let Counts { frames, copied } = counts;
    let free = pool.free_frames();
    let line = format!("gstreamer: frames={frames} copied={copied} free={free} of {FRAMES}");
    check((frames, copied, free) == (2 * PICTURES, 0, FRAMES), &line)?;
    Ok(line)
}

/// Numbers of frames that passed a pipeline.
#[derive(Default)]
struct Counts {
    frames: u32,
    copied: u32,
}

impl Counts {
    /// Counts a buffer, and whether its memory is a frame of the pool.
    fn count(&mut self, pool: &FramePool, buffer: &gst::Buffer) -> Outcome {
        let segment = pool.segment();
        let map = buffer.map_readable()?;
        let offset = map.as_ptr().addr().wrapping_sub(segment.base.addr().get());
        self.frames += 1;
        self.copied += u32::from(offset >= segment.bytes);
        Ok(())
    }
}

/// Receives pictures that `videotestsrc` has written into the frames of the pool.
fn receive(pool: &FramePool, counts: &mut Counts) -> Outcome {
    let source = format!("videotestsrc num-buffers={PICTURES} pattern=smpte");
    let (pipeline, sink) = start(&source, pool)?;
    let pad = sink_pad(&sink)?;
    offer(
        &pad,
        &FrameBufferPool::new(&pool.with_label("videotestsrc")),
    );
    let buffers = take_buffers(&pad);
    pipeline.set_state(State::Playing)?;
    for _ in 0..PICTURES {
        let buffer = buffers.recv_timeout(MAX_WAIT.into())?;
        counts.count(pool, &buffer)?;
        let time = buffer.pts().ok_or("a buffer has no time stamp")?;
        let frame = to_frame(buffer).map_err(|(_, error)| error)?;
        let nanoseconds = frame.metadata().presentation_time_in(TimeBase::NANOSECONDS);
        check(
            nanoseconds == Some(i64::try_from(time.nseconds())?),
            "the time stamp is wrong",
        )?;
        check_bars(&frame)?;
    }
    end(pipeline, sink, pool)
}

/// Takes all buffers off a pad.
///
/// The application then has the only reference. An `appsink` would keep one until its next buffer.
fn take_buffers(pad: &gst::Pad) -> Receiver<gst::Buffer> {
    let (sender, receiver) = mpsc::channel();
    pad.add_probe(PadProbeType::BUFFER, move |_, info| {
        // If the receiver is gone, this releases the frame.
        info.take_buffer()
            .and_then(|buffer| sender.send(buffer).ok());
        PadProbeReturn::Handled
    });
    receiver
}

/// Checks the middle of each color bar, in the first and the 200th row.
fn check_bars(frame: &Frame) -> Outcome {
    let planes = frame.planes()?;
    for (bar, [y, u, v]) in BARS.iter().enumerate() {
        let x = (2 * bar + 1) * 638 / BARS.len() / 4;
        for row in [0, 100] {
            let luma = planes[0].row(2 * row).and_then(|row| row.get(2 * x));
            let chroma = planes[1].row(row).and_then(|row| row.get(2 * x..2 * x + 2));
            let is_right = luma == Some(y) && chroma == Some(&[*u, *v]);
            check(
                is_right,
                &format!("bar {bar} is {luma:?}, {chroma:?} in row {}", 2 * row),
            )?;
        }
    }
    Ok(())
}

/// Sends frames that the application has painted to an `appsink`.
fn send(pool: &FramePool, counts: &mut Counts) -> Outcome {
    let (pipeline, sink) = start("appsrc name=source format=time", pool)?;
    let source = pipeline.by_name("source").ok_or("no appsrc")?;
    let source = source.downcast::<AppSrc>().map_err(|_| "not an appsrc")?;
    pipeline.set_state(State::Playing)?;
    let painter = pool.with_label("painter");
    for number in 0..PICTURES {
        let mut frame = painter.acquire()?;
        let shade = u8::try_from(number)?;
        frame.planes_mut()?[0]
            .rows_mut()
            .for_each(|row| row.fill(shade));
        frame.metadata_mut().presentation_time = Some(PICTURE_TICKS * i64::from(number));
        source.push_buffer(to_buffer(frame)?)?;

        let buffer = pull(&sink)?;
        counts.count(pool, &buffer)?;
        check(
            buffer.pts() == Some(PICTURE_TIME * u64::from(number)),
            "the time has changed",
        )?;
        let map = buffer.map_readable()?;
        let planes = pool.video_layout().ok_or("no layout")?.planes_of(&map)?;
        let is_painted = planes[0].rows().flatten().all(|&luma| luma == shade);
        check(is_painted, "the picture has changed")?;
    }
    source.end_of_stream()?;
    end(pipeline, sink, pool)
}

/// Flushes and stops a pipeline whose source waits for a frame while the application has two.
fn flush_and_stop(pool: &FramePool) -> Outcome {
    let (pipeline, sink) = start("videotestsrc", pool)?;
    offer(&sink_pad(&sink)?, &FrameBufferPool::new(pool));
    pipeline.set_state(State::Playing)?;
    let held = [pull(&sink)?, pull(&sink)?];
    // The other frames are in the queue of the sink.
    wait_until(
        || pool.waiting() == 1,
        "the source does not wait for a frame",
    )?;

    pipeline.seek_simple(SeekFlags::FLUSH, ClockTime::ZERO)?;
    let restarted = pull(&sink)?.pts() == Some(ClockTime::ZERO);
    check(restarted, "the stream does not begin again")?;
    wait_until(
        || pool.waiting() == 1,
        "the source does not wait for a frame",
    )?;

    stop(pipeline, sink)?;
    check(
        pool.free_frames() == FRAMES - held.len(),
        "more frames are out than those held",
    )?;
    drop(held);
    check(
        pool.free_frames() == FRAMES,
        "frames are out after the stop",
    )?;
    // The pool is no longer flushing.
    drop(pool.try_acquire()?);
    Ok(())
}

/// Makes a pipeline from a source to an `appsink`, for pictures of the layout of the pool.
fn start(source: &str, pool: &FramePool) -> Outcome<(gst::Pipeline, AppSink)> {
    let layout = pool.video_layout().ok_or("the pool has no video layout")?;
    let (format, width, height) = (layout.format(), layout.width(), layout.height());
    let caps = format!(
        "video/x-raw,format={},width={width},height={height},framerate=30/1",
        format.gstreamer_name()
    );
    let sink = "appsink name=sink async=false sync=false enable-last-sample=false";
    let pipeline = gst::parse::launch(&format!("{source} ! capsfilter caps={caps} ! {sink}"))?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .map_err(|_| "not a pipeline")?;
    let sink = pipeline.by_name("sink").ok_or("no appsink")?;
    Ok((pipeline, sink.downcast().map_err(|_| "not an appsink")?))
}

/// Waits for the end of the stream, and ends the pipeline.
fn end(pipeline: gst::Pipeline, sink: AppSink, pool: &FramePool) -> Outcome {
    let no_more = sink.try_pull_sample(MAX_WAIT).is_none() && sink.is_eos();
    check(no_more, "the stream does not end")?;
    stop(pipeline, sink)?;
    check(
        pool.free_frames() == FRAMES,
        "frames are out after the end of the stream",
    )
}

/// Stops and frees a pipeline. An `appsink` refers to its last buffer until it is freed.
fn stop(pipeline: gst::Pipeline, sink: AppSink) -> Outcome {
    pipeline.set_state(State::Null)?;
    drop((pipeline, sink));
    Ok(())
}

fn sink_pad(sink: &AppSink) -> Outcome<gst::Pad> {
    sink.static_pad("sink")
        .ok_or_else(|| "the appsink has no pad".into())
}

/// Returns the next buffer.
fn pull(sink: &AppSink) -> Outcome<gst::Buffer> {
    let sample = sink.try_pull_sample(MAX_WAIT).ok_or("no buffer arrives")?;
    sample
        .buffer_owned()
        .ok_or_else(|| "a sample has no buffer".into())
}

fn wait_until(condition: impl Fn() -> bool, failure: &str) -> Outcome {
    let deadline = Instant::now() + MAX_WAIT.into();
    while !condition() {
        check(Instant::now() < deadline, failure)?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn check(holds: bool, failure: &str) -> Outcome {
    if holds { Ok(()) } else { Err(failure.into()) }
}
