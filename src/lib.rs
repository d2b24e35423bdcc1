//! Bounded, lock-free pool of media frames, with the vocabulary of kernel streaming.
//!
//! A pipeline describes its frames once and commits the memory once. After that, its threads
//! acquire, fill, pass on and drop frames without allocating, page-faulting or taking a lock. When
//! the pool is empty, callers block, time out or `.await`, in FIFO order.
//!
//! | plane | types | use |
//! |---|---|---|
//! | data | [`FramePool`], [`Frame`], [`SharedFrame`] | per frame |
//! | control | [`KsAllocator`], [`PoolAllocator`] | per stream: framing, mode, commit, flush |
//!
//! Most programs start with [`FramePool::builder`]:
//!
//! ```
//! use ks_allocator::{AcquireError, FramePool};
//!
//! let pool = FramePool::builder().frames(2).frame_size(1920 * 1080 * 3 / 2).build()?;
//!
//! let mut frame = pool.acquire()?; // unique and writable
//! frame.fill(128);
//! frame.metadata_mut().presentation_time = Some(0);
//!
//! let to_screen = frame.share(); // read-only, for any number of threads
//! let to_encoder = to_screen.clone();
//! assert_eq!(to_encoder[0], 128);
//!
//! let other = pool.acquire()?;
//! assert!(matches!(pool.try_acquire(), Err(AcquireError::Exhausted(_))));
//! drop((to_screen, to_encoder)); // the last handle releases the frame
//! assert!(pool.try_acquire().is_ok());
//! # drop(other);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | question | answer |
//! |---|---|
//! | Who holds my frames? | [`FramePool::holders`]; [`AcquireError`] carries the same report |
//! | Is the pool large enough? | [`FramePool::stats`] |
//! | How many frames does it need? | [`Recording::sizing`] |
//! | When did it run dry? | [`FramePool::recording`], as a picture or for Perfetto |
//! | Where are the planes of a picture? | [`VideoLayout`], [`Frame::planes`] |
//! | Which frames suit all stages? | [`negotiate`], [`Stage`] |
//! | How does the format change in mid-stream? | [`PoolAllocator::reframe`] |
//! | What memory do they live in? | [`AllocatorMode`], [`FramePool::commit_report`] |
//! | Which code used a frame after its release? | [`FramePoolBuilder::guard_pages`] |
//! | How do I lend frames to another process? | [`Frame::lend`] |
//!
//! The names of DirectShow and kernel streaming are search aliases in this documentation: searching
//! for `GetBuffer`, `cbPrefix` or `KsSetAllocatorMode` leads to the item that takes its place here.
//!
//! The concurrent parts are model-checked with loom.
//!
//! # Signal handlers
//!
//! No function of this crate may be called in a signal handler, and no frame dropped in one. A
//! handler that interrupts a call of its own thread can deadlock on the lock of the wait queue,
//! allocate memory inside the allocator. A handler can set
//! a flag or write to a pipe, for a thread that then uses the pool.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(unix, windows)))]
compile_error!("ks-allocator maps memory by mmap or VirtualAlloc; this target has neither");

#[cfg(all(feature = "windows", test, loom))]
compile_error!("the loom models do not cover the COM face: leave the feature `windows` out");

// Modules are listed bottom-up: each depends only on modules listed before it. `unsafe` code is
// confined to modules that carry an `expect(unsafe_code)` here or in their folder. Each of them
// states its invariants, numbered; `pool/mod.rs` has an index of the letters.

// Values, and the facade over atomics, locks and threads.
mod sync;

mod contents;
mod label;

mod crate_copy;
mod metadata;
mod mode;
mod token;

mod memory_options;

mod level;
mod share;

mod holders;

mod error;

mod framing;
mod video;

mod negotiation;

mod recording;
mod tracing_events;

mod panics;
// The operating system.
#[expect(unsafe_code, reason = "maps memory and hands out pointers into it")]
mod memory;
// The data plane.
mod diagnostics;

mod pool;

#[expect(unsafe_code, reason = "turns slots into slices")]
mod frame;

mod frame_pool;
// The control plane.
mod allocator;
// The allocator as a COM object.
#[cfg(any(feature = "windows", all(test, loom)))]
mod ref_count;

#[cfg(feature = "windows")]
pub mod com;

pub use self::allocator::{
    AllocatorState, AllocatorStatus, KernelHandle, KsAllocator, PoolAllocator, Reframing,
};
pub use self::contents::Contents;
pub use self::diagnostics::stats::Stats;
pub use self::error::{
    AcquireError, BuildError, CommitError, FramingError, LengthError, ModeError, NotIdle,
    NotResident, ReframeError, ShareError, Starvation, TokenError,
};
pub use self::frame::{Frame, FrameBatch, FrameSlice, SharedFrame};
#[cfg(feature = "stream")]
pub use self::frame_pool::FrameStream;
pub use self::frame_pool::{
    AcquireExactFuture, AcquireFuture, AcquireManyFuture, FramePool, FramePoolBuilder,
};
pub use self::framing::Framing;
pub use self::holders::{Holder, HolderState, Holders, SourceLocation};
pub use self::label::Label;
pub use self::level::Level;
pub use self::memory::{
    BorrowedKernelObject, FrameMemory, MemoryBlock, OwnedKernelObject, RemoteFrames,
    RemoteFramesMut, SegmentChunk, SegmentInfo,
};
pub use self::memory_options::{
    CommitReport, HugePages, MemoryOptions, MemoryRequest, UnmetRequest,
};
pub use self::metadata::{FrameFlags, Metadata, TimeBase};
pub use self::mode::AllocatorMode;
pub use self::negotiation::{
    AgreedValue, Agreement, Choice, Conflict, Decision, NoAlternative, Pipe, PipeConflict,
    Requirements, Sizes, Stage, UnmetWish, kernel_streaming, negotiate, negotiate_alternatives,
};
#[cfg(feature = "recording-export")]
pub use self::recording::LabelUsage;
pub use self::recording::{
    DepthForecast, Event, EventKind, FrameSource, HolderShare, LabelForecast, Pacing, Recording,
    Saving, SavingMeans, Sizing, SizingOptions, WaitTotals,
};
pub use self::share::{Share, ShareShortage, ShareUsage};
#[cfg(all(ks_allocator_preempt, not(all(test, loom))))]
#[doc(hidden)]
pub use self::sync::stop_before_access;
pub use self::token::FrameToken;
pub use self::video::{
    LayoutError, Padding, Plane, PlaneFormat, PlaneLayout, PlaneMut, Planes, PlanesError,
    PlanesMut, Rows, RowsMut, UnknownVideoFormat, VideoFormat, VideoLayout, VideoLayoutBuilder,
};

/// Compiles and runs the examples of the README and of four pages of `docs`.
#[cfg(doctest)]
#[doc = include_str!("../docs/memory.md")]
#[doc = include_str!("../docs/negotiation.md")]
#[doc = include_str!("../docs/processes.md")]
#[doc = include_str!("../docs/reframing.md")]
#[doc = include_str!("../docs/shares.md")]
#[doc = include_str!("../docs/sizing.md")]
#[doc = include_str!("../docs/video.md")]
#[doc = include_str!("../README.md")]
struct Readme;
