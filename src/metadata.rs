//! Metadata of a frame: times, flags, sequence number.

use std::num::NonZeroU32;

use bitflags::bitflags;

bitflags! {
    /// Flags of a frame, for the next stage of the pipeline.
    ///
    /// The values are those of `AM_SAMPLE_*` and `KSSTREAM_HEADER_OPTIONSF_*`. The bits that mark a
    /// time as valid have no flag here: an invalid time is `None` in [`Metadata`].
    ///
    /// ```
    /// use ks_allocator::FrameFlags;
    ///
    /// let flags = FrameFlags::SYNC_POINT | FrameFlags::DISCONTINUITY;
    /// assert!(flags.contains(FrameFlags::SYNC_POINT));
    /// assert_eq!(flags.bits(), 0x5);
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(transparent))]
    pub struct FrameFlags: u32 {
        /// Decoding can start here (a key frame).
        #[doc(alias("AM_SAMPLE_SPLICEPOINT", "KSSTREAM_HEADER_OPTIONSF_SPLICEPOINT"))]
        const SYNC_POINT = 0x001;
        /// The frame is processed, but not presented.
        #[doc(alias("AM_SAMPLE_PREROLL", "KSSTREAM_HEADER_OPTIONSF_PREROLL"))]
        const PREROLL = 0x002;
        /// The data does not continue that of the previous frame.
        #[doc(alias("AM_SAMPLE_DATADISCONTINUITY", "KSSTREAM_HEADER_OPTIONSF_DATADISCONTINUITY"))]
        const DISCONTINUITY = 0x004;
        /// The times do not continue those of the previous frame.
        #[doc(alias("AM_SAMPLE_TIMEDISCONTINUITY", "KSSTREAM_HEADER_OPTIONSF_TIMEDISCONTINUITY"))]
        const TIME_DISCONTINUITY = 0x040;
        /// The frame may be discarded when the stream pauses.
        #[doc(alias("AM_SAMPLE_FLUSH_ON_PAUSE", "KSSTREAM_HEADER_OPTIONSF_FLUSHONPAUSE"))]
        const FLUSH_ON_PAUSE = 0x080;
        /// The frame is the last of the stream.
        #[doc(alias("AM_SAMPLE_ENDOFSTREAM", "KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM"))]
        const END_OF_STREAM = 0x200;
    }
}

/// Unit of the times in [`Metadata`]: a fraction of a second.
///
/// ```
/// use ks_allocator::TimeBase;
///
/// let mpeg = TimeBase::new(1, 90_000).expect("not 0");
/// assert_eq!(mpeg.convert(3_003, TimeBase::NANOSECONDS), Some(33_366_667));
/// assert_eq!(TimeBase::default(), TimeBase::TICKS_100_NS);
/// assert_eq!(TimeBase::new(1, 0), None);
/// ```
#[doc(alias = "AVRational")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TimeBase {
    numerator: NonZeroU32,
    denominator: NonZeroU32,
}

impl TimeBase {
    /// 100 ns, the unit of DirectShow and kernel streaming.
    pub const TICKS_100_NS: Self = Self::one_in(10_000_000);

    /// 1 ns, the unit of GStreamer.
    pub const NANOSECONDS: Self = Self::one_in(1_000_000_000);

    /// `denominator` is not 0.
    const fn one_in(denominator: u32) -> Self {
        match NonZeroU32::new(denominator) {
            Some(denominator) => Self {
                numerator: NonZeroU32::MIN,
                denominator,
            },
            None => unreachable!(),
        }
    }

    /// Makes the unit of `numerator` / `denominator` seconds, or `None` if one of them is 0.
    ///
    /// ```
    /// use ks_allocator::TimeBase;
    ///
    /// let frame_of_ntsc = TimeBase::new(1_001, 30_000).expect("not 0");
    /// assert_eq!(frame_of_ntsc.convert(30, TimeBase::TICKS_100_NS), Some(10_010_000));
    /// ```
    #[must_use]
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        match (NonZeroU32::new(numerator), NonZeroU32::new(denominator)) {
            (Some(numerator), Some(denominator)) => Some(Self {
                numerator,
                denominator,
            }),
            _ => None,
        }
    }

    /// Returns the numerator.
    ///
    /// ```
    /// # use ks_allocator::TimeBase;
    /// assert_eq!(TimeBase::NANOSECONDS.numerator(), 1);
    /// ```
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator.get()
    }

    /// Returns the denominator.
    ///
    /// ```
    /// # use ks_allocator::TimeBase;
    /// assert_eq!(TimeBase::TICKS_100_NS.denominator(), 10_000_000);
    /// ```
    #[must_use]
    pub const fn denominator(self) -> u32 {
        self.denominator.get()
    }

    /// Converts a time from this unit to another, rounded to the nearest, and away from 0 from the
    /// middle of two. Returns `None` if it overflows. Between equal units, no time changes.
    ///
    /// ```
    /// use ks_allocator::TimeBase;
    ///
    /// let (ns, ticks) = (TimeBase::NANOSECONDS, TimeBase::TICKS_100_NS);
    /// assert_eq!(ns.convert(-150, ticks), Some(-2));
    /// assert_eq!(ticks.convert(i64::MIN, ticks), Some(i64::MIN));
    /// assert_eq!(ticks.convert(i64::MAX, ns), None);
    /// ```
    #[doc(alias = "av_rescale_q")]
    #[must_use]
    pub fn convert(self, time: i64, to: Self) -> Option<i64> {
        let wide = |number: NonZeroU32| i128::from(number.get());
        // Less than 2^127: the time is at most 2^63, and each of the numbers less than 2^32.
        let numerator = i128::from(time) * wide(self.numerator) * wide(to.denominator);
        let denominator = wide(self.denominator) * wide(to.numerator);
        let half = numerator.signum() * (denominator / 2);
        i64::try_from((numerator + half) / denominator).ok()
    }
}

impl Default for TimeBase {
    /// Returns [`TICKS_100_NS`](Self::TICKS_100_NS).
    fn default() -> Self {
        Self::TICKS_100_NS
    }
}

/// Metadata of a frame. It is reset to its default when the frame is released.
///
/// Times are in 100 ns ticks, as in DirectShow and kernel streaming, unless
/// [`time_base`](Self::time_base) is set to another unit. So times of other systems are kept as
/// they are. A frame that becomes a COM sample gets times in ticks, rounded.
///
/// ```
/// use ks_allocator::{FrameFlags, FramePool, TimeBase};
///
/// let pool = FramePool::builder().frames(1).frame_size(1024).build()?;
/// let mut frame = pool.try_acquire()?;
/// frame.metadata_mut().presentation_time = Some(40 * 10_000); // 40 ms
/// frame.metadata_mut().flags |= FrameFlags::SYNC_POINT;
/// assert_eq!(frame.metadata().presentation_time, Some(400_000));
///
/// let metadata = frame.metadata_mut();
/// metadata.time_base = TimeBase::new(1, 90_000).expect("not 0");
/// metadata.presentation_time = Some(3_600); // 40 ms
/// assert_eq!(metadata.presentation_time_in(TimeBase::NANOSECONDS), Some(40_000_000));
///
/// drop(frame);
/// assert_eq!(*pool.try_acquire()?.metadata(), Default::default());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("REFERENCE_TIME", "KSTIME", "AM_SAMPLE2_PROPERTIES", "KSSTREAM_HEADER"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Metadata {
    /// Presentation time since the start of the stream. It may be negative.
    #[doc(alias("tStart", "PresentationTime", "pts"))]
    pub presentation_time: Option<i64>,
    /// Time at which the frame is decoded, if it is compressed and differs.
    #[doc(alias = "dts")]
    pub decode_time: Option<i64>,
    /// Duration of the presentation.
    #[doc(alias("Duration"))]
    pub duration: Option<i64>,
    /// Unit of all times.
    pub time_base: TimeBase,
    /// Flags of the frame.
    #[doc(alias("dwSampleFlags", "OptionsFlags"))]
    pub flags: FrameFlags,
    /// Sequence number of the frame in its stream. The source sets it; the crate does not count.
    pub sequence: u64,
    /// Value for the application's own use. The crate only resets it.
    pub user: u64,
    /// Second value for the application's own use.
    pub user2: u64,
}

impl Metadata {
    /// Returns the presentation time in another unit, or `None` if there is none or it overflows.
    ///
    /// ```
    /// # use ks_allocator::{Metadata, TimeBase};
    /// let mut metadata = Metadata::default();
    /// metadata.presentation_time = Some(5);
    /// assert_eq!(metadata.presentation_time_in(TimeBase::NANOSECONDS), Some(500));
    /// ```
    #[must_use]
    pub fn presentation_time_in(&self, unit: TimeBase) -> Option<i64> {
        self.time_base.convert(self.presentation_time?, unit)
    }

    /// Returns the decode time in another unit, or `None` if there is none or it overflows.
    ///
    /// ```
    /// # use ks_allocator::{Metadata, TimeBase};
    /// let mut metadata = Metadata::default();
    /// metadata.decode_time = Some(-5);
    /// assert_eq!(metadata.decode_time_in(TimeBase::NANOSECONDS), Some(-500));
    /// ```
    #[must_use]
    pub fn decode_time_in(&self, unit: TimeBase) -> Option<i64> {
        self.time_base.convert(self.decode_time?, unit)
    }

    /// Returns the duration in another unit, or `None` if there is none or it overflows.
    ///
    /// ```
    /// # use ks_allocator::{Metadata, TimeBase};
    /// let mut metadata = Metadata::default();
    /// metadata.duration = Some(400_000);
    /// assert_eq!(metadata.duration_in(TimeBase::NANOSECONDS), Some(40_000_000));
    /// ```
    #[must_use]
    pub fn duration_in(&self, unit: TimeBase) -> Option<i64> {
        self.time_base.convert(self.duration?, unit)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_same_after_a_conversion_to_a_finer_unit_and_back() {
        let coarse = [(1, 90_000), (1_001, 30_000), (1, 48_000), (1, 1_000)];
        for base in coarse.map(|(numerator, denominator)| TimeBase::new(numerator, denominator)) {
            let base = base.unwrap();
            for time in [0, 1, -1, 12_345, -99_999, 1 << 30] {
                let fine = base.convert(time, TimeBase::NANOSECONDS).unwrap();
                assert_eq!(TimeBase::NANOSECONDS.convert(fine, base), Some(time));
            }
        }
    }

    #[test]
    fn the_largest_units_and_times_do_not_overflow_inside() {
        let large = TimeBase::new(u32::MAX, 1).unwrap();
        let small = TimeBase::new(1, u32::MAX).unwrap();
        for time in [i64::MIN, i64::MAX] {
            assert_eq!(large.convert(time, small), None);
            assert_eq!(small.convert(time, large), Some(time.signum()));
            assert_eq!(large.convert(time, large), Some(time));
        }
    }
}
