//! What a pool tells by itself: of long waits and of frames that outlive it, to hooks and to `tracing`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{AcquireError, FramePool, FramePoolBuilder, HolderState, Starvation};

const THRESHOLD: Duration = Duration::from_millis(20);

fn builder(frames: usize) -> FramePoolBuilder {
    FramePool::builder().frames(frames).frame_size(64)
}

/// A builder whose pool tells of each long wait.
fn telling(frames: usize) -> (FramePoolBuilder, Receiver<String>) {
    let (told, tell) = channel();
    let hook = move |holders: &ks_allocator::Holders| told.send(format!("{holders:#}")).unwrap();
    (builder(frames).on_starved(THRESHOLD, hook), tell)
}

/// Waits until somebody waits.
fn until_waiting(pool: &FramePool) {
    while pool.waiting() == 0 {
        thread::yield_now();
    }
}

#[test]
fn a_long_wait_is_told_of_once_by_the_thread_that_waits_and_then_served() {
    let (builder, tell) = telling(1);
    let pool = builder.build().unwrap();
    let held = pool.with_label("slow stage").acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
        let line = tell.recv().unwrap();
        assert!(
            line.starts_with(concat!(
                "1 of 1 frames out: 1 held by `slow stage` (",
                file!(),
                ":"
            )),
            "{line}"
        );
        assert!(line.contains("; 1 caller waiting, for "), "{line}");
        thread::sleep(THRESHOLD * 2);
        drop(held);
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
    assert!(tell.try_recv().is_err(), "once");
}

#[test]
fn each_long_wait_is_told_of_and_a_short_one_is_not() {
    let (builder, tell) = telling(1);
    let pool = builder.build().unwrap();
    let _held = pool.acquire().unwrap();
    for patience in [THRESHOLD / 4, THRESHOLD * 2, THRESHOLD / 4, THRESHOLD * 2] {
        let error = pool.acquire_timeout(patience).unwrap_err();
        assert_eq!(error, AcquireError::TimedOut(Starvation::default()));
        assert_eq!(tell.try_iter().count(), usize::from(patience > THRESHOLD));
    }
}

#[test]
fn a_timed_wait_ends_in_time_for_all_that_is_told() {
    let (builder, _tell) = telling(1);
    let pool = builder.build().unwrap();
    let _held = pool.acquire().unwrap();
    let began = Instant::now();
    assert!(pool.acquire_timeout(THRESHOLD * 3).is_err());
    assert!(began.elapsed() >= THRESHOLD * 3);
}

#[test]
fn a_future_tells_when_it_is_polled_after_that_time() {
    let (builder, tell) = telling(1);
    let pool = builder.build().unwrap();
    let held = pool.acquire().unwrap();
    let mut future = pin!(pool.acquire_async());
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    assert!(tell.try_recv().is_err());
    thread::sleep(THRESHOLD);
    assert!(future.as_mut().poll(&mut context).is_pending());
    assert!(future.as_mut().poll(&mut context).is_pending());
    assert_eq!(tell.try_iter().count(), 1);
    drop(held);
    assert!(matches!(future.poll(&mut context), Poll::Ready(Ok(_))));
}

#[test]
fn a_hook_that_panics_costs_nobody_a_frame() {
    let pool = builder(1)
        .on_starved(Duration::ZERO, |_| panic!("a hook's own affair"))
        .on_leak(|_| panic!("likewise"))
        .build()
        .unwrap();
    let held = pool.acquire().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(drop));
        until_waiting(&pool);
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
    let (told, tell) = channel();
    let slot = std::sync::Arc::new(std::sync::OnceLock::<FramePool>::new());
    let pool = {
        // A hook that owned a handle of its own pool would keep it for ever.
        let slot = std::sync::Arc::downgrade(&slot);
        builder(1).on_starved(THRESHOLD, move |_| {
            let slot = slot.upgrade().unwrap();
            let pool = slot.get().unwrap();
            told.send((pool.stats(), pool.try_acquire().is_ok()))
                .unwrap();
        })
    };
    slot.set(pool.build().unwrap()).unwrap();
    let pool = slot.get().unwrap();
    let _held = pool.acquire().unwrap();
    assert!(pool.acquire_timeout(THRESHOLD * 2).is_err());
    let (stats, acquired) = tell.recv().unwrap();
    assert!(stats.starved());
    assert!(!acquired);
}

#[test]
fn frames_that_outlive_their_pool_are_told_of_with_their_holders() {
    let (told, tell) = channel();
    let hook = move |holders: &ks_allocator::Holders| told.send(holders.clone()).unwrap();
    let builder = builder(3).on_leak(hook);

    let pool = builder.build().unwrap();
    let other = pool.clone();
    let line = line!() + 1;
    let shared = pool.acquire().unwrap().share();
    let twice = shared.clone();
    drop(pool);
    assert!(tell.try_recv().is_err(), "there is a handle left");
    drop(other);
    let leaked = tell.recv().unwrap();
    assert_eq!((leaked.frames, leaked.free), (3, 2));
    assert_eq!(leaked.entries[0].state, HolderState::Shared { handles: 2 });
    assert_eq!(leaked.entries[0].location.unwrap().line, line);
    drop((shared, twice));

    drop(builder.build().unwrap());
    assert!(tell.try_recv().is_err(), "nothing was out");
}

#[test]
fn waits_are_counted_whatever_becomes_of_them() {
    let pool = builder(1).build().unwrap();
    let held = pool.acquire().unwrap();
    assert!(pool.try_acquire().is_err());
    assert!(pool.acquire_timeout(Duration::from_millis(3)).is_err());
    thread::scope(|scope| {
        let flushed = scope.spawn(|| pool.acquire().map(drop));
        until_waiting(&pool);
        pool.begin_flush();
        assert_eq!(flushed.join().unwrap(), Err(AcquireError::Flushing));
        pool.end_flush();

        let served = scope.spawn(|| pool.acquire().map(drop));
        until_waiting(&pool);
        drop(held);
        served.join().unwrap().unwrap();
    });
    let held = pool.acquire().unwrap();
    {
        let mut abandoned = pin!(pool.acquire_async());
        let mut context = Context::from_waker(Waker::noop());
        assert!(abandoned.as_mut().poll(&mut context).is_pending());
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
fn how_long_a_frame_was_out_at_least_counts_from_the_first_look() {
    let pool = builder(2).build().unwrap();
    let early = pool.acquire().unwrap();
    let _late = pool.acquire().unwrap();
    // Whoever begins to wait looks.
    assert!(pool.acquire_timeout(Duration::from_millis(30)).is_err());
    let report = pool.holders();
    assert_eq!(report.older_than(Duration::from_millis(30)).count(), 2);
    assert!(report.entries.iter().all(|holder| !holder.exact));

    // Another turn is another age.
    let slot = early.slot();
    drop(early);
    let _again = pool.acquire().unwrap();
    let young = pool.holders();
    let held = young
        .entries
        .iter()
        .find(|holder| holder.slot == slot)
        .unwrap()
        .held;
    assert!(held < Duration::from_millis(30), "{held:?}");
}

#[cfg(feature = "tracing")]
mod tracing_events {
    use std::cell::RefCell;
    use std::fmt::Write;
    use std::sync::Once;
    use std::sync::mpsc::Sender;

    use ks_allocator::{Framing, KsAllocator, PoolAllocator};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    thread_local!(static LISTENER: RefCell<Option<Sender<String>>> = const { RefCell::new(None) });

    /// Passes on what is told in each thread to whoever listens there. One for all, for what `tracing` knows of
    /// who listens is of the whole process.
    struct Ears;

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }

    impl Subscriber for Ears {
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

    fn heard(work: impl FnOnce()) -> Vec<String> {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(Ears).unwrap());
        let (told, heard) = channel();
        LISTENER.set(Some(told));
        work();
        LISTENER.set(None);
        heard.try_iter().collect()
    }

    #[test]
    fn the_course_of_an_allocator_is_told_and_nothing_of_each_frame() {
        let told = heard(|| {
            let allocator = PoolAllocator::with_framing(Framing::new(2, 64)).unwrap();
            allocator.commit().unwrap();
            for _ in 0..1000 {
                drop(allocator.acquire().unwrap().share());
            }
            allocator.begin_flush();
            allocator.end_flush();
            allocator.decommit();
            allocator.commit().unwrap();
            // Dropping it decommits it.
        });
        let told: Vec<_> = told.iter().map(String::as_str).collect();
        let [commit, begins, ends, decommit, again, last] = told[..] else {
            panic!("{told:#?}");
        };
        assert!(commit.starts_with("DEBUG") && commit.contains("frames=2 frame_size=64"));
        assert!(begins.contains("flush begins") && ends.contains("flush ends"));
        assert!(decommit.contains("decommit") && decommit.contains("frames_out=0"));
        assert!(again.contains("commit, with the memory as it is"));
        assert!(last.contains("decommit"));
    }

    #[test]
    fn starvation_slow_waits_and_leaks_are_told_with_the_holders() {
        let told = heard(|| {
            let (builder, _tell) = telling(1);
            let pool = builder.build().unwrap();
            let held = pool.with_label("culprit").acquire().unwrap();
            for _ in 0..3 {
                assert!(pool.acquire_timeout(THRESHOLD * 2).is_err());
            }
            drop(pool);
            drop(held);
        });
        let count = |level: &str, text: &str| {
            let of = |line: &&String| line.starts_with(level) && line.contains(text);
            let lines: Vec<_> = told.iter().filter(of).collect();
            assert!(
                lines
                    .iter()
                    .all(|line| line.contains("1 held by `culprit`"))
            );
            lines.len()
        };
        assert_eq!(
            count("DEBUG", "starvation: "),
            1,
            "once a second: {told:#?}"
        );
        assert_eq!(count("WARN", "slow wait: "), 3);
        assert_eq!(count("WARN", "the pool is gone"), 1);
    }
}
