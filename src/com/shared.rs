//! Shared ownership of a heap value whose allocation reports failure.
//!
//! `Arc::new` ends the process if there is no memory, and a filter runs in the process of other
//! programs. The fallible form of `Arc::new` is unstable.
//!
//! The count is a [`RefCount`]: one per `Shared`, including those that were turned into pointers.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use arc_swap::{ArcSwapAny, RefCnt};

use crate::memory::try_box;
use crate::ref_count::RefCount;

/// A counted reference to a `T` on the heap.
pub(super) struct Shared<T>(NonNull<Block<T>>);

/// A value that can be read, and replaced, by all threads without a lock.
pub(super) type SharedSwap<T> = ArcSwapAny<Option<Shared<T>>>;

pub(super) struct Block<T> {
    references: RefCount,
    value: T,
}

// SAFETY: a `Shared` gives shared access to the value, which `T: Sync` allows on any thread, and
// the last one drops it on its thread, which `T: Send` allows.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: a `&Shared` gives shared access to the value, and new `Shared`s, which may be dropped on
// another thread. `T: Send + Sync` allows both.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Moves a value to the heap. Returns it if there is no memory.
    pub(super) fn try_new(value: T) -> Result<Self, T> {
        let block = Block {
            references: RefCount::new(),
            value,
        };
        block.references.add_first();
        match try_box(block) {
            Ok(block) => Ok(Self(NonNull::from(Box::leak(block)))),
            Err(block) => Err(block.value),
        }
    }

    fn block(&self) -> &Block<T> {
        // SAFETY: the block has a reference as long as `self` lives, and is freed without one. Only
        // its count, which is atomic, is written to.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        // Not 0, because `self` is a reference. A count that reaches the maximum stays there, and
        // the block is never freed.
        self.block().references.add();
        Self(self.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.block().value
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the block is valid until the removal. Only the count is borrowed, because another
        // thread may free the block before `remove` returns.
        let references = unsafe { &self.0.as_ref().references };
        if references.remove() == Some(0) {
            // SAFETY: no reference is left, so this thread owns the block (RC1), which `try_new`
            // made as a `Box`.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

// SAFETY: the pointer is that of the block, which never moves, and which no other type counts.
// `clone` and `drop` cancel each other out. `clone` never panics, and neither does the drop of the
// values that this crate shares.
unsafe impl<T> RefCnt for Shared<T> {
    type Base = Block<T>;

    fn into_ptr(me: Self) -> *mut Block<T> {
        ManuallyDrop::new(me).0.as_ptr()
    }

    fn as_ptr(me: &Self) -> *mut Block<T> {
        me.0.as_ptr()
    }

    unsafe fn from_ptr(block: *const Block<T>) -> Self {
        // SAFETY: by the promise of the caller, `into_ptr` returned it, so it is not NULL.
        Self(unsafe { NonNull::new_unchecked(block.cast_mut()) })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crate::sync::{AtomicUsize, Ordering};

    use super::*;

    struct CountsDrops<'a>(&'a AtomicUsize);

    impl Drop for CountsDrops<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_shared_value_is_dropped_once_with_its_last_reference() {
        let drops = AtomicUsize::new(0);
        let shared = Shared::try_new(CountsDrops(&drops)).ok().unwrap();
        let clones: Vec<_> = (0..4).map(|_| shared.clone()).collect();
        thread::scope(|scope| {
            for clone in clones {
                scope.spawn(move || drop(clone.clone()));
            }
        });
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        drop(shared);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_replaced_value_is_kept_for_its_readers() {
        let drops = AtomicUsize::new(0);
        let swap = SharedSwap::from(Shared::try_new(CountsDrops(&drops)).ok());
        let reader = swap.load();
        drop(swap.swap(None));
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        drop(reader);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }
}
