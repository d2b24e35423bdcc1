//! One allocator that Rust code and a COM client use.

use std::thread;

use ks_allocator::com::ComAllocator;
use ks_allocator::{
    AcquireError, AllocatorMode, Contents, FrameFlags, FramePool, Framing, FramingError,
    KsAllocator as _, Metadata, PoolAllocator, Share, Starvation,
};

use crate::client::Allocator;
use crate::support::committed_allocator::committed_allocator;
use crate::support::wait_until::wait_until;
use crate::vtables::*;

/// Returns a committed allocator of 64-byte buffers for Rust code and for a COM client.
fn shared(buffers: i32) -> (ComAllocator, Allocator) {
    let com = Allocator::committed(buffers, 64);
    (com.rust(), com)
}

#[test]
fn frames_and_samples_come_from_one_pool() {
    let (rust, com) = shared(3);
    let frame = rust.acquire().unwrap();
    assert_eq!((com.free_count(), rust.free_frames()), (2, 2));
    let sample = com.sample();
    assert_eq!((com.free_count(), rust.free_frames()), (1, 1));
    let last = rust.try_acquire().unwrap();
    assert_eq!(com.get_buffer(NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
    assert_eq!(
        rust.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    assert_eq!(com.ks.status().allocated_frames, 3);
    assert_eq!(rust.allocator_status().allocated_frames, 3);
    drop((frame, sample, last));
    assert_eq!((com.free_count(), rust.free_frames()), (3, 3));
}

#[test]
fn get_buffer_has_a_share() {
    let builder = FramePool::builder().frames(4).frame_size(64);
    let builder = builder.share(Share::new("GetBuffer").reserve(1).limit(2));
    let com = Allocator::from_rust(PoolAllocator::from_builder(&builder).unwrap());
    let rust = com.rust();
    assert_eq!(com.commit(), S_OK);
    // The reserve is not for Rust code.
    let frames: Vec<_> = std::iter::from_fn(|| rust.try_acquire().ok()).collect();
    assert_eq!(frames.len(), 3);
    let first = com.get_buffer(NOWAIT).unwrap();
    assert_eq!(com.get_buffer(NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
    drop(frames);
    // The limit is not for Rust code either.
    let second = com.get_buffer(NOWAIT).unwrap();
    assert_eq!(com.get_buffer(NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| drop(com.get_buffer(0).unwrap()));
        wait_until(|| rust.pool().unwrap().waiting() > 0);
        assert!(rust.try_acquire().is_ok());
        drop(first);
        waiter.join().unwrap();
    });
    drop(second);
    assert!(
        rust.pool()
            .unwrap()
            .shares()
            .iter()
            .all(|share| share.held == 0)
    );
}

#[test]
fn frames_and_samples_have_the_same_bytes() {
    let (rust, com) = shared(1);
    let mut frame = rust.acquire().unwrap();
    frame.fill(7);
    let address = frame.as_ptr().addr();
    drop(frame);
    let sample = com.sample();
    assert_eq!(sample.address(), address);
    assert_eq!(sample.bytes(), [7; 64]);
    sample.fill(9);
    drop(sample);
    assert_eq!(*rust.acquire().unwrap(), [9; 64]);
}

#[test]
fn a_shared_frame_is_free_after_its_last_handle() {
    let (rust, com) = shared(1);
    let frame = rust.acquire().unwrap().share();
    let other = frame.clone();
    drop(frame);
    assert_eq!(com.get_buffer(NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
    drop(other);
    assert_eq!(com.sample().references(), 1);
}

#[test]
fn framing_and_properties_are_the_same_setting() {
    let com = Allocator::new();
    let rust = com.rust();
    rust.set_framing(&Framing::new(2, 100).alignment(16).prefix(3))
        .unwrap();
    assert_eq!(com.properties(), properties(2, 109, 16, 3));
    com.set_properties(properties(5, 1000, 12, 0));
    assert_eq!(rust.framing(), Framing::new(5, 1008).alignment(12));
}

#[test]
fn a_committed_rust_allocator_can_become_a_com_object() {
    let rust = PoolAllocator::with_framing(Framing::new(3, 64).alignment(8).prefix(8)).unwrap();
    rust.commit().unwrap();
    let com = Allocator::from_rust(rust);
    assert_eq!(com.properties(), properties(3, 64, 8, 8));
    assert_eq!(
        com.set_properties(properties(1, 1, 1, 0)).0,
        VFW_E_ALREADY_COMMITTED
    );
    let sample = com.sample();
    assert_eq!((sample.size(), sample.actual_length()), (64, 64));
}

/// `IMemAllocator` knows only the rounded size, so a sample starts with all of it.
#[test]
fn a_sample_starts_with_the_rounded_size_and_a_frame_with_the_size_that_was_asked_for() {
    let com = Allocator::committed_with(properties(1, 100, 64, 0));
    for _ in 0..2 {
        let sample = com.sample();
        assert_eq!((sample.size(), sample.actual_length()), (128, 128));
        drop(sample);
        let frame = com.rust().acquire().unwrap();
        assert_eq!((frame.len(), frame.capacity()), (100, 128));
    }
}

#[test]
fn a_sample_that_grows_shows_no_bytes_of_another_holder_if_the_policy_zeroes_them() {
    for contents in [Contents::ZeroOnAcquire, Contents::ZeroOnRelease] {
        let builder = FramePool::builder().frames(1).frame_size(64);
        let rust = PoolAllocator::from_builder(&builder.contents(contents)).unwrap();
        rust.commit().unwrap();
        let com = Allocator::from_rust(rust);
        let sample = com.sample();
        sample.fill(7);
        assert_eq!(sample.set_actual_length(4), S_OK);
        drop(sample);
        let sample = com.sample();
        assert_eq!(sample.set_actual_length(64), S_OK);
        assert_eq!(sample.bytes(), [0; 64], "{contents:?}");
        sample.fill(7);
        drop(sample);
        assert_eq!(*com.rust().acquire().unwrap(), [0; 64], "{contents:?}");
    }
}

#[test]
fn an_allocator_with_outstanding_frames_can_become_a_com_object() {
    let rust = committed_allocator(2, 64);
    let frame = rust.acquire().unwrap();
    let com = Allocator::from_rust(rust);
    assert_eq!(com.free_count(), 1);
    let sample = com.sample();
    assert_ne!(sample.address(), frame.as_ptr().addr());
    drop(frame);
    assert_eq!(com.free_count(), 1);
}

#[test]
fn rust_and_com_share_the_mode() {
    let com = Allocator::new();
    let rust = com.rust();
    rust.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    assert_eq!(com.ks.mode(), 1);
    com.ks.set_mode(0);
    assert_eq!(rust.allocator_mode(), AllocatorMode::User);
}

#[test]
fn rust_and_com_share_commit_and_decommit() {
    let com = Allocator::uncommitted(1, 64);
    let rust = com.rust();
    rust.commit().unwrap();
    let sample = com.sample();
    assert_eq!(
        com.set_properties(properties(1, 1, 1, 0)).0,
        VFW_E_ALREADY_COMMITTED
    );
    rust.decommit();
    assert_eq!(com.get_buffer(0).unwrap_err(), VFW_E_NOT_COMMITTED);
    assert_eq!(
        rust.set_framing(&Framing::new(1, 1)).unwrap_err(),
        FramingError::FramesOutstanding {
            outstanding: 1,
            frames: 1
        }
    );
    drop(sample);
    com.commit();
    assert!(rust.acquire().is_ok());
    com.decommit();
    assert_eq!(rust.acquire().unwrap_err(), AcquireError::NotCommitted);
}

#[test]
fn an_outstanding_frame_delays_a_decommit_like_a_sample() {
    let (rust, com) = shared(2);
    let frame = rust.acquire().unwrap();
    com.decommit();
    let refused = com.set_properties(properties(1, 1, 1, 0)).0;
    assert_eq!(refused, VFW_E_BUFFERS_OUTSTANDING);
    drop(frame);
    assert_eq!(com.set_properties(properties(1, 1, 1, 0)).0, S_OK);
}

#[test]
fn a_released_sample_serves_a_waiter_in_rust() {
    let (rust, com) = shared(1);
    let sample = com.sample();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| rust.acquire().map(drop));
        com.wait_for_waiters(1);
        assert_eq!(sample.release(), 0);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    assert_eq!(com.free_count(), 1);
}

#[test]
fn a_released_frame_serves_a_waiter_in_com() {
    let (rust, com) = shared(1);
    let frame = rust.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| com.get_buffer(0).map(|sample| sample.references()));
        com.wait_for_waiters(1);
        drop(frame);
        assert_eq!(waiter.join().unwrap(), Ok(1));
    });
    assert_eq!(com.free_count(), 1);
}

#[test]
fn get_buffer_fails_during_a_flush() {
    let (rust, com) = shared(2);
    let sample = com.sample();
    rust.begin_flush();
    for flags in [0, NOWAIT] {
        assert_eq!(com.get_buffer(flags).unwrap_err(), VFW_E_WRONG_STATE);
    }
    drop(sample);
    assert_eq!(com.free_count(), 2);
    rust.end_flush();
    assert!(com.get_buffer(0).is_ok());
}

#[test]
fn not_committed_takes_precedence_over_flushing() {
    let (rust, com) = shared(1);
    rust.begin_flush();
    com.decommit();
    assert_eq!(com.get_buffer(0).unwrap_err(), VFW_E_NOT_COMMITTED);
}

#[test]
fn metadata_of_a_released_frame_does_not_reach_a_sample() {
    let (rust, com) = shared(1);
    let mut frame = rust.acquire().unwrap();
    frame.set_len(5).unwrap();
    let metadata = frame.metadata_mut();
    metadata.presentation_time = Some(7);
    metadata.flags = FrameFlags::SYNC_POINT;
    drop(frame);
    let sample = com.sample();
    assert_eq!(sample.properties().flags, 0);
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
}

#[test]
fn attributes_of_a_released_sample_do_not_reach_a_frame() {
    let (rust, com) = shared(1);
    let sample = com.sample();
    sample.set_actual_length(5);
    sample.set_time(Some(1), Some(2));
    sample.set_sync_point(1);
    drop(sample);
    let frame = rust.acquire().unwrap();
    assert_eq!(frame.len(), 64);
    assert_eq!(*frame.metadata(), Metadata::default());
}
