//! Loan numbers of the frames that are lent to other processes.
//!
//! Each slot has a row of [`MAX_LOANS`] words, and each word is one loan:
//!
//! | word | meaning |
//! |---|---|
//! | 0 | no loan |
//! | n | a loan; its token carries the loan number n |
//!
//! # Invariants
//!
//! - **L1** A loan owns one handle of a frame, so the frame is out, and `handles` counts the loan
//!   (S1). Of all callers that redeem or revoke the loan exactly one gets the handle: the one whose
//!   exchange replaces the number by 0.
//! - **L2** A loan number has 64 bits, is as good as random, and reveals nothing about any other.
//!   So a process that does not have the token does not know the number.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::sync::{AtomicU64, Ordering};

/// Maximum number of loans of one frame at the same time. A row of them is one cache line.
#[cfg(not(all(test, loom)))]
pub(crate) const MAX_LOANS: usize = 8;
#[cfg(all(test, loom))]
pub(crate) const MAX_LOANS: usize = 2;

/// The loan numbers of all slots of a pool.
#[derive(Debug)]
pub(crate) struct Loans {
    /// Id of the segment, for tokens. `None` if frames of the pool cannot be lent; then there are
    /// no numbers.
    segment: Option<u64>,
    /// One row per slot.
    numbers: Vec<[AtomicU64; MAX_LOANS]>,
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
        numbers.extend((0..slots).map(|_| std::array::from_fn(|_| AtomicU64::new(0))));
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

    /// Returns the row of a slot, which is empty if there is no such slot.
    fn row(&self, slot: usize) -> &[AtomicU64] {
        self.numbers.get(slot).map_or(&[], |row| row)
    }

    /// Returns the number of loans of this slot's frame. The answer is for reports and may be
    /// outdated.
    pub(crate) fn count(&self, slot: usize) -> usize {
        // Relaxed: the answer is only displayed.
        let is_loan = |word: &&AtomicU64| word.load(Ordering::Relaxed) != 0;
        self.row(slot).iter().filter(is_loan).count()
    }

    /// Lends a frame and returns the loan number. The loan owns the caller's handle from now on.
    ///
    /// Returns `None` if the frame has [`MAX_LOANS`] loans already.
    pub(crate) fn lend(&self, slot: usize) -> Option<u64> {
        // Relaxed: the counts only have to differ.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let number = self.key.hash_one((slot, count)).max(1);
        let lends = |word: &AtomicU64| {
            // Release: pairs with the Acquire in `end`, by whatever path the token gets there. The
            // lender's accesses to the frame come before the redeemer's. The exchange keeps two
            // lenders of a shared frame from taking the same word.
            // mutant: loan-published
            word.compare_exchange(0, number, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        };
        self.row(slot).iter().any(lends).then_some(number)
    }

    /// Ends the loan with this number. Returns whether there was one; its handle then belongs to
    /// the caller.
    pub(crate) fn reclaim(&self, slot: usize, number: u64) -> bool {
        self.row(slot).iter().any(|word| end(word, number))
    }

    /// Ends all loans of this slot's frame, without their numbers, one by one as the iterator
    /// advances. For each it returns the slot, and one handle belongs to the caller.
    pub(crate) fn revoke(&self, slot: usize) -> impl Iterator<Item = usize> {
        // Relaxed: `end` has the ordering, and fails if another caller ends the loan meanwhile.
        let ended = |word: &&AtomicU64| end(word, word.load(Ordering::Relaxed));
        self.row(slot).iter().filter(ended).map(move |_| slot)
    }

    /// Ends all loans, like [`revoke`](Self::revoke).
    pub(crate) fn revoke_all(&self) -> impl Iterator<Item = usize> {
        (0..self.numbers.len()).flat_map(|slot| self.revoke(slot))
    }
}

/// Ends the loan in `word` if it has this number. Returns whether it has.
fn end(word: &AtomicU64, number: u64) -> bool {
    if number == 0 {
        return false;
    }
    // Acquire: pairs with the Release in `lend`. The exchange itself ensures L1.
    // mutant: loan-ended
    word.compare_exchange(number, 0, Ordering::Acquire, Ordering::Relaxed)
        .is_ok()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_valid_once_and_only_for_its_slot() {
        let loans = Loans::new(2, Some(1)).unwrap();
        let number = loans.lend(0).unwrap();
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
    fn a_frame_has_as_many_loans_as_fit_its_row_and_each_ends_by_its_number() {
        let loans = Loans::new(2, Some(1)).unwrap();
        let numbers: Vec<_> = std::iter::from_fn(|| loans.lend(1)).collect();
        assert_eq!((numbers.len(), loans.count(1)), (MAX_LOANS, MAX_LOANS));
        assert_eq!(loans.count(0), 0);
        assert!(loans.reclaim(1, numbers[3]));
        assert!(!loans.reclaim(1, numbers[3]));
        assert!(loans.lend(1).is_some(), "a word is free again");
        assert_eq!(loans.revoke(1).count(), MAX_LOANS);
        assert_eq!(loans.count(1), 0);
    }

    #[test]
    fn a_loan_is_revoked_once_and_then_not_reclaimed() {
        let loans = Loans::new(3, Some(1)).unwrap();
        let numbers = [0, 2, 2].map(|slot| loans.lend(slot).unwrap());
        assert_eq!(loans.revoke(1).count(), 0);
        assert_eq!(loans.revoke(3).count(), 0);
        assert_eq!(loans.revoke(2).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(loans.revoke(2).count(), 0);
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
        let lend = |loans: &Loans| {
            let number = loans.lend(0).unwrap();
            assert!(loans.reclaim(0, number));
            number
        };
        let numbers = pools
            .iter()
            .flat_map(|loans| (0..1000).map(move |_| lend(loans)));
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

    /// L1: exactly one of two redeemers gets the handle, and sees the lender's accesses to the
    /// frame.
    ///
    /// Kills: `Release` to `Relaxed` in `lend`; `Acquire` to `Relaxed` in `end`; a load and a
    /// store instead of the exchange in `end`.
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
            token.store(loans.lend(0).unwrap(), Ordering::Relaxed);
            let here = redeem(&loans, &frame, &token);
            let there = other.join().unwrap();
            assert!(here != there);
        });
    }

    /// L1: either the redeemer or the revoker gets the handle, and sees the lender's accesses to
    /// the frame.
    ///
    /// Kills: `Release` to `Relaxed` in `lend`; `Acquire` to `Relaxed` in `end`; a load and a
    /// store instead of the exchange in `end`.
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
                    usize::from(redeemed)
                })
            };
            let revoker = {
                let (loans, frame) = (loans.clone(), frame.clone());
                thread::spawn(move || {
                    let access = |_| frame.with_mut(|_| ());
                    loans.revoke(0).map(access).count()
                })
            };
            frame.with_mut(|_| ());
            token.store(loans.lend(0).unwrap(), Ordering::Relaxed);
            let ended = [redeemer, revoker].map(|thread| thread.join().unwrap());
            assert_eq!(ended.iter().sum::<usize>() + loans.revoke(0).count(), 1);
        });
    }

    /// L1: two handles of a shared frame that are lent at the same time make two loans.
    ///
    /// Kills: a load and a store instead of the exchange in `lend`.
    #[test]
    fn two_lenders_make_two_loans() {
        loom::model(|| {
            let loans = Arc::new(Loans::new(1, Some(1)).unwrap());
            let other = {
                let loans = loans.clone();
                thread::spawn(move || loans.lend(0).unwrap())
            };
            let here = loans.lend(0).unwrap();
            let there = other.join().unwrap();
            assert!(loans.reclaim(0, here));
            assert!(loans.reclaim(0, there));
            assert_eq!(loans.revoke_all().count(), 0);
        });
    }
}
