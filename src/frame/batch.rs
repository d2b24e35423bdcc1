//! Batch of frames.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

use crate::diagnostics::call_site::CallSite;
use crate::pool::checkout::AcquiredMany;
use crate::pool::core::Core;
use crate::pool::free_list::{Bits, MAX_BATCH};

use super::unique::Frame;

/// Batch of frames that were acquired together and are released together.
///
/// Iterating takes the frames out one by one, and [`push`](Self::push) puts a frame in. Dropping
/// the batch releases the frames in it with a single read-modify-write.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(8).frame_size(64).build()?;
/// let mut batch = pool.acquire_many(5)?;
/// assert_eq!(batch.len(), 5);
/// let first = batch.next().expect("five are in it");
/// let second = batch.next().expect("four are in it");
/// assert_eq!((batch.len(), pool.free_frames()), (3, 3));
/// batch.push(second).expect("it came from this batch");
/// drop(batch);
/// assert_eq!(pool.free_frames(), 7);
/// # drop(first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the frames are released when the batch is dropped"]
pub struct FrameBatch {
    core: NonNull<Core>,
    /// The frames in the batch. If there are none, `core` may be freed.
    frames: Bits,
    /// The holder of a frame that is taken out.
    site: CallSite,
}

// SAFETY: a batch owns its frames as so many unique frames, which are `Send`.
unsafe impl Send for FrameBatch {}
// SAFETY: through `&FrameBatch` the frames can only be counted.
unsafe impl Sync for FrameBatch {}

impl FrameBatch {
    /// Maximum number of frames in a batch.
    pub const MAX: usize = MAX_BATCH;

    #[inline(always)]
    pub(crate) fn new(acquired: AcquiredMany, site: CallSite) -> Self {
        let (core, frames) = acquired.into_parts();
        Self { core, frames, site }
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
        self.frames.bits.count_ones() as usize
    }

    /// Puts a frame in, so that it is released together with the others.
    ///
    /// Its metadata is cleared, as when it is dropped. Reports no longer attribute it to a holder,
    /// and recordings show it as released at this moment.
    ///
    /// A batch holds frames of one word of the free list, as
    /// [`acquire_many`](crate::FramePool::acquire_many) explains. An empty batch becomes a batch of
    /// this frame.
    ///
    /// # Errors
    ///
    /// Returns the frame itself, unchanged, if it belongs to another pool or another word.
    ///
    /// ```
    /// use ks_allocator::{Frame, FrameBatch, FramePool};
    ///
    /// /// Releases frames with as few read-modify-writes as possible.
    /// fn release_all(frames: impl IntoIterator<Item = Frame>) {
    ///     let mut batch: Option<FrameBatch> = None;
    ///     for frame in frames {
    ///         batch = Some(match batch.take() {
    ///             None => frame.into(),
    ///             // A frame of another word begins the next batch; this one is released.
    ///             Some(mut batch) => match batch.push(frame) {
    ///                 Ok(()) => batch,
    ///                 Err(frame) => frame.into(),
    ///             },
    ///         });
    ///     }
    /// }
    ///
    /// let pool = FramePool::builder().frames(40).frame_size(64).build()?;
    /// let frames: Vec<_> = pool.acquire_many(30)?.collect();
    /// release_all(frames);
    /// assert_eq!(pool.free_frames(), 40);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.frames.bits == 0 {
            *self = frame.into();
            return Ok(());
        }
        if frame.core().pointer() != self.core {
            return Err(frame);
        }
        let Bits { word, bits } = frame.position();
        if word != self.frames.word {
            return Err(frame);
        }
        // SAFETY: the handle was the frame's unique holder. The batch owns the frame from here on.
        unsafe { Core::end_use(frame.into_slot()) };
        self.frames.bits |= bits;
        Ok(())
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
        self.frames.bits == 0
    }
}

/// Makes a batch of one frame, and clears the frame's metadata.
impl From<Frame> for FrameBatch {
    fn from(frame: Frame) -> Self {
        let core = frame.core().pointer();
        let frames = frame.position();
        let holder = frame.holder();
        let site = CallSite::known(holder.location, holder.label());
        // SAFETY: the handle was the frame's unique holder. The batch owns the frame from here on.
        unsafe { Core::end_use(frame.into_slot()) };
        Self { core, frames, site }
    }
}

impl Iterator for FrameBatch {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        if self.frames.bits == 0 {
            return None;
        }
        // SAFETY: the frames of the batch are out and keep the core alive (H2).
        let core = unsafe { self.core.as_ref() };
        let slot = core.slot(core.free.frame_at(self.frames));
        self.frames.bits &= self.frames.bits - 1;
        // SAFETY: the batch was the frame's unique holder, and gave it up in the line above.
        let acquired = unsafe { Core::begin_use(slot, self.site) };
        // By P1 a forked child takes no frame out of its copy of a batch.
        acquired.ok().map(Frame::from)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for FrameBatch {}

impl Drop for FrameBatch {
    #[inline]
    fn drop(&mut self) {
        if self.frames.bits != 0 {
            // SAFETY: the batch is the frames' unique holder, and gives them up. Their use has not
            // begun, or has ended when they were put in.
            unsafe { Core::return_many(self.core, self.frames) };
        }
    }
}

impl fmt::Debug for FrameBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameBatch")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl UnwindSafe for FrameBatch {}
impl RefUnwindSafe for FrameBatch {}
