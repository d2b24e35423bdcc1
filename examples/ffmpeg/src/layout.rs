//! Pixel formats, and the layout that a decoder needs.

use std::ffi::c_int;

use ffmpeg_next::decoder;
use ffmpeg_next::ffi::{AV_NUM_DATA_POINTERS, AVCodecContext, avcodec_align_dimensions2};
use ffmpeg_next::format::Pixel;
use ks_allocator::{Padding, PlanesError, VideoFormat, VideoLayout};

use crate::error::Error;

/// Returns FFmpeg's pixel format, or `None` if there is none.
///
/// YV12 is `yuv420p` with planes 1 and 2 swapped.
#[must_use]
pub fn pixel_format(format: VideoFormat) -> Option<Pixel> {
    let format = match format {
        VideoFormat::Yv12 => VideoFormat::I420,
        format => format,
    };
    format.ffmpeg_name()?.parse().ok()
}

/// Returns FFmpeg's number of the plane at this position in memory.
pub(crate) fn number_in_ffmpeg(format: VideoFormat, position: usize) -> usize {
    match (format, position) {
        (VideoFormat::Yv12, 1) => 2,
        (VideoFormat::Yv12, 2) => 1,
        _ => position,
    }
}

/// Returns the format of frames with this pixel format, or `None` if there is none.
#[must_use]
pub fn video_format(pixel: Pixel) -> Option<VideoFormat> {
    pixel.descriptor()?.name().parse().ok()
}

/// Returns the layout of frames for this decoder, which must know the size and the pixel format of
/// its pictures.
///
/// Its strides are those of the memory that FFmpeg takes by default, except that they are smaller
/// for formats with 3 bytes per pixel.
///
/// # Errors
///
/// Returns [`Error::PixelFormat`] if the pixel format is not known or has no equivalent, and
/// [`Error::Layout`] if the size is not known.
pub fn decoder_layout(decoder: &mut decoder::Video) -> Result<VideoLayout, Error> {
    let format = video_format(decoder.format()).ok_or(Error::PixelFormat)?;
    let (width, height) = (decoder.width(), decoder.height());
    // SAFETY: the pointer is used for one call, and the decoder is borrowed for that long.
    let context = unsafe { decoder.as_mut_ptr() };
    // SAFETY: a `decoder::Video` has an open context.
    let aligned = unsafe { Aligned::new(context, width, height) };
    let padding = Padding {
        right: aligned.width.saturating_sub(width),
        bottom: aligned.height.saturating_sub(height),
        ..Padding::default()
    };
    let layout = VideoLayout::builder(format, width, height)
        .for_ffmpeg()
        .stride_alignment(aligned.alignment)
        .derive_strides(true)
        .padding(padding)
        .build()?;
    Ok(layout)
}

/// Returns an error if a frame of `length` bytes has no room for all rows of the planes, each with
/// its unused bytes.
pub(crate) fn check_room(layout: &VideoLayout, length: usize) -> Result<(), PlanesError> {
    let ends = layout.planes().iter();
    let ends = ends.map(|plane| plane.offset + plane.rows * plane.stride);
    let needed = ends.max().unwrap_or(0);
    if length < needed {
        return Err(PlanesError::TooShort { length, needed });
    }
    Ok(())
}

/// Size of the memory that a decoder writes to for one picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aligned {
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
    /// Alignment of planes and strides in bytes.
    pub(crate) alignment: usize,
}

impl Aligned {
    /// Rounds up the size of a picture as the codec needs it.
    ///
    /// # Safety
    ///
    /// `context` is that of an open decoder.
    pub(crate) unsafe fn new(context: *mut AVCodecContext, width: u32, height: u32) -> Self {
        const COUNT: usize = AV_NUM_DATA_POINTERS as usize;
        let to_c = |pixels: u32| c_int::try_from(pixels).unwrap_or(c_int::MAX);
        let (mut aligned_width, mut aligned_height) = (to_c(width), to_c(height));
        let mut alignments = [0; COUNT];
        // SAFETY: the context is valid by this function's contract. The other pointers are those of
        // local variables, and the array has as many elements as the function writes.
        unsafe {
            avcodec_align_dimensions2(
                context,
                &raw mut aligned_width,
                &raw mut aligned_height,
                alignments.as_mut_ptr(),
            );
        }
        let largest = alignments.into_iter().fold(1, c_int::max);
        Self {
            width: u32::try_from(aligned_width).unwrap_or(width),
            height: u32::try_from(aligned_height).unwrap_or(height),
            alignment: usize::try_from(largest).unwrap_or(1),
        }
    }
}
