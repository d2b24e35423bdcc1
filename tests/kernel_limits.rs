//! Kernel mode at the limits of a process: a commit that fails changes nothing and leaks nothing.
//!
//! Limits, descriptors and mappings belong to the whole process, so this is a single test.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use ks_allocator::{
    AcquireError, AllocatorMode, AllocatorState, CommitError, FramePool, Framing, KsAllocator,
    PoolAllocator,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use support::allocator_in_mode::allocator_in_mode;
use support::count_mappings::count_mappings;
use support::open_descriptors::open_descriptors;

mod support {
    pub(crate) mod allocator_in_mode;
    pub(crate) mod count_mappings;
    pub(crate) mod open_descriptors;
}

const MIB: usize = 1 << 20;

/// Counts the open descriptors of this process, and its mappings of pools' kernel objects.
fn open_resources() -> (usize, usize) {
    let mappings = count_mappings(|line| line.contains("memfd:ks-allocator"));
    (open_descriptors(), mappings)
}

/// Runs `test` with a limit, and restores the old limit even if it panics.
fn limited<T>(resource: Resource, limit: u64, test: impl FnOnce() -> T) -> T {
    struct Restore(Resource, Rlimit);
    impl Drop for Restore {
        fn drop(&mut self) {
            setrlimit(self.0, self.1).unwrap();
        }
    }
    let before = getrlimit(resource);
    let _restore = Restore(resource, before);
    let current = Some(limit);
    setrlimit(resource, Rlimit { current, ..before }).unwrap();
    test()
}

fn kernel_allocator(framing: Framing) -> PoolAllocator {
    allocator_in_mode(AllocatorMode::Kernel, framing)
}

/// Commits at a limit and returns the error. Asserts that nothing leaks and that the allocator can
/// commit afterwards, both with and without memory of an earlier commit.
fn commit_error(resource: Resource, limit: u64) -> CommitError {
    let before = open_resources();
    let framing = Framing::new(4, 16 * MIB);
    let allocator = kernel_allocator(framing);
    let mut error = None;
    for earlier in [false, true] {
        allocator.set_framing(&framing).unwrap();
        error = Some(limited(resource, limit, || allocator.commit().unwrap_err()));
        assert_eq!(
            open_resources(),
            before,
            "with an earlier commit: {earlier}"
        );
        assert_eq!(allocator.framing(), framing);
        assert_eq!(allocator.allocator_mode(), AllocatorMode::Kernel);
        let state = allocator.allocator_status().state;
        assert_eq!(state, AllocatorState::Uncommitted);
        assert!(allocator.allocator_handle().is_none());
        assert_eq!(allocator.acquire().unwrap_err(), AcquireError::NotCommitted);

        allocator.commit().unwrap();
        assert_eq!(allocator.acquire().unwrap().len(), 16 * MIB);
        allocator.decommit();
    }
    drop(allocator);
    assert_eq!(open_resources(), before);
    error.unwrap()
}

fn a_commit_without_a_free_descriptor_fails() {
    match commit_error(Resource::Nofile, 0) {
        CommitError::Os { call, source } => {
            assert_eq!(call, "memfd_create");
            let errno = Errno::from_io_error(&source);
            assert_eq!(errno, Some(Errno::MFILE));
        }
        other => panic!("{other}"),
    }
}

/// A commit releases the old object before it creates the new one.
fn a_commit_reuses_the_descriptor_of_the_memory_that_it_replaces() {
    let allocator = kernel_allocator(Framing::new(1, 64));
    allocator.commit().unwrap();
    allocator.decommit();
    allocator.set_framing(&Framing::new(2, 64)).unwrap();
    let last = File::open("/dev/null").unwrap();
    let limit = u64::try_from(last.as_raw_fd()).unwrap() + 1;
    limited(Resource::Nofile, limit, || allocator.commit().unwrap());
    assert_eq!(allocator.free_frames(), 2);
}

fn a_clone_of_a_handle_without_a_free_descriptor_fails() {
    let pool = FramePool::builder().frames(1).frame_size(64);
    let pool = pool.mode(AllocatorMode::Kernel).build().unwrap();
    // The lowest free number, so that all below it are taken.
    let last = File::open("/dev/null").unwrap();
    let limit = u64::try_from(last.as_raw_fd()).unwrap() + 1;
    let cloned = limited(Resource::Nofile, limit, || pool.try_clone_handle());
    let error = cloned.unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::MFILE));
    assert!(pool.try_clone_handle().is_ok());
}

fn a_commit_without_address_space_fails() {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    let limit = pages * 4096 + 32 * MIB;
    match commit_error(Resource::As, limit.try_into().unwrap()) {
        CommitError::OutOfMemory { bytes } => assert!(bytes >= 64 * MIB, "{bytes}"),
        other => panic!("{other}"),
    }
}

/// The system kills a process that exceeds the limit of file sizes, unless it ignores SIGXFSZ.
fn a_commit_beyond_the_limit_of_file_sizes_fails() {
    // SAFETY: `SIG_IGN` installs no handler, and the number is that of a signal.
    #[expect(unsafe_code, reason = "ignores a signal")]
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR);
    match commit_error(Resource::Fsize, MIB as u64) {
        CommitError::LimitExceeded {
            limit,
            value,
            bytes,
        } => {
            assert_eq!((limit, value), ("RLIMIT_FSIZE", MIB as u64));
            assert!(bytes >= 64 * MIB);
        }
        other => panic!("{other}"),
    }
}

fn a_thousand_commits_in_changing_modes_leak_nothing() {
    let before = open_resources();
    let allocator = PoolAllocator::with_framing(Framing::new(4, 5000)).unwrap();
    for round in 0..1000 {
        let mode = if round % 3 == 0 {
            AllocatorMode::User
        } else {
            AllocatorMode::Kernel
        };
        allocator.set_allocator_mode(mode).unwrap();
        if round % 2 == 0 {
            let framing = Framing::new(1 + round % 7, 5000).alignment(1 + round);
            allocator.set_framing(&framing).unwrap();
        }
        allocator.commit().unwrap();
        let frame = allocator.acquire().unwrap();
        let handle = allocator.allocator_handle();
        assert_eq!(handle.is_some(), mode == AllocatorMode::Kernel);
        allocator.decommit();
        drop(frame);
        // The allocator keeps at most one object.
        drop(handle);
        let (descriptors, mappings) = open_resources();
        assert!(descriptors <= before.0 + 1 && mappings <= 1);
    }
    drop(allocator);
    assert_eq!(open_resources(), before);
}

fn frames_that_outlive_their_allocator_leak_nothing() {
    let before = open_resources();
    let allocator = kernel_allocator(Framing::new(4, 5000));
    allocator.commit().unwrap();
    let frames: Vec<_> = (0..4).map(|_| allocator.acquire().unwrap()).collect();
    let pool = allocator.pool();
    drop(allocator);
    drop(pool);
    assert_eq!(open_resources().1, 1);
    drop(frames);
    assert_eq!(open_resources(), before);
}

/// With overcommit, the system would grant the memory, and kill processes when it is touched.
fn more_memory_than_the_machine_has_is_refused_before_any_is_allocated() {
    let machine = fs::read_to_string("/proc/meminfo").unwrap();
    let kib = |name| {
        let mut lines = machine.lines();
        let line = lines.find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>()
    };
    let bytes = (kib("MemTotal:").unwrap() + kib("SwapTotal:").unwrap()) * 1024;
    // With this setting, the system grants private memory without limit, too.
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap() == "1\n" {
        return;
    }
    let before = open_resources();
    let allocator = kernel_allocator(Framing::new(2, bytes));
    let error = allocator.commit().unwrap_err();
    assert!(matches!(error, CommitError::OutOfMemory { .. }), "{error}");
    assert_eq!(open_resources(), before);
}

#[test]
fn a_commit_that_fails_at_a_limit_changes_nothing_and_leaks_nothing() {
    a_thousand_commits_in_changing_modes_leak_nothing();
    frames_that_outlive_their_allocator_leak_nothing();
    a_commit_without_a_free_descriptor_fails();
    a_commit_reuses_the_descriptor_of_the_memory_that_it_replaces();
    a_clone_of_a_handle_without_a_free_descriptor_fails();
    a_commit_without_address_space_fails();
    more_memory_than_the_machine_has_is_refused_before_any_is_allocated();
    a_commit_beyond_the_limit_of_file_sizes_fails();
}
