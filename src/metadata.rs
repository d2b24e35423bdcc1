//! Metadata of a frame: times, flags, sequence number.

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

/// Metadata of a frame. It is reset to its default when the frame is released.
///
/// Times are in 100 ns ticks, as in DirectShow and kernel streaming.
///
/// ```
/// use ks_allocator::{FrameFlags, FramePool};
///
/// let pool = FramePool::builder().frames(1).frame_size(1024).build()?;
/// let mut frame = pool.try_acquire()?;
/// frame.metadata_mut().presentation_time = Some(40 * 10_000); // 40 ms
/// frame.metadata_mut().flags |= FrameFlags::SYNC_POINT;
/// assert_eq!(frame.metadata().presentation_time, Some(400_000));
///
/// drop(frame);
/// assert_eq!(*pool.try_acquire()?.metadata(), Default::default());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("REFERENCE_TIME", "KSTIME", "AM_SAMPLE2_PROPERTIES", "KSSTREAM_HEADER"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Presentation time, in 100 ns ticks since the start of the stream. It may be negative.
    #[doc(alias("tStart", "PresentationTime"))]
    pub presentation_time: Option<i64>,
    /// Duration of the presentation, in 100 ns ticks.
    #[doc(alias("Duration"))]
    pub duration: Option<i64>,
    /// Flags of the frame.
    #[doc(alias("dwSampleFlags", "OptionsFlags"))]
    pub flags: FrameFlags,
    /// Sequence number of the frame in its stream. The source sets it; the crate does not count.
    pub sequence: u64,
    /// Value for the application's own use. The crate only resets it.
    pub user: u64,
}
