//! Reference count of an object that is used again and again and not freed in between: a COM
//! sample.
//!
//! | count | meaning |
//! |---|---|
//! | 0 | no references; the owner of the object may [add the first](RefCount::add_first) |
//! | n | n references; their holders may use the object, and add and remove references |
//!
//! # Invariants
//!
//! - **RC1** If no holder removes more references than it has, exactly one `remove` per
//!   `add_first` returns that none is left. Its caller is the owner from then on, and all that
//!   the other holders did with the object happens before.
//! - **RC2** At 0 no reference can be added or removed: a caller that removes one too many after
//!   the last one is told that there was none. (A caller that does so earlier removes the
//!   reference of another holder, which no count can detect.)

use crate::sync::{AtomicU32, Ordering};

/// A reference count.
///
/// It is a separate type that holds nothing but an atomic, because [`remove`](Self::remove) may
/// still run when the object has another owner or is freed. Nothing else of the object may be
/// borrowed then.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct RefCount(AtomicU32);

impl RefCount {
    /// Creates a count of 0.
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Adds the first reference. Only the owner of the object may call this.
    #[inline]
    pub(crate) fn add_first(&self) {
        // Relaxed: the owner passes the reference on, and everything else with it.
        self.0.store(1, Ordering::Relaxed);
    }

    /// Adds a reference. Returns the new count, or 0 if there was no reference.
    #[inline]
    pub(crate) fn add(&self) -> u32 {
        // Relaxed: the new reference comes from an existing one, which is not removed in the
        // meantime.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let more = match seen {
                // By RC2. The maximum is never left again.
                0 | u32::MAX => return seen,
                _ => seen + 1,
            };
            // Relaxed: the new reference comes from an existing one, as for the load.
            let exchanged =
                self.0
                    .compare_exchange_weak(seen, more, Ordering::Relaxed, Ordering::Relaxed);
            match exchanged {
                Ok(_) => return more,
                Err(now) => seen = now,
            }
        }
    }

    /// Removes a reference. Returns the new count, or `None` if there was no reference.
    #[inline]
    pub(crate) fn remove(&self) -> Option<u32> {
        // Acquire: pairs with the Release below, by which all other holders removed theirs (RC1).
        // mutant: ref-count-remove-load
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let left = match seen {
                u32::MAX => return Some(u32::MAX),
                _ => seen.checked_sub(1)?,
            };
            if left == 0 {
                // Relaxed: no other holder is left, and the owner passes the object on.
                self.0.store(0, Ordering::Relaxed);
                return Some(0);
            }
            // Release: pairs with the Acquire of the holder that reads the 1, here or in the load
            // above.
            // mutant: ref-count-remove-exchange
            let exchanged =
                self.0
                    .compare_exchange_weak(seen, left, Ordering::Release, Ordering::Acquire);
            match exchanged {
                Ok(_) => return Some(left),
                // mutant: ref-count-remove-retry
                Err(now) => seen = now,
            }
        }
    }

    /// Removes the caller's reference if it is the only one. Returns whether it was.
    #[inline]
    pub(crate) fn remove_only(&self) -> bool {
        // Acquire: pairs with the Release in `remove`, by which all other holders removed theirs
        // (RC1).
        // mutant: ref-count-remove-only
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
        let references = RefCount::new();
        references.add_first();
        assert_eq!(references.add(), 2);
        assert_eq!(references.add(), 3);
        assert!(!references.remove_only());
        assert_eq!(references.remove(), Some(2));
        assert_eq!(references.remove(), Some(1));
        assert!(references.remove_only());
    }

    #[test]
    fn at_0_no_reference_is_added_or_removed() {
        let references = RefCount::new();
        for _ in 0..2 {
            assert_eq!(references.add(), 0);
            assert_eq!(references.remove(), None);
            assert!(!references.remove_only());
            references.add_first();
            assert_eq!(references.remove(), Some(0));
        }
    }

    #[test]
    fn the_maximum_count_does_not_change() {
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

    /// Returns the count of an object with two references, and the object. A holder may read it and
    /// the owner may write to it; loom checks that these do not meet.
    fn object_with_two_references() -> (Arc<RefCount>, Arc<UnsafeCell<()>>) {
        let references = RefCount::new();
        references.add_first();
        assert_eq!(references.add(), 2);
        (Arc::new(references), Arc::new(UnsafeCell::new(())))
    }

    /// Reads the object and removes a reference. Writes to the object if none is left. Returns
    /// whether none is.
    fn read_and_remove(references: &RefCount, object: &UnsafeCell<()>) -> bool {
        object.with(|_| ());
        let last = references.remove() == Some(0);
        if last {
            object.with_mut(|_| ());
        }
        last
    }

    /// RC1: of two holders that remove their reference, one becomes the owner and sees all that
    /// the other has done.
    ///
    /// Kills: `Release` to `Relaxed` in `remove`, and each `Acquire`; a decrement that is not
    /// exchanged.
    #[test]
    fn the_holder_of_the_last_reference_becomes_the_owner() {
        loom::model(|| {
            let (references, object) = object_with_two_references();
            let other = {
                let (references, object) = (references.clone(), object.clone());
                thread::spawn(move || read_and_remove(&references, &object))
            };
            let last = read_and_remove(&references, &object);
            assert_ne!(last, other.join().unwrap());
        });
    }

    /// RC1: the holder of the only reference can become the owner.
    ///
    /// Kills: `Acquire` to `Relaxed` in `remove_only`.
    #[test]
    fn the_holder_of_the_only_reference_can_become_the_owner() {
        loom::model(|| {
            let (references, object) = object_with_two_references();
            let other = {
                let (references, object) = (references.clone(), object.clone());
                thread::spawn(move || read_and_remove(&references, &object))
            };
            let owner = references.remove_only();
            if owner {
                object.with_mut(|_| ());
            }
            assert!(!(owner && other.join().unwrap()));
        });
    }
}
