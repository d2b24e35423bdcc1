//! Telling a client that a sample came back.

use std::ffi::c_void;
use std::fmt;

use arc_swap::{ArcSwapOption, Guard};
use windows_core::Interface;

use crate::sync::{Arc, AtomicCell};

use super::boundary::Out;
use super::interfaces::IMemAllocatorNotifyCallbackTemp;
use super::object_count::ObjectCount;

/// The client's object that wants to know, if there is one. No lock is taken to find out.
#[derive(Debug, Default)]
pub(super) struct Notify {
    callback: ArcSwapOption<Callback>,
    used: AtomicCell<bool>,
}

impl Notify {
    /// Replaces the client's object; NULL for none. Whoever is about to call the old one still does.
    pub(super) fn set(&self, callback: &Out<c_void>) {
        let callback = callback.as_ptr();
        // SAFETY: NULL, or an object with this interface, as all that a client gives.
        let callback = unsafe { IMemAllocatorNotifyCallbackTemp::from_raw_borrowed(&callback) };
        let callback = callback.map(|callback| Arc::new(Callback(callback.clone())));
        let any = callback.is_some();
        let old = self.callback.swap(callback);
        if any {
            self.used.store(true);
        }
        drop(old);
    }

    /// Whether there ever was one: most allocators never have any, and need not look further.
    #[inline]
    pub(super) fn is_used(&self) -> bool {
        self.used.load()
    }

    /// The client's object, held on to until it is told: what gives the frame back may free `self`.
    #[cold]
    pub(super) fn hold(&self) -> Held {
        Held {
            callback: self.callback.load(),
            _alive: ObjectCount::new(),
        }
    }
}

struct Callback(IMemAllocatorNotifyCallbackTemp);

// SAFETY: the interface is documented to be called, and so to be released, on whatever thread gives a
// sample back.
#[expect(clippy::non_send_fields_in_send_ty, reason = "as argued above")]
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Callback").field(&self.0.as_raw()).finish()
    }
}

/// A client's object, if there is one, that is told when this is dropped: also if giving the frame back
/// panics.
pub(super) struct Held {
    callback: Guard<Option<Arc<Callback>>>,
    /// The frame that was given back may have been the last that kept this library in use. Dropped
    /// after the callback.
    _alive: ObjectCount,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(callback) = &*self.callback {
            // SAFETY: an object with this interface, on which we have a reference.
            let _ignored = unsafe { callback.0.NotifyRelease() };
        }
    }
}
