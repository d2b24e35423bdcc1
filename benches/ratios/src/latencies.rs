//! Histogram of the times of single repetitions, with 16 buckets per power of two.

use crate::clock;

const BUCKETS_PER_POWER: u64 = 16;
const BUCKETS: usize = 16 * 61;

/// Times of many repetitions, in ticks.
pub(crate) struct Latencies {
    counts: Box<[u64; BUCKETS]>,
    max: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            max: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, ticks: u64) {
        self.counts[bucket(ticks)] += 1;
        self.max = self.max.max(ticks);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.max = self.max.max(other.max);
    }

    /// Returns the time in nanoseconds that the fraction `share` of the repetitions did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut so_far = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            so_far += count;
            if so_far >= wanted.max(1) {
                return middle(bucket) * clock::nanoseconds_per_tick();
            }
        }
        self.max()
    }

    /// Returns the longest time in nanoseconds.
    pub(crate) fn max(&self) -> f64 {
        self.max as f64 * clock::nanoseconds_per_tick()
    }
}

#[inline(always)]
fn bucket(ticks: u64) -> usize {
    if ticks < BUCKETS_PER_POWER {
        return ticks as usize;
    }
    let shift = ticks.ilog2() - BUCKETS_PER_POWER.ilog2();
    (u64::from(shift) * BUCKETS_PER_POWER + (ticks >> shift)) as usize
}

/// Returns the middle of a bucket, in ticks.
fn middle(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < BUCKETS_PER_POWER {
        return bucket as f64;
    }
    let shift = bucket / BUCKETS_PER_POWER - 1;
    let first = (bucket - shift * BUCKETS_PER_POWER) << shift;
    first as f64 + ((1_u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_within_a_sixteenth_of_the_middle_of_its_bucket() {
        for ticks in (0..100_000).chain([1 << 40, (1 << 50) + 12_345]) {
            let middle = middle(bucket(ticks));
            assert!(
                (middle - ticks as f64).abs() <= ticks as f64 / 16.0,
                "{ticks} {middle}"
            );
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }
}
