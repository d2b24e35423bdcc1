//! What somebody could try who was given the descriptor of a pool's memory; and descriptors of other
//! things.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr;

use ks_allocator::RemoteFrames;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat,
    ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};

use super::line::Line;
use super::{FRAMES, Peer, SIZE, filled, next, open_object, pool, pool_for_writers};

/// Tries to change the memory or its size by any descriptor, as long as the starter lends frames.
pub(super) fn attack(line: &mut Line, object: &OwnedFd) {
    let frames = open_object(object.as_fd()).unwrap();
    while let Some(token) = next(line) {
        by_descriptor(object.as_fd());
        let path = format!("/proc/self/fd/{}", object.as_raw_fd());
        let reopened = OpenOptions::new().read(true).write(true).open(&path);
        by_descriptor(reopened.unwrap().as_fd());
        let truncated = OpenOptions::new().write(true).truncate(true).open(&path);
        assert_eq!(truncated.unwrap_err().kind(), ErrorKind::PermissionDenied);
        by_mapping(&frames);
        assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
        line.send(&token.to_bytes()).unwrap();
    }
}

fn by_descriptor(object: BorrowedFd<'_>) {
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
        "which would take the memory from its owner"
    );

    let file = File::from(object.try_clone_to_owned().unwrap());
    for refused in [file.write_at(&[9], 0), (&file).write(&[9])] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the system's choice replaces none that exists.
    let mapped = unsafe { mmap(ptr::null_mut(), 4096, access, MapFlags::SHARED, object, 0) };
    assert_eq!(mapped.unwrap_err(), Errno::PERM);
    // SAFETY: as above.
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
    // SAFETY: the mapping is ours.
    let writable = unsafe { mprotect(mapped, 4096, access) };
    assert_eq!(writable, Err(Errno::ACCESS));
    // SAFETY: the mapping is ours, and nobody uses it.
    let removed = unsafe { madvise(mapped, 4096, Advice::LinuxRemove) };
    assert_eq!(removed, Err(Errno::ACCESS));
    // SAFETY: as above.
    unsafe { munmap(mapped, 4096) }.unwrap();
}

/// The mapping that a borrower gets by the crate is to be read for good, too.
fn by_mapping(frames: &RemoteFrames) {
    let first = frames.get(super::FrameToken::from_bytes([0; 32])).unwrap();
    let start = first.as_ptr().cast_mut().cast();
    let access = MprotectFlags::READ | MprotectFlags::WRITE;
    // SAFETY: the mapping lives as long as `frames`, and stays readable.
    let writable = unsafe { mprotect(start, 4096, access) };
    assert_eq!(writable, Err(Errno::ACCESS));
}

#[test]
fn a_process_that_attacks_the_memory_changes_nothing() {
    let pool = pool();
    let mut peer = Peer::of("attack", &pool);
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
fn even_where_peers_may_write_the_size_stays() {
    let pool = pool_for_writers();
    let object = pool.try_clone_handle().unwrap();
    for size in [0, 1 << 30] {
        assert_eq!(ftruncate(&object, size), Err(Errno::PERM));
    }
    assert_eq!(fcntl_add_seals(&object, SealFlags::WRITE), Err(Errno::PERM));
    let mut frame = filled(&pool, 1);
    frame.fill(2);
}

/// Memory of this size, with these seals.
fn memory(bytes: u64, seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let object = memfd_create("a test's", flags).unwrap();
    ftruncate(&object, bytes).unwrap();
    fcntl_add_seals(&object, seals).unwrap();
    object
}

fn invalid(object: &impl AsFd) {
    let error = open_object(object.as_fd()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[test]
fn what_is_no_memory_is_not_opened() {
    invalid(&File::open("/dev/null").unwrap());
    invalid(&File::open("/dev/zero").unwrap());
    invalid(&File::open("/").unwrap());
    invalid(&File::open(std::env::current_exe().unwrap()).unwrap());
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    invalid(&one);
    invalid(&other);
    let pool = pool();
    let path = format!("/proc/self/fd/{}", pool.handle().unwrap().as_raw_fd());
    let by_path = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    invalid(&rustix::fs::open(path, by_path, rustix::fs::Mode::empty()).unwrap());
}

#[test]
fn memory_that_could_be_taken_away_is_not_opened() {
    for seals in [
        SealFlags::empty(),
        SealFlags::SHRINK,
        SealFlags::GROW,
        SealFlags::SEAL,
        SealFlags::WRITE,
        SealFlags::FUTURE_WRITE | SealFlags::GROW,
    ] {
        invalid(&memory(4096, seals));
    }
    let sealed = SealFlags::SHRINK | SealFlags::GROW;
    open_object(memory(4096, sealed).as_fd()).unwrap();
    // There is nothing to map.
    invalid(&memory(0, sealed));
}

#[test]
fn the_last_byte_of_memory_of_an_odd_size_can_be_read() {
    let object = memory(5000, SealFlags::SHRINK | SealFlags::GROW);
    let frames = open_object(object.as_fd()).unwrap();
    let token = |offset: u64, length: u64| {
        let mut bytes = [0; 32];
        bytes[16..24].copy_from_slice(&offset.to_le_bytes());
        bytes[24..].copy_from_slice(&length.to_le_bytes());
        super::FrameToken::from_bytes(bytes)
    };
    assert_eq!(frames.get(token(0, 5000)).unwrap(), [0; 5000]);
    assert_eq!(frames.get(token(4999, 1)).unwrap(), [0]);
    assert_eq!(frames.get(token(5000, 0)).unwrap(), []);
    frames.get(token(5000, 1)).unwrap_err();
    frames.get(token(5001, 0)).unwrap_err();
    frames.get(token(0, 5001)).unwrap_err();
}

#[test]
fn the_memory_is_sealed_and_its_descriptors_end_with_the_process() {
    for (pool, peers_may_write) in [(pool(), false), (pool_for_writers(), true)] {
        let clone = pool.try_clone_handle().unwrap();
        for object in [pool.handle().unwrap(), clone.as_fd()] {
            let seals = fcntl_get_seals(object).unwrap();
            assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
            assert_eq!(seals.contains(SealFlags::FUTURE_WRITE), !peers_may_write);
            let flags = rustix::io::fcntl_getfd(object).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }
}
