//! Wait until all frames of a pool are back.
//!
//! # States
//!
//! | pool | idle if | a change is announced by |
//! |---|---|---|
//! | closed | no frame is out, and none in `refs` | the release of a frame, the change of state |
//! | open | no frame is out | the change of state; a waiter looks every millisecond |
//!
//! The release into an open word is a single exchange and announces nothing.
//!
//! # Invariants
//!
//! - **I1** While the pool is closed, `refs` above the part of the handles means that a frame is
//!   out, or that the thread that released it still uses the core (C1). So when a closed pool is
//!   idle, only its handles use the core.
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

/// The calls that wait until the pool is idle.
#[derive(Debug)]
pub(super) struct IdleWaiters {
    waiters: NoAllocMutex<Vec<IdleWaiter>>,
}

#[derive(Debug)]
struct IdleWaiter {
    /// Address of a local of the call. Thread ids would not do: each copy of the standard library
    /// in a process numbers its own threads.
    call: usize,
    thread: Thread,
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
            waiters: NoAllocMutex::new(Vec::new()),
        }
    }

    /// Blocks until `look` finds the pool idle or `deadline` has passed. Returns whether it is
    /// idle.
    pub(super) fn wait(&self, deadline: Option<Instant>, look: impl Fn() -> Look) -> bool {
        let local = 0_u8;
        let call = (&raw const local).addr();
        let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let is_idle = loop {
            self.register(call);
            let next_look = match look() {
                Look::Idle => break true,
                Look::BusyClosed => deadline,
                Look::BusyOpen => {
                    let soon = Instant::now() + LOOK_AGAIN;
                    Some(deadline.map_or(soon, |deadline| deadline.min(soon)))
                }
            };
            if !park_until(next_look) && is_over() {
                break look() == Look::Idle;
            }
        };
        self.unregister(call);
        is_idle
    }

    /// Wakes all waiters, which look again (I2).
    pub(super) fn notify(&self) {
        // The lock is free when the threads are woken.
        let waiters = mem::take(&mut *self.waiters.lock());
        for waiter in waiters {
            waiter.thread.unpark();
        }
    }

    fn register(&self, call: usize) {
        let mut waiters = self.waiters.lock();
        if waiters.iter().all(|known| known.call != call) {
            let thread = current_thread();
            waiters.push(IdleWaiter { call, thread });
        }
    }

    fn unregister(&self, call: usize) {
        self.waiters.lock().retain(|known| known.call != call);
    }
}
