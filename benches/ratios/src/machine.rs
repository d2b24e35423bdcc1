//! What the numbers were measured on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use crate::crew::spin_for;

/// The processor, if the system says which it is.
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

/// Cores that this program may run on.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The system, and the kind of processor.
pub fn system() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Today, as year-month-day.
pub fn date() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

/// Nanoseconds that a cache line takes from one core to another and back: a few hundred between cores,
/// under a hundred if the two are one core's. 0 if there is only one.
pub fn line_round_trip() -> f64 {
    const TRIPS: u64 = 250;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let &[first, second, ..] = cores.as_slice() else {
        return 0.0;
    };
    let line = AtomicU64::new(0);
    // Whose turn it is says the lowest bit.
    let play = |core, parity| {
        core_affinity::set_for_current(core);
        let mut fastest = f64::INFINITY;
        for game in 0..4 {
            let began = Instant::now();
            for trip in 0..TRIPS {
                let turn = (game * TRIPS + trip) * 2 + parity;
                let mine = || (line.load(Ordering::Acquire) == turn).then_some(());
                if spin_for(mine).is_none() {
                    return f64::NAN;
                }
                line.store(turn + 1, Ordering::Release);
            }
            fastest = fastest.min(began.elapsed().as_secs_f64() * 1e9 / TRIPS as f64);
        }
        fastest
    };
    thread::scope(|scope| {
        scope.spawn(|| play(first, 0));
        let second = scope.spawn(|| play(second, 1));
        second.join().unwrap_or(f64::NAN)
    })
}
