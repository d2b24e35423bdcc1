//! Structures of kernel streaming as bytes: those that `kernel_streaming` writes are those of the
//! structures with the layouts of the headers.

use std::mem::transmute;

use ks_allocator::com::{
    KS_COMPRESSION, KS_FRAMING_ITEM, KS_FRAMING_RANGE, KS_FRAMING_RANGE_WEIGHTED,
    KS_TYPE_DONT_CARE, KSALLOCATOR_FRAMING, KSALLOCATOR_FRAMING_EX, KSMEMORY_TYPE_DEVICE_UNKNOWN,
    KSMEMORY_TYPE_KERNEL_NONPAGED, KSMEMORY_TYPE_KERNEL_PAGED, KSMEMORY_TYPE_SYSTEM,
    KSMEMORY_TYPE_USER,
};
use ks_allocator::kernel_streaming::{
    AllocatorFraming, AllocatorFramingEx, Compression, FramingItem, MemoryType,
};

fn range(min: u32, max: u32, step: u32) -> KS_FRAMING_RANGE {
    KS_FRAMING_RANGE {
        MinFrameSize: min,
        MaxFrameSize: max,
        Stepping: step,
    }
}

fn item() -> KS_FRAMING_ITEM {
    KS_FRAMING_ITEM {
        MemoryType: KSMEMORY_TYPE_USER,
        BusType: KSMEMORY_TYPE_KERNEL_PAGED,
        MemoryFlags: 8,
        BusFlags: 2,
        Flags: 3,
        Frames: 4,
        FileAlignment: 7,
        MemoryTypeWeight: 6,
        PhysicalRange: range(8, 19, 10),
        FramingRange: KS_FRAMING_RANGE_WEIGHTED {
            Range: range(11, 24, 13),
            InPlaceWeight: 14,
            NotInPlaceWeight: 15,
        },
    }
}

#[test]
fn a_framing_with_an_item_has_the_bytes_of_the_structure() {
    let structure = KSALLOCATOR_FRAMING_EX {
        CountItems: 1,
        PinFlags: 101,
        OutputCompression: KS_COMPRESSION {
            RatioNumerator: 102,
            RatioDenominator: 103,
            RatioConstantMargin: 104,
        },
        PinWeight: 105,
        FramingItem: [item()],
    };
    // SAFETY: a structure of 112 bytes without padding.
    let bytes: [u8; 112] = unsafe { transmute(structure) };
    let framing = AllocatorFramingEx {
        pin_flags: 101,
        output_compression: Compression {
            numerator: 102,
            denominator: 103,
            margin: 104,
        },
        pin_weight: 105,
        items: vec![FramingItem::from(item())],
    };
    assert_eq!(framing.to_bytes(), bytes);
    assert_eq!(KS_FRAMING_ITEM::from(framing.items[0]), item());
}

#[test]
fn the_older_framing_has_the_bytes_of_the_structure() {
    let structure = KSALLOCATOR_FRAMING {
        OptionsFlags: 2,
        PoolType: 1,
        Frames: 3,
        FrameSize: 4,
        FileAlignment: 7,
        Reserved: 6,
    };
    // SAFETY: a structure of 24 bytes without padding.
    let bytes: [u8; 24] = unsafe { transmute(structure) };
    let framing = AllocatorFraming::from(structure);
    assert_eq!(framing.to_bytes(), bytes);
    assert_eq!(KSALLOCATOR_FRAMING::from(framing), structure);
}

#[test]
fn memory_types_are_the_guids_of_the_headers() {
    for (memory_type, guid) in [
        (MemoryType::ANY, KS_TYPE_DONT_CARE),
        (MemoryType::SYSTEM, KSMEMORY_TYPE_SYSTEM),
        (MemoryType::USER, KSMEMORY_TYPE_USER),
        (MemoryType::KERNEL_PAGED, KSMEMORY_TYPE_KERNEL_PAGED),
        (MemoryType::KERNEL_NONPAGED, KSMEMORY_TYPE_KERNEL_NONPAGED),
        (MemoryType::DEVICE_UNKNOWN, KSMEMORY_TYPE_DEVICE_UNKNOWN),
    ] {
        assert_eq!(memory_type.0, guid.to_u128());
    }
}
