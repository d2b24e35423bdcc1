//! The segment: the contiguous memory that holds all frames of a generation.

use std::ptr::NonNull;

use crate::error::CommitError;
use crate::framing::{FrameLayout, Framing};
use crate::memory_options::{CommitReport, MemoryOptions, UnmetRequest};
use crate::mode::AllocatorMode;

use super::budget::{Budget, Reservation};
use super::custom::{CustomMemory, CustomPages};
use super::guard_pages::{DescribeSlot, GuardPages, Registration};
use super::kernel_mode;
use super::kernel_object::{ObjectMapping, OwnedKernelObject};
use super::registration::{RegisterSegment, SegmentRegistration};
use super::requests::MemoryRequests;
use super::segment_info::SegmentInfo;
use super::sys::{Measurement, measure, pages};
use super::user_mode::UserPages;

/// The contiguous memory that holds all frames of a generation.
#[derive(Debug)]
pub(crate) struct Segment {
    layout: FrameLayout,
    /// The first byte of the first prefix.
    first: NonNull<u8>,
    guard_pages: Option<GuardPages>,
    /// Dropped before `pages`: afterwards other memory may be mapped at these addresses.
    registration: Option<Registration>,
    /// The user's. Dropped before `pages`, too.
    user_registration: Option<SegmentRegistration>,
    pages: Pages,
    unmet: Vec<UnmetRequest>,
    /// Dropped last.
    reservation: Option<Reservation>,
}

/// The pages of a segment, unmapped on drop.
#[derive(Debug)]
enum Pages {
    User(UserPages),
    Kernel(ObjectMapping),
    Custom(CustomPages),
}

impl Pages {
    /// Returns the id of the kernel object, if there is one.
    fn id(&self) -> Option<u64> {
        match self {
            Self::Kernel(mapping) => Some(mapping.id()),
            Self::User(_) | Self::Custom(_) => None,
        }
    }

    /// Returns the first byte. Its address is a multiple of the smallest page size.
    fn base(&self) -> NonNull<u8> {
        match self {
            Self::User(pages) => pages.base(),
            Self::Kernel(mapping) => mapping.base(),
            Self::Custom(pages) => pages.base(),
        }
    }
}

/// The kind of memory for a segment.
#[derive(Clone, Debug)]
pub(crate) struct MemoryPlan {
    pub(crate) mode: AllocatorMode,
    pub(crate) options: MemoryOptions,
    /// True if other processes may map a kernel object writable.
    pub(crate) peers_may_write: bool,
    /// A provider of memory to use instead of the system.
    pub(crate) custom: Option<CustomMemory>,
    /// Called with each segment.
    pub(crate) register: Option<RegisterSegment>,
    /// True if frames lie between guard pages and are inaccessible while they are free.
    pub(crate) guard_pages: bool,
    /// Limit on this and other segments together.
    pub(crate) budget: Option<Budget>,
}

impl MemoryPlan {
    /// Computes the layout of a framing in such memory.
    pub(crate) fn layout(&self, framing: &Framing) -> Result<FrameLayout, CommitError> {
        if self.custom.is_some() {
            if self.mode == AllocatorMode::Kernel {
                return Err(CommitError::ModeUnsupported {
                    mode: self.mode,
                    reason: "custom memory is not owned by a kernel object",
                });
            }
            if self.guard_pages {
                return Err(CommitError::GuardPagesUnsupported {
                    reason: "the pool does not change access rights of custom memory",
                });
            }
        }
        match self.guard_pages {
            false => FrameLayout::new(framing),
            true => GuardPages::layout(framing),
        }
    }
}

// SAFETY: `first` points into `pages`, which the segment owns and which are not tied to a thread. A
// segment only returns pointers; the holder of a frame alone may use that frame's bytes.
unsafe impl Send for Segment {}
// SAFETY: methods with `&self` only read fields that never change.
unsafe impl Sync for Segment {}

impl Segment {
    /// Maps memory for a layout that came from the same plan. In Kernel mode also returns the
    /// object that owns the memory; the mapping does not depend on it.
    pub(crate) fn map(
        layout: &FrameLayout,
        plan: &MemoryPlan,
    ) -> Result<(Self, Option<OwnedKernelObject>), CommitError> {
        let reserve = |budget: &Budget| budget.reserve(layout.total);
        let reservation = plan.budget.as_ref().map(reserve).transpose()?;
        let mut requests = MemoryRequests::new(plan.options, plan.mode);
        let (pages, object) = Self::map_pages(layout.total, plan, &mut requests)?;
        let offset = layout.first_prefix(pages.base().addr().get());
        // SAFETY: `total` includes the bytes before the first prefix start, so `offset` lies inside
        // the pages. They are one allocation of at most `isize::MAX` bytes.
        let first = unsafe { pages.base().add(offset) };
        let guard_pages = if plan.guard_pages {
            // SAFETY: the `total` bytes from the base on lie inside one new mapping, which may
            // begin before the base and end later. Only this function knows it; it is prefaulted
            // already if requested. A guarded layout consists of whole pages, and the base is at
            // the start of one. The first prefix starts at `offset`.
            Some(unsafe { GuardPages::new(layout, pages.base(), offset) }?)
        } else {
            None
        };
        let mut segment = Self {
            layout: *layout,
            first,
            guard_pages,
            registration: None,
            user_registration: None,
            pages,
            unmet: requests.into_unmet(),
            reservation,
        };
        if let Some(register) = &plan.register {
            segment.user_registration = Some(register.call(&segment.info())?);
        }
        Ok((segment, object))
    }

    /// Takes the part of the budget, for an object that keeps the memory for longer.
    pub(crate) fn take_reservation(&mut self) -> Option<Reservation> {
        self.reservation.take()
    }

    fn info(&self) -> SegmentInfo {
        let first = self.frame(0).addr().get() - self.address();
        SegmentInfo::new(&self.layout, self.pages.base(), first)
    }

    fn map_pages(
        bytes: usize,
        plan: &MemoryPlan,
        requests: &mut MemoryRequests,
    ) -> Result<(Pages, Option<OwnedKernelObject>), CommitError> {
        if let Some(memory) = &plan.custom {
            let pages = CustomPages::allocate(memory, bytes, requests)?;
            return Ok((Pages::Custom(pages), None));
        }
        match plan.mode {
            AllocatorMode::User => {
                let pages = UserPages::map(bytes, requests)?;
                Ok((Pages::User(pages), None))
            }
            AllocatorMode::Kernel => {
                let (mapping, object) = kernel_mode::map(bytes, requests, plan.peers_may_write)?;
                Ok((Pages::Kernel(mapping), Some(object)))
            }
        }
    }

    pub(crate) fn guard_pages(&self) -> Option<GuardPages> {
        self.guard_pages
    }

    /// With guard pages: has messages about invalid accesses to this segment describe the slots of
    /// `pool`, until the segment is dropped.
    ///
    /// # Safety
    ///
    /// Until the segment is dropped, `pool` points to a live value that may be shared with all
    /// threads.
    pub(crate) unsafe fn describe_slots_with(&mut self, pool: NonNull<dyn DescribeSlot>) {
        self.registration = self.guard_pages.map(|guard_pages| {
            // SAFETY: the registration is dropped with the segment, and until then the caller keeps
            // `pool` alive and shareable.
            unsafe { Registration::new(guard_pages, pool) }
        });
    }

    /// Reports the requests, which of them are unmet, and measurements of the memory.
    pub(crate) fn report(&self, plan: &MemoryPlan) -> CommitReport {
        let measurement = measure::measure(self.pages.base(), self.layout.total);
        report(&self.layout, plan, &self.unmet, measurement)
    }

    /// Reports on a segment that was dropped.
    pub(crate) fn report_dropped(layout: &FrameLayout, plan: &MemoryPlan) -> CommitReport {
        let measurement = Measurement::unmapped(pages::page_size());
        report(layout, plan, &[], measurement)
    }

    /// Returns the number by which other processes tell the memory of this segment from that of all
    /// others, if a kernel object owns it.
    pub(crate) fn id(&self) -> Option<u64> {
        self.pages.id()
    }

    /// Returns the address of the first byte, which is also the first byte of the kernel object, if
    /// there is one.
    pub(crate) fn address(&self) -> usize {
        self.pages.base().addr().get()
    }

    /// Returns the first byte of the frame in `slot`, after its prefix.
    ///
    /// # Panics
    ///
    /// Panics if there is no such slot.
    pub(crate) fn frame(&self, slot: usize) -> NonNull<u8> {
        assert!(
            slot < self.layout.framing.frames,
            "slot {slot} does not exist in {:?}",
            self.layout
        );
        let offset = slot * self.layout.stride + self.layout.framing.prefix;
        // SAFETY: the slot exists, so by M3 its prefix and frame lie inside the segment, which has
        // at most `isize::MAX` bytes.
        unsafe { self.first.add(offset) }
    }
}

fn report(
    layout: &FrameLayout,
    plan: &MemoryPlan,
    unmet: &[UnmetRequest],
    measurement: Measurement,
) -> CommitReport {
    CommitReport {
        requested: plan.options,
        unmet: unmet.to_vec(),
        bytes: layout.total,
        page_size: measurement.page_size,
        resident: measurement.resident,
        huge: measurement.huge,
        locked: measurement.locked,
        numa_nodes: measurement.numa_nodes,
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use crate::framing::Framing;

    use super::*;

    /// The modes that this system supports.
    const MODES: &[AllocatorMode] =
        if cfg!(any(target_os = "linux", target_os = "android", windows)) {
            &[AllocatorMode::User, AllocatorMode::Kernel]
        } else {
            &[AllocatorMode::User]
        };

    fn plan(mode: AllocatorMode) -> MemoryPlan {
        MemoryPlan {
            mode,
            options: MemoryOptions::PREFAULTED,
            peers_may_write: false,
            custom: None,
            register: None,
            guard_pages: false,
            budget: None,
        }
    }

    fn segment(framing: Framing, mode: AllocatorMode) -> Segment {
        let layout = FrameLayout::new(&framing.actual().unwrap()).unwrap();
        Segment::map(&layout, &plan(mode)).unwrap().0
    }

    #[test]
    fn every_prefix_start_is_a_multiple_of_the_alignment() {
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
    fn all_bytes_of_prefix_and_frame_are_zeroed() {
        let framing = Framing::new(3, 10_000).alignment(4097).prefix(11);
        for &mode in MODES {
            let segment = segment(framing, mode);
            let size = segment.layout.framing.frame_size + 11;
            for slot in 0..3 {
                // SAFETY: the prefix of 11 bytes lies before the frame, inside the segment, by M3.
                let start = unsafe { segment.frame(slot).sub(11) };
                // SAFETY: the bytes are mapped and initialized by M1 to M3, and only this test has
                // the segment.
                let bytes = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), size) };
                assert!(bytes.iter().all(|&byte| byte == 0));
                bytes.fill(0xAA);
            }
        }
    }

    /// A pool that is too large for 32 bits is rejected before it is mapped.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn the_out_of_memory_error_contains_the_number_of_bytes() {
        let layout = FrameLayout::new(&Framing::new(1 << 15, 1 << 47 >> 1)).unwrap();
        match Segment::map(&layout, &plan(AllocatorMode::User)).unwrap_err() {
            CommitError::OutOfMemory { bytes } => assert_eq!(bytes, layout.total),
            other => panic!("{other}"),
        }
    }
}
