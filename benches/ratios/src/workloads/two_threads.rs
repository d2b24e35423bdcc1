//! W2: two threads, each on its core, take from one pool and give back.

use crate::contender::Task;
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAMES, Setup, TWO_RMW};

pub(super) fn run(setup: Setup) -> Result<Table, String> {
    let plan = Plan {
        id: "W2",
        title: format!("two threads on one pool of {FRAMES}: time by all frames of both"),
        tasks: vec![Task::RoundTrip; 2],
        frames_at_once: 2,
        sample: setup.sample(1000),
        rounds: setup.rounds(200),
        floor: TWO_RMW,
    };
    measure(&plan, &setup.contenders(FRAMES))
}
