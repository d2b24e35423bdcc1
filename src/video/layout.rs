//! Positions of the planes of a picture in a frame.

#![warn(clippy::arithmetic_side_effects)]

use crate::framing::Framing;

use super::error::LayoutError;
use super::format::VideoFormat;

/// Maximum number of planes of a format.
pub(super) const MAX_PLANES: usize = 3;

/// Position of one plane in a frame, in bytes.
///
/// ```text
///   offset                 offset + stride         offset + 2 * stride
///   | row_bytes   | unused | row_bytes   | unused | ...
/// ```
///
/// Every row has `row_bytes` bytes of the picture. The last row need not be followed by the unused
/// bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PlaneLayout {
    /// Bytes from the start of the frame to the first byte of the first row.
    pub offset: usize,
    /// Bytes from one row to the next.
    #[doc(alias("pitch", "linesize", "bytesperline"))]
    pub stride: usize,
    /// Bytes of the picture per row.
    pub row_bytes: usize,
    /// Number of rows of the picture.
    pub rows: usize,
}

impl PlaneLayout {
    /// Returns the offset of the first byte behind the last row, in bytes.
    ///
    /// ```
    /// use ks_allocator::{VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::builder(VideoFormat::Gray8, 100, 3).stride_alignment(64).build()?;
    /// assert_eq!(layout.planes()[0].end(), 2 * 128 + 100);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[expect(clippy::arithmetic_side_effects, reason = "there is a row")]
    #[must_use]
    pub const fn end(&self) -> usize {
        match self.rows {
            0 => self.offset,
            rows => self
                .offset
                .saturating_add((rows - 1).saturating_mul(self.stride))
                .saturating_add(self.row_bytes),
        }
    }

    /// Returns [`end`](Self::end), or `None` if it overflows.
    pub(super) fn checked_end(&self) -> Option<usize> {
        self.rows
            .checked_sub(1)?
            .checked_mul(self.stride)?
            .checked_add(self.offset)?
            .checked_add(self.row_bytes)
            .filter(|&end| isize::try_from(end).is_ok())
    }
}

/// Format and size of a picture, and the positions of its planes in a frame.
///
/// Widths and heights are in pixels, all other values are in bytes. Sizes that are not a multiple
/// of the chroma subsampling are rounded up: a 4:2:0 picture of 3 x 3 pixels has 2 x 2 chroma
/// samples.
///
/// ```
/// use ks_allocator::{FramePool, VideoFormat, VideoLayout};
///
/// let layout = VideoLayout::builder(VideoFormat::Nv12, 1366, 768).stride_alignment(64).build()?;
/// assert_eq!(layout.planes()[1].stride, 1408);
/// assert_eq!(layout.size(), 1408 * 768 * 3 / 2);
///
/// let pool = FramePool::builder().frames(8).video(&layout).build()?;
/// let mut frame = pool.acquire()?;
/// let mut planes = frame.planes_mut()?;
/// planes[0].rows_mut().for_each(|row| row.fill(16));
/// planes[1].rows_mut().for_each(|row| row.fill(128));
/// assert_eq!(frame.planes()?[0].row(767), Some(&[16; 1366][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("GstVideoInfo", "AVFrame", "v4l2_pix_format", "VIDEOINFOHEADER"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VideoLayout {
    pub(super) format: VideoFormat,
    pub(super) width: u32,
    pub(super) height: u32,
    /// As many as the format has; the others are the default.
    pub(super) planes: [PlaneLayout; MAX_PLANES],
    pub(super) size: usize,
    pub(super) alignment: usize,
    pub(super) bottom_up: bool,
}

impl VideoLayout {
    /// Makes a layout of offsets and strides that were decided elsewhere: one pair per plane, in
    /// bytes. `size` is the size of the frame in bytes.
    ///
    /// The planes may lie in any order, and the last row of a plane may be without its unused
    /// bytes.
    ///
    /// # Errors
    ///
    /// - [`LayoutError::Stride`], if a stride is negative or less than the bytes of a row. For a
    ///   picture whose first row in memory is the lowest one, use the offset of that row, a
    ///   positive stride, and [`bottom_up`](Self::bottom_up).
    /// - [`LayoutError::PlaneCount`], [`LayoutError::Overlap`] or [`LayoutError::Outside`], if the
    ///   planes do not fit the format, each other or the frame.
    /// - [`LayoutError::Empty`], [`LayoutError::TooLarge`] or [`LayoutError::NoSize`].
    ///
    /// ```
    /// use ks_allocator::{LayoutError, VideoFormat, VideoLayout};
    ///
    /// let planes = [(0, 2048), (2048 * 1088, 2048)];
    /// let size = 2048 * 1088 * 3 / 2;
    /// let layout = VideoLayout::from_planes(VideoFormat::Nv12, 1920, 1080, &planes, size)?;
    /// assert_eq!(layout.planes()[1].rows, 540);
    ///
    /// let planes = [(0, 2048), (2048 * 1000, 2048)];
    /// let error = VideoLayout::from_planes(VideoFormat::Nv12, 1920, 1080, &planes, size);
    /// assert!(matches!(error, Err(LayoutError::Overlap { first: 0, second: 1, .. })));
    /// # Ok::<(), LayoutError>(())
    /// ```
    pub fn from_planes(
        format: VideoFormat,
        width: u32,
        height: u32,
        planes: &[(usize, isize)],
        size: usize,
    ) -> Result<Self, LayoutError> {
        let expected = format.planes().len();
        if planes.len() != expected {
            let given = planes.len();
            return Err(LayoutError::PlaneCount {
                format,
                expected,
                given,
            });
        }
        let picture = Picture {
            format,
            width,
            height,
        };
        picture.check()?;
        if size == 0 {
            return Err(LayoutError::NoSize { format });
        }
        if isize::try_from(size).is_err() {
            return Err(picture.too_large());
        }
        let mut layout = picture.without_planes(size);
        for (plane, &(offset, stride)) in planes.iter().enumerate() {
            let (row_bytes, rows) = picture.plane(plane)?;
            let fitting = usize::try_from(stride)
                .ok()
                .filter(|&stride| stride >= row_bytes);
            let stride = fitting.ok_or(LayoutError::Stride {
                plane,
                stride,
                row_bytes,
            })?;
            let position = PlaneLayout {
                offset,
                stride,
                row_bytes,
                rows,
            };
            let end = position.checked_end().ok_or(picture.too_large())?;
            if end > size {
                return Err(LayoutError::Outside { plane, end, size });
            }
            layout.planes[plane] = position;
        }
        layout.check_overlaps()?;
        Ok(layout)
    }

    /// Returns an error if two planes have bytes in common.
    fn check_overlaps(&self) -> Result<(), LayoutError> {
        let order = self.order();
        let pairs = order.iter().zip(order.iter().skip(1));
        for (&first, &second) in pairs.take(self.planes().len().saturating_sub(1)) {
            let (first_end, second_begin) = (self.planes[first].end(), self.planes[second].offset);
            if first_end > second_begin {
                return Err(LayoutError::Overlap {
                    first,
                    first_end,
                    second,
                    second_begin,
                });
            }
        }
        Ok(())
    }

    /// Returns the numbers of the planes in the order of their offsets. Those that the format does
    /// not have come last.
    pub(super) fn order(&self) -> [usize; MAX_PLANES] {
        let count = self.planes().len();
        let mut order = std::array::from_fn(|plane| plane);
        order.sort_by_key(|&plane| (plane >= count, self.planes[plane].offset));
        order
    }

    /// Returns this layout for a picture whose first row in memory is the lowest one, as in
    /// DirectShow's uncompressed RGB with a positive height.
    ///
    /// Rows are still counted from the top of the picture: only their positions differ.
    ///
    /// ```
    /// use ks_allocator::{VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::new(VideoFormat::Gray8, 2, 2)?.bottom_up();
    /// let planes = layout.planes_of(b"cdab").expect("4 bytes");
    /// assert_eq!(planes[0].rows().collect::<Vec<_>>(), [b"ab", b"cd"]);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub const fn bottom_up(mut self) -> Self {
        self.bottom_up = true;
        self
    }

    /// Returns whether the first row in memory is the lowest one of the picture.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// assert!(!VideoLayout::new(VideoFormat::Gray8, 2, 2)?.is_bottom_up());
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub const fn is_bottom_up(&self) -> bool {
        self.bottom_up
    }

    /// Returns the format.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// assert_eq!(VideoLayout::new(VideoFormat::Nv12, 2, 2)?.format(), VideoFormat::Nv12);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub const fn format(&self) -> VideoFormat {
        self.format
    }

    /// Returns the width in pixels.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// assert_eq!(VideoLayout::new(VideoFormat::Nv12, 640, 480)?.width(), 640);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Returns the height in pixels.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// assert_eq!(VideoLayout::new(VideoFormat::Nv12, 640, 480)?.height(), 480);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Returns the size of a frame in bytes, with all padding. It is at least 1.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// assert_eq!(VideoLayout::new(VideoFormat::P010, 3840, 2160)?.size(), 24_883_200);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[doc(alias = "sizeimage")]
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Returns the alignment in bytes that a frame must have so that its rows and planes have
    /// theirs. It is 1 for a layout that was made of planes.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::builder(VideoFormat::Nv12, 640, 480).for_drm().build()?;
    /// assert_eq!(layout.alignment(), 256);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub const fn alignment(&self) -> usize {
        self.alignment
    }

    /// Returns this layout for frames with the given alignment.
    pub(crate) const fn aligned_to(mut self, alignment: usize) -> Self {
        self.alignment = alignment;
        self
    }

    /// Returns a framing of `frames` frames that have the size and the alignment of this layout.
    ///
    /// ```
    /// use ks_allocator::{KsAllocator, PoolAllocator, VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::builder(VideoFormat::Nv12, 640, 480).for_drm().build()?;
    /// let framing = PoolAllocator::new().set_framing(&layout.framing(4))?;
    /// assert_eq!((framing.frame_size, framing.alignment), (768 * 480 * 3 / 2, 256));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn framing(&self, frames: usize) -> Framing {
        Framing::new(frames, self.size).alignment(self.alignment)
    }

    /// Returns the positions of the planes, in the order of the format. It is empty for compressed
    /// formats.
    ///
    /// ```
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::I420, 640, 480)?;
    /// assert_eq!(layout.planes()[2].offset, 640 * 480 + 320 * 240);
    /// # Ok::<(), ks_allocator::LayoutError>(())
    /// ```
    #[must_use]
    pub fn planes(&self) -> &[PlaneLayout] {
        &self.planes[..self.format.planes().len()]
    }

    /// Returns the number of bytes up to the end of the last row of any plane. The padding behind
    /// it need not exist to access the planes.
    pub(super) fn needed(&self) -> usize {
        let ends = self.planes().iter().map(PlaneLayout::end);
        ends.max().unwrap_or(0)
    }
}

/// Format and size of a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    pub(super) format: VideoFormat,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Picture {
    /// Returns an error if the picture is empty.
    pub(super) fn check(self) -> Result<(), LayoutError> {
        let Self { width, height, .. } = self;
        if width == 0 || height == 0 {
            return Err(LayoutError::Empty { width, height });
        }
        Ok(())
    }

    pub(super) fn too_large(self) -> LayoutError {
        LayoutError::TooLarge {
            format: self.format,
            width: self.width,
            height: self.height,
        }
    }

    /// Returns the bytes per row and the number of rows of a plane of the format.
    fn plane(self, plane: usize) -> Result<(usize, usize), LayoutError> {
        let format = &self.format.planes()[plane];
        let row_bytes = format.row_bytes(self.width).ok_or(self.too_large())?;
        let rows = format.rows(self.height).ok_or(self.too_large())?;
        Ok((row_bytes, rows))
    }

    /// Returns a layout of `size` bytes whose planes are not set yet.
    pub(super) fn without_planes(self, size: usize) -> VideoLayout {
        VideoLayout {
            format: self.format,
            width: self.width,
            height: self.height,
            planes: [PlaneLayout::default(); MAX_PLANES],
            size,
            alignment: 1,
            bottom_up: false,
        }
    }
}
