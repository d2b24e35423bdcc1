//! Reader for YUV4MPEG2 (`.y4m`) files: a line of text, then frames of raw planes, each after a
//! line of its own.
//!
//! ```text
//! YUV4MPEG2 W128 H72 F25:1 Ip A1:1 C420mpeg2\n
//! FRAME\n <the luma plane> <the Cb plane> <the Cr plane>
//! FRAME\n …
//! ```
//!
//! Nothing is allocated after the header.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use crate::BoxError;
use crate::picture::{MAX_SIDE, Size};

/// Bytes of the longest line, with its line feed.
const MAX_LINE: usize = 1024;

pub(crate) struct Reader {
    input: BufReader<File>,
    line: Vec<u8>,
    size: Size,
    rate: (u32, u32),
    /// Number of frames in the file, at most. `u64::MAX` if its length is unknown.
    frames: u64,
    /// Number of frames that were read.
    done: u64,
}

impl Reader {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, BoxError> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut input = BufReader::new(file);
        let mut line = Vec::with_capacity(MAX_LINE);
        read_line(&mut input, &mut line)?;
        let (size, rate) = parse_header(&line)?;
        // A pipe has no length. Frame lines with parameters, which are rare, make this too many.
        let frames = if metadata.is_file() {
            let frame = "FRAME\n".len() + size.frame();
            (metadata.len() - line.len() as u64).div_ceil(frame as u64)
        } else {
            u64::MAX
        };
        Ok(Self {
            input,
            line,
            size,
            rate,
            frames,
            done: 0,
        })
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Returns the frames per second as a fraction. It is 25 if the file names none.
    pub(crate) fn rate(&self) -> (u32, u32) {
        self.rate
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Fills `frame` with the next frame. Returns `false` at the end of the file.
    pub(crate) fn read_frame(&mut self, frame: &mut [u8]) -> Result<bool, BoxError> {
        read_line(&mut self.input, &mut self.line)?;
        if self.line.is_empty() {
            return Ok(false);
        }
        let number = self.done;
        let is_frame = self.line.starts_with(b"FRAME\n") || self.line.starts_with(b"FRAME ");
        if !is_frame || !self.line.ends_with(b"\n") {
            return Err(format!("frame {number} does not begin with a FRAME line").into());
        }
        self.input.read_exact(frame).map_err(|error| -> BoxError {
            match error.kind() {
                ErrorKind::UnexpectedEof => format!("the file ends within frame {number}").into(),
                _ => error.into(),
            }
        })?;
        self.done += 1;
        Ok(true)
    }
}

/// Reads a line with its line feed, or as much as there is of it.
fn read_line(input: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    input.take(MAX_LINE as u64).read_until(b'\n', line)?;
    Ok(())
}

/// Returns the size and the frame rate, and checks that frames are 4:2:0 with 8 bits.
fn parse_header(line: &[u8]) -> Result<(Size, (u32, u32)), BoxError> {
    let line = line.strip_suffix(b"\n").unwrap_or_default();
    let mut words = std::str::from_utf8(line)?.split(' ');
    if words.next() != Some("YUV4MPEG2") {
        return Err("this is not a YUV4MPEG2 file".into());
    }

    let (mut width, mut height, mut rate) = (None, None, (25, 1));
    for word in words {
        match word.split_at_checked(1) {
            Some(("W", value)) => width = value.parse().ok(),
            Some(("H", value)) => height = value.parse().ok(),
            // 0:0 means that the rate is unknown.
            Some(("F", value)) if value != "0:0" => rate = parse_rate(value)?,
            Some(("C", value)) if !["420", "420jpeg", "420paldv", "420mpeg2"].contains(&value) => {
                return Err(format!("the chroma format `{value}` is not 4:2:0 with 8 bits").into());
            }
            // Interlacing, the shape of a pixel and comments make no difference here.
            _ => {}
        }
    }
    let size = width
        .zip(height)
        .and_then(|(width, height)| Size::new(width, height));
    let size =
        size.ok_or_else(|| format!("the header lacks a width and height in 1..={MAX_SIDE}"))?;
    Ok((size, rate))
}

fn parse_rate(value: &str) -> Result<(u32, u32), BoxError> {
    let parts = value.split_once(':');
    let numbers = parts.and_then(|(one, other)| Some((one.parse().ok()?, other.parse().ok()?)));
    numbers
        .filter(|&(frames, seconds)| frames != 0 && seconds != 0)
        .ok_or_else(|| {
            format!("the frame rate `{value}` is not a fraction such as 30000:1001").into()
        })
}
