//! A stack under a lock.

use super::{Boxed, boxed};
use crate::contender::{Contender, Role, enter};
use crate::pool::Pool;
use crate::workloads::Demand;

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    let boxes = || (0..frames).map(|_| boxed(size)).collect::<Vec<_>>();
    let std = Std(std::sync::Mutex::new(boxes()));
    let lot = ParkingLot(parking_lot::Mutex::new(boxes()));
    vec![
        enter(Role::Shared, "std Mutex<Vec<Box<[u8]>>>", frames, size, std),
        enter(
            Role::Shared,
            "parking_lot Mutex<Vec<Box<[u8]>>>",
            frames,
            size,
            lot,
        ),
    ]
}

struct Std(std::sync::Mutex<Vec<Boxed>>);

// SAFETY: a box is its owner's.
unsafe impl Pool for Std {
    type Frame = Boxed;

    #[inline(always)]
    fn get(&'static self) -> Option<Boxed> {
        self.0.lock().expect("nobody panics").pop()
    }

    #[inline(always)]
    fn put(&'static self, frame: Boxed) {
        self.0.lock().expect("nobody panics").push(frame);
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Boxed) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

struct ParkingLot(parking_lot::Mutex<Vec<Boxed>>);

// SAFETY: a box is its owner's.
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
