//! Memory that crosses the COM boundary: one side allocates it, the other may free it.
//!
//! On Windows it is the task allocator's (`CoTaskMemAlloc`, `CoTaskMemFree`); elsewhere, where there
//! is no such thing, the C library's (`malloc`, `free`), which a client in any language can reach.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A block of task memory; freed on drop, unless it was given away.
#[derive(Debug)]
pub(crate) struct TaskMemory(NonNull<u8>);

impl TaskMemory {
    /// A block of `bytes` uninitialised bytes, aligned for any type of COM's; `None` if there is no
    /// memory.
    pub(crate) fn allocate(bytes: usize) -> Option<Self> {
        // SAFETY: any number of bytes may be asked for.
        let block = unsafe { system::allocate(bytes) };
        NonNull::new(block.cast()).map(Self)
    }

    /// Takes a block over.
    ///
    /// # Safety
    ///
    /// The block came from here or from the same allocator's functions, and is the caller's.
    pub(crate) unsafe fn from_raw(block: NonNull<u8>) -> Self {
        Self(block)
    }

    /// Gives the block away, to be freed by whoever has the pointer.
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
        // SAFETY: the block is this allocator's and ours, and goes with us.
        unsafe { system::free(block) };
    }
}

#[cfg(windows)]
mod system {
    pub(super) use windows_sys::Win32::System::Com::{
        CoTaskMemAlloc as allocate, CoTaskMemFree as free,
    };
}

#[cfg(unix)]
mod system {
    use super::c_void;

    unsafe extern "C" {
        #[link_name = "malloc"]
        pub(super) fn allocate(bytes: usize) -> *mut c_void;
        #[link_name = "free"]
        pub(super) fn free(block: *mut c_void);
    }
}
