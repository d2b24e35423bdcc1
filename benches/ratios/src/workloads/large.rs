//! W5: frames of video, one byte written in every page.
//!
//! Where the pages lie physically decides more than who hands them out: the same buffer may take twice
//! the time of another. So all contenders are made anew several times, each time with other memory.

use crate::contender::{Contender, Role, Task, enter};
use crate::floors::NoPool;
use crate::ours::Ours;
use crate::table::{Plan, Table, measure};
use crate::workloads::{Demand, OURS, Setup};

const KEPT: &str = "a buffer that is kept";
const FRAMES: usize = 2;
/// How often everything is made anew.
const LIVES: usize = 7;

pub(super) fn full_hd(setup: Setup) -> Result<Table, String> {
    run(setup, "W5", "1080p NV12", 1920 * 1080 * 3 / 2)
}

pub(super) fn ultra_hd(setup: Setup) -> Result<Table, String> {
    run(setup, "W5-2160p", "2160p P010", 3840 * 2160 * 3)
}

fn run(setup: Setup, id: &'static str, what: &str, size: usize) -> Result<Table, String> {
    let plan = Plan {
        id,
        title: format!("frames of {what}, {size} bytes: a byte written in every page"),
        tasks: vec![Task::Pages],
        frames_at_once: 1,
        sample: setup.sample(1000),
        rounds: setup.rounds(8),
        floor: KEPT,
    };
    let lives: Result<Vec<Table>, String> = (0..setup.rounds(LIVES))
        .map(|_| measure(&plan, &contenders(setup, size)))
        .collect();
    Ok(Table::merge(&lives?))
}

fn contenders(setup: Setup, size: usize) -> Vec<Box<dyn Contender>> {
    let frames = FRAMES;
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        enter(Role::Floor, KEPT, frames, size, NoPool::new(1, size)),
        enter(Role::Ours, OURS, frames, size, Ours::new(frames, size)),
    ];
    contenders.extend((setup.peers)(Demand {
        frames,
        size,
        large: true,
        bursts: false,
    }));
    contenders
}
