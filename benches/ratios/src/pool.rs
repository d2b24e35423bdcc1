//! The trait that every contender implements.

use std::fmt;

/// Source of frames. The harness leaks it, so that frames can be `'static`.
///
/// # Safety
///
/// [`start`](Self::start) returns a multiple of 8. Until the frame is put back, as many bytes from
/// there as the pool was made for are valid for reads and writes.
pub unsafe trait Pool: Sync + 'static {
    /// A frame that is out.
    type Frame: Send + 'static;

    /// Acquires a frame. Returns `None` if none is free.
    fn get(&'static self) -> Option<Self::Frame>;

    /// Releases a frame.
    #[inline(always)]
    fn put(&'static self, frame: Self::Frame) {
        drop(frame);
    }

    /// Returns the address of a frame's first byte.
    fn start(&'static self, frame: &mut Self::Frame) -> *mut u8;

    /// Acquires up to `count` more frames.
    #[inline(always)]
    fn get_burst(&'static self, held: &mut Vec<Self::Frame>, count: usize) {
        held.extend((0..count).map_while(|_| self.get()));
    }

    /// Releases all frames in `held`.
    #[inline(always)]
    fn put_burst(&'static self, held: &mut Vec<Self::Frame>) {
        for frame in held.drain(..) {
            self.put(frame);
        }
    }

    /// Prepares the calling thread. Each thread calls it before each sample.
    fn prepare_thread(&'static self) {}
}

/// Reason why a contender fails the benchmark.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Frames were free, and for seconds none was handed out.
    Empty,
    /// All frames were held, and one was handed out.
    NotEmpty,
    /// A frame that was out lost its content: another thread wrote to it, or held it too.
    Overwritten {
        /// The value that its holder wrote.
        wrote: u64,
        /// The value that its holder read back.
        found: u64,
    },
    /// A frame starts at an address that is not a multiple of 8.
    Misaligned,
    /// Another thread of the workload stopped responding.
    Stuck,
    /// The contender panicked.
    Panicked,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("handed out no frame although some were free"),
            Self::NotEmpty => f.write_str("handed out a frame although all were held"),
            Self::Overwritten { wrote, found } => write!(
                f,
                "overwrote a frame that was out: its holder wrote {wrote:#x} and read {found:#x}"
            ),
            Self::Misaligned => f.write_str("a frame does not start at a multiple of 8"),
            Self::Panicked => f.write_str("panicked"),
            Self::Stuck => f.write_str("another thread of the workload stopped responding"),
        }
    }
}
