//! Layouts, names and sample positions are those of FFmpeg. Each test prints how many values it
//! compared.

use std::ffi::{CStr, c_int};
use std::fmt::Debug;
use std::ptr;

use ffmpeg_next::codec::{self, Id};
use ffmpeg_next::decoder;
use ffmpeg_next::ffi::{
    AV_PIX_FMT_FLAG_ALPHA, AV_PIX_FMT_FLAG_BE, AV_PIX_FMT_FLAG_RGB, AVComponentDescriptor,
    AVPixFmtDescriptor, AVPixelFormat, av_image_fill_arrays, av_image_fill_linesizes,
    av_image_fill_plane_sizes, av_image_get_buffer_size, av_pix_fmt_desc_get,
    av_pix_fmt_desc_get_id, av_pix_fmt_desc_next, avcodec_default_get_buffer2,
};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;
use ks_allocator::{VideoFormat, VideoLayout};
use ks_allocator_ffmpeg::{decoder_layout, pixel_format, video_format};

/// Sizes beside all from 1 x 1 to 67 x 67. FFmpeg accepts the last one of a width of 16,384, and
/// none that is higher.
const LARGE_SIZES: [(u32, u32); 14] = [
    (720, 576),
    (854, 480),
    (1366, 768),
    (1919, 1079),
    (1920, 1080),
    (1921, 1081),
    (3840, 2160),
    (4095, 2161),
    (7679, 4319),
    (7680, 4320),
    (1, 8191),
    (8191, 1),
    (16_383, 16_127),
    (16_384, 16_128),
];

/// Format, and for each plane the samples of a block in the order of memory. `X` is unused.
const SAMPLES: [(VideoFormat, &[&str]); 20] = [
    (VideoFormat::Nv12, &["Y", "UV"]),
    (VideoFormat::Nv21, &["Y", "VU"]),
    (VideoFormat::I420, &["Y", "U", "V"]),
    (VideoFormat::Yv12, &["Y", "V", "U"]),
    (VideoFormat::Nv16, &["Y", "UV"]),
    (VideoFormat::I422, &["Y", "U", "V"]),
    (VideoFormat::I444, &["Y", "U", "V"]),
    (VideoFormat::P010, &["Y", "UV"]),
    (VideoFormat::P016, &["Y", "UV"]),
    (VideoFormat::Yuy2, &["YUYV"]),
    (VideoFormat::Uyvy, &["UYVY"]),
    (VideoFormat::Bgra, &["BGRA"]),
    (VideoFormat::Rgba, &["RGBA"]),
    (VideoFormat::Bgrx, &["BGRX"]),
    (VideoFormat::Rgbx, &["RGBX"]),
    (VideoFormat::Argb, &["ARGB"]),
    (VideoFormat::Rgb24, &["RGB"]),
    (VideoFormat::Bgr24, &["BGR"]),
    (VideoFormat::Gray8, &["Y"]),
    (VideoFormat::Gray16, &["Y"]),
];

/// Number of compared values. A difference fails the test.
#[derive(Default)]
struct Comparisons(usize);

impl Comparisons {
    fn equal<T: PartialEq + Debug>(&mut self, ours: T, theirs: T, of: impl Debug) {
        assert_eq!(ours, theirs, "{of:?}");
        self.0 += 1;
    }
}

/// Returns all formats with planes, and FFmpeg's pixel formats for them.
fn formats() -> impl Iterator<Item = (VideoFormat, AVPixelFormat)> {
    let formats = VideoFormat::ALL.iter().copied();
    formats
        .filter(|format| !format.is_compressed())
        .map(|format| (format, pixel_format(format).expect("FFmpeg has it").into()))
}

fn sizes() -> impl Iterator<Item = (u32, u32)> {
    let small = (1..=67).flat_map(|width| (1..=67).map(move |height| (width, height)));
    small.chain(LARGE_SIZES)
}

fn to_c(number: u32) -> c_int {
    c_int::try_from(number).unwrap()
}

fn to_usize<T: TryInto<usize, Error: Debug>>(number: T) -> usize {
    number.try_into().unwrap()
}

/// Returns FFmpeg's number of the plane at each position in memory.
fn numbers(format: VideoFormat) -> [usize; 3] {
    match format {
        VideoFormat::Yv12 => [0, 2, 1],
        _ => [0, 1, 2],
    }
}

fn fill_linesizes(pixel: AVPixelFormat, width: u32) -> [c_int; 4] {
    let mut linesizes = [0; 4];
    // SAFETY: the array has the 4 elements that the function writes.
    let result = unsafe { av_image_fill_linesizes(linesizes.as_mut_ptr(), pixel, to_c(width)) };
    assert!(result >= 0);
    linesizes
}

fn fill_plane_sizes(pixel: AVPixelFormat, height: u32, linesizes: [c_int; 4]) -> [usize; 4] {
    let mut sizes = [0; 4];
    let linesizes = linesizes.map(|linesize| isize::try_from(linesize).unwrap());
    let height = to_c(height);
    // SAFETY: both arrays have the 4 elements that the function uses.
    let result =
        unsafe { av_image_fill_plane_sizes(sizes.as_mut_ptr(), pixel, height, linesizes.as_ptr()) };
    assert!(result >= 0);
    sizes
}

fn buffer_size(pixel: AVPixelFormat, (width, height): (u32, u32), align: usize) -> usize {
    let align = c_int::try_from(align).unwrap();
    // SAFETY: the function takes only numbers.
    to_usize(unsafe { av_image_get_buffer_size(pixel, to_c(width), to_c(height), align) })
}

/// Returns the offsets and strides of `av_image_fill_arrays`, by FFmpeg's numbers of planes.
fn fill_arrays(
    pixel: AVPixelFormat,
    (width, height): (u32, u32),
    align: usize,
) -> ([usize; 4], [usize; 4]) {
    let (mut data, mut linesizes) = ([ptr::null_mut(); 4], [0; 4]);
    let start = ptr::without_provenance::<u8>(1 << 16);
    // SAFETY: both arrays have the 4 elements that the function writes. It does not access the
    // bytes at `start`, as no format has a palette.
    let result = unsafe {
        av_image_fill_arrays(
            data.as_mut_ptr(),
            linesizes.as_mut_ptr(),
            start,
            pixel,
            to_c(width),
            to_c(height),
            c_int::try_from(align).unwrap(),
        )
    };
    assert!(result >= 0);
    let offsets = data.map(|plane| plane.addr().saturating_sub(start.addr()));
    (offsets, linesizes.map(to_usize))
}

#[test]
fn the_smallest_layout_is_that_of_av_image_fill_linesizes_and_plane_sizes() {
    let mut compared = Comparisons::default();
    for (format, pixel) in formats() {
        for (width, height) in sizes() {
            let of = (format, width, height);
            let layout = VideoLayout::new(format, width, height).unwrap();
            let linesizes = fill_linesizes(pixel, width);
            let plane_sizes = fill_plane_sizes(pixel, height, linesizes);
            let planes = layout.planes();
            let mut end = 0;
            for (plane, number) in planes.iter().zip(numbers(format)) {
                compared.equal(plane.stride, to_usize(linesizes[number]), of);
                compared.equal(plane.row_bytes, to_usize(linesizes[number]), of);
                compared.equal(plane.stride * plane.rows, plane_sizes[number], of);
                compared.equal(plane.offset, end, of);
                end += plane_sizes[number];
            }
            for &unused in &plane_sizes[planes.len()..] {
                compared.equal(0, unused, of);
            }
            compared.equal(layout.size(), end, of);
        }
    }
    println!(
        "smallest layouts: {} values are those of FFmpeg",
        compared.0
    );
}

#[test]
fn aligned_layouts_are_those_of_av_image_fill_arrays_and_buffer_size() {
    let mut compared = Comparisons::default();
    for (format, pixel) in formats() {
        for (width, height) in sizes() {
            let builder = VideoLayout::builder(format, width, height);
            let mut layouts: Vec<(usize, VideoLayout)> = [1, 16, 32, 64]
                .map(|align| (align, builder.stride_alignment(align).build().unwrap()))
                .into();
            let preset = builder.for_ffmpeg();
            layouts.push((64, preset.extra_bytes(0).build().unwrap()));
            let padded = preset.build().unwrap().size();
            for (align, layout) in layouts {
                let of = (format, width, height, align);
                let size = buffer_size(pixel, (width, height), align);
                compared.equal(layout.size(), size, of);
                let (offsets, linesizes) = fill_arrays(pixel, (width, height), align);
                for (position, plane) in layout.planes().iter().enumerate() {
                    // Where V is first, its plane is as large as that of U.
                    compared.equal(plane.offset, offsets[position], of);
                    compared.equal(plane.stride, linesizes[position], of);
                }
                if align == 64 {
                    compared.equal(padded, size + 64, of);
                }
            }
        }
    }
    println!("aligned layouts: {} values are those of FFmpeg", compared.0);
}

/// Opens a decoder whose pictures have this format and size.
fn open_decoder(id: Id, pixel: Pixel, width: u32, height: u32) -> decoder::Video {
    let mut context = codec::Context::new_with_codec(decoder::find(id).unwrap());
    // SAFETY: the pointer is used while the context is borrowed.
    let av = unsafe { context.as_mut_ptr() };
    // SAFETY: FFmpeg had the memory for a context.
    let av = unsafe { &mut *av };
    (av.width, av.height, av.pix_fmt) = (to_c(width), to_c(height), pixel.into());
    context.decoder().video().unwrap()
}

/// Returns the strides of the memory that FFmpeg takes for a picture of a decoder by default.
fn default_linesizes(decoder: &mut decoder::Video) -> [c_int; 8] {
    let mut picture = frame::Video::empty();
    picture.set_format(decoder.format());
    picture.set_width(decoder.width());
    picture.set_height(decoder.height());
    // SAFETY: the pointer is used while the picture is borrowed.
    let av = unsafe { picture.as_mut_ptr() };
    // SAFETY: the pointer is used while the decoder is borrowed.
    let context = unsafe { decoder.as_mut_ptr() };
    // SAFETY: the decoder is open, and the picture has a format and a size, but no memory.
    let result = unsafe { avcodec_default_get_buffer2(context, av, 0) };
    assert_eq!(result, 0);
    // SAFETY: the picture is valid.
    unsafe { (*av).linesize }
}

#[test]
fn layouts_for_decoders_have_the_strides_of_avcodec_default_get_buffer2() {
    let mut compared = Comparisons::default();
    for (format, pixel) in formats().filter(|&(format, _)| format != VideoFormat::Yv12) {
        for width in (1..=67).chain([720, 854, 1366, 1920, 4095]) {
            for (id, height) in [(Id::MPEG4, 33), (Id::H264, 17), (Id::FFV1, 64)] {
                let mut decoder = open_decoder(id, pixel.into(), width, height);
                let layout = decoder_layout(&mut decoder).unwrap();
                compared.equal(layout.format(), format, id);
                let linesizes = default_linesizes(&mut decoder);
                for (plane, linesize) in layout.planes().iter().zip(linesizes) {
                    let linesize = to_usize(linesize);
                    // FFmpeg widens the picture until its stride is a multiple of 64. With 3 bytes
                    // per pixel it stops at multiples of 192, which `avcodec_align_dimensions2`
                    // does not ask for.
                    let stride = match format.planes()[0].block_bytes {
                        3 => plane.stride.next_multiple_of(192),
                        _ => plane.stride,
                    };
                    compared.equal(stride, linesize, (format, id, width));
                }
            }
        }
    }
    println!(
        "layouts for decoders: {} values are those of FFmpeg",
        compared.0
    );
}

/// Returns the descriptions of all pixel formats of FFmpeg.
fn descriptors() -> impl Iterator<Item = &'static AVPixFmtDescriptor> {
    let mut last = ptr::null();
    std::iter::from_fn(move || {
        // SAFETY: the pointer is null or the last one that the function returned.
        last = unsafe { av_pix_fmt_desc_next(last) };
        // SAFETY: the pointer is null or that of a constant.
        unsafe { last.as_ref() }
    })
}

fn name_of(descriptor: &AVPixFmtDescriptor) -> &str {
    // SAFETY: the name is a string constant.
    let name = unsafe { CStr::from_ptr(descriptor.name) };
    name.to_str().unwrap()
}

#[test]
fn names_lead_to_a_pixel_format_and_back() {
    let mut compared = Comparisons::default();
    for (format, pixel) in formats() {
        let (name, back) = match format {
            VideoFormat::Yv12 => ("yuv420p", VideoFormat::I420),
            _ => (format.ffmpeg_name().unwrap(), format),
        };
        compared.equal(name, name_of(descriptor(pixel)), format);
        compared.equal(Some(back), video_format(pixel.into()), format);
    }
    // No other pixel format has a name that is parsed as one of ours.
    let mut with_format = 0;
    for descriptor in descriptors() {
        // SAFETY: the descriptor is one of FFmpeg's.
        let pixel = unsafe { av_pix_fmt_desc_get_id(descriptor) };
        let parsed = name_of(descriptor).parse::<VideoFormat>().ok();
        let back = parsed.and_then(pixel_format).map(AVPixelFormat::from);
        let expected = parsed.map(|_| pixel);
        compared.equal(back, expected, name_of(descriptor));
        with_format += usize::from(parsed.is_some());
    }
    compared.equal(with_format, 19, "formats with a name in FFmpeg");
    for format in VideoFormat::ALL
        .iter()
        .filter(|format| format.is_compressed())
    {
        compared.equal(pixel_format(*format), None, format);
    }
    println!("names: {} values are those of FFmpeg", compared.0);
}

fn descriptor(pixel: AVPixelFormat) -> &'static AVPixFmtDescriptor {
    // SAFETY: the function takes only a number.
    let descriptor = unsafe { av_pix_fmt_desc_get(pixel) };
    // SAFETY: the pointer is null or that of a constant.
    unsafe { descriptor.as_ref() }.unwrap()
}

#[test]
fn samples_lie_where_the_pixel_format_descriptor_says() {
    let mut compared = Comparisons::default();
    for (format, pixel) in formats() {
        let (_, planes) = SAMPLES.iter().find(|(of, _)| *of == format).unwrap();
        let descriptor = descriptor(pixel);
        let bytes = format.bytes_per_sample();
        for (plane, samples) in format.planes().iter().zip(*planes) {
            compared.equal(plane.block_bytes, samples.len() * bytes, format);
        }
        compared.equal(planes.len(), format.planes().len(), format);
        check_flags(&mut compared, format, descriptor);
        // Red, green and blue, or Y, U and V, and then alpha.
        let is_rgb = planes[0].contains('R');
        let order = if is_rgb { "RGBA" } else { "YUVA" };
        let present = |sample: &char| planes.iter().any(|samples| samples.contains(*sample));
        let components = order.chars().filter(present);
        compared.equal(
            components.clone().count(),
            usize::from(descriptor.nb_components),
            format,
        );
        for (sample, component) in components.zip(&descriptor.comp) {
            check_sample(&mut compared, format, planes, sample, component);
        }
    }
    println!("samples: {} values are those of FFmpeg", compared.0);
}

fn check_flags(compared: &mut Comparisons, format: VideoFormat, descriptor: &AVPixFmtDescriptor) {
    let (_, planes) = SAMPLES.iter().find(|(of, _)| *of == format).unwrap();
    let has = |flag: c_int| descriptor.flags & u64::try_from(flag).unwrap() != 0;
    compared.equal(false, has(AV_PIX_FMT_FLAG_BE), format);
    compared.equal(planes[0].contains('R'), has(AV_PIX_FMT_FLAG_RGB), format);
    compared.equal(planes[0].contains('A'), has(AV_PIX_FMT_FLAG_ALPHA), format);
    let (width, height) = format.chroma_subsampling();
    compared.equal(width, 1 << descriptor.log2_chroma_w, format);
    compared.equal(height, 1 << descriptor.log2_chroma_h, format);
}

fn check_sample(
    compared: &mut Comparisons,
    format: VideoFormat,
    planes: &[&str],
    sample: char,
    component: &AVComponentDescriptor,
) {
    let of = (format, sample);
    let bytes = format.bytes_per_sample();
    let position = planes.iter().position(|samples| samples.contains(sample));
    let position = position.unwrap();
    let samples = planes[position];
    let first = samples.find(sample).unwrap();
    let step = samples.len() / samples.matches(sample).count();
    compared.equal(numbers(format)[position], to_usize(component.plane), of);
    compared.equal(first * bytes, to_usize(component.offset), of);
    compared.equal(step * bytes, to_usize(component.step), of);
    compared.equal(
        format.bits_per_sample(),
        u32::try_from(component.depth).unwrap(),
        of,
    );
    // The bits of P010 are at the top of 16, and all others fill their bytes.
    let unused = bytes * 8 - to_usize(format.bits_per_sample());
    compared.equal(unused, to_usize(component.shift), of);
}
