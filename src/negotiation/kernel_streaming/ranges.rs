//! Frame sizes, and how they change in a filter.

use crate::negotiation::sizes::Sizes;

use super::error::KsFramingError;

/// Frame sizes from a minimum to a maximum, in steps.
///
/// ```
/// use ks_allocator::Sizes;
/// use ks_allocator::kernel_streaming::SizeRange;
///
/// let range = SizeRange { min: 1_920, max: 19_200, step: 1_920 };
/// assert_eq!(range.sizes()?, Some(Sizes::between(1_920, 19_200).in_steps_of(1_920)));
/// assert_eq!(SizeRange::default().sizes()?, None);
/// # Ok::<(), ks_allocator::kernel_streaming::KsFramingError>(())
/// ```
#[doc(alias = "KS_FRAMING_RANGE")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SizeRange {
    /// Minimum size in bytes.
    #[doc(alias = "MinFrameSize")]
    pub min: u32,
    /// Maximum size in bytes; 0 for no requirement, if the minimum is 0, too; `0xFFFF_FFFF` for no
    /// maximum.
    #[doc(alias = "MaxFrameSize")]
    pub max: u32,
    /// Distance of the possible sizes, in bytes, from the minimum on. 0 is the same as 1. Without a
    /// requirement it has no effect.
    #[doc(alias = "Stepping")]
    pub step: u32,
}

impl SizeRange {
    /// Returns the sizes, or `None` if there is no requirement.
    ///
    /// # Errors
    ///
    /// Returns [`KsFramingError::EmptyRange`] if the minimum is above the maximum, and
    /// [`KsFramingError::Step`] for a step that is larger than the maximum less the minimum, unless
    /// it is 1: drivers write this for a single size.
    ///
    /// ```
    /// # use ks_allocator::kernel_streaming::SizeRange;
    /// let error = SizeRange { min: 100, max: 200, step: 101 }.sizes().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "steps of 101 bytes are larger than the range from 100 to 200"
    /// );
    /// ```
    pub fn sizes(self) -> Result<Option<Sizes>, KsFramingError> {
        let Self { min, max, step } = self;
        if (min, max) == (0, 0) {
            return Ok(None);
        }
        let Some(length) = max.checked_sub(min) else {
            return Err(KsFramingError::EmptyRange { min, max });
        };
        if step > length.max(1) {
            return Err(KsFramingError::Step { min, max, step });
        }
        let number = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let sizes = match max {
            u32::MAX => Sizes::at_least(number(min)),
            max => Sizes::between(number(min), number(max)),
        };
        Ok(Some(sizes.in_steps_of(number(step))))
    }
}

/// Frame sizes with two weights.
///
/// ```
/// use ks_allocator::kernel_streaming::WeightedRange;
/// assert_eq!(WeightedRange::default().in_place_weight, 0);
/// ```
#[doc(alias = "KS_FRAMING_RANGE_WEIGHTED")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WeightedRange {
    /// The sizes.
    #[doc(alias = "Range")]
    pub range: SizeRange,
    /// Weight for filters that work in place. Microsoft documents it as unsupported.
    #[doc(alias = "InPlaceWeight")]
    pub in_place_weight: u32,
    /// Weight for filters that copy. Microsoft documents it as unsupported.
    #[doc(alias = "NotInPlaceWeight")]
    pub not_in_place_weight: u32,
}

/// Ratio of the frame sizes behind and before a filter.
///
/// All fields are 0 if the ratio is not known.
///
/// ```
/// use ks_allocator::kernel_streaming::Compression;
///
/// let encoder = Compression { numerator: 1, denominator: 3, margin: 100 };
/// assert_eq!(encoder.output_size(10_000), Some(3_434)); // 3,333.3 and 100, rounded up
/// assert_eq!(Compression::UNKNOWN.output_size(10_000), None);
/// ```
#[doc(alias = "KS_COMPRESSION")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Compression {
    /// Dividend of the ratio: less than the divisor for a filter that compresses.
    #[doc(alias = "RatioNumerator")]
    pub numerator: u32,
    /// Divisor of the ratio.
    #[doc(alias = "RatioDenominator")]
    pub denominator: u32,
    /// Bytes that are added to each frame.
    #[doc(alias = "RatioConstantMargin")]
    pub margin: u32,
}

impl Compression {
    /// Frames keep their size.
    pub const NONE: Self = Self {
        numerator: 1,
        denominator: 1,
        margin: 0,
    };

    /// The ratio is not known.
    pub const UNKNOWN: Self = Self {
        numerator: 0,
        denominator: 0,
        margin: 0,
    };

    /// Returns the size in bytes that a frame of `input` bytes has behind the filter, rounded up.
    /// Returns `None` if the ratio is not known, or the size is too large.
    ///
    /// It is a size for the output of a [copying stage](crate::Stage::copying):
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes};
    /// # use ks_allocator::kernel_streaming::Compression;
    /// let decoder = Compression { numerator: 12, denominator: 1, margin: 0 };
    /// let size = decoder.output_size(50_000).ok_or("too large")?;
    /// let output = Requirements::new("decoder").sizes(Sizes::at_least(size));
    /// # assert_eq!(size, 600_000);
    /// # Ok::<(), &str>(())
    /// ```
    #[must_use]
    pub fn output_size(self, input: usize) -> Option<usize> {
        let product = input as u128 * u128::from(self.numerator);
        let denominator = Some(u128::from(self.denominator)).filter(|&divisor| divisor > 0)?;
        usize::try_from(product.div_ceil(denominator) + u128::from(self.margin)).ok()
    }

    pub(super) fn check(self) -> Result<(), KsFramingError> {
        if self.denominator == 0 && self != Self::UNKNOWN {
            let numerator = self.numerator;
            return Err(KsFramingError::Compression { numerator });
        }
        Ok(())
    }
}

/// Frames keep their size.
impl Default for Compression {
    fn default() -> Self {
        Self::NONE
    }
}
