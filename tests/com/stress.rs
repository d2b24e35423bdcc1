//! Many threads, with an ownership canary in every buffer.
//!
//! A canary is written when a buffer is got and must still be there when it is given back. Two
//! owners of one buffer, or a buffer that goes back before its owner was done with it, kill it.
//! Counts are fixed, so that a run takes no longer than it must.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use ks_allocator::KsAllocator as _;

use crate::client::{Allocator, Sample};
use crate::objects::Callback;
use crate::vtables::*;

const THREADS: usize = 4;
/// Buffers that each thread gets.
const ROUNDS: u32 = if cfg!(miri) {
    20
} else if cfg!(debug_assertions) {
    1_000
} else {
    10_000
};

static NEXT_OWNER: AtomicI64 = AtomicI64::new(0);

/// A sample with the mark of its owner all over it.
struct Marked {
    sample: Sample,
    mark: i64,
}

impl Marked {
    fn new(sample: Sample) -> Self {
        assert_eq!(sample.references(), 1);
        assert_eq!(sample.image().flags, 0, "flags of the last owner");
        let mark = NEXT_OWNER.fetch_add(1, Ordering::Relaxed);
        sample.fill(mark.to_le_bytes()[0]);
        assert_eq!(sample.set_time(Some(mark), Some(mark)), S_OK);
        Self { sample, mark }
    }

    fn check(&self) {
        let mark = self.mark;
        assert_eq!(self.sample.time(), (S_OK, mark, mark), "another's times");
        let bytes = [mark.to_le_bytes()[0]; 64];
        assert_eq!(self.sample.bytes(), bytes, "another's bytes");
    }

    fn share(&self) -> Self {
        Self {
            sample: self.sample.clone(),
            mark: self.mark,
        }
    }
}

/// Gets so many buffers, and gives each back here and, every other one by a second reference, on
/// another thread.
fn produce(allocator: &Allocator, consumer: &Sender<Marked>) {
    let mut got = 0;
    for attempt in 0_u32.. {
        let flags = if attempt % 3 == 0 { NOWAIT } else { 0 };
        match allocator.get_buffer(flags) {
            Ok(sample) => {
                let marked = Marked::new(sample);
                if got % 2 == 0 {
                    consumer.send(marked.share()).unwrap();
                }
                marked.check();
                got += 1;
            }
            Err(VFW_E_TIMEOUT) => assert_eq!(flags, NOWAIT),
            Err(failure) => {
                assert_eq!(failure, VFW_E_NOT_COMMITTED);
                thread::yield_now();
            }
        }
        if got == ROUNDS {
            break;
        }
    }
}

/// Checks what it is sent, and gives it back.
fn consume(producers: Receiver<Marked>) {
    for marked in producers {
        marked.check();
    }
}

/// Producers and consumers at one allocator, while `meanwhile` is done over and over. It must leave
/// the allocator committed.
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
fn no_buffer_has_two_owners_while_others_decommit_and_commit() {
    let allocator = Allocator::committed(3, 64);
    run(&allocator, || {
        assert_eq!(allocator.decommit(), S_OK);
        thread::yield_now();
        assert_eq!(allocator.commit(), S_OK);
    });
    assert_eq!(allocator.free_count(), 3);
    assert_eq!(allocator.waiting(), 0);
    assert_eq!(allocator.decommit(), S_OK);
    assert_eq!(allocator.set(properties(1, 1, 1, 0)).0, S_OK);
}

#[test]
fn no_buffer_has_two_owners_while_others_change_the_properties() {
    let allocator = Allocator::committed(3, 64);
    let mut buffers = (1..=5).cycle();
    run(&allocator, || {
        assert_eq!(allocator.decommit(), S_OK);
        let request = properties(buffers.next().unwrap(), 64, 8, 0);
        let (result, _) = allocator.set(request);
        assert!(matches!(result, S_OK | VFW_E_BUFFERS_OUTSTANDING));
        assert_eq!(allocator.commit(), S_OK);
    });
    assert_eq!(allocator.free_count(), allocator.properties().buffers);
}

#[test]
fn no_buffer_has_two_owners_while_rust_takes_some() {
    let allocator = Allocator::committed(3, 64);
    let rust = allocator.rust();
    run(&allocator, || {
        let mut frame = rust.acquire().unwrap();
        let mark = NEXT_OWNER.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
        frame.fill(mark);
        thread::yield_now();
        assert_eq!(*frame, [mark; 64], "another's bytes");
    });
    assert_eq!(allocator.free_count(), 3);
}

#[test]
fn every_release_is_told_once_however_many_there_are() {
    let told = Arc::new(AtomicU32::new(0));
    let callback = Callback::that({
        let told = told.clone();
        move || {
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let allocator = Allocator::committed(3, 64);
    assert_eq!(allocator.set_notify(callback.as_ptr()), S_OK);
    run(&allocator, || {});
    let got = ROUNDS * u32::try_from(THREADS).unwrap();
    assert_eq!(told.load(Ordering::Relaxed), got);
    assert_eq!(callback.references(), 1);
    drop(allocator);
    assert_eq!(callback.references(), 0);
}

#[test]
fn the_last_reference_may_go_on_any_thread() {
    for _ in 0..ROUNDS / 10 {
        let allocator = Allocator::committed(THREADS.try_into().unwrap(), 64);
        let samples = allocator.samples(THREADS);
        let allocators = vec![allocator; THREADS];
        thread::scope(|scope| {
            for (sample, allocator) in samples.into_iter().zip(allocators) {
                scope.spawn(move || {
                    drop(allocator);
                    assert_eq!(sample.leave(), 0);
                });
            }
        });
    }
}
