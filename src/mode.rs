//! What kind of memory the frames live in.

use std::fmt;

/// The mode in which an allocator allocates memory.
///
/// Kernel streaming names the two modes and says no more in public about what they mean for a
/// client. This crate gives them this meaning:
///
/// | mode | the frames are | on Linux | on Windows | [`allocator_handle`] |
/// |---|---|---|---|---|
/// | `User` | private memory of this process | anonymous pages | `VirtualAlloc` | `None` |
/// | `Kernel` | owned by a kernel object that the handle names | a sealed memfd | a section backed by the page file | the object |
///
/// Other systems have no `Kernel` mode: a commit says [`ModeUnsupported`].
///
/// Two things to know of `Kernel` mode on Linux. A process that forks shares such frames with its child,
/// and each of the two has a free list of its own to hand them out from: the child must leave them
/// alone. And a memfd counts as a file: one larger than `RLIMIT_FSIZE` raises `SIGXFSZ`, which ends a
/// process that does not ignore it.
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
    /// Frames live in private memory of this process.
    #[doc(alias = "KsAllocatorMode_User")]
    #[default]
    User = 0,
    /// Frames live in memory that a kernel object owns.
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
