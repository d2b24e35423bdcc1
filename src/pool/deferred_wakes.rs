//! Wakes of tasks that are deferred while the thread runs a waker.
//!
//! A waker may poll its task at once, and the task may release a frame, which wakes the next task.
//! If each of these wakes ran inside the one before, a long queue would overflow the stack. So a
//! thread that runs a waker defers further wakes of tasks, in a list of its own:
//!
//! ```text
//!   the thread      assign to a task               assign to a thread
//!   runs no waker   wake, then the deferred wakes  unpark
//!   runs a waker    defer the wake                 unpark
//! ```
//!
//! # Invariants
//!
//! - **D1** Only the wake is deferred, not the assignment: the frame is the waiter's at once, and
//!   the waiter may take or return it before it is woken.
//! - **D2** A deferred wake runs on the same thread: when the waker that runs returns or panics, or
//!   before the thread blocks in a [wait](super::blocking_wait), whichever is first. A release in a
//!   pool with shares passes permits on before it puts its frame back, and a batch is released word
//!   by word. Both defer the wakes until all their frames are back, because a caller may want
//!   these. So a thread that acquires by a blocking call in a waker does not wait for a task that
//!   it has to wake. (A waker that blocks in another way delays the deferred wakes.)
//! - **D3** The list links the waiters themselves, so a release allocates nothing. A waiter whose
//!   wake is deferred is in one list only: it is not kept for reuse until it has been woken.

use std::cell::Cell;
use std::mem::{self, ManuallyDrop};

use crate::sync::{Arc, NoAllocMutexGuard, const_thread_local, current_thread};

use super::waiter::{Deferred, State, TaskWaker, Waiter, Wake};

/// The deferred wakes of one thread, in FIFO order.
struct DeferredWakes {
    /// True while the thread runs a waker.
    is_waking: Cell<bool>,
    first: WaiterCell,
    last: WaiterCell,
}

/// The list is empty whenever the thread runs no waker, so nothing is left to drop. Without a
/// destructor, the list can be used while other thread-locals are destroyed.
type WaiterCell = Cell<Option<ManuallyDrop<Arc<Waiter>>>>;

const_thread_local!(static DEFERRED: DeferredWakes = DeferredWakes::new());

/// Runs the wakes that the calling thread has deferred.
pub(super) fn run() {
    DEFERRED.with(DeferredWakes::run);
}

/// Makes what the calling thread needs to wait and to wake others.
pub(super) fn prepare_thread() {
    DEFERRED.with(|_| ());
    drop(current_thread());
}

impl DeferredWakes {
    const fn new() -> Self {
        Self {
            is_waking: Cell::new(false),
            first: Cell::new(None),
            last: Cell::new(None),
        }
    }

    fn push(&self, waiter: &Arc<Waiter>, waker: TaskWaker) {
        waiter.deferred.lock().waker = Some(waker);
        match self.last.take().map(ManuallyDrop::into_inner) {
            Some(last) => last.deferred.lock().next = Some(Arc::clone(waiter)),
            None => self.first.set(Some(ManuallyDrop::new(Arc::clone(waiter)))),
        }
        self.last.set(Some(ManuallyDrop::new(Arc::clone(waiter))));
    }

    fn pop(&self) -> Option<TaskWaker> {
        let first = ManuallyDrop::into_inner(self.first.take()?);
        let Deferred { waker, next } = mem::take(&mut *first.deferred.lock());
        if next.is_none() {
            drop(self.last.take().map(ManuallyDrop::into_inner));
        }
        self.first.set(next.map(ManuallyDrop::new));
        waker
    }

    /// Runs the deferred wakes, and those that are deferred meanwhile (D2).
    fn run(&self) {
        // mutant: run-deferred-wakes
        while let Some(waker) = self.pop() {
            waker.wake();
        }
    }
}

/// Defers the wakes of tasks on this thread until it is dropped.
#[derive(Debug)]
pub(super) struct DeferredUntilDrop {
    /// False if the thread runs a waker, or defers wakes already.
    is_first: bool,
}

impl DeferredUntilDrop {
    pub(super) fn begin() -> Self {
        let was_waking = DEFERRED.with(|deferred| deferred.is_waking.replace(true));
        Self {
            is_first: !was_waking,
        }
    }
}

impl Drop for DeferredUntilDrop {
    fn drop(&mut self) {
        if self.is_first {
            DEFERRED.with(|deferred| {
                deferred.run();
                deferred.is_waking.set(false);
            });
        }
    }
}

/// Wakes a task, and then the tasks whose wakes were deferred meanwhile.
fn wake_task(waker: TaskWaker) {
    let _deferred = DeferredUntilDrop::begin();
    waker.wake();
}

/// Wakes a waiter to which an outcome was assigned, at once or by a deferred wake (D1). `locked` is
/// the lock of its state.
pub(super) fn wake(waiter: &Arc<Waiter>, wake: Wake, locked: NoAllocMutexGuard<'_, State>) {
    match wake {
        Wake::Thread(thread) => {
            drop(locked);
            thread.unpark();
        }
        // Deferred under the lock: see `WaitQueue::push_spare`.
        Wake::Task(waker) => {
            let waker = DEFERRED.with(|deferred| {
                if deferred.is_waking.get() {
                    deferred.push(waiter, waker);
                    None
                } else {
                    Some(waker)
                }
            });
            drop(locked);
            if let Some(waker) = waker {
                wake_task(waker);
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::task::{Poll, Waker};

    use crate::pool::pending_wait::PendingWait;
    use crate::pool::slot::FrameId;
    use crate::pool::wait_queue::SPARES;
    use crate::pool::wait_queue::testing::TestPool;
    use crate::sync::NoAllocMutex;

    use super::*;

    /// D3: 3 times as many waits as there are spare waiters, all of which end while their wakes are
    /// deferred. Each waker still runs once, in FIFO order.
    #[test]
    fn a_waiter_is_not_reused_while_its_wake_is_deferred() {
        struct Numbered(usize, Arc<NoAllocMutex<Vec<usize>>>);
        impl std::task::Wake for Numbered {
            fn wake(self: Arc<Self>) {
                self.1.lock().push(self.0);
            }
        }
        let pool = TestPool::exhausted(1);
        let woken = Arc::new(NoAllocMutex::new(Vec::new()));
        DEFERRED.with(|deferred| deferred.is_waking.set(true));
        for number in 0..3 * SPARES {
            let waker = Waker::from(Arc::new(Numbered(number, woken.clone())));
            let mut wait = PendingWait::default();
            let mut poll = || pool.poll(&mut wait, &waker, 1);
            assert_eq!(poll(), Poll::Pending);
            pool.release(0);
            assert_eq!(poll(), Poll::Ready(Ok(FrameId::numbered(0))));
        }
        assert!(woken.lock().is_empty());
        DEFERRED.with(|deferred| {
            deferred.run();
            deferred.is_waking.set(false);
        });
        assert_eq!(*woken.lock(), (0..3 * SPARES).collect::<Vec<_>>());
        pool.release(0);
        pool.assert_at_rest();
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use std::task::{Poll, Waker};

    use crate::pool::pending_wait::PendingWait;
    use crate::pool::slot::FrameId;
    use crate::pool::wait_queue::testing::{TestPool, spawn_release};
    use crate::sync::unmodeled::Mutex;

    use super::*;

    /// D2: a waker that polls its task at once, which releases the frame to the next task. That
    /// task is woken by the same release, however the releases of two threads interleave.
    ///
    /// Kills: `run` not running the deferred wakes.
    #[test]
    fn a_deferred_wake_is_not_lost() {
        struct PollAtOnce(Mutex<Option<(Arc<TestPool>, PendingWait)>>);
        impl std::task::Wake for PollAtOnce {
            fn wake(self: std::sync::Arc<Self>) {
                let (pool, mut wait) = self.0.lock().take().unwrap();
                let polled = pool.poll(&mut wait, Waker::noop(), 1);
                assert_eq!(polled, Poll::Ready(Ok(FrameId::numbered(0))));
                pool.release(0);
            }
        }
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let tasks = [(); 2].map(|()| {
                let task = std::sync::Arc::new(PollAtOnce(Mutex::new(None)));
                let mut wait = PendingWait::default();
                let waker = Waker::from(task.clone());
                assert!(pool.poll(&mut wait, &waker, 1).is_pending());
                *task.0.lock() = Some((pool.clone(), wait));
                task
            });
            let releaser = spawn_release(&pool);
            pool.release_outcome(pool.wait());
            releaser.join().unwrap();
            assert!(tasks.iter().all(|task| task.0.lock().is_none()));
            pool.assert_at_rest();
        });
    }
}
