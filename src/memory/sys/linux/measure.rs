//! Measurement of memory: `mincore`, `/proc/self/smaps` and `move_pages`.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::str::SplitAsciiWhitespace;

use super::super::address_range::{addresses, overlap, page_starts};
use super::super::measurement::Measurement;
use super::super::unix::pages::page_size;

/// Number of pages that one system call inspects.
const CHUNK: usize = 1024;

/// Measures the `bytes` bytes from `base` on. They need not be mapped.
pub(crate) fn measure(base: NonNull<u8>, bytes: usize) -> Measurement {
    let range = addresses(base, bytes);
    let mappings = Mappings::of(&range);
    let known = mappings.as_ref().and_then(|mappings| mappings.page_size);
    let page_size = known.unwrap_or_else(page_size);
    Measurement {
        page_size,
        resident: resident(&range),
        huge: mappings.as_ref().map(|mappings| mappings.huge),
        locked: mappings.as_ref().map(|mappings| mappings.locked),
        numa_nodes: numa_nodes(&range, page_size),
    }
}

/// Returns the number of bytes of the range that are in memory.
fn resident(range: &Range<usize>) -> Option<usize> {
    let page = page_size();
    let mut resident = 0;
    for start in page_starts(range, page).step_by(CHUNK) {
        let bytes = (CHUNK * page).min(range.end - start);
        let mut states = [0_u8; CHUNK];
        let address = ptr::without_provenance_mut(start);
        // SAFETY: the call does not access the addresses, whether they are mapped or not. It writes
        // one byte per page, and there are at most `CHUNK` pages.
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

/// Returns the NUMA nodes of the pages that are in memory, or none if the system does not tell.
fn numa_nodes(range: &Range<usize>, page: usize) -> Vec<u32> {
    let mut nodes = BTreeSet::new();
    let addresses: Vec<_> = page_starts(range, page).collect();
    for chunk in addresses.chunks(CHUNK) {
        let mut states = [-1_i32; CHUNK];
        // SAFETY: without target nodes the call moves no page and does not access the addresses. It
        // reads the addresses of a chunk and writes one state for each, at most `CHUNK`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0_usize,
                chunk.len(),
                chunk.as_ptr(),
                ptr::null::<libc::c_int>(),
                states.as_mut_ptr(),
                0_usize,
            )
        };
        if result != 0 {
            return Vec::new();
        }
        // A negative state is an error: the page is not in memory.
        nodes.extend(
            states
                .into_iter()
                .filter_map(|state| u32::try_from(state).ok()),
        );
    }
    nodes.into_iter().collect()
}

/// Properties of the mappings that overlap a range, from `/proc/self/smaps`.
#[derive(Default)]
struct Mappings {
    page_size: Option<usize>,
    huge: usize,
    locked: usize,
}

impl Mappings {
    fn of(range: &Range<usize>) -> Option<Self> {
        // The text contains file names, which need not be UTF-8.
        let text = fs::read("/proc/self/smaps").ok()?;
        Some(Self::parse(&String::from_utf8_lossy(&text), range))
    }

    fn parse(smaps: &str, range: &Range<usize>) -> Self {
        let mut mappings = Self::default();
        // Number of bytes that the current mapping shares with the range.
        let mut shared = 0;
        for line in smaps.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(first) = words.next() else { continue };
            if let Some(mapping) = parse_mapping(first) {
                shared = overlap(&mapping, range);
            } else if shared > 0 {
                mappings.add_field(first, words, shared);
            }
        }
        mappings.huge = mappings.huge.min(range.len());
        mappings
    }

    fn add_field(&mut self, name: &str, mut words: SplitAsciiWhitespace<'_>, shared: usize) {
        match name {
            "KernelPageSize:" => {
                let size = parse_kib(words.next());
                self.page_size = [self.page_size, size].into_iter().flatten().min();
            }
            "AnonHugePages:" | "ShmemPmdMapped:" | "FilePmdMapped:" | "Private_Hugetlb:"
            | "Shared_Hugetlb:" => {
                self.huge += parse_kib(words.next()).unwrap_or(0).min(shared);
            }
            // Explicit huge pages (`ht`) are never paged out.
            "VmFlags:" if words.any(|flag| flag == "lo" || flag == "ht") => {
                self.locked += shared;
            }
            _ => {}
        }
    }
}

/// Parses the addresses of a mapping, as in `7f0000000000-7f0000001000`.
fn parse_mapping(word: &str) -> Option<Range<usize>> {
    let (start, end) = word.split_once('-')?;
    let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16));
    Some(start.ok()?..end.ok()?)
}

/// Parses a size in KiB and returns it in bytes.
pub(super) fn parse_kib(word: Option<&str>) -> Option<usize> {
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

    fn parse(range: Range<usize>) -> (Option<usize>, usize, usize) {
        let mappings = Mappings::parse(SMAPS, &range);
        (mappings.page_size, mappings.huge, mappings.locked)
    }

    #[test]
    fn only_the_part_of_a_mapping_inside_the_range_counts() {
        assert_eq!(parse(0x1000..0x5000), (Some(4096), 8192, 0));
        assert_eq!(parse(0x4000..0x5000), (Some(4096), 4096, 0));
        assert_eq!(parse(0x8000..0xA000), (Some(8192), 8192, 8192));
        assert_eq!(parse(0x3000..0x9000), (Some(4096), 8192 + 4096, 4096));
        assert_eq!(parse(0x5000..0x8000), (None, 0, 0));
    }
}
