//! Signals and what runs out on Linux.

#![expect(
    clippy::fn_to_numeric_cast_any,
    reason = "to a pointer, of which a structure wants the number"
)]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::ffi::{c_int, c_void};
use std::fs;
use std::hint::black_box;
use std::mem;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ks_allocator::{AllocatorMode, BuildError, CommitError, FramePool};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{
    MODES, dies, dies_unexplained, faulted, page, read, run, said, stale, survived, survives,
    trapped,
};

pub(super) fn leave_no_core() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).unwrap();
}

pub(super) fn died_of(output: &Output, signal: c_int) -> bool {
    output.status.signal() == Some(signal)
}

/// Sets what is done about a signal; the handler is a function, or one of the two numbers that are none.
fn set_action(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: a structure of numbers and of pointers that may be NULL.
    let mut action = unsafe { mem::zeroed::<libc::sigaction>() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: an action as the flags say; what it was is not asked for.
    let done = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    assert_eq!(done, 0);
}

fn raise(signal: c_int) {
    // SAFETY: sends a signal.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

fn tell(line: &[u8]) {
    // SAFETY: so many bytes.
    let written = unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    assert_eq!(usize::try_from(written), Ok(line.len()));
}

fn with_info(handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void)) -> usize {
    let handler: *const () = handler as *const ();
    handler.expose_provenance()
}

/// Whether the handler was told of an address in a segment.
extern "C" fn end_with_seven(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the information that comes with a fault.
    let info = unsafe { &*info };
    // SAFETY: likewise.
    let address = unsafe { info.si_addr() };
    if signal == libc::SIGSEGV && !context.is_null() && address.addr() % 4096 == 17 {
        tell(b"the user's own handler\n");
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(7) };
    }
}

#[test]
fn a_handler_that_was_there_before_is_called_after_the_message() {
    let output = run(
        "unix::a_handler_that_was_there_before_is_called_after_the_message",
        || {
            let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            set_action(libc::SIGSEGV, with_info(end_with_seven), flags);
            let pool = trapped().build().unwrap();
            read(stale(&pool, 2).wrapping_add(17));
        },
    );
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let said = said(&output);
    let message = said.find("byte 17 of slot 2").unwrap();
    assert!(said.find("the user's own handler").unwrap() > message);
}

extern "C" fn say_and_return(_signal: c_int) {
    tell(b"once\n");
}

/// A handler that is to be called once, without information, and without its signal being blocked.
#[test]
fn a_handler_that_gives_up_after_once_is_called_once() {
    let output = run(
        "unix::a_handler_that_gives_up_after_once_is_called_once",
        || {
            let handler: extern "C" fn(c_int) = say_and_return;
            let handler: *const () = handler as *const ();
            let flags = libc::SA_RESETHAND | libc::SA_NODEFER;
            set_action(libc::SIGSEGV, handler.expose_provenance(), flags);
            let pool = trapped().build().unwrap();
            read(stale(&pool, 2));
        },
    );
    assert!(faulted(&output), "{output:?}");
    assert_eq!(said(&output).matches("once").count(), 1, "{output:?}");
}

/// Makes the page accessible, so that the access succeeds when it happens again.
extern "C" fn repair(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the information that comes with a fault.
    let info = unsafe { &*info };
    // SAFETY: likewise.
    let address = unsafe { info.si_addr() };
    let start = address.map_addr(|address| address - address % page());
    // SAFETY: a page of a pool that is there, as the tests have it.
    unsafe { libc::mprotect(start, page(), libc::PROT_READ | libc::PROT_WRITE) };
}

/// Each access is explained, while pools come and go in other threads.
#[test]
fn a_handler_that_repairs_what_is_wrong_goes_on() {
    const ACCESSES: usize = 300;
    let output = run("unix::a_handler_that_repairs_what_is_wrong_goes_on", || {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        set_action(libc::SIGSEGV, with_info(repair), flags);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for frames in [9, 10] {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        drop(trapped().frames(frames).build().unwrap());
                    }
                });
            }
            let pool = trapped().build().unwrap();
            for _ in 0..ACCESSES {
                read(stale(&pool, 2));
            }
            done.store(true, Ordering::Relaxed);
        });
    });
    assert!(survived(&output), "{output:?}");
    let message = "byte 0 of slot 2 of a pool of 8 frames of 4096 bytes; slot 2 is free";
    assert_eq!(said(&output).matches(message).count(), ACCESSES);
}

#[test]
fn what_is_ignored_stays_ignored_but_a_fault() {
    let message = dies("unix::what_is_ignored_stays_ignored_but_a_fault", || {
        set_action(libc::SIGSEGV, libc::SIG_IGN, 0);
        let pool = trapped().build().unwrap();
        raise(libc::SIGSEGV);
        read(stale(&pool, 1));
    });
    assert!(message.starts_with("byte 0 of slot 1"), "{message}");
}

#[test]
fn a_signal_that_somebody_sent_ends_the_process_if_it_would_have() {
    dies_unexplained(
        "unix::a_signal_that_somebody_sent_ends_the_process_if_it_would_have",
        || {
            set_action(libc::SIGSEGV, libc::SIG_DFL, 0);
            let _pool = trapped().build().unwrap();
            raise(libc::SIGSEGV);
        },
    );
}

fn endless(depth: u64) -> u64 {
    let bytes = black_box([depth; 64]);
    bytes[0]
        + if depth == u64::MAX {
            0
        } else {
            endless(depth + 1)
        }
}

/// The handler of Rust's standard library is there first, too.
#[test]
fn a_stack_overflow_is_still_called_one() {
    let output = run("unix::a_stack_overflow_is_still_called_one", || {
        let _pool = trapped().build().unwrap();
        black_box(endless(0));
    });
    assert!(died_of(&output, libc::SIGABRT), "{output:?}");
    let said = said(&output);
    assert!(said.contains("overflowed its stack"), "{said}");
    assert!(!said.contains("ks-allocator:"), "{said}");
}

/// A message that nobody can be told of is in nobody's way.
#[test]
fn a_closed_standard_error_changes_nothing() {
    let output = run("unix::a_closed_standard_error_changes_nothing", || {
        let pool = trapped().build().unwrap();
        // SAFETY: nothing in this process needs it.
        unsafe { libc::close(2) };
        read(stale(&pool, 1));
    });
    assert!(faulted(&output) && !survived(&output), "{output:?}");
}

/// Mappings that the heap may come to have meanwhile; a sanitizer's has some more.
const HEAP: usize = 64;

/// Descriptors that are open, and mappings.
fn held() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    (descriptors, maps.lines().count())
}

#[test]
fn a_thousand_pools_leave_nothing_behind() {
    survives("unix::a_thousand_pools_leave_nothing_behind", || {
        let cycle = |mode| {
            let pool = trapped().mode(mode).build().unwrap();
            let frames: Vec<_> = pool.acquire_many(8).unwrap().collect();
            drop(pool);
            drop(frames);
        };
        MODES.into_iter().for_each(cycle);
        let before = held();
        for _ in 0..500 {
            MODES.into_iter().for_each(cycle);
        }
        let after = held();
        assert_eq!(after.0, before.0);
        assert!(after.1 <= before.1 + HEAP, "{before:?}, {after:?}");
    });
}

#[test]
fn free_frames_of_a_trap_take_no_mappings() {
    survives("unix::free_frames_of_a_trap_take_no_mappings", || {
        for mode in MODES {
            let before = held();
            let pool = trapped().frames(1000).mode(mode).build().unwrap();
            let all: Vec<_> = (0..1000).map(|_| pool.acquire().unwrap()).collect();
            assert!(held().1 >= before.1 + 2000);
            drop(all);
            assert!(held().1 <= before.1 + HEAP, "{before:?}, {:?}", held());
        }
    });
}

fn most_mappings() -> usize {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    limit.trim().parse().unwrap()
}

#[test]
fn more_frames_than_there_are_mappings_for_are_an_error() {
    survives(
        "unix::more_frames_than_there_are_mappings_for_are_an_error",
        || {
            let before = held();
            for mode in MODES {
                let pool = FramePool::builder()
                    .frame_size(1)
                    .prefault(false)
                    .guard_pages(true)
                    .mode(mode);
                let error = pool.clone().frames(most_mappings() / 2 + 1).build();
                match error.unwrap_err() {
                    BuildError::Commit(CommitError::Os { call, source }) => {
                        assert_eq!(call, "mprotect");
                        assert_eq!(Errno::from_io_error(&source), Some(Errno::NOMEM));
                    }
                    other => panic!("{other}"),
                }
                assert!(held().1 <= before.1 + HEAP, "{before:?}, {:?}", held());
                assert_eq!(held().0, before.0);
                // And as many as there are, all of them out.
                let frames = most_mappings() / 2 - 500;
                let pool = pool.frames(frames).build().unwrap();
                let all: Vec<_> = (0..frames).map(|_| pool.acquire().unwrap()).collect();
                assert_eq!(all.last().unwrap().len(), 1);
            }
        },
    );
}

/// Uses up all mappings of the process but one or two.
fn use_up_mappings() {
    let bytes = most_mappings() * 2 * page();
    let (access, flags) = (ProtFlags::READ, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a new mapping, which nobody else knows of.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) }.unwrap();
    for offset in (page()..bytes).step_by(2 * page()) {
        let start = base.wrapping_byte_add(offset);
        // SAFETY: a page of it.
        if unsafe { mprotect(start, page(), MprotectFlags::empty()) }.is_err() {
            return;
        }
    }
    panic!("there is no limit");
}

#[test]
fn a_frame_that_cannot_be_made_accessible_ends_the_process() {
    let output = run(
        "unix::a_frame_that_cannot_be_made_accessible_ends_the_process",
        || {
            let pool = trapped().mode(AllocatorMode::User).build().unwrap();
            let kept = pool.acquire().unwrap();
            use_up_mappings();
            drop(kept); // goes back all the same,
            let _next = pool.acquire_many(2).map(Iterator::collect::<Vec<_>>); // and the next does not come
        },
    );
    assert!(died_of(&output, libc::SIGABRT), "{output:?}");
    let said = said(&output);
    let message = "of a pool cannot be made accessible again, for the system refuses another \
                   mapping (error 12); aborting";
    assert!(said.contains(message), "{said}");
}
