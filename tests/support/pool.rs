//! A committed pool with the default options.

use ks_allocator::FramePool;

/// Builds a pool of `frames` frames of `frame_size` bytes each.
#[track_caller]
pub(crate) fn pool(frames: usize, frame_size: usize) -> FramePool {
    let builder = FramePool::builder().frames(frames).frame_size(frame_size);
    builder.build().expect("the pool should build")
}
