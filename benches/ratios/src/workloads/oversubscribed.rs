//! W6: more threads than cores share one pool. The tail is of interest here: a thread that is
//! preempted during an acquire or a release should not block the other threads.

use crate::contender::Task;
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAMES, Setup, TWO_RMW};

pub(super) fn with_4_threads(setup: Setup) -> Result<Table, String> {
    run(setup, "W6", 4)
}

pub(super) fn with_8_threads(setup: Setup) -> Result<Table, String> {
    run(setup, "W6-8", 8)
}

fn run(setup: Setup, id: &'static str, threads: u64) -> Result<Table, String> {
    measure(&plan(setup, id, threads), &setup.contenders(FRAMES))
}

pub(super) fn plan(setup: Setup, id: &'static str, threads: u64) -> Plan {
    Plan {
        id,
        title: format!(
            "{threads} threads share {FRAMES} frames: elapsed time divided by frames of all threads"
        ),
        tasks: vec![Task::TimedRoundTrip; threads as usize],
        pinned: true,
        frames_at_once: threads,
        sample: setup.sample(25_000),
        rounds: setup.rounds(16),
        lower_bound: TWO_RMW,
    }
}
