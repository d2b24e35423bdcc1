//! Identity of one copy of the crate in a process.
//!
//! A process can contain several copies of the crate: each library that is linked with its own copy
//! and loaded at run time, such as a plugin, has one. Copies built by the same compiler from the
//! same sources agree on the layout of a pool, so that a pool can be passed from one to another.
//! The statics of the crate exist once per copy, among them the labels and the registry of guard
//! pages.
//!
//! # Invariants
//!
//! - **O1** The copy that made a pool outlives the pool, its frames and all reports about it. The
//!   documentation of [`FramePool`](crate::FramePool) requires this. A copy that was passed the
//!   pool may be unloaded while the pool is in use.
//! - **O2** A pool contains label numbers of the copy that made it, and no others. Other copies
//!   translate: see [`CrateCopy::label_of`] and [`CrateCopy::own_label`].
//! - **O3** A pool contains source locations of the copy that made it, and no others, because those
//!   of another copy are unmapped with it.

use std::ptr;

use crate::label::Label;
use crate::sync::Process;

/// The parts of a copy of the crate that other copies call.
#[derive(Debug)]
pub(crate) struct CrateCopy {
    label_of_name: fn(&str) -> Label,
    name_of_label: fn(Label) -> &'static str,
    process: fn() -> Process,
}

/// This copy. Its address differs from copy to copy, because it is not empty.
static THIS: CrateCopy = CrateCopy {
    label_of_name: Label::new,
    name_of_label: Label::name,
    process: Process::now,
};

/// Returns the copy of the crate that the calling code is part of.
#[inline(always)]
pub(crate) fn this_copy() -> &'static CrateCopy {
    &THIS
}

impl CrateCopy {
    /// Returns whether the calling code is part of this copy.
    #[inline(always)]
    pub(crate) fn is_this(&self) -> bool {
        ptr::eq(self, &raw const THIS)
    }

    /// Returns the process that the caller runs in, as this copy has counted forks.
    pub(crate) fn process(&self) -> Process {
        (self.process)()
    }

    /// Returns the label in this copy that has the same name as `label` of the calling code's copy.
    pub(crate) fn label_of(&self, label: Label) -> Label {
        if self.is_this() {
            label
        } else {
            (self.label_of_name)(label.name())
        }
    }

    /// Returns the label in the calling code's copy that has the same name as `label` of this copy.
    pub(crate) fn own_label(&self, label: Label) -> Label {
        if self.is_this() {
            label
        } else {
            Label::new((self.name_of_label)(label))
        }
    }
}
