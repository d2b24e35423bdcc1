//! Video layouts of DirectShow's media types.
//!
//! The bytes of a `VIDEOINFOHEADER` are
//!
//! | bytes | field |
//! |---|---|
//! | 0 to 15 | `rcSource`: left, top, right, bottom |
//! | 16 to 31 | `rcTarget` |
//! | 32 to 47 | `dwBitRate`, `dwBitErrorRate`, `AvgTimePerFrame` |
//! | 48 to 87 | `bmiHeader` |
//!
//! In a `VIDEOINFOHEADER2`, 24 bytes about interlacing and aspect ratio lie before `bmiHeader`.
//! The bytes of a `BITMAPINFOHEADER` are `biSize`, `biWidth`, `biHeight` (4 each), `biPlanes`,
//! `biBitCount` (2 each), `biCompression`, `biSizeImage`, and 16 more. All are little-endian.
//!
//! Sources: the documentation of these structures; "Working with Video Frames"; "Recommended 8-Bit
//! YUV Formats for Video Rendering"; "10-bit and 16-bit YUV Video Formats".

#![expect(non_upper_case_globals, reason = "names of the Windows headers")]

use std::io;

use thiserror::Error;
use windows_core::GUID;

use crate::video::{LayoutError, Padding, VideoFormat, VideoLayout};

use super::layouts::AM_MEDIA_TYPE;

/// Format type of a media type with a `VIDEOINFOHEADER`.
#[doc(alias = "CLSID_KsDataTypeHandlerVideo")]
pub const FORMAT_VideoInfo: GUID = GUID::from_u128(0x05589F80_C356_11CE_BF01_00AA0055595A);
/// Format type of a media type with a `VIDEOINFOHEADER2`.
pub const FORMAT_VideoInfo2: GUID = GUID::from_u128(0xF72A76A0_EB0A_11D0_ACE4_0000C0CC16BA);
/// Subtype of DirectShow for [`VideoFormat::Bgr24`].
pub const MEDIASUBTYPE_RGB24: GUID = GUID::from_u128(0xE436EB7D_524F_11CE_9F53_0020AF0BA770);
/// Subtype of DirectShow for [`VideoFormat::Bgrx`].
pub const MEDIASUBTYPE_RGB32: GUID = GUID::from_u128(0xE436EB7E_524F_11CE_9F53_0020AF0BA770);
/// Subtype of DirectShow for [`VideoFormat::Bgra`].
pub const MEDIASUBTYPE_ARGB32: GUID = GUID::from_u128(0x773C9AC0_3274_11D0_B724_00AA006C1A01);
/// Second subtype for [`VideoFormat::I420`].
pub const MEDIASUBTYPE_IYUV: GUID = GUID::from_u128(0x56555949_0000_0010_8000_00AA00389B71);

/// Subtypes that differ from those of Media Foundation.
const SUBTYPES: [(GUID, VideoFormat); 3] = [
    (MEDIASUBTYPE_RGB24, VideoFormat::Bgr24),
    (MEDIASUBTYPE_RGB32, VideoFormat::Bgrx),
    (MEDIASUBTYPE_ARGB32, VideoFormat::Bgra),
];

/// Offset of `bmiHeader` in a `VIDEOINFOHEADER`.
const HEADER: usize = 48;
/// Offset of `bmiHeader` in a `VIDEOINFOHEADER2`.
const HEADER2: usize = 72;
/// Size of a `BITMAPINFOHEADER`.
const BITMAP_INFO: u8 = 40;

/// Error of converting a video media type to a layout, or back.
///
/// ```
/// use ks_allocator::com::{FORMAT_VideoInfo, MEDIASUBTYPE_RGB32, VideoInfoError, video_layout};
///
/// let error = video_layout(&MEDIASUBTYPE_RGB32, &FORMAT_VideoInfo, &[0; 80]).unwrap_err();
/// assert_eq!(error, VideoInfoError::TooShort { length: 80, needed: 88 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VideoInfoError {
    /// The format type is neither [`FORMAT_VideoInfo`] nor [`FORMAT_VideoInfo2`].
    #[error("the format type {format_type:?} is not that of a video info header")]
    FormatType {
        /// The format type.
        format_type: GUID,
    },
    /// The subtype is none that [`VideoFormat`] has.
    #[error("the subtype {subtype:?} is not known")]
    Subtype {
        /// The subtype.
        subtype: GUID,
    },
    /// The format block is shorter than the header.
    #[error("the format block has {length} bytes, and the header {needed}")]
    TooShort {
        /// Size of the format block in bytes.
        length: usize,
        /// Size of the header in bytes.
        needed: usize,
    },
    /// Width or height is 0, or the width is negative, or the height of a compressed picture is.
    #[error("biWidth is {width} and biHeight is {height}")]
    Size {
        /// `biWidth`.
        width: i32,
        /// `biHeight`.
        height: i32,
    },
    /// `biBitCount` is not that of the subtype.
    #[error("biBitCount is {bits}, and the subtype has {expected} bits per pixel")]
    BitCount {
        /// `biBitCount`.
        bits: u16,
        /// Bits per pixel of the subtype.
        expected: u16,
    },
    /// `rcTarget` is not empty, and does not lie within the picture.
    #[error("rcTarget is ({left}, {top}, {right}, {bottom}), outside of {width} x {height} pixels")]
    Target {
        /// `rcTarget.left`.
        left: i32,
        /// `rcTarget.top`.
        top: i32,
        /// `rcTarget.right`.
        right: i32,
        /// `rcTarget.bottom`.
        bottom: i32,
        /// `biWidth`.
        width: u32,
        /// Absolute value of `biHeight`.
        height: u32,
    },
    /// `biSizeImage` is less than the picture takes.
    #[error("biSizeImage is {size}, and the picture has {needed} bytes")]
    SizeImage {
        /// `biSizeImage`.
        size: u32,
        /// Bytes of the picture.
        needed: usize,
    },
    /// The layout cannot be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A video info header has one stride in pixels, and no offsets: it cannot describe the layout.
    #[error("a video info header cannot describe the layout")]
    NotRepresentable,
}

impl From<VideoInfoError> for io::Error {
    fn from(error: VideoInfoError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Returns the subtype of DirectShow for a format, or `None` if there is none.
///
/// ```
/// use ks_allocator::VideoFormat;
/// use ks_allocator::com::{MEDIASUBTYPE_RGB24, video_subtype};
///
/// assert_eq!(video_subtype(VideoFormat::Bgr24), Some(MEDIASUBTYPE_RGB24));
/// assert_eq!(video_subtype(VideoFormat::Rgb24), None);
/// ```
#[must_use]
pub fn video_subtype(format: VideoFormat) -> Option<GUID> {
    let own = SUBTYPES.iter().find(|(_, of)| *of == format);
    let common = || format.media_foundation_subtype().map(GUID::from_u128);
    own.map(|(subtype, _)| *subtype).or_else(common)
}

/// Returns the format of a subtype of DirectShow or Media Foundation, or `None` if it is not known.
///
/// ```
/// use ks_allocator::VideoFormat;
/// use ks_allocator::com::{MEDIASUBTYPE_IYUV, video_format};
///
/// assert_eq!(video_format(&MEDIASUBTYPE_IYUV), Some(VideoFormat::I420));
/// ```
#[must_use]
pub fn video_format(subtype: &GUID) -> Option<VideoFormat> {
    if *subtype == MEDIASUBTYPE_IYUV {
        return Some(VideoFormat::I420);
    }
    let own = SUBTYPES.iter().find(|(known, _)| known == subtype);
    let common = || VideoFormat::from_media_foundation_subtype(subtype.to_u128());
    own.map(|(_, format)| *format).or_else(common)
}

/// Returns the layout of the picture in a sample with a video media type.
///
/// `biWidth` is the stride in pixels. The picture is the part in `rcTarget`, or all of it if that
/// is empty. Rows of RGB and packed YUV begin at multiples of 4 bytes. RGB with a positive height
/// is [bottom-up](VideoLayout::is_bottom_up); YUV never is.
///
/// # Errors
///
/// See [`VideoInfoError`].
///
/// ```
/// use ks_allocator::com::{
///     FORMAT_VideoInfo, MEDIASUBTYPE_RGB24, video_info_header, video_layout,
/// };
/// use ks_allocator::{VideoFormat, VideoLayout};
///
/// let layout = VideoLayout::builder(VideoFormat::Bgr24, 5, 3).stride_alignment(4).build()?;
/// let header = video_info_header(&layout.bottom_up(), 400_000)?;
/// let again = video_layout(&MEDIASUBTYPE_RGB24, &FORMAT_VideoInfo, &header)?;
/// assert!(again.is_bottom_up());
/// assert_eq!(again.planes()[0].stride, 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("VIDEOINFOHEADER", "VIDEOINFOHEADER2", "BITMAPINFOHEADER"))]
pub fn video_layout(
    subtype: &GUID,
    format_type: &GUID,
    format_block: &[u8],
) -> Result<VideoLayout, VideoInfoError> {
    let start = match *format_type {
        FORMAT_VideoInfo => HEADER,
        FORMAT_VideoInfo2 => HEADER2,
        format_type => return Err(VideoInfoError::FormatType { format_type }),
    };
    let format = video_format(subtype).ok_or(VideoInfoError::Subtype { subtype: *subtype })?;
    let (length, needed) = (format_block.len(), start + usize::from(BITMAP_INFO));
    if length < needed {
        return Err(VideoInfoError::TooShort { length, needed });
    }
    let info = VideoInfo::read(format_block, start);
    info.layout(format)
}

impl AM_MEDIA_TYPE {
    /// Returns the layout of the picture in a sample with this media type: see [`video_layout`].
    ///
    /// # Errors
    ///
    /// See [`VideoInfoError`].
    ///
    /// # Safety
    ///
    /// `pbFormat` is NULL or leads to `cbFormat` bytes that are initialized and not written
    /// meanwhile.
    ///
    /// ```
    /// use ks_allocator::com::{AM_MEDIA_TYPE, FORMAT_VideoInfo, video_info_header, video_subtype};
    /// use ks_allocator::{VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::builder(VideoFormat::Nv12, 640, 480).for_media_foundation();
    /// let layout = layout.build()?;
    /// let mut header = video_info_header(&layout, 400_000)?;
    /// let media_type = AM_MEDIA_TYPE {
    ///     subtype: video_subtype(VideoFormat::Nv12).expect("NV12 has one"),
    ///     formattype: FORMAT_VideoInfo,
    ///     cbFormat: 88,
    ///     pbFormat: header.as_mut_ptr(),
    ///     ..AM_MEDIA_TYPE::default()
    /// };
    /// assert_eq!(unsafe { media_type.video_layout() }?.planes(), layout.planes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn video_layout(&self) -> Result<VideoLayout, VideoInfoError> {
        let length = usize::try_from(self.cbFormat).unwrap_or(0);
        let format_block = if self.pbFormat.is_null() {
            &[]
        } else {
            // SAFETY: the caller's promise. A block of 4 GiB or less is no longer than
            // `isize::MAX`, or could not have been allocated.
            unsafe { std::slice::from_raw_parts(self.pbFormat, length) }
        };
        video_layout(&self.subtype, &self.formattype, format_block)
    }
}

/// Returns the bytes of a `VIDEOINFOHEADER` for a layout and a frame duration in 100 ns ticks.
///
/// # Errors
///
/// [`VideoInfoError::NotRepresentable`], if [`video_layout`] would not make the same planes of the
/// header.
///
/// ```
/// use ks_allocator::com::video_info_header;
/// use ks_allocator::{VideoFormat, VideoLayout};
///
/// let layout = VideoLayout::builder(VideoFormat::Nv12, 1366, 768).stride_alignment(64).build()?;
/// let header = video_info_header(&layout, 400_000)?;
/// assert_eq!(header[52..56], 1408_i32.to_le_bytes()); // biWidth is the stride
/// assert_eq!(header[24..28], 1366_i32.to_le_bytes()); // rcTarget.right is the width
///
/// let drm = VideoLayout::builder(VideoFormat::I420, 100, 100).for_drm().build()?;
/// assert!(video_info_header(&drm, 0).is_err()); // its chroma stride is not half of 256
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "VIDEOINFOHEADER")]
pub fn video_info_header(
    layout: &VideoLayout,
    frame_duration: i64,
) -> Result<Vec<u8>, VideoInfoError> {
    Ok(VideoInfo::of(layout)?.write(layout.format(), HEADER, frame_duration))
}

/// Returns the bytes of a `VIDEOINFOHEADER2`, as [`video_info_header`] does. Interlacing and aspect
/// ratio are 0: progressive, and square pixels.
///
/// # Errors
///
/// The errors of [`video_info_header`].
///
/// ```
/// use ks_allocator::com::video_info_header2;
/// use ks_allocator::{VideoFormat, VideoLayout};
///
/// let layout = VideoLayout::new(VideoFormat::Nv12, 640, 480)?;
/// assert_eq!(video_info_header2(&layout, 400_000)?.len(), 112);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "VIDEOINFOHEADER2")]
pub fn video_info_header2(
    layout: &VideoLayout,
    frame_duration: i64,
) -> Result<Vec<u8>, VideoInfoError> {
    Ok(VideoInfo::of(layout)?.write(layout.format(), HEADER2, frame_duration))
}

/// The fields of a header that a layout depends on.
#[derive(Clone, Copy, Debug)]
struct VideoInfo {
    /// `rcTarget`: left, top, right, bottom.
    target: [i32; 4],
    width: i32,
    height: i32,
    bits: u16,
    size: u32,
}

impl VideoInfo {
    /// Reads the fields. The block is long enough for a header whose `bmiHeader` is at `start`.
    fn read(block: &[u8], start: usize) -> Self {
        let bytes = |at: usize| [block[at], block[at + 1], block[at + 2], block[at + 3]];
        let number = |at| i32::from_le_bytes(bytes(at));
        Self {
            target: [16, 20, 24, 28].map(number),
            width: number(start + 4),
            height: number(start + 8),
            bits: u16::from_le_bytes([block[start + 14], block[start + 15]]),
            size: u32::from_le_bytes(bytes(start + 20)),
        }
    }

    /// Returns the bytes of a header for pictures of a format. Its `bmiHeader` is at `start`.
    fn write(self, format: VideoFormat, start: usize, frame_duration: i64) -> Vec<u8> {
        let mut block = vec![0; start + usize::from(BITMAP_INFO)];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        for (number, edge) in self.target.into_iter().enumerate() {
            put(4 * number, &edge.to_le_bytes());
            put(16 + 4 * number, &edge.to_le_bytes());
        }
        put(40, &frame_duration.to_le_bytes());
        put(start, &[BITMAP_INFO]);
        put(start + 4, &self.width.to_le_bytes());
        put(start + 8, &self.height.to_le_bytes());
        put(start + 12, &1_u16.to_le_bytes());
        put(start + 14, &self.bits.to_le_bytes());
        put(start + 16, &compression(format).to_le_bytes());
        put(start + 20, &self.size.to_le_bytes());
        block
    }

    fn layout(self, format: VideoFormat) -> Result<VideoLayout, VideoInfoError> {
        let size_error = VideoInfoError::Size {
            width: self.width,
            height: self.height,
        };
        let width = u32::try_from(self.width).map_err(|_| size_error)?;
        let height = self.height.unsigned_abs();
        if width == 0 || height == 0 || (format.is_compressed() && self.height < 0) {
            return Err(size_error);
        }
        let is_rgb = is_rgb(format);
        if is_rgb && self.bits != bits_per_pixel(format) {
            return Err(VideoInfoError::BitCount {
                bits: self.bits,
                expected: bits_per_pixel(format),
            });
        }
        let bottom_up = is_rgb && self.height > 0;
        let [left, top, right, bottom] = self.target(width, height)?;
        let (above, below) = (top, height - bottom);
        // A bottom-up picture begins with the rows below it.
        let (first, last) = if bottom_up {
            (below, above)
        } else {
            (above, below)
        };
        let padding = Padding {
            left,
            right: width - right,
            top: first,
            bottom: last,
        };
        let mut builder = VideoLayout::builder(format, right - left, bottom - top)
            .derive_strides(true)
            .whole_blocks(true)
            .padding(padding);
        if let Some(stride) = stride(format, width) {
            builder = builder.stride(stride);
        }
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let layout = builder.min_size(size).build()?;
        if size != 0 && size < layout.size() {
            let needed = layout.size();
            return Err(VideoInfoError::SizeImage {
                size: self.size,
                needed,
            });
        }
        Ok(if bottom_up {
            layout.bottom_up()
        } else {
            layout
        })
    }

    /// Returns the edges of the picture: those of `rcTarget`, or all of it if that is empty.
    fn target(&self, width: u32, height: u32) -> Result<[u32; 4], VideoInfoError> {
        let [left, top, right, bottom] = self.target;
        if left == right || top == bottom {
            return Ok([0, 0, width, height]);
        }
        let edges = self
            .target
            .map(|edge| u32::try_from(edge).unwrap_or(u32::MAX));
        if edges[0] < edges[2] && edges[1] < edges[3] && edges[2] <= width && edges[3] <= height {
            return Ok(edges);
        }
        Err(VideoInfoError::Target {
            left,
            top,
            right,
            bottom,
            width,
            height,
        })
    }

    /// Returns the fields for a layout.
    fn of(layout: &VideoLayout) -> Result<Self, VideoInfoError> {
        let format = layout.format();
        let signed = |number: u32| i32::try_from(number).ok();
        let fields = || {
            let (width, height) = (signed(layout.width())?, signed(layout.height())?);
            let (surface_width, surface_height) = surface(layout)?;
            let surface_height = signed(surface_height)?;
            let top_down_rgb = is_rgb(format) && !layout.is_bottom_up();
            Some(Self {
                target: [0, 0, width, height],
                width: signed(surface_width)?,
                height: if top_down_rgb {
                    -surface_height
                } else {
                    surface_height
                },
                bits: bits_per_pixel(format),
                size: u32::try_from(layout.size()).ok()?,
            })
        };
        let info = fields().ok_or(VideoInfoError::NotRepresentable)?;
        let has_subtype = video_subtype(format).is_some();
        let again = info
            .layout(format)
            .map_err(|_| VideoInfoError::NotRepresentable)?;
        let is_same = again.planes() == layout.planes()
            && again.size() == layout.size()
            && again.is_bottom_up() == layout.is_bottom_up();
        if has_subtype && is_same {
            Ok(info)
        } else {
            Err(VideoInfoError::NotRepresentable)
        }
    }
}

/// Returns the stride of plane 0 in bytes for `biWidth` pixels, or `None` if there is no such plane
/// or the stride overflows. Rows of RGB and packed YUV are rounded up to 4 bytes.
fn stride(format: VideoFormat, width: u32) -> Option<usize> {
    let plane = format.planes().first()?;
    let bytes = plane.row_bytes(width)?;
    match format.planes().len() {
        1 => bytes.checked_next_multiple_of(4),
        _ => Some(bytes),
    }
}

/// Returns the width and the height of the frame in pixels, padding included.
fn surface(layout: &VideoLayout) -> Option<(u32, u32)> {
    let (Some(plane), Some(format)) = (layout.planes().first(), layout.format().planes().first())
    else {
        return Some((layout.width(), layout.height()));
    };
    // Rows of packed formats end with unused bytes, fewer than a pixel or up to 3.
    let blocks = u32::try_from(plane.stride / format.block_bytes).ok()?;
    let width = if plane.stride - plane.row_bytes < 4 && layout.planes().len() == 1 {
        layout.width()
    } else {
        blocks.checked_mul(format.block_width)?
    };
    // The chroma follows the padding below the luma.
    let rows = layout
        .planes()
        .get(1)
        .map(|chroma| chroma.offset / plane.stride);
    let rows = rows.map_or(Some(layout.height()), |rows| u32::try_from(rows).ok())?;
    let (_, block_height) = layout.format().chroma_subsampling();
    let is_rounded = rows == layout.height().next_multiple_of(block_height);
    Some((width, if is_rounded { layout.height() } else { rows }))
}

fn is_rgb(format: VideoFormat) -> bool {
    matches!(
        format,
        VideoFormat::Bgr24 | VideoFormat::Bgrx | VideoFormat::Bgra | VideoFormat::Rgba
    )
}

/// Returns the average number of bits per pixel; 24 for compressed formats, which is that of the
/// decoded picture.
fn bits_per_pixel(format: VideoFormat) -> u16 {
    if format.is_compressed() {
        return 24;
    }
    let planes = format.planes().iter();
    let bits = planes.map(|plane| {
        let pixels = plane.block_width * plane.block_height;
        // At most 4 bytes per block.
        u32::try_from(plane.block_bytes).map_or(0, |bytes| bytes * 8 / pixels)
    });
    u16::try_from(bits.sum::<u32>()).unwrap_or(u16::MAX)
}

/// Returns `biCompression`: 0 for RGB, otherwise the FOURCC, which is the first part of the
/// subtype.
fn compression(format: VideoFormat) -> u32 {
    let subtype = format
        .media_foundation_subtype()
        .filter(|_| !is_rgb(format));
    subtype
        .and_then(|subtype| u32::try_from(subtype >> 96).ok())
        .unwrap_or(0)
}
