//! Builder of video layouts.

#![warn(clippy::arithmetic_side_effects)]

use crate::framing::{common_alignment, least_common_multiple};

use super::error::LayoutError;
use super::format::{PlaneFormat, VideoFormat};
use super::layout::{MAX_PLANES, Picture, PlaneLayout, VideoLayout};

/// Pixels around a picture that belong to the frame and not to the picture.
///
/// Decoders use them for whole macroblocks and for motion vectors that point outside.
///
/// ```
/// use ks_allocator::{Padding, VideoFormat, VideoLayout};
///
/// // 1080 rows in a frame of 1088: the coded size of H.264.
/// let padding = Padding { bottom: 8, ..Padding::default() };
/// let layout = VideoLayout::builder(VideoFormat::Nv12, 1920, 1080).padding(padding).build()?;
/// assert_eq!(layout.planes()[1].offset, 1920 * 1088);
/// assert_eq!(layout.planes()[1].rows, 540);
/// # Ok::<(), ks_allocator::LayoutError>(())
/// ```
#[doc(alias = "GstVideoAlignment")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Padding {
    /// Pixels at the left. A multiple of the chroma subsampling.
    pub left: u32,
    /// Pixels at the right.
    pub right: u32,
    /// Rows of pixels above. A multiple of the chroma subsampling.
    pub top: u32,
    /// Rows of pixels below.
    pub bottom: u32,
}

/// Builder of a [`VideoLayout`].
///
/// Without options it computes the smallest layout. The presets set options that other methods may
/// change afterwards:
///
/// | preset | stride of luma | of chroma | rows of luma in 4:2:0 | at the end |
/// |---|---|---|---|---|
/// | [`for_gstreamer`](Self::for_gstreamer) | multiple of 4 | multiple of 4 | even | |
/// | [`for_ffmpeg`](Self::for_ffmpeg) | multiple of 64 | multiple of 64 | | 64 bytes |
/// | [`for_v4l2`](Self::for_v4l2) | | derived | even | |
/// | [`for_drm`](Self::for_drm) | multiple of 256 | multiple of 256 | | |
/// | [`for_media_foundation`](Self::for_media_foundation) | multiple of 4 | derived | even | |
///
/// To suit all of them, take [`for_media_foundation`](Self::for_media_foundation) with a
/// [stride alignment](Self::stride_alignment) of 256 and 64 [extra bytes](Self::extra_bytes).
/// GStreamer then needs a `GstVideoMeta`.
///
/// ```
/// use ks_allocator::{VideoFormat, VideoLayout};
///
/// let size = |layout: VideoLayout| (layout.planes()[0].stride, layout.size());
/// let nv12 = VideoLayout::builder(VideoFormat::Nv12, 854, 480);
/// assert_eq!(size(nv12.build()?), (854, 614_880));
/// assert_eq!(size(nv12.for_gstreamer().build()?), (856, 616_320));
/// assert_eq!(size(nv12.for_drm().build()?), (1024, 737_280));
/// # Ok::<(), ks_allocator::LayoutError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder builds nothing by itself"]
pub struct VideoLayoutBuilder {
    picture: Picture,
    stride: Option<usize>,
    stride_alignments: [usize; MAX_PLANES],
    plane_alignment: usize,
    derives_strides: bool,
    has_whole_blocks: bool,
    padding: Padding,
    extra_bytes: usize,
    min_size: usize,
}

impl VideoLayout {
    /// Computes the smallest layout of a picture: rows and planes follow each other without gaps.
    ///
    /// # Errors
    ///
    /// The errors of [`VideoLayoutBuilder::build`].
    ///
    /// ```
    /// use ks_allocator::{VideoFormat, VideoLayout};
    ///
    /// assert_eq!(VideoLayout::new(VideoFormat::I420, 1920, 1080)?.size(), 3_110_400);
    /// assert_eq!(VideoLayout::new(VideoFormat::I420, 3, 3)?.size(), 9 + 4 + 4);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub fn new(format: VideoFormat, width: u32, height: u32) -> Result<Self, LayoutError> {
        Self::builder(format, width, height).build()
    }

    /// Returns a builder of a layout.
    ///
    /// ```
    /// use ks_allocator::{VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::builder(VideoFormat::I420, 5, 3).for_gstreamer().build()?;
    /// assert!(layout.planes().iter().map(|plane| plane.stride).eq([8, 4, 4]));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub const fn builder(format: VideoFormat, width: u32, height: u32) -> VideoLayoutBuilder {
        VideoLayoutBuilder::new(format, width, height)
    }
}

impl VideoLayoutBuilder {
    const fn new(format: VideoFormat, width: u32, height: u32) -> Self {
        let picture = Picture {
            format,
            width,
            height,
        };
        Self {
            picture,
            stride: None,
            stride_alignments: [1; MAX_PLANES],
            plane_alignment: 1,
            derives_strides: false,
            has_whole_blocks: false,
            padding: Padding {
                left: 0,
                right: 0,
                top: 0,
                bottom: 0,
            },
            extra_bytes: 0,
            min_size: 0,
        }
    }

    /// Sets the alignment of all strides in bytes: each is a multiple of it. 1 by default.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::I420, 100, 4).stride_alignment(64).build()?;
    /// assert_eq!(layout.planes().iter().map(|plane| plane.stride).max(), Some(128));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub const fn stride_alignment(mut self, alignment: usize) -> Self {
        self.stride_alignments = [alignment; MAX_PLANES];
        self
    }

    /// Sets the alignment of the stride of one plane in bytes. A number of a plane that no format
    /// has, from 3, has no effect.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::I420, 100, 4);
    /// let layout = layout.plane_stride_alignment(0, 128).build()?;
    /// assert_eq!((layout.planes()[0].stride, layout.planes()[1].stride), (128, 50));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub const fn plane_stride_alignment(mut self, plane: usize, alignment: usize) -> Self {
        if plane < MAX_PLANES {
            self.stride_alignments[plane] = alignment;
        }
        self
    }

    /// Sets the alignment of the start of each plane in bytes, relative to the start of the frame.
    /// 1 by default.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Nv12, 100, 4).plane_alignment(4096).build()?;
    /// assert_eq!(layout.planes()[1].offset, 4096);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub const fn plane_alignment(mut self, alignment: usize) -> Self {
        self.plane_alignment = alignment;
        self
    }

    /// Sets the stride of plane 0 to exactly this number of bytes.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// // What a V4L2 driver returned as `bytesperline` and `sizeimage`.
    /// let layout = VideoLayout::builder(VideoFormat::I420, 1366, 768).for_v4l2();
    /// let layout = layout.stride(1408).min_size(1_700_000).build()?;
    /// assert_eq!(layout.planes()[1].stride, 704);
    /// assert_eq!(layout.size(), 1_700_000);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[doc(alias = "bytesperline")]
    pub const fn stride(mut self, stride: usize) -> Self {
        self.stride = Some(stride);
        self
    }

    /// Sets whether the strides of chroma planes are derived from that of plane 0: they are divided
    /// as the width is. So all strides follow from one number. `false` by default.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::I420, 10, 4).stride_alignment(4);
    /// let layout = layout.derive_strides(true).build()?;
    /// assert_eq!((layout.planes()[0].stride, layout.planes()[1].stride), (16, 8));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub const fn derive_strides(mut self, derive: bool) -> Self {
        self.derives_strides = derive;
        self
    }

    /// Sets whether each plane has room for whole chroma blocks below: with 4:2:0, luma has room
    /// for an even number of rows. `false` by default.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Nv12, 4, 3).whole_blocks(true).build()?;
    /// assert_eq!((layout.planes()[0].rows, layout.planes()[1].offset), (3, 4 * 4));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub const fn whole_blocks(mut self, whole_blocks: bool) -> Self {
        self.has_whole_blocks = whole_blocks;
        self
    }

    /// Sets the padding around the picture. None by default.
    ///
    /// The offset of a plane is that of its first byte inside the padding. Strides and alignments
    /// count from the padding's.
    ///
    /// ```
    /// # use ks_allocator::{Padding, VideoFormat, VideoLayout};
    /// let padding = Padding { left: 32, right: 32, top: 16, bottom: 16 };
    /// let layout = VideoLayout::builder(VideoFormat::Nv12, 64, 48).padding(padding).build()?;
    /// assert_eq!(layout.planes()[0].stride, 128);
    /// assert_eq!(layout.planes()[0].offset, 16 * 128 + 32);
    /// assert_eq!(layout.planes()[1].offset, 80 * 128 + 8 * 128 + 32);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub const fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the number of bytes behind the last plane. 0 by default.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Gray8, 10, 10).extra_bytes(64).build()?;
    /// assert_eq!(layout.size(), 164);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[doc(alias = "AV_INPUT_BUFFER_PADDING_SIZE")]
    pub const fn extra_bytes(mut self, bytes: usize) -> Self {
        self.extra_bytes = bytes;
        self
    }

    /// Sets the minimum size of a frame in bytes. A compressed format needs it.
    ///
    /// ```
    /// # use ks_allocator::{LayoutError, VideoFormat, VideoLayout};
    /// let builder = VideoLayout::builder(VideoFormat::Mjpeg, 1920, 1080);
    /// assert_eq!(builder.min_size(4_147_200).build()?.size(), 4_147_200);
    /// assert!(matches!(builder.build(), Err(LayoutError::NoSize { .. })));
    /// # Ok::<(), LayoutError>(())
    /// ```
    #[doc(alias = "sizeimage")]
    pub const fn min_size(mut self, size: usize) -> Self {
        self.min_size = size;
        self
    }

    /// Chooses the default layout of GStreamer for progressive pictures, which elements assume for
    /// buffers without a `GstVideoMeta`: strides are multiples of 4, and there is room for whole
    /// chroma blocks.
    ///
    /// Source: `gst_video_info_set_format`.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::I420, 9, 3).for_gstreamer().build()?;
    /// assert_eq!(layout.planes()[0].stride, 12);
    /// assert_eq!((layout.planes()[1].stride, layout.planes()[1].offset), (8, 48));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[doc(alias = "gst_video_info_set_format")]
    pub const fn for_gstreamer(self) -> Self {
        self.stride_alignment(4)
            .derive_strides(false)
            .whole_blocks(true)
    }

    /// Chooses a layout that suits FFmpeg: strides are multiples of 64, which is enough for its
    /// AVX-512 code, and 64 bytes follow the picture.
    ///
    /// It is that of `av_image_get_buffer_size` with an alignment of 64, and the extra bytes. A
    /// decoder that writes to the frame also needs [padding](Self::padding), which
    /// `avcodec_align_dimensions2` returns, and strides that are
    /// [derived](Self::derive_strides) from that of luma.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::I420, 1366, 768).for_ffmpeg().build()?;
    /// assert_eq!((layout.planes()[0].stride, layout.planes()[1].stride), (1408, 704));
    /// assert_eq!(layout.size(), 1408 * 768 + 2 * 704 * 384 + 64);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[doc(alias = "av_image_get_buffer_size")]
    pub const fn for_ffmpeg(self) -> Self {
        self.stride_alignment(64)
            .derive_strides(false)
            .whole_blocks(false)
            .extra_bytes(64)
    }

    /// Chooses the layout of a V4L2 buffer with all planes in it: the chroma strides follow from
    /// that of plane 0, which the driver returns as `bytesperline`, and the planes follow each
    /// other without a gap.
    ///
    /// Set [`stride`](Self::stride) and [`min_size`](Self::min_size) to what the driver returned.
    /// Drivers round widths and heights of subsampled formats to whole chroma blocks.
    ///
    /// Source: `struct v4l2_pix_format`.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::I420, 10, 4).for_v4l2().build()?;
    /// assert_eq!((layout.planes()[0].stride, layout.planes()[1].stride), (10, 5));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[doc(alias = "v4l2_pix_format")]
    pub const fn for_v4l2(self) -> Self {
        self.stride_alignment(1)
            .derive_strides(true)
            .whole_blocks(true)
    }

    /// Chooses a layout that can be imported into DRM with a linear modifier: strides are multiples
    /// of 256, which the drivers of AMD, Intel and most others accept.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Bgrx, 1366, 768).for_drm().build()?;
    /// assert_eq!(layout.planes()[0].stride, 5632);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[doc(alias = "DRM_FORMAT_MOD_LINEAR")]
    pub const fn for_drm(self) -> Self {
        self.stride_alignment(256)
            .derive_strides(false)
            .whole_blocks(false)
    }

    /// Chooses the layout that Media Foundation and DirectShow describe for pictures in memory:
    /// rows of plane 0 begin at multiples of 4, chroma strides follow from that of plane 0, and
    /// there is room for whole chroma blocks.
    ///
    /// Source: "Recommended 8-Bit YUV Formats for Video Rendering" and "10-bit and 16-bit YUV Video
    /// Formats". For odd widths, functions of Media Foundation differ from these rules and from
    /// each other; set [`stride`](Self::stride) to what the media type says.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Yv12, 10, 4).for_media_foundation().build()?;
    /// assert_eq!((layout.planes()[0].stride, layout.planes()[1].stride), (12, 6));
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    pub const fn for_media_foundation(self) -> Self {
        self.stride_alignment(1)
            .plane_stride_alignment(0, 4)
            .derive_strides(true)
            .whole_blocks(true)
    }

    /// Computes the layout: the smallest that has the chosen properties.
    ///
    /// # Errors
    ///
    /// - [`LayoutError::Empty`] for a width or height of 0, and [`LayoutError::NoSize`] for a
    ///   compressed format without a [minimum size](Self::min_size).
    /// - [`LayoutError::Alignment`], if an alignment is 0, or their least common multiple is more
    ///   than 65,536.
    /// - [`LayoutError::Padding`], if the padding splits a chroma sample.
    /// - [`LayoutError::Stride`] or [`LayoutError::StrideAlignment`], if the [stride](Self::stride)
    ///   that was set cannot be.
    /// - [`LayoutError::TooLarge`], if the size overflows.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let error = VideoLayout::builder(VideoFormat::Nv12, 640, 480).stride(600).build();
    /// assert_eq!(
    ///     error.unwrap_err().to_string(),
    ///     "plane 0 has a stride of 600 bytes, and its rows have 640 bytes"
    /// );
    /// ```
    pub fn build(&self) -> Result<VideoLayout, LayoutError> {
        let picture = self.picture;
        picture.check()?;
        let alignment = self.alignment()?;
        self.check_padding()?;
        let strides = self.strides()?;
        let mut layout = picture.without_planes(self.min_size);
        let too_large = picture.too_large();
        let mut end = 0_usize;
        for (plane, format) in self.formats().iter().enumerate() {
            let start = end
                .checked_next_multiple_of(self.plane_alignment)
                .ok_or(too_large)?;
            let placed = self.place(format, start, strides[plane]).ok_or(too_large)?;
            (layout.planes[plane], end) = placed;
        }
        let size = end.checked_add(self.extra_bytes).ok_or(too_large)?;
        layout.size = size.max(self.min_size);
        layout.alignment = alignment;
        if layout.size == 0 || (self.formats().is_empty() && self.min_size == 0) {
            return Err(LayoutError::NoSize {
                format: picture.format,
            });
        }
        if isize::try_from(layout.size).is_err() {
            return Err(too_large);
        }
        Ok(layout)
    }

    fn formats(&self) -> &'static [PlaneFormat] {
        self.picture.format.planes()
    }

    /// Returns the least common multiple of all alignments that the format needs.
    fn alignment(&self) -> Result<usize, LayoutError> {
        let strides = self.stride_alignments.iter().take(self.formats().len());
        let mut common = 1;
        for &alignment in strides.chain([&self.plane_alignment]) {
            common =
                common_alignment(common, alignment).ok_or(LayoutError::Alignment { alignment })?;
        }
        Ok(common)
    }

    fn check_padding(&self) -> Result<(), LayoutError> {
        let (block_width, block_height) = self.picture.format.chroma_subsampling();
        let Padding { left, top, .. } = self.padding;
        if left.checked_rem(block_width) == Some(0) && top.checked_rem(block_height) == Some(0) {
            return Ok(());
        }
        Err(LayoutError::Padding {
            left,
            top,
            block_width,
            block_height,
        })
    }

    /// Returns the stride of each plane.
    fn strides(&self) -> Result<[usize; MAX_PLANES], LayoutError> {
        let mut strides = [0; MAX_PLANES];
        for (plane, format) in self.formats().iter().enumerate() {
            let row_bytes = self.padded_row_bytes(format)?;
            let alignment = self.stride_alignments[plane];
            let stride = match (plane, self.stride) {
                (0, Some(stride)) => stride,
                (0, None) => self.first_stride()?,
                _ if self.derives_strides => self.derived_stride(plane, strides[0])?,
                _ => self.rounded(row_bytes, alignment)?,
            };
            if stride < row_bytes {
                let stride = isize::try_from(stride).unwrap_or(isize::MAX);
                return Err(LayoutError::Stride {
                    plane,
                    stride,
                    row_bytes,
                });
            }
            if stride.checked_rem(alignment) != Some(0) {
                return Err(LayoutError::StrideAlignment {
                    plane,
                    stride,
                    alignment,
                });
            }
            strides[plane] = stride;
        }
        Ok(strides)
    }

    /// Returns the smallest stride of plane 0. If strides are derived from it, those of the other
    /// planes are also large enough and multiples of their alignments.
    fn first_stride(&self) -> Result<usize, LayoutError> {
        let too_large = self.picture.too_large();
        let (mut min, mut unit) = (0, 1);
        let derived = if self.derives_strides { MAX_PLANES } else { 1 };
        for (plane, format) in self.formats().iter().enumerate().take(derived) {
            let divisor = self.picture.format.stride_divisor(plane);
            let bytes = self
                .padded_row_bytes(format)?
                .checked_mul(divisor)
                .ok_or(too_large)?;
            let alignment = self.stride_alignments[plane];
            let multiple = alignment.checked_mul(divisor).ok_or(too_large)?;
            min = bytes.max(min);
            unit = least_common_multiple(unit, multiple)
                .ok_or(LayoutError::Alignment { alignment })?;
        }
        self.rounded(min, unit)
    }

    /// Returns the stride of a plane that is derived from that of plane 0.
    fn derived_stride(&self, plane: usize, first: usize) -> Result<usize, LayoutError> {
        let divisor = self.picture.format.stride_divisor(plane);
        if first.checked_rem(divisor) != Some(0) {
            let (plane, stride, alignment) = (0, first, divisor);
            return Err(LayoutError::StrideAlignment {
                plane,
                stride,
                alignment,
            });
        }
        Ok(first.checked_div(divisor).unwrap_or(first))
    }

    fn rounded(&self, bytes: usize, multiple: usize) -> Result<usize, LayoutError> {
        bytes
            .checked_next_multiple_of(multiple)
            .ok_or(self.picture.too_large())
    }

    /// Returns the bytes of a row with the padding at its left and right.
    fn padded_row_bytes(&self, format: &PlaneFormat) -> Result<usize, LayoutError> {
        let Padding { left, right, .. } = self.padding;
        let padding = left.checked_add(right);
        let width = padding.and_then(|padding| padding.checked_add(self.picture.width));
        let bytes = width.and_then(|width| format.row_bytes(width));
        bytes.ok_or(self.picture.too_large())
    }

    /// Returns the position of a plane whose padding begins at `start`, and where the padding ends.
    fn place(
        &self,
        format: &PlaneFormat,
        start: usize,
        stride: usize,
    ) -> Option<(PlaneLayout, usize)> {
        let Padding {
            left, top, bottom, ..
        } = self.padding;
        let Picture { width, height, .. } = self.picture;
        let padded_height = top.checked_add(height)?.checked_add(bottom)?;
        let padded_height = if self.has_whole_blocks {
            let (_, block_height) = self.picture.format.chroma_subsampling();
            padded_height.checked_next_multiple_of(block_height)?
        } else {
            padded_height
        };
        let above = format.rows(top)?.checked_mul(stride)?;
        let offset = start
            .checked_add(above)?
            .checked_add(format.row_bytes(left)?)?;
        let plane = PlaneLayout {
            offset,
            stride,
            row_bytes: format.row_bytes(width)?,
            rows: format.rows(height)?,
        };
        let end = format
            .rows(padded_height)?
            .checked_mul(stride)?
            .checked_add(start)?;
        plane.checked_end()?;
        Some((plane, end))
    }
}
