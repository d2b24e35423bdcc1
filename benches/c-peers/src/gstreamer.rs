//! GStreamer's `GstBufferPool`.

use std::ffi::c_void;
use std::ptr::NonNull;

use ks_allocator_ratios::contender::{Contender, Role, entry};
use ks_allocator_ratios::pool::Pool;
use ks_allocator_ratios::workloads::Demand;

use crate::frame::{CFrame, CPool};

unsafe extern "C" {
    safe fn shim_gst_new(frames: u32, size: u32) -> *mut c_void;
    fn shim_gst_get(pool: *mut c_void) -> *mut c_void;
    fn shim_gst_start(pool: *mut c_void, frame: *mut c_void) -> *mut c_void;
    fn shim_gst_put(pool: *mut c_void, frame: *mut c_void);
}

struct Gst(CPool);

pub(crate) fn peer(demand: Demand) -> Box<dyn Contender> {
    let Demand { frames, size, .. } = demand;
    let to_u32 = |number: usize| u32::try_from(number).expect("frames and sizes are below 2^32");
    let pool = CPool::new(shim_gst_new(to_u32(frames), to_u32(size)), "GstBufferPool");
    entry(Role::SharedPeer, "GstBufferPool", frames, size, Gst(pool))
}

// SAFETY: `start` returns the memory of a buffer of the demanded size, which is valid until the
// buffer is put back. `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Gst {
    type Frame = CFrame;

    #[inline(always)]
    fn get(&'static self) -> Option<CFrame> {
        // SAFETY: the pool is never freed.
        let frame = unsafe { shim_gst_get(self.0.pointer()) };
        NonNull::new(frame).map(CFrame)
    }

    #[inline(always)]
    fn put(&'static self, frame: CFrame) {
        // SAFETY: the frame is from this pool, and its only holder gave it up.
        unsafe { shim_gst_put(self.0.pointer(), frame.0.as_ptr()) };
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut CFrame) -> *mut u8 {
        // SAFETY: the frame is from this pool, and is out.
        let start = unsafe { shim_gst_start(self.0.pointer(), frame.0.as_ptr()) };
        start.cast()
    }
}
