//! Frames as raw pointers, for C code that keeps one pointer per buffer.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::held_slot::HeldSlot;
use super::shared::SharedFrame;
use super::unique::Frame;

impl Frame {
    /// Turns the frame into a pointer, for an opaque field of C code: the owner of an `AVBuffer`,
    /// the user data of an operation of `io_uring`. The frame stays out.
    ///
    /// Frames that are out at the same time have different pointers. It points to no data that C
    /// code may use. A number for an index, as in V4L2, is [`slot`](Self::slot).
    ///
    /// ```
    /// use ks_allocator::{Frame, FramePool};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let pointer = pool.acquire()?.into_raw();
    /// assert_eq!(pool.free_frames(), 0);
    /// drop(unsafe { Frame::from_raw(pointer) });
    /// assert_eq!(pool.free_frames(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the frame stays out until `from_raw` makes a frame of the pointer"]
    pub fn into_raw(self) -> NonNull<c_void> {
        self.into_slot().cast()
    }

    /// Returns the frame of a pointer that [`into_raw`](Self::into_raw) returned.
    ///
    /// # Safety
    ///
    /// The pointer comes from [`Frame::into_raw`] or [`SharedFrame::into_raw`], and no frame was
    /// made of it since. The frame has no other handle: a clone that was made through
    /// [`SharedFrame::from_raw_ref`] is one, and so is a loan. All others were dropped before this
    /// call. The bytes of the frame are not accessed through other pointers any more.
    #[must_use]
    pub unsafe fn from_raw(pointer: NonNull<c_void>) -> Self {
        // SAFETY: the pointer was made of a handle, which the caller passes on, and which is the
        // only one. So the caller is the frame's unique holder.
        let frame = unsafe { Self::from_slot(pointer.cast()) };
        debug_assert!(frame.held.slot().handles.is_one(), "another handle");
        frame
    }
}

impl SharedFrame {
    /// Turns the handle into a pointer, as [`Frame::into_raw`] does. The handle stays counted.
    ///
    /// Handles of the same frame have the same pointer.
    ///
    /// ```
    /// use ks_allocator::{FramePool, SharedFrame};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let shared = pool.acquire()?.share();
    /// let pointer = shared.clone().into_raw();
    /// assert!(shared.try_into_unique().is_err());
    /// assert_eq!(unsafe { SharedFrame::from_raw(pointer) }.len(), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the handle stays counted until `from_raw` makes a handle of the pointer"]
    pub fn into_raw(self) -> NonNull<c_void> {
        ManuallyDrop::new(self).held.pointer().cast()
    }

    /// Returns the handle of a pointer that [`into_raw`](Self::into_raw) returned.
    ///
    /// # Safety
    ///
    /// The pointer comes from [`SharedFrame::into_raw`] or [`Frame::into_raw`], and is used only
    /// once per call of these. The bytes of the frame are not written through other pointers.
    #[must_use]
    pub unsafe fn from_raw(pointer: NonNull<c_void>) -> Self {
        Self {
            // SAFETY: the pointer was made of a handle, which the caller passes on.
            held: unsafe { HeldSlot::new(pointer.cast()) },
        }
    }

    /// Borrows the handle of a pointer that [`into_raw`](Self::into_raw) returned, which stays the
    /// owner of the handle.
    ///
    /// ```
    /// use ks_allocator::{FramePool, SharedFrame};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let pointer = pool.acquire()?.share().into_raw();
    /// unsafe { SharedFrame::from_raw_ref(&pointer) }.set_label("decoder");
    /// assert!(pool.holders().to_string().contains("held by `decoder`"));
    /// drop(unsafe { SharedFrame::from_raw(pointer) });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    ///
    /// The pointer comes from [`SharedFrame::into_raw`] or [`Frame::into_raw`], and no frame is
    /// made of it as long as it is borrowed. The bytes of the frame are not written through other
    /// pointers meanwhile.
    #[must_use]
    pub unsafe fn from_raw_ref(pointer: &NonNull<c_void>) -> &Self {
        let handle: *const NonNull<c_void> = pointer;
        // SAFETY: a handle is a transparent wrapper of the pointer to its slot. The pointer was
        // made of a handle that the caller keeps as long as the result is borrowed.
        unsafe { &*handle.cast::<Self>() }
    }
}
