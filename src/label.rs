//! What the stages of a pipeline are called in reports.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU16;

use arc_swap::ArcSwap;

use crate::sync::unmodeled::{LazyLock, Mutex, OnceLock};

/// The name of a stage that holds frames, such as `"encoder"`.
///
/// A label is a number that stands for a name, so that it can be put on a frame by a single store. The names
/// are kept for as long as the process lives: they are to be those of stages, of which there are few, and
/// not of frames. A process has room for 4,096 of them; all that come later become one, `"(one label too many)"`.
///
/// To make one of a name that is known already takes a look into a table, without a lock. A loop that is
/// in a hurry keeps the label.
///
/// ```
/// use ks_allocator::{FramePool, Label};
///
/// let encoder = Label::new("encoder");
/// assert_eq!(encoder, "encoder".into());
/// assert_eq!(encoder.name(), "encoder");
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// let frame = pool.with_label(encoder).acquire()?;
/// assert_eq!(pool.holders().entries[0].label, Some(encoder));
/// # drop(frame);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(NonZeroU16);

type Labels = HashMap<&'static str, Label>;

/// The labels so far, by name. Read without a lock; replaced as a whole when there is a new one.
static LABELS: LazyLock<ArcSwap<Labels>> = LazyLock::new(|| {
    let known = [Label::TOO_MANY, Label::GET_BUFFER];
    ArcSwap::from_pointee(known.map(|label| (label.name(), label)).into())
});

/// Held while there is a new one.
static ADDING: Mutex<()> = Mutex::new(());

/// The name of label 1, and so on. To be read in a handler of faults, too.
static NAMES: [OnceLock<&'static str>; MOST] = [const { OnceLock::new() }; MOST];

const MOST: usize = 4096;

impl Label {
    /// For all that there is no room for.
    const TOO_MANY: Self = Self(NonZeroU16::MIN);

    /// For frames that a COM client got.
    pub(crate) const GET_BUFFER: Self = Self(NonZeroU16::MIN.saturating_add(1));

    /// The label of this name.
    ///
    /// ```
    /// # use ks_allocator::Label;
    /// assert_ne!(Label::new("decoder"), Label::new("encoder"));
    /// ```
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::find(name).unwrap_or_else(|| Self::add(name))
    }

    fn find(name: &str) -> Option<Self> {
        LABELS.load().get(name).copied()
    }

    #[cold]
    fn add(name: &str) -> Self {
        let _adding = ADDING.lock();
        if let Some(label) = Self::find(name) {
            return label;
        }
        let mut next = (**LABELS.load()).clone();
        let number = u16::try_from(next.len() + 1).ok().and_then(NonZeroU16::new);
        let label = number.map_or(Self::TOO_MANY, Self);
        let Some(place) = NAMES
            .get(label.index())
            .filter(|place| place.get().is_none())
        else {
            return Self::TOO_MANY;
        };
        let name = *place.get_or_init(|| String::leak(name.to_owned()));
        next.insert(name, label);
        LABELS.store(next.into());
        label
    }

    fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }

    /// What it stands for.
    ///
    /// ```
    /// # use ks_allocator::Label;
    /// assert_eq!(Label::new("sink").name(), "sink");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TOO_MANY => "(one label too many)",
            Self::GET_BUFFER => "GetBuffer",
            // A label is given out after its name is there.
            _ => NAMES[self.index()].get().copied().unwrap_or_default(),
        }
    }

    /// A number for a label, or 0 for none.
    #[inline]
    pub(crate) fn to_number(label: Option<Self>) -> u16 {
        label.map_or(0, |label| label.0.get())
    }

    /// The label again that [`to_number`](Self::to_number) made a number of.
    pub(crate) fn from_number(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }
}

impl From<&str> for Label {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Label").field(&self.name()).finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_label_whoever_asks_first() {
        let ask = || ["one", "two", "three", "four"].map(Label::new);
        let threads = [(); 4].map(|()| std::thread::spawn(ask));
        for thread in threads {
            assert_eq!(thread.join().unwrap(), ask());
        }
        assert_eq!(ask().map(Label::name), ["one", "two", "three", "four"]);
    }

    #[test]
    fn a_label_and_none_have_numbers() {
        for label in [None, Some(Label::new("numbered"))] {
            assert_eq!(Label::from_number(Label::to_number(label)), label);
        }
    }

    #[cfg(feature = "windows")]
    #[test]
    fn the_label_of_com_has_its_name() {
        assert_eq!(Label::GET_BUFFER.name(), "GetBuffer");
    }
}
