//! Set of values that a signal handler can read in any thread at any moment, while other threads
//! add and remove values. It holds the guarded segments.
//!
//! A reader never waits, and writes only a count. It is at an entry for a short time, so the thread
//! that removes a value waits until no reader is at its entry.
//!
//! # The word of an entry
//!
//! | readers | `LIVE` | `TAKEN` | state | access to the value | threads that may change the word |
//! |---|---|---|---|---|---|
//! | 0 | 0 | 0 | free | none | any, to take the entry |
//! | 0 | 0 | 1 | being filled, or removed | the owner may write | the owner |
//! | any | 1 | 1 | live | readers read | readers, to be counted; the owner, to clear `LIVE` |
//! | some | 0 | 1 | being removed | counted readers read | readers, to leave |
//!
//! The count of readers starts at bit 2: each adds `READER`.
//!
//! # Invariants
//!
//! - **G1** The thread that changes the word from `FREE` to `TAKEN` owns the entry until `FREE` is
//!   stored again. Ownership goes with the index that [`Registry::register`] returns.
//! - **G2** Only the owner writes the value, while `LIVE` is clear and no reader is counted. Only
//!   readers read it, after they were counted while `LIVE` was set, and until they leave.
//! - **G3** After `LIVE` is cleared, no reader is counted any more. Once the count is 0, no thread
//!   reads the value or memory that it points to. [`Registry::unregister`] returns after that.

use crate::sync::{AtomicUsize, Ordering, UnsafeCell, pause};

const FREE: usize = 0;
const TAKEN: usize = 1;
const LIVE: usize = 2;
const READER: usize = 4;

/// Maximum number of values.
const ENTRIES: usize = if cfg!(all(test, loom)) { 1 } else { 64 };

/// A set of values with concurrent readers.
#[derive(Debug)]
pub(super) struct Registry<T> {
    entries: [Entry<T>; ENTRIES],
}

#[derive(Debug)]
struct Entry<T> {
    word: AtomicUsize,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: one thread writes the value while no thread reads it, and any number of threads read it
// while no thread writes it (G2). The orderings below order these accesses.
unsafe impl<T: Send + Sync> Sync for Entry<T> {}

impl<T: Copy> Registry<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: std::array::from_fn(|_| Entry {
                word: AtomicUsize::new(FREE),
                value: UnsafeCell::new(None),
            }),
        }
    }

    /// Adds a value, and returns the index of its entry for [`unregister`](Self::unregister), or
    /// `None` if the registry is full.
    pub(super) fn register(&self, value: T) -> Option<usize> {
        let index = self.entries.iter().position(Entry::take)?;
        self.entries[index].fill(value);
        Some(index)
    }

    /// Removes a value. When it returns, no thread reads the value any more (G3).
    pub(super) fn unregister(&self, index: usize) {
        self.entries[index].clear();
    }

    /// Calls `visit` with each value until it returns true, and returns whether it did.
    ///
    /// A value is not removed while it is visited, so `visit` should be short. The function never
    /// waits: a signal handler may call it, whatever the thread was doing.
    pub(super) fn find(&self, mut visit: impl FnMut(&T) -> bool) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.read(&mut visit).unwrap_or(false))
    }
}

impl<T: Copy> Entry<T> {
    /// Makes the caller the owner, if there is none (G1).
    fn take(&self) -> bool {
        // Acquire: pairs with the Release in `clear` by the previous owner. Its readers have read
        // the value before this owner writes it.
        // mutant: entry-take
        self.word
            .compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Stores the value and makes the entry live. The owner calls it once.
    fn fill(&self, value: T) {
        self.value.with_mut(|place| {
            // SAFETY: the caller owns the entry and has not set `LIVE` since it took the entry, so
            // no thread reads the value (G2).
            unsafe { *place = Some(value) }
        });
        // Release: pairs with the Acquire in `enter`, publishes the value and the memory it points
        // to.
        // mutant: entry-fill
        self.word.store(TAKEN | LIVE, Ordering::Release);
    }

    /// Waits for the readers and frees the entry. The owner calls it once, after `fill`.
    fn clear(&self) {
        // Relaxed: nothing is published. The modification order of this word alone keeps later
        // readers from being counted.
        // mutant: entry-not-live
        self.word.fetch_and(!LIVE, Ordering::Relaxed);
        // Acquire: pairs with the Release in `leave` of every reader; the read-modify-writes of
        // this word in between continue the release sequence. Readers have read the value before
        // the caller frees what it points to.
        // mutant: entry-waits-for-readers
        while self.word.load(Ordering::Acquire) != TAKEN {
            pause();
        }
        // Release: pairs with the Acquire in `take`.
        // mutant: entry-free
        self.word.store(FREE, Ordering::Release);
    }

    /// Calls `visit` with the value, if the entry is live.
    fn read<R>(&self, visit: impl FnOnce(&T) -> R) -> Option<R> {
        if !self.enter() {
            return None;
        }
        let result = self.value.with(|value| {
            // SAFETY: this reader was counted while `LIVE` was set, so no thread writes the value
            // (G2).
            unsafe { &*value }.as_ref().map(visit)
        });
        self.leave();
        result
    }

    /// Counts a reader and returns true, if the entry is live.
    fn enter(&self) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        // mutant: entry-enter-if-live
        while seen & LIVE != 0 {
            // Acquire: pairs with the Release in `fill`; the read-modify-writes of other readers
            // in between continue the release sequence.
            // mutant: entry-enter
            let entered = self.word.compare_exchange_weak(
                seen,
                seen + READER,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match entered {
                // mutant: entry-entered
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Ends the reading of a counted reader.
    fn leave(&self) {
        // Release: pairs with the Acquire in `clear`.
        // mutant: entry-leave
        self.word.fetch_sub(READER, Ordering::Release);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_registered_value_is_found_until_it_is_unregistered() {
        let registry = Registry::new();
        let (one, two) = (registry.register(1).unwrap(), registry.register(2).unwrap());
        assert!(registry.find(|&value| value == 1) && registry.find(|&value| value == 2));
        registry.unregister(one);
        assert!(!registry.find(|&value| value == 1) && registry.find(|&value| value == 2));
        registry.unregister(two);
        assert!(!registry.find(|_| true));
    }

    #[test]
    fn a_full_registry_rejects_a_value_until_another_is_unregistered() {
        let registry = Registry::new();
        let entries: Vec<_> = (0..ENTRIES).map(|value| registry.register(value)).collect();
        assert!(entries.iter().all(Option::is_some));
        assert_eq!(registry.register(ENTRIES), None);
        registry.unregister(7);
        assert_eq!(registry.register(ENTRIES), Some(7));
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use loom::thread;

    use crate::sync::Arc;

    use super::*;

    /// Stands for a pool. The thread that has unregistered it may free it; in the models, it
    /// writes.
    type Pool = Arc<UnsafeCell<usize>>;

    /// The value in the registry: a pointer to a pool.
    #[derive(Clone, Copy)]
    struct PoolPointer(*const UnsafeCell<usize>);

    // SAFETY: the pools of a model outlive its threads, and loom checks every access to them.
    unsafe impl Send for PoolPointer {}
    // SAFETY: the pools of a model outlive its threads, and loom checks every access to them.
    unsafe impl Sync for PoolPointer {}

    fn pool(content: usize) -> (Pool, PoolPointer) {
        let pool = Arc::new(UnsafeCell::new(content));
        let pointer = PoolPointer(&raw const *pool);
        (pool, pointer)
    }

    fn free(pool: &Pool) {
        // SAFETY: loom fails the model if another thread accesses the content at the same time.
        pool.with_mut(|content| unsafe { *content = 0 });
    }

    /// Reads the pool of the only entry, as a fault handler does.
    fn read(registry: &Registry<PoolPointer>) -> Option<usize> {
        registry.entries[0].read(|pointer| {
            // SAFETY: the pools of a model outlive its threads.
            let pool = unsafe { &*pointer.0 };
            // SAFETY: loom fails the model if another thread writes the content at the same time.
            pool.with(|content| unsafe { *content })
        })
    }

    fn registry() -> Arc<Registry<PoolPointer>> {
        Arc::new(Registry::new())
    }

    /// G2: a reader sees the complete value, and the complete memory that it points to.
    ///
    /// Kills: `Release` to `Relaxed` in `fill`; `Acquire` to `Relaxed` in `enter`; `enter` not
    /// checking `LIVE`.
    #[test]
    fn a_reader_sees_a_complete_entry() {
        loom::model(|| {
            let registry = registry();
            let reader = {
                let registry = registry.clone();
                thread::spawn(move || read(&registry))
            };
            let (pool, pointer) = pool(0);
            // SAFETY: no other thread has the pool yet.
            pool.with_mut(|content| unsafe { *content = 7 });
            registry.register(pointer).unwrap();
            assert!(matches!(reader.join().unwrap(), None | Some(7)));
        });
    }

    /// G3: no thread reads a value that was removed, whatever readers were at it.
    ///
    /// Kills: `clear` not waiting, not clearing `LIVE` first, or waiting with `Relaxed`; `Release`
    /// to `Relaxed` in `leave`; readers that are not counted.
    #[test]
    fn a_pool_may_be_freed_after_its_entry_is_removed() {
        loom::model(|| {
            let registry = registry();
            let (pool, pointer) = pool(7);
            let entry = registry.register(pointer).unwrap();
            let readers: [_; 2] = std::array::from_fn(|_| {
                let registry = registry.clone();
                thread::spawn(move || read(&registry))
            });
            registry.unregister(entry);
            free(&pool);
            for reader in readers {
                assert!(matches!(reader.join().unwrap(), None | Some(7)));
            }
        });
    }

    /// G1, G2: an entry that another thread reuses has one owner at a time, and a reader of either
    /// value sees that value.
    ///
    /// Kills: `Release` to `Relaxed` where `clear` stores `FREE`; `Acquire` to `Relaxed` in `take`;
    /// `take` in two steps.
    #[test]
    fn an_entry_has_one_owner_at_a_time() {
        loom::model(|| {
            let registry = registry();
            let reader = {
                let registry = registry.clone();
                thread::spawn(move || read(&registry))
            };
            let other = {
                let registry = registry.clone();
                thread::spawn(move || register_and_unregister(&registry, 8))
            };
            register_and_unregister(&registry, 7);
            other.join().unwrap();
            assert!(matches!(reader.join().unwrap(), None | Some(7 | 8)));
        });
    }

    fn register_and_unregister(registry: &Registry<PoolPointer>, content: usize) {
        let (pool, pointer) = pool(content);
        if let Some(entry) = registry.register(pointer) {
            registry.unregister(entry);
            free(&pool);
        }
    }
}
