//! The text about an invalid access.

use std::fmt::{self, Write};

use super::line::Line;
use super::protection::GuardPages;

/// A pool that describes its slots in messages about invalid accesses.
///
/// It is called in a signal handler. An implementation takes no lock, allocates no memory, and
/// reads only atomics and values that never change.
pub(crate) trait DescribeSlot: Sync {
    /// Writes a clause without a full stop, such as "slot 3 is free".
    fn describe(&self, slot: usize, out: &mut dyn fmt::Write) -> fmt::Result;
}

/// Writes which byte of which slot was accessed, and the pool's description of that slot.
///
/// `offset` is the offset of `address` in the segment.
pub(super) fn describe_access(
    line: &mut Line,
    guard_pages: &GuardPages,
    (address, offset): (usize, usize),
    pool: &dyn DescribeSlot,
) -> fmt::Result {
    let framing = guard_pages.layout.framing;
    let (slot, position) = position_of(guard_pages, offset);
    write!(line, "invalid access at {address:#x}: ")?;
    match position {
        AccessPosition::Prefix(byte) => write!(line, "byte {byte} of the prefix of slot {slot}")?,
        AccessPosition::Frame(byte) => write!(line, "byte {byte} of slot {slot}")?,
        AccessPosition::Before(bytes) => {
            let bytes = Count(bytes, "byte");
            let prefix = if framing.prefix == 0 {
                ""
            } else {
                "the prefix of "
            };
            write!(line, "{bytes} before {prefix}slot {slot}")?;
        }
        AccessPosition::Past(bytes) => {
            let bytes = Count(bytes, "byte");
            write!(line, "{bytes} past the end of slot {slot}")?;
        }
    }
    let frames = Count(framing.frames, "frame");
    let bytes = Count(framing.frame_size, "byte");
    write!(line, ", in a pool of {frames} of {bytes}; ")?;
    pool.describe(slot, line)
}

/// A number with its unit, in the singular or plural.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, unit) = self;
        let plural = if *count == 1 { "" } else { "s" };
        write!(f, "{count} {unit}{plural}")
    }
}

/// The position of an access relative to the nearest slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AccessPosition {
    /// This byte of the prefix.
    Prefix(usize),
    /// This byte of the frame.
    Frame(usize),
    /// This number of bytes before the prefix: 1 is the last byte before it.
    Before(usize),
    /// This number of bytes past the end: 1 is the first byte after it.
    Past(usize),
}

/// Returns the slot nearest to an offset in the segment, and the position relative to it.
fn position_of(guard_pages: &GuardPages, offset: usize) -> (usize, AccessPosition) {
    let (layout, first) = (&guard_pages.layout, guard_pages.first);
    let (prefix, last) = (layout.framing.prefix, layout.framing.frames - 1);
    let Some(from_first) = offset.checked_sub(first) else {
        return (0, AccessPosition::Before(first - offset));
    };
    let slot = (from_first / layout.stride).min(last);
    let byte = from_first - slot * layout.stride;
    if byte < prefix {
        return (slot, AccessPosition::Prefix(byte));
    }
    let Some(past) = byte.checked_sub(layout.used()) else {
        return (slot, AccessPosition::Frame(byte - prefix));
    };
    // Saturating: the segment may extend more than a stride from the start of the last slot.
    let before = layout.stride.saturating_sub(byte);
    if slot < last && before <= past {
        return (slot + 1, AccessPosition::Before(before));
    }
    (slot, AccessPosition::Past(past + 1))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use crate::framing::Framing;

    use super::AccessPosition::{Before, Frame, Past, Prefix};
    use super::*;

    struct Pool;

    impl DescribeSlot for Pool {
        fn describe(&self, slot: usize, out: &mut dyn Write) -> fmt::Result {
            write!(out, "slot {slot} is free")
        }
    }

    fn guard_pages() -> GuardPages {
        GuardPages::without_memory(Framing::new(3, 7990).prefix(10), 4096)
    }

    #[test]
    fn positions_are_relative_to_the_nearest_slot() {
        // Each slot: a guard page, 192 unused bytes, 8000 bytes of prefix and frame.
        let guard_pages = guard_pages();
        let layout = guard_pages.layout;
        assert_eq!((guard_pages.first, layout.stride), (4096 + 192, 12_288));
        let table = [
            (0, (0, Before(4288))),
            (4287, (0, Before(1))),
            (4288, (0, Prefix(0))),
            (4297, (0, Prefix(9))),
            (4298, (0, Frame(0))),
            (12_287, (0, Frame(7989))),
            (12_288, (0, Past(1))),
            (12_288 + 2143, (0, Past(2144))),
            (12_288 + 2144, (1, Before(2144))),
            (4287 + 12_288, (1, Before(1))),
            (4298 + 2 * 12_288, (2, Frame(0))),
            (12_288 + 2 * 12_288 + 4095, (2, Past(4096))),
        ];
        for (offset, expected) in table {
            assert_eq!(position_of(&guard_pages, offset), expected, "{offset}");
        }
    }

    #[test]
    fn the_message_is_one_line_with_position_and_description() {
        let mut line = Line::new();
        describe_access(&mut line, &guard_pages(), (0xABC, 4299), &Pool).unwrap();
        assert_eq!(
            std::str::from_utf8(line.finish()).unwrap(),
            "ks-allocator: invalid access at 0xabc: byte 1 of slot 0, \
             in a pool of 3 frames of 7990 bytes; slot 0 is free\n"
        );
    }
}
