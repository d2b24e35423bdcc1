//! The bytes and the metadata of a frame after a release and an acquire, under each policy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::thread;

use ks_allocator::{
    Contents, Frame, FrameBatch, FramePool, FramePoolBuilder, KsAllocator as _, PoolAllocator,
};

use support::wait_until::wait_until;

mod support {
    pub(crate) mod wait_until;
}

const ALL: [Contents; 3] = [
    Contents::Keep,
    Contents::ZeroOnAcquire,
    Contents::ZeroOnRelease,
];

fn builder(contents: Contents) -> FramePoolBuilder {
    FramePool::builder()
        .frames(1)
        .frame_size(100)
        .prefix(8)
        .contents(contents)
}

fn write(frame: &mut Frame) {
    frame.fill(7);
    frame.prefix_mut().fill(7);
    frame.set_len(3).unwrap();
}

/// Asserts that the frame contains what the policy leaves of the bytes that `write` wrote.
fn check(frame: &Frame, contents: Contents) {
    let expected = if contents == Contents::Keep { 7 } else { 0 };
    assert_eq!(frame.len(), 100, "{contents:?}");
    assert!(frame.iter().all(|&byte| byte == expected), "{contents:?}");
    assert_eq!(frame.prefix(), [expected; 8], "{contents:?}");
}

#[test]
fn the_whole_frame_is_kept_or_zeroed_even_beyond_its_length() {
    for contents in ALL {
        let pool = builder(contents).build().unwrap();
        for _ in 0..3 {
            write(&mut pool.acquire().unwrap());
            check(&pool.acquire().unwrap(), contents);
        }
    }
}

#[test]
fn the_policy_holds_for_shared_transferred_and_batched_frames() {
    for contents in ALL {
        let pool = builder(contents).build().unwrap();
        let mut frame = pool.acquire().unwrap();
        write(&mut frame);
        let shared = frame.share();
        drop((shared.clone(), shared));
        let mut frame = pool.acquire_many(1).unwrap().next().unwrap();
        check(&frame, contents);

        write(&mut frame);
        let waiter = {
            let pool = pool.clone();
            thread::spawn(move || pool.acquire().unwrap())
        };
        wait_until(|| pool.waiting() > 0);
        drop(frame); // assigned to the waiter
        let mut frame = waiter.join().unwrap();
        check(&frame, contents);

        write(&mut frame);
        let batch = FrameBatch::from(frame);
        assert_eq!(
            batch[0][..],
            [7; 3],
            "a batch leaves its frames as they are"
        );
        drop(batch);
        check(&pool.acquire_many(1).unwrap()[0], contents);

        let mut frame = pool.acquire().unwrap();
        write(&mut frame);
        drop(frame);
        drop(pool.acquire_many(1).unwrap());
        check(&pool.acquire().unwrap(), contents);
    }
}

#[test]
fn metadata_is_reset_under_every_policy() {
    for contents in ALL {
        let pool = builder(contents).build().unwrap();
        for sequence in 1..4 {
            let mut frame = pool.acquire().unwrap();
            assert_eq!(frame.metadata().sequence, 0, "{contents:?}");
            frame.metadata_mut().sequence = sequence;
        }
    }
}

#[test]
fn copy_on_write_copies_the_bytes_under_every_policy() {
    for contents in ALL {
        let pool = builder(contents).frames(2).build().unwrap();
        let mut frame = pool.acquire().unwrap();
        frame.fill(9);
        let one = frame.share();
        let mut two = one.clone();
        two.make_mut().unwrap()[0] = 1;
        assert_eq!((one[1], two[1]), (9, 9), "{contents:?}");
    }
}

#[test]
fn a_copy_that_grows_shows_bytes_of_another_holder_only_if_they_are_kept() {
    for contents in ALL {
        let pool = builder(contents).frames(2).build().unwrap();
        // Both slots have held other bytes before.
        let mut both = [pool.acquire().unwrap(), pool.acquire().unwrap()];
        both.iter_mut().for_each(write);
        drop(both);

        let mut original = pool.acquire().unwrap();
        original.set_len(0).unwrap();
        original.write_all(b"mine").unwrap();
        let original = original.share();
        let mut copy = original.clone();
        let copy = copy.make_mut().unwrap();
        copy.set_len(copy.capacity()).unwrap();
        let expected = if contents == Contents::Keep { 7 } else { 0 };
        assert_eq!(&copy[..4], b"mine", "{contents:?}");
        assert!(
            copy[4..].iter().all(|&byte| byte == expected),
            "{contents:?}"
        );
    }
}

#[test]
fn a_capacity_beyond_the_length_that_was_asked_for_is_zeroed_as_well() {
    for contents in ALL {
        let pool = builder(contents).alignment(64).build().unwrap();
        for expected in [0, if contents == Contents::Keep { 7 } else { 0 }] {
            let mut frame = pool.acquire().unwrap();
            frame.set_len(frame.capacity()).unwrap();
            assert!(frame.len() > 100);
            assert!(frame.iter().all(|&byte| byte == expected), "{contents:?}");
            frame.fill(7);
        }
    }
}

#[test]
fn an_allocator_applies_the_policy_of_its_builder() {
    for contents in ALL {
        let allocator = PoolAllocator::from_builder(&builder(contents)).unwrap();
        allocator.commit().unwrap();
        write(&mut allocator.acquire().unwrap());
        allocator.decommit();
        allocator.commit().unwrap();
        check(&allocator.acquire().unwrap(), contents);
    }
}
