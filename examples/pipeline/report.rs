//! What is printed at the end: a table to read, and its last line for machines.

use std::fmt;

use crate::args::Memory;
use crate::stages::Outcome;

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) memory: Memory,
    pub(crate) outcome: Outcome,
    pub(crate) warm_up: u64,
    /// Frames that have not come back to the pool.
    pub(crate) lost: usize,
    pub(crate) checksum: u64,
}

impl Report {
    fn per_second(&self, what: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "shown with a few digits only")]
        let what = what as f64;
        what / self.outcome.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            memory,
            outcome,
            warm_up,
            lost,
            checksum,
        } = self;
        let Outcome {
            frames,
            acquire,
            waits,
            ..
        } = outcome;
        let frames_per_second = self.per_second(*frames);
        let cost = outcome.cost;
        let heap_allocations = OrUnknown(cost.map(|cost| cost.heap_allocations));
        let page_faults = OrUnknown(cost.and_then(|cost| cost.page_faults));

        writeln!(f, "frames                          {frames}")?;
        writeln!(f, "frames/s                        {frames_per_second:.1}")?;
        writeln!(
            f,
            "bytes/s                         {}",
            Bytes(self.per_second(outcome.bytes))
        )?;
        writeln!(
            f,
            "time to get a frame, median     {:.1?}",
            acquire.quantile(500)
        )?;
        writeln!(
            f,
            "time to get a frame, 99.9 %     {:.1?}",
            acquire.quantile(999)
        )?;
        writeln!(f, "time to get a frame, worst      {:.1?}", acquire.worst())?;
        writeln!(f, "waits for a frame               {}", waits.total())?;
        writeln!(f, "longest wait for a frame        {:.1?}", waits.worst())?;
        writeln!(f, "after the first {warm_up:>2} frames:")?;
        writeln!(f, "  heap allocations              {heap_allocations}")?;
        writeln!(f, "  page faults                   {page_faults}")?;
        writeln!(f, "frames lost                     {lost}")?;
        writeln!(f, "checksum                        {checksum:016x}")?;
        write!(
            f,
            "pipeline: mode={memory} frames={frames} fps={frames_per_second:.1} \
             heap_allocations={heap_allocations} page_faults={page_faults} lost={lost} \
             worst_acquire_ns={} checksum={checksum:016x}",
            acquire.worst().as_nanos(),
        )
    }
}

struct OrUnknown(Option<u64>);

impl fmt::Display for OrUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// A number of bytes, in the largest unit that leaves a digit before the point.
struct Bytes(f64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
        match units.into_iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) => write!(f, "{:.2} {unit}", self.0 / size),
            None => write!(f, "{:.0} B", self.0),
        }
    }
}
