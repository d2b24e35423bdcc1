//! The way to the drivers of kernel streaming, for those who have one.

use std::ffi::c_void;
use std::ptr::NonNull;

use super::layouts::KSALLOCATOR_FRAMING;

/// Has drivers make allocators, for `KsCreateAllocatorAndGetHandle`.
///
/// This crate knows no driver. Acquirer does (on Windows, by `KsCreateAllocator` on the handle of the
/// pin's file object) passes one to [`ComAllocator::with_driver`](super::ComAllocator::with_driver).
pub trait KsDriver: Send + Sync {
    /// Has the driver of `pin`, an `IKsPin` of the caller's, make an allocator of this framing.
    /// Returns its handle, or NULL.
    ///
    /// The handle is kept, to be what `KsGetAllocatorHandle` returns, and is never closed by this
    /// crate.
    ///
    /// ```
    /// use std::ffi::c_void;
    /// use std::ptr::{self, NonNull};
    ///
    /// use ks_allocator::PoolAllocator;
    /// use ks_allocator::com::{ComAllocator, KsDriver, IKsAllocatorEx, KSALLOCATOR_FRAMING};
    ///
    /// struct NoDriver;
    ///
    /// impl KsDriver for NoDriver {
    ///     fn create_allocator(&self, _: NonNull<c_void>, _: &KSALLOCATOR_FRAMING) -> *mut c_void {
    ///         ptr::null_mut()
    ///     }
    /// }
    ///
    /// let allocator = ComAllocator::with_driver(PoolAllocator::new(), NoDriver);
    /// let client = allocator.cast::<IKsAllocatorEx>()?;
    /// assert!(unsafe { client.KsCreateAllocatorAndGetHandle(ptr::null_mut()) }.is_null());
    /// # Ok::<(), windows_core::Error>(())
    /// ```
    fn create_allocator(&self, pin: NonNull<c_void>, framing: &KSALLOCATOR_FRAMING) -> *mut c_void;
}

/// What there is by default.
pub(super) struct NoDriver;

impl KsDriver for NoDriver {
    fn create_allocator(&self, _: NonNull<c_void>, _: &KSALLOCATOR_FRAMING) -> *mut c_void {
        std::ptr::null_mut()
    }
}
