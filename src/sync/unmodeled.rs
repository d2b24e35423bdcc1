//! Types that are std's in every build, so that loom does not model them.
//!
//! They hold data that no model depends on (statistics, notes for reports, labels) or that is made
//! once. In statics they are also necessary: loom's types have no `const` constructors.

pub(crate) use std::sync::atomic::fence;

pub(crate) type Arc<T> = std::sync::Arc<T>;
pub(crate) type AtomicPtr<T> = std::sync::atomic::AtomicPtr<T>;
pub(crate) type AtomicU64 = std::sync::atomic::AtomicU64;
pub(crate) type AtomicU32 = std::sync::atomic::AtomicU32;
pub(crate) type AtomicUsize = std::sync::atomic::AtomicUsize;
pub(crate) type LazyLock<T> = std::sync::LazyLock<T>;
pub(crate) type OnceLock<T> = std::sync::OnceLock<T>;

/// `std::sync::Mutex` without poisoning.
///
/// No code of a user runs under these locks. If a thread panics there, an assertion of this crate
/// has failed before anything was changed, so the data is consistent.
#[derive(Debug)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Locks the mutex unless another thread has locked it.
    pub(crate) fn try_lock(&self) -> Option<std::sync::MutexGuard<'_, T>> {
        use std::sync::TryLockError;

        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
