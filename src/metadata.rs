//! What travels with a frame beside its bytes.

use bitflags::bitflags;

bitflags! {
    /// Properties of a frame that the next stage has to know.
    ///
    /// The values are those of `AM_SAMPLE_*` and of their twins `KSSTREAM_HEADER_OPTIONSF_*`.
    /// The bits that only say whether a time is valid have no flag here: a time that is not valid
    /// is `None` in [`Metadata`].
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
        /// To be processed, not to be shown.
        #[doc(alias("AM_SAMPLE_PREROLL", "KSSTREAM_HEADER_OPTIONSF_PREROLL"))]
        const PREROLL = 0x002;
        /// The data does not follow on from the frame before.
        #[doc(alias("AM_SAMPLE_DATADISCONTINUITY", "KSSTREAM_HEADER_OPTIONSF_DATADISCONTINUITY"))]
        const DISCONTINUITY = 0x004;
        /// The times do not follow on from the frame before.
        #[doc(alias("AM_SAMPLE_TIMEDISCONTINUITY", "KSSTREAM_HEADER_OPTIONSF_TIMEDISCONTINUITY"))]
        const TIME_DISCONTINUITY = 0x040;
        /// May be thrown away when the stream pauses.
        #[doc(alias("AM_SAMPLE_FLUSH_ON_PAUSE", "KSSTREAM_HEADER_OPTIONSF_FLUSHONPAUSE"))]
        const FLUSH_ON_PAUSE = 0x080;
        /// The last frame of the stream.
        #[doc(alias("AM_SAMPLE_ENDOFSTREAM", "KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM"))]
        const END_OF_STREAM = 0x200;
    }
}

/// What a frame says about itself. Cleared when the frame goes back to its pool.
///
/// Times are in units of 100 ns, as everywhere in DirectShow and kernel streaming.
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
    /// When the frame is to be presented, in 100 ns since the start of the stream; may be negative.
    #[doc(alias("tStart", "PresentationTime"))]
    pub presentation_time: Option<i64>,
    /// For how long, in 100 ns.
    #[doc(alias("Duration"))]
    pub duration: Option<i64>,
    /// See [`FrameFlags`].
    #[doc(alias("dwSampleFlags", "OptionsFlags"))]
    pub flags: FrameFlags,
    /// The frame's number in its stream. The crate does not count; the source does.
    pub sequence: u64,
    /// A word that is the user's own.
    pub user: u64,
}
