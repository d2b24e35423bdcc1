//! Configuration of a pool: what the builder sets and the pool is made from.

use crate::contents::Contents;
use crate::diagnostics::config::DiagnosticsConfig;
use crate::error::FramingError;
use crate::framing::Framing;
use crate::level::LevelConfig;
use crate::memory::MemoryPlan;
use crate::memory_options::MemoryOptions;
use crate::mode::AllocatorMode;
use crate::share::Share;
use crate::video::VideoLayout;

use super::attachment::AttachmentConfig;

/// The configuration of a pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolConfig {
    pub(crate) framing: Framing,
    /// Length of an acquired frame in bytes: the frame size that was asked for, which `framing` may
    /// have rounded up.
    pub(crate) frame_len: usize,
    /// Layout of the picture in each frame, whose size is `frame_len`.
    pub(crate) video: Option<VideoLayout>,
    /// True if the prefix is rounded up, so that the payload has the alignment of the prefix.
    pub(crate) aligns_payload: bool,
    pub(crate) memory: MemoryPlan,
    pub(crate) contents: Contents,
    pub(crate) diagnostics: DiagnosticsConfig,
    pub(crate) attachments: AttachmentConfig,
    /// The levels of free frames of which the user wants to be told.
    pub(crate) levels: Option<LevelConfig>,
    /// The shares of callers, if there are any.
    pub(crate) shares: Vec<Share>,
    /// Number of words that frames are dealt to in turn; `None` for the default.
    pub(crate) shards: Option<usize>,
    /// True if threads prefer the frames that they used last.
    pub(crate) caches: bool,
    /// True if a caller that blocks tries again for a while before it enters the wait queue.
    pub(crate) spins: bool,
    /// True if callers may wait for a frame.
    pub(crate) waits: bool,
    /// Larger than that of each pool that the allocator has made before.
    pub(crate) generation: u64,
}

impl PoolConfig {
    pub(crate) fn new(framing: Framing, mode: AllocatorMode) -> Self {
        Self {
            framing,
            frame_len: framing.frame_size,
            video: None,
            aligns_payload: false,
            memory: MemoryPlan {
                mode,
                options: MemoryOptions::PREFAULTED,
                peers_may_write: false,
                custom: None,
                register: None,
                guard_pages: false,
                budget: None,
            },
            contents: Contents::Keep,
            diagnostics: DiagnosticsConfig::default(),
            attachments: AttachmentConfig::default(),
            levels: None,
            shares: Vec::new(),
            shards: None,
            caches: true,
            // A model would explore every attempt.
            spins: !cfg!(all(test, loom)),
            waits: true,
            generation: 0,
        }
    }

    /// Returns the framing that a pool with these options uses if `request` is asked for.
    pub(crate) fn actual(&self, request: &Framing) -> Result<Framing, FramingError> {
        let rounded = request
            .prefix
            .checked_next_multiple_of(request.alignment.max(1));
        match rounded {
            Some(prefix) if self.aligns_payload => request.prefix(prefix).actual(),
            _ => request.actual(),
        }
    }
}
