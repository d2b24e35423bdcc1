//! Control plane: framing, mode, commit, decommit, flush and status.
//!
//! # States
//!
//! ```text
//!                  commit                                decommit, frames out
//! Uncommitted ───────────────▶ Committed ◀──────────┐ ┌─────────────────────────▶ Decommitting
//!      ▲                           │                └─┼── commit ─────────────────────┤
//!      │   decommit, none out      │                                                  │
//!      └───────────────────────────┴────────────────────── the last frame comes back ─┘
//! ```
//!
//! `Decommitting` is not stored: it means *not committed, and frames are out*. No frame can be
//! acquired from a closed pool, so the number of frames out only falls, and the release of the last
//! one is the transition.

mod ks_allocator;
mod pool_allocator;
mod reframing;

pub use self::ks_allocator::{AllocatorState, AllocatorStatus, KernelHandle, KsAllocator};
pub use self::pool_allocator::PoolAllocator;
pub use self::reframing::Reframing;

#[cfg(feature = "windows")]
pub(crate) use self::pool_allocator::LockedControl;
