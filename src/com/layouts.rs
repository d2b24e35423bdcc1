//! Structures that the interfaces pass, with the names and layouts of the Windows headers.
//!
//! `Weigth` is the headers' spelling.
//!
//! Pointers in these structures are plain words: copying a structure copies its pointers and counts
//! no reference.

#![expect(non_snake_case, reason = "the fields have the names of the headers")]

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::null_mut;

use windows_core::GUID;

// Properties of allocators and pipes.

/// Properties of the buffers of an `IMemAllocator`, requested or actual.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ALLOCATOR_PROPERTIES {
    /// Number of buffers.
    pub cBuffers: i32,
    /// Size of a buffer in bytes, without the prefix.
    pub cbBuffer: i32,
    /// Alignment of the prefix start in bytes; 1 for none.
    pub cbAlign: i32,
    /// Size in bytes of the prefix before each buffer.
    pub cbPrefix: i32,
}

/// Description of a pipe, stored in an `IKsAllocatorEx`. A pipe is the set of filters that share an
/// allocator.
///
/// The first four fields have the layout of [`ALLOCATOR_PROPERTIES`], but they are independent of
/// the properties of the pool, unless Rust code negotiates with them: see
/// [`requirements`](Self::requirements). Microsoft documents little more than the names of the
/// other fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ALLOCATOR_PROPERTIES_EX {
    /// Number of buffers.
    pub cBuffers: i32,
    /// Size of a buffer in bytes, without the prefix.
    pub cbBuffer: i32,
    /// Alignment in bytes.
    pub cbAlign: i32,
    /// Size of the prefix in bytes.
    pub cbPrefix: i32,
    /// Memory type, one of `KSMEMORY_TYPE_*`.
    pub MemoryType: GUID,
    /// Bus type, one of `GUID_BUS_TYPE_*`; zero for any.
    pub BusType: GUID,
    /// State of the negotiation, a [`PipeState`](super::PipeState).
    pub State: i32,
    /// Start of the pipe.
    pub Input: PIPE_TERMINATION,
    /// End of the pipe.
    pub Output: PIPE_TERMINATION,
    /// [`Strategy`](super::Strategy) flags.
    pub Strategy: u32,
    /// [`FramingFlags`](super::FramingFlags) of the pipe.
    pub Flags: u32,
    /// Weight of the pipe.
    pub Weight: u32,
    /// Memory of the pipe, a [`LogicalMemoryType`](super::LogicalMemoryType).
    pub LogicalMemoryType: i32,
    /// Pin that allocates, a [`PipeAllocatorPlace`](super::PipeAllocatorPlace).
    pub AllocatorPlace: i32,
    /// Changes of the frame size along the pipe.
    pub Dimensions: PIPE_DIMENSIONS,
    /// Frame sizes that the memory allows.
    pub PhysicalRange: KS_FRAMING_RANGE,
    /// The `IKsAllocatorEx` of the previous pipe: borrowed, opaque to this crate.
    pub PrevSegment: *mut c_void,
    /// Number of pointers in `NextSegments`.
    pub CountNextSegments: u32,
    /// Array of the `IKsAllocatorEx` pointers of the next pipes: borrowed, opaque to this crate.
    pub NextSegments: *mut c_void,
    /// [`PipeFactors`](super::PipeFactors) from inside the pipe.
    pub InsideFactors: u32,
    /// Number of pins of the pipe.
    pub NumberPins: u32,
}

/// All fields are zero.
impl Default for ALLOCATOR_PROPERTIES_EX {
    fn default() -> Self {
        Self {
            cBuffers: 0,
            cbBuffer: 0,
            cbAlign: 0,
            cbPrefix: 0,
            MemoryType: GUID::default(),
            BusType: GUID::default(),
            State: 0,
            Input: PIPE_TERMINATION::default(),
            Output: PIPE_TERMINATION::default(),
            Strategy: 0,
            Flags: 0,
            Weight: 0,
            LogicalMemoryType: 0,
            AllocatorPlace: 0,
            Dimensions: PIPE_DIMENSIONS::default(),
            PhysicalRange: KS_FRAMING_RANGE::default(),
            PrevSegment: null_mut(),
            CountNextSegments: 0,
            NextSegments: null_mut(),
            InsideFactors: 0,
            NumberPins: 0,
        }
    }
}

/// One end of a pipe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PIPE_TERMINATION {
    /// Flags of this end.
    pub Flags: u32,
    /// [`PipeFactors`](super::PipeFactors) from outside the pipe.
    pub OutsideFactors: u32,
    /// Weight of this end.
    pub Weigth: u32,
    /// Possible frame sizes.
    pub PhysicalRange: KS_FRAMING_RANGE,
    /// Optimal frame sizes.
    pub OptimalRange: KS_FRAMING_RANGE_WEIGHTED,
    /// Change of the frame size.
    pub Compression: KS_COMPRESSION,
}

/// Changes of the frame size along a pipe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PIPE_DIMENSIONS {
    /// At the pin that allocates.
    pub AllocatorPin: KS_COMPRESSION,
    /// At the pin with the largest frames.
    pub MaxExpansionPin: KS_COMPRESSION,
    /// At the last pin.
    pub EndPin: KS_COMPRESSION,
}

// Framings: the frames that a pin needs, or that an allocator has.

/// Change of the frame size: a ratio and a constant margin.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KS_COMPRESSION {
    /// Numerator of the ratio.
    pub RatioNumerator: u32,
    /// Denominator of the ratio.
    pub RatioDenominator: u32,
    /// Margin that is added for any ratio.
    pub RatioConstantMargin: u32,
}

/// Range of frame sizes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KS_FRAMING_RANGE {
    /// Smallest frame size in bytes.
    pub MinFrameSize: u32,
    /// Largest frame size in bytes.
    pub MaxFrameSize: u32,
    /// Difference between one size and the next, in bytes; 0 means 1.
    pub Stepping: u32,
}

/// Range of frame sizes, with weights.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KS_FRAMING_RANGE_WEIGHTED {
    /// The range.
    pub Range: KS_FRAMING_RANGE,
    /// Weight if frames are modified in place.
    pub InPlaceWeight: u32,
    /// Weight if frames are not modified in place.
    pub NotInPlaceWeight: u32,
}

/// Framing of one memory type that a pin supports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KS_FRAMING_ITEM {
    /// Memory type, one of `KSMEMORY_TYPE_*`.
    pub MemoryType: GUID,
    /// Bus type, one of `GUID_BUS_TYPE_*`; zero for any.
    pub BusType: GUID,
    /// Flags of the memory type.
    pub MemoryFlags: u32,
    /// Flags of the bus type.
    pub BusFlags: u32,
    /// [`RequirementFlags`](super::RequirementFlags) and [`FramingFlags`](super::FramingFlags),
    /// combined. Bit `0x10` has a meaning in both.
    pub Flags: u32,
    /// Number of frames.
    pub Frames: u32,
    /// Alignment in bytes minus 1, as a mask (`FILE_*_ALIGNMENT` of the headers). With
    /// [`TWO_D_BUFFER_REQUIRED`](super::FramingFlags::TWO_D_BUFFER_REQUIRED) the same bytes are
    /// `FramePitch`: the signed distance in bytes from row to row.
    #[doc(alias = "FramePitch")]
    pub FileAlignment: u32,
    /// Weight of this memory type relative to the other items.
    pub MemoryTypeWeight: u32,
    /// Possible frame sizes.
    pub PhysicalRange: KS_FRAMING_RANGE,
    /// Optimal frame sizes.
    pub FramingRange: KS_FRAMING_RANGE_WEIGHTED,
}

/// Framing that a pin needs, or that a kernel allocator is created with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KSALLOCATOR_FRAMING {
    /// [`OptionFlags`](super::OptionFlags) to create an allocator. In a framing that a pin reports,
    /// the same bytes are `RequirementsFlags`: [`RequirementFlags`](super::RequirementFlags).
    #[doc(alias = "RequirementsFlags")]
    pub OptionsFlags: u32,
    /// Pool of the kernel, a [`PoolType`](super::PoolType).
    pub PoolType: u32,
    /// Number of frames.
    pub Frames: u32,
    /// Size of a frame in bytes, including the prefix.
    pub FrameSize: u32,
    /// Alignment in bytes minus 1, as a mask (`FILE_*_ALIGNMENT` of the headers). The same bytes
    /// are `FramePitch`: the signed distance in bytes from row to row.
    #[doc(alias = "FramePitch")]
    pub FileAlignment: u32,
    /// Zero.
    pub Reserved: u32,
}

/// Framing that a pin needs, with one item per memory type that it supports.
///
/// ```
/// use ks_allocator::com::KSALLOCATOR_FRAMING_EX;
/// use ks_allocator::kernel_streaming::AllocatorFramingEx;
///
/// let structure = KSALLOCATOR_FRAMING_EX { CountItems: 1, ..KSALLOCATOR_FRAMING_EX::default() };
/// let framing = AllocatorFramingEx::try_from(structure)?;
/// assert_eq!(framing.alternatives("pin")?.len(), 1);
/// assert_eq!(KSALLOCATOR_FRAMING_EX::try_from(&framing)?, structure);
/// # Ok::<(), ks_allocator::kernel_streaming::KsFramingError>(())
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KSALLOCATOR_FRAMING_EX {
    /// Number of items. Items after the first follow this structure in memory.
    pub CountItems: u32,
    /// Flags of the pin.
    pub PinFlags: u32,
    /// Change of the frame size.
    pub OutputCompression: KS_COMPRESSION,
    /// Weight of the pin.
    pub PinWeight: u32,
    /// The first item.
    pub FramingItem: [KS_FRAMING_ITEM; 1],
}

/// Status of an allocator.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KSSTREAMALLOCATOR_STATUS {
    /// Framing of the allocator.
    pub Framing: KSALLOCATOR_FRAMING,
    /// Number of frames that are in use.
    pub AllocatedFrames: u32,
    /// Zero.
    pub Reserved: u32,
}

// Properties of samples.

/// Properties of a sample, which `IMediaSample2` reads and writes in one call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AM_SAMPLE2_PROPERTIES {
    /// Number of bytes of this structure that are used.
    pub cbData: u32,
    /// Flags that the media type defines.
    pub dwTypeSpecificFlags: u32,
    /// [`SampleFlags`](super::SampleFlags).
    pub dwSampleFlags: u32,
    /// Length of the data in the buffer, in bytes.
    pub lActual: i32,
    /// Start time in units of 100 ns, valid with [`TIMEVALID`](super::SampleFlags::TIMEVALID).
    pub tStart: i64,
    /// Stop time in units of 100 ns, valid with [`STOPVALID`](super::SampleFlags::STOPVALID).
    pub tStop: i64,
    /// Stream id: `AM_STREAM_*`, or a number from `0x8000_0000` that the application defines.
    pub dwStreamId: u32,
    /// Media type, valid with [`TYPECHANGED`](super::SampleFlags::TYPECHANGED).
    /// `IMediaSample2::GetProperties` returns the sample's own media type here, not a copy.
    pub pMediaType: *mut AM_MEDIA_TYPE,
    /// The buffer, after its prefix.
    pub pbBuffer: *mut u8,
    /// Size of the buffer in bytes.
    pub cbBuffer: i32,
}

/// All fields are zero.
impl Default for AM_SAMPLE2_PROPERTIES {
    fn default() -> Self {
        Self {
            cbData: 0,
            dwTypeSpecificFlags: 0,
            dwSampleFlags: 0,
            lActual: 0,
            tStart: 0,
            tStop: 0,
            dwStreamId: 0,
            pMediaType: null_mut(),
            pbBuffer: null_mut(),
            cbBuffer: 0,
        }
    }
}

/// Media type: format of the data in a sample.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AM_MEDIA_TYPE {
    /// Major type, such as video or audio.
    pub majortype: GUID,
    /// Subtype: the encoding.
    pub subtype: GUID,
    /// `BOOL`: all samples have the same size.
    pub bFixedSizeSamples: i32,
    /// `BOOL`: samples are compressed relative to other samples.
    pub bTemporalCompression: i32,
    /// Size of a sample in bytes, if all have the same size.
    pub lSampleSize: u32,
    /// Structure of the format block.
    pub formattype: GUID,
    /// An `IUnknown`, or null.
    pub pUnk: *mut c_void,
    /// Size of the format block in bytes.
    pub cbFormat: u32,
    /// The format block, or null.
    pub pbFormat: *mut u8,
}

/// All fields are zero.
impl Default for AM_MEDIA_TYPE {
    fn default() -> Self {
        Self {
            majortype: GUID::default(),
            subtype: GUID::default(),
            bFixedSizeSamples: 0,
            bTemporalCompression: 0,
            lSampleSize: 0,
            formattype: GUID::default(),
            pUnk: null_mut(),
            cbFormat: 0,
            pbFormat: null_mut(),
        }
    }
}

// Assertions of the layouts.

/// Asserts a size, an alignment and offsets in bytes. Where a number differs between 64-bit and
/// 32-bit systems, `/` separates the two.
///
/// `i64` stands for the alignment of an `i64`. It is 8 on Windows; on other 32-bit x86 systems it
/// is 4, and all other numbers are those of Windows.
macro_rules! layout {
    ($name:ident: size $($size:tt)/+, align $($align:tt)/+
     { $($field:ident $($offset:tt)/+),+ $(,)? }) => {
        const _: () = {
            assert!(size_of::<$name>() == layout!(@ $($size)/+), "size");
            assert!(align_of::<$name>() == layout!(@ $($align)/+), "alignment");
            $(assert!(offset_of!($name, $field) == layout!(@ $($offset)/+), stringify!($field));)+
        };
    };
    (@ i64) => {
        if cfg!(windows) { 8 } else { align_of::<i64>() }
    };
    (@ $both:tt) => { $both };
    (@ $wide:tt / $narrow:tt) => {
        if cfg!(target_pointer_width = "64") { layout!(@ $wide) } else { layout!(@ $narrow) }
    };
}

layout!(ALLOCATOR_PROPERTIES: size 16, align 4 { cBuffers 0, cbBuffer 4, cbAlign 8, cbPrefix 12 });

layout!(ALLOCATOR_PROPERTIES_EX: size 264 / 252, align 8 / 4 {
    cBuffers 0,
    cbBuffer 4,
    cbAlign 8,
    cbPrefix 12,
    MemoryType 16,
    BusType 32,
    State 48,
    Input 52,
    Output 108,
    Strategy 164,
    Flags 168,
    Weight 172,
    LogicalMemoryType 176,
    AllocatorPlace 180,
    Dimensions 184,
    PhysicalRange 220,
    PrevSegment 232,
    CountNextSegments 240 / 236,
    NextSegments 248 / 240,
    InsideFactors 256 / 244,
    NumberPins 260 / 248,
});

layout!(PIPE_TERMINATION: size 56, align 4 {
    Flags 0,
    OutsideFactors 4,
    Weigth 8,
    PhysicalRange 12,
    OptimalRange 24,
    Compression 44,
});

layout!(PIPE_DIMENSIONS: size 36, align 4 { AllocatorPin 0, MaxExpansionPin 12, EndPin 24 });

layout!(KS_COMPRESSION: size 12, align 4 {
    RatioNumerator 0,
    RatioDenominator 4,
    RatioConstantMargin 8,
});

layout!(KS_FRAMING_RANGE: size 12, align 4 { MinFrameSize 0, MaxFrameSize 4, Stepping 8 });

layout!(KS_FRAMING_RANGE_WEIGHTED: size 20, align 4 {
    Range 0,
    InPlaceWeight 12,
    NotInPlaceWeight 16,
});

layout!(KS_FRAMING_ITEM: size 88, align 4 {
    MemoryType 0,
    BusType 16,
    MemoryFlags 32,
    BusFlags 36,
    Flags 40,
    Frames 44,
    FileAlignment 48,
    MemoryTypeWeight 52,
    PhysicalRange 56,
    FramingRange 68,
});

layout!(KSALLOCATOR_FRAMING: size 24, align 4 {
    OptionsFlags 0,
    PoolType 4,
    Frames 8,
    FrameSize 12,
    FileAlignment 16,
    Reserved 20,
});

layout!(KSALLOCATOR_FRAMING_EX: size 112, align 4 {
    CountItems 0,
    PinFlags 4,
    OutputCompression 8,
    PinWeight 20,
    FramingItem 24,
});

layout!(KSSTREAMALLOCATOR_STATUS: size 32, align 4 {
    Framing 0,
    AllocatedFrames 24,
    Reserved 28,
});

layout!(AM_SAMPLE2_PROPERTIES: size 64 / 48, align 8 / i64 {
    cbData 0,
    dwTypeSpecificFlags 4,
    dwSampleFlags 8,
    lActual 12,
    tStart 16,
    tStop 24,
    dwStreamId 32,
    pMediaType 40 / 36,
    pbBuffer 48 / 40,
    cbBuffer 56 / 44,
});

layout!(AM_MEDIA_TYPE: size 88 / 72, align 8 / 4 {
    majortype 0,
    subtype 16,
    bFixedSizeSamples 32,
    bTemporalCompression 36,
    lSampleSize 40,
    formattype 44,
    pUnk 64 / 60,
    cbFormat 72 / 64,
    pbFormat 80 / 68,
});
