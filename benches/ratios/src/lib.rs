//! Benchmark harness that measures `ks-allocator` and its peers in one run.
//!
//! Every contender implements [`Pool`](pool::Pool) and runs the same loops. Samples are short:
//! each round takes one sample of each contender, and there are many rounds. A disturbance of the
//! machine therefore affects all contenders alike. That keeps the ratios of the medians meaningful
//! where the nanoseconds are not.

// The contenders.
pub mod pool;

mod memory;

pub mod lower_bounds;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peers;
// The measurement.
mod clock;
pub mod contender;
mod latencies;
pub mod table;
mod workers;
pub mod workloads;
// The results.
pub mod chart;
pub mod machine;
pub mod options;
#[cfg(feature = "draw")]
pub mod pictures;
pub mod readme;
pub mod record;
pub mod repeat;
pub mod report;
