//! Clock of a pool, which is read per frame if the user asks for it.
//!
//! Times are in nanoseconds since the pool was made. Times that an acquire or a release records are
//! in ticks of a [`TickClock`], which is read faster. The clock knows both times of the moment when
//! the pool was made, and a report reads both again. Between these two moments, ticks are converted
//! by interpolation. So nothing is converted per frame, and the clocks cannot drift apart.

use std::time::{Duration, Instant};

use crate::sync::TickClock;

/// The clock of one pool.
#[derive(Debug)]
pub(super) struct PoolClock {
    began: Instant,
    ticks: TickClock,
    first: Moment,
}

/// One moment in both units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) ticks: u64,
    pub(super) nanoseconds: u64,
}

impl PoolClock {
    pub(super) fn new(ticks: TickClock) -> Self {
        Self {
            began: Instant::now(),
            first: Moment {
                ticks: ticks.read(|| 0),
                nanoseconds: 0,
            },
            ticks,
        }
    }

    /// Returns the nanoseconds since the pool was made, and never 0.
    pub(super) fn nanoseconds(&self) -> u64 {
        nanoseconds(self.began.elapsed()).max(1)
    }

    /// Returns the time in ticks, and never 0.
    #[inline]
    pub(super) fn ticks(&self) -> u64 {
        self.ticks.read(|| self.nanoseconds()).max(1)
    }

    /// Returns the present moment.
    pub(super) fn moment(&self) -> Moment {
        let nanoseconds = self.nanoseconds();
        Moment {
            ticks: self.ticks.read(|| nanoseconds),
            nanoseconds,
        }
    }

    /// Returns the nanoseconds at `ticks`. `now` is a moment after that.
    pub(super) fn nanoseconds_at(&self, ticks: u64, now: Moment) -> u64 {
        self.first.interpolate(now, ticks)
    }
}

impl Moment {
    /// Returns the nanoseconds at `ticks`, on the line from this moment to a later one.
    fn interpolate(self, later: Self, ticks: u64) -> u64 {
        let passed = |from: u64, to: u64| u128::from(to.saturating_sub(from));
        let whole = passed(self.ticks, later.ticks).max(1);
        let nanoseconds = passed(self.nanoseconds, later.nanoseconds);
        let since = passed(self.ticks, ticks) * nanoseconds / whole;
        self.nanoseconds
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// Returns a duration in nanoseconds, at most `u64::MAX` of them (584 years).
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn times_are_interpolated_between_two_moments() {
        let moment = |ticks, nanoseconds| Moment { ticks, nanoseconds };
        let (first, later) = (moment(1_000, 50), moment(4_000, 1_050));
        let at = |ticks| first.interpolate(later, ticks);
        let times = [at(1_000), at(2_500), at(4_000), at(7_000)];
        assert_eq!(times, [50, 550, 1_050, 2_050]);
        assert_eq!(
            at(0),
            50,
            "a time that was rounded down to before the first moment"
        );
        assert_eq!(first.interpolate(first, 9), 50);
        let last = moment(u64::MAX, u64::MAX);
        assert_eq!(first.interpolate(last, u64::MAX), u64::MAX);
    }

    #[test]
    fn ticks_agree_with_the_clock_of_the_system() {
        let clock = PoolClock::new(TickClock::fastest());
        let mut times = Vec::new();
        for _ in 0..50 {
            times.push((clock.nanoseconds(), clock.ticks(), clock.nanoseconds()));
            std::thread::sleep(Duration::from_micros(100));
        }
        let now = clock.moment();
        for (before, ticks, after) in times {
            let at = clock.nanoseconds_at(ticks, now);
            // Each of the two moments may be read across a preemption.
            let slack = 2_000_000;
            assert!(
                before <= at + slack && at <= after + slack,
                "{before} {at} {after}"
            );
        }
    }
}
