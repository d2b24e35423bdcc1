//! `KSALLOCATOR_FRAMING` values: the status of an allocator, the request to a driver, and
//! conversions for negotiation, also of the description of a pipe.
//!
//! Microsoft documents only the names of the status fields. This file defines their contents.

use thiserror::Error;
use windows_core::GUID;

use crate::allocator::AllocatorStatus;
use crate::framing::Framing;
use crate::negotiation::kernel_streaming::{
    AllocatorFraming, AllocatorFramingEx, Compression, FramingItem, KsFramingError, MemoryType,
    SizeRange, WeightedRange,
};
use crate::negotiation::{Requirements, Sizes};

use super::constants::{LogicalMemoryType, OptionFlags, PoolType, RequirementFlags};
use super::layouts::{
    ALLOCATOR_PROPERTIES_EX, KS_COMPRESSION, KS_FRAMING_ITEM, KS_FRAMING_RANGE,
    KS_FRAMING_RANGE_WEIGHTED, KSALLOCATOR_FRAMING, KSALLOCATOR_FRAMING_EX,
    KSSTREAMALLOCATOR_STATUS,
};

/// Converts the status. A number that is too large for its field becomes the largest number.
pub(super) fn status(
    status: &AllocatorStatus,
    pipe: &ALLOCATOR_PROPERTIES_EX,
) -> KSSTREAMALLOCATOR_STATUS {
    let number = |value| u32::try_from(value).unwrap_or(u32::MAX);
    let Framing {
        frames,
        frame_size,
        alignment,
        prefix,
    } = status.framing;
    KSSTREAMALLOCATOR_STATUS {
        Framing: KSALLOCATOR_FRAMING {
            Frames: number(frames),
            FrameSize: number(frame_size.saturating_add(prefix)),
            FileAlignment: number(alignment.saturating_sub(1)),
            ..in_system_memory(pipe)
        },
        AllocatedFrames: number(status.allocated_frames),
        Reserved: 0,
    }
}

/// Returns the framing that the driver of a pin is asked for, to serve this pipe. A negative number
/// becomes 0.
pub(super) fn request(pipe: &ALLOCATOR_PROPERTIES_EX) -> KSALLOCATOR_FRAMING {
    let number = |value| u32::try_from(value).unwrap_or(0);
    KSALLOCATOR_FRAMING {
        Frames: number(pipe.cBuffers),
        FrameSize: number(pipe.cbBuffer),
        FileAlignment: number(pipe.cbAlign).saturating_sub(1),
        ..in_system_memory(pipe)
    }
}

/// Returns a framing with the memory of the pipe, and all else zero.
fn in_system_memory(pipe: &ALLOCATOR_PROPERTIES_EX) -> KSALLOCATOR_FRAMING {
    let paged = pipe.LogicalMemoryType == LogicalMemoryType::KernelPaged as i32;
    let pool_type = if paged {
        PoolType::Paged
    } else {
        PoolType::NonPaged
    };
    KSALLOCATOR_FRAMING {
        OptionsFlags: OptionFlags::SYSTEM_MEMORY.bits(),
        PoolType: pool_type as u32,
        ..KSALLOCATOR_FRAMING::default()
    }
}

/// Reason why the description of a pipe cannot be read, or not be met by a pool.
///
/// ```
/// use ks_allocator::com::ALLOCATOR_PROPERTIES_EX;
///
/// let pipe = ALLOCATOR_PROPERTIES_EX { cbPrefix: -1, ..ALLOCATOR_PROPERTIES_EX::default() };
/// let error = pipe.requirements("pipe").unwrap_err();
/// assert_eq!(error.to_string(), "`cbPrefix` is -1, and it cannot be negative");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KsPipeError {
    /// A number is negative.
    #[error("`{field}` is {value}, and it cannot be negative")]
    Negative {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: i32,
    },
    /// The number stands for no [`LogicalMemoryType`].
    #[error("`LogicalMemoryType` is {value}, which is not a memory type")]
    LogicalMemoryType {
        /// The number.
        value: i32,
    },
    /// The memory type, the physical range or the flags cannot be used.
    #[error(transparent)]
    Framing(#[from] KsFramingError),
}

impl ALLOCATOR_PROPERTIES_EX {
    /// Returns the requirements of the pipe, as those of the party `name` in a negotiation.
    ///
    /// | field | requirement |
    /// |---|---|
    /// | `cBuffers` | [`min_frames`](Requirements::min_frames) |
    /// | `cbBuffer` | [`sizes`](Requirements::sizes) of at least this |
    /// | `cbAlign` | [`alignment`](Requirements::alignment) |
    /// | `cbPrefix` | [`prefix`](Requirements::prefix) |
    /// | `MemoryType` | as in a [`FramingItem`] |
    /// | `LogicalMemoryType` | the same, if `MemoryType` is zero |
    /// | `Flags` | those of [`RequirementFlags`], as in a [`FramingItem`] |
    /// | `PhysicalRange` | as in a [`FramingItem`] |
    ///
    /// A number of 0 is no requirement, so a description of zeros has none. The other fields have
    /// no effect.
    ///
    /// Source: the documentation of Microsoft lists only the names of the fields. The first four
    /// are read as the fields of [`ALLOCATOR_PROPERTIES`](super::ALLOCATOR_PROPERTIES) with these
    /// names, the logical memory type by the names of its values, and the others as the fields of
    /// `KS_FRAMING_ITEM`.
    ///
    /// # Errors
    ///
    /// See [`KsPipeError`].
    ///
    /// ```
    /// use ks_allocator::com::{ALLOCATOR_PROPERTIES_EX, KS_FRAMING_RANGE, KSMEMORY_TYPE_USER};
    /// use ks_allocator::{Framing, Requirements, negotiate};
    ///
    /// let pipe = ALLOCATOR_PROPERTIES_EX {
    ///     cBuffers: 4,
    ///     cbBuffer: 5_000,
    ///     cbPrefix: 16,
    ///     MemoryType: KSMEMORY_TYPE_USER,
    ///     PhysicalRange: KS_FRAMING_RANGE {
    ///         MinFrameSize: 4_096,
    ///         MaxFrameSize: 8_192,
    ///         Stepping: 512,
    ///     },
    ///     ..ALLOCATOR_PROPERTIES_EX::default()
    /// };
    /// let encoder = Requirements::new("encoder").alignment(32).holds(5);
    /// let agreement = negotiate(&[pipe.requirements("pipe")?, encoder])?;
    /// assert_eq!(agreement.framing(), Framing::new(6, 5_120).alignment(32).prefix(32));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn requirements(&self, name: &str) -> Result<Requirements, KsPipeError> {
        let number = |field, value| {
            usize::try_from(value).map_err(|_| KsPipeError::Negative { field, value })
        };
        let needs: [(Require, usize); 4] = [
            (Requirements::min_frames, number("cBuffers", self.cBuffers)?),
            (
                |party, size| party.sizes(Sizes::at_least(size)),
                number("cbBuffer", self.cbBuffer)?,
            ),
            (Requirements::alignment, number("cbAlign", self.cbAlign)?),
            (Requirements::prefix, number("cbPrefix", self.cbPrefix)?),
        ];
        let item = FramingItem {
            memory_type: memory_type(self)?,
            flags: self.Flags,
            physical_range: self.PhysicalRange.into(),
            ..FramingItem::default()
        };
        let flags = RequirementFlags::from_bits_retain(self.Flags);
        let are_wishes = flags.contains(RequirementFlags::PREFERENCES_ONLY);
        let mut requirements = item.requirements(name)?;
        for (require, number) in needs.into_iter().filter(|(_, number)| *number > 0) {
            requirements = if are_wishes {
                requirements.wish(1, require(Requirements::new(name), number))
            } else {
                require(requirements, number)
            };
        }
        Ok(requirements)
    }
}

/// Adds a requirement of a number.
type Require = fn(Requirements, usize) -> Requirements;

/// Returns the memory type of a pipe, or the logical one if it has none.
fn memory_type(pipe: &ALLOCATOR_PROPERTIES_EX) -> Result<MemoryType, KsPipeError> {
    let memory_type = MemoryType(pipe.MemoryType.to_u128());
    if memory_type != MemoryType::ANY {
        return Ok(memory_type);
    }
    let value = pipe.LogicalMemoryType;
    let known = [
        (LogicalMemoryType::DontCare, MemoryType::ANY),
        (LogicalMemoryType::KernelPaged, MemoryType::KERNEL_PAGED),
        (
            LogicalMemoryType::KernelNonPaged,
            MemoryType::KERNEL_NONPAGED,
        ),
        (
            LogicalMemoryType::DeviceHostMapped,
            MemoryType::DEVICE_UNKNOWN,
        ),
        (
            LogicalMemoryType::DeviceSpecific,
            MemoryType::DEVICE_UNKNOWN,
        ),
        (LogicalMemoryType::User, MemoryType::USER),
        (LogicalMemoryType::AnyHost, MemoryType::SYSTEM),
    ];
    known
        .into_iter()
        .find_map(|(logical, memory_type)| (logical as i32 == value).then_some(memory_type))
        .ok_or(KsPipeError::LogicalMemoryType { value })
}

/// For a framing with one item. Of one with several, only the first is in the structure itself:
/// read the bytes of all with [`AllocatorFramingEx::from_bytes`], which makes the same checks.
impl TryFrom<KSALLOCATOR_FRAMING_EX> for AllocatorFramingEx {
    type Error = KsFramingError;

    fn try_from(framing: KSALLOCATOR_FRAMING_EX) -> Result<Self, KsFramingError> {
        let mut bytes = Self {
            pin_flags: framing.PinFlags,
            output_compression: framing.OutputCompression.into(),
            pin_weight: framing.PinWeight,
            items: framing.FramingItem.map(FramingItem::from).to_vec(),
        }
        .to_bytes();
        if let Some(count) = bytes.first_chunk_mut() {
            *count = framing.CountItems.to_le_bytes();
        }
        Self::from_bytes(&bytes)
    }
}

/// For a framing with one item. Those with several become bytes by
/// [`AllocatorFramingEx::to_bytes`].
impl TryFrom<&AllocatorFramingEx> for KSALLOCATOR_FRAMING_EX {
    type Error = KsFramingError;

    fn try_from(framing: &AllocatorFramingEx) -> Result<Self, KsFramingError> {
        match framing.items[..] {
            [item] => Ok(Self {
                CountItems: 1,
                PinFlags: framing.pin_flags,
                OutputCompression: framing.output_compression.into(),
                PinWeight: framing.pin_weight,
                FramingItem: [item.into()],
            }),
            [] => Err(KsFramingError::NoItems),
            [..] => Err(KsFramingError::ItemCount {
                items: u32::try_from(framing.items.len()).unwrap_or(u32::MAX),
                bytes: size_of::<Self>(),
                expected: framing.to_bytes().len() as u64,
            }),
        }
    }
}

impl From<KS_COMPRESSION> for Compression {
    fn from(compression: KS_COMPRESSION) -> Self {
        Self {
            numerator: compression.RatioNumerator,
            denominator: compression.RatioDenominator,
            margin: compression.RatioConstantMargin,
        }
    }
}

impl From<Compression> for KS_COMPRESSION {
    fn from(compression: Compression) -> Self {
        Self {
            RatioNumerator: compression.numerator,
            RatioDenominator: compression.denominator,
            RatioConstantMargin: compression.margin,
        }
    }
}

impl From<KSALLOCATOR_FRAMING> for AllocatorFraming {
    fn from(framing: KSALLOCATOR_FRAMING) -> Self {
        Self {
            flags: framing.OptionsFlags,
            pool_type: framing.PoolType,
            frames: framing.Frames,
            frame_size: framing.FrameSize,
            alignment_or_pitch: framing.FileAlignment,
            reserved: framing.Reserved,
        }
    }
}

impl From<AllocatorFraming> for KSALLOCATOR_FRAMING {
    fn from(framing: AllocatorFraming) -> Self {
        Self {
            OptionsFlags: framing.flags,
            PoolType: framing.pool_type,
            Frames: framing.frames,
            FrameSize: framing.frame_size,
            FileAlignment: framing.alignment_or_pitch,
            Reserved: framing.reserved,
        }
    }
}

impl From<KS_FRAMING_RANGE> for SizeRange {
    fn from(range: KS_FRAMING_RANGE) -> Self {
        Self {
            min: range.MinFrameSize,
            max: range.MaxFrameSize,
            step: range.Stepping,
        }
    }
}

impl From<SizeRange> for KS_FRAMING_RANGE {
    fn from(range: SizeRange) -> Self {
        Self {
            MinFrameSize: range.min,
            MaxFrameSize: range.max,
            Stepping: range.step,
        }
    }
}

impl From<KS_FRAMING_ITEM> for FramingItem {
    fn from(item: KS_FRAMING_ITEM) -> Self {
        Self {
            memory_type: MemoryType(item.MemoryType.to_u128()),
            bus_type: item.BusType.to_u128(),
            memory_flags: item.MemoryFlags,
            bus_flags: item.BusFlags,
            flags: item.Flags,
            frames: item.Frames,
            alignment_or_pitch: item.FileAlignment,
            weight: item.MemoryTypeWeight,
            physical_range: item.PhysicalRange.into(),
            framing_range: WeightedRange {
                range: item.FramingRange.Range.into(),
                in_place_weight: item.FramingRange.InPlaceWeight,
                not_in_place_weight: item.FramingRange.NotInPlaceWeight,
            },
        }
    }
}

impl From<FramingItem> for KS_FRAMING_ITEM {
    fn from(item: FramingItem) -> Self {
        Self {
            MemoryType: GUID::from_u128(item.memory_type.0),
            BusType: GUID::from_u128(item.bus_type),
            MemoryFlags: item.memory_flags,
            BusFlags: item.bus_flags,
            Flags: item.flags,
            Frames: item.frames,
            FileAlignment: item.alignment_or_pitch,
            MemoryTypeWeight: item.weight,
            PhysicalRange: item.physical_range.into(),
            FramingRange: KS_FRAMING_RANGE_WEIGHTED {
                Range: item.framing_range.range.into(),
                InPlaceWeight: item.framing_range.in_place_weight,
                NotInPlaceWeight: item.framing_range.not_in_place_weight,
            },
        }
    }
}
