//! Custom memory: frames in memory from a `FrameMemory` of the user.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "provides memory")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::alloc::{Layout, alloc, dealloc};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ks_allocator::{
    AcquireError, AllocatorMode, BuildError, CommitError, FrameMemory, FramePool, Framing,
    HugePages, KsAllocator as _, MemoryBlock, MemoryRequest, PoolAllocator,
};

/// Heap memory that is filled with a byte and records its blocks.
#[derive(Default)]
struct TrackedHeap {
    calls: AtomicUsize,
    /// The number of the call that fails, counted from 1, and the kind of its error.
    fails: Option<(usize, io::ErrorKind)>,
    /// Bytes between the start of a page and the start of a block.
    misalignment: usize,
    /// Start and size of each block that is not released.
    blocks: Arc<Mutex<Vec<(usize, usize)>>>,
    /// Bytes by which a block is too small.
    shortage: usize,
}

const FILL: u8 = 0x5A;

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes + 4096, 4096).unwrap()
}

impl FrameMemory for TrackedHeap {
    fn allocate(&self, bytes: usize) -> io::Result<MemoryBlock> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((_, kind)) = self.fails.filter(|(fails, _)| *fails == call) {
            return Err(kind.into());
        }
        // SAFETY: the layout has a size of at least 4096.
        let whole = NonNull::new(unsafe { alloc(layout(bytes)) }).unwrap();
        // SAFETY: the block has `bytes` + 4096 bytes.
        unsafe { whole.write_bytes(FILL, bytes + 4096) };
        // SAFETY: the block has 4096 bytes more than requested.
        let start = unsafe { whole.add(self.misalignment) };
        let block = (start.addr().get(), bytes);
        self.blocks.lock().unwrap().push(block);
        let owner = HeapBlock {
            whole,
            block,
            blocks: self.blocks.clone(),
        };
        // SAFETY: new heap memory, all of it written, which is freed with `owner`.
        Ok(unsafe { MemoryBlock::new(start, bytes - self.shortage, owner) })
    }
}

/// Owner of one block.
struct HeapBlock {
    whole: NonNull<u8>,
    block: (usize, usize),
    blocks: Arc<Mutex<Vec<(usize, usize)>>>,
}

// SAFETY: heap memory may be freed by any thread.
unsafe impl Send for HeapBlock {}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        let mut blocks = self.blocks.lock().unwrap();
        let index = blocks.iter().position(|known| *known == self.block);
        blocks.remove(index.expect("the block was not released before"));
        // SAFETY: the block was allocated with the same layout.
        unsafe { dealloc(self.whole.as_ptr(), layout(self.block.1)) };
    }
}

fn tracked_heap() -> Arc<TrackedHeap> {
    Arc::default()
}

impl TrackedHeap {
    fn is_empty(&self) -> bool {
        self.blocks.lock().unwrap().is_empty()
    }
}

fn pool(memory: &Arc<TrackedHeap>) -> Result<FramePool, BuildError> {
    FramePool::builder()
        .frames(4)
        .frame_size(1000)
        .alignment(64)
        .prefix(8)
        .memory(memory.clone())
        .build()
}

fn allocator(memory: &Arc<TrackedHeap>) -> PoolAllocator {
    PoolAllocator::from_builder(&FramePool::builder().memory(memory.clone())).unwrap()
}

#[test]
fn frames_lie_in_the_memory_and_contain_its_bytes() {
    let memory = tracked_heap();
    let pool = pool(&memory).unwrap();
    let (start, bytes) = memory.blocks.lock().unwrap()[0];
    for frame in pool.acquire_many(4).unwrap() {
        let address = frame.as_ptr().addr();
        assert!(start <= address - 8 && address + frame.len() <= start + bytes);
        assert_eq!((address - 8) % 64, 0);
        assert!(frame.iter().chain(frame.prefix()).all(|&byte| byte == FILL));
    }
    assert_eq!(pool.segment().base.addr().get(), start);
    assert_eq!(pool.mode(), AllocatorMode::User);
    assert!(pool.handle().is_none());
}

#[test]
fn the_memory_is_released_with_the_last_handle_or_frame() {
    let memory = tracked_heap();
    let pool = pool(&memory).unwrap();
    let frame = pool.acquire().unwrap().share();
    let other = frame.clone();
    drop((pool, frame));
    assert!(!memory.is_empty());
    drop(other);
    assert!(memory.is_empty());
}

#[test]
fn a_commit_with_another_framing_releases_the_old_memory_first() {
    let memory = tracked_heap();
    let allocator = allocator(&memory);
    for frames in 1..10 {
        allocator.set_framing(&Framing::new(frames, 5000)).unwrap();
        allocator.commit().unwrap();
        allocator.decommit();
        allocator.commit().unwrap();
        assert_eq!(allocator.acquire().unwrap()[4999], FILL);
        assert_eq!(memory.blocks.lock().unwrap().len(), 1);
        allocator.decommit();
    }
    assert_eq!(memory.calls.load(Ordering::Relaxed), 9);
    drop(allocator);
    assert!(memory.is_empty());
}

#[test]
fn an_allocation_error_fails_only_that_commit() {
    for (kind, fails) in [
        (io::ErrorKind::OutOfMemory, 2),
        (io::ErrorKind::PermissionDenied, 2),
    ] {
        let memory = Arc::new(TrackedHeap {
            fails: Some((fails, kind)),
            ..TrackedHeap::default()
        });
        let allocator = allocator(&memory);
        allocator.set_framing(&Framing::new(2, 100)).unwrap();
        allocator.commit().unwrap();
        allocator.decommit();
        allocator.set_framing(&Framing::new(3, 100)).unwrap();
        match allocator.commit().unwrap_err() {
            CommitError::OutOfMemory { bytes } => {
                assert_eq!(kind, io::ErrorKind::OutOfMemory);
                assert!(bytes >= 300);
            }
            CommitError::Os { call, source } => {
                assert_eq!(call, "FrameMemory::allocate");
                assert_eq!(source.kind(), kind);
            }
            other => panic!("{other}"),
        }
        assert_eq!(allocator.framing(), Framing::new(3, 100));
        assert!(memory.is_empty(), "the old memory was not released");
        allocator.commit().unwrap();
        assert_eq!(allocator.acquire().unwrap().len(), 100);
    }
}

#[test]
fn commits_before_and_after_a_failed_one_succeed() {
    for fails in 1..=5 {
        let memory = Arc::new(TrackedHeap {
            fails: Some((fails, io::ErrorKind::OutOfMemory)),
            ..TrackedHeap::default()
        });
        let allocator = allocator(&memory);
        for call in 1..=6 {
            allocator.set_framing(&Framing::new(call, 100)).unwrap();
            let committed = allocator.commit();
            assert_eq!(
                committed.is_err(),
                call == fails,
                "call {call}, {committed:?}"
            );
            // A failed commit has released the memory of the previous one.
            let blocks = memory.blocks.lock().unwrap().len();
            assert_eq!(blocks, usize::from(call != fails));
            allocator.decommit();
        }
        drop(allocator);
        assert!(memory.is_empty());
    }
}

#[test]
fn all_requests_are_unmet() {
    let memory = tracked_heap();
    let builder = FramePool::builder()
        .frames(4)
        .frame_size(5000)
        .memory(memory.clone());
    let builder = builder
        .lock_in_memory(true)
        .huge_pages(HugePages::Transparent);
    let builder = builder
        .numa_node(0)
        .exclude_from_core_dumps(true)
        .exclude_from_forks(true);
    let report = builder.build().unwrap().commit_report();
    let unmet: Vec<_> = report.unmet.iter().map(|unmet| unmet.request).collect();
    let requests = [
        MemoryRequest::TransparentHugePages,
        MemoryRequest::Locked,
        MemoryRequest::NumaNode(0),
        MemoryRequest::NotDumped,
        MemoryRequest::NotInherited,
    ];
    assert_eq!(unmet, requests);
    assert!(
        report
            .unmet
            .iter()
            .all(|unmet| unmet.call == "FrameMemory::allocate")
    );
    // The provider has written to all bytes.
    if cfg!(any(target_os = "linux", windows)) {
        assert_eq!(report.resident, Some(report.bytes));
    }
    assert!(memory.is_empty());

    let calls = memory.calls.load(Ordering::Relaxed);
    let error = builder.require_memory_options(true).build().unwrap_err();
    let is_unmet = matches!(error, BuildError::Commit(CommitError::UnmetRequest { .. }));
    assert!(is_unmet, "{error}");
    assert_eq!(
        memory.calls.load(Ordering::Relaxed),
        calls,
        "the provider was called"
    );
}

#[test]
fn a_commit_that_fails_after_a_close_leaves_the_allocator_uncommitted() {
    let memory = Arc::new(TrackedHeap {
        fails: Some((2, io::ErrorKind::OutOfMemory)),
        ..Default::default()
    });
    let allocator = allocator(&memory);
    allocator.set_framing(&Framing::new(1, 64)).unwrap();
    allocator.commit().unwrap();
    allocator.pool().unwrap().close();
    assert!(allocator.commit().is_err());
    assert!(memory.is_empty());
    assert_eq!(allocator.acquire().unwrap_err(), AcquireError::NotCommitted);
    allocator.commit().unwrap();
    assert!(allocator.acquire().is_ok());
}

#[test]
fn the_last_handle_of_an_idle_closed_pool_releases_the_memory_at_once() {
    for _ in 0..200 {
        let memory = tracked_heap();
        let pool = pool(&memory).unwrap();
        let frames = pool.acquire_many(4).unwrap().collect::<Vec<_>>();
        pool.close();
        let holders: Vec<_> = frames
            .into_iter()
            .map(|frame| std::thread::spawn(move || drop(frame)))
            .collect();
        pool.wait_idle(std::time::Duration::from_secs(60)).unwrap();
        drop(pool);
        assert!(memory.is_empty());
        holders
            .into_iter()
            .for_each(|holder| holder.join().unwrap());
    }
}

#[test]
fn memory_that_is_not_page_aligned_is_rejected_and_released() {
    let memory = Arc::new(TrackedHeap {
        misalignment: 64,
        ..TrackedHeap::default()
    });
    let error = pool(&memory).unwrap_err();
    let BuildError::Commit(CommitError::Os { call, source }) = error else {
        panic!("{error}");
    };
    assert_eq!(call, "FrameMemory::allocate");
    assert!(
        source.to_string().contains("not at a multiple of 4096"),
        "{source}"
    );
    assert!(memory.is_empty());
}

#[test]
fn memory_that_is_too_small_is_rejected_and_released() {
    let memory = Arc::new(TrackedHeap {
        shortage: 1,
        ..TrackedHeap::default()
    });
    let BuildError::Commit(CommitError::Os { source, .. }) = pool(&memory).unwrap_err() else {
        panic!("the block is one byte too small")
    };
    assert!(
        source.to_string().contains("and the segment needs"),
        "{source}"
    );
    assert!(memory.is_empty());
}

#[test]
fn kernel_mode_is_unsupported() {
    let memory = tracked_heap();
    let allocator = allocator(&memory);
    allocator.set_framing(&Framing::new(1, 1)).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    let error = allocator.commit().unwrap_err();
    assert!(
        matches!(error, CommitError::ModeUnsupported { .. }),
        "{error}"
    );
    allocator.set_allocator_mode(AllocatorMode::User).unwrap();
    allocator.commit().unwrap();
    assert_eq!(memory.calls.load(Ordering::Relaxed), 1);
}

#[test]
fn several_pools_can_share_a_provider() {
    let memory = tracked_heap();
    let pools: Vec<_> = (0..3).map(|_| pool(&memory).unwrap()).collect();
    let frames: Vec<_> = pools.iter().map(|pool| pool.acquire().unwrap()).collect();
    drop(pools);
    assert_eq!(memory.blocks.lock().unwrap().len(), 3);
    drop(frames);
    assert!(memory.is_empty());
}

/// Registrations of a device, in the order of their begin (true) and end.
#[derive(Default)]
struct Device {
    calls: Mutex<Vec<(bool, usize)>>,
    refuses: bool,
}

struct Registered(Arc<Device>, usize, Arc<TrackedHeap>);

impl Drop for Registered {
    fn drop(&mut self) {
        assert!(
            !self.2.is_empty(),
            "the memory went before its registration"
        );
        self.0.calls.lock().unwrap().push((false, self.1));
    }
}

#[test]
fn a_segment_is_registered_before_its_frames_go_out_and_until_the_memory_goes() {
    let (memory, device) = (tracked_heap(), Arc::new(Device::default()));
    let (of_builder, heap) = (device.clone(), memory.clone());
    let builder = FramePool::builder().memory(memory.clone());
    let builder = builder.register_segment(move |segment| {
        assert_eq!(segment.first, 16);
        let address = segment.base.addr().get();
        of_builder.calls.lock().unwrap().push((true, address));
        Ok(Registered(of_builder.clone(), address, heap.clone()))
    });
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    let framing = Framing::new(3, 100).prefix(16);
    allocator.set_framing(&framing).unwrap();
    allocator.commit().unwrap();
    let address = allocator.pool().unwrap().segment().base.addr().get();
    allocator.decommit();
    allocator.commit().unwrap();
    assert_eq!(
        *device.calls.lock().unwrap(),
        [(true, address)],
        "the memory is the same"
    );
    let frame = allocator.acquire().unwrap();
    drop(allocator);
    assert_eq!(device.calls.lock().unwrap().len(), 1);
    drop(frame);
    assert_eq!(
        *device.calls.lock().unwrap(),
        [(true, address), (false, address)]
    );
    assert!(memory.is_empty());
}

#[test]
fn a_registration_that_fails_fails_the_commit_and_frees_the_memory() {
    let memory = tracked_heap();
    let device = Arc::new(Device {
        refuses: true,
        ..Device::default()
    });
    let builder = FramePool::builder()
        .frames(3)
        .frame_size(100)
        .memory(memory.clone());
    let builder = builder.register_segment(move |_| {
        let limit = io::Error::new(io::ErrorKind::OutOfMemory, "the limit is 8 MiB");
        if device.refuses { Err(limit) } else { Ok(()) }
    });
    let error = builder.build().unwrap_err();
    assert!(error.to_string().contains("register_segment"), "{error}");
    assert!(memory.is_empty());
}

#[test]
fn chunks_consist_of_whole_frames_with_their_prefixes() {
    let pool = FramePool::builder()
        .frames(11)
        .frame_size(700)
        .alignment(64)
        .prefix(20);
    let pool = pool.build().unwrap();
    let segment = pool.segment();
    assert_eq!((segment.frames, segment.prefix), (11, 20));
    let sizes: Vec<_> = (0..=12).map(|frames| frames * segment.stride + 1).collect();
    for max in sizes {
        let Some(chunks) = segment.chunks(max) else {
            assert!(max < segment.stride);
            continue;
        };
        let chunks: Vec<_> = chunks.collect();
        assert!(chunks.iter().all(|chunk| chunk.bytes <= max));
        for frame in pool.try_acquire_many(11).unwrap() {
            let owner = |chunk: &&ks_allocator::SegmentChunk| chunk.slots.contains(&frame.slot());
            let mut owners = chunks.iter().filter(owner);
            let chunk = owners.next().unwrap();
            assert!(owners.next().is_none());
            let (start, end) = (frame.prefix().as_ptr().addr(), frame.as_ptr().addr() + 700);
            let base = chunk.base.addr().get();
            assert!(base <= start && end <= base + chunk.bytes);
        }
    }
    let mut changed = segment;
    (changed.frames, changed.stride) = (usize::MAX, usize::MAX);
    assert!(
        changed
            .chunks(usize::MAX)
            .is_some_and(|mut chunks| chunks.next().is_some())
    );
    changed.stride = 0;
    assert!(changed.chunks(1).is_none());
}
