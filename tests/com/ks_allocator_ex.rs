//! `IKsAllocator` and `IKsAllocatorEx`: handle, mode, status, and the pipe's description.

use std::ffi::c_void;
#[cfg(unix)]
use std::os::fd::AsRawFd;
#[cfg(windows)]
use std::os::windows::io::AsRawHandle;
use std::ptr::{self, NonNull};
use std::sync::mpsc::{Sender, channel};

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};
use ks_allocator::com::{ComAllocator, KSALLOCATOR_FRAMING, KsDriver};
use ks_allocator::{KsAllocator, PoolAllocator};

use crate::client::{Allocator, AllocatorInState, STATES, check_in_each_state};
use crate::objects::Callback;
use crate::vtables::*;

const USER: i32 = 0;
const KERNEL: i32 = 1;

/// True if this system supports Kernel mode.
const HAS_KERNEL_MODE: bool = cfg!(any(target_os = "linux", target_os = "android", windows));

/// Returns a handle that the crate did not create and must not use.
fn foreign(number: usize) -> *mut c_void {
    ptr::without_provenance_mut(number)
}

#[test]
fn the_handle_is_null_until_one_is_stored() {
    let allocator = Allocator::new();
    assert!(allocator.ks.handle().is_null());
    for handle in [4, usize::MAX, 0x5000_0001, 0] {
        allocator.ks.set_handle(foreign(handle));
        assert_eq!(allocator.ks.handle(), foreign(handle));
    }
}

#[test]
fn a_handle_can_be_stored_in_every_state() {
    let call = |allocator: &Allocator| {
        allocator.ks.set_handle(foreign(12));
        allocator.ks.handle().addr()
    };
    check_in_each_state(
        call,
        [(12, Uncommitted), (12, Committed), (12, Decommitting)],
    );
}

#[test]
fn a_stored_handle_is_ignored_in_user_mode() {
    let allocator = Allocator::new();
    allocator.ks.set_handle(foreign(12));
    assert_eq!(allocator.set_properties(properties(1, 64, 1, 0)).0, S_OK);
    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(allocator.sample().size(), 64);
    assert_eq!(allocator.decommit(), S_OK);
    assert_eq!(allocator.ks.handle(), foreign(12));
}

#[test]
fn a_new_allocator_is_in_user_mode() {
    assert_eq!(Allocator::new().ks.mode(), USER);
}

#[test]
fn the_mode_can_change_while_uncommitted() {
    let allocator = Allocator::new();
    for mode in [USER, KERNEL, KERNEL, USER] {
        assert_eq!(allocator.ks.set_mode(mode), S_OK);
        assert_eq!(allocator.ks.mode(), mode);
    }
}

#[test]
fn setting_the_current_mode_succeeds_in_every_state() {
    check_in_each_state(
        |allocator| (allocator.ks.set_mode(USER), allocator.ks.mode()),
        [
            ((S_OK, USER), Uncommitted),
            ((S_OK, USER), Committed),
            ((S_OK, USER), Decommitting),
        ],
    );
}

#[test]
fn a_different_mode_is_refused_unless_uncommitted() {
    check_in_each_state(
        |allocator| (allocator.ks.set_mode(KERNEL), allocator.ks.mode()),
        [
            ((S_OK, KERNEL), Uncommitted),
            ((VFW_E_ALREADY_COMMITTED, USER), Committed),
            ((VFW_E_ALREADY_COMMITTED, USER), Decommitting),
        ],
    );
}

#[test]
fn an_unknown_mode_is_refused_and_changes_nothing() {
    for state in STATES {
        for mode in [2, -1, 256, 0x0100_0000, i32::MAX, i32::MIN] {
            let subject = AllocatorInState::new(state);
            let result = subject.allocator.ks.set_mode(mode);
            match state {
                Uncommitted => assert_eq!(result, E_INVALIDARG, "{mode}"),
                _ => assert!(result.is_failure(), "{mode}: {result:?}"),
            }
            assert_eq!(subject.allocator.ks.mode(), USER);
            assert_eq!(subject.allocator.state(), state);
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "Rust, unlike C++, does not allow calls with another result type"
)]
fn callers_of_the_void_prototype_can_set_the_mode() {
    let allocator = Allocator::uncommitted(1, 64);
    allocator.ks.set_mode_through_void_prototype(KERNEL);
    assert_eq!(allocator.ks.mode(), KERNEL);
    allocator.ks.set_mode_through_void_prototype(2);
    assert_eq!(allocator.ks.mode(), KERNEL);
    allocator.ks.set_mode_through_void_prototype(USER);
    assert_eq!(allocator.commit(), S_OK);
    allocator.ks.set_mode_through_void_prototype(KERNEL);
    assert_eq!(allocator.ks.mode(), USER);
}

#[test]
fn kernel_mode_has_a_kernel_object_or_fails() {
    let allocator = Allocator::uncommitted(2, 64);
    assert_eq!(allocator.ks.set_mode(KERNEL), S_OK);
    assert_eq!(allocator.set_properties(properties(1, 64, 1, 0)).0, S_OK);
    match allocator.commit() {
        S_OK => {
            assert!(!allocator.ks.handle().is_null());
            assert_eq!(allocator.sample().size(), 64);
        }
        failure => {
            assert_eq!((failure, HAS_KERNEL_MODE), (E_NOTIMPL, false));
            assert_eq!(
                allocator.get_buffer(NOWAIT).unwrap_err(),
                VFW_E_NOT_COMMITTED
            );
            assert_eq!(allocator.state(), Uncommitted);
            assert_eq!(allocator.properties(), properties(1, 64, 1, 0));
            assert_eq!(allocator.ks.set_mode(USER), S_OK);
            assert_eq!(allocator.commit(), S_OK);
        }
    }
}

#[test]
fn the_handle_exists_from_the_commit_in_kernel_mode_until_the_mode_changes() {
    if !HAS_KERNEL_MODE {
        return;
    }
    let allocator = Allocator::uncommitted(2, 64);
    assert_eq!(allocator.ks.set_mode(KERNEL), S_OK);
    assert!(allocator.ks.handle().is_null());
    assert_eq!(allocator.commit(), S_OK);
    let handle = allocator.ks.handle();
    let rust = allocator.rust().allocator_handle().unwrap();
    #[cfg(unix)]
    assert_eq!(handle.addr(), usize::try_from(rust.as_raw_fd()).unwrap());
    #[cfg(windows)]
    assert_eq!(handle, rust.as_raw_handle());
    assert_eq!(allocator.decommit(), S_OK);
    assert_eq!(allocator.ks.handle(), handle);
    assert_eq!(allocator.ks.set_mode(USER), S_OK);
    assert!(allocator.ks.handle().is_null());
    assert_eq!(allocator.commit(), S_OK);
    assert!(allocator.ks.handle().is_null());
}

#[test]
fn samples_of_kernel_mode_keep_their_bytes_across_a_decommit_and_a_change_of_mode() {
    if !HAS_KERNEL_MODE {
        return;
    }
    let allocator = Allocator::uncommitted(1, 64);
    assert_eq!(allocator.ks.set_mode(KERNEL), S_OK);
    assert_eq!(allocator.commit(), S_OK);
    let sample = allocator.sample();
    sample.fill(7);
    assert_eq!(allocator.decommit(), S_OK);
    assert_eq!(allocator.ks.set_mode(USER), VFW_E_ALREADY_COMMITTED);
    assert!(sample.bytes().iter().all(|&byte| byte == 7));
    drop(sample);
    assert_eq!(allocator.ks.set_mode(USER), S_OK);
    assert_eq!(allocator.commit(), S_OK);
    assert!(allocator.sample().bytes().iter().all(|&byte| byte == 0));
}

#[test]
fn a_stored_handle_in_kernel_mode_represents_an_external_allocator() {
    let allocator = Allocator::uncommitted(2, 64);
    assert_eq!(allocator.ks.set_mode(KERNEL), S_OK);
    allocator.ks.set_handle(foreign(12));

    let refused = (VFW_E_ALREADY_COMMITTED, Properties::default());
    assert_eq!(allocator.set_properties(properties(1, 128, 1, 0)), refused);
    assert_eq!(allocator.properties(), properties(2, 64, 1, 0));
    for _ in 0..2 {
        assert_eq!(allocator.commit(), S_OK);
        for flags in [0, NOWAIT] {
            let failure = allocator.get_buffer(flags).unwrap_err();
            assert_eq!(failure, VFW_E_NOT_COMMITTED);
        }
        assert_eq!(allocator.free_count(), 2);
        assert_eq!(allocator.decommit(), S_OK);
    }
    assert_eq!(allocator.ks.handle(), foreign(12));
}

#[test]
fn removing_the_stored_handle_restores_the_pool() {
    let allocator = Allocator::uncommitted(2, 64);
    assert_eq!(allocator.ks.set_mode(KERNEL), S_OK);
    allocator.ks.set_handle(foreign(12));
    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(allocator.decommit(), S_OK);

    allocator.ks.set_handle(ptr::null_mut());
    assert_eq!(allocator.set_properties(properties(1, 128, 1, 0)).0, S_OK);
    assert_eq!(allocator.ks.set_mode(USER), S_OK);
    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(allocator.sample().size(), 128);
}

#[test]
fn the_status_of_a_new_allocator_has_no_frames() {
    let expected = Status {
        framing: KsFraming {
            options: 2,
            ..KsFraming::default()
        },
        ..Status::default()
    };
    assert_eq!(Allocator::new().ks.status(), expected);
}

#[test]
fn the_status_has_the_framing_and_the_number_of_outstanding_frames() {
    let allocator = Allocator::with_properties(properties(3, 100, 16, 3));
    let mut expected = Status {
        framing: KsFraming {
            options: 2,
            pool_type: 0,
            frames: 3,
            frame_size: 112,
            file_alignment: 15,
            reserved: 0,
        },
        allocated_frames: 0,
        reserved: 0,
    };
    assert_eq!(allocator.ks.status(), expected);
    allocator.commit();
    assert_eq!(
        allocator.ks.status(),
        expected,
        "free frames are not allocated frames"
    );
    let mut samples = allocator.samples(3);
    expected.allocated_frames = 3;
    assert_eq!(allocator.ks.status(), expected);
    allocator.decommit();
    while let Some(sample) = samples.pop() {
        assert_eq!(allocator.ks.status(), expected);
        drop(sample);
        expected.allocated_frames -= 1;
    }
    assert_eq!(allocator.ks.status(), expected);
}

#[test]
fn the_pool_type_of_the_status_follows_the_memory_type() {
    let allocator = Allocator::new();
    for (memory_type, pool_type) in [(0, 0), (KERNEL_PAGED, 1), (2, 0), (5, 0), (-1, 0)] {
        let description = PropertiesEx {
            logical_memory_type: memory_type,
            ..PropertiesEx::default()
        };
        allocator.ks.set_properties_ex(&description);
        assert_eq!(allocator.ks.status().framing.pool_type, pool_type);
    }
}

#[test]
fn a_null_status_pointer_returns_e_pointer() {
    check_in_each_state(
        |allocator| allocator.ks.status_into(None),
        [
            (E_POINTER, Uncommitted),
            (E_POINTER, Committed),
            (E_POINTER, Decommitting),
        ],
    );
}

/// Returns a description whose fields all differ. The interface pointers are invalid.
fn description() -> PropertiesEx {
    let termination = |first: u32| PipeTermination {
        flags: first,
        outside_factors: first + 1,
        weight: first + 2,
        physical_range: [3, 4, 5].map(|field| first + field),
        optimal_range: [6, 7, 8, 9, 10].map(|field| first + field),
        compression: [11, 12, 13].map(|field| first + field),
    };
    PropertiesEx {
        properties: properties(101, 102, 103, 104),
        memory_type: IID_IUNKNOWN,
        bus_type: IID_IMEDIA_SAMPLE,
        state: 105,
        input: termination(200),
        output: termination(300),
        strategy: 106,
        flags: 107,
        weight: 108,
        logical_memory_type: 109,
        allocator_place: 110,
        dimensions: [1, 2, 3, 4, 5, 6, 7, 8, 9],
        physical_range: [10, 11, 12],
        prev_segment: 0x0001_0001,
        count_next_segments: 111,
        next_segments: usize::MAX,
        inside_factors: 112,
        number_pins: 113,
    }
}

#[test]
fn the_description_of_a_new_allocator_is_zeroed() {
    assert_eq!(Allocator::new().ks.properties_ex(), PropertiesEx::default());
}

#[test]
fn the_description_is_stored_unchanged_in_every_state() {
    let call = |allocator: &Allocator| {
        allocator.ks.set_properties_ex(&description());
        allocator.ks.properties_ex()
    };
    check_in_each_state(
        call,
        [
            (description(), Uncommitted),
            (description(), Committed),
            (description(), Decommitting),
        ],
    );
}

#[test]
fn the_description_stays_at_its_address() {
    let allocator = Allocator::uncommitted(1, 64);
    let address = allocator.ks.properties_ex_address();
    let description = description();
    assert!(!address.is_null());
    allocator.ks.set_properties_ex(&description);
    assert_eq!(allocator.ks.properties_ex_address(), address);
    assert_ne!(address, &raw const description);
    allocator.commit();
    let other = Allocator::new();
    assert_eq!(allocator.ks.properties_ex_address(), address);
    assert_ne!(other.ks.properties_ex_address(), address);
}

#[test]
fn the_description_can_be_set_to_itself() {
    let allocator = Allocator::new();
    allocator.ks.set_properties_ex(&description());
    let address = allocator.ks.properties_ex_address();
    allocator.ks.set_properties_ex_at(address);
    assert_eq!(allocator.ks.properties_ex(), description());
}

#[test]
fn a_null_description_is_ignored() {
    let allocator = Allocator::new();
    allocator.ks.set_properties_ex(&description());
    allocator.ks.set_properties_ex_at(ptr::null());
    assert_eq!(allocator.ks.properties_ex(), description());
}

#[test]
fn segment_pointers_are_stored_without_a_reference() {
    let segment = Allocator::new();
    let allocator = Allocator::new();
    let description = PropertiesEx {
        prev_segment: segment.ks.as_ptr().expose_provenance(),
        ..description()
    };
    allocator.ks.set_properties_ex(&description);
    assert_eq!(segment.references(), 2);
    drop(allocator);
    assert_eq!(segment.references(), 2);
}

#[test]
fn the_description_is_independent_of_the_properties_of_the_pool() {
    let allocator = Allocator::uncommitted(3, 64);
    allocator.ks.set_properties_ex(&description());
    assert_eq!(allocator.properties(), properties(3, 64, 1, 0));
    assert_eq!(allocator.set_properties(properties(2, 32, 1, 0)).0, S_OK);
    assert_eq!(allocator.ks.properties_ex(), description());
}

#[test]
fn no_allocator_is_created_without_a_pin() {
    let allocator = Allocator::new();
    assert!(allocator.ks.create_handle(ptr::null_mut()).is_null());
}

#[test]
fn a_pin_without_kernel_streaming_gets_no_allocator_and_no_reference() {
    // An object that is not an IKsObject.
    let pin = Callback::new();
    let allocator = Allocator::new();
    assert!(allocator.ks.create_handle(pin.as_ptr()).is_null());
    assert_eq!(pin.references(), 0);
}

/// A driver that returns the handle 12 and sends the pin and the framing to the test.
struct Driver(Sender<(usize, KsFraming)>);

impl KsDriver for Driver {
    fn create_allocator(&self, pin: NonNull<c_void>, framing: &KSALLOCATOR_FRAMING) -> *mut c_void {
        let framing = ptr::from_ref(framing).cast::<KsFraming>();
        // SAFETY: both structures have the layout of KSALLOCATOR_FRAMING.
        let framing = unsafe { framing.read() };
        self.0.send((pin.as_ptr().addr(), framing)).unwrap();
        foreign(12)
    }
}

#[test]
fn the_driver_gets_the_framing_of_the_description() {
    let pin = Callback::new();
    let (sender, requests) = channel();
    let rust = ComAllocator::with_driver(PoolAllocator::new(), Driver(sender));
    let allocator = Allocator::from_unknown(rust.into_raw());
    assert!(allocator.ks.create_handle(ptr::null_mut()).is_null());
    assert!(requests.try_recv().is_err(), "there is no pin");

    for (memory_type, pool_type) in [(0, 0), (KERNEL_PAGED, 1)] {
        allocator.ks.set_properties_ex(&PropertiesEx {
            properties: properties(3, 1000, 64, 5),
            logical_memory_type: memory_type,
            ..PropertiesEx::default()
        });
        allocator.ks.set_handle(foreign(4));
        assert_eq!(allocator.ks.create_handle(pin.as_ptr()), foreign(12));
        assert_eq!(allocator.ks.handle(), foreign(12), "it is stored");
        let framing = KsFraming {
            options: 2,
            pool_type,
            frames: 3,
            frame_size: 1000,
            file_alignment: 63,
            reserved: 0,
        };
        let expected = (pin.as_ptr().addr(), framing);
        assert_eq!(requests.try_recv(), Ok(expected));
    }
    assert_eq!(pin.references(), 0);
}
