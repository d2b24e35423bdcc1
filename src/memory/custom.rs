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
/// changes neither framing nor mode reuses the memory of the last one.
/// [`release`](Self::release) is called when the segment is not used any more. Both may be called
/// while the allocator holds a lock, so an implementation must not call the allocator. See
/// [`FramePoolBuilder::memory`](crate::FramePoolBuilder::memory) and
/// [`PoolAllocator::from_builder`](crate::PoolAllocator::from_builder).
///
/// An `Arc` of a `FrameMemory` is a `FrameMemory`, so that several pools can share one.
///
/// # Safety
///
/// For the memory that [`allocate`](Self::allocate) returns, an implementation guarantees:
///
/// - Every thread of this process may read and write all `bytes` bytes from the returned pointer
///   on, until [`release`](Self::release) is called with that pointer.
/// - All of these bytes are initialized. Their values do not matter.
/// - The address of the first byte is a multiple of 4096.
/// - Nothing else in this process reads or writes these bytes meanwhile, except what the holder of
///   a frame requests for that frame.
///
/// ```
/// use std::alloc::{Layout, alloc_zeroed, dealloc};
/// use std::io;
/// use std::ptr::NonNull;
///
/// use ks_allocator::{FrameMemory, FramePool};
///
/// struct Heap;
///
/// fn layout(bytes: usize) -> Layout {
///     Layout::from_size_align(bytes, 4096).expect("a segment is smaller than the address space")
/// }
///
/// // SAFETY: `allocate` returns new, zeroed heap memory that nothing else uses.
/// unsafe impl FrameMemory for Heap {
///     fn allocate(&self, bytes: usize) -> io::Result<NonNull<u8>> {
///         let start = unsafe { alloc_zeroed(layout(bytes)) };
///         NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory.into())
///     }
///
///     unsafe fn release(&self, start: NonNull<u8>, bytes: usize) {
///         unsafe { dealloc(start.as_ptr(), layout(bytes)) }
///     }
/// }
///
/// let pool = FramePool::builder().frames(4).frame_size(1024).memory(Heap).build()?;
/// assert_eq!(*pool.acquire()?, [0; 1024]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub unsafe trait FrameMemory: Send + Sync {
    /// Allocates `bytes` bytes for a segment. `bytes` is not 0.
    ///
    /// It may call the allocator that it allocates for, but must not commit it: a commit waits for
    /// the commit that runs.
    ///
    /// # Errors
    ///
    /// An error makes the commit fail: with
    /// [`CommitError::OutOfMemory`] if it has the kind
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory), otherwise with
    /// [`CommitError::Os`].
    fn allocate(&self, bytes: usize) -> io::Result<NonNull<u8>>;

    /// Frees memory that [`allocate`](Self::allocate) returned.
    ///
    /// It is called by the thread that drops the last frame or handle, and must not panic.
    ///
    /// # Safety
    ///
    /// `start` and `bytes` are the result and the argument of a call of
    /// [`allocate`](Self::allocate). They are passed here once, and the memory is not used
    /// afterwards.
    unsafe fn release(&self, start: NonNull<u8>, bytes: usize);
}

// SAFETY: every call is passed to the `FrameMemory` inside, which keeps the guarantees.
unsafe impl<M: FrameMemory + ?Sized> FrameMemory for Arc<M> {
    fn allocate(&self, bytes: usize) -> io::Result<NonNull<u8>> {
        (**self).allocate(bytes)
    }

    unsafe fn release(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller keeps the same conditions, and the memory came from the same value.
        unsafe { (**self).release(start, bytes) }
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

/// Custom memory of one segment, released on drop.
#[derive(Debug)]
pub(super) struct CustomPages {
    memory: CustomMemory,
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: only this value owns the memory. By the guarantees of `FrameMemory`, every thread may use
// it, and `release` may be called by any thread.
unsafe impl Send for CustomPages {}
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
        let base = memory
            .0
            .allocate(bytes)
            .map_err(|source| commit_error(bytes, source))?;
        let pages = Self {
            memory: memory.clone(),
            base,
            bytes,
        };
        let address = base.addr().get();
        if address % MIN_PAGE_SIZE == 0 {
            return Ok(pages);
        }
        drop(pages);
        let reason =
            format!("the memory starts at {address:#x}, not at a multiple of {MIN_PAGE_SIZE}");
        let source = io::Error::new(io::ErrorKind::InvalidData, reason);
        Err(commit_error(bytes, source))
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
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

impl Drop for CustomPages {
    fn drop(&mut self) {
        // SAFETY: `base` and `bytes` are those of a call of `allocate`, and only this value owns
        // that memory. Frames are the only users of its bytes, and a segment is dropped after the
        // last frame was released for good (C1 and C5 of the pool's core).
        unsafe { self.memory.0.release(self.base, self.bytes) };
    }
}
