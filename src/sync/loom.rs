//! Stand-ins for the types and functions of the facade in loom models.

pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::Arc;
pub(crate) use loom::sync::MutexGuard;
pub(crate) use loom::sync::atomic::{Ordering, fence};
pub(crate) use loom::thread::Thread;

use std::collections::VecDeque;
use std::time::Instant;

/// Defines an atomic of loom's that explores all orders of access.
///
/// loom tries another order only between an access and the *last* access before it to the same
/// atomic. In a `load` followed by a `compare_exchange`, the last access is the thread's own
/// load, which hides the accesses of other threads before it. So every access is preceded by one
/// to a second atomic, which is always a read-modify-write: there the last access is the relevant
/// one. That access is relaxed and synchronizes nothing, and the load itself can still return any
/// value that the memory model allows.
macro_rules! atomic {
    (
        $name:ident, $value:ty;
        $($method:ident($($argument:ident: $type:ty),+) $(-> $result:ty)?;)+
    ) => {
        #[derive(Debug)]
        pub(crate) struct $name {
            atomic: loom::sync::atomic::$name,
            accesses: loom::sync::atomic::AtomicUsize,
        }

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self {
                    atomic: loom::sync::atomic::$name::new(value),
                    accesses: loom::sync::atomic::AtomicUsize::new(0),
                }
            }

            $(pub(crate) fn $method(&self, $($argument: $type),+) $(-> $result)? {
                self.accesses.fetch_add(0, Ordering::Relaxed);
                self.atomic.$method($($argument),+)
            })+

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.accesses.fetch_add(0, Ordering::Relaxed);
                self.atomic.compare_exchange_weak(current, new, success, failure)
            }
        }
    };
}

with_methods!(atomic! AtomicU64, u64);
#[cfg(test)]
atomic! { AtomicU32, u32;
    load(order: Ordering) -> u32;
    store(value: u32, order: Ordering);
}
with_methods!(atomic! AtomicUsize, usize);

/// Defines a thread-local of the model's threads, all of which run in one thread of the system.
macro_rules! const_thread_local {
    (static $name:ident: $type:ty = $init:expr) => {
        loom::thread_local!(static $name: $type = $init);
    };
}
pub(crate) use const_thread_local;

/// loom's mutex without poisoning.
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .expect("a thread that panics with the lock has failed the model already")
    }
}

pub(crate) type NoAllocMutex<T> = Mutex<T>;
pub(crate) type NoAllocMutexGuard<'a, T> = MutexGuard<'a, T>;

/// Stand-in for crossbeam's `ArrayQueue`, which loom cannot model: a queue under a mutex of std's.
///
/// That is sound for the use of the queue in this crate: a stock of spare objects, whose order and
/// timing nothing depends on. The mutex is not loom's, so that the queue adds no interleavings.
#[derive(Debug)]
pub(crate) struct ArrayQueue<T> {
    items: std::sync::Mutex<VecDeque<T>>,
    capacity: usize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            items: std::sync::Mutex::new(VecDeque::new()),
            capacity,
        }
    }

    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock().expect("no code panics under this lock");
        if items.len() == self.capacity {
            return Err(item);
        }
        items.push_back(item);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        let mut items = self.items.lock().expect("no code panics under this lock");
        items.pop_front()
    }
}

pub(crate) fn current_thread() -> Thread {
    loom::thread::current()
}

/// Parks without a time limit: models have no clock. A model of a time-out calls the function that
/// handles it.
pub(crate) fn park_until(_deadline: Option<Instant>) -> bool {
    loom::thread::park();
    true
}

pub(crate) fn pause() {
    loom::thread::yield_now();
}

/// Returns 0: models do not look at thread ids.
pub(crate) fn thread_id() -> u32 {
    0
}
