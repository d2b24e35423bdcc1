//! Builder of a pool.

use std::any::Any;
use std::io;
use std::time::Duration;

use crate::contents::Contents;
use crate::diagnostics::config::Hook;
use crate::error::BuildError;
use crate::framing::Framing;
use crate::holders::Holders;
use crate::label::Label;
use crate::level::{Level, LevelConfig, LevelHook};
use crate::memory::{Budget, CustomMemory, FrameMemory, RegisterSegment, SegmentInfo};
use crate::memory_options::HugePages;
use crate::mode::AllocatorMode;
use crate::negotiation::Agreement;
use crate::pool::config::PoolConfig;
use crate::pool::pool_state::PoolState;
use crate::share::Share;
use crate::video::VideoLayout;

use super::pool::FramePool;

/// Builder of a [`FramePool`].
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
    pub(crate) config: PoolConfig,
}

impl FramePool {
    /// Returns a builder of a pool that needs no [`PoolAllocator`](crate::PoolAllocator).
    ///
    /// ```
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(3).frame_size(4096).build()?;
    /// assert_eq!(pool.framing().frames, 3);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn builder() -> FramePoolBuilder {
        FramePoolBuilder {
            config: PoolConfig::new(Framing::new(0, 0), AllocatorMode::User),
        }
    }
}

impl FramePoolBuilder {
    /// Sets the name of the pool in reports, errors, recordings and `tracing` events. It is a
    /// [`Label`], so name the pools of a program, not each pool that a loop makes.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(1).frame_size(64).name("capture").build()?;
    /// let held = pool.with_label("encoder").acquire()?;
    /// let report = pool.holders().to_string();
    /// assert!(report.starts_with("1 of 1 frame of `capture` is out: 1 held by `encoder` ("));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<Label>) -> Self {
        self.config.diagnostics.name = Some(name.into());
        self
    }

    /// Sets the number of frames. Must be set.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// assert_eq!(FramePool::builder().frames(8).frame_size(64).build()?.frames(), 8);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn frames(mut self, frames: usize) -> Self {
        self.config.framing.frames = frames;
        self
    }

    /// Sets the frame size in bytes, without the prefix. Must be set.
    ///
    /// An acquired frame has this length. The capacity of frames may be larger, because the size is
    /// rounded up to the alignment: see [`Framing::actual`](crate::Framing::actual).
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).build()?;
    /// assert_eq!(pool.framing().frame_size, 64);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn frame_size(mut self, frame_size: usize) -> Self {
        self.config.framing.frame_size = frame_size;
        self.config.frame_len = frame_size;
        self.config.video = None;
        self
    }

    /// Sets the layout of the picture in each frame, and with it the frame size. Raises the
    /// alignment to a multiple of the layout's.
    ///
    /// A later [`frame_size`](Self::frame_size) takes the layout back, and a later
    /// [`alignment`](Self::alignment) its alignment. With a
    /// [prefix](Self::prefix), the rows are aligned only with
    /// [`align_payload`](Self::align_payload).
    ///
    /// ```
    /// use ks_allocator::{FramePool, VideoFormat, VideoLayout};
    ///
    /// let layout = VideoLayout::builder(VideoFormat::Nv12, 1366, 768).for_ffmpeg().build()?;
    /// let pool = FramePool::builder().frames(8).video(&layout).build()?;
    /// assert_eq!(pool.video_layout(), Some(&layout));
    /// assert_eq!(pool.frame_len(), layout.size());
    /// assert_eq!(pool.framing().alignment, 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn video(mut self, layout: &VideoLayout) -> Self {
        let framing = &mut self.config.framing;
        *framing = framing.for_video(layout.size(), layout.alignment());
        self.config.frame_len = layout.size();
        self.config.video = Some(*layout);
        self
    }

    /// Sets what several parties have agreed on: frames, frame size or video layout, alignment,
    /// prefix and mode. See [`negotiate`](crate::negotiate).
    ///
    /// ```
    /// use ks_allocator::{FramePool, Requirements, Sizes, negotiate};
    ///
    /// let disk = Requirements::new("disk").sizes(Sizes::exactly(4096)).alignment(512).holds(2);
    /// let network = Requirements::new("network").prefix(512).holds(1);
    /// let pool = FramePool::builder().agreement(&negotiate(&[disk, network])?).build()?;
    /// let framing = pool.framing();
    /// assert_eq!((framing.frames, framing.alignment, framing.prefix), (4, 512, 512));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn agreement(mut self, agreement: &Agreement) -> Self {
        self.config.framing = agreement.framing();
        self.config.frame_len = agreement.framing().frame_size;
        self.config.video = agreement.video_layout().copied();
        self.config.memory.mode = agreement.mode();
        self
    }

    /// Sets the alignment in bytes, from 1 to 65,536: the address of each prefix, or of the payload
    /// if there is no prefix, is a multiple of it. 1 by default.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).alignment(4096).build()?;
    /// assert_eq!(pool.try_acquire()?.as_ptr().addr() % 4096, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alignment(mut self, alignment: usize) -> Self {
        self.config.framing.alignment = alignment;
        self
    }

    /// Sets the number of bytes before each payload. 0 by default.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).prefix(16).build()?;
    /// assert_eq!(pool.try_acquire()?.prefix().len(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(mut self, prefix: usize) -> Self {
        self.config.framing.prefix = prefix;
        self
    }

    /// Sets whether callers may wait for a frame. `true` by default.
    ///
    /// If `false`, every acquire that finds no free frame fails at once with
    /// [`Exhausted`](crate::AcquireError::Exhausted), also the forms that otherwise block
    /// ([`try_acquire_exact`](FramePool::try_acquire_exact) still with `TooFew`). So a
    /// release never has a waiter to wake: as long as the pool is open, it takes one exchange, and
    /// no lock or system call. It is for pools whose frames are released by real-time threads.
    ///
    /// ```
    /// # use ks_allocator::{AcquireError, FramePool};
    /// let pool = FramePool::builder().frames(1).frame_size(64).waiting(false).build()?;
    /// let frame = pool.acquire()?;
    /// assert!(matches!(pool.acquire(), Err(AcquireError::Exhausted(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn waiting(mut self, waiting: bool) -> Self {
        self.config.waits = waiting;
        self
    }

    /// Sets whether the prefix is rounded up to a multiple of the alignment, so that the payload
    /// behind it has this alignment, too. `false` by default.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let builder = FramePool::builder().frames(8).frame_size(64).alignment(64).prefix(16);
    /// assert_eq!(builder.build()?.payload_alignment(), 16);
    /// let pool = builder.align_payload(true).build()?;
    /// assert_eq!(pool.payload_alignment(), 64);
    /// assert_eq!(pool.framing().prefix, 64);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn align_payload(mut self, align: bool) -> Self {
        self.config.aligns_payload = align;
        self
    }

    /// Sets the mode, which says what memory the frames live in. [`User`](AllocatorMode::User) by
    /// default.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let builder = FramePool::builder().frames(8).frame_size(64);
    /// assert!(builder.mode(AllocatorMode::Kernel).build()?.handle().is_some());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mode(mut self, mode: AllocatorMode) -> Self {
        self.config.memory.mode = mode;
        self
    }

    /// Sets the number of words of the free list that frames are dealt to in turn, to keep threads
    /// off each other's cache lines. One per processor by default, and at least 8.
    ///
    /// The number is rounded up to a power of two, at most 16. Each word holds up to 14 frames; if
    /// there are more frames, as many words are added. With fewer words, a call of
    /// [`acquire_many`](FramePool::acquire_many) needs fewer read-modify-writes, and more threads
    /// share a word.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(14).frame_size(64).shards(1).build()?;
    /// assert_eq!(pool.acquire_many(14)?.len(), 14); // in a single read-modify-write
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shards(mut self, shards: usize) -> Self {
        self.config.shards = Some(shards);
        self
    }

    /// Sets whether threads prefer frames whose bytes are likely to be in their processor's cache.
    /// `true` by default.
    ///
    /// Each thread then remembers where in the free list it last acquired or released a frame, for
    /// up to 4 pools, and looks there first:
    ///
    /// - A thread that releases a frame and then acquires one gets the same frame.
    /// - A thread that only acquires frames of more than 64 KiB gets the frame that was released
    ///   last, as far as one is free in the word where it looks.
    /// - A thread that only acquires smaller frames takes them from several words in turn. The
    ///   thread that releases them then works in other words, and their cache lines do not move
    ///   back and forth.
    ///
    /// In any case each thread finds every free frame.
    ///
    /// With `false`, all threads look in the first word first. The pool then uses as few different
    /// frames as the [shards](Self::shards) allow, so that
    /// [`high_water`](crate::Stats::high_water) is a close bound; threads disturb each other more.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(64).frame_size(64).build()?;
    /// let (one, two) = (pool.try_acquire()?, pool.try_acquire()?);
    /// let slot = two.slot();
    /// drop(one);
    /// drop(two);
    /// assert_eq!(pool.try_acquire()?.slot(), slot); // released last by this thread
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn caches(mut self, caches: bool) -> Self {
        self.config.caches = caches;
        self
    }

    /// Sets whether a call that blocks for a frame first tries again for a short time. `true` by
    /// default.
    ///
    /// Falling asleep and being woken takes longer than many frames are held. So
    /// [`acquire`](FramePool::acquire) and [`acquire_timeout`](FramePool::acquire_timeout) look 64
    /// times for a frame before they enter the wait queue, the second half of them after yielding
    /// the processor. They stop after 50 µs, at the deadline, and as soon as another caller is in
    /// the queue, so that the order of the queue stays. Futures and calls that do not block never
    /// try again.
    ///
    /// Turn this off if threads of real-time classes block for frames: while such a thread spins,
    /// no thread of a lower class runs on its processor. Turning it off also saves energy if
    /// callers mostly wait for long.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(2).frame_size(64).spin_before_wait(false).build()?;
    /// assert!(pool.acquire().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spin_before_wait(mut self, spin: bool) -> Self {
        self.config.spins = spin;
        self
    }

    /// Sets whether the memory is touched when it is allocated, so that frames cause no page
    /// faults. `true` by default.
    ///
    /// Without it, allocating is fast for any size, and the first use of each frame takes the page
    /// faults, about 1 µs per 4 KiB.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(1000).frame_size(3 << 20).prefault(false).build()?;
    /// assert_eq!(pool.free_frames(), 1000); // 3 GB of addresses, and almost no memory
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.config.memory.options.prefault = prefault;
        self
    }

    /// Sets whether the frames live in huge pages. [`Off`](HugePages::Off) by default.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, HugePages};
    /// let pool = FramePool::builder().frames(8).frame_size(1 << 20);
    /// let pool = pool.huge_pages(HugePages::Transparent).build()?;
    /// println!("{:?} bytes in huge pages", pool.commit_report().huge);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn huge_pages(mut self, huge_pages: HugePages) -> Self {
        self.config.memory.options.huge_pages = huge_pages;
        self
    }

    /// Sets whether the memory is locked, so that the system does not page it out. `false` by
    /// default. Locked memory is prefaulted as well.
    ///
    /// Most systems let ordinary users lock little memory: see `RLIMIT_MEMLOCK`, and on Windows
    /// `SetProcessWorkingSetSize`. A child process after a fork has no lock on its copy.
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
        self.config.memory.options.locked = locked;
        self
    }

    /// Sets the NUMA node that the memory comes from. By default the system chooses, usually the
    /// node of the thread that touches the memory first.
    ///
    /// On Linux the memory comes from that node alone (`MPOL_BIND`). If the node has too little
    /// memory, the system ends the process, as with any lack of memory. On Windows it is a
    /// preference.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).numa_node(0).build()?;
    /// println!("on nodes {:?}", pool.commit_report().numa_nodes);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[doc(alias("mbind", "VirtualAllocExNuma"))]
    pub fn numa_node(mut self, node: u32) -> Self {
        self.config.memory.options.numa_node = Some(node);
        self
    }

    /// Sets whether the memory is left out of core dumps. `false` by default.
    ///
    /// Frames of a camera or a screen often show what a crash report must not contain. The system
    /// call is made again at each commit. Copies of a frame elsewhere in memory are dumped as
    /// usual.
    ///
    /// | | Linux | Windows | elsewhere |
    /// |---|---|---|---|
    /// | in both modes | `MADV_DONTDUMP` | unmet | unmet |
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).exclude_from_core_dumps(true);
    /// let report = pool.build()?.commit_report();
    /// # if cfg!(target_os = "linux") {
    /// assert!(report.requested.not_dumped && report.unmet.is_empty());
    /// # }
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[doc(alias("MADV_DONTDUMP"))]
    pub fn exclude_from_core_dumps(mut self, excluded: bool) -> Self {
        self.config.memory.options.not_dumped = excluded;
        self
    }

    /// Sets whether the memory is left out of processes that this one forks. `false` by default.
    ///
    /// A child that accesses a frame is then ended by a fault. By default it has a copy of the
    /// frames in User mode, and shares them with this process in Kernel mode.
    ///
    /// A fork copies no page of such memory, so that the parent has no page fault at its next write
    /// to each page, and a device that writes to pinned memory writes to the parent's pages.
    ///
    /// In Kernel mode, a forked child still inherits the descriptor of the kernel object.
    ///
    /// | | Linux | Windows | elsewhere |
    /// |---|---|---|---|
    /// | in both modes | `MADV_DONTFORK` | always met: there is no fork | unmet |
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(64).exclude_from_forks(true);
    /// let report = pool.build()?.commit_report();
    /// # if cfg!(target_os = "linux") {
    /// assert!(report.requested.not_inherited && report.unmet.is_empty());
    /// # }
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[doc(alias("MADV_DONTFORK"))]
    pub fn exclude_from_forks(mut self, excluded: bool) -> Self {
        self.config.memory.options.not_inherited = excluded;
        self
    }

    /// Sets whether the build fails if a memory request cannot be met. `false` by default.
    ///
    /// By default the pool is built anyway, and the [commit report](FramePool::commit_report) lists
    /// the unmet requests. If required, the commit fails with
    /// [`CommitError::UnmetRequest`](crate::CommitError::UnmetRequest) and leaves nothing behind.
    ///
    /// ```
    /// # use ks_allocator::{BuildError, CommitError, FramePool, MemoryRequest};
    /// let pool = FramePool::builder().frames(8).frame_size(64).numa_node(999_999);
    /// assert!(pool.build().is_ok());
    /// let error = pool.require_memory_options(true).build().unwrap_err();
    /// assert!(matches!(
    ///     error,
    ///     BuildError::Commit(CommitError::UnmetRequest {
    ///         request: MemoryRequest::NumaNode(999_999),
    ///         ..
    ///     })
    /// ));
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn require_memory_options(mut self, required: bool) -> Self {
        self.config.memory.options.required = required;
        self
    }

    /// Sets the memory that the frames live in, in User mode. See [`FrameMemory`], which has an
    /// example.
    ///
    /// The bytes of an unused frame are what the memory contained. The pool does not prefault such
    /// memory, and reports requests for huge pages, locking or a NUMA node as unmet.
    ///
    /// An `Arc` of a [`FrameMemory`] is one as well, so several pools can share one.
    pub fn memory(mut self, memory: impl FrameMemory + 'static) -> Self {
        self.config.memory.custom = Some(CustomMemory::new(memory));
        self
    }

    /// Sets a function that registers the memory with a device, a GPU or a ring. It is called with
    /// each segment before its first frame is handed out. What it returns is dropped before the
    /// memory is freed, by the thread that drops the last frame or handle, or that commits other
    /// memory.
    ///
    /// If it fails, so does the commit, with [`CommitError::Os`](crate::CommitError::Os). Like a
    /// [`FrameMemory`], it must not commit or re-frame the allocator that it is called for. With
    /// guard pages most of the segment is not accessible.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// use ks_allocator::FramePool;
    ///
    /// /// Bytes that a device has registered.
    /// struct Device(AtomicUsize);
    ///
    /// struct Registration(Arc<Device>, usize);
    ///
    /// impl Drop for Registration {
    ///     fn drop(&mut self) {
    ///         self.0.0.fetch_sub(self.1, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let device = Arc::new(Device(AtomicUsize::new(0)));
    /// let of_builder = device.clone();
    /// let builder = FramePool::builder().frames(4).frame_size(4096);
    /// let builder = builder.register_segment(move |segment| {
    ///     of_builder.0.fetch_add(segment.bytes, Ordering::Relaxed);
    ///     Ok(Registration(of_builder.clone(), segment.bytes))
    /// });
    /// let pool = builder.build()?;
    /// let frame = pool.acquire()?;
    /// drop(pool);
    /// assert!(device.0.load(Ordering::Relaxed) >= 4 * 4096);
    /// drop(frame);
    /// assert_eq!(device.0.load(Ordering::Relaxed), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("cudaHostRegister", "ibv_reg_mr", "io_uring_register_buffers"))]
    pub fn register_segment<R: Send + 'static>(
        mut self,
        register: impl Fn(&SegmentInfo) -> io::Result<R> + Send + Sync + 'static,
    ) -> Self {
        self.config.memory.register = Some(RegisterSegment::new(register));
        self
    }

    /// Attaches a value to each slot: `make` is called once per slot with its number, when the pool
    /// is built. Like a [`FrameMemory`], it must not commit or re-frame the allocator that it is
    /// called for. The holder of a frame finds the value by [`Frame::attachment`], and other
    /// holders find it as it was left.
    ///
    /// It is for what a program or a library keeps per buffer: a descriptor, a texture, side data
    /// with memory of its own. So nothing is allocated per frame. The values are dropped with the
    /// pool, before or after the memory of the frames: dropping one must not access that.
    ///
    /// [`Frame::attachment`]: crate::Frame::attachment
    ///
    /// ```
    /// use ks_allocator::FramePool;
    ///
    /// #[derive(Default)]
    /// struct SideData {
    ///     faces: Vec<(u32, u32)>,
    /// }
    ///
    /// let builder = FramePool::builder().frames(2).frame_size(64);
    /// let builder = builder.attachment(|_| SideData::default());
    /// let pool = builder.reset_attachment(|data: &mut SideData| data.faces.clear()).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.attachment_mut::<SideData>().expect("made above").faces.push((3, 4));
    /// let shared = frame.share();
    /// assert_eq!(shared.attachment::<SideData>().expect("made above").faces, [(3, 4)]);
    /// drop(shared);
    /// assert!(pool.acquire()?.attachment::<SideData>().is_some_and(|data| data.faces.is_empty()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attachment<T: Any + Send + Sync>(
        mut self,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Self {
        self.config.attachments.set_make(make);
        self
    }

    /// Sets a function that resets the [attachment](Self::attachment) of a frame that is released,
    /// at least if its holder asked for it by [`attachment_mut`](crate::Frame::attachment_mut). It
    /// also runs where a release has other work: after
    /// [`metadata_mut`](crate::Frame::metadata_mut), and with some options always. Without such a
    /// function, attachments are kept as they are.
    ///
    /// It runs on the thread that releases the frame. A panic in it is caught. A value of another
    /// type than `T` is not passed to it.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let builder = FramePool::builder().frames(1).frame_size(64).attachment(|_| 1);
    /// let pool = builder.reset_attachment(|number: &mut i32| *number = 0).build()?;
    /// *pool.acquire()?.attachment_mut().expect("an i32") = 7;
    /// assert_eq!(pool.acquire()?.attachment(), Some(&0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_attachment<T: Any>(
        mut self,
        reset: impl Fn(&mut T) + Send + Sync + 'static,
    ) -> Self {
        self.config.attachments.set_reset(reset);
        self
    }

    /// Sets what happens to the bytes of a frame between two holders. They are kept by default.
    ///
    /// Set another policy if holders must not see each other's bytes: [`Contents`] lists the paths.
    ///
    /// ```
    /// # use ks_allocator::{Contents, FramePool};
    /// let builder = FramePool::builder().frames(1).frame_size(64);
    /// let pool = builder.contents(Contents::ZeroOnRelease).build()?;
    /// pool.acquire()?.fill(7);
    /// assert_eq!(*pool.acquire()?, [0; 64]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contents(mut self, contents: Contents) -> Self {
        self.config.contents = contents;
        self
    }

    /// Sets whether frames lie between guard pages, for debugging. `false` by default.
    ///
    /// An access through a pointer after its frame was released, or past the frame's end, then
    /// crashes where it happens. This finds C or COM clients that keep a pointer too long.
    ///
    /// Each frame lies between inaccessible pages, and is inaccessible itself while it is free. A
    /// stray access raises `SIGSEGV` (on some systems `SIGBUS`), or on Windows the exception
    /// 0xC0000005, which a debugger, a core dump or a crash reporter shows. Before that, one line
    /// on standard error names the byte, the slot and the slot's holder:
    ///
    /// ```text
    /// ks-allocator: invalid access at 0x7f2c4a5d3011: byte 17 of slot 3, in a pool of 8 frames
    /// of 4096 bytes; slot 3 is free; its last holder is `encoder` (src/enc.rs:88), thread 4711
    /// ```
    ///
    /// - An access one byte past the end is found if the alignment is a power of two. With any
    ///   other alignment the guard page begins up to a page later. An access before the prefix is
    ///   found if prefix and frame are whole pages.
    /// - Acquire and release each make one system call per frame, which takes longer for larger
    ///   frames. Frames take whole pages, with a guard page between them.
    /// - On Linux a frame that is out takes two mappings of the process, of which there are 65,530
    ///   by default (`vm.max_map_count`). A commit fails if there are not enough for all frames at
    ///   once.
    /// - If the mappings run out later, an acquired frame cannot be made accessible, and the
    ///   process aborts with a message. A released frame that cannot be protected stays accessible.
    /// - A system call that is given a stray pointer fails with `EFAULT`. Accesses by devices, and
    ///   by other processes through their own mapping of a kernel object, are not found. A lent
    ///   frame stays accessible.
    /// - Guard pages do not work with [custom memory](Self::memory).
    ///
    /// A signal handler, on Windows a vectored exception handler, writes the message. The first
    /// such pool installs it, and the last one removes it. The handler passes each fault on to the
    /// handler that was installed before. A handler that is installed later should do the same, or
    /// the message is lost. Only the first 64 such pools that exist at a time have messages.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(8).frame_size(4096).guard_pages(true).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.fill(7); // a frame that is held is accessible
    /// let stray = frame.as_ptr();
    /// drop(frame);
    /// // unsafe { *stray } would crash the process.
    /// # let _ = stray;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn guard_pages(mut self, guard_pages: bool) -> Self {
        self.config.memory.guard_pages = guard_pages;
        self
    }

    /// Sets whether another process with a handle may write to the frames, in Kernel mode. `false`
    /// by default.
    ///
    /// On Linux the memory is otherwise sealed for good: a process with the file descriptor can map
    /// it for reading, and only this process can write. Some drivers need memory without the seal.
    /// On Windows this sets the access that a [cloned handle](FramePool::try_clone_handle) allows.
    ///
    /// # Safety
    ///
    /// If `true`: every process and device that has a handle writes only to frames that are lent to
    /// it and have no other handle, and only until their token is redeemed or revoked. The system
    /// cannot enforce this, because there is one object for all frames.
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
        self.config.memory.peers_may_write = peers_may_write;
        self
    }

    /// Sets whether each acquire reads the clock, so that reports have the exact age of each hold.
    /// `false` by default.
    ///
    /// It adds a read of the clock to each acquire: about 10 ns with the time stamp counter (see
    /// [`record`](Self::record)), more elsewhere.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let builder = FramePool::builder().frames(1).frame_size(64);
    /// let pool = builder.record_acquire_times(true).build()?;
    /// let frame = pool.acquire()?;
    /// std::thread::sleep(std::time::Duration::from_millis(1));
    /// let holder = &pool.holders().entries[0];
    /// assert!(holder.exact && holder.held_for.as_millis() >= 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_acquire_times(mut self, record_acquire_times: bool) -> Self {
        self.config.diagnostics.record_acquire_times = record_acquire_times;
        self
    }

    /// Sets a hook for waits that last for at least `threshold`.
    ///
    /// The waiting thread calls the hook once per such wait, with a
    /// [report](Holders#reports-of-waiting-callers) on the holders. It keeps its place in the
    /// queue. For a future, the hook is called when it is polled after the threshold, or when its
    /// wait ends: when it becomes ready or is dropped. A blocking call that ends before the hook
    /// was called also calls it at the end. The caller then has its frame already, if it gets one.
    ///
    /// The hook runs on the waiting thread, so a hook that takes longer than the rest of the
    /// timeout delays the return of the acquire. The acquire looks at its deadline again after the
    /// hook, and calls no hook after the deadline: the error has the same report.
    ///
    /// The hook may use the pool, but must not wait for a frame of it. A panic in the hook is
    /// caught after the panic hook has run. A hook that owns a handle of the pool keeps the pool
    /// alive forever.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// use ks_allocator::FramePool;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let pool = FramePool::builder()
    ///     .frames(1)
    ///     .frame_size(64)
    ///     .on_starved(Duration::from_millis(1), move |holders| {
    ///         sender.send(holders.to_string()).unwrap()
    ///     })
    ///     .build()?;
    /// let held = pool.with_label("preview").acquire()?;
    /// assert!(pool.acquire_timeout(Duration::from_millis(500)).is_err());
    /// assert!(receiver.recv()?.contains("1 held by `preview`"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_starved(
        mut self,
        threshold: Duration,
        hook: impl Fn(&Holders) + Send + Sync + 'static,
    ) -> Self {
        self.config.diagnostics.on_starved = Some((threshold, Hook::new(hook)));
        self
    }

    /// Sets a hook for a pool whose last handle is dropped while frames are out.
    ///
    /// The thread that drops the handle calls the hook with a report on the holders. Frames may
    /// outlive their pool, so this is not an error by itself. With the feature `tracing`, a warning
    /// is emitted as well. A panic in the hook is caught after the panic hook has run.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use ks_allocator::FramePool;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let builder = FramePool::builder().frames(2).frame_size(64);
    /// let pool = builder
    ///     .on_leak(move |holders| sender.send(holders.entries.len()).unwrap())
    ///     .build()?;
    /// let forgotten = pool.acquire()?;
    /// drop(pool);
    /// assert_eq!(receiver.recv()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_leak(mut self, hook: impl Fn(&Holders) + Send + Sync + 'static) -> Self {
        self.config.diagnostics.on_leak = Some(Hook::new(hook));
        self
    }

    /// Sets the number of events that the pool's flight recorder keeps, at most 1,048,576. 0 by
    /// default, which means no recorder.
    ///
    /// The recorder keeps the last events: see [`FramePool::recording`]. It takes 24 bytes per
    /// event, and reads a clock twice per frame: the time stamp counter, on x86-64 with Linux if
    /// the kernel uses it too, or else the system's clock, which can take 100 ns. With the counter,
    /// an acquire and a release take about 20 ns longer (`cargo bench --bench holders`).
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let pool = FramePool::builder().frames(1).frame_size(64).record(10_000).build()?;
    /// drop(pool.acquire()?);
    /// assert_eq!(pool.recording().map(|recording| recording.events.len()), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record(mut self, events: usize) -> Self {
        self.config.diagnostics.recorded_events = events;
        self
    }

    /// Declares the [share](Share) of the callers with a label: how many frames they always get,
    /// and how many they can have. Replaces an earlier one with the same label.
    ///
    /// ```
    /// use ks_allocator::{FramePool, Share};
    ///
    /// let builder = FramePool::builder().frames(8).frame_size(64);
    /// let builder = builder.share(Share::new("preview").reserve(2).limit(4));
    /// let pool = builder.share(Share::new("network").limit(3)).build()?;
    ///
    /// let network = pool.with_label("network");
    /// let sent: Vec<_> = std::iter::from_fn(|| network.try_acquire().ok()).collect();
    /// assert_eq!(sent.len(), 3);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn share(mut self, share: Share) -> Self {
        self.config
            .shares
            .retain(|other| other.label != share.label);
        self.config.shares.push(share);
        self
    }

    /// Sets a function that is told when only `low` frames are free, or fewer, and when `recovered`
    /// frames are free again. With it a source can slow down before the pool is empty.
    ///
    /// The calls follow one another, and alternate: the first is [`Level::Low`]. The function runs
    /// in the thread whose acquire or release changes the level, before that call returns, so it
    /// should be short. A frame that a thread releases counts as free, and is free after the call.
    /// So does a frame that goes to a caller that waits: choose `recovered` at least 2 above `low`
    /// if callers wait often. A panic of the function is caught.
    ///
    /// With it, each acquire and release counts on a cache line that all threads share. In a
    /// [re-framed](crate::PoolAllocator::reframe) pool the frames of the newest generation count.
    ///
    /// The build fails with [`CommitError::Levels`](crate::CommitError::Levels) unless `low` is
    /// less than `recovered`, and that is at most the number of frames.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// use ks_allocator::{FramePool, Level};
    ///
    /// let is_slow = Arc::new(AtomicBool::new(false));
    /// let slow_down = Arc::clone(&is_slow);
    /// let pool = FramePool::builder()
    ///     .frames(8)
    ///     .frame_size(64)
    ///     .on_low(2, 4, move |level| {
    ///         slow_down.store(matches!(level, Level::Low { .. }), Ordering::Relaxed);
    ///     })
    ///     .build()?;
    /// let frames: Vec<_> = (0..6).map(|_| pool.acquire()).collect::<Result<_, _>>()?;
    /// assert!(is_slow.load(Ordering::Relaxed));
    /// drop(frames);
    /// assert!(!is_slow.load(Ordering::Relaxed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_low(
        mut self,
        low: usize,
        recovered: usize,
        hook: impl Fn(Level) + Send + Sync + 'static,
    ) -> Self {
        self.config.levels = Some(LevelConfig {
            low,
            recovered,
            hook: LevelHook::new(hook),
        });
        self
    }

    /// Sets the most bytes of memory that frames may take: those of all pools that are built from
    /// this builder, its clones, and [an allocator](crate::PoolAllocator::from_builder) with these
    /// options, together. No limit by default.
    ///
    /// A pool counts until its memory is freed. During a
    /// [re-framing](crate::PoolAllocator::reframe) that can be two generations, or more.
    ///
    /// ```
    /// use ks_allocator::{FramePool, Framing, KsAllocator, PoolAllocator};
    ///
    /// let builder = FramePool::builder().frames(4).frame_size(1024).max_bytes(8 * 1024);
    /// let allocator = PoolAllocator::from_builder(&builder)?;
    /// allocator.commit()?;
    /// let picture = allocator.acquire()?;
    /// let five = Framing { frames: 5, ..allocator.framing() };
    /// let error = allocator.reframe(five).unwrap_err();
    /// let expected = "5120 bytes are needed, and 4096 of at most 8192 bytes are in use";
    /// assert_eq!(error.to_string(), expected);
    /// allocator.reframe(allocator.framing())?; // 4 frames again
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.config.memory.budget = Some(Budget::new(bytes));
        self
    }

    /// Allocates the memory and builds the pool.
    ///
    /// # Errors
    ///
    /// - [`BuildError::Framing`], if the alignment is out of range.
    /// - [`BuildError::Commit`], if frames or frame size are 0 or too large, or the memory cannot
    ///   be allocated.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// assert!(FramePool::builder().frames(8).frame_size(64).build().is_ok());
    /// assert!(FramePool::builder().frames(8).frame_size(64).alignment(0).build().is_err());
    /// ```
    pub fn build(&self) -> Result<FramePool, BuildError> {
        let mut config = self.config.clone();
        config.framing = config.actual(&config.framing)?;
        let pool = FramePool::new(&config, PoolState::OPEN)?;
        pool.trace_commit();
        Ok(pool)
    }
}
