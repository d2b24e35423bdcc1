//! Planes of the picture in a frame.

use crate::video::{Planes, PlanesError, PlanesMut, VideoLayout};

use super::held_slot::HeldSlot;
use super::shared::SharedFrame;
use super::unique::Frame;

impl Frame {
    /// Returns the layout of the picture, which is that of the
    /// [pool](crate::FramePool::video_layout), or `None` if the pool was built without one.
    ///
    /// ```
    /// use ks_allocator::{FramePool, VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 64, 48)?;
    /// let pool = FramePool::builder().frames(1).video(&layout).build()?;
    /// assert_eq!(pool.acquire()?.video_layout(), Some(&layout));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn video_layout(&self) -> Option<&VideoLayout> {
        self.core().video.as_ref()
    }

    /// Returns the planes of the picture, by the [layout](crate::FramePool::video_layout) of the
    /// pool.
    ///
    /// # Errors
    ///
    /// - [`PlanesError::NoLayout`], if the pool was built without a layout. Use
    ///   [`VideoLayout::planes_of`] then.
    /// - [`PlanesError::TooShort`], if the length of the frame was set to less than the planes
    ///   take.
    ///
    /// ```
    /// use ks_allocator::{FramePool, VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 64, 48)?;
    /// let pool = FramePool::builder().frames(1).video(&layout).build()?;
    /// let mut frame = pool.acquire()?;
    /// assert_eq!(frame.planes()?[1].rows().len(), 24);
    /// frame.set_len(64 * 48)?;
    /// assert!(frame.planes().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn planes(&self) -> Result<Planes<'_>, PlanesError> {
        self.held.layout()?.planes_of(self)
    }

    /// Returns the planes of the picture, writable and without bytes in common.
    ///
    /// # Errors
    ///
    /// The errors of [`planes`](Self::planes).
    ///
    /// ```
    /// use ks_allocator::{FramePool, VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 64, 48)?;
    /// let pool = FramePool::builder().frames(1).video(&layout).build()?;
    /// let mut frame = pool.acquire()?;
    /// for (plane, value) in frame.planes_mut()?.into_iter().zip([16, 128]) {
    ///     plane.into_rows().for_each(|row| row.fill(value));
    /// }
    /// assert_eq!((frame[0], frame[64 * 48]), (16, 128));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn planes_mut(&mut self) -> Result<PlanesMut<'_>, PlanesError> {
        let layout = *self.held.layout()?;
        layout.planes_of_mut(self)
    }
}

impl SharedFrame {
    /// Returns the layout of the picture, as [`Frame::video_layout`] does.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.share().video_layout(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn video_layout(&self) -> Option<&VideoLayout> {
        self.core().video.as_ref()
    }

    /// Returns the planes of the picture, as [`Frame::planes`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Frame::planes`].
    ///
    /// ```
    /// use ks_allocator::{FramePool, VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::new(VideoFormat::Rgba, 8, 8)?;
    /// let pool = FramePool::builder().frames(1).video(&layout).build()?;
    /// let frame = pool.acquire()?.share();
    /// assert_eq!(frame.planes()?[0].rows().map(<[u8]>::len).sum::<usize>(), 256);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn planes(&self) -> Result<Planes<'_>, PlanesError> {
        self.held.layout()?.planes_of(self)
    }
}

impl HeldSlot {
    fn layout(&self) -> Result<&VideoLayout, PlanesError> {
        self.core().video.as_ref().ok_or(PlanesError::NoLayout)
    }
}
