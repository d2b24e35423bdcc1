//! What a thread costs: heap allocations, by a global allocator that counts them, and page faults,
//! as the kernel counts them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a count of the calls of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Initialised at compile time and never dropped, so that using it does not allocate itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// What a thread allocates while its thread-locals are taken down goes uncounted.
fn count_one() {
    let counted = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    counted.unwrap_or(());
}

// SAFETY: every call goes to `System` as it came, and what `System` gives goes back as it is;
// `count_one` neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: our caller promises a `layout` that is not empty.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: our caller promises a `layout` that is not empty.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count_one();
        // SAFETY: our caller promises that `block` came from us, and so from `System`, with this
        // `layout`, and that `new_size` is not 0 and makes a valid layout.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: our caller promises that `block` came from us, and so from `System`, with this
        // `layout`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What one thread, or several together, have cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) heap_allocations: u64,
    /// `None` where there is no telling.
    pub(crate) page_faults: Option<u64>,
}

impl Cost {
    pub(crate) const ZERO: Self = Self {
        heap_allocations: 0,
        page_faults: Some(0),
    };

    /// What the calling thread has cost since it began.
    fn so_far() -> Self {
        Self {
            heap_allocations: ALLOCATIONS.get(),
            page_faults: page_faults(),
        }
    }

    fn since(self, start: Self) -> Self {
        let page_faults = self.page_faults.zip(start.page_faults);
        Self {
            heap_allocations: self.heap_allocations - start.heap_allocations,
            page_faults: page_faults.map(|(end, start)| end - start),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let page_faults = self.page_faults.zip(other.page_faults);
        Self {
            heap_allocations: self.heap_allocations + other.heap_allocations,
            page_faults: page_faults.map(|(one, other)| one + other),
        }
    }
}

/// Measures what a thread costs from its n-th frame on: the frames before have touched all that
/// there is to touch.
#[derive(Debug)]
pub(crate) struct Meter {
    warm_up: u64,
    start: Option<Cost>,
}

impl Meter {
    pub(crate) fn after(warm_up: u64) -> Self {
        let mut meter = Self {
            warm_up,
            start: None,
        };
        meter.frames_done(0);
        meter
    }

    /// To be called after each frame, with the number of frames so far.
    pub(crate) fn frames_done(&mut self, frames: u64) {
        if frames == self.warm_up {
            // Measuring may fault in its own code the first time; the second reading has that
            // behind it.
            Cost::so_far();
            self.start = Some(Cost::so_far());
        }
    }

    /// `None` if there were too few frames to start at all.
    pub(crate) fn cost(&self) -> Option<Cost> {
        self.start.map(|start| Cost::so_far().since(start))
    }
}

/// The page faults of the calling thread, minor and major.
#[cfg(target_os = "linux")]
fn page_faults() -> Option<u64> {
    use std::fs::File;
    use std::io::Read;

    // Read into the stack: a reading must not show up among the heap allocations.
    let mut stat = [0; 1024];
    let len = File::open("/proc/thread-self/stat")
        .ok()?
        .read(&mut stat)
        .ok()?;
    let stat = std::str::from_utf8(&stat[..len]).ok()?;

    // The second field is the thread's name, in parentheses, with whatever in it. Counted from the
    // third on, minflt is the eighth and majflt the tenth.
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
