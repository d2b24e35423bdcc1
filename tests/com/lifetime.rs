//! Lifetimes of samples, memory and allocators.

use std::thread;

use ks_allocator::AllocatorState::{Committed, Decommitting};
use ks_allocator::{AcquireError, KsAllocator as _};

use crate::client::Allocator;
use crate::media_type::with_unknown;
use crate::objects::Callback;
use crate::vtables::*;

#[test]
fn a_sample_outlives_the_decommit() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    allocator.decommit();
    sample.fill(7);
    assert_eq!(sample.bytes(), [7; 64]);
    assert_eq!(sample.set_time(Some(1), Some(2)), S_OK);
    assert_eq!(sample.time(), (S_OK, 1, 2));
    assert_eq!(sample.references(), 1);
    assert_eq!(sample.release(), 0);
}

#[test]
fn samples_outlive_the_allocator() {
    for decommit_first in [false, true] {
        let allocator = Allocator::committed(3, 64);
        let samples = allocator.samples(3);
        if decommit_first {
            allocator.decommit();
        }
        assert_eq!(allocator.release(), 0);
        for sample in samples {
            sample.fill(7);
            assert_eq!(sample.bytes(), [7; 64]);
            let other = sample.clone();
            assert_eq!(other.release(), 1);
            assert_eq!(sample.set_actual_length(5), S_OK);
            assert_eq!(sample.actual_length(), 5);
            assert_eq!(sample.release(), 0);
        }
    }
}

#[test]
fn the_last_sample_can_be_released_on_another_thread() {
    let allocator = Allocator::committed(2, 64);
    let samples = allocator.samples(2);
    drop(allocator);
    let threads = samples
        .into_iter()
        .map(|sample| thread::spawn(|| sample.release()));
    for thread in threads.collect::<Vec<_>>() {
        assert_eq!(thread.join().unwrap(), 0);
    }
}

#[test]
fn the_last_release_destroys_a_committed_allocator() {
    let allocator = Allocator::committed(3, 64);
    let pool = allocator.rust().pool().unwrap();
    assert_eq!(allocator.release(), 0);
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::NotCommitted);
}

#[test]
fn the_last_release_decommits_and_fails_waiters() {
    let allocator = Allocator::committed(1, 64);
    let pool = allocator.rust().pool().unwrap();
    let sample = allocator.sample();
    thread::scope(|scope| {
        // The waiter in Rust has a handle of the pool and no reference to the allocator.
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        allocator.wait_for_waiters(1);
        assert_eq!(allocator.release(), 0);
        assert_eq!(waiter.join().unwrap(), Err(AcquireError::NotCommitted));
    });
    assert_eq!(sample.release(), 0);
}

#[test]
fn a_release_that_is_not_the_last_does_not_decommit() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let other = allocator.clone();
    assert_eq!(other.release(), 2);
    assert_eq!(allocator.state(), Committed);
    drop(sample);
    assert!(allocator.get_buffer(0).is_ok());
}

#[test]
fn samples_hold_no_references_to_the_allocator() {
    let allocator = Allocator::committed(3, 64);
    let samples = allocator.samples(3);
    assert_eq!(allocator.references(), 2);
    allocator.decommit();
    assert_eq!(allocator.references(), 2);
    drop(samples);
    assert_eq!(allocator.references(), 2);
}

#[test]
fn a_media_type_is_freed_with_a_sample_that_outlives_its_allocator() {
    let object = Callback::new();
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    sample.set_media_type(&with_unknown(1, object.as_ptr()));
    drop(allocator);
    assert_eq!(object.references(), 1);
    drop(sample);
    assert_eq!(object.references(), 0);
}

#[test]
fn a_rust_handle_keeps_the_allocator_alive() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let rust = allocator.rust();
    assert_eq!(allocator.release(), 1);
    assert_eq!(rust.allocator_status().state, Committed);
    rust.decommit();
    assert_eq!(rust.allocator_status().state, Decommitting);
    drop(rust);
    assert_eq!(sample.release(), 0);
}

#[test]
fn an_allocator_can_be_created_and_released_on_different_threads() {
    let allocator = thread::spawn(|| Allocator::committed(1, 64))
        .join()
        .unwrap();
    let sample = allocator.sample();
    thread::spawn(move || drop(allocator)).join().unwrap();
    drop(sample);
}
