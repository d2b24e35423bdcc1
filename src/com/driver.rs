//! Hook for clients that can reach a kernel-streaming driver.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use super::layouts::KSALLOCATOR_FRAMING;

/// Creation of kernel allocators by drivers, for `KsCreateAllocatorAndGetHandle`.
///
/// This crate contains no driver backend. A program that has one passes it to
/// [`ComAllocator::with_driver`](super::ComAllocator::with_driver). On Windows such a backend calls
/// `KsCreateAllocator` with the handle of the pin's file object.
pub trait KsDriver: Send + Sync {
    /// Creates an allocator with this framing in the driver of `pin`. Returns its handle, or NULL
    /// if that fails.
    ///
    /// `pin` is an `IKsPin` of the caller. The allocator object stores the handle and returns it
    /// from `KsGetAllocatorHandle`. This crate never closes the handle.
    ///
    /// ```
    /// use std::ffi::c_void;
    /// use std::ptr::{self, NonNull};
    ///
    /// use ks_allocator::PoolAllocator;
    /// use ks_allocator::com::{ComAllocator, IKsAllocatorEx, KSALLOCATOR_FRAMING, KsDriver};
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

/// The default: creates no allocators.
pub(super) struct NoDriver;

impl KsDriver for NoDriver {
    fn create_allocator(&self, _: NonNull<c_void>, _: &KSALLOCATOR_FRAMING) -> *mut c_void {
        ptr::null_mut()
    }
}
