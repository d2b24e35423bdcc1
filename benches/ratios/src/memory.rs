//! Memory for contenders that only manage frame numbers.

/// Frames in one leaked block of memory.
pub(crate) struct Memory {
    base: *mut u8,
    stride: usize,
}

// SAFETY: `base` is only an address here. It is dereferenced by the holder of a frame number
// alone, and the block is never freed.
unsafe impl Sync for Memory {}
// SAFETY: the block belongs to no thread, and is never freed.
unsafe impl Send for Memory {}

impl Memory {
    /// Makes `frames` zeroed frames of `size` bytes. Their distance is a cache line more than
    /// their size, as in `ks-allocator`: at a distance of 4 KiB all of them would start in the
    /// same set of the first-level cache.
    pub(crate) fn new(frames: usize, size: usize) -> Self {
        let stride = size.next_multiple_of(64) + 64;
        let words = vec![0_u64; frames * stride / 8];
        Self {
            base: words.leak().as_mut_ptr().cast(),
            stride,
        }
    }

    /// Returns the address of the first byte of frame `number`, a multiple of 8.
    #[inline(always)]
    pub(crate) fn start(&self, number: usize) -> *mut u8 {
        self.base.wrapping_add(number * self.stride)
    }
}
