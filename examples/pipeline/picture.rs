//! Pictures in 4:2:0, and the work of the filter and the sink on them.

use std::str::FromStr;

/// Largest width and height, in pixels. No size computed here overflows, on 32-bit targets either.
pub(crate) const MAX_SIDE: usize = 16_384;

/// Width and height in pixels, each in `1..=MAX_SIDE`.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    width: usize,
    height: usize,
}

impl Size {
    pub(crate) const FULL_HD: Self = Self {
        width: 1920,
        height: 1080,
    };

    pub(crate) fn new(width: usize, height: usize) -> Option<Self> {
        let sides = 1..=MAX_SIDE;
        (sides.contains(&width) && sides.contains(&height)).then_some(Self { width, height })
    }

    pub(crate) fn width(self) -> usize {
        self.width
    }

    /// Returns the bytes of the luma plane, which comes first in a frame.
    pub(crate) fn luma(self) -> usize {
        self.width * self.height
    }

    /// Returns the bytes of a frame: the luma plane, and 2 chroma samples per 2x2 pixels.
    pub(crate) fn frame(self) -> usize {
        self.luma() + 2 * self.width.div_ceil(2) * self.height.div_ceil(2)
    }
}

impl FromStr for Size {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (width, height) = text.split_once('x').ok_or(())?;
        let side = |text: &str| text.parse().map_err(drop);
        Self::new(side(width)?, side(height)?).ok_or(())
    }
}

/// A filter that raises contrast by a lookup table over luma.
pub(crate) struct Contrast {
    curve: [u8; 256],
    luma: usize,
}

impl Contrast {
    pub(crate) fn new(size: Size) -> Self {
        Self {
            curve: std::array::from_fn(|luma| steepen(u8::try_from(luma).expect("256 entries"))),
            luma: size.luma(),
        }
    }

    pub(crate) fn apply(&self, frame: &mut [u8]) {
        for pixel in &mut frame[..self.luma] {
            *pixel = self.curve[usize::from(*pixel)];
        }
    }
}

/// Returns `3t² - 2t³`, rounded, between black (`t` = 0) and white (`t` = 1) of video. Luma
/// outside of that range stays.
fn steepen(luma: u8) -> u8 {
    const BLACK: u32 = 16;
    const WHITE: u32 = 235;
    const RANGE: u32 = WHITE - BLACK;
    if !(BLACK..=WHITE).contains(&u32::from(luma)) {
        return luma;
    }
    let t = u32::from(luma) - BLACK;
    let steep = (t * t * (3 * RANGE - 2 * t) + RANGE * RANGE / 2) / (RANGE * RANGE);
    u8::try_from(BLACK + steep).expect("the curve stays between black and white")
}

/// A fast 64-bit checksum over frames. It finds mistakes, not forgeries.
pub(crate) struct Checksum(u64);

impl Checksum {
    /// The fraction of the golden ratio, as an odd 64-bit number.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

    pub(crate) fn new() -> Self {
        Self(Self::MULTIPLIER)
    }

    /// Adds the length of a frame, then its bytes as little-endian words, the last padded with
    /// zeros.
    pub(crate) fn add(&mut self, frame: &[u8]) {
        self.add_word(frame.len() as u64);
        let words = frame.chunks_exact(8);
        let rest = words.remainder();
        for word in words {
            self.add_word(u64::from_le_bytes(word.try_into().expect("8 bytes")));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add_word(u64::from_le_bytes(last));
        }
    }

    /// A multiplication carries differences upward only. The shift brings them down again.
    fn add_word(&mut self, word: u64) {
        let product = (self.0 ^ word).wrapping_mul(Self::MULTIPLIER);
        self.0 = product ^ (product >> 32);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}
