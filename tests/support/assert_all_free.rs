//! A check that a pool has lost or duplicated no frame.

use std::collections::HashSet;

use ks_allocator::{AcquireError, Frame, FramePool};

/// Asserts that all frames of `pool` are free and that each can be acquired exactly once.
#[track_caller]
pub(crate) fn assert_all_free(pool: &FramePool) {
    let frames = pool.frames();
    assert_eq!(pool.free_frames(), frames);
    let acquire = |number| match pool.try_acquire() {
        Ok(frame) => frame,
        Err(error) => panic!("frame {number} of {frames}: {error}"),
    };
    let held: Vec<_> = (0..frames).map(acquire).collect();
    let slots: HashSet<_> = held.iter().map(Frame::slot).collect();
    assert_eq!(slots.len(), frames);
    assert_eq!(pool.free_frames(), 0);
    let surplus = pool.try_acquire();
    assert!(
        matches!(surplus, Err(AcquireError::Exhausted(_))),
        "{surplus:?}"
    );
    drop(held);
    assert_eq!(pool.free_frames(), frames);
}
