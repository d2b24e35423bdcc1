//! Results as a JSON file, to be kept, drawn and compared.
//!
//! The keys of the file do not change, so that older files can still be read. That is why a lower
//! bound is a `floor` there.

use std::path::Path;

use serde_json::{Value, json};

use crate::contender::Role;
use crate::machine;
use crate::report;
use crate::table::{CoreDistance, Row, Table, Tail};

/// Results of a run, with its date and machine.
#[derive(Clone, Debug)]
pub struct Record {
    /// Model of the processor.
    pub machine: String,
    /// Number of cores that the program could use.
    pub cores: u64,
    /// Date of the run.
    pub date: String,
    /// `true` if everything ran only once, as a check. The numbers mean nothing then.
    pub quick: bool,
    /// Results of each workload.
    pub tables: Vec<Table>,
}

impl Record {
    /// Makes a record of `tables`, with today's date and this machine.
    pub fn of(tables: Vec<Table>, quick: bool) -> Self {
        Self {
            machine: machine::name(),
            cores: machine::cores() as u64,
            date: machine::date(),
            quick,
            tables,
        }
    }

    /// Returns the date, the processor and the number of cores as text.
    pub fn conditions(&self) -> String {
        let Self {
            machine,
            cores,
            date,
            quick,
            ..
        } = self;
        let quick = if *quick {
            ", a quick check, not a measurement"
        } else {
            ""
        };
        format!("{date}, {machine}, {cores} cores{quick}")
    }

    /// Writes the record as JSON.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let tables: Vec<Value> = self.tables.iter().map(table_to_json).collect();
        let all = json!({
            "machine": self.machine,
            "cores": self.cores,
            "system": machine::system(),
            "date": self.date,
            "quick": self.quick,
            "tables": tables,
        });
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut text = serde_json::to_string_pretty(&all).map_err(|error| failed(&error))?;
        text.push('\n');
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        }
        std::fs::write(path, text).map_err(|error| failed(&error))
    }

    /// Reads a file that [`write`](Self::write) wrote.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is not a record.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        let all: Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        from_json(&all).ok_or_else(|| failed(&"not a record of this benchmark"))
    }
}

const ROLES: [(Role, &str); 5] = [
    (Role::Ours, "ours"),
    (Role::OursVariant, "ours_too"),
    (Role::LowerBound, "floor"),
    (Role::SharedPeer, "peer"),
    (Role::OtherPeer, "peer_unshared"),
];

fn table_to_json(table: &Table) -> Value {
    let ours = table.ours().map_or(f64::NAN, |row| row.median);
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| row_to_json(row, ours))
        .collect();
    json!({
        "id": table.id,
        "title": table.title,
        "unit": "ns per frame",
        "floor": table.lower_bound,
        "cores_apart": table.distance.map(|distance| json!({
            "cache_line_round_trip_ns": distance.cache_line_round_trip,
            "rounds": distance.rounds,
            "rounds_left_out": distance.ignored_rounds,
        })),
        "ratio": report::ratio_line(table),
        "rows": rows,
    })
}

fn row_to_json(row: &Row, ours: f64) -> Value {
    let role = ROLES.iter().find(|(role, _)| *role == row.role);
    let mut value = json!({
        "name": row.name,
        "role": role.map(|(_, name)| name),
        "median_ns": row.median,
        "minimum_ns": row.minimum,
        "to_ours": row.median / ours,
        "samples": row.samples,
    });
    if let Some(tail) = row.tail {
        value["latency_ns"] = json!({
            "p50": tail.p50,
            "p99": tail.p99,
            "p99.9": tail.p999,
            "p99.99": tail.p9999,
            "max": tail.max,
        });
    }
    value
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn from_json(all: &Value) -> Option<Record> {
    let tables = all["tables"].as_array()?;
    Some(Record {
        machine: text_of(&all["machine"])?,
        cores: all["cores"].as_u64()?,
        date: text_of(&all["date"])?,
        quick: all["quick"].as_bool()?,
        tables: tables.iter().map(table_from_json).collect::<Option<_>>()?,
    })
}

fn table_from_json(value: &Value) -> Option<Table> {
    let rows = value["rows"].as_array()?;
    let count = |value: &Value| usize::try_from(value.as_u64()?).ok();
    let apart = &value["cores_apart"];
    let distance = apart.is_object().then(|| {
        Some(CoreDistance {
            cache_line_round_trip: apart["cache_line_round_trip_ns"].as_f64()?,
            rounds: count(&apart["rounds"])?,
            ignored_rounds: count(&apart["rounds_left_out"])?,
        })
    });
    Some(Table {
        id: text_of(&value["id"])?,
        title: text_of(&value["title"])?,
        lower_bound: text_of(&value["floor"])?,
        distance: match distance {
            Some(distance) => Some(distance?),
            None => None,
        },
        rows: rows.iter().map(row_from_json).collect::<Option<_>>()?,
    })
}

fn row_from_json(value: &Value) -> Option<Row> {
    let role = value["role"].as_str()?;
    let latency = &value["latency_ns"];
    let tail = latency.is_object().then(|| {
        Some(Tail {
            p50: latency["p50"].as_f64()?,
            p99: latency["p99"].as_f64()?,
            p999: latency["p99.9"].as_f64()?,
            p9999: latency["p99.99"].as_f64()?,
            max: latency["max"].as_f64()?,
        })
    });
    Some(Row {
        name: text_of(&value["name"])?,
        role: ROLES.iter().find(|(_, name)| *name == role)?.0,
        median: value["median_ns"].as_f64()?,
        minimum: value["minimum_ns"].as_f64()?,
        samples: usize::try_from(value["samples"].as_u64()?).ok()?,
        tail: match tail {
            Some(tail) => Some(tail?),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let tail = Tail {
            p50: 1.0,
            p99: 2.0,
            p999: 3.0,
            p9999: 4.0,
            max: 5.0,
        };
        let row = |name: &str, role, median| Row {
            name: name.to_owned(),
            role,
            median,
            minimum: median / 2.0,
            samples: 3,
            tail: Some(tail),
        };
        let rows = vec![
            row("peer", Role::SharedPeer, 4.0),
            row("us", Role::Ours, 2.0),
        ];
        let record = Record::of(vec![Table::new("W1", "title", "none", rows)], true);
        let path = std::env::temp_dir().join(format!("ratios-{}.json", std::process::id()));
        record.write(&path).unwrap();
        let read = Record::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(format!("{read:?}"), format!("{record:?}"));
        assert_eq!(read.tables[0].rows[0].name, "us");
        let line = report::ratio_line(&read.tables[0]);
        assert!(line.starts_with("ratio W1 ours/best_peer=0.50 ours/floor=none best_peer=peer"));
    }
}
