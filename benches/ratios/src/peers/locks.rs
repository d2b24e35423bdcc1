//! Stacks of boxes in a mutex.

use super::{Boxed, boxed};
use crate::contender::{Contender, Role, entry};
use crate::pool::Pool;
use crate::workloads::Demand;

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    let boxes = || (0..frames).map(|_| boxed(size)).collect::<Vec<_>>();
    let std = Std(std::sync::Mutex::new(boxes()));
    let lot = ParkingLot(parking_lot::Mutex::new(boxes()));
    vec![
        entry(
            Role::SharedPeer,
            "std Mutex<Vec<Box<[u8]>>>",
            frames,
            size,
            std,
        ),
        entry(
            Role::SharedPeer,
            "parking_lot Mutex<Vec<Box<[u8]>>>",
            frames,
            size,
            lot,
        ),
    ]
}

struct Std(std::sync::Mutex<Vec<Boxed>>);

// SAFETY: the address is that of a box of the demanded size, which the frame's holder owns.
// `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Std {
    type Frame = Boxed;

    #[inline(always)]
    fn get(&'static self) -> Option<Boxed> {
        self.0.lock().expect("no thread panics").pop()
    }

    #[inline(always)]
    fn put(&'static self, frame: Boxed) {
        self.0.lock().expect("no thread panics").push(frame);
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Boxed) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

struct ParkingLot(parking_lot::Mutex<Vec<Boxed>>);

// SAFETY: the address is that of a box of the demanded size, which the frame's holder owns.
// `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for ParkingLot {
    type Frame = Boxed;

    #[inline(always)]
    fn get(&'static self) -> Option<Boxed> {
        self.0.lock().pop()
    }

    #[inline(always)]
    fn put(&'static self, frame: Boxed) {
        self.0.lock().push(frame);
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Boxed) -> *mut u8 {
        frame.as_mut_ptr()
    }
}
