//! Layouts of video media types, checked against headers that are put together by hand.

use ks_allocator::com::{
    AM_MEDIA_TYPE, FORMAT_VideoInfo, FORMAT_VideoInfo2, MEDIASUBTYPE_ARGB32, MEDIASUBTYPE_IYUV,
    MEDIASUBTYPE_RGB24, MEDIASUBTYPE_RGB32, VideoInfoError, video_format, video_info_header,
    video_info_header2, video_layout, video_subtype,
};
use ks_allocator::{FramePool, LayoutError, Padding, VideoFormat, VideoLayout};
use windows_core::GUID;

/// A header by its fields: `rcTarget`, `biWidth`, `biHeight`, `biBitCount`, `biSizeImage`.
fn header(target: [i32; 4], width: i32, height: i32, bits: u16, size: u32) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes.extend(target.iter().flat_map(|edge| edge.to_le_bytes()));
    bytes.extend([0; 16]);
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend([0; 16]);
    assert_eq!(bytes.len(), 88);
    bytes
}

fn subtype(fourcc: &[u8; 4]) -> GUID {
    GUID::from_values(
        u32::from_le_bytes(*fourcc),
        0,
        0x10,
        [0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71],
    )
}

fn strides(layout: &VideoLayout) -> Vec<(usize, usize)> {
    layout
        .planes()
        .iter()
        .map(|plane| (plane.offset, plane.stride))
        .collect()
}

const WHOLE: [i32; 4] = [0; 4];

fn layout(subtype: GUID, header: &[u8]) -> Result<VideoLayout, VideoInfoError> {
    video_layout(&subtype, &FORMAT_VideoInfo, header)
}

#[test]
fn rgb_is_bottom_up_with_a_positive_height_and_top_down_with_a_negative_one() {
    for (subtype, format, bits, stride) in [
        (MEDIASUBTYPE_RGB24, VideoFormat::Bgr24, 24, 16),
        (MEDIASUBTYPE_RGB32, VideoFormat::Bgrx, 32, 20),
        (MEDIASUBTYPE_ARGB32, VideoFormat::Bgra, 32, 20),
    ] {
        for (height, bottom_up) in [(3, true), (-3, false)] {
            // For RGB, the size of the image may be 0.
            let layout = layout(subtype, &header(WHOLE, 5, height, bits, 0)).unwrap();
            assert_eq!(
                (layout.format(), layout.is_bottom_up()),
                (format, bottom_up)
            );
            assert_eq!(strides(&layout), [(0, stride)]);
            assert_eq!(
                (layout.width(), layout.height(), layout.size()),
                (5, 3, 3 * stride)
            );
        }
        assert_eq!(video_subtype(format), Some(subtype));
        assert_eq!(video_format(&subtype), Some(format));
    }
}

#[test]
fn yuv_is_top_down_whatever_the_sign_and_its_chroma_follows() {
    for height in [4, -4] {
        let planes = |code, width, bits, size| {
            let layout = layout(subtype(code), &header(WHOLE, width, height, bits, size)).unwrap();
            assert!(!layout.is_bottom_up());
            strides(&layout)
        };
        assert_eq!(planes(b"NV12", 10, 12, 60), [(0, 10), (40, 10)]);
        assert_eq!(planes(b"YV12", 10, 12, 60), [(0, 10), (40, 5), (50, 5)]);
        assert_eq!(planes(b"I420", 10, 12, 60), [(0, 10), (40, 5), (50, 5)]);
        assert_eq!(planes(b"P010", 10, 24, 120), [(0, 20), (80, 20)]);
        assert_eq!(planes(b"YUY2", 10, 16, 80), [(0, 20)]);
        assert_eq!(planes(b"UYVY", 2, 16, 16), [(0, 4)]);
    }
    assert_eq!(video_format(&MEDIASUBTYPE_IYUV), Some(VideoFormat::I420));
    assert_eq!(video_subtype(VideoFormat::I420), Some(subtype(b"I420")));
}

#[test]
fn the_target_is_the_picture_in_a_larger_surface() {
    let nv12 = layout(
        subtype(b"NV12"),
        &header([0, 0, 1366, 768], 1408, 776, 12, 0),
    )
    .unwrap();
    assert_eq!((nv12.width(), nv12.height()), (1366, 768));
    assert_eq!(strides(&nv12), [(0, 1408), (1408 * 776, 1408)]);
    let inner = layout(subtype(b"NV12"), &header([16, 8, 48, 40], 64, 64, 12, 0)).unwrap();
    assert_eq!(
        strides(&inner),
        [(8 * 64 + 16, 64), (64 * 64 + 4 * 64 + 16, 64)]
    );
    // The last row of the surface is the first in memory. Row 0 of the picture is row 1 of 4.
    let mut bytes = vec![0; 4 * 8];
    let rgb = layout(MEDIASUBTYPE_RGB32, &header([1, 1, 2, 3], 2, 4, 32, 0)).unwrap();
    let mut planes = rgb.planes_of_mut(&mut bytes).unwrap();
    planes[0]
        .rows_mut()
        .zip(1..)
        .for_each(|(row, y)| row.fill(y));
    let surface: Vec<_> = bytes.chunks(4).map(|pixel| pixel[0]).collect();
    assert_eq!(surface, [0, 0, 0, 2, 0, 1, 0, 0]);
}

#[test]
fn compressed_pictures_have_a_size_and_no_planes() {
    let mjpeg = layout(subtype(b"MJPG"), &header(WHOLE, 1920, 1080, 24, 500_000)).unwrap();
    assert_eq!((mjpeg.size(), mjpeg.planes().len()), (500_000, 0));
    let negative = layout(subtype(b"MJPG"), &header(WHOLE, 1920, -1080, 24, 500_000));
    assert_eq!(
        negative,
        Err(VideoInfoError::Size {
            width: 1920,
            height: -1080
        })
    );
    let sizeless = layout(subtype(b"MJPG"), &header(WHOLE, 1920, 1080, 24, 0));
    let no_size = LayoutError::NoSize {
        format: VideoFormat::Mjpeg,
    };
    assert_eq!(sizeless, Err(VideoInfoError::Layout(no_size)));
}

#[test]
fn impossible_headers_are_errors_with_the_numbers() {
    let error = |code: GUID, bytes: &[u8]| layout(code, bytes).unwrap_err().to_string();
    let nv12 = subtype(b"NV12");
    let whole = |width, height, bits, size| header(WHOLE, width, height, bits, size);
    assert_eq!(
        error(nv12, &whole(0, 4, 12, 0)),
        "biWidth is 0 and biHeight is 4"
    );
    assert_eq!(
        error(nv12, &whole(-8, 4, 12, 0)),
        "biWidth is -8 and biHeight is 4"
    );
    assert_eq!(
        error(nv12, &whole(8, i32::MIN, 12, 9)),
        "biSizeImage is 9, and the picture has 25769803776 bytes"
    );
    assert_eq!(
        error(MEDIASUBTYPE_RGB24, &whole(8, 4, 32, 0)),
        "biBitCount is 32, and the subtype has 24 bits per pixel"
    );
    assert_eq!(
        error(nv12, &header([0, 0, 9, 4], 8, 4, 12, 0)),
        "rcTarget is (0, 0, 9, 4), outside of 8 x 4 pixels"
    );
    assert_eq!(
        error(nv12, &header([-1, 0, 8, 4], 8, 4, 12, 0)),
        "rcTarget is (-1, 0, 8, 4), outside of 8 x 4 pixels"
    );
    assert_eq!(
        error(nv12, &whole(8, 4, 12, 47)),
        "biSizeImage is 47, and the picture has 48 bytes"
    );
    assert_eq!(
        error(subtype(b"I420"), &whole(9, 4, 12, 0)),
        "plane 0 has a stride of 9 bytes, which is not a multiple of 2"
    );
    assert_eq!(
        error(nv12, &[0; 87]),
        "the format block has 87 bytes, and the header 88"
    );
    assert!(error(subtype(b"XXXX"), &whole(8, 4, 12, 0)).ends_with("is not known"));
    let other = video_layout(&nv12, &GUID::zeroed(), &[]).unwrap_err();
    assert!(
        other
            .to_string()
            .ends_with("is not that of a video info header"),
        "{other}"
    );
    let short = video_layout(&nv12, &FORMAT_VideoInfo2, &whole(8, 4, 12, 0)).unwrap_err();
    assert_eq!(
        short,
        VideoInfoError::TooShort {
            length: 88,
            needed: 112
        }
    );
}

#[test]
fn a_layout_becomes_a_header_and_the_same_layout_again() {
    let layouts = |format, width, height| {
        let builder = VideoLayout::builder(format, width, height);
        let padding = Padding {
            right: 10,
            bottom: 8,
            ..Padding::default()
        };
        [
            builder.for_media_foundation(),
            builder.for_v4l2().stride_alignment(64),
            builder.for_media_foundation().padding(padding),
        ]
    };
    let mut count = 0;
    for &format in VideoFormat::ALL {
        for (width, height) in [(2, 2), (8, 5), (64, 48), (1366, 768), (1920, 1080)] {
            for builder in layouts(format, width, height) {
                let layout = builder
                    .min_size(usize::from(format.is_compressed()))
                    .build()
                    .unwrap();
                for layout in [layout, layout.bottom_up()] {
                    let Ok(one) = video_info_header(&layout, 333_333) else {
                        continue;
                    };
                    assert_eq!(one[40..48], 333_333_i64.to_le_bytes());
                    let two = video_info_header2(&layout, 333_333).unwrap();
                    let subtype = video_subtype(format).unwrap();
                    for (format_type, block) in [(FORMAT_VideoInfo, one), (FORMAT_VideoInfo2, two)]
                    {
                        let again = video_layout(&subtype, &format_type, &block).unwrap();
                        assert_eq!(strides(&again), strides(&layout));
                        assert_eq!(again.size(), layout.size());
                        assert_eq!(again.is_bottom_up(), layout.is_bottom_up());
                        assert_eq!((again.width(), again.height()), (width, height));
                        count += 1;
                    }
                }
            }
        }
    }
    assert!(count > 250, "only {count} layouts were representable");
}

#[test]
fn layouts_that_a_header_cannot_describe_are_errors() {
    let unrepresentable = Err(VideoInfoError::NotRepresentable);
    let i420 = VideoLayout::builder(VideoFormat::I420, 100, 100)
        .for_drm()
        .build();
    assert_eq!(video_info_header(&i420.unwrap(), 0), unrepresentable);
    let apart = [(0, 64), (64 * 64 + 1, 64)];
    let nv12 = VideoLayout::from_planes(VideoFormat::Nv12, 64, 64, &apart, 64 * 97).unwrap();
    assert_eq!(video_info_header(&nv12, 0), unrepresentable);
    let rgb24 = VideoLayout::new(VideoFormat::Rgb24, 64, 64).unwrap();
    assert_eq!(
        video_info_header(&rgb24, 0),
        unrepresentable,
        "DirectShow has only BGR"
    );
    let nv12 = VideoLayout::new(VideoFormat::Nv12, 64, 64)
        .unwrap()
        .bottom_up();
    assert_eq!(
        video_info_header(&nv12, 0),
        unrepresentable,
        "YUV is top-down"
    );
}

#[test]
fn a_media_type_without_a_format_block_is_an_error() {
    let media_type = AM_MEDIA_TYPE {
        subtype: subtype(b"NV12"),
        formattype: FORMAT_VideoInfo,
        cbFormat: 88,
        ..AM_MEDIA_TYPE::default()
    };
    // SAFETY: the pointer is NULL.
    let layout = unsafe { media_type.video_layout() };
    assert_eq!(
        layout,
        Err(VideoInfoError::TooShort {
            length: 0,
            needed: 88
        })
    );
}

#[test]
fn a_filter_gets_the_planes_of_a_sample() {
    let mut block = header(WHOLE, 640, 480, 12, 460_800);
    let media_type = AM_MEDIA_TYPE {
        subtype: subtype(b"NV12"),
        formattype: FORMAT_VideoInfo,
        cbFormat: 88,
        pbFormat: block.as_mut_ptr(),
        ..AM_MEDIA_TYPE::default()
    };
    // SAFETY: the block lives as long as the media type.
    let layout = unsafe { media_type.video_layout() }.unwrap();
    let pool = FramePool::builder()
        .frames(1)
        .video(&layout)
        .build()
        .unwrap();
    assert_eq!(
        pool.acquire().unwrap().planes().unwrap()[1].rows().len(),
        240
    );
}
