//! Result codes, and the code that each error of the crate becomes.
//!
//! The codes have the names and values of the Windows headers.

use windows_core::HRESULT;

use crate::error::{AcquireError, BuildError, CommitError, FramingError, LengthError, ModeError};

/// Makes a result from its bits, which the headers write as an unsigned number.
const fn from_bits(bits: u32) -> HRESULT {
    HRESULT(i32::from_ne_bytes(bits.to_ne_bytes()))
}

/// Success. From a method that asks a question, yes.
#[doc(alias = "NOERROR")]
pub const S_OK: HRESULT = from_bits(0);
/// Success. From a method that asks a question, no.
pub const S_FALSE: HRESULT = from_bits(1);
/// Success: the sample has a start time but no stop time.
pub const VFW_S_NO_STOP_TIME: HRESULT = from_bits(0x0004_0270);

/// The operation is not implemented.
pub const E_NOTIMPL: HRESULT = from_bits(0x8000_4001);
/// The object does not implement the interface.
pub const E_NOINTERFACE: HRESULT = from_bits(0x8000_4002);
/// A required pointer is NULL.
pub const E_POINTER: HRESULT = from_bits(0x8000_4003);
/// Unspecified failure.
pub const E_FAIL: HRESULT = from_bits(0x8000_4005);
/// The call is not allowed at this point.
pub const E_UNEXPECTED: HRESULT = from_bits(0x8000_FFFF);
/// There is not enough memory, or a size is too large to be represented.
pub const E_OUTOFMEMORY: HRESULT = from_bits(0x8007_000E);
/// An argument is invalid.
pub const E_INVALIDARG: HRESULT = from_bits(0x8007_0057);
/// The class does not support aggregation.
pub const CLASS_E_NOAGGREGATION: HRESULT = from_bits(0x8004_0110);

/// The length is larger than the buffer.
pub const VFW_E_BUFFER_OVERFLOW: HRESULT = from_bits(0x8004_020D);
/// The alignment is invalid.
pub const VFW_E_BADALIGN: HRESULT = from_bits(0x8004_020E);
/// The allocator is committed.
pub const VFW_E_ALREADY_COMMITTED: HRESULT = from_bits(0x8004_020F);
/// Some samples have not been released yet.
pub const VFW_E_BUFFERS_OUTSTANDING: HRESULT = from_bits(0x8004_0210);
/// The allocator is not committed.
pub const VFW_E_NOT_COMMITTED: HRESULT = from_bits(0x8004_0211);
/// The number or the size of the buffers is not set.
pub const VFW_E_SIZENOTSET: HRESULT = from_bits(0x8004_0212);
/// The operation is not possible in this state.
pub const VFW_E_WRONG_STATE: HRESULT = from_bits(0x8004_0227);
/// The timeout has expired. From `GetBuffer`: no buffer is free, and the caller does not wait.
pub const VFW_E_TIMEOUT: HRESULT = from_bits(0x8004_022E);
/// The sample has no time stamp.
pub const VFW_E_SAMPLE_TIME_NOT_SET: HRESULT = from_bits(0x8004_0249);
/// The sample has no media time.
pub const VFW_E_MEDIA_TIME_NOT_SET: HRESULT = from_bits(0x8004_0251);

impl From<AcquireError> for HRESULT {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Exhausted(_)
            | AcquireError::TooFew { .. }
            | AcquireError::TimedOut(_) => VFW_E_TIMEOUT,
            AcquireError::TooMany { .. } => E_INVALIDARG,
            AcquireError::Flushing | AcquireError::OtherProcess => VFW_E_WRONG_STATE,
            AcquireError::NotCommitted | AcquireError::Closed => VFW_E_NOT_COMMITTED,
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
            CommitError::Shares(_) | CommitError::Levels { .. } => E_INVALIDARG,
            CommitError::TooLarge { .. }
            | CommitError::OutOfMemory { .. }
            | CommitError::OverBudget { .. }
            | CommitError::LimitExceeded { .. }
            | CommitError::UnmetRequest { .. } => E_OUTOFMEMORY,
            CommitError::ModeUnsupported { .. } | CommitError::GuardPagesUnsupported { .. } => {
                E_NOTIMPL
            }
            // On other systems the code is an errno, which has no meaning in COM.
            CommitError::Os { source, .. } => match source.raw_os_error() {
                Some(code) if cfg!(windows) => from_win32(code.unsigned_abs()),
                _ => E_FAIL,
            },
        }
    }
}

/// Wraps a Windows error code, of at most 16 bits, as `HRESULT_FROM_WIN32` of the headers does.
fn from_win32(code: u32) -> HRESULT {
    from_bits(0x8007_0000 | (code & 0xFFFF))
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
