//! What the filter does: more contrast, by a look-up table over the luma of each pixel.

/// The range that video keeps its luma in.
const BLACK: u32 = 16;
const WHITE: u32 = 235;

/// A smooth S: black, white and what lies outside them stay, the middle gets steeper.
pub(crate) fn curve() -> [u8; 256] {
    std::array::from_fn(|luma| {
        let luma = u8::try_from(luma).expect("256 entries");
        steepen(luma)
    })
}

/// `3t² - 2t³` between black (`t` = 0) and white (`t` = 1), rounded.
fn steepen(luma: u8) -> u8 {
    const RANGE: u32 = WHITE - BLACK;
    if !(BLACK..=WHITE).contains(&u32::from(luma)) {
        return luma;
    }
    let t = u32::from(luma) - BLACK;
    let steep = (t * t * (3 * RANGE - 2 * t) + RANGE * RANGE / 2) / (RANGE * RANGE);
    u8::try_from(BLACK + steep).expect("the curve stays between black and white")
}

pub(crate) fn apply(curve: &[u8; 256], luma: &mut [u8]) {
    for pixel in luma {
        *pixel = curve[usize::from(*pixel)];
    }
}
