//! Facade over atomics, locks, cells and threads.
//!
//! All concurrent code of the crate imports these names from here. The models at the end of each
//! file therefore run the same code under loom's scheduler: in the tests of a build with `--cfg
//! loom`. The library itself is the same with and without that option, because a program that
//! depends on it may use loom for models of its own.
//!
//! | module | contents |
//! |---|---|
//! | `std` | the types of std, `parking_lot` and crossbeam, in all builds but those of models |
//! | `loom` | their stand-ins in models |
//! | `preempted` | atomics and locks that preempt threads at random, for tests |
//! | [`unmodeled`] | types that are std's in models, too, so that loom does not see them |
//! | `thread_id` | the thread ids of reports |
//! | `prefetch` | prefetching of cache lines |
//! | `process` | the process that made a pool, and forks |
//! | `ticks` | a clock that is read in a few nanoseconds |
//! | `os_thread` | the system's id and name of a thread |
//!
//! Most names are type aliases, not re-exports: the lint `disallowed_types`, which directs other
//! files to this one, sees through a re-export and would report each of its uses.
//!
//! # Two kinds of mutex
//!
//! [`Mutex`] is that of `parking_lot` and guards the control plane: it takes one byte, is
//! eventually fair and is never poisoned, but its process-wide table of waiting threads can
//! allocate when a thread first waits. [`NoAllocMutex`] is std's, a futex that never allocates on
//! Linux and Windows, and is therefore the one that acquiring, waiting and releasing threads
//! lock. Everything in a pool that is locked has this one: two copies of the crate in one process
//! have two tables of waiting threads, and do not find each other's.

#![expect(
    clippy::disallowed_types,
    reason = "the lint directs other files to this module"
)]

/// Passes the methods of the large atomics that the crate uses to `$define`, which makes a stand-in
/// for one. (A weak exchange is up to each stand-in.)
#[cfg(any(ks_allocator_preempt, all(test, loom)))]
macro_rules! with_methods {
    ($define:ident! $name:ident, $value:ty) => {
        $define! { $name, $value;
            load(order: Ordering) -> $value;
            store(value: $value, order: Ordering);
            fetch_add(value: $value, order: Ordering) -> $value;
            fetch_sub(value: $value, order: Ordering) -> $value;
            fetch_or(bits: $value, order: Ordering) -> $value;
            fetch_and(bits: $value, order: Ordering) -> $value;
            compare_exchange(
                current: $value, new: $value, success: Ordering, failure: Ordering
            ) -> Result<$value, $value>;
        }
    };
}

#[cfg(all(test, loom))]
mod loom;
#[cfg_attr(
    all(test, loom),
    expect(dead_code, reason = "models have no thread ids")
)]
mod os_thread;
#[cfg(all(ks_allocator_preempt, not(all(test, loom))))]
mod preempted;
mod prefetch;
mod process;
#[cfg(not(all(test, loom)))]
mod std;
#[cfg(not(all(test, loom)))]
mod thread_id;
mod ticks;
pub(crate) mod unmodeled;

#[cfg(all(test, loom))]
pub(crate) use self::loom::*;
pub(crate) use self::os_thread::name as thread_name;
#[cfg(all(ks_allocator_preempt, not(all(test, loom))))]
pub use self::preempted::stop_before_access;
pub(crate) use self::prefetch::prefetch;
pub(crate) use self::process::Process;
#[cfg(not(all(test, loom)))]
pub(crate) use self::std::*;
#[cfg(not(all(test, loom)))]
pub(crate) use self::thread_id::thread_id;
pub(crate) use self::ticks::TickClock;
