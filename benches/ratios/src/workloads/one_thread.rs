//! W1: one thread takes a frame, writes 8 bytes and gives it back.

use crate::contender::{Role, Task, enter};
use crate::floors::PlainVec;
use crate::ours::Ours;
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAME_SIZE, FRAMES, OURS, Setup, TWO_RMW};

const MANY: usize = 65_536;

pub(super) fn few(setup: Setup) -> Result<Table, String> {
    run(setup, "W1", FRAMES)
}

pub(super) fn many(setup: Setup) -> Result<Table, String> {
    run(setup, "W1-1024", 1024)
}

fn run(setup: Setup, id: &'static str, frames: usize) -> Result<Table, String> {
    let size = FRAME_SIZE;
    let mut contenders = setup.contenders(frames);
    let vec = PlainVec::new(frames, size);
    contenders.push(enter(
        Role::Floor,
        "Vec<usize>, pop and push",
        frames,
        size,
        vec,
    ));
    if frames == FRAMES {
        let full = Ours::untouched(MANY, size);
        let name = format!("{OURS}, 65,536 frames, all free");
        contenders.push(enter(Role::OursToo, &name, MANY, size, full));
        let empty = Ours::nearly_empty(MANY, size);
        let name = format!("{OURS}, 65,536 frames, 1 % free");
        contenders.push(enter(Role::OursToo, &name, MANY, size, empty));
    }
    let plan = Plan {
        id,
        title: format!("one thread, {frames} frames: acquire, write 8 bytes, release"),
        tasks: vec![Task::RoundTrip],
        frames_at_once: 1,
        sample: setup.sample(400),
        rounds: setup.rounds(300),
        floor: TWO_RMW,
    };
    measure(&plan, &contenders)
}
