//! The allocator as a DLL, for filters and programs in C++ or any other language.
//!
//! ```text
//! cargo build --release --features windows --example ksallocator_dll
//! ```
//!
//! There are three ways to create an allocator. All return it uncommitted, with its framing unset.
//!
//! - `KsAllocatorCreate(riid, out)` is for clients that load the DLL themselves. Nothing needs to
//!   be registered.
//! - `KsAllocatorCreateWithFlags(riid, flags, out)` does the same with options: see below.
//! - `DllGetClassObject(clsid, riid, out)` is for COM: class
//!   `{11A1E3C9-0132-49FB-B505-BB8E2006C59B}`, `ThreadingModel` `Both`.
//!
//! As in DirectShow's own allocator, `Commit` reserves the memory, and the system provides each
//! page when it is first touched. With the flag `KSALLOCATOR_PREFAULT` (1), `Commit` touches all
//! memory. It then takes longer, by 0.5 to 1 s per GiB, and the first use of each buffer causes no
//! page faults. The flag holds for all commits of the one allocator.
//!
//! `DllCanUnloadNow()` tells COM, and clients that loaded the DLL, whether it can be unloaded.
//!
//! In C++ the first two functions are
//!
//! ```text
//! extern "C" HRESULT __stdcall KsAllocatorCreate(REFIID riid, void **out);
//! extern "C" HRESULT __stdcall KsAllocatorCreateWithFlags(REFIID riid, DWORD flags, void **out);
//! ```
//!
//! The first is not called `KsCreateAllocator`, because `ks.h` declares another function of that
//! name. `tests/cpp/client.cpp` uses all functions.
//!
//! No function here can panic. If one did, `extern "system"` would abort the process.

#![expect(unsafe_code, reason = "COM passes raw pointers")]
#![expect(clippy::disallowed_types, reason = "no model runs an example")]

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use ks_allocator::com::{
    self, CLASS_E_NOAGGREGATION, ComAllocator, E_INVALIDARG, E_NOINTERFACE, E_POINTER, S_FALSE,
    S_OK,
};
use ks_allocator::{FramePool, PoolAllocator};
use windows_core::{GUID, HRESULT, IUnknown, Interface};

/// The class of the allocator: a random GUID of this DLL, which never changes.
const CLSID_KS_ALLOCATOR: GUID = GUID::from_u128(0x11a1e3c9_0132_49fb_b505_bb8e2006c59b);
const IID_ICLASSFACTORY: GUID = GUID::from_u128(0x00000001_0000_0000_c000_000000000046);

#[expect(clippy::cast_possible_wrap, reason = "the top bit means failure")]
const CLASS_E_CLASSNOTAVAILABLE: HRESULT = HRESULT(0x8004_0111_u32 as i32);

/// Flag of `KsAllocatorCreateWithFlags`: `Commit` touches all memory.
pub const KSALLOCATOR_PREFAULT: u32 = 1;

/// Creates an allocator, and writes a pointer to its interface `riid` to `*out`, with one reference
/// that belongs to the caller. On failure `*out` is null.
///
/// Returns `E_POINTER` for a null pointer, `E_NOINTERFACE` if the allocator does not implement the
/// interface, and `E_OUTOFMEMORY`. `Commit` does not touch the memory.
///
/// # Safety
///
/// Each pointer must be null or valid: `riid` for reads, `out` for writes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn KsAllocatorCreate(
    riid: *const GUID,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: the promise of the caller is the same.
    unsafe { KsAllocatorCreateWithFlags(riid, 0, out) }
}

/// Does the same as `KsAllocatorCreate`, with options: 0 or `KSALLOCATOR_PREFAULT`.
///
/// Returns also `E_INVALIDARG`, for an unknown flag.
///
/// # Safety
///
/// Each pointer must be null or valid: `riid` for reads, `out` for writes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn KsAllocatorCreateWithFlags(
    riid: *const GUID,
    flags: u32,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: the caller promises that `out` is null or valid for writes.
    if !unsafe { clear_and_check(riid, out) } {
        return E_POINTER;
    }
    if flags & !KSALLOCATOR_PREFAULT != 0 {
        return E_INVALIDARG;
    }
    let options = FramePool::builder().prefault(flags & KSALLOCATOR_PREFAULT != 0);
    let allocator = match PoolAllocator::from_builder(&options) {
        Ok(allocator) => allocator,
        Err(error) => return error.into(),
    };
    let pointer = match ComAllocator::try_new(allocator) {
        Ok(allocator) => allocator.into_raw(),
        Err(error) => return error,
    };
    // SAFETY: `pointer` is an `IUnknown` with one reference, which belongs to the result.
    let allocator = unsafe { IUnknown::from_raw(pointer.as_ptr()) };
    // SAFETY: neither pointer is null, so the caller promises that both are valid.
    unsafe { allocator.query(riid, out) }
}

/// Writes a pointer to the interface `riid` of the class factory of `clsid` to `*out`. On failure
/// `*out` is null.
///
/// Returns `E_POINTER`, `CLASS_E_CLASSNOTAVAILABLE` or `E_NOINTERFACE`.
///
/// # Safety
///
/// Each pointer must be null or valid: `clsid` and `riid` for reads, `out` for writes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DllGetClassObject(
    clsid: *const GUID,
    riid: *const GUID,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: the caller promises that `out` is null or valid for writes.
    if !unsafe { clear_and_check(riid, out) } || clsid.is_null() {
        return E_POINTER;
    }
    // SAFETY: `clsid` is not null, so the caller promises that it is valid for reads.
    if unsafe { clsid.read() } != CLSID_KS_ALLOCATOR {
        return CLASS_E_CLASSNOTAVAILABLE;
    }
    // SAFETY: neither pointer is null, so the caller promises that both are valid.
    unsafe { factory_query_interface(factory(), riid, out) }
}

/// Returns `S_OK` if the DLL is not in use, and `S_FALSE` otherwise.
#[unsafe(no_mangle)]
pub extern "system" fn DllCanUnloadNow() -> HRESULT {
    // The factory is checked before the objects: as long as it is in use, it can create objects.
    // Acquire: pairs with the Release in `remove_use`, after the last use by that client.
    let in_use = USES.load(Ordering::Acquire) != 0 || com::object_count() != 0;
    if in_use { S_FALSE } else { S_OK }
}

/// Sets `*out` to null, as every failure leaves it, unless `out` is null. Returns whether neither
/// pointer is null.
///
/// # Safety
///
/// `out` must be null or valid for writes.
unsafe fn clear_and_check(riid: *const GUID, out: *mut *mut c_void) -> bool {
    if out.is_null() {
        return false;
    }
    // SAFETY: `out` is not null, so the caller promises that it is valid for writes.
    unsafe { out.write(ptr::null_mut()) };
    !riid.is_null()
}

/// Number of references to the factory and of locks by `LockServer`. The DLL must stay loaded while
/// there are any.
static USES: AtomicU32 = AtomicU32::new(0);

fn add_use() -> u32 {
    // Relaxed: the caller already has a reason to keep the DLL loaded.
    USES.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Subtracts one use. One too many leaves the count at zero.
fn remove_use() -> u32 {
    // Release: pairs with the Acquire in `DllCanUnloadNow`.
    let before = USES.fetch_update(Ordering::Release, Ordering::Relaxed, |n| n.checked_sub(1));
    before.map_or(0, |before| before - 1)
}

/// Vtable of `IClassFactory`. An object is a pointer to it and nothing else.
#[repr(C)]
struct FactoryVtable {
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

/// The only factory. It has no state and needs no heap memory.
static FACTORY: &FactoryVtable = &FactoryVtable {
    query_interface: factory_query_interface,
    add_ref: factory_add_ref,
    release: factory_release,
    create_instance: factory_create_instance,
    lock_server: factory_lock_server,
};

fn factory() -> *mut c_void {
    (&raw const FACTORY).cast_mut().cast()
}

/// # Safety
///
/// Each pointer must be null or valid: `riid` for reads, `out` for writes.
unsafe extern "system" fn factory_query_interface(
    this: *mut c_void,
    riid: *const GUID,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: the caller promises that `out` is null or valid for writes.
    if !unsafe { clear_and_check(riid, out) } {
        return E_POINTER;
    }
    // SAFETY: `riid` is not null, so the caller promises that it is valid for reads.
    let requested = unsafe { riid.read() };
    if requested != IUnknown::IID && requested != IID_ICLASSFACTORY {
        return E_NOINTERFACE;
    }
    add_use();
    // SAFETY: `out` is not null, so the caller promises that it is valid for writes.
    unsafe { out.write(this) };
    S_OK
}

extern "system" fn factory_add_ref(_this: *mut c_void) -> u32 {
    add_use()
}

extern "system" fn factory_release(_this: *mut c_void) -> u32 {
    remove_use()
}

/// # Safety
///
/// Each pointer must be null or valid: `riid` for reads, `out` for writes.
unsafe extern "system" fn factory_create_instance(
    _this: *mut c_void,
    outer: *mut c_void,
    riid: *const GUID,
    out: *mut *mut c_void,
) -> HRESULT {
    // SAFETY: the caller promises that `out` is null or valid for writes.
    if !unsafe { clear_and_check(riid, out) } {
        return E_POINTER;
    }
    if !outer.is_null() {
        return CLASS_E_NOAGGREGATION;
    }
    // SAFETY: neither pointer is null, so the caller promises that both are valid.
    unsafe { KsAllocatorCreate(riid, out) }
}

extern "system" fn factory_lock_server(_this: *mut c_void, lock: i32) -> HRESULT {
    if lock != 0 {
        add_use();
    } else {
        remove_use();
    }
    S_OK
}
