//! Handle for Rust code to the COM object of an allocator.

use std::alloc::{Layout, handle_alloc_error};
use std::ffi::c_void;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use windows_core::{HRESULT, IUnknown, Interface};

use crate::allocator::PoolAllocator;
use crate::frame::Frame;
use crate::framing::Framing;
use crate::memory::try_box;

use super::allocator_object::{self, AllocatorObject};
use super::driver::{KsDriver, NoDriver};
use super::format_change::{FormatChange, FormatChangeError};
use super::hresult::E_OUTOFMEMORY;
use super::interfaces::IMediaSample2;
use super::layouts::{ALLOCATOR_PROPERTIES_EX, AM_MEDIA_TYPE};
use super::sample::Sample;

/// Turns an allocator into a COM object. Returns its `IUnknown` pointer with one reference, which
/// the caller must release.
///
/// The last `Release` drops the allocator, which decommits it. Samples that are out stay valid.
///
/// ```
/// use ks_allocator::PoolAllocator;
/// use ks_allocator::com::{self, ComAllocator};
/// use windows_core::{IUnknown, Interface};
///
/// let unknown = com::into_unknown(PoolAllocator::new());
/// // C++ code can use this pointer now. Rust code can turn it into a `ComAllocator` again:
/// let allocator = unsafe { ComAllocator::from_borrowed(unknown.as_ptr()) };
/// assert!(allocator.is_some());
/// drop(unsafe { IUnknown::from_raw(unknown.as_ptr()) }); // `Release`
/// ```
#[must_use = "the object leaks unless the pointer is released"]
pub fn into_unknown(allocator: PoolAllocator) -> NonNull<c_void> {
    ComAllocator::new(allocator).into_raw()
}

/// A counted reference to an allocator that is a COM object.
///
/// It dereferences to the [`PoolAllocator`]. Rust code and COM clients use the same allocator: one
/// pool, one framing and one wait queue. `clone` is `AddRef`, and drop is `Release`.
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
/// let frame = allocator.acquire()?; // by Rust
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
    /// The `IUnknown` of an `AllocatorObject`: a pointer of its KS chain.
    object: IUnknown,
}

// SAFETY: the reference gives shared access to the object, which is `Sync`. Any thread may drop the
// last reference and with it the object, which is `Send`.
#[expect(clippy::non_send_fields_in_send_ty, reason = "the comment argues it")]
unsafe impl Send for ComAllocator where AllocatorObject: Send + Sync {}
// SAFETY: a `&ComAllocator` gives shared access to the object, which is `Sync`, and new references,
// which are counted atomically and whose drop on another thread is allowed as the object is `Send`.
unsafe impl Sync for ComAllocator where AllocatorObject: Send + Sync {}

impl ComAllocator {
    /// Turns an allocator into a COM object.
    ///
    /// `Commit` by COM touches all memory, unless the allocator was made by
    /// [`PoolAllocator::from_builder`] with
    /// [`prefault(false)`](crate::FramePoolBuilder::prefault).
    ///
    /// ```
    /// # use ks_allocator::{KsAllocator, PoolAllocator, com::ComAllocator};
    /// assert_eq!(ComAllocator::new(PoolAllocator::new()).free_frames(), 0);
    /// ```
    #[must_use]
    pub fn new(allocator: PoolAllocator) -> Self {
        Self::with_driver(allocator, NoDriver)
    }

    /// Turns an allocator into a COM object that can create kernel allocators: see [`KsDriver`].
    #[must_use]
    pub fn with_driver(allocator: PoolAllocator, driver: impl KsDriver + 'static) -> Self {
        match Self::try_with_driver(allocator, driver) {
            Ok(created) => created,
            Err(_) => handle_alloc_error(Layout::new::<AllocatorObject>()),
        }
    }

    /// Does the same as [`new`](Self::new), but returns an error if there is no memory. For a
    /// library that is loaded into the process of another program, which should not end then.
    ///
    /// # Errors
    ///
    /// [`E_OUTOFMEMORY`](super::E_OUTOFMEMORY). The allocator is dropped.
    ///
    /// ```
    /// # use ks_allocator::{KsAllocator, PoolAllocator, com::ComAllocator};
    /// let allocator = ComAllocator::try_new(PoolAllocator::new())?;
    /// assert_eq!(allocator.free_frames(), 0);
    /// # Ok::<(), windows_core::HRESULT>(())
    /// ```
    pub fn try_new(allocator: PoolAllocator) -> Result<Self, HRESULT> {
        Self::try_with_driver(allocator, NoDriver)
    }

    /// Does the same as [`with_driver`](Self::with_driver), but returns an error if there is no
    /// memory.
    ///
    /// # Errors
    ///
    /// [`E_OUTOFMEMORY`](super::E_OUTOFMEMORY). Both arguments are dropped.
    pub fn try_with_driver(
        allocator: PoolAllocator,
        driver: impl KsDriver + 'static,
    ) -> Result<Self, HRESULT> {
        let driver = try_box(driver).map_err(|_| E_OUTOFMEMORY)?;
        let object = AllocatorObject::create(allocator, driver).ok_or(E_OUTOFMEMORY)?;
        Ok(Self { object })
    }

    /// Returns a new reference to the object behind an interface pointer. The caller keeps its own
    /// reference.
    ///
    /// Returns `None` if the pointer is NULL, or if the object was not created by this copy of the
    /// crate.
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
        // SAFETY: by the caller's promise, it is NULL or an interface pointer. Every interface
        // starts with the methods of `IUnknown`.
        let object = unsafe { IUnknown::from_raw_borrowed(&pointer) }?;
        let object = object.cast().ok()?;
        allocator_object::is_allocator_object(&object).then_some(Self { object })
    }

    /// Returns the `IUnknown` pointer with this reference, which the caller must release.
    ///
    /// ```
    /// # use ks_allocator::{PoolAllocator, com::ComAllocator};
    /// # use windows_core::{IUnknown, Interface};
    /// let pointer = ComAllocator::new(PoolAllocator::new()).into_raw();
    /// drop(unsafe { IUnknown::from_raw(pointer.as_ptr()) });
    /// ```
    #[must_use = "the object leaks unless the pointer is released"]
    pub fn into_raw(self) -> NonNull<c_void> {
        // SAFETY: an `IUnknown` is a non-null pointer.
        unsafe { NonNull::new_unchecked(self.object.into_raw()) }
    }

    /// Turns a frame of this allocator into a media sample, for COM clients.
    ///
    /// The sample gets the length of the frame (at most 2 GiB), its times and its flags. The final
    /// `Release` of the sample releases the frame.
    ///
    /// # Errors
    ///
    /// Returns the frame if it is not of the allocator's current pool or an earlier
    /// [generation](crate::FramePool::generation) of it, or if there is no memory for the samples.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator, com::{ComAllocator, S_OK}};
    /// let allocator = ComAllocator::new(PoolAllocator::with_framing(Framing::new(1, 1024))?);
    /// allocator.commit()?;
    /// let mut frame = allocator.acquire()?;
    /// frame.metadata_mut().presentation_time = Some(400_000);
    /// frame.metadata_mut().duration = Some(400_000);
    ///
    /// let sample = allocator.frame_to_sample(frame).expect("a frame of its pool");
    /// let (mut start, mut end) = (0, 0);
    /// assert_eq!(unsafe { sample.GetTime(&mut start, &mut end) }, S_OK);
    /// assert_eq!((start, end), (400_000, 800_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn frame_to_sample(&self, frame: Frame) -> Result<IMediaSample2, Frame> {
        self.object().frame_to_sample(frame)
    }

    /// Changes the video format in mid-stream: replaces the frames by others for the picture of a
    /// media type, as [`PoolAllocator::reframe`] does. `change` is the number of frames, or a
    /// [`FormatChange`]. The first sample of the new frames announces the format: `GetMediaType`
    /// returns a copy of the media type, and samples after it return `S_FALSE`, as usual.
    ///
    /// The new frames have the prefix that clients have set, and a multiple of the alignment.
    /// Samples that clients have stay valid. `SetProperties` fails while the allocator is
    /// committed, as before, and `GetProperties` returns the new properties. So nothing changes for
    /// clients that do not change formats.
    ///
    /// # Errors
    ///
    /// See [`FormatChangeError`]. Nothing has changed then, with one exception: see
    /// [`PoolAllocator::reframe`].
    ///
    /// # Safety
    ///
    /// `pbFormat` is NULL or leads to `cbFormat` bytes that are initialized and not written
    /// meanwhile. `pUnk` is NULL or an object.
    ///
    /// Source: "Dynamic Format Changes" in the documentation of DirectShow.
    ///
    /// ```
    /// use std::ptr;
    ///
    /// use ks_allocator::com::{
    ///     AM_MEDIA_TYPE, AM_SAMPLE2_PROPERTIES, ComAllocator, FORMAT_VideoInfo, IMediaSample2,
    ///     IMemAllocator, S_OK, SampleFlags, video_info_header, video_subtype,
    /// };
    /// use ks_allocator::{Framing, KsAllocator, PoolAllocator, VideoFormat, VideoLayout};
    /// use windows_core::Interface;
    ///
    /// let allocator = ComAllocator::new(PoolAllocator::with_framing(Framing::new(2, 1024))?);
    /// allocator.commit()?;
    ///
    /// let layout = VideoLayout::new(VideoFormat::Nv12, 640, 480)?;
    /// let mut header = video_info_header(&layout, 400_000)?;
    /// let media_type = AM_MEDIA_TYPE {
    ///     subtype: video_subtype(VideoFormat::Nv12).expect("NV12 has one"),
    ///     formattype: FORMAT_VideoInfo,
    ///     cbFormat: 88,
    ///     pbFormat: header.as_mut_ptr(),
    ///     ..AM_MEDIA_TYPE::default()
    /// };
    /// unsafe { allocator.change_format(&media_type, 2) }?;
    ///
    /// let client = allocator.cast::<IMemAllocator>()?;
    /// for is_announced in [true, false] {
    ///     let mut sample = ptr::null_mut();
    ///     assert_eq!(unsafe { client.GetBuffer(&mut sample, ptr::null(), ptr::null(), 0) }, S_OK);
    ///     let sample = unsafe { IMediaSample2::from_raw(sample) };
    ///     assert_eq!(unsafe { sample.GetSize() }, 640 * 480 * 3 / 2);
    ///     let mut properties = AM_SAMPLE2_PROPERTIES::default();
    ///     let size = size_of::<AM_SAMPLE2_PROPERTIES>() as u32;
    ///     let out = (&raw mut properties).cast();
    ///     assert_eq!(unsafe { sample.GetProperties(size, out) }, S_OK);
    ///     let flags = SampleFlags::from_bits_retain(properties.dwSampleFlags);
    ///     assert_eq!(flags.contains(SampleFlags::TYPECHANGED), is_announced);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("GetMediaType", "QueryAccept", "ReceiveConnection"))]
    pub unsafe fn change_format(
        &self,
        media_type: &AM_MEDIA_TYPE,
        change: impl Into<FormatChange>,
    ) -> Result<Framing, FormatChangeError> {
        // SAFETY: the caller's promise.
        unsafe { self.object().change_format(media_type, &change.into()) }
    }

    /// Returns the description of the pipe that a client has set by `KsSetProperties`: all zeros
    /// before.
    ///
    /// The description has no effect by itself. Its
    /// [requirements](ALLOCATOR_PROPERTIES_EX::requirements) are negotiated with those of other
    /// parties, and [`PoolAllocator::commit_agreement`] commits the result, or re-frames an
    /// allocator that is committed. `GetProperties` then returns the values that were agreed on,
    /// with `cbBuffer` rounded up as after `SetProperties`: prefix and frame together fill a
    /// multiple of the alignment. `GetSize` of a sample returns the same number, and
    /// `KsGetProperties` still what the client has set.
    ///
    /// ```
    /// use ks_allocator::com::{
    ///     ALLOCATOR_PROPERTIES, ALLOCATOR_PROPERTIES_EX, ComAllocator, IKsAllocatorEx,
    ///     IMemAllocator, KSMEMORY_TYPE_USER, S_OK,
    /// };
    /// use ks_allocator::{PoolAllocator, Requirements, negotiate};
    /// use windows_core::Interface;
    ///
    /// let allocator = ComAllocator::new(PoolAllocator::new());
    /// let mut pipe = ALLOCATOR_PROPERTIES_EX {
    ///     cBuffers: 4,
    ///     cbBuffer: 4_096,
    ///     cbPrefix: 16,
    ///     MemoryType: KSMEMORY_TYPE_USER,
    ///     ..ALLOCATOR_PROPERTIES_EX::default()
    /// };
    /// unsafe { allocator.cast::<IKsAllocatorEx>()?.KsSetProperties(&mut pipe) };
    ///
    /// let graph = allocator.pipe().requirements("graph")?;
    /// let encoder = Requirements::new("encoder").alignment(64).holds(5);
    /// allocator.commit_agreement(&negotiate(&[graph, encoder])?)?;
    ///
    /// let mut actual = ALLOCATOR_PROPERTIES::default();
    /// let client = allocator.cast::<IMemAllocator>()?;
    /// assert_eq!(unsafe { client.GetProperties(&mut actual) }, S_OK);
    /// assert_eq!((actual.cBuffers, actual.cbBuffer, actual.cbAlign), (6, 4_096, 64));
    /// assert_eq!(actual.cbPrefix, 64); // so that the bytes behind it are aligned
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("KsGetProperties", "KsSetProperties"))]
    #[must_use]
    pub fn pipe(&self) -> ALLOCATOR_PROPERTIES_EX {
        self.object().pipe.get()
    }

    /// Turns a media sample back into a frame, if this is the only reference to it.
    ///
    /// The frame gets the length of the sample, its times and its flags. A media type is dropped.
    /// The callback of `SetNotify` is not called, neither now nor when the frame is dropped.
    ///
    /// # Errors
    ///
    /// Returns the sample if it is not a sample of this crate, or if it has other references.
    ///
    /// ```
    /// # use ks_allocator::{Framing, KsAllocator, PoolAllocator, com::{ComAllocator, S_OK}};
    /// # let allocator = ComAllocator::new(PoolAllocator::with_framing(Framing::new(1, 1024))?);
    /// # allocator.commit()?;
    /// let frame = allocator.acquire()?;
    /// let sample = allocator.frame_to_sample(frame).expect("a frame of its pool");
    /// assert_eq!(unsafe { sample.SetActualDataLength(7) }, S_OK);
    /// let other = sample.clone();
    /// let sample = ComAllocator::sample_to_frame(sample).expect_err("there are two references");
    /// drop(other);
    /// let frame = ComAllocator::sample_to_frame(sample).expect("the only reference");
    /// assert_eq!(frame.len(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sample_to_frame(sample: IMediaSample2) -> Result<Frame, IMediaSample2> {
        Sample::into_frame(sample)
    }

    fn object(&self) -> &AllocatorObject {
        // SAFETY: `object` is a pointer of the KS chain, and its reference lasts as long as `self`.
        unsafe { allocator_object::object_from_ks(self.object.as_raw()) }
    }

    /// Returns an interface of the object, with a reference of its own.
    ///
    /// # Errors
    ///
    /// [`E_NOINTERFACE`](super::E_NOINTERFACE) if the object does not implement it.
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
