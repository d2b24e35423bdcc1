//! The pipeline itself: a source, a filter and a sink, each on a thread of its own.
//!
//! ```text
//!        acquire             hand-off             hand-off              drop
//!  pool ---------> source ------------> filter ---------------> sink ---------> pool
//!                  fills     (Unique)   alters,     (Shared)    reads
//!                                       shares
//! ```
//!
//! The hand-off queues have room for as many frames as the pool has. So neither of them is ever
//! what holds the source up: if the later stages are slower, it waits in `acquire`.
//!
//! Whichever stage ends first, for whatever reason, takes the others along: its ends of the
//! hand-off queues close, so the sink always ends, too. And when the sink ends, it flushes the
//! pool, lest the source wait there for frames that nobody gives back.
#![expect(
    clippy::disallowed_types,
    reason = "an example is no part of the crate whose atomics loom replaces"
)]

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use ks_allocator::{AcquireError, FrameFlags};

use crate::counting::{Cost, Meter};
use crate::handoff::{Receiver, Sender, handoff};
use crate::histogram::Histogram;
use crate::picture::Rate;
use crate::supply::{Shared, Supply, Unique};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// How often the watcher is called.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// What the stages do with a frame's bytes.
pub(crate) struct Work<Fill, Alter, Absorb> {
    /// Fills the frame with this number and says how many bytes it has; `None` is the end.
    pub(crate) fill: Fill,
    pub(crate) alter: Alter,
    pub(crate) absorb: Absorb,
}

/// What the stages need to know.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) supply: &'a Supply,
    /// Frames that each hand-off queue has room for.
    pub(crate) room: usize,
    /// Stop after this many frames, or else at the end of the footage.
    pub(crate) frames: Option<u64>,
    pub(crate) rate: Rate,
    /// Frames that each stage leaves out of its cost.
    pub(crate) warm_up: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// From the first `acquire` to the last frame's release.
    pub(crate) took: Duration,
    /// How long it took the source to get each frame that was free when it asked, and was not waited for.
    pub(crate) acquire: Histogram,
    /// How long it waited for each of the others.
    pub(crate) waits: Histogram,
    /// What the three threads cost after the warm-up; `None` if that was never over.
    pub(crate) cost: Option<Cost>,
}

/// Why a stage, and so the pipeline, came to a bad end.
#[derive(Debug, thiserror::Error)]
#[error("{stage}: {error}")]
pub(crate) struct Failure {
    stage: &'static str,
    error: BoxError,
}

/// Runs the pipeline to its end. Meanwhile calls `watch`, if there is one, with the number of
/// frames so far.
pub(crate) fn run(
    plan: &Plan<'_>,
    work: Work<
        impl FnMut(u64, &mut [u8]) -> Result<Option<usize>, BoxError> + Send,
        impl FnMut(&mut [u8]) + Send,
        impl FnMut(&[u8]) + Send,
    >,
    watch: Option<impl FnMut(u64)>,
) -> Result<Outcome, Failure> {
    let (to_filter, from_source) = handoff(plan.room);
    let (to_sink, from_filter) = handoff(plan.room);
    let progress = AtomicU64::new(0);
    let Work {
        fill,
        alter,
        absorb,
    } = work;

    let began = Instant::now();
    let (source, filter, sink) = thread::scope(|scope| {
        let source = spawn(scope, "source", || source(plan, fill, to_filter));
        let filter = spawn(scope, "filter", || {
            filter(plan, alter, from_source, to_sink)
        });
        let stop = StopOnDrop(plan.supply);
        let sink = spawn(scope, "sink", || {
            sink(plan, stop, absorb, from_filter, &progress)
        });
        if let (Some(mut watch), Ok(sink)) = (watch, &sink) {
            while !sink.thread.is_finished() {
                // Relaxed: a number to show, which hands nothing over.
                watch(progress.load(Ordering::Relaxed));
                thread::park_timeout(WATCH_INTERVAL);
            }
        }
        (join(source), join(filter), join(sink))
    });

    let (source, filter, sink) = (source?, filter?, sink?);
    let costs = [source.cost, filter.cost, sink.cost];
    Ok(Outcome {
        frames: sink.frames,
        bytes: sink.bytes,
        took: sink.ended - began,
        acquire: source.acquire,
        waits: source.waits,
        cost: costs
            .into_iter()
            .try_fold(Cost::ZERO, |sum, cost| Some(sum.plus(cost?))),
    })
}

struct SourceEnd {
    acquire: Histogram,
    waits: Histogram,
    cost: Option<Cost>,
}

struct FilterEnd {
    cost: Option<Cost>,
}

struct SinkEnd {
    frames: u64,
    bytes: u64,
    ended: Instant,
    cost: Option<Cost>,
}

/// Acquires frames, fills them and says when each is to be shown.
fn source(
    plan: &Plan<'_>,
    mut fill: impl FnMut(u64, &mut [u8]) -> Result<Option<usize>, BoxError>,
    mut to_filter: Sender<Unique>,
) -> Result<SourceEnd, BoxError> {
    let mut acquire = Histogram::new();
    let mut waits = Histogram::new();
    let mut meter = Meter::after(plan.warm_up);

    let mut sequence = 0;
    while plan.frames.is_none_or(|frames| sequence < frames) {
        let asked = Instant::now();
        let (acquired, took) = match plan.supply.try_acquire() {
            Err(AcquireError::Exhausted(_)) => (plan.supply.acquire(), &mut waits),
            at_once => (at_once, &mut acquire),
        };
        took.record(asked.elapsed());
        let mut frame = match acquired {
            Ok(frame) => frame,
            // A later stage is at its end.
            Err(AcquireError::Flushing) => break,
            Err(error) => return Err(error.into()),
        };

        let Some(len) = fill(sequence, &mut frame)? else {
            break;
        };
        frame.set_len(len)?;
        let begins = plan.rate.time_of(sequence);
        let metadata = frame.metadata_mut();
        metadata.sequence = sequence;
        metadata.presentation_time = Some(begins);
        metadata.duration = Some(plan.rate.time_of(sequence + 1) - begins);
        if sequence == 0 {
            metadata.flags |= FrameFlags::SYNC_POINT;
        }

        if to_filter.send(frame).is_err() {
            break;
        }
        sequence += 1;
        meter.frames_done(sequence);
    }
    let cost = meter.cost();
    Ok(SourceEnd {
        acquire,
        waits,
        cost,
    })
}

/// Alters frames in place, then shares them: the sink may read, but no longer write.
fn filter(
    plan: &Plan<'_>,
    mut alter: impl FnMut(&mut [u8]),
    mut from_source: Receiver<Unique>,
    mut to_sink: Sender<Shared>,
) -> Result<FilterEnd, BoxError> {
    let mut meter = Meter::after(plan.warm_up);

    let mut frames = 0;
    while let Some(mut frame) = from_source.receive() {
        alter(&mut frame);
        if to_sink.send(frame.share()).is_err() {
            break;
        }
        frames += 1;
        meter.frames_done(frames);
    }
    let cost = meter.cost();
    Ok(FilterEnd { cost })
}

/// Reads frames and drops them, which gives them back to the pool.
fn sink(
    plan: &Plan<'_>,
    _stop: StopOnDrop<'_>,
    mut absorb: impl FnMut(&[u8]),
    mut from_filter: Receiver<Shared>,
    progress: &AtomicU64,
) -> Result<SinkEnd, BoxError> {
    let mut meter = Meter::after(plan.warm_up);

    let mut frames = 0;
    let mut bytes = 0;
    while let Some(frame) = from_filter.receive() {
        let sequence = frame.metadata().sequence;
        if sequence != frames {
            return Err(format!("frame {sequence} came where frame {frames} was due").into());
        }
        absorb(&frame);
        bytes += frame.len() as u64;
        drop(frame);

        frames += 1;
        progress.store(frames, Ordering::Relaxed);
        meter.frames_done(frames);
    }
    let cost = meter.cost();
    Ok(SinkEnd {
        frames,
        bytes,
        ended: Instant::now(),
        cost,
    })
}

/// Goes with the sink, and sends the source home when the sink returns, panics or never begins.
struct StopOnDrop<'a>(&'a Supply);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Stage<'scope, T> {
    name: &'static str,
    thread: ScopedJoinHandle<'scope, Result<T, BoxError>>,
}

/// Starts a stage on a thread with its name. If no thread is to be had, what the stage owns is
/// dropped, and the others stop as if it had failed.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &'static str,
    stage: impl FnOnce() -> Result<T, BoxError> + Send + 'scope,
) -> Result<Stage<'scope, T>, Failure> {
    let thread = Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, stage)
        .map_err(|error| Failure {
            stage: name,
            error: error.into(),
        })?;
    Ok(Stage { name, thread })
}

fn join<T>(stage: Result<Stage<'_, T>, Failure>) -> Result<T, Failure> {
    let Stage { name, thread } = stage?;
    let ended = thread
        .join()
        .unwrap_or_else(|_| Err("the thread panicked".into()));
    ended.map_err(|error| Failure { stage: name, error })
}
