//! Frames in the hands of a pipeline: unique and writable, shared and read-only, or in a batch.
//!
//! A handle is one pointer to the slot. What makes the `unsafe` code here sound:
//!
//! - **H1** A [`Frame`] is the only handle of a frame that is out. It comes out of the free list
//!   (F1), from a waiter's outcome (W3), from a batch, from a token (L1), or from a [`SharedFrame`]
//!   that has read that it is the only handle (S2).
//! - **H2** A frame that is out keeps slot, core and segment alive (C1, C2).
//! - **H3** All bytes of a segment are initialised (M2), so any `u8` slice inside it is sound, also
//!   one that reaches past what the last owner wrote.
//! - **H4** In a trap (M4), a frame that is out is accessible from `claim` on, which is the only way from
//!   the pool to a handle, until `reset`, which is the last thing that is done with a handle's bytes.
//!   Frames of a batch that nobody took out are not.

use std::fmt;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::slice;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::contents::Contents;
use crate::error::{AcquireError, LengthError, TokenError};
use crate::label::Label;
use crate::metadata::Metadata;
use crate::pool::core::Core;
use crate::pool::free_list::{Bits, MAX_BATCH};
use crate::pool::holder_table::{CallSite, Snapshot};
use crate::pool::recorder::Subject;
use crate::pool::slot::Slot;
use crate::pool::wait_queue::PendingWait;
use crate::recording::EventKind;
use crate::token::FrameToken;

/// One frame of a pool, to be read and written; dropping it gives it back.
///
/// A frame dereferences to its bytes in use. Fresh from the pool these are all it has room for:
/// [`len`](Self::len) is the capacity, all metadata is cleared, and the bytes are what the last
/// owner left there (zeroes, if there was none). Frames are **not** scrubbed between owners, unless
/// [`Contents`] says so.
///
/// A frame may outlive the pool's handles and its allocator; the memory stays until it is dropped.
/// One that is leaked (`mem::forget`) stays out for ever and keeps the memory.
///
/// Source: `IMediaSample`.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(2).frame_size(1920).build()?;
/// let mut frame = pool.acquire()?;
/// assert_eq!(frame.len(), 1920);
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
    slot: NonNull<Slot>,
}

// SAFETY: by H1 a frame's bytes and state are its own, and the slot and what it leads to are
// `Sync`. Giving it back from another thread is what the free list is for.
unsafe impl Send for Frame {}
// SAFETY: through `&Frame` bytes and state can only be read.
unsafe impl Sync for Frame {}

impl Frame {
    /// Takes a free frame.
    #[inline(always)]
    pub(crate) fn try_acquire(core: &Core, site: CallSite) -> Result<Self, AcquireError> {
        match core.take_one_at_home() {
            // SAFETY: taking it made the frame ours.
            Some(slot) => Ok(unsafe { Self::claim(slot, site) }),
            None => Self::try_acquire_slow(core, site),
        }
    }

    #[cold]
    fn try_acquire_slow(core: &Core, site: CallSite) -> Result<Self, AcquireError> {
        let taken = core.take(1)?;
        // SAFETY: taking it made the frame ours.
        Ok(unsafe { Self::claim(core.slot(core.free.frame_at(taken)), site) })
    }

    /// Waits for a frame until `deadline`, or for ever.
    #[cold]
    pub(crate) fn wait(
        core: &Core,
        site: CallSite,
        deadline: Option<Instant>,
    ) -> Result<Self, AcquireError> {
        let number = core.wait(site, deadline)?;
        // SAFETY: `wait` made the frame ours.
        Ok(unsafe { Self::claim(core.slot(number), site) })
    }

    /// Takes a free frame, or keeps `stay` in the line for one.
    pub(crate) fn poll_acquire(
        core: &Core,
        site: CallSite,
        stay: &mut PendingWait,
        context: &Context<'_>,
    ) -> Poll<Result<Self, AcquireError>> {
        if stay.began().is_none() {
            match Self::try_acquire(core, site) {
                Err(AcquireError::Exhausted(_)) => {}
                other => return Poll::Ready(other),
            }
        }
        core.poll_wait(site, stay, context).map(|outcome| {
            let number = outcome?;
            // SAFETY: the outcome of the stay made the frame ours.
            Ok(unsafe { Self::claim(core.slot(number), site.in_this_thread()) })
        })
    }

    /// Takes `stay` out of the line, and gives back what it was called for at the same moment.
    pub(crate) fn abandon_acquire(core: &Core, site: CallSite, stay: &mut PendingWait) {
        if let Some(number) = core.abandon_wait(site, stay) {
            // SAFETY: the stay was called for this frame, which made it ours. It goes back as it came.
            unsafe { Core::release(core.slot(number)) };
        }
    }

    /// The frame in this slot, as it comes from the pool.
    ///
    /// # Safety
    ///
    /// The frame is out and the caller its only holder, who passes it on to the result.
    #[inline(always)]
    unsafe fn claim(slot: NonNull<Slot>, site: CallSite) -> Self {
        let mut frame = Self { slot };
        frame.inner().holder.record_acquire(site);
        frame.refill();
        if frame.needs_reset() {
            frame.on_acquire(site);
        }
        frame
    }

    #[inline]
    fn inner(&self) -> &Slot {
        // SAFETY: by H2.
        unsafe { self.slot.as_ref() }
    }

    /// Bytes in use, from the start of the frame.
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
        length(self.inner())
    }

    /// Whether no bytes are in use.
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

    /// Bytes that the frame has room for, without the prefix: the frame size of the pool's framing.
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
        self.inner().capacity
    }

    /// Sets how many bytes are in use. Growing brings up what lies there already.
    ///
    /// # Errors
    ///
    /// [`LengthError`] if that is more than the capacity; the length stays.
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
        self.set_length(length);
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
        self.set_length(0);
    }

    /// Sets the length to the capacity. Mostly it is that already, and then the cache line is left alone: so it
    /// does not have to go to and fro between one thread that acquires and another that releases.
    #[inline]
    fn refill(&mut self) {
        if self.len() != self.capacity() {
            self.set_length(self.capacity());
        }
    }

    #[inline]
    fn set_length(&mut self, length: usize) {
        self.inner().state.with_mut(|state| {
            // SAFETY: by H1 nobody else has the state.
            unsafe { (*state).length = length }
        });
    }

    /// Fills the frame from `reader`, from its beginning until it is full or the reader ends, and
    /// sets the length to the number of bytes read, which it returns.
    ///
    /// # Errors
    ///
    /// What the reader returns, except that it is asked again when interrupted. The length is then
    /// as before; the bytes may have changed.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let mut frame = pool.acquire()?;
    /// assert_eq!(frame.read_from(&mut &b"from a file"[..])?, 11);
    /// assert_eq!(&*frame, b"from a file");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_from(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        let room = self.room_mut();
        let mut filled = 0;
        while filled < room.len() {
            match reader.read(&mut room[filled..]) {
                Ok(0) => break,
                // A reader that claims more than it was given is broken, but must not break us.
                Ok(read) => filled = filled.saturating_add(read).min(room.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.set_length(filled);
        Ok(filled)
    }

    /// The bytes before the frame.
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
        prefix(self.inner())
    }

    /// The bytes before the frame, to be written.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).prefix(4).build()?;
    /// pool.acquire()?.prefix_mut().fill(0xFF);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn prefix_mut(&mut self) -> &mut [u8] {
        let (start, length) = prefix_of(self.inner());
        // SAFETY: by H1 to H3, for as long as `self` is borrowed; it does not overlap the payload.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), length) }
    }

    /// All bytes that the frame has room for.
    fn room_mut(&mut self) -> &mut [u8] {
        let slot = self.inner();
        // SAFETY: by H1 to H3, for as long as `self` is borrowed.
        unsafe { slice::from_raw_parts_mut(slot.payload.as_ptr(), slot.capacity) }
    }

    /// What the frame says about itself.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.metadata().presentation_time, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        metadata(self.inner())
    }

    /// What the frame says about itself, to be written.
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
        self.inner().state.with_mut(|state| {
            // SAFETY: by H1 nobody else has the state for as long as `self` is borrowed.
            let state = unsafe { &mut *state };
            state.needs_reset = true;
            &mut state.metadata
        })
    }

    /// Whether there is anything to reset. Most frames of most pools never have any metadata, so its
    /// cache line is left alone.
    #[inline]
    fn needs_reset(&self) -> bool {
        self.inner().state.with(|state| {
            // SAFETY: by H1 nobody else has the state.
            unsafe { (*state).needs_reset }
        })
    }

    /// Notes that the frame goes back, and clears the metadata and, by the pool's policy, the bytes.
    #[inline]
    fn reset(&mut self) {
        self.inner().holder.record_release();
        if self.needs_reset() {
            self.reset_slow();
        }
    }

    #[cold]
    fn reset_slow(&mut self) {
        // SAFETY: by H2.
        let core = unsafe { self.inner().core.as_ref() };
        self.inner().state.with_mut(|state| {
            // SAFETY: by H1 nobody else has the state.
            let state = unsafe { &mut *state };
            state.metadata = Metadata::default();
            state.needs_reset = core.has_hooks;
        });
        if core.contents == Contents::ZeroOnRelease {
            self.wipe();
        }
        if let Some(trap) = &core.guard_pages {
            // SAFETY: the frame is out and so keeps the segment (H2), and nobody uses its bytes before
            // the next `on_acquire` (H4).
            unsafe { trap.protect(self.slot()) };
        }
        core.on_release(self.inner());
    }

    /// What the pool has for a new owner, if it has_hooks to each.
    #[cold]
    fn on_acquire(&mut self, site: CallSite) {
        // SAFETY: by H2.
        let core = unsafe { self.inner().core.as_ref() };
        if let Some(trap) = &core.guard_pages {
            // SAFETY: the frame is out and so keeps the segment (H2).
            unsafe { trap.unprotect(self.slot()) };
        }
        if core.contents == Contents::ZeroOnAcquire {
            self.wipe();
        }
        core.on_acquire(self.inner(), site);
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        // SAFETY: by H2.
        unsafe { self.inner().core.as_ref() }
    }

    /// Where it goes back to.
    #[inline]
    fn place(&self) -> Bits {
        let slot = self.inner();
        // SAFETY: the word is one of the core's, which the frame keeps alive.
        self.core()
            .free
            .bits_of(unsafe { slot.word.as_ref() }, slot.addend)
    }

    fn wipe(&mut self) {
        self.prefix_mut().fill(0);
        self.room_mut().fill(0);
    }

    /// The number of the frame's slot: 0 to one less than the number of frames in the pool. The same
    /// slot is the same memory each time.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.slot(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn slot(&self) -> usize {
        self.inner().number
    }

    /// Bytes from the start of the segment to the frame's first byte, after its prefix. In Kernel mode it
    /// is also where the frame lies in the kernel object.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).prefix(16).build()?;
    /// assert_eq!(pool.acquire()?.offset(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn offset(&self) -> usize {
        offset(self.inner())
    }

    /// Lends the frame to another process: it stays out, and belongs to the token from here on.
    ///
    /// The other process finds it through [`RemoteFrames`](crate::RemoteFrames). It comes back by
    /// [`FramePool::redeem`](crate::FramePool::redeem) or
    /// [`FramePool::revoke`](crate::FramePool::revoke); a frame whose token and pool are both lost is out
    /// for ever, and keeps the memory.
    ///
    /// # Errors
    ///
    /// The frame itself, in User mode.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// let user = FramePool::builder().frames(4).frame_size(64);
    /// let frame = user.build()?.acquire()?.lend().expect_err("no other process can see it");
    /// assert_eq!(frame.len(), 64);
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let kernel = user.mode(AllocatorMode::Kernel).build()?;
    /// let token = kernel.acquire()?.lend().expect("in Kernel mode");
    /// assert_eq!(token.length(), 64);
    /// drop(kernel.redeem(token)?); // or it is out for ever
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lend(self) -> Result<FrameToken, Self> {
        if !self.core().loans.is_possible() {
            return Err(self);
        }
        let (slot, offset, length) = (self.slot(), self.offset(), self.len());
        self.core().record_of(EventKind::Lent, self.inner());
        // From here on the frame is the token's (L1).
        let lent = ManuallyDrop::new(self);
        Ok(FrameToken {
            slot: slot as u64,
            generation: lent.core().loans.lend(slot),
            offset: offset as u64,
            length: length as u64,
        })
    }

    /// The frame that was lent by this token.
    pub(crate) fn redeem(
        core: &Core,
        site: CallSite,
        token: FrameToken,
    ) -> Result<Self, TokenError> {
        let FrameToken {
            slot,
            generation,
            offset: claimed,
            ..
        } = token;
        let frames = core.free.frames();
        let Some(number) = usize::try_from(slot).ok().filter(|&slot| slot < frames) else {
            return Err(TokenError::Outside {
                slot,
                offset: claimed,
            });
        };
        let slot_pointer = core.slot(number);
        // SAFETY: the core has its slots for as long as it lives.
        if offset(unsafe { slot_pointer.as_ref() }) as u64 != claimed {
            return Err(TokenError::Outside {
                slot,
                offset: claimed,
            });
        }
        if !core.loans.reclaim(number, generation) {
            return Err(TokenError::NotLent { slot });
        }
        // It is ours (L1), as it was when it was lent.
        let frame = Self { slot: slot_pointer };
        frame.inner().holder.record_transfer(site);
        core.record_of(EventKind::Redeemed, frame.inner());
        Ok(frame)
    }

    /// Says who has the frame from here on: to be called where a stage of a pipeline takes it over from
    /// another. Reports then name this label, this line and this thread.
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
        record_transfer(self.inner(), CallSite::caller(Some(label.into())));
    }

    /// Turns the frame into one that can be cloned and only be read. Costs nothing.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let to_screen = pool.acquire()?.share();
    /// let to_encoder = to_screen.clone();
    /// drop(to_screen);
    /// assert_eq!(pool.free_frames(), 0);
    /// drop(to_encoder);
    /// assert_eq!(pool.free_frames(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn share(self) -> SharedFrame {
        self.inner().holder.record_share();
        if self.needs_reset() {
            self.core().record_of(EventKind::Shared, self.inner());
        }
        // By S1 the count is 1 already.
        SharedFrame {
            slot: ManuallyDrop::new(self).slot,
        }
    }
}

/// What the COM face needs, where a frame is lent as a sample.
#[cfg(feature = "windows")]
impl Frame {
    /// The frame as its slot. It stays out until [`from_slot`](Self::from_slot) makes a frame of it
    /// again.
    #[inline]
    pub(crate) fn into_slot(self) -> NonNull<Slot> {
        ManuallyDrop::new(self).slot
    }

    /// The frame again that [`into_slot`](Self::into_slot) made a slot of, as it was.
    ///
    /// # Safety
    ///
    /// It is that, and only once (H1).
    #[inline]
    pub(crate) unsafe fn from_slot(slot: NonNull<Slot>) -> Self {
        Self { slot }
    }
}

impl Drop for Frame {
    #[inline(always)]
    fn drop(&mut self) {
        self.reset();
        // SAFETY: by H1 the frame is ours, and nobody uses it after this.
        unsafe { Core::release(self.slot) };
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        payload(self.inner())
    }
}

impl DerefMut for Frame {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = self.len();
        &mut self.room_mut()[..length]
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

impl From<Frame> for SharedFrame {
    fn from(frame: Frame) -> Self {
        frame.share()
    }
}

/// Appends to the bytes in use, up to the capacity; [`clear`](Frame::clear) first to start at the
/// beginning. A full frame takes 0 bytes, which `write_all` reports as `WriteZero`.
impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.len();
        let room = &mut self.room_mut()[length..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.set_length(length + taken);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(self.inner(), &mut f.debug_struct("Frame"))
    }
}

/// A frame with any number of handles, to be read only; dropping the last gives it back.
///
/// The handles are counted in the frame's slot: nothing is allocated.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(2).frame_size(4).build()?;
/// let mut frame = pool.acquire()?;
/// frame.copy_from_slice(b"same");
/// let one = frame.share();
/// let mut two = one.clone();
/// assert_eq!(one.as_ptr(), two.as_ptr());
///
/// two.make_mut()?.copy_from_slice(b"copy"); // into another frame, for there are two handles
/// assert_eq!((&*one, &*two), (&b"same"[..], &b"copy"[..]));
///
/// let frame = one.try_into_unique().expect("the only handle that is left");
/// assert_eq!(&*frame, b"same");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(transparent)]
pub struct SharedFrame {
    slot: NonNull<Slot>,
}

// SAFETY: a shared frame can only be read, until it is the only handle; the count is atomic, and by
// S2 the last handle comes after all the others.
unsafe impl Send for SharedFrame {}
// SAFETY: as above.
unsafe impl Sync for SharedFrame {}

impl SharedFrame {
    #[inline]
    fn inner(&self) -> &Slot {
        // SAFETY: by H2.
        unsafe { self.slot.as_ref() }
    }

    /// What the frame says about itself.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?.share();
    /// assert_eq!(frame.metadata().sequence, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        metadata(self.inner())
    }

    /// The bytes before the frame.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).prefix(4).build()?;
    /// assert_eq!(pool.acquire()?.share().prefix(), [0; 4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        prefix(self.inner())
    }

    /// Bytes that the frame has room for, without the prefix.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.share().capacity(), 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner().capacity
    }

    /// The number of the frame's slot, as [`Frame::slot`].
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// assert_eq!(pool.acquire()?.share().slot(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn slot(&self) -> usize {
        self.inner().number
    }

    /// Says who has the frame from here on, as [`Frame::set_label`]. If several do, the last one who says
    /// so is named.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let shared = pool.acquire()?.share();
    /// shared.set_label("preview");
    /// assert!(pool.holders().to_string().contains("held by `preview`"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn set_label(&self, label: impl Into<Label>) {
        record_transfer(self.inner(), CallSite::caller(Some(label.into())));
    }

    /// Turns the only handle back into a writable frame.
    ///
    /// # Errors
    ///
    /// The handle itself, if there are others.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let one = pool.acquire()?.share();
    /// let two = one.clone();
    /// let one = one.try_into_unique().expect_err("there are two handles");
    /// drop(two);
    /// assert!(one.try_into_unique().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_into_unique(self) -> Result<Frame, Self> {
        if self.inner().handles.is_one() {
            Ok(Frame {
                slot: ManuallyDrop::new(self).slot,
            })
        } else {
            Err(self)
        }
    }

    /// The frame, to be written. If there are other handles, their frame stays as it is: prefix,
    /// bytes in use and metadata are copied into a fresh frame of the same pool, and this handle
    /// becomes the only one of that.
    ///
    /// Never waits: the caller holds a frame, and to wait for another while holding one is how
    /// pipelines lock up.
    ///
    /// # Errors
    ///
    /// If a copy is needed and [`try_acquire`](crate::FramePool::try_acquire) fails; the error then says who
    /// has the frames. The handle is as before.
    ///
    /// ```
    /// use ks_allocator::AcquireError;
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    ///
    /// let mut one = pool.acquire()?.share();
    /// one.make_mut()?[0] = 1; // in place
    /// let two = one.clone();
    /// assert!(matches!(one.make_mut(), Err(AcquireError::Exhausted(_))));
    /// assert_eq!((one[0], two[0]), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn make_mut(&mut self) -> Result<&mut Frame, AcquireError> {
        if !self.inner().handles.is_one() {
            // Not by `share`, which is counted: the user has shared one frame, and this is a copy of it.
            *self = Self {
                slot: ManuallyDrop::new(self.copy(Location::caller())?).slot,
            };
        }
        let this: *mut Self = self;
        // SAFETY: both types are a transparent `NonNull<Slot>`. By S2 this is the only handle, and
        // the borrow of `self` keeps it from being cloned; if the caller swaps the frame for
        // another, that one has a single handle, too (S1).
        Ok(unsafe { &mut *this.cast::<Frame>() })
    }

    /// A fresh frame with the same content.
    fn copy(&self, location: &'static Location<'static>) -> Result<Frame, AcquireError> {
        // SAFETY: by H2; all frames of a pool lead to its core.
        let core = unsafe { self.inner().core.as_ref() };
        let label = self.inner().holder.snapshot().label;
        let mut copy = Frame::try_acquire(core, CallSite::at(location, label))
            .map_err(|error| core.explain(core.fail(error)))?;
        core.holder_table.counts.copied();
        copy.room_mut()[..self.len()].copy_from_slice(self);
        copy.set_length(self.len());
        copy.prefix_mut().copy_from_slice(self.prefix());
        *copy.metadata_mut() = *self.metadata();
        Ok(copy)
    }
}

impl Clone for SharedFrame {
    #[inline]
    fn clone(&self) -> Self {
        self.inner().handles.add();
        Self { slot: self.slot }
    }
}

impl Drop for SharedFrame {
    #[inline]
    fn drop(&mut self) {
        if self.inner().handles.remove() {
            // The last handle is a unique frame (S1), and gives itself back.
            drop(Frame { slot: self.slot });
        }
    }
}

impl Deref for SharedFrame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        payload(self.inner())
    }
}

impl AsRef<[u8]> for SharedFrame {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for SharedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(self.inner(), &mut f.debug_struct("SharedFrame"))
    }
}

/// Frames that were taken in one go, and go back in one go if they are not taken out.
///
/// Iterating takes the frames out one by one, [`push`](Self::push) puts one in, and dropping the batch
/// gives back what is in it with a single read-modify-write.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(8).frame_size(64).build()?;
/// let mut batch = pool.acquire_many(5)?;
/// assert_eq!(batch.len(), 5);
/// let first = batch.next().expect("five are in it");
/// let second = batch.next().expect("four are in it");
/// assert_eq!((batch.len(), pool.free_frames()), (3, 3));
/// batch.push(second).expect("it is from there");
/// drop(batch);
/// assert_eq!(pool.free_frames(), 7);
/// # drop(first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the frames go back to the pool when the batch is dropped"]
pub struct FrameBatch {
    core: NonNull<Core>,
    /// The frames of the batch. If there are none, `core` may be gone.
    frames: Bits,
    /// Whose they are.
    site: CallSite,
}

// SAFETY: a batch is so many unique frames.
unsafe impl Send for FrameBatch {}
// SAFETY: through `&FrameBatch` the frames can only be counted.
unsafe impl Sync for FrameBatch {}

impl FrameBatch {
    /// The most frames that a batch can hold.
    pub const MAX: usize = MAX_BATCH;

    /// Takes up to `most` free frames of one word.
    #[inline(always)]
    pub(crate) fn try_acquire(
        core: &Core,
        site: CallSite,
        most: usize,
    ) -> Result<Self, AcquireError> {
        let frames = match most.min(Self::MAX) {
            0 => Bits { word: 0, bits: 0 },
            most => match core.take_at_home(most) {
                Some(taken) => taken,
                None => core.take(most)?,
            },
        };
        Ok(Self {
            core: core.pointer(),
            frames,
            site,
        })
    }

    /// Waits for a frame.
    #[cold]
    pub(crate) fn wait(core: &Core, site: CallSite) -> Result<Self, AcquireError> {
        let number = core.wait(site, None)?;
        // SAFETY: `wait` made the frame ours.
        Ok(unsafe { Self::of_one(core.slot(number), site) })
    }

    /// A batch of the frame in this slot.
    ///
    /// # Safety
    ///
    /// The frame is out and the caller its only holder, who passes it on to the result.
    unsafe fn of_one(slot: NonNull<Slot>, site: CallSite) -> Self {
        let frame = ManuallyDrop::new(Frame { slot });
        Self {
            core: frame.inner().core,
            frames: frame.place(),
            site,
        }
    }

    /// Frames that are in the batch now.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(8).frame_size(64).build()?;
    /// assert_eq!(pool.acquire_many(3)?.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.bits.count_ones() as usize
    }

    /// Puts a frame in, so that it goes back to the pool together with the others. Its metadata is cleared, as
    /// when it is dropped, and to reports and recordings it is in nobody's hands any more, like those that
    /// the batch came with.
    ///
    /// A batch is of one word of the free list, as [`acquire_many`](crate::FramePool::acquire_many) says. One that is
    /// empty becomes a batch of this frame.
    ///
    /// # Errors
    ///
    /// The frame itself, unchanged, if it is of another pool or another word.
    ///
    /// ```
    /// use ks_allocator::{Frame, FrameBatch, FramePool};
    ///
    /// /// Gives frames back with as few read-modify-writes as can be.
    /// fn give_back(frames: impl IntoIterator<Item = Frame>) {
    ///     let mut batch: Option<FrameBatch> = None;
    ///     for frame in frames {
    ///         batch = Some(match batch.take() {
    ///             None => frame.into(),
    ///             // What does not fit goes into the next; this one goes back.
    ///             Some(mut batch) => match batch.push(frame) {
    ///                 Ok(()) => batch,
    ///                 Err(frame) => frame.into(),
    ///             },
    ///         });
    ///     }
    /// }
    ///
    /// let pool = FramePool::builder().frames(40).frame_size(64).build()?;
    /// let frames: Vec<_> = pool.acquire_many(30)?.collect();
    /// give_back(frames);
    /// assert_eq!(pool.free_frames(), 40);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.frames.bits == 0 {
            *self = frame.into();
            return Ok(());
        }
        if frame.inner().core != self.core {
            return Err(frame);
        }
        let Bits { word, bits } = frame.place();
        if word != self.frames.word {
            return Err(frame);
        }
        let mut frame = ManuallyDrop::new(frame);
        frame.reset();
        // The frame is the batch's from here on.
        self.frames.bits |= bits;
        Ok(())
    }

    /// Whether no frames are left in the batch.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(8).frame_size(64).build()?;
    /// assert!(pool.acquire_many(0)?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.bits == 0
    }
}

/// A batch of one, with its metadata cleared.
impl From<Frame> for FrameBatch {
    fn from(frame: Frame) -> Self {
        let mut frame = ManuallyDrop::new(frame);
        frame.reset();
        let Snapshot {
            location, label, ..
        } = frame.inner().holder.snapshot();
        let site = CallSite::at(location.unwrap_or(Location::caller()), label);
        // SAFETY: the frame was the handle's, which is gone.
        unsafe { Self::of_one(frame.slot, site) }
    }
}

impl Iterator for FrameBatch {
    type Item = Frame;

    #[inline]
    fn next(&mut self) -> Option<Frame> {
        if self.frames.bits == 0 {
            return None;
        }
        // SAFETY: the frames of the batch are out and keep the core alive (H2).
        let core = unsafe { self.core.as_ref() };
        let first = core.free.frame_at(self.frames);
        self.frames.bits &= self.frames.bits - 1;
        // SAFETY: the frame was the batch's, which has just given it up.
        Some(unsafe { Frame::claim(core.slot(first), self.site) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for FrameBatch {}

impl Drop for FrameBatch {
    #[inline]
    fn drop(&mut self) {
        if self.frames.bits != 0 {
            // SAFETY: the frames are the batch's, and nobody uses them after this.
            unsafe { Core::release_many(self.core, self.frames) };
        }
    }
}

impl fmt::Debug for FrameBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameBatch")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

// A panic in the middle of writing a frame leaves it half written, as it would a `Vec`: nothing that
// the pool relies on is in there.
impl UnwindSafe for Frame {}
impl RefUnwindSafe for Frame {}
impl UnwindSafe for SharedFrame {}
impl RefUnwindSafe for SharedFrame {}
impl UnwindSafe for FrameBatch {}
impl RefUnwindSafe for FrameBatch {}

/// Notes that the frame in `slot` has another holder, which the caller is.
fn record_transfer(slot: &Slot, site: CallSite) {
    slot.holder.record_transfer(site);
    // SAFETY: by H2.
    let core = unsafe { slot.core.as_ref() };
    core.record(
        EventKind::HandedOn,
        Subject::Slot(slot.number),
        site.acquirer(),
    );
}

/// The bytes in use of the frame in `slot`, of which the caller has a handle.
#[inline]
fn payload(slot: &Slot) -> &[u8] {
    // SAFETY: by H2 and H3, for as long as the handle is borrowed, which lends out `slot`; and by
    // S2 nobody writes meanwhile.
    unsafe { slice::from_raw_parts(slot.payload.as_ptr(), length(slot)) }
}

fn prefix(slot: &Slot) -> &[u8] {
    let (start, length) = prefix_of(slot);
    // SAFETY: as for `payload`.
    unsafe { slice::from_raw_parts(start.as_ptr(), length) }
}

/// Where the prefix of a frame that is out starts, and how long it is.
fn prefix_of(slot: &Slot) -> (NonNull<u8>, usize) {
    // SAFETY: by H2.
    let length = unsafe { slot.core.as_ref() }.layout.framing.prefix;
    // SAFETY: the prefix lies before the payload in one mapping (M3).
    (unsafe { slot.payload.sub(length) }, length)
}

/// Where a frame lies in its segment. The core need not have the segment any more.
fn offset(slot: &Slot) -> usize {
    // SAFETY: a slot is part of what its core owns.
    let start = unsafe { slot.core.as_ref() }.address;
    slot.payload.addr().get() - start
}

#[inline]
fn length(slot: &Slot) -> usize {
    slot.state.with(|state| {
        // SAFETY: the caller has a handle, so by S2 nobody writes the state meanwhile.
        unsafe { (*state).length }
    })
}

fn metadata(slot: &Slot) -> &Metadata {
    slot.state.with(|state| {
        // SAFETY: as for `length`, for as long as the handle is borrowed, which lends out `slot`.
        unsafe { &(*state).metadata }
    })
}

fn describe(slot: &Slot, out: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
    out.field("slot", &slot.number)
        .field("len", &length(slot))
        .field("capacity", &slot.capacity)
        .field("metadata", metadata(slot))
        .finish()
}
