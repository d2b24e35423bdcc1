//! Attacks by a process that has the descriptor of a pool's memory, and descriptors of other
//! objects.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::Child;
use std::ptr;

use ks_allocator::RemoteFrames;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat,
    ftruncate, memfd_create,
};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};

use super::support::count_mappings::count_mappings;
use super::support::open_descriptors::open_descriptors;
use super::{FRAMES, FrameToken, Parent, Peer, SIZE, filled, open_object, pool, pool_for_writers};

pub(super) fn borrow(object: &OwnedFd) -> BorrowedFd<'_> {
    object.as_fd()
}

/// Lets the next process that is started inherit the descriptor.
pub(super) fn before_start(object: &OwnedFd) {
    fcntl_setfd(object, FdFlags::empty()).unwrap();
}

/// Returns the number of the descriptor in the other process: the same as here.
pub(super) fn number_for(_process: &Child, object: &OwnedFd) -> u64 {
    object.as_raw_fd().try_into().unwrap()
}

pub(super) fn from_number(number: u64) -> OwnedFd {
    let number = number.try_into().unwrap();
    // SAFETY: this process has inherited the descriptor, and takes it by its number once.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Counts the open descriptors of this process, and its mappings of pools' memory.
pub(super) fn open_resources() -> (usize, usize) {
    let mappings = count_mappings(|line| line.contains("memfd:ks-allocator"));
    (open_descriptors(), mappings)
}

/// Tries to change the memory or its size through every descriptor while the parent lends frames.
pub(super) fn attack(parent: &mut Parent, object: &OwnedFd) {
    let frames = open_object(object.as_fd()).unwrap();
    while let Some(token) = parent.next() {
        attack_descriptor(object.as_fd());
        let path = format!("/proc/self/fd/{}", object.as_raw_fd());
        let reopened = OpenOptions::new().read(true).write(true).open(&path);
        attack_descriptor(reopened.unwrap().as_fd());
        let truncated = OpenOptions::new().write(true).truncate(true).open(&path);
        assert_eq!(truncated.unwrap_err().kind(), ErrorKind::PermissionDenied);
        attack_mapping(&frames, token);
        assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
        parent.give_back(token);
    }
}

fn attack_descriptor(object: BorrowedFd<'_>) {
    let bytes = u64::try_from(fstat(object).unwrap().st_size).unwrap();
    for size in [0, 1, bytes - 4096, bytes + 4096] {
        assert_eq!(ftruncate(object, size), Err(Errno::PERM));
    }
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert_eq!(fallocate(object, punch, 0, 4096), Err(Errno::PERM));
    let grow = fallocate(object, FallocateFlags::empty(), bytes, 4096);
    assert_eq!(grow, Err(Errno::PERM));
    assert_eq!(
        fcntl_add_seals(object, SealFlags::WRITE),
        Err(Errno::PERM),
        "it would take write access from the owner"
    );

    let file = File::from(object.try_clone_to_owned().unwrap());
    for refused in [file.write_at(&[9], 0), (&file).write(&[9])] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the system chooses the address, so no existing mapping is replaced.
    let mapped = unsafe { mmap(ptr::null_mut(), 4096, access, MapFlags::SHARED, object, 0) };
    assert_eq!(mapped.unwrap_err(), Errno::PERM);
    // SAFETY: the system chooses the address, so no existing mapping is replaced.
    let mapped = unsafe {
        mmap(
            ptr::null_mut(),
            4096,
            ProtFlags::READ,
            MapFlags::SHARED,
            object,
            0,
        )
    };
    let mapped = mapped.unwrap();
    let access = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: `mapped` is 4096 bytes long, and stays readable.
    let writable = unsafe { mprotect(mapped, 4096, access) };
    assert_eq!(writable, Err(Errno::ACCESS));
    // SAFETY: `mapped` is 4096 bytes long, and no reference into it exists.
    let removed = unsafe { madvise(mapped, 4096, Advice::LinuxRemove) };
    assert_eq!(removed, Err(Errno::ACCESS));
    // SAFETY: `mapped` is 4096 bytes long, and no reference into it exists.
    unsafe { munmap(mapped, 4096) }.unwrap();
}

/// The mapping that `RemoteFrames` made cannot be made writable either.
fn attack_mapping(frames: &RemoteFrames, token: FrameToken) {
    let frame = frames.get(token).unwrap();
    let start = frame.as_ptr().map_addr(|address| address & !4095);
    let start = start.cast_mut().cast();
    let access = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: the mapping is alive as long as `frames`, and stays readable.
    let writable = unsafe { mprotect(start, 4096, access) };
    assert_eq!(writable, Err(Errno::ACCESS));
}

#[test]
fn a_process_that_attacks_the_memory_changes_nothing() {
    let pool = pool();
    let mut peer = Peer::start("attack", &pool);
    let mut mine = filled(&pool, 1);
    let token = peer.lend(filled(&pool, 7));
    mine.fill(2);
    assert_eq!(peer.returned(), Some(token));
    assert_eq!(*pool.redeem(token).unwrap(), [7; SIZE]);
    assert_eq!(*mine, [2; SIZE]);
    peer.finish();
    drop(mine);
    for mut frame in pool.acquire_many(FRAMES).unwrap() {
        frame.fill(3);
        assert_eq!(*frame, [3; SIZE]);
    }
}

#[test]
fn peers_that_may_write_cannot_change_the_size() {
    let pool = pool_for_writers();
    let object = pool.try_clone_handle().unwrap();
    for size in [0, 1 << 30] {
        assert_eq!(ftruncate(&object, size), Err(Errno::PERM));
    }
    assert_eq!(fcntl_add_seals(&object, SealFlags::WRITE), Err(Errno::PERM));
    let mut frame = filled(&pool, 1);
    frame.fill(2);
}

/// Makes memory of this size with these seals.
fn memory(bytes: u64, seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let object = memfd_create("test", flags).unwrap();
    ftruncate(&object, bytes).unwrap();
    fcntl_add_seals(&object, seals).unwrap();
    object
}

fn assert_invalid(object: &impl AsFd) {
    let error = open_object(object.as_fd()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[test]
fn objects_other_than_memory_are_not_opened() {
    assert_invalid(&File::open("/dev/null").unwrap());
    assert_invalid(&File::open("/dev/zero").unwrap());
    assert_invalid(&File::open("/").unwrap());
    assert_invalid(&File::open(std::env::current_exe().unwrap()).unwrap());
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_invalid(&one);
    assert_invalid(&other);
    let pool = pool();
    let path = format!("/proc/self/fd/{}", pool.handle().unwrap().as_raw_fd());
    let by_path = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    assert_invalid(&rustix::fs::open(path, by_path, rustix::fs::Mode::empty()).unwrap());
}

#[test]
fn memory_without_seals_against_resizing_is_not_opened() {
    for seals in [
        SealFlags::empty(),
        SealFlags::SHRINK,
        SealFlags::GROW,
        SealFlags::SEAL,
        SealFlags::WRITE,
        SealFlags::FUTURE_WRITE | SealFlags::GROW,
    ] {
        assert_invalid(&memory(4096, seals));
    }
    let sealed = SealFlags::SHRINK | SealFlags::GROW;
    open_object(memory(4096, sealed).as_fd()).unwrap();
    // Empty memory cannot be mapped.
    assert_invalid(&memory(0, sealed));
}

#[test]
fn the_last_byte_of_memory_of_an_odd_size_can_be_read() {
    let object = memory(5000, SealFlags::SHRINK | SealFlags::GROW);
    let frames = open_object(object.as_fd()).unwrap();
    let token = |offset: u64, length: u64| {
        let mut bytes = [0; 32];
        let status = fstat(&object).unwrap();
        let id = status.st_dev.rotate_right(16) ^ status.st_ino;
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        bytes[16..24].copy_from_slice(&offset.to_le_bytes());
        bytes[24..].copy_from_slice(&length.to_le_bytes());
        FrameToken::from_bytes(bytes)
    };
    assert_eq!(frames.get(token(0, 5000)).unwrap(), [0; 5000]);
    assert_eq!(frames.get(token(4999, 1)).unwrap(), [0]);
    assert_eq!(frames.get(token(5000, 0)).unwrap(), []);
    frames.get(token(5000, 1)).unwrap_err();
    frames.get(token(5001, 0)).unwrap_err();
    frames.get(token(0, 5001)).unwrap_err();
}

#[test]
fn the_memory_is_sealed_and_its_descriptors_close_on_exec() {
    for (pool, peers_may_write) in [(pool(), false), (pool_for_writers(), true)] {
        let clone = pool.try_clone_handle().unwrap();
        for object in [pool.handle().unwrap(), clone.as_fd()] {
            let seals = fcntl_get_seals(object).unwrap();
            assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
            assert_eq!(seals.contains(SealFlags::FUTURE_WRITE), !peers_may_write);
            let flags = fcntl_getfd(object).unwrap();
            assert!(flags.contains(FdFlags::CLOEXEC));
        }
    }
}
