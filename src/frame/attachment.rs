//! Access to the value that is attached to a frame's slot.

use std::any::Any;

use super::held_slot::HeldSlot;
use super::shared::SharedFrame;
use super::unique::Frame;

impl Frame {
    /// Returns the value that is attached to the frame's slot, or `None` if there is none of this
    /// type. See [`attachment`](crate::FramePoolBuilder::attachment).
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(4).frame_size(64).attachment(|slot| slot * 10);
    /// let frame = pool.build()?.acquire()?;
    /// assert_eq!(frame.attachment::<usize>(), Some(&(frame.slot() * 10)));
    /// assert_eq!(frame.attachment::<String>(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn attachment<T: Any>(&self) -> Option<&T> {
        self.held.attachment()
    }

    /// Returns the value that is attached to the frame's slot, writable. The release of the frame
    /// then [resets](crate::FramePoolBuilder::reset_attachment) it.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(1).frame_size(64).attachment(|_| 0_u32).build()?;
    /// *pool.acquire()?.attachment_mut::<u32>().expect("made above") += 1;
    /// assert_eq!(pool.acquire()?.attachment(), Some(&1_u32));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn attachment_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.held.slot().state.with_mut(|state| {
            // SAFETY: by H1 the state is this handle's alone as long as `self` is borrowed.
            let state = unsafe { &mut *state };
            let value = state.attachment.as_mut()?.downcast_mut()?;
            state.needs_reset = true;
            Some(value)
        })
    }
}

impl SharedFrame {
    /// Returns the value that is attached to the frame's slot, as [`Frame::attachment`] does.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(1).frame_size(64).attachment(|_| "of slot 0");
    /// let frame = pool.build()?.acquire()?.share();
    /// assert_eq!(frame.attachment(), Some(&"of slot 0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn attachment<T: Any>(&self) -> Option<&T> {
        self.held.attachment()
    }
}

impl HeldSlot {
    fn attachment<T: Any>(&self) -> Option<&T> {
        self.slot().state.with(|state| {
            // SAFETY: by S2 no thread writes the state as long as the handle is borrowed.
            let attachment = unsafe { &(*state).attachment };
            attachment.as_ref()?.downcast_ref()
        })
    }
}
