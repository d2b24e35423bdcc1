//! W2: two threads, each on its own core, acquire and release frames of one pool. In W2-dry, all
//! frames but two are held elsewhere.

use crate::contender::{Contender, Role, Task};
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAMES, Setup, TWO_RMW};

pub(super) fn with_64_frames(setup: Setup) -> Result<Table, String> {
    let title = format!("two threads share {FRAMES} frames");
    run(setup, "W2", title, &setup.contenders(FRAMES))
}

pub(super) fn with_2_free_frames(setup: Setup) -> Result<Table, String> {
    let held = FRAMES - 2;
    let contenders = setup.contenders(FRAMES);
    for contender in &contenders {
        // A lower bound has no frames that could run out.
        if contender.role() != Role::LowerBound {
            contender
                .hold(held)
                .map_err(|fault| format!("W2-dry: {}: {fault}", contender.name()))?;
        }
    }
    let title = format!("two threads share {FRAMES} frames, of which {held} are held elsewhere");
    run(setup, "W2-dry", title, &contenders)
}

fn run(
    setup: Setup,
    id: &'static str,
    title: String,
    contenders: &[Box<dyn Contender>],
) -> Result<Table, String> {
    let plan = Plan {
        id,
        title: format!("{title}: elapsed time divided by frames of both threads"),
        tasks: vec![Task::RoundTrip; 2],
        pinned: true,
        frames_at_once: 2,
        sample: setup.sample(1000),
        rounds: setup.rounds(200),
        lower_bound: TWO_RMW,
    };
    measure(&plan, contenders)
}
