//! Frame sizes that suit a party.

use std::fmt;

use super::grouped::grouped;

/// Frame sizes that a party can work with, in bytes: from a minimum to a maximum, in steps.
///
/// ```
/// use ks_allocator::Sizes;
///
/// let sizes = Sizes::between(1_000, 4_000).in_steps_of(500).preferably(2_000);
/// assert_eq!(
///     sizes.to_string(),
///     "a frame size from 1,000 to 4,000 bytes in steps of 500 (preferably 2,000)"
/// );
/// ```
#[doc(alias = "KS_FRAMING_RANGE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) step: usize,
    pub(super) preferred: Option<usize>,
}

impl Sizes {
    /// Describes all sizes from `min` to `max`.
    ///
    /// ```
    /// # use ks_allocator::Sizes;
    /// assert_eq!(Sizes::between(9, 9), Sizes::exactly(9));
    /// ```
    #[must_use]
    pub const fn between(min: usize, max: usize) -> Self {
        Self {
            min,
            max,
            step: 1,
            preferred: None,
        }
    }

    /// Describes a single size.
    ///
    /// ```
    /// # use ks_allocator::Sizes;
    /// assert_eq!(Sizes::exactly(9).to_string(), "a frame size of 9 bytes");
    /// ```
    #[must_use]
    pub const fn exactly(size: usize) -> Self {
        Self::between(size, size)
    }

    /// Describes all sizes from `min` on.
    ///
    /// ```
    /// # use ks_allocator::Sizes;
    /// assert_eq!(Sizes::at_least(9).to_string(), "a frame size of at least 9 bytes");
    /// ```
    #[must_use]
    pub const fn at_least(min: usize) -> Self {
        Self::between(min, usize::MAX)
    }

    /// Keeps the sizes that differ from the minimum by a multiple of `step`. A step of 0 is one of
    /// 1.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let steps = Requirements::new("driver").sizes(Sizes::at_least(100).in_steps_of(64));
    /// let other = Requirements::new("encoder").sizes(Sizes::at_least(200));
    /// assert_eq!(negotiate(&[steps, other])?.framing().frame_size, 228);
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub const fn in_steps_of(mut self, step: usize) -> Self {
        self.step = if step == 0 { 1 } else { step };
        self
    }

    /// Sets the size that the party likes best. It is a wish that comes after all others. Of the
    /// preferred sizes of several parties, the largest comes first. If it is not met, the agreement
    /// lists it with the [unmet wishes](crate::Agreement::unmet_wishes). If none is met, the frame
    /// size is the nearest to the largest of them. So it is with a size that is not one of the
    /// party's own: `Sizes::between(100, 300).preferably(400)` is a wish for 300.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let sizes = Sizes::between(100, 1_000).preferably(400);
    /// let encoder = Requirements::new("encoder").sizes(sizes);
    /// let agreement = negotiate(&[encoder.clone()])?;
    /// assert_eq!(agreement.framing().frame_size, 400);
    ///
    /// let disk = Requirements::new("disk").sizes(Sizes::at_least(512));
    /// let agreement = negotiate(&[encoder, disk])?;
    /// assert_eq!(agreement.framing().frame_size, 512);
    /// assert_eq!(
    ///     agreement.unmet_wishes()[0].conflict.to_string(),
    ///     "`disk` needs a frame size of at least 512 bytes, `encoder` wants a frame size of 400 \
    ///      bytes: a frame would have at least 512 and at most 400 bytes"
    /// );
    /// # Ok::<(), ks_allocator::Conflict>(())
    /// ```
    #[must_use]
    pub const fn preferably(mut self, size: usize) -> Self {
        self.preferred = Some(size);
        self
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (grouped(self.min), grouped(self.max));
        if self.min == self.max {
            write!(f, "a frame size of {min} bytes")?;
        } else {
            match self.max {
                usize::MAX => write!(f, "a frame size of at least {min} bytes")?,
                _ => write!(f, "a frame size from {min} to {max} bytes")?,
            }
            if self.step > 1 {
                write!(f, " in steps of {}", grouped(self.step))?;
            }
        }
        if let Some(preferred) = self.preferred {
            write!(f, " (preferably {})", grouped(preferred))?;
        }
        Ok(())
    }
}
