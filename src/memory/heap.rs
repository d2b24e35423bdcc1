//! Heap allocation that reports failure.

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

/// Types that have a value of zero bytes.
///
/// # Safety
///
/// All bytes of a value may be zero.
#[cfg(not(loom))]
pub(crate) unsafe trait FromZeroes {}

/// Creates a vector of one value of zero bytes. The value is created in its place on the heap: a
/// large value would not fit on the stack of every thread.
#[cfg(not(loom))]
pub(crate) fn try_zeroed<T: FromZeroes>() -> Result<Vec<T>, CommitError> {
    let mut values = try_with_capacity::<T>(1)?;
    // SAFETY: the vector has the capacity for one value, and nothing else refers to it.
    unsafe { values.as_mut_ptr().write_bytes(0, 1) };
    // SAFETY: the first value was filled with zeroes above, which make a value of this type.
    unsafe { values.set_len(1) };
    Ok(values)
}
