//! Schedule of a recording: its steps, with the steps that each of them follows.
//!
//! The documentation of the folder describes the model.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::label::Label;

use super::super::event::{Event, EventKind, Recording};
use super::pacing::{Pacing, Request, median, pacing_of, period_of};

/// Upper limit of the times, later than any time that the recorder can store. The fields of a
/// recording are public; with this limit few sums of times overflow, and those saturate.
const MAX_TIME: Duration = Duration::from_secs(1 << 32);

/// Minimum number of frames that a stage has given up before it is taken to keep some.
const MIN_ENDS: usize = 16;

/// Steps of a recording. Times are in nanoseconds since its first event.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// In the order in which they were recorded. A step follows only steps before it.
    pub(super) steps: Vec<Step>,
    /// Labels of the holders, and `None` for holders without a label. Steps refer to them by index.
    pub(super) holders: Vec<Option<Label>>,
    /// Holders of the frames that were out before the first event.
    pub(super) held_at_start: Vec<usize>,
    /// Threads that acquired frames.
    pub(super) sources: Vec<ScheduledSource>,
    /// Stages that keep some frames.
    keepers: Vec<Keeper>,
    /// Time from a release to the end of the wait that it serves.
    pub(super) wake_up: u64,
    /// Time at which the recording was read.
    pub(super) end: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    /// Steps that must be done before: the previous one of the thread, the previous one of the
    /// frame, and the arrival that makes a keeper give up a frame.
    pub(super) after: [Option<usize>; 3],
    /// Time from the last step in `after` to this one.
    pub(super) delay: u64,
    /// Time before which the step does not happen.
    pub(super) not_before: u64,
    /// Recorded time of the step. A request is made then.
    pub(super) at: u64,
    /// Recorded time of the end of the step, which differs from `at` after a wait.
    pub(super) done: u64,
    /// Thread, if it does one thing at a time.
    thread: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A holder-to-be asks for a frame.
    Request {
        holder: usize,
        /// `false` if the wait ended without a frame.
        takes_frame: bool,
        /// `true` if the caller was recorded to wait.
        waited: bool,
    },
    /// A frame passes from one holder to another.
    Pass { from: usize, to: usize },
    /// A frame is released.
    Release { from: usize },
}

impl Action {
    /// Returns the holder that gives up the frame.
    pub(super) fn giver(self) -> Option<usize> {
        match self {
            Self::Request { .. } => None,
            Self::Pass { from, .. } | Self::Release { from } => Some(from),
        }
    }

    /// Returns the holder that receives a frame.
    fn receiver(self) -> Option<usize> {
        match self {
            Self::Request {
                holder,
                takes_frame,
                ..
            } => takes_frame.then_some(holder),
            Self::Pass { to, .. } => Some(to),
            Self::Release { .. } => None,
        }
    }
}

/// Thread that acquired frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScheduledSource {
    pub(super) label: Option<Label>,
    pub(super) thread: u32,
    pub(super) requests: u64,
    pub(super) pacing: Pacing,
}

/// Stage that gives up a frame when it has `keeps` frames and another one arrives.
#[derive(Clone, Debug)]
struct Keeper {
    holder: usize,
    keeps: usize,
    /// Steps by which the stage receives frames, in order.
    arrivals: Vec<usize>,
    /// Steps by which it gives them up, in order.
    ends: Vec<usize>,
    /// Number of frames that the stage had before the recording.
    initial: usize,
}

impl Keeper {
    /// Returns the arrival that makes the stage give up its frame with this number.
    fn arrival_for(&self, end: usize) -> Option<usize> {
        let arrival = (end + self.keeps).checked_sub(self.initial)?;
        self.arrivals.get(arrival).copied()
    }
}

impl Schedule {
    pub(super) fn new(recording: &Recording, pacings: &HashMap<Label, Pacing>) -> Self {
        let mut builder = ScheduleBuilder::new(recording);
        for event in &recording.events {
            builder.apply(event);
        }
        builder.finish(pacings)
    }

    /// Returns the number of frames that the holder always keeps.
    pub(super) fn kept_by(&self, holder: usize) -> usize {
        let mut keepers = self.keepers.iter();
        let keeper = keepers.find(|keeper| keeper.holder == holder);
        keeper.map_or(0, |keeper| keeper.keeps)
    }

    /// Returns the schedule with the holder keeping one frame fewer.
    pub(super) fn with_one_kept_frame_fewer(&self, holder: usize) -> Self {
        let mut schedule = self.clone();
        let keepers = schedule.keepers.iter_mut();
        for keeper in keepers.filter(|keeper| keeper.holder == holder) {
            keeper.keeps = keeper.keeps.saturating_sub(1);
        }
        schedule.link_keepers();
        schedule
    }

    /// Lets each step by which a keeper gives up a frame follow the arrival that causes it.
    fn link_keepers(&mut self) {
        for keeper in &self.keepers {
            for (number, &end) in keeper.ends.iter().enumerate() {
                let arrival = keeper.arrival_for(number);
                self.steps[end].after[2] = arrival
                    .filter(|&arrival| keeper.keeps > 0 && is_before(&self.steps, arrival, end));
            }
        }
    }
}

/// Hold that has not ended.
struct OpenHold {
    holder: usize,
    /// Request by which the frame was acquired, and the last step of the hold. `None` for a frame
    /// that was out before the first event.
    steps: Option<(usize, usize)>,
}

/// Schedule under construction.
struct ScheduleBuilder {
    schedule: Schedule,
    start: Duration,
    /// Time of the latest event so far, in nanoseconds since `start`.
    now: u64,
    holders: HashMap<Option<Label>, usize>,
    /// Thread of each index, and the last step of each thread.
    threads: Vec<(u32, Option<usize>)>,
    thread_indices: HashMap<u32, usize>,
    /// Threads that run several tasks.
    multitasking: HashSet<u32>,
    holds: HashMap<usize, OpenHold>,
    released_at: HashMap<usize, u64>,
    /// Requests of the waits that have not ended.
    waits: HashMap<u64, usize>,
    /// Requests of the served waits whose frame was not picked up yet, by thread.
    served: HashMap<u32, usize>,
    wake_ups: Vec<u64>,
    /// Durations of the holds that have ended, by thread and first holder.
    ended_holds: HashMap<(u32, usize), Vec<u64>>,
    /// Threads of the requests.
    requesters: HashMap<usize, u32>,
    /// Passes of frames that were out before the first event, with their index in `held_at_start`.
    /// The event does not name the holder that gave the frame up.
    passes_by_unknown: Vec<(usize, usize)>,
}

impl ScheduleBuilder {
    fn new(recording: &Recording) -> Self {
        let times = || recording.events.iter().map(|event| event.at.min(MAX_TIME));
        let start = times().min().unwrap_or_default();
        let end = times().fold(recording.read_at.min(MAX_TIME), Duration::max);
        let steps = Vec::with_capacity(recording.events.len());
        Self {
            schedule: Schedule {
                steps,
                holders: Vec::new(),
                held_at_start: Vec::new(),
                sources: Vec::new(),
                keepers: Vec::new(),
                wake_up: 0,
                end: nanoseconds(end.saturating_sub(start)),
            },
            start,
            now: 0,
            holders: HashMap::new(),
            threads: Vec::new(),
            thread_indices: HashMap::new(),
            multitasking: multitasking_threads(&recording.events),
            holds: HashMap::new(),
            released_at: HashMap::new(),
            waits: HashMap::new(),
            served: HashMap::new(),
            wake_ups: Vec::new(),
            ended_holds: HashMap::new(),
            requesters: HashMap::new(),
            passes_by_unknown: Vec::new(),
        }
    }

    fn apply(&mut self, event: &Event) {
        let at = nanoseconds(event.at.min(MAX_TIME).saturating_sub(self.start));
        // Threads may write their events slightly out of order.
        self.now = self.now.max(at);
        if event.kind != EventKind::Acquired {
            // The frame that its thread was served was not picked up.
            self.served.remove(&event.thread);
        }
        if let Some(number) = event.wait.filter(|_| event.kind.is_of_wait()) {
            self.apply_to_wait(number, event);
        }
        if let Some(slot) = event.slot.filter(|_| event.kind.is_of_frame()) {
            self.apply_to_frame(slot, event);
        }
    }

    fn apply_to_wait(&mut self, number: u64, event: &Event) {
        if event.kind == EventKind::WaitBegan {
            let request = self.push_request(event, self.now, true);
            self.waits.insert(number, request);
            return;
        }
        let request = match self.waits.remove(&number) {
            Some(request) => request,
            // It began before the recording.
            None => self.push_request(event, 0, true),
        };
        self.schedule.steps[request].done = self.now;
        if event.kind == EventKind::WaitServed {
            self.served.insert(event.thread, request);
        }
    }

    fn apply_to_frame(&mut self, slot: usize, event: &Event) {
        let holder = self.holder(event.label);
        match event.kind {
            EventKind::Acquired => self.acquire(slot, holder, event),
            EventKind::Transferred | EventKind::Redeemed => {
                let is_new = !self.holds.contains_key(&slot);
                let hold = self.open_hold(slot, None);
                let (from, before) = (hold.holder, hold.steps);
                if event.kind == EventKind::Redeemed && from == holder {
                    return;
                }
                let action = Action::Pass { from, to: holder };
                let step = self.push(action, before, Some(event.thread));
                if is_new {
                    let held = self.schedule.held_at_start.len() - 1;
                    self.passes_by_unknown.push((step, held));
                }
                let steps = before.map(|(request, _)| (request, step));
                // A hold from before the recording has no request, but a last step from now on.
                let steps = Some(steps.unwrap_or((step, step)));
                self.holds.insert(slot, OpenHold { holder, steps });
            }
            EventKind::Released => {
                self.open_hold(slot, event.label);
                self.release(slot, Some(event.thread));
                self.released_at.insert(slot, self.now);
            }
            _ => {
                self.open_hold(slot, event.label);
            }
        }
    }

    fn acquire(&mut self, slot: usize, holder: usize, event: &Event) {
        if self.holds.contains_key(&slot) {
            // Its release is missing.
            self.release(slot, None);
        }
        let request = match self.served.remove(&event.thread) {
            Some(request) => {
                let released_at = self.released_at.get(&slot);
                let asked_at = self.schedule.steps[request].at;
                if let Some(&at) = released_at.filter(|&&at| at >= asked_at) {
                    self.wake_ups.push(self.now - at);
                }
                request
            }
            None => self.push_request(event, self.now, false),
        };
        let step = &mut self.schedule.steps[request];
        step.done = self.now;
        if let Action::Request {
            holder: of_request,
            takes_frame,
            ..
        } = &mut step.action
        {
            (*of_request, *takes_frame) = (holder, true);
        }
        let steps = Some((request, request));
        self.holds.insert(slot, OpenHold { holder, steps });
    }

    /// Returns the hold of a slot's frame. If it has none, the frame was out before the first
    /// event.
    fn open_hold(&mut self, slot: usize, label: Option<Label>) -> &OpenHold {
        let holder = self.holder(label);
        let held_at_start = &mut self.schedule.held_at_start;
        self.holds.entry(slot).or_insert_with(|| {
            held_at_start.push(holder);
            let steps = None;
            OpenHold { holder, steps }
        })
    }

    fn release(&mut self, slot: usize, thread: Option<u32>) {
        let Some(OpenHold { holder, steps }) = self.holds.remove(&slot) else {
            return;
        };
        self.push(Action::Release { from: holder }, steps, thread);
        let acquired = steps.and_then(|(request, _)| self.acquirer_of(request));
        if let Some((acquirer, at)) = acquired {
            let duration = self.now - at;
            self.ended_holds.entry(acquirer).or_default().push(duration);
        }
    }

    /// Returns the thread and the first holder of a hold, and the time of its acquire.
    fn acquirer_of(&self, request: usize) -> Option<((u32, usize), u64)> {
        let step = self.schedule.steps.get(request)?;
        let Action::Request { holder, .. } = step.action else {
            return None;
        };
        let thread = self.requesters.get(&request)?;
        Some(((*thread, holder), step.done))
    }

    fn push_request(&mut self, event: &Event, at: u64, waited: bool) -> usize {
        let action = Action::Request {
            holder: self.holder(event.label),
            takes_frame: false,
            waited,
        };
        let request = self.push(action, None, Some(event.thread));
        self.requesters.insert(request, event.thread);
        self.schedule.steps[request].at = at;
        request
    }

    /// Adds a step that happens now, after the last step of `hold` and the last of the thread.
    fn push(&mut self, action: Action, hold: Option<(usize, usize)>, thread: Option<u32>) -> usize {
        let number = self.schedule.steps.len();
        let thread = thread.filter(|thread| !self.multitasking.contains(thread));
        let thread = thread.map(|thread| self.thread(thread));
        let before = thread.and_then(|thread| self.threads[thread].1.replace(number));
        self.schedule.steps.push(Step {
            action,
            after: [before, hold.map(|(_, last)| last), None],
            delay: 0,
            not_before: 0,
            at: self.now,
            done: self.now,
            thread,
        });
        number
    }

    fn thread(&mut self, thread: u32) -> usize {
        *self.thread_indices.entry(thread).or_insert_with(|| {
            self.threads.push((thread, None));
            self.threads.len() - 1
        })
    }

    fn holder(&mut self, label: Option<Label>) -> usize {
        let holders = &mut self.schedule.holders;
        *self.holders.entry(label).or_insert_with(|| {
            holders.push(label);
            holders.len() - 1
        })
    }

    fn finish(mut self, pacings: &HashMap<Label, Pacing>) -> Schedule {
        for &request in self.waits.values() {
            self.schedule.steps[request].done = self.schedule.end;
        }
        self.schedule.wake_up = median(std::mem::take(&mut self.wake_ups)).unwrap_or(0);
        self.name_unknown_givers();
        self.schedule.keepers = find_keepers(&self.schedule.steps);
        self.schedule.link_keepers();
        self.set_delays();
        self.pace(pacings);
        self.release_open_holds();
        self.schedule
    }

    /// Takes the holder of a frame from before the recording to be the one whose frames its thread
    /// passes on otherwise.
    fn name_unknown_givers(&mut self) {
        let unknown: HashMap<_, _> = self.passes_by_unknown.iter().copied().collect();
        let mut givers = HashMap::new();
        for (number, step) in self.schedule.steps.iter().enumerate() {
            if let (Action::Pass { from, .. }, Some(thread)) = (step.action, step.thread) {
                if !unknown.contains_key(&number) {
                    givers.entry(thread).or_insert(from);
                }
            }
        }
        for (number, held) in unknown {
            let step = &mut self.schedule.steps[number];
            let giver = step.thread.and_then(|thread| givers.get(&thread));
            if let (Action::Pass { from, .. }, Some(&giver)) = (&mut step.action, giver) {
                *from = giver;
                self.schedule.held_at_start[held] = giver;
            }
        }
    }

    /// Sets the delays of all steps, as if the threads were paced by their work.
    fn set_delays(&mut self) {
        let steps = &mut self.schedule.steps;
        for number in 0..steps.len() {
            if steps[number].after == [None; 3] {
                steps[number].not_before = steps[number].at;
            } else {
                steps[number].delay = work_before(steps, number);
            }
        }
    }

    /// Finds the pace of each thread that acquires frames, and changes the requests of those that
    /// are paced by a clock.
    fn pace(&mut self, pacings: &HashMap<Label, Pacing>) {
        let mut by_thread: HashMap<u32, Vec<usize>> = HashMap::new();
        for (&request, &thread) in &self.requesters {
            by_thread.entry(thread).or_default().push(request);
        }
        for (thread, mut numbers) in by_thread {
            numbers.sort_unstable();
            let steps = &mut self.schedule.steps;
            let label = numbers
                .iter()
                .find_map(|&number| match steps[number].action {
                    Action::Request { holder, .. } => self.schedule.holders[holder],
                    _ => None,
                });
            let requests: Vec<_> = numbers
                .iter()
                .map(|&number| {
                    let Step { at, done, .. } = steps[number];
                    let gap = steps[number].after[0].map(|_| steps[number].delay);
                    let wait = done.saturating_sub(at);
                    Request { at, wait, gap }
                })
                .collect();
            let is_sequential = numbers.iter().any(|&number| steps[number].thread.is_some());
            let pacing = match label.and_then(|label| pacings.get(&label)) {
                Some(&pacing) if is_sequential => pacing,
                _ if is_sequential => pacing_of(&requests),
                _ => Pacing::Clock,
            };
            if pacing == Pacing::Clock {
                pace_by_clock(steps, &numbers, &requests);
            }
            self.schedule.sources.push(ScheduledSource {
                label,
                thread,
                requests: requests.len() as u64,
                pacing,
            });
        }
        let sources = &mut self.schedule.sources;
        sources.sort_by_key(|source| (std::cmp::Reverse(source.requests), source.thread));
    }

    /// Adds the releases of the frames that are out when the recording is read.
    fn release_open_holds(&mut self) {
        let end = self.schedule.end;
        let mut medians = HashMap::new();
        let mut open: Vec<_> = self.holds.iter().collect();
        open.sort_unstable_by_key(|&(&slot, _)| slot);
        let mut releases = Vec::new();
        for (_, hold) in open {
            let Some((request, last)) = hold.steps else {
                continue;
            };
            let Some((acquirer, acquired)) = self.acquirer_of(request) else {
                continue;
            };
            let (typical, longest) = *medians.entry(acquirer).or_insert_with(|| {
                let ended = self.ended_holds.get(&acquirer);
                let ended = ended.cloned().unwrap_or_default();
                let longest = ended.iter().copied().max().unwrap_or(0);
                (median(ended), longest)
            });
            let Some(typical) = typical.filter(|_| end - acquired <= longest.saturating_mul(2))
            else {
                continue;
            };
            let at = acquired.saturating_add(typical).max(end);
            let from = hold.holder;
            releases.push(Step {
                action: Action::Release { from },
                after: [None, Some(last), None],
                delay: at.saturating_sub(self.schedule.steps[last].done),
                not_before: 0,
                at,
                done: at,
                thread: None,
            });
        }
        self.schedule.steps.extend(releases);
    }
}

/// Sets the times of the requests of a thread that is paced by a clock. `numbers` are their steps.
fn pace_by_clock(steps: &mut [Step], numbers: &[usize], requests: &[Request]) {
    let period = period_of(requests).unwrap_or(0);
    let gaps_after_waits = requests
        .windows(2)
        .filter(|pair| pair[0].wait > 0)
        .filter_map(|pair| pair[1].gap);
    // Work that the thread cannot skip before a request. A longer gap is the time to the next tick.
    let work = gaps_after_waits.min().filter(|gap| gap * 4 < period);
    let work = work.unwrap_or(0);
    let mut due = 0;
    for (index, request) in requests.iter().enumerate() {
        let follows_wait = index > 0 && requests[index - 1].wait > 0;
        let was_idle = request.gap.is_none_or(|gap| gap > work + period / 16);
        let step = &mut steps[numbers[index]];
        if was_idle || !follows_wait {
            due = request.at;
            step.delay = work.min(step.delay);
        } else {
            // It was late.
            due = request.at.min(period.saturating_add(due));
        }
        step.not_before = due;
    }
}

/// Returns the threads that do something during one of their waits, or whose waits end in another
/// thread.
fn multitasking_threads(events: &[Event]) -> HashSet<u32> {
    let mut threads = HashSet::new();
    let mut waiting: HashMap<u32, u64> = HashMap::new();
    let mut waiters: HashMap<u64, u32> = HashMap::new();
    for event in events {
        let number = event.wait.filter(|_| event.kind.is_of_wait());
        let own = waiting.get(&event.thread).copied();
        if own.is_some() && own != number {
            threads.insert(event.thread);
        }
        let Some(number) = number else { continue };
        if event.kind == EventKind::WaitBegan {
            waiting.insert(event.thread, number);
            waiters.insert(number, event.thread);
        } else if let Some(waiter) = waiters.remove(&number) {
            waiting.retain(|_, waits_for| *waits_for != number);
            if waiter != event.thread {
                threads.extend([waiter, event.thread]);
            }
        }
    }
    threads
}

/// Returns `true` if an arrival was done when a later step happened.
fn is_before(steps: &[Step], arrival: usize, step: usize) -> bool {
    arrival < step && steps[arrival].done <= steps[step].at
}

/// Finds the stages that keep some frames until the next one arrives.
///
/// The conditions are:
///
/// - One thread gives up all frames of the stage.
/// - While frames still arrive, the stage never has fewer than `keeps` frames left, with one
///   exception in 50.
/// - It gives up a frame soon after another one has arrived: by the median, within a quarter of the
///   time between two frames.
/// - These times vary less than the times that it would have worked on its frames if it kept none.
///   Otherwise it has a queue that is never empty.
fn find_keepers(steps: &[Step]) -> Vec<Keeper> {
    let mut stages: HashMap<usize, (Vec<usize>, Vec<usize>)> = HashMap::new();
    for (number, step) in steps.iter().enumerate() {
        if let Some(holder) = step.action.receiver() {
            stages.entry(holder).or_default().0.push(number);
        }
        if let Some(holder) = step.action.giver() {
            stages.entry(holder).or_default().1.push(number);
        }
    }
    let mut keepers: Vec<_> = stages
        .into_iter()
        .filter_map(|(holder, (arrivals, ends))| {
            let thread = steps[*ends.first()?].thread?;
            let is_by_thread = |&number: &usize| steps[number].thread == Some(thread);
            let is_stage = ends.iter().all(is_by_thread) && !arrivals.iter().any(is_by_thread);
            let is_initial = |&&end: &&usize| steps[end].after[1].is_none();
            let mut keeper = Keeper {
                holder,
                keeps: 0,
                initial: ends.iter().filter(is_initial).count(),
                arrivals,
                ends,
            };
            keeper.keeps = kept_frames(steps, &mut keeper);
            (is_stage && keeper.keeps > 0).then_some(keeper)
        })
        .collect();
    keepers.sort_unstable_by_key(|keeper| keeper.holder);
    keepers
}

fn kept_frames(steps: &[Step], keeper: &mut Keeper) -> usize {
    let Keeper { arrivals, ends, .. } = &*keeper;
    let Some(&last_arrival) = arrivals.last() else {
        return 0;
    };
    let mut arrived = 0;
    let mut left = Vec::new();
    for (number, &end) in ends.iter().enumerate() {
        if end > last_arrival {
            break;
        }
        arrived += arrivals[arrived..].partition_point(|&arrival| is_before(steps, arrival, end));
        left.push((keeper.initial + arrived).saturating_sub(number + 1));
    }
    if left.len() < MIN_ENDS {
        return 0;
    }
    left.sort_unstable();
    keeper.keeps = left[left.len() / 50];
    let ends = keeper.ends.iter().enumerate();
    let caused = ends.filter_map(|(number, &end)| {
        let arrival = keeper.arrival_for(number)?;
        is_before(steps, arrival, end).then_some((end, arrival))
    });
    let (reactions, works): (Vec<_>, Vec<_>) = caused
        .map(|(end, arrival)| {
            let work = work_before(steps, end);
            (work.min(steps[end].at - steps[arrival].done), work)
        })
        .unzip();
    let intervals = keeper
        .ends
        .windows(2)
        .map(|pair| steps[pair[1]].at.saturating_sub(steps[pair[0]].at));
    let varies_less = deviation(&reactions) < deviation(&works);
    match (median(reactions), median(intervals.collect())) {
        (Some(reaction), Some(interval)) if varies_less && reaction <= interval / 4 => keeper.keeps,
        _ => 0,
    }
}

/// Returns the time from the last step that a step follows, as far as known.
fn work_before(steps: &[Step], number: usize) -> u64 {
    let step = &steps[number];
    let before = step.after.iter().flatten();
    let last = before.map(|&before| steps[before].done).max();
    step.at.saturating_sub(last.unwrap_or(0))
}

/// Returns the sum of the deviations from the median.
fn deviation(times: &[u64]) -> u128 {
    let middle = median(times.to_vec()).unwrap_or(0);
    let deviations = times.iter().map(|time| u128::from(time.abs_diff(middle)));
    deviations.sum()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
