//! Errors of video layouts and planes.

use std::io;

use thiserror::Error;

use super::format::VideoFormat;

/// Error of making a [`VideoLayout`](crate::VideoLayout).
///
/// ```
/// use ks_allocator::{LayoutError, VideoFormat, VideoLayout};
///
/// let planes = [(0, 1920), (1920 * 1080, -1920)];
/// let error = VideoLayout::from_planes(VideoFormat::Nv12, 1920, 1080, &planes, 3_110_400);
/// let error = error.unwrap_err();
/// assert_eq!(error, LayoutError::Stride { plane: 1, stride: -1920, row_bytes: 1920 });
/// assert_eq!(
///     error.to_string(),
///     "plane 1 has a stride of -1920 bytes, and its rows have 1920 bytes"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A picture has at least one row and one column.
    #[error("a picture of {width} x {height} pixels has no content")]
    Empty {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The picture does not fit into the address space.
    #[error("a {format} picture of {width} x {height} pixels is too large")]
    TooLarge {
        /// Format of the picture.
        format: VideoFormat,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A compressed format has no size of its own, and none was set.
    #[error("{format} pictures have no fixed size: set a minimum size")]
    NoSize {
        /// Format of the picture.
        format: VideoFormat,
    },
    /// An alignment is 0, or the least common multiple of all is more than 65,536.
    #[error("an alignment of {alignment} bytes is not from 1 to 65536")]
    Alignment {
        /// Alignment in bytes.
        alignment: usize,
    },
    /// The padding at the left or at the top splits a chroma sample.
    #[error(
        "a padding of {left} pixels at the left and {top} at the top is not a multiple of \
         {block_width} x {block_height} pixels"
    )]
    Padding {
        /// Padding at the left in pixels.
        left: u32,
        /// Padding at the top in pixels.
        top: u32,
        /// Pixels that share a chroma sample horizontally.
        block_width: u32,
        /// Pixels that share a chroma sample vertically.
        block_height: u32,
    },
    /// A stride is negative, or less than the bytes of a row.
    #[error("plane {plane} has a stride of {stride} bytes, and its rows have {row_bytes} bytes")]
    Stride {
        /// Number of the plane, from 0.
        plane: usize,
        /// Stride in bytes.
        stride: isize,
        /// Bytes per row, with padding.
        row_bytes: usize,
    },
    /// A stride is not a multiple of what it has to be.
    #[error("plane {plane} has a stride of {stride} bytes, which is not a multiple of {alignment}")]
    StrideAlignment {
        /// Number of the plane, from 0.
        plane: usize,
        /// Stride in bytes.
        stride: usize,
        /// Required alignment in bytes.
        alignment: usize,
    },
    /// The number of planes is not that of the format.
    #[error("{format} has {expected} planes, not {given}")]
    PlaneCount {
        /// Format of the picture.
        format: VideoFormat,
        /// Number of planes of the format.
        expected: usize,
        /// Number of planes that were given.
        given: usize,
    },
    /// The bytes of two planes, from the first row to the last, overlap.
    #[error("plane {first} ends at byte {first_end}, and plane {second} begins at {second_begin}")]
    Overlap {
        /// Number of the plane that begins first.
        first: usize,
        /// Offset of the first byte behind it.
        first_end: usize,
        /// Number of the other plane.
        second: usize,
        /// Offset of its first byte.
        second_begin: usize,
    },
    /// A plane ends behind the frame.
    #[error("plane {plane} ends at byte {end}, and the frame has {size} bytes")]
    Outside {
        /// Number of the plane, from 0.
        plane: usize,
        /// Offset of the first byte behind it.
        end: usize,
        /// Size of the frame in bytes.
        size: usize,
    },
}

/// Error of accessing the planes of a frame.
///
/// ```
/// use ks_allocator::{FramePool, PlanesError};
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// assert_eq!(pool.acquire()?.planes().unwrap_err(), PlanesError::NoLayout);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum PlanesError {
    /// The pool was built without a video layout.
    #[error("the pool has no video layout")]
    NoLayout,
    /// The frame has fewer bytes in use than the planes take.
    #[error("the planes take {needed} bytes, and {length} bytes are in use")]
    TooShort {
        /// Bytes in use.
        length: usize,
        /// Bytes up to the end of the last row.
        needed: usize,
    },
}

impl From<LayoutError> for io::Error {
    fn from(error: LayoutError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

impl From<PlanesError> for io::Error {
    fn from(error: PlanesError) -> Self {
        let kind = match error {
            PlanesError::NoLayout => io::ErrorKind::Unsupported,
            PlanesError::TooShort { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
