//! Generations of a pool: how one takes over from another.
//!
//! A re-framing makes a pool with other frames while callers hold frames of the present one and
//! others wait for some. The two pools are generations of one pool. Each has its own core, and all
//! have the same [`Lineage`](super::lineage), with the wait queue. A caller that has a handle of an
//! older generation acquires frames of the newest.

use std::cell::Cell;
use std::mem;
use std::time::Instant;

use crate::sync::{Arc, Ordering};

use super::core::{Core, HANDLES, Handle, RETIRED};
use super::handoff::{EndedWaits, RejectedWaiters};
use super::idle::Look;
use super::levels::Levels;
use super::pool_state::{Availability, PoolState, Refusal, StateChange};
use super::wait_queue::Superseded;

/// Waits that have ended. When it is dropped, the waiters are told, and frames that no waiter takes
/// are released. That may run wakers, so no lock may be held then.
#[derive(Debug, Default)]
#[must_use = "ends the waits when it is dropped, which must happen after all locks are released"]
pub(crate) struct WakeOnDrop {
    ended: EndedWaits,
    /// Those that a hook has to be told of.
    levels: Option<Arc<Levels>>,
}

impl From<EndedWaits> for WakeOnDrop {
    fn from(ended: EndedWaits) -> Self {
        Self {
            ended,
            levels: None,
        }
    }
}

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        let EndedWaits {
            served,
            rejected,
            given_back,
        } = mem::take(&mut self.ended);
        if let Some(levels) = &self.levels {
            levels.run(|_| ());
        }
        served.into_iter().for_each(Core::deliver);
        drop(rejected);
        for frame in given_back {
            // SAFETY: a waiter had collected the frame, had not begun to use it, and gave it back
            // (W8). So it is this thread's, which gives it up.
            unsafe { Core::return_unused(frame) };
        }
    }
}

impl Core {
    /// Returns whether the two are generations of one pool.
    #[cfg(feature = "windows")]
    pub(crate) fn has_same_queue(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lineage, &other.lineage)
    }

    /// Returns a handle of the newest generation, if it is not the first and was not dropped.
    pub(crate) fn newest(&self) -> Option<Handle> {
        if self.is_in_other_process() {
            // By P2.
            return None;
        }
        let newest = self.lineage.newest.lock();
        let core = newest.0?;
        // SAFETY: by N1, with the lock held.
        Handle::of(unsafe { core.as_ref() })
    }

    /// Returns a handle of the newest generation for a caller that found this one superseded. If
    /// its last handle was dropped, returns why acquires fail.
    pub(crate) fn newest_or_refusal(&self) -> Result<Handle, Refusal> {
        let refusal = || self.wait_queue().state().refusal();
        self.newest()
            .ok_or_else(|| refusal().unwrap_or(Refusal::NotCommitted))
    }

    /// Returns a handle of the newest generation, if it is not this one.
    pub(crate) fn successor(&self) -> Option<Handle> {
        let availability = self.wait_queue().availability(&self.free);
        let is_superseded = availability == Availability::Refused(Refusal::Superseded);
        is_superseded.then(|| self.newest()).flatten()
    }

    /// Calls `work` with the newest generation.
    pub(crate) fn in_newest<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        match self.successor() {
            Some(newest) => work(&newest),
            None => work(self),
        }
    }

    /// Opens or closes the newest generation.
    ///
    /// The waiters that a closing rejects are woken when the result is dropped.
    pub(crate) fn change_state(&self, change: &dyn Fn(&mut PoolState)) -> Option<RejectedWaiters> {
        self.change_own_state(change)
            .unwrap_or_else(|Superseded| self.newest()?.change_state(change))
    }

    /// Opens or closes this pool, if it is the newest generation.
    pub(super) fn change_own_state(
        &self,
        change: &dyn Fn(&mut PoolState),
    ) -> Result<Option<RejectedWaiters>, Superseded> {
        if self.is_in_other_process() {
            // By P2.
            return Ok(None);
        }
        self.in_step(
            || match self.wait_queue().change_state(&self.free, change) {
                Ok((effect, rejected)) => (effect, Ok(rejected)),
                Err(superseded) => (StateChange::None, Err(superseded)),
            },
        )
    }

    /// Stops handing out frames. Callers wait until [`resume`](Self::resume), or until a newer
    /// generation takes over.
    pub(crate) fn pause(&self) -> WakeOnDrop {
        self.in_step(|| self.wait_queue().pause(&self.free)).into()
    }

    /// Ends a [pause](Self::pause). Waiters get the free frames when the result is dropped.
    pub(crate) fn resume(&self) -> WakeOnDrop {
        let record = |number, site| self.record(number, site);
        self.in_step(|| self.wait_queue().resume(&self.free, &record))
            .into()
    }

    /// Makes `next`, which is of the same lineage, the newest generation after this one. Waiters
    /// get frames of `next` when the result is dropped. The caller then
    /// [frees the memory](Self::free_memory_once_idle) of this one.
    ///
    /// # Errors
    ///
    /// The reason why this pool cannot be superseded. Nothing is changed then.
    pub(crate) fn hand_over(&self, next: &Handle) -> Result<WakeOnDrop, Refusal> {
        debug_assert!(Arc::ptr_eq(&self.lineage, &next.lineage));
        let record = |number, site| next.record(number, site);
        let mut levels = None;
        let install = || {
            if let Some(counted) = &self.lineage.levels {
                // Before a frame of `next` goes out (V3).
                let runs = counted.switch(next.free.generation, next.free.frames());
                levels = runs.then(|| Arc::clone(counted));
            }
            let mut newest = self.lineage.newest.lock();
            newest.0 = Some(next.pointer());
            // Locked until the words are open (W9).
            newest
        };
        let ended = self.in_step(|| {
            let queue = self.wait_queue();
            match queue.hand_over(&self.free, &next.free, &record, install) {
                Ok((effect, ended)) => (effect, Ok(ended)),
                Err(refusal) => (StateChange::None, Err(refusal)),
            }
        })?;
        Ok(WakeOnDrop { ended, levels })
    }

    /// Closes the pool for good, and frees its memory once all frames are back (C5, C7). Waiters
    /// are told when the result is dropped.
    pub(crate) fn retire(&self) -> WakeOnDrop {
        let rejected = self.change_own_state(&|state| state.retired = true);
        if !self.is_in_other_process() {
            self.free_memory_once_idle();
        }
        let ended = EndedWaits {
            rejected: rejected.ok().flatten(),
            ..EndedWaits::default()
        };
        ended.into()
    }

    /// Blocks until all frames of a paused pool are back.
    ///
    /// Fails once `deadline` has passed, with [`Refusal::TimedOut`], or as soon as the pool refuses
    /// callers for good or until a commit, with the reason.
    pub(crate) fn wait_drained(&self, deadline: Option<Instant>) -> Result<(), Refusal> {
        let refusal = Cell::new(None);
        let is_idle = self.idle_waiters.wait(deadline, || {
            let found = self.wait_queue().state().refusal();
            // mutant: drain-ends-with-the-pool
            refusal.set(found.filter(|&refusal| refusal != Refusal::Flushing));
            match refusal.get() {
                Some(_) => Look::Idle,
                // mutant: drain-looks
                None => self.look(),
            }
        });
        match refusal.get() {
            Some(refusal) => Err(refusal),
            None if is_idle => Ok(()),
            None => Err(Refusal::TimedOut),
        }
    }

    /// Frees the memory of a paused pool whose frames are all back, and which is not resumed.
    pub(crate) fn free_memory(&self) {
        // First, so that no change of state by another thread finds the flag and does it.
        self.drop_segment();
        self.refs.fetch_or(RETIRED, Ordering::AcqRel);
    }

    /// Frees the memory of a closed pool that is not opened again: now, or with its last frame
    /// (C7).
    pub(crate) fn free_memory_once_idle(&self) {
        // AcqRel: pairs with the Release of frames that gave up their parts before, and with the
        // exchanges of those that do it later, which see the flag.
        // mutant: retire-sets-the-flag
        if self.refs.fetch_or(RETIRED, Ordering::AcqRel) == HANDLES {
            self.drop_segment();
        }
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    //! loom counts the spare waiters of each lineage, so one that is leaked or freed twice shows.

    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use loom::thread::{self, Thread};

    use crate::error::AcquireError;
    use crate::frame::Frame;
    use crate::frame_pool::{AcquireFuture, FramePool};
    use crate::framing::Framing;
    use crate::mode::AllocatorMode;
    use crate::pool::config::PoolConfig;
    use crate::pool::pool_state::{PoolState, Refusal};

    fn config(frames: usize, generation: u64) -> PoolConfig {
        let framing = Framing::new(frames, 1).actual().unwrap();
        PoolConfig {
            shards: Some(1),
            generation,
            ..PoolConfig::new(framing, AllocatorMode::User)
        }
    }

    fn pool(frames: usize) -> FramePool {
        FramePool::new(&config(frames, 0), PoolState::OPEN).unwrap()
    }

    /// Lets a new generation take over.
    fn reframe(pool: &FramePool, frames: usize) -> FramePool {
        let config = config(frames, pool.generation() + 1);
        let next = FramePool::next_generation(&config, pool.core()).unwrap();
        drop(pool.core().hand_over(next.core_handle()).unwrap());
        pool.core().free_memory_once_idle();
        next
    }

    fn has_memory(pool: &FramePool) -> bool {
        pool.core().segment.lock().is_some()
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Drops a frame, whose memory must be there.
    fn check_and_drop(pool: &FramePool, frame: Frame) {
        assert!(has_memory(pool));
        drop(frame);
    }

    /// W7, W9: an acquire through an old handle gets a frame whenever it runs, and one of the new
    /// generation after another one of that has gone out.
    ///
    /// Kills: the words of the old generation left open; closed before the new one is installed.
    #[test]
    fn no_old_frame_goes_out_after_a_hand_over() {
        loom::model(|| {
            let old = pool(1);
            let taker = {
                let old = old.clone();
                thread::spawn(move || {
                    let generation =
                        |old: &FramePool| old.try_acquire().map(|frame| frame.generation());
                    let (first, second) = (generation(&old), generation(&old));
                    assert!(matches!(first, Ok(_) | Err(AcquireError::Exhausted(_))));
                    assert!(!matches!((first, second), (Ok(1), Ok(0))));
                })
            };
            let new = reframe(&old, 1);
            let acquired = old.try_acquire();
            match acquired {
                Ok(frame) => assert_eq!(frame.generation(), 1),
                // The other thread has it.
                Err(error) => assert!(matches!(error, AcquireError::Exhausted(_))),
            }
            taker.join().unwrap();
            assert_eq!((old.free_frames(), new.free_frames()), (1, 1));
        });
    }

    /// W7: a waiter gets the frame that is released in the old generation, or one of the new.
    /// Neither wake-up nor frame is lost.
    #[test]
    fn a_waiter_is_served_around_a_hand_over() {
        loom::model(|| {
            let old = pool(1);
            let frame = old.try_acquire().unwrap();
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            let mut context = Context::from_waker(&waker);
            let mut waiting = pin!(old.acquire_async());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            let releaser = thread::spawn(move || drop(frame));
            let new = reframe(&old, 1);
            loop {
                match waiting.as_mut().poll(&mut context) {
                    Poll::Ready(frame) => break drop(frame.unwrap()),
                    Poll::Pending => thread::park(),
                }
            }
            releaser.join().unwrap();
            assert_eq!((old.free_frames(), new.free_frames()), (1, 1));
            assert!(!has_memory(&old));
            drop(new.try_acquire().unwrap());
        });
    }

    /// W7: of two waiters, the first may get the old frame that was on its way to it. After a new
    /// frame, the second gets none of the old ones.
    ///
    /// Kills: `pop_first` for a generation that is superseded; `WAITERS` not set for waiters that
    /// are not served at once.
    #[test]
    fn waiters_behind_a_hand_over_get_new_frames() {
        loom::model(|| {
            let old = pool(1);
            let frame = old.try_acquire().unwrap();
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            let mut context = Context::from_waker(&waker);
            let mut first = pin!(old.acquire_async());
            let mut second = pin!(old.acquire_async());
            assert!(first.as_mut().poll(&mut context).is_pending());
            assert!(second.as_mut().poll(&mut context).is_pending());
            let releaser = thread::spawn(move || drop(frame));
            let new = reframe(&old, 1);
            let wait = |mut future: Pin<&mut AcquireFuture<'_>>, context: &mut Context<'_>| loop {
                match future.as_mut().poll(context) {
                    Poll::Ready(frame) => break frame.unwrap(),
                    Poll::Pending => thread::park(),
                }
            };
            let frame = wait(first, &mut context);
            let generation = frame.generation();
            drop(frame);
            assert!(wait(second, &mut context).generation() >= generation);
            releaser.join().unwrap();
            assert_eq!((old.free_frames(), new.free_frames()), (1, 1));
        });
    }

    /// A waiter gets a new frame, also if no frame of the old generation comes back.
    ///
    /// Kills: an entry for a generation that is superseded.
    #[test]
    fn a_waiter_gets_a_new_frame_while_the_old_one_is_held() {
        loom::model(|| {
            let old = pool(1);
            let held = old.try_acquire().unwrap();
            let waiter = {
                let old = old.clone();
                thread::spawn(move || {
                    let frame = old.acquire().unwrap();
                    assert_eq!(frame.generation(), 1);
                })
            };
            let new = reframe(&old, 1);
            waiter.join().unwrap();
            assert_eq!(new.free_frames(), 1);
            drop(new.try_acquire().unwrap());
            check_and_drop(&old, held);
        });
    }

    /// C7: the last frame of a retired pool frees the memory, and no other thread does, whatever
    /// the order of frames and of the hand-over.
    ///
    /// Kills: `release_refs` giving up the last frame without freeing; the flag not set; the part
    /// of the handles taken for that of a frame.
    #[test]
    fn the_last_frame_of_a_retired_pool_frees_its_memory() {
        loom::model(|| {
            let old = pool(2);
            let one = old.try_acquire().unwrap();
            let two = old.try_acquire().unwrap();
            let holder = {
                let old = old.clone();
                thread::spawn(move || check_and_drop(&old, one))
            };
            let new = reframe(&old, 1);
            check_and_drop(&old, two);
            holder.join().unwrap();
            assert!(!has_memory(&old));
            drop(new);
        });
    }

    /// C7: the same while the last handle is dropped. The frame that is left keeps the memory.
    ///
    /// Kills: the part of the handles taken for that of a frame.
    #[test]
    fn a_frame_keeps_the_memory_when_the_handles_are_gone() {
        loom::model(|| {
            let old = pool(2);
            let one = old.try_acquire().unwrap();
            let two = old.try_acquire().unwrap();
            let new = reframe(&old, 1);
            let holder = thread::spawn(move || drop(one));
            drop(old);
            assert!(two.core().segment.lock().is_some());
            holder.join().unwrap();
            assert!(two.core().segment.lock().is_some());
            drop(two);
            drop(new);
        });
    }

    /// C7: a change of state through an old handle, which raises `refs` for a moment, does not keep
    /// the memory.
    ///
    /// Kills: `in_step` not looking at what is left.
    #[test]
    fn a_change_of_state_does_not_hide_the_last_frame() {
        loom::model(|| {
            let old = pool(1);
            let frame = old.try_acquire().unwrap();
            let new = reframe(&old, 1);
            let holder = thread::spawn(move || drop(frame));
            drop(old.core().change_own_state(&|state| state.flushing = true));
            holder.join().unwrap();
            assert!(!has_memory(&old));
            assert!(new.try_acquire().is_ok(), "the change was of no effect");
        });
    }

    /// C5: a drain frees the memory once, and not before the last frame is back.
    ///
    /// Kills: no look at the frames that are out.
    #[test]
    fn a_drain_frees_the_memory_after_the_last_frame() {
        loom::model(|| {
            let old = pool(1);
            let frame = old.try_acquire().unwrap();
            let holder = {
                let old = old.clone();
                thread::spawn(move || check_and_drop(&old, frame))
            };
            drop(old.core().pause());
            old.core().wait_drained(None).unwrap();
            old.core().free_memory();
            holder.join().unwrap();
            assert!(!has_memory(&old));
        });
    }

    /// C5: a decommit ends a drain, which then frees nothing. The next commit finds the memory.
    ///
    /// Kills: no look at the reason why the pool refuses callers.
    #[test]
    fn a_decommit_ends_a_drain() {
        loom::model(|| {
            let old = pool(1);
            let frame = old.try_acquire().unwrap();
            let decommitter = {
                let old = old.clone();
                thread::spawn(move || {
                    drop(old.core().change_state(&|state| state.committed = false))
                })
            };
            drop(old.core().pause());
            assert_eq!(old.core().wait_drained(None), Err(Refusal::NotCommitted));
            drop(old.core().resume());
            decommitter.join().unwrap();
            check_and_drop(&old, frame);
            assert!(has_memory(&old));
        });
    }

    /// N1, N2: a caller that looks for the newest generation while its last handle is dropped gets
    /// a handle, or learns that there is none.
    ///
    /// Kills: the pointer to the newest core left behind.
    #[test]
    fn the_newest_generation_is_there_or_not_found() {
        loom::model(|| {
            let old = pool(1);
            let new = reframe(&old, 1);
            let dropper = thread::spawn(move || drop(new));
            match old.try_acquire() {
                Ok(frame) => assert_eq!(frame.generation(), 1),
                Err(error) => assert_eq!(error, AcquireError::NotCommitted),
            }
            dropper.join().unwrap();
            assert_eq!(old.core().lineage.newest.lock().0, None);
            assert_eq!(old.acquire().unwrap_err(), AcquireError::NotCommitted);
        });
    }
}
