//! `KSALLOCATOR_FRAMING` values: the status of an allocator, the request to a driver, and
//! conversions for negotiation.
//!
//! Microsoft documents only the names of the status fields. This file defines their contents.

use windows_core::GUID;

use crate::allocator::AllocatorStatus;
use crate::framing::Framing;
use crate::negotiation::kernel_streaming::{
    AllocatorFraming, AllocatorFramingEx, Compression, FramingItem, KsFramingError, MemoryType,
    SizeRange, WeightedRange,
};

use super::constants::{LogicalMemoryType, OptionFlags, PoolType};
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
