//! Count of the free frames of a pool whose user wants to be told when few are free.
//!
//! The module handles numbers only, and is safe code. All generations of a pool share one count,
//! which is that of the newest. Other pools have no such count, and pay nothing for it.
//!
//! # The word
//!
//! ```text
//!  63 .................. 32     31       30    29 ................. 0
//!  generation, lower bits     RUNNING   LOW    frames that are free
//! ```
//!
//! | LOW | free frames | next |
//! |---|---|---|
//! | 0 | more than the low mark | |
//! | 0 | the low mark, or fewer | the runner sets `LOW`, and tells the hook |
//! | 1 | fewer than the recovered mark | |
//! | 1 | the recovered mark, or more | the runner clears `LOW`, and tells the hook |
//!
//! # Invariants
//!
//! - **V1** A thread whose change makes `LOW` wrong becomes the *runner* by the same exchange,
//!   which sets `RUNNING`, unless there is one. Only the runner changes `LOW` and calls the hook.
//!   So calls follow one another, and alternate. The first is that the level is low.
//! - **V2** The runner clears `RUNNING` only by an exchange that finds `LOW` right. So once no call
//!   of the pool is under way, the hook knows the level.
//! - **V3** A change of another generation than that of the word is left out. The word begins with
//!   all frames of a generation before one of them goes out.

use crossbeam_utils::CachePadded;

use crate::level::{Level, LevelConfig};
use crate::panics::catch_panics;
use crate::sync::{AtomicU64, Ordering};

const RUNNING: u64 = 1 << 31;
const LOW: u64 = 1 << 30;
const FREE: u64 = LOW - 1;
const GENERATION_SHIFT: u32 = 32;

/// The count of a pool's free frames.
#[derive(Debug)]
pub(crate) struct Levels {
    word: CachePadded<AtomicU64>,
    config: LevelConfig,
}

impl Levels {
    pub(super) fn new(config: &LevelConfig, generation: u64, frames: usize) -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(word_of(generation, frames))),
            config: config.clone(),
        }
    }

    /// Counts a frame that was acquired. Calls the hook, if that makes the level low, and `note`
    /// before each call.
    pub(super) fn acquired(&self, generation: u64, note: impl Fn(Level)) {
        self.count(generation, |word| word - 1, note);
    }

    /// Counts a frame that is about to be free. Calls the hook, if enough are free then, and `note`
    /// before each call.
    pub(super) fn released(&self, generation: u64, note: impl Fn(Level)) {
        self.count(generation, |word| word + 1, note);
    }

    fn count(&self, generation: u64, change: impl Fn(u64) -> u64, note: impl Fn(Level)) {
        let of_generation = word_of(generation, 0) >> GENERATION_SHIFT;
        let runs = self.change(|word| {
            // mutant: count-the-newest
            (word >> GENERATION_SHIFT == of_generation).then(|| change(word))
        });
        if runs {
            self.run(note);
        }
    }

    /// Begins to count for a generation whose `frames` frames are all free. Returns whether the
    /// caller is the runner, and has to [`run`](Self::run) once it holds no lock.
    #[must_use = "if this is true, the caller has to run"]
    pub(super) fn switch(&self, generation: u64, frames: usize) -> bool {
        self.change(|word| Some(word_of(generation, frames) | word & (RUNNING | LOW)))
    }

    /// Replaces the word by what `change` returns for it, unless that is nothing. Returns whether
    /// the caller is the runner from now on (V1).
    fn change(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        while let Some(changed) = change(seen) {
            // mutant: one-runner
            let runs = changed & RUNNING == 0 && self.is_wrong(changed);
            let after = if runs { changed | RUNNING } else { changed };
            // Acquire: pairs with the Release in `run`. The hook's calls follow one another.
            match self
                .word
                .compare_exchange_weak(seen, after, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return runs,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Tells the hook, until what it knows is right (V2). The caller is the runner.
    pub(super) fn run(&self, note: impl Fn(Level)) {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let is_wrong = self.is_wrong(seen);
            let after = if is_wrong {
                seen ^ LOW
            } else {
                seen & !RUNNING
            };
            // Release: pairs with the Acquire of the next runner.
            // mutant: next-runner-follows
            match self
                .word
                .compare_exchange_weak(seen, after, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) if is_wrong => {
                    self.tell(after, &note);
                    seen = self.word.load(Ordering::Relaxed);
                }
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    fn tell(&self, word: u64, note: &impl Fn(Level)) {
        // By `Framing::MAX_FRAMES` it fits.
        let free = usize::try_from(word & FREE).unwrap_or(usize::MAX);
        let level = match word & LOW {
            0 => Level::Recovered { free },
            _ => Level::Low { free },
        };
        note(level);
        catch_panics(|| self.config.hook.call(level));
    }

    /// Returns whether `LOW` is not what the number of free frames says.
    fn is_wrong(&self, word: u64) -> bool {
        let free = word & FREE;
        match word & LOW {
            0 => free <= self.config.low as u64,
            _ => free >= self.config.recovered as u64,
        }
    }
}

fn word_of(generation: u64, frames: usize) -> u64 {
    generation << GENERATION_SHIFT | frames as u64
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    use std::sync::Arc;

    use loom::thread;

    use super::*;
    use crate::level::LevelHook;

    /// Levels that begin with 2 free frames, and what the hook was told last.
    fn levels() -> (Arc<Levels>, Arc<AtomicU64>) {
        let is_low = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&is_low);
        let hook = LevelHook::new(move |level| {
            let now = u64::from(matches!(level, Level::Low { .. }));
            // Finds what an earlier call has stored only if this one follows it.
            assert_eq!(told.load(Ordering::Relaxed), 1 - now);
            told.store(now, Ordering::Relaxed);
        });
        let config = LevelConfig {
            low: 1,
            recovered: 2,
            hook,
        };
        (Arc::new(Levels::new(&config, 0, 2)), is_low)
    }

    /// V1, V2: calls follow one another, alternate, and the last is right.
    ///
    /// Kills: two runners; a call that does not follow the one before.
    #[test]
    fn the_hook_is_told_the_level_in_order() {
        loom::model(|| {
            let (levels, told) = levels();
            let other = {
                let levels = Arc::clone(&levels);
                thread::spawn(move || {
                    levels.acquired(0, |_| ());
                    levels.released(0, |_| ());
                })
            };
            levels.acquired(0, |_| ());
            other.join().unwrap();
            assert_eq!(told.load(Ordering::Relaxed), 1);
            levels.released(0, |_| ());
            assert_eq!(told.load(Ordering::Relaxed), 0);
        });
    }

    /// V3: frames of an old generation that come back are not counted for the new one.
    ///
    /// Kills: a change of any generation counted.
    #[test]
    fn an_old_frame_is_not_counted_for_a_new_generation() {
        loom::model(|| {
            let (levels, told) = levels();
            levels.acquired(0, |_| ());
            let other = {
                let levels = Arc::clone(&levels);
                thread::spawn(move || levels.released(0, |_| ()))
            };
            if levels.switch(1, 2) {
                levels.run(|_| ());
            }
            levels.acquired(1, |_| ());
            other.join().unwrap();
            assert_eq!(told.load(Ordering::Relaxed), 1);
            assert_eq!(levels.word.load(Ordering::Relaxed) & FREE, 1);
        });
    }
}
