//! Start of other processes, one at a time.

#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::io;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Calls `start` while no other thread does. `start` starts a process, and can wait for its end.
///
/// Windows and Wine sometimes refuse to start a process while another one starts, so `start` is
/// called up to 10 times there. It is called once on other systems.
#[track_caller]
pub(crate) fn start_process<T>(mut start: impl FnMut() -> io::Result<T>) -> T {
    let _guard = ONE_AT_A_TIME.lock();
    let mut tries = if cfg!(windows) { 10 } else { 1 };
    loop {
        tries -= 1;
        match start() {
            Ok(started) => return started,
            Err(error) if tries == 0 => panic!("the process did not start: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}
