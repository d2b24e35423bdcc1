//! GStreamer buffers that are frames of a `ks_allocator` pool.
//!
//! - [`FrameBufferPool`] is a `GstBufferPool` over a pool, for elements that write into frames.
//! - [`offer`] proposes such a pool to the elements upstream of a pad. [`offer_agreement`] makes
//!   one that suits the caps of the query and all stages that use the frames.
//! - [`requirements_behind`] asks the elements downstream of a pad what they require.
//! - [`to_buffer`] and [`to_frame`] convert between frames and buffers without a copy.

mod buffer;
mod negotiation;
mod pool;

pub use self::buffer::{layout_of, to_buffer, to_frame};
pub use self::negotiation::{
    offer_agreement, requirements_behind, requirements_of_answer, requirements_of_caps,
};
pub use self::pool::{FrameBufferPool, offer};
