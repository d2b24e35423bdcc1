//! Frames that nobody can access while they are free, so that a pointer that was kept gives itself away.
//!
//! A trapped segment is laid out with pages of its own for every frame and pages of nobody's between
//! them (see `FrameLayout`). From the commit on all of it is inaccessible; a frame's pages are opened
//! when it goes out and shut when it comes back. Whoever uses a stray pointer faults, as with any
//! wild pointer, and [`fault`] sees to it that the fault is explained first.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | opens and shuts |
//! | [`registry`](mod@registry) | which segments are trapped: for a handler that may come at any moment, in any thread |
//! | [`message`] | what is said of an address |
//! | [`fault`] | the handlers, and whoever was there before them |
//! | [`system`] | the system calls |

#[cfg(not(loom))]
mod fault;
mod message;
mod registry;
mod system;

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::framing::{FrameLayout, Framing};
#[cfg(not(loom))]
use crate::sync::OnceLock;

use self::message::Line;
use self::registry::Registry;
use self::system::Access;

/// Tells what is known of a slot that a stray pointer points to.
///
/// It is asked in a signal handler: an implementation locks nothing, allocates nothing, and reads nothing
/// that another thread may be writing but atomics.
pub(crate) trait DescribeSlot: Sync {
    /// A clause without a full stop, such as "slot 3 is free".
    fn describe(&self, slot: usize, out: &mut dyn fmt::Write) -> fmt::Result;
}

/// The frames of a trapped segment, to be opened and shut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardPages {
    layout: FrameLayout,
    /// Where the segment begins: a page.
    base: NonNull<u8>,
    /// Bytes from there to the first prefix.
    first: usize,
}

// SAFETY: a trap is where something lies. Acquirer may open and shut which of it is for callers to see to.
unsafe impl Send for GuardPages {}
// SAFETY: as above; its fields never change.
unsafe impl Sync for GuardPages {}

impl GuardPages {
    /// Where the frames of a framing lie in a trap.
    pub(super) fn layout(framing: &Framing) -> Result<FrameLayout, CommitError> {
        FrameLayout::trapped(framing, system::page_size())
    }

    /// Makes all of a segment inaccessible, after having proved that all frames of it can be accessible
    /// at once: the system has only so many mappings, and each frame that is open makes two more. For
    /// the length of the proof they are not there for the rest of the process.
    ///
    /// # Safety
    ///
    /// `layout.total` bytes from `base` on are one mapping, or whole pages of one, that nobody uses or
    /// protects yet; the first prefix is `first` bytes after `base`.
    pub(super) unsafe fn set(
        layout: &FrameLayout,
        base: NonNull<u8>,
        first: usize,
    ) -> Result<Self, CommitError> {
        let trap = Self {
            layout: *layout,
            base,
            first,
        };
        let mut guard = 0;
        for slot in 0..layout.framing.frames {
            let pages = trap.pages(slot);
            // SAFETY: between the frames, or before the first, and so in the mapping; nobody uses it.
            unsafe { trap.protect(guard..pages.start, Access::None) }.map_err(failed)?;
            guard = pages.end;
        }
        // SAFETY: behind the last frame, and the layout counts a page there.
        unsafe { trap.protect(guard..layout.total, Access::None) }.map_err(failed)?;
        // SAFETY: all of the mapping, which nobody uses.
        unsafe { trap.protect(0..layout.total, Access::None) }.map_err(failed)?;
        Ok(trap)
    }

    /// Makes a frame accessible. If the system refuses, which it does only if others have used up what
    /// the commit had proved to be there, the process is aborted: there is no frame to be given, and no
    /// error that would name a reason to the caller but this.
    ///
    /// # Safety
    ///
    /// The frame in `slot` is the caller's, and keeps the segment.
    pub(crate) unsafe fn open(&self, slot: usize) {
        // SAFETY: the pages of the frame, which is the caller's; so they are in the mapping still.
        let opened = unsafe { self.protect(self.pages(slot), Access::ReadWrite) };
        if let Err(error) = opened {
            let code = error.raw_os_error().unwrap_or(0);
            let mut line = Line::new();
            // A line that is full says enough.
            let _full = write!(
                line,
                "slot {slot} of a pool cannot be made accessible again, \
                 for the system refuses another mapping (error {code}); aborting"
            );
            system::say(line.end());
            std::process::abort();
        }
    }

    /// Makes a frame inaccessible. If the system refuses, it stays accessible: a trap that is not set.
    ///
    /// # Safety
    ///
    /// The frame in `slot` is the caller's, and keeps the segment; nobody uses its bytes until it is
    /// opened again.
    pub(crate) unsafe fn shut(&self, slot: usize) {
        // SAFETY: as for `open`; and nobody uses them, by the contract.
        let shut = unsafe { self.protect(self.pages(slot), Access::None) };
        drop(shut);
    }

    fn pages(&self, slot: usize) -> Range<usize> {
        self.layout.pages(self.first, slot)
    }

    /// # Safety
    ///
    /// The range is of whole pages inside the segment, which is there; if they become inaccessible, nobody
    /// uses them.
    unsafe fn protect(&self, pages: Range<usize>, access: Access) -> std::io::Result<()> {
        // SAFETY: inside the segment, which is one mapping.
        let start = unsafe { self.base.add(pages.start) };
        // SAFETY: the caller's promise.
        unsafe { system::protect(start, pages.len(), access) }
    }

    /// How far into the segment an address is, if it is in it.
    fn offset_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.base.addr().get())?;
        (offset < self.layout.total).then_some(offset)
    }
}

fn failed(source: std::io::Error) -> CommitError {
    CommitError::Os {
        call: system::PROTECT,
        source,
    }
}

/// What a handler finds in the registry.
#[derive(Clone, Copy)]
struct Watched {
    guard_pages: GuardPages,
    pool: NonNull<dyn DescribeSlot>,
}

// SAFETY: the pool may be shared with any thread (`Describe` is `Sync`), and lives for as long as this is
// in the registry, by the contract of `watch`.
unsafe impl Send for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}

/// Where the handlers look. (Models have registries of their own, and no handlers.)
#[cfg(not(loom))]
static REGISTRY: OnceLock<Registry<Watched>> = OnceLock::new();

fn registry() -> Option<&'static Registry<Watched>> {
    #[cfg(not(loom))]
    return REGISTRY.get();
    #[cfg(loom)]
    None
}

/// A segment's place in the registry; given up on drop.
#[derive(Debug)]
pub(super) struct Registration {
    /// `None` if there was none to be had: then stray accesses go without a message.
    entry: Option<usize>,
}

impl Registration {
    /// Has stray accesses to a segment explained, until the result is dropped.
    ///
    /// # Safety
    ///
    /// `pool` lives, and may be shared, until then.
    pub(super) unsafe fn new(trap: GuardPages, pool: NonNull<dyn DescribeSlot>) -> Self {
        #[cfg(not(loom))]
        {
            REGISTRY.get_or_init(Registry::new);
            fault::install();
        }
        let watched = Watched {
            guard_pages: trap,
            pool,
        };
        Self {
            entry: registry().and_then(|registry| registry.register(watched)),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some((registry, entry)) = registry().zip(self.entry) {
            registry.unregister(entry);
        }
    }
}

/// Says on the standard error what is known of an address that was accessed in vain, if it is in a trapped
/// segment. For signal handlers: neither locks nor allocates.
fn explain(address: usize) {
    let mut line = Line::new();
    let found = registry().is_some_and(|registry| {
        registry.find(|watched| {
            let Some(offset) = watched.guard_pages.offset_of(address) else {
                return false;
            };
            // SAFETY: it lives and may be shared while it is in the registry, and so while `find` is
            // at it (G3); see `Registration::new`.
            let pool = unsafe { watched.pool.as_ref() };
            // A line that is full says enough.
            let _full = message::explain(&mut line, &watched.guard_pages, (address, offset), pool);
            true
        })
    });
    // Not while the entry is held: the standard error may be a pipe that nobody reads.
    if found {
        system::say(line.end());
    }
}
