//! Results as text: tables for people, and one machine-readable line per workload.

use std::fmt::Write;

use crate::contender::Role;
use crate::record::Record;
use crate::table::{CoreDistance, Row, Table};
use crate::workloads::{Setup, Workload};

/// Returns a table as text, with columns for the tail if single repetitions were timed.
pub fn text(table: &Table) -> String {
    let mut text = format!("\n{}: {}\n", table.id, table.title);
    if let Some(distance) = table.distance {
        let CoreDistance {
            cache_line_round_trip,
            rounds,
            ignored_rounds,
        } = distance;
        let _ = writeln!(
            text,
            "(a cache line takes {cache_line_round_trip:.0} ns from core to core and back, in \
             {rounds} rounds; {ignored_rounds} rounds with another core distance are ignored)"
        );
    }
    let ours = table.ours().map_or(f64::NAN, |row| row.median);
    let width = table.rows.iter().map(|row| row.name.chars().count()).max();
    let width = width.unwrap_or(0) + 2;
    let _ = write!(
        text,
        "  {:width$} {:>12} {:>12} {:>8}",
        "ns per frame", "median", "minimum", "relative"
    );
    if table.rows.iter().any(|row| row.tail.is_some()) {
        for heading in ["p50 ns", "p99 ns", "p99.9 ns", "p99.99 ns", "max us"] {
            let _ = write!(text, " {heading:>10}");
        }
    }
    text.push('\n');
    for row in &table.rows {
        let Row {
            name,
            median,
            minimum,
            ..
        } = row;
        let name = format!("{} {name}", mark(row.role));
        let ratio = median / ours;
        let _ = write!(
            text,
            "  {name:width$} {median:>12.2} {minimum:>12.2} {ratio:>8.2}"
        );
        if let Some(tail) = row.tail {
            for value in [tail.p50, tail.p99, tail.p999, tail.p9999, tail.max / 1000.0] {
                let _ = write!(text, " {value:>10.0}");
            }
        }
        text.push('\n');
    }
    text
}

/// Returns the mark of a row; see [`LEGEND`].
pub(crate) fn mark(role: Role) -> char {
    match role {
        Role::Ours | Role::OursVariant => '>',
        Role::LowerBound => '_',
        Role::SharedPeer => ' ',
        Role::OtherPeer => '*',
    }
}

/// Explanation of the marks and columns of the tables.
pub const LEGEND: &str = "\
> this pool   _ lower bound, no pool   * reserves frames for threads, or is unbounded\n\
`relative` is a contender's median divided by this pool's; above 1, this pool is faster.\n\
`best_peer` is the fastest peer in which every thread can acquire every free frame.\n\
`best_of_all` is the fastest of all peers.";

/// Returns the machine-readable line: ratios of the medians. Below 1, this pool is faster.
pub fn ratio_line(table: &Table) -> String {
    let mut line = format!("ratio {}", table.id);
    let ours = table.ours().map(|row| row.median);
    let to = |other: Option<&Row>| match (ours, other) {
        (Some(ours), Some(other)) => format!("{:.2}", ours / other.median),
        _ => "none".to_owned(),
    };
    let name = |row: Option<&Row>| row.map_or("none".to_owned(), |row| row.name.replace(' ', "_"));
    let (peer, all) = (table.best_peer(), table.best_of_all());
    let _ = write!(
        line,
        " ours/best_peer={} ours/floor={} best_peer={} ours/best_of_all={} best_of_all={}",
        to(peer),
        to(table.lower_bound()),
        name(peer),
        to(all),
        name(all)
    );
    line
}

/// Measures the workloads one after the other. Prints the table and the ratios of each as soon as
/// it is measured.
///
/// # Errors
///
/// If a contender does not behave as a pool.
pub fn run(workloads: &[Workload], setup: Setup) -> Result<Record, String> {
    let tables = workloads
        .iter()
        .map(|workload| {
            let table = (workload.run)(setup)?;
            print!("{}", text(&table));
            println!("{}", ratio_line(&table));
            Ok(table)
        })
        .collect::<Result<Vec<_>, String>>()?;
    let record = Record::of(tables, setup.quick);
    println!("\n{LEGEND}\n\n{}", record.conditions());
    Ok(record)
}
