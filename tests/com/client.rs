//! A COM client: interface pointers that count their references, and methods as a test wants them.
//!
//! Every call goes through the tables in [`vtables`](crate::vtables). Out-parameters hold rubbish
//! before the call, so that what a method leaves unwritten is seen.

use std::collections::HashSet;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, size_of};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;
use std::thread;

use ks_allocator::com::{self, ComAllocator};
use ks_allocator::{AllocatorState, KsAllocator as _, PoolAllocator};

use crate::vtables::*;

/// What stands in a pointer before a call that is to overwrite it.
pub(crate) const RUBBISH: *mut c_void = ptr::dangling_mut::<u64>().cast();

/// What stands in a time before a call that may leave it alone.
pub(crate) const UNTOUCHED: i64 = 0x5555_5555_5555_5555;

/// An interface pointer, and one reference on its object.
pub(crate) struct Com<T: Interface> {
    pointer: NonNull<c_void>,
    table: PhantomData<&'static T>,
}

// SAFETY: the methods are called from streaming threads and the application's at once: that the
// objects bear it is what the tests are about.
unsafe impl<T: Interface> Send for Com<T> {}

// SAFETY: as above.
unsafe impl<T: Interface> Sync for Com<T> {}

/// Calls a slot of the table of an interface pointer.
macro_rules! call {
    ($client:ident.$slot:ident($($argument:expr),* $(,)?)) => {{
        let slot = $client.table().$slot;
        let this = $client.as_ptr();
        // SAFETY: the table is that of the interface, by `Com::adopt`, and the caller holds a
        // reference; or a test holds none on purpose, and the object is kept by its pool.
        unsafe { slot(this $(, $argument)*) }
    }};
}

impl<T: Interface> Com<T> {
    /// Takes over a reference that its owner gives away.
    ///
    /// # Safety
    ///
    /// `pointer` is what `QueryInterface` for `T` gives, on an object that is alive.
    pub(crate) unsafe fn adopt(pointer: *mut c_void) -> Self {
        Self {
            pointer: NonNull::new(pointer).expect("an interface pointer"),
            table: PhantomData,
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.pointer.as_ptr()
    }

    fn table(&self) -> &T {
        // SAFETY: an interface pointer points at a word.
        let table = unsafe { self.pointer.cast::<*const T>().read() };
        // SAFETY: the word points at the table of `T`, by `adopt`, for the life of the object.
        unsafe { &*table }
    }

    /// The same pointer without a reference of its own.
    pub(crate) fn uncounted(&self) -> ManuallyDrop<Self> {
        // SAFETY: the pointer is one of `T`'s, by `adopt`; the reference is never released.
        ManuallyDrop::new(unsafe { Self::adopt(self.as_ptr()) })
    }

    fn borrowed(&self) -> ManuallyDrop<Com<Unknown>> {
        // SAFETY: every table begins with that of IUnknown; the reference is never released.
        ManuallyDrop::new(unsafe { Com::adopt(self.as_ptr()) })
    }

    /// `AddRef`, and what it returns.
    pub(crate) fn add_ref(&self) -> u32 {
        let unknown = self.borrowed();
        call!(unknown.add_ref())
    }

    /// Release of a reference that somebody took with [`add_ref`](Self::add_ref), and what it
    /// returns.
    pub(crate) fn release(&self) -> u32 {
        let unknown = self.borrowed();
        call!(unknown.release())
    }

    /// Release of this reference, and what it returns.
    pub(crate) fn leave(self) -> u32 {
        ManuallyDrop::new(self).release()
    }

    /// How many references there are, as `AddRef` and Release tell it.
    pub(crate) fn references(&self) -> u32 {
        let with_one_more = self.add_ref();
        let references = self.release();
        assert_eq!(with_one_more, references + 1);
        references
    }

    /// `QueryInterface` with its parameters as they are.
    pub(crate) fn query_interface(&self, iid: In<'_, Guid>, out: Out<'_, *mut c_void>) -> Hresult {
        let unknown = self.borrowed();
        call!(unknown.query_interface(iid, out))
    }

    /// `QueryInterface`, whose reference is released at once: what it returned and the pointer.
    pub(crate) fn query(&self, iid: &Guid) -> (Hresult, *mut c_void) {
        let mut pointer = RUBBISH;
        let result = self.query_interface(Some(iid), Some(&mut pointer));
        if result == S_OK {
            // SAFETY: it is an interface pointer, and every table begins with that of IUnknown.
            drop(unsafe { Com::<Unknown>::adopt(pointer) });
        }
        (result, pointer)
    }

    /// Another interface of the same object.
    pub(crate) fn cast<U: Interface>(&self) -> Com<U> {
        let mut pointer = RUBBISH;
        let result = self.query_interface(Some(&U::IID), Some(&mut pointer));
        assert_eq!(result, S_OK);
        // SAFETY: it is what QueryInterface for `U` gave.
        unsafe { Com::adopt(pointer) }
    }
}

impl<T: Interface> Clone for Com<T> {
    fn clone(&self) -> Self {
        self.add_ref();
        // SAFETY: it is the same pointer, and the reference was taken just now.
        unsafe { Self::adopt(self.as_ptr()) }
    }
}

impl<T: Interface> fmt::Debug for Com<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pointer.fmt(f)
    }
}

impl<T: Interface> Drop for Com<T> {
    fn drop(&mut self) {
        self.release();
    }
}

/// The allocator's first face.
impl Com<KsAllocatorEx> {
    pub(crate) fn handle(&self) -> *mut c_void {
        call!(self.get_allocator_handle())
    }

    pub(crate) fn set_handle(&self, handle: *mut c_void) {
        call!(self.set_allocator_handle(handle));
    }

    pub(crate) fn create_handle(&self, pin: *mut c_void) -> *mut c_void {
        call!(self.create_allocator_and_get_handle(pin))
    }

    pub(crate) fn mode(&self) -> i32 {
        call!(self.get_allocator_mode())
    }

    pub(crate) fn set_mode(&self, mode: i32) -> Hresult {
        call!(self.set_allocator_mode(mode))
    }

    /// Calls `KsSetAllocatorMode` as a caller does who has it from the headers.
    pub(crate) fn set_mode_without_a_result(&self, mode: i32) {
        // SAFETY: but for the result it is the same table; the reference is never released.
        let of_the_headers = unsafe { Com::<KsAllocatorOfTheHeaders>::adopt(self.as_ptr()) };
        let of_the_headers = ManuallyDrop::new(of_the_headers);
        call!(of_the_headers.set_allocator_mode(mode));
    }

    pub(crate) fn status_into(&self, status: Out<'_, Status>) -> Hresult {
        call!(self.get_allocator_status(status))
    }

    pub(crate) fn status(&self) -> Status {
        let mut status = Status {
            framing: KsFraming {
                options: !0,
                pool_type: !0,
                frames: !0,
                frame_size: !0,
                file_alignment: !0,
                reserved: !0,
            },
            allocated_frames: !0,
            reserved: !0,
        };
        assert_eq!(self.status_into(Some(&mut status)), S_OK);
        status
    }

    /// The address that `KsGetProperties` returns.
    pub(crate) fn properties_ex_address(&self) -> *const PropertiesEx {
        call!(self.get_properties())
    }

    /// What lies there.
    pub(crate) fn properties_ex(&self) -> PropertiesEx {
        // SAFETY: never NULL, always initialised, and there as long as the object.
        unsafe { self.properties_ex_address().read() }
    }

    /// `KsSetProperties` with an address of the caller's choice.
    pub(crate) fn set_properties_ex_at(&self, address: *const PropertiesEx) {
        call!(self.set_properties(address));
    }

    pub(crate) fn set_properties_ex(&self, properties: &PropertiesEx) {
        self.set_properties_ex_at(properties);
    }
}

/// The allocator's second face.
impl Com<MemAllocatorCallbackTemp> {
    /// `SetProperties` with addresses of the caller's choice.
    pub(crate) fn set_properties_at(
        &self,
        request: *const Properties,
        actual: *mut Properties,
    ) -> Hresult {
        call!(self.set_properties(request, actual))
    }

    /// `SetProperties`: what it returned, and the actual properties.
    pub(crate) fn set(&self, request: Properties) -> (Hresult, Properties) {
        let mut actual = properties(!0, !0, !0, !0);
        let result = self.set_properties_at(&raw const request, &raw mut actual);
        (result, actual)
    }

    pub(crate) fn properties_into(&self, out: Out<'_, Properties>) -> Hresult {
        call!(self.get_properties(out))
    }

    pub(crate) fn properties(&self) -> Properties {
        let mut properties = properties(!0, !0, !0, !0);
        assert_eq!(self.properties_into(Some(&mut properties)), S_OK);
        properties
    }

    pub(crate) fn commit(&self) -> Hresult {
        call!(self.commit())
    }

    pub(crate) fn decommit(&self) -> Hresult {
        call!(self.decommit())
    }

    /// `GetBuffer` with its parameters as they are.
    pub(crate) fn get_buffer_into(
        &self,
        out: Out<'_, *mut c_void>,
        start: Out<'_, i64>,
        stop: Out<'_, i64>,
        flags: u32,
    ) -> Hresult {
        call!(self.get_buffer(out, start, stop, flags))
    }

    /// `GetBuffer`, whose out-pointer must be NULL if it fails.
    pub(crate) fn get_buffer(&self, flags: u32) -> Result<Sample, Hresult> {
        let mut pointer = RUBBISH;
        let result = self.get_buffer_into(Some(&mut pointer), None, None, flags);
        check_null_unless_success(result, pointer);
        if result != S_OK {
            return Err(result);
        }
        // SAFETY: it is an IMediaSample, which is an IMediaSample2 at the same address, as the
        // tests of identity show.
        Ok(unsafe { Com::adopt(pointer) })
    }

    /// `GetBuffer` where it must succeed at once.
    pub(crate) fn sample(&self) -> Sample {
        self.get_buffer(NOWAIT).unwrap()
    }

    pub(crate) fn samples(&self, count: usize) -> Vec<Sample> {
        (0..count).map(|_| self.sample()).collect()
    }

    pub(crate) fn release_buffer(&self, sample: *mut c_void) -> Hresult {
        call!(self.release_buffer(sample))
    }

    pub(crate) fn set_notify(&self, callback: *mut c_void) -> Hresult {
        call!(self.set_notify(callback))
    }

    pub(crate) fn free_count_into(&self, count: Out<'_, i32>) -> Hresult {
        call!(self.get_free_count(count))
    }

    pub(crate) fn free_count(&self) -> i32 {
        let mut count = i32::MIN;
        assert_eq!(self.free_count_into(Some(&mut count)), S_OK);
        count
    }
}

fn check_null_unless_success(result: Hresult, pointer: *mut c_void) {
    assert_eq!(result != S_OK, pointer.is_null(), "{result:?}, {pointer:?}");
}

/// A media sample.
pub(crate) type Sample = Com<MediaSample2>;

impl Sample {
    pub(crate) fn pointer_into(&self, out: Out<'_, *mut u8>) -> Hresult {
        call!(self.get_pointer(out))
    }

    /// Where its data begin.
    pub(crate) fn data(&self) -> *mut u8 {
        let mut pointer = RUBBISH.cast();
        assert_eq!(self.pointer_into(Some(&mut pointer)), S_OK);
        pointer
    }

    pub(crate) fn address(&self) -> usize {
        self.data().addr()
    }

    pub(crate) fn size(&self) -> i32 {
        call!(self.get_size())
    }

    fn size_in_bytes(&self) -> usize {
        usize::try_from(self.size()).unwrap()
    }

    /// All of its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: they are the owner's while it holds the sample, and it writes none meanwhile.
        unsafe { slice::from_raw_parts(self.data(), self.size_in_bytes()) }
    }

    /// Writes all of its bytes.
    pub(crate) fn fill(&self, byte: u8) {
        // SAFETY: as for `bytes`.
        unsafe { self.data().write_bytes(byte, self.size_in_bytes()) }
    }

    /// The prefix bytes before the data.
    pub(crate) fn prefix(&self, length: usize) -> &[u8] {
        let start = self.data().wrapping_sub(length);
        // SAFETY: as for `bytes`; the prefix lies before the data.
        unsafe { slice::from_raw_parts(start, length) }
    }

    /// Writes the prefix bytes before the data.
    pub(crate) fn fill_prefix(&self, length: usize, byte: u8) {
        let start = self.data().wrapping_sub(length);
        // SAFETY: as for `prefix`.
        unsafe { start.write_bytes(byte, length) }
    }

    pub(crate) fn actual(&self) -> i32 {
        call!(self.get_actual_data_length())
    }

    pub(crate) fn set_actual(&self, length: i32) -> Hresult {
        call!(self.set_actual_data_length(length))
    }

    pub(crate) fn time_into(&self, start: Out<'_, i64>, stop: Out<'_, i64>) -> Hresult {
        call!(self.get_time(start, stop))
    }

    /// `GetTime`: what it returned, start and stop.
    pub(crate) fn time(&self) -> (Hresult, i64, i64) {
        let (mut start, mut stop) = (UNTOUCHED, UNTOUCHED);
        let result = self.time_into(Some(&mut start), Some(&mut stop));
        (result, start, stop)
    }

    pub(crate) fn set_time(&self, start: Option<i64>, stop: Option<i64>) -> Hresult {
        call!(self.set_time(start.as_ref(), stop.as_ref()))
    }

    pub(crate) fn media_time_into(&self, start: Out<'_, i64>, stop: Out<'_, i64>) -> Hresult {
        call!(self.get_media_time(start, stop))
    }

    /// `GetMediaTime`: what it returned, start and stop.
    pub(crate) fn media_time(&self) -> (Hresult, i64, i64) {
        let (mut start, mut stop) = (UNTOUCHED, UNTOUCHED);
        let result = self.media_time_into(Some(&mut start), Some(&mut stop));
        (result, start, stop)
    }

    pub(crate) fn set_media_time(&self, start: Option<i64>, stop: Option<i64>) -> Hresult {
        call!(self.set_media_time(start.as_ref(), stop.as_ref()))
    }

    pub(crate) fn is_sync_point(&self) -> Hresult {
        call!(self.is_sync_point())
    }

    pub(crate) fn set_sync_point(&self, truth: i32) -> Hresult {
        call!(self.set_sync_point(truth))
    }

    pub(crate) fn is_preroll(&self) -> Hresult {
        call!(self.is_preroll())
    }

    pub(crate) fn set_preroll(&self, truth: i32) -> Hresult {
        call!(self.set_preroll(truth))
    }

    pub(crate) fn is_discontinuity(&self) -> Hresult {
        call!(self.is_discontinuity())
    }

    pub(crate) fn set_discontinuity(&self, truth: i32) -> Hresult {
        call!(self.set_discontinuity(truth))
    }

    pub(crate) fn media_type_into(&self, out: Out<'_, *mut MediaType>) -> Hresult {
        call!(self.get_media_type(out))
    }

    /// `GetMediaType`: what is attached, as a copy.
    pub(crate) fn media_type(&self) -> Option<MediaTypeCopy> {
        let mut copy = RUBBISH.cast();
        match self.media_type_into(Some(&mut copy)) {
            S_OK => Some(MediaTypeCopy(NonNull::new(copy).expect("a copy"))),
            S_FALSE => {
                assert!(copy.is_null(), "S_FALSE left {copy:?}");
                None
            }
            failure => panic!("{failure:?}"),
        }
    }

    /// `SetMediaType` with an address of the caller's choice.
    pub(crate) fn set_media_type_at(&self, media_type: *const MediaType) -> Hresult {
        call!(self.set_media_type(media_type))
    }

    pub(crate) fn set_media_type(&self, media_type: &MediaType) -> Hresult {
        self.set_media_type_at(media_type)
    }

    /// `IMediaSample2::GetProperties` with its parameters as they are.
    pub(crate) fn image_into(&self, bytes: u32, out: *mut u8) -> Hresult {
        call!(self.get_properties(bytes, out))
    }

    /// The whole of `AM_SAMPLE2_PROPERTIES`.
    pub(crate) fn image(&self) -> SampleProperties {
        let mut image = SampleProperties {
            cb_data: !0,
            type_specific_flags: !0,
            flags: !0,
            actual: !0,
            start: UNTOUCHED,
            stop: UNTOUCHED,
            stream_id: !0,
            media_type: RUBBISH.cast(),
            buffer: RUBBISH.cast(),
            buffer_size: !0,
        };
        let result = self.image_into(SIZE_OF_IMAGE, (&raw mut image).cast());
        assert_eq!(result, S_OK);
        image
    }

    /// `IMediaSample2::SetProperties` with its parameters as they are.
    pub(crate) fn set_image_at(&self, bytes: u32, image: *const u8) -> Hresult {
        call!(self.set_properties(bytes, image))
    }

    /// Sets so many bytes of an image, and of ones if there are more: no byte beyond can be read.
    pub(crate) fn set_image_bytes(&self, bytes: u32, image: &SampleProperties) -> Hresult {
        let mut memory = vec![!0_u8; bytes as usize].into_boxed_slice();
        let (from, to) = ((&raw const *image).cast::<u8>(), memory.as_mut_ptr());
        let length = memory.len().min(size_of::<SampleProperties>());
        // SAFETY: both are as long as that, and the second is nobody else's.
        unsafe { to.copy_from_nonoverlapping(from, length) };
        self.set_image_at(bytes, to)
    }

    /// Sets all of an image.
    pub(crate) fn set_image(&self, image: &SampleProperties) -> Hresult {
        self.set_image_bytes(SIZE_OF_IMAGE, image)
    }
}

/// `sizeof(AM_SAMPLE2_PROPERTIES)`.
#[expect(clippy::cast_possible_truncation, reason = "it is 64 or 48")]
pub(crate) const SIZE_OF_IMAGE: u32 = size_of::<SampleProperties>() as u32;

/// A media type in memory of the task allocator, that is the caller's to free.
pub(crate) struct MediaTypeCopy(NonNull<MediaType>);

impl MediaTypeCopy {
    pub(crate) fn as_ptr(&self) -> *mut MediaType {
        self.0.as_ptr()
    }

    pub(crate) fn format(&self) -> &[u8] {
        if self.format_size == 0 {
            return &[];
        }
        assert!(!self.format.is_null());
        // SAFETY: the block is so long, and the caller's.
        unsafe { slice::from_raw_parts(self.format, self.format_size as usize) }
    }
}

impl Deref for MediaTypeCopy {
    type Target = MediaType;

    fn deref(&self) -> &MediaType {
        // SAFETY: it is the caller's, and initialised.
        unsafe { self.0.as_ref() }
    }
}

/// As `DeleteMediaType` of the base classes.
impl Drop for MediaTypeCopy {
    fn drop(&mut self) {
        if self.format_size != 0 {
            free(self.format.cast());
        }
        if !self.unknown.is_null() {
            // SAFETY: it is an interface pointer, whose reference is the media type's.
            drop(unsafe { Com::<Unknown>::adopt(self.unknown) });
        }
        free(self.as_ptr().cast());
    }
}

/// Frees what the task allocator gave, for which C's stands in where there is none.
fn free(memory: *mut c_void) {
    #[cfg(windows)]
    #[link(name = "ole32")]
    unsafe extern "system" {
        #[link_name = "CoTaskMemFree"]
        fn free(memory: *mut c_void);
    }
    #[cfg(not(windows))]
    unsafe extern "C" {
        fn free(memory: *mut c_void);
    }
    // SAFETY: it came from the allocator that this function belongs to, and is freed once.
    unsafe { free(memory) }
}

/// One allocator, held by each of its two faces: by two references.
#[derive(Clone)]
pub(crate) struct Allocator {
    pub(crate) ks: Com<KsAllocatorEx>,
    pub(crate) mem: Com<MemAllocatorCallbackTemp>,
}

impl Allocator {
    /// As it is born.
    pub(crate) fn new() -> Self {
        Self::from_rust(PoolAllocator::new())
    }

    pub(crate) fn from_rust(allocator: PoolAllocator) -> Self {
        Self::from_unknown(com::into_unknown(allocator))
    }

    /// From what the crate gives out, whose reference it gives away.
    pub(crate) fn from_unknown(pointer: NonNull<c_void>) -> Self {
        // SAFETY: it is an IUnknown, and its one reference is ours.
        let unknown = unsafe { Com::<Unknown>::adopt(pointer.as_ptr()) };
        Self {
            ks: unknown.cast(),
            mem: unknown.cast(),
        }
    }

    /// Uncommitted, with so many buffers of such a size.
    pub(crate) fn with(buffers: i32, size: i32) -> Self {
        Self::with_properties(properties(buffers, size, 1, 0))
    }

    pub(crate) fn with_properties(request: Properties) -> Self {
        let allocator = Self::new();
        assert_eq!(allocator.mem.set(request).0, S_OK);
        allocator
    }

    /// Committed, with so many buffers of such a size.
    pub(crate) fn committed(buffers: i32, size: i32) -> Self {
        Self::committed_with(properties(buffers, size, 1, 0))
    }

    pub(crate) fn committed_with(request: Properties) -> Self {
        let allocator = Self::with_properties(request);
        assert_eq!(allocator.mem.commit(), S_OK);
        allocator
    }

    /// The same allocator, as Rust sees it.
    pub(crate) fn rust(&self) -> ComAllocator {
        // SAFETY: it is an interface pointer of an object that is alive.
        unsafe { ComAllocator::from_borrowed(self.mem.as_ptr()) }.expect("one of ours")
    }

    pub(crate) fn state(&self) -> AllocatorState {
        self.rust().allocator_status().state
    }

    /// How many callers stand in the line.
    pub(crate) fn waiting(&self) -> usize {
        self.rust().pool().map_or(0, |pool| pool.waiting())
    }

    /// Waits until so many callers stand in the line.
    pub(crate) fn until_waiting(&self, callers: usize) {
        let pool = self.rust().pool().expect("committed");
        while pool.waiting() < callers {
            thread::yield_now();
        }
    }

    /// Fails unless every buffer is there, and each is given once.
    pub(crate) fn check_whole(&self, buffers: usize) {
        let samples = self.samples(buffers);
        let addresses: HashSet<_> = samples
            .iter()
            .map(|sample| sample.as_ptr().addr())
            .collect();
        assert_eq!(addresses.len(), buffers);
        assert_eq!(self.get_buffer(NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
        drop(samples);
        assert_eq!(usize::try_from(self.free_count()).unwrap(), buffers);
    }

    /// Gives both references back, and says how many there were besides.
    pub(crate) fn leave(self) -> u32 {
        drop(self.ks);
        self.mem.leave()
    }
}

/// Most tests talk to the second face.
impl Deref for Allocator {
    type Target = Com<MemAllocatorCallbackTemp>;

    fn deref(&self) -> &Self::Target {
        &self.mem
    }
}

/// An allocator of 3 buffers of 64 bytes in a given state, with the sample that keeps it there.
pub(crate) struct Subject {
    pub(crate) allocator: Allocator,
    /// Only to be held.
    _held: Option<Sample>,
}

pub(crate) const STATES: [AllocatorState; 3] = [
    AllocatorState::Uncommitted,
    AllocatorState::Committed,
    AllocatorState::Decommitting,
];

impl Subject {
    pub(crate) fn in_state(state: AllocatorState) -> Self {
        let allocator = Allocator::with(3, 64);
        let mut held = None;
        if state != AllocatorState::Uncommitted {
            assert_eq!(allocator.commit(), S_OK);
        }
        if state == AllocatorState::Decommitting {
            held = Some(allocator.sample());
            assert_eq!(allocator.decommit(), S_OK);
        }
        assert_eq!(allocator.state(), state);
        Self {
            allocator,
            _held: held,
        }
    }
}

/// Makes a call in each state, and checks what it returns and which state it leaves behind.
pub(crate) fn table<T: PartialEq + fmt::Debug>(
    call: impl Fn(&Allocator) -> T,
    rows: [(T, AllocatorState); 3],
) {
    for (state, (expected, after)) in STATES.into_iter().zip(rows) {
        let subject = Subject::in_state(state);
        assert_eq!(call(&subject.allocator), expected, "in {state:?}");
        assert_eq!(
            subject.allocator.state(),
            after,
            "after the call in {state:?}"
        );
    }
}
