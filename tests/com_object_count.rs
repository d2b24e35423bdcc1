//! `object_count`. The count is for the whole process, so this is a test program of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "calls interfaces as a client does")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use ks_allocator::com::{
    ComAllocator, E_NOINTERFACE, IMediaSample2, IMemAllocatorCallbackTemp, S_OK, object_count,
};
use ks_allocator::{Framing, PoolAllocator};
use windows_core::{GUID, HRESULT, Interface};

/// A static callback object that records the object count when it is called.
#[repr(C)]
struct Callback(&'static Table);

#[repr(C)]
struct Table(
    unsafe extern "system" fn(*mut c_void, *const GUID, *mut *mut c_void) -> HRESULT,
    unsafe extern "system" fn(*mut c_void) -> u32,
    unsafe extern "system" fn(*mut c_void) -> u32,
    unsafe extern "system" fn(*mut c_void) -> HRESULT,
);

static TABLE: Table = Table(query_interface, add_ref, release, notify_release);
static CALLBACK: Callback = Callback(&TABLE);
static COUNT_WHEN_NOTIFIED: AtomicUsize = AtomicUsize::new(0);
static COUNT_WHEN_RELEASED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "system" fn query_interface(
    _: *mut c_void,
    _: *const GUID,
    _: *mut *mut c_void,
) -> HRESULT {
    E_NOINTERFACE
}

unsafe extern "system" fn add_ref(_: *mut c_void) -> u32 {
    1
}

unsafe extern "system" fn release(_: *mut c_void) -> u32 {
    COUNT_WHEN_RELEASED.store(object_count(), Ordering::Relaxed);
    1
}

unsafe extern "system" fn notify_release(_: *mut c_void) -> HRESULT {
    COUNT_WHEN_NOTIFIED.store(object_count(), Ordering::Relaxed);
    S_OK
}

fn committed() -> (ComAllocator, IMemAllocatorCallbackTemp) {
    let framing = Framing::new(2, 64);
    let allocator = ComAllocator::new(PoolAllocator::with_framing(framing).unwrap());
    let client: IMemAllocatorCallbackTemp = allocator.cast().unwrap();
    // SAFETY: `client` is a reference to the object, and there are no arguments.
    assert_eq!(unsafe { client.Commit() }, S_OK);
    (allocator, client)
}

fn get_buffer(client: &IMemAllocatorCallbackTemp) -> IMediaSample2 {
    let mut sample: *mut c_void = ptr::null_mut();
    // SAFETY: `sample` can be written, and the optional pointers are NULL.
    let result = unsafe { client.GetBuffer(&raw mut sample, ptr::null(), ptr::null(), 0) };
    assert_eq!(result, S_OK);
    // SAFETY: it is a sample with one reference, which belongs to the result.
    unsafe { IMediaSample2::from_raw(sample) }
}

#[test]
fn an_object_is_counted_until_its_code_cannot_run_any_more() {
    assert_eq!(object_count(), 0);
    let (allocator, client) = committed();
    assert_eq!(
        object_count(),
        2,
        "the allocator, and the pool that has samples"
    );
    drop((allocator, client));
    assert_eq!(object_count(), 0);

    // A sample that is out keeps its pool alive.
    let (allocator, client) = committed();
    let sample = get_buffer(&client);
    drop((allocator, client));
    assert_eq!(object_count(), 1);
    drop(sample);
    assert_eq!(object_count(), 0);

    // The final release of the last sample is not finished while it calls the client.
    let (allocator, client) = committed();
    // SAFETY: it is an object with this interface. Its methods do not write to it.
    let result = unsafe { client.SetNotify(ptr::from_ref(&CALLBACK).cast_mut().cast()) };
    assert_eq!(result, S_OK);
    let sample = get_buffer(&client);
    drop((allocator, client));
    drop(sample);
    assert_eq!(COUNT_WHEN_NOTIFIED.load(Ordering::Relaxed), 1);
    assert_eq!(COUNT_WHEN_RELEASED.load(Ordering::Relaxed), 1);
    assert_eq!(object_count(), 0);
}
