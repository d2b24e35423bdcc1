//! `SetNotify` of `IMemAllocatorCallbackTemp`: calls of the callback, and its references.

use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use ks_allocator::AllocatorState::{Committed, Decommitting, Uncommitted};

use crate::client::{Allocator, check_in_each_state};
use crate::objects::Callback;
use crate::vtables::*;

#[test]
fn set_notify_succeeds_in_each_state() {
    let callback = Callback::new();
    check_in_each_state(
        |allocator| {
            let set = allocator.set_notify(callback.as_ptr());
            (set, allocator.set_notify(ptr::null_mut()))
        },
        [
            ((S_OK, S_OK), Uncommitted),
            ((S_OK, S_OK), Committed),
            ((S_OK, S_OK), Decommitting),
        ],
    );
    assert_eq!(callback.references(), 0);
}

#[test]
fn every_final_release_calls_the_callback_once() {
    let callback = Callback::new();
    let allocator = Allocator::committed(3, 64);
    allocator.set_notify(callback.as_ptr());
    for calls in 1..=5 {
        let sample = allocator.sample();
        let other = sample.clone();
        drop(other);
        assert_eq!(callback.calls(), calls - 1, "the release was not final");
        drop(sample);
        assert_eq!(callback.calls(), calls);
    }
    drop(allocator.samples(3));
    assert_eq!(callback.calls(), 8);
}

#[test]
fn a_decommit_does_not_call_the_callback_but_the_release_that_completes_it_does() {
    let callback = Callback::new();
    let allocator = Allocator::committed(3, 64);
    allocator.set_notify(callback.as_ptr());
    let (first, second) = (allocator.sample(), allocator.sample());
    drop(first);
    assert_eq!(callback.calls(), 1);
    allocator.decommit();
    allocator.decommit();
    assert_eq!(callback.calls(), 1);
    drop(second);
    assert_eq!(callback.calls(), 2);
    allocator.commit();
    allocator.decommit();
    assert_eq!(callback.calls(), 2);
}

#[test]
fn a_replaced_or_removed_callback_is_not_called() {
    let (first, second) = (Callback::new(), Callback::new());
    let allocator = Allocator::committed(1, 64);
    allocator.set_notify(first.as_ptr());
    drop(allocator.sample());
    allocator.set_notify(second.as_ptr());
    drop(allocator.sample());
    allocator.set_notify(ptr::null_mut());
    drop(allocator.sample());
    assert_eq!((first.calls(), second.calls()), (1, 1));
}

#[test]
fn the_allocator_holds_a_reference_to_the_callback_while_it_is_set() {
    let (first, second) = (Callback::new(), Callback::new());
    let allocator = Allocator::new();
    allocator.set_notify(first.as_ptr());
    assert_eq!(first.references(), 1);
    allocator.set_notify(first.as_ptr());
    assert_eq!(first.references(), 1, "the same callback is set again");
    allocator.set_notify(second.as_ptr());
    assert_eq!((first.references(), second.references()), (0, 1));
    allocator.set_notify(ptr::null_mut());
    assert_eq!((first.references(), second.references()), (0, 0));
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn a_call_of_the_callback_does_not_change_its_reference_count() {
    let callback = Callback::new();
    let allocator = Allocator::committed(1, 64);
    allocator.set_notify(callback.as_ptr());
    for _ in 0..3 {
        drop(allocator.sample());
        assert_eq!(callback.references(), 1);
    }
    drop(allocator);
    assert_eq!(callback.references(), 0);
}

#[test]
fn the_callback_is_released_with_the_allocator() {
    for commit in [false, true] {
        let callback = Callback::new();
        let allocator = Allocator::uncommitted(1, 64);
        allocator.set_notify(callback.as_ptr());
        if commit {
            allocator.commit();
        }
        assert_eq!(allocator.release(), 0);
        assert_eq!((callback.references(), callback.calls()), (0, 0));
    }
}

#[test]
fn the_callback_is_called_for_samples_that_outlive_the_allocator_and_then_released() {
    let callback = Callback::new();
    let allocator = Allocator::committed(3, 64);
    allocator.set_notify(callback.as_ptr());
    let samples = allocator.samples(3);
    assert_eq!(allocator.release(), 0);
    for (calls, sample) in (1..).zip(samples) {
        assert_eq!(callback.references(), 1);
        assert_eq!(sample.release(), 0);
        assert_eq!(callback.calls(), calls);
    }
    assert_eq!(callback.references(), 0);
}

#[test]
fn a_callback_stays_set_across_new_properties() {
    let callback = Callback::new();
    let allocator = Allocator::committed(1, 64);
    allocator.set_notify(callback.as_ptr());
    drop(allocator.sample());
    allocator.decommit();
    allocator.set_properties(properties(2, 128, 1, 0));
    allocator.commit();
    assert_eq!(callback.references(), 1);
    drop(allocator.sample());
    assert_eq!(callback.calls(), 2);
    drop(allocator);
    assert_eq!(callback.references(), 0);
}

#[test]
fn the_result_of_the_callback_is_ignored() {
    for result in [S_FALSE, E_UNEXPECTED, E_NOTIMPL] {
        let callback = Callback::with_result(result, || {});
        let allocator = Allocator::committed(1, 64);
        allocator.set_notify(callback.as_ptr());
        assert_eq!(allocator.sample().release(), 0);
        assert_eq!(allocator.sample().release(), 0);
        assert_eq!(callback.calls(), 2);
        allocator.set_notify(ptr::null_mut());
    }
}

/// Returns an allocator of one buffer, and its callback. The callback calls `on_release` with the
/// allocator.
fn with_callback(
    on_release: impl Fn(&Allocator) + Send + Sync + 'static,
) -> (Arc<Callback>, Allocator) {
    let allocator = Allocator::committed(1, 64);
    let same = allocator.clone();
    let callback = Callback::with_action(move || on_release(&same));
    assert_eq!(allocator.set_notify(callback.as_ptr()), S_OK);
    (callback, allocator)
}

#[test]
fn the_buffer_is_free_when_the_callback_is_called() {
    let (callback, allocator) = with_callback(|allocator| {
        assert_eq!(allocator.free_count(), 1);
        assert_eq!(allocator.ks.status().allocated_frames, 0);
    });
    drop(allocator.sample());
    drop(allocator.sample());
    assert_eq!(callback.calls(), 2);
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn the_callback_may_acquire_the_buffer() {
    let taken = Arc::new(Mutex::new(None));
    let (callback, allocator) = with_callback({
        let taken = taken.clone();
        move |allocator| *taken.lock().unwrap() = Some(allocator.sample())
    });
    let sample = allocator.sample();
    let object = sample.as_ptr();
    assert_eq!(sample.release(), 0);
    assert_eq!(allocator.free_count(), 0);
    allocator.set_notify(ptr::null_mut());
    let again = taken.lock().unwrap().take().unwrap();
    assert_eq!((again.as_ptr(), again.references()), (object, 1));
    assert_eq!(callback.calls(), 1);
}

#[test]
fn the_callback_may_acquire_and_release_the_buffer() {
    let depth = AtomicI32::new(0);
    let (callback, allocator) = with_callback(move |allocator| {
        if depth.fetch_add(1, Ordering::SeqCst) < 3 {
            drop(allocator.sample());
        }
    });
    drop(allocator.sample());
    assert_eq!(callback.calls(), 4);
    assert_eq!(allocator.free_count(), 1);
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn the_callback_may_remove_itself() {
    let (callback, allocator) = with_callback(|allocator| {
        assert_eq!(allocator.set_notify(ptr::null_mut()), S_OK);
    });
    drop(allocator.sample());
    drop(allocator.sample());
    assert_eq!((callback.calls(), callback.references()), (1, 0));
}

#[test]
fn the_callback_may_replace_itself() {
    let second = Callback::new();
    let (first, allocator) = with_callback({
        let second = second.clone();
        move |allocator| assert_eq!(allocator.set_notify(second.as_ptr()), S_OK)
    });
    drop(allocator.sample());
    drop(allocator.sample());
    assert_eq!((first.calls(), first.references()), (1, 0));
    assert_eq!((second.calls(), second.references()), (1, 1));
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn the_callback_may_decommit_and_commit() {
    let (callback, allocator) = with_callback(|allocator| {
        assert_eq!(allocator.decommit(), S_OK);
        assert_eq!(allocator.set_properties(properties(1, 64, 1, 0)).0, S_OK);
        assert_eq!(allocator.commit(), S_OK);
    });
    let sample = allocator.sample();
    sample.fill(7);
    drop(sample);
    assert_eq!(callback.calls(), 1);
    assert_eq!(allocator.sample().bytes(), [0; 64]);
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn a_decommit_is_complete_when_the_callback_is_called() {
    let (callback, allocator) = with_callback(|allocator| {
        assert_eq!(allocator.state(), Uncommitted);
        assert_eq!(allocator.set_properties(properties(1, 64, 1, 0)).0, S_OK);
    });
    let sample = allocator.sample();
    allocator.decommit();
    drop(sample);
    assert_eq!(callback.calls(), 1);
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn the_callback_may_release_the_last_reference_to_the_allocator() {
    let last = Arc::new(Mutex::new(None::<Allocator>));
    let callback = Callback::with_action({
        let last = last.clone();
        move || drop(last.lock().unwrap().take())
    });
    let allocator = Allocator::committed(1, 64);
    allocator.set_notify(callback.as_ptr());
    let sample = allocator.sample();
    *last.lock().unwrap() = Some(allocator);
    assert_eq!(sample.release(), 0);
    assert_eq!((callback.calls(), callback.references()), (1, 0));
}

#[test]
fn the_callback_is_called_on_the_releasing_thread() {
    let called = Arc::new(Mutex::new(None));
    let callback = Callback::with_action({
        let called = called.clone();
        move || *called.lock().unwrap() = Some(thread::current().id())
    });
    let allocator = Allocator::committed(1, 64);
    allocator.set_notify(callback.as_ptr());
    let sample = allocator.sample();
    let releaser = thread::spawn(move || {
        drop(sample);
        thread::current().id()
    });
    let releaser = releaser.join().unwrap();
    assert_eq!(*called.lock().unwrap(), Some(releaser));
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn a_buffer_that_is_assigned_to_a_waiter_calls_the_callback() {
    let callback = Callback::new();
    let allocator = Allocator::committed(1, 64);
    allocator.set_notify(callback.as_ptr());
    let sample = allocator.sample();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.get_buffer(0).unwrap());
        allocator.wait_for_waiters(1);
        assert_eq!(sample.release(), 0);
        assert_eq!(callback.calls(), 1);
        drop(waiter.join().unwrap());
    });
    assert_eq!(callback.calls(), 2);
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn the_callback_can_be_replaced_during_releases() {
    let callbacks = [Callback::new(), Callback::new()];
    let allocator = Allocator::committed(4, 64);
    let rounds = 500;
    thread::scope(|scope| {
        let releasers = [(); 2].map(|()| {
            scope.spawn(|| {
                for _ in 0..rounds {
                    drop(allocator.sample());
                }
            })
        });
        for callback in callbacks.iter().cycle().take(rounds) {
            assert_eq!(allocator.set_notify(callback.as_ptr()), S_OK);
        }
        for releaser in releasers {
            releaser.join().unwrap();
        }
    });
    assert!(
        callbacks
            .iter()
            .map(|callback| callback.calls())
            .sum::<i32>()
            <= 1000
    );
    allocator.set_notify(ptr::null_mut());
    for callback in &callbacks {
        assert_eq!(callback.references(), 0);
    }
}
