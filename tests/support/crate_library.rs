//! A library with a copy of this crate of its own, built and loaded while a test runs.

use std::any::TypeId;
use std::env;
use std::ffi::{CStr, CString, OsString, c_void};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use ks_allocator::FramePool;

/// A loaded library in a file of its own.
pub(crate) struct CrateLibrary {
    path: PathBuf,
    handle: *mut c_void,
}

impl CrateLibrary {
    /// Builds the library from `source`, a path in the folder `tests`, with the copy of the crate
    /// that this program is linked with, and loads it. `name` is unique in this process.
    ///
    /// There may be several builds of the crate, with different features. They differ in the
    /// identity of their types, which the library's function `library_crate` returns.
    pub(crate) fn load(source: &str, name: &str) -> Self {
        let path = env::temp_dir().join(format!("ks-allocator-{name}-{}.so", process::id()));
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
        let newest_first = crates.iter().rev();
        for _built in newest_first.filter(|rlib| build(source, rlib, &path)) {
            let library = Self::open(path.clone());
            let symbol = library.symbol(c"library_crate");
            // SAFETY: the symbol is the function of this type, built by the same compiler.
            let library_crate = unsafe { mem::transmute::<*mut c_void, fn() -> TypeId>(symbol) };
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

    /// Returns the address of a symbol.
    pub(crate) fn symbol(&self, name: &CStr) -> *mut c_void {
        // SAFETY: the library is loaded, and the string ends in NUL.
        let symbol = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        assert!(!symbol.is_null(), "{name:?}");
        symbol
    }

    /// Closes the library and deletes its file. Returns whether the library was unloaded.
    pub(crate) fn close(self) -> bool {
        // SAFETY: `open` has loaded the library once, and no code of it runs.
        assert_eq!(unsafe { libc::dlclose(self.handle) }, 0);
        fs::remove_file(&self.path).unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        !maps.contains(self.path.to_str().unwrap())
    }
}

/// Links the library with the build of the crate in `rlib`. Returns whether that build fits.
fn build(source: &str, rlib: &Path, library: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut dependencies = OsString::from("dependency=");
    dependencies.push(rlib.parent().unwrap());
    let mut this = OsString::from("ks_allocator=");
    this.push(rlib);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let output = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"])
        .arg(library)
        .arg("-L")
        .arg(dependencies)
        .arg("--extern")
        .arg(this)
        .arg(tests.join(source))
        .output()
        .unwrap();
    output.status.success()
}
