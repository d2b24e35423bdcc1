//! After a commit, frames move without a single heap allocation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "a global allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ks_allocator::{AcquireError, FramePool, Framing, KsAllocator, PoolAllocator, Starvation};

struct Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: everything is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread during `work`.
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
fn the_count_counts() {
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
fn frames_through_the_trait_allocate_nothing() {
    let allocator = PoolAllocator::with_framing(Framing::new(8, 256)).unwrap();
    allocator.commit().unwrap();
    let allocator: &dyn KsAllocator = &allocator;
    // The first look at the current pool gives the thread its place in a table of readers.
    drop(allocator.acquire().unwrap());
    let count = allocations(|| {
        for _ in 0..1000 {
            drop(allocator.acquire().unwrap());
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn failing_allocates_nothing_and_waiting_in_vain_only_its_report() {
    let pool = pool(100);
    let held: Vec<_> = (0..100).map(|_| pool.try_acquire().unwrap()).collect();
    let count = allocations(|| {
        for _ in 0..100 {
            let error = pool.try_acquire().unwrap_err();
            assert_eq!(error, AcquireError::Exhausted(Starvation::default()));
        }
    });
    assert_eq!(count, 0);

    let in_vain = || {
        let error = pool.acquire_timeout(Duration::from_micros(10)).unwrap_err();
        assert!(matches!(&error, AcquireError::TimedOut(report) if report.holders().is_some()));
    };
    let report = allocations(|| drop(pool.holders()));
    for _ in 0..100 {
        // One more: the box that it travels in.
        assert!(allocations(in_vain) <= report + 1);
    }
    drop(held);
}

#[test]
fn copying_on_write_allocates_nothing() {
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
fn waiting_and_being_woken_allocates_nothing() {
    let pool = pool(1);
    let (to_holder, ask) = mpsc::sync_channel(1);
    let (to_waiter, held) = mpsc::sync_channel(1);
    let waiter = {
        let pool = pool.clone();
        thread::spawn(move || {
            let mut count = 0;
            for _ in 0..200 {
                to_holder.send(()).unwrap();
                held.recv().unwrap();
                count += allocations(|| drop(pool.acquire().unwrap()));
            }
            count
        })
    };
    let mut releases = 0;
    for () in ask {
        let frame = pool.acquire().unwrap();
        to_waiter.send(()).unwrap();
        thread::yield_now();
        releases += allocations(|| drop(frame));
    }
    assert_eq!((waiter.join().unwrap(), releases), (0, 0));
}

/// The same by COM. On Windows the count is still of Rust's heap, and so it is of all that the crate
/// allocates but copies of media types.
#[cfg(feature = "windows")]
mod com {
    use std::ffi::c_void;
    use std::ptr;

    use ks_allocator::com::{
        ComAllocator, GetBufferFlags, IMediaSample2, IMemAllocator, IMemAllocatorCallbackTemp,
        S_OK, VFW_E_TIMEOUT,
    };
    use windows_core::{GUID, HRESULT, Interface};

    use super::*;

    const NOWAIT: u32 = GetBufferFlags::NOWAIT.bits();

    /// A client's object for `SetNotify`, which lives for ever.
    #[repr(C)]
    struct Callback(&'static Table);

    type Method<T> = unsafe extern "system" fn(*mut c_void) -> T;
    type Query = unsafe extern "system" fn(*mut c_void, *const GUID, *mut *mut c_void) -> HRESULT;

    #[repr(C)]
    struct Table(Query, Method<u32>, Method<u32>, Method<HRESULT>);

    static TABLE: Table = Table(query, one, one, nothing);
    static CALLBACK: Callback = Callback(&TABLE);

    unsafe extern "system" fn query(
        _: *mut c_void,
        _: *const GUID,
        _: *mut *mut c_void,
    ) -> HRESULT {
        ks_allocator::com::E_NOINTERFACE
    }

    unsafe extern "system" fn one(_: *mut c_void) -> u32 {
        1
    }

    unsafe extern "system" fn nothing(_: *mut c_void) -> HRESULT {
        S_OK
    }

    fn committed() -> (ComAllocator, IMemAllocatorCallbackTemp) {
        let framing = Framing::new(8, 256).prefix(8);
        let allocator = ComAllocator::new(PoolAllocator::with_framing(framing).unwrap());
        let client: IMemAllocatorCallbackTemp = allocator.cast().unwrap();
        // SAFETY: has no arguments.
        assert_eq!(unsafe { client.Commit() }, S_OK);
        (allocator, client)
    }

    fn get_buffer(client: &IMemAllocator) -> Result<IMediaSample2, HRESULT> {
        let mut sample: *mut c_void = ptr::null_mut();
        // SAFETY: the pointers are NULL, or to be written through.
        let result = unsafe { client.GetBuffer(&raw mut sample, ptr::null(), ptr::null(), NOWAIT) };
        match result {
            // SAFETY: a sample with one reference, which we take.
            S_OK => Ok(unsafe { IMediaSample2::from_raw(sample) }),
            error => Err(error),
        }
    }

    fn use_and_release(sample: IMediaSample2) {
        let (start, end) = (400_000, 800_000);
        // SAFETY: both can be read.
        let result = unsafe { sample.SetTime(&raw const start, &raw const end) };
        assert_eq!(result, S_OK);
        // SAFETY: a length is no pointer.
        assert_eq!(unsafe { sample.SetActualDataLength(256) }, S_OK);
        drop(sample.clone());
        drop(sample);
    }

    #[test]
    fn get_buffer_and_release_allocate_nothing() {
        let (_allocator, client) = committed();
        let round = || {
            for _ in 0..1000 {
                use_and_release(get_buffer(&client).unwrap());
            }
        };
        // The first look at the current pool gives the thread its place in a table of readers.
        round();
        assert_eq!(allocations(round), 0);
    }

    #[test]
    fn telling_a_client_allocates_nothing() {
        let (_allocator, client) = committed();
        let callback = ptr::from_ref(&CALLBACK).cast_mut().cast();
        // SAFETY: an object, which is only read.
        assert_eq!(unsafe { client.SetNotify(callback) }, S_OK);
        let round = || use_and_release(get_buffer(&client).unwrap());
        round();
        assert_eq!(allocations(|| (0..1000).for_each(|_| round())), 0);
        // SAFETY: no object at all.
        assert_eq!(unsafe { client.SetNotify(ptr::null_mut()) }, S_OK);
    }

    #[test]
    fn lending_frames_and_failing_allocates_nothing() {
        let (allocator, client) = committed();
        let round = || {
            let frames: [_; 8] = std::array::from_fn(|_| allocator.try_acquire().unwrap());
            assert_eq!(get_buffer(&client).unwrap_err(), VFW_E_TIMEOUT);
            for frame in frames {
                let sample = allocator.frame_to_sample(frame).unwrap();
                drop(ComAllocator::sample_to_frame(sample).unwrap());
            }
        };
        round();
        assert_eq!(allocations(|| (0..100).for_each(|_| round())), 0);
    }
}
