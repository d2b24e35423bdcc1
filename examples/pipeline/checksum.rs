//! A fast 64-bit checksum over frames, in which every byte and its place count.
//!
//! It finds mistakes, not forgeries: two exclusive-ors, a shift and a multiplication for every
//! eight bytes.

/// The golden ratio's fraction, as an odd 64-bit number.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug)]
pub(crate) struct Checksum(u64);

impl Checksum {
    /// Begins with a number other than 0, so that leading zeroes count.
    pub(crate) fn new() -> Self {
        Self(MULTIPLIER)
    }

    /// Takes in a frame: its length, then its bytes as little-endian words, the last one filled up
    /// with zeroes.
    pub(crate) fn frame(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let words = bytes.chunks_exact(size_of::<u64>());
        let rest = words.remainder();
        for word in words {
            self.word(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        if !rest.is_empty() {
            let mut last = [0; size_of::<u64>()];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    /// A multiplication carries differences upwards only; the shift brings them down again.
    fn word(&mut self, word: u64) {
        let product = (self.0 ^ word).wrapping_mul(MULTIPLIER);
        self.0 = product ^ (product >> 32);
    }

    /// The checksum of everything so far.
    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}
