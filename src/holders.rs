//! Acquirer has the frames of a pool: a report, to be read by people and by programs.

use std::cmp::Reverse;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::label::Label;

/// Acquirer had the frames of a pool, and who waited for one, at one moment: see
/// [`FramePool::holders`](crate::FramePool::holders).
///
/// It prints as one line that sums it up and a table, a row a frame. With `{:#}` it is the line alone.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(3).frame_size(64).build()?;
/// let _in_encoder = [(); 2].map(|()| pool.with_label("encoder").acquire());
/// let report = pool.holders();
/// assert_eq!((report.frames, report.free, report.entries.len()), (3, 1, 2));
/// assert!(format!("{report:#}").starts_with("2 of 3 frames out: 2 held by `encoder` ("));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Holders {
    /// Frames of the pool.
    pub frames: usize,
    /// Those of them that were free.
    pub free: usize,
    /// Those that were out, the longest held first.
    pub entries: Vec<Holder>,
    /// Callers that waited.
    pub waiting: usize,
    /// For how long the first in the line had waited.
    pub longest_waiting: Option<Duration>,
}

/// Acquirer had one frame.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Holder {
    /// The frame's slot.
    pub slot: usize,
    /// In what way it was out.
    pub state: HolderState,
    /// What the holder is called, if it is.
    pub label: Option<Label>,
    /// Where in the program the holder got the frame: the line of the acquire, or of the last
    /// [`set_label`](crate::Frame::set_label). Nowhere as long as nobody has it yet.
    pub location: Option<SourceLocation>,
    /// The thread that did so, by the number that the system has for it (on Linux and Windows; elsewhere
    /// by one of the crate's own).
    pub thread: u32,
    /// What that thread is called, where the system says, and if it still runs.
    pub thread_name: Option<String>,
    /// For how long at least the frame has been out. Unless the time is
    /// [taken at each acquire](crate::FramePoolBuilder::record_acquire_times), it counts from when somebody first
    /// looked: a caller who began to wait, or a report.
    pub held: Duration,
    /// Whether `held` is the whole time.
    pub exact: bool,
}

/// In what way a frame is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum HolderState {
    /// As a [`Frame`](crate::Frame), or a shared one with a single handle left.
    Unique,
    /// As so many handles of a [`SharedFrame`](crate::SharedFrame).
    Shared {
        /// How many.
        handles: usize,
    },
    /// To another process, by a [`FrameToken`](crate::FrameToken).
    Lent,
    /// In nobody's hands: it lies in a [`FrameBatch`](crate::FrameBatch), or was given to a caller who waited
    /// for it and has not run since (a future that is not polled, say).
    Unclaimed,
}

/// A line of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SourceLocation {
    /// The file, as the compiler was told of it.
    pub file: &'static str,
    /// The line, from 1 on.
    pub line: u32,
    /// The column, from 1 on.
    pub column: u32,
}

impl From<&'static Location<'static>> for SourceLocation {
    fn from(location: &'static Location<'static>) -> Self {
        Self {
            file: location.file(),
            line: location.line(),
            column: location.column(),
        }
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Holders {
    /// Those who have had their frame for at least so long, as far as is known: a deadline watch, if it is
    /// asked now and then.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// pool.holders(); // looks at the clock for the first time
    /// std::thread::sleep(Duration::from_millis(2));
    /// let late = pool.holders();
    /// assert_eq!(late.older_than(Duration::from_millis(2)).count(), 1);
    /// assert_eq!(late.older_than(Duration::from_secs(9)).count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn older_than(&self, age: Duration) -> impl Iterator<Item = &Holder> {
        self.entries.iter().filter(move |holder| holder.held >= age)
    }

    /// Frames that were out.
    fn out(&self) -> usize {
        self.frames - self.free
    }

    /// Holders that are told of in one go, the most frames first.
    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for holder in &self.entries {
            let group = Group::of(holder);
            match groups.iter_mut().find(|known| known.is_like(&group)) {
                Some(known) => known.count += 1,
                // The first of a group is its oldest, for the holders are in that order.
                None => groups.push(group),
            }
        }
        groups.sort_by_key(|group| Reverse(group.count));
        groups
    }
}

/// Frames that are in the same hands.
struct Group {
    count: usize,
    queued: bool,
    lent: bool,
    label: Option<Label>,
    location: Option<SourceLocation>,
    held: Held,
}

impl Group {
    fn of(holder: &Holder) -> Self {
        Self {
            count: 1,
            queued: holder.state == HolderState::Unclaimed,
            lent: holder.state == HolderState::Lent,
            label: holder.label,
            location: holder.location,
            held: Held::of(holder),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.queued, self.lent, self.label, self.location)
            == (other.queued, other.lent, other.label, other.location)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, .. } = self;
        match (self.queued, self.lent) {
            (true, _) => write!(f, "{count} taken and not picked up yet")?,
            (_, true) => write!(f, "{count} lent to another process")?,
            _ => write!(f, "{count} held")?,
        }
        match (self.label, self.location) {
            (Some(label), Some(location)) => write!(f, " by `{label}` ({location})")?,
            (Some(label), None) => write!(f, " by `{label}`")?,
            (None, Some(location)) => write!(f, " from {location} on")?,
            (None, None) => {}
        }
        match self.held.time {
            Duration::ZERO => Ok(()),
            _ => write!(f, " {}", self.held),
        }
    }
}

/// "for at least 412 ms"
#[derive(Clone, Copy)]
struct Held {
    time: Duration,
    exact: bool,
}

impl Held {
    fn of(holder: &Holder) -> Self {
        Self {
            time: holder.held,
            exact: holder.exact,
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.exact { "for " } else { "for at least " })?;
        write!(f, "{}", Rounded(self.time))
    }
}

/// A time as people say it.
pub(crate) struct Rounded(pub(crate) Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = self;
        match time.as_micros() {
            0..1_000 => write!(f, "{} µs", time.as_micros()),
            1_000..10_000_000 => write!(f, "{} ms", time.as_millis()),
            _ => write!(f, "{} s", time.as_secs()),
        }
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} frames out", self.out(), self.frames)?;
        for (number, group) in self.groups().iter().enumerate() {
            write!(f, "{}{group}", if number == 0 { ": " } else { ", " })?;
        }
        match (self.waiting, self.longest_waiting) {
            (0, _) => {}
            (1, None) => f.write_str("; 1 caller waiting")?,
            (1, Some(time)) => write!(f, "; 1 caller waiting, for {}", Rounded(time))?,
            (count, None) => write!(f, "; {count} callers waiting")?,
            (count, Some(time)) => {
                write!(f, "; {count} callers waiting, oldest {}", Rounded(time))?;
            }
        }
        if f.alternate() || self.entries.is_empty() {
            return Ok(());
        }
        self.write_table(f)
    }
}

impl Holders {
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["slot", "how", "by", "since", "thread", "from"].map(str::to_owned);
        let rows: Vec<_> = self.entries.iter().map(Holder::cells).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let cells = rows.iter().chain([&head]).map(|row| row[column].chars());
                cells.map(Iterator::count).max().unwrap_or(0)
            })
            .collect();
        for row in [&head].into_iter().chain(&rows) {
            f.write_str("\n")?;
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "  {cell:>width$}")?,
                    // Nothing follows the last.
                    5 => write!(f, "  {cell}")?,
                    _ => write!(f, "  {cell:width$}")?,
                }
            }
        }
        Ok(())
    }
}

impl Holder {
    /// The row of the table.
    fn cells(&self) -> [String; 6] {
        let or_none = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        let thread = match &self.thread_name {
            Some(name) => format!("{} {name}", self.thread),
            None => self.thread.to_string(),
        };
        [
            self.slot.to_string(),
            self.state.to_string(),
            or_none(self.label.map(|label| label.to_string())),
            or_none((!self.held.is_zero()).then(|| Held::of(self).to_string())),
            or_none(self.location.map(|_| thread)),
            or_none(self.location.map(|location| location.to_string())),
        ]
    }
}

impl fmt::Display for HolderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unique => f.write_str("unique"),
            Self::Shared { handles } => write!(f, "shared by {handles}"),
            Self::Lent => f.write_str("lent"),
            Self::Unclaimed => f.write_str("queued"),
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn holder(slot: usize, label: Option<&str>, line: u32, held: u64) -> Holder {
        Holder {
            slot,
            state: HolderState::Unique,
            label: label.map(Label::new),
            location: Some(SourceLocation {
                file: "src/enc.rs",
                line,
                column: 9,
            }),
            thread: 4711,
            thread_name: Some("encode".to_owned()),
            held: Duration::from_millis(held),
            exact: false,
        }
    }

    fn report() -> Holders {
        let lent = Holder {
            state: HolderState::Lent,
            ..holder(7, None, 90, 0)
        };
        let mut holders: Vec<_> = (0..5)
            .map(|slot| holder(slot, Some("encoder"), 88, 412 - slot as u64))
            .collect();
        holders.push(holder(5, Some("preview"), 31, 3));
        holders.push(holder(6, Some("preview"), 31, 0));
        holders.push(lent);
        Holders {
            frames: 8,
            free: 0,
            entries: holders,
            waiting: 3,
            longest_waiting: Some(Duration::from_millis(400)),
        }
    }

    #[test]
    fn one_line_says_who_has_most_since_when_and_from_where() {
        assert_eq!(
            format!("{:#}", report()),
            "8 of 8 frames out: 5 held by `encoder` (src/enc.rs:88) for at least 412 ms, \
             2 held by `preview` (src/enc.rs:31) for at least 3 ms, \
             1 lent to another process from src/enc.rs:90 on; \
             3 callers waiting, oldest 400 ms"
        );
    }

    #[test]
    fn the_table_has_a_row_a_frame_and_straight_columns() {
        let table = report().to_string();
        let rows: Vec<_> = table.lines().skip(1).collect();
        assert_eq!(rows.len(), 1 + 8);
        assert_eq!(
            rows[1],
            "     0  unique  encoder  for at least 412 ms  4711 encode  src/enc.rs:88"
        );
        let column = |row: &str| row.find("4711 encode").unwrap();
        assert!(rows[1..].iter().all(|row| column(row) == column(rows[1])));
    }

    #[test]
    fn a_pool_at_rest_is_one_short_line() {
        let report = Holders {
            frames: 4,
            free: 4,
            entries: Vec::new(),
            waiting: 0,
            longest_waiting: None,
        };
        assert_eq!(report.to_string(), "0 of 4 frames out");
    }
}
