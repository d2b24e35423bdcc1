//! Handles of frames: unique and writable, shared and read-only, or in a batch.
//!
//! A handle is one pointer to the slot. The `unsafe` code in here is sound because:
//!
//! - **H1** A [`Frame`] is the only handle of a frame that is out. It comes out of the free list
//!   (F1), from the wait queue (W3), from a COM sample (K1), from a [`SharedFrame`] that
//!   has read that it is the only handle (S2), or from a pointer that the user made of one.
//! - **H2** A frame that is out keeps its slot, the core and the segment alive (C1, C2, C5).
//! - **H3** All bytes of a segment are initialized (M2). So any `u8` slice inside it is sound, also
//!   one that reaches past the bytes that the last holder wrote.
//! - **H4** With guard pages (M4), a frame is accessible from [`Core::begin_use`] on, which every
//!   handle comes from, until [`Core::release`], after which the bytes are not used through it. A
//!   batch has handles of its frames.
//!
//! [`Core::begin_use`]: crate::pool::core::Core::begin_use
//! [`Core::release`]: crate::pool::core::Core::release

mod attachment;
mod batch;
#[cfg(feature = "bytes")]
mod bytes;
mod held_slot;
mod loan;
mod picture;
mod raw;
mod shared;
mod slice;
mod unique;

pub use self::batch::FrameBatch;
pub use self::shared::SharedFrame;
pub use self::slice::FrameSlice;
pub use self::unique::Frame;
