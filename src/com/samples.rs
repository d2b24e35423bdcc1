//! The samples of a pool: one a slot, made in one piece, for as long as the pool's core lives.

use std::any::Any;
use std::ffi::c_void;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::pool::core::Core;
use crate::sync::Arc;

use super::notify::Notify;
use super::object_count::ObjectCount;
use super::sample::Sample;

/// What a core keeps for the COM face.
#[derive(Debug)]
pub(super) struct Samples {
    /// A `Vec` and not a `Box`, as the core's slots: clients point to the samples.
    samples: Vec<Sample>,
    /// Every sample points to it.
    _notify: Arc<Notify>,
    _alive: ObjectCount,
}

impl Samples {
    /// The samples of this core, by slot. If it has none yet, they are made, to tell `notify`.
    #[inline]
    pub(super) fn of<'a>(
        core: &'a Core,
        notify: &Arc<Notify>,
    ) -> Result<&'a [Sample], CommitError> {
        let samples = match Self::made_before(core) {
            Some(samples) => samples,
            None => Self::make(core, notify)?,
        };
        Ok(&samples.samples)
    }

    #[inline]
    fn made_before(core: &Core) -> Option<&Self> {
        core.extension.get().map(Self::of_extension)
    }

    /// What [`make`](Self::make) keeps for a core; nothing else keeps anything.
    #[inline]
    fn of_extension(extension: &Box<dyn Any + Send + Sync>) -> &Self {
        debug_assert!(extension.is::<Self>());
        let extension: *const (dyn Any + Send + Sync) = &raw const **extension;
        // SAFETY: it is one. To ask, as `downcast_ref` does, would take a tenth of `GetBuffer`'s time.
        unsafe { &*extension.cast() }
    }

    #[cold]
    fn make<'a>(core: &'a Core, notify: &Arc<Notify>) -> Result<&'a Self, CommitError> {
        let frames = core.free.frames();
        let mut samples = try_with_capacity(frames)?;
        samples.extend((0..frames).map(|number| {
            let capacity = core.layout.framing.frame_size;
            Sample::new(core.slot(number), capacity, notify)
        }));
        let made = Self {
            samples,
            _notify: Arc::clone(notify),
            _alive: ObjectCount::new(),
        };
        // Another thread may have been faster; then these were never seen.
        let kept = core.extension.get_or_init(|| Box::new(made));
        Ok(Self::of_extension(kept))
    }

    /// Whether this is a pointer to a sample of this core. It may be anything.
    pub(super) fn have(core: &Core, pointer: *const c_void) -> bool {
        Self::made_before(core).is_some_and(|Self { samples, .. }| {
            let offset = pointer.addr().wrapping_sub(samples.as_ptr().addr());
            offset % size_of::<Sample>() == 0 && offset / size_of::<Sample>() < samples.len()
        })
    }
}
