//! The threads that do the work: pinned to cores, kept from sample to sample, started together.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::contender::{Contender, Task};
use crate::latencies::Latencies;
use crate::pool::Fault;

/// The most threads that a workload has.
pub(crate) const MOST_WORKERS: usize = 8;
/// How often to look again before another thread is let run.
const SPINS: u32 = 64;
/// After so long without a change, something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
    static TURN: Cell<usize> = const { Cell::new(0) };
}

/// The number of this thread in its crew.
#[inline(always)]
pub(crate) fn worker() -> usize {
    WORKER.get() % MOST_WORKERS
}

/// How often this thread has asked so far.
#[inline(always)]
pub(crate) fn next_turn() -> usize {
    let turn = TURN.get();
    TURN.set(turn.wrapping_add(1));
    turn
}

/// Asks until there is an answer: a few times at once, then letting other threads run in between, and
/// not for ever.
#[inline(always)]
pub(crate) fn spin_for<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    ask().or_else(|| keep_asking(ask))
}

#[cold]
#[inline(never)]
fn keep_asking<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..SPINS {
        std::hint::spin_loop();
        if let Some(answer) = ask() {
            return Some(answer);
        }
    }
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        for _ in 0..SPINS {
            thread::yield_now();
            if let Some(answer) = ask() {
                return Some(answer);
            }
        }
    }
    None
}

/// What one thread is to do.
struct Job<'env> {
    contender: &'env dyn Contender,
    task: Task,
    count: u64,
    /// Threads that are not ready yet.
    not_ready: Arc<AtomicUsize>,
}

struct Done {
    began: Instant,
    ended: Instant,
    latencies: Latencies,
    result: Result<(), Fault>,
}

/// Threads, each with an inbox.
pub(crate) struct Crew<'env> {
    inboxes: Vec<SyncSender<Job<'env>>>,
    done: Receiver<Done>,
}

impl<'env> Crew<'env> {
    pub(crate) fn new<'scope>(scope: &'scope Scope<'scope, 'env>, workers: usize) -> Self {
        assert!((1..=MOST_WORKERS).contains(&workers));
        let (to_main, done) = channel();
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let inboxes = (0..workers)
            .map(|number| {
                let (inbox, jobs) = sync_channel::<Job<'env>>(1);
                let to_main = to_main.clone();
                let core = (!cores.is_empty()).then(|| cores[number % cores.len()]);
                scope.spawn(move || {
                    // Where it may not be pinned, it runs where the system puts it.
                    let _pinned = core.is_some_and(core_affinity::set_for_current);
                    WORKER.set(number);
                    for job in jobs {
                        if to_main.send(work(&job, number)).is_err() {
                            break;
                        }
                    }
                });
                inbox
            })
            .collect();
        Self { inboxes, done }
    }

    /// Lets thread `n` do `tasks[n]`, `count` times, all at once; and says how long it took.
    pub(crate) fn run(
        &self,
        contender: &'env dyn Contender,
        tasks: &[Task],
        count: u64,
    ) -> Result<(Duration, Latencies), Fault> {
        let not_ready = Arc::new(AtomicUsize::new(tasks.len()));
        for (inbox, task) in self.inboxes.iter().zip(tasks) {
            let job = Job {
                contender,
                task: *task,
                count,
                not_ready: not_ready.clone(),
            };
            inbox.send(job).expect("the threads outlive the crew");
        }
        let mut latencies = Latencies::new();
        let mut span: Option<(Instant, Instant)> = None;
        let mut result = Ok(());
        for _ in tasks {
            let done = self.done.recv().expect("each thread answers");
            latencies.merge(&done.latencies);
            result = result.and(done.result);
            span = Some(span.map_or((done.began, done.ended), |(began, ended)| {
                (began.min(done.began), ended.max(done.ended))
            }));
        }
        result?;
        let (began, ended) = span.expect("there are threads");
        Ok((ended - began, latencies))
    }
}

fn work(job: &Job<'_>, number: usize) -> Done {
    job.contender.enter();
    job.not_ready.fetch_sub(1, Ordering::AcqRel);
    let ready = spin_for(|| (job.not_ready.load(Ordering::Acquire) == 0).then_some(()));
    let mut latencies = Latencies::new();
    let began = Instant::now();
    let mut run = || {
        job.contender
            .run(job.task, number, job.count, &mut latencies)
    };
    let result = match ready {
        // After a panic the program ends; nothing of what it left half done is used.
        Some(()) => catch_unwind(AssertUnwindSafe(&mut run)).unwrap_or(Err(Fault::Panicked)),
        None => Err(Fault::Stuck),
    };
    Done {
        began,
        ended: Instant::now(),
        latencies,
        result,
    }
}
