//! `IMemAllocatorCallbackTemp`'s `GetFreeCount`: the buffers that were asked for, less those out.

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};

use crate::client::{Allocator, table};
use crate::vtables::*;

#[test]
fn the_free_count_in_each_state() {
    table(
        |allocator| allocator.free_count(),
        [(3, Uncommitted), (3, Committed), (2, Decommitting)],
    );
}

#[test]
fn without_a_place_for_it_it_is_e_pointer() {
    table(
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
fn the_free_count_from_birth_to_new_properties() {
    let allocator = Allocator::new();
    assert_eq!(allocator.free_count(), 0);
    allocator.set(properties(3, 64, 1, 0));
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
    allocator.set(properties(7, 64, 1, 0));
    assert_eq!(allocator.free_count(), 7);
}

#[test]
fn only_a_final_release_counts() {
    let allocator = Allocator::committed(3, 64);
    let sample = allocator.sample();
    let other = sample.clone();
    drop(sample);
    assert_eq!(allocator.free_count(), 2);
    drop(other);
    assert_eq!(allocator.free_count(), 3);
}

#[test]
fn what_cannot_be_committed_counts_as_well() {
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
