//! A `tracing` subscriber that calls the allocator from inside of an event.

use std::cell::Cell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ks_allocator::com::{
    ALLOCATOR_PROPERTIES, ComAllocator, IKsAllocator, IMemAllocatorCallbackTemp,
    KSSTREAMALLOCATOR_STATUS, S_OK,
};
use ks_allocator::{Framing, PoolAllocator};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use windows_core::Interface;

use crate::support::com_client::committed_com_allocator;
use crate::support::runs_alone::runs_alone;
use crate::{commit, decommit, set_properties};

thread_local! {
    static EVENTS: Cell<usize> = const { Cell::new(0) };
}

struct CallsTheAllocator(ComAllocator);

impl Subscriber for CallsTheAllocator {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        EVENTS.set(EVENTS.get() + 1);
        let client: IMemAllocatorCallbackTemp = self.0.cast().unwrap();
        let mut properties = ALLOCATOR_PROPERTIES::default();
        // SAFETY: `properties` can be written.
        assert_eq!(unsafe { client.GetProperties(&raw mut properties) }, S_OK);
        let mut free = 0;
        // SAFETY: `free` can be written.
        assert_eq!(unsafe { client.GetFreeCount(&raw mut free) }, S_OK);
        assert_eq!((properties.cBuffers, free), (2, 2));
        let ks: IKsAllocator = client.cast().unwrap();
        let mut status = KSSTREAMALLOCATOR_STATUS::default();
        // SAFETY: `status` can be written.
        assert_eq!(unsafe { ks.KsGetAllocatorStatus(&raw mut status) }, S_OK);
        if EVENTS.get() > 3 {
            // The last decommit, so that the commit before it has used its memory again.
            assert_eq!(set_properties(&client, 2, 64), S_OK);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_can_call_the_allocator_whose_event_it_gets() {
    // `tracing` may lose the events of a call site that another thread reaches for the first time
    // while a subscriber comes.
    if !runs_alone("subscriber::a_subscriber_can_call_the_allocator_whose_event_it_gets") {
        return;
    }
    let (done, is_done) = mpsc::channel();
    let caller = thread::spawn(move || {
        let (allocator, client) =
            committed_com_allocator(PoolAllocator::with_framing(Framing::new(2, 64)).unwrap());
        decommit(&client);
        assert_eq!(set_properties(&client, 2, 64), S_OK);
        let subscriber = CallsTheAllocator(allocator.clone());
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(commit(&client), S_OK); // new memory
            decommit(&client);
            assert_eq!(commit(&client), S_OK); // the same memory
            decommit(&client);
        });
        done.send(EVENTS.get()).unwrap();
    });
    let events = is_done.recv_timeout(Duration::from_secs(60));
    assert!(events.is_ok_and(|events| events == 4), "{events:?}");
    caller.join().unwrap();
}
