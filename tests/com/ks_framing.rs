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
    AllocatorFraming, AllocatorFramingEx, Compression, FramingItem, KsFramingError, MemoryType,
};

pub(crate) fn range(min: u32, max: u32, step: u32) -> KS_FRAMING_RANGE {
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

fn framing_of_one_item() -> KSALLOCATOR_FRAMING_EX {
    KSALLOCATOR_FRAMING_EX {
        CountItems: 1,
        PinFlags: 101,
        OutputCompression: KS_COMPRESSION {
            RatioNumerator: 1,
            RatioDenominator: 3,
            RatioConstantMargin: 104,
        },
        PinWeight: 105,
        FramingItem: [item()],
    }
}

#[test]
fn a_framing_with_one_item_converts_to_the_structure_and_back() {
    let structure = framing_of_one_item();
    let framing = AllocatorFramingEx::try_from(structure).unwrap();
    assert_eq!((framing.pin_flags, framing.pin_weight), (101, 105));
    assert_eq!(framing.output_compression.output_size(300), Some(204));
    assert_eq!(framing.items, [FramingItem::from(item())]);
    assert_eq!(KSALLOCATOR_FRAMING_EX::try_from(&framing), Ok(structure));
}

#[test]
fn a_structure_is_checked_as_its_bytes_are() {
    let structure = framing_of_one_item();
    for (items, expected) in [(0, 24), (2, 200), (u32::MAX, 24 + 88 * u64::from(u32::MAX))] {
        let structure = KSALLOCATOR_FRAMING_EX {
            CountItems: items,
            ..structure
        };
        assert_eq!(
            AllocatorFramingEx::try_from(structure),
            Err(KsFramingError::ItemCount {
                items,
                bytes: 112,
                expected
            })
        );
    }
    let mut mask = structure;
    mask.FramingItem[0].FileAlignment = 6;
    let error = AllocatorFramingEx::try_from(mask).unwrap_err();
    assert!(matches!(error, KsFramingError::Item { number: 0, .. }));
    let mut compression = structure;
    compression.OutputCompression.RatioDenominator = 0;
    assert_eq!(
        AllocatorFramingEx::try_from(compression),
        Err(KsFramingError::Compression { numerator: 1 })
    );
}

#[test]
fn only_a_framing_with_one_item_converts_to_the_structure() {
    let framing = |items| AllocatorFramingEx::new(vec![FramingItem::from(item()); items]);
    assert_eq!(
        KSALLOCATOR_FRAMING_EX::try_from(&framing(0)),
        Err(KsFramingError::NoItems)
    );
    assert_eq!(
        KSALLOCATOR_FRAMING_EX::try_from(&framing(3)),
        Err(KsFramingError::ItemCount {
            items: 3,
            bytes: 112,
            expected: 288
        })
    );
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
