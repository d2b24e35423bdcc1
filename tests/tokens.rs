//! Tokens of lent frames across commits and pools, and loans whose tokens are lost.
#![cfg(all(
    any(target_os = "linux", target_os = "android", windows),
    not(any(loom, miri))
))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;
use std::time::Duration;

use ks_allocator::{
    AllocatorMode, BorrowedKernelObject, FramePool, FrameToken, Framing, HolderState, HugePages,
    KsAllocator, Label, PoolAllocator, RemoteFrames, RemoteFramesMut, TokenError,
};

const FRAMES: usize = 4;
const SIZE: usize = 5000;

fn allocator() -> PoolAllocator {
    let allocator = PoolAllocator::with_framing(Framing::new(FRAMES, SIZE)).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    allocator.commit().unwrap();
    allocator
}

fn pool() -> FramePool {
    let builder = FramePool::builder().frames(FRAMES).frame_size(SIZE);
    builder.mode(AllocatorMode::Kernel).build().unwrap()
}

#[expect(unsafe_code, reason = "the caller of `open` answers for the owner")]
fn open(object: BorrowedKernelObject<'_>) -> RemoteFrames {
    // SAFETY: the owner is this process. It does not write to a frame while it is lent.
    unsafe { RemoteFrames::open(object) }.unwrap()
}

/// Lends a frame that is filled with `byte`.
fn lend(pool: &FramePool, byte: u8) -> FrameToken {
    let mut frame = pool.acquire().unwrap();
    frame.fill(byte);
    frame.lend().unwrap()
}

/// Commits the allocator again, with new memory and the same framing.
fn commit_anew(allocator: &PoolAllocator) {
    allocator.decommit();
    let framing = allocator.framing();
    allocator.set_framing(&framing).unwrap();
    allocator.commit().unwrap();
}

#[test]
fn a_mapping_of_an_earlier_commit_refuses_tokens_of_a_later_one() {
    let allocator = allocator();
    let old_pool = allocator.pool().unwrap();
    let old_frames = open(old_pool.handle().unwrap());
    let old = lend(&old_pool, 1);
    assert_eq!(old_frames.get(old).unwrap(), [1; SIZE]);
    drop(old_pool.redeem(old).unwrap());

    commit_anew(&allocator);
    let pool = allocator.pool().unwrap();
    let token = lend(&pool, 2);
    assert_eq!(token.offset(), old.offset());
    assert_eq!(old_frames.get(token), Err(TokenError::OtherSegment));
    assert_eq!(pool.redeem(old).unwrap_err(), TokenError::OtherSegment);

    let frames = open(pool.handle().unwrap());
    assert_eq!(frames.get(old), Err(TokenError::OtherSegment));
    assert_eq!(frames.get(token).unwrap(), [2; SIZE]);
    drop(pool.redeem(token).unwrap());
}

#[test]
fn a_mapping_stays_valid_across_a_commit_that_keeps_the_memory() {
    let allocator = allocator();
    let frames = open(allocator.pool().unwrap().handle().unwrap());
    allocator.decommit();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    let token = lend(&pool, 3);
    assert_eq!(frames.get(token).unwrap(), [3; SIZE]);
    drop(pool.redeem(token).unwrap());
}

#[test]
fn a_mapping_refuses_tokens_of_every_other_pool_alive() {
    let pools: Vec<_> = (0..50).map(|_| pool()).collect();
    let tokens: Vec<_> = pools.iter().map(|pool| lend(pool, 1)).collect();
    for (number, pool) in pools.iter().enumerate() {
        let frames = open(pool.handle().unwrap());
        for (other, &token) in tokens.iter().enumerate() {
            let expected = other == number;
            assert_eq!(frames.get(token).is_ok(), expected);
        }
        drop(pool.redeem(tokens[number]).unwrap());
    }
}

#[test]
fn every_handle_of_the_memory_names_the_same_segment() {
    let pool = pool();
    let clone = pool.try_clone_handle().unwrap();
    let clone_of_clone = clone.try_clone().unwrap();
    let token = lend(&pool, 5);
    for object in [borrow(&clone), borrow(&clone_of_clone)] {
        assert_eq!(open(object).get(token).unwrap(), [5; SIZE]);
    }
    drop(pool.redeem(token).unwrap());
}

#[cfg(unix)]
fn borrow(object: &ks_allocator::OwnedKernelObject) -> BorrowedKernelObject<'_> {
    std::os::fd::AsFd::as_fd(object)
}

#[cfg(windows)]
fn borrow(object: &ks_allocator::OwnedKernelObject) -> BorrowedKernelObject<'_> {
    std::os::windows::io::AsHandle::as_handle(object)
}

#[test]
fn a_writable_mapping_refuses_tokens_of_other_memory() {
    let builder = FramePool::builder().frames(FRAMES).frame_size(SIZE);
    let builder = builder.mode(AllocatorMode::Kernel);
    let builder = builder.huge_pages(HugePages::Transparent);
    // SAFETY: the peer is this process. It writes to a frame only while it is lent.
    #[expect(unsafe_code, reason = "the behavior of the peer is known here only")]
    let mine = unsafe { builder.peers_may_write(true) }.build().unwrap();
    // SAFETY: no process accesses a frame while it is lent and written here.
    #[expect(unsafe_code, reason = "borrows frames")]
    let mut frames = unsafe { RemoteFramesMut::open(mine.handle().unwrap()) }.unwrap();
    let other = pool();
    let foreign = lend(&other, 1);
    assert_eq!(frames.get_mut(foreign), Err(TokenError::OtherSegment));
    let token = lend(&mine, 1);
    frames.get_mut(token).unwrap().fill(2);
    assert_eq!(*mine.redeem(token).unwrap(), [2; SIZE]);
    drop(other.redeem(foreign).unwrap());
}

#[test]
fn a_frame_whose_token_is_lost_is_revoked_by_its_slot() {
    let allocator = allocator();
    let pool = allocator.pool().unwrap();
    let held = pool.acquire().unwrap();
    let line = line!() + 1;
    let mut frame = pool.with_label("sender").acquire().unwrap();
    frame.fill(9);
    frame.set_len(100).unwrap();
    let slot = frame.slot();
    frame.lend().unwrap();

    thread::sleep(Duration::from_millis(2));
    let first = pool.holders();
    thread::sleep(Duration::from_millis(2));
    let holders = pool.holders();
    for (holders, least) in [(first, 0), (holders, 2)] {
        let entry = holders.entries.iter().find(|entry| entry.slot == slot);
        let entry = entry.unwrap();
        assert_eq!(entry.state, HolderState::Lent);
        assert_eq!(entry.label, Some(Label::new("sender")));
        assert_eq!(entry.location.unwrap().line, line);
        assert!(entry.held_for >= Duration::from_millis(least), "{holders}");
    }

    allocator.decommit();
    drop(held);
    let framing = Framing::new(2, SIZE);
    allocator.set_framing(&framing).unwrap_err();
    assert!(pool.revoke_slot(slot + 1).is_none());
    let frame = pool.revoke_slot(slot).unwrap();
    assert_eq!(*frame, [9; 100]);
    assert!(pool.revoke_slot(slot).is_none());
    drop(frame);
    allocator.set_framing(&framing).unwrap();
    allocator.set_allocator_mode(AllocatorMode::User).unwrap();
}

#[test]
fn all_loans_are_revoked_at_once() {
    let pool = pool();
    let held = pool.acquire().unwrap();
    let tokens = [1, 2].map(|byte| lend(&pool, byte));
    let frames = pool.revoke_all();
    assert_eq!(frames.len(), 2);
    for (frame, byte) in frames.iter().zip(1..) {
        assert_eq!(**frame, [byte; SIZE]);
    }
    for token in tokens {
        let slot = pool.redeem(token).unwrap_err();
        assert!(matches!(slot, TokenError::NotLent { .. }));
    }
    drop(frames);
    assert_eq!(pool.free_frames(), FRAMES - 1);
    assert!(pool.revoke_all().is_empty());
    drop(held);
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn frames_that_are_not_lent_are_not_revoked() {
    let pool = pool();
    let frames: Vec<_> = (0..2).map(|_| pool.acquire().unwrap()).collect();
    let token = lend(&pool, 1);
    drop(pool.redeem(token).unwrap());
    for slot in [0, 1, 2, 3, FRAMES, usize::MAX] {
        assert!(pool.revoke_slot(slot).is_none());
    }
    assert!(pool.revoke_all().is_empty());
    drop(frames);
    let user = FramePool::builder()
        .frames(1)
        .frame_size(64)
        .build()
        .unwrap();
    assert!(user.revoke_slot(0).is_none() && user.revoke_all().is_empty());
}

#[test]
fn one_of_a_redeemer_and_a_revoker_gets_the_frame() {
    let pool = pool();
    for _ in 0..2000 {
        let token = lend(&pool, 1);
        let slot = 0;
        let got = thread::scope(|scope| {
            let redeemed = scope.spawn(|| pool.redeem(token).ok());
            [pool.revoke_slot(slot), redeemed.join().unwrap()]
        });
        assert_eq!(got.iter().flatten().count(), 1);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_lent_frames_is_freed_with_the_last_handle_of_the_pool() {
    use std::fs;
    use std::sync::mpsc;

    use ks_allocator::Holder;

    let pool = FramePool::builder().frames(FRAMES).frame_size(SIZE);
    let (report, reports) = mpsc::channel();
    let pool = pool.on_leak(move |holders| {
        let lent = |entry: &&Holder| entry.state == HolderState::Lent;
        report
            .send(holders.entries.iter().filter(lent).count())
            .unwrap();
    });
    let pool = pool.mode(AllocatorMode::Kernel).build().unwrap();
    let address = format!("{:x}-", pool.segment().base.addr());
    let is_mapped = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut lines = maps.lines();
        lines.any(|line| line.starts_with(&address) && line.contains("memfd:ks-allocator"))
    };
    let borrower = open(pool.handle().unwrap());
    let tokens = [1, 2].map(|byte| lend(&pool, byte));
    let held = pool.acquire().unwrap();
    assert!(is_mapped());
    drop(pool);
    assert_eq!(reports.try_iter().collect::<Vec<_>>(), [2]);
    assert!(is_mapped(), "a frame is still held");
    drop(held);
    assert!(!is_mapped());
    for (token, byte) in tokens.into_iter().zip(1..) {
        assert_eq!(borrower.get(token).unwrap(), [byte; SIZE]);
    }
}

#[test]
fn a_frame_is_not_lent_after_the_last_handle_was_dropped() {
    let pool = pool();
    let frame = pool.acquire().unwrap();
    drop(pool);
    assert!(frame.lend().is_err(), "no handle is left to redeem it");
}
