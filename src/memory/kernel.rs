//! Pages that a kernel object owns: what [`AllocatorMode::Kernel`](crate::AllocatorMode) means.
//!
//! | | the object | shrinks, grows | who else maps it writable |
//! |---|---|---|---|
//! | Linux | a memfd | sealed against both (and, from 6.3 on, against `exec`) | nobody, unless asked for |
//! | Windows | a section backed by the page file | cannot | whoever is given a handle that may write |
//! | elsewhere | none | | |
//!
//! On Windows the section's list of those who may do anything with it is empty, so that a handle that may
//! only read does not lead to one that may write. (A process of the same user that is not confined can
//! change that list, and do worse to its owner.)

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use crate::error::CommitError;
use crate::memory_options::MemoryRequest;
use crate::mode::AllocatorMode;

use super::residency::{Failed, MemoryRequests, populate};
use super::touch;
use super::user::UserPages;

/// A kernel object that frames live in, borrowed: a file descriptor, or on Windows a handle.
pub type BorrowedKernelObject<'a> = system::BorrowedObject<'a>;

/// A kernel object that frames live in, owned: a file descriptor, or on Windows a handle.
pub type OwnedKernelObject = system::OwnedObject;

/// A kernel object, borrowed from its owner.
pub(crate) fn borrow(object: &OwnedKernelObject) -> BorrowedKernelObject<'_> {
    system::borrow(object)
}

/// A kernel object as the word that `HANDLE` is in COM.
#[cfg(feature = "windows")]
pub(crate) fn as_word(object: BorrowedKernelObject<'_>) -> *mut c_void {
    system::as_word(object)
}

/// Another handle on a kernel object, for a peer: to map it for reading, or for writing, too.
pub(crate) fn clone_for_peer(
    object: &OwnedKernelObject,
    may_write: bool,
) -> io::Result<OwnedKernelObject> {
    system::clone_for_peer(object, may_write)
}

/// A shared, readable and writable mapping of all of a kernel object; unmapped on drop. The object
/// may be closed before.
#[derive(Debug)]
pub(super) struct KernelPages {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone and to no thread; whichever thread drops it may
// unmap it. (The pages may be mapped elsewhere, too.)
unsafe impl Send for KernelPages {}
// SAFETY: a shared `KernelPages` only tells its address.
unsafe impl Sync for KernelPages {}

impl KernelPages {
    /// Makes an object of at least `bytes` bytes, which is not 0, and maps all of it, as wished for.
    ///
    /// If it is to be prefaulted, the system sets the memory aside before anybody touches it, so that
    /// there is an error and not an accident if it has too little.
    pub(super) fn map(
        bytes: usize,
        requests: &mut MemoryRequests,
        peers_may_write: bool,
    ) -> Result<(Self, OwnedKernelObject), CommitError> {
        if requests.explicit_huge_pages() {
            if let Some((pages, object)) = Self::of_huge_pages(bytes, requests, peers_may_write)? {
                requests.after_touch(pages.base, bytes, pages.bytes)?;
                return Ok((pages, object));
            }
        }
        let failed = |(call, source): Failed| match source.kind() {
            io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull => {
                CommitError::OutOfMemory { bytes }
            }
            io::ErrorKind::Unsupported => CommitError::ModeUnsupported {
                mode: AllocatorMode::Kernel,
                reason: "this system has no memory objects that can be sealed",
            },
            _ => CommitError::Os { call, source },
        };
        let (room, alignment) = requests.room(bytes);
        let mut place = None;
        if requests.prefault() || alignment.is_some() {
            // The system promises a memfd any size, and then looks for memory until there is none for
            // anybody. What it would not promise as private memory is not asked for. Where that would lie,
            // aligned, there is room for the object.
            let promised = UserPages::reserve(room, alignment, None)?;
            place = alignment.map(|_| promised.base());
        }
        let object = system::create(room, requests.node_to_map_on()?).map_err(failed)?;
        let pages = Self::of(&object, room, place).map_err(failed)?;
        system::seal(&object, peers_may_write).map_err(failed)?;
        requests.before_touch(pages.base, room)?;
        if requests.prefault() {
            requests.populate_transparent(pages.base, room);
            system::set_aside(&object, room).map_err(failed)?;
            // SAFETY: mapped writable, and nobody else knows of it yet.
            unsafe { touch(pages.base, bytes) };
        }
        requests.after_touch(pages.base, bytes, room)?;
        Ok((pages, object))
    }

    /// Maps all of an object, of so many bytes; at this place, if it is free.
    fn of(
        object: &OwnedKernelObject,
        bytes: usize,
        place: Option<NonNull<u8>>,
    ) -> Result<Self, Failed> {
        let base = system::map(object, bytes, place)?.cast();
        Ok(Self { base, bytes })
    }

    /// As `map`, of explicit huge pages, with memory behind them. `None` if there are none, which is then
    /// noted.
    fn of_huge_pages(
        bytes: usize,
        requests: &mut MemoryRequests,
        peers_may_write: bool,
    ) -> Result<Option<(Self, OwnedKernelObject)>, CommitError> {
        let made = system::create_huge(bytes).and_then(|(object, room)| {
            let pages = Self::of(&object, room, None)?;
            system::seal(&object, peers_may_write)?;
            Ok((pages, object))
        });
        let failed = match made {
            Ok((pages, object)) => {
                requests.before_touch(pages.base, pages.bytes)?;
                match populate(pages.base, pages.bytes) {
                    Ok(()) => return Ok(Some((pages, object))),
                    Err(failed) => failed,
                }
            }
            Err(failed) => failed,
        };
        requests.miss(MemoryRequest::ExplicitHugePages, failed)?;
        Ok(None)
    }

    /// Where the pages begin, a multiple of the page size.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for KernelPages {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and as for `UserPages`.
        unsafe { unmap(self.base.cast(), self.bytes) };
    }
}

/// Unmaps a mapping of a kernel object, here or in a borrower.
///
/// # Safety
///
/// It is one of so many bytes, as a whole, and nobody uses it from here on.
pub(super) unsafe fn unmap(base: NonNull<c_void>, bytes: usize) {
    // SAFETY: the caller's promise.
    let unmapped = unsafe { system::unmap(base, bytes) };
    // As for `UserPages`.
    drop(unmapped);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::ptr;

    use rustix::fs::{
        FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
    };
    use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    use super::super::residency::explicit_page;
    use super::{Failed, NonNull, c_void, io};

    pub(crate) type OwnedObject = OwnedFd;
    pub(crate) type BorrowedObject<'a> = BorrowedFd<'a>;

    /// Bytes that are set aside at a time.
    const PIECE: usize = 16 << 20;

    pub(super) fn borrow(object: &OwnedObject) -> BorrowedObject<'_> {
        object.as_fd()
    }

    #[cfg(feature = "windows")]
    pub(super) fn as_word(object: BorrowedObject<'_>) -> *mut c_void {
        let number = object.as_raw_fd();
        ptr::without_provenance_mut(usize::try_from(number).unwrap_or(0))
    }

    /// What may be done with it was sealed when it was made.
    pub(super) fn clone_for_peer(
        object: &OwnedObject,
        _may_write: bool,
    ) -> io::Result<OwnedObject> {
        object.try_clone()
    }

    /// FrameIds the call that failed.
    fn name<T>(call: &'static str, result: Result<T, Errno>) -> Result<T, Failed> {
        result.map_err(|errno| (call, errno.into()))
    }

    /// It is bound to a node once it is mapped.
    pub(super) fn create(bytes: usize, _node: Option<u32>) -> Result<OwnedObject, Failed> {
        create_of(bytes, MemfdFlags::empty())
    }

    /// Makes an object of huge pages, as many as `bytes` bytes need, and says how much that is. They are
    /// there for certain once it is mapped.
    pub(super) fn create_huge(bytes: usize) -> Result<(OwnedObject, usize), Failed> {
        // A segment has at most `isize::MAX` bytes, so there is no overflow.
        let bytes = bytes.next_multiple_of(explicit_page()?);
        Ok((create_of(bytes, MemfdFlags::HUGETLB)?, bytes))
    }

    fn create_of(bytes: usize, pages: MemfdFlags) -> Result<OwnedObject, Failed> {
        let flags = pages | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let created = match memfd_create("ks-allocator", flags | MemfdFlags::NOEXEC_SEAL) {
            // Linux before 6.3 knows no such seal.
            Err(Errno::INVAL) => memfd_create("ks-allocator", flags),
            other => other,
        };
        let mut object = name("memfd_create", created)?;
        if object.as_raw_fd() == 0 {
            // As a `HANDLE` it would be none.
            object = name("fcntl(F_DUPFD_CLOEXEC)", fcntl_dupfd_cloexec(&object, 1))?;
        }
        let size = u64::try_from(bytes).map_err(|_| ("ftruncate", Errno::FBIG.into()))?;
        name("ftruncate", ftruncate(&object, size))?;
        Ok(object)
    }

    /// Has the system back all of the object with memory, in pieces, for a signal undoes a piece.
    pub(super) fn set_aside(object: &OwnedObject, bytes: usize) -> Result<(), Failed> {
        for start in (0..bytes).step_by(PIECE) {
            let (offset, length) = (start as u64, PIECE.min(bytes - start) as u64);
            let flags = FallocateFlags::empty();
            let done = retry_on_intr(|| fallocate(object, flags, offset, length));
            name("fallocate", done)?;
        }
        Ok(())
    }

    pub(super) fn map(
        object: &OwnedObject,
        bytes: usize,
        place: Option<NonNull<u8>>,
    ) -> Result<NonNull<c_void>, Failed> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let place = place.map_or(ptr::null_mut(), |place| place.as_ptr().cast());
        // SAFETY: a new mapping replaces none that exists, for the place is a request only.
        let base = unsafe { mmap(place, bytes, access, MapFlags::SHARED, object, 0) };
        let base = name("mmap", base)?;
        NonNull::new(base).ok_or_else(|| ("mmap", io::ErrorKind::OutOfMemory.into()))
    }

    /// Our own mapping stays writable whatever is sealed.
    pub(super) fn seal(object: &OwnedObject, peers_may_write: bool) -> Result<(), Failed> {
        let mut seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        seals.set(SealFlags::FUTURE_WRITE, !peers_may_write);
        name("fcntl(F_ADD_SEALS)", fcntl_add_seals(object, seals))
    }

    /// # Safety
    ///
    /// `base` and `bytes` are of a `map`, and nobody uses the memory from here on.
    pub(super) unsafe fn unmap(base: NonNull<c_void>, bytes: usize) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { munmap(base.as_ptr(), bytes) }.map_err(Into::into)
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod system {
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    use super::{Failed, NonNull, c_void, io};

    pub(crate) type OwnedObject = OwnedFd;
    pub(crate) type BorrowedObject<'a> = BorrowedFd<'a>;

    pub(super) fn borrow(object: &OwnedObject) -> BorrowedObject<'_> {
        object.as_fd()
    }

    #[cfg(feature = "windows")]
    pub(super) fn as_word(object: BorrowedObject<'_>) -> *mut c_void {
        let number = std::os::fd::AsRawFd::as_raw_fd(&object);
        std::ptr::without_provenance_mut(usize::try_from(number).unwrap_or(0))
    }

    /// What may be done with it was sealed when it was made.
    pub(super) fn clone_for_peer(
        object: &OwnedObject,
        _may_write: bool,
    ) -> io::Result<OwnedObject> {
        object.try_clone()
    }

    pub(super) fn create(_bytes: usize, _node: Option<u32>) -> Result<OwnedObject, Failed> {
        Err(("memfd_create", io::ErrorKind::Unsupported.into()))
    }

    pub(super) fn create_huge(_bytes: usize) -> Result<(OwnedObject, usize), Failed> {
        Err(("memfd_create", io::ErrorKind::Unsupported.into()))
    }

    pub(super) fn set_aside(_object: &OwnedObject, _bytes: usize) -> Result<(), Failed> {
        Err(("fallocate", io::ErrorKind::Unsupported.into()))
    }

    pub(super) fn map(
        _object: &OwnedObject,
        _bytes: usize,
        _place: Option<NonNull<u8>>,
    ) -> Result<NonNull<c_void>, Failed> {
        Err(("mmap", io::ErrorKind::Unsupported.into()))
    }

    pub(super) fn seal(_object: &OwnedObject, _peers_may_write: bool) -> Result<(), Failed> {
        Err(("fcntl", io::ErrorKind::Unsupported.into()))
    }

    /// # Safety
    ///
    /// None: there is nothing that it could be called for.
    pub(super) unsafe fn unmap(_base: NonNull<c_void>, _bytes: usize) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(windows)]
mod system {
    use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
    use std::ptr;

    use windows_sys::Win32::Foundation::{
        DuplicateHandle, ERROR_COMMITMENT_LIMIT, INVALID_HANDLE_VALUE,
    };
    use windows_sys::Win32::Security::{
        ACL, ACL_REVISION, InitializeAcl, InitializeSecurityDescriptor, PSECURITY_DESCRIPTOR,
        SECURITY_ATTRIBUTES, SECURITY_DESCRIPTOR, SetSecurityDescriptorDacl,
    };
    use windows_sys::Win32::System::Memory::{
        CreateFileMappingNumaW, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS,
        MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile,
    };
    use windows_sys::Win32::System::Threading::GetCurrentProcess;

    use super::super::NO_NODE;
    use super::{Failed, NonNull, c_void, io};

    pub(crate) type OwnedObject = OwnedHandle;
    pub(crate) type BorrowedObject<'a> = BorrowedHandle<'a>;

    pub(super) fn borrow(object: &OwnedObject) -> BorrowedObject<'_> {
        object.as_handle()
    }

    #[cfg(feature = "windows")]
    pub(super) fn as_word(object: BorrowedObject<'_>) -> *mut c_void {
        object.as_raw_handle()
    }

    pub(super) fn clone_for_peer(object: &OwnedObject, may_write: bool) -> io::Result<OwnedObject> {
        let access = if may_write {
            FILE_MAP_READ | FILE_MAP_WRITE
        } else {
            FILE_MAP_READ
        };
        // SAFETY: takes no arguments; the pseudo handle need not be closed.
        let process = unsafe { GetCurrentProcess() };
        let mut clone = ptr::null_mut();
        // SAFETY: the handle is open, and `clone` can be written.
        let done = unsafe {
            DuplicateHandle(
                process,
                object.as_raw_handle(),
                process,
                &raw mut clone,
                access,
                0,
                0,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new handle, which nobody else has.
        Ok(unsafe { OwnedHandle::from_raw_handle(clone) })
    }

    /// `SECURITY_DESCRIPTOR_REVISION`.
    const REVISION: u32 = 1;

    /// What the system said to a call just now.
    fn last(call: &'static str) -> Failed {
        let error = io::Error::last_os_error();
        let code = error
            .raw_os_error()
            .and_then(|code| u32::try_from(code).ok());
        match code {
            Some(ERROR_COMMITMENT_LIMIT) => (call, io::ErrorKind::OutOfMemory.into()),
            _ => (call, error),
        }
    }

    /// The page file stands for all of it from the start.
    pub(super) fn create(bytes: usize, node: Option<u32>) -> Result<OwnedObject, Failed> {
        let bytes = bytes as u64;
        let (high, low) = (bytes >> 32, bytes & u64::from(u32::MAX));
        let [high, low] = [high, low].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        let nobody = Nobody::new()?;
        // SAFETY: no file and no name; the attributes live until the call is over.
        let handle = unsafe {
            CreateFileMappingNumaW(
                INVALID_HANDLE_VALUE,
                &raw const nobody.attributes,
                PAGE_READWRITE,
                high,
                low,
                ptr::null(),
                node.unwrap_or(NO_NODE),
            )
        };
        drop(nobody);
        if handle.is_null() {
            return Err(last("CreateFileMappingNumaW"));
        }
        // SAFETY: a new handle, which nobody else has.
        Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
    }

    /// Sections of large pages are not tried.
    pub(super) fn create_huge(_bytes: usize) -> Result<(OwnedObject, usize), Failed> {
        let why = "sections of this crate are of ordinary pages";
        let unsupported = io::Error::new(io::ErrorKind::Unsupported, why);
        Err(("CreateFileMappingNumaW", unsupported))
    }

    /// Security attributes with a list of rights that is there and empty. What the handle that comes
    /// of it may do, and what its owner passes on, needs no entry.
    struct Nobody {
        attributes: SECURITY_ATTRIBUTES,
        /// Pointed to by the attributes.
        _descriptor: Box<SECURITY_DESCRIPTOR>,
        /// Pointed to by the descriptor.
        _list: Box<ACL>,
    }

    impl Nobody {
        fn new() -> Result<Self, Failed> {
            let mut list = Box::<ACL>::default();
            // SAFETY: the list has that size.
            if unsafe { InitializeAcl(&raw mut *list, size::<ACL>(), ACL_REVISION) } == 0 {
                return Err(last("InitializeAcl"));
            }
            let mut descriptor = Box::<SECURITY_DESCRIPTOR>::default();
            let pointer: PSECURITY_DESCRIPTOR = (&raw mut *descriptor).cast();
            // SAFETY: there is room for a descriptor.
            if unsafe { InitializeSecurityDescriptor(pointer, REVISION) } == 0 {
                return Err(last("InitializeSecurityDescriptor"));
            }
            // SAFETY: both were initialised, and the list is kept with the descriptor.
            if unsafe { SetSecurityDescriptorDacl(pointer, 1, &raw const *list, 0) } == 0 {
                return Err(last("SetSecurityDescriptorDacl"));
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

    /// It was set aside when the section was made.
    pub(super) fn set_aside(_object: &OwnedObject, _bytes: usize) -> Result<(), Failed> {
        Ok(())
    }

    pub(super) fn map(
        object: &OwnedObject,
        bytes: usize,
        _place: Option<NonNull<u8>>,
    ) -> Result<NonNull<c_void>, Failed> {
        let access = FILE_MAP_READ | FILE_MAP_WRITE;
        // SAFETY: a new view at an address of the system's choice replaces none that exists.
        let view = unsafe { MapViewOfFile(object.as_raw_handle(), access, 0, 0, bytes) };
        NonNull::new(view.Value).ok_or_else(|| last("MapViewOfFile"))
    }

    /// A section has one size for ever; and who may write is a matter of the handle that is passed on.
    pub(super) fn seal(_object: &OwnedObject, _peers_may_write: bool) -> Result<(), Failed> {
        Ok(())
    }

    /// # Safety
    ///
    /// `base` is of a `map`, and nobody uses the memory from here on.
    pub(super) unsafe fn unmap(base: NonNull<c_void>, _bytes: usize) -> io::Result<()> {
        let view = MEMORY_MAPPED_VIEW_ADDRESS {
            Value: base.as_ptr(),
        };
        // SAFETY: the caller's promise.
        match unsafe { UnmapViewOfFile(view) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}
