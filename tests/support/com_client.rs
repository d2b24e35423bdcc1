//! A COM client that calls an allocator through the interfaces of the crate.

#![expect(unsafe_code, reason = "calls COM methods")]

use std::ffi::c_void;
use std::ptr;

use ks_allocator::PoolAllocator;
use ks_allocator::com::{
    ComAllocator, GetBufferFlags, IMediaSample2, IMemAllocator, IMemAllocatorCallbackTemp, S_OK,
};
use windows_core::{HRESULT, Interface};

/// Makes a COM object of an allocator and commits it by COM.
pub(crate) fn committed_com_allocator(
    allocator: PoolAllocator,
) -> (ComAllocator, IMemAllocatorCallbackTemp) {
    let allocator = ComAllocator::new(allocator);
    let client: IMemAllocatorCallbackTemp = allocator
        .cast()
        .expect("an allocator has all interfaces of an allocator");
    // SAFETY: `client` counts a reference on the object; the method takes no arguments.
    assert_eq!(unsafe { client.Commit() }, S_OK);
    (allocator, client)
}

/// Calls `GetBuffer`. Fails with any result but `S_OK`.
pub(crate) fn get_buffer(
    client: &IMemAllocator,
    flags: GetBufferFlags,
) -> Result<IMediaSample2, HRESULT> {
    let mut sample: *mut c_void = ptr::null_mut();
    // SAFETY: `sample` can be written, and the two times may be NULL.
    let result =
        unsafe { client.GetBuffer(&raw mut sample, ptr::null(), ptr::null(), flags.bits()) };
    match result {
        // SAFETY: on success the pointer is that of a sample, whose table is the one of
        // `IMediaSample2`, and the caller owns one reference on it.
        S_OK => Ok(unsafe { IMediaSample2::from_raw(sample) }),
        error => Err(error),
    }
}
