//! Every call to the system that memory takes, refused, one at a time: the error names the call and what
//! the system said, and nothing is left behind.
//!
//! A thread is given a filter by which the system refuses one call to it. What is left behind shows in
//! the whole process, so this is a single test.

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

/// Larger than anything else that is mapped to be written to.
const FRAME: usize = 16 << 20;
const LARGE: i64 = 16 << 20;

/// What an argument of a call must be for it to be refused; counted from 0.
#[derive(Clone, Copy, Debug)]
enum Argument {
    Is(u8, i64),
    Has(u8, i64),
    IsAtLeast(u8, i64),
}

use Argument::{Has, Is, IsAtLeast};

impl Argument {
    fn condition(self) -> SeccompCondition {
        let word = |value: i64| u64::try_from(value).unwrap();
        let (index, operator, value) = match self {
            Is(index, value) => (index, SeccompCmpOp::Eq, value),
            Has(index, bits) => (index, SeccompCmpOp::MaskedEq(word(bits)), bits),
            IsAtLeast(index, value) => (index, SeccompCmpOp::Ge, value),
        };
        SeccompCondition::new(index, SeccompCmpArgLen::Qword, operator, word(value)).unwrap()
    }
}

/// A call that the system is to refuse, and when.
type Call = (c_long, &'static [Argument]);

const MAP_PRIVATE: Call = (
    libc::SYS_mmap,
    &[
        IsAtLeast(1, LARGE),
        Is(2, (libc::PROT_READ | libc::PROT_WRITE) as i64),
        Has(3, libc::MAP_PRIVATE as i64),
    ],
);
const MAP_SHARED: Call = (libc::SYS_mmap, &[Has(3, libc::MAP_SHARED as i64)]);
const MAP_HUGE: Call = (libc::SYS_mmap, &[Has(3, libc::MAP_HUGETLB as i64)]);
const UNMAP: Call = (libc::SYS_munmap, &[IsAtLeast(1, LARGE)]);
const CREATE: Call = (libc::SYS_memfd_create, &[]);
const CREATE_HUGE: Call = (libc::SYS_memfd_create, &[Has(1, libc::MFD_HUGETLB as i64)]);
const CREATE_NOEXEC: Call = (
    libc::SYS_memfd_create,
    &[Has(1, libc::MFD_NOEXEC_SEAL as i64)],
);
const RESIZE: Call = (libc::SYS_ftruncate, &[]);
const SEAL: Call = (libc::SYS_fcntl, &[Is(1, libc::F_ADD_SEALS as i64)]);
const SEALS: Call = (libc::SYS_fcntl, &[Is(1, libc::F_GET_SEALS as i64)]);
const CLONE: Call = (libc::SYS_fcntl, &[Is(1, libc::F_DUPFD_CLOEXEC as i64)]);
const SET_ASIDE: Call = (libc::SYS_fallocate, &[]);
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

/// Runs `test` in a thread that the call is refused to.
fn refused<T: Send>((call, arguments): Call, errno: c_int, test: impl FnOnce() -> T + Send) -> T {
    let conditions: Vec<_> = arguments
        .iter()
        .map(|argument| argument.condition())
        .collect();
    // No rule at all stands for any arguments.
    let rules = match conditions.is_empty() {
        true => Vec::new(),
        false => vec![SeccompRule::new(conditions).unwrap()],
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

/// Descriptors that are open, and mappings as large as a pool's.
fn left_behind() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_large = |line: &&str| {
        let mut words = line.split(' ');
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|word| usize::from_str_radix(word, 16).unwrap());
        end - start >= FRAME && words.next().unwrap().starts_with("rw")
    };
    (descriptors, maps.lines().filter(is_large).count())
}

fn pool(mode: AllocatorMode) -> FramePoolBuilder {
    FramePool::builder().frames(1).frame_size(FRAME).mode(mode)
}

/// What a pool was refused for, after which nothing is left of it.
fn failure(builder: &FramePoolBuilder, call: Call, errno: c_int) -> CommitError {
    let before = left_behind();
    let built = refused(call, errno, || builder.build());
    let BuildError::Commit(error) = built.unwrap_err() else {
        panic!("not the framing's fault");
    };
    assert_eq!(left_behind(), before, "{error}");
    error
}

fn is_errno(error: &io::Error, errno: c_int) -> bool {
    Errno::from_io_error(error).is_some_and(|known| known.raw_os_error() == errno)
}

/// What a commit cannot do without: the call, what the system says, and what the error names.
fn calls_that_fail_the_commit() {
    for (mode, call, errno, named) in [
        (User, MAP_PRIVATE, EAGAIN, "mmap"),
        (User, MAP_PRIVATE, EPERM, "mmap"),
        (Kernel, MAP_PRIVATE, EPERM, "mmap"),
        (Kernel, CREATE, EMFILE, "memfd_create"),
        (Kernel, CREATE, EPERM, "memfd_create"),
        (Kernel, CREATE, EINVAL, "memfd_create"),
        (Kernel, RESIZE, EFBIG, "ftruncate"),
        (Kernel, RESIZE, EINVAL, "ftruncate"),
        (Kernel, MAP_SHARED, EACCES, "mmap"),
        (Kernel, MAP_SHARED, EAGAIN, "mmap"),
        (Kernel, SEAL, EPERM, "fcntl(F_ADD_SEALS)"),
        (Kernel, SET_ASIDE, EIO, "fallocate"),
    ] {
        match failure(&pool(mode), call, errno) {
            CommitError::Os { call, source } => {
                assert_eq!(call, named);
                assert!(is_errno(&source, errno), "{source:?}");
            }
            other => panic!("{named}: {other}"),
        }
    }
}

fn calls_that_find_no_memory() {
    for (mode, call, errno) in [
        (User, MAP_PRIVATE, ENOMEM),
        (Kernel, MAP_PRIVATE, ENOMEM),
        (Kernel, CREATE, ENOMEM),
        (Kernel, RESIZE, ENOSPC),
        (Kernel, MAP_SHARED, ENOMEM),
        (Kernel, SET_ASIDE, ENOSPC),
        (Kernel, SET_ASIDE, ENOMEM),
    ] {
        match failure(&pool(mode), call, errno) {
            CommitError::OutOfMemory { bytes } => assert!(bytes >= FRAME),
            other => panic!("{other}"),
        }
    }
}

fn a_system_without_such_objects_has_no_kernel_mode() {
    let error = failure(&pool(Kernel), CREATE, ENOSYS);
    assert!(
        matches!(error, CommitError::ModeUnsupported { mode: Kernel, .. }),
        "{error}"
    );
}

/// What older systems lack, and nobody needs.
fn calls_that_may_fail() {
    let transparent = pool(Kernel).huge_pages(HugePages::Transparent);
    for (builder, call, errno) in [
        (pool(Kernel), CREATE_NOEXEC, EINVAL),
        (transparent, POPULATE, EINVAL),
    ] {
        let before = left_behind();
        let made = refused(call, errno, || builder.build()).unwrap();
        assert_eq!(made.acquire().unwrap().len(), FRAME);
        assert_eq!(made.verify_resident(), Ok(()));
        drop(made);
        assert_eq!(left_behind(), before);
    }
}

/// An object whose descriptor is 0 would be taken for none.
fn a_descriptor_that_cannot_be_another() {
    let stdin = rustix::io::dup(rustix::stdio::stdin()).unwrap();
    // SAFETY: nothing in this process reads from it.
    #[expect(unsafe_code, reason = "there is no other way to have it closed")]
    unsafe {
        rustix::io::close(0);
    }
    let before = left_behind();
    let error = failure(&pool(Kernel), CLONE, EMFILE);
    assert_eq!(left_behind(), before);
    rustix::stdio::dup2_stdin(&stdin).unwrap();
    match error {
        CommitError::Os { call, source } => {
            assert_eq!(call, "fcntl(F_DUPFD_CLOEXEC)");
            assert!(is_errno(&source, EMFILE));
        }
        other => panic!("{other}"),
    }
}

/// What is builder for beyond the memory: missed, and reported, or refused.
fn calls_that_fail_a_wish() {
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
        a_wish_fails(&builder, request, call, errno, named);
    }
}

fn a_wish_fails(
    builder: &FramePoolBuilder,
    request: MemoryRequest,
    call: Call,
    errno: c_int,
    named: &str,
) {
    let before = left_behind();
    let made = refused(call, errno, || builder.build()).unwrap();
    let [shortfall] = &*made.commit_report().unmet else {
        panic!("{}", made.commit_report());
    };
    assert_eq!((shortfall.request, shortfall.call), (request, named));
    assert!(is_errno(shortfall.source(), errno), "{shortfall}");
    assert_eq!(made.acquire().unwrap().len(), FRAME);
    drop(made);
    assert_eq!(left_behind(), before);

    match failure(&builder.clone().require_memory_options(true), call, errno) {
        CommitError::UnmetRequest {
            request: refused,
            call,
            source,
        } => {
            assert_eq!((refused, call), (request, named));
            assert!(is_errno(&source, errno), "{source:?}");
        }
        other => panic!("{named}: {other}"),
    }
}

/// By root only: the pages are reserved, and then there is no memory behind them after all.
fn huge_pages_that_cannot_be_populated() {
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
            a_wish_fails(
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

/// What cannot be measured is not made up.
fn calls_that_measure() {
    for mode in [User, Kernel] {
        let made = pool(mode).lock_in_memory(true).build().unwrap();
        let bytes = made.segment().bytes;
        let whole = made.commit_report();
        assert_eq!(whole.resident, Some(bytes));

        let (report, verified) = refused(IN_CORE, ENOSYS, || {
            (made.commit_report(), made.verify_resident())
        });
        assert_eq!(report.resident, None);
        assert_eq!(report.locked, whole.locked);
        assert_eq!(verified, Err(NotResident::Unknown { bytes }));
        assert!(report.to_string().contains("resident: unknown"), "{report}");

        let report = refused(MOVE, EPERM, || made.commit_report());
        assert!(report.numa_nodes.is_empty());
        assert_eq!(report.resident, Some(bytes));

        let report = refused(OPEN, EACCES, || made.commit_report());
        assert_eq!((report.huge, report.locked), (None, None));
        assert_eq!(report.page_size, rustix::param::page_size());
    }
    let builder = pool(User)
        .huge_pages(HugePages::Transparent)
        .require_memory_options(true);
    match failure(&builder, OPEN, EACCES) {
        CommitError::UnmetRequest { source, .. } => {
            assert!(
                source.to_string().contains("cannot be measured"),
                "{source}"
            );
        }
        other => panic!("{other}"),
    }
}

fn calls_of_borrowers() {
    let made = pool(Kernel).build().unwrap();
    let before = left_behind();
    let open = || {
        // SAFETY: nobody writes, and nothing is read.
        #[expect(unsafe_code, reason = "borrows frames")]
        let opened = unsafe { RemoteFrames::open(made.handle().unwrap()) };
        opened.map(drop)
    };
    open().unwrap();
    let error = refused(SEALS, EPERM, open).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    for (call, errno) in [(STATUS, EIO), (MAP_SHARED, EACCES), (MAP_SHARED, ENOMEM)] {
        let error = refused(call, errno, open).unwrap_err();
        assert!(is_errno(&error, errno), "{error:?}");
    }
    let error = refused(CLONE, EMFILE, || made.try_clone_handle().map(drop)).unwrap_err();
    assert!(is_errno(&error, EMFILE), "{error:?}");
    assert_eq!(left_behind(), before);
}

/// The memory stays then, but nobody else's is harmed, and nobody is told.
fn memory_that_cannot_be_unmapped() {
    for mode in [User, Kernel] {
        let (descriptors, mappings) = left_behind();
        let made = pool(mode).build().unwrap();
        let address = made.segment().base.addr().get();
        refused(UNMAP, ENOMEM, move || drop(made));
        assert_eq!(left_behind(), (descriptors, mappings + 1));
        let next = pool(mode).build().unwrap();
        assert_ne!(next.segment().base.addr().get(), address);
        assert_eq!(next.verify_resident(), Ok(()));
    }
}

#[test]
fn whatever_call_is_refused_the_error_names_it_and_nothing_is_left_behind() {
    calls_that_fail_the_commit();
    calls_that_find_no_memory();
    a_system_without_such_objects_has_no_kernel_mode();
    calls_that_may_fail();
    a_descriptor_that_cannot_be_another();
    calls_that_fail_a_wish();
    huge_pages_that_cannot_be_populated();
    calls_that_measure();
    calls_of_borrowers();
    memory_that_cannot_be_unmapped();
}
