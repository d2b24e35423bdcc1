//! What is said of a stray access: put together without a heap.

use std::fmt::{self, Write};

use super::{DescribeSlot, GuardPages};

/// Bytes in the longest message; what goes beyond is cut off. Signal stacks are small.
const LONGEST: usize = 512;

/// A line that begins with the crate's name.
pub(super) struct Line {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        let mut line = Self {
            bytes: [0; LONGEST],
            length: 0,
        };
        line.push(b"ks-allocator: ");
        line
    }

    /// All of it, with a line feed, for which there is always room.
    pub(super) fn end(&mut self) -> &[u8] {
        self.bytes[self.length] = b'\n';
        &self.bytes[..=self.length]
    }

    /// Appends what there is room for, and says whether that was all.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = &mut self.bytes[self.length..LONGEST - 1];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
        taken == bytes.len()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// Which byte of which slot an offset is, and what the pool knows of that.
pub(super) fn explain(
    line: &mut Line,
    trap: &GuardPages,
    (address, offset): (usize, usize),
    pool: &dyn DescribeSlot,
) -> fmt::Result {
    let framing = trap.layout.framing;
    let (slot, place) = place_of(trap, offset);
    write!(line, "stray access at {address:#x}: ")?;
    match place {
        Place::Prefix(byte) => write!(line, "byte {byte} of the prefix of slot {slot}")?,
        Place::Frame(byte) => write!(line, "byte {byte} of slot {slot}")?,
        Place::Before(bytes) => {
            let bytes = Count(bytes, "byte");
            write!(line, "{bytes} before slot {slot} and its prefix")?;
        }
        Place::Past(bytes) => {
            let bytes = Count(bytes, "byte");
            write!(line, "{bytes} past the end of slot {slot}")?;
        }
    }
    let frames = Count(framing.frames, "frame");
    let bytes = Count(framing.frame_size, "byte");
    write!(line, " of a pool of {frames} of {bytes}; ")?;
    pool.describe(slot, line)
}

/// So many of these.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        let plural = if *count == 1 { "" } else { "s" };
        write!(f, "{count} {what}{plural}")
    }
}

/// Where an address is, as seen from the nearest slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Prefix(usize),
    Frame(usize),
    /// So many bytes before its prefix: 1 is the last before it.
    Before(usize),
    /// So many bytes past its end: 1 is the first after it.
    Past(usize),
}

fn place_of(trap: &GuardPages, offset: usize) -> (usize, Place) {
    let (layout, first) = (&trap.layout, trap.first);
    let (prefix, last) = (layout.framing.prefix, layout.framing.frames - 1);
    let Some(from_first) = offset.checked_sub(first) else {
        return (0, Place::Before(first - offset));
    };
    let slot = (from_first / layout.stride).min(last);
    let byte = from_first - slot * layout.stride;
    if byte < prefix {
        return (slot, Place::Prefix(byte));
    }
    let Some(past) = byte.checked_sub(layout.used()) else {
        return (slot, Place::Frame(byte - prefix));
    };
    // Saturating: there is more after the last slot than a stride.
    let before = layout.stride.saturating_sub(byte);
    if slot < last && before <= past {
        return (slot + 1, Place::Before(before));
    }
    (slot, Place::Past(past + 1))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::ptr::NonNull;

    use crate::framing::{FrameLayout, Framing};

    use super::*;

    struct Known;

    impl DescribeSlot for Known {
        fn describe(&self, slot: usize, out: &mut dyn Write) -> fmt::Result {
            write!(out, "slot {slot} is known")
        }
    }

    fn trap(framing: Framing) -> GuardPages {
        let layout = FrameLayout::trapped(&framing.actual().unwrap(), 4096).unwrap();
        GuardPages {
            layout,
            base: NonNull::dangling(),
            first: layout.first_prefix(0),
        }
    }

    #[test]
    fn every_byte_is_told_from_the_nearest_slot() {
        // Each slot: a guard page, 192 bytes that nobody has, 8000 of prefix and frame.
        let trap = trap(Framing::new(3, 7990).prefix(10));
        assert_eq!((trap.first, trap.layout.stride), (4096 + 192, 12_288));
        let table = [
            (0, (0, Place::Before(4288))),
            (4287, (0, Place::Before(1))),
            (4288, (0, Place::Prefix(0))),
            (4297, (0, Place::Prefix(9))),
            (4298, (0, Place::Frame(0))),
            (12_287, (0, Place::Frame(7989))),
            (12_288, (0, Place::Past(1))),
            (12_288 + 2143, (0, Place::Past(2144))),
            (12_288 + 2144, (1, Place::Before(2144))),
            (4287 + 12_288, (1, Place::Before(1))),
            (4298 + 2 * 12_288, (2, Place::Frame(0))),
            (12_288 + 2 * 12_288 + 4095, (2, Place::Past(4096))),
        ];
        for (offset, expected) in table {
            assert_eq!(place_of(&trap, offset), expected, "{offset}");
        }
    }

    #[test]
    fn the_message_says_all_of_it_in_one_line() {
        let trap = trap(Framing::new(3, 7990).prefix(10));
        let mut line = Line::new();
        explain(&mut line, &trap, (0xABC, 4299), &Known).unwrap();
        assert_eq!(
            std::str::from_utf8(line.end()).unwrap(),
            "ks-allocator: stray access at 0xabc: byte 1 of slot 0 \
             of a pool of 3 frames of 7990 bytes; slot 0 is known\n"
        );
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_off() {
        let mut line = Line::new();
        assert!(write!(line, "{:600}", 7).is_err());
        assert!(write!(line, "more").is_err());
        let bytes = line.end();
        assert_eq!((bytes.len(), bytes[LONGEST - 1]), (LONGEST, b'\n'));
    }
}
