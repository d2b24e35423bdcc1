//! Two copies of the crate in one process: a library that is loaded at run time has its own, and
//! uses a pool of this program.

#![cfg(all(target_os = "linux", not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "loads a library")]
#![expect(clippy::disallowed_types, reason = "a test outside of the crate")]

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ks_allocator::{AllocatorMode, Frame, FramePool, HolderState, Label};

use hammer::hammer;
use support::crate_library::CrateLibrary;

mod hammer;

// `support` is beside this folder, because other test crates use it too.
#[path = "../support"]
mod support {
    pub(crate) mod crate_library;
}

const FRAMES: usize = 256;

type Hammer = fn(&FramePool, &AtomicBool, &[AtomicUsize], usize) -> usize;
type Acquire = fn(&FramePool) -> [Frame; 2];
type CanAcquire = fn(&FramePool) -> bool;
type DropPool = fn(FramePool);

/// Loads the library for one test.
fn load(test: &str) -> CrateLibrary {
    CrateLibrary::load("two_copies/plugin.rs", &format!("two-copies-{test}"))
}

/// Two threads of each copy acquire and release frames.
fn hammer_with_both(pool: &FramePool, library: &CrateLibrary) -> usize {
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
    let library = load("handlers");
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
    library.close();
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
    let library = load("fork");
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
    library.close();
}

#[test]
fn a_pool_serves_another_copy_of_the_crate_and_outlives_it() {
    let library = load("labels");

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
    assert!(library.close());

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
