//! The allocator's COM object in Rust's hands.

use std::ffi::c_void;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use windows_core::{IUnknown, Interface};

use crate::allocator::PoolAllocator;
use crate::frame::Frame;

use super::allocator_object::{self, AllocatorObject};
use super::driver::{KsDriver, NoDriver};
use super::interfaces::IMediaSample2;
use super::sample::Sample;

/// Makes a COM object of an allocator: an `IUnknown` pointer with one reference, which is the
/// caller's to release.
///
/// The last reference drops the allocator, which decommits it; samples that are out then stay valid.
///
/// ```
/// use ks_allocator::PoolAllocator;
/// use ks_allocator::com::{self, ComAllocator};
/// use windows_core::{IUnknown, Interface};
///
/// let unknown = com::into_unknown(PoolAllocator::new());
/// // To be given to C++, which may give it to Rust again:
/// let allocator = unsafe { ComAllocator::from_borrowed(unknown.as_ptr()) };
/// assert!(allocator.is_some());
/// drop(unsafe { IUnknown::from_raw(unknown.as_ptr()) }); // `Release`
/// ```
#[must_use = "the object leaks if nobody releases it"]
pub fn into_unknown(allocator: PoolAllocator) -> NonNull<c_void> {
    ComAllocator::new(allocator).into_raw()
}

/// A counted reference on an allocator that is a COM object.
///
/// It dereferences to the [`PoolAllocator`], which Rust code uses while COM clients use the same: one
/// pool, one framing, one line of those who wait. Cloning it is `AddRef`, dropping it is `Release`.
///
/// ```
/// use std::ptr;
///
/// use ks_allocator::com::{ComAllocator, IMediaSample, IMemAllocator, S_OK};
/// use ks_allocator::{Framing, KsAllocator, PoolAllocator};
/// use windows_core::Interface;
///
/// let allocator = ComAllocator::new(PoolAllocator::with_framing(Framing::new(3, 1024))?);
/// let client = allocator.cast::<IMemAllocator>()?;
/// assert_eq!(unsafe { client.Commit() }, S_OK);
///
/// let frame = allocator.acquire()?; // in Rust,
/// let mut sample = ptr::null_mut(); // and by COM
/// assert_eq!(unsafe { client.GetBuffer(&mut sample, ptr::null(), ptr::null(), 0) }, S_OK);
/// assert_eq!(allocator.free_frames(), 1);
///
/// let sample = unsafe { IMediaSample::from_raw(sample) };
/// assert_eq!(unsafe { sample.GetSize() }, 1024);
/// drop((frame, sample));
/// assert_eq!(allocator.free_frames(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ComAllocator {
    /// One of ours, and its identity.
    object: IUnknown,
}

// SAFETY: a reference gives `&AllocatorObject`, which is `Sync`; and whichever thread gives up the
// last one drops the object, which is `Send`.
#[expect(clippy::non_send_fields_in_send_ty, reason = "as argued above")]
unsafe impl Send for ComAllocator where AllocatorObject: Send + Sync {}
// SAFETY: as above; references are counted atomically.
unsafe impl Sync for ComAllocator where AllocatorObject: Send + Sync {}

impl ComAllocator {
    /// Makes a COM object of an allocator.
    ///
    /// ```
    /// # use ks_allocator::{KsAllocator, PoolAllocator, com::ComAllocator};
    /// assert_eq!(ComAllocator::new(PoolAllocator::new()).free_frames(), 0);
    /// ```
    #[must_use]
    pub fn new(allocator: PoolAllocator) -> Self {
        Self::with_driver(allocator, NoDriver)
    }

    /// Makes a COM object that has drivers make allocators: see [`KsDriver`].
    #[must_use]
    pub fn with_driver(allocator: PoolAllocator, drivers: impl KsDriver + 'static) -> Self {
        Self {
            object: AllocatorObject::make(allocator, Box::new(drivers)),
        }
    }

    /// A reference of its own on the object behind an interface pointer, whose reference the caller
    /// keeps; `None` if the pointer is NULL, or the object was not made by this very copy of the crate.
    ///
    /// # Safety
    ///
    /// `pointer` is NULL, or a COM interface pointer.
    ///
    /// ```
    /// # use ks_allocator::{PoolAllocator, com::{ComAllocator, IMemAllocator}};
    /// # use windows_core::Interface;
    /// let allocator = ComAllocator::new(PoolAllocator::new());
    /// let client = allocator.cast::<IMemAllocator>()?;
    /// let same = unsafe { ComAllocator::from_borrowed(client.as_raw()) };
    /// assert_eq!(same, Some(allocator));
    /// # Ok::<(), windows_core::Error>(())
    /// ```
    #[must_use]
    pub unsafe fn from_borrowed(pointer: *mut c_void) -> Option<Self> {
        // SAFETY: the caller's promise.
        let object = unsafe { IUnknown::from_raw_borrowed(&pointer) }?;
        let object = object.cast().ok()?;
        allocator_object::is_ours(&object).then_some(Self { object })
    }

    /// The `IUnknown` pointer, with this reference: it is the caller's to release.
    ///
    /// ```
    /// # use ks_allocator::{PoolAllocator, com::ComAllocator};
    /// # use windows_core::{IUnknown, Interface};
    /// let pointer = ComAllocator::new(PoolAllocator::new()).into_raw();
    /// drop(unsafe { IUnknown::from_raw(pointer.as_ptr()) });
    /// ```
    #[must_use = "the object leaks if nobody releases it"]
    pub fn into_raw(self) -> NonNull<c_void> {
        // SAFETY: an `IUnknown` is never NULL.
        unsafe { NonNull::new_unchecked(self.object.into_raw()) }
    }

    /// Turns a frame of this allocator into a sample, to go where COM clients are. Length (of which COM
    /// knows 2 GiB), times and flags go with it; the last `Release` gives it back.
    ///
    /// # Errors
    ///
    /// The frame itself, if it is not of the allocator's current pool; or if there is no memory for
    /// the samples, which there always is after a `Commit` by COM.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator, com::{ComAllocator, S_OK}};
    /// let allocator = ComAllocator::new(PoolAllocator::with_framing(Framing::new(1, 1024))?);
    /// allocator.commit()?;
    /// let mut frame = allocator.acquire()?;
    /// frame.metadata_mut().presentation_time = Some(400_000);
    /// frame.metadata_mut().duration = Some(400_000);
    ///
    /// let sample = allocator.lend(frame).expect("one of its own");
    /// let (mut start, mut end) = (0, 0);
    /// assert_eq!(unsafe { sample.GetTime(&mut start, &mut end) }, S_OK);
    /// assert_eq!((start, end), (400_000, 800_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lend(&self, frame: Frame) -> Result<IMediaSample2, Frame> {
        self.object().lend(frame)
    }

    /// Turns a sample back into a frame, if it is one of this crate's and this is the only reference
    /// on it. Length, times and flags go with it; a media type is dropped. No client is notified: the
    /// frame has not come back yet, and when it does it is a frame.
    ///
    /// # Errors
    ///
    /// The sample itself.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator, com::{ComAllocator, S_OK}};
    /// # let allocator = ComAllocator::new(PoolAllocator::with_framing(Framing::new(1, 1024))?);
    /// # allocator.commit()?;
    /// let sample = allocator.lend(allocator.acquire()?).expect("one of its own");
    /// assert_eq!(unsafe { sample.SetActualDataLength(7) }, S_OK);
    /// let other = sample.clone();
    /// let sample = ComAllocator::take_back(sample).expect_err("there are two references");
    /// drop(other);
    /// assert_eq!(ComAllocator::take_back(sample).expect("the only reference").len(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_back(sample: IMediaSample2) -> Result<Frame, IMediaSample2> {
        Sample::into_frame(sample)
    }

    fn object(&self) -> &AllocatorObject {
        // SAFETY: one of ours, and its identity.
        unsafe { allocator_object::of_ks(self.object.as_raw()) }
    }

    /// The object by one of its interfaces.
    ///
    /// # Errors
    ///
    /// [`E_NOINTERFACE`](super::E_NOINTERFACE) if it does not have that.
    ///
    /// ```
    /// # use ks_allocator::{PoolAllocator, com::{ComAllocator, IKsAllocator, IMediaSample}};
    /// let allocator = ComAllocator::new(PoolAllocator::new());
    /// assert_eq!(unsafe { allocator.cast::<IKsAllocator>()?.KsGetAllocatorMode() }, 0);
    /// assert!(allocator.cast::<IMediaSample>().is_err());
    /// # Ok::<(), windows_core::Error>(())
    /// ```
    pub fn cast<I: Interface>(&self) -> windows_core::Result<I> {
        self.object.cast()
    }
}

impl Deref for ComAllocator {
    type Target = PoolAllocator;

    fn deref(&self) -> &PoolAllocator {
        &self.object().allocator
    }
}

impl fmt::Debug for ComAllocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ComAllocator").field(&**self).finish()
    }
}
