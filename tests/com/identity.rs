//! `IUnknown`: identity, supported interfaces, and reference counts.

use std::ffi::c_void;
use std::ptr;

use ks_allocator::PoolAllocator;
use ks_allocator::com::{self, ComAllocator};

use crate::client::{Allocator, Com, GARBAGE};
use crate::vtables::*;

const ALLOCATOR_IIDS: [Guid; 5] = [
    IID_IUNKNOWN,
    IID_IKS_ALLOCATOR,
    IID_IKS_ALLOCATOR_EX,
    IID_IMEM_ALLOCATOR,
    IID_IMEM_ALLOCATOR_CALLBACK_TEMP,
];
const SAMPLE_IIDS: [Guid; 3] = [IID_IUNKNOWN, IID_IMEDIA_SAMPLE, IID_IMEDIA_SAMPLE2];

#[test]
fn an_allocator_has_two_interface_pointers_and_the_first_is_its_identity() {
    let allocator = Allocator::new();
    for iid in &ALLOCATOR_IIDS {
        let first = [IID_IUNKNOWN, IID_IKS_ALLOCATOR, IID_IKS_ALLOCATOR_EX].contains(iid);
        let expected = if first {
            allocator.ks.as_ptr()
        } else {
            allocator.mem.as_ptr()
        };
        assert_eq!(allocator.ks.query(iid), (S_OK, expected), "{iid:?}");
        assert_eq!(allocator.mem.query(iid), (S_OK, expected), "{iid:?}");
    }
    assert_ne!(allocator.ks.as_ptr(), allocator.mem.as_ptr());
}

#[test]
fn a_sample_has_one_interface_pointer() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    for iid in &SAMPLE_IIDS {
        assert_eq!(sample.query(iid), (S_OK, sample.as_ptr()), "{iid:?}");
    }
}

#[test]
fn an_unsupported_interface_returns_e_nointerface_and_null() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let unsupported = (E_NOINTERFACE, ptr::null_mut());
    for iid in &FOREIGN_IIDS {
        assert_eq!(allocator.ks.query(iid), unsupported, "{iid:?}");
        assert_eq!(allocator.mem.query(iid), unsupported, "{iid:?}");
        assert_eq!(sample.query(iid), unsupported, "{iid:?}");
    }
    for iid in &SAMPLE_IIDS[1..] {
        assert_eq!(allocator.ks.query(iid), unsupported, "{iid:?}");
        assert_eq!(allocator.mem.query(iid), unsupported, "{iid:?}");
    }
    for iid in &ALLOCATOR_IIDS[1..] {
        assert_eq!(sample.query(iid), unsupported, "{iid:?}");
    }
    assert_eq!(allocator.references(), 2);
    assert_eq!(sample.references(), 1);
}

#[test]
fn all_bytes_of_an_identifier_are_compared() {
    let allocator = Allocator::new();
    for iid in &ALLOCATOR_IIDS[1..] {
        let mut others = [*iid; 11];
        others[0].0 ^= 1;
        others[1].1 ^= 1;
        others[2].2 ^= 1;
        for (byte, other) in others[3..].iter_mut().enumerate() {
            other.3[byte] ^= 0x80;
        }
        for other in &others {
            assert_eq!(allocator.query(other), (E_NOINTERFACE, ptr::null_mut()));
        }
    }
}

#[test]
fn a_null_out_pointer_returns_e_pointer() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    for iid in ALLOCATOR_IIDS.iter().chain(&FOREIGN_IIDS) {
        assert_eq!(allocator.ks.query_interface(Some(iid), None), E_POINTER);
        assert_eq!(allocator.mem.query_interface(Some(iid), None), E_POINTER);
    }
    for iid in SAMPLE_IIDS.iter().chain(&FOREIGN_IIDS) {
        assert_eq!(sample.query_interface(Some(iid), None), E_POINTER);
    }
    assert_eq!(allocator.references(), 2);
    assert_eq!(sample.references(), 1);
}

#[test]
fn a_null_identifier_returns_e_pointer_and_null() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let check = |query: &dyn Fn(OutPtr<'_, *mut c_void>) -> Hresult| {
        let mut pointer = GARBAGE;
        assert_eq!(query(Some(&mut pointer)), E_POINTER);
        assert!(pointer.is_null());
        assert_eq!(query(None), E_POINTER);
    };
    check(&|out| allocator.ks.query_interface(None, out));
    check(&|out| allocator.mem.query_interface(None, out));
    check(&|out| sample.query_interface(None, out));
}

#[test]
fn into_unknown_returns_the_identity_with_one_reference() {
    let pointer = com::into_unknown(PoolAllocator::new()).as_ptr();
    // SAFETY: it is an IUnknown pointer that comes with one reference.
    let unknown = unsafe { Com::<Unknown>::from_raw(pointer) };
    assert_eq!(unknown.references(), 1);
    assert_eq!(unknown.query(&IID_IUNKNOWN), (S_OK, pointer));
    assert_eq!(unknown.query(&IID_IKS_ALLOCATOR_EX), (S_OK, pointer));
    assert_eq!(unknown.release(), 0);
}

#[test]
fn both_interface_pointers_share_one_reference_count() {
    let allocator = Allocator::new();
    assert_eq!(allocator.ks.references(), 2);
    assert_eq!(allocator.mem.references(), 2);
    assert_eq!(allocator.ks.add_ref(), 3);
    assert_eq!(allocator.mem.add_ref(), 4);
    assert_eq!(allocator.ks.release_raw(), 3);
    assert_eq!(allocator.mem.release_raw(), 2);
    let another = allocator.mem.cast::<KsAllocator>();
    assert_eq!(allocator.mem.references(), 3);
    assert_eq!(another.release(), 2);
    assert_eq!(allocator.release(), 0);
}

#[test]
fn the_reference_count_is_independent_of_the_state() {
    let allocator = Allocator::uncommitted(2, 64);
    let count = || allocator.references();
    assert_eq!(count(), 2, "uncommitted");
    allocator.commit();
    allocator.commit();
    assert_eq!(count(), 2, "committed, twice");
    let sample = allocator.sample();
    assert_eq!(count(), 2, "with a buffer out");
    allocator.decommit();
    assert_eq!(count(), 2, "decommitting");
    allocator.commit();
    assert_eq!(count(), 2, "committed again");
    allocator.decommit();
    drop(sample);
    assert_eq!(count(), 2, "decommitted");
}

#[test]
fn a_sample_counts_its_references_from_one_to_zero() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    assert_eq!(sample.references(), 1);
    assert_eq!(sample.add_ref(), 2);
    assert_eq!(sample.add_ref(), 3);
    assert_eq!(sample.release_raw(), 2);
    assert_eq!(sample.release_raw(), 1);
    let other = sample.cast::<MediaSample>();
    assert_eq!(sample.references(), 2);
    assert_eq!(other.release(), 1);
    assert_eq!(sample.release(), 0);
}

#[test]
fn a_reused_sample_starts_with_one_reference() {
    let allocator = Allocator::committed(1, 64);
    for _ in 0..3 {
        let sample = allocator.sample();
        let other = sample.clone();
        assert_eq!(other.references(), 2);
        assert_eq!(other.release(), 1);
        assert_eq!(sample.release(), 0);
    }
}

#[test]
fn rust_handles_count_as_references() {
    let rust = ComAllocator::new(PoolAllocator::new());
    let clone = rust.clone();
    // SAFETY: it is an IUnknown pointer, whose reference `into_raw` gives up.
    let unknown = unsafe { Com::<Unknown>::from_raw(rust.into_raw().as_ptr()) };
    assert_eq!(unknown.references(), 2);
    drop(clone);
    assert_eq!(unknown.references(), 1);

    let mem = unknown.cast::<MemAllocatorCallbackTemp>();
    // SAFETY: it is an interface pointer, and `mem` keeps the object alive.
    let again = unsafe { ComAllocator::from_borrowed(mem.as_ptr()) }.unwrap();
    assert_eq!(unknown.references(), 3);
    assert_eq!(again.into_raw().as_ptr(), unknown.as_ptr());
    // The reference that `into_raw` gave up.
    assert_eq!(unknown.release_raw(), 2);
}

#[test]
fn from_borrowed_accepts_only_allocators_of_the_crate() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let callback = crate::objects::Callback::new();
    for (pointer, is_allocator) in [
        (allocator.ks.as_ptr(), true),
        (allocator.mem.as_ptr(), true),
        (sample.as_ptr(), false),
        (callback.as_ptr(), false),
        (ptr::null_mut(), false),
    ] {
        // SAFETY: NULL, or an interface pointer of an object that is alive.
        let found = unsafe { ComAllocator::from_borrowed(pointer) };
        assert_eq!(found.is_some(), is_allocator);
    }
    assert_eq!(allocator.references(), 2);
    assert_eq!(sample.references(), 1);
    assert_eq!(callback.references(), 0);
}
