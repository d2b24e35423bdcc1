//! W2: two threads, each on its own core, acquire and release frames of one pool.

use crate::contender::Task;
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAMES, Setup, TWO_RMW};

pub(super) fn run(setup: Setup) -> Result<Table, String> {
    let plan = Plan {
        id: "W2",
        title: format!(
            "two threads share {FRAMES} frames: elapsed time divided by frames of both threads"
        ),
        tasks: vec![Task::RoundTrip; 2],
        frames_at_once: 2,
        sample: setup.sample(1000),
        rounds: setup.rounds(200),
        lower_bound: TWO_RMW,
    };
    measure(&plan, &setup.contenders(FRAMES))
}
