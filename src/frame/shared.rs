//! Shared handle of a frame.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};

use crate::diagnostics::call_site::CallSite;
use crate::error::AcquireError;
use crate::label::Label;
use crate::metadata::Metadata;
use crate::pool::core::Core;
use crate::recording::EventKind;

use super::held_slot::HeldSlot;
use super::unique::Frame;

/// Shared, read-only handle of a frame. Dropping the last handle releases the frame.
///
/// The handles are counted in the frame's slot. Sharing and cloning allocate nothing.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(2).frame_size(4).build()?;
/// let mut frame = pool.acquire()?;
/// frame.copy_from_slice(b"same");
/// let one = frame.share();
/// let mut two = one.clone();
/// assert_eq!(one.as_ptr(), two.as_ptr());
///
/// two.make_mut()?.copy_from_slice(b"copy"); // a copy in another frame, as there are two handles
/// assert_eq!((&*one, &*two), (&b"same"[..], &b"copy"[..]));
///
/// let frame = one.try_into_unique().expect("the only handle that is left");
/// assert_eq!(&*frame, b"same");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(transparent)]
pub struct SharedFrame {
    pub(super) held: HeldSlot,
}

impl Frame {
    /// Turns the frame into a handle that can be cloned and only be read. Moves no bytes.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let to_screen = pool.acquire()?.share();
    /// let to_encoder = to_screen.clone();
    /// drop(to_screen);
    /// assert_eq!(pool.free_frames(), 0);
    /// drop(to_encoder);
    /// assert_eq!(pool.free_frames(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn share(self) -> SharedFrame {
        self.record_share();
        SharedFrame::from_unique(self)
    }
}

impl From<Frame> for SharedFrame {
    fn from(frame: Frame) -> Self {
        frame.share()
    }
}

impl SharedFrame {
    pub(crate) fn core(&self) -> &Core {
        self.held.core()
    }

    /// Makes the only handle of the frame. By S1 the count is 1 already.
    fn from_unique(frame: Frame) -> Self {
        Self {
            // SAFETY: the frame is out, and the result is its handle.
            held: unsafe { HeldSlot::new(frame.into_slot()) },
        }
    }

    /// Returns the metadata: time stamps, flags, sequence number.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?.share();
    /// assert_eq!(frame.metadata().sequence, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        self.held.metadata()
    }

    /// Returns the bytes before the payload.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).prefix(4).build()?;
    /// assert_eq!(pool.acquire()?.share().prefix(), [0; 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        self.held.prefix()
    }

    /// Returns the capacity in bytes, without the prefix.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.share().capacity(), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.held.slot().capacity
    }

    /// Returns the number of the frame's slot, as [`Frame::slot`].
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.share().slot(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn slot(&self) -> usize {
        self.held.slot().number
    }

    /// Sets the holder shown in reports, as [`Frame::set_label`] does.
    ///
    /// A frame has one label for all of its handles: the last one that was set. If several readers
    /// share the frame, label the slowest one, or the group.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let shared = pool.acquire()?.share();
    /// shared.set_label("preview");
    /// assert!(pool.holders().to_string().contains("held by `preview`"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn set_label(&self, label: impl Into<Label>) {
        let site = self.held.core().labeled_site(label.into());
        self.held.record_transfer(EventKind::Transferred, site);
    }

    /// Turns the only handle back into a writable frame.
    ///
    /// # Errors
    ///
    /// Returns the handle itself if there are others.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let one = pool.acquire()?.share();
    /// let two = one.clone();
    /// let one = one.try_into_unique().expect_err("there are two handles");
    /// drop(two);
    /// assert!(one.try_into_unique().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_into_unique(self) -> Result<Frame, Self> {
        if self.held.slot().handles.is_one() {
            let slot = ManuallyDrop::new(self).held.pointer();
            // SAFETY: by S2 this was the only handle, and it is passed on to the result.
            Ok(unsafe { Frame::from_slot(slot) })
        } else {
            Err(self)
        }
    }

    /// Returns the frame, writable. Copies it first if there are other handles.
    ///
    /// The copy is a fresh frame of the same pool, with the same prefix, bytes in use and metadata.
    /// Beyond the length it has the bytes of a fresh frame, which [`Contents`](crate::Contents)
    /// describes: growing it shows nothing of this frame, but may show an earlier holder's bytes.
    /// This handle becomes its only handle. The other handles keep the old frame as it is.
    ///
    /// Never waits: the caller holds a frame, and waiting for another one while holding one is how
    /// pipelines deadlock.
    ///
    /// # Errors
    ///
    /// Returns the error of [`try_acquire`](crate::FramePool::try_acquire) if a copy is needed and
    /// no frame can be acquired. The error names the holders of the frames. The handle is as
    /// before. After a [re-framing](crate::PoolAllocator::reframe) there are no more frames like
    /// this one, and a copy fails with [`NotCommitted`](AcquireError::NotCommitted).
    ///
    /// ```
    /// use ks_allocator::AcquireError;
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    ///
    /// let mut one = pool.acquire()?.share();
    /// one.make_mut()?[0] = 1; // in place
    /// let two = one.clone();
    /// assert!(matches!(one.make_mut(), Err(AcquireError::Exhausted(_))));
    /// assert_eq!((one[0], two[0]), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn make_mut(&mut self) -> Result<&mut Frame, AcquireError> {
        if !self.held.slot().handles.is_one() {
            // The copy is not counted as a share: the user shared one frame, and this is its copy.
            *self = Self::from_unique(self.copy(Location::caller())?);
        }
        let this: *mut Self = self;
        // SAFETY: both types are transparent wrappers of `HeldSlot`. By S2 this is the only handle,
        // and the borrow of `self` keeps it from being cloned. If the caller swaps the frame for
        // another one, that has a single handle as well (S1).
        Ok(unsafe { &mut *this.cast::<Frame>() })
    }

    fn copy(&self, location: &'static Location<'static>) -> Result<Frame, AcquireError> {
        let core = self.held.core();
        let label = self.held.slot().holder.acquirer().label();
        let site = CallSite::at(core.made_by(), location, label);
        let mut copy = None;
        // Of the same generation: a frame of another may have other sizes.
        core.try_acquire_exact(site, 1, |acquired| copy = Some(Frame::from(acquired)))
            .map_err(|unavailable| core.explained(core.failed(unavailable, label), label))?;
        let mut copy = copy.ok_or(AcquireError::NotCommitted)?;
        core.diagnostics.count_copy();
        copy.copy_from(&self.held);
        Ok(copy)
    }
}

impl Clone for SharedFrame {
    #[inline]
    fn clone(&self) -> Self {
        self.held.slot().handles.add();
        Self {
            // SAFETY: the frame is out, and the result is one more handle, which was counted.
            held: unsafe { HeldSlot::new(self.held.pointer()) },
        }
    }
}

impl Drop for SharedFrame {
    #[inline]
    fn drop(&mut self) {
        if self.held.slot().handles.remove() {
            // SAFETY: by S2 this was the last handle. It is a unique frame (S1), and releases
            // itself.
            drop(unsafe { Frame::from_slot(self.held.pointer()) });
        }
    }
}

impl Deref for SharedFrame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.held.payload()
    }
}

impl AsRef<[u8]> for SharedFrame {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for SharedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.describe(&mut f.debug_struct("SharedFrame"))
    }
}

impl UnwindSafe for SharedFrame {}
impl RefUnwindSafe for SharedFrame {}
