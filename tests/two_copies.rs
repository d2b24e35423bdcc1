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

use ks_allocator::{Frame, FramePool, HolderState, Label};

const FRAMES: usize = 256;

type Crate = fn() -> TypeId;
type Hammer = fn(&FramePool, &AtomicBool, &[AtomicUsize], usize) -> usize;
type Acquire = fn(&FramePool) -> [Frame; 2];

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

#[test]
fn a_pool_serves_another_copy_of_the_crate_and_outlives_it() {
    let name = format!("ks-allocator-two-copies-{}.so", process::id());
    let path = env::temp_dir().join(name);
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
