//! Exception handler for memory access faults.
//!
//! The handler reports the address of a fault and lets the search for a handler continue. It is
//! installed once and never removed.

use windows_sys::Win32::Foundation::EXCEPTION_ACCESS_VIOLATION;
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, EXCEPTION_CONTINUE_SEARCH, EXCEPTION_POINTERS,
};

use crate::sync::OnceLock;

/// The function that the handler calls with the address of a fault.
static REPORT: OnceLock<fn(usize)> = OnceLock::new();

/// Installs the handler on the first call. It calls `report` with the address of each fault.
///
/// It runs after the vectored handlers that exist: a fault that they handle needs no report.
pub(crate) fn install(report: fn(usize)) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    REPORT.get_or_init(|| report);
    INSTALLED.get_or_init(|| {
        // SAFETY: `on_fault` has the signature of a handler and exists until the process ends.
        let handle = unsafe { AddVectoredExceptionHandler(0, Some(on_fault)) };
        // The handler is never removed. On a system that refuses it, faults are not reported.
        let _unused = handle;
    });
}

/// The exception handler.
///
/// # Safety
///
/// Only the system calls it.
unsafe extern "system" fn on_fault(exception: *mut EXCEPTION_POINTERS) -> i32 {
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
    EXCEPTION_CONTINUE_SEARCH
}
