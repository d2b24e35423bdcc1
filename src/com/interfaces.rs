//! The interfaces, as `ksproxy.h` and `strmif.h` declare them: ids, and methods in the order of
//! their vtable slots.
//!
//! A value of an interface type is a counted reference to an object, of this crate or of a client.
//! The `_Vtbl` type of an interface is the vtable that an object of this crate fills in.
//! `REFERENCE_TIME` of the headers is `i64` here, in units of 100 ns; `LONG` and `BOOL` are `i32`;
//! `HANDLE` is a pointer.
//!
//! The documentation of an interface describes its methods as the objects of this crate implement
//! them. A pointer argument is NULL or valid for the use that is described. Where NULL has no
//! described meaning, the method returns `E_POINTER`.

#![expect(
    missing_docs,
    reason = "the macro drops the documentation of methods; the interfaces list them instead"
)]
#![expect(non_snake_case, reason = "the names are those of the headers")]

use std::ffi::c_void;

use windows_core::{HRESULT, interface};

use super::layouts::{
    ALLOCATOR_PROPERTIES, ALLOCATOR_PROPERTIES_EX, AM_MEDIA_TYPE, KSSTREAMALLOCATOR_STATUS,
};

/// Kernel-streaming interface of an allocator.
///
/// `KsSetAllocatorMode` returns an `HRESULT`, as documented, although the header declares it
/// `void`. Callers of both prototypes work.
///
/// - `KsGetAllocatorHandle` returns the handle: the one stored by `KsSetAllocatorHandle` or
///   `KsCreateAllocatorAndGetHandle`, otherwise the handle of the pool's memory in Kernel mode,
///   otherwise NULL.
/// - `KsGetAllocatorMode` returns the mode: 0 for User, 1 for Kernel.
/// - `KsGetAllocatorStatus` writes the framing and the number of frames that are in use.
/// - `KsSetAllocatorMode` sets the mode. Returns `E_INVALIDARG` for an unknown mode, and
///   `VFW_E_ALREADY_COMMITTED` for a different mode unless the allocator is uncommitted.
#[interface("8DA64899-C0D9-11D0-8413-0000F822FE8A")]
pub unsafe trait IKsAllocator: windows_core::IUnknown {
    pub unsafe fn KsGetAllocatorHandle(&self) -> *mut c_void;
    pub unsafe fn KsGetAllocatorMode(&self) -> i32;
    pub unsafe fn KsGetAllocatorStatus(&self, status: *mut KSSTREAMALLOCATOR_STATUS) -> HRESULT;
    pub unsafe fn KsSetAllocatorMode(&self, mode: i32) -> HRESULT;
}

/// [`IKsAllocator`] with the description of the pipe that shares the allocator.
///
/// - `KsGetProperties` returns the address of the pipe's description, which stays the same for the
///   life of the object. The caller must not write to it, nor read it during a `KsSetProperties`.
/// - `KsSetProperties` replaces the pipe's description. NULL is ignored. By itself it has no
///   effect; for what Rust code does with it, see [`pipe`](super::ComAllocator::pipe).
/// - `KsSetAllocatorHandle` stores the handle of an external allocator, which the object never
///   closes. In Kernel mode the object then only represents that allocator: `SetProperties` returns
///   `VFW_E_ALREADY_COMMITTED`, and `Commit` returns `S_OK` and does nothing.
/// - `KsCreateAllocatorAndGetHandle` creates an allocator in the driver of a pin, by
///   [`KsDriver`](super::KsDriver), and stores its handle. Returns the handle, or NULL.
#[interface("091BB63A-603F-11D1-B067-00A0C9062802")]
pub unsafe trait IKsAllocatorEx: IKsAllocator {
    pub unsafe fn KsGetProperties(&self) -> *mut ALLOCATOR_PROPERTIES_EX;
    pub unsafe fn KsSetProperties(&self, properties: *mut ALLOCATOR_PROPERTIES_EX);
    pub unsafe fn KsSetAllocatorHandle(&self, handle: *mut c_void);
    pub unsafe fn KsCreateAllocatorAndGetHandle(&self, pin: *mut c_void) -> *mut c_void;
}

/// DirectShow interface of an allocator.
///
/// - `SetProperties` requests the number, size, alignment and prefix of the buffers, and writes
///   the actual values. The size is rounded up so that prefix and buffer together are a multiple
///   of the alignment. Returns `VFW_E_BADALIGN` unless the alignment is from 1 to 65536,
///   `VFW_E_ALREADY_COMMITTED` or `VFW_E_BUFFERS_OUTSTANDING`; then `actual` is all zero. Both
///   pointers may be the same.
/// - `GetProperties` writes the actual properties, which are all zero before the first
///   `SetProperties`.
/// - `Commit` allocates the buffers. Returns `VFW_E_SIZENOTSET` if their number or size is not
///   positive, and `E_OUTOFMEMORY` if they need 2 GiB or more or there is no memory.
/// - `Decommit` fails every pending and later `GetBuffer` until the next `Commit`. The memory is
///   freed when the last sample is released.
/// - `GetBuffer` writes an `IMediaSample` pointer with one reference; NULL on failure. Waits in
///   FIFO order while no buffer is free. With [`NOWAIT`](super::GetBufferFlags::NOWAIT), returns
///   `VFW_E_TIMEOUT` instead. Returns `VFW_E_NOT_COMMITTED` before `Commit` and after `Decommit`,
///   and `VFW_E_WRONG_STATE` during a flush by Rust code. The times are ignored. A thread must not
///   be terminated while it waits: the next buffer would be assigned to it for good.
/// - `ReleaseBuffer` refuses every sample: `E_UNEXPECTED` for a sample of this allocator,
///   `E_INVALIDARG` for any other. The final `Release` of a sample returns its buffer.
#[interface("56A8689C-0AD4-11CE-B03A-0020AF0BA770")]
pub unsafe trait IMemAllocator: windows_core::IUnknown {
    pub unsafe fn SetProperties(
        &self,
        request: *const ALLOCATOR_PROPERTIES,
        actual: *mut ALLOCATOR_PROPERTIES,
    ) -> HRESULT;
    pub unsafe fn GetProperties(&self, properties: *mut ALLOCATOR_PROPERTIES) -> HRESULT;
    pub unsafe fn Commit(&self) -> HRESULT;
    pub unsafe fn Decommit(&self) -> HRESULT;
    pub unsafe fn GetBuffer(
        &self,
        sample: *mut *mut c_void,
        start: *const i64,
        end: *const i64,
        flags: u32,
    ) -> HRESULT;
    pub unsafe fn ReleaseBuffer(&self, sample: *mut c_void) -> HRESULT;
}

/// [`IMemAllocator`] with a callback for released samples and a count of the free ones.
///
/// - `SetNotify` registers an [`IMemAllocatorNotifyCallbackTemp`]; NULL removes it. The allocator
///   holds a reference to the callback until it is replaced. Returns `E_OUTOFMEMORY`, and keeps the
///   old callback, if there is no memory.
/// - `GetFreeCount` writes the number of free buffers.
#[interface("379A0CF0-C1DE-11D2-ABF5-00A0C905F375")]
pub unsafe trait IMemAllocatorCallbackTemp: IMemAllocator {
    pub unsafe fn SetNotify(&self, callback: *mut c_void) -> HRESULT;
    pub unsafe fn GetFreeCount(&self, free: *mut i32) -> HRESULT;
}

/// Callback of a client for released samples.
///
/// - `NotifyRelease` is called once per final `Release` of a sample, on the releasing thread, after
///   its buffer is free. The allocator ignores the result. A C++ exception that leaves it ends the
///   process.
#[interface("92980B30-C1DE-11D2-ABF5-00A0C905F375")]
pub unsafe trait IMemAllocatorNotifyCallbackTemp: windows_core::IUnknown {
    pub unsafe fn NotifyRelease(&self) -> HRESULT;
}

/// A media sample: a frame of the pool that a COM client holds.
///
/// Media type, flags and times are reset when the buffer is reused; the actual data length is kept.
///
/// - `GetPointer` writes the address of the buffer, after its prefix.
/// - `GetSize` returns the size of the buffer in bytes.
/// - `GetTime` writes the start and stop time. Returns `VFW_E_SAMPLE_TIME_NOT_SET` without a
///   start, and `VFW_S_NO_STOP_TIME` without a stop: `end` is `start + 1` then.
/// - `SetTime` sets the start and stop time. A NULL `start` clears both; a NULL `end` clears the
///   stop time.
/// - `IsSyncPoint` returns `S_OK` if the sample is a sync point, otherwise `S_FALSE`.
/// - `SetSyncPoint` sets whether the sample is a sync point.
/// - `IsPreroll` returns `S_OK` if the sample is preroll, otherwise `S_FALSE`.
/// - `SetPreroll` sets whether the sample is preroll.
/// - `GetActualDataLength` returns the length of the data in bytes.
/// - `SetActualDataLength` sets the length of the data. Returns `VFW_E_BUFFER_OVERFLOW` if it is
///   negative or larger than the buffer.
/// - `GetMediaType` writes a deep copy of the media type, in memory of `CoTaskMemAlloc`, which the
///   caller frees. Returns `S_FALSE` and writes NULL if the sample has none.
/// - `SetMediaType` replaces the media type by a deep copy; NULL removes it. Returns
///   `E_OUTOFMEMORY`, and removes the old media type, if there is no memory.
/// - `IsDiscontinuity` returns `S_OK` if the sample follows a discontinuity, otherwise `S_FALSE`.
/// - `SetDiscontinuity` sets whether the sample follows a discontinuity.
/// - `GetMediaTime` writes the media times. Returns `VFW_E_MEDIA_TIME_NOT_SET` if there are none.
/// - `SetMediaTime` sets the media times. A NULL `start` clears both; a NULL `end` alone is
///   `E_POINTER`.
#[interface("56A8689A-0AD4-11CE-B03A-0020AF0BA770")]
pub unsafe trait IMediaSample: windows_core::IUnknown {
    pub unsafe fn GetPointer(&self, pointer: *mut *mut u8) -> HRESULT;
    pub unsafe fn GetSize(&self) -> i32;
    pub unsafe fn GetTime(&self, start: *mut i64, end: *mut i64) -> HRESULT;
    pub unsafe fn SetTime(&self, start: *const i64, end: *const i64) -> HRESULT;
    pub unsafe fn IsSyncPoint(&self) -> HRESULT;
    pub unsafe fn SetSyncPoint(&self, value: i32) -> HRESULT;
    pub unsafe fn IsPreroll(&self) -> HRESULT;
    pub unsafe fn SetPreroll(&self, value: i32) -> HRESULT;
    pub unsafe fn GetActualDataLength(&self) -> i32;
    pub unsafe fn SetActualDataLength(&self, length: i32) -> HRESULT;
    pub unsafe fn GetMediaType(&self, media_type: *mut *mut AM_MEDIA_TYPE) -> HRESULT;
    pub unsafe fn SetMediaType(&self, media_type: *const AM_MEDIA_TYPE) -> HRESULT;
    pub unsafe fn IsDiscontinuity(&self) -> HRESULT;
    pub unsafe fn SetDiscontinuity(&self, value: i32) -> HRESULT;
    pub unsafe fn GetMediaTime(&self, start: *mut i64, end: *mut i64) -> HRESULT;
    pub unsafe fn SetMediaTime(&self, start: *const i64, end: *const i64) -> HRESULT;
}

/// [`IMediaSample`] with access to all properties in one call.
///
/// - `GetProperties` writes the first `size` bytes of an `AM_SAMPLE2_PROPERTIES`, and their number
///   to `cbData`.
/// - `SetProperties` sets the fields that the first `min(size, cbData)` bytes contain. Returns
///   `E_INVALIDARG` if a field is invalid, and `E_OUTOFMEMORY` if there is no memory for a media
///   type. Both change nothing.
#[interface("36B73884-C2C8-11CF-8B46-00805F6CEF60")]
pub unsafe trait IMediaSample2: IMediaSample {
    pub unsafe fn GetProperties(&self, size: u32, properties: *mut u8) -> HRESULT;
    pub unsafe fn SetProperties(&self, size: u32, properties: *const u8) -> HRESULT;
}
