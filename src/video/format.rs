//! Pixel formats, their planes, and their names in other interfaces.

use std::fmt;
use std::io;
use std::str::FromStr;

use thiserror::Error;

/// Pixel format of a picture, or the format of a compressed one.
///
/// Packed formats are named by the order of their bytes in memory: a pixel of `Bgra` is blue,
/// green, red, alpha. Samples of 16 bits are little-endian.
///
/// | format | planes | bytes per block of pixels | other names |
/// |---|---|---|---|
/// | `Nv12`, `Nv21` | Y; U and V (`Nv21`: V and U) interleaved | 1; 2 per 2 x 2 | |
/// | `I420`, `Yv12` | Y; U; V (`Yv12`: Y; V; U) | 1; 1 per 2 x 2; 1 per 2 x 2 | yuv420p |
/// | `Nv16` | Y; U and V interleaved | 1; 2 per 2 x 1 | |
/// | `I422` | Y; U; V | 1; 1 per 2 x 1; 1 per 2 x 1 | yuv422p |
/// | `I444` | Y; U; V | 1; 1; 1 | yuv444p |
/// | `P010`, `P016` | as `Nv12`; `P010` has its 10 bits at the top | 2; 4 per 2 x 2 | |
/// | `Yuy2`, `Uyvy` | Y U Y V; U Y V Y | 4 per 2 x 1 | yuyv422; uyvy422 |
/// | `Bgra`, `Rgba`, `Bgrx`, `Rgbx`, `Argb` | one | 4 | |
/// | `Rgb24`, `Bgr24` | one | 3 | |
/// | `Gray8`, `Gray16` | one | 1; 2 | |
/// | `Mjpeg`, `H264` | none: a frame has a length of its own | | |
///
/// It is parsed from its own name and from those of GStreamer and FFmpeg, in upper or lower case.
///
/// ```
/// use ks_allocator::VideoFormat;
///
/// let format: VideoFormat = "yuv420p".parse()?;
/// assert_eq!(format, VideoFormat::I420);
/// assert_eq!(format.to_string(), "I420");
/// assert_eq!(format.planes().len(), 3);
/// assert_eq!(format.v4l2_fourcc(), Some(u32::from_le_bytes(*b"YU12")));
/// # Ok::<(), ks_allocator::UnknownVideoFormat>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the table describes them")]
pub enum VideoFormat {
    Nv12,
    Nv21,
    I420,
    Yv12,
    Nv16,
    I422,
    I444,
    P010,
    P016,
    Yuy2,
    Uyvy,
    Bgra,
    Rgba,
    Bgrx,
    Rgbx,
    Argb,
    Rgb24,
    Bgr24,
    Gray8,
    Gray16,
    Mjpeg,
    H264,
}

/// Content of one plane of a format, as a grid of equal blocks of pixels.
///
/// A block is the smallest part of the plane that has whole bytes. A picture whose width or height
/// is not a multiple of the block's has partial blocks at its right or lower edge, which take as
/// many bytes as whole ones.
///
/// ```
/// use ks_allocator::VideoFormat;
///
/// let chroma = VideoFormat::Nv12.planes()[1];
/// assert_eq!((chroma.block_width, chroma.block_height), (2, 2));
/// assert_eq!(chroma.block_bytes, 2); // one U and one V for 4 pixels
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PlaneFormat {
    /// Number of bytes per block.
    pub block_bytes: usize,
    /// Width of a block in pixels.
    pub block_width: u32,
    /// Height of a block in pixels.
    pub block_height: u32,
}

impl PlaneFormat {
    /// Returns the bytes of a row of `width` pixels, or `None` if they overflow.
    pub(crate) fn row_bytes(&self, width: u32) -> Option<usize> {
        let blocks = usize::try_from(width.div_ceil(self.block_width)).ok()?;
        blocks.checked_mul(self.block_bytes)
    }

    /// Returns the rows of a picture of `height` pixels, or `None` if they overflow.
    pub(crate) fn rows(&self, height: u32) -> Option<usize> {
        usize::try_from(height.div_ceil(self.block_height)).ok()
    }
}

/// Returns the planes whose blocks have the given bytes, width and height.
macro_rules! planes {
    ($(($block_bytes:literal, $block_width:literal x $block_height:literal)),*) => {
        &[$(PlaneFormat {
            block_bytes: $block_bytes,
            block_width: $block_width,
            block_height: $block_height,
        }),*]
    };
}

/// Planes, names and codes of one format.
struct Description {
    name: &'static str,
    planes: &'static [PlaneFormat],
    /// Bits of a sample that carry information; 0 for compressed formats.
    sample_bits: u32,
    drm: Option<&'static [u8; 4]>,
    v4l2: Option<&'static [u8; 4]>,
    ffmpeg: Option<&'static str>,
    gstreamer: &'static str,
    /// First part of the subtype: a FOURCC, or a number of Direct3D 9.
    media_foundation: Option<u32>,
}

const fn fourcc(code: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*code)
}

/// The part that all subtypes with a FOURCC have in common:
/// `xxxxxxxx-0000-0010-8000-00AA00389B71`.
const SUBTYPE_BASE: u128 = 0x0000_0000_0000_0010_8000_00AA_0038_9B71;

impl VideoFormat {
    /// All formats.
    ///
    /// ```
    /// use ks_allocator::VideoFormat;
    ///
    /// let two_planes = VideoFormat::ALL.iter().filter(|format| format.planes().len() == 2);
    /// assert_eq!(two_planes.count(), 5);
    /// ```
    pub const ALL: &'static [Self] = &[
        Self::Nv12,
        Self::Nv21,
        Self::I420,
        Self::Yv12,
        Self::Nv16,
        Self::I422,
        Self::I444,
        Self::P010,
        Self::P016,
        Self::Yuy2,
        Self::Uyvy,
        Self::Bgra,
        Self::Rgba,
        Self::Bgrx,
        Self::Rgbx,
        Self::Argb,
        Self::Rgb24,
        Self::Bgr24,
        Self::Gray8,
        Self::Gray16,
        Self::Mjpeg,
        Self::H264,
    ];

    const fn description(self) -> Description {
        match self {
            Self::Nv12 => Description {
                name: "NV12",
                planes: planes![(1, 1 x 1), (2, 2 x 2)],
                sample_bits: 8,
                drm: Some(b"NV12"),
                v4l2: Some(b"NV12"),
                ffmpeg: Some("nv12"),
                gstreamer: "NV12",
                media_foundation: Some(fourcc(b"NV12")),
            },
            Self::Nv21 => Description {
                name: "NV21",
                planes: planes![(1, 1 x 1), (2, 2 x 2)],
                sample_bits: 8,
                drm: Some(b"NV21"),
                v4l2: Some(b"NV21"),
                ffmpeg: Some("nv21"),
                gstreamer: "NV21",
                media_foundation: Some(fourcc(b"NV21")),
            },
            Self::I420 => Description {
                name: "I420",
                planes: planes![(1, 1 x 1), (1, 2 x 2), (1, 2 x 2)],
                sample_bits: 8,
                drm: Some(b"YU12"),
                v4l2: Some(b"YU12"),
                ffmpeg: Some("yuv420p"),
                gstreamer: "I420",
                media_foundation: Some(fourcc(b"I420")),
            },
            Self::Yv12 => Description {
                name: "YV12",
                planes: planes![(1, 1 x 1), (1, 2 x 2), (1, 2 x 2)],
                sample_bits: 8,
                drm: Some(b"YV12"),
                v4l2: Some(b"YV12"),
                ffmpeg: None,
                gstreamer: "YV12",
                media_foundation: Some(fourcc(b"YV12")),
            },
            Self::Nv16 => Description {
                name: "NV16",
                planes: planes![(1, 1 x 1), (2, 2 x 1)],
                sample_bits: 8,
                drm: Some(b"NV16"),
                v4l2: Some(b"NV16"),
                ffmpeg: Some("nv16"),
                gstreamer: "NV16",
                media_foundation: None,
            },
            Self::I422 => Description {
                name: "I422",
                planes: planes![(1, 1 x 1), (1, 2 x 1), (1, 2 x 1)],
                sample_bits: 8,
                drm: Some(b"YU16"),
                v4l2: Some(b"422P"),
                ffmpeg: Some("yuv422p"),
                gstreamer: "Y42B",
                media_foundation: None,
            },
            Self::I444 => Description {
                name: "I444",
                planes: planes![(1, 1 x 1), (1, 1 x 1), (1, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"YU24"),
                v4l2: None,
                ffmpeg: Some("yuv444p"),
                gstreamer: "Y444",
                media_foundation: None,
            },
            Self::P010 => Description {
                name: "P010",
                planes: planes![(2, 1 x 1), (4, 2 x 2)],
                sample_bits: 10,
                drm: Some(b"P010"),
                v4l2: Some(b"P010"),
                ffmpeg: Some("p010le"),
                gstreamer: "P010_10LE",
                media_foundation: Some(fourcc(b"P010")),
            },
            Self::P016 => Description {
                name: "P016",
                planes: planes![(2, 1 x 1), (4, 2 x 2)],
                sample_bits: 16,
                drm: Some(b"P016"),
                v4l2: None,
                ffmpeg: Some("p016le"),
                gstreamer: "P016_LE",
                media_foundation: Some(fourcc(b"P016")),
            },
            Self::Yuy2 => Description {
                name: "YUY2",
                planes: planes![(4, 2 x 1)],
                sample_bits: 8,
                drm: Some(b"YUYV"),
                v4l2: Some(b"YUYV"),
                ffmpeg: Some("yuyv422"),
                gstreamer: "YUY2",
                media_foundation: Some(fourcc(b"YUY2")),
            },
            Self::Uyvy => Description {
                name: "UYVY",
                planes: planes![(4, 2 x 1)],
                sample_bits: 8,
                drm: Some(b"UYVY"),
                v4l2: Some(b"UYVY"),
                ffmpeg: Some("uyvy422"),
                gstreamer: "UYVY",
                media_foundation: Some(fourcc(b"UYVY")),
            },
            Self::Bgra => Description {
                name: "BGRA",
                planes: planes![(4, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"AR24"),
                v4l2: Some(b"AR24"),
                ffmpeg: Some("bgra"),
                gstreamer: "BGRA",
                media_foundation: Some(21),
            },
            Self::Rgba => Description {
                name: "RGBA",
                planes: planes![(4, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"AB24"),
                v4l2: Some(b"AB24"),
                ffmpeg: Some("rgba"),
                gstreamer: "RGBA",
                media_foundation: Some(32),
            },
            Self::Bgrx => Description {
                name: "BGRX",
                planes: planes![(4, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"XR24"),
                v4l2: Some(b"XR24"),
                ffmpeg: Some("bgr0"),
                gstreamer: "BGRx",
                media_foundation: Some(22),
            },
            Self::Rgbx => Description {
                name: "RGBX",
                planes: planes![(4, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"XB24"),
                v4l2: Some(b"XB24"),
                ffmpeg: Some("rgb0"),
                gstreamer: "RGBx",
                media_foundation: None,
            },
            Self::Argb => Description {
                name: "ARGB",
                planes: planes![(4, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"BA24"),
                v4l2: Some(b"BA24"),
                ffmpeg: Some("argb"),
                gstreamer: "ARGB",
                media_foundation: None,
            },
            Self::Rgb24 => Description {
                name: "RGB24",
                planes: planes![(3, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"BG24"),
                v4l2: Some(b"RGB3"),
                ffmpeg: Some("rgb24"),
                gstreamer: "RGB",
                media_foundation: None,
            },
            Self::Bgr24 => Description {
                name: "BGR24",
                planes: planes![(3, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"RG24"),
                v4l2: Some(b"BGR3"),
                ffmpeg: Some("bgr24"),
                gstreamer: "BGR",
                media_foundation: Some(20),
            },
            Self::Gray8 => Description {
                name: "GRAY8",
                planes: planes![(1, 1 x 1)],
                sample_bits: 8,
                drm: Some(b"R8  "),
                v4l2: Some(b"GREY"),
                ffmpeg: Some("gray"),
                gstreamer: "GRAY8",
                media_foundation: Some(50),
            },
            Self::Gray16 => Description {
                name: "GRAY16",
                planes: planes![(2, 1 x 1)],
                sample_bits: 16,
                drm: Some(b"R16 "),
                v4l2: Some(b"Y16 "),
                ffmpeg: Some("gray16le"),
                gstreamer: "GRAY16_LE",
                media_foundation: Some(81),
            },
            Self::Mjpeg => Description {
                name: "MJPEG",
                planes: planes![],
                sample_bits: 0,
                drm: None,
                v4l2: Some(b"MJPG"),
                ffmpeg: Some("mjpeg"),
                gstreamer: "image/jpeg",
                media_foundation: Some(fourcc(b"MJPG")),
            },
            Self::H264 => Description {
                name: "H264",
                planes: planes![],
                sample_bits: 0,
                drm: None,
                v4l2: Some(b"H264"),
                ffmpeg: Some("h264"),
                gstreamer: "video/x-h264",
                media_foundation: Some(fourcc(b"H264")),
            },
        }
    }

    /// Returns the planes in the order in which they lie in memory. It is empty for compressed
    /// formats.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::P010.planes()[0].block_bytes, 2);
    /// assert!(VideoFormat::H264.planes().is_empty());
    /// ```
    #[must_use]
    pub const fn planes(self) -> &'static [PlaneFormat] {
        self.description().planes
    }

    /// Returns how many times the bytes of a row of this plane go into those of plane 0.
    pub(crate) fn stride_divisor(self, plane: usize) -> usize {
        let planes = self.planes();
        // Blocks are at most two pixels wide.
        let bytes_of_two_pixels = |plane: &PlaneFormat| plane.row_bytes(2);
        let first = planes.first().and_then(bytes_of_two_pixels);
        let own = planes.get(plane).and_then(bytes_of_two_pixels);
        let quotient = first
            .zip(own)
            .and_then(|(first, own)| first.checked_div(own));
        quotient.unwrap_or(1)
    }

    /// Returns whether frames of this format have no planes and no fixed size.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert!(VideoFormat::Mjpeg.is_compressed() && !VideoFormat::Nv12.is_compressed());
    /// ```
    #[must_use]
    pub const fn is_compressed(self) -> bool {
        self.planes().is_empty()
    }

    /// Returns the number of pixels, horizontally and vertically, that share one chroma sample.
    ///
    /// It is (2, 2) for 4:2:0, (2, 1) for 4:2:2, and (1, 1) if chroma is not subsampled or if there
    /// is none.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::P010.chroma_subsampling(), (2, 2));
    /// assert_eq!(VideoFormat::Yuy2.chroma_subsampling(), (2, 1));
    /// assert_eq!(VideoFormat::Rgba.chroma_subsampling(), (1, 1));
    /// ```
    #[must_use]
    pub const fn chroma_subsampling(self) -> (u32, u32) {
        // The chroma plane is the last one, and the only plane of a packed format has both.
        match self.planes().last() {
            Some(chroma) => (chroma.block_width, chroma.block_height),
            None => (1, 1),
        }
    }

    /// Returns the number of bytes per sample: 1 or 2, or 0 for compressed formats.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::P010.bytes_per_sample(), 2);
    /// ```
    #[must_use]
    pub const fn bytes_per_sample(self) -> usize {
        match self.bits_per_sample() {
            0 => 0,
            1..=8 => 1,
            _ => 2,
        }
    }

    /// Returns the number of bits per sample that carry information, or 0 for compressed formats.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::P010.bits_per_sample(), 10); // the upper 10 of 16
    /// ```
    #[must_use]
    pub const fn bits_per_sample(self) -> u32 {
        self.description().sample_bits
    }

    /// Returns the name, as it is displayed.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::Nv12.name(), "NV12");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.description().name
    }

    /// Returns the code of DRM (`drm_fourcc.h`), or `None` if there is none.
    ///
    /// DRM names packed formats by their little-endian word from the top, so `ARGB8888` is `Bgra`.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::Bgra.drm_fourcc(), Some(u32::from_le_bytes(*b"AR24")));
    /// ```
    #[doc(alias("DRM_FORMAT_ARGB8888", "DRM_FORMAT_NV12"))]
    #[must_use]
    pub const fn drm_fourcc(self) -> Option<u32> {
        match self.description().drm {
            Some(code) => Some(fourcc(code)),
            None => None,
        }
    }

    /// Returns the code of V4L2 (`videodev2.h`) for a buffer that has all planes, or `None` if
    /// there is none.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::Gray8.v4l2_fourcc(), Some(u32::from_le_bytes(*b"GREY")));
    /// assert_eq!(VideoFormat::I444.v4l2_fourcc(), None); // only with a buffer per plane
    /// ```
    #[doc(alias("V4L2_PIX_FMT_NV12", "pixelformat"))]
    #[must_use]
    pub const fn v4l2_fourcc(self) -> Option<u32> {
        match self.description().v4l2 {
            Some(code) => Some(fourcc(code)),
            None => None,
        }
    }

    /// Returns the name of the pixel format, or of the codec, in FFmpeg. `None` for YV12, which
    /// FFmpeg takes as `yuv420p` with planes 1 and 2 swapped.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::Bgrx.ffmpeg_name(), Some("bgr0"));
    /// ```
    #[doc(alias = "AVPixelFormat")]
    #[must_use]
    pub const fn ffmpeg_name(self) -> Option<&'static str> {
        self.description().ffmpeg
    }

    /// Returns the name in GStreamer: that of the video format, or the media type of a compressed
    /// one.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// assert_eq!(VideoFormat::P010.gstreamer_name(), "P010_10LE");
    /// assert_eq!(VideoFormat::Mjpeg.gstreamer_name(), "image/jpeg");
    /// ```
    #[doc(alias = "GstVideoFormat")]
    #[must_use]
    pub const fn gstreamer_name(self) -> &'static str {
        self.description().gstreamer
    }

    /// Returns the subtype GUID of Media Foundation and DirectShow as a number, or `None` if there
    /// is none.
    ///
    /// Microsoft names packed formats by their little-endian word from the top: `RGB24` is `Bgr24`,
    /// and `ARGB32` is `Bgra`. DirectShow has subtypes of its own for uncompressed RGB; the COM
    /// face knows them.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// let nv12 = 0x3231564E_0000_0010_8000_00AA00389B71;
    /// assert_eq!(VideoFormat::Nv12.media_foundation_subtype(), Some(nv12));
    /// ```
    #[doc(alias("MFVideoFormat_NV12", "MEDIASUBTYPE_NV12"))]
    #[must_use]
    pub const fn media_foundation_subtype(self) -> Option<u128> {
        match self.description().media_foundation {
            Some(code) => Some((code as u128) << 96 | SUBTYPE_BASE),
            None => None,
        }
    }

    /// Returns the format that has this code in DRM.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// let code = u32::from_le_bytes(*b"XB24");
    /// assert_eq!(VideoFormat::from_drm_fourcc(code), Some(VideoFormat::Rgbx));
    /// ```
    #[must_use]
    pub fn from_drm_fourcc(code: u32) -> Option<Self> {
        Self::find(|format| format.drm_fourcc() == Some(code))
    }

    /// Returns the format that has this code in V4L2.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// let code = u32::from_le_bytes(*b"MJPG");
    /// assert_eq!(VideoFormat::from_v4l2_fourcc(code), Some(VideoFormat::Mjpeg));
    /// ```
    #[must_use]
    pub fn from_v4l2_fourcc(code: u32) -> Option<Self> {
        Self::find(|format| format.v4l2_fourcc() == Some(code))
    }

    /// Returns the format that has this subtype GUID in Media Foundation.
    ///
    /// ```
    /// # use ks_allocator::VideoFormat;
    /// let argb32 = 0x00000015_0000_0010_8000_00AA00389B71;
    /// let format = VideoFormat::from_media_foundation_subtype(argb32);
    /// assert_eq!(format, Some(VideoFormat::Bgra));
    /// ```
    #[must_use]
    pub fn from_media_foundation_subtype(subtype: u128) -> Option<Self> {
        Self::find(|format| format.media_foundation_subtype() == Some(subtype))
    }

    fn find(is_it: impl Fn(Self) -> bool) -> Option<Self> {
        Self::ALL.iter().copied().find(|&format| is_it(format))
    }

    /// Returns whether this is the name of the format here, in GStreamer or in FFmpeg.
    fn has_name(self, name: &str) -> bool {
        let names = [
            Some(self.name()),
            Some(self.gstreamer_name()),
            self.ffmpeg_name(),
        ];
        names
            .into_iter()
            .flatten()
            .any(|own| own.eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for VideoFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for VideoFormat {
    type Err = UnknownVideoFormat;

    fn from_str(name: &str) -> Result<Self, UnknownVideoFormat> {
        Self::find(|format| format.has_name(name)).ok_or_else(|| UnknownVideoFormat {
            name: name.to_owned(),
        })
    }
}

/// Error of parsing a [`VideoFormat`].
///
/// ```
/// use ks_allocator::VideoFormat;
///
/// let error = "NV99".parse::<VideoFormat>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown video format `NV99`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[error("unknown video format `{name}`")]
#[non_exhaustive]
pub struct UnknownVideoFormat {
    /// The name that was parsed.
    pub name: String,
}

impl From<UnknownVideoFormat> for io::Error {
    fn from(error: UnknownVideoFormat) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for VideoFormat {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for VideoFormat {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_name_and_code_belongs_to_one_format() {
        let mut owners = HashMap::new();
        for &format in VideoFormat::ALL {
            let words = [format.name(), format.gstreamer_name()].map(str::to_lowercase);
            let codes = [
                format.drm_fourcc().map(|code| format!("drm {code:x}")),
                format.v4l2_fourcc().map(|code| format!("v4l2 {code:x}")),
                format
                    .media_foundation_subtype()
                    .map(|code| format!("guid {code:x}")),
                format.ffmpeg_name().map(str::to_owned),
            ];
            for key in words.into_iter().chain(codes.into_iter().flatten()) {
                let owner = *owners.entry(key.clone()).or_insert(format);
                assert_eq!(owner, format, "{key}");
            }
        }
    }

    #[test]
    fn a_format_is_found_by_each_of_its_names_and_codes() {
        for &format in VideoFormat::ALL {
            let names = [
                Some(format.name()),
                Some(format.gstreamer_name()),
                format.ffmpeg_name(),
            ];
            for name in names.into_iter().flatten() {
                assert_eq!(name.parse(), Ok(format));
                assert_eq!(name.to_lowercase().parse(), Ok(format));
            }
            if let Some(code) = format.drm_fourcc() {
                assert_eq!(VideoFormat::from_drm_fourcc(code), Some(format));
            }
            if let Some(code) = format.v4l2_fourcc() {
                assert_eq!(VideoFormat::from_v4l2_fourcc(code), Some(format));
            }
            if let Some(subtype) = format.media_foundation_subtype() {
                let found = VideoFormat::from_media_foundation_subtype(subtype);
                assert_eq!(found, Some(format));
            }
        }
        let error = "NV99".parse::<VideoFormat>().unwrap_err();
        assert_eq!(error.to_string(), "unknown video format `NV99`");
    }

    #[test]
    fn only_the_last_plane_has_the_largest_blocks_and_the_first_has_the_smallest() {
        for format in VideoFormat::ALL
            .iter()
            .filter(|format| !format.is_compressed())
        {
            let planes = format.planes();
            let (width, height) = format.chroma_subsampling();
            for plane in planes {
                assert!(plane.block_width <= width && plane.block_height <= height);
                assert_eq!(plane.block_bytes % format.bytes_per_sample(), 0);
            }
            assert!(planes.len() == 1 || planes[0].block_width == 1, "{format}");
        }
    }
}
