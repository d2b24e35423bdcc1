//! Queues of free frames: crossbeam's `ArrayQueue`, its channel, and thingbuf.

use crossbeam_channel::{Receiver, Sender};
use crossbeam_queue::ArrayQueue;
use thingbuf::ThingBuf;

use super::{Boxed, boxed};
use crate::contender::{Contender, Role, entry};
use crate::memory::Memory;
use crate::pool::Pool;
use crate::workloads::Demand;

/// Name of [`Numbers`] in tables.
pub(crate) const NUMBERS: &str = "ArrayQueue<usize>";

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    let boxes = ArrayQueue::new(frames);
    (0..frames).for_each(|_| {
        boxes
            .push(boxed(size))
            .expect("the queue has room for all frames")
    });
    let (sender, receiver) = crossbeam_channel::bounded(frames);
    (0..frames).for_each(|_| {
        sender
            .send(boxed(size))
            .expect("the queue has room for all frames")
    });
    // A full ring skips a slot that is being read. From then on it accepts one frame fewer than it
    // handed out. Twice the capacity avoids that.
    let things = Things {
        free: ThingBuf::new(2 * frames),
        memory: Memory::new(frames, size),
    };
    (0..frames).for_each(|number| {
        things
            .free
            .push(number)
            .expect("the queue has room for all frames")
    });
    vec![
        entry(
            Role::SharedPeer,
            NUMBERS,
            frames,
            size,
            Numbers::new(frames, size),
        ),
        entry(
            Role::SharedPeer,
            "ArrayQueue<Box<[u8]>>",
            frames,
            size,
            Boxes(boxes),
        ),
        entry(
            Role::SharedPeer,
            "crossbeam-channel",
            frames,
            size,
            Channel { sender, receiver },
        ),
        entry(Role::SharedPeer, "thingbuf", frames, size, things),
    ]
}

pub(crate) struct Numbers {
    free: ArrayQueue<usize>,
    memory: Memory,
}

impl Numbers {
    pub(crate) fn new(frames: usize, size: usize) -> Self {
        let free = ArrayQueue::new(frames);
        (0..frames).for_each(|number| {
            free.push(number)
                .expect("the queue has room for all frames")
        });
        let memory = Memory::new(frames, size);
        Self { free, memory }
    }
}

// SAFETY: `start` returns the address of a frame of `memory`, which is leaked: it is a multiple of
// 8, and valid for as many bytes as a frame has.
unsafe impl Pool for Numbers {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        self.free.pop()
    }

    #[inline(always)]
    fn put(&'static self, number: usize) {
        let put = self.free.push(number);
        debug_assert!(
            put.is_ok(),
            "the queue has room for every frame that was out"
        );
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.memory.start(*number)
    }
}

struct Boxes(ArrayQueue<Boxed>);

// SAFETY: the address is that of a box of the demanded size, which the frame's holder owns.
// `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Boxes {
    type Frame = Boxed;

    #[inline(always)]
    fn get(&'static self) -> Option<Boxed> {
        self.0.pop()
    }

    #[inline(always)]
    fn put(&'static self, frame: Boxed) {
        let put = self.0.push(frame);
        debug_assert!(
            put.is_ok(),
            "the queue has room for every frame that was out"
        );
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Boxed) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

struct Channel {
    sender: Sender<Boxed>,
    receiver: Receiver<Boxed>,
}

// SAFETY: the address is that of a box of the demanded size, which the frame's holder owns.
// `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Channel {
    type Frame = Boxed;

    #[inline(always)]
    fn get(&'static self) -> Option<Boxed> {
        self.receiver.try_recv().ok()
    }

    #[inline(always)]
    fn put(&'static self, frame: Boxed) {
        let put = self.sender.try_send(frame);
        debug_assert!(
            put.is_ok(),
            "the queue has room for every frame that was out"
        );
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

// SAFETY: `start` returns the address of a frame of `memory`, which is leaked: it is a multiple of
// 8, and valid for as many bytes as a frame has.
unsafe impl Pool for Things {
    type Frame = usize;

    #[inline(always)]
    fn get(&'static self) -> Option<usize> {
        self.free.pop()
    }

    #[inline(always)]
    fn put(&'static self, number: usize) {
        // The push also fails while another thread still reads the next slot.
        let put = crate::workers::spin_for(|| self.free.push(number).ok());
        assert!(put.is_some(), "the ring has room for twice as many frames");
    }

    #[inline(always)]
    fn start(&'static self, number: &mut usize) -> *mut u8 {
        self.memory.start(*number)
    }
}
