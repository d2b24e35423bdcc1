//! Reports that a pool makes on its own, to hooks and to `tracing`: long waits and leaked frames.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{AcquireError, FramePool, FramePoolBuilder, HolderState, Starvation, Stats};

use support::poll_once::poll_once;
use support::wait_until::wait_until;

mod support {
    #[cfg(feature = "tracing")]
    pub(crate) mod committed_allocator;
    pub(crate) mod poll_once;
    pub(crate) mod wait_until;
}

const THRESHOLD: Duration = Duration::from_millis(20);

fn builder(frames: usize) -> FramePoolBuilder {
    FramePool::builder().frames(frames).frame_size(64)
}

/// Returns a builder whose pool reports each long wait, and the receiver of the reports.
fn reporting(frames: usize) -> (FramePoolBuilder, Receiver<String>) {
    let (report, reports) = channel();
    let hook = move |holders: &ks_allocator::Holders| report.send(format!("{holders:#}")).unwrap();
    (builder(frames).on_starved(THRESHOLD, hook), reports)
}

/// Returns once a caller waits for a frame.
fn wait_for_waiter(pool: &FramePool) {
    wait_until(|| pool.waiting() > 0);
}

#[test]
fn a_long_wait_is_reported_once_and_then_served() {
    let (builder, reports) = reporting(1);
    let pool = builder.build().unwrap();
    let held = pool.with_label("slow stage").acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
        let report = reports.recv().unwrap();
        assert!(
            report.starts_with(concat!(
                "1 of 1 frame is out: 1 held by `slow stage` (",
                file!(),
                ":"
            )),
            "{report}"
        );
        assert!(
            report.contains("; 1 caller has been waiting for "),
            "{report}"
        );
        thread::sleep(THRESHOLD * 2);
        drop(held);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
    assert!(reports.try_recv().is_err(), "one report per wait");
}

#[test]
fn long_waits_are_reported_and_short_waits_are_not() {
    let (builder, reports) = reporting(1);
    let pool = builder.build().unwrap();
    let _held = pool.acquire().unwrap();
    for timeout in [THRESHOLD / 4, THRESHOLD * 9, THRESHOLD / 4, THRESHOLD * 9] {
        let error = pool.acquire_timeout(timeout).unwrap_err();
        assert_eq!(error, AcquireError::TimedOut(Starvation::default()));
        assert_eq!(reports.try_iter().count(), usize::from(timeout > THRESHOLD));
    }
}

#[test]
fn a_timed_wait_that_is_reported_does_not_end_early() {
    let (builder, _reports) = reporting(1);
    let pool = builder.build().unwrap();
    let _held = pool.acquire().unwrap();
    let began = Instant::now();
    assert!(pool.acquire_timeout(THRESHOLD * 3).is_err());
    assert!(began.elapsed() >= THRESHOLD * 3);
}

#[test]
fn a_slow_hook_delays_a_timed_wait_by_no_more_than_its_own_time() {
    let hook = |_: &ks_allocator::Holders| thread::sleep(THRESHOLD * 5);
    let pool = builder(1).on_starved(THRESHOLD, hook).build().unwrap();
    let _held = pool.acquire().unwrap();
    let began = Instant::now();
    assert!(pool.acquire_timeout(THRESHOLD * 3).is_err());
    let took = began.elapsed();
    assert!(took >= THRESHOLD * 6 && took < THRESHOLD * 60, "{took:?}");
    assert_eq!(pool.waiting(), 0);
}

/// Lets a future wait for long without a poll, and then drops it, after a release of the frame and
/// a poll if asked for. Returns the number of reports, and the statistics.
fn reports_of_unpolled_future(release: bool, poll: bool) -> (usize, Stats) {
    let (builder, reports) = reporting(1);
    let pool = builder.build().unwrap();
    let held = pool.acquire().unwrap();
    let mut future = Box::pin(pool.acquire_async());
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    thread::sleep(THRESHOLD);
    let held = (!release).then_some(held);
    let polled = poll.then(|| future.as_mut().poll(&mut context));
    assert!(polled.is_none_or(|polled| polled.is_ready() == release));
    drop((future, held));
    assert_eq!((pool.free_frames(), pool.waiting()), (1, 0));
    (reports.try_iter().count(), pool.stats())
}

#[test]
fn a_long_wait_of_a_future_is_reported_when_it_ends_at_the_latest() {
    for (release, poll) in [(false, false), (false, true), (true, false), (true, true)] {
        let (reports, stats) = reports_of_unpolled_future(release, poll);
        assert_eq!(reports, 1, "release: {release}, poll: {poll}");
        let cancelled = u64::from(!(release && poll));
        assert_eq!(
            (stats.waits, stats.waits_cancelled, stats.timeouts),
            (1, cancelled, 0)
        );
    }
}

#[test]
fn a_short_wait_of_a_dropped_future_is_counted_and_not_reported() {
    let (builder, reports) = reporting(1);
    let pool = builder.build().unwrap();
    let _held = pool.acquire().unwrap();
    {
        let mut future = pin!(pool.acquire_async());
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    drop(pool.acquire_async()); // never polled: no wait
    assert_eq!(reports.try_iter().count(), 0);
    let stats = pool.stats();
    assert_eq!((stats.waits, stats.waits_cancelled), (1, 1));
    assert!(
        stats.to_string().ends_with("0 timed out, 1 cancelled"),
        "{stats}"
    );
}

#[test]
fn a_long_wait_of_a_future_is_reported_when_it_is_polled() {
    let (builder, reports) = reporting(1);
    let pool = builder.build().unwrap();
    let held = pool.acquire().unwrap();
    let mut future = pin!(pool.acquire_async());
    assert!(poll_once(future.as_mut(), Waker::noop()).is_pending());
    assert!(reports.try_recv().is_err());
    thread::sleep(THRESHOLD);
    assert!(poll_once(future.as_mut(), Waker::noop()).is_pending());
    assert!(poll_once(future.as_mut(), Waker::noop()).is_pending());
    assert_eq!(reports.try_iter().count(), 1);
    drop(held);
    let served = poll_once(future, Waker::noop());
    assert!(matches!(served, Poll::Ready(Ok(_))));
}

#[test]
fn a_panicking_hook_costs_no_frame() {
    let pool = builder(1)
        .on_starved(Duration::ZERO, |_| panic!("the starvation hook panics"))
        .on_leak(|_| panic!("the leak hook panics"))
        .build()
        .unwrap();
    let held = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        wait_for_waiter(&pool);
        thread::sleep(THRESHOLD);
        drop(held);
        waiter.join().unwrap().unwrap();
    });
    let held = pool.acquire().unwrap();
    drop(pool);
    drop(held);
}

#[test]
fn a_hook_may_use_the_pool() {
    let (report, reports) = channel();
    let cell = Arc::new(OnceLock::<FramePool>::new());
    let builder = {
        // A hook that owned a handle of its own pool would keep the pool alive forever.
        let cell = Arc::downgrade(&cell);
        builder(1).on_starved(THRESHOLD, move |_| {
            let cell = cell.upgrade().unwrap();
            let pool = cell.get().unwrap();
            report
                .send((pool.stats(), pool.try_acquire().is_ok()))
                .unwrap();
        })
    };
    cell.set(builder.build().unwrap()).unwrap();
    let pool = cell.get().unwrap();
    let _held = pool.acquire().unwrap();
    assert!(pool.acquire_timeout(THRESHOLD * 2).is_err());
    let (stats, acquired) = reports.recv().unwrap();
    assert!(stats.starved());
    assert!(!acquired);
}

#[test]
fn frames_that_outlive_their_pool_are_reported_with_their_holders() {
    let (report, reports) = channel();
    let hook = move |holders: &ks_allocator::Holders| report.send(holders.clone()).unwrap();
    let builder = builder(3).on_leak(hook);

    let pool = builder.build().unwrap();
    let other = pool.clone();
    let line = line!() + 1;
    let shared = pool.acquire().unwrap().share();
    let twice = shared.clone();
    drop(pool);
    assert!(reports.try_recv().is_err(), "one handle is left");
    drop(other);
    let leaked = reports.recv().unwrap();
    assert_eq!((leaked.frames, leaked.free), (3, 2));
    assert_eq!(leaked.entries[0].state, HolderState::Shared { handles: 2 });
    assert_eq!(leaked.entries[0].location.unwrap().line, line);
    drop((shared, twice));

    drop(builder.build().unwrap());
    assert!(reports.try_recv().is_err(), "no frame was out");
}

#[test]
fn waits_are_counted_whatever_their_outcome() {
    let pool = builder(1).build().unwrap();
    let held = pool.acquire().unwrap();
    assert!(pool.try_acquire().is_err());
    assert!(pool.acquire_timeout(Duration::from_millis(3)).is_err());
    thread::scope(|scope| {
        let flushed = scope.spawn(|| pool.acquire().map(drop));
        wait_for_waiter(&pool);
        pool.begin_flush();
        assert_eq!(flushed.join().unwrap(), Err(AcquireError::Flushing));
        pool.end_flush();

        let served = scope.spawn(|| pool.acquire().map(drop));
        wait_for_waiter(&pool);
        drop(held);
        served.join().unwrap().unwrap();
    });
    let held = pool.acquire().unwrap();
    {
        let mut abandoned = pin!(pool.acquire_async());
        assert!(poll_once(abandoned.as_mut(), Waker::noop()).is_pending());
    }
    drop(held);

    let stats = pool.stats();
    assert_eq!(
        (stats.waits, stats.timeouts, stats.failed_acquires),
        (4, 1, 1)
    );
    assert!(stats.longest_wait >= Duration::from_millis(3));
    assert!(stats.total_wait >= stats.longest_wait);
    assert_eq!((stats.acquires, stats.high_water), (3, 1));
    assert!(!stats.starved());
}

#[test]
fn shares_and_copies_are_counted() {
    let pool = builder(3).build().unwrap();
    let mut one = pool.acquire().unwrap().share();
    one.make_mut().unwrap();
    assert_eq!(pool.stats().copies, 0);
    let two = one.clone();
    one.make_mut().unwrap();
    let stats = pool.stats();
    assert_eq!((stats.shared, stats.copies, stats.acquires), (1, 1, 2));
    drop((one, two));
}

#[test]
fn without_acquire_times_the_age_of_a_frame_counts_from_the_first_look() {
    let pool = builder(2).build().unwrap();
    let early = pool.acquire().unwrap();
    let _late = pool.acquire().unwrap();
    // A caller that begins to wait looks at the holders.
    assert!(pool.acquire_timeout(Duration::from_millis(30)).is_err());
    let report = pool.holders();
    assert_eq!(report.older_than(Duration::from_millis(30)).count(), 2);
    assert!(report.entries.iter().all(|holder| !holder.exact));

    // The age restarts with the next acquire.
    let slot = early.slot();
    drop(early);
    let _again = pool.acquire().unwrap();
    let young = pool.holders();
    let held_for = young
        .entries
        .iter()
        .find(|holder| holder.slot == slot)
        .unwrap()
        .held_for;
    assert!(held_for < Duration::from_millis(30), "{held_for:?}");
}

#[cfg(feature = "tracing")]
mod tracing_events {
    use std::cell::RefCell;
    use std::fmt::Write;
    use std::sync::Once;
    use std::sync::mpsc::Sender;

    use ks_allocator::KsAllocator as _;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::support::committed_allocator::committed_allocator;
    use super::*;

    thread_local!(static LISTENER: RefCell<Option<Sender<String>>> = const { RefCell::new(None) });

    /// Subscriber that sends the events of each thread to the listener of that thread. There is one
    /// for all tests, because `tracing` caches per process which events are enabled.
    struct ToListeners;

    /// Text of an event: its level and its fields.
    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }

    impl Subscriber for ToListeners {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            assert_eq!(event.metadata().target(), "ks_allocator");
            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            LISTENER.with_borrow(|listener| {
                if let Some(listener) = listener {
                    listener.send(text.0).unwrap();
                }
            });
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// Returns the events that `work` emits in the calling thread.
    fn events_of(work: impl FnOnce()) -> Vec<String> {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(ToListeners).unwrap());
        let (listener, events) = channel();
        LISTENER.set(Some(listener));
        work();
        LISTENER.set(None);
        events.try_iter().collect()
    }

    /// The `tracing` event comes after the hook. A hook that is over in time does not keep it away.
    #[test]
    fn nothing_is_reported_after_the_deadline_but_the_error() {
        let slow_waits = |timeout| {
            let hook = |_: &ks_allocator::Holders| thread::sleep(THRESHOLD);
            let pool = builder(1).on_starved(Duration::ZERO, hook).build().unwrap();
            let _held = pool.acquire().unwrap();
            let events = events_of(|| {
                let error = pool.acquire_timeout(timeout).unwrap_err();
                assert!(error.to_string().contains("1 of 1 frame is out: 1 held by"));
            });
            events
                .iter()
                .filter(|event| event.contains("slow wait"))
                .count()
        };
        assert_eq!(slow_waits(THRESHOLD / 2), 0);
        assert_eq!(slow_waits(THRESHOLD * 20), 1);
    }

    #[test]
    fn state_changes_are_events_and_acquires_and_releases_are_not() {
        let events = events_of(|| {
            let allocator = committed_allocator(2, 64);
            for _ in 0..1000 {
                drop(allocator.acquire().unwrap().share());
            }
            allocator.begin_flush();
            allocator.end_flush();
            allocator.decommit();
            allocator.commit().unwrap();
            // Dropping the allocator decommits it.
        });
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let [commit, begin, end, decommit, again, last] = events[..] else {
            panic!("{events:#?}");
        };
        assert!(commit.starts_with("DEBUG") && commit.contains("frames=2 frame_size=64"));
        assert!(commit.contains("pool committed"));
        assert!(begin.contains("flush began") && end.contains("flush ended"));
        assert!(decommit.contains("pool decommitted") && decommit.contains("frames_out=0"));
        assert!(again.contains("pool committed again with the same memory"));
        assert!(last.contains("pool decommitted"));
    }

    #[test]
    fn starvation_slow_waits_and_leaks_are_events_with_the_holders() {
        let events = events_of(|| {
            let (builder, _reports) = reporting(1);
            let pool = builder.name("capture").build().unwrap();
            let held = pool.with_label("culprit").acquire().unwrap();
            for _ in 0..3 {
                assert!(pool.acquire_timeout(THRESHOLD * 2).is_err());
            }
            drop(pool);
            drop(held);
        });
        let count = |level: &str, text: &str| {
            let of = |line: &&String| line.starts_with(level) && line.contains(text);
            let lines: Vec<_> = events.iter().filter(of).collect();
            let fields = " pool=\"capture\" frames=1 free=0 waiting=";
            assert!(lines.iter().all(|line| line.contains(fields)), "{lines:?}");
            assert!(
                lines
                    .iter()
                    .all(|line| line.contains("1 held by `culprit`"))
            );
            lines.len()
        };
        assert_eq!(
            count("DEBUG", "no frame is free: "),
            1,
            "one event per second: {events:#?}"
        );
        assert_eq!(count("WARN", "slow wait for a frame: "), 3);
        assert_eq!(count("WARN", "pool dropped while frames are out: "), 1);
    }
}
