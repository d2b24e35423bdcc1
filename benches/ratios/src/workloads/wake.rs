//! W8: a release wakes a thread that waits in an acquire. From the release to the moment when the other
//! thread has its frame.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ks_allocator::{Frame, FramePool};

use crate::contender::Role;
use crate::crew::spin_for;
use crate::ours::Ours;
use crate::table::{Samples, Table, in_turn};
use crate::workloads::{FRAME_SIZE, OURS, Setup};

const PARK: &str = "std::thread::park, unpark";
#[cfg(target_os = "linux")]
const FLOOR: &str = "futex, bare";
#[cfg(not(target_os = "linux"))]
const FLOOR: &str = PARK;
/// After this a thread that said it would wait does so, asleep.
const FALLING_ASLEEP: Duration = Duration::from_micros(150);

/// One thread's wait, and the other's end to it.
trait Wake: Send + Sync {
    /// Handoff by the thread that will wait, once.
    fn enter(&self) {}
    /// Puts it back to where a wait really waits.
    fn arm(&self);
    /// Waits.
    fn wait(&self);
    /// Ends the wait.
    fn wake(&self);
}

/// A pool of one frame.
struct Pool {
    pool: FramePool,
    held: Mutex<Option<Frame>>,
}

impl Wake for Pool {
    fn arm(&self) {
        let mut held = self.held.lock().expect("nobody panics");
        if held.is_none() {
            *held = self.pool.try_acquire().ok();
        }
        assert!(held.is_some(), "{OURS}: the frame is back");
    }

    fn wait(&self) {
        drop(self.pool.acquire().expect("the pool is open"));
    }

    fn wake(&self) {
        drop(self.held.lock().expect("nobody panics").take());
    }
}

#[derive(Default)]
struct Park {
    flag: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wake for Park {
    fn enter(&self) {
        self.thread.get_or_init(thread::current);
    }

    fn arm(&self) {
        self.flag.store(false, Ordering::Release);
    }

    fn wait(&self) {
        while !self.flag.load(Ordering::Acquire) {
            thread::park();
        }
    }

    fn wake(&self) {
        self.flag.store(true, Ordering::Release);
        self.thread.get().expect("it has entered").unpark();
    }
}

#[cfg(target_os = "linux")]
#[derive(Default)]
struct Futex(AtomicU32);

#[cfg(target_os = "linux")]
impl Wake for Futex {
    fn arm(&self) {
        self.0.store(0, Ordering::Release);
    }

    fn wait(&self) {
        use rustix::thread::futex;
        while self.0.load(Ordering::Acquire) == 0 {
            // It may end early, or not begin: the word decides.
            let _ = futex::wait(&self.0, futex::Flags::PRIVATE, 0, None);
        }
    }

    fn wake(&self) {
        use rustix::thread::futex;
        self.0.store(1, Ordering::Release);
        futex::wake(&self.0, futex::Flags::PRIVATE, 1).expect("the word is there");
    }
}

#[derive(Default)]
struct Condition {
    there: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Condition {
    fn arm(&self) {
        *self.there.lock().expect("nobody panics") = false;
    }

    fn wait(&self) {
        let there = self.there.lock().expect("nobody panics");
        let there = self.changed.wait_while(there, |there| !*there);
        drop(there.expect("nobody panics"));
    }

    fn wake(&self) {
        *self.there.lock().expect("nobody panics") = true;
        self.changed.notify_one();
    }
}

#[cfg(feature = "peers")]
struct Channel {
    to: crossbeam_channel::Sender<usize>,
    from: crossbeam_channel::Receiver<usize>,
}

#[cfg(feature = "peers")]
impl Wake for Channel {
    fn arm(&self) {}

    fn wait(&self) {
        self.from.recv().expect("the sender lives");
    }

    fn wake(&self) {
        self.to.send(0).expect("the receiver lives");
    }
}

#[cfg(feature = "peers")]
#[derive(Default)]
struct LotCondition {
    there: parking_lot::Mutex<bool>,
    changed: parking_lot::Condvar,
}

#[cfg(feature = "peers")]
impl Wake for LotCondition {
    fn arm(&self) {
        *self.there.lock() = false;
    }

    fn wait(&self) {
        let mut there = self.there.lock();
        self.changed.wait_while(&mut there, |there| !*there);
    }

    fn wake(&self) {
        *self.there.lock() = true;
        self.changed.notify_one();
    }
}

fn contenders() -> Vec<(Role, &'static str, Box<dyn Wake>)> {
    let pool = Pool {
        pool: Ours::new(1, FRAME_SIZE).0,
        held: Mutex::new(None),
    };
    vec![
        (Role::Ours, OURS, Box::new(pool)),
        #[cfg(target_os = "linux")]
        (Role::Floor, FLOOR, Box::new(Futex::default())),
        (Role::Floor, PARK, Box::new(Park::default())),
        (
            Role::Shared,
            "std Mutex and Condvar",
            Box::new(Condition::default()),
        ),
        #[cfg(feature = "peers")]
        (
            Role::Shared,
            "parking_lot Mutex and Condvar",
            Box::new(LotCondition::default()),
        ),
        #[cfg(feature = "peers")]
        (Role::Shared, "crossbeam-channel, recv", {
            let (to, from) = crossbeam_channel::bounded(1);
            Box::new(Channel { to, from })
        }),
    ]
}

pub(super) fn run(setup: Setup) -> Result<Table, String> {
    let contenders = contenders();
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let mut samples: Vec<Samples> = Vec::new();
    samples.resize_with(contenders.len(), Samples::default);
    let about_to_wait = AtomicU32::new(0);

    thread::scope(|scope| {
        let (ask, asked) = sync_channel::<usize>(1);
        let (answer, answered) = sync_channel::<Instant>(1);
        let (contenders, about_to_wait) = (&contenders, &about_to_wait);
        let sleepers_core = cores.get(1).copied();
        scope.spawn(move || {
            let _pinned = sleepers_core.is_some_and(core_affinity::set_for_current);
            for place in asked {
                let contender = &contenders[place].2;
                contender.enter();
                about_to_wait.fetch_add(1, Ordering::Release);
                contender.wait();
                if answer.send(Instant::now()).is_err() {
                    break;
                }
            }
        });
        let wakers_core = cores.first().copied();
        let samples = &mut samples;
        let waker = scope.spawn(move || {
            let _pinned = wakers_core.is_some_and(core_affinity::set_for_current);
            let mut waits = 0;
            for round in 0..setup.rounds(300) {
                for place in in_turn(round, contenders.len()) {
                    let (_, name, contender) = &contenders[place];
                    contender.arm();
                    ask.send(place)
                        .map_err(|_| "W8: the sleeper is gone".to_owned())?;
                    waits += 1;
                    spin_for(|| (about_to_wait.load(Ordering::Acquire) == waits).then_some(()))
                        .ok_or_else(|| format!("W8: {name}: the other thread does not come"))?;
                    stay_busy(FALLING_ASLEEP);
                    let began = Instant::now();
                    contender.wake();
                    let woken = answered.recv_timeout(Duration::from_secs(5));
                    let woken = woken.map_err(|_| format!("W8: {name}: nobody woke"))?;
                    samples[place].add((woken - began).as_secs_f64() * 1e9);
                }
            }
            Ok::<(), String>(())
        });
        waker
            .join()
            .unwrap_or_else(|_| Err("W8: the waker panicked".to_owned()))
    })?;
    let rows = contenders
        .iter()
        .zip(samples)
        .map(|((role, name, _), samples)| samples.into_row(name, *role, None))
        .collect();
    let title = "a release wakes a blocked acquire: until the other thread has the frame";
    Ok(Table::new("W8", title, FLOOR, rows))
}

/// Lets the time pass without leaving the core to sleep, which would slow down what follows.
fn stay_busy(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}
