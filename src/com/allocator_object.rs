//! The allocator's COM object: two chains of interfaces over one [`PoolAllocator`].
//!
//! ```text
//!  IUnknown, IKsAllocator, IKsAllocatorEx ──────▶ ┌────────────────────────────┐
//!                                                 │ table of the first chain   │
//!  IMemAllocator, IMemAllocatorCallbackTemp ────▶ ├────────────────────────────┤
//!                                                 │ table of the second chain  │
//!                                                 ├────────────────────────────┤
//!                                                 │ references, allocator, ... │
//!                                                 └────────────────────────────┘
//! ```
//!
//! The last reference drops the object, and the object its allocator, which is a decommit. Samples
//! that are out then stay valid: they keep the pool alive, and not this.

use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

use windows_core::{GUID, HRESULT, IUnknown, IUnknown_Vtbl, Interface};

use crate::allocator::{AllocatorState, KsAllocator, PoolAllocator};
use crate::diagnostics::call_site::CallSite;
use crate::frame::Frame;
use crate::label::Label;
use crate::mode::AllocatorMode;
use crate::sync::{Arc, AtomicPtr, AtomicU32, Mutex, Ordering, fence};

use super::boundary::{In, Out, asked_for, entry, table};
use super::constants::{
    E_INVALIDARG, E_NOINTERFACE, E_POINTER, E_UNEXPECTED, GetBufferFlags, VFW_E_ALREADY_COMMITTED,
};
use super::driver::KsDriver;
use super::interfaces::{
    IKsAllocator, IKsAllocator_Vtbl, IKsAllocatorEx, IKsAllocatorEx_Vtbl, IMediaSample2,
    IMemAllocator, IMemAllocator_Vtbl, IMemAllocatorCallbackTemp, IMemAllocatorCallbackTemp_Vtbl,
};
use super::ks_framing;
use super::layouts::{ALLOCATOR_PROPERTIES, ALLOCATOR_PROPERTIES_EX, KSSTREAMALLOCATOR_STATUS};
use super::notify::Notify;
use super::object_count::ObjectCount;
use super::properties::Properties;
use super::sample::Sample;
use super::samples::Samples;

/// More references than can exist without leaking them on purpose.
const MAX_REFERENCES: u32 = u32::MAX / 2;

#[repr(C)]
pub(super) struct AllocatorObject {
    ks: &'static IKsAllocatorEx_Vtbl,
    mem: &'static IMemAllocatorCallbackTemp_Vtbl,
    references: AtomicU32,
    pub(super) allocator: PoolAllocator,
    properties: Properties,
    notify: Arc<Notify>,
    /// What the clients tell each other of their pipe. They read it without the lock.
    pipe: Mutex<ALLOCATOR_PROPERTIES_EX>,
    /// The handle of another's allocator: a client left it here, or a driver made it.
    handle: AtomicPtr<c_void>,
    drivers: Box<dyn KsDriver>,
    _alive: ObjectCount,
}

// SAFETY: the pointers in `pipe` and the handle are words of the clients', which are never followed;
// all else may be sent and shared.
#[expect(clippy::non_send_fields_in_send_ty, reason = "as argued above")]
unsafe impl Send for AllocatorObject {}
// SAFETY: as above.
unsafe impl Sync for AllocatorObject {}

impl AllocatorObject {
    /// Makes an object, and gives the first reference.
    pub(super) fn make(allocator: PoolAllocator, drivers: Box<dyn KsDriver>) -> IUnknown {
        let object = Self {
            ks: &KS,
            mem: &MEM,
            references: AtomicU32::new(1),
            allocator,
            properties: Properties::default(),
            notify: Arc::default(),
            pipe: Mutex::default(),
            handle: AtomicPtr::default(),
            drivers,
            _alive: ObjectCount::new(),
        };
        let this = Box::into_raw(Box::new(object));
        // SAFETY: an object, by its identity, with one reference.
        unsafe { IUnknown::from_raw(this.cast()) }
    }
}

/// Whether this, which is an object by its identity, is an [`AllocatorObject`] of this very crate.
pub(super) fn is_ours(identity: &IUnknown) -> bool {
    // SAFETY: every object starts with a pointer to its table.
    let table = unsafe { identity.as_raw().cast::<*const c_void>().read() };
    // Nothing else has this table.
    table == ptr::from_ref(&KS).cast()
}

/// The object from a pointer to its first chain.
///
/// # Safety
///
/// It is that, and has a reference for as long as the result is used.
pub(super) unsafe fn of_ks<'a>(this: *mut c_void) -> &'a AllocatorObject {
    // SAFETY: the caller's promise.
    unsafe { &*this.cast() }
}

/// The object from a pointer to its second chain.
///
/// # Safety
///
/// As [`of_ks`].
unsafe fn of_mem<'a>(this: *mut c_void) -> &'a AllocatorObject {
    // SAFETY: the caller's promise.
    let Reference(object) = unsafe { Reference::of_mem(this) };
    // SAFETY: likewise.
    unsafe { object.as_ref() }
}

/// The object as a pointer from which it can be freed: what `IUnknown` is made of.
struct Reference(NonNull<AllocatorObject>);

impl Reference {
    /// The object from a pointer to its first chain.
    ///
    /// # Safety
    ///
    /// It is that, and the caller has a reference; [`release`](Self::release) gives that up.
    unsafe fn of_ks(this: *mut c_void) -> Self {
        // SAFETY: the caller's promise, so it is not NULL.
        Self(unsafe { NonNull::new_unchecked(this.cast()) })
    }

    /// The object from a pointer to its second chain.
    ///
    /// # Safety
    ///
    /// As [`of_ks`](Self::of_ks).
    unsafe fn of_mem(this: *mut c_void) -> Self {
        // SAFETY: that far into the object lies the second chain.
        let first = unsafe { this.byte_sub(offset_of!(AllocatorObject, mem)) };
        // SAFETY: so this is the first.
        unsafe { Self::of_ks(first) }
    }

    fn query_interface(self, iid: In<GUID>, out: Out<*mut c_void>) -> Result<(), HRESULT> {
        let first: *mut c_void = self.0.as_ptr().cast();
        let interface = match asked_for(&iid, &out)? {
            IUnknown::IID | IKsAllocator::IID | IKsAllocatorEx::IID => first,
            IMemAllocator::IID | IMemAllocatorCallbackTemp::IID => {
                // Wrapping only to be safe: it lies inside the object.
                first.wrapping_byte_add(offset_of!(AllocatorObject, mem))
            }
            _ => return Err(E_NOINTERFACE),
        };
        self.add();
        out.put(interface)
    }

    /// Counts one more reference. Returns how many there are now.
    ///
    /// Aborts the process rather than let the count wrap, as `Arc` does.
    fn add(self) -> u32 {
        // SAFETY: the caller of the entry has a reference.
        let references = unsafe { &self.0.as_ref().references };
        // Relaxed: the new reference comes from one that keeps the object alive.
        let before = references.fetch_add(1, Ordering::Relaxed);
        if before > MAX_REFERENCES {
            std::process::abort();
        }
        before + 1
    }

    /// Gives the caller's reference up. Returns how many are left.
    fn release(self) -> u32 {
        // SAFETY: the reference keeps the object alive up to the subtraction.
        let references = unsafe { &self.0.as_ref().references };
        // Release: what we did with the object happens before its end; pairs with the fence below.
        let before = references.fetch_sub(1, Ordering::Release);
        if before == 1 {
            // Acquire: pairs with the Release of all others.
            fence(Ordering::Acquire);
            // SAFETY: this was the last reference, and `make` had the object from a `Box`.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
        before - 1
    }
}

/// `IKsAllocator` and `IKsAllocatorEx`.
impl AllocatorObject {
    fn handle(&self) -> *mut c_void {
        let kept = self.kept_handle();
        if !kept.is_null() {
            return kept;
        }
        let own = self.allocator.allocator_handle();
        own.map_or(ptr::null_mut(), |own| own.as_word())
    }

    fn mode(&self) -> i32 {
        self.allocator.allocator_mode() as i32
    }

    fn status(&self, out: Out<KSSTREAMALLOCATOR_STATUS>) -> Result<(), HRESULT> {
        let pipe = *self.pipe.lock();
        out.put(ks_framing::status(
            &self.allocator.allocator_status(),
            &pipe,
        ))
    }

    fn set_mode(&self, mode: i32) -> Result<(), HRESULT> {
        let known = [AllocatorMode::User, AllocatorMode::Kernel];
        let mode = known.into_iter().find(|&known| known as i32 == mode);
        self.allocator
            .set_allocator_mode(mode.ok_or(E_INVALIDARG)?)?;
        Ok(())
    }

    /// Where the pipe is described: the same place for as long as the object lives.
    fn pipe(&self) -> *mut ALLOCATOR_PROPERTIES_EX {
        self.pipe.data_ptr()
    }

    fn set_pipe(&self, new: Out<ALLOCATOR_PROPERTIES_EX>) {
        if new.check().is_err() {
            return;
        }
        let lock = self.pipe.lock();
        let place = self.pipe.data_ptr().cast::<u8>();
        // SAFETY: the client's can be read, wherever it lies and if it is the very place; ours is
        // locked.
        unsafe { place.copy_from(new.as_ptr().cast(), size_of::<ALLOCATOR_PROPERTIES_EX>()) };
        drop(lock);
    }

    fn set_handle(&self, handle: Out<c_void>) {
        self.keep_handle(handle.as_ptr());
    }

    /// Has the pin's driver make an allocator for the pipe, and keeps its handle.
    fn create_handle(&self, pin: Out<c_void>) -> *mut c_void {
        let Some(pin) = NonNull::new(pin.as_ptr()) else {
            return ptr::null_mut();
        };
        let pipe = *self.pipe.lock();
        let made = self
            .drivers
            .create_allocator(pin, &ks_framing::request(&pipe));
        if !made.is_null() {
            self.keep_handle(made);
        }
        made
    }
}

/// `IMemAllocator`.
impl AllocatorObject {
    fn set_properties(
        &self,
        request: In<ALLOCATOR_PROPERTIES>,
        actual: Out<ALLOCATOR_PROPERTIES>,
    ) -> Result<(), HRESULT> {
        // Read before anything is written: both may be the same.
        let request = request.get().ok_or(E_POINTER)?;
        actual.put(ALLOCATOR_PROPERTIES::default())?;
        if self.stands_for_another() {
            return Err(VFW_E_ALREADY_COMMITTED);
        }
        actual.put(self.properties.set(&self.allocator, &request)?)
    }

    fn properties(&self, out: Out<ALLOCATOR_PROPERTIES>) -> Result<(), HRESULT> {
        out.put(self.properties.get(&self.allocator))
    }

    fn commit(&self) -> Result<(), HRESULT> {
        let state = self.allocator.allocator_status().state;
        match state {
            AllocatorState::Uncommitted if self.stands_for_another() => return Ok(()),
            AllocatorState::Uncommitted => self.properties.commit(&self.allocator)?,
            _ => self.allocator.commit()?,
        }
        let made = self.make_samples();
        if made.is_err() && state != AllocatorState::Committed {
            self.allocator.decommit();
        }
        made
    }

    fn decommit(&self) {
        self.allocator.decommit();
    }

    fn get_buffer(
        &self,
        out: Out<*mut c_void>,
        _start: In<i64>,
        _end: In<i64>,
        flags: u32,
    ) -> Result<(), HRESULT> {
        out.put(ptr::null_mut())?;
        let sample = self.allocator.with_pool(|pool| -> Result<_, HRESULT> {
            let samples = Samples::of(pool.core(), &self.notify)?;
            let by = CallSite::caller(Some(Label::GET_BUFFER));
            let frame = if flags & GetBufferFlags::NOWAIT.bits() == 0 {
                pool.acquire_at(by)?
            } else {
                pool.try_acquire_at(by)?
            };
            // SAFETY: a frame of this pool.
            Ok(unsafe { Sample::lend(samples, frame) })
        })?;
        out.put(sample)
    }

    /// Samples come back by their last `Release`, and know the way: to call this is a mistake.
    fn release_buffer(&self, sample: Out<c_void>) -> Result<(), HRESULT> {
        sample.check()?;
        match self.allocator.pool() {
            Some(pool) if Samples::have(pool.core(), sample.as_ptr()) => Err(E_UNEXPECTED),
            _ => Err(E_INVALIDARG),
        }
    }
}

/// `IMemAllocatorCallbackTemp`.
impl AllocatorObject {
    fn set_notify(&self, callback: Out<c_void>) {
        self.notify.set(&callback);
    }

    fn free_count(&self, out: Out<i32>) -> Result<(), HRESULT> {
        out.put(self.properties.free_count(&self.allocator))
    }
}

/// What Rust code calls.
impl AllocatorObject {
    /// Makes a sample of a frame, with what the frame says about itself. Gives the frame back if it
    /// is not of the current pool, or there is no memory for the samples.
    pub(super) fn lend(&self, frame: Frame) -> Result<IMediaSample2, Frame> {
        let Some(pool) = self.allocator.pool() else {
            return Err(frame);
        };
        let core = pool.core();
        if !ptr::eq(core, frame.core()) {
            return Err(frame);
        }
        let Ok(samples) = Samples::of(core, &self.notify) else {
            return Err(frame);
        };
        // SAFETY: a frame of this pool.
        let sample = unsafe { Sample::lend_described(samples, frame) };
        // SAFETY: a sample, with a reference that is ours.
        Ok(unsafe { IMediaSample2::from_raw(sample) })
    }
}

/// What the methods are made of.
impl AllocatorObject {
    fn kept_handle(&self) -> *mut c_void {
        // Acquire: pairs with the Release in `keep_handle`.
        self.handle.load(Ordering::Acquire)
    }

    fn keep_handle(&self, handle: *mut c_void) {
        // Release: pairs with the Acquire in `kept_handle`, for what was done to it before.
        self.handle.store(handle, Ordering::Release);
    }

    /// Whether this is but a token for a kernel allocator whose handle was left here: then there is
    /// nothing to be set or committed.
    fn stands_for_another(&self) -> bool {
        self.allocator.allocator_mode() == AllocatorMode::Kernel && !self.kept_handle().is_null()
    }

    /// Makes the samples now, which otherwise the first `GetBuffer` would.
    fn make_samples(&self) -> Result<(), HRESULT> {
        if let Some(pool) = self.allocator.pool() {
            Samples::of(pool.core(), &self.notify)?;
        }
        Ok(())
    }
}

static KS: IKsAllocatorEx_Vtbl = table! {
    IKsAllocatorEx_Vtbl for of_ks;
    base: table! {
        IKsAllocator_Vtbl for of_ks;
        base: IUnknown_Vtbl {
            QueryInterface: entry!(
                Reference::of_ks => query_interface(iid: *const GUID, out: *mut *mut c_void) -> HRESULT
            ),
            AddRef: entry!(Reference::of_ks => add() -> u32),
            Release: entry!(Reference::of_ks => release() -> u32),
        };
        KsGetAllocatorHandle: handle() -> *mut c_void;
        KsGetAllocatorMode: mode() -> i32;
        KsGetAllocatorStatus: status(out: *mut KSSTREAMALLOCATOR_STATUS) -> HRESULT;
        KsSetAllocatorMode: set_mode(mode: i32) -> HRESULT;
    };
    KsGetProperties: pipe() -> *mut ALLOCATOR_PROPERTIES_EX;
    KsSetProperties: set_pipe(new: *mut ALLOCATOR_PROPERTIES_EX);
    KsSetAllocatorHandle: set_handle(handle: *mut c_void);
    KsCreateAllocatorAndGetHandle: create_handle(pin: *mut c_void) -> *mut c_void;
};

static MEM: IMemAllocatorCallbackTemp_Vtbl = table! {
    IMemAllocatorCallbackTemp_Vtbl for of_mem;
    base: table! {
        IMemAllocator_Vtbl for of_mem;
        base: IUnknown_Vtbl {
            QueryInterface: entry!(
                Reference::of_mem => query_interface(iid: *const GUID, out: *mut *mut c_void) -> HRESULT
            ),
            AddRef: entry!(Reference::of_mem => add() -> u32),
            Release: entry!(Reference::of_mem => release() -> u32),
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
        ReleaseBuffer: release_buffer(sample: *mut c_void) -> HRESULT;
    };
    SetNotify: set_notify(callback: *mut c_void) -> HRESULT;
    GetFreeCount: free_count(out: *mut i32) -> HRESULT;
};
