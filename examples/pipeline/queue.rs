//! Bounded queue between two stages. It blocks at either end, and allocates nothing after it was
//! made.
//!
//! Dropping an end closes the queue: the receiver then gets the remaining items, and the sender an
//! error. So a stage that ends or panics does not leave its neighbors waiting.
#![expect(
    clippy::disallowed_types,
    reason = "loom does not replace the locks of an example"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Makes a queue with room for `capacity` items.
pub(crate) fn queue<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Queue {
        state: Mutex::new(State {
            items: VecDeque::with_capacity(capacity),
            closed: false,
        }),
        changed: Condvar::new(),
        capacity,
    });
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

pub(crate) struct Sender<T>(Arc<Queue<T>>);

pub(crate) struct Receiver<T>(Arc<Queue<T>>);

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Sender<T> {
    /// Blocks until there is room. Returns the item if the receiver is gone.
    pub(crate) fn send(&self, item: T) -> Result<(), T> {
        let full = |state: &State<T>| state.items.len() == self.0.capacity;
        let mut state = self.0.wait_while(full);
        if state.closed {
            return Err(item);
        }
        state.items.push_back(item);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Blocks until there is an item. Returns `None` if there is none and the sender is gone.
    pub(crate) fn receive(&self) -> Option<T> {
        let item = self
            .0
            .wait_while(|state| state.items.is_empty())
            .items
            .pop_front();
        self.0.changed.notify_one();
        item
    }
}

impl<T> Queue<T> {
    /// Blocks while the queue is open and `condition` holds.
    fn wait_while(&self, condition: impl Fn(&State<T>) -> bool) -> MutexGuard<'_, State<T>> {
        let state = self.state.lock().expect(UNPOISONED);
        let blocked = |state: &mut State<T>| !state.closed && condition(state);
        self.changed.wait_while(state, blocked).expect(UNPOISONED)
    }

    fn close(&self) {
        self.state.lock().expect(UNPOISONED).closed = true;
        self.changed.notify_one();
    }
}

const UNPOISONED: &str = "no code of this file panics while it holds the lock";

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}
