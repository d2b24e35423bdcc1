//! A media sample: the COM object of a frame that a client holds.
//!
//! Every slot of a pool has one sample. It is created once and used again each time a client gets
//! the frame. While the frame is free, or held by Rust code, the sample has no references and no
//! client may use it.
//!
//! # Invariants
//!
//! - **K1** A sample with references owns the frame of its slot. [`Sample::from_frame`] turns a
//!   frame into the first reference. The thread that removes the last reference (RC1) turns it back
//!   into a frame.
//! - **K2** A frame keeps its pool's core alive, and the core its slots and samples. So a sample is
//!   valid as long as it has references. The thread that removes the last reference reads what it
//!   needs before it drops the frame. After that, the sample may belong to another client, or may
//!   be freed.

use std::ffi::c_void;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use windows_core::{GUID, HRESULT, IUnknown, IUnknown_Vtbl, Interface};

use crate::frame::Frame;
use crate::metadata::{FrameFlags, TimeBase};
use crate::pool::core::Slot;
use crate::ref_count::RefCount;
use crate::sync::AtomicCell;

use super::boundary::{Bytes, OutBytes, OutPtr, Ptr, entry, requested_interface, vtable};
use super::constants::{AM_STREAM_MEDIA, SampleFlags};
use super::hresult::{
    E_NOINTERFACE, E_OUTOFMEMORY, E_POINTER, S_FALSE, S_OK, VFW_E_BUFFER_OVERFLOW,
    VFW_E_MEDIA_TIME_NOT_SET, VFW_E_SAMPLE_TIME_NOT_SET, VFW_S_NO_STOP_TIME,
};
use super::interfaces::{IMediaSample, IMediaSample_Vtbl, IMediaSample2, IMediaSample2_Vtbl};
use super::layouts::{AM_MEDIA_TYPE, AM_SAMPLE2_PROPERTIES};
use super::media_type::MediaType;
use super::notify::{Notify, NotifyOnDrop};
use super::sample_properties::{self, NewProperties};
use super::shared::{Shared, SharedSwap};

/// A `&T` without a lifetime, to something that lives as long as the pool's core.
struct PoolPtr<T>(NonNull<T>);

// SAFETY: it gives shared references only, and `T: Sync` allows those on any thread, as for a `&T`.
unsafe impl<T: Sync> Send for PoolPtr<T> {}
// SAFETY: a `&PoolPtr<T>` gives the same shared references, which `T: Sync` allows on any thread.
unsafe impl<T: Sync> Sync for PoolPtr<T> {}

impl<T> PoolPtr<T> {
    /// # Safety
    ///
    /// `target` is valid for shared references whenever [`get`](Self::get) or one of its results is
    /// used.
    unsafe fn new(target: NonNull<T>) -> Self {
        Self(target)
    }

    fn get(&self) -> &T {
        // SAFETY: by `new`.
        unsafe { self.0.as_ref() }
    }
}

/// The object behind an `IMediaSample2`.
///
/// Everything that a client can set is in atomic cells. If two threads set a value at the same
/// time, one of the two values is stored, and nothing breaks.
#[repr(C, align(64))]
pub(super) struct Sample {
    vtable: &'static IMediaSample2_Vtbl,
    slot: PoolPtr<Slot>,
    notify: PoolPtr<Notify>,
    references: RefCount,
    /// Kept when the sample is released. So are the times, but their flags are cleared.
    length: AtomicCell<i32>,
    /// All flags but `TYPECHANGED`, which is set if there is a media type.
    flags: AtomicCell<u32>,
    type_specific_flags: AtomicCell<u32>,
    stream_id: AtomicCell<u32>,
    media_time_is_valid: AtomicCell<bool>,
    /// Set with the first media type, cleared when the sample is released. Most samples never have
    /// one, and need not look at `media_type`.
    may_have_media_type: AtomicCell<bool>,
    start: AtomicCell<i64>,
    stop: AtomicCell<i64>,
    media_start: AtomicCell<i64>,
    media_stop: AtomicCell<i64>,
    media_type: SharedSwap<MediaType>,
}

/// A sample is used by all threads of its clients, and moves a frame from one thread to another.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Sample>();
    is_send_and_sync::<Frame>();
};

impl Sample {
    /// Creates the sample of a slot, without references.
    ///
    /// # Safety
    ///
    /// `slot` and `notify` are valid as long as the slot's core. The sample is not used after that,
    /// except to be dropped, which follows neither pointer.
    pub(super) unsafe fn new(slot: NonNull<Slot>, capacity: usize, notify: &Notify) -> Self {
        // SAFETY: the caller's promise.
        let slot = unsafe { PoolPtr::new(slot) };
        // SAFETY: the caller's promise.
        let notify = unsafe { PoolPtr::new(NonNull::from(notify)) };
        Self {
            vtable: &VTABLE,
            slot,
            notify,
            references: RefCount::new(),
            length: AtomicCell::new(to_long(capacity)),
            flags: AtomicCell::new(0),
            type_specific_flags: AtomicCell::new(0),
            stream_id: AtomicCell::new(0),
            media_time_is_valid: AtomicCell::new(false),
            may_have_media_type: AtomicCell::new(false),
            start: AtomicCell::new(0),
            stop: AtomicCell::new(0),
            media_start: AtomicCell::new(0),
            media_stop: AtomicCell::new(0),
            media_type: SharedSwap::from(None),
        }
    }

    /// Turns a frame into its sample, with one reference (K1). Returns the `IMediaSample2`.
    ///
    /// # Safety
    ///
    /// `sample` is that of the frame's slot.
    #[inline]
    pub(super) unsafe fn from_frame(sample: NonNull<Self>, frame: Frame) -> *mut c_void {
        let slot = frame.into_slot();
        // SAFETY: by K2 the sample is valid, as its frame is out.
        let this = unsafe { sample.as_ref() };
        debug_assert_eq!(slot, this.slot.0, "K1");
        this.references.add_first();
        sample.as_ptr().cast()
    }

    /// Returns the sample behind its interface pointer.
    ///
    /// # Safety
    ///
    /// `this` was returned by [`from_frame`](Self::from_frame), and the sample has references.
    unsafe fn from_interface<'a>(this: *mut c_void) -> &'a Self {
        // SAFETY: the sample has references, so it is valid, by K2.
        unsafe { &*this.cast::<Self>() }
    }

    /// Turns the sample into its frame.
    ///
    /// # Safety
    ///
    /// The caller has removed the last reference. It does not use the sample after it has dropped
    /// the frame or moved it elsewhere.
    #[inline]
    unsafe fn take_frame(&self) -> Frame {
        // SAFETY: by K1 the sample owned the frame, and `from_frame` had made the slot from it. The
        // last reference was the caller's, so no other thread takes it (RC1).
        unsafe { Frame::from_slot(self.slot.0) }
    }
}

/// Conversion between frames and samples, including length and metadata.
impl Sample {
    /// Does the same as [`from_frame`](Self::from_frame), and copies the length and the metadata of
    /// the frame to the sample.
    ///
    /// # Safety
    ///
    /// `pointer` is the sample of the frame's slot.
    pub(super) unsafe fn from_frame_with_metadata(
        pointer: NonNull<Self>,
        frame: Frame,
    ) -> *mut c_void {
        // SAFETY: by K2 the sample is valid, as its frame is out.
        let sample = unsafe { pointer.as_ref() };
        let metadata = frame.metadata();
        let start = metadata.presentation_time_in(TimeBase::TICKS_100_NS);
        let times = start.zip(metadata.duration_in(TimeBase::TICKS_100_NS));
        sample.store_times(
            start,
            times.map(|(start, duration)| start.wrapping_add(duration)),
        );
        // Truncated to the known bits: the sample itself sets the flags of times and media type.
        let flags = FrameFlags::from_bits_truncate(metadata.flags.bits());
        sample.flags.store(sample.flags.load() | flags.bits());
        sample.length.store(to_long(frame.len()));
        // SAFETY: the caller's promise is that of `from_frame`.
        unsafe { Self::from_frame(pointer, frame) }
    }

    /// Turns a sample into its frame, and copies the length and the metadata of the sample to the
    /// frame. Returns the sample if it is not one of this crate's, or has other references.
    pub(super) fn into_frame(sample: IMediaSample2) -> Result<Frame, IMediaSample2> {
        let pointer: *mut Self = sample.as_raw().cast();
        // SAFETY: every COM object starts with a pointer to its vtable.
        let vtable = unsafe { pointer.cast::<*const IMediaSample2_Vtbl>().read() };
        // Only a `Sample` has this vtable.
        if vtable != &raw const VTABLE {
            return Err(sample);
        }
        // SAFETY: it is a `Sample`, and `sample` is a reference to it, so it is valid, by K2.
        let this = unsafe { &*pointer };
        if !this.references.remove_only() {
            return Err(sample);
        }
        // Its reference is removed already.
        let _released = ManuallyDrop::new(sample);
        let (flags, start, stop) = (this.flags(), this.start.load(), this.stop.load());
        this.reset();
        // SAFETY: this was the only reference. The frame, which keeps the sample valid (K2), is
        // returned after the last use of `this`.
        let mut frame = unsafe { this.take_frame() };
        // The length was checked when it was set.
        let length = usize::try_from(this.length.load()).unwrap_or(0);
        frame.set_len(length).unwrap_or_default();
        let metadata = frame.metadata_mut();
        metadata.decode_time = metadata.decode_time_in(TimeBase::TICKS_100_NS);
        metadata.time_base = TimeBase::TICKS_100_NS;
        metadata.presentation_time = flags.contains(SampleFlags::TIMEVALID).then_some(start);
        metadata.duration = (flags.contains(SampleFlags::TIMEVALID | SampleFlags::STOPVALID))
            .then(|| stop.wrapping_sub(start));
        metadata.flags = FrameFlags::from_bits_truncate(flags.bits());
        Ok(frame)
    }
}

/// `IUnknown`.
impl Sample {
    fn query_interface(&self, iid: Ptr<GUID>, out: OutPtr<*mut c_void>) -> Result<(), HRESULT> {
        match requested_interface(&iid, &out)? {
            IUnknown::IID | IMediaSample::IID | IMediaSample2::IID => {}
            _ => return Err(E_NOINTERFACE),
        }
        self.add_reference();
        out.put(ptr::from_ref(self).cast_mut().cast())
    }

    fn add_reference(&self) -> u32 {
        self.references.add()
    }
}

/// A reference to a sample, to be released.
struct Reference(NonNull<Sample>);

impl Reference {
    /// # Safety
    ///
    /// `this` was returned by [`Sample::from_frame`], and the sample has references. One of them is
    /// the caller's, who does not use it afterwards.
    unsafe fn from_interface(this: *mut c_void) -> Self {
        // SAFETY: `from_frame` returned the address of a sample, so it is not NULL.
        Self(unsafe { NonNull::new_unchecked(this.cast()) })
    }

    /// Removes the reference. Returns the number of references that are left. If none is left, the
    /// frame is released.
    #[inline]
    fn release(self) -> u32 {
        // SAFETY: the sample is valid as long as the reference, by K2. Only the count is borrowed,
        // because another thread may free the sample before `remove` returns.
        let references = unsafe { &self.0.as_ref().references };
        let left = references.remove();
        if left == Some(0) {
            self.release_frame();
        }
        // `None`: the sample was free, so there was no reference to remove (RC2).
        left.unwrap_or(0)
    }

    /// Turns the sample into its frame, and drops it. The last reference is removed already.
    #[inline]
    fn release_frame(self) {
        // SAFETY: by K1 the frame is this thread's, and keeps the sample valid (K2) until it is
        // dropped below.
        let sample = unsafe { self.0.as_ref() };
        sample.reset();
        let notify = sample.notify.get();
        // SAFETY: the last reference was this one. Nothing below uses the sample after the frame is
        // dropped.
        let frame = unsafe { sample.take_frame() };
        if notify.was_set() {
            release_and_notify(frame, notify.notify_on_drop());
        } else {
            drop(frame);
        }
    }
}

/// Drops the frame first: it must be free when the client is notified. The drop may free the sample
/// and the notify object, but `client` holds the callback.
#[cold]
fn release_and_notify(frame: Frame, client: NotifyOnDrop) {
    drop(frame);
    drop(client);
}

/// `IMediaSample`.
impl Sample {
    fn pointer(&self, out: OutPtr<*mut u8>) -> Result<(), HRESULT> {
        out.put(self.payload())
    }

    fn size(&self) -> i32 {
        to_long(self.slot.get().capacity)
    }

    fn time(&self, start: OutPtr<i64>, end: OutPtr<i64>) -> Result<HRESULT, HRESULT> {
        start.check()?;
        end.check()?;
        let flags = self.flags();
        if !flags.contains(SampleFlags::TIMEVALID) {
            return Err(VFW_E_SAMPLE_TIME_NOT_SET);
        }
        let from = self.start.load();
        start.put(from)?;
        if !flags.contains(SampleFlags::STOPVALID) {
            end.put(from.wrapping_add(1))?;
            return Ok(VFW_S_NO_STOP_TIME);
        }
        end.put(self.stop.load())?;
        Ok(S_OK)
    }

    /// Without a start, the end is ignored.
    fn set_time(&self, start: Ptr<i64>, end: Ptr<i64>) {
        let start = start.get();
        self.store_times(start, start.and(end.get()));
    }

    fn is_sync_point(&self) -> HRESULT {
        self.is_flag_set(SampleFlags::SPLICEPOINT)
    }

    fn set_sync_point(&self, value: i32) {
        self.set_flag(SampleFlags::SPLICEPOINT, value != 0);
    }

    fn is_preroll(&self) -> HRESULT {
        self.is_flag_set(SampleFlags::PREROLL)
    }

    fn set_preroll(&self, value: i32) {
        self.set_flag(SampleFlags::PREROLL, value != 0);
    }

    fn actual_data_length(&self) -> i32 {
        self.length.load()
    }

    fn set_actual_data_length(&self, length: i32) -> Result<(), HRESULT> {
        if !(0..=self.size()).contains(&length) {
            return Err(VFW_E_BUFFER_OVERFLOW);
        }
        self.length.store(length);
        Ok(())
    }

    /// Writes a copy of the media type. Returns `S_FALSE` if there is none.
    fn media_type(&self, out: OutPtr<*mut AM_MEDIA_TYPE>) -> Result<HRESULT, HRESULT> {
        out.put(ptr::null_mut())?;
        let Some(media_type) = self.media_type.load_full() else {
            return Ok(S_FALSE);
        };
        out.put(media_type.duplicate()?.into_raw())?;
        Ok(S_OK)
    }

    fn set_media_type(&self, new: Ptr<AM_MEDIA_TYPE>) -> Result<(), HRESULT> {
        match MediaType::copy_of(&new) {
            Ok(copy) => self.replace_media_type(copy),
            Err(error) => {
                // The client replaces the old type, even if there is no memory for the new one.
                if error == E_OUTOFMEMORY {
                    self.replace_media_type(None);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn is_discontinuity(&self) -> HRESULT {
        self.is_flag_set(SampleFlags::DATADISCONTINUITY)
    }

    fn set_discontinuity(&self, value: i32) {
        self.set_flag(SampleFlags::DATADISCONTINUITY, value != 0);
    }

    fn media_time(&self, start: OutPtr<i64>, end: OutPtr<i64>) -> Result<(), HRESULT> {
        start.check()?;
        end.check()?;
        if !self.media_time_is_valid.load() {
            return Err(VFW_E_MEDIA_TIME_NOT_SET);
        }
        start.put(self.media_start.load())?;
        end.put(self.media_stop.load())
    }

    fn set_media_time(&self, start: Ptr<i64>, end: Ptr<i64>) -> Result<(), HRESULT> {
        let Some(start) = start.get() else {
            self.media_time_is_valid.store(false);
            return Ok(());
        };
        let end = end.get().ok_or(E_POINTER)?;
        self.media_start.store(start);
        self.media_stop.store(end);
        self.media_time_is_valid.store(true);
        Ok(())
    }
}

/// `IMediaSample2`.
impl Sample {
    fn properties(&self, out: OutBytes) -> Result<(), HRESULT> {
        let properties = AM_SAMPLE2_PROPERTIES {
            cbData: 0,
            dwTypeSpecificFlags: self.type_specific_flags.load(),
            dwSampleFlags: self.flags().bits(),
            lActual: self.length.load(),
            tStart: self.start.load(),
            tStop: self.stop.load(),
            dwStreamId: self.stream_id.load(),
            pMediaType: self.media_type_ptr(),
            pbBuffer: self.payload(),
            cbBuffer: self.size(),
        };
        sample_properties::write(properties, &out)
    }

    fn set_properties(&self, new: Bytes) -> Result<(), HRESULT> {
        let new = NewProperties::read(&new)?;
        new.check(self.flags(), self.payload(), self.size())?;
        let media_type = new.media_type()?;

        if let Some(stream_id) = new.stream_id() {
            self.stream_id.store(stream_id);
        }
        if let Some(flags) = new.flags {
            self.flags
                .store(flags.difference(SampleFlags::TYPECHANGED).bits());
        }
        if let Some(flags) = new.type_specific_flags() {
            self.type_specific_flags.store(flags);
        }
        if let Some(length) = new.length() {
            self.length.store(length);
        }
        if let Some(stop) = new.stop() {
            self.stop.store(stop);
        }
        if let Some(start) = new.start() {
            self.start.store(start);
        }
        if media_type.is_some() {
            self.replace_media_type(media_type);
        }
        Ok(())
    }
}

/// Helpers of the methods.
impl Sample {
    /// Resets what the next client must not see. The length is kept, and so are the times, which
    /// are not valid any more.
    #[inline]
    fn reset(&self) {
        if self.may_have_media_type.load() {
            self.may_have_media_type.store(false);
            self.replace_media_type(None);
        }
        self.flags.store(0);
        self.type_specific_flags.store(0);
        self.stream_id.store(AM_STREAM_MEDIA);
        self.media_time_is_valid.store(false);
    }

    /// Sets the media type of a sample that no client has yet.
    pub(super) fn announce(&self, media_type: Shared<MediaType>) {
        self.replace_media_type(Some(media_type));
    }

    fn payload(&self) -> *mut u8 {
        self.slot.get().payload.as_ptr()
    }

    /// Returns all flags that a client can see.
    fn flags(&self) -> SampleFlags {
        let mut flags = SampleFlags::from_bits_retain(self.flags.load());
        let has_media_type = self.may_have_media_type.load() && self.media_type.load().is_some();
        flags.set(SampleFlags::TYPECHANGED, has_media_type);
        flags
    }

    fn store_times(&self, start: Option<i64>, end: Option<i64>) {
        if let Some(start) = start {
            self.start.store(start);
        }
        if let Some(end) = end {
            self.stop.store(end);
        }
        self.set_flag(SampleFlags::TIMEVALID, start.is_some());
        self.set_flag(SampleFlags::STOPVALID, end.is_some());
    }

    /// Returns `S_OK` if the flag is set, otherwise `S_FALSE`.
    fn is_flag_set(&self, flag: SampleFlags) -> HRESULT {
        if self.flags().contains(flag) {
            S_OK
        } else {
            S_FALSE
        }
    }

    fn set_flag(&self, flag: SampleFlags, value: bool) {
        let mut flags = SampleFlags::from_bits_retain(self.flags.load());
        flags.set(flag, value);
        self.flags.store(flags.bits());
    }

    fn replace_media_type(&self, media_type: Option<Shared<MediaType>>) {
        if media_type.is_some() {
            // Set before the swap, so that the thread that releases the sample sees it.
            self.may_have_media_type.store(true);
        }
        drop(self.media_type.swap(media_type));
    }

    /// Returns a pointer to the media type itself, not to a copy, or NULL. It is valid until the
    /// client replaces the media type or releases the sample.
    fn media_type_ptr(&self) -> *mut AM_MEDIA_TYPE {
        let media_type = self.media_type.load();
        media_type
            .as_ref()
            .map_or(ptr::null_mut(), |media_type| media_type.as_ptr())
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample")
            .field("references", &self.references)
            .finish_non_exhaustive()
    }
}

/// Converts a size to a `LONG`, at most the largest one.
fn to_long(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}

static VTABLE: IMediaSample2_Vtbl = vtable! {
    IMediaSample2_Vtbl for Sample::from_interface;
    base: vtable! {
        IMediaSample_Vtbl for Sample::from_interface;
        base: IUnknown_Vtbl {
            QueryInterface: entry!(
                Sample::from_interface =>
                query_interface(iid: *const GUID, out: *mut *mut c_void) -> HRESULT
            ),
            AddRef: entry!(Sample::from_interface => add_reference() -> u32),
            Release: entry!(Reference::from_interface => release() -> u32),
        };
        GetPointer: pointer(out: *mut *mut u8) -> HRESULT;
        GetSize: size() -> i32;
        GetTime: time(start: *mut i64, end: *mut i64) -> HRESULT;
        SetTime: set_time(start: *const i64, end: *const i64) -> HRESULT;
        IsSyncPoint: is_sync_point() -> HRESULT;
        SetSyncPoint: set_sync_point(value: i32) -> HRESULT;
        IsPreroll: is_preroll() -> HRESULT;
        SetPreroll: set_preroll(value: i32) -> HRESULT;
        GetActualDataLength: actual_data_length() -> i32;
        SetActualDataLength: set_actual_data_length(length: i32) -> HRESULT;
        GetMediaType: media_type(out: *mut *mut AM_MEDIA_TYPE) -> HRESULT;
        SetMediaType: set_media_type(new: *const AM_MEDIA_TYPE) -> HRESULT;
        IsDiscontinuity: is_discontinuity() -> HRESULT;
        SetDiscontinuity: set_discontinuity(value: i32) -> HRESULT;
        GetMediaTime: media_time(start: *mut i64, end: *mut i64) -> HRESULT;
        SetMediaTime: set_media_time(start: *const i64, end: *const i64) -> HRESULT;
    };
    GetProperties: properties(size: u32, out: *mut u8; (size, out)) -> HRESULT;
    SetProperties: set_properties(size: u32, new: *const u8; (size, new)) -> HRESULT;
};
