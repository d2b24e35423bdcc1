//! The structures that cross the ABI, under the names that the Windows headers give them.
//!
//! `Weigth`, `MinTotalNominator` and `MaxTotalNominator` are spelt as in the headers.
//!
//! A pointer in here is a word: to copy a structure copies the pointer, and counts no reference.

#![expect(
    non_snake_case,
    reason = "the fields have the names that the headers give them"
)]

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::null_mut;

use windows_core::GUID;

// What an allocator is asked for, and what it says of itself.

/// What `IMemAllocator` is asked for and what it answers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ALLOCATOR_PROPERTIES {
    /// How many buffers.
    pub cBuffers: i32,
    /// Bytes in a buffer, without the prefix.
    pub cbBuffer: i32,
    /// The alignment, in bytes; 1 for none.
    pub cbAlign: i32,
    /// Bytes before each buffer that belong to it. The prefix is what is aligned.
    pub cbPrefix: i32,
}

/// `IKsAllocatorEx` keeps one: a pipe, that is, the filters that share an allocator.
///
/// The first four fields are laid out as [`ALLOCATOR_PROPERTIES`], but are a store of their own:
/// nothing ties them to the pool. Of the fields after them little more than the names is public.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ALLOCATOR_PROPERTIES_EX {
    /// How many buffers.
    pub cBuffers: i32,
    /// Bytes in a buffer, without the prefix.
    pub cbBuffer: i32,
    /// The alignment, in bytes.
    pub cbAlign: i32,
    /// Bytes before each buffer.
    pub cbPrefix: i32,
    /// A `KSMEMORY_TYPE_*`.
    pub MemoryType: GUID,
    /// A `GUID_BUS_TYPE_*`, or zero for any.
    pub BusType: GUID,
    /// A `PIPE_STATE`.
    pub State: i32,
    /// Where the pipe begins.
    pub Input: PIPE_TERMINATION,
    /// Where the pipe ends.
    pub Output: PIPE_TERMINATION,
    /// `AllocatorStrategy_*`.
    pub Strategy: u32,
    /// Flags of the pipe.
    pub Flags: u32,
    /// The weight of the pipe.
    pub Weight: u32,
    /// A `KS_LogicalMemoryType`.
    pub LogicalMemoryType: i32,
    /// A `PIPE_ALLOCATOR_PLACE`: which pin allocates.
    pub AllocatorPlace: i32,
    /// How the size of a frame changes along the pipe.
    pub Dimensions: PIPE_DIMENSIONS,
    /// The frame sizes that the memory allows.
    pub PhysicalRange: KS_FRAMING_RANGE,
    /// The `IKsAllocatorEx` of the pipe before this one: borrowed, and opaque here.
    pub PrevSegment: *mut c_void,
    /// How many pointers `NextSegments` leads to.
    pub CountNextSegments: u32,
    /// An array of the `IKsAllocatorEx` of the pipes after this one: borrowed, and opaque here.
    pub NextSegments: *mut c_void,
    /// `PipeFactor_*` from inside the pipe.
    pub InsideFactors: u32,
    /// How many pins the pipe has.
    pub NumberPins: u32,
}

/// All zero.
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

/// An end of a pipe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PIPE_TERMINATION {
    /// Flags of this end.
    pub Flags: u32,
    /// `PipeFactor_*` from outside the pipe.
    pub OutsideFactors: u32,
    /// The weight of this end.
    pub Weigth: u32,
    /// The frame sizes that are possible.
    pub PhysicalRange: KS_FRAMING_RANGE,
    /// The frame sizes that are best.
    pub OptimalRange: KS_FRAMING_RANGE_WEIGHTED,
    /// What becomes of the size of a frame.
    pub Compression: KS_COMPRESSION,
}

/// How the size of a frame changes along a pipe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PIPE_DIMENSIONS {
    /// At the pin that allocates.
    pub AllocatorPin: KS_COMPRESSION,
    /// At the pin where frames are largest.
    pub MaxExpansionPin: KS_COMPRESSION,
    /// At the pin where the pipe ends.
    pub EndPin: KS_COMPRESSION,
}

/// Sums of weights, kept as fractions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OPTIMAL_WEIGHT_TOTALS {
    /// The numerator at the least.
    pub MinTotalNominator: i64,
    /// The numerator at the most.
    pub MaxTotalNominator: i64,
    /// The denominator of both.
    pub TotalDenominator: i64,
}

// What a pin says about the frames it wants.

/// How the size of a frame changes: by a ratio, and a margin on top.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KS_COMPRESSION {
    /// Above the line of the ratio.
    pub RatioNumerator: u32,
    /// Below the line of the ratio.
    pub RatioDenominator: u32,
    /// The margin, the same whatever the ratio.
    pub RatioConstantMargin: u32,
}

/// Sizes that a frame may have.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KS_FRAMING_RANGE {
    /// The least, in bytes.
    pub MinFrameSize: u32,
    /// The most, in bytes.
    pub MaxFrameSize: u32,
    /// From one size to the next, in bytes; 0 counts as 1.
    pub Stepping: u32,
}

/// Sizes that a frame may have, and their weights.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KS_FRAMING_RANGE_WEIGHTED {
    /// The sizes.
    pub Range: KS_FRAMING_RANGE,
    /// Their weight where frames are changed in place.
    pub InPlaceWeight: u32,
    /// Their weight where they are not.
    pub NotInPlaceWeight: u32,
}

/// One of the kinds of memory that a pin can work with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KS_FRAMING_ITEM {
    /// A `KSMEMORY_TYPE_*`.
    pub MemoryType: GUID,
    /// A `GUID_BUS_TYPE_*`, or zero for any.
    pub BusType: GUID,
    /// Flags of the memory.
    pub MemoryFlags: u32,
    /// Flags of the bus.
    pub BusFlags: u32,
    /// `KSALLOCATOR_REQUIREMENTF_*` and `KSALLOCATOR_FLAG_*`, mixed.
    pub Flags: u32,
    /// How many frames.
    pub Frames: u32,
    /// The alignment less one, a mask (`FILE_*_ALIGNMENT`). With
    /// `KSALLOCATOR_FLAG_2D_BUFFER_REQUIRED` the same bytes are `FramePitch`, a signed number: bytes
    /// from line to line.
    #[doc(alias = "FramePitch")]
    pub FileAlignment: u32,
    /// The weight of this kind of memory beside the other items.
    pub MemoryTypeWeight: u32,
    /// The frame sizes that are possible.
    pub PhysicalRange: KS_FRAMING_RANGE,
    /// The frame sizes that are best.
    pub FramingRange: KS_FRAMING_RANGE_WEIGHTED,
}

/// The frames that a pin wants, or that a kernel allocator is created with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KSALLOCATOR_FRAMING {
    /// `KSALLOCATOR_OPTIONF_*` to create an allocator; from a pin the same bytes are
    /// `RequirementsFlags`, `KSALLOCATOR_REQUIREMENTF_*`.
    #[doc(alias = "RequirementsFlags")]
    pub OptionsFlags: u32,
    /// A `POOL_TYPE`.
    pub PoolType: u32,
    /// How many frames.
    pub Frames: u32,
    /// Bytes in a frame, its prefix among them.
    pub FrameSize: u32,
    /// The alignment less one, a mask (`FILE_*_ALIGNMENT`). The same bytes are `FramePitch`, a signed
    /// number: bytes from line to line.
    #[doc(alias = "FramePitch")]
    pub FileAlignment: u32,
    /// Zero.
    pub Reserved: u32,
}

/// The frames that a pin wants, for each kind of memory that it can work with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KSALLOCATOR_FRAMING_EX {
    /// How many items; those after the first lie behind this structure.
    pub CountItems: u32,
    /// Flags of the pin.
    pub PinFlags: u32,
    /// What becomes of the size of a frame.
    pub OutputCompression: KS_COMPRESSION,
    /// The weight of the pin.
    pub PinWeight: u32,
    /// The first item.
    pub FramingItem: [KS_FRAMING_ITEM; 1],
}

/// What an allocator was created with, and how much of it is in use.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KSSTREAMALLOCATOR_STATUS {
    /// What it was created with.
    pub Framing: KSALLOCATOR_FRAMING,
    /// How many frames are handed out.
    pub AllocatedFrames: u32,
    /// Zero.
    pub Reserved: u32,
}

/// The same with the longer framing, of one item.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KSSTREAMALLOCATOR_STATUS_EX {
    /// What it was created with.
    pub Framing: KSALLOCATOR_FRAMING_EX,
    /// How many frames are handed out.
    pub AllocatedFrames: u32,
    /// Zero.
    pub Reserved: u32,
}

// What travels with a frame: between filters, and to a driver.

/// What `IMediaSample2` reads and writes at once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AM_SAMPLE2_PROPERTIES {
    /// How many bytes of this structure are meant.
    pub cbData: u32,
    /// Flags whose meaning the media type gives.
    pub dwTypeSpecificFlags: u32,
    /// `AM_SAMPLE_*`.
    pub dwSampleFlags: u32,
    /// Bytes of the buffer that are data.
    pub lActual: i32,
    /// Where the sample starts, in 100 ns, if `AM_SAMPLE_TIMEVALID` is set.
    pub tStart: i64,
    /// Where it stops, in 100 ns, if `AM_SAMPLE_STOPVALID` is set.
    pub tStop: i64,
    /// `AM_STREAM_*`, or a number of the application's from `0x8000_0000`.
    pub dwStreamId: u32,
    /// The media type, if `AM_SAMPLE_TYPECHANGED` is set. On the way out it is the sample's own.
    pub pMediaType: *mut AM_MEDIA_TYPE,
    /// The buffer, after its prefix.
    pub pbBuffer: *mut u8,
    /// Bytes in the buffer.
    pub cbBuffer: i32,
}

/// All zero.
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

/// What the data is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct AM_MEDIA_TYPE {
    /// Video, audio, ...
    pub majortype: GUID,
    /// The coding.
    pub subtype: GUID,
    /// A `BOOL`: whether all samples are of one size.
    pub bFixedSizeSamples: i32,
    /// A `BOOL`: whether a sample needs others to be decoded.
    pub bTemporalCompression: i32,
    /// Bytes in a sample, if all are of one size.
    pub lSampleSize: u32,
    /// The structure that `pbFormat` leads to.
    pub formattype: GUID,
    /// An `IUnknown`, or null.
    pub pUnk: *mut c_void,
    /// Bytes at `pbFormat`.
    pub cbFormat: u32,
    /// The format block, or null.
    pub pbFormat: *mut u8,
}

/// All zero.
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

/// A time as kernel streaming counts it: `Time` times `Numerator / Denominator`, in 100 ns.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KSTIME {
    /// The count.
    pub Time: i64,
    /// Above the line of the unit.
    pub Numerator: u32,
    /// Below the line of the unit.
    pub Denominator: u32,
}

/// A frame on its way to a driver or from it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KSSTREAM_HEADER {
    /// Bytes in this structure and what extends it.
    pub Size: u32,
    /// Flags whose meaning the data format gives.
    pub TypeSpecificFlags: u32,
    /// When the frame is to be presented.
    pub PresentationTime: KSTIME,
    /// For how long, in the unit of `PresentationTime`.
    pub Duration: i64,
    /// Bytes in the frame.
    pub FrameExtent: u32,
    /// Bytes of the frame that are data.
    pub DataUsed: u32,
    /// The frame.
    pub Data: *mut c_void,
    /// `KSSTREAM_HEADER_OPTIONSF_*`.
    pub OptionsFlags: u32,
    /// Zero; only on 64-bit systems.
    #[cfg(target_pointer_width = "64")]
    pub Reserved: u32,
}

/// An input or output operation of the proxy's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KSSTREAM_SEGMENT {
    /// An `IKsInterfaceHandler`.
    pub KsInterfaceHandler: *mut c_void,
    /// An `IKsDataTypeHandler`.
    pub KsDataTypeHandler: *mut c_void,
    /// A `KSIOOPERATION`.
    pub IoOperation: i32,
    /// The handle of the event that says it is done.
    pub CompletionEvent: *mut c_void,
}

// The layouts.

/// Asserts a layout: bytes, with `/` between 64-bit and 32-bit systems where they differ.
///
/// `i64` stands for the alignment of an `i64`: always 8 on Windows. Elsewhere it is 4 on 32-bit x86,
/// and then nothing else in these layouts is other than on Windows.
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

layout!(OPTIMAL_WEIGHT_TOTALS: size 24, align i64 {
    MinTotalNominator 0,
    MaxTotalNominator 8,
    TotalDenominator 16,
});

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

layout!(KSSTREAMALLOCATOR_STATUS_EX: size 120, align 4 {
    Framing 0,
    AllocatedFrames 112,
    Reserved 116,
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

layout!(KSTIME: size 16, align i64 { Time 0, Numerator 8, Denominator 12 });

layout!(KSSTREAM_HEADER: size 56 / 48, align 8 / i64 {
    Size 0,
    TypeSpecificFlags 4,
    PresentationTime 8,
    Duration 24,
    FrameExtent 32,
    DataUsed 36,
    Data 40,
    OptionsFlags 48 / 44,
});

#[cfg(target_pointer_width = "64")]
layout!(KSSTREAM_HEADER: size 56, align 8 { Reserved 52 });

layout!(KSSTREAM_SEGMENT: size 32 / 16, align 8 / 4 {
    KsInterfaceHandler 0,
    KsDataTypeHandler 8 / 4,
    IoOperation 16 / 8,
    CompletionEvent 24 / 12,
});
