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
/// assert!(com::objects_alive() >= 1);
/// # drop(allocator);
/// ```
#[must_use]
pub fn objects_alive() -> usize {
    // Acquire: pairs with the Release below; what the object did is over.
    OBJECTS.load(Ordering::Acquire)
}

/// One of those that are counted.
#[derive(Debug)]
pub(super) struct Alive(());

impl Alive {
    pub(super) fn new() -> Self {
        // Relaxed: whoever makes the object known does so in its own way.
        OBJECTS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `objects_alive`.
        OBJECTS.fetch_sub(1, Ordering::Release);
    }
}
