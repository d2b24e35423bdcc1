//! Errors of framings.

use thiserror::Error;

use super::memory_type::MemoryType;

/// Reason why a framing cannot be read, or not be met by a pool.
///
/// ```
/// use ks_allocator::kernel_streaming::AllocatorFramingEx;
///
/// let error = AllocatorFramingEx::from_bytes(&[2, 0, 0, 0]).unwrap_err();
/// assert_eq!(error.to_string(), "a framing has at least 24 bytes, and these are 4");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KsFramingError {
    /// There are fewer bytes than the fixed fields take.
    #[error("a framing has at least {min} bytes, and these are {bytes}")]
    TooShort {
        /// Number of bytes.
        bytes: usize,
        /// Number of bytes of the fixed fields.
        min: usize,
    },
    /// The number of bytes is not that of the structure.
    #[error("a framing has {expected} bytes, and these are {bytes}")]
    Length {
        /// Number of bytes.
        bytes: usize,
        /// Number of bytes of the structure.
        expected: usize,
    },
    /// The number of bytes does not fit the number of items.
    #[error("a framing with a `CountItems` of {items} has {expected} bytes, and these are {bytes}")]
    ItemCount {
        /// Number of items.
        items: u32,
        /// Number of bytes.
        bytes: usize,
        /// Number of bytes of a framing with these items.
        expected: u64,
    },
    /// A framing lists at least one item.
    #[error("a framing lists no items")]
    NoItems,
    /// A ratio divides by 0.
    #[error("a compression of {numerator} / 0 is not a ratio")]
    Compression {
        /// The numerator.
        numerator: u32,
    },
    /// The alignment is given as a mask of low bits, which is the alignment less one.
    #[error("an alignment mask of {mask:#x} is not a power of two less one")]
    AlignmentMask {
        /// The mask.
        mask: u32,
    },
    /// The minimum is above the maximum.
    #[error("frame sizes from {min} to {max} bytes are none")]
    EmptyRange {
        /// Minimum size in bytes.
        min: u32,
        /// Maximum size in bytes.
        max: u32,
    },
    /// The step is larger than the maximum less the minimum, which is undefined.
    #[error("steps of {step} bytes are larger than the range from {min} to {max}")]
    Step {
        /// Minimum size in bytes.
        min: u32,
        /// Maximum size in bytes.
        max: u32,
        /// Step in bytes.
        step: u32,
    },
    /// A pool does not have such memory.
    #[error("a pool has no {0}")]
    Memory(MemoryType),
    /// The pin maps memory of its device.
    #[error("a pool has no memory of the device, and the pin does not take system memory")]
    DeviceMemory,
    /// The rows are stored from the bottom up.
    #[error("a pitch of {pitch} bytes asks for rows from the bottom up")]
    BottomUp {
        /// The pitch in bytes.
        pitch: i32,
    },
    /// An item has an error.
    #[error("item {number}: {error}")]
    Item {
        /// Number of the item, from 0.
        number: usize,
        /// Its error.
        #[source]
        error: Box<Self>,
    },
}
