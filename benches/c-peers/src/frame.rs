//! A frame of a pool in C, and the pool.

use std::ffi::c_void;
use std::ptr::NonNull;

/// A frame that is out, as its pool names it.
#[repr(transparent)]
pub(crate) struct CFrame(pub(crate) NonNull<c_void>);

// SAFETY: all three libraries let a buffer wander from thread to thread.
unsafe impl Send for CFrame {}

/// The pool.
pub(crate) struct CPool(NonNull<c_void>);

// SAFETY: all three libraries let any thread use a pool at any time.
unsafe impl Sync for CPool {}

impl CPool {
    pub(crate) fn new(pool: *mut c_void, what: &str) -> Self {
        Self(NonNull::new(pool).unwrap_or_else(|| panic!("{what}: no pool was made")))
    }

    #[inline(always)]
    pub(crate) fn pointer(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}
