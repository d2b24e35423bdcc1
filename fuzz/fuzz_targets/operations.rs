//! Sequences of operations on a `PoolAllocator`, compared with a model that only counts.
//!
//! One thread calls all operations that do not block. The model predicts the result of each call,
//! and after each call the state of the allocator. Every held frame is filled with a byte of its
//! own, so a frame that is handed out twice, or whose memory is freed, is noticed.

#![no_main]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbitrary::Unstructured;
use ks_allocator::{
    AcquireError, AllocatorMode, AllocatorState, CommitError, Frame, FramePool, Framing,
    FramingError, KsAllocator, ModeError, PoolAllocator, ReframeError, Reframing, SharedFrame,
};
use libfuzzer_sys::fuzz_target;

/// Ways to acquire that do not block.
#[derive(Clone, Copy, Debug)]
enum Acquire {
    AtOnce,
    WithoutTime,
    ByAnyHandle(u8),
    Polled,
    Many(u8),
    Exact(u8),
    ManyPolled(u8),
    ExactPolled(u8),
}

#[derive(Debug)]
enum Operation {
    SetFraming(Framing),
    SetMode(AllocatorMode),
    Commit,
    Decommit,
    Flush(bool),
    Close,
    Reframe(Framing, bool),
    KeepPool,
    ForgetPool(u8),
    Acquire(Acquire),
    Drop(u8),
    DropAll,
    Share(u8),
    CloneShare(u8),
    DropShare(u8),
    Slice(u8, u8),
    IntoUnique(u8),
    MakeMut(u8),
    SetLen(u8, u16),
    Lend(u8),
}

/// Reads a framing that is small, or wrong, or too large for any memory.
fn read_framing(input: &mut Unstructured<'_>) -> arbitrary::Result<Framing> {
    const FRAMES: [usize; 16] = [
        2,
        3,
        1,
        2,
        3,
        4,
        5,
        8,
        2,
        63,
        64,
        65,
        130,
        0,
        1 << 25,
        usize::MAX / 2,
    ];
    const ALIGNMENTS: [usize; 16] = [
        1, 1, 2, 3, 16, 48, 64, 64, 100, 4096, 1, 1, 1, 65_536, 0, 65_537,
    ];
    let (numbers, size, prefix): (u8, u16, u8) = input.arbitrary()?;
    let alignment = ALIGNMENTS[usize::from(numbers >> 4)];
    let mut frames = FRAMES[usize::from(numbers & 15)];
    if alignment > 100 && frames < 1000 {
        // A run is to take little memory.
        frames = frames.min(3);
    }
    Ok(Framing::new(frames, usize::from(size % 300))
        .alignment(alignment)
        .prefix(usize::from(prefix % 40)))
}

/// Reads an operation: its kind is one byte, so that a small change of the input is a small change
/// of the sequence.
fn read_operation(input: &mut Unstructured<'_>) -> arbitrary::Result<Operation> {
    let kind: u8 = input.arbitrary()?;
    Ok(match kind % 40 {
        0 | 1 => Operation::SetFraming(read_framing(input)?),
        2 => Operation::SetMode(AllocatorMode::Kernel),
        3 => Operation::SetMode(AllocatorMode::User),
        4..=6 => Operation::Commit,
        7 => Operation::Decommit,
        8 => Operation::Flush(true),
        9 => Operation::Flush(false),
        10 => Operation::Close,
        11 | 12 => Operation::Reframe(read_framing(input)?, false),
        13 => Operation::Reframe(read_framing(input)?, true),
        14 => Operation::KeepPool,
        15 => Operation::ForgetPool(input.arbitrary()?),
        16 | 17 => Operation::Acquire(Acquire::AtOnce),
        18 => Operation::Acquire(Acquire::WithoutTime),
        19 | 20 => Operation::Acquire(Acquire::ByAnyHandle(input.arbitrary()?)),
        21 => Operation::Acquire(Acquire::Polled),
        22 => Operation::Acquire(Acquire::Many(input.arbitrary()?)),
        23 => Operation::Acquire(Acquire::Exact(input.arbitrary()?)),
        24 => Operation::Acquire(Acquire::ManyPolled(input.arbitrary()?)),
        25 => Operation::Acquire(Acquire::ExactPolled(input.arbitrary()?)),
        26 | 27 => Operation::Drop(input.arbitrary()?),
        28 => Operation::DropAll,
        29 | 30 => Operation::Share(input.arbitrary()?),
        31 | 32 => Operation::CloneShare(input.arbitrary()?),
        33 => Operation::DropShare(input.arbitrary()?),
        34 => Operation::Slice(input.arbitrary()?, input.arbitrary()?),
        35 => Operation::IntoUnique(input.arbitrary()?),
        36 | 37 => Operation::MakeMut(input.arbitrary()?),
        38 => Operation::SetLen(input.arbitrary()?, input.arbitrary()?),
        _ => Operation::Lend(input.arbitrary()?),
    })
}

/// Handles of one frame. Those of a shared frame are equal.
enum Handles {
    Unique(Frame),
    Shared(Vec<SharedFrame>),
}

struct Held {
    handles: Handles,
    /// Number of the pool that it is from: see [`Model::pools`].
    pool: usize,
    fill: u8,
    len: usize,
    framing: Framing,
}

impl Held {
    fn bytes(&self) -> &[u8] {
        match &self.handles {
            Handles::Unique(frame) => frame,
            Handles::Shared(handles) => &handles[0],
        }
    }

    /// Checks one byte at either end, which is quick.
    fn check_ends(&self) {
        let bytes = self.bytes();
        assert_eq!(bytes.len(), self.len);
        let ends = [bytes.first(), bytes.last()];
        assert!(ends.into_iter().flatten().all(|&byte| byte == self.fill));
    }

    fn check(&self) {
        let (prefix, capacity) = match &self.handles {
            Handles::Unique(frame) => (frame.prefix(), frame.capacity()),
            Handles::Shared(handles) => (handles[0].prefix(), handles[0].capacity()),
        };
        assert_eq!(self.bytes().len(), self.len);
        assert!(self.bytes().iter().all(|&byte| byte == self.fill));
        assert!(prefix.iter().all(|&byte| byte == self.fill));
        assert_eq!(
            (prefix.len(), capacity),
            (self.framing.prefix, self.framing.frame_size)
        );
        assert_eq!(prefix.as_ptr().addr() % self.framing.alignment, 0);
    }
}

/// Errors without their numbers, which are compared where they matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NotCommitted,
    Closed,
    Flushing,
    Exhausted,
    TooFew,
    TooMany,
}

fn refusal(error: &AcquireError) -> Refusal {
    match error {
        AcquireError::NotCommitted => Refusal::NotCommitted,
        AcquireError::Closed => Refusal::Closed,
        AcquireError::Flushing => Refusal::Flushing,
        AcquireError::Exhausted(_) | AcquireError::TimedOut(_) => Refusal::Exhausted,
        AcquireError::TooFew { .. } => Refusal::TooFew,
        AcquireError::TooMany { .. } => Refusal::TooMany,
        other => panic!("{other}"),
    }
}

/// A pool of the model, which is never removed from it.
struct ModelPool {
    framing: Framing,
    frame_len: usize,
    mode: AllocatorMode,
    generation: u64,
    closed: bool,
    flushing: bool,
    committed: bool,
    /// Number of the pool that took over from it.
    next: Option<usize>,
}

struct Model {
    framing: Framing,
    frame_len: usize,
    mode: AllocatorMode,
    changed: bool,
    committed: bool,
    flushing: bool,
    /// Least generation of the next pool. A change that fails leaves out a number.
    next_generation: u64,
    /// Number of the allocator's pool.
    present: Option<usize>,
    pools: Vec<ModelPool>,
    held: Vec<Held>,
    /// Handles of pools, with their numbers.
    kept: Vec<(FramePool, usize)>,
    next_fill: u8,
}

impl Model {
    fn new() -> Self {
        Self {
            framing: Framing::default(),
            frame_len: 0,
            mode: AllocatorMode::User,
            changed: true,
            committed: false,
            flushing: false,
            next_generation: 0,
            present: None,
            pools: Vec::new(),
            held: Vec::new(),
            kept: Vec::new(),
            next_fill: 0,
        }
    }

    fn out_of(&self, pool: usize) -> usize {
        self.held.iter().filter(|held| held.pool == pool).count()
    }

    fn out(&self) -> usize {
        self.present.map_or(0, |pool| self.out_of(pool))
    }

    fn is_closed(&self) -> bool {
        self.present.is_some_and(|pool| self.pools[pool].closed)
    }

    fn is_committed(&self) -> bool {
        self.committed && !self.is_closed()
    }

    fn state(&self) -> AllocatorState {
        match (self.is_committed(), self.out()) {
            (true, _) => AllocatorState::Committed,
            (false, 0) => AllocatorState::Uncommitted,
            (false, _) => AllocatorState::Decommitting,
        }
    }

    /// Returns the pool that a handle of `pool` acquires from.
    fn newest(&self, mut pool: usize) -> usize {
        while let Some(next) = self.pools[pool].next {
            pool = next;
        }
        pool
    }

    /// Returns the number of free frames, or the error of an acquire, in the order of precedence.
    fn available(&self, pool: usize) -> Result<usize, Refusal> {
        let of = &self.pools[pool];
        if of.closed {
            Err(Refusal::Closed)
        } else if !of.committed {
            Err(Refusal::NotCommitted)
        } else if of.flushing {
            Err(Refusal::Flushing)
        } else {
            Ok(of.framing.frames - self.out_of(pool))
        }
    }

    /// Makes the next pool, which is the allocator's from now on.
    fn adopt(&mut self, framing: Framing, frame_len: usize, flushing: bool, generation: u64) {
        assert!(generation >= self.next_generation, "{generation}");
        self.pools.push(ModelPool {
            framing,
            frame_len,
            mode: self.mode,
            generation,
            closed: false,
            flushing,
            committed: true,
            next: None,
        });
        self.present = Some(self.pools.len() - 1);
        (self.framing, self.frame_len) = (framing, frame_len);
        (self.committed, self.changed) = (true, false);
        self.next_generation = generation + 1;
    }

    fn hold(&mut self, mut frame: Frame, pool: usize) {
        let of = &self.pools[pool];
        assert_eq!(frame.len(), of.frame_len);
        assert_eq!(frame.generation(), of.generation);
        let fill = self.next_fill;
        self.next_fill = fill.wrapping_add(1);
        frame.fill(fill);
        frame.prefix_mut().fill(fill);
        self.held.push(Held {
            len: frame.len(),
            handles: Handles::Unique(frame),
            pool,
            fill,
            framing: of.framing,
        });
    }
}

/// Rounds as the documentation of `Framing` says.
fn rounded(request: Framing) -> Result<Framing, FramingError> {
    let alignment = request.alignment;
    if !(1..=65_536).contains(&alignment) {
        return Err(FramingError::Alignment { alignment });
    }
    let used = (request.prefix + request.frame_size).next_multiple_of(alignment);
    Ok(Framing {
        frame_size: used - request.prefix,
        ..request
    })
}

/// Returns the error of a commit of this framing, without its numbers.
fn fits(framing: Framing) -> Result<(), &'static str> {
    if framing.frames == 0 || framing.frame_size == 0 || framing.alignment == 0 {
        Err("not set")
    } else if framing.frames > 1 << 24 {
        Err("too large")
    } else {
        Ok(())
    }
}

fn kind_of(error: &CommitError) -> &'static str {
    match error {
        CommitError::FramingNotSet { .. } => "not set",
        CommitError::TooLarge { .. } => "too large",
        other => panic!("{other}"),
    }
}

/// Polls once. A future that is pending is dropped, and gives up its place in the queue.
fn poll_once<T>(
    future: impl Future<Output = Result<T, AcquireError>>,
) -> Result<T, Option<Refusal>> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(value)) => Ok(value),
        Poll::Ready(Err(error)) => Err(Some(refusal(&error))),
        Poll::Pending => Err(None),
    }
}

struct Run {
    allocator: PoolAllocator,
    model: Model,
}

impl Run {
    fn commit(&mut self) {
        let model = &mut self.model;
        let result = self.allocator.commit();
        if model.is_committed() {
            return result.unwrap();
        }
        if !model.changed && !model.is_closed() {
            result.unwrap();
            model.committed = true;
            if let Some(pool) = model.present {
                model.pools[pool].committed = true;
            }
            return;
        }
        (model.committed, model.changed) = (false, true);
        // The flush goes on in the next pool.
        if let Some(old) = model.present.take() {
            model.flushing = model.pools[old].flushing;
            model.pools[old].committed = false;
        }
        match fits(model.framing) {
            Ok(()) => {
                result.unwrap();
                let generation = generation_of(&self.allocator);
                model.adopt(model.framing, model.frame_len, model.flushing, generation);
            }
            Err(kind) => assert_eq!(kind_of(&result.unwrap_err()), kind),
        }
    }

    fn reframe(&mut self, request: Framing, drain: bool) {
        let mut reframing = Reframing::new(request);
        if drain {
            reframing = reframing.drain(Duration::ZERO);
        }
        let result = self.allocator.reframe(reframing);
        let model = &mut self.model;
        let actual = match rounded(request) {
            Ok(actual) => actual,
            Err(expected) => {
                assert!(matches!(result, Err(ReframeError::Framing(error)) if error == expected));
                return;
            }
        };
        let Some(old) = model.present.filter(|_| model.is_committed()) else {
            assert!(matches!(result, Err(ReframeError::NotCommitted)));
            return;
        };
        // A framing that cannot be is refused before the drain.
        if drain && model.out() > 0 && fits(actual).is_ok() {
            match result {
                Err(ReframeError::NotIdle(error)) => {
                    let listed = error.holders().entries.len();
                    assert!((1..=model.out()).contains(&listed), "{listed} holders");
                }
                other => panic!("{other:?}"),
            }
            return;
        }
        match (fits(actual), result) {
            (Ok(()), Ok(framing)) => {
                assert_eq!(framing, actual);
                let flushing = model.pools[old].flushing;
                let generation = generation_of(&self.allocator);
                model.adopt(actual, request.frame_size, flushing, generation);
                model.pools[old].next = model.present;
            }
            (Err(kind), Err(ReframeError::Commit(error))) => assert_eq!(kind_of(&error), kind),
            (expected, result) => panic!("{expected:?}, {result:?}"),
        }
    }

    fn acquire(&mut self, how: Acquire) {
        let (pool, number) = match (how, self.model.kept.len()) {
            (Acquire::ByAnyHandle(handle), kept @ 1..) => {
                let (pool, number) = &self.model.kept[usize::from(handle) % kept];
                (Some(pool.clone()), Some(self.model.newest(*number)))
            }
            _ => (self.allocator.pool(), self.model.present),
        };
        assert_eq!(pool.is_some(), number.is_some());
        let (Some(pool), Some(number)) = (pool, number) else {
            assert_eq!(
                self.allocator.try_acquire().unwrap_err(),
                AcquireError::NotCommitted
            );
            return;
        };
        let available = self.model.available(number);
        let one = |result: Result<Frame, AcquireError>| {
            result
                .map(|frame| vec![frame])
                .map_err(|error| Some(refusal(&error)))
        };
        let several = |result: Result<ks_allocator::FrameBatch, AcquireError>| {
            result
                .map(Vec::from_iter)
                .map_err(|error| Some(refusal(&error)))
        };
        // How many frames are wanted, at least and at most, and the error if too few are free.
        let frames = self.model.pools[number].framing.frames;
        let (min, max, too_few, result) = match how {
            Acquire::AtOnce => (
                1,
                1,
                Some(Refusal::Exhausted),
                one(self.allocator.try_acquire()),
            ),
            Acquire::WithoutTime => {
                let result = self.allocator.acquire_timeout(Duration::ZERO);
                (1, 1, Some(Refusal::Exhausted), one(result))
            }
            Acquire::ByAnyHandle(_) => (1, 1, Some(Refusal::Exhausted), one(pool.try_acquire())),
            Acquire::Polled => {
                let result = poll_once(pool.acquire_async()).map(|frame| vec![frame]);
                (1, 1, None, result)
            }
            Acquire::Many(max) => {
                let max = usize::from(max);
                let result = several(pool.try_acquire_many(max));
                (max.min(1), max, Some(Refusal::Exhausted), result)
            }
            Acquire::Exact(count) => {
                let count = usize::from(count);
                let result = several(pool.try_acquire_exact(count));
                (count, count, Some(Refusal::TooFew), result)
            }
            Acquire::ManyPolled(max) => {
                let max = usize::from(max);
                let result = poll_once(pool.acquire_many_async(max)).map(Vec::from_iter);
                (max.min(1), max, None, result)
            }
            Acquire::ExactPolled(count) => {
                let count = usize::from(count);
                let result = poll_once(pool.acquire_exact_async(count)).map(Vec::from_iter);
                (count, count, None, result)
            }
        };
        let is_exact = matches!(how, Acquire::Exact(_) | Acquire::ExactPolled(_));
        let expected = match available {
            // Several errors can apply at once. Which of them is returned is not specified for more
            // frames than there are.
            _ if is_exact && min > frames.min(64) => {
                let error = result.expect_err("more frames than there are");
                let is_right = error == Some(Refusal::TooMany) || available.err() == error;
                assert!(error.is_some() && is_right, "{error:?}");
                return;
            }
            Ok(_) if max == 0 => Ok(0),
            Ok(free) if free < min => Err(too_few),
            Ok(free) => Ok(max.min(free).min(64)),
            Err(refusal) => Err(Some(refusal)),
        };
        if max == 0 {
            // No frame is asked for.
            if let Ok(frames) = &result {
                assert!(frames.is_empty());
            }
            return;
        }
        match result {
            Ok(frames) => {
                // A batch has at least one frame, and the number is exact if one thread acquires.
                assert_eq!(Ok(frames.len()), expected);
                for frame in frames {
                    self.model.hold(frame, number);
                }
            }
            Err(error) => assert_eq!(Err(error), expected),
        }
    }

    fn apply(&mut self, operation: Operation) {
        let model = &mut self.model;
        let pick = |number: u8, from: &[Held]| {
            (!from.is_empty()).then(|| usize::from(number) % from.len().max(1))
        };
        match operation {
            Operation::SetFraming(request) => {
                let result = self.allocator.set_framing(&request);
                let expected = rounded(request).and_then(|actual| match model.state() {
                    AllocatorState::Uncommitted => Ok(actual),
                    AllocatorState::Committed => Err(FramingError::AlreadyCommitted),
                    AllocatorState::Decommitting => Err(FramingError::FramesOutstanding {
                        outstanding: model.out(),
                        frames: model.framing.frames,
                    }),
                });
                assert_eq!(result, expected);
                if let Ok(actual) = result {
                    (model.framing, model.frame_len) = (actual, request.frame_size);
                    model.changed = true;
                }
            }
            Operation::SetMode(mode) => {
                let result = self.allocator.set_allocator_mode(mode);
                if mode == model.mode {
                    result.unwrap();
                } else if model.state() != AllocatorState::Uncommitted {
                    let (current, requested) = (model.mode, mode);
                    assert_eq!(
                        result,
                        Err(ModeError::AlreadyCommitted { current, requested })
                    );
                } else {
                    result.unwrap();
                    (model.mode, model.changed) = (mode, true);
                }
            }
            Operation::Commit => self.commit(),
            Operation::Decommit => {
                self.allocator.decommit();
                model.committed = false;
                if let Some(pool) = model.present {
                    model.pools[pool].committed = false;
                }
            }
            Operation::Flush(begin) => {
                if begin {
                    self.allocator.begin_flush();
                } else {
                    self.allocator.end_flush();
                }
                model.flushing = begin;
                if let Some(pool) = model.present {
                    model.pools[pool].flushing = begin;
                }
            }
            Operation::Close => {
                if let (Some(pool), Some(number)) = (self.allocator.pool(), model.present) {
                    pool.close();
                    model.pools[number].closed = true;
                }
            }
            Operation::Reframe(request, drain) => self.reframe(request, drain),
            Operation::KeepPool => {
                if let (Some(pool), Some(number)) = (self.allocator.pool(), model.present) {
                    model.kept.push((pool, number));
                }
            }
            Operation::ForgetPool(number) => {
                if !model.kept.is_empty() {
                    let number = usize::from(number) % model.kept.len();
                    drop(model.kept.swap_remove(number));
                }
            }
            Operation::Acquire(how) => self.acquire(how),
            Operation::Drop(number) => {
                if let Some(number) = pick(number, &model.held) {
                    let held = model.held.swap_remove(number);
                    held.check();
                    drop(held);
                }
            }
            Operation::DropAll => {
                model.held.iter().for_each(Held::check);
                model.held.clear();
            }
            Operation::Share(number) => {
                if let Some(number) = pick(number, &model.held) {
                    let mut held = model.held.swap_remove(number);
                    held.handles = match held.handles {
                        Handles::Unique(frame) => Handles::Shared(vec![frame.share()]),
                        shared @ Handles::Shared(_) => shared,
                    };
                    model.held.push(held);
                }
            }
            Operation::CloneShare(number) => {
                if let Some(number) = pick(number, &model.held)
                    && let Handles::Shared(handles) = &mut model.held[number].handles
                {
                    let clone = handles[0].clone();
                    assert_eq!(clone.as_ptr(), handles[0].as_ptr());
                    handles.push(clone);
                }
            }
            Operation::DropShare(number) => {
                if let Some(number) = pick(number, &model.held)
                    && let Handles::Shared(handles) = &mut model.held[number].handles
                {
                    handles.pop();
                    if handles.is_empty() {
                        drop(model.held.swap_remove(number));
                    }
                }
            }
            Operation::Slice(number, length) => {
                if let Some(number) = pick(number, &model.held)
                    && let Handles::Shared(handles) = &model.held[number].handles
                {
                    let (end, len) = (usize::from(length), handles[0].len());
                    let slice = handles[0].slice(..end);
                    assert_eq!(slice.is_some(), end <= len);
                    if let Some(slice) = slice {
                        assert_eq!(&*slice, &handles[0][..end]);
                    }
                }
            }
            Operation::IntoUnique(number) => {
                if let Some(number) = pick(number, &model.held) {
                    let mut held = model.held.swap_remove(number);
                    held.handles = match held.handles {
                        Handles::Shared(mut handles) => {
                            let alone = handles.len() == 1;
                            let handle = handles.pop().expect("a shared frame has a handle");
                            match handle.try_into_unique() {
                                Ok(frame) => {
                                    assert!(alone);
                                    Handles::Unique(frame)
                                }
                                Err(handle) => {
                                    assert!(!alone);
                                    handles.push(handle);
                                    Handles::Shared(handles)
                                }
                            }
                        }
                        unique @ Handles::Unique(_) => unique,
                    };
                    model.held.push(held);
                }
            }
            Operation::MakeMut(number) => {
                if let Some(number) = pick(number, &model.held) {
                    self.make_mut(number);
                }
            }
            Operation::SetLen(number, length) => {
                if let Some(number) = pick(number, &model.held) {
                    let held = &mut model.held[number];
                    if let Handles::Unique(frame) = &mut held.handles {
                        let length = usize::from(length % 400);
                        let result = frame.set_len(length);
                        assert_eq!(result.is_ok(), length <= held.framing.frame_size);
                        if result.is_ok() {
                            frame.fill(held.fill);
                            held.len = length;
                        }
                    }
                }
            }
            Operation::Lend(number) => {
                if let Some(number) = pick(number, &model.held) {
                    let mut held = model.held.swap_remove(number);
                    let lendable = model.pools[held.pool].mode == AllocatorMode::Kernel;
                    held.handles = match held.handles {
                        Handles::Unique(frame) => {
                            let pool = frame.pool();
                            match frame.lend() {
                                Ok(token) => {
                                    assert!(lendable);
                                    let pool = pool.expect("its allocator lives");
                                    let again = pool.redeem(token).expect("it was lent");
                                    assert!(pool.redeem(token).is_err());
                                    Handles::Shared(vec![again])
                                }
                                Err(frame) => {
                                    assert!(!lendable || pool.is_none());
                                    Handles::Unique(frame)
                                }
                            }
                        }
                        shared @ Handles::Shared(_) => shared,
                    };
                    model.held.push(held);
                }
            }
        }
    }

    /// A copy is made in the pool of the frame. It fails if another pool has taken over from that.
    fn make_mut(&mut self, number: usize) {
        let model = &mut self.model;
        let pool = model.held[number].pool;
        let available = match model.pools[pool].next {
            Some(_) => Err(Refusal::Closed),
            None => model.available(pool),
        };
        let held = &mut model.held[number];
        let Handles::Shared(handles) = &mut held.handles else {
            return;
        };
        if handles.len() == 1 {
            let frame = handles[0].make_mut().expect("it is the only handle");
            held.fill = held.fill.wrapping_add(1);
            frame.fill(held.fill);
            frame.prefix_mut().fill(held.fill);
            return;
        }
        let mut handle = handles.pop().expect("there are two");
        let copied = handle.make_mut().map(|frame| {
            assert!(frame.iter().all(|&byte| byte == held.fill));
            assert!(frame.prefix().iter().all(|&byte| byte == held.fill));
            assert_eq!(frame.len(), held.len);
            frame.generation()
        });
        match copied {
            Ok(generation) => {
                assert!(available.is_ok_and(|free| free > 0), "{available:?}");
                assert_eq!(generation, model.pools[pool].generation);
                let copy = Held {
                    handles: Handles::Shared(vec![handle]),
                    pool,
                    fill: held.fill,
                    len: held.len,
                    framing: held.framing,
                };
                model.held.push(copy);
            }
            Err(error) => {
                let expected = available.and_then(|free| match free {
                    0 => Err(Refusal::Exhausted),
                    _ => Ok(free),
                });
                // Which error it is after another pool has taken over is not specified.
                let is_superseded = model.pools[pool].next.is_some();
                assert!(is_superseded || Err(refusal(&error)) == expected, "{error}");
                handles.push(handle);
            }
        }
    }

    fn check(&self) {
        let model = &self.model;
        let status = self.allocator.allocator_status();
        assert_eq!(status.framing, model.framing);
        assert_eq!(status.allocated_frames, model.out());
        assert_eq!(status.state, model.state());
        assert_eq!(self.allocator.allocator_mode(), model.mode);
        assert_eq!(
            self.allocator.free_frames(),
            model.framing.frames - model.out()
        );
        assert_eq!(self.allocator.pool().is_some(), model.present.is_some());
        for (pool, number) in &model.kept {
            assert_eq!(pool.waiting(), 0);
            let free = model.pools[*number].framing.frames - model.out_of(*number);
            assert_eq!(
                (pool.free_frames(), pool.framing()),
                (free, model.pools[*number].framing)
            );
        }
        model.held.iter().for_each(Held::check_ends);
    }
}

fn generation_of(allocator: &PoolAllocator) -> u64 {
    let pool = allocator.pool().expect("it is committed");
    pool.generation()
}

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let mut run = Run {
        allocator: PoolAllocator::new(),
        model: Model::new(),
    };
    // Most sequences begin with frames to acquire.
    if data.first().is_some_and(|first| first % 4 > 0) {
        run.apply(Operation::SetFraming(Framing::new(3, 64)));
        run.apply(Operation::Commit);
    }
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        let Ok(operation) = read_operation(&mut input) else {
            break;
        };
        run.apply(operation);
        run.check();
    }
    run.model.held.iter().for_each(Held::check);
    // Frames and handles outlive the allocator.
    let Run { allocator, model } = run;
    drop(allocator);
    model.held.iter().for_each(Held::check);
});
