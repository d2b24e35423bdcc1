//! Video info headers, read and written, and copies of media types that samples keep.

#![no_main]

use std::ffi::c_void;
use std::ptr;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use ks_allocator::com::windows_core::GUID;
use ks_allocator::com::{
    AM_MEDIA_TYPE, ComAllocator, FORMAT_VideoInfo, FORMAT_VideoInfo2, IMediaSample2,
    VideoInfoError, video_format, video_info_header, video_info_header2, video_layout,
    video_subtype,
};
use ks_allocator::{Framing, KsAllocator, PoolAllocator, VideoFormat, VideoLayout};
use libfuzzer_sys::fuzz_target;

unsafe extern "C" {
    /// Frees what the crate allocates in place of `CoTaskMemAlloc` outside of Windows.
    fn free(memory: *mut c_void);
}

static SAMPLE: LazyLock<usize> = LazyLock::new(|| {
    let allocator = PoolAllocator::with_framing(Framing::new(1, 64)).unwrap();
    allocator.commit().unwrap();
    let frame = allocator.acquire().unwrap();
    let sample = ComAllocator::new(allocator).frame_to_sample(frame).unwrap();
    // One thread runs the target, and the sample is never released.
    Box::leak(Box::new(sample)) as *const IMediaSample2 as usize
});

/// Writes each header for a layout and reads it again.
fn check_headers(layout: &VideoLayout) {
    let subtype = video_subtype(layout.format());
    let headers = [
        (FORMAT_VideoInfo, video_info_header(layout, 400_000)),
        (FORMAT_VideoInfo2, video_info_header2(layout, 400_000)),
    ];
    for (format_type, header) in headers {
        match header {
            Ok(header) => {
                let subtype = subtype.expect("a format with a header has a subtype");
                let again = video_layout(&subtype, &format_type, &header).unwrap();
                assert_eq!(again.planes(), layout.planes());
                assert_eq!(
                    (
                        again.width(),
                        again.height(),
                        again.size(),
                        again.is_bottom_up()
                    ),
                    (
                        layout.width(),
                        layout.height(),
                        layout.size(),
                        layout.is_bottom_up()
                    )
                );
            }
            Err(error) => assert!(matches!(error, VideoInfoError::NotRepresentable)),
        }
    }
}

/// Reads a number that is likely to be a width or an edge.
fn number(input: &mut Unstructured<'_>) -> arbitrary::Result<i32> {
    Ok(match input.arbitrary::<u8>()? {
        small @ 0..=199 => i32::from(small) - 8,
        200..=239 => i32::from(input.arbitrary::<i16>()?),
        _ => input.arbitrary()?,
    })
}

/// Makes a header whose numbers may be wrong.
fn read_header(
    input: &mut Unstructured<'_>,
    start: usize,
    format: VideoFormat,
) -> arbitrary::Result<Vec<u8>> {
    let mut block = vec![0; start + 40];
    let mut put = |at: usize, number: i32| block[at..at + 4].copy_from_slice(&number.to_le_bytes());
    if input.arbitrary()? {
        for edge in 0..4 {
            put(16 + 4 * edge, number(input)?);
        }
    }
    put(start, 40);
    put(start + 4, number(input)?);
    put(start + 8, number(input)?);
    let pixel = format.planes().first().map_or(3, |plane| plane.block_bytes);
    let bits = match input.arbitrary::<u8>()? {
        0 => input.arbitrary()?,
        _ => 8 * pixel as u16,
    };
    put(start + 12, i32::from(bits) << 16 | 1);
    if input.arbitrary()? {
        put(start + 20, number(input)?);
    }
    Ok(block)
}

fn check_header(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let format = *input.choose(VideoFormat::ALL)?;
    let (format_type, start) = match input.arbitrary()? {
        false => (FORMAT_VideoInfo, 48),
        true => (FORMAT_VideoInfo2, 72),
    };
    let subtype = match video_subtype(format) {
        Some(subtype) => subtype,
        None => GUID::from_u128(input.arbitrary()?),
    };
    let mut block = read_header(input, start, format)?;
    let length = block.len();
    if input.arbitrary::<u8>()? == 0 {
        block.truncate(usize::from(input.arbitrary::<u8>()?));
    }
    check_block(&subtype, &format_type, &block, Some((start, length)));
    Ok(())
}

fn check_block(subtype: &GUID, format_type: &GUID, block: &[u8], expected: Option<(usize, usize)>) {
    let result = video_layout(subtype, format_type, block);
    if let (Ok(layout), Some((start, length))) = (&result, expected) {
        assert!(block.len() >= length);
        assert_eq!(Some(layout.format()), video_format(subtype));
        let at = |at: usize| i32::from_le_bytes(block[at..at + 4].try_into().unwrap());
        assert!(i64::from(layout.width()) <= i64::from(at(start + 4)));
        assert!(layout.height() <= at(start + 8).unsigned_abs());
        for plane in layout.planes() {
            assert!(plane.stride >= plane.row_bytes && plane.end() <= layout.size());
        }
        check_headers(layout);
    }
    let media_type = AM_MEDIA_TYPE {
        subtype: *subtype,
        formattype: *format_type,
        cbFormat: block.len() as u32,
        pbFormat: if block.is_empty() {
            ptr::null_mut()
        } else {
            block.as_ptr().cast_mut()
        },
        ..AM_MEDIA_TYPE::default()
    };
    // SAFETY: `pbFormat` leads to the block.
    let by_pointer = unsafe { media_type.video_layout() };
    assert_eq!(by_pointer.ok(), result.ok());
    check_copy(&media_type, block);
}

/// Sets the media type of a sample and reads it: a deep copy.
fn check_copy(media_type: &AM_MEDIA_TYPE, block: &[u8]) {
    // SAFETY: the address of a sample that is never dropped.
    let sample = unsafe { &*(*SAMPLE as *const IMediaSample2) };
    // SAFETY: the media type and its format block are valid.
    let result = unsafe { sample.SetMediaType(media_type) };
    assert!(result.is_ok());
    let mut copy = ptr::null_mut::<AM_MEDIA_TYPE>();
    // SAFETY: the method writes a pointer there.
    let result = unsafe { sample.GetMediaType(&raw mut copy) };
    assert!(result.is_ok());
    // SAFETY: the method has written a media type, which this function owns.
    let read = unsafe { copy.read() };
    assert_eq!(
        (read.majortype, read.subtype, read.formattype, read.cbFormat),
        (
            media_type.majortype,
            media_type.subtype,
            media_type.formattype,
            media_type.cbFormat
        )
    );
    if block.is_empty() {
        assert!(read.pbFormat.is_null());
    } else {
        assert!(!ptr::eq(read.pbFormat, media_type.pbFormat));
        // SAFETY: the copy has as many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(read.pbFormat, block.len()) };
        assert_eq!(bytes, block);
    }
    // SAFETY: it is NULL, or memory that this function owns.
    unsafe { free(read.pbFormat.cast()) };
    // SAFETY: as above.
    unsafe { free(copy.cast()) };
}

/// Layouts that did not come from a header.
fn check_layout(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let format = *input.choose(VideoFormat::ALL)?;
    let (width, height): (u16, u16) = input.arbitrary()?;
    let builder = VideoLayout::builder(format, width.into(), height.into());
    let builder = match input.arbitrary::<u8>()? % 6 {
        0 => builder.for_gstreamer(),
        1 => builder.for_ffmpeg(),
        2 => builder.for_v4l2(),
        3 => builder.for_drm(),
        4 => builder.for_media_foundation(),
        _ => builder.stride_alignment(1 << (input.arbitrary::<u8>()? % 8)),
    };
    if let Ok(layout) = builder.min_size(input.arbitrary::<u16>()?.into()).build() {
        check_headers(&layout);
        check_headers(&layout.bottom_up());
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let mut input = Unstructured::new(bytes);
    let _ = match kind % 4 {
        0 | 1 => check_header(&mut input),
        2 => check_layout(&mut input),
        _ => {
            let subtype = GUID::from_u128(0x3231564E_0000_0010_8000_00AA_0038_9B71);
            check_block(&subtype, &FORMAT_VideoInfo, bytes, None);
            Ok(())
        }
    };
});
