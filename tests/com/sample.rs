//! `IMediaSample`: size, buffer, times, boolean attributes and length. Tests of media types are in
//! `media_type`.

use crate::client::{Allocator, GARBAGE, Sample, UNTOUCHED};
use crate::vtables::*;

/// Returns the only sample of an allocator, with 64 bytes.
fn sample() -> (Allocator, Sample) {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    (allocator, sample)
}

#[test]
fn the_size_is_rounded_and_excludes_the_prefix() {
    let allocator = Allocator::committed_with(properties(1, 100, 16, 3));
    assert_eq!(allocator.sample().size(), 109);
}

#[test]
fn the_pointer_is_after_the_prefix() {
    let allocator = Allocator::committed_with(properties(1, 100, 16, 3));
    let sample = allocator.sample();
    assert_eq!(sample.address() % 16, 3);
    assert_eq!(sample.data(), sample.data());
}

#[test]
fn all_bytes_can_be_written() {
    let (_allocator, sample) = sample();
    sample.fill(0xA5);
    assert_eq!(sample.bytes(), [0xA5; 64]);
}

#[test]
fn a_null_out_pointer_returns_e_pointer() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.pointer_into(None), E_POINTER);
}

#[test]
fn get_time_without_a_time_writes_nothing() {
    let (_allocator, sample) = sample();
    let untouched = (VFW_E_SAMPLE_TIME_NOT_SET, UNTOUCHED, UNTOUCHED);
    assert_eq!(sample.time(), untouched);
}

#[test]
fn start_and_stop_can_be_set() {
    let (_allocator, sample) = sample();
    for (start, stop) in [(100, 200), (0, 0), (-5, 5), (i64::MIN, i64::MAX)] {
        assert_eq!(sample.set_time(Some(start), Some(stop)), S_OK);
        assert_eq!(sample.time(), (S_OK, start, stop));
        let flags = sample.properties().flags;
        assert_eq!(flags & (TIMEVALID | STOPVALID), TIMEVALID | STOPVALID);
    }
}

#[test]
fn a_stop_before_the_start_is_stored_unchanged() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_time(Some(200), Some(100)), S_OK);
    assert_eq!(sample.time(), (S_OK, 200, 100));
}

#[test]
fn without_a_stop_the_stop_is_one_tick_after_the_start() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_time(Some(100), None), S_OK);
    assert_eq!(sample.time(), (VFW_S_NO_STOP_TIME, 100, 101));
    assert_eq!(sample.properties().flags, TIMEVALID);
}

#[test]
fn a_start_without_a_stop_removes_the_stop() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(100), Some(200));
    assert_eq!(sample.set_time(Some(150), None), S_OK);
    assert_eq!(sample.time(), (VFW_S_NO_STOP_TIME, 150, 151));
    assert_eq!(sample.properties().flags, TIMEVALID);
}

#[test]
fn the_largest_start_without_a_stop_causes_no_panic() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_time(Some(i64::MAX), None), S_OK);
    let (result, start, _) = sample.time();
    assert_eq!((result, start), (VFW_S_NO_STOP_TIME, i64::MAX));
}

#[test]
fn without_a_start_any_stop_removes_the_time() {
    for stop in [None, Some(300)] {
        for before in [None, Some(200)] {
            let (_allocator, sample) = sample();
            sample.set_time(Some(100), before);
            assert_eq!(sample.set_time(None, stop), S_OK);
            assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
            assert_eq!(sample.properties().flags, 0);
        }
    }
}

#[test]
fn get_media_time_without_a_time_writes_nothing() {
    let (_allocator, sample) = sample();
    let untouched = (VFW_E_MEDIA_TIME_NOT_SET, UNTOUCHED, UNTOUCHED);
    assert_eq!(sample.media_time(), untouched);
}

#[test]
fn start_and_stop_of_a_media_time_have_64_bits() {
    let (_allocator, sample) = sample();
    for (start, stop) in [(1, 2), (0, 0x1_0000_0005), (-7, i64::MAX), (9, 3)] {
        assert_eq!(sample.set_media_time(Some(start), Some(stop)), S_OK);
        assert_eq!(sample.media_time(), (S_OK, start, stop));
    }
}

#[test]
fn a_media_time_without_a_stop_is_refused_and_changes_nothing() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_media_time(Some(1), None), E_POINTER);
    assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
    sample.set_media_time(Some(1), Some(2));
    assert_eq!(sample.set_media_time(Some(3), None), E_POINTER);
    assert_eq!(sample.media_time(), (S_OK, 1, 2));
}

#[test]
fn without_a_start_any_stop_removes_the_media_time() {
    for stop in [None, Some(3)] {
        let (_allocator, sample) = sample();
        sample.set_media_time(Some(1), Some(2));
        assert_eq!(sample.set_media_time(None, stop), S_OK);
        assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
    }
}

#[test]
fn time_and_media_time_are_independent() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(1), Some(2));
    assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
    sample.set_media_time(Some(3), Some(4));
    assert_eq!(sample.time(), (S_OK, 1, 2));
    sample.set_time(None, None);
    assert_eq!(sample.media_time(), (S_OK, 3, 4));
    sample.set_time(Some(5), Some(6));
    sample.set_media_time(None, None);
    assert_eq!(sample.time(), (S_OK, 5, 6));
}

/// Setter, getter and flag of a boolean attribute.
struct Attribute {
    set: fn(&Sample, i32) -> Hresult,
    get: fn(&Sample) -> Hresult,
    flag: u32,
}

const ATTRIBUTES: [Attribute; 3] = [
    Attribute {
        set: Sample::set_sync_point,
        get: Sample::is_sync_point,
        flag: SPLICEPOINT,
    },
    Attribute {
        set: Sample::set_preroll,
        get: Sample::is_preroll,
        flag: PREROLL,
    },
    Attribute {
        set: Sample::set_discontinuity,
        get: Sample::is_discontinuity,
        flag: DATADISCONTINUITY,
    },
];

#[test]
fn all_boolean_attributes_of_a_fresh_sample_are_false() {
    let (_allocator, sample) = sample();
    for attribute in &ATTRIBUTES {
        assert_eq!((attribute.get)(&sample), S_FALSE);
    }
}

#[test]
fn every_value_except_zero_is_true() {
    for attribute in &ATTRIBUTES {
        let (_allocator, sample) = sample();
        for (value, expected) in [
            (1, S_OK),
            (0, S_FALSE),
            (-1, S_OK),
            (0, S_FALSE),
            (i32::MIN, S_OK),
            (0x100, S_OK),
        ] {
            assert_eq!((attribute.set)(&sample, value), S_OK);
            assert_eq!((attribute.get)(&sample), expected);
        }
    }
}

#[test]
fn each_boolean_attribute_has_its_own_flag() {
    let (_allocator, sample) = sample();
    let mut flags = 0;
    for attribute in &ATTRIBUTES {
        (attribute.set)(&sample, 1);
        flags |= attribute.flag;
        assert_eq!(sample.properties().flags, flags);
    }
    for attribute in &ATTRIBUTES {
        (attribute.set)(&sample, 0);
        flags &= !attribute.flag;
        assert_eq!(sample.properties().flags, flags);
    }
    assert_eq!(flags, 0);
}

#[test]
fn boolean_attributes_do_not_change_times() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(1), Some(2));
    sample.set_media_time(Some(3), Some(4));
    for attribute in &ATTRIBUTES {
        (attribute.set)(&sample, 1);
        (attribute.set)(&sample, 0);
    }
    assert_eq!(sample.time(), (S_OK, 1, 2));
    assert_eq!(sample.media_time(), (S_OK, 3, 4));
}

#[test]
fn the_initial_length_is_the_size() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.actual_length(), 64);
}

#[test]
fn the_length_ranges_from_zero_to_the_size() {
    let (_allocator, sample) = sample();
    for length in [0, 1, 63, 64] {
        assert_eq!(sample.set_actual_length(length), S_OK);
        assert_eq!(sample.actual_length(), length);
        assert_eq!(sample.size(), 64);
    }
}

#[test]
fn a_length_outside_the_buffer_is_refused() {
    let (_allocator, sample) = sample();
    sample.set_actual_length(5);
    for length in [65, i32::MAX, -1, i32::MIN] {
        assert_eq!(sample.set_actual_length(length), VFW_E_BUFFER_OVERFLOW);
        assert_eq!(sample.actual_length(), 5);
    }
}

#[test]
fn the_length_can_include_the_bytes_that_rounding_added() {
    let allocator = Allocator::committed_with(properties(1, 100, 16, 3));
    let sample = allocator.sample();
    assert_eq!(sample.set_actual_length(109), S_OK);
    assert_eq!(sample.set_actual_length(110), VFW_E_BUFFER_OVERFLOW);
}

#[test]
fn each_sample_has_its_own_attributes() {
    let allocator = Allocator::committed(2, 64);
    let (one, two) = (allocator.sample(), allocator.sample());
    one.set_time(Some(1), Some(2));
    one.set_sync_point(1);
    one.set_actual_length(3);
    assert_eq!(two.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    assert_eq!(two.is_sync_point(), S_FALSE);
    assert_eq!(two.actual_length(), 64);
}

#[test]
fn two_references_share_one_sample() {
    let (_allocator, sample) = sample();
    let other = sample.clone();
    sample.set_actual_length(3);
    sample.fill(9);
    assert_eq!(other.actual_length(), 3);
    assert_eq!(other.bytes(), [9; 64]);
    drop(sample);
    assert_eq!(other.actual_length(), 3);
}

#[test]
fn get_pointer_writes_the_pointer() {
    let (_allocator, sample) = sample();
    let mut pointer = GARBAGE.cast();
    assert_eq!(sample.pointer_into(Some(&mut pointer)), S_OK);
    assert_ne!(pointer, GARBAGE.cast());
}
