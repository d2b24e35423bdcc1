//! A pool with its name, and the loops that it goes through.

use crossbeam_queue::ArrayQueue;

use crate::clock;
use crate::crew::spin_for;
use crate::latencies::Latencies;
use crate::pool::{Fault, Pool};

/// Frames between the two threads of a hand-off, at most.
pub const BETWEEN: usize = 32;
/// Frames that are taken in one go.
pub const BURST: usize = 32;
const PAGE: usize = 4096;

/// What a contender is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This pool, in the way that is compared.
    Ours,
    /// This pool in another way.
    OursToo,
    /// Not a pool: what is the least.
    Floor,
    /// A pool all of whose free frames are there for every thread.
    Shared,
    /// What keeps frames back for threads, and allocators that have no bound.
    Other,
}

/// What a thread is to do for a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Take many frames at once, and see that they are distinct. Not timed.
    Verify,
    /// A frame out and back.
    RoundTrip,
    /// The same, each timed by itself.
    TimedRoundTrip,
    /// As many frames as a burst has, out, then back.
    Burst,
    /// A frame out and to the other thread.
    Give,
    /// From the other thread, and back.
    Take,
    /// A frame out, a byte written in every page, and back.
    Pages,
}

/// What is measured.
pub trait Contender: Sync {
    /// Its name in tables.
    fn name(&self) -> &str;
    /// Its part in the comparison.
    fn role(&self) -> Role;
    /// Handoff by each thread before each sample.
    fn enter(&self);
    /// Does `task`, `count` times, on thread `worker`.
    ///
    /// # Errors
    ///
    /// If the contender does not do what it is for.
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
    between: ArrayQueue<P::Frame>,
}

/// Enters `pool`, of `frames` frames of `size` bytes, under `name`.
pub fn enter<P: Pool>(
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
        between: ArrayQueue::new(BETWEEN),
    })
}

/// What a thread writes in the frame that it has for the `n`th time.
#[inline(always)]
fn stamp_of(worker: usize, n: u64) -> u64 {
    ((worker as u64 + 1) << 48) | n
}

impl<P: Pool> Entry<P> {
    #[inline(always)]
    fn get(&self) -> Result<P::Frame, Fault> {
        spin_for(|| self.pool.get()).ok_or(Fault::Empty)
    }

    /// Writes the first 8 bytes.
    #[inline(always)]
    fn touch(&self, frame: &mut P::Frame, stamp: u64) {
        let start = self.pool.start(frame).cast::<u64>();
        // SAFETY: by the contract of `Pool`.
        unsafe { start.write_volatile(stamp) };
    }

    /// The canary: what its holder wrote is still there.
    #[inline(always)]
    fn check(&self, frame: &mut P::Frame, wrote: u64) -> Result<(), Fault> {
        let start = self.pool.start(frame).cast::<u64>();
        // SAFETY: by the contract of `Pool`.
        let found = unsafe { start.read_volatile() };
        if found == wrote {
            Ok(())
        } else {
            Err(Fault::Overwritten { wrote, found })
        }
    }

    #[inline(always)]
    fn round_trip(&self, stamp: u64) -> Result<(), Fault> {
        let mut frame = self.get()?;
        self.touch(&mut frame, stamp);
        self.check(&mut frame, stamp)?;
        self.pool.put(frame);
        Ok(())
    }

    #[inline(never)]
    fn round_trips(&self, worker: usize, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            self.round_trip(stamp_of(worker, n))?;
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
            self.round_trip(stamp_of(worker, n))?;
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
            for (place, frame) in (0_u64..).zip(held.iter_mut()) {
                self.touch(frame, stamp_of(worker, n << 8 | place));
            }
            for (place, frame) in (0_u64..).zip(held.iter_mut()) {
                self.check(frame, stamp_of(worker, n << 8 | place))?;
            }
            self.pool.put_burst(&mut held);
        }
        Ok(())
    }

    #[inline(never)]
    fn give(&self, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            let mut frame = self.get()?;
            self.touch(&mut frame, stamp_of(0, n));
            let mut frame = Some(frame);
            let given = spin_for(|| {
                let refused = self.between.push(frame.take()?);
                refused.map_err(|back| frame = Some(back)).ok()
            });
            given.ok_or(Fault::Stuck)?;
        }
        Ok(())
    }

    #[inline(never)]
    fn take(&self, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            let mut frame = spin_for(|| self.between.pop()).ok_or(Fault::Stuck)?;
            self.check(&mut frame, stamp_of(0, n))?;
            self.pool.put(frame);
        }
        Ok(())
    }

    #[inline(never)]
    fn pages(&self, worker: usize, count: u64) -> Result<(), Fault> {
        for n in 0..count {
            let mut frame = self.get()?;
            let stamp = stamp_of(worker, n);
            self.touch(&mut frame, stamp);
            let start = self.pool.start(&mut frame);
            for offset in (PAGE..self.size).step_by(PAGE) {
                let byte = start.wrapping_add(offset);
                // SAFETY: by the contract of `Pool`, and it lies in the frame.
                unsafe { byte.write_volatile(7) };
            }
            self.check(&mut frame, stamp)?;
            self.pool.put(frame);
        }
        Ok(())
    }

    /// Takes all frames, or as many as there should be, writes at both ends of each, and sees that all of
    /// it is still there when the last was written.
    fn verify(&self) -> Result<(), Fault> {
        let ends = [0, self.size / 8 - 1];
        let mut held = Vec::new();
        while held.len() < self.frames.min(4096) {
            let Some(mut frame) = self.pool.get() else {
                break;
            };
            let start = self.pool.start(&mut frame).cast::<u64>();
            if !start.is_aligned() {
                return Err(Fault::Misaligned);
            }
            for end in ends {
                // SAFETY: by the contract of `Pool`, and it lies in the frame.
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
                // SAFETY: likewise.
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

    fn enter(&self) {
        self.pool.enter();
    }

    fn run(
        &self,
        task: Task,
        worker: usize,
        count: u64,
        latencies: &mut Latencies,
    ) -> Result<(), Fault> {
        match task {
            // There is nothing to verify where there is no pool.
            Task::Verify if self.role == Role::Floor => Ok(()),
            Task::Verify => self.verify(),
            Task::RoundTrip => self.round_trips(worker, count),
            Task::TimedRoundTrip => self.timed_round_trips(worker, count, latencies),
            Task::Burst => self.bursts(worker, count),
            Task::Give => self.give(count),
            Task::Take => self.take(count),
            Task::Pages => self.pages(worker, count),
        }
    }
}
