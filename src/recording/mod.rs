//! Recording of a pool's last events, and its writers: a trace for Perfetto and an SVG picture.
//!
//! Modules are listed bottom-up: each depends only on modules listed before it.

mod event;
mod timeline;

mod palette;
mod text;

mod picture;
mod trace;

pub use self::event::{Event, EventKind, Recording};
