//! FFmpeg's `AVBufferPool`. It is unbounded, but every thread can acquire every free frame.

use std::ffi::c_void;
use std::ptr::NonNull;

use ks_allocator_ratios::contender::{Contender, Role, entry};
use ks_allocator_ratios::pool::Pool;
use ks_allocator_ratios::workloads::Demand;

use crate::frame::{CFrame, CPool};

unsafe extern "C" {
    safe fn shim_av_new(frames: u32, size: u32) -> *mut c_void;
    fn shim_av_get(pool: *mut c_void) -> *mut c_void;
    fn shim_av_start(pool: *mut c_void, frame: *mut c_void) -> *mut c_void;
    fn shim_av_put(pool: *mut c_void, frame: *mut c_void);
}

struct Av(CPool);

pub(crate) fn peer(demand: Demand) -> Box<dyn Contender> {
    let Demand { frames, size, .. } = demand;
    let to_u32 = |number: usize| u32::try_from(number).expect("frames and sizes are below 2^32");
    let pool = CPool::new(shim_av_new(to_u32(frames), to_u32(size)), "AVBufferPool");
    entry(Role::SharedPeer, "AVBufferPool", frames, size, Av(pool))
}

// SAFETY: `start` returns the memory of a buffer of the demanded size, which is valid until the
// buffer is put back. `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Av {
    type Frame = CFrame;

    #[inline(always)]
    fn get(&'static self) -> Option<CFrame> {
        // SAFETY: the pool is never freed.
        let frame = unsafe { shim_av_get(self.0.pointer()) };
        NonNull::new(frame).map(CFrame)
    }

    #[inline(always)]
    fn put(&'static self, frame: CFrame) {
        // SAFETY: the frame is from this pool, and its only holder gave it up.
        unsafe { shim_av_put(self.0.pointer(), frame.0.as_ptr()) };
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut CFrame) -> *mut u8 {
        // SAFETY: the frame is from this pool, and is out.
        let start = unsafe { shim_av_start(self.0.pointer(), frame.0.as_ptr()) };
        start.cast()
    }
}
