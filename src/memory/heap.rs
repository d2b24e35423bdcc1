//! Heap allocation that reports failure.

#[cfg(feature = "windows")]
use std::alloc::{Layout, alloc};

use crate::error::CommitError;

/// Creates a vector with a capacity of at least `count` values.
///
/// Clients choose the number of frames, so a heap that is too small is an error and not an abort.
pub(crate) fn try_with_capacity<T>(count: usize) -> Result<Vec<T>, CommitError> {
    let mut values = Vec::new();
    match values.try_reserve_exact(count) {
        Ok(()) => Ok(values),
        Err(_) => Err(CommitError::OutOfMemory {
            bytes: count.saturating_mul(size_of::<T>()),
        }),
    }
}

/// Moves a value to the heap. Returns it if there is no memory.
///
/// `Box::new` ends the process then, and its fallible form is unstable.
#[cfg(feature = "windows")]
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, T> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(value)); // allocates nothing
    }
    // SAFETY: the layout has a size, as checked above.
    let block: *mut T = unsafe { alloc(layout) }.cast();
    if block.is_null() {
        return Err(value);
    }
    // SAFETY: the block is new, and has the size and the alignment of a `T`.
    unsafe { block.write(value) };
    // SAFETY: the block was allocated by the global allocator with the layout of a `T`, as that of
    // a `Box`, holds a `T`, and belongs to this function alone.
    Ok(unsafe { Box::from_raw(block) })
}
