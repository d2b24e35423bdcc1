//! W10: one thread tries to acquire a frame of a pool whose frames are all held, and fails.

use crate::contender::{Contender, Role, Task, entry};
use crate::lower_bounds::EmptyCounter;
use crate::ours::Ours;
use crate::table::{Plan, Table, measure};
use crate::workloads::{Demand, FRAMES, OURS, Setup};

const ONE_LOAD: &str = "one load of a counter";
/// Bytes per frame. Nothing is written to the frames, so that their size is without effect.
const SIZE: usize = 64;

pub(super) fn with_64_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W10", FRAMES)
}

pub(super) fn with_4096_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W10-4096", 4096)
}

pub(super) fn with_65536_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W10-65536", 65_536)
}

fn run(setup: Setup, id: &'static str, frames: usize) -> Result<Table, String> {
    let contenders = contenders(setup, frames);
    for contender in &contenders {
        if contender.role() != Role::LowerBound {
            contender
                .hold(frames)
                .map_err(|fault| format!("{id}: {}: {fault}", contender.name()))?;
        }
    }
    let plan = Plan {
        id,
        title: format!("one thread, all of {frames} frames held: time of an acquire that fails"),
        tasks: vec![Task::Fail],
        pinned: true,
        frames_at_once: 1,
        sample: setup.sample(400),
        rounds: setup.rounds(300),
        lower_bound: ONE_LOAD,
    };
    measure(&plan, &contenders)
}

fn contenders(setup: Setup, frames: usize) -> Vec<Box<dyn Contender>> {
    let bare_name = format!("{OURS}, caches(false)");
    let ours = Ours::not_prefaulted(frames, SIZE);
    let bare = Ours::without_caches(frames, SIZE);
    let counter = EmptyCounter::default();
    let mut contenders = vec![
        entry(Role::LowerBound, ONE_LOAD, frames, SIZE, counter),
        entry(Role::Ours, OURS, frames, SIZE, ours),
        entry(Role::OursVariant, &bare_name, frames, SIZE, bare),
    ];
    contenders.extend(setup.peers(Demand {
        frames,
        size: SIZE,
        large: false,
        bursts: false,
        dry: true,
    }));
    contenders
}
