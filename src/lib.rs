//! A bounded, lock-free pool of media frames, with the vocabulary of kernel streaming.
#![doc = ""]

#[cfg(not(any(unix, windows)))]
compile_error!("ks-allocator maps memory by mmap or VirtualAlloc; this target has neither");

// Floor 0: values, and the one door to atomics, locks and threads.
mod error;
mod framing;
mod metadata;
mod mode;
mod sync;
// Floor 1: the operating system.
#[expect(unsafe_code, reason = "maps memory and hands out pointers into it")]
mod memory;
// Floors 1 and 2: the data plane.
#[expect(unsafe_code, reason = "turns slots into slices")]
mod frame;
mod pool;
// Floor 3: the control plane.
mod allocator;

pub use self::allocator::{
    AllocatorState, AllocatorStatus, BorrowedKernelObject, KsAllocator, PoolAllocator,
};
pub use self::error::{
    AcquireError, BuildError, CommitError, FramingError, LengthError, ModeError,
};
pub use self::frame::{Frame, FrameBatch, SharedFrame};
pub use self::framing::Framing;
pub use self::metadata::{FrameFlags, Metadata};
pub use self::mode::AllocatorMode;
pub use self::pool::{AcquireFuture, FramePool, FramePoolBuilder};
