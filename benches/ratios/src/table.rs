//! Measures one workload, and makes a table of the samples.

use std::thread;
use std::time::Duration;

use crate::contender::{Contender, Role, Task};
use crate::latencies::Latencies;
use crate::machine;
use crate::workers::Workers;

/// Description of a measurement.
pub struct Plan {
    /// Name of the workload on the command line.
    pub id: &'static str,
    /// Description of the workload.
    pub title: String,
    /// Task of each thread.
    pub tasks: Vec<Task>,
    /// `true` if each thread stays on a core.
    pub pinned: bool,
    /// Number of frames that are acquired and released when each thread does its task once.
    pub frames_at_once: u64,
    /// Intended duration of a sample.
    pub sample: Duration,
    /// Number of samples of each contender.
    pub rounds: usize,
    /// Name of the contender that is the lower bound.
    pub lower_bound: &'static str,
}

/// Quantiles of the times of single repetitions, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// Time that 50 % of the repetitions did not exceed.
    pub p50: f64,
    /// Time that 99 % of the repetitions did not exceed.
    pub p99: f64,
    /// Time that 99.9 % of the repetitions did not exceed.
    pub p999: f64,
    /// Time that 99.99 % of the repetitions did not exceed.
    pub p9999: f64,
    /// Longest time.
    pub max: f64,
}

impl Tail {
    fn of(latencies: &Latencies) -> Self {
        Self {
            p50: latencies.quantile(0.5),
            p99: latencies.quantile(0.99),
            p999: latencies.quantile(0.999),
            p9999: latencies.quantile(0.9999),
            max: latencies.max(),
        }
    }
}

/// Distance between two cores during the rounds.
///
/// Two virtual cores may be two physical cores at one time, and two threads of one core at
/// another. In the second case a transfer between threads takes a tenth of the time. The rounds
/// are therefore classified by distance, and those of the less frequent class are ignored.
#[derive(Clone, Copy, Debug)]
pub struct CoreDistance {
    /// Nanoseconds that a cache line took from core to core and back: the median of the used
    /// rounds.
    pub cache_line_round_trip: f64,
    /// Number of used rounds.
    pub rounds: usize,
    /// Number of ignored rounds.
    pub ignored_rounds: usize,
}

/// Result of one contender.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the contender.
    pub name: String,
    /// Its part in the comparison.
    pub role: Role,
    /// Nanoseconds per frame: the median of the samples.
    pub median: f64,
    /// Nanoseconds per frame in the fastest sample.
    pub minimum: f64,
    /// Number of samples.
    pub samples: usize,
    /// Times of single repetitions, if the workload measures them.
    pub tail: Option<Tail>,
}

/// Results of one workload, the fastest contender first.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name of the workload on the command line.
    pub id: String,
    /// Description of the workload.
    pub title: String,
    /// Name of the row that is the lower bound.
    pub lower_bound: String,
    /// Distance between the cores, if the workload has several threads.
    pub distance: Option<CoreDistance>,
    /// Results of the contenders.
    pub rows: Vec<Row>,
}

impl Table {
    /// Makes a table of rows in any order.
    pub fn new(id: &str, title: &str, lower_bound: &str, mut rows: Vec<Row>) -> Self {
        rows.sort_by(|one, other| one.median.total_cmp(&other.median));
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            lower_bound: lower_bound.to_owned(),
            distance: None,
            rows,
        }
    }

    /// Merges tables of the same workload and contenders. The median of each contender is the
    /// median of its medians, its minimum is the minimum of its minima.
    ///
    /// # Panics
    ///
    /// If `tables` is empty.
    pub fn merge(tables: &[Self]) -> Self {
        let Self {
            id,
            title,
            lower_bound,
            rows,
            ..
        } = &tables[0];
        let rows = rows.iter().map(|row| {
            let of_name = |table: &'_ Self| {
                table
                    .rows
                    .iter()
                    .find(|other| other.name == row.name)
                    .cloned()
            };
            let all: Vec<Row> = tables.iter().filter_map(of_name).collect();
            let medians = Samples(all.iter().map(|row| row.median).collect());
            let minima = all.iter().map(|row| row.minimum);
            Row {
                minimum: minima.fold(f64::INFINITY, f64::min),
                samples: all.iter().map(|row| row.samples).sum(),
                ..medians.into_row(&row.name, row.role, row.tail)
            }
        });
        Self::new(id, title, lower_bound, rows.collect())
    }

    /// Returns the row of this pool, in the configuration that is compared.
    pub fn ours(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == Role::Ours)
    }

    /// Returns the row of the lower bound.
    pub fn lower_bound(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == self.lower_bound)
    }

    /// Returns the row of the fastest peer in which every thread can acquire every free frame.
    pub fn best_peer(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == Role::SharedPeer)
    }

    /// Returns the row of the fastest of all peers.
    pub fn best_of_all(&self) -> Option<&Row> {
        let peer = |row: &&Row| matches!(row.role, Role::SharedPeer | Role::OtherPeer);
        self.rows.iter().find(peer)
    }
}

/// Samples of one contender, in nanoseconds per frame.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, nanoseconds: f64) {
        self.0.push(nanoseconds);
    }

    pub(crate) fn into_row(mut self, name: &str, role: Role, tail: Option<Tail>) -> Row {
        self.0.sort_by(f64::total_cmp);
        let samples = self.0.len();
        Row {
            name: name.to_owned(),
            role,
            median: (self.0[(samples - 1) / 2] + self.0[samples / 2]) / 2.0,
            minimum: self.0[0],
            samples,
            tail,
        }
    }
}

/// Returns the indices of `count` contenders in the order of round `round`. Each round starts with
/// the next contender.
pub(crate) fn rotated(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| (index + round) % count)
}

/// Measures `contenders` as planned.
///
/// # Errors
///
/// If a contender does not behave as a pool. The text names the contender.
pub fn measure(plan: &Plan, contenders: &[Box<dyn Contender>]) -> Result<Table, String> {
    thread::scope(|scope| {
        let workers = Workers::new(scope, plan.tasks.len(), plan.pinned);
        let counts = contenders
            .iter()
            .map(|contender| calibrate(plan, &workers, contender.as_ref()))
            .collect::<Result<Vec<_>, String>>()?;
        take_samples(plan, &workers, contenders, &counts)
    })
}

fn run<'env>(
    plan: &Plan,
    workers: &Workers<'env>,
    contender: &'env dyn Contender,
    tasks: &[Task],
    count: u64,
) -> Result<(Duration, Latencies), String> {
    workers
        .run(contender, tasks, count)
        .map_err(|fault| format!("{}: {}: {fault}", plan.id, contender.name()))
}

/// Returns the number of repetitions with which a sample of `contender` takes the intended time.
/// First checks that the contender hands out distinct frames.
fn calibrate<'env>(
    plan: &Plan,
    workers: &Workers<'env>,
    contender: &'env dyn Contender,
) -> Result<u64, String> {
    run(plan, workers, contender, &[Task::Verify], 1)?;
    // Warm-up.
    run(plan, workers, contender, &plan.tasks, 1)?;
    let mut count = 1;
    loop {
        let (took, _) = run(plan, workers, contender, &plan.tasks, count)?;
        if took * 4 >= plan.sample {
            let wanted = plan.sample.as_secs_f64() / took.as_secs_f64();
            return Ok(((count as f64 * wanted) as u64).max(1));
        }
        count *= 4;
    }
}

/// Takes one sample of each contender per round, and makes a table of them.
fn take_samples<'env>(
    plan: &Plan,
    workers: &Workers<'env>,
    contenders: &'env [Box<dyn Contender>],
    counts: &[u64],
) -> Result<Table, String> {
    let mut distances = Vec::new();
    let mut samples: Vec<(Vec<f64>, Latencies)> = Vec::new();
    samples.resize_with(contenders.len(), || (Vec::new(), Latencies::new()));
    for round in 0..plan.rounds {
        if plan.tasks.len() > 1 {
            distances.push(machine::cache_line_round_trip());
        }
        for index in rotated(round, contenders.len()) {
            let contender = contenders[index].as_ref();
            let (took, latencies) = run(plan, workers, contender, &plan.tasks, counts[index])?;
            let frames = (counts[index] * plan.frames_at_once) as f64;
            samples[index].0.push(took.as_secs_f64() * 1e9 / frames);
            samples[index].1.merge(&latencies);
        }
    }
    let (distance, used) = majority(&distances);
    let timed = plan.tasks.contains(&Task::TimedRoundTrip);
    let rows = contenders.iter().zip(samples);
    let rows = rows.map(|(contender, (of_rounds, latencies))| {
        let tail = timed.then(|| Tail::of(&latencies));
        // With a single thread, no distances are measured and all rounds are used.
        let is_used = |round: &usize| used.get(*round) != Some(&false);
        let of_rounds = (0..of_rounds.len())
            .filter(is_used)
            .map(|round| of_rounds[round]);
        Samples(of_rounds.collect()).into_row(contender.name(), contender.role(), tail)
    });
    let mut table = Table::new(plan.id, &plan.title, plan.lower_bound, rows.collect());
    table.distance = distance;
    Ok(table)
}

/// Classifies rounds by the distance of the cores: near if less than three times the shortest,
/// else far. Returns the distance in the more frequent class, and for each round whether it
/// belongs to that class.
fn majority(distances: &[f64]) -> (Option<CoreDistance>, Vec<bool>) {
    let shortest = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let near: Vec<bool> = distances.iter().map(|far| *far < 3.0 * shortest).collect();
    let mostly_near = 2 * near.iter().filter(|near| **near).count() >= near.len();
    let used: Vec<bool> = near.iter().map(|near| *near == mostly_near).collect();
    let used_distances = distances.iter().zip(&used).filter(|(_, used)| **used);
    let mut used_distances: Vec<f64> = used_distances.map(|(distance, _)| *distance).collect();
    used_distances.sort_by(f64::total_cmp);
    let distance = used_distances
        .get(used_distances.len() / 2)
        .map(|median| CoreDistance {
            cache_line_round_trip: *median,
            rounds: used_distances.len(),
            ignored_rounds: distances.len() - used_distances.len(),
        });
    (distance, used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::{BURST, entry};
    use crate::memory::Memory;
    use crate::pool::Pool;

    /// Faulty pool that hands out its only frame again and again.
    struct SameFrame(Memory);

    // SAFETY: `start` returns the address of a frame of `Memory`, which is leaked: it is a
    // multiple of 8, and valid for as many bytes as a frame has. The contract does not require
    // that frames are distinct.
    unsafe impl Pool for SameFrame {
        type Frame = ();

        fn get(&'static self) -> Option<()> {
            Some(())
        }

        fn start(&'static self, (): &mut ()) -> *mut u8 {
            self.0.start(0)
        }
    }

    /// Faulty pool that hands out 100 frames, and none after that.
    struct Leaky(std::sync::atomic::AtomicU64);

    // SAFETY: a frame is a leaked `u64`, which is aligned to 8, and the tests ask for frames of 8
    // bytes.
    unsafe impl Pool for Leaky {
        type Frame = &'static mut u64;

        fn get(&'static self) -> Option<Self::Frame> {
            let left = self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            (0 < left && left <= 100).then(|| Box::leak(Box::default()))
        }

        fn start(&'static self, frame: &mut Self::Frame) -> *mut u8 {
            std::ptr::from_mut::<u64>(frame).cast()
        }
    }

    fn error_of(role: Role, pool: impl Pool, frames: usize, tasks: Vec<Task>) -> String {
        let plan = Plan {
            id: "W0",
            title: String::new(),
            tasks,
            pinned: true,
            frames_at_once: 1,
            sample: Duration::from_millis(20),
            rounds: 50,
            lower_bound: "",
        };
        measure(&plan, &[entry(role, "faulty", frames, 8, pool)]).unwrap_err()
    }

    #[test]
    fn a_frame_with_two_holders_ends_the_measurement() {
        let pool = || SameFrame(Memory::new(1, 8));
        // `Task::Verify` finds it before the samples; a lower bound is not verified, so the
        // samples find it.
        for role in [Role::SharedPeer, Role::LowerBound] {
            for tasks in [
                vec![Task::RoundTrip; 2],
                vec![Task::Burst],
                vec![Task::Send, Task::Receive],
            ] {
                let error = error_of(role, pool(), BURST, tasks);
                assert!(
                    error.starts_with("W0: faulty: overwrote a frame that was out"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_pool_that_loses_frames_ends_the_measurement() {
        let pool = Leaky(100.into());
        let error = error_of(Role::SharedPeer, pool, 1, vec![Task::RoundTrip]);
        assert!(
            error.starts_with("W0: faulty: handed out no frame"),
            "{error}"
        );
    }

    #[test]
    fn rounds_of_the_less_frequent_class_are_ignored() {
        let (distance, used) = majority(&[50.0, 700.0, 52.0, 60.0]);
        assert_eq!(used, [true, false, true, true]);
        let distance = distance.unwrap();
        assert_eq!(
            (
                distance.cache_line_round_trip,
                distance.rounds,
                distance.ignored_rounds
            ),
            (52.0, 3, 1)
        );
        assert_eq!(majority(&[50.0, 700.0, 690.0]).1, [false, true, true]);
        assert_eq!(majority(&[0.0]).1.len(), 1);
        assert!(majority(&[]).0.is_none());
    }

    #[test]
    fn merged_tables_have_the_median_of_the_medians() {
        let row =
            |name, samples: &[f64]| Samples(samples.to_vec()).into_row(name, Role::OtherPeer, None);
        let table = |one, other| {
            let rows = vec![row("one", &[one]), row("other", &[other, other + 2.0])];
            Table::new("W0", "", "", rows)
        };
        let merged = Table::merge(&[table(5.0, 1.0), table(1.0, 2.0), table(3.0, 0.5)]);
        let rows = merged.rows.iter();
        let rows: Vec<_> = rows
            .map(|row| (row.name.as_str(), row.median, row.minimum, row.samples))
            .collect();
        assert_eq!(rows, [("other", 2.0, 0.5, 6), ("one", 3.0, 1.0, 3)]);
    }

    #[test]
    fn the_median_of_an_even_number_of_samples_is_the_mean_of_the_middle_two() {
        let row = |samples: &[f64]| Samples(samples.to_vec()).into_row("", Role::Ours, None);
        assert_eq!(row(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(row(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(row(&[4.0, 1.0]).minimum, 1.0);
    }
}
