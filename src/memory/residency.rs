//! What is asked of memory beyond that it is there, what of it was not got, and what can be measured.
//!
//! | | Linux | Windows | other Unix |
//! |---|---|---|---|
//! | transparent huge pages | alignment, `madvise` | none | none |
//! | explicit huge pages | `mmap`, `memfd_create` | `VirtualAllocExNuma`, in User mode | none |
//! | NUMA node | `mbind`, after mapping | when it is mapped | none |
//! | lock | `mlock` | `VirtualLock` | `mlock` |
//! | measuring | `mincore`, `smaps`, `move_pages` | `QueryWorkingSetEx` | none |

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::memory_options::{HugePages, MemoryOptions, MemoryRequest, UnmetRequest};
use crate::mode::AllocatorMode;

/// A call and what the system said to it.
pub(super) type Failed = (&'static str, io::Error);

/// What is asked of one segment's memory, and what of it was not got so far.
#[derive(Debug)]
pub(super) struct MemoryRequests {
    requested: MemoryOptions,
    mode: AllocatorMode,
    unmet: Vec<UnmetRequest>,
}

impl MemoryRequests {
    pub(super) fn new(requested: MemoryOptions, mode: AllocatorMode) -> Self {
        Self {
            requested,
            mode,
            unmet: Vec::new(),
        }
    }

    pub(super) fn into_unmet(self) -> Vec<UnmetRequest> {
        self.unmet
    }

    /// Whether to touch the memory. The system would do it when it locks it, too, and have no way to say
    /// that there is not enough.
    pub(super) fn prefault(&self) -> bool {
        self.requested.prefault || self.requested.locked
    }

    pub(super) fn explicit_huge_pages(&self) -> bool {
        self.requested.huge_pages == HugePages::Explicit
    }

    fn transparent_huge_pages(&self) -> bool {
        self.requested.huge_pages == HugePages::Transparent
    }

    /// Notes what was not got, once, whatever the attempts; or fails, if it is required.
    pub(super) fn miss(
        &mut self,
        request: MemoryRequest,
        (call, source): Failed,
    ) -> Result<(), CommitError> {
        if self.requested.required {
            return Err(CommitError::UnmetRequest {
                request,
                call,
                source,
            });
        }
        self.unmet.retain(|known| known.request != request);
        self.unmet.push(UnmetRequest::new(request, call, source));
        Ok(())
    }

    /// Gives up every request, for memory that is not this crate's to change.
    pub(super) fn leave_alone(&mut self) -> Result<(), CommitError> {
        for request in self.requested.wishes() {
            let why = "memory of the user's own is left as it is";
            self.miss(request, ("FrameMemory::allocate", unsupported(why)))?;
        }
        Ok(())
    }

    /// Bytes to map for a segment of so many, and what their start is to be a multiple of, if not only of
    /// the page size. Whole huge pages, if they are to be transparent.
    pub(super) fn room(&self, bytes: usize) -> (usize, Option<usize>) {
        match system::transparent_page() {
            // A segment has at most `isize::MAX` bytes, so there is no overflow.
            Some(page) if self.transparent_huge_pages() => {
                (bytes.next_multiple_of(page), Some(page))
            }
            _ => (bytes, None),
        }
    }

    /// The node to be named when memory is mapped, where this is not done later.
    pub(super) fn node_to_map_on(&mut self) -> Result<Option<u32>, CommitError> {
        let Some(node) = self.requested.numa_node else {
            return Ok(None);
        };
        match system::node_to_map_on(node) {
            Ok(node) => Ok(node),
            Err(failed) => self
                .miss(MemoryRequest::NumaNode(node), failed)
                .map(|()| None),
        }
    }

    /// What must be settled before a new mapping is touched, which is the system's and not the user's.
    pub(super) fn before_touch(
        &mut self,
        base: NonNull<u8>,
        bytes: usize,
    ) -> Result<(), CommitError> {
        if self.transparent_huge_pages() {
            if let Err(failed) = system::advise_huge_pages(base, bytes) {
                self.miss(MemoryRequest::TransparentHugePages, failed)?;
            }
        }
        if let Some(node) = self.requested.numa_node {
            if let Err(failed) = system::bind(base, bytes, node) {
                self.miss(MemoryRequest::NumaNode(node), failed)?;
            }
        }
        Ok(())
    }

    /// Has the system back a mapping that was advised of huge pages with such, if it has any. What it
    /// does not back is left to be touched.
    pub(super) fn populate_transparent(&self, base: NonNull<u8>, bytes: usize) {
        if self.transparent_huge_pages() {
            // Before version 5.14 there is no such advice: then the object is set aside in small pages.
            drop(populate(base, bytes));
        }
    }

    /// What comes after the touching, of a segment of `bytes` bytes in `room`.
    pub(super) fn after_touch(
        &mut self,
        base: NonNull<u8>,
        bytes: usize,
        room: usize,
    ) -> Result<(), CommitError> {
        if self.requested.locked {
            // All of the room, for a mapping that is locked in part falls apart, and with it the huge
            // page at the seam.
            if let Err(failed) = system::lock(base, room) {
                self.miss(MemoryRequest::Locked, failed)?;
            }
        }
        let missed =
            |shortfall: &UnmetRequest| shortfall.request == MemoryRequest::TransparentHugePages;
        if self.transparent_huge_pages() && self.prefault() && !self.unmet.iter().any(missed) {
            self.count_huge_pages(base, bytes)?;
        }
        Ok(())
    }

    /// The advice is followed or not, and nothing is said about it.
    fn count_huge_pages(&mut self, base: NonNull<u8>, bytes: usize) -> Result<(), CommitError> {
        let why = match measure(base, bytes).huge {
            Some(huge) if huge >= bytes => return Ok(()),
            Some(huge) => {
                let setting = system::huge_pages_setting(self.mode);
                format!(
                    "{huge} of {bytes} bytes are in huge pages; the system's setting is {setting}"
                )
            }
            None => "whether it was heeded cannot be measured".to_owned(),
        };
        let failed = (system::ADVISE, io::Error::other(why));
        self.miss(MemoryRequest::TransparentHugePages, failed)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use self::system::explicit_page;
pub(super) use self::system::{map_huge, measure, populate};

/// What memory was found to be: see [`CommitReport`](crate::CommitReport).
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) page_size: usize,
    pub(super) resident: Option<usize>,
    pub(super) huge: Option<usize>,
    pub(super) locked: Option<usize>,
    pub(super) numa_nodes: Vec<u32>,
}

impl Measured {
    /// Memory that is not there.
    pub(super) fn nothing() -> Self {
        Self {
            page_size: system::page_size(),
            resident: Some(0),
            huge: Some(0),
            locked: Some(0),
            numa_nodes: Vec::new(),
        }
    }
}

fn unsupported(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why)
}

/// Addresses of `bytes` bytes from `base` on.
#[cfg(not(all(unix, not(any(target_os = "linux", target_os = "android")))))]
fn addresses(base: NonNull<u8>, bytes: usize) -> Range<usize> {
    let start = base.addr().get();
    start..start.saturating_add(bytes)
}

/// How many addresses two ranges have in common.
#[cfg(not(all(unix, not(any(target_os = "linux", target_os = "android")))))]
fn overlap(one: &Range<usize>, other: &Range<usize>) -> usize {
    let start = one.start.max(other.start);
    one.end.min(other.end).saturating_sub(start)
}

/// The start of every page that has one of these addresses.
#[cfg(not(all(unix, not(any(target_os = "linux", target_os = "android")))))]
fn pages(range: &Range<usize>, page: usize) -> impl Iterator<Item = usize> + use<> {
    (range.start / page * page..range.end).step_by(page)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::collections::BTreeSet;
    use std::fs;
    use std::ptr;
    use std::str::SplitAsciiWhitespace;

    use rustix::io::Errno;
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous};
    use rustix::param;

    use super::{
        AllocatorMode, Failed, Measured, NonNull, Range, addresses, c_void, io, overlap, pages,
        unsupported,
    };

    pub(super) const ADVISE: &str = "madvise(MADV_HUGEPAGE)";

    /// What `transparent_page` is where the system does not say.
    const USUAL_HUGE_PAGE: usize = 2 << 20;

    /// Pages that are asked about at a time.
    const PIECE: usize = 1024;

    /// Nodes that a kernel can be built for.
    const NODES: usize = 1024;

    const BITS: usize = libc::c_ulong::BITS as usize;

    /// As wide as the system reads it.
    const MPOL_BIND: usize = libc::MPOL_BIND.unsigned_abs() as usize;

    pub(super) fn page_size() -> usize {
        param::page_size()
    }

    pub(super) fn transparent_page() -> Option<usize> {
        let known = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
        let known = known.ok().and_then(|size| size.trim().parse().ok());
        known.filter(|size| *size > 0).or(Some(USUAL_HUGE_PAGE))
    }

    /// The size of pages that are mapped as huge ones.
    pub(in crate::memory) fn explicit_page() -> Result<usize, Failed> {
        let known = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Hugepagesize:"))?;
            kib(line.split_ascii_whitespace().next())
        });
        let none = unsupported("this system has no huge pages to be reserved");
        known
            .filter(|size| *size > 0)
            .ok_or(("/proc/meminfo", none))
    }

    /// Maps private memory of huge pages, as many as `bytes` bytes need, and says how much that is.
    pub(in crate::memory) fn map_huge(
        bytes: usize,
        _node: Option<u32>,
    ) -> Result<(NonNull<c_void>, usize), Failed> {
        const CALL: &str = "mmap(MAP_HUGETLB)";
        // A segment has at most `isize::MAX` bytes, so there is no overflow.
        let bytes = bytes.next_multiple_of(explicit_page()?);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::HUGETLB;
        // SAFETY: a new mapping at an address of the system's choice replaces none that exists.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) };
        let base = name(CALL, base)?;
        let base = NonNull::new(base).ok_or((CALL, io::ErrorKind::OutOfMemory.into()))?;
        Ok((base, bytes))
    }

    /// FrameIds the call that failed.
    fn name<T>(call: &'static str, result: Result<T, Errno>) -> Result<T, Failed> {
        result.map_err(|errno| (call, errno.into()))
    }

    /// Has the system back a mapping with memory, as touching it would; but if there is none, that is an
    /// error and no accident.
    pub(in crate::memory) fn populate(base: NonNull<u8>, bytes: usize) -> Result<(), Failed> {
        let start = base.as_ptr().cast();
        // SAFETY: of a mapping, whatever it is, no byte changes by this.
        let done = unsafe { madvise(start, bytes, Advice::LinuxPopulateWrite) };
        name("madvise(MADV_POPULATE_WRITE)", done)
    }

    pub(super) fn advise_huge_pages(base: NonNull<u8>, bytes: usize) -> Result<(), Failed> {
        let start = base.as_ptr().cast();
        // SAFETY: as in `populate`.
        let done = unsafe { madvise(start, bytes, Advice::LinuxHugepage) };
        name(ADVISE, done)
    }

    /// It is bound once it is mapped.
    pub(super) fn node_to_map_on(_node: u32) -> Result<Option<u32>, Failed> {
        Ok(None)
    }

    pub(super) fn bind(base: NonNull<u8>, bytes: usize, node: u32) -> Result<(), Failed> {
        const CALL: &str = "mbind";
        let bit = usize::try_from(node).unwrap_or(usize::MAX);
        let mut nodes: [libc::c_ulong; NODES / BITS] = [0; NODES / BITS];
        match nodes.get_mut(bit / BITS) {
            Some(word) => *word |= 1 << (bit % BITS),
            None => return Err((CALL, Errno::INVAL.into())),
        }
        // The system takes one off.
        let count = NODES + 1;
        // SAFETY: of a mapping, whatever it is, no byte changes by this; the set of nodes has more bits
        // than are read, by the one that is taken off.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                base.as_ptr(),
                bytes,
                MPOL_BIND,
                nodes.as_ptr(),
                count,
                0_usize,
            )
        };
        match done {
            0 => Ok(()),
            _ => Err((CALL, io::Error::last_os_error())),
        }
    }

    pub(super) fn lock(base: NonNull<u8>, bytes: usize) -> Result<(), Failed> {
        // SAFETY: as in `populate`.
        name("mlock", unsafe { mlock(base.as_ptr().cast(), bytes) })
    }

    /// What the administrator has set for transparent huge pages: the word in brackets.
    pub(super) fn huge_pages_setting(mode: AllocatorMode) -> String {
        let file = match mode {
            AllocatorMode::User => "enabled",
            AllocatorMode::Kernel => "shmem_enabled",
        };
        let path = format!("/sys/kernel/mm/transparent_hugepage/{file}");
        let text = fs::read_to_string(path).unwrap_or_default();
        let chosen = text.split(['[', ']']).nth(1);
        chosen.unwrap_or("unknown").to_owned()
    }

    pub(in crate::memory) fn measure(base: NonNull<u8>, bytes: usize) -> Measured {
        let range = addresses(base, bytes);
        let maps = Maps::of(&range);
        let found = maps.as_ref().and_then(|maps| maps.page_size);
        let page_size = found.unwrap_or_else(page_size);
        Measured {
            page_size,
            resident: resident(&range),
            huge: maps.as_ref().map(|maps| maps.huge),
            locked: maps.as_ref().map(|maps| maps.locked),
            numa_nodes: numa_nodes(&range, page_size),
        }
    }

    /// How much of the range is in pages that are in memory.
    fn resident(range: &Range<usize>) -> Option<usize> {
        let page = page_size();
        let mut resident = 0;
        for start in pages(range, page).step_by(PIECE) {
            let bytes = (PIECE * page).min(range.end - start);
            let mut states = [0_u8; PIECE];
            let address = ptr::without_provenance_mut(start);
            // SAFETY: nothing is done to the addresses, mapped or not, and there is a state for each page.
            if unsafe { libc::mincore(address, bytes, states.as_mut_ptr()) } != 0 {
                return None;
            }
            for (start, state) in (start..start + bytes).step_by(page).zip(states) {
                if state & 1 == 1 {
                    resident += overlap(&(start..start + page), range);
                }
            }
        }
        Some(resident)
    }

    /// The nodes of the pages that are in memory; none if the system does not tell.
    fn numa_nodes(range: &Range<usize>, page: usize) -> Vec<u32> {
        let mut nodes = BTreeSet::new();
        let addresses: Vec<_> = pages(range, page).collect();
        for piece in addresses.chunks(PIECE) {
            let mut states = [-1_i32; PIECE];
            // SAFETY: nothing is done to the addresses, mapped or not, for no node to move to is given; and
            // there is a state for each of them.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_move_pages,
                    0_usize,
                    piece.len(),
                    piece.as_ptr(),
                    ptr::null::<libc::c_int>(),
                    states.as_mut_ptr(),
                    0_usize,
                )
            };
            if done != 0 {
                return Vec::new();
            }
            // What is no node is an error: there is no such page, as yet.
            nodes.extend(
                states
                    .into_iter()
                    .filter_map(|state| u32::try_from(state).ok()),
            );
        }
        nodes.into_iter().collect()
    }

    /// What the system says of the mappings that a range has a part in.
    #[derive(Default)]
    struct Maps {
        page_size: Option<usize>,
        huge: usize,
        locked: usize,
    }

    impl Maps {
        fn of(range: &Range<usize>) -> Option<Self> {
            // There may be names of files in it, which are whatever they are.
            let text = fs::read("/proc/self/smaps").ok()?;
            Some(Self::read(&String::from_utf8_lossy(&text), range))
        }

        fn read(smaps: &str, range: &Range<usize>) -> Self {
            let mut maps = Self::default();
            // Bytes of the range that are in the mapping that is being read about.
            let mut inside = 0;
            for line in smaps.lines() {
                let mut words = line.split_ascii_whitespace();
                let Some(first) = words.next() else { continue };
                if let Some(mapping) = mapping(first) {
                    inside = overlap(&mapping, range);
                } else if inside > 0 {
                    maps.add(first, words, inside);
                }
            }
            maps.huge = maps.huge.min(range.len());
            maps
        }

        fn add(&mut self, field: &str, mut words: SplitAsciiWhitespace<'_>, inside: usize) {
            match field {
                "KernelPageSize:" => {
                    let size = kib(words.next());
                    self.page_size = [self.page_size, size].into_iter().flatten().min();
                }
                "AnonHugePages:" | "ShmemPmdMapped:" | "FilePmdMapped:" | "Private_Hugetlb:"
                | "Shared_Hugetlb:" => self.huge += kib(words.next()).unwrap_or(0).min(inside),
                // Huge pages of the explicit kind are never taken away.
                "VmFlags:" if words.any(|flag| flag == "lo" || flag == "ht") => {
                    self.locked += inside;
                }
                _ => {}
            }
        }
    }

    /// The addresses of a mapping: `7f0000000000-7f0000001000`.
    fn mapping(word: &str) -> Option<Range<usize>> {
        let (start, end) = word.split_once('-')?;
        let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16));
        Some(start.ok()?..end.ok()?)
    }

    fn kib(word: Option<&str>) -> Option<usize> {
        word?.parse::<usize>().ok()?.checked_mul(1024)
    }

    #[cfg(test)]
    #[cfg(not(loom))]
    mod tests {
        use super::*;

        const SMAPS: &str = "\
1000-5000 rw-p 00000000 00:00 0 \n\
KernelPageSize:        4 kB\n\
AnonHugePages:         8 kB\n\
VmFlags: rd wr mr mw me ac sd\n\
8000-10000 rw-s 00000000 00:01 7 /memfd:a name-like 5000-9000 (deleted)\n\
KernelPageSize:        8 kB\n\
ShmemPmdMapped:       32 kB\n\
Shared_Hugetlb:        0 kB\n\
VmFlags: rd wr sh mr mw me ms lo sd\n";

        fn read(range: Range<usize>) -> (Option<usize>, usize, usize) {
            let maps = Maps::read(SMAPS, &range);
            (maps.page_size, maps.huge, maps.locked)
        }

        #[test]
        fn mappings_count_as_far_as_they_are_of_the_range() {
            assert_eq!(read(0x1000..0x5000), (Some(4096), 8192, 0));
            assert_eq!(read(0x4000..0x5000), (Some(4096), 4096, 0));
            assert_eq!(read(0x8000..0xA000), (Some(8192), 8192, 8192));
            assert_eq!(read(0x3000..0x9000), (Some(4096), 8192 + 4096, 4096));
            assert_eq!(read(0x5000..0x8000), (None, 0, 0));
        }
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod system {
    use rustix::mm::mlock;
    use rustix::param;

    use super::{AllocatorMode, Failed, Measured, NonNull, c_void, io, unsupported};

    pub(super) const ADVISE: &str = "madvise";

    fn none() -> io::Error {
        unsupported("this crate knows no way to ask this system for it")
    }

    pub(super) fn page_size() -> usize {
        param::page_size()
    }

    pub(super) fn transparent_page() -> Option<usize> {
        None
    }

    pub(in crate::memory) fn map_huge(
        _bytes: usize,
        _node: Option<u32>,
    ) -> Result<(NonNull<c_void>, usize), Failed> {
        Err(("mmap", none()))
    }

    pub(in crate::memory) fn populate(_base: NonNull<u8>, _bytes: usize) -> Result<(), Failed> {
        Err(("madvise", none()))
    }

    pub(super) fn advise_huge_pages(_base: NonNull<u8>, _bytes: usize) -> Result<(), Failed> {
        Err((ADVISE, none()))
    }

    pub(super) fn node_to_map_on(_node: u32) -> Result<Option<u32>, Failed> {
        Ok(None)
    }

    pub(super) fn bind(_base: NonNull<u8>, _bytes: usize, _node: u32) -> Result<(), Failed> {
        Err(("mbind", none()))
    }

    pub(super) fn lock(base: NonNull<u8>, bytes: usize) -> Result<(), Failed> {
        // SAFETY: of a mapping, whatever it is, no byte changes by this.
        let locked = unsafe { mlock(base.as_ptr().cast(), bytes) };
        locked.map_err(|errno| ("mlock", errno.into()))
    }

    pub(super) fn huge_pages_setting(_mode: AllocatorMode) -> String {
        "unknown".to_owned()
    }

    pub(in crate::memory) fn measure(_base: NonNull<u8>, _bytes: usize) -> Measured {
        Measured {
            page_size: page_size(),
            resident: None,
            huge: None,
            locked: None,
            numa_nodes: Vec::new(),
        }
    }
}

#[cfg(windows)]
mod system {
    use std::collections::BTreeSet;
    use std::mem::MaybeUninit;
    use std::ptr;

    use windows_sys::Win32::System::Memory::{
        GetLargePageMinimum, MEM_COMMIT, MEM_LARGE_PAGES, MEM_RESERVE, PAGE_READWRITE,
        VirtualAllocExNuma, VirtualLock,
    };
    use windows_sys::Win32::System::ProcessStatus::{
        K32QueryWorkingSetEx, PSAPI_WORKING_SET_EX_BLOCK, PSAPI_WORKING_SET_EX_INFORMATION,
    };
    use windows_sys::Win32::System::SystemInformation::GetSystemInfo;
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetNumaHighestNodeNumber};

    use super::super::NO_NODE;
    use super::{
        AllocatorMode, Failed, Measured, NonNull, addresses, c_void, io, overlap, pages,
        unsupported,
    };

    pub(super) const ADVISE: &str = "VirtualAlloc";

    /// Pages that are asked about at a time.
    const PIECE: usize = 1024;

    /// What the system said to a call just now.
    fn last(call: &'static str) -> Failed {
        (call, io::Error::last_os_error())
    }

    pub(super) fn page_size() -> usize {
        let mut known = MaybeUninit::uninit();
        // SAFETY: there is room for the answer.
        unsafe { GetSystemInfo(known.as_mut_ptr()) };
        // SAFETY: the call cannot fail and has filled it in.
        let known = unsafe { known.assume_init() };
        usize::try_from(known.dwPageSize).unwrap_or(4096)
    }

    pub(super) fn transparent_page() -> Option<usize> {
        None
    }

    /// Maps private memory of large pages, as many as `bytes` bytes need, and says how much that is.
    pub(in crate::memory) fn map_huge(
        bytes: usize,
        node: Option<u32>,
    ) -> Result<(NonNull<c_void>, usize), Failed> {
        // SAFETY: takes no arguments.
        let page = unsafe { GetLargePageMinimum() };
        if page == 0 {
            let none = unsupported("this system has no large pages");
            return Err(("GetLargePageMinimum", none));
        }
        // A segment has at most `isize::MAX` bytes, so there is no overflow.
        let bytes = bytes.next_multiple_of(page);
        let kind = MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES;
        // SAFETY: takes no arguments; the pseudo handle need not be closed.
        let process = unsafe { GetCurrentProcess() };
        let (null, node) = (ptr::null(), node.unwrap_or(NO_NODE));
        // SAFETY: a new mapping at an address of the system's choice replaces none that exists.
        let base = unsafe { VirtualAllocExNuma(process, null, bytes, kind, PAGE_READWRITE, node) };
        let base = NonNull::new(base).ok_or_else(|| last("VirtualAllocExNuma(MEM_LARGE_PAGES)"))?;
        Ok((base, bytes))
    }

    /// Large pages are there from the start.
    pub(in crate::memory) fn populate(_base: NonNull<u8>, _bytes: usize) -> Result<(), Failed> {
        Ok(())
    }

    pub(super) fn advise_huge_pages(_base: NonNull<u8>, _bytes: usize) -> Result<(), Failed> {
        let none = unsupported("there are none on this system that it gives by itself");
        Err((ADVISE, none))
    }

    pub(super) fn node_to_map_on(node: u32) -> Result<Option<u32>, Failed> {
        const CALL: &str = "GetNumaHighestNodeNumber";
        let mut highest = 0;
        // SAFETY: there is room for the answer.
        if unsafe { GetNumaHighestNodeNumber(&raw mut highest) } == 0 {
            return Err(last(CALL));
        }
        if node <= highest {
            return Ok(Some(node));
        }
        let why = format!("the highest is {highest}");
        Err((CALL, io::Error::new(io::ErrorKind::InvalidInput, why)))
    }

    /// It was mapped so.
    pub(super) fn bind(_base: NonNull<u8>, _bytes: usize, _node: u32) -> Result<(), Failed> {
        Ok(())
    }

    pub(super) fn lock(base: NonNull<u8>, bytes: usize) -> Result<(), Failed> {
        // SAFETY: of a mapping, whatever it is, no byte changes by this.
        match unsafe { VirtualLock(base.as_ptr().cast(), bytes) } {
            0 => Err(last("VirtualLock")),
            _ => Ok(()),
        }
    }

    pub(super) fn huge_pages_setting(_mode: AllocatorMode) -> String {
        "unknown".to_owned()
    }

    /// What the system says of a page: `PSAPI_WORKING_SET_EX_BLOCK`.
    #[derive(Clone, Copy)]
    struct Page(usize);

    impl Page {
        fn is_resident(self) -> bool {
            self.0 & 1 == 1
        }

        fn node(self) -> u32 {
            u32::try_from((self.0 >> 16) & 0x3F).unwrap_or(0)
        }

        fn is_locked(self) -> bool {
            (self.0 >> 22) & 1 == 1
        }

        fn is_large(self) -> bool {
            (self.0 >> 23) & 1 == 1
        }
    }

    pub(in crate::memory) fn measure(base: NonNull<u8>, bytes: usize) -> Measured {
        let range = addresses(base, bytes);
        let page = page_size();
        let (mut resident, mut locked, mut huge) = (0, 0, 0);
        let mut nodes = BTreeSet::new();
        let starts: Vec<_> = pages(&range, page).collect();
        for piece in starts.chunks(PIECE) {
            let Some(states) = query(piece) else {
                return unknown(page);
            };
            let here = piece
                .iter()
                .zip(states)
                .filter(|(_, state)| state.is_resident());
            for (&start, state) in here {
                let inside = overlap(&(start..start + page), &range);
                resident += inside;
                // Large pages are never taken away.
                let locks = state.is_locked() || state.is_large();
                locked += if locks { inside } else { 0 };
                huge += if state.is_large() { inside } else { 0 };
                nodes.insert(state.node());
            }
        }
        let large = huge == bytes && bytes > 0;
        // SAFETY: takes no arguments.
        let large_page = unsafe { GetLargePageMinimum() };
        Measured {
            page_size: if large { large_page } else { page },
            resident: Some(resident),
            huge: Some(huge),
            locked: Some(locked),
            numa_nodes: nodes.into_iter().collect(),
        }
    }

    fn unknown(page_size: usize) -> Measured {
        Measured {
            page_size,
            resident: None,
            huge: None,
            locked: None,
            numa_nodes: Vec::new(),
        }
    }

    /// What the system says of the pages that start at these addresses.
    fn query(starts: &[usize]) -> Option<Vec<Page>> {
        let ask = |&start: &usize| PSAPI_WORKING_SET_EX_INFORMATION {
            VirtualAddress: ptr::without_provenance_mut(start),
            VirtualAttributes: PSAPI_WORKING_SET_EX_BLOCK { Flags: 0 },
        };
        let mut requested: Vec<_> = starts.iter().map(ask).collect();
        let bytes = u32::try_from(size_of_val(&*asked)).ok()?;
        // SAFETY: takes no arguments; the pseudo handle need not be closed.
        let process = unsafe { GetCurrentProcess() };
        // SAFETY: nothing is done to the addresses, mapped or not, and the answers fit in.
        if unsafe { K32QueryWorkingSetEx(process, asked.as_mut_ptr().cast(), bytes) } == 0 {
            return None;
        }
        let answers = asked.iter().map(|answer| {
            // SAFETY: any of its bytes make such a number, and all were written.
            Page(unsafe { answer.VirtualAttributes.Flags })
        });
        Some(answers.collect())
    }
}
