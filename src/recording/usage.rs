//! Use of a pool by label: who held how many frames, for how long, and who waited.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::holders::Rounded;
use crate::label::Label;

use super::event::{EventKind, Recording};
use super::timeline::{Owner, Span, Timeline};

/// Frames held and waits of all holders with one label, from [`Recording::usage`].
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(4).frame_size(64).record(100).build()?;
/// let frames = pool.with_label("encoder").acquire_many(3)?;
/// drop(frames);
/// let usage = pool.recording().expect("`record` turns the recorder on").usage();
/// assert_eq!(usage[0].label.map(|label| label.name()), Some("encoder"));
/// assert_eq!((usage[0].acquires, usage[0].most_at_once), (3, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LabelUsage {
    /// The label; `None` for all holders and callers without one.
    pub label: Option<Label>,
    /// Number of frames acquired.
    pub acquires: u64,
    /// Sum of the times for which frames were held: two frames that are held for a second each are
    /// two seconds.
    pub held: Duration,
    /// Maximum number of frames that were held at one time.
    pub most_at_once: usize,
    /// Number of waits that have begun.
    pub waits: u64,
    /// Sum of the durations of these waits.
    pub total_wait: Duration,
    /// Duration of the longest of them.
    pub longest_wait: Duration,
}

impl LabelUsage {
    fn of(label: Option<Label>) -> Self {
        Self {
            label,
            acquires: 0,
            held: Duration::ZERO,
            most_at_once: 0,
            waits: 0,
            total_wait: Duration::ZERO,
            longest_wait: Duration::ZERO,
        }
    }
}

impl fmt::Display for LabelUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            Some(label) => write!(f, "`{label}`"),
            None => f.write_str("without a label"),
        }?;
        write!(
            f,
            ": {} acquired, held for {} in all, at most {} at once; \
             {} waits, {} in all, {} at most",
            self.acquires,
            Rounded(self.held),
            self.most_at_once,
            self.waits,
            Rounded(self.total_wait),
            Rounded(self.longest_wait),
        )
    }
}

impl Recording {
    /// Returns the use of the pool by label, the label that held frames for the longest time first.
    ///
    /// It covers the recorded time. Frames whose holder is not known, because it became the holder
    /// before the first event, are left out, and so are those that no waiter has picked up yet.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// # let pool = FramePool::builder().frames(1).frame_size(64).record(100).build()?;
    /// drop(pool.with_label("camera").acquire()?);
    /// let recording = pool.recording().expect("`record` turns the recorder on");
    /// for usage in recording.usage() {
    ///     println!("{usage}");
    ///     assert!(usage.to_string().starts_with("`camera`: 1 acquired, held for "));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn usage(&self) -> Vec<LabelUsage> {
        let timeline = Timeline::new(self);
        let mut by_label: HashMap<Option<Label>, (LabelUsage, Vec<Span>)> = HashMap::new();
        let mut of = |label, use_entry: &mut dyn FnMut(&mut LabelUsage, &mut Vec<Span>)| {
            let entry = by_label.entry(label);
            let (usage, spans) = entry.or_insert_with(|| (LabelUsage::of(label), Vec::new()));
            use_entry(usage, spans);
        };
        for event in &self.events {
            if event.kind == EventKind::Acquired {
                of(event.label, &mut |usage, _| usage.acquires += 1);
            }
        }
        for hold in &timeline.holds {
            if let Some(label) = label_of(hold.owner) {
                of(label, &mut |usage, spans| {
                    usage.held = usage.held.saturating_add(hold.span.length());
                    spans.push(hold.span);
                });
            }
        }
        for wait in &timeline.waits {
            if let Some(label) = label_of(wait.caller) {
                of(label, &mut |usage, _| {
                    usage.waits += 1;
                    usage.total_wait = usage.total_wait.saturating_add(wait.span.length());
                    usage.longest_wait = usage.longest_wait.max(wait.span.length());
                });
            }
        }
        let mut all: Vec<_> = by_label
            .into_values()
            .map(|(usage, spans)| LabelUsage {
                most_at_once: most_at_once(&spans),
                ..usage
            })
            .collect();
        all.sort_by(|one, two| {
            let name = |usage: &LabelUsage| usage.label.map(Label::name);
            (two.held, name(one)).cmp(&(one.held, name(two)))
        });
        all
    }
}

impl Recording {
    /// Returns the number of frames of a share over time: one entry per change. Frames that were
    /// acquired before the first event are left out.
    #[cfg(feature = "recording-export")]
    pub(super) fn frames_of_share(&self, share: Label) -> Vec<(Duration, usize)> {
        let mut slots = HashSet::new();
        let mut counts = Vec::new();
        for event in &self.events {
            let changed = match (event.kind, event.slot) {
                (EventKind::Acquired, Some(slot)) if event.label == Some(share) => {
                    slots.insert(slot)
                }
                (EventKind::Acquired | EventKind::Released, Some(slot)) => slots.remove(&slot),
                _ => false,
            };
            if changed {
                counts.push((event.at, slots.len()));
            }
        }
        counts
    }
}

/// Returns the label of an owner, if the owner is known.
fn label_of(owner: Owner) -> Option<Option<Label>> {
    match owner {
        Owner::Label(label) => Some(Some(label)),
        Owner::Thread(_) => Some(None),
        Owner::Unclaimed | Owner::Unknown => None,
    }
}

/// Returns the maximum number of spans that contain one moment. A span does not contain its end.
fn most_at_once(spans: &[Span]) -> usize {
    let mut changes: Vec<(Duration, bool)> = spans
        .iter()
        .flat_map(|span| [(span.from, true), (span.to, false)])
        .collect();
    // Ends sort before starts of the same time.
    changes.sort_unstable();
    let (mut now, mut most) = (0_usize, 0);
    for (_, begins) in changes {
        if begins {
            now += 1;
            most = most.max(now);
        } else {
            now = now.saturating_sub(1);
        }
    }
    most
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::event::tests::{event, recording};
    use super::*;

    #[test]
    fn frames_and_waits_are_summed_up_by_label() {
        use EventKind::{Acquired, Released, Transferred, WaitBegan, WaitGivenUp};
        let events = [
            event(0, Acquired, 0, "camera"),
            event(10, Acquired, 1, "camera"),
            event(15, WaitBegan, 0, "camera"),
            event(20, Transferred, 0, "encoder"),
            event(25, WaitGivenUp, 0, "camera"),
            event(30, Released, 1, ""),
            event(40, Released, 0, ""),
        ];
        let usage = recording(&events, 0, 50).usage();
        let milliseconds = Duration::from_millis;
        let camera = LabelUsage {
            label: Some(Label::new("camera")),
            acquires: 2,
            held: milliseconds(40),
            most_at_once: 2,
            waits: 1,
            total_wait: milliseconds(10),
            longest_wait: milliseconds(10),
        };
        let encoder = LabelUsage {
            held: milliseconds(20),
            most_at_once: 1,
            ..LabelUsage::of(Some(Label::new("encoder")))
        };
        assert_eq!(usage, [camera, encoder]);
    }

    #[test]
    fn holders_without_a_label_are_one_entry_and_unknown_holders_none() {
        use EventKind::{Acquired, Released};
        let events = [
            event(5, Released, 1, ""),
            event(10, Acquired, 0, ""),
            event(20, Released, 0, ""),
            event(20, Acquired, 1, ""),
        ];
        let usage = recording(&events, 0, 30).usage();
        assert_eq!(usage.len(), 1);
        assert_eq!((usage[0].label, usage[0].acquires), (None, 2));
        assert_eq!(usage[0].held, Duration::from_millis(20));
        assert_eq!(usage[0].most_at_once, 1, "one ends when the other begins");
        let text = usage[0].to_string();
        assert!(
            text.starts_with("without a label: 2 acquired, held for 20 ms"),
            "{text}"
        );
    }

    #[test]
    fn an_empty_recording_has_no_usage() {
        assert!(recording(&[], 0, 0).usage().is_empty());
    }
}
