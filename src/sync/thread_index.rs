//! Small indices of threads, and the ids of threads in reports.
//!
//! An index below [`RECYCLED_INDICES`] is recycled: it belongs to one thread at a time, and to the
//! next one after that thread has ended. Threads that find all of these in use have a higher index,
//! which is not recycled.
//!
//! A thread returns its index when its thread-locals are destroyed. It cannot if it first needs an
//! index later, for example in the destructor of a pthread key, because no destructor runs for it
//! any more. So on Linux and Android a thread that finds no index free asks the system which of the
//! threads with an index have ended, and takes the index of one of them.
//!
//! | bit *k* of `TAKEN` | `OWNERS[k]` | index *k* |
//! |---|---|---|
//! | 0 | `UNKNOWN` | is free |
//! | 1 | `UNKNOWN` | is being assigned or returned, or the system has no thread ids |
//! | 1 | an owner | belongs to the owner, or to a thread that replaces an ended owner |
//!
//! # Invariants
//!
//! - **X1** The thread that sets a bit of `TAKEN`, or replaces an owner that has ended by
//!   `UNKNOWN`, has the index from then on. Only that thread stores an owner or clears the bit.
//! - **X2** An owner has ended if the system has no thread with its id in this process. A value of
//!   an owner is used again after 2^20 assignments at the earliest (a serial number differs if
//!   thread ids repeat), so that an owner that was replaced in the meantime is not replaced again.
//!   After a fork the owners of the parent are left alone: the child has their indices, but not
//!   their ids.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::os_thread;
use super::process::Process;

/// Number of indices that are recycled: one bit each in `TAKEN`.
pub(crate) const RECYCLED_INDICES: usize = 48;

/// Bit *k* is set while a thread has index *k*.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// The thread with index *k*: its id in the lower 22 bits, an id of its process in the next 22
/// bits, and a serial number above.
static OWNERS: [AtomicU64; RECYCLED_INDICES] =
    [const { AtomicU64::new(UNKNOWN) }; RECYCLED_INDICES];
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0);

const UNKNOWN: u64 = 0;
/// Linux has no larger ids.
const ID_BITS: u32 = 22;

static USED: AtomicUsize = AtomicUsize::new(0);
static NEXT_UNRECYCLED: AtomicUsize = AtomicUsize::new(0);

// `docs/process-state.md` says that these three take 24 bytes.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<AtomicU64>() + 2 * size_of::<AtomicUsize>() == 24);

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
    let index = take_free().or_else(take_from_ended)?;
    // Relaxed: the value refers to no other memory.
    OWNERS[index].store(this_owner(), Ordering::Relaxed);
    // Relaxed: readers run a fence first.
    USED.fetch_max(index + 1, Ordering::Relaxed);
    Some(index)
}

/// Returns the calling thread as an owner, or `UNKNOWN` on systems without thread ids.
fn this_owner() -> u64 {
    let id = |id: u32| Some(u64::from(id)).filter(|id| id >> ID_BITS == 0);
    let owner = || {
        let process = this_process()?;
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        Some(id(os_thread::id()?)? | process << ID_BITS | serial << (2 * ID_BITS))
    };
    owner().unwrap_or(UNKNOWN)
}

/// Returns an id of this process that differs from those of all processes that it was forked from,
/// also if the system uses their ids again: the system's id, changed by the number of forks.
fn this_process() -> Option<u64> {
    let forks = Process::current().ok()?.forks();
    let ids = (1 << ID_BITS) - 1;
    let id = u64::from(std::process::id());
    // An odd factor, so that 2^22 successive forks differ.
    Some((id ^ (forks as u64).wrapping_mul(0x9E37_79B9)) & ids)
}

/// Takes the index of a thread that has ended and did not return it (X1, X2).
fn take_from_ended() -> Option<usize> {
    let process = this_process()?;
    let ids = (1 << ID_BITS) - 1;
    OWNERS.iter().position(|place| {
        let owner = place.load(Ordering::Relaxed);
        let of_this_process = owner >> ID_BITS & ids == process;
        let thread = u32::try_from(owner & ids).unwrap_or(0);
        // What the thread did under its index happens before: the system ended the thread, on
        // whatever processor, before it answered that there is none.
        of_this_process
            && os_thread::has_ended(thread)
            && place
                .compare_exchange(owner, UNKNOWN, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    })
}

fn take_free() -> Option<usize> {
    let mut taken = TAKEN.load(Ordering::Relaxed);
    loop {
        let index = taken.trailing_ones() as usize;
        if index >= RECYCLED_INDICES {
            return None;
        }
        let bit = 1 << index;
        // Acquire: pairs with the Release in the drop of `ReturnAtExit`. Everything that the last
        // thread with this index did under it happens before.
        match TAKEN.compare_exchange_weak(taken, taken | bit, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => return Some(index),
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
                OWNERS[recycled].store(UNKNOWN, Ordering::Relaxed);
                // Release: pairs with the Acquire in `take_free`.
                TAKEN.fetch_and(!(1 << recycled), Ordering::Release);
            }
        });
    }
}
