//! `IMediaSample`: size and data, times, truths, and length. Media types have a file of their own.

use crate::client::{Allocator, RUBBISH, Sample, UNTOUCHED};
use crate::vtables::*;

/// The only sample of an allocator, with 64 bytes.
fn sample() -> (Allocator, Sample) {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    (allocator, sample)
}

#[test]
fn the_size_is_the_rounded_one_without_the_prefix() {
    let allocator = Allocator::committed_with(properties(1, 100, 16, 3));
    assert_eq!(allocator.sample().size(), 109);
}

#[test]
fn the_pointer_leads_past_the_prefix() {
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
fn without_a_place_for_the_pointer_it_is_e_pointer() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.pointer_into(None), E_POINTER);
}

#[test]
fn a_time_that_is_not_set_leaves_the_places_alone() {
    let (_allocator, sample) = sample();
    let untouched = (VFW_E_SAMPLE_TIME_NOT_SET, UNTOUCHED, UNTOUCHED);
    assert_eq!(sample.time(), untouched);
}

#[test]
fn start_and_stop() {
    let (_allocator, sample) = sample();
    for (start, stop) in [(100, 200), (0, 0), (-5, 5), (i64::MIN, i64::MAX)] {
        assert_eq!(sample.set_time(Some(start), Some(stop)), S_OK);
        assert_eq!(sample.time(), (S_OK, start, stop));
        let flags = sample.image().flags;
        assert_eq!(flags & (TIMEVALID | STOPVALID), TIMEVALID | STOPVALID);
    }
}

#[test]
fn a_stop_before_the_start_is_stored_as_it_is() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_time(Some(200), Some(100)), S_OK);
    assert_eq!(sample.time(), (S_OK, 200, 100));
}

#[test]
fn a_start_alone_stops_at_the_next_tick() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_time(Some(100), None), S_OK);
    assert_eq!(sample.time(), (VFW_S_NO_STOP_TIME, 100, 101));
    assert_eq!(sample.image().flags, TIMEVALID);
}

#[test]
fn a_start_alone_takes_the_stop_away() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(100), Some(200));
    assert_eq!(sample.set_time(Some(150), None), S_OK);
    assert_eq!(sample.time(), (VFW_S_NO_STOP_TIME, 150, 151));
    assert_eq!(sample.image().flags, TIMEVALID);
}

#[test]
fn a_start_at_the_end_of_time_has_a_next_tick_somewhere() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_time(Some(i64::MAX), None), S_OK);
    let (result, start, _) = sample.time();
    assert_eq!((result, start), (VFW_S_NO_STOP_TIME, i64::MAX));
}

#[test]
fn without_a_start_there_is_no_time_whatever_the_stop() {
    for stop in [None, Some(300)] {
        for before in [None, Some(200)] {
            let (_allocator, sample) = sample();
            sample.set_time(Some(100), before);
            assert_eq!(sample.set_time(None, stop), S_OK);
            assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
            assert_eq!(sample.image().flags, 0);
        }
    }
}

#[test]
fn a_media_time_that_is_not_set_leaves_the_places_alone() {
    let (_allocator, sample) = sample();
    let untouched = (VFW_E_MEDIA_TIME_NOT_SET, UNTOUCHED, UNTOUCHED);
    assert_eq!(sample.media_time(), untouched);
}

#[test]
fn a_media_time_has_64_bits_at_both_ends() {
    let (_allocator, sample) = sample();
    for (start, stop) in [(1, 2), (0, 0x1_0000_0005), (-7, i64::MAX), (9, 3)] {
        assert_eq!(sample.set_media_time(Some(start), Some(stop)), S_OK);
        assert_eq!(sample.media_time(), (S_OK, start, stop));
    }
}

#[test]
fn a_media_time_needs_its_end_and_changes_nothing_without() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_media_time(Some(1), None), E_POINTER);
    assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
    sample.set_media_time(Some(1), Some(2));
    assert_eq!(sample.set_media_time(Some(3), None), E_POINTER);
    assert_eq!(sample.media_time(), (S_OK, 1, 2));
}

#[test]
fn without_a_start_there_is_no_media_time_whatever_the_end() {
    for end in [None, Some(3)] {
        let (_allocator, sample) = sample();
        sample.set_media_time(Some(1), Some(2));
        assert_eq!(sample.set_media_time(None, end), S_OK);
        assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
    }
}

#[test]
fn time_and_media_time_know_nothing_of_each_other() {
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

/// One of the three pairs of a setter and its question, with its flag.
struct Truth {
    set: fn(&Sample, i32) -> Hresult,
    is: fn(&Sample) -> Hresult,
    flag: u32,
}

const TRUTHS: [Truth; 3] = [
    Truth {
        set: Sample::set_sync_point,
        is: Sample::is_sync_point,
        flag: SPLICEPOINT,
    },
    Truth {
        set: Sample::set_preroll,
        is: Sample::is_preroll,
        flag: PREROLL,
    },
    Truth {
        set: Sample::set_discontinuity,
        is: Sample::is_discontinuity,
        flag: DATADISCONTINUITY,
    },
];

#[test]
fn nothing_is_true_of_a_fresh_sample() {
    let (_allocator, sample) = sample();
    for truth in &TRUTHS {
        assert_eq!((truth.is)(&sample), S_FALSE);
    }
}

#[test]
fn any_number_but_zero_is_true() {
    for truth in &TRUTHS {
        let (_allocator, sample) = sample();
        for (number, answer) in [
            (1, S_OK),
            (0, S_FALSE),
            (-1, S_OK),
            (0, S_FALSE),
            (i32::MIN, S_OK),
            (0x100, S_OK),
        ] {
            assert_eq!((truth.set)(&sample, number), S_OK);
            assert_eq!((truth.is)(&sample), answer);
        }
    }
}

#[test]
fn each_truth_has_its_flag_and_leaves_the_others_alone() {
    let (_allocator, sample) = sample();
    let mut flags = 0;
    for truth in &TRUTHS {
        (truth.set)(&sample, 1);
        flags |= truth.flag;
        assert_eq!(sample.image().flags, flags);
    }
    for truth in &TRUTHS {
        (truth.set)(&sample, 0);
        flags &= !truth.flag;
        assert_eq!(sample.image().flags, flags);
    }
    assert_eq!(flags, 0);
}

#[test]
fn truths_and_times_do_not_meet() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(1), Some(2));
    sample.set_media_time(Some(3), Some(4));
    for truth in &TRUTHS {
        (truth.set)(&sample, 1);
        (truth.set)(&sample, 0);
    }
    assert_eq!(sample.time(), (S_OK, 1, 2));
    assert_eq!(sample.media_time(), (S_OK, 3, 4));
}

#[test]
fn the_length_is_the_size_at_first() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.actual(), 64);
}

#[test]
fn the_length_goes_from_nothing_to_the_size() {
    let (_allocator, sample) = sample();
    for length in [0, 1, 63, 64] {
        assert_eq!(sample.set_actual(length), S_OK);
        assert_eq!(sample.actual(), length);
        assert_eq!(sample.size(), 64);
    }
}

#[test]
fn a_length_that_there_is_no_room_for_is_refused() {
    let (_allocator, sample) = sample();
    sample.set_actual(5);
    for length in [65, i32::MAX, -1, i32::MIN] {
        assert_eq!(sample.set_actual(length), VFW_E_BUFFER_OVERFLOW);
        assert_eq!(sample.actual(), 5);
    }
}

#[test]
fn the_length_may_fill_what_rounding_added() {
    let allocator = Allocator::committed_with(properties(1, 100, 16, 3));
    let sample = allocator.sample();
    assert_eq!(sample.set_actual(109), S_OK);
    assert_eq!(sample.set_actual(110), VFW_E_BUFFER_OVERFLOW);
}

#[test]
fn each_sample_has_attributes_of_its_own() {
    let allocator = Allocator::committed(2, 64);
    let (one, other) = (allocator.sample(), allocator.sample());
    one.set_time(Some(1), Some(2));
    one.set_sync_point(1);
    one.set_actual(3);
    assert_eq!(other.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    assert_eq!(other.is_sync_point(), S_FALSE);
    assert_eq!(other.actual(), 64);
}

#[test]
fn two_owners_see_one_sample() {
    let (_allocator, sample) = sample();
    let other = sample.clone();
    sample.set_actual(3);
    sample.fill(9);
    assert_eq!(other.actual(), 3);
    assert_eq!(other.bytes(), [9; 64]);
    drop(sample);
    assert_eq!(other.actual(), 3);
}

#[test]
fn places_for_the_pointer_are_written() {
    let (_allocator, sample) = sample();
    let mut pointer = RUBBISH.cast();
    assert_eq!(sample.pointer_into(Some(&mut pointer)), S_OK);
    assert_ne!(pointer, RUBBISH.cast());
}
