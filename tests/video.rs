//! Video layouts and the planes of frames.
#![cfg(not(any(loom, miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::iter;

use ks_allocator::{
    FramePool, Framing, KsAllocator, LayoutError, Padding, PlanesError, PoolAllocator, VideoFormat,
    VideoLayout, VideoLayoutBuilder,
};
use proptest::prelude::*;

/// Formats that have planes.
fn planar() -> impl Iterator<Item = VideoFormat> {
    let formats = VideoFormat::ALL.iter().copied();
    formats.filter(|format| !format.is_compressed())
}

#[derive(Clone, Copy, Debug)]
struct Case {
    format: VideoFormat,
    width: u32,
    height: u32,
    stride_alignment: usize,
    plane_alignment: usize,
    derive_strides: bool,
    whole_blocks: bool,
    padding: Padding,
}

impl Case {
    fn builder(&self) -> VideoLayoutBuilder {
        VideoLayout::builder(self.format, self.width, self.height)
            .stride_alignment(self.stride_alignment)
            .plane_alignment(self.plane_alignment)
            .derive_strides(self.derive_strides)
            .whole_blocks(self.whole_blocks)
            .padding(self.padding)
    }

    /// Bytes of a row and rows of a plane, with the padding.
    fn extent(&self, plane: usize) -> (usize, usize) {
        let format = self.format.planes()[plane];
        let Padding {
            left,
            right,
            top,
            bottom,
        } = self.padding;
        let width = (left + self.width + right).div_ceil(format.block_width) as usize;
        let mut height = top + self.height + bottom;
        if self.whole_blocks {
            height = height.next_multiple_of(self.format.chroma_subsampling().1);
        }
        (
            width * format.block_bytes,
            height.div_ceil(format.block_height) as usize,
        )
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let alignment = || prop_oneof![Just(1), Just(3), Just(4), Just(48), Just(64), Just(256)];
    let padding = (0..3_u32, 0..9_u32, 0..3_u32, 0..9_u32);
    let padding = padding.prop_map(|(left, right, top, bottom)| Padding {
        left: 2 * left,
        right,
        top: 2 * top,
        bottom,
    });
    let format = prop::sample::select(planar().collect::<Vec<_>>());
    let flags = (any::<bool>(), any::<bool>());
    (
        format,
        1..150_u32,
        1..90_u32,
        alignment(),
        alignment(),
        flags,
        padding,
    )
        .prop_map(
            |(format, width, height, stride_alignment, plane_alignment, flags, padding)| Case {
                format,
                width,
                height,
                stride_alignment,
                plane_alignment,
                derive_strides: flags.0,
                whole_blocks: flags.1,
                padding,
            },
        )
}

/// Tries strides in turn and returns the smallest that fits, if strides are derived, all planes.
fn smallest_stride(case: &Case, plane: usize) -> usize {
    let fits = |plane: usize, stride: usize| {
        stride >= case.extent(plane).0 && stride % case.stride_alignment == 0
    };
    let count = case.format.planes().len();
    let two_pixels = |plane: usize| {
        let format = case.format.planes()[plane];
        format.block_bytes * 2 / format.block_width as usize
    };
    let derived = |first: usize, plane: usize| {
        let bytes = first * two_pixels(plane);
        (bytes % two_pixels(0) == 0).then_some(bytes / two_pixels(0))
    };
    let all_fit = |&first: &usize| {
        (0..count).all(|plane| derived(first, plane).is_some_and(|stride| fits(plane, stride)))
    };
    if case.derive_strides {
        derived((1..).find(all_fit).unwrap(), plane).unwrap()
    } else {
        (1..).find(|&stride| fits(plane, stride)).unwrap()
    }
}

proptest! {
    #[test]
    fn a_layout_is_the_smallest_that_has_the_chosen_properties(case in cases()) {
        let layout = case.builder().build().unwrap();
        let mut end = 0_usize;
        for (number, plane) in layout.planes().iter().enumerate() {
            let format = case.format.planes()[number];
            let start = end.next_multiple_of(case.plane_alignment);
            let (_, rows) = case.extent(number);
            prop_assert_eq!(plane.stride, smallest_stride(&case, number));
            let left = (case.padding.left / format.block_width) as usize * format.block_bytes;
            let above = (case.padding.top / format.block_height) as usize * plane.stride;
            prop_assert_eq!(plane.offset, start + above + left);
            prop_assert_eq!(plane.rows, case.height.div_ceil(format.block_height) as usize);
            end = start + rows * plane.stride;
            prop_assert!(plane.end() <= end);
        }
        prop_assert_eq!(layout.size(), end);
        prop_assert_eq!(layout.alignment() % case.stride_alignment, 0);
        prop_assert_eq!(layout.alignment() % case.plane_alignment, 0);
    }

    #[test]
    fn planes_are_disjoint_and_rows_are_where_the_layout_says(
        case in cases(),
        bottom_up in any::<bool>(),
    ) {
        let mut layout = case.builder().build().unwrap();
        if bottom_up {
            layout = layout.bottom_up();
        }
        let mut bytes = vec![0_u8; layout.size()];
        let mut written = 0;
        for (plane, value) in layout.planes_of_mut(&mut bytes).unwrap().into_iter().zip(1..) {
            for row in plane.into_rows() {
                prop_assert!(row.iter().all(|&byte| byte == 0), "a byte of two planes");
                row.fill(value);
                written += row.len();
            }
        }
        let picture: usize = layout.planes().iter().map(|plane| plane.row_bytes * plane.rows).sum();
        prop_assert_eq!(written, picture);
        let planes = layout.planes_of(&bytes).unwrap();
        for ((plane, position), value) in planes.iter().zip(layout.planes()).zip(1..) {
            for (y, row) in plane.rows().enumerate() {
                let in_memory = if bottom_up { position.rows - 1 - y } else { y };
                let start = position.offset + in_memory * position.stride;
                prop_assert!(iter::zip(row, &bytes[start..]).all(|(a, b)| std::ptr::eq(a, b)));
                prop_assert_eq!(plane.row(y), Some(row));
                prop_assert!(row.iter().all(|&byte| byte == value));
            }
            prop_assert_eq!(plane.row(position.rows), None);
            prop_assert!(plane.rows().rev().eq(plane.rows().collect::<Vec<_>>().into_iter().rev()));
            prop_assert_eq!(plane.rows().len(), position.rows);
        }
    }

    #[test]
    fn a_layout_is_made_again_from_its_planes(case in cases()) {
        let layout = case.builder().build().unwrap();
        let planes = layout.planes().iter();
        let stride = |stride: usize| isize::try_from(stride).unwrap();
        let planes: Vec<_> = planes.map(|plane| (plane.offset, stride(plane.stride))).collect();
        let (format, width, height) = (case.format, case.width, case.height);
        let again = VideoLayout::from_planes(format, width, height, &planes, layout.size());
        let again = again.unwrap();
        prop_assert_eq!(again.planes(), layout.planes());

        // One plane one byte earlier overlaps, or the frame is one byte too short for the last.
        if let [_, rest @ ..] = layout.planes() {
            let needed = layout.planes().iter().map(|plane| plane.end()).max().unwrap();
            let error = VideoLayout::from_planes(format, width, height, &planes, needed - 1);
            let plane = rest.len();
            let outside = LayoutError::Outside { plane, end: needed, size: needed - 1 };
            prop_assert_eq!(error, Err(outside));
        }
    }

    #[test]
    fn any_numbers_make_a_layout_or_an_error(
        format in prop::sample::select(VideoFormat::ALL),
        width in prop_oneof![0..9_u32, Just(u32::MAX), any::<u32>()],
        height in prop_oneof![0..9_u32, Just(u32::MAX), any::<u32>()],
        numbers in prop::array::uniform8(prop_oneof![0..9_usize, Just(usize::MAX), any::<usize>()]),
        padding in prop::array::uniform4(prop_oneof![0..9_u32, Just(u32::MAX), any::<u32>()]),
        flags in any::<(bool, bool, bool)>(),
    ) {
        let [left, right, top, bottom] = padding;
        let mut builder = VideoLayout::builder(format, width, height)
            .stride_alignment(numbers[0])
            .plane_stride_alignment(numbers[1], numbers[2])
            .plane_alignment(numbers[3])
            .extra_bytes(numbers[4])
            .min_size(numbers[5])
            .padding(Padding { left, right, top, bottom })
            .derive_strides(flags.0)
            .whole_blocks(flags.1);
        if flags.2 {
            builder = builder.stride(numbers[6]);
        }
        if let Ok(layout) = builder.build() {
            prop_assert!(layout.planes().iter().all(|plane| plane.end() <= layout.size()));
            prop_assert!(isize::try_from(layout.size()).is_ok());
        }
        let signed = |number: usize| isize::from_ne_bytes(number.to_ne_bytes());
        let planes: Vec<_> = numbers.chunks(2).map(|pair| (pair[0], signed(pair[1]))).collect();
        let planes = &planes[..format.planes().len()];
        if let Ok(layout) = VideoLayout::from_planes(format, width, height, planes, numbers[7]) {
            prop_assert!(layout.planes().iter().all(|plane| plane.end() <= layout.size()));
        }
    }
}

#[test]
fn impossible_layouts_are_errors_with_the_numbers() {
    let nv12 = |width, height| VideoLayout::builder(VideoFormat::Nv12, width, height);
    let text = |builder: VideoLayoutBuilder| builder.build().unwrap_err().to_string();
    assert_eq!(
        text(nv12(0, 480)),
        "a picture of 0 x 480 pixels has no content"
    );
    assert_eq!(
        text(nv12(u32::MAX, u32::MAX)),
        "a NV12 picture of 4294967295 x 4294967295 pixels is too large"
    );
    assert_eq!(
        text(nv12(64, 48).stride_alignment(0)),
        "an alignment of 0 bytes is not from 1 to 65536"
    );
    assert_eq!(
        text(nv12(64, 48).padding(Padding {
            left: 1,
            ..Padding::default()
        })),
        "a padding of 1 pixels at the left and 0 at the top is not a multiple of 2 x 2 pixels"
    );
    assert_eq!(
        text(nv12(64, 48).stride_alignment(64).stride(100)),
        "plane 0 has a stride of 100 bytes, which is not a multiple of 64"
    );
    let i420 = VideoLayout::builder(VideoFormat::I420, 65, 48).for_v4l2();
    assert_eq!(
        text(i420.stride(65)),
        "plane 0 has a stride of 65 bytes, which is not a multiple of 2"
    );
    let planes = |planes: &[(usize, isize)], size| {
        let layout = VideoLayout::from_planes(VideoFormat::Nv12, 64, 48, planes, size);
        layout.unwrap_err().to_string()
    };
    assert_eq!(planes(&[(0, 64)], 4608), "NV12 has 2 planes, not 1");
    assert_eq!(
        planes(&[(0, 64), (3000, 64)], 4608),
        "plane 0 ends at byte 3072, and plane 1 begins at 3000"
    );
    assert_eq!(
        planes(&[(0, 64), (3072, 64)], 4607),
        "plane 1 ends at byte 4608, and the frame has 4607 bytes"
    );
    assert_eq!(
        planes(&[(0, -64), (3072, 64)], 4608),
        "plane 0 has a stride of -64 bytes, and its rows have 64 bytes"
    );
}

#[test]
fn planes_may_lie_in_any_order_and_the_last_row_may_be_short() {
    // V, U, Y; each row of Y is followed by 4 unused bytes, except for the last.
    let planes = [(8, 8), (4, 2), (0, 2)];
    let size = 8 + 3 * 8 + 4;
    let layout = VideoLayout::from_planes(VideoFormat::I420, 4, 4, &planes, size).unwrap();
    let mut bytes = vec![0; size];
    let mut planes = layout.planes_of_mut(&mut bytes).unwrap();
    let [y, u, v] = &mut planes[..] else {
        panic!("three planes")
    };
    y.rows_mut().for_each(|row| row.fill(b'y'));
    u.rows_mut().for_each(|row| row.fill(b'u'));
    v.rows_mut().for_each(|row| row.fill(b'v'));
    assert_eq!(bytes, b"vvvvuuuuyyyy\0\0\0\0yyyy\0\0\0\0yyyy\0\0\0\0yyyy");
    assert_eq!(
        layout.planes_of(&bytes[1..]).unwrap_err(),
        PlanesError::TooShort {
            length: size - 1,
            needed: size
        }
    );
}

#[test]
fn rows_of_a_pool_are_aligned_with_a_prefix_too() {
    let layout = VideoLayout::builder(VideoFormat::I420, 100, 30)
        .for_drm()
        .build()
        .unwrap();
    for (prefix, align) in [(0, false), (16, true), (256, false), (300, true)] {
        let builder = FramePool::builder()
            .frames(4)
            .prefix(prefix)
            .align_payload(align);
        let pool = builder.alignment(48).video(&layout).build().unwrap();
        assert_eq!(pool.payload_alignment() % 256, 0);
        for frame in pool.acquire_exact(4).unwrap() {
            for plane in frame.planes().unwrap().iter() {
                assert!(plane.rows().all(|row| row.as_ptr().addr() % 256 == 0));
            }
            assert!(frame.prefix().len() >= prefix);
        }
    }
    let pool = FramePool::builder()
        .frames(4)
        .prefix(16)
        .video(&layout)
        .build()
        .unwrap();
    assert_eq!(pool.payload_alignment(), 16);
}

#[test]
fn the_layout_of_a_pool_ends_with_another_frame_size() {
    let layout = VideoLayout::new(VideoFormat::Nv12, 64, 48).unwrap();
    let builder = FramePool::builder().frames(4).video(&layout);
    let pool = builder.clone().frame_size(100).build().unwrap();
    assert_eq!(pool.video_layout(), None);
    assert_eq!(
        pool.acquire().unwrap().planes().unwrap_err(),
        PlanesError::NoLayout
    );
    let pool = builder.build().unwrap();
    let mut frame = pool.acquire().unwrap();
    assert_eq!(frame.len(), layout.size());
    frame.set_len(100).unwrap();
    let short = PlanesError::TooShort {
        length: 100,
        needed: layout.size(),
    };
    assert_eq!(frame.planes().unwrap_err(), short);
    assert_eq!(frame.planes_mut().unwrap_err(), short);
    assert_eq!(frame.share().planes().unwrap_err(), short);
}

#[test]
fn an_allocator_has_a_layout_per_commit() {
    let nv12 = VideoLayout::new(VideoFormat::Nv12, 64, 48).unwrap();
    let p010 = VideoLayout::builder(VideoFormat::P010, 64, 48)
        .stride_alignment(256)
        .build();
    let p010 = p010.unwrap();
    let allocator = PoolAllocator::with_framing(Framing::new(2, 10).prefix(8)).unwrap();
    allocator.set_video(3, &nv12).unwrap();
    allocator.commit().unwrap();
    assert_eq!(allocator.framing(), Framing::new(3, nv12.size()).prefix(8));
    let old = allocator.acquire().unwrap();
    assert_eq!(old.planes().unwrap()[0].stride(), 64);
    assert!(allocator.set_video(3, &p010).is_err(), "it is committed");
    assert_eq!(allocator.video_layout(), Some(nv12));
    drop(old);
    allocator.decommit();
    allocator.set_video(4, &p010).unwrap();
    allocator.commit().unwrap();
    assert_eq!(allocator.framing().alignment, 256);
    assert_eq!(
        allocator.acquire().unwrap().planes().unwrap()[0].stride(),
        256
    );
    assert_eq!(allocator.pool().unwrap().video_layout(), Some(&p010));
}

#[test]
fn extra_bytes_alone_are_no_size_of_a_compressed_format() {
    let format = VideoFormat::Mjpeg;
    let error = VideoLayout::builder(format, 1920, 1080)
        .for_ffmpeg()
        .build();
    assert_eq!(error, Err(LayoutError::NoSize { format }));
    let large = VideoLayout::from_planes(format, 1920, 1080, &[], usize::MAX);
    assert!(matches!(large, Err(LayoutError::TooLarge { .. })));
}

#[test]
fn a_compressed_format_has_a_size_and_no_planes() {
    let layout = VideoLayout::builder(VideoFormat::Mjpeg, 1920, 1080).min_size(1 << 20);
    let layout = layout.build().unwrap();
    let pool = FramePool::builder()
        .frames(2)
        .video(&layout)
        .build()
        .unwrap();
    let mut frame = pool.acquire().unwrap();
    assert_eq!(frame.len(), 1 << 20);
    frame.set_len(5000).unwrap();
    assert!(frame.planes().unwrap().is_empty());
    assert!(frame.planes_mut().unwrap().is_empty());
}

#[cfg(feature = "serde")]
#[test]
fn layouts_are_serialized_and_checked_when_they_are_read() {
    let layout = VideoLayout::builder(VideoFormat::P010, 33, 17)
        .for_drm()
        .build()
        .unwrap();
    let text = serde_json::to_string(&layout.bottom_up()).unwrap();
    assert_eq!(
        serde_json::from_str::<VideoLayout>(&text).unwrap(),
        layout.bottom_up()
    );
    assert!(text.contains(r#""format":"P010""#), "{text}");
    let small = text.replace(&format!("\"size\":{}", layout.size()), "\"size\":9");
    let error = serde_json::from_str::<VideoLayout>(&small).unwrap_err();
    assert!(
        error.to_string().contains("the frame has 9 bytes"),
        "{error}"
    );
    let odd = text.replace("\"alignment\":256", "\"alignment\":0");
    serde_json::from_str::<VideoLayout>(&odd).unwrap_err();
}
