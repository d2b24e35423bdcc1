//! Recording of a pool's last events, and its writers: a trace for Perfetto and an SVG picture.
//!
//! Modules are listed bottom-up: each depends only on modules listed before it. The writers take 40
//! % of the time to compile the crate, so they are a feature.

mod event;

#[cfg(feature = "recording-export")]
mod timeline;

#[cfg(feature = "recording-export")]
mod palette;
#[cfg(feature = "recording-export")]
mod svg;
#[cfg(feature = "recording-export")]
mod text;

mod sizing;

#[cfg(feature = "recording-export")]
mod usage;

#[cfg(feature = "recording-export")]
mod picture;
#[cfg(feature = "recording-export")]
mod trace;

pub use self::event::{Event, EventKind, Recording};
pub use self::sizing::{
    DepthForecast, FrameSource, HolderShare, LabelForecast, Pacing, Saving, SavingMeans, Sizing,
    SizingOptions, WaitTotals,
};
#[cfg(feature = "recording-export")]
pub use self::usage::LabelUsage;
