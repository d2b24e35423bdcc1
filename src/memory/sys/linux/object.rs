//! Kernel objects that own memory: sealed memfds.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, Stat, fallocate, fcntl_add_seals, fcntl_get_seals,
    fstat, ftruncate, memfd_create,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::super::call_error::CallError;
use super::super::unix::handle::{BorrowedObject, OwnedObject};
use super::super::unix::limits::{check_file_size, mmap_error};
use super::options::explicit_page_size;

pub(crate) use super::super::unix::pages::unmap;

/// Number of bytes that one call of `fallocate` allocates. A signal undoes an incomplete call, so
/// calls are kept short.
const CHUNK: usize = 16 << 20;

/// Creates an object of `bytes` bytes.
///
/// The NUMA node is not used here: mapped memory is bound to it by `options::bind_to_node`.
pub(crate) fn create(bytes: usize, _node: Option<u32>) -> Result<OwnedObject, CallError> {
    create_with(bytes, MemfdFlags::empty())
}

/// Creates an object of at least `bytes` bytes of huge pages, and returns its size. Mapping it
/// reserves the huge pages.
pub(crate) fn create_huge(bytes: usize) -> Result<(OwnedObject, usize), CallError> {
    // A segment has at most `isize::MAX` bytes, so rounding does not overflow.
    let bytes = bytes.next_multiple_of(explicit_page_size()?);
    Ok((create_with(bytes, MemfdFlags::HUGETLB)?, bytes))
}

fn create_with(bytes: usize, pages: MemfdFlags) -> Result<OwnedObject, CallError> {
    check_file_size("ftruncate", bytes)?;
    let flags = pages | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let created = match memfd_create("ks-allocator", flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 does not know this seal.
        Err(Errno::INVAL) => memfd_create("ks-allocator", flags),
        other => other,
    };
    let mut object = created.map_err(CallError::of("memfd_create"))?;
    if object.as_raw_fd() == 0 {
        // As a `HANDLE`, 0 would mean that there is no object.
        object =
            fcntl_dupfd_cloexec(&object, 1).map_err(CallError::of("fcntl(F_DUPFD_CLOEXEC)"))?;
    }
    let size = u64::try_from(bytes).map_err(|_| CallError::new("ftruncate", Errno::FBIG))?;
    ftruncate(&object, size).map_err(CallError::of("ftruncate"))?;
    Ok(object)
}

/// Backs the whole object with memory.
pub(crate) fn allocate(object: &OwnedObject, bytes: usize) -> Result<(), CallError> {
    for start in (0..bytes).step_by(CHUNK) {
        let (offset, length) = (start as u64, CHUNK.min(bytes - start) as u64);
        retry_on_intr(|| fallocate(object, FallocateFlags::empty(), offset, length))
            .map_err(CallError::of("fallocate"))?;
    }
    Ok(())
}

/// Maps the whole object, readable and writable: at `hint`, if nothing is mapped there.
pub(crate) fn map(
    object: &OwnedObject,
    bytes: usize,
    hint: Option<NonNull<u8>>,
) -> Result<NonNull<u8>, CallError> {
    let hint = hint.map_or(ptr::null_mut(), |hint| hint.as_ptr().cast());
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: without `MAP_FIXED` the address is a hint. The system chooses a range in which
    // nothing is mapped, so no memory in use changes.
    let base = unsafe { libc::mmap(hint, bytes, access, libc::MAP_SHARED, object.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(mmap_error("mmap", bytes, io::Error::last_os_error()));
    }
    NonNull::new(base.cast()).ok_or_else(|| CallError::new("mmap", io::ErrorKind::OutOfMemory))
}

/// Returns the id of a new object. The memory is not touched.
pub(crate) fn assign_id(
    object: &OwnedObject,
    _base: NonNull<u8>,
    _bytes: usize,
) -> Result<u64, CallError> {
    let status = fstat(object).map_err(CallError::of("fstat"))?;
    Ok(id(&status))
}

/// Returns the id of the object with this status: its number, which the kernel gives to one object
/// only, and in the upper bits the file system. Memfds of huge pages have a file system of their
/// own.
///
/// From Linux 5.9 on, 64-bit kernels do not use the number of an ordinary memfd again. In all other
/// cases they may, after 2^32 objects.
fn id(status: &Stat) -> u64 {
    status.st_dev.rotate_right(16) ^ status.st_ino
}

/// Seals the object against changes of its size and, unless peers may write, against new writable
/// mappings. Existing mappings of this process stay writable.
pub(crate) fn seal(object: &OwnedObject, peers_may_write: bool) -> Result<(), CallError> {
    let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    seals.set(SealFlags::FUTURE_WRITE, !peers_may_write);
    fcntl_add_seals(object, seals).map_err(CallError::of("fcntl(F_ADD_SEALS)"))
}

/// Maps the whole object of another process. Returns the size of the mapping, and the id that the
/// owner [assigned](assign_id).
pub(crate) fn map_peer(
    handle: BorrowedObject<'_>,
    writable: bool,
) -> io::Result<(NonNull<u8>, usize, u64)> {
    // Only memfds know seals.
    let seals = fcntl_get_seals(handle).map_err(|_| invalid("not a handle of sealed memory"))?;
    if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
        return Err(invalid(
            "the memory is not sealed against changes of its size",
        ));
    }
    let status = fstat(handle)?;
    let bytes = usize::try_from(status.st_size)
        .map_err(|_| invalid("the memory is larger than the address space"))?;
    let mut access = ProtFlags::READ;
    access.set(ProtFlags::WRITE, writable);
    // SAFETY: the address is NULL, so the system chooses a range in which nothing is mapped. The
    // callers of `RemoteFrames::open` promise what references into the mapping need.
    let base = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, handle, 0) };
    let base = base.map_err(|error| mmap_error("mmap", bytes, error.into()).source)?;
    let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
    Ok((base, bytes, id(&status)))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}
