//! The one small trait that all contenders have in common.

use std::fmt;

/// Something that frames come from and go back to. It is leaked, so that frames may be anywhere.
///
/// # Safety
///
/// What [`start`](Self::start) returns is valid for reads and writes of as many bytes as the pool was
/// made for, at a multiple of 8, until the frame is put back.
pub unsafe trait Pool: Sync + 'static {
    /// A frame that is out.
    type Frame: Send + 'static;

    /// Takes a frame, or `None` if there is none now.
    fn get(&'static self) -> Option<Self::Frame>;

    /// Gives a frame back.
    #[inline(always)]
    fn put(&'static self, frame: Self::Frame) {
        drop(frame);
    }

    /// The first byte of a frame.
    fn start(&'static self, frame: &mut Self::Frame) -> *mut u8;

    /// Takes up to `count` frames more.
    #[inline(always)]
    fn get_burst(&'static self, held: &mut Vec<Self::Frame>, count: usize) {
        held.extend((0..count).map_while(|_| self.get()));
    }

    /// Gives all of them back.
    #[inline(always)]
    fn put_burst(&'static self, held: &mut Vec<Self::Frame>) {
        for frame in held.drain(..) {
            self.put(frame);
        }
    }

    /// Handoff by each thread before it uses the pool.
    fn enter(&'static self) {}
}

/// Why a contender does not count.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Frames were free, and for seconds none was handed out.
    Empty,
    /// Somebody else wrote in a frame that was out, or had it as well.
    Overwritten {
        /// What its holder had written.
        wrote: u64,
        /// What was there.
        found: u64,
    },
    /// A frame starts where none may.
    Misaligned,
    /// The other thread of a hand-off is gone.
    Stuck,
    /// It panicked.
    Panicked,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("handed out no frame, though some were free"),
            Self::Overwritten { wrote, found } => write!(
                f,
                "a frame was not its holder's alone: {wrote:#x} was written, {found:#x} was there"
            ),
            Self::Misaligned => f.write_str("a frame starts at no multiple of 8"),
            Self::Panicked => f.write_str("panicked"),
            Self::Stuck => f.write_str("the hand-off came to a halt"),
        }
    }
}
