//! Clients that do what they must not: they are refused, or ignored, and harm themselves alone.

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use ks_allocator::{Framing, KsAllocator as _};

use crate::client::{Allocator, Sample};
use crate::media_type::{media_type, with_format, with_unknown};
use crate::objects::Callback;
use crate::vtables::*;

#[test]
fn null_everywhere_in_an_allocator() {
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
    allocator.check_whole(1);
}

#[test]
fn null_everywhere_in_a_sample() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    sample.set_time(Some(1), Some(2));
    sample.set_media_time(Some(3), Some(4));
    let before = sample.image();
    assert_eq!(sample.query_interface(None, None), E_POINTER);
    assert_eq!(sample.pointer_into(None), E_POINTER);
    for (start, stop) in [(false, false), (true, false), (false, true)] {
        let (mut one, mut other) = (5, 6);
        let result = sample.time_into(start.then_some(&mut one), stop.then_some(&mut other));
        assert_eq!(result, E_POINTER, "GetTime");
        let result = sample.media_time_into(start.then_some(&mut one), stop.then_some(&mut other));
        assert_eq!(result, E_POINTER, "GetMediaTime");
        assert_eq!((one, other), (5, 6));
    }
    assert_eq!(sample.media_type_into(None), E_POINTER);
    assert_eq!(sample.image_into(64, ptr::null_mut()), E_POINTER);
    assert_eq!(sample.set_image_at(64, ptr::null()), E_POINTER);
    assert_eq!(sample.image(), before);
    assert_eq!(sample.media_time(), (S_OK, 3, 4));
}

#[test]
fn one_release_too_many_of_a_sample_changes_nothing() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let stale = sample.uncounted();
    assert_eq!(sample.leave(), 0);
    for _ in 0..5 {
        assert_eq!(stale.release(), 0);
        assert_eq!(allocator.free_count(), 2);
    }
    allocator.check_whole(2);
}

#[test]
fn a_sample_that_is_free_is_not_revived() {
    let allocator = Allocator::committed(2, 64);
    let sample = allocator.sample();
    let stale = sample.uncounted();
    drop(sample);
    for _ in 0..5 {
        assert_eq!(stale.add_ref(), 0);
    }
    assert_eq!(allocator.free_count(), 2);
    assert_eq!(stale.release(), 0);
    allocator.check_whole(2);
}

#[test]
fn one_release_too_many_is_not_told() {
    let callback = Callback::new();
    let allocator = Allocator::committed(2, 64);
    allocator.set_notify(callback.as_ptr());
    let sample = allocator.sample();
    let stale = sample.uncounted();
    drop(sample);
    stale.release();
    assert_eq!(callback.calls(), 1);
    allocator.set_notify(ptr::null_mut());
}

#[test]
fn one_release_too_many_leaves_a_decommit_alone() {
    let allocator = Allocator::committed(2, 64);
    let (sample, other) = (allocator.sample(), allocator.sample());
    let stale = sample.uncounted();
    allocator.decommit();
    drop(sample);
    assert_eq!(stale.release(), 0);
    let refused = allocator.set(properties(1, 1, 1, 0)).0;
    assert_eq!(refused, VFW_E_BUFFERS_OUTSTANDING);
    drop(other);
    allocator.commit();
    allocator.check_whole(2);
}

#[test]
fn a_sample_that_is_free_can_be_asked() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let stale = sample.uncounted();
    drop(sample);
    assert_eq!(stale.size(), 64);
    assert_eq!(stale.query(&IID_IMEDIA_SAMPLE2).0, S_OK);
    assert_eq!(stale.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    allocator.check_whole(1);
}

#[test]
fn a_media_type_may_be_set_to_itself() {
    let object = Callback::new();
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let mut format = [1, 2, 3];
    let mut attached = with_format(1, &mut format);
    attached.unknown = object.as_ptr();
    sample.set_media_type(&attached);
    assert_eq!(sample.set_media_type_at(sample.image().media_type), S_OK);
    let copy = sample.media_type().unwrap();
    assert_eq!((copy.sample_size, copy.format()), (1, &[1, 2, 3][..]));
    drop(copy);
    assert_eq!(object.references(), 1);
}

#[test]
fn a_format_block_of_no_size_is_not_looked_at() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    let lying = MediaType {
        format: ptr::without_provenance_mut(8),
        ..media_type(1)
    };
    assert_eq!(sample.set_media_type(&lying), S_OK);
    let copy = sample.media_type().unwrap();
    assert_eq!((copy.format_size, copy.format()), (0, &[][..]));
    drop(copy);
    assert_eq!(sample.leave(), 0);
}

#[test]
fn a_format_block_that_is_not_there_is_not_looked_at() {
    let allocator = Allocator::committed(1, 64);
    let sample = allocator.sample();
    for format_size in [1, 1000, u32::MAX] {
        let lying = MediaType {
            format_size,
            ..media_type(1)
        };
        sample.set_media_type(&lying);
        if let Some(copy) = sample.media_type() {
            assert!(copy.format_size == 0 || !copy.format.is_null());
        }
    }
    assert_eq!(sample.leave(), 0);
    allocator.check_whole(1);
}

#[test]
fn nonsense_for_properties_gets_a_status_all_the_same() {
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
fn a_rust_framing_beyond_com_is_survived() {
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
    assert_eq!(allocator.set(properties(1, 64, 1, 0)).0, S_OK);
    assert_eq!(allocator.commit(), S_OK);
    assert_eq!(allocator.sample().size(), 64);
}

/// Waits until `all` threads have come here.
fn meet(here: &AtomicU32, all: u32) {
    here.fetch_add(1, Ordering::SeqCst);
    while here.load(Ordering::SeqCst) < all {
        thread::yield_now();
    }
}

/// Two threads do `this` to one sample at once, each with numbers of its own; then to the next, and
/// so on. No owner finds anything of the one before.
fn two_at_once(this: impl Fn(&Sample, i64) + Sync) {
    let (owners, rounds) = if cfg!(miri) { (5, 4) } else { (10_000, 4) };
    let allocator = Allocator::committed(1, 64);
    let here = AtomicU32::new(0);
    let run = |sample: &Sample, owner: u32, thread: i64| {
        meet(&here, 2 * owner);
        (0..rounds).for_each(|round| this(sample, thread * 10_000 + round));
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
            assert_eq!(sample.image().flags, 0);
            assert!(sample.media_type().is_none());
            assert_eq!(sample.media_time().0, VFW_E_MEDIA_TIME_NOT_SET);
            to_other.send(sample.clone()).unwrap();
            run(&sample, owner, 1);
            drop(from_other.recv().unwrap());
            assert_eq!(sample.leave(), 0);
        }
    });
    allocator.check_whole(1);
}

/// Numbers of one of the two threads, and not a half of each.
fn is_whole(number: i64) -> bool {
    (10_000..30_000).contains(&number)
}

#[test]
fn two_threads_may_set_the_attributes_of_one_sample() {
    two_at_once(|sample, number| {
        sample.set_time(Some(number), Some(number));
        sample.set_media_time(Some(number), Some(number));
        sample.set_sync_point(i32::from(number % 2 == 0));
        sample.set_actual(i32::try_from(number % 65).unwrap());
        let image = sample.image();
        assert!(is_whole(image.start) && is_whole(image.stop));
        assert!((0..=64).contains(&image.actual));
        let (result, start, stop) = sample.media_time();
        assert_eq!(result, S_OK);
        assert!(is_whole(start) && is_whole(stop));
    });
}

#[test]
fn two_threads_may_set_the_image_of_one_sample() {
    two_at_once(|sample, number| {
        let image = SampleProperties {
            flags: TIMEVALID | STOPVALID,
            actual: 5,
            start: number,
            stop: number,
            stream_id: 7,
            media_type: ptr::null_mut(),
            ..sample.image()
        };
        assert_eq!(sample.set_image(&image), S_OK);
        let image = sample.image();
        assert!(is_whole(image.start) && is_whole(image.stop));
        assert_eq!((image.actual, image.stream_id), (5, 7));
        assert_eq!(image.flags, TIMEVALID | STOPVALID);
    });
}

#[test]
fn two_threads_may_set_the_media_type_of_one_sample() {
    let objects = [Callback::new(), Callback::new()];
    two_at_once(|sample, number| {
        let which = usize::from(number % 2 == 0);
        let mut format = [u8::from(which == 0); 40];
        let mut new = with_unknown(7, objects[which].as_ptr());
        (new.format, new.format_size) = (format.as_mut_ptr(), 40);
        assert_eq!(sample.set_media_type(&new), S_OK);
        if let Some(copy) = sample.media_type() {
            let first = copy.format()[0];
            assert_eq!(copy.format(), [first; 40], "one media type out of two");
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
fn a_media_type_that_is_set_while_another_thread_clears_it_does_not_survive_the_release() {
    const ROUNDS: u32 = if cfg!(miri) { 10 } else { 20_000 };
    let allocator = Allocator::committed(1, 64);
    let object = Callback::new();
    let (round, cleared) = (AtomicU32::new(0), AtomicU32::new(0));
    let until = |count: &AtomicU32, wanted| {
        while count.load(Ordering::Acquire) != wanted {
            thread::yield_now();
        }
    };
    let shared = allocator.sample();
    let address = shared.uncounted();
    drop(shared);
    let mut survived = 0;
    thread::scope(|scope| {
        let (round, cleared, sample) = (&round, &cleared, &address);
        scope.spawn(move || {
            for number in 1..=ROUNDS {
                until(round, number);
                sample.set_media_type_at(ptr::null());
                cleared.store(number, Ordering::Release);
            }
        });
        for number in 1..=ROUNDS {
            let sample = allocator.sample();
            round.store(number, Ordering::Release);
            sample.set_media_type(&with_unknown(7, object.as_ptr()));
            until(cleared, number);
            drop(sample);
            survived += u32::from(object.references() != 0);
        }
    });
    assert_eq!(survived, 0, "of {ROUNDS} media types");
}

#[test]
fn two_threads_may_configure_one_allocator() {
    let allocator = Allocator::new();
    thread::scope(|scope| {
        for buffers in [2, 5] {
            let allocator = &allocator;
            scope.spawn(move || {
                for _ in 0..if cfg!(miri) { 10 } else { 300 } {
                    let request = properties(buffers, buffers * 16, 16, 0);
                    let (result, _) = allocator.set(request);
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
                    assert_eq!(seen.size, seen.buffers * 16, "one request out of two");
                    allocator.ks.set_mode(0);
                    allocator.ks.set_handle(ptr::without_provenance_mut(4));
                    allocator.ks.status();
                    allocator.decommit();
                }
            });
        }
    });
    assert_eq!(allocator.set(properties(2, 64, 1, 0)).0, S_OK);
    assert_eq!(allocator.commit(), S_OK);
    allocator.check_whole(2);
}
