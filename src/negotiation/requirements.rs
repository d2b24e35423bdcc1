//! Requirements of one party.

use std::fmt;

use crate::mode::AllocatorMode;
use crate::video::VideoFormat;

use super::need::{Listed, Need, StrideNeed};
use super::sizes::Sizes;

/// Requirements of one party: a camera, a filter, an encoder, a screen. They display as one
/// sentence.
///
/// ```
/// use ks_allocator::{AllocatorMode, Requirements, VideoFormat, negotiate};
///
/// let camera = Requirements::new("camera")
///     .picture(1920, 1080)
///     .formats([VideoFormat::Yuy2, VideoFormat::Nv12])
///     .stride_alignment(64);
/// let encoder = Requirements::new("encoder").formats([VideoFormat::Nv12]).holds(4);
/// let screen = Requirements::new("screen").stride_alignment(256).holds(2);
///
/// assert_eq!(encoder.to_string(), "`encoder` needs the format NV12 and 4 frames for itself");
/// let agreement = negotiate(&[camera, encoder, screen])?;
/// let layout = agreement.video_layout().expect("the camera names a picture");
/// assert_eq!(layout.format(), VideoFormat::Nv12);
/// assert_eq!(layout.planes()[0].stride, 2048);
/// assert_eq!(agreement.framing().frames, 7); // 4 + 2, and 1 that the camera fills
/// # Ok::<(), ks_allocator::Conflict>(())
/// ```
#[doc(alias("KSALLOCATOR_FRAMING_EX", "ALLOCATION query", "SPA_PARAM_Buffers"))]
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "requirements have an effect when they are negotiated"]
pub struct Requirements {
    pub(super) name: String,
    pub(super) needs: Vec<Need>,
    /// Weight and needs of each wish.
    pub(super) wishes: Vec<(u32, Vec<Need>)>,
}

impl Requirements {
    /// Returns the requirements of a party that accepts everything.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let screen = Requirements::new("screen").sizes(Sizes::exactly(64));
    /// assert_eq!(negotiate(&[screen])?.framing().frame_size, 64);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            needs: Vec::new(),
            wishes: Vec::new(),
        }
    }

    fn with(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Requires a picture of this size in pixels.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, VideoFormat, negotiate};
    /// let camera = Requirements::new("camera").picture(640, 480).formats([VideoFormat::Nv12]);
    /// let layout = *negotiate(&[camera])?.video_layout().expect("a picture and a format");
    /// assert_eq!((layout.width(), layout.size()), (640, 460_800));
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn picture(self, width: u32, height: u32) -> Self {
        self.with(Need::Picture { width, height })
    }

    /// Requires one of these formats. Those that the party likes best come first.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, VideoFormat, negotiate};
    /// let camera = Requirements::new("camera").picture(2, 2);
    /// let camera = camera.formats([VideoFormat::Nv12, VideoFormat::I420]);
    /// let other = Requirements::new("encoder").formats([VideoFormat::I420, VideoFormat::Yv12]);
    /// let agreement = negotiate(&[camera, other])?;
    /// assert_eq!(agreement.format(), Some(VideoFormat::I420));
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn formats(self, formats: impl IntoIterator<Item = VideoFormat>) -> Self {
        self.with(Need::Formats(formats.into_iter().collect()))
    }

    /// Requires that the strides of all planes are multiples of `multiple` bytes, and that all rows
    /// begin at such multiples. So the frames get this alignment, too, and it is at most 65,536.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, VideoFormat, negotiate};
    /// let camera = Requirements::new("camera").picture(100, 2).formats([VideoFormat::Gray8]);
    /// let parties = [camera.stride_alignment(48), Requirements::new("gpu").stride_alignment(32)];
    /// let layout = *negotiate(&parties)?.video_layout().expect("a picture and a format");
    /// assert_eq!(layout.planes()[0].stride, 192); // of 96
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn stride_alignment(self, multiple: usize) -> Self {
        self.stride(None, multiple, 0, usize::MAX)
    }

    /// Requires that the strides of all planes are at most `max` bytes.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, VideoFormat, negotiate};
    /// let camera = Requirements::new("camera").picture(1920, 1080).formats([VideoFormat::Nv12]);
    /// let parties =
    ///     [camera.stride_alignment(256), Requirements::new("encoder").max_stride(1_984)];
    /// assert_eq!(
    ///     negotiate(&parties).unwrap_err().to_string(),
    ///     "`camera` needs a picture of 1,920 x 1,080 pixels, the format NV12 and a stride that \
    ///      is a multiple of 256, `encoder` needs a stride that is at most 1,984 bytes: no \
    ///      multiple of 256 lies between 1,920 and 1,984"
    /// );
    /// ```
    pub fn max_stride(self, max: usize) -> Self {
        self.stride(None, 1, 0, max)
    }

    /// Requires a stride that is a multiple of `multiple` and from `min` to `max` bytes, of one
    /// plane, or of all if `plane` is `None`.
    ///
    /// The frames get the alignment `multiple`, so it is at most 65,536. A plane begins where the
    /// one before it ends. So a requirement for one plane is about the distance of its rows: where
    /// they begin depends on the strides of the planes before it. Rows of all planes begin at
    /// multiples with [`stride_alignment`](Self::stride_alignment).
    ///
    /// ```
    /// # use ks_allocator::{Requirements, VideoFormat, negotiate};
    /// let camera = Requirements::new("camera").picture(100, 2).formats([VideoFormat::I420]);
    /// let layout = *negotiate(&[camera.stride(Some(1), 1, 60, 64)])?.video_layout().unwrap();
    /// assert_eq!((layout.planes()[0].stride, layout.planes()[1].stride), (100, 60));
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn stride(self, plane: Option<usize>, multiple: usize, min: usize, max: usize) -> Self {
        self.with(Need::Stride(StrideNeed {
            plane,
            multiple,
            min,
            max,
        }))
    }

    /// Requires that the strides of chroma planes follow from that of luma, as in V4L2 and in
    /// DirectShow.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, VideoFormat, negotiate};
    /// let camera = Requirements::new("camera").picture(10, 2).formats([VideoFormat::I420]);
    /// let camera = camera.stride_alignment(4).derived_strides();
    /// let layout = *negotiate(&[camera])?.video_layout().expect("a picture and a format");
    /// assert_eq!((layout.planes()[0].stride, layout.planes()[1].stride), (16, 8));
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn derived_strides(self) -> Self {
        self.with(Need::DerivedStrides)
    }

    /// Requires one of these frame sizes. It includes what lies behind a picture.
    ///
    /// A minimum of 0 does not say how large a frame is: another party has to.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::between(100, 500).in_steps_of(6));
    /// let two = Requirements::new("two").sizes(Sizes::between(101, 500).in_steps_of(4));
    /// let error = negotiate(&[one, two]).unwrap_err();
    /// assert!(error.to_string().ends_with("no size is on the steps of both"));
    /// ```
    pub fn sizes(self, sizes: Sizes) -> Self {
        self.with(Need::Sizes(sizes))
    }

    /// Requires this alignment of the frames in bytes, from 1 to 65,536. A
    /// [prefix](Self::prefix) before the frame has it, too.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::exactly(480)).alignment(16);
    /// let two = Requirements::new("two").alignment(48);
    /// assert_eq!(negotiate(&[one, two])?.framing().alignment, 48);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn alignment(self, alignment: usize) -> Self {
        self.with(Need::Alignment(alignment))
    }

    /// Requires that each frame lies in whole pages of its own. The frames are then as far apart as
    /// memory protection, dma-bufs and pinned memory need it. `page_size` is that of the system, in
    /// bytes. A prefix takes whole pages before those of its frame.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, Requirements, Sizes, negotiate};
    /// let camera = Requirements::new("camera").sizes(Sizes::exactly(5_000)).holds(1);
    /// let device = Requirements::new("device").whole_pages(4_096);
    /// let agreement = negotiate(&[camera, device])?;
    ///
    /// let pool = FramePool::builder().agreement(&agreement).build()?;
    /// assert_eq!(pool.frame_len(), 5_000);
    /// let frames = [pool.acquire()?, pool.acquire()?];
    /// assert!(frames.iter().all(|frame| frame.as_ptr().addr() % 4_096 == 0));
    /// assert!(frames.iter().all(|frame| frame.capacity() == 8_192));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("dma-buf", "udmabuf"))]
    pub fn whole_pages(self, page_size: usize) -> Self {
        self.with(Need::WholePages(page_size))
    }

    /// Requires at least this number of bytes before each frame. The prefix becomes a multiple of
    /// the alignment, so that it does not shift the frame behind it.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, Requirements, Sizes, negotiate};
    /// let sender = Requirements::new("sender").sizes(Sizes::exactly(1500)).prefix(42);
    /// assert_eq!(negotiate(&[sender.clone()])?.framing().prefix, 42);
    ///
    /// let agreement = negotiate(&[sender, Requirements::new("camera").alignment(64)])?;
    /// assert_eq!(agreement.framing().prefix, 64);
    /// let pool = FramePool::builder().agreement(&agreement).build()?;
    /// assert_eq!(pool.acquire()?.as_ptr().addr() % 64, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefix(self, prefix: usize) -> Self {
        self.with(Need::Prefix(prefix))
    }

    /// Requires one of these modes. Those that the party likes best come first.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, Requirements, Sizes, negotiate};
    /// let driver = Requirements::new("driver").modes([AllocatorMode::Kernel]);
    /// let agreement = negotiate(&[driver.sizes(Sizes::exactly(64))])?;
    /// assert_eq!(agreement.mode(), AllocatorMode::Kernel);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn modes(self, modes: impl IntoIterator<Item = AllocatorMode>) -> Self {
        self.with(Need::Modes(modes.into_iter().collect()))
    }

    /// States how many frames the party keeps until it gets further ones: the reference frames of a
    /// codec, the picture on a screen, the queue in front of a network. 0 by default.
    ///
    /// The pool gets the sum of these numbers, and 1 more, which the source can fill. This number
    /// cannot deadlock: if all parties together keep as many frames as they may, one frame is left,
    /// which the source fills and passes on, and the party that gets it gives another one away.
    /// With one frame fewer, all frames may be kept, and no party ever gets another one. This also
    /// holds for branches that share frames, as they may keep different ones. A source that fills
    /// several frames at a time states those beyond the first.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let encoder = Requirements::new("encoder").sizes(Sizes::exactly(64)).holds(4);
    /// let screen = Requirements::new("screen").holds(2);
    /// let agreement = negotiate(&[encoder, screen])?;
    /// assert_eq!(agreement.framing().frames, 7);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn holds(self, frames: usize) -> Self {
        self.holds_between(frames, frames)
    }

    /// States how many frames the party keeps until it gets further ones: at least `min`, which it
    /// needs to work, and at most `max`, which it likes to keep.
    ///
    /// If the pool can have enough frames for the maximum of all parties, each may keep its
    /// maximum. If it can have only fewer, but enough for all minimums, the pool gets as many as it
    /// can have. Each party then gets its minimum, and the other frames are shared out one by one,
    /// in the order of the names. [`Agreement::held_by`](super::Agreement::held_by) says how many
    /// each party may keep: with more, the pipeline could deadlock. A party that gets less than its
    /// maximum has an [unmet wish](super::Agreement::unmet_wishes). Only
    /// [`max_frames`](Self::max_frames) and the address space limit the pool, not the memory that
    /// there is.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let camera = Requirements::new("camera").sizes(Sizes::exactly(64)).max_frames(6);
    /// let encoder = Requirements::new("encoder").holds_between(2, 8);
    /// let screen = Requirements::new("screen").holds(1);
    /// let agreement = negotiate(&[camera.clone(), encoder, screen])?;
    /// assert_eq!(agreement.framing().frames, 6);
    /// assert_eq!(agreement.held_by().collect::<Vec<_>>(), [("encoder", 4), ("screen", 1)]);
    /// assert_eq!(
    ///     agreement.unmet_wishes()[0].conflict.to_string(),
    ///     "`camera` needs at most 6 frames, `encoder` wants 8 frames for itself: that is 9 \
    ///      frames with the one that the source fills"
    /// );
    /// assert!(negotiate(&[camera, Requirements::new("encoder").holds_between(6, 8)]).is_err());
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn holds_between(self, min: usize, max: usize) -> Self {
        self.with(Need::Holds { min, max })
    }

    /// Requires a pool of at least this number of frames.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let driver = Requirements::new("driver").sizes(Sizes::exactly(64)).min_frames(4);
    /// let encoder = Requirements::new("encoder").holds(2);
    /// assert_eq!(negotiate(&[driver.clone(), encoder.clone()])?.framing().frames, 4);
    /// assert_eq!(negotiate(&[driver, encoder.holds(4)])?.framing().frames, 7);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn min_frames(self, frames: usize) -> Self {
        self.with(Need::MinFrames(frames))
    }

    /// Requires a pool of at most this number of frames.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let driver = Requirements::new("driver").sizes(Sizes::exactly(64)).max_frames(4);
    /// let error = negotiate(&[driver, Requirements::new("encoder").holds(4)]).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "`driver` needs at most 4 frames, `encoder` needs 4 frames for itself: that is 5 \
    ///      frames with the one that the source fills"
    /// );
    /// ```
    pub fn max_frames(self, frames: usize) -> Self {
        self.with(Need::MaxFrames(frames))
    }

    /// Requires that the party itself makes the pool: it can use no memory but its own. At most one
    /// party can require this. [`Agreement::allocator`](super::Agreement::allocator) returns it.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let decoder = Requirements::new("decoder").sizes(Sizes::exactly(64)).allocates();
    /// let error = negotiate(&[decoder, Requirements::new("screen").allocates()]).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "`decoder` needs to allocate the frames itself, `screen` needs to allocate the frames \
    ///      itself: a pool has one allocator"
    /// );
    /// ```
    #[doc(alias = "KSALLOCATOR_REQUIREMENTF_MUST_ALLOCATE")]
    pub fn allocates(self) -> Self {
        self.with(Need::Allocates)
    }

    /// States that the party changes frames in place.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let decoder = Requirements::new("decoder").sizes(Sizes::exactly(64)).unmodified();
    /// let subtitles = Requirements::new("subtitles").modifies();
    /// assert_eq!(
    ///     negotiate(&[decoder, subtitles]).unwrap_err().to_string(),
    ///     "`decoder` needs frames that no later party modifies, `subtitles` needs to modify \
    ///      frames in place: they have the same frames"
    /// );
    /// ```
    #[doc(alias = "KSALLOCATOR_REQUIREMENTF_INPLACE_MODIFIER")]
    pub fn modifies(self) -> Self {
        self.with(Need::Modifies)
    }

    /// Requires that no other party changes frames after this one has got them, as a decoder does
    /// that refers to its output.
    ///
    /// [`negotiate`](super::negotiate) does not know which party comes first: there, no other party
    /// may change frames at all. [`Stage::negotiate`](super::Stage::negotiate) knows.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, Stage};
    /// let denoiser = Requirements::new("denoiser").modifies();
    /// let encoder = Requirements::new("encoder").unmodified().holds(2);
    /// let camera = Stage::new(Requirements::new("camera").sizes(Sizes::exactly(64)));
    /// let pipes = camera.to(Stage::new(denoiser).to(Stage::new(encoder))).negotiate()?;
    /// assert_eq!(pipes[0].agreement().framing().frames, 3);
    /// # Ok::<(), ks_allocator::PipeConflict>(())
    /// ```
    #[doc(alias = "KSALLOCATOR_REQUIREMENTF_FRAME_INTEGRITY")]
    pub fn unmodified(self) -> Self {
        self.with(Need::Unmodified { except: Vec::new() })
    }

    /// Adds requirements that are only a wish. Wishes of a larger weight go first. The name of
    /// `wished` and its own wishes do not matter.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let sink = Requirements::new("sink").sizes(Sizes::between(100, 200));
    /// let sink = sink.wish(1, Requirements::new("sink").sizes(Sizes::exactly(150)));
    /// let sink = sink.wish(2, Requirements::new("sink").sizes(Sizes::exactly(170)));
    /// let agreement = negotiate(&[sink])?;
    /// assert_eq!(agreement.framing().frame_size, 170);
    /// assert_eq!(agreement.unmet_wishes().len(), 1);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    pub fn wish(mut self, weight: u32, wished: Self) -> Self {
        self.wishes.push((weight, wished.needs));
        self
    }

    /// Returns all needs, those of wishes too.
    pub(super) fn all_needs_mut(&mut self) -> impl Iterator<Item = &mut Need> {
        let wished = self.wishes.iter_mut().flat_map(|(_, needs)| needs);
        self.needs.iter_mut().chain(wished)
    }

    /// Returns whether the party changes frames in place, or wishes to.
    pub(super) fn may_modify(&self) -> bool {
        let wished = self.wishes.iter().flat_map(|(_, needs)| needs);
        self.needs
            .iter()
            .chain(wished)
            .any(|need| *need == Need::Modifies)
    }

    /// Returns a wish for something that no pool has.
    pub(super) fn unavailable(text: String) -> Self {
        Self::new("").with(Need::Unavailable(text))
    }

    /// Returns the name.
    ///
    /// ```
    /// # use ks_allocator::Requirements;
    /// assert_eq!(Requirements::new("camera").name(), "camera");
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Requirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |needs: &[Need]| needs.iter().map(Need::to_string).collect::<Vec<_>>();
        write!(f, "`{}` needs ", self.name)?;
        match &list(&self.needs)[..] {
            [] => f.write_str("nothing")?,
            needs => Listed(needs).fmt(f)?,
        }
        for (weight, needs) in &self.wishes {
            write!(
                f,
                "; with weight {weight} it wants {}",
                Listed(&list(needs))
            )?;
        }
        Ok(())
    }
}
