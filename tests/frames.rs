//! Operations of an owner on its frames: contents, sharing and batches.

use std::io::{self, Read, Write};
use std::panic::{RefUnwindSafe, UnwindSafe};

use ks_allocator::{
    AcquireError, Frame, FrameBatch, FrameFlags, FramePool, Framing, Holders, KsAllocator,
    LengthError, Metadata, PoolAllocator, SharedFrame, Starvation,
};

use support::pool::pool;
use support::wait_until::wait_until;

mod support {
    pub(crate) mod pool;
    pub(crate) mod wait_until;
}

#[test]
fn handles_are_send_sync_static_and_frames_are_one_pointer_wide() {
    fn assert_bounds<T: Send + Sync + UnwindSafe + RefUnwindSafe + 'static>() {}
    assert_bounds::<Frame>();
    assert_bounds::<SharedFrame>();
    assert_bounds::<FrameBatch>();
    assert_bounds::<FramePool>();
    assert_bounds::<PoolAllocator>();
    assert_eq!(size_of::<Option<Frame>>(), size_of::<usize>());
    assert_eq!(size_of::<Option<SharedFrame>>(), size_of::<usize>());
}

#[test]
fn a_fresh_frame_is_zeroed_and_has_its_full_length() {
    let pool = pool(3, 1000);
    for frame in [pool.acquire(), pool.acquire(), pool.acquire()] {
        let frame = frame.unwrap();
        assert_eq!((frame.len(), frame.capacity()), (1000, 1000));
        assert!(frame.iter().all(|&byte| byte == 0));
        assert_eq!(*frame.metadata(), Metadata::default());
    }
}

/// A size that is no multiple of the alignment, so that the capacity is 32 bytes larger.
const PICTURE: usize = 854 * 480 * 3 / 2;

fn rounded_pool() -> FramePool {
    let builder = FramePool::builder().frames(3).frame_size(PICTURE);
    builder
        .alignment(64)
        .build()
        .expect("the pool should build")
}

#[test]
fn an_acquired_frame_has_the_length_that_was_asked_for_however_it_is_acquired() {
    let pool = rounded_pool();
    assert_eq!(pool.framing().frame_size, PICTURE + 32);
    let allocator = PoolAllocator::with_framing(Framing::new(2, PICTURE).alignment(64)).unwrap();
    allocator.commit().unwrap();
    let built = PoolAllocator::from_builder(
        &FramePool::builder()
            .frames(1)
            .frame_size(PICTURE)
            .alignment(64),
    );
    let built = built.unwrap();
    built.commit().unwrap();

    let mut used = pool.acquire().unwrap();
    used.set_len(PICTURE + 32).unwrap();
    assert!(used.set_len(PICTURE + 33).is_err());
    drop(used);
    let frames = [
        pool.try_acquire().unwrap(),
        pool.acquire_many(1).unwrap().next().unwrap(),
        pool.acquire().unwrap(),
        allocator.try_acquire().unwrap(),
        allocator.acquire().unwrap(),
        built.acquire().unwrap(),
    ];
    for frame in frames {
        assert_eq!((frame.len(), frame.capacity()), (PICTURE, PICTURE + 32));
    }
    assert_eq!(allocator.pool().unwrap().frame_len(), PICTURE);

    // A framing that was rounded before asks for the rounded size.
    allocator.decommit();
    let rounded = allocator.framing();
    allocator.set_framing(&rounded).unwrap();
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap().len(), PICTURE + 32);
}

#[test]
fn reading_a_frame_leaves_the_next_picture_in_the_reader() {
    let pool = rounded_pool();
    let pictures: Vec<u8> = [1, 2]
        .iter()
        .flat_map(|&byte| vec![byte; PICTURE])
        .collect();
    let mut reader = &pictures[..];
    let mut copy = Vec::new();
    for byte in [1, 2] {
        let mut frame = pool.acquire().unwrap();
        frame.set_len(frame.capacity()).unwrap();
        assert_eq!(frame.read_from(&mut reader).unwrap(), PICTURE);
        assert!(frame.iter().all(|&read| read == byte));
        copy.write_all(&frame).unwrap();
    }
    assert_eq!(copy, pictures);
    pool.acquire()
        .unwrap()
        .copy_from_slice(&pictures[..PICTURE]);
}

#[test]
fn a_copy_has_the_length_of_its_original_up_to_the_capacity() {
    let pool = rounded_pool();
    for length in [0, PICTURE, PICTURE + 32] {
        let mut frame = pool.acquire().unwrap();
        frame.set_len(length).unwrap();
        frame.fill(7);
        let original = frame.share();
        let mut copy = original.clone();
        assert_eq!(**copy.make_mut().unwrap(), *original);
        assert_eq!(copy.len(), length);
    }
}

#[test]
fn a_recycled_frame_keeps_its_bytes_but_not_its_length_or_metadata() {
    let pool = pool(1, 8);
    let mut frame = pool.acquire().unwrap();
    frame.copy_from_slice(b"previous");
    frame.set_len(2).unwrap();
    frame.metadata_mut().presentation_time = Some(-1);
    frame.metadata_mut().flags = FrameFlags::all();
    frame.metadata_mut().user = 7;
    drop(frame);

    let frame = pool.acquire().unwrap();
    // The comparison includes the length, which was 2.
    assert_eq!(&*frame, b"previous");
    assert_eq!(*frame.metadata(), Metadata::default());
}

#[test]
fn metadata_lasts_until_the_last_shared_handle_is_dropped() {
    let pool = pool(1, 8);
    let mut frame = pool.acquire().unwrap();
    frame.metadata_mut().sequence = 9;
    let shared = frame.share();
    let other = shared.clone();
    drop(shared);
    assert_eq!(other.metadata().sequence, 9);
    drop(other);
    assert_eq!(pool.acquire().unwrap().metadata().sequence, 0);
}

#[test]
fn a_length_beyond_the_capacity_fails_and_the_error_has_the_numbers() {
    let pool = pool(1, 8);
    let mut frame = pool.acquire().unwrap();
    let LengthError {
        requested,
        capacity,
        ..
    } = frame.set_len(9).unwrap_err();
    assert_eq!((requested, capacity, frame.len()), (9, 8, 8));
    for length in [0, 1, 8] {
        frame.set_len(length).unwrap();
        assert_eq!(frame.len(), length);
        assert_eq!(frame.is_empty(), length == 0);
    }
}

#[test]
fn prefix_and_payload_do_not_overlap() {
    let pool = FramePool::builder()
        .frames(4)
        .frame_size(100)
        .prefix(7)
        .alignment(3)
        .build()
        .unwrap();
    let mut frames: Vec<_> = (0..4).map(|_| pool.acquire().unwrap()).collect();
    for (number, frame) in (0..).zip(&mut frames) {
        frame.prefix_mut().fill(0x10 + number);
        frame.fill(0x20 + number);
    }
    for (number, frame) in (0..).zip(&frames) {
        assert_eq!(frame.prefix(), [0x10 + number; 7]);
        assert!(frame.iter().all(|&byte| byte == 0x20 + number));
        let start = frame.prefix().as_ptr();
        assert_eq!(start.addr() % 3, 0, "the prefix start is aligned");
        assert_eq!(start.wrapping_add(7), frame.as_ptr());
    }
}

#[test]
fn write_appends_until_the_frame_is_full() {
    let pool = pool(1, 8);
    let mut frame = pool.acquire().unwrap();
    assert_eq!(frame.write(b"full").unwrap(), 0);
    frame.clear();
    assert_eq!(frame.write(b"12345").unwrap(), 5);
    assert_eq!(frame.write(b"67890").unwrap(), 3);
    assert_eq!(&*frame, b"12345678");
    assert_eq!(
        frame.write_all(b"9").unwrap_err().kind(),
        io::ErrorKind::WriteZero
    );
    frame.flush().unwrap();
}

/// A reader that returns these results in turn, and then end of file.
struct Script(Vec<io::Result<usize>>);

impl Read for Script {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let next = if self.0.is_empty() {
            Ok(0)
        } else {
            self.0.remove(0)
        };
        if let Ok(count) = next {
            // The result may claim more bytes than there is room for.
            let count = count.min(into.len());
            into[..count].fill(b'x');
        }
        next
    }
}

#[test]
fn read_from_continues_after_short_reads_and_interruptions() {
    let pool = pool(1, 8);
    let mut frame = pool.acquire().unwrap();
    let interrupted = io::ErrorKind::Interrupted.into();
    let mut reader = Script(vec![Ok(1), Err(interrupted), Ok(2)]);
    assert_eq!(frame.read_from(&mut reader).unwrap(), 3);
    assert_eq!(&*frame, b"xxx");
    assert_eq!(frame.read_from(&mut io::repeat(b'y')).unwrap(), 8);
    assert_eq!(frame.read_from(&mut io::empty()).unwrap(), 0);
    assert!(frame.is_empty());
}

#[test]
fn a_reader_that_fails_or_claims_too_many_bytes_leaves_the_frame_valid() {
    let pool = pool(1, 8);
    let mut frame = pool.acquire().unwrap();
    frame.set_len(5).unwrap();
    let broken = Err(io::ErrorKind::BrokenPipe.into());
    let error = frame
        .read_from(&mut Script(vec![Ok(2), broken]))
        .unwrap_err();
    assert_eq!((error.kind(), frame.len()), (io::ErrorKind::BrokenPipe, 5));

    let mut reader = Script(vec![Ok(usize::MAX)]);
    assert_eq!(frame.read_from(&mut reader).unwrap(), 8);
    assert_eq!(frame.len(), 8);
}

#[test]
fn shared_handles_see_one_frame_and_the_last_releases_it() {
    let pool = pool(2, 4);
    let mut frame = pool.acquire().unwrap();
    frame.copy_from_slice(b"once");
    let handles: Vec<SharedFrame> = vec![frame.into(); 5];
    for handle in &handles {
        assert_eq!(handle.as_ref(), b"once");
        assert_eq!(handle.as_ptr(), handles[0].as_ptr());
        assert_eq!(pool.free_frames(), 1);
    }
    drop(handles);
    assert_eq!(pool.free_frames(), 2);
}

#[test]
fn a_shared_frame_becomes_unique_only_by_its_single_handle() {
    let pool = pool(1, 4);
    let one = pool.acquire().unwrap().share();
    let two = one.clone();
    let one = one.try_into_unique().unwrap_err();
    drop(two);
    let mut frame = one.try_into_unique().unwrap();
    frame.fill(1);
    drop(frame);
    assert_eq!(pool.free_frames(), 1);
}

#[test]
fn make_mut_writes_in_place_if_unique_and_copies_all_parts_if_shared() {
    let pool = FramePool::builder()
        .frames(2)
        .frame_size(8)
        .prefix(2)
        .build()
        .unwrap();
    let mut frame = pool.acquire().unwrap();
    frame.copy_from_slice(b"original");
    frame.set_len(4).unwrap();
    frame.prefix_mut().copy_from_slice(b"pr");
    frame.metadata_mut().sequence = 3;
    let mut one = frame.share();

    let address = one.as_ptr();
    one.make_mut().unwrap()[0] = b'O';
    assert_eq!((one.as_ptr(), &*one), (address, &b"Orig"[..]));

    let two = one.clone();
    let copy = one.make_mut().unwrap();
    assert_eq!(
        (&**copy, copy.prefix(), copy.metadata().sequence),
        (&b"Orig"[..], &b"pr"[..], 3)
    );
    copy[0] = b'X';
    assert_ne!(one.as_ptr(), two.as_ptr());
    assert_eq!((&*one, &*two), (&b"Xrig"[..], &b"Orig"[..]));
    assert_eq!(pool.free_frames(), 0);

    // Each handle is the single one of its frame now.
    assert!(one.try_into_unique().is_ok());
    assert!(two.try_into_unique().is_ok());
}

#[test]
fn make_mut_without_a_free_frame_leaves_the_handle_unchanged() {
    let pool = pool(1, 4);
    let mut one = pool.acquire().unwrap().share();
    let two = one.clone();
    assert_eq!(
        one.make_mut().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    assert_eq!(one.as_ptr(), two.as_ptr());
    pool.begin_flush();
    assert_eq!(one.make_mut().unwrap_err(), AcquireError::Flushing);
    assert_eq!(one.as_ptr(), two.as_ptr());
}

#[test]
fn a_frame_that_is_swapped_in_through_make_mut_can_be_shared_and_is_released() {
    let pool = pool(2, 4);
    let mut shared = pool.acquire().unwrap().share();
    let mut unique = pool.acquire().unwrap();
    unique.copy_from_slice(b"from");
    std::mem::swap(shared.make_mut().unwrap(), &mut unique);
    assert_eq!(&*shared, b"from");
    let another = shared.clone();
    drop((shared, unique, another));
    assert_eq!(pool.free_frames(), 2);
}

#[test]
fn a_dropped_batch_releases_the_frames_that_were_not_taken_out() {
    let pool = pool(62, 8);
    let mut batch = pool.acquire_many(100).unwrap();
    assert_eq!((batch.len(), pool.free_frames()), (62, 0));
    let ten: Vec<_> = batch.by_ref().take(10).collect();
    assert_eq!((batch.len(), batch.size_hint()), (52, (52, Some(52))));
    drop(batch);
    assert_eq!(pool.free_frames(), 52);
    drop(ten);
    assert_eq!(pool.free_frames(), 62);
    assert!(pool.acquire_many(0).unwrap().next().is_none());
}

#[test]
fn a_batch_has_at_most_64_frames() {
    let pool = pool(100, 8);
    let mut batch = pool.acquire_many(100).unwrap();
    assert_eq!((batch.len(), FrameBatch::MAX), (64, 64));
    let frame = pool.acquire().unwrap();
    let slot = frame.slot();
    assert_eq!(batch.push(frame).unwrap_err().slot(), slot);
    drop(batch.next());
    batch.push(pool.acquire().unwrap()).unwrap();
    drop(batch);
    assert_eq!(pool.free_frames(), 100);
}

#[test]
fn frames_are_used_in_the_batch_and_reset_when_it_is_dropped() {
    let pool = pool(40, 8);
    let mut batch = pool.acquire_many(30).unwrap();
    for (number, frame) in (0_u8..).zip(batch.iter_mut()) {
        frame.fill(number);
        frame.set_len(3).unwrap();
        frame.metadata_mut().sequence = u64::from(number);
    }
    let slots: std::collections::HashSet<_> = batch.iter().map(Frame::slot).collect();
    assert_eq!(slots.len(), 30);
    assert_eq!(
        (&batch[7][..], batch[7].metadata().sequence),
        (&[7; 3][..], 7)
    );
    drop(batch);
    assert_eq!(pool.free_frames(), 40);
    for frame in pool.acquire_many(40).unwrap() {
        assert_eq!((frame.len(), frame.metadata().sequence), (8, 0));
    }
}

#[test]
fn a_batch_releases_the_frames_that_are_pushed_into_it() {
    let pool = pool(8, 8);
    let mut batch = pool.acquire_many(4).unwrap();
    let mut frame = batch.next().unwrap();
    frame.metadata_mut().sequence = 77;
    let slot = frame.slot();
    batch.push(frame).unwrap();
    batch.push(pool.acquire().unwrap()).unwrap();
    assert_eq!((batch.len(), pool.free_frames()), (5, 3));

    let again = batch.by_ref().find(|frame| frame.slot() == slot).unwrap();
    assert_eq!(again.metadata().sequence, 77);
    batch.push(again).unwrap();
    let left = batch.len();
    drop(batch);
    assert_eq!(pool.free_frames(), 8, "{left} frames were in the batch");
}

#[test]
fn a_batch_may_have_frames_of_several_pools() {
    let (pool, other) = (pool(4, 8), pool(4, 8));
    let mut batch = FrameBatch::default();
    for _ in 0..2 {
        batch.push(other.acquire().unwrap()).unwrap();
        batch.push(pool.acquire().unwrap()).unwrap();
    }
    drop(pool);
    assert_eq!((batch.len(), other.free_frames()), (4, 2));
    drop(batch);
    assert_eq!(other.free_frames(), 4);
}

/// The last frame of the first pool frees that pool, and with it what its hook has captured.
#[test]
fn a_batch_loses_no_frame_if_the_end_of_another_pool_panics() {
    struct PanicsOnDrop;
    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("dropped with its pool");
        }
    }
    let captured = PanicsOnDrop;
    // The builder has the hook as well, and ends first.
    let build = move || {
        let builder = FramePool::builder().frames(1).frame_size(8);
        let hook = move |_: &Holders| {
            let _captured = &captured;
        };
        builder.on_leak(hook).build().unwrap()
    };
    let ending = build();
    let pool = pool(3, 8);
    let mut batch = FrameBatch::from(ending.acquire().unwrap());
    drop(ending);
    for _ in 0..3 {
        batch.push(pool.acquire().unwrap()).unwrap();
    }
    drop(batch);
    assert_eq!(pool.free_frames(), 3);
}

#[test]
fn acquire_many_on_an_exhausted_pool_waits_for_a_frame() {
    let pool = pool(2, 8);
    let held = pool.acquire_many(2).unwrap();
    assert_eq!(
        pool.try_acquire_many(2).unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire_many(2).unwrap().len());
        wait_until(|| pool.waiting() == 1);
        drop(held);
        assert_eq!(waiter.join().unwrap(), 1);
    });
    assert_eq!(pool.free_frames(), 2);
}

#[test]
fn all_frames_are_distinct_in_pools_of_sizes_around_multiples_of_a_word() {
    let sizes: &[usize] = if cfg!(miri) {
        &[1, 33, 62, 64]
    } else {
        &[1, 31, 32, 33, 61, 62, 63, 64, 96, 128, 1024, 4096]
    };
    for &frames in sizes {
        for shards in [1, 2, 5] {
            let pool = FramePool::builder()
                .frames(frames)
                .frame_size(8)
                .shards(shards)
                .build()
                .unwrap();
            let mut held: Vec<_> = (0..frames).map(|_| pool.try_acquire().unwrap()).collect();
            for (number, frame) in (0_u64..).zip(&mut held) {
                frame.copy_from_slice(&number.to_ne_bytes());
            }
            for (number, frame) in (0_u64..).zip(&held) {
                assert_eq!(**frame, number.to_ne_bytes(), "frame {number} of {frames}");
            }
            assert_eq!(
                pool.try_acquire().unwrap_err(),
                AcquireError::Exhausted(Starvation::default())
            );
        }
    }
}

#[test]
fn debug_output_has_the_properties_and_not_the_payload() {
    let pool = pool(2, 64);
    let mut frame = pool.acquire().unwrap();
    frame.fill(211);
    let text = format!("{frame:?} {pool:?}");
    for part in ["slot: 0", "len: 64", "capacity: 64", "free_frames: 1"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("211, 211"), "{text}");
    assert!(text.len() < 500, "{text}");
    let text = format!("{:?}", frame.share());
    assert!(text.starts_with("SharedFrame"), "{text}");
    assert!(!text.contains("211, 211"), "{text}");
}
