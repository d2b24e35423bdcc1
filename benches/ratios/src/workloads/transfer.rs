//! W3: one thread acquires frames and writes to them, another thread reads and releases them.
//! Between them is a bounded queue. Both threads spin when they have to wait for it, and yield
//! after a while.

use crate::contender::{QUEUE_CAPACITY, Task};
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAMES, NO_POOL, Setup};

pub(super) fn with_64_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W3", FRAMES)
}

pub(super) fn with_8_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W3-8", 8)
}

pub(super) fn with_16_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W3-16", 16)
}

pub(super) fn with_32_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W3-32", 32)
}

fn run(setup: Setup, id: &'static str, frames: usize) -> Result<Table, String> {
    // Without a pool, the sender reuses a frame after 2 * QUEUE_CAPACITY - 1 others. The queue
    // holds at most QUEUE_CAPACITY of them, so the receiver has read the frame by then.
    measure(
        &plan(setup, id, frames),
        &setup.contenders_with(frames, 2 * QUEUE_CAPACITY, false),
    )
}

pub(super) fn plan(setup: Setup, id: &'static str, frames: usize) -> Plan {
    Plan {
        id,
        title: format!(
            "{frames} frames, acquired by one thread, released by another; \
             queue of {QUEUE_CAPACITY}"
        ),
        tasks: vec![Task::Send, Task::Receive],
        pinned: true,
        frames_at_once: 1,
        sample: setup.sample(2000),
        rounds: setup.rounds(120),
        lower_bound: NO_POOL,
    }
}
