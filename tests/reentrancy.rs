//! Code of the user's that the crate calls may call every method of the pool and of the allocator:
//! wakers and their drops, hooks, `tracing` subscribers, and memory of the user's. So none of it
//! runs under a lock of the crate.

#![cfg(not(miri))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use ks_allocator::{
    AcquireError, AllocatorMode, FrameMemory, FramePool, FramePoolBuilder, FrameToken, Framing,
    KsAllocator, MemoryBlock, PoolAllocator, Share, Starvation,
};

const SHORT: Duration = Duration::from_millis(1);

/// Runs `work` in another thread, and panics if it does not end.
fn with_watchdog(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        let _done = done;
        work();
    });
    let waited = wait.recv_timeout(Duration::from_secs(60));
    assert_ne!(waited, Err(mpsc::RecvTimeoutError::Timeout), "a call hangs");
    worker.join().unwrap();
}

thread_local! {
    /// The allocator that foreign code on this thread calls.
    static TARGET: RefCell<Weak<PoolAllocator>> = const { RefCell::new(Weak::new()) };
    /// True while foreign code runs on this thread, so that it is not entered again.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Calls every method of the target of this thread, as the foreign code of these tests does.
/// `commits` is false for code that may not commit.
fn call_everything(commits: bool) {
    let target = TARGET.with_borrow(Weak::upgrade);
    let Some(allocator) = target.filter(|_| !INSIDE.replace(true)) else {
        return;
    };
    CALLS.set(CALLS.get() + 1);
    call_allocator(&allocator);
    if let Some(pool) = allocator.pool() {
        call_pool(&pool);
    }
    allocator.decommit();
    let _set = allocator.set_framing(&allocator.framing());
    let _set = allocator.set_allocator_mode(AllocatorMode::User);
    if commits {
        allocator.commit().unwrap();
    }
    drop(allocator);
    INSIDE.set(false);
}

fn call_allocator(allocator: &PoolAllocator) {
    assert!(allocator.allocator_handle().is_none());
    assert_eq!(allocator.allocator_mode(), AllocatorMode::User);
    assert!(allocator.free_frames() <= allocator.allocator_status().framing.frames);
    assert!(format!("{allocator:?}").contains("status"));
    drop((allocator.commit_report(), allocator.try_acquire()));
    drop(allocator.acquire_timeout(SHORT));
    allocator.begin_flush();
    assert!(allocator.acquire().is_err());
    allocator.end_flush();
}

fn call_pool(pool: &FramePool) {
    let error = AcquireError::Exhausted(Starvation::default());
    drop((pool.explain(error), pool.holders(), pool.recording()));
    assert!(pool.stats().frames == pool.frames() && pool.waiting() <= 9);
    assert!(pool.free_frames() <= pool.frames());
    drop((
        pool.framing(),
        pool.mode(),
        pool.commit_report(),
        pool.verify_resident(),
    ));
    drop((
        pool.handle().is_some(),
        pool.try_clone_handle(),
        pool.segment(),
    ));
    drop(pool.redeem(FrameToken::from_bytes([0; 32])));
    drop(pool.revoke(FrameToken::from_bytes([0; 32])));
    drop((pool.with_label("inside"), format!("{pool:?}")));
    drop((
        pool.try_acquire(),
        pool.acquire_timeout(SHORT),
        pool.try_acquire_many(3),
    ));
    let mut future = pin!(pool.acquire_async());
    drop(
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop())),
    );
    pool.begin_flush();
    drop((pool.acquire(), pool.acquire_many(2)));
    pool.end_flush();
}

/// Returns an allocator of 2 frames, which foreign code on this thread calls from now on.
fn target(builder: FramePoolBuilder) -> Arc<PoolAllocator> {
    let builder = builder.frames(2).frame_size(64).record(100);
    let allocator = Arc::new(PoolAllocator::from_builder(&builder).unwrap());
    TARGET.set(Arc::downgrade(&allocator));
    allocator
}

/// Takes an allocator through all that runs foreign code. Calls of the foreign code may change the
/// state at any time, so acquires may fail.
fn use_everything(allocator: &PoolAllocator) {
    allocator.commit().unwrap();
    let held = [allocator.try_acquire(), allocator.try_acquire()];
    let pool = allocator.pool().unwrap();
    drop(allocator.acquire_timeout(SHORT * 5));
    {
        // Dropped while it waits, and ready.
        let waker = Waker::from(Arc::new(CallsEverything));
        let mut future = pin!(pool.acquire_async());
        drop(future.as_mut().poll(&mut Context::from_waker(&waker)));
        thread::sleep(SHORT * 3);
    }
    let waker = Waker::from(Arc::new(CallsEverything));
    let mut future = pin!(pool.acquire_async());
    drop(future.as_mut().poll(&mut Context::from_waker(&waker)));
    drop(waker);
    drop(held);
    allocator.begin_flush();
    allocator.end_flush();
    allocator.decommit();
    let held = allocator.commit().map(|()| allocator.try_acquire());
    allocator.decommit();
    drop(held);
}

/// Commits with another framing, which drops the last handle of the pool before.
fn reframe(allocator: &PoolAllocator) {
    for frames in 1..4 {
        // Without calls of foreign code, which would commit the allocator again.
        INSIDE.set(true);
        allocator.decommit();
        allocator.set_framing(&Framing::new(frames, 64)).unwrap();
        INSIDE.set(false);
        allocator.commit().unwrap();
    }
    allocator.decommit();
}

/// A waker whose wake and drop call everything.
struct CallsEverything;

impl Wake for CallsEverything {
    fn wake(self: Arc<Self>) {
        call_everything(true);
    }
}

impl Drop for CallsEverything {
    fn drop(&mut self) {
        call_everything(true);
    }
}

#[test]
fn wakers_may_call_everything() {
    with_watchdog(|| {
        let allocator = target(FramePool::builder());
        use_everything(&allocator);
        reframe(&allocator);
        assert!(CALLS.get() >= 2, "{}", CALLS.get());
    });
}

#[test]
fn hooks_may_call_everything() {
    with_watchdog(|| {
        let builder = FramePool::builder()
            .on_starved(SHORT, |_| call_everything(true))
            .on_leak(|_| call_everything(true));
        let allocator = target(builder);
        use_everything(&allocator);
        reframe(&allocator);
        assert!(CALLS.get() >= 2, "{}", CALLS.get());
    });
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Memory whose allocation and release call everything but a commit.
struct Memory;

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 4096).unwrap()
}

impl FrameMemory for Memory {
    fn allocate(&self, bytes: usize) -> io::Result<MemoryBlock> {
        call_everything(false);
        LIVE.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `bytes` is not 0.
        let start = unsafe { alloc_zeroed(layout(bytes)) };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: new, zeroed heap memory that nothing else uses, freed with its owner.
        Ok(unsafe { MemoryBlock::new(start, bytes, HeapBlock(start, bytes)) })
    }
}

struct HeapBlock(NonNull<u8>, usize);

// SAFETY: heap memory may be freed by any thread.
unsafe impl Send for HeapBlock {}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        call_everything(false);
        LIVE.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: `allocate` made this memory, with the same layout.
        unsafe { dealloc(self.0.as_ptr(), layout(self.1)) };
    }
}

#[test]
fn memory_of_the_user_may_call_everything_but_a_commit() {
    with_watchdog(|| {
        let allocator = target(FramePool::builder().memory(Memory));
        use_everything(&allocator);
        reframe(&allocator);
        assert!(CALLS.get() >= 4, "{}", CALLS.get());
        drop(allocator);
        assert_eq!(LIVE.load(Ordering::Relaxed), 0);
    });
}

#[cfg(feature = "tracing")]
mod subscribers {
    use std::sync::Once;

    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::Interest;
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    thread_local!(static SUBSCRIBES: Cell<bool> = const { Cell::new(false) });

    /// A subscriber that calls everything whenever a thread that subscribes asks or tells it
    /// something. There is one for all tests, because `tracing` caches per process which events
    /// are enabled.
    struct Calls;

    fn subscribe() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Calls).unwrap());
        SUBSCRIBES.set(true);
    }

    fn call() {
        if SUBSCRIBES.get() {
            call_everything(true);
        }
    }

    impl Subscriber for Calls {
        fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
            Interest::sometimes()
        }
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            call();
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            call();
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn subscribers_may_call_everything() {
        with_watchdog(|| {
            subscribe();
            let allocator = target(FramePool::builder());
            use_everything(&allocator);
            reframe(&allocator);
            let frame = allocator.commit().map(|()| allocator.try_acquire());
            drop(allocator);
            drop(frame);
            assert!(CALLS.get() >= 6, "{}", CALLS.get());
        });
    }

    /// The pool that a commit replaces has no frame out, but its last handle is dropped.
    #[test]
    fn a_commit_with_another_framing_asks_no_subscriber_under_a_lock() {
        with_watchdog(|| {
            subscribe();
            let allocator = target(FramePool::builder());
            reframe(&allocator);
            assert!(CALLS.get() >= 3, "{}", CALLS.get());
        });
    }
}

/// A waker that acquires a frame, and waits for it.
struct AcquiringWaker {
    pool: FramePool,
    acquired: AtomicUsize,
}

impl Wake for AcquiringWaker {
    fn wake(self: Arc<Self>) {
        drop(self.pool.acquire_timeout(Duration::from_secs(20)).unwrap());
        self.acquired.fetch_add(1, Ordering::Relaxed);
    }
}

/// The wake is part of a release, whose other frames, or whose own frame, the waker can get.
#[test]
fn a_waker_can_wait_for_the_frames_that_its_thread_releases() {
    let builder = FramePool::builder().frames(2).frame_size(64);
    let with_share = builder.clone().share(Share::new("one").limit(1));
    for (builder, held) in [(builder, 2), (with_share, 1)] {
        let pool = builder.build().unwrap();
        let one = pool.with_label("one");
        let frames = one.acquire_exact(held).unwrap();
        let acquiring = Arc::new(AcquiringWaker {
            pool: pool.clone(),
            acquired: AtomicUsize::new(0),
        });
        let waker = Waker::from(Arc::clone(&acquiring));
        let mut waiting = pin!(one.acquire_async());
        let mut context = Context::from_waker(&waker);
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(frames);
        assert_eq!(acquiring.acquired.load(Ordering::Relaxed), 1);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
    }
}
