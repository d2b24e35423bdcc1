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

use std::any::TypeId;
use std::env;
use std::ffi::{CStr, CString, OsString, c_int, c_void};
use std::fs;
use std::hint::black_box;
use std::mem::{self, MaybeUninit};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::thread;

use ks_allocator::FramePool;

type Crate = fn() -> TypeId;
type UseGuardPages = fn(fn());
type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Set in the process that runs the body of a test.
const IN_CHILD: &str = "KS_ALLOCATOR_UNLOADING";
const HANDLED: c_int = 7;

/// A library in a file of its own.
struct Library {
    path: PathBuf,
    handle: *mut c_void,
}

impl Library {
    /// Builds the library with the copy of the crate that this program is linked with, and loads
    /// it.
    ///
    /// There may be several builds of the crate, with different features. They differ in the
    /// identity of their types.
    fn load() -> Self {
        let path = env::temp_dir().join(format!("ks-allocator-unloading-{}.so", process::id()));
        let folder = env::current_exe().unwrap().parent().unwrap().to_owned();
        let files = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let is_crate = |file: &PathBuf| {
            let name = file.file_name().unwrap().to_str().unwrap();
            name.starts_with("libks_allocator-") && name.ends_with(".rlib")
        };
        let mut crates: Vec<_> = files.filter(is_crate).collect();
        crates.sort_by_key(|file| fs::metadata(file).unwrap().modified().unwrap());
        for _built in crates.iter().rev().filter(|rlib| build(rlib, &path)) {
            let library = Self::open(path.clone());
            // SAFETY: the symbol is the function of this type, built by the same compiler.
            let library_crate =
                unsafe { mem::transmute::<*mut c_void, Crate>(library.symbol(c"library_crate")) };
            if library_crate() == TypeId::of::<FramePool>() {
                return library;
            }
            library.close();
        }
        panic!("no build of this crate in {}", folder.display());
    }

    fn open(path: PathBuf) -> Self {
        let name = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the string ends in NUL, and the initializers of the library are those of Rust.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null());
        Self { path, handle }
    }

    fn symbol(&self, name: &CStr) -> *mut c_void {
        // SAFETY: the library is loaded, and the string ends in NUL.
        let symbol = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        assert!(!symbol.is_null(), "{name:?}");
        symbol
    }

    /// Lets the library use pools with guard pages in a thread that then ends.
    fn use_guard_pages(&self, meanwhile: fn()) {
        let symbol = self.symbol(c"library_use_guard_pages");
        // SAFETY: the symbol is the function of this type, built by the same compiler.
        let use_guard_pages = unsafe { mem::transmute::<*mut c_void, UseGuardPages>(symbol) };
        let thread = thread::spawn(move || use_guard_pages(meanwhile));
        thread.join().unwrap();
    }

    /// Closes the library and deletes its file. Returns whether the library was unloaded.
    fn close(self) -> bool {
        // SAFETY: `open` has loaded the library once, and no code of it runs.
        assert_eq!(unsafe { libc::dlclose(self.handle) }, 0);
        fs::remove_file(&self.path).unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        !maps.contains(self.path.to_str().unwrap())
    }
}

/// Links the library with the build of the crate in `rlib`.
fn build(rlib: &Path, library: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut dependencies = OsString::from("dependency=");
    dependencies.push(rlib.parent().unwrap());
    let mut this = OsString::from("ks_allocator=");
    this.push(rlib);
    let output = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "cdylib", "-o"])
        .arg(library)
        .arg("-L")
        .arg(dependencies)
        .arg("--extern")
        .arg(this)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unloading/library.rs"))
        .output()
        .unwrap();
    output.status.success()
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
    if env::var_os(IN_CHILD).is_some() {
        return body();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(IN_CHILD, "")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(HANDLED), "{output:?}");
}

#[test]
fn the_hosts_handler_is_restored_before_the_library_is_unloaded() {
    is_ended_by_own_handler(
        "the_hosts_handler_is_restored_before_the_library_is_unloaded",
        || {
            set_handler(exit);
            let library = Library::load();
            library.use_guard_pages(|| {});
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
            let library = Library::load();
            library.use_guard_pages(install_second_handler);
            assert!(!library.close());
            fault();
        },
    );
}
