//! Framing (number, size, alignment and prefix of frames), its rounding, and the memory layout that
//! follows from it.
//!
//! Every size in the crate is computed and checked here, before anything is stored or allocated.
//! After [`FrameLayout::new`] has succeeded, no size computation can overflow.

#![warn(clippy::arithmetic_side_effects)]

use std::ops::{Range, RangeInclusive};

use crate::error::{CommitError, FramingError};

/// Size of a cache line in bytes.
const CACHE_LINE: usize = 64;

/// Size of one way of the first-level cache in bytes. Frames whose distance is a multiple of it
/// would compete for the same cache set.
const CACHE_WAY: usize = 4096;

/// Size in bytes of the smallest page of any supported system. The start of mapped memory is a
/// multiple of it.
pub(crate) const MIN_PAGE_SIZE: usize = 4096;

/// The number of frames in a pool, their size and alignment, and the number of bytes before each.
///
/// [`actual`](Self::actual) rounds a requested framing to the one that the pool uses. It increases
/// the frame size until the bytes of prefix and frame together are a multiple of the alignment.
///
/// ```text
/// the segment of Framing::new(3, 100).alignment(16).prefix(4), rounded to frames of 108 bytes:
///
///   base                         base + stride                base + 2 * stride
///   | pre | frame (108) .. | gap | pre | frame (108) .. | gap | pre | frame (108) ..
///   ^ a multiple of 16           ^ a multiple of 16           ^ a multiple of 16
///         ^ base + prefix: the bytes that a `Frame` dereferences to
/// ```
///
/// The *prefix start* is aligned. The frame itself is aligned only if the prefix is a multiple of
/// the alignment. If the alignment is a power of two, the gap keeps two frames from sharing a cache
/// line. If the alignment is also at most 64, the gap keeps frames of whole pages from starting in
/// the same set of the first-level cache.
///
/// Rounding and order of checks are those of `IMemAllocator::SetProperties` with
/// `ALLOCATOR_PROPERTIES`.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Framing {
    /// Number of frames in the pool.
    #[doc(alias("cBuffers", "Frames"))]
    pub frames: usize,
    /// Size of a frame in bytes, without the prefix.
    #[doc(alias("cbBuffer", "FrameSize"))]
    pub frame_size: usize,
    /// Alignment in bytes: the address of each prefix start is a multiple of it. It need not be a
    /// power of two.
    #[doc(alias("cbAlign", "FileAlignment"))]
    pub alignment: usize,
    /// Number of bytes before each frame, for headers.
    #[doc(alias = "cbPrefix")]
    pub prefix: usize,
}

impl Framing {
    /// The maximum alignment, in bytes.
    pub const MAX_ALIGNMENT: usize = 65_536;

    /// The maximum number of frames.
    pub const MAX_FRAMES: usize = 1 << 24;

    /// Creates a framing of `frames` frames of `frame_size` bytes, with an alignment of 1 and no
    /// prefix.
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

    /// Sets the alignment of prefix starts, in bytes: 1 to [`MAX_ALIGNMENT`](Self::MAX_ALIGNMENT).
    ///
    /// The value is checked by [`actual`](Self::actual).
    ///
    /// ```
    /// use ks_allocator::Framing;
    ///
    /// // 5.1 channels of 16 bits: 12 bytes per sample, which is not a power of two.
    /// assert_eq!(Framing::new(8, 1000).alignment(12).actual()?.frame_size, 1008);
    /// # Ok::<(), ks_allocator::FramingError>(())
    /// ```
    #[must_use]
    pub const fn alignment(mut self, alignment: usize) -> Self {
        self.alignment = alignment;
        self
    }

    /// Sets the number of bytes before each frame.
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

    /// Returns this framing with the frame size rounded up, so that prefix and frame together are a
    /// multiple of the alignment.
    ///
    /// The number and size of frames are not checked here. [`commit`](crate::KsAllocator::commit)
    /// rejects a framing without frames or bytes, and one that is too large to be allocated.
    ///
    /// # Errors
    ///
    /// Returns [`FramingError::Alignment`] unless the alignment is in 1..=65536.
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

    /// Returns this framing with as many frames as fit into `bytes` bytes of memory, but no more
    /// than the end of the range. Returns `None` if fewer than its start fit, or if the framing is
    /// not valid.
    ///
    /// It includes the bytes between frames, as [`SegmentInfo::bytes`](crate::SegmentInfo::bytes)
    /// does, but no guard pages and no rounding of the segment to whole pages.
    ///
    /// ```
    /// use ks_allocator::{FramePool, Framing};
    ///
    /// let framing = Framing::new(0, 1920 * 1080 * 3 / 2);
    /// let framing = framing.frames_in(32 << 20, 4..=16).expect("4 frames take 12 MiB");
    /// assert_eq!(framing.frames, 10);
    /// assert_eq!(framing.frames_in(8 << 20, 4..=16), None);
    ///
    /// let pool = FramePool::builder().frames(framing.frames).frame_size(framing.frame_size);
    /// assert!(pool.max_bytes(32 << 20).build().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frames_in(&self, bytes: usize, frames: RangeInclusive<usize>) -> Option<Self> {
        let with = |frames| Self { frames, ..*self };
        let fits = |frames| {
            let actual = with(frames).actual().ok()?;
            let layout = FrameLayout::new(&actual).ok()?;
            (layout.total <= bytes).then_some(())
        };
        let (mut fitting, max) = (*frames.start(), (*frames.end()).min(Self::MAX_FRAMES));
        if frames.is_empty() {
            return None;
        }
        fits(fitting)?;
        // The memory grows with the number of frames, so a bisection finds the largest that fits.
        let mut beyond = max.saturating_add(1);
        while beyond.saturating_sub(fitting) > 1 {
            let middle = fitting.midpoint(beyond);
            if fits(middle).is_some() {
                fitting = middle;
            } else {
                beyond = middle;
            }
        }
        Some(with(fitting))
    }

    /// Returns this framing with the size and at least the alignment of a picture. An alignment
    /// that is 0 or too large stays so, and is an error later.
    pub(crate) fn for_video(mut self, size: usize, alignment: usize) -> Self {
        self.frame_size = size;
        if self.alignment != 0 {
            let common = least_common_multiple(self.alignment, alignment);
            self.alignment = common.unwrap_or(usize::MAX);
        }
        self
    }

    /// Returns the rounded frame size, or `None` if it overflows.
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

/// Returns the greatest common divisor. That of a number and 0 is the number.
pub(crate) fn greatest_common_divisor(one: usize, two: usize) -> usize {
    let (mut larger, mut smaller) = (one, two);
    while let Some(rest) = larger.checked_rem(smaller) {
        (larger, smaller) = (smaller, rest);
    }
    larger
}

/// Returns the least common multiple, or `None` if it overflows or one of the numbers is 0.
pub(crate) fn least_common_multiple(one: usize, two: usize) -> Option<usize> {
    let multiple = one
        .checked_div(greatest_common_divisor(one, two))?
        .checked_mul(two);
    multiple.filter(|&multiple| multiple > 0)
}

/// Returns the smallest alignment that is a multiple of both, or `None` if it is larger than
/// [`Framing::MAX_ALIGNMENT`] or one of them is 0.
pub(crate) fn common_alignment(one: usize, two: usize) -> Option<usize> {
    least_common_multiple(one, two).filter(|&common| common <= Framing::MAX_ALIGNMENT)
}

/// Positions of the frames of a framing in their segment.
///
/// In a guarded layout no two frames share a page. There is a guard page before the first frame,
/// between any two frames, and after the last:
///
/// ```text
/// alignment a power of two, at most a page: a frame ends where a guard page starts
///
///   | guard page | .... pre | frame ...... | guard page | .... pre | frame ...... | guard page |
///                ^ page     ^ aligned      ^ page
///
/// any other alignment: a frame ends less than a page before the next guard page
///
///   | guard page | .. | . pre | frame | .. | guard page | .. | . pre | frame | .. | guard page |
///                     ^ page  ^ aligned    ^ page
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameLayout {
    pub(crate) framing: Framing,
    /// Bytes from one prefix start to the next: a multiple of the alignment.
    pub(crate) stride: usize,
    /// Size of the segment in bytes. All frames fit, whatever page the memory starts at.
    pub(crate) total: usize,
    /// Minimum number of bytes from the start of the segment to the first prefix start.
    lead: usize,
    /// Size of a page in bytes in a guarded layout, otherwise 0.
    page: usize,
}

impl FrameLayout {
    /// Computes the layout of a framing that [`Framing::actual`] has rounded.
    ///
    /// A layout has at least one frame of at least one byte, and its total size is at most
    /// `isize::MAX`.
    pub(crate) fn new(framing: &Framing) -> Result<Self, CommitError> {
        Self::layout_for(framing, 0)
    }

    /// Computes the guarded layout of a rounded framing, for pages of `page` bytes.
    pub(crate) fn guarded(framing: &Framing, page: usize) -> Result<Self, CommitError> {
        Self::layout_for(framing, page)
    }

    /// Checks the framing and computes its layout: guarded if `page` is not 0.
    fn layout_for(framing: &Framing, page: usize) -> Result<Self, CommitError> {
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
            0 => Self::without_guards(framing),
            page => Self::with_guards(framing, page),
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

    fn without_guards(framing: &Framing) -> Option<Self> {
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

    fn with_guards(framing: &Framing, page: usize) -> Option<Self> {
        let alignment = framing.alignment;
        // A rounded framing is such a multiple already. One that could not be rounded is too large.
        let used = framing
            .prefix
            .checked_add(framing.frame_size)?
            .checked_next_multiple_of(alignment)?;
        let every_page_is_aligned = alignment.is_power_of_two() && alignment <= page;
        let (lead, stride, slack) = if every_page_is_aligned {
            let stride = used.checked_next_multiple_of(page)?.checked_add(page)?;
            (stride.checked_sub(used)?, stride, 0)
        } else {
            // One guard page, and less than a page before and after the frame.
            let needed = used.checked_add(page.checked_mul(3)?)?;
            let stride = needed.checked_next_multiple_of(alignment)?;
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

    /// Returns the number of bytes from `address`, where the memory starts, to the first prefix
    /// start.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the alignment is 1 to 65536, and `total` has room for the lead and an alignment"
    )]
    pub(crate) fn first_prefix(&self, address: usize) -> usize {
        let alignment = self.framing.alignment;
        let past = (address % alignment + self.lead % alignment) % alignment;
        self.lead + (alignment - past) % alignment
    }

    /// Returns the size of prefix and frame together, in bytes.
    #[expect(clippy::arithmetic_side_effects, reason = "less than `total`")]
    pub(crate) fn used(&self) -> usize {
        self.framing.prefix + self.framing.frame_size
    }

    /// Returns the pages of the frame in `slot` as a range of byte offsets in the segment.
    ///
    /// `first` is the offset of the first prefix start. The layout is guarded, and the slot exists.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "all values are at most `total`, and `page` is not 0 in a guarded layout"
    )]
    pub(crate) fn pages(&self, first: usize, slot: usize) -> Range<usize> {
        let start = first + slot * self.stride;
        start - start % self.page..(start + self.used()).next_multiple_of(self.page)
    }
}

/// Returns the distance of two frames of `used` bytes, prefix included. It contains the gap that
/// keeps them out of each other's cache lines and sets.
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

/// Returns the maximum number of bytes before the first prefix start.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the alignment is at least 1"
)]
fn slack(alignment: usize) -> usize {
    let every_page_is_aligned = alignment.is_power_of_two() && alignment <= MIN_PAGE_SIZE;
    if every_page_is_aligned {
        0
    } else {
        alignment - 1
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounding_matches_the_reference_implementation() {
        // frame_size, alignment, prefix, and the rounded frame size.
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
    fn exactly_the_alignments_in_range_are_accepted() {
        for alignment in 1..=Framing::MAX_ALIGNMENT {
            assert!(
                Framing::new(1, 1).alignment(alignment).actual().is_ok(),
                "{alignment}"
            );
        }
        for alignment in [0, 65_537, 131_073, usize::MAX] {
            let rejected = Framing::new(1, 1).alignment(alignment).actual();
            assert_eq!(rejected, Err(FramingError::Alignment { alignment }));
        }
    }

    #[test]
    fn a_framing_that_overflows_is_not_rounded_and_has_no_layout() {
        let request = Framing::new(2, usize::MAX - 1).alignment(64).prefix(7);
        assert_eq!(request.actual(), Ok(request));
        assert!(matches!(
            FrameLayout::new(&request),
            Err(CommitError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_framing_without_frames_or_bytes_is_not_set() {
        for framing in [Framing::default(), Framing::new(0, 1), Framing::new(1, 0)] {
            let error = FrameLayout::new(&framing).unwrap_err();
            assert!(
                matches!(error, CommitError::FramingNotSet { .. }),
                "{framing:?}: {error}"
            );
        }
    }

    #[test]
    fn frames_of_whole_pages_start_in_different_cache_sets_unless_aligned_to_pages() {
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

            let address = page * MIN_PAGE_SIZE;
            let first = address + layout.first_prefix(address);
            for frame in 0..frames {
                prop_assert_eq!((first + frame * layout.stride) % alignment, 0);
            }
            let end = first + (frames - 1) * layout.stride + prefix + actual.frame_size;
            prop_assert!(end <= address + layout.total);
        }

        #[test]
        fn guarded_frames_share_no_page_and_have_guard_pages_around_them(
            frames in 1_usize..40,
            frame_size in 1_usize..200_000,
            alignment in prop_oneof![
                1_usize..=Framing::MAX_ALIGNMENT,
                (0_u32..=16).prop_map(|power| 1 << power),
            ],
            prefix in 0_usize..10_000,
            page in prop_oneof![Just(4096_usize), Just(16_384), Just(65_536)],
            start_page in 1_usize..1_000_000,
        ) {
            let request = Framing::new(frames, frame_size).alignment(alignment).prefix(prefix);
            let actual = request.actual().unwrap();
            let layout = FrameLayout::guarded(&actual, page).unwrap();
            prop_assert_eq!(layout.total % page, 0);

            let address = start_page * page;
            let first = layout.first_prefix(address);
            let mut guard_start = 0;
            for slot in 0..frames {
                let start = first + slot * layout.stride;
                prop_assert_eq!((address + start) % alignment, 0);
                let pages = layout.pages(first, slot);
                prop_assert_eq!((pages.start % page, pages.end % page), (0, 0));
                prop_assert!(pages.start >= guard_start + page, "a guard page before the frame");
                prop_assert!(pages.start <= start && start - pages.start < page);
                let end = start + prefix + actual.frame_size;
                prop_assert!(end <= pages.end && pages.end - end < page);
                if alignment.is_power_of_two() {
                    prop_assert_eq!(end, pages.end, "a guard page starts where the frame ends");
                }
                guard_start = pages.end;
            }
            prop_assert!(guard_start + page <= layout.total, "a guard page after the last frame");
        }

        #[test]
        fn no_input_overflows_a_guarded_layout(
            frames: usize, frame_size: usize, prefix: usize,
            alignment in 1_usize..=Framing::MAX_ALIGNMENT,
            page in prop_oneof![Just(4096_usize), Just(16_384), Just(65_536)],
            start_page in 0_usize..1_000,
        ) {
            let request = Framing::new(frames, frame_size).alignment(alignment).prefix(prefix);
            if let Ok(layout) = FrameLayout::guarded(&request.actual().unwrap(), page) {
                prop_assert!(layout.total <= isize::MAX as usize);
                let last = layout.pages(layout.first_prefix(start_page * page), frames - 1);
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

        #[test]
        fn as_many_frames_fit_as_a_search_finds(
            frame_size in 0..300_usize,
            alignment in 0..70_usize,
            prefix in 0..20_usize,
            bytes in 0..4000_usize,
            min in 0..20_usize,
            max in 0..40_usize,
        ) {
            let framing = Framing::new(0, frame_size).alignment(alignment).prefix(prefix);
            let fits = |&frames: &usize| {
                let actual = Framing { frames, ..framing }.actual();
                let layout = actual.ok().and_then(|actual| FrameLayout::new(&actual).ok());
                layout.is_some_and(|layout| layout.total <= bytes)
            };
            let expected = if fits(&min) { (min..=max).rev().find(fits) } else { None };
            let found = framing.frames_in(bytes, min..=max);
            prop_assert_eq!(found.map(|found| found.frames), expected);
        }
    }
}
