//! W4: one thread acquires 32 frames, writes 8 bytes to each, and releases them.

use crate::contender::{BURST, Role, Task, entry};
use crate::lower_bounds::PlainVec;
use crate::ours::{Ours, OursMany, OursUntouched};
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAME_SIZE, FRAMES, OURS, Setup, TWO_RMW};

pub(super) fn run(setup: Setup) -> Result<Table, String> {
    let (frames, size) = (FRAMES, FRAME_SIZE);
    let mut contenders = setup.contenders_with(frames, BURST, true);
    let vec = PlainVec::new(frames, size);
    contenders.push(entry(
        Role::LowerBound,
        "Vec<usize>, pop and push",
        frames,
        size,
        vec,
    ));
    let many = OursMany(Ours::new(frames, size));
    let name = format!("{OURS}, acquire_many");
    contenders.push(entry(Role::OursVariant, &name, frames, size, many));
    let untouched = OursUntouched::new(frames, size, BURST);
    let name = format!("{OURS}, acquire_many, frames untouched");
    contenders.push(entry(Role::OursVariant, &name, 1, size, untouched));
    let plan = Plan {
        id: "W4",
        title: format!(
            "one thread, {frames} frames: acquire {BURST}, write 8 bytes to each, release {BURST}"
        ),
        tasks: vec![Task::Burst],
        pinned: true,
        frames_at_once: BURST as u64,
        sample: setup.sample(400),
        rounds: setup.rounds(300),
        lower_bound: TWO_RMW,
    };
    measure(&plan, &contenders)
}
