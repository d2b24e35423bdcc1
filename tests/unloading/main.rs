//! Unloading of a library that has used pools with guard pages: the fault handlers of the process
//! do not lead to its code any more.

#![cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]
#![expect(
    clippy::fn_to_numeric_cast_any,
    reason = "a handler is cast to a pointer, whose address a structure holds"
)]
#![expect(unsafe_code, reason = "loads a library and handles signals")]

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::thread;

use support::crate_library::CrateLibrary;
use support::rerun::{rerun, role};

// `support` is beside this folder, because other test crates use it too.
#[path = "../support"]
mod support {
    pub(crate) mod crate_library;
    pub(crate) mod rerun;
}

type UseGuardPages = fn(fn());
type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Exit code of the host's own handler.
const HANDLED: c_int = 7;

/// Loads the library.
fn load() -> CrateLibrary {
    CrateLibrary::load("unloading/library.rs", "unloading")
}

/// Lets the library use pools with guard pages in a thread that then ends.
fn use_guard_pages(library: &CrateLibrary, meanwhile: fn()) {
    let symbol = library.symbol(c"library_use_guard_pages");
    // SAFETY: the symbol is the function of this type, built by the same compiler.
    let use_guard_pages = unsafe { mem::transmute::<*mut c_void, UseGuardPages>(symbol) };
    let thread = thread::spawn(move || use_guard_pages(meanwhile));
    thread.join().unwrap();
}

/// Sets the action for `SIGSEGV`, and returns the handler that it replaces.
fn set_handler(handler: Handler) -> usize {
    // SAFETY: the structure consists of integers and of an optional function pointer, for all of
    // which zero is a valid value.
    let mut action = unsafe { mem::zeroed::<libc::sigaction>() };
    let handler: *const () = handler as *const ();
    action.sa_sigaction = handler.expose_provenance();
    action.sa_flags = libc::SA_SIGINFO;
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the handler fits the flag, and `old` has room for an action.
    let done = unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, old.as_mut_ptr()) };
    assert_eq!(done, 0);
    // SAFETY: zeroes are a valid action, and so is what the system has written.
    unsafe { old.assume_init() }.sa_sigaction
}

extern "C" fn exit(_signal: c_int, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: `_exit` accepts every code and may be called in a signal handler.
    unsafe { libc::_exit(HANDLED) };
}

/// The handler that was current when the host installed its second one.
static REPLACED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn call_replaced(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let replaced = ptr::with_exposed_provenance::<()>(REPLACED.load(Ordering::Relaxed));
    // SAFETY: the replaced action was one with `SA_SIGINFO`.
    let replaced = unsafe { mem::transmute::<*const (), Handler>(replaced) };
    replaced(signal, info, context);
}

fn install_second_handler() {
    if REPLACED.load(Ordering::Relaxed) == 0 {
        REPLACED.store(set_handler(call_replaced), Ordering::Relaxed);
    }
}

/// Reads from the first page of the address space.
fn fault() {
    static NOWHERE: AtomicPtr<u8> = AtomicPtr::new(ptr::without_provenance_mut(8));
    // SAFETY: none. The read faults, as it is meant to.
    black_box(unsafe { NOWHERE.load(Ordering::Relaxed).read_volatile() });
}

/// Runs `body` in a process of its own, and checks that the host's own handler has ended it.
fn is_ended_by_own_handler(test: &str, body: fn()) {
    if role().is_some() {
        return body();
    }
    let output = rerun(test, "host").output().unwrap();
    assert_eq!(output.status.code(), Some(HANDLED), "{output:?}");
}

#[test]
fn the_hosts_handler_is_restored_before_the_library_is_unloaded() {
    is_ended_by_own_handler(
        "the_hosts_handler_is_restored_before_the_library_is_unloaded",
        || {
            set_handler(exit);
            let library = load();
            use_guard_pages(&library, || {});
            assert!(library.close());
            fault();
        },
    );
}

#[test]
fn a_library_stays_loaded_if_the_hosts_handler_may_call_it() {
    is_ended_by_own_handler(
        "a_library_stays_loaded_if_the_hosts_handler_may_call_it",
        || {
            set_handler(exit);
            let library = load();
            use_guard_pages(&library, install_second_handler);
            assert!(!library.close());
            fault();
        },
    );
}
