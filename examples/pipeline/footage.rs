//! What the source fills its frames with: the test pattern, or a file.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::pattern::Pattern;
use crate::picture::{Rate, Size};
use crate::stages::BoxError;
use crate::y4m;

#[derive(Debug)]
pub(crate) enum Footage {
    Pattern(Pattern),
    File {
        path: PathBuf,
        reader: y4m::Reader<BufReader<File>>,
        frames: Option<u64>,
    },
}

impl Footage {
    pub(crate) fn pattern(size: Size) -> Self {
        Self::Pattern(Pattern::new(size))
    }

    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, BoxError> {
        let in_file = |error: &dyn std::error::Error| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| in_file(&error))?;
        // A pipe has no length.
        let length = file
            .metadata()
            .ok()
            .filter(|file| file.is_file())
            .map(|file| file.len());
        let reader = y4m::Reader::new(BufReader::new(file)).map_err(|error| in_file(&error))?;
        Ok(Self::File {
            path: path.to_owned(),
            frames: length.map(|length| reader.frames_left(length)),
            reader,
        })
    }

    pub(crate) fn size(&self) -> Size {
        match self {
            Self::Pattern(pattern) => pattern.size(),
            Self::File { reader, .. } => reader.size(),
        }
    }

    pub(crate) fn rate(&self) -> Rate {
        match self {
            Self::Pattern(_) => Rate::HZ_60,
            Self::File { reader, .. } => reader.rate(),
        }
    }

    /// How many frames there are, as far as that is known beforehand. The pattern has no end.
    pub(crate) fn frames(&self) -> Option<u64> {
        match self {
            Self::Pattern(_) => None,
            Self::File { frames, .. } => *frames,
        }
    }

    /// Fills a frame and says how long it is; `None` is the end.
    pub(crate) fn fill(
        &mut self,
        number: u64,
        frame: &mut [u8],
    ) -> Result<Option<usize>, BoxError> {
        let more = match self {
            Self::Pattern(pattern) => {
                pattern.draw(number, frame);
                true
            }
            Self::File { path, reader, .. } => reader
                .read_frame(frame)
                .map_err(|error| format!("{}: {error}", path.display()))?,
        };
        Ok(more.then(|| self.size().frame()))
    }
}
