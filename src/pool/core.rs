//! The heart of a pool, shared by its handles and its frames, and how long it lives.
//!
//! # Lifetime
//!
//! Frames cost no reference count while the pool is open. They are counted when it closes:
//!
//! - **C1** `refs` is 1 for all handles together, plus 1 for each frame that was out when the pool
//!   closed and has not come back since. Whoever takes it to 0 frees the pool.
//! - **C2** A frame that comes back to an open word leaves without a trace (F5); one that comes back
//!   to a closed word gives up its part of `refs` after that. Both find out which in the same
//!   exchange that frees the frame, so each frame that `close` has counted is counted down once:
//!   by its release, or by `open`, which counts those that are still out. A frame that its thread keeps
//!   in a [cache](super::thread_cache) is back when `close` finds it there, and out if not: then its thread
//!   releases it once more (T4, T5).
//! - **C3** `close` counts frames only as it goes from word to word, so it first adds one for every
//!   frame and then takes off those that were in. In between `refs` is too large, never too small.
//! - **C4** The last handle closes the pool before it gives up its 1, so from then on every frame
//!   that is out is counted, and the last of all frees the pool.
//! - **C5** A pool that is retired is never opened again. So once its frames are all back, none goes
//!   out any more (F4), and nobody looks at the memory, whoever still has a handle.
//! - **C6** A trap's entry leads to the core, for any thread in which a stray access happens. It goes with
//!   the segment, and in a trap the segment goes before the core does.
//!
//! | handles | pool | `refs` | who frees |
//! |---|---|---|---|
//! | some | open | 1 | nobody |
//! | some | closed | 1 + frames out | nobody |
//! | none | closed | frames out | the last to come back; the last handle if none is out |

#[cfg(feature = "windows")]
use std::any::Any;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::contents::Contents;
use crate::error::{AcquireError, CommitError, Starvation};
use crate::framing::{FrameLayout, Framing};
use crate::memory::{
    DescribeSlot, GuardPages, MemoryPlan, OwnedKernelObject, Segment, SegmentInfo,
    try_with_capacity,
};
use crate::memory_options::CommitReport;
#[cfg(feature = "windows")]
use crate::sync::OnceLock;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, fence, thread_index};

use super::builder::FramePoolBuilder;
use super::free_list::{Bits, FrameIds, FreeList, PutBack, TakeError, put_back};
use super::holder_table::HolderTable;
use super::hooks::Hooks;
use super::loans::Loans;
use super::recorder::Recorder;
use super::slot::Slot;
use super::thread_cache::{Name, Pushed};
use super::wait_queue::{PoolState, RejectedWaiters, StateChange, WaitQueue};

/// More handles than can exist without leaking memory on purpose.
const MAX_HANDLES: usize = usize::MAX / 2;

/// What the handles and the frames of a pool share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) free: FreeList,
    pub(crate) wait_queue: WaitQueue,
    /// A `Vec` and not a `Box`, as the shards of the free list: frames point to the slots.
    slots: Vec<Slot>,
    pub(crate) layout: FrameLayout,
    pub(crate) memory: MemoryPlan,
    pub(crate) contents: Contents,
    /// Whether there is something to do with every frame that comes or goes.
    pub(crate) has_hooks: bool,
    /// `None` once the pool is retired.
    segment: Mutex<Option<Segment>>,
    /// The kernel object that owns the segment in Kernel mode. It stays open for as long as there is a
    /// handle of the pool to be asked for it.
    pub(crate) object: Option<OwnedKernelObject>,
    /// What makes frames inaccessible while they are free, if that is wanted.
    pub(crate) guard_pages: Option<GuardPages>,
    /// Where the segment starts, for as long as there is one.
    pub(crate) address: usize,
    /// In Kernel mode, for all slots.
    pub(crate) loans: Loans,
    pub(crate) holder_table: HolderTable,
    pub(crate) hooks: Hooks,
    pub(crate) recorder: Option<Recorder>,
    refs: AtomicUsize,
    handles: AtomicUsize,
    /// What the COM face keeps for the frames. Frames that are out keep it alive, as all of the core.
    #[cfg(feature = "windows")]
    pub(crate) extension: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Core {
    /// The slot of frame `number`.
    #[inline]
    pub(crate) fn slot(&self, number: usize) -> NonNull<Slot> {
        NonNull::from(&self.slots[number])
    }

    /// All slots, by the numbers of their frames.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The slot that goes by its address in the caches.
    #[inline(always)]
    fn slot_of(&self, name: Name) -> NonNull<Slot> {
        debug_assert!(
            self.slots
                .as_ptr_range()
                .contains(&self.slots.as_ptr().with_addr(name.get())),
            "{name} is no slot of this pool"
        );
        NonNull::from(self.slots.as_slice())
            .cast::<Slot>()
            .with_addr(name)
    }

    /// The core as it was allocated, to be freed through.
    #[inline]
    pub(crate) fn pointer(&self) -> NonNull<Self> {
        // There is at least one frame, by the layout.
        self.slots[0].core
    }

    pub(crate) fn segment_info(&self) -> SegmentInfo {
        let first_frame = self.slots[0].payload;
        let first = first_frame.addr().get() - self.address;
        // Wrapping, for a retired pool has no memory to point into.
        let base = first_frame.as_ptr().wrapping_sub(first);
        SegmentInfo {
            base: NonNull::new(base).unwrap_or(first_frame),
            bytes: self.layout.total,
            first,
            stride: self.layout.stride,
        }
    }

    /// What the memory is now. The lock is held meanwhile, so that it does not go.
    pub(crate) fn commit_report(&self) -> CommitReport {
        let segment = self.segment.lock();
        match &*segment {
            Some(segment) => segment.report(&self.memory),
            None => Segment::report_dropped(&self.layout, &self.memory),
        }
    }

    /// Opens or closes the pool, and keeps count of the frames that are out. Whoever is refused by
    /// it is told when the result is dropped.
    pub(crate) fn change_state(
        &self,
        change: impl FnOnce(&mut PoolState),
    ) -> Option<RejectedWaiters> {
        let frames = self.free.frames();
        // Relaxed: the 1 of the handles, of which the caller is one or was the last, is not given up
        // yet, so `refs` stays above 0 whatever comes (C3).
        self.refs.fetch_add(frames, Ordering::Relaxed);
        let (change, refused) = self.wait_queue.change_state(&self.free, change);
        let surplus = match change {
            StateChange::Closed { out } => frames - out,
            StateChange::Opened { out } => frames + out,
            StateChange::None => frames,
        };
        // Release: pairs with the fence of whoever frees the pool, as in `release_refs`.
        self.refs.fetch_sub(surplus, Ordering::Release);
        refused
    }

    /// Frames that are out now.
    pub(crate) fn frames_out(&self) -> usize {
        self.free.frames() - self.free.free_frames()
    }

    /// Closes the pool for good, and frees its memory if all frames are back (C5).
    pub(crate) fn retire(&self) {
        drop(self.change_state(|gate| gate.retired = true));
        if self.frames_out() == 0 {
            drop(self.segment.lock().take());
        }
    }

    /// Takes free frames, at most `most` of them, if there are any where the thread looks first.
    #[inline(always)]
    pub(crate) fn take_at_home(&self, most: usize) -> Option<Bits> {
        self.free.take_at_home(thread_index(), most, |taken| taken)
    }

    /// Takes a free frame, if there is one where the thread looks first.
    #[inline(always)]
    pub(crate) fn take_one_at_home(&self) -> Option<NonNull<Slot>> {
        let thread = thread_index();
        let kept = self.free.caches().and_then(|caches| caches.pop(thread));
        match kept {
            Some(name) => Some(self.slot_of(name)),
            None => self
                .free
                .take_at_home(thread, 1, |taken| self.slot(self.free.frame_at(taken))),
        }
    }

    /// Takes free frames, at most `most` of them, from anywhere.
    #[cold]
    pub(crate) fn take(&self, most: usize) -> Result<Bits, AcquireError> {
        loop {
            match self.free.take(thread_index(), most) {
                Ok(taken) => return Ok(taken),
                Err(TakeError::AllOut) => {
                    return Err(AcquireError::Exhausted(Starvation::default()));
                }
                Err(TakeError::Closed) => match self.wait_queue.refusal() {
                    Some(refusal) => return Err(refusal.into()),
                    // Opened in the meantime.
                    None => continue,
                },
            }
        }
    }

    /// Puts the frame of `slot` back, or keeps it for this thread, or hands it to the first who waits.
    ///
    /// # Safety
    ///
    /// The frame is out, the caller is its only holder, and gives it up with this call.
    #[inline(always)]
    pub(crate) unsafe fn release(slot: NonNull<Slot>) {
        // SAFETY: the frame is out and keeps the slot alive.
        let core = unsafe { slot.as_ref() }.core;
        // SAFETY: the frame is out and keeps the core alive.
        if let Some(caches) = unsafe { core.as_ref() }.free.caches() {
            match caches.push(thread_index(), slot.addr()) {
                // By T5 slot and core may be gone.
                Pushed::Kept => return,
                Pushed::No => {}
                // SAFETY: the frame is still out and keeps the core alive.
                Pushed::Restless => unsafe { core.as_ref() }.open_caches(),
            }
        }
        // SAFETY: the frame is out and the caller's, by the contract.
        unsafe { Self::release_to_home(slot) };
    }

    /// Puts the frame of `slot` back into its word, or hands it to the first who waits.
    ///
    /// # Safety
    ///
    /// As [`release`](Self::release).
    #[inline(always)]
    unsafe fn release_to_home(slot: NonNull<Slot>) {
        // SAFETY: the frame is out and keeps the slot alive.
        let slot = unsafe { slot.as_ref() };
        // SAFETY: the word is one of the core's, which the frame keeps alive and which nobody claims for
        // themselves (see `FreeList::shards`).
        let word = unsafe { slot.word.as_ref() };
        // SAFETY: the frame is out and the caller's, by the contract.
        unsafe { Self::release_to(slot.core, word, slot.addend) };
    }

    /// Lets threads keep frames again, if there are enough of them.
    #[cold]
    fn open_caches(&self) {
        if let Some(caches) = self.free.caches().filter(|_| self.free.has_plenty()) {
            caches.reopen();
        }
    }

    /// Puts back several frames of one word, or hands them to those who wait.
    ///
    /// # Safety
    ///
    /// As [`release`](Self::release), for each of the frames.
    #[inline]
    pub(crate) unsafe fn release_many(core: NonNull<Self>, Bits { word, bits }: Bits) {
        // SAFETY: the frames are out and keep the core alive.
        let free = unsafe { &core.as_ref().free };
        // SAFETY: the frames are out and the caller's, by the contract.
        unsafe { Self::release_to(core, free.word(word), free.addend(bits)) };
    }

    /// Puts back the frames of `addend`. Once that is done, neither core nor word may exist any more
    /// (F5), so the references to them are used for nothing else.
    ///
    /// # Safety
    ///
    /// As [`release`](Self::release), for each of the frames; `word` is the core's.
    #[inline(always)]
    unsafe fn release_to(core: NonNull<Self>, word: &AtomicU64, addend: u64) {
        // SAFETY: the frames are out and keep the core alive.
        unsafe { core.as_ref() }.free.announce(word);
        match put_back(word, addend) {
            PutBack::Done => {}
            // SAFETY: frames that are wanted are still the caller's and keep the core alive; for
            // frames that came back to a closed pool, `refs` does (C1).
            how => unsafe { Self::release_slow(core, word, addend, how) },
        }
    }

    /// The rest of `release_to`: hands frames that are wanted to whoever is first in the line, one
    /// by one, and puts the others back once the line is empty.
    ///
    /// # Safety
    ///
    /// As [`release`](Self::release), except that a closed pool may have the frames already.
    #[cold]
    unsafe fn release_slow(core: NonNull<Self>, word: &AtomicU64, addend: u64, mut how: PutBack) {
        // SAFETY: the frames, or their parts of `refs`, keep the core alive. The reference is not
        // used after the last of them is given away.
        let this = unsafe { core.as_ref() };
        let mut frames = this.free.bits_of(word, addend);
        while how == PutBack::Wanted {
            while let Some(called) = this.wait_queue.call_first(&this.free) {
                if called.assign(this.free.frame_at(frames)) {
                    frames.bits &= frames.bits - 1;
                    if frames.bits == 0 {
                        return;
                    }
                }
            }
            how = put_back(word, this.free.addend(frames.bits));
        }
        if how == PutBack::DoneClosed {
            // Acquire: pairs with the Release of `FreeList::close`, which the exchange saw; the parts
            // that we give up were added before it (C3).
            fence(Ordering::Acquire);
            // SAFETY: these parts of `refs` are the frames' (C1, C2).
            unsafe { Self::release_refs(core, frames.bits.count_ones() as usize) };
        }
    }

    /// Gives up `count` parts of `refs`, and frees the pool with the last.
    ///
    /// # Safety
    ///
    /// The parts are the caller's (C1), who does not use the core afterwards.
    unsafe fn release_refs(core: NonNull<Self>, count: usize) {
        // SAFETY: the caller's parts keep the core alive up to the subtraction.
        let refs = unsafe { &core.as_ref().refs };
        // Release: what we did with the pool happens before its end; pairs with the fence below.
        if refs.fetch_sub(count, Ordering::Release) != count {
            return;
        }
        // Acquire: pairs with the Release of everybody who let go before.
        fence(Ordering::Acquire);
        // SAFETY: by C1 nobody has the core any more but, in a trap, who comes by its entry (C6).
        unsafe { core.as_ref() }.leave_trap();
        // SAFETY: by C1 and C6 nobody has the core any more, and it came from a `Box` in `new`.
        drop(unsafe { Box::from_raw(core.as_ptr()) });
    }
}

/// Traps: see C6.
impl Core {
    /// Has a stray access described by this core from now on. To be called once it is filled.
    fn enter_trap(&self) {
        if self.guard_pages.is_none() {
            return;
        }
        let pool: NonNull<dyn DescribeSlot> = self.pointer();
        if let Some(segment) = &mut *self.segment.lock() {
            // SAFETY: the core outlives its segment, by C6.
            unsafe { segment.describe_slots_with(pool) };
        }
    }

    fn leave_trap(&self) {
        if self.guard_pages.is_some() {
            drop(self.segment.lock().take());
        }
    }
}

/// What a stray access is told of the slot that it went to.
///
/// Handoff in a signal handler, while other threads go on: whatever is read here is an atomic, or never
/// changes; nothing is locked and nothing allocated. This is the place to say more of a slot, such as
/// who holds it or held it last.
impl DescribeSlot for Core {
    fn describe(&self, number: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        let Some(slot) = self.slots.get(number) else {
            return Ok(());
        };
        // SAFETY: the word is one of the core's own.
        let word = unsafe { slot.word.as_ref() };
        let state = match self.free.is_free(word, slot.addend) || self.free.is_kept(number) {
            true => "is free",
            false => "is out",
        };
        write!(out, "slot {number} {state}")?;
        let snapshot = slot.holder.snapshot();
        let Some(location) = snapshot.location else {
            return write!(out, ", and was never acquired");
        };
        let (file, line, thread) = (location.file(), location.line(), snapshot.thread);
        let holder = if snapshot.held {
            "holder"
        } else {
            "last holder"
        };
        match snapshot.label {
            Some(label) => write!(
                out,
                "; its {holder} is `{label}` ({file}:{line}), thread {thread}"
            ),
            None => write!(
                out,
                "; its {holder} got it at {file}:{line}, thread {thread}"
            ),
        }
    }
}

/// To loom, freeing a pool is a write to every slot, so that a missing ordering shows.
#[cfg(loom)]
impl Drop for Core {
    fn drop(&mut self) {
        for slot in &self.slots {
            slot.state.with_mut(|_| ());
        }
    }
}

/// A counted handle of a pool's core. The last one closes the pool (C4).
pub(crate) struct Handle(NonNull<Core>);

// SAFETY: a handle gives `&Core`, which is `Sync`, and whichever thread drops the last handle may
// free the core, which is `Send`.
unsafe impl Send for Handle where Core: Send + Sync {}
// SAFETY: as above; cloning through `&Handle` counts atomically.
unsafe impl Sync for Handle where Core: Send + Sync {}

impl Handle {
    /// Allocates everything that a pool needs, and gives the first handle.
    pub(crate) fn new(plan: &FramePoolBuilder, gate: PoolState) -> Result<Self, CommitError> {
        let &FramePoolBuilder {
            ref framing,
            ref memory,
            contents,
            ref hooks,
            shards,
            caches,
        } = plan;
        let layout = memory.layout(framing)?;
        let (segment, object) = Segment::map(&layout, memory)?;
        let Framing {
            frames, frame_size, ..
        } = *framing;

        let (address, guard_pages) = (segment.address(), segment.guard_pages());
        let has_hooks = contents != Contents::Keep || guard_pages.is_some() || hooks.per_frame();
        let holder_table = HolderTable::new(frames)?;
        let recorder = Recorder::new(hooks.events)?;
        let loans = Loans::new(if object.is_some() { frames } else { 0 })?;
        let mut free = FreeList::new(frames, shards, gate == PoolState::OPEN)?;
        let mut slots = try_with_capacity::<Slot>(frames)?;
        if caches {
            // Where the slots will be: the room is as large as it must be.
            let first = NonNull::from(slots.as_mut_slice()).cast::<Slot>().addr();
            let step = size_of::<Slot>();
            free = free.with_caches(FrameIds { first, step })?;
        }

        // The slots point back at the core, so its address is needed before it is filled.
        let room = NonNull::from(Box::leak(Box::<Core>::new_uninit()));
        let core = room.cast::<Core>();
        slots.extend(free.places().enumerate().map(|(number, place)| {
            Slot::new(
                core,
                &free,
                (number, place),
                segment.frame(number),
                frame_size,
                has_hooks,
            )
        }));
        let filled = Core {
            free,
            wait_queue: WaitQueue::new(gate),
            slots,
            layout,
            memory: memory.clone(),
            contents,
            has_hooks,
            segment: Mutex::new(Some(segment)),
            guard_pages,
            address,
            loans,
            holder_table,
            hooks: hooks.clone(),
            recorder,
            object,
            refs: AtomicUsize::new(1),
            handles: AtomicUsize::new(1),
            #[cfg(feature = "windows")]
            extension: OnceLock::new(),
        };
        // SAFETY: `room` was leaked above and nobody else knows of it but the slots, which nobody
        // can reach yet.
        unsafe { room.write(MaybeUninit::new(filled)) };
        let handle = Self(core);
        handle.enter_trap();
        Ok(handle)
    }
}

impl Deref for Handle {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        // SAFETY: by C1 the core lives as long as there is a handle.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        // Relaxed: the new handle comes from one that keeps the core alive.
        let before = self.handles.fetch_add(1, Ordering::Relaxed);
        if before > MAX_HANDLES {
            std::process::abort();
        }
        Self(self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Release: pairs with the fence below; the last handle closes after all others are done.
        if self.handles.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        drop(self.change_state(|gate| gate.committed = false));
        self.tell_of_leak();
        // SAFETY: the 1 of all handles together, and this was the last of them.
        unsafe { Core::release_refs(self.0, 1) };
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Core::fmt(self, f)
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    //! loom counts the waiters that each pool keeps, so a pool that is not freed, or twice, shows.

    use loom::thread;

    use crate::error::AcquireError;
    use crate::frame::SharedFrame;
    use crate::framing::Framing;
    use crate::mode::AllocatorMode;
    use crate::pool::wait_queue::PoolState;
    use crate::pool::{FramePool, FramePoolBuilder};
    use crate::sync::set_thread_index;

    fn pool(frames: usize) -> FramePool {
        let framing = Framing::new(frames, 1).actual().unwrap();
        let plan = FramePoolBuilder::new(framing, AllocatorMode::User).shards(1);
        FramePool::new(&plan, PoolState::OPEN).unwrap()
    }

    fn read_elsewhere(shared: &SharedFrame) -> thread::JoinHandle<()> {
        let shared = shared.clone();
        thread::spawn(move || {
            assert_eq!(shared.metadata().sequence, 0);
            drop(shared);
        })
    }

    /// C1 to C4: the last handle and the last frame, in any order.
    ///
    /// Kills: the last handle not closing the pool; `change_state` not taking off the surplus, or not
    /// adding before it closes; no `release_refs` after `DoneClosed`.
    #[test]
    fn the_last_of_handle_and_frame_frees_the_pool() {
        loom::model(|| {
            let pool = pool(2);
            let frame = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || drop(frame));
            drop(pool);
            holder.join().unwrap();
        });
    }

    /// C1: two frames that are both out when the last handle goes.
    ///
    /// Kills: as above; `fetch_sub` with `Relaxed` and no fence in `release_refs`.
    #[test]
    fn the_last_of_two_late_frames_frees_the_pool() {
        loom::model(|| {
            let pool = pool(2);
            let one = pool.try_acquire().unwrap();
            let two = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || drop(one));
            drop(pool);
            drop(two);
            holder.join().unwrap();
        });
    }

    fn pool_with_caches(frames: usize) -> FramePool {
        let framing = Framing::new(frames, 1).actual().unwrap();
        let plan = FramePoolBuilder::new(framing, AllocatorMode::User)
            .shards(1)
            .caches(true);
        FramePool::new(&plan, PoolState::OPEN).unwrap()
    }

    /// T5 and C1: a frame that its thread keeps while the last handle goes.
    ///
    /// Kills: `shut_caches` doing nothing; `push_at` not looking behind; `release` touching the slot
    /// after the frame is kept.
    #[test]
    fn a_frame_that_is_kept_at_the_end_frees_the_pool() {
        loom::model(|| {
            let pool = pool_with_caches(1);
            let frame = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || {
                set_thread_index(1);
                drop(frame);
            });
            drop(pool);
            holder.join().unwrap();
        });
    }

    /// T5, C2: the same around a decommit and a commit.
    ///
    /// Kills: as above.
    #[test]
    fn decommit_and_commit_keep_count_of_kept_frames() {
        let mut model = loom::model::Builder::new();
        // With more it takes minutes.
        model.preemption_bound = Some(2);
        model.check(|| {
            let pool = pool_with_caches(1);
            let frame = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || {
                set_thread_index(1);
                drop(frame);
            });
            drop(pool.commit(false));
            drop(pool.commit(true));
            holder.join().unwrap();
            assert_eq!(pool.frames_out(), 0);
            assert_eq!(pool.core.refs.load(super::Ordering::Relaxed), 1);
            drop(pool.try_acquire().unwrap());
        });
    }

    /// C2: frames that come back around a decommit and a commit are counted once.
    ///
    /// Kills: `open` not taking its frames off `refs`; `release` counting down by another look at
    /// the word.
    #[test]
    fn decommit_and_commit_keep_count_of_late_frames() {
        loom::model(|| {
            let pool = pool(1);
            let frame = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || drop(frame));
            drop(pool.commit(false));
            drop(pool.commit(true));
            holder.join().unwrap();
            assert_eq!(pool.frames_out(), 0);
            assert_eq!(pool.core.refs.load(super::Ordering::Relaxed), 1);
        });
    }

    /// F4: an acquire at the moment of a decommit gets a frame that the decommit counts as out, or
    /// none.
    ///
    /// Kills: `take_from` not looking at `CLOSED`.
    #[test]
    fn a_decommit_counts_whatever_went_out_before_it() {
        loom::model(|| {
            let pool = pool(1);
            let taker = {
                let pool = pool.clone();
                thread::spawn(move || pool.try_acquire())
            };
            drop(pool.commit(false));
            let out = pool.frames_out();
            match taker.join().unwrap() {
                Ok(frame) => {
                    assert_eq!(out, 1);
                    drop(frame);
                }
                Err(error) => {
                    assert_eq!(error, AcquireError::NotCommitted);
                    assert_eq!(out, 0);
                }
            }
            assert_eq!(pool.frames_out(), 0);
            assert_eq!(pool.try_acquire().unwrap_err(), AcquireError::NotCommitted);
        });
    }

    /// A refusal names a reason that held: a pool that is only flushed is never "not committed".
    ///
    /// Kills: `publish` before `open` in `change_state`; `take` not looking again when it finds no
    /// refusal.
    #[test]
    fn a_refusal_during_a_flush_is_flushing() {
        loom::model(|| {
            let pool = pool(1);
            let flusher = {
                let pool = pool.clone();
                thread::spawn(move || {
                    pool.begin_flush();
                    pool.end_flush();
                })
            };
            let acquired = pool.try_acquire().map(drop);
            assert!(matches!(acquired, Ok(()) | Err(AcquireError::Flushing)));
            flusher.join().unwrap();
        });
    }

    /// W4: a releaser that has no handle hands its frame to a waiter, who drops frame and pool while
    /// the releaser is still on its way out.
    ///
    /// Kills: settling a waiter while the line is locked.
    #[test]
    fn a_releaser_touches_nothing_after_handing_over() {
        loom::model(|| {
            let pool = pool(1);
            let frame = pool.try_acquire().unwrap();
            let waiter = thread::spawn(move || {
                let frame = pool.acquire().unwrap();
                drop(pool);
                drop(frame);
            });
            drop(frame);
            waiter.join().unwrap();
        });
    }

    /// S1, S2: the last of two handles gives the frame back, after the other has stopped reading.
    ///
    /// Kills: `Release` to `Relaxed` in `remove_handle`; no fence there; `handles` left at 0.
    #[test]
    fn the_last_shared_handle_gives_the_frame_back() {
        loom::model(|| {
            let pool = pool(1);
            let one = pool.try_acquire().unwrap().share();
            let reader = read_elsewhere(&one);
            assert_eq!(one.metadata().sequence, 0);
            drop(one);
            reader.join().unwrap();
            let mut frame = pool.try_acquire().unwrap();
            frame.metadata_mut().sequence = 1;
            assert!(frame.share().try_into_unique().is_ok());
        });
    }

    /// S2: a handle that becomes the only one may write.
    ///
    /// Kills: `Acquire` to `Relaxed` in `is_only_handle`.
    #[test]
    fn the_only_handle_that_is_left_may_write() {
        loom::model(|| {
            let pool = pool(1);
            let one = pool.try_acquire().unwrap().share();
            let reader = read_elsewhere(&one);
            if let Ok(mut frame) = one.try_into_unique() {
                frame.metadata_mut().sequence = 1;
            }
            reader.join().unwrap();
        });
    }
}
