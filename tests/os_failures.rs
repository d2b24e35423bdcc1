//! Failure of each system call that allocates or inspects memory: the error names the call and the
//! system's error, and nothing leaks.
//!
//! A seccomp filter of one thread makes the call fail there. Leaks show in the whole process, so
//! this is a single test.

#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env::consts::ARCH;
use std::fs;
use std::io;
use std::thread;

use ks_allocator::{
    AllocatorMode::{self, Kernel, User},
    BuildError, CommitError, FramePool, FramePoolBuilder, HugePages, MemoryRequest, NotResident,
    RemoteFrames,
};
use libc::{
    EACCES, EAGAIN, EFAULT, EFBIG, EINVAL, EIO, EMFILE, ENOMEM, ENOSPC, ENOSYS, EPERM, c_int,
    c_long,
};
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use support::count_mappings::count_mappings;
use support::open_descriptors::open_descriptors;

mod support {
    pub(crate) mod count_mappings;
    pub(crate) mod open_descriptors;
}

/// Bytes of a frame: more than any other writable mapping of this process has.
const FRAME: usize = 16 << 20;
const LARGE: i64 = 16 << 20;

/// Condition on the argument with this index, which counts from 0.
#[derive(Clone, Copy, Debug)]
enum Argument {
    Is(u8, i64),
    HasBits(u8, i64),
    IsAtLeast(u8, i64),
}

use Argument::{HasBits, Is, IsAtLeast};

impl Argument {
    fn condition(self) -> SeccompCondition {
        let word = |value: i64| u64::try_from(value).unwrap();
        let (index, operator, value) = match self {
            Is(index, value) => (index, SeccompCmpOp::Eq, value),
            HasBits(index, bits) => (index, SeccompCmpOp::MaskedEq(word(bits)), bits),
            IsAtLeast(index, value) => (index, SeccompCmpOp::Ge, value),
        };
        SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, word(value)).unwrap()
    }
}

/// A call that fails if all conditions hold.
type Call = (c_long, &'static [Argument]);

const MAP_PRIVATE: Call = (
    libc::SYS_mmap,
    &[
        IsAtLeast(1, LARGE),
        Is(2, (libc::PROT_READ | libc::PROT_WRITE) as i64),
        HasBits(3, libc::MAP_PRIVATE as i64),
    ],
);
const MAP_SHARED: Call = (libc::SYS_mmap, &[HasBits(3, libc::MAP_SHARED as i64)]);
const MAP_HUGE: Call = (libc::SYS_mmap, &[HasBits(3, libc::MAP_HUGETLB as i64)]);
const UNMAP: Call = (libc::SYS_munmap, &[IsAtLeast(1, LARGE)]);
const CREATE: Call = (libc::SYS_memfd_create, &[]);
const CREATE_HUGE: Call = (
    libc::SYS_memfd_create,
    &[HasBits(1, libc::MFD_HUGETLB as i64)],
);
const CREATE_NOEXEC: Call = (
    libc::SYS_memfd_create,
    &[HasBits(1, libc::MFD_NOEXEC_SEAL as i64)],
);
const RESIZE: Call = (libc::SYS_ftruncate, &[]);
const SEAL: Call = (libc::SYS_fcntl, &[Is(1, libc::F_ADD_SEALS as i64)]);
const GET_SEALS: Call = (libc::SYS_fcntl, &[Is(1, libc::F_GET_SEALS as i64)]);
const CLONE: Call = (libc::SYS_fcntl, &[Is(1, libc::F_DUPFD_CLOEXEC as i64)]);
const ALLOCATE: Call = (libc::SYS_fallocate, &[]);
const ADVISE_HUGE: Call = (libc::SYS_madvise, &[Is(2, libc::MADV_HUGEPAGE as i64)]);
const POPULATE: Call = (
    libc::SYS_madvise,
    &[Is(2, libc::MADV_POPULATE_WRITE as i64)],
);
const LOCK: Call = (libc::SYS_mlock, &[]);
const BIND: Call = (libc::SYS_mbind, &[]);
const STATUS: Call = (libc::SYS_fstat, &[]);
const IN_CORE: Call = (libc::SYS_mincore, &[]);
const MOVE: Call = (libc::SYS_move_pages, &[]);
const OPEN: Call = (libc::SYS_openat, &[]);

/// Runs `test` in a thread where the call fails with `errno`.
fn with_failing<T: Send>(
    (call, arguments): Call,
    errno: c_int,
    test: impl FnOnce() -> T + Send,
) -> T {
    let conditions: Vec<_> = arguments
        .iter()
        .map(|argument| argument.condition())
        .collect();
    // An empty list of rules matches all arguments.
    let rules = if conditions.is_empty() {
        Vec::new()
    } else {
        vec![SeccompRule::new(conditions).unwrap()]
    };
    let filter = SeccompFilter::new(
        [(call, rules)].into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        ARCH.try_into().unwrap(),
    );
    let filter: BpfProgram = filter.unwrap().try_into().unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            apply_filter(&filter).unwrap();
            test()
        });
        thread.join().unwrap()
    })
}

/// Counts the open descriptors of this process, and its mappings that are as large as a pool's.
fn open_resources() -> (usize, usize) {
    let is_large = |line: &str| {
        let mut words = line.split(' ');
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|word| usize::from_str_radix(word, 16).unwrap());
        end - start >= FRAME && words.next().unwrap().starts_with("rw")
    };
    (open_descriptors(), count_mappings(is_large))
}

fn pool(mode: AllocatorMode) -> FramePoolBuilder {
    FramePool::builder().frames(1).frame_size(FRAME).mode(mode)
}

/// Builds a pool while the call fails, and returns the error. Asserts that nothing leaks.
fn build_error(builder: &FramePoolBuilder, call: Call, errno: c_int) -> CommitError {
    let before = open_resources();
    let built = with_failing(call, errno, || builder.build());
    let BuildError::Commit(error) = built.unwrap_err() else {
        panic!("not an error of the commit");
    };
    assert_eq!(open_resources(), before, "{error}");
    error
}

fn is_errno(error: &io::Error, errno: c_int) -> bool {
    Errno::from_io_error(error).is_some_and(|known| known.raw_os_error() == errno)
}

/// A failure of these calls fails the commit. The error has the name and the errno.
fn failed_calls_fail_the_commit() {
    for (mode, call, errno, named) in [
        (User, MAP_PRIVATE, EPERM, "mmap"),
        (Kernel, MAP_PRIVATE, EPERM, "mmap"),
        (Kernel, CREATE, EMFILE, "memfd_create"),
        (Kernel, CREATE, EPERM, "memfd_create"),
        (Kernel, CREATE, EINVAL, "memfd_create"),
        (Kernel, RESIZE, EFBIG, "ftruncate"),
        (Kernel, RESIZE, EINVAL, "ftruncate"),
        (Kernel, MAP_SHARED, EACCES, "mmap"),
        (Kernel, SEAL, EPERM, "fcntl(F_ADD_SEALS)"),
        (Kernel, ALLOCATE, EIO, "fallocate"),
    ] {
        match build_error(&pool(mode), call, errno) {
            CommitError::Os { call, source } => {
                assert_eq!(call, named);
                assert!(is_errno(&source, errno), "{source:?}");
            }
            other => panic!("{named}: {other}"),
        }
    }
}

fn calls_without_memory_report_out_of_memory() {
    for (mode, call, errno) in [
        (User, MAP_PRIVATE, ENOMEM),
        (Kernel, MAP_PRIVATE, ENOMEM),
        (Kernel, CREATE, ENOMEM),
        (Kernel, RESIZE, ENOSPC),
        (Kernel, MAP_SHARED, ENOMEM),
        (Kernel, ALLOCATE, ENOSPC),
        (Kernel, ALLOCATE, ENOMEM),
    ] {
        match build_error(&pool(mode), call, errno) {
            CommitError::OutOfMemory { bytes } => assert!(bytes >= FRAME),
            other => panic!("{other}"),
        }
    }
}

fn without_memfd_kernel_mode_is_unsupported() {
    let error = build_error(&pool(Kernel), CREATE, ENOSYS);
    assert!(
        matches!(error, CommitError::ModeUnsupported { mode: Kernel, .. }),
        "{error}"
    );
}

/// A commit succeeds without these calls, which older systems lack.
fn calls_of_newer_systems_are_optional() {
    let transparent = pool(Kernel).huge_pages(HugePages::Transparent);
    for (builder, call, errno) in [
        (pool(Kernel), CREATE_NOEXEC, EINVAL),
        (transparent, POPULATE, EINVAL),
    ] {
        let before = open_resources();
        let made = with_failing(call, errno, || builder.build()).unwrap();
        assert_eq!(made.acquire().unwrap().len(), FRAME);
        assert_eq!(made.verify_resident(), Ok(()));
        drop(made);
        assert_eq!(open_resources(), before);
    }
}

/// A memfd must not keep descriptor 0, which would read as no handle.
fn a_descriptor_0_that_cannot_be_moved_fails_the_commit() {
    let stdin = rustix::io::dup(rustix::stdio::stdin()).unwrap();
    // SAFETY: nothing in this process uses descriptor 0 before it is restored below.
    #[expect(unsafe_code, reason = "closes a descriptor that it does not own")]
    unsafe {
        rustix::io::close(0);
    }
    let before = open_resources();
    let error = build_error(&pool(Kernel), CLONE, EMFILE);
    assert_eq!(open_resources(), before);
    rustix::stdio::dup2_stdin(&stdin).unwrap();
    match error {
        CommitError::Os { call, source } => {
            assert_eq!(call, "fcntl(F_DUPFD_CLOEXEC)");
            assert!(is_errno(&source, EMFILE));
        }
        other => panic!("{other}"),
    }
}

/// A failure of these calls leaves a memory request unmet. The report names it, or the commit fails
/// where requests are required.
fn failed_calls_leave_requests_unmet() {
    const TRANSPARENT: MemoryRequest = MemoryRequest::TransparentHugePages;
    const EXPLICIT: MemoryRequest = MemoryRequest::ExplicitHugePages;
    for (mode, request, call, errno, named) in [
        (
            User,
            TRANSPARENT,
            ADVISE_HUGE,
            EINVAL,
            "madvise(MADV_HUGEPAGE)",
        ),
        (
            Kernel,
            TRANSPARENT,
            ADVISE_HUGE,
            EINVAL,
            "madvise(MADV_HUGEPAGE)",
        ),
        (User, EXPLICIT, MAP_HUGE, EPERM, "mmap(MAP_HUGETLB)"),
        (User, EXPLICIT, MAP_HUGE, ENOMEM, "mmap(MAP_HUGETLB)"),
        (Kernel, EXPLICIT, CREATE_HUGE, EPERM, "memfd_create"),
        (Kernel, EXPLICIT, CREATE_HUGE, ENOSYS, "memfd_create"),
        (User, MemoryRequest::Locked, LOCK, EAGAIN, "mlock"),
        (User, MemoryRequest::Locked, LOCK, ENOMEM, "mlock"),
        (Kernel, MemoryRequest::Locked, LOCK, EPERM, "mlock"),
        (User, MemoryRequest::NumaNode(0), BIND, ENOSYS, "mbind"),
        (Kernel, MemoryRequest::NumaNode(0), BIND, EPERM, "mbind"),
    ] {
        let builder = match request {
            MemoryRequest::NumaNode(node) => pool(mode).numa_node(node),
            MemoryRequest::Locked => pool(mode).lock_in_memory(true),
            TRANSPARENT => pool(mode).huge_pages(HugePages::Transparent),
            _ => pool(mode).huge_pages(HugePages::Explicit),
        };
        assert_unmet(&builder, request, call, errno, named);
    }
}

fn assert_unmet(
    builder: &FramePoolBuilder,
    request: MemoryRequest,
    call: Call,
    errno: c_int,
    named: &str,
) {
    let before = open_resources();
    let made = with_failing(call, errno, || builder.build()).unwrap();
    let [unmet] = &*made.commit_report().unmet else {
        panic!("{}", made.commit_report());
    };
    assert_eq!((unmet.request, unmet.call), (request, named));
    assert!(is_errno(unmet.source(), errno), "{unmet}");
    assert_eq!(made.acquire().unwrap().len(), FRAME);
    drop(made);
    assert_eq!(open_resources(), before);

    match build_error(&builder.clone().require_memory_options(true), call, errno) {
        CommitError::UnmetRequest {
            request: unmet,
            call,
            source,
        } => {
            assert_eq!((unmet, call), (request, named));
            assert!(is_errno(&source, errno), "{source:?}");
        }
        other => panic!("{named}: {other}"),
    }
}

/// The huge pages are reserved, but there is no memory for them. Runs as root only.
fn huge_pages_that_cannot_be_populated_leave_the_request_unmet() {
    const PATH: &str = "/proc/sys/vm/nr_hugepages";
    let before = fs::read_to_string(PATH).unwrap();
    let wanted = (before.trim().parse::<usize>().unwrap() + 10).to_string();
    if fs::write(PATH, &wanted).is_err() {
        return;
    }
    let is_reserved = fs::read_to_string(PATH).unwrap().trim() == wanted;
    let done = std::panic::catch_unwind(|| {
        for mode in [User, Kernel] {
            let builder = pool(mode).huge_pages(HugePages::Explicit);
            let named = "madvise(MADV_POPULATE_WRITE)";
            assert_unmet(
                &builder,
                MemoryRequest::ExplicitHugePages,
                POPULATE,
                EFAULT,
                named,
            );
        }
    });
    fs::write(PATH, before).unwrap();
    assert!(done.is_ok() || !is_reserved);
}

/// Reports say that a quantity is unknown where it cannot be measured.
fn failed_measurements_are_reported_as_unknown() {
    for mode in [User, Kernel] {
        let made = pool(mode).lock_in_memory(true).build().unwrap();
        let bytes = made.segment().bytes;
        let whole = made.commit_report();
        assert_eq!(whole.resident, Some(bytes));

        let (report, verified) = with_failing(IN_CORE, ENOSYS, || {
            (made.commit_report(), made.verify_resident())
        });
        assert_eq!(report.resident, None);
        assert_eq!(report.locked, whole.locked);
        assert_eq!(verified, Err(NotResident::Unknown { bytes }));
        assert!(report.to_string().contains("unknown"), "{report}");

        let report = with_failing(MOVE, EPERM, || made.commit_report());
        assert!(report.numa_nodes.is_empty());
        assert_eq!(report.resident, Some(bytes));

        let report = with_failing(OPEN, EACCES, || made.commit_report());
        assert_eq!((report.huge, report.locked), (None, None));
        assert_eq!(report.page_size, rustix::param::page_size());
    }
    let builder = pool(User)
        .huge_pages(HugePages::Transparent)
        .require_memory_options(true);
    match build_error(&builder, OPEN, EACCES) {
        CommitError::UnmetRequest { source, .. } => {
            assert!(
                source.to_string().contains("cannot be measured"),
                "{source}"
            );
        }
        other => panic!("{other}"),
    }
}

fn failed_calls_of_borrowers_are_reported() {
    let made = pool(Kernel).build().unwrap();
    let before = open_resources();
    let open = || {
        // SAFETY: no process writes to the frames, and no frame is read.
        #[expect(unsafe_code, reason = "borrows frames")]
        let opened = unsafe { RemoteFrames::open(made.handle().unwrap()) };
        opened.map(drop)
    };
    open().unwrap();
    let error = with_failing(GET_SEALS, EPERM, open).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    for (call, errno) in [(STATUS, EIO), (MAP_SHARED, EACCES), (MAP_SHARED, ENOMEM)] {
        let error = with_failing(call, errno, open).unwrap_err();
        assert!(is_errno(&error, errno), "{error:?}");
    }
    let error = with_failing(CLONE, EMFILE, || made.try_clone_handle().map(drop)).unwrap_err();
    assert!(is_errno(&error, EMFILE), "{error:?}");
    assert_eq!(open_resources(), before);
}

/// The pages leak, no error is reported, and other memory is intact.
fn memory_that_cannot_be_unmapped_leaks() {
    for mode in [User, Kernel] {
        let (descriptors, mappings) = open_resources();
        let made = pool(mode).build().unwrap();
        let address = made.segment().base.addr().get();
        with_failing(UNMAP, ENOMEM, move || drop(made));
        assert_eq!(open_resources(), (descriptors, mappings + 1));
        let next = pool(mode).build().unwrap();
        assert_ne!(next.segment().base.addr().get(), address);
        assert_eq!(next.verify_resident(), Ok(()));
    }
}

#[test]
fn errors_name_the_failed_call_and_nothing_leaks() {
    failed_calls_fail_the_commit();
    calls_without_memory_report_out_of_memory();
    without_memfd_kernel_mode_is_unsupported();
    calls_of_newer_systems_are_optional();
    a_descriptor_0_that_cannot_be_moved_fails_the_commit();
    failed_calls_leave_requests_unmet();
    huge_pages_that_cannot_be_populated_leave_the_request_unmet();
    failed_measurements_are_reported_as_unknown();
    failed_calls_of_borrowers_are_reported();
    memory_that_cannot_be_unmapped_leaks();
}
