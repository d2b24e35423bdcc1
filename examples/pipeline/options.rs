//! Command line of the example.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;
use std::str::FromStr;

use ks_allocator::AllocatorMode;

use crate::picture::Size;

pub(crate) const HELP: &str = "\
Runs a source, a filter and a sink, one thread each, over one pool of frames.

Usage: cargo run --release --example pipeline -- [OPTIONS]

  --input FILE   read FILE (YUV4MPEG2, 8 bits, 4:2:0) instead of drawing a test pattern
  --frames N     stop after N frames (default: the whole file, or 600 frames of the pattern)
  --size WxH     size of the test pattern in pixels (default: 1920x1080)
  --pool N       number of frames in the pool (default: 8)
  --mode MODE    memory of the pool, user or kernel (default: user)
  --heap         allocate a fresh Vec per frame instead of using a pool, for comparison
  --help         print this help
";

pub(crate) struct Options {
    pub(crate) input: Option<PathBuf>,
    pub(crate) size: Size,
    pub(crate) frames: Option<u64>,
    pub(crate) pool: usize,
    pub(crate) memory: Memory,
}

#[derive(Clone, Copy)]
pub(crate) enum Memory {
    Pool(AllocatorMode),
    Heap,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(mode) => mode.fmt(f),
            Self::Heap => f.write_str("heap"),
        }
    }
}

impl Options {
    /// Parses the arguments that follow the program's name. Returns `None` if they ask for help.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut input, mut size, mut frames, mut mode) = (None, None, None, None);
        let (mut pool, mut heap) = (8, false);

        let mut args = args.into_iter().flat_map(split_at_equals_sign);
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
            match &*name {
                "--help" => return Ok(None),
                "--heap" => heap = true,
                "--input" => input = Some(PathBuf::from(value()?)),
                "--size" => {
                    let expected = "a size such as 1920x1080, of at most 16384x16384";
                    size = Some(parse(&name, &value()?, expected)?);
                }
                "--frames" => {
                    let parsed: NonZeroU64 = parse(&name, &value()?, "a number of 1 or more")?;
                    frames = Some(parsed.get());
                }
                "--pool" => {
                    let parsed: NonZeroU16 = parse(&name, &value()?, "a number in 1..=65535")?;
                    pool = parsed.get().into();
                }
                "--mode" => {
                    mode = Some(match &*value()? {
                        "user" => AllocatorMode::User,
                        "kernel" => AllocatorMode::Kernel,
                        other => return Err(format!("--mode: `{other}` is not user or kernel")),
                    });
                }
                _ => return Err(format!("there is no option `{name}`")),
            }
        }

        if input.is_some() && size.is_some() {
            return Err("--input and --size exclude each other".to_owned());
        }
        if heap && mode.is_some() {
            return Err("--heap and --mode exclude each other".to_owned());
        }
        let memory = if heap {
            Memory::Heap
        } else {
            Memory::Pool(mode.unwrap_or_default())
        };
        Ok(Some(Self {
            frames: frames.or(input.is_none().then_some(600)),
            input,
            size: size.unwrap_or(Size::FULL_HD),
            pool,
            memory,
        }))
    }
}

/// Turns `--name=value` into two arguments.
fn split_at_equals_sign(arg: String) -> Vec<String> {
    match arg.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name.to_owned(), value.to_owned()],
        _ => vec![arg],
    }
}

fn parse<T: FromStr>(name: &str, value: &str, expected: &str) -> Result<T, String> {
    let parsed = value.parse();
    parsed.map_err(|_| format!("{name}: `{value}` is not {expected}"))
}
