//! Bytes of structures that no field covers.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use ks_allocator::com::{
    AM_MEDIA_TYPE, AM_SAMPLE2_PROPERTIES, GetBufferFlags, IMediaSample2, S_OK, SampleFlags,
};
use ks_allocator::{Framing, PoolAllocator};

use crate::support::com_client::{committed_com_allocator, get_buffer};

const SIZE: usize = size_of::<AM_MEDIA_TYPE>();

fn sample() -> IMediaSample2 {
    let (_, client) =
        committed_com_allocator(PoolAllocator::with_framing(Framing::new(1, 64)).unwrap());
    get_buffer(&client, GetBufferFlags::NOWAIT).unwrap()
}

#[cfg_attr(windows, link(name = "ole32"))]
unsafe extern "system" {
    #[cfg_attr(windows, link_name = "CoTaskMemFree")]
    fn free(memory: *mut c_void);
}

/// A media type all of whose bytes are `fill`, padding included, but for the format block and the
/// object: there are none.
fn media_type(fill: u8) -> MaybeUninit<AM_MEDIA_TYPE> {
    let mut media_type = MaybeUninit::<AM_MEDIA_TYPE>::uninit();
    let fields = media_type.as_mut_ptr();
    // SAFETY: the structure has this many bytes.
    unsafe { fields.write_bytes(fill, 1) };
    // SAFETY: all bytes were written, so the field can be borrowed.
    unsafe { (*fields).pUnk = ptr::null_mut() };
    // SAFETY: all bytes were written, so the field can be borrowed.
    unsafe { (*fields).cbFormat = 0 };
    // SAFETY: all bytes were written, so the field can be borrowed.
    unsafe { (*fields).pbFormat = ptr::null_mut() };
    media_type
}

/// # Safety
///
/// All bytes of the structure are initialized, and it outlives the result.
unsafe fn bytes<'a>(media_type: *const AM_MEDIA_TYPE) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(media_type.cast(), SIZE) }
}

/// Checks `GetMediaType` and `pMediaType` of `GetProperties`.
fn assert_has_bytes(sample: &IMediaSample2, expected: &[u8]) {
    let mut copy = ptr::null_mut();
    // SAFETY: `copy` can be written.
    assert_eq!(unsafe { sample.GetMediaType(&raw mut copy) }, S_OK);
    // SAFETY: every byte is a copy of one that the test wrote.
    assert_eq!(unsafe { bytes(copy) }, expected, "GetMediaType");
    // SAFETY: the copy belongs to this function, and has no format block.
    unsafe { free(copy.cast()) };

    let mut properties = AM_SAMPLE2_PROPERTIES::default();
    let size = u32::try_from(size_of_val(&properties)).unwrap();
    // SAFETY: `properties` has `size` bytes.
    let result = unsafe { sample.GetProperties(size, (&raw mut properties).cast()) };
    assert_eq!(result, S_OK);
    // SAFETY: every byte is a copy of one that the test wrote, and the sample keeps it.
    let kept = unsafe { bytes(properties.pMediaType) };
    assert_eq!(kept, expected, "pMediaType");
}

#[test]
fn a_copied_media_type_has_all_bytes_of_the_original() {
    let sample = sample();
    for fill in [0xcc, 0x33] {
        let new = media_type(fill);
        // SAFETY: it is a media type without a format block and without an object.
        assert_eq!(unsafe { sample.SetMediaType(new.as_ptr()) }, S_OK);
        // SAFETY: `media_type` wrote all bytes.
        assert_has_bytes(&sample, unsafe { bytes(new.as_ptr()) });

        let mut new = media_type(!fill);
        let properties = AM_SAMPLE2_PROPERTIES {
            cbData: u32::try_from(size_of::<AM_SAMPLE2_PROPERTIES>()).unwrap(),
            dwSampleFlags: SampleFlags::TYPECHANGED.bits(),
            pMediaType: new.as_mut_ptr(),
            ..AM_SAMPLE2_PROPERTIES::default()
        };
        // SAFETY: the structure has this many bytes, and leads to a media type.
        let result =
            unsafe { sample.SetProperties(properties.cbData, (&raw const properties).cast()) };
        assert_eq!(result, S_OK);
        // SAFETY: `media_type` wrote all bytes.
        assert_has_bytes(&sample, unsafe { bytes(new.as_ptr()) });
    }
}

#[test]
fn padding_of_sample_properties_is_zero() {
    let sample = sample();
    let mut target = [0xcc_u8; size_of::<AM_SAMPLE2_PROPERTIES>()];
    let size = u32::try_from(target.len()).unwrap();
    // SAFETY: `target` has `size` bytes.
    let result = unsafe { sample.GetProperties(size, target.as_mut_ptr()) };
    assert_eq!(result, S_OK);
    let end = std::mem::offset_of!(AM_SAMPLE2_PROPERTIES, cbBuffer) + size_of::<i32>();
    assert!(target[end..].iter().all(|&byte| byte == 0), "{target:?}");
}
