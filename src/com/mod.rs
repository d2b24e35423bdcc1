//! COM objects: a [`PoolAllocator`](crate::PoolAllocator) for DirectShow and kernel streaming.
//!
//! [`into_unknown`] turns an allocator into a COM object, and [`ComAllocator`] is the same with a
//! handle for Rust code. Rust code and COM clients then share one pool.
//!
//! - The allocator implements [`IKsAllocator`], [`IKsAllocatorEx`], [`IMemAllocator`] and
//!   [`IMemAllocatorCallbackTemp`].
//! - A media sample implements [`IMediaSample`] and [`IMediaSample2`].
//!
//! A media sample is a frame of the pool. After `Commit`, `GetBuffer` and the final `Release` of a
//! sample allocate no memory, and while buffers are free they take no lock.
//!
//! The module works on every system, not only on Windows: it is built, called and tested on all of
//! them. Off Windows, copies of media types are in memory of the C library's `malloc` instead of
//! `CoTaskMemAlloc`.
//!
//! # Example
//!
//! ```
//! use std::ptr;
//!
//! use ks_allocator::PoolAllocator;
//! use ks_allocator::com::{
//!     ALLOCATOR_PROPERTIES, ComAllocator, IMediaSample, IMemAllocator, S_OK,
//! };
//! use windows_core::Interface;
//!
//! let allocator = ComAllocator::new(PoolAllocator::new());
//! let client = allocator.cast::<IMemAllocator>()?; // a pointer for `NotifyAllocator`
//!
//! let request = ALLOCATOR_PROPERTIES { cBuffers: 4, cbBuffer: 4096, cbAlign: 16, cbPrefix: 0 };
//! let mut actual = ALLOCATOR_PROPERTIES::default();
//! assert_eq!(unsafe { client.SetProperties(&request, &mut actual) }, S_OK);
//! assert_eq!(unsafe { client.Commit() }, S_OK);
//!
//! let mut sample = ptr::null_mut();
//! assert_eq!(unsafe { client.GetBuffer(&mut sample, ptr::null(), ptr::null(), 0) }, S_OK);
//! let sample = unsafe { IMediaSample::from_raw(sample) };
//! assert_eq!(unsafe { sample.GetSize() }, 4096);
//! drop(sample); // the final `Release` makes the buffer free again
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From C++
//!
//! The example `ksallocator_dll` of this package is a DLL that creates allocators:
//!
//! ```text
//! cargo build --release --features windows --example ksallocator_dll
//! ```
//!
//! It exports `KsAllocatorCreate`, `KsAllocatorCreateWithFlags`, and the functions of a COM server,
//! `DllGetClassObject` and `DllCanUnloadNow`. Nothing needs to be registered to use the first:
//!
//! ```text
//! HMODULE dll = LoadLibraryW(L"ksallocator_dll.dll");
//! auto create = reinterpret_cast<HRESULT(STDAPICALLTYPE *)(REFIID riid, void **out)>(
//!     reinterpret_cast<void *>(GetProcAddress(dll, "KsAllocatorCreate")));
//! IMemAllocator *allocator = nullptr;
//! HRESULT result = create(__uuidof(IMemAllocator), reinterpret_cast<void **>(&allocator));
//! ```
//!
//! `tests/cpp/client.cpp` of the repository uses all of it; `tests/cpp/graph.cpp` runs a DirectShow
//! graph. A library of your own can create the object with [`ComAllocator::try_new`] or
//! [`into_unknown`], and answer `DllCanUnloadNow` with [`object_count()`].
//!
//! # Differences from the DirectShow base classes
//!
//! The objects behave as the interfaces are documented and as DirectShow's base classes
//! (`CMemAllocator`, `CMediaSample`) do, with these exceptions:
//!
//! - `KsSetAllocatorMode` returns an `HRESULT`. The header declares it `void`; callers of both
//!   prototypes work.
//! - `Decommit` makes every waiting `GetBuffer` return `VFW_E_NOT_COMMITTED`, even if a `Commit`
//!   follows at once. In the base classes some can keep waiting.
//! - `GetBuffer` serves waiting callers in FIFO order. In the base classes the first thread that
//!   wakes up gets the buffer.
//! - The prefix start is a multiple of any alignment from 1 to 65536, and other alignments are
//!   refused. In the base classes it is a multiple for powers of two only.
//! - The last `Release` of a committed allocator decommits it, and samples that are out stay valid.
//!   The base classes leak the allocator.
//! - `ReleaseBuffer` called by an application fails: `E_UNEXPECTED`, or `E_INVALIDARG` for a sample
//!   of another allocator. The base classes then hand out the same sample twice.
//! - `Release` of a sample that is free returns 0 and does nothing.
//! - NULL pointers, wrong sizes and requests of 2 GiB or more return an error code and change
//!   nothing. The base classes can crash.
//!
//! - `Commit` touches all memory, so that no buffer causes page faults when it is first used. The
//!   base classes only reserve it, and so do allocators with `prefault(false)` and those of the
//!   example DLL: see [Prefaulting](#prefaulting).
//!
//! As in the base classes, buffers are not cleared before they are reused, and a sample keeps its
//! actual data length.
//!
//! # Callbacks, exceptions and terminated threads
//!
//! The objects call code of clients: `NotifyRelease`, `AddRef` and `Release` of a callback or of
//! the `pUnk` of a media type, a [`KsDriver`], and subscribers of `tracing`. No lock is held then,
//! so that code may call the objects.
//!
//! - A C++ exception must not leave `NotifyRelease`, nor `AddRef` or `Release` of an object that
//!   the client passes. It would end the process: exceptions cannot cross into this crate. An
//!   implementation catches what it throws. (The base classes let the exception through, to the
//!   caller of `Release`.)
//! - A panic in a [`KsDriver`] is caught: `KsCreateAllocatorAndGetHandle` returns NULL.
//! - A thread that waits in `GetBuffer` must not be terminated (`TerminateThread`). It stays in
//!   the wait queue, and the next released buffer is assigned to it for good. That buffer counts as
//!   in use until the process ends: after `Decommit` the allocator stays in the state Decommitting,
//!   `SetProperties` returns `VFW_E_BUFFERS_OUTSTANDING`, and the memory is not freed. If the
//!   thread ends while it holds the lock of the queue, all later callers that must wait hang. Call
//!   `Decommit` instead, which ends every wait. Called before the next buffer is released, it also
//!   removes a terminated thread from the queue, and no buffer is lost.
//! - A thread that is terminated while it holds a sample keeps the sample, as in the base classes.
//!
//! # Without memory
//!
//! Methods that make a copy or create an object return `E_OUTOFMEMORY` if an allocation fails:
//! `SetMediaType`, `GetMediaType`, `SetProperties` of a sample, `SetNotify`, a `GetBuffer` that
//! creates the samples, [`ComAllocator::try_new`], and `KsAllocatorCreate` of the example DLL.
//! `Commit` does so for the buffers, and for all that grows with their number.
//!
//! A few allocations of fixed size end the process if they fail: those of a `Commit` for the pool
//! itself, and those of a thread in its first call and its first wait.
//!
//! # Prefaulting
//!
//! Touching all memory takes time: for 2 GiB more than a second. A filter that commits on the
//! thread of its graph may prefer page faults. The options of a pool, this one included, are those
//! of the builder that the allocator is made from:
//!
//! ```
//! use ks_allocator::com::ComAllocator;
//! use ks_allocator::{FramePool, KsAllocator, PoolAllocator};
//!
//! let options = FramePool::builder().frames(32).frame_size(12_441_600).prefault(false);
//! let allocator = ComAllocator::new(PoolAllocator::from_builder(&options)?);
//! allocator.commit()?; // touches no page
//! assert_eq!(allocator.commit_report().map(|report| report.requested.prefault), Some(false));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The example DLL does not prefault unless `KsAllocatorCreateWithFlags` is called with the flag
//! `KSALLOCATOR_PREFAULT`.
//!
//! # Structure
//!
//! Each file depends only on files listed before it.
//!
//! - `constants`, `layouts`, `hresult`: numbers, structures and results of the Windows headers.
//! - `interfaces`: the interfaces.
//! - `boundary`: vtable entries from safe methods. Pointers of clients and panics are handled here.
//! - `shared`: shared ownership of a heap value whose allocation reports failure.
//! - `object_count`, `driver`, `ks_framing`, `media_type`, `video_info`, `format_change`, `notify`,
//!   `pipe`, `properties`, `sample_properties`: parts of the objects.
//! - `sample`: the media sample. How a frame becomes a sample, and a sample a frame.
//! - `sample_table`: the samples of a pool.
//! - `allocator_object`, `com_allocator`: the allocator, and its handle for Rust code.

mod constants;
mod layouts;

mod hresult;
mod interfaces;

#[expect(unsafe_code, reason = "reads and writes through pointers of clients")]
mod boundary;

#[expect(unsafe_code, reason = "owns memory on the heap")]
mod shared;

mod object_count;

mod driver;
mod ks_framing;
#[expect(unsafe_code, reason = "owns the memory and the object of a media type")]
mod media_type;

mod format_change;
#[expect(unsafe_code, reason = "calls an object of the client")]
mod notify;
#[expect(
    unsafe_code,
    reason = "copies a structure of the client that may overlap"
)]
mod pipe;
mod properties;
#[expect(unsafe_code, reason = "trusts a pointer in a structure of the client")]
mod sample_properties;
#[expect(unsafe_code, reason = "trusts a pointer in a media type of the client")]
mod video_info;

#[expect(unsafe_code, reason = "is called by COM clients, and owns frames")]
mod sample;
#[expect(unsafe_code, reason = "downcasts a core's extension without a check")]
mod sample_table;

#[expect(unsafe_code, reason = "is called by COM clients, and frees itself")]
mod allocator_object;
#[expect(unsafe_code, reason = "holds an interface pointer")]
mod com_allocator;

pub use self::com_allocator::{ComAllocator, into_unknown};
pub use self::constants::*;
pub use self::driver::KsDriver;
pub use self::format_change::{FormatChange, FormatChangeError};
pub use self::hresult::*;
pub use self::interfaces::{
    IKsAllocator, IKsAllocatorEx, IMediaSample, IMediaSample2, IMemAllocator,
    IMemAllocatorCallbackTemp, IMemAllocatorNotifyCallbackTemp,
};
pub use self::ks_framing::KsPipeError;
pub use self::layouts::*;
pub use self::object_count::object_count;
pub use self::video_info::{
    FORMAT_VideoInfo, FORMAT_VideoInfo2, MEDIASUBTYPE_ARGB32, MEDIASUBTYPE_IYUV,
    MEDIASUBTYPE_RGB24, MEDIASUBTYPE_RGB32, VideoInfoError, video_format, video_info_header,
    video_info_header2, video_layout, video_subtype,
};

/// The version of `windows-core` that this crate was built with.
#[doc(no_inline)]
pub use windows_core;
