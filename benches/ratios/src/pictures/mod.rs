//! Bar charts of the results, one per workload, the shortest bar first. Line charts of the curves.

mod lines;

pub use lines::draw_chart;

use std::fs;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contender::Role;
use crate::readme::number;
use crate::record::Record;
use crate::table::Table;

const WIDTH: i32 = 960;
/// Left end of the bars. The names are to the left of it.
const LEFT: i32 = 350;
/// Right end of the longest bar. Its number is to the right of it.
const RIGHT: i32 = WIDTH - 170;
const TOP: i32 = 84;
const BAR: i32 = 16;
const ROW: i32 = 23;
/// Height of what is below the bars: labels of the axis, legend, date and machine.
const BELOW: i32 = 98;
/// Maximum ratio of the longest bar to the shortest on a linear scale. Above it, the scale is
/// logarithmic.
const MAX_LINEAR_SPREAD: f64 = 20.0;

const INK: RGBColor = RGBColor(33, 37, 41);
const FAINT: RGBColor = RGBColor(222, 226, 230);
const QUIET: RGBColor = RGBColor(73, 80, 87);

const COLORS: [(Role, RGBColor, &str); 5] = [
    (Role::Ours, RGBColor(217, 72, 15), "ks-allocator"),
    (Role::OursVariant, RGBColor(255, 169, 121), "other options"),
    (
        Role::LowerBound,
        RGBColor(134, 142, 150),
        "lower bound, no pool",
    ),
    (
        Role::SharedPeer,
        RGBColor(66, 99, 160),
        "any thread can get any free frame",
    ),
    (
        Role::OtherPeer,
        RGBColor(165, 196, 228),
        "reserves frames, or is unbounded",
    ),
];

/// Draws each table of `record` into a file NAME.svg in `folder`, where NAME is that of the
/// workload.
///
/// # Errors
///
/// If a file cannot be written.
pub fn draw(record: &Record, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for table in &record.tables {
        let path = folder.join(format!("{}.svg", table.id));
        draw_table(table, &record.conditions(), &path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

type Area<'path> = DrawingArea<SVGBackend<'path>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Mapping of values to coordinates.
struct Scale {
    from: f64,
    to: f64,
    /// Coordinates of `from` and `to`.
    ends: (i32, i32),
    logarithmic: bool,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone, ends: (i32, i32)) -> Self {
        let max = values.clone().fold(0.0, f64::max);
        let min = values.fold(f64::INFINITY, f64::min);
        let logarithmic = max > min * MAX_LINEAR_SPREAD;
        // Starting a logarithmic scale below the minimum makes the shortest bar visible.
        let from = if logarithmic { min / 2.0 } else { 0.0 };
        Self {
            from,
            to: max,
            ends,
            logarithmic,
        }
    }

    fn at(&self, value: f64) -> i32 {
        let share = if self.logarithmic {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            value / self.to
        };
        let (first, last) = self.ends;
        first + (share * f64::from(last - first)).round() as i32
    }

    /// Returns what is added to the description of a picture.
    fn note(&self) -> &'static str {
        if self.logarithmic {
            ", logarithmic scale"
        } else {
            ""
        }
    }

    /// Returns round values for the grid lines.
    fn ticks(&self) -> Vec<f64> {
        let power = |value: f64| 10_f64.powi(value.log10().floor() as i32);
        let mut ticks = Vec::new();
        if self.logarithmic {
            let narrow = self.to < self.from * 200.0;
            let steps: &[f64] = if narrow { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let mut decade = power(self.from);
            while decade <= self.to {
                ticks.extend(steps.iter().map(|step| step * decade));
                decade *= 10.0;
            }
        } else {
            let rough = self.to / 6.0;
            let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power(rough));
            let step = steps
                .into_iter()
                .find(|step| *step >= rough)
                .unwrap_or(rough);
            ticks.extend((0..=6).map(|number| f64::from(number) * step));
        }
        ticks.retain(|tick| (self.from..=self.to).contains(tick));
        ticks
    }
}

fn write(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: u32,
    color: RGBColor,
    side: HPos,
) -> Drawn {
    let style = ("sans-serif", size).into_font().color(&color);
    let style = style.pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// Starts a picture whose bars or lines end at `bottom`: with its title and unit above them, and
/// the date and machine below.
fn start<'path>(
    path: &'path Path,
    bottom: i32,
    title: &str,
    unit: &str,
    conditions: &str,
) -> Result<Area<'path>, Box<dyn std::error::Error>> {
    let size = (WIDTH.unsigned_abs(), (bottom + BELOW).unsigned_abs());
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    write(&area, title, (20, 24), 18, INK, HPos::Left)?;
    write(&area, unit, (20, 48), 14, QUIET, HPos::Left)?;
    write(&area, conditions, (20, bottom + 80), 13, QUIET, HPos::Left)?;
    Ok(area)
}

fn draw_table(table: &Table, conditions: &str, path: &Path) -> Drawn {
    let bottom = TOP + i32::try_from(table.rows.len())? * ROW;
    let scale = Scale::of(table.rows.iter().map(|row| row.median), (LEFT, RIGHT));
    let title = format!("{}: {}", table.id, table.title);
    let note = scale.note();
    let unit = format!("median nanoseconds per frame; shorter is faster{note}");
    let area = start(path, bottom, &title, &unit, conditions)?;
    draw_axis(&area, &scale, bottom)?;
    draw_lower_bound(&area, table, &scale, bottom)?;
    draw_bars(&area, table, &scale)?;
    draw_legend(&area, table, bottom + 48)?;
    area.present()?;
    Ok(())
}

/// Returns the label of a round value.
fn label(tick: f64) -> String {
    if tick < 1.0 {
        format!("{tick}")
    } else {
        number(tick).replace(".00", "").replace(".0", "")
    }
}

fn draw_axis(area: &Area<'_>, scale: &Scale, bottom: i32) -> Drawn {
    let mut labeled_to = 0;
    for tick in scale.ticks() {
        let x = scale.at(tick);
        area.draw(&PathElement::new(vec![(x, TOP - 6), (x, bottom)], FAINT))?;
        let label = label(tick);
        let half = i32::try_from(label.len())? * 4;
        if x - half > labeled_to {
            write(area, &label, (x, bottom + 14), 12, QUIET, HPos::Center)?;
            labeled_to = x + half;
        }
    }
    area.draw(&PathElement::new(
        vec![(LEFT, TOP - 6), (LEFT, bottom)],
        QUIET,
    ))?;
    Ok(())
}

/// Draws a dashed vertical line at the lower bound.
fn draw_lower_bound(area: &Area<'_>, table: &Table, scale: &Scale, bottom: i32) -> Drawn {
    let Some(bound) = table.lower_bound() else {
        return Ok(());
    };
    let x = scale.at(bound.median);
    for y in (TOP - 6..bottom).step_by(8) {
        area.draw(&PathElement::new(vec![(x, y), (x, y + 4)], QUIET))?;
    }
    write(area, "lower bound", (x, TOP - 14), 12, QUIET, HPos::Center)
}

fn draw_bars(area: &Area<'_>, table: &Table, scale: &Scale) -> Drawn {
    let ours = table.ours().map_or(f64::NAN, |row| row.median);
    for (row, top) in table
        .rows
        .iter()
        .zip((TOP..).step_by(ROW.unsigned_abs() as usize))
    {
        let middle = top + ROW / 2;
        let is_ours = row.role == Role::Ours;
        let ink = if is_ours { INK } else { QUIET };
        write(area, &row.name, (LEFT - 10, middle), 14, ink, HPos::Right)?;
        let ends = [
            (LEFT, middle - BAR / 2),
            (scale.at(row.median), middle + BAR / 2),
        ];
        area.draw(&Rectangle::new(ends, color(row.role).filled()))?;
        let value = format!("{} ({:.2}×)", number(row.median), row.median / ours);
        // Keeps grid lines out of the number.
        let (from, length) = (ends[1].0 + 4, i32::try_from(value.len())? * 7 + 4);
        let behind = [(from, middle - 8), (from + length, middle + 8)];
        area.draw(&Rectangle::new(behind, WHITE.filled()))?;
        write(
            area,
            &value,
            (scale.at(row.median) + 8, middle),
            13,
            ink,
            HPos::Left,
        )?;
    }
    Ok(())
}

fn color(role: Role) -> RGBColor {
    let entry = COLORS.iter().find(|(known, ..)| *known == role);
    entry.map_or(INK, |(_, color, _)| *color)
}

fn draw_legend(area: &Area<'_>, table: &Table, y: i32) -> Drawn {
    let mut x = 20;
    for (role, color, meaning) in COLORS {
        if !table.rows.iter().any(|row| row.role == role) {
            continue;
        }
        area.draw(&Rectangle::new(
            [(x, y - 6), (x + 12, y + 6)],
            color.filled(),
        ))?;
        x = write_meaning(area, meaning, (x, y))?;
    }
    Ok(())
}

/// Writes the text of an entry of the legend that begins at `(x, y)`. Returns where the next entry
/// begins.
fn write_meaning(
    area: &Area<'_>,
    meaning: &str,
    (x, y): (i32, i32),
) -> Result<i32, Box<dyn std::error::Error>> {
    write(area, meaning, (x + 18, y), 13, QUIET, HPos::Left)?;
    Ok(x + 18 + i32::try_from(meaning.len())? * 7 + 14)
}
