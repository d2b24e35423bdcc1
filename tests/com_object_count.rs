//! `object_count`. It counts the objects of the whole process, so this test has its own program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "calls COM methods")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use ks_allocator::com::{
    ComAllocator, E_NOINTERFACE, GetBufferFlags, IMemAllocatorCallbackTemp, S_OK, object_count,
};
use ks_allocator::{Framing, PoolAllocator};
use windows_core::{GUID, HRESULT};

use support::com_client::{committed_com_allocator, get_buffer};

mod support {
    pub(crate) mod com_client;
}

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
    committed_com_allocator(PoolAllocator::with_framing(Framing::new(2, 64)).unwrap())
}

#[test]
fn an_object_is_counted_until_its_code_can_no_longer_run() {
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
    let sample = get_buffer(&client, GetBufferFlags::empty()).unwrap();
    drop((allocator, client));
    assert_eq!(object_count(), 1);
    drop(sample);
    assert_eq!(object_count(), 0);

    // The final release of the last sample is not finished while it calls the client.
    let (allocator, client) = committed();
    // SAFETY: it is an object with this interface. Its methods do not write to it.
    let result = unsafe { client.SetNotify(ptr::from_ref(&CALLBACK).cast_mut().cast()) };
    assert_eq!(result, S_OK);
    let sample = get_buffer(&client, GetBufferFlags::empty()).unwrap();
    drop((allocator, client));
    drop(sample);
    assert_eq!(COUNT_WHEN_NOTIFIED.load(Ordering::Relaxed), 1);
    assert_eq!(COUNT_WHEN_RELEASED.load(Ordering::Relaxed), 1);
    assert_eq!(object_count(), 0);
}
