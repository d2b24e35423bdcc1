//! Tests of each documented rule, and of bytes that are anything.

use proptest::prelude::*;

use super::*;
use crate::negotiation::{Requirements, negotiate, negotiate_alternatives};

const REFERENCE: SizeRange = SizeRange {
    min: 100,
    max: 200,
    step: 20,
};

fn item() -> FramingItem {
    FramingItem {
        memory_type: MemoryType::USER,
        frames: 5,
        alignment_or_pitch: 15,
        physical_range: REFERENCE,
        ..FramingItem::default()
    }
}

/// Negotiates an item with a party that says how large a frame is, and describes the result.
fn outcome(item: FramingItem) -> String {
    let requirements = match item.requirements("pin") {
        Ok(requirements) => requirements,
        Err(error) => return error.to_string(),
    };
    let size = Requirements::new("other").sizes(crate::Sizes::at_least(110));
    match negotiate(&[requirements, size]) {
        Ok(agreement) => {
            let framing = agreement.framing();
            format!(
                "{} of {} bytes at {}, {}, {:?}, {} unmet",
                framing.frames,
                framing.frame_size,
                framing.alignment,
                agreement.mode(),
                agreement.allocator(),
                agreement.unmet_wishes().len()
            )
        }
        Err(conflict) => conflict.to_string(),
    }
}

#[test]
fn fields_become_requirements() {
    let flags = |flags: RequirementFlags| flags.bits();
    let table: [(FramingItem, &str); 17] = [
        (item(), "5 of 120 bytes at 16, user, None, 0 unmet"),
        (
            FramingItem {
                memory_type: MemoryType::KERNEL_PAGED,
                ..item()
            },
            "5 of 120 bytes at 16, kernel, None, 0 unmet",
        ),
        (
            FramingItem {
                memory_type: MemoryType::KERNEL_NONPAGED,
                ..item()
            },
            "5 of 120 bytes at 16, kernel, None, 0 unmet",
        ),
        (
            FramingItem {
                memory_type: MemoryType::SYSTEM,
                ..item()
            },
            "5 of 120 bytes at 16, user, None, 0 unmet",
        ),
        (
            FramingItem {
                memory_type: MemoryType::DEVICE_UNKNOWN,
                ..item()
            },
            "a pool has no device memory of unknown kind",
        ),
        (
            FramingItem {
                memory_type: MemoryType(0xAB),
                ..item()
            },
            "a pool has no memory of type 00000000-0000-0000-0000-0000000000AB",
        ),
        (
            FramingItem {
                memory_type: MemoryType::DEVICE_UNKNOWN,
                flags: flags(RequirementFlags::PREFERENCES_ONLY),
                ..item()
            },
            "5 of 120 bytes at 16, user, None, 1 unmet",
        ),
        // No number is required: one frame, which the source fills.
        (
            FramingItem {
                frames: 0,
                ..item()
            },
            "1 of 120 bytes at 16, user, None, 0 unmet",
        ),
        (
            FramingItem {
                frames: u32::MAX,
                ..item()
            },
            "1 of 120 bytes at 16, user, None, 0 unmet",
        ),
        (
            FramingItem {
                alignment_or_pitch: 0,
                ..item()
            },
            "5 of 120 bytes at 1, user, None, 0 unmet",
        ),
        (
            FramingItem {
                alignment_or_pitch: 2,
                ..item()
            },
            "an alignment mask of 0x2 is not a power of two less one",
        ),
        (
            FramingItem {
                alignment_or_pitch: 0x1_FFFF,
                ..item()
            },
            "`pin` needs an alignment of 131,072 bytes: the least common multiple is 131,072, and \
             the maximum is 65,536",
        ),
        (
            FramingItem {
                framing_range: WeightedRange {
                    range: SizeRange {
                        min: 160,
                        max: 180,
                        step: 1,
                    },
                    // Unsupported.
                    in_place_weight: 7,
                    not_in_place_weight: 8,
                },
                ..item()
            },
            "5 of 160 bytes at 16, user, None, 0 unmet",
        ),
        (
            FramingItem {
                framing_range: WeightedRange {
                    range: SizeRange {
                        min: 201,
                        max: 300,
                        step: 1,
                    },
                    ..WeightedRange::default()
                },
                ..item()
            },
            "5 of 120 bytes at 16, user, None, 1 unmet",
        ),
        (
            FramingItem {
                flags: flags(RequirementFlags::MUST_ALLOCATE),
                ..item()
            },
            "5 of 120 bytes at 16, user, Some(\"pin\"), 0 unmet",
        ),
        (
            FramingItem {
                memory_flags: flags(RequirementFlags::MUST_ALLOCATE),
                ..item()
            },
            "5 of 120 bytes at 16, user, Some(\"pin\"), 0 unmet",
        ),
        // All is a wish, and two go together no longer: the sizes with those of the other party.
        (
            FramingItem {
                flags: flags(RequirementFlags::PREFERENCES_ONLY),
                physical_range: SizeRange {
                    min: 1,
                    max: 2,
                    step: 1,
                },
                ..item()
            },
            "5 of 110 bytes at 16, user, None, 1 unmet",
        ),
    ];
    for (item, expected) in table {
        assert_eq!(outcome(item), expected, "{item:?}");
    }
}

#[test]
fn ranges_follow_the_rules_of_steps() {
    let text = |min, max, step| match (SizeRange { min, max, step }).sizes() {
        Ok(Some(sizes)) => sizes.to_string(),
        Ok(None) => "none".to_owned(),
        Err(error) => error.to_string(),
    };
    let table = [
        ((0, 0, 0), "none"),
        ((0, 0, 1), "none"),
        ((0, 0, 2), "none"),
        (
            (0, 1, 2),
            "steps of 2 bytes are larger than the range from 0 to 1",
        ),
        ((8, 8, 0), "a frame size of 8 bytes"),
        ((8, 8, 1), "a frame size of 8 bytes"),
        (
            (8, 8, 2),
            "steps of 2 bytes are larger than the range from 8 to 8",
        ),
        ((8, 7, 0), "frame sizes from 8 to 7 bytes are none"),
        ((8, 0, 0), "frame sizes from 8 to 0 bytes are none"),
        (
            (8, 20, 12),
            "a frame size from 8 to 20 bytes in steps of 12",
        ),
        (
            (8, 20, 13),
            "steps of 13 bytes are larger than the range from 8 to 20",
        ),
        ((8, u32::MAX, 0), "a frame size of at least 8 bytes"),
        (
            (0, u32::MAX, u32::MAX),
            "a frame size of at least 0 bytes in steps of 4,294,967,295",
        ),
        (
            (1, u32::MAX, u32::MAX),
            "steps of 4294967295 bytes are larger than the range from 1 to \
          4294967295",
        ),
    ];
    for ((min, max, step), expected) in table {
        assert_eq!(text(min, max, step), expected);
    }
}

#[test]
fn a_maximum_alone_does_not_say_how_large_a_frame_is() {
    let physical_range = SizeRange {
        min: 0,
        max: u32::MAX,
        step: 1,
    };
    let item = FramingItem {
        physical_range,
        ..FramingItem::default()
    };
    let error = negotiate(&[item.requirements("pin").unwrap()]).unwrap_err();
    assert_eq!(error.to_string(), "no party says how large a frame is");
}

#[test]
fn a_pitch_is_a_stride() {
    let flags = FramingFlags::TWO_D_BUFFER_REQUIRED.bits();
    let camera = Requirements::new("camera")
        .picture(100, 2)
        .formats([crate::VideoFormat::I420]);
    let strides = |alignment_or_pitch| {
        let item = FramingItem {
            flags,
            alignment_or_pitch,
            ..FramingItem::default()
        };
        let pin = item.requirements("pin").unwrap();
        let agreement = negotiate(&[pin, camera.clone()]);
        let layout = agreement.map(|agreement| *agreement.video_layout().unwrap());
        layout.map(|layout| {
            layout
                .planes()
                .iter()
                .map(|plane| plane.stride)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(strides(0), Ok(vec![100, 50, 50]));
    assert_eq!(strides(110), Ok(vec![110, 55, 55]));
    assert_eq!(
        strides(98).unwrap_err().to_string(),
        "`camera` needs a picture of 100 x 2 pixels and the format I420, `pin` needs a stride of \
         plane 0 that is 98 bytes: a stride would have at least 100 and at most 98 bytes"
    );
}

#[test]
fn preferences_that_no_pool_meets_are_unmet_wishes() {
    let flags = RequirementFlags::PREFERENCES_ONLY.bits();
    let reasons = |requirements: Requirements| {
        let size = Requirements::new("other").sizes(crate::Sizes::at_least(110));
        let agreement = negotiate(&[requirements, size]).unwrap();
        let unmet = agreement.unmet_wishes().iter();
        let texts = unmet.map(|wish| wish.conflict.to_string());
        texts.collect::<Vec<_>>()
    };
    let item = FramingItem {
        memory_type: MemoryType::DEVICE_UNKNOWN,
        flags: flags | FramingFlags::TWO_D_BUFFER_REQUIRED.bits(),
        alignment_or_pitch: u32::from_ne_bytes((-1_920_i32).to_ne_bytes()),
        ..item()
    };
    assert_eq!(
        reasons(item.requirements("pin").unwrap()),
        [
            "`pin` wants a pitch of -1920 bytes, with rows from the bottom up: no pool has this",
            "`pin` wants device memory of unknown kind: no pool has this"
        ]
    );
    let framing = AllocatorFraming {
        flags,
        ..AllocatorFraming::default()
    };
    assert_eq!(
        reasons(framing.requirements("pin").unwrap()),
        ["`pin` wants memory of its device: no pool has this"]
    );
}

#[test]
fn frames_that_must_stay_as_they_are_do_not_go_with_changes_in_place() {
    let pin = |flags: RequirementFlags, name: &str| {
        let item = FramingItem {
            flags: flags.bits(),
            ..item()
        };
        item.requirements(name).unwrap()
    };
    let decoder = pin(RequirementFlags::FRAME_INTEGRITY, "decoder");
    let filter = pin(RequirementFlags::INPLACE_MODIFIER, "filter");
    assert_eq!(
        negotiate(&[decoder.clone(), filter])
            .unwrap_err()
            .to_string(),
        "`decoder` needs frames that no later party modifies, `filter` needs to modify frames in \
         place: they have the same frames"
    );
    let wishes = RequirementFlags::INPLACE_MODIFIER | RequirementFlags::PREFERENCES_ONLY;
    let agreement = negotiate(&[decoder, pin(wishes, "filter")]).unwrap();
    assert_eq!(agreement.unmet_wishes().len(), 1);
}

#[test]
fn the_older_structure_becomes_requirements() {
    let framing = AllocatorFraming {
        flags: RequirementFlags::SYSTEM_MEMORY.bits(),
        pool_type: 512,
        frames: 2,
        frame_size: 64,
        alignment_or_pitch: 0xFFF,
        reserved: 9,
    };
    assert_eq!(
        AllocatorFraming::from_bytes(&framing.to_bytes()),
        Ok(framing)
    );
    let sender = Requirements::new("sender").prefix(42).holds(2);
    assert_eq!(
        negotiate(&[framing.requirements("pin").unwrap(), sender])
            .unwrap_err()
            .to_string(),
        "`pin` needs at most 2 frames, `sender` needs 2 frames for itself: that is 3 frames with \
         the one that the source fills"
    );
    let nothing = AllocatorFraming {
        flags: framing.flags,
        ..AllocatorFraming::default()
    };
    assert_eq!(nothing.requirements("pin"), Ok(Requirements::new("pin")));
    let device = AllocatorFraming {
        flags: 0,
        ..framing
    };
    assert_eq!(
        device.requirements("pin"),
        Err(KsFramingError::DeviceMemory)
    );
    let flags = RequirementFlags::PREFERENCES_ONLY.bits();
    assert!(
        AllocatorFraming { flags, ..framing }
            .requirements("pin")
            .is_ok()
    );
    let mask = AllocatorFraming {
        alignment_or_pitch: 4096,
        ..framing
    };
    let error = KsFramingError::AlignmentMask { mask: 4096 };
    assert_eq!(AllocatorFraming::from_bytes(&mask.to_bytes()), Err(error));
    for bytes in [0, 23, 25] {
        let error = KsFramingError::Length {
            bytes,
            expected: 24,
        };
        assert_eq!(AllocatorFraming::from_bytes(&vec![0; bytes]), Err(error));
    }
}

#[test]
fn an_agreement_becomes_a_framing_if_its_numbers_fit() {
    let framing = |alignment, size| {
        let pin = Requirements::new("pin").alignment(alignment);
        let pin = pin.sizes(crate::Sizes::exactly(size));
        AllocatorFraming::of_agreement(&negotiate(&[pin]).unwrap())
    };
    let created = framing(16, 100).unwrap();
    assert_eq!(
        AllocatorFraming::from_bytes(&created.to_bytes()),
        Ok(created)
    );
    assert!(created.requirements("pin").is_ok());
    assert_eq!(framing(48, 100), None);
    #[cfg(target_pointer_width = "64")]
    assert_eq!(framing(16, 1 << 32), None);
}

#[test]
fn the_fields_lie_where_the_headers_have_them() {
    let numbers = |bytes: &[u8]| {
        let words = bytes.chunks_exact(4);
        words
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect::<Vec<_>>()
    };
    let framing = AllocatorFramingEx {
        pin_flags: 101,
        output_compression: Compression {
            numerator: 102,
            denominator: 103,
            margin: 104,
        },
        pin_weight: 105,
        items: vec![FramingItem {
            memory_type: MemoryType::SYSTEM,
            bus_type: 0x00010203_0405_0607_0809_0A0B0C0D0E0F,
            memory_flags: 1,
            bus_flags: 2,
            flags: 3,
            frames: 4,
            alignment_or_pitch: 7,
            weight: 6,
            physical_range: SizeRange {
                min: 8,
                max: 19,
                step: 10,
            },
            framing_range: WeightedRange {
                range: SizeRange {
                    min: 11,
                    max: 24,
                    step: 13,
                },
                in_place_weight: 14,
                not_in_place_weight: 15,
            },
        }],
    };
    let bytes = framing.to_bytes();
    assert_eq!(numbers(&bytes[..24]), [1, 101, 102, 103, 104, 105]);
    let system = [0x38, 0xB6, 0x1B, 0x09, 0x3F, 0x60, 0xD1, 0x11];
    assert_eq!(bytes[24..32], system);
    assert_eq!(
        bytes[32..40],
        [0xB0, 0x67, 0x00, 0xA0, 0xC9, 0x06, 0x28, 0x02]
    );
    assert_eq!(bytes[40..48], [3, 2, 1, 0, 5, 4, 7, 6]);
    assert_eq!(bytes[48..56], [8, 9, 10, 11, 12, 13, 14, 15]);
    let item = [1, 2, 3, 4, 7, 6, 8, 19, 10, 11, 24, 13, 14, 15];
    assert_eq!(numbers(&bytes[56..]), item);
    assert_eq!(AllocatorFramingEx::from_bytes(&bytes), Ok(framing));
}

#[test]
fn lengths_that_do_not_fit_the_number_of_items_are_errors() {
    let text = |bytes: &[u8]| {
        AllocatorFramingEx::from_bytes(bytes)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text(&[]),
        "a framing has at least 24 bytes, and these are 0"
    );
    let mut bytes = AllocatorFramingEx::new([item()]).to_bytes();
    assert_eq!(
        text(&bytes[..111]),
        "a framing with a `CountItems` of 1 has 112 bytes, and these are 111"
    );
    bytes[..4].fill(0xFF);
    assert_eq!(
        text(&bytes),
        "a framing with a `CountItems` of 4294967295 has 377957121984 bytes, and these are 112"
    );
    bytes[..4].fill(0);
    assert_eq!(text(&bytes[..24]), "a framing lists no items");
    let mut framing = AllocatorFramingEx::new([item()]);
    framing.output_compression.denominator = 0;
    assert_eq!(
        text(&framing.to_bytes()),
        "a compression of 1 / 0 is not a ratio"
    );
    framing.output_compression = Compression::UNKNOWN;
    assert!(AllocatorFramingEx::from_bytes(&framing.to_bytes()).is_ok());
}

#[test]
fn items_are_alternatives_in_the_order_of_their_weights() {
    let with = |memory_type, weight, frames| FramingItem {
        memory_type,
        weight,
        frames,
        ..item()
    };
    let framing = AllocatorFramingEx::new([
        with(MemoryType::USER, 1, 1),
        with(MemoryType::DEVICE_UNKNOWN, 9, 2),
        with(MemoryType::KERNEL_PAGED, 5, 3),
        with(MemoryType::ANY, 5, 4),
    ]);
    let alternatives = framing.alternatives("pin").unwrap();
    let frames = alternatives.iter().map(|alternative| {
        negotiate(std::slice::from_ref(alternative))
            .unwrap()
            .framing()
            .frames
    });
    assert_eq!(frames.collect::<Vec<_>>(), [3, 4, 1]);
    let sink = [Requirements::new("sink").holds(3)];
    let choice = negotiate_alternatives(&[&alternatives[..], &sink]).unwrap();
    assert_eq!(choice.positions, [1, 0]);
}

#[test]
fn compression_does_not_overflow() {
    let largest = Compression {
        numerator: u32::MAX,
        denominator: 1,
        margin: u32::MAX,
    };
    assert_eq!(largest.output_size(usize::MAX), None);
    assert_eq!(largest.output_size(0), Some(0xFFFF_FFFF));
    let third = Compression {
        numerator: 1,
        denominator: 3,
        margin: 0,
    };
    assert_eq!(
        (third.output_size(0), third.output_size(1)),
        (Some(0), Some(1))
    );
    assert_eq!(Compression::NONE.output_size(usize::MAX), Some(usize::MAX));
}

/// Mostly numbers that have a meaning.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        3 => Just(0_u32),
        3 => 0..20_u32,
        2 => (0..32_u32).prop_map(|bits| (1 << bits) - 1),
        1 => Just(u32::MAX),
        1 => any::<u32>(),
    ]
}

fn range() -> impl Strategy<Value = SizeRange> {
    (number(), number(), number()).prop_map(|(min, max, step)| SizeRange { min, max, step })
}

fn any_item() -> impl Strategy<Value = FramingItem> {
    let types = [
        MemoryType::ANY,
        MemoryType::SYSTEM,
        MemoryType::USER,
        MemoryType::KERNEL_PAGED,
        MemoryType::KERNEL_NONPAGED,
        MemoryType::DEVICE_UNKNOWN,
        MemoryType(5),
    ];
    let numbers = prop::collection::vec(number(), 8);
    (
        prop::sample::select(types.to_vec()),
        any::<u128>(),
        numbers,
        range(),
        range(),
    )
        .prop_map(
            |(memory_type, bus_type, numbers, physical_range, range)| FramingItem {
                memory_type,
                bus_type,
                memory_flags: numbers[0],
                bus_flags: numbers[1],
                flags: numbers[2],
                frames: numbers[3],
                alignment_or_pitch: numbers[4],
                weight: numbers[5],
                physical_range,
                framing_range: WeightedRange {
                    range,
                    in_place_weight: numbers[6],
                    not_in_place_weight: numbers[7],
                },
            },
        )
}

fn any_framing() -> impl Strategy<Value = AllocatorFramingEx> {
    let items = prop::collection::vec(any_item(), 0..4);
    (prop::collection::vec(number(), 5), items).prop_map(|(numbers, items)| AllocatorFramingEx {
        pin_flags: numbers[0],
        output_compression: Compression {
            numerator: numbers[1],
            denominator: numbers[2],
            margin: numbers[3],
        },
        pin_weight: numbers[4],
        items,
    })
}

proptest! {
    #[test]
    fn a_framing_that_is_written_is_read_back(framing in any_framing()) {
        let bytes = framing.to_bytes();
        prop_assert_eq!(bytes.len(), 24 + 88 * framing.items.len());
        match AllocatorFramingEx::from_bytes(&bytes) {
            Ok(read) => prop_assert_eq!(read, framing),
            // A field is not defined. The items say the same.
            Err(KsFramingError::Item { number, error }) => {
                prop_assert_eq!(framing.items[number].requirements("pin"), Err(*error));
            }
            Err(KsFramingError::NoItems) => prop_assert!(framing.items.is_empty()),
            Err(KsFramingError::Compression { .. }) => {
                prop_assert_eq!(framing.output_compression.denominator, 0);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn items_that_are_read_have_requirements_or_no_memory(framing in any_framing()) {
        if let Ok(read) = AllocatorFramingEx::from_bytes(&framing.to_bytes()) {
            for item in &read.items {
                match item.requirements("pin") {
                    Ok(requirements) => drop(negotiate(&[requirements])),
                    Err(KsFramingError::Memory(_) | KsFramingError::BottomUp { .. }) => {}
                    Err(other) => prop_assert!(false, "{other}"),
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_read_are_written_as_they_were(
        bytes in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..300),
        items in 0..3_u8,
    ) {
        let mut bytes = bytes;
        if let Some(count) = bytes.first_mut() {
            *count = items;
        }
        if let Ok(framing) = AllocatorFraming::from_bytes(&bytes) {
            prop_assert_eq!(framing.to_bytes(), &bytes[..]);
        }
        bytes.resize(24 + 88 * usize::from(items), 0);
        bytes[1..4].fill(0);
        if let Ok(framing) = AllocatorFramingEx::from_bytes(&bytes) {
            prop_assert_eq!(framing.to_bytes(), bytes);
        }
    }
}
