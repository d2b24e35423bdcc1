//! A bounded, lock-free pool of media frames, with the vocabulary of kernel streaming.
//!
//! A pipeline says once how many frames it wants, how large and how aligned; commits the memory once;
//! and from then on acquires, fills, hands on and drops frames without allocating, page-faulting or
//! taking a lock.
//!
//! | plane | type | what it does |
//! |---|---|---|
//! | data | [`FramePool`], [`Frame`], [`SharedFrame`] | what happens for every frame |
//! | control | [`KsAllocator`], [`PoolAllocator`] | framing, mode, commit, decommit, flush: once a stream |
//!
//! Most users start with [`FramePool::builder`]:
//!
//! ```
//! use ks_allocator::{AcquireError, FramePool};
//!
//! let pool = FramePool::builder().frames(2).frame_size(1920 * 1080 * 3 / 2).build()?;
//!
//! let mut frame = pool.acquire()?; // unique: to be written
//! frame.fill(128);
//! frame.metadata_mut().presentation_time = Some(0);
//!
//! let to_screen = frame.share(); // shared: to be read, by any number of threads
//! let to_encoder = to_screen.clone();
//! assert_eq!(to_encoder[0], 128);
//!
//! let other = pool.acquire()?;
//! assert!(matches!(pool.try_acquire(), Err(AcquireError::Exhausted(_))));
//! drop((to_screen, to_encoder)); // the last handle gives the frame back
//! assert!(pool.try_acquire().is_ok());
//! # drop(other);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a pool can be requested, and told:
//!
//! | question | answer |
//! |---|---|
//! | Acquirer has my frames? | [`FramePool::holders`], and the error of whoever waited in vain: [`AcquireError`] |
//! | Is it large enough? | [`FramePool::stats`] |
//! | Where did it run dry? | [`FramePool::recording`], as a picture or for Perfetto |
//! | What memory do the frames live in? | [`AllocatorMode`], [`FrameMemory`], [`FramePool::commit_report`] |
//! | Acquirer used a frame that was given back? | [`FramePoolBuilder::guard_pages`] |
//! | How do I give frames to another process? | [`Frame::lend`] |
//!
//! Those who come from DirectShow or kernel streaming find their own names by searching this
//! documentation: `GetBuffer`, `cbPrefix`, `KsSetAllocatorMode` and the others lead to what stands for
//! them here.
//!
//! # How it is built
//!
//! The modules are listed in the order of the floors they stand on; each uses only those above it in
//! the list, that is, below it in the house. `unsafe` code is in few places: the memory, the core of
//! a pool, its slots and their notes, the frames, and parts of the COM face. Each has its invariants written down and
//! numbered, and the concurrent ones have models.

#[cfg(not(any(unix, windows)))]
compile_error!("ks-allocator maps memory by mmap or VirtualAlloc; this target has neither");

#[cfg(all(feature = "windows", loom))]
compile_error!("the models are of what lies below the COM face: leave the feature `windows` out");

// Floor 0: the one door to atomics, locks and threads; and values.
mod sync;

mod contents;
mod error;
mod framing;
mod holders;
mod label;
mod memory_options;
mod metadata;
mod mode;
mod recording;
mod token;
mod tracing_events;
// Floor 1: the operating system.
#[expect(unsafe_code, reason = "maps memory and hands out pointers into it")]
mod memory;

#[cfg(any(feature = "windows", all(test, loom)))]
mod ref_count;
// Floor 2: the data plane.
mod pool;

#[expect(unsafe_code, reason = "turns slots into slices")]
mod frame;
// Floor 3: the control plane.
mod allocator;
// Floor 4: the allocator as a COM object.
#[cfg(feature = "windows")]
pub mod com;

pub use self::allocator::{
    AllocatorState, AllocatorStatus, KernelHandle, KsAllocator, PoolAllocator,
};
pub use self::contents::Contents;
pub use self::error::{
    AcquireError, BuildError, CommitError, FramingError, LengthError, ModeError, NotResident,
    Starvation, TokenError,
};
pub use self::frame::{Frame, FrameBatch, SharedFrame};
pub use self::framing::Framing;
pub use self::holders::{Holder, HolderState, Holders, SourceLocation};
pub use self::label::Label;
pub use self::memory::{
    BorrowedKernelObject, FrameMemory, OwnedKernelObject, RemoteFrames, RemoteFramesMut,
    SegmentInfo,
};
pub use self::memory_options::{
    CommitReport, HugePages, MemoryOptions, MemoryRequest, UnmetRequest,
};
pub use self::metadata::{FrameFlags, Metadata};
pub use self::mode::AllocatorMode;
pub use self::pool::{AcquireFuture, FramePool, FramePoolBuilder, Stats};
pub use self::recording::{Event, EventKind, Recording};
pub use self::token::FrameToken;

/// The examples of the README are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
