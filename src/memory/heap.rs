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
