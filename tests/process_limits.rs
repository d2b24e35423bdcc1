//! Commits beyond limits of the process: errors that name the limit, and no signal.
//!
//! Limits and capabilities belong to a whole process, so each test uses a forked one.
#![cfg(all(target_os = "linux", not(any(loom, miri))))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ks_allocator::{
    AllocatorMode, BuildError, CommitError, FramePool, FramePoolBuilder, HugePages, RemoteFrames,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

const MIB: usize = 1 << 20;

/// Runs `child` in a forked process, and asserts that it ends without a panic.
#[expect(unsafe_code, reason = "forks")]
fn in_child(child: impl FnOnce()) {
    // SAFETY: the child runs `child` and ends. It uses the heap, whose locks the C library keeps
    // consistent across a fork.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "fork failed");
    if id == 0 {
        // SAFETY: without a handler, the signal kills this process.
        unsafe { libc::alarm(20) };
        let done = catch_unwind(AssertUnwindSafe(child));
        // SAFETY: ends the process without handlers of the parent.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made.
    let waited = unsafe { libc::waitpid(id, &raw mut status, 0) };
    assert_eq!((waited, status), (id, 0), "the child failed");
}

fn limit(resource: Resource, limit: usize) {
    let current = Some(limit as u64);
    let before = getrlimit(resource);
    setrlimit(resource, Rlimit { current, ..before }).unwrap();
}

fn builder(mode: AllocatorMode, frame_size: usize) -> FramePoolBuilder {
    FramePool::builder()
        .frames(4)
        .frame_size(frame_size)
        .mode(mode)
}

fn assert_limited(builder: &FramePoolBuilder, named: &str, expected: usize) {
    let error = builder.build().unwrap_err();
    let text = error.to_string();
    match error {
        BuildError::Commit(CommitError::LimitExceeded {
            limit,
            value,
            bytes,
        }) => {
            assert_eq!((limit, value), (named, expected as u64));
            assert!(bytes >= 4 * 16 * MIB, "{bytes}");
            assert!(
                text.contains(&format!("{named} is {expected} bytes")),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Limits locked memory to 8 MiB, and locks all future mappings.
#[expect(unsafe_code, reason = "calls the system")]
fn lock_future_memory() {
    // A process with this capability may lock any amount of memory.
    let mut may = capabilities(None).unwrap();
    may.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, may).unwrap();
    limit(Resource::Memlock, 8 * MIB);
    // SAFETY: the call changes no memory.
    assert_eq!(unsafe { libc::mlockall(libc::MCL_FUTURE) }, 0);
}

#[test]
fn memory_beyond_the_limit_of_locked_memory_is_an_error_that_names_the_limit() {
    in_child(|| {
        let large = builder(AllocatorMode::Kernel, 16 * MIB);
        let large = large.prefault(false).build().unwrap();
        lock_future_memory();
        for mode in [AllocatorMode::User, AllocatorMode::Kernel] {
            for prefault in [true, false] {
                let builder = builder(mode, 16 * MIB).prefault(prefault);
                assert_limited(&builder, "RLIMIT_MEMLOCK", 8 * MIB);
                let builder = builder.huge_pages(HugePages::Explicit);
                assert_limited(&builder, "RLIMIT_MEMLOCK", 8 * MIB);
            }
            let error = io::Error::from(builder(mode, 16 * MIB).build().unwrap_err());
            assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
            assert!(builder(mode, 1000).build().is_ok());
        }
        // SAFETY: no frame is written.
        #[expect(unsafe_code, reason = "borrows frames")]
        let opened = unsafe { RemoteFrames::open(large.handle().unwrap()) };
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        let named = format!("RLIMIT_MEMLOCK is {} bytes", 8 * MIB);
        assert!(error.to_string().contains(&named), "{error}");
    });
}

#[test]
fn memory_beyond_the_limit_of_file_sizes_is_an_error_and_raises_no_signal() {
    in_child(|| {
        limit(Resource::Fsize, MIB);
        for prefault in [true, false] {
            let large = builder(AllocatorMode::Kernel, 16 * MIB).prefault(prefault);
            assert_limited(&large, "RLIMIT_FSIZE", MIB);
            assert_limited(
                &large.clone().huge_pages(HugePages::Explicit),
                "RLIMIT_FSIZE",
                MIB,
            );
            assert_limited(
                &large.clone().huge_pages(HugePages::Transparent),
                "RLIMIT_FSIZE",
                MIB,
            );
        }
        assert!(builder(AllocatorMode::Kernel, MIB / 8).build().is_ok());
        assert!(builder(AllocatorMode::User, 16 * MIB).build().is_ok());
    });
}
