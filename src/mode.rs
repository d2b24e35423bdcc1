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
/// `Kernel` mode has two limits on Linux:
///
/// - A forked child shares the frames with its parent, but has its own copy of the free list. The
///   child must not use the pool or its frames.
/// - A memfd counts as a file. A memfd larger than `RLIMIT_FSIZE` raises `SIGXFSZ`, which
///   terminates the process unless the signal is ignored.
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
