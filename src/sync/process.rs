//! The process that made a pool, and whether the caller runs in a child that was forked from it.
//!
//! A handler of `pthread_atfork` counts forks in the child. So a process has a larger count than
//! all processes that it was forked from, and comparing two counts needs no system call. A child
//! that was made by a bare `clone` or `fork` system call is not noticed.
//!
//! Each copy of the crate counts for itself, from its first pool on. So the counts of two copies
//! are not compared: see [`CrateCopy::process`](crate::crate_copy::CrateCopy::process).

#[cfg(all(unix, not(miri)))]
use self::system as imp;
#[cfg(not(all(unix, not(miri))))]
use self::unforked as imp;

/// A process among those that were forked from one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(usize);

impl Process {
    /// Returns the process that the caller runs in. From now on, forks are counted.
    ///
    /// # Errors
    ///
    /// The system has no memory for the handler.
    pub(crate) fn current() -> std::io::Result<Self> {
        imp::count_forks()?;
        Ok(Self::now())
    }

    /// Returns the process that the caller runs in, as this copy of the crate has counted forks.
    pub(crate) fn now() -> Self {
        Self(imp::forks())
    }
}

#[cfg(all(unix, not(miri)))]
mod system {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Number of forks, as far as handlers were installed, from the first process to this one.
    static FORKS: AtomicUsize = AtomicUsize::new(0);

    static IS_COUNTING: AtomicBool = AtomicBool::new(false);

    /// Runs in the child, in its only thread, before `fork` returns. It does only what a signal
    /// handler may do.
    extern "C" fn on_fork() {
        // Relaxed: later threads of the child are started by this one.
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    /// Two threads may both install the handler. The child then counts its fork twice, which is as
    /// good as once. A lock would be worse: a fork could leave it locked.
    pub(super) fn count_forks() -> io::Result<()> {
        // Acquire: pairs with the Release below. The handler is installed.
        if IS_COUNTING.load(Ordering::Acquire) {
            return Ok(());
        }
        // SAFETY: the handler is a function of this library, takes no lock, and stays valid: the C
        // library forgets the handlers of a library that it unloads.
        #[expect(unsafe_code, reason = "a system call")]
        let result = unsafe { libc::pthread_atfork(None, None, Some(on_fork)) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        IS_COUNTING.store(true, Ordering::Release);
        Ok(())
    }

    #[inline]
    pub(super) fn forks() -> usize {
        FORKS.load(Ordering::Relaxed)
    }
}

/// Windows has no fork. Miri has no `pthread_atfork`.
#[cfg(not(all(unix, not(miri))))]
mod unforked {
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
    pub(super) fn count_forks() -> std::io::Result<()> {
        Ok(())
    }

    pub(super) fn forks() -> usize {
        0
    }
}
