//! Values of the fields and parameters of the interfaces: enums, flags and GUIDs.
//!
//! Stream ids and GUIDs keep the names of the Windows headers. Enums and flags have Rust names; a
//! search of the documentation for the headers' names finds them too.
//!
//! Microsoft documents little more than the names of the pipe constants and of many flags. Their
//! descriptions here only spell out the name.

use bitflags::bitflags;
use windows_core::GUID;

// Enums of `i32` fields. A client can store any other number in such a field.

/// State of the negotiation of a pipe: `ALLOCATOR_PROPERTIES_EX::State`.
#[doc(alias = "PIPE_STATE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PipeState {
    /// Nothing is requested.
    #[doc(alias = "PipeState_DontCare")]
    DontCare = 0,
    /// The range of frame sizes is not fixed.
    #[doc(alias = "PipeState_RangeNotFixed")]
    RangeNotFixed = 1,
    /// The range of frame sizes is fixed.
    #[doc(alias = "PipeState_RangeFixed")]
    RangeFixed = 2,
    /// The compression is unknown.
    #[doc(alias = "PipeState_CompressionUnknown")]
    CompressionUnknown = 3,
    /// The properties are final.
    #[doc(alias = "PipeState_Finalized")]
    Finalized = 4,
}

/// Pin of a pipe that allocates: `ALLOCATOR_PROPERTIES_EX::AllocatorPlace`.
#[doc(alias = "PIPE_ALLOCATOR_PLACE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PipeAllocatorPlace {
    /// No pin.
    #[doc(alias = "Pipe_Allocator_None")]
    None = 0,
    /// The first pin.
    #[doc(alias = "Pipe_Allocator_FirstPin")]
    FirstPin = 1,
    /// The last pin.
    #[doc(alias = "Pipe_Allocator_LastPin")]
    LastPin = 2,
    /// A pin between the first and the last.
    #[doc(alias = "Pipe_Allocator_MiddlePin")]
    MiddlePin = 3,
}

/// Memory of a pipe: `ALLOCATOR_PROPERTIES_EX::LogicalMemoryType`.
///
/// Framings name it by a GUID instead, one of `KSMEMORY_TYPE_*`.
#[doc(alias = "KS_LogicalMemoryType")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum LogicalMemoryType {
    /// Any memory.
    #[doc(alias = "KS_MemoryTypeDontCare")]
    DontCare = 0,
    /// Paged pool of the kernel.
    #[doc(alias = "KS_MemoryTypeKernelPaged")]
    KernelPaged = 1,
    /// Nonpaged pool of the kernel.
    #[doc(alias = "KS_MemoryTypeKernelNonPaged")]
    KernelNonPaged = 2,
    /// Device memory that is mapped into the host.
    #[doc(alias = "KS_MemoryTypeDeviceHostMapped")]
    DeviceHostMapped = 3,
    /// Device-specific memory.
    #[doc(alias = "KS_MemoryTypeDeviceSpecific")]
    DeviceSpecific = 4,
    /// User-mode memory.
    #[doc(alias = "KS_MemoryTypeUser")]
    User = 5,
    /// Any memory of the host.
    #[doc(alias = "KS_MemoryTypeAnyHost")]
    AnyHost = 6,
}

/// Pool of the kernel that memory is allocated from: `KSALLOCATOR_FRAMING::PoolType`.
///
/// Only the members that framings use are listed.
#[doc(alias = "POOL_TYPE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum PoolType {
    /// Nonpaged pool.
    #[doc(alias = "NonPagedPool")]
    NonPaged = 0,
    /// Paged pool.
    #[doc(alias = "PagedPool")]
    Paged = 1,
    /// Nonpaged pool that is not executable.
    #[doc(alias = "NonPagedPoolNx")]
    NonPagedNx = 512,
}

// Flags of samples and calls.

bitflags! {
    /// Properties of a sample: `AM_SAMPLE2_PROPERTIES::dwSampleFlags`.
    ///
    /// Bit `0x20` is missing on purpose: implementations of samples use it privately.
    #[doc(alias = "AM_SAMPLE_PROPERTY_FLAGS")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SampleFlags: u32 {
        /// The sample is a sync point: decoding can start here.
        #[doc(alias = "AM_SAMPLE_SPLICEPOINT")]
        const SPLICEPOINT = 0x001;
        /// The sample is preroll: it is decoded but not displayed.
        #[doc(alias = "AM_SAMPLE_PREROLL")]
        const PREROLL = 0x002;
        /// The data is not contiguous with the previous sample.
        #[doc(alias = "AM_SAMPLE_DATADISCONTINUITY")]
        const DATADISCONTINUITY = 0x004;
        /// A media type is attached: the format changes with this sample.
        #[doc(alias = "AM_SAMPLE_TYPECHANGED")]
        const TYPECHANGED = 0x008;
        /// The start time is valid.
        #[doc(alias = "AM_SAMPLE_TIMEVALID")]
        const TIMEVALID = 0x010;
        /// The times are not contiguous with the previous sample.
        #[doc(alias = "AM_SAMPLE_TIMEDISCONTINUITY")]
        const TIMEDISCONTINUITY = 0x040;
        /// The sample can be discarded when the stream pauses.
        #[doc(alias = "AM_SAMPLE_FLUSH_ON_PAUSE")]
        const FLUSH_ON_PAUSE = 0x080;
        /// The stop time is valid.
        #[doc(alias = "AM_SAMPLE_STOPVALID")]
        const STOPVALID = 0x100;
        /// The sample is the last of the stream.
        #[doc(alias = "AM_SAMPLE_ENDOFSTREAM")]
        const ENDOFSTREAM = 0x200;
    }
}

/// Stream id of a sample that carries media data: `AM_SAMPLE2_PROPERTIES::dwStreamId`.
pub const AM_STREAM_MEDIA: u32 = 0;
/// Stream id of a sample that carries control data. Ids from `0x8000_0000` are defined by the
/// application.
pub const AM_STREAM_CONTROL: u32 = 1;

bitflags! {
    /// Flags of `IMemAllocator::GetBuffer`. This allocator ignores all but
    /// [`NOWAIT`](Self::NOWAIT).
    #[doc(alias = "AM_GBF")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct GetBufferFlags: u32 {
        /// The sample will be the first after a discontinuity.
        #[doc(alias = "AM_GBF_PREVFRAMESKIPPED")]
        const PREVFRAMESKIPPED = 1;
        /// The sample will not be a sync point.
        #[doc(alias = "AM_GBF_NOTASYNCPOINT")]
        const NOTASYNCPOINT = 2;
        /// Return [`VFW_E_TIMEOUT`](super::VFW_E_TIMEOUT) instead of waiting for a buffer.
        #[doc(alias = "AM_GBF_NOWAIT")]
        const NOWAIT = 4;
        /// Return a DirectDraw surface unlocked.
        #[doc(alias = "AM_GBF_NODDSURFACELOCK")]
        const NODDSURFACELOCK = 8;
    }
}

// Flags of framings. The three families reuse the same bits: the field decides which one applies.

pub use crate::negotiation::kernel_streaming::{FramingFlags, RequirementFlags};

bitflags! {
    /// Options of a kernel allocator: `KSALLOCATOR_FRAMING::OptionsFlags` in a framing that creates
    /// an allocator, or that an allocator reports.
    #[doc(alias = "KSALLOCATOR_OPTIONF")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct OptionFlags: u32 {
        /// The framing is compatible with the downstream allocator, so a copy can be avoided.
        #[doc(alias = "KSALLOCATOR_OPTIONF_COMPATIBLE")]
        const COMPATIBLE = 0x1;
        /// The memory is allocated from the pool that `PoolType` names.
        #[doc(alias = "KSALLOCATOR_OPTIONF_SYSTEM_MEMORY")]
        const SYSTEM_MEMORY = 0x2;
        /// All valid options.
        #[doc(alias = "KSALLOCATOR_OPTIONF_VALID")]
        const VALID = 0x3;
    }
}

// Flags of pipes.

bitflags! {
    /// Goals in the choice of a pipe's allocator: `ALLOCATOR_PROPERTIES_EX::Strategy`. No flags are
    /// `AllocatorStrategy_DontCare`.
    #[doc(alias("AllocatorStrategy", "AllocatorStrategy_DontCare"))]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Strategy: u32 {
        /// Minimize the number of frames.
        #[doc(alias = "AllocatorStrategy_MinimizeNumberOfFrames")]
        const MINIMIZE_NUMBER_OF_FRAMES = 1;
        /// Minimize the frame size.
        #[doc(alias = "AllocatorStrategy_MinimizeFrameSize")]
        const MINIMIZE_FRAME_SIZE = 2;
        /// Minimize the number of allocators.
        #[doc(alias = "AllocatorStrategy_MinimizeNumberOfAllocators")]
        const MINIMIZE_NUMBER_OF_ALLOCATORS = 4;
        /// Maximize the speed.
        #[doc(alias = "AllocatorStrategy_MaximizeSpeed")]
        const MAXIMIZE_SPEED = 8;
    }
}

bitflags! {
    /// Factors that determine a pipe: `ALLOCATOR_PROPERTIES_EX::InsideFactors` and
    /// `PIPE_TERMINATION::OutsideFactors`. No flags are `PipeFactor_None`.
    #[doc(alias("PipeFactor", "PipeFactor_None"))]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PipeFactors: u32 {
        /// An upstream filter works in user mode.
        #[doc(alias = "PipeFactor_UserModeUpstream")]
        const USER_MODE_UPSTREAM = 0x001;
        /// A downstream filter works in user mode.
        #[doc(alias = "PipeFactor_UserModeDownstream")]
        const USER_MODE_DOWNSTREAM = 0x002;
        /// The memory types.
        #[doc(alias = "PipeFactor_MemoryTypes")]
        const MEMORY_TYPES = 0x004;
        /// The flags.
        #[doc(alias = "PipeFactor_Flags")]
        const FLAGS = 0x008;
        /// The possible frame sizes.
        #[doc(alias = "PipeFactor_PhysicalRanges")]
        const PHYSICAL_RANGES = 0x010;
        /// The optimal frame sizes.
        #[doc(alias = "PipeFactor_OptimalRanges")]
        const OPTIMAL_RANGES = 0x020;
        /// A fixed compression.
        #[doc(alias = "PipeFactor_FixedCompression")]
        const FIXED_COMPRESSION = 0x040;
        /// An unknown compression.
        #[doc(alias = "PipeFactor_UnknownCompression")]
        const UNKNOWN_COMPRESSION = 0x080;
        /// The number of buffers.
        #[doc(alias = "PipeFactor_Buffers")]
        const BUFFERS = 0x100;
        /// The alignment.
        #[doc(alias = "PipeFactor_Align")]
        const ALIGN = 0x200;
        /// The physical end of the pipe.
        #[doc(alias = "PipeFactor_PhysicalEnd")]
        const PHYSICAL_END = 0x400;
        /// The logical end of the pipe.
        #[doc(alias = "PipeFactor_LogicalEnd")]
        const LOGICAL_END = 0x800;
    }
}

// Memory types and bus types. `KSMEMORY_TYPE_SYSTEM` and `KSMEMORY_TYPE_DEVICE_UNKNOWN` differ in
// one digit from each other, and from the id of `IKsAllocatorEx`.

/// Any memory type, and any bus type.
#[doc(alias("KSMEMORY_TYPE_DONT_CARE", "KSMEMORY_TYPE_WILDCARD"))]
pub const KS_TYPE_DONT_CARE: GUID = GUID::zeroed();
/// System memory.
pub const KSMEMORY_TYPE_SYSTEM: GUID = GUID::from_u128(0x091BB638_603F_11D1_B067_00A0C9062802);
/// Memory of an unknown device.
pub const KSMEMORY_TYPE_DEVICE_UNKNOWN: GUID =
    GUID::from_u128(0x091BB639_603F_11D1_B067_00A0C9062802);
/// User-mode memory.
pub const KSMEMORY_TYPE_USER: GUID = GUID::from_u128(0x8CB0FC28_7893_11D1_B069_00A0C9062802);
/// Paged pool of the kernel.
pub const KSMEMORY_TYPE_KERNEL_PAGED: GUID =
    GUID::from_u128(0xD833F8F8_7894_11D1_B069_00A0C9062802);
/// Nonpaged pool of the kernel.
pub const KSMEMORY_TYPE_KERNEL_NONPAGED: GUID =
    GUID::from_u128(0x4A6D5FC4_7895_11D1_B069_00A0C9062802);

/// The PCI bus.
pub const GUID_BUS_TYPE_PCI: GUID = GUID::from_u128(0xC8EBDFB0_B510_11D0_80E5_00A0C92542E3);
/// The USB bus.
pub const GUID_BUS_TYPE_USB: GUID = GUID::from_u128(0x9D7DEBBC_C85D_11D1_9EB4_006008C3A19A);
/// The IEEE 1394 bus.
pub const GUID_BUS_TYPE_1394: GUID = GUID::from_u128(0xF74E73EB_9AC5_45EB_BE4D_772CC71DDFB3);
/// AV/C: audio and video over IEEE 1394.
pub const GUID_BUS_TYPE_AVC: GUID = GUID::from_u128(0xC06FF265_AE09_48F0_812C_16753D7CBA83);
