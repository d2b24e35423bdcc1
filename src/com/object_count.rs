//! Counting what is alive, so that a library with this crate in it knows when it may be unloaded.

use crate::sync::{AtomicUsize, Ordering};

static OBJECTS: AtomicUsize = AtomicUsize::new(0);

/// How many allocators, and pools whose frames were lent as samples, are alive.
///
/// A library that hands out objects of this crate may be unloaded when there are none: it is what
/// `DllCanUnloadNow` asks. Samples need no count of their own, for they keep their pool alive.
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
    // Acquire: pairs with the Release below; what the object did is over.
    OBJECTS.load(Ordering::Acquire)
}

/// One of those that are counted.
#[derive(Debug)]
pub(super) struct ObjectCount(());

impl ObjectCount {
    pub(super) fn new() -> Self {
        // Relaxed: whoever makes the object known does so in its own way.
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
