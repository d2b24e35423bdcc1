//! A test pattern that moves: scrolling colour bars over a scrolling ramp, a box that bounces off
//! the edges, and the frame's number as a bar code.
//!
//! Frames are NV12: the luma plane, then one plane of Cb and Cr in turn.

use crate::picture::Size;

/// Y, Cb and Cr of the eight bars, at 75 % of full colour.
const BARS: [[u8; 3]; 8] = [
    [180, 128, 128], // white
    [168, 44, 136],  // yellow
    [145, 147, 44],  // cyan
    [133, 63, 52],   // green
    [63, 193, 204],  // magenta
    [51, 109, 212],  // red
    [28, 212, 120],  // blue
    [16, 128, 128],  // black
];
const BLACK: u8 = 16;
const WHITE: u8 = 235;
const GREY: u8 = 128;

/// How far the bars scroll, and the box moves, from one frame to the next: even, so that chroma
/// moves by whole samples.
const SCROLL: u64 = 8;
const BOX_RIGHT: u64 = 6;
const BOX_DOWN: u64 = 4;

/// The bar code shows this many of the frame number's low bits.
const CODE_BITS: usize = 32;

/// Draws any frame of the pattern.
///
/// Rows are drawn once, twice as long as the picture is wide, and a frame is put together from
/// pieces of them: filling a frame costs little more than copying it.
#[derive(Debug)]
pub(crate) struct Pattern {
    size: Size,
    luma_bars: Vec<u8>,
    luma_ramp: Vec<u8>,
    chroma_bars: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new(size: Size) -> Self {
        let width = size.width();
        let chroma_width = width.div_ceil(2);
        let bar = |x: usize, width: usize| BARS[x % width * BARS.len() / width];
        Self {
            size,
            luma_bars: (0..2 * width).map(|x| bar(x, width)[0]).collect(),
            luma_ramp: (0..2 * width).map(|x| ramp(x % width, width)).collect(),
            chroma_bars: (0..2 * chroma_width)
                .flat_map(|x| {
                    let [_, cb, cr] = bar(x, chroma_width);
                    [cb, cr]
                })
                .collect(),
        }
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Writes every byte of the first [`Size::frame`] bytes of `frame`.
    ///
    /// # Panics
    ///
    /// If `frame` is shorter than that.
    pub(crate) fn draw(&self, number: u64, frame: &mut [u8]) {
        let (luma, chroma) = frame[..self.size.frame()].split_at_mut(self.size.luma());
        self.draw_background(number, luma, chroma);
        self.draw_box(number, luma, chroma);
        self.draw_code(number, luma);
    }

    /// Bars in the upper three quarters, the ramp in the last.
    fn draw_background(&self, number: u64, luma: &mut [u8], chroma: &mut [u8]) {
        let width = self.size.width();
        let horizon = self.size.height() * 3 / 4;
        let scroll = remainder(number.wrapping_mul(SCROLL), width);

        let bars = &self.luma_bars[scroll..][..width];
        let ramp = &self.luma_ramp[scroll..][..width];
        for (y, row) in luma.chunks_exact_mut(width).enumerate() {
            row.copy_from_slice(if y < horizon { bars } else { ramp });
        }

        let width = 2 * width.div_ceil(2);
        let bars = &self.chroma_bars[scroll / 2 * 2..][..width];
        for (y, row) in chroma.chunks_exact_mut(width).enumerate() {
            if 2 * y < horizon {
                row.copy_from_slice(bars);
            } else {
                row.fill(GREY);
            }
        }
    }

    fn draw_box(&self, number: u64, luma: &mut [u8], chroma: &mut [u8]) {
        let (width, height) = (self.size.width(), self.size.height());
        let side = (height.min(width) / 6).next_multiple_of(2);
        // Even, so that the box covers whole chroma samples.
        let left = bounce(number.wrapping_mul(BOX_RIGHT), width - side) & !1;
        let top = bounce(number.wrapping_mul(BOX_DOWN), height - side) & !1;

        for row in luma.chunks_exact_mut(width).skip(top).take(side) {
            row[left..][..side].fill(WHITE);
        }
        let chroma_rows = chroma.chunks_exact_mut(2 * width.div_ceil(2));
        for row in chroma_rows.skip(top / 2).take(side / 2) {
            row[left..][..side].fill(GREY);
        }
    }

    /// One square a bit, the highest bit first; what does not fit is left out.
    fn draw_code(&self, number: u64, luma: &mut [u8]) {
        let side = (self.size.height() / 45).max(1);
        for row in luma.chunks_exact_mut(self.size.width()).take(side) {
            for (cell, pixels) in row.chunks_mut(side).take(CODE_BITS).enumerate() {
                let bit = number >> (CODE_BITS - 1 - cell) & 1;
                pixels.fill(if bit == 1 { WHITE } else { BLACK });
            }
        }
    }
}

/// From black on the left to white on the right.
fn ramp(x: usize, width: usize) -> u8 {
    let step = x * usize::from(WHITE - BLACK) / width;
    BLACK + u8::try_from(step).expect("x is less than the width")
}

/// Where something is that has moved by `distance`, to and fro between 0 and `end`.
fn bounce(distance: u64, end: usize) -> usize {
    if end == 0 {
        return 0;
    }
    let there_and_back = remainder(distance, 2 * end);
    there_and_back.min(2 * end - there_and_back)
}

fn remainder(distance: u64, length: usize) -> usize {
    usize::try_from(distance % length as u64).expect("less than `length`")
}
