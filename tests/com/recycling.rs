//! Attributes that a sample keeps or resets when it is reused.

use crate::client::{Allocator, Sample};
use crate::media_type::{with_format, with_unknown};
use crate::objects::Callback;
use crate::vtables::*;

/// Sets every attribute.
fn set_all(sample: &Sample) {
    let mut format = [1, 2, 3];
    assert_eq!(sample.set_media_type(&with_format(1, &mut format)), S_OK);
    let properties = SampleProperties {
        type_specific_flags: 77,
        flags: 0x3DF,
        actual: 23,
        start: 100,
        stop: 200,
        stream_id: 5,
        ..sample.properties()
    };
    assert_eq!(sample.set_properties(&properties), S_OK);
    assert_eq!(sample.properties().flags, 0x3DF);
    assert_eq!(sample.set_media_time(Some(7), Some(8)), S_OK);
}

#[test]
fn the_final_release_returns_zero_and_frees_the_buffer() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let object = sample.as_ptr();
    assert_eq!(sample.release(), 0);
    assert_eq!(allocator.sample().as_ptr(), object);
}

#[test]
fn a_release_that_is_not_final_keeps_buffer_and_attributes() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    set_all(&sample);
    let before = sample.properties();
    let other = sample.clone();
    assert_eq!(other.release(), 1);
    assert_eq!(allocator.free_count(), 0);
    assert_eq!(sample.properties(), before);
    assert_eq!(sample.media_time(), (S_OK, 7, 8));
}

#[test]
fn flags_and_stream_are_reset() {
    let allocator = Allocator::committed(1, 64);
    set_all(&allocator.sample());
    let sample = allocator.sample();
    let properties = sample.properties();
    assert_eq!((properties.flags, properties.type_specific_flags), (0, 0));
    assert_eq!(properties.stream_id, 0);
    assert_eq!(sample.is_sync_point(), S_FALSE);
    assert_eq!(sample.is_preroll(), S_FALSE);
    assert_eq!(sample.is_discontinuity(), S_FALSE);
}

#[test]
fn times_are_invalidated() {
    let allocator = Allocator::committed(1, 64);
    set_all(&allocator.sample());
    let sample = allocator.sample();
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
}

#[test]
fn the_media_type_is_removed() {
    let allocator = Allocator::committed(1, 64);
    set_all(&allocator.sample());
    let sample = allocator.sample();
    assert!(sample.media_type().is_none());
    assert!(sample.properties().media_type.is_null());
}

#[test]
fn the_final_release_releases_the_media_type() {
    let object = Callback::new();
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    sample.set_media_type(&with_unknown(1, object.as_ptr()));
    let other = sample.clone();
    drop(other);
    assert_eq!(object.references(), 1);
    drop(sample);
    assert_eq!(object.references(), 0);
}

#[test]
fn the_length_is_kept() {
    let allocator = Allocator::committed(1, 200);
    assert_eq!(allocator.sample().set_actual_length(123), S_OK);
    assert_eq!(allocator.sample().actual_length(), 123);
    assert_eq!(allocator.sample().properties().actual, 123);
}

#[test]
fn the_length_is_kept_across_a_decommit() {
    let allocator = Allocator::committed(1, 200);
    let sample = allocator.sample();
    allocator.decommit();
    assert_eq!(sample.set_actual_length(123), S_OK);
    drop(sample);
    allocator.commit();
    assert_eq!(allocator.sample().actual_length(), 123);
}

#[test]
fn the_raw_times_are_kept_but_are_invalid() {
    let allocator = Allocator::committed(1, 64);
    set_all(&allocator.sample());
    let properties = allocator.sample().properties();
    assert_eq!(
        (properties.flags, properties.start, properties.stop),
        (0, 100, 200)
    );
}

#[test]
fn new_memory_has_new_samples() {
    let allocator = Allocator::committed(1, 64);
    set_all(&allocator.sample());
    allocator.decommit();
    assert_eq!(allocator.set_properties(properties(1, 64, 1, 0)).0, S_OK);
    allocator.commit();
    let properties = allocator.sample().properties();
    assert_eq!(
        (properties.actual, properties.start, properties.stop),
        (64, 0, 0)
    );
}

#[test]
fn a_release_on_another_thread_resets_the_sample_too() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    set_all(&sample);
    let left = std::thread::spawn(|| sample.release()).join().unwrap();
    assert_eq!(left, 0);
    let properties = allocator.sample().properties();
    assert_eq!((properties.flags, properties.actual), (0, 23));
}
