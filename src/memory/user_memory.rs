//! Memory that the user brings.

use std::fmt;
use std::io;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::framing::SMALLEST_PAGE;
use crate::sync::unmodeled;

use super::residency::MemoryRequests;

/// Where a pool's frames get their memory from, if not from this crate: pinned for a GPU, mapped from
/// a device or a file, of huge pages, or of a node.
///
/// Every commit asks once, for all of a segment, and gives it back when no frame of it is left. It does
/// so with a lock of the allocator's held: what is implemented here must not call the allocator. See
/// [`FramePoolBuilder::memory`](crate::FramePoolBuilder::memory) and
/// [`PoolAllocator::from_builder`](crate::PoolAllocator::from_builder).
///
/// # Safety
///
/// Of the memory that [`allocate`](Self::allocate) returns:
///
/// - all `bytes` bytes from the start on can be read and written by any thread of this process, until
///   [`release`](Self::release) is called with the same start;
/// - all of them are initialised, with whatever values;
/// - the start is a multiple of 4096;
/// - nothing else in this process reads or writes them meanwhile, except what the holder of a frame has
///   others do with that frame.
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
///     Layout::from_size_align(bytes, 4096).expect("a pool is smaller than an address space")
/// }
///
/// // SAFETY: fresh, zeroed memory of the heap, which nobody else knows of.
/// unsafe impl FrameMemory for Heap {
///     fn allocate(&self, bytes: usize) -> io::Result<NonNull<u8>> {
///         NonNull::new(unsafe { alloc_zeroed(layout(bytes)) }).ok_or(io::ErrorKind::OutOfMemory.into())
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
    /// Gives memory for a segment: so many bytes, which are not 0.
    ///
    /// # Errors
    ///
    /// Whatever is in the way. The commit fails with
    /// [`CommitError::OutOfMemory`](crate::CommitError::OutOfMemory) for an error of that kind, and with
    /// [`CommitError::Os`](crate::CommitError::Os) for any other.
    fn allocate(&self, bytes: usize) -> io::Result<NonNull<u8>>;

    /// Takes the memory back. It may be called by whatever thread drops the last frame or handle, and
    /// must not panic.
    ///
    /// # Safety
    ///
    /// `start` and `bytes` are of a call of [`allocate`](Self::allocate), are passed here once, and nobody
    /// uses the memory from here on.
    unsafe fn release(&self, start: NonNull<u8>, bytes: usize);
}

// SAFETY: as that of what it shares.
unsafe impl<M: FrameMemory + ?Sized> FrameMemory for unmodeled::Arc<M> {
    fn allocate(&self, bytes: usize) -> io::Result<NonNull<u8>> {
        (**self).allocate(bytes)
    }

    unsafe fn release(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { (**self).release(start, bytes) }
    }
}

/// Memory of the user's, to be asked for.
#[derive(Clone)]
pub(crate) struct OwnMemory(unmodeled::Arc<dyn FrameMemory>);

impl OwnMemory {
    pub(crate) fn new(memory: impl FrameMemory + 'static) -> Self {
        Self(unmodeled::Arc::new(memory))
    }
}

impl fmt::Debug for OwnMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMemory").finish_non_exhaustive()
    }
}

/// A segment's memory, of the user's; given back on drop.
#[derive(Debug)]
pub(super) struct OwnPages {
    memory: OwnMemory,
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to this value alone and to no thread, as `FrameMemory` has promised, and
// `release` may be called from any.
unsafe impl Send for OwnPages {}
// SAFETY: a shared `OwnPages` only tells its address.
unsafe impl Sync for OwnPages {}

impl OwnPages {
    /// Asks for `bytes` bytes, which is not 0. Nothing else that is wished for is done to them.
    pub(super) fn allocate(
        memory: &OwnMemory,
        bytes: usize,
        requests: &mut MemoryRequests,
    ) -> Result<Self, CommitError> {
        requests.leave_alone()?;
        let base = memory
            .0
            .allocate(bytes)
            .map_err(|source| failed(bytes, source))?;
        let pages = Self {
            memory: memory.clone(),
            base,
            bytes,
        };
        let address = base.addr().get();
        if address % SMALLEST_PAGE == 0 {
            return Ok(pages);
        }
        drop(pages);
        let why =
            format!("the memory starts at {address:#x}, which is no multiple of {SMALLEST_PAGE}");
        Err(failed(
            bytes,
            io::Error::new(io::ErrorKind::InvalidData, why),
        ))
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

fn failed(bytes: usize, source: io::Error) -> CommitError {
    match source.kind() {
        io::ErrorKind::OutOfMemory => CommitError::OutOfMemory { bytes },
        _ => CommitError::Os {
            call: "FrameMemory::allocate",
            source,
        },
    }
}

impl Drop for OwnPages {
    fn drop(&mut self) {
        // SAFETY: exactly what `allocate` gave, once, and as for `UserPages`.
        unsafe { self.memory.0.release(self.base, self.bytes) };
    }
}
