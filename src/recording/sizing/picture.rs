//! SVG writer: the waits of a forecast by number of frames.

use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

use crate::label::Label;

use super::super::palette::{Paint, Palette};
use super::super::svg::write_document;
use super::super::text::{Short, Time, Xml, width_of};
use super::super::timeline::{HoldSpan, Owner, Span};
use super::report::{DepthForecast, Sizing};

// Lengths are in pixels.

const WIDTH: f64 = 760.0;
/// Left edge of the plots.
const LEFT: f64 = 24.0;
/// Width of the plots.
const PLOT: f64 = 712.0;
/// Height of one plot.
const HEIGHT: f64 = 120.0;
/// Maximum number of columns.
const MAX_COLUMNS: usize = 32;
/// Minimum width of a column with its numbers.
const MIN_NUMBERED: f64 = 40.0;

impl Sizing {
    /// Writes the forecast as a picture: an SVG file that any browser opens.
    ///
    /// The upper plot has the total wait by number of frames, colored by the label of the waiting
    /// callers. The lower plot has the longest wait. Numbers of frames with which the pipeline
    /// stalls are hatched, and the recorded number is marked. At most 32 numbers of frames are
    /// shown, around the least one that suffices.
    ///
    /// # Errors
    ///
    /// Returns the errors of `out`.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// # let pool = FramePool::builder().frames(2).frame_size(64).record(100).build()?;
    /// drop(pool.acquire()?);
    /// let sizing = pool.recording().expect("`record` turns the recorder on").sizing();
    /// let mut picture = Vec::new();
    /// sizing.write_svg(&mut picture)?;
    /// assert!(String::from_utf8(picture)?.contains("1 of 2 frames would have sufficed for "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_svg(&self, out: impl io::Write) -> io::Result<()> {
        let depths = self.drawn();
        let holds = waits_as_holds(depths);
        let mut picture = Picture {
            sizing: self,
            depths,
            palette: Palette::new(&holds),
            body: String::new(),
            y: 0.0,
        };
        // Writing to a `String` does not fail.
        let _written = picture.draw();
        write_document(out, WIDTH, picture.y, &picture.body)
    }

    /// Returns the forecasts that are drawn.
    fn drawn(&self) -> &[DepthForecast] {
        const HALF: usize = MAX_COLUMNS / 2;
        let needed = self.frames_needed();
        let needed = needed.unwrap_or(self.frames.saturating_add(HALF));
        let recorded = self.frames.min(needed.saturating_add(HALF));
        let last = needed.max(recorded).saturating_add(1);
        let end = self.depths.partition_point(|depth| depth.frames <= last);
        &self.depths[end.saturating_sub(MAX_COLUMNS)..end]
    }
}

/// Returns the total waits as holds, by which a palette assigns its colors.
fn waits_as_holds(depths: &[DepthForecast]) -> Vec<HoldSpan> {
    let labels = depths.iter().flat_map(|depth| &depth.labels);
    labels
        .map(|of| HoldSpan {
            slot: 0,
            span: Span {
                from: Duration::ZERO,
                to: of.waits.total,
            },
            owner: owner_of(of.label),
        })
        .collect()
}

/// Returns the lines of a text, as wide as the plots.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or("", String::as_str);
        if !last.is_empty() && width_of(last) + width_of(word) > PLOT {
            lines.push(String::new());
        }
        if let Some(last) = lines.last_mut() {
            let space = if last.is_empty() { "" } else { " " };
            *last += space;
            *last += word;
        }
    }
    lines
}

fn owner_of(label: Option<Label>) -> Owner {
    label.map_or(Owner::Unknown, Owner::Label)
}

/// Picture that is being drawn, from top to bottom.
struct Picture<'a> {
    sizing: &'a Sizing,
    depths: &'a [DepthForecast],
    palette: Palette,
    body: String,
    /// Top of the next element.
    y: f64,
}

impl<'a> Picture<'a> {
    fn draw(&mut self) -> fmt::Result {
        self.draw_title()?;
        self.draw_legend()?;
        let top = self.y;
        self.draw_total()?;
        self.draw_longest()?;
        self.draw_stalls(top)?;
        self.draw_axis()
    }

    fn draw_title(&mut self) -> fmt::Result {
        let text = format!("{:#}", self.sizing);
        let mut style = "font-size=\"14\" font-weight=\"bold\"";
        self.y = 12.0;
        for line in text.split([';', '\n']).flat_map(wrapped) {
            self.y += 17.0;
            let y = self.y;
            writeln!(
                self.body,
                "<text x=\"{LEFT}\" y=\"{y:.0}\" {style}>{}</text>",
                Xml(&line)
            )?;
            style = "font-size=\"12\"";
        }
        self.y += 14.0;
        Ok(())
    }

    fn draw_legend(&mut self) -> fmt::Result {
        let mut x = LEFT;
        for (paint, name) in self.palette.legend.clone() {
            let name = match paint {
                Paint::UNKNOWN => "(no label)".to_owned(),
                _ => Short(&name).to_string(),
            };
            let width = 20.0 + width_of(&name) + 20.0;
            if x + width > WIDTH - 16.0 {
                x = LEFT;
                self.y += 20.0;
            }
            let fill = Palette::FILLS[paint.0];
            writeln!(
                self.body,
                "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"14\" height=\"12\" fill=\"{fill}\" \
                 stroke=\"#555\" stroke-width=\".5\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\">{}</text>",
                self.y,
                x + 20.0,
                self.y + 10.5,
                Xml(&name)
            )?;
            x += width;
        }
        self.y += 24.0;
        Ok(())
    }

    fn draw_total(&mut self) -> fmt::Result {
        let max = self.max(|depth| depth.waits.total);
        let bottom = self.draw_plot("total wait")?;
        for (column, depth) in self.flowing() {
            let mut y = bottom;
            for of in &depth.labels {
                let Paint(paint) = self.palette.paint(owner_of(of.label));
                let name = of.label.map_or("(no label)", Label::name);
                y -= self.draw_bar((column, y), paint, of.waits.total, max, name)?;
            }
            self.draw_number(column, y, depth.waits.total)?;
        }
        Ok(())
    }

    fn draw_longest(&mut self) -> fmt::Result {
        let max = self.max(|depth| depth.waits.longest);
        let bottom = self.draw_plot("longest wait")?;
        let Paint(paint) = Paint::WAIT;
        for (column, depth) in self.flowing() {
            let longest = depth.waits.longest;
            let height = self.draw_bar((column, bottom), paint, longest, max, "longest")?;
            self.draw_number(column, bottom - height, longest)?;
        }
        Ok(())
    }

    /// Draws the name and the base line of a plot. Returns the position of the line.
    fn draw_plot(&mut self, name: &str) -> Result<f64, fmt::Error> {
        let bottom = self.y + 30.0 + HEIGHT;
        writeln!(
            self.body,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\" \
             font-weight=\"bold\">{name}</text>\
             <path d=\"M{LEFT} {bottom:.1}h{PLOT}\" stroke=\"#222\" fill=\"none\"/>",
            LEFT + PLOT,
            self.y + 8.0
        )?;
        self.y = bottom + 18.0;
        Ok(bottom)
    }

    /// Draws a bar that stands on a line of a column. Returns its height.
    fn draw_bar(
        &mut self,
        (column, bottom): (usize, f64),
        paint: usize,
        time: Duration,
        max: Duration,
        name: &str,
    ) -> Result<f64, fmt::Error> {
        if time.is_zero() {
            return Ok(0.0);
        }
        let height = HEIGHT * time.as_secs_f64() / max.as_secs_f64();
        let (pitch, fill) = (self.pitch(), Palette::FILLS[paint]);
        writeln!(
            self.body,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" \
             fill=\"{fill}\"><title>{}, {}</title></rect>",
            self.x(column) + pitch * 0.15,
            bottom - height,
            pitch * 0.7,
            Xml(name),
            Time(time)
        )?;
        Ok(height)
    }

    /// Draws a time above a bar.
    fn draw_number(&mut self, column: usize, y: f64, time: Duration) -> fmt::Result {
        if self.pitch() < MIN_NUMBERED || time.is_zero() {
            return Ok(());
        }
        writeln!(
            self.body,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\">{}</text>",
            self.middle(column),
            y - 4.0,
            Time(time)
        )
    }

    /// Hatches the columns in which the pipeline stalls.
    fn draw_stalls(&mut self, top: f64) -> fmt::Result {
        let (pitch, bottom) = (self.pitch(), self.y - 18.0);
        for column in 0..self.depths.len() {
            if self.depths[column].stalls {
                writeln!(
                    self.body,
                    "<rect class=\"stall\" x=\"{:.1}\" y=\"{:.1}\" width=\"{pitch:.1}\" \
                     height=\"{:.1}\" fill=\"url(#unclaimed)\"><title>stalls</title></rect>",
                    self.x(column),
                    top + 16.0,
                    bottom - top - 16.0
                )?;
            }
        }
        Ok(())
    }

    fn draw_axis(&mut self) -> fmt::Result {
        let needed = self.sizing.frames_needed();
        for (column, depth) in self.depths.iter().enumerate() {
            let frames = depth.frames;
            let weight = if Some(frames) == needed {
                "bold"
            } else {
                "normal"
            };
            let x = self.middle(column);
            writeln!(
                self.body,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" \
                 font-weight=\"{weight}\">{frames}</text>",
                self.y - 2.0
            )?;
            if frames == self.sizing.frames {
                writeln!(
                    self.body,
                    "<text class=\"recorded\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" \
                     font-size=\"10\">recorded</text>",
                    self.y + 11.0
                )?;
            }
        }
        self.y += 30.0;
        writeln!(
            self.body,
            "<text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">\
             Waits by number of frames, if stages work on each frame as long as recorded; \
             {} events lost</text>",
            self.y, self.sizing.lost
        )?;
        self.y = (self.y + 14.0).ceil();
        Ok(())
    }

    /// Returns the columns in which the pipeline does not stall.
    fn flowing(&self) -> Vec<(usize, &'a DepthForecast)> {
        let columns = self.depths.iter().enumerate();
        columns.filter(|(_, depth)| !depth.stalls).collect()
    }

    /// Returns the longest of the times that are drawn.
    fn max(&self, time: impl Fn(&DepthForecast) -> Duration) -> Duration {
        let times = self.depths.iter().filter(|depth| !depth.stalls).map(time);
        times.max().unwrap_or_default()
    }

    fn pitch(&self) -> f64 {
        (PLOT / self.depths.len().max(1) as f64).min(90.0)
    }

    fn x(&self, column: usize) -> f64 {
        LEFT + self.pitch() * column as f64
    }

    fn middle(&self, column: usize) -> f64 {
        self.x(column) + self.pitch() / 2.0
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::super::report::WaitTotals;
    use super::super::{LabelForecast, SizingOptions};
    use super::*;

    use crate::recording::Recording;

    fn forecast(frames: usize, milliseconds: u64, stalls: bool) -> DepthForecast {
        let time = Duration::from_millis(milliseconds);
        let waits = WaitTotals {
            count: u64::from(milliseconds > 0),
            noticeable: u64::from(milliseconds > 0),
            longest: time,
            total: time,
        };
        let of = |name: Option<&str>| LabelForecast {
            label: name.map(Label::new),
            requests: 9,
            waits,
            holders: Vec::new(),
        };
        DepthForecast {
            frames,
            waits,
            labels: vec![of(Some("<camera>")), of(None)],
            stalls,
        }
    }

    fn sizing(depths: Vec<DepthForecast>) -> Sizing {
        let recording = Recording {
            shares: Vec::new(),
            pool: None,
            frames: depths.len() / 2,
            events: Vec::new(),
            lost: 7,
            read_at: Duration::ZERO,
        };
        let mut sizing = recording.sizing_with(&SizingOptions::new());
        sizing.depths = depths;
        sizing
    }

    /// Returns the classes of the elements, sorted.
    fn classes(sizing: &Sizing) -> Vec<String> {
        let mut svg = Vec::new();
        sizing.write_svg(&mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let nodes = document.descendants();
        let classes = nodes.filter_map(|node| node.attribute("class").map(str::to_owned));
        let mut classes: Vec<_> = classes.collect();
        classes.sort_unstable();
        classes
    }

    #[test]
    fn each_number_of_frames_has_a_bar_per_label_and_one_for_the_longest_wait() {
        let depths = vec![
            forecast(1, 0, true),
            forecast(2, 900, false),
            forecast(3, 20, false),
            forecast(4, 0, false),
        ];
        let bars = ["bar"; 6];
        let all = [bars.as_slice(), &["recorded", "stall"]].concat();
        assert_eq!(classes(&sizing(depths)), all);
    }

    #[test]
    fn the_number_of_columns_is_limited() {
        let depths = (1..=1000).map(|frames| forecast(frames, 5, false));
        assert_eq!(classes(&sizing(depths.collect())).len(), 32 * 3 + 1);
        assert!(classes(&sizing(Vec::new())).is_empty());
    }
}
