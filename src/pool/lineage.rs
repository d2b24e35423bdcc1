//! The part that all generations of a pool share: the wait queue, and a pointer to the newest core.
//!
//! The lock of the pointer is taken with that of the wait queue held, or alone.
//!
//! # Invariants
//!
//! - **N1** The pointer is followed with its lock held. The last handle of a core removes the
//!   pointer to it before it gives up its part of `refs`. So the core is there (C1).
//! - **N2** A handle of the newest core is made only from its other handles: if the last one was
//!   dropped, a caller that looks for the newest finds none.
//! - **N3** A core that is superseded is closed, and stays so (W7, C5). Its frames that are out
//!   count on its `refs`, so they end it as C1 says, and its memory as C7 says.

use std::ptr::NonNull;

use crate::sync::{Arc, NoAllocMutex};

use super::levels::Levels;
use super::pool_state::PoolState;
use super::shares::Shares;
use super::wait_queue::WaitQueue;

/// The part of a pool that all its generations share. Their cores are `C`s.
#[derive(Debug)]
pub(crate) struct Lineage<C> {
    pub(super) wait_queue: WaitQueue,
    /// The count of free frames, if the user wants to be told of them.
    pub(super) levels: Option<Arc<Levels>>,
    pub(super) newest: NoAllocMutex<Newest<C>>,
}

/// The newest core, unless it is the first generation.
#[derive(Debug)]
pub(super) struct Newest<C>(pub(super) Option<NonNull<C>>);

// SAFETY: the pointer is followed by N1 only, which gives a `&C`. That needs `C: Sync`.
unsafe impl<C: Sync> Send for Newest<C> {}

impl<C> Lineage<C> {
    pub(super) fn new(
        state: PoolState,
        generation: u64,
        shares: Option<Arc<Shares>>,
        levels: Option<Levels>,
    ) -> Arc<Self> {
        Arc::new(Self {
            levels: levels.map(Arc::new),
            wait_queue: WaitQueue::new(state, generation, shares),
            newest: NoAllocMutex::new(Newest(None)),
        })
    }

    /// Removes the pointer to a core whose last handle is being dropped (N1).
    pub(super) fn forget(&self, core: NonNull<C>) {
        let mut newest = self.newest.lock();
        // mutant: forget-the-newest
        if newest.0 == Some(core) {
            newest.0 = None;
        }
    }
}
