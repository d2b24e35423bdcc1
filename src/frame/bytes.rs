//! Frames as buffers of the crate `bytes`.

use bytes::buf::UninitSlice;
use bytes::{BufMut, Bytes};

use super::shared::SharedFrame;
use super::slice::FrameSlice;
use super::unique::Frame;

/// Shares the frame and makes [`Bytes`] of its bytes in use, without a copy. The frame is released
/// when the last of them is dropped.
///
/// ```
/// use bytes::Bytes;
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// let mut frame = pool.acquire()?;
/// frame[..4].copy_from_slice(b"head");
/// let address = frame.as_ptr();
/// let mut bytes = Bytes::from(frame);
/// let head = bytes.split_to(4);
/// assert_eq!((head.as_ptr(), &head[..]), (address, &b"head"[..]));
/// drop(bytes);
/// assert_eq!(pool.free_frames(), 0);
/// drop(head);
/// assert_eq!(pool.free_frames(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl From<Frame> for Bytes {
    fn from(frame: Frame) -> Self {
        frame.share().into()
    }
}

/// Makes [`Bytes`] of the bytes in use, without a copy. They are one handle of the frame.
impl From<SharedFrame> for Bytes {
    fn from(frame: SharedFrame) -> Self {
        Self::from_owner(frame)
    }
}

/// Makes [`Bytes`] of the range, without a copy. They are one handle of the frame.
impl From<FrameSlice> for Bytes {
    fn from(slice: FrameSlice) -> Self {
        Self::from_owner(slice)
    }
}

/// Appends to the bytes in use, up to the capacity.
///
/// ```
/// use bytes::BufMut;
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// let mut frame = pool.acquire()?;
/// frame.clear();
/// frame.put_u16(0x4b53);
/// frame.put_slice(b"!");
/// assert_eq!(&*frame, b"KS!");
/// assert_eq!(frame.remaining_mut(), 61);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// SAFETY: `chunk_mut` returns the bytes behind the bytes in use, `remaining_mut` returns their
// number, and `advance_mut` moves the boundary between both.
unsafe impl BufMut for Frame {
    fn remaining_mut(&self) -> usize {
        self.capacity() - self.len()
    }

    /// # Panics
    ///
    /// Panics if `count` is more than [`remaining_mut`](BufMut::remaining_mut).
    unsafe fn advance_mut(&mut self, count: usize) {
        let remaining = self.remaining_mut();
        assert!(
            count <= remaining,
            "cannot advance by {count} bytes: {remaining} remain"
        );
        self.store_len(self.len() + count);
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        UninitSlice::new(self.spare_mut())
    }
}
