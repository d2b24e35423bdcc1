//! Locking. Huge pages, NUMA nodes, and exclusion from core dumps and forked children are
//! unsupported.

use std::io;
use std::ptr::NonNull;

use crate::mode::AllocatorMode;

use super::super::call_error::CallError;

/// Name of the call that requests transparent huge pages.
pub(crate) const ADVISE_HUGE: &str = "madvise";

fn unsupported(call: &'static str) -> CallError {
    CallError::unsupported(call, "this crate does not support it on this system")
}

pub(crate) fn transparent_page_size() -> Option<usize> {
    None
}

pub(crate) fn map_explicit(
    _bytes: usize,
    _node: Option<u32>,
) -> Result<(NonNull<u8>, usize), CallError> {
    Err(unsupported("mmap"))
}

pub(crate) fn populate(_base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    Err(unsupported("madvise"))
}

pub(crate) fn advise_huge_pages(_base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    Err(unsupported(ADVISE_HUGE))
}

pub(crate) fn mapping_node(_node: u32) -> Result<Option<u32>, CallError> {
    Ok(None)
}

pub(crate) fn bind_to_node(_base: NonNull<u8>, _bytes: usize, _node: u32) -> Result<(), CallError> {
    Err(unsupported("mbind"))
}

/// Locks a mapping in memory.
pub(crate) fn lock(base: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: the call changes no byte, and fails for a range that is not mapped.
    match unsafe { libc::mlock(base.as_ptr().cast(), bytes) } {
        0 => Ok(()),
        _ => Err(CallError::new("mlock", io::Error::last_os_error())),
    }
}

pub(crate) fn exclude_from_core_dumps(_base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    Err(unsupported("madvise"))
}

pub(crate) fn exclude_from_forks(_base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    Err(unsupported("madvise"))
}

pub(crate) fn transparent_setting(_mode: AllocatorMode) -> String {
    "unknown".to_owned()
}
