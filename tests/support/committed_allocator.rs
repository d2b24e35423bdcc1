//! A committed allocator with the default options.

use ks_allocator::{Framing, KsAllocator as _, PoolAllocator};

/// Commits an allocator of `frames` frames of `frame_size` bytes each.
#[track_caller]
pub(crate) fn committed_allocator(frames: usize, frame_size: usize) -> PoolAllocator {
    let framing = Framing::new(frames, frame_size);
    let allocator = PoolAllocator::with_framing(framing).expect("the framing should be valid");
    allocator.commit().expect("the commit should succeed");
    allocator
}
