//! Load on a pool, the same for both copies of the crate.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ks_allocator::FramePool;

/// Acquires and releases frames until `stop` is set. Returns the number of frames that had another
/// owner at the same time.
pub(crate) fn hammer(
    pool: &FramePool,
    stop: &AtomicBool,
    owners: &[AtomicUsize],
    me: usize,
) -> usize {
    let mut doubles = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..100 {
            let Ok(frame) = pool.try_acquire() else {
                continue;
            };
            doubles += usize::from(owners[frame.slot()].swap(me, Ordering::Relaxed) != 0);
            doubles += usize::from(owners[frame.slot()].swap(0, Ordering::Relaxed) != me);
        }
    }
    doubles
}
