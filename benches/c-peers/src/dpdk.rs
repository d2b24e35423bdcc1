//! DPDK's pool, with and without a cache for each thread, one by one and in bulk.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use ks_allocator_ratios::contender::{BURST, Contender, Role, enter};
use ks_allocator_ratios::pool::Pool;
use ks_allocator_ratios::workloads::Demand;

use crate::frame::{CFrame, CPool};

unsafe extern "C" {
    safe fn shim_dpdk_start() -> c_int;
    fn shim_dpdk_new(name: *const c_char, frames: u32, size: u32, cache: u32) -> *mut c_void;
    safe fn shim_dpdk_enter();
    fn shim_dpdk_get(pool: *mut c_void) -> *mut c_void;
    fn shim_dpdk_put(pool: *mut c_void, frame: *mut c_void);
    fn shim_dpdk_get_bulk(pool: *mut c_void, frames: *mut *mut c_void, count: u32) -> c_int;
    fn shim_dpdk_put_bulk(pool: *mut c_void, frames: *const *mut c_void, count: u32);
}

/// Frames that a thread may keep back, as far as the pool is large enough for that.
const CACHE: u32 = 32;

/// Starts DPDK in this process, once.
pub(crate) fn start() -> Result<(), String> {
    match shim_dpdk_start() {
        0 => Ok(()),
        error => Err(format!("DPDK does not start: error {error}")),
    }
}

pub(crate) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    // It may hold one and a half times its size, and must leave the pool as many.
    let cache = CACHE.min(count(frames) * 2 / 3);
    let (cached, plain) = ("rte_mempool, cache", "rte_mempool, no cache");
    let mut peers = vec![
        enter(
            Role::Other,
            cached,
            frames,
            size,
            Mempool::new(demand, cache),
        ),
        enter(Role::Shared, plain, frames, size, Mempool::new(demand, 0)),
    ];
    if demand.bursts {
        let bulk = |name: &str| format!("{name}, bulk");
        let pool = Bulk(Mempool::new(demand, cache));
        peers.push(enter(Role::Other, &bulk(cached), frames, size, pool));
        let pool = Bulk(Mempool::new(demand, 0));
        peers.push(enter(Role::Shared, &bulk(plain), frames, size, pool));
    }
    peers
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("a few thousand at most")
}

struct Mempool(CPool);

impl Mempool {
    fn new(demand: Demand, cache: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("pool{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).expect("no byte is 0");
        let (frames, size) = (count(demand.frames), count(demand.size));
        // SAFETY: DPDK has been started, and copies the name.
        let pool = unsafe { shim_dpdk_new(name.as_ptr(), frames, size, cache) };
        Self(CPool::new(pool, "rte_mempool"))
    }
}

// SAFETY: a frame that is out is its holder's, and of the size that was asked for.
unsafe impl Pool for Mempool {
    type Frame = CFrame;

    #[inline(always)]
    fn get(&'static self) -> Option<CFrame> {
        // SAFETY: the pool lives for ever.
        let frame = unsafe { shim_dpdk_get(self.0.pointer()) };
        NonNull::new(frame).map(CFrame)
    }

    #[inline(always)]
    fn put(&'static self, frame: CFrame) {
        // SAFETY: the frame came from there, and nobody uses it any more.
        unsafe { shim_dpdk_put(self.0.pointer(), frame.0.as_ptr()) };
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut CFrame) -> *mut u8 {
        frame.0.as_ptr().cast()
    }

    fn enter(&'static self) {
        shim_dpdk_enter();
    }
}

struct Bulk(Mempool);

// SAFETY: as for `Mempool`.
unsafe impl Pool for Bulk {
    type Frame = CFrame;

    #[inline(always)]
    fn get(&'static self) -> Option<CFrame> {
        self.0.get()
    }

    #[inline(always)]
    fn put(&'static self, frame: CFrame) {
        self.0.put(frame);
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut CFrame) -> *mut u8 {
        self.0.start(frame)
    }

    fn enter(&'static self) {
        self.0.enter();
    }

    #[inline(always)]
    fn get_burst(&'static self, held: &mut Vec<CFrame>, most: usize) {
        let mut frames = [std::ptr::null_mut(); BURST];
        let most = most.min(BURST);
        // SAFETY: the pool lives for ever, and there is room for that many.
        let result =
            unsafe { shim_dpdk_get_bulk(self.0.0.pointer(), frames.as_mut_ptr(), count(most)) };
        if result == 0 {
            let frames = frames[..most].iter();
            held.extend(frames.filter_map(|frame| NonNull::new(*frame)).map(CFrame));
        }
    }

    #[inline(always)]
    fn put_burst(&'static self, held: &mut Vec<CFrame>) {
        let frames = held.as_ptr().cast::<*mut c_void>();
        // SAFETY: a `CFrame` is a pointer and no more; they came from there, and nobody uses them.
        unsafe { shim_dpdk_put_bulk(self.0.0.pointer(), frames, count(held.len())) };
        held.clear();
    }
}
