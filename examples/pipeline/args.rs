//! The command line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use ks_allocator::AllocatorMode;

use crate::picture::{MAX_SIDE, Size};

pub(crate) const HELP: &str = "\
A source, a filter and a sink, each on a thread of its own, over one pool of frames.

Usage: cargo run --release --example pipeline -- [OPTIONS]

  --input FILE      read FILE (YUV4MPEG2, 8 bits, 4:2:0) instead of drawing a test pattern
  --frames N        stop after N frames (a file: at its end, if that comes first; the pattern: 600)
  --size WxH        how big the test pattern is (1920x1080)
  --pool N          how many frames the pool has (8)
  --mode MODE       what memory the pool is made of: user or kernel (user)
  --heap            a fresh Vec for every frame instead of the pool, to compare
  --help            print this
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Run(Options),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) input: Input,
    pub(crate) memory: Memory,
    /// How many frames the pool has, and how many a hand-off queue has room for.
    pub(crate) pool: NonZeroUsize,
    /// `None`: all frames of the file.
    pub(crate) frames: Option<NonZeroU64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Pattern(Size),
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Pool(AllocatorMode),
    Heap,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no option `{0}`")]
    Unknown(String),
    #[error("{0} needs a value after it")]
    NoValue(&'static str),
    #[error("{0} takes no value")]
    NeedlessValue(&'static str),
    #[error("{option}: `{value}` is not {expected}")]
    BadValue {
        option: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("{0} and {1} do not go together")]
    Conflict(&'static str, &'static str),
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(mode) => mode.fmt(f),
            Self::Heap => f.write_str("heap"),
        }
    }
}

const FRAMES_OF_PATTERN: NonZeroU64 = NonZeroU64::new(600).expect("not 0");
const FRAMES_OF_POOL: NonZeroUsize = NonZeroUsize::new(8).expect("not 0");

/// The largest pool, and the longest queue, to bother with.
const POOL_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not 0");

/// Reads the arguments, the program's name not among them.
///
/// An option's value is the next argument, or comes after `=`. What is given twice counts as given
/// last.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Error> {
    let mut path = None;
    let mut size = None;
    let mut mode = None;
    let mut heap = false;
    let mut pool = FRAMES_OF_POOL;
    let mut frames = None;

    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut arg = Argument::new(&arg, &mut args);
        match arg.name.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--heap" => {
                arg.no_value("--heap")?;
                heap = true;
            }
            "--input" => path = Some(PathBuf::from(arg.value("--input")?)),
            "--size" => size = Some(arg.parsed("--size", SIZES, parse_size)?),
            "--mode" => mode = Some(arg.parsed("--mode", MODES, parse_mode)?),
            "--pool" => pool = arg.parsed("--pool", POOLS, parse_pool)?,
            "--frames" => {
                frames = Some(arg.parsed("--frames", NUMBERS, |value| value.parse().ok())?);
            }
            _ => return Err(Error::Unknown(arg.name)),
        }
    }

    let input = match (path, size) {
        (Some(_), Some(_)) => return Err(Error::Conflict("--input", "--size")),
        (Some(path), None) => Input::File(path),
        (None, size) => {
            frames = frames.or(Some(FRAMES_OF_PATTERN));
            Input::Pattern(size.unwrap_or(Size::FULL_HD))
        }
    };
    let memory = match (heap, mode) {
        (true, Some(_)) => return Err(Error::Conflict("--heap", "--mode")),
        (true, None) => Memory::Heap,
        (false, mode) => Memory::Pool(mode.unwrap_or(AllocatorMode::User)),
    };
    Ok(Command::Run(Options {
        input,
        memory,
        pool,
        frames,
    }))
}

const NUMBERS: &str = "a whole number of 1 or more";
const POOLS: &str = "a whole number in 1..=65536";
const SIZES: &str = "a size such as 1920x1080, of at most 16384x16384";
const MODES: &str = "user or kernel";

fn parse_size(value: &str) -> Option<Size> {
    let (width, height) = value.split_once('x')?;
    Size::new(width.parse().ok()?, height.parse().ok()?)
}

fn parse_pool(value: &str) -> Option<NonZeroUsize> {
    let frames = value.parse().ok()?;
    (frames <= POOL_MAX).then_some(frames)
}

fn parse_mode(value: &str) -> Option<AllocatorMode> {
    match value {
        "user" => Some(AllocatorMode::User),
        "kernel" => Some(AllocatorMode::Kernel),
        _ => None,
    }
}

/// An argument, in its two parts if there is a `=` in it, and those that come after.
struct Argument<'a, Rest> {
    name: String,
    value: Option<OsString>,
    rest: &'a mut Rest,
}

impl<'a, Rest: Iterator<Item = OsString>> Argument<'a, Rest> {
    fn new(arg: &OsStr, rest: &'a mut Rest) -> Self {
        let (name, value) = match arg.to_str().and_then(|arg| arg.split_once('=')) {
            Some((name, value)) => (name.to_owned(), Some(value.into())),
            None => (arg.to_string_lossy().into_owned(), None),
        };
        Self { name, value, rest }
    }

    fn value(&mut self, option: &'static str) -> Result<OsString, Error> {
        let value = self.value.take().or_else(|| self.rest.next());
        value.ok_or(Error::NoValue(option))
    }

    fn parsed<T>(
        &mut self,
        option: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Error> {
        let value = self.value(option)?;
        value
            .to_str()
            .and_then(parse)
            .ok_or_else(|| Error::BadValue {
                option,
                value: value.to_string_lossy().into_owned(),
                expected,
            })
    }

    fn no_value(&self, option: &'static str) -> Result<(), Error> {
        match self.value {
            Some(_) => Err(Error::NeedlessValue(option)),
            None => Ok(()),
        }
    }
}

// `POOLS` and `SIZES` name them.
const _: () = assert!(POOL_MAX.get() == 65_536 && MAX_SIDE == 16_384);
