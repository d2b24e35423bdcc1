//! Contenders of the comparison, and the loops that each of them runs.

use std::sync::{Mutex, PoisonError};
use std::thread;

use crossbeam_queue::ArrayQueue;

use crate::clock;
use crate::latencies::Latencies;
use crate::pool::{Fault, Pool};
use crate::workers::spin_for;

/// Capacity of the queue between the two threads of [`Task::Send`] and [`Task::Receive`], in
/// frames.
pub const QUEUE_CAPACITY: usize = 32;
/// Number of frames that [`Task::Burst`] acquires at a time.
pub const BURST: usize = 32;
const PAGE: usize = 4096;
/// Maximum number of frames that [`Task::Verify`] holds at a time.
const MAX_VERIFIED: usize = 4096;

/// A contender's part in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This pool, in the configuration that is compared.
    Ours,
    /// This pool in another configuration.
    OursVariant,
    /// No pool, but the same loop, with little more than the work that a pool can hardly avoid.
    LowerBound,
    /// A peer in which every thread can acquire every free frame.
    SharedPeer,
    /// A peer that reserves free frames for single threads, or that is unbounded as an allocator
    /// is.
    OtherPeer,
}

/// Work of one thread in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Acquire many frames at once and check that they are distinct. Not timed.
    Verify,
    /// Acquire a frame, write to it, release it.
    RoundTrip,
    /// [`RoundTrip`](Self::RoundTrip), with each repetition timed.
    TimedRoundTrip,
    /// Acquire [`BURST`] frames, write to them, release them.
    Burst,
    /// Acquire a frame, write to it, send it to the other thread.
    Send,
    /// Receive a frame from the other thread, read it, release it.
    Receive,
    /// Acquire a frame, write one byte to each of its pages, release it.
    TouchPages,
    /// Fail to acquire a frame, because all are held.
    Fail,
    /// Be a stage of a pipeline: thread 0 acquires frames, the last thread releases them.
    Stage,
}

/// One row of a comparison.
pub trait Contender: Sync {
    /// Returns its name in tables.
    fn name(&self) -> &str;
    /// Returns its part in the comparison.
    fn role(&self) -> Role;
    /// Acquires `count` frames on a thread that then ends, and holds them until the contender is
    /// dropped.
    ///
    /// # Errors
    ///
    /// If there are not as many frames.
    fn hold(&self, count: usize) -> Result<(), Fault> {
        if count == 0 {
            Ok(())
        } else {
            Err(Fault::Empty)
        }
    }
    /// Prepares the calling thread. Each thread calls it before each sample.
    fn prepare_thread(&self);
    /// Does `task` `count` times, on the thread with index `worker`.
    ///
    /// # Errors
    ///
    /// If the contender does not behave as a pool.
    #[expect(private_interfaces, reason = "only this crate's threads call it")]
    fn run(
        &self,
        task: Task,
        worker: usize,
        count: u64,
        latencies: &mut Latencies,
    ) -> Result<(), Fault>;
}

struct Entry<P: Pool> {
    name: String,
    role: Role,
    pool: &'static P,
    frames: usize,
    size: usize,
    queue: ArrayQueue<P::Frame>,
    /// Frames that no task uses.
    held: Mutex<Vec<P::Frame>>,
}

/// Makes a contender of `pool`, which has `frames` frames of `size` bytes.
pub fn entry<P: Pool>(
    role: Role,
    name: &str,
    frames: usize,
    size: usize,
    pool: P,
) -> Box<dyn Contender> {
    Box::new(Entry {
        name: name.to_owned(),
        role,
        pool: Box::leak(Box::new(pool)),
        frames,
        size,
        queue: ArrayQueue::new(QUEUE_CAPACITY),
        held: Mutex::default(),
    })
}

/// Returns the value that thread `worker` writes to the frame of its repetition `n`.
#[inline(always)]
fn canary(worker: usize, n: u64) -> u64 {
    ((worker as u64 + 1) << 48) | n
}

impl<P: Pool> Entry<P> {
    #[inline(always)]
    fn get(&self) -> Result<P::Frame, Fault> {
        spin_for(|| self.pool.get()).ok_or(Fault::Empty)
    }

    /// Writes the first 8 bytes of a frame.
    #[inline(always)]
    fn write(&self, frame: &mut P::Frame, canary: u64) {
        let start = self.pool.start(frame).cast::<u64>();
        // SAFETY: by the contract of `Pool`, `start` is aligned and valid for writes while the
        // frame is out, and no frame is smaller than 8 bytes.
        unsafe { start.write_volatile(canary) };
    }

    /// Fails unless the first 8 bytes of a frame are what its holder wrote.
    #[inline(always)]
    fn check(&self, frame: &mut P::Frame, wrote: u64) -> Result<(), Fault> {
        let start = self.pool.start(frame).cast::<u64>();
        // SAFETY: by the contract of `Pool`, `start` is aligned and valid for reads while the
        // frame is out, and no frame is smaller than 8 bytes.
        let found = unsafe { start.read_volatile() };
        if found == wrote {
            Ok(())
        } else {
            Err(Fault::Overwritten { wrote, found })
        }
    }

    #[inline(always)]
    fn round_trip(&self, canary: u64) -> Result<(), Fault> {
        let mut frame = self.get()?;
        self.write(&mut frame, canary);
        self.check(&mut frame, canary)?;
        self.pool.put(frame);
        Ok(())
    }

    #[inline(never)]
    fn round_trips(&self, worker: usize, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            self.round_trip(canary(worker, n))?;
        }
        Ok(())
    }

    #[inline(never)]
    fn timed_round_trips(
        &self,
        worker: usize,
        count: u64,
        latencies: &mut Latencies,
    ) -> Result<(), Fault> {
        let mut last = clock::ticks();
        for n in 0..count {
            self.round_trip(canary(worker, n))?;
            let now = clock::ticks();
            latencies.add(now.saturating_sub(last));
            last = now;
        }
        Ok(())
    }

    #[inline(never)]
    fn bursts(&self, worker: usize, count: u64) -> Result<(), Fault> {
        let mut held = Vec::with_capacity(BURST);
        for n in 0..count {
            self.pool.get_burst(&mut held, BURST);
            if held.is_empty() {
                return Err(Fault::Empty);
            }
            for (index, frame) in (0_u64..).zip(held.iter_mut()) {
                self.write(frame, canary(worker, n << 8 | index));
            }
            for (index, frame) in (0_u64..).zip(held.iter_mut()) {
                self.check(frame, canary(worker, n << 8 | index))?;
            }
            self.pool.put_burst(&mut held);
        }
        Ok(())
    }

    #[inline(never)]
    fn send(&self, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            let mut frame = self.get()?;
            self.write(&mut frame, canary(0, n));
            let mut frame = Some(frame);
            let sent = spin_for(|| {
                let refused = self.queue.push(frame.take()?);
                refused.map_err(|back| frame = Some(back)).ok()
            });
            sent.ok_or(Fault::Stuck)?;
        }
        Ok(())
    }

    #[inline(never)]
    fn receive(&self, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            let mut frame = spin_for(|| self.queue.pop()).ok_or(Fault::Stuck)?;
            self.check(&mut frame, canary(0, n))?;
            self.pool.put(frame);
        }
        Ok(())
    }

    #[inline(never)]
    fn touch_pages(&self, worker: usize, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            let mut frame = self.get()?;
            let canary = canary(worker, n);
            self.write(&mut frame, canary);
            let start = self.pool.start(&mut frame);
            for offset in (PAGE..self.size).step_by(PAGE) {
                let byte = start.wrapping_add(offset);
                // SAFETY: `offset` is less than the frame's size, and by the contract of `Pool`
                // all of the frame's bytes are valid for writes while it is out.
                unsafe { byte.write_volatile(7) };
            }
            self.check(&mut frame, canary)?;
            self.pool.put(frame);
        }
        Ok(())
    }

    #[inline(never)]
    fn fail(&self, count: u64) -> Result<(), Fault> {
        for _ in 0..count {
            if let Some(frame) = self.pool.get() {
                self.pool.put(frame);
                return Err(Fault::NotEmpty);
            }
        }
        Ok(())
    }

    /// Returns the number of frames that [`hold`](Contender::hold) did not acquire.
    fn frames_not_held(&self) -> usize {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.frames - held.len()
    }

    /// Acquires all frames that are not held, up to [`MAX_VERIFIED`], writes to both ends of each,
    /// and then checks that every value is still there.
    fn verify(&self) -> Result<(), Fault> {
        let frames = self.frames_not_held().min(MAX_VERIFIED);
        if frames == 0 {
            return Ok(());
        }
        let ends = [0, self.size / 8 - 1];
        let mut held = Vec::new();
        while held.len() < frames {
            let Some(mut frame) = self.pool.get() else {
                break;
            };
            let start = self.pool.start(&mut frame).cast::<u64>();
            if !start.is_aligned() {
                return Err(Fault::Misaligned);
            }
            for end in ends {
                // SAFETY: `end` is the index of an 8-byte word inside the frame, and by the
                // contract of `Pool` the frame's bytes are valid for writes while it is out.
                unsafe { start.wrapping_add(end).write_volatile(held.len() as u64) };
            }
            held.push(frame);
        }
        if held.is_empty() {
            return Err(Fault::Empty);
        }
        for (number, mut frame) in (0_u64..).zip(held) {
            let start = self.pool.start(&mut frame).cast::<u64>();
            for end in ends {
                // SAFETY: `end` is the index of an 8-byte word inside the frame, and by the
                // contract of `Pool` the frame's bytes are valid for reads while it is out.
                let found = unsafe { start.wrapping_add(end).read_volatile() };
                if found != number {
                    let wrote = number;
                    return Err(Fault::Overwritten { wrote, found });
                }
            }
            self.pool.put(frame);
        }
        Ok(())
    }
}

impl<P: Pool> Contender for Entry<P> {
    fn name(&self) -> &str {
        &self.name
    }

    fn role(&self) -> Role {
        self.role
    }

    fn hold(&self, count: usize) -> Result<(), Fault> {
        let acquired = thread::scope(|scope| {
            let acquire = || {
                self.pool.prepare_thread();
                (0..count)
                    .map_while(|_| self.pool.get())
                    .collect::<Vec<_>>()
            };
            scope.spawn(acquire).join()
        });
        let acquired = acquired.map_err(|_| Fault::Panicked)?;
        if acquired.len() < count {
            return Err(Fault::Empty);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(acquired);
        Ok(())
    }

    fn prepare_thread(&self) {
        self.pool.prepare_thread();
    }

    fn run(
        &self,
        task: Task,
        worker: usize,
        count: u64,
        latencies: &mut Latencies,
    ) -> Result<(), Fault> {
        match task {
            // A lower bound is no pool: its frames need not be distinct.
            Task::Verify if self.role == Role::LowerBound => Ok(()),
            Task::Verify => self.verify(),
            Task::RoundTrip => self.round_trips(worker, count),
            Task::TimedRoundTrip => self.timed_round_trips(worker, count, latencies),
            Task::Burst => self.bursts(worker, count),
            Task::Send => self.send(count),
            Task::Receive => self.receive(count),
            Task::TouchPages => self.touch_pages(worker, count),
            Task::Fail => self.fail(count),
            Task::Stage => unreachable!("pipelines are contenders of their own"),
        }
    }
}
