//! `GetFreeCount` of `IMemAllocatorCallbackTemp`: the number of requested buffers that are not out.

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};

use crate::client::{Allocator, check_in_each_state};
use crate::vtables::*;

#[test]
fn the_free_count_excludes_outstanding_buffers_in_each_state() {
    check_in_each_state(
        |allocator| allocator.free_count(),
        [(3, Uncommitted), (3, Committed), (2, Decommitting)],
    );
}

#[test]
fn a_null_pointer_returns_e_pointer() {
    check_in_each_state(
        |allocator| allocator.free_count_into(None),
        [
            (E_POINTER, Uncommitted),
            (E_POINTER, Committed),
            (E_POINTER, Decommitting),
        ],
    );
    assert_eq!(Allocator::new().free_count_into(None), E_POINTER);
}

#[test]
fn the_free_count_follows_properties_acquires_and_releases() {
    let allocator = Allocator::new();
    assert_eq!(allocator.free_count(), 0);
    allocator.set_properties(properties(3, 64, 1, 0));
    assert_eq!(allocator.free_count(), 3);
    allocator.commit();
    assert_eq!(allocator.free_count(), 3);
    let (first, second) = (allocator.sample(), allocator.sample());
    assert_eq!(allocator.free_count(), 1);
    allocator.decommit();
    assert_eq!(allocator.free_count(), 1);
    drop(first);
    assert_eq!(allocator.free_count(), 2);
    drop(second);
    assert_eq!(allocator.free_count(), 3);
    allocator.set_properties(properties(7, 64, 1, 0));
    assert_eq!(allocator.free_count(), 7);
}

#[test]
fn only_the_final_release_increments_the_free_count() {
    let allocator = Allocator::committed(3, 64);
    let sample = allocator.sample();
    let other = sample.clone();
    drop(sample);
    assert_eq!(allocator.free_count(), 2);
    drop(other);
    assert_eq!(allocator.free_count(), 3);
}

#[test]
fn the_free_count_follows_properties_that_cannot_be_committed() {
    for request in [
        properties(3, 0, 1, 0),
        properties(3, -64, 1, 0),
        properties(3, 64, 1, -1),
        properties(3, i32::MAX, 65_536, 0),
        properties(i32::MAX, i32::MAX, 65_536, i32::MAX),
        properties(-3, 64, 1, 0),
    ] {
        let allocator = Allocator::with_properties(request);
        assert!(allocator.commit().is_failure());
        assert_eq!(allocator.free_count(), request.buffers, "{request:?}");
    }
}
