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
        #[cfg(unix)]
        if let Some(exceeded) = source.get_ref().and_then(|source| source.downcast_ref()) {
            let &ExceededLimit { name, value, bytes } = exceeded;
            return Self::LimitExceeded {
                limit: name,
                value,
                bytes,
            };
        }
        Self::Os { call, source }
    }
}

/// A limit of the process that a call exceeds, as the source of an [`io::Error`].
#[cfg(unix)]
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{bytes} bytes exceed a limit of the process: {name} is {value} bytes")]
pub(crate) struct ExceededLimit {
    /// Name of the limit, as in `getrlimit`.
    pub(crate) name: &'static str,
    /// Value of the limit, in bytes.
    pub(crate) value: u64,
    /// Number of bytes that the call was for.
    pub(crate) bytes: usize,
}

#[cfg(unix)]
impl From<ExceededLimit> for io::Error {
    fn from(exceeded: ExceededLimit) -> Self {
        Self::new(io::ErrorKind::QuotaExceeded, exceeded)
    }
}
