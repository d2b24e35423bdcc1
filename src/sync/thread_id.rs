//! Ids of threads in reports.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use super::os_thread;

/// Returns the system's id of the calling thread. On systems without ids, returns a number that is
/// counted per copy of the crate.
#[inline(always)]
pub(crate) fn thread_id() -> u32 {
    const UNKNOWN: u32 = u32::MAX;
    // No destructor, so that the id can be read while other thread-locals are destroyed.
    thread_local!(static ID: Cell<u32> = const { Cell::new(UNKNOWN) });
    ID.with(|id| match id.get() {
        UNKNOWN => {
            id.set(find());
            id.get()
        }
        known => known,
    })
}

#[cold]
fn find() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    os_thread::id().unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed))
}
