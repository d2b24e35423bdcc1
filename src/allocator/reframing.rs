//! Change of framing while the allocator is committed, frames are out and callers wait.

use std::ptr;
use std::time::{Duration, Instant};

use crate::error::{CommitError, NotIdle, ReframeError};
use crate::frame_pool::FramePool;
use crate::framing::Framing;
use crate::memory::Budget;
use crate::mode::AllocatorMode;
use crate::negotiation::Agreement;
use crate::pool::construction;
use crate::pool::core::{Core, Handle};
use crate::pool::generations::WakeOnDrop;
use crate::pool::pool_state::Refusal;
use crate::recording::EventKind;
use crate::video::VideoLayout;

use super::pool_allocator::{CommitEffect, Plan, PoolAllocator};

/// New frames for a committed allocator: see [`PoolAllocator::reframe`].
///
/// ```
/// use std::time::Duration;
///
/// use ks_allocator::{KsAllocator, PoolAllocator, Reframing, VideoFormat, VideoLayout};
///
/// let small = VideoLayout::new(VideoFormat::Nv12, 1280, 720)?;
/// let allocator = PoolAllocator::new();
/// allocator.set_video(4, &small)?;
/// allocator.commit()?;
///
/// let large = VideoLayout::new(VideoFormat::Nv12, 1920, 1080)?;
/// let reframing = Reframing::video(4, &large).drain(Duration::from_millis(100));
/// allocator.reframe(reframing)?;
/// assert_eq!(allocator.acquire()?.video_layout(), Some(&large));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is passed to `PoolAllocator::reframe`"]
pub struct Reframing {
    framing: Framing,
    video: Option<VideoLayout>,
    mode: Option<AllocatorMode>,
    drain: Option<Duration>,
}

impl Reframing {
    /// Returns a change to this framing, in the present mode.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator, Reframing};
    /// # let allocator = PoolAllocator::with_framing(Framing::new(1, 64))?;
    /// # allocator.commit()?;
    /// let actual = allocator.reframe(Reframing::new(Framing::new(2, 100).alignment(64)))?;
    /// assert_eq!(actual.frame_size, 128);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            video: None,
            mode: None,
            drain: None,
        }
    }

    /// Returns a change to this number of frames with this layout of the picture in each. For a
    /// prefix or a larger alignment, use [`new`](Self::new) and [`layout`](Self::layout).
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator, Reframing};
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// # let allocator = PoolAllocator::with_framing(Framing::new(1, 64))?;
    /// # allocator.commit()?;
    /// let portrait = VideoLayout::new(VideoFormat::I420, 720, 1280)?;
    /// allocator.reframe(Reframing::video(4, &portrait))?;
    /// assert_eq!(allocator.video_layout(), Some(portrait));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn video(frames: usize, layout: &VideoLayout) -> Self {
        Self::new(layout.framing(frames)).layout(layout)
    }

    /// Sets the layout of the picture in each frame. The frame size becomes that of the layout, and
    /// the alignment a multiple of the layout's.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator, Reframing};
    /// # use ks_allocator::{VideoFormat, VideoLayout};
    /// # let allocator = PoolAllocator::with_framing(Framing::new(1, 64))?;
    /// # allocator.commit()?;
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 640, 480)?;
    /// let reframing = Reframing::new(Framing::new(4, 0).prefix(64)).layout(&layout);
    /// assert_eq!(allocator.reframe(reframing)?.frame_size, layout.size());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn layout(mut self, layout: &VideoLayout) -> Self {
        self.framing = self.framing.for_video(layout.size(), layout.alignment());
        self.video = Some(*layout);
        self
    }

    /// Frees the memory of the present frames before the new memory is allocated. Waits at most
    /// `timeout` until all present frames are back, and hands out none meanwhile: callers wait, and
    /// [`try_acquire`](crate::KsAllocator::try_acquire) fails with
    /// [`Exhausted`](crate::AcquireError::Exhausted). A decommit or a close ends the drain. Commits
    /// that have to allocate wait for it. Code of the user's that runs when the old memory is freed
    /// must not commit or re-frame the allocator. A framing that cannot be, such as one beyond the
    /// [limit](crate::FramePoolBuilder::max_bytes) by itself, is refused before the drain.
    ///
    /// Without it, the memory of both exists for as long as one of the present frames is out. In
    /// Kernel mode it does all the same: handles keep the old kernel object, with its memory, until
    /// the change is done.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ks_allocator::{Framing, KsAllocator, PoolAllocator, ReframeError, Reframing};
    ///
    /// let allocator = PoolAllocator::with_framing(Framing::new(4, 1024))?;
    /// allocator.commit()?;
    /// let pool = allocator.pool().expect("it was committed");
    /// let picture = pool.with_label("display").acquire()?;
    ///
    /// let larger = Reframing::new(Framing::new(4, 4096)).drain(Duration::from_millis(1));
    /// let error = allocator.reframe(larger.clone()).unwrap_err();
    /// assert!(error.to_string().contains("1 of 4 frames is out: 1 held by `display` ("));
    /// assert_eq!(allocator.acquire()?.len(), 1024); // all is as before
    ///
    /// drop(picture);
    /// allocator.reframe(larger)?;
    /// assert_eq!(allocator.acquire()?.len(), 4096);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(mut self, timeout: Duration) -> Self {
        self.drain = Some(timeout);
        self
    }
}

impl From<Framing> for Reframing {
    fn from(framing: Framing) -> Self {
        Self::new(framing)
    }
}

impl From<&Framing> for Reframing {
    fn from(framing: &Framing) -> Self {
        Self::new(*framing)
    }
}

impl From<&Agreement> for Reframing {
    fn from(agreement: &Agreement) -> Self {
        Self {
            video: agreement.video_layout().copied(),
            mode: Some(agreement.mode()),
            ..Self::new(agreement.framing())
        }
    }
}

impl PoolAllocator {
    /// Changes the frames of a committed allocator, while frames are out and callers wait. Returns
    /// the new framing, rounded.
    ///
    /// The frames from now on are the next *generation*:
    ///
    /// - An acquire that begins after this call has returned gets a new frame, through the
    ///   allocator or any handle of its pools. One that was given its frame before may return, or
    ///   be polled, later: it has an old frame.
    /// - Callers that wait keep their places in the queue, and get new frames without an error.
    ///   Only a wait for [more frames](FramePool::acquire_exact) than there are now fails, with
    ///   [`TooMany`](crate::AcquireError::TooMany).
    /// - Frames that are out stay valid, with their [layout](crate::Frame::video_layout) and
    ///   [generation](crate::Frame::generation), and are released as usual. The memory of the old
    ///   generation is freed with the last of them. (In Kernel mode the kernel object stays open
    ///   until the last handle of that generation is dropped.)
    ///
    /// So source and sink need not stop: the sink sees the change with the first new frame. A
    /// [`FramePool`] of an earlier generation goes on to deliver frames; see
    /// [`FramePool::newest`]. It is also the one to [redeem](FramePool::redeem) frames that were
    /// lent before the change: the last handle of a generation ends its loans, and the allocator
    /// drops its own here, so keep one while frames are lent.
    ///
    /// The state and the number of frames out that
    /// [`allocator_status`](crate::KsAllocator::allocator_status) returns are those of the new
    /// generation. Waits of a flush go on to fail until its end.
    ///
    /// # Errors
    ///
    /// See [`ReframeError`]. Nothing has changed then, with one exception: if the old memory was
    /// [drained](Reframing::drain) in User mode and the new memory cannot be allocated, nothing is
    /// committed any more.
    ///
    /// ```
    /// use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    ///
    /// let allocator = PoolAllocator::with_framing(Framing::new(2, 1024))?;
    /// allocator.commit()?;
    /// let pool = allocator.pool().expect("it was committed");
    /// let last_picture = pool.acquire()?;
    ///
    /// allocator.reframe(Framing::new(3, 4096))?;
    /// let next = pool.acquire()?; // through the same handle
    /// assert_eq!((last_picture.len(), last_picture.generation()), (1024, 0));
    /// assert_eq!((next.len(), next.generation()), (4096, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("renegotiate", "SetProperties"))]
    pub fn reframe(&self, reframing: impl Into<Reframing>) -> Result<Framing, ReframeError> {
        let reframing = reframing.into();
        self.reframe_after(|_| reframing, |_| Ok(()))
    }

    /// Calls `describe` with the present framing, which no other change replaces before this one
    /// does. Calls `prepare` with the next generation, before any frame of it goes out.
    ///
    /// Both are called while `building` is locked, and run no code of the user's.
    pub(crate) fn reframe_after(
        &self,
        describe: impl FnOnce(Framing) -> Reframing,
        prepare: impl FnOnce(&FramePool) -> Result<(), CommitError>,
    ) -> Result<Framing, ReframeError> {
        if self.is_in_other_process() {
            return Err(ReframeError::OtherProcess);
        }
        // Dropped after the lock of `building`, because the end of waits and of pools may run code
        // of the user's.
        let mut ended = Vec::new();
        let planned;
        let building = self.building.lock();
        planned = self.plan_next_generation(describe)?;
        let (timeout, old, plan) = &planned;
        let config = self.configure(*plan);
        let mut drain = None;
        if let Some(timeout) = *timeout {
            // Before callers have to wait, and before the memory is given up.
            construction::check(&config)?;
            let drain = drain.insert(Drain::begin(self, old.core_handle(), &mut ended));
            drain.wait(timeout)?;
        }
        let next = FramePool::next_generation(&config, old.core());
        let result = match &next {
            Ok(next) => prepare(next)
                .map_err(ReframeError::from)
                .and_then(|()| self.take_over(old.core_handle(), next, *plan)),
            Err(_) => Err(ReframeError::NotCommitted),
        };
        if let (Some(drain), true) = (&mut drain, result.is_ok()) {
            drain.is_done = true;
        }
        drop(drain);
        drop(building);
        drop(ended);
        next?;
        drop(result?);
        old.core().diagnostics.pool_event(EventKind::Reframed);
        old.core().free_memory_once_idle();
        self.trace_commit(CommitEffect::NewMemory);
        Ok(plan.framing)
    }

    /// Commits what several parties have agreed on: frames, layout and mode. A committed allocator
    /// is [re-framed](Self::reframe).
    ///
    /// # Errors
    ///
    /// See [`ReframeError`]. If the allocator is not committed: [`ReframeError::Framing`] while
    /// frames of the last commit are out, and the errors of
    /// [`commit`](crate::KsAllocator::commit), after which framing and mode stay as they were set.
    ///
    /// ```
    /// use ks_allocator::{KsAllocator, PoolAllocator, Requirements, Sizes, negotiate};
    ///
    /// let disk = Requirements::new("disk").sizes(Sizes::exactly(4096)).alignment(512).holds(2);
    /// let network = Requirements::new("network").prefix(512).holds(1);
    /// let allocator = PoolAllocator::new();
    /// allocator.commit_agreement(&negotiate(&[disk.clone(), network])?)?;
    /// assert_eq!(allocator.framing().frames, 4);
    ///
    /// allocator.commit_agreement(&negotiate(&[disk])?)?; // the network has left
    /// assert_eq!(allocator.framing().frames, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit_agreement(&self, agreement: &Agreement) -> Result<Framing, ReframeError> {
        let reframing = Reframing::from(agreement);
        let mut set = None;
        let effect = self.commit_with(
            |access| {
                // Under the lock that commits, so that no other thread sets something else.
                set = None;
                if access.is_committed() {
                    return Ok(false);
                }
                set = Some(access.set_frames(&reframing.framing, reframing.video)?);
                access.control.mode = agreement.mode();
                Ok::<_, ReframeError>(true)
            },
            |_| Ok(()),
        )?;
        let Some(actual) = set else {
            return self.reframe(reframing);
        };
        self.trace_commit(effect);
        Ok(actual)
    }

    /// Returns the bytes of memory that count against the
    /// [limit](crate::FramePoolBuilder::max_bytes), or `None` if there is no limit. That includes
    /// the memory of earlier generations with frames that are out.
    ///
    /// ```
    /// use ks_allocator::{FramePool, Framing, KsAllocator, PoolAllocator};
    ///
    /// let builder = FramePool::builder().frames(2).frame_size(1024).max_bytes(8192);
    /// let allocator = PoolAllocator::from_builder(&builder)?;
    /// allocator.commit()?;
    /// let frame = allocator.acquire()?;
    /// allocator.reframe(Framing::new(2, 2048))?;
    /// assert_eq!(allocator.bytes_in_use(), Some(2 * 1024 + 2 * 2048));
    /// drop(frame);
    /// assert_eq!(allocator.bytes_in_use(), Some(2 * 2048));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn bytes_in_use(&self) -> Option<usize> {
        self.config.memory.budget.as_ref().map(Budget::in_use)
    }

    /// Returns how long to drain the present pool, that pool, and the plan of the next.
    fn plan_next_generation(
        &self,
        describe: impl FnOnce(Framing) -> Reframing,
    ) -> Result<(Option<Duration>, FramePool, Plan), ReframeError> {
        self.with_control(|access| {
            let reframing = describe(access.control.framing);
            let framing = self.config.actual(&reframing.framing)?;
            let pool = self.pool().filter(|_| access.is_committed());
            let pool = pool.ok_or(ReframeError::NotCommitted)?;
            let plan = Plan {
                generation: access.control.new_generation(),
                framing,
                frame_len: reframing.framing.frame_size,
                video: reframing.video,
                mode: reframing.mode.unwrap_or(access.control.mode),
                ..access.control.plan()
            };
            Ok((reframing.drain, pool, plan))
        })
    }

    /// Lets `next` take over from `old`. The waiters get new frames when the result is dropped.
    fn take_over(
        &self,
        old: &Handle,
        next: &FramePool,
        plan: Plan,
    ) -> Result<WakeOnDrop, ReframeError> {
        self.with_control(|access| {
            if !access.is_committed() || !self.has_pool(old) {
                return Err(ReframeError::NotCommitted);
            }
            // The pool may have been closed meanwhile.
            let ended = old.hand_over(next.core_handle());
            let ended = ended.map_err(|_| ReframeError::NotCommitted)?;
            access.control.adopt(plan);
            // The caller keeps the pool that this replaces.
            self.pool.store(Some(next.clone().into()));
            Ok(ended)
        })
    }

    /// Decommits a pool without memory: it cannot be committed again.
    fn detach(&self, pool: &Handle) {
        self.with_control(|access| {
            if self.has_pool(pool) {
                (access.control.committed, access.control.changed) = (false, true);
                access.control.flushing = pool.wait_queue().state().flushing;
                if let Some(pool) = self.pool.load().as_deref() {
                    access.control.shares = pool.declared_shares();
                }
                // The caller keeps the pool.
                self.pool.store(None);
            }
        });
    }

    /// Returns whether this is the present pool.
    fn has_pool(&self, pool: &Core) -> bool {
        let present = self.pool.load();
        present
            .as_ref()
            .is_some_and(|present| ptr::eq(present.core(), pool))
    }
}

/// A pause of the present pool, until the next generation takes over or the change fails, also by a
/// panic of code of the user's.
struct Drain<'a> {
    allocator: &'a PoolAllocator,
    pool: &'a Handle,
    /// Waits that the end of the drain has ended.
    ended: &'a mut Vec<WakeOnDrop>,
    has_freed_memory: bool,
    /// True if the next generation has taken over.
    is_done: bool,
}

impl<'a> Drain<'a> {
    fn begin(
        allocator: &'a PoolAllocator,
        pool: &'a Handle,
        ended: &'a mut Vec<WakeOnDrop>,
    ) -> Self {
        // Rejects and wakes no caller. Frames that waiters had collected come back.
        drop(pool.pause());
        Self {
            allocator,
            pool,
            ended,
            has_freed_memory: false,
            is_done: false,
        }
    }

    /// Waits until all frames are back, and frees their memory.
    ///
    /// In Kernel mode the memory stays: handles of the pool keep the kernel object open.
    fn wait(&mut self, timeout: Duration) -> Result<(), ReframeError> {
        match self.pool.wait_drained(Instant::now().checked_add(timeout)) {
            Ok(()) => {}
            Err(Refusal::TimedOut) => {
                let holders = self.pool.diagnostics.holders(&**self.pool);
                return Err(NotIdle::from(holders).into());
            }
            Err(_) => return Err(ReframeError::NotCommitted),
        }
        if self.pool.object.is_some() {
            return Ok(());
        }
        let allocator = self.allocator;
        let is_present = allocator.with_control(|access| {
            let is_present = access.is_committed() && allocator.has_pool(self.pool);
            // So a commit makes a new pool, after this change.
            access.control.changed |= is_present;
            is_present
        });
        if !is_present {
            return Err(ReframeError::NotCommitted);
        }
        self.has_freed_memory = true;
        self.pool.free_memory();
        Ok(())
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        if self.has_freed_memory {
            self.allocator.detach(self.pool);
            self.ended.push(self.pool.retire());
        } else {
            self.ended.push(self.pool.resume());
        }
    }
}
