//! Change of the video format in mid-stream, which the first sample of the new frames announces.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::allocator::Reframing;
use crate::error::ReframeError;
use crate::framing::Framing;
use crate::sync::{AtomicCell, Mutex};
use crate::video::VideoLayout;

use super::media_type::MediaType;
use super::shared::Shared;
use super::video_info::VideoInfoError;

/// New frames for a change of the video format: see
/// [`ComAllocator::change_format`](super::ComAllocator::change_format). A number of frames is one.
///
/// ```
/// use std::time::Duration;
///
/// use ks_allocator::com::{
///     AM_MEDIA_TYPE, ComAllocator, FORMAT_VideoInfo, FormatChange, video_info_header,
///     video_subtype,
/// };
/// use ks_allocator::{FramePool, KsAllocator, PoolAllocator, VideoFormat, VideoLayout};
///
/// // Memory for the frames of one format, but not of both at a time.
/// let builder = FramePool::builder().frames(2).frame_size(460_800).max_bytes(1_500_000);
/// let allocator = ComAllocator::new(PoolAllocator::from_builder(&builder)?);
/// allocator.commit()?;
///
/// let layout = VideoLayout::new(VideoFormat::Nv12, 640, 480)?;
/// let mut header = video_info_header(&layout, 400_000)?;
/// let media_type = AM_MEDIA_TYPE {
///     subtype: video_subtype(VideoFormat::Nv12).expect("NV12 has one"),
///     formattype: FORMAT_VideoInfo,
///     cbFormat: 88,
///     pbFormat: header.as_mut_ptr(),
///     ..AM_MEDIA_TYPE::default()
/// };
/// assert!(unsafe { allocator.change_format(&media_type, 3) }.is_err());
/// let change = FormatChange::new(3).drain(Duration::from_millis(100));
/// let framing = unsafe { allocator.change_format(&media_type, change) }?;
/// assert_eq!((framing.frames, framing.frame_size), (3, 460_800));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is passed to `ComAllocator::change_format`"]
pub struct FormatChange {
    frames: usize,
    drain: Option<Duration>,
}

impl FormatChange {
    /// Returns a change to this number of frames.
    pub fn new(frames: usize) -> Self {
        Self {
            frames,
            drain: None,
        }
    }

    /// Frees the memory of the present frames before the new memory is allocated, after it has
    /// waited at most `timeout` until they are all back: see [`Reframing::drain`].
    pub fn drain(mut self, timeout: Duration) -> Self {
        self.drain = Some(timeout);
        self
    }

    /// Returns the new frames: those of the present framing, with this number and picture.
    pub(super) fn reframing(&self, present: Framing, layout: &VideoLayout) -> Reframing {
        let framing = Framing {
            frames: self.frames,
            // It is 0 before anything is set.
            alignment: present.alignment.max(1),
            ..present
        };
        let reframing = Reframing::new(framing).layout(layout);
        match self.drain {
            Some(timeout) => reframing.drain(timeout),
            None => reframing,
        }
    }
}

impl From<usize> for FormatChange {
    fn from(frames: usize) -> Self {
        Self::new(frames)
    }
}

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
