//! Kernel mode where the process runs out of something: a commit that fails has changed nothing and
//! left nothing behind.
//!
//! Limits, descriptors and mappings are the whole process's, so this is a single test.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::Command;

use ks_allocator::{
    AcquireError, AllocatorMode, AllocatorState, CommitError, FramePool, Framing, KsAllocator,
    PoolAllocator,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const MIB: usize = 1 << 20;

/// Set in the process that is told to go on when a file gets too large.
const GOES_ON: &str = "KS_ALLOCATOR_GOES_ON";

/// Descriptors that are open, and mappings of memory that belongs to a kernel object.
fn left_behind() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mappings = maps
        .lines()
        .filter(|line| line.contains("memfd:ks-allocator"));
    (descriptors, mappings.count())
}

/// Runs `test` with a limit, which is lifted again even if it panics.
fn limited<T>(resource: Resource, limit: u64, test: impl FnOnce() -> T) -> T {
    struct Lift(Resource, Rlimit);
    impl Drop for Lift {
        fn drop(&mut self) {
            setrlimit(self.0, self.1).unwrap();
        }
    }
    let before = getrlimit(resource);
    let _lift = Lift(resource, before);
    let current = Some(limit);
    setrlimit(resource, Rlimit { current, ..before }).unwrap();
    test()
}

fn kernel_allocator(framing: Framing) -> PoolAllocator {
    let allocator = PoolAllocator::with_framing(framing).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    allocator
}

/// What a commit said to a limit. Without memory of an earlier one as with it, nothing is left behind,
/// and the allocator is fit for another commit.
fn refused(resource: Resource, limit: u64) -> CommitError {
    let before = left_behind();
    let framing = Framing::new(4, 16 * MIB);
    let allocator = kernel_allocator(framing);
    let mut error = None;
    for earlier in [false, true] {
        allocator.set_framing(&framing).unwrap();
        error = Some(limited(resource, limit, || allocator.commit().unwrap_err()));
        assert_eq!(left_behind(), before, "with an earlier commit: {earlier}");
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
    assert_eq!(left_behind(), before);
    error.unwrap()
}

fn without_descriptors_there_is_no_object() {
    match refused(Resource::Nofile, 0) {
        CommitError::Os { call, source } => {
            assert_eq!(call, "memfd_create");
            let errno = Errno::from_io_error(&source);
            assert_eq!(errno, Some(Errno::MFILE));
        }
        other => panic!("{other}"),
    }
}

/// There is never memory, nor a descriptor, for two.
fn the_next_memory_may_have_the_last_descriptor_of_the_one_before() {
    let allocator = kernel_allocator(Framing::new(1, 64));
    allocator.commit().unwrap();
    allocator.decommit();
    allocator.set_framing(&Framing::new(2, 64)).unwrap();
    let last = File::open("/dev/null").unwrap();
    let limit = u64::try_from(last.as_raw_fd()).unwrap() + 1;
    limited(Resource::Nofile, limit, || allocator.commit().unwrap());
    assert_eq!(allocator.free_frames(), 2);
}

fn without_descriptors_there_is_no_clone_of_a_handle() {
    let pool = FramePool::builder().frames(1).frame_size(64);
    let pool = pool.mode(AllocatorMode::Kernel).build().unwrap();
    // The lowest that was free, so that there are none below it.
    let last = File::open("/dev/null").unwrap();
    let limit = u64::try_from(last.as_raw_fd()).unwrap() + 1;
    let cloned = limited(Resource::Nofile, limit, || pool.try_clone_handle());
    let error = cloned.unwrap_err();
    assert_eq!(Errno::from_io_error(&error), Some(Errno::MFILE));
    assert!(pool.try_clone_handle().is_ok());
}

fn without_addresses_there_is_no_mapping() {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    let limit = pages * 4096 + 32 * MIB;
    match refused(Resource::As, limit.try_into().unwrap()) {
        CommitError::OutOfMemory { bytes } => assert!(bytes >= 64 * MIB, "{bytes}"),
        other => panic!("{other}"),
    }
}

/// As for every file that gets too large, the system ends a process that has not said otherwise.
fn with_small_files_only_there_is_no_object() {
    match refused(Resource::Fsize, MIB as u64) {
        CommitError::Os { call, source } => {
            assert_eq!(call, "ftruncate");
            let errno = Errno::from_io_error(&source);
            assert_eq!(errno, Some(Errno::FBIG));
        }
        other => panic!("{other}"),
    }
}

fn a_thousand_commits_in_changing_modes_leave_nothing_behind() {
    let before = left_behind();
    let allocator = PoolAllocator::with_framing(Framing::new(4, 5000)).unwrap();
    for round in 0..1000 {
        let mode = match round % 3 {
            0 => AllocatorMode::User,
            _ => AllocatorMode::Kernel,
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
        // One object at most, however many there were.
        drop(handle);
        let (descriptors, mappings) = left_behind();
        assert!(descriptors <= before.0 + 1 && mappings <= 1);
    }
    drop(allocator);
    assert_eq!(left_behind(), before);
}

fn frames_that_come_home_late_leave_nothing_behind() {
    let before = left_behind();
    let allocator = kernel_allocator(Framing::new(4, 5000));
    allocator.commit().unwrap();
    let frames: Vec<_> = (0..4).map(|_| allocator.acquire().unwrap()).collect();
    let pool = allocator.pool();
    drop(allocator);
    drop(pool);
    assert_eq!(left_behind().1, 1);
    drop(frames);
    assert_eq!(left_behind(), before);
}

/// The system would promise it, and then take memory from everybody until none is left.
fn more_memory_than_the_machine_has_is_refused_before_any_is_taken() {
    let machine = fs::read_to_string("/proc/meminfo").unwrap();
    let kib = |name| {
        let mut lines = machine.lines();
        let line = lines.find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>()
    };
    let bytes = (kib("MemTotal:").unwrap() + kib("SwapTotal:").unwrap()) * 1024;
    // Unless it is set to promise private memory without end, too.
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap() == "1\n" {
        return;
    }
    let before = left_behind();
    let allocator = kernel_allocator(Framing::new(2, bytes));
    let error = allocator.commit().unwrap_err();
    assert!(matches!(error, CommitError::OutOfMemory { .. }), "{error}");
    assert_eq!(left_behind(), before);
}

#[test]
fn a_commit_at_a_limit_changes_nothing_and_nothing_is_left_behind() {
    if env::var_os(GOES_ON).is_some() {
        return with_small_files_only_there_is_no_object();
    }
    a_thousand_commits_in_changing_modes_leave_nothing_behind();
    frames_that_come_home_late_leave_nothing_behind();
    without_descriptors_there_is_no_object();
    the_next_memory_may_have_the_last_descriptor_of_the_one_before();
    without_descriptors_there_is_no_clone_of_a_handle();
    without_addresses_there_is_no_mapping();
    more_memory_than_the_machine_has_is_refused_before_any_is_taken();

    let goes_on = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\""])
        .arg(env::current_exe().unwrap())
        .env(GOES_ON, "1")
        .output()
        .unwrap();
    assert!(goes_on.status.success(), "{goes_on:?}");
}
