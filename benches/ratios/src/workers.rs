//! Worker threads: pinned to cores, reused from sample to sample, started together.

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

/// Maximum number of threads of a workload.
pub(crate) const MAX_WORKERS: usize = 8;
/// Number of polls between two yields to other threads.
const SPINS: u32 = 64;
/// Time after which [`spin_for`] gives up.
const TIMEOUT: Duration = Duration::from_secs(5);

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
    static SEQUENCE: Cell<usize> = const { Cell::new(0) };
}

/// Returns the index of the calling thread among the workers.
#[inline(always)]
pub(crate) fn index() -> usize {
    INDEX.get() % MAX_WORKERS
}

/// Returns how often the calling thread has called this function before.
#[inline(always)]
pub(crate) fn next_sequence() -> usize {
    let sequence = SEQUENCE.get();
    SEQUENCE.set(sequence.wrapping_add(1));
    sequence
}

/// Calls `poll` until it returns a value: first in a busy loop, then yielding to other threads.
/// Returns `None` after [`TIMEOUT`].
#[inline(always)]
pub(crate) fn spin_for<T>(mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    poll().or_else(|| spin_for_slow(poll))
}

#[cold]
#[inline(never)]
fn spin_for_slow<T>(mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..SPINS {
        std::hint::spin_loop();
        if let Some(value) = poll() {
            return Some(value);
        }
    }
    let began = Instant::now();
    while began.elapsed() < TIMEOUT {
        for _ in 0..SPINS {
            thread::yield_now();
            if let Some(value) = poll() {
                return Some(value);
            }
        }
    }
    None
}

/// Work of one thread for one sample.
struct Job<'env> {
    contender: &'env dyn Contender,
    task: Task,
    count: u64,
    /// Number of threads that are not ready yet.
    not_ready: Arc<AtomicUsize>,
}

/// Result of a job.
struct Done {
    began: Instant,
    ended: Instant,
    latencies: Latencies,
    result: Result<(), Fault>,
}

/// The worker threads, each with an inbox.
pub(crate) struct Workers<'env> {
    inboxes: Vec<SyncSender<Job<'env>>>,
    done: Receiver<Done>,
}

impl<'env> Workers<'env> {
    /// Starts `count` threads in `scope`. If `pinned`, each stays on a core; else the system moves
    /// them as it does the threads of any program.
    pub(crate) fn new<'scope>(
        scope: &'scope Scope<'scope, 'env>,
        count: usize,
        pinned: bool,
    ) -> Self {
        assert!((1..=MAX_WORKERS).contains(&count));
        let (to_main, done) = channel();
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let inboxes = (0..count)
            .map(|index| {
                let (inbox, jobs) = sync_channel::<Job<'env>>(1);
                let to_main = to_main.clone();
                let core = (pinned && !cores.is_empty()).then(|| cores[index % cores.len()]);
                scope.spawn(move || {
                    // If pinning is not allowed, the system places the thread.
                    let _pinned = core.is_some_and(core_affinity::set_for_current);
                    INDEX.set(index);
                    for job in jobs {
                        if to_main.send(work(&job, index)).is_err() {
                            break;
                        }
                    }
                });
                inbox
            })
            .collect();
        Self { inboxes, done }
    }

    /// Has thread `n` do `tasks[n]` `count` times, all threads at the same time. Returns the time
    /// from the first start to the last end.
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
            inbox
                .send(job)
                .expect("the threads run until their inboxes are dropped");
        }
        let mut latencies = Latencies::new();
        let mut span: Option<(Instant, Instant)> = None;
        let mut result = Ok(());
        for _ in tasks {
            let done = self
                .done
                .recv()
                .expect("each thread sends one result per job");
            latencies.merge(&done.latencies);
            result = result.and(done.result);
            span = Some(span.map_or((done.began, done.ended), |(began, ended)| {
                (began.min(done.began), ended.max(done.ended))
            }));
        }
        result?;
        let (began, ended) = span.expect("a workload has at least one task");
        Ok((ended - began, latencies))
    }
}

fn work(job: &Job<'_>, index: usize) -> Done {
    job.contender.prepare_thread();
    job.not_ready.fetch_sub(1, Ordering::AcqRel);
    let ready = spin_for(|| (job.not_ready.load(Ordering::Acquire) == 0).then_some(()));
    let mut latencies = Latencies::new();
    let began = Instant::now();
    let mut run = || {
        job.contender
            .run(job.task, index, job.count, &mut latencies)
    };
    let result = match ready {
        // Unwind safe: after a panic the program ends without using what the job left half done.
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
