//! A recording as a picture of the frames' lives, in SVG.
//!
//! From top to bottom: what it comes to in words, the legend, a ribbon that is red where the pool was dry, a lane
//! for each slot, a lane for each of those who waited at once, and the axis of time.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use super::palette::{Paint, Palette};
use super::timeline::{Lives, Span, Stay};
use super::{EventKind, Recording};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 92.0;
/// Of the plot; there are as many columns, of a pixel each.
const PLOT: f64 = 1080.0;
const COLUMNS: usize = 1080;

/// Slots that have a lane of their own, and those who wait.
const MOST_LANES: usize = 64;
const MOST_WAITERS: usize = 12;
/// Of those who are told to have had the frames while none was free.
const MOST_SHARES: usize = 4;
/// What the lanes of the slots share, in pixels, and the most that one gets.
const LANES: f64 = 512.0;
const MOST_HEIGHT: f64 = 26.0;
const SUM_HEIGHT: f64 = 120.0;
const WAITER_HEIGHT: f64 = 14.0;

impl Recording {
    /// Writes the recording as a picture, an SVG file that every browser shows: a lane for each slot, with a bar
    /// for each stay of its frame in the same hands, coloured by label; red where the pool was dry, that is,
    /// where somebody waited and no frame was free; and below, those who waited.
    ///
    /// It has the size of a page whatever is in it. Stays that are too short to be drawn are summed up: each
    /// pixel of the lane is as high as the share of its time in which the frame was out, in four steps, and has
    /// the colour of whoever had it longest. If something happened to more than 64 slots, the first 64
    /// have lanes, and of the others is shown how many were out, and who had them.
    ///
    /// # Errors
    ///
    /// What `out` fails with.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).record(100).build()?;
    /// drop(pool.with_label("encoder").acquire()?);
    /// let mut picture = Vec::new();
    /// pool.recording().expect("it is on").write_svg(&mut picture)?;
    /// assert!(String::from_utf8(picture)?.contains("encoder"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_svg(&self, out: impl io::Write) -> io::Result<()> {
        let lives = Lives::of(self);
        let mut picture = Picture {
            recording: self,
            palette: Palette::of(&lives.stays),
            lives: &lives,
            body: String::new(),
            y: 0.0,
        };
        // A `String` takes all that is written to it.
        let _written = picture.draw();
        let height = picture.y;
        let mut out = BufWriter::new(out);
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">"
        )?;
        out.write_all(HEAD.as_bytes())?;
        writeln!(
            out,
            "<rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"#fdfdfd\" stroke=\"#999\"/>"
        )?;
        out.write_all(picture.body.as_bytes())?;
        out.write_all(b"</svg>\n")?;
        out.flush()
    }
}

/// The patterns: of frames that nobody has picked up yet, and of those who wait.
const HEAD: &str = "\
<defs>
<pattern id=\"queued\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">
<rect width=\"6\" height=\"6\" fill=\"#eee\"/><rect width=\"2\" height=\"6\" fill=\"#777\"/></pattern>
<pattern id=\"wait\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">
<rect width=\"6\" height=\"6\" fill=\"#f7b6b0\"/><rect width=\"3\" height=\"6\" fill=\"#d7191c\"/></pattern>
</defs>
";

/// A picture that is being drawn, from the top down.
struct Picture<'a> {
    recording: &'a Recording,
    lives: &'a Lives,
    palette: Palette,
    body: String,
    /// How far down it has got.
    y: f64,
}

/// A bar of a lane.
struct Bar<'a> {
    span: Span,
    paint: Paint,
    name: &'a dyn fmt::Display,
}

/// A lane's place.
#[derive(Clone, Copy)]
struct Lane {
    y: f64,
    height: f64,
    /// What its bars are, as a class.
    class: &'static str,
    /// Bars that are narrower are summed up.
    least: f64,
}

impl Picture<'_> {
    fn draw(&mut self) -> fmt::Result {
        self.draw_words()?;
        self.draw_legend()?;
        self.draw_marks_text()?;
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

    fn draw_words(&mut self) -> fmt::Result {
        let Recording { frames, .. } = self.recording;
        let dry: Duration = self.lives.dry.iter().map(|span| span.length()).sum();
        let times = self.lives.dry.len();
        let whole = Time(self.lives.whole.length());
        write!(
            self.body,
            "<text x=\"16\" y=\"28\" font-size=\"17\" font-weight=\"bold\">{frames} frames, {whole}: "
        )?;
        let dry_for = Time(dry);
        match times {
            0 => writeln!(self.body, "nobody had to wait</text>")?,
            1 => writeln!(self.body, "dry once, for {dry_for}</text>")?,
            _ => writeln!(self.body, "dry {times} times, for {dry_for} in all</text>")?,
        }
        self.y = 38.0;
        if let Some(who) = self.who_had_them_while_dry() {
            writeln!(
                self.body,
                "<text x=\"16\" y=\"48\" fill=\"#b01010\">While it was dry, its frames were with: {}.</text>",
                Xml(&who)
            )?;
            self.y = 58.0;
        }
        Ok(())
    }

    /// "encoder 88 %, writer 12 %"
    fn who_had_them_while_dry(&self) -> Option<String> {
        let dry = DryTime::of(&self.lives.dry);
        let mut shares: HashMap<Paint, Duration> = HashMap::new();
        for Stay { span, hands, .. } in &self.lives.stays {
            let time = dry.within(*span);
            if !time.is_zero() {
                *shares.entry(self.palette.paint(*hands)).or_default() += time;
            }
        }
        let all: Duration = shares.values().sum();
        if all.is_zero() {
            return None;
        }
        let mut shares: Vec<_> = shares.into_iter().collect();
        shares.sort_by_key(|&(paint, time)| (std::cmp::Reverse(time), paint));
        let part = |&(paint, time): &(Paint, Duration)| {
            let name = self.palette.legend.iter().find(|(of, _)| *of == paint);
            let name = name.map_or("", |(_, name)| name.as_str());
            let percent = 100.0 * time.as_secs_f64() / all.as_secs_f64();
            format!("{} {percent:.0} %", Short(name))
        };
        let mut parts: Vec<_> = shares.iter().take(MOST_SHARES).map(part).collect();
        if shares.len() > MOST_SHARES {
            parts.push("…".to_owned());
        }
        Some(parts.join(", "))
    }

    fn draw_legend(&mut self) -> fmt::Result {
        let mut entries = self.palette.legend.clone();
        if !self.lives.waits.is_empty() {
            entries.push((Paint::WAIT, "waits for a frame".to_owned()));
        }
        if !self.lives.dry.is_empty() {
            entries.push((Paint::DRY, "the pool is dry".to_owned()));
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
                "<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"14\" height=\"12\" fill=\"{fill}\" stroke=\"#555\" stroke-width=\".5\"/>\
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

    /// Where something happened to the pool: not twice in a column.
    fn marks(&self) -> BTreeMap<usize, (EventKind, Duration)> {
        let mut marks = BTreeMap::new();
        for event in self.recording.events_of_pool() {
            let column = self.column(event.at);
            marks.entry(column).or_insert((event.kind, event.at));
        }
        marks
    }

    fn draw_marks_text(&mut self) -> fmt::Result {
        let marks = self.marks();
        if marks.is_empty() {
            return Ok(());
        }
        let mut room_from = 0.0;
        for (kind, at) in marks.into_values() {
            let text = kind.to_string();
            let (width, x) = (width_of(&text), self.x(at));
            // To the left of its line, if there is no room to the right.
            let from = if x + 3.0 + width > WIDTH - 8.0 {
                x - 3.0 - width
            } else {
                x + 3.0
            };
            if from >= room_from {
                writeln!(
                    self.body,
                    "<text class=\"mark\" x=\"{from:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"#333\">{text}</text>",
                    self.y + 10.0
                )?;
                room_from = from + width + 6.0;
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

    fn draw_ribbon(&mut self) -> fmt::Result {
        let lane = Lane {
            y: self.y,
            height: 9.0,
            class: "dry",
            least: 1.0,
        };
        let bars: Vec<Bar<'_>> = self
            .lives
            .dry
            .iter()
            .map(|&span| Bar {
                span,
                paint: Paint::DRY,
                name: &"dry",
            })
            .collect();
        if !bars.is_empty() {
            self.name_lane(lane, "dry")?;
            self.draw_lane(lane, &bars)?;
            self.y += 14.0;
        }
        Ok(())
    }

    fn draw_slots(&mut self) -> fmt::Result {
        let slots: Vec<_> = self.recording.slots().into_iter().collect();
        let (own, others) = slots.split_at(slots.len().min(MOST_LANES));
        let mut stays: HashMap<usize, Vec<&Stay>> = HashMap::new();
        for stay in &self.lives.stays {
            stays.entry(stay.slot).or_default().push(stay);
        }
        let number = own.len().max(1) as f64;
        let pitch = (LANES / number).min(MOST_HEIGHT);
        let gap = if pitch > 12.0 { 3.0 } else { 1.0 };
        for (place, slot) in own.iter().enumerate() {
            let lane = Lane {
                y: self.y,
                height: pitch - gap,
                class: "bar",
                least: (number / 4.0).max(2.0),
            };
            let room = pitch >= 12.0 || place % 4 == 0;
            if room {
                self.name_lane(lane, &format!("slot {slot}"))?;
            }
            let bars: Vec<Bar<'_>> = stays
                .get(slot)
                .into_iter()
                .flatten()
                .map(|stay| Bar {
                    span: stay.span,
                    paint: self.palette.paint(stay.hands),
                    name: &stay.hands,
                })
                .collect();
            self.draw_back(lane)?;
            self.draw_lane(lane, &bars)?;
            self.y += pitch;
        }
        if !others.is_empty() {
            self.draw_sum(others, &stays)?;
        }
        self.y += 4.0;
        Ok(())
    }

    /// How many of these slots were out, and who had them: layers, one above the other.
    fn draw_sum(&mut self, slots: &[usize], stays: &HashMap<usize, Vec<&Stay>>) -> fmt::Result {
        let mut sums = Sums::new();
        for stay in slots.iter().filter_map(|slot| stays.get(slot)).flatten() {
            let paint = self.palette.paint(stay.hands);
            self.add_to(&mut sums, stay.span, paint);
        }
        self.y += 4.0;
        let lane = Lane {
            y: self.y,
            height: SUM_HEIGHT,
            class: "sum",
            least: 0.0,
        };
        self.draw_back(lane)?;
        self.name_lane(lane, &format!("{} more", slots.len()))?;
        let whole = self.lives.whole.length().as_secs_f64() / COLUMNS as f64 * slots.len() as f64;
        let mut floors = vec![0.0; COLUMNS];
        for paint in 0..Palette::FILLS.len() {
            let roofs: Vec<_> = floors
                .iter()
                .zip(&sums.columns)
                .map(|(floor, times)| floor + times[paint].as_secs_f64() / whole * lane.height)
                .collect();
            if roofs != floors {
                self.draw_layer(lane, Palette::FILLS[paint], &floors, &roofs)?;
            }
            floors = roofs;
        }
        self.y += SUM_HEIGHT;
        Ok(())
    }

    fn draw_layer(&mut self, lane: Lane, fill: &str, floors: &[f64], roofs: &[f64]) -> fmt::Result {
        let bottom = lane.y + lane.height;
        write!(
            self.body,
            "<path class=\"{}\" fill=\"{fill}\" d=\"M{LEFT} {bottom:.1}",
            lane.class
        )?;
        for (column, roof) in roofs.iter().enumerate() {
            write!(
                self.body,
                "L{:.0} {:.1}",
                LEFT + column as f64,
                bottom - roof
            )?;
        }
        for (column, floor) in floors.iter().enumerate().rev() {
            write!(
                self.body,
                "L{:.0} {:.1}",
                LEFT + column as f64,
                bottom - floor
            )?;
        }
        writeln!(self.body, "Z\"/>")
    }

    fn draw_waiters(&mut self) -> fmt::Result {
        let mut tracks: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for wait in &self.lives.waits {
            let name = format!("{} waits: {}", wait.who, wait.outcome());
            tracks
                .entry(wait.track)
                .or_default()
                .push((wait.span, name));
        }
        let more = tracks.len().saturating_sub(MOST_WAITERS);
        for (track, waits) in tracks.into_iter().take(MOST_WAITERS) {
            let lane = Lane {
                y: self.y,
                height: WAITER_HEIGHT - 2.0,
                class: "wait",
                least: 2.0,
            };
            self.name_lane(lane, &format!("waiter {}", track + 1))?;
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
                "<text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"11\">and up to {more} more who waited at once</text>",
                self.y + 11.0
            )?;
            self.y += 16.0;
        }
        Ok(())
    }

    fn draw_back(&mut self, Lane { y, height, .. }: Lane) -> fmt::Result {
        writeln!(
            self.body,
            "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{PLOT}\" height=\"{height:.1}\" fill=\"#f0f0f0\"/>"
        )
    }

    fn name_lane(&mut self, Lane { y, height, .. }: Lane, name: &str) -> fmt::Result {
        writeln!(
            self.body,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"11\">{}</text>",
            LEFT - 8.0,
            y + height / 2.0 + 4.0,
            Xml(name)
        )
    }

    /// The bars of a lane: those that are wide enough by themselves, the others as sums.
    fn draw_lane(&mut self, lane: Lane, bars: &[Bar<'_>]) -> fmt::Result {
        let mut sums = Sums::new();
        let mut narrow = false;
        for &Bar { span, paint, .. } in bars {
            if self.width(span) < lane.least {
                self.add_to(&mut sums, span, paint);
                narrow = true;
            }
        }
        if narrow {
            self.draw_sums(lane, &sums)?;
        }
        for &Bar { span, paint, name } in bars {
            let Paint(paint) = paint;
            let width = self.width(span);
            if width >= lane.least {
                writeln!(
                    self.body,
                    "<rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{}, {}</title></rect>",
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

    /// Columns of a lane, each as high as the share of its time that is taken, in the colour of most of it.
    fn draw_sums(&mut self, lane: Lane, sums: &Sums) -> fmt::Result {
        let whole = self.lives.whole.length().as_secs_f64() / COLUMNS as f64;
        let columns: Vec<_> = sums
            .columns
            .iter()
            .map(|times| summed_up(times, whole))
            .collect();
        let mut paths: BTreeMap<Paint, String> = BTreeMap::new();
        let mut from = 0;
        for equal in columns.chunk_by(|one, next| one == next) {
            if let Some((paint, quarters)) = equal[0] {
                let height = lane.height * quarters / 4.0;
                let path = paths.entry(paint).or_default();
                let (x, y) = (LEFT + from as f64, lane.y + lane.height - height);
                write!(
                    path,
                    "M{x} {y:.1}h{}v{height:.1}h-{}z",
                    equal.len(),
                    equal.len()
                )?;
            }
            from += equal.len();
        }
        for (Paint(paint), path) in paths {
            let fill = Palette::FILLS[paint];
            writeln!(self.body, "<path fill=\"{fill}\" d=\"{path}\"/>")?;
        }
        Ok(())
    }

    /// Where the pool was dry for long enough to be seen, all over the lanes.
    fn draw_bands(&mut self, top: f64, bottom: f64) -> fmt::Result {
        let mut bands: Vec<Span> = Vec::new();
        for &span in &self.lives.dry {
            match bands.last_mut() {
                Some(last) if self.x(span.from) - self.x(last.to) < 1.0 => last.to = span.to,
                _ => bands.push(span),
            }
        }
        bands.retain(|&span| self.width(span) >= 1.0);
        for span in bands {
            writeln!(
                self.body,
                "<rect class=\"band\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#d7191c\" fill-opacity=\".13\"/>",
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
        let whole = self.lives.whole.length();
        let step = step_of(whole);
        writeln!(
            self.body,
            "<path d=\"M{LEFT} {y:.1}h{PLOT}\" stroke=\"#222\" fill=\"none\"/>"
        )?;
        let mut at = Duration::ZERO;
        while at <= whole {
            let x = self.x(self.lives.whole.from.saturating_add(at));
            writeln!(
                self.body,
                "<path d=\"M{x:.1} {y:.1}v5\" stroke=\"#222\"/>\
                 <path d=\"M{x:.1} {top:.1}V{y:.1}\" stroke=\"#222\" stroke-opacity=\".13\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
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
        let used = self.recording.slots().len();
        writeln!(
            self.body,
            "<text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">{frames} frames, {used} of them seen here; \
             {} events, {lost} lost; 0 is {} after the pool was made</text>",
            self.y + 10.0,
            events.len(),
            Time(self.lives.whole.from)
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

    /// How much of a span lies in a column.
    fn part_in(&self, span: Span, column: usize) -> Duration {
        let from = span.from.max(self.begin_of(column));
        let to = span.to.min(self.begin_of(column + 1));
        to.saturating_sub(from)
    }

    fn begin_of(&self, column: usize) -> Duration {
        let Span { from, .. } = self.lives.whole;
        let nanoseconds = self.nanoseconds() * column as u128 / COLUMNS as u128;
        from + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn column(&self, at: Duration) -> usize {
        let since = at.saturating_sub(self.lives.whole.from).as_nanos();
        let column = since * COLUMNS as u128 / self.nanoseconds();
        usize::try_from(column).map_or(COLUMNS - 1, |column| column.min(COLUMNS - 1))
    }

    fn nanoseconds(&self) -> u128 {
        self.lives.whole.length().as_nanos().max(1)
    }

    fn x(&self, at: Duration) -> f64 {
        let since = at.saturating_sub(self.lives.whole.from);
        LEFT + self.pixels(since)
    }

    fn width(&self, span: Span) -> f64 {
        self.pixels(span.length())
    }

    fn pixels(&self, time: Duration) -> f64 {
        let whole = self.lives.whole.length().as_secs_f64();
        if whole > 0.0 {
            PLOT * time.as_secs_f64() / whole
        } else {
            0.0
        }
    }
}

type Times = [Duration; Palette::FILLS.len()];

/// How much time each paint has in each column.
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

/// Acquirer had most of a column, and how many quarters of it were taken in all, one at least.
fn summed_up(times: &Times, whole: f64) -> Option<(Paint, f64)> {
    let taken: Duration = times.iter().sum();
    let most = (0..times.len()).max_by_key(|&paint| times[paint])?;
    let quarters = (4.0 * taken.as_secs_f64() / whole).round().clamp(1.0, 4.0);
    (!taken.is_zero()).then_some((Paint(most), quarters))
}

/// The dry spans, and how much time of them is before each.
struct DryTime<'a> {
    spans: &'a [Span],
    before: Vec<Duration>,
}

impl<'a> DryTime<'a> {
    fn of(spans: &'a [Span]) -> Self {
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

/// A step of 1, 2 or 5 times a power of ten, of which there are 5 to 12 in the whole.
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

/// A place on the axis, in the unit of the steps.
struct Tick {
    at: Duration,
    step: Duration,
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, step } = self;
        match step.as_nanos() {
            0 => f.write_str("0"),
            1..1_000 => write!(f, "{} ns", at.as_nanos()),
            1_000..1_000_000 => write!(f, "{} µs", at.as_micros()),
            1_000_000..1_000_000_000 => write!(f, "{} ms", at.as_millis()),
            _ => write!(f, "{} s", at.as_secs()),
        }
    }
}

/// A time with three digits.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let (number, unit) = match self.0.as_nanos() {
            0 => return f.write_str("0 s"),
            1..1_000_000 => (seconds * 1e6, "µs"),
            1_000_000..1_000_000_000 => (seconds * 1e3, "ms"),
            _ => (seconds, "s"),
        };
        let digits = match number {
            0.0..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        write!(f, "{number:.digits$} {unit}")
    }
}

/// A name of which not too much is shown.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 28;
        if self.0.chars().count() <= MOST {
            return f.write_str(self.0);
        }
        let start: String = self.0.chars().take(MOST - 1).collect();
        write!(f, "{start}…")
    }
}

/// About how wide a text is, in pixels.
fn width_of(text: &str) -> f64 {
    text.chars()
        .map(|c| if c < '\u{2000}' { 6.8 } else { 12.5 })
        .sum()
}

/// Text as XML takes it. What it has no way to say is replaced.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\u{fffe}' | '\u{ffff}' => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c if c.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use crate::recording::Event;
    use crate::recording::timeline::tests::{event, recording};

    use super::*;

    fn svg(recording: &Recording) -> String {
        let mut svg = Vec::new();
        recording.write_svg(&mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        roxmltree::Document::parse(&svg).unwrap();
        svg
    }

    /// Frames that go through three stages in turn, each for so many nanoseconds.
    fn busy(events: u64, slots: u64, nanoseconds: u64) -> Recording {
        let events: Vec<_> = (0..events)
            .map(|number| {
                let (kind, label) = match number / slots % 4 {
                    0 => (EventKind::Acquired, "capture"),
                    1 => (EventKind::HandedOn, "encoder"),
                    2 => (EventKind::HandedOn, "writer"),
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
    fn a_picture_stays_small_whatever_is_in_it() {
        for (slots, nanoseconds, most) in [
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
            assert!(bytes < most, "{bytes} for {slots} slots");
        }
    }

    #[test]
    fn many_slots_do_not_make_it_higher() {
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
    fn the_shortest_stay_is_seen() {
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
    fn time_within_dry_spans() {
        let span = |from, to| Span {
            from: Duration::from_secs(from),
            to: Duration::from_secs(to),
        };
        let spans = [span(1, 3), span(5, 6)];
        let dry = DryTime::of(&spans);
        let within = |from, to| dry.within(span(from, to)).as_secs();
        assert_eq!(
            [within(0, 9), within(2, 5), within(3, 5), within(2, 2)],
            [3, 1, 0, 0]
        );
        assert_eq!([within(5, 7), within(0, 1), within(6, 9)], [1, 0, 0]);
    }

    #[test]
    fn the_axis_has_some_steps_and_not_too_many() {
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
