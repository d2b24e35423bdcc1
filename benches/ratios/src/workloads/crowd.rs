//! W6: more threads than cores on one pool. What counts is the tail: a thread that is stopped in the
//! middle should not stop the others.

use crate::contender::Task;
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAMES, Setup, TWO_RMW};

pub(super) fn four(setup: Setup) -> Result<Table, String> {
    run(setup, "W6", 4)
}

pub(super) fn eight(setup: Setup) -> Result<Table, String> {
    run(setup, "W6-8", 8)
}

fn run(setup: Setup, id: &'static str, threads: u64) -> Result<Table, String> {
    let plan = Plan {
        id,
        title: format!("{threads} threads on one pool of {FRAMES}: time by all frames of all"),
        tasks: vec![Task::TimedRoundTrip; threads as usize],
        frames_at_once: threads,
        sample: setup.sample(25_000),
        rounds: setup.rounds(16),
        floor: TWO_RMW,
    };
    measure(&plan, &setup.contenders(FRAMES))
}
