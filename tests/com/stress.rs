//! Stress tests of many threads, with an ownership canary in every buffer.
//!
//! The owner of a buffer writes a mark of its own to it, which must be intact when it releases the
//! buffer. A second owner, or a release while the buffer is in use, destroys the mark.
//! Numbers of rounds are fixed, so that the time of a run is limited.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use ks_allocator::KsAllocator as _;

use crate::client::{Allocator, Sample};
use crate::objects::Callback;
use crate::vtables::*;

const THREADS: usize = 4;
/// Number of buffers that each thread acquires.
const ROUNDS: u32 = if cfg!(miri) {
    20
} else if cfg!(debug_assertions) {
    1_000
} else {
    10_000
};

static NEXT_MARK: AtomicI64 = AtomicI64::new(0);

/// A sample that is full of its owner's mark.
struct Marked {
    sample: Sample,
    mark: i64,
}

impl Marked {
    fn new(sample: Sample) -> Self {
        assert_eq!(sample.references(), 1);
        assert_eq!(sample.properties().flags, 0, "flags of the previous owner");
        let mark = NEXT_MARK.fetch_add(1, Ordering::Relaxed);
        sample.fill(mark.to_le_bytes()[0]);
        assert_eq!(sample.set_time(Some(mark), Some(mark)), S_OK);
        Self { sample, mark }
    }

    fn check(&self) {
        let mark = self.mark;
        assert_eq!(
            self.sample.time(),
            (S_OK, mark, mark),
            "times of another owner"
        );
        let bytes = [mark.to_le_bytes()[0]; 64];
        assert_eq!(self.sample.bytes(), bytes, "bytes of another owner");
    }

    fn share(&self) -> Self {
        Self {
            sample: self.sample.clone(),
            mark: self.mark,
        }
    }
}

/// Acquires and releases `ROUNDS` buffers. Sends a second reference of every other buffer to the
/// consumer.
fn produce(allocator: &Allocator, consumer: &Sender<Marked>) {
    let mut acquired = 0;
    for attempt in 0_u32.. {
        let flags = if attempt % 3 == 0 { NOWAIT } else { 0 };
        match allocator.get_buffer(flags) {
            Ok(sample) => {
                let marked = Marked::new(sample);
                if acquired % 2 == 0 {
                    consumer.send(marked.share()).unwrap();
                }
                marked.check();
                acquired += 1;
            }
            Err(VFW_E_TIMEOUT) => assert_eq!(flags, NOWAIT),
            Err(error) => {
                assert_eq!(error, VFW_E_NOT_COMMITTED);
                thread::yield_now();
            }
        }
        if acquired == ROUNDS {
            break;
        }
    }
}

/// Checks and releases the samples that it receives.
fn consume(producers: Receiver<Marked>) {
    for marked in producers {
        marked.check();
    }
}

/// Runs producers and consumers with one allocator, and calls `meanwhile` repeatedly until they
/// have finished. `meanwhile` must leave the allocator committed.
fn run(allocator: &Allocator, mut meanwhile: impl FnMut()) {
    thread::scope(|scope| {
        let producers: Vec<_> = (0..THREADS)
            .map(|_| {
                let (sender, receiver) = channel();
                scope.spawn(|| consume(receiver));
                scope.spawn(move || produce(allocator, &sender))
            })
            .collect();
        while !producers.iter().all(|producer| producer.is_finished()) {
            meanwhile();
            thread::yield_now();
        }
    });
}

#[test]
fn no_buffer_has_two_owners() {
    for buffers in [1, 3, 200] {
        let allocator = Allocator::committed(buffers, 64);
        run(&allocator, || {});
        assert_eq!(allocator.free_count(), buffers);
        assert_eq!(allocator.waiting(), 0);
    }
}

#[test]
fn no_buffer_has_two_owners_during_decommits_and_commits() {
    let allocator = Allocator::committed(3, 64);
    run(&allocator, || {
        assert_eq!(allocator.decommit(), S_OK);
        thread::yield_now();
        assert_eq!(allocator.commit(), S_OK);
    });
    assert_eq!(allocator.free_count(), 3);
    assert_eq!(allocator.waiting(), 0);
    assert_eq!(allocator.decommit(), S_OK);
    assert_eq!(allocator.set_properties(properties(1, 1, 1, 0)).0, S_OK);
}

#[test]
fn no_buffer_has_two_owners_while_the_properties_change() {
    let allocator = Allocator::committed(3, 64);
    let mut buffers = (1..=5).cycle();
    run(&allocator, || {
        assert_eq!(allocator.decommit(), S_OK);
        let request = properties(buffers.next().unwrap(), 64, 8, 0);
        let (result, _) = allocator.set_properties(request);
        assert!(matches!(result, S_OK | VFW_E_BUFFERS_OUTSTANDING));
        assert_eq!(allocator.commit(), S_OK);
    });
    assert_eq!(allocator.free_count(), allocator.properties().buffers);
}

#[test]
fn no_buffer_has_two_owners_while_rust_code_acquires_frames() {
    let allocator = Allocator::committed(3, 64);
    let rust = allocator.rust();
    run(&allocator, || {
        let mut frame = rust.acquire().unwrap();
        let mark = NEXT_MARK.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
        frame.fill(mark);
        thread::yield_now();
        assert_eq!(*frame, [mark; 64], "bytes of another owner");
    });
    assert_eq!(allocator.free_count(), 3);
}

#[test]
fn every_final_release_calls_the_callback_once() {
    let calls = Arc::new(AtomicU32::new(0));
    let callback = Callback::with_action({
        let calls = calls.clone();
        move || {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    });
    let allocator = Allocator::committed(3, 64);
    assert_eq!(allocator.set_notify(callback.as_ptr()), S_OK);
    run(&allocator, || {});
    let releases = ROUNDS * u32::try_from(THREADS).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), releases);
    assert_eq!(callback.references(), 1);
    drop(allocator);
    assert_eq!(callback.references(), 0);
}

#[test]
fn the_last_reference_can_be_released_on_any_thread() {
    for _ in 0..ROUNDS / 10 {
        let allocator = Allocator::committed(THREADS.try_into().unwrap(), 64);
        let samples = allocator.samples(THREADS);
        let allocators = vec![allocator; THREADS];
        thread::scope(|scope| {
            for (sample, allocator) in samples.into_iter().zip(allocators) {
                scope.spawn(move || {
                    drop(allocator);
                    assert_eq!(sample.release(), 0);
                });
            }
        });
    }
}
