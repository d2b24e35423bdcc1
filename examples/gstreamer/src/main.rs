//! Frames of a pool in GStreamer pipelines: received, sent, flushed and stopped, never copied.
//!
//! In each pipeline a tee passes the frames of a source to a converter and to this program. The
//! pool is made when the source asks for one: of its query, the answer of the converter, and what
//! the program needs.
//!
//! The last line says how many frames passed, how many of them were not memory of the pool, and
//! how many frames are free at the end.

use std::error::Error;
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::query::Allocation;
use gst::{ClockTime, PadProbeReturn, PadProbeType, SeekFlags, State};
use gst_app::{AppSink, AppSrc};
use ks_allocator::{Agreement, Frame, FramePool, Requirements, TimeBase};
use ks_allocator_gstreamer::{offer_agreement, to_buffer, to_frame};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
/// Agreement with its pool, or the reason why there is none.
type Offer = Result<(Agreement, Option<FramePool>), String>;

const FRAMES: usize = 8;
const CAPS: &str = "video/x-raw,format=NV12,width=638,height=360,framerate=30/1";
/// Stride of both planes. It is not the default one of GStreamer, so that a wrong stride shows.
const STRIDE: usize = 768;
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
    let mut counts = Counts::default();
    let pools = [receive(&mut counts)?, send(&mut counts)?, flush_and_stop()?];

    let Counts { frames, copied } = counts;
    let free = pools.iter().map(FramePool::free_frames).min();
    let free = free.ok_or("there is no pool")?;
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
fn receive(counts: &mut Counts) -> Outcome<FramePool> {
    let source = format!("videotestsrc num-buffers={PICTURES} pattern=smpte");
    let (pipeline, sink, offers) = make(&source)?;
    let buffers = take_buffers(&pad(&sink, "sink")?);
    pipeline.set_state(State::Playing)?;
    let pool = accept(&offers)?;
    for _ in 0..PICTURES {
        let buffer = buffers.recv_timeout(MAX_WAIT.into())?;
        counts.count(&pool, &buffer)?;
        // The tee has a reference until both branches have returned.
        wait_until(|| buffer.is_writable(), "another element keeps the buffer")?;
        let time = buffer.pts().ok_or("a buffer has no time stamp")?;
        let frame = to_frame(buffer).map_err(|(_, error)| error)?;
        let nanoseconds = frame.metadata().presentation_time_in(TimeBase::NANOSECONDS);
        check(
            nanoseconds == Some(i64::try_from(time.nseconds())?),
            "the time stamp is wrong",
        )?;
        check_bars(&frame)?;
    }
    end(pipeline, sink, &pool)?;
    Ok(pool)
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
fn send(counts: &mut Counts) -> Outcome<FramePool> {
    let (pipeline, sink, offers) = make(&format!("appsrc name=source format=time caps={CAPS}"))?;
    let source = pipeline.by_name("source").ok_or("no appsrc")?;
    let source = source.downcast::<AppSrc>().map_err(|_| "not an appsrc")?;
    pipeline.set_state(State::Playing)?;
    ask(&pad(&source, "src")?)?;
    let pool = accept(&offers)?;
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
        counts.count(&pool, &buffer)?;
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
    end(pipeline, sink, &pool)?;
    Ok(pool)
}

/// Flushes and stops a pipeline whose source waits for a frame while the application has two.
fn flush_and_stop() -> Outcome<FramePool> {
    let (pipeline, sink, offers) = make("videotestsrc")?;
    pipeline.set_state(State::Playing)?;
    let pool = accept(&offers)?;
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
    Ok(pool)
}

/// Makes a pipeline from a source to a converter and an `appsink`. Returns it with what is offered
/// to the source.
fn make(source: &str) -> Outcome<(gst::Pipeline, AppSink, Receiver<Offer>)> {
    let sink = "async=false sync=false enable-last-sample=false";
    let pipeline = gst::parse::launch(&format!(
        "{source} ! {CAPS} ! tee name=tee ! videoconvert name=converter ! video/x-raw,format=BGRx \
         ! fakesink {sink} tee. ! appsink name=sink {sink}"
    ))?;
    let pipeline = pipeline
        .downcast::<gst::Pipeline>()
        .map_err(|_| "not a pipeline")?;
    let sink = pipeline.by_name("sink").ok_or("no appsink")?;
    let tee = pipeline.by_name("tee").ok_or("no tee")?;
    let (sender, offers) = mpsc::channel();
    // An appsink answers no query. It keeps what the program has not taken yet.
    let application = Requirements::new("application").stride_alignment(256);
    offer_agreement(
        &pad(&tee, "sink")?,
        vec![pad(&tee, "src_0")?],
        vec![application.holds(FRAMES - 1)],
        // If the receiver is gone, the pipeline stops.
        move |offer| drop(sender.send(offer)),
    );
    let sink = sink.downcast().map_err(|_| "not an appsink")?;
    Ok((pipeline, sink, offers))
}

/// Asks an ALLOCATION query for an `appsrc`, which itself asks none with caps.
fn ask(pad: &gst::Pad) -> Outcome {
    wait_until(|| pad.has_current_caps(), "the appsrc sends no caps")?;
    let mut query = Allocation::new(pad.current_caps().as_ref(), true);
    let query = query.get_mut().ok_or("the query is shared")?;
    check(pad.peer_query(query), "the query is not answered")
}

/// Waits until the source has asked for a pool, and returns the pool that it got.
fn accept(offers: &Receiver<Offer>) -> Outcome<FramePool> {
    let (agreement, pool) = offers.recv_timeout(MAX_WAIT.into())??;
    let layout = agreement.video_layout().ok_or("no layout is agreed")?;
    let strides: Vec<_> = layout.planes().iter().map(|plane| plane.stride).collect();
    let frames = agreement.framing().frames;
    let values = format!("{frames} frames with strides of {strides:?} are agreed");
    check(strides == [STRIDE; 2] && frames == FRAMES, &values)?;
    pool.ok_or_else(|| "the source asks for no pool".into())
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

fn pad(element: &impl IsA<gst::Element>, name: &str) -> Outcome<gst::Pad> {
    element
        .static_pad(name)
        .ok_or_else(|| format!("there is no pad {name}").into())
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
