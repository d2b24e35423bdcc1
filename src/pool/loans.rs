//! Which frames are lent to other processes, and under what number.
//!
//! | word of the slot | the frame is |
//! |---|---|
//! | 0 | not lent |
//! | n | lent, by the token with the number n |
//!
//! # Invariants
//!
//! - **L1** A frame that is lent is out, and belongs to nobody but its token. Of those who come with
//!   the token one gets the frame, once: by the exchange of its number for 0.
//! - **L2** A number is as good as random, of 64 bits, and says nothing about any other: whoever does not
//!   have the token does not have the number.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{AtomicU64, Ordering};

/// The numbers of all slots of a pool; none at all if its frames cannot be lent.
#[derive(Debug)]
pub(crate) struct Loans {
    numbers: Vec<AtomicU64>,
    /// How many frames have been lent.
    count: AtomicU64,
    /// Makes numbers of counts (L2): a keyed hash, whose key is this pool's and random.
    key: RandomState,
}

impl Loans {
    /// Room for the numbers of so many slots, of which none is lent.
    pub(crate) fn new(slots: usize) -> Result<Self, CommitError> {
        let mut numbers = try_with_capacity(slots)?;
        numbers.extend((0..slots).map(|_| AtomicU64::new(0)));
        Ok(Self {
            numbers,
            count: AtomicU64::new(0),
            key: RandomState::new(),
        })
    }

    /// Whether frames can be lent at all.
    pub(crate) fn is_possible(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// Whether the frame of this slot is lent; for whoever wants to know.
    pub(crate) fn is_lent(&self, slot: usize) -> bool {
        // Relaxed: to be shown.
        self.numbers
            .get(slot)
            .is_some_and(|number| number.load(Ordering::Relaxed) != 0)
    }

    /// Marks a frame as lent; returns its number. The frame was the caller's.
    pub(crate) fn lend(&self, slot: usize) -> u64 {
        // Relaxed: nothing but distinct counts is wanted.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let number = self.key.hash_one((slot, count)).max(1);
        // Release: pairs with the Acquire in `take_back`, however the token gets there; what was done
        // with the frame has been done before.
        self.numbers[slot].store(number, Ordering::Release);
        number
    }

    /// Ends the loan of `number`. Returns whether there was one: then the frame is the caller's.
    pub(crate) fn reclaim(&self, slot: usize, number: u64) -> bool {
        let Some(word) = self.numbers.get(slot).filter(|_| number != 0) else {
            return false;
        };
        // Acquire: pairs with the Release in `lend`. L1 is the exchange itself.
        word.compare_exchange(number, 0, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_good_for_its_slot_and_once() {
        let lent = Loans::new(2).unwrap();
        let number = lent.lend(0);
        assert!(!lent.reclaim(1, number));
        assert!(!lent.reclaim(2, number));
        assert!(!lent.reclaim(0, number ^ 1));
        assert!(lent.reclaim(0, number));
        assert!(!lent.reclaim(0, number));
    }

    #[test]
    fn what_was_never_lent_is_not_taken_back_by_the_number_0() {
        assert!(!Loans::new(1).unwrap().reclaim(0, 0));
    }

    #[test]
    fn numbers_are_as_different_as_chance_makes_them() {
        let lent = [Loans::new(1).unwrap(), Loans::new(1).unwrap()];
        let numbers = lent.iter().flat_map(|lent| (0..1000).map(|_| lent.lend(0)));
        let distinct: std::collections::HashSet<_> = numbers.collect();
        assert_eq!(distinct.len(), 2000);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use loom::thread;

    use crate::sync::{Arc, UnsafeCell};

    use super::*;

    /// L1: of two who come with the token one gets the frame, as its lender left it.
    ///
    /// Kills: `Release` to `Relaxed` in `lend`; `Acquire` to `Relaxed` in `take_back`; a look and a
    /// store in place of the exchange.
    #[test]
    fn a_loan_ends_once() {
        loom::model(|| {
            let lent = Arc::new(Loans::new(1).unwrap());
            let frame = Arc::new(UnsafeCell::new(()));
            // The token gets there by a way that orders nothing.
            let token = Arc::new(AtomicU64::new(0));
            let redeem = |lent: &Loans, frame: &UnsafeCell<()>, token: &AtomicU64| {
                let redeemed = lent.reclaim(0, token.load(Ordering::Relaxed));
                if redeemed {
                    frame.with_mut(|_| ());
                }
                redeemed
            };
            let other = {
                let (lent, frame, token) = (lent.clone(), frame.clone(), token.clone());
                thread::spawn(move || redeem(&lent, &frame, &token))
            };
            frame.with_mut(|_| ());
            token.store(lent.lend(0), Ordering::Relaxed);
            let here = redeem(&lent, &frame, &token);
            let there = other.join().unwrap();
            assert!(here != there);
        });
    }
}
