//! Frames of a pool in C, and the pool itself.

use std::ffi::c_void;
use std::ptr::NonNull;

/// A frame that is out, as a pointer from its pool.
#[repr(transparent)]
pub(crate) struct CFrame(pub(crate) NonNull<c_void>);

// SAFETY: all three libraries allow a buffer to be used and released by another thread than the
// one that acquired it.
unsafe impl Send for CFrame {}

/// A pool in C, which is never freed.
pub(crate) struct CPool(NonNull<c_void>);

// SAFETY: all three libraries allow several threads to use a pool at the same time.
unsafe impl Sync for CPool {}

impl CPool {
    pub(crate) fn new(pool: *mut c_void, name: &str) -> Self {
        Self(NonNull::new(pool).unwrap_or_else(|| panic!("{name}: the pool cannot be made")))
    }

    #[inline(always)]
    pub(crate) fn pointer(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}
