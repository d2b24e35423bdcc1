//! Sizing: the waits that a recorded pipeline would have had with other numbers of frames.
//!
//! A recording is turned into a schedule of steps, and the schedule is replayed once per number of
//! frames. Only the pool is simulated. All that the threads of the pipeline do between their calls
//! is taken from the recording.
//!
//! # Model
//!
//! A step is a request for a frame, a pass of a frame from one holder to the next (a changed
//! label), or a release. Each step has predecessors, and happens a recorded delay after the last of
//! them:
//!
//! - The previous step of the thread. A thread does one thing at a time. So a stage whose frames
//!   are passed on by one thread is a serial server: the time in its queue is computed anew, and
//!   the time of its work is as recorded.
//! - The previous step of the frame. A stage begins with a frame when the frame arrives.
//! - The arrival of a later frame. A stage that always keeps some frames, such as a preview or an
//!   encoder with lookahead, gives up its oldest frame when the next one arrives.
//!
//! A request has a delay after the previous step of its thread, too. What that means depends on the
//! [`Pacing`] of the thread:
//!
//! - A source that is paced by its work shifts: after a longer wait it asks later.
//! - A source that is paced by a clock asks at the recorded time, or when it is done with its
//!   previous frame, if that is later. The work that it cannot skip is its least recorded delay
//!   after a wait, if that is less than a quarter of its period, and nothing otherwise. A recorded
//!   request that a wait had delayed is due one period after the request before it, and keeps its
//!   recorded delay, so that a replay with the recorded frames has the recorded waits.
//!
//! Requests are served in the order in which they are made. A served waiter goes on after the
//! median of the recorded times between a release and the end of the wait that it served.
//!
//! # Special cases
//!
//! - A thread that does something during one of its waits, or whose wait ends in another thread,
//!   runs several tasks. Its steps have no predecessor in the thread, and its requests come at
//!   their recorded times.
//! - A wait that was given up, failed or was not over when the recording was read takes no frame,
//!   and lasts no longer than it was recorded.
//! - A frame that was out before the first event is out from the start. A frame that is still out
//!   at the end is held for the median time of the other frames of its acquirer, and at least until
//!   the recording ends; or for good if there are no others, or if it is out for twice the longest
//!   of their times already.
//! - Steps that an overwritten event leaves out are not replayed.
//! - Frames acquired together are requested one by one.
//! - Flush, decommit and commit are not replayed. Their duration is part of the recorded delays.
//!
//! Modules are listed bottom-up: each depends only on modules listed before it.

mod pacing;

mod schedule;

mod replay;

mod report;

mod text;

#[cfg(feature = "recording-export")]
mod picture;

pub use self::pacing::Pacing;
pub use self::report::{
    DepthForecast, FrameSource, HolderShare, LabelForecast, Saving, SavingMeans, Sizing,
    SizingOptions, WaitTotals,
};

#[cfg(test)]
#[cfg(not(any(loom, miri)))]
mod tests;
