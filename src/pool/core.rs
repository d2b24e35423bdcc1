//! Core of a pool: the part that its handles and frames share, and its lifetime.
//!
//! # Lifetime
//!
//! Frames cost no reference count while the pool is open. They are counted when it closes:
//!
//! - **C1** `refs` is [`HANDLES`] for all handles together, plus 1 for each frame that was out when
//!   the pool closed and has not been released since. The thread that takes it to 0 frees the pool.
//! - **C2** A frame that is released into an open word leaves `refs` alone (F5). A frame that is
//!   released into a closed word gives up its part of `refs` afterwards. The exchange that frees
//!   the frame tells which, so each frame that `close` counted is counted down once: by its
//!   release, or by `open`, which counts the frames that are still out.
//! - **C3** `close` counts frames while it goes from word to word. So it first adds one for every
//!   frame of the pool, and afterwards takes off those that were free. In between `refs` is too
//!   large, never too small.
//! - **C4** The last handle closes the pool before it gives up its part. So from then on every
//!   frame that is out is counted, and the last one to come back frees the pool.
//!   Loans end with the last handle, because only a handle redeems a frame: by L1 the dropping
//!   thread has all handles that were lent, and drops them.
//! - **C5** A retired or closed pool is never opened again. Once all its frames are back, none goes
//!   out any more (F4), and no thread reads the memory, even if handles remain.
//! - **C6** A registration of guard pages lets the fault handler reach the core from any thread. It
//!   is removed with the segment, and in a pool with guard pages the segment is dropped before the
//!   core is.
//! - **C7** The thread that takes `refs` of a retired pool down to the part of the handles frees
//!   the memory, so that handles that remain do not keep it. A releasing thread does so before it
//!   gives up its parts, because afterwards the last handle may free the pool. The flag
//!   [`RETIRED`] lies in `refs` itself, so no thread takes off the last frame without seeing it.
//!
//! | handles | pool | `refs` | freed by |
//! |---|---|---|---|
//! | some | open | `HANDLES` | |
//! | some | closed | `HANDLES` + frames out | |
//! | none | closed | frames out | the last frame to come back; the last handle if none is out |
//!
//! # Forked processes
//!
//! A child process that is forked after the pool was made has a private copy of the core, its slots
//! and its words, and only one thread. Memory of User mode is a private copy, too; memory of a
//! kernel object and custom memory is that of the parent.
//!
//! | operation in the child | private memory | shared memory |
//! |---|---|---|
//! | acquire of a free frame | as in the parent, in the copy | fails (P1) |
//! | acquire that has to wait | fails (P2) | fails (P1) |
//! | release | as in the parent, in the copy | changes the copy of the words only (P1) |
//! | release after threads have waited | as above: no waiter gets the frame | the same |
//! | permits of callers that waited at the fork | not there any more | the same |
//! | commit, decommit, flush, the last handle | no effect (P2) | no effect (P2) |
//! | lend, redeem, revoke | | fail (P1) |
//!
//! - **P1** The frames that a child's words say are free may be in use in the parent. So a child
//!   acquires none, and writes nothing to one that it releases.
//! - **P2** The child has copies of locks that a thread of the parent may have held at the fork,
//!   and of waiters whose threads it does not have. So these operations of a child take no lock of
//!   the core, wake no waiter and free no pool: its copy of the core stays until the child ends or
//!   executes another program. (Reports, states and statistics do take locks.)
//!
//! An acquire and a release of a free frame in private memory touch neither, and check nothing. All
//! other operations are checked where they are slow already: in `begin_use_slow`, which every
//! acquire of shared memory runs, in `end_use_slow`, `return_slow`, and in the wait.

#[cfg(feature = "windows")]
use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::time::Instant;

use crate::contents::Contents;
use crate::crate_copy::CrateCopy;
use crate::diagnostics::call_site::CallSite;
use crate::diagnostics::holder_record::{HolderRecord, Snapshot};
use crate::diagnostics::{Diagnostics, Observed};
use crate::framing::FrameLayout;
use crate::holders::{HolderState, SourceLocation};
use crate::label::Label;
use crate::memory::{
    DescribeSlot, GuardPages, MemoryPlan, OwnedKernelObject, Reservation, Segment, SegmentInfo,
};
use crate::memory_options::CommitReport;
use crate::panics::catch_panics;
#[cfg(feature = "windows")]
use crate::sync::OnceLock;
use crate::sync::{Arc, AtomicUsize, NoAllocMutex, Ordering, Process, fence};
use crate::video::VideoLayout;

use super::attachment::AttachmentConfig;
use super::free_list::{FreeList, epoch_if_out};
use super::idle::{IdleWaiters, Look};
use super::lineage::Lineage;
use super::loans::Loans;
use super::pool_state::{Availability, StateChange};
use super::slot;
use super::wait_queue::WaitQueue;

/// Part of `refs` that all handles have together (C1).
// mutant: part-of-the-handles
pub(super) const HANDLES: usize = 1 << (usize::BITS - 2);

/// Bit of `refs` that a retired pool has: its memory is freed with its last frame (C7).
pub(super) const RETIRED: usize = 1 << (usize::BITS - 1);

/// More handles than can exist unless handles are leaked on purpose.
const MAX_HANDLES: usize = usize::MAX / 2;

/// A slot of a pool.
pub(crate) type Slot = slot::Slot<Core>;

/// The part of a pool that its handles and frames share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) free: FreeList,
    /// With the wait queue.
    pub(super) lineage: Arc<Lineage<Core>>,
    /// A `Vec`, not a `Box`: frames point into it, and moving a `Box` asserts unique access.
    pub(super) slots: Vec<Slot>,
    pub(crate) layout: FrameLayout,
    pub(crate) video: Option<VideoLayout>,
    pub(crate) memory: MemoryPlan,
    pub(crate) contents: Contents,
    /// `None` once the pool is retired.
    pub(super) segment: NoAllocMutex<Option<Segment>>,
    /// The kernel object that owns the segment in Kernel mode. It stays open while the pool has a
    /// handle, through which it can be asked for.
    pub(crate) object: Option<OwnedKernelObject>,
    /// In Kernel mode, for the object.
    pub(super) _reservation: Option<Reservation>,
    /// Protects the memory of free frames, if the pool has guard pages.
    pub(crate) guard_pages: Option<GuardPages>,
    /// Address of the segment, as long as there is one.
    pub(crate) address: usize,
    /// In Kernel mode, for all slots.
    pub(crate) loans: Loans,
    pub(crate) diagnostics: Diagnostics,
    pub(super) attachments: AttachmentConfig,
    /// True if every acquire and release has work beyond the holder record.
    pub(super) works_per_frame: bool,
    /// True if a caller that blocks tries again for a while before it enters the wait queue.
    pub(super) spins: bool,
    /// True if callers may wait for a frame. Otherwise they fail, and no word has `WAITERS`.
    pub(super) waits: bool,
    /// True if a forked child may have the same memory, and not a copy of it (P1).
    pub(super) shares_memory: bool,
    /// The process that made the pool.
    pub(super) process: Process,
    pub(super) refs: AtomicUsize,
    /// Counted, because the last frame to come back notifies when the core may be gone.
    pub(super) idle_waiters: Arc<IdleWaiters>,
    pub(super) handles: AtomicUsize,
    /// Objects that the COM face keeps per frame. Frames that are out keep them alive, as they do
    /// the rest of the core.
    #[cfg(feature = "windows")]
    pub(crate) extension: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Core {
    /// Returns the slot of frame `number`.
    #[inline]
    pub(crate) fn slot(&self, number: usize) -> NonNull<Slot> {
        NonNull::from(&self.slots[number])
    }

    /// Returns the wait queue, which all generations of the pool share.
    pub(crate) fn wait_queue(&self) -> &WaitQueue {
        &self.lineage.wait_queue
    }

    /// Returns the epoch of the slot's frame, or `None` if it is free in its word.
    pub(super) fn epoch_if_out(&self, slot: &Slot) -> Option<bool> {
        // SAFETY: the word is one of this core's own.
        let word = unsafe { slot.word.as_ref() };
        epoch_if_out(word, slot.flips)
    }

    /// Returns the length of an acquired frame, in bytes.
    pub(crate) fn frame_len(&self) -> usize {
        // By the layout there is at least one frame. All have the same length.
        self.slots[0].frame_len
    }

    /// Returns the copy of the crate that made the pool.
    #[inline(always)]
    pub(crate) fn made_by(&self) -> &'static CrateCopy {
        self.free.made_by()
    }

    /// Returns the caller's source line with a label of the calling code's copy of the crate.
    #[track_caller]
    pub(crate) fn labeled_site(&self, label: Label) -> CallSite {
        CallSite::caller_for(self.made_by(), Some(self.made_by().label_of(label)))
    }

    /// Returns the bytes from the start of the segment to the payload of frame `number`.
    fn offset_of(&self, number: usize) -> usize {
        self.slots[number].payload.addr().get() - self.address
    }

    /// Returns the number of the frame whose payload is `offset` bytes from the start of the
    /// segment.
    pub(crate) fn slot_at(&self, offset: u64) -> Option<usize> {
        let from_first = usize::try_from(offset)
            .ok()?
            .checked_sub(self.offset_of(0))?;
        let number = from_first / self.layout.stride;
        let is_slot = number < self.slots.len() && self.offset_of(number) as u64 == offset;
        is_slot.then_some(number)
    }

    /// Returns the slot that begins `offset` bytes after the first one.
    ///
    /// # Safety
    ///
    /// The offset is that of a slot of this pool.
    #[inline(always)]
    pub(super) unsafe fn slot_at_offset(&self, offset: usize) -> NonNull<Slot> {
        debug_assert!(
            offset < size_of_val(self.slots.as_slice()) && offset % size_of::<Slot>() == 0
        );
        let first = NonNull::from(self.slots.as_slice()).cast::<Slot>();
        // SAFETY: the slot is one of the vector's.
        unsafe { first.byte_add(offset) }
    }

    /// Returns the pointer by which the core was allocated and can be freed.
    #[inline]
    pub(crate) fn pointer(&self) -> NonNull<Self> {
        // By the layout there is at least one frame.
        self.slots[0].core
    }

    pub(crate) fn segment_info(&self) -> SegmentInfo {
        let first_frame = self.slots[0].payload;
        let first = first_frame.addr().get() - self.address;
        // Wrapping, because a retired pool has no memory to point into.
        let base = first_frame.as_ptr().wrapping_sub(first);
        let base = NonNull::new(base).unwrap_or(first_frame);
        SegmentInfo::new(&self.layout, base, first)
    }

    /// Returns the state of the memory now. The lock keeps the segment alive meanwhile.
    pub(crate) fn commit_report(&self) -> CommitReport {
        let segment = self.segment.lock();
        match &*segment {
            Some(segment) => segment.report(&self.memory),
            None => Segment::report_dropped(&self.layout, &self.memory),
        }
    }

    /// Calls `change`, which opens or closes the words, and keeps `refs` in step (C1 to C3).
    pub(super) fn in_step<R>(&self, change: impl FnOnce() -> (StateChange, R)) -> R {
        let frames = self.free.frames();
        // Relaxed: the caller has a handle, or was the last one and has not given up its part yet.
        // So `refs` stays above 0 whatever is subtracted meanwhile (C3).
        // mutant: count-all-frames
        self.refs.fetch_add(frames, Ordering::Relaxed);
        // mutant: change-words
        let (effect, result) = change();
        let surplus = match effect {
            StateChange::Closed { out } => frames - out,
            // mutant: reopened-surplus
            StateChange::Opened { out } => frames + out,
            StateChange::None => frames,
        };
        // AcqRel: pairs with the fence in `release_refs` of the thread that frees the pool, and
        // with the Release of the frames that gave up their parts.
        // mutant: give-up-surplus
        let before = self.refs.fetch_sub(surplus, Ordering::AcqRel);
        // mutant: surplus-hid-the-last-frame
        if before - surplus == RETIRED | HANDLES {
            self.drop_segment();
        }
        // mutant: state-change-notifies
        self.idle_waiters.notify();
        result
    }

    /// Blocks until all frames are back or `deadline` has passed. Returns whether they are.
    pub(crate) fn wait_idle(&self, deadline: Option<Instant>) -> bool {
        self.idle_waiters.wait(deadline, || self.look())
    }

    /// Looks whether the pool is idle (I1).
    pub(super) fn look(&self) -> Look {
        let availability = self.wait_queue().availability(&self.free);
        let is_open = availability == Availability::Open;
        // Acquire: pairs with the Release by which each released frame gave up its part. The
        // holders' use of the frames comes before what the caller does next.
        // mutant: look-reads-refs
        let is_unused = self.refs.load(Ordering::Acquire) & !RETIRED == HANDLES;
        // Looked at as well: if the pool was opened in the meantime, `refs` counts no frames.
        let none_out = self.frames_out() == 0;
        match (is_open, none_out && (is_open || is_unused)) {
            (_, true) => Look::Idle,
            (true, false) => Look::BusyOpen,
            (false, false) => Look::BusyClosed,
        }
    }

    /// Returns whether the caller runs in a child that was forked after the pool was made (P2).
    pub(crate) fn is_in_other_process(&self) -> bool {
        self.process != self.made_by().process()
    }

    /// Returns whether the caller runs in such a child, and its parent uses the same memory (P1).
    pub(super) fn is_memory_of_other_process(&self) -> bool {
        self.shares_memory && self.is_in_other_process()
    }

    /// Returns the number of frames that are out now.
    pub(crate) fn frames_out(&self) -> usize {
        self.free.frames() - self.free.free_frames()
    }

    /// Frees the memory. The lock is free meanwhile, because memory of the user's is freed by code
    /// of the user's, which may also panic.
    pub(super) fn drop_segment(&self) {
        let segment = self.segment.lock().take();
        #[cfg(all(test, loom))]
        self.write_to_slots();
        catch_panics(|| drop(segment));
    }

    /// Gives up parts of `refs`: 1 per frame that came back to a closed pool, or [`HANDLES`]. Frees
    /// the memory of a retired pool with its last frame, and the pool with the last part.
    ///
    /// # Safety
    ///
    /// The parts are the caller's (C1), and the caller does not use the core afterwards.
    pub(super) unsafe fn release_refs(core: NonNull<Self>, parts: usize) {
        // SAFETY: the caller's parts keep the core alive up to the exchange.
        let refs = unsafe { &core.as_ref().refs };
        // For handles this is more than a number can be.
        let last_frames = (RETIRED | HANDLES).checked_add(parts);
        // Relaxed: the exchange looks again.
        let mut now = refs.load(Ordering::Relaxed);
        loop {
            // mutant: last-frame-frees-the-memory
            if Some(now) == last_frames {
                // By C7 no other frame is out. The caller's parts keep the core alive, also if the
                // last handle is dropped meanwhile.
                // Acquire: pairs with the Release of the frames that gave up their parts before.
                // mutant: last-frame-acquires
                fence(Ordering::Acquire);
                // SAFETY: the caller's parts keep the core alive.
                let this = unsafe { core.as_ref() };
                this.drop_segment();
            }
            // Release: the caller's use of the pool happens before its end; pairs with the fence
            // above and the one in `free`.
            // mutant: give-up-parts
            match refs.compare_exchange(now, now - parts, Ordering::Release, Ordering::Relaxed) {
                Ok(_) if (now - parts) & !RETIRED > 0 => return,
                // SAFETY: these were the last parts.
                Ok(_) => return unsafe { Self::free(core) },
                Err(seen) => now = seen,
            }
        }
    }

    /// Frees the pool.
    ///
    /// # Safety
    ///
    /// The caller has given up the last part of `refs` (C1).
    unsafe fn free(core: NonNull<Self>) {
        // Acquire: pairs with the Release of every thread that gave up a part before.
        // mutant: last-part-acquires
        fence(Ordering::Acquire);
        // SAFETY: by C1 no handle and no frame is left. A fault handler may still read the core
        // through `&Core` (C6), as this call does.
        unsafe { core.as_ref() }.unregister_guard_pages();
        // SAFETY: by C1 and C6 nothing refers to the core any more, and `construction` made it from
        // a `Box`.
        let core = unsafe { Box::from_raw(core.as_ptr()) };
        // What hooks have captured is dropped here, and may panic. The caller may be about to
        // release frames of other pools.
        catch_panics(|| drop(core));
    }
}

/// Reports.
impl Observed for Core {
    fn frames(&self) -> usize {
        self.free.frames()
    }

    fn free_frames(&self) -> usize {
        self.free.free_frames()
    }

    fn record(&self, slot: usize) -> &HolderRecord {
        &self.slots[slot].holder
    }

    fn snapshot(&self, slot: usize) -> Snapshot {
        let slot = &self.slots[slot];
        slot.holder.snapshot(|| self.epoch_if_out(slot))
    }

    fn slots_out(&self) -> impl Iterator<Item = usize> {
        self.free.out()
    }

    fn is_out(&self, slot: usize) -> bool {
        self.epoch_if_out(&self.slots[slot]).is_some()
    }

    fn held_state(&self, slot: usize) -> (HolderState, usize) {
        let (handles, loans) = (self.slots[slot].handles.count(), self.loans.count(slot));
        let state = match handles {
            _ if loans >= handles => HolderState::Lent,
            1 => HolderState::Unique,
            _ => HolderState::Shared { handles },
        };
        (state, loans)
    }

    fn made_by(&self) -> &'static CrateCopy {
        self.free.made_by()
    }

    fn waiting(&self) -> (usize, Option<Instant>) {
        if self.is_in_other_process() {
            // By P2.
            return (0, None);
        }
        self.wait_queue().waiting()
    }
}

/// Guard pages (C6).
impl Core {
    /// Registers the core with the fault handler. To be called once the core is filled.
    pub(super) fn register_guard_pages(&self) {
        if self.guard_pages.is_none() {
            return;
        }
        let pool: NonNull<dyn DescribeSlot> = self.pointer();
        if let Some(segment) = &mut *self.segment.lock() {
            // SAFETY: by C6 the core outlives its segment, and with it the registration.
            unsafe { segment.describe_slots_with(pool) };
        }
    }

    fn unregister_guard_pages(&self) {
        if self.guard_pages.is_some() {
            self.drop_segment();
        }
    }
}

/// Called in a signal handler while other threads run: it reads only atomics and fields that never
/// change, takes no lock and allocates nothing.
impl DescribeSlot for Core {
    fn describe(&self, number: usize, out: &mut dyn fmt::Write) -> fmt::Result {
        let Some(slot) = self.slots.get(number) else {
            return Ok(());
        };
        let state = match self.epoch_if_out(slot) {
            None => "free",
            Some(_) => "out",
        };
        write!(out, "slot {number} is {state}")?;
        let snapshot = slot.holder.snapshot(|| self.epoch_if_out(slot));
        if snapshot.is_changing() {
            return write!(out, "; another thread is acquiring it");
        }
        if snapshot.generation() == 0 {
            return write!(out, " and was never acquired");
        }
        let location = snapshot.location.map(SourceLocation::from);
        let thread = snapshot.acquirer.thread();
        let holder = if snapshot.is_held() {
            "holder"
        } else {
            "last holder"
        };
        match (snapshot.label(), location) {
            (Some(label), Some(location)) => {
                write!(out, "; its {holder} is `{label}` ({location})")?;
            }
            (Some(label), None) => write!(out, "; its {holder} is `{label}`")?,
            (None, Some(location)) => write!(out, "; its {holder} acquired it at {location}")?,
            (None, None) => write!(out, "; its {holder} acquired it in another library")?,
        }
        write!(out, ", thread {thread}")
    }
}

/// To loom, freeing a pool or its memory is a write to every slot, so that a missing ordering
/// shows.
#[cfg(all(test, loom))]
impl Core {
    fn write_to_slots(&self) {
        for slot in &self.slots {
            slot.state.with_mut(|_| ());
        }
    }
}

#[cfg(all(test, loom))]
impl Drop for Core {
    fn drop(&mut self) {
        self.write_to_slots();
    }
}

/// A counted handle of a core. The last one closes the pool (C4).
pub(crate) struct Handle(NonNull<Core>);

// SAFETY: a handle gives `&Core`, which is `Sync`, and the thread that drops the last handle may
// free the core, which is `Send`.
unsafe impl Send for Handle where Core: Send + Sync {}
// SAFETY: `&Handle` gives `&Core`, which is `Sync`, and clones, which are counted atomically.
unsafe impl Sync for Handle where Core: Send + Sync {}

impl Handle {
    /// Makes the first handle.
    ///
    /// # Safety
    ///
    /// The core is filled, was allocated by `Box`, has `refs` at [`HANDLES`] and `handles` at 1,
    /// and no other handle.
    pub(super) unsafe fn first(core: NonNull<Core>) -> Self {
        Self(core)
    }
}

impl Handle {
    /// Makes one more handle, unless the last one was dropped already.
    pub(crate) fn of(core: &Core) -> Option<Self> {
        let mut handles = core.handles.load(Ordering::Relaxed);
        loop {
            if handles == 0 || handles > MAX_HANDLES {
                return None;
            }
            // Relaxed: another handle keeps the core alive, and the caller has access to it
            // already.
            match core.handles.compare_exchange_weak(
                handles,
                handles + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(Self(core.pointer())),
                Err(now) => handles = now,
            }
        }
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
        // Relaxed: the new handle is made from one that keeps the core alive.
        let before = self.handles.fetch_add(1, Ordering::Relaxed);
        if before > MAX_HANDLES {
            std::process::abort();
        }
        Self(self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Release: pairs with the fence below. The last handle closes the pool after the use of it
        // through all others.
        if self.handles.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // Acquire: pairs with the Release of the handles that were dropped before.
        fence(Ordering::Acquire);
        if self.is_in_other_process() {
            // By P2 the copy of the core is not freed.
            return;
        }
        // mutant: last-handle-closes
        let closed = self.change_own_state(&|state| state.committed = false);
        self.lineage.forget(self.0);
        // The frames of a pool that is superseded are out as long as their holders like.
        if let Ok(rejected) = closed {
            drop(rejected);
            self.diagnostics.on_last_handle_dropped(&**self);
        }
        let lent = self.loans.revoke_all().map(|slot| self.slot(slot));
        // SAFETY: by L1 the handle of the frame is this thread's, which keeps the slot alive.
        lent.filter(|slot| unsafe { slot.as_ref() }.handles.remove())
            .for_each(|slot| {
                // Without `end_use`, which can write to the frame: its borrower may still read it.
                // SAFETY: by S1 the frame is the caller's, which gives it up. The caller's part of
                // `refs` keeps the core alive.
                unsafe { Core::return_frame(slot) };
            });
        // SAFETY: this was the last handle, so the part of all handles together is the caller's.
        unsafe { Core::release_refs(self.0, HANDLES) };
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
    //! loom counts the spare waiters of each pool, so a pool that is leaked or freed twice shows.

    use loom::thread;

    use crate::error::AcquireError;
    use crate::frame::SharedFrame;
    use crate::frame_pool::FramePool;
    use crate::framing::Framing;
    use crate::mode::AllocatorMode;
    use crate::pool::config::PoolConfig;
    use crate::pool::pool_state::{Availability, PoolState};

    fn pool(frames: usize) -> FramePool {
        let framing = Framing::new(frames, 1).actual().unwrap();
        let mut config = PoolConfig::new(framing, AllocatorMode::User);
        config.shards = Some(1);
        FramePool::new(&config, PoolState::OPEN).unwrap()
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
    /// Kills: the last handle not closing the pool; `change_state` not subtracting the surplus; no
    /// `release_refs` after `DoneClosed`.
    #[test]
    fn the_last_handle_or_frame_frees_the_pool() {
        loom::model(|| {
            let pool = pool(2);
            let frame = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || drop(frame));
            drop(pool);
            holder.join().unwrap();
        });
    }

    /// C1: two frames that are both out when the last handle is dropped.
    ///
    /// Kills: the mutations of the model above; `fetch_sub` with `Relaxed` and no fence in
    /// `release_refs`.
    #[test]
    fn the_last_of_two_frames_frees_the_pool() {
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

    /// C2: frames that are released around a decommit and a commit are counted once.
    ///
    /// Kills: `open` not subtracting its frames from `refs`; a release that loads the word again to
    /// learn whether to count down.
    #[test]
    fn decommit_and_commit_count_released_frames() {
        loom::model(|| {
            let pool = pool(1);
            let frame = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || drop(frame));
            drop(pool.commit(false));
            drop(pool.commit(true));
            holder.join().unwrap();
            assert_eq!(pool.frames_out(), 0);
            assert_eq!(
                pool.core().refs.load(super::Ordering::Relaxed),
                super::HANDLES
            );
        });
    }

    /// F4: an acquire during a decommit gets a frame that the decommit counts as out, or none.
    ///
    /// Kills: `take` or `take_first` ignoring `CLOSED`.
    #[test]
    fn a_decommit_counts_the_frames_that_were_acquired_before_it() {
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

    /// A refusal names a reason that held: a pool that is only flushed never fails with
    /// `NotCommitted`.
    ///
    /// Kills: `publish` before `open` in `change_state`; `take_frames` not retrying when it finds
    /// no refusal.
    #[test]
    fn an_acquire_during_a_flush_fails_with_flushing() {
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

    /// A closed pool stays closed while another thread ends a flush, and rejects its waiter.
    ///
    /// Kills: `PoolState::refusal` not looking at `closed`.
    #[test]
    fn a_close_is_final_whatever_else_changes_the_state() {
        loom::model(|| {
            let pool = pool(1);
            pool.begin_flush();
            let other = {
                let pool = pool.clone();
                thread::spawn(move || {
                    pool.end_flush();
                    let acquired = pool.acquire().map(drop);
                    assert!(matches!(acquired, Ok(()) | Err(AcquireError::Closed)));
                })
            };
            pool.close();
            assert_eq!(pool.acquire().unwrap_err(), AcquireError::Closed);
            other.join().unwrap();
            assert_eq!(pool.try_acquire().unwrap_err(), AcquireError::Closed);
        });
    }

    /// I1 to I3: a caller that waits for the last frame of a closed pool returns, and only handles
    /// use the core then.
    ///
    /// Kills: a release into a closed word not notifying, or notifying before it gives up its part;
    /// a waiter that registers after its look; `look` not reading `refs`.
    #[test]
    fn the_last_frame_of_a_closed_pool_ends_the_wait_for_it() {
        loom::model(|| {
            let pool = pool(1);
            let frame = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || drop(frame));
            pool.close();
            assert!(pool.core().wait_idle(None));
            assert_eq!(
                pool.core().refs.load(super::Ordering::Relaxed),
                super::HANDLES
            );
            holder.join().unwrap();
        });
    }

    /// I1, C3: while another thread closes the pool, no caller takes it for idle before the last
    /// release has given up its part.
    ///
    /// Kills: `change_state` not adding before it closes.
    #[test]
    fn a_pool_that_is_being_closed_is_not_idle_too_early() {
        loom::model(|| {
            let pool = pool(1);
            let frame = pool.try_acquire().unwrap();
            let holder = thread::spawn(move || drop(frame));
            let closer = {
                let pool = pool.clone();
                thread::spawn(move || drop(pool.core().change_state(&|state| state.closed = true)))
            };
            let core = pool.core();
            let is_idle = matches!(core.look(), super::Look::Idle);
            let is_closed = core.wait_queue().availability(&core.free) != Availability::Open;
            if is_idle && is_closed && matches!(core.look(), super::Look::Idle) {
                assert_eq!(core.refs.load(super::Ordering::Relaxed), super::HANDLES);
            }
            holder.join().unwrap();
            closer.join().unwrap();
        });
    }

    /// I2: a change of state, which raises `refs` for a moment, ends the wait of a caller that saw
    /// it raised.
    ///
    /// Kills: `change_state` not notifying.
    #[test]
    fn a_change_of_state_does_not_hide_that_all_frames_are_back() {
        loom::model(|| {
            let pool = pool(1);
            pool.close();
            let other = {
                let pool = pool.clone();
                thread::spawn(move || pool.end_flush())
            };
            assert!(pool.core().wait_idle(None));
            other.join().unwrap();
        });
    }

    /// W4: a releasing thread without a handle passes its frame to a waiter, which drops frame and
    /// pool while the release still runs.
    ///
    /// Kills: assigning to a waiter while the queue is locked.
    #[test]
    fn a_release_touches_nothing_after_passing_its_frame_on() {
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

    /// S1, S2: the last of two handles releases the frame, after the reads through the other.
    ///
    /// Kills: `Release` to `Relaxed` in `Handles::remove`; no fence there; `handles` left at 0.
    #[test]
    fn the_last_shared_handle_releases_the_frame() {
        loom::model(|| {
            let pool = pool(1);
            let one = pool.try_acquire().unwrap().share();
            let reader = read_elsewhere(&one);
            assert_eq!(one.metadata().sequence, 0);
            drop(one);
            // Before the reader has ended, if its handle was the last: nothing else orders its
            // reads before this write.
            if let Ok(mut frame) = pool.try_acquire() {
                frame.metadata_mut().sequence = 1;
            }
            reader.join().unwrap();
            let frame = pool.try_acquire().unwrap();
            assert!(frame.share().try_into_unique().is_ok());
        });
    }

    /// S2: a handle that becomes the only one may write.
    ///
    /// Kills: `Acquire` to `Relaxed` in `Handles::is_one`.
    #[test]
    fn the_only_handle_may_write() {
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
