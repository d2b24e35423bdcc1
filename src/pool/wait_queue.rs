//! FIFO queue of the callers that wait for a frame.
//!
//! The module handles frame numbers only, never memory, and is safe code. Blocking, timed and
//! asynchronous callers share one queue: see [`blocking_wait`](super::blocking_wait) and
//! [`pending_wait`](super::pending_wait). What the queue hands out reaches a
//! [`waiter`](super::waiter) by a [`handoff`](super::handoff).
//!
//! The queue is a list under a lock. No thread touches it while frames are free: an acquire comes
//! here after it found no free frame, a release after it saw `WAITERS` in its word. (A lock-free
//! queue cannot remove entries from the middle, so callers that time out again and again would
//! fill it.)
//!
//! # Invariants
//!
//! W4 is stated in `handoff`, W6 in `waiter`.
//!
//! - **W1** Whenever the lock of the queue is free and the pool is open, `WAITERS` is set in every
//!   word of the newest generation if the queue has entries. It stays set when the last entry
//!   leaves; a release that finds the queue empty clears it.
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
//! - **W5** Closing the pool also empties the queue, under the same lock. So every caller that
//!   waits at that moment fails, even if the pool opens again before the caller runs.
//!
//! # Generations
//!
//! The pools that an allocator commits one after the other by re-framing are generations of one
//! pool. They share one queue, and each has a free list of its own. A waiter keeps its entry, and
//! gets a frame of the generation that is the newest when its turn comes. While the newest is being
//! prepared, the queue can be *paused*: no frame goes out, and callers wait.
//!
//! | operation of a generation | is the newest | is not |
//! |---|---|---|
//! | enqueue | as below | fails with [`Refusal::Superseded`] |
//! | cancel | removes the entry | removes the entry |
//! | release that found `WAITERS` | passes the frame on | finds no waiter, and its word closed |
//! | change of state | done | nothing is changed |
//!
//! - **W7** The queue passes on frames of the newest generation only: a releasing thread compares
//!   the generation under the lock. Before a frame of the newest goes out, the words of the old
//!   generation are closed. So an acquire that begins after another got a frame of the newest gets
//!   none of the old (F4). A frame that was popped for a waiter before may still arrive.
//! - **W8** At a pause and at a hand-over all waits begin a new round, without losing their places.
//!   A wait for several frames gives back those that it has collected, and a frame that is on its
//!   way to it arrives in vain, because it is of an earlier round. So frames that are handed out
//!   together are of one generation, and no wait keeps a pause from ending.
//! - **W9** A caller that finds the words of its generation closed and the generation superseded
//!   finds the newer one, and that open: it is [installed](WaitQueue::hand_over) and published
//!   before the old words are closed, and a caller that looks for it waits until it is open.
//!
//! # Shares
//!
//! In a pool with [shares](super::shares) a caller needs a permit. Without one it is *queued*, in a
//! list before the queue proper: it gets a permit when its share allows it (Q5), and goes over into
//! the queue. So a release passes frames to callers with permits only, and all of the above holds
//! for these. W2 does not hold for queued callers: frames may be free that are not for them.
//!
//! ```text
//!           enqueue           permits           frames
//!   caller ---------> queued ---------> queue ---------> outcome
//! ```
//!
//! - **W10** An entry in the queue has a permit for each frame that it misses, of the newest
//!   generation. The permit of a frame that was handed out goes with the frame: to the waiter, or,
//!   if the frame arrives in vain, back with it. An entry that leaves otherwise gives its permits
//!   back; at a pause or a hand-over it is queued again.
//! - **W11** A call that made permits or places in the line free [serves](WaitQueue::serve) the
//!   queue afterwards: until no queued caller can get a permit, and no caller with a permit a free
//!   frame.

use std::collections::VecDeque;
use std::iter;
use std::mem;
use std::time::{Duration, Instant};

use crate::diagnostics::call_site::CallSite;
use crate::diagnostics::{WaitStart, nanoseconds};
use crate::error::ShareError;
use crate::share::{Share, ShareUsage};
use crate::sync::{Arc, ArrayQueue, AtomicU64, NoAllocMutex, Ordering, unmodeled};

use super::free_list::FreeList;
use super::handoff::{EndedWaits, Handoff, QueueEntry, RejectedWaiters, Served};
use super::permit_queue::PermitQueue;
use super::pool_state::{Availability, PoolState, Refusal, StateChange};
use super::shares::{Denied, ShareIndex, Shares, Wanted};
use super::slot::FrameId;
use super::waiter::{Outcome, Ticket, Waiter, Wake};

/// Number of idle waiters that are kept for reuse, so that a wait does not allocate.
pub(super) const SPARES: usize = if cfg!(all(test, loom)) { 1 } else { 16 };

/// The values that a state of a pool has. Their indices fit into an atomic.
const AVAILABILITIES: [Availability; 5] = [
    Availability::Open,
    Availability::Paused,
    Availability::Refused(Refusal::Flushing),
    Availability::Refused(Refusal::NotCommitted),
    Availability::Refused(Refusal::Closed),
];

/// Number of low bits of the published word that are an index.
const INDEX_BITS: u32 = 3;

/// The wait queue of a pool.
#[derive(Debug)]
pub(crate) struct WaitQueue {
    queue: NoAllocMutex<Queue>,
    /// The newest generation, above the index in `AVAILABILITIES` of what its state means,
    /// readable without the lock. It is written before the words are closed and after they are
    /// opened. So a caller that saw `CLOSED` and then finds no reason has missed an opening, and no
    /// caller finds a wrong reason.
    published: AtomicU64,
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

    fn update(&self, queue: &Queue) {
        let entries = queue.len();
        let queued = queue.queued.as_ref().and_then(PermitQueue::front);
        let fronts = queue.entries.front().into_iter().chain(queued);
        if let Some(first) = fronts.map(|front| front.start.at).min() {
            let since = first.saturating_duration_since(self.began);
            self.first_since
                .store(nanoseconds(since), Ordering::Relaxed);
        }
        // Release: pairs with the Acquire in `read`, for a start that is not older than the number.
        self.entries.store(entries as u64, Ordering::Release);
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
    /// The callers without permits, in a pool with shares.
    queued: Option<PermitQueue<QueueEntry>>,
    next_ticket: Ticket,
    state: PoolState,
    /// The newest generation.
    generation: u64,
    /// Number of times that all waits have begun anew.
    round: u64,
}

/// Result of [`WaitQueue::enqueue`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Enqueued {
    /// The caller need not wait.
    Done(Outcome),
    Waiting(Ticket),
}

impl WaitQueue {
    /// Creates an empty queue for a pool in this state, whose first generation is this.
    pub(crate) fn new(state: PoolState, generation: u64, shares: Option<Arc<Shares>>) -> Self {
        let spares = ArrayQueue::new(SPARES);
        while spares.push(Arc::new(Waiter::new())).is_ok() {}
        let this = Self {
            queue: NoAllocMutex::new(Queue {
                entries: new_entries(),
                queued: shares.map(|shares| PermitQueue::new(shares, SPARES)),
                next_ticket: 0,
                state,
                generation,
                round: 0,
            }),
            published: AtomicU64::new(0),
            summary: Summary::new(),
            spares,
        };
        this.publish(state, generation);
        this
    }

    /// Returns why the words of `free` are closed, for a caller that saw `CLOSED`.
    pub(crate) fn availability(&self, free: &FreeList) -> Availability {
        // Acquire: pairs with the Release in `publish`. A caller that finds the pool opened also
        // finds the words open, and one that finds a newer generation also finds that installed
        // (W9). By the Release in `FreeList::close` the reason is no older than the `CLOSED` that
        // the caller saw.
        let published = self.published.load(Ordering::Acquire);
        if published >> INDEX_BITS != free.generation {
            return Availability::Refused(Refusal::Superseded);
        }
        // The bits are an index.
        AVAILABILITIES[(published & ((1 << INDEX_BITS) - 1)) as usize]
    }

    fn publish(&self, state: PoolState, generation: u64) {
        let availability = Availability::from(state);
        let index = AVAILABILITIES
            .iter()
            .position(|&known| known == availability)
            .expect("`AVAILABILITIES` contains every value of `Availability::from`");
        // Release: pairs with the Acquire in `availability`.
        self.published
            .store(generation << INDEX_BITS | index as u64, Ordering::Release);
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

    /// Adds `waiter` to the end of the queue, unless it finds enough frames or the pool is closed.
    pub(super) fn enqueue(
        &self,
        free: &FreeList,
        waiter: &Arc<Waiter>,
        wake: Wake,
        (start, wanted): (WaitStart, usize),
        on_taken: &dyn Fn(usize) -> FrameId,
    ) -> Enqueued {
        let mut queue = self.queue.lock();
        // mutant: enqueue-in-the-newest
        if queue.generation != free.generation {
            return Enqueued::Done(Err(Refusal::Superseded));
        }
        if let Some(refusal) = queue.state.refusal() {
            return Enqueued::Done(Err(refusal));
        }
        let mut missing = wanted;
        let needs_permits = queue.queued.is_some();
        // By W2 only the first waiter can find a frame. If a thread outside the queue takes it
        // first, `take` fails, and no frame is free from then on (F3).
        // mutant: enqueue-looks-again
        if !needs_permits && queue.entries.is_empty() && queue.state.is_open() && free.set_waiters()
        {
            // mutant: enqueue-takes
            while let Ok(taken) = free.take(1) {
                let frame = on_taken(free.frame_at(taken));
                missing -= 1;
                if missing == 0 {
                    return Enqueued::Done(Ok(frame));
                }
                waiter.collected.lock().push(frame);
            }
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let round = queue.round;
        waiter.start(ticket, round, wake, missing);
        queue.push_back(QueueEntry {
            ticket,
            round,
            start,
            waiter: Arc::clone(waiter),
            share: free.share_of(start.site.label()),
            wanted,
            missing,
        });
        self.summary.update(&queue);
        Enqueued::Waiting(ticket)
    }

    /// Cancels the wait of `ticket`. If an outcome was assigned to `waiter` at the same moment,
    /// returns that outcome, and its frame belongs to the caller.
    pub(super) fn cancel_wait(&self, waiter: &Waiter, ticket: Ticket) -> Option<Outcome> {
        let (outcome, wake) = waiter.cancel();
        if outcome.is_none() {
            self.remove(ticket);
        }
        // After the entry is removed, because the drop of a waker is foreign code (W6).
        drop(wake);
        // mutant: cancel-returns-outcome
        outcome
    }

    /// Removes the entry of `ticket`, unless it was popped already. Then the popping thread learns
    /// that the waiter has canceled (W3).
    fn remove(&self, ticket: Ticket) {
        let mut queue = self.queue.lock();
        queue.remove(ticket);
        self.summary.update(&queue);
    }

    /// Returns the first waiter, for a releasing thread whose frame is [`Wanted`]. Pops its entry,
    /// unless it wants more frames. Returns `None` if the frame can be put back: the queue is empty
    /// and `WAITERS` clear, or the words are closed.
    ///
    /// [`Wanted`]: super::free_list::PutBack::Wanted
    pub(crate) fn pop_first(&self, free: &FreeList) -> Option<Handoff> {
        let mut queue = self.queue.lock();
        // mutant: pop-for-the-newest
        if queue.generation != free.generation || !queue.state.is_open() {
            return None;
        }
        let Some(first) = queue.entries.front_mut() else {
            // mutant: empty-queue-clears-waiters
            free.clear_waiters();
            return None;
        };
        // mutant: pop-with-the-last-frame
        if first.missing > 1 {
            first.missing -= 1;
            return Some(Handoff::of(first));
        }
        let entry = queue.entries.pop_front()?;
        self.summary.update(&queue);
        // mutant: pop-before-assign
        Some(Handoff::of(&entry))
    }

    /// Takes a free frame for the first caller that has a permit, after it has given permits to the
    /// queued callers that can have some. Returns `None` once there is nothing left to do. The
    /// caller calls this in a loop, and assigns each frame after this function has returned (W4).
    pub(crate) fn serve(
        &self,
        free: &FreeList,
        record: &dyn Fn(usize, CallSite) -> FrameId,
    ) -> Option<Served> {
        let mut queue = self.queue.lock();
        if queue.generation != free.generation {
            return None;
        }
        if !queue.state.is_open() {
            if let Some(queued) = &mut queue.queued {
                queued.complete_reserves();
            }
            return None;
        }
        let served = queue.serve(free, record);
        self.summary.update(&queue);
        served
    }

    /// Draws permits behind the queued callers (Q4).
    pub(crate) fn draw(
        &self,
        free: &FreeList,
        share: ShareIndex,
        wanted: Wanted,
    ) -> Result<usize, Denied> {
        let queue = self.queue.lock();
        match &queue.queued {
            Some(queued) if queue.generation == free.generation => queued.draw(share, wanted),
            _ => Err(Denied::Queued),
        }
    }

    /// Changes a share of the newest generation. The caller serves the queue afterwards.
    pub(crate) fn change_share(&self, share: &Share) -> Result<(), ShareError> {
        let queue = self.queue.lock();
        let unknown = ShareError::Unknown { label: share.label };
        queue.queued.as_ref().ok_or(unknown)?.shares().change(share)
    }

    /// Returns the use of these shares, in step with the calls that draw under the lock.
    pub(crate) fn usage(&self, shares: &Shares) -> Vec<ShareUsage> {
        let _queue = self.queue.lock();
        shares.usage()
    }

    /// Changes the state of the pool, and opens or closes the free list accordingly. If the pool
    /// then refuses callers, all waiters are out of the queue when this function returns (W5). They
    /// learn of it when the [`RejectedWaiters`] are dropped. `change` does not end a pause.
    pub(crate) fn change_state(
        &self,
        free: &FreeList,
        change: impl FnOnce(&mut PoolState),
    ) -> Result<(StateChange, Option<RejectedWaiters>), Superseded> {
        let mut queue = self.queue.lock();
        // mutant: change-the-newest
        if queue.generation != free.generation {
            return Err(Superseded);
        }
        let was_open = queue.state.is_open();
        change(&mut queue.state);
        let effect = self.apply(&queue, was_open, free);
        let refusal = queue.state.refusal();
        let rejected = refusal.and_then(|refusal| queue.reject_all(refusal));
        self.summary.update(&queue);
        Ok((effect, rejected))
    }

    /// Opens or closes the words as the state of the queue says, and publishes the state.
    fn apply(&self, queue: &Queue, was_open: bool, free: &FreeList) -> StateChange {
        match (was_open, queue.state.is_open()) {
            (true, false) => {
                self.publish(queue.state, queue.generation);
                let out = free.close();
                StateChange::Closed { out }
            }
            (false, true) => {
                // mutant: open-words
                let out = free.open();
                // mutant: publish-open
                self.publish(queue.state, queue.generation);
                StateChange::Opened { out }
            }
            (true, true) | (false, false) => {
                self.publish(queue.state, queue.generation);
                StateChange::None
            }
        }
    }

    /// Begins a pause: no frame goes out, and callers wait. The frames that were collected for
    /// waits for several come back.
    pub(crate) fn pause(&self, free: &FreeList) -> (StateChange, EndedWaits) {
        let mut queue = self.queue.lock();
        let was_open = queue.state.is_open();
        if queue.generation != free.generation {
            return (StateChange::None, EndedWaits::default());
        }
        queue.state.paused = true;
        let change = self.apply(&queue, was_open, free);
        (change, queue.restart_waits(free))
    }

    /// Ends a pause. If that opens the pool, its free frames go to the first waiters. The caller
    /// assigns them after all locks are released. `record` records the holder of a frame, and
    /// returns the frame; it is called with the lock held.
    pub(crate) fn resume(
        &self,
        free: &FreeList,
        record: &dyn Fn(usize, CallSite) -> FrameId,
    ) -> (StateChange, EndedWaits) {
        let mut ended = EndedWaits::default();
        let mut queue = self.queue.lock();
        let was_open = queue.state.is_open();
        if queue.generation != free.generation {
            return (StateChange::None, ended);
        }
        queue.state.paused = false;
        let change = if queue.state.is_open() && !was_open {
            let out = queue.open(free, record, &mut ended.served);
            StateChange::Opened { out }
        } else {
            StateChange::None
        };
        self.publish(queue.state, queue.generation);
        self.summary.update(&queue);
        (change, ended)
    }

    /// Makes `next` the newest generation after `old`. The free list of `next` is closed, and no
    /// other thread has it. `install` lets callers find it once its result is dropped.
    ///
    /// Fails, and changes nothing, if `old` is not the newest or the pool refuses callers for good
    /// or until a commit.
    pub(crate) fn hand_over<L>(
        &self,
        old: &FreeList,
        next: &FreeList,
        record: &dyn Fn(usize, CallSite) -> FrameId,
        install: impl FnOnce() -> L,
    ) -> Result<(StateChange, EndedWaits), Refusal> {
        let mut queue = self.queue.lock();
        if queue.generation != old.generation {
            return Err(Refusal::Superseded);
        }
        match queue.state.refusal() {
            None | Some(Refusal::Flushing) => {}
            Some(refusal) => return Err(refusal),
        }
        let was_open = queue.state.is_open();
        if let (Some(old), Some(next)) = (old.shares(), next.shares()) {
            // They may have changed while `next` was made.
            next.adopt(old);
        }
        queue.state.paused = false;
        queue.generation = next.generation;
        let mut ended = queue.restart_waits(next);
        // mutant: install-before-closing
        let installed = install();
        self.publish(queue.state, queue.generation);
        // mutant: close-the-old-generation
        let change = if was_open {
            StateChange::Closed { out: old.close() }
        } else {
            StateChange::None
        };
        if queue.state.is_open() {
            queue.open(next, record, &mut ended.served);
        }
        drop(installed);
        self.summary.update(&queue);
        Ok((change, ended))
    }

    pub(super) fn pop_spare(&self) -> Arc<Waiter> {
        self.spares.pop().unwrap_or_else(|| Arc::new(Waiter::new()))
    }

    /// Stores an idle waiter for the next caller. Another thread may still be about to assign an
    /// outcome to an earlier wait of it, which fails because of the ticket (W3).
    pub(super) fn push_spare(&self, waiter: Arc<Waiter>) {
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
        self.queue_all();
        // mutant: reject-empties-queue
        let mut entries = mem::replace(&mut self.entries, new_entries());
        if let Some(queued) = &mut self.queued {
            entries.extend(iter::from_fn(|| queued.pop_front()));
            queued.mark();
        }
        if entries.is_empty() {
            return None;
        }
        Some(RejectedWaiters { entries, refusal })
    }

    /// Adds a caller at the end: of those without permits, in a pool with shares.
    fn push_back(&mut self, entry: QueueEntry) {
        match &mut self.queued {
            Some(queued) => {
                // So that no releasing thread has to allocate.
                self.entries.reserve(queued.len() + 1);
                queued.push_back(entry);
            }
            None => self.entries.push_back(entry),
        }
    }

    /// Removes the first entry of those that [`push_back`](Self::push_back) adds to.
    fn pop_front(&mut self) -> Option<QueueEntry> {
        match &mut self.queued {
            Some(queued) => queued.pop_front(),
            None => self.entries.pop_front(),
        }
    }

    fn len(&self) -> usize {
        self.entries.len() + self.queued.as_ref().map_or(0, PermitQueue::len)
    }

    /// Removes the entry of `ticket`, if there is one.
    fn remove(&mut self, ticket: Ticket) {
        let index = match &mut self.queued {
            None => {
                let key = |entry: &QueueEntry| entry.ticket;
                self.entries.binary_search_by_key(&ticket, key).ok()
            }
            Some(queued) => {
                queued.remove(ticket);
                // Callers get their permits in another order than that of their tickets.
                let is_it = |entry: &QueueEntry| entry.ticket == ticket;
                self.entries.iter().position(is_it)
            }
        };
        let removed = index.and_then(|index| self.entries.remove(index));
        if let (Some(entry), Some(queued)) = (removed, &self.queued) {
            // mutant: canceled-entry-gives-permits
            give_permits(queued.shares(), &entry);
        }
    }

    /// Takes the permits of all callers back, which wait for them again (W10).
    fn queue_all(&mut self) {
        let Some(queued) = &mut self.queued else {
            return;
        };
        for entry in self.entries.drain(..) {
            // mutant: queued-again-gives-permits
            give_permits(queued.shares(), &entry);
            queued.push_back(entry);
        }
        queued.sort();
    }

    /// Takes a free frame for the first caller that has a permit. See [`WaitQueue::serve`].
    fn serve(
        &mut self,
        free: &FreeList,
        record: &dyn Fn(usize, CallSite) -> FrameId,
    ) -> Option<Served> {
        loop {
            if let Some(first) = self.entries.front_mut() {
                if let Ok(taken) = free.take(1) {
                    let frame = record(free.frame_at(taken), first.start.site);
                    let handoff = Handoff::of(first);
                    first.missing -= 1;
                    // mutant: serve-all-that-a-waiter-wants
                    if first.missing == 0 {
                        self.entries.pop_front();
                    }
                    return Some(Served { handoff, frame });
                }
            }
            let queued = self.queued.as_mut()?;
            let Some(entry) = queued.admit() else {
                queued.mark();
                return None;
            };
            self.entries.push_back(entry);
            if self.entries.len() == 1 {
                // mutant: admitted-caller-sets-waiters
                free.set_waiters();
            }
        }
    }

    /// Opens the words, and takes their frames for the first waiters. Adds those to `served`, and
    /// returns the number of frames that were out when the words were opened.
    fn open(
        &mut self,
        free: &FreeList,
        record: &dyn Fn(usize, CallSite) -> FrameId,
        served: &mut Vec<Served>,
    ) -> usize {
        if !self.entries.is_empty() {
            // Before the words are opened: frames that come back then go to the waiters.
            // mutant: waiters-go-first
            free.set_waiters();
        }
        let out = free.open();
        // mutant: serve-waiters
        while let Some(next) = self.serve(free, record) {
            served.push(next);
        }
        out
    }

    /// Lets all waits begin anew, for frames of `next`. Returns the waiters that want more than
    /// that can give, and the frames that others have collected (W8).
    fn restart_waits(&mut self, next: &FreeList) -> EndedWaits {
        let mut given_back = Vec::new();
        self.queue_all();
        if let (Some(queued), Some(shares)) = (&mut self.queued, next.shares()) {
            queued.switch(shares);
        }
        // mutant: new-round
        self.round += 1;
        let mut rejected = VecDeque::new();
        // In place, because the queue keeps the room that it has.
        for _ in 0..self.len() {
            let Some(mut entry) = self.pop_front() else {
                break;
            };
            if entry.wanted > next.frames() {
                rejected.push_back(entry);
                continue;
            }
            entry.round = self.round;
            entry.missing = entry.wanted;
            // mutant: restart-the-waiter
            entry
                .waiter
                .restart(entry.ticket, entry.round, entry.wanted, &mut given_back);
            self.push_back(entry);
        }
        let rejected = (!rejected.is_empty()).then_some(RejectedWaiters {
            entries: rejected,
            refusal: Refusal::Superseded,
        });
        EndedWaits {
            served: Vec::new(),
            rejected,
            given_back,
        }
    }
}

/// Gives back the permits of an entry. The caller serves the queue afterwards.
fn give_permits(shares: &Shares, entry: &QueueEntry) {
    let _served_by_the_caller = shares.give(entry.share, entry.missing);
}

/// The pool has a newer generation than that of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded;

/// Allocates room for as many entries as there are spare waiters, so that `enqueue` allocates
/// nothing up to that number.
fn new_entries() -> VecDeque<QueueEntry> {
    VecDeque::with_capacity(SPARES)
}

#[cfg(test)]
pub(super) mod testing {
    use std::task::{Context, Poll, Waker};

    use crate::pool::blocking_wait::WaitParams;
    use crate::pool::free_list::{Lanes, PutBack, put_back};
    use crate::pool::pending_wait::PendingWait;
    use crate::sync::current_thread;

    use super::*;

    /// A pool of frames without memory: free list and wait queue, combined as in `Core`.
    #[derive(Debug)]
    pub(crate) struct TestPool {
        pub(crate) free: FreeList,
        pub(crate) wait_queue: WaitQueue,
    }

    fn now() -> WaitStart {
        WaitStart {
            at: Instant::now(),
            number: 0,
            site: CallSite::caller(None),
        }
    }

    /// Returns the parameters of a wait without a deadline.
    pub(crate) fn no_deadline() -> WaitParams<'static> {
        WaitParams {
            start: now(),
            wanted: 1,
            deadline: None,
            on_taken: &FrameId::numbered,
            on_enqueued: &|| (),
            alarm: None,
        }
    }

    /// Returns a free list of one word.
    pub(crate) fn one_word(frames: usize, is_open: bool) -> FreeList {
        let lanes = Lanes {
            count: 1,
            rotates: true,
            remembers_starts: true,
        };
        FreeList::new(frames, lanes, 1, is_open).unwrap()
    }

    /// Releases frame 0 in another thread.
    #[cfg(loom)]
    pub(crate) fn spawn_release(pool: &Arc<TestPool>) -> loom::thread::JoinHandle<()> {
        let pool = pool.clone();
        loom::thread::spawn(move || pool.release(0))
    }

    impl TestPool {
        /// Creates a pool whose frames are all out, in a single word.
        pub(crate) fn exhausted(frames: usize) -> Arc<Self> {
            Self::all_out(one_word(frames, true))
        }

        fn all_out(free: FreeList) -> Arc<Self> {
            let frames = free.frames();
            assert_eq!(free.take(frames).unwrap().count(), frames);
            Arc::new(Self {
                free,
                wait_queue: WaitQueue::new(PoolState::OPEN, 0, None),
            })
        }

        /// Does what `Core::release` does.
        pub(crate) fn release(&self, frame: usize) {
            let place = self.free.place(frame);
            while put_back(self.free.word(place.word), place.flips()) == PutBack::Wanted {
                if let Some(handoff) = self.wait_queue.pop_first(&self.free) {
                    if handoff.assign(FrameId::numbered(frame), || ()) {
                        return;
                    }
                }
            }
        }

        /// Releases the frame of an outcome, if it has one.
        #[cfg(loom)]
        pub(crate) fn release_outcome(&self, outcome: Outcome) {
            if let Ok(frame) = outcome {
                self.release(frame.number());
            }
        }

        pub(crate) fn wait(&self) -> Outcome {
            self.wait_queue
                .wait(&self.free, no_deadline(), &mut Vec::new())
        }

        /// Waits for `wanted` frames. Returns all of them.
        #[cfg(loom)]
        pub(crate) fn wait_for(&self, wanted: usize) -> Vec<usize> {
            let mut frames = Vec::new();
            let params = WaitParams {
                wanted,
                ..no_deadline()
            };
            let last = self.wait_queue.wait(&self.free, params, &mut frames);
            frames.extend(last);
            frames.into_iter().map(FrameId::number).collect()
        }

        /// Polls a wait for `wanted` frames.
        pub(crate) fn poll(
            &self,
            wait: &mut PendingWait,
            waker: &Waker,
            wanted: usize,
        ) -> Poll<Outcome> {
            wait.poll(
                &self.wait_queue,
                &self.free,
                &Context::from_waker(waker),
                (now(), wanted),
                &FrameId::numbered,
            )
        }

        /// Enters the queue without blocking. Returns the outcome if there is no need to wait.
        pub(crate) fn enqueue(&self, waiter: &Arc<Waiter>) -> Result<Ticket, Outcome> {
            let wake = Wake::Thread(current_thread());
            match self
                .wait_queue
                .enqueue(&self.free, waiter, wake, (now(), 1), &FrameId::numbered)
            {
                Enqueued::Waiting(ticket) => Ok(ticket),
                Enqueued::Done(outcome) => Err(outcome),
            }
        }

        /// Does what a time-out does.
        pub(crate) fn cancel(&self, waiter: &Waiter, ticket: Ticket) -> Option<Outcome> {
            self.wait_queue.cancel_wait(waiter, ticket)
        }

        /// Tells waiters that their waits have ended, as `Core` does.
        #[cfg(loom)]
        pub(crate) fn finish(&self, ended: EndedWaits) {
            for Served { handoff, frame } in ended.served {
                if !handoff.assign(frame, || ()) {
                    self.release(frame.number());
                }
            }
            drop(ended.rejected);
            for frame in ended.given_back {
                self.release(frame.number());
            }
        }

        /// Closes the pool and opens it again.
        #[cfg(loom)]
        pub(crate) fn close_and_open(&self) {
            for committed in [false, true] {
                let change = |state: &mut PoolState| state.committed = committed;
                drop(self.wait_queue.change_state(&self.free, change));
            }
        }

        /// Asserts that no waiter, flag or frame is left behind.
        pub(crate) fn assert_at_rest(&self) {
            assert_eq!(self.wait_queue.waiting(), (0, None));
            assert_eq!(self.free.free_frames(), self.free.frames());
            let taken = self.free.take(1).unwrap();
            self.release(self.free.frame_at(taken));
            let taken = self.free.take(1).unwrap();
            let done = put_back(self.free.word(taken.word), taken.flips());
            assert_eq!(done, PutBack::Done);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::cell::Cell;

    use super::testing::TestPool;
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
            [2, 0, 1].map(|n| Some(Ok(FrameId::numbered(n))))
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
            [
                Some(Ok(FrameId::numbered(0))),
                None,
                Some(Ok(FrameId::numbered(1)))
            ]
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
            let assigned = handoff.assign(FrameId::numbered(0), || recorded.set(true));
            assert_eq!((assigned, recorded.get()), (!cancels, !cancels));
            assert_eq!(
                waiter.outcome(),
                (!cancels).then_some(Ok(FrameId::numbered(0)))
            );
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

    #[test]
    fn closing_fails_all_waits_even_if_the_pool_opens_at_once() {
        let pool = TestPool::exhausted(1);
        let waiters = [(); 5].map(|()| Arc::new(Waiter::new()));
        for waiter in &waiters {
            pool.enqueue(waiter).unwrap();
        }
        let (closed, rejected) = pool
            .wait_queue
            .change_state(&pool.free, |state| state.committed = false)
            .unwrap();
        assert_eq!(closed, StateChange::Closed { out: 1 });
        let (opened, none) = pool
            .wait_queue
            .change_state(&pool.free, |state| state.committed = true)
            .unwrap();
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
        let change = |change: fn(&mut PoolState)| {
            pool.wait_queue.change_state(&pool.free, change).unwrap().0
        };
        assert_eq!(
            change(|state| state.flushing = true),
            StateChange::Closed { out: 1 }
        );
        let availability = || pool.wait_queue.availability(&pool.free);
        assert_eq!(availability(), Availability::Refused(Refusal::Flushing));
        assert_eq!(change(|state| state.committed = false), StateChange::None);
        assert_eq!(availability(), Availability::Refused(Refusal::NotCommitted));
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
    use std::task::{Poll, Waker};

    use loom::thread;

    use crate::pool::pending_wait::PendingWait;

    use super::testing::{TestPool, no_deadline, one_word, spawn_release};
    use super::*;

    /// Waits for frame 0 while `releaser` releases it, and releases it again.
    fn wait_for_release(pool: &TestPool, releaser: thread::JoinHandle<()>) {
        let outcome = pool.wait();
        assert_eq!(outcome, Ok(FrameId::numbered(0)));
        releaser.join().unwrap();
        pool.release_outcome(outcome);
        pool.assert_at_rest();
    }

    /// W2: if a frame is released while a waiter is enqueued, one of the two threads sees the
    /// other.
    ///
    /// Kills: `enqueue` ignoring the result of `set_waiters`; `put_back` exchanging in spite of
    /// `WAITERS`; `pop_first` not clearing `WAITERS` of an empty queue.
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
    /// canceled.
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
                let outcome = pool
                    .wait_queue
                    .wait_for_outcome(&waiter, ticket, no_deadline());
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

    /// W5: a caller that waits when the pool closes fails or gets a frame, even if the pool opens
    /// at once. A frame that is released meanwhile is not lost.
    ///
    /// Kills: `reject_all` leaving the entries in the queue.
    #[test]
    fn closing_ends_every_wait() {
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = spawn_release(&pool);
            pool.close_and_open();
            let outcome = pool
                .wait_queue
                .wait_for_outcome(&waiter, ticket, no_deadline());
            assert!(matches!(outcome, Ok(_) | Err(Refusal::NotCommitted)));
            pool.release_outcome(outcome);
            releaser.join().unwrap();
            pool.assert_at_rest();
        });
    }

    /// A waiter is served after a pause, also if its frame comes back meanwhile.
    ///
    /// Kills: free frames not given to waiters at the end of a pause; `pop_first` during one.
    #[test]
    fn a_pause_delays_a_waiter_and_does_not_lose_it() {
        loom::model(|| {
            let pool = TestPool::exhausted(1);
            let waiter = Arc::new(Waiter::new());
            let ticket = pool.enqueue(&waiter).unwrap();
            let releaser = spawn_release(&pool);
            let (_, ended) = pool.wait_queue.pause(&pool.free);
            pool.finish(ended);
            let record = |number, _| FrameId::numbered(number);
            let (_, ended) = pool.wait_queue.resume(&pool.free, &record);
            pool.finish(ended);
            let outcome = pool
                .wait_queue
                .wait_for_outcome(&waiter, ticket, no_deadline());
            assert_eq!(outcome, Ok(FrameId::numbered(0)));
            releaser.join().unwrap();
            pool.release_outcome(outcome);
            pool.assert_at_rest();
        });
    }

    /// W8: a wait for two frames gets two of one generation, also if it has collected one of the
    /// old generation or one is on its way to it. No frame is lost.
    ///
    /// Kills: the round left as it was; the waiter's part of a wait not restarted.
    #[test]
    fn frames_that_are_acquired_together_are_of_one_generation() {
        loom::model(|| {
            let pool = TestPool::exhausted(2);
            let next = one_word(2, false).of_generation(1);
            let mut wait = PendingWait::default();
            let poll = |wait: &mut PendingWait| pool.poll(wait, Waker::noop(), 2);
            assert!(poll(&mut wait).is_pending());
            let releaser = spawn_release(&pool);
            let record = |number, _| FrameId::numbered(100 + number);
            let (_, ended) = pool
                .wait_queue
                .hand_over(&pool.free, &next, &record, || ())
                .unwrap();
            pool.finish(ended);
            let Poll::Ready(Ok(last)) = poll(&mut wait) else {
                panic!("there were two frames");
            };
            let mut frames = wait.take_others();
            frames.push(last);
            assert!(
                frames.iter().all(|frame| frame.number() >= 100),
                "{frames:?}"
            );
            assert_eq!(frames.len(), 2);
            releaser.join().unwrap();
            pool.release(1);
            assert_eq!(pool.free.free_frames(), 2);
        });
    }
}
