//! Stacks of boxes in a mutex.

use super::{Boxed, boxed};
use crate::contender::{Contender, Role, entry};
use crate::pool::Pool;
use crate::workloads::Demand;

/// Name of [`ParkingLot`] in tables.
pub(crate) const PARKING_LOT: &str = "parking_lot Mutex<Vec<Box<[u8]>>>";

fn boxes(frames: usize, size: usize) -> Vec<Boxed> {
    (0..frames).map(|_| boxed(size)).collect()
}

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    let std = Std(std::sync::Mutex::new(boxes(frames, size)));
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
            PARKING_LOT,
            frames,
            size,
            ParkingLot::new(frames, size),
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

pub(crate) struct ParkingLot(parking_lot::Mutex<Vec<Boxed>>);

impl ParkingLot {
    pub(crate) fn new(frames: usize, size: usize) -> Self {
        Self(parking_lot::Mutex::new(boxes(frames, size)))
    }
}

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
