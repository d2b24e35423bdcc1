//! Custom memory: memory for frames that the user of the crate provides.

use std::fmt;
use std::io;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::framing::MIN_PAGE_SIZE;
use crate::sync::unmodeled::Arc;

use super::requests::MemoryRequests;

/// A provider of memory for frames, instead of the system: for example memory that is pinned for a
/// GPU, mapped from a device or a file, or made of huge pages.
///
/// A commit calls [`allocate`](Self::allocate) at most once, for the whole segment. A commit that
/// changes neither framing nor mode reuses the memory of the last one. See
/// [`FramePoolBuilder::memory`](crate::FramePoolBuilder::memory) and
/// [`PoolAllocator::from_builder`](crate::PoolAllocator::from_builder).
///
/// An `Arc` of a `FrameMemory` is a `FrameMemory`, so that several pools can share one.
///
/// ```
/// use std::alloc::{Layout, alloc_zeroed, dealloc};
/// use std::io;
/// use std::ptr::NonNull;
///
/// use ks_allocator::{FrameMemory, FramePool, MemoryBlock};
///
/// struct Heap;
///
/// struct HeapBlock(NonNull<u8>, Layout);
///
/// unsafe impl Send for HeapBlock {}
///
/// impl Drop for HeapBlock {
///     fn drop(&mut self) {
///         unsafe { dealloc(self.0.as_ptr(), self.1) }
///     }
/// }
///
/// impl FrameMemory for Heap {
///     fn allocate(&self, bytes: usize) -> io::Result<MemoryBlock> {
///         let layout = Layout::from_size_align(bytes, 4096).map_err(io::Error::other)?;
///         let start = NonNull::new(unsafe { alloc_zeroed(layout) });
///         let start = start.ok_or(io::ErrorKind::OutOfMemory)?;
///         // SAFETY: new, zeroed heap memory that nothing else uses, until the block is dropped.
///         Ok(unsafe { MemoryBlock::new(start, bytes, HeapBlock(start, layout)) })
///     }
/// }
///
/// let pool = FramePool::builder().frames(4).frame_size(1024).memory(Heap).build()?;
/// assert_eq!(*pool.acquire()?, [0; 1024]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait FrameMemory: Send + Sync {
    /// Allocates at least `bytes` bytes for a segment. `bytes` is not 0.
    ///
    /// It may call the allocator that it allocates for, but must not commit or re-frame it: that
    /// waits for the commit that runs.
    ///
    /// # Errors
    ///
    /// An error makes the commit fail: with [`CommitError::OutOfMemory`] if it has the kind
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory), otherwise with [`CommitError::Os`]. So does a
    /// block that is too small, or that does not begin at a multiple of 4096.
    fn allocate(&self, bytes: usize) -> io::Result<MemoryBlock>;
}

impl<M: FrameMemory + ?Sized> FrameMemory for Arc<M> {
    fn allocate(&self, bytes: usize) -> io::Result<MemoryBlock> {
        (**self).allocate(bytes)
    }
}

/// Memory for one segment, and its owner: see [`FrameMemory`].
pub struct MemoryBlock {
    start: NonNull<u8>,
    bytes: usize,
    #[expect(dead_code, reason = "kept to be dropped")]
    owner: Box<dyn Send>,
}

// SAFETY: the owner is `Send`, and by the conditions of `new` every thread may use the memory.
unsafe impl Send for MemoryBlock {}

impl MemoryBlock {
    /// Makes a block of the `bytes` bytes from `start` on. The block drops `owner`, which frees the
    /// memory, when the segment is not used any more. That happens in the thread that drops the
    /// last frame or handle, or that commits other memory.
    ///
    /// # Safety
    ///
    /// Until `owner` is dropped:
    ///
    /// - Every thread of this process may read and write the bytes.
    /// - They are initialized. Their values do not matter.
    /// - Nothing else in this process reads or writes them, except what the holder of a frame
    ///   requests for that frame.
    #[must_use]
    pub unsafe fn new(start: NonNull<u8>, bytes: usize, owner: impl Send + 'static) -> Self {
        let owner = Box::new(owner);
        Self {
            start,
            bytes,
            owner,
        }
    }
}

impl fmt::Debug for MemoryBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBlock")
            .field("start", &self.start)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// A shared [`FrameMemory`].
#[derive(Clone)]
pub(crate) struct CustomMemory(Arc<dyn FrameMemory>);

impl CustomMemory {
    pub(crate) fn new(memory: impl FrameMemory + 'static) -> Self {
        Self(Arc::new(memory))
    }
}

impl fmt::Debug for CustomMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomMemory").finish_non_exhaustive()
    }
}

/// Custom memory of one segment.
#[derive(Debug)]
pub(super) struct CustomPages(MemoryBlock);

// SAFETY: `&CustomPages` gives access to the address only, which never changes.
unsafe impl Sync for CustomPages {}

impl CustomPages {
    /// Allocates `bytes` bytes, which is not 0. All requests are recorded as unmet.
    pub(super) fn allocate(
        memory: &CustomMemory,
        bytes: usize,
        requests: &mut MemoryRequests,
    ) -> Result<Self, CommitError> {
        requests.record_all_unmet()?;
        let block = memory.0.allocate(bytes);
        let block = block.map_err(|source| commit_error(bytes, source))?;
        let (address, size) = (block.start.addr().get(), block.bytes);
        let reason = if address % MIN_PAGE_SIZE != 0 {
            format!("the memory starts at {address:#x}, not at a multiple of {MIN_PAGE_SIZE}")
        } else if size < bytes {
            format!("the memory has {size} bytes, and the segment needs {bytes}")
        } else {
            return Ok(Self(block));
        };
        drop(block);
        let source = io::Error::new(io::ErrorKind::InvalidData, reason);
        Err(commit_error(bytes, source))
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.0.start
    }
}

fn commit_error(bytes: usize, source: io::Error) -> CommitError {
    match source.kind() {
        io::ErrorKind::OutOfMemory => CommitError::OutOfMemory { bytes },
        _ => CommitError::Os {
            call: "FrameMemory::allocate",
            source,
        },
    }
}
