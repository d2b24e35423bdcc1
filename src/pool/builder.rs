//! Describing a pool before it is made.

use std::thread::available_parallelism;
use std::time::Duration;

use crate::contents::Contents;
use crate::error::BuildError;
use crate::framing::Framing;
use crate::holders::Holders;
use crate::memory::{CustomMemory, FrameMemory, MemoryPlan};
use crate::memory_options::{HugePages, MemoryOptions};
use crate::mode::AllocatorMode;

use super::FramePool;
use super::hooks::{Hook, Hooks};
use super::wait_queue::PoolState;

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
    pub(crate) hooks: Hooks,
    pub(crate) shards: usize,
    pub(crate) caches: bool,
}

impl FramePoolBuilder {
    pub(crate) fn new(framing: Framing, mode: AllocatorMode) -> Self {
        let shards = available_parallelism().map_or(1, usize::from);
        Self {
            framing,
            memory: MemoryPlan {
                mode,
                options: MemoryOptions::PREFAULTED,
                peers_may_write: false,
                custom: None,
                guard_pages: false,
            },
            contents: Contents::Keep,
            hooks: Hooks::default(),
            shards,
            // Models that want them ask for them.
            caches: !cfg!(loom),
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

    /// Whether a thread may keep a few of the frames that it releases, so as to acquire them again without
    /// a read-modify-write, and hand them on to threads that acquire, seven at a time; `true` by default. Where a
    /// thread acquires what it has released, it takes about two thirds of the time that it takes without.
    ///
    /// A frame that is kept is free: whoever finds no other gets it, whatever has become of the thread. Such
    /// a search begins with a system call that runs a barrier on all processors at once, `membarrier`, some
    /// microseconds; a pool that runs dry again and again keeps nothing for a while, and so is
    /// spared most of them. To be turned off where even that is too much; in a process that forbids itself
    /// `membarrier` after the pool was built, by a filter of system calls, for what its threads have kept
    /// by then is no longer found by others; and for a signal handler that may interrupt another use of the
    /// same pool, which is nothing for a pool that has caches.
    ///
    /// It takes 15 KiB a pool, which the next pool gets when this one ends. Without effect in pools of fewer
    /// than 64 frames, for threads that first use a pool while 48 others that have done so are alive, and on
    /// systems other than Linux and Android.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(64).frame_size(64).build()?;
    /// let slot = pool.try_acquire()?.slot();
    /// assert_eq!(pool.free_frames(), 64);
    /// assert_eq!(pool.try_acquire()?.slot(), slot); // the one that this thread had last
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn caches(mut self, caches: bool) -> Self {
        self.caches = caches;
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
        self.memory.options.prefault = prefault;
        self
    }

    /// Whether the frames are to lie in huge pages; [`No`](HugePages::Off) by default.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, HugePages};
    /// let pool = FramePool::builder().frames(8).frame_size(1 << 20);
    /// let pool = pool.huge_pages(HugePages::Transparent).build()?;
    /// println!("{:?} bytes in huge pages", pool.commit_report().huge);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn huge_pages(mut self, huge_pages: HugePages) -> Self {
        self.memory.options.huge_pages = huge_pages;
        self
    }

    /// Whether the memory is to be locked, so that the system never takes it away again, and prefaulted
    /// with it; `false` by default.
    ///
    /// Most systems let ordinary users lock little: see `RLIMIT_MEMLOCK`, and on Windows
    /// `SetProcessWorkingSetSize`. A child after a fork has no lock on its copy.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).lock_in_memory(true).build()?;
    /// let report = pool.commit_report();
    /// # if cfg!(target_os = "linux") {
    /// assert_eq!(report.locked == Some(report.bytes), report.unmet.is_empty());
    /// # }
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[doc(alias("mlock", "VirtualLock"))]
    pub fn lock_in_memory(mut self, locked: bool) -> Self {
        self.memory.options.locked = locked;
        self
    }

    /// The NUMA node that the memory is to be taken from; from any by default, commonly that of the
    /// thread that touches it first.
    ///
    /// On Linux it then comes from nowhere else (`MPOL_BIND`), and a node that has too little ends the
    /// process as any lack of memory does. On Windows it comes from elsewhere if need be.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).numa_node(0).build()?;
    /// println!("on nodes {:?}", pool.commit_report().numa_nodes);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[doc(alias("mbind", "VirtualAllocExNuma"))]
    pub fn numa_node(mut self, node: u32) -> Self {
        self.memory.options.numa_node = Some(node);
        self
    }

    /// Whether no memory is better than other memory than was asked for; `false` by default.
    ///
    /// By default the pool is made of what there is, and what could not be had is in the
    /// [report](FramePool::commit_report). If required, the commit fails with
    /// [`CommitError::MemoryOptions`](crate::CommitError::MemoryOptions) and leaves nothing behind.
    ///
    /// ```
    /// # use ks_allocator::{BuildError, CommitError, FramePool, MemoryRequest};
    /// let pool = FramePool::builder().frames(8).frame_size(64).numa_node(999_999);
    /// assert!(pool.build().is_ok());
    /// let error = pool.require_memory_options(true).build().unwrap_err();
    /// let BuildError::Commit(CommitError::UnmetRequest { request, .. }) = error else { panic!("{error}") };
    /// assert_eq!(request, MemoryRequest::NumaNode(999_999));
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn require_memory_options(mut self, required: bool) -> Self {
        self.memory.options.required = required;
        self
    }

    /// Memory of the user's own for the frames, in User mode: see [`FrameMemory`], which has an example.
    /// The bytes of a fresh frame are then whatever was in it, and whether it is prefaulted is the
    /// user's affair, too. Huge pages, locking and a NUMA node, if asked for, are unmet: such memory is
    /// left as it is.
    ///
    /// A [`FrameMemory`] that is to serve several pools can be shared by them, for an `Arc` of one is one,
    /// too.
    pub fn memory(mut self, memory: impl FrameMemory + 'static) -> Self {
        self.memory.custom = Some(CustomMemory::new(memory));
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

    /// Whether a pointer that is used after its frame was given back, or past the frame's end, ends the
    /// process there and then; `false` by default. For debugging: to find the client that keeps a pointer,
    /// in C or through COM, where the borrow checker does not.
    ///
    /// Every frame lies between pages that nobody can access, and is itself inaccessible while it is free.
    /// What a stray access does is what any wild pointer does: `SIGSEGV` (on some systems `SIGBUS`), or on
    /// Windows the exception 0xC0000005, for a debugger, a core dump or a crash reporter to see. Before that
    /// a line on the standard error says which byte of which slot it was and what the pool knows of it:
    ///
    /// ```text
    /// ks-allocator: stray access at 0x7f2c4a5d3011: byte 17 of slot 3 of a pool of 8 frames of 4096 bytes; slot 3 is free; its last holder is `encoder` (src/enc.rs:88), thread 4711
    /// ```
    ///
    /// - One byte past the end is found if the alignment is a power of two; with any other the guard page
    ///   begins up to a page later. A byte before the prefix is found if prefix and frame are whole
    ///   pages.
    /// - It costs two system calls a frame, for acquire and release, which take the longer the larger the
    ///   frame is; and memory: a page between frames, and frames in whole pages. On Linux a frame takes two
    ///   of the process's mappings while it is out, of which there are 65530 unless `vm.max_map_count` says
    ///   otherwise: a commit sees to it that there are enough for all frames at once, or fails.
    /// - If others use them up later, a frame that is acquired cannot be made accessible. Then the process
    ///   is aborted with a message. A frame that cannot be made inaccessible on its way back stays as it is.
    /// - A system call that is given a stray pointer fails with `EFAULT`, and what a device does by itself is
    ///   not seen. Nor is what another process does in its own mapping of a kernel object; a frame that is
    ///   lent stays accessible.
    /// - It does not work with [memory of the user's own](Self::memory).
    ///
    /// The message comes from a signal handler, or on Windows a vectored exception handler, that is
    /// installed by the first such pool and stays. Whatever is none of a pool's it passes on to the handler
    /// that was there before, as it does all else once the message is written. One that is installed later
    /// should do the same, or there is no message. Of more than 64 such pools at a time the later ones have
    /// none, either.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(4096).guard_pages(true).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.fill(7); // as ever
    /// let kept = frame.as_ptr();
    /// drop(frame);
    /// // unsafe { *kept } would end the process.
    /// # let _ = kept;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn guard_pages(mut self, guard_pages: bool) -> Self {
        self.memory.guard_pages = guard_pages;
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

    /// Whether the clock is read at each acquire, so that reports say exactly for how long each frame has been
    /// out; `false` by default. To read the clock takes longer than to acquire a frame.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(1).frame_size(64).record_acquire_times(true).build()?;
    /// let frame = pool.acquire()?;
    /// std::thread::sleep(std::time::Duration::from_millis(1));
    /// let holder = &pool.holders().entries[0];
    /// assert!(holder.exact && holder.held.as_millis() >= 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_acquire_times(mut self, record_acquire_times: bool) -> Self {
        self.hooks.stamps = record_acquire_times;
        self
    }

    /// What to do when a caller has waited for a frame for so long: `hook` is called once in each such wait, by
    /// the thread that waits, with who has the frames. Then the thread waits on, and is served in its turn.
    ///
    /// A future that waits has no thread: for it, the hook is called when it is polled after that time.
    /// If it panics, the panic goes no further than the panic hook. It may use the pool, but is not to wait for
    /// a frame of it; and one that owns a handle of it keeps it for ever.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// use ks_allocator::FramePool;
    ///
    /// let (told, tell) = mpsc::channel();
    /// let pool = FramePool::builder()
    ///     .frames(1)
    ///     .frame_size(64)
    ///     .on_starved(Duration::from_millis(1), move |holders| told.send(holders.to_string()).unwrap())
    ///     .build()?;
    /// let held = pool.with_label("preview").acquire()?;
    /// assert!(pool.acquire_timeout(Duration::from_millis(5)).is_err());
    /// assert!(tell.recv()?.starts_with("1 of 1 frames out: 1 held by `preview`"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_starved(
        mut self,
        threshold: Duration,
        hook: impl Fn(&Holders) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.starved = Some((threshold, Hook::new(hook)));
        self
    }

    /// What to do when the last handle of the pool is dropped while frames are out: `hook` is called by the
    /// thread that drops it, with who has them. (Under the feature `tracing` there is a warning in any case.)
    ///
    /// Frames may outlive their pool, so this is no error by itself; but if none was meant to, here is who
    /// forgot one. If the hook panics, the panic goes no further than the panic hook.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use ks_allocator::FramePool;
    ///
    /// let (told, tell) = mpsc::channel();
    /// let builder = FramePool::builder().frames(2).frame_size(64);
    /// let pool = builder.on_leak(move |holders| told.send(holders.entries.len()).unwrap()).build()?;
    /// let forgotten = pool.acquire()?;
    /// drop(pool);
    /// assert_eq!(tell.recv()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_leak(mut self, hook: impl Fn(&Holders) + Send + Sync + 'static) -> Self {
        self.hooks.leaked = Some(Hook::new(hook));
        self
    }

    /// How many events the pool's flight recorder keeps, the last ones, and 1,048,576 at the most; 0 by default,
    /// which is no recorder. See [`FramePool::recording`]. It costs two looks at the clock for each frame, on some
    /// machines 100 ns, and 24 bytes an event.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(1).frame_size(64).record(10_000).build()?;
    /// drop(pool.acquire()?);
    /// assert_eq!(pool.recording().map(|recording| recording.events.len()), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record(mut self, events: usize) -> Self {
        self.hooks.events = events;
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
        let pool = FramePool::new(&plan, PoolState::OPEN)?;
        pool.tell_of_commit();
        Ok(pool)
    }
}
