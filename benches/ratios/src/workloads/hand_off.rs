//! W3: one thread takes frames and writes in them, another reads them and gives them back. Between them
//! is a bounded queue at whose ends they spin, for a while.

use crate::contender::{BETWEEN, Task};
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAMES, NO_POOL, Setup};

pub(super) fn plenty(setup: Setup) -> Result<Table, String> {
    run(setup, "W3", FRAMES)
}

pub(super) fn scarce(setup: Setup) -> Result<Table, String> {
    run(setup, "W3-8", 8)
}

fn run(setup: Setup, id: &'static str, frames: usize) -> Result<Table, String> {
    let plan = Plan {
        id,
        title: format!("from one thread to another, {frames} frames, a queue of {BETWEEN} between"),
        tasks: vec![Task::Give, Task::Take],
        frames_at_once: 1,
        sample: setup.sample(2000),
        rounds: setup.rounds(120),
        floor: NO_POOL,
    };
    // Without a pool, the queue alone keeps the two threads off each other's frames.
    measure(&plan, &setup.contenders_with(frames, 2 * BETWEEN, false))
}
