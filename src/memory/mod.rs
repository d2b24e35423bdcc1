//! The memory that frames live in: one contiguous, zeroed segment per generation. (And, for the rest
//! of a pool, room on the heap that may be refused.)
//!
//! This is one of the few places with `unsafe` code. What the rest of the crate relies on:
//!
//! - **M1** A segment is mapped readable and writable from `first` on for `frames` strides, and
//!   stays so until it is dropped.
//! - **M2** Every byte of it is initialised: the system hands it out zeroed.
//! - **M3** Two frames never overlap, and each lies wholly inside (by the layout).

#[cfg(feature = "windows")]
mod task;
mod user;

use std::ptr::NonNull;

use crate::error::CommitError;
use crate::framing::FrameLayout;
use crate::mode::AllocatorMode;

#[cfg(feature = "windows")]
pub(crate) use self::task::TaskMemory;
use self::user::UserPages;

/// Room for `count` values on the heap, however many a client asks for.
pub(crate) fn room_for<T>(count: usize) -> Result<Vec<T>, CommitError> {
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
    _pages: UserPages,
}

// SAFETY: `first` points into `_pages`, which is this segment's alone and is not tied to the thread
// that mapped it. A segment gives out pointers only; who may follow them is settled by who holds
// the frame.
unsafe impl Send for Segment {}
// SAFETY: as above; all methods only read fields that never change.
unsafe impl Sync for Segment {}

impl Segment {
    /// Maps memory for `layout` in `mode`, and touches all of it if it is to be prefaulted.
    pub(crate) fn map(
        layout: &FrameLayout,
        mode: AllocatorMode,
        prefault: bool,
    ) -> Result<Self, CommitError> {
        let pages = match mode {
            AllocatorMode::User => UserPages::map(layout.total, prefault)?,
            AllocatorMode::Kernel => {
                return Err(CommitError::ModeUnsupported {
                    mode,
                    reason: "frames in memory owned by a kernel object are not implemented yet",
                });
            }
        };
        let offset = layout.first_prefix(pages.base().addr().get());
        // SAFETY: `total` counts the bytes before the first prefix start: `slack` in framing.rs, which
        // is 0 only where any page is aligned enough. So `offset` stays inside the pages, which are one
        // mapping of at most `isize::MAX` bytes.
        let first = unsafe { pages.base().add(offset) };
        Ok(Self {
            layout: *layout,
            first,
            _pages: pages,
        })
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use crate::framing::Framing;

    use super::*;

    fn segment(framing: Framing) -> Segment {
        let layout = FrameLayout::new(&framing.actual().unwrap()).unwrap();
        Segment::map(&layout, AllocatorMode::User, true).unwrap()
    }

    #[test]
    fn every_prefix_start_is_a_true_multiple_of_any_alignment() {
        for alignment in [1, 3, 10, 12, 16, 64, 4096, 4097, 8192, 65_535, 65_536] {
            let segment = segment(Framing::new(5, 100).alignment(alignment).prefix(3));
            for slot in 0..5 {
                let address = segment.frame(slot).addr().get() - 3;
                assert_eq!(address % alignment, 0, "{address:#x} for {alignment}");
            }
        }
    }

    #[test]
    fn the_memory_is_zeroed_to_the_last_byte() {
        let segment = segment(Framing::new(3, 10_000).alignment(4097).prefix(11));
        for slot in 0..3 {
            let size = segment.layout.framing.frame_size + 11;
            // SAFETY: the prefix lies before the frame, by M3.
            let start = unsafe { segment.frame(slot).sub(11) };
            // SAFETY: by M1 and M2, and nobody else has this segment.
            let bytes = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), size) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(0xAA);
        }
    }

    #[test]
    fn more_than_the_system_has_is_out_of_memory_with_the_number() {
        let layout = FrameLayout::new(&Framing::new(1 << 15, 1 << 47 >> 1)).unwrap();
        match Segment::map(&layout, AllocatorMode::User, true).unwrap_err() {
            CommitError::OutOfMemory { bytes } => assert_eq!(bytes, layout.total),
            other => panic!("{other}"),
        }
    }
}
