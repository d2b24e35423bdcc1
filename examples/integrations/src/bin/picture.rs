//! Planes of frames as images and arrays, and their rows in parallel.
//!
//! `image`, `ndarray` and `rayon` use the bytes of the frames where they are. Only
//! [`nv12_to_rgb24`] makes new pixels.

use std::io::Cursor;

use image::codecs::png::{PngDecoder, PngEncoder};
use image::flat::SampleLayout;
use image::{FlatSamples, GenericImageView, ImageBuffer, ImageDecoder, Rgb, Rgba};
use ks_allocator::{Frame, FramePool, Plane, PlaneLayout, VideoFormat, VideoLayout};
use ks_allocator_integrations::{Result, check};
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

const WIDTH: u32 = 318;
const HEIGHT: u32 = 200;

fn main() -> Result {
    let png_bytes = check_image()?;
    check_flat_samples()?;
    check_arrays()?;
    let colors = check_conversion()?;
    println!("picture: png_bytes={png_bytes} colors={colors}");
    Ok(())
}

/// Makes a pool of one frame, whose strides are multiples of `alignment` bytes.
fn pool(format: VideoFormat, alignment: usize) -> Result<FramePool> {
    let layout = VideoLayout::builder(format, WIDTH, HEIGHT).stride_alignment(alignment);
    Ok(FramePool::builder()
        .frames(1)
        .video(&layout.build()?)
        .build()?)
}

/// Encodes a frame as PNG and decodes it into another: an `ImageBuffer` over a frame without
/// unused bytes between its rows. Returns the size of the PNG in bytes.
fn check_image() -> Result<usize> {
    let mut frame = pool(VideoFormat::Rgba, 1)?.acquire()?;
    let image = ImageBuffer::<Rgba<u8>, _>::from_raw(WIDTH, HEIGHT, &mut frame[..]);
    let mut image = image.ok_or("the frame is large enough")?;
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        *pixel = Rgba([x, y, x / 2 + y / 2, 255].map(|value| value.to_le_bytes()[0]));
    }

    let mut png = Vec::new();
    let image = ImageBuffer::<Rgba<u8>, _>::from_raw(WIDTH, HEIGHT, &frame[..]);
    let image = image.ok_or("the frame is large enough")?;
    image.write_with_encoder(PngEncoder::new(&mut png))?;

    let decoder = PngDecoder::new(Cursor::new(&png))?;
    check(
        decoder.dimensions() == (WIDTH, HEIGHT),
        "the size of the picture",
    )?;
    let mut decoded = pool(VideoFormat::Rgba, 1)?.acquire()?;
    decoder.read_image(&mut decoded)?;
    check(
        decoded[..] == frame[..],
        "the decoded picture equals the encoded one",
    )?;
    Ok(png.len())
}

/// Returns a plane of 3 bytes per pixel as samples of which `image` makes views. Its rows may have
/// unused bytes behind them.
fn flat_samples<'frame>(plane: &Plane<'frame>, layout: &VideoLayout) -> FlatSamples<&'frame [u8]> {
    FlatSamples {
        samples: plane.bytes(),
        layout: SampleLayout {
            channels: 3,
            channel_stride: 1,
            width: layout.width(),
            width_stride: 3,
            height: layout.height(),
            height_stride: plane.stride(),
        },
        color_hint: None,
    }
}

/// Scales a frame with `image`, by a view over a frame with unused bytes between its rows.
fn check_flat_samples() -> Result {
    let pool = pool(VideoFormat::Rgb24, 64)?;
    let mut frame = pool.acquire()?;
    frame.fill(0xEE); // also between the rows
    for (y, row) in (0..HEIGHT).zip(frame.planes_mut()?[0].rows_mut()) {
        row.chunks_exact_mut(3)
            .for_each(|pixel| pixel.copy_from_slice(&rgb_of_row(y)));
    }
    let layout = pool.video_layout().ok_or("the pool has a layout")?;
    let plane = frame.planes()?[0];
    let samples = flat_samples(&plane, layout);
    let view = samples.as_view::<Rgb<u8>>()?;
    check(
        view.dimensions() == (WIDTH, HEIGHT),
        "the size of the picture",
    )?;
    check(
        view.get_pixel(WIDTH - 1, 9).0 == rgb_of_row(9),
        "the last pixel of a row",
    )?;
    let small = image::imageops::thumbnail(&view, 1, HEIGHT);
    let equal = (0..HEIGHT).all(|y| small.get_pixel(0, y).0 == rgb_of_row(y));
    check(equal, "the scaled picture has the color of each row")
}

fn rgb_of_row(y: u32) -> [u8; 3] {
    [y, 200 - y, 7].map(|value| value.to_le_bytes()[0])
}

/// Views a plane of 8-bit samples as an array.
fn array_of<'frame>(plane: &Plane<'frame>, shape: &PlaneLayout) -> Result<ArrayView2<'frame, u8>> {
    let shape = (shape.rows, shape.row_bytes).strides((shape.stride, 1));
    Ok(ArrayView2::from_shape(shape, plane.bytes())?)
}

/// Views a plane of 16-bit samples as an array.
fn array16_of<'plane>(
    plane: &'plane mut [u8],
    shape: &PlaneLayout,
) -> Result<ArrayViewMut2<'plane, u16>> {
    let samples = bytemuck::try_cast_slice_mut(plane).map_err(|error| error.to_string())?;
    let shape = (shape.rows, shape.row_bytes / 2).strides((shape.stride / 2, 1));
    Ok(ArrayViewMut2::from_shape(shape, samples)?)
}

/// Computes with planes as arrays, whose rows have unused bytes behind them.
fn check_arrays() -> Result {
    let gray = pool(VideoFormat::Gray8, 64)?;
    let mut frame = gray.acquire()?;
    frame.fill(0xEE);
    frame.planes_mut()?[0]
        .rows_mut()
        .for_each(|row| row.fill(3));
    let layout = gray.video_layout().ok_or("the pool has a layout")?;
    let array = array_of(&frame.planes()?[0], &layout.planes()[0])?;
    let sum: u32 = array.iter().map(|&sample| u32::from(sample)).sum();
    check(sum == 3 * WIDTH * HEIGHT, "the sum of an 8-bit plane")?;

    let p010 = pool(VideoFormat::P010, 64)?;
    let mut frame = p010.acquire()?;
    let layout = p010.video_layout().ok_or("the pool has a layout")?;
    let mut planes = frame.planes_mut()?;
    let mut luma = array16_of(planes[0].bytes_mut(), &layout.planes()[0])?;
    luma.row_mut(9).fill(940 << 6); // 10 bits at the top
    luma.column_mut(0).fill(64 << 6);
    let row = planes[0].as_plane().row(9).ok_or("row 9")?;
    check(
        row[..2] == (64_u16 << 6).to_le_bytes(),
        "the first sample of the row",
    )?;
    check(
        row[2..4] == (940_u16 << 6).to_le_bytes(),
        "the second sample of the row",
    )
}

/// Converts a picture from NV12 to RGB24 (BT.601, limited range), with its rows in parallel.
fn nv12_to_rgb24(nv12: &Frame, rgb: &mut Frame) -> Result {
    let source = nv12.planes()?;
    let (luma, chroma) = (&source[0], &source[1]);
    let mut target = rgb.planes_mut()?;
    let stride = target[0].stride();
    let rows = target[0].bytes_mut().par_chunks_mut(stride).enumerate();
    rows.for_each(|(y, row)| {
        if let (Some(luma), Some(chroma)) = (luma.row(y), chroma.row(y / 2)) {
            convert_row(luma, chroma, row);
        }
    });
    Ok(())
}

/// Converts one row. Bytes of `rgb` behind the last pixel stay as they are.
fn convert_row(luma: &[u8], chroma: &[u8], rgb: &mut [u8]) {
    let pairs = luma
        .chunks(2)
        .zip(chroma.chunks_exact(2))
        .zip(rgb.chunks_mut(6));
    for ((luma, chroma), rgb) in pairs {
        for (&y, rgb) in luma.iter().zip(rgb.chunks_exact_mut(3)) {
            rgb.copy_from_slice(&yuv_to_rgb(y, chroma[0], chroma[1]));
        }
    }
}

fn yuv_to_rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (
        298 * (i32::from(y) - 16),
        i32::from(u) - 128,
        i32::from(v) - 128,
    );
    [y + 409 * v, y - 100 * u - 208 * v, y + 516 * u].map(|value| {
        let value = (value + 128) >> 8;
        u8::try_from(value.clamp(0, 255)).unwrap_or(u8::MAX)
    })
}

/// Converts blocks of known colors. Returns their number.
fn check_conversion() -> Result<usize> {
    // Y, U, V of white, yellow, green, red, blue and black, and their colors.
    let colors = [
        ([235, 128, 128], [255, 255, 255]),
        ([210, 16, 146], [255, 255, 0]),
        ([145, 54, 34], [0, 255, 0]),
        ([82, 90, 240], [255, 0, 0]),
        ([41, 240, 110], [0, 0, 255]),
        ([16, 128, 128], [0, 0, 0]),
    ];
    // Blocks of 2 x 2 pixels have one color, because they share their chroma.
    let color_at = |x: usize, y: usize| colors[(x / 2 / 27 + y / 2 / 17) % colors.len()];
    let mut nv12 = pool(VideoFormat::Nv12, 32)?.acquire()?;
    let [luma, chroma] = &mut nv12.planes_mut()?[..] else {
        return Err("NV12 has 2 planes".into());
    };
    for (y, row) in luma.rows_mut().enumerate() {
        (0..)
            .zip(row)
            .for_each(|(x, luma)| *luma = color_at(x, y).0[0]);
    }
    for (y, row) in (0..).step_by(2).zip(chroma.rows_mut()) {
        let pairs = (0..).step_by(2).zip(row.chunks_exact_mut(2));
        pairs.for_each(|(x, pair)| pair.copy_from_slice(&color_at(x, y).0[1..]));
    }

    let mut rgb = pool(VideoFormat::Rgb24, 64)?.acquire()?;
    nv12_to_rgb24(&nv12, &mut rgb)?;
    for (y, row) in rgb.planes()?[0].rows().enumerate() {
        for (x, pixel) in row.chunks_exact(3).enumerate() {
            let differences = pixel.iter().zip(color_at(x, y).1);
            let near = differences
                .map(|(&a, b)| a.abs_diff(b))
                .all(|difference| difference <= 2);
            check(near, format!("pixel {x}, {y} has its color: {pixel:?}"))?;
        }
    }
    Ok(colors.len())
}
