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

/// Types that have a value of zero bytes.
///
/// # Safety
///
/// All bytes of a value may be zero.
#[cfg(not(all(test, loom)))]
pub(crate) unsafe trait FromZeroes {}

/// Creates a vector of one value of zero bytes. The value is created in its place on the heap: a
/// large value would not fit on the stack of every thread.
#[cfg(not(all(test, loom)))]
pub(crate) fn try_zeroed<T: FromZeroes>() -> Result<Vec<T>, CommitError> {
    let mut values = try_with_capacity::<T>(1)?;
    // SAFETY: the vector has the capacity for one value, and nothing else refers to it.
    unsafe { values.as_mut_ptr().write_bytes(0, 1) };
    // SAFETY: the first value was filled with zeroes above, which make a value of this type.
    unsafe { values.set_len(1) };
    Ok(values)
}
