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

    /// Returns the [generation](FramePool::generation) of the frame's pool. A frame of another
    /// generation may have another size and another [layout](Self::video_layout).
    ///
    /// ```
    /// use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    ///
    /// let allocator = PoolAllocator::with_framing(Framing::new(1, 64))?;
    /// allocator.commit()?;
    /// assert_eq!(allocator.acquire()?.generation(), 0);
    /// allocator.reframe(Framing::new(1, 128))?;
    /// assert_eq!(allocator.acquire()?.generation(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.core().free.generation
    }
}

impl SharedFrame {
    /// Returns the generation of the frame's pool, as [`Frame::generation`] does.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.share().generation(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.core().free.generation
    }

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
