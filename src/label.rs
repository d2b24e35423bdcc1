//! Names for the holders of frames, interned so that a label is one small number.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU16;

use arc_swap::ArcSwap;

use crate::sync::unmodeled::{LazyLock, Mutex, OnceLock};

/// Name of a pipeline stage that holds frames, such as `"encoder"`.
///
/// A label is an interned name: a 16-bit number, set on a frame with a single store. The names are
/// kept until the process exits, so label the stages of a pipeline, not its frames. A process can
/// have 4,096 labels, 2 of which the crate uses itself. Every name beyond that becomes the label
/// `"(label limit reached)"`.
///
/// Looking up a known name is one access to a hash table, without a lock. A hot loop keeps the
/// label instead.
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

/// All labels by name. Read without a lock; a new label replaces the whole map.
static LABELS: LazyLock<ArcSwap<Labels>> = LazyLock::new(|| {
    let known = [Label::LIMIT_REACHED, Label::GET_BUFFER];
    ArcSwap::from_pointee(known.map(|label| (label.name(), label)).into())
});

/// Serializes the additions to [`LABELS`] and [`NAMES`].
static ADDING: Mutex<()> = Mutex::new(());

/// Names by label number: label 1 at index 0. A fault handler reads it, so it takes no lock.
static NAMES: [OnceLock<&'static str>; MAX_LABELS] = [const { OnceLock::new() }; MAX_LABELS];

/// Maximum number of labels per process, the reserved ones included.
const MAX_LABELS: usize = 4096;

// `docs/process-state.md` says that the table takes 96 KiB.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<[OnceLock<&'static str>; MAX_LABELS]>() == 96 * 1024);

impl Label {
    /// Stands for every name beyond [`MAX_LABELS`].
    const LIMIT_REACHED: Self = Self(NonZeroU16::MIN);

    /// Label of the frames that a COM client acquires through `GetBuffer`.
    pub(crate) const GET_BUFFER: Self = Self(NonZeroU16::MIN.saturating_add(1));

    /// Returns the label with this name, and adds it if it is new.
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
        let label = number.map_or(Self::LIMIT_REACHED, Self);
        let Some(entry) = NAMES
            .get(label.index())
            .filter(|entry| entry.get().is_none())
        else {
            return Self::LIMIT_REACHED;
        };
        let name = *entry.get_or_init(|| String::leak(name.to_owned()));
        next.insert(name, label);
        LABELS.store(next.into());
        label
    }

    fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }

    /// Returns the name.
    ///
    /// ```
    /// # use ks_allocator::Label;
    /// assert_eq!(Label::new("sink").name(), "sink");
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LIMIT_REACHED => "(label limit reached)",
            Self::GET_BUFFER => "GetBuffer",
            // `add` stores the name before it returns the label.
            _ => NAMES[self.index()].get().copied().unwrap_or_default(),
        }
    }

    /// Returns the number of a label, or 0 for `None`.
    #[inline]
    pub(crate) fn to_number(label: Option<Self>) -> u16 {
        label.map_or(0, |label| label.0.get())
    }

    /// Reverses [`to_number`](Self::to_number).
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

/// Adds the name if it is new. A process has a limited number of names, so labels should be read
/// from trusted input only.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Label {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Ok(Self::new(&name))
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
    fn threads_that_add_the_same_names_get_the_same_labels() {
        let add = || ["one", "two", "three", "four"].map(Label::new);
        let threads = [(); 4].map(|()| std::thread::spawn(add));
        for thread in threads {
            assert_eq!(thread.join().unwrap(), add());
        }
        assert_eq!(add().map(Label::name), ["one", "two", "three", "four"]);
    }

    #[test]
    fn a_label_and_none_survive_the_conversion_to_a_number() {
        for label in [None, Some(Label::new("numbered"))] {
            assert_eq!(Label::from_number(Label::to_number(label)), label);
        }
    }

    #[cfg(feature = "windows")]
    #[test]
    fn the_label_of_com_clients_is_get_buffer() {
        assert_eq!(Label::GET_BUFFER.name(), "GetBuffer");
    }
}
