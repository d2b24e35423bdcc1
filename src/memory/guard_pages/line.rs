//! A message of bounded length, built without heap.

use std::fmt::{self, Write};

/// Maximum number of bytes in a message. The rest is cut off. A message lies on the stack of a
/// signal handler, which is small.
const MAX_LINE: usize = 512;

/// A line of text that begins with the crate's name.
pub(super) struct Line {
    bytes: [u8; MAX_LINE],
    length: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        let mut line = Self {
            bytes: [0; MAX_LINE],
            length: 0,
        };
        line.push(b"ks-allocator: ");
        line
    }

    /// Returns the whole line with a line feed. `push` leaves room for it.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.bytes[self.length] = b'\n';
        &self.bytes[..=self.length]
    }

    /// Appends as many bytes as there is room for, and returns whether these were all.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = &mut self.bytes[self.length..MAX_LINE - 1];
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.length += count;
        count == bytes.len()
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_long_is_cut_off() {
        let mut line = Line::new();
        assert!(write!(line, "{:600}", 7).is_err());
        assert!(write!(line, "more").is_err());
        let bytes = line.finish();
        assert_eq!((bytes.len(), bytes[MAX_LINE - 1]), (MAX_LINE, b'\n'));
    }
}
