//! Exception handler for memory access faults.
//!
//! The handler reports the address of a fault and lets the search for a handler continue. It is
//! code of the library that contains this crate, and so is removed before that is unloaded.

use std::ffi::c_void;
use std::ptr;

use windows_sys::Win32::Foundation::EXCEPTION_ACCESS_VIOLATION;
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, EXCEPTION_CONTINUE_SEARCH, EXCEPTION_POINTERS,
    RemoveVectoredExceptionHandler,
};
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};

use crate::sync::{AtomicPtr, AtomicUsize, OnceLock, Ordering};

/// The function that the handler calls with the address of a fault.
static REPORT: OnceLock<fn(usize)> = OnceLock::new();

/// The system's handle of the handler; NULL while it is not installed. The callers of `install` and
/// `remove` exclude each other.
static HANDLE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Number of threads in the handler.
static HANDLING: AtomicUsize = AtomicUsize::new(0);

/// Installs the handler. It calls `report` with the address of each fault.
///
/// It runs after the vectored handlers that exist: a fault that they handle needs no report.
pub(crate) fn install(report: fn(usize)) {
    REPORT.get_or_init(|| report);
    if HANDLE.load(Ordering::Relaxed).is_null() {
        // SAFETY: `on_fault` has the signature of a handler. It exists until `remove` is called,
        // and longer if that fails.
        let handle = unsafe { AddVectoredExceptionHandler(0, Some(on_fault)) };
        // On a system that refuses the handler, faults are not reported.
        HANDLE.store(handle, Ordering::Relaxed);
    }
}

/// Removes the handler, or keeps this library loaded if it may still be called.
pub(crate) fn remove() {
    let handle = HANDLE.load(Ordering::Relaxed);
    // SAFETY: the handle is that of an installed handler, which is removed once, or NULL.
    let removed = handle.is_null() || unsafe { RemoveVectoredExceptionHandler(handle) } != 0;
    if removed {
        HANDLE.store(ptr::null_mut(), Ordering::Relaxed);
    }
    // Acquire: pairs with the Release in `on_fault`. The handler has read what is in this library
    // before it is unloaded.
    if !removed || HANDLING.load(Ordering::Acquire) != 0 {
        keep_loaded();
    }
}

/// Keeps the library or program that contains this crate loaded until the process ends.
fn keep_loaded() {
    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
    let mut module = ptr::null_mut();
    // SAFETY: with these flags the second argument is an address in the module, and `module` has
    // room for the result. The call does not fail for the module that makes it.
    unsafe { GetModuleHandleExW(flags, (&raw const HANDLE).cast(), &raw mut module) };
}

/// The exception handler.
///
/// # Safety
///
/// Only the system calls it.
unsafe extern "system" fn on_fault(exception: *mut EXCEPTION_POINTERS) -> i32 {
    // Relaxed: `remove` cannot see a thread that the system is about to send here in any case.
    HANDLING.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the system passes valid pointers to a handler.
    let record = unsafe { (*exception).ExceptionRecord };
    // SAFETY: the record is valid until the handler returns, and the system does not change it.
    let record = unsafe { &*record };
    // The first parameter of an access violation is the kind of access, the second the address.
    if record.ExceptionCode == EXCEPTION_ACCESS_VIOLATION && record.NumberParameters >= 2 {
        if let Some(report) = REPORT.get() {
            report(record.ExceptionInformation[1]);
        }
    }
    // Release: pairs with the Acquire in `remove`.
    HANDLING.fetch_sub(1, Ordering::Release);
    EXCEPTION_CONTINUE_SEARCH
}
