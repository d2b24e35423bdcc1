//! Measurement of memory: `QueryWorkingSetEx`.

use std::collections::BTreeSet;
use std::ptr::{self, NonNull};

use windows_sys::Win32::System::Memory::GetLargePageMinimum;
use windows_sys::Win32::System::ProcessStatus::{
    K32QueryWorkingSetEx, PSAPI_WORKING_SET_EX_BLOCK, PSAPI_WORKING_SET_EX_INFORMATION,
};

use super::super::address_range::{addresses, overlap, page_starts};
use super::super::measurement::Measurement;
use super::calls::current_process;
use super::pages::page_size;

/// Number of pages that one system call inspects.
const CHUNK: usize = 1024;

/// State of a page: `PSAPI_WORKING_SET_EX_BLOCK`.
#[derive(Clone, Copy)]
struct PageState(usize);

impl PageState {
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

/// Measures the `bytes` bytes from `base` on. They need not be mapped.
pub(crate) fn measure(base: NonNull<u8>, bytes: usize) -> Measurement {
    let range = addresses(base, bytes);
    let page = page_size();
    let (mut resident, mut locked, mut huge) = (0, 0, 0);
    let mut nodes = BTreeSet::new();
    let starts: Vec<_> = page_starts(&range, page).collect();
    for chunk in starts.chunks(CHUNK) {
        let Some(states) = query(chunk) else {
            return unknown(page);
        };
        let resident_pages = chunk
            .iter()
            .zip(states)
            .filter(|(_, state)| state.is_resident());
        for (&start, state) in resident_pages {
            let shared = overlap(&(start..start + page), &range);
            resident += shared;
            // Large pages are never paged out.
            if state.is_locked() || state.is_large() {
                locked += shared;
            }
            if state.is_large() {
                huge += shared;
            }
            nodes.insert(state.node());
        }
    }
    let all_large = huge == bytes && bytes > 0;
    // SAFETY: the function has no parameters.
    let large_page = unsafe { GetLargePageMinimum() };
    Measurement {
        page_size: if all_large { large_page } else { page },
        resident: Some(resident),
        huge: Some(huge),
        locked: Some(locked),
        numa_nodes: nodes.into_iter().collect(),
    }
}

fn unknown(page_size: usize) -> Measurement {
    Measurement {
        page_size,
        resident: None,
        huge: None,
        locked: None,
        numa_nodes: Vec::new(),
    }
}

/// Returns the states of the pages that start at these addresses.
fn query(starts: &[usize]) -> Option<Vec<PageState>> {
    let entry = |&start: &usize| PSAPI_WORKING_SET_EX_INFORMATION {
        VirtualAddress: ptr::without_provenance_mut(start),
        VirtualAttributes: PSAPI_WORKING_SET_EX_BLOCK { Flags: 0 },
    };
    let mut entries: Vec<_> = starts.iter().map(entry).collect();
    let bytes = u32::try_from(size_of_val(&*entries)).ok()?;
    // SAFETY: the call does not access the addresses, whether they are mapped or not. It writes
    // into the entries, which have the given size.
    let succeeded =
        unsafe { K32QueryWorkingSetEx(current_process(), entries.as_mut_ptr().cast(), bytes) };
    if succeeded == 0 {
        return None;
    }
    let states = entries.iter().map(|entry| {
        // SAFETY: every field of the union is an integer of its full size, and all bytes are
        // initialized.
        PageState(unsafe { entry.VirtualAttributes.Flags })
    });
    Some(states.collect())
}
