//! The error of a call to the system.

use std::io;

use crate::error::CommitError;

/// A failed call: its name and its error.
#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) call: &'static str,
    pub(crate) source: io::Error,
}

impl CallError {
    pub(crate) fn new(call: &'static str, source: impl Into<io::Error>) -> Self {
        Self {
            call,
            source: source.into(),
        }
    }

    /// Returns a function for `map_err` that adds the name of the call to its error.
    #[cfg(unix)]
    pub(crate) fn of<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::new(call, source)
    }

    /// Creates an error of the kind [`Unsupported`](io::ErrorKind::Unsupported).
    pub(crate) fn unsupported(call: &'static str, reason: &'static str) -> Self {
        Self::new(call, io::Error::new(io::ErrorKind::Unsupported, reason))
    }
}

impl From<CallError> for CommitError {
    fn from(CallError { call, source }: CallError) -> Self {
        Self::Os { call, source }
    }
}
