//! Sizing as text: the answer in a sentence, the savings, and a table.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use crate::label::Label;

use super::pacing::Pacing;
use super::report::{DepthForecast, HolderShare, LabelForecast, SavingMeans, Sizing};

/// Maximum number of savings in the text.
const MAX_SAVINGS: usize = 3;

/// Maximum number of holders in a row of the table.
const MAX_SHARES: usize = 3;

/// Headings of the table's columns.
const HEADINGS: [&str; 5] = [
    "frames",
    "waits",
    "longest",
    "total",
    "waiting callers, and the holders of the frames",
];

impl fmt::Display for Sizing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_answer(f)?;
        self.write_savings(f)?;
        if let Some(HolderShare { label, .. }) = self.falls_behind {
            let name = Name(label);
            write!(f, "\n{name} falls behind: more frames only delay the waits")?;
        }
        if f.alternate() || self.sources.is_empty() {
            return Ok(());
        }
        self.write_table(f)?;
        self.write_notes(f)
    }
}

impl Sizing {
    fn write_answer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sources.is_empty() || self.depths.is_empty() {
            return f.write_str("nothing is known about the number of frames: none was acquired");
        }
        let Some(needed) = self.frames_needed() else {
            let most = self.depths.last();
            let frames = most.map_or(0, |depth| depth.frames);
            let verb = if frames == 1 { "does" } else { "do" };
            write!(f, "{} {verb} not suffice", Frames(frames))?;
            return most.map_or(Ok(()), |most| write!(f, "; {}", With(most)));
        };
        let recorded = Frames(self.frames);
        let time = Time(self.recorded_time);
        match needed.cmp(&self.frames) {
            Ordering::Less => write!(f, "{needed} of {recorded} would have sufficed for {time}")?,
            Ordering::Equal => write!(f, "{recorded} sufficed for {time}")?,
            Ordering::Greater => {
                let (needed, had) = (Frames(needed), self.frames);
                write!(
                    f,
                    "{needed} would have sufficed for {time}; the pool had {had}"
                )?;
            }
        }
        let fewer = self.depths.iter().rev();
        let mut fewer = fewer.skip_while(|depth| depth.frames >= needed);
        fewer
            .next()
            .map_or(Ok(()), |fewer| write!(f, "; {}", With(fewer)))
    }

    fn write_savings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, saving) in self.savings.iter().take(MAX_SAVINGS).enumerate() {
            if number == 0 {
                let verb = if saving.frames == 1 {
                    "suffices"
                } else {
                    "suffice"
                };
                write!(f, "\n{} {verb} if ", Frames(saving.frames))?;
            } else {
                f.write_str(", or if ")?;
            }
            let name = Name(saving.label);
            match saving.means {
                SavingMeans::LessTime(time) => {
                    write!(f, "{name} holds each frame for {} less", Time(time))?;
                }
                SavingMeans::OneFrameFewer => write!(f, "{name} keeps one frame fewer")?,
            }
        }
        Ok(())
    }

    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.rows().map(|depth| self.cells(depth)).collect();
        let headings = HEADINGS.map(str::to_owned);
        let widths: Vec<usize> = (0..HEADINGS.len())
            .map(|column| {
                let cells = rows.iter().chain([&headings]);
                let widths = cells.map(|row| row[column].chars().count());
                widths.max().unwrap_or(0)
            })
            .collect();
        f.write_str("\n")?;
        for row in [&headings].into_iter().chain(&rows) {
            let [numbers @ .., last] = row;
            f.write_str("\n")?;
            for (column, (cell, &width)) in numbers.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                write!(f, "{gap}{cell:>width$}")?;
            }
            if !last.is_empty() {
                write!(f, "  {last}")?;
            }
        }
        Ok(())
    }

    /// Returns the forecasts up to the one that suffices, and that of the recorded number of
    /// frames.
    fn rows(&self) -> impl Iterator<Item = &DepthForecast> {
        let needed = self.frames_needed().unwrap_or(usize::MAX);
        self.depths
            .iter()
            .filter(move |depth| depth.frames <= needed || depth.frames == self.frames)
    }

    fn cells(&self, depth: &DepthForecast) -> [String; HEADINGS.len()] {
        let mark = if depth.frames == self.frames {
            "recorded: "
        } else {
            ""
        };
        let frames = format!("{mark}{}", depth.frames);
        if depth.stalls {
            let dash = || "-".to_owned();
            return [
                frames,
                dash(),
                dash(),
                dash(),
                "the pipeline stalls".to_owned(),
            ];
        }
        let waits = &depth.waits;
        let labels = depth.labels.iter();
        let labels = labels.filter(|of| of.waits.noticeable > 0);
        let labels: Vec<_> = labels.map(waits_of).collect();
        [
            frames,
            waits.noticeable.to_string(),
            Time(waits.longest).to_string(),
            Time(waits.total).to_string(),
            labels.join("; "),
        ]
    }

    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        for source in &self.sources {
            let pace = match source.pacing {
                Pacing::Clock => "by a clock",
                Pacing::Work => "when its last one is done",
            };
            let (name, thread) = (Name(source.label), source.thread);
            let times = Times(source.requests);
            write!(
                f,
                "\n{name} (thread {thread}) asked for a frame {times}, {pace}"
            )?;
        }
        let recorded = &self.recorded;
        let (longest, total) = (Time(recorded.longest), Time(recorded.total));
        write!(
            f,
            "\nrecorded: {} waits, {longest} at most, {total} in all",
            recorded.noticeable
        )?;
        if self.lost > 0 {
            write!(f, "\n{} events are missing from the recording", self.lost)?;
        }
        f.write_str(
            "\nThe forecast supposes that stages work on each frame as long as recorded. \
             Waits of up to 0.1 ms are not counted.",
        )
    }
}

/// Waits of a label, and the holders of the frames: ``camera` 12 times (`encoder` 71 %, ...)``.
fn waits_of(of: &LabelForecast) -> String {
    let shares: Vec<_> = of
        .holders
        .iter()
        .take(MAX_SHARES)
        .map(|holder| format!("{} {:.0} %", Name(holder.label), 100.0 * holder.share))
        .collect();
    let waits = format!("{} {}", Name(of.label), Times(of.waits.noticeable));
    if shares.is_empty() {
        waits
    } else {
        format!("{waits} ({})", shares.join(", "))
    }
}

/// Number of frames with its noun.
struct Frames(usize);

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(frames) = self;
        let noun = if *frames == 1 { "frame" } else { "frames" };
        write!(f, "{frames} {noun}")
    }
}

/// Waits of a forecast as a clause: ``with 5, `camera` waits twice, 3.1 ms at most``.
struct With<'a>(&'a DepthForecast);

impl fmt::Display for With<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(depth) = self;
        write!(f, "with {}, ", depth.frames)?;
        if depth.stalls {
            return f.write_str("the pipeline stalls");
        }
        let labels = depth.labels.iter();
        let labels = labels.filter(|of| of.waits.noticeable > 0);
        for (number, of) in labels.enumerate() {
            let separator = if number == 0 { "" } else { ", and " };
            let (name, times) = (Name(of.label), Times(of.waits.noticeable));
            let longest = Time(of.waits.longest);
            write!(f, "{separator}{name} waits {times}, {longest} at most")?;
        }
        Ok(())
    }
}

struct Times(u64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("once"),
            2 => f.write_str("twice"),
            times => write!(f, "{times} times"),
        }
    }
}

/// Label in backquotes, or a stand-in for callers without a label.
struct Name(Option<Label>);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(label) => write!(f, "`{label}`"),
            None => f.write_str("(no label)"),
        }
    }
}

/// Time with two significant digits or more. It is rounded up, so that "at most" stays true.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        let tenths = |unit: u128| {
            let tenths = nanoseconds.div_ceil(unit / 10);
            (tenths / 10, tenths % 10)
        };
        match nanoseconds {
            0 => f.write_str("0 ms"),
            1..1_000_000 => write!(f, "{} µs", nanoseconds.div_ceil(1_000)),
            1_000_000..10_000_000 => {
                let (whole, tenth) = tenths(1_000_000);
                write!(f, "{whole}.{tenth} ms")
            }
            10_000_000..1_000_000_000 => write!(f, "{} ms", nanoseconds.div_ceil(1_000_000)),
            _ => {
                let (whole, tenth) = tenths(1_000_000_000);
                write!(f, "{whole}.{tenth} s")
            }
        }
    }
}
