//! The types and functions of std, `parking_lot` and crossbeam behind the facade.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{Ordering, fence};
pub(crate) use std::thread::Thread;

use std::time::Instant;

#[cfg(ks_allocator_preempt)]
pub(crate) use super::preempted::{AtomicU64, AtomicUsize, NoAllocMutex};
#[cfg(not(ks_allocator_preempt))]
pub(crate) type AtomicU64 = std::sync::atomic::AtomicU64;
#[cfg(not(ks_allocator_preempt))]
pub(crate) type AtomicUsize = std::sync::atomic::AtomicUsize;
#[cfg(not(ks_allocator_preempt))]
pub(crate) type NoAllocMutex<T> = super::unmodeled::Mutex<T>;

pub(crate) type ArrayQueue<T> = crossbeam_queue::ArrayQueue<T>;
pub(crate) type NoAllocMutexGuard<'a, T> = std::sync::MutexGuard<'a, T>;
pub(crate) type Mutex<T> = parking_lot::Mutex<T>;
pub(crate) type OnceLock<T> = std::sync::OnceLock<T>;

#[cfg(feature = "windows")]
pub(crate) type AtomicU32 = std::sync::atomic::AtomicU32;
#[cfg(any(unix, windows, feature = "windows"))]
pub(crate) type AtomicPtr<T> = std::sync::atomic::AtomicPtr<T>;
#[cfg(feature = "windows")]
pub(crate) type AtomicCell<T> = crossbeam_utils::atomic::AtomicCell<T>;

/// `std::cell::UnsafeCell` with the interface of loom's.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer for reading.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer for reading and writing.
    #[inline]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Defines a thread-local with a constant initial value, which is there without an allocation.
macro_rules! const_thread_local {
    (static $name:ident: $type:ty = $init:expr) => {
        std::thread_local!(static $name: $type = const { $init });
    };
}
pub(crate) use const_thread_local;

/// Returns the calling thread, for another thread to unpark.
pub(crate) fn current_thread() -> Thread {
    std::thread::current()
}

/// Parks the calling thread until it is unparked or `deadline` has passed. It can also wake
/// spuriously. Returns `false` if no time was left, and did not park then.
pub(crate) fn park_until(deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        std::thread::park();
        return true;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    std::thread::park_timeout(left);
    true
}

/// Sleeps for a millisecond, in a loop that waits for a short and rare event.
pub(crate) fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}
