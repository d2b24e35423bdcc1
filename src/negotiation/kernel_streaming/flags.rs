//! Flags of framings.
//!
//! The families reuse the same bits: the field decides which one applies. Microsoft documents
//! little more than the names of many flags. Their descriptions here only spell out the name.

use bitflags::bitflags;

bitflags! {
    /// Requirements of a pin: `KSALLOCATOR_FRAMING::OptionsFlags` in a framing that a pin reports,
    /// and part of `KS_FRAMING_ITEM::Flags`.
    #[doc(alias = "KSALLOCATOR_REQUIREMENTF")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RequirementFlags: u32 {
        /// The pin can modify frames in place.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_INPLACE_MODIFIER")]
        const INPLACE_MODIFIER = 0x01;
        /// The pin needs system memory. Without this flag it maps memory of a device.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_SYSTEM_MEMORY")]
        const SYSTEM_MEMORY = 0x02;
        /// Downstream filters must not modify the frames.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_FRAME_INTEGRITY")]
        const FRAME_INTEGRITY = 0x04;
        /// The pin must be the allocator.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_MUST_ALLOCATE")]
        const MUST_ALLOCATE = 0x08;
        /// Defined in Microsoft's headers but not in MinGW's. It is the same bit as
        /// [`FramingFlags::PARTIAL_READ_SUPPORT`].
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_SYSTEM_MEMORY_CUSTOM_ALLOCATION")]
        const SYSTEM_MEMORY_CUSTOM_ALLOCATION = 0x10;
        /// The other requirements are preferences.
        #[doc(alias = "KSALLOCATOR_REQUIREMENTF_PREFERENCES_ONLY")]
        const PREFERENCES_ONLY = 0x8000_0000;
    }
}

bitflags! {
    /// Properties of a framing item or of a pipe: part of `KS_FRAMING_ITEM::Flags`,
    /// `ALLOCATOR_PROPERTIES_EX::Flags`.
    #[doc(alias = "KSALLOCATOR_FLAG")]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct FramingFlags: u32 {
        /// Frames can be read in part.
        #[doc(alias = "KSALLOCATOR_FLAG_PARTIAL_READ_SUPPORT")]
        const PARTIAL_READ_SUPPORT = 0x0010;
        /// Device-specific.
        #[doc(alias = "KSALLOCATOR_FLAG_DEVICE_SPECIFIC")]
        const DEVICE_SPECIFIC = 0x0020;
        /// The pin can allocate this memory. It does not mean that the pin can address it.
        #[doc(alias = "KSALLOCATOR_FLAG_CAN_ALLOCATE")]
        const CAN_ALLOCATE = 0x0040;
        /// The ratio of the frame sizes must be kept.
        #[doc(alias = "KSALLOCATOR_FLAG_INSIST_ON_FRAMESIZE_RATIO")]
        const INSIST_ON_FRAMESIZE_RATIO = 0x0080;
        /// Frames can be modified.
        #[doc(alias = "KSALLOCATOR_FLAG_NO_FRAME_INTEGRITY")]
        const NO_FRAME_INTEGRITY = 0x0100;
        /// There are several outputs.
        #[doc(alias = "KSALLOCATOR_FLAG_MULTIPLE_OUTPUT")]
        const MULTIPLE_OUTPUT = 0x0200;
        /// There is a cycle.
        #[doc(alias = "KSALLOCATOR_FLAG_CYCLE")]
        const CYCLE = 0x0400;
        /// An allocator exists already.
        #[doc(alias = "KSALLOCATOR_FLAG_ALLOCATOR_EXISTS")]
        const ALLOCATOR_EXISTS = 0x0800;
        /// The ranges are independent of each other.
        #[doc(alias = "KSALLOCATOR_FLAG_INDEPENDENT_RANGES")]
        const INDEPENDENT_RANGES = 0x1000;
        /// The stepping is significant.
        #[doc(alias = "KSALLOCATOR_FLAG_ATTENTION_STEPPING")]
        const ATTENTION_STEPPING = 0x2000;
        /// Memory descriptor lists can be cached. In Microsoft's headers but not in MinGW's.
        #[doc(alias = "KSALLOCATOR_FLAG_ENABLE_CACHED_MDL")]
        const ENABLE_CACHED_MDL = 0x4000;
        /// Frames consist of rows that are `FramePitch` bytes apart. In Microsoft's headers but not
        /// in MinGW's.
        #[doc(alias = "KSALLOCATOR_FLAG_2D_BUFFER_REQUIRED")]
        const TWO_D_BUFFER_REQUIRED = 0x8000;
    }
}
