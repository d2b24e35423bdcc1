//! Kernel objects that own memory: sections backed by the page file.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{self, NonNull};

use windows_sys::Win32::Foundation::{
    ERROR_COMMITMENT_LIMIT, ERROR_INVALID_HANDLE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Security::{
    ACL, ACL_REVISION, InitializeAcl, InitializeSecurityDescriptor, PSECURITY_DESCRIPTOR,
    SECURITY_ATTRIBUTES, SECURITY_DESCRIPTOR, SetSecurityDescriptorDacl,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingNumaW, FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEMORY_BASIC_INFORMATION,
    MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery,
};

use super::super::call_error::CallError;
use super::calls::{ANY_NODE, error_code, last_error};
use super::handle::{BorrowedObject, OwnedObject};
use super::pages::page_size;

/// Size of a section's id in bytes. It takes the last bytes of the section's last page, because the
/// system has no number for a section that two processes could compare.
const ID: usize = size_of::<u64>();

/// `SECURITY_DESCRIPTOR_REVISION`.
const REVISION: u32 = 1;

/// Creates a section for `bytes` bytes and its id, preferably of a NUMA node. The system reserves
/// room in memory or in the page file for all of it.
pub(crate) fn create(bytes: usize, node: Option<u32>) -> Result<OwnedObject, CallError> {
    let bytes = whole_size(bytes) as u64;
    let (high, low) = (bytes >> 32, bytes & u64::from(u32::MAX));
    let [high, low] = [high, low].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
    let descriptor = NoAccessDescriptor::new()?;
    // SAFETY: the section has no file and no name. The attributes and the structures that they
    // point to live until the call returns.
    let handle = unsafe {
        CreateFileMappingNumaW(
            INVALID_HANDLE_VALUE,
            &raw const descriptor.attributes,
            PAGE_READWRITE,
            high,
            low,
            ptr::null(),
            node.unwrap_or(ANY_NODE),
        )
    };
    if handle.is_null() {
        return Err(last_memory_error("CreateFileMappingNumaW"));
    }
    // SAFETY: the call has created this handle, and only this function knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Returns the size of the section for `bytes` bytes and its id: whole pages. A segment has at most
/// `isize::MAX` bytes, so the sum does not overflow.
fn whole_size(bytes: usize) -> usize {
    (bytes + ID).next_multiple_of(page_size())
}

/// Chooses a random id for a new section, writes it to the end of the section, and returns it.
/// `base` is the start of the view that [`map`] returned for the same `bytes`.
pub(crate) fn assign_id(
    _object: &OwnedObject,
    base: NonNull<u8>,
    bytes: usize,
) -> Result<u64, CallError> {
    let id = RandomState::new().hash_one((std::process::id(), base.addr()));
    // SAFETY: the view has `whole_size` bytes, and the id takes the last ones.
    let place = unsafe { base.add(whole_size(bytes) - ID) }.cast::<u64>();
    // SAFETY: the bytes are mapped and writable, lie behind those of the segment, and are aligned,
    // because pages are. No other process has the section yet.
    unsafe { place.write_volatile(id) };
    Ok(id)
}

/// Fails: sections of large pages are not implemented.
pub(crate) fn create_huge(_bytes: usize) -> Result<(OwnedObject, usize), CallError> {
    Err(CallError::unsupported(
        "CreateFileMappingNumaW",
        "Kernel mode does not use large pages on this system",
    ))
}

/// Security attributes with an empty access control list, which grants access to no account.
///
/// The handle that the call returns and its duplicates do not depend on the list.
///
/// Each structure is in a `Vec`, not in a `Box`: there are pointers to it, and moving a `Box`
/// asserts unique access.
struct NoAccessDescriptor {
    attributes: SECURITY_ATTRIBUTES,
    /// The attributes point to it.
    _descriptor: Vec<SECURITY_DESCRIPTOR>,
    /// The descriptor points to it.
    _list: Vec<ACL>,
}

impl NoAccessDescriptor {
    fn new() -> Result<Self, CallError> {
        let mut list = vec![ACL::default()];
        let list_pointer = list.as_mut_ptr();
        // SAFETY: the list has the given size.
        if unsafe { InitializeAcl(list_pointer, size::<ACL>(), ACL_REVISION) } == 0 {
            return Err(last_memory_error("InitializeAcl"));
        }
        let mut descriptor = vec![SECURITY_DESCRIPTOR::default()];
        let pointer: PSECURITY_DESCRIPTOR = descriptor.as_mut_ptr().cast();
        // SAFETY: the pointer leads to room for a descriptor.
        if unsafe { InitializeSecurityDescriptor(pointer, REVISION) } == 0 {
            return Err(last_memory_error("InitializeSecurityDescriptor"));
        }
        // SAFETY: descriptor and list are initialized, and the result keeps both.
        if unsafe { SetSecurityDescriptorDacl(pointer, 1, list_pointer, 0) } == 0 {
            return Err(last_memory_error("SetSecurityDescriptorDacl"));
        }
        Ok(Self {
            attributes: SECURITY_ATTRIBUTES {
                nLength: size::<SECURITY_ATTRIBUTES>(),
                lpSecurityDescriptor: pointer,
                bInheritHandle: 0,
            },
            _descriptor: descriptor,
            _list: list,
        })
    }
}

fn size<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

/// Returns the error of a call that has just failed. A lack of memory has the kind `OutOfMemory`.
fn last_memory_error(call: &'static str) -> CallError {
    let error = last_error(call);
    match error_code(&error.source) {
        Some(ERROR_COMMITMENT_LIMIT) => CallError::new(call, io::ErrorKind::OutOfMemory),
        _ => error,
    }
}

/// Does nothing: the system reserved room for the whole section when it was created.
pub(crate) fn allocate(_object: &OwnedObject, _bytes: usize) -> Result<(), CallError> {
    Ok(())
}

/// Maps the whole section for `bytes` bytes and its id, readable and writable. The hint is not
/// used.
pub(crate) fn map(
    object: &OwnedObject,
    bytes: usize,
    _hint: Option<NonNull<u8>>,
) -> Result<NonNull<u8>, CallError> {
    let access = FILE_MAP_READ | FILE_MAP_WRITE;
    // SAFETY: the handle is open, and the system chooses a range in which nothing is mapped.
    let view = unsafe { MapViewOfFile(object.as_raw_handle(), access, 0, 0, whole_size(bytes)) };
    NonNull::new(view.Value.cast()).ok_or_else(|| last_memory_error("MapViewOfFile"))
}

/// Does nothing: a section cannot change its size, and the handle that is passed to another process
/// decides whether that process may write.
pub(crate) fn seal(_object: &OwnedObject, _peers_may_write: bool) -> Result<(), CallError> {
    Ok(())
}

/// Unmaps a view of a section.
///
/// # Safety
///
/// `base` is the start of a view, and the memory is not used any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, _bytes: usize) -> Result<(), CallError> {
    let view = MEMORY_MAPPED_VIEW_ADDRESS {
        Value: base.as_ptr().cast(),
    };
    // SAFETY: the caller passes the start of a view that is not used any more.
    match unsafe { UnmapViewOfFile(view) } {
        0 => Err(last_error("UnmapViewOfFile")),
        _ => Ok(()),
    }
}

/// Maps the whole section of another process. Returns the number of bytes before the id, and the id
/// that the owner [assigned](assign_id).
pub(crate) fn map_peer(
    handle: BorrowedObject<'_>,
    writable: bool,
) -> io::Result<(NonNull<u8>, usize, u64)> {
    let access = if writable {
        FILE_MAP_READ | FILE_MAP_WRITE
    } else {
        FILE_MAP_READ
    };
    // SAFETY: the handle is open, and the system chooses a range in which nothing is mapped. A size
    // of 0 stands for the whole section.
    let view = unsafe { MapViewOfFile(handle.as_raw_handle(), access, 0, 0, 0) };
    let base = NonNull::new(view.Value.cast()).ok_or_else(last_handle_error)?;
    match view_size(base) {
        Ok(bytes) => {
            let bytes = bytes - ID;
            // SAFETY: a view has whole pages, and the id takes the last bytes of the last one.
            let place = unsafe { base.add(bytes) }.cast::<u64>();
            // SAFETY: the bytes are mapped, readable and aligned. An owner of this crate does not
            // write them any more. If another one does, a volatile read returns any number.
            Ok((base, bytes, unsafe { place.read_volatile() }))
        }
        Err(error) => {
            // SAFETY: the view was just created, and only this function knows it.
            drop(unsafe { unmap(base, 0) });
            Err(error)
        }
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

/// Returns the error of `MapViewOfFile`, which has just failed.
fn last_handle_error() -> io::Error {
    let error = io::Error::last_os_error();
    match error_code(&error) {
        Some(ERROR_INVALID_HANDLE) => invalid("not a handle of a section"),
        _ => error,
    }
}

/// Returns the size of the view that starts at `base`. All of its memory must be committed.
fn view_size(base: NonNull<u8>) -> io::Result<usize> {
    let mut info = MaybeUninit::<MEMORY_BASIC_INFORMATION>::uninit();
    let room = size_of::<MEMORY_BASIC_INFORMATION>();
    // SAFETY: any address may be queried, and `info` has the given size.
    if unsafe { VirtualQuery(base.as_ptr().cast(), info.as_mut_ptr(), room) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and so has filled `info`.
    let info = unsafe { info.assume_init() };
    if info.State != MEM_COMMIT {
        return Err(invalid(
            "the memory of the section is reserved, but not committed",
        ));
    }
    Ok(info.RegionSize)
}
