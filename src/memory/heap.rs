//! Heap allocation that reports failure.

use std::alloc::{Layout, alloc};
use std::mem::MaybeUninit;

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

/// Allocates memory for a value.
///
/// `Box::new_uninit` ends the process if there is none, and its fallible form is unstable.
pub(crate) fn try_box_uninit<T>() -> Result<Box<MaybeUninit<T>>, CommitError> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new_uninit()); // allocates nothing
    }
    // SAFETY: the layout has a size, as checked above.
    let block: *mut MaybeUninit<T> = unsafe { alloc(layout) }.cast();
    if block.is_null() {
        return Err(CommitError::OutOfMemory {
            bytes: layout.size(),
        });
    }
    // SAFETY: the block was allocated by the global allocator with the layout of a `T`, as that of
    // a `Box`, and belongs to this function alone. It need not be initialized.
    Ok(unsafe { Box::from_raw(block) })
}

/// Moves a value to the heap. Returns it if there is no memory.
#[cfg(feature = "windows")]
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, T> {
    let Ok(mut boxed) = try_box_uninit() else {
        return Err(value);
    };
    boxed.write(value);
    // SAFETY: it was initialized in the line above.
    Ok(unsafe { boxed.assume_init() })
}
