//! Acquirer waits for a frame: one line, first come, first served.
//!
//! This file knows indices only, no memory, and is safe code. Blocking, timed and asynchronous
//! callers stand in the same line.
//!
//! The line is a locked list. Nobody touches it while frames are free: an acquire comes here when
//! it found none, a release when it saw `WAITERS` in its word. (A lock-free queue would serve, too,
//! but nothing can leave one from the middle, so that callers who time out again and again would
//! fill it.)
//!
//! # The waiter
//!
//! ```text
//!            enqueue              assign(ticket, outcome)
//!   Idle ─────────────▶ Waiting ─────────────────────────▶ Settled
//!    ▲                     │ cancel                         │ outcome, cancel
//!    └─────────────────────┴──────────────────────────────────┘
//! ```
//!
//! # Invariants
//!
//! - **W1** While nobody holds the line's lock: `WAITERS` is set in every word if somebody stands in
//!   the line, and in none otherwise.
//! - **W2** While somebody stands in the line and the pool is open, no bit is set in any word: the
//!   first to come set `WAITERS` everywhere and found nothing, and F3 keeps it so. So nobody waits
//!   while a frame is free.
//! - **W3** Each time a waiter stands in the line it has a ticket of its own, and a frame is given
//!   only to the ticket that was called. Whoever was called leaves with the frame, or has withdrawn
//!   before; then the caller knows and calls the next. Between being called and being settled the
//!   frame belongs to whoever called, who alone can delay it.
//! - **W4** The frame is settled on a waiter with no lock of the pool held and nothing of the pool
//!   touched afterwards: the waiter may run, drop the frame and with it the pool at once.
//! - **W5** Whoever closes the pool empties the line in the same breath, so everybody who waited
//!   then is refused, even if the pool is opened again before they run.

use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::diagnostics::WaitStart;
use crate::error::{AcquireError, Starvation};
use crate::panics::catch_panics;
use crate::sync::{
    Arc, ArrayQueue, AtomicUsize, NoAllocMutex, Ordering, Thread, current_thread, park_until,
};

use super::free_list::FreeList;

/// WaitQueue kept ready, so that to wait allocates nothing.
const SPARES: usize = if cfg!(loom) { 1 } else { 16 };

/// Why somebody leaves the line without a frame, or does not get into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    TimedOut,
    Flushing,
    NotCommitted,
}

impl From<Refusal> for AcquireError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TimedOut => Self::TimedOut(Starvation::default()),
            Refusal::Flushing => Self::Flushing,
            Refusal::NotCommitted => Self::NotCommitted,
        }
    }
}

/// Why a pool hands nothing out, and whether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolState {
    pub(crate) committed: bool,
    pub(crate) flushing: bool,
    /// Closed for good.
    pub(crate) retired: bool,
}

impl PoolState {
    pub(crate) const OPEN: Self = Self {
        committed: true,
        flushing: false,
        retired: false,
    };

    /// What callers are told, unless the pool is open.
    fn refusal(self) -> Option<Refusal> {
        match self {
            Self {
                committed: false, ..
            }
            | Self { retired: true, .. } => Some(Refusal::NotCommitted),
            Self { flushing: true, .. } => Some(Refusal::Flushing),
            Self::OPEN => None,
        }
    }
}

/// What [`PoolState::refusal`] can be, numbered for an atomic.
const REFUSALS: [Option<Refusal>; 3] = [None, Some(Refusal::Flushing), Some(Refusal::NotCommitted)];

/// What a change of the gate did to the free list; with the frames that were out at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateChange {
    None,
    Closed { out: usize },
    Opened { out: usize },
}

/// The number of one stay in the line.
type Ticket = u64;

/// What a waiter leaves the line with: the number of a frame, which is now its own, or a refusal.
pub(crate) type Outcome = Result<usize, Refusal>;

/// The line before a pool.
#[derive(Debug)]
pub(crate) struct WaitQueue {
    line: NoAllocMutex<Line>,
    /// The index in `REFUSALS` of what a closed pool says, for those who found it so and are not to
    /// take the lock. Written before the words are closed and after they are opened: whoever saw
    /// `CLOSED` and then finds no refusal has missed an opening, and nobody finds a wrong one.
    refusal: AtomicUsize,
    spares: ArrayQueue<Arc<Waiter>>,
}

#[derive(Debug)]
struct Line {
    waiting: VecDeque<QueueEntry>,
    next_ticket: Ticket,
    gate: PoolState,
}

/// A place in the line.
#[derive(Debug)]
struct QueueEntry {
    ticket: Ticket,
    began: WaitStart,
    waiter: Arc<Waiter>,
}

/// How a thread waits.
pub(crate) struct WaitParams<'a> {
    pub(crate) began: WaitStart,
    /// When it gives up.
    pub(crate) deadline: Option<Instant>,
    /// What it does once it stands in the line. It must not panic, or the place would be nobody's; nor may the
    /// next.
    pub(crate) enlisted: &'a dyn Fn(),
    /// When it calls for help, once, if it waits for so long; and how.
    pub(crate) alarm: Option<(Instant, &'a dyn Fn())>,
}

impl WaitParams<'_> {
    /// When the thread is to wake up by itself, if ever.
    fn until(&self) -> Option<Instant> {
        match (self.deadline, &self.alarm) {
            (Some(deadline), &Some((alarm, _))) => Some(deadline.min(alarm)),
            (deadline, alarm) => deadline.or(alarm.as_ref().map(|&(at, _)| at)),
        }
    }

    /// Calls for help, if it is time for that and not for giving up.
    fn call_for_help(&mut self) -> bool {
        match self.alarm.take() {
            Some((alarm, call)) if self.deadline.is_none_or(|deadline| alarm <= deadline) => {
                call();
                true
            }
            _ => false,
        }
    }
}

/// One caller that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    state: NoAllocMutex<State>,
}

#[derive(Debug)]
enum State {
    Idle,
    Waiting { ticket: Ticket, wake: Wake },
    Settled(Outcome),
}

#[derive(Debug)]
enum Wake {
    Thread(Thread),
    Task(Waker),
}

impl Wake {
    fn wake(self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            // It is not to end the release that woke it, nor to keep the next in the line waiting.
            Self::Task(waker) => catch_panics(|| waker.wake()),
        }
    }
}

/// What came of the request to wait.
#[derive(Debug, PartialEq, Eq)]
enum Enlisted {
    /// No need to: it was settled at once.
    Settled(Outcome),
    Waiting(Ticket),
}

impl WaitQueue {
    /// An empty line before a pool with this gate.
    pub(crate) fn new(gate: PoolState) -> Self {
        let spares = ArrayQueue::new(SPARES);
        while spares.push(Arc::new(Waiter::new())).is_ok() {}
        let waiters = Self {
            line: NoAllocMutex::new(Line {
                waiting: new_line(),
                next_ticket: 0,
                gate,
            }),
            refusal: AtomicUsize::new(0),
            spares,
        };
        waiters.publish(gate.refusal());
        waiters
    }

    /// What a pool says that was found closed; `None` if it has been opened since.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        // Acquire: pairs with the Release in `publish`; whoever finds that the pool has been opened
        // finds the words open, too. That the refusal is no older than the `CLOSED` that the caller
        // saw follows from the Release in `FreeList::close`.
        REFUSALS[self.refusal.load(Ordering::Acquire)]
    }

    fn publish(&self, refusal: Option<Refusal>) {
        let index = REFUSALS.iter().position(|&known| known == refusal);
        // Release: pairs with the Acquire in `refusal`.
        self.refusal
            .store(index.expect("`REFUSALS` has them all"), Ordering::Release);
    }

    /// The gate as it is now.
    pub(crate) fn gate(&self) -> PoolState {
        self.line.lock().gate
    }

    /// Callers that stand in the line now, and since when the first of them.
    pub(crate) fn in_line(&self) -> (usize, Option<Instant>) {
        let line = self.line.lock();
        let first = line.waiting.front();
        (line.waiting.len(), first.map(|standing| standing.began.at))
    }

    /// Waits for a frame, for as long as the caller has patience.
    pub(crate) fn wait(&self, free: &FreeList, patience: WaitParams<'_>) -> Outcome {
        let waiter = self.spare();
        let wake = Wake::Thread(current_thread());
        let outcome = match self.enqueue(free, &waiter, wake, patience.began) {
            Enlisted::Settled(outcome) => outcome,
            Enlisted::Waiting(ticket) => {
                (patience.enlisted)();
                self.stand_in_line(free, &waiter, ticket, patience)
            }
        };
        self.keep(waiter);
        outcome
    }

    fn stand_in_line(
        &self,
        free: &FreeList,
        waiter: &Waiter,
        ticket: Ticket,
        mut patience: WaitParams<'_>,
    ) -> Outcome {
        loop {
            if let Some(outcome) = waiter.outcome() {
                return outcome;
            }
            if !park_until(patience.until()) && !patience.call_for_help() {
                return self
                    .leave(free, waiter, ticket)
                    .unwrap_or(Err(Refusal::TimedOut));
            }
        }
    }

    /// Stands `waiter` at the end of the line, unless a frame came back in the meantime or the
    /// pool is closed.
    fn enqueue(
        &self,
        free: &FreeList,
        waiter: &Arc<Waiter>,
        wake: Wake,
        began: WaitStart,
    ) -> Enlisted {
        let mut line = self.line.lock();
        if let Some(error) = line.gate.refusal() {
            return Enlisted::Settled(Err(error));
        }
        // By W2 only the first in the line can find a frame. If somebody who does not stand in the
        // line snatches it, `take` says so, and then there is none (F3).
        if line.waiting.is_empty() && free.set_waiters() {
            if let Ok(taken) = free.take(0, 1) {
                free.clear_waiters();
                return Enlisted::Settled(Ok(free.frame_at(taken)));
            }
        }
        let ticket = line.next_ticket;
        line.next_ticket += 1;
        waiter.arm(ticket, wake);
        line.waiting.push_back(QueueEntry {
            ticket,
            began,
            waiter: Arc::clone(waiter),
        });
        Enlisted::Waiting(ticket)
    }

    /// Takes back the request to wait. Returns what `waiter` was called for at the same moment, which
    /// is then the caller's.
    fn leave(&self, free: &FreeList, waiter: &Waiter, ticket: Ticket) -> Option<Outcome> {
        let outcome = waiter.cancel();
        if outcome.is_none() {
            self.remove(free, ticket);
        }
        outcome
    }

    /// Removes the entry of `ticket`, unless it was called already: then whoever called it finds
    /// that it has withdrawn (W3).
    fn remove(&self, free: &FreeList, ticket: Ticket) {
        let mut line = self.line.lock();
        if let Ok(index) = line
            .waiting
            .binary_search_by_key(&ticket, |standing| standing.ticket)
        {
            line.waiting.remove(index);
            if line.waiting.is_empty() {
                free.clear_waiters();
            }
        }
    }

    /// Calls the first in the line, on behalf of a holder whose release is [`Wanted`]. Returns
    /// `None` if there is nobody any more, and then no `WAITERS` bars the frame's way back.
    ///
    /// [`Wanted`]: super::free_list::PutBack::Wanted
    pub(crate) fn call_first(&self, free: &FreeList) -> Option<Handoff> {
        let mut line = self.line.lock();
        let QueueEntry { ticket, waiter, .. } = line.waiting.pop_front()?;
        if line.waiting.is_empty() {
            free.clear_waiters();
        }
        Some(Handoff { ticket, waiter })
    }

    /// Opens or closes the pool. Everybody who waits at a closing is out of the line when this
    /// returns (W5), and is told when the [`RejectedWaiters`] is dropped.
    pub(crate) fn change_state(
        &self,
        free: &FreeList,
        change: impl FnOnce(&mut PoolState),
    ) -> (StateChange, Option<RejectedWaiters>) {
        let mut line = self.line.lock();
        let before = line.gate.refusal();
        change(&mut line.gate);
        let after = line.gate.refusal();
        match (before, after) {
            (None, Some(error)) => {
                self.publish(after);
                let out = free.close();
                free.clear_waiters();
                (StateChange::Closed { out }, line.refuse_all(error))
            }
            (Some(_), None) => {
                let out = free.open();
                self.publish(after);
                (StateChange::Opened { out }, None)
            }
            (Some(_), Some(_)) | (None, None) => {
                self.publish(after);
                (StateChange::None, None)
            }
        }
    }

    fn spare(&self) -> Arc<Waiter> {
        self.spares.pop().unwrap_or_else(|| Arc::new(Waiter::new()))
    }

    /// Keeps an idle waiter for the next caller. Somebody may still be about to assign an earlier
    /// stay of it: that fails by its ticket (W3).
    fn keep(&self, waiter: Arc<Waiter>) {
        // A full bag means that more callers waited at once than are foreseen: let this one go.
        drop(self.spares.push(waiter));
    }
}

impl Line {
    fn refuse_all(&mut self, error: Refusal) -> Option<RejectedWaiters> {
        if self.waiting.is_empty() {
            return None;
        }
        let waiting = mem::replace(&mut self.waiting, new_line());
        Some(RejectedWaiters { waiting, error })
    }
}

/// Room for as many as there are spare waiters, so that to stand in it allocates nothing.
fn new_line() -> VecDeque<QueueEntry> {
    VecDeque::with_capacity(SPARES)
}

/// Everybody who waited when the pool closed. Dropping it tells them, which may run wakers: no lock
/// may be held then.
#[derive(Debug)]
#[must_use = "tells the waiters when it is dropped, which is to be after all locks are free"]
pub(crate) struct RejectedWaiters {
    waiting: VecDeque<QueueEntry>,
    error: Refusal,
}

impl Drop for RejectedWaiters {
    fn drop(&mut self) {
        for QueueEntry { ticket, waiter, .. } in self.waiting.drain(..) {
            waiter.assign(ticket, Err(self.error));
        }
    }
}

impl Waiter {
    fn new() -> Self {
        Self {
            state: NoAllocMutex::new(State::Idle),
        }
    }

    fn arm(&self, ticket: Ticket, wake: Wake) {
        *self.state.lock() = State::Waiting { ticket, wake };
    }

    /// Ends the stay of `ticket` with `outcome` and wakes the caller. Returns `false`, and does
    /// nothing, if that stay has ended already.
    fn assign(&self, ticket: Ticket, outcome: Outcome) -> bool {
        let mut state = self.state.lock();
        if !matches!(*state, State::Waiting { ticket: current, .. } if current == ticket) {
            return false;
        }
        let before = mem::replace(&mut *state, State::Settled(outcome));
        drop(state);
        // With the lock free: what a waker does is not ours to know.
        if let State::Waiting { wake, .. } = before {
            wake.wake();
        }
        true
    }

    /// What the stay ended with, if it did.
    fn outcome(&self) -> Option<Outcome> {
        let mut state = self.state.lock();
        match *state {
            State::Settled(outcome) => {
                *state = State::Idle;
                Some(outcome)
            }
            State::Idle | State::Waiting { .. } => None,
        }
    }

    /// Ends the stay, however it stands. Returns what it ended with, if somebody was faster.
    fn cancel(&self) -> Option<Outcome> {
        let mut state = self.state.lock();
        let before = mem::replace(&mut *state, State::Idle);
        drop(state);
        match before {
            State::Settled(outcome) => Some(outcome),
            State::Idle | State::Waiting { .. } => None,
        }
    }

    /// As [`outcome`](Self::outcome), and the next to be woken is `context`'s task.
    fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        // Cloned before the lock is taken and dropped after it is free: what a waker does then is
        // not ours to know.
        let mut wake_next = Wake::Task(context.waker().clone());
        let mut state = self.state.lock();
        if let State::Waiting { wake, .. } = &mut *state {
            mem::swap(wake, &mut wake_next);
            return Poll::Pending;
        }
        drop(state);
        drop(wake_next);
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Somebody who was called out of the line and is to get a frame.
#[derive(Debug)]
pub(crate) struct Handoff {
    ticket: Ticket,
    waiter: Arc<Waiter>,
}

impl Handoff {
    /// Hands over `frame`. Returns `false` if they have given up: then the frame is still the
    /// caller's. Touches nothing of the pool (W4).
    pub(crate) fn assign(self, frame: usize) -> bool {
        self.waiter.assign(self.ticket, Ok(frame))
    }
}

/// The stay in the line of an asynchronous caller, who keeps it from poll to poll and must
/// [`leave`](Self::leave) it before it is dropped.
#[derive(Debug, Default)]
pub(crate) struct PendingWait {
    standing: Option<QueueEntry>,
    /// Whether the task has called for help.
    called_for_help: bool,
}

impl PendingWait {
    /// Since when it stands in the line, if it does.
    pub(crate) fn began(&self) -> Option<WaitStart> {
        self.standing.as_ref().map(|standing| standing.began)
    }

    /// Whether this is asked for the first time.
    pub(crate) fn is_first_alarm(&mut self) -> bool {
        !mem::replace(&mut self.called_for_help, true)
    }

    /// Stands in the line, if it does not yet, and asks what came of it.
    pub(crate) fn poll(
        &mut self,
        waiters: &WaitQueue,
        free: &FreeList,
        context: &Context<'_>,
        began: WaitStart,
    ) -> Poll<Outcome> {
        let polled = match &self.standing {
            Some(standing) => standing.waiter.poll(context),
            None => {
                let waiter = waiters.spare();
                let wake = Wake::Task(context.waker().clone());
                match waiters.enqueue(free, &waiter, wake, began) {
                    Enlisted::Settled(outcome) => {
                        waiters.keep(waiter);
                        return Poll::Ready(outcome);
                    }
                    Enlisted::Waiting(ticket) => {
                        self.standing = Some(QueueEntry {
                            ticket,
                            began,
                            waiter,
                        });
                        return Poll::Pending;
                    }
                }
            }
        };
        if polled.is_ready() {
            if let Some(standing) = self.standing.take() {
                waiters.keep(standing.waiter);
            }
        }
        polled
    }

    /// Leaves the line, if it stands in it. A frame that it was called for at the same moment is
    /// then the caller's.
    #[must_use]
    pub(crate) fn leave(&mut self, waiters: &WaitQueue, free: &FreeList) -> Option<usize> {
        let QueueEntry { ticket, waiter, .. } = self.standing.take()?;
        let outcome = waiters.leave(free, &waiter, ticket);
        waiters.keep(waiter);
        outcome.and_then(Result::ok)
    }
}

#[cfg(test)]
mod testing {
    use crate::pool::free_list::{PutBack, put_back};

    use super::*;

    /// A pool of frames without memory: what `Core` makes of list and line.
    #[derive(Debug)]
    pub(super) struct Bare {
        pub(super) free: FreeList,
        pub(super) wait_queue: WaitQueue,
    }

    pub(super) fn now() -> WaitStart {
        WaitStart {
            at: Instant::now(),
            number: 0,
        }
    }

    /// That of a thread that waits for as long as it takes.
    pub(super) fn endless() -> WaitParams<'static> {
        WaitParams {
            began: now(),
            deadline: None,
            enlisted: &|| (),
            alarm: None,
        }
    }

    impl Bare {
        /// A pool whose frames are all out, in a single word.
        pub(super) fn exhausted(frames: usize) -> Arc<Self> {
            Self::all_out(FreeList::new(frames, 1, true).unwrap())
        }

        /// The same, where threads may keep frames.
        #[cfg(loom)]
        pub(super) fn exhausted_with_caches(frames: usize) -> Arc<Self> {
            use crate::pool::free_list::FrameIds;

            let free = FreeList::new(frames, 1, true).unwrap();
            Self::all_out(free.with_caches(FrameIds::COUNTED).unwrap())
        }

        fn all_out(free: FreeList) -> Arc<Self> {
            let frames = free.frames();
            assert_eq!(
                free.take(0, frames).unwrap().bits.count_ones() as usize,
                frames
            );
            Arc::new(Self {
                free,
                wait_queue: WaitQueue::new(PoolState::OPEN),
            })
        }

        /// As `Core::release` by a thread that may keep the frame.
        #[cfg(loom)]
        pub(super) fn keep_or_release(&self, thread: usize, frame: usize) {
            use crate::pool::free_list::FrameIds;
            use crate::pool::thread_cache::Pushed;

            let caches = self.free.caches().unwrap();
            match caches.push(thread, FrameIds::COUNTED.of(frame).unwrap()) {
                Pushed::Cached => return,
                Pushed::NotCached => {}
                Pushed::CooldownOver => caches.restore(),
            }
            self.release(frame);
        }

        /// As `Core::release`.
        pub(super) fn release(&self, frame: usize) {
            let place = self.free.places().nth(frame).unwrap();
            while put_back(self.free.word(place.word), self.free.addend(place.bits))
                == PutBack::Wanted
            {
                if let Some(called) = self.wait_queue.call_first(&self.free) {
                    if called.assign(frame) {
                        return;
                    }
                }
            }
        }

        /// Releases what an outcome brought.
        #[cfg(loom)]
        pub(super) fn release_outcome(&self, outcome: Outcome) {
            if let Ok(frame) = outcome {
                self.release(frame);
            }
        }

        pub(super) fn wait(&self) -> Outcome {
            self.wait_queue.wait(&self.free, endless())
        }

        /// Stands in the line without waiting; `None` if there was no need.
        pub(super) fn enqueue(&self, waiter: &Arc<Waiter>) -> Result<Ticket, Outcome> {
            match self
                .wait_queue
                .enqueue(&self.free, waiter, Wake::Thread(current_thread()), now())
            {
                Enlisted::Waiting(ticket) => Ok(ticket),
                Enlisted::Settled(outcome) => Err(outcome),
            }
        }

        /// What a time-out does.
        pub(super) fn leave(&self, waiter: &Waiter, ticket: Ticket) -> Option<Outcome> {
            self.wait_queue.leave(&self.free, waiter, ticket)
        }

        /// That nothing is left behind: nobody in the line, no flag, every frame free.
        pub(super) fn assert_at_rest(&self) {
            assert_eq!(self.wait_queue.in_line(), (0, None));
            assert_eq!(self.free.free_frames(), self.free.frames());
            let taken = self.free.take(0, 1).unwrap();
            let done = put_back(self.free.word(taken.word), self.free.addend(taken.bits));
            assert_eq!(done, PutBack::Done);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::testing::Bare;
    use super::*;

    #[test]
    fn first_come_first_served() {
        let pool = Bare::exhausted(3);
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
    fn whoever_leaves_the_middle_of_the_line_is_passed_over_and_forgotten() {
        let pool = Bare::exhausted(2);
        let waiters = [(); 3].map(|()| Arc::new(Waiter::new()));
        let tickets = waiters
            .each_ref()
            .map(|waiter| pool.enqueue(waiter).unwrap());
        assert_eq!(pool.leave(&waiters[1], tickets[1]), None);
        assert_eq!(pool.wait_queue.in_line().0, 2);
        pool.release(0);
        pool.release(1);
        assert_eq!(
            waiters.each_ref().map(|waiter| waiter.outcome()),
            [Some(Ok(0)), None, Some(Ok(1))]
        );
    }

    #[test]
    fn the_line_does_not_grow_with_callers_that_give_up() {
        let pool = Bare::exhausted(1);
        let waiter = Arc::new(Waiter::new());
        for _ in 0..10_000 {
            let ticket = pool.enqueue(&waiter).unwrap();
            assert_eq!(pool.leave(&waiter, ticket), None);
        }
        assert!(pool.wait_queue.line.lock().waiting.capacity() <= SPARES);
        pool.release(0);
        pool.assert_at_rest();
    }

    #[test]
    fn everybody_is_refused_at_a_closing_even_if_it_opens_at_once() {
        let pool = Bare::exhausted(1);
        let waiters = [(); 5].map(|()| Arc::new(Waiter::new()));
        for waiter in &waiters {
            pool.enqueue(waiter).unwrap();
        }
        let (shut, refused) = pool
            .wait_queue
            .change_state(&pool.free, |gate| gate.committed = false);
        assert_eq!(shut, StateChange::Closed { out: 1 });
        let (opened, nobody) = pool
            .wait_queue
            .change_state(&pool.free, |gate| gate.committed = true);
        assert_eq!(opened, StateChange::Opened { out: 1 });
        assert!(nobody.is_none());
        drop(refused);
        for waiter in &waiters {
            assert_eq!(waiter.outcome(), Some(Err(Refusal::NotCommitted)));
        }
        pool.release(0);
        pool.assert_at_rest();
    }

    #[test]
    fn a_decommit_during_a_flush_gives_the_stronger_reason() {
        let pool = Bare::exhausted(1);
        let change =
            |change: fn(&mut PoolState)| pool.wait_queue.change_state(&pool.free, change).0;
        assert_eq!(
            change(|gate| gate.flushing = true),
            StateChange::Closed { out: 1 }
        );
        assert_eq!(pool.wait_queue.refusal(), Some(Refusal::Flushing));
        assert_eq!(change(|gate| gate.committed = false), StateChange::None);
        assert_eq!(pool.wait_queue.refusal(), Some(Refusal::NotCommitted));
        assert_eq!(change(|gate| gate.committed = true), StateChange::None);
        assert_eq!(pool.wait(), Err(Refusal::Flushing));
        assert_eq!(
            change(|gate| gate.flushing = false),
            StateChange::Opened { out: 1 }
        );
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use loom::thread;

    use super::testing::{Bare, endless, now};
    use super::*;

    fn release_elsewhere(pool: &Arc<Bare>) -> thread::JoinHandle<()> {
        let pool = pool.clone();
        thread::spawn(move || pool.release(0))
    }

    /// W2: a release at the moment of registering is seen by one side or the other.
    ///
    /// Kills: `set_waiters` not looked at in `enqueue`; `put_back` exchanging past `WAITERS`;
    /// `call_first` not clearing `WAITERS` after the last.
    #[test]
    fn no_wake_up_is_lost_between_a_release_and_a_registration() {
        loom::model(|| {
            let pool = Bare::exhausted(1);
            let releaser = release_elsewhere(&pool);
            let outcome = pool.wait();
            assert_eq!(outcome, Ok(0));
            releaser.join().unwrap();
            pool.release_outcome(outcome);
            pool.assert_at_rest();
        });
    }

    /// W2 and T4: a frame that its releaser keeps at the moment of registering is found by one side or
    /// the other.
    ///
    /// Kills: `set_waiters` not saying that the caches may have frames; `push_at` not looking behind, or
    /// without its fence; no `heavy_fence`.
    #[test]
    fn nobody_waits_while_a_frame_lies_in_a_cache() {
        loom::model(|| {
            let pool = Bare::exhausted_with_caches(1);
            let releaser = {
                let pool = pool.clone();
                thread::spawn(move || pool.keep_or_release(1, 0))
            };
            let outcome = pool.wait();
            assert_eq!(outcome, Ok(0));
            releaser.join().unwrap();
            pool.release_outcome(outcome);
            pool.assert_at_rest();
        });
    }

    /// The same with a gate that has been resting, and is opened by somebody else.
    ///
    /// Kills: `set_waiters` not raising the gate; `reopen` opening in spite of a line.
    #[test]
    fn nobody_waits_behind_a_gate_that_is_opened() {
        loom::model(|| {
            let pool = Bare::exhausted_with_caches(1);
            drop(pool.free.caches().unwrap().search());
            let releaser = {
                let pool = pool.clone();
                thread::spawn(move || {
                    pool.free.caches().unwrap().restore();
                    pool.keep_or_release(1, 0);
                })
            };
            let outcome = pool.wait();
            assert_eq!(outcome, Ok(0));
            releaser.join().unwrap();
            pool.release_outcome(outcome);
            pool.assert_at_rest();
        });
    }

    /// W2 with frames that somebody outside the line takes and gives back.
    ///
    /// Kills: as above; `enqueue` clearing `WAITERS` when its `take` came too late.
    #[test]
    fn a_snatched_frame_comes_back_to_the_line() {
        loom::model(|| {
            let pool = Bare::exhausted(1);
            pool.release(0);
            let snatcher = {
                let pool = pool.clone();
                thread::spawn(move || {
                    if let Ok(taken) = pool.free.take(0, 1) {
                        pool.release(pool.free.frame_at(taken));
                    }
                })
            };
            pool.release_outcome(pool.wait());
            snatcher.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// W3: a frame that is assigned at the moment of a cancellation or a time-out is not lost: the
    /// one who leaves takes it along, or it goes to the next in the line.
    ///
    /// Kills: `leave` dropping the outcome; `assign` returning `true` for a waiter that withdrew;
    /// `remove` not clearing `WAITERS` after the last.
    #[test]
    fn no_frame_is_lost_between_an_assignment_and_a_cancellation() {
        loom::model(|| {
            let pool = Bare::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = release_elsewhere(&pool);
            if let Some(outcome) = pool.leave(&waiter, ticket) {
                pool.release_outcome(outcome);
            }
            releaser.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// W3: the same with somebody else in the line, who must get the frame in the end.
    ///
    /// Kills: as above; `release` giving up after the first who withdrew.
    #[test]
    fn a_cancellation_passes_the_frame_on() {
        loom::model(|| {
            let pool = Bare::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = release_elsewhere(&pool);
            let next = {
                let pool = pool.clone();
                thread::spawn(move || pool.release_outcome(pool.wait()))
            };
            if let Some(outcome) = pool.leave(&waiter, ticket) {
                pool.release_outcome(outcome);
            }
            releaser.join().unwrap();
            next.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// W3: who was called for an earlier stay gets nothing in a later one, though it is the same
    /// waiter.
    ///
    /// Kills: `assign` not comparing the ticket.
    #[test]
    fn a_ticket_is_good_for_one_stay() {
        loom::model(|| {
            let pool = Bare::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = release_elsewhere(&pool);
            if let Some(outcome) = pool.leave(&waiter, ticket) {
                pool.release_outcome(outcome);
            } else if let Ok(ticket) = pool.enqueue(&waiter) {
                let outcome = pool
                    .wait_queue
                    .stand_in_line(&pool.free, &waiter, ticket, endless());
                // Whoever has left the line with a frame has no entry in it any more.
                assert_eq!(pool.wait_queue.in_line().0, 0);
                pool.release_outcome(outcome);
            } else {
                pool.release(0);
            }
            releaser.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// A task that was polled again is woken by the waker of its last poll.
    ///
    /// Kills: `poll` keeping the waker that it has.
    #[test]
    fn the_last_waker_is_the_one_that_is_woken() {
        struct Unpark(Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        loom::model(|| {
            let pool = Bare::exhausted(1);
            let releaser = release_elsewhere(&pool);
            let mut stay = PendingWait::default();
            let mut poll = |waker: &Waker| {
                let context = Context::from_waker(waker);
                stay.poll(&pool.wait_queue, &pool.free, &context, now())
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

    /// W5: whoever waited at a closing is refused or served, even if the pool opens at once, and a
    /// frame that comes back meanwhile is not lost.
    ///
    /// Kills: `refuse_all` leaving the line as it is; `change_state` not clearing `WAITERS`.
    #[test]
    fn a_closing_refuses_everybody_who_waits() {
        loom::model(|| {
            let pool = Bare::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = release_elsewhere(&pool);
            drop(
                pool.wait_queue
                    .change_state(&pool.free, |gate| gate.committed = false),
            );
            drop(
                pool.wait_queue
                    .change_state(&pool.free, |gate| gate.committed = true),
            );
            let outcome = pool
                .wait_queue
                .stand_in_line(&pool.free, &waiter, ticket, endless());
            assert!(matches!(outcome, Ok(0) | Err(Refusal::NotCommitted)));
            pool.release_outcome(outcome);
            releaser.join().unwrap();
            pool.assert_at_rest();
        });
    }
}
