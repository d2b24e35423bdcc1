//! General allocators, asked for each frame anew. They have no bound, and their memory may be anywhere.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::contender::{Contender, Role, enter};
use crate::pool::Pool;
use crate::workloads::Demand;

#[cfg(target_env = "gnu")]
const SYSTEM: &str = "malloc, glibc's";
#[cfg(not(target_env = "gnu"))]
const SYSTEM: &str = "malloc, the system's";

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    let mut heaps = vec![
        enter(Role::Other, SYSTEM, frames, size, Heap::new(System, size)),
        enter(
            Role::Other,
            "mimalloc",
            frames,
            size,
            Heap::new(mimalloc::MiMalloc, size),
        ),
    ];
    #[cfg(unix)]
    {
        let jemalloc = Heap::new(tikv_jemallocator::Jemalloc, size);
        heaps.push(enter(Role::Other, "jemalloc", frames, size, jemalloc));
        if demand.large {
            heaps.push(enter(
                Role::Other,
                "mmap, munmap",
                frames,
                size,
                Mapped { size },
            ));
        }
    }
    heaps
}

struct Heap<A> {
    allocator: A,
    layout: Layout,
}

impl<A: GlobalAlloc> Heap<A> {
    fn new(allocator: A, size: usize) -> Self {
        let layout = Layout::from_size_align(size, 16).expect("a frame is not that large");
        // The memory that an earlier contender gave back is taken out of the way, for it may be well or
        // badly placed for good.
        // SAFETY: the size is not 0.
        let _kept_for_ever = unsafe { allocator.alloc(layout) };
        Self { allocator, layout }
    }
}

struct Block(*mut u8);

// SAFETY: memory from the heap may be used by any thread.
unsafe impl Send for Block {}

// SAFETY: the allocator gives a block of that size and alignment to one owner.
unsafe impl<A: GlobalAlloc + Sync + 'static> Pool for Heap<A> {
    type Frame = Block;

    #[inline(always)]
    fn get(&'static self) -> Option<Block> {
        // SAFETY: the size is not 0.
        let start = unsafe { self.allocator.alloc(self.layout) };
        (!start.is_null()).then_some(Block(start))
    }

    #[inline(always)]
    fn put(&'static self, block: Block) {
        // SAFETY: it came from there, with that layout.
        unsafe { self.allocator.dealloc(block.0, self.layout) };
    }

    #[inline(always)]
    fn start(&'static self, block: &mut Block) -> *mut u8 {
        block.0
    }
}

#[cfg(unix)]
struct Mapped {
    size: usize,
}

#[cfg(unix)]
// SAFETY: a fresh mapping is nobody else's.
unsafe impl Pool for Mapped {
    type Frame = Block;

    fn get(&'static self) -> Option<Block> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the system chooses where.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), self.size, access, MapFlags::PRIVATE) };
        start.ok().map(|start| Block(start.cast()))
    }

    fn put(&'static self, block: Block) {
        // SAFETY: it was mapped with that size, and nobody uses it any more.
        let unmapped = unsafe { rustix::mm::munmap(block.0.cast(), self.size) };
        unmapped.expect("it is a mapping");
    }

    fn start(&'static self, block: &mut Block) -> *mut u8 {
        block.0
    }
}
