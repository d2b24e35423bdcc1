//! Huge pages, NUMA nodes, locking, and exclusion from core dumps and forked children.

use std::fs;
use std::io;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::mode::AllocatorMode;

use super::super::call_error::CallError;
use super::super::unix::limits::mmap_error;
use super::measure::parse_kib;

/// Name of the call that requests transparent huge pages.
pub(crate) const ADVISE_HUGE: &str = "madvise(MADV_HUGEPAGE)";

/// Assumed size of a transparent huge page if the system does not report it.
const DEFAULT_HUGE_PAGE: usize = 2 << 20;

/// Maximum number of NUMA nodes that a kernel can be built for.
const MAX_NODES: usize = 1024;

const WORD_BITS: usize = libc::c_ulong::BITS as usize;

/// `MPOL_BIND` in the width of a system call argument.
const MPOL_BIND: usize = libc::MPOL_BIND.unsigned_abs() as usize;

/// Returns the size of a transparent huge page, if the system has such pages.
pub(crate) fn transparent_page_size() -> Option<usize> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    let size = text.ok().and_then(|size| size.trim().parse().ok());
    size.filter(|size| *size > 0).or(Some(DEFAULT_HUGE_PAGE))
}

/// Returns the default size of an explicit huge page.
pub(crate) fn explicit_page_size() -> Result<usize, CallError> {
    let size = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Hugepagesize:"))?;
        parse_kib(line.split_ascii_whitespace().next())
    });
    size.filter(|size| *size > 0).ok_or_else(|| {
        CallError::unsupported("/proc/meminfo", "this system has no explicit huge pages")
    })
}

/// Maps at least `bytes` bytes of private explicit huge pages, and returns the size of the mapping.
///
/// The NUMA node is not used here: mapped memory is bound to it by `bind_to_node`.
pub(crate) fn map_explicit(
    bytes: usize,
    _node: Option<u32>,
) -> Result<(NonNull<u8>, usize), CallError> {
    const CALL: &str = "mmap(MAP_HUGETLB)";
    // A segment has at most `isize::MAX` bytes, so rounding does not overflow.
    let bytes = bytes.next_multiple_of(explicit_page_size()?);
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::HUGETLB;
    // SAFETY: the address is NULL, so the system chooses a range in which nothing is mapped.
    let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) };
    let base = base.map_err(|error| mmap_error(CALL, bytes, error.into()))?;
    let base = base.cast();
    let base = NonNull::new(base);
    let base = base.ok_or_else(|| CallError::new(CALL, io::ErrorKind::OutOfMemory))?;
    Ok((base, bytes))
}

/// Backs a mapping with memory. Writing to its pages would do the same, but ends the process if
/// there is too little memory; this function returns an error.
pub(crate) fn populate(base: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: this advice changes no byte, and fails for a range that is not mapped.
    let result = unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) };
    check("madvise(MADV_POPULATE_WRITE)", result)
}

/// Requests transparent huge pages for a mapping. The system may ignore the request.
pub(crate) fn advise_huge_pages(base: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: this advice changes no byte, and fails for a range that is not mapped.
    let result = unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    check(ADVISE_HUGE, result)
}

/// Returns the NUMA node to pass when memory is mapped: none, because `bind_to_node` is called
/// later.
pub(crate) fn mapping_node(_node: u32) -> Result<Option<u32>, CallError> {
    Ok(None)
}

/// Binds a mapping to a NUMA node.
pub(crate) fn bind_to_node(base: NonNull<u8>, bytes: usize, node: u32) -> Result<(), CallError> {
    const CALL: &str = "mbind";
    let bit = usize::try_from(node).unwrap_or(usize::MAX);
    let mut nodes: [libc::c_ulong; MAX_NODES / WORD_BITS] = [0; MAX_NODES / WORD_BITS];
    match nodes.get_mut(bit / WORD_BITS) {
        Some(word) => *word |= 1 << (bit % WORD_BITS),
        None => return Err(CallError::new(CALL, Errno::INVAL)),
    }
    // The system reads one bit less than this.
    let maxnode = MAX_NODES + 1;
    // SAFETY: the call changes no byte, and fails for a range that is not mapped. It reads
    // `maxnode` - 1 bits, which `nodes` has.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            base.as_ptr(),
            bytes,
            MPOL_BIND,
            nodes.as_ptr(),
            maxnode,
            0_usize,
        )
    };
    check(CALL, result)
}

/// Locks a mapping in memory.
pub(crate) fn lock(base: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: the call changes no byte, and fails for a range that is not mapped.
    let result = unsafe { libc::mlock(base.as_ptr().cast(), bytes) };
    check("mlock", result)
}

/// Leaves a mapping out of core dumps.
pub(crate) fn exclude_from_core_dumps(base: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: this advice changes no byte, and fails for a range that is not mapped.
    let result = unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_DONTDUMP) };
    check("madvise(MADV_DONTDUMP)", result)
}

/// Leaves a mapping out of the memory of forked children.
pub(crate) fn exclude_from_forks(base: NonNull<u8>, bytes: usize) -> Result<(), CallError> {
    // SAFETY: this advice changes no byte of this process, and fails for a range that is not
    // mapped. A child has no mapping at these addresses, so that its accesses fault.
    let result = unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_DONTFORK) };
    check("madvise(MADV_DONTFORK)", result)
}

/// Turns the result of a call of the C library into an error, if it is not 0.
fn check(call: &'static str, result: impl Into<i64>) -> Result<(), CallError> {
    if result.into() == 0 {
        Ok(())
    } else {
        Err(CallError::new(call, io::Error::last_os_error()))
    }
}

/// Returns the system's setting for transparent huge pages: the word in brackets in its file.
pub(crate) fn transparent_setting(mode: AllocatorMode) -> String {
    let file = match mode {
        AllocatorMode::User => "enabled",
        AllocatorMode::Kernel => "shmem_enabled",
    };
    let path = format!("/sys/kernel/mm/transparent_hugepage/{file}");
    let text = fs::read_to_string(path).unwrap_or_default();
    let setting = text.split(['[', ']']).nth(1);
    setting.unwrap_or("unknown").to_owned()
}
