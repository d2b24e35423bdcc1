//! `KSALLOCATOR_FRAMING` values: the status of an allocator, and the request to a driver.
//!
//! Microsoft documents only the names of the status fields. This file defines their contents.

use crate::allocator::AllocatorStatus;
use crate::framing::Framing;

use super::constants::{LogicalMemoryType, OptionFlags, PoolType};
use super::layouts::{ALLOCATOR_PROPERTIES_EX, KSALLOCATOR_FRAMING, KSSTREAMALLOCATOR_STATUS};

/// Converts the status. A number that is too large for its field becomes the largest number.
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

/// Returns the framing that the driver of a pin is asked for, to serve this pipe. A negative number
/// becomes 0.
pub(super) fn request(pipe: &ALLOCATOR_PROPERTIES_EX) -> KSALLOCATOR_FRAMING {
    let number = |value| u32::try_from(value).unwrap_or(0);
    KSALLOCATOR_FRAMING {
        Frames: number(pipe.cBuffers),
        FrameSize: number(pipe.cbBuffer),
        FileAlignment: number(pipe.cbAlign).saturating_sub(1),
        ..in_system_memory(pipe)
    }
}

/// Returns a framing with the memory of the pipe, and all else zero.
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
