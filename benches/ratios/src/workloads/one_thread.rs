//! W1: one thread acquires a frame, writes 8 bytes to it, and releases it.

use crate::contender::{Role, Task, entry};
use crate::lower_bounds::PlainVec;
use crate::ours::Ours;
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAME_SIZE, FRAMES, OURS, Setup, TWO_RMW};

/// Number of frames of a pool with many shards.
const MANY: usize = 65_536;

pub(super) fn with_64_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W1", FRAMES)
}

pub(super) fn with_1024_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W1-1024", 1024)
}

fn run(setup: Setup, id: &'static str, frames: usize) -> Result<Table, String> {
    let size = FRAME_SIZE;
    let mut contenders = setup.contenders(frames);
    let vec = PlainVec::new(frames, size);
    contenders.push(entry(
        Role::LowerBound,
        "Vec<usize>, pop and push",
        frames,
        size,
        vec,
    ));
    if frames == FRAMES {
        let full = Ours::not_prefaulted(MANY, size);
        let name = format!("{OURS}, 65,536 frames, all free");
        contenders.push(entry(Role::OursVariant, &name, MANY, size, full));
        let empty = Ours::nearly_empty(MANY, size);
        let name = format!("{OURS}, 65,536 frames, 1 % free");
        contenders.push(entry(Role::OursVariant, &name, MANY, size, empty));
    }
    measure(&plan(setup, id, frames), &contenders)
}

pub(super) fn plan(setup: Setup, id: &'static str, frames: usize) -> Plan {
    Plan {
        id,
        title: format!("one thread, {frames} frames: acquire, write 8 bytes, release"),
        tasks: vec![Task::RoundTrip],
        pinned: true,
        frames_at_once: 1,
        sample: setup.sample(400),
        rounds: setup.rounds(300),
        lower_bound: TWO_RMW,
    }
}
