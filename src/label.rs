//! What the stages of a pipeline are called in reports.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU16;

use arc_swap::ArcSwap;

use crate::sync::{PlainLazy, PlainMutex};

/// The name of a stage that holds frames, such as `"encoder"`.
///
/// A label is a number that stands for a name, so that it can be put on a frame by a single store. The names
/// are kept for as long as the process lives: they are to be those of stages, of which there are few, and
/// not of frames. A process has room for 65,533 of them; all others become one, `"(one label too many)"`.
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
/// let frame = pool.labelled(encoder).acquire()?;
/// assert_eq!(pool.holders().holders[0].label, Some(encoder));
/// # drop(frame);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(NonZeroU16);

/// The names so far, found both ways. Read without a lock; replaced as a whole when there is a new one.
struct Names {
    labels: HashMap<&'static str, Label>,
    /// The name of label 1, and so on.
    names: Vec<&'static str>,
}

static NAMES: PlainLazy<ArcSwap<Names>> = PlainLazy::new(|| {
    let mut names = Names {
        labels: HashMap::new(),
        names: Vec::new(),
    };
    for known in ["(one label too many)", "GetBuffer"] {
        names.add(known);
    }
    ArcSwap::from_pointee(names)
});

/// Held while the names are replaced.
static ADDING: PlainMutex<()> = PlainMutex::new(());

impl Names {
    /// The next label; the first of all if there are too many.
    fn add(&mut self, name: &'static str) -> Label {
        let number = u16::try_from(self.names.len() + 1).map(NonZeroU16::new);
        let Ok(Some(number)) = number else {
            return Label::TOO_MANY;
        };
        self.names.push(name);
        self.labels.insert(name, Label(number));
        Label(number)
    }

    fn find(&self, name: &str) -> Option<Label> {
        self.labels.get(name).copied()
    }
}

impl Label {
    /// For all that there is no room for.
    const TOO_MANY: Self = Self(NonZeroU16::MIN);

    /// For frames that a COM client got.
    #[cfg(feature = "windows")]
    pub(crate) const GET_BUFFER: Self = Self(NonZeroU16::MIN.saturating_add(1));

    /// The label of this name.
    ///
    /// ```
    /// # use ks_allocator::Label;
    /// assert_ne!(Label::new("decoder"), Label::new("encoder"));
    /// ```
    #[must_use]
    pub fn new(name: &str) -> Self {
        NAMES.load().find(name).unwrap_or_else(|| Self::add(name))
    }

    #[cold]
    fn add(name: &str) -> Self {
        let _adding = ADDING.lock();
        let now = NAMES.load();
        if let Some(label) = now.find(name) {
            return label;
        }
        if now.names.len() >= usize::from(u16::MAX) {
            return Self::TOO_MANY;
        }
        let mut next = Names {
            labels: now.labels.clone(),
            names: now.names.clone(),
        };
        let label = next.add(String::leak(name.to_owned()));
        NAMES.store(next.into());
        label
    }

    /// What it stands for.
    ///
    /// ```
    /// # use ks_allocator::Label;
    /// assert_eq!(Label::new("sink").name(), "sink");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.load().names[usize::from(self.0.get()) - 1]
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
