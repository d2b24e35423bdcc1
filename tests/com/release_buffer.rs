//! `ReleaseBuffer` of `IMemAllocator`. Only samples may call it. A call by a client is refused and
//! changes nothing.

use std::ffi::c_void;
use std::ptr;

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};

use crate::client::{Allocator, check_in_each_state};
use crate::objects::Callback;
use crate::vtables::*;

#[test]
fn a_null_pointer_returns_e_pointer() {
    check_in_each_state(
        |allocator| allocator.release_buffer(ptr::null_mut()),
        [
            (E_POINTER, Uncommitted),
            (E_POINTER, Committed),
            (E_POINTER, Decommitting),
        ],
    );
}

#[test]
fn a_sample_of_another_allocator_is_refused() {
    let (allocator, other) = (Allocator::committed(2, 64), Allocator::committed(2, 64));
    let sample = other.sample();
    assert_eq!(allocator.release_buffer(sample.as_ptr()), E_INVALIDARG);
    assert_eq!(sample.references(), 1);
    drop(sample);
    allocator.assert_all_free(2);
    other.assert_all_free(2);
}

#[test]
fn an_object_that_is_not_a_sample_is_refused() {
    let object = Callback::new();
    let allocator = Allocator::committed(2, 64);
    for pointer in [
        object.as_ptr(),
        allocator.ks.as_ptr(),
        allocator.mem.as_ptr(),
    ] {
        assert_eq!(allocator.release_buffer(pointer), E_INVALIDARG);
    }
    assert_eq!((object.references(), object.calls()), (0, 0));
    allocator.assert_all_free(2);
}

#[test]
fn an_invalid_address_is_refused_without_an_access() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let inside = sample.as_ptr();
    let mut invalid: Vec<*mut c_void> = [1, 8, 0xDEAD_BEE8, 0x7FF8, usize::MAX, usize::MAX - 7]
        .map(ptr::without_provenance_mut)
        .into();
    // Addresses near a sample, and that of its buffer.
    invalid.extend([1, 4, 8, 16].map(|bytes| inside.wrapping_byte_add(bytes)));
    invalid.extend([1, 8].map(|bytes| inside.wrapping_byte_sub(bytes)));
    invalid.push(sample.data().cast());
    for pointer in invalid {
        assert_eq!(
            allocator.release_buffer(pointer),
            E_INVALIDARG,
            "{pointer:?}"
        );
    }
    drop(sample);
    allocator.assert_all_free(2);
}

#[test]
fn a_sample_with_references_is_refused() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let other = sample.clone();
    assert_eq!(allocator.release_buffer(sample.as_ptr()), E_UNEXPECTED);
    drop(other);
    assert_eq!(allocator.release_buffer(sample.as_ptr()), E_UNEXPECTED);
    assert_eq!(sample.references(), 1);
    assert_eq!(allocator.free_count(), 1);
    // `GetBuffer` does not return it a second time.
    let second = allocator.sample();
    assert_ne!(second.as_ptr(), sample.as_ptr());
    assert_eq!(allocator.get_buffer(NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
    assert_eq!(sample.release(), 0);
    drop(second);
    allocator.assert_all_free(2);
}

#[test]
fn a_free_sample_is_refused() {
    let allocator = Allocator::committed(2, 64);
    let object = allocator.sample().as_ptr();
    for _ in 0..3 {
        assert_eq!(allocator.release_buffer(object), E_UNEXPECTED);
    }
    allocator.assert_all_free(2);
    allocator.decommit();
    assert_eq!(allocator.release_buffer(object), E_UNEXPECTED);
    allocator.commit();
    allocator.assert_all_free(2);
}

#[test]
fn a_sample_that_is_out_during_a_decommit_is_refused() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    allocator.decommit();
    assert_eq!(allocator.release_buffer(sample.as_ptr()), E_UNEXPECTED);
    assert_eq!(allocator.state(), Decommitting);
    drop(sample);
    assert_eq!(allocator.state(), Uncommitted);
}

#[test]
fn a_sample_of_freed_memory_is_refused() {
    let allocator = Allocator::committed(2, 64);
    let object = allocator.sample().as_ptr();
    allocator.decommit();
    allocator.set_properties(properties(200, 64, 1, 0));
    assert!(allocator.release_buffer(object).is_failure());
    allocator.commit();
    assert!(allocator.release_buffer(object).is_failure());
    allocator.assert_all_free(200);
}

#[test]
fn an_allocator_without_samples_refuses_every_sample() {
    let other = Allocator::committed(1, 64);
    let sample = other.sample();
    for allocator in [Allocator::new(), Allocator::uncommitted(2, 64)] {
        assert_eq!(allocator.release_buffer(sample.as_ptr()), E_INVALIDARG);
    }
}

#[test]
fn a_refused_call_does_not_call_the_callback() {
    let callback = Callback::new();
    let allocator = Allocator::committed(2, 64);
    allocator.set_notify(callback.as_ptr());
    let sample = allocator.sample();
    allocator.release_buffer(sample.as_ptr());
    allocator.release_buffer(ptr::null_mut());
    assert_eq!(callback.calls(), 0);
    drop(sample);
    assert_eq!(callback.calls(), 1);
    allocator.set_notify(ptr::null_mut());
}
