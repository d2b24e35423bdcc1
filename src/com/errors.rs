//! The crate's errors as results that a COM caller knows.

use windows_core::HRESULT;

use crate::error::{AcquireError, BuildError, CommitError, FramingError, LengthError, ModeError};

use super::constants::{
    E_FAIL, E_NOTIMPL, E_OUTOFMEMORY, VFW_E_ALREADY_COMMITTED, VFW_E_BADALIGN,
    VFW_E_BUFFER_OVERFLOW, VFW_E_BUFFERS_OUTSTANDING, VFW_E_NOT_COMMITTED, VFW_E_SIZENOTSET,
    VFW_E_TIMEOUT, VFW_E_WRONG_STATE, hresult,
};

impl From<AcquireError> for HRESULT {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Exhausted(_) | AcquireError::TimedOut(_) => VFW_E_TIMEOUT,
            AcquireError::Flushing => VFW_E_WRONG_STATE,
            AcquireError::NotCommitted => VFW_E_NOT_COMMITTED,
        }
    }
}

impl From<FramingError> for HRESULT {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::Alignment { .. } => VFW_E_BADALIGN,
            FramingError::AlreadyCommitted => VFW_E_ALREADY_COMMITTED,
            FramingError::FramesOutstanding { .. } => VFW_E_BUFFERS_OUTSTANDING,
        }
    }
}

impl From<ModeError> for HRESULT {
    fn from(error: ModeError) -> Self {
        match error {
            ModeError::AlreadyCommitted { .. } => VFW_E_ALREADY_COMMITTED,
        }
    }
}

impl From<CommitError> for HRESULT {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::FramingNotSet { .. } => VFW_E_SIZENOTSET,
            CommitError::TooLarge { .. }
            | CommitError::OutOfMemory { .. }
            | CommitError::UnmetRequest { .. } => E_OUTOFMEMORY,
            CommitError::ModeUnsupported { .. } | CommitError::GuardPagesUnsupported { .. } => {
                E_NOTIMPL
            }
            // Elsewhere the number is an errno, which no COM caller knows.
            CommitError::Os { source, .. } => match source.raw_os_error() {
                Some(code) if cfg!(windows) => from_win32(code.unsigned_abs()),
                _ => E_FAIL,
            },
        }
    }
}

/// A system error code, of which there are no more than 16 bits, as the headers wrap it.
fn from_win32(code: u32) -> HRESULT {
    hresult(0x8007_0000 | (code & 0xFFFF))
}

impl From<BuildError> for HRESULT {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Framing(error) => error.into(),
            BuildError::Commit(error) => error.into(),
        }
    }
}

impl From<LengthError> for HRESULT {
    fn from(_: LengthError) -> Self {
        VFW_E_BUFFER_OVERFLOW
    }
}
