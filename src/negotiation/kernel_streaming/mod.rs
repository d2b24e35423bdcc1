//! Allocator framings of kernel streaming, read from bytes and written to bytes.
//!
//! A driver states what its pin requires of frames: `KSALLOCATOR_FRAMING_EX`, a list of items that
//! are alternatives, or the older `KSALLOCATOR_FRAMING`. Both become [`Requirements`]. They have no
//! pointers, so their layout is the same on 32-bit and 64-bit systems.
//!
//! | field | requirement |
//! |---|---|
//! | memory type: user; paged or nonpaged kernel | [`modes`]: `User`; `Kernel` |
//! | memory type: any, or system | none |
//! | memory type: another one | the item is unusable: a pool has no such memory |
//! | frames | [`max_frames`], and a wish for [`min_frames`] of the same number |
//! | alignment mask | [`alignment`] of one more |
//! | pitch, with [`TWO_D_BUFFER_REQUIRED`] | [`stride`] of plane 0, and [`derived_strides`] |
//! | negative pitch | the item is unusable: the rows are stored from the bottom up |
//! | physical range | [`sizes`]; see [`SizeRange`] |
//! | framing range | a wish for these [`sizes`] |
//! | frame size of the older structure | [`sizes`] of at least this |
//! | [`INPLACE_MODIFIER`] | [`modifies`] |
//! | [`FRAME_INTEGRITY`] | [`unmodified`] |
//! | [`MUST_ALLOCATE`], also among the memory flags | [`allocates`] |
//! | [`SYSTEM_MEMORY`], missing in the older structure | unusable: the pin maps device memory |
//! | [`PREFERENCES_ONLY`] | all of these become wishes; what is unusable is an unmet one |
//! | weight of an item | the order of [`alternatives`](AllocatorFramingEx::alternatives) |
//! | output compression | none: see [`Compression::output_size`] |
//!
//! A number of 0 is no requirement. Nor is a number of frames above [`Framing::MAX_FRAMES`], which
//! stands for any number. All wishes have the weight 1. The other fields are kept, and have no
//! effect: those that are reserved, the bus, the flags that are not listed, the pool type, and the
//! two weights of the framing range, which Microsoft documents as unsupported.
//!
//! ```
//! use ks_allocator::kernel_streaming::{AllocatorFramingEx, FramingItem, MemoryType, SizeRange};
//! use ks_allocator::{AllocatorMode, Requirements, negotiate_alternatives};
//!
//! let item = |memory_type, weight| FramingItem {
//!     memory_type,
//!     weight,
//!     frames: 3,
//!     alignment_or_pitch: 63,
//!     physical_range: SizeRange { min: 6_220_800, max: u32::MAX, step: 1 },
//!     ..FramingItem::default()
//! };
//! let items = [item(MemoryType::USER, 1), item(MemoryType::KERNEL_NONPAGED, 2)];
//! let bytes = AllocatorFramingEx::new(items).to_bytes(); // as a driver would give them
//!
//! let camera = AllocatorFramingEx::from_bytes(&bytes)?.alternatives("camera")?;
//! let viewer = vec![Requirements::new("viewer").modes([AllocatorMode::User]).holds(1)];
//! let choice = negotiate_alternatives(&[camera, viewer])?;
//! assert_eq!(choice.positions, [1, 0]); // the item of the larger weight is in kernel memory
//! assert_eq!(choice.agreement.framing().alignment, 64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Framing::MAX_FRAMES`]: crate::Framing::MAX_FRAMES
//! [`Requirements`]: crate::Requirements
//! [`modes`]: crate::Requirements::modes
//! [`max_frames`]: crate::Requirements::max_frames
//! [`min_frames`]: crate::Requirements::min_frames
//! [`alignment`]: crate::Requirements::alignment
//! [`stride`]: crate::Requirements::stride
//! [`derived_strides`]: crate::Requirements::derived_strides
//! [`sizes`]: crate::Requirements::sizes
//! [`modifies`]: crate::Requirements::modifies
//! [`unmodified`]: crate::Requirements::unmodified
//! [`allocates`]: crate::Requirements::allocates
//! [`TWO_D_BUFFER_REQUIRED`]: FramingFlags::TWO_D_BUFFER_REQUIRED
//! [`INPLACE_MODIFIER`]: RequirementFlags::INPLACE_MODIFIER
//! [`FRAME_INTEGRITY`]: RequirementFlags::FRAME_INTEGRITY
//! [`MUST_ALLOCATE`]: RequirementFlags::MUST_ALLOCATE
//! [`SYSTEM_MEMORY`]: RequirementFlags::SYSTEM_MEMORY
//! [`PREFERENCES_ONLY`]: RequirementFlags::PREFERENCES_ONLY

mod bytes;
mod error;
mod flags;
mod framing;
mod memory_type;
mod ranges;

pub use self::error::KsFramingError;
pub use self::flags::{FramingFlags, RequirementFlags};
pub use self::framing::{AllocatorFraming, AllocatorFramingEx, FramingItem};
pub use self::memory_type::MemoryType;
pub use self::ranges::{Compression, SizeRange, WeightedRange};

#[cfg(test)]
#[cfg(not(any(loom, miri)))]
mod tests;
