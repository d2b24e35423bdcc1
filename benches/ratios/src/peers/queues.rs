//! Queues full of free frames: crossbeam's ring, its channel, and thingbuf.

use crossbeam_channel::{Receiver, Sender};
use crossbeam_queue::ArrayQueue;
use thingbuf::ThingBuf;

use super::{Boxed, boxed};
use crate::contender::{Contender, Role, enter};
use crate::memory::Memory;
use crate::pool::Pool;
use crate::workloads::Demand;

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    let numbers = Numbers {
        free: ArrayQueue::new(frames),
        memory: Memory::new(frames, size),
    };
    (0..frames).for_each(|number| numbers.free.push(number).expect("there is room"));
    let boxes = ArrayQueue::new(frames);
    (0..frames).for_each(|_| boxes.push(boxed(size)).expect("there is room"));
    let (to, from) = crossbeam_channel::bounded(frames);
    (0..frames).for_each(|_| to.send(boxed(size)).expect("there is room"));
    // A ring that is full gives up slots that are being read, and then takes back one frame less than it
    // gave out, for ever. So it has room to spare.
    let things = Things {
        free: ThingBuf::new(2 * frames),
        memory: Memory::new(frames, size),
    };
    (0..frames).for_each(|number| things.free.push(number).expect("there is room"));
    vec![
        enter(Role::Shared, "ArrayQueue<usize>", frames, size, numbers),
        enter(
            Role::Shared,
            "ArrayQueue<Box<[u8]>>",
            frames,
            size,
            Boxes(boxes),
        ),
        enter(
            Role::Shared,
            "crossbeam-channel",
            frames,
            size,
            Channel { to, from },
        ),
        enter(Role::Shared, "thingbuf", frames, size, things),
    ]
}

struct Numbers {
    free: ArrayQueue<usize>,
    memory: Memory,
}

// SAFETY: a number is in the queue once, or out.
unsafe impl Pool for Numbers {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        self.free.pop()
    }

    #[inline(always)]
    fn put(&'static self, number: usize) {
        let put = self.free.push(number);
        debug_assert!(put.is_ok(), "what comes back has gone out");
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.memory.start(*number)
    }
}

struct Boxes(ArrayQueue<Boxed>);

// SAFETY: a box is its owner's.
unsafe impl Pool for Boxes {
    type Frame = Boxed;

    #[inline(always)]
    fn get(&'static self) -> Option<Boxed> {
        self.0.pop()
    }

    #[inline(always)]
    fn put(&'static self, frame: Boxed) {
        let put = self.0.push(frame);
        debug_assert!(put.is_ok(), "what comes back has gone out");
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Boxed) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

struct Channel {
    to: Sender<Boxed>,
    from: Receiver<Boxed>,
}

// SAFETY: a box is its owner's.
unsafe impl Pool for Channel {
    type Frame = Boxed;

    #[inline(always)]
    fn get(&'static self) -> Option<Boxed> {
        self.from.try_recv().ok()
    }

    #[inline(always)]
    fn put(&'static self, frame: Boxed) {
        let put = self.to.try_send(frame);
        debug_assert!(put.is_ok(), "what comes back has gone out");
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Boxed) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

struct Things {
    free: ThingBuf<usize>,
    memory: Memory,
}

// SAFETY: a number is in the queue once, or out.
unsafe impl Pool for Things {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        self.free.pop()
    }

    #[inline(always)]
    fn put(&'static self, number: usize) {
        // It says that it is full also while another thread reads the slot whose turn it is.
        let put = crate::crew::spin_for(|| self.free.push(number).ok());
        assert!(put.is_some(), "there is room for twice as many");
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.memory.start(*number)
    }
}
