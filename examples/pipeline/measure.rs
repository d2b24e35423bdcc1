//! Measurements: heap allocations, counted by a global allocator; page faults, counted by the
//! kernel; frames per second.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::ops::Add;
use std::time::Duration;

use crate::picture::Checksum;

/// The system's allocator with a count of each thread's calls.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Initialized at compile time and never dropped, so that its use does not allocate.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Allocations of a thread whose thread-locals are already destroyed are not counted.
fn count_allocation() {
    let counted = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    counted.unwrap_or_default();
}

// SAFETY: every call is forwarded to `System` unchanged, and so is its result. Counting neither
// allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocation();
        // SAFETY: the caller passes a `layout` of nonzero size.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_allocation();
        // SAFETY: the caller passes a `layout` of nonzero size.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_allocation();
        // SAFETY: `block` is from `System` with this `layout`, because every block of this
        // allocator is. The caller passes a nonzero `new_size` that makes a valid layout.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` is from `System` with this `layout`, because every block of this
        // allocator is.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Heap allocations and page faults of a thread, or of several together.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) heap_allocations: u64,
    /// `None` where the system does not tell.
    page_faults: Option<u64>,
}

impl Cost {
    /// Returns the cost of the calling thread since it began.
    fn so_far() -> Self {
        Self {
            page_faults: page_faults(),
            heap_allocations: ALLOCATIONS.get(),
        }
    }

    pub(crate) fn page_faults(self) -> String {
        self.page_faults
            .map_or_else(|| "unknown".to_owned(), |faults| faults.to_string())
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let page_faults = self.page_faults.zip(other.page_faults);
        Self {
            heap_allocations: self.heap_allocations + other.heap_allocations,
            page_faults: page_faults.map(|(one, other)| one + other),
        }
    }
}

/// Returns the number of frames after which a stage has touched all of its memory and code.
pub(crate) fn warm_up(frames: u64) -> u64 {
    frames.div_ceil(2).min(16)
}

/// Measures the cost of the calling thread after the warm-up.
pub(crate) struct Meter {
    warm_up: u64,
    frames: u64,
    start: Cost,
}

impl Meter {
    /// Makes a meter for a run of at most `frames` frames.
    pub(crate) fn new(frames: u64) -> Self {
        Self {
            warm_up: warm_up(frames),
            frames: 0,
            start: Cost::so_far(),
        }
    }

    pub(crate) fn frame_done(&mut self) {
        self.frames += 1;
        if self.frames == self.warm_up {
            // The first reading touches memory and code of its own.
            Cost::so_far();
            self.start = Cost::so_far();
        }
    }

    pub(crate) fn cost(&self) -> Cost {
        let (start, end) = (self.start, Cost::so_far());
        let page_faults = end.page_faults.zip(start.page_faults);
        Cost {
            heap_allocations: end.heap_allocations - start.heap_allocations,
            page_faults: page_faults.map(|(end, start)| end - start),
        }
    }
}

/// Returns the page faults of the calling thread, minor and major.
#[cfg(target_os = "linux")]
fn page_faults() -> Option<u64> {
    use std::fs::File;
    use std::io::Read;

    // Read into the stack: a reading must not count as a heap allocation.
    let mut stat = [0; 1024];
    let len = File::open("/proc/thread-self/stat")
        .ok()?
        .read(&mut stat)
        .ok()?;
    let stat = std::str::from_utf8(&stat[..len]).ok()?;

    // The second field is the name in parentheses, in which anything may stand. Counted from the
    // third, minflt is the eighth and majflt the tenth.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(7);
    let minor: u64 = fields.next()?.parse().ok()?;
    let major: u64 = fields.nth(1)?.parse().ok()?;
    Some(minor + major)
}

#[cfg(not(target_os = "linux"))]
fn page_faults() -> Option<u64> {
    None
}

/// Frames that the sink has read.
pub(crate) struct Tally {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) checksum: Checksum,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            frames: 0,
            bytes: 0,
            checksum: Checksum::new(),
        }
    }

    pub(crate) fn add(&mut self, frame: &[u8]) {
        self.frames += 1;
        self.bytes += frame.len() as u64;
        self.checksum.add(frame);
    }
}

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
    /// The longest time to acquire a frame, of those that were free and were not waited for.
    pub(crate) longest_acquire: Duration,
    /// The cost of all stages after `warm_up` frames each.
    pub(crate) cost: Cost,
    pub(crate) warm_up: u64,
}

/// Why a stage cannot be joined. Its own message was printed before.
pub(crate) const PANICKED: &str = "a stage panicked";

impl Outcome {
    pub(crate) fn frames_per_second(&self) -> f64 {
        self.per_second(self.tally.frames)
    }

    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames_per_second = self.frames_per_second();
        let megabytes_per_second = self.per_second(self.tally.bytes) / 1e6;
        writeln!(
            f,
            "{} frames, {frames_per_second:.1} frames/s, {megabytes_per_second:.1} MB/s",
            self.tally.frames
        )?;
        writeln!(
            f,
            "longest acquire of a free frame: {:.1?}",
            self.longest_acquire
        )?;
        write!(
            f,
            "after {} frames: {} heap allocations, {} page faults",
            self.warm_up,
            self.cost.heap_allocations,
            self.cost.page_faults()
        )
    }
}
