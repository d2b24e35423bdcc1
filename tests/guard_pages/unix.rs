//! Signal handlers, and limits of the process, on Linux.

#![expect(
    clippy::fn_to_numeric_cast_any,
    reason = "a handler is cast to a pointer, whose address a structure holds"
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

use super::support::count_mappings::count_mappings;
use super::support::open_descriptors::open_descriptors;
use super::{
    MODES, crash_message, crashes_without_message, faulted, guarded, page, read, run,
    stale_pointer, stderr, survived, survives,
};

pub(super) fn disable_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).unwrap();
}

pub(super) fn was_ended_by(output: &Output, signal: c_int) -> bool {
    output.status.signal() == Some(signal)
}

/// Sets the action for a signal. The handler is a function, `SIG_DFL` or `SIG_IGN`.
fn set_action(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: the structure consists of integers and of an optional function pointer, for all of
    // which zero is a valid value.
    let mut action = unsafe { mem::zeroed::<libc::sigaction>() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the callers pass a handler that fits the flags. NULL is allowed for the old action.
    let done = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    assert_eq!(done, 0);
}

fn raise(signal: c_int) {
    // SAFETY: `raise` accepts every signal number.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

fn write_to_stderr(line: &[u8]) {
    // SAFETY: the pointer and the length are those of a slice.
    let written = unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    assert_eq!(usize::try_from(written), Ok(line.len()));
}

fn with_info(handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void)) -> usize {
    let handler: *const () = handler as *const ();
    handler.expose_provenance()
}

/// Exits with code 7 if the arguments are those of a fault at byte 17 of a page.
extern "C" fn end_with_seven(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system passes valid information to a handler with `SA_SIGINFO`.
    let info = unsafe { &*info };
    // SAFETY: the information of a fault contains an address.
    let address = unsafe { info.si_addr() };
    if signal == libc::SIGSEGV && !context.is_null() && address.addr() % 4096 == 17 {
        write_to_stderr(b"the user's own handler\n");
        // SAFETY: `_exit` accepts every code and may be called in a signal handler.
        unsafe { libc::_exit(7) };
    }
}

#[test]
fn a_previous_handler_is_called_after_the_message() {
    let output = run(
        "unix::a_previous_handler_is_called_after_the_message",
        || {
            let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            set_action(libc::SIGSEGV, with_info(end_with_seven), flags);
            let pool = guarded().build().unwrap();
            read(stale_pointer(&pool, 2).wrapping_add(17));
        },
    );
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let stderr = stderr(&output);
    let message = stderr.find("byte 17 of slot 2").unwrap();
    assert!(stderr.find("the user's own handler").unwrap() > message);
}

extern "C" fn write_once_and_return(_signal: c_int) {
    write_to_stderr(b"once\n");
}

/// The handler takes no information, and its signal is not blocked while it runs.
#[test]
fn a_previous_handler_with_resethand_is_called_once() {
    let output = run(
        "unix::a_previous_handler_with_resethand_is_called_once",
        || {
            let handler: extern "C" fn(c_int) = write_once_and_return;
            let handler: *const () = handler as *const ();
            let flags = libc::SA_RESETHAND | libc::SA_NODEFER;
            set_action(libc::SIGSEGV, handler.expose_provenance(), flags);
            let pool = guarded().build().unwrap();
            read(stale_pointer(&pool, 2));
        },
    );
    assert!(faulted(&output), "{output:?}");
    assert_eq!(stderr(&output).matches("once").count(), 1, "{output:?}");
}

/// Makes the page accessible, so that the repeated access succeeds.
extern "C" fn repair(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the system passes valid information to a handler with `SA_SIGINFO`.
    let info = unsafe { &*info };
    // SAFETY: the information of a fault contains an address.
    let address = unsafe { info.si_addr() };
    let start = address.map_addr(|address| address - address % page());
    // SAFETY: the tests fault only on pages of a pool that exists.
    unsafe { libc::mprotect(start, page(), libc::PROT_READ | libc::PROT_WRITE) };
}

/// Each access has its message, while other threads create and drop pools.
#[test]
fn a_previous_handler_may_repair_the_fault() {
    const ACCESSES: usize = 300;
    let output = run("unix::a_previous_handler_may_repair_the_fault", || {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        set_action(libc::SIGSEGV, with_info(repair), flags);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for frames in [9, 10] {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        drop(guarded().frames(frames).build().unwrap());
                    }
                });
            }
            let pool = guarded().build().unwrap();
            for _ in 0..ACCESSES {
                read(stale_pointer(&pool, 2));
            }
            done.store(true, Ordering::Relaxed);
        });
    });
    assert!(survived(&output), "{output:?}");
    let message = "byte 0 of slot 2, in a pool of 8 frames of 4096 bytes; slot 2 is free";
    assert_eq!(stderr(&output).matches(message).count(), ACCESSES);
}

#[test]
fn an_ignored_signal_stays_ignored_unless_it_is_a_fault() {
    let message = crash_message(
        "unix::an_ignored_signal_stays_ignored_unless_it_is_a_fault",
        || {
            set_action(libc::SIGSEGV, libc::SIG_IGN, 0);
            let pool = guarded().build().unwrap();
            raise(libc::SIGSEGV);
            read(stale_pointer(&pool, 1));
        },
    );
    assert!(message.starts_with("byte 0 of slot 1"), "{message}");
}

#[test]
fn a_sent_signal_with_the_default_action_ends_the_process() {
    crashes_without_message(
        "unix::a_sent_signal_with_the_default_action_ends_the_process",
        || {
            set_action(libc::SIGSEGV, libc::SIG_DFL, 0);
            let _pool = guarded().build().unwrap();
            raise(libc::SIGSEGV);
        },
    );
}

fn overflow_the_stack(depth: u64) -> u64 {
    let bytes = black_box([depth; 64]);
    bytes[0]
        + if depth == u64::MAX {
            0
        } else {
            overflow_the_stack(depth + 1)
        }
}

/// The handler of Rust's standard library is a previous handler, too.
#[test]
fn a_stack_overflow_is_still_reported_as_such() {
    let output = run("unix::a_stack_overflow_is_still_reported_as_such", || {
        let _pool = guarded().build().unwrap();
        black_box(overflow_the_stack(0));
    });
    assert!(was_ended_by(&output, libc::SIGABRT), "{output:?}");
    let stderr = stderr(&output);
    assert!(stderr.contains("overflowed its stack"), "{stderr}");
    assert!(!stderr.contains("ks-allocator:"), "{stderr}");
}

#[test]
fn a_closed_standard_error_stream_is_harmless() {
    let output = run("unix::a_closed_standard_error_stream_is_harmless", || {
        let pool = guarded().build().unwrap();
        // SAFETY: nothing else in this process uses the descriptor.
        unsafe { libc::close(2) };
        read(stale_pointer(&pool, 1));
    });
    assert!(faulted(&output) && !survived(&output), "{output:?}");
}

/// Number of mappings that the heap may add during a test. Heaps of sanitizers add more.
const HEAP_MAPPINGS: usize = 64;

/// Returns the numbers of open descriptors and of mappings.
fn resources() -> (usize, usize) {
    (open_descriptors(), count_mappings(|_| true))
}

#[test]
fn a_thousand_pools_leak_no_descriptor_and_no_mapping() {
    survives(
        "unix::a_thousand_pools_leak_no_descriptor_and_no_mapping",
        || {
            let cycle = |mode| {
                let pool = guarded().mode(mode).build().unwrap();
                let frames: Vec<_> = pool.acquire_many(8).unwrap().collect();
                drop(pool);
                drop(frames);
            };
            MODES.into_iter().for_each(cycle);
            let before = resources();
            for _ in 0..500 {
                MODES.into_iter().for_each(cycle);
            }
            let after = resources();
            assert_eq!(after.0, before.0);
            assert!(after.1 <= before.1 + HEAP_MAPPINGS, "{before:?}, {after:?}");
        },
    );
}

#[test]
fn free_frames_take_no_mappings() {
    survives("unix::free_frames_take_no_mappings", || {
        for mode in MODES {
            let before = resources();
            let pool = guarded().frames(1000).mode(mode).build().unwrap();
            let all: Vec<_> = (0..1000).map(|_| pool.acquire().unwrap()).collect();
            assert!(resources().1 >= before.1 + 2000);
            drop(all);
            assert!(
                resources().1 <= before.1 + HEAP_MAPPINGS,
                "{before:?}, {:?}",
                resources()
            );
        }
    });
}

fn max_mappings() -> usize {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    limit.trim().parse().unwrap()
}

#[test]
fn more_frames_than_mappings_are_an_error() {
    survives("unix::more_frames_than_mappings_are_an_error", || {
        let before = resources();
        for mode in MODES {
            let pool = FramePool::builder()
                .frame_size(1)
                .prefault(false)
                .guard_pages(true)
                .mode(mode);
            let error = pool.clone().frames(max_mappings() / 2 + 1).build();
            match error.unwrap_err() {
                BuildError::Commit(CommitError::Os { call, source }) => {
                    assert_eq!(call, "mprotect");
                    assert_eq!(Errno::from_io_error(&source), Some(Errno::NOMEM));
                }
                other => panic!("{other}"),
            }
            assert!(
                resources().1 <= before.1 + HEAP_MAPPINGS,
                "{before:?}, {:?}",
                resources()
            );
            assert_eq!(resources().0, before.0);
            // As many frames as there are mappings for can all be out.
            let frames = max_mappings() / 2 - 500;
            let pool = pool.frames(frames).build().unwrap();
            let all: Vec<_> = (0..frames).map(|_| pool.acquire().unwrap()).collect();
            assert_eq!(all.last().unwrap().len(), 1);
        }
    });
}

/// Uses up all mappings of the process except one or two.
fn use_up_mappings() {
    let bytes = max_mappings() * 2 * page();
    let (access, flags) = (ProtFlags::READ, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: the address is NULL, so the system chooses a range in which nothing is mapped.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) }.unwrap();
    for offset in (page()..bytes).step_by(2 * page()) {
        let start = base.wrapping_byte_add(offset);
        // SAFETY: the page belongs to the new mapping, which only this function knows.
        if unsafe { mprotect(start, page(), MprotectFlags::empty()) }.is_err() {
            return;
        }
    }
    panic!("no limit of mappings was reached");
}

#[test]
fn a_frame_that_cannot_be_made_accessible_aborts_the_process() {
    let output = run(
        "unix::a_frame_that_cannot_be_made_accessible_aborts_the_process",
        || {
            let pool = guarded().mode(AllocatorMode::User).build().unwrap();
            let kept = pool.acquire().unwrap();
            use_up_mappings();
            drop(kept); // a release succeeds
            // An acquire aborts.
            let _next = pool.acquire_many(2).map(Iterator::collect::<Vec<_>>);
        },
    );
    assert!(was_ended_by(&output, libc::SIGABRT), "{output:?}");
    let stderr = stderr(&output);
    let message = "of a pool accessible: mprotect failed (os error 12), probably because the \
                   process has too many memory mappings; aborting";
    assert!(stderr.contains(message), "{stderr}");
}
