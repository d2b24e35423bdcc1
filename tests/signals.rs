//! Signals that interrupt a wait neither end it nor lose a frame.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "installs a signal handler and sends signals")]

use std::ptr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{
    AcquireError, FramePool, Framing, KsAllocator, PoolAllocator, Reframing, Share,
};

const SIGNALS: usize = 100;
const TIMEOUT: Duration = Duration::from_millis(60);
const LONG: Duration = Duration::from_secs(60);

extern "C" fn ignore(_: libc::c_int) {}

/// Lets the signal interrupt system calls: they fail with `EINTR`, and are not restarted.
fn install_handler() {
    // SAFETY: zeroes are a valid value of the structure: no flags, and no blocked signals.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = ignore;
    #[expect(clippy::fn_to_numeric_cast_any, reason = "the field is a number")]
    {
        action.sa_sigaction = handler as usize;
    }
    // SAFETY: the handler does nothing, so it may run at any time.
    let installed = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()) };
    assert_eq!(installed, 0);
}

/// Runs `wait` in a thread, and sends signals to it. Then runs `end`, and returns the result of the
/// wait.
fn interrupt<T: Send>(wait: impl FnOnce() -> T + Send, end: impl FnOnce()) -> T {
    install_handler();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            // SAFETY: takes no argument, and cannot fail.
            sender.send(unsafe { libc::pthread_self() }).unwrap();
            wait()
        });
        let target = receiver.recv().unwrap();
        for _ in 0..SIGNALS {
            thread::sleep(Duration::from_micros(300));
            if waiter.is_finished() {
                break;
            }
            // SAFETY: the thread was not joined yet, so it can be named.
            unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
        }
        end();
        waiter.join().unwrap()
    })
}

/// Returns a pool of one frame that is held, without and with shares.
fn pools() -> [FramePool; 2] {
    let builder = FramePool::builder().frames(1).frame_size(64);
    let with_share = builder.clone().share(Share::new("one").limit(1));
    [builder, with_share].map(|builder| builder.build().unwrap())
}

#[test]
fn a_wait_goes_on_after_signals_and_gets_the_frame() {
    for pool in pools() {
        for waits in 0..3 {
            let held = pool.acquire().unwrap();
            let wait = || match waits {
                0 => pool.acquire().map(drop),
                1 => pool.acquire_timeout(LONG).map(drop),
                _ => pool.acquire_exact(1).map(drop),
            };
            interrupt(wait, || drop(held)).unwrap();
            assert_eq!(pool.free_frames(), 1);
        }
    }
}

#[test]
fn signals_do_not_shorten_a_timeout() {
    for pool in pools() {
        let held = pool.acquire().unwrap();
        let start = Instant::now();
        let error = interrupt(|| pool.acquire_timeout(TIMEOUT).map(drop), || ()).unwrap_err();
        assert!(matches!(error, AcquireError::TimedOut(_)), "{error}");
        assert!(start.elapsed() >= TIMEOUT);
        drop(held);
        assert_eq!(pool.free_frames(), 1);
    }
}

#[test]
fn a_flush_ends_a_wait_that_signals_interrupt() {
    for pool in pools() {
        let _held = pool.acquire().unwrap();
        let result = interrupt(|| pool.acquire().map(drop), || pool.begin_flush());
        assert_eq!(result, Err(AcquireError::Flushing));
    }
}

#[test]
fn waits_for_all_frames_go_on_after_signals() {
    for pool in pools() {
        let held = pool.acquire().unwrap();
        pool.close();
        interrupt(|| pool.wait_idle(LONG), || drop(held)).unwrap();
    }
    let allocator = PoolAllocator::with_framing(Framing::new(1, 64)).unwrap();
    allocator.commit().unwrap();
    let held = allocator.acquire().unwrap();
    let reframing = Reframing::new(Framing::new(2, 64)).drain(LONG);
    interrupt(|| allocator.reframe(reframing), || drop(held)).unwrap();
    assert_eq!(allocator.free_frames(), 2);
}
