//! How long single rounds took: counts in buckets, 16 to each power of two.

use crate::clock;

const OF_A_POWER: u64 = 16;
const BUCKETS: usize = 16 * 61;

/// Ticks of many rounds.
pub(crate) struct Latencies {
    counts: Box<[u64; BUCKETS]>,
    most: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            most: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, ticks: u64) {
        self.counts[bucket(ticks)] += 1;
        self.most = self.most.max(ticks);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.most = self.most.max(other.most);
    }

    /// The nanoseconds that `share` of the rounds did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut so_far = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            so_far += count;
            if so_far >= wanted.max(1) {
                return middle(bucket) * clock::nanoseconds_of_a_tick();
            }
        }
        self.most()
    }

    /// The nanoseconds of the longest round.
    pub(crate) fn most(&self) -> f64 {
        self.most as f64 * clock::nanoseconds_of_a_tick()
    }
}

#[inline(always)]
fn bucket(ticks: u64) -> usize {
    if ticks < OF_A_POWER {
        return ticks as usize;
    }
    let shift = ticks.ilog2() - OF_A_POWER.ilog2();
    (u64::from(shift) * OF_A_POWER + (ticks >> shift)) as usize
}

/// The middle of a bucket, in ticks.
fn middle(bucket: usize) -> f64 {
    let (bucket, of) = (bucket as u64, OF_A_POWER);
    if bucket < of {
        return bucket as f64;
    }
    let shift = bucket / of - 1;
    let first = (bucket - shift * of) << shift;
    first as f64 + ((1_u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_near_its_middle() {
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
