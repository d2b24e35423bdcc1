//! Pacing of a thread that acquires frames: by a clock or by its work.

/// Pace of a thread that acquires frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Pacing {
    /// The thread asks for frames at given times, such as a camera. After a wait it catches up.
    Clock,
    /// The thread asks for a frame when it is done with the last one, such as a decoder of a file.
    /// After a wait it is late from then on.
    Work,
}

/// Recorded request of a thread. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Time of the request.
    pub(super) at: u64,
    /// Duration of the wait for a frame.
    pub(super) wait: u64,
    /// Time since the previous step of the thread, if there is one.
    pub(super) gap: Option<u64>,
}

/// Minimum number of requests from which a grid can be told.
const MIN_REQUESTS: usize = 16;

/// Returns the pace of a thread.
///
/// - A thread that has hardly any time between its last step and its next request, measured by the
///   median, is paced by its work.
/// - If the requests lie on a grid of equal periods, or would if they were more precise, the thread
///   is paced by a clock, and otherwise by its work. The deviations of work add up, so that it
///   leaves the grid unless it takes equally long each time. Requests that a wait delayed are left
///   out.
/// - If fewer than 16 requests remain, because most were delayed, the thread is paced by its work,
///   unless its requests are much more regular than the gaps before them.
/// - A thread with fewer than 16 requests in all is taken to be paced by a clock: it asks again as
///   soon as if it had not waited.
pub(super) fn pacing_of(requests: &[Request]) -> Pacing {
    let Some(period) = period_of(requests) else {
        return Pacing::Clock;
    };
    let gaps = || requests.iter().filter_map(|request| request.gap);
    let gap = median(gaps().collect()).unwrap_or(period);
    let waits = |request: &Request| request.wait > period / 20;
    let waited = requests.iter().filter(|request| waits(request)).count();
    let is_clock = if gap <= period / 20 {
        false
    } else if requests.len() < MIN_REQUESTS {
        waited * 2 < requests.len()
    } else {
        // A thread that catches up after a wait asks again at once.
        let is_late = |index: usize| {
            let of = requests[index];
            index > 0 && (waits(&requests[index - 1]) || of.gap.is_some_and(|of| of < gap / 2))
        };
        let on_time: Vec<_> = (0..requests.len())
            .filter(|&index| !is_late(index))
            .collect();
        if on_time.len() < MIN_REQUESTS {
            spread(gaps()) > spread(intervals(requests)).saturating_mul(4)
        } else {
            is_on_grid(requests, &on_time)
        }
    };
    if is_clock {
        Pacing::Clock
    } else {
        Pacing::Work
    }
}

/// Returns the median interval between two requests, if there are at least two.
pub(super) fn period_of(requests: &[Request]) -> Option<u64> {
    median(intervals(requests).collect())
}

fn intervals(requests: &[Request]) -> impl Iterator<Item = u64> {
    requests
        .windows(2)
        .map(|pair| pair[1].at.saturating_sub(pair[0].at))
}

/// Returns `true` if the requests `on_time` deviate no more from a grid of equal periods than their
/// intervals deviate from each other, or than 2 % of the period, which a wake-up may be late.
/// Deviations of a clock cancel out; those of work add up.
fn is_on_grid(requests: &[Request], on_time: &[usize]) -> bool {
    let neighbors = on_time.windows(2).filter(|pair| pair[0] + 1 == pair[1]);
    let intervals: Vec<_> = neighbors
        .map(|pair| requests[pair[1]].at.saturating_sub(requests[pair[0]].at))
        .collect();
    let Some(period) = median(intervals.clone()).filter(|&period| period > 0) else {
        return false;
    };
    let spread = spread(intervals.iter().copied());
    if spread > period / 8 {
        // Everything is near to such a grid.
        return alternate(&intervals);
    }
    let times: Vec<_> = on_time.iter().map(|&index| requests[index].at).collect();
    let period = refined(&times, period);
    let phases = times
        .iter()
        .map(|at| (at.saturating_sub(times[0]) as f64).rem_euclid(period));
    // The first request may be an outlier on the edge of the period. So the phases are centered,
    // first by their mean direction, then by the median.
    let (sines, cosines) = phases.clone().fold((0.0, 0.0), |(sines, cosines), phase| {
        let angle = phase / period * std::f64::consts::TAU;
        (sines + angle.sin(), cosines + angle.cos())
    });
    let center = f64::atan2(sines, cosines) / std::f64::consts::TAU * period;
    let half = period / 2.0;
    let mut from_center: Vec<_> = phases
        .map(|phase| (phase - center + half).rem_euclid(period) - half)
        .collect();
    from_center.sort_by(f64::total_cmp);
    let middle = from_center[from_center.len() / 2];
    let mut deviations: Vec<_> = from_center
        .iter()
        .map(|phase| (phase - middle).abs())
        .collect();
    deviations.sort_by(f64::total_cmp);
    let deviation = deviations[deviations.len() / 2];
    deviation <= (1.5 * spread as f64).max(period / 50.0)
}

/// Returns `true` if long intervals are followed by short ones: if one tick of a clock is late, the
/// interval to the next is shorter. The correlation of neighbors is -1/2 then, and 0 for work.
fn alternate(intervals: &[u64]) -> bool {
    let count = intervals.len() as f64;
    let mean = intervals
        .iter()
        .map(|&interval| interval as f64)
        .sum::<f64>()
        / count;
    let deviations: Vec<_> = intervals
        .iter()
        .map(|&interval| interval as f64 - mean)
        .collect();
    let variance: f64 = deviations
        .iter()
        .map(|deviation| deviation * deviation)
        .sum();
    let neighbors: f64 = deviations.windows(2).map(|pair| pair[0] * pair[1]).sum();
    neighbors < -0.25 * variance
}

/// Returns the period of the times: the median of the slopes over half of the recording, as in the
/// estimator of Theil (1950) and Sen (1968).
fn refined(times: &[u64], period: u64) -> f64 {
    let pairs = times.iter().zip(&times[times.len() / 2..]);
    let mut slopes: Vec<_> = pairs
        .filter_map(|(one, other)| {
            let time = other.saturating_sub(*one) as f64;
            // A clock may have skipped some periods.
            let periods = (time / period as f64).round();
            (periods >= 1.0).then(|| time / periods)
        })
        .collect();
    slopes.sort_by(f64::total_cmp);
    slopes
        .get(slopes.len() / 2)
        .copied()
        .unwrap_or(period as f64)
}

/// Returns the median of the deviations from the median.
fn spread(values: impl Iterator<Item = u64>) -> u64 {
    let values: Vec<_> = values.collect();
    let Some(middle) = median(values.clone()) else {
        return 0;
    };
    let deviations = values.into_iter().map(|value| value.abs_diff(middle));
    median(deviations.collect()).unwrap_or(0)
}

/// Returns the median, or `None` if there is no value.
pub(super) fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Returns pseudo-random numbers below `limit`.
    fn noise(limit: u64) -> impl FnMut() -> u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % limit
        }
    }

    /// Returns requests at these times, each of which is served `wait` later.
    fn requests(times: &[u64], wait: u64) -> Vec<Request> {
        let mut served = None;
        let request = |&at: &u64| {
            let gap = served.map(|served| at - served);
            served = Some(at + wait);
            Request { at, wait, gap }
        };
        times.iter().map(request).collect()
    }

    #[test]
    fn a_jittering_clock_is_a_clock_also_with_late_and_missing_ticks() {
        let mut jitter = noise(7 * MS);
        let noisy: Vec<_> = (0..100).map(|tick| tick * 10 * MS + jitter()).collect();
        assert_eq!(pacing_of(&requests(&noisy, 0)), Pacing::Clock);
        let mut jitter = noise(300_000);
        let mut ticks: Vec<_> = (0..100).map(|tick| tick * 10 * MS + jitter()).collect();
        assert_eq!(pacing_of(&requests(&ticks, 0)), Pacing::Clock);
        for late in [
            0, 31, 32, 33, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 90,
        ] {
            ticks[late] += 4 * MS;
        }
        ticks.drain(40..47);
        assert_eq!(pacing_of(&requests(&ticks, 0)), Pacing::Clock);
    }

    #[test]
    fn work_is_no_clock_because_its_deviations_add_up() {
        for limit in [300_000, 3 * MS, 20 * MS] {
            let mut jitter = noise(limit);
            let mut at = 0;
            let times = std::iter::repeat_with(|| {
                at += 10 * MS + jitter();
                at
            });
            let times: Vec<_> = times.take(200).collect();
            assert_eq!(pacing_of(&requests(&times, 0)), Pacing::Work, "{limit}");
        }
    }

    #[test]
    fn a_thread_that_waits_each_time_is_paced_by_its_work() {
        let times: Vec<_> = (0..100).map(|number| number * 8 * MS).collect();
        assert_eq!(pacing_of(&requests(&times, 6 * MS)), Pacing::Work);
    }

    #[test]
    fn a_clock_shows_if_gaps_vary_with_the_waits() {
        let mut wait = noise(8 * MS);
        let mut served = 0;
        let ticks: Vec<_> = (1..100)
            .map(|tick| {
                let at = tick * 10 * MS;
                let (wait, gap) = (wait() + MS, Some(at - served));
                served = at + wait;
                Request { at, wait, gap }
            })
            .collect();
        assert_eq!(pacing_of(&ticks), Pacing::Clock);
    }

    #[test]
    fn few_requests_are_taken_for_a_clock() {
        for count in 0..4 {
            let times: Vec<_> = (0..count).map(|number| number * number * MS).collect();
            assert_eq!(pacing_of(&requests(&times, 0)), Pacing::Clock);
        }
        assert_eq!(pacing_of(&requests(&[5; 40], 0)), Pacing::Work);
    }
}
