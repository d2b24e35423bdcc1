//! Which segments are trapped, for a signal handler to look through: in any thread, at any moment, while
//! others come and go.
//!
//! A reader never waits and writes nothing but a count. It is only ever short at an entry, so whoever
//! takes an entry out waits for the readers that are at it.
//!
//! # The word of an entry
//!
//! | `READER`s | `LIVE` | `TAKEN` | the entry | its value | who may change the word |
//! |---|---|---|---|---|---|
//! | 0 | 0 | 0 | is free | of nobody | anybody, to take it |
//! | 0 | 0 | 1 | is being filled, or is out of use | the owner's, to be written | the owner |
//! | any | 1 | 1 | can be found | read by readers | readers, to come and go; the owner, to clear `LIVE` |
//! | some | 0 | 1 | is being taken out | read by readers that are left | readers, to go |
//!
//! # Invariants
//!
//! - **G1** Whoever takes the word from free to `TAKEN` is the entry's owner until it stores free again.
//! - **G2** The value is written only by the owner, while `LIVE` is clear and no reader is counted; and
//!   read only by readers, which are counted while `LIVE` is set, and until they are done.
//! - **G3** From when `LIVE` is cleared no reader comes. So once the count is down to 0, nobody looks at
//!   the value, or at what it leads to, when [`Registry::unregister`] returns.

use crate::sync::{AtomicUsize, Ordering, UnsafeCell, pause};

const FREE: usize = 0;
const TAKEN: usize = 1;
const LIVE: usize = 2;
const READER: usize = 4;

/// Entries, of which a segment has one.
const ENTRIES: usize = if cfg!(loom) { 1 } else { 64 };

/// Values that can be found, put in and taken out at the same time.
pub(super) struct Registry<T> {
    entries: [Entry<T>; ENTRIES],
}

struct Entry<T> {
    word: AtomicUsize,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written by one thread while nobody reads it, and read by any number while nobody
// writes it (G2); they see each other's accesses by the orderings argued below.
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

    /// Puts a value in, if there is room. The result is for [`unregister`](Self::unregister).
    pub(super) fn register(&self, value: T) -> Option<usize> {
        let taken = self.entries.iter().position(Entry::take)?;
        self.entries[taken].fill(value);
        Some(taken)
    }

    /// Takes out what `register` has put in. When it returns, nobody looks at the value any more (G3).
    pub(super) fn unregister(&self, taken: usize) {
        self.entries[taken].clear();
    }

    /// Shows `look` one value after the other until it returns true, and returns whether it did. What it
    /// is shown is not taken out while it looks, so it should be quick.
    ///
    /// Never waits: a signal handler may call it, whatever the thread was about.
    pub(super) fn find(&self, mut look: impl FnMut(&T) -> bool) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.at(&mut look).unwrap_or(false))
    }
}

impl<T: Copy> Entry<T> {
    /// Makes the caller the owner, if there is none (G1).
    fn take(&self) -> bool {
        // Acquire: pairs with the Release in `clear` of the owner before; what its readers read was read
        // before we write.
        // mutant: entry-take
        self.word
            .compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// To be called by the owner, once.
    fn fill(&self, value: T) {
        self.value.with_mut(|slot| {
            // SAFETY: the caller is the owner, and `LIVE` was never set since, so nobody reads (G2).
            unsafe { *slot = Some(value) }
        });
        // Release: pairs with the Acquire in `enter`, hands over the value and what it leads to.
        // mutant: entry-fill
        self.word.store(TAKEN | LIVE, Ordering::Release);
    }

    /// To be called by the owner, once, after `fill`.
    fn clear(&self) {
        // Relaxed: nothing is handed over. That no reader comes after it is a matter of this word alone.
        // mutant: entry-not-live
        self.word.fetch_and(!LIVE, Ordering::Relaxed);
        // Acquire: pairs with the Release in `leave` of every reader (exchanges of this word in between,
        // ours included, carry it on); what they read was read before it goes.
        // mutant: entry-waits-for-readers
        while self.word.load(Ordering::Acquire) != TAKEN {
            pause();
        }
        // Release: pairs with the Acquire in `take`.
        // mutant: entry-free
        self.word.store(FREE, Ordering::Release);
    }

    /// Shows `look` the value, if there is one to be found.
    fn at<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        if !self.enter() {
            return None;
        }
        let result = self.value.with(|value| {
            // SAFETY: we are counted, and came while `LIVE` was set, so nobody writes (G2).
            unsafe { &*value }.as_ref().map(look)
        });
        self.leave();
        result
    }

    /// Counts a reader, if the entry can be found.
    fn enter(&self) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        // mutant: entry-enter-if-live
        while seen & LIVE != 0 {
            // Acquire: pairs with the Release in `fill`; readers that came and went in between carry it on.
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
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let registry = Registry::new();
        let (one, two) = (registry.register(1).unwrap(), registry.register(2).unwrap());
        assert!(registry.find(|&value| value == 1) && registry.find(|&value| value == 2));
        registry.unregister(one);
        assert!(!registry.find(|&value| value == 1) && registry.find(|&value| value == 2));
        registry.unregister(two);
        assert!(!registry.find(|_| true));
    }

    #[test]
    fn one_too_many_is_refused_and_there_is_room_again_after_it() {
        let registry = Registry::new();
        let taken: Vec<_> = (0..ENTRIES).map(|value| registry.register(value)).collect();
        assert!(taken.iter().all(Option::is_some));
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

    /// Stands for a pool, which whoever has taken it out of the registry may free: to loom, a write.
    type Pool = Arc<UnsafeCell<usize>>;

    /// What is put into the registry: it leads to a pool.
    #[derive(Clone, Copy)]
    struct Leads(*const UnsafeCell<usize>);

    // SAFETY: the models are about when it is followed.
    unsafe impl Send for Leads {}
    // SAFETY: as above.
    unsafe impl Sync for Leads {}

    fn pool(content: usize) -> (Pool, Leads) {
        let pool = Arc::new(UnsafeCell::new(content));
        let leads = Leads(&raw const *pool);
        (pool, leads)
    }

    fn free(pool: &Pool) {
        // SAFETY: the models are about whether anybody reads at the same time.
        pool.with_mut(|content| unsafe { *content = 0 });
    }

    /// Follows what is in the only entry, as a handler does.
    fn read(registry: &Registry<Leads>) -> Option<usize> {
        registry.entries[0].at(|leads| {
            // SAFETY: the pools of a model live as long as its threads.
            let pool = unsafe { &*leads.0 };
            // SAFETY: the models are about whether anybody writes at the same time.
            pool.with(|content| unsafe { *content })
        })
    }

    fn registry() -> Arc<Registry<Leads>> {
        Arc::new(Registry::new())
    }

    /// G2: what is found is whole, and so is what it leads to.
    ///
    /// Kills: `Release` to `Relaxed` in `fill`; `Acquire` to `Relaxed` in `enter`; `enter` not looking at
    /// `LIVE`.
    #[test]
    fn whoever_finds_an_entry_sees_all_of_it() {
        loom::model(|| {
            let registry = registry();
            let reader = {
                let registry = registry.clone();
                thread::spawn(move || read(&registry))
            };
            let (pool, leads) = pool(0);
            // SAFETY: nobody has the pool yet.
            pool.with_mut(|content| unsafe { *content = 7 });
            registry.register(leads).unwrap();
            assert!(matches!(reader.join().unwrap(), None | Some(7)));
        });
    }

    /// G3: what was taken out is looked at by nobody, whoever was at it.
    ///
    /// Kills: `clear` not waiting, not clearing `LIVE` first, or waiting with `Relaxed`; `Release` to
    /// `Relaxed` in `leave`; readers that are not counted.
    #[test]
    fn whoever_takes_an_entry_out_may_free_the_pool() {
        loom::model(|| {
            let registry = registry();
            let (pool, leads) = pool(7);
            let taken = registry.register(leads).unwrap();
            let readers: [_; 2] = std::array::from_fn(|_| {
                let registry = registry.clone();
                thread::spawn(move || read(&registry))
            });
            registry.unregister(taken);
            free(&pool);
            for reader in readers {
                assert!(matches!(reader.join().unwrap(), None | Some(7)));
            }
        });
    }

    /// G1, G2: an entry that is used again by another thread has one owner at a time, and readers of either
    /// value see that value.
    ///
    /// Kills: `Release` to `Relaxed` where `clear` stores `FREE`; `Acquire` to `Relaxed` in `take`; `take`
    /// in two steps.
    #[test]
    fn an_entry_has_one_owner_after_the_other() {
        loom::model(|| {
            let registry = registry();
            let reader = {
                let registry = registry.clone();
                thread::spawn(move || read(&registry))
            };
            let other = {
                let registry = registry.clone();
                thread::spawn(move || come_and_go(&registry, 8))
            };
            come_and_go(&registry, 7);
            other.join().unwrap();
            assert!(matches!(reader.join().unwrap(), None | Some(7 | 8)));
        });
    }

    fn come_and_go(registry: &Registry<Leads>, content: usize) {
        let (pool, leads) = pool(content);
        if let Some(taken) = registry.register(leads) {
            registry.unregister(taken);
            free(&pool);
        }
    }
}
