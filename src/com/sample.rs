//! A media sample: a frame in the hands of a COM client.
//!
//! Every slot of a pool has one sample, made once and used again with the frame. While the frame is
//! free, or out in Rust's hands, the sample has no references and nobody knows of it.
//!
//! # Invariants
//!
//! - **K1** A sample with references owns the frame of its slot. Lending makes the first reference out
//!   of a frame; whoever gives up the last one (RC1) makes a frame of it again.
//! - **K2** A frame keeps its pool's core alive, and the core its samples. So a sample lives as long
//!   as it has references, and whoever gives up the last one must take what it needs before it drops
//!   the frame: from then on the sample is somebody else's, or gone.

use std::ffi::c_void;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use arc_swap::ArcSwapOption;
use windows_core::{GUID, HRESULT, IUnknown, IUnknown_Vtbl, Interface};

use crate::frame::Frame;
use crate::metadata::FrameFlags;
use crate::pool::core::Slot;
use crate::ref_count::RefCount;
use crate::sync::{Arc, AtomicCell};

use super::boundary::{In, Out, asked_for, entry, table};
use super::constants::{
    AM_STREAM_MEDIA, E_NOINTERFACE, E_OUTOFMEMORY, E_POINTER, S_FALSE, S_OK, SampleFlags,
    VFW_E_BUFFER_OVERFLOW, VFW_E_MEDIA_TIME_NOT_SET, VFW_E_SAMPLE_TIME_NOT_SET, VFW_S_NO_STOP_TIME,
};
use super::interfaces::{IMediaSample, IMediaSample_Vtbl, IMediaSample2, IMediaSample2_Vtbl};
use super::layouts::{AM_MEDIA_TYPE, AM_SAMPLE2_PROPERTIES};
use super::media_type::MediaType;
use super::notify::{Held, Notify};
use super::sample_properties::{self, NewProperties};

/// The object behind an `IMediaSample2`.
///
/// What a client can set is in cells, so that one that sets from two threads at once gets one or the
/// other value and breaks nothing.
#[repr(C, align(64))]
pub(super) struct Sample {
    vtable: &'static IMediaSample2_Vtbl,
    slot: NonNull<Slot>,
    notify: NonNull<Notify>,
    references: RefCount,
    /// Survives being given back, as do the times, which only their flags make valid.
    length: AtomicCell<i32>,
    /// All but `TYPECHANGED`, which is whether there is a media type.
    flags: AtomicCell<u32>,
    type_specific_flags: AtomicCell<u32>,
    stream_id: AtomicCell<u32>,
    media_time_is_valid: AtomicCell<bool>,
    /// Set by the first media type, and cleared when the sample is given back: most have none.
    may_have_media_type: AtomicCell<bool>,
    start: AtomicCell<i64>,
    stop: AtomicCell<i64>,
    media_start: AtomicCell<i64>,
    media_stop: AtomicCell<i64>,
    media_type: ArcSwapOption<MediaType>,
}

// SAFETY: `slot` and `notify` live as long as the sample (K2), and what they lead to may be shared: the
// state of the slot is touched only by the owner of the frame (K1). The rest is atomic.
unsafe impl Send for Sample {}
// SAFETY: as above.
unsafe impl Sync for Sample {}

impl Sample {
    /// The sample of the frame in `slot`, without references. The caller keeps `notify` for as long
    /// as the sample lives.
    pub(super) fn new(slot: NonNull<Slot>, capacity: usize, notify: &Notify) -> Self {
        Self {
            vtable: &VTABLE,
            slot,
            notify: NonNull::from(notify),
            references: RefCount::new(),
            length: AtomicCell::new(size(capacity)),
            flags: AtomicCell::new(0),
            type_specific_flags: AtomicCell::new(0),
            stream_id: AtomicCell::new(0),
            media_time_is_valid: AtomicCell::new(false),
            may_have_media_type: AtomicCell::new(false),
            start: AtomicCell::new(0),
            stop: AtomicCell::new(0),
            media_start: AtomicCell::new(0),
            media_stop: AtomicCell::new(0),
            media_type: ArcSwapOption::empty(),
        }
    }

    /// Lends `frame` to a COM client (K1). Returns its `IMediaSample2`.
    ///
    /// # Safety
    ///
    /// `samples` are those of the frame's core.
    #[inline]
    pub(super) unsafe fn lend(samples: &[Self], frame: Frame) -> *mut c_void {
        let sample = &samples[frame.slot()];
        let slot = frame.into_slot();
        debug_assert_eq!(slot, sample.slot, "K1");
        sample.references.add_first();
        ptr::from_ref(sample).cast_mut().cast()
    }

    /// The sample behind its interface pointer.
    ///
    /// # Safety
    ///
    /// `this` is one that [`lend`](Self::lend) returned, and the sample has references.
    unsafe fn find<'a>(this: *mut c_void) -> &'a Self {
        // SAFETY: by K2.
        unsafe { &*this.cast::<Self>() }
    }

    /// Makes a frame of the sample again.
    ///
    /// # Safety
    ///
    /// The last reference was the caller's, who does not use the sample once the frame is given on.
    #[inline]
    unsafe fn take_frame(&self) -> Frame {
        // SAFETY: by K1 it is the caller's.
        unsafe { Frame::from_slot(self.slot) }
    }

    fn slot(&self) -> &Slot {
        // SAFETY: by K2 the core, and so the slot, lives as long as the sample.
        unsafe { self.slot.as_ref() }
    }
}

/// To and from frames in Rust's hands.
impl Sample {
    /// As [`lend`](Self::lend), with the length and the metadata of the frame.
    ///
    /// # Safety
    ///
    /// As [`lend`](Self::lend).
    pub(super) unsafe fn lend_described(samples: &[Self], frame: Frame) -> *mut c_void {
        let sample = &samples[frame.slot()];
        let metadata = frame.metadata();
        let start = metadata.presentation_time;
        let times = start.zip(metadata.duration);
        sample.put_time(
            start,
            times.map(|(start, duration)| start.wrapping_add(duration)),
        );
        // No bits but these: those that go with times and types are set where these are.
        let flags = FrameFlags::from_bits_truncate(metadata.flags.bits());
        sample.flags.store(sample.flags.load() | flags.bits());
        sample.length.store(size(frame.len()));
        // SAFETY: the caller's promise.
        unsafe { Self::lend(samples, frame) }
    }

    /// The frame of a sample again, with what the sample says of itself, if `sample` is one of ours
    /// and the only reference.
    pub(super) fn into_frame(sample: IMediaSample2) -> Result<Frame, IMediaSample2> {
        let pointer: *mut Self = sample.as_raw().cast();
        // SAFETY: every object starts with a pointer to its table.
        let table = unsafe { pointer.cast::<*const IMediaSample2_Vtbl>().read() };
        // Nothing else has this table.
        if table != &raw const VTABLE {
            return Err(sample);
        }
        // SAFETY: so it is one of ours, with the reference that we have (K2).
        let this = unsafe { &*pointer };
        if !this.references.remove_only() {
            return Err(sample);
        }
        let _given_up = ManuallyDrop::new(sample);
        let (flags, start, stop) = (this.flags(), this.start.load(), this.stop.load());
        this.reset();
        // SAFETY: this was the last reference.
        let mut frame = unsafe { this.take_frame() };
        // The length was checked when it was set.
        let length = usize::try_from(this.length.load()).unwrap_or(0);
        frame.set_len(length).unwrap_or_default();
        let metadata = frame.metadata_mut();
        metadata.presentation_time = flags.contains(SampleFlags::TIMEVALID).then_some(start);
        metadata.duration = (flags.contains(SampleFlags::TIMEVALID | SampleFlags::STOPVALID))
            .then(|| stop.wrapping_sub(start));
        metadata.flags = FrameFlags::from_bits_truncate(flags.bits());
        Ok(frame)
    }
}

/// `IUnknown`.
impl Sample {
    fn query_interface(&self, iid: In<GUID>, out: Out<*mut c_void>) -> Result<(), HRESULT> {
        match asked_for(&iid, &out)? {
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

/// A reference on a sample, to be given up.
struct Reference(NonNull<Sample>);

impl Reference {
    /// # Safety
    ///
    /// As for [`Sample::find`]; and the reference is the caller's, who does not use it afterwards.
    unsafe fn take(this: *mut c_void) -> Self {
        // SAFETY: the caller's promise, so it is not NULL.
        Self(unsafe { NonNull::new_unchecked(this.cast()) })
    }

    /// Returns how many references are left. With the last one the frame is given back.
    #[inline]
    fn release(self) -> u32 {
        // SAFETY: by K2, up to the point where the reference is given up.
        let references = unsafe { &self.0.as_ref().references };
        let left = references.remove();
        if left == Some(0) {
            self.give_back();
        }
        // Of a sample without references none can be given up.
        left.unwrap_or(0)
    }

    /// Makes a frame of the sample again, and drops it.
    #[inline]
    fn give_back(self) {
        // SAFETY: by K2, until the frame is dropped: this was the last reference.
        let sample = unsafe { self.0.as_ref() };
        sample.reset();
        // SAFETY: the core, which the frame keeps alive, keeps it alive.
        let notify = unsafe { sample.notify.as_ref() };
        // SAFETY: this was the last reference.
        let frame = unsafe { sample.take_frame() };
        if notify.is_used() {
            give_back_and_tell(frame, notify.hold());
        } else {
            drop(frame);
        }
    }
}

/// In this order: the frame must be back when the client is told. That may free whatever the frame
/// kept alive, but not what is held.
#[cold]
fn give_back_and_tell(frame: Frame, client: Held) {
    drop(frame);
    drop(client);
}

/// `IMediaSample`.
impl Sample {
    fn pointer(&self, out: Out<*mut u8>) -> Result<(), HRESULT> {
        out.put(self.data())
    }

    fn size(&self) -> i32 {
        size(self.slot().capacity)
    }

    fn time(&self, start: Out<i64>, end: Out<i64>) -> Result<HRESULT, HRESULT> {
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

    /// Without a start there is no end.
    fn set_time(&self, start: In<i64>, end: In<i64>) {
        let start = start.get();
        self.put_time(start, start.and(end.get()));
    }

    fn is_sync_point(&self) -> HRESULT {
        self.has(SampleFlags::SPLICEPOINT)
    }

    fn set_sync_point(&self, value: i32) {
        self.set(SampleFlags::SPLICEPOINT, value != 0);
    }

    fn is_preroll(&self) -> HRESULT {
        self.has(SampleFlags::PREROLL)
    }

    fn set_preroll(&self, value: i32) {
        self.set(SampleFlags::PREROLL, value != 0);
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

    /// Gives out a copy of the media type, if there is one.
    fn media_type(&self, out: Out<*mut AM_MEDIA_TYPE>) -> Result<HRESULT, HRESULT> {
        out.put(ptr::null_mut())?;
        let Some(media_type) = self.media_type.load_full() else {
            return Ok(S_FALSE);
        };
        out.put(media_type.duplicate()?.into_raw())?;
        Ok(S_OK)
    }

    fn set_media_type(&self, new: In<AM_MEDIA_TYPE>) -> Result<(), HRESULT> {
        match new.get().map(MediaType::copy_of).transpose() {
            Ok(copy) => self.attach(copy),
            Err(error) => {
                // The old one is not what the client means, even if there is no room for the new.
                if error == E_OUTOFMEMORY {
                    self.attach(None);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn is_discontinuity(&self) -> HRESULT {
        self.has(SampleFlags::DATADISCONTINUITY)
    }

    fn set_discontinuity(&self, value: i32) {
        self.set(SampleFlags::DATADISCONTINUITY, value != 0);
    }

    fn media_time(&self, start: Out<i64>, end: Out<i64>) -> Result<(), HRESULT> {
        start.check()?;
        end.check()?;
        if !self.media_time_is_valid.load() {
            return Err(VFW_E_MEDIA_TIME_NOT_SET);
        }
        start.put(self.media_start.load())?;
        end.put(self.media_stop.load())
    }

    fn set_media_time(&self, start: In<i64>, end: In<i64>) -> Result<(), HRESULT> {
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
    fn properties(&self, size: u32, out: Out<u8>) -> Result<(), HRESULT> {
        let properties = AM_SAMPLE2_PROPERTIES {
            cbData: 0,
            dwTypeSpecificFlags: self.type_specific_flags.load(),
            dwSampleFlags: self.flags().bits(),
            lActual: self.length.load(),
            tStart: self.start.load(),
            tStop: self.stop.load(),
            dwStreamId: self.stream_id.load(),
            pMediaType: self.lent_media_type(),
            pbBuffer: self.data(),
            cbBuffer: self.size(),
        };
        sample_properties::put(properties, size, &out)
    }

    fn set_properties(&self, size: u32, new: In<u8>) -> Result<(), HRESULT> {
        let new = NewProperties::get(size, &new)?;
        new.check(self.flags(), self.data(), self.size())?;
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
            self.attach(media_type);
        }
        Ok(())
    }
}

/// What the methods are made of.
impl Sample {
    /// Forgets what the next client shall not see. The length stays; and the times, which nothing
    /// makes valid any more.
    #[inline]
    fn reset(&self) {
        if self.may_have_media_type.load() {
            self.may_have_media_type.store(false);
            self.attach(None);
        }
        self.flags.store(0);
        self.type_specific_flags.store(0);
        self.stream_id.store(AM_STREAM_MEDIA);
        self.media_time_is_valid.store(false);
    }

    fn data(&self) -> *mut u8 {
        self.slot().payload.as_ptr()
    }

    /// All flags, as a client sees them.
    fn flags(&self) -> SampleFlags {
        let mut flags = SampleFlags::from_bits_retain(self.flags.load());
        let has_media_type = self.may_have_media_type.load() && self.media_type.load().is_some();
        flags.set(SampleFlags::TYPECHANGED, has_media_type);
        flags
    }

    fn put_time(&self, start: Option<i64>, end: Option<i64>) {
        if let Some(start) = start {
            self.start.store(start);
        }
        if let Some(end) = end {
            self.stop.store(end);
        }
        self.set(SampleFlags::TIMEVALID, start.is_some());
        self.set(SampleFlags::STOPVALID, end.is_some());
    }

    /// `S_OK` for yes, `S_FALSE` for no.
    fn has(&self, flag: SampleFlags) -> HRESULT {
        match self.flags().contains(flag) {
            true => S_OK,
            false => S_FALSE,
        }
    }

    fn set(&self, flag: SampleFlags, value: bool) {
        let mut flags = SampleFlags::from_bits_retain(self.flags.load());
        flags.set(flag, value);
        self.flags.store(flags.bits());
    }

    /// Replaces the media type.
    fn attach(&self, media_type: Option<MediaType>) {
        if media_type.is_some() {
            // First, so that whoever gives the sample back cannot overlook it.
            self.may_have_media_type.store(true);
        }
        drop(self.media_type.swap(media_type.map(Arc::new)));
    }

    /// The media type itself, which is the sample's, for a client to look at while it has both.
    fn lent_media_type(&self) -> *mut AM_MEDIA_TYPE {
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

/// The size of a frame as `LONG` has it.
fn size(capacity: usize) -> i32 {
    i32::try_from(capacity).unwrap_or(i32::MAX)
}

static VTABLE: IMediaSample2_Vtbl = table! {
    IMediaSample2_Vtbl for Sample::find;
    base: table! {
        IMediaSample_Vtbl for Sample::find;
        base: IUnknown_Vtbl {
            QueryInterface: entry!(
                Sample::find => query_interface(iid: *const GUID, out: *mut *mut c_void) -> HRESULT
            ),
            AddRef: entry!(Sample::find => add_reference() -> u32),
            Release: entry!(Reference::take => release() -> u32),
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
    GetProperties: properties(size: u32, out: *mut u8) -> HRESULT;
    SetProperties: set_properties(size: u32, new: *const u8) -> HRESULT;
};
