//! Per-thread caches of free frames.
//!
//! A thread that releases a frame and then acquires one gets the same frame back, and needs no
//! atomic read-modify-write for either.
//!
//! This file knows the ids of frames only, touches no memory of theirs, and is safe code. It
//! complements the words of the [free list](super::free_list): a free frame is in a word or in a
//! cache.
//!
//! # How it works
//!
//! Each thread owns a [`ThreadCache`] in the caches of each pool and accesses its cells with
//! plain loads and stores. Other threads leave them alone until one of them finds no frame in the
//! words, has to wait, or closes the pool. That thread *revokes* the caches: it changes the
//! revocation word and executes a barrier on all processors. From then on it takes frames out of
//! the cells of other threads, one by one, by atomic exchange. At each moment a frame is in one
//! place, where every search can take it. A search therefore never waits for the owner of a cell,
//! wherever that owner was interrupted.
//!
//! A thread cache is one cell and a *magazine* of more cells. The one cell suffices for a thread
//! that releases each frame before it acquires the next. Where one thread acquires and another
//! releases, frames travel between them one magazine at a time, by way of the *depot* (Bonwick &
//! Adams, 2001). A releasing thread whose magazine is full leaves it in the depot for an empty
//! one; an acquiring thread whose magazine is empty leaves it there for a full one. The frames
//! stay in the magazine; only its owner changes.
//!
//! # Fences
//!
//! The owner of a cell does not pay for the barrier: the fences are asymmetric (membarrier(2),
//! P1202). Between a store and the load after it an owner has a *light* fence, which only the
//! compiler sees. A revoking thread has a *heavy* fence between its store and its load, a system
//! call that makes every processor that runs a thread of this process execute a fence. That fence
//! falls somewhere into the instructions of each owner. If it falls before the owner's load, the
//! load sees the revocation. If it falls after the load, it also falls after the owner's store,
//! and the revoking thread sees that store. To this extent the two are equal to two sequentially
//! consistent fences (which they are in models). The light fence orders nothing else, and no
//! other code here relies on it.
//!
//! # Cells
//!
//! Cells are in arrays: the first cell of a thread cache is an array of one, a magazine one of
//! several. The owner of an array announces which cell it is about to empty. This *claim* is a
//! hazard announcement, as of hazard pointers (Michael, 2004).
//!
//! | claim | cell *k* | state |
//! |---|---|---|
//! | any other | empty | vacant; the owner may store a frame |
//! | any other | a frame | free: for the owner, and for any search while the caches are revoked |
//! | *k* + 1 | a frame | the owner is taking the frame |
//! | *k* + 1 | empty | the owner or an earlier search has taken the frame |
//!
//! A magazine is in one thread cache, whose thread owns it, or in the depot. The depot has two
//! sets: the magazines whose cells were all filled when they were left there, and those that were
//! empty. (Since then searches may have emptied cells of the former.)
//!
//! # The revocation word
//!
//! ```text
//!      63      62        61       60       59       58      57 .......... 0
//!    CLOSED  WAITERS  COOLDOWN  FENCED  DRAINED  REFUSED    active searches
//! ```
//!
//! | bits | set | cleared |
//! |---|---|---|
//! | `CLOSED` | when the pool is closed | when it is opened |
//! | `WAITERS` | when a caller has to wait for a frame | when no caller waits any more |
//! | searches | plus 1 when a search begins | minus 1 when it ends |
//! | `COOLDOWN` | with each of the above | when the caches are restored |
//! | `FENCED` | when the heavy fence has been executed | when the caches are restored |
//! | `DRAINED` | when all cells have been seen empty after it | when the caches are restored |
//! | `REFUSED` | when a thread was refused the heavy fence | when the caches are restored |
//!
//! The caches are *enabled* while the word is 0 and *revoked* otherwise. `COOLDOWN` outlasts the
//! reason for the revocation, so that a pool which runs dry repeatedly does not execute a barrier
//! each time. A thread that has released many frames under revocation *restores* the caches if no
//! reason for it is left and many frames are free.
//!
//! # Refused fences
//!
//! A system-call filter can refuse the heavy fence, to all threads or to some (`REFUSED`). Without
//! the fence the caches stay revoked, and no search takes a frame out of a cell. Each thread that
//! then uses its own thread cache executes the fence in place of the refused thread, if it can.
//! From then on every search finds all frames, also those of the refused thread.
//!
//! # Invariants
//!
//! - **T1** A free frame is in one word or in one cell. It leaves a cell for the thread that
//!   takes it in one step, and it enters a cell from its holder in one step. Only the owner of an
//!   array stores frames into its cells and sets its claim.
//! - **T2** While the caches are enabled, only the owner empties a cell. While they are revoked, a
//!   frame leaves a cell by exchange only, with one exception: an owner that claimed the cell and
//!   then saw the caches enabled takes the frame by a plain store, because no other thread empties
//!   a claimed cell. (The owner claims before it reads the revocation word. A revoking thread
//!   changes that word before it reads the claim. Both have a fence between, so that one of them
//!   sees the other.)
//! - **T3** A claimed frame counts as taken: by the owner that claims it, or by an earlier
//!   search. A search that passes over it need not know which, but sees all that the owner did
//!   before the claim: a frame that the owner put into a word before is found there. The same
//!   holds for a cell that is found empty.
//! - **T4** A frame that enters a cell under revocation is taken out again by its owner, unless a
//!   search has taken it. (The owner reads the revocation word once more after it has filled the
//!   cell, with the fences of T2.) Its release has not ended until then. So no caller waits while
//!   a frame is in a cache. Once all cells have been seen empty after the heavy fence, all free
//!   frames are in the words for as long as the caches stay revoked.
//! - **T5** After it has filled a cell, the owner touches nothing but that cell and the
//!   revocation word, because the frame and its pool may be gone (F5). Cell and word stay: caches
//!   are never freed, but reused by later pools. If the owner then takes a frame out of the cell,
//!   it is the one that it put in, even if another pool has the caches by now. For no other
//!   thread fills the cell, and the owner does not give the magazine away in between: it finishes
//!   with the thread cache and the depot before it fills the cell. The thread that closed the
//!   pool and did not find the frame in the cell has counted it as out.
//! - **T6** All that the last holder did with a frame happens before the frame is taken out of a
//!   cell. (*Release* where a cell is filled, *Acquire* where it is emptied; program order for
//!   its owner.)
//! - **T7** An array has one owner at a time, who sees all that earlier owners did: a magazine
//!   goes into the depot by *Release* and leaves it by *Acquire*. (A thread that exchanges
//!   magazines owns both for a moment.) Cells from `filled` on are empty, and the owner may fill
//!   any empty cell. A thread owns the thread cache of its [index](crate::sync::thread_index) in
//!   all pools that its copy of the crate made, for as long as it lives; the next thread with that
//!   index begins after it has ended. (Two copies of the crate in one process number threads
//!   independently. A thread has no thread cache in a pool that another copy made: O4.) Threads
//!   with an index of [`THREAD_CACHES`] or more have no thread cache. Frames that a thread leaves
//!   in its caches when it parks or ends are found by searches like all others (T2).
//! - **T8** An owner that finds the caches closed does not keep the frame that it takes out of a
//!   cell: [`Popped::Closed`]. So no thread acquires a frame of a closed pool, even if the thread
//!   that closed it was refused the fence and could not empty the cells. (A frame that the closing
//!   thread did not find in a cell counts as out, and its owner releases it: C2.)

use std::num::NonZero;

use crossbeam_utils::CachePadded;

use crate::error::CommitError;
#[cfg(not(all(test, loom)))]
use crate::memory::{FromZeroes, try_with_capacity, try_zeroed};
#[cfg(not(all(test, loom)))]
use crate::sync::NoAllocMutex;
use crate::sync::{
    AtomicU64, AtomicUsize, Ordering, RECYCLED_INDICES, heavy_fence, heavy_fence_is_supported,
    light_fence, recycled_indices_used,
};

/// Minimum number of frames of a pool with caches: of fewer frames, too many would be in the
/// caches.
pub(crate) const MIN_FRAMES: usize = if cfg!(all(test, loom)) { 1 } else { 64 };

/// Cells of a magazine: with its claim they fill a cache line.
const MAGAZINE_CELLS: usize = if cfg!(all(test, loom)) { 1 } else { 7 };

/// Number of magazines in the depot at any time, and so the maximum number of full ones.
const DEPOT_MAGAZINES: usize = if cfg!(all(test, loom)) { 1 } else { 16 };

/// Number of thread caches of a pool, each with one magazine.
const THREAD_CACHES: usize = if cfg!(all(test, loom)) { 2 } else { 48 };

/// Number of all magazines. A set of the depot has one bit for each.
const MAGAZINES: usize = DEPOT_MAGAZINES + THREAD_CACHES;

const _: () = assert!(THREAD_CACHES <= RECYCLED_INDICES && MAGAZINES <= u64::BITS as usize);

/// About 1 / `DEPOT_DIVISOR` of a pool's frames at most are in full magazines of the depot.
const DEPOT_DIVISOR: usize = if cfg!(all(test, loom)) { 1 } else { 2 };

/// Minimum number of releases of one thread under revocation before it tries to restore the
/// caches. The number is one per frame in a larger pool, where it takes long to count the free
/// frames.
const MIN_COOLDOWN: usize = if cfg!(all(test, loom)) { 1 } else { 1024 };

const ENABLED: u64 = 0;
pub(crate) const CLOSED: u64 = 1 << 63;
pub(crate) const WAITERS: u64 = 1 << 62;
const COOLDOWN: u64 = 1 << 61;
const FENCED: u64 = 1 << 60;
const DRAINED: u64 = 1 << 59;
const REFUSED: u64 = 1 << 58;
const SEARCH: u64 = 1;

const EMPTY: usize = 0;
const NO_CLAIM: usize = 0;

/// The caches of a pool. Later pools reuse them.
#[derive(Debug)]
pub(crate) struct Caches {
    revocation: CachePadded<AtomicU64>,
    limits: Limits,
    threads: [CachePadded<ThreadCache>; THREAD_CACHES],
    depot: CachePadded<Depot>,
    /// First those that the depot has at the beginning, then one for each thread cache.
    magazines: [CachePadded<Magazine>; MAGAZINES],
    /// `None` only until the caches are complete.
    #[cfg(not(all(test, loom)))]
    home: Option<&'static Home>,
}

// SAFETY: all fields are atomics, or structs and arrays of these, or an `Option` of a reference.
// Zero is a value of each: a number, and `None`.
#[cfg(not(all(test, loom)))]
#[expect(unsafe_code, reason = "16 KiB that must not be built on a stack")]
unsafe impl FromZeroes for Caches {}

/// The copy of the crate that created caches, whose threads own them (O4).
#[cfg(not(all(test, loom)))]
#[derive(Debug)]
struct Home {
    /// Returns the number of thread caches that may have been used.
    indices_used: fn() -> usize,
    /// The list to which the caches return, and no other, because a thread of that copy may still
    /// access their cells (T5).
    unused: NoAllocMutex<Unused>,
}

// The documentation says that caches take 15 KiB per pool: 14.4 KiB, and what the heap adds. Other
// processors have padding of another size.
#[cfg(all(not(all(test, loom)), target_arch = "x86_64"))]
const _: () = assert!(size_of::<Caches>() > 14 * 1024 && size_of::<Caches>() <= 15 * 1024);

// `docs/process-state.md` and the builder say from which number of frames on pools have caches.
#[cfg(not(all(test, loom)))]
const _: () = assert!(MIN_FRAMES == 64);

/// Limits that depend on the number of frames. They are constant while a pool has the caches.
#[derive(Debug)]
struct Limits {
    /// Approximate maximum number of full magazines in the depot.
    full_magazines: AtomicUsize,
    /// Number of releases of one thread under revocation before it tries to restore the caches.
    cooldown: AtomicUsize,
}

/// The cache of one thread. Other threads access `first` alone.
#[derive(Debug)]
struct ThreadCache {
    /// The cell that is tried first.
    first: CellArray<1>,
    /// The index of the thread's magazine.
    magazine: AtomicUsize,
    /// Number of cells of the magazine that the thread has filled. All cells from there on are
    /// empty, and searches may have emptied some before.
    filled: AtomicUsize,
    /// Number of releases under revocation since the thread last tried to restore the caches.
    cooldown: AtomicUsize,
}

/// The other cells of a thread cache. They change owner together.
type Magazine = CellArray<MAGAZINE_CELLS>;

#[derive(Debug)]
struct CellArray<const LENGTH: usize> {
    /// The index of the cell that the owner is emptying, plus 1.
    claim: AtomicUsize,
    /// The ids of the frames in the cells.
    cells: [AtomicUsize; LENGTH],
}

/// One cell of an array.
#[derive(Clone, Copy, Debug)]
struct Cell<'array> {
    frame: &'array AtomicUsize,
    index: usize,
    claim: &'array AtomicUsize,
}

impl<const LENGTH: usize> CellArray<LENGTH> {
    #[cfg(all(test, loom))]
    fn new() -> Self {
        Self {
            claim: AtomicUsize::new(NO_CLAIM),
            cells: std::array::from_fn(|_| AtomicUsize::new(EMPTY)),
        }
    }

    #[inline(always)]
    fn cell(&self, index: usize) -> Option<Cell<'_>> {
        Some(Cell {
            frame: self.cells.get(index)?,
            index,
            claim: &self.claim,
        })
    }

    fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..LENGTH).filter_map(|index| self.cell(index))
    }
}

/// The magazines that no thread owns, one bit for each.
#[derive(Debug)]
struct Depot {
    full: AtomicU64,
    empty: AtomicU64,
}

/// Id of a frame in the caches of its pool.
pub(crate) type FrameId = NonZero<usize>;

/// Result of [`Caches::pop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    /// The frame is the caller's.
    Frame(FrameId),
    /// The caller has to look elsewhere.
    Nothing,
    /// The caller has taken a frame of a closed pool, and is to release it at once (T8).
    Closed(FrameId),
}

/// Result of [`Caches::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The frame is free. By T5 the pool may be gone.
    Cached,
    /// The frame still belongs to the caller.
    NotCached,
    /// The frame still belongs to the caller, who is to try to [restore](Caches::restore) the
    /// caches.
    CooldownOver,
}

impl Caches {
    /// Creates caches that are leaked.
    #[cfg(not(all(test, loom)))]
    fn create() -> Result<&'static Self, CommitError> {
        let mut created = try_zeroed::<Self>()?;
        created[0].home = Some(&HOME);
        created[0].fill_depot();
        Ok(&created.leak()[0])
    }

    /// Creates caches that are leaked. Atomics of loom's cannot be made of zeroes.
    #[cfg(all(test, loom))]
    fn create() -> Result<&'static Self, CommitError> {
        let thread_cache = || ThreadCache {
            first: CellArray::new(),
            magazine: AtomicUsize::new(0),
            filled: AtomicUsize::new(0),
            cooldown: AtomicUsize::new(0),
        };
        let created = Self {
            revocation: CachePadded::new(AtomicU64::new(ENABLED)),
            limits: Limits {
                full_magazines: AtomicUsize::new(0),
                cooldown: AtomicUsize::new(0),
            },
            threads: std::array::from_fn(|_| CachePadded::new(thread_cache())),
            depot: CachePadded::new(Depot {
                full: AtomicU64::new(0),
                empty: AtomicU64::new(0),
            }),
            magazines: std::array::from_fn(|_| CachePadded::new(CellArray::new())),
        };
        created.fill_depot();
        Ok(Box::leak(Box::new(created)))
    }

    /// Gives each thread cache its magazine, and the depot the others.
    fn fill_depot(&self) {
        for (index, cache) in self.threads.iter().enumerate() {
            let magazine = DEPOT_MAGAZINES + index;
            cache.magazine.store(magazine, Ordering::Relaxed);
        }
        let empty = (1 << DEPOT_MAGAZINES) - 1;
        self.depot.empty.store(empty, Ordering::Relaxed);
    }

    /// Prepares the caches for a pool of `frames` frames.
    ///
    /// All cells are empty. No thread is in a call that accesses thread caches or the depot,
    /// because such a call keeps the last pool alive (T5).
    fn reset(&self, frames: usize) {
        // Relaxed: a thread that gets the new pool gets this with it.
        self.revocation.store(ENABLED, Ordering::Relaxed);
        for cache in &self.threads {
            cache.filled.store(0, Ordering::Relaxed);
            cache.cooldown.store(0, Ordering::Relaxed);
        }
        let Depot { full, empty } = &*self.depot;
        let left = full.fetch_and(0, Ordering::Relaxed);
        empty.fetch_or(left, Ordering::Relaxed);
        let max_full = frames / DEPOT_DIVISOR / MAGAZINE_CELLS;
        let limits = &self.limits;
        limits.full_magazines.store(max_full, Ordering::Relaxed);
        let cooldown = frames.max(MIN_COOLDOWN);
        limits.cooldown.store(cooldown, Ordering::Relaxed);
    }

    /// Takes a frame out of the cache of this thread, or out of a full magazine of the depot.
    #[inline(always)]
    pub(crate) fn pop(&self, thread: usize) -> Popped {
        let Some(cache) = self.threads.get(thread) else {
            return Popped::Nothing;
        };
        let Some(first) = cache.first.cell(0) else {
            return Popped::Nothing;
        };
        // Relaxed, here and where an owner looks at its cells otherwise: only owners fill them
        // (T7), and `pop_cell` looks again.
        match first.frame.load(Ordering::Relaxed) {
            // Under revocation a frame of the magazine costs an exchange, as one of a word does.
            // So these are left to searches.
            EMPTY if self.revocation.load(Ordering::Relaxed) & FENCED != 0 => Popped::Nothing,
            EMPTY => self.pop_slow(cache),
            _ => self.pop_cell(first),
        }
    }

    #[inline(never)]
    fn pop_slow(&self, cache: &ThreadCache) -> Popped {
        let popped = self.pop_from_magazine(cache);
        if popped != Popped::Nothing {
            return popped;
        }
        let Depot { full, empty } = &*self.depot;
        match self.exchange_magazine(cache, full, empty, MAGAZINE_CELLS) {
            Some(()) => self.pop_from_magazine(cache),
            None => Popped::Nothing,
        }
    }

    /// Takes the frame that the thread stored last. If it returns `Nothing`, all cells of the
    /// magazine are empty and `filled` is 0.
    fn pop_from_magazine(&self, cache: &ThreadCache) -> Popped {
        let magazine = self.magazine(cache);
        // Relaxed, here and for the other fields of the thread cache: only this thread accesses
        // them.
        let filled = (0..cache.filled.load(Ordering::Relaxed)).rev();
        for cell in filled.filter_map(|index| magazine.cell(index)) {
            cache.filled.store(cell.index, Ordering::Relaxed);
            if cell.frame.load(Ordering::Relaxed) == EMPTY {
                continue;
            }
            let popped = self.pop_cell(cell);
            if popped != Popped::Nothing {
                return popped;
            }
        }
        Popped::Nothing
    }

    /// Returns the magazine of the thread that owns `cache`.
    #[inline]
    fn magazine(&self, cache: &ThreadCache) -> &Magazine {
        // The index is below `MAGAZINES`; the remainder tells the compiler so.
        &self.magazines[cache.magazine.load(Ordering::Relaxed) % MAGAZINES]
    }

    /// Takes a magazine out of the set `from`, in exchange for the thread's own, which goes into
    /// `to`.
    fn exchange_magazine(
        &self,
        cache: &ThreadCache,
        from: &AtomicU64,
        to: &AtomicU64,
        filled: usize,
    ) -> Option<()> {
        let taken = loop {
            // Relaxed: the read-modify-write below looks again.
            let seen = from.load(Ordering::Relaxed);
            let lowest = seen & seen.wrapping_neg();
            if lowest == 0 {
                return None;
            }
            // Acquire: pairs with the Release below (T7).
            // mutant: magazine-take
            if from.fetch_and(!lowest, Ordering::Acquire) & lowest != 0 {
                break lowest.trailing_zeros() as usize;
            }
        };
        let own = cache.magazine.load(Ordering::Relaxed);
        cache.magazine.store(taken, Ordering::Relaxed);
        cache.filled.store(filled, Ordering::Relaxed);
        // Release: pairs with the Acquire above, hands over the magazine (T7) and the bytes of
        // its frames (T6). A next owner that took a filled cell for an empty one would fill it
        // again. (No model shows that it is needed: in models a full fence follows each store
        // into a cell.)
        to.fetch_or(1 << own, Ordering::Release);
        Some(())
    }

    #[inline(always)]
    fn pop_cell(&self, cell: Cell<'_>) -> Popped {
        // Release: pairs with the Acquire in `steal`; a search that passes over the cell finds
        // what this thread has put elsewhere before (T3).
        // mutant: pop-claim
        cell.claim.store(cell.index + 1, Ordering::Release);
        // Pairs with the heavy fence in `ensure_fence` (T2).
        // mutant: pop-fence
        light_fence();
        // Acquire: pairs with the Release in `end_revocation` and in the drop of `Search`; a
        // frame that was taken before the caches were restored is not found again.
        // mutant: pop-reads-revocation
        if self.revocation.load(Ordering::Acquire) != ENABLED {
            return self.pop_cell_revoked(cell.frame, cell.claim);
        }
        let frame = cell.frame.load(Ordering::Relaxed);
        // Relaxed: the caches were enabled, so all threads that have revoked them since see what
        // this thread has put elsewhere before.
        cell.frame.store(EMPTY, Ordering::Relaxed);
        // Release: pairs with the Acquire in `steal`; a search that finds no claim finds the cell
        // empty.
        cell.claim.store(NO_CLAIM, Ordering::Release);
        FrameId::new(frame).map_or(Popped::Nothing, Popped::Frame)
    }

    /// The rest of `pop_cell` under revocation: the claimed frame is the owner's (T3) unless a
    /// search was earlier.
    #[cold]
    #[inline(never)]
    fn pop_cell_revoked(&self, cell: &AtomicUsize, claim: &AtomicUsize) -> Popped {
        let frame = empty_by_exchange(cell);
        // Release: pairs with the Acquire in `steal`; a search that finds no claim finds the cell
        // empty.
        claim.store(NO_CLAIM, Ordering::Release);
        // After the frame was taken: a thread that closed the pool before and was refused the fence
        // is seen here if it is seen at all.
        let word = self.stand_in_for_refused();
        match frame {
            None => Popped::Nothing,
            // mutant: pop-checks-closed
            Some(frame) if word & CLOSED != 0 => Popped::Closed(frame),
            Some(frame) => Popped::Frame(frame),
        }
    }

    /// Executes the heavy fence for a thread that was refused it. Returns the revocation word.
    ///
    /// It does so as a search. Otherwise the caches could be restored between the fence and the
    /// flag, and `FENCED` would stand for a fence of an earlier revocation.
    fn stand_in_for_refused(&self) -> u64 {
        // Acquire: pairs with the Release in `ensure_fence`.
        let word = self.revocation.load(Ordering::Acquire);
        if word & (REFUSED | FENCED) == REFUSED {
            drop(self.search());
        }
        word
    }

    /// Stores a frame of the caller in the cache of this thread.
    ///
    /// Once the cell is filled, the pool may be gone (T5). The caller may therefore borrow
    /// nothing else of the pool.
    #[inline(always)]
    pub(crate) fn push(&'static self, thread: usize, frame: FrameId) -> Pushed {
        let Some(cache) = self.threads.get(thread) else {
            return Pushed::NotCached;
        };
        // Relaxed: only a hint, which saves filling the cell and emptying it again.
        if self.revocation.load(Ordering::Relaxed) != ENABLED {
            return self.count_cooldown(cache);
        }
        let [first] = &cache.first.cells;
        match first.load(Ordering::Relaxed) {
            EMPTY => self.push_cell(first, frame),
            _ => self.push_slow(cache, frame),
        }
    }

    #[inline(never)]
    fn push_slow(&self, cache: &ThreadCache, frame: FrameId) -> Pushed {
        let mut filled = cache.filled.load(Ordering::Relaxed);
        if filled == MAGAZINE_CELLS {
            filled = self.recount_filled(cache);
        }
        if filled == MAGAZINE_CELLS && self.leave_full_magazine(cache).is_some() {
            filled = 0;
        }
        match self.magazine(cache).cells.get(filled) {
            Some(cell) => {
                cache.filled.store(filled + 1, Ordering::Relaxed);
                self.push_cell(cell, frame)
            }
            None => Pushed::NotCached,
        }
    }

    /// Lowers `filled` to the last cell that no search has emptied.
    fn recount_filled(&self, cache: &ThreadCache) -> usize {
        let is_full = |cell: &AtomicUsize| cell.load(Ordering::Relaxed) != EMPTY;
        let last = self.magazine(cache).cells.iter().rposition(is_full);
        let filled = last.map_or(0, |last| last + 1);
        cache.filled.store(filled, Ordering::Relaxed);
        filled
    }

    /// Leaves a full magazine in the depot for an empty one, unless enough full ones are there.
    fn leave_full_magazine(&self, cache: &ThreadCache) -> Option<()> {
        let Depot { full, empty } = &*self.depot;
        // Relaxed: if several threads look at once, the limit is exceeded by a few.
        let count = full.load(Ordering::Relaxed).count_ones() as usize;
        if count < self.limits.full_magazines.load(Ordering::Relaxed) {
            self.exchange_magazine(cache, empty, full, 0)
        } else {
            None
        }
    }

    #[inline(always)]
    fn push_cell(&self, cell: &AtomicUsize, frame: FrameId) -> Pushed {
        debug_assert_eq!(cell.load(Ordering::Relaxed), EMPTY);
        // Release: pairs with the Acquire in `empty_by_exchange`, hands over the frame's bytes
        // (T6).
        cell.store(frame.get(), Ordering::Release);
        // Pairs with the heavy fence in `ensure_fence` (T4).
        // mutant: push-fence
        light_fence();
        // mutant: push-reads-revocation
        if self.revocation.load(Ordering::Relaxed) != ENABLED {
            return Self::take_back(cell);
        }
        Pushed::Cached
    }

    /// The rest of `push_cell` under revocation: takes the frame out again, unless a search has
    /// (T4).
    #[cold]
    #[inline(never)]
    fn take_back(cell: &AtomicUsize) -> Pushed {
        match empty_by_exchange(cell) {
            Some(_) => Pushed::NotCached,
            None => Pushed::Cached,
        }
    }

    /// The rest of `push` under revocation: counts the release.
    #[cold]
    #[inline(never)]
    fn count_cooldown(&self, cache: &ThreadCache) -> Pushed {
        self.stand_in_for_refused();
        // Relaxed: the count is the thread's own.
        let count = cache.cooldown.load(Ordering::Relaxed) + 1;
        let (count, pushed) = if count < self.limits.cooldown.load(Ordering::Relaxed) {
            (count, Pushed::NotCached)
        } else {
            (0, Pushed::CooldownOver)
        };
        cache.cooldown.store(count, Ordering::Relaxed);
        pushed
    }

    /// Enables the caches again, if no reason for their revocation is left.
    #[cold]
    pub(crate) fn restore(&self) {
        let word = self.revocation.load(Ordering::Relaxed);
        // Without `FENCED` the system has refused the fence, and the caches stay revoked.
        // mutant: restore-in-cooldown-only
        if word & !(DRAINED | REFUSED) == COOLDOWN | FENCED {
            // Relaxed: a read-modify-write, which carries on the Release of all that ended a
            // revocation before. If it fails, another thread has just revoked the caches again,
            // or restored them.
            let _changed = self.revocation.compare_exchange(
                word,
                ENABLED,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Revokes the caches for a reason, `CLOSED` or `WAITERS`, until the revocation for this reason
    /// [ends](Self::end_revocation).
    pub(crate) fn revoke(&self, reason: u64) {
        // Acquire: pairs with the Release in `ensure_fence`.
        let before = self
            .revocation
            .fetch_or(reason | COOLDOWN, Ordering::Acquire);
        self.ensure_fence(before);
    }

    /// Ends the revocation for a reason, if there is one.
    pub(crate) fn end_revocation(&self, reason: u64) {
        if self.revocation.load(Ordering::Relaxed) & reason != 0 {
            // Release: pairs with the Acquire in `pop_cell`.
            self.revocation.fetch_and(!reason, Ordering::Release);
        }
    }

    /// Revokes the caches for a search.
    pub(crate) fn search(&self) -> Search<'_> {
        // Acquire: pairs with the Release in `ensure_fence`.
        let before = self.revocation.fetch_add(SEARCH, Ordering::Acquire);
        if before & COOLDOWN == 0 {
            self.revocation.fetch_or(COOLDOWN, Ordering::Relaxed);
        }
        self.ensure_fence(before);
        Search(self)
    }

    /// Executes the heavy fence, unless it has been executed since the caches were revoked.
    /// `before` is the word that the caller found when it revoked them.
    fn ensure_fence(&self, before: u64) {
        // mutant: heavy-fence
        if before & FENCED == 0 {
            let flag = if heavy_fence() { FENCED } else { REFUSED };
            // Release: pairs with the Acquire of a thread that finds the flag when it revokes the
            // caches, and executes no fence of its own.
            self.revocation.fetch_or(flag, Ordering::Release);
        }
    }

    /// Returns whether frames may be in the caches, which the caller keeps revoked.
    pub(crate) fn may_have_frames(&self) -> bool {
        self.revocation.load(Ordering::Acquire) & DRAINED == 0
    }

    /// Takes the frames out of all unclaimed cells, until `enough` returns `true` for one of
    /// them. The caller keeps the caches revoked.
    pub(crate) fn drain(&self, mut enough: impl FnMut(FrameId) -> bool) {
        let word = self.revocation.load(Ordering::Acquire);
        // Without the fence, owners may be emptying cells by plain stores (T2).
        if word & FENCED == 0 || word & DRAINED != 0 {
            return;
        }
        // After the fence, so that these include the cells of every thread that saw the caches
        // enabled (T2).
        // mutant: drain-cells
        for cell in self.cells_in_use() {
            if Self::steal(cell).is_some_and(&mut enough) {
                return;
            }
        }
        // Release: pairs with the Acquire above and in `may_have_frames`; a thread that finds the
        // flag need not look at the cells.
        self.revocation.fetch_or(DRAINED, Ordering::Release);
    }

    /// Takes the frame out of a cell of any thread, unless its owner is at it.
    fn steal(cell: Cell<'_>) -> Option<FrameId> {
        // Acquire: pairs with each Release store of a claim, in `pop_cell` and `pop_cell_revoked`.
        // mutant: steal-reads-claim
        if cell.claim.load(Ordering::Acquire) == cell.index + 1 {
            return None;
        }
        // Acquire: pairs with the Release in `empty_by_exchange`; what another thread has put
        // elsewhere before it emptied the cell is found there. A frame that entered the cell
        // before the fence is seen; its owner looks after one that entered later (T4).
        if cell.frame.load(Ordering::Acquire) == EMPTY {
            return None;
        }
        empty_by_exchange(cell.frame)
    }

    /// Returns the cells that any thread may ever have filled.
    fn cells_in_use(&self) -> impl Iterator<Item = Cell<'_>> {
        #[cfg(not(all(test, loom)))]
        let used = self
            .home
            .map_or(THREAD_CACHES, |home| (home.indices_used)());
        #[cfg(all(test, loom))]
        let used = recycled_indices_used();
        let threads = used.min(THREAD_CACHES);
        // mutant: search-first-cells
        let caches = self.threads[..threads].iter();
        // mutant: search-magazines
        let magazines = self.magazines[..DEPOT_MAGAZINES + threads].iter();
        let first_cells = caches.flat_map(|cache| cache.first.cells());
        first_cells.chain(magazines.flat_map(|magazine| magazine.cells()))
    }

    /// Returns whether this frame is in a cell, for reports.
    pub(crate) fn contains(&self, frame: FrameId) -> bool {
        // Acquire: as in `frames`.
        let is_it = |cell: Cell<'_>| cell.frame.load(Ordering::Acquire) == frame.get();
        self.cells_in_use().any(is_it)
    }

    /// Returns the number of frames in all cells. It is exact while no frame is acquired or
    /// released.
    pub(crate) fn frames(&self) -> usize {
        // Acquire: pairs with the Release in `push_cell`, as in `FreeList::free_frames`.
        let is_full = |cell: &Cell<'_>| cell.frame.load(Ordering::Acquire) != EMPTY;
        self.cells_in_use().filter(is_full).count()
    }
}

/// Empties a cell.
fn empty_by_exchange(cell: &AtomicUsize) -> Option<FrameId> {
    // Acquire: pairs with the Release in `push_cell` (T6). Release: pairs with the Acquire in
    // `steal`. (No model shows that it is needed: models have full fences, and `pop_cell` has one
    // before it.)
    // mutant: cell-exchange
    FrameId::new(cell.swap(EMPTY, Ordering::AcqRel))
}

/// A search of the caches. They stay revoked until it is dropped.
#[derive(Debug)]
pub(crate) struct Search<'caches>(&'caches Caches);

impl Search<'_> {
    /// Takes any frame. Returns `None` if at one moment of the search no cell had one (T3, T4),
    /// or if the system has refused the heavy fence to every thread that tried it.
    pub(crate) fn take(&self) -> Option<FrameId> {
        let mut taken = None;
        self.0.drain(|frame| {
            taken = Some(frame);
            true
        });
        taken
    }
}

impl Drop for Search<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `pop_cell`.
        // mutant: search-end
        self.0.revocation.fetch_sub(SEARCH, Ordering::Release);
    }
}

#[cfg(not(all(test, loom)))]
static HOME: Home = Home {
    indices_used: recycled_indices_used,
    unused: NoAllocMutex::new(Unused {
        caches: Vec::new(),
        created: 0,
    }),
};

/// Caches that this copy of the crate has created and no pool uses.
#[cfg(not(all(test, loom)))]
#[derive(Debug)]
struct Unused {
    /// Has the capacity for all caches that were ever created, so that the release of a pool's last
    /// frame does not allocate.
    caches: Vec<&'static Caches>,
    created: usize,
}

/// The caches of a pool, which are returned for the next pool when the lease is dropped. They are
/// never freed (T5).
#[derive(Debug)]
pub(crate) struct Lease(&'static Caches);

impl Lease {
    /// Leases caches for a new pool of `frames` frames. Returns `None` if the system has no heavy
    /// fence.
    pub(crate) fn new(frames: usize) -> Result<Option<Self>, CommitError> {
        if !heavy_fence_is_supported() {
            return Ok(None);
        }
        let caches = Self::take_unused()?;
        // An owner that is still in `push_cell` with a frame of the last pool finds the cell empty,
        // whatever it reads of the revocation word (T5).
        caches.reset(frames);
        Ok(Some(Self(caches)))
    }

    #[cfg(not(all(test, loom)))]
    fn take_unused() -> Result<&'static Caches, CommitError> {
        let mut unused = HOME.unused.lock();
        if let Some(caches) = unused.caches.pop() {
            return Ok(caches);
        }
        // The old `Vec` is empty, so that no caches are lost.
        unused.caches = try_with_capacity(unused.created + 1)?;
        let created = Caches::create()?;
        unused.created += 1;
        Ok(created)
    }

    /// Creates caches that are leaked: each execution of a model has its own.
    #[cfg(all(test, loom))]
    fn take_unused() -> Result<&'static Caches, CommitError> {
        Caches::create()
    }

    #[inline(always)]
    pub(crate) fn caches(&self) -> &'static Caches {
        self.0
    }
}

#[cfg(not(all(test, loom)))]
impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(home) = self.0.home {
            home.unused.lock().caches.push(self.0);
        }
    }
}

#[cfg(all(test, any(loom, target_os = "linux")))]
impl Popped {
    /// Returns the frame of a list that is not closed.
    fn frame(self) -> Option<FrameId> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Nothing => None,
            Self::Closed(frame) => panic!("{frame} is of a closed list"),
        }
    }
}

#[cfg(test)]
#[cfg(all(not(loom), target_os = "linux"))]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;

    /// Enough for one full magazine in the depot.
    const FRAMES: usize = DEPOT_DIVISOR * MAGAZINE_CELLS;

    /// Number of frames in a full thread cache.
    const CAPACITY: usize = 1 + MAGAZINE_CELLS;

    fn caches() -> Lease {
        // Searches only look at the magazines of indices that some thread has had.
        let both = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    crate::sync::thread_index();
                    both.wait();
                });
            }
        });
        Lease::new(FRAMES).unwrap().expect("Linux has membarrier")
    }

    fn id(number: usize) -> FrameId {
        FrameId::new(number).unwrap()
    }

    fn push_all(lease: &Lease, thread: usize, numbers: RangeInclusive<usize>) {
        for number in numbers {
            let pushed = lease.caches().push(thread, id(number));
            assert_eq!(pushed, Pushed::Cached, "{number}");
        }
    }

    fn pop_all(lease: &Lease, thread: usize) -> Vec<usize> {
        let popped = std::iter::from_fn(|| lease.caches().pop(thread).frame());
        let mut popped: Vec<_> = popped.map(FrameId::get).collect();
        popped.sort_unstable();
        popped
    }

    #[test]
    fn only_the_thread_that_cached_frames_pops_them() {
        let lease = caches();
        push_all(&lease, 0, 1..=CAPACITY);
        assert_eq!(lease.caches().frames(), CAPACITY);
        assert_eq!(lease.caches().pop(1).frame(), None);
        assert_eq!(pop_all(&lease, 0), Vec::from_iter(1..=CAPACITY));
        assert_eq!(lease.caches().frames(), 0);
    }

    #[test]
    fn other_threads_pop_the_frames_of_a_magazine_in_the_depot() {
        let lease = caches();
        for _ in 0..3 {
            // The depot takes the first full magazine of the thread and has no room for the second.
            push_all(&lease, 0, 1..=CAPACITY + MAGAZINE_CELLS);
            assert_eq!(lease.caches().push(0, id(99)), Pushed::NotCached);
            assert_eq!(lease.caches().frames(), CAPACITY + MAGAZINE_CELLS);
            assert_eq!(pop_all(&lease, 1), Vec::from_iter(2..=CAPACITY));
            let second = CAPACITY + 1..=CAPACITY + MAGAZINE_CELLS;
            let rest = [1].into_iter().chain(second);
            assert_eq!(pop_all(&lease, 0), Vec::from_iter(rest));
        }
    }

    #[test]
    fn a_search_finds_the_frames_in_the_depot() {
        let lease = caches();
        push_all(&lease, 0, 1..=CAPACITY + MAGAZINE_CELLS);
        let found = std::iter::from_fn(|| lease.caches().search().take()).count();
        assert_eq!(found, CAPACITY + MAGAZINE_CELLS);
        lease.caches().restore();
        // The magazine that the search has emptied is still in the set of full ones, where this
        // thread finds it.
        assert_eq!(lease.caches().pop(1).frame(), None);
        push_all(&lease, 1, 1..=CAPACITY + MAGAZINE_CELLS);
        assert_eq!(pop_all(&lease, 1).len(), CAPACITY + MAGAZINE_CELLS);
    }

    #[test]
    fn threads_with_higher_indices_cache_nothing() {
        let lease = caches();
        for thread in [THREAD_CACHES, usize::MAX] {
            assert_eq!(lease.caches().push(thread, id(1)), Pushed::NotCached);
            assert_eq!(lease.caches().pop(thread).frame(), None);
        }
    }

    #[test]
    fn a_search_takes_one_frame_and_leaves_the_others() {
        let lease = caches();
        let caches = lease.caches();
        push_all(&lease, 0, 1..=2);
        push_all(&lease, 1, 3..=3);
        assert_eq!(caches.search().take(), Some(id(1)));
        assert_eq!(caches.frames(), 2);
        // Under revocation an owner takes a frame out of its first cell alone.
        assert_eq!(caches.pop(0).frame(), None);
        assert_eq!(caches.pop(1).frame(), Some(id(3)));
        assert!(caches.search().take().is_some());
        assert!(caches.may_have_frames());
        assert_eq!(caches.search().take(), None);
        assert!(!caches.may_have_frames());
    }

    #[test]
    fn caches_are_restored_after_the_cooldown_if_no_reason_for_revocation_is_left() {
        let lease = caches();
        let caches = lease.caches();
        for reason in [CLOSED, WAITERS] {
            drop(caches.search());
            caches.revoke(reason);
            caches.restore();
            assert_eq!(caches.push(0, id(1)), Pushed::NotCached);
            caches.end_revocation(reason);
            caches.end_revocation(reason);
            assert_eq!(caches.push(0, id(1)), Pushed::NotCached);
            caches.restore();
            assert_eq!(caches.push(0, id(1)), Pushed::Cached);
            assert_eq!(caches.pop(0).frame(), Some(id(1)));
        }
        let search = caches.search();
        caches.restore();
        assert_eq!(caches.push(0, id(1)), Pushed::NotCached);
        drop(search);
        let mut pushes = 0..MIN_COOLDOWN;
        let over = pushes.find(|_| caches.push(1, id(1)) == Pushed::CooldownOver);
        assert_eq!(over, Some(MIN_COOLDOWN - 1));
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    #![expect(unsafe_code, reason = "a checked cell stands for the bytes of a frame")]

    use loom::thread;

    use crate::pool::free_list::{FrameIds, FreeList, PutBack, put_back};
    use crate::sync::{Arc, UnsafeCell};

    use super::*;

    /// Returns an open list with caches. All frames are in one word.
    fn list(frames: usize) -> Arc<FreeList> {
        let list = FreeList::new(frames, 1, true).unwrap();
        Arc::new(list.with_caches(FrameIds::ONE_BASED).unwrap())
    }

    /// Acquires a frame.
    fn acquire(list: &FreeList, thread: usize) -> Option<usize> {
        match list.caches().unwrap().pop(thread) {
            Popped::Frame(id) => Some(FrameIds::ONE_BASED.frame(id)),
            Popped::Nothing => acquire_slow(list, thread),
            Popped::Closed(id) => {
                put(list, FrameIds::ONE_BASED.frame(id));
                None
            }
        }
    }

    /// Acquires a frame that is not in the thread's own cache.
    fn acquire_slow(list: &FreeList, thread: usize) -> Option<usize> {
        let taken = list.take(thread, 1).ok()?;
        Some(list.frame_at(taken))
    }

    /// Releases a frame into the thread's own cache.
    fn cache(list: &FreeList, thread: usize, frame: usize) -> Pushed {
        let id = FrameIds::ONE_BASED.of(frame).unwrap();
        list.caches().unwrap().push(thread, id)
    }

    /// Releases a frame into its word.
    fn put(list: &FreeList, frame: usize) -> PutBack {
        let place = list.places().nth(frame).unwrap();
        put_back(list.word(place.word), list.addend(place.bits))
    }

    /// Releases a frame.
    fn release(list: &FreeList, thread: usize, frame: usize) {
        match cache(list, thread, frame) {
            Pushed::Cached => return,
            Pushed::NotCached => {}
            Pushed::CooldownOver => list.caches().unwrap().restore(),
        }
        assert_eq!(put(list, frame), PutBack::Done);
    }

    fn touch(bytes: &UnsafeCell<i32>) {
        bytes.with_mut(|bytes| {
            // SAFETY: the calling thread has the frame to itself, which loom checks.
            unsafe { *bytes += 1 }
        });
    }

    /// Takes a frame out of the thread's own cache. Touches the bytes if there was one.
    fn pop_and_touch(list: &FreeList, thread: usize, bytes: &UnsafeCell<i32>) -> bool {
        let popped = list.caches().unwrap().pop(thread).frame();
        popped.inspect(|_| touch(bytes)).is_some()
    }

    /// Acquires a frame that is not in the thread's own cache. Touches the bytes if there was one.
    fn acquire_slow_and_touch(list: &FreeList, thread: usize, bytes: &UnsafeCell<i32>) -> bool {
        let acquired = acquire_slow(list, thread);
        acquired.inspect(|_| touch(bytes)).is_some()
    }

    /// Returns a list with enabled caches, and its frames, all of which thread 1 holds.
    fn list_all_out<const FRAMES: usize>() -> (Arc<FreeList>, [usize; FRAMES]) {
        let list = list(FRAMES);
        let frames = [0; FRAMES].map(|_| acquire_slow(&list, 1).unwrap());
        list.caches().unwrap().restore();
        (list, frames)
    }

    /// Returns a list of one frame, which is in the cache of thread 1.
    fn list_with_one_cached() -> Arc<FreeList> {
        let (list, [held]) = list_all_out();
        assert_eq!(cache(&list, 1, held), Pushed::Cached);
        list
    }

    /// T1, T2, T6: either an owner or a search gets the frame, and sees what was done with it.
    ///
    /// Kills: no fence, no claim, or no look at the revocation word in `pop_cell`; no look at the
    /// claim in `steal`; a load and a store in place of the exchange; no `heavy_fence`.
    #[test]
    fn a_cached_frame_has_one_owner_at_a_time() {
        loom::model(|| {
            let list = list(1);
            let bytes = Arc::new(UnsafeCell::new(0));
            let owner = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        if let Some(frame) = acquire(&list, 1) {
                            touch(&bytes);
                            release(&list, 1, frame);
                        }
                    }
                })
            };
            if let Some(frame) = acquire_slow(&list, 0) {
                touch(&bytes);
                assert_eq!(put(&list, frame), PutBack::Done);
            }
            owner.join().unwrap();
            assert_eq!(list.free_frames(), 1);
        });
    }

    /// T3, T4: one of two frames is always free, in the word or in the cache of the other thread.
    /// So no acquire fails.
    ///
    /// Kills: `DRAINED` set without a look at the cells; no second look at the words after the
    /// caches; `Release` to `Relaxed` in the claim.
    #[test]
    fn a_search_finds_the_frames_that_other_threads_cache() {
        loom::model(|| {
            let list = list(2);
            let owner = {
                let list = list.clone();
                thread::spawn(move || {
                    let one = acquire_slow(&list, 1).expect("the other thread has at most one");
                    release(&list, 1, one);
                    let two = acquire_slow(&list, 1).expect("the other thread has at most one");
                    release(&list, 1, two);
                    let one = acquire(&list, 1).expect("the other thread has at most one");
                    release(&list, 1, one);
                })
            };
            let frame = acquire_slow(&list, 0).expect("the other thread has at most one");
            assert_eq!(put(&list, frame), PutBack::Done);
            owner.join().unwrap();
            assert_eq!(list.free_frames(), 2);
        });
    }

    /// T2: a search can rely on the fence of another search once it has been executed.
    ///
    /// Kills: `FENCED` set before `heavy_fence`.
    #[test]
    fn one_fence_is_enough_for_two_searches() {
        loom::model(|| {
            let list = list_with_one_cached();
            let bytes = Arc::new(UnsafeCell::new(0));
            let searchers = [0, 0].map(|thread| {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || acquire_slow_and_touch(&list, thread, &bytes))
            });
            let mut owners = usize::from(pop_and_touch(&list, 1, &bytes));
            for searcher in searchers {
                owners += usize::from(searcher.join().unwrap());
            }
            assert_eq!(owners, 1);
        });
    }

    /// T2: once the caches are restored, the owner does not find a frame that a search has taken.
    ///
    /// Kills: `Acquire` to `Relaxed` in `pop_cell`; `Release` to `Relaxed` at the end of a
    /// `Search`.
    #[test]
    fn a_restored_cache_does_not_show_frames_that_a_search_took() {
        loom::model(|| {
            let list = list_with_one_cached();
            let bytes = Arc::new(UnsafeCell::new(0));
            let searcher = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || acquire_slow_and_touch(&list, 0, &bytes))
            };
            let restorer = {
                let list = list.clone();
                thread::spawn(move || list.caches().unwrap().restore())
            };
            pop_and_touch(&list, 1, &bytes);
            searcher.join().unwrap();
            restorer.join().unwrap();
        });
    }

    /// Returns a list of three frames with enabled caches, and the last frame. Thread 1 holds
    /// that one and has cached the other two, the first in its first cell and the second in its
    /// magazine.
    fn list_with_full_thread_cache() -> (Arc<FreeList>, usize) {
        let (list, [first, second, last]) = list_all_out();
        assert_eq!(cache(&list, 1, first), Pushed::Cached);
        assert_eq!(cache(&list, 1, second), Pushed::Cached);
        (list, last)
    }

    /// T6, T7: the next owner of a magazine, another thread or the same one, sees what was done
    /// with the frames in it.
    ///
    /// Kills: in `exchange_magazine`, `Acquire` to `Relaxed`, and taking a magazine that another
    /// thread has taken.
    #[test]
    fn a_full_magazine_goes_from_one_thread_to_another() {
        loom::model(|| {
            let (list, frames) = list_all_out::<3>();
            let bytes = Arc::new([0; 3].map(UnsafeCell::new));
            let other = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || {
                    let popped = list.caches().unwrap().pop(0).frame();
                    popped
                        .inspect(|id| touch(&bytes[FrameIds::ONE_BASED.frame(*id)]))
                        .iter()
                        .count()
                })
            };
            for frame in frames {
                touch(&bytes[frame]);
                assert_eq!(cache(&list, 1, frame), Pushed::Cached);
            }
            let mut popped = 0;
            while let Some(id) = list.caches().unwrap().pop(1).frame() {
                touch(&bytes[FrameIds::ONE_BASED.frame(id)]);
                popped += 1;
            }
            assert_eq!(popped + other.join().unwrap(), 3);
        });
    }

    /// T1, T4: a search finds the frames of a magazine that is changing its owner.
    ///
    /// Kills: searching fewer magazines than there are, or no first cells.
    #[test]
    fn a_search_finds_the_frames_of_a_magazine_that_changes_owner() {
        loom::model(|| {
            let (list, last) = list_with_full_thread_cache();
            let owner = {
                let list = list.clone();
                thread::spawn(move || {
                    if cache(&list, 1, last) != Pushed::Cached {
                        put(&list, last);
                    }
                })
            };
            assert!(acquire_slow(&list, 0).is_some());
            assert!(acquire_slow(&list, 0).is_some());
            owner.join().unwrap();
        });
    }

    /// T2, T7: either the new owner of a magazine or a search gets the frame.
    ///
    /// Kills: no fence in `pop_cell`; no look at the claim in `steal`.
    #[test]
    fn a_frame_in_a_magazine_that_changes_owner_has_one_owner_at_a_time() {
        loom::model(|| {
            let (list, last) = list_with_full_thread_cache();
            let caches = list.caches().unwrap();
            assert_eq!(cache(&list, 1, last), Pushed::Cached);
            assert!(caches.pop(1).frame().is_some() && caches.pop(1).frame().is_some());
            let bytes = Arc::new(UnsafeCell::new(0));
            let searcher = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || acquire_slow_and_touch(&list, 1, &bytes))
            };
            let popped = pop_and_touch(&list, 0, &bytes);
            assert!(popped != searcher.join().unwrap());
        });
    }

    /// T4, and the premise of C2: a closing list counts a frame as out if and only if its release
    /// learns that the list is closed. In the end the frame is free.
    ///
    /// Kills: `close_caches` counting nothing.
    #[test]
    fn closing_and_caching_agree_on_who_counts_the_frame() {
        loom::model(|| {
            let (list, [held]) = list_all_out();
            let releaser = {
                let list = list.clone();
                thread::spawn(move || match cache(&list, 1, held) {
                    Pushed::Cached => PutBack::Done,
                    Pushed::NotCached | Pushed::CooldownOver => put(&list, held),
                })
            };
            let out = list.close();
            let free_after_close = list.free_frames();
            let counted = out - list.open();
            let learned = releaser.join().unwrap() == PutBack::DoneClosed;
            assert_eq!(counted, usize::from(learned));
            assert!(out + free_after_close >= 1);
            assert_eq!(list.free_frames(), 1);
        });
    }

    /// T8: a thread closes the list and is refused the fence. From then on the owner of a cached
    /// frame does not acquire it.
    ///
    /// Kills: no look at `CLOSED` in `pop_cell_revoked`.
    #[test]
    fn no_frame_is_acquired_after_a_close_without_a_fence() {
        loom::model(|| {
            let list = list_with_one_cached();
            let is_closed = Arc::new(AtomicUsize::new(0));
            let closer = {
                let (list, is_closed) = (list.clone(), is_closed.clone());
                thread::spawn(move || {
                    let revocation = &list.caches().unwrap().revocation;
                    revocation.fetch_or(CLOSED | COOLDOWN, Ordering::Acquire);
                    revocation.fetch_or(REFUSED, Ordering::Release);
                    is_closed.store(1, Ordering::Release);
                })
            };
            let was_closed = is_closed.load(Ordering::Acquire) == 1;
            match list.caches().unwrap().pop(1) {
                Popped::Frame(_) => assert!(!was_closed),
                Popped::Closed(id) => {
                    assert_eq!(put(&list, FrameIds::ONE_BASED.frame(id)), PutBack::Done);
                }
                Popped::Nothing => panic!("no other thread takes the frame"),
            }
            closer.join().unwrap();
        });
    }

    /// C5: once a closed list counts a frame as free, no thread gets it from a cache.
    ///
    /// Kills: `free_frames` counting the frames in the caches of a closed list.
    #[test]
    fn a_frame_that_is_free_in_a_closed_list_stays_free() {
        loom::model(|| {
            let (list, [held]) = list_all_out();
            let bytes = Arc::new(UnsafeCell::new(0));
            let owner = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || {
                    if cache(&list, 1, held) != Pushed::Cached {
                        put(&list, held);
                    }
                    if acquire(&list, 1).is_some() {
                        touch(&bytes);
                    }
                })
            };
            list.close();
            if list.free_frames() == 1 {
                touch(&bytes);
            }
            owner.join().unwrap();
        });
    }
}
