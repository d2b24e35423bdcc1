//! Calls whose n-th heap allocation fails, for each n.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

use ks_allocator::com::{
    AM_MEDIA_TYPE, AM_SAMPLE2_PROPERTIES, ComAllocator, E_OUTOFMEMORY, GetBufferFlags,
    IMediaSample2, IMemAllocator, IMemAllocatorCallbackTemp, S_FALSE, S_OK, SampleFlags,
};
use ks_allocator::{Framing, KsAllocator, PoolAllocator};
use windows_core::{GUID, HRESULT, Interface};

use crate::ksallocator_dll::KsAllocatorCreate;
use crate::set_properties;
use crate::support::com_client::{committed_com_allocator, get_buffer};

/// The system allocator, one of whose allocations on a thread fails on request.
struct Failing;

thread_local! {
    /// Number of allocations of this thread until one fails; 0 if none does.
    static UNTIL_FAILURE: Cell<usize> = const { Cell::new(0) };
}

/// Counts an allocation, and returns whether it fails.
fn fails() -> bool {
    let left = UNTIL_FAILURE.get();
    UNTIL_FAILURE.set(left.saturating_sub(1));
    left == 1
}

// SAFETY: each method passes its arguments to the same method of `System`, or returns NULL, which
// is allowed. The count lives in a thread-local with a constant initial value and no destructor, so
// counting allocates nothing.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails() {
            return ptr::null_mut();
        }
        // SAFETY: the caller promises what `alloc` requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller promises what `dealloc` requires, and `System` allocated the block.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if fails() {
            return ptr::null_mut();
        }
        // SAFETY: the caller promises what `realloc` requires, and `System` allocated the block.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static FAILING: Failing = Failing;

/// Makes a call again and again, while its first, second, ... allocation fails, until none does.
/// Each failure must be `E_OUTOFMEMORY`, and `check` must hold after it. Returns the number of
/// failures.
fn with_failures(mut call: impl FnMut() -> HRESULT, check: impl Fn()) -> usize {
    for failing in 1.. {
        UNTIL_FAILURE.set(failing);
        let result = call();
        let all_succeeded = UNTIL_FAILURE.replace(0) > 0;
        if all_succeeded {
            assert_eq!(result, S_OK);
            return failing - 1;
        }
        assert_eq!(result, E_OUTOFMEMORY, "allocation {failing} failed");
        check();
    }
    unreachable!("a call makes a finite number of allocations")
}

/// Uses an allocator once on this thread, which allocates what a thread needs for its first call.
fn committed() -> (ComAllocator, IMemAllocatorCallbackTemp) {
    let (allocator, client) =
        committed_com_allocator(PoolAllocator::with_framing(Framing::new(2, 64)).unwrap());
    drop(get_buffer(&client, GetBufferFlags::NOWAIT).unwrap());
    (allocator, client)
}

fn sample() -> IMediaSample2 {
    let (_, client) = committed();
    get_buffer(&client, GetBufferFlags::NOWAIT).unwrap()
}

fn media_type(sample_size: u32) -> AM_MEDIA_TYPE {
    AM_MEDIA_TYPE {
        lSampleSize: sample_size,
        ..AM_MEDIA_TYPE::default()
    }
}

fn properties(sample: &IMediaSample2) -> AM_SAMPLE2_PROPERTIES {
    let mut properties = AM_SAMPLE2_PROPERTIES::default();
    let size = u32::try_from(size_of_val(&properties)).unwrap();
    // SAFETY: `properties` has `size` bytes.
    let result = unsafe { sample.GetProperties(size, (&raw mut properties).cast()) };
    assert_eq!(result, S_OK);
    properties
}

#[test]
fn without_memory_no_allocator_is_created() {
    committed();
    let mut pointer = ptr::null_mut();
    let failures = with_failures(
        || {
            pointer = ptr::dangling_mut();
            // SAFETY: both pointers are valid.
            let result = unsafe { KsAllocatorCreate(&IMemAllocator::IID, &raw mut pointer) };
            assert_eq!(pointer.is_null(), result != S_OK);
            result
        },
        || {},
    );
    assert!(failures >= 2, "the object and its callback: {failures}");
    // SAFETY: it is this interface, with one reference, which belongs to the result.
    let client = unsafe { IMemAllocator::from_raw(pointer) };
    assert_eq!(set_properties(&client, 2, 64), S_OK);
}

#[test]
fn without_memory_a_sample_loses_its_media_type_and_gets_no_new_one() {
    let sample = sample();
    let failures = with_failures(
        || {
            let new = media_type(7);
            // SAFETY: it is a media type without a format block and without an object.
            unsafe { sample.SetMediaType(&raw const new) }
        },
        || {
            let mut copy = ptr::dangling_mut();
            // SAFETY: `copy` can be written.
            assert_eq!(unsafe { sample.GetMediaType(&raw mut copy) }, S_FALSE);
            assert!(copy.is_null());
        },
    );
    assert!(failures >= 1);
    assert!(!properties(&sample).pMediaType.is_null());
}

#[test]
fn without_memory_the_properties_of_a_sample_stay_as_they_are() {
    let sample = sample();
    let before = properties(&sample);
    let mut new_type = media_type(7);
    let new = AM_SAMPLE2_PROPERTIES {
        cbData: u32::try_from(size_of::<AM_SAMPLE2_PROPERTIES>()).unwrap(),
        dwTypeSpecificFlags: 1,
        dwSampleFlags: (SampleFlags::TYPECHANGED | SampleFlags::PREROLL).bits(),
        lActual: 5,
        dwStreamId: 3,
        pMediaType: &raw mut new_type,
        cbBuffer: before.cbBuffer,
        ..AM_SAMPLE2_PROPERTIES::default()
    };
    let failures = with_failures(
        // SAFETY: the structure has this many bytes, and leads to a media type.
        || unsafe { sample.SetProperties(new.cbData, (&raw const new).cast()) },
        || assert_eq!(format!("{:?}", properties(&sample)), format!("{before:?}")),
    );
    assert!(failures >= 1);
    assert_eq!(properties(&sample).lActual, 5);
}

/// A callback object that counts its calls. It is static, and its references are not counted.
mod callback {
    use super::*;

    #[repr(C)]
    pub(super) struct Callback(&'static Table);

    #[repr(C)]
    struct Table(
        unsafe extern "system" fn(*mut c_void, *const GUID, *mut *mut c_void) -> HRESULT,
        unsafe extern "system" fn(*mut c_void) -> u32,
        unsafe extern "system" fn(*mut c_void) -> u32,
        unsafe extern "system" fn(*mut c_void) -> HRESULT,
    );

    pub(super) static CALLBACK: Callback = Callback(&TABLE);
    static TABLE: Table = Table(query_interface, references, references, notify_release);

    thread_local! {
        pub(super) static CALLS: Cell<usize> = const { Cell::new(0) };
    }

    unsafe extern "system" fn query_interface(
        _: *mut c_void,
        _: *const GUID,
        _: *mut *mut c_void,
    ) -> HRESULT {
        ks_allocator::com::E_NOINTERFACE
    }

    unsafe extern "system" fn references(_: *mut c_void) -> u32 {
        1
    }

    unsafe extern "system" fn notify_release(_: *mut c_void) -> HRESULT {
        CALLS.set(CALLS.get() + 1);
        S_OK
    }
}

#[test]
fn without_memory_the_old_callback_stays() {
    let (_allocator, client) = committed();
    let release_one = || {
        let before = callback::CALLS.get();
        drop(get_buffer(&client, GetBufferFlags::NOWAIT).unwrap());
        callback::CALLS.get() - before
    };
    let failures = with_failures(
        || {
            let callback = ptr::from_ref(&callback::CALLBACK).cast_mut().cast();
            // SAFETY: it is an object with this interface. Its methods do not write to it.
            unsafe { client.SetNotify(callback) }
        },
        || assert_eq!(release_one(), 0),
    );
    assert!(failures >= 1);
    assert_eq!(release_one(), 1);
}

#[test]
fn without_memory_get_buffer_creates_no_samples_and_keeps_the_frames() {
    committed();
    let allocator = PoolAllocator::with_framing(Framing::new(2, 64)).unwrap();
    let allocator = ComAllocator::new(allocator);
    let client: IMemAllocator = allocator.cast().unwrap();
    allocator.commit().unwrap(); // by Rust, which needs no samples
    let failures = with_failures(
        || match get_buffer(&client, GetBufferFlags::NOWAIT) {
            Ok(sample) => {
                drop(sample);
                S_OK
            }
            Err(error) => error,
        },
        || assert_eq!(allocator.free_frames(), 2),
    );
    assert!(failures >= 2, "the samples and their table: {failures}");
}
