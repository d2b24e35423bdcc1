//! Limits of the process, and errors that name them.

use std::io;

use super::super::call_error::{CallError, ExceededLimit};

/// Returns the error of an `mmap` of `bytes` bytes.
///
/// If the process has locked its future mappings (`mlockall`), a mapping beyond the limit of locked
/// memory fails with `EAGAIN`, although a second try would fail as well.
pub(crate) fn mmap_error(call: &'static str, bytes: usize, error: io::Error) -> CallError {
    let limit = match error.raw_os_error() {
        Some(libc::EAGAIN) => locked_memory(),
        _ => None,
    };
    match limit {
        Some(value) => CallError::new(
            call,
            ExceededLimit {
                name: "RLIMIT_MEMLOCK",
                value,
                bytes,
            },
        ),
        None => CallError::new(call, error),
    }
}

/// Fails if a file of `bytes` bytes would exceed the limit of file sizes.
///
/// The system would raise `SIGXFSZ`, which ends the process unless it is ignored.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn check_file_size(call: &'static str, bytes: usize) -> Result<(), CallError> {
    match file_size() {
        Some(value) if bytes as u64 > value => Err(CallError::new(
            call,
            ExceededLimit {
                name: "RLIMIT_FSIZE",
                value,
                bytes,
            },
        )),
        _ => Ok(()),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn file_size() -> Option<u64> {
    current(|out| {
        // SAFETY: the call writes to `out`, which the caller made for it.
        unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, out) }
    })
}

fn locked_memory() -> Option<u64> {
    current(|out| {
        // SAFETY: the call writes to `out`, which the caller made for it.
        unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, out) }
    })
}

/// Returns the current value of a limit, or `None` if there is no limit or the call fails.
fn current(get: impl FnOnce(&mut libc::rlimit) -> libc::c_int) -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    let is_known = get(&mut limit) == 0 && limit.rlim_cur != libc::RLIM_INFINITY;
    unsigned(limit.rlim_cur).filter(|_| is_known)
}

/// Converts a limit, whose type has 32 or 64 bits, with a sign or without.
fn unsigned(limit: impl TryInto<u64>) -> Option<u64> {
    limit.try_into().ok()
}
