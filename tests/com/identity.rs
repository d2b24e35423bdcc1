//! `IUnknown`: who answers to what, at which address, and how references are counted.

use std::ffi::c_void;
use std::ptr;

use ks_allocator::PoolAllocator;
use ks_allocator::com::{self, ComAllocator};

use crate::client::{Allocator, Com, RUBBISH};
use crate::vtables::*;

const OF_AN_ALLOCATOR: [Guid; 5] = [
    IID_IUNKNOWN,
    IID_IKS_ALLOCATOR,
    IID_IKS_ALLOCATOR_EX,
    IID_IMEM_ALLOCATOR,
    IID_IMEM_ALLOCATOR_CALLBACK_TEMP,
];
const OF_A_SAMPLE: [Guid; 3] = [IID_IUNKNOWN, IID_IMEDIA_SAMPLE, IID_IMEDIA_SAMPLE2];

#[test]
fn an_allocator_has_two_faces_and_the_first_is_its_identity() {
    let allocator = Allocator::new();
    for iid in &OF_AN_ALLOCATOR {
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
fn a_sample_has_one_face() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    for iid in &OF_A_SAMPLE {
        assert_eq!(sample.query(iid), (S_OK, sample.as_ptr()), "{iid:?}");
    }
}

#[test]
fn what_an_object_is_not_it_refuses_and_nulls_the_pointer() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let refused = (E_NOINTERFACE, ptr::null_mut());
    for iid in &FOREIGN_IIDS {
        assert_eq!(allocator.ks.query(iid), refused, "{iid:?}");
        assert_eq!(allocator.mem.query(iid), refused, "{iid:?}");
        assert_eq!(sample.query(iid), refused, "{iid:?}");
    }
    for iid in &OF_A_SAMPLE[1..] {
        assert_eq!(allocator.ks.query(iid), refused, "{iid:?}");
        assert_eq!(allocator.mem.query(iid), refused, "{iid:?}");
    }
    for iid in &OF_AN_ALLOCATOR[1..] {
        assert_eq!(sample.query(iid), refused, "{iid:?}");
    }
    assert_eq!(allocator.references(), 2);
    assert_eq!(sample.references(), 1);
}

#[test]
fn every_part_of_an_identifier_counts() {
    let allocator = Allocator::new();
    for iid in &OF_AN_ALLOCATOR[1..] {
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
fn without_a_place_for_the_pointer_it_is_e_pointer() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    for iid in OF_AN_ALLOCATOR.iter().chain(&FOREIGN_IIDS) {
        assert_eq!(allocator.ks.query_interface(Some(iid), None), E_POINTER);
        assert_eq!(allocator.mem.query_interface(Some(iid), None), E_POINTER);
    }
    for iid in OF_A_SAMPLE.iter().chain(&FOREIGN_IIDS) {
        assert_eq!(sample.query_interface(Some(iid), None), E_POINTER);
    }
    assert_eq!(allocator.references(), 2);
    assert_eq!(sample.references(), 1);
}

#[test]
fn without_an_identifier_it_is_e_pointer_and_the_pointer_is_nulled() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let check = |query: &dyn Fn(Out<'_, *mut c_void>) -> Hresult| {
        let mut pointer = RUBBISH;
        assert_eq!(query(Some(&mut pointer)), E_POINTER);
        assert!(pointer.is_null());
        assert_eq!(query(None), E_POINTER);
    };
    check(&|out| allocator.ks.query_interface(None, out));
    check(&|out| allocator.mem.query_interface(None, out));
    check(&|out| sample.query_interface(None, out));
}

#[test]
fn into_unknown_gives_one_reference_on_the_identity() {
    let pointer = com::into_unknown(PoolAllocator::new()).as_ptr();
    // SAFETY: it is an IUnknown, and its one reference is ours.
    let unknown = unsafe { Com::<Unknown>::adopt(pointer) };
    assert_eq!(unknown.references(), 1);
    assert_eq!(unknown.query(&IID_IUNKNOWN), (S_OK, pointer));
    assert_eq!(unknown.query(&IID_IKS_ALLOCATOR_EX), (S_OK, pointer));
    assert_eq!(unknown.leave(), 0);
}

#[test]
fn both_faces_count_the_same_references() {
    let allocator = Allocator::new();
    assert_eq!(allocator.ks.references(), 2);
    assert_eq!(allocator.mem.references(), 2);
    assert_eq!(allocator.ks.add_ref(), 3);
    assert_eq!(allocator.mem.add_ref(), 4);
    assert_eq!(allocator.ks.release(), 3);
    assert_eq!(allocator.mem.release(), 2);
    let another = allocator.mem.cast::<KsAllocator>();
    assert_eq!(allocator.mem.references(), 3);
    assert_eq!(another.leave(), 2);
    assert_eq!(allocator.leave(), 0);
}

#[test]
fn the_count_is_the_clients_own_whatever_the_state() {
    let allocator = Allocator::with(2, 64);
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
fn a_sample_counts_from_one_to_none() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    assert_eq!(sample.references(), 1);
    assert_eq!(sample.add_ref(), 2);
    assert_eq!(sample.add_ref(), 3);
    assert_eq!(sample.release(), 2);
    assert_eq!(sample.release(), 1);
    let other = sample.cast::<MediaSample>();
    assert_eq!(sample.references(), 2);
    assert_eq!(other.leave(), 1);
    assert_eq!(sample.leave(), 0);
}

#[test]
fn a_sample_that_is_handed_out_again_counts_from_one_again() {
    let allocator = Allocator::committed(1, 64);
    for _ in 0..3 {
        let sample = allocator.sample();
        let other = sample.clone();
        assert_eq!(other.references(), 2);
        assert_eq!(other.leave(), 1);
        assert_eq!(sample.leave(), 0);
    }
}

#[test]
fn rust_counts_with_the_others() {
    let rust = ComAllocator::new(PoolAllocator::new());
    let clone = rust.clone();
    // SAFETY: it is an IUnknown, and its reference is given away.
    let unknown = unsafe { Com::<Unknown>::adopt(rust.into_raw().as_ptr()) };
    assert_eq!(unknown.references(), 2);
    drop(clone);
    assert_eq!(unknown.references(), 1);

    let mem = unknown.cast::<MemAllocatorCallbackTemp>();
    // SAFETY: it is an interface pointer of an object that is alive.
    let again = unsafe { ComAllocator::from_borrowed(mem.as_ptr()) }.unwrap();
    assert_eq!(unknown.references(), 3);
    assert_eq!(again.into_raw().as_ptr(), unknown.as_ptr());
    // The reference that `into_raw` gave away.
    assert_eq!(unknown.release(), 2);
}

#[test]
fn from_borrowed_knows_its_own() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let callback = crate::objects::Callback::new();
    for (pointer, ours) in [
        (allocator.ks.as_ptr(), true),
        (allocator.mem.as_ptr(), true),
        (sample.as_ptr(), false),
        (callback.as_ptr(), false),
        (ptr::null_mut(), false),
    ] {
        // SAFETY: NULL, or an interface pointer of an object that is alive.
        let found = unsafe { ComAllocator::from_borrowed(pointer) };
        assert_eq!(found.is_some(), ours);
    }
    assert_eq!(allocator.references(), 2);
    assert_eq!(sample.references(), 1);
    assert_eq!(callback.references(), 0);
}
