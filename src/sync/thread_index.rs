//! Small indices of threads, and the ids of threads in reports.
//!
//! An index below [`RECYCLED_INDICES`] is recycled: it belongs to one thread at a time, and to the
//! next one after that thread has ended. Threads that find all of these in use have a higher index,
//! which is not recycled.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::os_thread;

/// Number of indices that are recycled: one bit each in `TAKEN`.
pub(crate) const RECYCLED_INDICES: usize = 64;

/// Bit *k* is set while a thread has index *k*.
static TAKEN: AtomicU64 = AtomicU64::new(0);
static USED: AtomicUsize = AtomicUsize::new(0);
static NEXT_UNRECYCLED: AtomicUsize = AtomicUsize::new(0);

// No destructor, so that the index can be read while other thread-locals are destroyed.
thread_local!(static INDEX: Cell<usize> = const { Cell::new(usize::MAX) });
thread_local!(static RETURN_AT_EXIT: ReturnAtExit = const { ReturnAtExit });

/// Returns the highest recycled index that any thread has had so far, plus 1.
pub(crate) fn recycled_indices_used() -> usize {
    USED.load(Ordering::Relaxed)
}

/// Returns the index of the calling thread, which no other thread has at the same time.
///
/// It is the lowest index that was free at the thread's first call, and does not change.
/// Exception: a thread with a recycled index changes to a higher one while its thread-locals are
/// destroyed.
#[inline]
pub(crate) fn thread_index() -> usize {
    INDEX.with(|index| match index.get() {
        usize::MAX => assign_index(index),
        known => known,
    })
}

/// Returns the system's id of the calling thread, or its [`thread_index`] on systems without ids.
#[inline]
pub(crate) fn thread_id() -> u32 {
    thread_local!(static ID: Cell<u32> = const { Cell::new(u32::MAX) });
    ID.with(|id| match id.get() {
        u32::MAX => assign_id(id),
        known => known,
    })
}

#[cold]
fn assign_id(id: &Cell<u32>) -> u32 {
    let index = || u32::try_from(thread_index()).unwrap_or(0);
    id.set(os_thread::id().unwrap_or_else(index));
    id.get()
}

#[cold]
fn assign_index(index: &Cell<usize>) -> usize {
    // If `RETURN_AT_EXIT` is already destroyed, the thread could not return a recycled index.
    let recycled = RETURN_AT_EXIT.try_with(|_| take_recycled()).ok().flatten();
    index.set(recycled.unwrap_or_else(next_unrecycled));
    index.get()
}

fn next_unrecycled() -> usize {
    // Relaxed: the indices only have to differ. If the counter overflows they repeat, but stay
    // above the recycled ones.
    let next = NEXT_UNRECYCLED.fetch_add(1, Ordering::Relaxed);
    RECYCLED_INDICES + next % (usize::MAX - RECYCLED_INDICES)
}

fn take_recycled() -> Option<usize> {
    let mut taken = TAKEN.load(Ordering::Relaxed);
    loop {
        let index = taken.trailing_ones();
        let bit = 1_u64.checked_shl(index)?;
        // Acquire: pairs with the Release in the drop of `ReturnAtExit`. Everything that the last
        // thread with this index did under it happens before.
        match TAKEN.compare_exchange_weak(taken, taken | bit, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => {
                // Relaxed: readers run a fence first.
                USED.fetch_max(index as usize + 1, Ordering::Relaxed);
                return Some(index as usize);
            }
            Err(now) => taken = now,
        }
    }
}

/// Returns the recycled index of a thread when the thread ends.
struct ReturnAtExit;

impl Drop for ReturnAtExit {
    fn drop(&mut self) {
        INDEX.with(|index| {
            let recycled = index.get();
            if recycled < RECYCLED_INDICES {
                // First, because thread-locals that are destroyed later may still read the index.
                index.set(next_unrecycled());
                // Release: pairs with the Acquire in `take_recycled`.
                TAKEN.fetch_and(!(1 << recycled), Ordering::Release);
            }
        });
    }
}
