//! Limit on the memory of several pools together.

use crate::error::CommitError;
use crate::sync::{Arc, AtomicUsize, Ordering};

/// Limit on the memory of the pools that are made from one configuration, and how much of it is in
/// use. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    max: usize,
    in_use: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            in_use: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Returns the number of bytes that are in use.
    pub(crate) fn in_use(&self) -> usize {
        // Relaxed: a number to show, or to compare by an exchange later.
        self.in_use.load(Ordering::Relaxed)
    }

    /// Checks that `needed` bytes fit if nothing else is in use.
    pub(crate) fn check(&self, needed: usize) -> Result<(), CommitError> {
        if needed <= self.max {
            Ok(())
        } else {
            Err(self.exceeded_by(needed, self.in_use()))
        }
    }

    fn exceeded_by(&self, needed: usize, in_use: usize) -> CommitError {
        CommitError::OverBudget {
            needed,
            in_use,
            max: self.max,
        }
    }

    /// Reserves `needed` bytes, until the result is dropped.
    pub(super) fn reserve(&self, needed: usize) -> Result<Reservation, CommitError> {
        let mut in_use = self.in_use();
        loop {
            let sum = in_use.checked_add(needed).filter(|&sum| sum <= self.max);
            let sum = sum.ok_or_else(|| self.exceeded_by(needed, in_use))?;
            // Relaxed: nothing but the number is read or written by its order.
            match self.in_use.compare_exchange_weak(
                in_use,
                sum,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(seen) => in_use = seen,
            }
        }
        Ok(Reservation {
            budget: self.clone(),
            bytes: needed,
        })
    }
}

/// Part of a budget that a segment, or the kernel object of one, uses.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.in_use.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
