//! Error of this package.

use ks_allocator::{AcquireError, LayoutError, PlanesError};

use crate::decoder::FramesNeeded;

/// Error of decoding into frames of a pool, or of giving a frame to an encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The decoder would write into memory of its own.
    #[error("the decoder `{0}` cannot decode into memory of the application")]
    NotDirect(String),
    /// The pool has fewer frames than the decoder holds at once.
    #[error("the pool has {frames} frames, and the decoder needs {needed}")]
    PoolTooSmall {
        /// Number of frames of the pool.
        frames: usize,
        /// Number of frames that the decoder needs.
        needed: FramesNeeded,
    },
    /// The decoder asked for a frame while none was free. The report says who holds them.
    #[error("the decoder got no frame: {0}")]
    NoFrame(AcquireError),
    /// The pixel format of FFmpeg and that of the pool are different, or one of them has no
    /// equivalent.
    #[error("the pixel format is not that of the pool, or it has no equivalent")]
    PixelFormat,
    /// A plane of the pool's frames is not aligned as the decoder needs it.
    #[error("plane {plane} of the pool's frames is not aligned to {alignment} bytes")]
    Alignment {
        /// Number of the plane, from 0.
        plane: usize,
        /// Required alignment of the plane and of its stride in bytes.
        alignment: usize,
    },
    /// The first row in memory is the lowest one. FFmpeg describes that by negative strides, with
    /// which the methods of `frame::Video` are not sound.
    #[error("the first row in memory is the lowest one of the picture")]
    BottomUp,
    /// A decoded picture is not in a frame of the pool.
    #[error("the decoded picture is not in a frame of the pool")]
    NotInPool,
    /// The planes do not fit the frames of the pool.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The pool or the frame has no room for the planes.
    #[error(transparent)]
    Planes(#[from] PlanesError),
    /// Error of FFmpeg.
    #[error(transparent)]
    Ffmpeg(#[from] ffmpeg_next::Error),
}

impl Error {
    /// Returns the error of an allocation of FFmpeg that failed.
    pub(crate) const NO_MEMORY: Self = Self::Ffmpeg(ffmpeg_next::Error::Other {
        errno: ffmpeg_next::error::ENOMEM,
    });
}
