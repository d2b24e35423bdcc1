//! Notification of a client when a sample is released.

use std::ffi::c_void;
use std::fmt;

use arc_swap::Guard;
use windows_core::{HRESULT, Interface};

use crate::sync::AtomicCell;

use super::boundary::Ptr;
use super::hresult::E_OUTOFMEMORY;
use super::interfaces::IMemAllocatorNotifyCallbackTemp;
use super::object_count::ObjectCount;
use super::shared::{Shared, SharedSwap};

/// The callback that a client registered, if any. Reading it takes no lock.
#[derive(Debug)]
pub(super) struct Notify {
    callback: SharedSwap<Callback>,
    was_set: AtomicCell<bool>,
}

impl Notify {
    /// Creates it without a callback.
    pub(super) fn new() -> Self {
        Self {
            callback: SharedSwap::from(None),
            was_set: AtomicCell::new(false),
        }
    }

    /// Replaces the callback; NULL removes it. A thread that is about to call the old callback
    /// still does.
    ///
    /// # Errors
    ///
    /// `E_OUTOFMEMORY`. The old callback stays.
    pub(super) fn set(&self, callback: &Ptr<c_void>) -> Result<(), HRESULT> {
        let callback = callback.as_ptr().cast_mut();
        // SAFETY: by `Ptr`, it is NULL or an object with the interface that `SetNotify` documents.
        let callback = unsafe { IMemAllocatorNotifyCallbackTemp::from_raw_borrowed(&callback) };
        let callback = match callback.map(|callback| Shared::try_new(Callback(callback.clone()))) {
            None => None,
            Some(Ok(shared)) => Some(shared),
            Some(Err(_)) => return Err(E_OUTOFMEMORY),
        };
        let is_some = callback.is_some();
        let old = self.callback.swap(callback);
        if is_some {
            self.was_set.store(true);
        }
        drop(old);
        Ok(())
    }

    /// Returns whether a callback was ever set. Most allocators never have one, and a release then
    /// needs to look no further.
    #[inline]
    pub(super) fn was_set(&self) -> bool {
        self.was_set.load()
    }

    /// Returns a value whose drop calls the current callback, even if `self` is freed before that.
    #[cold]
    pub(super) fn notify_on_drop(&self) -> NotifyOnDrop {
        NotifyOnDrop {
            callback: self.callback.load(),
            _object_count: ObjectCount::new(),
        }
    }
}

struct Callback(IMemAllocatorNotifyCallbackTemp);

// SAFETY: the interface documents that `NotifyRelease` is called on any thread that releases a
// sample. So the object supports calls, and the release of its references, on any thread.
#[expect(clippy::non_send_fields_in_send_ty, reason = "the comment argues it")]
unsafe impl Send for Callback {}
// SAFETY: several threads can release samples at the same time, and each calls `NotifyRelease`. So
// the object supports concurrent calls. References are cloned and dropped by `Shared` alone.
unsafe impl Sync for Callback {}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Callback").field(&self.0.as_raw()).finish()
    }
}

/// Calls the callback, if there is one, when it is dropped, even if the release of the frame
/// panics.
pub(super) struct NotifyOnDrop {
    callback: Guard<Option<Shared<Callback>>>,
    /// The released frame may have been the last object of this library. Dropped after `callback`,
    /// so that the library is not unloaded while the callback is called or released.
    _object_count: ObjectCount,
}

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        if let Some(callback) = &*self.callback {
            // SAFETY: the value is an object with this interface, and holds a reference to it.
            let _ignored = unsafe { callback.0.NotifyRelease() };
        }
    }
}
