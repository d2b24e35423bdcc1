//! Registration of guarded segments, and reports of invalid accesses to them.
//!
//! The fault handlers are installed while there is a registration. They are functions of this
//! crate, and so of the library that contains it, which may be unloaded after its last pool is
//! gone.

use std::ptr::NonNull;

#[cfg(not(all(test, loom)))]
use crate::sync::{OnceLock, unmodeled};

#[cfg(not(all(test, loom)))]
use super::super::sys::faults;
use super::super::sys::standard_error;
use super::line::Line;
use super::message::{DescribeSlot, describe_access};
use super::protection::GuardPages;
use super::registry::Registry;

/// A guarded segment, as a fault handler finds it in the registry.
#[derive(Clone, Copy, Debug)]
struct GuardedSegment {
    guard_pages: GuardPages,
    pool: NonNull<dyn DescribeSlot>,
}

// SAFETY: `pool` is used through `&` only, and `DescribeSlot` is `Sync`. It lives while this value
// is in the registry, by the contract of `Registration::new`.
unsafe impl Send for GuardedSegment {}
// SAFETY: `pool` is used through `&` only, and `DescribeSlot` is `Sync`. It lives while this value
// is in the registry, by the contract of `Registration::new`.
unsafe impl Sync for GuardedSegment {}

/// The guarded segments of the process. Models use registries of their own, and no fault handlers.
#[cfg(not(all(test, loom)))]
static REGISTRY: OnceLock<Registry<GuardedSegment>> = OnceLock::new();

/// Number of registrations that this copy of the crate made. The handlers are installed and removed
/// under the lock.
#[cfg(not(all(test, loom)))]
static REGISTRATIONS: unmodeled::Mutex<usize> = unmodeled::Mutex::new(0);

fn registry() -> Option<&'static Registry<GuardedSegment>> {
    #[cfg(not(all(test, loom)))]
    return REGISTRY.get();
    #[cfg(all(test, loom))]
    None
}

/// The entry of a guarded segment in the registry, removed on drop.
#[derive(Debug)]
pub(crate) struct Registration {
    /// `None` if the registry was full. Invalid accesses to the segment are then not reported.
    entry: Option<usize>,
    /// Ends the registration in the copy of the crate that made it: another copy, which has a
    /// registry and handlers of its own, may drop it.
    end: fn(Option<usize>),
}

impl Registration {
    /// Has invalid accesses to a segment reported until the registration is dropped. The first
    /// registration installs the fault handlers, the last one removes them.
    ///
    /// # Safety
    ///
    /// Until the registration is dropped, `pool` points to a live value that may be shared with all
    /// threads.
    pub(crate) unsafe fn new(guard_pages: GuardPages, pool: NonNull<dyn DescribeSlot>) -> Self {
        #[cfg(not(all(test, loom)))]
        {
            REGISTRY.get_or_init(Registry::new);
            let mut registrations = REGISTRATIONS.lock();
            if *registrations == 0 {
                faults::install(report_access);
            }
            *registrations += 1;
        }
        let segment = GuardedSegment { guard_pages, pool };
        Self {
            entry: registry().and_then(|registry| registry.register(segment)),
            end: end_registration,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        (self.end)(self.entry);
    }
}

/// Removes an entry. With the last registration, removes the fault handlers.
fn end_registration(entry: Option<usize>) {
    if let Some((registry, entry)) = registry().zip(entry) {
        registry.unregister(entry);
    }
    #[cfg(not(all(test, loom)))]
    {
        let mut registrations = REGISTRATIONS.lock();
        *registrations -= 1;
        if *registrations == 0 {
            faults::remove();
        }
    }
}

/// Writes a message about a faulting address to the standard error stream, if the address lies in a
/// guarded segment.
///
/// The fault handlers call it: it takes no lock and allocates no memory.
fn report_access(address: usize) {
    let mut line = Line::new();
    let found = registry().is_some_and(|registry| {
        registry.find(|segment| {
            let Some(offset) = segment.guard_pages.offset_of(address) else {
                return false;
            };
            // SAFETY: `pool` lives and may be shared while its entry is in the registry, by the
            // contract of `Registration::new`. The entry is not removed during `find` (G3).
            let pool = unsafe { segment.pool.as_ref() };
            let access = (address, offset);
            // An error means that the line is full. What it contains is written.
            let _full = describe_access(&mut line, &segment.guard_pages, access, pool);
            true
        })
    });
    // Written after `find`, which holds up the removal of the entry: the standard error stream may
    // be a pipe that is never read.
    if found {
        standard_error::write(line.finish());
    }
}
