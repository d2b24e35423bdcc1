//! Counting the references on something that is lent, given back and lent again, and is not freed in
//! between: a COM sample.
//!
//! | count | who may do what |
//! |---|---|
//! | 0 | at home; whoever owns it may [`lend`](RefCount::lend) it |
//! | n | lent; each of n holders may use it, [`add`](RefCount::add) or [`remove`](RefCount::remove) |
//!
//! # Invariants
//!
//! - **R1** As long as nobody removes more than it has, only one of those who remove references is told
//!   that none is left, once for each time it was lent. It is the owner from then on, and all that the
//!   others did with it has happened before.
//! - **R2** At 0 nothing can be added or removed: who removes one too many, after the last, finds that
//!   there is none. (Acquirer does so before the last takes another's, which no count can tell.)

use crate::sync::{AtomicU32, Ordering};

/// A count of references.
///
/// A type of its own, and nothing but an atomic, because [`remove`](Self::remove) runs on after what
/// is counted may be somebody else's, or gone: nothing else of it may be borrowed then.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct RefCount(AtomicU32);

impl RefCount {
    /// At home.
    pub(crate) fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Makes the first reference. Only the owner may.
    #[inline]
    pub(crate) fn lend(&self) {
        // Relaxed: whoever gets the reference gets it from the owner, with all else.
        self.0.store(1, Ordering::Relaxed);
    }

    /// Counts one more. Returns how many there are now: 0 if there was none to begin with.
    #[inline]
    pub(crate) fn add(&self) -> u32 {
        // Relaxed: the new reference comes from one that is not given up meanwhile.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let more = match seen {
                // R2; and at the largest number the count stays for ever.
                0 | u32::MAX => return seen,
                _ => seen + 1,
            };
            // Relaxed: as above.
            let exchanged =
                self.0
                    .compare_exchange_weak(seen, more, Ordering::Relaxed, Ordering::Relaxed);
            match exchanged {
                Ok(_) => return more,
                Err(now) => seen = now,
            }
        }
    }

    /// Counts one less. Returns how many are left, or `None` if there was none.
    #[inline]
    pub(crate) fn remove(&self) -> Option<u32> {
        // Acquire: pairs with the Release below, by which all others have left (R1).
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let left = match seen {
                u32::MAX => return Some(u32::MAX),
                _ => seen.checked_sub(1)?,
            };
            if left == 0 {
                // Relaxed: nobody else has a reference, and the owner hands this on.
                self.0.store(0, Ordering::Relaxed);
                return Some(0);
            }
            // Release: pairs with the Acquire of whoever reads the 1, here or above.
            let exchanged =
                self.0
                    .compare_exchange_weak(seen, left, Ordering::Release, Ordering::Acquire);
            match exchanged {
                Ok(_) => return Some(left),
                Err(now) => seen = now,
            }
        }
    }

    /// Removes the reference of the caller, if it is the only one.
    #[inline]
    pub(crate) fn remove_only(&self) -> bool {
        // Acquire: as in `remove`.
        let only = self.0.load(Ordering::Acquire) == 1;
        if only {
            self.0.store(0, Ordering::Relaxed);
        }
        only
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn references_are_counted_up_and_down() {
        let references = RefCount::none();
        references.lend();
        assert_eq!(references.add(), 2);
        assert_eq!(references.add(), 3);
        assert!(!references.remove_only());
        assert_eq!(references.remove(), Some(2));
        assert_eq!(references.remove(), Some(1));
        assert!(references.remove_only());
    }

    #[test]
    fn at_none_nothing_is_added_or_removed() {
        let references = RefCount::none();
        for _ in 0..2 {
            assert_eq!(references.add(), 0);
            assert_eq!(references.remove(), None);
            assert!(!references.remove_only());
            references.lend();
            assert_eq!(references.remove(), Some(0));
        }
    }

    #[test]
    fn a_count_that_is_full_stays_so() {
        let references = RefCount(AtomicU32::new(u32::MAX - 1));
        assert_eq!(references.add(), u32::MAX);
        assert_eq!(references.add(), u32::MAX);
        assert_eq!(references.remove(), Some(u32::MAX));
        assert_eq!(references.add(), u32::MAX);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use loom::thread;

    use crate::sync::{Arc, UnsafeCell};

    use super::*;

    /// Something with two references. Its holders may read it, its owner may write to it; loom checks
    /// that these keep apart.
    fn lent_twice() -> (Arc<RefCount>, Arc<UnsafeCell<()>>) {
        let references = RefCount::none();
        references.lend();
        assert_eq!(references.add(), 2);
        (Arc::new(references), Arc::new(UnsafeCell::new(())))
    }

    /// Gives a reference up, and writes if it was the last. Returns whether it was.
    fn read_and_leave(references: &RefCount, lent: &UnsafeCell<()>) -> bool {
        lent.with(|_| ());
        let last = references.remove() == Some(0);
        if last {
            lent.with_mut(|_| ());
        }
        last
    }

    /// R1: of two who leave one is told that it was the last, and owns what the other has left.
    ///
    /// Kills: `Release` to `Relaxed` in `remove`, and each `Acquire`; a decrement that is not
    /// exchanged.
    #[test]
    fn the_last_to_leave_is_the_owner() {
        loom::model(|| {
            let (references, lent) = lent_twice();
            let other = {
                let (references, lent) = (references.clone(), lent.clone());
                thread::spawn(move || read_and_leave(&references, &lent))
            };
            let last = read_and_leave(&references, &lent);
            assert_ne!(last, other.join().unwrap());
        });
    }

    /// R1: a holder that is alone becomes the owner.
    ///
    /// Kills: `Acquire` to `Relaxed` in `remove_only`.
    #[test]
    fn whoever_is_alone_may_become_the_owner() {
        loom::model(|| {
            let (references, lent) = lent_twice();
            let other = {
                let (references, lent) = (references.clone(), lent.clone());
                thread::spawn(move || read_and_leave(&references, &lent))
            };
            let owner = references.remove_only();
            if owner {
                lent.with_mut(|_| ());
            }
            assert!(!(owner && other.join().unwrap()));
        });
    }
}
