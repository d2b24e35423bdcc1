//! Pictures in frames: pixel formats, the planes of a picture, and access to their rows.
//!
//! A [`VideoLayout`] says where the planes of a picture lie in a frame. It is computed by its
//! [builder](VideoLayoutBuilder), or made from offsets and strides that a driver or library has
//! chosen. It is a plain value and also serves memory that is not a pool's.

mod builder;
mod error;
mod format;
mod layout;
mod planes;
#[cfg(feature = "serde")]
mod serialized;

pub use self::builder::{Padding, VideoLayoutBuilder};
pub use self::error::{LayoutError, PlanesError};
pub use self::format::{PlaneFormat, UnknownVideoFormat, VideoFormat};
pub use self::layout::{PlaneLayout, VideoLayout};
pub use self::planes::{Plane, PlaneMut, Planes, PlanesMut, Rows, RowsMut};
