//! Media types that own what they point to.

use std::ffi::c_void;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use windows_core::{HRESULT, IUnknown, Interface};

use crate::memory::TaskMemory;

use super::constants::{E_OUTOFMEMORY, E_POINTER};
use super::layouts::AM_MEDIA_TYPE;

/// An `AM_MEDIA_TYPE` in task memory, with a format block of its own, also in task memory, and a
/// reference on its object: what `CreateMediaType` makes and `DeleteMediaType` frees.
pub(super) struct MediaType(NonNull<AM_MEDIA_TYPE>);

// SAFETY: everything it points to is its own, but for the object `pUnk`, which DirectShow calls from
// whatever thread has the media type.
unsafe impl Send for MediaType {}
// SAFETY: as above; through `&MediaType` it is only read, also by a client that looks at it.
unsafe impl Sync for MediaType {}

impl MediaType {
    /// A deep copy of what a client has given.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if there is a size but no format block; `E_OUTOFMEMORY`.
    pub(super) fn copy_of(source: AM_MEDIA_TYPE) -> Result<Self, HRESULT> {
        let format = copy_block(source.pbFormat, source.cbFormat)?;
        let room = TaskMemory::allocate(size_of::<AM_MEDIA_TYPE>()).ok_or(E_OUTOFMEMORY)?;
        let copy = AM_MEDIA_TYPE {
            pbFormat: format.map_or(ptr::null_mut(), |block| block.into_raw().as_ptr()),
            pUnk: add_reference(source.pUnk),
            ..source
        };
        let place = room.into_raw().cast();
        // SAFETY: there is room for it at `place`, aligned and not known to anybody else.
        unsafe { place.write(copy) };
        Ok(Self(place))
    }

    /// A deep copy of this one.
    pub(super) fn duplicate(&self) -> Result<Self, HRESULT> {
        // SAFETY: ours, whole and alive.
        Self::copy_of(unsafe { self.0.read() })
    }

    pub(super) fn as_ptr(&self) -> *mut AM_MEDIA_TYPE {
        self.0.as_ptr()
    }

    /// Gives the media type away, to be freed by whoever has the pointer.
    pub(super) fn into_raw(self) -> *mut AM_MEDIA_TYPE {
        ManuallyDrop::new(self).as_ptr()
    }
}

impl Drop for MediaType {
    fn drop(&mut self) {
        // SAFETY: ours, and still alive.
        let AM_MEDIA_TYPE { pbFormat, pUnk, .. } = unsafe { self.0.read() };
        // SAFETY: we have had the room from the same allocator.
        drop(unsafe { TaskMemory::from_raw(self.0.cast()) });
        if let Some(block) = NonNull::new(pbFormat) {
            // SAFETY: likewise.
            drop(unsafe { TaskMemory::from_raw(block) });
        }
        if !pUnk.is_null() {
            // SAFETY: an object on which we have a reference.
            drop(unsafe { IUnknown::from_raw(pUnk) });
        }
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: ours, and alive.
        unsafe { self.0.read() }.fmt(f)
    }
}

/// A copy of a client's format block.
fn copy_block(block: *const u8, bytes: u32) -> Result<Option<TaskMemory>, HRESULT> {
    if bytes == 0 {
        return Ok(None);
    }
    if block.is_null() {
        return Err(E_POINTER);
    }
    let bytes = usize::try_from(bytes).map_err(|_| E_OUTOFMEMORY)?;
    let copy = TaskMemory::allocate(bytes).ok_or(E_OUTOFMEMORY)?;
    // SAFETY: the client says that the block has so many bytes, and the copy was allocated just now.
    unsafe { copy.as_ptr().copy_from_nonoverlapping(block, bytes) };
    Ok(Some(copy))
}

fn add_reference(object: *mut c_void) -> *mut c_void {
    // SAFETY: NULL, or an object, by the meaning of `pUnk`.
    let object = unsafe { IUnknown::from_raw_borrowed(&object) };
    object.map_or(ptr::null_mut(), |object| object.clone().into_raw())
}
