//! FFmpeg with frames of a pool.
//!
//! A [`PoolDecoder`] decodes into frames of a [`FramePool`](ks_allocator::FramePool), and a
//! [`Picture`] gives a frame to an encoder. Neither copies a picture.

mod decoder;
mod error;
mod layout;
mod picture;

pub use self::decoder::{FramesNeeded, PoolDecoder};
pub use self::error::Error;
pub use self::layout::{decoder_layout, pixel_format, video_format};
pub use self::picture::Picture;
