//! Descriptions of pipes as requirements, and what is agreed on with them.

use std::slice;
use std::thread;

use ks_allocator::com::{
    ALLOCATOR_PROPERTIES_EX, ComAllocator, KSMEMORY_TYPE_DEVICE_UNKNOWN,
    KSMEMORY_TYPE_KERNEL_NONPAGED, KSMEMORY_TYPE_USER, KsPipeError,
};
use ks_allocator::kernel_streaming::{FramingFlags, KsFramingError, MemoryType, RequirementFlags};
use ks_allocator::{
    AllocatorMode, AllocatorState, Framing, KsAllocator as _, ReframeError, Requirements, Sizes,
    negotiate,
};
use windows_core::GUID;

use crate::client::Allocator;
use crate::ks_framing::range;
use crate::vtables::*;

fn pipe() -> Requirements {
    Requirements::new("pipe")
}

#[test]
fn each_field_becomes_a_requirement() {
    let none = ALLOCATOR_PROPERTIES_EX::default();
    let flags = |flags: RequirementFlags| flags.bits();
    for (description, expected) in [
        (none, pipe()),
        (
            ALLOCATOR_PROPERTIES_EX {
                cBuffers: 3,
                ..none
            },
            pipe().min_frames(3),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                cbBuffer: 100,
                ..none
            },
            pipe().sizes(Sizes::at_least(100)),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                cbAlign: 48,
                ..none
            },
            pipe().alignment(48),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                cbPrefix: 16,
                ..none
            },
            pipe().prefix(16),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                MemoryType: KSMEMORY_TYPE_USER,
                LogicalMemoryType: KERNEL_PAGED, // no effect beside the other
                ..none
            },
            pipe().modes([AllocatorMode::User]),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                MemoryType: KSMEMORY_TYPE_KERNEL_NONPAGED,
                ..none
            },
            pipe().modes([AllocatorMode::Kernel]),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                PhysicalRange: range(100, 500, 100),
                ..none
            },
            pipe().sizes(Sizes::between(100, 500).in_steps_of(100)),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                Flags: flags(RequirementFlags::INPLACE_MODIFIER),
                ..none
            },
            pipe().modifies(),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                Flags: flags(RequirementFlags::MUST_ALLOCATE),
                ..none
            },
            pipe().allocates(),
        ),
        (
            // The flag is about a pitch, and a pipe has none.
            ALLOCATOR_PROPERTIES_EX {
                Flags: FramingFlags::all().bits(),
                cbAlign: 64,
                ..none
            },
            pipe().alignment(64),
        ),
    ] {
        let requirements = description.requirements("pipe").unwrap();
        assert_eq!(requirements, expected, "{description:?}");
    }
}

#[test]
fn a_logical_memory_type_is_used_if_there_is_no_other() {
    let requirements = |memory_type| {
        let description = ALLOCATOR_PROPERTIES_EX {
            LogicalMemoryType: memory_type,
            ..ALLOCATOR_PROPERTIES_EX::default()
        };
        description.requirements("pipe")
    };
    for (memory_type, modes) in [
        (0, None),
        (1, Some(AllocatorMode::Kernel)),
        (2, Some(AllocatorMode::Kernel)),
        (5, Some(AllocatorMode::User)),
        (6, None),
    ] {
        let expected = modes.map_or(pipe(), |mode| pipe().modes([mode]));
        assert_eq!(requirements(memory_type), Ok(expected), "{memory_type}");
    }
    for memory_type in [3, 4] {
        let error = KsFramingError::Memory(MemoryType::DEVICE_UNKNOWN);
        assert_eq!(requirements(memory_type), Err(error.into()));
    }
    for value in [-1, 7, i32::MIN, i32::MAX] {
        let error = requirements(value).unwrap_err();
        assert_eq!(error, KsPipeError::LogicalMemoryType { value });
        assert!(error.to_string().contains(&format!(" {value}, ")));
    }
}

#[test]
fn descriptions_that_cannot_be_met_are_errors() {
    let none = ALLOCATOR_PROPERTIES_EX::default();
    let negative = |field, value| KsPipeError::Negative { field, value };
    for (description, expected) in [
        (
            ALLOCATOR_PROPERTIES_EX {
                cBuffers: -1,
                ..none
            },
            negative("cBuffers", -1),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                cbBuffer: i32::MIN,
                ..none
            },
            negative("cbBuffer", i32::MIN),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                cbAlign: -64,
                ..none
            },
            negative("cbAlign", -64),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                cbPrefix: -2,
                ..none
            },
            negative("cbPrefix", -2),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                MemoryType: KSMEMORY_TYPE_DEVICE_UNKNOWN,
                ..none
            },
            KsFramingError::Memory(MemoryType::DEVICE_UNKNOWN).into(),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                MemoryType: GUID::from_u128(1),
                ..none
            },
            KsFramingError::Memory(MemoryType(1)).into(),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                PhysicalRange: range(2, 1, 1),
                ..none
            },
            KsFramingError::EmptyRange { min: 2, max: 1 }.into(),
        ),
        (
            ALLOCATOR_PROPERTIES_EX {
                PhysicalRange: range(100, 200, 101),
                ..none
            },
            KsFramingError::Step {
                min: 100,
                max: 200,
                step: 101,
            }
            .into(),
        ),
    ] {
        assert_eq!(description.requirements("pipe"), Err(expected));
    }
}

#[test]
fn preferences_are_met_only_if_they_go_together_with_what_others_require() {
    let description = ALLOCATOR_PROPERTIES_EX {
        cBuffers: 5,
        cbBuffer: 1000,
        cbAlign: 64,
        cbPrefix: 32,
        MemoryType: KSMEMORY_TYPE_DEVICE_UNKNOWN, // no error
        Flags: RequirementFlags::PREFERENCES_ONLY.bits(),
        PhysicalRange: range(1000, 2000, 1),
        ..ALLOCATOR_PROPERTIES_EX::default()
    };
    let preferences = description.requirements("pipe").unwrap();
    let agreement = negotiate(slice::from_ref(&preferences)).unwrap();
    let expected = Framing::new(5, 1000).alignment(64).prefix(64);
    assert_eq!(agreement.framing(), expected);

    let small = Requirements::new("small")
        .sizes(Sizes::exactly(100))
        .max_frames(2);
    let agreement = negotiate(&[preferences, small]).unwrap();
    let expected = Framing::new(1, 100).alignment(64).prefix(64);
    assert_eq!(agreement.framing(), expected);
    // Number and size of frames, physical range, memory of a device.
    assert_eq!(agreement.unmet_wishes().len(), 4);
}

#[test]
fn the_agreed_size_is_reported_rounded_up_as_after_set_properties() {
    let allocator = Allocator::new();
    let agreed = pipe().sizes(Sizes::exactly(100)).alignment(64).prefix(16);
    let agreement = negotiate(&[agreed]).unwrap();
    assert_eq!(agreement.framing().frame_size, 100);
    let rust = allocator.rust();
    assert_eq!(rust.commit_agreement(&agreement).unwrap().frame_size, 128);
    assert_eq!(allocator.properties(), properties(1, 128, 64, 64));
    let sample = allocator.sample();
    assert_eq!((sample.size(), sample.actual_length()), (128, 128));
    drop(sample);
    assert_eq!(rust.acquire().unwrap().len(), 100);
}

#[test]
fn a_description_without_a_size_or_with_a_large_alignment_is_a_conflict() {
    let none = ALLOCATOR_PROPERTIES_EX::default();
    let large = ALLOCATOR_PROPERTIES_EX {
        cbBuffer: 64,
        cbAlign: 0x0002_0000,
        ..none
    };
    for (description, expected) in [(none, "how large a frame is"), (large, "131,072")] {
        let requirements = description.requirements("pipe").unwrap();
        let error = negotiate(&[requirements]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_description_of_more_memory_than_there_is_commits_nothing() {
    let allocator = Allocator::new();
    allocator.ks.set_properties_ex(&PropertiesEx {
        properties: properties(1 << 20, i32::MAX, 0, 0),
        ..PropertiesEx::default()
    });
    let client = allocator.rust().pipe().requirements("client").unwrap();
    let agreement = negotiate(&[client]).unwrap();
    let error = allocator.rust().commit_agreement(&agreement).unwrap_err();
    assert!(matches!(error, ReframeError::Commit(_)), "{error:?}");
    assert_eq!(allocator.state(), AllocatorState::Uncommitted);
    let failure = allocator.get_buffer(NOWAIT).unwrap_err();
    assert_eq!(failure, VFW_E_NOT_COMMITTED);
}

/// The description that a client gives by `KsSetProperties`.
fn description(size: i32) -> PropertiesEx {
    PropertiesEx {
        properties: properties(2, size, 64, 16),
        state: 105,
        input: PipeTermination {
            physical_range: [1, 2, 3],
            ..PipeTermination::default()
        },
        physical_range: [0, 8192, 1024],
        prev_segment: 0x0001_0001,
        next_segments: usize::MAX,
        ..PropertiesEx::default()
    }
}

/// Agrees on the frames with an encoder, and commits or re-frames.
fn agree(allocator: &ComAllocator) -> Framing {
    let client = allocator.pipe().requirements("client").unwrap();
    let encoder = Requirements::new("encoder").holds(3);
    let agreement = negotiate(&[client, encoder]).unwrap();
    allocator.commit_agreement(&agreement).unwrap()
}

#[test]
fn a_description_of_a_client_is_agreed_on_and_committed() {
    let allocator = Allocator::new();
    // A request that no framing can express is replaced.
    let request = properties(-1, 64, 1, 0);
    assert_eq!(allocator.set_properties(request).0, S_OK);
    assert_eq!(allocator.properties(), request);
    let description = description(4000);
    allocator.ks.set_properties_ex(&description);
    assert_eq!(
        allocator.properties(),
        request,
        "the description has no effect by itself"
    );

    let framing = agree(&allocator.rust());
    // Of 4 x 1,024 bytes, and with a prefix that is a multiple of the alignment.
    assert_eq!(framing, Framing::new(4, 4096).alignment(64).prefix(64));
    assert_eq!(allocator.properties(), properties(4, 4096, 64, 64));
    assert_eq!(allocator.ks.properties_ex(), description);
    assert_eq!(allocator.state(), AllocatorState::Committed);
    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(
        allocator.set_properties(properties(1, 64, 1, 0)).0,
        VFW_E_ALREADY_COMMITTED
    );
    assert_eq!(allocator.free_count(), 4);
    for sample in allocator.samples(4) {
        assert_eq!(sample.address() % 64, 0);
        assert_eq!(sample.size(), 4096);
    }
    let status = allocator.ks.status().framing;
    assert_eq!((status.frames, status.frame_size), (4, 4160));

    assert_eq!(allocator.decommit(), S_OK);
    assert_eq!(allocator.set_properties(properties(1, 64, 1, 0)).0, S_OK);
    assert_eq!(allocator.properties(), properties(1, 64, 1, 0));
}

#[test]
fn a_new_description_is_agreed_on_in_mid_stream() {
    let allocator = Allocator::new();
    let rust = allocator.rust();
    allocator.ks.set_properties_ex(&description(1000));
    assert_eq!(agree(&rust).frame_size, 1024);
    let old = allocator.samples(4);
    allocator.ks.set_properties_ex(&description(2000));
    assert_eq!(allocator.properties().size, 1024);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.get_buffer(0).unwrap().size());
        allocator.wait_for_waiters(1);
        assert_eq!(agree(&rust).frame_size, 2048);
        assert_eq!(waiter.join().unwrap(), 2048);
    });
    assert_eq!(allocator.properties(), properties(4, 2048, 64, 64));
    assert!(old.iter().all(|sample| sample.size() == 1024));
    assert!(allocator.samples(4).iter().all(|new| new.size() == 2048));
}

#[test]
fn the_memory_type_of_a_description_decides_the_mode() {
    if !cfg!(any(target_os = "linux", target_os = "android", windows)) {
        return;
    }
    let allocator = Allocator::new();
    let kernel = PropertiesEx {
        logical_memory_type: KERNEL_PAGED,
        ..description(1000)
    };
    allocator.ks.set_properties_ex(&kernel);
    agree(&allocator.rust());
    assert_eq!(allocator.ks.mode(), 1);
    assert!(!allocator.ks.handle().is_null());
    assert_eq!(allocator.sample().size(), 1024);
}

#[test]
fn a_description_that_conflicts_changes_nothing() {
    let allocator = Allocator::uncommitted(2, 64);
    allocator.ks.set_properties_ex(&description(9000));
    let client = allocator.rust().pipe().requirements("client").unwrap();
    assert_eq!(
        negotiate(&[client]).unwrap_err().to_string(),
        "`client` needs a frame size from 0 to 8,192 bytes in steps of 1,024 and a frame size of \
         at least 9,000 bytes: a frame would have at least 9,000 and at most 8,192 bytes"
    );
    assert_eq!(allocator.properties(), properties(2, 64, 1, 0));
    assert_eq!(allocator.state(), AllocatorState::Uncommitted);
}
