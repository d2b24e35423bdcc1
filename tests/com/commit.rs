//! `Commit` and `Decommit` of `IMemAllocator`: states, and allocated and kept memory.

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};

use crate::client::{Allocator, check_in_each_state};
use crate::vtables::*;

#[test]
fn commit_succeeds_in_each_state() {
    check_in_each_state(
        |allocator| allocator.commit(),
        [(S_OK, Committed), (S_OK, Committed), (S_OK, Committed)],
    );
}

#[test]
fn decommit_succeeds_in_each_state() {
    check_in_each_state(
        |allocator| allocator.decommit(),
        [
            (S_OK, Uncommitted),
            (S_OK, Uncommitted),
            (S_OK, Decommitting),
        ],
    );
}

#[test]
fn a_commit_without_properties_fails_and_a_decommit_does_nothing() {
    let allocator = Allocator::new();
    assert_eq!(allocator.commit(), VFW_E_SIZENOTSET);
    assert_eq!(allocator.decommit(), S_OK);
    assert_eq!(allocator.state(), Uncommitted);
}

#[test]
fn a_commit_without_buffers_or_size_returns_size_not_set() {
    for request in [
        properties(0, 64, 1, 0),
        properties(3, 0, 1, 0),
        properties(3, 0, 16, 16),
        properties(0, 0, 1, 0),
        properties(-1, 64, 1, 0),
        properties(3, -1, 1, 0),
        properties(i32::MIN, i32::MIN, 1, 0),
        // The counts are checked before the total size.
        properties(0, 64, 1, -1),
        properties(0, i32::MAX, 16, i32::MAX),
        properties(3, -64, 1, -64),
    ] {
        let allocator = Allocator::with_properties(request);
        assert_eq!(allocator.commit(), VFW_E_SIZENOTSET, "{request:?}");
        assert_eq!(allocator.state(), Uncommitted);
    }
}

#[test]
fn a_commit_that_is_too_large_returns_out_of_memory() {
    for request in [
        // A negative prefix.
        properties(3, 64, 1, -1),
        properties(1, i32::MAX, 1, i32::MIN),
        // One buffer that needs 2 GiB or more with its prefix.
        properties(1, i32::MAX, 1, 1),
        properties(1, i32::MAX, 1, i32::MAX),
        // Two buffers of 1 GiB, whose sum does not fit in 31 bits.
        properties(2, 0x4000_0000, 1, 0),
        properties(2, 0x3FFF_FFFF, 1, 1),
        // The sum of the sizes would fit, that of the strides does not.
        properties(0x8000, 0xFFFF, 65_536, 1),
        // Very many buffers.
        properties(i32::MAX, 1, 1, 0),
        properties(i32::MAX, 64, 1, 0),
        properties(i32::MAX, i32::MAX, 65_536, i32::MAX),
        properties(0x1_0001, 0x1_0000, 65_536, 0),
    ] {
        let allocator = Allocator::with_properties(request);
        assert_eq!(allocator.commit(), E_OUTOFMEMORY, "{request:?}");
        assert_eq!(allocator.state(), Uncommitted);
    }
}

#[test]
fn a_commit_that_fails_changes_nothing() {
    for request in [properties(0, 64, 1, 0), properties(i32::MAX, 64, 1, 0)] {
        let allocator = Allocator::with_properties(request);
        assert!(allocator.commit().is_failure());
        assert_eq!(allocator.properties(), request);
        assert_eq!(
            allocator.get_buffer(NOWAIT).unwrap_err(),
            VFW_E_NOT_COMMITTED
        );
        assert_eq!(allocator.references(), 2);
        assert_eq!(allocator.set_properties(properties(1, 32, 1, 0)).0, S_OK);
        assert_eq!(allocator.commit(), S_OK);
        assert_eq!(allocator.sample().size(), 32);
    }
}

#[test]
fn a_second_commit_does_nothing() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    sample.fill(7);
    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(allocator.free_count(), 1);
    let other = allocator.sample();
    assert_ne!(other.as_ptr(), sample.as_ptr());
    assert_eq!(sample.bytes(), [7; 64]);
}

#[test]
fn a_commit_cancels_a_pending_decommit() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    sample.fill(7);
    allocator.decommit();
    assert_eq!(allocator.state(), Decommitting);

    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(allocator.state(), Committed);
    assert_eq!(allocator.free_count(), 1, "the sample is still out");
    let other = allocator.sample();
    assert_ne!(other.as_ptr(), sample.as_ptr());
    assert_eq!(allocator.get_buffer(NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
    assert_eq!(sample.bytes(), [7; 64], "the memory is the same");
    drop(sample);
    assert_eq!(allocator.free_count(), 1);
    assert_eq!(allocator.sample().bytes(), [7; 64]);
}

#[test]
fn the_release_of_the_last_sample_completes_a_decommit() {
    let allocator = Allocator::committed(3, 64);
    let mut samples = allocator.samples(3);
    allocator.decommit();
    while let Some(sample) = samples.pop() {
        assert_eq!(allocator.state(), Decommitting);
        let refused = allocator.set_properties(properties(1, 1, 1, 0)).0;
        assert_eq!(refused, VFW_E_BUFFERS_OUTSTANDING);
        assert_eq!(sample.release(), 0);
    }
    assert_eq!(allocator.state(), Uncommitted);
    assert_eq!(allocator.set_properties(properties(1, 1, 1, 0)).0, S_OK);
}

#[test]
fn a_decommit_without_outstanding_buffers_completes_at_once() {
    let allocator = Allocator::committed(3, 64);
    drop(allocator.samples(3));
    allocator.decommit();
    assert_eq!(allocator.set_properties(properties(1, 1, 1, 0)).0, S_OK);
}

#[test]
fn repeated_commits_and_decommits_are_not_counted() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    for _ in 0..3 {
        assert_eq!(allocator.decommit(), S_OK);
        assert_eq!(allocator.decommit(), S_OK);
        assert_eq!(allocator.commit(), S_OK);
        assert_eq!(allocator.commit(), S_OK);
    }
    assert_eq!(allocator.decommit(), S_OK);
    drop(sample);
    assert_eq!(allocator.state(), Uncommitted);
    assert_eq!(allocator.references(), 2);
}

#[test]
fn memory_is_kept_across_decommit_and_commit() {
    let allocator = Allocator::committed(3, 64);
    for sample in allocator.samples(3) {
        sample.fill(7);
    }
    allocator.decommit();
    allocator.commit();
    for sample in allocator.samples(3) {
        assert_eq!(sample.bytes(), [7; 64]);
    }
}

#[test]
fn fresh_memory_is_zeroed() {
    let allocator = Allocator::committed_with(properties(3, 1000, 16, 8));
    for sample in &allocator.samples(3) {
        assert!(sample.bytes().iter().all(|byte| *byte == 0));
        assert_eq!(sample.prefix(8), [0; 8]);
        sample.fill(7);
        sample.fill_prefix(8, 7);
    }
}

#[test]
fn set_properties_replaces_the_memory_even_if_nothing_changes() {
    for request in [properties(3, 64, 1, 0), properties(5, 64, 1, 0)] {
        let allocator = Allocator::committed(3, 64);
        for sample in allocator.samples(3) {
            sample.fill(7);
        }
        allocator.decommit();
        assert_eq!(allocator.set_properties(request).0, S_OK);
        assert_eq!(allocator.commit(), S_OK);
        let count = usize::try_from(request.buffers).unwrap();
        for sample in &allocator.samples(count) {
            assert_eq!(sample.bytes(), [0; 64]);
        }
    }
}

#[test]
fn refused_properties_keep_the_memory() {
    let allocator = Allocator::committed(1, 64);
    allocator.sample().fill(7);
    allocator.decommit();
    assert_eq!(
        allocator.set_properties(properties(1, 64, 0, 0)).0,
        VFW_E_BADALIGN
    );
    allocator.commit();
    assert_eq!(allocator.sample().bytes(), [7; 64]);
}

#[test]
fn new_properties_change_the_size_and_the_number_of_buffers() {
    let allocator = Allocator::committed(3, 64);
    drop(allocator.samples(3));
    allocator.decommit();
    assert_eq!(allocator.set_properties(properties(2, 200, 1, 4)).0, S_OK);
    assert_eq!(allocator.commit(), S_OK);
    for sample in &allocator.samples(2) {
        assert_eq!((sample.size(), sample.actual_length()), (200, 200));
        sample.fill(1);
    }
    assert_eq!(allocator.free_count(), 2);
}

#[test]
fn every_prefix_start_is_aligned() {
    for (align, prefix) in [
        (1, 0),
        (2, 3),
        (3, 0),
        (3, 5),
        (6, 1),
        (10, 4),
        (12, 0),
        (12, 7),
        (16, 3),
        (255, 255),
        (4096, 0),
        (4096, 3),
        (4097, 1),
        (8192, 100),
        (65_535, 9),
        (65_536, 0),
        (65_536, 12),
    ] {
        let allocator = Allocator::committed_with(properties(5, 100, align, prefix));
        let [align, prefix] = [align, prefix].map(|word| usize::try_from(word).unwrap());
        for sample in &allocator.samples(5) {
            let start = sample.address() - prefix;
            assert_eq!(start % align, 0, "align {align}, prefix {prefix}");
        }
    }
}

#[test]
fn buffers_and_prefixes_do_not_overlap() {
    for request in [
        properties(7, 100, 16, 3),
        properties(7, 1, 1, 0),
        properties(7, 1, 12, 4),
        properties(7, 5000, 4096, 0),
    ] {
        let allocator = Allocator::committed_with(request);
        let size = allocator.properties().size;
        let prefix = usize::try_from(request.prefix).unwrap();
        let samples = allocator.samples(7);
        for (number, sample) in (1_u8..).zip(&samples) {
            assert_eq!(sample.size(), size);
            sample.fill(number);
            sample.fill_prefix(prefix, number + 100);
        }
        for (number, sample) in (1_u8..).zip(&samples) {
            assert!(sample.bytes().iter().all(|byte| *byte == number));
            assert!(
                sample
                    .prefix(prefix)
                    .iter()
                    .all(|byte| *byte == number + 100)
            );
        }
    }
}

#[test]
fn many_buffers_can_be_committed() {
    let buffers = if cfg!(miri) { 200 } else { 10_000 };
    let allocator = Allocator::committed(buffers, 16);
    let samples = allocator.samples(buffers.unsigned_abs() as usize);
    assert_eq!(allocator.free_count(), 0);
    drop(samples);
    assert_eq!(allocator.free_count(), buffers);
}

#[test]
fn a_fresh_sample_has_default_properties() {
    let allocator = Allocator::committed_with(properties(1, 100, 16, 3));
    let sample = allocator.sample();
    let properties = sample.properties();
    assert_eq!((properties.actual, properties.buffer_size), (109, 109));
    assert_eq!((properties.flags, properties.type_specific_flags), (0, 0));
    assert_eq!(
        (properties.start, properties.stop, properties.stream_id),
        (0, 0, 0)
    );
    assert!(properties.media_type.is_null());
    assert_eq!(properties.buffer, sample.data());
    assert_eq!(sample.references(), 1);
}
