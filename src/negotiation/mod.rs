//! Agreement of several parties on the frames that they share.
//!
//! Each party of a pipeline states its [`Requirements`], and [`negotiate`] finds a framing, a video
//! layout, a mode and a number of frames that suit all of them, or names those that do not go
//! together.
//!
//! The parties are those that use the same frames: a source, filters that work in place, and sinks.
//! A filter that copies ends one such pipe and begins another, with a pool of its own. If both
//! shared a pool, the first could take all frames, and the filter would wait for ever for one to
//! copy to. [`Stage`] splits a pipeline into its pipes.
//!
//! | value | choice |
//! |---|---|
//! | picture | the one that all parties name |
//! | format, mode | one that all parties accept, with the best sum of positions in their lists |
//! | strides | the smallest that are multiples of all alignments and within all limits |
//! | frame size | a preferred one, the nearest to it or the smallest, on all parties' steps |
//! | alignment, pages | the least common multiple, also with that of the strides |
//! | prefix | the smallest multiple of the alignment that is enough for all parties |
//! | frames | what all parties hold and one, or the largest minimum; see [`Requirements::holds`] |
//! | frames under a limit | as many as it allows; see [`Requirements::holds_between`] |
//!
//! The result does not depend on the order of the parties.

pub mod kernel_streaming;

mod agreement;
mod alternatives;
mod conflict;
mod decisions;
mod grouped;
mod need;
mod requirements;
mod settlement;
mod sizes;
mod solver;
mod stage;

pub use self::agreement::{Agreement, negotiate};
pub use self::alternatives::{Choice, NoAlternative, negotiate_alternatives};
pub use self::conflict::Conflict;
pub use self::decisions::{AgreedValue, Decision};
pub use self::requirements::Requirements;
pub use self::settlement::UnmetWish;
pub use self::sizes::Sizes;
pub use self::stage::{Pipe, PipeConflict, Stage};

#[cfg(test)]
#[cfg(not(any(loom, miri)))]
mod tests;
