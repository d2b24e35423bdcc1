//! DPDK's `rte_mempool`, with and without a cache per thread, frame by frame and in bulk.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use ks_allocator_ratios::contender::{BURST, Contender, Role, entry};
use ks_allocator_ratios::pool::Pool;
use ks_allocator_ratios::workloads::Demand;

use crate::frame::{CFrame, CPool};

unsafe extern "C" {
    safe fn shim_dpdk_start() -> c_int;
    fn shim_dpdk_new(name: *const c_char, frames: u32, size: u32, cache: u32) -> *mut c_void;
    safe fn shim_dpdk_register_thread();
    fn shim_dpdk_get(pool: *mut c_void) -> *mut c_void;
    fn shim_dpdk_put(pool: *mut c_void, frame: *mut c_void);
    fn shim_dpdk_get_bulk(pool: *mut c_void, frames: *mut *mut c_void, count: u32) -> c_int;
    fn shim_dpdk_put_bulk(pool: *mut c_void, frames: *const *mut c_void, count: u32);
}

/// Maximum size of a thread's cache, in frames. In a small pool it is smaller.
const CACHE: u32 = 32;

/// Initializes DPDK in this process. To be called once.
pub(crate) fn start() -> Result<(), String> {
    match shim_dpdk_start() {
        0 => Ok(()),
        error => Err(format!("DPDK cannot be initialized: error {error}")),
    }
}

pub(crate) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    // A cache can hold 1.5 times its size, which must not exceed the number of frames.
    let cache = CACHE.min(to_u32(frames) * 2 / 3);
    let (cached, plain) = ("rte_mempool, cache", "rte_mempool, no cache");
    let mut peers = vec![
        entry(
            Role::OtherPeer,
            cached,
            frames,
            size,
            Mempool::new(demand, cache),
        ),
        entry(
            Role::SharedPeer,
            plain,
            frames,
            size,
            Mempool::new(demand, 0),
        ),
    ];
    if demand.bursts {
        let bulk = |name: &str| format!("{name}, bulk");
        let pool = Bulk(Mempool::new(demand, cache));
        peers.push(entry(Role::OtherPeer, &bulk(cached), frames, size, pool));
        let pool = Bulk(Mempool::new(demand, 0));
        peers.push(entry(Role::SharedPeer, &bulk(plain), frames, size, pool));
    }
    peers
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("frames and sizes are below 2^32")
}

struct Mempool(CPool);

impl Mempool {
    fn new(demand: Demand, cache: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("pool{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).expect("the name has no zero byte");
        let (frames, size) = (to_u32(demand.frames), to_u32(demand.size));
        // SAFETY: `main` calls `start` before it measures, so DPDK is initialized. It copies the
        // name.
        let pool = unsafe { shim_dpdk_new(name.as_ptr(), frames, size, cache) };
        Self(CPool::new(pool, "rte_mempool"))
    }
}

// SAFETY: a frame is a pointer to its own memory, which has the demanded size and is valid until
// the frame is put back. `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Mempool {
    type Frame = CFrame;

    #[inline(always)]
    fn get(&'static self) -> Option<CFrame> {
        // SAFETY: the pool is never freed.
        let frame = unsafe { shim_dpdk_get(self.0.pointer()) };
        NonNull::new(frame).map(CFrame)
    }

    #[inline(always)]
    fn put(&'static self, frame: CFrame) {
        // SAFETY: the frame is from this pool, and its only holder gave it up.
        unsafe { shim_dpdk_put(self.0.pointer(), frame.0.as_ptr()) };
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut CFrame) -> *mut u8 {
        frame.0.as_ptr().cast()
    }

    fn prepare_thread(&'static self) {
        shim_dpdk_register_thread();
    }
}

/// The same pool, with bursts in bulk calls.
struct Bulk(Mempool);

// SAFETY: frames and addresses are those of `Mempool`, which keeps the contract.
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

    fn prepare_thread(&'static self) {
        self.0.prepare_thread();
    }

    #[inline(always)]
    fn get_burst(&'static self, held: &mut Vec<CFrame>, count: usize) {
        let mut frames = [std::ptr::null_mut(); BURST];
        let wanted = count.min(BURST);
        // SAFETY: the pool is never freed, and the array has room for `wanted` pointers.
        let result =
            unsafe { shim_dpdk_get_bulk(self.0.0.pointer(), frames.as_mut_ptr(), to_u32(wanted)) };
        if result == 0 {
            let frames = frames[..wanted].iter();
            held.extend(frames.filter_map(|frame| NonNull::new(*frame)).map(CFrame));
        }
    }

    #[inline(always)]
    fn put_burst(&'static self, held: &mut Vec<CFrame>) {
        let frames = held.as_ptr().cast::<*mut c_void>();
        // SAFETY: a `CFrame` has the representation of a pointer. The frames are from this pool,
        // and their only holder gave them up.
        unsafe { shim_dpdk_put_bulk(self.0.0.pointer(), frames, to_u32(held.len())) };
        held.clear();
    }
}
