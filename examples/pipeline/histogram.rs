//! Durations, counted in buckets: a fixed size, nothing allocated, and any quantile to within 1 %.

use std::time::Duration;

/// Each power of two is divided into this many buckets, which bounds the error of a quantile: a
/// bucket is at most 1/64 of its values wide, and its middle at most half of that away.
const DIVISIONS: u64 = 1 << DIVISION_BITS;
const DIVISION_BITS: u32 = 6;

/// A row of buckets for the values below [`DIVISIONS`], and one for each power of two from there.
const BUCKETS: usize = (1 + (u64::BITS - DIVISION_BITS) as usize) << DIVISION_BITS;

/// How often something took how long, from 1 ns to 584 years.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [u64; BUCKETS],
    total: u64,
    worst: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
            worst: 0,
        }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
        self.worst = self.worst.max(nanoseconds);
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The longest, exactly.
    pub(crate) fn worst(&self) -> Duration {
        Duration::from_nanos(self.worst)
    }

    /// The duration that `per_mille` of a thousand do not exceed: 500 is the median.
    pub(crate) fn quantile(&self, per_mille: u64) -> Duration {
        let rank = u128::from(self.total) * u128::from(per_mille);
        let rank = u64::try_from(rank.div_ceil(1000))
            .unwrap_or(u64::MAX)
            .max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(middle(index).min(self.worst));
            }
        }
        self.worst()
    }
}

/// Values below 64 have a bucket each. From there on a value's leading seven bits choose the
/// bucket, after as many right shifts as it takes to keep just these.
fn bucket(value: u64) -> usize {
    let magnitude = (value | DIVISIONS).ilog2() - DIVISION_BITS;
    let leading = value >> magnitude;
    usize::try_from(u64::from(magnitude) * DIVISIONS + leading).expect("less than BUCKETS")
}

/// The value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let magnitude = (bucket / DIVISIONS).saturating_sub(1);
    let leading = bucket - magnitude * DIVISIONS;
    (leading << magnitude) + ((1 << magnitude) >> 1)
}
