//! Media types that own the memory and the object they point to.

use std::ffi::c_void;
use std::fmt;
use std::mem::{ManuallyDrop, offset_of};
use std::ptr::{self, NonNull};

use windows_core::{HRESULT, IUnknown, Interface};

use crate::memory::TaskMemory;

use super::boundary::Ptr;
use super::hresult::{E_OUTOFMEMORY, E_POINTER};
use super::layouts::AM_MEDIA_TYPE;
use super::shared::Shared;

const SIZE: usize = size_of::<AM_MEDIA_TYPE>();

/// An `AM_MEDIA_TYPE` in task memory, with its own format block, also in task memory, and a
/// reference to its object. `CreateMediaType` of the base classes makes the same, and
/// `DeleteMediaType` frees it.
pub(super) struct MediaType(NonNull<AM_MEDIA_TYPE>);

// SAFETY: the structure and its format block belong to this value alone, so they may move to
// another thread with it. DirectShow requires of the object `pUnk` that it may be called, and so
// released, on any thread that has the media type.
unsafe impl Send for MediaType {}
// SAFETY: nothing writes to the structure or its format block before the drop, so threads may read
// them at the same time. `AddRef` of `pUnk`, which `duplicate` calls, may be called on any thread.
unsafe impl Sync for MediaType {}

impl MediaType {
    /// Returns a deep copy of a client's media type, or `None` if the pointer is NULL.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if the format block has a size but its pointer is NULL; `E_OUTOFMEMORY`.
    pub(super) fn copy_of(source: &Ptr<AM_MEDIA_TYPE>) -> Result<Option<Shared<Self>>, HRESULT> {
        if source.as_ptr().is_null() {
            return Ok(None);
        }
        // SAFETY: by `Ptr`, the pointer leads to a media type, as it is not NULL, and the pointers
        // in the structure are what its documentation says.
        let copy = unsafe { Self::deep_copy(source.as_ptr()) }?;
        match Shared::try_new(copy) {
            Ok(shared) => Ok(Some(shared)),
            Err(_) => Err(E_OUTOFMEMORY),
        }
    }

    /// Returns a deep copy of this media type.
    pub(super) fn duplicate(&self) -> Result<Self, HRESULT> {
        // SAFETY: the structure belongs to `self`. `deep_copy` made the format block and counted a
        // reference to `pUnk`; both last as long as `self`.
        unsafe { Self::deep_copy(self.as_ptr()) }
    }

    /// Copies all bytes of the structure, padding included, and then gives the copy a format block
    /// and an object of its own. A copy by fields would show clients what the heap held before in
    /// place of the padding.
    ///
    /// # Safety
    ///
    /// `source` leads to the bytes of an `AM_MEDIA_TYPE`, at any address. Its `pbFormat` is NULL or
    /// valid for reads of `cbFormat` bytes. Its `pUnk` is NULL or an object.
    unsafe fn deep_copy(source: *const AM_MEDIA_TYPE) -> Result<Self, HRESULT> {
        // SAFETY: the caller's promise. The read requires no alignment.
        let fields = unsafe { source.read_unaligned() };
        // SAFETY: the caller's promise.
        let format = unsafe { copy_format(fields.pbFormat, fields.cbFormat) }?;
        let memory = TaskMemory::allocate(SIZE).ok_or(E_OUTOFMEMORY)?;
        // SAFETY: `source` has `SIZE` bytes, and the new block has as many.
        unsafe { (memory.as_ptr()).copy_from_nonoverlapping(source.cast(), SIZE) };
        // SAFETY: the caller's promise.
        let object = unsafe { IUnknown::from_raw_borrowed(&fields.pUnk) };
        let object = object.map_or(ptr::null_mut(), |object| object.clone().into_raw());
        let format = format.map_or(ptr::null_mut(), |block| block.into_raw().as_ptr());
        let copy = memory.into_raw().cast::<AM_MEDIA_TYPE>();
        // Both stay inside the block. `wrapping` only because that is a safe function.
        let object_field = copy
            .as_ptr()
            .wrapping_byte_add(offset_of!(AM_MEDIA_TYPE, pUnk));
        let format_field = copy
            .as_ptr()
            .wrapping_byte_add(offset_of!(AM_MEDIA_TYPE, pbFormat));
        // SAFETY: the field is inside the block, which is aligned for any type of COM.
        unsafe { object_field.cast::<*mut c_void>().write(object) };
        // SAFETY: the field is inside the block, which is aligned for any type of COM.
        unsafe { format_field.cast::<*mut u8>().write(format) };
        Ok(Self(copy))
    }

    pub(super) fn as_ptr(&self) -> *mut AM_MEDIA_TYPE {
        self.0.as_ptr()
    }

    /// Returns the media type as a pointer. The receiver of the pointer frees it.
    pub(super) fn into_raw(self) -> *mut AM_MEDIA_TYPE {
        ManuallyDrop::new(self).as_ptr()
    }
}

impl Drop for MediaType {
    fn drop(&mut self) {
        // SAFETY: the structure belongs to `self` and is initialized.
        let AM_MEDIA_TYPE { pbFormat, pUnk, .. } = unsafe { self.0.read() };
        // SAFETY: `deep_copy` allocated the structure as task memory, and nothing uses it any more.
        drop(unsafe { TaskMemory::from_raw(self.0.cast()) });
        if let Some(block) = NonNull::new(pbFormat) {
            // SAFETY: `deep_copy` allocated the block as task memory, for this value alone.
            drop(unsafe { TaskMemory::from_raw(block) });
        }
        if !pUnk.is_null() {
            // SAFETY: `deep_copy` counted a reference to the object, which ends here.
            drop(unsafe { IUnknown::from_raw(pUnk) });
        }
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: the structure belongs to `self` and is initialized.
        unsafe { self.0.read() }.fmt(f)
    }
}

/// Copies a format block. Returns `None` if it is empty.
///
/// # Safety
///
/// `block` is NULL or valid for reads of `size` bytes.
unsafe fn copy_format(block: *const u8, size: u32) -> Result<Option<TaskMemory>, HRESULT> {
    if size == 0 {
        return Ok(None);
    }
    if block.is_null() {
        return Err(E_POINTER);
    }
    let size = usize::try_from(size).map_err(|_| E_OUTOFMEMORY)?;
    let copy = TaskMemory::allocate(size).ok_or(E_OUTOFMEMORY)?;
    // SAFETY: `block` is not NULL, so `size` bytes can be read; the copy has that size and is new.
    unsafe { copy.as_ptr().copy_from_nonoverlapping(block, size) };
    Ok(Some(copy))
}
