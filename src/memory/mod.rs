//! The memory that frames live in: one contiguous, zeroed segment per generation. (And, for the rest
//! of a pool, room on the heap that may be refused.)
//!
//! This is one of the few places with `unsafe` code. What the rest of the crate relies on:
//!
//! - **M1** A segment is mapped readable and writable from `first` on for `frames` strides, and
//!   stays so until it is dropped.
//! - **M2** Every byte of it is initialised: the system hands it out zeroed, and a user has promised.
//! - **M3** Two frames never overlap, and each lies wholly inside (by the layout).
//! - **M4** In a trap, M1 holds for a frame from when it was opened until it is shut, and for nothing else.

#[cfg_attr(loom, expect(dead_code, reason = "models have no handlers of faults"))]
mod guard_pages;
mod kernel;
mod remote;
mod residency;
#[cfg(feature = "windows")]
mod task;
mod user;
mod user_memory;

use std::ptr::NonNull;

use crate::error::CommitError;
use crate::framing::{FrameLayout, Framing, SMALLEST_PAGE};
use crate::memory_options::{CommitReport, MemoryOptions, UnmetRequest};
use crate::mode::AllocatorMode;

use self::guard_pages::Registration;
pub(crate) use self::guard_pages::{DescribeSlot, GuardPages};
use self::kernel::KernelPages;
#[cfg(feature = "windows")]
pub(crate) use self::kernel::as_word;
pub use self::kernel::{BorrowedKernelObject, OwnedKernelObject};
pub(crate) use self::kernel::{borrow, clone_for_peer};
pub use self::remote::{RemoteFrames, RemoteFramesMut};
use self::residency::{Measured, MemoryRequests, measure};
#[cfg(feature = "windows")]
pub(crate) use self::task::TaskMemory;
use self::user::UserPages;
pub use self::user_memory::FrameMemory;
pub(crate) use self::user_memory::OwnMemory;
use self::user_memory::OwnPages;

/// Room for `count` values on the heap, however many a client asks for.
pub(crate) fn try_with_capacity<T>(count: usize) -> Result<Vec<T>, CommitError> {
    let mut room = Vec::new();
    match room.try_reserve_exact(count) {
        Ok(()) => Ok(room),
        Err(_) => Err(CommitError::OutOfMemory {
            bytes: count.saturating_mul(size_of::<T>()),
        }),
    }
}

/// The one block of memory that holds all frames of a generation.
#[derive(Debug)]
pub(crate) struct Segment {
    layout: FrameLayout,
    first: NonNull<u8>,
    guard_pages: Option<GuardPages>,
    /// Goes before the pages, where others may be mapped then.
    registration: Option<Registration>,
    pages: Pages,
    unmet: Vec<UnmetRequest>,
}

/// Where the frames of a segment lie; unmapped on drop.
#[derive(Debug)]
enum Pages {
    User(UserPages),
    Kernel(KernelPages),
    Own(OwnPages),
}

impl Pages {
    /// Where the pages begin, a multiple of the page size.
    fn base(&self) -> NonNull<u8> {
        match self {
            Self::User(pages) => pages.base(),
            Self::Kernel(pages) => pages.base(),
            Self::Own(pages) => pages.base(),
        }
    }
}

/// Where in memory a segment lies, and its frames in it: see
/// [`FramePool::segment`](crate::FramePool::segment).
///
/// The memory is there for as long as the pool has handles or frames that are out; of an allocator's,
/// until it is committed with another framing or mode. If stray pointers are
/// [trapped](crate::FramePoolBuilder::guard_pages), only frames that are out can be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The first byte.
    pub base: NonNull<u8>,
    /// How many bytes there are.
    pub bytes: usize,
    /// Bytes from `base` to the first frame, after its prefix.
    pub first: usize,
    /// Bytes from one frame to the next.
    pub stride: usize,
}

/// What memory is to be had.
#[derive(Clone, Debug)]
pub(crate) struct MemoryPlan {
    pub(crate) mode: AllocatorMode,
    pub(crate) residency: MemoryOptions,
    /// Whether other processes may map a kernel object to write to it.
    pub(crate) peers_may_write: bool,
    /// The user's, instead of the system's.
    pub(crate) own: Option<OwnMemory>,
    /// Whether frames are inaccessible while they are free, with guards between them.
    pub(crate) guard_pages: bool,
}

impl MemoryPlan {
    /// Where the frames of a framing lie in such memory.
    pub(crate) fn layout(&self, framing: &Framing) -> Result<FrameLayout, CommitError> {
        match (self.guard_pages, &self.own) {
            (false, _) => FrameLayout::new(framing),
            (true, None) => GuardPages::layout(framing),
            (true, Some(_)) => Err(CommitError::GuardPagesUnsupported {
                reason: "memory of the user's own is not this crate's to protect",
            }),
        }
    }
}

// SAFETY: `first` points into `pages`, which is this segment's alone and is not tied to the thread
// that mapped it. A segment gives out pointers only; who may follow them is settled by who holds
// the frame.
unsafe impl Send for Segment {}
// SAFETY: as above; all methods only read fields that never change.
unsafe impl Sync for Segment {}

impl Segment {
    /// Maps memory for a `layout` of the plan's. In Kernel mode there is an object that owns it, too; the mapping does
    /// not need it any more.
    pub(crate) fn map(
        layout: &FrameLayout,
        plan: &MemoryPlan,
    ) -> Result<(Self, Option<OwnedKernelObject>), CommitError> {
        let bytes = layout.total;
        let mut requests = MemoryRequests::new(plan.residency, plan.mode);
        let (pages, object) = match (plan.mode, &plan.own) {
            (AllocatorMode::User, None) => {
                (Pages::User(UserPages::map(bytes, &mut requests)?), None)
            }
            (AllocatorMode::User, Some(own)) => {
                let pages = OwnPages::allocate(own, bytes, &mut requests)?;
                (Pages::Own(pages), None)
            }
            (AllocatorMode::Kernel, None) => {
                let (pages, object) = KernelPages::map(bytes, &mut requests, plan.peers_may_write)?;
                (Pages::Kernel(pages), Some(object))
            }
            (mode @ AllocatorMode::Kernel, Some(_)) => {
                return Err(CommitError::ModeUnsupported {
                    mode,
                    reason: "memory of the user's own is not owned by a kernel object of this crate",
                });
            }
        };
        let offset = layout.first_prefix(pages.base().addr().get());
        // SAFETY: `total` counts the bytes before the first prefix start: `slack` in framing.rs, which
        // is 0 only where any page is aligned enough. So `offset` stays inside the pages, which are one
        // mapping of at most `isize::MAX` bytes.
        let first = unsafe { pages.base().add(offset) };
        let guard_pages = match plan.guard_pages {
            // SAFETY: the pages are one mapping, of at least so many bytes, and were touched already if
            // they were to be; nobody else knows of them, and the first prefix is there.
            true => Some(unsafe { GuardPages::set(layout, pages.base(), offset) }?),
            false => None,
        };
        let segment = Self {
            layout: *layout,
            first,
            guard_pages,
            registration: None,
            pages,
            unmet: requests.into_unmet(),
        };
        Ok((segment, object))
    }

    /// What opens and shuts the frames, in a trap.
    pub(crate) fn guard_pages(&self) -> Option<GuardPages> {
        self.guard_pages
    }

    /// In a trap, has stray accesses explained by `pool` from now on, until the segment is dropped.
    ///
    /// # Safety
    ///
    /// `pool` lives, and may be shared, until then.
    pub(crate) unsafe fn describe_by(&mut self, pool: NonNull<dyn DescribeSlot>) {
        // SAFETY: the caller's promise; the registration goes with the segment.
        self.registration = self
            .guard_pages
            .map(|trap| unsafe { Registration::new(trap, pool) });
    }

    /// What was asked for, what was not got, and what the memory is now.
    pub(crate) fn report(&self, plan: &MemoryPlan) -> CommitReport {
        let measured = measure(self.pages.base(), self.layout.total);
        report(&self.layout, plan, &self.unmet, measured)
    }

    /// The report on a segment that is gone.
    pub(crate) fn report_gone(layout: &FrameLayout, plan: &MemoryPlan) -> CommitReport {
        report(layout, plan, &[], Measured::nothing())
    }

    /// The address of the first byte, which is also the first of the kernel object, if there is one.
    pub(crate) fn address(&self) -> usize {
        self.pages.base().addr().get()
    }

    /// The first byte of the frame in `slot`, after its prefix.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    pub(crate) fn frame(&self, slot: usize) -> NonNull<u8> {
        assert!(
            slot < self.layout.framing.frames,
            "slot {slot} of {:?}",
            self.layout
        );
        let offset = slot * self.layout.stride + self.layout.framing.prefix;
        // SAFETY: `slot` is below `frames`, so by M3 prefix and frame lie inside the mapping, and
        // the layout has checked their sizes.
        unsafe { self.first.add(offset) }
    }
}

fn report(
    layout: &FrameLayout,
    plan: &MemoryPlan,
    unmet: &[UnmetRequest],
    measured: Measured,
) -> CommitReport {
    CommitReport {
        requested: plan.residency,
        unmet: unmet.to_vec(),
        bytes: layout.total,
        page_size: measured.page_size,
        resident: measured.resident,
        huge: measured.huge,
        locked: measured.locked,
        numa_nodes: measured.numa_nodes,
    }
}

/// Stands for any NUMA node: `NUMA_NO_PREFERRED_NODE`.
#[cfg(windows)]
const NO_NODE: u32 = u32::MAX;

/// Writes to every page of a new mapping, so that the system backs it with memory.
///
/// # Safety
///
/// `bytes` bytes from `base` on are mapped writable and zeroed, and nobody else uses them yet.
unsafe fn touch(base: NonNull<u8>, bytes: usize) {
    for offset in (0..bytes).step_by(SMALLEST_PAGE) {
        // SAFETY: `offset` is below the size of the mapping.
        let page = unsafe { base.add(offset) };
        // SAFETY: the caller's promise.
        unsafe { page.write_volatile(0) };
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use crate::framing::Framing;

    use super::*;

    /// What this system has.
    const MODES: &[AllocatorMode] =
        if cfg!(any(target_os = "linux", target_os = "android", windows)) {
            &[AllocatorMode::User, AllocatorMode::Kernel]
        } else {
            &[AllocatorMode::User]
        };

    fn plan(mode: AllocatorMode) -> MemoryPlan {
        MemoryPlan {
            mode,
            residency: MemoryOptions::PREFAULTED,
            peers_may_write: false,
            own: None,
            guard_pages: false,
        }
    }

    fn segment(framing: Framing, mode: AllocatorMode) -> Segment {
        let layout = FrameLayout::new(&framing.actual().unwrap()).unwrap();
        Segment::map(&layout, &plan(mode)).unwrap().0
    }

    #[test]
    fn every_prefix_start_is_a_true_multiple_of_any_alignment() {
        for alignment in [1, 3, 10, 12, 16, 64, 4096, 4097, 8192, 65_535, 65_536] {
            let framing = Framing::new(5, 100).alignment(alignment).prefix(3);
            for &mode in MODES {
                let segment = segment(framing, mode);
                for slot in 0..5 {
                    let address = segment.frame(slot).addr().get() - 3;
                    assert_eq!(address % alignment, 0, "{address:#x} for {alignment}");
                }
            }
        }
    }

    #[test]
    fn the_memory_is_zeroed_to_the_last_byte() {
        let framing = Framing::new(3, 10_000).alignment(4097).prefix(11);
        for &mode in MODES {
            let segment = segment(framing, mode);
            let size = segment.layout.framing.frame_size + 11;
            for slot in 0..3 {
                // SAFETY: the prefix lies before the frame, by M3.
                let start = unsafe { segment.frame(slot).sub(11) };
                // SAFETY: by M1 and M2, and nobody else has this segment.
                let bytes = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), size) };
                assert!(bytes.iter().all(|&byte| byte == 0));
                bytes.fill(0xAA);
            }
        }
    }

    #[test]
    fn more_than_the_system_has_is_out_of_memory_with_the_number() {
        let layout = FrameLayout::new(&Framing::new(1 << 15, 1 << 47 >> 1)).unwrap();
        match Segment::map(&layout, &plan(AllocatorMode::User)).unwrap_err() {
            CommitError::OutOfMemory { bytes } => assert_eq!(bytes, layout.total),
            other => panic!("{other}"),
        }
    }
}
