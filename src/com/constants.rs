//! The numbers that cross the ABI: results, values, flags and GUIDs.
//!
//! Results, masks, ids and GUIDs keep the names that the Windows headers give them; the members of
//! enums and the flags are named as in Rust, and are found by the headers' names as well.
//!
//! Of pipes, and of many flags, little but the names is public: the line beside such a value then
//! only spells out its name.

#![expect(
    non_upper_case_globals,
    reason = "the GUIDs have the names that the headers give them"
)]

use bitflags::bitflags;
use windows_core::{GUID, HRESULT};

// Results.

/// A result from its bits, which the headers write as an unsigned number.
pub(super) const fn hresult(bits: u32) -> HRESULT {
    HRESULT(i32::from_ne_bytes(bits.to_ne_bytes()))
}

/// Done; as an answer, yes.
#[doc(alias = "NOERROR")]
pub const S_OK: HRESULT = hresult(0);
/// Done; as an answer, no.
pub const S_FALSE: HRESULT = hresult(1);
/// A success: the sample has a start, and no stop was set.
pub const VFW_S_NO_STOP_TIME: HRESULT = hresult(0x0004_0270);

/// There is no such method behind the slot.
pub const E_NOTIMPL: HRESULT = hresult(0x8000_4001);
/// The object does not have the interface.
pub const E_NOINTERFACE: HRESULT = hresult(0x8000_4002);
/// A pointer is null that must not be.
pub const E_POINTER: HRESULT = hresult(0x8000_4003);
/// Failed, with no more to say.
pub const E_FAIL: HRESULT = hresult(0x8000_4005);
/// Out of turn.
pub const E_UNEXPECTED: HRESULT = hresult(0x8000_FFFF);
/// No memory, or a size beyond what can be counted.
pub const E_OUTOFMEMORY: HRESULT = hresult(0x8007_000E);
/// An argument has a value that it must not have.
pub const E_INVALIDARG: HRESULT = hresult(0x8007_0057);
/// The class cannot be part of an aggregate.
pub const CLASS_E_NOAGGREGATION: HRESULT = hresult(0x8004_0110);

/// There is no allocator.
pub const VFW_E_NO_ALLOCATOR: HRESULT = hresult(0x8004_020A);
/// Something went wrong at run time.
pub const VFW_E_RUNTIME_ERROR: HRESULT = hresult(0x8004_020B);
/// No buffer was set.
pub const VFW_E_BUFFER_NOTSET: HRESULT = hresult(0x8004_020C);
/// More bytes than the buffer has.
pub const VFW_E_BUFFER_OVERFLOW: HRESULT = hresult(0x8004_020D);
/// An alignment that cannot be had.
pub const VFW_E_BADALIGN: HRESULT = hresult(0x8004_020E);
/// Not while the allocator is committed.
pub const VFW_E_ALREADY_COMMITTED: HRESULT = hresult(0x8004_020F);
/// Not while buffers are handed out.
pub const VFW_E_BUFFERS_OUTSTANDING: HRESULT = hresult(0x8004_0210);
/// Not while the allocator is not committed.
pub const VFW_E_NOT_COMMITTED: HRESULT = hresult(0x8004_0211);
/// The number or the size of the buffers was not set.
pub const VFW_E_SIZENOTSET: HRESULT = hresult(0x8004_0212);
/// Not in this state.
pub const VFW_E_WRONG_STATE: HRESULT = hresult(0x8004_0227);
/// A sample that starts after it stops.
pub const VFW_E_START_TIME_AFTER_END: HRESULT = hresult(0x8004_0228);
/// The sample was turned away.
pub const VFW_E_SAMPLE_REJECTED: HRESULT = hresult(0x8004_022B);
/// Not within the time given; from `GetBuffer`, that none is free and the caller does not wait.
pub const VFW_E_TIMEOUT: HRESULT = hresult(0x8004_022E);
/// The sample has no time.
pub const VFW_E_SAMPLE_TIME_NOT_SET: HRESULT = hresult(0x8004_0249);
/// The sample has no media time.
pub const VFW_E_MEDIA_TIME_NOT_SET: HRESULT = hresult(0x8004_0251);
/// Fewer bytes than are needed.
pub const VFW_E_BUFFER_UNDERFLOW: HRESULT = hresult(0x8004_0264);

// Values: an `i32` that comes from outside may be none of them.

/// What is known about the frame sizes of a pipe.
#[doc(alias = "PIPE_STATE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PipeState {
    /// Nothing asked.
    #[doc(alias = "PipeState_DontCare")]
    DontCare = 0,
    /// The range is open.
    #[doc(alias = "PipeState_RangeNotFixed")]
    RangeNotFixed = 1,
    /// The range is settled.
    #[doc(alias = "PipeState_RangeFixed")]
    RangeFixed = 2,
    /// The compression is open.
    #[doc(alias = "PipeState_CompressionUnknown")]
    CompressionUnknown = 3,
    /// All is settled.
    #[doc(alias = "PipeState_Finalized")]
    Finalized = 4,
}

/// Which pin of a pipe allocates.
#[doc(alias = "PIPE_ALLOCATOR_PLACE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PipeAllocatorPlace {
    /// None.
    #[doc(alias = "Pipe_Allocator_None")]
    None = 0,
    /// The first.
    #[doc(alias = "Pipe_Allocator_FirstPin")]
    FirstPin = 1,
    /// The last.
    #[doc(alias = "Pipe_Allocator_LastPin")]
    LastPin = 2,
    /// One between them.
    #[doc(alias = "Pipe_Allocator_MiddlePin")]
    MiddlePin = 3,
}

/// The memory of a pipe; in framings a GUID says the same, a `KSMEMORY_TYPE_*`.
#[doc(alias = "KS_LogicalMemoryType")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum LogicalMemoryType {
    /// Any.
    #[doc(alias = "KS_MemoryTypeDontCare")]
    DontCare = 0,
    /// The paged pool of the kernel.
    #[doc(alias = "KS_MemoryTypeKernelPaged")]
    KernelPaged = 1,
    /// The pool of the kernel that is never paged out.
    #[doc(alias = "KS_MemoryTypeKernelNonPaged")]
    KernelNonPaged = 2,
    /// Of a device, mapped by the host.
    #[doc(alias = "KS_MemoryTypeDeviceHostMapped")]
    DeviceHostMapped = 3,
    /// Of a device.
    #[doc(alias = "KS_MemoryTypeDeviceSpecific")]
    DeviceSpecific = 4,
    /// Of a process.
    #[doc(alias = "KS_MemoryTypeUser")]
    User = 5,
    /// Any of the host.
    #[doc(alias = "KS_MemoryTypeAnyHost")]
    AnyHost = 6,
}

/// Which kind of framing a pin has.
#[doc(alias = "FRAMING_PROP")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum FramingProp {
    /// Not asked yet.
    #[doc(alias = "FramingProp_Uninitialized")]
    Uninitialized = 0,
    /// None.
    #[doc(alias = "FramingProp_None")]
    None = 1,
    /// `KSALLOCATOR_FRAMING`.
    #[doc(alias = "FramingProp_Old")]
    Old = 2,
    /// `KSALLOCATOR_FRAMING_EX`.
    #[doc(alias = "FramingProp_Ex")]
    Ex = 3,
}

/// What to do with the framing that the proxy remembers of a pin.
#[doc(alias = "FRAMING_CACHE_OPS")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum FramingCacheOp {
    /// Pass it by, and ask the pin.
    #[doc(alias = "Framing_Cache_Update")]
    Update = 0,
    /// Read the last.
    #[doc(alias = "Framing_Cache_ReadLast")]
    ReadLast = 1,
    /// Read the first.
    #[doc(alias = "Framing_Cache_ReadOrig")]
    ReadOrig = 2,
    /// Replace it.
    #[doc(alias = "Framing_Cache_Write")]
    Write = 3,
}

/// Whether a pointer that is looked up comes with a reference.
#[doc(alias = "KSPEEKOPERATION")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PeekOperation {
    /// No: it is borrowed.
    #[doc(alias = "KsPeekOperation_PeekOnly")]
    PeekOnly = 0,
    /// Yes: the caller has to release it.
    #[doc(alias = "KsPeekOperation_AddRef")]
    AddRef = 1,
}

/// Which way data goes between a process and a driver.
#[doc(alias = "KSIOOPERATION")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum IoOperation {
    /// To the driver.
    #[doc(alias = "KsIoOperation_Write")]
    Write = 0,
    /// From the driver.
    #[doc(alias = "KsIoOperation_Read")]
    Read = 1,
}

/// The pool of the kernel that memory is taken from; here are those that framings name.
#[doc(alias = "POOL_TYPE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PoolType {
    /// Never paged out.
    #[doc(alias = "NonPagedPool")]
    NonPaged = 0,
    /// Paged.
    #[doc(alias = "PagedPool")]
    Paged = 1,
    /// Never paged out, and not to be executed.
    #[doc(alias = "NonPagedPoolNx")]
    NonPagedNx = 512,
}

/// The properties of a kernel allocator, in the set [`KSPROPSETID_StreamAllocator`].
#[doc(alias = "KSPROPERTY_STREAMALLOCATOR")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum StreamAllocatorProperty {
    /// The functions that allocate and free, for drivers alone.
    #[doc(alias = "KSPROPERTY_STREAMALLOCATOR_FUNCTIONTABLE")]
    FunctionTable = 0,
    /// A `KSSTREAMALLOCATOR_STATUS`.
    #[doc(alias = "KSPROPERTY_STREAMALLOCATOR_STATUS")]
    Status = 1,
}

/// The methods of a kernel allocator, in the set [`KSMETHODSETID_StreamAllocator`].
#[doc(alias = "KSMETHOD_STREAMALLOCATOR")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum StreamAllocatorMethod {
    /// Hands out a frame; waits if all are.
    #[doc(alias = "KSMETHOD_STREAMALLOCATOR_ALLOC")]
    Alloc = 0,
    /// Takes a frame back.
    #[doc(alias = "KSMETHOD_STREAMALLOCATOR_FREE")]
    Free = 1,
}

/// The events of a kernel allocator, in the set [`KSEVENTSETID_StreamAllocator`].
#[doc(alias = "KSEVENT_STREAMALLOCATOR")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum StreamAllocatorEvent {
    /// A frame came back; of the kernel's own.
    #[doc(alias = "KSEVENT_STREAMALLOCATOR_INTERNAL_FREEFRAME")]
    InternalFreeFrame = 0,
    /// A frame came back.
    #[doc(alias = "KSEVENT_STREAMALLOCATOR_FREEFRAME")]
    FreeFrame = 1,
}

// Flags of samples and of calls.

bitflags! {
    /// What a sample says about itself and its times.
    ///
    /// Bit `0x20` is missing: samples keep it to themselves.
    #[doc(alias = "AM_SAMPLE_PROPERTY_FLAGS")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SampleFlags: u32 {
        /// Decoding can start here.
        #[doc(alias = "AM_SAMPLE_SPLICEPOINT")]
        const SPLICEPOINT = 0x001;
        /// To be processed, not to be shown.
        #[doc(alias = "AM_SAMPLE_PREROLL")]
        const PREROLL = 0x002;
        /// The data does not follow on from the sample before.
        #[doc(alias = "AM_SAMPLE_DATADISCONTINUITY")]
        const DATADISCONTINUITY = 0x004;
        /// A media type is attached: from here on the data is of another.
        #[doc(alias = "AM_SAMPLE_TYPECHANGED")]
        const TYPECHANGED = 0x008;
        /// The start is set.
        #[doc(alias = "AM_SAMPLE_TIMEVALID")]
        const TIMEVALID = 0x010;
        /// The times do not follow on from the sample before.
        #[doc(alias = "AM_SAMPLE_TIMEDISCONTINUITY")]
        const TIMEDISCONTINUITY = 0x040;
        /// May be thrown away when the stream pauses.
        #[doc(alias = "AM_SAMPLE_FLUSH_ON_PAUSE")]
        const FLUSH_ON_PAUSE = 0x080;
        /// The stop is set.
        #[doc(alias = "AM_SAMPLE_STOPVALID")]
        const STOPVALID = 0x100;
        /// The last sample of the stream.
        #[doc(alias = "AM_SAMPLE_ENDOFSTREAM")]
        const ENDOFSTREAM = 0x200;
    }
}

/// The stream that a sample's data belongs to: media. The headers have it in the enum of the flags.
pub const AM_STREAM_MEDIA: u32 = 0;
/// The stream that a sample's data belongs to: control. From `0x8000_0000` on they are the
/// application's.
pub const AM_STREAM_CONTROL: u32 = 1;

bitflags! {
    /// How `IMemAllocator::GetBuffer` is to hand out a buffer. An allocator of memory heeds
    /// [`NOWAIT`](Self::NOWAIT) alone.
    #[doc(alias = "AM_GBF")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct GetBufferFlags: u32 {
        /// The sample will be the first after a gap.
        #[doc(alias = "AM_GBF_PREVFRAMESKIPPED")]
        const PREVFRAMESKIPPED = 1;
        /// The sample will not be a sync point.
        #[doc(alias = "AM_GBF_NOTASYNCPOINT")]
        const NOTASYNCPOINT = 2;
        /// Fail with [`VFW_E_TIMEOUT`] instead of waiting.
        #[doc(alias = "AM_GBF_NOWAIT")]
        const NOWAIT = 4;
        /// A DirectDraw surface is to be handed out unlocked.
        #[doc(alias = "AM_GBF_NODDSURFACELOCK")]
        const NODDSURFACELOCK = 8;
    }
}

bitflags! {
    /// What a frame says about itself on its way to a driver or from it.
    ///
    /// Below `0x400` they are the [`SampleFlags`], bit for bit. Those from [`METADATA`](Self::METADATA)
    /// to [`SECUREBUFFERTRANSFER`](Self::SECUREBUFFERTRANSFER) are in Microsoft's headers only, not in
    /// MinGW's.
    #[doc(alias = "KSSTREAM_HEADER_OPTIONSF")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct StreamHeaderFlags: u32 {
        /// Decoding can start here.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_SPLICEPOINT")]
        const SPLICEPOINT = 0x001;
        /// To be processed, not to be shown.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_PREROLL")]
        const PREROLL = 0x002;
        /// The data does not follow on from the frame before.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_DATADISCONTINUITY")]
        const DATADISCONTINUITY = 0x004;
        /// From here on the data is of another format.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_TYPECHANGED")]
        const TYPECHANGED = 0x008;
        /// The time is set.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_TIMEVALID")]
        const TIMEVALID = 0x010;
        /// The times do not follow on from the frame before.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_TIMEDISCONTINUITY")]
        const TIMEDISCONTINUITY = 0x040;
        /// May be thrown away when the stream pauses.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_FLUSHONPAUSE")]
        const FLUSHONPAUSE = 0x080;
        /// The duration is set.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_DURATIONVALID")]
        const DURATIONVALID = 0x100;
        /// The last frame of the stream.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM")]
        const ENDOFSTREAM = 0x200;
        /// The driver is to get a copy.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_BUFFEREDTRANSFER")]
        const BUFFEREDTRANSFER = 0x400;
        /// The data goes by way of video memory.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_VRAM_DATA_TRANSFER")]
        const VRAM_DATA_TRANSFER = 0x800;
        /// Metadata comes with the frame.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_METADATA")]
        const METADATA = 0x1000;
        /// The last photo of a sequence.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_ENDOFPHOTOSEQUENCE")]
        const ENDOFPHOTOSEQUENCE = 0x2000;
        /// Information about the frame comes with it.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_FRAMEINFO")]
        const FRAMEINFO = 0x4000;
        /// The sample is to be kept.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_PERSIST_SAMPLE")]
        const PERSIST_SAMPLE = 0x8000;
        /// The sample was kept.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_SAMPLE_PERSISTED")]
        const SAMPLE_PERSISTED = 0x1_0000;
        /// Completions are to be numbered.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_TRACK_COMPLETION_NUMBERS")]
        const TRACK_COMPLETION_NUMBERS = 0x2_0000;
        /// The buffer is a secure one.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_SECUREBUFFERTRANSFER")]
        const SECUREBUFFERTRANSFER = 0x4_0000;
        /// The data is to be repeated.
        #[doc(alias = "KSSTREAM_HEADER_OPTIONSF_LOOPEDDATA")]
        const LOOPEDDATA = 0x8000_0000;
    }
}

// Flags of framings. The three families reuse bits: the place of a word tells which it holds.

bitflags! {
    /// What a pin requires of an allocator, in `KSALLOCATOR_FRAMING` and `KS_FRAMING_ITEM`.
    #[doc(alias = "KSALLOCATOR_REQUIREMENTF")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RequirementFlags: u32 {
        /// The pin can change frames in place.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_INPLACE_MODIFIER")]
        const INPLACE_MODIFIER = 0x01;
        /// The pin needs the memory of the system; without it, it maps that of a device.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_SYSTEM_MEMORY")]
        const SYSTEM_MEMORY = 0x02;
        /// Nobody downstream may change the frames.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_FRAME_INTEGRITY")]
        const FRAME_INTEGRITY = 0x04;
        /// The pin has to be the one that allocates.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_MUST_ALLOCATE")]
        const MUST_ALLOCATE = 0x08;
        /// In Microsoft's headers only; [`FramingFlags::PARTIAL_READ_SUPPORT`] is the same bit.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_SYSTEM_MEMORY_CUSTOM_ALLOCATION")]
        const SYSTEM_MEMORY_CUSTOM_ALLOCATION = 0x10;
        /// The others are requests.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_PREFERENCES_ONLY")]
        const PREFERENCES_ONLY = 0x8000_0000;
    }
}

bitflags! {
    /// How a kernel allocator is created, in the same word of `KSALLOCATOR_FRAMING` as the
    /// [`RequirementFlags`].
    #[doc(alias = "KSALLOCATOR_OPTIONF")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct OptionFlags: u32 {
        /// The framing suits the allocator downstream too, so that a copy can be saved.
        #[doc(alias = "KSALLOCATOR_OPTIONF_COMPATIBLE")]
        const COMPATIBLE = 0x1;
        /// The memory comes from the pool that the framing names.
        #[doc(alias = "KSALLOCATOR_OPTIONF_SYSTEM_MEMORY")]
        const SYSTEM_MEMORY = 0x2;
        /// All that there are.
        #[doc(alias = "KSALLOCATOR_OPTIONF_VALID")]
        const VALID = 0x3;
    }
}

bitflags! {
    /// What an item of a framing, or a pipe, allows and asks for.
    #[doc(alias = "KSALLOCATOR_FLAG")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct FramingFlags: u32 {
        /// Frames may be read in part.
        #[doc(alias = "KSALLOCATOR_FLAG_PARTIAL_READ_SUPPORT")]
        const PARTIAL_READ_SUPPORT = 0x0010;
        /// For a certain device.
        #[doc(alias = "KSALLOCATOR_FLAG_DEVICE_SPECIFIC")]
        const DEVICE_SPECIFIC = 0x0020;
        /// The pin can allocate such memory, which does not say that it can address it.
        #[doc(alias = "KSALLOCATOR_FLAG_CAN_ALLOCATE")]
        const CAN_ALLOCATE = 0x0040;
        /// The ratio of the frame sizes has to be kept.
        #[doc(alias = "KSALLOCATOR_FLAG_INSIST_ON_FRAMESIZE_RATIO")]
        const INSIST_ON_FRAMESIZE_RATIO = 0x0080;
        /// Frames may be changed.
        #[doc(alias = "KSALLOCATOR_FLAG_NO_FRAME_INTEGRITY")]
        const NO_FRAME_INTEGRITY = 0x0100;
        /// There are several outputs.
        #[doc(alias = "KSALLOCATOR_FLAG_MULTIPLE_OUTPUT")]
        const MULTIPLE_OUTPUT = 0x0200;
        /// There is a cycle.
        #[doc(alias = "KSALLOCATOR_FLAG_CYCLE")]
        const CYCLE = 0x0400;
        /// There is an allocator already.
        #[doc(alias = "KSALLOCATOR_FLAG_ALLOCATOR_EXISTS")]
        const ALLOCATOR_EXISTS = 0x0800;
        /// The ranges do not depend on each other.
        #[doc(alias = "KSALLOCATOR_FLAG_INDEPENDENT_RANGES")]
        const INDEPENDENT_RANGES = 0x1000;
        /// The stepping matters.
        #[doc(alias = "KSALLOCATOR_FLAG_ATTENTION_STEPPING")]
        const ATTENTION_STEPPING = 0x2000;
        /// In Microsoft's headers only: memory descriptors may be kept.
        #[doc(alias = "KSALLOCATOR_FLAG_ENABLE_CACHED_MDL")]
        const ENABLE_CACHED_MDL = 0x4000;
        /// In Microsoft's headers only: buffers of lines, `FramePitch` apart.
        #[doc(alias = "KSALLOCATOR_FLAG_2D_BUFFER_REQUIRED")]
        const TWO_D_BUFFER_REQUIRED = 0x8000;
    }
}

// The alignment of a framing, as a mask: the alignment in bytes, less one. MinGW's headers for
// programs leave these out.

/// Any alignment.
pub const FILE_BYTE_ALIGNMENT: u32 = 0x000;
/// 2 bytes.
pub const FILE_WORD_ALIGNMENT: u32 = 0x001;
/// 4 bytes.
pub const FILE_LONG_ALIGNMENT: u32 = 0x003;
/// 8 bytes.
pub const FILE_QUAD_ALIGNMENT: u32 = 0x007;
/// 16 bytes.
pub const FILE_OCTA_ALIGNMENT: u32 = 0x00F;
/// 32 bytes.
pub const FILE_32_BYTE_ALIGNMENT: u32 = 0x01F;
/// 64 bytes.
pub const FILE_64_BYTE_ALIGNMENT: u32 = 0x03F;
/// 128 bytes.
pub const FILE_128_BYTE_ALIGNMENT: u32 = 0x07F;
/// 256 bytes.
pub const FILE_256_BYTE_ALIGNMENT: u32 = 0x0FF;
/// 512 bytes.
pub const FILE_512_BYTE_ALIGNMENT: u32 = 0x1FF;

// Flags of pipes.

bitflags! {
    /// What the allocator of a pipe is chosen for; none of them is `AllocatorStrategy_DontCare`.
    #[doc(alias("AllocatorStrategy", "AllocatorStrategy_DontCare"))]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Strategy: u32 {
        /// Few frames.
        #[doc(alias = "AllocatorStrategy_MinimizeNumberOfFrames")]
        const MINIMIZE_NUMBER_OF_FRAMES = 1;
        /// Small frames.
        #[doc(alias = "AllocatorStrategy_MinimizeFrameSize")]
        const MINIMIZE_FRAME_SIZE = 2;
        /// Few allocators.
        #[doc(alias = "AllocatorStrategy_MinimizeNumberOfAllocators")]
        const MINIMIZE_NUMBER_OF_ALLOCATORS = 4;
        /// Speed.
        #[doc(alias = "AllocatorStrategy_MaximizeSpeed")]
        const MAXIMIZE_SPEED = 8;
    }
}

bitflags! {
    /// What shapes a pipe, from inside or from outside; nothing is `PipeFactor_None`.
    #[doc(alias("PipeFactor", "PipeFactor_None"))]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PipeFactors: u32 {
        /// A filter upstream works in user mode.
        #[doc(alias = "PipeFactor_UserModeUpstream")]
        const USER_MODE_UPSTREAM = 0x001;
        /// A filter downstream works in user mode.
        #[doc(alias = "PipeFactor_UserModeDownstream")]
        const USER_MODE_DOWNSTREAM = 0x002;
        /// The kinds of memory.
        #[doc(alias = "PipeFactor_MemoryTypes")]
        const MEMORY_TYPES = 0x004;
        /// The flags.
        #[doc(alias = "PipeFactor_Flags")]
        const FLAGS = 0x008;
        /// The frame sizes that are possible.
        #[doc(alias = "PipeFactor_PhysicalRanges")]
        const PHYSICAL_RANGES = 0x010;
        /// The frame sizes that are best.
        #[doc(alias = "PipeFactor_OptimalRanges")]
        const OPTIMAL_RANGES = 0x020;
        /// A compression that is settled.
        #[doc(alias = "PipeFactor_FixedCompression")]
        const FIXED_COMPRESSION = 0x040;
        /// A compression that is open.
        #[doc(alias = "PipeFactor_UnknownCompression")]
        const UNKNOWN_COMPRESSION = 0x080;
        /// The number of buffers.
        #[doc(alias = "PipeFactor_Buffers")]
        const BUFFERS = 0x100;
        /// The alignment.
        #[doc(alias = "PipeFactor_Align")]
        const ALIGN = 0x200;
        /// The end of the pipe in memory.
        #[doc(alias = "PipeFactor_PhysicalEnd")]
        const PHYSICAL_END = 0x400;
        /// The end of the pipe among the filters.
        #[doc(alias = "PipeFactor_LogicalEnd")]
        const LOGICAL_END = 0x800;
    }
}

// Kinds of memory and of buses. `SYSTEM` and `DEVICE_UNKNOWN` differ by one digit, and by one digit
// from two that are no kinds of memory: the id of `IKsAllocatorEx`, and `KSSTRING_AllocatorEx`.

/// Any kind of memory.
pub const KSMEMORY_TYPE_WILDCARD: GUID = GUID::zeroed();
/// Any kind of memory.
pub const KSMEMORY_TYPE_DONT_CARE: GUID = GUID::zeroed();
/// Any kind, of buses too.
pub const KS_TYPE_DONT_CARE: GUID = GUID::zeroed();
/// Memory of the system.
pub const KSMEMORY_TYPE_SYSTEM: GUID = GUID::from_u128(0x091BB638_603F_11D1_B067_00A0C9062802);
/// Memory of a device that does not say more.
pub const KSMEMORY_TYPE_DEVICE_UNKNOWN: GUID =
    GUID::from_u128(0x091BB639_603F_11D1_B067_00A0C9062802);
/// Memory of a process.
pub const KSMEMORY_TYPE_USER: GUID = GUID::from_u128(0x8CB0FC28_7893_11D1_B069_00A0C9062802);
/// The paged pool of the kernel.
pub const KSMEMORY_TYPE_KERNEL_PAGED: GUID =
    GUID::from_u128(0xD833F8F8_7894_11D1_B069_00A0C9062802);
/// The pool of the kernel that is never paged out.
pub const KSMEMORY_TYPE_KERNEL_NONPAGED: GUID =
    GUID::from_u128(0x4A6D5FC4_7895_11D1_B069_00A0C9062802);

/// PCI.
pub const GUID_BUS_TYPE_PCI: GUID = GUID::from_u128(0xC8EBDFB0_B510_11D0_80E5_00A0C92542E3);
/// USB.
pub const GUID_BUS_TYPE_USB: GUID = GUID::from_u128(0x9D7DEBBC_C85D_11D1_9EB4_006008C3A19A);
/// IEEE 1394.
pub const GUID_BUS_TYPE_1394: GUID = GUID::from_u128(0xF74E73EB_9AC5_45EB_BE4D_772CC71DDFB3);
/// AV/C, audio and video over IEEE 1394.
pub const GUID_BUS_TYPE_AVC: GUID = GUID::from_u128(0xC06FF265_AE09_48F0_812C_16753D7CBA83);

// What to ask a driver for.

/// To create an allocator on a pin; a `KSALLOCATOR_FRAMING` follows.
pub const KSNAME_Allocator: GUID = GUID::from_u128(0x642F5D00_4791_11D0_A5D6_28DB04C10000);
/// To create an allocator on a pin; a `KSALLOCATOR_FRAMING_EX` follows. The headers have it as a
/// (wide) string alone.
pub const KSSTRING_AllocatorEx: &str = "{091BB63B-603F-11D1-B067-00A0C9062802}";

/// The set of [`StreamAllocatorProperty`].
pub const KSPROPSETID_StreamAllocator: GUID =
    GUID::from_u128(0xCF6E4342_EC87_11CF_A130_0020AFD156E4);
/// The set of [`StreamAllocatorMethod`].
pub const KSMETHODSETID_StreamAllocator: GUID =
    GUID::from_u128(0xCF6E4341_EC87_11CF_A130_0020AFD156E4);
/// The set of [`StreamAllocatorEvent`].
pub const KSEVENTSETID_StreamAllocator: GUID =
    GUID::from_u128(0x75D95571_073C_11D0_A161_0020AFD156E4);

/// The properties of a pin's connection.
pub const KSPROPSETID_Connection: GUID = GUID::from_u128(0x1D58C920_AC9B_11CF_A5D6_28DB04C10000);
/// Of a connection: its `KSALLOCATOR_FRAMING`.
pub const KSPROPERTY_CONNECTION_ALLOCATORFRAMING: u32 = 3;
/// Of a connection: its `KSALLOCATOR_FRAMING_EX`.
pub const KSPROPERTY_CONNECTION_ALLOCATORFRAMING_EX: u32 = 6;

/// The properties of a pin's stream.
pub const KSPROPSETID_Stream: GUID = GUID::from_u128(0x65AABA60_98AE_11CF_A10D_0020AFD156E4);
/// Of a stream: the handle of its allocator. It can be set; to read it says no more than whether the
/// pin could be the one that allocates.
pub const KSPROPERTY_STREAM_ALLOCATOR: u32 = 0;
/// Of a stream: the pipe it is part of.
pub const KSPROPERTY_STREAM_PIPE_ID: u32 = 10;
