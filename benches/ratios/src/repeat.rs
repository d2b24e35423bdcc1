//! Repetition of workloads in other processes, which shows a pool that is slow in some processes
//! for as long as they run.

use std::env;
use std::fmt::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::readme::{self, number};
use crate::record::Record;
use crate::table::Table;
use crate::workloads::Workload;

/// A value that is more than this many times the median is reported by itself.
const OUTLIER: f64 = 3.0;

/// Results of one process.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Median of this pool, in nanoseconds per frame.
    ours: f64,
    /// Median of the lower bound. It shows a machine that is slow as a whole.
    lower_bound: f64,
    /// Nanoseconds that a cache line took from core to core and back, if that was measured.
    distance: Option<f64>,
}

impl Run {
    fn of(table: &Table) -> Option<Self> {
        Some(Self {
            ours: table.ours()?.median,
            lower_bound: table.lower_bound()?.median,
            distance: table
                .distance
                .map(|distance| distance.cache_line_round_trip),
        })
    }
}

/// Runs each workload `times` times, each time in another process of this program, and prints the
/// distribution of the medians. The processes run in turn: the first of each workload, then the
/// second of each, so that a disturbance of the machine affects all workloads.
///
/// # Errors
///
/// If a process cannot be started, or fails.
pub fn run(workloads: &[Workload], quick: bool, times: NonZeroU32) -> Result<(), String> {
    let program = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let record = env::temp_dir().join(format!("ratios-repeat-{}.json", std::process::id()));
    let mut runs = vec![Vec::new(); workloads.len()];
    for number in 1..=times.get() {
        print!("{number} of {times}:");
        for (workload, runs) in workloads.iter().zip(&mut runs) {
            let run = run_once(&program, workload.id, quick, &record)?;
            print!(" {} {}", workload.id, readme::number(run.ours));
            runs.push(run);
        }
        println!();
    }
    println!("\n{LEGEND}");
    for (workload, runs) in workloads.iter().zip(&runs) {
        print!("{}", text(workload.id, runs));
    }
    Ok(())
}

/// Explanation of the results.
const LEGEND: &str = "\
Distribution of this pool's medians over the processes, and of the lower bound's, which show\n\
what is due to the machine.";

fn run_once(program: &Path, id: &str, quick: bool, record: &Path) -> Result<Run, String> {
    let status = Command::new(program)
        .args([id, "--exact", "--alone", "--json"])
        .arg(record)
        .args(quick.then_some("--quick"))
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if !status.success() {
        return Err(format!("{id}: a repetition failed: {status}"));
    }
    let tables = Record::read(record)?.tables;
    std::fs::remove_file(record).map_err(|error| format!("{}: {error}", record.display()))?;
    let run = tables.first().and_then(Run::of);
    run.ok_or_else(|| format!("{id}: a repetition had no results"))
}

/// Returns the value below which the fraction `share` of the sorted values lies. Between two
/// values it is interpolated.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let position = share * last as f64;
    let below = sorted[position as usize];
    let above = sorted[(position as usize + 1).min(last)];
    below + (above - below) * position.fract()
}

/// Returns the distribution as text, with a line for each value that is far above the median.
fn text(id: &str, runs: &[Run]) -> String {
    let mut text = format!("\n{id}, {} processes\n  {:20}", runs.len(), "ns per frame");
    for heading in ["minimum", "25 %", "median", "75 %", "90 %", "maximum"] {
        let _ = write!(text, " {heading:>10}");
    }
    text.push('\n');
    let ours = runs.iter().map(|run| run.ours).collect();
    let bounds = runs.iter().map(|run| run.lower_bound).collect();
    let ours: Vec<f64> = distribution(&mut text, "> ks-allocator", ours);
    distribution(&mut text, "_ lower bound", bounds);
    let (median, maximum) = (quantile(&ours, 0.5), quantile(&ours, 1.0));
    let mut outliers = 0;
    for (index, run) in runs.iter().enumerate() {
        if run.ours > OUTLIER * median {
            outliers += 1;
            let times = run.ours / median;
            let (ours, bound) = (number(run.ours), number(run.lower_bound));
            let _ = write!(
                text,
                "  process {}: {ours}, which is {times:.1} times the median; lower bound {bound}",
                index + 1
            );
            if let Some(distance) = run.distance {
                let _ = write!(text, ", cache line {distance:.0} ns");
            }
            text.push('\n');
        }
    }
    let _ = writeln!(
        text,
        "repeat {id} processes={} minimum={:.2} q25={:.2} median={median:.2} q75={:.2} q90={:.2} \
         maximum={maximum:.2} outliers={outliers}",
        runs.len(),
        quantile(&ours, 0.0),
        quantile(&ours, 0.25),
        quantile(&ours, 0.75),
        quantile(&ours, 0.9),
    );
    text
}

/// Writes a line with the quantiles of `values` to `text`. Returns the values, sorted.
fn distribution(text: &mut String, name: &str, mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let _ = write!(text, "  {name:20}");
    for share in [0.0, 0.25, 0.5, 0.75, 0.9, 1.0] {
        let _ = write!(text, " {:>10}", number(quantile(&values, share)));
    }
    text.push('\n');
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let sorted = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(
            [0.0, 0.25, 0.5, 0.9, 1.0].map(|share| quantile(&sorted, share)),
            [1.0, 2.0, 3.0, 4.6, 5.0]
        );
        assert_eq!(quantile(&[1.0, 2.0], 0.5), 1.5);
        assert_eq!(quantile(&[7.0], 0.9), 7.0);
    }

    #[test]
    fn each_process_that_is_far_slower_than_the_median_has_a_line() {
        let run = |ours, distance| Run {
            ours,
            lower_bound: 8.0,
            distance,
        };
        let all = [
            run(10.0, None),
            run(61.0, Some(412.0)),
            run(20.0, None),
            run(20.0, None),
            run(60.0, None),
        ];
        let text = text("W2", &all);
        let slow = "  process 2: 61.0, which is 3.0 times the median; lower bound 8.00, \
                    cache line 412 ns\n";
        assert!(text.contains(slow), "{text}");
        assert!(!text.contains("process 5"), "{text}");
        let last = "repeat W2 processes=5 minimum=10.00 q25=20.00 median=20.00 q75=60.00 \
                    q90=60.60 maximum=61.00 outliers=1\n";
        assert!(text.ends_with(last), "{text}");
    }
}
