//! Takes the samples of one workload, and makes a table of them.

use std::thread;
use std::time::Duration;

use crate::contender::{Contender, Role, Task};
use crate::crew::Crew;
use crate::latencies::Latencies;
use crate::machine;

/// How a workload is measured.
pub struct Plan {
    /// What it is called on the command line.
    pub id: &'static str,
    /// What it is, in words.
    pub title: String,
    /// What each thread does.
    pub tasks: Vec<Task>,
    /// Frames that go round when all threads do their task once.
    pub frames_at_once: u64,
    /// How long a sample should take.
    pub sample: Duration,
    /// How many samples there are of each contender.
    pub rounds: usize,
    /// The name of the contender that is the floor here.
    pub floor: &'static str,
}

/// Nanoseconds of single rounds that so many per cent, or all, did not exceed.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// 50 %.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// 99.99 %.
    pub p9999: f64,
    /// All.
    pub most: f64,
}

/// How near to each other two cores were during the rounds. Virtual ones may be two cores at one time and
/// one at another, and then what threads hand each other takes a tenth of the time. So the rounds are
/// sorted by it, and only those count that were of the more frequent kind.
#[derive(Clone, Copy, Debug)]
pub struct Distance {
    /// Nanoseconds that a cache line took there and back: the median of the rounds that count.
    pub line_round_trip: f64,
    /// Rounds that count.
    pub rounds: usize,
    /// Rounds of the other kind.
    pub left_out: usize,
}

/// One contender's result.
#[derive(Clone, Debug)]
pub struct Row {
    /// The contender.
    pub name: String,
    /// Its part in the comparison.
    pub role: Role,
    /// Nanoseconds a frame: the median of the samples.
    pub median: f64,
    /// Nanoseconds a frame in the fastest sample.
    pub minimum: f64,
    /// How many samples there were.
    pub samples: usize,
    /// Of single rounds, where they were timed.
    pub tail: Option<Tail>,
}

/// The results of one workload, the fastest first.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it is called on the command line.
    pub id: String,
    /// What it is, in words.
    pub title: String,
    /// The name of the row that is the floor.
    pub floor: String,
    /// How near to each other the cores were; where several threads ran.
    pub distance: Option<Distance>,
    /// The contenders.
    pub rows: Vec<Row>,
}

impl Table {
    /// Makes a table of rows in any order.
    pub fn new(id: &str, title: &str, floor: &str, mut rows: Vec<Row>) -> Self {
        rows.sort_by(|one, other| one.median.total_cmp(&other.median));
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            floor: floor.to_owned(),
            distance: None,
            rows,
        }
    }

    /// One table of several of the same workload and contenders: of each contender the median of its
    /// medians.
    ///
    /// # Panics
    ///
    /// If there is no table.
    pub fn merge(tables: &[Self]) -> Self {
        let Self {
            id,
            title,
            floor,
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
        Self::new(id, title, floor, rows.collect())
    }

    /// This pool, in the way that is compared.
    pub fn ours(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == Role::Ours)
    }

    /// The row that is the floor here.
    pub fn floor(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == self.floor)
    }

    /// The fastest peer all of whose free frames are there for every thread.
    pub fn best_peer(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == Role::Shared)
    }

    /// The fastest peer whatsoever.
    pub fn best_of_all(&self) -> Option<&Row> {
        let peer = |row: &&Row| matches!(row.role, Role::Shared | Role::Other);
        self.rows.iter().find(peer)
    }
}

/// The samples of one contender, in nanoseconds a frame.
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

/// The places of `count` contenders in the order of round `round`: each begins in its turn.
pub(crate) fn in_turn(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + round) % count)
}

/// Measures `contenders` as planned.
///
/// # Errors
///
/// If a contender does not do what it is for; the text names it.
pub fn measure(plan: &Plan, contenders: &[Box<dyn Contender>]) -> Result<Table, String> {
    thread::scope(|scope| {
        let crew = Crew::new(scope, plan.tasks.len());
        let counts = contenders
            .iter()
            .map(|contender| count_for(plan, &crew, contender.as_ref()))
            .collect::<Result<Vec<_>, String>>()?;
        sample_in_turn(plan, &crew, contenders, &counts)
    })
}

fn run<'env>(
    plan: &Plan,
    crew: &Crew<'env>,
    contender: &'env dyn Contender,
    tasks: &[Task],
    count: u64,
) -> Result<(Duration, Latencies), String> {
    crew.run(contender, tasks, count)
        .map_err(|fault| format!("{}: {}: {fault}", plan.id, contender.name()))
}

/// How often `contender` has to do its task for a sample to take as long as it should. Sees first that it
/// does it at all.
fn count_for<'env>(
    plan: &Plan,
    crew: &Crew<'env>,
    contender: &'env dyn Contender,
) -> Result<u64, String> {
    run(plan, crew, contender, &[Task::Verify], 1)?;
    // The first time warms up.
    run(plan, crew, contender, &plan.tasks, 1)?;
    let mut count = 1;
    loop {
        let (took, _) = run(plan, crew, contender, &plan.tasks, count)?;
        if took * 4 >= plan.sample {
            let wanted = plan.sample.as_secs_f64() / took.as_secs_f64();
            return Ok(((count as f64 * wanted) as u64).max(1));
        }
        count *= 4;
    }
}

fn sample_in_turn<'env>(
    plan: &Plan,
    crew: &Crew<'env>,
    contenders: &'env [Box<dyn Contender>],
    counts: &[u64],
) -> Result<Table, String> {
    let mut distances = Vec::new();
    let mut samples: Vec<(Vec<f64>, Latencies)> = Vec::new();
    samples.resize_with(contenders.len(), || (Vec::new(), Latencies::new()));
    for round in 0..plan.rounds {
        if plan.tasks.len() > 1 {
            distances.push(machine::line_round_trip());
        }
        for place in in_turn(round, contenders.len()) {
            let contender = contenders[place].as_ref();
            let (took, latencies) = run(plan, crew, contender, &plan.tasks, counts[place])?;
            let frames = (counts[place] * plan.frames_at_once) as f64;
            samples[place].0.push(took.as_secs_f64() * 1e9 / frames);
            samples[place].1.merge(&latencies);
        }
    }
    let (distance, kept) = more_frequent(&distances);
    let timed = plan.tasks.contains(&Task::TimedRoundTrip);
    let rows = contenders.iter().zip(samples);
    let rows = rows.map(|(contender, (of_rounds, latencies))| {
        let tail = timed.then(|| Tail {
            p50: latencies.quantile(0.5),
            p99: latencies.quantile(0.99),
            p999: latencies.quantile(0.999),
            p9999: latencies.quantile(0.9999),
            most: latencies.most(),
        });
        let counts = |round: &usize| kept.get(*round) != Some(&false);
        let of_rounds = (0..of_rounds.len())
            .filter(counts)
            .map(|round| of_rounds[round]);
        Samples(of_rounds.collect()).into_row(contender.name(), contender.role(), tail)
    });
    let mut table = Table::new(plan.id, &plan.title, plan.floor, rows.collect());
    table.distance = distance;
    Ok(table)
}

/// Sorts rounds into those in which the cores were near and those in which they were far, and says which
/// are of the more frequent kind. They are of one kind if none took thrice the shortest.
fn more_frequent(distances: &[f64]) -> (Option<Distance>, Vec<bool>) {
    let shortest = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let near: Vec<bool> = distances.iter().map(|far| *far < 3.0 * shortest).collect();
    let mostly_near = 2 * near.iter().filter(|near| **near).count() >= near.len();
    let kept: Vec<bool> = near.iter().map(|near| *near == mostly_near).collect();
    let counting = distances.iter().zip(&kept).filter(|(_, kept)| **kept);
    let mut counting: Vec<f64> = counting.map(|(distance, _)| *distance).collect();
    counting.sort_by(f64::total_cmp);
    let distance = counting.get(counting.len() / 2).map(|median| Distance {
        line_round_trip: *median,
        rounds: counting.len(),
        left_out: distances.len() - counting.len(),
    });
    (distance, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::{BURST, enter};
    use crate::memory::Memory;
    use crate::pool::Pool;

    /// Hands out one and the same frame to everybody.
    struct OneForAll(Memory);

    // SAFETY: it is not one frame's alone, as a pool's should be, but its memory is there.
    unsafe impl Pool for OneForAll {
        type Frame = ();

        fn get(&'static self) -> Option<()> {
            Some(())
        }

        fn start(&'static self, (): &mut ()) -> *mut u8 {
            self.0.start(0)
        }
    }

    /// Hands out nothing more after the first frames.
    struct Leaky(std::sync::atomic::AtomicU64);

    // SAFETY: the memory lives for ever.
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
            frames_at_once: 1,
            sample: Duration::from_millis(20),
            rounds: 50,
            floor: "",
        };
        measure(&plan, &[enter(role, "culprit", frames, 8, pool)]).unwrap_err()
    }

    #[test]
    fn a_frame_that_two_have_ends_the_measurement() {
        let pool = || OneForAll(Memory::new(1, 8));
        // When it is looked for before, and, for a floor is not looked at, while it is measured.
        for role in [Role::Shared, Role::Floor] {
            for tasks in [
                vec![Task::RoundTrip; 2],
                vec![Task::Burst],
                vec![Task::Give, Task::Take],
            ] {
                let error = error_of(role, pool(), BURST, tasks);
                assert!(
                    error.starts_with("W0: culprit: a frame was not its holder's"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_pool_that_loses_frames_ends_the_measurement() {
        let pool = Leaky(100.into());
        let error = error_of(Role::Shared, pool, 1, vec![Task::RoundTrip]);
        assert!(
            error.starts_with("W0: culprit: handed out no frame"),
            "{error}"
        );
    }

    #[test]
    fn rounds_of_the_rarer_kind_do_not_count() {
        let (distance, kept) = more_frequent(&[50.0, 700.0, 52.0, 60.0]);
        assert_eq!(kept, [true, false, true, true]);
        let distance = distance.unwrap();
        assert_eq!(
            (distance.line_round_trip, distance.rounds, distance.left_out),
            (52.0, 3, 1)
        );
        assert_eq!(more_frequent(&[50.0, 700.0, 690.0]).1, [false, true, true]);
        assert_eq!(more_frequent(&[0.0]).1.len(), 1);
        assert!(more_frequent(&[]).0.is_none());
    }

    #[test]
    fn of_several_tables_the_middle_counts() {
        let row =
            |name, samples: &[f64]| Samples(samples.to_vec()).into_row(name, Role::Other, None);
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
    fn a_median_is_in_the_middle() {
        let row = |samples: &[f64]| Samples(samples.to_vec()).into_row("", Role::Ours, None);
        assert_eq!(row(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(row(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(row(&[4.0, 1.0]).minimum, 1.0);
    }
}
