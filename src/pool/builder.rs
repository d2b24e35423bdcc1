//! Describing a pool before it is made.

use std::thread::available_parallelism;

use crate::contents::Contents;
use crate::error::BuildError;
use crate::framing::Framing;
use crate::memory::{FrameMemory, MemoryPlan, OwnMemory};
use crate::mode::AllocatorMode;

use super::FramePool;
use super::waiters::Gate;

/// Describes a [`FramePool`] and builds it.
///
/// ```
/// use ks_allocator::{AllocatorMode, FramePool};
///
/// let pool = FramePool::builder()
///     .frames(16)
///     .frame_size(1500)
///     .prefix(42)
///     .alignment(16)
///     .mode(AllocatorMode::User)
///     .build()?;
/// assert_eq!(pool.framing().prefix, 42);
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder builds nothing by itself"]
pub struct FramePoolBuilder {
    pub(crate) framing: Framing,
    pub(crate) memory: MemoryPlan,
    pub(crate) contents: Contents,
    pub(crate) shards: usize,
}

impl FramePoolBuilder {
    pub(crate) fn new(framing: Framing, mode: AllocatorMode) -> Self {
        let shards = available_parallelism().map_or(1, usize::from);
        Self {
            framing,
            memory: MemoryPlan {
                mode,
                prefault: true,
                peers_may_write: false,
                own: None,
            },
            contents: Contents::Keep,
            shards,
        }
    }

    /// How many frames; must be set.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// assert_eq!(FramePool::builder().frames(8).frame_size(64).build()?.frames(), 8);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn frames(mut self, frames: usize) -> Self {
        self.framing.frames = frames;
        self
    }

    /// Bytes a frame, without the prefix; must be set.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).build()?;
    /// assert_eq!(pool.framing().frame_size, 64);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn frame_size(mut self, frame_size: usize) -> Self {
        self.framing.frame_size = frame_size;
        self
    }

    /// What the address of each prefix start is a multiple of, in bytes, 1 to 65536; 1 by default.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).alignment(4096).build()?;
    /// assert_eq!(pool.try_acquire()?.as_ptr().addr() % 4096, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alignment(mut self, alignment: usize) -> Self {
        self.framing.alignment = alignment;
        self
    }

    /// Bytes before each frame; 0 by default.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).prefix(16).build()?;
    /// assert_eq!(pool.try_acquire()?.prefix().len(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(mut self, prefix: usize) -> Self {
        self.framing.prefix = prefix;
        self
    }

    /// What kind of memory the frames live in; [`User`](AllocatorMode::User) by default.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let pool = FramePool::builder().frames(8).frame_size(64).mode(AllocatorMode::Kernel).build()?;
    /// assert!(pool.handle().is_some());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mode(mut self, mode: AllocatorMode) -> Self {
        self.memory.mode = mode;
        self
    }

    /// Into how many words the free list is split, so that threads keep out of each other's way; as
    /// many as there are cores by default. A word has at least 8 frames, or it is the only one, and
    /// at most 62 if it is the only one or 32 if not, so the number may come out differently.
    ///
    /// With a single shard, [`acquire_many`](FramePool::acquire_many) can take up to 62 frames at
    /// once.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(62).frame_size(64).shards(1).build()?;
    /// assert_eq!(pool.acquire_many(62)?.len(), 62);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Whether to touch all memory when it is allocated, so that no page fault is left for the frames;
    /// `true` by default.
    ///
    /// Without it, allocating is fast whatever the size, and the first use of each frame pays for its
    /// pages, about a microsecond for 4 KiB.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(1000).frame_size(3 << 20).prefault(false).build()?;
    /// assert_eq!(pool.free_frames(), 1000); // 3 GB of addresses, and hardly any memory
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.memory.prefault = prefault;
        self
    }

    /// Memory of the user's own for the frames, in User mode: see [`FrameMemory`], which has an example.
    /// The bytes of a fresh frame are then whatever was in it, and whether it is prefaulted is the
    /// user's affair, too.
    ///
    /// A [`FrameMemory`] that is to serve several pools can be shared by them, for an `Arc` of one is one,
    /// too.
    pub fn memory(mut self, memory: impl FrameMemory + 'static) -> Self {
        self.memory.own = Some(OwnMemory::new(memory));
        self
    }

    /// What becomes of the bytes in a frame between two owners; they are kept by default.
    ///
    /// ```
    /// # use ks_allocator::{Contents, FramePool};
    /// let pool = FramePool::builder().frames(1).frame_size(64).contents(Contents::ZeroOnRelease).build()?;
    /// pool.acquire()?.fill(7);
    /// assert_eq!(*pool.acquire()?, [0; 64]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contents(mut self, contents: Contents) -> Self {
        self.contents = contents;
        self
    }

    /// In Kernel mode: whether another process that is given a handle may write to the frames; `false` by
    /// default.
    ///
    /// On Linux the memory is otherwise sealed against it, for good: whoever has the file descriptor can
    /// map it to read, and nobody but this process to write. Some drivers want memory without that seal.
    /// On Windows it is what a [clone](FramePool::try_clone_handle) of the handle allows.
    ///
    /// # Safety
    ///
    /// If `true`: whoever has a handle writes, through it or a mapping of it, to frames only that are
    /// lent to it, and only until their token is given back or revoked. The system cannot see to that:
    /// there is one object for all frames.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// let kernel = FramePool::builder().frames(8).frame_size(64).mode(AllocatorMode::Kernel);
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let pool = unsafe { kernel.peers_may_write(true) }.build()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn peers_may_write(mut self, peers_may_write: bool) -> Self {
        self.memory.peers_may_write = peers_may_write;
        self
    }

    /// Allocates the memory and makes the pool.
    ///
    /// # Errors
    ///
    /// [`BuildError::Framing`] for an alignment out of range, [`BuildError::Commit`] if frames or
    /// frame size are 0, too large, or the memory cannot be had.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// assert!(FramePool::builder().frames(8).frame_size(64).build().is_ok());
    /// assert!(FramePool::builder().frames(8).frame_size(64).alignment(0).build().is_err());
    /// ```
    pub fn build(&self) -> Result<FramePool, BuildError> {
        let plan = Self {
            framing: self.framing.actual()?,
            ..self.clone()
        };
        Ok(FramePool::new(&plan, Gate::OPEN)?)
    }
}
