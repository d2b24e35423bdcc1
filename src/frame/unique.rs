//! Unique handle of a frame.

use std::fmt;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::slice;

use crate::error::LengthError;
use crate::label::Label;
use crate::metadata::Metadata;
use crate::pool::checkout::Acquired;
use crate::pool::core::{Core, Slot};
use crate::recording::EventKind;

use super::held_slot::HeldSlot;

/// Unique, writable handle of a frame. Dropping it releases the frame to its pool.
///
/// A `Frame` dereferences to its bytes in use. An acquired frame has as many as the frame size that
/// was asked for, even if the pool rounded it up to the alignment: the [`capacity`](Self::capacity)
/// may be larger. Its metadata is cleared, and its bytes are what the last holder left there, or
/// zeroes if it was never used. Frames are **not** cleared between holders unless
/// [`Contents`](crate::Contents) says so.
///
/// A frame may outlive all handles of its pool and its allocator. The memory stays allocated until
/// the last frame is dropped. A frame that is leaked (`mem::forget`) stays out and keeps the
/// memory.
///
/// Source: `IMediaSample`.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(2).frame_size(1000).alignment(64).build()?;
/// let mut frame = pool.acquire()?;
/// assert_eq!((frame.len(), frame.capacity()), (1000, 1024));
/// frame[..5].copy_from_slice(b"hello");
/// frame.set_len(5)?;
/// assert_eq!(&*frame, b"hello");
/// assert_eq!(pool.free_frames(), 1);
/// drop(frame);
/// assert_eq!(pool.free_frames(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("IMediaSample", "IMediaSample2"))]
#[repr(transparent)]
pub struct Frame {
    pub(super) held: HeldSlot,
}

impl From<Acquired> for Frame {
    #[inline(always)]
    fn from(acquired: Acquired) -> Self {
        // SAFETY: an `Acquired` is its caller's unique hold of a frame whose use has begun.
        unsafe { Self::from_slot(acquired.into_slot()) }
    }
}

impl Frame {
    /// Makes the handle of a frame that is out.
    ///
    /// # Safety
    ///
    /// The caller is the frame's unique holder, has begun its use, and passes it on to the result.
    #[inline]
    pub(crate) unsafe fn from_slot(slot: NonNull<Slot>) -> Self {
        Self {
            // SAFETY: the frame is out, and the result is its handle.
            held: unsafe { HeldSlot::new(slot) },
        }
    }

    /// Turns the handle into its slot. The frame stays out until
    /// [`from_slot`](Self::from_slot) makes a handle of it again.
    #[inline]
    pub(crate) fn into_slot(self) -> NonNull<Slot> {
        ManuallyDrop::new(self).held.pointer()
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        self.held.core()
    }

    /// Records that the frame is shared.
    #[inline]
    pub(super) fn record_share(&self) {
        let slot = self.held.slot();
        slot.holder.record_share();
        if self.held.needs_reset() {
            self.held.record(EventKind::Shared);
        }
    }

    /// Returns the number of bytes in use, from the start of the frame.
    ///
    /// It begins with the frame size that was asked for, which the pool's
    /// [`frame_len`](crate::FramePool::frame_len) returns.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.len(), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("GetActualDataLength", "DataUsed"))]
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns whether no bytes are in use.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.clear();
    /// assert!(frame.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the capacity in bytes, without the prefix: the frame size of the pool's framing,
    /// rounded up to the alignment. [`set_len`](Self::set_len) may set any length up to it.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.set_len(10)?;
    /// assert_eq!(frame.capacity(), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("GetSize", "FrameExtent"))]
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.held.slot().capacity
    }

    /// Sets the number of bytes in use. Growing exposes the bytes that are already there: this
    /// holder's, or those of an earlier holder that [`Contents`](crate::Contents) did not zero.
    ///
    /// # Errors
    ///
    /// Returns [`LengthError`] if `length` is more than the capacity. The length stays as it is.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.set_len(10)?;
    /// assert_eq!(frame.len(), 10);
    /// assert!(frame.set_len(65).is_err());
    /// assert_eq!(frame.len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "SetActualDataLength")]
    #[inline]
    pub fn set_len(&mut self, length: usize) -> Result<(), LengthError> {
        let capacity = self.capacity();
        if length > capacity {
            return Err(LengthError {
                requested: length,
                capacity,
            });
        }
        self.store_len(length);
        Ok(())
    }

    /// Sets the length to 0, so that [`Write`] starts at the beginning.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.clear();
    /// write!(frame, "frame {}", 7)?;
    /// assert_eq!(&*frame, b"frame 7");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn clear(&mut self) {
        self.store_len(0);
    }

    /// Stores a length that is at most the capacity.
    #[inline]
    pub(super) fn store_len(&mut self, length: usize) {
        self.held.slot().state.with_mut(|state| {
            // SAFETY: by H1 the state is this handle's alone.
            unsafe { (*state).length = length }
        });
    }

    /// Fills the frame from `reader`, and sets the length to the number of bytes read, which it
    /// returns.
    ///
    /// Reading starts at the beginning of the frame and ends after as many bytes as the frame size
    /// that was asked for, or when the reader returns 0. So the reader stays at the start of the
    /// next picture, even if the pool rounded the frame size up, and whatever the length was
    /// before. To read more, up to the capacity, use [`set_len`](Self::set_len) and
    /// [`read_exact`](Read::read_exact).
    ///
    /// # Errors
    ///
    /// Returns the reader's error, except [`Interrupted`](io::ErrorKind::Interrupted), after which
    /// it reads again. The length is then as before; bytes may have changed.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// assert_eq!(frame.read_from(&mut &b"from a file"[..])?, 11);
    /// assert_eq!(&*frame, b"from a file");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_from(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        let frame_len = self.held.slot().frame_len;
        let buffer = &mut self.buffer_mut()[..frame_len];
        let mut filled = 0;
        while filled < buffer.len() {
            match reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                // A broken reader may return more than it was given. The length must stay valid.
                Ok(read) => filled = filled.saturating_add(read).min(buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.store_len(filled);
        Ok(filled)
    }

    /// Returns a pointer to the first byte of the frame, for a device or C code. It is valid for
    /// reads and writes of all [capacity](Self::capacity) bytes for as long as the frame is out,
    /// whatever the length is, as long as no reference to the bytes is used at the same time.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.clear();
    /// unsafe { frame.payload_ptr().write_bytes(7, frame.capacity()) };
    /// frame.set_len(3)?;
    /// assert_eq!(&*frame, [7; 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "GetPointer")]
    #[must_use]
    pub fn payload_ptr(&mut self) -> NonNull<u8> {
        self.held.slot().payload
    }

    /// Returns the bytes before the payload.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).prefix(4).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.prefix_mut().copy_from_slice(b"head");
    /// assert_eq!(frame.prefix(), b"head");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "cbPrefix")]
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        self.held.prefix()
    }

    /// Returns the bytes before the payload, writable.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).prefix(4).build()?;
    /// pool.acquire()?.prefix_mut().fill(0xFF);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn prefix_mut(&mut self) -> &mut [u8] {
        let (start, length) = self.held.prefix_range();
        // SAFETY: mapped and initialized (H2, H3, H4), and this handle's alone as long as `self` is
        // borrowed (H1). The prefix does not overlap the payload (M3).
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), length) }
    }

    /// Returns the bytes behind the bytes in use, up to the capacity.
    ///
    /// They have what an earlier holder left there, unless [`Contents`](crate::Contents) zeroes it.
    /// [`set_len`](Self::set_len) makes bytes that were written here part of the bytes in use.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.set_len(4)?;
    /// assert_eq!(frame.spare_mut().len(), 60);
    /// frame.spare_mut()[..2].copy_from_slice(b"ab");
    /// frame.set_len(6)?;
    /// assert_eq!(&frame[4..], b"ab");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let length = self.len();
        &mut self.buffer_mut()[length..]
    }

    /// Returns all bytes of the payload, in use or not.
    fn buffer_mut(&mut self) -> &mut [u8] {
        let slot = self.held.slot();
        // SAFETY: mapped and initialized over the capacity (H2, H3, H4), and this handle's alone as
        // long as `self` is borrowed (H1).
        unsafe { slice::from_raw_parts_mut(slot.payload.as_ptr(), slot.capacity) }
    }

    /// Returns the metadata: time stamps, flags, sequence number.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.metadata().presentation_time, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        self.held.metadata()
    }

    /// Returns the metadata, writable.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// frame.metadata_mut().sequence = 7;
    /// assert_eq!(frame.share().metadata().sequence, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("SetTime", "SetSyncPoint", "SetPreroll", "SetDiscontinuity"))]
    #[must_use]
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        self.held.slot().state.with_mut(|state| {
            // SAFETY: by H1 the state is this handle's alone as long as `self` is borrowed.
            let state = unsafe { &mut *state };
            state.needs_reset = true;
            &mut state.metadata
        })
    }

    /// Copies prefix, bytes in use and metadata of `source`, which is a frame of the same pool.
    pub(super) fn copy_from(&mut self, source: &HeldSlot) {
        let payload = source.payload();
        self.buffer_mut()[..payload.len()].copy_from_slice(payload);
        self.store_len(payload.len());
        self.prefix_mut().copy_from_slice(source.prefix());
        *self.metadata_mut() = *source.metadata();
    }

    /// Returns the number of the frame's slot: from 0 to one less than the number of frames in the
    /// pool. A slot has the same memory each time.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.slot(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn slot(&self) -> usize {
        self.held.slot().number
    }

    /// Returns the number of bytes from the start of the segment to the frame's payload, after its
    /// prefix. In Kernel mode this is also the frame's offset in the kernel object.
    ///
    /// ```
    /// # let builder = ks_allocator::FramePool::builder().frames(1).frame_size(64);
    /// let pool = builder.prefix(16).build()?;
    /// assert_eq!(pool.acquire()?.offset(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn offset(&self) -> usize {
        self.held.offset()
    }

    /// Sets the holder shown in reports: this label, the caller's source line and this thread.
    ///
    /// Call it where a stage of a pipeline receives the frame from another.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.with_label("capture").acquire()?;
    /// frame.set_label("encoder");
    /// assert!(pool.holders().to_string().contains("held by `encoder`"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn set_label(&self, label: impl Into<Label>) {
        let site = self.core().labeled_site(label.into());
        self.held.record_transfer(EventKind::Transferred, site);
    }
}

impl Drop for Frame {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: by H1 this is the frame's unique holder, and the handle is not used after this.
        unsafe { Core::release(self.held.pointer()) };
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.held.payload()
    }
}

impl DerefMut for Frame {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = self.held.slot().payload.as_ptr();
        // SAFETY: mapped and initialized (H2, H3, H4), and this handle's alone as long as `self` is
        // borrowed (H1). The length is at most the capacity.
        unsafe { slice::from_raw_parts_mut(start, self.len()) }
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Frame {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Appends to the bytes in use, up to the capacity, which may be more than the frame size that was
/// asked for.
///
/// Call [`clear`](Frame::clear) first to start at the beginning. A full frame accepts 0 bytes,
/// which `write_all` reports as `WriteZero`.
impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.len();
        let spare = self.spare_mut();
        let written = bytes.len().min(spare.len());
        spare[..written].copy_from_slice(&bytes[..written]);
        self.store_len(length + written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.describe(&mut f.debug_struct("Frame"))
    }
}

// A panic while a frame is written leaves it half written, as it would a `Vec`. The pool relies on
// nothing in it.
impl UnwindSafe for Frame {}
impl RefUnwindSafe for Frame {}
