//! Speed of the pool: frames per second and nanoseconds per frame, beside a lock-free queue of
//! frame numbers, a stack of boxes in a mutex, and a new allocation per frame.
//!
//! `cargo bench`
//!
//! All contenders are measured in turn, in many short samples, so that a disturbance of the machine
//! affects all of them alike. The threads are pinned to cores, where the system allows it.

#![expect(clippy::print_stdout, reason = "prints its result")]
#![expect(
    clippy::disallowed_types,
    reason = "the peers use the types of std and parking_lot directly"
)]

#[path = "common/samples.rs"]
mod samples;

use std::env;
use std::hint::black_box;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::Backoff;
use ks_allocator::{Frame, FrameBatch, FramePool};
use parking_lot::Mutex;

use samples::{Summary, take_in_turn};

const FRAME_SIZE: usize = 4096;
/// Capacity of the queue from hand to hand, in frames.
const QUEUE_CAPACITY: usize = 32;
/// Number of frames per burst.
const BURST: usize = 32;
/// Intended duration of a sample.
const SAMPLE: Duration = Duration::from_millis(2);
/// Number of samples of each contender and workload.
const ROUNDS: usize = 300;

fn main() {
    // `cargo bench` passes `--bench`. Without it this is a test, which runs everything once.
    let is_bench = env::args().any(|argument| argument == "--bench");
    let rounds = if is_bench { ROUNDS } else { 1 };
    if is_bench {
        println!("measuring for about 20 seconds");
    }
    let threads = Threads::start();
    let mut titles = Vec::new();
    let mut measurements: Vec<Box<dyn Fn() -> f64 + '_>> = Vec::new();
    for workload in &WORKLOADS {
        for (name, contender) in contenders(workload.frames) {
            let (threads, tasks) = (&threads, workload.tasks);
            let count = if is_bench {
                threads.calibrate(contender, tasks)
            } else {
                1
            };
            let frames = (count * workload.frames_at_once) as f64;
            titles.push((workload.title, name));
            measurements.push(Box::new(move || {
                threads.run(contender, tasks, count).as_secs_f64() * 1e9 / frames
            }));
        }
    }
    println!("{HEADING}");
    let mut last_title = "";
    for ((title, name), summary) in titles.iter().zip(take_in_turn(rounds, &measurements)) {
        if *title != last_title {
            println!("\n{title}");
            last_title = title;
        }
        print_row(name, &summary);
    }
    println!("{LEGEND}");
}

const HEADING: &str = "
                                      ns per frame            million
                                   median    minimum    frames per second";

const LEGEND: &str = "
The frames have 4 KiB. ArrayQueue<usize> manages only numbers of frames. A fresh Vec is not zeroed,
and nothing bounds the number of frames. Frames per second are those of the median.
More workloads and peers: benches/README.md";

fn print_row(name: &str, summary: &Summary) {
    let Summary { median, minimum } = summary;
    let millions = 1e3 / median;
    println!("  {name:30} {median:>8.1} {minimum:>10.1} {millions:>14.2}");
}

/// Work of one thread in a sample.
#[derive(Clone, Copy)]
enum Task {
    /// Acquire a frame, write to it, release it.
    RoundTrip,
    /// Acquire [`BURST`] frames, write to them, release them.
    Burst,
    /// Acquire a frame, write to it, send it to the other thread.
    Send,
    /// Receive a frame from the other thread, release it.
    Receive,
}

struct Workload {
    title: &'static str,
    frames: usize,
    /// Task of each thread.
    tasks: &'static [Task],
    /// Number of frames that are acquired and released when each thread does its task once.
    frames_at_once: u64,
}

const WORKLOADS: [Workload; 5] = [
    Workload {
        title: "one thread, 64 frames: acquire, write 8 bytes, release",
        frames: 64,
        tasks: &[Task::RoundTrip],
        frames_at_once: 1,
    },
    Workload {
        title: "two threads, 64 frames: the same, at the same time",
        frames: 64,
        tasks: &[Task::RoundTrip, Task::RoundTrip],
        frames_at_once: 2,
    },
    Workload {
        title: "hand to hand, 8 frames: one thread acquires and writes, another releases",
        frames: 8,
        tasks: &[Task::Send, Task::Receive],
        frames_at_once: 1,
    },
    Workload {
        title: "hand to hand, 64 frames",
        frames: 64,
        tasks: &[Task::Send, Task::Receive],
        frames_at_once: 1,
    },
    Workload {
        title: "bursts, 64 frames: acquire 32 at once, write to each, release them",
        frames: 64,
        tasks: &[Task::Burst],
        frames_at_once: BURST as u64,
    },
];

/// A contender, which the threads use until the program ends.
type Shared = &'static (dyn Contender + Sync);

/// Returns the contenders with their names.
fn contenders(frames: usize) -> [(&'static str, Shared); 4] {
    let pool = FramePool::builder().frames(frames).frame_size(FRAME_SIZE);
    let pool = pool.build().expect("256 KiB of memory are free");
    let stack = (0..frames).map(|_| vec![0; FRAME_SIZE].into()).collect();
    [
        ("ks-allocator", entry(pool)),
        ("ArrayQueue<usize>", entry(Numbers::new(frames))),
        ("parking_lot Mutex<Vec>", entry(Stack(Mutex::new(stack)))),
        ("a fresh Vec per frame", entry(Fresh)),
    ]
}

/// Source of frames.
trait Supply: Sync + 'static {
    type Item: Send;

    /// Acquires a frame. Returns `None` if none is free.
    fn get(&self) -> Option<Self::Item>;

    /// Releases a frame.
    fn put(&self, item: Self::Item);

    /// Writes the first 8 bytes of a frame.
    fn touch(&self, item: &mut Self::Item);

    /// Acquires frames until `held` has [`BURST`] of them.
    fn get_burst(&self, held: &mut Vec<Self::Item>) {
        while held.len() < BURST {
            held.extend(self.get());
        }
    }

    /// Releases all frames in `held`.
    fn put_burst(&self, held: &mut Vec<Self::Item>) {
        for item in held.drain(..) {
            self.put(item);
        }
    }
}

impl Supply for FramePool {
    type Item = Frame;

    fn get(&self) -> Option<Frame> {
        self.try_acquire().ok()
    }

    fn put(&self, frame: Frame) {
        drop(frame);
    }

    fn touch(&self, frame: &mut Frame) {
        touch(frame);
    }

    fn get_burst(&self, held: &mut Vec<Frame>) {
        while held.len() < BURST {
            held.extend(
                self.try_acquire_many(BURST - held.len())
                    .into_iter()
                    .flatten(),
            );
        }
    }

    fn put_burst(&self, held: &mut Vec<Frame>) {
        let mut batch: Option<FrameBatch> = None;
        for frame in held.drain(..) {
            match &mut batch {
                Some(batch) => drop(batch.push(frame)),
                None => batch = Some(frame.into()),
            }
        }
    }
}

/// Queue of the numbers of frames, and the frames. Their distance is a cache line more than their
/// size, as in the pool.
struct Numbers {
    free: ArrayQueue<usize>,
    memory: Vec<AtomicU64>,
}

impl Numbers {
    const DISTANCE: usize = (FRAME_SIZE + 64) / 8;

    fn new(frames: usize) -> Self {
        let free = ArrayQueue::new(frames);
        (0..frames).for_each(|number| {
            free.push(number)
                .expect("the queue has room for all frames");
        });
        let memory = iter::repeat_with(AtomicU64::default);
        let memory = memory.take(frames * Self::DISTANCE).collect();
        Self { free, memory }
    }
}

impl Supply for Numbers {
    type Item = usize;

    fn get(&self) -> Option<usize> {
        self.free.pop()
    }

    fn put(&self, number: usize) {
        assert!(
            self.free.push(number).is_ok(),
            "the queue has room for every frame that was out"
        );
    }

    fn touch(&self, number: &mut usize) {
        self.memory[*number * Self::DISTANCE].store(black_box(7), Ordering::Relaxed);
    }
}

/// Stack of boxes in a mutex. It is locked once per burst.
struct Stack(Mutex<Vec<Box<[u8]>>>);

impl Supply for Stack {
    type Item = Box<[u8]>;

    fn get(&self) -> Option<Box<[u8]>> {
        self.0.lock().pop()
    }

    fn put(&self, item: Box<[u8]>) {
        self.0.lock().push(item);
    }

    fn touch(&self, item: &mut Box<[u8]>) {
        touch(item);
    }

    fn get_burst(&self, held: &mut Vec<Box<[u8]>>) {
        let mut free = self.0.lock();
        let kept = free.len().saturating_sub(BURST);
        held.extend(free.drain(kept..));
    }

    fn put_burst(&self, held: &mut Vec<Box<[u8]>>) {
        self.0.lock().append(held);
    }
}

/// No pool, but a new, uninitialized allocation per frame.
struct Fresh;

impl Supply for Fresh {
    type Item = Vec<u8>;

    fn get(&self) -> Option<Vec<u8>> {
        Some(Vec::with_capacity(FRAME_SIZE))
    }

    fn put(&self, item: Vec<u8>) {
        drop(item);
    }

    fn touch(&self, item: &mut Vec<u8>) {
        item.extend_from_slice(&black_box(7_u64).to_ne_bytes());
        black_box(item);
    }
}

/// Writes the first 8 bytes of a frame.
fn touch(bytes: &mut [u8]) {
    if let Some(start) = bytes.first_chunk_mut() {
        *start = black_box(7_u64).to_ne_bytes();
    }
    black_box(bytes);
}

/// A source of frames, with the loops that all of them run.
trait Contender {
    /// Does `task` `count` times.
    fn run(&self, task: Task, count: u64);
}

struct Entry<S: Supply> {
    supply: S,
    queue: ArrayQueue<S::Item>,
}

fn entry<S: Supply>(supply: S) -> Shared {
    let queue = ArrayQueue::new(QUEUE_CAPACITY);
    Box::leak(Box::new(Entry { supply, queue }))
}

impl<S: Supply> Entry<S> {
    #[inline(never)]
    fn round_trips(&self, count: u64) {
        for _ in 0..count {
            let mut item = spin_for(|| self.supply.get());
            self.supply.touch(&mut item);
            self.supply.put(item);
        }
    }

    #[inline(never)]
    fn bursts(&self, count: u64) {
        let mut held = Vec::with_capacity(BURST);
        for _ in 0..count {
            self.supply.get_burst(&mut held);
            for item in &mut held {
                self.supply.touch(item);
            }
            self.supply.put_burst(&mut held);
        }
    }

    #[inline(never)]
    fn send(&self, count: u64) {
        for _ in 0..count {
            let mut item = spin_for(|| self.supply.get());
            self.supply.touch(&mut item);
            let mut item = Some(item);
            spin_for(|| {
                let refused = self.queue.push(item.take()?);
                refused.map_err(|back| item = Some(back)).ok()
            });
        }
    }

    #[inline(never)]
    fn receive(&self, count: u64) {
        for _ in 0..count {
            self.supply.put(spin_for(|| self.queue.pop()));
        }
    }
}

impl<S: Supply> Contender for Entry<S> {
    fn run(&self, task: Task, count: u64) {
        match task {
            Task::RoundTrip => self.round_trips(count),
            Task::Burst => self.bursts(count),
            Task::Send => self.send(count),
            Task::Receive => self.receive(count),
        }
    }
}

/// Work of one thread for one sample.
struct Job {
    contender: Shared,
    task: Task,
    count: u64,
    /// Number of threads that are not ready yet.
    not_ready: Arc<AtomicUsize>,
}

/// Two threads, each with an inbox. They live as long as the program.
struct Threads {
    inboxes: [SyncSender<Job>; 2],
    done: Receiver<(Instant, Instant)>,
}

impl Threads {
    fn start() -> Self {
        let (to_main, done) = sync_channel(2);
        let inboxes = [0, 1].map(|index| {
            let (inbox, jobs) = sync_channel::<Job>(1);
            let to_main = to_main.clone();
            thread::spawn(move || {
                pin_to_core(index);
                for job in jobs {
                    if to_main.send(work(&job)).is_err() {
                        break;
                    }
                }
            });
            inbox
        });
        Self { inboxes, done }
    }

    /// Has thread `n` do `tasks[n]` `count` times, all threads at the same time. Returns the time
    /// from the first start to the last end.
    fn run(&self, contender: Shared, tasks: &[Task], count: u64) -> Duration {
        let not_ready = Arc::new(AtomicUsize::new(tasks.len()));
        for (inbox, task) in self.inboxes.iter().zip(tasks) {
            let job = Job {
                contender,
                task: *task,
                count,
                not_ready: not_ready.clone(),
            };
            inbox.send(job).expect("no task panics");
        }
        let receive = |_| self.done.recv().expect("no task panics");
        let times: Vec<_> = tasks.iter().map(receive).collect();
        let began = times.iter().map(|(began, _)| *began).min();
        let ended = times.iter().map(|(_, ended)| *ended).max();
        let span = began.zip(ended);
        span.map_or(Duration::ZERO, |(began, ended)| ended - began)
    }

    /// Returns the count with which a sample takes about [`SAMPLE`].
    fn calibrate(&self, contender: Shared, tasks: &[Task]) -> u64 {
        let mut count = 64;
        loop {
            let took = self.run(contender, tasks, count);
            if took * 4 >= SAMPLE {
                let wanted = u128::from(count) * SAMPLE.as_nanos() / took.as_nanos().max(1);
                return u64::try_from(wanted).map_or(count, |wanted| wanted.max(1));
            }
            count *= 4;
        }
    }
}

/// Does a job, as soon as the other thread has one too. Returns when it began and ended.
fn work(job: &Job) -> (Instant, Instant) {
    job.not_ready.fetch_sub(1, Ordering::AcqRel);
    spin_for(|| (job.not_ready.load(Ordering::Acquire) == 0).then_some(()));
    let began = Instant::now();
    job.contender.run(job.task, job.count);
    (began, Instant::now())
}

/// Calls `poll` until it returns a value. Between calls it spins, or yields to other threads.
#[inline(always)]
fn spin_for<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let backoff = Backoff::new();
    loop {
        match poll() {
            Some(value) => return value,
            None => backoff.snooze(),
        }
    }
}

/// Has the calling thread run only on one of the cores that the program may use.
#[cfg(target_os = "linux")]
fn pin_to_core(index: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|core| allowed.is_set(*core))
        .collect();
    if let Some(core) = cores.get(index % cores.len().max(1)) {
        let mut only = CpuSet::new();
        only.set(*core);
        // If that is not allowed, the system places the thread.
        let _ignored = sched_setaffinity(None, &only);
    }
}

#[cfg(not(target_os = "linux"))]
fn pin_to_core(_: usize) {}
