//! Every call of the control plane in every state: the table in the documentation of `KsAllocator`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ks_allocator::{
    AcquireError, AllocatorMode, AllocatorState, CommitError, Frame, Framing, FramingError,
    KsAllocator, ModeError, PoolAllocator, Starvation,
};

use AllocatorState::{Committed, Decommitting, Uncommitted};

use support::committed_allocator::committed_allocator;

mod support {
    pub(crate) mod committed_allocator;
}

const STATES: [AllocatorState; 3] = [Uncommitted, Committed, Decommitting];

/// An allocator of 3 frames of 64 bytes in a given state. In `Decommitting`, a frame is held.
struct Subject {
    allocator: PoolAllocator,
    held: Option<Frame>,
}

impl Subject {
    fn in_state(state: AllocatorState) -> Self {
        let allocator = PoolAllocator::with_framing(Framing::new(3, 64)).unwrap();
        let mut held = None;
        if state != Uncommitted {
            allocator.commit().unwrap();
        }
        if state == Decommitting {
            held = Some(allocator.acquire().unwrap());
            allocator.decommit();
        }
        let subject = Self { allocator, held };
        assert_eq!(subject.state(), state);
        subject
    }

    fn state(&self) -> AllocatorState {
        self.allocator.allocator_status().state
    }
}

/// Calls `call` in each state, and asserts its result and the state after it.
///
/// The rows are in the order of [`STATES`].
#[track_caller]
fn assert_table<T: PartialEq + std::fmt::Debug>(
    call: impl Fn(&PoolAllocator) -> T,
    rows: [(T, AllocatorState); 3],
) {
    for (state, (expected, after)) in STATES.into_iter().zip(rows) {
        let subject = Subject::in_state(state);
        assert_eq!(call(&subject.allocator), expected, "in {state:?}");
        assert_eq!(subject.state(), after, "after the call in {state:?}");
    }
}

#[test]
fn framing_in_every_state() {
    let framing = Framing::new(3, 64);
    assert_table(
        KsAllocator::framing,
        [
            (framing, Uncommitted),
            (framing, Committed),
            (framing, Decommitting),
        ],
    );
    assert_eq!(PoolAllocator::new().framing(), Framing::default());
}

#[test]
fn set_framing_in_every_state() {
    let request = Framing::new(5, 100).alignment(16).prefix(3);
    let actual = Framing::new(5, 109).alignment(16).prefix(3);
    assert_table(
        |allocator| allocator.set_framing(&request),
        [
            (Ok(actual), Uncommitted),
            (Err(FramingError::AlreadyCommitted), Committed),
            (
                Err(FramingError::FramesOutstanding {
                    outstanding: 1,
                    frames: 3,
                }),
                Decommitting,
            ),
        ],
    );
}

#[test]
fn set_framing_checks_the_alignment_before_the_state() {
    for alignment in [0, 65_537, 131_072, usize::MAX] {
        let error = Err(FramingError::Alignment { alignment });
        assert_table(
            |allocator| allocator.set_framing(&Framing::new(5, 100).alignment(alignment)),
            [
                (error, Uncommitted),
                (error, Committed),
                (error, Decommitting),
            ],
        );
    }
}

#[test]
fn a_rejected_framing_changes_nothing() {
    for state in STATES {
        let subject = Subject::in_state(state);
        assert!(
            subject
                .allocator
                .set_framing(&Framing::new(9, 9).alignment(0))
                .is_err()
        );
        assert_eq!(subject.allocator.framing(), Framing::new(3, 64));
    }
}

#[test]
fn set_allocator_mode_to_the_same_mode_in_every_state() {
    assert_table(
        |allocator| allocator.set_allocator_mode(AllocatorMode::User),
        [
            (Ok(()), Uncommitted),
            (Ok(()), Committed),
            (Ok(()), Decommitting),
        ],
    );
}

#[test]
fn set_allocator_mode_to_another_mode_in_every_state() {
    let rejected = Err(ModeError::AlreadyCommitted {
        current: AllocatorMode::User,
        requested: AllocatorMode::Kernel,
    });
    let call = |allocator: &PoolAllocator| {
        let result = allocator.set_allocator_mode(AllocatorMode::Kernel);
        (result, allocator.allocator_mode())
    };
    assert_table(
        call,
        [
            ((Ok(()), AllocatorMode::Kernel), Uncommitted),
            ((rejected, AllocatorMode::User), Committed),
            ((rejected, AllocatorMode::User), Decommitting),
        ],
    );
}

#[test]
fn commit_and_decommit_in_every_state() {
    assert_table(
        |allocator| allocator.commit().is_ok(),
        [(true, Committed), (true, Committed), (true, Committed)],
    );
    assert_table(
        KsAllocator::decommit,
        [((), Uncommitted), ((), Uncommitted), ((), Decommitting)],
    );
}

#[test]
fn commit_without_frames_or_size_fails_with_framing_not_set() {
    for framing in [Framing::default(), Framing::new(0, 64), Framing::new(3, 0)] {
        let allocator = PoolAllocator::new();
        if framing != Framing::default() {
            allocator.set_framing(&framing).unwrap();
        }
        let error = allocator.commit().unwrap_err();
        assert!(
            matches!(error, CommitError::FramingNotSet { .. }),
            "{framing:?}: {error}"
        );
        assert_eq!(allocator.allocator_status().state, Uncommitted);
        assert_eq!(allocator.framing().frames, framing.frames);
    }
}

#[test]
fn a_frame_size_that_rounding_raises_above_0_commits() {
    let allocator =
        PoolAllocator::with_framing(Framing::new(1, 0).alignment(16).prefix(1)).unwrap();
    allocator.commit().unwrap();
    let frame = allocator.acquire().unwrap();
    assert_eq!((frame.len(), frame.capacity()), (0, 15));
}

#[test]
fn a_commit_that_is_too_large_fails_with_the_numbers_and_changes_nothing() {
    let too_large = [
        Framing::new(usize::MAX, usize::MAX),
        Framing::new(2, usize::MAX / 2),
        Framing::new(1, 64).prefix(usize::MAX - 10),
        Framing::new(Framing::MAX_FRAMES + 1, 1),
    ];
    for framing in too_large {
        let allocator = PoolAllocator::with_framing(framing).unwrap();
        let error = allocator.commit().unwrap_err();
        assert!(
            matches!(error, CommitError::TooLarge { .. }),
            "{framing:?}: {error}"
        );
        assert!(
            error.to_string().contains(&framing.frames.to_string()),
            "{error}"
        );
        assert_eq!(allocator.allocator_status().state, Uncommitted);
        assert_eq!(allocator.acquire().unwrap_err(), AcquireError::NotCommitted);

        allocator.set_framing(&Framing::new(3, 64)).unwrap();
        allocator.commit().unwrap();
        assert_eq!(allocator.free_frames(), 3);

        // The commit drops the pool of the earlier framing before it allocates, so none is left.
        allocator.decommit();
        allocator.set_framing(&framing).unwrap();
        assert!(allocator.commit().is_err());
        assert!(allocator.pool().is_none());
        assert_eq!(allocator.acquire().unwrap_err(), AcquireError::NotCommitted);
    }
}

/// More tests of Kernel mode are in `tests/kernel_mode.rs`.
#[test]
fn a_commit_in_kernel_mode_has_a_handle_or_fails_with_mode_unsupported() {
    let allocator = PoolAllocator::with_framing(Framing::new(3, 64)).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    let supported = cfg!(any(target_os = "linux", target_os = "android", windows));
    match allocator.commit() {
        Ok(()) => {
            assert!(supported);
            assert_eq!(allocator.allocator_status().state, Committed);
            assert!(allocator.allocator_handle().is_some());
            allocator.decommit();
        }
        Err(CommitError::ModeUnsupported { mode, .. }) => {
            assert!(!supported);
            assert_eq!(mode, AllocatorMode::Kernel);
            assert_eq!(allocator.allocator_status().state, Uncommitted);
            assert!(allocator.allocator_handle().is_none());
        }
        Err(other) => panic!("{other}"),
    }
    allocator.set_allocator_mode(AllocatorMode::User).unwrap();
    allocator.commit().unwrap();
    assert!(allocator.allocator_handle().is_none());
}

#[test]
fn acquire_in_every_state_while_frames_are_free() {
    let timeout = Duration::from_secs(60);
    type Acquire = fn(&PoolAllocator, Duration) -> Result<Frame, AcquireError>;
    let calls: [Acquire; 3] = [
        |allocator, _| allocator.acquire(),
        |allocator, _| allocator.try_acquire(),
        |allocator, timeout| allocator.acquire_timeout(timeout),
    ];
    for call in calls {
        let call = |allocator: &PoolAllocator| call(allocator, timeout).map(|frame| frame.len());
        assert_table(
            call,
            [
                (Err(AcquireError::NotCommitted), Uncommitted),
                (Ok(64), Committed),
                (Err(AcquireError::NotCommitted), Decommitting),
            ],
        );
    }
}

#[test]
fn acquire_while_all_frames_are_out() {
    let allocator = committed_allocator(3, 64);
    let held: Vec<_> = (0..3).map(|_| allocator.acquire().unwrap()).collect();
    let timeout = Duration::from_millis(1);
    assert_eq!(
        allocator.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    assert_eq!(
        allocator.acquire_timeout(timeout).unwrap_err(),
        AcquireError::TimedOut(Starvation::default())
    );
    assert_eq!(
        allocator.acquire_timeout(Duration::ZERO).unwrap_err(),
        AcquireError::TimedOut(Starvation::default())
    );

    // Flushing takes precedence over exhausted, and not committed over both.
    allocator.begin_flush();
    assert_eq!(allocator.try_acquire().unwrap_err(), AcquireError::Flushing);
    allocator.decommit();
    assert_eq!(
        allocator.try_acquire().unwrap_err(),
        AcquireError::NotCommitted
    );
    drop(held);
}

#[test]
fn status_and_free_frames_in_every_state() {
    let counts = |allocator: &PoolAllocator| {
        (
            allocator.allocator_status().allocated_frames,
            allocator.free_frames(),
        )
    };
    assert_table(
        counts,
        [
            ((0, 3), Uncommitted),
            ((0, 3), Committed),
            ((1, 2), Decommitting),
        ],
    );
}

#[test]
fn free_frames_follows_framing_commit_acquire_decommit_and_release() {
    let allocator = PoolAllocator::new();
    assert_eq!(allocator.free_frames(), 0);
    allocator.set_framing(&Framing::new(3, 64)).unwrap();
    assert_eq!(allocator.free_frames(), 3);
    allocator.commit().unwrap();
    let (one, two) = (allocator.acquire().unwrap(), allocator.acquire().unwrap());
    assert_eq!(allocator.free_frames(), 1);
    allocator.decommit();
    assert_eq!(allocator.free_frames(), 1);
    drop(one);
    assert_eq!(allocator.free_frames(), 2);
    drop(two);
    assert_eq!(allocator.free_frames(), 3);
    allocator.set_framing(&Framing::new(7, 64)).unwrap();
    assert_eq!(allocator.free_frames(), 7);
}

#[test]
fn flush_in_every_state() {
    let flush = |allocator: &PoolAllocator| {
        allocator.begin_flush();
        let during = allocator.try_acquire().unwrap_err();
        allocator.end_flush();
        (during, allocator.try_acquire().map(|frame| frame.len()))
    };
    let not_committed = || (AcquireError::NotCommitted, Err(AcquireError::NotCommitted));
    assert_table(
        flush,
        [
            (not_committed(), Uncommitted),
            ((AcquireError::Flushing, Ok(64)), Committed),
            (not_committed(), Decommitting),
        ],
    );
}

#[test]
fn a_flush_lasts_across_decommit_commit_and_set_framing() {
    let allocator = PoolAllocator::with_framing(Framing::new(3, 64)).unwrap();
    allocator.begin_flush();
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    allocator.decommit();
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    allocator.decommit();
    allocator.set_framing(&Framing::new(4, 64)).unwrap();
    allocator.commit().unwrap();
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    allocator.end_flush();
    assert!(allocator.acquire().is_ok());
}

#[test]
fn a_flush_ends_for_pool_and_allocator_whichever_of_them_ends_it() {
    let allocator = committed_allocator(3, 64);
    let pool = allocator.pool().unwrap();
    allocator.begin_flush();
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::Flushing);
    pool.end_flush();
    assert!(allocator.acquire().is_ok());

    pool.begin_flush();
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::Flushing);
    allocator.end_flush();
    assert!(pool.acquire().is_ok());

    // The next generation does not inherit a flush that the pool ended.
    allocator.begin_flush();
    pool.end_flush();
    allocator.decommit();
    allocator.set_framing(&Framing::new(4, 64)).unwrap();
    allocator.commit().unwrap();
    assert!(allocator.acquire().is_ok());
}

#[test]
fn the_release_of_the_last_frame_completes_a_decommit() {
    let mut subject = Subject::in_state(Decommitting);
    drop(subject.held.take());
    assert_eq!(subject.state(), Uncommitted);
    subject.allocator.set_framing(&Framing::new(9, 32)).unwrap();
    subject.allocator.commit().unwrap();
    assert_eq!(subject.allocator.free_frames(), 9);
}

#[test]
fn commit_cancels_a_pending_decommit_and_keeps_the_memory() {
    let mut subject = Subject::in_state(Decommitting);
    let memory = subject.held.as_ref().unwrap().as_ptr();
    subject.allocator.commit().unwrap();
    assert_eq!(subject.allocator.allocator_status().allocated_frames, 1);

    // The held frame still counts as allocated and returns to the same memory.
    drop(subject.held.take());
    assert_eq!(subject.allocator.free_frames(), 3);
    let frames: Vec<_> = (0..3)
        .map(|_| subject.allocator.try_acquire().unwrap())
        .collect();
    assert!(frames.iter().any(|frame| frame.as_ptr() == memory));
    assert_eq!(
        subject.allocator.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
}

#[test]
fn a_commit_without_a_change_keeps_memory_contents_and_pool_handles() {
    let allocator = committed_allocator(1, 4);
    let pool = allocator.pool().unwrap();
    let mut frame = pool.acquire().unwrap();
    frame.copy_from_slice(b"kept");
    let memory = frame.as_ptr();
    drop(frame);

    allocator.decommit();
    assert_eq!(pool.acquire().unwrap_err(), AcquireError::NotCommitted);
    allocator.set_allocator_mode(AllocatorMode::User).unwrap();
    allocator.commit().unwrap();
    let frame = pool.acquire().unwrap();
    assert_eq!((&*frame, frame.as_ptr()), (&b"kept"[..], memory));
}

#[test]
fn a_commit_after_set_framing_allocates_zeroed_memory() {
    let allocator = committed_allocator(1, 4);
    let old = allocator.pool().unwrap();
    allocator.acquire().unwrap().copy_from_slice(b"gone");

    // Setting the same framing also counts as a change.
    allocator.decommit();
    allocator.set_framing(&Framing::new(1, 4)).unwrap();
    allocator.commit().unwrap();
    assert_eq!(*allocator.acquire().unwrap(), [0; 4]);
    assert_eq!(old.acquire().unwrap_err(), AcquireError::NotCommitted);
    assert_eq!(allocator.pool().unwrap().frames(), 1);
}

#[test]
fn a_pool_handle_of_an_old_generation_stays_not_committed() {
    let allocator = committed_allocator(2, 4);
    let old = allocator.pool().unwrap();
    allocator.decommit();
    allocator.set_framing(&Framing::new(3, 8)).unwrap();
    allocator.commit().unwrap();
    old.begin_flush();
    old.end_flush();
    assert_eq!(old.try_acquire().unwrap_err(), AcquireError::NotCommitted);
    assert_eq!((old.framing(), old.free_frames()), (Framing::new(2, 4), 2));
    assert!(allocator.acquire().is_ok());
}

#[test]
fn a_trait_object_is_shared_between_threads() {
    let allocator: Arc<dyn KsAllocator> = Arc::new(committed_allocator(3, 64));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let allocator = allocator.clone();
            thread::spawn(move || allocator.acquire().unwrap())
        })
        .collect();
    let frames: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!(allocator.free_frames(), 0);
    drop(frames);
    assert_eq!(allocator.free_frames(), 3);
}
