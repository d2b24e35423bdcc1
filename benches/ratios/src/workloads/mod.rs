//! What is done with the frames. Each workload is in a file of its own.

mod burst;
mod crowd;
mod hand_off;
mod large;
mod one_thread;
mod two_threads;
mod wake;

use std::time::Duration;

use crate::contender::{Contender, Role, enter};
use crate::floors::{NoPool, TwoReadModifyWrites};
use crate::ours::Ours;
use crate::table::Table;

/// Bytes of a frame, where they are not the point.
pub const FRAME_SIZE: usize = 4096;
/// Frames of a pool, where they are not the point.
pub const FRAMES: usize = 64;

pub(crate) const NO_POOL: &str = "no pool";
pub(crate) const TWO_RMW: &str = "two read-modify-writes";

/// The frames that the peers should have.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// How many.
    pub frames: usize,
    /// Of how many bytes.
    pub size: usize,
    /// Whether they are so large that only what their memory costs is of interest.
    pub large: bool,
    /// Whether they go out and back many at once.
    pub bursts: bool,
}

/// What runs beside this pool, and how thoroughly.
#[derive(Clone, Copy)]
pub struct Setup {
    /// Makes the peers.
    pub peers: fn(Demand) -> Vec<Box<dyn Contender>>,
    /// Everything once only.
    pub quick: bool,
}

impl Setup {
    fn rounds(&self, rounds: usize) -> usize {
        if self.quick { 1 } else { rounds }
    }

    fn sample(&self, microseconds: u64) -> Duration {
        Duration::from_micros(if self.quick { 50 } else { microseconds })
    }

    /// The two floors, this pool, and the peers.
    fn contenders(&self, frames: usize) -> Vec<Box<dyn Contender>> {
        self.contenders_with(frames, 1, false)
    }

    /// The same; without a pool, each thread has `each` frames.
    fn contenders_with(&self, frames: usize, each: usize, bursts: bool) -> Vec<Box<dyn Contender>> {
        let size = FRAME_SIZE;
        let no_pool = NoPool::new(each, size);
        let two_rmw = TwoReadModifyWrites::new(each, size);
        let mut contenders = vec![
            enter(Role::Floor, NO_POOL, frames, size, no_pool),
            enter(Role::Floor, TWO_RMW, frames, size, two_rmw),
            enter(Role::Ours, OURS, frames, size, Ours::new(frames, size)),
        ];
        if frames >= FRAMES {
            // A smaller pool has none.
            let name = format!("{OURS}, no caches");
            let bare = Ours::without_caches(frames, size);
            contenders.push(enter(Role::OursToo, &name, frames, size, bare));
        }
        contenders.extend((self.peers)(Demand {
            frames,
            size,
            large: false,
            bursts,
        }));
        contenders
    }
}

/// What this pool is called.
pub const OURS: &str = "ks-allocator";

/// A workload that can be asked for.
#[derive(Clone, Copy)]
pub struct Workload {
    /// Its name on the command line.
    pub id: &'static str,
    /// Measures it.
    pub run: fn(Setup) -> Result<Table, String>,
}

/// All of them. What is asked for as `W1` is all those whose name is W1 up to a hyphen.
pub const ALL: &[Workload] = &[
    Workload {
        id: "W1",
        run: one_thread::few,
    },
    Workload {
        id: "W1-1024",
        run: one_thread::many,
    },
    Workload {
        id: "W2",
        run: two_threads::run,
    },
    Workload {
        id: "W3",
        run: hand_off::plenty,
    },
    Workload {
        id: "W3-8",
        run: hand_off::scarce,
    },
    Workload {
        id: "W4",
        run: burst::run,
    },
    Workload {
        id: "W5",
        run: large::full_hd,
    },
    Workload {
        id: "W5-2160p",
        run: large::ultra_hd,
    },
    Workload {
        id: "W6",
        run: crowd::four,
    },
    Workload {
        id: "W6-8",
        run: crowd::eight,
    },
    Workload {
        id: "W8",
        run: wake::run,
    },
];

/// Those of [`ALL`] that the filters ask for: all if there are none.
///
/// # Errors
///
/// If a filter is no workload's name.
pub fn asked_for(filters: &[String]) -> Result<Vec<Workload>, String> {
    let fits = |filter: &str, id: &str| id == filter || id.split('-').next() == Some(filter);
    for filter in filters {
        if !ALL.iter().any(|workload| fits(filter, workload.id)) {
            let known: Vec<_> = ALL.iter().map(|workload| workload.id).collect();
            return Err(format!(
                "no workload {filter}; there are: {}",
                known.join(" ")
            ));
        }
    }
    let requested = |workload: &&Workload| {
        filters.is_empty() || filters.iter().any(|filter| fits(filter, workload.id))
    };
    Ok(ALL.iter().filter(asked).copied().collect())
}
