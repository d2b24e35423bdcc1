//! The frames of another process: what a borrower makes of a handle and tokens.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;

use crate::error::TokenError;
use crate::token::FrameToken;

use super::BorrowedKernelObject;
use super::kernel::unmap;

/// The segment of a pool in another process, mapped to be read.
///
/// The owner of the pool sends the [handle](crate::FramePool::try_clone_handle) once, and a
/// [token](crate::Frame::lend) for each frame. Nothing is copied, and nothing that such a borrower does
/// changes the owner's frames: if it dies, the owner [revokes](crate::FramePool::revoke) its tokens.
///
/// ```
/// # use ks_allocator::{AllocatorMode, FramePool, FrameToken, RemoteFrames};
/// # if cfg!(any(target_os = "linux", windows)) {
/// let pool = FramePool::builder().frames(4).frame_size(64).mode(AllocatorMode::Kernel).build()?;
/// let mut frame = pool.acquire()?;
/// frame.fill(7);
/// let token = frame.lend().expect("in Kernel mode");
///
/// // In the other process, which was sent a clone of the handle and the bytes of the token:
/// let handle = pool.handle().expect("in Kernel mode");
/// let frames = unsafe { RemoteFrames::open(handle) }?;
/// assert_eq!(frames.get(token)?, [7; 64]);
/// assert!(frames.get(FrameToken::from_bytes([9; 32])).is_err());
/// # pool.redeem(token)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RemoteFrames {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone and to no thread.
unsafe impl Send for RemoteFrames {}
// SAFETY: through `&RemoteFrames` the bytes can only be read.
unsafe impl Sync for RemoteFrames {}

impl RemoteFrames {
    /// Maps all of a pool's segment.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the handle is not one of such memory, or, on
    /// Linux, of memory that is not sealed against being shrunk, which could be taken from under us;
    /// [`Unsupported`](io::ErrorKind::Unsupported) where there is no Kernel mode; what the system says.
    ///
    /// # Safety
    ///
    /// For as long as a slice that [`get`](Self::get) returned is used, nobody writes to the bytes it
    /// covers, whatever token it was made by: no other process, nor this one by another mapping or in the
    /// pool itself. (An owner that uses this crate does not write to what it has lent; which tokens are
    /// those of frames that are lent, and what the owner is, only the caller knows.)
    pub unsafe fn open(handle: BorrowedKernelObject<'_>) -> io::Result<Self> {
        Self::map(handle, false)
    }

    fn map(handle: BorrowedKernelObject<'_>, writable: bool) -> io::Result<Self> {
        let (base, bytes) = system::map(handle, writable)?;
        let frames = Self {
            base: base.cast(),
            bytes,
        };
        // No slice may be longer.
        match isize::try_from(bytes) {
            Ok(_) => Ok(frames),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the memory is larger than half an address space",
            )),
        }
    }

    /// The bytes of the frame that was lent by this token.
    ///
    /// A token cannot be checked here for more than this: whether the frame is lent at all, the owner
    /// knows.
    ///
    /// # Errors
    ///
    /// [`TokenError::Outside`] if the token points outside of the segment.
    pub fn get(&self, token: FrameToken) -> Result<&[u8], TokenError> {
        let (start, length) = self.place(token)?;
        // SAFETY: inside of the mapping; nobody writes there, as the caller of `open` has promised.
        Ok(unsafe { slice::from_raw_parts(start.as_ptr(), length) })
    }

    /// Where the frame of a token lies: inside of the mapping.
    fn place(&self, token: FrameToken) -> Result<(NonNull<u8>, usize), TokenError> {
        let outside = TokenError::Outside {
            slot: token.slot,
            offset: token.offset,
        };
        let offset = usize::try_from(token.offset).map_err(|_| outside)?;
        let length = usize::try_from(token.length).map_err(|_| outside)?;
        match offset.checked_add(length) {
            Some(end) if end <= self.bytes => {
                // SAFETY: inside of the mapping.
                Ok((unsafe { self.base.add(offset) }, length))
            }
            _ => Err(outside),
        }
    }
}

impl Drop for RemoteFrames {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and slices of it borrow from `self`.
        unsafe { unmap(self.base.cast(), self.bytes) };
    }
}

impl fmt::Debug for RemoteFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFrames")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// [`RemoteFrames`] that may also be written, if the pool's owner
/// [lets its peers](crate::FramePoolBuilder::peers_may_write).
///
/// ```
/// # use ks_allocator::{AllocatorMode, FramePool, RemoteFramesMut};
/// # if cfg!(any(target_os = "linux", windows)) {
/// let kernel = FramePool::builder().frames(4).frame_size(64).mode(AllocatorMode::Kernel);
/// let pool = unsafe { kernel.peers_may_write(true) }.build()?;
/// let token = pool.acquire()?.lend().expect("in Kernel mode");
///
/// // In the other process:
/// let handle = pool.handle().expect("in Kernel mode");
/// let mut frames = unsafe { RemoteFramesMut::open(handle) }?;
/// frames.get_mut(token)?.fill(7);
///
/// // And back in this one:
/// assert_eq!(*pool.redeem(token)?, [7; 64]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RemoteFramesMut(RemoteFrames);

impl RemoteFramesMut {
    /// Maps all of a pool's segment, to be written.
    ///
    /// # Errors
    ///
    /// As [`RemoteFrames::open`]; and [`PermissionDenied`](io::ErrorKind::PermissionDenied) if peers may
    /// not write.
    ///
    /// # Safety
    ///
    /// For as long as a slice that [`get_mut`](Self::get_mut) returned is used, nobody reads or writes the
    /// bytes it covers, and for as long as one that [`get`](RemoteFrames::get) returned, nobody writes
    /// them: as for [`RemoteFrames::open`].
    pub unsafe fn open(handle: BorrowedKernelObject<'_>) -> io::Result<Self> {
        RemoteFrames::map(handle, true).map(Self)
    }

    /// The bytes of the frame that was lent by this token, to be written.
    ///
    /// # Errors
    ///
    /// As [`RemoteFrames::get`].
    pub fn get_mut(&mut self, token: FrameToken) -> Result<&mut [u8], TokenError> {
        let (start, length) = self.0.place(token)?;
        // SAFETY: inside of the mapping, which is writable; nobody else reads or writes there, as the
        // caller of `open` has promised, and here `self` is borrowed.
        Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), length) })
    }
}

impl Deref for RemoteFramesMut {
    type Target = RemoteFrames;

    fn deref(&self) -> &RemoteFrames {
        &self.0
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::ptr;

    use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
    use rustix::mm::{MapFlags, ProtFlags, mmap};

    use super::{BorrowedKernelObject, NonNull, c_void, io};

    fn invalid(why: &'static str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, why)
    }

    pub(super) fn map(
        handle: BorrowedKernelObject<'_>,
        writable: bool,
    ) -> io::Result<(NonNull<c_void>, usize)> {
        // A descriptor that knows no seals is none of a memfd.
        let seals =
            fcntl_get_seals(handle).map_err(|_| invalid("not a handle of sealed memory"))?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(invalid(
                "the memory is not sealed against changes of its size",
            ));
        }
        let bytes = usize::try_from(fstat(handle)?.st_size)
            .map_err(|_| invalid("the memory is larger than an address space"))?;
        let mut access = ProtFlags::READ;
        access.set(ProtFlags::WRITE, writable);
        // SAFETY: a new mapping at an address of the system's choice replaces none that exists.
        let base = unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, handle, 0) }?;
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok((base, bytes))
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod system {
    use super::{BorrowedKernelObject, NonNull, c_void, io};

    pub(super) fn map(
        _handle: BorrowedKernelObject<'_>,
        _writable: bool,
    ) -> io::Result<(NonNull<c_void>, usize)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(windows)]
mod system {
    use std::mem::MaybeUninit;
    use std::os::windows::io::AsRawHandle;

    use windows_sys::Win32::Foundation::ERROR_INVALID_HANDLE;
    use windows_sys::Win32::System::Memory::{
        FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEMORY_BASIC_INFORMATION, MapViewOfFile,
        VirtualQuery,
    };

    use super::{BorrowedKernelObject, NonNull, c_void, io, unmap};

    pub(super) fn map(
        handle: BorrowedKernelObject<'_>,
        writable: bool,
    ) -> io::Result<(NonNull<c_void>, usize)> {
        let access = if writable {
            FILE_MAP_READ | FILE_MAP_WRITE
        } else {
            FILE_MAP_READ
        };
        // SAFETY: a new view at an address of the system's choice replaces none that exists; 0 stands
        // for all of the section.
        let view = unsafe { MapViewOfFile(handle.as_raw_handle(), access, 0, 0, 0) };
        let base = NonNull::new(view.Value).ok_or_else(refused)?;
        match size(base) {
            Ok(bytes) => Ok((base, bytes)),
            Err(error) => {
                // SAFETY: mapped just now, and nobody knows of it; the system knows its size.
                unsafe { unmap(base, 0) };
                Err(error)
            }
        }
    }

    fn invalid(why: &'static str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, why)
    }

    /// What the system said to a handle that it does not map.
    fn refused() -> io::Error {
        let error = io::Error::last_os_error();
        match error
            .raw_os_error()
            .and_then(|code| u32::try_from(code).ok())
        {
            Some(ERROR_INVALID_HANDLE) => invalid("not a handle of a section"),
            _ => error,
        }
    }

    /// The size of the view that starts at `base`, of which all must be there.
    fn size(base: NonNull<c_void>) -> io::Result<usize> {
        let mut known = MaybeUninit::<MEMORY_BASIC_INFORMATION>::uninit();
        let room = size_of::<MEMORY_BASIC_INFORMATION>();
        // SAFETY: any address may be asked for; the answer fits into the room.
        if unsafe { VirtualQuery(base.as_ptr(), known.as_mut_ptr(), room) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has filled it in.
        let known = unsafe { known.assume_init() };
        if known.State != MEM_COMMIT {
            return Err(invalid("the section is of memory that need not be there"));
        }
        Ok(known.RegionSize)
    }
}
