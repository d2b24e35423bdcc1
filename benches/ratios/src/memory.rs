//! Memory for the contenders that only deal in numbers of frames.

/// Frames in one leaked piece, which somebody else numbers out.
pub(crate) struct Memory {
    base: *mut u8,
    stride: usize,
}

// SAFETY: this is an address; what lies there is written by whoever was given the number.
unsafe impl Sync for Memory {}
// SAFETY: likewise.
unsafe impl Send for Memory {}

impl Memory {
    /// The frames lie a cache line further apart than their size, as those of `ks-allocator` do: at a
    /// distance of 4 KiB they would all begin in one set of the first-level cache.
    pub(crate) fn new(frames: usize, size: usize) -> Self {
        let stride = size.next_multiple_of(64) + 64;
        let words = vec![0_u64; frames * stride / 8];
        Self {
            base: words.leak().as_mut_ptr().cast(),
            stride,
        }
    }

    #[inline(always)]
    pub(crate) fn start(&self, number: usize) -> *mut u8 {
        self.base.wrapping_add(number * self.stride)
    }
}
