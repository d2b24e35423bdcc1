//! Frames as pointers and slices, the pools of frames, and other libraries' buffers.
#![cfg(not(any(loom, miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::thread;

use ks_allocator::{Frame, FramePool, SharedFrame};

fn pool(frames: usize) -> FramePool {
    let builder = FramePool::builder().frames(frames).frame_size(64);
    builder.build().unwrap()
}

#[expect(unsafe_code, reason = "makes frames of pointers")]
#[test]
fn a_frame_goes_through_a_pointer_to_another_thread() {
    let pool = pool(4);
    let mut frames: Vec<_> = (0..4).map(|_| pool.acquire().unwrap()).collect();
    for (frame, byte) in frames.iter_mut().zip(1..) {
        frame.fill(byte);
        frame.set_len(usize::from(byte)).unwrap();
        frame.metadata_mut().sequence = u64::from(byte);
    }
    let addresses: Vec<_> = frames
        .into_iter()
        .map(|frame| frame.into_raw().as_ptr() as usize)
        .collect();
    assert_eq!(addresses.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(pool.free_frames(), 0);
    thread::spawn(move || {
        for (address, byte) in addresses.into_iter().zip(1..) {
            let pointer = std::ptr::NonNull::new(address as *mut std::ffi::c_void).unwrap();
            // SAFETY: the pointer was made of a frame, and is used once.
            let frame = unsafe { Frame::from_raw(pointer) };
            assert_eq!(*frame, vec![byte; usize::from(byte)]);
            assert_eq!(frame.metadata().sequence, u64::from(byte));
        }
    })
    .join()
    .unwrap();
    assert_eq!(pool.free_frames(), 4);
}

#[expect(unsafe_code, reason = "makes frames of pointers")]
#[test]
fn a_pointer_of_a_shared_frame_is_a_handle_until_it_is_used() {
    let pool = pool(1);
    let shared = pool.acquire().unwrap().share();
    let pointers = [shared.clone().into_raw(), shared.clone().into_raw()];
    assert_eq!(pointers[0], pointers[1]);
    let mut shared = shared.try_into_unique().unwrap_err();
    for pointer in pointers {
        assert!(
            shared.make_mut().is_err(),
            "there is another handle, and no free frame"
        );
        // SAFETY: the pointer was made of a handle, and is used once per handle.
        drop(unsafe { SharedFrame::from_raw(pointer) });
    }
    let pointer = shared.into_raw();
    // SAFETY: the pointer was made of the only handle, and is used once.
    let mut unique = unsafe { Frame::from_raw(pointer) };
    unique.fill(1);
    drop(unique);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn slices_keep_their_frame_and_stay_within_it() {
    let pool = pool(1);
    let mut frame = pool.acquire().unwrap();
    frame
        .iter_mut()
        .zip(0..)
        .for_each(|(byte, value)| *byte = value);
    frame.set_len(50).unwrap();
    let frame = frame.share();
    assert!(frame.slice(..51).is_none());
    assert!(frame.slice(usize::MAX..).is_none());
    assert!(frame.slice(..=usize::MAX).is_none());
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "it is an error that the test is about"
    )]
    let reversed = frame.slice(9..8);
    assert!(reversed.is_none());
    assert!(frame.slice(50..).unwrap().is_empty());
    let slice = frame.slice(10..20).unwrap();
    let inner = slice
        .slice((std::ops::Bound::Excluded(1), std::ops::Bound::Unbounded))
        .unwrap();
    assert_eq!(inner.range(), 12..20);
    assert!(slice.slice(..11).is_none());
    drop((frame, slice));
    let copies: Vec<_> = (0..8).map(|_| inner.clone()).collect();
    thread::scope(|scope| {
        for copy in copies {
            scope.spawn(move || assert_eq!(*copy, [12, 13, 14, 15, 16, 17, 18, 19]));
        }
    });
    assert_eq!(pool.free_frames(), 0);
    drop(inner);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn a_frame_knows_its_pool_until_the_last_handle_is_gone() {
    let (one, two) = (pool(2), pool(2));
    let frame = one.acquire().unwrap();
    assert!(frame.pool().unwrap().same_as(&one));
    assert!(!frame.pool().unwrap().same_as(&two));
    let shared = frame.share();
    let again = shared.pool().unwrap();
    drop(one);
    let other = again.acquire().unwrap();
    drop(again);
    assert!(shared.pool().is_none() && other.pool().is_none());
}

#[cfg(feature = "bytes")]
#[test]
fn bytes_are_the_frame_until_the_last_part_is_dropped() {
    use bytes::{Buf, BufMut, Bytes};

    let pool = pool(1);
    let mut frame = pool.acquire().unwrap();
    let address = frame.as_ptr();
    frame.clear();
    frame.put_u32(7);
    frame.put_bytes(9, 60);
    assert!(!frame.has_remaining_mut());
    assert_eq!(frame.len(), 64);
    let mut bytes = Bytes::from(frame);
    assert_eq!(bytes.as_ptr(), address);
    let tail = bytes.split_off(60);
    assert_eq!(bytes.get_u32(), 7);
    drop(bytes);
    assert_eq!((pool.free_frames(), &tail[..]), (0, &[9; 4][..]));
    drop(tail);
    let slice = pool.acquire().unwrap().share().slice(60..).unwrap();
    let bytes = Bytes::from(slice);
    assert_eq!((pool.free_frames(), &bytes[..]), (0, &[9; 4][..]));
    drop(bytes);
    assert_eq!(pool.free_frames(), 1);
}

#[cfg(feature = "bytes")]
#[test]
#[should_panic(expected = "advance")]
fn more_than_the_capacity_is_not_put() {
    use bytes::BufMut;

    let mut frame = pool(1).acquire().unwrap();
    frame.put_u8(1);
}
