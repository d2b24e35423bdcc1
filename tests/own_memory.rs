//! Frames in memory that the user brings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "brings memory")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::alloc::{Layout, alloc, dealloc};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ks_allocator::{
    AllocatorMode, BuildError, CommitError, FrameMemory, FramePool, Framing, HugePages,
    KsAllocator as _, MemoryRequest, PoolAllocator,
};

/// Memory of the heap, filled with a byte, that keeps its books.
#[derive(Default)]
struct Books {
    calls: AtomicUsize,
    /// The call that fails, counted from 1, and how.
    fails: Option<(usize, io::ErrorKind)>,
    /// How far the start is off.
    askew: usize,
    out: Mutex<Vec<(usize, usize)>>,
}

const FILL: u8 = 0x5A;

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes + 4096, 4096).unwrap()
}

// SAFETY: fresh memory of the heap, all of it written; unless it is askew, which must be noticed.
unsafe impl FrameMemory for Books {
    fn allocate(&self, bytes: usize) -> io::Result<NonNull<u8>> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((_, kind)) = self.fails.filter(|(fails, _)| *fails == call) {
            return Err(kind.into());
        }
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { alloc(layout(bytes)) }).unwrap();
        // SAFETY: there are so many bytes.
        unsafe { start.write_bytes(FILL, bytes) };
        // SAFETY: there is a page more than was asked for.
        let start = unsafe { start.add(self.askew) };
        self.out.lock().unwrap().push((start.addr().get(), bytes));
        Ok(start)
    }

    unsafe fn release(&self, start: NonNull<u8>, bytes: usize) {
        let mut out = self.out.lock().unwrap();
        let place = out
            .iter()
            .position(|&known| known == (start.addr().get(), bytes));
        out.remove(place.expect("what is released was allocated, and not released before"));
        // SAFETY: as it was allocated.
        let start = unsafe { start.sub(self.askew) };
        // SAFETY: likewise.
        unsafe { dealloc(start.as_ptr(), layout(bytes)) };
    }
}

fn books() -> Arc<Books> {
    Arc::default()
}

impl Books {
    fn is_balanced(&self) -> bool {
        self.out.lock().unwrap().is_empty()
    }
}

fn pool(memory: &Arc<Books>) -> Result<FramePool, BuildError> {
    FramePool::builder()
        .frames(4)
        .frame_size(1000)
        .alignment(64)
        .prefix(8)
        .memory(memory.clone())
        .build()
}

fn allocator(memory: &Arc<Books>) -> PoolAllocator {
    PoolAllocator::from_builder(&FramePool::builder().memory(memory.clone())).unwrap()
}

#[test]
fn frames_lie_in_the_memory_and_show_what_was_there() {
    let memory = books();
    let pool = pool(&memory).unwrap();
    let (start, bytes) = memory.out.lock().unwrap()[0];
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
fn the_memory_goes_with_the_last_handle_or_frame() {
    let memory = books();
    let pool = pool(&memory).unwrap();
    let frame = pool.acquire().unwrap().share();
    let other = frame.clone();
    drop((pool, frame));
    assert!(!memory.is_balanced());
    drop(other);
    assert!(memory.is_balanced());
}

#[test]
fn each_commit_with_another_framing_asks_anew_and_gives_back_before() {
    let memory = books();
    let allocator = allocator(&memory);
    for frames in 1..10 {
        allocator.set_framing(&Framing::new(frames, 5000)).unwrap();
        allocator.commit().unwrap();
        allocator.decommit();
        allocator.commit().unwrap();
        assert_eq!(allocator.acquire().unwrap()[4999], FILL);
        assert_eq!(memory.out.lock().unwrap().len(), 1);
        allocator.decommit();
    }
    assert_eq!(memory.calls.load(Ordering::Relaxed), 9);
    drop(allocator);
    assert!(memory.is_balanced());
}

#[test]
fn memory_that_fails_fails_the_commit_and_nothing_else() {
    for (kind, fails) in [
        (io::ErrorKind::OutOfMemory, 2),
        (io::ErrorKind::PermissionDenied, 2),
    ] {
        let memory = Arc::new(Books {
            fails: Some((fails, kind)),
            ..Books::default()
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
        assert!(
            memory.is_balanced(),
            "the old memory goes before the new comes"
        );
        allocator.commit().unwrap();
        assert_eq!(allocator.acquire().unwrap().len(), 100);
    }
}

#[test]
fn whichever_call_fails_the_others_do_not() {
    for fails in 1..=5 {
        let memory = Arc::new(Books {
            fails: Some((fails, io::ErrorKind::OutOfMemory)),
            ..Books::default()
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
            // What failed has left nothing of the one before, either.
            let out = memory.out.lock().unwrap().len();
            assert_eq!(out, usize::from(call != fails));
            allocator.decommit();
        }
        drop(allocator);
        assert!(memory.is_balanced());
    }
}

#[test]
fn nothing_else_is_done_to_it_and_the_report_says_so() {
    let memory = books();
    let builder = FramePool::builder()
        .frames(4)
        .frame_size(5000)
        .memory(memory.clone());
    let builder = builder
        .lock_in_memory(true)
        .huge_pages(HugePages::Transparent);
    let builder = builder.numa_node(0);
    let report = builder.build().unwrap().commit_report();
    let missed: Vec<_> = report.unmet.iter().map(|missed| missed.request).collect();
    let requests = [
        MemoryRequest::TransparentHugePages,
        MemoryRequest::Locked,
        MemoryRequest::NumaNode(0),
    ];
    assert_eq!(missed, requests);
    assert!(
        report
            .unmet
            .iter()
            .all(|missed| missed.call == "FrameMemory::allocate")
    );
    // It is written to from the first to the last byte.
    if cfg!(any(target_os = "linux", windows)) {
        assert_eq!(report.resident, Some(report.bytes));
    }
    assert!(memory.is_balanced());

    let calls = memory.calls.load(Ordering::Relaxed);
    let refused = builder.require_memory_options(true).build().unwrap_err();
    let is_refused = matches!(
        refused,
        BuildError::Commit(CommitError::UnmetRequest { .. })
    );
    assert!(is_refused, "{refused}");
    assert_eq!(
        memory.calls.load(Ordering::Relaxed),
        calls,
        "it is not even asked"
    );
}

#[test]
fn memory_that_does_not_start_at_a_page_is_refused_and_given_back() {
    let memory = Arc::new(Books {
        askew: 64,
        ..Books::default()
    });
    let refused = pool(&memory).unwrap_err();
    let BuildError::Commit(CommitError::Os { call, source }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(call, "FrameMemory::allocate");
    assert!(
        source.to_string().contains("no multiple of 4096"),
        "{source}"
    );
    assert!(memory.is_balanced());
}

#[test]
fn there_is_none_in_kernel_mode() {
    let memory = books();
    let allocator = allocator(&memory);
    allocator.set_framing(&Framing::new(1, 1)).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    let refused = allocator.commit().unwrap_err();
    assert!(
        matches!(refused, CommitError::ModeUnsupported { .. }),
        "{refused}"
    );
    allocator.set_allocator_mode(AllocatorMode::User).unwrap();
    allocator.commit().unwrap();
    assert_eq!(memory.calls.load(Ordering::Relaxed), 1);
}

#[test]
fn several_pools_can_share_it() {
    let memory = books();
    let pools: Vec<_> = (0..3).map(|_| pool(&memory).unwrap()).collect();
    let frames: Vec<_> = pools.iter().map(|pool| pool.acquire().unwrap()).collect();
    drop(pools);
    assert_eq!(memory.out.lock().unwrap().len(), 3);
    drop(frames);
    assert!(memory.is_balanced());
}
