//! COM client: counted interface pointers, and methods in a form that is convenient for tests.
//!
//! Every call goes through the vtables of [`vtables`](crate::vtables). Variables that a method must
//! write contain garbage before the call, so a test notices if the method does not.

use std::collections::HashSet;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, size_of};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;

use ks_allocator::com::{self, ComAllocator};
use ks_allocator::{AllocatorState, KsAllocator as _, PoolAllocator};

use crate::support::wait_until::wait_until;
use crate::vtables::*;

/// Value of a pointer before a call that must overwrite it.
pub(crate) const GARBAGE: *mut c_void = ptr::dangling_mut::<u64>().cast();

/// Value of a time before a call that must not write it if it fails.
pub(crate) const UNTOUCHED: i64 = 0x5555_5555_5555_5555;

/// An interface pointer with one reference to its object. Released on drop.
pub(crate) struct Com<T: Interface> {
    pointer: NonNull<c_void>,
    vtable: PhantomData<&'static T>,
}

// SAFETY: DirectShow calls the methods from streaming threads and from threads of the application,
// so the objects must be thread-safe. The tests check that they are.
unsafe impl<T: Interface> Send for Com<T> {}

// SAFETY: DirectShow calls the methods of one object from several threads at the same time, so the
// objects must be thread-safe. The tests check that they are.
unsafe impl<T: Interface> Sync for Com<T> {}

/// Calls a slot of the vtable of an interface pointer.
macro_rules! call {
    ($client:ident.$slot:ident($($argument:expr),* $(,)?)) => {{
        let slot = $client.vtable().$slot;
        let this = $client.as_ptr();
        // SAFETY: `Com::from_raw` requires that the vtable is that of the interface. The object is
        // alive: the caller holds a reference, or the object is a sample that its pool keeps.
        unsafe { slot(this $(, $argument)*) }
    }};
}

impl<T: Interface> Com<T> {
    /// Takes ownership of one reference.
    ///
    /// # Safety
    ///
    /// `pointer` is an interface pointer of `T`, and its object is alive. The caller owns a
    /// reference and gives it up, or never drops the result.
    pub(crate) unsafe fn from_raw(pointer: *mut c_void) -> Self {
        Self {
            pointer: NonNull::new(pointer).expect("an interface pointer"),
            vtable: PhantomData,
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.pointer.as_ptr()
    }

    fn vtable(&self) -> &T {
        // SAFETY: an interface pointer leads to a word that holds the pointer to the vtable.
        let vtable = unsafe { self.pointer.cast::<*const T>().read() };
        // SAFETY: `from_raw` requires that this is the vtable of `T`. It lives at least as long as
        // the object.
        unsafe { &*vtable }
    }

    /// Returns the same pointer without a reference of its own.
    pub(crate) fn uncounted(&self) -> ManuallyDrop<Self> {
        // SAFETY: `self` is an interface pointer of `T`. The result is never dropped.
        ManuallyDrop::new(unsafe { Self::from_raw(self.as_ptr()) })
    }

    fn as_unknown(&self) -> ManuallyDrop<Com<Unknown>> {
        // SAFETY: every vtable begins with that of IUnknown. The result is never dropped.
        ManuallyDrop::new(unsafe { Com::from_raw(self.as_ptr()) })
    }

    /// Calls `AddRef` and returns its result. [`release_raw`](Self::release_raw) undoes it.
    pub(crate) fn add_ref(&self) -> u32 {
        let unknown = self.as_unknown();
        call!(unknown.add_ref())
    }

    /// Calls `Release` without giving up this reference, and returns its result.
    pub(crate) fn release_raw(&self) -> u32 {
        let unknown = self.as_unknown();
        call!(unknown.release())
    }

    /// Releases this reference and returns the result of `Release`.
    pub(crate) fn release(self) -> u32 {
        ManuallyDrop::new(self).release_raw()
    }

    /// Returns the number of references, according to `AddRef` and `Release`.
    pub(crate) fn references(&self) -> u32 {
        let with_one_more = self.add_ref();
        let references = self.release_raw();
        assert_eq!(with_one_more, references + 1);
        references
    }

    /// Calls `QueryInterface` with any parameters.
    pub(crate) fn query_interface(
        &self,
        iid: Ptr<'_, Guid>,
        out: OutPtr<'_, *mut c_void>,
    ) -> Hresult {
        let unknown = self.as_unknown();
        call!(unknown.query_interface(iid, out))
    }

    /// Calls `QueryInterface` and returns its result and the pointer. The reference is released.
    pub(crate) fn query(&self, iid: &Guid) -> (Hresult, *mut c_void) {
        let mut pointer = GARBAGE;
        let result = self.query_interface(Some(iid), Some(&mut pointer));
        if result == S_OK {
            // SAFETY: the call succeeded, so the pointer comes with one reference. Every vtable
            // begins with that of IUnknown.
            drop(unsafe { Com::<Unknown>::from_raw(pointer) });
        }
        (result, pointer)
    }

    /// Returns another interface of the same object.
    pub(crate) fn cast<U: Interface>(&self) -> Com<U> {
        let mut pointer = GARBAGE;
        let result = self.query_interface(Some(&U::IID), Some(&mut pointer));
        assert_eq!(result, S_OK);
        // SAFETY: the call succeeded, so the pointer is one of `U` and comes with one reference.
        unsafe { Com::from_raw(pointer) }
    }
}

impl<T: Interface> Clone for Com<T> {
    fn clone(&self) -> Self {
        self.add_ref();
        // SAFETY: `self` is an interface pointer of `T`, and `add_ref` added one reference.
        unsafe { Self::from_raw(self.as_ptr()) }
    }
}

impl<T: Interface> fmt::Debug for Com<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pointer.fmt(f)
    }
}

impl<T: Interface> Drop for Com<T> {
    fn drop(&mut self) {
        self.release_raw();
    }
}

/// Methods of the KS interfaces of an allocator.
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

    /// Calls `KsSetAllocatorMode` like a caller that uses the prototype of the headers.
    pub(crate) fn set_mode_through_void_prototype(&self, mode: i32) {
        // SAFETY: the vtable is the same except for the result. The pointer is never dropped.
        let client = unsafe { Com::<KsAllocatorWithVoidPrototype>::from_raw(self.as_ptr()) };
        let client = ManuallyDrop::new(client);
        call!(client.set_allocator_mode(mode));
    }

    pub(crate) fn status_into(&self, status: OutPtr<'_, Status>) -> Hresult {
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

    /// Returns the address that `KsGetProperties` returns.
    pub(crate) fn properties_ex_address(&self) -> *const PropertiesEx {
        call!(self.get_properties())
    }

    pub(crate) fn properties_ex(&self) -> PropertiesEx {
        // SAFETY: the address is never NULL. It leads to initialized memory of the object.
        unsafe { self.properties_ex_address().read() }
    }

    /// Calls `KsSetProperties` with any address.
    pub(crate) fn set_properties_ex_at(&self, address: *const PropertiesEx) {
        call!(self.set_properties(address));
    }

    pub(crate) fn set_properties_ex(&self, properties: &PropertiesEx) {
        self.set_properties_ex_at(properties);
    }
}

/// Methods of the DirectShow interfaces of an allocator.
impl Com<MemAllocatorCallbackTemp> {
    /// Calls `SetProperties` with any addresses.
    pub(crate) fn set_properties_at(
        &self,
        request: *const Properties,
        actual: *mut Properties,
    ) -> Hresult {
        call!(self.set_properties(request, actual))
    }

    /// Calls `SetProperties` and returns its result and the actual properties.
    pub(crate) fn set_properties(&self, request: Properties) -> (Hresult, Properties) {
        let mut actual = properties(!0, !0, !0, !0);
        let result = self.set_properties_at(&raw const request, &raw mut actual);
        (result, actual)
    }

    pub(crate) fn properties_into(&self, out: OutPtr<'_, Properties>) -> Hresult {
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

    /// Calls `GetBuffer` with any parameters.
    pub(crate) fn get_buffer_into(
        &self,
        out: OutPtr<'_, *mut c_void>,
        start: OutPtr<'_, i64>,
        stop: OutPtr<'_, i64>,
        flags: u32,
    ) -> Hresult {
        call!(self.get_buffer(out, start, stop, flags))
    }

    /// Calls `GetBuffer`. Asserts that the pointer is NULL if the call fails.
    pub(crate) fn get_buffer(&self, flags: u32) -> Result<Sample, Hresult> {
        let mut pointer = GARBAGE;
        let result = self.get_buffer_into(Some(&mut pointer), None, None, flags);
        assert_null_unless_success(result, pointer);
        if result != S_OK {
            return Err(result);
        }
        // SAFETY: the call succeeded, so the pointer comes with one reference. All interfaces of a
        // sample have the same pointer; `a_sample_has_one_interface_pointer` checks that.
        Ok(unsafe { Com::from_raw(pointer) })
    }

    /// Calls `GetBuffer`, which must succeed without waiting.
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

    pub(crate) fn free_count_into(&self, count: OutPtr<'_, i32>) -> Hresult {
        call!(self.get_free_count(count))
    }

    pub(crate) fn free_count(&self) -> i32 {
        let mut count = i32::MIN;
        assert_eq!(self.free_count_into(Some(&mut count)), S_OK);
        count
    }
}

fn assert_null_unless_success(result: Hresult, pointer: *mut c_void) {
    assert_eq!(result != S_OK, pointer.is_null(), "{result:?}, {pointer:?}");
}

/// A media sample.
pub(crate) type Sample = Com<MediaSample2>;

impl Sample {
    pub(crate) fn pointer_into(&self, out: OutPtr<'_, *mut u8>) -> Hresult {
        call!(self.get_pointer(out))
    }

    /// Returns the address that `GetPointer` writes.
    pub(crate) fn data(&self) -> *mut u8 {
        let mut pointer = GARBAGE.cast();
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

    /// Returns all bytes of the buffer.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer is readable while the caller holds the sample. No test writes to it
        // while it uses the result.
        unsafe { slice::from_raw_parts(self.data(), self.size_in_bytes()) }
    }

    /// Writes `byte` to all bytes of the buffer.
    pub(crate) fn fill(&self, byte: u8) {
        // SAFETY: the buffer is writable while the caller holds the sample, and no test reads it at
        // the same time.
        unsafe { self.data().write_bytes(byte, self.size_in_bytes()) }
    }

    /// Returns the `length` bytes of the prefix, which is before the buffer.
    pub(crate) fn prefix(&self, length: usize) -> &[u8] {
        let start = self.data().wrapping_sub(length);
        // SAFETY: the caller passes the length of the prefix, which is readable while it holds the
        // sample. No test writes to it while it uses the result.
        unsafe { slice::from_raw_parts(start, length) }
    }

    /// Writes `byte` to the `length` bytes of the prefix.
    pub(crate) fn fill_prefix(&self, length: usize, byte: u8) {
        let start = self.data().wrapping_sub(length);
        // SAFETY: the caller passes the length of the prefix, which is writable while it holds the
        // sample. No test reads it at the same time.
        unsafe { start.write_bytes(byte, length) }
    }

    pub(crate) fn actual_length(&self) -> i32 {
        call!(self.get_actual_data_length())
    }

    pub(crate) fn set_actual_length(&self, length: i32) -> Hresult {
        call!(self.set_actual_data_length(length))
    }

    pub(crate) fn time_into(&self, start: OutPtr<'_, i64>, stop: OutPtr<'_, i64>) -> Hresult {
        call!(self.get_time(start, stop))
    }

    /// Calls `GetTime` and returns its result, the start and the stop.
    pub(crate) fn time(&self) -> (Hresult, i64, i64) {
        let (mut start, mut stop) = (UNTOUCHED, UNTOUCHED);
        let result = self.time_into(Some(&mut start), Some(&mut stop));
        (result, start, stop)
    }

    pub(crate) fn set_time(&self, start: Option<i64>, stop: Option<i64>) -> Hresult {
        call!(self.set_time(start.as_ref(), stop.as_ref()))
    }

    pub(crate) fn media_time_into(&self, start: OutPtr<'_, i64>, stop: OutPtr<'_, i64>) -> Hresult {
        call!(self.get_media_time(start, stop))
    }

    /// Calls `GetMediaTime` and returns its result, the start and the stop.
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

    pub(crate) fn set_sync_point(&self, value: i32) -> Hresult {
        call!(self.set_sync_point(value))
    }

    pub(crate) fn is_preroll(&self) -> Hresult {
        call!(self.is_preroll())
    }

    pub(crate) fn set_preroll(&self, value: i32) -> Hresult {
        call!(self.set_preroll(value))
    }

    pub(crate) fn is_discontinuity(&self) -> Hresult {
        call!(self.is_discontinuity())
    }

    pub(crate) fn set_discontinuity(&self, value: i32) -> Hresult {
        call!(self.set_discontinuity(value))
    }

    pub(crate) fn media_type_into(&self, out: OutPtr<'_, *mut MediaType>) -> Hresult {
        call!(self.get_media_type(out))
    }

    /// Calls `GetMediaType`. Returns `None` for `S_FALSE`.
    pub(crate) fn media_type(&self) -> Option<MediaTypeCopy> {
        let mut copy = GARBAGE.cast();
        match self.media_type_into(Some(&mut copy)) {
            S_OK => Some(MediaTypeCopy(
                NonNull::new(copy).expect("`S_OK` comes with a copy"),
            )),
            S_FALSE => {
                assert!(copy.is_null(), "S_FALSE with {copy:?}");
                None
            }
            error => panic!("{error:?}"),
        }
    }

    /// Calls `SetMediaType` with any address.
    pub(crate) fn set_media_type_at(&self, media_type: *const MediaType) -> Hresult {
        call!(self.set_media_type(media_type))
    }

    pub(crate) fn set_media_type(&self, media_type: &MediaType) -> Hresult {
        self.set_media_type_at(media_type)
    }

    /// Calls `IMediaSample2::GetProperties` with any parameters.
    pub(crate) fn properties_into(&self, bytes: u32, out: *mut u8) -> Hresult {
        call!(self.get_properties(bytes, out))
    }

    /// Returns all fields of `AM_SAMPLE2_PROPERTIES`.
    pub(crate) fn properties(&self) -> SampleProperties {
        let mut properties = SampleProperties {
            cb_data: !0,
            type_specific_flags: !0,
            flags: !0,
            actual: !0,
            start: UNTOUCHED,
            stop: UNTOUCHED,
            stream_id: !0,
            media_type: GARBAGE.cast(),
            buffer: GARBAGE.cast(),
            buffer_size: !0,
        };
        let result = self.properties_into(PROPERTIES_SIZE, (&raw mut properties).cast());
        assert_eq!(result, S_OK);
        properties
    }

    /// Calls `IMediaSample2::SetProperties` with any parameters.
    pub(crate) fn set_properties_at(&self, bytes: u32, properties: *const u8) -> Hresult {
        call!(self.set_properties(bytes, properties))
    }

    /// Calls `SetProperties` with the first `bytes` bytes of `properties`. Bytes beyond its end are
    /// 0xFF. The memory is exactly that long, so Miri and sanitizers detect a read beyond it.
    pub(crate) fn set_first_bytes(&self, bytes: u32, properties: &SampleProperties) -> Hresult {
        let mut memory = vec![!0_u8; bytes as usize].into_boxed_slice();
        let (from, to) = ((&raw const *properties).cast::<u8>(), memory.as_mut_ptr());
        let length = memory.len().min(size_of::<SampleProperties>());
        // SAFETY: both are at least `length` bytes long. `memory` is new, so they do not overlap.
        unsafe { to.copy_from_nonoverlapping(from, length) };
        self.set_properties_at(bytes, to)
    }

    /// Calls `SetProperties` with all of `properties`.
    pub(crate) fn set_properties(&self, properties: &SampleProperties) -> Hresult {
        self.set_first_bytes(PROPERTIES_SIZE, properties)
    }
}

/// `sizeof(AM_SAMPLE2_PROPERTIES)`.
#[expect(clippy::cast_possible_truncation, reason = "it is 64 or 48")]
pub(crate) const PROPERTIES_SIZE: u32 = size_of::<SampleProperties>() as u32;

/// A media type in memory of `CoTaskMemAlloc` that the caller owns.
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
        // SAFETY: `format_size` is the length of the block, which `self` owns.
        unsafe { slice::from_raw_parts(self.format, self.format_size as usize) }
    }
}

impl Deref for MediaTypeCopy {
    type Target = MediaType;

    fn deref(&self) -> &MediaType {
        // SAFETY: `GetMediaType` has initialized the media type, and `self` owns it.
        unsafe { self.0.as_ref() }
    }
}

/// Frees the media type like `DeleteMediaType` of the base classes.
impl Drop for MediaTypeCopy {
    fn drop(&mut self) {
        if self.format_size != 0 {
            free(self.format.cast());
        }
        if !self.unknown.is_null() {
            // SAFETY: it is an interface pointer, and the media type owns one reference.
            drop(unsafe { Com::<Unknown>::from_raw(self.unknown) });
        }
        free(self.as_ptr().cast());
    }
}

/// Frees memory of `CoTaskMemAlloc`, or of `malloc` off Windows.
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
    // SAFETY: the copy of a media type is in memory of the matching allocator, and is freed once.
    unsafe { free(memory) }
}

/// An allocator with one reference through each of its two interface pointers.
#[derive(Clone)]
pub(crate) struct Allocator {
    pub(crate) ks: Com<KsAllocatorEx>,
    pub(crate) mem: Com<MemAllocatorCallbackTemp>,
}

impl Allocator {
    /// Creates an allocator without properties.
    pub(crate) fn new() -> Self {
        Self::from_rust(PoolAllocator::new())
    }

    pub(crate) fn from_rust(allocator: PoolAllocator) -> Self {
        Self::from_unknown(com::into_unknown(allocator))
    }

    /// Takes ownership of the reference that `pointer` comes with.
    pub(crate) fn from_unknown(pointer: NonNull<c_void>) -> Self {
        // SAFETY: `pointer` is an IUnknown pointer, and the caller gives up its reference.
        let unknown = unsafe { Com::<Unknown>::from_raw(pointer.as_ptr()) };
        Self {
            ks: unknown.cast(),
            mem: unknown.cast(),
        }
    }

    /// Creates an uncommitted allocator of `buffers` buffers of `size` bytes each.
    pub(crate) fn uncommitted(buffers: i32, size: i32) -> Self {
        Self::with_properties(properties(buffers, size, 1, 0))
    }

    pub(crate) fn with_properties(request: Properties) -> Self {
        let allocator = Self::new();
        assert_eq!(allocator.mem.set_properties(request).0, S_OK);
        allocator
    }

    /// Creates a committed allocator of `buffers` buffers of `size` bytes each.
    pub(crate) fn committed(buffers: i32, size: i32) -> Self {
        Self::committed_with(properties(buffers, size, 1, 0))
    }

    pub(crate) fn committed_with(request: Properties) -> Self {
        let allocator = Self::with_properties(request);
        assert_eq!(allocator.mem.commit(), S_OK);
        allocator
    }

    /// Returns the Rust handle of the same allocator.
    pub(crate) fn rust(&self) -> ComAllocator {
        // SAFETY: it is an interface pointer, and `self` keeps the object alive.
        let allocator = unsafe { ComAllocator::from_borrowed(self.mem.as_ptr()) };
        allocator.expect("the crate made this allocator")
    }

    pub(crate) fn state(&self) -> AllocatorState {
        self.rust().allocator_status().state
    }

    /// Returns the number of callers that wait for a buffer.
    pub(crate) fn waiting(&self) -> usize {
        self.rust().pool().map_or(0, |pool| pool.waiting())
    }

    /// Returns once `callers` callers wait for a buffer.
    pub(crate) fn wait_for_waiters(&self, callers: usize) {
        let pool = self.rust().pool().expect("the allocator is committed");
        wait_until(|| pool.waiting() >= callers);
    }

    /// Asserts that all buffers are free and that each can be acquired exactly once.
    pub(crate) fn assert_all_free(&self, buffers: usize) {
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

    /// Releases both references and returns the number of the remaining ones.
    pub(crate) fn release(self) -> u32 {
        drop(self.ks);
        self.mem.release()
    }
}

/// Most tests call the DirectShow interfaces.
impl Deref for Allocator {
    type Target = Com<MemAllocatorCallbackTemp>;

    fn deref(&self) -> &Self::Target {
        &self.mem
    }
}

/// An allocator of 3 buffers of 64 bytes in a given state.
pub(crate) struct AllocatorInState {
    pub(crate) allocator: Allocator,
    /// The sample that keeps the allocator decommitting.
    _held: Option<Sample>,
}

pub(crate) const STATES: [AllocatorState; 3] = [
    AllocatorState::Uncommitted,
    AllocatorState::Committed,
    AllocatorState::Decommitting,
];

impl AllocatorInState {
    pub(crate) fn new(state: AllocatorState) -> Self {
        let allocator = Allocator::uncommitted(3, 64);
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

/// Makes a call in each state. Checks its result and the state after it.
pub(crate) fn check_in_each_state<T: PartialEq + fmt::Debug>(
    call: impl Fn(&Allocator) -> T,
    rows: [(T, AllocatorState); 3],
) {
    for (state, (expected, after)) in STATES.into_iter().zip(rows) {
        let subject = AllocatorInState::new(state);
        assert_eq!(call(&subject.allocator), expected, "in {state:?}");
        assert_eq!(
            subject.allocator.state(),
            after,
            "after the call in {state:?}"
        );
    }
}
