//! Clock that takes less time to read than the operations that it times.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Returns the current time in ticks of unknown length.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the instruction.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        u64::try_from(epoch().elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn epoch() -> &'static Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    EPOCH.get_or_init(Instant::now)
}

/// Returns the length of a tick in nanoseconds. The first call measures it.
pub(crate) fn nanoseconds_per_tick() -> f64 {
    static LENGTH: OnceLock<f64> = OnceLock::new();
    *LENGTH.get_or_init(|| {
        let (began, first) = (Instant::now(), ticks());
        std::thread::sleep(Duration::from_millis(20));
        let (elapsed, passed) = (began.elapsed(), ticks() - first);
        elapsed.as_secs_f64() * 1e9 / passed as f64
    })
}
