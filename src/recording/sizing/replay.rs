//! Replay of a schedule with a number of frames.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::schedule::{Action, Schedule, Step};

/// Duration in nanoseconds up to which a wait does not count as a lack of frames: which of two
/// threads is woken first decides about it.
pub(super) const NEGLIGIBLE: u64 = 100_000;

/// Change of a schedule: a holder gives up each of its frames earlier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shortened {
    pub(super) holder: usize,
    /// In nanoseconds. A delay that is shorter becomes 0.
    pub(super) by: u64,
}

/// Waits of one replay.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    /// Per holder of the schedule: what it waited for.
    pub(super) of: Vec<HolderWaits>,
    /// `true` if the schedule could not be replayed to its end.
    pub(super) stalls: bool,
    pub(super) peaks: Peaks,
}

/// Highest numbers of frames that were out.
#[derive(Clone, Debug, Default)]
pub(super) struct Peaks {
    /// In each tenth of the acquires.
    pub(super) tenths: [u64; 10],
    /// Per holder: the number of its frames when the most frames were out.
    pub(super) held: Vec<u64>,
}

impl Peaks {
    /// Returns `true` if the frames that are out become more and more: there are the most at the
    /// end, and at least half as many again as in the first half.
    pub(super) fn grow(&self) -> bool {
        let max = |tenths: &[u64]| tenths.iter().copied().max().unwrap_or(0);
        let (before, end) = self.tenths.split_at(9);
        max(end) > max(before) && 2 * max(end) >= 3 * max(&self.tenths[..5])
    }
}

/// Waits of the requests with one label. Times are in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct HolderWaits {
    pub(super) requests: u64,
    pub(super) waits: u64,
    /// Number of waits that are longer than [`NEGLIGIBLE`].
    pub(super) noticeable: u64,
    pub(super) longest: u64,
    pub(super) total: u64,
    /// Per holder: the time for which it held frames during the waits, times their number.
    pub(super) held: Vec<u128>,
}

impl HolderWaits {
    pub(super) fn add(&mut self, wait: u64) {
        self.waits += 1;
        self.noticeable += u64::from(wait > NEGLIGIBLE);
        self.longest = self.longest.max(wait);
        self.total = self.total.saturating_add(wait);
    }
}

impl Waits {
    pub(super) fn count(&self) -> u64 {
        self.of.iter().map(|of| of.waits).sum()
    }

    pub(super) fn longest(&self) -> u64 {
        self.of.iter().map(|of| of.longest).max().unwrap_or(0)
    }
}

/// Steps that follow each step, in one array.
#[derive(Debug)]
pub(super) struct Followers {
    /// Per step: the begin of its followers. One more entry is the end of the last ones.
    begins: Vec<usize>,
    followers: Vec<usize>,
}

impl Followers {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let edges = || {
            let steps = schedule.steps.iter().enumerate();
            steps
                .flat_map(|(step, of)| of.after.iter().flatten().map(move |&before| (before, step)))
        };
        let mut begins = vec![0; schedule.steps.len() + 1];
        for (before, _) in edges() {
            begins[before + 1] += 1;
        }
        for step in 0..schedule.steps.len() {
            begins[step + 1] += begins[step];
        }
        let mut next = begins.clone();
        let mut followers = vec![0; begins[schedule.steps.len()]];
        for (before, step) in edges() {
            followers[next[before]] = step;
            next[before] += 1;
        }
        Self { begins, followers }
    }

    fn of(&self, step: usize) -> &[usize] {
        &self.followers[self.begins[step]..self.begins[step + 1]]
    }
}

/// Something that happens at a time of the replay. Events of one time happen in the order in which
/// they were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: u64,
    step: usize,
    /// The caller of a request gives up its wait.
    gives_up: bool,
}

struct Replay<'a> {
    schedule: &'a Schedule,
    followers: &'a Followers,
    shortened: Option<Shortened>,
    now: u64,
    due: BinaryHeap<Reverse<Due>>,
    /// Per step: the number of steps that it still follows, and the time of the last one.
    open: Vec<(u8, u64)>,
    done: usize,
    /// Number of free frames. Below 0 if more were out at the start than there are.
    free: i64,
    /// Waiting requests, and when each began. A request that gave up stays until it is the first.
    queue: VecDeque<(usize, u64)>,
    gave_up: Vec<bool>,
    /// Per holder: the number of frames that it holds, and of its requests that wait.
    held: Vec<u64>,
    waiting: Vec<u64>,
    waits: Vec<HolderWaits>,
    /// Number of frames acquired so far, and in all.
    acquires: usize,
    all_acquires: usize,
    peaks: Peaks,
}

/// Replays a schedule with `frames` frames.
pub(super) fn replay(
    schedule: &Schedule,
    followers: &Followers,
    frames: usize,
    shortened: Option<Shortened>,
) -> Waits {
    let holders = schedule.holders.len();
    let mut held = vec![0; holders];
    for &holder in &schedule.held_at_start {
        held[holder] += 1;
    }
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let acquires = |step: &&Step| {
        let Action::Request { takes_frame, .. } = step.action else {
            return false;
        };
        takes_frame
    };
    let mut replay = Replay {
        schedule,
        followers,
        shortened,
        now: 0,
        due: BinaryHeap::new(),
        open: schedule
            .steps
            .iter()
            .map(|step| {
                let before = step.after.iter().flatten().count();
                (u8::try_from(before).unwrap_or(u8::MAX), 0)
            })
            .collect(),
        done: 0,
        free: count(frames) - count(schedule.held_at_start.len()),
        queue: VecDeque::new(),
        gave_up: vec![false; schedule.steps.len()],
        held,
        waiting: vec![0; holders],
        waits: vec![HolderWaits::default(); holders],
        acquires: 0,
        all_acquires: schedule.steps.iter().filter(acquires).count(),
        peaks: Peaks::default(),
    };
    replay.run();
    replay.finish()
}

impl Replay<'_> {
    fn run(&mut self) {
        for step in 0..self.schedule.steps.len() {
            if self.open[step].0 == 0 {
                self.make_due(step);
            }
        }
        while let Some(Reverse(due)) = self.due.pop() {
            self.advance(due.at);
            let step = due.step;
            match self.schedule.steps[step].action {
                Action::Request { holder, .. } if due.gives_up => self.give_up(step, holder),
                Action::Request { .. } => self.request(step),
                Action::Pass { from, to } => {
                    self.held[from] = self.held[from].saturating_sub(1);
                    self.held[to] += 1;
                    self.complete(step, self.now);
                }
                Action::Release { from } => {
                    self.held[from] = self.held[from].saturating_sub(1);
                    self.free += 1;
                    self.complete(step, self.now);
                    self.serve();
                }
            }
        }
    }

    /// Moves on to a time, and adds the frames that are held while requests wait.
    fn advance(&mut self, to: u64) {
        let passed = u128::from(to.saturating_sub(self.now));
        self.now = self.now.max(to);
        if self.queue.is_empty() || passed == 0 {
            return;
        }
        for (waits, &waiting) in self.waits.iter_mut().zip(&self.waiting) {
            if waiting == 0 {
                continue;
            }
            waits.held.resize(self.held.len(), 0);
            for (time, &held) in waits.held.iter_mut().zip(&self.held) {
                *time = time.saturating_add(passed * u128::from(held) * u128::from(waiting));
            }
        }
    }

    fn request(&mut self, step: usize) {
        let Action::Request {
            holder,
            takes_frame,
            ..
        } = self.schedule.steps[step].action
        else {
            return;
        };
        self.waits[holder].requests += 1;
        if self.queue.is_empty() && self.free > 0 {
            if takes_frame {
                self.take(holder);
            }
            self.complete(step, self.now);
            return;
        }
        self.queue.push_back((step, self.now));
        self.waiting[holder] += 1;
        if !takes_frame {
            let recorded = &self.schedule.steps[step];
            let patience = recorded.done.saturating_sub(recorded.at);
            self.due.push(Reverse(Due {
                at: self.now.saturating_add(patience),
                step,
                gives_up: true,
            }));
        }
    }

    fn take(&mut self, holder: usize) {
        self.free -= 1;
        self.held[holder] += 1;
        let tenth = (self.acquires * 10 / self.all_acquires.max(1)).min(9);
        self.acquires += 1;
        let out = self.held.iter().sum();
        if self.peaks.tenths.iter().all(|&peak| peak < out) {
            self.peaks.held.clone_from(&self.held);
        }
        self.peaks.tenths[tenth] = out.max(self.peaks.tenths[tenth]);
    }

    /// Serves the waiting requests, the first one first, as long as frames are free.
    fn serve(&mut self) {
        while let Some(&(step, since)) = self.queue.front() {
            let is_waiting = !self.gave_up[step];
            if is_waiting && self.free <= 0 {
                return;
            }
            self.queue.pop_front();
            let Action::Request {
                holder,
                takes_frame,
                ..
            } = self.schedule.steps[step].action
            else {
                continue;
            };
            if is_waiting {
                // A request that takes no frame does not give up any more.
                self.gave_up[step] = true;
                self.waiting[holder] -= 1;
                if takes_frame {
                    self.take(holder);
                }
                let mut at = self.now;
                // A frame that is released at the time of the request is no wait.
                if at > since {
                    at = at.saturating_add(self.schedule.wake_up);
                    self.waits[holder].add(at - since);
                }
                self.complete(step, at);
            }
        }
    }

    fn give_up(&mut self, step: usize, holder: usize) {
        if std::mem::replace(&mut self.gave_up[step], true) {
            return;
        }
        self.waiting[holder] -= 1;
        let recorded = &self.schedule.steps[step];
        self.waits[holder].add(recorded.done.saturating_sub(recorded.at));
        self.complete(step, self.now);
        // The requests behind it may be the first now.
        self.serve();
    }

    /// Completes a step at a time that may be in the future.
    fn complete(&mut self, step: usize, at: u64) {
        self.done += 1;
        let followers = self.followers;
        for &follower in followers.of(step) {
            let (open, last) = &mut self.open[follower];
            *open -= 1;
            *last = at.max(*last);
            if *open == 0 {
                self.make_due(follower);
            }
        }
    }

    fn make_due(&mut self, number: usize) {
        let step = &self.schedule.steps[number];
        let mut delay = step.delay;
        if let Some(shortened) = self.shortened {
            if step.action.giver() == Some(shortened.holder) {
                delay = delay.saturating_sub(shortened.by);
            }
        }
        let at = self.open[number].1.saturating_add(delay);
        self.due.push(Reverse(Due {
            at: at.max(step.not_before),
            step: number,
            gives_up: false,
        }));
    }

    /// Ends the waits of the requests that were not served.
    fn finish(mut self) -> Waits {
        let end = self.now.max(self.schedule.end);
        let stalls = self.done < self.schedule.steps.len();
        for (step, since) in self.queue {
            if let Action::Request { holder, .. } = self.schedule.steps[step].action {
                if !self.gave_up[step] {
                    self.waits[holder].add(end.saturating_sub(since));
                }
            }
        }
        Waits {
            of: self.waits,
            stalls,
            peaks: self.peaks,
        }
    }
}
