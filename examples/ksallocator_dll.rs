//! The allocator as a DLL, for filters and programs in C++ or any other language.
//!
//! ```text
//! cargo build --release --features windows --example ksallocator_dll
//! ```
//!
//! Two ways lead to an allocator, uncommitted and with its framing yet to be set:
//!
//! | export | for whom |
//! |---|---|
//! | `KsAllocatorCreate(riid, out)` | clients that load the DLL themselves; nothing is registered |
//! | `DllGetClassObject(clsid, riid, out)` | COM, for `{11A1E3C9-0132-49FB-B505-BB8E2006C59B}`, `ThreadingModel` `Both` |
//! | `DllCanUnloadNow()` | COM, and clients that want to unload the DLL |
//!
//! In C++ the first of them is
//! `extern "C" HRESULT __stdcall KsAllocatorCreate(REFIID riid, void **out)`; `tests/cpp/client.cpp`
//! uses them all. It is not called `KsCreateAllocator`, for `ks.h` has another function of that name.
//!
//! No function here can panic, and if one did, `extern "system"` would end the process at once.

#![expect(unsafe_code, reason = "COM speaks in raw pointers")]
#![expect(clippy::disallowed_types, reason = "no model runs an example")]

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use ks_allocator::PoolAllocator;
use ks_allocator::com::{self, CLASS_E_NOAGGREGATION, E_NOINTERFACE, E_POINTER, S_FALSE, S_OK};
use windows_core::{GUID, HRESULT, IUnknown, Interface};

/// The allocator's class: the DLL's own, made by chance and never to change.
const CLSID_KS_ALLOCATOR: GUID = GUID::from_u128(0x11a1e3c9_0132_49fb_b505_bb8e2006c59b);
const IID_ICLASSFACTORY: GUID = GUID::from_u128(0x00000001_0000_0000_c000_000000000046);

#[expect(clippy::cast_possible_wrap, reason = "the top bit means failure")]
const CLASS_E_CLASSNOTAVAILABLE: HRESULT = HRESULT(0x8004_0111_u32 as i32);

/// Makes an allocator, and writes its interface `riid` to `*out`: one reference, which is the
/// caller's, or null where the result is an error.
///
/// Returns `E_POINTER` for a null pointer, and `E_NOINTERFACE` if allocators have no such interface.
///
/// # Safety
///
/// What is not null must be valid: `riid` for reads, `out` for writes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn KsAllocatorCreate(
    riid: *const GUID,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: our caller promises as much.
    if !unsafe { are_there(riid, out) } {
        return E_POINTER;
    }
    let made = com::into_unknown(PoolAllocator::new());
    // SAFETY: `made` is an `IUnknown` with one reference, which is ours, and now this value's.
    let allocator = unsafe { IUnknown::from_raw(made.as_ptr()) };
    // SAFETY: our caller promises that both are valid, and neither is null.
    unsafe { allocator.query(riid, out) }
}

/// Writes the class factory of `clsid`, by its interface `riid`, to `*out`, or null where the result
/// is an error: `E_POINTER`, `CLASS_E_CLASSNOTAVAILABLE` or `E_NOINTERFACE`.
///
/// # Safety
///
/// What is not null must be valid: `clsid` and `riid` for reads, `out` for writes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DllGetClassObject(
    clsid: *const GUID,
    riid: *const GUID,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: our caller promises as much.
    if !unsafe { are_there(riid, out) } || clsid.is_null() {
        return E_POINTER;
    }
    // SAFETY: our caller promises that it is valid, and it is not null.
    if unsafe { clsid.read() } != CLSID_KS_ALLOCATOR {
        return CLASS_E_CLASSNOTAVAILABLE;
    }
    // SAFETY: our caller promises that both are valid.
    unsafe { factory_query_interface(the_factory(), riid, out) }
}

/// `S_OK` if nobody uses anything of this DLL any more, and `S_FALSE` otherwise.
#[unsafe(no_mangle)]
pub extern "system" fn DllCanUnloadNow() -> HRESULT {
    // In this order: who can make allocators is asked first, and then how many there are.
    // Acquire: pairs with the Release in `stop_using`, after whatever that client did.
    let used = IN_USE.load(Ordering::Acquire) != 0 || com::object_count() != 0;
    if used { S_FALSE } else { S_OK }
}

/// Whether neither pointer is null. In any case `*out` is nulled, where there is one: what fails
/// later can leave it at that.
///
/// # Safety
///
/// `out` must be null or valid for writes.
unsafe fn are_there(riid: *const GUID, out: *mut *mut c_void) -> bool {
    if out.is_null() {
        return false;
    }
    // SAFETY: our caller promises that it is valid, as it is not null.
    unsafe { out.write(ptr::null_mut()) };
    !riid.is_null()
}

/// RefCount to the factory, and locks of the server: while there are any, the DLL must stay.
static IN_USE: AtomicU32 = AtomicU32::new(0);

fn start_using() -> u32 {
    // Relaxed: whoever calls has the DLL in use already.
    IN_USE.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

fn stop_using() -> u32 {
    // Release: pairs with the Acquire in `DllCanUnloadNow`. What was never locked stays at zero.
    let before = IN_USE.fetch_update(Ordering::Release, Ordering::Relaxed, |n| n.checked_sub(1));
    before.map_or(0, |before| before - 1)
}

/// `IClassFactory`: a table of functions, of which an object is a pointer to it and nothing else.
#[repr(C)]
struct FactoryTable {
    query_interface:
        unsafe extern "system" fn(*mut c_void, *const GUID, *mut *mut c_void) -> HRESULT,
    add_ref: extern "system" fn(*mut c_void) -> u32,
    release: extern "system" fn(*mut c_void) -> u32,
    create_instance: unsafe extern "system" fn(
        *mut c_void,
        *mut c_void,
        *const GUID,
        *mut *mut c_void,
    ) -> HRESULT,
    lock_server: extern "system" fn(*mut c_void, i32) -> HRESULT,
}

/// The one factory there is. It has no state and needs no heap.
static FACTORY: &FactoryTable = &FactoryTable {
    query_interface: factory_query_interface,
    add_ref: factory_add_ref,
    release: factory_release,
    create_instance: factory_create_instance,
    lock_server: factory_lock_server,
};

fn the_factory() -> *mut c_void {
    (&raw const FACTORY).cast_mut().cast()
}

/// # Safety
///
/// What is not null must be valid: `riid` for reads, `out` for writes.
unsafe extern "system" fn factory_query_interface(
    this: *mut c_void,
    riid: *const GUID,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: our caller promises as much.
    if !unsafe { are_there(riid, out) } {
        return E_POINTER;
    }
    // SAFETY: our caller promises that it is valid, and it is not null.
    let wanted = unsafe { riid.read() };
    if wanted != IUnknown::IID && wanted != IID_ICLASSFACTORY {
        return E_NOINTERFACE;
    }
    start_using();
    // SAFETY: our caller promises that it is valid, and it is not null.
    unsafe { out.write(this) };
    S_OK
}

extern "system" fn factory_add_ref(_this: *mut c_void) -> u32 {
    start_using()
}

extern "system" fn factory_release(_this: *mut c_void) -> u32 {
    stop_using()
}

/// # Safety
///
/// What is not null must be valid: `riid` for reads, `out` for writes.
unsafe extern "system" fn factory_create_instance(
    _this: *mut c_void,
    outer: *mut c_void,
    riid: *const GUID,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: our caller promises as much.
    if !unsafe { are_there(riid, out) } {
        return E_POINTER;
    }
    if !outer.is_null() {
        return CLASS_E_NOAGGREGATION;
    }
    // SAFETY: our caller promises that both are valid.
    unsafe { KsAllocatorCreate(riid, out) }
}

extern "system" fn factory_lock_server(_this: *mut c_void, lock: i32) -> HRESULT {
    if lock != 0 {
        start_using();
    } else {
        stop_using();
    }
    S_OK
}
