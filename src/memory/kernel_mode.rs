//! Pages of [`AllocatorMode::Kernel`]: memory that a kernel object owns.
//!
//! | | object | size | id | writable mappings in other processes |
//! |---|---|---|---|---|
//! | Linux | memfd | sealed | its number | sealed against, unless requested |
//! | Windows | page-file section | fixed | in its last bytes | need a handle with that right |
//! | other Unix | none | | | |
//!
//! A memfd is also sealed against `exec`, from Linux 6.3 on.
//!
//! On Windows the section's access control list is empty, so that a handle with the right to read
//! does not lead to one with the right to write. (An unconfined process of the same user can change
//! that list, and can do worse to the owner.)

use std::io;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::memory_options::MemoryRequest;
use crate::mode::AllocatorMode;

use super::kernel_object::{ObjectMapping, OwnedKernelObject};
use super::requests::{MemoryRequests, prefault};
use super::sys::{CallError, object, options};
use super::user_mode::UserPages;

/// Creates an object of at least `bytes` bytes, which is not 0, maps it, and applies the requests.
///
/// To prefault it, the system allocates the memory before it is touched, so that a lack of memory
/// is an error and does not end the process.
pub(super) fn map(
    bytes: usize,
    requests: &mut MemoryRequests,
    peers_may_write: bool,
) -> Result<(ObjectMapping, OwnedKernelObject), CommitError> {
    if requests.explicit_huge_pages() {
        if let Some((mapping, object)) = map_explicit_huge(bytes, requests, peers_may_write)? {
            requests.apply_after_prefault(mapping.base(), bytes, mapping.bytes())?;
            return Ok((mapping, object));
        }
    }
    let to_error = |error| commit_error(error, bytes);
    let (size, alignment) = requests.mapping_size(bytes);
    let hint = address_hint(size, alignment, requests)?;
    let object = object::create(size, requests.mapping_node()?).map_err(to_error)?;
    let mapping = ObjectMapping::new(&object, size, hint).map_err(to_error)?;
    object::seal(&object, peers_may_write).map_err(to_error)?;
    requests.apply_before_prefault(mapping.base(), size)?;
    if requests.prefault() {
        requests.populate_transparent(mapping.base(), size);
        object::allocate(&object, size).map_err(to_error)?;
        // SAFETY: the mapping is new and writable, has at least `bytes` bytes, and only this
        // function knows it and its object.
        unsafe { prefault(mapping.base(), bytes) };
    }
    requests.apply_after_prefault(mapping.base(), bytes, size)?;
    Ok((mapping, object))
}

/// Checks that the system would provide as much private memory, and returns an aligned address that
/// is free, if an alignment is given.
///
/// Linux creates a memfd of any size, and allocates memory for it until the whole system has none
/// left. It refuses to map private memory of such a size, so that is tried first.
fn address_hint(
    size: usize,
    alignment: Option<usize>,
    requests: &MemoryRequests,
) -> Result<Option<NonNull<u8>>, CommitError> {
    if !requests.prefault() && alignment.is_none() {
        return Ok(None);
    }
    let reserved = UserPages::reserve(size, alignment, None)?;
    Ok(alignment.map(|_| reserved.base()))
}

/// Creates and maps an object of explicit huge pages that are backed by memory. If there are none,
/// records the request as unmet and returns `None`.
fn map_explicit_huge(
    bytes: usize,
    requests: &mut MemoryRequests,
    peers_may_write: bool,
) -> Result<Option<(ObjectMapping, OwnedKernelObject)>, CommitError> {
    let created = object::create_huge(bytes).and_then(|(object, size)| {
        let mapping = ObjectMapping::new(&object, size, None)?;
        object::seal(&object, peers_may_write)?;
        Ok((mapping, object))
    });
    let error = match created {
        Ok((mapping, object)) => {
            requests.apply_before_prefault(mapping.base(), mapping.bytes())?;
            match options::populate(mapping.base(), mapping.bytes()) {
                Ok(()) => return Ok(Some((mapping, object))),
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    requests.record_unmet(MemoryRequest::ExplicitHugePages, error)?;
    Ok(None)
}

fn commit_error(error: CallError, bytes: usize) -> CommitError {
    match error.source.kind() {
        io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull => {
            CommitError::OutOfMemory { bytes }
        }
        io::ErrorKind::Unsupported => CommitError::ModeUnsupported {
            mode: AllocatorMode::Kernel,
            reason: "this system has no memory objects that can be sealed",
        },
        _ => error.into(),
    }
}
