//! Conversion of frames to samples and of samples to frames.

use std::mem::ManuallyDrop;

use ks_allocator::com::{ComAllocator, IMediaSample2};
use ks_allocator::{Frame, FrameFlags, KsAllocator as _, TimeBase};
use windows_core::Interface as _;

use crate::client::{Allocator, Sample};
use crate::objects::Callback;
use crate::support::pool::pool;
use crate::vtables::*;

/// Returns an allocator of one buffer of 64 bytes for a COM client and for Rust code.
fn shared() -> (Allocator, ComAllocator) {
    let allocator = Allocator::committed(1, 64);
    let rust = allocator.rust();
    (allocator, rust)
}

/// Converts a frame to a sample of the client.
fn to_sample(allocator: &ComAllocator, frame: Frame) -> Sample {
    let sample = allocator
        .frame_to_sample(frame)
        .expect("the frame is from the allocator's pool");
    // SAFETY: it is an `IMediaSample2` pointer, whose reference `into_raw` gives up.
    unsafe { Sample::from_raw(sample.into_raw()) }
}

/// Converts a sample of the client to a frame.
fn to_frame(sample: Sample) -> Frame {
    let pointer = ManuallyDrop::new(sample).as_ptr();
    // SAFETY: it is an `IMediaSample2` pointer, whose reference the client gives up.
    let sample = unsafe { IMediaSample2::from_raw(pointer) };
    ComAllocator::sample_to_frame(sample).expect("the sample has one reference")
}

#[test]
fn a_sample_has_the_bytes_of_its_frame() {
    let (allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.fill(7);
    let address = frame.as_ptr().addr();
    let sample = to_sample(&rust, frame);
    assert_eq!((sample.address(), sample.references()), (address, 1));
    assert_eq!(sample.bytes(), [7; 64]);
    assert_eq!(allocator.free_count(), 0);
    drop(sample);
    assert_eq!(allocator.free_count(), 1);
}

#[test]
fn length_times_and_flags_are_converted_in_both_directions() {
    let (_allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.set_len(40).unwrap();
    frame.metadata_mut().presentation_time = Some(-5);
    frame.metadata_mut().duration = Some(15);
    frame.metadata_mut().flags = FrameFlags::SYNC_POINT | FrameFlags::END_OF_STREAM;
    frame.metadata_mut().sequence = 9;
    frame.metadata_mut().user = 11;

    let sample = to_sample(&rust, frame);
    assert_eq!(sample.actual_length(), 40);
    assert_eq!(sample.time(), (S_OK, -5, 10));
    assert_eq!(sample.properties().flags, 0x311, "times are valid, too");
    sample.set_actual_length(41);
    sample.set_time(Some(20), Some(50));
    sample.set_sync_point(0);
    sample.set_preroll(1);

    let frame = to_frame(sample);
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
        "samples have no such fields"
    );
}

#[test]
fn a_frame_without_times_becomes_a_sample_without_times() {
    let (_allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.metadata_mut().duration = Some(15);
    let sample = to_sample(&rust, frame);
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    sample.set_time(Some(20), None);
    let frame = to_frame(sample);
    assert_eq!(frame.metadata().presentation_time, Some(20));
    assert_eq!(frame.metadata().duration, None);
}

#[test]
fn unknown_flags_of_a_frame_are_dropped() {
    let (_allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.metadata_mut().flags = FrameFlags::from_bits_retain(u32::MAX);
    let sample = to_sample(&rust, frame);
    assert_eq!(sample.properties().flags, FrameFlags::all().bits());
    assert_eq!(sample.media_type_into(None), E_POINTER);
    assert!(sample.media_type().is_none());
}

#[test]
fn times_in_another_unit_become_ticks() {
    let (_allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    let metadata = frame.metadata_mut();
    metadata.time_base = TimeBase::new(1, 90_000).unwrap();
    metadata.presentation_time = Some(3_003);
    metadata.decode_time = Some(-9);
    metadata.duration = Some(1_500);
    let sample = to_sample(&rust, frame);
    assert_eq!(sample.time(), (S_OK, 333_667, 333_667 + 166_667));
    let frame = to_frame(sample);
    let metadata = frame.metadata();
    assert_eq!(metadata.time_base, TimeBase::TICKS_100_NS);
    assert_eq!(metadata.decode_time, Some(-1_000));
    assert_eq!(
        (metadata.presentation_time, metadata.duration),
        (Some(333_667), Some(166_667))
    );
}

#[test]
fn the_next_owner_finds_default_metadata() {
    let (allocator, rust) = shared();
    let mut frame = rust.acquire().unwrap();
    frame.metadata_mut().presentation_time = Some(1);
    frame.metadata_mut().sequence = 2;
    drop(to_sample(&rust, frame));
    let sample = allocator.sample();
    assert_eq!(sample.time().0, VFW_E_SAMPLE_TIME_NOT_SET);
    drop(sample);
    assert_eq!(*rust.acquire().unwrap().metadata(), Default::default());
}

#[test]
fn the_callback_is_not_called_for_a_sample_that_became_a_frame() {
    let (allocator, rust) = shared();
    let callback = Callback::new();
    allocator.set_notify(callback.as_ptr());
    let frame = to_frame(allocator.sample());
    assert_eq!(frame.len(), 64);
    drop(frame);
    assert_eq!((callback.calls(), allocator.free_count()), (0, 1));
    drop(to_sample(&rust, rust.acquire().unwrap()));
    assert_eq!(callback.calls(), 1);
    allocator.set_notify(std::ptr::null_mut());
}

#[test]
fn a_frame_of_another_pool_is_returned_to_the_caller() {
    let (_allocator, rust) = shared();
    let pool = pool(1, 64);
    let mut frame = pool.acquire().unwrap();
    frame.metadata_mut().sequence = 3;
    let frame = rust
        .frame_to_sample(frame)
        .expect_err("the frame is from another pool");
    assert_eq!(frame.metadata().sequence, 3);
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn a_sample_with_two_references_is_returned_to_the_caller() {
    let (allocator, rust) = shared();
    let sample = rust.frame_to_sample(rust.acquire().unwrap()).unwrap();
    let other = sample.clone();
    let sample = ComAllocator::sample_to_frame(sample).expect_err("the sample has two references");
    drop((sample, other));
    assert_eq!(allocator.free_count(), 1);
}

#[test]
fn an_object_that_is_not_a_sample_is_returned_to_the_caller() {
    let callback = Callback::new();
    // SAFETY: the callback implements IUnknown. No other method is called, because
    // `sample_to_frame` recognizes samples of the crate by their vtable.
    let foreign = unsafe { IMediaSample2::from_raw(callback.as_ptr()) };
    let foreign = ComAllocator::sample_to_frame(foreign).expect_err("it is not a sample");
    assert_eq!(foreign.into_raw(), callback.as_ptr());
    assert_eq!((callback.references(), callback.calls()), (0, 0));
}
