//! Misuse by clients. It is refused or ignored, and the allocator stays intact.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use ks_allocator::{Framing, KsAllocator as _};

use crate::client::{Allocator, Sample};
use crate::media_type::{media_type, with_format, with_unknown};
use crate::objects::Callback;
use crate::support::wait_until::wait_until;
use crate::vtables::*;

#[test]
fn methods_of_an_allocator_refuse_null() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    assert_eq!(allocator.ks.query_interface(None, None), E_POINTER);
    assert_eq!(allocator.query_interface(None, None), E_POINTER);
    assert_eq!(allocator.ks.status_into(None), E_POINTER);
    allocator.ks.set_properties_ex_at(ptr::null());
    assert!(allocator.ks.create_handle(ptr::null_mut()).is_null());
    let neither = allocator.set_properties_at(ptr::null(), ptr::null_mut());
    assert_eq!(neither, E_POINTER);
    assert_eq!(allocator.properties_into(None), E_POINTER);
    assert_eq!(allocator.get_buffer_into(None, None, None, 0), E_POINTER);
    assert_eq!(allocator.release_buffer(ptr::null_mut()), E_POINTER);
    assert_eq!(allocator.set_notify(ptr::null_mut()), S_OK);
    assert_eq!(allocator.free_count_into(None), E_POINTER);
    drop(sample);
    allocator.assert_all_free(1);
}

#[test]
fn methods_of_a_sample_refuse_null_and_change_nothing() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    sample.set_time(Some(1), Some(2));
    sample.set_media_time(Some(3), Some(4));
    let before = sample.properties();
    assert_eq!(sample.query_interface(None, None), E_POINTER);
    assert_eq!(sample.pointer_into(None), E_POINTER);
    for (start, stop) in [(false, false), (true, false), (false, true)] {
        let (mut one, mut two) = (5, 6);
        let result = sample.time_into(start.then_some(&mut one), stop.then_some(&mut two));
        assert_eq!(result, E_POINTER, "GetTime");
        let result = sample.media_time_into(start.then_some(&mut one), stop.then_some(&mut two));
        assert_eq!(result, E_POINTER, "GetMediaTime");
        assert_eq!((one, two), (5, 6));
    }
    assert_eq!(sample.media_type_into(None), E_POINTER);
    assert_eq!(sample.properties_into(64, ptr::null_mut()), E_POINTER);
    assert_eq!(sample.set_properties_at(64, ptr::null()), E_POINTER);
    assert_eq!(sample.properties(), before);
    assert_eq!(sample.media_time(), (S_OK, 3, 4));
}

#[test]
fn a_surplus_release_of_a_sample_changes_nothing() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let stale = sample.uncounted();
    assert_eq!(sample.release(), 0);
    for _ in 0..5 {
        assert_eq!(stale.release_raw(), 0);
        assert_eq!(allocator.free_count(), 2);
    }
    allocator.assert_all_free(2);
}

#[test]
fn add_ref_does_not_revive_a_free_sample() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let stale = sample.uncounted();
    drop(sample);
    for _ in 0..5 {
        assert_eq!(stale.add_ref(), 0);
    }
    assert_eq!(allocator.free_count(), 2);
    assert_eq!(stale.release_raw(), 0);
    allocator.assert_all_free(2);
}

#[test]
fn a_surplus_release_does_not_call_the_callback() {
    let callback = Callback::new();
    let allocator = Allocator::committed(2, 64);
    allocator.set_notify(callback.as_ptr());
    let sample = allocator.sample();
    let stale = sample.uncounted();
    drop(sample);
    stale.release_raw();
    assert_eq!(callback.calls(), 1);
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn a_surplus_release_does_not_complete_a_decommit() {
    let allocator = Allocator::committed(2, 64);
    let (sample, other) = (allocator.sample(), allocator.sample());
    let stale = sample.uncounted();
    allocator.decommit();
    drop(sample);
    assert_eq!(stale.release_raw(), 0);
    let refused = allocator.set_properties(properties(1, 1, 1, 0)).0;
    assert_eq!(refused, VFW_E_BUFFERS_OUTSTANDING);
    drop(other);
    allocator.commit();
    allocator.assert_all_free(2);
}

#[test]
fn methods_of_a_free_sample_can_be_called() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let stale = sample.uncounted();
    drop(sample);
    assert_eq!(stale.size(), 64);
    assert_eq!(stale.query(&IID_IMEDIA_SAMPLE2).0, S_OK);
    assert_eq!(stale.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    allocator.assert_all_free(1);
}

#[test]
fn a_media_type_can_be_set_to_itself() {
    let object = Callback::new();
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let mut format = [1, 2, 3];
    let mut attached = with_format(1, &mut format);
    attached.unknown = object.as_ptr();
    sample.set_media_type(&attached);
    assert_eq!(
        sample.set_media_type_at(sample.properties().media_type),
        S_OK
    );
    let copy = sample.media_type().unwrap();
    assert_eq!((copy.sample_size, copy.format()), (1, &[1, 2, 3][..]));
    drop(copy);
    assert_eq!(object.references(), 1);
}

#[test]
fn the_pointer_of_an_empty_format_block_is_not_read() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let malformed = MediaType {
        format: ptr::without_provenance_mut(8),
        ..media_type(1)
    };
    assert_eq!(sample.set_media_type(&malformed), S_OK);
    let copy = sample.media_type().unwrap();
    assert_eq!((copy.format_size, copy.format()), (0, &[][..]));
    drop(copy);
    assert_eq!(sample.release(), 0);
}

#[test]
fn a_null_format_block_with_a_size_is_not_read() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    for format_size in [1, 1000, u32::MAX] {
        let malformed = MediaType {
            format_size,
            ..media_type(1)
        };
        sample.set_media_type(&malformed);
        if let Some(copy) = sample.media_type() {
            assert!(copy.format_size == 0 || !copy.format.is_null());
        }
    }
    assert_eq!(sample.release(), 0);
    allocator.assert_all_free(1);
}

#[test]
fn status_and_properties_can_be_read_with_nonsensical_properties() {
    for request in [
        properties(-1, -1, 1, -1),
        properties(i32::MIN, i32::MIN, 65_536, i32::MIN),
        properties(i32::MAX, i32::MAX, 65_536, i32::MAX),
        properties(i32::MAX, i32::MIN, 65_535, i32::MAX),
    ] {
        let allocator = Allocator::with_properties(request);
        let status = allocator.ks.status();
        assert_eq!(status.allocated_frames, 0);
        let actual = allocator.properties();
        assert_eq!(actual.buffers, request.buffers);
        assert_eq!(actual.prefix, request.prefix);
        allocator.free_count();
        assert!(allocator.commit().is_failure());
    }
}

#[test]
fn a_framing_that_does_not_fit_in_com_structures_causes_no_panic() {
    let allocator = Allocator::new();
    for framing in [
        Framing::new(usize::MAX, usize::MAX).prefix(usize::MAX),
        Framing::new(1, usize::MAX / 2),
        Framing::new(usize::MAX / 2, 1),
    ] {
        allocator.rust().set_framing(&framing).unwrap();
        allocator.properties();
        allocator.free_count();
        allocator.ks.status();
        assert!(allocator.commit().is_failure());
        assert_eq!(allocator.decommit(), S_OK);
    }
    assert_eq!(allocator.set_properties(properties(1, 64, 1, 0)).0, S_OK);
    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(allocator.sample().size(), 64);
}

/// Counts the calling thread as arrived, and returns once `all` arrivals are counted.
fn meet(arrivals: &AtomicU32, all: u32) {
    arrivals.fetch_add(1, Ordering::SeqCst);
    wait_until(|| arrivals.load(Ordering::SeqCst) >= all);
}

/// Runs `use_sample` on one sample in two threads at the same time, each with its own numbers, and
/// repeats that with the next acquire of the sample. Asserts that attributes do not survive the
/// final release.
fn use_in_two_threads(use_sample: impl Fn(&Sample, i64) + Sync) {
    let (owners, rounds) = if cfg!(miri) { (5, 4) } else { (10_000, 4) };
    let allocator = Allocator::committed(1, 64);
    let arrivals = AtomicU32::new(0);
    let run = |sample: &Sample, owner: u32, thread: i64| {
        meet(&arrivals, 2 * owner);
        (0..rounds).for_each(|round| use_sample(sample, thread * 10_000 + round));
    };
    thread::scope(|scope| {
        let (to_other, from_one) = channel();
        let (to_one, from_other) = channel();
        scope.spawn(move || {
            for (owner, sample) in (1..).zip(from_one) {
                run(&sample, owner, 2);
                to_one.send(sample).unwrap();
            }
        });
        for owner in 1..=owners {
            let sample = allocator.sample();
            assert_eq!(sample.properties().flags, 0);
            assert!(sample.media_type().is_none());
            assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
            to_other.send(sample.clone()).unwrap();
            run(&sample, owner, 1);
            drop(from_other.recv().unwrap());
            assert_eq!(sample.release(), 0);
        }
    });
    allocator.assert_all_free(1);
}

/// Returns whether `number` is one of the numbers of the two threads, and not half of each.
fn is_whole(number: i64) -> bool {
    (10_000..30_000).contains(&number)
}

#[test]
fn two_threads_can_set_the_attributes_of_one_sample() {
    use_in_two_threads(|sample, number| {
        sample.set_time(Some(number), Some(number));
        sample.set_media_time(Some(number), Some(number));
        sample.set_sync_point(i32::from(number % 2 == 0));
        sample.set_actual_length(i32::try_from(number % 65).unwrap());
        let properties = sample.properties();
        assert!(is_whole(properties.start) && is_whole(properties.stop));
        assert!((0..=64).contains(&properties.actual));
        let (result, start, stop) = sample.media_time();
        assert_eq!(result, S_OK);
        assert!(is_whole(start) && is_whole(stop));
    });
}

#[test]
fn two_threads_can_set_the_properties_of_one_sample() {
    use_in_two_threads(|sample, number| {
        let properties = SampleProperties {
            flags: TIMEVALID | STOPVALID,
            actual: 5,
            start: number,
            stop: number,
            stream_id: 7,
            media_type: ptr::null_mut(),
            ..sample.properties()
        };
        assert_eq!(sample.set_properties(&properties), S_OK);
        let properties = sample.properties();
        assert!(is_whole(properties.start) && is_whole(properties.stop));
        assert_eq!((properties.actual, properties.stream_id), (5, 7));
        assert_eq!(properties.flags, TIMEVALID | STOPVALID);
    });
}

#[test]
fn two_threads_can_set_the_media_type_of_one_sample() {
    let objects = [Callback::new(), Callback::new()];
    use_in_two_threads(|sample, number| {
        let which = usize::from(number % 2 == 0);
        let mut format = [u8::from(which == 0); 40];
        let mut new = with_unknown(7, objects[which].as_ptr());
        (new.format, new.format_size) = (format.as_mut_ptr(), 40);
        assert_eq!(sample.set_media_type(&new), S_OK);
        if let Some(copy) = sample.media_type() {
            let first = copy.format()[0];
            assert_eq!(copy.format(), [first; 40], "parts of two media types");
        }
        if number >= 20_000 {
            sample.set_media_type_at(ptr::null());
        }
    });
    for object in &objects {
        assert_eq!(object.references(), 0);
    }
}

#[test]
fn a_media_type_that_is_set_during_a_concurrent_clear_does_not_survive_the_release() {
    const ROUNDS: u32 = if cfg!(miri) { 10 } else { 20_000 };
    let allocator = Allocator::committed(1, 64);
    let object = Callback::new();
    let (round, cleared) = (AtomicU32::new(0), AtomicU32::new(0));
    let wait_for = |count: &AtomicU32, number| {
        wait_until(|| count.load(Ordering::Acquire) == number);
    };
    let sample = allocator.sample();
    let stale = sample.uncounted();
    drop(sample);
    let mut survived = 0;
    thread::scope(|scope| {
        let (round, cleared, sample) = (&round, &cleared, &stale);
        scope.spawn(move || {
            for number in 1..=ROUNDS {
                wait_for(round, number);
                sample.set_media_type_at(ptr::null());
                cleared.store(number, Ordering::Release);
            }
        });
        for number in 1..=ROUNDS {
            let sample = allocator.sample();
            round.store(number, Ordering::Release);
            sample.set_media_type(&with_unknown(7, object.as_ptr()));
            wait_for(cleared, number);
            drop(sample);
            survived += u32::from(object.references() != 0);
        }
    });
    assert_eq!(survived, 0, "{survived} of {ROUNDS} media types survived");
}

#[test]
fn two_threads_can_configure_one_allocator() {
    let allocator = Allocator::new();
    thread::scope(|scope| {
        for buffers in [2, 5] {
            let allocator = &allocator;
            scope.spawn(move || {
                for _ in 0..if cfg!(miri) { 10 } else { 300 } {
                    let request = properties(buffers, buffers * 16, 16, 0);
                    let (result, _) = allocator.set_properties(request);
                    assert!(
                        [S_OK, VFW_E_ALREADY_COMMITTED, VFW_E_BUFFERS_OUTSTANDING]
                            .contains(&result)
                    );
                    allocator.commit();
                    if let Ok(sample) = allocator.get_buffer(NOWAIT) {
                        assert!([32, 80].contains(&sample.size()));
                        sample.fill(1);
                    }
                    let seen = allocator.properties();
                    assert_eq!(seen.size, seen.buffers * 16, "parts of two requests");
                    allocator.ks.set_mode(0);
                    allocator.ks.set_handle(ptr::without_provenance_mut(4));
                    allocator.ks.status();
                    allocator.decommit();
                }
            });
        }
    });
    assert_eq!(allocator.set_properties(properties(2, 64, 1, 0)).0, S_OK);
    assert_eq!(allocator.commit(), S_OK);
    allocator.assert_all_free(2);
}
