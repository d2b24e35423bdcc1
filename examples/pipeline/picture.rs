//! The size of a picture, its 4:2:0 planes, and the clock it runs by.

/// The widest and the highest picture, in pixels.
///
/// With this bound no size below can overflow, on 32-bit targets either.
pub(crate) const MAX_SIDE: u32 = 16_384;

/// Width and height in pixels, each in `1..=MAX_SIDE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    width: u32,
    height: u32,
}

impl Size {
    pub(crate) const FULL_HD: Self = Self {
        width: 1920,
        height: 1080,
    };

    pub(crate) fn new(width: u32, height: u32) -> Option<Self> {
        let sides = 1..=MAX_SIDE;
        (sides.contains(&width) && sides.contains(&height)).then_some(Self { width, height })
    }

    pub(crate) fn width(self) -> usize {
        self.width as usize
    }

    pub(crate) fn height(self) -> usize {
        self.height as usize
    }

    /// The bytes of the luma plane, with which every 4:2:0 frame begins.
    pub(crate) fn luma(self) -> usize {
        self.width() * self.height()
    }

    /// The bytes of a frame: luma, and two chroma samples for every two by two pixels.
    ///
    /// A last odd column or row has chroma of its own.
    pub(crate) fn frame(self) -> usize {
        self.luma() + 2 * self.width().div_ceil(2) * self.height().div_ceil(2)
    }
}

/// Frames a second, as a fraction: `30000/1001` is the rate of NTSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    frames: u32,
    seconds: u32,
}

impl Rate {
    pub(crate) const HZ_25: Self = Self {
        frames: 25,
        seconds: 1,
    };
    pub(crate) const HZ_60: Self = Self {
        frames: 60,
        seconds: 1,
    };

    /// `None` if either number is 0.
    pub(crate) fn new(frames: u32, seconds: u32) -> Option<Self> {
        (frames != 0 && seconds != 0).then_some(Self { frames, seconds })
    }

    /// When the frame with this sequence number begins, in units of 100 ns.
    pub(crate) fn time_of(self, sequence: u64) -> i64 {
        const UNITS_PER_SECOND: u128 = 10_000_000;
        let units = u128::from(sequence) * UNITS_PER_SECOND * u128::from(self.seconds);
        i64::try_from(units / u128::from(self.frames)).unwrap_or(i64::MAX)
    }
}
