//! Forecasts per number of frames, and how to save a frame.

use std::collections::HashMap;
use std::slice;
use std::time::Duration;

use crate::label::Label;

use super::super::event::Recording;
use super::pacing::Pacing;
use super::replay::{Followers, HolderWaits, NEGLIGIBLE, Shortened, Waits, replay};
use super::schedule::{Action, Schedule};

/// Maximum number of depths with a forecast. It is even, so the recorded depth is among them.
const MAX_DEPTHS: usize = 1024;

/// Minimum number of requests from which on a stage is said to fall behind because most of them
/// wait.
const MIN_REQUESTS: u64 = 16;

/// Maximum number of labels for which savings are looked for.
const MAX_SAVERS: usize = 8;

impl Recording {
    /// Predicts the waits that the recorded pipeline would have had with other numbers of frames:
    /// from 1 to twice the number of frames of the pool.
    ///
    /// The recording is replayed once per number of frames, until one has no waits. Larger pools
    /// have none either. This takes time in proportion to the number of events, so it is not for
    /// the threads of the pipeline.
    ///
    /// # Model
    ///
    /// - The time that a stage works on a frame is as recorded, with any number of frames. The time
    ///   that a frame is in the queue before the stage is computed anew. A stage that passes on its
    ///   frames from one thread is taken to work on one at a time.
    /// - A stage that always keeps some frames until the next one arrives does so with any number
    ///   of frames. If that is all the frames there are, the forecast is a
    ///   [stall](DepthForecast::stalls).
    /// - A thread asks for frames by a clock or by its work: see [`Pacing`]. Both look the same in
    ///   a recording in which it never waited and its work always took equally long. It is taken
    ///   for a clock then, and so is a thread with fewer than 16 requests. A thread that waited for
    ///   most of its frames is taken to be paced by its work. [`sizing_with`](Self::sizing_with)
    ///   takes the pace from the caller.
    /// - A wait that timed out, failed or was dropped takes no frame in the replay. Other waits
    ///   last until a frame is free.
    ///
    /// # Limits
    ///
    /// The recording shows when a thread acquired, passed on (by a change of the label) or released
    /// a frame, and nothing else. So the forecast is worse if:
    ///
    /// - stages are not labeled;
    /// - a thread waits for something other than frames, such as a lock that another stage holds;
    /// - a source drops pictures when no frame is free, instead of waiting;
    /// - several readers share a frame: only the last release is recorded;
    /// - tasks of an executor acquire frames: their requests are replayed at their recorded times;
    /// - events were lost: what they leave out is not replayed;
    /// - [several frames are acquired together](crate::FramePool::acquire_exact): they are
    ///   requested one by one.
    ///
    /// `examples/sizing` compares forecasts with runs of a pipeline whose stages sleep for 2 to 32
    /// ms. They are within these bounds: the number of waits of more than 0.1 ms within 10 % of the
    /// requests, and the total wait within 15 % plus 0.2 ms per request for the scheduler.
    ///
    /// ```
    /// use ks_allocator::FramePool;
    ///
    /// let pool = FramePool::builder().frames(4).frame_size(64).record(1000).build()?;
    /// let camera = pool.with_label("camera");
    /// for _ in 0..20 {
    ///     let (_one, _two) = (camera.acquire()?, camera.acquire()?);
    /// }
    /// let sizing = pool.recording().expect("`record` turns the recorder on").sizing();
    /// assert_eq!(sizing.frames_without_waits(), Some(2));
    /// // The thread waits for a frame while it holds the only one.
    /// assert!(sizing.at(1).expect("from 1 to 8").stalls);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sizing(&self) -> Sizing {
        self.sizing_with(&SizingOptions::new())
    }

    /// Predicts as [`sizing`](Self::sizing) does, with options.
    ///
    /// ```
    /// use ks_allocator::{FramePool, Pacing, SizingOptions};
    ///
    /// let pool = FramePool::builder().frames(4).frame_size(64).record(1000).build()?;
    /// for _ in 0..20 {
    ///     drop(pool.with_label("decoder").acquire()?);
    /// }
    /// let options = SizingOptions::new().pacing("decoder", Pacing::Work);
    /// let sizing = pool.recording().expect("it is on").sizing_with(&options);
    /// assert_eq!(sizing.sources[0].pacing, Pacing::Work);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sizing_with(&self, options: &SizingOptions) -> Sizing {
        let schedule = Schedule::new(self, &options.pacings);
        let (depths, most) = forecasts(&schedule, self.frames);
        let mut sizing = Sizing {
            pool: self.pool,
            frames: self.frames,
            lost: self.lost,
            recorded_time: Duration::from_nanos(schedule.end),
            recorded: recorded_waits(&schedule),
            depths,
            sources: sources(&schedule),
            savings: Vec::new(),
            falls_behind: most.and_then(|waits| falls_behind(&schedule, &waits)),
        };
        sizing.savings = savings(&schedule, &sizing);
        sizing
    }
}

/// Options of [`Recording::sizing_with`].
#[derive(Clone, Debug, Default)]
pub struct SizingOptions {
    pacings: HashMap<Label, Pacing>,
}

impl SizingOptions {
    /// Makes options by which the pace of each thread is told from the recording.
    ///
    /// ```
    /// # use ks_allocator::SizingOptions;
    /// let options = SizingOptions::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the pace of the threads whose first acquired frame has this label. It has no effect on
    /// a thread that runs several tasks: its requests come at their recorded times.
    ///
    /// ```
    /// # use ks_allocator::{Pacing, SizingOptions};
    /// let options = SizingOptions::new().pacing("camera", Pacing::Clock);
    /// ```
    #[must_use]
    pub fn pacing(mut self, label: impl Into<Label>, pacing: Pacing) -> Self {
        self.pacings.insert(label.into(), pacing);
        self
    }
}

/// Forecast of the waits of a pipeline with other numbers of frames: see [`Recording::sizing`].
///
/// It is displayed as a sentence, the savings, and a table; `{:#}` leaves the table out.
///
/// ```
/// # use ks_allocator::FramePool;
/// # let pool = FramePool::builder().frames(4).frame_size(64).record(1000).build()?;
/// let (one, two) = (pool.acquire()?, pool.acquire()?);
/// drop(one);
/// drop(two);
/// let sizing = pool.recording().expect("`record` turns the recorder on").sizing();
/// let text = format!("{sizing:#}");
/// assert!(text.starts_with("2 of 4 frames would have sufficed for "));
/// assert!(text.ends_with("; with 1, the pipeline stalls"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Sizing {
    /// Name of the pool, if it has one.
    pub pool: Option<Label>,
    /// Number of frames of the pool when it was recorded.
    pub frames: usize,
    /// Number of events that are missing from the recording.
    pub lost: u64,
    /// Time from the first event of the recording until it was read.
    pub recorded_time: Duration,
    /// Waits as recorded, to compare with the forecast [at](Self::at) the recorded number of
    /// frames.
    pub recorded: WaitTotals,
    /// Forecasts from 1 to twice the number of frames. If the pool has more than 512 frames, these
    /// are 1,024 numbers of frames that are evenly spread.
    pub depths: Vec<DepthForecast>,
    /// Threads that acquire frames, those with the most requests first.
    pub sources: Vec<FrameSource>,
    /// Changes, each of which would save a frame: with it, one frame fewer than
    /// [`frames_needed`](Self::frames_needed) suffices. Those that change hold times the least come
    /// first. Empty if 1 frame suffices or no number of frames does.
    pub savings: Vec<Saving>,
    /// Holder of most of the frames, if its frames pile up. Then more frames only delay the waits.
    /// In the forecast for the largest number of frames, at least half of 16 or more requests wait
    /// for more than 0.1 ms;
    /// or the most frames are out in the last tenth of the acquires, and at least half as many
    /// again as in the first half.
    pub falls_behind: Option<HolderShare>,
}

impl Sizing {
    /// Returns the forecast for a number of frames, if there is one.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// # let pool = FramePool::builder().frames(4).frame_size(64).record(100).build()?;
    /// # drop(pool.acquire()?);
    /// let sizing = pool.recording().expect("`record` turns the recorder on").sizing();
    /// assert_eq!(sizing.at(8).expect("twice the frames").waits.count, 0);
    /// assert!(sizing.at(9).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn at(&self, frames: usize) -> Option<&DepthForecast> {
        self.depths.iter().find(|depth| depth.frames == frames)
    }

    /// Returns the least number of frames without waits, or `None` if all forecasts have waits.
    ///
    /// Waits that were given up count, too.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// # let pool = FramePool::builder().frames(4).frame_size(64).record(100).build()?;
    /// # drop(pool.acquire()?);
    /// let sizing = pool.recording().expect("`record` turns the recorder on").sizing();
    /// assert_eq!(sizing.frames_without_waits(), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frames_without_waits(&self) -> Option<usize> {
        self.least(|depth| depth.waits.count == 0)
    }

    /// Returns the least number of frames with which no wait is longer than 0.1 ms, or `None` if
    /// all forecasts have longer waits. Shorter waits depend on which of two threads is woken
    /// first, and on chance.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// # let pool = FramePool::builder().frames(4).frame_size(64).record(100).build()?;
    /// # drop(pool.acquire()?);
    /// let sizing = pool.recording().expect("`record` turns the recorder on").sizing();
    /// assert_eq!(sizing.frames_needed(), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frames_needed(&self) -> Option<usize> {
        self.frames_for(Duration::from_nanos(NEGLIGIBLE))
    }

    /// Returns the least number of frames with which no wait is longer than `bound`, or `None` if
    /// all forecasts have longer waits.
    ///
    /// No larger number of frames has longer waits either.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ks_allocator::FramePool;
    /// # let pool = FramePool::builder().frames(4).frame_size(64).record(100).build()?;
    /// # drop(pool.acquire()?);
    /// let sizing = pool.recording().expect("`record` turns the recorder on").sizing();
    /// assert_eq!(sizing.frames_for(Duration::from_millis(2)), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn frames_for(&self, bound: Duration) -> Option<usize> {
        self.least(|depth| depth.waits.longest <= bound)
    }

    /// Returns the least depth from which on the condition holds.
    fn least(&self, condition: impl Fn(&DepthForecast) -> bool) -> Option<usize> {
        let from_last = self.depths.iter().rev();
        let good = from_last.take_while(|depth| !depth.stalls && condition(depth));
        good.last().map(|depth| depth.frames)
    }
}

/// Number and durations of waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WaitTotals {
    /// Number of waits.
    pub count: u64,
    /// Number of waits that take longer than 0.1 ms. The text shows this number, because the number
    /// of shorter waits depends on which of two threads is woken first.
    pub noticeable: u64,
    /// Duration of the longest wait.
    pub longest: Duration,
    /// Sum of the durations of all waits.
    pub total: Duration,
}

impl WaitTotals {
    /// Returns the totals of several callers.
    fn new(all: &[HolderWaits]) -> Self {
        let mut totals = Self::default();
        for waits in all {
            totals.count += waits.waits;
            totals.noticeable += waits.noticeable;
            totals.longest = totals.longest.max(Duration::from_nanos(waits.longest));
            totals.total = totals
                .total
                .saturating_add(Duration::from_nanos(waits.total));
        }
        totals
    }
}

/// Forecast for one number of frames.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DepthForecast {
    /// Number of frames.
    pub frames: usize,
    /// Waits of all callers.
    pub waits: WaitTotals,
    /// Waits by the label of the caller, those with the longest total wait first. Labels without
    /// waits are left out.
    pub labels: Vec<LabelForecast>,
    /// `true` if the pipeline would have stopped: every frame is held by a stage that gives it up
    /// only after another one is acquired, or never in the recording. The waits are those until
    /// then, and those that do not end are counted up to the end of the recording.
    pub stalls: bool,
}

/// Waits of the callers with one label.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LabelForecast {
    /// Label of the callers. `None` stands for all callers without a label.
    pub label: Option<Label>,
    /// Number of requests for a frame.
    pub requests: u64,
    /// Waits of these requests.
    pub waits: WaitTotals,
    /// Holders of the frames during the waits, those with the largest share first.
    pub holders: Vec<HolderShare>,
}

/// Share of a holder in the frames that are out.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HolderShare {
    /// Label of the holder. `None` stands for all holders without a label.
    pub label: Option<Label>,
    /// Share in the frames, from 0 to 1. Of a wait, it is averaged over the time of the wait.
    pub share: f64,
}

/// Thread that acquires frames.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FrameSource {
    /// Label of its first frame that has one.
    pub label: Option<Label>,
    /// Thread, as in [`Event::thread`](crate::Event::thread).
    pub thread: u32,
    /// Number of requests for a frame.
    pub requests: u64,
    /// Pace of the thread, told from the recording or set by the [options](SizingOptions::pacing).
    pub pacing: Pacing,
}

/// Change of one label's holds that saves a frame.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Saving {
    /// Number of frames that suffice with the change.
    pub frames: usize,
    /// Label of the holder that changes. `None` stands for all holders without a label.
    pub label: Option<Label>,
    /// Change of its holds.
    pub means: SavingMeans,
}

/// Change of holds, in a [`Saving`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum SavingMeans {
    /// The holder works on each frame for at least this much less time.
    LessTime(Duration),
    /// The holder keeps one frame fewer until the next one arrives.
    OneFrameFewer,
}

/// Returns the depths that have a forecast.
fn depths_of(frames: usize) -> impl Iterator<Item = usize> {
    let max = frames.saturating_mul(2);
    let count = max.min(MAX_DEPTHS);
    (1..=count).map(move |number| {
        // The product takes up to 74 bits, and the quotient is at most `max`.
        let depth = number as u128 * max as u128 / count as u128;
        usize::try_from(depth).unwrap_or(max)
    })
}

/// Returns the forecasts, and the waits of a replay that is that of the largest depth.
fn forecasts(schedule: &Schedule, frames: usize) -> (Vec<DepthForecast>, Option<Waits>) {
    let followers = Followers::new(schedule);
    let mut depths: Vec<DepthForecast> = Vec::new();
    let mut last: Option<Waits> = None;
    for frames in depths_of(frames) {
        // A replay without waits is the same with more frames.
        let is_enough = last
            .as_ref()
            .is_some_and(|waits| waits.count() == 0 && !waits.stalls);
        if !is_enough {
            last = Some(replay(schedule, &followers, frames, None));
        }
        if let Some(waits) = &last {
            depths.push(forecast(schedule, frames, waits));
        }
    }
    (depths, last)
}

/// Returns the holder of most of the frames in the largest pool, if more frames do not help.
fn falls_behind(schedule: &Schedule, waits: &Waits) -> Option<HolderShare> {
    if waits.stalls {
        return None;
    }
    let requests: u64 = waits.of.iter().map(|of| of.requests).sum();
    let noticeable: u64 = waits.of.iter().map(|of| of.noticeable).sum();
    let is_dry = requests >= MIN_REQUESTS && noticeable * 2 >= requests;
    let held: Vec<u128> = if is_dry {
        let of_holder = |holder: usize| waits.of.iter().filter_map(move |of| of.held.get(holder));
        let holders = 0..schedule.holders.len();
        holders.map(|holder| of_holder(holder).sum()).collect()
    } else if waits.peaks.grow() {
        waits.peaks.held.iter().copied().map(u128::from).collect()
    } else {
        return None;
    };
    shares(schedule, &held).first().copied()
}

fn forecast(schedule: &Schedule, frames: usize, waits: &Waits) -> DepthForecast {
    let of_holders = waits.of.iter().zip(&schedule.holders);
    let mut labels: Vec<_> = of_holders
        .filter(|(waits, _)| waits.waits > 0)
        .map(|(waits, &label)| LabelForecast {
            label,
            requests: waits.requests,
            waits: WaitTotals::new(slice::from_ref(waits)),
            holders: shares(schedule, &waits.held),
        })
        .collect();
    labels.sort_by_key(|label| std::cmp::Reverse((label.waits.total, label.waits.count)));
    DepthForecast {
        frames,
        waits: WaitTotals::new(&waits.of),
        labels,
        stalls: waits.stalls,
    }
}

/// Returns the shares of the holders, the largest first. `held` has a time or a number per holder.
fn shares(schedule: &Schedule, held: &[u128]) -> Vec<HolderShare> {
    let all: u128 = held.iter().sum();
    let held = held.iter().zip(&schedule.holders);
    let mut shares: Vec<_> = held
        .filter(|(held, _)| **held > 0)
        .map(|(&held, &label)| HolderShare {
            label,
            share: held as f64 / all as f64,
        })
        .collect();
    shares.sort_by(|one, other| other.share.total_cmp(&one.share));
    shares
}

fn recorded_waits(schedule: &Schedule) -> WaitTotals {
    let mut waits = HolderWaits::default();
    for step in &schedule.steps {
        if matches!(step.action, Action::Request { waited: true, .. }) {
            waits.add(step.done.saturating_sub(step.at));
        }
    }
    WaitTotals::new(&[waits])
}

fn sources(schedule: &Schedule) -> Vec<FrameSource> {
    let sources = schedule.sources.iter();
    sources
        .map(|source| FrameSource {
            label: source.label,
            thread: source.thread,
            requests: source.requests,
            pacing: source.pacing,
        })
        .collect()
}

/// Finds the changes of single labels with which one frame fewer suffices.
fn savings(schedule: &Schedule, sizing: &Sizing) -> Vec<Saving> {
    let fewer = sizing
        .frames_needed()
        .and_then(|needed| needed.checked_sub(1));
    let Some(frames) = fewer.filter(|&frames| frames > 0) else {
        return Vec::new();
    };
    let is_enough = |waits: &Waits| !waits.stalls && waits.longest() <= NEGLIGIBLE;
    let followers = Followers::new(schedule);
    let mut savings = Vec::new();
    for (holder, longest) in holders_by_work(schedule) {
        let suffices = |by| {
            let shortened = Some(Shortened { holder, by });
            is_enough(&replay(schedule, &followers, frames, shortened))
        };
        let label = schedule.holders[holder];
        let mut push = |means| {
            savings.push(Saving {
                frames,
                label,
                means,
            });
        };
        if let Some(by) = least_sufficient(longest, suffices) {
            push(SavingMeans::LessTime(Duration::from_nanos(by)));
        }
        if schedule.kept_by(holder) > 0 {
            let fewer = schedule.with_one_kept_frame_fewer(holder);
            let followers = Followers::new(&fewer);
            if is_enough(&replay(&fewer, &followers, frames, None)) {
                push(SavingMeans::OneFrameFewer);
            }
        }
    }
    savings.sort_by_key(|saving| match saving.means {
        SavingMeans::LessTime(time) => time,
        SavingMeans::OneFrameFewer => Duration::MAX,
    });
    savings
}

/// Returns the holders that work on frames the longest, and the longest work of each on one frame.
fn holders_by_work(schedule: &Schedule) -> Vec<(usize, u64)> {
    let mut work = vec![(0_u64, 0); schedule.holders.len()];
    for step in &schedule.steps {
        if let Some(holder) = step.action.giver() {
            let (total, longest) = &mut work[holder];
            *total = total.saturating_add(step.delay);
            *longest = step.delay.max(*longest);
        }
    }
    let mut holders: Vec<_> = work.into_iter().enumerate().collect();
    holders.retain(|&(holder, (total, _))| total > 0 || schedule.kept_by(holder) > 0);
    holders.sort_by_key(|&(holder, (total, _))| (std::cmp::Reverse(total), holder));
    holders.truncate(MAX_SAVERS);
    let longest = holders.into_iter();
    longest
        .map(|(holder, (_, longest))| (holder, longest))
        .collect()
}

/// Returns the least value up to `max` that suffices, to within 1 %, if `max` does.
fn least_sufficient(max: u64, suffices: impl Fn(u64) -> bool) -> Option<u64> {
    if max == 0 || !suffices(max) {
        return None;
    }
    let (mut too_little, mut enough) = (0, max);
    while enough - too_little > enough / 100 + 1 {
        let middle = too_little + (enough - too_little) / 2;
        if suffices(middle) {
            enough = middle;
        } else {
            too_little = middle;
        }
    }
    Some(enough)
}
