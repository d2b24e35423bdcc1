//! Values that a user attaches to the slots of a pool.

use std::any::Any;
use std::fmt;

use crate::error::CommitError;
use crate::memory::try_with_capacity;
use crate::panics::catch_panics;
use crate::sync::unmodeled::Arc;

/// The value of one slot.
pub(crate) type Attachment = Box<dyn Any + Send + Sync>;

type Make = dyn Fn(usize) -> Attachment + Send + Sync;
type Reset = dyn Fn(&mut dyn Any) + Send + Sync;

/// Functions of the user's that make and reset the values.
#[derive(Clone, Default)]
pub(crate) struct AttachmentConfig {
    make: Option<Arc<Make>>,
    reset: Option<Arc<Reset>>,
}

impl AttachmentConfig {
    pub(crate) fn set_make<T: Any + Send + Sync>(
        &mut self,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) {
        self.make = Some(Arc::new(move |slot| Box::new(make(slot))));
    }

    pub(crate) fn set_reset<T: Any>(&mut self, reset: impl Fn(&mut T) + Send + Sync + 'static) {
        self.reset = Some(Arc::new(move |value| {
            if let Some(value) = value.downcast_mut() {
                reset(value);
            }
        }));
    }

    /// Makes the values of all slots, in their order; none if there is no function for it.
    pub(super) fn make_all(&self, slots: usize) -> Result<Vec<Attachment>, CommitError> {
        let Some(make) = &self.make else {
            return Ok(Vec::new());
        };
        let mut values = try_with_capacity(slots)?;
        values.extend((0..slots).map(|slot| make(slot)));
        Ok(values)
    }

    /// Resets the value of a frame that is released. Does not panic.
    pub(super) fn reset(&self, value: &mut Attachment) {
        if let Some(reset) = &self.reset {
            catch_panics(|| reset(&mut **value));
        }
    }
}

impl fmt::Debug for AttachmentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachmentConfig").finish_non_exhaustive()
    }
}
