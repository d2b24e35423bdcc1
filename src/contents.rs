//! Policy for the bytes of a frame between a release and the next acquire.

/// Policy for the bytes of a frame, and of its prefix, between a release and the next acquire.
///
/// It is set with [`FramePoolBuilder::contents`](crate::FramePoolBuilder::contents). Zeroing covers
/// the whole capacity of the frame, not just its length.
///
/// Holders that must not see each other's bytes, such as the tenants of a server, need a policy
/// other than [`Keep`](Self::Keep). These are the paths on which a holder reads bytes that it has
/// not written:
///
/// | path | `Keep` | the other two |
/// |---|---|---|
/// | an acquired frame, its prefix included | earlier bytes | zeroes |
/// | growing by [`set_len`](crate::Frame::set_len) | earlier bytes | zeroes |
/// | growing a copy of [`make_mut`](crate::SharedFrame::make_mut) | earlier bytes | zeroes |
/// | a frame out of a [`FrameBatch`](crate::FrameBatch), also if put in | earlier bytes | zeroes |
/// | COM: `GetBuffer`, a larger `SetActualDataLength` | earlier bytes | zeroes |
/// | a commit that reuses the memory | earlier bytes | zeroes |
/// | a frame that was [redeemed](crate::FramePool::redeem) or revoked | as lent | as lent |
///
/// Earlier bytes are those of the slot's last holder. A frame that was lent is in one hold from the
/// acquire to the release: it contains what lender and borrower wrote.
///
/// A COM sample keeps the actual data length of its last holder under each policy. A borrower in
/// another process maps all frames of the pool, and so can read each of them while it is out, and
/// under [`ZeroOnAcquire`](Self::ZeroOnAcquire) while it is free. Memory that comes from a
/// [`FrameMemory`](crate::FrameMemory) holds what that left there until the first acquire, or under
/// [`ZeroOnRelease`](Self::ZeroOnRelease) until the first release.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
