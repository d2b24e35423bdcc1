//! Memory that crosses the COM boundary: one side allocates a block, and the other may free it.
//!
//! On Windows the blocks come from `CoTaskMemAlloc` and are freed by `CoTaskMemFree`. Other systems
//! have no such allocator; there `malloc` and `free` are used, which clients in any language can
//! call.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::sys::task;

/// A block of task memory, freed on drop.
#[derive(Debug)]
pub(crate) struct TaskMemory(NonNull<u8>);

impl TaskMemory {
    /// Allocates `bytes` uninitialized bytes, aligned for every type of COM. Returns `None` if
    /// there is no memory.
    pub(crate) fn allocate(bytes: usize) -> Option<Self> {
        // SAFETY: both allocators accept any size and return NULL if they cannot provide it.
        let block = unsafe { task::allocate(bytes) };
        NonNull::new(block.cast()).map(Self)
    }

    /// Takes ownership of a block.
    ///
    /// # Safety
    ///
    /// The block was allocated here or by the same functions, and the caller owns it.
    pub(crate) unsafe fn from_raw(block: NonNull<u8>) -> Self {
        Self(block)
    }

    /// Gives up ownership: the owner of the returned pointer frees the block.
    pub(crate) fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr()
    }
}

impl Drop for TaskMemory {
    fn drop(&mut self) {
        let block: *mut c_void = self.0.as_ptr().cast();
        // SAFETY: the block came from this allocator (see `from_raw`). `self` owns it and is the
        // last user.
        unsafe { task::free(block) };
    }
}
