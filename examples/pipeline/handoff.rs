//! Hands items from one thread to the next: a bounded queue that blocks at either end, and
//! allocates nothing once it stands.
//!
//! Acquirer has to wait spins a little, then parks. Dropping an end closes the queue: the receiver gets
//! what is still in it, then `None`; the sender gets its item back. So a stage that ends, fails or
//! panics never leaves its neighbours waiting.
//!
//! # No wake-up is lost
//!
//! Each end follows the steps of one column, whichever end it is:
//!
//! ```text
//!   waits                            moves
//!   -----                            -----
//!   W1  asleep = true                M1  push, pop, or closed = true
//!   W2  fence(SeqCst)                M2  fence(SeqCst)
//!   W3  try once more                M3  if asleep: asleep = false, unpark
//!   W4  park
//! ```
//!
//! All `SeqCst` fences have one order. If M2 comes before W2, then W3 sees M1 and does not park. If
//! W2 comes before M2, then M3 sees W1 and unparks; an `unpark` that comes before W4 makes that
//! `park` return at once. There is no third case.
#![expect(
    clippy::disallowed_types,
    reason = "an example is no part of the crate whose atomics loom replaces"
)]

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::Backoff;

/// A queue with room for `capacity` items, at least one.
///
/// # Panics
///
/// If `capacity` is 0.
pub(crate) fn handoff<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        queue: ArrayQueue::new(capacity),
        closed: AtomicBool::new(false),
        sender: Sleeper::default(),
        receiver: Sleeper::default(),
    });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

#[derive(Debug)]
struct Channel<T> {
    queue: ArrayQueue<T>,
    closed: AtomicBool,
    sender: Sleeper,
    receiver: Sleeper,
}

/// The end that puts items in.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    /// Waits until there is room. Gives the item back if the receiver is gone.
    pub(crate) fn send(&mut self, item: T) -> Result<(), T> {
        let channel = &*self.0;
        let mut unsent = Some(item);
        channel.sender.wait_for(|| {
            let item = unsent.take()?;
            // Relaxed: the flag hands nothing over, and that it is seen in time is the doing of the
            // fences.
            if channel.closed.load(Ordering::Relaxed) {
                return Some(Err(item));
            }
            match channel.queue.push(item) {
                Ok(()) => Some(Ok(())),
                Err(item) => {
                    unsent = Some(item);
                    None
                }
            }
        })?;
        channel.receiver.wake();
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Receiver::receive`; whoever sees the end sees every
        // item that was pushed before it.
        self.0.closed.store(true, Ordering::Release);
        self.0.receiver.wake();
    }
}

/// The end that takes items out.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    /// Waits until there is an item. `None` if there is none left and the sender is gone.
    pub(crate) fn receive(&mut self) -> Option<T> {
        let channel = &*self.0;
        let item = channel.receiver.wait_for(|| {
            // Acquire: pairs with the Release in `Sender::drop`. The flag is read before the queue:
            // if it is set, every item is in there, and an empty queue is the end.
            let last = channel.closed.load(Ordering::Acquire);
            match channel.queue.pop() {
                None if last => Some(None),
                None => None,
                some => Some(some),
            }
        })?;
        channel.sender.wake();
        Some(item)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Relaxed: see `Sender::send`.
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.sender.wake();
    }
}

/// Where one end of the queue sleeps.
#[derive(Debug, Default)]
struct Sleeper {
    asleep: AtomicBool,
    /// The thread of this end, from its first sleep on.
    thread: OnceLock<Thread>,
}

impl Sleeper {
    /// Calls `attempt` until it gives something: in a short spin at first, then each time that the
    /// other end moves.
    fn wait_for<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let spin = Backoff::new();
        loop {
            if let Some(done) = attempt() {
                return done;
            }
            if spin.is_completed() {
                break;
            }
            spin.snooze();
        }
        self.sleep_until(attempt)
    }

    #[cold]
    fn sleep_until<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let thread = self.thread.get_or_init(thread::current);
        debug_assert_eq!(
            thread.id(),
            thread::current().id(),
            "an end stays on its thread"
        );
        loop {
            // W1 to W4. Release: pairs with the Acquire in `wake`, hands over the thread.
            self.asleep.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            if let Some(done) = attempt() {
                // Left as it is, the flag would cost the other end a vain `unpark`, no more.
                self.asleep.store(false, Ordering::Relaxed);
                return done;
            }
            // Returns early on occasion, for which the loop is there.
            thread::park();
        }
    }

    /// M2 and M3.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        // Relaxed: the fence has ordered this load; who finds nobody asleep pays no more than it.
        // Acquire: pairs with the Release in `sleep_until`.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Acquire) {
            let thread = self.thread.get().expect("stored before the flag was set");
            thread.unpark();
        }
    }
}
