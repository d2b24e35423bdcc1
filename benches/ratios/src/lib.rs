//! How fast frames go round in `ks-allocator`, beside its peers, all in one run.
//!
//! Every contender is a [`Pool`](pool::Pool) and goes through the same loops. Samples are short, and
//! taken in turn: one of each contender, many times over. So what disturbs the machine disturbs all of
//! them, and the ratios of the medians mean something where the nanoseconds do not.

// What takes part.
pub mod pool;

mod memory;

pub mod floors;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peers;
// How it is measured.
mod clock;
pub mod contender;
mod crew;
mod latencies;
pub mod table;
pub mod workloads;
// What comes of it.
pub mod machine;
pub mod options;
#[cfg(feature = "draw")]
pub mod pictures;
pub mod readme;
pub mod record;
pub mod report;
