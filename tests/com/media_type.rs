//! Media types of samples. `SetMediaType` and `GetMediaType` make deep copies.

use std::ffi::c_void;
use std::ptr;

use crate::client::{Allocator, Sample};
use crate::objects::Callback;
use crate::vtables::*;

/// Returns a media type whose fields all differ, without a format block.
pub(crate) fn media_type(number: u32) -> MediaType {
    let guid = |field: u16| Guid(number, field, field, [7; 8]);
    MediaType {
        major_type: guid(1),
        sub_type: guid(2),
        fixed_size_samples: 1,
        temporal_compression: 2,
        sample_size: number,
        format_type: guid(3),
        unknown: ptr::null_mut(),
        format_size: 0,
        format: ptr::null_mut(),
    }
}

/// Returns a media type with a format block that the caller owns.
pub(crate) fn with_format(number: u32, format: &mut [u8]) -> MediaType {
    MediaType {
        format_size: u32::try_from(format.len()).unwrap(),
        format: format.as_mut_ptr(),
        ..media_type(number)
    }
}

/// Returns a media type with an object.
pub(crate) fn with_unknown(number: u32, unknown: *mut c_void) -> MediaType {
    MediaType {
        unknown,
        ..media_type(number)
    }
}

/// Returns the media type without the address of its format block.
fn without_format(media_type: &MediaType) -> MediaType {
    MediaType {
        format: ptr::null_mut(),
        ..*media_type
    }
}

fn sample() -> (Allocator, Sample) {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    (allocator, sample)
}

#[test]
fn a_sample_without_media_type_returns_s_false_and_null() {
    let (_allocator, sample) = sample();
    assert!(sample.media_type().is_none());
}

#[test]
fn a_media_type_can_be_read_repeatedly() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_media_type(&media_type(1)), S_OK);
    for _ in 0..3 {
        let copy = sample.media_type().unwrap();
        assert_eq!(without_format(&copy), media_type(1));
        assert!(copy.format().is_empty());
    }
}

#[test]
fn every_copy_is_independent() {
    let (_allocator, sample) = sample();
    let mut format = [1, 2, 3];
    sample.set_media_type(&with_format(1, &mut format));
    let (one, other) = (sample.media_type().unwrap(), sample.media_type().unwrap());
    assert_ne!(one.as_ptr(), other.as_ptr());
    assert_ne!(one.format, other.format);
    drop(one);
    assert_eq!(other.format(), [1, 2, 3]);
    assert_eq!(sample.media_type().unwrap().format(), [1, 2, 3]);
}

#[test]
fn set_media_type_copies_the_format_block() {
    let (_allocator, sample) = sample();
    let mut format: Vec<_> = (0..=255).collect();
    assert_eq!(sample.set_media_type(&with_format(1, &mut format)), S_OK);
    format.fill(0);
    drop(format);
    let expected: Vec<_> = (0..=255).collect();
    assert_eq!(sample.media_type().unwrap().format(), expected);
}

#[test]
fn format_blocks_of_many_sizes_are_copied() {
    let (_allocator, sample) = sample();
    for (byte, size) in (1..).zip([1, 2, 18, 40, 88, 1000, 100_000]) {
        let mut format = vec![byte; size];
        assert_eq!(sample.set_media_type(&with_format(1, &mut format)), S_OK);
        assert_eq!(sample.media_type().unwrap().format(), format);
    }
}

#[test]
fn writes_to_a_copy_do_not_change_the_sample() {
    let (_allocator, sample) = sample();
    let mut format = [1, 2, 3];
    sample.set_media_type(&with_format(1, &mut format));
    let copy = sample.media_type().unwrap();
    // SAFETY: `copy` owns the block, which is 3 bytes long.
    unsafe { copy.format.write_bytes(9, 3) };
    assert_eq!(copy.format(), [9, 9, 9]);
    assert_eq!(sample.media_type().unwrap().format(), [1, 2, 3]);
}

#[test]
fn a_media_type_sets_the_flag_typechanged() {
    let (_allocator, sample) = sample();
    sample.set_media_type(&media_type(1));
    assert_eq!(sample.properties().flags, TYPECHANGED);
    assert_eq!(sample.set_media_type_at(ptr::null()), S_OK);
    assert_eq!(sample.properties().flags, 0);
}

#[test]
fn setting_null_removes_the_media_type() {
    let (_allocator, sample) = sample();
    assert_eq!(
        sample.set_media_type_at(ptr::null()),
        S_OK,
        "there was none"
    );
    let mut format = [1, 2, 3];
    sample.set_media_type(&with_format(1, &mut format));
    assert_eq!(sample.set_media_type_at(ptr::null()), S_OK);
    assert!(sample.media_type().is_none());
    assert!(sample.properties().media_type.is_null());
}

#[test]
fn a_new_media_type_replaces_the_old_one() {
    let (_allocator, sample) = sample();
    for number in 1..5 {
        let mut format = vec![1; number as usize];
        assert_eq!(
            sample.set_media_type(&with_format(number, &mut format)),
            S_OK
        );
        let copy = sample.media_type().unwrap();
        assert_eq!((copy.sample_size, copy.format_size), (number, number));
    }
}

#[test]
fn a_media_type_holds_a_reference_to_its_object() {
    let object = Callback::new();
    let (_allocator, sample) = sample();
    sample.set_media_type(&with_unknown(1, object.as_ptr()));
    assert_eq!(object.references(), 1, "one of the sample");
    let copy = sample.media_type().unwrap();
    assert_eq!(copy.unknown, object.as_ptr());
    assert_eq!(
        object.references(),
        2,
        "one of the sample and one of the copy"
    );
    drop(copy);
    assert_eq!(object.references(), 1);
    sample.set_media_type(&with_unknown(2, object.as_ptr()));
    assert_eq!(object.references(), 1, "the old media type is released");
    sample.set_media_type_at(ptr::null());
    assert_eq!(object.references(), 0);
}

#[test]
fn a_null_out_pointer_returns_e_pointer() {
    let object = Callback::new();
    let (_allocator, sample) = sample();
    assert_eq!(sample.media_type_into(None), E_POINTER);
    sample.set_media_type(&with_unknown(1, object.as_ptr()));
    assert_eq!(sample.media_type_into(None), E_POINTER);
    assert_eq!(object.references(), 1);
}

#[test]
fn a_media_type_does_not_change_other_attributes() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(1), Some(2));
    sample.set_media_time(Some(3), Some(4));
    sample.set_sync_point(1);
    sample.set_media_type(&media_type(1));
    assert_eq!(sample.time(), (S_OK, 1, 2));
    sample.set_media_type_at(ptr::null());
    assert_eq!(sample.media_time(), (S_OK, 3, 4));
    assert_eq!(
        sample.properties().flags,
        SPLICEPOINT | TIMEVALID | STOPVALID
    );
}
