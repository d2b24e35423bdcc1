//! Levels of the free frames of a pool, of which the user can be told.

use std::fmt;

use crate::sync::unmodeled;

/// Level of the free frames of a pool, as told to the function of
/// [`FramePoolBuilder::on_low`](crate::FramePoolBuilder::on_low).
///
/// ```
/// use std::sync::mpsc;
///
/// use ks_allocator::{FramePool, Level};
///
/// let (sender, levels) = mpsc::channel();
/// let builder = FramePool::builder().frames(4).frame_size(64);
/// let pool = builder.on_low(1, 3, move |level| sender.send(level).unwrap()).build()?;
///
/// let mut frames: Vec<_> = (0..3).map(|_| pool.acquire()).collect::<Result<_, _>>()?;
/// assert_eq!(levels.try_recv(), Ok(Level::Low { free: 1 }));
/// frames.pop();
/// assert!(levels.try_recv().is_err()); // 2 frames are free
/// frames.pop();
/// assert_eq!(levels.try_recv(), Ok(Level::Recovered { free: 3 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Few frames are free.
    Low {
        /// Number of free frames.
        free: usize,
    },
    /// Enough frames are free again.
    Recovered {
        /// Number of free frames.
        free: usize,
    },
}

/// The levels of which a user wants to be told.
#[derive(Clone, Debug)]
pub(crate) struct LevelConfig {
    /// Number of free frames that is low.
    pub(crate) low: usize,
    /// Number of free frames that is enough again.
    pub(crate) recovered: usize,
    pub(crate) hook: LevelHook,
}

/// A function of the user's that is told of levels.
#[derive(Clone)]
pub(crate) struct LevelHook(unmodeled::Arc<dyn Fn(Level) + Send + Sync>);

impl LevelHook {
    pub(crate) fn new(hook: impl Fn(Level) + Send + Sync + 'static) -> Self {
        Self(unmodeled::Arc::new(hook))
    }

    pub(crate) fn call(&self, level: Level) {
        (self.0)(level);
    }
}

impl fmt::Debug for LevelHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LevelHook").finish_non_exhaustive()
    }
}
