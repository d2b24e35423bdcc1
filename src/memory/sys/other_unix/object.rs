//! Kernel objects that own memory: none can be created.

use std::io;
use std::ptr::NonNull;

use super::super::call_error::CallError;
use super::super::unix::handle::{BorrowedObject, OwnedObject};

pub(crate) use super::super::unix::pages::unmap;

pub(crate) fn create(_bytes: usize, _node: Option<u32>) -> Result<OwnedObject, CallError> {
    Err(CallError::new("memfd_create", io::ErrorKind::Unsupported))
}

pub(crate) fn create_huge(_bytes: usize) -> Result<(OwnedObject, usize), CallError> {
    Err(CallError::new("memfd_create", io::ErrorKind::Unsupported))
}

pub(crate) fn allocate(_object: &OwnedObject, _bytes: usize) -> Result<(), CallError> {
    Err(CallError::new("fallocate", io::ErrorKind::Unsupported))
}

pub(crate) fn map(
    _object: &OwnedObject,
    _bytes: usize,
    _hint: Option<NonNull<u8>>,
) -> Result<NonNull<u8>, CallError> {
    Err(CallError::new("mmap", io::ErrorKind::Unsupported))
}

pub(crate) fn assign_id(
    _object: &OwnedObject,
    _base: NonNull<u8>,
    _bytes: usize,
) -> Result<u64, CallError> {
    Err(CallError::new("fstat", io::ErrorKind::Unsupported))
}

pub(crate) fn seal(_object: &OwnedObject, _peers_may_write: bool) -> Result<(), CallError> {
    Err(CallError::new("fcntl", io::ErrorKind::Unsupported))
}

pub(crate) fn map_peer(
    _handle: BorrowedObject<'_>,
    _writable: bool,
) -> io::Result<(NonNull<u8>, usize, u64)> {
    Err(io::ErrorKind::Unsupported.into())
}
