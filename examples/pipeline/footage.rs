//! Pictures for the source: a test pattern, or the frames of a file.

use std::error::Error;
use std::path::{Path, PathBuf};

use crate::BoxError;
use crate::picture::Size;
use crate::y4m::Reader;

pub(crate) enum Footage {
    Pattern(Pattern),
    File { path: PathBuf, reader: Reader },
}

impl Footage {
    pub(crate) fn pattern(size: Size) -> Self {
        Self::Pattern(Pattern::new(size))
    }

    pub(crate) fn open(path: &Path) -> Result<Self, BoxError> {
        let reader = Reader::open(path).map_err(|error| in_file(path, &*error))?;
        let path = path.to_owned();
        Ok(Self::File { path, reader })
    }

    pub(crate) fn size(&self) -> Size {
        match self {
            Self::Pattern(pattern) => pattern.size,
            Self::File { reader, .. } => reader.size(),
        }
    }

    /// Returns an upper bound of the number of frames. For a file it is exact or nearly so.
    pub(crate) fn frames(&self) -> u64 {
        match self {
            Self::Pattern(_) => u64::MAX,
            Self::File { reader, .. } => reader.frames(),
        }
    }

    /// Returns the time at which the frame with this sequence number begins, in units of 100 ns.
    pub(crate) fn time_of(&self, sequence: u64) -> i64 {
        let (frames, seconds) = match self {
            Self::Pattern(_) => (60, 1),
            Self::File { reader, .. } => reader.rate(),
        };
        let units = u128::from(sequence) * 10_000_000 * u128::from(seconds) / u128::from(frames);
        i64::try_from(units).unwrap_or(i64::MAX)
    }

    /// Fills the frame with this sequence number. Returns `false` at the end of the footage.
    pub(crate) fn fill(&mut self, sequence: u64, frame: &mut [u8]) -> Result<bool, BoxError> {
        match self {
            Self::Pattern(pattern) => {
                pattern.draw(sequence, frame);
                Ok(true)
            }
            Self::File { path, reader } => reader
                .read_frame(frame)
                .map_err(|error| in_file(path, &*error)),
        }
    }
}

fn in_file(path: &Path, error: &dyn Error) -> BoxError {
    format!("{}: {error}", path.display()).into()
}

/// Diagonal ramps that move by one pixel per frame.
pub(crate) struct Pattern {
    size: Size,
    /// A row, and 255 bytes more, by which a row can be shifted.
    ramp: Vec<u8>,
}

impl Pattern {
    fn new(size: Size) -> Self {
        let ramp = (0..=u8::MAX).cycle().take(size.width() + 255).collect();
        Self { size, ramp }
    }

    fn draw(&self, sequence: u64, frame: &mut [u8]) {
        for (row, y) in frame.chunks_mut(self.size.width()).zip(sequence..) {
            let [shift, ..] = y.to_le_bytes();
            row.copy_from_slice(&self.ramp[usize::from(shift)..][..row.len()]);
        }
    }
}
