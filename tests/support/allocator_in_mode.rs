//! An uncommitted allocator in User or Kernel mode.

use ks_allocator::{AllocatorMode, Framing, KsAllocator as _, PoolAllocator};

/// Creates an allocator with a mode and a framing.
#[track_caller]
pub(crate) fn allocator_in_mode(mode: AllocatorMode, framing: Framing) -> PoolAllocator {
    let allocator = PoolAllocator::with_framing(framing).expect("the framing should be valid");
    let changed = allocator.set_allocator_mode(mode);
    changed.expect("the mode of an uncommitted allocator can change");
    allocator
}
