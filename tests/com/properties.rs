//! `SetProperties` and `GetProperties` of `IMemAllocator`: rounding, alignment, order of checks,
//! and refused requests.

use std::ptr;

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};

use crate::client::{Allocator, AllocatorInState, STATES, check_in_each_state};
use crate::vtables::*;

const NOTHING: Properties = properties(0, 0, 0, 0);

/// Returns the rounded size, or the size of the request if the rounded one does not fit.
fn rounded(request: Properties) -> i32 {
    let whole = i64::from(request.size) + i64::from(request.prefix);
    let align = i64::from(request.align);
    let rounded = (whole + align - 1) / align * align - i64::from(request.prefix);
    i32::try_from(rounded).unwrap_or(request.size)
}

#[test]
fn a_new_allocator_has_zero_properties() {
    assert_eq!(Allocator::new().properties(), NOTHING);
}

#[test]
fn prefix_and_rounded_size_are_a_multiple_of_the_alignment() {
    for (request, size) in [
        (properties(0, 0, 1, 0), 0),
        (properties(1, 0, 1, 0), 0),
        (properties(1, 1, 1, 0), 1),
        (properties(1, 4, 1, 0), 4),
        (properties(2, 1, 1, 0), 1),
        (properties(2, 4, 1, 0), 4),
        (properties(1, 1, 16, 0), 16),
        (properties(1, 16, 16, 0), 16),
        (properties(1, 17, 16, 0), 32),
        (properties(1, 32, 16, 0), 32),
        (properties(1, 1, 16, 1), 15),
        (properties(1, 15, 16, 1), 15),
        (properties(1, 16, 16, 1), 31),
        (properties(1, 17, 16, 1), 31),
        (properties(1, 0, 16, 0), 0),
        (properties(1, 1, 16, 16), 16),
        (properties(1, 16, 16, 16), 16),
        (properties(2, 100, 16, 3), 109),
        (properties(1, 1000, 12, 0), 1008),
        (properties(1, 1000, 10, 7), 1003),
        (properties(1, 1, 65_536, 0), 65_536),
        (properties(1, 1, 65_536, 65_536), 65_536),
    ] {
        let actual = Properties { size, ..request };
        let allocator = Allocator::new();
        assert_eq!(
            allocator.set_properties(request),
            (S_OK, actual),
            "{request:?}"
        );
        assert_eq!(allocator.properties(), actual);
        assert_eq!(rounded(request), size, "`rounded` is wrong");
    }
}

#[test]
fn a_size_of_zero_with_a_prefix_is_rounded_up_and_can_be_committed() {
    let allocator = Allocator::committed_with(properties(1, 0, 16, 1));
    assert_eq!(allocator.sample().size(), 15);
}

#[test]
fn every_alignment_up_to_64_kib_is_accepted() {
    let allocator = Allocator::new();
    for align in (1..=65_536).step_by(if cfg!(miri) { 6_553 } else { 1 }) {
        let request = properties(1, 1000, align, 3);
        let actual = Properties {
            size: rounded(request),
            ..request
        };
        assert_eq!(allocator.set_properties(request), (S_OK, actual));
    }
}

#[test]
fn every_other_alignment_is_refused() {
    let allocator = Allocator::uncommitted(3, 64);
    let bad = [
        0,
        -1,
        -16,
        -65_536,
        i32::MIN,
        65_537,
        131_072,
        131_073,
        196_608,
        262_144,
        i32::MAX,
    ];
    for align in bad {
        let request = properties(1, 1000, align, 0);
        assert_eq!(
            allocator.set_properties(request),
            (VFW_E_BADALIGN, NOTHING),
            "{align}"
        );
        assert_eq!(allocator.properties(), properties(3, 64, 1, 0));
    }
}

#[test]
fn set_properties_does_not_modify_the_request() {
    let allocator = Allocator::new();
    for request in [properties(2, 100, 16, 3), properties(2, 100, 0, 3)] {
        let (before, mut actual) = (request, NOTHING);
        allocator.set_properties_at(&raw const request, &raw mut actual);
        assert_eq!(request, before);
    }
}

#[test]
fn request_and_actual_can_be_the_same() {
    let allocator = Allocator::new();
    let mut both = properties(2, 100, 16, 3);
    let address = &raw mut both;
    assert_eq!(allocator.set_properties_at(address, address), S_OK);
    assert_eq!(both, properties(2, 109, 16, 3));
    assert_eq!(allocator.properties(), both);
}

#[test]
fn request_and_actual_can_overlap() {
    let allocator = Allocator::new();
    let mut words = [2, 100, 16, 3, -1, -1];
    let start: *mut i32 = words.as_mut_ptr();
    let result = allocator.set_properties_at(start.cast(), start.wrapping_add(2).cast());
    assert_eq!(result, S_OK);
    assert_eq!(words, [2, 100, 2, 109, 16, 3]);
}

#[test]
fn a_refused_request_that_is_also_actual_is_zeroed() {
    let allocator = Allocator::new();
    let mut both = properties(2, 100, 0, 3);
    let address = &raw mut both;
    assert_eq!(
        allocator.set_properties_at(address, address),
        VFW_E_BADALIGN
    );
    assert_eq!(both, NOTHING);
}

#[test]
fn set_properties_succeeds_only_while_uncommitted() {
    check_in_each_state(
        |allocator| allocator.set_properties(properties(5, 100, 16, 3)),
        [
            ((S_OK, properties(5, 109, 16, 3)), Uncommitted),
            ((VFW_E_ALREADY_COMMITTED, NOTHING), Committed),
            ((VFW_E_BUFFERS_OUTSTANDING, NOTHING), Decommitting),
        ],
    );
}

#[test]
fn already_committed_takes_precedence_over_buffers_outstanding() {
    let allocator = Allocator::committed(3, 64);
    let sample = allocator.sample();
    let refused = (VFW_E_ALREADY_COMMITTED, NOTHING);
    assert_eq!(allocator.set_properties(properties(5, 100, 1, 0)), refused);
    drop(sample);
}

#[test]
fn the_alignment_is_checked_before_the_state() {
    for align in [0, -1, 65_537] {
        let refused = (VFW_E_BADALIGN, NOTHING);
        check_in_each_state(
            |allocator| allocator.set_properties(properties(5, 100, align, 0)),
            [
                (refused, Uncommitted),
                (refused, Committed),
                (refused, Decommitting),
            ],
        );
    }
}

#[test]
fn the_pointers_are_checked_first() {
    let good = properties(5, 100, 1, 0);
    let bad = properties(5, 100, 0, 0);
    for request in [&raw const good, &raw const bad, ptr::null()] {
        check_in_each_state(
            |allocator| allocator.set_properties_at(request, ptr::null_mut()),
            [
                (E_POINTER, Uncommitted),
                (E_POINTER, Committed),
                (E_POINTER, Decommitting),
            ],
        );
    }
    check_in_each_state(
        |allocator| allocator.set_properties_at(ptr::null(), &mut properties(0, 0, 0, 0)),
        [
            (E_POINTER, Uncommitted),
            (E_POINTER, Committed),
            (E_POINTER, Decommitting),
        ],
    );
}

#[test]
fn a_refused_request_changes_nothing() {
    for state in STATES {
        let subject = AllocatorInState::new(state);
        let good = properties(5, 100, 1, 0);
        let allocator = &subject.allocator;
        allocator.set_properties(properties(9, 9, 0, 9));
        allocator.set_properties_at(ptr::null(), &mut properties(1, 1, 1, 1));
        allocator.set_properties_at(&raw const good, ptr::null_mut());
        if state != Uncommitted {
            allocator.set_properties(good);
        }
        assert_eq!(allocator.properties(), properties(3, 64, 1, 0));
    }
}

#[test]
fn get_properties_succeeds_in_each_state() {
    let set = properties(3, 64, 1, 0);
    check_in_each_state(
        |allocator| allocator.properties(),
        [(set, Uncommitted), (set, Committed), (set, Decommitting)],
    );
    check_in_each_state(
        |allocator| allocator.properties_into(None),
        [
            (E_POINTER, Uncommitted),
            (E_POINTER, Committed),
            (E_POINTER, Decommitting),
        ],
    );
}

#[test]
fn counts_and_sizes_are_checked_only_by_commit() {
    for request in [
        properties(0, 64, 1, 0),
        properties(3, 0, 1, 0),
        properties(-3, 64, 1, 0),
        properties(i32::MIN, 64, 1, 0),
        properties(3, -64, 1, 0),
        properties(3, 64, 1, -8),
        properties(3, 64, 1, i32::MIN),
        properties(i32::MAX, i32::MAX, 1, i32::MAX),
    ] {
        let allocator = Allocator::new();
        assert_eq!(allocator.set_properties(request), (S_OK, request));
        assert_eq!(allocator.properties(), request);
        assert!(allocator.commit().is_failure(), "{request:?}");
        assert_eq!(allocator.properties(), request);
    }
}

#[test]
fn a_size_that_cannot_be_rounded_is_stored_and_fails_the_commit() {
    for request in [
        properties(1, i32::MAX, 16, 0),
        properties(1, i32::MAX, 65_536, 0),
        properties(1, i32::MAX - 3, 4096, 0),
        properties(1, i32::MAX, 16, i32::MAX),
    ] {
        let allocator = Allocator::new();
        assert_eq!(rounded(request), request.size, "the size can be rounded");
        assert_eq!(allocator.set_properties(request), (S_OK, request));
        assert_eq!(allocator.commit(), E_OUTOFMEMORY, "{request:?}");
    }
}

#[test]
fn properties_can_be_set_repeatedly() {
    let allocator = Allocator::new();
    for request in [
        properties(-1, -1, 1, -1),
        properties(0, 0, 1, 0),
        properties(2, 32, 1, 0),
    ] {
        assert_eq!(allocator.set_properties(request), (S_OK, request));
    }
    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(allocator.sample().size(), 32);
}
