//! Second declaration of the binary interface: identifiers, constants, structures and vtables.
//!
//! It follows the Windows headers and uses nothing of the crate. A wrong vtable slot or offset in
//! the crate therefore makes a test fail or crash.

use std::ffi::c_void;
use std::fmt;
use std::mem::{offset_of, size_of};
use std::ops::Deref;

/// Result of a method. `Debug` prints it in hexadecimal, as the headers write it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Hresult(i32);

impl Hresult {
    pub(crate) const fn new(number: u32) -> Self {
        Self(i32::from_ne_bytes(number.to_ne_bytes()))
    }

    pub(crate) fn is_failure(self) -> bool {
        self.0 < 0
    }
}

impl fmt::Debug for Hresult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010X}", self.0)
    }
}

pub(crate) const S_OK: Hresult = Hresult::new(0);
pub(crate) const S_FALSE: Hresult = Hresult::new(1);
pub(crate) const VFW_S_NO_STOP_TIME: Hresult = Hresult::new(0x0004_0270);
pub(crate) const E_NOTIMPL: Hresult = Hresult::new(0x8000_4001);
pub(crate) const E_NOINTERFACE: Hresult = Hresult::new(0x8000_4002);
pub(crate) const E_POINTER: Hresult = Hresult::new(0x8000_4003);
pub(crate) const E_UNEXPECTED: Hresult = Hresult::new(0x8000_FFFF);
pub(crate) const E_OUTOFMEMORY: Hresult = Hresult::new(0x8007_000E);
pub(crate) const E_INVALIDARG: Hresult = Hresult::new(0x8007_0057);
pub(crate) const VFW_E_BUFFER_OVERFLOW: Hresult = Hresult::new(0x8004_020D);
pub(crate) const VFW_E_BADALIGN: Hresult = Hresult::new(0x8004_020E);
pub(crate) const VFW_E_ALREADY_COMMITTED: Hresult = Hresult::new(0x8004_020F);
pub(crate) const VFW_E_BUFFERS_OUTSTANDING: Hresult = Hresult::new(0x8004_0210);
pub(crate) const VFW_E_NOT_COMMITTED: Hresult = Hresult::new(0x8004_0211);
pub(crate) const VFW_E_SIZENOTSET: Hresult = Hresult::new(0x8004_0212);
pub(crate) const VFW_E_WRONG_STATE: Hresult = Hresult::new(0x8004_0227);
pub(crate) const VFW_E_TIMEOUT: Hresult = Hresult::new(0x8004_022E);
pub(crate) const VFW_E_SAMPLE_TIME_NOT_SET: Hresult = Hresult::new(0x8004_0249);
pub(crate) const VFW_E_MEDIA_TIME_NOT_SET: Hresult = Hresult::new(0x8004_0251);

/// Identifier of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Guid(
    pub(crate) u32,
    pub(crate) u16,
    pub(crate) u16,
    pub(crate) [u8; 8],
);

const MICROSOFT: [u8; 8] = [0xC0, 0, 0, 0, 0, 0, 0, 0x46];
const KS_EX: [u8; 8] = [0xB0, 0x67, 0x00, 0xA0, 0xC9, 0x06, 0x28, 0x02];
const DIRECT_SHOW: [u8; 8] = [0xB0, 0x3A, 0x00, 0x20, 0xAF, 0x0B, 0xA7, 0x70];
const CALLBACK_TEMP: [u8; 8] = [0xAB, 0xF5, 0x00, 0xA0, 0xC9, 0x05, 0xF3, 0x75];

pub(crate) const IID_IUNKNOWN: Guid = Guid(0, 0, 0, MICROSOFT);
pub(crate) const IID_IKS_ALLOCATOR: Guid = Guid(
    0x8DA6_4899,
    0xC0D9,
    0x11D0,
    [0x84, 0x13, 0, 0, 0xF8, 0x22, 0xFE, 0x8A],
);
pub(crate) const IID_IKS_ALLOCATOR_EX: Guid = Guid(0x091B_B63A, 0x603F, 0x11D1, KS_EX);
pub(crate) const IID_IMEM_ALLOCATOR: Guid = Guid(0x56A8_689C, 0x0AD4, 0x11CE, DIRECT_SHOW);
pub(crate) const IID_IMEM_ALLOCATOR_CALLBACK_TEMP: Guid =
    Guid(0x379A_0CF0, 0xC1DE, 0x11D2, CALLBACK_TEMP);
pub(crate) const IID_IMEM_ALLOCATOR_NOTIFY_CALLBACK_TEMP: Guid =
    Guid(0x9298_0B30, 0xC1DE, 0x11D2, CALLBACK_TEMP);
pub(crate) const IID_IMEDIA_SAMPLE: Guid = Guid(0x56A8_689A, 0x0AD4, 0x11CE, DIRECT_SHOW);
pub(crate) const IID_IMEDIA_SAMPLE2: Guid = Guid(
    0x36B7_3884,
    0xC2C8,
    0x11CF,
    [0x8B, 0x46, 0x00, 0x80, 0x5F, 0x6C, 0xEF, 0x60],
);

/// Identifiers of interfaces that neither the allocators nor the samples of the crate implement.
pub(crate) const FOREIGN_IIDS: [Guid; 9] = [
    // The nil identifier, and KSSTRING_AllocatorEx, which differs from IKsAllocatorEx in one digit.
    Guid(0, 0, 0, [0; 8]),
    Guid(0x091B_B63B, 0x603F, 0x11D1, KS_EX),
    IID_IMEM_ALLOCATOR_NOTIFY_CALLBACK_TEMP,
    // IMarshal, IAgileObject, IInspectable, IWeakReferenceSource: some frameworks add them.
    Guid(0x0000_0003, 0, 0, MICROSOFT),
    Guid(
        0x94EA_2B94,
        0xE9CC,
        0x49E0,
        [0xC0, 0xFF, 0xEE, 0x64, 0xCA, 0x8F, 0x5B, 0x90],
    ),
    Guid(
        0xAF86_E2E0,
        0xB12D,
        0x4C6A,
        [0x9C, 0x5A, 0xD7, 0xAA, 0x65, 0x10, 0x1E, 0x90],
    ),
    Guid(0x0000_0038, 0, 0, MICROSOFT),
    // IKsObject, IKsPin.
    Guid(
        0x423C_13A2,
        0x2070,
        0x11D0,
        [0x9E, 0xF7, 0x00, 0xAA, 0x00, 0xA2, 0x16, 0xA1],
    ),
    Guid(
        0xB611_78D1,
        0xA2D9,
        0x11CF,
        [0x9E, 0x53, 0x00, 0xAA, 0x00, 0xA2, 0x16, 0xA1],
    ),
];

/// `ALLOCATOR_PROPERTIES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Properties {
    pub(crate) buffers: i32,
    pub(crate) size: i32,
    pub(crate) align: i32,
    pub(crate) prefix: i32,
}

/// Returns properties with these fields.
pub(crate) const fn properties(buffers: i32, size: i32, align: i32, prefix: i32) -> Properties {
    Properties {
        buffers,
        size,
        align,
        prefix,
    }
}

/// `KSALLOCATOR_FRAMING`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct KsFraming {
    pub(crate) options: u32,
    pub(crate) pool_type: i32,
    pub(crate) frames: u32,
    pub(crate) frame_size: u32,
    pub(crate) file_alignment: u32,
    pub(crate) reserved: u32,
}

/// `KSSTREAMALLOCATOR_STATUS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Status {
    pub(crate) framing: KsFraming,
    pub(crate) allocated_frames: u32,
    pub(crate) reserved: u32,
}

/// `PIPE_TERMINATION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct PipeTermination {
    pub(crate) flags: u32,
    pub(crate) outside_factors: u32,
    pub(crate) weight: u32,
    pub(crate) physical_range: [u32; 3],
    pub(crate) optimal_range: [u32; 5],
    pub(crate) compression: [u32; 3],
}

/// `ALLOCATOR_PROPERTIES_EX`. Its two interface pointers are integers here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct PropertiesEx {
    pub(crate) properties: Properties,
    pub(crate) memory_type: Guid,
    pub(crate) bus_type: Guid,
    pub(crate) state: i32,
    pub(crate) input: PipeTermination,
    pub(crate) output: PipeTermination,
    pub(crate) strategy: u32,
    pub(crate) flags: u32,
    pub(crate) weight: u32,
    pub(crate) logical_memory_type: i32,
    pub(crate) allocator_place: i32,
    pub(crate) dimensions: [u32; 9],
    pub(crate) physical_range: [u32; 3],
    pub(crate) prev_segment: usize,
    pub(crate) count_next_segments: u32,
    pub(crate) next_segments: usize,
    pub(crate) inside_factors: u32,
    pub(crate) number_pins: u32,
}

/// `KS_MemoryTypeKernelPaged`.
pub(crate) const KERNEL_PAGED: i32 = 1;

/// `AM_MEDIA_TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct MediaType {
    pub(crate) major_type: Guid,
    pub(crate) sub_type: Guid,
    pub(crate) fixed_size_samples: i32,
    pub(crate) temporal_compression: i32,
    pub(crate) sample_size: u32,
    pub(crate) format_type: Guid,
    pub(crate) unknown: *mut c_void,
    pub(crate) format_size: u32,
    pub(crate) format: *mut u8,
}

/// `AM_SAMPLE2_PROPERTIES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct SampleProperties {
    pub(crate) cb_data: u32,
    pub(crate) type_specific_flags: u32,
    pub(crate) flags: u32,
    pub(crate) actual: i32,
    pub(crate) start: i64,
    pub(crate) stop: i64,
    pub(crate) stream_id: u32,
    pub(crate) media_type: *mut MediaType,
    pub(crate) buffer: *mut u8,
    pub(crate) buffer_size: i32,
}

/// `AM_SAMPLE_*`.
pub(crate) const SPLICEPOINT: u32 = 0x001;
pub(crate) const PREROLL: u32 = 0x002;
pub(crate) const DATADISCONTINUITY: u32 = 0x004;
pub(crate) const TYPECHANGED: u32 = 0x008;
pub(crate) const TIMEVALID: u32 = 0x010;
/// Bit without a name in the headers. The base classes use it internally for a valid media time.
pub(crate) const MEDIA_TIME_VALID: u32 = 0x020;
pub(crate) const TIMEDISCONTINUITY: u32 = 0x040;
pub(crate) const FLUSH_ON_PAUSE: u32 = 0x080;
pub(crate) const STOPVALID: u32 = 0x100;
pub(crate) const ENDOFSTREAM: u32 = 0x200;

/// `AM_GBF_*`.
pub(crate) const PREVFRAMESKIPPED: u32 = 1;
pub(crate) const NOTASYNCPOINT: u32 = 2;
pub(crate) const NOWAIT: u32 = 4;
pub(crate) const NODDSURFACELOCK: u32 = 8;

/// Parameter that the callee writes to. `None` is NULL.
pub(crate) type OutPtr<'a, T> = Option<&'a mut T>;
/// Parameter that the callee reads. `None` is NULL.
pub(crate) type Ptr<'a, T> = Option<&'a T>;

/// Vtable of an interface.
pub(crate) trait Interface: 'static {
    const IID: Guid;
}

/// Declares the vtable of an interface: the slots of its base, then its own in the listed order.
macro_rules! interface {
    (
        $(#[$attribute:meta])*
        $vtable:ident $(: $base:ident)? = $iid:expr;
        $($slot:ident($($argument:ty),*) $(-> $result:ty)?;)*
    ) => {
        $(#[$attribute])*
        #[repr(C)]
        pub(crate) struct $vtable {
            $(base: $base,)?
            $(pub(crate) $slot:
                unsafe extern "system" fn(*mut c_void $(, $argument)*) $(-> $result)?,)*
        }

        impl Interface for $vtable {
            const IID: Guid = $iid;
        }

        $(impl Deref for $vtable {
            type Target = $base;

            fn deref(&self) -> &$base {
                &self.base
            }
        })?
    };
}

interface! {
    Unknown = IID_IUNKNOWN;
    query_interface(Ptr<'_, Guid>, OutPtr<'_, *mut c_void>) -> Hresult;
    add_ref() -> u32;
    release() -> u32;
}

interface! {
    KsAllocator: Unknown = IID_IKS_ALLOCATOR;
    get_allocator_handle() -> *mut c_void;
    get_allocator_mode() -> i32;
    get_allocator_status(OutPtr<'_, Status>) -> Hresult;
    set_allocator_mode(i32) -> Hresult;
}

interface! {
    /// `IKsAllocator` as the headers declare it: `KsSetAllocatorMode` has no result.
    KsAllocatorWithVoidPrototype: Unknown = IID_IKS_ALLOCATOR;
    get_allocator_handle() -> *mut c_void;
    get_allocator_mode() -> i32;
    get_allocator_status(OutPtr<'_, Status>) -> Hresult;
    set_allocator_mode(i32);
}

interface! {
    KsAllocatorEx: KsAllocator = IID_IKS_ALLOCATOR_EX;
    get_properties() -> *const PropertiesEx;
    set_properties(*const PropertiesEx);
    set_allocator_handle(*mut c_void);
    create_allocator_and_get_handle(*mut c_void) -> *mut c_void;
}

interface! {
    MemAllocator: Unknown = IID_IMEM_ALLOCATOR;
    set_properties(*const Properties, *mut Properties) -> Hresult;
    get_properties(OutPtr<'_, Properties>) -> Hresult;
    commit() -> Hresult;
    decommit() -> Hresult;
    get_buffer(OutPtr<'_, *mut c_void>, OutPtr<'_, i64>, OutPtr<'_, i64>, u32) -> Hresult;
    release_buffer(*mut c_void) -> Hresult;
}

interface! {
    MemAllocatorCallbackTemp: MemAllocator = IID_IMEM_ALLOCATOR_CALLBACK_TEMP;
    set_notify(*mut c_void) -> Hresult;
    get_free_count(OutPtr<'_, i32>) -> Hresult;
}

interface! {
    MemAllocatorNotifyCallbackTemp: Unknown = IID_IMEM_ALLOCATOR_NOTIFY_CALLBACK_TEMP;
    notify_release() -> Hresult;
}

interface! {
    MediaSample: Unknown = IID_IMEDIA_SAMPLE;
    get_pointer(OutPtr<'_, *mut u8>) -> Hresult;
    get_size() -> i32;
    get_time(OutPtr<'_, i64>, OutPtr<'_, i64>) -> Hresult;
    set_time(Ptr<'_, i64>, Ptr<'_, i64>) -> Hresult;
    is_sync_point() -> Hresult;
    set_sync_point(i32) -> Hresult;
    is_preroll() -> Hresult;
    set_preroll(i32) -> Hresult;
    get_actual_data_length() -> i32;
    set_actual_data_length(i32) -> Hresult;
    get_media_type(OutPtr<'_, *mut MediaType>) -> Hresult;
    set_media_type(*const MediaType) -> Hresult;
    is_discontinuity() -> Hresult;
    set_discontinuity(i32) -> Hresult;
    get_media_time(OutPtr<'_, i64>, OutPtr<'_, i64>) -> Hresult;
    set_media_time(Ptr<'_, i64>, Ptr<'_, i64>) -> Hresult;
}

interface! {
    MediaSample2: MediaSample = IID_IMEDIA_SAMPLE2;
    get_properties(u32, *mut u8) -> Hresult;
    set_properties(u32, *const u8) -> Hresult;
}

impl MemAllocatorNotifyCallbackTemp {
    /// Returns the vtable of an object that a test implements.
    pub(crate) const fn new(
        query_interface: unsafe extern "system" fn(
            *mut c_void,
            Ptr<'_, Guid>,
            OutPtr<'_, *mut c_void>,
        ) -> Hresult,
        add_ref: unsafe extern "system" fn(*mut c_void) -> u32,
        release: unsafe extern "system" fn(*mut c_void) -> u32,
        notify_release: unsafe extern "system" fn(*mut c_void) -> Hresult,
    ) -> Self {
        Self {
            base: Unknown {
                query_interface,
                add_ref,
                release,
            },
            notify_release,
        }
    }
}

/// Checks the declarations of this file against documented sizes and offsets.
const _: () = {
    const fn slots<T>() -> usize {
        size_of::<T>() / size_of::<fn()>()
    }
    /// Returns `a` if pointers have 64 bits, otherwise `b`.
    const fn either(a: usize, b: usize) -> usize {
        if size_of::<usize>() == 8 { a } else { b }
    }

    assert!(slots::<KsAllocator>() == 7);
    assert!(slots::<KsAllocatorWithVoidPrototype>() == 7);
    assert!(slots::<KsAllocatorEx>() == 11);
    assert!(slots::<MemAllocator>() == 9);
    assert!(slots::<MemAllocatorCallbackTemp>() == 11);
    assert!(slots::<MemAllocatorNotifyCallbackTemp>() == 4);
    assert!(slots::<MediaSample>() == 19);
    assert!(slots::<MediaSample2>() == 21);

    assert!(size_of::<Properties>() == 16);
    assert!(size_of::<KsFraming>() == 24);
    assert!(size_of::<Status>() == 32);
    assert!(size_of::<PipeTermination>() == 56);

    assert!(size_of::<PropertiesEx>() == either(264, 252));
    assert!(offset_of!(PropertiesEx, memory_type) == 16);
    assert!(offset_of!(PropertiesEx, bus_type) == 32);
    assert!(offset_of!(PropertiesEx, state) == 48);
    assert!(offset_of!(PropertiesEx, input) == 52);
    assert!(offset_of!(PropertiesEx, output) == 108);
    assert!(offset_of!(PropertiesEx, strategy) == 164);
    assert!(offset_of!(PropertiesEx, flags) == 168);
    assert!(offset_of!(PropertiesEx, weight) == 172);
    assert!(offset_of!(PropertiesEx, logical_memory_type) == 176);
    assert!(offset_of!(PropertiesEx, allocator_place) == 180);
    assert!(offset_of!(PropertiesEx, dimensions) == 184);
    assert!(offset_of!(PropertiesEx, physical_range) == 220);
    assert!(offset_of!(PropertiesEx, prev_segment) == 232);
    assert!(offset_of!(PropertiesEx, count_next_segments) == either(240, 236));
    assert!(offset_of!(PropertiesEx, next_segments) == either(248, 240));
    assert!(offset_of!(PropertiesEx, inside_factors) == either(256, 244));
    assert!(offset_of!(PropertiesEx, number_pins) == either(260, 248));

    assert!(size_of::<MediaType>() == either(88, 72));
    assert!(offset_of!(MediaType, sub_type) == 16);
    assert!(offset_of!(MediaType, fixed_size_samples) == 32);
    assert!(offset_of!(MediaType, temporal_compression) == 36);
    assert!(offset_of!(MediaType, sample_size) == 40);
    assert!(offset_of!(MediaType, format_type) == 44);
    assert!(offset_of!(MediaType, unknown) == either(64, 60));
    assert!(offset_of!(MediaType, format_size) == either(72, 64));
    assert!(offset_of!(MediaType, format) == either(80, 68));

    assert!(size_of::<SampleProperties>() == either(64, 48));
    assert!(offset_of!(SampleProperties, type_specific_flags) == 4);
    assert!(offset_of!(SampleProperties, flags) == 8);
    assert!(offset_of!(SampleProperties, actual) == 12);
    assert!(offset_of!(SampleProperties, start) == 16);
    assert!(offset_of!(SampleProperties, stop) == 24);
    assert!(offset_of!(SampleProperties, stream_id) == 32);
    assert!(offset_of!(SampleProperties, media_type) == either(40, 36));
    assert!(offset_of!(SampleProperties, buffer) == either(48, 40));
    assert!(offset_of!(SampleProperties, buffer_size) == either(56, 44));
};
