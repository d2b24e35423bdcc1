//! The shape of a pool: what is asked for, what is given, and where each frame lies.
//!
//! Every size in the crate is computed here, checked, before anything is stored or allocated.
//! Past [`FrameLayout::new`] nothing can overflow.

#![warn(clippy::arithmetic_side_effects)]

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameLayout {
    pub(crate) framing: Framing,
    /// Bytes from one prefix start to the next: a multiple of the alignment.
    pub(crate) stride: usize,
    /// Bytes that hold all frames, wherever the memory begins.
    pub(crate) total: usize,
}

impl FrameLayout {
    /// The layout of a framing that [`Framing::actual`] has rounded. At least one frame of at least
    /// one byte, and every sum and product at most `isize::MAX`.
    pub(crate) fn new(framing: &Framing) -> Result<Self, CommitError> {
        let Framing {
            frames,
            frame_size,
            alignment,
            prefix,
        } = *framing;
        if frames == 0 || frame_size == 0 || alignment == 0 {
            return Err(CommitError::FramingNotSet { frames, frame_size });
        }
        Self::checked(framing).ok_or(CommitError::TooLarge {
            frames,
            frame_size,
            alignment,
            prefix,
        })
    }

    fn checked(framing: &Framing) -> Option<Self> {
        let used = framing.prefix.checked_add(framing.frame_size)?;
        let stride = stride(used, framing.alignment)?;
        let total = framing
            .frames
            .checked_mul(stride)?
            .checked_add(slack(framing.alignment))?;
        let fits = framing.frames <= Framing::MAX_FRAMES && isize::try_from(total).is_ok();
        fits.then_some(Self {
            framing: *framing,
            stride,
            total,
        })
    }

    /// Bytes from `address`, where the memory begins, to the first prefix start.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the alignment is at least 1"
    )]
    pub(crate) fn first_prefix(&self, address: usize) -> usize {
        let alignment = self.framing.alignment;
        (alignment - address % alignment) % alignment
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
