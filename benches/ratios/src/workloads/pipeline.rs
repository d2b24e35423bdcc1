//! W9: three threads pass frames through two bounded channels. The first acquires a frame, and
//! waits if none is free; the last releases it. Each thread works on each frame for a while.
//!
//! The threads are not pinned to cores, because a pipeline that blocks leaves it to the system to
//! run the threads that have work.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use ks_allocator::{Frame, FramePool};

use crate::contender::{Contender, Role, Task};
use crate::latencies::Latencies;
use crate::ours::Ours;
use crate::pool::Fault;
use crate::table::{Plan, Table, measure};
use crate::workloads::{FRAME_SIZE, OURS, Setup};

const FRESH: &str = "a fresh Vec per frame";

pub(super) fn with_4_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W9-4", 4, 4, 0)
}

pub(super) fn with_8_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W9-8", 8, 8, 0)
}

pub(super) fn with_16_frames(setup: Setup) -> Result<Table, String> {
    run(setup, "W9-16", 16, 8, 0)
}

pub(super) fn with_2_us_of_work(setup: Setup) -> Result<Table, String> {
    run(setup, "W9-8-2us", 8, 8, 2_000)
}

pub(super) fn with_20_us_of_work(setup: Setup) -> Result<Table, String> {
    run(setup, "W9-8-20us", 8, 8, 20_000)
}

fn run(
    setup: Setup,
    id: &'static str,
    frames: usize,
    capacity: usize,
    work: u32,
) -> Result<Table, String> {
    let plan = Plan {
        id,
        title: format!(
            "three threads, two channels of {capacity}, {frames} frames, {work} ns of work per \
             thread and frame: elapsed time per frame"
        ),
        tasks: vec![Task::Stage; 3],
        pinned: false,
        frames_at_once: 1,
        sample: setup.sample(10_000),
        rounds: setup.rounds(60),
        lower_bound: FRESH,
    };
    measure(&plan, &contenders(setup, frames, capacity, work))
}

fn contenders(setup: Setup, frames: usize, capacity: usize, work: u32) -> Vec<Box<dyn Contender>> {
    let steps = steps_in(work);
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        Pipeline::boxed(Role::LowerBound, FRESH, Fresh, capacity, steps),
        Pipeline::boxed(
            Role::Ours,
            OURS,
            Ours::new(frames, FRAME_SIZE).0,
            capacity,
            steps,
        ),
    ];
    if !setup.alone {
        contenders.extend(peers(frames, capacity, steps));
    }
    contenders
}

fn peers(frames: usize, capacity: usize, steps: u64) -> Vec<Box<dyn Contender>> {
    let std = Condition {
        free: Mutex::new(boxes(frames)),
        released: Condvar::new(),
    };
    vec![
        peer("std Mutex<Vec> and Condvar", std, capacity, steps),
        #[cfg(feature = "peers")]
        {
            let lot = LotCondition {
                free: parking_lot::Mutex::new(boxes(frames)),
                released: parking_lot::Condvar::new(),
            };
            peer("parking_lot Mutex<Vec> and Condvar", lot, capacity, steps)
        },
        #[cfg(feature = "peers")]
        {
            let (sender, receiver) = crossbeam_channel::bounded(frames);
            for frame in boxes(frames) {
                sender.send(frame).expect("the receiver is not dropped");
            }
            let channel = Channel { sender, receiver };
            peer("crossbeam-channel, recv", channel, capacity, steps)
        },
    ]
}

fn peer(name: &'static str, pool: impl Source, capacity: usize, steps: u64) -> Box<dyn Contender> {
    Pipeline::boxed(Role::SharedPeer, name, pool, capacity, steps)
}

/// Source of frames in which a thread can wait for a free one.
trait Source: Sync + Send + 'static {
    type Frame: Send + 'static;

    /// Acquires a frame, and waits until one is free. Returns `None` if that cannot be.
    fn acquire(&self) -> Option<Self::Frame>;

    /// Releases a frame.
    fn release(&self, frame: Self::Frame) {
        drop(frame);
    }

    /// Returns the first 8 bytes of a frame.
    fn start(frame: &mut Self::Frame) -> Option<&mut [u8; 8]>;
}

impl Source for FramePool {
    type Frame = Frame;

    #[inline(always)]
    fn acquire(&self) -> Option<Frame> {
        FramePool::acquire(self).ok()
    }

    #[inline(always)]
    fn start(frame: &mut Frame) -> Option<&mut [u8; 8]> {
        frame.first_chunk_mut()
    }
}

/// No pool, but a new, uninitialized `Vec` per frame. Only the channels bound the number of frames.
struct Fresh;

impl Source for Fresh {
    type Frame = Vec<u8>;

    #[inline(always)]
    fn acquire(&self) -> Option<Vec<u8>> {
        let mut frame = Vec::with_capacity(FRAME_SIZE);
        frame.extend_from_slice(&[0; 8]);
        Some(frame)
    }

    #[inline(always)]
    fn start(frame: &mut Vec<u8>) -> Option<&mut [u8; 8]> {
        frame.first_chunk_mut()
    }
}

type Boxed = Box<[u8]>;

fn boxes(frames: usize) -> Vec<Boxed> {
    (0..frames).map(|_| vec![0; FRAME_SIZE].into()).collect()
}

struct Condition {
    free: Mutex<Vec<Boxed>>,
    released: Condvar,
}

impl Source for Condition {
    type Frame = Boxed;

    #[inline(always)]
    fn acquire(&self) -> Option<Boxed> {
        let free = self.free.lock().expect("no thread panics");
        let waited = self.released.wait_while(free, |free| free.is_empty());
        waited.expect("no thread panics").pop()
    }

    #[inline(always)]
    fn release(&self, frame: Boxed) {
        self.free.lock().expect("no thread panics").push(frame);
        self.released.notify_one();
    }

    #[inline(always)]
    fn start(frame: &mut Boxed) -> Option<&mut [u8; 8]> {
        frame.first_chunk_mut()
    }
}

#[cfg(feature = "peers")]
struct LotCondition {
    free: parking_lot::Mutex<Vec<Boxed>>,
    released: parking_lot::Condvar,
}

#[cfg(feature = "peers")]
impl Source for LotCondition {
    type Frame = Boxed;

    #[inline(always)]
    fn acquire(&self) -> Option<Boxed> {
        let mut free = self.free.lock();
        self.released.wait_while(&mut free, |free| free.is_empty());
        free.pop()
    }

    #[inline(always)]
    fn release(&self, frame: Boxed) {
        self.free.lock().push(frame);
        self.released.notify_one();
    }

    #[inline(always)]
    fn start(frame: &mut Boxed) -> Option<&mut [u8; 8]> {
        frame.first_chunk_mut()
    }
}

#[cfg(feature = "peers")]
struct Channel {
    sender: crossbeam_channel::Sender<Boxed>,
    receiver: crossbeam_channel::Receiver<Boxed>,
}

#[cfg(feature = "peers")]
impl Source for Channel {
    type Frame = Boxed;

    #[inline(always)]
    fn acquire(&self) -> Option<Boxed> {
        self.receiver.recv().ok()
    }

    #[inline(always)]
    fn release(&self, frame: Boxed) {
        let sent = self.sender.send(frame);
        debug_assert!(sent.is_ok(), "the receiver is not dropped");
    }

    #[inline(always)]
    fn start(frame: &mut Boxed) -> Option<&mut [u8; 8]> {
        frame.first_chunk_mut()
    }
}

/// Channel between two stages. `None` means that the source has failed, and sends nothing more.
struct Link<T> {
    sender: SyncSender<Option<T>>,
    /// The receiving stage holds the lock during a sample.
    receiver: Mutex<Receiver<Option<T>>>,
}

impl<T> Link<T> {
    fn new(capacity: usize) -> Self {
        let (sender, receiver) = sync_channel(capacity);
        let receiver = Mutex::new(receiver);
        Self { sender, receiver }
    }

    #[inline(always)]
    fn send(&self, frame: Option<T>) -> Result<(), Fault> {
        self.sender.send(frame).map_err(|_| Fault::Stuck)
    }

    /// Calls `handle` with each of the next `count` frames, or with fewer if the source fails.
    #[inline(always)]
    fn receive(
        &self,
        count: u64,
        mut handle: impl FnMut(u64, T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        for n in 0..count {
            match receiver.recv() {
                Ok(Some(frame)) => handle(n, frame)?,
                Ok(None) | Err(_) => return Err(Fault::Empty),
            }
        }
        Ok(())
    }
}

/// A pool, and the channels between the threads.
struct Pipeline<S: Source> {
    role: Role,
    name: &'static str,
    source: S,
    links: [Link<S::Frame>; 2],
    /// Steps of work per thread and frame.
    steps: u64,
}

impl<S: Source> Pipeline<S> {
    fn boxed(
        role: Role,
        name: &'static str,
        source: S,
        capacity: usize,
        steps: u64,
    ) -> Box<dyn Contender> {
        Box::new(Self {
            role,
            name,
            source,
            links: [Link::new(capacity), Link::new(capacity)],
            steps,
        })
    }

    /// Acquires frames and writes to them.
    #[inline(never)]
    fn produce(&self, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            let frame = self.source.acquire().and_then(|mut frame| {
                *S::start(&mut frame)? = n.to_ne_bytes();
                Some(frame)
            });
            work(self.steps);
            let failed = frame.is_none();
            self.links[0].send(frame)?;
            if failed {
                return Err(Fault::Empty);
            }
        }
        Ok(())
    }

    /// Inverts the content of frames.
    #[inline(never)]
    fn filter(&self, count: u64) -> Result<(), Fault> {
        let passed = self.links[0].receive(count, |_, mut frame| {
            if let Some(start) = S::start(&mut frame) {
                *start = (!u64::from_ne_bytes(*start)).to_ne_bytes();
            }
            work(self.steps);
            self.links[1].send(Some(frame))
        });
        if passed.is_err() {
            self.links[1].send(None)?;
        }
        passed
    }

    /// Compares the content of frames with what it should be, and releases them. Does not stop at
    /// the first difference, because the other threads would then wait without an end.
    #[inline(never)]
    fn consume(&self, count: u64) -> Result<(), Fault> {
        let mut result = Ok(());
        self.links[1].receive(count, |n, mut frame| {
            let found = S::start(&mut frame).map_or(0, |start| u64::from_ne_bytes(*start));
            if found != !n {
                let wrote = !n;
                result = Err(Fault::Overwritten { wrote, found });
            }
            work(self.steps);
            self.source.release(frame);
            Ok(())
        })?;
        result
    }
}

impl<S: Source> Contender for Pipeline<S> {
    fn name(&self) -> &str {
        self.name
    }

    fn role(&self) -> Role {
        self.role
    }

    fn prepare_thread(&self) {}

    fn run(&self, task: Task, worker: usize, count: u64, _: &mut Latencies) -> Result<(), Fault> {
        match (task, worker) {
            // The last stage checks the frames.
            (Task::Verify, _) => Ok(()),
            (Task::Stage, 0) => self.produce(count),
            (Task::Stage, 1) => self.filter(count),
            (Task::Stage, 2) => self.consume(count),
            _ => unreachable!("a pipeline has three stages"),
        }
    }
}

/// Keeps the processor busy for `steps` steps, each of which depends on the one before. Unlike a
/// loop that watches a clock, it does no work while the thread is not running.
#[inline(always)]
fn work(steps: u64) {
    let mut value = 1_u64;
    for _ in 0..steps {
        value = black_box(value.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
    }
}

/// Returns the number of steps that take `nanoseconds` on a core that does nothing else.
fn steps_in(nanoseconds: u32) -> u64 {
    const STEPS: u64 = 20_000;
    static PER_NANOSECOND: OnceLock<f64> = OnceLock::new();
    let per_nanosecond = PER_NANOSECOND.get_or_init(|| {
        let measure = |_| {
            let began = Instant::now();
            work(STEPS);
            began.elapsed().as_secs_f64() * 1e9
        };
        STEPS as f64 / (0..100).map(measure).fold(f64::INFINITY, f64::min)
    });
    (f64::from(nanoseconds) * per_nanosecond).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faulty pool whose frames lose their content.
    struct Forgetful;

    impl Source for Forgetful {
        type Frame = ();

        fn acquire(&self) -> Option<()> {
            Some(())
        }

        fn start((): &mut ()) -> Option<&mut [u8; 8]> {
            Some(Box::leak(Box::default()))
        }
    }

    /// Faulty pool that has no frame.
    struct Empty;

    impl Source for Empty {
        type Frame = Boxed;

        fn acquire(&self) -> Option<Boxed> {
            None
        }

        fn start(frame: &mut Boxed) -> Option<&mut [u8; 8]> {
            frame.first_chunk_mut()
        }
    }

    fn error_of(source: impl Source) -> String {
        let plan = Plan {
            id: "W0",
            title: String::new(),
            tasks: vec![Task::Stage; 3],
            pinned: false,
            frames_at_once: 1,
            sample: std::time::Duration::from_millis(1),
            rounds: 1,
            lower_bound: "",
        };
        let pipeline = Pipeline::boxed(Role::SharedPeer, "faulty", source, 4, 0);
        measure(&plan, &[pipeline]).unwrap_err()
    }

    #[test]
    fn a_pipeline_ends_if_its_pool_is_faulty() {
        let error = error_of(Forgetful);
        assert!(error.contains("overwrote a frame"), "{error}");
        let error = error_of(Empty);
        assert!(error.contains("handed out no frame"), "{error}");
    }
}
