//! W5: one thread acquires video frames, writes one byte to each page, and releases them.
//!
//! The physical addresses of the pages matter more than the pool: one buffer may take twice the
//! time of another. All contenders are therefore made several times, each time with other memory.

use crate::contender::{Contender, Role, Task, entry};
use crate::lower_bounds::NoPool;
use crate::ours::Ours;
use crate::table::{Plan, Table, measure};
use crate::workloads::{Demand, OURS, Setup};

const ONE_BUFFER: &str = "one reused buffer";
const FRAMES: usize = 2;
/// Number of times that all contenders are made.
const REPETITIONS: usize = 7;

pub(super) fn full_hd(setup: Setup) -> Result<Table, String> {
    run(setup, "W5", "1080p NV12", 1920 * 1080 * 3 / 2)
}

pub(super) fn ultra_hd(setup: Setup) -> Result<Table, String> {
    run(setup, "W5-2160p", "2160p P010", 3840 * 2160 * 3)
}

fn run(setup: Setup, id: &'static str, what: &str, size: usize) -> Result<Table, String> {
    let plan = Plan {
        id,
        title: format!("one thread, {what} frames of {size} bytes: write one byte per page"),
        tasks: vec![Task::TouchPages],
        pinned: true,
        frames_at_once: 1,
        sample: setup.sample(1000),
        rounds: setup.rounds(8),
        lower_bound: ONE_BUFFER,
    };
    let tables: Result<Vec<Table>, String> = (0..setup.rounds(REPETITIONS))
        .map(|_| measure(&plan, &contenders(setup, size)))
        .collect();
    Ok(Table::merge(&tables?))
}

fn contenders(setup: Setup, size: usize) -> Vec<Box<dyn Contender>> {
    let frames = FRAMES;
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        entry(
            Role::LowerBound,
            ONE_BUFFER,
            frames,
            size,
            NoPool::new(1, size),
        ),
        entry(Role::Ours, OURS, frames, size, Ours::new(frames, size)),
    ];
    contenders.extend(setup.peers(Demand {
        frames,
        size,
        large: true,
        bursts: false,
        dry: false,
    }));
    contenders
}
