//! `KSALLOCATOR_FRAMING`, in which an allocator tells its status, and a driver is asked for one.
//!
//! Of the status the documentation has only the fields' names; what they hold here is said here.

use crate::allocator::AllocatorStatus;
use crate::framing::Framing;

use super::constants::{LogicalMemoryType, OptionFlags, PoolType};
use super::layouts::{ALLOCATOR_PROPERTIES_EX, KSALLOCATOR_FRAMING, KSSTREAMALLOCATOR_STATUS};

/// The status of one moment. What is too large for a field shows as the largest there is.
pub(super) fn status(
    status: &AllocatorStatus,
    pipe: &ALLOCATOR_PROPERTIES_EX,
) -> KSSTREAMALLOCATOR_STATUS {
    let number = |value| u32::try_from(value).unwrap_or(u32::MAX);
    let Framing {
        frames,
        frame_size,
        alignment,
        prefix,
    } = status.framing;
    KSSTREAMALLOCATOR_STATUS {
        Framing: KSALLOCATOR_FRAMING {
            Frames: number(frames),
            FrameSize: number(frame_size.saturating_add(prefix)),
            FileAlignment: number(alignment.saturating_sub(1)),
            ..in_system_memory(pipe)
        },
        AllocatedFrames: number(status.allocated_frames),
        Reserved: 0,
    }
}

/// What a pin's driver is asked for, to serve this pipe. What is negative is not asked for.
pub(super) fn request(pipe: &ALLOCATOR_PROPERTIES_EX) -> KSALLOCATOR_FRAMING {
    let number = |value| u32::try_from(value).unwrap_or(0);
    KSALLOCATOR_FRAMING {
        Frames: number(pipe.cBuffers),
        FrameSize: number(pipe.cbBuffer),
        FileAlignment: number(pipe.cbAlign).saturating_sub(1),
        ..in_system_memory(pipe)
    }
}

fn in_system_memory(pipe: &ALLOCATOR_PROPERTIES_EX) -> KSALLOCATOR_FRAMING {
    let paged = pipe.LogicalMemoryType == LogicalMemoryType::KernelPaged as i32;
    let pool_type = if paged {
        PoolType::Paged
    } else {
        PoolType::NonPaged
    };
    KSALLOCATOR_FRAMING {
        OptionsFlags: OptionFlags::SYSTEM_MEMORY.bits(),
        PoolType: pool_type as u32,
        ..KSALLOCATOR_FRAMING::default()
    }
}
