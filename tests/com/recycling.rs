//! What a sample takes along from one owner to the next, and what it does not.

use crate::client::{Allocator, Sample};
use crate::media_type::{with_format, with_unknown};
use crate::objects::Callback;
use crate::vtables::*;

/// Says something in every attribute.
fn mark(sample: &Sample) {
    let mut format = [1, 2, 3];
    assert_eq!(sample.set_media_type(&with_format(1, &mut format)), S_OK);
    let image = SampleProperties {
        type_specific_flags: 77,
        flags: 0x3DF,
        actual: 23,
        start: 100,
        stop: 200,
        stream_id: 5,
        ..sample.image()
    };
    assert_eq!(sample.set_image(&image), S_OK);
    assert_eq!(sample.image().flags, 0x3DF);
    assert_eq!(sample.set_media_time(Some(7), Some(8)), S_OK);
}

#[test]
fn a_final_release_returns_none_and_gives_the_buffer_back() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let object = sample.as_ptr();
    assert_eq!(sample.leave(), 0);
    assert_eq!(allocator.sample().as_ptr(), object);
}

#[test]
fn only_the_final_release_gives_the_buffer_back() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    mark(&sample);
    let before = sample.image();
    let other = sample.clone();
    assert_eq!(other.leave(), 1);
    assert_eq!(allocator.free_count(), 0);
    assert_eq!(sample.image(), before);
    assert_eq!(sample.media_time(), (S_OK, 7, 8));
}

#[test]
fn the_next_owner_finds_flags_and_stream_cleared() {
    let allocator = Allocator::committed(1, 64);
    mark(&allocator.sample());
    let sample = allocator.sample();
    let image = sample.image();
    assert_eq!((image.flags, image.type_specific_flags), (0, 0));
    assert_eq!(image.stream_id, 0);
    assert_eq!(sample.is_sync_point(), S_FALSE);
    assert_eq!(sample.is_preroll(), S_FALSE);
    assert_eq!(sample.is_discontinuity(), S_FALSE);
}

#[test]
fn the_next_owner_finds_no_times() {
    let allocator = Allocator::committed(1, 64);
    mark(&allocator.sample());
    let sample = allocator.sample();
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
}

#[test]
fn the_next_owner_finds_no_media_type() {
    let allocator = Allocator::committed(1, 64);
    mark(&allocator.sample());
    let sample = allocator.sample();
    assert!(sample.media_type().is_none());
    assert!(sample.image().media_type.is_null());
}

#[test]
fn a_media_type_goes_with_its_owner() {
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
fn the_length_stays() {
    let allocator = Allocator::committed(1, 200);
    assert_eq!(allocator.sample().set_actual(123), S_OK);
    assert_eq!(allocator.sample().actual(), 123);
    assert_eq!(allocator.sample().image().actual, 123);
}

#[test]
fn the_length_stays_over_a_decommit() {
    let allocator = Allocator::committed(1, 200);
    let sample = allocator.sample();
    allocator.decommit();
    assert_eq!(sample.set_actual(123), S_OK);
    drop(sample);
    allocator.commit();
    assert_eq!(allocator.sample().actual(), 123);
}

#[test]
fn the_raw_times_stay_and_are_not_valid() {
    let allocator = Allocator::committed(1, 64);
    mark(&allocator.sample());
    let image = allocator.sample().image();
    assert_eq!((image.flags, image.start, image.stop), (0, 100, 200));
}

#[test]
fn new_memory_comes_with_new_samples() {
    let allocator = Allocator::committed(1, 64);
    mark(&allocator.sample());
    allocator.decommit();
    assert_eq!(allocator.set(properties(1, 64, 1, 0)).0, S_OK);
    allocator.commit();
    let image = allocator.sample().image();
    assert_eq!((image.actual, image.start, image.stop), (64, 0, 0));
}

#[test]
fn a_release_on_another_thread_recycles_as_well() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    mark(&sample);
    let left = std::thread::spawn(|| sample.leave()).join().unwrap();
    assert_eq!(left, 0);
    let image = allocator.sample().image();
    assert_eq!((image.flags, image.actual), (0, 23));
}
