//! FIFO queue of the callers that wait for a frame.
//!
//! The module handles frame numbers only, never memory, and is safe code. Blocking, timed and
//! asynchronous callers share one queue.
//!
//! The queue is a list under a lock. No thread touches it while frames are free: an acquire comes
//! here after it found no free frame, a release after it saw `WAITERS` in its word. (A lock-free
//! queue cannot remove entries from the middle, so callers that time out again and again would
//! fill it.)
//!
//! # States of a waiter
//!
//! ```text
//!           enqueue            assign(ticket, outcome)
//!   Idle ---------------> Waiting -----------------------> Assigned
//!    ^                       | cancel                         | outcome, cancel
//!    +-----------------------+--------------------------------+
//! ```
//!
//! A waiter for several frames stays `Waiting` while it collects all but the last.
//!
//! # Invariants
//!
//! - **W1** Whenever the lock of the queue is free, `WAITERS` is set in every word if the queue
//!   has entries, and in none otherwise.
//! - **W2** While the queue has entries and the pool is open, no bit is set in any word: the first
//!   waiter set `WAITERS` everywhere and took what it found, and F3 keeps it so. So no waiter waits
//!   while a frame is free.
//! - **W3** Each wait has its own ticket, and a frame is assigned only to the ticket whose entry
//!   was popped. The popped waiter leaves with the frame, unless it has canceled before. Then the
//!   popping thread learns that and pops the next entry. Between the pop and the assignment the
//!   frame belongs to the popping thread, and no other thread can delay it. An entry for *n* frames
//!   is handed out *n* times, and popped with the last of them. So the first waiter alone collects
//!   frames, and no two waiters keep frames from each other. Frames that a waiter has collected
//!   belong to it: its caller returns them if the wait ends without the others.
//! - **W4** A frame is assigned while no lock of the pool is held, and the assigning thread
//!   touches nothing of the pool afterwards: the waiter may run at once, drop the frame and, with
//!   it, the pool.
//! - **W5** Closing the pool also empties the queue, under the same lock. So every caller that
//!   waits at that moment fails, even if the pool opens again before the caller runs.
//! - **W6** Wakers are foreign code, and so are their clones and drops. They run while no lock is
//!   held, and a waiter that ends its wait has left the queue before. Panics of wakers and of their
//!   drops are caught.
//!
//! # Wakes inside wakes
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
//! - **D1** Only the wake is deferred, not the assignment: the frame is the waiter's at once, and
//!   the waiter may take or return it before it is woken.
//! - **D2** A deferred wake runs on the same thread: when the waker that runs returns or panics, or
//!   before the thread blocks in this queue, whichever is first. So a thread that acquires by a
//!   blocking call in a waker does not wait for a task that it has to wake. (A waker that blocks in
//!   another way delays the deferred wakes.)
//! - **D3** The list links the waiters themselves, so a release allocates nothing. A waiter whose
//!   wake is deferred is in one list only: it is not kept for reuse until it has been woken.

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem::{self, ManuallyDrop};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::diagnostics::call_site::CallSite;
use crate::diagnostics::{WaitStart, nanoseconds};
use crate::error::{AcquireError, Starvation};
use crate::panics::catch_panics;
use crate::sync::{
    Arc, ArrayQueue, AtomicUsize, NoAllocMutex, Ordering, Thread, const_thread_local,
    current_thread, park_until, unmodeled,
};

use super::free_list::FreeList;

/// Number of idle waiters that are kept for reuse, so that a wait does not allocate.
const SPARES: usize = if cfg!(all(test, loom)) { 1 } else { 16 };

/// The reason why a wait ends without a frame, or does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    TimedOut,
    Flushing,
    NotCommitted,
    Closed,
}

impl From<Refusal> for AcquireError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TimedOut => Self::TimedOut(Starvation::default()),
            Refusal::Flushing => Self::Flushing,
            Refusal::NotCommitted => Self::NotCommitted,
            Refusal::Closed => Self::Closed,
        }
    }
}

/// State of a pool. It hands out frames if it is committed, and not flushing, retired or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolState {
    pub(crate) committed: bool,
    pub(crate) flushing: bool,
    /// The allocator has moved on to another pool. Never opens again.
    pub(crate) retired: bool,
    /// Closed for good by its user. Never opens again.
    pub(crate) closed: bool,
}

impl PoolState {
    pub(crate) const OPEN: Self = Self {
        committed: true,
        flushing: false,
        retired: false,
        closed: false,
    };

    /// Returns why acquires fail in this state, or `None` if the pool is open.
    fn refusal(self) -> Option<Refusal> {
        match self {
            // mutant: closed-is-final
            Self { closed: true, .. } => Some(Refusal::Closed),
            Self {
                committed: false, ..
            }
            | Self { retired: true, .. } => Some(Refusal::NotCommitted),
            Self { flushing: true, .. } => Some(Refusal::Flushing),
            Self::OPEN => None,
        }
    }
}

/// All values of [`PoolState::refusal`]. Their indices fit into an atomic.
const REFUSALS: [Option<Refusal>; 4] = [
    None,
    Some(Refusal::Flushing),
    Some(Refusal::NotCommitted),
    Some(Refusal::Closed),
];

/// Effect of a change of state on the free list, with the number of frames that were out at that
/// moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateChange {
    None,
    Closed { out: usize },
    Opened { out: usize },
}

/// The number of one wait.
type Ticket = u64;

/// Result of a wait: the number of a frame, which then belongs to the caller, or the reason for
/// the failure.
pub(crate) type Outcome = Result<usize, Refusal>;

/// The wait queue of a pool.
#[derive(Debug)]
pub(crate) struct WaitQueue {
    queue: NoAllocMutex<Queue>,
    /// Index in `REFUSALS` of the reason why the pool is closed, readable without the lock. It is
    /// written before the words are closed and after they are opened. So a caller that saw
    /// `CLOSED` and then finds no reason has missed an opening, and no caller finds a wrong
    /// reason.
    refusal: AtomicUsize,
    /// Summary of the entries, for reports of callers that have no time to wait for the lock.
    summary: Summary,
    spares: ArrayQueue<Arc<Waiter>>,
}

/// Number of entries and start of the first, written with the lock of the queue held. The two are
/// read one after the other, and may be of two moments.
#[derive(Debug)]
struct Summary {
    /// Time 0 of `first_since`.
    began: Instant,
    entries: unmodeled::AtomicU64,
    /// In nanoseconds.
    first_since: unmodeled::AtomicU64,
}

impl Summary {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            entries: unmodeled::AtomicU64::new(0),
            first_since: unmodeled::AtomicU64::new(0),
        }
    }

    fn update(&self, entries: &VecDeque<QueueEntry>) {
        if let Some(first) = entries.front() {
            let since = first.start.at.saturating_duration_since(self.began);
            self.first_since
                .store(nanoseconds(since), Ordering::Relaxed);
        }
        // Release: pairs with the Acquire in `read`, for a start that is not older than the number.
        self.entries.store(entries.len() as u64, Ordering::Release);
    }

    fn read(&self) -> (usize, Option<Instant>) {
        // Acquire: pairs with the Release in `update`.
        let entries = self.entries.load(Ordering::Acquire);
        let since = Duration::from_nanos(self.first_since.load(Ordering::Relaxed));
        let first_since = self.began.checked_add(since).filter(|_| entries > 0);
        (usize::try_from(entries).unwrap_or(usize::MAX), first_since)
    }
}

#[derive(Debug)]
struct Queue {
    entries: VecDeque<QueueEntry>,
    next_ticket: Ticket,
    state: PoolState,
}

/// An entry of the queue.
#[derive(Debug)]
struct QueueEntry {
    ticket: Ticket,
    start: WaitStart,
    waiter: Arc<Waiter>,
    /// Number of frames that were not handed out to the waiter yet.
    missing: usize,
}

/// Parameters of a blocking wait.
pub(crate) struct WaitParams<'a> {
    pub(crate) start: WaitStart,
    /// Number of frames that the caller waits for, at least 1.
    pub(crate) wanted: usize,
    /// Time at which the wait times out.
    pub(crate) deadline: Option<Instant>,
    /// Called with each frame that the caller takes itself, with the lock of the queue held.
    pub(crate) on_taken: &'a dyn Fn(usize),
    /// Called once the caller is in the queue. Neither this function nor the alarm may panic,
    /// because the queue entry would be left behind.
    pub(crate) on_enqueued: &'a dyn Fn(),
    /// Time from which on the wait counts as starved, and the function that is called once then.
    pub(crate) alarm: Option<(Instant, &'a dyn Fn())>,
}

impl WaitParams<'_> {
    /// Returns when the thread next wakes up by itself, if ever.
    fn next_wake_up(&self) -> Option<Instant> {
        match (self.deadline, &self.alarm) {
            (Some(deadline), &Some((alarm, _))) => Some(deadline.min(alarm)),
            (deadline, alarm) => deadline.or(alarm.as_ref().map(|&(at, _)| at)),
        }
    }

    /// Runs the alarm, whose time has come unless the deadline has passed. Returns false if the
    /// deadline has passed, which the caller must look at again after each alarm.
    fn run_alarm(&mut self) -> bool {
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            return false;
        }
        if let Some((_, run)) = self.alarm.take() {
            run();
        }
        true
    }
}

/// One waiting caller.
#[derive(Debug)]
pub(crate) struct Waiter {
    state: NoAllocMutex<State>,
    /// The frames of a wait for several, without the last, which is in the outcome. Locked after
    /// `state`. There is room for all before the wait begins.
    collected: NoAllocMutex<Vec<usize>>,
    /// Locked after `state`.
    deferred: NoAllocMutex<Deferred>,
}

#[derive(Debug)]
enum State {
    Idle,
    Waiting {
        ticket: Ticket,
        wake: Wake,
        /// Number of frames that were not assigned yet.
        missing: usize,
    },
    Assigned(Outcome),
}

#[derive(Debug)]
enum Wake {
    Thread(Thread),
    Task(TaskWaker),
}

/// The waker of a task. A panic in it or in its drop must not end the release that wakes the task,
/// nor leave the next waiter waiting (W6).
#[derive(Debug)]
struct TaskWaker(Option<Waker>);

impl TaskWaker {
    /// Clones the waker of `context`, which is foreign code and can panic.
    fn of(context: &Context<'_>) -> Self {
        Self(Some(context.waker().clone()))
    }

    fn wake(mut self) {
        if let Some(waker) = self.0.take() {
            catch_panics(|| waker.wake());
        }
    }
}

impl Drop for TaskWaker {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            catch_panics(|| drop(waker));
        }
    }
}

/// Part of a waiter that belongs to a list of deferred wakes.
#[derive(Debug, Default)]
struct Deferred {
    /// `Some` while the waiter is in a list.
    waker: Option<TaskWaker>,
    next: Option<Arc<Waiter>>,
}

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

/// Wakes a task, and then the tasks whose wakes were deferred meanwhile.
fn wake_task(waker: TaskWaker) {
    DEFERRED.with(|deferred| {
        deferred.is_waking.set(true);
        waker.wake();
        deferred.run();
        deferred.is_waking.set(false);
    });
}

/// Result of [`WaitQueue::enqueue`].
#[derive(Debug, PartialEq, Eq)]
enum Enqueued {
    /// The caller need not wait.
    Done(Outcome),
    Waiting(Ticket),
}

impl WaitQueue {
    /// Creates an empty queue for a pool in this state.
    pub(crate) fn new(state: PoolState) -> Self {
        let spares = ArrayQueue::new(SPARES);
        while spares.push(Arc::new(Waiter::new())).is_ok() {}
        let this = Self {
            queue: NoAllocMutex::new(Queue {
                entries: new_entries(),
                next_ticket: 0,
                state,
            }),
            refusal: AtomicUsize::new(0),
            summary: Summary::new(),
            spares,
        };
        this.publish_refusal(state.refusal());
        this
    }

    /// Returns why the pool is closed, for a caller that saw `CLOSED`; `None` if the pool has been
    /// opened since.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        // Acquire: pairs with the Release in `publish_refusal`. A caller that finds the pool
        // opened also finds the words open. By the Release in `FreeList::close` the reason is no
        // older than the `CLOSED` that the caller saw.
        REFUSALS[self.refusal.load(Ordering::Acquire)]
    }

    fn publish_refusal(&self, refusal: Option<Refusal>) {
        let index = REFUSALS.iter().position(|&known| known == refusal);
        // Release: pairs with the Acquire in `refusal`.
        self.refusal.store(
            index.expect("`REFUSALS` contains every value of `PoolState::refusal`"),
            Ordering::Release,
        );
    }

    /// Returns the state of the pool.
    pub(crate) fn state(&self) -> PoolState {
        self.queue.lock().state
    }

    /// Returns the number of waiting callers and the time since when the first of them waits. Takes
    /// no lock.
    pub(crate) fn waiting(&self) -> (usize, Option<Instant>) {
        self.summary.read()
    }

    /// Blocks until as many frames as it wants are assigned to the caller, the pool closes or the
    /// deadline has passed. Appends all frames but that of the outcome to `others`; if there is no
    /// outcome, they are the caller's all the same.
    pub(crate) fn wait(
        &self,
        free: &FreeList,
        params: WaitParams<'_>,
        others: &mut Vec<usize>,
    ) -> Outcome {
        let waiter = self.pop_spare();
        waiter.make_room(params.wanted);
        let wake = Wake::Thread(current_thread());
        let wait = (params.start, params.wanted);
        let outcome = match self.enqueue(free, &waiter, wake, wait, params.on_taken) {
            Enqueued::Done(outcome) => outcome,
            Enqueued::Waiting(ticket) => {
                (params.on_enqueued)();
                self.wait_for_outcome(free, &waiter, ticket, params)
            }
        };
        let mut collected = mem::take(&mut *waiter.collected.lock());
        others.append(&mut collected);
        self.push_spare(waiter);
        outcome
    }

    fn wait_for_outcome(
        &self,
        free: &FreeList,
        waiter: &Waiter,
        ticket: Ticket,
        mut params: WaitParams<'_>,
    ) -> Outcome {
        loop {
            // The waiter's own outcome may depend on them (D2).
            DEFERRED.with(DeferredWakes::run);
            if let Some(outcome) = waiter.outcome() {
                return outcome;
            }
            if !park_until(params.next_wake_up()) && !params.run_alarm() {
                return self
                    .cancel_wait(free, waiter, ticket)
                    .unwrap_or(Err(Refusal::TimedOut));
            }
        }
    }

    /// Adds `waiter` to the end of the queue, unless it finds enough frames or the pool is closed.
    fn enqueue(
        &self,
        free: &FreeList,
        waiter: &Arc<Waiter>,
        wake: Wake,
        (start, wanted): (WaitStart, usize),
        on_taken: &dyn Fn(usize),
    ) -> Enqueued {
        let mut queue = self.queue.lock();
        if let Some(refusal) = queue.state.refusal() {
            return Enqueued::Done(Err(refusal));
        }
        let mut missing = wanted;
        // By W2 only the first waiter can find a frame. If a thread outside the queue takes it
        // first, `take` fails, and no frame is free from then on (F3).
        // mutant: enqueue-looks-again
        if queue.entries.is_empty() && free.set_waiters() {
            // mutant: enqueue-takes
            while let Ok(taken) = free.take(1) {
                let frame = free.frame_at(taken);
                on_taken(frame);
                missing -= 1;
                if missing == 0 {
                    free.clear_waiters();
                    return Enqueued::Done(Ok(frame));
                }
                waiter.collected.lock().push(frame);
            }
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        waiter.start(ticket, wake, missing);
        queue.entries.push_back(QueueEntry {
            ticket,
            start,
            waiter: Arc::clone(waiter),
            missing,
        });
        self.summary.update(&queue.entries);
        Enqueued::Waiting(ticket)
    }

    /// Cancels the wait of `ticket`. If an outcome was assigned to `waiter` at the same moment,
    /// returns that outcome, and its frame belongs to the caller.
    fn cancel_wait(&self, free: &FreeList, waiter: &Waiter, ticket: Ticket) -> Option<Outcome> {
        let (outcome, wake) = waiter.cancel();
        if outcome.is_none() {
            self.remove(free, ticket);
        }
        // After the entry is removed, because the drop of a waker is foreign code (W6).
        drop(wake);
        // mutant: cancel-returns-outcome
        outcome
    }

    /// Removes the entry of `ticket`, unless it was popped already. Then the popping thread learns
    /// that the waiter has canceled (W3).
    fn remove(&self, free: &FreeList, ticket: Ticket) {
        let mut queue = self.queue.lock();
        if let Ok(index) = queue
            .entries
            .binary_search_by_key(&ticket, |entry| entry.ticket)
        {
            queue.entries.remove(index);
            self.summary.update(&queue.entries);
            // mutant: remove-clears-waiters
            if queue.entries.is_empty() {
                free.clear_waiters();
            }
        }
    }

    /// Returns the first waiter, for a releasing thread whose frame is [`Wanted`]. Pops its entry,
    /// unless it wants more frames. Returns `None` if the queue is empty; then `WAITERS` is clear,
    /// and the frame can be put back.
    ///
    /// [`Wanted`]: super::free_list::PutBack::Wanted
    pub(crate) fn pop_first(&self, free: &FreeList) -> Option<Handoff> {
        let mut queue = self.queue.lock();
        let first = queue.entries.front_mut()?;
        // mutant: pop-with-the-last-frame
        if first.missing > 1 {
            first.missing -= 1;
            return Some(Handoff::of(first));
        }
        let entry = queue.entries.pop_front()?;
        self.summary.update(&queue.entries);
        // mutant: pop-clears-waiters
        if queue.entries.is_empty() {
            free.clear_waiters();
        }
        // mutant: pop-before-assign
        Some(Handoff::of(&entry))
    }

    /// Changes the state of the pool, and opens or closes the free list accordingly. If the pool
    /// closes, all waiters are out of the queue when this function returns (W5). They learn of it
    /// when the [`RejectedWaiters`] are dropped.
    pub(crate) fn change_state(
        &self,
        free: &FreeList,
        change: impl FnOnce(&mut PoolState),
    ) -> (StateChange, Option<RejectedWaiters>) {
        let mut queue = self.queue.lock();
        let before = queue.state.refusal();
        change(&mut queue.state);
        let after = queue.state.refusal();
        match (before, after) {
            (None, Some(refusal)) => {
                self.publish_refusal(after);
                let out = free.close();
                // mutant: close-clears-waiters
                free.clear_waiters();
                let rejected = queue.reject_all(refusal);
                self.summary.update(&queue.entries);
                (StateChange::Closed { out }, rejected)
            }
            (Some(_), None) => {
                // mutant: open-words
                let out = free.open();
                // mutant: publish-open
                self.publish_refusal(after);
                (StateChange::Opened { out }, None)
            }
            (Some(_), Some(_)) | (None, None) => {
                self.publish_refusal(after);
                (StateChange::None, None)
            }
        }
    }

    fn pop_spare(&self) -> Arc<Waiter> {
        self.spares.pop().unwrap_or_else(|| Arc::new(Waiter::new()))
    }

    /// Stores an idle waiter for the next caller. Another thread may still be about to assign an
    /// outcome to an earlier wait of it, which fails because of the ticket (W3).
    fn push_spare(&self, waiter: Arc<Waiter>) {
        // The wake was deferred before the outcome could be read, so the answer is not too early.
        if waiter.deferred.lock().waker.is_some() {
            return;
        }
        // If the store is full, more callers waited at once than it has room for. This waiter is
        // freed.
        drop(self.spares.push(waiter));
    }
}

impl Queue {
    fn reject_all(&mut self, refusal: Refusal) -> Option<RejectedWaiters> {
        if self.entries.is_empty() {
            return None;
        }
        // mutant: reject-empties-queue
        let entries = mem::replace(&mut self.entries, new_entries());
        Some(RejectedWaiters { entries, refusal })
    }
}

/// Allocates room for as many entries as there are spare waiters, so that `enqueue` allocates
/// nothing up to that number.
fn new_entries() -> VecDeque<QueueEntry> {
    VecDeque::with_capacity(SPARES)
}

/// The callers that waited when the pool closed. Dropping this fails their waits, which may run
/// wakers, so no lock may be held then.
#[derive(Debug)]
#[must_use = "fails the waits when it is dropped, which must happen after all locks are released"]
pub(crate) struct RejectedWaiters {
    entries: VecDeque<QueueEntry>,
    refusal: Refusal,
}

impl Drop for RejectedWaiters {
    fn drop(&mut self) {
        for QueueEntry { ticket, waiter, .. } in self.entries.drain(..) {
            Waiter::assign(&waiter, ticket, Err(self.refusal), || ());
        }
    }
}

impl Waiter {
    fn new() -> Self {
        Self {
            state: NoAllocMutex::new(State::Idle),
            collected: NoAllocMutex::new(Vec::new()),
            deferred: NoAllocMutex::new(Deferred::default()),
        }
    }

    /// Makes room for the frames of a wait, because nothing is allocated while a lock is held.
    fn make_room(&self, wanted: usize) {
        if wanted > 1 {
            let room = Vec::with_capacity(wanted - 1);
            *self.collected.lock() = room;
        }
    }

    fn start(&self, ticket: Ticket, wake: Wake, missing: usize) {
        *self.state.lock() = State::Waiting {
            ticket,
            wake,
            missing,
        };
    }

    /// Ends the wait of `ticket` with `outcome` and wakes the caller, at once or by a deferred wake
    /// (D1). Does nothing and returns false if that wait has ended already.
    /// Calls `record` before.
    fn assign(this: &Arc<Self>, ticket: Ticket, outcome: Outcome, record: impl FnOnce()) -> bool {
        let mut state = this.state.lock();
        // mutant: assign-checks-ticket
        if !matches!(*state, State::Waiting { ticket: current, .. } if current == ticket) {
            // mutant: assign-reports-canceled
            return false;
        }
        // The caller keeps the frame, and with it the pool, until the outcome can be read.
        record();
        if let (State::Waiting { missing, .. }, Ok(frame)) = (&mut *state, outcome) {
            *missing -= 1;
            // mutant: assign-collects
            if *missing > 0 {
                this.collected.lock().push(frame);
                return true;
            }
        }
        let State::Waiting { wake, .. } = mem::replace(&mut *state, State::Assigned(outcome))
        else {
            return true;
        };
        match wake {
            Wake::Thread(thread) => {
                drop(state);
                thread.unpark();
            }
            // Deferred under the lock: see `push_spare`.
            Wake::Task(waker) => {
                let waker = DEFERRED.with(|deferred| {
                    if deferred.is_waking.get() {
                        deferred.push(this, waker);
                        None
                    } else {
                        Some(waker)
                    }
                });
                drop(state);
                if let Some(waker) = waker {
                    wake_task(waker);
                }
            }
        }
        true
    }

    /// Returns the outcome if one has been assigned; the waiter is idle then.
    fn outcome(&self) -> Option<Outcome> {
        let mut state = self.state.lock();
        match *state {
            State::Assigned(outcome) => {
                *state = State::Idle;
                Some(outcome)
            }
            State::Idle | State::Waiting { .. } => None,
        }
    }

    /// Ends the wait in any state. Returns the outcome if one has been assigned before, or else how
    /// the waiter would have been woken.
    fn cancel(&self) -> (Option<Outcome>, Option<Wake>) {
        let before = mem::replace(&mut *self.state.lock(), State::Idle);
        match before {
            State::Assigned(outcome) => (Some(outcome), None),
            State::Waiting { wake, .. } => (None, Some(wake)),
            State::Idle => (None, None),
        }
    }

    /// Returns the outcome if one has been assigned. Otherwise the assignment will wake the task
    /// of `context`.
    fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        // Wakers are foreign code, so they are cloned before the lock is taken and dropped after
        // it is free.
        let mut wake_next = Wake::Task(TaskWaker::of(context));
        let mut state = self.state.lock();
        if let State::Waiting { wake, .. } = &mut *state {
            // mutant: poll-replaces-waker
            mem::swap(wake, &mut wake_next);
            return Poll::Pending;
        }
        drop(state);
        drop(wake_next);
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A waiter that was popped from the queue and is to be assigned a frame.
#[derive(Debug)]
pub(crate) struct Handoff {
    ticket: Ticket,
    site: CallSite,
    waiter: Arc<Waiter>,
}

impl Handoff {
    fn of(entry: &QueueEntry) -> Self {
        Self {
            ticket: entry.ticket,
            site: entry.start.site,
            waiter: Arc::clone(&entry.waiter),
        }
    }

    /// Returns the call site of the waiter.
    pub(crate) fn site(&self) -> CallSite {
        self.site
    }

    /// Assigns `frame` to the waiter. Returns false if the waiter has canceled; the frame then
    /// still belongs to the caller. Touches nothing of the pool (W4), except that it calls `record`
    /// first if the waiter has not canceled, with the waiter locked.
    pub(crate) fn assign(self, frame: usize, record: impl FnOnce()) -> bool {
        Waiter::assign(&self.waiter, self.ticket, Ok(frame), record)
    }
}

/// Wait of an asynchronous caller, kept from poll to poll. The caller must
/// [`cancel`](Self::cancel) it before it drops it.
#[derive(Debug, Default)]
pub(crate) struct PendingWait {
    entry: Option<QueueEntry>,
    alarm_ran: bool,
    /// All frames but that of the outcome.
    others: Vec<usize>,
}

impl PendingWait {
    /// Returns the start of the wait if the caller is in the queue.
    pub(crate) fn start(&self) -> Option<WaitStart> {
        self.entry.as_ref().map(|entry| entry.start)
    }

    /// Returns true for the first call only.
    pub(crate) fn is_first_alarm(&mut self) -> bool {
        !mem::replace(&mut self.alarm_ran, true)
    }

    /// Takes the frames that the caller has beside that of the outcome.
    pub(crate) fn take_others(&mut self) -> Vec<usize> {
        mem::take(&mut self.others)
    }

    /// Enters the queue if the caller is not in it yet. Returns the outcome if there is one.
    pub(crate) fn poll(
        &mut self,
        queue: &WaitQueue,
        free: &FreeList,
        context: &Context<'_>,
        wait: (WaitStart, usize),
        on_taken: &dyn Fn(usize),
    ) -> Poll<Outcome> {
        let Some(entry) = &self.entry else {
            return self.enqueue(queue, free, context, wait, on_taken);
        };
        let polled = entry.waiter.poll(context);
        if polled.is_ready() {
            if let Some(entry) = self.entry.take() {
                self.end(queue, entry.waiter);
            }
        }
        polled
    }

    fn end(&mut self, queue: &WaitQueue, waiter: Arc<Waiter>) {
        let mut collected = mem::take(&mut *waiter.collected.lock());
        self.others.append(&mut collected);
        queue.push_spare(waiter);
    }

    /// The first poll.
    fn enqueue(
        &mut self,
        queue: &WaitQueue,
        free: &FreeList,
        context: &Context<'_>,
        (start, wanted): (WaitStart, usize),
        on_taken: &dyn Fn(usize),
    ) -> Poll<Outcome> {
        let wake = Wake::Task(TaskWaker::of(context));
        let waiter = queue.pop_spare();
        waiter.make_room(wanted);
        match queue.enqueue(free, &waiter, wake, (start, wanted), on_taken) {
            Enqueued::Done(outcome) => {
                self.end(queue, waiter);
                Poll::Ready(outcome)
            }
            Enqueued::Waiting(ticket) => {
                self.alarm_ran = false;
                self.entry = Some(QueueEntry {
                    ticket,
                    start,
                    waiter,
                    missing: wanted,
                });
                Poll::Pending
            }
        }
    }

    /// Cancels the wait if the caller is in the queue. Returns the frames that were assigned to the
    /// caller before or at the same moment, which then belong to the caller.
    #[must_use]
    pub(crate) fn cancel(&mut self, queue: &WaitQueue, free: &FreeList) -> Vec<usize> {
        let Some(QueueEntry { ticket, waiter, .. }) = self.entry.take() else {
            return Vec::new();
        };
        let outcome = queue.cancel_wait(free, &waiter, ticket);
        self.end(queue, waiter);
        // mutant: cancel-returns-collected
        let mut frames = self.take_others();
        frames.extend(outcome.and_then(Result::ok));
        frames
    }
}

#[cfg(test)]
mod testing {
    use crate::pool::free_list::{Lanes, PutBack, put_back};

    use super::*;

    /// A pool of frames without memory: free list and wait queue, combined as in `Core`.
    #[derive(Debug)]
    pub(super) struct TestPool {
        pub(super) free: FreeList,
        pub(super) wait_queue: WaitQueue,
    }

    pub(super) fn now() -> WaitStart {
        WaitStart {
            at: Instant::now(),
            number: 0,
            site: CallSite::caller(None),
        }
    }

    /// Returns the parameters of a wait without a deadline.
    pub(super) fn no_deadline() -> WaitParams<'static> {
        WaitParams {
            start: now(),
            wanted: 1,
            deadline: None,
            on_taken: &|_| (),
            on_enqueued: &|| (),
            alarm: None,
        }
    }

    /// Returns a free list of one word.
    fn one_word(frames: usize) -> FreeList {
        let lanes = Lanes {
            count: 1,
            rotates: true,
            remembers_starts: true,
        };
        FreeList::new(frames, lanes, 1, true).unwrap()
    }

    impl TestPool {
        /// Creates a pool whose frames are all out, in a single word.
        pub(super) fn exhausted(frames: usize) -> Arc<Self> {
            Self::all_out(one_word(frames))
        }

        fn all_out(free: FreeList) -> Arc<Self> {
            let frames = free.frames();
            assert_eq!(free.take(frames).unwrap().count(), frames);
            Arc::new(Self {
                free,
                wait_queue: WaitQueue::new(PoolState::OPEN),
            })
        }

        /// Does what `Core::release` does.
        pub(super) fn release(&self, frame: usize) {
            let place = self.free.place(frame);
            while put_back(self.free.word(place.word), place.flips()) == PutBack::Wanted {
                if let Some(handoff) = self.wait_queue.pop_first(&self.free) {
                    if handoff.assign(frame, || ()) {
                        return;
                    }
                }
            }
        }

        /// Releases the frame of an outcome, if it has one.
        #[cfg(loom)]
        pub(super) fn release_outcome(&self, outcome: Outcome) {
            if let Ok(frame) = outcome {
                self.release(frame);
            }
        }

        pub(super) fn wait(&self) -> Outcome {
            self.wait_queue
                .wait(&self.free, no_deadline(), &mut Vec::new())
        }

        /// Waits for `wanted` frames. Returns all of them.
        #[cfg(loom)]
        pub(super) fn wait_for(&self, wanted: usize) -> Vec<usize> {
            let mut frames = Vec::new();
            let params = WaitParams {
                wanted,
                ..no_deadline()
            };
            let last = self.wait_queue.wait(&self.free, params, &mut frames);
            frames.extend(last);
            frames
        }

        /// Enters the queue without blocking. Returns the outcome if there is no need to wait.
        pub(super) fn enqueue(&self, waiter: &Arc<Waiter>) -> Result<Ticket, Outcome> {
            let wake = Wake::Thread(current_thread());
            match self
                .wait_queue
                .enqueue(&self.free, waiter, wake, (now(), 1), &|_| ())
            {
                Enqueued::Waiting(ticket) => Ok(ticket),
                Enqueued::Done(outcome) => Err(outcome),
            }
        }

        /// Does what a time-out does.
        pub(super) fn cancel(&self, waiter: &Waiter, ticket: Ticket) -> Option<Outcome> {
            self.wait_queue.cancel_wait(&self.free, waiter, ticket)
        }

        /// Closes the pool and opens it again.
        #[cfg(loom)]
        pub(super) fn close_and_open(&self) {
            for committed in [false, true] {
                let change = |state: &mut PoolState| state.committed = committed;
                drop(self.wait_queue.change_state(&self.free, change));
            }
        }

        /// Asserts that no waiter, flag or frame is left behind.
        pub(super) fn assert_at_rest(&self) {
            assert_eq!(self.wait_queue.waiting(), (0, None));
            assert_eq!(self.free.free_frames(), self.free.frames());
            let taken = self.free.take(1).unwrap();
            let done = put_back(self.free.word(taken.word), taken.flips());
            assert_eq!(done, PutBack::Done);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::testing::{TestPool, now};
    use super::*;

    #[test]
    fn waiters_get_frames_in_fifo_order() {
        let pool = TestPool::exhausted(3);
        let waiters = [(); 3].map(|()| Arc::new(Waiter::new()));
        for waiter in &waiters {
            pool.enqueue(waiter).unwrap();
        }
        for frame in [2, 0, 1] {
            pool.release(frame);
        }
        assert_eq!(
            waiters.each_ref().map(|waiter| waiter.outcome()),
            [2, 0, 1].map(|n| Some(Ok(n)))
        );
        for frame in 0..3 {
            pool.release(frame);
        }
        pool.assert_at_rest();
    }

    #[test]
    fn a_waiter_that_cancels_leaves_the_middle_of_the_queue() {
        let pool = TestPool::exhausted(2);
        let waiters = [(); 3].map(|()| Arc::new(Waiter::new()));
        let tickets = waiters
            .each_ref()
            .map(|waiter| pool.enqueue(waiter).unwrap());
        assert_eq!(pool.cancel(&waiters[1], tickets[1]), None);
        assert_eq!(pool.wait_queue.waiting().0, 2);
        pool.release(0);
        pool.release(1);
        assert_eq!(
            waiters.each_ref().map(|waiter| waiter.outcome()),
            [Some(Ok(0)), None, Some(Ok(1))]
        );
    }

    #[test]
    fn a_waiter_that_has_canceled_is_not_recorded_as_a_holder() {
        let pool = TestPool::exhausted(1);
        let waiter = Arc::new(Waiter::new());
        for cancels in [false, true] {
            let ticket = pool.enqueue(&waiter).unwrap();
            let handoff = pool.wait_queue.pop_first(&pool.free).unwrap();
            if cancels {
                assert_eq!(pool.cancel(&waiter, ticket), None);
            }
            let recorded = Cell::new(false);
            let assigned = handoff.assign(0, || recorded.set(true));
            assert_eq!((assigned, recorded.get()), (!cancels, !cancels));
            assert_eq!(waiter.outcome(), (!cancels).then_some(Ok(0)));
        }
        pool.release(0);
        pool.assert_at_rest();
    }

    #[test]
    fn canceled_waits_do_not_grow_the_queue() {
        let pool = TestPool::exhausted(1);
        let waiter = Arc::new(Waiter::new());
        for _ in 0..10_000 {
            let ticket = pool.enqueue(&waiter).unwrap();
            assert_eq!(pool.cancel(&waiter, ticket), None);
        }
        assert!(pool.wait_queue.queue.lock().entries.capacity() <= SPARES);
        pool.release(0);
        pool.assert_at_rest();
    }

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
            let mut poll = || {
                let context = Context::from_waker(&waker);
                wait.poll(&pool.wait_queue, &pool.free, &context, (now(), 1), &|_| ())
            };
            assert_eq!(poll(), Poll::Pending);
            pool.release(0);
            assert_eq!(poll(), Poll::Ready(Ok(0)));
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

    #[test]
    fn closing_fails_all_waits_even_if_the_pool_opens_at_once() {
        let pool = TestPool::exhausted(1);
        let waiters = [(); 5].map(|()| Arc::new(Waiter::new()));
        for waiter in &waiters {
            pool.enqueue(waiter).unwrap();
        }
        let (closed, rejected) = pool
            .wait_queue
            .change_state(&pool.free, |state| state.committed = false);
        assert_eq!(closed, StateChange::Closed { out: 1 });
        let (opened, none) = pool
            .wait_queue
            .change_state(&pool.free, |state| state.committed = true);
        assert_eq!(opened, StateChange::Opened { out: 1 });
        assert!(none.is_none());
        drop(rejected);
        for waiter in &waiters {
            assert_eq!(waiter.outcome(), Some(Err(Refusal::NotCommitted)));
        }
        pool.release(0);
        pool.assert_at_rest();
    }

    #[test]
    fn a_decommit_during_a_flush_takes_precedence_over_the_flush() {
        let pool = TestPool::exhausted(1);
        let change =
            |change: fn(&mut PoolState)| pool.wait_queue.change_state(&pool.free, change).0;
        assert_eq!(
            change(|state| state.flushing = true),
            StateChange::Closed { out: 1 }
        );
        assert_eq!(pool.wait_queue.refusal(), Some(Refusal::Flushing));
        assert_eq!(change(|state| state.committed = false), StateChange::None);
        assert_eq!(pool.wait_queue.refusal(), Some(Refusal::NotCommitted));
        assert_eq!(change(|state| state.committed = true), StateChange::None);
        assert_eq!(pool.wait(), Err(Refusal::Flushing));
        assert_eq!(
            change(|state| state.flushing = false),
            StateChange::Opened { out: 1 }
        );
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use loom::thread;

    use crate::sync::unmodeled::Mutex;

    use super::testing::{TestPool, no_deadline, now};
    use super::*;

    /// Releases frame 0 in another thread.
    fn spawn_release(pool: &Arc<TestPool>) -> thread::JoinHandle<()> {
        let pool = pool.clone();
        thread::spawn(move || pool.release(0))
    }

    /// Waits for frame 0 while `releaser` releases it, and releases it again.
    fn wait_for_release(pool: &TestPool, releaser: thread::JoinHandle<()>) {
        let outcome = pool.wait();
        assert_eq!(outcome, Ok(0));
        releaser.join().unwrap();
        pool.release_outcome(outcome);
        pool.assert_at_rest();
    }

    /// W2: if a frame is released while a waiter is enqueued, one of the two threads sees the
    /// other.
    ///
    /// Kills: `enqueue` ignoring the result of `set_waiters`; `put_back` exchanging in spite of
    /// `WAITERS`; `pop_first` not clearing `WAITERS` after the last entry.
    #[test]
    fn no_wake_up_is_lost_between_a_release_and_an_enqueue() {
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let releaser = spawn_release(&pool);
            wait_for_release(&pool, releaser);
        });
    }

    /// W2: the same for a frame that a thread outside the queue takes and releases.
    ///
    /// Kills: `enqueue` clearing `WAITERS` when its `take` fails.
    #[test]
    fn a_frame_taken_by_a_thread_that_does_not_wait_reaches_the_waiter() {
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            pool.release(0);
            let other = {
                let pool = pool.clone();
                thread::spawn(move || {
                    if let Ok(taken) = pool.free.take(1) {
                        pool.release(pool.free.frame_at(taken));
                    }
                })
            };
            pool.release_outcome(pool.wait());
            other.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// W3: a frame that is assigned at the moment of a cancellation or a time-out is not lost: the
    /// canceling caller gets it, or it goes to the next waiter or back into the free list.
    ///
    /// Kills: `cancel_wait` dropping the outcome; `assign` returning true for a waiter that has
    /// canceled; `remove` not clearing `WAITERS` after the last entry.
    #[test]
    fn no_frame_is_lost_between_an_assignment_and_a_cancellation() {
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = spawn_release(&pool);
            if let Some(outcome) = pool.cancel(&waiter, ticket) {
                pool.release_outcome(outcome);
            }
            releaser.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// W3: the same with a second waiter, which must get the frame in the end.
    ///
    /// Kills: `assign` returning true for a waiter that has canceled.
    #[test]
    fn a_canceled_wait_passes_the_frame_to_the_next_waiter() {
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = spawn_release(&pool);
            let next = {
                let pool = pool.clone();
                thread::spawn(move || pool.release_outcome(pool.wait()))
            };
            if let Some(outcome) = pool.cancel(&waiter, ticket) {
                pool.release_outcome(outcome);
            }
            releaser.join().unwrap();
            next.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// W3: a frame for an earlier wait is not assigned to a later wait of the same waiter.
    ///
    /// Kills: `assign` not comparing the ticket.
    #[test]
    fn a_ticket_is_valid_for_one_wait() {
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = spawn_release(&pool);
            if let Some(outcome) = pool.cancel(&waiter, ticket) {
                pool.release_outcome(outcome);
            } else if let Ok(ticket) = pool.enqueue(&waiter) {
                let outcome =
                    pool.wait_queue
                        .wait_for_outcome(&pool.free, &waiter, ticket, no_deadline());
                // A waiter that has left with a frame has no entry any more.
                assert_eq!(pool.wait_queue.waiting().0, 0);
                pool.release_outcome(outcome);
            } else {
                pool.release(0);
            }
            releaser.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// W3: a waiter for two frames gets both, whichever of two releases comes first or is assigned
    /// first.
    ///
    /// Kills: `assign` waking the waiter with its first frame; an entry popped with its first
    /// frame.
    #[test]
    fn a_waiter_for_two_frames_gets_both() {
        loom::model(|| {
            let pool = TestPool::exhausted(2);
            let releaser = spawn_release(&pool);
            let other = {
                let pool = pool.clone();
                thread::spawn(move || pool.release(1))
            };
            let mut frames = pool.wait_for(2);
            frames.sort_unstable();
            assert_eq!(frames, [0, 1]);
            releaser.join().unwrap();
            other.join().unwrap();
            frames.into_iter().for_each(|frame| pool.release(frame));
            pool.assert_at_rest();
        });
    }

    /// W3: two waiters for two frames each, of two frames in all, do not keep them from each other.
    ///
    /// Kills: an entry popped with its first frame.
    #[test]
    fn two_waiters_for_two_frames_do_not_deadlock() {
        loom::model(|| {
            let pool = TestPool::exhausted(2);
            let waiter = {
                let pool = pool.clone();
                thread::spawn(move || {
                    let frames = pool.wait_for(2);
                    frames.into_iter().for_each(|frame| pool.release(frame));
                })
            };
            pool.release(0);
            pool.release(1);
            let frames = pool.wait_for(2);
            frames.into_iter().for_each(|frame| pool.release(frame));
            waiter.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// W3: a wait for two frames that is canceled returns the frame that it has collected.
    ///
    /// Kills: `cancel` dropping the collected frames.
    #[test]
    fn a_canceled_wait_for_two_frames_loses_none() {
        loom::model(|| {
            let pool = TestPool::exhausted(2);
            let mut wait = PendingWait::default();
            let context = Context::from_waker(Waker::noop());
            let polled = wait.poll(&pool.wait_queue, &pool.free, &context, (now(), 2), &|_| ());
            assert!(polled.is_pending());
            let releaser = spawn_release(&pool);
            for frame in wait.cancel(&pool.wait_queue, &pool.free) {
                pool.release(frame);
            }
            releaser.join().unwrap();
            pool.release(1);
            pool.assert_at_rest();
        });
    }

    /// A task that is polled again is woken by the waker of its last poll.
    ///
    /// Kills: `poll` keeping the first waker.
    #[test]
    fn the_waker_of_the_last_poll_is_woken() {
        struct Unpark(Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let releaser = spawn_release(&pool);
            let mut wait = PendingWait::default();
            let mut poll = |waker: &Waker| {
                let context = Context::from_waker(waker);
                wait.poll(&pool.wait_queue, &pool.free, &context, (now(), 1), &|_| ())
            };
            let mut polled = poll(Waker::noop());
            let waker = Waker::from(std::sync::Arc::new(Unpark(current_thread())));
            let outcome = loop {
                if let Poll::Ready(outcome) = polled {
                    break outcome;
                }
                polled = poll(&waker);
                if polled.is_pending() {
                    thread::park();
                }
            };
            assert_eq!(outcome, Ok(0));
            releaser.join().unwrap();
            pool.release_outcome(outcome);
            pool.assert_at_rest();
        });
    }

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
                let context = Context::from_waker(Waker::noop());
                let polled = wait.poll(&pool.wait_queue, &pool.free, &context, (now(), 1), &|_| ());
                assert_eq!(polled, Poll::Ready(Ok(0)));
                pool.release(0);
            }
        }
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let tasks = [(); 2].map(|()| {
                let task = std::sync::Arc::new(PollAtOnce(Mutex::new(None)));
                let mut wait = PendingWait::default();
                let waker = Waker::from(task.clone());
                let context = Context::from_waker(&waker);
                let polled = wait.poll(&pool.wait_queue, &pool.free, &context, (now(), 1), &|_| ());
                assert!(polled.is_pending());
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

    /// W5: a caller that waits when the pool closes fails or gets a frame, even if the pool opens
    /// at once. A frame that is released meanwhile is not lost.
    ///
    /// Kills: `reject_all` leaving the entries in the queue; `change_state` not clearing
    /// `WAITERS`.
    #[test]
    fn closing_ends_every_wait() {
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = spawn_release(&pool);
            pool.close_and_open();
            let outcome =
                pool.wait_queue
                    .wait_for_outcome(&pool.free, &waiter, ticket, no_deadline());
            assert!(matches!(outcome, Ok(0) | Err(Refusal::NotCommitted)));
            pool.release_outcome(outcome);
            releaser.join().unwrap();
            pool.assert_at_rest();
        });
    }
}
