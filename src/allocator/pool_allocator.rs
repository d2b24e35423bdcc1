//! The allocator of this crate, [`PoolAllocator`].

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use crate::error::{AcquireError, CommitError, FramingError, ModeError};
use crate::frame::Frame;
use crate::frame_pool::{FramePool, FramePoolBuilder};
use crate::framing::Framing;
use crate::label::Label;
use crate::memory_options::CommitReport;
use crate::mode::AllocatorMode;
use crate::pool::config::PoolConfig;
use crate::pool::handoff::RejectedWaiters;
use crate::pool::pool_state::PoolState;
use crate::share::Share;
use crate::sync::Mutex;
use crate::tracing_events;
use crate::video::VideoLayout;

use super::ks_allocator::{AllocatorState, AllocatorStatus, KernelHandle, KsAllocator};

/// [`KsAllocator`] whose frames come from a [`FramePool`].
///
/// Dropping it decommits. Frames that are out stay valid, and the memory is freed with the last of
/// them.
///
/// A library that is loaded at run time and has a copy of this crate of its own must not use a
/// `PoolAllocator` of another copy directly. It can use the allocator as `dyn KsAllocator`, whose
/// methods run in the copy that made it, and the allocator's [pool](FramePool).
///
/// ```
/// use ks_allocator::{Framing, KsAllocator, PoolAllocator};
///
/// let allocator = PoolAllocator::with_framing(Framing::new(4, 1920 * 1080 * 3 / 2))?;
/// allocator.commit()?;
/// let pool = allocator.pool().expect("committed"); // for the hot loop
/// let frame = pool.acquire()?;
/// assert_eq!(allocator.allocator_status().allocated_frames, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PoolAllocator {
    /// No code of the user's runs while this is locked: no waker, hook or subscriber, no memory of
    /// the user's is allocated or freed, and no pool is dropped.
    pub(super) control: Mutex<Control>,
    /// Locked while a pool is built, before `control`, so that two commits do not allocate at the
    /// same time. Commits and re-framings lock it.
    pub(super) building: Mutex<()>,
    /// The pool of the last commit. Written under `control`; read by `acquire` without a lock.
    pub(super) pool: ArcSwapOption<FramePool>,
    /// The configuration of its pools, except framing and mode, which are in `control`.
    pub(super) config: PoolConfig,
}

#[derive(Debug)]
pub(super) struct Control {
    /// Rounded.
    pub(super) framing: Framing,
    /// The frame size that was asked for.
    pub(super) frame_len: usize,
    pub(super) video: Option<VideoLayout>,
    pub(super) mode: AllocatorMode,
    /// Framing or mode were set since the last commit, so the next one cannot reuse its pool.
    pub(super) changed: bool,
    /// True from a commit to the next decommit. If the pool was closed meanwhile, the allocator is
    /// not committed all the same.
    pub(super) committed: bool,
    /// The flush state for the first pool. A later pool takes over the state of the one before.
    pub(super) flushing: bool,
    /// The shares of the last pool, if there is no pool now.
    pub(super) shares: Option<Vec<Share>>,
    /// Generation of the next pool.
    pub(super) next_generation: u64,
}

/// The values that the next pool is built from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) framing: Framing,
    pub(super) frame_len: usize,
    pub(super) video: Option<VideoLayout>,
    pub(super) mode: AllocatorMode,
    pub(super) flushing: bool,
    pub(super) generation: u64,
}

impl Plan {
    /// Returns whether a pool of the other plan has other frames.
    fn describes_other_frames(&self, other: &Self) -> bool {
        let frames = |plan: &Self| (plan.framing, plan.frame_len, plan.video, plan.mode);
        frames(self) != frames(other)
    }
}

impl Control {
    pub(super) fn plan(&self) -> Plan {
        Plan {
            framing: self.framing,
            frame_len: self.frame_len,
            video: self.video,
            mode: self.mode,
            flushing: self.flushing,
            generation: self.next_generation,
        }
    }

    /// Returns a number that no pool has had, nor a pool that could not take over.
    pub(super) fn new_generation(&mut self) -> u64 {
        let generation = self.next_generation;
        self.next_generation += 1;
        generation
    }

    /// Takes over the values of a plan whose pool is committed.
    pub(super) fn adopt(&mut self, plan: Plan) {
        self.framing = plan.framing;
        self.frame_len = plan.frame_len;
        self.video = plan.video;
        self.mode = plan.mode;
        (self.committed, self.changed) = (true, false);
    }
}

/// Effect of a commit, for [`PoolAllocator::trace_commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the event of a commit is emitted after the lock is released"]
pub(crate) enum CommitEffect {
    None,
    NewMemory,
    SameMemory,
}

/// The control state of an allocator while its lock is held.
///
/// Framing, mode and state do not change while this value exists, but for one transition: the
/// release of the last frame turns `Decommitting` into `Uncommitted`.
pub(crate) struct LockedControl<'a> {
    allocator: &'a PoolAllocator,
    pub(super) control: &'a mut Control,
}

impl LockedControl<'_> {
    #[cfg(feature = "windows")]
    pub(crate) fn mode(&self) -> AllocatorMode {
        self.control.mode
    }

    pub(super) fn is_committed(&self) -> bool {
        self.control.committed && !self.allocator.pool_is_closed()
    }

    pub(crate) fn status(&self) -> AllocatorStatus {
        let allocated_frames = self.allocator.frames_out();
        let state = match (self.is_committed(), allocated_frames) {
            (true, _) => AllocatorState::Committed,
            (false, 0) => AllocatorState::Uncommitted,
            (false, _) => AllocatorState::Decommitting,
        };
        AllocatorStatus {
            framing: self.control.framing,
            allocated_frames,
            state,
        }
    }

    pub(crate) fn handle(&self) -> Option<KernelHandle> {
        match self.control.mode {
            AllocatorMode::User => None,
            AllocatorMode::Kernel => KernelHandle::of(self.allocator.pool.load().as_deref()?),
        }
    }

    pub(crate) fn set_framing(&mut self, request: &Framing) -> Result<Framing, FramingError> {
        self.set_frames(request, None)
    }

    /// Sets the framing and what the frames contain.
    pub(super) fn set_frames(
        &mut self,
        request: &Framing,
        video: Option<VideoLayout>,
    ) -> Result<Framing, FramingError> {
        let actual = self.allocator.config.actual(request)?;
        let status = self.status();
        match status.state {
            AllocatorState::Uncommitted => {}
            AllocatorState::Committed => return Err(FramingError::AlreadyCommitted),
            AllocatorState::Decommitting => {
                return Err(FramingError::FramesOutstanding {
                    outstanding: status.allocated_frames,
                    frames: status.framing.frames,
                });
            }
        }
        self.control.framing = actual;
        self.control.frame_len = request.frame_size;
        self.control.video = video;
        self.control.changed = true;
        Ok(actual)
    }
}

impl PoolAllocator {
    /// Returns an uncommitted allocator in User mode, whose framing is yet to be set.
    ///
    /// ```
    /// # use ks_allocator::{KsAllocator, PoolAllocator};
    /// assert!(PoolAllocator::new().commit().is_err());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        let control = Control {
            framing: Framing::default(),
            frame_len: 0,
            video: None,
            mode: AllocatorMode::default(),
            changed: true,
            committed: false,
            flushing: false,
            shares: None,
            next_generation: 0,
        };
        Self {
            control: Mutex::new(control),
            building: Mutex::new(()),
            pool: ArcSwapOption::empty(),
            config: PoolConfig::new(Framing::new(0, 0), AllocatorMode::User),
        }
    }

    /// Returns an uncommitted allocator whose pools have the options of `builder`.
    ///
    /// Mode and framing of the builder apply until others are set. Its other options apply to all
    /// commits.
    ///
    /// # Errors
    ///
    /// [`FramingError::Alignment`], unless the alignment is in 1..=65536.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, KsAllocator, PoolAllocator};
    /// let large = FramePool::builder().frames(100).frame_size(1 << 20).prefault(false);
    /// let allocator = PoolAllocator::from_builder(&large)?;
    /// allocator.commit()?; // fast, because no page is touched
    /// assert_eq!(allocator.framing().frames, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_builder(builder: &FramePoolBuilder) -> Result<Self, FramingError> {
        let mut allocator = Self::new();
        allocator.config = builder.config.clone();
        allocator.control.lock().mode = builder.config.memory.mode;
        if builder.config.framing != Framing::new(0, 0) {
            let (framing, video) = (&builder.config.framing, builder.config.video);
            allocator.with_control(|control| control.set_frames(framing, video))?;
        }
        Ok(allocator)
    }

    /// Returns an uncommitted allocator in User mode with this framing, rounded.
    ///
    /// # Errors
    ///
    /// [`FramingError::Alignment`], unless the alignment is in 1..=65536.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// assert!(PoolAllocator::with_framing(Framing::new(4, 4096))?.commit().is_ok());
    /// # Ok::<(), ks_allocator::FramingError>(())
    /// ```
    pub fn with_framing(framing: Framing) -> Result<Self, FramingError> {
        let allocator = Self::new();
        allocator.set_framing(&framing)?;
        Ok(allocator)
    }

    /// Sets the number of frames and the layout of the picture in each, instead of a framing.
    ///
    /// The prefix of the present framing stays, and its alignment is raised to a multiple of the
    /// layout's. To begin anew, [set a framing](KsAllocator::set_framing) first.
    /// [`set_framing`](KsAllocator::set_framing) takes the layout back.
    ///
    /// # Errors
    ///
    /// The errors of [`set_framing`](KsAllocator::set_framing).
    ///
    /// ```
    /// use ks_allocator::{KsAllocator, PoolAllocator, VideoFormat, VideoLayout};
    ///
    /// let allocator = PoolAllocator::new();
    /// allocator.set_video(8, &VideoLayout::new(VideoFormat::Nv12, 1920, 1080)?)?;
    /// allocator.commit()?;
    /// assert_eq!(allocator.framing().frame_size, 3_110_400);
    /// assert_eq!(allocator.acquire()?.planes()?.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_video(&self, frames: usize, layout: &VideoLayout) -> Result<Framing, FramingError> {
        self.with_control(|control| {
            let mut framing = control.control.framing;
            framing.alignment = framing.alignment.max(1);
            let mut request = framing.for_video(layout.size(), layout.alignment());
            request.frames = frames;
            control.set_frames(&request, Some(*layout))
        })
    }

    /// Returns the layout of the picture in each frame, or `None` if none was set.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, KsAllocator, PoolAllocator, VideoFormat, VideoLayout};
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 640, 480)?;
    /// let builder = FramePool::builder().frames(8).video(&layout);
    /// let allocator = PoolAllocator::from_builder(&builder)?;
    /// assert_eq!(allocator.video_layout(), Some(layout));
    /// allocator.set_framing(&layout.framing(4))?;
    /// assert_eq!(allocator.video_layout(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn video_layout(&self) -> Option<VideoLayout> {
        self.with_control(|control| control.control.video)
    }

    /// Returns a handle of the pool of the last commit, for use in hot loops. `None` before the
    /// first commit, and after one that failed.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(4, 4096))?;
    /// assert!(allocator.pool().is_none());
    /// allocator.commit()?;
    /// assert_eq!(allocator.pool().map(|pool| pool.frames()), Some(4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pool(&self) -> Option<FramePool> {
        self.pool.load().as_deref().cloned()
    }

    /// Returns the report on the memory of the last commit: see [`FramePool::commit_report`].
    /// `None` before the first commit, and after one that failed.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    /// let allocator = PoolAllocator::with_framing(Framing::new(4, 4096))?;
    /// assert!(allocator.commit_report().is_none());
    /// allocator.commit()?;
    /// assert!(allocator.commit_report().is_some_and(|report| report.requested.prefault));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn commit_report(&self) -> Option<CommitReport> {
        self.pool().map(|pool| pool.commit_report())
    }

    /// Calls `acquire` with the current pool, without taking a lock.
    #[inline]
    pub(crate) fn with_pool<T, E: From<AcquireError>>(
        &self,
        acquire: impl FnOnce(&FramePool) -> Result<T, E>,
    ) -> Result<T, E> {
        match &*self.pool.load() {
            Some(pool) => acquire(pool),
            None => Err(AcquireError::NotCommitted.into()),
        }
    }

    /// Returns the number of frames out. To be called under the lock of `control`, so that the pool
    /// is not exchanged meanwhile.
    fn frames_out(&self) -> usize {
        self.pool
            .load()
            .as_ref()
            .map_or(0, |pool| pool.frames_out())
    }

    /// Returns the name of its pools.
    fn name(&self) -> Option<Label> {
        self.config.diagnostics.name
    }

    /// Returns whether the pool was closed, so that the next commit cannot reuse it.
    fn pool_is_closed(&self) -> bool {
        self.pool
            .load()
            .as_ref()
            .is_some_and(|pool| pool.is_closed())
    }

    /// Returns whether the caller runs in a child that was forked after the last commit. Changes of
    /// state have no effect there, and take no lock: a thread of the parent may have held it.
    pub(super) fn is_in_other_process(&self) -> bool {
        let pool = self.pool.load();
        pool.as_ref()
            .is_some_and(|pool| pool.core().is_in_other_process())
    }

    /// Calls `access` with the control state locked. `access` runs no code of the user's, such as
    /// subscribers and wakers, because that may call the allocator.
    pub(crate) fn with_control<R>(&self, access: impl FnOnce(&mut LockedControl<'_>) -> R) -> R {
        access(&mut LockedControl {
            allocator: self,
            control: &mut self.control.lock(),
        })
    }

    /// Emits the event of a commit. To be called without a lock.
    pub(crate) fn trace_commit(&self, effect: CommitEffect) {
        match (effect, &*self.pool.load()) {
            (CommitEffect::None, _) => {}
            (CommitEffect::NewMemory, Some(pool)) => pool.trace_commit(),
            (CommitEffect::NewMemory | CommitEffect::SameMemory, _) => {
                tracing_events::committed_again(self.name(), self.frames_out());
            }
        }
    }

    /// Changes the control state, and the state of the pool if there is one.
    ///
    /// Rejected waiters are woken after the lock is released, because a waker may call the
    /// allocator.
    fn change_state(
        &self,
        change: impl FnOnce(&mut Control),
        apply: impl FnOnce(&FramePool) -> Option<RejectedWaiters>,
    ) {
        if self.is_in_other_process() {
            return;
        }
        let mut control = self.control.lock();
        change(&mut control);
        let rejected = self.pool.load().as_deref().and_then(apply);
        drop(control);
        drop(rejected);
    }

    /// Commits, and emits no event.
    ///
    /// `check` decides under the lock whether the commit goes on, and may set what is committed. It
    /// is called again if the commit begins anew. `prepare` gets the pool under the
    /// lock, before any frame of this commit can be acquired. If either fails, nothing is committed
    /// by this call. Neither runs code of the user's.
    pub(crate) fn commit_with<E: From<CommitError>>(
        &self,
        mut check: impl FnMut(&mut LockedControl<'_>) -> Result<bool, E>,
        mut prepare: impl FnMut(&FramePool) -> Result<(), E>,
    ) -> Result<CommitEffect, E> {
        if self.is_in_other_process() {
            return Ok(CommitEffect::None);
        }
        loop {
            if let Some(effect) = self.commit_reusing(&mut check, &mut prepare)? {
                return Ok(effect);
            }
            if let Some(effect) = self.commit_anew(&mut check, &mut prepare)? {
                return Ok(effect);
            }
        }
    }

    /// Commits the current pool, if it can be reused. Otherwise retires it, and returns `None`.
    ///
    /// The old pool is retired after the lock is released: its end may run hooks, subscribers and
    /// a [`FrameMemory`](crate::FrameMemory). Its memory is freed before this commit allocates,
    /// unless the pool was closed with frames out; in Kernel mode only if no other handle is left.
    fn commit_reusing<E>(
        &self,
        check: &mut impl FnMut(&mut LockedControl<'_>) -> Result<bool, E>,
        prepare: &mut impl FnMut(&FramePool) -> Result<(), E>,
    ) -> Result<Option<CommitEffect>, E> {
        let mut old = None;
        let effect = self.with_control(|access| {
            if !check(access)? {
                return Ok(Some(CommitEffect::None));
            }
            let pool = self.pool.load();
            if access.is_committed() {
                pool.as_deref().map_or(Ok(()), &mut *prepare)?;
                return Ok(Some(CommitEffect::None));
            }
            if !access.control.changed && !self.pool_is_closed() {
                if let Some(pool) = &*pool {
                    prepare(pool)?;
                    // Opening a pool rejects no waiter.
                    drop(pool.commit(true));
                }
                access.control.committed = true;
                return Ok(Some(CommitEffect::SameMemory));
            }
            // Until the new pool is there, in case it fails.
            (access.control.committed, access.control.changed) = (false, true);
            old = self.pool.swap(None);
            if let Some(old) = &old {
                access.control.flushing = old.is_flushing();
                access.control.shares = old.declared_shares();
            }
            Ok(None)
        });
        drop(old.map(|old| old.core().retire()));
        effect
    }

    /// Builds a new pool and commits it. Returns `None` if the control state changed meanwhile.
    ///
    /// The pool is built while the control state is not locked, because the memory may be the
    /// user's.
    fn commit_anew<E: From<CommitError>>(
        &self,
        check: &mut impl FnMut(&mut LockedControl<'_>) -> Result<bool, E>,
        prepare: &mut impl FnMut(&FramePool) -> Result<(), E>,
    ) -> Result<Option<CommitEffect>, E> {
        let building = self.building.lock();
        let planned = self.with_control(|access| {
            let is_needed = !access.is_committed() && access.control.changed;
            (is_needed && self.pool.load().is_none()).then(|| Plan {
                generation: access.control.new_generation(),
                ..access.control.plan()
            })
        });
        let Some(planned) = planned else {
            return Ok(None);
        };
        let next = self.next_pool(planned)?;
        let effect = self.with_control(|access| {
            if !check(access)? {
                return Ok(Some(CommitEffect::None));
            }
            let current = access.control.plan();
            if current.describes_other_frames(&planned) {
                return Ok(None);
            }
            prepare(&next)?;
            if current.flushing != planned.flushing {
                // No caller has waited for a frame of the new pool yet.
                drop(next.flush(current.flushing));
            }
            self.pool.store(Some(next.clone().into()));
            access.control.adopt(planned);
            Ok(Some(CommitEffect::NewMemory))
        });
        // The lock first: a pool that is outdated already is dropped after it.
        drop(building);
        drop(next);
        effect
    }

    /// Builds a pool as planned.
    fn next_pool(&self, plan: Plan) -> Result<FramePool, CommitError> {
        let state = PoolState {
            flushing: plan.flushing,
            ..PoolState::OPEN
        };
        FramePool::new(&self.configure(plan), state)
    }

    /// Returns the configuration of a planned pool.
    pub(super) fn configure(&self, plan: Plan) -> PoolConfig {
        let mut config = self.config.clone();
        config.framing = plan.framing;
        config.frame_len = plan.frame_len;
        config.video = plan.video;
        config.memory.mode = plan.mode;
        config.generation = plan.generation;
        let changed = match self.pool.load().as_deref() {
            Some(pool) => pool.declared_shares(),
            None => self.with_control(|access| access.control.shares.clone()),
        };
        if let Some(shares) = changed {
            config.shares = shares;
        }
        config
    }
}

impl KsAllocator for PoolAllocator {
    fn allocator_handle(&self) -> Option<KernelHandle> {
        self.with_control(|control| control.handle())
    }

    fn allocator_mode(&self) -> AllocatorMode {
        self.control.lock().mode
    }

    fn allocator_status(&self) -> AllocatorStatus {
        self.with_control(|control| control.status())
    }

    fn set_allocator_mode(&self, mode: AllocatorMode) -> Result<(), ModeError> {
        self.with_control(|access| {
            let state = access.status().state;
            let control = &mut *access.control;
            if mode == control.mode {
                return Ok(());
            }
            if state != AllocatorState::Uncommitted {
                return Err(ModeError::AlreadyCommitted {
                    current: control.mode,
                    requested: mode,
                });
            }
            control.mode = mode;
            control.changed = true;
            Ok(())
        })
    }

    fn framing(&self) -> Framing {
        self.control.lock().framing
    }

    fn set_framing(&self, request: &Framing) -> Result<Framing, FramingError> {
        self.with_control(|control| control.set_framing(request))
    }

    fn commit(&self) -> Result<(), CommitError> {
        let effect = self.commit_with(|_| Ok::<_, CommitError>(true), |_| Ok(()))?;
        self.trace_commit(effect);
        Ok(())
    }

    fn decommit(&self) {
        self.change_state(
            |control| control.committed = false,
            |pool| pool.commit(false),
        );
        tracing_events::decommitted(self.name(), self.frames_out());
    }

    fn begin_flush(&self) {
        self.change_state(|control| control.flushing = true, |pool| pool.flush(true));
        tracing_events::flush(self.name(), true);
    }

    fn end_flush(&self) {
        self.change_state(|control| control.flushing = false, |pool| pool.flush(false));
        tracing_events::flush(self.name(), false);
    }

    fn free_frames(&self) -> usize {
        let status = self.allocator_status();
        status.framing.frames - status.allocated_frames
    }

    #[inline]
    #[track_caller]
    fn acquire(&self) -> Result<Frame, AcquireError> {
        let location = Location::caller();
        self.with_pool(|pool| pool.acquire_at(pool.site_at(location)))
    }

    #[inline]
    #[track_caller]
    fn try_acquire(&self) -> Result<Frame, AcquireError> {
        let location = Location::caller();
        self.with_pool(|pool| pool.try_acquire_at(pool.site_at(location)))
    }

    #[track_caller]
    fn acquire_timeout(&self, timeout: Duration) -> Result<Frame, AcquireError> {
        let location = Location::caller();
        self.with_pool(|pool| pool.acquire_timeout_at(pool.site_at(location), timeout))
    }

    fn frame_pool(&self) -> Option<FramePool> {
        self.pool()
    }
}

impl Default for PoolAllocator {
    fn default() -> Self {
        Self::new()
    }
}

// As for `FramePool`.
impl UnwindSafe for PoolAllocator {}
impl RefUnwindSafe for PoolAllocator {}

impl Drop for PoolAllocator {
    fn drop(&mut self) {
        self.decommit();
    }
}

impl fmt::Debug for PoolAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolAllocator")
            .field("mode", &self.allocator_mode())
            .field("status", &self.allocator_status())
            .finish_non_exhaustive()
    }
}
