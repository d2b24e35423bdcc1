//! Shares as the documentation describes them, for one thread, and runs of operations in an
//! allocator and in this model, which must agree on each.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ks_allocator::{
    AcquireError, CommitError, Frame, FrameBatch, FramePool, Framing, KsAllocator, PoolAllocator,
    ReframeError, Reframing, Share, ShareError,
};

/// Labels of the shares. Share 0 is that of the callers without one.
const LABELS: [&str; 4] = ["", "one", "two", "three"];

/// Maximum number of frames.
const MAX_FRAMES: usize = 9;

/// Maximum number of operations of a run.
const MAX_OPERATIONS: usize = 400;

#[derive(Clone, Copy, Debug)]
struct ModelShare {
    wanted_reserve: usize,
    reserve: usize,
    wanted_limit: Option<usize>,
    limit: usize,
    held: usize,
}

impl ModelShare {
    /// Returns the share in a new generation of `frames` frames.
    fn new(wanted_reserve: usize, wanted_limit: Option<usize>, frames: usize) -> Self {
        Self {
            wanted_reserve,
            reserve: wanted_reserve,
            wanted_limit,
            limit: wanted_limit.unwrap_or(frames).min(frames),
            held: 0,
        }
    }

    fn declared(&self, label: &str) -> Share {
        let share = Share::new(label).reserve(self.wanted_reserve);
        match self.wanted_limit {
            Some(limit) => share.limit(limit),
            None => share,
        }
    }

    /// Returns the units with `more` frames more.
    fn units(&self, more: usize) -> usize {
        self.reserve.max(self.held + more)
    }
}

/// A caller that waits.
#[derive(Clone, Copy, Debug)]
struct Caller {
    number: usize,
    share: usize,
    wanted: usize,
}

/// The newest generation.
#[derive(Debug)]
struct Model {
    frames: usize,
    generation: u64,
    shares: [ModelShare; LABELS.len()],
    queue: Vec<Caller>,
    /// True if a reserve or a waiting caller lacks common frames.
    wants_common: bool,
    committed: bool,
    flushing: bool,
}

impl Model {
    fn out(&self) -> usize {
        self.shares.iter().map(|share| share.held).sum()
    }

    fn reserved(&self) -> usize {
        self.shares.iter().map(|share| share.wanted_reserve).sum()
    }

    fn common(&self) -> usize {
        let units: usize = self.shares.iter().map(|share| share.units(0)).sum();
        self.frames - units
    }

    fn refusal(&self) -> Option<AcquireError> {
        if !self.committed {
            Some(AcquireError::NotCommitted)
        } else if self.flushing {
            Some(AcquireError::Flushing)
        } else {
            None
        }
    }

    /// Returns the largest number of frames that a share can have at one time.
    fn most(&self, share: usize) -> usize {
        let of = &self.shares[share];
        of.limit
            .min(self.frames + of.wanted_reserve - self.reserved())
    }

    /// Tells whether the share can have `more` frames, or whether it lacks common ones.
    fn allows(&self, share: usize, more: usize, may_use_common: bool) -> Result<(), bool> {
        let of = &self.shares[share];
        if of.held + more > of.limit {
            return Err(of.limit == self.frames);
        }
        let missing = of.units(more) - of.units(0);
        let common = if may_use_common { self.common() } else { 0 };
        if missing <= common { Ok(()) } else { Err(true) }
    }

    /// Completes reserves and serves waiting callers. Returns the numbers of those.
    fn settle(&mut self) -> Vec<usize> {
        let mut served = Vec::new();
        'again: loop {
            for share in 0..self.shares.len() {
                while self.shares[share].reserve < self.shares[share].wanted_reserve {
                    let of = self.shares[share];
                    if of.held <= of.reserve && self.common() == 0 {
                        break;
                    }
                    self.shares[share].reserve += 1;
                }
            }
            let is_complete = |share: &ModelShare| share.reserve == share.wanted_reserve;
            let mut may_use_common = self.shares.iter().all(is_complete);
            let mut passed_over = Vec::new();
            for at in 0..self.queue.len() {
                let Caller {
                    number,
                    share,
                    wanted,
                } = self.queue[at];
                if passed_over.contains(&share) {
                    continue;
                }
                match self.allows(share, wanted, may_use_common) {
                    Ok(()) => {
                        self.shares[share].held += wanted;
                        self.queue.remove(at);
                        served.push(number);
                        continue 'again;
                    }
                    Err(lacks_common) => may_use_common &= !lacks_common,
                }
                passed_over.push(share);
            }
            self.wants_common = !may_use_common;
            return served;
        }
    }

    fn can_take_at_once(&self, share: usize, wanted: usize) -> bool {
        let is_first = self.queue.iter().all(|caller| caller.share != share);
        is_first && self.allows(share, wanted, !self.wants_common).is_ok()
    }

    /// Turns to the next generation.
    fn reframe(&mut self, frames: usize, generation: u64) {
        assert!(generation > self.generation);
        (self.frames, self.generation) = (frames, generation);
        for of in &mut self.shares {
            *of = ModelShare::new(of.wanted_reserve, of.wanted_limit, frames);
        }
    }
}

type Acquired = Result<FrameBatch, AcquireError>;

struct Waiting<'a> {
    number: usize,
    share: usize,
    future: Pin<Box<dyn Future<Output = Acquired> + 'a>>,
}

struct Held {
    frame: Frame,
    share: usize,
    generation: u64,
    mark: u8,
}

struct Run<'a> {
    allocator: &'a PoolAllocator,
    handles: &'a [FramePool; LABELS.len()],
    model: Model,
    held: Vec<Held>,
    waiting: Vec<Waiting<'a>>,
    /// Numbers of the callers whose wait has failed, and who were not polled since.
    rejected: Vec<usize>,
    /// Number of callers so far.
    callers: usize,
    next_mark: u8,
}

/// Runs operations. `choose(limit)` returns a number in `0..limit`, or `None` to end the run.
///
/// # Panics
///
/// If the allocator and the model disagree.
pub(crate) fn run(choose: &mut dyn FnMut(usize) -> Option<usize>) {
    let Some((frames, shares)) = choose_shares(choose) else {
        return;
    };
    let mut builder = FramePool::builder().frames(frames).frame_size(64);
    for (of, label) in shares.iter().zip(LABELS).skip(1) {
        builder = builder.share(of.declared(label));
    }
    let allocator = PoolAllocator::from_builder(&builder).expect("the framing is valid");
    allocator.commit().expect("the shares fit");
    let pool = allocator.pool().expect("it is committed");
    let handles = LABELS.map(|label| match label {
        "" => pool.clone(),
        label => pool.with_label(label),
    });
    let mut run = Run {
        allocator: &allocator,
        handles: &handles,
        model: Model {
            frames,
            generation: pool.generation(),
            shares,
            queue: Vec::new(),
            wants_common: false,
            committed: true,
            flushing: false,
        },
        held: Vec::new(),
        waiting: Vec::new(),
        rejected: Vec::new(),
        callers: 0,
        next_mark: 0,
    };
    for _ in 0..MAX_OPERATIONS {
        let ended = run.operate(choose).is_none();
        run.check();
        if ended {
            break;
        }
    }
}

/// Chooses the number of frames and the shares.
fn choose_shares(
    choose: &mut dyn FnMut(usize) -> Option<usize>,
) -> Option<(usize, [ModelShare; LABELS.len()])> {
    let frames = 2 + choose(MAX_FRAMES - 2)?;
    let mut shares = [ModelShare::new(0, None, frames); LABELS.len()];
    let mut unreserved = frames;
    for share in &mut shares[1..] {
        let reserve = choose(unreserved + 1)?;
        unreserved -= reserve;
        // Some have no limit, and some one that is more than there are frames.
        let limit = Some(choose(frames + 1)?).filter(|&limit| limit < frames);
        *share = ModelShare::new(reserve, limit.map(|limit| reserve + limit), frames);
    }
    Some((frames, shares))
}

impl Run<'_> {
    /// Does something. Returns `None` if the run is to end.
    fn operate(&mut self, choose: &mut dyn FnMut(usize) -> Option<usize>) -> Option<()> {
        match choose(20)? {
            0..=3 => {
                let share = choose(LABELS.len())?;
                let acquired = self.handles[share].try_acquire();
                let acquired = acquired.map(|frame| vec![frame]);
                self.expect_at_once(share, 1, 1, acquired);
            }
            4 => {
                let (share, wanted) = (choose(LABELS.len())?, 1 + choose(3)?);
                let acquired = self.handles[share].try_acquire_exact(wanted);
                self.expect_at_once(share, wanted, wanted, acquired.map(Vec::from_iter));
            }
            5 => {
                let (share, max) = (choose(LABELS.len())?, 1 + choose(MAX_FRAMES)?);
                let acquired = self.handles[share].try_acquire_many(max);
                self.expect_at_once(share, 1, max, acquired.map(Vec::from_iter));
            }
            6..=9 => {
                let (share, wanted) = (choose(LABELS.len())?, 1 + choose(3)?);
                self.wait(share, wanted);
            }
            10..=13 => {
                let held = choose(self.held.len().max(1))?;
                if held < self.held.len() {
                    self.release(held);
                }
            }
            14 => {
                let waiting = choose(self.waiting.len().max(1))?;
                if waiting < self.waiting.len() {
                    let number = self.waiting.swap_remove(waiting).number;
                    self.model.queue.retain(|caller| caller.number != number);
                }
            }
            15 | 16 => {
                let share = 1 + choose(LABELS.len() - 1)?;
                let reserve = choose(self.model.frames)?;
                let limit = choose(self.model.frames + 2)?;
                self.set_share(share, reserve, limit);
            }
            17 => {
                let (frames, drains) = (1 + choose(MAX_FRAMES)?, choose(2)? > 0);
                self.reframe(frames, drains);
            }
            18 if self.model.flushing => {
                self.allocator.end_flush();
                self.model.flushing = false;
            }
            18 => {
                self.allocator.begin_flush();
                self.model.flushing = true;
                self.reject(|_| true);
            }
            _ if self.model.committed => {
                self.allocator.decommit();
                self.model.committed = false;
                self.reject(|_| true);
            }
            _ => {
                self.allocator.commit().expect("nothing has changed");
                self.model.committed = true;
            }
        }
        Some(())
    }

    /// Compares the result of a call that does not wait and takes `min..=max` frames.
    fn expect_at_once(
        &mut self,
        share: usize,
        min: usize,
        max: usize,
        acquired: Result<Vec<Frame>, AcquireError>,
    ) {
        let model = &self.model;
        let expected = match model.refusal() {
            Some(_) => None,
            None => (min..=max)
                .rev()
                .find(|&frames| model.can_take_at_once(share, frames)),
        };
        let frames = acquired.as_ref().map(Vec::len);
        assert_eq!(
            frames.as_ref().ok().copied(),
            expected,
            "{acquired:?}, {model:?}"
        );
        match acquired {
            Ok(frames) => {
                self.model.shares[share].held += frames.len();
                self.hold(share, frames);
            }
            Err(AcquireError::TooMany { .. }) => assert!(min > model.most(share)),
            Err(AcquireError::Exhausted(_) | AcquireError::TooFew { .. }) => {
                assert_eq!(model.refusal(), None);
            }
            Err(error) => assert_eq!(Some(error), model.refusal()),
        }
    }

    /// Keeps frames that the model counts already.
    fn hold(&mut self, share: usize, frames: impl IntoIterator<Item = Frame>) {
        for mut frame in frames {
            let generation = frame.generation();
            assert_eq!(generation, self.model.generation);
            self.next_mark = self.next_mark.wrapping_add(1);
            let mark = self.next_mark;
            frame.fill(mark);
            self.held.push(Held {
                frame,
                share,
                generation,
                mark,
            });
        }
    }

    fn release(&mut self, held: usize) {
        let Held {
            frame,
            share,
            generation,
            mark,
        } = self.held.swap_remove(held);
        assert!(frame.iter().all(|&byte| byte == mark));
        if generation == self.model.generation {
            self.model.shares[share].held -= 1;
        }
        drop(frame);
    }

    fn wait(&mut self, share: usize, wanted: usize) {
        let mut future = Box::pin(self.handles[share].acquire_exact_async(wanted));
        let model = &mut self.model;
        match poll(future.as_mut()) {
            Poll::Ready(Ok(batch)) => {
                assert!(model.refusal().is_none() && model.can_take_at_once(share, wanted));
                model.shares[share].held += wanted;
                self.hold(share, batch);
            }
            Poll::Ready(Err(AcquireError::TooMany { .. })) => assert!(wanted > model.most(share)),
            Poll::Ready(Err(error)) => assert_eq!(Some(error), model.refusal()),
            Poll::Pending => {
                assert!(model.refusal().is_none() && !model.can_take_at_once(share, wanted));
                assert!(wanted <= model.most(share), "{model:?}");
                let number = self.callers;
                self.callers += 1;
                model.queue.push(Caller {
                    number,
                    share,
                    wanted,
                });
                self.waiting.push(Waiting {
                    number,
                    share,
                    future,
                });
            }
        }
    }

    fn set_share(&mut self, share: usize, reserve: usize, limit: usize) {
        let changed = Share::new(LABELS[share]).reserve(reserve).limit(limit);
        let result = self.handles[0].set_share(changed);
        let model = &mut self.model;
        let reserved = model.reserved() - model.shares[share].wanted_reserve + reserve;
        let of = &mut model.shares[share];
        match result {
            Ok(()) => {
                assert!(reserve <= limit && reserved <= model.frames);
                of.wanted_reserve = reserve;
                of.reserve = of.reserve.min(reserve);
                of.wanted_limit = Some(limit);
                of.limit = limit.min(model.frames);
            }
            Err(ShareError::Limit { .. }) => assert!(limit < reserve),
            Err(ShareError::Reserves { .. }) => assert!(reserved > model.frames),
            Err(error) => panic!("{error}"),
        }
    }

    fn reframe(&mut self, frames: usize, drains: bool) {
        let mut reframing = Reframing::new(Framing::new(frames, 64));
        if drains {
            reframing = reframing.drain(Duration::ZERO);
        }
        let result = self.allocator.reframe(reframing);
        let model = &mut self.model;
        let fits = model.reserved() <= frames;
        match result {
            Ok(_) => {
                assert!(
                    model.committed && fits && !(drains && model.out() > 0),
                    "{model:?}"
                );
                let pool = self.allocator.pool().expect("it is committed");
                model.reframe(frames, pool.generation());
                self.reject(|caller| caller.wanted > frames);
            }
            Err(ReframeError::NotCommitted) => assert!(!model.committed),
            Err(ReframeError::NotIdle(_)) => assert!(drains && model.out() > 0),
            Err(ReframeError::Commit(CommitError::Shares(ShareError::Reserves { .. }))) => {
                assert!(!fits);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Ends the waits of some callers.
    fn reject(&mut self, is_rejected: impl Fn(&Caller) -> bool) {
        let queue = &mut self.model.queue;
        let rejected = queue.iter().filter(|caller| is_rejected(caller));
        self.rejected.extend(rejected.map(|caller| caller.number));
        queue.retain(|caller| !is_rejected(caller));
    }

    /// Compares the waits and the numbers of the allocator with the model.
    fn check(&mut self) {
        let served = self.model.settle();
        let mut frames = Vec::new();
        let (rejected, model) = (&mut self.rejected, &self.model);
        self.waiting.retain_mut(|waiting| {
            let Waiting {
                number,
                share,
                ref mut future,
            } = *waiting;
            match poll(future.as_mut()) {
                Poll::Pending => {
                    let is_queued = model.queue.iter().any(|caller| caller.number == number);
                    assert!(is_queued, "{number} waits, {model:?}");
                    return true;
                }
                Poll::Ready(Ok(batch)) => {
                    assert!(served.contains(&number), "{number} is served, {model:?}");
                    frames.push((share, batch));
                }
                Poll::Ready(Err(error)) => {
                    assert!(rejected.contains(&number), "{error}, {model:?}");
                    let is_right = match &error {
                        AcquireError::TooMany { max, .. } => *max <= model.frames,
                        error => Some(error) == model.refusal().as_ref(),
                    };
                    assert!(is_right, "{error}");
                }
            }
            false
        });
        rejected.clear();
        for (share, batch) in frames {
            self.hold(share, batch);
        }
        let pool = self.allocator.pool().expect("it was committed");
        assert_eq!(pool.waiting(), self.waiting.len());
        assert_eq!(pool.free_frames(), self.model.frames - self.model.out());
        for (usage, of) in pool.shares().iter().zip(&self.model.shares[1..]) {
            let found = (usage.held, usage.reserve, usage.reserved, usage.limit);
            let expected = (of.held, of.wanted_reserve, of.reserve, of.limit);
            assert_eq!(found, expected, "{:?}", self.model);
        }
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
