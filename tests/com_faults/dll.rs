//! The DLL of the example, called as functions of this program.

use std::ffi::c_void;
use std::ptr;

use ks_allocator::com::{ComAllocator, E_INVALIDARG, IMemAllocator, S_OK};
use windows_core::{GUID, HRESULT, IUnknown, Interface};

use crate::ksallocator_dll::{KSALLOCATOR_PREFAULT, KsAllocatorCreate, KsAllocatorCreateWithFlags};
use crate::{commit, set_properties};

/// Creates an allocator by one of the functions of the DLL, and commits it.
fn committed(create: impl FnOnce(*const GUID, *mut *mut c_void) -> HRESULT) -> ComAllocator {
    let mut pointer = ptr::null_mut();
    assert_eq!(create(&IMemAllocator::IID, &raw mut pointer), S_OK);
    // SAFETY: it is this interface, with one reference, which belongs to the result.
    let client = unsafe { IMemAllocator::from_raw(pointer) };
    assert_eq!(set_properties(&client, 32, 1 << 20), S_OK);
    assert_eq!(commit(&client), S_OK);
    // SAFETY: it is an interface pointer.
    unsafe { ComAllocator::from_borrowed(client.as_raw()) }.unwrap()
}

#[test]
fn an_allocator_of_the_dll_touches_its_memory_only_on_request() {
    let plain = committed(|riid, out| {
        // SAFETY: both pointers are valid.
        unsafe { KsAllocatorCreate(riid, out) }
    });
    let without = committed(|riid, out| {
        // SAFETY: both pointers are valid.
        unsafe { KsAllocatorCreateWithFlags(riid, 0, out) }
    });
    let with = committed(|riid, out| {
        // SAFETY: both pointers are valid.
        unsafe { KsAllocatorCreateWithFlags(riid, KSALLOCATOR_PREFAULT, out) }
    });
    for (allocator, prefaults) in [(plain, false), (without, false), (with, true)] {
        let report = allocator.commit_report().unwrap();
        assert_eq!(report.requested.prefault, prefaults);
        // Unknown on systems that cannot measure it.
        if let Some(resident) = report.resident {
            assert_eq!(resident == report.bytes, prefaults, "{report}");
        }
    }
}

#[test]
fn an_unknown_flag_creates_no_allocator() {
    let mut pointer = ptr::dangling_mut();
    for flags in [2, 3, 1 << 31] {
        // SAFETY: both pointers are valid.
        let result = unsafe { KsAllocatorCreateWithFlags(&IUnknown::IID, flags, &raw mut pointer) };
        assert_eq!(result, E_INVALIDARG);
        assert!(pointer.is_null());
    }
}
