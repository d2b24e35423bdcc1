//! What a frame shows of its last owner's bytes.

/// What becomes of the bytes in a frame, and in its prefix, between two owners.
///
/// ```
/// use ks_allocator::{Contents, FramePool};
///
/// let builder = FramePool::builder().frames(1).frame_size(4);
/// for (contents, seen) in [
///     (Contents::Keep, b"seen"),
///     (Contents::ZeroOnAcquire, &[0; 4]),
///     (Contents::ZeroOnRelease, &[0; 4]),
/// ] {
///     let pool = builder.clone().contents(contents).build()?;
///     pool.acquire()?.copy_from_slice(b"seen");
///     assert_eq!(&*pool.acquire()?, seen);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Contents {
    /// The next owner sees what the last one left. Costs nothing, and what was just written is still in
    /// the cache.
    #[default]
    Keep,
    /// Every owner starts with zeroes, which are written when it acquires the frame, and so into its own
    /// cache.
    ZeroOnAcquire,
    /// What an owner leaves is gone when the frame is back in the pool: nothing of it lies in memory,
    /// or is there for another process to see, while the frame is free.
    ZeroOnRelease,
}
