//! SVG writer: a recording as a picture of the frames and their holders over time.
//!
//! From top to bottom: the title, the legend, a red ribbon where the pool was dry, one lane per
//! slot, the lanes of the waiting callers, and the time axis.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

use crate::label::Label;
use crate::share::ShareUsage;

use super::event::{EventKind, Recording};
use super::palette::{Paint, Palette};
use super::svg::write_document;
use super::text::{Short, Tick, Time, Xml, width_of};
use super::timeline::{HoldSpan, Span, Timeline};

// Lengths are in pixels.

const WIDTH: f64 = 1200.0;
/// Left edge of the plot.
const LEFT: f64 = 92.0;
/// Width of the plot.
const PLOT: f64 = 1080.0;
/// Columns of the plot, one pixel wide each.
const COLUMNS: usize = 1080;

/// Maximum number of slots with a lane of their own.
const MAX_LANES: usize = 64;
/// Maximum number of lanes for waiting callers.
const MAX_WAITER_LANES: usize = 12;
/// Maximum number of owners in the line about the time in which the pool was dry.
const MAX_SHARES: usize = 4;
/// Height that the lanes of the slots share.
const LANES_HEIGHT: f64 = 512.0;
/// Maximum height of the lane of one slot, with its gap.
const MAX_PITCH: f64 = 26.0;
/// Height of the lane that sums up the slots without a lane of their own.
const SUM_HEIGHT: f64 = 120.0;
const WAITER_HEIGHT: f64 = 14.0;

impl Recording {
    /// Writes the recording as a picture: an SVG file that any browser opens.
    ///
    /// The picture has one lane per slot, with one bar per holder of its frame, colored by label.
    /// Spans in which the pool was dry are red: a caller waited and no frame was free. The waiting
    /// callers have lanes at the bottom. Below the title stand the [shares](crate::Share), and
    /// dashed lines show events of the pool, such as when it ran low.
    ///
    /// The size of the picture is limited. Bars that are too short to be drawn are summed up per
    /// pixel column: the height of the column is the share of its time in which the frame was out,
    /// in 4 steps, and its color is that of the holder with the longest time in it. If more than 64
    /// slots have events, the first 64 have lanes; for the remaining slots one lane shows how many
    /// were out, by holder.
    ///
    /// # Errors
    ///
    /// Returns the errors of `out`.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// # let pool = FramePool::builder().frames(1).frame_size(64).record(100).build()?;
    /// drop(pool.with_label("encoder").acquire()?);
    /// let mut picture = Vec::new();
    /// pool.recording().expect("`record` turns the recorder on").write_svg(&mut picture)?;
    /// assert!(String::from_utf8(picture)?.contains("encoder"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_svg(&self, out: impl io::Write) -> io::Result<()> {
        let timeline = Timeline::new(self);
        let mut picture = Picture {
            recording: self,
            palette: Palette::new(&timeline.holds),
            timeline: &timeline,
            body: String::new(),
            y: 0.0,
        };
        // Writing to a `String` does not fail.
        let _written = picture.draw();
        write_document(out, WIDTH, picture.y, &picture.body)
    }
}

/// Returns the bounds of a share, and how many frames it had: `preview 2 to 4, had up to 3`.
fn bounds_of(usage: &ShareUsage) -> String {
    let name = usage.share.map_or("others", Label::name);
    format!(
        "{} {} to {}, had up to {}",
        Short(name),
        usage.reserve,
        usage.limit,
        usage.most_held
    )
}

/// Picture that is being drawn, from top to bottom.
struct Picture<'a> {
    recording: &'a Recording,
    timeline: &'a Timeline,
    palette: Palette,
    body: String,
    /// Top of the next element.
    y: f64,
}

/// Bar of a lane.
struct Bar<'a> {
    span: Span,
    paint: Paint,
    name: &'a dyn fmt::Display,
}

/// Position and style of a lane.
#[derive(Clone, Copy)]
struct Lane {
    y: f64,
    height: f64,
    /// SVG class of the bars.
    class: &'static str,
    /// Bars narrower than this are summed up per column.
    min_width: f64,
}

impl Picture<'_> {
    fn draw(&mut self) -> fmt::Result {
        self.draw_title()?;
        self.draw_legend()?;
        self.draw_mark_names()?;
        let top = self.y;
        self.draw_ribbon()?;
        self.draw_slots()?;
        self.draw_waiters()?;
        let bottom = self.y;
        self.draw_bands(top, bottom)?;
        self.draw_mark_lines(top, bottom)?;
        self.draw_axis(top)?;
        self.draw_caption()
    }

    fn draw_title(&mut self) -> fmt::Result {
        let frames = self.recording.frames;
        let noun = if frames == 1 { "frame" } else { "frames" };
        let whole = Time(self.timeline.whole.length());
        let dry = Time(self.timeline.dry.iter().map(|span| span.length()).sum());
        write!(
            self.body,
            "<text x=\"16\" y=\"28\" font-size=\"17\" font-weight=\"bold\">\
             {frames} {noun}"
        )?;
        if let Some(pool) = self.recording.pool {
            write!(self.body, " of {}", Xml(pool.name()))?;
        }
        write!(self.body, " over {whole}: ")?;
        match self.timeline.dry.len() {
            0 if self.timeline.waits.is_empty() => {
                writeln!(self.body, "no caller had to wait</text>")?;
            }
            0 => writeln!(self.body, "callers waited for their shares</text>")?,
            1 => writeln!(self.body, "dry once, for {dry}</text>")?,
            times => writeln!(self.body, "dry {times} times, for {dry} in total</text>")?,
        }
        self.y = 38.0;
        if let Some(shares) = self.shares_while_dry() {
            writeln!(
                self.body,
                "<text x=\"16\" y=\"48\" fill=\"#b01010\">\
                 While the pool was dry, its frames were held by: {}.</text>",
                Xml(&shares)
            )?;
            self.y = 58.0;
        }
        if !self.recording.shares.is_empty() {
            let shares = self.recording.shares.iter().map(bounds_of);
            let shares: Vec<_> = shares.collect();
            self.y += 10.0;
            writeln!(
                self.body,
                "<text x=\"16\" y=\"{:.0}\">Shares: {}.</text>",
                self.y,
                Xml(&shares.join("; "))
            )?;
            self.y += 10.0;
        }
        Ok(())
    }

    /// Returns the shares of the owners in the time in which the pool was dry, as text:
    /// `encoder 88 %, writer 12 %`.
    fn shares_while_dry(&self) -> Option<String> {
        let dry = DryTime::new(&self.timeline.dry);
        let mut times: HashMap<Paint, Duration> = HashMap::new();
        for HoldSpan { span, owner, .. } in &self.timeline.holds {
            let time = dry.within(*span);
            if !time.is_zero() {
                *times.entry(self.palette.paint(*owner)).or_default() += time;
            }
        }
        let all: Duration = times.values().sum();
        if all.is_zero() {
            return None;
        }
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_by_key(|&(paint, time)| (std::cmp::Reverse(time), paint));
        let share = |&(paint, time): &(Paint, Duration)| {
            let name = self.palette.legend.iter().find(|(of, _)| *of == paint);
            let name = name.map_or("", |(_, name)| name.as_str());
            let percent = 100.0 * time.as_secs_f64() / all.as_secs_f64();
            format!("{} {percent:.0} %", Short(name))
        };
        let mut shares: Vec<_> = times.iter().take(MAX_SHARES).map(share).collect();
        if times.len() > MAX_SHARES {
            shares.push("…".to_owned());
        }
        Some(shares.join(", "))
    }

    fn draw_legend(&mut self) -> fmt::Result {
        let mut entries = self.palette.legend.clone();
        if !self.timeline.waits.is_empty() {
            entries.push((Paint::WAIT, "waiting for a frame".to_owned()));
        }
        if !self.timeline.dry.is_empty() {
            entries.push((Paint::DRY, "pool is dry".to_owned()));
        }
        if entries.is_empty() {
            return Ok(());
        }
        let mut x = 16.0;
        self.y += 8.0;
        for (Paint(paint), name) in entries {
            let name = Short(&name).to_string();
            let width = 20.0 + width_of(&name) + 20.0;
            if x + width > WIDTH - 16.0 {
                x = 16.0;
                self.y += 20.0;
            }
            let (y, fill) = (self.y, Palette::FILLS[paint]);
            writeln!(
                self.body,
                "<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"14\" height=\"12\" fill=\"{fill}\" \
                 stroke=\"#555\" stroke-width=\".5\"/>\
                 <text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
                x + 20.0,
                y + 10.5,
                Xml(&name)
            )?;
            x += width;
        }
        self.y += 22.0;
        Ok(())
    }

    /// Returns the events of the pool by column, at most one per column.
    fn marks(&self) -> BTreeMap<usize, (EventKind, Duration)> {
        let mut marks = BTreeMap::new();
        for event in self.recording.events_of_pool() {
            let column = self.column(event.at);
            marks.entry(column).or_insert((event.kind, event.at));
        }
        marks
    }

    /// Draws the names of the marks, except those that would overlap.
    fn draw_mark_names(&mut self) -> fmt::Result {
        let marks = self.marks();
        if marks.is_empty() {
            return Ok(());
        }
        let mut free_from = 0.0;
        for (kind, at) in marks.into_values() {
            let name = kind.to_string();
            let (width, x) = (width_of(&name), self.x(at));
            // Left of its line, if there is no space to the right.
            let left = if x + 3.0 + width > WIDTH - 8.0 {
                x - 3.0 - width
            } else {
                x + 3.0
            };
            if left >= free_from {
                writeln!(
                    self.body,
                    "<text class=\"mark\" x=\"{left:.1}\" y=\"{:.1}\" \
                     font-size=\"11\" fill=\"#333\">{name}</text>",
                    self.y + 10.0
                )?;
                free_from = left + width + 6.0;
            }
        }
        self.y += 14.0;
        Ok(())
    }

    fn draw_mark_lines(&mut self, top: f64, bottom: f64) -> fmt::Result {
        for (_, at) in self.marks().into_values() {
            let x = self.x(at);
            writeln!(
                self.body,
                "<path d=\"M{x:.1} {:.1}V{bottom:.1}\" stroke=\"#222\" stroke-dasharray=\"4 3\"/>",
                top - 13.0
            )?;
        }
        Ok(())
    }

    /// Draws the ribbon that shows all dry spans, however short.
    fn draw_ribbon(&mut self) -> fmt::Result {
        let lane = Lane {
            y: self.y,
            height: 9.0,
            class: "dry",
            min_width: 1.0,
        };
        let bars: Vec<Bar<'_>> = self
            .timeline
            .dry
            .iter()
            .map(|&span| Bar {
                span,
                paint: Paint::DRY,
                name: &"dry",
            })
            .collect();
        if !bars.is_empty() {
            self.draw_lane_name(lane, "dry")?;
            self.draw_lane(lane, &bars)?;
            self.y += 14.0;
        }
        Ok(())
    }

    fn draw_slots(&mut self) -> fmt::Result {
        let slots: Vec<_> = self.recording.slots().into_iter().collect();
        let (with_lane, remaining) = slots.split_at(slots.len().min(MAX_LANES));
        let mut holds: HashMap<usize, Vec<&HoldSpan>> = HashMap::new();
        for hold in &self.timeline.holds {
            holds.entry(hold.slot).or_default().push(hold);
        }
        let lanes = with_lane.len().max(1) as f64;
        let pitch = (LANES_HEIGHT / lanes).min(MAX_PITCH);
        let gap = if pitch > 12.0 { 3.0 } else { 1.0 };
        for (index, slot) in with_lane.iter().enumerate() {
            let lane = Lane {
                y: self.y,
                height: pitch - gap,
                class: "bar",
                min_width: (lanes / 4.0).max(2.0),
            };
            // Low lanes have no space for a name each.
            if pitch >= 12.0 || index % 4 == 0 {
                self.draw_lane_name(lane, &format!("slot {slot}"))?;
            }
            let holds = holds.get(slot).into_iter().flatten();
            let bars: Vec<Bar<'_>> = holds
                .map(|hold| Bar {
                    span: hold.span,
                    paint: self.palette.paint(hold.owner),
                    name: &hold.owner,
                })
                .collect();
            self.draw_background(lane)?;
            self.draw_lane(lane, &bars)?;
            self.y += pitch;
        }
        if !remaining.is_empty() {
            self.draw_remaining_slots(remaining, &holds)?;
        }
        self.y += 4.0;
        Ok(())
    }

    /// Draws the number of these slots that were out, stacked by owner.
    fn draw_remaining_slots(
        &mut self,
        slots: &[usize],
        holds: &HashMap<usize, Vec<&HoldSpan>>,
    ) -> fmt::Result {
        let mut sums = Sums::new();
        for hold in slots.iter().filter_map(|slot| holds.get(slot)).flatten() {
            let paint = self.palette.paint(hold.owner);
            self.add_to(&mut sums, hold.span, paint);
        }
        self.y += 4.0;
        let lane = Lane {
            y: self.y,
            height: SUM_HEIGHT,
            class: "sum",
            min_width: 0.0,
        };
        self.draw_background(lane)?;
        self.draw_lane_name(lane, &format!("{} more", slots.len()))?;
        let column_time = self.timeline.whole.length().as_secs_f64() / COLUMNS as f64;
        let whole = column_time * slots.len() as f64;
        // Heights of the lower and upper edge of a layer, per column.
        let mut lower = vec![0.0; COLUMNS];
        for paint in 0..Palette::FILLS.len() {
            let upper: Vec<_> = lower
                .iter()
                .zip(&sums.columns)
                .map(|(lower, times)| lower + times[paint].as_secs_f64() / whole * lane.height)
                .collect();
            if upper != lower {
                self.draw_layer(lane, Palette::FILLS[paint], &lower, &upper)?;
            }
            lower = upper;
        }
        self.y += SUM_HEIGHT;
        Ok(())
    }

    fn draw_layer(&mut self, lane: Lane, fill: &str, lower: &[f64], upper: &[f64]) -> fmt::Result {
        let bottom = lane.y + lane.height;
        write!(
            self.body,
            "<path class=\"{}\" fill=\"{fill}\" d=\"M{LEFT} {bottom:.1}",
            lane.class
        )?;
        let there = upper.iter().enumerate();
        let and_back = lower.iter().enumerate().rev();
        for (column, height) in there.chain(and_back) {
            let (x, y) = (LEFT + column as f64, bottom - height);
            write!(self.body, "L{x:.0} {y:.1}")?;
        }
        writeln!(self.body, "Z\"/>")
    }

    fn draw_waiters(&mut self) -> fmt::Result {
        let mut tracks: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for wait in &self.timeline.waits {
            let name = format!("{} waits: {}", wait.caller, wait.outcome());
            tracks
                .entry(wait.track)
                .or_default()
                .push((wait.span, name));
        }
        let more = tracks.len().saturating_sub(MAX_WAITER_LANES);
        for (track, waits) in tracks.into_iter().take(MAX_WAITER_LANES) {
            let lane = Lane {
                y: self.y,
                height: WAITER_HEIGHT - 2.0,
                class: "wait",
                min_width: 2.0,
            };
            self.draw_lane_name(lane, &format!("waiter {}", track + 1))?;
            let bars: Vec<Bar<'_>> = waits
                .iter()
                .map(|(span, name)| Bar {
                    span: *span,
                    paint: Paint::WAIT,
                    name,
                })
                .collect();
            self.draw_lane(lane, &bars)?;
            self.y += WAITER_HEIGHT;
        }
        if more > 0 {
            writeln!(
                self.body,
                "<text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"11\">\
                 up to {more} more callers waited at the same time</text>",
                self.y + 11.0
            )?;
            self.y += 16.0;
        }
        Ok(())
    }

    fn draw_background(&mut self, Lane { y, height, .. }: Lane) -> fmt::Result {
        writeln!(
            self.body,
            "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{PLOT}\" height=\"{height:.1}\" \
             fill=\"#f0f0f0\"/>"
        )
    }

    fn draw_lane_name(&mut self, Lane { y, height, .. }: Lane, name: &str) -> fmt::Result {
        writeln!(
            self.body,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"11\">{}</text>",
            LEFT - 8.0,
            y + height / 2.0 + 4.0,
            Xml(name)
        )
    }

    /// Draws the bars of a lane: wide bars one by one, narrow bars summed up per column.
    fn draw_lane(&mut self, lane: Lane, bars: &[Bar<'_>]) -> fmt::Result {
        let mut sums = Sums::new();
        let mut any_narrow = false;
        for &Bar { span, paint, .. } in bars {
            if self.width(span) < lane.min_width {
                self.add_to(&mut sums, span, paint);
                any_narrow = true;
            }
        }
        if any_narrow {
            self.draw_sums(lane, &sums)?;
        }
        for &Bar { span, paint, name } in bars {
            let Paint(paint) = paint;
            let width = self.width(span);
            if width >= lane.min_width {
                writeln!(
                    self.body,
                    "<rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
                     height=\"{:.1}\" fill=\"{}\"><title>{}, {}</title></rect>",
                    lane.class,
                    self.x(span.from),
                    lane.y,
                    lane.height,
                    Palette::FILLS[paint],
                    Xml(&name.to_string()),
                    Time(span.length())
                )?;
            }
        }
        Ok(())
    }

    /// Draws the narrow bars of a lane: each column as high as the share of its time that they
    /// cover, in the color that covers most of it.
    fn draw_sums(&mut self, lane: Lane, sums: &Sums) -> fmt::Result {
        let whole = self.timeline.whole.length().as_secs_f64() / COLUMNS as f64;
        let columns: Vec<_> = sums
            .columns
            .iter()
            .map(|times| summary(times, whole))
            .collect();
        let mut paths: BTreeMap<Paint, String> = BTreeMap::new();
        let mut from = 0;
        for equal in columns.chunk_by(|one, next| one == next) {
            let width = equal.len();
            if let Some((paint, quarters)) = equal[0] {
                let height = lane.height * quarters / 4.0;
                let path = paths.entry(paint).or_default();
                let (x, y) = (LEFT + from as f64, lane.y + lane.height - height);
                write!(path, "M{x} {y:.1}h{width}v{height:.1}h-{width}z")?;
            }
            from += width;
        }
        for (Paint(paint), path) in paths {
            let fill = Palette::FILLS[paint];
            writeln!(self.body, "<path fill=\"{fill}\" d=\"{path}\"/>")?;
        }
        Ok(())
    }

    /// Draws red bands over all lanes, for the dry spans that are wide enough to be seen.
    fn draw_bands(&mut self, top: f64, bottom: f64) -> fmt::Result {
        let mut bands: Vec<Span> = Vec::new();
        for &span in &self.timeline.dry {
            match bands.last_mut() {
                Some(last) if self.x(span.from) - self.x(last.to) < 1.0 => last.to = span.to,
                _ => bands.push(span),
            }
        }
        bands.retain(|&span| self.width(span) >= 1.0);
        for span in bands {
            writeln!(
                self.body,
                "<rect class=\"band\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
                 height=\"{:.1}\" fill=\"#d7191c\" fill-opacity=\".13\"/>",
                self.x(span.from),
                self.width(span),
                bottom - top
            )?;
        }
        Ok(())
    }

    fn draw_axis(&mut self, top: f64) -> fmt::Result {
        self.y += 4.0;
        let y = self.y;
        let whole = self.timeline.whole.length();
        let step = step_of(whole);
        writeln!(
            self.body,
            "<path d=\"M{LEFT} {y:.1}h{PLOT}\" stroke=\"#222\" fill=\"none\"/>"
        )?;
        let mut at = Duration::ZERO;
        while at <= whole {
            let x = self.x(self.timeline.whole.from.saturating_add(at));
            writeln!(
                self.body,
                "<path d=\"M{x:.1} {y:.1}v5\" stroke=\"#222\"/>\
                 <path d=\"M{x:.1} {top:.1}V{y:.1}\" stroke=\"#222\" stroke-opacity=\".13\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" \
                 font-size=\"11\">{}</text>",
                y + 18.0,
                Tick { at, step }
            )?;
            if step.is_zero() {
                break;
            }
            at = at.saturating_add(step);
        }
        self.y += 28.0;
        Ok(())
    }

    fn draw_caption(&mut self) -> fmt::Result {
        let Recording {
            frames,
            events,
            lost,
            ..
        } = self.recording;
        writeln!(
            self.body,
            "<text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">\
             {} events, {lost} lost; {} of {frames} slots have events; \
             time 0 is {} after the pool was built</text>",
            self.y + 10.0,
            events.len(),
            self.recording.slots().len(),
            Time(self.timeline.whole.from)
        )?;
        self.y = (self.y + 22.0).ceil();
        Ok(())
    }

    fn add_to(&self, sums: &mut Sums, span: Span, Paint(paint): Paint) {
        for column in self.column(span.from)..=self.column(span.to) {
            let part = self.part_in(span, column);
            sums.columns[column][paint] += part;
        }
    }

    /// Returns the part of a span that is in a column.
    fn part_in(&self, span: Span, column: usize) -> Duration {
        let from = span.from.max(self.start_of(column));
        let to = span.to.min(self.start_of(column + 1));
        to.saturating_sub(from)
    }

    fn start_of(&self, column: usize) -> Duration {
        let Span { from, .. } = self.timeline.whole;
        let nanoseconds = self.nanoseconds() * column as u128 / COLUMNS as u128;
        from + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn column(&self, at: Duration) -> usize {
        let since = at.saturating_sub(self.timeline.whole.from).as_nanos();
        let column = since * COLUMNS as u128 / self.nanoseconds();
        usize::try_from(column).map_or(COLUMNS - 1, |column| column.min(COLUMNS - 1))
    }

    /// Returns the length of the recording in nanoseconds, at least 1.
    fn nanoseconds(&self) -> u128 {
        self.timeline.whole.length().as_nanos().max(1)
    }

    fn x(&self, at: Duration) -> f64 {
        let since = at.saturating_sub(self.timeline.whole.from);
        LEFT + self.pixels(since)
    }

    fn width(&self, span: Span) -> f64 {
        self.pixels(span.length())
    }

    fn pixels(&self, time: Duration) -> f64 {
        let whole = self.timeline.whole.length().as_secs_f64();
        if whole > 0.0 {
            PLOT * time.as_secs_f64() / whole
        } else {
            0.0
        }
    }
}

/// Time per paint.
type Times = [Duration; Palette::FILLS.len()];

/// Time per column and paint.
struct Sums {
    columns: Vec<Times>,
}

impl Sums {
    fn new() -> Self {
        Self {
            columns: vec![Times::default(); COLUMNS],
        }
    }
}

/// Returns the paint with the longest time in a column, and how many quarters of the column's time
/// are covered by all paints together: 1 to 4. Returns `None` if nothing is covered.
fn summary(times: &Times, whole: f64) -> Option<(Paint, f64)> {
    let covered: Duration = times.iter().sum();
    let longest = (0..times.len()).max_by_key(|&paint| times[paint])?;
    let quarters = (4.0 * covered.as_secs_f64() / whole)
        .round()
        .clamp(1.0, 4.0);
    (!covered.is_zero()).then_some((Paint(longest), quarters))
}

/// Dry spans with prefix sums, so that the dry time within a span is found by binary search.
struct DryTime<'a> {
    spans: &'a [Span],
    /// Per span: the sum of the lengths of the spans before it.
    before: Vec<Duration>,
}

impl<'a> DryTime<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let mut sum = Duration::ZERO;
        let before = spans
            .iter()
            .map(|span| {
                let before = sum;
                sum += span.length();
                before
            })
            .collect();
        Self { spans, before }
    }

    /// Returns the dry time up to `at`.
    fn until(&self, at: Duration) -> Duration {
        let after = self.spans.partition_point(|span| span.from < at);
        match after.checked_sub(1) {
            None => Duration::ZERO,
            Some(last) => {
                let Span { from, to } = self.spans[last];
                self.before[last] + at.min(to).saturating_sub(from)
            }
        }
    }

    fn within(&self, span: Span) -> Duration {
        self.until(span.to).saturating_sub(self.until(span.from))
    }
}

/// Returns the step of the time axis: 1, 2 or 5 times a power of ten nanoseconds, the smallest of
/// which at most 12 fit into `whole`. Returns 0 if `whole` is 0.
fn step_of(whole: Duration) -> Duration {
    let mut step = Duration::from_nanos(1);
    loop {
        for times in [1, 2, 5] {
            let step = step.saturating_mul(times);
            if step.saturating_mul(12) >= whole {
                return if whole.is_zero() { whole } else { step };
            }
        }
        step = step.saturating_mul(10);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::event::Event;
    use super::super::event::tests::{event, recording};
    use super::*;

    fn svg(recording: &Recording) -> String {
        let mut svg = Vec::new();
        recording.write_svg(&mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        roxmltree::Document::parse(&svg).unwrap();
        svg
    }

    /// Returns a recording of frames that pass through 3 stages, one event per `nanoseconds`.
    fn busy(events: u64, slots: u64, nanoseconds: u64) -> Recording {
        let events: Vec<_> = (0..events)
            .map(|number| {
                let (kind, label) = match number / slots % 4 {
                    0 => (EventKind::Acquired, "capture"),
                    1 => (EventKind::Transferred, "encoder"),
                    2 => (EventKind::Transferred, "writer"),
                    _ => (EventKind::Released, "writer"),
                };
                Event {
                    at: Duration::from_nanos(number * nanoseconds),
                    ..event(0, kind, number % slots, label)
                }
            })
            .collect();
        let mut recording = recording(&events, 0, 0);
        recording.frames = usize::try_from(slots).unwrap();
        recording
    }

    #[test]
    fn the_size_of_a_picture_is_limited() {
        for (slots, nanoseconds, max) in [
            (8, 64, 400_000),
            (8, 100_000, 400_000),
            (64, 100_000, 1_500_000),
            (1000, 64, 1_500_000),
        ] {
            let mut svg = Vec::new();
            busy(100_000, slots, nanoseconds)
                .write_svg(&mut svg)
                .unwrap();
            let bytes = svg.len();
            assert!(bytes < max, "{bytes} for {slots} slots");
        }
    }

    #[test]
    fn the_height_of_a_picture_is_limited() {
        let height = |svg: String| -> f64 {
            let document = roxmltree::Document::parse(&svg).unwrap();
            document
                .root_element()
                .attribute("height")
                .unwrap()
                .parse()
                .unwrap()
        };
        assert!(height(svg(&busy(2_000, 64, 1000))) < 700.0);
        assert!(height(svg(&busy(50_000, 5_000, 1000))) < 850.0);
    }

    #[test]
    fn the_shortest_hold_is_visible() {
        let events = [
            event(0, EventKind::Acquired, 0, "long"),
            event(10_000, EventKind::Released, 0, "long"),
            event(10_001, EventKind::Acquired, 0, "short"),
            event(10_002, EventKind::Released, 0, "short"),
        ];
        let svg = svg(&recording(&events, 0, 20_000));
        assert_eq!(svg.matches("class=\"bar\"").count(), 1);
        assert_eq!(svg.matches("<path fill=\"").count(), 1);
    }

    #[test]
    fn dry_time_is_the_overlap_with_dry_spans() {
        let span = |from, to| Span {
            from: Duration::from_secs(from),
            to: Duration::from_secs(to),
        };
        let spans = [span(1, 3), span(5, 6)];
        let dry = DryTime::new(&spans);
        let within = |from, to| dry.within(span(from, to)).as_secs();
        assert_eq!(
            [within(0, 9), within(2, 5), within(3, 5), within(2, 2)],
            [3, 1, 0, 0]
        );
        assert_eq!([within(5, 7), within(0, 1), within(6, 9)], [1, 0, 0]);
    }

    #[test]
    fn the_axis_has_1_to_12_steps() {
        for nanoseconds in [
            1,
            7,
            12,
            64,
            999,
            12_345,
            1_100_000,
            77_777_777,
            123_456_789_012,
        ] {
            let whole = Duration::from_nanos(nanoseconds);
            let steps = whole.as_nanos() / step_of(whole).as_nanos();
            assert!((1..=12).contains(&steps), "{steps} in {whole:?}");
        }
        assert_eq!(step_of(Duration::ZERO), Duration::ZERO);
        assert!(step_of(Duration::MAX) > Duration::from_secs(1));
    }
}
