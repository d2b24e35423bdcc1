//! A wait with a time limit for progress of another thread.

use std::io::{Write as _, stderr};
use std::panic::Location;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Yields until `condition` holds. Ends the process if it does not hold within 60 s.
///
/// A panic could hang instead of failing the test: before it leaves a `thread::scope`, the scope
/// joins its threads, which may be blocked.
#[track_caller]
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > LIMIT {
            let current = thread::current();
            let test = current.name().unwrap_or("unnamed thread");
            let caller = Location::caller();
            let text = format!("{test}: the condition at {caller} did not hold within {LIMIT:?}\n");
            // The test harness captures `eprintln!` and shows it only after the test ends.
            let _written = stderr().write_all(text.as_bytes());
            process::exit(101);
        }
        thread::yield_now();
    }
}
