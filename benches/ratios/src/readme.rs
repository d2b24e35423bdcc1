//! The results as tables of a README.

use std::fmt::Write;
use std::path::Path;

use crate::contender::Role;
use crate::record::Record;
use crate::table::{Row, Table};

/// Puts the results in `records` into the file: a line for each workload between `<!-- summary NAME -->`
/// and `<!-- end -->`, and all numbers between `<!-- tables NAME -->` and `<!-- end -->`, where NAME is
/// that of the record's file. The file has the marks of either or of both.
///
/// # Errors
///
/// If a file cannot be read or written, or has no marks of a record.
pub fn replace_tables(readme: &Path, records: &[&Path]) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", readme.display());
    let mut text = std::fs::read_to_string(readme).map_err(|error| failed(&error))?;
    for path in records {
        let record = Record::read(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut places = 0;
        for (kind, replacement) in [("summary", summary(&record)), ("tables", tables(&record))] {
            let begin = format!("<!-- {kind} {name} -->\n");
            if let Some(replaced) = replace(&text, &begin, &replacement) {
                text = replaced;
                places += 1;
            }
        }
        if places == 0 {
            return Err(failed(&format!("no place for the results of {name}")));
        }
    }
    std::fs::write(readme, text).map_err(|error| failed(&error))
}

/// `text` with `replacement` between `begin` and the end that follows.
fn replace(text: &str, begin: &str, replacement: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let end = rest.find("<!-- end -->")?;
    Some(format!("{before}{begin}{replacement}{}", &rest[end..]))
}

/// A line for each workload.
fn summary(record: &Record) -> String {
    let mut text = format!(
        "\nMeasured {}. Nanoseconds a frame; in brackets, this pool's time by that one's: below 1 this pool \
         is faster.\n\n",
        record.circumstances()
    );
    text.push_str("| | this pool | the best that shares | the best of all | the floor |\n");
    text.push_str("|---|---:|---|---|---|\n");
    for table in &record.tables {
        let Some(ours) = table.ours() else { continue };
        let beside = |other: Option<&Row>| match other {
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
            beside(table.best_peer()),
            beside(table.best_of_all()),
            beside(table.floor())
        );
    }
    text.push('\n');
    text
}

/// So that a name's angle brackets are not taken for a tag.
fn escaped(name: &str) -> String {
    name.replace('<', "\\<")
}

/// All numbers.
fn tables(record: &Record) -> String {
    let mut text = format!("\nMeasured {}.\n", record.circumstances());
    for table in &record.tables {
        let _ = write!(text, "\n**{}**: {}", table.id, table.title);
        if let Some(distance) = table.distance {
            let trip = distance.line_round_trip;
            let _ = write!(
                text,
                ". A cache line takes {trip:.0} ns between the cores and back"
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
    let mut text = String::from("| ns a frame | median | minimum | to ours |");
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
            Role::Ours | Role::OursToo => format!("**{name}**"),
            Role::Floor => format!("*{name}*"),
            Role::Shared => name,
            Role::Other => format!("{name} †"),
        };
        let ratio = row.median / ours;
        let (median, minimum) = (number(row.median), number(row.minimum));
        let _ = write!(text, "| {name} | {median} | {minimum} | {ratio:.2} |");
        if let Some(tail) = row.tail {
            for value in [
                tail.p50,
                tail.p99,
                tail.p999,
                tail.p9999,
                tail.most / 1000.0,
            ] {
                let _ = write!(text, " {} |", thousands(value));
            }
        }
        text.push('\n');
    }
    text
}

/// With as many decimals as mean something.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => thousands(value),
    }
}

/// Without decimals, and with commas.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_replaced() {
        let text = "a <!-- x -->\nold<!-- end --> b<!-- end -->";
        let wanted = "a <!-- x -->\nnew<!-- end --> b<!-- end -->";
        assert_eq!(
            replace(text, "<!-- x -->\n", "new").as_deref(),
            Some(wanted)
        );
        assert_eq!(replace(text, "<!-- y -->\n", "new"), None);
    }

    #[test]
    fn numbers_have_as_many_digits_as_mean_something() {
        let all = [1.234, 12.34, 123.4, 1234.5, 12_345_678.0].map(number);
        assert_eq!(all, ["1.23", "12.3", "123", "1,234", "12,345,678"]);
    }
}
