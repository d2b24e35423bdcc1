//! Serialized form of a video layout.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::framing::Framing;

use super::error::LayoutError;
use super::format::VideoFormat;
use super::layout::{PlaneLayout, VideoLayout};

#[derive(Serialize, Deserialize)]
struct Layout {
    format: VideoFormat,
    width: u32,
    height: u32,
    planes: Vec<Plane>,
    size: usize,
    alignment: usize,
    bottom_up: bool,
}

#[derive(Serialize, Deserialize)]
struct Plane {
    offset: usize,
    stride: usize,
}

impl From<&PlaneLayout> for Plane {
    fn from(plane: &PlaneLayout) -> Self {
        Self {
            offset: plane.offset,
            stride: plane.stride,
        }
    }
}

impl Serialize for VideoLayout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let layout = Layout {
            format: self.format,
            width: self.width,
            height: self.height,
            planes: self.planes().iter().map(Plane::from).collect(),
            size: self.size,
            alignment: self.alignment,
            bottom_up: self.bottom_up,
        };
        layout.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for VideoLayout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Layout::deserialize(deserializer)?
            .check()
            .map_err(D::Error::custom)
    }
}

impl Layout {
    fn check(self) -> Result<VideoLayout, LayoutError> {
        let alignment = self.alignment;
        if !(1..=Framing::MAX_ALIGNMENT).contains(&alignment) {
            return Err(LayoutError::Alignment { alignment });
        }
        // A stride that is no `isize` is too large for any frame.
        let position = |plane: &Plane| {
            let stride = isize::try_from(plane.stride).unwrap_or(isize::MAX);
            (plane.offset, stride)
        };
        let planes: Vec<_> = self.planes.iter().map(position).collect();
        let layout =
            VideoLayout::from_planes(self.format, self.width, self.height, &planes, self.size)?;
        Ok(VideoLayout {
            alignment,
            bottom_up: self.bottom_up,
            ..layout
        })
    }
}
