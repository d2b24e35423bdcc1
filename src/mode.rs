//! Mode of an allocator: the kind of memory that its frames are in.

use std::fmt;

/// Mode of an allocator: the kind of memory that its frames are in.
///
/// Kernel streaming names the two modes, but does not document what they mean for a client. In
/// this crate they mean:
///
/// | mode | memory of the frames | on Linux | on Windows | [`allocator_handle`] |
/// |---|---|---|---|---|
/// | `User` | private memory of this process | anonymous pages | `VirtualAlloc` | `None` |
/// | `Kernel` | owned by a kernel object | sealed memfd | page-file backed section | the object |
///
/// Other systems have no `Kernel` mode: a commit fails with [`ModeUnsupported`].
///
/// On Linux a memfd counts as a file. A commit of memory larger than `RLIMIT_FSIZE` fails with
/// [`LimitExceeded`](crate::CommitError::LimitExceeded).
///
/// # Forked processes
///
/// A pool belongs to the process that made it. A child that is forked afterwards, and does not
/// execute another program, has a copy of the free list. In `User` mode it also has a copy of the
/// frames; in `Kernel` mode, and with [`FrameMemory`](crate::FrameMemory), it shares them with its
/// parent. In the child:
///
/// - Dropping frames, handles and futures does not affect the parent: it zeroes no shared memory
///   and wakes no waiter of the parent. The child's copy of the pool is not freed.
/// - In `Kernel` mode and with `FrameMemory`, acquires fail with [`OtherProcess`], and frames are
///   not lent, redeemed or revoked. Through a frame that was out at the fork, the child still
///   accesses the memory of its parent; it must not write to it, and must not read what the parent
///   may write.
/// - In `User` mode, acquires of free frames succeed, in the copy. An acquire that would wait fails
///   with `OtherProcess`.
/// - Commits, decommits and flushes of the pool have no effect.
/// - None of these calls waits for a lock that a thread of the parent held at the fork. Others may:
///   reports and states, [`wait_idle`](crate::FramePool::wait_idle), new labels, and changes of an
///   allocator: of its framing and its mode, and all if it was not committed at the fork.
///
/// A fork is noticed by a handler of `pthread_atfork`. So it is not if the program makes the system
/// call `clone` or `fork` itself. Children that execute another program, as those of
/// [`std::process::Command`], are not concerned.
///
/// [`OtherProcess`]: crate::AcquireError::OtherProcess
///
/// Source: `KSALLOCATORMODE`, `IKsAllocator::KsGetAllocatorMode`, `KsSetAllocatorMode`.
///
/// [`allocator_handle`]: crate::KsAllocator::allocator_handle
/// [`ModeUnsupported`]: crate::CommitError::ModeUnsupported
///
/// ```
/// use ks_allocator::{AllocatorMode, KsAllocator, PoolAllocator};
///
/// let allocator = PoolAllocator::new();
/// assert_eq!(allocator.allocator_mode(), AllocatorMode::User);
/// allocator.set_allocator_mode(AllocatorMode::Kernel)?;
/// assert_eq!(allocator.allocator_mode().to_string(), "kernel");
/// # Ok::<(), ks_allocator::ModeError>(())
/// ```
#[doc(alias = "KSALLOCATORMODE")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AllocatorMode {
    /// The frames are in private memory of this process.
    #[doc(alias = "KsAllocatorMode_User")]
    #[default]
    User = 0,
    /// The frames are in memory that a kernel object owns.
    #[doc(alias = "KsAllocatorMode_Kernel")]
    Kernel = 1,
}

impl fmt::Display for AllocatorMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Kernel => "kernel",
        })
    }
}
