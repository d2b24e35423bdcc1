//! A COM object that the tests implement: a callback whose references and calls are counted.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::vtables::{E_NOINTERFACE, Guid, Hresult, In, MemAllocatorNotifyCallbackTemp, Out, S_OK};

/// An `IMemAllocatorNotifyCallbackTemp` that lives as long as its test, however many references
/// there are: these are only counted.
#[repr(C)]
pub(crate) struct Callback {
    table: *const MemAllocatorNotifyCallbackTemp,
    references: AtomicI32,
    calls: AtomicI32,
    answer: Hresult,
    on_release: Box<dyn Fn() + Send + Sync>,
}

// SAFETY: the table is a constant; the rest may go from thread to thread.
unsafe impl Send for Callback {}

// SAFETY: the table is a constant, the counts are atomic and the closure may be called by many.
unsafe impl Sync for Callback {}

static TABLE: MemAllocatorNotifyCallbackTemp =
    MemAllocatorNotifyCallbackTemp::new(query_interface, add_ref, release, notify_release);

impl Callback {
    /// Does nothing but count.
    pub(crate) fn new() -> Arc<Self> {
        Self::that(|| {})
    }

    /// Counts, and then does this on each `NotifyRelease`.
    pub(crate) fn that(on_release: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Self::that_answers(S_OK, on_release)
    }

    pub(crate) fn that_answers(
        answer: Hresult,
        on_release: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: &raw const TABLE,
            references: AtomicI32::new(0),
            calls: AtomicI32::new(0),
            answer,
            on_release: Box::new(on_release),
        })
    }

    /// The interface pointer. The test gives no reference away with it.
    pub(crate) fn as_ptr(self: &Arc<Self>) -> *mut c_void {
        Arc::as_ptr(self).cast_mut().cast()
    }

    /// RefCount that others hold.
    pub(crate) fn references(&self) -> i32 {
        self.references.load(Ordering::SeqCst)
    }

    /// How often `NotifyRelease` was called.
    pub(crate) fn calls(&self) -> i32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// # Safety
    ///
    /// `this` came from `as_ptr`, and the test has not ended.
    unsafe fn from_ptr<'a>(this: *mut c_void) -> &'a Self {
        // SAFETY: by the condition above.
        unsafe { &*this.cast::<Self>() }
    }
}

extern "system" fn query_interface(
    _: *mut c_void,
    _: In<'_, Guid>,
    out: Out<'_, *mut c_void>,
) -> Hresult {
    if let Some(out) = out {
        *out = std::ptr::null_mut();
    }
    E_NOINTERFACE
}

unsafe extern "system" fn add_ref(this: *mut c_void) -> u32 {
    // SAFETY: the caller's pointer is one that a test gave it.
    let callback = unsafe { Callback::from_ptr(this) };
    let references = callback.references.fetch_add(1, Ordering::SeqCst) + 1;
    references.unsigned_abs()
}

unsafe extern "system" fn release(this: *mut c_void) -> u32 {
    // SAFETY: the caller's pointer is one that a test gave it.
    let callback = unsafe { Callback::from_ptr(this) };
    let references = callback.references.fetch_sub(1, Ordering::SeqCst) - 1;
    references.unsigned_abs()
}

unsafe extern "system" fn notify_release(this: *mut c_void) -> Hresult {
    // SAFETY: the caller's pointer is one that a test gave it.
    let callback = unsafe { Callback::from_ptr(this) };
    callback.calls.fetch_add(1, Ordering::SeqCst);
    (callback.on_release)();
    callback.answer
}
