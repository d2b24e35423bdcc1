//! Frames that become samples, and samples that become frames.

use std::mem::ManuallyDrop;

use ks_allocator::com::{ComAllocator, IMediaSample2};
use ks_allocator::{Frame, FrameFlags, FramePool, KsAllocator as _};
use windows_core::Interface as _;

use crate::client::{Allocator, Sample};
use crate::objects::Callback;
use crate::vtables::*;

/// An allocator of one buffer of 64 bytes, as a client and as Rust see it.
fn shared() -> (Allocator, ComAllocator) {
    let allocator = Allocator::committed(1, 64);
    let rust = allocator.rust();
    (allocator, rust)
}

/// The sample of a frame, as a client sees it.
fn lent(allocator: &ComAllocator, frame: Frame) -> Sample {
    let sample = allocator
        .frame_to_sample(frame)
        .expect("a frame of its own");
    // SAFETY: an `IMediaSample2` with one reference.
    unsafe { Sample::adopt(sample.into_raw()) }
}

/// What the client has, in Rust.
fn taken_back(sample: Sample) -> Frame {
    let pointer = ManuallyDrop::new(sample).as_ptr();
    // SAFETY: an `IMediaSample2` with one reference, which the client has just left to us.
    let sample = unsafe { IMediaSample2::from_raw(pointer) };
    ComAllocator::sample_to_frame(sample).expect("the only reference on a sample of the crate's")
}

#[test]
fn a_lent_frame_is_the_sample_of_the_same_bytes() {
    let (allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.fill(7);
    let address = frame.as_ptr().addr();
    let sample = lent(&rust, frame);
    assert_eq!((sample.address(), sample.references()), (address, 1));
    assert_eq!(sample.bytes(), [7; 64]);
    assert_eq!(allocator.free_count(), 0);
    drop(sample);
    assert_eq!(allocator.free_count(), 1);
}

#[test]
fn length_times_and_flags_go_there_and_back() {
    let (_allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.set_len(40).unwrap();
    frame.metadata_mut().presentation_time = Some(-5);
    frame.metadata_mut().duration = Some(15);
    frame.metadata_mut().flags = FrameFlags::SYNC_POINT | FrameFlags::END_OF_STREAM;
    frame.metadata_mut().sequence = 9;
    frame.metadata_mut().user = 11;

    let sample = lent(&rust, frame);
    assert_eq!(sample.actual(), 40);
    assert_eq!(sample.time(), (S_OK, -5, 10));
    assert_eq!(sample.image().flags, 0x311, "and times that are valid");
    sample.set_actual(41);
    sample.set_time(Some(20), Some(50));
    sample.set_sync_point(0);
    sample.set_preroll(1);

    let frame = taken_back(sample);
    let metadata = frame.metadata();
    assert_eq!(frame.len(), 41);
    assert_eq!(metadata.presentation_time, Some(20));
    assert_eq!(metadata.duration, Some(30));
    assert_eq!(
        metadata.flags,
        FrameFlags::PREROLL | FrameFlags::END_OF_STREAM
    );
    assert_eq!(
        (metadata.sequence, metadata.user),
        (9, 11),
        "COM does not know of these"
    );
}

#[test]
fn a_frame_without_times_is_a_sample_without() {
    let (_allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.metadata_mut().duration = Some(15);
    let sample = lent(&rust, frame);
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    sample.set_time(Some(20), None);
    let frame = taken_back(sample);
    assert_eq!(frame.metadata().presentation_time, Some(20));
    assert_eq!(frame.metadata().duration, None);
}

#[test]
fn bits_that_are_no_flags_of_a_frame_stay_behind() {
    let (_allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.metadata_mut().flags = FrameFlags::from_bits_retain(u32::MAX);
    let sample = lent(&rust, frame);
    assert_eq!(sample.image().flags, FrameFlags::all().bits());
    assert_eq!(sample.media_type_into(None), E_POINTER);
    assert!(sample.media_type().is_none());
}

#[test]
fn the_next_owner_sees_nothing_of_it() {
    let (allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.metadata_mut().presentation_time = Some(1);
    frame.metadata_mut().sequence = 2;
    drop(lent(&rust, frame));
    let sample = allocator.sample();
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    drop(sample);
    assert_eq!(*rust.acquire().unwrap().metadata(), Default::default());
}

#[test]
fn a_frame_that_is_taken_back_goes_home_untold() {
    let (allocator, rust) = shared();
    let callback = Callback::new();
    allocator.set_notify(callback.as_ptr());
    let frame = taken_back(allocator.sample());
    assert_eq!(frame.len(), 64);
    drop(frame);
    assert_eq!((callback.calls(), allocator.free_count()), (0, 1));
    drop(lent(&rust, rust.acquire().unwrap()));
    assert_eq!(callback.calls(), 1);
    allocator.set_notify(std::ptr::null_mut());
}

#[test]
fn a_frame_of_another_pool_is_handed_back() {
    let (_allocator, rust) = shared();
    let pool = FramePool::builder()
        .frames(1)
        .frame_size(64)
        .build()
        .unwrap();
    let mut frame = pool.acquire().unwrap();
    frame.metadata_mut().sequence = 3;
    let frame = rust
        .frame_to_sample(frame)
        .expect_err("it is not of the allocator's pool");
    assert_eq!(frame.metadata().sequence, 3);
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn a_sample_with_other_references_is_handed_back() {
    let (allocator, rust) = shared();
    let sample = rust.frame_to_sample(rust.acquire().unwrap()).unwrap();
    let other = sample.clone();
    let sample = ComAllocator::sample_to_frame(sample).expect_err("there are two");
    drop((sample, other));
    assert_eq!(allocator.free_count(), 1);
}

#[test]
fn the_object_of_somebody_else_is_handed_back() {
    let callback = Callback::new();
    // SAFETY: an object; which is all that is asked of it here.
    let stranger = unsafe { IMediaSample2::from_raw(callback.as_ptr()) };
    let stranger = ComAllocator::sample_to_frame(stranger).expect_err("not one of the crate's");
    assert_eq!(stranger.into_raw(), callback.as_ptr());
    assert_eq!((callback.references(), callback.calls()), (0, 0));
}
