//! Call site of an acquire: the source location, the label and the thread.

use std::panic::Location;

use crate::crate_copy::{CrateCopy, this_copy};
use crate::label::Label;
use crate::sync::thread_id;

/// The source line, thread and label that acquire a frame.
///
/// It is worked out before a frame is taken. Afterwards the processor would have to wait for the
/// compare-exchange before it could begin these loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite {
    /// `None` for a call in another copy of the crate than the one that made the pool (O3).
    location: Option<&'static Location<'static>>,
    /// Its label is one of the copy that made the pool (O2).
    acquirer: Acquirer,
}

impl CallSite {
    /// Returns the caller's source line, in this thread, for a pool of this copy of the crate.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn caller(label: Option<Label>) -> Self {
        Self::caller_for(this_copy(), label)
    }

    /// Returns the caller's source line, in this thread, for a pool that `copy` made. The label is
    /// one of that copy (O2).
    #[inline(always)]
    #[track_caller]
    pub(crate) fn caller_for(copy: &CrateCopy, label: Option<Label>) -> Self {
        Self::at(copy, Location::caller(), label)
    }

    /// Returns the call site at `location` of the calling code's copy, in this thread, for a pool
    /// that `copy` made. The label is one of that copy (O2).
    #[inline(always)]
    pub(crate) fn at(
        copy: &CrateCopy,
        location: &'static Location<'static>,
        label: Option<Label>,
    ) -> Self {
        Self::known(copy.is_this().then_some(location), label)
    }

    /// Returns a call site with a location and a label that a pool contains already, in this
    /// thread.
    #[inline(always)]
    pub(crate) fn known(
        location: Option<&'static Location<'static>>,
        label: Option<Label>,
    ) -> Self {
        Self {
            location,
            acquirer: Acquirer::this_thread(label),
        }
    }

    pub(crate) fn label(self) -> Option<Label> {
        self.acquirer.label()
    }

    pub(crate) fn location(self) -> Option<&'static Location<'static>> {
        self.location
    }

    pub(crate) fn acquirer(self) -> Acquirer {
        self.acquirer
    }

    /// Returns the same source line and label, in this thread.
    ///
    /// A future may be polled by another thread than the one that made it.
    pub(crate) fn in_this_thread(self) -> Self {
        Self::known(self.location, self.acquirer.label())
    }
}

/// A thread and a label, packed into one word: the thread's id below, the label's number above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acquirer(u64);

impl Acquirer {
    const LABEL_SHIFT: u32 = 32;

    #[inline(always)]
    fn this_thread(label: Option<Label>) -> Self {
        let label = u64::from(Label::to_number(label));
        Self(u64::from(thread_id()) | label << Self::LABEL_SHIFT)
    }

    /// Returns the same label, in this thread.
    pub(crate) fn in_this_thread(self) -> Self {
        Self::this_thread(self.label())
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn label(self) -> Option<Label> {
        Self::label_of_number(self.label_number())
    }

    pub(crate) fn label_number(self) -> u64 {
        self.0 >> Self::LABEL_SHIFT
    }

    pub(crate) fn label_of_number(number: u64) -> Option<Label> {
        u16::try_from(number).ok().and_then(Label::from_number)
    }

    pub(crate) fn thread(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// Returns a made-up acquirer, for a model.
    #[cfg(all(test, loom))]
    pub(crate) fn of(thread: u32, label: u16) -> Self {
        Self(u64::from(thread) | u64::from(label) << Self::LABEL_SHIFT)
    }
}
