//! Frames that threads keep for themselves: released by a thread, and handed to the same thread again
//! without a read-modify-write.
//!
//! This file knows names of frames only, which are numbers other than 0, no memory, and is safe code. It
//! stands beside the words of the [free list](super::free_list): a frame that is free lies in a word
//! or in a cache.
//!
//! # The idea
//!
//! Each thread owns some cells in the caches of each pool, and works on them with plain loads and stores.
//! Nobody else touches these, until somebody finds no frame in the words, or has to wait, or closes
//! the pool. That one *raises the gate*, runs a barrier on all processors at once, and from then on takes
//! frames out of the cells of others, one by one, by exchange. No frame is moved anywhere on the way:
//! at each moment it is in one place where all who look can take it. So nobody has to wait for the owner of
//! a cell, whatever it was doing when it was interrupted.
//!
//! One of these cells is in the thread's *hand*, and is all it needs if it releases each frame before it acquires
//! the next. The others are in its *magazine*. Where one thread acquires and another releases, frames go from the
//! one to the other a magazine at a time: who has a full one and wants to keep another frame leaves it in the
//! *depot* and takes an empty one from there, and who has an empty one takes a full one. Again no frame
//! moves. What changes hands is the magazine.
//!
//! The barrier is what an owner does not pay for. Between a store and the load after it an owner has
//! a *light* fence, which only the compiler sees; whoever raises the gate has a *heavy* fence between
//! the two, a system call that makes every processor that runs a thread of this process fence at once.
//! It falls somewhere into what each owner does. If it falls before the load, that finds the gate raised;
//! if after the load, then after the store, too, which is then seen by whoever raised the gate. So far the
//! two work as two sequentially consistent fences would (and, to loom, are two); but the light one orders
//! nothing else, so nothing else here counts on it.
//!
//! # The row
//!
//! Cells are in rows, the one in the hand and those in a magazine:
//!
//! | announced | cell *k* | what is going on |
//! |---|---|---|
//! | any other | empty | nothing there; the owner may put a frame in |
//! | any other | a frame | it is free: the owner's if it announces *k*, anybody's behind a raised gate |
//! | *k* + 1 | a frame | the owner takes it out |
//! | *k* + 1 | empty | the owner has taken it out, or came too late |
//!
//! A magazine is in one hand, that of its owner, or in the depot. There it is in one of two sets: that of those
//! whose cells were all filled before they came, and that of those which were empty. (Searches may have
//! emptied the former since.)
//!
//! # The gate
//!
//! ```text
//!     63    62     61      60      59     58 .......... 0
//!    SHUT  LINE  RESTING  FENCED  DRAINED    searches
//! ```
//!
//! It is open if the word is 0. `SHUT`: the pool is closed. `LINE`: somebody waits for a frame.
//! Searches are callers that are looking through the magazines now. `RESTING` is set with each of these and
//! stays behind when it goes, so that a pool which runs dry again and again has no barrier each time; an
//! owner who finds the gate raised for a while opens it, if there is nothing but `RESTING` and frames
//! are plenty. `FENCED` and `DRAINED` say how far whoever raised the gate has come: the barrier has been run;
//! all cells have been seen empty. They go only when the gate opens.
//!
//! # Invariants
//!
//! - **T1** A frame that is free is in one word or one cell. It goes from a cell to whoever takes it in
//!   one step, and from its holder to a cell in one step. Only the owner of a row fills its cells or
//!   announces.
//! - **T2** While the gate is open, only the owner touches a cell that is not empty. Behind a raised gate
//!   a frame leaves a cell by exchange only, except that an owner who found the gate open before takes
//!   the one from the cell that it has announced: that cell nobody else touches. (The announcement comes
//!   before the owner's look at the gate, the raising before the look at the announcement, with a fence
//!   between on both sides: one of them sees the other.)
//! - **T3** An announced frame is as good as taken: by its announcer, or by a search that came before.
//!   Whoever passes it over need not ask what became of it, but sees all that the announcer did
//!   before: what it has put into a word is found there. So it is with a cell that is found empty.
//! - **T4** A frame that comes into a cell behind a raised gate is taken out again by its owner, unless
//!   a search has found it. (The owner looks at the gate once more after it has filled the cell, with
//!   the same two fences.) Until then its release is not over. So nobody waits while a frame lies in a
//!   cache, and once all cells have been seen empty behind a fence, nothing is free but what is in the
//!   words, for as long as the gate stays raised.
//! - **T5** The owner touches nothing but that cell and the gate after it has filled a cell, for the frame and its
//!   pool may be gone (F5). They stay: caches are never freed, but go from pool to pool. A frame that
//!   the owner then takes out again is the one that it put in, whichever pool has the caches now, for
//!   nobody else fills its cells, and it gives no magazine away meanwhile: what it does with hand and
//!   depot it does before; and whoever closed the pool without finding it there has counted it
//!   as out.
//! - **T6** A frame that is taken out of a cell comes with everything that its last holder did with it.
//!   (*Release* where the cell is filled, *Acquire* where it is emptied; the owner has its own order.)
//! - **T7** A row has one owner at a time, who sees all that those before did: a magazine goes into the depot by
//!   *Release* and out by *Acquire*. (Acquirer changes one for another has both for a moment.) Cells at the
//!   owner's level and beyond are empty, and what is empty its owner may fill. A thread has in its hand what is in the hand of its number, in all
//!   pools, for as long as it lives; the next thread of that number comes after it. Threads with higher numbers
//!   than there are hands have none. What a thread leaves behind in its hands when it parks, dies or
//!   ends is found by others like the rest (T2).

use std::num::NonZero;

use crossbeam_utils::CachePadded;

use crate::error::CommitError;
#[cfg(not(loom))]
use crate::memory::try_with_capacity;
#[cfg(not(loom))]
use crate::sync::StdMutex;
use crate::sync::{
    AtomicU64, AtomicUsize, Ordering, RECYCLED_INDICES, heavy_fence, heavy_fence_works,
    light_fence, recycled_indices_used,
};

/// A pool of fewer frames would have too many of them in its caches.
pub(crate) const MIN_FRAMES: usize = if cfg!(loom) { 1 } else { 64 };

/// Frames in a magazine, at most: with `announced`, a cache line.
const CELLS: usize = if cfg!(loom) { 1 } else { 7 };

/// Magazines beside those of the hands, and so how many are in the depot: so many can be full there.
const SPARES: usize = if cfg!(loom) { 1 } else { 16 };

/// Threads that have one in hand.
const HANDS: usize = if cfg!(loom) { 2 } else { 48 };

/// The sets in the depot have a bit for each.
const MAGAZINES: usize = SPARES + HANDS;

const _: () = assert!(HANDS <= RECYCLED_INDICES && MAGAZINES <= u64::BITS as usize);

/// Of the frames of a pool, one in so many may lie in the depot.
const SHARE_OF_DEPOT: usize = if cfg!(loom) { 1 } else { 2 };

/// Releases of one thread behind a raised gate before it thinks of opening it, at the least. It is one for each
/// frame of a large pool, for it takes long there to see how many are free.
const MIN_COOLDOWN: usize = if cfg!(loom) { 1 } else { 1024 };

const OPEN: u64 = 0;
pub(crate) const SHUT: u64 = 1 << 63;
pub(crate) const LINE: u64 = 1 << 62;
const RESTING: u64 = 1 << 61;
const FENCED: u64 = 1 << 60;
const DRAINED: u64 = 1 << 59;
const SEARCH: u64 = 1;

const EMPTY: usize = 0;
const NOTHING: usize = 0;

/// The caches of one pool at a time.
#[derive(Debug)]
pub(crate) struct Caches {
    gate: CachePadded<AtomicU64>,
    limits: Limits,
    hands: [CachePadded<Hand>; HANDS],
    depot: CachePadded<Depot>,
    /// The spare ones first, and then one for each hand, where it begins.
    magazines: [CachePadded<Magazine>; MAGAZINES],
}

/// What goes by the number of frames, and never changes while a pool lasts.
#[derive(Debug)]
struct Limits {
    /// How many magazines may be full in the depot, more or less.
    full: AtomicUsize,
    /// How many releases of a thread behind a raised gate are enough.
    patience: AtomicUsize,
}

/// What a thread has. Nobody else looks at any of it but at `first`.
#[derive(Debug)]
struct Hand {
    /// Where most of its frames come from and go to.
    first: Row<1>,
    /// The number of its magazine.
    magazine: AtomicUsize,
    /// How many cells of that it has filled. Those beyond are empty; of the others some may be.
    level: AtomicUsize,
    /// How many releases it has had behind a raised gate.
    patience: AtomicUsize,
}

/// Frames that a thread has kept, and may leave to another.
type Magazine = Row<CELLS>;

#[derive(Debug)]
struct Row<const LENGTH: usize> {
    /// The cell that the owner is taking a frame from, plus 1.
    announced: AtomicUsize,
    /// The names of frames.
    cells: [AtomicUsize; LENGTH],
}

/// One cell of a row.
#[derive(Clone, Copy, Debug)]
struct Cell<'row> {
    name: &'row AtomicUsize,
    number: usize,
    announced: &'row AtomicUsize,
}

impl<const LENGTH: usize> Row<LENGTH> {
    fn new() -> Self {
        Self {
            announced: AtomicUsize::new(NOTHING),
            cells: std::array::from_fn(|_| AtomicUsize::new(EMPTY)),
        }
    }

    #[inline(always)]
    fn cell(&self, number: usize) -> Option<Cell<'_>> {
        Some(Cell {
            name: self.cells.get(number)?,
            number,
            announced: &self.announced,
        })
    }

    fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..LENGTH).filter_map(|number| self.cell(number))
    }
}

/// The magazines that are in no hand, a bit for each.
#[derive(Debug)]
struct Depot {
    full: AtomicU64,
    empty: AtomicU64,
}

/// What a frame goes by here.
pub(crate) type Name = NonZero<usize>;

/// What became of a frame that its thread wants to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is free. By T5 the pool may be gone.
    Kept,
    /// It is still the caller's.
    No,
    /// It is still the caller's, and the gate has been raised for long.
    Restless,
}

impl Caches {
    fn new() -> Self {
        let hand = |number| {
            CachePadded::new(Hand {
                first: Row::new(),
                magazine: AtomicUsize::new(SPARES + number),
                level: AtomicUsize::new(0),
                patience: AtomicUsize::new(0),
            })
        };
        Self {
            gate: CachePadded::new(AtomicU64::new(OPEN)),
            limits: Limits {
                full: AtomicUsize::new(0),
                patience: AtomicUsize::new(0),
            },
            hands: std::array::from_fn(hand),
            depot: CachePadded::new(Depot {
                full: AtomicU64::new(0),
                empty: AtomicU64::new((1 << SPARES) - 1),
            }),
            magazines: std::array::from_fn(|_| CachePadded::new(Row::new())),
        }
    }

    /// Forgets where the frames of the last pool were. They are in no cell any more, and nobody is inside of a
    /// call that has to do with hands or the depot, for those hold up the end of a pool (T5).
    fn begin_anew(&self, frames: usize) {
        // Relaxed: whoever gets the pool gets this with it.
        self.gate.store(OPEN, Ordering::Relaxed);
        for hand in &self.hands {
            hand.level.store(0, Ordering::Relaxed);
            hand.patience.store(0, Ordering::Relaxed);
        }
        let Depot { full, empty } = &*self.depot;
        let left = full.fetch_and(0, Ordering::Relaxed);
        empty.fetch_or(left, Ordering::Relaxed);
        let Limits { full, patience } = &self.limits;
        full.store(frames / SHARE_OF_DEPOT / CELLS, Ordering::Relaxed);
        patience.store(frames.max(MIN_COOLDOWN), Ordering::Relaxed);
    }

    /// Takes a frame that this thread has kept, or another that has left it in the depot.
    #[inline(always)]
    pub(crate) fn pop(&self, thread: usize) -> Option<Name> {
        let hand = self.hands.get(thread)?;
        let first = hand.first.cell(0)?;
        // Relaxed, here and in the other looks at one's own cells: only their owners fill them (T7), and
        // what is found here is looked at again.
        match first.name.load(Ordering::Relaxed) {
            // It would take an exchange, and so does a word. The rest is left to searches.
            EMPTY if self.gate.load(Ordering::Relaxed) & FENCED != 0 => None,
            EMPTY => self.pop_further(hand),
            _ => self.pop_at(first),
        }
    }

    #[inline(never)]
    fn pop_further(&self, hand: &Hand) -> Option<Name> {
        if let Some(kept) = self.pop_from_magazine(hand) {
            return Some(kept);
        }
        let Depot { full, empty } = &*self.depot;
        self.change_magazine(hand, full, empty, CELLS)?;
        self.pop_from_magazine(hand)
    }

    /// If there is nothing, the thread has seen all cells empty, and the level is 0.
    fn pop_from_magazine(&self, hand: &Hand) -> Option<Name> {
        let magazine = self.magazine(hand);
        // Relaxed, here and in the other looks at what is in the hand: it is the thread's own.
        let filled = (0..hand.level.load(Ordering::Relaxed)).rev();
        for cell in filled.filter_map(|number| magazine.cell(number)) {
            hand.level.store(cell.number, Ordering::Relaxed);
            if cell.name.load(Ordering::Relaxed) == EMPTY {
                continue;
            }
            if let Some(kept) = self.pop_at(cell) {
                return Some(kept);
            }
        }
        None
    }

    /// The magazine of the thread in whose hand it is.
    #[inline]
    fn magazine(&self, hand: &Hand) -> &Magazine {
        // The remainder is the number itself.
        &self.magazines[hand.magazine.load(Ordering::Relaxed) % MAGAZINES]
    }

    /// Takes another magazine into the hand, out of one set, and puts the one that was there into the other.
    fn change_magazine(
        &self,
        hand: &Hand,
        from: &AtomicU64,
        to: &AtomicU64,
        level: usize,
    ) -> Option<()> {
        let taken = loop {
            // Relaxed: what follows looks again.
            let seen = from.load(Ordering::Relaxed);
            let lowest = seen & seen.wrapping_neg();
            if lowest == 0 {
                return None;
            }
            // Acquire: pairs with the Release below (T7).
            if from.fetch_and(!lowest, Ordering::Acquire) & lowest != 0 {
                break lowest.trailing_zeros() as usize;
            }
        };
        let before = hand.magazine.load(Ordering::Relaxed);
        hand.magazine.store(taken, Ordering::Relaxed);
        hand.level.store(level, Ordering::Relaxed);
        // Release: pairs with the Acquire above, hands over the magazine (T7) and the bytes of what is in it (T6).
        // If the next owner saw a cell empty that is not, it would fill it.
        // (No model shows that it is needed: theirs have a whole fence after each cell that was filled.)
        to.fetch_or(1 << before, Ordering::Release);
        Some(())
    }

    #[inline(always)]
    fn pop_at(&self, cell: Cell<'_>) -> Option<Name> {
        // Release: pairs with the Acquire in `take_from`; what this thread has put elsewhere before is found
        // there by whoever passes the cell over (T3).
        cell.announced.store(cell.number + 1, Ordering::Release);
        // Pairs with the heavy fence in `fence` (T2).
        light_fence();
        // Acquire: pairs with the Release in `lower` and in the end of a `Search`; what was taken out of
        // the cell before the gate was opened is not found there again.
        if self.gate.load(Ordering::Acquire) != OPEN {
            return Self::pop_raised(cell.name, cell.announced);
        }
        let kept = cell.name.load(Ordering::Relaxed);
        // Relaxed: the gate was open, so what this thread has put elsewhere before is seen by all who have
        // raised it since.
        cell.name.store(EMPTY, Ordering::Relaxed);
        // Release: pairs with the Acquire in `take_from`; whoever finds nothing announced finds the cell
        // empty.
        cell.announced.store(NOTHING, Ordering::Release);
        Name::new(kept)
    }

    /// The rest of `pop_at` behind a raised gate: the announced frame is to be taken (T3), and others may
    /// be at it.
    #[cold]
    #[inline(never)]
    fn pop_raised(name: &AtomicUsize, announced: &AtomicUsize) -> Option<Name> {
        let kept = exchange(name);
        // Release: as in `pop_at`.
        announced.store(NOTHING, Ordering::Release);
        kept
    }

    /// Keeps a frame for this thread, whose it is.
    ///
    /// Once the cell is filled the pool may be gone (T5), so nothing else of it may be borrowed by
    /// the caller.
    #[inline(always)]
    pub(crate) fn push(&'static self, thread: usize, frame: Name) -> Pushed {
        let Some(hand) = self.hands.get(thread) else {
            return Pushed::No;
        };
        // Relaxed: no more than a hint, which spares the two steps of `look_behind`.
        if self.gate.load(Ordering::Relaxed) != OPEN {
            return self.wait_for_rest(hand);
        }
        let [first] = &hand.first.cells;
        match first.load(Ordering::Relaxed) {
            EMPTY => self.push_at(first, frame),
            _ => self.push_further(hand, frame),
        }
    }

    #[inline(never)]
    fn push_further(&self, hand: &Hand, frame: Name) -> Pushed {
        let mut level = hand.level.load(Ordering::Relaxed);
        if level == CELLS {
            level = self.lower_level(hand);
        }
        if level == CELLS && self.leave_magazine(hand).is_some() {
            level = 0;
        }
        match self.magazine(hand).cells.get(level) {
            Some(cell) => {
                hand.level.store(level + 1, Ordering::Relaxed);
                self.push_at(cell, frame)
            }
            None => Pushed::No,
        }
    }

    /// Lets the level not be above cells that a search has emptied.
    fn lower_level(&self, hand: &Hand) -> usize {
        let is_full = |cell: &AtomicUsize| cell.load(Ordering::Relaxed) != EMPTY;
        let last = self.magazine(hand).cells.iter().rposition(is_full);
        let level = last.map_or(0, |last| last + 1);
        hand.level.store(level, Ordering::Relaxed);
        level
    }

    /// Leaves a full magazine in the depot for an empty one, unless there are enough.
    fn leave_magazine(&self, hand: &Hand) -> Option<()> {
        let Depot { full, empty } = &*self.depot;
        // Relaxed: if several threads look at once, a few more will be full.
        let many = full.load(Ordering::Relaxed).count_ones() as usize;
        match many < self.limits.full.load(Ordering::Relaxed) {
            true => self.change_magazine(hand, empty, full, 0),
            false => None,
        }
    }

    #[inline(always)]
    fn push_at(&self, cell: &AtomicUsize, frame: Name) -> Pushed {
        debug_assert_eq!(cell.load(Ordering::Relaxed), EMPTY);
        // Release: pairs with the Acquire in `exchange`, hands over the frame's bytes (T6).
        cell.store(frame.get(), Ordering::Release);
        // Pairs with the heavy fence in `fence` (T4).
        light_fence();
        if self.gate.load(Ordering::Relaxed) != OPEN {
            return Self::look_behind(cell);
        }
        Pushed::Kept
    }

    /// The rest of `push_at` behind a raised gate: takes the frame out again, unless somebody has (T4).
    #[cold]
    #[inline(never)]
    fn look_behind(cell: &AtomicUsize) -> Pushed {
        match exchange(cell) {
            Some(_) => Pushed::No,
            None => Pushed::Kept,
        }
    }

    /// The rest of `push` behind a raised gate: counts how long it has been so.
    #[cold]
    #[inline(never)]
    fn wait_for_rest(&self, hand: &Hand) -> Pushed {
        // Relaxed: only the owner counts here.
        let seen = hand.patience.load(Ordering::Relaxed) + 1;
        let (seen, pushed) = match seen < self.limits.patience.load(Ordering::Relaxed) {
            true => (seen, Pushed::No),
            false => (0, Pushed::Restless),
        };
        hand.patience.store(seen, Ordering::Relaxed);
        pushed
    }

    /// Opens the gate, if it is only resting.
    #[cold]
    pub(crate) fn reopen(&self) {
        let gate = self.gate.load(Ordering::Relaxed);
        // A gate that was never fenced is one where the system refuses to: it stays raised.
        if gate & !DRAINED == RESTING | FENCED {
            // Relaxed: a read-modify-write, which carries on the Release of all who have lowered the gate
            // before.
            // If it fails somebody has just raised the gate again, or opened it.
            let _changed =
                self.gate
                    .compare_exchange(gate, OPEN, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Raises the gate for the closing of the pool, or for the line of those who wait, until it is
    /// [lowered](Self::lower).
    pub(crate) fn raise(&self, reason: u64) {
        // Acquire: as in `fence`.
        let before = self.gate.fetch_or(reason | RESTING, Ordering::Acquire);
        self.fence(before);
    }

    /// Takes back a reason for which the gate was raised, if it was.
    pub(crate) fn lower(&self, reason: u64) {
        if self.gate.load(Ordering::Relaxed) & reason != 0 {
            // Release: pairs with the Acquire in `pop_at`.
            self.gate.fetch_and(!reason, Ordering::Release);
        }
    }

    /// Raises the gate to look through the magazines.
    pub(crate) fn search(&self) -> Search<'_> {
        // Acquire: as in `fence`.
        let before = self.gate.fetch_add(SEARCH, Ordering::Acquire);
        if before & RESTING == 0 {
            self.gate.fetch_or(RESTING, Ordering::Relaxed);
        }
        self.fence(before);
        Search(self)
    }

    /// Sees to it that a fence has been run since the gate was raised, which was as in `before` when the
    /// caller raised it, too.
    fn fence(&self, before: u64) {
        if before & FENCED == 0 && heavy_fence() {
            // Release: pairs with the Acquire of whoever finds the flag set when it raises the gate, and
            // runs no fence of its own.
            self.gate.fetch_or(FENCED, Ordering::Release);
        }
    }

    /// Whether frames may be in the caches of a gate that the caller keeps raised.
    pub(crate) fn may_have_frames(&self) -> bool {
        self.gate.load(Ordering::Acquire) & DRAINED == 0
    }

    /// Takes frames out of all cells that are not announced, until there is none or `enough` says so.
    /// The gate is kept raised by the caller.
    pub(crate) fn drain(&self, mut enough: impl FnMut(Name) -> bool) {
        let gate = self.gate.load(Ordering::Acquire);
        if gate & FENCED == 0 || gate & DRAINED != 0 {
            return;
        }
        // After the fence, so these are also the cells of every thread that found the gate open (T2).
        for cell in self.cells_in_use() {
            if Self::take_from(cell).is_some_and(&mut enough) {
                return;
            }
        }
        // Release: pairs with the Acquire above and in `may_have_frames`; who finds the flag need not look.
        self.gate.fetch_or(DRAINED, Ordering::Release);
    }

    fn take_from(cell: Cell<'_>) -> Option<Name> {
        // Acquire: pairs with the Release in `pop_at` and `pop_raised`, each of them.
        if cell.announced.load(Ordering::Acquire) == cell.number + 1 {
            return None;
        }
        // Acquire: pairs with the Release in `exchange`; what others have put elsewhere before they
        // emptied the cell is found there. Whatever came into the cell before the fence is seen after
        // it; what came later is its owner's to look for (T4).
        if cell.name.load(Ordering::Acquire) == EMPTY {
            return None;
        }
        exchange(cell.name)
    }

    /// The cells that any thread may ever have filled.
    fn cells_in_use(&self) -> impl Iterator<Item = Cell<'_>> {
        let hands = recycled_indices_used().min(HANDS);
        let first = self.hands[..hands].iter();
        let magazines = self.magazines[..SPARES + hands].iter();
        let first = first.flat_map(|hand| hand.first.cells());
        first.chain(magazines.flat_map(|magazine| magazine.cells()))
    }

    /// Whether this frame is in a cell; for whoever wants to know.
    pub(crate) fn keep(&self, frame: Name) -> bool {
        // Acquire: as in `frames`.
        let is_it = |cell: Cell<'_>| cell.name.load(Ordering::Acquire) == frame.get();
        self.cells_in_use().any(is_it)
    }

    /// Frames in all cells. Exact while nobody acquires or releases.
    pub(crate) fn frames(&self) -> usize {
        // Acquire: pairs with the Release in `push_at`, as in `FreeList::free_frames`.
        let is_full = |cell: &Cell<'_>| cell.name.load(Ordering::Acquire) != EMPTY;
        self.cells_in_use().filter(is_full).count()
    }
}

/// Empties a cell.
fn exchange(cell: &AtomicUsize) -> Option<Name> {
    // Acquire: pairs with the Release in `push_at` (T6). Release: pairs with the Acquire in `take_from`.
    // (No model shows that it is needed: theirs are whole fences, and `pop_at` has one before it.)
    Name::new(cell.swap(EMPTY, Ordering::AcqRel))
}

/// Somebody who looks through the magazines. The gate stays raised meanwhile.
#[derive(Debug)]
pub(crate) struct Search<'caches>(&'caches Caches);

impl Search<'_> {
    /// Takes any frame. `None` if at one moment after the gate was raised no cell had one (T3, T4).
    pub(crate) fn take(&self) -> Option<Name> {
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
        // Release: pairs with the Acquire in `pop_at`.
        self.0.gate.fetch_sub(SEARCH, Ordering::Release);
    }
}

/// Caches that no pool uses.
#[cfg(not(loom))]
static SPARE: StdMutex<Spare> = StdMutex::new(Spare {
    caches: Vec::new(),
    made: 0,
});

/// With room for all that were ever made: whoever drops the last frame of a pool need not allocate.
#[cfg(not(loom))]
#[derive(Debug)]
struct Spare {
    caches: Vec<&'static Caches>,
    made: usize,
}

/// A pool's right to its caches. They are never freed (T5): the next pool gets them.
#[derive(Debug)]
pub(crate) struct Lease(&'static Caches);

impl Lease {
    /// Caches for a new pool of `frames`; `None` if the system has no such fence.
    pub(crate) fn new(frames: usize) -> Result<Option<Self>, CommitError> {
        if !heavy_fence_works() {
            return Ok(None);
        }
        let caches = Self::spare()?;
        // An owner that still looks behind a frame of the last pool finds nothing, whatever it reads of the
        // gate (T5).
        caches.begin_anew(frames);
        Ok(Some(Self(caches)))
    }

    #[cfg(not(loom))]
    fn spare() -> Result<&'static Caches, CommitError> {
        let mut spare = SPARE.lock();
        if let Some(caches) = spare.caches.pop() {
            return Ok(caches);
        }
        let mut room = try_with_capacity(1)?;
        // There are none, so none is lost.
        spare.caches = try_with_capacity(spare.made + 1)?;
        spare.made += 1;
        room.push(Caches::new());
        Ok(&room.leak()[0])
    }

    /// A model has its own, which are forgotten with it.
    #[cfg(loom)]
    fn spare() -> Result<&'static Caches, CommitError> {
        Ok(Box::leak(Box::new(Caches::new())))
    }

    #[inline(always)]
    pub(crate) fn caches(&self) -> &'static Caches {
        self.0
    }
}

#[cfg(not(loom))]
impl Drop for Lease {
    fn drop(&mut self) {
        SPARE.lock().caches.push(self.0);
    }
}

#[cfg(test)]
#[cfg(all(not(loom), target_os = "linux"))]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;

    /// Enough for one full magazine in the depot.
    const FRAMES: usize = SHARE_OF_DEPOT * CELLS;

    fn caches() -> Lease {
        // Only the magazines of numbers that some thread has had are looked through.
        let both = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    crate::sync::thread_index();
                    both.wait();
                });
            }
        });
        Lease::new(FRAMES).unwrap().expect("Linux has such a fence")
    }

    fn name(number: usize) -> Name {
        Name::new(number).unwrap()
    }

    /// What a thread has when its hand and its magazine are full.
    const MOST: usize = 1 + CELLS;

    fn push_all(lease: &Lease, thread: usize, numbers: RangeInclusive<usize>) {
        for number in numbers {
            let pushed = lease.caches().push(thread, name(number));
            assert_eq!(pushed, Pushed::Kept, "{number}");
        }
    }

    fn pop_all(lease: &Lease, thread: usize) -> Vec<usize> {
        let popped = std::iter::from_fn(|| lease.caches().pop(thread));
        let mut popped: Vec<_> = popped.map(Name::get).collect();
        popped.sort_unstable();
        popped
    }

    #[test]
    fn a_thread_gets_back_what_it_kept_and_nobody_else_does() {
        let lease = caches();
        push_all(&lease, 0, 1..=MOST);
        assert_eq!(lease.caches().frames(), MOST);
        assert_eq!(lease.caches().pop(1), None);
        assert_eq!(pop_all(&lease, 0), Vec::from_iter(1..=MOST));
        assert_eq!(lease.caches().frames(), 0);
    }

    #[test]
    fn what_a_thread_leaves_in_the_depot_is_had_by_others() {
        let lease = caches();
        for _ in 0..3 {
            // Its first magazine is left in the depot, and the second has no place there.
            push_all(&lease, 0, 1..=MOST + CELLS);
            assert_eq!(lease.caches().push(0, name(99)), Pushed::No);
            assert_eq!(lease.caches().frames(), MOST + CELLS);
            assert_eq!(pop_all(&lease, 1), Vec::from_iter(2..=MOST));
            let rest = [1].into_iter().chain(MOST + 1..=MOST + CELLS);
            assert_eq!(pop_all(&lease, 0), Vec::from_iter(rest));
        }
    }

    #[test]
    fn a_search_finds_what_is_in_the_depot() {
        let lease = caches();
        push_all(&lease, 0, 1..=MOST + CELLS);
        let found = std::iter::from_fn(|| lease.caches().search().take()).count();
        assert_eq!(found, MOST + CELLS);
        lease.caches().reopen();
        // What is left there is a magazine that was full once. This thread takes it for one.
        assert_eq!(lease.caches().pop(1), None);
        push_all(&lease, 1, 1..=MOST + CELLS);
        assert_eq!(pop_all(&lease, 1).len(), MOST + CELLS);
    }

    #[test]
    fn threads_beyond_the_hands_keep_nothing() {
        let lease = caches();
        for thread in [HANDS, usize::MAX] {
            assert_eq!(lease.caches().push(thread, name(1)), Pushed::No);
            assert_eq!(lease.caches().pop(thread), None);
        }
    }

    #[test]
    fn a_search_takes_one_and_leaves_the_rest_where_all_find_it() {
        let lease = caches();
        let caches = lease.caches();
        push_all(&lease, 0, 1..=2);
        push_all(&lease, 1, 3..=3);
        assert_eq!(caches.search().take(), Some(name(1)));
        assert_eq!(caches.frames(), 2);
        // The owner, too, now takes by exchange, and only what is in its hand.
        assert_eq!(caches.pop(0), None);
        assert_eq!(caches.pop(1), Some(name(3)));
        assert!(caches.search().take().is_some());
        assert!(caches.may_have_frames());
        assert_eq!(caches.search().take(), None);
        assert!(!caches.may_have_frames());
    }

    #[test]
    fn the_gate_opens_after_a_rest_and_not_while_somebody_needs_it_raised() {
        let lease = caches();
        let caches = lease.caches();
        for reason in [SHUT, LINE] {
            drop(caches.search());
            caches.raise(reason);
            caches.reopen();
            assert_eq!(caches.push(0, name(1)), Pushed::No);
            caches.lower(reason);
            caches.lower(reason);
            assert_eq!(caches.push(0, name(1)), Pushed::No);
            caches.reopen();
            assert_eq!(caches.push(0, name(1)), Pushed::Kept);
            assert_eq!(caches.pop(0), Some(name(1)));
        }
        let search = caches.search();
        caches.reopen();
        assert_eq!(caches.push(0, name(1)), Pushed::No);
        drop(search);
        let restless = (0..MIN_COOLDOWN).find(|_| caches.push(1, name(1)) == Pushed::Restless);
        assert_eq!(restless, Some(MIN_COOLDOWN - 1));
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_models {
    #![expect(
        unsafe_code,
        reason = "the frame's bytes are stood for by a checked cell"
    )]

    use loom::thread;

    use crate::pool::free_list::{FrameIds, FreeList, PutBack, put_back};
    use crate::sync::{Arc, UnsafeCell};

    use super::*;

    /// Open, with caches, all frames in one word.
    fn list(frames: usize) -> Arc<FreeList> {
        let list = FreeList::new(frames, 1, true).unwrap();
        Arc::new(list.with_caches(FrameIds::ONE_BASED).unwrap())
    }

    /// As an acquire.
    fn acquire(list: &FreeList, thread: usize) -> Option<usize> {
        match list.caches().unwrap().pop(thread) {
            Some(name) => Some(FrameIds::ONE_BASED.frame(name)),
            None => acquire_slow(list, thread),
        }
    }

    /// As an acquire that finds nothing in the thread's own cache.
    fn acquire_slow(list: &FreeList, thread: usize) -> Option<usize> {
        let taken = list.take(thread, 1).ok()?;
        Some(list.frame_at(taken))
    }

    fn keep(list: &FreeList, thread: usize, frame: usize) -> Pushed {
        let name = FrameIds::ONE_BASED.of(frame).unwrap();
        list.caches().unwrap().push(thread, name)
    }

    /// As a release that keeps nothing.
    fn put(list: &FreeList, frame: usize) -> PutBack {
        let place = list.places().nth(frame).unwrap();
        put_back(list.word(place.word), list.addend(place.bits))
    }

    /// As a release.
    fn release(list: &FreeList, thread: usize, frame: usize) {
        match keep(list, thread, frame) {
            Pushed::Kept => return,
            Pushed::No => {}
            Pushed::Restless => list.caches().unwrap().reopen(),
        }
        assert_eq!(put(list, frame), PutBack::Done);
    }

    fn touch(bytes: &UnsafeCell<i32>) {
        bytes.with_mut(|bytes| {
            // SAFETY: the frame is ours; loom checks that.
            unsafe { *bytes += 1 }
        });
    }

    /// Takes a frame out of the thread's cache, and touches the bytes if there is one.
    fn pop_and_touch(list: &FreeList, thread: usize, bytes: &UnsafeCell<i32>) -> bool {
        let popped = list.caches().unwrap().pop(thread);
        popped.inspect(|_| touch(bytes)).is_some()
    }

    /// The same by an acquire that finds nothing in the thread's own cache.
    fn acquire_slow_and_touch(list: &FreeList, thread: usize, bytes: &UnsafeCell<i32>) -> bool {
        let acquired = acquire_slow(list, thread);
        acquired.inspect(|_| touch(bytes)).is_some()
    }

    /// A list with its gate open, and its frames, which thread 1 has.
    fn list_all_out<const FRAMES: usize>() -> (Arc<FreeList>, [usize; FRAMES]) {
        let list = list(FRAMES);
        let frames = [0; FRAMES].map(|_| acquire_slow(&list, 1).unwrap());
        list.caches().unwrap().reopen();
        (list, frames)
    }

    /// The same list of one frame, when thread 1 has released it.
    fn list_with_one_kept() -> Arc<FreeList> {
        let (list, [held]) = list_all_out();
        assert_eq!(keep(&list, 1, held), Pushed::Kept);
        list
    }

    /// T1, T2, T6: of an owner and a search one gets the frame, with what was done with it.
    ///
    /// Kills: no fence in `pop_at`, nothing announced there, or no look at the gate; the announcement not
    /// looked at in `take_from`; a look and a store for the exchange; no `heavy_fence`.
    #[test]
    fn a_kept_frame_has_one_owner_at_a_time() {
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

    /// T3, T4: one of two frames is always free, in the word or in the cache of the other thread; so
    /// nobody is told that all are out.
    ///
    /// Kills: `DRAINED` set without having looked; not looking at the words again after the caches;
    /// `Release` to `Relaxed` in the announcement.
    #[test]
    fn a_search_finds_what_others_keep() {
        loom::model(|| {
            let list = list(2);
            let owner = {
                let list = list.clone();
                thread::spawn(move || {
                    let one = acquire_slow(&list, 1).expect("the other has one at most");
                    release(&list, 1, one);
                    let two = acquire_slow(&list, 1).expect("the other has one at most");
                    release(&list, 1, two);
                    let one = acquire(&list, 1).expect("the other has one at most");
                    release(&list, 1, one);
                })
            };
            let frame = acquire_slow(&list, 0).expect("the other has one at most");
            assert_eq!(put(&list, frame), PutBack::Done);
            owner.join().unwrap();
            assert_eq!(list.free_frames(), 2);
        });
    }

    /// T2: of two searches one may count on the fence of the other, once it has been run.
    ///
    /// Kills: `FENCED` set before `heavy_fence`.
    #[test]
    fn one_fence_is_enough_for_two_searches() {
        loom::model(|| {
            let list = list_with_one_kept();
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

    /// T2: what a search has taken out is not found again by the owner once the gate is open.
    ///
    /// Kills: `Acquire` to `Relaxed` in `pop_at`; `Release` to `Relaxed` at the end of a `Search`.
    #[test]
    fn an_opened_gate_shows_what_searches_took() {
        loom::model(|| {
            let list = list_with_one_kept();
            let bytes = Arc::new(UnsafeCell::new(0));
            let searcher = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || acquire_slow_and_touch(&list, 0, &bytes))
            };
            let opener = {
                let list = list.clone();
                thread::spawn(move || list.caches().unwrap().reopen())
            };
            pop_and_touch(&list, 1, &bytes);
            searcher.join().unwrap();
            opener.join().unwrap();
        });
    }

    /// A list of three frames with its gate open, when thread 1 has released all but the last: the first is in its hand, the second in its
    /// magazine.
    fn list_with_full_hand() -> (Arc<FreeList>, usize) {
        let (list, [first, second, last]) = list_all_out();
        assert_eq!(keep(&list, 1, first), Pushed::Kept);
        assert_eq!(keep(&list, 1, second), Pushed::Kept);
        (list, last)
    }

    /// T6, T7: a magazine goes from one thread to another, with what was done with the frames in it, or back.
    ///
    /// Kills: in `change_magazine`, `Acquire` to `Relaxed`, and taking without an exchange.
    #[test]
    fn a_full_magazine_goes_from_hand_to_hand() {
        loom::model(|| {
            let (list, frames) = list_all_out::<3>();
            let bytes = Arc::new([0; 3].map(UnsafeCell::new));
            let other = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || {
                    let popped = list.caches().unwrap().pop(0);
                    popped
                        .inspect(|name| touch(&bytes[FrameIds::ONE_BASED.frame(*name)]))
                        .iter()
                        .count()
                })
            };
            for frame in frames {
                touch(&bytes[frame]);
                assert_eq!(keep(&list, 1, frame), Pushed::Kept);
            }
            let mut popped = 0;
            while let Some(name) = list.caches().unwrap().pop(1) {
                touch(&bytes[FrameIds::ONE_BASED.frame(name)]);
                popped += 1;
            }
            assert_eq!(popped + other.join().unwrap(), 3);
        });
    }

    /// T1, T4: while a magazine changes hands, a search finds what is in it.
    ///
    /// Kills: looking through fewer magazines than there are, or not through the hands.
    #[test]
    fn a_search_finds_what_changes_hands() {
        loom::model(|| {
            let (list, last) = list_with_full_hand();
            let owner = {
                let list = list.clone();
                thread::spawn(move || {
                    if keep(&list, 1, last) != Pushed::Kept {
                        put(&list, last);
                    }
                })
            };
            assert!(acquire_slow(&list, 0).is_some());
            assert!(acquire_slow(&list, 0).is_some());
            owner.join().unwrap();
        });
    }

    /// T2, T7: of the new owner of a magazine and a search one gets the frame.
    ///
    /// Kills: no fence in `pop_at`; the announcement not looked at in `take_from`.
    #[test]
    fn a_frame_in_a_magazine_that_changes_hands_has_one_owner_at_a_time() {
        loom::model(|| {
            let (list, last) = list_with_full_hand();
            let caches = list.caches().unwrap();
            assert_eq!(keep(&list, 1, last), Pushed::Kept);
            assert!(caches.pop(1).is_some() && caches.pop(1).is_some());
            let bytes = Arc::new(UnsafeCell::new(0));
            let searcher = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || acquire_slow_and_touch(&list, 1, &bytes))
            };
            let popped = pop_and_touch(&list, 0, &bytes);
            assert!(popped != searcher.join().unwrap());
        });
    }

    /// T4 and what C2 needs: a closing list counts a frame as out exactly if its release learns that
    /// the list is closed; and the frame is free in the end.
    ///
    /// Kills: `shut_caches` counting nothing.
    #[test]
    fn closing_and_keeping_agree_on_who_counts_the_frame() {
        loom::model(|| {
            let (list, [held]) = list_all_out();
            let releaser = {
                let list = list.clone();
                thread::spawn(move || match keep(&list, 1, held) {
                    Pushed::Kept => PutBack::Done,
                    Pushed::No | Pushed::Restless => put(&list, held),
                })
            };
            let out = list.close();
            let kept_late = list.free_frames();
            let counted = out - list.open();
            let heard = releaser.join().unwrap() == PutBack::DoneClosed;
            assert_eq!(counted, usize::from(heard));
            assert!(out + kept_late >= 1);
            assert_eq!(list.free_frames(), 1);
        });
    }

    /// C5: once a closed list says that a frame is free, nobody gets it from a cache any more.
    ///
    /// Kills: `free_frames` counting what is in the caches of a closed list.
    #[test]
    fn a_frame_that_is_free_in_a_closed_list_stays_free() {
        loom::model(|| {
            let (list, [held]) = list_all_out();
            let bytes = Arc::new(UnsafeCell::new(0));
            let owner = {
                let (list, bytes) = (list.clone(), bytes.clone());
                thread::spawn(move || {
                    if keep(&list, 1, held) != Pushed::Kept {
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
