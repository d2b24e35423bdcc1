//! The workloads, each in a file of its own.

mod burst;
#[cfg(feature = "peers")]
pub mod curves;
mod dry;
mod large;
mod one_thread;
mod oversubscribed;
mod pipeline;
mod transfer;
mod two_threads;
mod wake;

use std::time::Duration;

use crate::contender::{Contender, Role, entry};
use crate::lower_bounds::{NoPool, TwoReadModifyWrites};
use crate::options::Filters;
use crate::ours::Ours;
use crate::table::Table;

/// Bytes per frame in the workloads that do not vary it.
pub const FRAME_SIZE: usize = 4096;
/// Frames per pool in the workloads that do not vary it.
pub const FRAMES: usize = 64;

pub(crate) const NO_POOL: &str = "no pool";
pub(crate) const TWO_RMW: &str = "two read-modify-writes";

/// Requirements that a peer is made for.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Number of frames.
    pub frames: usize,
    /// Bytes per frame.
    pub size: usize,
    /// `true` if the frames are so large that only the cost of their memory is of interest.
    pub large: bool,
    /// `true` if the frames are acquired and released in bursts.
    pub bursts: bool,
    /// `true` if all frames are held, and only failing acquires are of interest.
    pub dry: bool,
}

/// Peers to compare with, and whether to measure or only to check.
#[derive(Clone, Copy)]
pub struct Setup {
    /// Makes the peers.
    pub peers: fn(Demand) -> Vec<Box<dyn Contender>>,
    /// `true` if everything runs only once, as a check.
    pub quick: bool,
    /// `true` if the peers are left out.
    pub alone: bool,
}

impl Setup {
    fn rounds(&self, rounds: usize) -> usize {
        if self.quick { 1 } else { rounds }
    }

    fn sample(&self, microseconds: u64) -> Duration {
        Duration::from_micros(if self.quick { 50 } else { microseconds })
    }

    /// Makes the peers, unless they are left out.
    fn peers(&self, demand: Demand) -> Vec<Box<dyn Contender>> {
        if self.alone {
            Vec::new()
        } else {
            (self.peers)(demand)
        }
    }

    /// Returns two lower bounds, this pool, and the peers.
    fn contenders(&self, frames: usize) -> Vec<Box<dyn Contender>> {
        self.contenders_with(frames, 1, false)
    }

    /// Returns two lower bounds with `frames_per_thread` frames each, this pool, and the peers.
    fn contenders_with(
        &self,
        frames: usize,
        frames_per_thread: usize,
        bursts: bool,
    ) -> Vec<Box<dyn Contender>> {
        let size = FRAME_SIZE;
        let no_pool = NoPool::new(frames_per_thread, size);
        let two_rmw = TwoReadModifyWrites::new(frames_per_thread, size);
        let mut contenders = vec![
            entry(Role::LowerBound, NO_POOL, frames, size, no_pool),
            entry(Role::LowerBound, TWO_RMW, frames, size, two_rmw),
            entry(Role::Ours, OURS, frames, size, Ours::new(frames, size)),
        ];
        if frames >= FRAMES {
            let name = format!("{OURS}, caches(false)");
            let forgetful = Ours::without_caches(frames, size);
            contenders.push(entry(Role::OursVariant, &name, frames, size, forgetful));
        }
        contenders.extend(self.peers(Demand {
            frames,
            size,
            large: false,
            bursts,
            dry: false,
        }));
        contenders
    }
}

/// Name of this pool in tables.
pub const OURS: &str = "ks-allocator";

/// A workload that the command line can name.
#[derive(Clone, Copy)]
pub struct Workload {
    /// Name on the command line.
    pub id: &'static str,
    /// Measures the workload.
    pub run: fn(Setup) -> Result<Table, String>,
}

/// All workloads.
pub const ALL: &[Workload] = &[
    Workload {
        id: "W1",
        run: one_thread::with_64_frames,
    },
    Workload {
        id: "W1-1024",
        run: one_thread::with_1024_frames,
    },
    Workload {
        id: "W2",
        run: two_threads::with_64_frames,
    },
    Workload {
        id: "W2-dry",
        run: two_threads::with_2_free_frames,
    },
    Workload {
        id: "W3",
        run: transfer::with_64_frames,
    },
    Workload {
        id: "W3-8",
        run: transfer::with_8_frames,
    },
    Workload {
        id: "W3-16",
        run: transfer::with_16_frames,
    },
    Workload {
        id: "W3-32",
        run: transfer::with_32_frames,
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
        run: oversubscribed::with_4_threads,
    },
    Workload {
        id: "W6-8",
        run: oversubscribed::with_8_threads,
    },
    Workload {
        id: "W8",
        run: wake::run,
    },
    Workload {
        id: "W9-4",
        run: pipeline::with_4_frames,
    },
    Workload {
        id: "W9-8",
        run: pipeline::with_8_frames,
    },
    Workload {
        id: "W9-16",
        run: pipeline::with_16_frames,
    },
    Workload {
        id: "W9-8-2us",
        run: pipeline::with_2_us_of_work,
    },
    Workload {
        id: "W9-8-20us",
        run: pipeline::with_20_us_of_work,
    },
    Workload {
        id: "W10",
        run: dry::with_64_frames,
    },
    Workload {
        id: "W10-4096",
        run: dry::with_4096_frames,
    },
    Workload {
        id: "W10-65536",
        run: dry::with_65536_frames,
    },
];

/// Returns the workloads that the filters name, or [`ALL`] without names. A name is that of a
/// workload, or its part before the hyphen: `W1` selects W1 and W1-1024, unless the filters are
/// exact.
///
/// # Errors
///
/// If a filter names no workload.
pub fn select(filters: &Filters) -> Result<Vec<Workload>, String> {
    let Filters { names, exact } = filters;
    let fits = |name: &str, id: &str| id == name || (!exact && id.split('-').next() == Some(name));
    for name in names {
        if !ALL.iter().any(|workload| fits(name, workload.id)) {
            let known: Vec<_> = ALL.iter().map(|workload| workload.id).collect();
            return Err(format!(
                "unknown workload {name}; the workloads are {}",
                known.join(" ")
            ));
        }
    }
    let is_selected =
        |workload: &&Workload| names.is_empty() || names.iter().any(|name| fits(name, workload.id));
    Ok(ALL.iter().filter(is_selected).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str], exact: bool) -> Result<Vec<&'static str>, String> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let workloads = select(&Filters { names, exact })?;
        Ok(workloads.iter().map(|workload| workload.id).collect())
    }

    #[test]
    fn a_name_selects_the_variants_too_unless_it_is_exact() {
        assert_eq!(selected(&["W1"], false).unwrap(), ["W1", "W1-1024"]);
        assert_eq!(selected(&["W1"], true).unwrap(), ["W1"]);
        assert_eq!(selected(&["W2-dry"], false).unwrap(), ["W2-dry"]);
        assert_eq!(selected(&["W9"], false).unwrap().len(), 5);
        assert_eq!(selected(&[], true).unwrap().len(), ALL.len());
        assert!(selected(&["W9"], true).is_err());
        assert!(selected(&["W7"], false).is_err());
    }
}
