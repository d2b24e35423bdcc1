//! Construction of a pool's core.
//!
//! The slots point back at the core, so its address has to be known before it is filled: the core
//! is allocated first, then the slots are made, then all of it is written in one step.

use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::thread::available_parallelism;

use crate::contents::Contents;
use crate::diagnostics::Diagnostics;
use crate::error::CommitError;
use crate::level::LevelConfig;
use crate::memory::{Segment, try_box_uninit, try_with_capacity};
#[cfg(feature = "windows")]
use crate::sync::OnceLock;
use crate::sync::{Arc, AtomicUsize, NoAllocMutex, Process};

use super::attachment::Attachment;
use super::config::PoolConfig;
use super::core::{Core, HANDLES, Handle, Slot};
use super::free_list::{FreeList, Lanes};
use super::idle::IdleWaiters;
use super::levels::Levels;
use super::lineage::Lineage;
use super::loans::Loans;
use super::pool_state::PoolState;
use super::shares::Shares;
use super::slot::Lengths;

/// Default minimum number of words that frames are dealt to in turn. Threads that pass frames on
/// rarely meet in one of 8 words.
const MIN_LANES: usize = if cfg!(all(test, loom)) { 1 } else { 8 };

/// Maximum size of frames, in bytes, of which a thread acquires one after the other: those of a
/// round fill half of a second-level cache of 1 MiB. Of larger frames it acquires the one that was
/// released last.
const MAX_ROTATING_SIZE: usize = 64 * 1024;

/// Allocates a pool, and returns its first handle.
pub(crate) fn build(config: &PoolConfig, state: PoolState) -> Result<Handle, CommitError> {
    let shares = shares(config)?;
    check_levels(config)?;
    let levels = config.levels.as_ref();
    let levels = levels.map(|levels| Levels::new(levels, config.generation, config.framing.frames));
    let lineage = Lineage::new(state, config.generation, shares.clone(), levels);
    assemble(config, lineage, shares, state == PoolState::OPEN)
}

/// Allocates a newer generation of the pool of `core`, and returns its first handle. It is closed
/// until it takes over.
pub(crate) fn build_next(config: &PoolConfig, core: &Core) -> Result<Handle, CommitError> {
    check_levels(config)?;
    assemble(config, Arc::clone(&core.lineage), shares(config)?, false)
}

/// Checks all of a configuration that can be known before the memory is requested.
pub(crate) fn check(config: &PoolConfig) -> Result<(), CommitError> {
    shares(config)?;
    check_levels(config)?;
    let layout = config.memory.layout(&config.framing)?;
    match &config.memory.budget {
        Some(budget) => budget.check(layout.total),
        None => Ok(()),
    }
}

/// Checks that the levels of free frames fit each other and the pool.
fn check_levels(config: &PoolConfig) -> Result<(), CommitError> {
    let frames = config.framing.frames;
    match config.levels {
        Some(LevelConfig { low, recovered, .. }) if low >= recovered || recovered > frames => {
            Err(CommitError::Levels {
                low,
                recovered,
                frames,
            })
        }
        _ => Ok(()),
    }
}

/// Makes the permits of a pool with shares.
fn shares(config: &PoolConfig) -> Result<Option<Arc<Shares>>, CommitError> {
    if config.shares.is_empty() {
        return Ok(None);
    }
    let shares = Shares::new(&config.shares, config.framing.frames)?;
    Ok(Some(Arc::new(shares)))
}

/// Allocates a pool of a lineage, open or closed.
///
/// It is long because one literal has to name all fields of the core.
fn assemble(
    config: &PoolConfig,
    lineage: Arc<Lineage<Core>>,
    shares: Option<Arc<Shares>>,
    is_open: bool,
) -> Result<Handle, CommitError> {
    let frames = config.framing.frames;
    let layout = config.memory.layout(&config.framing)?;
    let (mut segment, object) = Segment::map(&layout, &config.memory)?;
    let reservation = object.as_ref().and_then(|_| segment.take_reservation());
    let diagnostics = Diagnostics::new(&config.diagnostics, frames)?;
    let loans = Loans::new(frames, segment.id())?;
    let process = Process::current().map_err(|source| CommitError::Os {
        call: "pthread_atfork",
        source,
    })?;
    // Custom memory may be a shared mapping, too.
    let shares_memory = object.is_some() || config.memory.custom.is_some();
    let mut slots = try_with_capacity::<Slot>(frames)?;
    let has_shares = shares.is_some();
    let free = free_list(config, is_open)?.with_shares(shares);
    let attachments = config.attachments.make_all(frames)?;

    let allocation = NonNull::from(Box::leak(try_box_uninit::<Core>()?));
    let core = allocation.cast::<Core>();
    let works_per_frame = config.contents != Contents::Keep
        || segment.guard_pages().is_some()
        || config.diagnostics.per_frame()
        || config.levels.is_some()
        || has_shares;
    let needs = (works_per_frame || shares_memory, works_per_frame);
    fill_slots(
        &mut slots,
        core,
        (&free, &segment, attachments),
        config,
        needs,
    );
    let filled = Core {
        free,
        lineage,
        slots,
        layout,
        video: config.video,
        memory: config.memory.clone(),
        contents: config.contents,
        guard_pages: segment.guard_pages(),
        address: segment.address(),
        segment: NoAllocMutex::new(Some(segment)),
        object,
        _reservation: reservation,
        loans,
        diagnostics,
        attachments: config.attachments.clone(),
        works_per_frame,
        // A caller that spins would need a permit first.
        spins: config.spins && !has_shares,
        waits: config.waits,
        shares_memory,
        process,
        refs: AtomicUsize::new(HANDLES),
        idle_waiters: Arc::new(IdleWaiters::new()),
        handles: AtomicUsize::new(1),
        #[cfg(feature = "windows")]
        extension: OnceLock::new(),
    };
    // SAFETY: the allocation was leaked above. Only the slots know of it, and they are reached
    // through the core alone.
    unsafe { allocation.write(MaybeUninit::new(filled)) };
    // SAFETY: the core was filled in the line above, with one handle in both counts.
    let handle = unsafe { Handle::first(core) };
    handle.register_guard_pages();
    Ok(handle)
}

/// Makes the slots of all frames. `needs` is what an acquire and a release have to do beyond the
/// holder record.
fn fill_slots(
    slots: &mut Vec<Slot>,
    core: NonNull<Core>,
    (free, segment, attachments): (&FreeList, &Segment, Vec<Attachment>),
    config: &PoolConfig,
    needs: (bool, bool),
) {
    let lengths = Lengths {
        frame_len: config.frame_len,
        capacity: config.framing.frame_size,
    };
    let mut attachments = attachments.into_iter();
    slots.extend((0..free.frames()).map(|number| {
        let payload = segment.frame(number);
        Slot::new(
            core,
            free,
            (number, free.place(number)),
            payload,
            lengths,
            needs,
            attachments.next(),
        )
    }));
}

/// Makes the free list. The offset of a frame is that of its slot.
fn free_list(config: &PoolConfig, is_open: bool) -> Result<FreeList, CommitError> {
    let processors = || available_parallelism().map_or(1, NonZeroUsize::get);
    let lanes = Lanes {
        count: config.shards.unwrap_or_else(|| processors().max(MIN_LANES)),
        rotates: config.framing.frame_size <= MAX_ROTATING_SIZE,
        remembers_starts: config.caches,
    };
    let list = FreeList::new(config.framing.frames, lanes, size_of::<Slot>(), is_open)?;
    Ok(list.of_generation(config.generation))
}
