//! Report on the holders of a pool's frames, readable by people and by programs.

use std::cmp::Reverse;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::label::Label;
use crate::share::ShareUsage;

/// Report on the frames that were out, and the callers that were waiting, at one moment: see
/// [`FramePool::holders`](crate::FramePool::holders).
///
/// `{}` prints a one-line summary and a table with one row per frame. `{:#}` prints the summary
/// alone.
///
/// # Reports of waiting callers
///
/// [`FramePool::holders`](crate::FramePool::holders) lists all frames. The reports in errors, for
/// [`on_starved`](crate::FramePoolBuilder::on_starved) and in `tracing` events about waits are made
/// by callers that have a deadline, so their cost is bounded. They look at no more than 256 slots,
/// evenly spread over the pool, and count the frames of the other slots in `omitted`. They read no
/// thread names, which takes a file access per thread on Linux. If memory runs out, they list fewer
/// frames.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(3).frame_size(64).build()?;
/// let _in_encoder = [(); 2].map(|()| pool.with_label("encoder").acquire());
/// let report = pool.holders();
/// assert_eq!((report.frames, report.free, report.entries.len()), (3, 1, 2));
/// assert!(format!("{report:#}").starts_with("2 of 3 frames are out: 2 held by `encoder` ("));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Holders {
    /// Name of the pool, if it has one.
    pub pool: Option<Label>,
    /// Number of frames in the pool.
    pub frames: usize,
    /// Number of frames that were free.
    pub free: usize,
    /// One entry per frame that was out, longest held first. `omitted` frames are missing.
    pub entries: Vec<Holder>,
    /// Number of frames that were out and have no entry. It is 0 in pools of at most 256 frames,
    /// and in reports of [`FramePool::holders`](crate::FramePool::holders) unless memory ran out.
    pub omitted: usize,
    /// Number of callers that were waiting for a frame.
    pub waiting: usize,
    /// Time that the first caller in the wait queue had waited; `None` if no caller was waiting.
    pub longest_waiting: Option<Duration>,
    /// The [shares](crate::Share) of the pool. Empty in
    /// [reports of waiting callers](Holders#reports-of-waiting-callers), whose errors say what the
    /// share of the caller lacked.
    pub shares: Vec<ShareUsage>,
}

/// Holder of one frame.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Holder {
    /// Slot of the frame, counted from 0.
    pub slot: usize,
    /// State that the frame was out in.
    pub state: HolderState,
    /// Number of [loans](crate::SharedFrame::lend) to other processes.
    pub loans: usize,
    /// Label of the holder, if it has one.
    pub label: Option<Label>,
    /// Source line of the call that made this holder the holder: the acquire, the redeem, or the
    /// last [`set_label`](crate::Frame::set_label). `None` while the frame is
    /// [unclaimed](HolderState::Unclaimed), and if that call was made in a library with a copy of
    /// the crate of its own.
    pub location: Option<SourceLocation>,
    /// Identifier of the thread that made that call: the system's on Linux and Windows, a number
    /// that the crate assigns elsewhere. It has no meaning while the frame is
    /// [unclaimed](HolderState::Unclaimed).
    pub thread: u32,
    /// Name of that thread, if the system reports names and the thread still runs. `None` in
    /// [reports of waiting callers](Holders#reports-of-waiting-callers).
    pub thread_name: Option<String>,
    /// Minimum time that the frame had been out since its acquire. A transfer to another holder
    /// does not restart it.
    ///
    /// With [`record_acquire_times`](crate::FramePoolBuilder::record_acquire_times) it counts from
    /// the acquire. Otherwise it counts from the first time that the pool looked at its holders
    /// after the acquire: it looks for each report, and when callers begin to wait. It is 0 while
    /// the frame is [unclaimed](HolderState::Unclaimed).
    pub held_for: Duration,
    /// `true` if `held_for` counts from the acquire, `false` if it is a lower bound.
    pub exact: bool,
}

/// State of a frame that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum HolderState {
    /// Held through a [`Frame`](crate::Frame), or through the only handle of a
    /// [`SharedFrame`](crate::SharedFrame).
    Unique,
    /// Held through several handles of a [`SharedFrame`](crate::SharedFrame), some of which may
    /// be lent.
    Shared {
        /// Number of handles, loans included, at least 2.
        handles: usize,
    },
    /// Lent to other processes through [`FrameToken`](crate::FrameToken)s. This process has no
    /// handle of it.
    Lent,
    /// Taken out of the free list a moment ago, by a thread that has not recorded itself yet.
    ///
    /// The thread does so a few instructions later, unless it is preempted in between. A frame in a
    /// [`FrameBatch`](crate::FrameBatch) is held by the call that acquired the batch, and a frame
    /// that was assigned to a waiter is held by the waiter, whether it has run since or not.
    Unclaimed,
}

/// Position in the source code of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SourceLocation {
    /// Path of the file, as it was passed to the compiler.
    pub file: &'static str,
    /// Line, counted from 1.
    pub line: u32,
    /// Column, counted from 1.
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
    /// Returns the holders whose [`held_for`](Holder::held_for) is at least `age`.
    ///
    /// A program that calls this periodically detects frames that miss a deadline.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).build()?;
    /// let frame = pool.acquire()?;
    /// pool.holders(); // the first look: `held_for` counts from here
    /// std::thread::sleep(Duration::from_millis(2));
    /// let report = pool.holders();
    /// assert_eq!(report.older_than(Duration::from_millis(2)).count(), 1);
    /// assert_eq!(report.older_than(Duration::from_secs(9)).count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn older_than(&self, age: Duration) -> impl Iterator<Item = &Holder> {
        self.entries
            .iter()
            .filter(move |holder| holder.held_for >= age)
    }

    /// Returns the number of frames that were out.
    fn out(&self) -> usize {
        self.frames - self.free
    }

    /// Returns the groups of the summary, those with the most frames first.
    fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for holder in &self.entries {
            let group = Group::of(holder);
            match groups.iter_mut().find(|known| known.has_key_of(&group)) {
                Some(known) => known.count += 1,
                // The entries are sorted by age, so a group has the time of its oldest frame.
                None => groups.push(group),
            }
        }
        groups.sort_by_key(|group| Reverse(group.count));
        groups
    }
}

/// Frames that the summary counts together: same kind of holder, label and location.
struct Group {
    count: usize,
    unclaimed: bool,
    lent: bool,
    label: Option<Label>,
    location: Option<SourceLocation>,
    /// Of the oldest frame.
    held_for: HeldFor,
}

impl Group {
    fn of(holder: &Holder) -> Self {
        Self {
            count: 1,
            unclaimed: holder.state == HolderState::Unclaimed,
            lent: holder.state == HolderState::Lent,
            label: holder.label,
            location: holder.location,
            held_for: HeldFor::of(holder),
        }
    }

    fn has_key_of(&self, other: &Self) -> bool {
        (self.unclaimed, self.lent, self.label, self.location)
            == (other.unclaimed, other.lent, other.label, other.location)
    }
}

/// ``5 held by `encoder` (src/enc.rs:88) for at least 412 ms``
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, .. } = self;
        if self.unclaimed {
            write!(f, "{count} unclaimed (being acquired)")?;
        } else if self.lent {
            write!(f, "{count} lent to another process")?;
        } else {
            write!(f, "{count} held")?;
        }
        match (self.label, self.location) {
            (Some(label), Some(location)) => write!(f, " by `{label}` ({location})")?,
            (Some(label), None) => write!(f, " by `{label}`")?,
            (None, Some(location)) => write!(f, " by {location}")?,
            (None, None) if self.unclaimed || self.lent => {}
            (None, None) => write!(f, " in another library")?,
        }
        if self.held_for.time.is_zero() {
            Ok(())
        } else {
            write!(f, " for {}", self.held_for)
        }
    }
}

/// Time of a holder as text: `at least 412 ms`, or `412 ms` if it is exact.
#[derive(Clone, Copy)]
struct HeldFor {
    time: Duration,
    exact: bool,
}

impl HeldFor {
    fn of(holder: &Holder) -> Self {
        Self {
            time: holder.held_for,
            exact: holder.exact,
        }
    }
}

impl fmt::Display for HeldFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.exact {
            f.write_str("at least ")?;
        }
        Rounded(self.time).fmt(f)
    }
}

/// Duration as short text: `15 µs`, `412 ms`, `1.1 s` or `73 s`.
///
/// It is rounded down, so that "at least" stays true.
pub(crate) struct Rounded(pub(crate) Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = self;
        match time.as_micros() {
            0..1_000 => write!(f, "{} µs", time.as_micros()),
            1_000..1_000_000 => write!(f, "{} ms", time.as_millis()),
            1_000_000..10_000_000 => {
                write!(f, "{}.{} s", time.as_secs(), time.subsec_millis() / 100)
            }
            _ => write!(f, "{} s", time.as_secs()),
        }
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, frames) = (self.out(), self.frames);
        let noun = if frames == 1 { "frame" } else { "frames" };
        let verb = if out == 1 { "is" } else { "are" };
        write!(f, "{out} of {frames} {noun} ")?;
        if let Some(pool) = self.pool {
            write!(f, "of `{pool}` ")?;
        }
        write!(f, "{verb} out")?;
        if self.omitted > 0 && !self.entries.is_empty() {
            write!(f, "; of {} of these", self.entries.len())?;
        }
        for (number, group) in self.groups().iter().enumerate() {
            write!(f, "{}{group}", if number == 0 { ": " } else { ", " })?;
        }
        match (self.waiting, self.longest_waiting.map(Rounded)) {
            (0, _) => {}
            (1, None) => f.write_str("; 1 caller is waiting")?,
            (1, Some(time)) => write!(f, "; 1 caller has been waiting for {time}")?,
            (count, None) => write!(f, "; {count} callers are waiting")?,
            (count, Some(time)) => {
                write!(f, "; {count} callers are waiting, the longest for {time}")?;
            }
        }
        for share in &self.shares {
            write!(f, "; {share}")?;
        }
        if f.alternate() || self.entries.is_empty() {
            Ok(())
        } else {
            self.write_table(f)
        }
    }
}

/// Headings of the table's columns.
const HEADINGS: [&str; 6] = ["slot", "state", "holder", "held for", "thread", "location"];

impl Holders {
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = HEADINGS.map(str::to_owned);
        let rows: Vec<_> = self.entries.iter().map(Holder::cells).collect();
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                let cells = rows
                    .iter()
                    .chain([&headings])
                    .map(|row| row[column].chars());
                cells.map(Iterator::count).max().unwrap_or(0)
            })
            .collect();
        let last = headings.len() - 1;
        for row in [&headings].into_iter().chain(&rows) {
            f.write_str("\n")?;
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "  {cell:>width$}")?;
                } else if column == last {
                    // Not padded: it would leave spaces at the end of the line.
                    write!(f, "  {cell}")?;
                } else {
                    write!(f, "  {cell:width$}")?;
                }
            }
        }
        Ok(())
    }
}

impl Holder {
    /// Returns the cells of the holder's row, in the order of [`HEADINGS`].
    fn cells(&self) -> [String; 6] {
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        let thread = match &self.thread_name {
            Some(name) => format!("{} {name}", self.thread),
            None => self.thread.to_string(),
        };
        let state = match (self.state, self.loans) {
            (state, 0) | (state @ HolderState::Lent, _) => state.to_string(),
            (state, loans) => format!("{state}, {loans} lent"),
        };
        [
            self.slot.to_string(),
            state,
            or_dash(self.label.map(|label| label.to_string())),
            or_dash((!self.held_for.is_zero()).then(|| HeldFor::of(self).to_string())),
            or_dash((self.state != HolderState::Unclaimed).then_some(thread)),
            or_dash(self.location.map(|location| location.to_string())),
        ]
    }
}

impl fmt::Display for HolderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unique => f.write_str("unique"),
            Self::Shared { handles } => write!(f, "shared by {handles} handles"),
            Self::Lent => f.write_str("lent"),
            Self::Unclaimed => f.write_str("unclaimed"),
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn holder(slot: usize, label: Option<&str>, line: u32, milliseconds: u64) -> Holder {
        Holder {
            slot,
            state: HolderState::Unique,
            loans: 0,
            label: label.map(Label::new),
            location: Some(SourceLocation {
                file: "src/enc.rs",
                line,
                column: 9,
            }),
            thread: 4711,
            thread_name: Some("encode".to_owned()),
            held_for: Duration::from_millis(milliseconds),
            exact: false,
        }
    }

    fn report() -> Holders {
        let lent = Holder {
            state: HolderState::Lent,
            ..holder(7, None, 90, 0)
        };
        let mut entries: Vec<_> = (0..5)
            .map(|slot| holder(slot, Some("encoder"), 88, 1199 - slot as u64))
            .collect();
        entries.push(holder(5, Some("preview"), 31, 3));
        entries.push(holder(6, Some("preview"), 31, 0));
        entries.push(lent);
        Holders {
            pool: None,
            frames: 8,
            free: 0,
            entries,
            omitted: 0,
            waiting: 3,
            longest_waiting: Some(Duration::from_millis(400)),
            shares: Vec::new(),
        }
    }

    #[test]
    fn the_summary_groups_frames_by_holder_and_puts_the_largest_group_first() {
        assert_eq!(
            format!("{:#}", report()),
            "8 of 8 frames are out: 5 held by `encoder` (src/enc.rs:88) for at least 1.1 s, \
             2 held by `preview` (src/enc.rs:31) for at least 3 ms, \
             1 lent to another process by src/enc.rs:90; \
             3 callers are waiting, the longest for 400 ms"
        );
    }

    #[test]
    fn the_summary_of_a_sample_says_how_many_frames_it_is_about() {
        let mut report = Holders {
            pool: None,
            frames: 1000,
            omitted: 992,
            waiting: 0,
            ..report()
        };
        let summary = format!("{report:#}");
        let begin = "1000 of 1000 frames are out; of 8 of these: 5 held by `encoder` (";
        assert!(summary.starts_with(begin), "{summary}");
        report.entries.clear();
        assert_eq!(report.to_string(), "1000 of 1000 frames are out");
    }

    #[test]
    fn the_summary_agrees_with_its_numbers() {
        let unclaimed = Holder {
            state: HolderState::Unclaimed,
            label: None,
            location: None,
            ..holder(0, None, 1, 0)
        };
        let mut report = Holders {
            pool: None,
            frames: 1,
            free: 0,
            entries: vec![unclaimed],
            omitted: 0,
            waiting: 1,
            longest_waiting: Some(Duration::from_micros(15)),
            shares: Vec::new(),
        };
        assert_eq!(
            format!("{report:#}"),
            "1 of 1 frame is out: 1 unclaimed (being acquired); \
             1 caller has been waiting for 15 µs"
        );
        report.entries[0] = Holder {
            exact: true,
            ..holder(0, None, 5, 73_999)
        };
        report.waiting = 0;
        assert_eq!(
            format!("{report:#}"),
            "1 of 1 frame is out: 1 held by src/enc.rs:5 for 73 s"
        );
    }

    #[test]
    fn the_table_has_one_row_per_frame_and_aligned_columns() {
        let table = report().to_string();
        let rows: Vec<_> = table.lines().skip(1).collect();
        assert_eq!(rows.len(), 1 + 8);
        assert_eq!(
            rows[..2],
            [
                "  slot  state   holder   held for        thread       location",
                "     0  unique  encoder  at least 1.1 s  4711 encode  src/enc.rs:88",
            ]
        );
        let column = |row: &str| row.find("4711 encode").unwrap();
        assert!(rows[1..].iter().all(|row| column(row) == column(rows[1])));
    }

    #[test]
    fn the_report_of_an_idle_pool_is_one_short_line() {
        let report = Holders {
            pool: None,
            frames: 4,
            free: 4,
            entries: Vec::new(),
            omitted: 0,
            waiting: 0,
            longest_waiting: None,
            shares: Vec::new(),
        };
        assert_eq!(report.to_string(), "0 of 4 frames are out");
    }
}
