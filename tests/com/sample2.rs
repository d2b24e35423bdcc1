//! `IMediaSample2`: all attributes in one structure, of which the caller passes a number of bytes.

use std::mem::offset_of;
use std::ptr;

use crate::client::{Allocator, GARBAGE, PROPERTIES_SIZE, Sample};
use crate::media_type::{media_type, with_format, with_unknown};
use crate::objects::Callback;
use crate::vtables::*;

/// Returns the number of bytes from the start of the structure to the end of a field.
macro_rules! end_of {
    ($field:ident) => {{
        let end = offset_of!(SampleProperties, $field) + size_of_val(&ZERO.$field);
        u32::try_from(end).unwrap()
    }};
}

/// Properties whose fields are all zero except for the size.
const ZERO: SampleProperties = SampleProperties {
    cb_data: PROPERTIES_SIZE,
    type_specific_flags: 0,
    flags: 0,
    actual: 0,
    start: 0,
    stop: 0,
    stream_id: 0,
    media_type: ptr::null_mut(),
    buffer: ptr::null_mut(),
    buffer_size: 0,
};

/// Returns the only sample of an allocator, with 64 bytes.
fn sample() -> (Allocator, Sample) {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    (allocator, sample)
}

/// Returns a sample whose attributes are all set.
fn full_sample() -> (Allocator, Sample) {
    let (allocator, sample) = sample();
    let mut format = [1, 2, 3];
    sample.set_media_type(&with_format(1, &mut format));
    sample.set_media_time(Some(7), Some(8));
    let properties = SampleProperties {
        type_specific_flags: 0x1234_5678,
        flags: SPLICEPOINT | TIMEVALID | STOPVALID | TYPECHANGED,
        actual: 33,
        start: 0x0102_0304_0506_0708,
        stop: 0x1112_1314_1516_1718,
        stream_id: 0x8000_0001,
        ..sample.properties()
    };
    assert_eq!(sample.set_properties(&properties), S_OK);
    (allocator, sample)
}

/// Sets the first `bytes` bytes of properties that must be refused, and returns the error. Asserts
/// that nothing changes.
#[track_caller]
fn set_refused(sample: &Sample, bytes: u32, properties: &SampleProperties) -> Hresult {
    let before = (sample.properties(), sample.time(), sample.media_time());
    let result = sample.set_first_bytes(bytes, properties);
    assert!(result.is_failure(), "{result:?}");
    let after = (sample.properties(), sample.time(), sample.media_time());
    assert_eq!(after, before);
    result
}

#[test]
fn get_properties_returns_all_attributes() {
    let (_allocator, sample) = full_sample();
    let properties = sample.properties();
    let expected = SampleProperties {
        cb_data: PROPERTIES_SIZE,
        type_specific_flags: 0x1234_5678,
        flags: SPLICEPOINT | TIMEVALID | STOPVALID | TYPECHANGED,
        actual: 33,
        start: 0x0102_0304_0506_0708,
        stop: 0x1112_1314_1516_1718,
        stream_id: 0x8000_0001,
        media_type: properties.media_type,
        buffer: sample.data(),
        buffer_size: 64,
    };
    assert_eq!(properties, expected);
    assert_eq!(sample.time(), (S_OK, expected.start, expected.stop));
    assert_eq!(sample.actual_length(), 33);
    assert_eq!(sample.is_sync_point(), S_OK);
}

#[test]
fn exactly_the_bytes_that_fit_are_written() {
    const CANARY: u8 = 0xA5;
    let (_allocator, sample) = full_sample();
    let read = |bytes: u32| {
        let mut memory = [CANARY; 96];
        assert_eq!(sample.properties_into(bytes, memory.as_mut_ptr()), S_OK);
        memory
    };
    let whole = read(PROPERTIES_SIZE);
    for bytes in 0..=80 {
        let written = bytes.min(PROPERTIES_SIZE);
        let memory = read(bytes);
        let (head, rest) = memory.split_at(written as usize);
        assert!(rest.iter().all(|byte| *byte == CANARY), "{bytes}");
        // `cbData` is the number of written bytes. It can itself be cut off.
        let size = head.len().min(4);
        assert_eq!(head[..size], written.to_le_bytes()[..size], "{bytes}");
        let fields = size..head.len();
        assert_eq!(head[fields.clone()], whole[fields], "{bytes}");
    }
    assert_eq!(read(u32::MAX), whole);
}

#[test]
fn padding_is_zeroed() {
    let (_allocator, sample) = full_sample();
    let mut memory = [0xA5_u8; size_of::<SampleProperties>()];
    assert_eq!(
        sample.properties_into(PROPERTIES_SIZE, memory.as_mut_ptr()),
        S_OK
    );
    let before_the_pointers = end_of!(stream_id) as usize..offset_of!(SampleProperties, media_type);
    let at_the_end = end_of!(buffer_size) as usize..memory.len();
    for gap in [before_the_pointers, at_the_end] {
        assert!(memory[gap].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn properties_can_be_at_any_address() {
    let (_allocator, sample) = full_sample();
    let properties = sample.properties();
    let mut memory = [0_u8; 128];
    for offset in 1..8 {
        let address = memory[offset..].as_mut_ptr();
        assert_eq!(sample.properties_into(PROPERTIES_SIZE, address), S_OK);
        assert_eq!(sample.set_properties_at(PROPERTIES_SIZE, address), S_OK);
        let with_its_media_type = SampleProperties {
            media_type: sample.properties().media_type,
            ..properties
        };
        assert_eq!(sample.properties(), with_its_media_type);
    }
}

#[test]
fn reading_no_bytes_needs_no_pointer() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.properties_into(0, ptr::null_mut()), S_OK);
    for bytes in [1, 3, 4, PROPERTIES_SIZE, u32::MAX] {
        assert_eq!(sample.properties_into(bytes, ptr::null_mut()), E_POINTER);
    }
}

#[test]
fn invalid_times_are_returned_without_their_flags() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(5), Some(6));
    sample.set_time(None, None);
    let properties = sample.properties();
    assert_eq!(
        (properties.flags, properties.start, properties.stop),
        (0, 5, 6)
    );
}

#[test]
fn the_media_time_has_no_flag() {
    let (_allocator, sample) = sample();
    sample.set_media_time(Some(1), Some(2));
    assert_eq!(sample.properties().flags, 0);
    sample.set_time(Some(1), None);
    assert_eq!(sample.properties().flags, TIMEVALID);
}

#[test]
fn the_pointer_leads_to_the_media_type_of_the_sample() {
    let (_allocator, sample) = sample();
    assert!(sample.properties().media_type.is_null());
    let mut format = [1, 2, 3];
    sample.set_media_type(&with_format(1, &mut format));
    let own = sample.properties().media_type;
    assert_eq!(sample.properties().media_type, own);
    assert_ne!(sample.media_type().unwrap().as_ptr(), own);
    // SAFETY: the sample keeps the media type until the next change, and no other thread uses it.
    let own = unsafe { own.read() };
    assert_eq!((own.sample_size, own.format_size), (1, 3));
}

#[test]
fn fewer_than_four_bytes_are_ignored() {
    let (_allocator, sample) = full_sample();
    let before = sample.properties();
    for bytes in 0..4 {
        assert_eq!(sample.set_properties_at(bytes, ptr::null()), S_OK);
        let properties = SampleProperties {
            cb_data: 1000,
            ..ZERO
        };
        assert_eq!(sample.set_first_bytes(bytes, &properties), S_OK);
    }
    assert_eq!(sample.properties(), before);
}

#[test]
fn a_null_pointer_returns_e_pointer() {
    let (_allocator, sample) = sample();
    for bytes in [4, 12, PROPERTIES_SIZE, PROPERTIES_SIZE + 1, u32::MAX] {
        assert_eq!(sample.set_properties_at(bytes, ptr::null()), E_POINTER);
    }
}

/// Returns the properties of a sample after the first `bytes` bytes of valid `properties` are set.
/// The smaller of `bytes` and `cbData` applies.
fn after(before: &SampleProperties, bytes: u32, properties: &SampleProperties) -> SampleProperties {
    let bytes = if bytes < 4 {
        0
    } else {
        bytes.min(properties.cb_data)
    };
    let mut after = *before;
    macro_rules! set {
        ($($field:ident)*) => {
            $(if bytes >= end_of!($field) {
                after.$field = properties.$field;
            })*
        };
    }
    set!(type_specific_flags flags actual start stop stream_id);
    after
}

#[test]
fn only_fields_within_the_passed_bytes_are_set() {
    let properties = SampleProperties {
        type_specific_flags: 77,
        flags: PREROLL | TIMEDISCONTINUITY,
        actual: 10,
        start: 100,
        stop: 200,
        stream_id: 1,
        buffer_size: 64,
        ..ZERO
    };
    let (_allocator, sample) = sample();
    for bytes in 0..=PROPERTIES_SIZE + 6 {
        for cb_data in 0..=PROPERTIES_SIZE {
            let properties = SampleProperties {
                cb_data,
                ..properties
            };
            assert_eq!(sample.set_properties(&ZERO), S_OK);
            let expected = after(&sample.properties(), bytes, &properties);
            let result = sample.set_first_bytes(bytes, &properties);
            assert_eq!(result, S_OK, "{bytes} bytes, cbData {cb_data}");
            assert_eq!(
                sample.properties(),
                expected,
                "{bytes} bytes, cbData {cb_data}"
            );
        }
    }
}

#[test]
fn a_size_larger_than_the_structure_is_refused() {
    let (_allocator, sample) = full_sample();
    for cb_data in [PROPERTIES_SIZE + 1, PROPERTIES_SIZE + 6, u32::MAX] {
        let properties = SampleProperties { cb_data, ..ZERO };
        for bytes in [
            4,
            12,
            PROPERTIES_SIZE,
            PROPERTIES_SIZE + 1,
            PROPERTIES_SIZE + 16,
        ] {
            assert_eq!(set_refused(&sample, bytes, &properties), E_INVALIDARG);
        }
    }
}

#[test]
fn all_fields_are_checked_if_only_the_padding_is_missing() {
    // If pointers have 64 bits, the structure has padding after its last field.
    let (_allocator, sample) = sample();
    let properties = SampleProperties {
        cb_data: end_of!(buffer_size),
        actual: 65,
        buffer_size: 64,
        ..ZERO
    };
    let error = set_refused(&sample, end_of!(buffer_size), &properties);
    assert_eq!(error, E_INVALIDARG);
}

#[test]
fn unknown_flags_are_refused() {
    let (_allocator, sample) = sample();
    for bit in (10..32).map(|bit| 1 << bit).chain([MEDIA_TIME_VALID]) {
        for flags in [bit, bit | SPLICEPOINT] {
            let properties = SampleProperties { flags, ..ZERO };
            for bytes in [end_of!(flags), PROPERTIES_SIZE] {
                assert_eq!(
                    set_refused(&sample, bytes, &properties),
                    E_INVALIDARG,
                    "{bit:#X}"
                );
            }
        }
    }
}

#[test]
fn flags_beyond_the_passed_bytes_are_not_checked() {
    let (_allocator, sample) = sample();
    let properties = SampleProperties { flags: !0, ..ZERO };
    for bytes in 4..end_of!(flags) {
        assert_eq!(sample.set_first_bytes(bytes, &properties), S_OK);
    }
}

#[test]
fn every_flag_can_be_set_and_cleared() {
    let (_allocator, sample) = sample();
    let all = [
        SPLICEPOINT,
        PREROLL,
        DATADISCONTINUITY,
        TIMEVALID,
        TIMEDISCONTINUITY,
        FLUSH_ON_PAUSE,
        STOPVALID,
        ENDOFSTREAM,
    ];
    for flags in all.into_iter().chain([all.iter().sum()]) {
        let properties = SampleProperties { flags, ..ZERO };
        assert_eq!(sample.set_properties(&properties), S_OK, "{flags:#X}");
        assert_eq!(sample.properties().flags, flags);
        assert_eq!(sample.set_properties(&ZERO), S_OK);
        assert_eq!(sample.properties().flags, 0);
    }
}

#[test]
fn flags_set_the_boolean_attributes() {
    let (_allocator, sample) = sample();
    for (flags, expected) in [
        (SPLICEPOINT, [S_OK, S_FALSE, S_FALSE]),
        (PREROLL, [S_FALSE, S_OK, S_FALSE]),
        (DATADISCONTINUITY, [S_FALSE, S_FALSE, S_OK]),
        (TIMEDISCONTINUITY, [S_FALSE, S_FALSE, S_FALSE]),
    ] {
        let properties = SampleProperties { flags, ..ZERO };
        sample.set_first_bytes(end_of!(flags), &properties);
        assert_eq!(
            [
                sample.is_sync_point(),
                sample.is_preroll(),
                sample.is_discontinuity()
            ],
            expected
        );
    }
}

#[test]
fn a_flag_that_makes_a_time_valid_needs_the_time() {
    let properties = SampleProperties {
        flags: TIMEVALID | STOPVALID,
        start: 100,
        stop: 200,
        ..ZERO
    };
    for bytes in end_of!(flags)..end_of!(stop) {
        let (_allocator, sample) = sample();
        assert_eq!(
            set_refused(&sample, bytes, &properties),
            E_INVALIDARG,
            "{bytes}"
        );
    }
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_first_bytes(end_of!(stop), &properties), S_OK);
    assert_eq!(sample.time(), (S_OK, 100, 200));
}

#[test]
fn a_valid_time_can_be_omitted() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(1), Some(2));
    let properties = SampleProperties {
        flags: TIMEVALID,
        start: 100,
        stop: 200,
        ..ZERO
    };
    assert_eq!(sample.set_first_bytes(end_of!(flags), &properties), S_OK);
    assert_eq!(sample.time(), (VFW_S_NO_STOP_TIME, 1, 2));
    assert_eq!(sample.set_first_bytes(end_of!(start), &properties), S_OK);
    assert_eq!(sample.time(), (VFW_S_NO_STOP_TIME, 100, 101));
    assert_eq!(sample.properties().stop, 2);
}

#[test]
fn clearing_the_flags_invalidates_the_time() {
    let (_allocator, sample) = full_sample();
    assert_eq!(sample.set_first_bytes(end_of!(flags), &ZERO), S_OK);
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
}

#[test]
fn a_stop_without_a_start_is_not_a_time() {
    let (_allocator, sample) = sample();
    let properties = SampleProperties {
        flags: STOPVALID,
        start: 100,
        stop: 200,
        ..ZERO
    };
    assert_eq!(sample.set_properties(&properties), S_OK);
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
}

#[test]
fn clearing_the_flags_keeps_the_media_time() {
    let (_allocator, sample) = sample();
    sample.set_media_time(Some(7), Some(8));
    assert_eq!(sample.set_first_bytes(end_of!(flags), &ZERO), S_OK);
    assert_eq!(sample.set_properties(&ZERO), S_OK);
    assert_eq!(sample.media_time(), (S_OK, 7, 8));
}

#[test]
fn the_address_of_the_buffer_cannot_be_changed() {
    let (_allocator, sample) = sample();
    let data = sample.data();
    for (buffer, fits) in [
        (ptr::null_mut(), true),
        (data, true),
        (data.wrapping_add(1), false),
        (GARBAGE.cast(), false),
    ] {
        let properties = SampleProperties { buffer, ..ZERO };
        for bytes in [end_of!(buffer), PROPERTIES_SIZE] {
            if fits {
                assert_eq!(sample.set_first_bytes(bytes, &properties), S_OK);
            } else {
                assert_eq!(set_refused(&sample, bytes, &properties), E_INVALIDARG);
            }
        }
    }
    assert_eq!(sample.data(), data);
}

#[test]
fn the_size_of_the_buffer_cannot_be_changed() {
    let (_allocator, sample) = sample();
    for (buffer_size, fits) in [
        (0, true),
        (64, true),
        (63, false),
        (65, false),
        (-1, false),
        (i32::MAX, false),
        (i32::MIN, false),
    ] {
        let properties = SampleProperties {
            buffer_size,
            ..ZERO
        };
        if fits {
            assert_eq!(sample.set_properties(&properties), S_OK);
        } else {
            assert_eq!(
                set_refused(&sample, PROPERTIES_SIZE, &properties),
                E_INVALIDARG
            );
        }
    }
    assert_eq!(sample.size(), 64);
}

#[test]
fn a_length_outside_the_buffer_is_refused() {
    for actual in [65, 1000, i32::MAX, -1, i32::MIN] {
        for bytes in end_of!(actual)..=PROPERTIES_SIZE {
            let (_allocator, sample) = sample();
            let properties = SampleProperties {
                actual,
                buffer_size: 64,
                ..ZERO
            };
            assert_eq!(set_refused(&sample, bytes, &properties), E_INVALIDARG);
        }
    }
}

#[test]
fn a_length_within_the_buffer_is_set() {
    for actual in [0, 1, 64] {
        let (_allocator, sample) = sample();
        let properties = SampleProperties {
            actual,
            buffer_size: 64,
            ..ZERO
        };
        for bytes in [end_of!(actual), PROPERTIES_SIZE] {
            assert_eq!(sample.set_first_bytes(bytes, &properties), S_OK);
            assert_eq!(sample.actual_length(), actual);
        }
    }
}

#[test]
fn a_buffer_size_of_zero_refuses_a_length() {
    let (_allocator, sample) = sample();
    let properties = SampleProperties {
        actual: 1,
        buffer_size: 0,
        ..ZERO
    };
    let error = set_refused(&sample, end_of!(buffer_size), &properties);
    assert_eq!(error, E_INVALIDARG);
    // The size of the buffer is not passed here.
    assert_eq!(sample.set_first_bytes(end_of!(buffer), &properties), S_OK);
    assert_eq!(sample.actual_length(), 1);
}

#[test]
fn the_flag_typechanged_needs_a_media_type() {
    let (_allocator, sample) = full_sample();
    let properties = SampleProperties {
        flags: TYPECHANGED,
        ..ZERO
    };
    for bytes in [end_of!(media_type), end_of!(buffer), PROPERTIES_SIZE] {
        assert_eq!(set_refused(&sample, bytes, &properties), E_POINTER);
    }
}

#[test]
fn the_media_type_can_be_set() {
    let object = Callback::new();
    let (_allocator, sample) = sample();
    let mut new = with_unknown(2, object.as_ptr());
    let mut format = [4, 5];
    (new.format, new.format_size) = (format.as_mut_ptr(), 2);
    let properties = SampleProperties {
        flags: TYPECHANGED,
        media_type: &raw mut new,
        ..ZERO
    };
    for bytes in [end_of!(media_type), PROPERTIES_SIZE] {
        assert_eq!(sample.set_first_bytes(bytes, &properties), S_OK);
        assert_eq!(object.references(), 1);
        let copy = sample.media_type().unwrap();
        assert_eq!((copy.sample_size, copy.unknown), (2, object.as_ptr()));
        assert_eq!(copy.format(), [4, 5]);
        assert_ne!(sample.properties().media_type, &raw mut new);
    }
    sample.set_media_type_at(ptr::null());
    assert_eq!(object.references(), 0);
}

#[test]
fn a_new_media_type_replaces_the_old_one() {
    let (old, new) = (Callback::new(), Callback::new());
    let (_allocator, sample) = sample();
    sample.set_media_type(&with_unknown(1, old.as_ptr()));
    let mut second = with_unknown(2, new.as_ptr());
    let properties = SampleProperties {
        flags: TYPECHANGED,
        media_type: &raw mut second,
        ..ZERO
    };
    assert_eq!(sample.set_properties(&properties), S_OK);
    assert_eq!((old.references(), new.references()), (0, 1));
    assert_eq!(sample.media_type().unwrap().sample_size, 2);
}

#[test]
fn the_media_type_cannot_be_removed() {
    let (_allocator, sample) = sample();
    sample.set_media_type(&media_type(1));
    for bytes in [end_of!(flags), end_of!(media_type), PROPERTIES_SIZE] {
        assert_eq!(sample.set_first_bytes(bytes, &ZERO), S_OK);
        assert_eq!(sample.properties().flags, TYPECHANGED);
        assert_eq!(sample.media_type().unwrap().sample_size, 1);
    }
}

#[test]
fn a_media_type_without_the_flag_typechanged_is_ignored() {
    let mut new = media_type(2);
    let properties = SampleProperties {
        media_type: &raw mut new,
        ..ZERO
    };
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_properties(&properties), S_OK);
    assert!(sample.media_type().is_none());
    sample.set_media_type(&media_type(1));
    assert_eq!(sample.set_properties(&properties), S_OK);
    assert_eq!(sample.media_type().unwrap().sample_size, 1);
}

#[test]
fn the_flag_typechanged_without_the_media_type_field_sets_none() {
    let properties = SampleProperties {
        flags: TYPECHANGED,
        media_type: GARBAGE.cast(),
        ..ZERO
    };
    for bytes in end_of!(flags)..end_of!(media_type) {
        let (_allocator, sample) = sample();
        assert_eq!(sample.set_first_bytes(bytes, &properties), S_OK);
        assert_eq!(sample.properties().flags, 0);
        assert!(sample.media_type().is_none());
    }
}

#[test]
fn properties_of_a_sample_can_be_set_again() {
    let object = Callback::new();
    let (_allocator, sample) = full_sample();
    sample.set_media_type(&with_unknown(5, object.as_ptr()));
    let properties = SampleProperties {
        start: 1,
        ..sample.properties()
    };
    // The structure contains the pointer to the sample's own media type.
    assert_eq!(sample.set_properties(&properties), S_OK);
    let expected = SampleProperties {
        media_type: sample.properties().media_type,
        ..properties
    };
    assert_eq!(sample.properties(), expected);
    assert_eq!(sample.media_type().unwrap().sample_size, 5);
    assert_eq!(object.references(), 1);
}

#[test]
fn refused_properties_do_not_change_the_media_type() {
    let (old, new) = (Callback::new(), Callback::new());
    let (_allocator, sample) = sample();
    sample.set_media_type(&with_unknown(1, old.as_ptr()));
    let mut second = with_unknown(2, new.as_ptr());
    let properties = SampleProperties {
        flags: TYPECHANGED,
        media_type: &raw mut second,
        actual: 65,
        ..ZERO
    };
    assert_eq!(
        set_refused(&sample, PROPERTIES_SIZE, &properties),
        E_INVALIDARG
    );
    assert_eq!((old.references(), new.references()), (1, 0));
}
