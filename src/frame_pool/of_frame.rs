//! The pool of a frame.

use crate::frame::{Frame, SharedFrame};
use crate::pool::core::{Core, Handle};

use super::pool::FramePool;

impl Frame {
    /// Returns a handle of the frame's pool, or `None` if the last handle was dropped. It has no
    /// label.
    ///
    /// ```
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// assert!(frame.pool().is_some_and(|of_frame| of_frame.same_as(&pool)));
    /// drop(pool);
    /// assert!(frame.pool().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pool(&self) -> Option<FramePool> {
        pool_of(self.core())
    }
}

impl SharedFrame {
    /// Returns a handle of the frame's pool, as [`Frame::pool`] does.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?.share();
    /// assert!(frame.pool().is_some_and(|of_frame| of_frame.same_as(&pool)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pool(&self) -> Option<FramePool> {
        pool_of(self.core())
    }
}

fn pool_of(core: &Core) -> Option<FramePool> {
    if core.is_in_other_process() {
        return None;
    }
    Handle::of(core).map(FramePool::of_core)
}

impl FramePool {
    /// Returns whether both are handles of one pool.
    ///
    /// ```
    /// use ks_allocator::FramePool;
    ///
    /// let builder = FramePool::builder().frames(1).frame_size(64);
    /// let pool = builder.build()?;
    /// assert!(pool.same_as(&pool.with_label("screen")));
    /// assert!(!pool.same_as(&builder.build()?));
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        std::ptr::eq(self.core(), other.core())
    }
}
