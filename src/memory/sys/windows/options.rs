//! Large pages, NUMA nodes and locking. Exclusion from core dumps is unsupported.

use std::io;
use std::ptr::{self, NonNull};

use windows_sys::Win32::System::Memory::{
    GetLargePageMinimum, MEM_COMMIT, MEM_LARGE_PAGES, MEM_RESERVE, PAGE_READWRITE,
    VirtualAllocExNuma, VirtualLock,
};
use windows_sys::Win32::System::Threading::GetNumaHighestNodeNumber;

use crate::mode::AllocatorMode;

use super::super::call_error::CallError;
use super::calls::{ANY_NODE, current_process, last_error};

/// Name of the call that would request transparent huge pages.
pub(crate) const ADVISE_HUGE: &str = "VirtualAlloc";

/// Returns `None`: Windows has no transparent huge pages.
pub(crate) fn transparent_page_size() -> Option<usize> {
    None
}

/// Maps at least `bytes` bytes of private large pages, preferably of a NUMA node, and returns the
/// size of the mapping.
pub(crate) fn map_explicit(
    bytes: usize,
    node: Option<u32>,
) -> Result<(NonNull<u8>, usize), CallError> {
    // SAFETY: the function has no parameters.
    let page = unsafe { GetLargePageMinimum() };
    if page == 0 {
        let reason = "this system has no large pages";
        return Err(CallError::unsupported("GetLargePageMinimum", reason));
    }
    // A segment has at most `isize::MAX` bytes, so rounding does not overflow.
    let bytes = bytes.next_multiple_of(page);
    let kind = MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES;
    let (process, node) = (current_process(), node.unwrap_or(ANY_NODE));
    // SAFETY: the address is NULL, so the system chooses a range in which nothing is mapped.
    let base =
        unsafe { VirtualAllocExNuma(process, ptr::null(), bytes, kind, PAGE_READWRITE, node) };
    let base = NonNull::new(base.cast());
    let base = base.ok_or_else(|| last_error("VirtualAllocExNuma(MEM_LARGE_PAGES)"))?;
    Ok((base, bytes))
}

/// Does nothing: large pages are backed by memory when they are mapped.
pub(crate) fn populate(_base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    Ok(())
}

pub(crate) fn advise_huge_pages(_base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    let reason = "this system has no transparent huge pages";
    Err(CallError::unsupported(ADVISE_HUGE, reason))
}

/// Returns the NUMA node to pass when memory is mapped, or an error if there is no such node.
pub(crate) fn mapping_node(node: u32) -> Result<Option<u32>, CallError> {
    const CALL: &str = "GetNumaHighestNodeNumber";
    let mut highest = 0;
    // SAFETY: `highest` has room for the result.
    if unsafe { GetNumaHighestNodeNumber(&raw mut highest) } == 0 {
        return Err(last_error(CALL));
    }
    if node <= highest {
        return Ok(Some(node));
    }
    let reason = format!("the highest NUMA node is {highest}");
    Err(CallError::new(
        CALL,
        io::Error::new(io::ErrorKind::InvalidInput, reason),
    ))
}

/// Does nothing: the node was passed when the memory was mapped.
pub(crate) fn bind_to_node(_base: NonNull<u8>, _bytes: usize, _node: u32) -> Result<(), CallError> {
    Ok(())
}

/// Locks a mapping in memory.
pub(crate) fn lock(base: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: the call changes no byte, and fails for a range that is not mapped.
    match unsafe { VirtualLock(base.as_ptr().cast(), bytes) } {
        0 => Err(last_error("VirtualLock")),
        _ => Ok(()),
    }
}

pub(crate) fn exclude_from_core_dumps(_base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    let reason = "this crate does not support it on this system";
    Err(CallError::unsupported(
        "WerRegisterExcludedMemoryBlock",
        reason,
    ))
}

/// Does nothing: child processes do not inherit memory, and handles of sections are not
/// inheritable.
pub(crate) fn exclude_from_forks(_base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    Ok(())
}

pub(crate) fn transparent_setting(_mode: AllocatorMode) -> String {
    "unknown".to_owned()
}
