//! Memory of a pool: one contiguous segment per generation that holds all frames.
//!
//! Each file imports only files above it in this table:
//!
//! | file | contents |
//! |---|---|
//! | `heap.rs` | heap allocation that reports failure |
//! | `budget.rs` | limit on the memory of several segments |
//! | `sys/` | system calls, one folder per platform |
//! | `task_memory.rs` | memory that crosses the COM boundary |
//! | `requests.rs` | prefaulting, huge pages, NUMA nodes, locking, core dumps and forks |
//! | `user_mode.rs` | pages of User mode |
//! | `kernel_object.rs` | kernel objects that own memory, and mappings of them |
//! | `kernel_mode.rs` | pages of Kernel mode |
//! | `remote.rs` | frames of a pool in another process |
//! | `custom.rs` | memory from a [`FrameMemory`] of the user |
//! | `guard_pages/` | guard pages, and messages about accesses to them |
//! | `segment.rs` | the segment |
//!
//! # Invariants
//!
//! The rest of the crate relies on these:
//!
//! - **M1** All bytes of a segment are mapped, readable and writable, until the segment is dropped.
//! - **M2** All bytes of a segment are initialized. The system zeroes new pages; an implementation
//!   of [`FrameMemory`] promises initialized ones.
//! - **M3** A frame and its prefix lie inside the segment. They do not overlap those of another
//!   slot.
//! - **M4** With guard pages, M1 holds for a frame and its prefix only between
//!   [`GuardPages::unprotect`] and [`GuardPages::protect`], and for no other byte.

mod budget;
mod heap;

mod sys;

mod requests;
#[cfg(feature = "windows")]
mod task_memory;

mod kernel_mode;
mod kernel_object;
mod user_mode;

mod custom;
mod registration;
mod remote;

#[cfg_attr(
    all(test, loom),
    expect(dead_code, reason = "models install no fault handlers")
)]
mod guard_pages;

mod segment;
mod segment_info;

pub use self::custom::{FrameMemory, MemoryBlock};
pub use self::kernel_object::{BorrowedKernelObject, OwnedKernelObject};
pub use self::remote::{RemoteFrames, RemoteFramesMut};
pub use self::segment_info::{SegmentChunk, SegmentInfo};

pub(crate) use self::budget::{Budget, Reservation};
pub(crate) use self::custom::CustomMemory;
pub(crate) use self::guard_pages::{DescribeSlot, GuardPages};
#[cfg(feature = "windows")]
pub(crate) use self::heap::try_box;
pub(crate) use self::heap::{try_box_uninit, try_with_capacity};
#[cfg(feature = "windows")]
pub(crate) use self::kernel_object::as_word;
pub(crate) use self::kernel_object::{borrow, clone_for_peer};
pub(crate) use self::registration::RegisterSegment;
pub(crate) use self::segment::{MemoryPlan, Segment};
#[cfg(feature = "windows")]
pub(crate) use self::task_memory::TaskMemory;
