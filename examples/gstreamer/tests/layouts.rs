//! Comparison of the crate's video layouts with those of the GStreamer that is installed.
//!
//! Each test prints the number of its comparisons: `cargo test -- --nocapture`.

use gst::glib;
use gst_video::{VideoAlignment, VideoFormatInfo, VideoInfo, VideoPackFlags};
use ks_allocator::{LayoutError, Padding, Plane, VideoFormat, VideoLayout, VideoLayoutBuilder};
use ks_allocator_gstreamer::layout_of;

/// Sizes beyond 1 to 67 pixels.
const LARGE_SIZES: [(u32, u32); 23] = [
    (320, 240),
    (639, 479),
    (640, 480),
    (720, 576),
    (854, 480),
    (1279, 719),
    (1366, 768),
    (1920, 1080),
    (1921, 1081),
    (1922, 1082),
    (1923, 1083),
    (3840, 2160),
    (4095, 2161),
    (4097, 2159),
    (7680, 4320),
    (7681, 4321),
    (8191, 8191),
    (16383, 16383),
    (1, 65_535),
    (65_535, 1),
    (2, 32_767),
    (32_767, 3),
    (65_535, 32_767),
];

fn formats() -> impl Iterator<Item = VideoFormat> {
    VideoFormat::ALL
        .iter()
        .copied()
        .filter(|format| !format.is_compressed())
}

fn small_sizes() -> impl Iterator<Item = (u32, u32)> {
    (1..=67).flat_map(|width| (1..=67).map(move |height| (width, height)))
}

fn gst_format(format: VideoFormat) -> gst_video::VideoFormat {
    gst_video::VideoFormat::from_string(format.gstreamer_name())
}

/// Returns the result of `gst_video_info_set_format`, or `None` if it rejects the size.
fn gst_info(format: VideoFormat, width: u32, height: u32) -> Option<VideoInfo> {
    VideoInfo::builder(gst_format(format), width, height)
        .build()
        .ok()
}

fn builder(format: VideoFormat, (width, height): (u32, u32)) -> VideoLayoutBuilder {
    VideoLayout::builder(format, width, height).for_gstreamer()
}

/// Size, and per plane offset, stride, bytes per row, and rows.
type Numbers = (usize, Vec<[usize; 4]>);

fn our_numbers(layout: &VideoLayout) -> Numbers {
    let planes = layout.planes().iter();
    let planes = planes.map(|plane| [plane.offset, plane.stride, plane.row_bytes, plane.rows]);
    (layout.size(), planes.collect())
}

/// The bytes per row are those up to the end of the last component of a row.
fn gst_numbers(info: &VideoInfo) -> Numbers {
    let planes = info.offset().iter().zip(info.stride()).zip(0..);
    let planes = planes.map(|((&offset, &stride), plane)| {
        let components = (0..u8::try_from(info.n_components()).unwrap())
            .filter(|&component| info.comp_plane(component) == plane);
        let sizes = components.map(|component| {
            let bytes =
                info.comp_width(component) * u32::try_from(info.comp_pstride(component)).unwrap();
            (bytes, info.comp_height(component))
        });
        let (bytes, rows) = sizes.max().unwrap();
        let [bytes, rows] = [bytes, rows].map(|number| usize::try_from(number).unwrap());
        [offset, usize::try_from(stride).unwrap(), bytes, rows]
    });
    (info.size(), planes.collect())
}

#[test]
fn layouts_are_those_of_gst_video_info_set_format() {
    gst::init().unwrap();
    let (mut equal, mut numbers, mut rejected) = (0, 0, 0);
    for format in formats() {
        for (width, height) in small_sizes().chain(LARGE_SIZES) {
            let layout = builder(format, (width, height)).build().unwrap();
            let Some(info) = gst_info(format, width, height) else {
                // GStreamer rejects pictures of 4 GiB and more, by an estimate.
                assert_eq!((width, height), (65_535, 32_767), "{format}");
                rejected += 1;
                continue;
            };
            let ours = our_numbers(&layout);
            assert_eq!(ours, gst_numbers(&info), "{format} {width} x {height}");
            equal += 1;
            numbers += 1 + 4 * ours.1.len();
        }
    }
    println!("default layouts: {equal} equal, {numbers} numbers; GStreamer rejects {rejected}");
    assert_eq!(equal + rejected, 20 * (67 * 67 + LARGE_SIZES.len()));
}

#[test]
fn layouts_made_from_a_video_info_are_the_same() {
    gst::init().unwrap();
    let mut equal = 0;
    for format in formats() {
        for size in small_sizes() {
            let info = gst_info(format, size.0, size.1).unwrap();
            let layout = layout_of(&info).unwrap().unwrap();
            let built = builder(format, size).build().unwrap();
            assert_eq!(our_numbers(&layout), our_numbers(&built));
            assert_eq!(
                (layout.format(), layout.width(), layout.height()),
                (format, size.0, size.1)
            );
            equal += 1;
        }
    }
    println!("from_planes of a GstVideoInfo: {equal} equal");
}

#[test]
fn names_are_those_of_gstreamer() {
    gst::init().unwrap();
    for format in formats() {
        let name = format.gstreamer_name();
        assert_ne!(
            gst_format(format),
            gst_video::VideoFormat::Unknown,
            "{name}"
        );
        assert_eq!(gst_format(format).to_str(), name);
        assert_eq!(name.parse(), Ok(format));
    }
    // No format that the crate does not have is taken for another.
    let class = glib::EnumClass::new::<gst_video::VideoFormat>();
    let theirs = class.values().iter().map(|value| value.to_value(&class));
    let (mut known, mut unknown) = (0, 0);
    for name in theirs.map(|value| value.get::<gst_video::VideoFormat>().unwrap().to_str()) {
        match name.parse::<VideoFormat>() {
            Ok(format) => {
                assert_eq!(format.gstreamer_name(), name);
                known += 1;
            }
            Err(_) => unknown += 1,
        }
    }
    println!("names: of GStreamer's formats {known} are known and {unknown} are not");
    assert_eq!(known, 20);
}

#[test]
fn media_types_are_those_of_the_type_finders() {
    gst::init().unwrap();
    let finders = gst::TypeFindFactory::factories();
    for format in VideoFormat::ALL
        .iter()
        .filter(|format| format.is_compressed())
    {
        let name = format.gstreamer_name();
        let mut caps = finders.iter().filter_map(|finder| finder.caps());
        assert!(
            caps.any(|caps| caps.iter().any(|caps| caps.name() == name)),
            "{name}"
        );
        assert_eq!(name.parse(), Ok(*format));
    }
}

/// Returns plane and byte of the first Y, U and V, or of R, G, B and A, by the documentation of the
/// crate.
fn components(format: VideoFormat) -> Vec<(u32, u32)> {
    match format {
        VideoFormat::Nv12 | VideoFormat::Nv16 => vec![(0, 0), (1, 0), (1, 1)],
        VideoFormat::Nv21 => vec![(0, 0), (1, 1), (1, 0)],
        VideoFormat::P010 | VideoFormat::P016 => vec![(0, 0), (1, 0), (1, 2)],
        VideoFormat::I420 | VideoFormat::I422 | VideoFormat::I444 => vec![(0, 0), (1, 0), (2, 0)],
        VideoFormat::Yv12 => vec![(0, 0), (2, 0), (1, 0)],
        VideoFormat::Yuy2 => vec![(0, 0), (0, 1), (0, 3)],
        VideoFormat::Uyvy => vec![(0, 1), (0, 0), (0, 2)],
        VideoFormat::Gray8 | VideoFormat::Gray16 => vec![(0, 0)],
        packed => {
            let find = |letter| {
                packed
                    .name()
                    .find(letter)
                    .map(|at| (0, u32::try_from(at).unwrap()))
            };
            ['R', 'G', 'B', 'A'].into_iter().filter_map(find).collect()
        }
    }
}

#[test]
fn components_lie_where_the_format_says() {
    gst::init().unwrap();
    let mut count = 0;
    for format in formats() {
        let info = VideoFormatInfo::from_format(gst_format(format));
        let offsets = info.poffset().iter().copied();
        let mut theirs: Vec<_> = info.plane().iter().copied().zip(offsets).collect();
        if matches!(format, VideoFormat::P010 | VideoFormat::P016) {
            // The table of GStreamer has 1 here, which is the upper byte of U. Its code uses 2, as
            // the next test shows.
            assert_eq!(theirs[2], (1, 1));
            theirs[2] = (1, 2);
        }
        assert_eq!(theirs, components(format), "{format}");
        assert_eq!(info.depth()[0], format.bits_per_sample());
        let unused_bits = if format == VideoFormat::P010 { 6 } else { 0 };
        assert!(
            info.shift().iter().all(|&shift| shift == unused_bits),
            "{format}"
        );
        if info.is_yuv() {
            let subsampling = (1 << info.w_sub()[1], 1 << info.h_sub()[1]);
            assert_eq!(subsampling, format.chroma_subsampling(), "{format}");
        }
        count += theirs.len();
    }
    println!("positions of components: {count} equal");
}

#[test]
fn gstreamer_reads_the_components_that_were_written() {
    gst::init().unwrap();
    let mut count = 0;
    for format in formats() {
        let layout = builder(format, (4, 4)).build().unwrap();
        let mut bytes = vec![0; layout.size()];
        let mut planes = layout.planes_of_mut(&mut bytes).unwrap();
        // The upper byte of each sample, which is the last one.
        let upper = format.bytes_per_sample() - 1;
        let written: Vec<_> = components(format)
            .into_iter()
            .zip([64, 128, 192, 32])
            .collect();
        for &((plane, offset), value) in &written {
            let plane = usize::try_from(plane).unwrap();
            let first = usize::try_from(offset).unwrap() + upper;
            let block_bytes = format.planes()[plane].block_bytes;
            for row in planes[plane].rows_mut() {
                row[first..]
                    .iter_mut()
                    .step_by(block_bytes)
                    .for_each(|byte| *byte = value);
            }
        }
        // Alpha; then Y, U and V, or R, G and B.
        let pixel = unpack_first_pixel(format, &layout.planes_of(&bytes).unwrap());
        let samples: Vec<_> = pixel
            .chunks(upper + 1)
            .map(|sample| sample[upper])
            .collect();
        for (number, (_, value)) in written.iter().enumerate() {
            assert_eq!(samples[(number + 1) % 4], *value, "{format}");
        }
        count += written.len();
    }
    println!("components read by GStreamer: {count} equal");
}

/// Returns the pixel at the upper left, as GStreamer unpacks it.
fn unpack_first_pixel(format: VideoFormat, planes: &[Plane<'_>]) -> Vec<u8> {
    let info = VideoFormatInfo::from_format(gst_format(format));
    let bytes: Vec<_> = planes.iter().map(Plane::bytes).collect();
    let strides: Vec<_> = planes
        .iter()
        .map(|plane| plane.stride().try_into().unwrap())
        .collect();
    let mut pixels = [0; 4 * 8];
    info.unpack(
        VideoPackFlags::empty(),
        &mut pixels,
        &bytes,
        &strides,
        0,
        0,
        4,
    );
    pixels[..4 * format.bytes_per_sample()].to_vec()
}

/// Sizes, and paddings at the left, right, top and bottom.
fn padded_pictures() -> impl Iterator<Item = ((u32, u32), [u32; 4])> {
    const SIZES: [(u32, u32); 12] = [
        (1, 1),
        (2, 2),
        (3, 5),
        (5, 3),
        (8, 8),
        (17, 33),
        (40, 30),
        (66, 35),
        (67, 67),
        (101, 99),
        (638, 360),
        (1920, 1080),
    ];
    let paddings = [0, 1, 2, 5, 6, 16].into_iter().flat_map(|left| {
        let rights = [0, 1, 2, 10, 16].into_iter();
        rights.flat_map(move |right| {
            let tops = [0, 1, 2, 3, 4, 16].into_iter();
            tops.flat_map(move |top| [0, 1, 2, 8].map(|bottom| [left, right, top, bottom]))
        })
    });
    paddings.flat_map(|padding| SIZES.map(|size| (size, padding)))
}

/// Returns the result of `gst_video_info_align`, and the padding with which it has replaced the
/// given one so that all rows and strides are aligned. `mask` is the alignment less 1.
fn gst_align(
    format: VideoFormat,
    (width, height): (u32, u32),
    [left, right, top, bottom]: [u32; 4],
    mask: u32,
) -> (VideoInfo, Padding) {
    let mut info = gst_info(format, width, height).unwrap();
    let mut alignment = VideoAlignment::new(top, bottom, left, right, &[mask; 4]);
    info.align(&mut alignment).unwrap();
    let padding = Padding {
        left: alignment.padding_left(),
        right: alignment.padding_right(),
        top: alignment.padding_top(),
        bottom: alignment.padding_bottom(),
    };
    (info, padding)
}

#[test]
fn layouts_with_padding_are_those_of_gst_video_info_align() {
    gst::init().unwrap();
    let (mut equal, mut widened, mut split, mut outside) = (0, 0, 0, 0);
    for format in formats() {
        let (block_width, block_height) = format.chroma_subsampling();
        for ((size, sides), mask) in
            padded_pictures().flat_map(|picture| [0, 15, 63].map(|mask| (picture, mask)))
        {
            let (info, padding) = gst_align(format, size, sides, mask);
            let made = layout_of(&info).unwrap();
            match builder(format, size).padding(padding).build() {
                Ok(layout) => {
                    let numbers = gst_numbers(&info);
                    assert_eq!(our_numbers(&layout), numbers, "{format} {size:?}");
                    assert_eq!(our_numbers(&made.unwrap()), numbers);
                    equal += 1;
                    widened += u32::from([padding.left, padding.right] != sides[..2]);
                }
                // GStreamer rounds such a padding up for chroma, whose last plane may then end
                // behind the buffer.
                Err(error) => {
                    assert!(matches!(error, LayoutError::Padding { .. }), "{error}");
                    assert!(padding.left % block_width != 0 || padding.top % block_height != 0);
                    split += 1;
                    outside += u32::from(made.is_err());
                }
            }
        }
    }
    println!("padding: {equal} equal, of which GStreamer has widened {widened}");
    println!(
        "padding that splits chroma: {split} rejected; {outside} layouts of GStreamer do not fit"
    );
}

#[test]
fn aligned_strides_are_at_most_those_of_gst_video_info_align() {
    gst::init().unwrap();
    let (mut equal, mut smaller) = (0, 0);
    for format in formats() {
        for size in small_sizes() {
            for mask in [3, 7, 15, 31, 63, 127, 255] {
                let (info, _) = gst_align(format, size, [0; 4], mask);
                let alignment = usize::try_from(mask).unwrap() + 1;
                let layout = builder(format, size)
                    .stride_alignment(alignment)
                    .build()
                    .unwrap();
                let (ours, theirs) = (our_numbers(&layout), gst_numbers(&info));
                let strides = || {
                    ours.1
                        .iter()
                        .zip(&theirs.1)
                        .map(|(our, their)| (our[1], their[1]))
                };
                assert!(
                    strides().all(|(our, their)| our <= their),
                    "{format} {size:?}"
                );
                // Other differences follow from the strides.
                assert_eq!(ours == theirs, strides().all(|(our, their)| our == their));
                if ours == theirs {
                    equal += 1;
                } else {
                    smaller += 1;
                }
            }
        }
    }
    println!("alignment of strides: {equal} equal, {smaller} smaller than GStreamer's");
}

/// In an interlaced picture each field has whole chroma samples. GStreamer 1.22 makes room for them
/// in the 4:2:0 formats of 8 bits only.
#[test]
fn interlaced_layouts_differ_if_the_fields_have_half_a_chroma_row() {
    gst::init().unwrap();
    let (mut equal, mut different) = (0, 0);
    for format in formats() {
        let has_field_rows = format.chroma_subsampling() == (2, 2) && format.bits_per_sample() == 8;
        for (width, height) in small_sizes() {
            let mut caps = gst_info(format, width, height).unwrap().to_caps().unwrap();
            caps.make_mut().set("interlace-mode", "interleaved");
            let info = VideoInfo::from_caps(&caps).unwrap();
            let made = layout_of(&info).unwrap().unwrap();
            assert_eq!(our_numbers(&made), gst_numbers(&info));
            let layout = builder(format, (width, height)).build().unwrap();
            let is_different = our_numbers(&layout) != gst_numbers(&info);
            assert_eq!(is_different, has_field_rows && matches!(height % 4, 1 | 2));
            if is_different {
                different += 1;
            } else {
                equal += 1;
            }
        }
    }
    println!("interlaced: {equal} equal, {different} different");
}
