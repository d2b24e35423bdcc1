//! COM object that the tests implement: a callback that counts its references and calls.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::vtables::{
    E_NOINTERFACE, Guid, Hresult, MemAllocatorNotifyCallbackTemp, OutPtr, Ptr, S_OK,
};

/// An `IMemAllocatorNotifyCallbackTemp` that the test owns. Its reference count is recorded and
/// does not control its lifetime.
#[repr(C)]
pub(crate) struct Callback {
    vtable: *const MemAllocatorNotifyCallbackTemp,
    references: AtomicI32,
    calls: AtomicI32,
    result: Hresult,
    action: Box<dyn Fn() + Send + Sync>,
}

// SAFETY: the pointer leads to a static, and all other fields are `Send`.
unsafe impl Send for Callback {}

// SAFETY: the pointer leads to a static, and all other fields are `Sync`.
unsafe impl Sync for Callback {}

static VTABLE: MemAllocatorNotifyCallbackTemp =
    MemAllocatorNotifyCallbackTemp::new(query_interface, add_ref, release, notify_release);

impl Callback {
    /// Creates a callback that only counts.
    pub(crate) fn new() -> Arc<Self> {
        Self::with_action(|| {})
    }

    /// Creates a callback that counts and then runs `action` on each `NotifyRelease`.
    pub(crate) fn with_action(action: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Self::with_result(S_OK, action)
    }

    /// Creates a callback that returns `result` from `NotifyRelease`.
    pub(crate) fn with_result(
        result: Hresult,
        action: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            vtable: &raw const VTABLE,
            references: AtomicI32::new(0),
            calls: AtomicI32::new(0),
            result,
            action: Box::new(action),
        })
    }

    /// Returns the interface pointer. No reference comes with it.
    pub(crate) fn as_ptr(self: &Arc<Self>) -> *mut c_void {
        Arc::as_ptr(self).cast_mut().cast()
    }

    /// Returns the number of references that the code under test holds.
    pub(crate) fn references(&self) -> i32 {
        self.references.load(Ordering::SeqCst)
    }

    /// Returns the number of calls of `NotifyRelease`.
    pub(crate) fn calls(&self) -> i32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// # Safety
    ///
    /// `this` came from `as_ptr`, and the test still owns the callback.
    unsafe fn from_ptr<'a>(this: *mut c_void) -> &'a Self {
        // SAFETY: `as_ptr` returns the address of a `Callback`, which is alive as long as the test
        // owns it.
        unsafe { &*this.cast::<Self>() }
    }
}

extern "system" fn query_interface(
    _: *mut c_void,
    _: Ptr<'_, Guid>,
    out: OutPtr<'_, *mut c_void>,
) -> Hresult {
    if let Some(out) = out {
        *out = ptr::null_mut();
    }
    E_NOINTERFACE
}

unsafe extern "system" fn add_ref(this: *mut c_void) -> u32 {
    // SAFETY: the caller got the pointer from a test, which owns the callback until its end.
    let callback = unsafe { Callback::from_ptr(this) };
    let references = callback.references.fetch_add(1, Ordering::SeqCst) + 1;
    references.unsigned_abs()
}

unsafe extern "system" fn release(this: *mut c_void) -> u32 {
    // SAFETY: the caller got the pointer from a test, which owns the callback until its end.
    let callback = unsafe { Callback::from_ptr(this) };
    let references = callback.references.fetch_sub(1, Ordering::SeqCst) - 1;
    references.unsigned_abs()
}

unsafe extern "system" fn notify_release(this: *mut c_void) -> Hresult {
    // SAFETY: the caller got the pointer from a test, which owns the callback until its end.
    let callback = unsafe { Callback::from_ptr(this) };
    callback.calls.fetch_add(1, Ordering::SeqCst);
    (callback.action)();
    callback.result
}
