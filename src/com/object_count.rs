//! Number of live objects, which tells a library whether it can be unloaded.

use crate::sync::{AtomicUsize, Ordering};

static OBJECTS: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of objects that are alive: allocators, and pools that have samples.
///
/// `DllCanUnloadNow` of a library that contains this crate returns `S_OK` only while the number is
/// 0. Samples are not counted one by one, because each keeps its pool alive.
///
/// ```
/// use ks_allocator::{PoolAllocator, com};
///
/// let allocator = com::ComAllocator::new(PoolAllocator::new());
/// assert!(com::object_count() >= 1);
/// # drop(allocator);
/// ```
#[must_use]
pub fn object_count() -> usize {
    // Acquire: pairs with the Release in `drop`, after the last access of the object.
    OBJECTS.load(Ordering::Acquire)
}

/// Counts one object for as long as this value lives.
#[derive(Debug)]
pub(super) struct ObjectCount(());

impl ObjectCount {
    pub(super) fn new() -> Self {
        // Relaxed: a thread that learns of the object synchronizes with its creator anyway.
        OBJECTS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for ObjectCount {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `object_count`.
        OBJECTS.fetch_sub(1, Ordering::Release);
    }
}
