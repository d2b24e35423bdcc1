//! A clock that is read in a few nanoseconds, where the processor has one.
//!
//! On x86-64 with Linux this is the time stamp counter, if the kernel itself uses it as its clock:
//! then the counter has a constant rate and is the same on all processors. The kernel's clock is
//! the counter, too, but takes several times as long to read. Elsewhere it is the clock of the
//! caller.

/// The source of ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TickClock {
    /// The counter of the processor.
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux", not(miri))),
        expect(dead_code, reason = "no other counter is known to be constant")
    )]
    Counter,
    /// The clock of the caller: a tick is a nanosecond.
    Nanoseconds,
}

impl TickClock {
    /// Returns the fastest clock of this system that has a constant rate.
    pub(crate) fn fastest() -> Self {
        system::fastest()
    }

    /// Returns the time in ticks. `nanoseconds` is the clock of the caller.
    #[inline]
    pub(crate) fn read(self, nanoseconds: impl FnOnce() -> u64) -> u64 {
        match self {
            Self::Counter => system::counter(),
            Self::Nanoseconds => nanoseconds(),
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
mod system {
    use std::fs;
    use std::sync::OnceLock;

    use super::TickClock;

    const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

    pub(super) fn fastest() -> TickClock {
        static FASTEST: OnceLock<TickClock> = OnceLock::new();
        *FASTEST.get_or_init(|| match fs::read(CLOCK_SOURCE) {
            Ok(source) if source == b"tsc\n" => TickClock::Counter,
            _ => TickClock::Nanoseconds,
        })
    }

    #[inline]
    #[expect(
        unsafe_code,
        reason = "an instruction that std has no safe function for"
    )]
    pub(super) fn counter() -> u64 {
        // SAFETY: every x86-64 processor has the instruction. A process may forbid it to itself
        // (`PR_SET_TSC`), and then cannot read the kernel's clock either.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
mod system {
    use super::TickClock;

    pub(super) fn fastest() -> TickClock {
        TickClock::Nanoseconds
    }

    pub(super) fn counter() -> u64 {
        0
    }
}
