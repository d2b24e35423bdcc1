//! GStreamer's pool of buffers.

use std::ffi::c_void;
use std::ptr::NonNull;

use ks_allocator_ratios::contender::{Contender, Role, enter};
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
    let count = |number: usize| u32::try_from(number).expect("a few thousand at most");
    let pool = CPool::new(shim_gst_new(count(frames), count(size)), "GstBufferPool");
    enter(Role::Shared, "GstBufferPool", frames, size, Gst(pool))
}

// SAFETY: a buffer that is out is its holder's, and of the size that was asked for.
unsafe impl Pool for Gst {
    type Frame = CFrame;

    #[inline(always)]
    fn get(&'static self) -> Option<CFrame> {
        // SAFETY: the pool lives for ever.
        let frame = unsafe { shim_gst_get(self.0.pointer()) };
        NonNull::new(frame).map(CFrame)
    }

    #[inline(always)]
    fn put(&'static self, frame: CFrame) {
        // SAFETY: the frame came from there, and nobody uses it any more.
        unsafe { shim_gst_put(self.0.pointer(), frame.0.as_ptr()) };
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut CFrame) -> *mut u8 {
        // SAFETY: the frame came from there, and is out.
        let start = unsafe { shim_gst_start(self.0.pointer(), frame.0.as_ptr()) };
        start.cast()
    }
}
