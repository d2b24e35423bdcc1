//! GStreamer buffers that are frames of a `ks_allocator` pool.
//!
//! - [`FrameBufferPool`] is a `GstBufferPool` over a pool, for elements that write into frames.
//! - [`offer_agreement`] answers ALLOCATION queries by an agreement of the source and all elements
//!   that get its frames, and with such a pool.
//! - [`requirements_behind`] asks the elements downstream of a pad what they require.
//! - [`to_buffer`] and [`to_frame`] convert between frames and buffers without a copy.

mod buffer;
mod negotiation;
mod pool;

pub use self::buffer::{layout_of, to_buffer, to_frame};
pub use self::negotiation::{
    offer_agreement, requirements_behind, requirements_of_answer, requirements_of_source,
};
pub use self::pool::FrameBufferPool;
