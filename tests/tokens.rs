//! Tokens of lent frames across commits and pools, and loans whose tokens are lost.
#![cfg(all(
    any(target_os = "linux", target_os = "android", windows),
    not(any(loom, miri))
))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ks_allocator::{
    AllocatorMode, BorrowedKernelObject, FramePool, FrameToken, Framing, HugePages, KsAllocator,
    PoolAllocator, RemoteFrames, RemoteFramesMut, TokenError,
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
