//! Where frames come from: the pool, or, to compare it with, a fresh `Vec` for each.
//!
//! The enums have the methods of the crate's own types, so that the stages read as if there were
//! the pool alone.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use ks_allocator::{AcquireError, Frame, FramePool, LengthError, Metadata, SharedFrame};

#[derive(Debug)]
pub(crate) enum Supply {
    Pool(FramePool),
    Heap { frame_size: usize },
}

impl Supply {
    pub(crate) fn try_acquire(&self) -> Result<Unique, AcquireError> {
        match self {
            Self::Pool(pool) => pool.try_acquire().map(Unique::Pool),
            Self::Heap { frame_size } => Ok(Unique::Heap(HeapFrame::new(*frame_size))),
        }
    }

    pub(crate) fn acquire(&self) -> Result<Unique, AcquireError> {
        match self {
            Self::Pool(pool) => pool.acquire().map(Unique::Pool),
            Self::Heap { .. } => self.try_acquire(),
        }
    }

    /// Lets nobody wait for a frame any more: `acquire` fails with [`AcquireError::Flushing`].
    pub(crate) fn stop(&self) {
        if let Self::Pool(pool) = self {
            pool.begin_flush();
        }
    }

    /// How many frames have not come back.
    pub(crate) fn missing_frames(&self) -> usize {
        match self {
            Self::Pool(pool) => pool.frames() - pool.free_frames(),
            Self::Heap { .. } => 0,
        }
    }
}

/// A frame that one stage owns and may write to.
#[derive(Debug)]
pub(crate) enum Unique {
    Pool(Frame),
    Heap(HeapFrame),
}

impl Unique {
    pub(crate) fn set_len(&mut self, len: usize) -> Result<(), LengthError> {
        match self {
            Self::Pool(frame) => frame.set_len(len),
            Self::Heap(frame) => {
                frame.bytes.truncate(len);
                Ok(())
            }
        }
    }

    pub(crate) fn metadata_mut(&mut self) -> &mut Metadata {
        match self {
            Self::Pool(frame) => frame.metadata_mut(),
            Self::Heap(frame) => &mut frame.metadata,
        }
    }

    pub(crate) fn share(self) -> Shared {
        match self {
            Self::Pool(frame) => Shared::Pool(frame.share()),
            Self::Heap(frame) => Shared::Heap(Arc::new(frame)),
        }
    }
}

impl Deref for Unique {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Pool(frame) => frame,
            Self::Heap(frame) => &frame.bytes,
        }
    }
}

impl DerefMut for Unique {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pool(frame) => frame,
            Self::Heap(frame) => &mut frame.bytes,
        }
    }
}

/// A frame that is read only from now on, by as many as want to.
#[derive(Debug)]
pub(crate) enum Shared {
    Pool(SharedFrame),
    Heap(Arc<HeapFrame>),
}

impl Shared {
    pub(crate) fn metadata(&self) -> &Metadata {
        match self {
            Self::Pool(frame) => frame.metadata(),
            Self::Heap(frame) => &frame.metadata,
        }
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Pool(frame) => frame,
            Self::Heap(frame) => &frame.bytes,
        }
    }
}

#[derive(Debug)]
pub(crate) struct HeapFrame {
    bytes: Vec<u8>,
    metadata: Metadata,
}

impl HeapFrame {
    fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size],
            metadata: Metadata::default(),
        }
    }
}
