//! Batch of frames.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::{Deref, DerefMut};

use arrayvec::ArrayVec;

use crate::pool::checkout::Acquired;
use crate::pool::core::Core;

use super::unique::Frame;

/// Frames that were acquired together, and are released together.
///
/// A batch is a slice of frames: they can be used in place, by index or by
/// [`iter_mut`](slice::iter_mut). It is also an iterator that takes its frames out, in no
/// particular order. Dropping the batch releases the frames in it with few read-modify-writes: one
/// for neighbors in the batch that lie in the same word of the free list.
///
/// The frames are the caller's from the beginning: reports show each of them with the label and the
/// source line of the call that acquired the batch.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(8).frame_size(64).build()?;
/// let mut batch = pool.acquire_many(5)?;
/// for (sequence, frame) in (0..).zip(batch.iter_mut()) {
///     frame.fill(1);
///     frame.metadata_mut().sequence = sequence;
/// }
/// assert_eq!(batch[3].metadata().sequence, 3);
///
/// let one = batch.next().expect("five are in it");
/// assert_eq!((batch.len(), pool.free_frames()), (4, 3));
/// batch.push(one).expect("there is room");
/// drop(batch);
/// assert_eq!(pool.free_frames(), 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The buffers of a batch as one argument of a vectored read:
///
/// ```
/// use std::io::{IoSliceMut, Read};
///
/// # let pool = ks_allocator::FramePool::builder().frames(4).frame_size(64).build()?;
/// let mut batch = pool.acquire_many(4)?;
/// let mut buffers: Vec<_> = batch.iter_mut().map(|frame| IoSliceMut::new(frame)).collect();
/// let mut packets: &[u8] = &[7; 200];
/// assert_eq!(packets.read_vectored(&mut buffers)?, 200);
/// assert_eq!((batch[0][0], batch[3][7]), (7, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
#[must_use = "the frames are released when the batch is dropped"]
pub struct FrameBatch {
    frames: ArrayVec<Frame, { Self::MAX }>,
}

impl FrameBatch {
    /// Maximum number of frames in a batch.
    pub const MAX: usize = 64;

    /// Adds a frame that was acquired. There is room: the caller acquires no more than it asked
    /// for.
    #[inline(always)]
    pub(crate) fn add(&mut self, acquired: Acquired) {
        self.frames.push(acquired.into());
    }

    /// Puts a frame in, so that it is released together with the others.
    ///
    /// The frame stays as it is until then, and reports still show its holder. It may be of another
    /// pool.
    ///
    /// # Errors
    ///
    /// Returns the frame itself if the batch has [`MAX`](Self::MAX) frames.
    ///
    /// ```
    /// use ks_allocator::{Frame, FrameBatch, FramePool};
    ///
    /// /// Releases frames with as few read-modify-writes as possible.
    /// fn release_all(frames: impl IntoIterator<Item = Frame>) {
    ///     let mut batch = FrameBatch::default();
    ///     for frame in frames {
    ///         if let Err(frame) = batch.push(frame) {
    ///             batch = frame.into(); // releases the full batch
    ///         }
    ///     }
    /// }
    ///
    /// let pool = FramePool::builder().frames(100).frame_size(64).build()?;
    /// let frames: Vec<_> = std::iter::from_fn(|| pool.try_acquire().ok()).collect();
    /// assert_eq!(pool.free_frames(), 0);
    /// release_all(frames);
    /// assert_eq!(pool.free_frames(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        self.frames.try_push(frame).map_err(|full| full.element())
    }

    /// Returns the number of frames in the batch.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(8).frame_size(64).build()?;
    /// assert_eq!(pool.acquire_many(3)?.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns whether the batch has no frames.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(8).frame_size(64).build()?;
    /// assert!(pool.acquire_many(0)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl Deref for FrameBatch {
    type Target = [Frame];

    #[inline]
    fn deref(&self) -> &[Frame] {
        &self.frames
    }
}

impl DerefMut for FrameBatch {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Frame] {
        &mut self.frames
    }
}

/// Makes a batch of one frame.
impl From<Frame> for FrameBatch {
    fn from(frame: Frame) -> Self {
        let mut batch = Self::default();
        batch.frames.push(frame);
        batch
    }
}

impl Iterator for FrameBatch {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        self.frames.pop()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for FrameBatch {}
impl FusedIterator for FrameBatch {}

impl Drop for FrameBatch {
    #[inline]
    fn drop(&mut self) {
        let slots = self.frames.drain(..).map(Frame::into_slot);
        // SAFETY: the handles were the frames' unique holders, and give them up.
        unsafe { Core::release_many(slots) };
    }
}

impl fmt::Debug for FrameBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.frames).finish()
    }
}
