//! The samples of a pool: one per slot, in one block, for the life of the pool's core.

use std::any::Any;
use std::ffi::c_void;

use crate::error::CommitError;
use crate::memory::{try_box, try_with_capacity};
use crate::pool::core::Core;

use super::notify::Notify;
use super::object_count::ObjectCount;
use super::sample::Sample;
use super::shared::Shared;

/// The extension that the COM face stores in a core.
#[derive(Debug)]
pub(super) struct SampleTable {
    /// A `Vec`, not a `Box`: clients hold pointers to the samples, and moving a `Box` asserts
    /// unique access.
    samples: Vec<Sample>,
    /// Every sample has a pointer to it.
    _notify: Shared<Notify>,
    _object_count: ObjectCount,
}

impl SampleTable {
    /// Returns the samples of a core, by slot. If there are none yet, creates them with `notify`.
    #[inline]
    pub(super) fn get_or_create<'a>(
        core: &'a Core,
        notify: &Shared<Notify>,
    ) -> Result<&'a [Sample], CommitError> {
        let table = match Self::get(core) {
            Some(table) => table,
            None => Self::create(core, notify)?,
        };
        Ok(&table.samples)
    }

    #[inline]
    fn get(core: &Core) -> Option<&Self> {
        core.extension.get().map(Self::from_extension)
    }

    #[inline]
    fn from_extension(extension: &Box<dyn Any + Send + Sync>) -> &Self {
        debug_assert!(extension.is::<Self>());
        let extension: *const (dyn Any + Send + Sync) = &raw const **extension;
        // SAFETY: only `create` sets the extension of a core, and it stores this type. A check, as
        // in `downcast_ref`, would take a tenth of the time of `GetBuffer`.
        unsafe { &*extension.cast() }
    }

    #[cold]
    fn create<'a>(core: &'a Core, notify: &Shared<Notify>) -> Result<&'a Self, CommitError> {
        let frames = core.free.frames();
        let mut samples = try_with_capacity(frames)?;
        samples.extend((0..frames).map(|number| {
            let capacity = core.layout.framing.frame_size;
            // SAFETY: the core has the slots and drops the table, which holds `notify`. By K2 a
            // sample is used only while the core is alive.
            unsafe { Sample::new(core.slot(number), capacity, notify) }
        }));
        let table = Self {
            samples,
            _notify: notify.clone(),
            _object_count: ObjectCount::new(),
        };
        let table = try_box(table).map_err(|_| CommitError::OutOfMemory {
            bytes: size_of::<Self>(),
        })?;
        // If another thread was faster, its table is used and this one is dropped.
        let stored = core.extension.get_or_init(|| table);
        Ok(Self::from_extension(stored))
    }

    /// Returns whether `pointer`, which may be anything, points to a sample of this core.
    pub(super) fn contains(core: &Core, pointer: *const c_void) -> bool {
        Self::get(core).is_some_and(|Self { samples, .. }| {
            let offset = pointer.addr().wrapping_sub(samples.as_ptr().addr());
            offset % size_of::<Sample>() == 0 && offset / size_of::<Sample>() < samples.len()
        })
    }
}
