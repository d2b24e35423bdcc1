//! Reads YUV4MPEG2 (`.y4m`): a line of text about the stream, then frames of raw planes, each after
//! a line of its own.
//!
//! ```text
//! YUV4MPEG2 W128 H72 F25:1 Ip A1:1 C420mpeg2\n
//! FRAME\n <the luma plane> <the Cb plane> <the Cr plane>
//! FRAME\n …
//! ```
//!
//! Every error names the byte of the file at which the reader had to give up. Once the header is
//! read, nothing is allocated any more.

use std::io::{self, BufRead, ErrorKind};

use crate::picture::{MAX_SIDE, Rate, Size};

const MAGIC: &[u8] = b"YUV4MPEG2";
const FRAME: &[u8] = b"FRAME";

/// The longest line, of the stream or of a frame, without its line feed.
pub(crate) const LINE_MAX: usize = 1024;

#[derive(Debug, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub(crate) struct Error {
    pub(crate) offset: u64,
    pub(crate) problem: Problem,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("this is not a YUV4MPEG2 file")]
    NotY4m,
    #[error("the header line is longer than {LINE_MAX} bytes")]
    HeaderTooLong,
    #[error("the file ends within its header")]
    HeaderTruncated,
    #[error("the header ends without a {0}")]
    Missing(&'static str),
    #[error("the {what} `{value}` is not a whole number in 1..={MAX_SIDE}")]
    Side { what: &'static str, value: String },
    #[error("the frame rate `{0}` is not a fraction such as 30000:1001")]
    Rate(String),
    #[error("the interlacing `{0}` is not one of p, t, b, m and ?")]
    Interlacing(String),
    #[error("the chroma format `{0}` is not 4:2:0 with 8 bits")]
    Chroma(String),
    #[error("frame {0} does not begin with the word FRAME")]
    NotAFrame(u64),
    #[error("the line of frame {0} is longer than {LINE_MAX} bytes")]
    FrameLineTooLong(u64),
    #[error("the file ends within the line of frame {0}")]
    FrameLineTruncated(u64),
    #[error("the file ends within frame {frame}, {missing} bytes too early")]
    FrameTruncated { frame: u64, missing: usize },
    #[error(transparent)]
    Io(io::Error),
}

impl Problem {
    fn at(self, offset: u64) -> Error {
        Error {
            offset,
            problem: self,
        }
    }
}

/// Reads the frames of a stream, in order.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: R,
    /// How many bytes of the input have been read.
    offset: u64,
    /// The number of the next frame; the first is frame 0.
    next: u64,
    size: Size,
    rate: Rate,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    pub(crate) fn new(mut input: R) -> Result<Self, Error> {
        let mut line = [0; LINE_MAX];
        let mut offset = 0;
        let (line, end) = read_line(&mut input, &mut offset, &mut line)?;

        if !has_first_word(line, &end, MAGIC) {
            return Err(Problem::NotY4m.at(0));
        }
        match end {
            LineEnd::LineFeed => {}
            LineEnd::EndOfFile => return Err(Problem::HeaderTruncated.at(offset)),
            LineEnd::TooLong => return Err(Problem::HeaderTooLong.at(offset)),
        }

        let (size, rate) = parse_tags(line)?;
        Ok(Self {
            input,
            offset,
            next: 0,
            size,
            rate,
        })
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// The rate of the stream, or 25 frames a second if it names none.
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// How many whole frames are still to come in an input of `length` bytes.
    ///
    /// This is exact unless a frame's line has parameters, which are rare; then it is too many.
    pub(crate) fn frames_left(&self, length: u64) -> u64 {
        let frame = FRAME.len() + 1 + self.size.frame();
        length.saturating_sub(self.offset) / frame as u64
    }

    /// Reads the next frame into the first [`Size::frame`] bytes of `frame`; `false` is the end of
    /// the stream.
    ///
    /// # Panics
    ///
    /// If `frame` is shorter than that.
    pub(crate) fn read_frame(&mut self, frame: &mut [u8]) -> Result<bool, Error> {
        let picture = &mut frame[..self.size.frame()];
        if !self.read_frame_line()? {
            return Ok(false);
        }
        let mut done = 0;
        while done < picture.len() {
            match self.input.read(&mut picture[done..]) {
                Ok(0) => {
                    let missing = picture.len() - done;
                    let frame = self.next;
                    return Err(Problem::FrameTruncated { frame, missing }.at(self.offset));
                }
                Ok(n) => {
                    done += n;
                    self.offset += n as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Problem::Io(error).at(self.offset)),
            }
        }
        self.next += 1;
        Ok(true)
    }

    /// Reads `FRAME`, perhaps with parameters, and the line feed; `false` is the end of the stream.
    fn read_frame_line(&mut self) -> Result<bool, Error> {
        let start = self.offset;
        let mut line = [0; LINE_MAX];
        let (line, end) = read_line(&mut self.input, &mut self.offset, &mut line)?;
        if line.is_empty() && matches!(end, LineEnd::EndOfFile) {
            return Ok(false);
        }

        if !has_first_word(line, &end, FRAME) {
            return Err(Problem::NotAFrame(self.next).at(start));
        }
        match end {
            LineEnd::LineFeed => Ok(true),
            LineEnd::EndOfFile => Err(Problem::FrameLineTruncated(self.next).at(self.offset)),
            LineEnd::TooLong => Err(Problem::FrameLineTooLong(self.next).at(self.offset)),
        }
    }
}

/// Why a line came to its end.
enum LineEnd {
    LineFeed,
    EndOfFile,
    TooLong,
}

/// Reads a line, and the line feed after it, and moves `offset` on by what it read.
fn read_line<'a>(
    input: &mut impl BufRead,
    offset: &mut u64,
    line: &'a mut [u8; LINE_MAX],
) -> Result<(&'a [u8], LineEnd), Error> {
    let mut len = 0;
    let end = loop {
        let available = match input.fill_buf() {
            Ok([]) => break LineEnd::EndOfFile,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Problem::Io(error).at(*offset)),
        };
        let room = &mut line[len..];
        let feed = available
            .iter()
            .take(room.len() + 1)
            .position(|&byte| byte == b'\n');
        let text = feed.unwrap_or(available.len().min(room.len()));
        room[..text].copy_from_slice(&available[..text]);
        len += text;

        let used = text + usize::from(feed.is_some());
        input.consume(used);
        *offset += used as u64;
        if feed.is_some() {
            break LineEnd::LineFeed;
        }
        if used == 0 {
            break LineEnd::TooLong;
        }
    };
    Ok((&line[..len], end))
}

/// Whether the line begins with `word`, or, if it was cut short within it, could have.
fn has_first_word(line: &[u8], end: &LineEnd, word: &[u8]) -> bool {
    match (line.get(word.len()), end) {
        (Some(next), _) => line.starts_with(word) && *next == b' ',
        (None, LineEnd::LineFeed) => line == word,
        (None, LineEnd::EndOfFile | LineEnd::TooLong) => word.starts_with(line),
    }
}

/// Takes the size and the rate from a header line, and checks that the planes are 8-bit 4:2:0.
fn parse_tags(line: &[u8]) -> Result<(Size, Rate), Error> {
    let mut width = None;
    let mut height = None;
    let mut rate = None;

    let mut next = MAGIC.len();
    for word in line[MAGIC.len()..].split(|&byte| byte == b' ') {
        let offset = next as u64;
        next += word.len() + 1;
        let Some((tag, value)) = word.split_first() else {
            continue;
        };
        let checked = match tag {
            b'W' => parse_side("width", value).map(|side| width = Some(side)),
            b'H' => parse_side("height", value).map(|side| height = Some(side)),
            b'F' => parse_rate(value).map(|parsed| rate = parsed),
            b'I' => check_interlacing(value),
            b'C' => check_chroma(value),
            // The shape of a pixel (A), comments (X), and what may be invented one day.
            _ => Ok(()),
        };
        checked.map_err(|problem| problem.at(offset))?;
    }

    let end = line.len() as u64;
    let width = width.ok_or_else(|| Problem::Missing("width").at(end))?;
    let height = height.ok_or_else(|| Problem::Missing("height").at(end))?;
    let size = Size::new(width, height).expect("parse_side has checked both sides");
    Ok((size, rate.unwrap_or(Rate::HZ_25)))
}

fn parse_side(what: &'static str, value: &[u8]) -> Result<u32, Problem> {
    parse_number(value)
        .filter(|side| (1..=MAX_SIDE).contains(side))
        .ok_or_else(|| Problem::Side {
            what,
            value: quote(value),
        })
}

/// `0:0` stands for an unknown rate.
fn parse_rate(value: &[u8]) -> Result<Option<Rate>, Problem> {
    let bad = || Problem::Rate(quote(value));
    let colon = value
        .iter()
        .position(|&byte| byte == b':')
        .ok_or_else(bad)?;
    let frames = parse_number(&value[..colon]).ok_or_else(bad)?;
    let seconds = parse_number(&value[colon + 1..]).ok_or_else(bad)?;
    if (frames, seconds) == (0, 0) {
        return Ok(None);
    }
    Rate::new(frames, seconds).map(Some).ok_or_else(bad)
}

/// How the fields interleave changes nothing for a filter that takes each pixel by itself.
fn check_interlacing(value: &[u8]) -> Result<(), Problem> {
    match value {
        b"p" | b"t" | b"b" | b"m" | b"?" => Ok(()),
        _ => Err(Problem::Interlacing(quote(value))),
    }
}

/// The variants of 4:2:0 differ only in where between the pixels a chroma sample lies.
fn check_chroma(value: &[u8]) -> Result<(), Problem> {
    match value {
        b"420" | b"420jpeg" | b"420paldv" | b"420mpeg2" => Ok(()),
        _ => Err(Problem::Chroma(quote(value))),
    }
}

/// Digits and nothing else: `str::parse` alone would let a sign through.
fn parse_number(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The value as it may be shown, cut if it is long.
fn quote(value: &[u8]) -> String {
    const SHOWN: usize = 32;
    match value.get(..SHOWN) {
        Some(begin) if value.len() > SHOWN => format!("{}…", begin.escape_ascii()),
        _ => value.escape_ascii().to_string(),
    }
}
