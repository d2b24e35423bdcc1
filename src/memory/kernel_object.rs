//! Kernel objects that own the memory of frames, and mappings of them.

use std::io;
use std::ptr::NonNull;

use super::sys::{CallError, handle, object};

/// A borrowed kernel object that owns the memory of frames: a file descriptor, or on Windows a
/// handle.
pub type BorrowedKernelObject<'a> = handle::BorrowedObject<'a>;

/// An owned kernel object that owns the memory of frames: a file descriptor, or on Windows a
/// handle.
pub type OwnedKernelObject = handle::OwnedObject;

pub(crate) fn borrow(object: &OwnedKernelObject) -> BorrowedKernelObject<'_> {
    handle::borrow(object)
}

/// Returns a kernel object as a `HANDLE` of COM.
#[cfg(feature = "windows")]
pub(crate) fn as_word(object: BorrowedKernelObject<'_>) -> *mut std::ffi::c_void {
    handle::as_word(object)
}

/// Duplicates the handle of a kernel object for another process, which may map it for reading and,
/// if `may_write`, for writing.
pub(crate) fn clone_for_peer(
    object: &OwnedKernelObject,
    may_write: bool,
) -> io::Result<OwnedKernelObject> {
    handle::clone_for_peer(object, may_write)
}

/// A shared mapping of a whole kernel object, unmapped on drop. The handle of the object may be
/// closed before.
#[derive(Debug)]
pub(super) struct ObjectMapping {
    base: NonNull<u8>,
    bytes: usize,
    /// See [`id`](Self::id).
    id: u64,
}

// SAFETY: only this value owns the mapping, and the mapping is not tied to a thread: any thread may
// unmap it. Other mappings of the same object are independent.
unsafe impl Send for ObjectMapping {}
// SAFETY: `&ObjectMapping` gives access to address and size only, which never change.
unsafe impl Sync for ObjectMapping {}

impl ObjectMapping {
    /// Maps a new object of `bytes` bytes, readable and writable: at `hint`, if nothing is mapped
    /// there and the system takes hints.
    pub(super) fn new(
        object: &OwnedKernelObject,
        bytes: usize,
        hint: Option<NonNull<u8>>,
    ) -> Result<Self, CallError> {
        let base = object::map(object, bytes, hint)?;
        let mut mapping = Self { base, bytes, id: 0 };
        mapping.id = object::assign_id(object, base, bytes)?;
        Ok(mapping)
    }

    /// Maps an object of another process, readable and, if `writable`, writable.
    pub(super) fn of_peer(handle: BorrowedKernelObject<'_>, writable: bool) -> io::Result<Self> {
        let (base, bytes, id) = object::map_peer(handle, writable)?;
        Ok(Self { base, bytes, id })
    }

    /// Returns the first byte. Its address is a multiple of the page size.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the id of the object. Every process that maps the object sees the same id, and two
    /// objects of this crate have different ids.
    ///
    /// It comes from the system or from the owner, as the bytes of the frames do, and not from a
    /// message.
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for ObjectMapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `bytes` are those of the mapping, which only this value owns. Its
        // users are frames of the pool and slices of `RemoteFrames`. A segment is dropped after the
        // last frame was released for good (C1 and C5 of the pool's core); the slices borrow from
        // the owner of this value.
        let unmapped = unsafe { object::unmap(self.base, self.bytes) };
        // The call can fail, for example at the limit of mappings. The pages then leak.
        drop(unmapped);
    }
}
