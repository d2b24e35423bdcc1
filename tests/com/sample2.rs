//! `IMediaSample2`: all attributes at once, as many bytes of them as the caller says.

use std::mem::offset_of;
use std::ptr;

use crate::client::{Allocator, RUBBISH, SIZE_OF_IMAGE, Sample};
use crate::media_type::{media_type, with_format, with_unknown};
use crate::objects::Callback;
use crate::vtables::*;

/// Where a field ends, and so how many bytes bring it.
macro_rules! end_of {
    ($field:ident) => {{
        let end = offset_of!(SampleProperties, $field) + size_of_val(&NOTHING.$field);
        u32::try_from(end).unwrap()
    }};
}

/// Asks for nothing, as far as that can be said.
const NOTHING: SampleProperties = SampleProperties {
    cb_data: SIZE_OF_IMAGE,
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

/// The only sample of an allocator, with 64 bytes.
fn sample() -> (Allocator, Sample) {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    (allocator, sample)
}

/// A sample with something in every attribute.
fn full_sample() -> (Allocator, Sample) {
    let (allocator, sample) = sample();
    let mut format = [1, 2, 3];
    sample.set_media_type(&with_format(1, &mut format));
    sample.set_media_time(Some(7), Some(8));
    let image = SampleProperties {
        type_specific_flags: 0x1234_5678,
        flags: SPLICEPOINT | TIMEVALID | STOPVALID | TYPECHANGED,
        actual: 33,
        start: 0x0102_0304_0506_0708,
        stop: 0x1112_1314_1516_1718,
        stream_id: 0x8000_0001,
        ..sample.image()
    };
    assert_eq!(sample.set_image(&image), S_OK);
    (allocator, sample)
}

/// Sets so many bytes of an image that must be refused; nothing may change.
#[track_caller]
fn refusal(sample: &Sample, bytes: u32, image: &SampleProperties) -> Hresult {
    let before = (sample.image(), sample.time(), sample.media_time());
    let result = sample.set_image_bytes(bytes, image);
    assert!(result.is_failure(), "{result:?}");
    let after = (sample.image(), sample.time(), sample.media_time());
    assert_eq!(after, before);
    result
}

#[test]
fn the_image_of_a_sample() {
    let (_allocator, sample) = full_sample();
    let image = sample.image();
    let expected = SampleProperties {
        cb_data: SIZE_OF_IMAGE,
        type_specific_flags: 0x1234_5678,
        flags: SPLICEPOINT | TIMEVALID | STOPVALID | TYPECHANGED,
        actual: 33,
        start: 0x0102_0304_0506_0708,
        stop: 0x1112_1314_1516_1718,
        stream_id: 0x8000_0001,
        media_type: image.media_type,
        buffer: sample.data(),
        buffer_size: 64,
    };
    assert_eq!(image, expected);
    assert_eq!(sample.time(), (S_OK, expected.start, expected.stop));
    assert_eq!(sample.actual(), 33);
    assert_eq!(sample.is_sync_point(), S_OK);
}

#[test]
fn exactly_so_many_bytes_are_written_as_there_is_room_for() {
    const CANARY: u8 = 0xA5;
    let (_allocator, sample) = full_sample();
    let read = |bytes: u32| {
        let mut memory = [CANARY; 96];
        assert_eq!(sample.image_into(bytes, memory.as_mut_ptr()), S_OK);
        memory
    };
    let whole = read(SIZE_OF_IMAGE);
    for bytes in 0..=80 {
        let written = bytes.min(SIZE_OF_IMAGE);
        let image = read(bytes);
        let (head, rest) = image.split_at(written as usize);
        assert!(rest.iter().all(|byte| *byte == CANARY), "{bytes}");
        // `cbData` says how many, in as many of its own bytes as there is room for.
        let size = head.len().min(4);
        assert_eq!(head[..size], written.to_le_bytes()[..size], "{bytes}");
        let rest_of_it = size..head.len();
        assert_eq!(head[rest_of_it.clone()], whole[rest_of_it], "{bytes}");
    }
    assert_eq!(read(u32::MAX), whole);
}

#[test]
fn the_gaps_between_fields_give_nothing_away() {
    let (_allocator, sample) = full_sample();
    let mut memory = [0xA5_u8; size_of::<SampleProperties>()];
    assert_eq!(sample.image_into(SIZE_OF_IMAGE, memory.as_mut_ptr()), S_OK);
    let before_the_pointers = end_of!(stream_id) as usize..offset_of!(SampleProperties, media_type);
    let at_the_end = end_of!(buffer_size) as usize..memory.len();
    for gap in [before_the_pointers, at_the_end] {
        assert!(memory[gap].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn an_image_may_lie_at_any_address() {
    let (_allocator, sample) = full_sample();
    let image = sample.image();
    let mut memory = [0_u8; 128];
    for offset in 1..8 {
        let address = memory[offset..].as_mut_ptr();
        assert_eq!(sample.image_into(SIZE_OF_IMAGE, address), S_OK);
        assert_eq!(sample.set_image_at(SIZE_OF_IMAGE, address), S_OK);
        let with_its_media_type = SampleProperties {
            media_type: sample.image().media_type,
            ..image
        };
        assert_eq!(sample.image(), with_its_media_type);
    }
}

#[test]
fn no_bytes_need_no_place() {
    let (_allocator, sample) = sample();
    assert_eq!(sample.image_into(0, ptr::null_mut()), S_OK);
    for bytes in [1, 3, 4, SIZE_OF_IMAGE, u32::MAX] {
        assert_eq!(sample.image_into(bytes, ptr::null_mut()), E_POINTER);
    }
}

#[test]
fn times_are_told_even_if_they_are_not_valid() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(5), Some(6));
    sample.set_time(None, None);
    let image = sample.image();
    assert_eq!((image.flags, image.start, image.stop), (0, 5, 6));
}

#[test]
fn the_media_time_is_in_no_flag() {
    let (_allocator, sample) = sample();
    sample.set_media_time(Some(1), Some(2));
    assert_eq!(sample.image().flags, 0);
    sample.set_time(Some(1), None);
    assert_eq!(sample.image().flags, TIMEVALID);
}

#[test]
fn the_media_type_is_the_samples_own() {
    let (_allocator, sample) = sample();
    assert!(sample.image().media_type.is_null());
    let mut format = [1, 2, 3];
    sample.set_media_type(&with_format(1, &mut format));
    let own = sample.image().media_type;
    assert_eq!(sample.image().media_type, own);
    assert_ne!(sample.media_type().unwrap().as_ptr(), own);
    // SAFETY: it is the sample's, which the caller holds undisturbed.
    let own = unsafe { own.read() };
    assert_eq!((own.sample_size, own.format_size), (1, 3));
}

#[test]
fn too_few_bytes_to_say_anything_are_ignored() {
    let (_allocator, sample) = full_sample();
    let before = sample.image();
    for bytes in 0..4 {
        assert_eq!(sample.set_image_at(bytes, ptr::null()), S_OK);
        let image = SampleProperties {
            cb_data: 1000,
            ..NOTHING
        };
        assert_eq!(sample.set_image_bytes(bytes, &image), S_OK);
    }
    assert_eq!(sample.image(), before);
}

#[test]
fn without_an_image_it_is_e_pointer() {
    let (_allocator, sample) = sample();
    for bytes in [4, 12, SIZE_OF_IMAGE, SIZE_OF_IMAGE + 1, u32::MAX] {
        assert_eq!(sample.set_image_at(bytes, ptr::null()), E_POINTER);
    }
}

/// What becomes of a sample when so many bytes of an image are set that is without fault: the
/// smaller of `bytes` and `cbData` counts.
fn after(before: &SampleProperties, bytes: u32, image: &SampleProperties) -> SampleProperties {
    let bytes = if bytes < 4 {
        0
    } else {
        bytes.min(image.cb_data)
    };
    let mut after = *before;
    macro_rules! set {
        ($($field:ident)*) => {
            $(if bytes >= end_of!($field) {
                after.$field = image.$field;
            })*
        };
    }
    set!(type_specific_flags flags actual start stop stream_id);
    after
}

#[test]
fn so_many_fields_are_set_as_the_bytes_bring() {
    let image = SampleProperties {
        type_specific_flags: 77,
        flags: PREROLL | TIMEDISCONTINUITY,
        actual: 10,
        start: 100,
        stop: 200,
        stream_id: 1,
        buffer_size: 64,
        ..NOTHING
    };
    let (_allocator, sample) = sample();
    for bytes in 0..=SIZE_OF_IMAGE + 6 {
        for cb_data in 0..=SIZE_OF_IMAGE {
            let image = SampleProperties { cb_data, ..image };
            assert_eq!(sample.set_image(&NOTHING), S_OK);
            let expected = after(&sample.image(), bytes, &image);
            let result = sample.set_image_bytes(bytes, &image);
            assert_eq!(result, S_OK, "{bytes} bytes, cbData {cb_data}");
            assert_eq!(sample.image(), expected, "{bytes} bytes, cbData {cb_data}");
        }
    }
}

#[test]
fn an_image_larger_than_there_is_is_refused() {
    let (_allocator, sample) = full_sample();
    for cb_data in [SIZE_OF_IMAGE + 1, SIZE_OF_IMAGE + 6, u32::MAX] {
        let image = SampleProperties { cb_data, ..NOTHING };
        for bytes in [4, 12, SIZE_OF_IMAGE, SIZE_OF_IMAGE + 1, SIZE_OF_IMAGE + 16] {
            assert_eq!(refusal(&sample, bytes, &image), E_INVALIDARG);
        }
    }
}

#[test]
fn all_that_counts_is_everything() {
    // The last field ends before the structure does where pointers have 64 bits.
    let (_allocator, sample) = sample();
    let image = SampleProperties {
        cb_data: end_of!(buffer_size),
        actual: 65,
        buffer_size: 64,
        ..NOTHING
    };
    let refused = refusal(&sample, end_of!(buffer_size), &image);
    assert_eq!(refused, E_INVALIDARG);
}

#[test]
fn what_is_no_flag_is_refused() {
    let (_allocator, sample) = sample();
    for bit in (10..32).map(|bit| 1 << bit).chain([MEDIA_TIME_VALID]) {
        for flags in [bit, bit | SPLICEPOINT] {
            let image = SampleProperties { flags, ..NOTHING };
            for bytes in [end_of!(flags), SIZE_OF_IMAGE] {
                assert_eq!(refusal(&sample, bytes, &image), E_INVALIDARG, "{bit:#X}");
            }
        }
    }
}

#[test]
fn flags_that_are_not_brought_are_not_looked_at() {
    let (_allocator, sample) = sample();
    let image = SampleProperties {
        flags: !0,
        ..NOTHING
    };
    for bytes in 4..end_of!(flags) {
        assert_eq!(sample.set_image_bytes(bytes, &image), S_OK);
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
        let image = SampleProperties { flags, ..NOTHING };
        assert_eq!(sample.set_image(&image), S_OK, "{flags:#X}");
        assert_eq!(sample.image().flags, flags);
        assert_eq!(sample.set_image(&NOTHING), S_OK);
        assert_eq!(sample.image().flags, 0);
    }
}

#[test]
fn the_flags_are_the_truths_of_the_sample() {
    let (_allocator, sample) = sample();
    for (flags, truths) in [
        (SPLICEPOINT, [S_OK, S_FALSE, S_FALSE]),
        (PREROLL, [S_FALSE, S_OK, S_FALSE]),
        (DATADISCONTINUITY, [S_FALSE, S_FALSE, S_OK]),
        (TIMEDISCONTINUITY, [S_FALSE, S_FALSE, S_FALSE]),
    ] {
        let image = SampleProperties { flags, ..NOTHING };
        sample.set_image_bytes(end_of!(flags), &image);
        assert_eq!(
            [
                sample.is_sync_point(),
                sample.is_preroll(),
                sample.is_discontinuity()
            ],
            truths
        );
    }
}

#[test]
fn a_time_that_becomes_valid_has_to_be_brought() {
    let image = SampleProperties {
        flags: TIMEVALID | STOPVALID,
        start: 100,
        stop: 200,
        ..NOTHING
    };
    for bytes in end_of!(flags)..end_of!(stop) {
        let (_allocator, sample) = sample();
        assert_eq!(refusal(&sample, bytes, &image), E_INVALIDARG, "{bytes}");
    }
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_image_bytes(end_of!(stop), &image), S_OK);
    assert_eq!(sample.time(), (S_OK, 100, 200));
}

#[test]
fn a_time_that_is_valid_need_not_be_brought_again() {
    let (_allocator, sample) = sample();
    sample.set_time(Some(1), Some(2));
    let image = SampleProperties {
        flags: TIMEVALID,
        start: 100,
        stop: 200,
        ..NOTHING
    };
    assert_eq!(sample.set_image_bytes(end_of!(flags), &image), S_OK);
    assert_eq!(sample.time(), (VFW_S_NO_STOP_TIME, 1, 2));
    assert_eq!(sample.set_image_bytes(end_of!(start), &image), S_OK);
    assert_eq!(sample.time(), (VFW_S_NO_STOP_TIME, 100, 101));
    assert_eq!(sample.image().stop, 2);
}

#[test]
fn a_time_can_be_made_invalid() {
    let (_allocator, sample) = full_sample();
    assert_eq!(sample.set_image_bytes(end_of!(flags), &NOTHING), S_OK);
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
}

#[test]
fn a_stop_without_a_start_is_no_time() {
    let (_allocator, sample) = sample();
    let image = SampleProperties {
        flags: STOPVALID,
        start: 100,
        stop: 200,
        ..NOTHING
    };
    assert_eq!(sample.set_image(&image), S_OK);
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
}

#[test]
fn media_time_survives_flags_of_nothing() {
    let (_allocator, sample) = sample();
    sample.set_media_time(Some(7), Some(8));
    assert_eq!(sample.set_image_bytes(end_of!(flags), &NOTHING), S_OK);
    assert_eq!(sample.set_image(&NOTHING), S_OK);
    assert_eq!(sample.media_time(), (S_OK, 7, 8));
}

#[test]
fn the_buffer_stays_where_it_is() {
    let (_allocator, sample) = sample();
    let data = sample.data();
    for (buffer, fits) in [
        (ptr::null_mut(), true),
        (data, true),
        (data.wrapping_add(1), false),
        (RUBBISH.cast(), false),
    ] {
        let image = SampleProperties { buffer, ..NOTHING };
        for bytes in [end_of!(buffer), SIZE_OF_IMAGE] {
            if fits {
                assert_eq!(sample.set_image_bytes(bytes, &image), S_OK);
            } else {
                assert_eq!(refusal(&sample, bytes, &image), E_INVALIDARG);
            }
        }
    }
    assert_eq!(sample.data(), data);
}

#[test]
fn the_buffer_stays_as_large_as_it_is() {
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
        let image = SampleProperties {
            buffer_size,
            ..NOTHING
        };
        if fits {
            assert_eq!(sample.set_image(&image), S_OK);
        } else {
            assert_eq!(refusal(&sample, SIZE_OF_IMAGE, &image), E_INVALIDARG);
        }
    }
    assert_eq!(sample.size(), 64);
}

#[test]
fn a_length_that_there_is_no_room_for_is_refused_however_it_is_brought() {
    for actual in [65, 1000, i32::MAX, -1, i32::MIN] {
        for bytes in end_of!(actual)..=SIZE_OF_IMAGE {
            let (_allocator, sample) = sample();
            let image = SampleProperties {
                actual,
                buffer_size: 64,
                ..NOTHING
            };
            assert_eq!(refusal(&sample, bytes, &image), E_INVALIDARG);
        }
    }
}

#[test]
fn a_length_that_there_is_room_for_is_set() {
    for actual in [0, 1, 64] {
        let (_allocator, sample) = sample();
        let image = SampleProperties {
            actual,
            buffer_size: 64,
            ..NOTHING
        };
        for bytes in [end_of!(actual), SIZE_OF_IMAGE] {
            assert_eq!(sample.set_image_bytes(bytes, &image), S_OK);
            assert_eq!(sample.actual(), actual);
        }
    }
}

#[test]
fn a_size_of_zero_has_room_for_no_length() {
    let (_allocator, sample) = sample();
    let image = SampleProperties {
        actual: 1,
        buffer_size: 0,
        ..NOTHING
    };
    let refused = refusal(&sample, end_of!(buffer_size), &image);
    assert_eq!(refused, E_INVALIDARG);
    // But for what brings the length only.
    assert_eq!(sample.set_image_bytes(end_of!(buffer), &image), S_OK);
    assert_eq!(sample.actual(), 1);
}

#[test]
fn a_changed_type_has_to_be_there() {
    let (_allocator, sample) = full_sample();
    let image = SampleProperties {
        flags: TYPECHANGED,
        ..NOTHING
    };
    for bytes in [end_of!(media_type), end_of!(buffer), SIZE_OF_IMAGE] {
        assert_eq!(refusal(&sample, bytes, &image), E_POINTER);
    }
}

#[test]
fn the_type_can_be_set() {
    let object = Callback::new();
    let (_allocator, sample) = sample();
    let mut new = with_unknown(2, object.as_ptr());
    let mut format = [4, 5];
    (new.format, new.format_size) = (format.as_mut_ptr(), 2);
    let image = SampleProperties {
        flags: TYPECHANGED,
        media_type: &raw mut new,
        ..NOTHING
    };
    for bytes in [end_of!(media_type), SIZE_OF_IMAGE] {
        assert_eq!(sample.set_image_bytes(bytes, &image), S_OK);
        assert_eq!(object.references(), 1);
        let copy = sample.media_type().unwrap();
        assert_eq!((copy.sample_size, copy.unknown), (2, object.as_ptr()));
        assert_eq!(copy.format(), [4, 5]);
        assert_ne!(sample.image().media_type, &raw mut new);
    }
    sample.set_media_type_at(ptr::null());
    assert_eq!(object.references(), 0);
}

#[test]
fn a_new_type_takes_the_place_of_the_old() {
    let (old, new) = (Callback::new(), Callback::new());
    let (_allocator, sample) = sample();
    sample.set_media_type(&with_unknown(1, old.as_ptr()));
    let mut second = with_unknown(2, new.as_ptr());
    let image = SampleProperties {
        flags: TYPECHANGED,
        media_type: &raw mut second,
        ..NOTHING
    };
    assert_eq!(sample.set_image(&image), S_OK);
    assert_eq!((old.references(), new.references()), (0, 1));
    assert_eq!(sample.media_type().unwrap().sample_size, 2);
}

#[test]
fn the_type_cannot_be_taken_away() {
    let (_allocator, sample) = sample();
    sample.set_media_type(&media_type(1));
    for bytes in [end_of!(flags), end_of!(media_type), SIZE_OF_IMAGE] {
        assert_eq!(sample.set_image_bytes(bytes, &NOTHING), S_OK);
        assert_eq!(sample.image().flags, TYPECHANGED);
        assert_eq!(sample.media_type().unwrap().sample_size, 1);
    }
}

#[test]
fn a_type_that_is_not_announced_is_ignored() {
    let mut new = media_type(2);
    let image = SampleProperties {
        media_type: &raw mut new,
        ..NOTHING
    };
    let (_allocator, sample) = sample();
    assert_eq!(sample.set_image(&image), S_OK);
    assert!(sample.media_type().is_none());
    sample.set_media_type(&media_type(1));
    assert_eq!(sample.set_image(&image), S_OK);
    assert_eq!(sample.media_type().unwrap().sample_size, 1);
}

#[test]
fn a_type_that_is_announced_and_not_brought_is_none() {
    let image = SampleProperties {
        flags: TYPECHANGED,
        media_type: RUBBISH.cast(),
        ..NOTHING
    };
    for bytes in end_of!(flags)..end_of!(media_type) {
        let (_allocator, sample) = sample();
        assert_eq!(sample.set_image_bytes(bytes, &image), S_OK);
        assert_eq!(sample.image().flags, 0);
        assert!(sample.media_type().is_none());
    }
}

#[test]
fn what_was_got_can_be_set_again() {
    let object = Callback::new();
    let (_allocator, sample) = full_sample();
    sample.set_media_type(&with_unknown(5, object.as_ptr()));
    let image = SampleProperties {
        start: 1,
        ..sample.image()
    };
    // With the sample's own media type in it.
    assert_eq!(sample.set_image(&image), S_OK);
    let expected = SampleProperties {
        media_type: sample.image().media_type,
        ..image
    };
    assert_eq!(sample.image(), expected);
    assert_eq!(sample.media_type().unwrap().sample_size, 5);
    assert_eq!(object.references(), 1);
}

#[test]
fn what_is_refused_leaves_the_media_type_alone() {
    let (old, new) = (Callback::new(), Callback::new());
    let (_allocator, sample) = sample();
    sample.set_media_type(&with_unknown(1, old.as_ptr()));
    let mut second = with_unknown(2, new.as_ptr());
    let image = SampleProperties {
        flags: TYPECHANGED,
        media_type: &raw mut second,
        actual: 65,
        ..NOTHING
    };
    assert_eq!(refusal(&sample, SIZE_OF_IMAGE, &image), E_INVALIDARG);
    assert_eq!((old.references(), new.references()), (1, 0));
}
