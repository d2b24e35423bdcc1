//! The pipeline: a source, a filter and a sink, one thread each.
//!
//! ```text
//!        acquire             pass on             pass on               drop
//!  pool ---------> source ----------> filter ---------------> sink ---------> pool
//!                  fills    (Frame)   alters,  (SharedFrame)  reads
//!                                     shares
//! ```
//!
//! The queues have room for all frames of the pool. So the source never waits for a queue: if the
//! later stages are slower, it waits in `acquire`.
//!
//! A stage that ends, for whatever reason, ends the others too. Its ends of the queues close, so
//! the sink always ends. The sink then flushes the pool, because the source may be waiting for a
//! frame that never comes back.

use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{AcquireError, Frame, FrameFlags, FramePool, Label, SharedFrame};

use crate::BoxError;
use crate::footage::Footage;
use crate::measure::{Cost, Meter, Outcome, PANICKED, Tally, warm_up};
use crate::picture::Contrast;
use crate::queue::{Receiver, Sender, queue};

/// Runs at most `frames` frames of the footage through the pipeline.
pub(crate) fn run(pool: &FramePool, footage: Footage, frames: u64) -> Result<Outcome, BoxError> {
    let (to_filter, from_source) = queue(pool.frames());
    let (to_sink, from_filter) = queue(pool.frames());
    let contrast = Contrast::new(footage.size());
    let flush = FlushOnDrop(pool);

    let start = Instant::now();
    thread::scope(|scope| {
        let source = scope.spawn(move || source(pool, footage, frames, &to_filter));
        let filter = scope.spawn(move || filter(&contrast, frames, &from_source, &to_sink));
        let sink = scope.spawn(move || sink(flush, frames, &from_filter));
        let (longest_acquire, source_cost) = source.join().expect(PANICKED)?;
        let filter_cost = filter.join().expect(PANICKED);
        let (tally, sink_cost) = sink.join().expect(PANICKED);
        Ok(Outcome {
            tally,
            took: start.elapsed(),
            longest_acquire,
            cost: source_cost + filter_cost + sink_cost,
            warm_up: warm_up(frames),
        })
    })
}

/// Acquires frames, fills them and sets their times. Returns the longest time that an acquire of a
/// free frame took, and the cost of the thread.
fn source(
    pool: &FramePool,
    mut footage: Footage,
    frames: u64,
    to_filter: &Sender<Frame>,
) -> Result<(Duration, Cost), BoxError> {
    // Reports name the stage that has a frame.
    let pool = pool.with_label("source");
    let filter = Label::new("filter");
    let mut longest_acquire = Duration::ZERO;
    let mut meter = Meter::new(frames);

    for sequence in 0..frames {
        let start = Instant::now();
        let acquired = match pool.try_acquire() {
            // Waits are not measured here: `FramePool::stats` counts them.
            Err(AcquireError::Exhausted(_)) => pool.acquire(),
            acquired => {
                longest_acquire = longest_acquire.max(start.elapsed());
                acquired
            }
        };
        let mut frame = match acquired {
            Ok(frame) => frame,
            // The sink has ended.
            Err(AcquireError::Flushing) => break,
            Err(error) => return Err(error.into()),
        };

        // The pool rounds the frame size up to the alignment.
        frame.set_len(footage.size().frame())?;
        if !footage.fill(sequence, &mut frame)? {
            break;
        }
        let time = footage.time_of(sequence);
        let metadata = frame.metadata_mut();
        metadata.sequence = sequence;
        metadata.presentation_time = Some(time);
        metadata.duration = Some(footage.time_of(sequence + 1) - time);
        metadata.flags |= FrameFlags::SYNC_POINT;

        frame.set_label(filter);
        if to_filter.send(frame).is_err() {
            break;
        }
        meter.frame_done();
    }
    Ok((longest_acquire, meter.cost()))
}

/// Alters frames in place, then shares them: from there on they can only be read.
fn filter(
    contrast: &Contrast,
    frames: u64,
    from_source: &Receiver<Frame>,
    to_sink: &Sender<SharedFrame>,
) -> Cost {
    let sink = Label::new("sink");
    let mut meter = Meter::new(frames);
    while let Some(mut frame) = from_source.receive() {
        contrast.apply(&mut frame);
        frame.set_label(sink);
        if to_sink.send(frame.share()).is_err() {
            break;
        }
        meter.frame_done();
    }
    meter.cost()
}

/// Reads frames and drops them, which returns them to the pool.
fn sink(
    _flush: FlushOnDrop<'_>,
    frames: u64,
    from_filter: &Receiver<SharedFrame>,
) -> (Tally, Cost) {
    let mut tally = Tally::new();
    let mut meter = Meter::new(frames);
    while let Some(frame) = from_filter.receive() {
        assert_eq!(
            frame.metadata().sequence,
            tally.frames,
            "frames arrive in order"
        );
        tally.add(&frame);
        drop(frame);
        meter.frame_done();
    }
    (tally, meter.cost())
}

/// Flushes the pool when the sink returns, panics or cannot be started.
struct FlushOnDrop<'a>(&'a FramePool);

impl Drop for FlushOnDrop<'_> {
    fn drop(&mut self) {
        self.0.begin_flush();
    }
}
