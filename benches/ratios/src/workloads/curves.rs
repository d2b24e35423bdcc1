//! W1 and W3 by number of frames, and W6 by number of threads, beside a queue and a stack.

use crate::chart::{Chart, Curve};
use crate::contender::{Contender, Role, Task, entry};
use crate::latencies::Latencies;
use crate::ours::Ours;
use crate::peers::locks::{PARKING_LOT, ParkingLot};
use crate::peers::queues::{NUMBERS, Numbers};
use crate::table::{Table, measure};
use crate::workers::MAX_WORKERS;
use crate::workloads::{FRAME_SIZE, FRAMES, OURS, Setup, one_thread, oversubscribed, transfer};

/// Numbers of frames of the pools.
const SIZES: [usize; 10] = [4, 8, 16, 32, 64, 256, 1024, 4096, 16_384, 65_536];
/// Number of times that everything is measured, each time with other memory. The medians of the
/// medians are the results.
const PASSES: usize = 3;

/// Measures W1 and W3 with pools of different sizes. Each round takes samples of all sizes.
///
/// # Errors
///
/// If a contender does not behave as a pool.
pub fn by_frames(setup: Setup) -> Result<Chart, String> {
    let (mut w1, mut w3) = (Vec::new(), Vec::new());
    for _ in 0..setup.rounds(PASSES) {
        let mut contenders = Vec::new();
        for frames in SIZES {
            contenders.extend(ours_and_queue(frames)?);
        }
        let plan = one_thread::plan(setup, "W1", FRAMES);
        w1.push(measure(&plan, &contenders)?);
        let plan = transfer::plan(setup, "W3", FRAMES);
        w3.push(measure(&plan, &contenders)?);
    }
    let (w1, w3) = (Table::merge(&w1), Table::merge(&w3));
    let curve = |name: &str, workload: &str, table: &Table| Curve {
        name: format!("{name}, {workload}"),
        hollow: workload == "W3",
        ..curve(name, SIZES.map(|frames| (table, frames)))
    };
    Ok(Chart {
        id: "curves-frames",
        title: "W1 (one thread) and W3 (hand to hand, two threads) by number of frames".into(),
        axis: "frames",
        xs: SIZES.map(|frames| frames as f64).into(),
        curves: vec![
            curve(OURS, "W1", &w1),
            curve(OURS, "W3", &w3),
            curve(NUMBERS, "W1", &w1),
            curve(NUMBERS, "W3", &w3),
        ],
    })
}

/// Measures W6 with different numbers of threads.
///
/// # Errors
///
/// If a contender does not behave as a pool.
pub fn by_threads(setup: Setup) -> Result<Chart, String> {
    let mut passes = vec![Vec::new(); MAX_WORKERS];
    for _ in 0..setup.rounds(PASSES) {
        let mut contenders = ours_and_queue(FRAMES)?;
        let stack = ParkingLot::new(FRAMES, FRAME_SIZE);
        let name = label(PARKING_LOT, FRAMES);
        contenders.push(entry(Role::SharedPeer, &name, FRAMES, FRAME_SIZE, stack));
        for (threads, tables) in (1..).zip(&mut passes) {
            let plan = oversubscribed::plan(setup, "W6", threads);
            tables.push(measure(&plan, &contenders)?);
        }
    }
    let tables: Vec<Table> = passes.iter().map(|tables| Table::merge(tables)).collect();
    let curve = |name| curve(name, tables.iter().map(|table| (table, FRAMES)));
    let stack = Curve {
        hollow: true,
        ..curve(PARKING_LOT)
    };
    Ok(Chart {
        id: "curves-threads",
        title: format!(
            "W6 by number of threads that share {FRAMES} frames: elapsed time divided by frames \
             of all threads"
        ),
        axis: "threads",
        xs: (1..=MAX_WORKERS).map(|threads| threads as f64).collect(),
        curves: vec![curve(OURS), curve(NUMBERS), stack],
    })
}

/// Makes this pool and the queue, with `frames` frames each.
fn ours_and_queue(frames: usize) -> Result<Vec<Box<dyn Contender>>, String> {
    let size = FRAME_SIZE;
    let ours = Ours::new(frames, size);
    let ours = entry(Role::Ours, &label(OURS, frames), frames, size, ours);
    let (name, queue) = (label(NUMBERS, frames), Numbers::new(frames, size));
    let queue = entry(Role::SharedPeer, &name, frames, size, queue);
    // The memory of this pool is prefaulted. A queue hands out one frame after the other.
    queue
        .run(Task::RoundTrip, 0, frames as u64, &mut Latencies::new())
        .map_err(|fault| format!("{name}: {fault}"))?;
    Ok(vec![ours, queue])
}

/// Returns the name of a contender with `frames` frames.
fn label(name: &str, frames: usize) -> String {
    format!("{name}, {frames} frames")
}

/// Returns the line of a contender. Its points are from the tables, each with the number of frames
/// that the contender has there.
fn curve<'a>(name: &str, points: impl IntoIterator<Item = (&'a Table, usize)>) -> Curve {
    let median = |(table, frames): (&Table, usize)| {
        let label = label(name, frames);
        let row = table.rows.iter().find(|row| row.name == label);
        row.map_or(f64::NAN, |row| row.median)
    };
    Curve {
        name: name.to_owned(),
        role: if name == OURS {
            Role::Ours
        } else {
            Role::SharedPeer
        },
        hollow: false,
        medians: points.into_iter().map(median).collect(),
    }
}
