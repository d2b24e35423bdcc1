//! Frames that are lent, within this process and to other processes, and their tokens.
//!
//! The other process is this test program, started again to run [`other_process`] alone.
#![cfg(all(
    any(target_os = "linux", target_os = "android", windows),
    not(any(loom, miri))
))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod process;
#[cfg(unix)]
#[expect(unsafe_code, reason = "maps memory as an attacker would")]
mod unix;
#[cfg(windows)]
#[expect(unsafe_code, reason = "calls the system as an attacker would")]
mod windows;

use std::io::{self, ErrorKind};
use std::sync::Barrier;
use std::thread;

use ks_allocator::{
    AcquireError, AllocatorMode, AllocatorState, BorrowedKernelObject, Frame, FrameFlags,
    FramePool, FramePoolBuilder, FrameToken, Framing, FramingError, HolderState, KsAllocator,
    OwnedKernelObject, RemoteFrames, RemoteFramesMut, Share, Starvation, TokenError,
};

use process::{Parent, Peer};
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use support::allocator_in_mode::allocator_in_mode;
use support::wait_until::wait_until;
use system::borrow;

// `support` is beside this folder, because other test crates use it too.
#[path = "../support"]
mod support {
    pub(crate) mod allocator_in_mode;
    #[cfg(unix)]
    pub(crate) mod count_mappings;
    #[cfg(unix)]
    pub(crate) mod open_descriptors;
    pub(crate) mod rerun;
    pub(crate) mod start_process;
    pub(crate) mod wait_until;
}

const FRAMES: usize = 4;
const SIZE: usize = 5000;

fn builder() -> FramePoolBuilder {
    FramePool::builder()
        .frames(FRAMES)
        .frame_size(SIZE)
        .mode(AllocatorMode::Kernel)
}

#[expect(unsafe_code, reason = "the behavior of the peers is known here only")]
fn pool_for_writers() -> FramePool {
    // SAFETY: the peers are processes of these tests. They write to a frame only while it is lent
    // to them.
    unsafe { builder().peers_may_write(true) }.build().unwrap()
}

fn pool() -> FramePool {
    builder().build().unwrap()
}

fn lent(pool: &FramePool) -> FrameToken {
    pool.try_acquire().unwrap().lend().unwrap()
}

/// Acquires a frame and fills it with `byte`.
fn filled(pool: &FramePool, byte: u8) -> Frame {
    let mut frame = pool.try_acquire().unwrap();
    frame.fill(byte);
    frame
}

/// Returns the token with one of its words changed: segment, generation, offset or length.
fn forged(token: FrameToken, word: usize, change: impl FnOnce(u64) -> u64) -> FrameToken {
    let mut bytes = token.to_bytes();
    let word: &mut [u8; 8] = (&mut bytes[word * 8..][..8]).try_into().unwrap();
    *word = change(u64::from_le_bytes(*word)).to_le_bytes();
    FrameToken::from_bytes(bytes)
}

const SEGMENT: usize = 0;
const GENERATION: usize = 1;
const OFFSET: usize = 2;
const LENGTH: usize = 3;

/// Returns tokens that an attacker can make up, with knowledge of `token` or without.
fn forgeries(token: FrameToken) -> Vec<FrameToken> {
    let mut all = vec![
        forged(token, SEGMENT, |segment| segment ^ 1),
        forged(token, SEGMENT, |_| 0),
        forged(token, SEGMENT, |_| u64::MAX),
        forged(token, SEGMENT, |segment| segment ^ 1 << 32),
        forged(token, GENERATION, |_| 0),
        forged(token, GENERATION, |_| u64::MAX),
        forged(token, GENERATION, |generation| generation.wrapping_add(1)),
        forged(token, OFFSET, |offset| offset + 1),
        forged(token, OFFSET, |offset| offset | 1 << 32),
        forged(token, OFFSET, |_| u64::MAX),
        FrameToken::from_bytes([0; 32]),
        FrameToken::from_bytes([0xFF; 32]),
    ];
    all.extend((0..64).map(|bit| forged(token, GENERATION, |generation| generation ^ 1 << bit)));
    // Noise from a linear congruential generator.
    let mut state = 1u64;
    all.extend((0..1000).map(|_| {
        FrameToken::from_bytes([(); 32].map(|()| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        }))
    }));
    all
}

fn open(pool: &FramePool) -> RemoteFrames {
    let object = pool.try_clone_handle().unwrap();
    open_object(borrow(&object)).unwrap()
}

#[expect(unsafe_code, reason = "the caller of `open` answers for the owner")]
fn open_object(object: BorrowedKernelObject<'_>) -> io::Result<RemoteFrames> {
    // SAFETY: the owner is a process of these tests. It does not write to a frame while it is lent.
    unsafe { RemoteFrames::open(object) }
}

#[expect(unsafe_code, reason = "the caller of `open` answers for the owner")]
fn open_to_write(object: BorrowedKernelObject<'_>) -> io::Result<RemoteFramesMut> {
    // SAFETY: the owner is a process of these tests. It does not access a frame while it is lent.
    unsafe { RemoteFramesMut::open(object) }
}

#[test]
fn a_frame_comes_back_as_it_was_lent() {
    let pool = pool();
    let frames: Vec<_> = (0..FRAMES).map(|_| pool.acquire().unwrap()).collect();
    let lent = frames.into_iter().zip(1..).map(|(mut frame, n)| {
        frame.fill(n);
        frame.set_len(usize::from(n) * 1000).unwrap();
        let metadata = frame.metadata_mut();
        metadata.presentation_time = Some(i64::from(n));
        metadata.flags = FrameFlags::SYNC_POINT;
        metadata.sequence = u64::from(n) << 40;
        metadata.user = u64::MAX - u64::from(n);
        let known = (n, frame.slot(), frame.as_ptr(), *frame.metadata());
        let offset = frame.offset() as u64;
        let token = frame.lend().unwrap();
        assert_eq!(
            (token.offset(), token.length()),
            (offset, u64::from(n) * 1000)
        );
        (token, known)
    });
    let mut lent: Vec<_> = lent.collect();
    // Out of order.
    lent.rotate_left(1);
    lent.swap(0, 2);
    for (token, (n, slot, start, metadata)) in lent {
        let frame = pool.redeem(token).unwrap();
        assert_eq!(*frame, vec![n; usize::from(n) * 1000]);
        assert_eq!((frame.slot(), frame.as_ptr()), (slot, start));
        assert_eq!(*frame.metadata(), metadata);
    }
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn a_frame_that_was_lent_is_cleared_for_its_next_owner() {
    let pool = builder().frames(1).build().unwrap();
    let mut frame = pool.acquire().unwrap();
    frame.set_len(1).unwrap();
    frame.metadata_mut().sequence = 7;
    let token = frame.lend().unwrap();
    drop(pool.redeem(token).unwrap());
    let frame = pool.acquire().unwrap();
    assert_eq!((frame.len(), frame.metadata().sequence), (SIZE, 0));
}

#[test]
fn a_lent_frame_counts_as_out() {
    let pool = pool();
    let tokens: Vec<_> = (0..FRAMES).map(|_| lent(&pool)).collect();
    assert_eq!(pool.free_frames(), 0);
    assert_eq!(
        pool.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    for (token, free) in tokens.into_iter().zip(1..) {
        drop(pool.redeem(token).unwrap());
        assert_eq!(pool.free_frames(), free);
    }
}

#[test]
fn a_waiter_gets_the_frame_that_is_revoked() {
    let pool = builder().frames(1).build().unwrap();
    let token = lent(&pool);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
        wait_until(|| pool.waiting() > 0);
        drop(pool.revoke(token).unwrap());
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn a_peer_holds_at_most_what_its_share_allows() {
    let share = Share::new("peer").limit(2);
    let pool = builder().frames(4).share(share).build().unwrap();
    let peer = pool.with_label("peer");
    let tokens: Vec<_> = (0..2).map(|_| lent(&peer)).collect();
    assert!(peer.try_acquire().is_err());
    // The others go on, whatever the peer does with its frames.
    assert_eq!(pool.acquire_exact(2).unwrap().len(), 2);
    let frame = pool.redeem(tokens[0]).unwrap();
    assert!(peer.try_acquire().is_err());
    drop(frame);
    assert!(peer.try_acquire().is_ok());
    drop(pool.revoke_all());
    assert_eq!(pool.shares()[0].held, 0);
    assert_eq!(peer.acquire_exact(2).unwrap().len(), 2);
}

#[test]
fn an_allocator_that_has_lent_a_frame_is_decommitting_until_it_is_back() {
    let framing = Framing::new(FRAMES, SIZE);
    let allocator = allocator_in_mode(AllocatorMode::Kernel, framing);
    allocator.commit().unwrap();
    let token = allocator.acquire().unwrap().lend().unwrap();
    assert_eq!(allocator.free_frames(), FRAMES - 1);

    allocator.decommit();
    let status = allocator.allocator_status();
    assert_eq!(status.state, AllocatorState::Decommitting);
    assert_eq!(status.allocated_frames, 1);
    let refused = FramingError::FramesOutstanding {
        outstanding: 1,
        frames: FRAMES,
    };
    assert_eq!(allocator.set_framing(&framing), Err(refused));
    allocator
        .set_allocator_mode(AllocatorMode::User)
        .unwrap_err();

    let pool = allocator.pool().unwrap();
    let frame = pool.redeem(token).unwrap();
    assert_eq!(allocator.allocator_status().allocated_frames, 1);
    drop(frame);
    let status = allocator.allocator_status();
    assert_eq!(status.state, AllocatorState::Uncommitted);
    assert_eq!(status.allocated_frames, 0);
    allocator.set_framing(&framing).unwrap();
}

#[test]
fn a_token_stays_valid_across_a_decommit_and_a_commit_that_keeps_the_memory() {
    let allocator = allocator_in_mode(AllocatorMode::Kernel, Framing::new(FRAMES, SIZE));
    allocator.commit().unwrap();
    let token = filled(&allocator.pool().unwrap(), 7).lend().unwrap();
    allocator.decommit();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    assert_eq!(*pool.redeem(token).unwrap(), [7; SIZE]);
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn lending_in_user_mode_returns_the_frame_to_its_owner() {
    let pool = builder().mode(AllocatorMode::User).build().unwrap();
    let mut frame = filled(&pool, 7);
    frame.metadata_mut().sequence = 1;
    let frame = frame.lend().unwrap_err();
    assert_eq!((&*frame, frame.metadata().sequence), (&[7; SIZE][..], 1));
    assert_eq!(pool.free_frames(), FRAMES - 1);
    for token in forgeries(FrameToken::from_bytes([0; 32])) {
        pool.redeem(token).unwrap_err();
    }
    drop(frame);
    assert_eq!(pool.free_frames(), FRAMES);
    let error = pool.try_clone_handle().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_shared_frame_is_lent_to_several_borrowers_and_released_when_all_have_returned_it() {
    let pool = pool();
    let mine = filled(&pool, 7).share();
    let [one, two] = [0; 2].map(|_| mine.clone().lend().unwrap());
    assert_ne!(one, two);
    assert_eq!(*mine, [7; SIZE], "lending leaves other handles as they are");
    let report = pool.holders();
    assert_eq!(report.entries[0].state, HolderState::Shared { handles: 3 });
    assert_eq!(report.entries[0].loans, 2);
    assert!(report.to_string().contains("shared by 3 handles, 2 lent"));
    let mine = mine.try_into_unique().expect_err("the loans are handles");

    drop(pool.redeem(one).unwrap());
    assert_eq!(
        pool.redeem(one).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    drop(mine);
    assert_eq!(pool.holders().entries[0].state, HolderState::Lent);
    assert_eq!(pool.free_frames(), FRAMES - 1, "one borrower still has it");
    let last = pool.redeem(two).unwrap();
    assert_eq!(pool.holders().entries[0].loans, 0);
    assert_eq!(*last.try_into_unique().unwrap(), [7; SIZE]);
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn all_loans_of_a_shared_frame_are_revoked_by_its_slot() {
    let pool = pool();
    let mine = filled(&pool, 7).share();
    let tokens = [0; 3].map(|_| mine.clone().lend().unwrap());
    let handle = pool.revoke_slot(mine.slot()).unwrap();
    for token in tokens {
        pool.redeem(token).unwrap_err();
    }
    drop(mine);
    assert!(
        handle.try_into_unique().is_ok(),
        "the other handles were dropped"
    );
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn a_frame_with_eight_loans_is_not_lent_again_until_one_ends() {
    let pool = pool();
    let mine = filled(&pool, 7).share();
    let tokens = [0; 8].map(|_| mine.clone().lend().unwrap());
    let handle = mine.clone().lend().unwrap_err();
    drop(pool.redeem(tokens[5]).unwrap());
    let again = handle.lend().unwrap();
    drop((mine, pool.redeem(again).unwrap()));
    assert_eq!(pool.free_frames(), FRAMES - 1);
    assert_eq!(pool.revoke_all().len(), 7);
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn the_last_handle_of_a_pool_ends_the_loans_of_shared_frames_and_leaves_other_handles() {
    let (report, reports) = std::sync::mpsc::channel();
    let builder = builder().on_leak(move |holders| report.send(holders.entries.len()).unwrap());
    let pool = builder.build().unwrap();
    let mine = filled(&pool, 7).share();
    let lent_twice = filled(&pool, 8).share();
    for handle in [mine.clone(), mine.clone(), lent_twice.clone(), lent_twice] {
        handle.lend().unwrap();
    }
    drop(pool);
    assert_eq!(reports.recv().unwrap(), 2);
    assert_eq!(*mine, [7; SIZE]);
    let mine = mine.try_into_unique().unwrap();
    assert!(
        mine.lend().is_err(),
        "no handle of the pool is left to redeem it"
    );
}

#[test]
fn borrowers_that_return_a_shared_frame_from_many_threads_release_it_once() {
    let pool = pool();
    for _ in 0..200 {
        let mine = filled(&pool, 7).share();
        thread::scope(|scope| {
            for _ in 0..4 {
                let handle = mine.clone();
                scope.spawn(|| {
                    let token = handle.lend().unwrap();
                    let handle = pool.redeem(token).unwrap();
                    assert_eq!(handle[0], 7);
                });
            }
            drop(mine);
        });
        assert_eq!(pool.free_frames(), FRAMES);
    }
}

#[test]
fn a_token_is_redeemed_once() {
    let pool = pool();
    let token = lent(&pool);
    let frame = pool.redeem(token).unwrap();
    let spent = TokenError::NotLent { slot: 0 };
    assert_eq!(frame.slot(), 0);
    assert_eq!(pool.redeem(token).unwrap_err(), spent);
    assert_eq!(pool.revoke(token).unwrap_err(), spent);
    drop(frame);
    assert_eq!(pool.redeem(token).unwrap_err(), spent);
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn a_revoked_token_is_not_redeemed() {
    let pool = pool();
    let token = lent(&pool);
    drop(pool.revoke(token).unwrap());
    assert_eq!(
        pool.redeem(token).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    assert_eq!(
        pool.revoke(token).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn a_stale_token_is_refused_while_its_frame_is_lent_again() {
    let pool = builder().frames(1).build().unwrap();
    let mut stale = Vec::new();
    for _ in 0..100 {
        let token = lent(&pool);
        for &old in &stale {
            assert_eq!(
                pool.redeem(old).unwrap_err(),
                TokenError::NotLent { slot: 0 }
            );
        }
        assert_eq!(pool.free_frames(), 0);
        drop(pool.redeem(token).unwrap());
        stale.push(token);
    }
}

#[test]
fn forged_tokens_are_refused_and_change_nothing() {
    let pool = pool();
    let (token, other) = (lent(&pool), lent(&pool));
    for forged in forgeries(token) {
        pool.redeem(forged).unwrap_err();
        pool.revoke(forged).unwrap_err();
        assert_eq!(pool.free_frames(), FRAMES - 2);
    }
    drop((pool.redeem(token).unwrap(), pool.redeem(other).unwrap()));
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn the_error_names_the_fault_of_a_token() {
    let pool = pool();
    let (token, other) = (lent(&pool), lent(&pool));
    let refused =
        |word, change: fn(u64) -> u64| pool.redeem(forged(token, word, change)).unwrap_err();
    let outside = |error| matches!(error, TokenError::Outside { .. });

    assert_eq!(
        refused(GENERATION, |n| n ^ 1),
        TokenError::NotLent { slot: 0 }
    );
    assert_eq!(refused(GENERATION, |_| 0), TokenError::NotLent { slot: 0 });
    assert_eq!(refused(SEGMENT, |id| id ^ 1), TokenError::OtherSegment);
    assert!(outside(refused(OFFSET, |offset| offset + 1)));
    assert!(outside(refused(OFFSET, |_| 1 << 40)));

    // The offset of one token with the generation of the other.
    let generation = u64::from_le_bytes(other.to_bytes()[8..16].try_into().unwrap());
    let mixed = forged(token, GENERATION, |_| generation);
    assert_eq!(
        pool.redeem(mixed).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    // A frame that is free.
    let free = lent(&pool);
    drop(pool.redeem(free).unwrap());
    let free = forged(free, GENERATION, |_| 0);
    assert_eq!(
        pool.redeem(free).unwrap_err(),
        TokenError::NotLent { slot: 2 }
    );

    drop((pool.redeem(token).unwrap(), pool.redeem(other).unwrap()));
}

#[test]
fn the_owner_ignores_the_length_in_a_token() {
    let pool = pool();
    let mut frame = pool.acquire().unwrap();
    frame.set_len(10).unwrap();
    let token = frame.lend().unwrap();
    let longer = forged(token, LENGTH, |_| u64::MAX);
    assert_eq!(pool.redeem(longer).unwrap().len(), 10);
}

#[test]
fn a_token_of_another_pool_is_refused() {
    let (one, two) = (pool(), pool());
    let (of_one, of_two) = (lent(&one), lent(&two));
    assert_eq!(of_one.offset(), of_two.offset());
    assert_eq!(one.redeem(of_two).unwrap_err(), TokenError::OtherSegment);
    assert_eq!(two.revoke(of_one).unwrap_err(), TokenError::OtherSegment);
    drop((one.redeem(of_one).unwrap(), two.redeem(of_two).unwrap()));
}

#[test]
fn any_bytes_round_trip_through_a_token() {
    let pool = pool();
    let token = lent(&pool);
    let mut tokens = forgeries(token);
    tokens.push(token);
    for token in tokens {
        let bytes = token.to_bytes();
        assert_eq!(FrameToken::from_bytes(bytes), token);
        assert_eq!(FrameToken::from_bytes(bytes).to_bytes(), bytes);
    }
    drop(pool.redeem(token).unwrap());
}

#[test]
fn one_of_two_threads_that_redeem_a_token_gets_the_frame() {
    const ROUNDS: usize = 300;
    const MANY: usize = 500;
    let pool = builder().frames(MANY).frame_size(64).build().unwrap();
    let start = Barrier::new(2);
    let redeem_all = |tokens: &[FrameToken], canary: u8| {
        start.wait();
        let redeem = |&token| Some(pool.redeem(token).ok()?.try_into_unique().unwrap());
        let mut frames: Vec<Frame> = tokens.iter().filter_map(redeem).collect();
        frames.iter_mut().for_each(|frame| frame.fill(canary));
        start.wait();
        assert!(frames.iter().all(|frame| **frame == [canary; 64]));
        frames
    };
    for _ in 0..ROUNDS {
        let tokens = [(); MANY].map(|()| lent(&pool));
        let frames = thread::scope(|scope| {
            let other = scope.spawn(|| redeem_all(&tokens, 1));
            [redeem_all(&tokens, 2), other.join().unwrap()]
        });
        assert_eq!(frames.iter().map(Vec::len).sum::<usize>(), MANY);
        assert_eq!(pool.free_frames(), 0);
        drop(frames);
        assert_eq!(pool.free_frames(), MANY);
    }
}

#[test]
fn a_borrower_keeps_the_memory_when_the_pool_is_gone() {
    let pool = pool();
    let frames = open(&pool);
    let token = filled(&pool, 7).lend().unwrap();
    drop(pool);
    assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
}

#[test]
fn a_mapping_outlives_the_pool_and_every_handle() {
    let pool = pool();
    let token = filled(&pool, 7).lend().unwrap();
    let frames = open(&pool);
    drop(pool.revoke(token).unwrap());
    drop(pool);
    assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
}

#[test]
fn a_token_gives_the_offset_and_length_of_its_frame() {
    for (alignment, prefix) in [(1, 0), (64, 3), (4096, 100), (65_536, 1)] {
        let pool = builder().alignment(alignment).prefix(prefix);
        let pool = pool.build().unwrap();
        let frames = open(&pool);
        let tokens = [1, 2, 3].map(|n| {
            let mut frame = filled(&pool, n);
            frame.prefix_mut().fill(0xEE);
            frame.set_len(SIZE - usize::from(n)).unwrap();
            (n, frame.lend().unwrap())
        });
        for (n, token) in tokens {
            assert_eq!(frames.get(token).unwrap(), vec![n; SIZE - usize::from(n)]);
        }
        drop(tokens.map(|(_, token)| pool.revoke(token).unwrap()));
    }
}

#[test]
fn a_borrower_cannot_read_outside_the_segment() {
    let pool = pool();
    let frames = open(&pool);
    let token = lent(&pool);
    // A segment consists of whole pages.
    let end = (FRAMES * SIZE).next_multiple_of(4096) as u64;
    for (offset, length) in [
        (0, u64::MAX),
        (u64::MAX, 0),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
        (u64::MAX - 10, 11),
        (end * 100, 0),
        (end - 1, end),
        (1 << 40, 1),
        (i64::MAX as u64, 1),
        (i64::MAX as u64, i64::MAX as u64),
    ] {
        let token = forged(forged(token, OFFSET, |_| offset), LENGTH, |_| length);
        let error = frames.get(token).unwrap_err();
        assert_eq!(error, TokenError::Outside { offset, length });
    }
    assert_eq!(frames.get(token).unwrap().len(), SIZE);
    drop(pool.redeem(token).unwrap());
}

#[test]
fn peers_can_only_read_unless_the_pool_lets_them_write() {
    let pool = pool();
    let object = pool.try_clone_handle().unwrap();
    let error = open_to_write(borrow(&object)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");

    let pool = pool_for_writers();
    let object = pool.try_clone_handle().unwrap();
    let mut frames = open_to_write(borrow(&object)).unwrap();
    let token = lent(&pool);
    frames.get_mut(token).unwrap().fill(7);
    frames
        .get_mut(FrameToken::from_bytes([0xFF; 32]))
        .unwrap_err();
    assert_eq!(frames.get(token).unwrap()[0], 7);
    assert_eq!(*pool.redeem(token).unwrap(), [7; SIZE]);
}

/// Not a test of its own: the body of the other processes.
#[test]
fn other_process() {
    let Some((role, mut parent, object)) = Parent::find() else {
        return;
    };
    match &*role {
        "read" => read(&mut parent, &object),
        "write" => write(&mut parent, &object),
        "hold" => hold(&mut parent),
        "forge" => forge(&mut parent),
        "count" => count(),
        "attack" => system::attack(&mut parent, &object),
        other => panic!("there is no role {other}"),
    }
    std::process::exit(0);
}

fn read(parent: &mut Parent, object: &OwnedKernelObject) {
    let frames = open_object(borrow(object)).unwrap();
    for n in 1.. {
        let Some(token) = parent.next() else { break };
        assert_eq!(frames.get(token).unwrap(), [n; SIZE]);
        parent.give_back(token);
    }
}

#[test]
fn another_process_reads_lent_frames() {
    let pool = pool();
    let mut peer = Peer::start("read", &pool);
    for n in 1..=200 {
        let token = peer.lend(filled(&pool, n));
        assert_eq!(peer.returned(), Some(token));
        assert_eq!(*pool.redeem(token).unwrap(), [n; SIZE]);
    }
    peer.finish();
    assert_eq!(pool.free_frames(), FRAMES);
}

fn write(parent: &mut Parent, object: &OwnedKernelObject) {
    let mut frames = open_to_write(borrow(object)).unwrap();
    while let Some(token) = parent.next() {
        for byte in frames.get_mut(token).unwrap() {
            *byte += 100;
        }
        parent.give_back(token);
    }
}

#[test]
fn another_process_writes_where_the_pool_lets_peers_write() {
    let pool = pool_for_writers();
    let mut peer = Peer::start("write", &pool);
    let mine = filled(&pool, 1);
    for n in 1..=100 {
        let token = peer.lend(filled(&pool, n));
        assert_eq!(peer.returned(), Some(token));
        assert_eq!(*pool.redeem(token).unwrap(), [n + 100; SIZE]);
    }
    assert_eq!(*mine, [1; SIZE]);
    peer.finish();
}

/// Returns the first frame and keeps all others.
fn hold(parent: &mut Parent) {
    let first = parent.next().unwrap();
    parent.give_back(first);
    while parent.next().is_some() {}
}

#[test]
fn the_frames_of_a_killed_process_are_revoked() {
    let pool = pool();
    let mut peer = Peer::start("hold", &pool);
    let tokens = [(); FRAMES].map(|()| peer.lend(pool.acquire().unwrap()));
    let returned = peer.returned().unwrap();
    assert_eq!(returned, tokens[0]);
    drop(pool.redeem(returned).unwrap());

    peer.kill();
    assert_eq!(peer.returned(), None);
    assert_eq!(pool.free_frames(), 1);
    for token in &tokens[1..] {
        drop(pool.revoke(*token).unwrap());
    }
    assert_eq!(pool.free_frames(), FRAMES);
    for token in tokens {
        pool.redeem(token).unwrap_err();
    }
    assert_eq!(pool.acquire_many(FRAMES).unwrap().len(), FRAMES);
}

/// Sends everything that it can make up from each token, and then the token, twice.
fn forge(parent: &mut Parent) {
    while let Some(token) = parent.next() {
        for token in forgeries(token).into_iter().chain([token, token]) {
            parent.give_back(token);
        }
    }
}

#[test]
fn a_process_that_sends_forged_tokens_gains_nothing() {
    let pool = pool();
    let mut peer = Peer::start("forge", &pool);
    let kept = lent(&pool);
    let token = peer.lend(filled(&pool, 7));
    for _ in forgeries(token) {
        pool.redeem(peer.returned().unwrap()).unwrap_err();
        assert_eq!(pool.free_frames(), FRAMES - 2);
    }
    let frame = pool.redeem(peer.returned().unwrap()).unwrap();
    assert_eq!(*frame, [7; SIZE]);
    pool.redeem(peer.returned().unwrap()).unwrap_err();
    peer.finish();
    drop((frame, pool.redeem(kept).unwrap()));
    assert_eq!(pool.free_frames(), FRAMES);
}

/// Runs in a process of its own, because other tests open handles too.
fn count() {
    let round = |_| {
        let pool = pool();
        let frames = open(&pool);
        let token = filled(&pool, 7).lend().unwrap();
        assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
        drop(pool.redeem(token).unwrap());
        let object = pool.try_clone_handle().unwrap();
        open_to_write(borrow(&object)).unwrap_err();
        drop(pool.revoke(lent(&pool)).unwrap());
    };
    round(0);
    let before = system::open_resources();
    (0..1000).for_each(round);
    assert_eq!(system::open_resources(), before);
    assert_eq!(before.1, 0);
}

#[test]
fn a_thousand_rounds_leak_no_handle_and_no_mapping() {
    Peer::start("count", &pool()).finish();
}
