//! Tables for people, and a line for machines.

use std::fmt::Write;

use crate::contender::Role;
use crate::record::Record;
use crate::table::{Distance, Row, Table};
use crate::workloads::{Setup, Workload};

/// The table as text, with columns for the tail where single rounds were timed.
pub fn text(table: &Table) -> String {
    let mut text = format!("\n{}: {}\n", table.id, table.title);
    if let Some(distance) = table.distance {
        let Distance {
            line_round_trip,
            rounds,
            left_out,
        } = distance;
        let _ = writeln!(
            text,
            "(a cache line from core to core and back: {line_round_trip:.0} ns, in {rounds} rounds; \
             {left_out} rounds at another distance do not count)"
        );
    }
    let ours = table.ours().map_or(f64::NAN, |row| row.median);
    let width = table.rows.iter().map(|row| row.name.chars().count()).max();
    let width = width.unwrap_or(0) + 2;
    let _ = write!(
        text,
        "  {:width$} {:>12} {:>12} {:>8}",
        "ns a frame", "median", "minimum", "to ours"
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
            for value in [
                tail.p50,
                tail.p99,
                tail.p999,
                tail.p9999,
                tail.most / 1000.0,
            ] {
                let _ = write!(text, " {value:>10.0}");
            }
        }
        text.push('\n');
    }
    text
}

/// What marks a row: this pool, a floor, or what keeps frames back or has no bound.
pub(crate) fn mark(role: Role) -> char {
    match role {
        Role::Ours | Role::OursToo => '>',
        Role::Floor => '_',
        Role::Shared => ' ',
        Role::Other => '*',
    }
}

/// What the marks in the tables stand for.
pub const LEGEND: &str = "\
> this pool   _ a floor: no pool at all   * keeps frames back for its threads, or has no bound\n\
`to ours` is a contender's median by this pool's: above 1, this pool is faster. `best_peer` is the\n\
fastest peer of whose free frames every thread can have each, `best_of_all` the fastest of all peers.";

/// The ratios of the medians, for machines: below 1 this pool is faster.
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
        to(table.floor()),
        name(peer),
        to(all),
        name(all)
    );
    line
}

/// Measures the workloads, one after the other, and prints each table, and its ratios, as it comes.
///
/// # Errors
///
/// If a contender does not do what it is for.
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
    println!("\n{LEGEND}\n\n{}", record.circumstances());
    Ok(record)
}
