//! Loan numbers of the frames that are lent to other processes.
//!
//! | word of the slot | state of the frame |
//! |---|---|
//! | 0 | not lent |
//! | n | lent; its token carries the loan number n |
//!
//! # Invariants
//!
//! - **L1** A lent frame is out, and has no holder in this process. Of all callers that redeem or
//!   revoke it exactly one gets the frame: the one whose exchange replaces the number by 0.
//! - **L2** A loan number has 64 bits, is as good as random, and reveals nothing about any other.
//!   So a process that does not have the token does not know the number.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{AtomicU64, Ordering};

/// The loan numbers of all slots of a pool.
#[derive(Debug)]
pub(crate) struct Loans {
    /// Id of the segment, for tokens. `None` if frames of the pool cannot be lent; then there are
    /// no numbers.
    segment: Option<u64>,
    numbers: Vec<AtomicU64>,
    /// Number of loans so far.
    count: AtomicU64,
    /// Keyed hash that turns counts into loan numbers (L2). The key is random and differs per
    /// pool.
    key: RandomState,
}

impl Loans {
    /// Creates the words of the slots of a segment, none of which is lent. Frames can be lent if
    /// the segment has an id.
    pub(crate) fn new(slots: usize, segment: Option<u64>) -> Result<Self, CommitError> {
        let slots = if segment.is_some() { slots } else { 0 };
        let mut numbers = try_with_capacity(slots)?;
        numbers.extend((0..slots).map(|_| AtomicU64::new(0)));
        Ok(Self {
            segment,
            numbers,
            count: AtomicU64::new(0),
            key: RandomState::new(),
        })
    }

    /// Returns the id of the segment, or `None` if frames of this pool cannot be lent.
    pub(crate) fn segment(&self) -> Option<u64> {
        self.segment
    }

    /// Returns whether the frame of this slot is lent. The answer is for reports and may be
    /// outdated.
    pub(crate) fn is_lent(&self, slot: usize) -> bool {
        // Relaxed: the answer is only displayed.
        self.numbers
            .get(slot)
            .is_some_and(|number| number.load(Ordering::Relaxed) != 0)
    }

    /// Marks a frame of the caller as lent and returns its loan number.
    pub(crate) fn lend(&self, slot: usize) -> u64 {
        // Relaxed: the counts only have to differ.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let number = self.key.hash_one((slot, count)).max(1);
        // Release: pairs with the Acquire in `reclaim`, by whatever path the token gets there. The
        // lender's accesses to the frame come before the redeemer's.
        // mutant: loan-published
        self.numbers[slot].store(number, Ordering::Release);
        number
    }

    /// Ends the loan with this number. Returns whether there was one; the frame then belongs to
    /// the caller.
    pub(crate) fn reclaim(&self, slot: usize, number: u64) -> bool {
        let Some(word) = self.numbers.get(slot).filter(|_| number != 0) else {
            return false;
        };
        // Acquire: pairs with the Release in `lend`. The exchange itself ensures L1.
        // mutant: loan-ended
        word.compare_exchange(number, 0, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

impl Loans {
    /// Ends the loan of this slot, without its number. Returns whether there was one; the frame
    /// then belongs to the caller.
    pub(crate) fn revoke(&self, slot: usize) -> bool {
        // Relaxed: `reclaim` has the ordering, and fails if another caller ends the loan meanwhile.
        self.numbers
            .get(slot)
            .is_some_and(|word| self.reclaim(slot, word.load(Ordering::Relaxed)))
    }

    /// Ends all loans, one by one as the iterator advances. The frames of the returned slots belong
    /// to the caller.
    pub(crate) fn revoke_all(&self) -> impl Iterator<Item = usize> {
        (0..self.numbers.len()).filter(|&slot| self.revoke(slot))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_valid_once_and_only_for_its_slot() {
        let loans = Loans::new(2, Some(1)).unwrap();
        let number = loans.lend(0);
        assert!(!loans.reclaim(1, number));
        assert!(!loans.reclaim(2, number));
        assert!(!loans.reclaim(0, number ^ 1));
        assert!(loans.reclaim(0, number));
        assert!(!loans.reclaim(0, number));
    }

    #[test]
    fn the_number_0_does_not_reclaim_a_frame_that_was_never_lent() {
        assert!(!Loans::new(1, Some(1)).unwrap().reclaim(0, 0));
    }

    #[test]
    fn a_loan_is_revoked_once_and_then_not_reclaimed() {
        let loans = Loans::new(3, Some(1)).unwrap();
        let numbers = [0, 2].map(|slot| loans.lend(slot));
        assert!(!loans.revoke(1));
        assert!(!loans.revoke(3));
        assert!(loans.revoke(2));
        assert!(!loans.revoke(2));
        assert!(!loans.reclaim(2, numbers[1]));
        assert_eq!(loans.revoke_all().collect::<Vec<_>>(), [0]);
        assert_eq!(loans.revoke_all().count(), 0);
    }

    #[test]
    fn numbers_differ_between_loans_and_between_pools() {
        let pools = [
            Loans::new(1, Some(1)).unwrap(),
            Loans::new(1, Some(1)).unwrap(),
        ];
        let numbers = pools
            .iter()
            .flat_map(|loans| (0..1000).map(|_| loans.lend(0)));
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

    /// L1: exactly one of two redeemers gets the frame, and sees the lender's accesses to it.
    ///
    /// Kills: `Release` to `Relaxed` in `lend`; `Acquire` to `Relaxed` in `reclaim`; a load and a
    /// store instead of the exchange.
    #[test]
    fn a_loan_ends_once() {
        loom::model(|| {
            let loans = Arc::new(Loans::new(1, Some(1)).unwrap());
            let frame = Arc::new(UnsafeCell::new(()));
            // The token is transferred without any ordering.
            let token = Arc::new(AtomicU64::new(0));
            let redeem = |loans: &Loans, frame: &UnsafeCell<()>, token: &AtomicU64| {
                let redeemed = loans.reclaim(0, token.load(Ordering::Relaxed));
                if redeemed {
                    frame.with_mut(|_| ());
                }
                redeemed
            };
            let other = {
                let (loans, frame, token) = (loans.clone(), frame.clone(), token.clone());
                thread::spawn(move || redeem(&loans, &frame, &token))
            };
            frame.with_mut(|_| ());
            token.store(loans.lend(0), Ordering::Relaxed);
            let here = redeem(&loans, &frame, &token);
            let there = other.join().unwrap();
            assert!(here != there);
        });
    }

    /// L1: either the redeemer or the revoker gets the frame, and sees the lender's accesses to it.
    ///
    /// Kills: `Release` to `Relaxed` in `lend`; `Acquire` to `Relaxed` in `reclaim`; a load and a
    /// store instead of the exchange.
    #[test]
    fn a_loan_is_redeemed_or_revoked() {
        loom::model(|| {
            let loans = Arc::new(Loans::new(1, Some(1)).unwrap());
            let frame = Arc::new(UnsafeCell::new(()));
            // The token is transferred without any ordering.
            let token = Arc::new(AtomicU64::new(0));
            let redeemer = {
                let (loans, frame, token) = (loans.clone(), frame.clone(), token.clone());
                thread::spawn(move || {
                    let redeemed = loans.reclaim(0, token.load(Ordering::Relaxed));
                    if redeemed {
                        frame.with_mut(|_| ());
                    }
                    redeemed
                })
            };
            let revoker = {
                let (loans, frame) = (loans.clone(), frame.clone());
                thread::spawn(move || {
                    let revoked = loans.revoke(0);
                    if revoked {
                        frame.with_mut(|_| ());
                    }
                    revoked
                })
            };
            frame.with_mut(|_| ());
            token.store(loans.lend(0), Ordering::Relaxed);
            let [redeemed, revoked] = [redeemer, revoker].map(|thread| thread.join().unwrap());
            let left = loans.revoke(0);
            assert_eq!(
                [redeemed, revoked, left].map(u8::from).iter().sum::<u8>(),
                1
            );
        });
    }
}
