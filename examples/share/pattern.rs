//! What the frames show: slopes that move from frame to frame, as NV12.

use crate::checksum::Checksum;

#[derive(Debug)]
pub(crate) struct Pattern {
    width: usize,
    height: usize,
    /// As wide as a row, and so much more as a slope can be shifted.
    slope: Vec<u8>,
}

impl Pattern {
    pub(crate) fn full_hd() -> Self {
        let (width, height) = (1920, 1080);
        let slope = (0..=u8::MAX).cycle().take(width + 256).collect();
        Self {
            width,
            height,
            slope,
        }
    }

    pub(crate) fn frame_size(&self) -> usize {
        self.width * self.height * 3 / 2
    }

    /// Draws the frame with this number: luma, then both chromas in one plane of half as many rows.
    ///
    /// The first pixels are the number itself, so that no two frames are the same.
    pub(crate) fn draw(&self, number: u64, frame: &mut [u8]) {
        let (luma, chroma) = frame.split_at_mut(self.width * self.height);
        self.slopes(luma, 1, number);
        self.slopes(chroma, 2, number.wrapping_mul(3));
        frame[..8].copy_from_slice(&number.to_le_bytes());
    }

    fn slopes(&self, plane: &mut [u8], steep: u64, phase: u64) {
        for (row, y) in plane.chunks_exact_mut(self.width).zip(0..) {
            let [shift, ..] = phase.wrapping_add(steep * y).to_le_bytes();
            let shift = usize::from(shift);
            row.copy_from_slice(&self.slope[shift..shift + self.width]);
        }
    }
}

/// What the owner and the borrower of a frame both make of it.
pub(crate) fn checksum(frame: &[u8]) -> u64 {
    let mut checksum = Checksum::new();
    checksum.frame(frame);
    checksum.value()
}
