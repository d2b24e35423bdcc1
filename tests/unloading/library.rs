//! Library that the test `unloading` loads at run time and unloads, with a copy of the crate of its
//! own.

#![expect(unsafe_code, reason = "exports functions by name")]

use std::any::TypeId;

use ks_allocator::FramePool;

/// Identifies the build of the crate that this library was linked with.
#[unsafe(no_mangle)]
pub fn library_crate() -> TypeId {
    TypeId::of::<FramePool>()
}

/// Uses pools with guard pages, and calls `meanwhile` while there are some.
#[unsafe(no_mangle)]
pub fn library_use_guard_pages(meanwhile: fn()) {
    for _ in 0..3 {
        let pools = [(); 2].map(|()| {
            let builder = FramePool::builder().frames(2).frame_size(64);
            builder.guard_pages(true).build().expect("there is memory")
        });
        drop(pools.each_ref().map(FramePool::acquire));
        meanwhile();
    }
}
