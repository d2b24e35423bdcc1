//! Conversion of the crate's errors to `HRESULT`.

use std::io;

use ks_allocator::{
    AcquireError, AllocatorMode, BuildError, CommitError, FramingError, MemoryRequest, ModeError,
    Starvation,
};
use windows_core::HRESULT;

use crate::support::pool::pool;
use crate::vtables::*;

fn code(error: impl Into<HRESULT>) -> Hresult {
    Hresult::new(u32::from_ne_bytes(error.into().0.to_ne_bytes()))
}

#[test]
fn acquire_errors_convert_to_hresults() {
    assert_eq!(
        code(AcquireError::Exhausted(Starvation::default())),
        VFW_E_TIMEOUT
    );
    assert_eq!(
        code(AcquireError::TimedOut(Starvation::default())),
        VFW_E_TIMEOUT
    );
    assert_eq!(code(AcquireError::Flushing), VFW_E_WRONG_STATE);
    assert_eq!(code(AcquireError::NotCommitted), VFW_E_NOT_COMMITTED);
    assert_eq!(code(AcquireError::Closed), VFW_E_NOT_COMMITTED);
}

const FRAMING: [(FramingError, Hresult); 3] = [
    (FramingError::Alignment { alignment: 0 }, VFW_E_BADALIGN),
    (FramingError::AlreadyCommitted, VFW_E_ALREADY_COMMITTED),
    (
        FramingError::FramesOutstanding {
            outstanding: 1,
            frames: 3,
        },
        VFW_E_BUFFERS_OUTSTANDING,
    ),
];

#[test]
fn framing_errors_convert_to_hresults() {
    for (error, expected) in FRAMING {
        assert_eq!(code(error), expected);
    }
}

#[test]
fn mode_errors_convert_to_hresults() {
    let error = ModeError::AlreadyCommitted {
        current: AllocatorMode::User,
        requested: AllocatorMode::Kernel,
    };
    assert_eq!(code(error), VFW_E_ALREADY_COMMITTED);
}

fn commit_errors() -> [(CommitError, Hresult); 6] {
    [
        (
            CommitError::FramingNotSet {
                frames: 0,
                frame_size: 64,
            },
            VFW_E_SIZENOTSET,
        ),
        (
            CommitError::TooLarge {
                frames: 1,
                frame_size: usize::MAX,
                alignment: 16,
                prefix: 1,
            },
            E_OUTOFMEMORY,
        ),
        (
            CommitError::ModeUnsupported {
                mode: AllocatorMode::Kernel,
                reason: "not here",
            },
            E_NOTIMPL,
        ),
        (
            CommitError::GuardPagesUnsupported { reason: "not here" },
            E_NOTIMPL,
        ),
        (CommitError::OutOfMemory { bytes: 64 }, E_OUTOFMEMORY),
        (
            CommitError::UnmetRequest {
                request: MemoryRequest::Locked,
                call: "mlock",
                source: io::ErrorKind::PermissionDenied.into(),
            },
            E_OUTOFMEMORY,
        ),
    ]
}

#[test]
fn commit_errors_convert_to_hresults() {
    for (error, expected) in commit_errors() {
        assert_eq!(code(error), expected);
    }
}

#[test]
fn every_error_of_the_system_converts_to_a_failure() {
    for number in [0, 1, 5, 12, 13, i32::MAX, -1] {
        let error = CommitError::Os {
            call: "mmap",
            source: io::Error::from_raw_os_error(number),
        };
        assert!(code(error).is_failure(), "{number}");
    }
    let error = CommitError::Os {
        call: "mmap",
        source: io::Error::other("no error number"),
    };
    assert!(code(error).is_failure());
}

#[test]
fn build_errors_convert_like_the_errors_in_them() {
    for (error, expected) in FRAMING {
        assert_eq!(code(BuildError::from(error)), expected);
    }
    for (error, expected) in commit_errors() {
        assert_eq!(code(BuildError::from(error)), expected);
    }
}

#[test]
fn a_length_beyond_the_capacity_converts_to_buffer_overflow() {
    let mut frame = pool(1, 64).try_acquire().unwrap();
    let error = frame.set_len(65).unwrap_err();
    assert_eq!(code(error), VFW_E_BUFFER_OVERFLOW);
}
