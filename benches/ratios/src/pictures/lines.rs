//! Line charts.

use std::fs;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{
    Area, Drawn, FAINT, QUIET, Scale, TOP, WIDTH, color, label, start, write, write_meaning,
};
use crate::chart::{Chart, Curve};
use crate::contender::Role;

/// Ends of the horizontal axis. The labels of the vertical axis are to the left of it.
const SIDES: (i32, i32) = (70, WIDTH - 40);
const BOTTOM: i32 = TOP + 340;

/// Draws `chart` into a file NAME.svg in `folder`, where NAME is that of the chart.
///
/// # Errors
///
/// If the file cannot be written.
pub fn draw_chart(chart: &Chart, conditions: &str, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let path = folder.join(format!("{}.svg", chart.id));
    draw(chart, conditions, &path).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw(chart: &Chart, conditions: &str, path: &Path) -> Drawn {
    let x = Scale::of(chart.xs.iter().copied(), SIDES);
    let medians = chart.curves.iter().flat_map(|curve| &curve.medians);
    let y = Scale::of(medians.copied(), (BOTTOM, TOP));
    let unit = format!(
        "vertical: median nanoseconds per frame; lower is faster{}; horizontal: {}{}",
        y.note(),
        chart.axis,
        x.note()
    );
    let area = start(path, BOTTOM, &chart.title, &unit, conditions)?;
    draw_grid(&area, &chart.xs, &x, &y)?;
    // The first line is on top of the others.
    for curve in chart.curves.iter().rev() {
        let points = chart.xs.iter().zip(&curve.medians);
        let points: Vec<_> = points.map(|(at, ns)| (x.at(*at), y.at(*ns))).collect();
        draw_curve(&area, curve, &points)?;
    }
    let mut next = 20;
    for curve in &chart.curves {
        draw_curve(&area, curve, &[(next + 6, BOTTOM + 48)])?;
        next = write_meaning(&area, &curve.name, (next, BOTTOM + 48))?;
    }
    area.present()?;
    Ok(())
}

fn draw_grid(area: &Area<'_>, xs: &[f64], x: &Scale, y: &Scale) -> Drawn {
    let (left, right) = SIDES;
    for tick in y.ticks() {
        let line = vec![(left, y.at(tick)), (right, y.at(tick))];
        area.draw(&PathElement::new(line, FAINT))?;
        let at = (left - 10, y.at(tick));
        write(area, &label(tick), at, 12, QUIET, HPos::Right)?;
    }
    for tick in xs {
        let at = x.at(*tick);
        area.draw(&PathElement::new(vec![(at, TOP - 6), (at, BOTTOM)], FAINT))?;
        let below = (at, BOTTOM + 14);
        write(area, &label(*tick), below, 12, QUIET, HPos::Center)?;
    }
    let axes = vec![(left, TOP - 6), (left, BOTTOM), (right, BOTTOM)];
    area.draw(&PathElement::new(axes, QUIET))?;
    Ok(())
}

/// Draws a line with a circle at each of its points.
fn draw_curve(area: &Area<'_>, curve: &Curve, points: &[(i32, i32)]) -> Drawn {
    let color = color(curve.role);
    let width = if curve.role == Role::Ours { 3 } else { 1 };
    let line = color.stroke_width(width);
    area.draw(&PathElement::new(points, line))?;
    for point in points {
        area.draw(&Circle::new(*point, 4, WHITE.filled()))?;
        let style = if curve.hollow {
            color.stroke_width(2)
        } else {
            color.filled()
        };
        area.draw(&Circle::new(*point, 4, style))?;
    }
    Ok(())
}
