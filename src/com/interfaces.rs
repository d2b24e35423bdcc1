//! The interfaces, as `ksproxy.h` and `strmif.h` declare them: identifiers, and methods in the order
//! of their slots.
//!
//! Each is a counted reference to an object, ours or another's, whose methods can be called; its
//! `_Vtbl` is the table that an object of ours fills in. What the headers call `REFERENCE_TIME` is
//! `i64` here (100 ns), `LONG` and `BOOL` are `i32`, `HANDLE` is a pointer.

#![expect(
    missing_docs,
    non_snake_case,
    reason = "the names are the headers', and so is what they mean"
)]

use std::ffi::c_void;

use windows_core::{HRESULT, interface};

use super::layouts::{
    ALLOCATOR_PROPERTIES, ALLOCATOR_PROPERTIES_EX, AM_MEDIA_TYPE, KSSTREAMALLOCATOR_STATUS,
};

/// The kernel-streaming face of an allocator.
///
/// `KsSetAllocatorMode` returns an `HRESULT`, as it is documented to, though the header has `void`:
/// callers of either find what they expect.
#[interface("8DA64899-C0D9-11D0-8413-0000F822FE8A")]
pub unsafe trait IKsAllocator: windows_core::IUnknown {
    pub unsafe fn KsGetAllocatorHandle(&self) -> *mut c_void;
    pub unsafe fn KsGetAllocatorMode(&self) -> i32;
    pub unsafe fn KsGetAllocatorStatus(&self, status: *mut KSSTREAMALLOCATOR_STATUS) -> HRESULT;
    pub unsafe fn KsSetAllocatorMode(&self, mode: i32) -> HRESULT;
}

/// [`IKsAllocator`] with the properties of the pipe that shares the allocator.
#[interface("091BB63A-603F-11D1-B067-00A0C9062802")]
pub unsafe trait IKsAllocatorEx: IKsAllocator {
    pub unsafe fn KsGetProperties(&self) -> *mut ALLOCATOR_PROPERTIES_EX;
    pub unsafe fn KsSetProperties(&self, properties: *mut ALLOCATOR_PROPERTIES_EX);
    pub unsafe fn KsSetAllocatorHandle(&self, handle: *mut c_void);
    pub unsafe fn KsCreateAllocatorAndGetHandle(&self, pin: *mut c_void) -> *mut c_void;
}

/// The DirectShow face of an allocator. A sample is an `IMediaSample` pointer.
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

/// [`IMemAllocator`] that tells when a sample came back, and how many are free.
#[interface("379A0CF0-C1DE-11D2-ABF5-00A0C905F375")]
pub unsafe trait IMemAllocatorCallbackTemp: IMemAllocator {
    pub unsafe fn SetNotify(&self, callback: *mut c_void) -> HRESULT;
    pub unsafe fn GetFreeCount(&self, free: *mut i32) -> HRESULT;
}

/// What a client implements to be told that a sample came back.
#[interface("92980B30-C1DE-11D2-ABF5-00A0C905F375")]
pub unsafe trait IMemAllocatorNotifyCallbackTemp: windows_core::IUnknown {
    pub unsafe fn NotifyRelease(&self) -> HRESULT;
}

/// A frame in the hands of a COM client.
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

/// [`IMediaSample`] with all its properties in one call.
#[interface("36B73884-C2C8-11CF-8B46-00805F6CEF60")]
pub unsafe trait IMediaSample2: IMediaSample {
    pub unsafe fn GetProperties(&self, size: u32, properties: *mut u8) -> HRESULT;
    pub unsafe fn SetProperties(&self, size: u32, properties: *const u8) -> HRESULT;
}
