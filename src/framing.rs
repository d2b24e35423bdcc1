//! The shape of a pool: what is asked for, what is given, and where each frame lies.
//!
//! Every size in the crate is computed here, checked, before anything is stored or allocated.
//! Past [`FrameLayout::new`] nothing can overflow.

#![warn(clippy::arithmetic_side_effects)]

use std::ops::Range;

use crate::error::{CommitError, FramingError};

/// Frames closer together than this would share a cache line.
const CACHE_LINE: usize = 64;

/// Frames a multiple of this apart would compete for one set of the first-level cache.
const CACHE_WAY: usize = 4096;

/// The smallest page of any system that the crate runs on: what mapped memory is aligned to at
/// the least.
pub(crate) const SMALLEST_PAGE: usize = 4096;

/// How many frames, how large, how aligned, and with how many bytes before each.
///
/// What a client asks for is rounded by [`actual`](Self::actual) to what it gets: a frame is made
/// so large that the bytes of prefix and frame together are a multiple of the alignment.
///
/// ```text
/// a segment of 3 frames:          Framing::new(3, 100).alignment(16).prefix(4)
///
///   base            + stride                      + 2 strides
///   | pre | frame (108) ........ | gap | pre | frame (108) ... | gap | pre | frame ...
///   ^ a multiple of 16                 ^ a multiple of 16            ^ a multiple of 16
///         ^ base + prefix: what `Frame` dereferences to
/// ```
///
/// The *prefix start* is aligned; the frame itself is so only when the prefix is a multiple of the
/// alignment. The gap keeps two frames out of one cache line and, for frames of whole pages whose
/// alignment allows it, their starts out of one set of the first-level cache.
///
/// Source: `ALLOCATOR_PROPERTIES` and `IMemAllocator::SetProperties`, whose rounding and order of
/// checks this follows.
///
/// ```
/// use ks_allocator::Framing;
///
/// let request = Framing::new(3, 100).alignment(16).prefix(4);
/// let actual = request.actual()?;
/// assert_eq!(actual.frame_size, 108); // 4 + 108 is a multiple of 16
/// assert_eq!((actual.frames, actual.alignment, actual.prefix), (3, 16, 4));
/// # Ok::<(), ks_allocator::FramingError>(())
/// ```
#[doc(alias("ALLOCATOR_PROPERTIES", "KSALLOCATOR_FRAMING"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Framing {
    /// Frames in the pool.
    #[doc(alias("cBuffers", "Frames"))]
    pub frames: usize,
    /// Bytes in a frame, without the prefix.
    #[doc(alias("cbBuffer", "FrameSize"))]
    pub frame_size: usize,
    /// What the address of each prefix start is a multiple of, in bytes; need not be a power of
    /// two.
    #[doc(alias("cbAlign", "FileAlignment"))]
    pub alignment: usize,
    /// Bytes before each frame, for headers.
    #[doc(alias = "cbPrefix")]
    pub prefix: usize,
}

impl Framing {
    /// The largest alignment, in bytes.
    pub const MAX_ALIGNMENT: usize = 65_536;

    /// The largest number of frames.
    pub const MAX_FRAMES: usize = 1 << 24;

    /// `frames` frames of `frame_size` bytes, with an alignment of 1 and no prefix.
    ///
    /// ```
    /// use ks_allocator::Framing;
    ///
    /// let framing = Framing::new(8, 1920 * 1080 * 3 / 2);
    /// assert_eq!((framing.alignment, framing.prefix), (1, 0));
    /// ```
    #[must_use]
    pub const fn new(frames: usize, frame_size: usize) -> Self {
        Self {
            frames,
            frame_size,
            alignment: 1,
            prefix: 0,
        }
    }

    /// With every prefix start at a multiple of `alignment` bytes, 1 to
    /// [`MAX_ALIGNMENT`](Self::MAX_ALIGNMENT); checked by [`actual`](Self::actual).
    ///
    /// ```
    /// use ks_allocator::Framing;
    ///
    /// // 5.1 channels of 16 bits: 12 bytes a sample, and no power of two.
    /// assert_eq!(Framing::new(8, 1000).alignment(12).actual()?.frame_size, 1008);
    /// # Ok::<(), ks_allocator::FramingError>(())
    /// ```
    #[must_use]
    pub const fn alignment(mut self, alignment: usize) -> Self {
        self.alignment = alignment;
        self
    }

    /// With `prefix` bytes before each frame.
    ///
    /// ```
    /// use ks_allocator::Framing;
    ///
    /// assert_eq!(Framing::new(8, 1500).prefix(42).prefix, 42);
    /// ```
    #[must_use]
    pub const fn prefix(mut self, prefix: usize) -> Self {
        self.prefix = prefix;
        self
    }

    /// What a client that asks for this gets: the frame size is rounded up until prefix and frame
    /// together are a multiple of the alignment.
    ///
    /// Counts and sizes are not judged here. A framing with nothing in it, or with more than an
    /// address space, is refused by [`commit`](crate::KsAllocator::commit).
    ///
    /// # Errors
    ///
    /// [`FramingError::Alignment`] unless the alignment is in 1..=65536.
    ///
    /// ```
    /// use ks_allocator::Framing;
    ///
    /// assert_eq!(Framing::new(1, 0).alignment(16).prefix(1).actual()?.frame_size, 15);
    /// assert!(Framing::new(1, 1).alignment(0).actual().is_err());
    /// # Ok::<(), ks_allocator::FramingError>(())
    /// ```
    pub const fn actual(&self) -> Result<Self, FramingError> {
        let alignment = self.alignment;
        if alignment == 0 || alignment > Self::MAX_ALIGNMENT {
            return Err(FramingError::Alignment { alignment });
        }
        let mut actual = *self;
        if let Some(rounded) = self.rounded_frame_size() {
            actual.frame_size = rounded;
        }
        Ok(actual)
    }

    const fn rounded_frame_size(&self) -> Option<usize> {
        let Some(used) = self.prefix.checked_add(self.frame_size) else {
            return None;
        };
        let Some(rounded) = used.checked_next_multiple_of(self.alignment) else {
            return None;
        };
        rounded.checked_sub(self.prefix)
    }
}

/// Where the frames of a framing lie in their segment.
///
/// In a trap every frame has pages to itself, and there is a page that belongs to none before the first
/// frame, between any two, and after the last:
///
/// ```text
/// an alignment that pages have:   frames end where a guard page begins
///
///   | guard page | ...... pre | frame ........ | guard page | ...... pre | frame ........ | guard page |
///                ^ a page     ^ aligned        ^ a page
///
/// any other:                      frames end less than a page before it
///
///   | guard page | .... | .. pre | frame .. | .. | guard page | .... | ... pre | frame . | ... | guard page |
///                       ^ a page ^ aligned       ^ a page
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameLayout {
    pub(crate) framing: Framing,
    /// Bytes from one prefix start to the next: a multiple of the alignment.
    pub(crate) stride: usize,
    /// Bytes that hold all frames, wherever the memory begins.
    pub(crate) total: usize,
    /// Bytes from there to the first prefix start, if that comes out aligned.
    lead: usize,
    /// The size of a page, in a trap; else 0.
    page: usize,
}

impl FrameLayout {
    /// The layout of a framing that [`Framing::actual`] has rounded. At least one frame of at least
    /// one byte, and every sum and product at most `isize::MAX`.
    pub(crate) fn new(framing: &Framing) -> Result<Self, CommitError> {
        Self::gate(framing, 0)
    }

    /// As [`new`](Self::new), with pages of `page` bytes, and guards between the frames.
    pub(crate) fn trapped(framing: &Framing, page: usize) -> Result<Self, CommitError> {
        Self::gate(framing, page)
    }

    fn gate(framing: &Framing, page: usize) -> Result<Self, CommitError> {
        let Framing {
            frames,
            frame_size,
            alignment,
            prefix,
        } = *framing;
        if frames == 0 || frame_size == 0 || alignment == 0 {
            return Err(CommitError::FramingNotSet { frames, frame_size });
        }
        let layout = match page {
            0 => Self::close_together(framing),
            page => Self::between_guards(framing, page),
        };
        layout.filter(Self::fits).ok_or(CommitError::TooLarge {
            frames,
            frame_size,
            alignment,
            prefix,
        })
    }

    fn fits(&self) -> bool {
        self.framing.frames <= Framing::MAX_FRAMES && isize::try_from(self.total).is_ok()
    }

    fn close_together(framing: &Framing) -> Option<Self> {
        let used = framing.prefix.checked_add(framing.frame_size)?;
        let stride = stride(used, framing.alignment)?;
        let total = framing
            .frames
            .checked_mul(stride)?
            .checked_add(slack(framing.alignment))?;
        Some(Self {
            framing: *framing,
            stride,
            total,
            lead: 0,
            page: 0,
        })
    }

    fn between_guards(framing: &Framing, page: usize) -> Option<Self> {
        let alignment = framing.alignment;
        // Rounded already, or too large.
        let used = framing
            .prefix
            .checked_add(framing.frame_size)?
            .checked_next_multiple_of(alignment)?;
        let met_by_any_page = alignment.is_power_of_two() && alignment <= page;
        let (lead, stride, slack) = if met_by_any_page {
            let stride = used.checked_next_multiple_of(page)?.checked_add(page)?;
            (stride.checked_sub(used)?, stride, 0)
        } else {
            // A guard page, and less than a page of the frame's own on either side.
            let room = used.checked_add(page.checked_mul(3)?)?;
            let stride = room.checked_next_multiple_of(alignment)?;
            (page, stride, alignment.checked_sub(1)?)
        };
        let total = framing
            .frames
            .checked_mul(stride)?
            .checked_add(page)?
            .checked_add(slack)?
            .checked_next_multiple_of(page)?;
        Some(Self {
            framing: *framing,
            stride,
            total,
            lead,
            page,
        })
    }

    /// Bytes from `address`, where the memory begins, to the first prefix start.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the alignment is 1 to 65536, and `total` has room for the lead and an alignment"
    )]
    pub(crate) fn first_prefix(&self, address: usize) -> usize {
        let alignment = self.framing.alignment;
        let past = (address % alignment + self.lead % alignment) % alignment;
        self.lead + (alignment - past) % alignment
    }

    /// Bytes of prefix and frame together.
    #[expect(clippy::arithmetic_side_effects, reason = "less than `total`")]
    pub(crate) fn used(&self) -> usize {
        self.framing.prefix + self.framing.frame_size
    }

    /// In a trap, the pages of the frame in `slot`, if the first prefix starts `first` bytes after the
    /// start of a page: as bytes from there. Only of slots that there are.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "all inside `total`, and the page is not 0 in a trap"
    )]
    pub(crate) fn pages(&self, first: usize, slot: usize) -> Range<usize> {
        let start = first + slot * self.stride;
        start - start % self.page..(start + self.used()).next_multiple_of(self.page)
    }
}

/// Bytes that a frame takes up, with the gap that keeps it out of its neighbour's way.
fn stride(used: usize, alignment: usize) -> Option<usize> {
    let stride = used.checked_next_multiple_of(alignment)?;
    if !alignment.is_power_of_two() {
        return Some(stride);
    }
    let stride = stride.checked_next_multiple_of(CACHE_LINE)?;
    if alignment <= CACHE_LINE && stride % CACHE_WAY == 0 {
        return stride.checked_add(CACHE_LINE);
    }
    Some(stride)
}

/// Bytes that may be lost before the first prefix start.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the alignment is at least 1"
)]
fn slack(alignment: usize) -> usize {
    let met_by_any_page = alignment.is_power_of_two() && alignment <= SMALLEST_PAGE;
    if met_by_any_page { 0 } else { alignment - 1 }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounding_gives_what_the_reference_implementation_gives() {
        // frame_size, alignment, prefix, and the frame size that comes of it.
        let table = [
            (0, 1, 0, 0),
            (1, 1, 0, 1),
            (1, 4, 0, 4),
            (1, 16, 0, 16),
            (1, 16, 1, 15),
            (15, 16, 1, 15),
            (16, 16, 1, 31),
            (0, 16, 1, 15),
            (100, 16, 3, 109),
            (100, 4096, 3, 4093),
            (1000, 12, 0, 1008),
            (65_536, 65_536, 0, 65_536),
        ];
        for (frame_size, alignment, prefix, expected) in table {
            let request = Framing::new(2, frame_size)
                .alignment(alignment)
                .prefix(prefix);
            let actual = request.actual().unwrap();
            assert_eq!(actual.frame_size, expected, "{request:?}");
            assert_eq!(
                Framing {
                    frame_size,
                    ..actual
                },
                request,
                "only the frame size is rounded"
            );
            assert_eq!(
                actual.actual(),
                Ok(actual),
                "rounding twice changes nothing"
            );
        }
    }

    #[test]
    fn every_alignment_in_range_is_accepted_and_no_other() {
        for alignment in 1..=Framing::MAX_ALIGNMENT {
            assert!(
                Framing::new(1, 1).alignment(alignment).actual().is_ok(),
                "{alignment}"
            );
        }
        for alignment in [0, 65_537, 131_073, usize::MAX] {
            let refused = Framing::new(1, 1).alignment(alignment).actual();
            assert_eq!(refused, Err(FramingError::Alignment { alignment }));
        }
    }

    #[test]
    fn a_framing_that_overflows_is_kept_as_asked_and_refused_at_commit() {
        let request = Framing::new(2, usize::MAX - 1).alignment(64).prefix(7);
        assert_eq!(request.actual(), Ok(request));
        assert!(matches!(
            FrameLayout::new(&request),
            Err(CommitError::TooLarge { .. })
        ));
    }

    #[test]
    fn nothing_to_allocate_is_not_set() {
        for framing in [Framing::default(), Framing::new(0, 1), Framing::new(1, 0)] {
            let error = FrameLayout::new(&framing).unwrap_err();
            assert!(
                matches!(error, CommitError::FramingNotSet { .. }),
                "{framing:?}: {error}"
            );
        }
    }

    #[test]
    fn frames_of_whole_pages_do_not_fall_into_one_cache_set_unless_asked_to() {
        let layout = |alignment| {
            let framing = Framing::new(4, 8192).alignment(alignment).actual().unwrap();
            FrameLayout::new(&framing).unwrap().stride
        };
        assert_eq!(layout(1), 8192 + 64);
        assert_eq!(layout(64), 8192 + 64);
        assert_eq!(layout(4096), 8192);
    }

    proptest! {
        #[test]
        fn frames_never_overlap_and_every_prefix_start_is_aligned(
            frames in 1_usize..100,
            frame_size in 1_usize..100_000,
            alignment in 1_usize..=Framing::MAX_ALIGNMENT,
            prefix in 0_usize..10_000,
            page in 0_usize..1_000_000,
        ) {
            let request = Framing::new(frames, frame_size).alignment(alignment).prefix(prefix);
            let actual = request.actual().unwrap();
            prop_assert!(actual.frame_size >= frame_size);
            prop_assert!(actual.frame_size - frame_size < alignment);
            let layout = FrameLayout::new(&actual).unwrap();
            prop_assert!(layout.stride >= prefix + actual.frame_size);

            let address = page * SMALLEST_PAGE;
            let first = address + layout.first_prefix(address);
            for frame in 0..frames {
                prop_assert_eq!((first + frame * layout.stride) % alignment, 0);
            }
            let end = first + (frames - 1) * layout.stride + prefix + actual.frame_size;
            prop_assert!(end <= address + layout.total);
        }

        #[test]
        fn trapped_frames_have_pages_to_themselves_and_guards_around_them(
            frames in 1_usize..40,
            frame_size in 1_usize..200_000,
            alignment in prop_oneof![
                1_usize..=Framing::MAX_ALIGNMENT,
                (0_u32..=16).prop_map(|power| 1 << power),
            ],
            prefix in 0_usize..10_000,
            page in prop_oneof![Just(4096_usize), Just(16_384), Just(65_536)],
            begins in 1_usize..1_000_000,
        ) {
            let request = Framing::new(frames, frame_size).alignment(alignment).prefix(prefix);
            let actual = request.actual().unwrap();
            let layout = FrameLayout::trapped(&actual, page).unwrap();
            prop_assert_eq!(layout.total % page, 0);

            let address = begins * page;
            let first = layout.first_prefix(address);
            let mut guarded_from = 0;
            for slot in 0..frames {
                let start = first + slot * layout.stride;
                prop_assert_eq!((address + start) % alignment, 0);
                let pages = layout.pages(first, slot);
                prop_assert_eq!((pages.start % page, pages.end % page), (0, 0));
                prop_assert!(pages.start >= guarded_from + page, "a guard before it");
                prop_assert!(pages.start <= start && start - pages.start < page);
                let end = start + prefix + actual.frame_size;
                prop_assert!(end <= pages.end && pages.end - end < page);
                if alignment.is_power_of_two() {
                    prop_assert_eq!(end, pages.end, "the guard begins where the frame ends");
                }
                guarded_from = pages.end;
            }
            prop_assert!(guarded_from + page <= layout.total, "a guard after the last");
        }

        #[test]
        fn no_input_overflows_in_a_trap(
            frames: usize, frame_size: usize, prefix: usize,
            alignment in 1_usize..=Framing::MAX_ALIGNMENT,
            page in prop_oneof![Just(4096_usize), Just(16_384), Just(65_536)],
            begins in 0_usize..1_000,
        ) {
            let request = Framing::new(frames, frame_size).alignment(alignment).prefix(prefix);
            if let Ok(layout) = FrameLayout::trapped(&request.actual().unwrap(), page) {
                prop_assert!(layout.total <= isize::MAX as usize);
                let last = layout.pages(layout.first_prefix(begins * page), frames - 1);
                prop_assert!(last.end + page <= layout.total);
            }
        }

        #[test]
        fn no_input_overflows(
            frames: usize, frame_size: usize, prefix: usize,
            alignment in 1_usize..=Framing::MAX_ALIGNMENT,
        ) {
            let request = Framing::new(frames, frame_size).alignment(alignment).prefix(prefix);
            if let Ok(layout) = FrameLayout::new(&request.actual().unwrap()) {
                let needed = frames as u128 * layout.stride as u128;
                prop_assert!(needed <= layout.total as u128);
                prop_assert!(layout.total <= isize::MAX as usize);
            }
        }
    }
}
