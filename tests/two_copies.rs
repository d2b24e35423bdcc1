//! Two copies of the crate in one process: a library that is loaded at run time has its own, and
//! uses a pool of this program.

#![cfg(all(target_os = "linux", not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "loads a library")]
#![expect(clippy::disallowed_types, reason = "a test outside of the crate")]

use std::any::TypeId;
use std::env;
use std::ffi::{CStr, CString, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ks_allocator::{AllocatorMode, Frame, FramePool, HolderState, Label};

const FRAMES: usize = 256;

type Crate = fn() -> TypeId;
type Hammer = fn(&FramePool, &AtomicBool, &[AtomicUsize], usize) -> usize;
type Acquire = fn(&FramePool) -> [Frame; 2];
type CanAcquire = fn(&FramePool) -> bool;
type DropPool = fn(FramePool);

/// A loaded library, which is unloaded on drop.
struct Library(*mut c_void);

impl Library {
    fn load(path: &Path) -> Self {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the string ends in NUL, and the initializers of the library are those of Rust.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null());
        Self(handle)
    }

    /// Returns the address of a symbol.
    fn symbol(&self, name: &CStr) -> *mut c_void {
        // SAFETY: the library is loaded, and the string ends in NUL.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!symbol.is_null(), "{name:?}");
        symbol
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: `load` has loaded the library once.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

/// Links the library with the build of the crate that is in `rlib`.
fn build(rlib: &Path, library: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/two_copies/plugin.rs");
    let mut dependencies = std::ffi::OsString::from("dependency=");
    dependencies.push(rlib.parent().unwrap());
    let mut this = std::ffi::OsString::from("ks_allocator=");
    this.push(rlib);
    let built = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"])
        .arg(library)
        .arg("-L")
        .arg(dependencies)
        .arg("--extern")
        .arg(this)
        .arg(source)
        .output()
        .unwrap();
    built.status.success()
}

/// Builds the library with a copy of the crate that this program is linked with, and loads it.
///
/// There may be several builds of the crate, with different features. They differ in the identity
/// of their types.
fn load(library: &Path) -> Library {
    let folder = env::current_exe().unwrap().parent().unwrap().to_owned();
    let rlibs = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_crate = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("libks_allocator-") && name.ends_with(".rlib")
    };
    let mut rlibs: Vec<_> = rlibs.filter(is_crate).collect();
    rlibs.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    let newest_first = rlibs.iter().rev();
    for rlib in newest_first {
        if !build(rlib, library) {
            continue;
        }
        let loaded = Library::load(library);
        // SAFETY: the symbol is the function of this type, built by the same compiler.
        let plugin_crate =
            unsafe { std::mem::transmute::<*mut c_void, Crate>(loaded.symbol(c"plugin_crate")) };
        if plugin_crate() == TypeId::of::<FramePool>() {
            return loaded;
        }
    }
    panic!("no build of this crate in {}", folder.display());
}

fn is_loaded(library: &Path) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.contains(library.to_str().unwrap())
}

/// Acquires and releases frames, as the library does.
fn hammer(pool: &FramePool, stop: &AtomicBool, owners: &[AtomicUsize], me: usize) -> usize {
    let mut doubles = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..100 {
            let Ok(frame) = pool.try_acquire() else {
                continue;
            };
            doubles += usize::from(owners[frame.slot()].swap(me, Ordering::Relaxed) != 0);
            doubles += usize::from(owners[frame.slot()].swap(0, Ordering::Relaxed) != me);
        }
    }
    doubles
}

/// Two threads of each copy have the same indices.
fn hammer_with_both(pool: &FramePool, library: &Library) -> usize {
    // SAFETY: the symbol is the function of this type, built by the same compiler with the same
    // build of the crate.
    let plugin_hammer =
        unsafe { std::mem::transmute::<*mut c_void, Hammer>(library.symbol(c"plugin_hammer")) };
    let stop = AtomicBool::new(false);
    let owners: Vec<_> = (0..FRAMES).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        let (stop, owners) = (&stop, &owners[..]);
        let hammers: [Hammer; 4] = [hammer, plugin_hammer, hammer, plugin_hammer];
        let mut me = 0;
        let threads = hammers.map(|hammer| {
            me += 1;
            scope.spawn(move || hammer(pool, stop, owners, me))
        });
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    })
}

fn library_path(test: &str) -> PathBuf {
    let name = format!("ks-allocator-two-copies-{test}-{}.so", process::id());
    env::temp_dir().join(name)
}

/// Returns the address of the function that handles `SIGSEGV`.
fn fault_handler() -> usize {
    // SAFETY: all bytes of a `sigaction` may be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action, the call only writes the present one.
    let result = unsafe { libc::sigaction(libc::SIGSEGV, std::ptr::null(), &raw mut action) };
    assert_eq!(result, 0);
    action.sa_sigaction
}

#[test]
fn another_copy_that_drops_a_guarded_pool_takes_back_the_handlers_of_the_copy_that_made_it() {
    let path = library_path("handlers");
    let library = load(&path);
    // SAFETY: the symbol is the function of this type, built by the same compiler with the same
    // build of the crate.
    let drop_pool =
        unsafe { std::mem::transmute::<*mut c_void, DropPool>(library.symbol(c"plugin_drop")) };
    let before = fault_handler();
    for _ in 0..2 {
        let builder = FramePool::builder().frames(2).frame_size(64);
        let pool = builder.guard_pages(true).build().unwrap();
        assert_ne!(fault_handler(), before);
        drop_pool(pool);
        assert_eq!(fault_handler(), before);
    }
    drop(library);
    fs::remove_file(&path).unwrap();
}

/// Runs `child` in a forked process, which must return true.
fn in_child(child: impl FnOnce() -> bool) {
    // SAFETY: the child runs `child` and ends. It uses the heap, whose locks the C library keeps
    // consistent across a fork, and the crate, which promises to work there.
    let id = unsafe { libc::fork() };
    assert!(id >= 0, "fork failed");
    if id == 0 {
        // SAFETY: without a handler, the signal kills this process.
        unsafe { libc::alarm(20) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: ends the process without handlers of the parent.
        unsafe { libc::_exit(i32::from(!done.unwrap_or(false))) };
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made.
    let waited = unsafe { libc::waitpid(id, &raw mut status, 0) };
    assert_eq!((waited, status), (id, 0), "the child failed");
}

#[test]
fn another_copy_knows_the_process_that_made_a_pool() {
    let path = library_path("fork");
    let library = load(&path);
    // SAFETY: the symbol is the function of this type, built by the same compiler with the same
    // build of the crate.
    let can_acquire = unsafe {
        std::mem::transmute::<*mut c_void, CanAcquire>(library.symbol(c"plugin_can_acquire"))
    };
    let kernel = FramePool::builder().frames(2).frame_size(64);
    let kernel = kernel.mode(AllocatorMode::Kernel);
    let of_parent = kernel.build().unwrap();
    assert!(can_acquire(&of_parent));
    in_child(|| {
        let of_child = kernel.build().unwrap();
        !can_acquire(&of_parent) && can_acquire(&of_child)
    });
    assert!(can_acquire(&of_parent));
    drop(library);
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_pool_serves_another_copy_of_the_crate_and_outlives_it() {
    let path = library_path("labels");
    let library = load(&path);

    let pool = FramePool::builder().frames(FRAMES).frame_size(64);
    let pool = pool.build().unwrap();
    // The label of the library has the number of one of these in the table of its own copy.
    let others = ["first", "second", "third"].map(Label::new);
    assert_eq!(hammer_with_both(&pool, &library), 0);
    assert_eq!(pool.free_frames(), FRAMES);

    // SAFETY: the symbol is the function of this type, built by the same compiler with the same
    // build of the crate.
    let acquire =
        unsafe { std::mem::transmute::<*mut c_void, Acquire>(library.symbol(c"plugin_acquire")) };
    let pool_of_thread = pool.clone();
    let frames = thread::spawn(move || acquire(&pool_of_thread))
        .join()
        .unwrap();
    drop(library);
    fs::remove_file(&path).unwrap();
    assert!(!is_loaded(&path));

    let own = pool.with_label(others[0]).acquire().unwrap();
    let holders = pool.holders();
    let entry = |frame: &Frame| {
        let slot = frame.slot();
        holders
            .entries
            .iter()
            .find(|entry| entry.slot == slot)
            .unwrap()
    };
    assert_eq!(
        entry(&own).location.map(|location| location.file),
        Some(file!())
    );
    assert_eq!(entry(&own).label, Some(others[0]));
    let labels = [Some(Label::new("plugin")), None];
    for (frame, label) in frames.iter().zip(labels) {
        let entry = entry(frame);
        assert_eq!(entry.state, HolderState::Unique);
        assert_eq!((entry.label, entry.location), (label, None));
    }
    let report = holders.to_string();
    assert!(report.contains("1 held by `plugin` for "), "{report}");
    assert!(report.contains("1 held in another library"), "{report}");

    drop((own, frames));
    let all: Vec<_> = (0..FRAMES).map(|_| pool.try_acquire()).collect();
    assert!(all.iter().all(Result::is_ok));
    assert!(pool.try_acquire().is_err());
}
