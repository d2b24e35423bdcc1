//! General allocators, with an allocation per frame. They are unbounded, and may return any
//! address.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::contender::{Contender, Role, entry};
use crate::pool::Pool;
use crate::workloads::Demand;

#[cfg(target_env = "gnu")]
const SYSTEM: &str = "glibc malloc";
#[cfg(not(target_env = "gnu"))]
const SYSTEM: &str = "system malloc";

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    let mut heaps = vec![
        entry(
            Role::OtherPeer,
            SYSTEM,
            frames,
            size,
            Heap::new(System, size),
        ),
        entry(
            Role::OtherPeer,
            "mimalloc",
            frames,
            size,
            Heap::new(mimalloc::MiMalloc, size),
        ),
    ];
    #[cfg(unix)]
    {
        let jemalloc = Heap::new(tikv_jemallocator::Jemalloc, size);
        heaps.push(entry(Role::OtherPeer, "jemalloc", frames, size, jemalloc));
        if demand.large {
            heaps.push(entry(
                Role::OtherPeer,
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
        let layout = Layout::from_size_align(size, 16)
            .expect("a frame is smaller than half the address space");
        // Leaks a block. It may be memory that an earlier contender freed, whose physical address
        // would favor or harm this contender. SAFETY: the size is not 0.
        let _leaked = unsafe { allocator.alloc(layout) };
        Self { allocator, layout }
    }
}

struct Block(*mut u8);

// SAFETY: any thread may use and free a block of the heap.
unsafe impl Send for Block {}

// SAFETY: a block has the demanded size and an alignment of 16, and is valid until it is freed.
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
        // SAFETY: `get` allocated the block from this allocator with this layout.
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
// SAFETY: a mapping has the demanded size, starts at a page, and is valid until it is unmapped.
unsafe impl Pool for Mapped {
    type Frame = Block;

    fn get(&'static self) -> Option<Block> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the address is null, so that the new mapping replaces none.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), self.size, access, MapFlags::PRIVATE) };
        start.ok().map(|start| Block(start.cast()))
    }

    fn put(&'static self, block: Block) {
        // SAFETY: `get` mapped the block with this size, and its only holder gave it up.
        let unmapped = unsafe { rustix::mm::munmap(block.0.cast(), self.size) };
        unmapped.expect("a mapping can be unmapped");
    }

    fn start(&'static self, block: &mut Block) -> *mut u8 {
        block.0
    }
}
