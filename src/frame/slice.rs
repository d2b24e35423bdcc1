//! Part of a shared frame, with a handle of its own.

use std::fmt;
use std::ops::{Bound, Deref, Range, RangeBounds};

use super::shared::SharedFrame;

/// Range of the bytes of a shared frame, made by [`SharedFrame::slice`]. It is one more handle of
/// the frame.
///
/// ```
/// use ks_allocator::{FramePool, FrameSlice};
///
/// let pool = FramePool::builder().frames(1).frame_size(12).build()?;
/// let mut frame = pool.acquire()?;
/// frame.copy_from_slice(b"headpacket..");
/// let packet: FrameSlice = frame.share().slice(4..10).expect("in range");
/// let copy = packet.clone();
/// drop(packet);
/// assert_eq!(&*copy, b"packet");
/// assert_eq!(pool.free_frames(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FrameSlice {
    frame: SharedFrame,
    /// Within the bytes in use, whose number does not change while the frame is shared.
    range: Range<usize>,
}

impl SharedFrame {
    /// Returns a range of the bytes in use with a handle of its own, or `None` if the frame has
    /// fewer bytes. Copies nothing.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?.share();
    /// assert_eq!(frame.slice(60..).map(|slice| slice.len()), Some(4));
    /// assert!(frame.slice(..65).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Option<FrameSlice> {
        let range = range_within(self.len(), &range)?;
        let frame = self.clone();
        Some(FrameSlice { frame, range })
    }
}

impl FrameSlice {
    /// Returns a range of these bytes, or `None` if there are fewer.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let half = pool.acquire()?.share().slice(32..).expect("in range");
    /// assert_eq!(half.slice(8..=9).map(|slice| slice.range()), Some(40..42));
    /// assert!(half.slice(..33).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Option<Self> {
        let within = range_within(self.range.len(), &range)?;
        let start = self.range.start + within.start;
        Some(Self {
            frame: self.frame.clone(),
            range: start..start + within.len(),
        })
    }

    /// Returns the range of the frame's bytes.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let slice = pool.acquire()?.share().slice(..8).expect("in range");
    /// assert_eq!(slice.range(), 0..8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Returns the frame.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let slice = pool.acquire()?.share().slice(..8).expect("in range");
    /// assert_eq!(slice.frame().metadata().sequence, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frame(&self) -> &SharedFrame {
        &self.frame
    }
}

/// Returns the range in numbers, or `None` if it does not lie within `length`.
fn range_within(length: usize, range: &impl RangeBounds<usize>) -> Option<Range<usize>> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.checked_add(1)?,
        Bound::Excluded(&end) => end,
        Bound::Unbounded => length,
    };
    (start <= end && end <= length).then_some(start..end)
}

impl Deref for FrameSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.frame[self.range.clone()]
    }
}

impl AsRef<[u8]> for FrameSlice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for FrameSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameSlice")
            .field("frame", &self.frame)
            .field("range", &self.range)
            .finish()
    }
}
