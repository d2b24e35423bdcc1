//! Change of the video format in mid-stream, which the first sample of the new frames announces.

use std::io;

use thiserror::Error;

use crate::error::ReframeError;
use crate::sync::{AtomicCell, Mutex};

use super::media_type::MediaType;
use super::shared::Shared;
use super::video_info::VideoInfoError;

/// Error of [`ComAllocator::change_format`](super::ComAllocator::change_format).
///
/// ```
/// use ks_allocator::PoolAllocator;
/// use ks_allocator::com::{AM_MEDIA_TYPE, ComAllocator, FormatChangeError};
///
/// let allocator = ComAllocator::new(PoolAllocator::new());
/// let error = unsafe { allocator.change_format(&AM_MEDIA_TYPE::default(), 4) }.unwrap_err();
/// assert!(matches!(error, FormatChangeError::VideoInfo(_)));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FormatChangeError {
    /// The media type describes no picture.
    #[error(transparent)]
    VideoInfo(#[from] VideoInfoError),
    /// The frames cannot be replaced.
    #[error(transparent)]
    Reframe(#[from] ReframeError),
    /// There is no memory for a copy of the media type.
    #[error("out of memory: the media type cannot be copied")]
    OutOfMemory,
}

impl From<FormatChangeError> for io::Error {
    fn from(error: FormatChangeError) -> Self {
        match error {
            FormatChangeError::VideoInfo(error) => error.into(),
            FormatChangeError::Reframe(error) => error.into(),
            FormatChangeError::OutOfMemory => Self::new(io::ErrorKind::OutOfMemory, error),
        }
    }
}

/// The media type that the first sample of a generation is to have.
#[derive(Debug)]
pub(super) struct Announcement {
    /// False if there is none. Read by every `GetBuffer`.
    is_pending: AtomicCell<bool>,
    /// With its generation. Dropped only while this is not locked, because that may run code of the
    /// client's.
    pending: Mutex<Option<(u64, Shared<MediaType>)>>,
}

impl Announcement {
    pub(super) const fn none() -> Self {
        Self {
            is_pending: AtomicCell::new(false),
            pending: Mutex::new(None),
        }
    }

    /// Sets the media type for the first sample of a generation. Returns the one before, which the
    /// caller drops when it has no lock.
    pub(super) fn set(
        &self,
        generation: u64,
        media_type: Shared<MediaType>,
    ) -> Option<(u64, Shared<MediaType>)> {
        let mut pending = self.pending.lock();
        let before = pending.replace((generation, media_type));
        self.is_pending.store(true);
        before
    }

    /// Returns the media type for a sample of a generation, if it is the first.
    #[inline]
    pub(super) fn take(&self, generation: u64) -> Option<Shared<MediaType>> {
        if self.is_pending.load() {
            self.take_pending(generation)
        } else {
            None
        }
    }

    #[cold]
    fn take_pending(&self, generation: u64) -> Option<Shared<MediaType>> {
        let mut pending = self.pending.lock();
        // Frames of earlier generations may still go out before the first of this one.
        let taken = pending.take_if(|(of, _)| *of <= generation);
        self.is_pending.store(pending.is_some());
        drop(pending);
        taken
            .filter(|(of, _)| *of == generation)
            .map(|(_, media_type)| media_type)
    }
}
