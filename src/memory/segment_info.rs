//! Address and geometry of a segment, for registrations with devices.

use std::ops::Range;
use std::ptr::NonNull;

use crate::framing::FrameLayout;

/// Address and geometry of a pool's segment: see
/// [`FramePool::segment`](crate::FramePool::segment).
///
/// The memory exists as long as the pool has handles or frames that are out. The memory of an
/// allocator exists until the allocator is committed with another framing or mode. With
/// [guard pages](crate::FramePoolBuilder::guard_pages), only frames that are out are accessible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Address of the first byte. It is a multiple of 4,096.
    pub base: NonNull<u8>,
    /// Size in bytes.
    pub bytes: usize,
    /// Bytes from `base` to the first frame, after its prefix.
    pub first: usize,
    /// Bytes from one frame to the next.
    pub stride: usize,
    /// Number of frames.
    pub frames: usize,
    /// Bytes before each frame that belong to it.
    pub prefix: usize,
}

/// Part of a segment that consists of whole frames: see [`SegmentInfo::chunks`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentChunk {
    /// Address of the first byte.
    pub base: NonNull<u8>,
    /// Size in bytes.
    pub bytes: usize,
    /// Slots whose frames lie in the chunk.
    pub slots: Range<usize>,
}

// SAFETY: the value is an address and numbers. Access to the memory is the business of unsafe code
// that uses the address.
unsafe impl Send for SegmentInfo {}
// SAFETY: as for `Send`.
unsafe impl Sync for SegmentInfo {}
// SAFETY: as for `SegmentInfo`.
unsafe impl Send for SegmentChunk {}
// SAFETY: as for `SegmentInfo`.
unsafe impl Sync for SegmentChunk {}

impl SegmentInfo {
    /// Describes a segment whose first frame is `first` bytes behind `base`.
    pub(crate) fn new(layout: &FrameLayout, base: NonNull<u8>, first: usize) -> Self {
        Self {
            base,
            bytes: layout.total,
            first,
            stride: layout.stride,
            frames: layout.framing.frames,
            prefix: layout.framing.prefix,
        }
    }

    /// Returns whether all of `bytes` lie in the segment, for a check that data was not copied.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// assert!(pool.segment().contains(&frame[8..]));
    /// assert!(!pool.segment().contains(&frame.to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn contains(&self, bytes: &[u8]) -> bool {
        let offset = bytes.as_ptr().addr().checked_sub(self.base.addr().get());
        let end = offset.and_then(|offset| offset.checked_add(bytes.len()));
        end.is_some_and(|end| end <= self.bytes)
    }

    /// Returns the frames in chunks of at most `max` bytes, for interfaces that limit the size of a
    /// registration. Returns `None` if the distance between two frames is larger than `max`.
    ///
    /// A chunk begins with the prefix of its first frame and is a multiple of the stride. What lies
    /// before the first frame and behind the last is in no chunk.
    ///
    /// ```
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(10).frame_size(1000).prefix(24).build()?;
    /// let segment = pool.segment();
    /// let chunks: Vec<_> = segment.chunks(4 * segment.stride).expect("4 frames each").collect();
    /// assert_eq!(chunks[1].slots, 4..8);
    /// assert_eq!(chunks.iter().map(|chunk| chunk.bytes).sum::<usize>(), 10 * segment.stride);
    /// assert!(segment.chunks(999).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn chunks(&self, max: usize) -> Option<impl Iterator<Item = SegmentChunk> + use<>> {
        let segment = *self;
        let per_chunk = max.checked_div(self.stride).filter(|&frames| frames > 0)?;
        let starts = (0..self.frames).step_by(per_chunk);
        Some(starts.map(move |first| {
            let end = first.saturating_add(per_chunk).min(segment.frames);
            segment.chunk(first..end)
        }))
    }

    fn chunk(&self, slots: Range<usize>) -> SegmentChunk {
        let start = slots.start.saturating_mul(self.stride);
        let start = start.saturating_add(self.first.saturating_sub(self.prefix));
        // Wrapping, because a user may have changed the fields.
        let base = self.base.as_ptr().wrapping_add(start);
        SegmentChunk {
            base: NonNull::new(base).unwrap_or(self.base),
            bytes: slots.len().saturating_mul(self.stride),
            slots,
        }
    }
}
