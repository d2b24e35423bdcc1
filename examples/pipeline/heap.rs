//! The same job without a pool, for comparison: a fresh `Vec` per frame.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::BoxError;
use crate::footage::Footage;
use crate::measure::{Cost, Meter, Outcome, PANICKED, Tally, warm_up};
use crate::picture::Contrast;
use crate::queue::{Receiver, Sender, queue};

/// Runs at most `frames` frames of the footage through queues of `capacity` frames.
pub(crate) fn run(footage: Footage, frames: u64, capacity: usize) -> Result<Outcome, BoxError> {
    let (to_filter, from_source) = queue(capacity);
    let (to_sink, from_filter) = queue(capacity);
    let contrast = Contrast::new(footage.size());

    let start = Instant::now();
    thread::scope(|scope| {
        let source = scope.spawn(move || source(footage, frames, &to_filter));
        let filter = scope.spawn(move || filter(&contrast, frames, &from_source, &to_sink));
        let sink = scope.spawn(move || sink(frames, &from_filter));
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

fn source(
    mut footage: Footage,
    frames: u64,
    to_filter: &Sender<Vec<u8>>,
) -> Result<(Duration, Cost), BoxError> {
    let mut longest_acquire = Duration::ZERO;
    let mut meter = Meter::new(frames);
    for sequence in 0..frames {
        let start = Instant::now();
        // Zeroed, because safe code can only write to initialized memory.
        let mut frame = vec![0; footage.size().frame()];
        longest_acquire = longest_acquire.max(start.elapsed());
        if !footage.fill(sequence, &mut frame)? || to_filter.send(frame).is_err() {
            break;
        }
        meter.frame_done();
    }
    Ok((longest_acquire, meter.cost()))
}

fn filter(
    contrast: &Contrast,
    frames: u64,
    from_source: &Receiver<Vec<u8>>,
    to_sink: &Sender<Arc<Vec<u8>>>,
) -> Cost {
    let mut meter = Meter::new(frames);
    while let Some(mut frame) = from_source.receive() {
        contrast.apply(&mut frame);
        if to_sink.send(Arc::new(frame)).is_err() {
            break;
        }
        meter.frame_done();
    }
    meter.cost()
}

fn sink(frames: u64, from_filter: &Receiver<Arc<Vec<u8>>>) -> (Tally, Cost) {
    let mut tally = Tally::new();
    let mut meter = Meter::new(frames);
    while let Some(frame) = from_filter.receive() {
        tally.add(&frame);
        drop(frame);
        meter.frame_done();
    }
    (tally, meter.cost())
}
