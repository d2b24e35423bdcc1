//! `GstBufferPool` whose buffers are frames of a pool.

use gst::glib;
use gst::glib::subclass::prelude::*;
use gst::prelude::*;
use gst_video::VideoInfo;
use ks_allocator::{FramePool, VideoLayout};

use crate::buffer;

glib::wrapper! {
    /// `GstBufferPool` over a [`FramePool`].
    ///
    /// Each buffer is one frame, and is made when it is acquired: GStreamer allocates the buffer,
    /// its memory header and its meta. When the buffer comes back it is freed, so it is never in
    /// GStreamer's own queue. The frame is released with the memory. If an element keeps the
    /// memory beyond the buffer, the frame stays out for as long.
    ///
    /// The size and the number of buffers are those of the frame pool. Other values in a
    /// configuration are corrected, and `set_config` then returns an error, as GStreamer asks for.
    /// The caps must be those of the pool's video layout. A layout that is not the default one of
    /// GStreamer needs the option `GstBufferPoolOptionVideoMeta`.
    ///
    /// While this pool is flushing, or inactive with buffers out, all acquires from the frame pool
    /// fail, also those of other users. So a frame pool should have one such pool, which can be
    /// used in the same pipeline again and again.
    pub struct FrameBufferPool(ObjectSubclass<imp::FrameBufferPool>)
        @extends gst::BufferPool, gst::Object;
}

impl FrameBufferPool {
    /// Makes an inactive pool. Reports show the label of the handle `pool` for its buffers.
    #[must_use]
    pub fn new(pool: &FramePool) -> Self {
        let this: Self = glib::Object::new();
        this.imp().set_frames(pool.clone());
        this
    }
}

/// Returns whether frames of this layout can have pictures with these caps. `has_meta` says that
/// the element uses the strides in the `GstVideoMeta`.
pub(crate) fn fits(layout: &VideoLayout, caps: &gst::Caps, has_meta: bool) -> bool {
    let name = layout.format().gstreamer_name();
    if layout.format().is_compressed() {
        return caps.structure(0).is_some_and(|caps| caps.name() == name);
    }
    let system_memory = gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY;
    let is_mapped = caps
        .features(0)
        .is_some_and(|all| all.contains(system_memory));
    let info = VideoInfo::from_caps(caps).ok().filter(|_| is_mapped);
    let Some((info, (offsets, strides))) = info.zip(buffer::planes(layout)) else {
        return false;
    };
    let count = layout.planes().len();
    let is_default = offsets[..count] == *info.offset() && strides[..count] == *info.stride();
    info.name() == name
        && (info.width(), info.height()) == (layout.width(), layout.height())
        && (has_meta || is_default)
}

mod imp {
    use std::sync::OnceLock;

    use gst::subclass::prelude::*;
    use gst::{
        BufferPoolAcquireFlags, BufferPoolAcquireParams, BufferPoolConfigRef, BufferRef, FlowError,
    };
    use ks_allocator::AcquireError;

    use super::*;

    #[derive(Debug, Default)]
    pub struct FrameBufferPool {
        frames: OnceLock<FramePool>,
    }

    impl FrameBufferPool {
        /// Sets the pool. Only the first call has an effect.
        pub(super) fn set_frames(&self, pool: FramePool) {
            self.frames.get_or_init(|| pool);
        }

        /// Returns the size of a buffer in bytes, and the number of buffers.
        fn limits(&self) -> Option<(u32, u32)> {
            let pool = self.frames.get()?;
            Some((
                pool.frame_len().try_into().ok()?,
                pool.frames().try_into().ok()?,
            ))
        }

        /// Returns whether the frames can have pictures with these caps. Frames without a video
        /// layout have any caps.
        fn fits(&self, caps: &gst::Caps, has_meta: bool) -> bool {
            let layout = self.frames.get().and_then(FramePool::video_layout);
            layout.is_none_or(|layout| fits(layout, caps, has_meta))
        }

        /// Acquires a frame. Blocks until one is free, if `waits` is set.
        fn acquire(&self, waits: bool) -> Result<gst::Buffer, FlowError> {
            let pool = self.frames.get().ok_or(FlowError::Error)?;
            let frame = if waits {
                pool.acquire()
            } else {
                pool.try_acquire()
            };
            let frame = frame.map_err(|error| match error {
                AcquireError::Exhausted(_) => FlowError::Eos,
                AcquireError::Flushing => FlowError::Flushing,
                _ => FlowError::Error,
            })?;
            buffer::to_buffer(frame).map_err(|_| FlowError::Error)
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for FrameBufferPool {
        const NAME: &'static str = "KsFrameBufferPool";
        type Type = super::FrameBufferPool;
        type ParentType = gst::BufferPool;
    }

    impl ObjectImpl for FrameBufferPool {}
    impl GstObjectImpl for FrameBufferPool {}

    impl BufferPoolImpl for FrameBufferPool {
        fn options() -> &'static [&'static str] {
            &["GstBufferPoolOptionVideoMeta"]
        }

        fn set_config(&self, config: &mut BufferPoolConfigRef) -> bool {
            let Some(((size, frames), wanted)) = self.limits().zip(config.params()) else {
                return false;
            };
            let (caps, _, min, _) = &wanted;
            let has_meta = config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
            if !caps.as_ref().is_some_and(|caps| self.fits(caps, has_meta)) {
                return false;
            }
            let actual = (caps.clone(), size, *min.min(&frames), frames);
            config.set_params(actual.0.as_ref(), actual.1, actual.2, actual.3);
            self.parent_set_config(config) && actual == wanted
        }

        /// Does not call the parent, which would fill its queue with buffers. The memory of the
        /// frames is committed already.
        fn start(&self) -> bool {
            true
        }

        /// Ends the flush of the deactivation. GStreamer calls this when all buffers are back.
        fn stop(&self) -> bool {
            self.flush_stop();
            true
        }

        /// Ends all waits for a frame. GStreamer has set its own flag before.
        fn flush_start(&self) {
            if let Some(pool) = self.frames.get() {
                pool.begin_flush();
            }
        }

        fn flush_stop(&self) {
            if let Some(pool) = self.frames.get() {
                pool.end_flush();
            }
        }

        fn acquire_buffer(
            &self,
            params: Option<&BufferPoolAcquireParams>,
        ) -> Result<gst::Buffer, FlowError> {
            // An inactive pool is flushing for GStreamer, and not for the frame pool. If a flush
            // begins after this, the frame pool ends the wait.
            if self.obj().is_flushing() {
                return Err(FlowError::Flushing);
            }
            let no_wait = BufferPoolAcquireFlags::DONTWAIT;
            self.acquire(!params.is_some_and(|params| params.flags().contains(no_wait)))
        }

        /// Leaves the buffer as it is: it is not used again.
        fn reset_buffer(&self, _: &mut BufferRef) {}

        /// Frees the buffer. That releases the frame, unless something else has the memory.
        fn release_buffer(&self, buffer: gst::Buffer) {
            drop(buffer);
        }
    }
}
