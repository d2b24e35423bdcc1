//! Library that the test `two_copies` loads at run time, with a copy of the crate of its own.

#![expect(unsafe_code, reason = "exports functions by name")]

use std::any::TypeId;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use ks_allocator::{Frame, FramePool, Label};

mod hammer;

/// Identifies the build of the crate that this library was linked with.
#[unsafe(no_mangle)]
pub fn library_crate() -> TypeId {
    TypeId::of::<FramePool>()
}

/// Calls [`hammer`](hammer::hammer) with this copy of the crate.
#[unsafe(no_mangle)]
pub fn plugin_hammer(
    pool: &FramePool,
    stop: &AtomicBool,
    owners: &[AtomicUsize],
    me: usize,
) -> usize {
    hammer::hammer(pool, stop, owners, me)
}

/// Returns a frame that reports attribute to the label `plugin`, and one without a label.
#[unsafe(no_mangle)]
pub fn plugin_acquire(pool: &FramePool) -> [Frame; 2] {
    let frames = [(); 2].map(|()| pool.acquire().expect("the pool is open"));
    frames[0].set_label(Label::new("plugin"));
    let named = pool.holders().to_string();
    assert!(named.contains("held by `plugin`"), "{named}");
    frames
}

/// Returns whether a frame can be acquired and released.
#[unsafe(no_mangle)]
pub fn plugin_can_acquire(pool: &FramePool) -> bool {
    pool.try_acquire().is_ok()
}

/// Drops the last handle of a pool.
#[unsafe(no_mangle)]
pub fn plugin_drop(pool: FramePool) {
    drop(pool);
}
