//! W8: a release wakes a thread that is blocked in an acquire. Measured is the time from the
//! release until the woken thread has the frame.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ks_allocator::{Frame, FramePool};

use crate::contender::Role;
use crate::ours::Ours;
use crate::table::{Samples, Table, rotated};
use crate::workers::spin_for;
use crate::workloads::{FRAME_SIZE, OURS, Setup};

const PARK: &str = "std::thread::park and unpark";
#[cfg(target_os = "linux")]
const LOWER_BOUND: &str = "bare futex";
#[cfg(not(target_os = "linux"))]
const LOWER_BOUND: &str = PARK;
/// Time in which a thread that is about to wait falls asleep.
const SLEEP_DELAY: Duration = Duration::from_micros(150);

/// A way to block one thread until another wakes it.
trait Wake: Send + Sync {
    /// Registers the calling thread as the one that waits.
    fn register(&self) {}
    /// Resets the state, so that the next `wait` blocks.
    fn reset(&self);
    /// Blocks until the other thread calls `wake`.
    fn wait(&self);
    /// Wakes the waiting thread.
    fn wake(&self);
}

/// A pool of one frame.
struct Pool {
    pool: FramePool,
    held: Mutex<Option<Frame>>,
}

impl Wake for Pool {
    fn reset(&self) {
        let mut held = self.held.lock().expect("no thread panics");
        if held.is_none() {
            *held = self.pool.try_acquire().ok();
        }
        assert!(held.is_some(), "{OURS}: the frame is not free");
    }

    fn wait(&self) {
        drop(self.pool.acquire().expect("the pool is open"));
    }

    fn wake(&self) {
        drop(self.held.lock().expect("no thread panics").take());
    }
}

#[derive(Default)]
struct Park {
    flag: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wake for Park {
    fn register(&self) {
        self.thread.get_or_init(thread::current);
    }

    fn reset(&self) {
        self.flag.store(false, Ordering::Release);
    }

    fn wait(&self) {
        while !self.flag.load(Ordering::Acquire) {
            thread::park();
        }
    }

    fn wake(&self) {
        self.flag.store(true, Ordering::Release);
        self.thread
            .get()
            .expect("the waiting thread has registered")
            .unpark();
    }
}

#[cfg(target_os = "linux")]
#[derive(Default)]
struct Futex(AtomicU32);

#[cfg(target_os = "linux")]
impl Wake for Futex {
    fn reset(&self) {
        self.0.store(0, Ordering::Release);
    }

    fn wait(&self) {
        use rustix::thread::futex;
        while self.0.load(Ordering::Acquire) == 0 {
            // An early return or an error is harmless: the loop reads the word again.
            let _ = futex::wait(&self.0, futex::Flags::PRIVATE, 0, None);
        }
    }

    fn wake(&self) {
        use rustix::thread::futex;
        self.0.store(1, Ordering::Release);
        futex::wake(&self.0, futex::Flags::PRIVATE, 1).expect("the address of the word is valid");
    }
}

#[derive(Default)]
struct Condition {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Condition {
    fn reset(&self) {
        *self.woken.lock().expect("no thread panics") = false;
    }

    fn wait(&self) {
        let woken = self.woken.lock().expect("no thread panics");
        let woken = self.changed.wait_while(woken, |woken| !*woken);
        drop(woken.expect("no thread panics"));
    }

    fn wake(&self) {
        *self.woken.lock().expect("no thread panics") = true;
        self.changed.notify_one();
    }
}

#[cfg(feature = "peers")]
struct Channel {
    sender: crossbeam_channel::Sender<usize>,
    receiver: crossbeam_channel::Receiver<usize>,
}

#[cfg(feature = "peers")]
impl Wake for Channel {
    fn reset(&self) {}

    fn wait(&self) {
        self.receiver.recv().expect("the sender is not dropped");
    }

    fn wake(&self) {
        self.sender.send(0).expect("the receiver is not dropped");
    }
}

#[cfg(feature = "peers")]
#[derive(Default)]
struct LotCondition {
    woken: parking_lot::Mutex<bool>,
    changed: parking_lot::Condvar,
}

#[cfg(feature = "peers")]
impl Wake for LotCondition {
    fn reset(&self) {
        *self.woken.lock() = false;
    }

    fn wait(&self) {
        let mut woken = self.woken.lock();
        self.changed.wait_while(&mut woken, |woken| !*woken);
    }

    fn wake(&self) {
        *self.woken.lock() = true;
        self.changed.notify_one();
    }
}

/// One way to wait, with its part in the comparison and its name.
type Entry = (Role, &'static str, Box<dyn Wake>);

fn contenders() -> Vec<Entry> {
    let pool = Pool {
        pool: Ours::new(1, FRAME_SIZE).0,
        held: Mutex::new(None),
    };
    vec![
        (Role::Ours, OURS, Box::new(pool)),
        #[cfg(target_os = "linux")]
        (Role::LowerBound, LOWER_BOUND, Box::new(Futex::default())),
        (Role::LowerBound, PARK, Box::new(Park::default())),
        (
            Role::SharedPeer,
            "std Mutex and Condvar",
            Box::new(Condition::default()),
        ),
        #[cfg(feature = "peers")]
        (
            Role::SharedPeer,
            "parking_lot Mutex and Condvar",
            Box::new(LotCondition::default()),
        ),
        #[cfg(feature = "peers")]
        (Role::SharedPeer, "crossbeam-channel, recv", {
            let (sender, receiver) = crossbeam_channel::bounded(1);
            Box::new(Channel { sender, receiver })
        }),
    ]
}

pub(super) fn run(setup: Setup) -> Result<Table, String> {
    let mut contenders = contenders();
    if setup.alone {
        contenders.retain(|(role, ..)| *role != Role::SharedPeer);
    }
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let mut samples: Vec<Samples> = Vec::new();
    samples.resize_with(contenders.len(), Samples::default);
    let waits = AtomicU32::new(0);

    thread::scope(|scope| {
        let (ask, asked) = sync_channel(1);
        let (answer, answered) = sync_channel(1);
        let (contenders, waits) = (&contenders, &waits);
        let waiter_core = cores.get(1).copied();
        scope.spawn(move || {
            let _pinned = waiter_core.is_some_and(core_affinity::set_for_current);
            wait_repeatedly(contenders, waits, &asked, &answer);
        });
        let waker_core = cores.first().copied();
        let samples = &mut samples;
        let waker = scope.spawn(move || {
            let _pinned = waker_core.is_some_and(core_affinity::set_for_current);
            let waiter = Waiter {
                waits,
                ask,
                answered,
            };
            wake_repeatedly(contenders, waiter, setup.rounds(300), samples)
        });
        waker
            .join()
            .unwrap_or_else(|_| Err("W8: the waking thread panicked".to_owned()))
    })?;
    let rows = contenders
        .iter()
        .zip(samples)
        .map(|((role, name, _), samples)| samples.into_row(name, *role, None))
        .collect();
    let title = "a release wakes a blocked acquire: time until the woken thread has the frame";
    Ok(Table::new("W8", title, LOWER_BOUND, rows))
}

/// Waits once for each index in `asked`, and answers with the time at which the wait ended.
fn wait_repeatedly(
    contenders: &[Entry],
    waits: &AtomicU32,
    asked: &Receiver<usize>,
    answer: &SyncSender<Instant>,
) {
    for index in asked {
        let contender = &contenders[index].2;
        contender.register();
        waits.fetch_add(1, Ordering::Release);
        contender.wait();
        if answer.send(Instant::now()).is_err() {
            break;
        }
    }
}

/// The waiting thread, as the waking thread sees it.
struct Waiter<'a> {
    /// Number of waits that have been started, or are just about to start.
    waits: &'a AtomicU32,
    ask: SyncSender<usize>,
    answered: Receiver<Instant>,
}

/// Wakes the waiting thread once per contender and round, and adds the times that it took to
/// `samples`.
fn wake_repeatedly(
    contenders: &[Entry],
    waiter: Waiter<'_>,
    rounds: usize,
    samples: &mut [Samples],
) -> Result<(), String> {
    let mut waits = 0;
    for round in 0..rounds {
        for index in rotated(round, contenders.len()) {
            let (_, name, contender) = &contenders[index];
            contender.reset();
            waiter
                .ask
                .send(index)
                .map_err(|_| "W8: the waiting thread ended".to_owned())?;
            waits += 1;
            spin_for(|| (waiter.waits.load(Ordering::Acquire) == waits).then_some(()))
                .ok_or_else(|| format!("W8: {name}: the waiting thread does not start to wait"))?;
            busy_wait(SLEEP_DELAY);
            let began = Instant::now();
            contender.wake();
            let woken = waiter.answered.recv_timeout(Duration::from_secs(5));
            let woken =
                woken.map_err(|_| format!("W8: {name}: the waiting thread did not wake"))?;
            samples[index].add((woken - began).as_secs_f64() * 1e9);
        }
    }
    Ok(())
}

/// Lets time pass without putting the core to sleep, which would slow down the code that follows.
fn busy_wait(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}
