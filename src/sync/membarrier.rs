//! Asymmetric fences, after membarrier(2) and P1202.
//!
//! One side of a protocol runs often and has a [`light_fence`], which only restrains the
//! compiler. The other side runs rarely and has a [`heavy_fence`], which makes all processors
//! that run a thread of the process execute a fence. A light fence in one thread and a heavy
//! fence in another order memory as two sequentially consistent fences would. Two light fences
//! order nothing.

use std::sync::atomic::{Ordering, compiler_fence, fence};

/// Keeps the compiler from moving a load before an earlier store. The processor may still do so,
/// except across a [`heavy_fence`] of another thread.
#[inline(always)]
pub(crate) fn light_fence() {
    compiler_fence(Ordering::SeqCst);
}

/// Executes a sequentially consistent fence in this thread, and in every other running thread of
/// the process. A thread that is not running has one when it is switched in or out.
///
/// Returns `false` if the system refused. It can do so even if the fence
/// [is supported](heavy_fence_is_supported): a later filter of system calls may forbid it.
#[cold]
pub(crate) fn heavy_fence() -> bool {
    fence(Ordering::SeqCst);
    let done = system::run();
    fence(Ordering::SeqCst);
    done
}

/// Returns whether [`heavy_fence`] works on this system.
pub(crate) fn heavy_fence_is_supported() -> bool {
    system::is_supported()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::io::Errno;
    use rustix::thread::{MembarrierCommand, membarrier};

    /// The system returns `EPERM` to a process that is not registered. A filter of system calls may
    /// return it as well, and then does so again. `ENOMEM` is transient.
    pub(super) fn run() -> bool {
        let run = || membarrier(MembarrierCommand::PrivateExpedited);
        let register = || membarrier(MembarrierCommand::RegisterPrivateExpedited);
        match run() {
            Ok(()) => true,
            Err(Errno::PERM) => register().and_then(|()| run()).is_ok(),
            Err(_) => run().is_ok(),
        }
    }

    /// Registers the process, which is cheap to repeat and inherited by child processes, and
    /// tries the fence: a filter of system calls may allow the one and forbid the other. Miri
    /// knows neither.
    pub(super) fn is_supported() -> bool {
        !cfg!(miri)
            && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
            && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    pub(super) fn run() -> bool {
        false
    }

    pub(super) fn is_supported() -> bool {
        false
    }
}
