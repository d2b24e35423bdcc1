//! Failure of each allocation whose size depends on the number of frames or events: the operation
//! fails with an error, or does without; nothing is lost, and the same operation works afterwards.
//!
//! Smaller allocations of a fixed size, such as that of an `Arc`, end the process if they fail, as
//! they do in the standard library.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "implements a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Debug;
use std::ptr;

use ks_allocator::{
    BuildError, CommitError, FramePool, FramePoolBuilder, Framing, KsAllocator, PoolAllocator,
    ReframeError, Share,
};

/// Number of frames, so many that every table of the pool is large.
const FRAMES: usize = 5000;

/// Size from which on an allocation can be made to fail, in bytes.
const LARGE: usize = 2500;

/// The system allocator, which fails one large allocation of a thread.
struct Failing;

thread_local! {
    /// Number of large allocations of this thread that succeed before one fails, if one is to.
    static UNTIL_FAILURE: Cell<Option<usize>> = const { Cell::new(None) };
}

fn fails(bytes: usize) -> bool {
    if bytes < LARGE {
        return false;
    }
    UNTIL_FAILURE.with(|until| match until.get() {
        Some(0) => {
            until.set(None);
            true
        }
        before => {
            until.set(before.map(|before| before - 1));
            false
        }
    })
}

// SAFETY: each method passes its arguments to the same method of `System`, or returns null, which
// stands for a failure. The thread-local has a constant initial value and no destructor.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return ptr::null_mut();
        }
        // SAFETY: the caller promises what `alloc` requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return ptr::null_mut();
        }
        // SAFETY: the caller promises what `alloc_zeroed` requires.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if fails(size) {
            return ptr::null_mut();
        }
        // SAFETY: the caller promises what `realloc` requires.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller promises what `dealloc` requires.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Runs `work` with each of its large allocations failing in turn, until it makes no more. Passes
/// each error to `check`. Returns the number of errors.
///
/// There is none if only a detail about the system could not be read.
fn fail_each<T, E: Debug>(
    mut work: impl FnMut() -> Result<T, E>,
    mut check: impl FnMut(E),
) -> usize {
    let mut errors = 0;
    for number in 0.. {
        UNTIL_FAILURE.set(Some(number));
        let result = work();
        let has_failed = UNTIL_FAILURE.replace(None).is_none();
        if !has_failed {
            drop(result.unwrap());
            break;
        }
        if let Err(error) = result {
            errors += 1;
            check(error);
        }
        // It works once memory is there.
        drop(work().unwrap());
    }
    errors
}

fn builder() -> FramePoolBuilder {
    FramePool::builder()
        .frames(FRAMES)
        .frame_size(64)
        .prefault(false)
}

/// Returns the bytes of the allocation that failed.
fn bytes_of(error: &CommitError) -> usize {
    match error {
        CommitError::OutOfMemory { bytes } => *bytes,
        other => panic!("{other}"),
    }
}

fn assert_works(pool: &FramePool) {
    assert_eq!(pool.free_frames(), FRAMES);
    drop(pool.acquire().unwrap());
}

#[test]
fn a_pool_is_not_built_without_each_of_its_tables() {
    type Change = fn(FramePoolBuilder) -> FramePoolBuilder;
    let options: [(&str, Change, usize); 5] = [
        ("plain", |builder| builder, 3),
        ("recorder", |builder| builder.record(1000), 4),
        ("times", |builder| builder.record_acquire_times(true), 3),
        ("attachment", |builder| builder.attachment(|_| 7_u64), 4),
        (
            "shares and levels",
            |builder| {
                let shares = (0..31).map(|number| Share::new(format!("share {number}").as_str()));
                shares
                    .fold(builder, FramePoolBuilder::share)
                    .on_low(1, 2, |_| ())
            },
            4,
        ),
    ];
    for (name, change, expected) in options {
        let builder = change(builder());
        let errors = fail_each(
            || builder.build().inspect(assert_works),
            |error| match error {
                BuildError::Commit(error) => assert!(bytes_of(&error) >= LARGE, "{name}"),
                error => panic!("{name}: {error}"),
            },
        );
        assert_eq!(errors, expected, "{name}");
        assert_works(&builder.build().unwrap());
    }
}

#[test]
fn a_commit_that_fails_leaves_an_allocator_that_can_be_committed() {
    let allocator = PoolAllocator::from_builder(&builder()).unwrap();
    let mut size = 64;
    let errors = fail_each(
        || {
            allocator.decommit();
            size += 64;
            allocator.set_framing(&Framing::new(FRAMES, size)).unwrap();
            let result = allocator.commit();
            assert_eq!(allocator.pool().is_some(), result.is_ok());
            result
        },
        |error| assert!(bytes_of(&error) >= LARGE),
    );
    assert!(errors >= 3, "{errors}");
    assert_works(&allocator.pool().unwrap());
}

#[test]
fn a_re_framing_that_fails_keeps_the_present_frames() {
    let allocator = PoolAllocator::from_builder(&builder()).unwrap();
    allocator.commit().unwrap();
    let held = allocator.acquire().unwrap();
    let before = allocator.pool().unwrap();
    let errors = fail_each(
        || {
            let present = allocator.framing();
            let result = allocator.reframe(Framing::new(FRAMES, 128));
            if result.is_err() {
                assert_eq!(allocator.framing(), present);
                drop(allocator.acquire().unwrap());
            }
            result
        },
        |error| match error {
            ReframeError::Commit(error) => assert!(bytes_of(&error) >= LARGE),
            other => panic!("{other}"),
        },
    );
    assert!(errors >= 3, "{errors}");
    drop(held);
    assert_works(&before);
    assert_works(&allocator.pool().unwrap());
}
