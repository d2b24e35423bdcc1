//! Wait until all frames of a pool are back.
//!
//! # States
//!
//! | pool | idle if | a change is announced by |
//! |---|---|---|
//! | closed | no frame is out, and `refs` is 1 | the release of a frame, the change of state |
//! | open | no frame is out | the change of state; a waiter looks every millisecond |
//!
//! The release into an open word is a single exchange and announces nothing.
//!
//! # Invariants
//!
//! - **I1** While the pool is closed, `refs` above 1 means that a frame is out, or that the thread
//!   that released it still uses the core (C1). So when a closed pool is idle, only its handles
//!   use the core.
//! - **I2** Each release into a closed word and each change of state notifies after its last change
//!   of `refs`.
//! - **I3** A waiter registers before it looks, and a notification takes all registrations. Both
//!   use one lock. So either the notification finds the waiter, or the waiter sees the change that
//!   came before the notification.

use std::mem;
use std::time::{Duration, Instant};

use crate::sync::{NoAllocMutex, Thread, current_thread, park_until};

/// Time between two looks at an open pool.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The threads that wait until the pool is idle.
#[derive(Debug)]
pub(super) struct IdleWaiters {
    threads: NoAllocMutex<Vec<Thread>>,
}

/// State of the pool as a waiter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Idle,
    /// The next release is announced.
    BusyClosed,
    /// The next release is not announced.
    BusyOpen,
}

impl IdleWaiters {
    pub(super) fn new() -> Self {
        Self {
            threads: NoAllocMutex::new(Vec::new()),
        }
    }

    /// Blocks until `look` finds the pool idle or `deadline` has passed. Returns whether it is
    /// idle.
    pub(super) fn wait(&self, deadline: Option<Instant>, look: impl Fn() -> Look) -> bool {
        let is_idle = loop {
            self.register();
            let next_look = match look() {
                Look::Idle => break true,
                Look::BusyClosed => deadline,
                Look::BusyOpen => {
                    let soon = Instant::now() + LOOK_AGAIN;
                    Some(deadline.map_or(soon, |deadline| deadline.min(soon)))
                }
            };
            if !park_until(next_look) {
                break look() == Look::Idle;
            }
        };
        self.unregister();
        is_idle
    }

    /// Wakes all waiters, which look again (I2).
    pub(super) fn notify(&self) {
        // The lock is free when the threads are woken.
        let threads = mem::take(&mut *self.threads.lock());
        for thread in threads {
            thread.unpark();
        }
    }

    fn register(&self) {
        let thread = current_thread();
        let mut threads = self.threads.lock();
        if threads.iter().all(|known| known.id() != thread.id()) {
            threads.push(thread);
        }
    }

    fn unregister(&self) {
        let id = current_thread().id();
        self.threads.lock().retain(|known| known.id() != id);
    }
}
