//! Atomics and locks before whose accesses threads are preempted at random: in builds with
//! `--cfg ks_allocator_preempt`.
//!
//! A test that many threads run then meets interleavings that are rare otherwise, at any number of
//! processors. A weak exchange also fails at random, as it may.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// Defines an atomic before whose accesses threads are preempted.
macro_rules! atomic {
    (
        $name:ident, $value:ty;
        $($method:ident($($argument:ident: $type:ty),+) $(-> $result:ty)?;)+
    ) => {
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(std::sync::atomic::$name);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            $(pub(crate) fn $method(&self, $($argument: $type),+) $(-> $result)? {
                preempt();
                self.0.$method($($argument),+)
            })+

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                preempt();
                if random() % 16 == 0 {
                    return Err(self.0.load(failure));
                }
                self.0.compare_exchange_weak(current, new, success, failure)
            }
        }
    };
}

with_methods!(atomic! AtomicU64, u64);
with_methods!(atomic! AtomicUsize, usize);

/// The mutex of other builds, before whose locking threads are preempted.
#[derive(Debug)]
pub(crate) struct NoAllocMutex<T>(super::unmodeled::Mutex<T>);

impl<T> NoAllocMutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(super::unmodeled::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        preempt();
        self.0.lock()
    }
}

/// Something to do before an access.
struct Stop {
    /// Number of accesses before that one.
    left: usize,
    run: Box<dyn FnOnce()>,
}

std::thread_local!(static STOP: Cell<Option<Stop>> = const { Cell::new(None) });

/// Calls `run` before an access of the calling thread: before the next one if the number is 0,
/// before the one after that if it is 1, and so on.
pub fn stop_before_access(number: usize, run: impl FnOnce() + 'static) {
    let (left, run) = (number, Box::new(run));
    STOP.set(Some(Stop { left, run }));
}

/// Calls the function that is to be called before this access, if there is one.
fn stop() {
    // The thread may be about to end.
    let Ok(Some(mut stop)) = STOP.try_with(Cell::take) else {
        return;
    };
    match stop.left.checked_sub(1) {
        Some(left) => {
            stop.left = left;
            STOP.set(Some(stop));
        }
        None => (stop.run)(),
    }
}

/// Lets other threads run now and then. Each thread is slow at times: it then waits for others
/// before every access, so that what it has read is out of date.
fn preempt() {
    /// Number of accesses for which a thread is slow.
    const SLOW: u32 = 32;
    std::thread_local!(static LEFT: Cell<u32> = const { Cell::new(0) });
    stop();
    let left = LEFT.get();
    if left == 0 {
        match random() % 512 {
            0 => LEFT.set(SLOW),
            1..32 => thread::yield_now(),
            _ => {}
        }
        return;
    }
    LEFT.set(left - 1);
    match random() % 16 {
        0 => thread::sleep(Duration::from_micros(50)),
        _ => thread::yield_now(),
    }
}

/// Returns the next number of a xorshift generator of the calling thread.
fn random() -> u64 {
    std::thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });
    let mut state = STATE.get();
    if state == 0 {
        // The address differs from thread to thread, and from run to run.
        state = STATE.with(|state| std::ptr::from_ref(state).addr() as u64) | 1;
        state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    STATE.set(state);
    state >> 20
}
