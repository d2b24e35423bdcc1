//! Diagnostics that a pool is built with.

use std::fmt;
use std::time::Duration;

use crate::holders::Holders;
use crate::label::Label;
use crate::sync::unmodeled;

/// The diagnostics that the user asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiagnosticsConfig {
    /// Name of the pool in reports.
    pub(crate) name: Option<Label>,
    /// True if each acquire reads the clock.
    pub(crate) record_acquire_times: bool,
    /// Number of events that the flight recorder keeps; 0 for no recorder.
    pub(crate) recorded_events: usize,
    /// The hook for waits of at least this duration.
    pub(crate) on_starved: Option<(Duration, Hook)>,
    /// The hook for a pool whose last handle is dropped while frames are out.
    pub(crate) on_leak: Option<Hook>,
}

impl DiagnosticsConfig {
    /// Returns whether each acquire and release has to be observed, beside the holder record.
    pub(crate) fn per_frame(&self) -> bool {
        self.record_acquire_times || self.recorded_events > 0
    }
}

/// A function of the user's that is called with a report.
#[derive(Clone)]
pub(crate) struct Hook(unmodeled::Arc<dyn Fn(&Holders) + Send + Sync>);

impl Hook {
    pub(crate) fn new(hook: impl Fn(&Holders) + Send + Sync + 'static) -> Self {
        Self(unmodeled::Arc::new(hook))
    }

    pub(crate) fn call(&self, holders: &Holders) {
        (self.0)(holders);
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}
