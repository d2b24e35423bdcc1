//! Test pattern in NV12: ramps that move from frame to frame.

#[derive(Debug)]
pub(crate) struct Pattern {
    width: usize,
    height: usize,
    /// A row, and 256 bytes more, by which a row can be shifted.
    ramp: Vec<u8>,
}

impl Pattern {
    pub(crate) fn full_hd() -> Self {
        let (width, height) = (1920, 1080);
        let ramp = (0..=u8::MAX).cycle().take(width + 256).collect();
        Self {
            width,
            height,
            ramp,
        }
    }

    pub(crate) fn frame_size(&self) -> usize {
        self.width * self.height * 3 / 2
    }

    /// Draws the frame with this number: luma, then both chroma channels in one plane of half as
    /// many rows.
    ///
    /// The first 8 bytes are the number, so that no two frames are equal.
    pub(crate) fn draw(&self, number: u64, frame: &mut [u8]) {
        let (luma, chroma) = frame.split_at_mut(self.width * self.height);
        self.draw_ramps(luma, 1, number);
        self.draw_ramps(chroma, 2, number.wrapping_mul(3));
        frame[..8].copy_from_slice(&number.to_le_bytes());
    }

    fn draw_ramps(&self, plane: &mut [u8], steep: u64, phase: u64) {
        for (row, y) in plane.chunks_exact_mut(self.width).zip(0..) {
            let [shift, ..] = phase.wrapping_add(steep * y).to_le_bytes();
            let shift = usize::from(shift);
            row.copy_from_slice(&self.ramp[shift..shift + self.width]);
        }
    }
}

/// Returns a checksum of the whole 64-bit words, which the owner and the borrower compare.
pub(crate) fn checksum(frame: &[u8]) -> u64 {
    frame.chunks_exact(8).fold(0, |sum: u64, word| {
        let word = u64::from_le_bytes(word.try_into().expect("8 bytes"));
        (sum ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32)
    })
}
