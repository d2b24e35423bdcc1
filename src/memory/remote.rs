//! Frames of a pool in another process, found by a handle and tokens.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;

use crate::error::TokenError;
use crate::token::FrameToken;

use super::kernel_object::{BorrowedKernelObject, ObjectMapping};

/// The segment of a pool in another process, mapped read-only.
///
/// The owner of the pool sends its [handle](crate::FramePool::try_clone_handle) once, and a
/// [token](crate::Frame::lend) per frame. No bytes are copied. A borrower with this mapping cannot
/// change the owner's frames. If it dies, the owner [revokes](crate::FramePool::revoke) its tokens.
///
/// Tokens name the segment, and those of another segment are errors. A commit that makes new memory
/// therefore needs a new handle.
///
/// ```
/// # use ks_allocator::{AllocatorMode, FramePool, FrameToken, RemoteFrames};
/// # if cfg!(any(target_os = "linux", windows)) {
/// let pool = FramePool::builder().frames(4).frame_size(64).mode(AllocatorMode::Kernel).build()?;
/// let mut frame = pool.acquire()?;
/// frame.fill(7);
/// let token = frame.lend().expect("in Kernel mode");
///
/// // In the other process, which has received a clone of the handle and the bytes of the token:
/// let handle = pool.handle().expect("in Kernel mode");
/// let frames = unsafe { RemoteFrames::open(handle) }?;
/// assert_eq!(frames.get(token)?, [7; 64]);
/// assert!(frames.get(FrameToken::from_bytes([9; 32])).is_err());
/// # pool.redeem(token)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RemoteFrames {
    /// At most `isize::MAX` bytes.
    mapping: ObjectMapping,
}

impl RemoteFrames {
    /// Maps the whole segment of a pool.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) if the handle is not one of a kernel object
    ///   that owns memory, or if, on Linux, the memory is not sealed against changes of its size:
    ///   the owner could shrink it while it is used here.
    /// - [`Unsupported`](io::ErrorKind::Unsupported) on systems without Kernel mode.
    /// - Any other error of the system.
    ///
    /// # Safety
    ///
    /// While a slice that [`get`](Self::get) returned is in use, the bytes it covers are not
    /// written: not by another process, and not by this one through another mapping or in the pool
    /// itself. This holds for every token that is passed to [`get`](Self::get).
    ///
    /// An owner that uses this crate does not write to frames that it has lent, until the token is
    /// redeemed or revoked, or the last handle of its pool is dropped. Only the caller can know
    /// that the owner uses this crate, and that a token is that of a lent frame.
    pub unsafe fn open(handle: BorrowedKernelObject<'_>) -> io::Result<Self> {
        Self::map(handle, false)
    }

    fn map(handle: BorrowedKernelObject<'_>, writable: bool) -> io::Result<Self> {
        let mapping = ObjectMapping::of_peer(handle, writable)?;
        // The maximum size of a slice.
        match isize::try_from(mapping.bytes()) {
            Ok(_) => Ok(Self { mapping }),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the memory is larger than half the address space",
            )),
        }
    }

    /// Returns the bytes of the frame with this token.
    ///
    /// It checks only that the token names this segment, and that the bytes lie inside it. Whether
    /// the frame is lent at the moment is known to the owner alone.
    ///
    /// # Errors
    ///
    /// - [`TokenError::OtherSegment`] if the token names a frame of another segment: one of another
    ///   pool, or of an earlier or later commit. The owner then has to send its
    ///   [handle](crate::FramePool::try_clone_handle) again.
    /// - [`TokenError::Outside`] if the token points outside the segment.
    pub fn get(&self, token: FrameToken) -> Result<&[u8], TokenError> {
        let (start, length) = self.locate(token)?;
        // SAFETY: the bytes lie inside the mapping, which is initialized, has at most `isize::MAX`
        // bytes, and stays until `self` is dropped. The caller of `open` has promised that they are
        // not written meanwhile.
        Ok(unsafe { slice::from_raw_parts(start.as_ptr(), length) })
    }

    /// Returns start and length of the frame with this token, which lies inside the mapping.
    fn locate(&self, token: FrameToken) -> Result<(NonNull<u8>, usize), TokenError> {
        if token.segment != self.mapping.id() {
            return Err(TokenError::OtherSegment);
        }
        let outside = TokenError::Outside {
            offset: token.offset,
            length: token.length,
        };
        let offset = usize::try_from(token.offset).map_err(|_| outside)?;
        let length = usize::try_from(token.length).map_err(|_| outside)?;
        match offset.checked_add(length) {
            Some(end) if end <= self.mapping.bytes() => {
                // SAFETY: `offset` is at most the size of the mapping.
                Ok((unsafe { self.mapping.base().add(offset) }, length))
            }
            _ => Err(outside),
        }
    }
}

impl fmt::Debug for RemoteFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFrames")
            .field("bytes", &self.mapping.bytes())
            .finish_non_exhaustive()
    }
}

/// The segment of a pool in another process, mapped readable and writable.
///
/// The owner must [allow writing](crate::FramePoolBuilder::peers_may_write). Otherwise like
/// [`RemoteFrames`], to which it dereferences.
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
/// // Back in the process of the owner:
/// assert_eq!(*pool.redeem(token)?, [7; 64]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RemoteFramesMut(RemoteFrames);

impl RemoteFramesMut {
    /// Maps the whole segment of a pool, readable and writable.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`RemoteFrames::open`], and
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if the owner does not allow writing.
    ///
    /// # Safety
    ///
    /// While a slice that [`get_mut`](Self::get_mut) returned is in use, the bytes it covers are
    /// neither read nor written in any other way. While a slice that [`get`](RemoteFrames::get)
    /// returned is in use, the conditions of [`RemoteFrames::open`] hold.
    pub unsafe fn open(handle: BorrowedKernelObject<'_>) -> io::Result<Self> {
        RemoteFrames::map(handle, true).map(Self)
    }

    /// Returns the bytes of the frame with this token, to be written.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`get`](RemoteFrames::get).
    pub fn get_mut(&mut self, token: FrameToken) -> Result<&mut [u8], TokenError> {
        let (start, length) = self.0.locate(token)?;
        // SAFETY: the bytes lie inside the mapping, which is writable and initialized, has at most
        // `isize::MAX` bytes, and stays until `self` is dropped. The caller of `open` has promised
        // that they are not accessed in another way, and `self` is borrowed mutably.
        Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), length) })
    }
}

impl Deref for RemoteFramesMut {
    type Target = RemoteFrames;

    fn deref(&self) -> &RemoteFrames {
        &self.0
    }
}
