//! Results as Markdown tables in a README.

use std::fmt::Write;
use std::path::Path;

use crate::chart::Chart;
use crate::contender::Role;
use crate::record::Record;
use crate::table::{Row, Table};

/// Replaces the tables in `readme` with the results in `records`: a line per workload between
/// `<!-- summary NAME -->` and `<!-- end -->`, and all numbers between `<!-- tables NAME -->` and
/// `<!-- end -->`. NAME is the name of the record's file without its extension. The README has one
/// of the two marks or both.
///
/// # Errors
///
/// If a file cannot be read or written, or the README has neither mark for one of the records.
pub fn replace_tables(readme: &Path, records: &[&Path]) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", readme.display());
    let mut text = std::fs::read_to_string(readme).map_err(|error| failed(&error))?;
    for path in records {
        let record = Record::read(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut replacements = 0;
        for (kind, replacement) in [("summary", summary(&record)), ("tables", tables(&record))] {
            let begin = format!("<!-- {kind} {name} -->\n");
            if let Some(replaced) = replace(&text, &begin, &replacement) {
                text = replaced;
                replacements += 1;
            }
        }
        if replacements == 0 {
            return Err(failed(&format!(
                "neither <!-- summary {name} --> nor <!-- tables {name} --> found"
            )));
        }
    }
    std::fs::write(readme, text).map_err(|error| failed(&error))
}

/// Returns `text` with `replacement` between `begin` and the next end mark.
fn replace(text: &str, begin: &str, replacement: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let end = rest.find("<!-- end -->")?;
    Some(format!("{before}{begin}{replacement}{}", &rest[end..]))
}

/// Returns a table with a line per workload.
fn summary(record: &Record) -> String {
    let mut text = format!(
        "\nMeasured {}. Median nanoseconds per frame. In parentheses: this pool's time divided by \
         the other's; below 1, this pool is faster.\n\n",
        record.conditions()
    );
    text.push_str(
        "| workload | this pool | fastest shared pool | fastest of all peers | lower bound |\n",
    );
    text.push_str("|---|---:|---|---|---|\n");
    for table in &record.tables {
        let Some(ours) = table.ours() else { continue };
        let compared_to = |other: Option<&Row>| match other {
            Some(row) => {
                let (name, time) = (escaped(&row.name), number(row.median));
                format!("{name}: {time} ({:.2})", ours.median / row.median)
            }
            None => "none".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            table.id,
            number(ours.median),
            compared_to(table.best_peer()),
            compared_to(table.best_of_all()),
            compared_to(table.lower_bound())
        );
    }
    text.push('\n');
    text
}

/// Returns a name with its angle brackets escaped, so that they do not start an HTML tag.
fn escaped(name: &str) -> String {
    name.replace('<', "\\<")
}

/// Returns all numbers: a table per workload.
fn tables(record: &Record) -> String {
    let mut text = format!("\nMeasured {}.\n", record.conditions());
    for table in &record.tables {
        let _ = write!(text, "\n**{}**: {}", table.id, table.title);
        if let Some(distance) = table.distance {
            let trip = distance.cache_line_round_trip;
            let _ = write!(
                text,
                ". A cache line takes {trip:.0} ns from core to core and back"
            );
        }
        text.push_str(".\n\n");
        text.push_str(&markdown_table(table));
    }
    text.push('\n');
    text
}

fn markdown_table(table: &Table) -> String {
    let ours = table.ours().map_or(f64::NAN, |row| row.median);
    let tails = table.rows.iter().any(|row| row.tail.is_some());
    let mut text = String::from("| ns per frame | median | minimum | relative |");
    if tails {
        text.push_str(" p50 ns | p99 ns | p99.9 ns | p99.99 ns | max µs |");
    }
    text.push_str("\n|---|---:|---:|---:|");
    if tails {
        text.push_str("---:|---:|---:|---:|---:|");
    }
    text.push('\n');
    for row in &table.rows {
        let name = escaped(&row.name);
        let name = match row.role {
            Role::Ours | Role::OursVariant => format!("**{name}**"),
            Role::LowerBound => format!("*{name}*"),
            Role::SharedPeer => name,
            Role::OtherPeer => format!("{name} †"),
        };
        let ratio = row.median / ours;
        let (median, minimum) = (number(row.median), number(row.minimum));
        let _ = write!(text, "| {name} | {median} | {minimum} | {ratio:.2} |");
        if let Some(tail) = row.tail {
            for value in [tail.p50, tail.p99, tail.p999, tail.p9999, tail.max / 1000.0] {
                let _ = write!(text, " {} |", thousands(value));
            }
        }
        text.push('\n');
    }
    text
}

/// Returns the numbers of a chart as a table with a line per value of the horizontal axis.
pub fn chart_table(chart: &Chart) -> String {
    let mut text = format!("\n**{}**: {}.\n\n| {} |", chart.id, chart.title, chart.axis);
    for curve in &chart.curves {
        let _ = write!(text, " {} |", escaped(&curve.name));
    }
    let _ = writeln!(text, "\n|---:|{}", "---:|".repeat(chart.curves.len()));
    for (index, x) in chart.xs.iter().enumerate() {
        let _ = write!(text, "| {} |", thousands(*x));
        for curve in &chart.curves {
            let _ = write!(text, " {} |", number(curve.medians[index]));
        }
        text.push('\n');
    }
    text
}

/// Formats a number: with two decimals below 10, one below 100, and none from there on.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => thousands(value),
    }
}

/// Formats a number without decimals, with commas between groups of three digits.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Curve;

    #[test]
    fn text_between_the_marks_is_replaced() {
        let text = "a <!-- x -->\nold<!-- end --> b<!-- end -->";
        let wanted = "a <!-- x -->\nnew<!-- end --> b<!-- end -->";
        assert_eq!(
            replace(text, "<!-- x -->\n", "new").as_deref(),
            Some(wanted)
        );
        assert_eq!(replace(text, "<!-- y -->\n", "new"), None);
    }

    #[test]
    fn a_chart_becomes_a_table_with_a_column_per_line() {
        let curve = |name: &str, medians: [f64; 2]| Curve {
            name: name.to_owned(),
            role: Role::Ours,
            hollow: false,
            medians: medians.into(),
        };
        let chart = Chart {
            id: "c",
            title: "t".to_owned(),
            axis: "frames",
            xs: vec![4.0, 1024.0],
            curves: vec![curve("a", [1.0, 20.0]), curve("b<c>", [300.0, 4.0])],
        };
        let wanted = "\n**c**: t.\n\n| frames | a | b\\<c> |\n|---:|---:|---:|\n\
                      | 4 | 1.00 | 300 |\n| 1,024 | 20.0 | 4.00 |\n";
        assert_eq!(chart_table(&chart), wanted);
    }

    #[test]
    fn a_larger_number_has_fewer_decimals() {
        let all = [1.234, 12.34, 123.4, 1234.5, 12_345_678.0].map(number);
        assert_eq!(all, ["1.23", "12.3", "123", "1,234", "12,345,678"]);
    }
}
