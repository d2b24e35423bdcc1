//! Change of framing and format while clients hold samples and wait for some.

use std::thread;
use std::time::Duration;

use ks_allocator::com::{
    AM_MEDIA_TYPE, FORMAT_VideoInfo, FormatChange, FormatChangeError, MEDIASUBTYPE_RGB32,
    video_info_header, video_subtype,
};
use ks_allocator::{
    CommitError, FramePool, Framing, KsAllocator as _, PoolAllocator, ReframeError, Reframing,
    VideoFormat, VideoLayout,
};
use windows_core::{GUID, Interface as _};

use crate::client::{Allocator, Sample};
use crate::support::wait_until::wait_until;
use crate::vtables::*;

/// Returns a media type for pictures of NV12, whose format block the caller owns.
fn nv12(header: &mut [u8]) -> AM_MEDIA_TYPE {
    AM_MEDIA_TYPE {
        subtype: video_subtype(VideoFormat::Nv12).unwrap(),
        formattype: FORMAT_VideoInfo,
        cbFormat: u32::try_from(header.len()).unwrap(),
        pbFormat: header.as_mut_ptr(),
        ..AM_MEDIA_TYPE::default()
    }
}

fn header(width: u32, height: u32) -> Vec<u8> {
    let layout = VideoLayout::new(VideoFormat::Nv12, width, height).unwrap();
    video_info_header(&layout, 400_000).unwrap()
}

#[test]
fn samples_of_both_generations_are_valid() {
    let allocator = Allocator::committed(2, 64);
    let rust = allocator.rust();
    let old = allocator.sample();
    rust.reframe(Framing::new(3, 256)).unwrap();
    let new = allocator.sample();
    assert_eq!((old.size(), new.size()), (64, 256));
    assert_eq!(allocator.free_count(), 2);
    let properties = allocator.properties();
    assert_eq!((properties.buffers, properties.size), (3, 256));
    old.fill(1);
    new.fill(2);
    assert_eq!((old.bytes(), new.bytes()), (&[1; 64][..], &[2; 256][..]));
    drop((old, new));
    assert_eq!(allocator.free_count(), 3);
}

#[test]
fn a_client_that_waits_in_get_buffer_gets_a_new_sample() {
    let allocator = Allocator::committed(1, 64);
    let rust = allocator.rust();
    let held = allocator.sample();
    let pool = rust.pool().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| allocator.get_buffer(0).unwrap().size());
        wait_until(|| pool.waiting() == 1);
        rust.reframe(Framing::new(1, 256)).unwrap();
        assert_eq!(waiter.join().unwrap(), 256);
    });
    drop(held);
}

#[test]
fn an_allocator_without_any_framing_is_not_committed() {
    let allocator = Allocator::new();
    let mut header = header(64, 48);
    // SAFETY: the format block outlives the call.
    let result = unsafe { allocator.rust().change_format(&nv12(&mut header), 2) };
    let error = FormatChangeError::Reframe(ReframeError::NotCommitted);
    assert_eq!(result.unwrap_err().to_string(), error.to_string());
}

#[test]
fn the_first_new_sample_announces_the_format_and_later_ones_do_not() {
    let allocator = Allocator::committed(2, 64);
    let rust = allocator.rust();
    let old = allocator.sample();
    let mut header = header(64, 48);
    let media_type = nv12(&mut header);
    // SAFETY: the format block is that of `header`.
    let framing = unsafe { rust.change_format(&media_type, 2) }.unwrap();
    assert_eq!(framing.frame_size, 64 * 48 * 3 / 2);
    assert_eq!(rust.video_layout().map(|layout| layout.width()), Some(64));

    let first = allocator.sample();
    let announced = first.media_type().expect("it is the first");
    assert_eq!(announced.format(), header);
    let second = allocator.sample();
    assert!(second.media_type().is_none());
    assert!(old.media_type().is_none());
    drop((first, second));
    assert!(
        allocator.sample().media_type().is_none(),
        "it was announced"
    );
}

#[test]
fn a_frame_of_rust_code_announces_the_format_too() {
    let allocator = Allocator::committed(1, 64);
    let rust = allocator.rust();
    let mut header = header(64, 48);
    let media_type = nv12(&mut header);
    // SAFETY: the format block is that of `header`.
    unsafe { rust.change_format(&media_type, 1) }.unwrap();
    let sample = rust.frame_to_sample(rust.acquire().unwrap()).unwrap();
    // SAFETY: it is an `IMediaSample2` pointer, whose reference `into_raw` gives up.
    let sample = unsafe { Sample::from_raw(sample.into_raw()) };
    assert_eq!(sample.media_type().unwrap().format(), header);
}

#[test]
fn a_later_change_replaces_an_announcement_that_no_sample_made() {
    let allocator = Allocator::committed(1, 64);
    let rust = allocator.rust();
    for (width, height) in [(64, 48), (32, 16)] {
        let mut header = header(width, height);
        let media_type = nv12(&mut header);
        // SAFETY: the format block is that of `header`.
        unsafe { rust.change_format(&media_type, 1) }.unwrap();
    }
    assert_eq!(
        allocator.sample().media_type().unwrap().format(),
        header(32, 16)
    );
    let mut header = header(64, 48);
    let media_type = nv12(&mut header);
    // SAFETY: the format block is that of `header`.
    unsafe { rust.change_format(&media_type, 1) }.unwrap();
    rust.reframe(Framing::new(1, 100)).unwrap();
    assert!(allocator.sample().media_type().is_none());
}

#[test]
fn prefix_and_alignment_that_a_client_has_set_survive_a_change() {
    let allocator = Allocator::committed_with(properties(2, 1000, 64, 16));
    let rust = allocator.rust();
    let held = allocator.sample();
    held.fill_prefix(16, 7);
    let mut header = header(64, 48);
    let media_type = nv12(&mut header);
    // SAFETY: the format block is that of `header`.
    let framing = unsafe { rust.change_format(&media_type, 3) }.unwrap();
    assert_eq!((framing.alignment, framing.prefix), (64, 16));
    // 16 + 4,608 bytes, rounded up to a multiple of 64.
    assert_eq!(allocator.properties(), properties(3, 4656, 64, 16));
    let samples = allocator.samples(3);
    for sample in &samples {
        assert_eq!((sample.address() - 16) % 64, 0);
        assert_eq!(sample.size(), 4656);
        sample.fill_prefix(16, 1);
        sample.fill(2);
        assert_eq!(sample.prefix(16), [1; 16]);
    }
    assert_eq!(held.prefix(16), [7; 16]);

    // A change of a change, and an alignment that is no multiple of the picture's.
    let allocator = Allocator::committed_with(properties(1, 480, 48, 5));
    let rust = allocator.rust();
    for frames in [1, 2] {
        // SAFETY: the format block is that of `header`.
        let framing = unsafe { rust.change_format(&media_type, frames) }.unwrap();
        assert_eq!((framing.alignment % 48, framing.prefix), (0, 5));
        let sample = allocator.sample();
        assert_eq!((sample.address() - 5) % 48, 0);
        assert!(sample.size() >= 64 * 48 * 3 / 2);
    }
}

#[test]
fn a_change_can_free_the_old_memory_first() {
    // Enough memory for the frames of one format, but not of both.
    let options = FramePool::builder()
        .frames(2)
        .frame_size(4096)
        .max_bytes(12_000);
    let allocator = Allocator::from_rust(PoolAllocator::from_builder(&options).unwrap());
    assert_eq!(allocator.commit(), S_OK);
    let rust = allocator.rust();
    let mut header = header(64, 48);
    let media_type = nv12(&mut header);
    let held = allocator.sample();

    // SAFETY: the format block is that of `header`.
    let error = unsafe { rust.change_format(&media_type, 2) }.unwrap_err();
    assert!(
        matches!(
            error,
            FormatChangeError::Reframe(ReframeError::Commit(CommitError::OverBudget { .. }))
        ),
        "{error:?}"
    );
    let drained = |timeout| FormatChange::new(2).drain(Duration::from_millis(timeout));
    // SAFETY: the format block is that of `header`.
    let error = unsafe { rust.change_format(&media_type, drained(1)) }.unwrap_err();
    assert!(
        error.to_string().contains("1 of 2 frames is out"),
        "{error}"
    );
    let sample = allocator.sample();
    assert_eq!(sample.size(), 4096);
    assert!(sample.media_type().is_none());
    drop(sample);

    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(held);
        });
        // SAFETY: the format block is that of `header`.
        let result = unsafe { rust.change_format(&media_type, drained(60_000)) };
        assert_eq!(result.unwrap().frame_size, 4608);
    });
    assert_eq!(rust.bytes_in_use(), Some(2 * 4608));
    let sample = allocator.sample();
    assert_eq!(sample.size(), 4608);
    assert_eq!(sample.media_type().unwrap().format(), header);
}

#[test]
fn a_change_of_the_format_keeps_the_prefix_of_a_change_that_ends_before_it() {
    let allocator = Allocator::committed(2, 64);
    let rust = allocator.rust();
    let mut header = header(64, 48);
    let media_type = nv12(&mut header);
    let held = allocator.sample();
    let pool = rust.pool().unwrap();
    thread::scope(|scope| {
        let other = Framing::new(1, 64).alignment(32).prefix(32);
        let other = Reframing::new(other).drain(Duration::from_secs(60));
        let other = scope.spawn(|| rust.reframe(other));
        // While it waits for the sample, no frame goes out.
        wait_until(|| pool.try_acquire().is_err());
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(100)); // The change of the format has begun.
            drop(held);
        });
        // SAFETY: the format block is that of `header`.
        let framing = unsafe { rust.change_format(&media_type, 1) }.unwrap();
        assert_eq!((framing.alignment, framing.prefix), (32, 32));
        other.join().unwrap().unwrap();
    });
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let allocator = Allocator::committed(1, 64);
    let rust = allocator.rust();
    let mut header = header(64, 48);
    let media_type = nv12(&mut header);
    let others = [
        AM_MEDIA_TYPE {
            subtype: GUID::zeroed(),
            ..media_type
        },
        AM_MEDIA_TYPE {
            subtype: MEDIASUBTYPE_RGB32,
            ..media_type
        },
        AM_MEDIA_TYPE {
            cbFormat: 87,
            ..media_type
        },
    ];
    for other in others {
        // SAFETY: the format block is that of `header`, or a part of it.
        let error = unsafe { rust.change_format(&other, 1) }.unwrap_err();
        assert!(matches!(error, FormatChangeError::VideoInfo(_)), "{error}");
    }
    // SAFETY: the format block is that of `header`.
    let error = unsafe { rust.change_format(&media_type, 0) }.unwrap_err();
    assert!(matches!(
        error,
        FormatChangeError::Reframe(ReframeError::Commit(_))
    ));
    let sample = allocator.sample();
    assert_eq!(sample.size(), 64);
    assert!(sample.media_type().is_none());
    let request = allocator.properties();
    assert_eq!(allocator.set_properties(request).0, VFW_E_ALREADY_COMMITTED);
}
