//! `GetBuffer` of `IMemAllocator`: parameters, samples and waits.

use std::collections::HashSet;
use std::thread;

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};
use ks_allocator::KsAllocator as _;

use crate::client::{Allocator, GARBAGE, Sample, check_in_each_state};
use crate::vtables::*;

/// No flag, each flag, and bits that have no name in the headers.
const FLAGS: [u32; 7] = [
    0,
    PREVFRAMESKIPPED,
    NOTASYNCPOINT,
    NODDSURFACELOCK,
    0xFFFF_FFFB,
    NOWAIT,
    !0,
];

#[test]
fn a_free_buffer_is_acquired_with_any_flags() {
    let allocator = Allocator::committed(1, 64);
    for flags in FLAGS {
        let sample = allocator.get_buffer(flags).unwrap();
        assert_eq!(sample.references(), 1, "{flags:#X}");
        let properties = sample.properties();
        assert_eq!((properties.flags, properties.type_specific_flags), (0, 0));
    }
}

#[test]
fn get_buffer_fails_with_any_flags_unless_committed() {
    for flags in FLAGS {
        check_in_each_state(
            |allocator| allocator.get_buffer(flags).map(drop),
            [
                (Err(VFW_E_NOT_COMMITTED), Uncommitted),
                (Ok(()), Committed),
                (Err(VFW_E_NOT_COMMITTED), Decommitting),
            ],
        );
    }
    let allocator = Allocator::new();
    assert_eq!(allocator.get_buffer(0).unwrap_err(), VFW_E_NOT_COMMITTED);
}

#[test]
fn nowait_returns_timeout_while_no_buffer_is_free() {
    let allocator = Allocator::committed(2, 64);
    let samples = allocator.samples(2);
    for flags in [NOWAIT, NOWAIT | PREVFRAMESKIPPED, !0] {
        assert_eq!(allocator.get_buffer(flags).unwrap_err(), VFW_E_TIMEOUT);
    }
    drop(samples);
    assert!(allocator.get_buffer(NOWAIT).is_ok());
}

#[test]
fn not_committed_takes_precedence_over_timeout() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    allocator.decommit();
    let failure = allocator.get_buffer(NOWAIT).unwrap_err();
    assert_eq!(failure, VFW_E_NOT_COMMITTED);
    drop(sample);
}

#[test]
fn a_null_pointer_returns_e_pointer_and_loses_no_buffer() {
    for flags in FLAGS {
        check_in_each_state(
            |allocator| {
                let result = allocator.get_buffer_into(None, None, None, flags);
                (result, allocator.ks.status().allocated_frames)
            },
            [
                ((E_POINTER, 0), Uncommitted),
                ((E_POINTER, 0), Committed),
                ((E_POINTER, 1), Decommitting),
            ],
        );
    }
}

#[test]
fn a_failed_get_buffer_writes_null() {
    let committed = Allocator::committed(1, 64);
    let sample = committed.sample();
    for allocator in [&Allocator::new(), &committed] {
        let mut pointer = GARBAGE;
        let result = allocator.get_buffer_into(Some(&mut pointer), None, None, NOWAIT);
        assert!(result.is_failure());
        assert!(pointer.is_null());
    }
    drop(sample);
}

#[test]
fn the_times_are_ignored() {
    let allocator = Allocator::committed(1, 64);
    let (mut start, mut stop) = (1000, 2000);
    let mut pointer = GARBAGE;
    let result = allocator.get_buffer_into(
        Some(&mut pointer),
        Some(&mut start),
        Some(&mut stop),
        PREVFRAMESKIPPED,
    );
    assert_eq!(result, S_OK);
    // SAFETY: the call succeeded, so it is an IMediaSample2 pointer that comes with one reference.
    let sample = unsafe { Sample::from_raw(pointer) };
    assert_eq!((start, stop), (1000, 2000));
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
    let properties = sample.properties();
    assert_eq!(
        (properties.flags, properties.start, properties.stop),
        (0, 0, 0)
    );
}

#[test]
fn no_two_samples_share_a_buffer() {
    let allocator = Allocator::committed(5, 64);
    let samples = allocator.samples(5);
    let objects = samples.iter().map(|sample| sample.as_ptr().addr());
    let addresses = samples.iter().map(Sample::address);
    assert_eq!(objects.collect::<HashSet<_>>().len(), 5);
    assert_eq!(addresses.collect::<HashSet<_>>().len(), 5);
}

#[test]
fn a_sample_keeps_its_buffer() {
    let allocator = Allocator::committed(3, 64);
    let places = || {
        let samples = allocator.samples(3);
        let mut places: Vec<_> = samples
            .iter()
            .map(|sample| (sample.as_ptr().addr(), sample.address()))
            .collect();
        places.sort_unstable();
        places
    };
    let first = places();
    for _ in 0..3 {
        assert_eq!(places(), first);
    }
    allocator.decommit();
    allocator.commit();
    assert_eq!(places(), first);
}

#[test]
fn the_buffer_that_was_released_last_is_acquired_first() {
    let allocator = Allocator::committed(3, 64);
    let first = allocator.sample().as_ptr();
    for _ in 0..5 {
        assert_eq!(allocator.sample().as_ptr(), first);
    }
}

#[test]
fn a_reused_buffer_is_not_cleared() {
    let allocator = Allocator::committed(1, 64);
    allocator.sample().fill(7);
    assert_eq!(allocator.sample().bytes(), [7; 64]);
}

#[test]
fn a_release_ends_a_wait() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let object = sample.as_ptr().addr();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.get_buffer(0).map(|sample| sample.as_ptr().addr()));
        allocator.wait_for_waiters(1);
        assert_eq!(sample.release(), 0);
        assert_eq!(waiter.join().unwrap(), Ok(object));
    });
    assert_eq!(allocator.free_count(), 1);
}

#[test]
fn get_buffer_waits_with_any_flag_except_nowait() {
    let allocator = Allocator::committed(1, 64);
    for flags in [0, PREVFRAMESKIPPED, 0xFFFF_FFFB] {
        let sample = allocator.sample();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| allocator.get_buffer(flags).map(drop));
            allocator.wait_for_waiters(1);
            drop(sample);
            assert_eq!(waiter.join().unwrap(), Ok(()));
        });
    }
}

#[test]
fn only_the_final_release_ends_a_wait() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let other = sample.clone();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.get_buffer(0).map(drop));
        allocator.wait_for_waiters(1);
        assert_eq!(other.release(), 1);
        assert_eq!(allocator.waiting(), 1);
        assert_eq!(sample.release(), 0);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

#[test]
fn one_buffer_serves_all_waiters_one_after_the_other() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    thread::scope(|scope| {
        let waiters = [(); 5].map(|()| scope.spawn(|| allocator.get_buffer(0).map(drop)));
        allocator.wait_for_waiters(5);
        drop(sample);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(()));
        }
    });
    assert_eq!(allocator.free_count(), 1);
}

#[test]
fn decommit_fails_all_waiters() {
    for (buffers, waiters) in [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (1, 16)] {
        let allocator = Allocator::committed(buffers, 64);
        let held = allocator.samples(usize::try_from(buffers).unwrap());
        thread::scope(|scope| {
            let threads: Vec<_> = (0..waiters)
                .map(|_| scope.spawn(|| allocator.get_buffer(0).map(drop)))
                .collect();
            allocator.wait_for_waiters(waiters);
            assert_eq!(allocator.decommit(), S_OK);
            for thread in threads {
                assert_eq!(thread.join().unwrap(), Err(VFW_E_NOT_COMMITTED));
            }
        });
        assert_eq!(allocator.state(), Decommitting);
        drop(held);
        assert_eq!(allocator.state(), Uncommitted);
    }
}

#[test]
fn decommit_fails_all_waiters_even_if_a_commit_follows_at_once() {
    for waiters in [1, 2, 16] {
        let allocator = Allocator::committed(2, 64);
        let held = allocator.samples(2);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..waiters)
                .map(|_| scope.spawn(|| allocator.get_buffer(0).map(drop)))
                .collect();
            allocator.wait_for_waiters(waiters);
            assert_eq!(allocator.decommit(), S_OK);
            assert_eq!(allocator.commit(), S_OK);
            for thread in threads {
                assert_eq!(thread.join().unwrap(), Err(VFW_E_NOT_COMMITTED));
            }
        });
        drop(held);
        assert_eq!(allocator.free_count(), 2);
        assert!(allocator.get_buffer(0).is_ok());
    }
}

#[test]
fn a_caller_after_a_commit_waits_for_an_outstanding_buffer() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    allocator.decommit();
    allocator.commit();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.get_buffer(0).map(drop));
        allocator.wait_for_waiters(1);
        drop(sample);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

#[test]
fn two_decommits_fail_a_waiter_once() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.get_buffer(0).map(drop));
        allocator.wait_for_waiters(1);
        allocator.decommit();
        allocator.decommit();
        assert_eq!(waiter.join().unwrap(), Err(VFW_E_NOT_COMMITTED));
    });
    assert_eq!(allocator.waiting(), 0);
    drop(sample);
}

#[test]
fn a_flush_fails_all_waiters() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    thread::scope(|scope| {
        let waiters = [(); 3].map(|()| scope.spawn(|| allocator.get_buffer(0).map(drop)));
        allocator.wait_for_waiters(3);
        allocator.rust().begin_flush();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(VFW_E_WRONG_STATE));
        }
    });
    drop(sample);
    allocator.rust().end_flush();
    assert!(allocator.get_buffer(0).is_ok());
}
