//! Policy for the bytes of a frame between a release and the next acquire.

/// Policy for the bytes of a frame, and of its prefix, between a release and the next acquire.
///
/// It is set with [`FramePoolBuilder::contents`](crate::FramePoolBuilder::contents). Zeroing covers
/// the whole capacity of the frame, not just its length.
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
    /// The next acquirer sees the bytes of the last holder. This costs nothing, and bytes that were
    /// written recently are still in the processor's cache.
    #[default]
    Keep,
    /// Every holder starts with zeroes. The acquiring thread writes them, so they are in its
    /// processor's cache.
    ZeroOnAcquire,
    /// The releasing thread zeroes the frame. While the frame is free, nothing of its last contents
    /// is in memory, where another process could see it.
    ZeroOnRelease,
}
