//! After a commit, acquire, use and release of frames make no heap allocation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]
#![expect(unsafe_code, reason = "implements a global allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use ks_allocator::{AcquireError, Frame, FramePool, Holders, KsAllocator, Share, Starvation};

use support::committed_allocator::committed_allocator;
use support::poll_once::poll_once;
use support::wait_until::wait_until;

mod support {
    #[cfg(feature = "windows")]
    pub(crate) mod com_client;
    pub(crate) mod committed_allocator;
    pub(crate) mod poll_once;
    pub(crate) mod wait_until;
}

/// The system allocator, with a count of allocations per thread, and with a limit to their size.
struct Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });
thread_local!(static MAX_BYTES: Cell<usize> = const { Cell::new(usize::MAX) });

/// Counts an allocation. Returns whether it may succeed.
fn count(bytes: usize) -> bool {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
    bytes <= MAX_BYTES.with(Cell::get)
}

// SAFETY: each method passes its arguments to the same method of `System`. The count lives in a
// thread-local with a constant initial value and no destructor, so counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !count(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller promises what `alloc` requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller promises what `dealloc` requires, and `System` allocated the block.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !count(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller promises what `realloc` requires, and `System` allocated the block.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Returns the number of allocations that this thread makes during `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn pool(frames: usize) -> FramePool {
    FramePool::builder()
        .frames(frames)
        .frame_size(256)
        .prefix(8)
        .build()
        .unwrap()
}

#[test]
fn a_heap_allocation_is_counted() {
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
}

#[test]
fn acquire_fill_share_and_release_allocate_nothing() {
    for frames in [1, 62, 64, 4096] {
        let pool = pool(frames);
        let count = allocations(|| {
            for number in 0..1000 {
                let mut frame = pool.try_acquire().unwrap();
                frame.clear();
                write!(frame, "frame {number}").unwrap();
                frame.metadata_mut().sequence = number;
                let mut shared = frame.share();
                drop(shared.clone());
                shared.make_mut().unwrap().prefix_mut().fill(1);
                drop(shared.try_into_unique());
                drop(pool.acquire().unwrap());
                drop(pool.acquire_timeout(Duration::from_secs(1)).unwrap());
                pool.acquire_many(32).unwrap().for_each(drop);
                drop(pool.acquire_many(32));
            }
        });
        assert_eq!(count, 0, "{frames} frames");
    }
}

#[test]
fn acquire_through_the_trait_allocates_nothing() {
    let allocator = committed_allocator(8, 256);
    let allocator: &dyn KsAllocator = &allocator;
    // The first load of the current pool allocates the thread's entry in a table of readers.
    drop(allocator.acquire().unwrap());
    let count = allocations(|| {
        for _ in 0..1000 {
            drop(allocator.acquire().unwrap());
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_failed_try_acquire_allocates_nothing_and_a_timeout_only_its_report() {
    let pool = pool(100);
    let held: Vec<_> = (0..100).map(|_| pool.try_acquire().unwrap()).collect();
    let count = allocations(|| {
        for _ in 0..100 {
            let error = pool.try_acquire().unwrap_err();
            assert_eq!(error, AcquireError::Exhausted(Starvation::default()));
        }
    });
    assert_eq!(count, 0);

    let time_out = || {
        let error = pool.acquire_timeout(Duration::from_micros(10)).unwrap_err();
        assert!(matches!(&error, AcquireError::TimedOut(report) if report.holders().is_some()));
    };
    let report = allocations(|| drop(pool.holders()));
    for _ in 0..100 {
        // The error boxes the report: one allocation more.
        assert!(allocations(time_out) <= report + 1);
    }
    drop(held);
}

/// Returns an exhausted pool and its frames.
fn exhausted(frames: usize) -> (FramePool, Vec<Frame>) {
    let builder = FramePool::builder().frames(frames).frame_size(16);
    let pool = builder.build().unwrap();
    let held = std::iter::from_fn(|| pool.try_acquire().ok()).collect();
    (pool, held)
}

#[test]
fn a_timeout_of_a_large_pool_allocates_no_more_than_that_of_a_small_one() {
    const MAX_REPORT: usize = 64 << 10;
    let (pool, _held) = exhausted(20_000);
    let count = allocations(|| {
        MAX_BYTES.set(MAX_REPORT);
        let error = pool.acquire_timeout(Duration::from_micros(10)).unwrap_err();
        MAX_BYTES.set(usize::MAX);
        assert!(matches!(error, AcquireError::TimedOut(report) if report.holders().is_some()));
    });
    assert!(count <= 2, "{count}");
}

#[test]
fn a_failed_allocation_costs_the_report_and_not_the_process() {
    let (pool, _held) = exhausted(3);
    for max_bytes in [0, size_of::<Holders>()] {
        MAX_BYTES.set(max_bytes);
        let error = pool.acquire_timeout(Duration::from_micros(10)).unwrap_err();
        MAX_BYTES.set(usize::MAX);
        let AcquireError::TimedOut(report) = error else {
            panic!("{error}");
        };
        let counts = |report: &Holders| (report.frames, report.free, report.omitted);
        let expected = (max_bytes > 0).then_some((3, 0, 3));
        assert_eq!(report.holders().map(counts), expected);
    }
}

#[test]
fn copy_on_write_allocates_nothing() {
    let pool = pool(2);
    let count = allocations(|| {
        for _ in 0..100 {
            let one = pool.acquire().unwrap().share();
            let mut two = one.clone();
            two.make_mut().unwrap()[0] = 1;
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_blocking_wait_and_its_wakeup_allocate_nothing() {
    let pool = pool(1);
    let (request, requests) = mpsc::sync_channel(1);
    let (pool_is_empty, go) = mpsc::sync_channel(1);
    let waiter = {
        let pool = pool.clone();
        thread::spawn(move || {
            let mut count = 0;
            for _ in 0..200 {
                request.send(()).unwrap();
                go.recv().unwrap();
                count += allocations(|| drop(pool.acquire().unwrap()));
            }
            count
        })
    };
    let mut releases = 0;
    for () in requests {
        let frame = pool.acquire().unwrap();
        pool_is_empty.send(()).unwrap();
        wait_until(|| pool.waiting() == 1);
        releases += allocations(|| drop(frame));
    }
    assert_eq!((waiter.join().unwrap(), releases), (0, 0));
}

#[test]
fn the_first_use_by_a_prepared_thread_allocates_nothing() {
    let pool = pool(1);
    // The spare waiters of the pool and the standard library's own variables come first.
    let held = pool.acquire().unwrap();
    let counted = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            pool.prepare_thread();
            allocations(|| drop(pool.acquire().unwrap()))
        });
        wait_until(|| pool.waiting() == 1);
        let releaser = scope.spawn(|| {
            pool.prepare_thread();
            allocations(|| drop(held))
        });
        [waiter, releaser].map(|thread| thread.join().unwrap())
    });
    assert_eq!(counted, [0, 0]);
}

#[test]
fn an_async_wait_allocates_nothing() {
    let pool = pool(1);
    let count = allocations(|| {
        for _ in 0..100 {
            let frame = pool.acquire().unwrap();
            let mut future = pin!(pool.acquire_async());
            assert!(poll_once(future.as_mut(), Waker::noop()).is_pending());
            drop(frame);
            assert!(poll_once(future, Waker::noop()).is_ready());
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn waits_for_a_share_allocate_nothing() {
    let builder = FramePool::builder().frames(32).frame_size(64);
    let pool = builder.share(Share::new("one").reserve(1)).build().unwrap();
    let one = pool.with_label("one");
    pool.prepare_thread();
    let (held, rest) = (
        pool.acquire_exact(16).unwrap(),
        pool.acquire_exact(15).unwrap(),
    );
    let mut waiting: [_; 16] = std::array::from_fn(|_| Box::pin(pool.acquire_async()));
    let mut poll_all = || {
        let waiting = waiting.iter_mut();
        let polled = waiting.map(|future| poll_once(future.as_mut(), Waker::noop()).is_ready());
        polled.filter(|&is_ready| is_ready).count()
    };
    let count = allocations(|| {
        assert_eq!(poll_all(), 0);
        for _ in 0..1000 {
            drop(one.try_acquire().unwrap());
            assert!(pool.try_acquire().is_err());
        }
        drop(held);
        assert_eq!(poll_all(), 16);
    });
    assert_eq!(count, 0);
    drop(rest);
}

#[test]
fn a_release_inside_a_waker_allocates_nothing() {
    struct Release(Mutex<Vec<Frame>>);
    impl Wake for Release {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().pop());
        }
    }
    let pool = pool(3);
    let [first, second, third] = [(); 3].map(|()| pool.acquire().unwrap());
    let task = Arc::new(Release(Mutex::new(vec![second, third])));
    let waker = Waker::from(task.clone());
    let mut futures = [(); 3].map(|()| Box::pin(pool.acquire_async()));
    for future in &mut futures {
        assert!(poll_once(future.as_mut(), &waker).is_pending());
    }
    assert_eq!(allocations(|| drop(first)), 0);
    assert!(task.0.lock().unwrap().is_empty());
    for future in &mut futures {
        assert!(poll_once(future.as_mut(), &waker).is_ready());
    }
}

/// The same promises for COM clients. The count covers the Rust heap alone. On Windows that is all
/// that the crate allocates, except copies of media types.
#[cfg(feature = "windows")]
mod com {
    use std::ffi::c_void;
    use std::ptr;

    use ks_allocator::com::{
        ComAllocator, E_NOINTERFACE, GetBufferFlags, IMediaSample2, IMemAllocatorCallbackTemp,
        S_OK, VFW_E_TIMEOUT,
    };
    use ks_allocator::{Framing, PoolAllocator};
    use windows_core::{GUID, HRESULT};

    use super::support::com_client::{committed_com_allocator, get_buffer};
    use super::*;

    const NOWAIT: GetBufferFlags = GetBufferFlags::NOWAIT;

    thread_local!(static NOTIFICATIONS: Cell<usize> = const { Cell::new(0) });

    /// A client's object for `SetNotify`. It is static, so its reference count is a constant.
    #[repr(C)]
    struct Callback(&'static CallbackTable);

    #[repr(C)]
    struct CallbackTable {
        query_interface:
            unsafe extern "system" fn(*mut c_void, *const GUID, *mut *mut c_void) -> HRESULT,
        add_ref: unsafe extern "system" fn(*mut c_void) -> u32,
        release: unsafe extern "system" fn(*mut c_void) -> u32,
        notify_release: unsafe extern "system" fn(*mut c_void) -> HRESULT,
    }

    static CALLBACK: Callback = Callback(&CallbackTable {
        query_interface: no_interface,
        add_ref: one_reference,
        release: one_reference,
        notify_release: count_notification,
    });

    unsafe extern "system" fn no_interface(
        _: *mut c_void,
        _: *const GUID,
        _: *mut *mut c_void,
    ) -> HRESULT {
        E_NOINTERFACE
    }

    unsafe extern "system" fn one_reference(_: *mut c_void) -> u32 {
        1
    }

    unsafe extern "system" fn count_notification(_: *mut c_void) -> HRESULT {
        NOTIFICATIONS.with(|notifications| notifications.set(notifications.get() + 1));
        S_OK
    }

    fn committed() -> (ComAllocator, IMemAllocatorCallbackTemp) {
        let framing = Framing::new(8, 256).prefix(8);
        committed_com_allocator(PoolAllocator::with_framing(framing).unwrap())
    }

    fn use_and_release(sample: IMediaSample2) {
        let (start, end) = (400_000, 800_000);
        // SAFETY: both times can be read.
        let result = unsafe { sample.SetTime(&raw const start, &raw const end) };
        assert_eq!(result, S_OK);
        // SAFETY: the method takes no pointers.
        assert_eq!(unsafe { sample.SetActualDataLength(256) }, S_OK);
        drop(sample.clone());
        drop(sample);
    }

    #[test]
    fn get_buffer_and_release_allocate_nothing() {
        let (_allocator, client) = committed();
        let round = || {
            for _ in 0..1000 {
                use_and_release(get_buffer(&client, NOWAIT).unwrap());
            }
        };
        // The first load of the current pool allocates the thread's entry in a table of readers.
        round();
        assert_eq!(allocations(round), 0);
    }

    #[test]
    fn a_release_that_notifies_a_client_allocates_nothing() {
        let (_allocator, client) = committed();
        let callback = ptr::from_ref(&CALLBACK).cast_mut().cast();
        // SAFETY: the object is static, has the table of the callback interface, and is only read.
        assert_eq!(unsafe { client.SetNotify(callback) }, S_OK);
        let round = || use_and_release(get_buffer(&client, NOWAIT).unwrap());
        round();
        assert_eq!(NOTIFICATIONS.get(), 1);
        assert_eq!(allocations(|| (0..1000).for_each(|_| round())), 0);
        assert_eq!(NOTIFICATIONS.get(), 1001);
        // SAFETY: NULL ends the notifications.
        assert_eq!(unsafe { client.SetNotify(ptr::null_mut()) }, S_OK);
    }

    #[test]
    fn frames_that_become_samples_and_a_failed_get_buffer_allocate_nothing() {
        let (allocator, client) = committed();
        let round = || {
            let frames: [_; 8] = std::array::from_fn(|_| allocator.try_acquire().unwrap());
            assert_eq!(get_buffer(&client, NOWAIT).unwrap_err(), VFW_E_TIMEOUT);
            for frame in frames {
                let sample = allocator.frame_to_sample(frame).unwrap();
                drop(ComAllocator::sample_to_frame(sample).unwrap());
            }
        };
        round();
        assert_eq!(allocations(|| (0..100).for_each(|_| round())), 0);
    }
}
