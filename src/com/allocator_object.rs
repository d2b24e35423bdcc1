//! The COM object of an allocator: two interface chains over one [`PoolAllocator`].
//!
//! An interface pointer points to a word in the object that holds a vtable pointer. The object has
//! two such words, one per chain of interfaces:
//!
//! ```text
//!  IUnknown, IKsAllocator, IKsAllocatorEx -----> +----------------------------+
//!                                                | KS: vtable pointer         |
//!  IMemAllocator, IMemAllocatorCallbackTemp ---> +----------------------------+
//!                                                | MEM: vtable pointer        |
//!                                                +----------------------------+
//!                                                | references, allocator, ... |
//!                                                +----------------------------+
//! ```
//!
//! The last `Release` drops the object and with it the allocator, which decommits. Samples that are
//! still out stay valid: they keep the pool alive, but not this object.

use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

use windows_core::{GUID, HRESULT, IUnknown, IUnknown_Vtbl, Interface};

use crate::allocator::{AllocatorState, KsAllocator, LockedControl, PoolAllocator};
use crate::diagnostics::call_site::CallSite;
use crate::frame::Frame;
use crate::frame_pool::FramePool;
use crate::framing::Framing;
use crate::label::Label;
use crate::memory::try_box;
use crate::mode::AllocatorMode;
use crate::sync::{AtomicPtr, AtomicU32, Ordering, fence};

use super::boundary::{OutPtr, Ptr, entry, requested_interface, vtable};
use super::constants::GetBufferFlags;
use super::driver::KsDriver;
use super::format_change::{Announcement, FormatChange, FormatChangeError};
use super::hresult::{
    E_INVALIDARG, E_NOINTERFACE, E_POINTER, E_UNEXPECTED, VFW_E_ALREADY_COMMITTED,
};
use super::interfaces::{
    IKsAllocator, IKsAllocator_Vtbl, IKsAllocatorEx, IKsAllocatorEx_Vtbl, IMediaSample2,
    IMemAllocator, IMemAllocator_Vtbl, IMemAllocatorCallbackTemp, IMemAllocatorCallbackTemp_Vtbl,
};
use super::ks_framing;
use super::layouts::{
    ALLOCATOR_PROPERTIES, ALLOCATOR_PROPERTIES_EX, AM_MEDIA_TYPE, KSSTREAMALLOCATOR_STATUS,
};
use super::media_type::MediaType;
use super::notify::Notify;
use super::object_count::ObjectCount;
use super::pipe::Pipe;
use super::properties::Properties;
use super::sample::Sample;
use super::sample_table::SampleTable;
use super::shared::Shared;

/// More references than can exist unless they are leaked on purpose.
const MAX_REFERENCES: u32 = u32::MAX / 2;

#[repr(C)]
pub(super) struct AllocatorObject {
    ks: &'static IKsAllocatorEx_Vtbl,
    mem: &'static IMemAllocatorCallbackTemp_Vtbl,
    references: AtomicU32,
    pub(super) allocator: PoolAllocator,
    properties: Properties,
    notify: Shared<Notify>,
    pub(super) pipe: Pipe,
    /// The handle of an external allocator, which a client or a driver stored.
    handle: AtomicPtr<c_void>,
    driver: Box<dyn KsDriver>,
    /// The media type of a change of format.
    announcement: Announcement,
    _object_count: ObjectCount,
}

/// Clients call the object on any thread, and any thread may drop it. Auto traits check that every
/// field allows this.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<AllocatorObject>();
};

impl AllocatorObject {
    /// Creates an object, and returns its first reference. Drops the arguments, and returns `None`,
    /// if there is no memory.
    pub(super) fn create(allocator: PoolAllocator, driver: Box<dyn KsDriver>) -> Option<IUnknown> {
        let notify = Shared::try_new(Notify::new()).ok()?;
        let object = try_box(Self {
            ks: &KS,
            mem: &MEM,
            references: AtomicU32::new(1),
            allocator,
            properties: Properties::default(),
            notify,
            pipe: Pipe::default(),
            handle: AtomicPtr::default(),
            driver,
            announcement: Announcement::none(),
            _object_count: ObjectCount::new(),
        })
        .ok()?;
        object.pipe.clear();
        let this = Box::into_raw(object);
        // SAFETY: `this` points to the KS vtable pointer of a new object, which is an `IUnknown`.
        // The one reference that it was created with belongs to the result.
        Some(unsafe { IUnknown::from_raw(this.cast()) })
    }
}

/// Returns whether an object is an [`AllocatorObject`] of this copy of the crate. `identity` is the
/// result of a `QueryInterface` for `IUnknown`.
pub(super) fn is_allocator_object(identity: &IUnknown) -> bool {
    // SAFETY: every COM object starts with a pointer to its vtable.
    let vtable = unsafe { identity.as_raw().cast::<*const c_void>().read() };
    // Only an `AllocatorObject` has this vtable.
    vtable == ptr::from_ref(&KS).cast()
}

/// Returns the object from an interface pointer of the KS chain.
///
/// # Safety
///
/// `this` is that, and there is a reference to the object for as long as the result is used.
pub(super) unsafe fn object_from_ks<'a>(this: *mut c_void) -> &'a AllocatorObject {
    // SAFETY: the KS chain starts at the address of the object, which the reference keeps alive.
    unsafe { &*this.cast() }
}

/// Returns the object from an interface pointer of the MEM chain.
///
/// # Safety
///
/// `this` is that, and there is a reference to the object for as long as the result is used.
unsafe fn object_from_mem<'a>(this: *mut c_void) -> &'a AllocatorObject {
    // SAFETY: the caller's promise is that of `from_mem`.
    let Reference(object) = unsafe { Reference::from_mem(this) };
    // SAFETY: `from_mem` returns the address of the object, which the reference keeps alive.
    unsafe { object.as_ref() }
}

/// A caller's reference to an object, for the methods of `IUnknown`. It is a pointer and not a `&`,
/// because the object can be freed through it.
struct Reference(NonNull<AllocatorObject>);

impl Reference {
    /// Makes a reference from an interface pointer of the KS chain.
    ///
    /// # Safety
    ///
    /// `this` is that, and the caller has a reference, which [`release`](Self::release) consumes.
    unsafe fn from_ks(this: *mut c_void) -> Self {
        // SAFETY: an interface pointer is not NULL.
        Self(unsafe { NonNull::new_unchecked(this.cast()) })
    }

    /// Makes a reference from an interface pointer of the MEM chain.
    ///
    /// # Safety
    ///
    /// `this` is that, and the caller has a reference, which [`release`](Self::release) consumes.
    unsafe fn from_mem(this: *mut c_void) -> Self {
        // SAFETY: `this` points to the field `mem`, which is that far into the object.
        let ks = unsafe { this.byte_sub(offset_of!(AllocatorObject, mem)) };
        // SAFETY: the start of the object is an interface pointer of the KS chain.
        unsafe { Self::from_ks(ks) }
    }

    fn query_interface(self, iid: Ptr<GUID>, out: OutPtr<*mut c_void>) -> Result<(), HRESULT> {
        let ks: *mut c_void = self.0.as_ptr().cast();
        let interface = match requested_interface(&iid, &out)? {
            IUnknown::IID | IKsAllocator::IID | IKsAllocatorEx::IID => ks,
            IMemAllocator::IID | IMemAllocatorCallbackTemp::IID => {
                // It stays inside the object. `wrapping` only because that is a safe function.
                ks.wrapping_byte_add(offset_of!(AllocatorObject, mem))
            }
            _ => return Err(E_NOINTERFACE),
        };
        self.add();
        out.put(interface)
    }

    /// Counts one more reference. Returns the new number.
    ///
    /// Aborts the process instead of letting the count wrap, as `Arc` does.
    fn add(self) -> u32 {
        // SAFETY: the caller's reference keeps the object alive.
        let references = unsafe { &self.0.as_ref().references };
        // Relaxed: the new reference is made from one that keeps the object alive.
        let before = references.fetch_add(1, Ordering::Relaxed);
        if before > MAX_REFERENCES {
            std::process::abort();
        }
        before + 1
    }

    /// Removes the caller's reference, and frees the object if it was the last. Returns the number
    /// of references that are left.
    fn release(self) -> u32 {
        // SAFETY: the caller's reference keeps the object alive until the subtraction. After that
        // only the count is borrowed, and not used.
        let references = unsafe { &self.0.as_ref().references };
        // Release: every use of the object happens before it is freed. Pairs with the fence below.
        let before = references.fetch_sub(1, Ordering::Release);
        if before == 1 {
            // Acquire: pairs with the Release of all threads that removed a reference.
            fence(Ordering::Acquire);
            // SAFETY: this was the last reference, and `create` made the object as a `Box`.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
        before - 1
    }
}

/// `IKsAllocator` and `IKsAllocatorEx`.
impl AllocatorObject {
    fn handle(&self) -> *mut c_void {
        self.allocator.with_control(|control| {
            let stored = self.stored_handle();
            if !stored.is_null() {
                return stored;
            }
            let own = control.handle();
            own.map_or(ptr::null_mut(), |own| own.as_word())
        })
    }

    fn mode(&self) -> i32 {
        self.allocator.allocator_mode() as i32
    }

    fn status(&self, out: OutPtr<KSSTREAMALLOCATOR_STATUS>) -> Result<(), HRESULT> {
        let status = self.allocator.allocator_status();
        out.put(ks_framing::status(&status, &self.pipe.get()))
    }

    fn set_mode(&self, mode: i32) -> Result<(), HRESULT> {
        let modes = [AllocatorMode::User, AllocatorMode::Kernel];
        let mode = modes.into_iter().find(|&known| known as i32 == mode);
        self.allocator
            .set_allocator_mode(mode.ok_or(E_INVALIDARG)?)?;
        Ok(())
    }

    fn pipe(&self) -> *mut ALLOCATOR_PROPERTIES_EX {
        self.pipe.address()
    }

    fn set_pipe(&self, new: Ptr<ALLOCATOR_PROPERTIES_EX>) {
        self.pipe.set(&new);
    }

    fn set_handle(&self, handle: Ptr<c_void>) {
        self.store_handle(handle.as_ptr().cast_mut());
    }

    /// Creates an allocator for the pipe in the pin's driver, and stores its handle.
    fn create_handle(&self, pin: Ptr<c_void>) -> *mut c_void {
        let Some(pin) = NonNull::new(pin.as_ptr().cast_mut()) else {
            return ptr::null_mut();
        };
        let request = ks_framing::request(&self.pipe.get());
        let handle = self.driver.create_allocator(pin, &request);
        if !handle.is_null() {
            self.store_handle(handle);
        }
        handle
    }
}

/// `IMemAllocator`.
impl AllocatorObject {
    fn set_properties(
        &self,
        request: Ptr<ALLOCATOR_PROPERTIES>,
        actual: OutPtr<ALLOCATOR_PROPERTIES>,
    ) -> Result<(), HRESULT> {
        // Read before `actual` is written: both may be the same structure.
        let request = request.get().ok_or(E_POINTER)?;
        actual.put(ALLOCATOR_PROPERTIES::default())?;
        actual.put(self.allocator.with_control(|control| {
            if self.has_external_allocator(control) {
                return Err(VFW_E_ALREADY_COMMITTED);
            }
            self.properties.set(control, &request)
        })?)
    }

    fn properties(&self, out: OutPtr<ALLOCATOR_PROPERTIES>) -> Result<(), HRESULT> {
        let properties = |control: &mut LockedControl<'_>| self.properties.get(control);
        out.put(self.allocator.with_control(properties))
    }

    /// Commits, and creates the samples, so that the first `GetBuffer` need not.
    ///
    /// State, properties and commit are of one moment: all are read and changed under one lock. The
    /// event, which may run a subscriber, is emitted after it.
    fn commit(&self) -> Result<(), HRESULT> {
        let effect = self.allocator.commit_with(
            |control| -> Result<bool, HRESULT> {
                if control.status().state == AllocatorState::Uncommitted {
                    if self.has_external_allocator(control) {
                        return Ok(false);
                    }
                    self.properties.check(control)?;
                }
                Ok(true)
            },
            |pool| {
                SampleTable::get_or_create(pool.core(), &self.notify)?;
                Ok(())
            },
        )?;
        self.allocator.trace_commit(effect);
        Ok(())
    }

    fn decommit(&self) {
        self.allocator.decommit();
    }

    fn get_buffer(
        &self,
        out: OutPtr<*mut c_void>,
        _start: Ptr<i64>,
        _end: Ptr<i64>,
        flags: u32,
    ) -> Result<(), HRESULT> {
        out.put(ptr::null_mut())?;
        let sample = self.allocator.with_pool(|pool| -> Result<_, HRESULT> {
            let samples = SampleTable::get_or_create(pool.core(), &self.notify)?;
            // The label has the same number in all copies of the crate.
            let call_site = CallSite::caller_for(pool.core().made_by(), Some(Label::GET_BUFFER));
            let frame = if flags & GetBufferFlags::NOWAIT.bits() == 0 {
                pool.acquire_at(call_site)?
            } else {
                pool.try_acquire_at(call_site)?
            };
            if !ptr::eq(frame.core(), pool.core()) {
                return self.sample_of_newer(frame);
            }
            self.announce_format(samples, &frame);
            let sample = NonNull::from(&samples[frame.slot()]);
            // SAFETY: samples and frame are of the same core, so it is the sample of the frame.
            Ok(unsafe { Sample::from_frame(sample, frame) })
        })?;
        out.put(sample)
    }

    /// Turns a frame into its sample that came from a newer generation than the caller had.
    #[cold]
    fn sample_of_newer(&self, frame: Frame) -> Result<*mut c_void, HRESULT> {
        let samples = SampleTable::get_or_create(frame.core(), &self.notify)?;
        self.announce_format(samples, &frame);
        let sample = NonNull::from(&samples[frame.slot()]);
        // SAFETY: it is the sample of the frame's slot.
        Ok(unsafe { Sample::from_frame(sample, frame) })
    }

    /// Gives the sample of a frame the media type of a change of format, if it is the first of the
    /// new frames.
    #[inline]
    fn announce_format(&self, samples: &[Sample], frame: &Frame) {
        if let Some(media_type) = self.announcement.take(frame.generation()) {
            samples[frame.slot()].announce(media_type);
        }
    }

    /// Refuses all samples: the last `Release` of a sample returns its buffer without this method.
    fn release_buffer(&self, sample: Ptr<c_void>) -> Result<(), HRESULT> {
        if sample.as_ptr().is_null() {
            return Err(E_POINTER);
        }
        match self.allocator.pool() {
            Some(pool) if SampleTable::contains(pool.core(), sample.as_ptr()) => Err(E_UNEXPECTED),
            _ => Err(E_INVALIDARG),
        }
    }
}

/// `IMemAllocatorCallbackTemp`.
impl AllocatorObject {
    fn set_notify(&self, callback: Ptr<c_void>) -> Result<(), HRESULT> {
        self.notify.set(&callback)
    }

    fn free_count(&self, out: OutPtr<i32>) -> Result<(), HRESULT> {
        let count = |control: &mut LockedControl<'_>| self.properties.free_count(control);
        out.put(self.allocator.with_control(count))
    }
}

/// Conversion for Rust code.
impl AllocatorObject {
    /// Replaces the frames by others for the picture of a media type, which the first sample of
    /// them announces.
    ///
    /// # Safety
    ///
    /// The pointers in the media type are what its documentation says.
    pub(super) unsafe fn change_format(
        &self,
        media_type: &AM_MEDIA_TYPE,
        change: &FormatChange,
    ) -> Result<Framing, FormatChangeError> {
        // SAFETY: the caller's promise.
        let layout = unsafe { media_type.video_layout() }?;
        // SAFETY: the caller's promise.
        let pointer = unsafe { Ptr::new(media_type) };
        let copy = MediaType::copy_of(&pointer).ok().flatten();
        let copy = copy.ok_or(FormatChangeError::OutOfMemory)?;
        let (mut announced, mut replaced) = (None, None);
        let result = self.allocator.reframe_after(
            |present| change.reframing(present, &layout),
            |next| {
                SampleTable::get_or_create(next.core(), &self.notify)?;
                announced = Some(next.generation());
                replaced = self.announcement.set(next.generation(), copy);
                Ok(())
            },
        );
        // After the locks of the allocator: the end of a media type runs code of the client's.
        if let (Err(_), Some(generation)) = (&result, announced) {
            drop(match replaced {
                Some((earlier, media_type)) => self.announcement.set(earlier, media_type),
                None => self
                    .announcement
                    .take(generation)
                    .map(|own| (generation, own)),
            });
        }
        Ok(result?)
    }

    /// Turns a frame into a sample, with its length and metadata. Returns the frame if it is not of
    /// a generation of the current pool, or if there is no memory for the samples.
    pub(super) fn frame_to_sample(&self, frame: Frame) -> Result<IMediaSample2, Frame> {
        let is_own = |pool: FramePool| frame.core().has_same_queue(pool.core());
        if !self.allocator.pool().is_some_and(is_own) {
            return Err(frame);
        }
        let Ok(samples) = SampleTable::get_or_create(frame.core(), &self.notify) else {
            return Err(frame);
        };
        self.announce_format(samples, &frame);
        let sample = NonNull::from(&samples[frame.slot()]);
        // SAFETY: it is the sample of the frame's slot.
        let sample = unsafe { Sample::from_frame_with_metadata(sample, frame) };
        // SAFETY: it is an `IMediaSample2`, whose one reference belongs to the result.
        Ok(unsafe { IMediaSample2::from_raw(sample) })
    }
}

/// Helpers of the methods.
impl AllocatorObject {
    fn stored_handle(&self) -> *mut c_void {
        // Acquire: pairs with the Release in `store_handle`.
        self.handle.load(Ordering::Acquire)
    }

    fn store_handle(&self, handle: *mut c_void) {
        // Release: pairs with the Acquire in `stored_handle`. A thread that gets the handle sees
        // what was done with it before.
        self.handle.store(handle, Ordering::Release);
    }

    /// Returns whether the object only represents an external kernel allocator, whose handle was
    /// stored in Kernel mode. Then there are no properties to set and there is nothing to commit.
    fn has_external_allocator(&self, control: &LockedControl<'_>) -> bool {
        control.mode() == AllocatorMode::Kernel && !self.stored_handle().is_null()
    }
}

static KS: IKsAllocatorEx_Vtbl = vtable! {
    IKsAllocatorEx_Vtbl for object_from_ks;
    base: vtable! {
        IKsAllocator_Vtbl for object_from_ks;
        base: IUnknown_Vtbl {
            QueryInterface: entry!(
                Reference::from_ks =>
                query_interface(iid: *const GUID, out: *mut *mut c_void) -> HRESULT
            ),
            AddRef: entry!(Reference::from_ks => add() -> u32),
            Release: entry!(Reference::from_ks => release() -> u32),
        };
        KsGetAllocatorHandle: handle() -> *mut c_void;
        KsGetAllocatorMode: mode() -> i32;
        KsGetAllocatorStatus: status(out: *mut KSSTREAMALLOCATOR_STATUS) -> HRESULT;
        KsSetAllocatorMode: set_mode(mode: i32) -> HRESULT;
    };
    KsGetProperties: pipe() -> *mut ALLOCATOR_PROPERTIES_EX;
    KsSetProperties: set_pipe(new: *mut ALLOCATOR_PROPERTIES_EX; new.cast_const());
    KsSetAllocatorHandle: set_handle(handle: *mut c_void; handle.cast_const());
    KsCreateAllocatorAndGetHandle: create_handle(
        pin: *mut c_void;
        pin.cast_const()
    ) -> *mut c_void;
};

static MEM: IMemAllocatorCallbackTemp_Vtbl = vtable! {
    IMemAllocatorCallbackTemp_Vtbl for object_from_mem;
    base: vtable! {
        IMemAllocator_Vtbl for object_from_mem;
        base: IUnknown_Vtbl {
            QueryInterface: entry!(
                Reference::from_mem =>
                query_interface(iid: *const GUID, out: *mut *mut c_void) -> HRESULT
            ),
            AddRef: entry!(Reference::from_mem => add() -> u32),
            Release: entry!(Reference::from_mem => release() -> u32),
        };
        SetProperties: set_properties(
            request: *const ALLOCATOR_PROPERTIES,
            actual: *mut ALLOCATOR_PROPERTIES
        ) -> HRESULT;
        GetProperties: properties(out: *mut ALLOCATOR_PROPERTIES) -> HRESULT;
        Commit: commit() -> HRESULT;
        Decommit: decommit() -> HRESULT;
        GetBuffer: get_buffer(
            out: *mut *mut c_void,
            start: *const i64,
            end: *const i64,
            flags: u32
        ) -> HRESULT;
        ReleaseBuffer: release_buffer(sample: *mut c_void; sample.cast_const()) -> HRESULT;
    };
    SetNotify: set_notify(callback: *mut c_void; callback.cast_const()) -> HRESULT;
    GetFreeCount: free_count(out: *mut i32) -> HRESULT;
};
