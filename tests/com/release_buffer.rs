//! `IMemAllocator`'s `ReleaseBuffer`, which is the sample's to call. From a client it is misuse: it
//! is refused, and the pool stays as it was.

use std::ffi::c_void;
use std::ptr;

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};

use crate::client::{Allocator, table};
use crate::objects::Callback;
use crate::vtables::*;

#[test]
fn no_sample_is_e_pointer() {
    table(
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
    allocator.check_whole(2);
    other.check_whole(2);
}

#[test]
fn an_object_that_is_no_sample_is_refused() {
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
    allocator.check_whole(2);
}

#[test]
fn an_address_that_is_nobodys_is_refused_without_a_look() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let inside = sample.as_ptr();
    let mut nobodys: Vec<*mut c_void> = [1, 8, 0xDEAD_BEE8, 0x7FF8, usize::MAX, usize::MAX - 7]
        .map(ptr::without_provenance_mut)
        .into();
    // Near a sample, and the data of one.
    nobodys.extend([1, 4, 8, 16].map(|bytes| inside.wrapping_byte_add(bytes)));
    nobodys.extend([1, 8].map(|bytes| inside.wrapping_byte_sub(bytes)));
    nobodys.push(sample.data().cast());
    for pointer in nobodys {
        assert_eq!(
            allocator.release_buffer(pointer),
            E_INVALIDARG,
            "{pointer:?}"
        );
    }
    drop(sample);
    allocator.check_whole(2);
}

#[test]
fn a_sample_that_is_held_is_refused() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let other = sample.clone();
    assert_eq!(allocator.release_buffer(sample.as_ptr()), E_UNEXPECTED);
    drop(other);
    assert_eq!(allocator.release_buffer(sample.as_ptr()), E_UNEXPECTED);
    assert_eq!(sample.references(), 1);
    assert_eq!(allocator.free_count(), 1);
    // It is not issued a second time.
    let second = allocator.sample();
    assert_ne!(second.as_ptr(), sample.as_ptr());
    assert_eq!(allocator.get_buffer(NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
    assert_eq!(sample.leave(), 0);
    drop(second);
    allocator.check_whole(2);
}

#[test]
fn a_sample_that_is_free_is_refused() {
    let allocator = Allocator::committed(2, 64);
    let object = allocator.sample().as_ptr();
    for _ in 0..3 {
        assert_eq!(allocator.release_buffer(object), E_UNEXPECTED);
    }
    allocator.check_whole(2);
    allocator.decommit();
    assert_eq!(allocator.release_buffer(object), E_UNEXPECTED);
    allocator.commit();
    allocator.check_whole(2);
}

#[test]
fn a_sample_that_is_held_over_a_decommit_is_refused() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    allocator.decommit();
    assert_eq!(allocator.release_buffer(sample.as_ptr()), E_UNEXPECTED);
    assert_eq!(allocator.state(), Decommitting);
    drop(sample);
    assert_eq!(allocator.state(), Uncommitted);
}

#[test]
fn a_sample_of_memory_that_is_gone_is_nobodys() {
    let allocator = Allocator::committed(2, 64);
    let object = allocator.sample().as_ptr();
    allocator.decommit();
    allocator.set(properties(200, 64, 1, 0));
    assert!(allocator.release_buffer(object).is_failure());
    allocator.commit();
    assert!(allocator.release_buffer(object).is_failure());
    allocator.check_whole(200);
}

#[test]
fn an_allocator_without_samples_knows_none() {
    let other = Allocator::committed(1, 64);
    let sample = other.sample();
    for allocator in [Allocator::new(), Allocator::with(2, 64)] {
        assert_eq!(allocator.release_buffer(sample.as_ptr()), E_INVALIDARG);
    }
}

#[test]
fn nobody_is_notified_of_what_is_refused() {
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
