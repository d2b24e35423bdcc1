//! GStreamer buffers that are frames of a `ks_allocator` pool.
//!
//! - [`FrameBufferPool`] is a `GstBufferPool` over a pool, for elements that write into frames.
//! - [`offer`] proposes such a pool to the elements upstream of a pad.
//! - [`to_buffer`] and [`to_frame`] convert between frames and buffers without a copy.

mod buffer;
mod pool;

pub use self::buffer::{layout_of, to_buffer, to_frame};
pub use self::pool::{FrameBufferPool, offer};
