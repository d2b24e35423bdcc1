//! The machine that the benchmark runs on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use crate::workers::spin_for;

/// Returns the model of the processor, or its architecture if the system does not name the model.
pub fn name() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = about
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split(':').nth(1));
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |name| name.trim().to_owned(),
    )
}

/// Returns the number of cores that this program may run on.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the operating system and the architecture.
pub fn system() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Returns today's date as year-month-day.
pub fn date() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// Returns the nanoseconds that a cache line takes from one core to another and back: a few
/// hundred between two cores, less than a hundred between two threads of one core. Returns 0 if
/// there is only one core, and NaN if a thread stopped responding.
pub fn cache_line_round_trip() -> f64 {
    const TRIPS: u64 = 250;
    const REPETITIONS: u64 = 4;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let &[first, second, ..] = cores.as_slice() else {
        return 0.0;
    };
    let line = AtomicU64::new(0);
    // The two threads increment the counter alternately, each at its own parity.
    let bounce = |core, parity| {
        core_affinity::set_for_current(core);
        let mut fastest = f64::INFINITY;
        for repetition in 0..REPETITIONS {
            let began = Instant::now();
            for trip in 0..TRIPS {
                let expected = (repetition * TRIPS + trip) * 2 + parity;
                let arrived = || (line.load(Ordering::Acquire) == expected).then_some(());
                if spin_for(arrived).is_none() {
                    return f64::NAN;
                }
                line.store(expected + 1, Ordering::Release);
            }
            fastest = fastest.min(began.elapsed().as_secs_f64() * 1e9 / TRIPS as f64);
        }
        fastest
    };
    thread::scope(|scope| {
        scope.spawn(|| bounce(first, 0));
        let second = scope.spawn(|| bounce(second, 1));
        second.join().unwrap_or(f64::NAN)
    })
}
